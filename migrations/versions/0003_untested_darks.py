"""untested darks, what the header says of the observation, hot pixels, areas of apertures.

Revision 0003, after 0002.

A dark that nothing can be compared with was `good`; it is `untested` now. A temperature of exactly 0.0 beside a real
one was averaged into the mean.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_BEFORE = "quality IN ('good', 'suspect', 'retired')"
_NOW = "quality IN ('good', 'suspect', 'retired', 'untested')"

_EXPOSURES = sa.table(
    "exposures",
    *(
        sa.column(name)
        for name in ("quality", "quality_reason", "temperature_start_c", "temperature_end_c", "temperature_mean_c")
    ),
)
_NOTES = sa.table("quality_notes", sa.column("quality"))


def upgrade() -> None:
    for value in ("contrast", "box_rate"):
        op.drop_index(f"ix_exposures_kind_{value}_err", table_name="exposures")
        _index(value, f"{value}_count_s_pix", "id", f"{value}_err_count_s_pix")
    _change(
        "exposures",
        _NOW,
        added=[
            sa.Column("observation_quality", sa.String(), nullable=True, comment="QUALITY of the header"),
            sa.Column("guide_star_lock", sa.String(), nullable=True, comment="FGSLOCK of the header"),
            sa.Column(
                "hot_pixels",
                sa.Integer(),
                nullable=True,
                comment="pixels that the frame's own level does not explain",
            ),
        ],
    )
    _change("quality_notes", _NOW)
    op.add_column("photometry", sa.Column("area_pix", sa.Double(), nullable=True, comment="pixels; the geometric area"))
    op.add_column(
        "photometry", sa.Column("coverage", sa.Double(), nullable=True, comment="share of the area on good data")
    )
    # One of the two is 0.0, and their sum is the other.
    _set_mean(_EXPOSURES.c.temperature_start_c + _EXPOSURES.c.temperature_end_c)


def downgrade() -> None:
    _set_mean(0.5 * (_EXPOSURES.c.temperature_start_c + _EXPOSURES.c.temperature_end_c))
    op.execute(
        sa.update(_EXPOSURES).where(_EXPOSURES.c.quality == "untested").values(quality="good", quality_reason=None)
    )
    op.execute(sa.update(_NOTES).where(_NOTES.c.quality == "untested").values(quality="good"))
    op.drop_column("photometry", "coverage")
    op.drop_column("photometry", "area_pix")
    _change("quality_notes", _BEFORE)
    _change("exposures", _BEFORE, dropped=["observation_quality", "guide_star_lock", "hot_pixels"])
    for value in ("contrast", "box_rate"):
        _index(value, f"{value}_count_s_pix", "id")
        op.create_index(
            f"ix_exposures_kind_{value}_err", "exposures", ["kind", f"{value}_err_count_s_pix"], unique=False
        )


def _index(value: str, *columns: str) -> None:
    op.drop_index(f"ix_exposures_kind_{value}", table_name="exposures")
    op.create_index(f"ix_exposures_kind_{value}", "exposures", ["kind", *columns], unique=False)


def _set_mean(mean: sa.ColumnElement[float]) -> None:
    """Set the mean temperature where exactly one of the two is 0.0 and the other is over 5 C away from it."""
    start, end = _EXPOSURES.c.temperature_start_c, _EXPOSURES.c.temperature_end_c
    one_is_missing = ((start == 0.0) & (sa.func.abs(end) > 5.0)) | ((end == 0.0) & (sa.func.abs(start) > 5.0))
    op.execute(sa.update(_EXPOSURES).where(one_is_missing).values(temperature_mean_c=mean))


def _change(
    table: str, quality: str, added: list[sa.Column[Any]] | None = None, dropped: list[str] | None = None
) -> None:
    """Give a table another CHECK on `quality`, and columns more or less; SQLite builds it anew with the same rows."""
    name = op.f(f"ck_{table}_quality")
    with op.batch_alter_table(table) as batch:
        batch.drop_constraint(name, type_="check")
        batch.create_check_constraint(name, quality)
        for column in added or ():
            batch.add_column(column)
        for column_name in dropped or ():
            batch.drop_column(column_name)
