"""What the executor with lanes takes of Dagster's private parts; a moved pin fails here first."""

from __future__ import annotations

import dataclasses
import importlib
import inspect
from typing import Any

import pytest

PARAMETERS: dict[str, tuple[str, ...]] = {
    "dagster._core.execution.plan.active:ActiveExecution.__init__": (
        "execution_plan", "retry_mode", "tag_concurrency_limits", "instance_concurrency_context",
        "step_dependency_config",
    ),
    "dagster._core.execution.plan.active:ActiveExecution.get_steps_to_execute": ("limit",),
    "dagster._core.execution.plan.active:ActiveExecution.get_known_state": (),
    "dagster._core.execution.plan.active:ActiveExecution.handle_event": ("dagster_event",),
    "dagster._core.execution.plan.active:ActiveExecution.verify_complete": (
        "job_context", "step_key",
    ),
    "dagster._core.execution.plan.active:ActiveExecution.plan_events_iterator": ("job_context",),
    "dagster._core.execution.plan.active:ActiveExecution.concurrency_event_iterator": (
        "plan_context",
    ),
    "dagster._core.execution.plan.active:ActiveExecution.rebuild_from_events": ("dagster_events",),
    "dagster._core.execution.plan.active:ActiveExecution.mark_interrupted": (),
    "dagster._core.execution.plan.active:ActiveExecution.check_for_interrupts": (),
    "dagster._core.execution.plan.active:ActiveExecution.get_step_by_key": ("step_key",),
    "dagster._core.execution.plan.instance_concurrency_context:InstanceConcurrencyContext.__init__":
        ("instance", "dagster_run"),
    "dagster._core.execution.context_creation_job:PlanExecutionContextManager.__init__": (
        "job", "execution_plan", "run_config", "dagster_run", "instance", "retry_mode",
        "raise_on_error", "output_capture", "step_dependency_config",
    ),
    "dagster._core.execution.context_creation_job:PlanExecutionContextManager.prepare_context": (),
    "dagster._core.execution.context_creation_job:PlanExecutionContextManager.get_context": (),
    "dagster._core.execution.context_creation_job:PlanExecutionContextManager.shutdown_context": (),
    "dagster._core.execution.context_creation_job:create_context_free_log_manager": (
        "instance", "dagster_run",
    ),
    "dagster._core.execution.context.system:PlanExecutionContext.for_step": (
        "step", "known_state",
    ),
    "dagster._core.execution.plan.execute_plan:dagster_event_sequence_for_step": ("step_context",),
    "dagster._core.execution.plan.execute_plan:_trigger_hook": ("step_context", "step_event_list"),
    "dagster._core.execution.compute_logs:create_compute_log_file_key": (),
    "dagster._core.execution.api:create_execution_plan": (
        "job", "run_config", "step_keys_to_execute", "known_state", "repository_load_data",
    ),
    "dagster._core.execution.api:execute_plan_iterator": (
        "execution_plan", "job", "dagster_run", "instance", "retry_mode", "run_config",
    ),
    "dagster._core.execution.api:execute_run_iterator": (
        "job", "dagster_run", "instance", "resume_from_failure",
    ),
    "dagster._core.executor.base:Executor.log_failure_or_retry_event_after_error": (
        "step_context", "err_info", "known_state",
    ),
    "dagster._core.events:DagsterEvent.step_retry_event": ("step_context", "step_retry_data"),
    "dagster._core.events:DagsterEvent.step_worker_starting": (
        "step_context", "message", "metadata",
    ),
    "dagster._core.events:DagsterEvent.step_worker_started": (
        "log_manager", "job_name", "message", "metadata", "step_key",
    ),
    "dagster._core.events:DagsterEvent.capture_logs": (
        "job_context", "step_keys", "log_key", "log_context",
    ),
    "dagster._core.events:DagsterEvent.engine_event": (
        "plan_context", "message", "event_specific_data",
    ),
    "dagster._core.storage.compute_log_manager:ComputeLogManager.build_log_key_for_run": (
        "run_id", "step_key",
    ),
    "dagster._utils:get_run_crash_explanation": ("prefix", "exit_code"),
    "dagster._utils.interrupts:capture_interrupts": (),
}  # fmt: skip
IN_THIS_ORDER = "dagster._core.execution.api:execute_plan_iterator"


def named(name: str) -> Any:
    module, _, path = name.partition(":")
    found: Any = importlib.import_module(module)
    for part in path.split("."):
        found = getattr(found, part, None)
    assert found is not None, f"Dagster changed: {name} is no more; adapt executors/"
    return found


@pytest.mark.parametrize("name", PARAMETERS)
def test_a_function_takes_what_it_is_given(name: str) -> None:
    there = list(inspect.signature(named(name)).parameters)
    lost = [one for one in PARAMETERS[name] if one not in there]
    assert not lost, f"Dagster changed: {name} has no {lost} but {there}; adapt executors/"


def test_parameters_that_are_given_by_place_are_in_their_place() -> None:
    there = [one for one in inspect.signature(named(IN_THIS_ORDER)).parameters if one != "self"]
    assert there[:6] == list(PARAMETERS[IN_THIS_ORDER]), "Dagster changed: adapt worker_main.py"


def test_the_state_of_a_run_is_what_is_changed_of_it() -> None:
    state = named("dagster._core.execution.plan.state:KnownExecutionState")
    changed = state({"step": 2})._replace(previous_retry_attempts={"step": 1})
    assert changed.get_retry_state().get_attempt_count("step") == 1


def test_an_error_is_told_by_its_class_and_its_cause() -> None:
    error = named("dagster_shared.error:SerializableErrorInfo")
    made = error("message", [], "Inner", cause=error("cause", [], "Cause"))
    assert (made.cls_name, made.message, made.cause.cls_name) == ("Inner", "message", "Cause")


def test_a_retry_has_an_error_and_a_wait() -> None:
    error = named("dagster_shared.error:SerializableErrorInfo")("message", [], "Inner")
    data = named("dagster._core.execution.plan.objects:StepRetryData")(error, None)
    assert (data.error, data.seconds_to_wait) == (error, None)


def test_orders_are_plain_data() -> None:
    orders = importlib.import_module("conversation_analytics.executors.orders")
    for name in ("WorkerSetup", "StepOrder", "StepDone", "StepBroke", "EngineMissing"):
        assert dataclasses.is_dataclass(getattr(orders, name))


@pytest.mark.parametrize(
    "module", importlib.import_module("conversation_analytics.executors.workers").PRELOAD
)
def test_every_module_of_the_fork_server_is_there(module: str) -> None:
    """The server leaves out what it cannot import, and every worker would pay for it."""
    assert importlib.import_module(module)
