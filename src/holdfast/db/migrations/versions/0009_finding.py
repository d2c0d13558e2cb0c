"""Finding old deliveries without reading all of them."""

from alembic import op

from holdfast.db.migrate import execute

revision = "0009"
down_revision = "0008"

SQL = """
CREATE INDEX delivery_created ON delivery USING brin (created_at) WITH (pages_per_range = 16, autosummarize = on)
"""


def upgrade() -> None:
    execute(op.get_bind(), SQL)


def downgrade() -> None:
    execute(op.get_bind(), "DROP INDEX delivery_created")
