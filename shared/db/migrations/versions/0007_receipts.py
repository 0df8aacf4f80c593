"""Receipts: an inbox, what they say in the ledger and in the sums, and addresses not to be used again

Expand only: the code before this migration keeps running while it is applied.
"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_SUMS = ("delivered", "undelivered", "complained", "unsubscribed")


def upgrade() -> None:
    op.create_table(
        "receipts",
        sa.Column("seq", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("project_seq", sa.Integer(), nullable=False),
        sa.Column("provider_seq", sa.BigInteger(), nullable=False),
        sa.Column("event_id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("recipient", sa.Text(), nullable=False),
        sa.Column("run", sa.BigInteger(), nullable=True),
        sa.Column("target_seq", sa.BigInteger(), nullable=True),
        sa.Column("provider_message_id", sa.Text(), server_default="", nullable=False),
        sa.Column("reason", sa.Text(), server_default="", nullable=False),
        sa.Column("occurred_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("received_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("folded_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("seq", name=op.f("receipts_pkey")),
        sa.UniqueConstraint("provider_seq", "event_id", name=op.f("receipts_provider_seq_event_id_key")),
    )
    op.create_index("receipts_due_idx", "receipts", ["due_at", "seq"], postgresql_where=sa.text("folded_at IS NULL"))
    op.create_index("receipts_folded_idx", "receipts", ["folded_at"], postgresql_where=sa.text("folded_at IS NOT NULL"))
    op.create_index("receipts_recipient_idx", "receipts", ["run", "target_seq"])
    op.create_table(
        "suppressions",
        sa.Column("project_seq", sa.Integer(), nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("identifier", sa.Text(), nullable=False),
        sa.Column("cause", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), server_default="", nullable=False),
        sa.Column("provider_seq", sa.BigInteger(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["project_seq"], ["projects.seq"], name=op.f("suppressions_project_seq_fkey"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("project_seq", "channel", "identifier", name=op.f("suppressions_pkey")),
    )
    op.add_column("deliveries", sa.Column("receipt", sa.Text(), nullable=True))
    op.add_column("deliveries", sa.Column("receipt_at", sa.DateTime(timezone=True), nullable=True))
    for name in _SUMS:
        op.add_column("message_progress", sa.Column(name, sa.Integer(), server_default=sa.text("0"), nullable=False))
    op.add_column("providers", sa.Column("receipts_secret_encrypted", sa.Text(), nullable=True))


def downgrade() -> None:
    op.drop_column("providers", "receipts_secret_encrypted")
    for name in reversed(_SUMS):
        op.drop_column("message_progress", name)
    op.drop_column("deliveries", "receipt_at")
    op.drop_column("deliveries", "receipt")
    op.drop_table("suppressions")
    op.drop_table("receipts")
