"""The page of users: growth, retention, and how use is spread. No user is named in it.

Same input, same bytes: nothing here looks at the clock. Frames have the schemas of `core.cohorts`
and `core.user_spread`.
"""

from __future__ import annotations

import csv
import datetime as dt
import io
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

import polars as pl

from conversation_analytics.core.cohorts import USER_COHORTS, USER_GROWTH
from conversation_analytics.core.periods import NAMES, Period
from conversation_analytics.reports import charts, tables
from conversation_analytics.reports.cards import card, nothing
from conversation_analytics.reports.index import others
from conversation_analytics.reports.markup import csv_text, html_text, markdown_text
from conversation_analytics.reports.page import page
from conversation_analytics.reports.values import (
    UNKNOWN,
    app_label,
    currency_label,
    long_date,
    month_name,
    period_title,
    plain_number,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from conversation_analytics.core.schemas import TableSchema
    from conversation_analytics.reports.drawings import Drawing

_SERIES: Final = ("new", "returning", "resurrected", "dormant")
_MOST: Final = {Period.DAY: 60, Period.WEEK: 26, Period.MONTH: 24}
"""How many of the latest days, weeks and months are drawn; files have all."""
_MOST_COHORTS = 26
_MEANINGS: Final = (
    ("new", "never had a turn before"),
    ("returning", "had one in the day, week or month before, too"),
    ("resurrected", "came back: had one only earlier than that"),
    ("dormant", "had one in the day, week or month before, and none now (below the axis)"),
)
CSV_FILES: Final = ("growth.csv", "cohorts.csv")
"""What lies beside the page."""
_SPREADS: Final = {"turns": "Turns", "sessions": "Sessions", "active_days": "Active days"}


@dataclass(frozen=True, slots=True)
class UsersReport:
    """What the page shows.

    Attributes:
        growth: schema `cohorts.USER_GROWTH`.
        cohorts: schema `cohorts.USER_COHORTS`.
        spread: columns `user_spread.SPREAD`.
        busiest: part of all turns that a tenth of the users had; None without users.
    """

    growth: pl.DataFrame
    cohorts: pl.DataFrame
    spread: pl.DataFrame
    busiest: float | None


def users_html(shown: UsersReport) -> str:
    """Render users as one self-contained HTML file, light or dark, for screen and paper."""
    everywhere = _of(shown.growth, None, Period.DAY)
    top = f"{others(None, '../')}<h1>Users</h1>\n"
    if not everywhere:
        return page("Users", f'{top}<p class="sub">No user had a turn on the days held.</p>')
    first, last = everywhere[0]["start"], everywhere[-1]["start"]
    weeks = [_growth_table(shown, Period.WEEK), _growth_table(shown, Period.MONTH)]
    cards = [
        *(_growth_card(shown, period) for period in (Period.WEEK, Period.MONTH)),
        _active_card(everywhere),
        _curve_card(shown),
        _cohorts_card(shown),
        *_spread_cards(shown),
        _apps_card(shown),
        *weeks,
        _definitions_card(),
    ]
    sub = (
        f"{long_date(first)} to {long_date(last)}; {len(everywhere):,} "
        f"{'day' if len(everywhere) == 1 else 'days'} held, all apps. Users of the first days held "
        "count as new: nobody knows of the days before. No user is named on this page."
    )
    return page(
        "Users",
        f'{top}<p class="sub">{html_text(sub)}</p>\n{_tiles(shown)}\n'
        f'<div class="cards">\n{"".join(cards)}</div>',
    )


def users_drawings(shown: UsersReport) -> list[Drawing]:
    """Return the drawings that tell most: growth by week and month, and retention."""
    found = (
        _growth_chart(shown, Period.WEEK, linked=False),
        _growth_chart(shown, Period.MONTH, linked=False),
        _curve(shown),
    )
    return [one for one in found if one is not None]


def users_markdown(shown: UsersReport) -> str:
    """Render growth by week and retention by week as Markdown."""
    lines = ["# Users", ""]
    heads = ("week", "active", *_SERIES, "days held")
    lines += [f"| {' | '.join(heads)} |", f"|---|{'---:|' * (len(heads) - 1)}"]
    for row in reversed(_of(shown.growth, None, Period.WEEK)):
        texts = [period_title(Period.WEEK, row["start"])]
        texts += [f"{row[name]:,}" for name in ("active", *_SERIES, "days_held")]
        lines.append(f"| {' | '.join(map(markdown_text, texts))} |")
    lines += ["", "| weeks later | users | of | retention |", "|---:|---:|---:|---:|"]
    for later, users, size in _mean_retention(shown.cohorts, Period.WEEK):
        lines.append(f"| {later} | {users:,} | {size:,} | {_percent(users, size)} |")
    return "\n".join(lines) + "\n"


def growth_csv(growth: pl.DataFrame) -> str:
    """Render growth as CSV (RFC 4180), safe in spreadsheets: its columns, in its order."""
    return _csv(growth, USER_GROWTH)


def cohorts_csv(cohorts: pl.DataFrame) -> str:
    """Render retention as CSV (RFC 4180), safe in spreadsheets: its columns, in its order."""
    return _csv(cohorts, USER_COHORTS)


def _csv(frame: pl.DataFrame, schema: TableSchema) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    names = schema.polars.names()
    writer.writerow(names)
    for app, *cells in frame.select(names).iter_rows():
        name = "(all apps)" if app is None else app_label(app)
        writer.writerow([csv_text(name), *map(_cell, cells)])
    return out.getvalue()


def _cell(value: object) -> object:
    match value:
        case Decimal():
            return plain_number(value)
        case bool():
            return str(value).lower()
        case dt.date():
            return value.isoformat()
    return value


def _of(growth: pl.DataFrame, app: str | None, period: Period) -> list[dict[str, Any]]:
    """Return the rows of an app (None: over all) and length of period, the earliest first."""
    wanted = pl.col("app_id").eq_missing(pl.lit(app)) & (pl.col("period") == period.value)
    return growth.filter(wanted).sort("start").to_dicts()


def _growth_card(shown: UsersReport, period: Period) -> str:
    title = _growth_title(period)
    chart = _growth_chart(shown, period)
    most = _MOST[period]
    left = len(_of(shown.growth, None, period)) - most
    rest = f" The latest {most}; {left} more in the CSV." if left > 0 else ""
    return card(title, chart or nothing("None yet."), note=f"{_incomplete(shown, period)}{rest}")


def _growth_title(period: Period) -> str:
    return f"Growth by {period.value}"


def _incomplete(shown: UsersReport, period: Period) -> str:
    """Name the latest period where it is not over yet."""
    rows = _of(shown.growth, None, period)
    if not rows:
        return ""
    last, days = rows[-1], len(period.days_of(rows[-1]["start"]))
    if last["days_held"] == days:
        return ""
    title = period_title(period, last["start"])
    return f"{title} is told by {last['days_held']} of its {days} days."


def _growth_chart(shown: UsersReport, period: Period, *, linked: bool = True) -> Drawing | None:
    rows = _of(shown.growth, None, period)[-_MOST[period] :]
    if not rows:
        return None
    points = [
        charts.Point(
            _short_name(period, row["start"]),
            tuple(float(row[name]) for name in _SERIES),
            "\n".join(
                (
                    f"{period_title(period, row['start'])}: {row['active']:,} active",
                    *(f"{name} {row[name]:,}" for name in _SERIES),
                    f"{row['days_held']} of {len(period.days_of(row['start']))} days held",
                )
            ),
            f"../{NAMES[period]}/{row['start'].isoformat()}.html" if linked else "",
        )
        for row in rows
    ]
    return charts.stacked(
        _growth_title(period), points, series=_SERIES,
        x_title=f"{period.value}; a click opens its report" if linked else period.value,
        y_title="users",
    )  # fmt: skip


def _short_name(period: Period, start: dt.date) -> str:
    if period is Period.WEEK:
        return f"W{start.isocalendar().week:02}"
    month = month_name(start.month)[:3]
    return f"{month} {start.year}" if period is Period.MONTH else f"{start.day} {month}"


def _active_card(days: list[dict[str, Any]]) -> str:
    most = _MOST[Period.DAY]
    points = [
        charts.Point(
            _short_name(Period.DAY, row["start"]),
            (float(row["active"]), float(row["new"])),
            f"{row['start'].isoformat()}\nactive {row['active']:,}\nnew {row['new']:,}",
            f"../daily/{row['start'].isoformat()}.html",
        )
        for row in days[-most:]
    ]
    title = "Users by day"
    chart = charts.lines(
        title, points, series=("active", "new"), x_title="day; a click opens its report",
        y_title="users", whole=True,
    )  # fmt: skip
    note = f"The latest {most} days; all are in the CSV." if len(days) > most else ""
    return card(title, chart, note=note)


def _mean_retention(cohorts: pl.DataFrame, unit: Period) -> list[tuple[int, int, int]]:
    """Return by units later the users who were there, of all users of cohorts that old.

    The cohorts of the first week held are left out where there are others: they have the users
    of all weeks before, who stay longer than new ones.
    """
    own = cohorts.filter(pl.col("app_id").is_null() & (pl.col("unit") == unit.value))
    later = own.filter(pl.col("cohort") >= _first_week(shown_from=own) + dt.timedelta(days=7))
    sums = (later if later.height else own).group_by("later")
    mean = sums.agg(pl.col("users").sum(), pl.col("size").sum()).sort("later")
    return [(later, users, size) for later, users, size in mean.iter_rows()]


def _first_week(shown_from: pl.DataFrame) -> dt.date:
    """Return the first day of the first cohort."""
    first = shown_from["cohort"].min()
    return first if isinstance(first, dt.date) else dt.date.min


def _percent(users: int, size: int) -> str:
    return f"{100 * users / size:.1f}%" if size else UNKNOWN


def _curve(shown: UsersReport) -> Drawing | None:
    # In the first week all of them had a turn.
    mean = _mean_retention(shown.cohorts, Period.WEEK)[1 : _MOST_COHORTS + 1]
    if not mean:
        return None
    points = [
        charts.Point(
            str(later),
            (100 * users / size,),
            f"{later} {'week' if later == 1 else 'weeks'} later: {_percent(users, size)}\n"
            f"{users:,} of {size:,} users",
        )
        for later, users, size in mean
    ]
    return charts.lines(
        "Retention", points, series=("retention",), x_title="weeks after that of the first turn",
        y_title="% of the users of all cohorts that old",
    )  # fmt: skip


def _curve_card(shown: UsersReport) -> str:
    note = (
        "Of the users of all cohorts that are old enough, how many had a turn in that week; "
        "without the first cohort held, which has the users of all weeks before."
    )
    chart = _curve(shown)
    return card("Retention", chart or nothing("Told from the second whole week on."),
                note=note if chart else "")  # fmt: skip


def _cohorts_card(shown: UsersReport) -> str:
    title = "Retention by week of the first turn"
    own = shown.cohorts.filter(
        pl.col("app_id").is_null() & (pl.col("unit") == Period.WEEK.value)
    ).sort("cohort", "later")
    found: dict[dt.date, dict[int, tuple[int, int]]] = {}
    for cohort, later, size, users in own.select("cohort", "later", "size", "users").iter_rows():
        found.setdefault(cohort, {})[later] = (users, size)
    latest = dict(sorted(found.items())[-_MOST_COHORTS:])
    weeks = [
        one for one in range(1, _MOST_COHORTS + 1) if any(one in told for told in latest.values())
    ]
    if not weeks:
        return card(title, nothing("Told from the second whole week on."), wide=True)
    others = [told for cohort, told in latest.items() if cohort != min(found)] or [*latest.values()]
    most = max(
        (_share(*told[week]) for told in others for week in weeks if week in told),
        default=Decimal(1),
    )
    rows = [_cohort_row(cohort, told, weeks, most) for cohort, told in latest.items()]
    mean = {later: (users, size) for later, users, size in _mean_retention(own, Period.WEEK)}
    foot = tables.row(
        [
            tables.named("All but the first" if len(found) > 1 else "All cohorts"),
            tables.number(Decimal(mean[0][1]), f"{mean[0][1]:,}"),
            *(
                tables.number(_share(*mean[week]), _percent(*mean[week]))
                if week in mean
                else tables.empty()
                for week in weeks
            ),
        ]
    )  # fmt: skip
    left = len(found) - len(latest)
    rest = f" The latest {_MOST_COHORTS} cohorts; {left} more in the CSV." if left else ""
    note = (
        "Of the users who had their first turn in a week, how many had one so many weeks later. "
        "Weeks that are not whole yet are not told. The last row weighs cohorts by their size; "
        "it leaves out the first one, which has the users of all weeks before, as colours do."
    )
    heads = ["First turn in", "Users", *(f"+{week} wk" for week in weeks)]
    body = tables.sortable(heads, rows, foot, style="cohorts")
    return card(title, body, wide=True, note=f"{note}{rest}", anchor="cohorts")


def _cohort_row(
    cohort: dt.date, told: Mapping[int, tuple[int, int]], weeks: Iterable[int], most: Decimal
) -> str:
    year, week, _ = cohort.isocalendar()
    size = max((size for _, size in told.values()), default=0)
    # Sorted as text, and names of weeks shall stand in the order of time.
    name = f"{year}-W{week:02}"
    cells = [tables.named(name, ""), tables.number(Decimal(size), f"{size:,}")]
    for later in weeks:
        if later not in told:
            cells.append(tables.empty())
            continue
        users, of = told[later]
        share = _share(users, of)
        step = min(tables.SHADES, round(tables.SHADES * share / most)) if most else 0
        cells.append(
            tables.shaded(
                share, _percent(users, of), f"{users:,}", max(step, 1) if users else 0,
                f"Week {week} of {year}, {of:,} users: {users:,} of them {later} "
                f"{'week' if later == 1 else 'weeks'} later, {_percent(users, of)}",
            )
        )  # fmt: skip
    return tables.row(cells)


def _share(users: int, size: int) -> Decimal:
    return round(Decimal(users) / Decimal(size), 7) if size else Decimal(0)


def _spread_cards(shown: UsersReport) -> list[str]:
    cards = []
    keys = shown.spread.select("measure", "currency").unique(maintain_order=True)
    for measure, currency in keys.iter_rows():
        own = shown.spread.filter(
            (pl.col("measure") == measure) & pl.col("currency").eq_missing(pl.lit(currency))
        ).sort("position")
        total = int(own["users"].sum())
        if measure == "status":
            title, unit = "Users by status", ""
            note = "As of the last day held: its last 7 days, against the 7 days before."
        elif measure == "cost":
            title, unit = f"Cost per user, {currency_label(currency)}", "cost"
            note = "Over all days held."
        else:
            title, unit = f"{_SPREADS[measure]} per user", _SPREADS[measure].lower()
            note = "Over all days held."
        rows = [
            charts.Row(
                label,
                (float(users),),
                (_spread_text(users, total, share, unit),),
                ends=(f"{users:,} ({_percent(users, total)})",),
            )
            for label, users, share in own.select("label", "users", "share").iter_rows()
        ]
        chart = charts.bars(title, rows, series=("users",), x_title="users", whole=True)
        cards.append(card(title, chart, note=note))
    return cards


def _spread_text(users: int, total: int, share: float | None, unit: str) -> str:
    text = f"{users:,} users, {_percent(users, total)}"
    return text if share is None or not unit else f"{text}, with {100 * share:.1f}% of all {unit}"


def _tiles(shown: UsersReport) -> str:
    days, weeks = (_of(shown.growth, None, one) for one in (Period.DAY, Period.WEEK))
    users = sum(row["new"] for row in days)
    whole = [row for row in weeks if row["days_held"] == len(Period.WEEK.days_of(row["start"]))]
    found = [("Users, all days", f"{users:,}", "with at least one turn")]
    if whole:
        last = whole[-1]
        title = f"week {last['start'].isocalendar().week}"
        found += [
            (f"Active in {title}", f"{last['active']:,}", _against(whole, "active")),
            (f"New in {title}", f"{last['new']:,}", _against(whole, "new")),
            (f"Dormant in {title}", f"{last['dormant']:,}", "active the week before"),
        ]
    by_day = {later: (had, size) for later, had, size in _mean_retention(shown.cohorts, Period.DAY)}
    found += [
        (f"Back after {later} {'day' if later == 1 else 'days'}", _percent(*by_day[later]),
         f"{by_day[later][0]:,} of {by_day[later][1]:,} users")
        for later in (1, 7, 30)
        if later in by_day
    ]  # fmt: skip
    if shown.busiest is not None:
        found.append(("Turns of the busiest 10%", f"{100 * shown.busiest:.1f}%", "of all turns"))
    return '<div class="tiles">{}</div>'.format(
        "".join(
            f'<div class="tile"><div class="name">{html_text(name)}</div>'
            f'<div class="value">{html_text(value)}</div>'
            f'<div class="change">{html_text(beside)}</div></div>'
            for name, value, beside in found
        )
    )


def _against(weeks: list[dict[str, Any]], name: str) -> str:
    """Say how a count has changed since the week before, which is held as a whole."""
    *_, now = weeks
    before = [row for row in weeks if row["start"] == Period.WEEK.before(now["start"])]
    if not before or not before[0][name] or not now["complete"]:
        return ""
    change = 100 * (now[name] - before[0][name]) / before[0][name]
    mark = "±" if not change else "▲" if change > 0 else "▼"
    return f"{mark} {abs(change):.1f}%"


def _growth_table(shown: UsersReport, period: Period) -> str:
    rows = [
        tables.row(
            [
                tables.named(period.label(row["start"])),
                *(
                    tables.number(Decimal(row[name]), f"{row[name]:,}", most)
                    for name, most in (
                        ("active", Decimal(max(one["active"] for one in every))),
                        *((name, None) for name in (*_SERIES, "days_held")),
                    )
                ),
            ]
        )
        for every in (_of(shown.growth, None, period),)
        for row in reversed(every[-_MOST[period] :])
    ]
    heads = [period.value.title(), "Active", *(name.title() for name in _SERIES), "Days held"]
    note = "A click on a heading sorts. "
    links = ", ".join(f'<a href="{name}" download>{name}</a>' for name in CSV_FILES)
    body = f'{tables.sortable(heads, rows)}<p class="note">{note}By app, as CSV: {links}</p>'
    return card(f"{period.value.title()}s", body, wide=True)


def _apps_card(shown: UsersReport) -> str:
    apps = shown.growth["app_id"].drop_nulls().unique().sort().to_list()
    rows = {app: _app_row(shown, app) for app in (*apps, None)}
    order = sorted(apps, key=lambda app: (-rows[app][0], app))
    most = Decimal(max((rows[app][0] for app in apps), default=0))
    heads = [
        "App", "Users", "Active in the last whole week", *(name.title() for name in _SERIES),
        "Back 1 week later", "Back 4 weeks later",
    ]  # fmt: skip

    def cells(app: str | None, top: Decimal | None) -> str:
        users, week, retention = rows[app]
        counts = (
            tables.number(Decimal(week[name]), f"{week[name]:,}") if week else _unknown()
            for name in ("active", *_SERIES)
        )
        back = (
            tables.number(_share(*one), _percent(*one)) if one else _unknown() for one in retention
        )
        return tables.row(
            [tables.named(app_label(app)), tables.number(Decimal(users), f"{users:,}", top),
             *counts, *back]
        )  # fmt: skip

    note = "A user of several apps counts once in the last row. Retention: of all cohorts that old."
    body = tables.sortable(heads, (cells(app, most) for app in order), cells(None, None))
    return card("Users by app", body, wide=True, note=note)


def _unknown() -> str:
    return tables.number(None, UNKNOWN)


def _app_row(
    shown: UsersReport, app: str | None
) -> tuple[int, dict[str, Any] | None, list[tuple[int, int] | None]]:
    """Return users over all days, the last whole week, and who was back 1 and 4 weeks later."""
    users = sum(row["new"] for row in _of(shown.growth, app, Period.DAY))
    weeks = _of(shown.growth, app, Period.WEEK)
    whole = [row for row in weeks if row["days_held"] == len(Period.WEEK.days_of(row["start"]))]
    own = shown.cohorts.filter(pl.col("app_id").eq_missing(pl.lit(app))).with_columns(
        app_id=pl.lit(None, pl.String())
    )
    mean = {later: (had, size) for later, had, size in _mean_retention(own, Period.WEEK)}
    return users, whole[-1] if whole else None, [mean.get(1), mean.get(4)]


def _definitions_card() -> str:
    rows = "".join(
        f"<tr><td>{html_text(name)}</td><td>{html_text(meaning)}</td></tr>"
        for name, meaning in (
            ("active", "had a turn; debugger turns are left out"),
            *_MEANINGS,
            ("session", "turns in one app with gaps of at most 30 minutes"),
            ("retention", "the part of a cohort's users who had a turn so many weeks later"),
            ("cohort", "the users who had their first turn in one week"),
        )
    )
    return (
        '<section class="card wide" id="definitions"><details><summary>What the words mean'
        '</summary><div class="scroll"><table class="left"><thead><tr><th scope="col">Word</th>'
        f'<th scope="col">Meaning</th></tr></thead><tbody>{rows}</tbody></table></div></details>'
        "</section>\n"
    )
