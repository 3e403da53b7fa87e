"""What is said of runs that failed."""

from __future__ import annotations

import contextlib

import dagster as dg
import pytest

from conversation_analytics.core.errors import LakeError, SettingsError
from conversation_analytics.materialize import failures_of


def test_a_blocking_check_says_what_it_found() -> None:
    @dg.asset
    def table() -> None:
        """Nothing."""

    @dg.asset_check(asset=table, blocking=True)
    def rows_agree() -> dg.AssetCheckResult:
        return dg.AssetCheckResult(passed=False, description="raw 3, curated 2")

    definitions = dg.Definitions([table], asset_checks=[rows_agree])
    result = definitions.resolve_implicit_global_asset_job_def().execute_in_process(
        raise_on_error=False
    )
    assert failures_of(result, "a day") == ["table (a day): check rows_agree: raw 3, curated 2"]


@pytest.mark.parametrize("interrupted", [False, True])
def test_an_interrupted_run_is_no_failed_one(interrupted: bool) -> None:  # noqa: FBT001 - a case
    @dg.asset
    def table() -> None:
        if interrupted:
            raise dg._core.errors.DagsterExecutionInterruptedError
        raise LakeError("no space") from OSError("cause")

    result = dg.materialize([table], raise_on_error=False)
    with pytest.raises(KeyboardInterrupt) if interrupted else contextlib.nullcontext():
        assert failures_of(result, "a day") == ["table (a day): LakeError: no space"]


def test_a_resource_that_cannot_be_opened_says_why() -> None:
    @dg.resource
    def translator(_: dg.InitResourceContext) -> None:
        raise SettingsError("TRANSLATOR_FACTORY is 'x': expected package.module:function")

    @dg.asset(required_resource_keys={"translator"})
    def table() -> None:
        """Nothing."""

    result = dg.materialize([table], resources={"translator": translator}, raise_on_error=False)
    [told] = failures_of(result, "a day")
    assert told == (
        f"run {result.run_id} (a day): SettingsError: TRANSLATOR_FACTORY is 'x': expected "
        "package.module:function"
    )
