"""Ramps: levers brought back in steps; and what the API remembers of requests that may be sent again."""

from alembic import op

from holdfast.db.migrate import execute

revision = "0004"
down_revision = "0003"

SQL = """
CREATE TABLE ramp (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name        text COLLATE "C" NOT NULL,
    targets     text[] COLLATE "C" NOT NULL,
    origin      jsonb NOT NULL,
    goal        jsonb NOT NULL,
    clears      boolean NOT NULL,
    steps       smallint[] NOT NULL,
    hold        double precision NOT NULL,
    guards      text[] NOT NULL,
    actor       text NOT NULL,
    reason      text NOT NULL,
    incident_id bigint,
    started_at  timestamptz NOT NULL,
    state       text NOT NULL DEFAULT 'running' CHECK (state IN ('running', 'done', 'stopped')),
    position    smallint NOT NULL DEFAULT 0,
    moved       text CHECK (moved IN ('step', 'back')),
    since       timestamptz NOT NULL,
    looked_at   timestamptz,
    well_since  timestamptz,
    worse_since timestamptz,
    note        text NOT NULL DEFAULT '',
    ended_at    timestamptz
)
;
CREATE INDEX ramp_running ON ramp (name) WHERE state = 'running'
;
COMMENT ON TABLE ramp IS 'Levers on their way back: from origin to goal, position of steps taken, guarded by readings'
;
ALTER TABLE lever_history
    ADD COLUMN ramp_id bigint,
    ADD COLUMN percent smallint,
    ADD COLUMN evidence jsonb,
    DROP CONSTRAINT lever_history_what_check,
    ADD CONSTRAINT lever_history_what_check CHECK (what IN ('set', 'cleared', 'expired', 'ramp started', 'ramp step',
        'ramp back', 'ramp held', 'ramp done', 'ramp stopped'))
;
CREATE INDEX lever_history_ramp ON lever_history (ramp_id, id) WHERE ramp_id IS NOT NULL
;
CREATE TABLE idempotency (
    key         text COLLATE "C" PRIMARY KEY,
    fingerprint bytea NOT NULL,
    begun_at    timestamptz NOT NULL DEFAULT now(),
    status      smallint,
    headers     jsonb,
    body        bytea
)
;
CREATE INDEX idempotency_begun ON idempotency (begun_at)
;
COMMENT ON TABLE idempotency IS 'Answers to API requests with an Idempotency-Key, for a day; status is null while at work'
"""


def upgrade() -> None:
    execute(op.get_bind(), SQL)


def downgrade() -> None:
    raise NotImplementedError("restore a backup")
