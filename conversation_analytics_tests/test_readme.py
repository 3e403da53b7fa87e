"""Every command that README.md or a page of docs/ tells somebody to type is run by a test."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from conversation_analytics.cli import cli
from conversation_analytics.settings import load_settings

ROOT = Path(__file__).parents[1]
TESTS = ROOT / "conversation_analytics_tests"
README = (ROOT / "README.md").read_text(encoding="utf-8")
OPERATIONS = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf-8")

# `make TARGET` to what its recipe has to hold, and the test that runs the same program. CI runs
# the others itself: a Makefile inside its own test would install everything once more.
BY_TEST = {
    "run": ("conversation-analytics run", "test_make.py"),
    "dev": ("dagster dev", "test_make.py"),
    "stack": ("-m conversation_analytics.stack", "test_make_stack.py"),
    "docs": ("-m conversation_analytics.generated",
             "test_settings.py::test_the_generated_files_are_in_step"),
}  # fmt: skip
BY_CI = {"test", "lint"}
# Minutes long, or they need the package registry: run by whoever changes what they make.
BY_HAND = {"bench", "lock", "chaos"}
COMMANDS = {
    "run": "test_cli.py::test_run_then_status_then_check",
    "status": "test_cli.py::test_run_then_status_then_check",
    "check": "test_make_stack.py",
    "backfill": "test_make_stack.py",
    "report": "test_cli.py::test_a_report_of_any_days_is_a_page_that_is_listed",
    "repair": "test_cli.py::test_repair_makes_what_is_lost_again_and_nothing_else",
    "replay": "test_cli.py::test_replay_lands_dead_letters_once_the_contract_fits",
    "query": "test_query.py",
    "export": "exports/test_command.py::test_a_table_is_exported_once",
    "erase-user": "test_personal_data_commands.py::"
    "test_erase_user_tells_what_it_would_do_then_does_it",
    "unsuppress-user": "test_personal_data_commands.py::"
    "test_who_is_taken_off_the_list_is_read_again",
    "export-user": "test_personal_data_commands.py::"
    "test_the_export_has_every_row_that_a_plain_scan_finds",
    "completion": "test_installation_commands.py::test_bash_completes_commands",
    "retain": "test_personal_data_commands.py::test_the_command_says_what_it_removes",
}


def recipe(target: str) -> str:
    found = re.search(rf"^{target}:.*\n((?:\t.*\n)+)", MAKEFILE, re.MULTILINE)
    assert found, f"make {target} has no recipe"
    return found[1]


def assert_exists(test: str) -> None:
    file, _, function = test.partition("::")
    tree = ast.parse((TESTS / file).read_text(encoding="utf-8"))
    names = {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}
    assert function in names if function else any(name.startswith("test_") for name in names)


def test_every_make_target_of_the_readme_is_run_by_a_test_or_by_ci() -> None:
    named = set(re.findall(r"(?:`| {4})make ([a-z-]+)`?", README)) - {"help"}
    assert named == set(BY_TEST) | BY_CI | BY_HAND
    for target, (program, test) in BY_TEST.items():
        assert program in recipe(target)
        assert_exists(test)
    ci = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    for target in BY_CI:
        assert re.search(rf"^make {target}$", ci, re.MULTILINE)
    for target in BY_HAND:
        assert recipe(target)


def test_every_command_of_the_readme_and_operations_is_run_by_a_test() -> None:
    named = set(re.findall(r"conversation-analytics ([a-z]+(?:-[a-z]+)*)", README + OPERATIONS))
    assert named <= set(COMMANDS)
    shown = {name for name, command in cli.commands.items() if not command.hidden}
    assert shown == set(COMMANDS), "a command without a test, or one that is gone"
    for test in COMMANDS.values():
        assert_exists(test)


def test_help_lists_every_target() -> None:
    phony = re.search(r"^\.PHONY: (.*)$", MAKEFILE, re.MULTILINE)
    assert phony
    described = set(re.findall(r"^([a-z-]+):.*## ", MAKEFILE, re.MULTILINE))
    assert described == set(phony[1].split())


def test_the_example_env_works_as_copied() -> None:
    assert "cp .env.example .env" in README
    assert load_settings({}, ROOT / ".env.example") == load_settings({}, None)


def test_links_lead_to_files_that_exist() -> None:
    for target in re.findall(r"\]\((?!http)([^)#]+)", README):
        assert (ROOT / target).exists(), target
