"""A service's database: PostgreSQL where one is declared, else SQLite.

    class Settings(BaseModel):
        repository: RepositorySettings = RepositorySettings()

    app = Chassis(settings=Settings)
    names = Repository(app, app.settings.repository, migrations=HERE / "migrations")

    async with names.transaction() as database:     # committed at its end, rolled back by an error
        await database.execute(text("insert into names values (:id, :first)"), {...})

It speaks SQLAlchemy: `database` is an AsyncConnection. Migrations are applied before the first
transaction, once for all replicas. Health follows the database: while it is away, callers get
UNAVAILABLE, and the service comes back by itself. Needs: pip install "draft[repository]".
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field, SecretStr

from chassis import migrations as files
from chassis.errors import ChassisError, ConfigError, Unavailable

if TYPE_CHECKING:
    from sqlalchemy.engine import URL
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

    from chassis.app import Chassis

log = logging.getLogger(__name__)

_DRIVERS = {"postgresql": "postgresql+psycopg", "postgres": "postgresql+psycopg",
            "sqlite": "sqlite+aiosqlite"}  # fmt: skip
_BOOKS = """\
create table if not exists draft_migrations (
  number integer primary key, name text not null, digest text not null, applied text not null)
"""
_KEEP = "insert into draft_migrations values (:number, :name, :digest, :applied)"
_LOCK = 0x6472616674  # "draft": one who migrates at a time, in PostgreSQL
_CONNECT = 5  # seconds
_WAIT = 5.0  # seconds for a connection of the pool, and for a lock of SQLite


class RepositorySettings(BaseModel):
    """Where the database is: `url` in the configuration, as DRAFT_REPOSITORY_URL, or DB_URL; with a
    `password` of its own, so that the rest may be read by anybody. None: SQLite, in the service's
    own data folder. `pool`: connections of one replica."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    url: SecretStr = SecretStr("")
    password: SecretStr = SecretStr("")
    pool: int = Field(default=5, ge=1, le=100)


class Repository:
    """The database of one service, bound to its life and its health."""

    def __init__(
        self,
        app: Chassis[Any],
        settings: RepositorySettings | None = None,
        *,
        migrations: Path | None = None,
    ) -> None:
        self._settings = settings or RepositorySettings()
        self._url = _url(self._settings, os.environ, app.name)
        self._migrations = files.read(migrations) if migrations else []
        self._engine: AsyncEngine | None = None
        self._ready: asyncio.Task[None] | None = None
        app.on_start(self._open)
        app.on_stop(self._close)
        app.health_check(self._check)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncConnection]:
        """A connection for one transaction: committed at the end of the block, rolled back when it
        raises. Raises Unavailable while the database cannot be reached."""
        from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError
        from sqlalchemy.exc import TimeoutError as PoolTimeout

        await self._migrated()
        assert self._engine is not None
        try:
            async with self._engine.begin() as connection:
                yield connection
        except (OperationalError, InterfaceError, PoolTimeout, OSError) as error:
            raise Unavailable(f"the database cannot be used now: {_words(error)}") from error
        except DBAPIError as error:
            if error.connection_invalidated:
                raise Unavailable(f"the database was lost: {_words(error)}") from error
            raise

    async def _open(self) -> None:
        from sqlalchemy.ext.asyncio import create_async_engine

        options: dict[str, Any] = {"pool_pre_ping": True, "hide_parameters": True}
        if self._url.get_backend_name() == "sqlite":
            options["connect_args"] = {"timeout": _WAIT}
        else:
            options["connect_args"] = {"connect_timeout": _CONNECT}
            options |= {"pool_size": self._settings.pool, "max_overflow": 0, "pool_timeout": _WAIT}
        self._engine = create_async_engine(self._url, **options)
        log.info("database", extra={"url": self._url.render_as_string(hide_password=True)})

    async def _close(self) -> None:
        if self._ready is not None:
            self._ready.cancel()
            await asyncio.gather(self._ready, return_exceptions=True)
            self._ready = None
        if self._engine is not None:
            await self._engine.dispose()
            self._engine = None

    async def _check(self) -> None:
        from sqlalchemy import text

        async with self.transaction() as database:
            await database.execute(text("select 1"))

    async def _migrated(self) -> None:
        """Wait until the database is what the code needs. Who waits may give up; the work goes on,
        and begins anew after a failure."""
        if self._engine is None:
            raise Unavailable("the database is not open: the service is not running")
        failed = (
            self._ready is not None
            and self._ready.done()
            and (self._ready.cancelled() or self._ready.exception() is not None)
        )
        if self._ready is None or failed:
            self._ready = asyncio.create_task(self._migrate(self._engine), name="migrations")
        await asyncio.shield(self._ready)

    async def _migrate(self, engine: AsyncEngine) -> None:
        from sqlalchemy.exc import SQLAlchemyError

        postgres = engine.dialect.name == "postgresql"
        try:
            async with engine.connect() as database:
                if postgres:
                    # Held until the end of the transaction: all of it is one.
                    await database.exec_driver_sql(f"select pg_advisory_xact_lock({_LOCK})")
                else:
                    await database.exec_driver_sql("begin immediate")
                await database.exec_driver_sql(_BOOKS)
                rows = await database.exec_driver_sql("select number, digest from draft_migrations")
                applied: dict[int, str] = {row.number: row.digest for row in rows}
                for migration in files.outstanding(self._migrations, applied):
                    await _apply(database, migration, whole=postgres)
                await database.commit()
        except (SQLAlchemyError, OSError) as error:
            raise Unavailable(f"the database cannot be used now: {_words(error)}") from error


