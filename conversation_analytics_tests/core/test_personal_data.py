# ruff: noqa: RUF001, E501 - a case stays on a line, Chinese punctuation is meant
"""Personal data: every kind right and wrong, every language, and what redaction promises."""

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from conversation_analytics.core.personal_data import (
    find,
    lost_placeholders,
    redact,
    redact_together,
    restore,
)
from conversation_analytics.core.personal_kinds import Kind


def found(text: str) -> list[tuple[str, str]]:
    return [(span.kind.value, text[span.start : span.end]) for span in find(text)]


RIGHT = [
    ("email", "write to {}, please", "john.doe+x@example.co.uk"),
    ("email", "邮箱{}，谢谢", "zhang@example.com"),
    ("email", "mail: {}.", "jürgen@exa-mple.de"),
    ("email", "it is {} ok", "john [at] example [dot] com"),
    ("email", "{}", "foo＠example．com"),
    ("phone", "โทร {} ครับ", "081-234-5678"),
    ("phone", "โทร{}ครับ", "๐๘๑๒๓๔๕๖๗๘"),
    ("phone", "电话{}谢谢", "０１０－６５５２９９８８"),
    ("phone", "电话:{}", "13812345678"),
    ("phone", "gọi {} nhé", "0912 345 678"),
    ("phone", "WA {} ya", "0812-3456-7890"),
    ("phone", "llámame al {}", "612345678"),
    ("phone", "{} es mi cel", "81 3333 4444"),
    ("phone", "liga {}", "(11) 98765-4321"),
    ("phone", "telemóvel {}", "912 345 678"),
    ("phone", "au {} merci", "06.12.34.56.78"),
    ("phone", "tel.{}", "030/1234567"),
    ("phone", "{}", "+49 (0)30 123456"),
    ("phone", "{}", "(415) 555-0123"),
    ("phone", "ring {} today", "07700 900123"),
    ("phone", "tel:{}", "+66812345678"),
    ("phone", "{}", "0049 30 901820"),
    ("iban", "IBAN {} BIC COBADEFF", "DE89 3704 0044 0532 0130 00"),
    ("iban", "{}", "gb29nwbk60161331926819"),
    ("card", "card {} exp 12/27", "4111 1111 1111 1111"),
    ("card", "{}", "3782-822463-10005"),
    ("card", "บัตรเครดิต {}", "๔๒๔๒ ๔๒๔๒ ๔๒๔๒ ๔๒๔๒"),
    ("ip", "from {}:8080", "203.0.113.5"),
    ("ip", "{}", "2001:db8::8a2e:370:7334"),
    ("ip", "IP:{}", "fe80::1ff:fe23:4567:890a"),
    ("key", "use {}", "sk-proj-abcdEFGH1234567890abcdef"),
    ("key", "Authorization: Bearer {}", "abcdef1234567890ABCDEF"),
    ("key", "AWS_SECRET_ACCESS_KEY={}", "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"),
    ("key", "{}", "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9"),
    ("key", "密码是{}", "abc12345"),
    ("key", "mật khẩu: {}", "Winter2024!"),
    ("key", "{}", "-----BEGIN EC PRIVATE KEY-----\nMHcCAQEE\nabc=\n-----END EC PRIVATE KEY-----"),
    ("url_credentials", "postgres://{}@db.example.com:5432/x", "admin:s3cr3t"),
    ("url_credentials", "https://{}@host/", "user:p@ss"),
    ("national_id", "บัตรประชาชน {}", "1-2345-67890-12-1"),
    ("national_id", "身份证号{}", "11010519491231002X"),
    ("national_id", "DNI {}", "12345678Z"),
    ("national_id", "{}", "X1234567L"),
    ("national_id", "NIF {}", "123456789"),
    ("national_id", "{}", "529.982.247-25"),
    ("national_id", "CNPJ {}", "11.222.333/0001-81"),
    ("national_id", "NIR {}", "1 84 12 76 451 089 46"),
    ("national_id", "Steuer-ID {}", "86 095 742 719"),
    ("national_id", "NIK {}", "3171012501900001"),
    ("national_id", "CCCD {}", "079204012345"),
    ("national_id", "SSN {}", "123-45-6789"),
    ("national_id", "NINO {}", "AB 12 34 56 C"),
]  # fmt: skip

WRONG = [
    "a @ b, @anna, user@localhost, icon@2x.png, git@github.com:org/repo.git",
    "order number 20261123123456, invoice 123456789, คำสั่งซื้อ 0812345678, 订单号：13812345678",
    "on 2026-11-23 10:30, 23.11.2026, 23/11/2569, 2026年11月23日, 2019-2024, reached in 1911–1912",
    "Rp 12.500.000, 1.234.567,89 €, ¥123456789, 612 345 678 euros, ราคา 0812345678 บาท",
    "550e8400-e29b-41d4-a716-446655440000, 123e4567-e89b-12d3-a456-426614174000",
    "version 1.2.3.4, kernel 2.6.24.2, v10.0.19045.4170, 1.2.3.4.5, 300.1.2.3",
    "13.756331, 100.501765 and -33.868820,151.209290",
    "card 4111 1111 1111 1112, IBAN DE88 3704 0044 0532 0130 00, 5555 5555 5555 4443",
    "CPF 529.982.247-26, DNI 12345678A, NIR 1 84 12 76 451 089 47, SSN 000-12-3456",
    "commit 9fceb02d0ae598e95dc970b74767f19372d61af8, std::vector<int>, 00:1B:44:11:3A:B7",
    "1700000000 1700000000123 1e10 ABC-12345678 user_12345678 /log/app-20261123.log",
    "password: required, your token is needed, Password must be 8-20 characters",
    "https://example.com/articles/13812345678/some-title, ::1, 127.0.0.1, 0.0.0.0",
    "(1) (2) (3) (4) (5) (6) (7) (8) (9) (10) and 1 2 3 4 5 6 7 8 9 10 11 12",
    "1Z999AA10123456784, RB123456785CN, tracking 9400111899223197428490",
    "",
    "nothing at all, สวัสดี, 你好",
]


