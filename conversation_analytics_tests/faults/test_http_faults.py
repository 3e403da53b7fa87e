"""What HTTP, gateways and a server in trouble do to pages of rows, between us and the real NocoDB.

Each fault is either recovered from quietly, or told with what to do; which of the two is right is
said at each test. NocoDB is asked once, later rounds get the pages it gave.
"""

from __future__ import annotations

import datetime as dt
import email.utils
import json
import random
import re
import time
import uuid
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from conversation_analytics.core import errors, schemas
from conversation_analytics.core.source import SourceTable
from conversation_analytics.io_managers import retries
from conversation_analytics.resources.connections import open_lake, open_source
from conversation_analytics.settings import Settings, parse_settings
from conversation_analytics.stack.dify import empty_dify_tables, load_dify_rows
from conversation_analytics_tests.faults.exactly_once import (
    Payloads,
    compare_zones,
    digests,
    require_readable,
    strays,
)
from conversation_analytics_tests.faults.http_proxy import (
    FOREVER,
    Answer,
    HttpProxy,
    Script,
    is_page,
    query_of,
    with_query,
)
from conversation_analytics_tests.faults.sample_runs import Failures, run_daily

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from conversation_analytics.stack.nocodb import NocodbServer
    from conversation_analytics.stack.nocodb_seed import DifyBase
    from conversation_analytics_tests.faults.ledger import Ledger, Tally

    Spoil = Callable[[str, Answer], Answer]

pytestmark = [
    pytest.mark.chaos,
    pytest.mark.nocodb,
    pytest.mark.postgres,
    pytest.mark.timeout(3600),
]

SEED = 20261110
PAGE = 16
DAYS = ("2026-11-10", "2026-11-11")
# Messages of the second day fill their pages: its last page is empty.
CONVERSATIONS, MESSAGES = (20, 20), (60, 48)
HTML = b"<html><body><h1>502 Bad Gateway</h1></body></html>"
SECONDS_OF_A_DAY = 86_400


@dataclass
class Site:
    """The platform, NocoDB behind the proxy, and the rows that are in PostgreSQL.

    Attributes:
        folder: for the lakes, one a try.
        proxy: before NocoDB.
        variables: settings of the platform.
        wanted: what must be in every zone.
        pages: targets of every page of a run, in the order of their days.
    """

    folder: Path
    proxy: HttpProxy
    variables: dict[str, str]
    wanted: dict[SourceTable, Payloads]
    pages: list[str] = field(default_factory=list)
    tries: int = 0

    @property
    def before(self) -> dict[str, str]:
        """Each page that is not the first one of its day, and the page before it."""
        pairs = zip(self.pages[1:], self.pages, strict=False)
        return {page: before for page, before in pairs if "(id,gt," in query_of(page)["where"]}

    def settings(self, **changed: str) -> Settings:
        """Settings of a platform that has read nothing yet."""
        self.tries += 1
        lake = self.folder / str(self.tries)
        stores = {"PARQUET_BASE_DIR": f"{lake}/lake", "SQLITE_PATH": f"{lake}/documents.sqlite"}
        return parse_settings(self.variables | stores | changed)

    def complete(self, settings: Settings, tally: Tally) -> None:
        """Nothing is lost, and nothing repeated."""
        verdict = compare_zones(settings, DAYS, self.wanted, exact=False)
        tally.add(verdict)
        verdict.require_nothing()

    def nothing_by_halves(self, settings: Settings) -> None:
        """What a failed run has left is whole days."""
        lake = open_lake(settings)
        require_readable(settings)
        assert strays(settings.parquet_base_dir) == []
        for table, schema in (
            (SourceTable.CONVERSATIONS, schemas.RAW_CONVERSATIONS),
            (SourceTable.MESSAGES, schemas.RAW_MESSAGES),
        ):
            for day in lake.keys(schema):
                assert set(lake.read(schema, day)["id"]) == {
                    row_id
                    for row_id, payload in self.wanted[table].items()
                    if json.loads(payload)["day"] == day
                }

    def read(self, settings: Settings) -> dict[SourceTable, list[str]]:
        """Read every day without the job, one after the other; return the ids."""
        with closing(open_source(settings)) as source:
            return {
                table: [
                    row_id
                    for day in DAYS
                    for row_id in source.read_window(table, *window(day))["id"].to_list()
                ]
                for table in settings.source_tables
            }