async def _apply(database: AsyncConnection, migration: files.Migration, *, whole: bool) -> None:
    from datetime import UTC, datetime

    from sqlalchemy import text
    from sqlalchemy.exc import DBAPIError

    pieces = [migration.text] if whole else migration.statements()
    try:
        for piece in pieces:
            # Not as a template: a percent sign or a colon is a part of the text.
            await (await database.get_raw_connection()).driver_connection.execute(piece)  # type: ignore[union-attr]
    except DBAPIError as error:
        raise files.MigrationError(f"{migration.name}: {_words(error)}") from error
    except Exception as error:
        raise files.MigrationError(f"{migration.name}: {error}") from error
    now = datetime.now(UTC).isoformat(timespec="seconds")
    known = {"number": migration.number, "name": migration.name, "digest": migration.digest}
    await database.execute(text(_KEEP), {**known, "applied": now})
    log.info("migrated", extra={"migration": migration.name})


def _url(settings: RepositorySettings, env: Mapping[str, str], service: str) -> URL:
    """Where the database is. Raises ConfigError, which quotes nothing of it."""
    try:
        from sqlalchemy.engine import make_url
        from sqlalchemy.exc import ArgumentError
    except ImportError:
        raise ChassisError(
            'a repository needs more packages: pip install "draft[repository]"'
        ) from None
    given = settings.url.get_secret_value() or _variable(env, "DB_URL")
    if not given:
        folder = Path(env.get("DRAFT_DATA") or ".").absolute()
        given = f"sqlite:///{folder / f'{service}.db'}"
    try:
        url = make_url(given)
    except ArgumentError:
        raise ConfigError(
            "repository.url is no address of a database, such as postgresql://app@host:5432/app"
        ) from None
    backend = url.drivername.partition("+")[0]
    if backend not in _DRIVERS:
        raise ConfigError(f"repository.url: {backend} is not known; postgresql and sqlite are")
    url = url.set(drivername=_DRIVERS[backend])
    if password := settings.password.get_secret_value() or _variable(env, "DB_PASSWORD"):
        url = url.set(password=password)
    return url


def _variable(env: Mapping[str, str], name: str) -> str:
    """A variable, or what the file holds that NAME_FILE names: secrets are delivered so."""
    if file := env.get(f"{name}_FILE"):
        try:
            return Path(file).read_text(encoding="utf-8").strip()
        except OSError as error:
            raise ConfigError(f"{name}_FILE: {file} cannot be read: {error.strerror}") from None
    return env.get(name, "")


def _words(error: BaseException) -> str:
    """What a driver said, in one line; statements and what they were given stay out of it."""
    cause = getattr(error, "orig", None) or error
    return " ".join(str(cause).split()) or type(cause).__name__
