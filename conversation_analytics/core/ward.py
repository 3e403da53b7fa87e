"""Ward's clustering of weighted points, cut at a distance, by chains of nearest neighbours."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from conversation_analytics.core.embedding import Vectors


@dataclass(frozen=True, slots=True)
class WardTree:
    """The merges of all points into one cluster.

    Attributes:
        merges: pairs of points, one of either cluster that is merged; shape (points - 1, 2).
        heights: Ward's distance of each merge, ascending.
    """

    merges: npt.NDArray[np.int64]
    heights: npt.NDArray[np.float64]

    def cut(self, threshold: float) -> npt.NDArray[np.int64]:
        """Return the cluster of each point where merges above `threshold` are undone."""
        return self.cut_into(len(self.heights) + 1 - int((self.heights <= threshold).sum()))

    def cut_into(self, clusters: int) -> npt.NDArray[np.int64]:
        """Return the cluster of each point where so many are left, numbered by first point."""
        parent = np.arange(len(self.merges) + 1)

        def find(one: int) -> int:
            while parent[one] != one:
                parent[one] = parent[parent[one]]
                one = int(parent[one])
            return one

        for left, right in self.merges[: len(self.merges) + 1 - clusters]:
            a, b = find(int(left)), find(int(right))
            parent[max(a, b)] = min(a, b)
        roots = np.array([find(one) for one in range(len(parent))])
        return np.unique(roots, return_inverse=True)[1].astype(np.int64)


def ward_tree(points: Vectors, weights: npt.NDArray[np.float64]) -> WardTree:
    """Cluster weighted points: a point of weight w counts as w points in one place.

    Memory is 4 bytes times points squared, time about the same times points.

    Args:
        points: shape (points, dimensions), at least one.
        weights: above 0, shape (points,).
    """
    count = len(points)
    size = weights.astype(np.float32)
    squares = np.einsum("ij,ij->i", points, points)
    apart = squares[:, None] + squares[None, :] - 2 * (points @ points.T)
    np.maximum(apart, 0, out=apart)
    apart *= 2 * size[:, None] * size[None, :] / (size[:, None] + size[None, :])
    np.fill_diagonal(apart, np.inf)
    merges = np.empty((count - 1, 2), dtype=np.int64)
    heights = np.empty(count - 1)
    active = np.ones(count, dtype=bool)
    chain: list[int] = []
    for step in range(count - 1):
        if not chain:
            chain.append(int(np.argmax(active)))
        while True:
            here = chain[-1]
            row = apart[here]
            nearest = int(np.argmin(row))
            if len(chain) > 1 and row[chain[-2]] <= row[nearest]:
                break  # each is the other's nearest
            chain.append(nearest)
        a, b = sorted((chain.pop(), chain.pop()))
        height = apart[a, b]
        merges[step], heights[step] = (a, b), np.sqrt(height)
        total = size[a] + size[b]
        merged = (size[a] + size) * apart[a] + (size[b] + size) * apart[b] - size * height
        merged /= total + size
        merged[~active] = np.inf
        merged[[a, b]] = np.inf
        apart[a], apart[:, a] = merged, merged
        apart[b], apart[:, b] = np.inf, np.inf
        size[a], active[b] = total, False
    order = np.argsort(heights, kind="stable")
    return WardTree(merges[order], heights[order])
