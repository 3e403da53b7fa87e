"""Nothing is ever unpickled: no code does, no asset's value goes through it, no file is one."""

from __future__ import annotations

import ast
import pickle
import pickletools
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import conversation_analytics
from conversation_analytics.definitions import build_definitions
from conversation_analytics.settings import parse_settings

if TYPE_CHECKING:
    from collections.abc import Iterator

PACKAGE = Path(conversation_analytics.__file__).parent
MODULES = frozenset({"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve",
                     "marshal"})  # fmt: skip
CALLS = frozenset({"read_pickle", "to_pickle", "eval", "exec", "unsafe_load", "full_load"})


def dangerous(code: str) -> Iterator[str]:
    """Yield what in some code may run the bytes that it reads."""
    for node in ast.walk(ast.parse(code)):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [one.name for one in node.names]
        elif isinstance(node, ast.ImportFrom):
            names = [node.module or ""]
        elif isinstance(node, ast.Call):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else ""
            called = node.func.id if isinstance(node.func, ast.Name) else called
            safe = any("Safe" in ast.dump(one) for one in (*node.args, *node.keywords))
            of_yaml = called == "load" and ast.dump(node.func).startswith(
                "Attribute(value=Name(id='yaml'"
            )
            if called in CALLS or (of_yaml and not safe):
                yield called
            if any(one.arg == "allow_pickle" and getattr(one.value, "value", True)
                   for one in node.keywords):  # fmt: skip
                yield "allow_pickle"
        yield from (name for name in names if name.split(".")[0] in MODULES)


def test_no_code_runs_what_it_reads() -> None:
    files = sorted(PACKAGE.rglob("*.py"))
    assert len(files) > 100
    found = {str(path.relative_to(PACKAGE)): list(dangerous(path.read_text("utf-8")))
             for path in files}  # fmt: skip
    assert {path: names for path, names in found.items() if names} == {}


@pytest.mark.parametrize(
    "code",
    ["import pickle", "from joblib import load", "np.load(f, allow_pickle=True)",
     "import yaml\nyaml.load(text)", "df.to_pickle('x')", "eval('1')"],
)  # fmt: skip
def test_dangerous_code_is_seen(code: str) -> None:
    assert list(dangerous(code))


def test_no_value_of_an_asset_goes_to_dagsters_own_storage() -> None:
    """Dagster's default IO manager pickles; assets that give a value name one of ours."""
    definitions = build_definitions(
        parse_settings(
            {
                "NOCODB_RESULTS_TABLE": "r", "NOCODB_BASE_URL": "http://h", "NOCODB_API_TOKEN": "t",
                "NOCODB_PROJECT_ID": "p",
            }
        )
    )  # fmt: skip
    graph = definitions.get_repository_def().assets_defs_by_key
    checked = 0
    for key, asset in graph.items():
        for name, output in asset.node_def.output_dict.items():
            if asset.keys_by_output_name.get(name) != key:
                continue
            checked += 1
            nothing = output.dagster_type.is_nothing
            assert nothing or output.io_manager_key in {"lake_io", "document_io"}, key
    assert checked == len(graph) > 30


def is_pickle(data: bytes) -> bool:
    """Tell whether bytes are a pickle of a version of this century."""
    if data[:1] != b"\x80":
        return False
    try:
        list(pickletools.genops(data))
    except ValueError:
        return False
    return True


def test_a_pickle_is_seen() -> None:
    assert is_pickle(pickle.dumps({"a": [1]}))
    assert not is_pickle(b"\x80 no pickle")
