"""What installed packages bring: found, named, refused with a sentence, never half in use."""

from __future__ import annotations

import contextlib
import re
import sys
from typing import TYPE_CHECKING

import dagster as dg
import pytest
from click.testing import CliRunner

from conversation_analytics import extensions
from conversation_analytics.cli import cli
from conversation_analytics.core.errors import ExtensionError, SettingsError
from conversation_analytics.core.metrics import (
    BUILT_IN,
    DIMENSION_METRICS,
    METRICS,
    METRICS_BY_NAME,
    metrics_version,
    use_metrics,
)
from conversation_analytics.definitions import build_definitions, daily_names, daily_steps
from conversation_analytics.installation import findings
from conversation_analytics.language.taxonomy_files import read_taxonomy
from conversation_analytics.resources.connections import open_source, open_translator
from conversation_analytics.settings import Settings, parse_settings
from conversation_analytics_tests.made_up_packages import put_package

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

METRIC = """
from conversation_analytics.core.derived_metrics import DerivedMetric
from conversation_analytics.core.metrics import MetricType
METRIC = DerivedMetric("{name}", "A title", "turns", MetricType.COUNT, {{"{sum}": 1}})
"""
ASSET = """
import dagster as dg
def assets(chain, options):
    @dg.asset(name="{name}", group_name="g", description="d", deps=[{deps}], **{common})
    def made() -> None: ...
    return [made]
"""
GLOSSARY = """
class Engine:
    engine, limits = "e", None
    def __init__(self, config): self.model = config.options["model"]
    def pairs(self): ...
    def translate(self, texts, source, target): ...
    def close(self): ...
class Half:
    def __init__(self, config): ...
    def translate(self, texts, source, target): ...
"""


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Return a folder of installed packages; what they brought is taken back."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    before = set(sys.modules)
    yield folder
    use_metrics(())
    for name in set(sys.modules) - before:
        if name.startswith("made_up"):
            del sys.modules[name]


def of(**variables: str) -> Settings:
    return parse_settings(variables)


@contextlib.contextmanager
def refused(*parts: str) -> Iterator[None]:
    with pytest.raises(ExtensionError) as caught:
        yield
    text = str(caught.value)
    assert "\n" not in text
    for part in parts:
        assert part in text


def test_without_a_setting_there_are_the_platforms_own_parts_alone() -> None:
    extensions.use_extensions(of())
    assert list(METRICS) == list(BUILT_IN)
    assert metrics_version() == "1"


def test_what_no_setting_names_is_not_imported(site: Path) -> None:
    put_package(
        site, "made-up-loud", "raise SystemExit('imported')",
        {f"{kind}:loud": "thing" for kind in extensions.Kind},
    )  # fmt: skip
    assert {one.kind for one in extensions.installed() if one.name == "loud"} == {*extensions.Kind}
    settings = of()
    extensions.use_extensions(settings)
    build_definitions(settings)
    with contextlib.closing(open_source(settings)):
        assert "made_up_loud" not in sys.modules
    with pytest.raises(ExtensionError, match="SystemExit: imported"):
        extensions.use_extensions(of(EXTENSIONS="made-up-loud"))


@pytest.mark.parametrize("name", ["SOURCE", "TRANSLATOR", "TAXONOMY", "EXTENSIONS"])
@pytest.mark.parametrize("value", ["../x", "/tmp/x.py", "os:system", "os.path", "-x", "é"])  # noqa: S108 - a text
def test_a_path_is_no_name(name: str, value: str) -> None:
    if name == "EXTENSIONS" and value == "os.path":  # the name of a package may have a dot
        with refused("EXTENSIONS names 'os-path'", "expected an installed package"):
            extensions.use_extensions(of(EXTENSIONS=value))
        return
    with pytest.raises(SettingsError, match=name):
        of(**{name: value})


@pytest.mark.parametrize(
    ("variables", "told"),
    [
        ({"SOURCE": "smaple"}, "SOURCE is 'smaple': expected one of nocodb, sample, made (of "),
        ({"TRANSLATOR": "depl"}, "TRANSLATOR is 'depl': expected one of apertium, deepl, "),
        ({"TAXONOMY": "suport"}, "TAXONOMY is 'suport': expected one of"),
        ({"EXTENSIONS": "made-upp"}, "EXTENSIONS names 'made-upp': expected an installed package"),
        # It brings a source, which SOURCE would name.
        ({"EXTENSIONS": "made-up-source"}, "names 'made-up-source': expected an installed package"),
    ],
    ids=lambda one: "-".join(one) if isinstance(one, dict) else "",
)  # fmt: skip
def test_an_unknown_name_is_answered_with_the_known_ones(
    site: Path, variables: dict[str, str], told: str
) -> None:
    put_package(site, "made-up-source", "", {"sources:made": "open"})
    with refused(told):
        extensions.use_extensions(of(**variables))
    with refused(told):
        build_definitions(of(**variables))


