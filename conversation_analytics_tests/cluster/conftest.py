from __future__ import annotations

import gc
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(autouse=True)
def _no_client_is_left() -> Iterator[None]:
    """Collect clients that could not connect: in the middle of another they would wait for it."""
    yield
    gc.collect()
