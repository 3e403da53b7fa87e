"""Replace this process by a server that dies with its parent.

Run as `python -I -S _child.py PARENT_PID SIGNAL PROGRAM ARGUMENT...`. It stands
between parent and server because `prctl` has to be called in the child, and Python's
`preexec_fn` may deadlock where the parent has threads.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1


def main() -> None:
    """Ask the kernel for the signal, then become the server."""
    parent, signal_number = int(sys.argv[1]), int(sys.argv[2])
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal_number)
    # Ignored signals stay ignored over exec, and whoever started us may ignore these.
    for stop in (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGTERM):
        signal.signal(stop, signal.SIG_DFL)
    if os.getppid() != parent:  # it died before prctl: nobody would ever stop us
        sys.exit(1)
    os.execvp(sys.argv[3], sys.argv[3:])  # noqa: S606 - no shell is wanted


if __name__ == "__main__":
    main()
