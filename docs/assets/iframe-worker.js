// Browsers start no worker for a page that is read from the disk, and the search runs in one.
// For such pages alone a frame that nobody sees does a worker's work, in the page's own thread.
if (location.protocol === "file:") {
  window.Worker = class FrameWorker extends EventTarget {
    constructor(address) {
      super()
      this.onmessage = null
      this.onerror = null
      this.onmessageerror = null
      this.waiting = []
      this.ready = false
      this.frame = document.createElement("iframe")
      this.frame.hidden = true
      this.frame.addEventListener("load", () => this.start(address), { once: true })
      document.documentElement.append(this.frame)
    }

    start(address) {
      const inside = this.frame.contentWindow
      inside.postMessage = (data) => this.tell("message", data)
      const script = inside.document.createElement("script")
      script.addEventListener("load", () => {
        this.ready = true
        this.waiting.splice(0).forEach((data) => this.hand(data))
      })
      script.addEventListener("error", () => this.tell("error"))
      script.src = String(address)
      inside.document.head.append(script)
    }

    // What the frame says.
    tell(type, data) {
      const event = type === "error"
        ? new ErrorEvent(type, { cancelable: true })
        : new MessageEvent(type, { data })
      this.dispatchEvent(event)
      this[`on${type}`]?.(event)
    }

    // What the frame is told.
    hand(data) {
      const inside = this.frame.contentWindow
      const event = new inside.MessageEvent("message", { data })
      inside.dispatchEvent(event)
    }

    postMessage(data) {
      if (this.ready) {
        setTimeout(() => this.frame.isConnected && this.hand(data))
      } else {
        this.waiting.push(data)
      }
    }

    terminate() {
      this.frame.remove()
    }
  }
}
