"""The compose file as Compose reads it: variables filled in, anchors merged."""

from __future__ import annotations

import functools
import re
from typing import TYPE_CHECKING, Any

import yaml

from conversation_analytics_tests.commands import ROOT

if TYPE_CHECKING:
    from collections.abc import Mapping

DEPLOY = ROOT / "deploy"
TEXT = (DEPLOY / "compose.yaml").read_text("utf-8")
EXAMPLE = (DEPLOY / ".env.example").read_text("utf-8")
SETTINGS_EXAMPLE = (DEPLOY / "settings.env.example").read_text("utf-8")
CODE_SERVER = "code-server"
"""Name of the address that the code server listens on."""
_VARIABLE = re.compile(
    r"\$(?:(?P<dollar>\$)|\{(?P<name>[A-Z0-9_]+)(?P<how>:[-?+])?(?P<word>[^}]*)\})"
)
SECRET = "0a" * 24


class MissingError(Exception):
    """A variable that has to be set is not, as Compose refuses it."""


def example() -> dict[str, str]:
    """Return the variables of `.env.example` with their values."""
    return _assignments(EXAMPLE)


def settings_example() -> dict[str, str]:
    """Return the variables of `settings.env.example` with their values."""
    return _assignments(SETTINGS_EXAMPLE)


def _assignments(text: str) -> dict[str, str]:
    lines = re.findall(r"^([A-Z0-9_]+)=(.*)$", text, re.MULTILINE)
    return {str(name): str(value) for name, value in lines}


def refused_names() -> set[str]:
    """Return the settings that `prepare` refuses where they would have no effect."""
    return set(re.findall(r"\$\{([A-Z0-9_]+):\+\1\}", TEXT))


def secret_names() -> set[str]:
    """Return the variables that compose.yaml refuses to do without."""
    return set(re.findall(r"\$\{([A-Z0-9_]+):\?", TEXT))


def filled_in() -> dict[str, str]:
    """Return the example with every secret set."""
    return {
        **example(),
        **{name: f"{SECRET}{i:02d}" for i, name in enumerate(sorted(secret_names()))},
    }


def _interpolated(text: str, variables: Mapping[str, str]) -> str:
    def value(match: re.Match[str]) -> str:
        if match["dollar"]:
            return "$"
        found = variables.get(match["name"], "")
        if not found and match["how"] == ":?":
            raise MissingError(match["name"])
        if match["how"] == ":+":
            return match["word"] if found else ""
        return found or (match["word"] if match["how"] == ":-" else "")

    return _VARIABLE.sub(value, text)


def services(variables: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """Return every service with its variables filled in."""
    everything = _walked(document()["services"], variables)
    assert isinstance(everything, dict)
    return everything


def _walked(node: Any, variables: Mapping[str, str]) -> Any:
    if isinstance(node, dict):
        return {key: _walked(value, variables) for key, value in node.items()}
    if isinstance(node, list):
        return [_walked(value, variables) for value in node]
    return _interpolated(node, variables) if isinstance(node, str) else node


@functools.cache
def document() -> dict[str, Any]:
    """Return the file, with its anchors merged."""
    loaded: dict[str, Any] = yaml.safe_load(TEXT)
    return loaded
