"""The pages of docs/, the site made of them, and README.md: links, anchors, nothing forgotten."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
import unicodedata
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

import pytest

from conversation_analytics.definitions import build_definitions
from conversation_analytics.docs_site import DOCS, ROOT, DocsSiteError, build, navigation
from conversation_analytics.generated import linked
from conversation_analytics.settings import parse_settings

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGES = sorted(DOCS.rglob("*.md"))
READ = [ROOT / "README.md", ROOT / "CHANGELOG.md", *PAGES]
RUNBOOK = (DOCS / "runbook.md").read_text("utf-8")
EVERYTHING_ON = {
    "NOCODB_BASE_URL": "http://127.0.0.1:8080",
    "NOCODB_API_TOKEN": "token",
    "NOCODB_PROJECT_ID": "p1",
    "NOCODB_FEEDBACKS_TABLE": "ratings",
    "NOCODB_CORRECTIONS_TABLE": "corrections",
    "NOCODB_RESULTS_TABLE": "results",
    "REPORT_WEBHOOK_URL": "https://reports.example.org/hook",
    "REPORT_WEBHOOK_SECRET": "whsec_" + "A" * 44,
}
CHROMIUM = shutil.which("chromium")


def prose(page: Path) -> Iterator[tuple[int, str]]:
    """Yield the numbered lines of a page that are no code."""
    fenced = False
    for number, line in enumerate(page.read_text("utf-8").splitlines(), 1):
        if line.startswith("```"):
            fenced = not fenced
        elif not fenced and not line.startswith("    "):
            yield number, line


def links(page: Path) -> Iterator[tuple[int, str]]:
    for number, line in prose(page):
        for target in re.findall(r"\]\(([^)\s]+)\)", re.sub(r"`[^`]*`", "code", line)):
            yield number, target


def anchors_of_git_hosts(page: Path) -> set[str]:
    """Return the anchors of a page's headings as GitHub and its like make them."""
    found: list[str] = []
    for _, line in prose(page):
        if heading := re.fullmatch(r"#{1,6} (.+)", line):
            text = re.sub(r"\[([^\]]*)\]\([^)]*\)|[`*]", r"\1", heading[1]).lower()
            kept = "".join(
                c for c in text if c in " -_" or unicodedata.category(c)[0] in {"L", "N", "M"}
            )
            slug = kept.replace(" ", "-")
            found.append(slug if slug not in found else f"{slug}-{found.count(slug)}")
    return set(found)


@pytest.mark.parametrize("page", READ, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_of_markdown_lead_to_files_and_anchors(page: Path) -> None:
    for number, link in links(page):
        parts = urlsplit(link)
        if parts.scheme:
            assert parts.scheme == "https", f"line {number}: {link}"
            continue
        target = (page.parent / unquote(parts.path)).resolve() if parts.path else page
        assert target.is_relative_to(ROOT), f"line {number}: {link} leaves the project"
        assert target.is_file(), f"line {number}: {link} leads to no file"
        if page.is_relative_to(DOCS):
            assert target.is_relative_to(DOCS), f"line {number}: {link} is not on the site"
        if parts.fragment:
            assert parts.fragment in anchors_of_git_hosts(target), f"line {number}: {link}"


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(DOCS)))
def test_a_page_reads_alike_on_the_site_and_on_a_git_host(page: Path) -> None:
    """Python-Markdown begins no list and no table in a paragraph, and nests by four columns."""
    before, listed, titles = "", False, 0
    for number, line in prose(page):
        item = re.match(r"( *)([-*]|\d+\.) ", line)
        titles += line.startswith("# ")
        if item and before.strip() and not before.startswith("#"):
            assert listed, f"line {number}: a list needs an empty line before it"
        if line.startswith("|") and before.strip():
            assert before.startswith(("|", "#")), f"line {number}: a table needs an empty line"
        if before.startswith("|") and line.strip():
            assert line.startswith("|"), f"line {number}: an empty line ends a table"
        assert not item or item[1] == "", f"line {number}: a list in a list reads otherwise"
        listed = bool(item) or (listed and bool(line.strip()) and not line.startswith(("#", "|")))
        before = line
    assert titles == 1, "one title a page"


