"""The column contract: what it maps, and that every mistake in it is named."""

from __future__ import annotations

import pytest

from conversation_analytics.core.contract import (
    REQUIRED,
    columns_of,
    default_contract,
    parse_contract,
)
from conversation_analytics.core.errors import SettingsError
from conversation_analytics.core.source import SourceTable

WHOLE = """
[messages]
required = ["from_end_user_id"]
optional = ["answer"]
ignored = ["embedding"]

[messages.names]
query = "user_text"
created_at = "sent_at"
"""


def test_names_and_requirements_are_taken_over() -> None:
    messages = parse_contract(WHOLE, "c.toml").tables[SourceTable.MESSAGES]
    assert messages.required == {"created_at", "conversation_id", "query", "from_end_user_id"}
    assert messages.at_source("query") == "user_text"
    assert messages.at_source("answer") == "answer"
    assert messages.ignored == {"embedding"}
    titles = ["user_text", "conversation_id", "from_end_user_id"]
    assert messages.missing(titles) == ("created_at",)
    assert messages.missing([*titles, "sent_at"]) == ()


def test_a_table_that_is_not_named_is_as_dify_has_it() -> None:
    conversations = parse_contract(WHOLE, "c.toml").tables[SourceTable.CONVERSATIONS]
    assert conversations == default_contract().tables[SourceTable.CONVERSATIONS]
    assert parse_contract("", "c.toml") == default_contract()


@pytest.mark.parametrize("table", SourceTable)
def test_required_columns_are_columns_that_can_be_served(table: SourceTable) -> None:
    assert REQUIRED[table] <= columns_of(table)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("[messages", "c.toml: no TOML"),
        ("[message]", "table 'message': expected one of conversations, feedbacks, messages"),
        ("messages = 1", "no table: expected required, optional, ignored, names"),
        ("[messages]\nnmaes = {}", "'nmaes': expected required, optional, ignored, names"),
        ("[messages]\nrequired = ['qeury']", r"required: column 'qeury': expected one of agent_"),
        ("[messages.names]\nqeury = 'a'", "names: column 'qeury': expected one of"),
        ("[messages.names]\nuser_id = 'a'", "names: column 'user_id': expected one of"),
        ("[messages.names]\nquery = 1", "names: expected names of columns in quotes"),
        ("[messages]\nnames = 'a'", r'expected lines of the form query = "user_text"'),
        ("[messages]\nignored = 'a'", "ignored: expected names of columns in quotes"),
        ("[messages]\nrequired = ['']", "required: expected names of columns in quotes"),
        ("[messages]\nrequired = ['query']\noptional = ['query']", "both required and optional"),
        ("[messages]\noptional = ['created_at']", "created_at cannot be optional"),
        ("[messages.names]\nquery = 'answer'", "'answer' stands for both answer and query"),
        ("[messages.names]\nquery = 'x'\nanswer = 'x'", "'x' stands for both answer and query"),
        ("[messages]\nignored = ['query']", "column 'query' is required, but ignored"),
    ],
)
def test_a_mistake_is_named_with_its_place(text: str, told: str) -> None:
    with pytest.raises(SettingsError, match=f"^NOCODB_COLUMN_CONTRACT: .*{told}"):
        parse_contract(text, "c.toml")


def test_two_columns_may_be_swapped() -> None:
    text = "[messages.names]\nquery = 'answer'\nanswer = 'query'"
    contract = parse_contract(text, "c.toml").tables[SourceTable.MESSAGES]
    assert (contract.at_source("query"), contract.at_source("answer")) == ("answer", "query")
