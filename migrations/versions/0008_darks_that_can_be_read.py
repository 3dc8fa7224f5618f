"""whether a RAW of an exposure is present, and indexes that hold all that a ranking asks of a dark.

Revision 0008, after 0007.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_TIES = ("temperature_mean_c", "start_mjd", "id")
_BOX = ("box_rate_count_s_pix", "box_rate_err_count_s_pix")
_CONTRAST = ("contrast_count_s_pix", "contrast_err_count_s_pix")
_QUIET = ("quiet_rate_count_s_pix", "quiet_rate_err_count_s_pix")
_GATES = ("rootname", "quality", "has_raw", "exptime_s", *_QUIET)

_ORDERED = {
    "contrast_block": ("contrast_block", *reversed(_CONTRAST), *_TIES),
    "box_rate_block": ("box_rate_block", *reversed(_BOX), *_TIES),
    "box_count": ("box_count", *_TIES),
    "temperature": _TIES,
}
_COVERED = {
    "contrast_block": (*_GATES, *_BOX),
    "box_rate_block": (*_GATES, _CONTRAST[0]),
    "box_count": (*_GATES, _CONTRAST[0], *_BOX),
    "temperature": (*_GATES, _CONTRAST[0], *_BOX),
}


def upgrade() -> None:
    comment = "a RAW of it is present"
    column: sa.Column[bool] = sa.Column(
        "has_raw", sa.Boolean(), nullable=False, server_default=sa.false(), comment=comment
    )
    op.add_column("exposures", column)
    exposures = sa.table("exposures", sa.column("id"), sa.column("has_raw"))
    files = sa.table("files", sa.column("exposure_id"), sa.column("kind"), sa.column("state"))
    present = sa.select(files.c.exposure_id).where(
        files.c.kind == "RAW", files.c.state == "present", files.c.exposure_id.is_not(None)
    )
    op.execute(exposures.update().where(exposures.c.id.in_(present)).values(has_raw=sa.true()))
    for name, columns in _ORDERED.items():
        _index(name, *columns, *_COVERED[name])


def downgrade() -> None:
    for name, columns in _ORDERED.items():
        _index(name, *columns)
    op.drop_column("exposures", "has_raw")


def _index(name: str, *columns: str) -> None:
    op.drop_index(f"ix_exposures_kind_{name}", table_name="exposures")
    op.create_index(f"ix_exposures_kind_{name}", "exposures", ["kind", *columns])
