"""Let chunks lie in object storage, and deletions go on in pages

Expand first, contract in a later release: the code before this migration keeps running while it is applied.
"""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

_INCOMPLETE = sa.text("chunks_uploaded < chunks_total")
_DELETED = sa.text("deleted_at IS NOT NULL")


def upgrade() -> None:
    op.create_table(
        "loose_objects",
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("loose_objects_pkey")),
    )
    op.create_index("loose_objects_due_idx", "loose_objects", ["due_at"])
    op.add_column("file_chunks", sa.Column("object_key", sa.Text(), nullable=True))
    op.alter_column("file_chunks", "content", nullable=True)
    op.create_check_constraint(
        op.f("file_chunks_place_check"), "file_chunks", "(content IS NULL) <> (object_key IS NULL)"
    )
    op.create_index("files_incomplete_idx", "files", ["updated_at"], postgresql_where=_INCOMPLETE)
    op.add_column("users", sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True))
    op.create_index("users_deleted_idx", "users", ["deleted_at"], postgresql_where=_DELETED)
    op.create_index("user_sessions_expires_idx", "user_sessions", ["expires_at"])


def downgrade() -> None:
    """Files whose content is in object storage do not survive it."""
    op.drop_index("user_sessions_expires_idx", "user_sessions")
    op.drop_index("users_deleted_idx", "users", postgresql_where=_DELETED)
    op.drop_column("users", "deleted_at")
    op.drop_index("files_incomplete_idx", "files", postgresql_where=_INCOMPLETE)
    op.drop_constraint(op.f("file_chunks_place_check"), "file_chunks")
    op.execute("DELETE FROM files USING file_chunks WHERE file_chunks.file_seq = files.seq AND object_key IS NOT NULL")
    op.alter_column("file_chunks", "content", nullable=False)
    op.drop_column("file_chunks", "object_key")
    op.drop_table("loose_objects")