READ = (SourceTable.CONVERSATIONS, SourceTable.MESSAGES)


def window(day: str) -> tuple[dt.datetime, dt.datetime]:
    start = dt.datetime.fromisoformat(day).replace(tzinfo=dt.UTC)
    return start, start + dt.timedelta(days=1)


def rows() -> dict[SourceTable, list[dict[str, Any]]]:
    """Rows of two days; their ids say nothing about their order in time."""
    chance = random.Random(SEED)

    def row(day: str) -> dict[str, Any]:
        at = window(day)[0] + dt.timedelta(seconds=chance.randrange(SECONDS_OF_A_DAY))
        row_id = str(uuid.UUID(int=chance.getrandbits(128), version=4))
        return {"id": row_id, "status": "normal", "created_at": at, "updated_at": at}

    made: dict[SourceTable, list[dict[str, Any]]] = {table: [] for table in READ}
    for day, conversations in zip(DAYS, CONVERSATIONS, strict=True):
        made[SourceTable.CONVERSATIONS] += [row(day) | {"name": "n"} for _ in range(conversations)]
    owners = [one["id"] for one in made[SourceTable.CONVERSATIONS]]
    for day, messages in zip(DAYS, MESSAGES, strict=True):
        made[SourceTable.MESSAGES] += [
            row(day) | {
                "conversation_id": chance.choice(owners), "query": f"q {number}",
                "answer": f"a {number}", "answer_tokens": number,
            }
            for number in range(messages)
        ]  # fmt: skip
    return made


@pytest.fixture(scope="module")
def site(
    tmp_path_factory: pytest.TempPathFactory, nocodb: NocodbServer, shared_dify_base: DifyBase
) -> Iterator[Site]:
    base, made = shared_dify_base, rows()
    empty_dify_tables(base.dsn)
    for table, some in made.items():
        load_dify_rows(base.dsn, table.value, some)
    proxy = HttpProxy(nocodb.base_url)
    variables = {
        "NOCODB_BASE_URL": proxy.url,
        "NOCODB_API_TOKEN": nocodb.api_token,
        "NOCODB_PROJECT_ID": base.base_id,
        "CHUNK_SIZE": str(PAGE),
        "RETRY_DELAY": "0.01",
        "MAX_RETRIES": "4",
        "ANALYTICS_START_DATE": DAYS[0],
    }
    wanted = {
        table: {
            one["id"]: json.dumps(
                one | {"day": f"{one['created_at']:%F}", "created_at": None, "updated_at": None}
            )
            for one in some
        }
        for table, some in made.items()
    }
    found = Site(tmp_path_factory.mktemp("http_faults"), proxy, variables, wanted)
    try:
        found.read(found.settings())
        found.pages = list(proxy.pages)
        yield found
    finally:
        proxy.close()
        empty_dify_tables(base.dsn)


@pytest.fixture(autouse=True)
def _no_waiting_between_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retries, "WAIT_S", 0.01)


def test_the_pages_of_a_faultless_run(site: Site, ledger: Ledger) -> None:
    tally = ledger.tally("HTTP: none, for comparison")
    settings = site.settings()
    assert run_daily(settings, *DAYS) == {}
    site.complete(settings, tally)
    sizes = [len(json.loads(site.proxy.answer_of(page).body)["list"]) for page in site.pages]
    assert sizes == [16, 4, 16, 4, 16, 16, 16, 12, 16, 16, 16, 0]
    tally.tries, tally.outcome = 1, f"{len(sizes)} pages of up to {PAGE} rows"


def spoilt(**changes: Any) -> Spoil:
    """Return what changes these attributes of each answer and leaves the others."""
    return lambda _, answer: replace(answer, **changes)


def told(status: int, **headers: str) -> Spoil:
    """Return what answers with a status and the page of a gateway."""
    return spoilt(status=status, body=HTML, headers={"Content-Type": "text/html"} | headers)


