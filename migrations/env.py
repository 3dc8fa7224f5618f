"""Alembic's entry point: runs the revisions on the program's connection, or on the URL of alembic.ini."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from alembic import context

from sbcdark.catalog.engine import default_url, make_engine
from sbcdark.catalog.models import Base
from sbcdark.catalog.types import UtcDateTime

if TYPE_CHECKING:
    import sqlalchemy as sa


def _render_item(kind: str, item: Any, _autogenerate_context: Any) -> str | Literal[False]:
    # Revisions import nothing from sbcdark, so their meaning never changes.
    if kind == "type" and isinstance(item, UtcDateTime):
        return "sa.DateTime(timezone=True)"
    return False


def _run(connection: sa.Connection) -> None:
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        render_item=_render_item,
        render_as_batch=True,
        compare_type=True,
        compare_server_default=True,
        transaction_per_migration=False,
    )
    with context.begin_transaction():
        context.run_migrations()


def _main() -> None:
    connection = context.config.attributes.get("connection")
    if connection is not None:
        _run(connection)
        return
    url = context.config.get_main_option("sqlalchemy.url") or default_url()
    with make_engine(url, create=True).connect() as own_connection:
        _run(own_connection)
        own_connection.commit()


_main()
