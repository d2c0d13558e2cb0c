"""Finding old deliveries without reading all of them."""

from alembic import op

from holdfast.db.migrate import execute

revision = "0009"
down_revision = "0008"

SQL = """
CREATE INDEX delivery_created ON delivery USING brin (created_at) WITH (pages_per_range = 16, autosummarize = on)
;
ALTER TABLE payment ADD COLUMN owner_at timestamptz, ADD COLUMN owner_rank bigint, ADD COLUMN owner_event text COLLATE "C"
;
COMMENT ON COLUMN payment.account IS 'Whose money it is: the event''s account, or the one that the object, or what it belongs to, names'
;
COMMENT ON COLUMN payment.owner_at IS 'Of the event that named account and merchant, with its rank and id; NULL, of old rows, counts as oldest'
"""


def upgrade() -> None:
    execute(op.get_bind(), SQL)


def downgrade() -> None:
    execute(
        op.get_bind(),
        """
DROP INDEX delivery_created
;
ALTER TABLE payment DROP COLUMN owner_at, DROP COLUMN owner_rank, DROP COLUMN owner_event
""",
    )
