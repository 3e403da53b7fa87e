"""From labels with examples to a model of one type of categories, and its calibrated answers.

From five examples a label on it is a logistic regression over vectors and character n-grams,
below that the cosine to the centroid of each label's texts. Either gives a score per label. What
is told is no score but a confidence: the chance that the label is right. It is learned by holding
out: examples (is the label right?) and whole labels (is a text that fits none recognised?).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from conversation_analytics.core.embedding import MAX_CHARACTERS, embed_each_once
from conversation_analytics.core.taxonomy import OTHER

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from conversation_analytics.core.embedding import Embedder, Vectors
    from conversation_analytics.core.taxonomy import CategoryType, Correction

Floats = npt.NDArray[np.float64]

MODEL_VERSION: Final = "1"
REGRESSION_FROM: Final = 5
"""Examples of a label from which on the regression is better than its centroid."""

PROTOTYPES: Final = "prototypes"
REGRESSION: Final = "regression"
_STRENGTH = 10.0
_LEXICAL_WEIGHT = 0.5
_OWN_WEIGHT = 0.5
_FOLDS = 5
_TINY = 1e-9
_EXPECTED_SLOPE = 1.0
_COSINE_SCALE = 12.0
_CALIBRATION_OF_PROTOTYPES = (-0.344, 0.264, 1.852)
"""Too few examples to learn it from: measured on requests to an assistant, 6 to 24 labels."""
_UNKNOWN_SHARE = 0.3
"""Share of texts that fit no label, while the calibration is learned."""


@dataclass(frozen=True, slots=True)
class LinearPrior:
    """Weights that were trained elsewhere, for labels of these names.

    Attributes:
        labels: in alphabetical order.
        coef: shape (labels, dimensions).
        intercept: shape (labels,).
        signs: texts to what signs in them add to the scores, shape (texts, labels); None: nothing.
    """

    labels: tuple[str, ...]
    coef: Floats
    intercept: Floats
    signs: Callable[[Sequence[str]], Floats] | None = None


@dataclass(frozen=True, slots=True)
class Answer:
    """The category of one text.

    Attributes:
        label: a label, or `other` where no label reaches its threshold.
        confidence: chance that `label` is right, 0 to 1.
        nearest: the best label, whatever its confidence.
    """

    label: str
    confidence: float
    nearest: str


@dataclass(frozen=True, slots=True)
class CategoryModel:
    """A trained model of one type of categories.

    Attributes:
        labels: in alphabetical order; `other` among them where there are examples of it.
        thresholds: of each label.
        method: `regression` or `prototypes`.
        scorer: texts and vectors to one score per label, shape (texts, labels).
        calibration: weights of 1, the energy and the log-probability of the best label.
    """

    labels: tuple[str, ...]
    thresholds: tuple[float, ...]
    method: str
    scorer: Any
    calibration: Floats

    def scores(self, texts: Sequence[str], vectors: Vectors) -> Floats:
        """Return one score per text and label; what is not embedded of a text is not read."""
        found: Floats = self.scorer.scores([text[:MAX_CHARACTERS] for text in texts], vectors)
        return found

    def classify(self, texts: Sequence[str], vectors: Vectors) -> list[Answer]:
        """Return the category of each text.

        Args:
            texts: as they were embedded.
            vectors: float32, shape (texts, dimensions).
        """
        if not texts:
            return []
        scores = self.scores(texts, vectors)
        best = scores.argmax(axis=1)
        sure = self.confidences(scores)
        return [self._answer(int(b), float(c)) for b, c in zip(best, sure, strict=True)]

    def confidences(self, scores: Floats) -> Floats:
        """Return the chance that the best label of each row is right, shape (texts,)."""
        features = _features(scores)
        if self.method == PROTOTYPES:  # the energy would tell how many labels there are
            features[:, 1] = scores.max(axis=1)
        return _sigmoid(features @ self.calibration)

    def _answer(self, best: int, confidence: float) -> Answer:
        nearest = self.labels[best]
        if nearest == OTHER or confidence < self.thresholds[best]:
            sure = confidence if nearest == OTHER else 1 - confidence
            return Answer(OTHER, round(sure, 4), nearest)
        return Answer(nearest, round(confidence, 4), nearest)


def examples_of(
    category_type: CategoryType, corrections: Iterable[Correction]
) -> dict[str, tuple[str, ...]]:
    """Return the examples of each label, corrected ones included; sorted, each once.

    A correction wins over an example of the taxonomy with the same text.
    """
    corrected: dict[str, str] = {}
    for one in sorted(
        (c for c in corrections if c.category_type == category_type.name and c.text),
        key=lambda c: (c.text or "", c.label),
    ):
        corrected[one.text or ""] = one.label
    found: dict[str, set[str]] = {label.name: set(label.examples) for label in category_type.labels}
    found[OTHER] = set(category_type.other)
    for texts in found.values():
        texts.difference_update(corrected)
    for text, label in corrected.items():
        found[label].add(text)
    return {label: tuple(sorted(texts)) for label, texts in sorted(found.items())}


def fit_category_model(
    category_type: CategoryType,
    corrections: Iterable[Correction],
    embedder: Embedder,
    prior: LinearPrior | None = None,
) -> CategoryModel:
    """Train the model of one type.

    The order of labels, examples and corrections does not matter.

    Args:
        category_type: labels with descriptions, examples and thresholds.
        corrections: of people; those of other types do not count.
        embedder: makes the vectors.
        prior: weights that examples are added to, if the type's labels are those of the prior.
    """
    examples = examples_of(category_type, corrections)
    texts_of = {label.name: list(examples[label.name]) for label in category_type.labels}
    few = sum(len(texts) < REGRESSION_FROM for texts in texts_of.values())
    regression = 2 * few < len(texts_of)
    for label in category_type.labels:
        # Where there are examples enough a description is the odd one out.
        if label.description and len(texts_of[label.name]) < REGRESSION_FROM:
            texts_of[label.name].append(label.description)
    if examples[OTHER]:
        texts_of[OTHER] = list(examples[OTHER])
    labels = tuple(sorted(texts_of))
    texts = [text for label in labels for text in texts_of[label]]
    gold = np.array([i for i, label in enumerate(labels) for _ in texts_of[label]])
    vectors = embed_each_once(embedder, texts)
    if prior is not None and (prior.labels != labels or not regression):
        prior = None
    fit = _fit_regression if regression else _fit_prototypes
    thresholds = {label.name: label.threshold for label in category_type.labels}
    return CategoryModel(
        labels,
        tuple(thresholds.get(label, 0.0) for label in labels),
        REGRESSION if regression else PROTOTYPES,
        _with_prior(fit(texts, vectors, gold), prior, np.arange(len(labels))),
        _calibrate(texts, vectors, gold, labels, prior)
        if regression
        else np.array(_CALIBRATION_OF_PROTOTYPES),
    )


@dataclass(frozen=True, slots=True)
class _Prototypes:
    centroids: Floats

    def scores(self, _texts: Sequence[str], vectors: Vectors) -> Floats:
        return _COSINE_SCALE * (vectors.astype(np.float64) @ self.centroids.T)


@dataclass(frozen=True, slots=True)
class _WithPrior:
    own: Any
    coef: Floats
    intercept: Floats
    signs: Callable[[Sequence[str]], Floats] | None
    columns: npt.NDArray[np.int64]

    def scores(self, texts: Sequence[str], vectors: Vectors) -> Floats:
        known = vectors.astype(np.float64) @ self.coef.T + self.intercept
        if self.signs is not None:
            known += self.signs(texts)[:, self.columns]
        return np.asarray(known + _OWN_WEIGHT * self.own.scores(texts, vectors))


def _with_prior(own: Any, prior: LinearPrior | None, columns: npt.NDArray[np.int64]) -> Any:
    if prior is None:
        return own
    return _WithPrior(own, prior.coef[columns], prior.intercept[columns], prior.signs, columns)


@dataclass(frozen=True, slots=True)
class _Regression:
    lexicon: Any
    coef: Floats
    intercept: Floats

    def scores(self, texts: Sequence[str], vectors: Vectors) -> Floats:
        return np.asarray(_stack(self.lexicon, texts, vectors) @ self.coef + self.intercept)


def _fit_prototypes(
    _texts: Sequence[str], vectors: Vectors, gold: npt.NDArray[np.int64]
) -> _Prototypes:
    centroids = np.zeros((int(gold.max()) + 1, vectors.shape[1]))
    np.add.at(centroids, gold, vectors.astype(np.float64))
    norms = np.linalg.norm(centroids, axis=1, keepdims=True)
    return _Prototypes(centroids / np.where(norms > 0, norms, 1))


def _fit_regression(
    texts: Sequence[str], vectors: Vectors, gold: npt.NDArray[np.int64]
) -> _Regression:
    from sklearn.feature_extraction.text import TfidfVectorizer  # noqa: PLC0415 - import budget
    from sklearn.linear_model import LogisticRegression  # noqa: PLC0415
    from threadpoolctl import threadpool_limits  # noqa: PLC0415

    # Characters, not words: Thai and Chinese have no spaces.
    lexicon = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 4), sublinear_tf=True).fit(texts)
    classifier = LogisticRegression(C=_STRENGTH, class_weight="balanced", max_iter=1000)
    features = _stack(lexicon, texts, vectors)
    with threadpool_limits(1):
        # There are far fewer texts than features: fitted in the space that the texts span, it is
        # the same model, many times faster.
        values, axes = np.linalg.eigh((features @ features.T).toarray())
        kept = values > values[-1] * _TINY
        values, axes = np.sqrt(values[kept]), axes[:, kept]
        classifier.fit(axes * values, gold)
        coef = features.T @ (axes / values @ classifier.coef_.T)
    intercept = np.asarray(classifier.intercept_)
    if coef.shape[1] == 1:  # two labels have one score
        coef, intercept = np.hstack([-coef, coef]) / 2, np.hstack([-intercept, intercept]) / 2
    return _Regression(lexicon, np.asarray(coef), intercept)


def _stack(lexicon: Any, texts: Sequence[str], vectors: Vectors) -> Any:
    from scipy import sparse  # noqa: PLC0415 - import budget

    lexical = lexicon.transform(texts) * _LEXICAL_WEIGHT
    return sparse.hstack([sparse.csr_matrix(vectors.astype(np.float64)), lexical]).tocsr()


def _features(scores: Floats) -> Floats:
    """Return 1, the energy, and the log-probability of the best label: shape (texts, 3)."""
    top = scores.max(axis=1, keepdims=True)
    energy = (top + np.log(np.exp(scores - top).sum(axis=1, keepdims=True)))[:, 0]
    return np.stack([np.ones(len(scores)), energy, top[:, 0] - energy], axis=1)


def _calibrate(
    texts: Sequence[str],
    vectors: Vectors,
    gold: npt.NDArray[np.int64],
    labels: tuple[str, ...],
    prior: LinearPrior | None,
) -> Floats:
    """Learn from what was held out when the best label is right."""
    features, right, weights = [], [], []
    counts = np.bincount(gold, minlength=len(labels))
    turn = np.concatenate([np.arange(count) for count in counts])
    folds = min(_FOLDS, len(labels))
    # Labels with weights from elsewhere, such as of sentiment, cover all there is.
    open_ended = prior is None and len(labels) > 2  # noqa: PLR2004 - two have to be left
    for fold in range(folds):
        hidden = np.array([
            index % folds == fold and labels[index] != OTHER and open_ended
            for index in range(len(labels))
        ])  # fmt: skip
        held = (turn % _FOLDS == fold) & (counts[gold] > 1)
        train = ~held & ~hidden[gold]
        seen = np.unique(gold[train])
        if len(seen) < 2:  # noqa: PLR2004 - nothing to choose between
            continue
        names = np.searchsorted(seen, gold[train])
        chosen = np.flatnonzero(train).tolist()
        own = _fit_regression([texts[i] for i in chosen], vectors[chosen], names)
        model = _with_prior(own, prior, seen)
        asked = np.flatnonzero(held | hidden[gold]).tolist()
        scores = model.scores([texts[i] for i in asked], vectors[asked])
        features.append(_features(scores))
        right.append(seen[scores.argmax(axis=1)] == gold[asked])
        # A label that is hidden counts as much as the examples that are held out.
        out = hidden[gold[asked]]
        weights.append(np.where(out, _UNKNOWN_SHARE / max(out.sum(), 1),
                                (1 - _UNKNOWN_SHARE) / max((~out).sum(), 1)))  # fmt: skip
    return _platt(np.concatenate(features), np.concatenate(right), np.concatenate(weights))


def _platt(features: Floats, right: npt.NDArray[np.bool_], weights: Floats) -> Floats:
    """Fit a logistic curve that never falls where a score rises, by Newton's method."""
    kept = np.ones(features.shape[1], dtype=bool)
    while True:
        beta = np.zeros(features.shape[1])
        beta[kept] = _newton(features[:, kept], right, weights)
        falling = kept & (beta < 0)
        falling[0] = False
        if not falling.any():
            return beta
        kept &= ~falling


