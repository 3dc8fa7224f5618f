"""a photometry row that stands alone: target, filter, date, exposure time, shape, radius, ST magnitude.

Revision 0006, after 0005.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_TEXTS = {"target": None, "filter": None, "shape": "shape and place of the aperture, as text"}
_NUMBERS = {
    "exptime_s": "sum of the exposures",
    "effective_radius_pix": "of the circle with the same area",
    "effective_radius_arcsec": None,
    "st_mag_err": None,
    "st_mag_limit": "3-sigma upper limit",
}


def upgrade() -> None:
    for name, comment in _TEXTS.items():
        op.add_column("photometry", sa.Column(name, sa.String(), nullable=True, comment=comment))
    moment = sa.DateTime(timezone=True)
    op.add_column("photometry", sa.Column("start_utc", moment, nullable=True, comment="of the first exposure"))
    for name, comment in _NUMBERS.items():
        op.add_column("photometry", sa.Column(name, sa.Double(), nullable=True, comment=comment))


def downgrade() -> None:
    for name in (*_NUMBERS, "start_utc", *_TEXTS):
        op.drop_column("photometry", name)
