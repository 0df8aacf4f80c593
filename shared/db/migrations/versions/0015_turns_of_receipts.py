"""Let projects take turns in the inbox of receipts

Code from before reads the inbox in the order of arrival and sorts what waits for it, which is little but for floods.
"""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

_WAITS = sa.text("folded_at IS NULL")


def upgrade() -> None:
    with op.get_context().autocommit_block():
        # what may be there already, and half built, is what an attempt that was cut short left behind
        op.drop_index("receipts_turns_idx", "receipts", if_exists=True, postgresql_concurrently=True)
        op.create_index(
            "receipts_turns_idx",
            "receipts",
            ["project_seq", "due_at", "seq"],
            postgresql_where=_WAITS,
            postgresql_concurrently=True,
        )
        op.drop_index("receipts_due_idx", "receipts", if_exists=True, postgresql_concurrently=True)


def downgrade() -> None:
    op.create_index("receipts_due_idx", "receipts", ["due_at", "seq"], postgresql_where=_WAITS)
    op.drop_index("receipts_turns_idx", "receipts")
