"""facts of files, and what the archive holds.

Revision 0002, after 0001.

An exposure's times and temperatures were those of the file that was read last; now each file keeps what its own header
says, so that an exposure can take the values of another copy when the preferred one is gone.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_CHUNK = 500

_FACTS = (
    "kind",
    "program",
    "target",
    "filter",
    "association",
    "start_mjd",
    "exptime_s",
    "temperature_start_c",
    "temperature_end_c",
    "exposure_flag",
)


def upgrade() -> None:
    op.add_column("files", sa.Column("exposure_facts", sa.JSON(), nullable=True))
    op.add_column("files", sa.Column("etag", sa.String(), nullable=True))
    op.create_table(
        "archive_exposures",
        sa.Column("rootname", sa.String(), nullable=False),
        sa.Column("program", sa.Integer(), nullable=False),
        sa.Column("start_mjd", sa.Double(), nullable=False, comment="days, UTC"),
        sa.Column("exptime_s", sa.Double(), nullable=True),
        sa.Column("first_seen_utc", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("rootname", name=op.f("pk_archive_exposures")),
    )
    op.create_index("ix_archive_exposures_program", "archive_exposures", ["program"], unique=False)
    op.create_index("ix_archive_exposures_start_mjd", "archive_exposures", ["start_mjd"], unique=False)
    _fill_facts(op.get_bind())


def _fill_facts(connection: sa.Connection) -> None:
    """Give each file the facts of its exposure where it is the exposure's only one: then they are its own."""
    files = sa.table(
        "files",
        sa.column("id", sa.Integer),
        sa.column("exposure_id", sa.Integer),
        sa.column("exposure_facts", sa.JSON()),
    )
    exposures = sa.table("exposures", sa.column("id", sa.Integer), *(sa.column(name) for name in _FACTS))
    others = files.alias()
    alone = (
        sa.select(sa.func.count())
        .select_from(others)
        .where(others.c.exposure_id == files.c.exposure_id)
        .scalar_subquery()
    )
    last = 0
    while True:
        query = (
            sa.select(files.c.id, *(exposures.c[name] for name in _FACTS))
            .join(exposures, exposures.c.id == files.c.exposure_id)
            .where(files.c.id > last, alone == 1)
            .order_by(files.c.id)
            .limit(_CHUNK)
        )
        rows = connection.execute(query).mappings().all()
        if not rows:
            return
        filled: list[dict[str, Any]] = [
            {"file_id": row["id"], "facts": {name: row[name] for name in _FACTS}} for row in rows
        ]
        connection.execute(
            sa.update(files).where(files.c.id == sa.bindparam("file_id")).values(exposure_facts=sa.bindparam("facts")),
            filled,
        )
        last = rows[-1]["id"]


def downgrade() -> None:
    op.drop_index("ix_archive_exposures_start_mjd", table_name="archive_exposures")
    op.drop_index("ix_archive_exposures_program", table_name="archive_exposures")
    op.drop_table("archive_exposures")
    op.drop_column("files", "etag")
    op.drop_column("files", "exposure_facts")
