"""Signals over time."""

from alembic import op

from holdfast.db.migrate import execute

revision = "0002"
down_revision = "0001"

SQL = """
CREATE TABLE signal_bucket (
    seconds smallint NOT NULL,
    at      timestamptz NOT NULL,
    name    text COLLATE "C" NOT NULL,
    source  uuid NOT NULL,
    data    bytea NOT NULL,
    PRIMARY KEY (seconds, at, name, source)
) WITH (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_insert_threshold = -1)
;
COMMENT ON TABLE signal_bucket IS 'What was measured in the seconds that end at `at`, one signal a row (see signals/buckets.py); source is the process, or zeros where those of all are added up'
"""


def upgrade() -> None:
    execute(op.get_bind(), SQL)


def downgrade() -> None:
    raise NotImplementedError("restore a backup")
