"""the sky and the source in an aperture, and the dark-subtracted product.

Revision 0004, after 0003.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_BEFORE = "kind IN ('science', 'masterdark', 'error')"
_NOW = "kind IN ('science', 'masterdark', 'error', 'net')"

_NUMBERS = {
    "sky_count_s": None,
    "sky_err_count_s": None,
    "source_count_s": "science minus dark minus sky",
    "source_err_count_s": None,
    "flux_err_erg_s_cm2_a": None,
    "flux_limit_erg_s_cm2_a": "3-sigma upper limit",
    "ab_mag_limit": "3-sigma upper limit",
    "st_mag": None,
    "source_low_count_s": "68 % interval of the source",
    "source_high_count_s": "68 % interval of the source",
    "significance_sigma": None,
    "native_count": "counts on the detector",
    "native_background_count": "counts of dark and sky expected there",
    "native_background_err_count": None,
}


def upgrade() -> None:
    for name, comment in _NUMBERS.items():
        op.add_column("photometry", sa.Column(name, sa.Double(), nullable=True, comment=comment))
    op.add_column("photometry", sa.Column("sky_method", sa.String(), nullable=True))
    op.add_column("photometry", sa.Column("warnings", sa.JSON(), nullable=True))
    _allow(_NOW)


def downgrade() -> None:
    products = sa.table("products", sa.column("id"), sa.column("kind"))
    net = sa.select(products.c.id).where(products.c.kind == "net")
    selections = sa.table("product_selections", sa.column("product_id"))
    op.execute(sa.delete(selections).where(selections.c.product_id.in_(net)))
    op.execute(sa.delete(products).where(products.c.kind == "net"))
    _allow(_BEFORE)
    op.drop_column("photometry", "warnings")
    op.drop_column("photometry", "sky_method")
    for name in reversed(_NUMBERS):
        op.drop_column("photometry", name)


def _allow(kinds: str) -> None:
    name = op.f("ck_products_kind")
    with op.batch_alter_table("products") as batch:
        batch.drop_constraint(name, type_="check")
        batch.create_check_constraint(name, kinds)
