"""Create the tables of contact imports

Expand first, contract in a later release: the code before this migration keeps running while it is applied.
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "contact_imports",
        sa.Column("seq", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("project_seq", sa.Integer(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("file_name", sa.Text(), nullable=False),
        sa.Column("state", sa.Text(), server_default="staging", nullable=False),
        sa.Column("staged_to", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("merged_to", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("rows_total", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("bad_total", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("users_created", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("users_updated", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("topics_created", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("targets_created", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("subscriptions_created", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("passes", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["project_seq"], ["projects.seq"], name=op.f("contact_imports_project_seq_fkey"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("seq", name=op.f("contact_imports_pkey")),
        sa.UniqueConstraint("project_seq", "id", name=op.f("contact_imports_project_seq_id_key")),
    )
    op.create_table(
        "contact_import_rows",
        sa.Column("import_seq", sa.BigInteger(), nullable=False),
        sa.Column("line", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("user_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("email", sa.Text(), nullable=False),
        sa.Column("phone", sa.Text(), nullable=False),
        sa.Column("push_tokens", sa.ARRAY(sa.Text()), nullable=False),
        sa.Column("topics", sa.ARRAY(sa.Text()), nullable=False),
        sa.PrimaryKeyConstraint("import_seq", "line", name=op.f("contact_import_rows_pkey")),
    )
    op.create_table(
        "contact_import_faults",
        sa.Column("import_seq", sa.BigInteger(), nullable=False),
        sa.Column("line", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("import_seq", "line", name=op.f("contact_import_faults_pkey")),
    )


def downgrade() -> None:
    op.drop_table("contact_import_faults")
    op.drop_table("contact_import_rows")
    op.drop_table("contact_imports")