def listed(change: Callable[[dict[str, Any]], dict[str, Any]]) -> Spoil:
    """Return what changes the page of rows inside an answer."""

    def spoil(_: str, answer: Answer) -> Answer:
        return replace(answer, body=json.dumps(change(json.loads(answer.body))).encode())

    return spoil


def empty_page(**page_info: object) -> Spoil:
    return listed(lambda page: {"list": [], "pageInfo": page["pageInfo"] | page_info})


ONCE = "an empty page that says that it is the last, or nothing"
"""Twice in a row nothing tells such a page from the end, see `nocodb.reader`."""
PASSING: dict[str, tuple[Spoil, ...]] = {
    "429 without a Retry-After that can be understood": (
        told(429), told(429, **{"Retry-After": "soon"}), told(429, **{"Retry-After": "0"}),
    ),
    "500, 502, 503, 504": (told(500), told(502), told(503), told(504)),
    "no connection": (spoilt(refused_s=0.03),),
    "a body shorter than its Content-Length": (spoilt(sent=0.5), spoilt(sent=0.0)),
    "a torn chunk": (spoilt(sent=0.5, chunked=True),),
    "HTML with 200": (told(200),),
    "an error object with 200": (spoilt(body=b'{"msg": "quota exceeded"}'),),
    "an empty page that says that rows follow, or counts them": (
        empty_page(isLastPage=False), empty_page(isLastPage=True, totalRows=7),
    ),
    ONCE: (
        empty_page(isLastPage=True, totalRows=0), listed(lambda _: {"list": []}),
    ),
}  # fmt: skip
"""What passes by itself: quiet recovery is right."""


