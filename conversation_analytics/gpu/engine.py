"""Plans on a GPU through cudf-polars: the one place that imports it."""

from __future__ import annotations

import importlib.util
from typing import TYPE_CHECKING

from conversation_analytics.core.errors import DeviceUnavailableError

if TYPE_CHECKING:
    from conversation_analytics.core.engine import Engine, EngineChoice


def open_gpu_engine(choice: EngineChoice) -> Engine:
    """Return the engine of a device.

    Raises:
        DeviceUnavailableError: the extra `gpu` is not installed, or the device is not there.
    """
    if importlib.util.find_spec("cudf_polars") is None:
        raise DeviceUnavailableError(
            f"device {choice.device}: cudf-polars is not installed in this environment; install "
            "the extra `gpu`, or set ENABLE_GPU=false"
        )
    raise NotImplementedError
