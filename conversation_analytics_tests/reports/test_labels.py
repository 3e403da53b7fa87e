"""Languages and categories on the pages of a day."""

from __future__ import annotations

import polars as pl

from conversation_analytics.core.daily_report import daily_report
from conversation_analytics.core.engine import CPU
from conversation_analytics.core.metrics import dimension_values
from conversation_analytics.core.partials import category_partials, daily_partials
from conversation_analytics.core.schemas import CONVERSATIONS
from conversation_analytics.reports.daily import daily_html
from conversation_analytics_tests.core.metric_rows import DAY, messages_frame, turn

LANGUAGES = {"m0": "th", "m1": "th", "m2": "en", "m3": "xx<b>"}


def page() -> str:
    partials = daily_partials(
        CONVERSATIONS.empty().lazy(),
        messages_frame([turn(id=name) for name in LANGUAGES]),
        day=DAY,
        languages=pl.LazyFrame(
            {
                "id": list(LANGUAGES),
                "query_language": list(LANGUAGES.values()),
                "answer_language": ["en"] * len(LANGUAGES),
            }
        ),
    ).collect()
    shops = pl.LazyFrame(
        {"conversation_id": ["c1"], "category_type": ["topic"], "category_value": ["shop"]}
    )
    turns = messages_frame([turn(id=name) for name in LANGUAGES])
    both = pl.concat([partials.lazy(), category_partials(turns, shops)])
    labels = dimension_values(both).collect()
    report = daily_report(partials.lazy(), DAY, engine=CPU)
    return daily_html(report, generated_for=DAY, labels=labels)


def test_languages_have_names_and_shares_and_are_escaped() -> None:
    shown = page()
    assert "<title>Thai: 2, 50.0%</title>" in shown
    assert "<title>English: 1, 25.0%</title>" in shown
    assert "xx<b>" not in shown
    assert "xx&lt;b&gt;" in shown
    answers = shown[shown.index("<h2>Languages of answers</h2>") :].split("</section>")[0]
    assert "<title>English: 4, 100.0%</title>" in answers


def test_languages_come_before_categories_and_models_are_not_repeated() -> None:
    shown = page()
    order = [
        shown.index(f"<h2>{title}</h2>")
        for title in ("Languages of questions", "Languages of answers", "By topic")
    ]
    assert order == sorted(order)
    assert "Providers" not in shown
