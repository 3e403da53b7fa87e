"""The sentiment weights that come with the package."""

from __future__ import annotations

import functools
from importlib import resources

from conversation_analytics.core.category_model import LinearPrior
from conversation_analytics.language.embedders import USE_MULTILINGUAL
from conversation_analytics.language.sentiment_signs import sign_scores

_LABELS = ("negative", "neutral", "positive")


@functools.cache
def sentiment_prior(embedder: str) -> LinearPrior | None:
    """Return the weights for vectors of this embedder; None: there are none for it."""
    import numpy as np  # noqa: PLC0415 - import budget

    if embedder != USE_MULTILINGUAL:
        return None
    path = resources.files("conversation_analytics.language") / "weights"
    with (path / "sentiment_use_multilingual.npz").open("rb") as file, np.load(file) as found:
        return LinearPrior(
            _LABELS,
            found["coef"].astype(np.float64),
            found["intercept"].astype(np.float64),
            sign_scores,
        )