@pytest.mark.parametrize(("kind", "text", "value"), RIGHT)
def test_a_value_is_found_with_its_kind_and_ends(kind: str, text: str, value: str) -> None:
    assert found(text.format(value)) == [(kind, value)]


@pytest.mark.parametrize("text", WRONG)
def test_what_only_looks_like_it_is_left_alone(text: str) -> None:
    assert found(text) == []


def test_words_decide_between_a_telephone_number_and_an_order() -> None:
    assert found("phone 912345678") == [("phone", "912345678")]
    assert found("order 912345678") == []
    assert found("about order 912345678, call me at 912345679") == [("phone", "912345679")]


def test_several_numbers_in_a_row_are_told_apart() -> None:
    text = "tel 081-234-5678 089-111-2222 4111 1111 1111 1111"
    assert found(text) == [
        ("phone", "081-234-5678"), ("phone", "089-111-2222"), ("card", "4111 1111 1111 1111"),
    ]  # fmt: skip


def test_a_redacted_text_stays_readable_and_counts_what_was_there() -> None:
    text = "I am a@example.com, he is b@example.com; write to a@example.com or call +66 81 234 5678"
    redaction = redact(text)
    assert redaction.text == (
        "I am <EMAIL_1>, he is <EMAIL_2>; write to <EMAIL_1> or call <PHONE_1>"
    )
    assert redaction.counts == {Kind.EMAIL: 3, Kind.PHONE: 1}
    assert redaction.restore(redaction.text) == text


def test_placeholders_that_stand_there_already_are_not_confused() -> None:
    text = "<EMAIL_1> is not a@example.com, nor <PHONE_1> 081-234-5678"
    redaction = redact(text)
    assert redaction.text == "<EMAIL_1> is not <EMAIL_2>, nor <PHONE_1> <PHONE_2>"
    assert redaction.restore(redaction.text) == text


def test_a_conversation_has_one_placeholder_for_one_value() -> None:
    first, second = redact_together(["I am a@example.com", "b@example.com or a@example.com?"])
    assert second.text == "<EMAIL_2> or <EMAIL_1>?"
    assert first.originals == {"<EMAIL_1>": "a@example.com"}
    assert second.restore(second.text) == "b@example.com or a@example.com?"


def test_a_translation_that_lost_or_doubled_a_placeholder_is_told() -> None:
    redaction = redact("a@example.com and b@example.com")
    assert lost_placeholders("<EMAIL_2> y <EMAIL_1>", redaction) == ()
    assert lost_placeholders("<EMAIL_1> y < EMAIL_2 >", redaction) == ("<EMAIL_2>",)
    assert lost_placeholders("<EMAIL_1> <EMAIL_1> <EMAIL_2>", redaction) == ("<EMAIL_1>",)
    assert restore("hola <EMAIL_2>", redaction.originals) == "hola b@example.com"


_VALUES = st.sampled_from(sorted({value for _, _, value in RIGHT}))
_WORDS = st.sampled_from(
    ["tel ", "order ", "โทร", "电话", "<EMAIL_1>", "<PHONE_2>", "<", ">", "@", "://", "-", ".", ":",
     "\n", " ", ", ", "+", "(", ")", "/", "_", "a", "9", "0812345678", "\ue000", "password: ", "=",
     "１２", "x" * 50, "id ", "http://", "IP "]
)  # fmt: skip
_TEXTS = st.one_of(
    st.lists(st.one_of(_VALUES, _WORDS), max_size=12).map("".join),
    st.text(max_size=80),
    st.text(alphabet="0123456789.-+() /:@abz<>_", max_size=60),
)


@given(_TEXTS)
@settings(max_examples=400, deadline=None)
def test_redaction_can_be_undone_repeated_and_never_overlaps(text: str) -> None:
    spans = find(text)
    ends = [0]
    for span in spans:
        assert ends[-1] <= span.start < span.end <= len(text)
        ends.append(span.end)
    redaction = redact(text)
    assert redaction.restore(redaction.text) == text
    assert sum(redaction.counts.values()) == len(spans)
    again = redact(redaction.text)
    assert (again.text, again.counts) == (redaction.text, {})


@pytest.mark.parametrize("unit", ["12 ", "a-", "1.", "DE89 ", "http://a:", "password ", "a [at] 1"])
def test_long_texts_take_time_in_proportion(unit: str) -> None:
    began = time.process_time()
    find(unit * 5000)
    assert time.process_time() - began < 5


def test_a_key_without_any_digit_is_found_by_its_prefix() -> None:
    assert found("key AKIAEPRWQVJLKTFKPBYP") == [("key", "AKIAEPRWQVJLKTFKPBYP")]


def test_many_spans_take_time_in_proportion() -> None:
    text = "a@b.co " * 30_000
    began = time.process_time()
    assert len(find(text)) == 30_000
    assert time.process_time() - began < 10  # each compared with all, it takes a minute
