"""What is a hit of an id, and what is part of another one."""

from __future__ import annotations

import json
import struct
from urllib.parse import quote

import pytest

from conversation_analytics.core.id_search import SoughtIds

ID = "user 1"
HITS = [
    ID,
    f'{{"user_id": "{ID}"}}',
    f'{{"text": "{{\\"user_id\\": \\"{ID}\\"}}"}}',
    f"a,{ID},b",
    f"<td>{ID}</td>",
    f"(of {ID}).",
    f"%22{quote(ID)}%22",
    json.dumps(f"a line\n{ID}\nanother"),
    json.dumps(f"é{chr(0x2028)}{ID}"),
    f"&quot;{ID}&quot;",
    f"ผู้ใช้{ID}ครับ",
]
MISSES = ["user 10", "xuser 1", "user 1-a", "a_user 1", "user 1_", "user 1é", "éuser 1", "user", ""]


@pytest.mark.parametrize("text", HITS, ids=ascii)
def test_an_id_is_found_by_itself(text: str) -> None:
    sought = SoughtIds.of([ID])
    assert sought.in_text(text)
    assert sought.in_bytes(b"\xff\x00" + text.encode() + b"\x00\xfe")


@pytest.mark.parametrize("text", MISSES, ids=ascii)
def test_a_longer_id_is_another(text: str) -> None:
    sought = SoughtIds.of([ID])
    assert not sought.in_text(text)
    assert not sought.in_bytes(b"\xff\x00" + text.encode() + b"\x00\xfe")
    assert sought.in_text(f"{text} {ID}")  # the one behind it is found none the less


def test_ids_are_found_whatever_they_are_made_of() -> None:
    for one in ("Zoë <o'b\"r/ien>&é😀", "a\\b\nc", "../../etc/passwd", " lead ", "=A(1)", "สมชายดี"):
        sought = SoughtIds.of([one])
        assert sought.in_text(json.dumps({"user_id": one}))
        assert sought.in_bytes(json.dumps({"user_id": one}, ensure_ascii=False).encode())
        assert sought.in_text(f"&quot;{quote(one, safe='')}&quot;")
    assert not SoughtIds.of(["สมชาย"]).in_text("สมชายดวงดี")


@pytest.mark.parametrize("one", ["7", "12345678", "u1"])
def test_a_short_id_or_a_number_is_found_as_the_whole_value_of_a_user(one: str) -> None:
    sought = SoughtIds.of([one])
    assert sought.whole == {one}
    bare = [f'{{"user_id":{one}}}', f'{{"user_id": {one} ,"a":1}}'] if one.isdigit() else []
    for text in (
        json.dumps({"a": 1, "user_id": one}),
        json.dumps({"payload": json.dumps({"From_End_User_Id": one})}),
        json.dumps({"user_id": [one]}),
        *bare,
    ):
        assert sought.in_text(text)
        assert sought.in_bytes(text.encode())
    for text in (
        one,
        json.dumps({"user_id": f"{one}7"}),
        json.dumps({"user_id": f"{one} 7"}),
        json.dumps({"user_id": f"7{one}"}),
        json.dumps({"tokens": one}),
        f'{{"user_id":{one}7}}',
        f'{{"user_id":{one}.5}}',
    ):
        assert not sought.in_text(text)


def test_a_footer_has_texts_behind_their_lengths() -> None:
    one = "u" * 48  # whose length is a digit
    assert SoughtIds.of([one]).in_footer(b"\x18\x30" + one.encode() + b"X")
    assert not SoughtIds.of([one]).in_footer(b"\x18\x31" + one.encode() + b"u")
    long = "u" * 300
    assert SoughtIds.of([long]).in_footer(b"\x18\xac\x02" + long.encode() + b"X")


def test_a_number_is_found_in_the_field_of_a_bson_document() -> None:
    sought = SoughtIds.of(["7"])
    value = struct.pack("<i", 2) + b"7\0"
    assert sought.in_bson(b"\x02user_id\0" + value)
    assert not sought.in_bson(b"\x02tokens\0" + value)
    assert not sought.in_bson(b"\x02user_id\0" + struct.pack("<i", 3) + b"17\0")


def test_titles_of_ones_own_hold_users_too() -> None:
    text = json.dumps({"member": "7"})
    assert not SoughtIds.of(["7"]).in_text(text)
    assert SoughtIds(frozenset({"7"}), frozenset({"member"})).in_text(text)
    assert "7" not in repr(SoughtIds.of(["7"]))
