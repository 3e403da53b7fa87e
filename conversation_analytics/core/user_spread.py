"""How turns, sessions, days and costs are spread over users: counts of users, and no user."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import TYPE_CHECKING, Final

import polars as pl

from conversation_analytics.core.schemas import MONEY

if TYPE_CHECKING:
    from collections.abc import Sequence

COUNTS: Final = ("turns", "sessions", "active_days")
"""What is counted by user."""
STATUSES: Final = ("new", "returning", "resurrected", "dormant")
SPREAD: Final = {
    "measure": pl.String(), "currency": pl.String(), "position": pl.Int64(),
    "label": pl.String(), "users": pl.Int64(), "share": pl.Float64(),
}  # fmt: skip
"""Columns of `user_spread`."""
_STEPS: Final = (1, 2, 3, 6, 11, 21, 51, 101, 201)
_PRICES: Final = tuple(Decimal(one) for one in ("0.001", "0.01", "0.1", "1", "10", "100"))


def user_spread(users: pl.DataFrame) -> pl.DataFrame:
    """Count users by how much there is of them, over all apps.

    Args:
        users: schema `user_analytics.USER_ANALYTICS`.

    Returns:
        Columns `SPREAD`, in the order in which they are shown: `measure` is one of `COUNTS`,
        `cost` (of one `currency`; null: unknown) or `status`; `label` names the class, `users`
        those in it, `share` their part of all turns, sessions, days or costs (null for a status).
        Classes without users lie between others or are left out.
    """
    everywhere = users.filter(pl.col("app_id").is_null())
    found = [pl.DataFrame(schema=SPREAD)]
    found += [_classes(everywhere.select(amount=name), name, None, _STEPS) for name in COUNTS]
    costs = _costs(everywhere)
    for currency in costs["currency"].unique().sort(nulls_last=True):
        own = costs.filter(pl.col("currency").eq_missing(currency)).select("amount")
        found.append(_classes(own, "cost", currency, _PRICES))
    by_status = dict(everywhere.group_by("status").len().iter_rows())
    rows = [
        ("status", None, position, status, by_status[status], None)
        for position, status in enumerate(STATUSES)
        if status in by_status
    ]
    found.append(pl.DataFrame(rows, schema=SPREAD, orient="row"))
    return pl.concat(found)


def share_of_the_busiest(users: pl.DataFrame, tenth: float = 0.1) -> float | None:
    """Return the part of all turns that the busiest users had; None without users.

    Args:
        users: schema `user_analytics.USER_ANALYTICS`.
        tenth: which part of the users counts as the busiest, at least one of them.
    """
    turns = users.filter(pl.col("app_id").is_null())["turns"].sort(descending=True).to_list()
    return sum(turns[: max(1, round(len(turns) * tenth))]) / sum(turns) if turns else None


def _costs(users: pl.DataFrame) -> pl.DataFrame:
    """Return `currency` and `amount`, a row per user and currency."""
    of_one = users.filter(pl.col("cost").is_not_null()).select("currency", amount="cost")
    several = users.filter(pl.col("cost").is_null() & pl.col("costs").is_not_null())["costs"]
    rows = [
        (currency or None, Decimal(amount))
        for told in several
        for currency, amount in json.loads(told).items()
    ]
    of_several = pl.DataFrame(rows, schema={"currency": pl.String(), "amount": MONEY}, orient="row")
    return pl.concat([of_one, of_several])


def _classes(
    amounts: pl.DataFrame, measure: str, currency: str | None, steps: Sequence[int | Decimal]
) -> pl.DataFrame:
    """Count by class: below the first of `steps`, from each to below the next, the last and up."""
    position = sum((pl.col("amount") >= step).cast(pl.Int64()) for step in steps)
    counted = amounts.group_by(position=position).agg(
        pl.len().cast(pl.Int64).alias("users"), pl.col("amount").sum().cast(pl.Float64())
    )
    if not counted.height:
        return pl.DataFrame(schema=SPREAD)
    every = pl.DataFrame(
        {"position": range(int(counted["position"].min()), int(counted["position"].max()) + 1)},  # type: ignore[arg-type]
        schema={"position": pl.Int64()},
    )
    labels = [_label(n, steps) for n in every["position"]]
    total = counted["amount"].sum()
    share = pl.col("amount").fill_null(0) / total if total else pl.lit(None, pl.Float64())
    return (
        every.with_columns(label=pl.Series(labels, dtype=pl.String()))
        .join(counted, on="position", how="left", maintain_order="left")
        .select(
            pl.lit(measure).alias("measure"),
            pl.lit(currency, pl.String()).alias("currency"),
            "position",
            "label",
            pl.col("users").fill_null(0),
            share.alias("share"),
        )
    )


def _label(position: int, steps: Sequence[int | Decimal]) -> str:
    if position == 0:
        return f"below {steps[0]}"
    low = steps[position - 1]
    if position == len(steps):
        return f"{low} or more"
    high = steps[position]
    if isinstance(low, Decimal) or isinstance(high, Decimal):
        return f"{low} to below {high}"
    return str(low) if high - low == 1 else f"{low} to {high - 1}"