def test_names_of_packages_are_spelled_in_any_way(site: Path) -> None:
    put_package(site, "Made-Up.Metric", "", {})
    (site / "Made_Up.Metric.py").unlink()
    code = METRIC.format(name="again", sum="turns")
    (site / "made_up_m.py").write_text(code)
    info = next(site.glob("*.dist-info"))
    (info / "entry_points.txt").write_text(
        "[conversation_analytics.metrics]\nagain = made_up_m:METRIC\n"
    )
    extensions.use_extensions(of(EXTENSIONS="made_up_metric"))
    assert METRICS_BY_NAME["again"].source == "made-up-metric 1.0"


BROKEN = {
    "no module": ("import nowhere_to_be_found", "metrics:m", "METRIC", "ModuleNotFoundError"),
    "no attribute": ("", "metrics:m", "METRIC", "got AttributeError"),
    "fails at import": ("1 / 0", "metrics:m", "METRIC", "got ZeroDivisionError"),
    "no metric": ("METRIC = 1", "metrics:m", "METRIC", "expected a DerivedMetric or a sequence"),
    "a text": ("METRIC = 'turns'", "metrics:m", "METRIC", "expected a DerivedMetric or a sequence"),
    "no such sum": (METRIC.format(name="m", sum="smiles"), "metrics:m", "METRIC",
                    "metric 'm': there is no sum 'smiles'; there are conversations_new, "),
    "name of ours": (METRIC.format(name="turns", sum="errors"), "metrics:m", "METRIC",
                     "got turns, which this platform has"),
}  # fmt: skip


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_package_of_metrics_is_named_and_none_is_in_use(site: Path, case: str) -> None:
    code, key, value, told = BROKEN[case]
    put_package(
        site, "made-up-good", METRIC.format(name="good", sum="turns"), {"metrics:a": "METRIC"}
    )
    put_package(site, "made-up-bad", code, {key: value}, version="2.1")
    with refused(
        "made-up-bad 2.1, conversation_analytics.metrics entry point m = made_up_bad", told
    ):
        extensions.use_extensions(of(EXTENSIONS="made-up-good,made-up-bad"))
    assert list(METRICS) == list(BUILT_IN)
    extensions.use_extensions(of(EXTENSIONS="made-up-good"))
    assert [one.name for one in METRICS][len(BUILT_IN) :] == ["good"]
    assert METRICS_BY_NAME["good"] in DIMENSION_METRICS


def test_two_packages_with_one_metric_are_both_named(site: Path) -> None:
    for name in ("made-up-a", "made-up-b"):
        put_package(site, name, METRIC.format(name="m", sum="turns"), {"metrics:m": "METRIC"})
    with refused("got m, which made-up-", " 1.0 has; rename it, or take one package out"):
        extensions.use_extensions(of(EXTENSIONS="made-up-a,made-up-b"))
    assert list(METRICS) == list(BUILT_IN)


def test_another_definition_or_version_is_another_digest(site: Path) -> None:
    seen = {metrics_version()}
    for number, (total, version) in enumerate(
        [("turns", "1.0"), ("errors", "1.0"), ("turns", "1.1")]
    ):
        folder = site / str(number)
        folder.mkdir()
        sys.path.insert(0, str(folder))
        try:
            name = f"made-up-{number}"
            put_package(folder, name, METRIC.format(name="m", sum=total), {"metrics:m": "METRIC"},
                        version)  # fmt: skip
            extensions.use_extensions(of(EXTENSIONS=name))
        finally:
            sys.path.remove(str(folder))
        assert metrics_version().startswith("1+")
        seen.add(metrics_version())
    assert len(seen) == 4


def test_a_translator_gets_its_options_and_no_others(site: Path) -> None:
    put_package(site, "made-up-engine", GLOSSARY, {"translators:made": "Engine"})
    settings = of(TRANSLATOR="made", EXT_MADE_MODEL="m7", EXT_OTHER_MODEL="m8")
    opened = open_translator(settings)
    assert opened is not None
    assert opened.model == "m7"
    with refused("made = made_up_engine:Engine", "got KeyError"):
        open_translator(of(TRANSLATOR="made"))


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("thing = 3", "a function that takes a mapping of options and gives a Source, got int"),
        ("def thing(): ...", "got one for other arguments (too many positional arguments)"),
        ("def thing(options): ...", "expected a Source, got NoneType without read_window, read_u"),
        ("class thing:\n def __init__(self, options): ...\n def read_window(self): ...",
         "a Source, got thing without read_undated, read_ids, changes_since, describe, close"),
        ("def thing(options): return options['folder']", "got KeyError"),
    ],
    ids=["no function", "other arguments", "nothing", "half", "fails"],
)  # fmt: skip
def test_what_is_no_source_is_refused(site: Path, code: str, told: str) -> None:
    put_package(site, "made-up-source", code, {"sources:made": "thing"})
    with refused("made-up-source 1.0, conversation_analytics.sources", told):
        open_source(of(SOURCE="made"))


