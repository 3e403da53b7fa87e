"""The tests of the example: the platform's contract, and the errors of its own."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from glossary_translator import Glossary, open_translator

from conversation_analytics.contracts import check_translator
from conversation_analytics.core.errors import SettingsError, TranslatorRequestError
from conversation_analytics.core.translator import TranslatorConfig, TranslatorLimits

if TYPE_CHECKING:
    from pathlib import Path


def opened(file: Path, model: str = "") -> Glossary:
    config = TranslatorConfig("", "", model, TranslatorLimits(), 0, 0, 1, {"file": str(file)})
    return open_translator(config)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "glossary.json"
    path.write_text(json.dumps({"de>en": {"Hund": "dog", "ja": "yes"}}), encoding="utf-8")
    return path


def test_it_keeps_the_contract(file: Path) -> None:
    check_translator(opened(file), ("de", "en"), ["Hund, ja!", "nein"])


def test_words_that_are_not_in_it_stay(file: Path) -> None:
    assert opened(file).translate(["Ja, der HUND."], "de", "en") == ["yes, der dog."]


def test_another_glossary_is_another_model(file: Path) -> None:
    first = opened(file)
    assert opened(file, "mine").model == "mine"
    file.write_text('{"de>en": {"ja": "aye"}}', encoding="utf-8")
    assert opened(file).model != first.model


def test_what_it_cannot_do_is_an_error(file: Path, tmp_path: Path) -> None:
    with pytest.raises(TranslatorRequestError, match="no words from th into en"):
        opened(file).translate(["a"], "th", "en")
    with pytest.raises(SettingsError, match=r"EXT_GLOSSARY_FILE is .*FileNotFoundError"):
        opened(tmp_path / "none.json")
