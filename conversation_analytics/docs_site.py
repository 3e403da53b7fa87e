"""`python -m conversation_analytics.docs_site` builds the pages of docs/ as a site in build/site.

The site is plain files: it works from the disk, its search too, and asks nothing of any network.
Zensical, which builds it, is of the `dev` extra.
"""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

from conversation_analytics.core.errors import PermanentError

ROOT: Final = Path(__file__).parents[1]
DOCS: Final = ROOT / "docs"
BUILD: Final = ROOT / "build"

NAVIGATION: Final[dict[str, tuple[str, ...]]] = {
    "Start": ("index.md", "concepts.md"),
    "Analyst": (
        "metrics.md",
        "data-dictionary.md",
        "sql.md",
        "export.md",
        "categories.md",
        "evaluation.md",
    ),
    "Operator": (
        "configuration.md",
        "deploy.md",
        "operations.md",
        "runbook.md",
        "upgrade.md",
        "executors.md",
        "dask.md",
        "scale.md",
        "security.md",
        "personal-data.md",
        "translations.md",
        "write-back.md",
    ),
    "Developer": (
        "client.md",
        "documents.md",
        "architecture.md",
        "extending.md",
        "performance.md",
        "reliability.md",
        "faults.md",
        "decisions/",
    ),
}
"""Pages by reader; a folder stands for its index and its other pages in order.

A page that is not there (yet) is left out of the site. A page that is there and stands in no
section stops the build, so that none gets lost.
"""

_FEATURES: Final = (
    "content.code.copy",
    "navigation.footer",
    "navigation.indexes",
    "navigation.path",
    "navigation.sections",
    "navigation.tabs",
    "navigation.top",
    "search.highlight",
    "toc.follow",
)
# The first is taken until the reader chooses; the second way round of the switch is the other.
_PALETTES: Final = (
    ("(prefers-color-scheme: light)", "default", "lucide/sun", "Dark"),
    ("(prefers-color-scheme: dark)", "slate", "lucide/moon", "Light"),
)
_TRACE: Final = "Traceback (most recent call last)"


class DocsSiteError(PermanentError):
    """The pages of docs/ cannot be made a site."""


def navigation(docs: Path = DOCS) -> list[dict[str, list[str | dict[str, list[str]]]]]:
    """Return the sections with the pages that are there, each page once.

    Args:
        docs: folder of the pages.

    Raises:
        DocsSiteError: a page stands in no section of `NAVIGATION`.
    """
    there = {path.relative_to(docs).as_posix() for path in docs.rglob("*.md")}
    placed: set[str] = set()
    sections: list[dict[str, list[str | dict[str, list[str]]]]] = []
    for title, names in NAVIGATION.items():
        entries: list[str | dict[str, list[str]]] = []
        for name in names:
            if not name.endswith("/"):
                entries += [name] if name in there else []
                placed.add(name)
                continue
            pages = sorted(page for page in there if page.startswith(name))
            pages.sort(key=lambda page: not page.endswith("/index.md"))
            entries += [{name.strip("/").capitalize(): pages}] if pages else []
            placed.update(pages)
        sections += [{title: entries}] if entries else []
    if lost := sorted(there - placed):
        raise DocsSiteError(
            f"docs/: {', '.join(lost)}: in no section of NAVIGATION, so that nobody finds it; "
            "name it in conversation_analytics/docs_site.py"
        )
    return sections


def site_settings(docs: Path) -> dict[str, object]:
    """Return what Zensical is told, as JSON values.

    Args:
        docs: folder of the pages.

    Raises:
        DocsSiteError: a page stands in no section of `NAVIGATION`.
    """
    palettes = [
        {"media": media, "scheme": scheme, "toggle": {"icon": icon, "name": f"{other} colours"}}
        for media, scheme, icon, other in _PALETTES
    ]
    return {
        "site_name": "Conversation analytics",
        "docs_dir": "docs",
        "site_dir": "site",
        "nav": navigation(docs),
        "theme": {
            # Fonts and everything else come with the pages.
            "font": False,
            "features": list(_FEATURES),
            "palette": palettes,
        },
        "plugins": [{"search": {}}, {"offline": {}}],
        # Ours takes the place of one that the `offline` plugin would fetch from a server.
        "extra": {"generator": False, "polyfills": ["assets/iframe-worker.js"]},
        "extra_css": ["assets/site.css"],
        "markdown_extensions": [
            "admonition",
            "attr_list",
            "tables",
            {
                "toc": {
                    "permalink": True,
                    "permalink_title": "Link to this place",
                    # The anchors that Git hosts make of the same headings.
                    "slugify": {"object": "pymdownx.slugs.slugify", "kwds": {"case": "lower"}},
                }
            },
            "pymdownx.highlight",
            "pymdownx.superfences",
        ],
    }


def build(docs: Path = DOCS, folder: Path = BUILD) -> Path:
    """Write the site; anything that Zensical warns of, such as a link into nowhere, is an error.

    Args:
        docs: folder of the pages.
        folder: gets `site`, and beside it what Zensical reads: a copy of the pages, its settings.

    Returns:
        The site's first page.

    Raises:
        DocsSiteError: a page has no place, or the site cannot be built without a warning.
    """
    settings = folder / "zensical.yml"
    text = json.dumps(site_settings(docs), indent=1) + "\n"
    # Zensical reads only pages that lie below its settings, and takes pages that are gone along.
    for old in (folder / "docs", folder / "site"):
        shutil.rmtree(old, ignore_errors=True)
    shutil.copytree(docs, folder / "docs")
    settings.write_text(text, encoding="utf-8")  # JSON is YAML.
    command = [
        sys.executable,
        "-m",
        "zensical",
        "build",
        "--clean",
        "--strict",
        "-f",
        settings.name,
    ]
    done = subprocess.run(  # noqa: S603 - this environment's own program
        command, cwd=folder, capture_output=True, text=True, check=False
    )
    first = folder / "site" / "index.html"
    if done.returncode or not first.exists():
        shutil.rmtree(folder / "site", ignore_errors=True)
        told = re.sub(r"\x1b\[[0-9;]*m", "", done.stdout + done.stderr).partition(_TRACE)[0]
        raise DocsSiteError(f"{docs}: the site cannot be built; mend what Zensical tells:\n{told}")
    return first


def main() -> None:
    """Build the site of docs/ and say where it is."""
    try:
        first = build()
    except DocsSiteError as error:
        sys.exit(str(error))
    sys.stdout.write(f"open {first}\n")


if __name__ == "__main__":
    main()