def test_a_name_of_ours_is_never_somebody_elses(site: Path) -> None:
    put_package(site, "made-up-source", "raise SystemExit", {"sources:sample": "thing"})
    with contextlib.closing(open_source(of(SOURCE="sample"))) as source:
        assert source.describe()["source"] == "sample"


def test_two_packages_with_one_source_are_refused(site: Path) -> None:
    for name in ("made-up-a", "made-up-b"):
        put_package(site, name, "", {"sources:made": "thing"})
    with refused("SOURCE is 'made', which made-up-a 1.0", "made-up-b 1.0", "remove the others"):
        extensions.use_extensions(of(SOURCE="made"))


def test_a_taxonomy_is_read_by_name(site: Path) -> None:
    text = "mood:\\n  - {label: good, examples: [thanks]}\\n  - {label: bad, examples: [awful]}\\n"
    put_package(site, "made-up-moods", f"def moods(): return '{text}'\ndef none(): ...",
                {"taxonomies:moods": "moods", "taxonomies:none": "none"})  # fmt: skip
    taxonomy, _ = read_taxonomy(of(TAXONOMY="moods").taxonomy_origin, None)
    assert [one.name for one in taxonomy.types] == ["mood"]
    with refused("expected YAML text, got NoneType"):
        read_taxonomy("none", None)
    with pytest.raises(SettingsError, match="TAXONOMY and TAXONOMY_FILE are both set"):
        of(TAXONOMY="moods", TAXONOMY_FILE="x.yaml")


def test_an_asset_of_days_is_made_with_the_day_and_with_what_it_is_made_of(site: Path) -> None:
    code = ASSET.format(name="mine", deps="'daily_report'", common="chain.asset")
    put_package(site, "made-up-assets", code, {"assets:mine": "assets"})
    settings = of(EXTENSIONS="made-up-assets")
    definitions = build_definitions(settings)
    [job] = [one for one in definitions.resolve_all_job_defs() if one.name == "daily"]
    assert dg.AssetKey("mine") in job.asset_layer.executable_asset_keys
    assert daily_names(settings)[-1] == "mine"
    [spec] = [
        one for one in definitions.resolve_all_asset_specs() if one.key == dg.AssetKey("mine")
    ]
    assert "personal_data" not in spec.tags
    assert spec.freshness_policy is not None
    with_it = {min(step - {"mine"}) for step in daily_steps(settings) if "mine" in step}
    assert {"raw_messages", "messages", "daily_partials", "daily_report"} <= with_it
    assert "categories" not in with_it
    assert "mine" not in daily_names(of())


@pytest.mark.parametrize(
    ("code", "told"),
    [
        (ASSET.format(name="messages", deps="", common="{}"), "got messages, which this platform"),
        (ASSET.format(name="corrections", deps="", common="{}"), "got corrections, which "),
        ("def assets(chain, options): return 3", "and gives assets, got int"),
        ("def assets(chain, options): return [3]", "got int among them"),
        ("assets = 3", "expected a function that takes a DailyChain"),
        ("def assets(chain): return []", "got one for other arguments"),
        ("def assets(chain, options): raise KeyError", "got KeyError"),
    ],
    ids=["name of an asset", "name of a table", "no sequence", "no asset", "no function",
         "other arguments", "fails"],
)  # fmt: skip
def test_what_is_no_asset_is_refused(site: Path, code: str, told: str) -> None:
    put_package(site, "made-up-assets", code, {"assets:mine": "assets"})
    with refused("made-up-assets 1.0, conversation_analytics.assets entry point mine", told):
        build_definitions(of(EXTENSIONS="made-up-assets"))


def test_check_tells_what_does_not_load(
    site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    put_package(site, "made-up-bad", "1 / 0", {"metrics:bad": "METRIC"})
    put_package(site, "made-up-idle", METRIC.format(name="m", sum="turns"), {"metrics:m": "METRIC"})
    told = CliRunner().invoke(cli, ["check"], env={"EXTENSIONS": "made-up-bad"})
    assert told.exit_code == 1, told.output
    assert "ok    metrics extension m: made-up-idle 1.0 loads, not in use" in told.output
    assert re.search(
        r"^FAIL  metrics extension bad: made-up-bad 1.0, .*ZeroDivis", told.output, re.MULTILINE
    )
    assert "FAIL  definitions: made-up-bad 1.0" in told.output


def test_a_package_that_ends_its_process_ends_nothing_here(site: Path, tmp_path: Path) -> None:
    put_package(site, "made-up-exit", "raise SystemExit(0)", {"sources:exit": "source"})
    settings = of(PARQUET_BASE_DIR=f"{tmp_path}/lake", SQLITE_PATH=f"{tmp_path}/documents.sqlite")
    found = findings(settings, tmp_path / ".env")
    told = [one for one in found if one.name.endswith(" exit")]
    assert [(one.state, "SystemExit" in one.says) for one in told] == [("warn", True)]
