"""Create the audit log, and the indexes of words that lists are searched by

Expand first, contract in a later release: the code before this migration keeps running while it is applied.
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

# Words end at any ASCII character that is neither letter, digit nor underscore, whatever the database's locale.
# 64 characters of a word tell it from others, and keep every word within what a tsvector takes.
_WORDS = r"""
CREATE FUNCTION tidings_words(content text) RETURNS tsvector
LANGUAGE sql IMMUTABLE PARALLEL SAFE COST 1000
AS $$
    SELECT coalesce(array_to_tsvector(array_agg(DISTINCT left(word, 64))), '')
    FROM regexp_split_to_table(lower(content), '[\u0001-\u002f\u003a-\u0040\u005b-\u005e\u0060\u007b-\u007f]+') AS word
    WHERE word <> ''
$$
"""

# array_to_string() counts as changeable, for the sake of types that are not text
_LABELS = """
CREATE FUNCTION tidings_labels(labels text[]) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE COST 1000
AS $$ SELECT 'label:' || array_to_string(labels, ' label:') WHERE labels <> '{}' $$
"""

_SEARCHED = {
    "messages": (
        "id || ' ' || coalesce(data ->> 'subject', '') || ' ' || coalesce(data ->> 'title', '')"
        " || ' ' || CASE channel WHEN 'sms' THEN coalesce(data ->> 'content', '') ELSE '' END"
    ),
    "topics": "id || ' ' || name",
    "users": "id || ' ' || email || ' ' || phone || ' ' || name || ' ' || coalesce(tidings_labels(labels), '')",
}


def upgrade() -> None:
    op.create_table(
        "audit_log",
        sa.Column("seq", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("project_seq", sa.Integer(), nullable=False),
        sa.Column("resource", sa.Text(), nullable=False),
        sa.Column("resource_seq", sa.BigInteger(), nullable=False),
        sa.Column("resource_id", sa.Text(), nullable=False),
        sa.Column("event", sa.Text(), nullable=False),
        sa.Column("user_type", sa.Text(), nullable=False),
        sa.Column("user_id", sa.Text(), server_default="", nullable=False),
        sa.Column("user_email", sa.Text(), server_default="", nullable=False),
        sa.Column("user_name", sa.Text(), server_default="", nullable=False),
        sa.Column("ip", sa.Text(), server_default="", nullable=False),
        sa.Column("user_agent", sa.Text(), server_default="", nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("seq", name=op.f("audit_log_pkey")),
    )
    op.create_index("audit_log_resource_idx", "audit_log", ["resource_seq", "resource", "seq"])
    op.execute(_WORDS)
    op.execute(_LABELS)
    for table, content in _SEARCHED.items():
        op.create_index(f"{table}_words_idx", table, [sa.text(f"tidings_words({content})")], postgresql_using="gin")
    op.create_index("targets_expired_idx", "targets", ["seq"], postgresql_where=sa.text("expired"))


def downgrade() -> None:
    op.drop_index("targets_expired_idx", table_name="targets", postgresql_where=sa.text("expired"))
    for table in _SEARCHED:
        op.drop_index(f"{table}_words_idx", table_name=table)
    op.execute("DROP FUNCTION tidings_labels(text[])")
    op.execute("DROP FUNCTION tidings_words(text)")
    op.drop_table("audit_log")
