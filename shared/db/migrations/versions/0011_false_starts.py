"""Count how often a batch's worker died before it marked anything

Expand first, contract in a later release: the code before this migration keeps running while it is applied.
"""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    false_starts: sa.Column[int] = sa.Column(
        "false_starts", sa.SmallInteger(), server_default=sa.text("0"), nullable=False
    )
    op.add_column("batches", false_starts)


def downgrade() -> None:
    op.drop_column("batches", "false_starts")
