"""Deterministic, realistic chat traffic with Dify's columns.

Each day is generated on its own from (seed, day), so any day can be had at once, in any
order, in any process, and always comes out the same. Nothing here is anybody's data.
"""

from __future__ import annotations

import datetime as dt
import math
from bisect import bisect
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import accumulate
from random import Random
from typing import TYPE_CHECKING, Any

import msgspec

from conversation_analytics.sample.phrases import CITIES, CODE, EMOJI, LANGUAGES

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

Row = dict[str, Any]

_MASK = (1 << 64) - 1
_LONGEST_S = 6 * 3600  # a conversation ends within this time, hence at most one day later
_GROWTH_ZERO = dt.date(2026, 6, 1)
_WEEKDAYS = (1.12, 1.18, 1.15, 1.1, 1.0, 0.72, 0.73)
_HOURS = (
    18, 14, 10, 8, 8, 11, 18, 32, 55, 74, 80, 78, 66, 72, 80, 78, 70, 60, 52, 50, 52, 48, 38, 26,
)  # fmt: skip
_LENGTHS = (1, 2, 3, 4, 5, 6, 8, 10, 14, 20, 28, 40)
_LENGTH_WEIGHTS = (24, 20, 17, 12, 9, 6, 5, 3, 2, 1, 0.6, 0.4)
_LANGUAGE_WEIGHTS = {
    "en": 38, "zh": 12, "es": 11, "vi": 8, "th": 8, "id": 7, "pt": 6, "fr": 5, "de": 5,
}  # fmt: skip
_ERRORS = (
    "[openai] Rate Limit Error, try again later",
    "[anthropic] Server Unavailable Error, overloaded",
    "Run failed: the model's answer took longer than 60 seconds",
    "PluginInvokeError: connection to the model provider was reset",
)
_ERROR_SHARE, _INCIDENT_ERROR_SHARE = 0.018, 0.09
_UNFINISHED_SHARE = 0.006
_REGENERATION_SHARE = 0.03
_DEBUGGER_SHARE = 0.02
_NULL_ORIGIN_SHARE = 0.03
_ONE_OFF_USER_SHARE = 0.12
_RATED_SHARE, _RATED_FAILED_SHARE = 0.07, 0.2
_LIKED_SHARE = 0.74
_RATED_BY_ADMIN_SHARE = 0.04
_LONGEST_UNTIL_RATED_S = 20 * 3600
_ADMIN = 1
_COMPLAINTS = (None, None, None, "Not what I asked", "This is wrong", "Too long")
_PRICE_SCALE = 10**7
_LONGEST_PROMPT_TOKENS = 7000
_TITLE_CHARACTERS = 40


@dataclass(frozen=True, slots=True)
class _Model:
    """A model with its prices; `in_e7` and `out_e7` are 1e-7 of the currency a token."""

    provider: str
    name: str
    unit: str
    price_in: str
    price_out: str
    in_e7: int
    out_e7: int
    first_token_s: float
    tokens_per_s: float