def _newton(features: Floats, right: npt.NDArray[np.bool_], weights: Floats) -> Floats:
    weights = weights / weights.sum() * len(weights)
    target = np.where(right, 0.99, 0.01)
    scale = np.maximum(features.std(axis=0), 1e-6)
    middle = features.mean(axis=0)
    scale[0], middle[0] = 1.0, 0.0
    inputs = (features - middle) / scale
    # Without evidence a rising score counts for something; the first column is the constant.
    expected = np.full(features.shape[1], _EXPECTED_SLOPE)
    share = float(np.average(target, weights=weights))
    expected[0] = np.log(share / (1 - share))
    prior = np.full(features.shape[1], 1.0)
    prior[0] = 1e-3
    beta = expected.copy()

    def cost(at: Floats) -> float:
        score = inputs @ at
        losses = np.logaddexp(0, score) - target * score
        return float(weights @ losses + prior @ (at - expected) ** 2 / 2)

    for _ in range(100):
        chance = _sigmoid(inputs @ beta)
        gradient = inputs.T @ (weights * (chance - target)) + prior * (beta - expected)
        curve = weights * chance * (1 - chance)
        step = np.linalg.solve((inputs * curve[:, None]).T @ inputs + np.diag(prior), gradient)
        before, length = cost(beta), 1.0
        while length > _TINY and cost(beta - length * step) > before:
            length /= 2
        beta = beta - length * step
        if np.abs(length * step).max() < _TINY:
            break
    found = beta / scale
    found[0] -= float((beta * middle / scale)[1:].sum())
    return np.asarray(found)


def _sigmoid(x: Floats) -> Floats:
    return np.asarray(1 / (1 + np.exp(-np.clip(x, -50, 50))))
