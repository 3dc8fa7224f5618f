"""the flat by which the counts of an FLT were multiplied before its regions were measured.

Revision 0007, after 0006.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_COMMENT = "flat whose product with the FLT was measured; null: the counts are as in the file"


def upgrade() -> None:
    op.add_column("files", sa.Column("multiplied_by", sa.String(), nullable=True, comment=_COMMENT))


def downgrade() -> None:
    op.drop_column("files", "multiplied_by")
