"""What has to be there before the platform starts: databases, users, rights, buckets.

Run by the service `prepare` of compose.yaml, with the administrators' credentials, which no other
process of the platform has. Repeating it changes nothing but passwords, to the ones of the
environment, and the rights of roles, to the ones below. It never removes anything, and leaves a
server whose administrator it is not given alone.
"""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pymongo.database import Database

ROLES: Final[Mapping[str, tuple[dict[str, Any], ...]]] = {
    "conversationAnalytics": (
        {
            "resource": {"db": "conversation_analytics", "collection": ""},
            "actions": [
                "find", "insert", "update", "remove", "createCollection", "createIndex",
                "dropIndex", "listIndexes", "listCollections", "collMod",
            ],
        },
        {"resource": {"cluster": True}, "actions": ["serverStatus"]},
    ),
    "conversationReader": tuple(
        {
            "resource": {"db": "conversation_analytics", "collection": collection},
            "actions": ["find"],
        }
        for collection in (
            "analytics_reports", "analytics_reports_daily_metrics", "_partition_replacements",
        )
    ),
}  # fmt: skip
"""Rights in MongoDB by role, as docs/documents.md has them."""

USERS: Final = (
    ("platform", "conversationAnalytics", "MONGODB_PLATFORM_PASSWORD"),
    ("reader", "conversationReader", "MONGODB_READER_PASSWORD"),
)
"""Users in MongoDB with their role and the variable of their password."""

_REPLICA_SET: Final = "rs0"
_PRIMARY_SECONDS: Final = 60
_NOT_YET_INITIALIZED: Final = 94
_EXISTS: Final = frozenset({51002, 51003})  # a role, a user of this name
_REFUSED: Final = 2


def prepare_postgres(environment: Mapping[str, str]) -> str:
    """Make Dagster's user and database; return what to tell."""
    import psycopg2  # noqa: PLC0415 - only the parts that are asked for
    from psycopg2 import sql  # noqa: PLC0415

    user, database = environment["DAGSTER_PG_USER"], environment["DAGSTER_PG_DB"]
    connection = psycopg2.connect(
        host=environment["DAGSTER_PG_HOST"],
        port=environment["DAGSTER_PG_PORT"],
        user="postgres",
        password=environment["POSTGRES_PASSWORD"],
        dbname="postgres",
        connect_timeout=10,
    )
    connection.autocommit = True
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [user])
            verb = "ALTER" if cursor.fetchone() else "CREATE"
            cursor.execute(
                sql.SQL("{} ROLE {} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE PASSWORD {}").format(
                    sql.SQL(verb),
                    sql.Identifier(user),
                    sql.Literal(environment["DAGSTER_PG_PASSWORD"]),
                )
            )
            cursor.execute("SELECT 1 FROM pg_database WHERE datname = %s", [database])
            if cursor.fetchone() is None:
                cursor.execute(
                    sql.SQL("CREATE DATABASE {} OWNER {}").format(
                        sql.Identifier(database), sql.Identifier(user)
                    )
                )
            cursor.execute(
                sql.SQL("REVOKE ALL ON DATABASE {} FROM PUBLIC").format(sql.Identifier(database))
            )
    finally:
        connection.close()
    return f"PostgreSQL: user {user}, database {database}"


def prepare_mongodb(environment: Mapping[str, str]) -> str:
    """Make the replica set, the roles and the users; return what to tell."""
    import pymongo  # noqa: PLC0415

    member = environment["MONGODB_MEMBER"]
    with pymongo.MongoClient[dict[str, Any]](
        member,
        username="root",
        password=environment["MONGODB_ROOT_PASSWORD"],
        directConnection=True,
        serverSelectionTimeoutMS=30_000,
    ) as client:
        _become_primary(client.admin, member)
        for role, privileges in ROLES.items():
            rights = {"privileges": list(privileges), "roles": []}
            _make_or_update(client.admin, "Role", role, rights)
        for user, role, variable in USERS:
            known_by = {"pwd": environment[variable], "roles": [role]}
            _make_or_update(client.admin, "User", user, known_by)
    return f"MongoDB: replica set {_REPLICA_SET}, users {', '.join(user for user, *_ in USERS)}"


def _become_primary(admin: Database[dict[str, Any]], member: str) -> None:
    from pymongo.errors import OperationFailure  # noqa: PLC0415

    try:
        admin.command("replSetGetStatus")
    except OperationFailure as error:
        if error.code != _NOT_YET_INITIALIZED:
            raise
        members = [{"_id": 0, "host": member}]
        admin.command("replSetInitiate", {"_id": _REPLICA_SET, "members": members})
    deadline = time.monotonic() + _PRIMARY_SECONDS
    while not admin.command("hello")["isWritablePrimary"]:
        if time.monotonic() > deadline:
            raise TimeoutError(f"{member} is no primary after {_PRIMARY_SECONDS} s: see its log")
        time.sleep(0.2)


def _make_or_update(
    admin: Database[dict[str, Any]], kind: str, name: str, values: Mapping[str, Any]
) -> None:
    from pymongo.errors import OperationFailure  # noqa: PLC0415

    try:
        admin.command(f"create{kind}", name, **values)
    except OperationFailure as error:
        if error.code not in _EXISTS:
            raise
        admin.command(f"update{kind}", name, **values)


def prepare_s3(environment: Mapping[str, str]) -> str:
    """Make the buckets; return what to tell."""
    import boto3  # noqa: PLC0415
    from botocore.exceptions import ClientError  # noqa: PLC0415

    client = boto3.client(
        "s3",
        endpoint_url=environment["S3_ENDPOINT_URL"],
        region_name=environment["AWS_REGION"],
        aws_access_key_id=environment["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=environment["AWS_SECRET_ACCESS_KEY"],
    )
    buckets = (environment["S3_BUCKET"], environment["COMPUTE_LOGS_BUCKET"])
    for bucket in buckets:
        try:
            client.create_bucket(Bucket=bucket)
        except ClientError as error:
            if error.response["Error"]["Code"] != "BucketAlreadyOwnedByYou":
                raise
    return f"S3: buckets {', '.join(buckets)}"


def prepare_records() -> str:
    """Make Dagster's tables, before three processes try at once; return what to tell."""
    from dagster import DagsterInstance  # noqa: PLC0415

    with DagsterInstance.get() as instance:
        return f"Dagster: {instance.get_runs_count()} runs on record"


def main() -> None:
    """Prepare each server whose administrator's credentials are in the environment."""
    environment = os.environ
    if misplaced := environment.get("MISPLACED_SETTINGS", "").split():
        print(
            f"{', '.join(misplaced)}: no effect in deploy/.env or the shell, where Compose took it "
            "from. Move it to deploy/settings.env: see deploy/settings.env.example",
            file=sys.stderr,
        )
        sys.exit(_REFUSED)
    for credential, part in (
        ("POSTGRES_PASSWORD", prepare_postgres),
        ("MONGODB_ROOT_PASSWORD", prepare_mongodb),
        ("AWS_SECRET_ACCESS_KEY", prepare_s3),
    ):
        if not environment.get(credential):
            print(f"{credential} is not set: left alone")
            continue
        try:
            print(part(environment))
        except KeyError as error:
            print(f"{error.args[0]} is not set: see deploy/.env.example", file=sys.stderr)
            sys.exit(_REFUSED)
    print(prepare_records())


if __name__ == "__main__":
    main()
