from __future__ import annotations

import sys

import polars as pl

from conversation_analytics.core.engine import CPU, WHITE_SPACE, EngineChoice, taken_by
from conversation_analytics_tests.engines import STREAMING, Noting


def test_white_space_is_what_polars_strips_by_itself() -> None:
    """Every character that there is, but for halves of pairs, which no text holds."""
    codes = (code for code in range(sys.maxunicode + 1) if not 0xD800 <= code < 0xE000)
    texts = pl.Series(map(chr, codes), dtype=pl.String)
    stripped = texts.filter(texts.str.strip_chars() == "")
    assert "".join(stripped.sort()) == WHITE_SPACE
    assert (texts.str.strip_chars(WHITE_SPACE) == texts.str.strip_chars()).all()


def test_rows_are_decoded_for_the_gpu_alone() -> None:
    rows = pl.LazyFrame({"a": [1]}).with_columns(b=pl.col("a") + 1)
    assert taken_by(CPU, rows) is rows
    assert taken_by(STREAMING, rows) is rows
    taken = taken_by(Noting(CPU, EngineChoice("gpu")), rows)
    assert taken.explain().startswith("DF [")
    assert taken.collect().equals(rows.collect())
