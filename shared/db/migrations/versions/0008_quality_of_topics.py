"""Keep the quality of service and the expiry of topics

Expand first, contract in a later release: the code before this migration keeps running while it is applied.
"""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("topics", sa.Column("qos", sa.SmallInteger(), nullable=True))
    op.add_column("topics", sa.Column("expiry", sa.Integer(), nullable=True))


def downgrade() -> None:
    op.drop_column("topics", "expiry")
    op.drop_column("topics", "qos")
