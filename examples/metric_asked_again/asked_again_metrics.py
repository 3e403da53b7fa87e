"""How often people have to ask again, and what a conversation takes."""

from conversation_analytics.core.derived_metrics import DerivedMetric
from conversation_analytics.core.metrics import MetricType

METRICS = (
    DerivedMetric(
        name="asked_again_rate",
        title="Asked-again rate",
        unit="share of turns",
        type=MetricType.RATIO,
        numerator={"regenerations": 1, "rephrases": 1},
        denominator={"turns": 1},
    ),
    DerivedMetric(
        name="tokens_per_conversation",
        title="Tokens per conversation",
        unit="tokens per conversation",
        type=MetricType.RATE,
        numerator={"message_tokens": 1, "answer_tokens": 1},
        denominator={"conversations_active": 1},
    ),
)
