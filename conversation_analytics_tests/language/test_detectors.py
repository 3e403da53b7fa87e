from __future__ import annotations

import pytest

from conversation_analytics.core.errors import SettingsError
from conversation_analytics.language.detectors import NaiveBayesDetector


def test_candidates_limit_what_is_found() -> None:
    text = "Onde posso mudar o endereço de entrega?"
    detector = NaiveBayesDetector()
    assert detector.detect([text], ["es", "pt", "en"])[0][0] == "pt"
    assert detector.detect([text], ["es", "en"])[0][0] == "es"
    assert detector.detect([text, text], ["en"]) == [("en", 1.0)] * 2


def test_a_language_the_model_does_not_know_is_told() -> None:
    with pytest.raises(SettingsError, match=r"LANGUAGES: tlh, xx cannot.*there are.* en, "):
        NaiveBayesDetector().detect(["text"], ["en", "xx", "tlh"])


def test_the_name_has_the_version() -> None:
    assert NaiveBayesDetector().name.startswith("py3langid ")
