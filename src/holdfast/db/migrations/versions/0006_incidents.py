"""Incidents: people, log, steps, obligations; runbooks that were used; the status page; own messages as events."""

from alembic import op

from holdfast.db.migrate import execute

revision = "0006"
down_revision = "0005"

SQL = """
CREATE TABLE person (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    key        text COLLATE "C" NOT NULL UNIQUE,
    name       text NOT NULL,
    email      text,
    role       text NOT NULL CHECK (role IN ('responder', 'admin')),
    position   int UNIQUE DEFERRABLE INITIALLY DEFERRED,
    created_at timestamptz NOT NULL DEFAULT now()
)
;
COMMENT ON COLUMN person.position IS 'The place in the rota, from 0; NULL: not in it'
;
CREATE TABLE rota (
    one      boolean PRIMARY KEY DEFAULT true CHECK (one),
    handover timestamptz NOT NULL
)
;
COMMENT ON TABLE rota IS 'A moment at which a week of the first in the rota began'
;
CREATE TABLE runbook_text (
    version   text COLLATE "C" PRIMARY KEY,
    runbook   text COLLATE "C" NOT NULL,
    text      text NOT NULL,
    first_used timestamptz NOT NULL
)
;
COMMENT ON TABLE runbook_text IS 'Every text of a runbook that an incident began with'
;
CREATE TABLE incident (
    id              bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    runbook         text COLLATE "C" NOT NULL,
    version         text COLLATE "C" NOT NULL REFERENCES runbook_text,
    scope           text COLLATE "C" NOT NULL,
    title           text NOT NULL,
    severity        text NOT NULL CHECK (severity IN ('warning', 'critical')),
    state           text NOT NULL CHECK (state IN ('detected', 'acknowledged', 'mitigating', 'monitoring', 'resolved',
                                                   'reviewed')),
    cause           text NOT NULL,
    commander       text,
    affected        jsonb NOT NULL DEFAULT '{}',
    since           timestamptz NOT NULL,
    opened_at       timestamptz NOT NULL,
    opened_by       text NOT NULL,
    acknowledged_at timestamptz,
    mitigating_at   timestamptz,
    calm_at         timestamptz,
    monitoring_at   timestamptz,
    resolved_at     timestamptz,
    reviewed_at     timestamptz,
    reopened_at     timestamptz,
    merged_into     bigint REFERENCES incident,
    lease           bigint,
    leased_until    timestamptz
)
;
CREATE UNIQUE INDEX incident_open ON incident (runbook, scope)
    WHERE state IN ('detected', 'acknowledged', 'mitigating', 'monitoring') AND merged_into IS NULL
;
CREATE INDEX incident_by_time ON incident (opened_at)
;
COMMENT ON COLUMN incident.scope IS 'What of the runbook''s matter is in trouble, "" for the whole: one open incident per runbook and scope'
;
COMMENT ON COLUMN incident.lease IS 'The engine that advances it; anybody''s again after leased_until'
;
CREATE SEQUENCE incident_lease
;
CREATE TABLE incident_alert (
    alert_id    bigint PRIMARY KEY REFERENCES alert ON DELETE CASCADE,
    incident_id bigint NOT NULL REFERENCES incident,
    joined_at   timestamptz NOT NULL
)
;
CREATE INDEX incident_alert_of ON incident_alert (incident_id)
;
CREATE TABLE incident_log (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    incident_id bigint NOT NULL REFERENCES incident,
    at          timestamptz NOT NULL,
    kind        text NOT NULL CHECK (kind IN ('opened', 'alert', 'state', 'step', 'lever', 'message', 'note', 'person',
                                              'obligation')),
    actor       text NOT NULL,
    text        text NOT NULL,
    step        text COLLATE "C",
    evidence    jsonb NOT NULL DEFAULT '{}'
)
;
CREATE INDEX incident_log_of ON incident_log (incident_id, id)
;
CREATE FUNCTION incident_log_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the incident log is append-only';
END $$
;
CREATE TRIGGER incident_log_append_only BEFORE UPDATE OR DELETE ON incident_log
    FOR EACH ROW EXECUTE FUNCTION incident_log_is_append_only()
;
CREATE TABLE step (
    incident_id bigint NOT NULL REFERENCES incident,
    key         text COLLATE "C" NOT NULL,
    position    int NOT NULL,
    phase       text NOT NULL,
    "group"     text NOT NULL,
    kind        text NOT NULL CHECK (kind IN ('do', 'check', 'ask', 'every', 'person')),
    text        text NOT NULL,
    action      text COLLATE "C",
    parameters  jsonb NOT NULL DEFAULT '{}',
    role        text NOT NULL,
    every       interval,
    state       text NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'running', 'waiting', 'asking', 'done',
                    'not applicable', 'failed', 'skipped', 'undone', 'uncertain')),
    runs        int NOT NULL DEFAULT 0,
    tries       int NOT NULL DEFAULT 0,
    due_at      timestamptz,
    began_at    timestamptz,
    ended_at    timestamptz,
    actor       text,
    said        text NOT NULL DEFAULT '',
    evidence    jsonb NOT NULL DEFAULT '{}',
    draft       text,
    answer      text,
    PRIMARY KEY (incident_id, key)
)
;
COMMENT ON TABLE step IS 'The steps of an incident''s run, whole: nothing is read from the runbook''s file after it began'
;
CREATE TABLE obligation (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    incident_id bigint NOT NULL REFERENCES incident,
    kind        text NOT NULL CHECK (kind IN ('acknowledge', 'update', 'action', 'review')),
    text        text NOT NULL,
    owner       text,
    due_at      timestamptz NOT NULL,
    met_at      timestamptz,
    told_at     timestamptz,
    told        int NOT NULL DEFAULT 0,
    step        text COLLATE "C"
)
;
CREATE INDEX obligation_due ON obligation (due_at) WHERE met_at IS NULL
;
CREATE INDEX obligation_of ON obligation (incident_id)
;
COMMENT ON TABLE obligation IS 'What somebody has to do by a time; overdue ones are shown and chased'
;
CREATE TABLE review (
    incident_id bigint PRIMARY KEY REFERENCES incident,
    figures     jsonb NOT NULL,
    root_cause  text NOT NULL DEFAULT '',
    lessons     text NOT NULL DEFAULT '',
    verdict     text NOT NULL DEFAULT '' CHECK (verdict IN ('', 'unchanged', 'changed')),
    verdict_why text NOT NULL DEFAULT '',
    proposal    text,
    made_at     timestamptz NOT NULL,
    closed_at   timestamptz,
    closed_by   text
)
;
COMMENT ON COLUMN review.figures IS 'Impact, times and plots'' points as they were when the incident resolved'
;
COMMENT ON COLUMN review.proposal IS 'The runbook''s text as it should become'
;
CREATE TABLE status_update (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    incident_id bigint NOT NULL REFERENCES incident,
    key         text COLLATE "C" NOT NULL UNIQUE,
    at          timestamptz NOT NULL,
    state       text NOT NULL CHECK (state IN ('investigating', 'identified', 'monitoring', 'resolved')),
    impact      text NOT NULL CHECK (impact IN ('none', 'minor', 'major', 'critical')),
    components  jsonb NOT NULL,
    title       text NOT NULL,
    body        text NOT NULL,
    mailed_to   bigint NOT NULL DEFAULT 0,
    mailed_at   timestamptz
)
;
CREATE INDEX status_update_of ON status_update (incident_id, id)
;
CREATE INDEX status_update_unmailed ON status_update (id) WHERE mailed_at IS NULL
;
COMMENT ON TABLE status_update IS 'What the public status page says of an incident; the first of an incident makes it public'
;
COMMENT ON COLUMN status_update.components IS 'Component to its state, all that the incident touches: an update is the whole statement'
;
COMMENT ON COLUMN status_update.mailed_to IS 'The last subscriber whose mail of it is under way'
;
CREATE TABLE subscriber (
    id           bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    email        text COLLATE "C" NOT NULL UNIQUE,
    handle       text COLLATE "C" NOT NULL UNIQUE,
    secret       text COLLATE "C" NOT NULL,
    asked_at     timestamptz NOT NULL,
    confirmed_at timestamptz
)
;
CREATE INDEX subscriber_asked ON subscriber (asked_at)
;
COMMENT ON TABLE subscriber IS 'Who gets mail of every update; handle is in their links, secret signs them'
;
ALTER TABLE lever ADD COLUMN before jsonb
;
COMMENT ON COLUMN lever.before IS 'What an incident''s turn covers, and brings back when it ends: the row as it was, with its own before; NULL: the default'
;
ALTER TABLE ramp
    ADD COLUMN expires_at timestamptz,
    ADD COLUMN stopped_by text
;
COMMENT ON COLUMN ramp.expires_at IS 'The first expiry of its levers, which they have none of while it runs; given back when it is stopped'
;
COMMENT ON COLUMN ramp.stopped_by IS 'The person who stopped it, or turned one of its levers by hand'
;
ALTER TABLE destination DROP CONSTRAINT destination_kind_check
;
ALTER TABLE destination ADD CONSTRAINT destination_kind_check
    CHECK (kind IN ('webhook', 'email', 'application', 'contact', 'team'))
;
COMMENT ON COLUMN destination.kind IS 'contact: a mailbox that gets messages about incidents, not events; team: a team channel of the settings, by its number'
"""


def upgrade() -> None:
    execute(op.get_bind(), SQL)


def downgrade() -> None:
    raise NotImplementedError("restore a backup")