_GPT_MINI = _Model(
    "langgenius/openai/openai", "gpt-4.1-mini",
    "0.0000010", "0.4000", "1.6000", 4, 16, 0.45, 85.0,
)  # fmt: skip
_GPT = _Model(
    "langgenius/openai/openai", "gpt-4o",
    "0.0000010", "2.5000", "10.0000", 25, 100, 0.6, 62.0,
)  # fmt: skip
_CLAUDE = _Model(
    "langgenius/anthropic/anthropic", "claude-sonnet-4",
    "0.0000010", "3.0000", "15.0000", 30, 150, 0.95, 55.0,
)  # fmt: skip
_GEMINI = _Model(
    "langgenius/gemini/google", "gemini-2.5-flash",
    "0.0000010", "0.3000", "2.5000", 3, 25, 0.38, 130.0,
)  # fmt: skip
_QWEN = _Model(
    "langgenius/tongyi/tongyi", "qwen-plus",
    "0.0010000", "0.0008", "0.0020", 8, 20, 0.7, 48.0,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class _App:
    """An app. A workflow app names no model in its rows, as Dify's do."""

    id: str
    mode: str
    themes: tuple[str, ...]
    models: tuple[_Model, ...]
    currency: str = "USD"


_APPS = (
    _App(
        "5f0d1c52-8a7e-4b1f-9c36-2d4e6a8b0c11", "chat",
        ("orders", "orders", "refunds", "passwords", "smalltalk"), (_GPT_MINI, _GPT_MINI, _GPT),
    ),
    _App(
        "a3b9e7d4-1c65-4f28-8e0a-7b5c3d2f1e22", "agent-chat",
        ("coding",), (_CLAUDE, _CLAUDE, _GPT),
    ),
    _App(
        "c81f4a60-92d3-4e57-b6a8-0f1e2d3c4b33", "advanced-chat",
        ("travel", "travel", "smalltalk"), (_GEMINI,),
    ),
    _App(
        "e2d6b8f0-3a49-4c7d-a517-9e8f7a6b5c44", "chat",
        ("health", "smalltalk", "coding", "travel"), (_QWEN,), "CNY",
    ),
)  # fmt: skip
_APP_WEIGHTS = (46, 24, 16, 14)


def _cumulative(weights: Sequence[float]) -> tuple[float, ...]:
    total = sum(weights)
    return tuple(accumulate(weight / total for weight in weights))


_HOUR_STEPS = _cumulative(_HOURS)
_LENGTH_STEPS = _cumulative(_LENGTH_WEIGHTS)
_LANGUAGE_NAMES = tuple(_LANGUAGE_WEIGHTS)
_LANGUAGE_STEPS = _cumulative(tuple(_LANGUAGE_WEIGHTS.values()))
_APP_STEPS = _cumulative(_APP_WEIGHTS)


def _mix(*parts: int) -> int:
    """Hash whole numbers to 64 bits: the same in every process, unlike `hash` of text."""
    value = 0x9E3779B97F4A7C15
    for part in parts:
        value = ((value ^ (part & _MASK)) * 0xBF58476D1CE4E5B9) & _MASK
        value ^= value >> 31
        value = (value * 0x94D049BB133111EB) & _MASK
        value ^= value >> 29
    return value


def _uuid(bits: int) -> str:
    """Write the low 128 of `bits` as a UUID of version 4."""
    digits = f"{bits:032x}"
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-a{digits[17:20]}-{digits[20:32]}"


def _pick(steps: tuple[float, ...], uniform: float) -> int:
    return min(bisect(steps, uniform), len(steps) - 1)


def _money(e7: int) -> str:
    return f"{e7 // _PRICE_SCALE}.{e7 % _PRICE_SCALE:07d}"


@dataclass(frozen=True, slots=True)
class _User:
    id: str
    language: str
    app: _App
    plan: str


@lru_cache(maxsize=8192)
def _user(key: int) -> _User:
    language = _LANGUAGE_NAMES[_pick(_LANGUAGE_STEPS, _unit(key, 1))]
    chinese_app = language == "zh" and _unit(key, 2) < 0.6  # noqa: PLR2004 - a share
    return _User(
        id=_uuid((_mix(key, 3) << 64) | _mix(key, 4)),
        language=language,
        app=_APPS[3] if chinese_app else _APPS[_pick(_APP_STEPS, _unit(key, 5))],
        plan=("free", "free", "free", "pro", "team")[_mix(key, 6) % 5],
    )


def _unit(*parts: int) -> float:
    return _mix(*parts) / 2**64


@dataclass(slots=True)
class _Turn:
    """A planned turn: when it begins, and whether it regenerates the turn before it."""

    offset_s: float
    regenerates: bool


@dataclass(slots=True)
class _Conversation:
    """A planned conversation; `rng` stands where the texts begin."""

    id: str
    start: dt.datetime
    user: _User
    app: _App
    language: str
    theme: str
    model: _Model
    invoke_from: str | None
    query: str
    slots: dict[str, str]
    turns: list[_Turn]
    rng: Random = field(repr=False)

    @property
    def from_console(self) -> bool:
        return self.invoke_from == "debugger"

    @property
    def end(self) -> dt.datetime:
        """When the last turn begins."""
        return self.start + dt.timedelta(seconds=self.turns[-1].offset_s)


@dataclass(frozen=True, slots=True)
class SampleTraffic:
    """An endless, deterministic stream of chat conversations.

    Attributes:
        seed: another seed gives other traffic of the same kind.
        turns_per_day: turns of an average day at the beginning of June 2026; the real number
            follows the weekday, slow growth and chance.
        zone: time zone of the days and of the daily rhythm.
    """

    seed: int = 7
    turns_per_day: int = 1000
    zone: dt.tzinfo = dt.UTC

    def conversations(self, day: dt.date) -> list[Row]:
        """Return the conversations begun on local `day`, ordered by time.

        Rows have Dify's columns; times are aware UTC datetimes, JSON columns JSON text.
        `dialogue_count` and `updated_at` count every turn, also those after midnight.
        """
        rows = [_conversation_row(planned) for planned in self._begun(day)]
        rows.sort(key=_order)
        return rows

    def messages(self, day: dt.date) -> list[Row]:
        """Return the turns created on local `day`, ordered by time.

        Turns of a conversation begun late on the day before and running past midnight are
        among them. Rows have Dify's columns, the prompt `message` included; prices are
        decimal text with at most seven places, times aware UTC datetimes.
        """
        start, end = self._bounds(day)
        rows = [
            row
            for planned in self._running(day)
            for row in _message_rows(planned)
            if start <= row["created_at"] < end
        ]
        rows.sort(key=_order)
        return rows

    def feedbacks(self, day: dt.date) -> list[Row]:
        """Return the ratings given on local `day`, of its turns and of the day before's.

        Rows have the columns of Dify's `message_feedbacks`; times are aware UTC datetimes.
        """
        start, end = self._bounds(day)
        turns = [*self.messages(day - dt.timedelta(days=1)), *self.messages(day)]
        rows = [
            row
            for turn in turns
            if (row := _feedback_row(turn)) is not None and start <= row["created_at"] < end
        ]
        rows.sort(key=_order)
        return rows

    def undated_conversations(self) -> list[Row]:
        """Return one conversation whose row has no times, as real tables sometimes hold."""
        row = _conversation_row(self._undated())
        return [row | {"created_at": None, "updated_at": None}]

    def undated_messages(self) -> list[Row]:
        """Return the three turns of the undated conversation; they have no times either."""
        none = {"created_at": None, "updated_at": None}
        return [row | none for row in _message_rows(self._undated())]

    def _undated(self) -> _Conversation:
        planned = self._plan(_mix(self.seed, 11), dt.datetime(2026, 1, 1, tzinfo=dt.UTC), 3, 0)
        for turn in planned.turns:
            turn.regenerates = False
        return planned

    def _bounds(self, day: dt.date) -> tuple[dt.datetime, dt.datetime]:
        """Return the UTC instants at which local `day` begins and ends."""
        start = dt.datetime.combine(day, dt.time.min, tzinfo=self.zone)
        end = dt.datetime.combine(day + dt.timedelta(days=1), dt.time.min, tzinfo=self.zone)
        return start.astimezone(dt.UTC), end.astimezone(dt.UTC)

    def _turns_of(self, day: dt.date) -> int:
        growth = 1.0 + 0.0012 * (day - _GROWTH_ZERO).days
        noise = 0.92 + 0.16 * _unit(self.seed, day.toordinal(), 21)
        factor = _WEEKDAYS[day.weekday()] * min(max(growth, 0.5), 2.0) * noise
        return max(1, round(self.turns_per_day * factor))

    def _starts(self, day: dt.date) -> Iterator[tuple[int, dt.datetime, int]]:
        """Yield seed, begin and wanted number of turns of each conversation of `day`."""
        rng = Random(_mix(self.seed, day.toordinal(), 1))
        start, end = self._bounds(day)
        hour_s = (end - start).total_seconds() / 24  # a 23-hour day has shorter "hours"
        left = self._turns_of(day)
        while left > 0:
            wanted = min(_LENGTHS[_pick(_LENGTH_STEPS, rng.random())], left)
            second = (_pick(_HOUR_STEPS, rng.random()) + rng.random()) * hour_s
            yield rng.getrandbits(64), start + dt.timedelta(milliseconds=int(second * 1e3)), wanted
            left -= wanted

    def _begun(self, day: dt.date) -> Iterator[_Conversation]:
        for seed, start, wanted in self._starts(day):
            yield self._plan(seed, start, wanted, day.toordinal())

    def _running(self, day: dt.date) -> Iterator[_Conversation]:
        """Yield the conversations that may have turns on `day`, the day before's first."""
        start, _ = self._bounds(day)
        earliest = start - dt.timedelta(seconds=_LONGEST_S)
        yesterday = day - dt.timedelta(days=1)
        for seed, begun, wanted in self._starts(yesterday):
            if begun < earliest:
                continue
            planned = self._plan(seed, begun, wanted, yesterday.toordinal())
            if planned.end >= start:
                yield planned
        yield from self._begun(day)

    def _user_of(self, rng: Random, ordinal: int) -> _User:
        """Choose a user: mostly one of a pool with a long tail whose members come and go."""
        if rng.random() < _ONE_OFF_USER_SHARE:
            return _user(_mix(self.seed, ordinal, rng.getrandbits(64)))
        pool = max(40, self.turns_per_day // 3)
        place = int(pool * rng.random() ** 1.7)
        stays_days = 60 + _mix(self.seed, place, 31) % 340
        generation = (ordinal + _mix(self.seed, place, 32) % stays_days) // stays_days
        return _user(_mix(self.seed, place, generation, 33))

    def _plan(self, seed: int, start: dt.datetime, wanted: int, ordinal: int) -> _Conversation:
        rng = Random(seed)
        user = self._user_of(rng, ordinal)
        app = user.app if rng.random() < 0.8 else _APPS[_pick(_APP_STEPS, rng.random())]  # noqa: PLR2004
        language = user.language if rng.random() < 0.97 else "en"  # noqa: PLR2004
        theme = rng.choice(app.themes)
        slots = {
            "order": f"SO-{rng.randrange(100000, 999999)}",
            "city": rng.choice(CITIES),
            "mail": f"user{rng.randrange(1000)}@example.com",
            "days": str(rng.randrange(2, 9)),
            "phone": f"+1 555 01{rng.randrange(100):02d}",  # the range kept for fiction
        }
        origin = rng.random()
        invoke_from: str | None = "web-app" if rng.random() < 0.7 else "service-api"  # noqa: PLR2004
        if origin < _DEBUGGER_SHARE:
            invoke_from = "debugger"
        elif origin < _DEBUGGER_SHARE + _NULL_ORIGIN_SHARE:
            invoke_from = None
        return _Conversation(
            id=_uuid(rng.getrandbits(128)),
            start=start,
            user=user,
            app=app,
            language=language,
            theme=theme,
            model=rng.choice(app.models),
            invoke_from=invoke_from,
            query=_filled(rng.choice(LANGUAGES[language].themes[theme].queries), slots),
            slots=slots,
            turns=_turns(rng, wanted),
            rng=rng,
        )


def _order(row: Row) -> tuple[dt.datetime, str]:
    return row["created_at"], row["id"]


def _filled(template: str, slots: dict[str, str]) -> str:
    return template.format_map(slots) if "{" in template else template


def _turns(rng: Random, wanted: int) -> list[_Turn]:
    """Place `wanted` turns in time; those after the longest time a conversation may last go."""
    turns = [_Turn(0.0, regenerates=False)]
    offset = 0.0
    for _ in range(wanted - 1):
        regenerates = len(turns) > 1 and rng.random() < _REGENERATION_SHARE
        if regenerates:
            offset += rng.uniform(15.0, 60.0)
        elif rng.random() < 0.03:  # noqa: PLR2004 - comes back after a break: a new session
            offset += rng.uniform(1900.0, 7200.0)
        else:
            offset += min(12.0 + rng.lognormvariate(3.7, 1.0), 1700.0)
        if offset > _LONGEST_S:
            break
        turns.append(_Turn(round(offset, 3), regenerates))
    return turns


def _conversation_row(planned: _Conversation) -> Row:
    console = planned.from_console
    hidden = planned.app.mode == "advanced-chat"
    return {
        "id": planned.id,
        "app_id": planned.app.id,
        "app_model_config_id": None if hidden else _uuid(_mix(len(planned.model.name), 41) << 64),
        "model_provider": None if hidden else planned.model.provider,
        "override_model_configs": None,
        "model_id": None if hidden else planned.model.name,
        "mode": planned.app.mode,
        "name": planned.query[:_TITLE_CHARACTERS],
        "summary": None,
        "inputs": _inputs(planned),
        "introduction": "",
        "system_instruction": "",
        "system_instruction_tokens": 0,
        "status": "normal",
        "invoke_from": planned.invoke_from,
        "from_source": "console" if console else "api",
        "from_end_user_id": None if console else planned.user.id,
        "from_account_id": planned.user.id if console else None,
        "read_at": None,
        "read_account_id": None,
        "dialogue_count": len(planned.turns),
        "created_at": planned.start,
        "updated_at": planned.end,
        "is_deleted": int(planned.id[:2], 16) == 0,
    }


def _inputs(planned: _Conversation) -> str:
    return f'{{"plan":"{planned.user.plan}","locale":"{planned.language}"}}'


def _message_rows(planned: _Conversation) -> Iterator[Row]:
    """Yield the turns in order; consumes the conversation's `rng`."""
    rng = planned.rng
    error_share = _ERROR_SHARE
    if _mix(planned.start.toordinal(), 51) % 31 == 0:  # the model provider has a bad day
        error_share = _INCIDENT_ERROR_SHARE
    parent: str | None = None
    last: str | None = None
    query = planned.query
    history_tokens = 0
    failed = False
    for number, turn in enumerate(planned.turns):
        if not turn.regenerates:
            parent = last
            if number:
                query = _next_query(planned, query, failed=failed)
        chance = rng.random()
        if chance < error_share:
            outcome = "error"
        elif chance < error_share + _UNFINISHED_SHARE:
            outcome = "unfinished"
        else:
            outcome = "finished"
        failed = outcome != "finished"
        row = _message_row(planned, turn, query, parent, history_tokens, outcome)
        last = row["id"]
        history_tokens = min(
            row["message_tokens"] + row["answer_tokens"], _LONGEST_PROMPT_TOKENS
        ) or history_tokens  # fmt: skip
        yield row


def _next_query(planned: _Conversation, query: str, *, failed: bool) -> str:
    rng = planned.rng
    phrases = LANGUAGES[planned.language]
    chance = rng.random()
    if failed and chance < 0.6:  # noqa: PLR2004 - asks the same again, a little differently
        return f"{query.rstrip('.。?!')} {rng.choice(('??', '!', '…', '🙏'))}"
    if chance < 0.2:  # noqa: PLR2004
        return rng.choice(phrases.short)
    if chance < 0.62:  # noqa: PLR2004
        text = _filled(rng.choice(phrases.follow_ups), planned.slots)
    else:
        text = _filled(rng.choice(phrases.themes[planned.theme].queries), planned.slots)
    return f"{text} {rng.choice(EMOJI)}" if rng.random() < 0.06 else text  # noqa: PLR2004


def _answer(planned: _Conversation) -> str:
    """Compose an answer of one sentence or many; lengths have a long tail."""
    rng = planned.rng
    phrases = LANGUAGES[planned.language]
    answers = phrases.themes[planned.theme].answers
    parts = [rng.choice(answers)]
    if planned.theme == "coding" and rng.random() < 0.7:  # noqa: PLR2004
        parts.append(f"\n{rng.choice(CODE)}\n")
    more = min(int(rng.expovariate(0.55)), 16)
    parts += [
        rng.choice(phrases.tips if rng.random() < 0.6 else answers)  # noqa: PLR2004
        for _ in range(more)
    ]
    text = _filled(("" if planned.language in ("zh", "th") else " ").join(parts), planned.slots)
    return f"{text} {rng.choice(EMOJI)}" if rng.random() < 0.05 else text  # noqa: PLR2004


def _message_row(
    planned: _Conversation,
    turn: _Turn,
    query: str,
    parent: str | None,
    history_tokens: int,
    outcome: str,
) -> Row:
    rng, model, app = planned.rng, planned.model, planned.app
    created_at = planned.start + dt.timedelta(seconds=turn.offset_s)
    finished = outcome == "finished"
    hidden = app.mode == "advanced-chat"
    console = planned.from_console
    answer, metadata, tokens_in, tokens_out, total_e7, latency = "", None, 0, 0, 0, 0.0
    if finished:
        per_token = LANGUAGES[planned.language].characters_per_token
        answer = _answer(planned)
        tokens_out = 1 + int(len(answer) / per_token)
        tokens_in = 150 + history_tokens + int(len(query) / per_token)
        total_e7 = tokens_in * model.in_e7 + tokens_out * model.out_e7
        first_token = model.first_token_s * math.exp(rng.gauss(0.0, 0.35)) + tokens_in * 2e-5
        writing = tokens_out / model.tokens_per_s * math.exp(rng.gauss(0.0, 0.25))
        first_token, latency = round(first_token, 3), round(first_token + writing, 4)
        metadata = _metadata(model, app.currency, tokens_in, tokens_out, latency, first_token)
    message_id = _uuid(rng.getrandbits(128))
    return {
        "id": message_id,
        "app_id": app.id,
        "model_provider": None if hidden else model.provider,
        "model_id": None if hidden else model.name,
        "override_model_configs": None,
        "conversation_id": planned.id,
        "inputs": _inputs(planned),
        "query": query,
        "message": _prompt(query),
        "message_tokens": tokens_in,
        "message_unit_price": model.price_in if finished else "0.0000",
        "message_price_unit": model.unit,
        "answer": answer,
        "answer_tokens": tokens_out,
        "answer_unit_price": model.price_out if finished else "0.0000",
        "answer_price_unit": model.unit,
        "parent_message_id": parent,
        "provider_response_latency": latency,
        "total_price": _money(total_e7),
        "currency": app.currency,
        "status": "error" if outcome == "error" else "normal",
        "error": rng.choice(_ERRORS) if outcome == "error" else None,
        "message_metadata": metadata,
        "invoke_from": planned.invoke_from,
        "from_source": "console" if console else "api",
        "from_end_user_id": None if console else planned.user.id,
        "from_account_id": planned.user.id if console else None,
        "created_at": created_at,
        "updated_at": created_at + dt.timedelta(milliseconds=int(latency * 1000)),
        "agent_based": app.mode == "agent-chat",
        "workflow_run_id": _uuid(_mix(rng.getrandbits(64)) << 64) if hidden else None,
    }


def _feedback_row(turn: Row) -> Row | None:
    """Return the rating of a turn that has one."""
    key = int(turn["id"].replace("-", ""), 16)
    failed = turn["status"] == "error"
    if turn["invoke_from"] == "debugger" or turn["created_at"] is None:
        return None
    if _unit(key, 31) >= (_RATED_FAILED_SHARE if failed else _RATED_SHARE):
        return None
    liked = not failed and _unit(key, 32) < _LIKED_SHARE
    by_admin = _unit(key, 33) < _RATED_BY_ADMIN_SHARE
    at = turn["created_at"] + dt.timedelta(
        seconds=int(5 + _LONGEST_UNTIL_RATED_S * _unit(key, 34) ** 6)
    )
    return {
        "id": _uuid((_mix(key, 35) << 64) | _mix(key, 36)),
        "app_id": turn["app_id"],
        "conversation_id": turn["conversation_id"],
        "message_id": turn["id"],
        "rating": "like" if liked else "dislike",
        "content": None if liked else _COMPLAINTS[_mix(key, 37) % len(_COMPLAINTS)],
        "from_source": "admin" if by_admin else "user",
        "from_end_user_id": None if by_admin else turn["from_end_user_id"],
        "from_account_id": _uuid(_mix(_ADMIN, 38)) if by_admin else turn["from_account_id"],
        "created_at": at,
        "updated_at": at,
    }


def _prompt(query: str) -> str:
    quoted = msgspec.json.encode(query).decode()
    return f'[{{"role":"system","text":"You are a helpful assistant."}},{{"role":"user","text":{quoted}}}]'  # noqa: E501


def _metadata(
    model: _Model, currency: str, tokens_in: int, tokens_out: int, latency: float, first: float
) -> str:
    total_e7 = tokens_in * model.in_e7 + tokens_out * model.out_e7
    return (
        '{"annotation_reply":null,"retriever_resources":[],"usage":{'
        f'"prompt_tokens":{tokens_in},"completion_tokens":{tokens_out},'
        f'"total_tokens":{tokens_in + tokens_out},"total_price":"{_money(total_e7)}",'
        f'"currency":"{currency}","latency":{latency},"time_to_first_token":{first},'
        f'"time_to_generate":{round(latency - first, 4)}}}}}'
    )
