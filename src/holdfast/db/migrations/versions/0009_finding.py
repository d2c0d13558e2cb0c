"""Finding old deliveries without reading all of them."""

from alembic import op

from holdfast.db.migrate import execute

revision = "0009"
down_revision = "0008"

SQL = """
CREATE INDEX delivery_created ON delivery USING brin (created_at) WITH (pages_per_range = 16, autosummarize = on)
;
ALTER TABLE merchant ADD COLUMN stripe_disconnected_at timestamptz
;
COMMENT ON COLUMN merchant.stripe_disconnected_at IS 'Since when Stripe refuses us the account, because it revoked our access'
;
ALTER TABLE destination
    ADD COLUMN rotating_since timestamptz, ADD COLUMN disabled_since timestamptz, ADD COLUMN disabled_why text
"""


def upgrade() -> None:
    execute(op.get_bind(), SQL)


def downgrade() -> None:
    execute(
        op.get_bind(),
        """
        ALTER TABLE merchant DROP COLUMN stripe_disconnected_at
        ;
        DROP INDEX delivery_created
        ;
        ALTER TABLE destination DROP COLUMN rotating_since, DROP COLUMN disabled_since, DROP COLUMN disabled_why
        """,
    )
