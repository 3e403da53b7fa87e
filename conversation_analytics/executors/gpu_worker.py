"""Entry point of a GPU worker: a fresh process, whose environment names its device.

`python -m conversation_analytics.executors.gpu_worker DESCRIPTOR`
"""

from __future__ import annotations

import sys
from multiprocessing.connection import Connection


def main() -> None:
    """Take the module path and the setup from the pipe, and serve."""
    connection = Connection(int(sys.argv[1]))
    # The run's own: a job may be one of a module that only its process has on the path.
    sys.path[:] = connection.recv()
    from conversation_analytics.executors.worker_main import serve  # noqa: PLC0415 - path first

    serve(connection, connection.recv())


if __name__ == "__main__":
    main()
