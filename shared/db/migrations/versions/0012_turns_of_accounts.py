"""Let a claim step over all that is due at one account to what is due at the next

The index that knew messages alone goes with it: it would cost every batch that is written, claimed and given back.
Code from before finds its batches by the new one too, at the price of sorting those of each message that it looks at.
"""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

_IS_DUE = sa.text("state = 'due'")
_COLUMNS = ["queue", "project_seq", "provider_seq", "message_seq", "due_at", "seq"]


def upgrade() -> None:
    with op.get_context().autocommit_block():
        # what may be there already, and half built, is what an attempt that was cut short left behind
        op.drop_index("batches_turns_idx", "batches", if_exists=True, postgresql_concurrently=True)
        op.create_index(
            "batches_turns_idx", "batches", _COLUMNS, postgresql_where=_IS_DUE, postgresql_concurrently=True
        )
        op.drop_index("batches_claimable_idx", "batches", if_exists=True, postgresql_concurrently=True)


def downgrade() -> None:
    columns = [column for column in _COLUMNS if column != "provider_seq"]
    op.create_index("batches_claimable_idx", "batches", columns, postgresql_where=_IS_DUE)
    op.drop_index("batches_turns_idx", "batches")
