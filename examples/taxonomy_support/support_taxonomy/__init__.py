"""Categories of a support desk."""

from importlib import resources


def taxonomy() -> str:
    """Return the YAML text."""
    return (resources.files(__name__) / "support.yaml").read_text(encoding="utf-8")
