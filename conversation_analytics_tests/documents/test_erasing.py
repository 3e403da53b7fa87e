"""Removing documents, and looking for what is left: the same for every store."""

from __future__ import annotations

from typing import TYPE_CHECKING

from conversation_analytics.core.id_search import SoughtIds
from conversation_analytics.documents.store import SqliteConfig

if TYPE_CHECKING:
    from conversation_analytics.documents.store import DocumentStore, MongoConfig


def test_documents_are_discarded_by_id_whatever_their_partition(store: DocumentStore) -> None:
    for day in ("2026-11-21", "2026-11-22"):
        rows = [{"_id": f"{day}/{number}", "user_id": "u1"} for number in range(10)]
        store.replace_partition("messages", day, rows)
    gone = [f"2026-11-21/{number}" for number in range(9)] + ["2026-11-22/3", "never there"]
    assert store.discard("messages", gone) == 10
    assert store.count("messages", "2026-11-21") == 1
    assert store.count("messages", "2026-11-22") == 9
    assert store.discard("messages", []) == 0


def test_a_text_is_found_in_any_field_of_any_collection(store: DocumentStore) -> None:
    hidden = {"_id": "1", "deep": [{"er": 'by Zoë "u1"'}]}
    store.replace_partition("messages", "a", [hidden, {"_id": "2", "user_id": "user-2"}])
    store.replace_partition("topics", "a", [{"_id": 'Zoë "u1"'}])
    store.replace_partition("reports", "a", [{"_id": "3", "user_id": "Zoe"}])
    large = [{"_id": str(n), "text": f"long {n} " * 2000, "last": "u-large"} for n in range(60)]
    store.replace_partition("large", "a", large)
    assert store.holding(SoughtIds.of(["u-large"])) == {"large": 60}
    assert store.holding(SoughtIds.of(['Zoë "u1"', "absent"])) == {"messages": 1, "topics": 1}
    assert store.holding(SoughtIds.of(["user-2"])) == {"messages": 1}
    assert store.holding(SoughtIds.of(["absent"])) == {}


def test_longer_ids_are_of_others(store: DocumentStore) -> None:
    rows = [
        {"_id": "1", "user_id": "user 10", "tokens": "7"},
        {"_id": "2", "user_id": "17", "text": "user 1"},
        {"_id": "3", "user_id": "7", "text": "of user 10"},
    ]
    store.replace_partition("messages", "a", rows)
    nested = [{"_id": "1", "turns": [{"user_id": "7", "text": '{"id":"user 1"}'}]}]
    store.replace_partition("deep", "a", nested)
    assert store.holding(SoughtIds.of(["user 1"])) == {"deep": 1, "messages": 1}
    assert store.holding(SoughtIds.of(["user 10"])) == {"messages": 2}
    assert store.holding(SoughtIds.of(["7"])) == {"deep": 1, "messages": 1}
    assert store.holding(SoughtIds.of(["1", "use"])) == {}


def test_wiping_leaves_no_byte_of_what_was_removed(
    store: DocumentStore, config: MongoConfig | SqliteConfig
) -> None:
    rows = [{"_id": str(number), "text": "a secret that is long " * 20} for number in range(200)]
    store.replace_partition("messages", "a", rows)
    store.replace_partition("messages", "a", [{"_id": "kept", "text": "stays"}])
    store.wipe()
    assert store.find("messages", {}) == [{"_id": "kept", "text": "stays"}]
    if isinstance(config, SqliteConfig):
        files = list(config.path.parent.iterdir())
        assert not any(b"a secret that is long" in file.read_bytes() for file in files)
