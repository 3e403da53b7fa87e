"""The command that prints qualities, with the real parts."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from typing import TYPE_CHECKING

import polars as pl
import pytest

from conversation_analytics.core.errors import EvaluationDataError
from conversation_analytics.core.language_codes import CANDIDATES
from conversation_analytics.evaluation import phrases, sections
from conversation_analytics.evaluation.labelled_files import Task, read_labelled
from conversation_analytics.evaluation.qualities import Quality, confusions, macro_f1, table
from conversation_analytics.language.taxonomy_files import read_taxonomy
from conversation_analytics_tests.commands import ROOT

if TYPE_CHECKING:
    from pathlib import Path


def command(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command and return what it said."""
    return subprocess.run(
        [sys.executable, "-m", "conversation_analytics.evaluation", *arguments],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip


def test_made_up_languages_are_right() -> None:
    assert all(row.reached for row in sections.made_up_languages())


def test_english_examples_teach_the_other_languages() -> None:
    rows = {row.what: row for row in sections.default_taxonomy_across()}
    assert len(rows) == 4
    assert all(row.reached for row in rows.values())


def test_made_up_sentiments_are_told() -> None:
    whole, *by_language = sections.made_up_sentiment()
    assert whole.figure > 0.8
    assert len(by_language) == len(CANDIDATES)
    assert min(row.figure for row in by_language) > 0.57


def test_made_up_phrases_are_short_of_all_languages_and_trained_on_nowhere() -> None:
    short, feelings = phrases.short_phrases(), phrases.feelings()
    assert Counter(language for _, language in short) == dict.fromkeys(CANDIDATES, 30)
    assert all(len(text.split()) <= 3 for text, _ in short)
    assert {language for *_, language in feelings} == set(CANDIDATES)
    taxonomy, _ = read_taxonomy(None, None)
    examples = {text for one in taxonomy.types for label in one.labels for text in label.examples}
    assert not examples & {text for text, *_ in feelings}


def test_a_table_tells_what_is_missed_and_confused() -> None:
    told = table([
        Quality("a", "right", 0.5, 0.9, 2, "all", ("x as y: 1",)),
        Quality("b", "texts/s", 12345.6, 10_000, 2, "all"),
    ])  # fmt: skip
    assert "| a | right | 0.500 | 0.9 **missed** | 2 | all |" in told
    assert "| b | texts/s | 12,346 | 10,000 | 2 | all |" in told
    assert told.endswith("- a: x as y: 1\n")


def test_measures_are_what_their_names_say() -> None:
    gold, found = ["a", "a", "b", "b"], ["a", "b", "b", "b"]
    assert macro_f1(gold, found) == pytest.approx((2 / 3 + 4 / 5) / 2)
    assert macro_f1(["a", "b"], ["a", "c"]) == pytest.approx(0.5)
    assert confusions(zip(gold, found, strict=True)) == ("a as b: 1",)


def test_news_say_which_languages_they_lack(tmp_path: Path) -> None:
    lines = [f"Der Zug Nummer {n} kommt heute später an als sonst." for n in range(6)]
    news = pl.DataFrame({"deu": lines, "doc_id": [f"d{n}" for n in range(6)]})
    news.write_parquet(tmp_path / "some.parquet")
    rows, missing = sections.ntrex_languages(tmp_path)
    assert rows[0].figure == 1
    assert missing == "en, th, vi, zh, id, es, pt, fr"
    with pytest.raises(EvaluationDataError, match="columns such as eng"):
        sections.ntrex_languages(tmp_path / "none")


def test_a_file_of_intents_is_measured_with_what_fits_none(tmp_path: Path) -> None:
    said = {"refund": "I want my money back for order", "login": "I cannot sign in as user",
            "other": "the weather in town"}  # fmt: skip
    lines = [f"{text} {number},{label}" for label, text in said.items() for number in range(6)]
    path = tmp_path / "intents.csv"
    path.write_text("\n".join(["text,label", *lines]), "utf-8")
    rows = read_labelled(path, Task.INTENT)
    right, outside = sections.labelled_file(rows, Task.INTENT, 3)
    assert (right.figure, right.texts) == (1, 6)
    assert (outside.measure, outside.texts) == ("AUROC", 12)
    with pytest.raises(EvaluationDataError, match="20 different texts each, got 0"):
        sections.labelled_file(rows, Task.INTENT, 10)


@pytest.mark.parametrize(
    ("task", "label", "measure"),
    [(Task.LANGUAGE, "en", "right"), (Task.SENTIMENT, "positive", "macro-F1"),
     (Task.PERSONAL_DATA, '[{"kind": "email", "start": 6, "end": 19}]', "recall")],
)  # fmt: skip
def test_a_file_of_each_task_is_measured(
    tmp_path: Path, task: Task, label: str, measure: str
) -> None:
    path = tmp_path / "set.csv"
    quoted = label.replace('"', '""')
    path.write_text(f'text,label\nthanks a@example.com it is lovely,"{quoted}"\n', "utf-8")
    rows = sections.labelled_file(read_labelled(path, task), task, 10)
    assert rows[0].measure == measure


def test_mistakes_are_one_sentence_and_exit_code_2(tmp_path: Path) -> None:
    for arguments, told in (
        (("--data", str(tmp_path)), "expected a folder with `ntrex` or `sgd`"),
        (("--labelled", "x.csv"), "--labelled and --task together"),
        (("--labelled", str(tmp_path / "x.csv"), "--task", "intent"), "cannot be read"),
        (("--task", "tone"), "is not one of"),
    ):
        ran = command(*arguments)
        assert ran.returncode == 2
        assert told in ran.stderr.replace("'tone'", "")
        assert "Traceback" not in ran.stderr


def test_without_data_made_up_texts_are_measured_and_the_rest_is_named() -> None:
    ran = command("--rounds", "1")
    assert ran.returncode == 0, ran.stderr
    for title in ("Languages", "One taxonomy", "Sentiment", "Structured personal data"):
        assert f"## {title}" in ran.stdout
    assert "Not measured: intents" in ran.stdout
