"""`python -m conversation_analytics.generated` writes the files that are made from the code."""

import re
from pathlib import Path

from conversation_analytics.core.metrics import metrics_markdown
from conversation_analytics.core.tables import dictionary_markdown
from conversation_analytics.settings import configuration_markdown, env_example

ROOT = Path(__file__).parents[1]


def generated_files() -> dict[str, str]:
    """Return path below the project's root to content."""
    return {
        ".env.example": env_example(),
        "docs/configuration.md": linked(configuration_markdown()),
        "docs/data-dictionary.md": linked(dictionary_markdown()),
        "docs/metrics.md": linked(metrics_markdown()),
    }


def linked(page: str) -> str:
    """Return a page of docs/ in which the other pages that its text names are links to them."""
    return re.sub(r"(?<![\w/`])docs/([a-z-]+)\.md", r"[\1](\1.md)", page)


def main() -> None:
    """Write every generated file."""
    for name, text in generated_files().items():
        (ROOT / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
