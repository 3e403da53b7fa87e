"""The values for Dagster's chart, against the models of Kubernetes and of dagster-k8s.

The chart itself is not here: what its templates do with the values is done by hand, and every
object has to be one that Kubernetes knows, without unknown keys.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
import yaml
from dagster._config import process_config
from dagster._core.instance.config import dagster_instance_config
from dagster._core.run_coordinator import QueuedRunCoordinator
from dagster_aws.s3.compute_log_manager import S3ComputeLogManager
from dagster_k8s import K8sRunLauncher
from dagster_k8s.job import (
    DagsterK8sJobConfig,
    UserDefinedDagsterK8sConfig,
    construct_dagster_k8s_job,
)
from dagster_k8s.models import k8s_model_from_dict, k8s_snake_case_dict
from kubernetes import client

from conversation_analytics_tests.commands import ROOT
from conversation_analytics_tests.deploy import compose

if TYPE_CHECKING:
    from pathlib import Path

FOLDER = compose.DEPLOY / "kubernetes"
VALUES: dict[str, Any] = yaml.safe_load((FOLDER / "values.yaml").read_text("utf-8"))
POLICIES: dict[str, dict[str, Any]] = {
    policy["metadata"]["name"].removeprefix("conversation-analytics-"): policy
    for policy in yaml.safe_load_all((FOLDER / "network-policy.yaml").read_text("utf-8"))
}
GPU: dict[str, Any] = yaml.safe_load((FOLDER / "gpu.yaml").read_text("utf-8"))
[CODE] = VALUES["dagster-user-deployments"]["deployments"]
DEPLOYMENTS = {
    "webserver": VALUES["dagsterWebserver"],
    "daemon": VALUES["dagsterDaemon"],
    "code": CODE,
}
# Of the chart's values, as its schema has them.
TOP = {
    "dagsterWebserver", "dagster-user-deployments", "postgresql", "global", "ingress", "busybox",
    "generatePostgresqlPasswordSecret", "imagePullSecrets", "computeLogManager", "scheduler",
    "runLauncher", "pythonLogs", "dagsterDaemon", "migrate", "telemetry", "serviceAccount",
    "retention", "additionalInstanceConfig",
}  # fmt: skip


def merged(below: Any, above: Any) -> Any:
    """Lay one values file over another, as Helm does."""
    if not isinstance(below, dict) or not isinstance(above, dict):
        return above
    more = {key: merged(below.get(key), value) for key, value in above.items()}
    return {**below, **more}


def snake(node: Any) -> Any:
    """Return keys as dagster.yaml has them."""
    if isinstance(node, dict):
        return {
            re.sub(r"[A-Z]", lambda m: f"_{m[0].lower()}", k): snake(v) for k, v in node.items()
        }
    return node


def pod_spec(deployment: dict[str, Any]) -> client.V1PodSpec:
    """Build the pod that the chart makes of a deployment's values; unknown keys are errors."""
    command = ["dagster", "api", "grpc-health-check", "-p", "4000"]
    probes: dict[str, dict[str, Any]] = {}
    for name in ("readinessProbe", "livenessProbe", "startupProbe"):
        if name in deployment:
            probe = {key: value for key, value in deployment[name].items() if key != "enabled"}
            asks = probe.keys() & {"exec", "httpGet"}
            probes[name] = probe if asks else {**probe, "exec": {"command": command}}
    image = deployment["image"]
    container = {
        "name": "dagster",
        "image": f"{image['repository']}:{image['tag']}",
        "imagePullPolicy": image["pullPolicy"],
        "envFrom": [{"secretRef": secret} for secret in deployment["envSecrets"]],
        "securityContext": deployment["securityContext"],
        "resources": deployment["resources"],
        "volumeMounts": deployment["volumeMounts"],
        **probes,
    }
    spec = {
        "containers": [container],
        "securityContext": deployment["podSecurityContext"],
        "volumes": deployment["volumes"],
    }
    return k8s_model_from_dict(client.V1PodSpec, k8s_snake_case_dict(client.V1PodSpec, spec))


