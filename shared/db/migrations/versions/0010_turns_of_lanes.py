"""Let each lane find its own messages that are due for planning

The index that served all lanes goes with it: it would cost every message that is accepted, and nothing was released
with it.
"""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    # until it is told the lane, code from before this migration has its large messages planned among the small ones
    # that it may be there already, and the index half built, is what an attempt that was cut short left behind
    is_bulk: sa.Column[bool] = sa.Column("is_bulk", sa.Boolean(), server_default=sa.text("false"), nullable=False)
    op.add_column("fan_outs", is_bulk, if_not_exists=True)
    op.execute(
        "UPDATE fan_outs SET is_bulk = true FROM messages"
        " WHERE messages.seq = fan_outs.message_seq AND messages.lane = 'bulk'"
    )
    with op.get_context().autocommit_block():
        op.drop_index("fan_outs_lane_due_idx", "fan_outs", if_exists=True, postgresql_concurrently=True)
        op.create_index("fan_outs_lane_due_idx", "fan_outs", ["is_bulk", "due_at"], postgresql_concurrently=True)
        op.drop_index("fan_outs_due_idx", "fan_outs", if_exists=True, postgresql_concurrently=True)


def downgrade() -> None:
    op.create_index("fan_outs_due_idx", "fan_outs", ["due_at"])
    op.drop_index("fan_outs_lane_due_idx", "fan_outs")
    op.drop_column("fan_outs", "is_bulk")
