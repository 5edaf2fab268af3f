"""The access store, shared by all workers: API keys, and the used tokens of CDS clients.

SQLite by default, PostgreSQL in production. Times are seconds since 1970.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Engine,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    create_engine,
    delete,
    event,
    insert,
    select,
    update,
)
from sqlalchemy.exc import IntegrityError, SQLAlchemyError
from sqlalchemy.pool import NullPool
from sqlalchemy.schema import CreateIndex, CreateTable

from serving.access.errors import AccessUnavailable
from serving.access.principal import AccessScope
from serving.write_ahead import write_ahead

BUSY_SECONDS = 5
CONNECT_SECONDS = 3
SILENT_MILLISECONDS = 5000
PURGE_SECONDS = 60

METADATA = MetaData()
API_KEYS = Table(
    "api_keys",
    METADATA,
    Column("id", String(32), primary_key=True),
    Column("name", String(200), nullable=False),
    Column("hash", String(64), nullable=False),
    Column("scopes", String(200), nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger),
    Column("revoked_at", BigInteger),
)
SEEN_TOKENS = Table(
    "seen_tokens",
    METADATA,
    Column("issuer", String(500), nullable=False),
    Column("jti", String(500), nullable=False),
    Column("expires_at", BigInteger, nullable=False, index=True),
    PrimaryKeyConstraint("issuer", "jti"),
)


@dataclass(frozen=True)
class ApiKey:
    """One key as it is stored: its hash, never the key."""

    id: str
    name: str
    hash: str
    scopes: frozenset[AccessScope]
    created_at: int
    expires_at: int | None = None
    revoked_at: int | None = None

    def valid(self, now: float) -> bool:
        """Tell whether the key is neither revoked nor expired."""
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)


class AccessStore:
    """The store at a SQLAlchemy URL; its tables are created at the first use.

    Every method blocks, and raises AccessUnavailable when the database does not answer.
    """

    def __init__(self, address: str) -> None:
        self._address = address
        self._lock = threading.Lock()
        self._engine: Engine | None = None
        self._purged_at = 0.0

    def add(self, key: ApiKey) -> None:
        """Store a key."""
        row = {
            "id": key.id,
            "name": key.name,
            "hash": key.hash,
            "scopes": " ".join(sorted(key.scopes)),
            "created_at": key.created_at,
            "expires_at": key.expires_at,
            "revoked_at": key.revoked_at,
        }
        with self._transaction() as connection:
            connection.execute(insert(API_KEYS), row)

    def every_key(self) -> list[ApiKey]:
        """Return every key ever made, the oldest first."""
        with self._transaction() as connection:
            rows = connection.execute(select(API_KEYS).order_by(API_KEYS.c.created_at, API_KEYS.c.id))
            return [_key(row) for row in rows.mappings()]

    def revoke(self, id: str, *, at: int) -> bool:  # noqa: A002  the column's name
        """Revoke a key for good, and tell whether there is one of that id; the first revocation stands."""
        with self._transaction() as connection:
            of_id = API_KEYS.c.id == id
            connection.execute(
                update(API_KEYS).where(of_id, API_KEYS.c.revoked_at.is_(None)).values(revoked_at=at)
            )
            return connection.execute(select(API_KEYS.c.id).where(of_id)).first() is not None

    def first_use(self, issuer: str, jti: str, *, expires_at: int) -> bool:
        """Store a token's ``jti`` until it expires, and tell whether no worker had seen it before."""
        row = {"issuer": issuer, "jti": jti, "expires_at": expires_at}
        try:
            with self._transaction() as connection:
                self._purge(connection)
                connection.execute(insert(SEEN_TOKENS), row)
        except IntegrityError:
            return False
        return True

    def close(self) -> None:
        """Let go of the database."""
        with self._lock:
            if self._engine is not None:
                self._engine.dispose()
                self._engine = None

    def _purge(self, connection: Connection) -> None:
        """Forget, once a minute, the tokens that have expired for longer than any leeway."""
        now = time.time()
        if now - self._purged_at > PURGE_SECONDS:
            connection.execute(delete(SEEN_TOKENS).where(SEEN_TOKENS.c.expires_at < now - PURGE_SECONDS))
            self._purged_at = now

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        try:
            with self._opened().begin() as connection:
                yield connection
        except IntegrityError:
            raise
        except SQLAlchemyError as error:
            raise AccessUnavailable from error

    def _opened(self) -> Engine:
        with self._lock:
            if self._engine is None:
                engine = _engine(self._address)
                _create_tables(engine)
                self._engine = engine
            return self._engine


def _engine(address: str) -> Engine:
    if not address.startswith("sqlite"):
        return create_engine(
            address,
            pool_pre_ping=True,
            hide_parameters=True,
            connect_args={"connect_timeout": CONNECT_SECONDS, "tcp_user_timeout": SILENT_MILLISECONDS},
        )
    engine = create_engine(
        address, poolclass=NullPool, hide_parameters=True, connect_args={"timeout": BUSY_SECONDS}
    )
    event.listen(engine, "connect", _keep_durably)
    return engine


def _keep_durably(connection: Any, record: object) -> None:
    write_ahead(connection, BUSY_SECONDS)
    connection.execute("PRAGMA synchronous=FULL")


def _create_tables(engine: Engine) -> None:
    """Create what is missing; another worker may be doing the same."""
    for last in (False, True):
        try:
            with engine.begin() as connection:
                for table in METADATA.sorted_tables:
                    connection.execute(CreateTable(table, if_not_exists=True))
                    for index in table.indexes:
                        connection.execute(CreateIndex(index, if_not_exists=True))
        except IntegrityError:  # PostgreSQL, when two create the same table in the same moment
            if last:
                raise
        else:
            return


def _key(row: Any) -> ApiKey:
    known = {scope.value for scope in AccessScope}
    scopes = frozenset(AccessScope(name) for name in row["scopes"].split() if name in known)
    return ApiKey(**{**row, "scopes": scopes})
