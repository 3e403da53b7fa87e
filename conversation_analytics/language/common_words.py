# ruff: noqa: E501 - Thai signs above letters take no place on a line
"""Words that every text of a language has: they name nothing."""

from __future__ import annotations

from typing import Final

from conversation_analytics.core.language_codes import CANDIDATES

COMMON_WORDS_VERSION: Final = 1
"""To be raised with other words."""
_OF_A_LANGUAGE: Final = 100
_THAI: Final = (
    "นี้", "นั้น", "บ้าง", "อย่างไร", "อะไร", "ไหน", "ไหม", "มั้ย", "ครับ", "ค่ะ", "คะ", "นะ", "ที่", "ซึ่ง", "และ",
    "หรือ", "แต่", "ใน", "ของ", "จาก", "ให้", "ได้", "ไป", "มา", "มี", "เป็น", "คือ", "อยู่", "แล้ว", "จะ", "ต้อง",
    "ไม่", "ว่า", "กับ", "ก็", "ช่วย", "หน่อย", "ขอ", "ผม", "ฉัน", "ดิฉัน", "คุณ", "เรา", "ถึง", "ทำ", "ดี", "ๆ",
)  # fmt: skip


def common_words() -> frozenset[str]:
    """Return the most frequent words of each candidate language, case-folded.

    The first hundred of wordfreq's small lists; it has none of Thai, whose are of this project.
    """
    import wordfreq  # noqa: PLC0415 - only where topics are named

    languages = [one for one in CANDIDATES if one in wordfreq.available_languages("small")]
    listed = (wordfreq.top_n_list(one, _OF_A_LANGUAGE, "small") for one in languages)
    return frozenset(word.casefold() for words in listed for word in words).union(_THAI)
