"""Limit the calls of API keys, of each and of all of a project

Null: as the installation's settings have it. 0: no limit.
"""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for table in ("api_keys", "projects"):
        op.add_column(table, sa.Column("calls_per_minute", sa.Integer(), nullable=True))


def downgrade() -> None:
    for table in ("api_keys", "projects"):
        op.drop_column(table, "calls_per_minute")
