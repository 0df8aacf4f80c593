"""Let a project be closed to guests who would sign up, and say how many sessions each of its users may have

Code from before reads neither column.
"""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("projects", sa.Column("sign_up", sa.Boolean(), server_default=sa.text("true"), nullable=False))
    op.add_column("projects", sa.Column("sessions_limit", sa.Integer(), server_default=sa.text("10"), nullable=False))


def downgrade() -> None:
    op.drop_column("projects", "sessions_limit")
    op.drop_column("projects", "sign_up")