def run_job(values: dict[str, Any]) -> client.V1Job:
    """Build the job of a run as the run launcher does."""
    launcher = values["runLauncher"]["config"]["k8sRunLauncher"]
    made = UserDefinedDagsterK8sConfig.from_dict(snake_top(launcher["runK8sConfig"]))
    config = DagsterK8sJobConfig(
        job_image="conversation-analytics:0.1.0",
        dagster_home=values["global"]["dagsterHome"],
        volumes=[snake(one) for one in CODE["volumes"]],
        volume_mounts=[snake(one) for one in CODE["volumeMounts"]],
        env_secrets=[secret["name"] for secret in CODE["envSecrets"]],
    )
    return construct_dagster_k8s_job(
        config, ["dagster", "api", "execute_run"], "run", made, component="run_worker"
    )


def snake_top(config: dict[str, Any]) -> dict[str, Any]:
    """Return the names of the parts as the launcher takes them; what is inside may be either."""
    return {re.sub(r"[A-Z]", lambda m: f"_{m[0].lower()}", k): v for k, v in config.items()}


def assert_confined(spec: client.V1PodSpec) -> None:
    pod, [container] = spec.security_context, spec.containers
    own = container.security_context
    assert pod.run_as_non_root
    assert pod.run_as_user == 10001
    assert pod.seccomp_profile.type == "RuntimeDefault"
    assert own.read_only_root_filesystem
    assert own.allow_privilege_escalation is False
    assert own.capabilities.drop == ["ALL"]
    assert container.resources.requests
    assert container.resources.limits["memory"]
    assert {"/tmp"} == {mount.mount_path for mount in container.volume_mounts}  # noqa: S108


@pytest.mark.parametrize("name", DEPLOYMENTS)
def test_every_pod_is_one_that_kubernetes_knows_and_has_no_rights(name: str) -> None:
    spec = pod_spec(DEPLOYMENTS[name])
    assert_confined(spec)
    [container] = spec.containers
    assert container.image == "conversation-analytics:0.1.0"
    probe = container.liveness_probe
    asked = {
        "webserver": lambda: probe.http_get.path == "/server_info",
        "daemon": lambda: probe._exec.command == ["dagster-daemon", "liveness-check"],
        "code": lambda: probe._exec.command[:3] == ["dagster", "api", "grpc-health-check"],
    }
    assert asked[name]()
    assert [one.secret_ref.name for one in container.env_from]


def test_a_run_is_a_job_without_rights_and_with_the_settings_of_the_code() -> None:
    job = run_job(VALUES)
    assert job.spec.backoff_limit == 0
    spec = job.spec.template.spec
    assert spec.termination_grace_period_seconds == 120
    [container] = spec.containers
    secrets = [one.secret_ref.name for one in container.env_from if one.secret_ref]
    assert secrets == ["conversation-analytics-settings"]
    mounts = [mount for mount in container.volume_mounts if mount.name == "tmp"]
    assert [mount.mount_path for mount in mounts] == ["/tmp"]  # noqa: S108
    assert container.security_context.read_only_root_filesystem
    assert spec.security_context.run_as_non_root
    assert container.resources.limits == {"memory": "6Gi"}


def test_runs_on_a_gpu_keep_everything_else() -> None:
    job = run_job(merged(VALUES, GPU))
    spec = job.spec.template.spec
    [container] = spec.containers
    assert container.resources.limits == {"memory": "16Gi", "nvidia.com/gpu": "1"}
    assert spec.node_selector == {"nvidia.com/gpu.present": "true"}
    assert container.security_context.read_only_root_filesystem


def test_the_instance_of_the_values_is_one_that_dagster_takes(tmp_path: Path) -> None:
    daemon = VALUES["dagsterDaemon"]
    queue = daemon["runCoordinator"]["config"]["queuedRunCoordinator"]
    coordinator = {
        "max_concurrent_runs": queue["maxConcurrentRuns"],
        "tag_concurrency_limits": queue["tagConcurrencyLimits"],
    }
    instance = {
        "run_monitoring": snake(daemon["runMonitoring"]),
        "run_retries": snake(daemon["runRetries"]),
        "telemetry": VALUES["telemetry"],
        "retention": {key: snake(VALUES["retention"][key]) for key in ("sensor", "schedule")},
        "run_coordinator": {
            "module": "dagster.core.run_coordinator",
            "class": "QueuedRunCoordinator",
            "config": coordinator,
        },
    }
    more = VALUES.get("additionalInstanceConfig", {})
    (tmp_path / "dagster.yaml").write_text(yaml.safe_dump(instance | more), encoding="utf-8")
    dagster_instance_config(str(tmp_path))  # raises where it is not
    launcher = VALUES["runLauncher"]["config"]["k8sRunLauncher"]
    for config_type, config in (
        (
            K8sRunLauncher.config_type(),
            {
                "service_account_name": "dagster",
                "dagster_home": VALUES["global"]["dagsterHome"],
                "instance_config_map": "dagster-instance",
                "postgres_password_secret": VALUES["global"]["postgresqlSecretName"],
                "load_incluster_config": launcher["loadInclusterConfig"],
                "image_pull_policy": launcher["imagePullPolicy"],
                "fail_pod_on_run_failure": launcher["failPodOnRunFailure"],
                "run_k8s_config": snake_top(launcher["runK8sConfig"]),
            },
        ),
        (QueuedRunCoordinator.config_type(), coordinator),
        (
            S3ComputeLogManager.config_type(),
            snake(VALUES["computeLogManager"]["config"]["s3ComputeLogManager"]),
        ),
    ):
        taken = process_config(config_type, config)
        assert taken.success, taken.errors