@pytest.mark.parametrize("fault", PASSING)
def test_what_passes_is_asked_for_again(
    site: Site, ledger: Ledger, rounds: int, fault: str
) -> None:
    tally = ledger.tally(f"HTTP: {fault}; then the right answer")
    chance, spoils = random.Random(f"{SEED} {fault}"), PASSING[fault]
    for number in range(max(rounds // 8, 1)):
        some = site.pages if number == 0 else chance.sample(site.pages, 4)

        def spoil(target: str, answer: Answer, number: int = number) -> Answer:
            return spoils[(site.pages.index(target) + number) % len(spoils)](target, answer)

        script = Script(
            spoil, some, times=1 if number == 0 or fault == ONCE else chance.randint(1, 2)
        )
        settings = site.settings()
        with site.proxy.playing(script):
            assert run_daily(settings, *DAYS) == {}
        assert script.met.keys() == set(some)
        tally.tries += script.met.total()
        site.complete(settings, tally)
    tally.outcome = "asked for again, nobody notices"


@pytest.mark.parametrize("words", ["seconds", "a date"])
def test_a_retry_after_is_waited_for(site: Site, ledger: Ledger, rounds: int, words: str) -> None:
    tally = ledger.tally(f"HTTP: 429 with a Retry-After in {words}; then the right answer")
    chance = random.Random(SEED)
    early: dict[str, float] = {}
    waited: list[float] = []

    def spoil(target: str, _: Answer) -> Answer:
        # A date has whole seconds, and means 1 to 2 of them here.
        after = email.utils.formatdate(time.time() + 2, usegmt=True) if words == "a date" else "1"
        early[target] = time.monotonic()
        return Answer(429, HTML, {"Retry-After": after})

    def ask(target: str) -> str:
        if target in early:
            waited.append(time.monotonic() - early.pop(target))
        return target

    for _ in range(max(rounds // 8, 1)):
        script = Script(spoil, chance.sample(site.pages, 3), ask=ask)
        settings = site.settings()
        with site.proxy.playing(script):
            assert run_daily(settings, *DAYS) == {}
        tally.tries += script.met.total()
        site.complete(settings, tally)
    assert len(waited) == tally.tries
    assert min(waited) >= 0.99
    tally.outcome = "asked for again when the time has come"


def test_no_answer_in_time(site: Site, ledger: Ledger, rounds: int) -> None:
    tally = ledger.tally("HTTP: no answer within NOCODB_TIMEOUT; then the right answer")
    chance = random.Random(SEED)
    for _ in range(max(rounds // 8, 1)):
        script = Script(spoilt(wait_s=1.3), chance.sample(site.pages, 3))
        settings = site.settings(NOCODB_TIMEOUT="1")
        with site.proxy.playing(script):
            assert run_daily(settings, *DAYS) == {}
        tally.tries += script.met.total()
        site.complete(settings, tally)
    tally.outcome = "asked for again, nobody notices"


CAPS: dict[str, Spoil] = {
    "says so": lambda _, answer: answer,
    "says nothing": listed(lambda page: {"list": page["list"]}),
    "says that it gives what was asked for": listed(
        lambda page: page | {"pageInfo": page["pageInfo"] | {"pageSize": PAGE}}
    ),
}


@pytest.mark.parametrize("capped", [*CAPS, "cuts pages in two"])
def test_a_cap_below_the_page_asked_for(
    site: Site, ledger: Ledger, rounds: int, capped: str
) -> None:
    """Fewer rows than asked for are not the end: quiet recovery is right."""
    tally = ledger.tally(f"HTTP: fewer rows in a page than asked for, the server {capped}")
    chance = random.Random(f"{SEED} {capped}")
    for _ in range(max(rounds // 8, 1)):
        cap = chance.randint(3, PAGE // 2 - 1)
        if capped in CAPS:
            script = Script(CAPS[capped], times=FOREVER, ask=partial(with_limit, str(cap)))
        else:  # all it says is about the page it was before
            script = Script(listed(partial(cut_off, cap)), times=FOREVER)
        settings = site.settings()
        with site.proxy.playing(script):
            assert run_daily(settings, *DAYS) == {}
        tally.tries += 1
        site.complete(settings, tally)
    tally.outcome = "read in smaller pages"


def with_limit(limit: str, target: str) -> str:
    return with_query(target, limit=limit) if is_page(target) else target


def cut_off(size: int, page: dict[str, Any]) -> dict[str, Any]:
    return page | {"list": page["list"][:size]}


@dataclass(frozen=True)
class Lasting:
    """A fault that does not pass.

    Attributes:
        fault: in words.
        script: makes the script, of a target.
        pages: where it may happen.
        kind: of the error that is right.
        says: a pattern, what the error says.
    """

    fault: str
    script: Callable[..., Script]
    pages: Sequence[str]
    kind: type[Exception]
    says: str


def from_then_on(site: Site, fault: str, spoil: Spoil, kind: type[Exception], says: str) -> Lasting:
    script = partial(Script, spoil, spreads=True)
    return Lasting(f"{fault}, from some page on", script, site.pages, kind, says)


def no_answers(site: Site) -> list[Lasting]:
    """Faults of the way to NocoDB: nothing works from some page on."""
    revoked = spoilt(status=401, body=b'{"error": "ERR_AUTHENTICATION_REQUIRED"}')
    sign_in = spoilt(status=302, body=b"", headers={"Location": "https://login.example.com/?to=x"})
    unavailable = errors.SourceUnavailableError
    return [
        from_then_on(
            site, "the token is revoked", revoked, errors.SourceAuthError, "NOCODB_API_TOKEN"
        ),
        from_then_on(
            site, "a redirect to a page to sign in", sign_in,
            errors.SourceRequestError, "NOCODB_BASE_URL",
        ),
        from_then_on(site, "500", told(500), unavailable, "HTTP 500.*NOCODB_BASE_URL"),
        from_then_on(
            site, "no connection", spoilt(refused_s=0.02), unavailable,
            "no connection.*NOCODB_BASE_URL",
        ),
        from_then_on(
            site, "bodies are torn", spoilt(sent=0.5), unavailable, "torn answer.*NOCODB_BASE_URL"
        ),
        from_then_on(site, "HTML with 200", told(200), unavailable, "text/html.*NOCODB_BASE_URL"),
        from_then_on(
            site, "an error object with 200", spoilt(body=b'{"msg": "quota exceeded"}'),
            unavailable, "not the JSON expected.*NOCODB_BASE_URL",
        ),
    ]  # fmt: skip


def wrong_pages(site: Site) -> list[Lasting]:
    """Pages that NocoDB did not give: what serves one page for another cannot be trusted at all."""
    sizes = {page: len(page_of(site, page)["list"]) for page in site.pages}
    promised = [
        page for page, before in site.before.items()
        if not page_of(site, before)["pageInfo"]["isLastPage"]
    ]  # fmt: skip
    firsts = [page for page in site.pages if page not in site.before]
    other = dict(zip(firsts, [firsts[i] for i in (1, 0, 3, 2)], strict=True))
    empty = empty_page(isLastPage=True, totalRows=0)
    reverse = listed(lambda page: page | {"list": page["list"][::-1]})
    refused = errors.SourceRequestError
    return [
        Lasting(
            "a page that stays empty though the one before says that rows follow",
            partial(Script, empty, times=FOREVER), promised,
            errors.SourceUnavailableError, "rows follow.*NocoDB's log",
        ),
        Lasting(
            "the page before is served again",
            partial(Script, lambda target, _: site.proxy.answer_of(site.before[target])),
            list(site.before), refused, "already served.*proxy",
        ),
        Lasting(
            "a page of another day is served",
            partial(Script, lambda target, _: site.proxy.answer_of(other[target])),
            firsts, refused, "asked for created_at.*proxy",
        ),
        Lasting(
            "the rows of a page are not in the order asked for", partial(Script, reverse),
            [page for page in site.pages if sizes[page] > 1], refused, "not in the order.*proxy",
        ),
    ]  # fmt: skip


def page_of(site: Site, target: str) -> dict[str, Any]:
    page: dict[str, Any] = json.loads(site.proxy.answer_of(target).body)
    return page


@pytest.mark.parametrize("faults", [no_answers, wrong_pages])
def test_what_does_not_pass_is_told_at_any_page(
    site: Site, ledger: Ledger, rounds: int, faults: Callable[[Site], list[Lasting]]
) -> None:
    """No quiet recovery is possible: a clear error is right, and no row is given."""
    settings, chance = site.settings(MAX_RETRIES="1"), random.Random(SEED)
    for lasting in faults(site):
        tally = ledger.tally(f"HTTP: {lasting.fault}")
        for page in chance.sample(lasting.pages, min(max(rounds // 2, 4), len(lasting.pages))):
            with (
                site.proxy.playing(lasting.script(targets=[page])) as script,
                pytest.raises(lasting.kind, match=lasting.says) as caught,
            ):
                site.read(settings)
            assert page in script.met
            assert settings.nocodb_api_token not in str(caught.value)
            tally.tries += 1
        if "complete" not in tally.outcome:
            tally.outcome = f"{lasting.kind.__name__}, which says what to do"


@pytest.mark.parametrize("faults", [no_answers, wrong_pages])
def test_runs_that_fail_leave_nothing_by_halves_and_the_next_one_completes(
    site: Site, ledger: Ledger, rounds: int, faults: Callable[[Site], list[Lasting]]
) -> None:
    chance, some = random.Random(SEED), faults(site)
    for _ in range(max(rounds // 8, 1)):
        settings = site.settings(MAX_RETRIES="1")
        complete = False
        for number, lasting in enumerate(chance.sample(some, len(some))):
            tally = ledger.tally(f"HTTP: {lasting.fault}")
            before = digests(settings.parquet_base_dir)
            with site.proxy.playing(lasting.script(targets=[chance.choice(lasting.pages)])):
                failures = run_daily(settings, *DAYS)
            told_what_to_do(failures, lasting)
            site.nothing_by_halves(settings)
            if complete:
                assert digests(settings.parquet_base_dir) == before
            # Often there are several failed runs before one that does not fail.
            if number % 3 == 1:
                assert run_daily(settings, *DAYS) == {}
                complete = True
            if complete:
                site.complete(settings, tally)
            tally.tries += 1
        assert run_daily(settings, *DAYS) == {}
        for lasting in some:
            tally = ledger.tally(f"HTTP: {lasting.fault}")
            site.complete(settings, tally)
            tally.outcome = f"{lasting.kind.__name__}, which says what to do; then complete"


def told_what_to_do(failures: Failures, lasting: Lasting) -> None:
    assert failures
    assert failures.keys() <= {"raw_conversations", "raw_messages"}
    for name, message in failures.values():
        assert name == lasting.kind.__name__
        assert re.search(lasting.says, message)
