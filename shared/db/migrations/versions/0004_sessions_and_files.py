"""Sessions, rate windows, buckets and files, databases and documents.

Revision ID: 0004
"""

from datetime import datetime

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

TEXTS = postgresql.ARRAY(sa.Text())


def _seq() -> sa.Column[int]:
    return sa.Column("seq", sa.BigInteger(), sa.Identity(always=True), nullable=False)


def _moments() -> list[sa.Column[datetime]]:
    return [
        sa.Column(name, sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False)
        for name in ("created_at", "updated_at")
    ]


def _texts(*names: str, default: str | None = None) -> list[sa.Column[str]]:
    return [sa.Column(name, sa.Text(), server_default=default, nullable=False) for name in names]


def _belongs_to(table: str, column: str, owner: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint([column], [f"{owner}.seq"], name=f"{table}_{column}_fkey", ondelete="CASCADE")


def _keys(table: str, *unique: str) -> list[sa.Constraint]:
    return [
        sa.PrimaryKeyConstraint("seq", name=f"{table}_pkey"),
        sa.UniqueConstraint(*unique, name=f"{table}_{'_'.join(unique)}_key"),
    ]


def _flags(*names: str) -> list[sa.Column[bool]]:
    return [sa.Column(name, sa.Boolean(), nullable=False) for name in names]


def upgrade() -> None:
    _create_sessions()
    _create_files()
    _create_documents()


def _create_sessions() -> None:
    op.create_table(
        "user_sessions",
        _seq(),
        sa.Column("project_seq", sa.Integer(), nullable=False),
        *_texts("id"),
        sa.Column("user_seq", sa.BigInteger(), nullable=False),
        sa.Column("secret_hash", sa.LargeBinary(), nullable=False),
        *_texts("provider"),
        *_texts("provider_uid", "ip", "user_agent", default=""),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        *_moments(),
        _belongs_to("user_sessions", "project_seq", "projects"),
        _belongs_to("user_sessions", "user_seq", "users"),
        *_keys("user_sessions", "project_seq", "id"),
        sa.UniqueConstraint("secret_hash", name="user_sessions_secret_hash_key"),
    )
    op.create_index("user_sessions_user_idx", "user_sessions", ["user_seq"])
    op.add_column("targets", sa.Column("session_seq", sa.BigInteger(), nullable=True))
    op.create_foreign_key(
        "targets_session_seq_fkey", "targets", "user_sessions", ["session_seq"], ["seq"], ondelete="CASCADE"
    )
    op.create_index(
        "targets_session_idx", "targets", ["session_seq"], postgresql_where=sa.text("session_seq IS NOT NULL")
    )
    op.create_table(
        "rate_windows",
        sa.Column("key", sa.LargeBinary(), nullable=False),
        sa.Column("ends_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("calls", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("key", "ends_at", name="rate_windows_pkey"),
    )
    op.create_index("rate_windows_ends_idx", "rate_windows", ["ends_at"])


def _create_files() -> None:
    op.create_table(
        "buckets",
        _seq(),
        sa.Column("project_seq", sa.Integer(), nullable=False),
        *_texts("id", "name", "compression"),
        sa.Column("permissions", TEXTS, nullable=False),
        sa.Column("allowed_file_extensions", TEXTS, nullable=False),
        sa.Column("maximum_file_size", sa.BigInteger(), nullable=False),
        *_flags("file_security", "enabled", "encryption", "antivirus", "transformations"),
        *_moments(),
        _belongs_to("buckets", "project_seq", "projects"),
        *_keys("buckets", "project_seq", "id"),
    )
    op.create_table(
        "files",
        _seq(),
        sa.Column("project_seq", sa.Integer(), nullable=False),
        sa.Column("bucket_seq", sa.BigInteger(), nullable=False),
        *_texts("id", "name", "uploader"),
        *_texts("signature", "mime_type", default=""),
        sa.Column("permissions", TEXTS, nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("chunks_total", sa.Integer(), nullable=False),
        sa.Column("chunks_uploaded", sa.Integer(), server_default=sa.text("0"), nullable=False),
        *_moments(),
        _belongs_to("files", "project_seq", "projects"),
        _belongs_to("files", "bucket_seq", "buckets"),
        *_keys("files", "bucket_seq", "id"),
    )
    op.create_table(
        "file_chunks",
        sa.Column("file_seq", sa.BigInteger(), nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        _belongs_to("file_chunks", "file_seq", "files"),
        sa.PrimaryKeyConstraint("file_seq", "number", name="file_chunks_pkey"),
    )
    # uncompressed, so that a range is read without the rest of its chunk; most files are compressed already
    op.execute("ALTER TABLE file_chunks ALTER COLUMN content SET STORAGE EXTERNAL")


def _create_documents() -> None:
    op.create_table(
        "document_databases",
        _seq(),
        sa.Column("project_seq", sa.Integer(), nullable=False),
        *_texts("id", "name"),
        *_flags("enabled"),
        *_moments(),
        _belongs_to("document_databases", "project_seq", "projects"),
        *_keys("document_databases", "project_seq", "id"),
    )
    op.create_table(
        "collections",
        _seq(),
        sa.Column("database_seq", sa.BigInteger(), nullable=False),
        *_texts("id", "name"),
        *_flags("enabled", "document_security"),
        sa.Column("permissions", TEXTS, nullable=False),
        sa.Column("attributes", postgresql.JSONB(), nullable=False),
        *_moments(),
        _belongs_to("collections", "database_seq", "document_databases"),
        *_keys("collections", "database_seq", "id"),
    )
    op.create_table(
        "documents",
        _seq(),
        sa.Column("collection_seq", sa.BigInteger(), nullable=False),
        *_texts("id"),
        sa.Column("permissions", TEXTS, nullable=False),
        sa.Column("data", postgresql.JSONB(), nullable=False),
        *_moments(),
        _belongs_to("documents", "collection_seq", "collections"),
        *_keys("documents", "collection_seq", "id"),
    )


def downgrade() -> None:
    for table in ("documents", "collections", "document_databases", "file_chunks", "files", "buckets", "rate_windows"):
        op.drop_table(table)
    op.drop_index("targets_session_idx", "targets")
    op.drop_column("targets", "session_seq")
    op.drop_table("user_sessions")
