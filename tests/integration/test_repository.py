"""`chassis.repository`: one suite for a real PostgreSQL and for SQLite."""

import asyncio
import importlib.util
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from draft_api.examples.crud.v1 import models_pb2 as models
from draft_api.examples.crud.v1 import service_pb2 as pb
from draft_api.examples.crud.v1 import service_pb2_grpc as rpc
from pydantic import BaseModel
from sqlalchemy import text

from chassis import Chassis
from chassis.errors import Unavailable
from chassis.health import ask_health
from chassis.migrations import MigrationError
from chassis.repository import Repository, RepositorySettings
from chassis.testing import running, settings
from tests.support import postgres
from tests.support.waiting import until_answered

CRUD = Path(__file__).parents[2] / "services" / "examples" / "crud" / "main.py"


class Settings(BaseModel):
    repository: RepositorySettings = RepositorySettings()


@pytest.fixture(scope="module")
def server() -> Iterator[postgres.Postgres]:
    with postgres.running() as server:
        yield server


@pytest.fixture(params=["postgres", "sqlite"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'names.db'}"
    server: postgres.Postgres = request.getfixturevalue("server")
    name = f"t{abs(hash(str(tmp_path))):x}"
    asyncio.run(_create(server.url, name))
    return server.url.removesuffix("postgres") + name


async def _create(url: str, name: str) -> None:
    import psycopg

    connection = await psycopg.AsyncConnection.connect(url, autocommit=True)
    async with connection:
        await connection.execute(f"create database {name}")  # type: ignore[arg-type]


def folder(tmp_path: Path, **files: str) -> Path:
    made = tmp_path / "migrations"
    made.mkdir(exist_ok=True)
    for name, content in files.items():
        (made / f"{name.removeprefix('m')}.sql").write_text(content)
    return made


def opened(url: str, migrations: Path | None = None) -> tuple[Chassis[Any], Repository]:
    app = Chassis(config=settings("names"))
    given = RepositorySettings.model_validate({"url": url})
    return app, Repository(app, given, migrations=migrations)


async def rows(repository: Repository, query: str) -> list[Any]:
    async with repository.transaction() as database:
        return [tuple(row) for row in await database.execute(text(query))]


async def test_migrations_are_applied_once_and_later_ones_when_they_come(
    url: str, tmp_path: Path
) -> None:
    # A percent sign and a colon are no placeholders in a file.
    first = "create table a (b text);\ninsert into a values ('100% :x');\n"
    migrations = folder(tmp_path, m1_a=first)
    for expected in ([("100% :x",)], [("100% :x",)]):
        app, repository = opened(url, migrations)
        async with running(app):
            assert await rows(repository, "select b from a") == expected
    folder(tmp_path, m2_b="insert into a values ('more');")
    app, repository = opened(url, migrations)
    async with running(app):
        assert len(await rows(repository, "select b from a")) == 2
        kept = await rows(repository, "select number, name from draft_migrations order by number")
        assert kept == [(1, "1_a.sql"), (2, "2_b.sql")]


async def test_of_replicas_that_start_together_one_migrates(url: str, tmp_path: Path) -> None:
    slowly = "select pg_sleep(0.3);" if url.startswith("postgresql") else ""
    made = f"{slowly}\ncreate table a (b int); insert into a values (1);"
    migrations = folder(tmp_path, m1_a=made)
    replicas = [opened(url, migrations) for _ in range(4)]

    async def one(app: Chassis[Any], repository: Repository) -> list[Any]:
        async with running(app) as service:
            # It has asked the database before it serves: nobody was refused meanwhile.
            assert await ask_health(service.channel, within=5) == ""
            return await rows(repository, "select count(*) from a")

    found = await asyncio.gather(*(one(*replica) for replica in replicas))
    assert found == [[(1,)]] * 4


async def test_a_migration_that_fails_leaves_nothing_of_itself_and_is_told_by_its_name(
    url: str, tmp_path: Path
) -> None:
    migrations = folder(tmp_path, m1_a="create table a (b int);\nselect * from nowhere;")
    app, repository = opened(url, migrations)
    async with running(app) as service:
        with pytest.raises(MigrationError, match=r"1_a\.sql: .*nowhere"):
            await repository.transaction().__aenter__()
        assert "1_a.sql" in await ask_health(service.channel, within=5)
    (tmp_path / "migrations" / "1_a.sql").write_text("create table a (b int);")
    app, repository = opened(url, migrations)
    async with running(app):
        assert await rows(repository, "select * from a") == []


async def test_a_transaction_is_whole_or_not_at_all(url: str, tmp_path: Path) -> None:
    app, repository = opened(url, folder(tmp_path, m1_a="create table a (b int);"))
    async with running(app):

        async def half() -> None:
            async with repository.transaction() as database:
                await database.execute(text("insert into a values (1)"))
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            await half()
        assert await rows(repository, "select * from a") == []


async def test_the_example_creates_reads_updates_and_deletes(url: str) -> None:
    spec = importlib.util.spec_from_file_location("crud_main", CRUD)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    config = {**settings("crud"), "repository": {"url": url}}
    async with running(module.make(config=config)) as service:
        stub = service.stub(rpc.CrudServiceStub)
        name = models.Name(first_name="Ada", last_name="L'o\"v;e -- lace")
        made = await stub.Create(pb.CreateRequest(name=name), timeout=10)
        read = await stub.Read(pb.ReadRequest(id=made.id), timeout=10)
        assert read.name.last_name == name.last_name
        name.id, name.last_name = made.id, "King"
        await stub.Update(pb.UpdateRequest(name=name), timeout=10)
        assert (await stub.Read(pb.ReadRequest(id=made.id), timeout=10)).name.last_name == "King"
        for _ in range(2):
            await stub.Delete(pb.DeleteRequest(id=made.id), timeout=10)
        for call, code in (
            (stub.Read(pb.ReadRequest(id=made.id), timeout=10), grpc.StatusCode.NOT_FOUND),
            (stub.Update(pb.UpdateRequest(name=name), timeout=10), grpc.StatusCode.NOT_FOUND),
            (stub.Create(pb.CreateRequest(), timeout=10), grpc.StatusCode.INVALID_ARGUMENT),
        ):
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await call
            assert refused.value.code() is code


async def test_health_follows_the_database_and_no_password_is_told(
    server: postgres.Postgres, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    migrations = folder(tmp_path, m1_a="select 1;")
    await _create(server.url, "followed")
    app, repository = opened(server.url.removesuffix("postgres") + "followed", migrations)
    async with running(app) as service:

        async def why() -> str:
            return await ask_health(service.channel, within=5)

        assert await why() == ""
        server.kill()
        try:
            told = await until_answered(why, within=20)
            assert "database" in told
            assert postgres.PASSWORD not in told
            with pytest.raises(Unavailable) as caught:
                await rows(repository, "select 1")
            assert postgres.PASSWORD not in str(caught.value)
        finally:
            server.start()
        await until_answered(lambda: _well(why), within=20)
        assert await rows(repository, "select 1") == [(1,)]
    assert postgres.PASSWORD not in caplog.text


async def _well(why: Any) -> bool:
    return await why() == ""
