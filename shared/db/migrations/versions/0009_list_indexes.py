"""Index what lists are ordered and filtered by

Expand first, contract in a later release: the code before this migration keeps running while it is applied.
Built concurrently, so that nobody waits to write meanwhile.
"""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

_NOT_DELETED = "deleted_at IS NULL"

# name: table, columns, which rows. Nulls stand where lists have them: first when ascending.
_INDEXES: dict[str, tuple[str, list[str | sa.TextClause], str | None]] = {
    "messages_created_idx": ("messages", ["project_seq", "created_at", "seq"], _NOT_DELETED),
    "messages_delivered_idx": ("messages", ["project_seq", sa.text("delivered_at NULLS FIRST"), "seq"], _NOT_DELETED),
    "messages_planned_idx": ("messages", ["project_seq", sa.text("scheduled_at NULLS FIRST"), "seq"], _NOT_DELETED),
    "messages_status_idx": ("messages", ["project_seq", "status", "seq"], _NOT_DELETED),
    "messages_channel_idx": ("messages", ["project_seq", "channel", "seq"], _NOT_DELETED),
    "topics_project_idx": ("topics", ["project_seq", "seq"], _NOT_DELETED),
    "topics_created_idx": ("topics", ["project_seq", "created_at", "seq"], _NOT_DELETED),
    "users_project_idx": ("users", ["project_seq", "seq"], None),
    "users_created_idx": ("users", ["project_seq", "created_at", "seq"], None),
    "subscribers_topic_idx": ("subscribers", ["topic_seq", "seq"], None),
    "subscribers_created_idx": ("subscribers", ["topic_seq", "created_at", "seq"], None),
}


def upgrade() -> None:
    with op.get_context().autocommit_block():
        for name, (table, columns, rows) in _INDEXES.items():
            # what an attempt that was cut short left behind is of no use
            op.drop_index(name, table, if_exists=True, postgresql_concurrently=True)
            op.create_index(
                name,
                table,
                columns,
                postgresql_where=sa.text(rows) if rows else None,
                postgresql_concurrently=True,
            )


def downgrade() -> None:
    for name, (table, _columns, _rows) in _INDEXES.items():
        op.drop_index(name, table)
