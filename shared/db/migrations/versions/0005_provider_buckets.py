"""Give each provider account a token bucket

Expand first, contract in a later release: the code before this migration keeps running while it is applied.
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "provider_buckets",
        sa.Column("provider_seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("tokens", sa.Float(), nullable=False),
        sa.Column("filled_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["provider_seq"],
            ["providers.seq"],
            name=op.f("provider_buckets_provider_seq_fkey"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("provider_seq", name=op.f("provider_buckets_pkey")),
        postgresql_with={"fillfactor": "50"},
    )


def downgrade() -> None:
    op.drop_table("provider_buckets")