class Tags(HTMLParser):
    """What a page of the site holds and names."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        named = {name: value for name, value in attrs if value is not None}
        self.ids.update(named[name] for name in ("id", "name") if name in named)
        if tag == "a" and "href" in named:
            self.links.append(named["href"])
        elif "src" in named:
            self.loaded.append(named["src"])
        elif tag == "link" and named.get("rel") not in {"next", "prev", "canonical"}:
            self.loaded.append(named["href"])


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(DOCS, tmp_path_factory.mktemp("docs")).parent


def test_links_of_the_site_lead_to_pages_and_anchors(site: Path) -> None:
    pages = {path: Tags(path.read_text("utf-8")) for path in site.rglob("*.html")}
    assert {path.relative_to(site).with_suffix(".md") for path in pages} == {
        Path("404.md"), *(page.relative_to(DOCS) for page in PAGES),
    }  # fmt: skip
    for path, tags in pages.items():
        if path.name == "404.html":
            continue  # for servers, which show it under any address
        for link in tags.links:
            parts = urlsplit(link)
            if parts.scheme:
                assert parts.scheme == "https", f"{path.name}: {link}"
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            target = target / "index.html" if target.is_dir() else target
            assert target.is_file(), f"{path.name}: {link}"
            if parts.fragment and not parts.fragment.startswith("__"):
                assert parts.fragment in pages[target].ids, f"{path.name}: {link}"


def test_the_site_loads_nothing_from_elsewhere_and_tells_nothing_of_this_machine(
    site: Path,
) -> None:
    for path in site.rglob("*"):
        if path.suffix == ".html":
            for address in Tags(path.read_text("utf-8")).loaded:
                assert not urlsplit(address).scheme, f"{path.name} loads {address}"
                assert not address.startswith("//"), f"{path.name} loads {address}"
                if path.name != "404.html":
                    assert (path.parent / urlsplit(address).path).is_file(), address
        if path.suffix == ".css":
            for address in re.findall(r"(?:url\(|@import)\s*['\"]?([^'\")]+)", path.read_text()):
                assert address.startswith("data:"), f"{path.name} loads {address[:80]}"
        if path.suffix in {".html", ".js", ".json", ".xml"}:
            text = path.read_text("utf-8")
            assert str(ROOT) not in text, path.name
            assert str(site.parent) not in text, path.name


@pytest.mark.skipif(CHROMIUM is None, reason="needs chromium")
def test_the_search_works_on_pages_read_from_the_disk(site: Path, tmp_path: Path) -> None:
    copy = tmp_path / "site"
    shutil.copytree(site, copy)
    page = copy / "sql.html"
    typing = """<script>
    const first = (root) => {
      for (const one of root.querySelectorAll("*")) {
        if (one.matches("input:not([type=checkbox]):not([type=radio])")) return one
        const inside = one.shadowRoot && first(one.shadowRoot)
        if (inside) return inside
      }
    }
    const told = (root) => [...root.querySelectorAll("*")].map((one) =>
      (one.shadowRoot ? told(one.shadowRoot) : "") + (one.tagName === "A" ? one.href + " " : "")
    ).join("")
    let asked = false
    setInterval(() => {
      const field = first(document)
      if (!field) {
        document.querySelector(".md-search button, button.md-search__button")?.click()
      } else if (!asked) {
        asked = true
        field.value = "watermark"
        field.dispatchEvent(new InputEvent("input", { bubbles: true, composed: true }))
      }
      document.documentElement.dataset.found = told(document)
    }, 200)
    </script>"""
    page.write_text(page.read_text("utf-8").replace("</body>", typing + "</body>"), "utf-8")
    assert CHROMIUM
    shown = subprocess.run(
        [
            CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=8000",
            f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", page.as_uri(),
        ],
        capture_output=True, text=True, check=True, timeout=120,
    ).stdout  # fmt: skip
    found = re.search(r'data-found="([^"]*)"', shown)
    assert found
    # No link of the page itself has this anchor: it is the search's.
    assert re.search(r"/concepts\.html\?h=\w*#watermark ", found[1])


def test_a_link_into_nowhere_stops_the_build_and_is_named(tmp_path: Path) -> None:
    docs = tmp_path / "docs"
    docs.mkdir()
    (docs / "index.md").write_text("# Start\n\n[there](sql.md#nowhere)\n")
    (docs / "sql.md").write_text("# SQL\n")
    with pytest.raises(DocsSiteError, match=r"anchor does not exist[\s\S]*index\.md:3") as raised:
        build(docs, tmp_path / "built")
    assert "\x1b" not in str(raised.value)
    assert "Traceback" not in str(raised.value)
    assert not (tmp_path / "built" / "site").exists()


def test_the_navigation_has_the_pages_that_are_there_and_knows_a_place_for_each(
    tmp_path: Path,
) -> None:
    (tmp_path / "decisions").mkdir()
    for name in ("index.md", "runbook.md", "decisions/0001-a.md", "decisions/index.md"):
        (tmp_path / name).write_text("# Title\n")
    assert navigation(tmp_path) == [
        {"Start": ["index.md"]},
        {"Operator": ["runbook.md"]},
        {"Developer": [{"Decisions": ["decisions/index.md", "decisions/0001-a.md"]}]},
    ]
    (tmp_path / "lost.md").write_text("# Lost\n")
    with pytest.raises(DocsSiteError, match=r"lost\.md: in no section of NAVIGATION"):
        navigation(tmp_path)


def test_pages_that_generated_text_names_are_links() -> None:
    assert linked("text, see docs/write-back.md") == "text, see [write-back](write-back.md)"
    assert linked("by `docs/x.md` and /docs/x.md") == "by `docs/x.md` and /docs/x.md"


def error_classes(base: str = "AnalyticsError") -> set[str]:
    """Return the names of a class of errors and of all that are made of it."""
    bases: dict[str, set[str]] = {}
    for path in (ROOT / "conversation_analytics").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.ClassDef):
                bases[node.name] = {one.id for one in node.bases if isinstance(one, ast.Name)}
    known = {base}
    while more := {name for name, of in bases.items() if of & known} - known:
        known |= more
    return known


def section(title: str) -> str:
    found = re.search(rf"^## {title}\n([\s\S]*?)(?=^## |\Z)", RUNBOOK, re.MULTILINE)
    assert found, title
    return found[1]


def test_the_runbook_says_what_every_error_is_and_what_to_do() -> None:
    told = section("Errors")
    classes, transient = error_classes(), error_classes("TransientError")
    assert {"SettingsError", "PartitionReplacedError", "WebhookRefusedError"} <= classes
    entries = re.findall(r"^#### (\w+)\n([\s\S]*?)(?=^#{3,4} |\Z)", told, re.MULTILINE)
    assert {name for name, _ in entries} <= classes, "an error that is gone"
    assert classes - {name for name, _ in entries} - set(re.findall(r"`(\w+)`", told)) == set()
    for name, text in entries:
        assert text.count("**Do:**") == 1, name
        kind = "Transient" if name in transient else "Permanent"
        assert re.match(rf"{kind}[.,]", text), f"{name} is {kind}"


def test_the_runbook_has_every_check_sensor_and_schedule_and_no_other() -> None:
    repository = build_definitions(parse_settings(EVERYTHING_ON)).get_repository_def()
    checks = {key.name for key in repository.asset_graph.asset_check_keys}
    assert set(re.findall(r"^### (\w+)$", section("Checks"), re.MULTILINE)) == checks
    ticking = {one.name for one in repository.sensor_defs}
    ticking |= {one.name for one in repository.schedule_defs}
    assert "send_results" in ticking
    assert "finished_reports" in ticking
    told = section("Sensors and schedules")
    assert set(re.findall(r"^\| `(\w+)` \|", told, re.MULTILINE)) == ticking


def test_the_diagram_names_every_asset() -> None:
    repository = build_definitions(parse_settings(EVERYTHING_ON)).get_repository_def()
    assets = {key.to_user_string() for key in repository.asset_graph.get_all_asset_keys()}
    drawn = (DOCS / "assets" / "architecture.svg").read_text("utf-8")
    missing = {name for name in assets if not re.search(rf"\b{name}\b", drawn)}
    # Their place has one line for all.
    assert "raw_undated_* → undated_*" in drawn
    assert {name for name in missing if "undated" not in name} == set()


def test_what_reliability_promises_is_tested_and_no_fault_costs_a_row() -> None:
    promises = re.findall(r"^\| (?!promise|---)(.+) \|$", _page("reliability"), re.MULTILINE)
    assert len(promises) > 10
    for promise in promises:
        cited = re.findall(r"`([\w/]+\.py)(?:::(test_\w+))?`", promise)
        assert cited, promise
        for path, name in cited:
            code = (ROOT / "conversation_analytics_tests" / path).read_text("utf-8")
            assert f"def {name or 'test_'}" in code, f"{path} has no {name}"
    faults = re.findall(r"^\| .+ \| \d+ \| (\d+) \| (\d+) \|", _page("faults"), re.MULTILINE)
    assert len(faults) > 50
    assert set(faults) == {("0", "0")}


def _page(name: str) -> str:
    return (DOCS / f"{name}.md").read_text("utf-8")


def test_every_decision_has_its_parts_and_stands_in_the_list() -> None:
    decisions = sorted((DOCS / "decisions").glob("[0-9]*.md"))
    listed = (DOCS / "decisions" / "index.md").read_text("utf-8")
    for number, page in enumerate(decisions, 1):
        text = page.read_text("utf-8")
        title = re.match(rf"# {number}\. (.+)\n", text)
        assert title, f"{page.name}: numbers go on, and stand in the title"
        assert f"| {number} | [{title[1]}]({page.name}) |" in listed
        assert re.findall(r"^## (.+)$", text, re.MULTILINE) == [
            "Context", "Decision", "Consequences",
        ]  # fmt: skip
        assert len(text.splitlines()) <= 60, f"{page.name}: one page"
