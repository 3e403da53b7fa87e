from __future__ import annotations

import pytest

from conversation_analytics.core.errors import SettingsError
from conversation_analytics.core.language_codes import KNOWN
from conversation_analytics.language.detectors import NaiveBayesDetector
from conversation_analytics.settings import parse_settings


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
    assert NaiveBayesDetector().name.startswith("py3langid ")
