"""Removing documents, and looking for what is left: the same for every store."""

from __future__ import annotations

from typing import TYPE_CHECKING

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
    store.replace_partition("messages", "a", [hidden, {"_id": "2", "user_id": "u2"}])
    store.replace_partition("topics", "a", [{"_id": 'Zoë "u1"'}])
    store.replace_partition("reports", "a", [{"_id": "3", "user_id": "Zoe"}])
    large = [{"_id": str(n), "text": f"long {n} " * 2000, "last": "u-large"} for n in range(60)]
    store.replace_partition("large", "a", large)
    assert store.holding(["u-large"]) == {"large": 60}
    assert store.holding(['Zoë "u1"', "absent"]) == {"messages": 1, "topics": 1}
    assert store.holding(["u2"]) == {"messages": 1}
    assert store.holding(["absent"]) == {}


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