def test_the_values_have_no_secret_and_no_key_that_the_chart_does_not_know() -> None:
    assert set(VALUES) <= TOP
    assert set(GPU) <= TOP
    assert "postgresqlPassword" not in VALUES["postgresql"]
    text = (FOLDER / "values.yaml").read_text("utf-8")
    assert not re.search(r"(?i)(password|secret_?key|token): *\S", text)
    assert VALUES["postgresql"]["enabled"] is False


# The labels that the chart (of `helm upgrade --install analytics`) and the run launcher give pods.
LABELS: dict[str, dict[str, str]] = {
    **{
        pod: {"app.kubernetes.io/instance": "analytics", "component": component}
        for pod, component in (
            ("webserver", "dagster-webserver"),
            ("daemon", "dagster-daemon"),
            ("code", "user-deployments"),
        )
    },
    "runs": dict(run_job(VALUES).spec.template.metadata.labels),
    "another's": {"app.kubernetes.io/instance": "another", "component": "dagster-webserver"},
}


def chosen(selector: dict[str, Any]) -> set[str]:
    """Return the pods that a selector means."""
    assert set(selector) == {"matchLabels"}
    wanted = selector["matchLabels"].items()
    return {pod for pod, labels in LABELS.items() if wanted <= labels.items()}


@pytest.mark.parametrize("name", POLICIES)
def test_a_policy_is_one_that_kubernetes_knows(name: str) -> None:
    policy = POLICIES[name]
    assert (policy["apiVersion"], policy["kind"]) == ("networking.k8s.io/v1", "NetworkPolicy")
    spec = k8s_model_from_dict(  # unknown keys are errors
        client.V1NetworkPolicySpec, k8s_snake_case_dict(client.V1NetworkPolicySpec, policy["spec"])
    )
    assert spec.policy_types == ["Ingress"]


def test_a_policy_is_for_each_pod_and_lets_in_who_has_to() -> None:
    page = (ROOT / "docs" / "deploy.md").read_text("utf-8")
    assert "helm upgrade --install analytics " in page
    assert "kubectl apply -f deploy/kubernetes/network-policy.yaml" in page
    assert set(POLICIES) == {"code", "webserver", "daemon", "runs"}
    for name, policy in POLICIES.items():
        assert chosen(policy["spec"]["podSelector"]) == {name}
    assert POLICIES["daemon"]["spec"]["ingress"] == POLICIES["runs"]["spec"]["ingress"] == []
    [to_code] = POLICIES["code"]["spec"]["ingress"]
    assert to_code["ports"] == [{"protocol": "TCP", "port": CODE["port"]}]
    # No namespaceSelector: of this namespace.
    assert all(set(one) == {"podSelector"} for one in to_code["from"])
    assert [chosen(one["podSelector"]) for one in to_code["from"]] == [{"webserver"}, {"daemon"}]
    [to_webserver] = POLICIES["webserver"]["spec"]["ingress"]
    port = VALUES["dagsterWebserver"]["service"]["port"]
    assert to_webserver["ports"] == [{"protocol": "TCP", "port": port}]
    [proxy] = to_webserver["from"]
    assert chosen(proxy["podSelector"]) == set()  # none of the platform's
    assert all(proxy[one]["matchLabels"] for one in ("namespaceSelector", "podSelector"))


def test_the_versions_are_the_projects() -> None:
    version = re.search(
        r'^version = "(.*)"$', (ROOT / "pyproject.toml").read_text("utf-8"), re.MULTILINE
    )
    assert version
    assert {deployment["image"]["tag"] for deployment in DEPLOYMENTS.values()} == {version[1]}
