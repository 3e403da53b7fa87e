from __future__ import annotations

import re

import pytest

from conversation_analytics.core.errors import SettingsError
from conversation_analytics.core.language_codes import KNOWN
from conversation_analytics.language.detectors import NaiveBayesDetector
from conversation_analytics.language.word_tables import word_table
from conversation_analytics.settings import parse_settings

CANDIDATES_IN_LATIN = ("en", "vi", "id", "es", "pt", "fr", "de")


def test_candidates_limit_what_is_found() -> None:
    text = "Onde posso mudar o endereço de entrega?"
    detector = NaiveBayesDetector()
    assert detector.detect([text], ["es", "pt", "en"])[0][0] == "pt"
    assert detector.detect([text], ["es", "en"])[0][0] == "es"
    assert detector.detect([text, text], ["en"]) == [("en", 1.0)] * 2


def test_every_code_that_the_setting_allows_is_known_to_the_model() -> None:
    told = NaiveBayesDetector().detect(["the weather is fine today"], sorted(KNOWN))
    assert told[0][0] == "en"
    with pytest.raises(SettingsError, match="tlh, xx cannot be told from others"):
        parse_settings({"LANGUAGES": "en,xx,tlh"})
    with pytest.raises(SettingsError, match="an empty code"):
        parse_settings({"LANGUAGES": "en,,th"})


def test_the_name_has_the_version() -> None:
    assert re.fullmatch(r"py3langid [\d.]+, wordfreq [\d.]+", NaiveBayesDetector().name)


@pytest.mark.parametrize(
    ("text", "language"),
    [("nao funciona", "pt"), ("não funciona", "pt"), ("no funciona nada", "es"),
     ("cam on nhe", "vi"),
     ("xin chao", "vi"), ("gak bisa login", "id"), ("terima kasih", "id"), ("wo ist", "de"),
     ("c'est fini", "fr"), ("où ça", "fr"), ("that's it", "en"), ("muito bom", "pt")],
)  # fmt: skip
def test_a_few_words_are_enough(text: str, language: str) -> None:
    assert NaiveBayesDetector().detect([text], CANDIDATES_IN_LATIN)[0][0] == language


def test_what_says_nothing_is_not_sure() -> None:
    for _, sure in NaiveBayesDetector().detect(["ok", "", "zzqx"], CANDIDATES_IN_LATIN):
        assert sure < 0.5


def test_a_candidate_without_a_list_of_words_leaves_bytes_alone_to_decide() -> None:
    assert word_table(("en", "eo")) is None
    assert word_table(("zh", "ja")) is None
    told = NaiveBayesDetector().detect(["Mi ŝatas la domon kaj la arbojn"], ["en", "eo"])
    assert told[0][0] == "eo"
    assert 0.5 < told[0][1] <= 1


def test_other_texts_change_no_answer() -> None:
    texts = ["bom dia", "", "guten Tag zusammen", "ok"]
    detector = NaiveBayesDetector()
    together = detector.detect(texts, CANDIDATES_IN_LATIN)
    assert together == [detector.detect([text], CANDIDATES_IN_LATIN)[0] for text in texts]
    assert detector.detect([], CANDIDATES_IN_LATIN) == []
