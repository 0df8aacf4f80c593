"""Create the tables of the first release

Expand first, contract in a later release: the code before this migration keeps running while it is applied.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


FUNCTIONS_AND_VIEWS = (
    "INSERT INTO installation (one) VALUES (1)",
    # fence tokens: a later claim always has the greater one
    "CREATE SEQUENCE fence_tokens",
    "CREATE SEQUENCE run_numbers",
    # milliseconds in the high bits, a running number below: ordered by time, never the same twice (shared/ids.py)
    """
    CREATE FUNCTION tidings_draw_run() RETURNS bigint LANGUAGE sql VOLATILE AS $$
        SELECT ((extract(epoch FROM clock_timestamp()) * 1000)::bigint << 20) | (nextval('run_numbers') & 1048575)
    $$
    """,
    """
    CREATE FUNCTION tidings_create_partition(parent text, name text, low bigint, high bigint) RETURNS void
    LANGUAGE plpgsql AS $$
    BEGIN
        IF to_regclass(name) IS NULL THEN
            EXECUTE format('CREATE TABLE %I PARTITION OF %I FOR VALUES FROM (%s) TO (%s)', name, parent, low, high);
        END IF;
    END
    $$
    """,
    "CREATE TABLE deliveries_default PARTITION OF deliveries DEFAULT",
    "CREATE TABLE attempts_default PARTITION OF attempts DEFAULT",
    # every recipient of a run at any moment: the ledger, and what the open batches still hold
    """
    CREATE VIEW recipients AS
        SELECT run, target_seq, project_seq, state, provider_seq, attempts, resends, reason, recorded_at
        FROM deliveries
        UNION ALL
        SELECT batch.run, target.seq, batch.project_seq,
               CASE WHEN batch.state = 'claimed' AND target.position <= batch.attempted_to
                    THEN 'claimed' ELSE 'queued' END,
               batch.provider_seq, batch.attempt - 1, batch.resends, '', NULL
        FROM batches AS batch
        CROSS JOIN LATERAL unnest(batch.targets) WITH ORDINALITY AS target (seq, position)
        WHERE NOT EXISTS (
            SELECT FROM deliveries WHERE deliveries.run = batch.run AND deliveries.target_seq = target.seq
        )
        -- what has another try due has moved to a newer batch
        AND NOT EXISTS (
            SELECT FROM attempts
            WHERE attempts.run = batch.run AND attempts.batch_seq = batch.seq AND attempts.target_seq = target.seq
        )
    """,
)


def upgrade() -> None:
    op.create_table(
        "attempts",
        sa.Column("run", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("batch_seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("target_seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("provider_seq", sa.BigInteger(), nullable=False),
        sa.Column("number", sa.SmallInteger(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("decision", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("recorded_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("run", "batch_seq", "target_seq", name=op.f("attempts_pkey")),
        postgresql_partition_by="RANGE (run)",
    )
    op.create_table(
        "batches",
        sa.Column("seq", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("run", sa.BigInteger(), nullable=False),
        sa.Column("project_seq", sa.Integer(), nullable=False),
        sa.Column("message_seq", sa.BigInteger(), nullable=False),
        sa.Column("queue", sa.Text(), nullable=False),
        sa.Column("provider_seq", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.Text(), server_default="due", nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("targets", sa.ARRAY(sa.BigInteger()), nullable=False),
        sa.Column("attempt", sa.SmallInteger(), server_default=sa.text("1"), nullable=False),
        sa.Column("resends", sa.SmallInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("attempted_to", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("recorded_total", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("crashes", sa.SmallInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("token", sa.BigInteger(), nullable=True),
        sa.Column("lease_until", sa.DateTime(timezone=True), nullable=True),
        sa.Column("claimed_by", sa.Text(), nullable=True),
        sa.Column("waiting_since", sa.DateTime(timezone=True), nullable=True),
        sa.Column("sent", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("failed", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("skipped", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("cancelled", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("expired", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("unknown", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("errors", sa.ARRAY(sa.Text()), server_default=sa.text("'{}'"), nullable=False),
        sa.PrimaryKeyConstraint("seq", name=op.f("batches_pkey")),
        postgresql_with={
            "fillfactor": "70",
            "autovacuum_vacuum_scale_factor": "0.02",
            "autovacuum_vacuum_threshold": "500",
        },
    )
    op.create_index(
        "batches_claimable_idx",
        "batches",
        ["queue", "project_seq", "message_seq", "due_at", "seq"],
        unique=False,
        postgresql_where=sa.text("state = 'due'"),
    )
    op.create_index(
        "batches_due_idx", "batches", ["queue", "due_at"], unique=False, postgresql_where=sa.text("state = 'due'")
    )
    op.create_table(
        "ticks",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("ran_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("ticks_pkey")),
    )
    op.create_index(
        "batches_lease_idx",
        "batches",
        ["lease_until"],
        unique=False,
        postgresql_where=sa.text("state = 'claimed'"),
    )
    op.create_index("batches_run_idx", "batches", ["run"], unique=False)
    op.create_table(
        "deliveries",
        sa.Column("run", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("target_seq", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("project_seq", sa.Integer(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("provider_seq", sa.BigInteger(), nullable=True),
        sa.Column("provider_message_id", sa.Text(), server_default="", nullable=False),
        sa.Column("attempts", sa.SmallInteger(), nullable=False),
        sa.Column("resends", sa.SmallInteger(), nullable=False),
        sa.Column("reason", sa.Text(), server_default="", nullable=False),
        sa.Column("recorded_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("run", "target_seq", name=op.f("deliveries_pkey")),
        postgresql_partition_by="RANGE (run)",
    )
    op.create_index(
        "deliveries_not_sent_idx",
        "deliveries",
        ["run", "target_seq"],
        unique=False,
        postgresql_where=sa.text("state <> 'sent'"),
    )
    op.create_table(
        "fan_outs",
        sa.Column("run", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("project_seq", sa.Integer(), nullable=False),
        sa.Column("message_seq", sa.BigInteger(), nullable=False),
        sa.Column("due_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("cursor", sa.BigInteger(), server_default=sa.text("0"), nullable=False),
        sa.Column("bound", sa.BigInteger(), nullable=True),
        sa.Column("topic_seqs", sa.ARRAY(sa.BigInteger()), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("listed_seqs", sa.ARRAY(sa.BigInteger()), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("crashes", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.PrimaryKeyConstraint("run", name=op.f("fan_outs_pkey")),
        postgresql_with={"fillfactor": "70", "autovacuum_vacuum_scale_factor": "0.02"},
    )
    op.create_index("fan_outs_due_idx", "fan_outs", ["due_at"], unique=False)
    op.create_table(
        "installation",
        sa.Column("one", sa.Integer(), server_default=sa.text("1"), autoincrement=False, nullable=False),
        sa.Column("live", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("secret_check", sa.Text(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("one = 1", name=op.f("installation_one_row_check")),
        sa.PrimaryKeyConstraint("one", name=op.f("installation_pkey")),
    )
    op.create_table(
        "message_progress",
        sa.Column("run", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("project_seq", sa.Integer(), nullable=False),
        sa.Column("message_seq", sa.BigInteger(), nullable=False),
        sa.Column("planned", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("batches_left", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("sent", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("failed", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("skipped", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("cancelled", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("expired", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("unknown", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("resends", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("errors", sa.ARRAY(sa.Text()), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("planned_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("finished_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("run", name=op.f("message_progress_pkey")),
        postgresql_with={"fillfactor": "50"},
    )
    op.create_index(op.f("message_progress_message_seq_idx"), "message_progress", ["message_seq"], unique=False)
    op.create_table(
        "projects",
        sa.Column("seq", sa.Integer(), sa.Identity(always=True), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("mask_credentials", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("seq", name=op.f("projects_pkey")),
        sa.UniqueConstraint("id", name=op.f("projects_id_key")),
    )
    op.create_table(
        "api_keys",
        sa.Column("seq", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("project_seq", sa.Integer(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("secret_hash", sa.LargeBinary(), nullable=False),
        sa.Column("scopes", sa.ARRAY(sa.Text()), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("last_used_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["project_seq"], ["projects.seq"], name=op.f("api_keys_project_seq_fkey"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("seq", name=op.f("api_keys_pkey")),
        sa.UniqueConstraint("project_seq", "id", name=op.f("api_keys_project_seq_id_key")),
        sa.UniqueConstraint("secret_hash", name=op.f("api_keys_secret_hash_key")),
    )
    op.create_table(
        "messages",
        sa.Column("seq", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("project_seq", sa.Integer(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("lane", sa.Text(), nullable=False),
        sa.Column("data", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("topics", sa.ARRAY(sa.Text()), nullable=False),
        sa.Column("users", sa.ARRAY(sa.Text()), nullable=False),
        sa.Column("targets", sa.ARRAY(sa.Text()), nullable=False),
        sa.Column("scheduled_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("delivered_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("version", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("run", sa.BigInteger(), nullable=True),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["project_seq"], ["projects.seq"], name=op.f("messages_project_seq_fkey"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("seq", name=op.f("messages_pkey")),
    )
    op.create_index(
        "messages_id_key",
        "messages",
        ["project_seq", "id"],
        unique=True,
        postgresql_where=sa.text("deleted_at IS NULL"),
    )
    op.create_index(
        "messages_project_idx",
        "messages",
        ["project_seq", "seq"],
        unique=False,
        postgresql_where=sa.text("deleted_at IS NULL"),
    )
    op.create_index(
        "messages_scheduled_idx",
        "messages",
        ["scheduled_at"],
        unique=False,
        postgresql_where=sa.text("status = 'scheduled' AND deleted_at IS NULL"),
    )
    op.create_table(
        "providers",
        sa.Column("seq", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("project_seq", sa.Integer(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("enabled", sa.Boolean(), nullable=False),
        sa.Column("credentials_encrypted", sa.Text(), nullable=False),
        sa.Column("options", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("version", sa.Integer(), server_default=sa.text("1"), nullable=False),
        sa.Column("fault_reason", sa.Text(), nullable=True),
        sa.Column("fault_since", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["project_seq"], ["projects.seq"], name=op.f("providers_project_seq_fkey"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("seq", name=op.f("providers_pkey")),
        sa.UniqueConstraint("project_seq", "id", name=op.f("providers_project_seq_id_key")),
    )
    op.create_table(
        "topics",
        sa.Column("seq", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("project_seq", sa.Integer(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("description", sa.Text(), server_default="", nullable=False),
        sa.Column("subscribe", sa.ARRAY(sa.Text()), server_default=sa.text("'{users}'"), nullable=False),
        sa.Column("email_total", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("sms_total", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("push_total", sa.Integer(), server_default=sa.text("0"), nullable=False),
        sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["project_seq"], ["projects.seq"], name=op.f("topics_project_seq_fkey"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("seq", name=op.f("topics_pkey")),
    )
    op.create_index(
        "topics_deleted_idx",
        "topics",
        ["seq"],
        unique=False,
        postgresql_where=sa.text("deleted_at IS NOT NULL"),
    )
    op.create_index(
        "topics_id_key",
        "topics",
        ["project_seq", "id"],
        unique=True,
        postgresql_where=sa.text("deleted_at IS NULL"),
    )
    op.create_table(
        "users",
        sa.Column("seq", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("project_seq", sa.Integer(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), server_default="", nullable=False),
        sa.Column("email", sa.Text(), server_default="", nullable=False),
        sa.Column("phone", sa.Text(), server_default="", nullable=False),
        sa.Column("password_hash", sa.Text(), nullable=True),
        sa.Column("is_enabled", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("labels", sa.ARRAY(sa.Text()), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("prefs", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'"), nullable=False),
        sa.Column("email_verified", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("phone_verified", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("password_updated_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["project_seq"], ["projects.seq"], name=op.f("users_project_seq_fkey"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("seq", name=op.f("users_pkey")),
        sa.UniqueConstraint("project_seq", "id", name=op.f("users_project_seq_id_key")),
    )
    op.create_index(
        "users_email_key",
        "users",
        ["project_seq", "email"],
        unique=True,
        postgresql_where=sa.text("email <> ''"),
    )
    op.create_index(
        "users_phone_key",
        "users",
        ["project_seq", "phone"],
        unique=True,
        postgresql_where=sa.text("phone <> ''"),
    )
    op.create_table(
        "provider_tokens",
        sa.Column("provider_seq", sa.BigInteger(), nullable=False),
        sa.Column("purpose", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("token_encrypted", sa.Text(), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["provider_seq"],
            ["providers.seq"],
            name=op.f("provider_tokens_provider_seq_fkey"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("provider_seq", "purpose", name=op.f("provider_tokens_pkey")),
    )
    op.create_table(
        "targets",
        sa.Column("seq", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("project_seq", sa.Integer(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("user_seq", sa.BigInteger(), nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("provider_id", sa.Text(), nullable=True),
        sa.Column("identifier", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), server_default="", nullable=False),
        sa.Column("expired", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["project_seq"], ["projects.seq"], name=op.f("targets_project_seq_fkey"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["user_seq"], ["users.seq"], name=op.f("targets_user_seq_fkey"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("seq", name=op.f("targets_pkey")),
        sa.UniqueConstraint("project_seq", "id", name=op.f("targets_project_seq_id_key")),
        sa.UniqueConstraint("project_seq", "identifier", name=op.f("targets_project_seq_identifier_key")),
    )
    op.create_index("targets_user_idx", "targets", ["user_seq", "channel", "seq"], unique=False)
    op.create_table(
        "subscribers",
        sa.Column("seq", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("project_seq", sa.Integer(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("topic_seq", sa.BigInteger(), nullable=False),
        sa.Column("target_seq", sa.BigInteger(), nullable=False),
        sa.Column("channel", sa.Text(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["project_seq"], ["projects.seq"], name=op.f("subscribers_project_seq_fkey"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["target_seq"], ["targets.seq"], name=op.f("subscribers_target_seq_fkey"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("seq", name=op.f("subscribers_pkey")),
        sa.UniqueConstraint("project_seq", "id", name=op.f("subscribers_project_seq_id_key")),
        sa.UniqueConstraint(
            "topic_seq", "channel", "target_seq", name=op.f("subscribers_topic_seq_channel_target_seq_key")
        ),
    )
    op.create_index("subscribers_target_idx", "subscribers", ["target_seq"], unique=False, postgresql_using="hash")

    for statement in FUNCTIONS_AND_VIEWS:
        op.execute(statement)


def downgrade() -> None:
    op.execute("DROP VIEW recipients")
    op.execute("DROP FUNCTION tidings_create_partition(text, text, bigint, bigint)")
    op.execute("DROP FUNCTION tidings_draw_run()")
    op.execute("DROP SEQUENCE run_numbers")
    op.execute("DROP SEQUENCE fence_tokens")
    op.drop_index("subscribers_target_idx", table_name="subscribers")
    op.drop_table("subscribers")
    op.drop_index("targets_user_idx", table_name="targets")
    op.drop_table("targets")
    op.drop_table("provider_tokens")
    op.drop_index("users_phone_key", table_name="users", postgresql_where=sa.text("phone <> ''"))
    op.drop_index("users_email_key", table_name="users", postgresql_where=sa.text("email <> ''"))
    op.drop_table("users")
    op.drop_index("topics_id_key", table_name="topics", postgresql_where=sa.text("deleted_at IS NULL"))
    op.drop_index("topics_deleted_idx", table_name="topics", postgresql_where=sa.text("deleted_at IS NOT NULL"))
    op.drop_table("topics")
    op.drop_table("providers")
    op.drop_index(
        "messages_scheduled_idx",
        table_name="messages",
        postgresql_where=sa.text("status = 'scheduled' AND deleted_at IS NULL"),
    )
    op.drop_index("messages_project_idx", table_name="messages", postgresql_where=sa.text("deleted_at IS NULL"))
    op.drop_index("messages_id_key", table_name="messages", postgresql_where=sa.text("deleted_at IS NULL"))
    op.drop_table("messages")
    op.drop_table("api_keys")
    op.drop_table("projects")
    op.drop_index(op.f("message_progress_message_seq_idx"), table_name="message_progress")
    op.drop_table("message_progress")
    op.drop_table("ticks")
    op.drop_table("installation")
    op.drop_index("fan_outs_due_idx", table_name="fan_outs")
    op.drop_table("fan_outs")
    op.drop_index("deliveries_not_sent_idx", table_name="deliveries", postgresql_where=sa.text("state <> 'sent'"))
    op.drop_table("deliveries")
    op.drop_index("batches_run_idx", table_name="batches")
    op.drop_index("batches_lease_idx", table_name="batches", postgresql_where=sa.text("state = 'claimed'"))
    op.drop_index("batches_claimable_idx", table_name="batches", postgresql_where=sa.text("state = 'due'"))
    op.drop_table("batches")
    op.drop_table("attempts")
