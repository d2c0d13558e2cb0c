"""Alerts, what is told of them, silences, reports, and the watch's heartbeat."""

from alembic import op

from holdfast.db.migrate import execute

revision = "0005"
down_revision = "0004"

SQL = """
CREATE TABLE alert (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    key        text COLLATE "C" NOT NULL,
    runbook    text COLLATE "C" NOT NULL,
    cause      text NOT NULL,
    severity   text NOT NULL CHECK (severity IN ('warning', 'critical')),
    title      text NOT NULL,
    why        text NOT NULL,
    evidence   jsonb NOT NULL,
    affected   jsonb NOT NULL DEFAULT '{}',
    since      timestamptz NOT NULL,
    opened_at  timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    closed_at  timestamptz
)
;
CREATE UNIQUE INDEX alert_open ON alert (key) WHERE closed_at IS NULL
;
CREATE INDEX alert_by_time ON alert (opened_at)
;
COMMENT ON TABLE alert IS 'What detectors saw; one open alert a key'
;
CREATE TABLE notice (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    alert_id   bigint NOT NULL REFERENCES alert ON DELETE CASCADE,
    what       text NOT NULL CHECK (what IN ('opened', 'still open', 'closed')),
    channel    text NOT NULL,
    created_at timestamptz NOT NULL,
    due_at     timestamptz NOT NULL,
    tries      int NOT NULL DEFAULT 0,
    ended_at   timestamptz,
    outcome    text
)
;
CREATE INDEX notice_due ON notice (due_at) WHERE ended_at IS NULL
;
CREATE INDEX notice_of ON notice (alert_id)
;
COMMENT ON TABLE notice IS 'What is told of an alert through one channel: sent, silenced, or given up in the end'
;
CREATE TABLE silence (
    id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    matches   text COLLATE "C" NOT NULL,
    starts_at timestamptz NOT NULL,
    ends_at   timestamptz NOT NULL,
    actor     text NOT NULL,
    reason    text NOT NULL
)
;
COMMENT ON TABLE silence IS 'Alerts whose key begins with `matches` are not told meanwhile; they open and close all the same'
;
CREATE TABLE report (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at          timestamptz NOT NULL,
    kind        text NOT NULL,
    source      text NOT NULL,
    merchant_id bigint,
    text        text NOT NULL,
    actor       text NOT NULL
)
;
CREATE INDEX report_by_time ON report (at)
;
COMMENT ON TABLE report IS 'What merchants and customers say, entered by hand: evidence for detectors'
;
CREATE TABLE watch_beat (
    one  boolean PRIMARY KEY DEFAULT true CHECK (one),
    at   timestamptz NOT NULL,
    host text NOT NULL,
    pid  int NOT NULL,
    took double precision NOT NULL
)
;
COMMENT ON TABLE watch_beat IS 'When health_watch last looked at everything, and how long that took'
"""


def upgrade() -> None:
    execute(op.get_bind(), SQL)


def downgrade() -> None:
    raise NotImplementedError("restore a backup")
