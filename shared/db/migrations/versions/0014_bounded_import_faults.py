"""Count which faults of an import are kept, so that a file of bad rows fills no disk

Expand only: the code before this migration writes faults without counting them here, which makes none unreadable.
"""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for name, kind in (("faults_kept", sa.Integer()), ("fault_bytes", sa.Integer())):
        op.add_column("contact_imports", sa.Column(name, kind, server_default=sa.text("0"), nullable=False))
    # of earlier imports all are there; their bytes matter to none but an import that goes on
    op.execute("UPDATE contact_imports SET faults_kept = bad_total")


def downgrade() -> None:
    op.drop_column("contact_imports", "fault_bytes")
    op.drop_column("contact_imports", "faults_kept")
