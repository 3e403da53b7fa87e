"""Topics nobody named: groups of texts that ask for the same.

Distinct texts are embedded and clustered by Ward's method; where there are many, a sample of
them is first put into many small clusters by KMeans. The cut of the tree makes topics, a higher
one the groups of topics. Every text belongs to the topic whose centre is nearest: there is no
noise that nobody can explain. What too few people said is not shown.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from conversation_analytics.core.ward import WardTree, ward_tree

if TYPE_CHECKING:
    from collections.abc import Sequence

    from conversation_analytics.core.embedding import Vectors

Integers = npt.NDArray[np.int64]

TOPICS_VERSION: Final = "1"
_DIRECT = 5000
"""So many texts go into the tree as they are."""
_SMALL_CLUSTERS = 2000
_CUTS = 30
_LEAST_MEAN = 4
_NEARLY = 0.03
_GROUPS = 0.3
"""Groups of topics for each topic."""


@dataclass(frozen=True, slots=True)
class TopicTree:
    """Centres of topics and of groups of them.

    Attributes:
        centres: unit vectors, float32, shape (topics, dimensions).
        group: the group of each topic, from 0, shape (topics,).
    """

    centres: Vectors
    group: Integers


def sample_texts(texts: Sequence[str], limit: int) -> tuple[str, ...]:
    """Return at most `limit` of the distinct `texts`, sorted; which ones, their digests decide."""
    distinct = sorted(set(texts))
    if len(distinct) > limit:
        chosen = sorted(distinct, key=lambda text: (_digest(text), text))[:limit]
        distinct = sorted(chosen)
    return tuple(distinct)


def find_topics(vectors: Vectors) -> TopicTree:
    """Cluster texts; how many topics there are, the silhouette decides.

    A fixed distance would not do: Ward's distance grows with the number of texts, so a week of
    ten times the texts would fall into several times the topics.

    Args:
        vectors: unit vectors of distinct texts, float32, shape (texts, dimensions), not empty.
    """
    from threadpoolctl import threadpool_limits  # noqa: PLC0415 - import budget

    with threadpool_limits(1):  # KMeans on several threads spins most of its time away
        points, weights = vectors, np.ones(len(vectors))
        if len(vectors) > _DIRECT:
            points, weights = _small_clusters(vectors)
        tree = ward_tree(points, weights)
        cluster = _best_cut(tree, points, weights)
        centres = _centres(points, weights, cluster)
        topics = len(centres)
        groups = tree.cut_into(max(1, round(topics * _GROUPS)))
    first = np.unique(cluster, return_index=True)[1]
    return TopicTree(centres, groups[first])


def _best_cut(tree: WardTree, points: Vectors, weights: npt.NDArray[np.float64]) -> Integers:
    most = max(2, len(points) // _LEAST_MEAN)
    counts = np.unique(np.geomspace(2, most, _CUTS).round().astype(int))
    cuts = [tree.cut_into(int(count)) for count in counts if count <= len(points)]
    if not cuts:
        return np.zeros(len(points), dtype=np.int64)
    scores = np.array([silhouette(points, weights, cluster) for cluster in cuts])
    # Of cuts that are nearly as good the one with the fewest topics: it is the more stable one.
    good = scores >= scores.max() - abs(scores.max()) * _NEARLY
    return cuts[int(np.argmax(good))]


def silhouette(points: Vectors, weights: npt.NDArray[np.float64], cluster: Integers) -> float:
    """Return how much nearer points are to the mean of their cluster than to the next one.

    Args:
        points: shape (points, dimensions).
        weights: of points, above 0.
        cluster: of each point, from 0 without gaps.

    Returns:
        Weighted mean of 1 - own / next, where own is the distance to the mean of the other points
        of the cluster; a point alone in its cluster counts as 0. From -1 to 1.
    """
    mass = np.bincount(cluster, weights)
    sums = np.zeros((len(mass), points.shape[1]), dtype=np.float32)
    np.add.at(sums, cluster, points * weights[:, None].astype(np.float32))
    means = sums / mass[:, None].astype(np.float32)
    if len(means) == 1:
        return 0.0
    squares = np.einsum("ij,ij->i", points, points)[:, None]
    apart = squares + np.einsum("ij,ij->i", means, means)[None, :] - 2 * (points @ means.T)
    apart = np.sqrt(np.maximum(apart, 0))
    rows = np.arange(len(points))
    others = mass[cluster] - weights
    own = apart[rows, cluster] * mass[cluster] / np.where(others > 0, others, 1)
    apart[rows, cluster] = np.inf
    following = apart.min(axis=1)
    widest = np.maximum(np.maximum(own, following), 1e-9)
    score = np.where(others > 0, (following - own) / widest, 0.0)
    return float(np.average(score, weights=weights))


def nearest_topic(centres: Vectors, vectors: Vectors) -> tuple[Integers, Vectors]:
    """Return the topic of each vector and the cosine to its centre."""
    cosines = vectors @ centres.T
    best = cosines.argmax(axis=1).astype(np.int64)
    return best, cosines[np.arange(len(vectors)), best]


def _small_clusters(vectors: Vectors) -> tuple[Vectors, npt.NDArray[np.float64]]:
    from sklearn.cluster import MiniBatchKMeans  # noqa: PLC0415 - import budget

    kmeans = MiniBatchKMeans(
        _SMALL_CLUSTERS, init="random", n_init=1, batch_size=4096, max_iter=20, random_state=0,
        reassignment_ratio=0.0,
    )  # fmt: skip
    found = kmeans.fit_predict(vectors)
    kept, cluster, counts = np.unique(found, return_inverse=True, return_counts=True)
    sums = np.zeros((len(kept), vectors.shape[1]), dtype=np.float32)
    np.add.at(sums, cluster, vectors)
    means = (sums / counts[:, None]).astype(np.float32)
    return means, counts.astype(np.float64)


def _centres(points: Vectors, weights: npt.NDArray[np.float64], cluster: Integers) -> Vectors:
    sums = np.zeros((int(cluster.max()) + 1, points.shape[1]))
    np.add.at(sums, cluster, points * weights[:, None])
    norms = np.linalg.norm(sums, axis=1, keepdims=True)
    return (sums / np.where(norms > 0, norms, 1)).astype(np.float32)


def _digest(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()
