"""blocks of rates, and indexes for a ranking whose cost does not grow with the catalog.

Revision 0005, after 0004.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_RATES = ("contrast", "box_rate")

_TIES = {
    "box_count": ("box_count", "temperature_mean_c", "start_mjd", "id"),
    "temperature": ("temperature_mean_c", "start_mjd", "id"),
}


def upgrade() -> None:
    for rate in _RATES:
        column = f"{rate}_block"
        op.add_column("exposures", sa.Column(column, sa.BigInteger(), nullable=True, comment="2.5e-7 count/s/pixel"))
        table = sa.table("exposures", sa.column(column), sa.column(f"{rate}_count_s_pix", sa.Double()))
        floor: sa.ColumnElement[int]
        value = table.c[f"{rate}_count_s_pix"] * 4e6
        if op.get_bind().dialect.name == "postgresql":
            floor = sa.cast(sa.func.floor(value), sa.BigInteger())
        else:
            # SQLite has no floor() in every build; its CAST rounds towards zero.
            floor = sa.cast(value, sa.Integer()) - sa.case((value < sa.cast(value, sa.Integer()), 1), else_=0)
        op.execute(table.update().values({column: floor}))
        op.create_index(
            f"ix_exposures_kind_{column}",
            "exposures",
            ["kind", column, f"{rate}_err_count_s_pix", f"{rate}_count_s_pix", *_TIES["temperature"]],
        )
    for name, columns in _TIES.items():
        _index(name, *columns)


def downgrade() -> None:
    for name, columns in _TIES.items():
        _index(name, columns[0], "id")
    for rate in reversed(_RATES):
        op.drop_index(f"ix_exposures_kind_{rate}_block", table_name="exposures")
        op.drop_column("exposures", f"{rate}_block")


def _index(name: str, *columns: str) -> None:
    op.drop_index(f"ix_exposures_kind_{name}", table_name="exposures")
    op.create_index(f"ix_exposures_kind_{name}", "exposures", ["kind", *columns])
