"""Whose a payment is, and since when accounts and destinations are out of use."""

from alembic import op

from holdfast.db.migrate import execute

revision = "0009"
down_revision = "0008"

SQL = """
ALTER TABLE merchant ADD COLUMN stripe_disconnected_at timestamptz
;
COMMENT ON COLUMN merchant.stripe_disconnected_at IS 'Since when Stripe refuses us the account, because it revoked our access'
;
ALTER TABLE destination
    ADD COLUMN rotating_since timestamptz, ADD COLUMN disabled_since timestamptz, ADD COLUMN disabled_why text
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
        ALTER TABLE payment DROP COLUMN owner_at, DROP COLUMN owner_rank, DROP COLUMN owner_event
        ;
        ALTER TABLE destination DROP COLUMN rotating_since, DROP COLUMN disabled_since, DROP COLUMN disabled_why
        ;
        ALTER TABLE merchant DROP COLUMN stripe_disconnected_at
        """,
    )
