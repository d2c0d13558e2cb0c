"""Voice: numbers, call plans, calls and what became of them, voicemails, Twilio's accounts and alerts."""

from alembic import op

from holdfast.db.migrate import execute

revision = "0007"
down_revision = "0006"

SQL = """
ALTER TABLE merchant ADD COLUMN time_zone text
;
COMMENT ON COLUMN merchant.time_zone IS 'IANA name, for its business hours; NULL: that of each of its numbers'
;
CREATE TABLE twilio_account (
    sid         text COLLATE "C" PRIMARY KEY,
    name        text NOT NULL,
    merchant_id bigint NOT NULL,
    auth_token  text NOT NULL,
    signing     jsonb NOT NULL DEFAULT '{}',
    former_tokens text[] NOT NULL DEFAULT '{}',
    created_at  timestamptz NOT NULL DEFAULT now()
)
;
COMMENT ON TABLE twilio_account IS 'Subaccounts; the main account is in the settings. merchant_id 0: the company''s own'
;
COMMENT ON COLUMN twilio_account.signing IS 'Shared keys that Twilio may sign with instead of the token, key id to secret'
;
COMMENT ON COLUMN twilio_account.former_tokens IS 'Tokens that still verify, and are used for nothing else'
;
CREATE TABLE number (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    phone       text COLLATE "C" NOT NULL UNIQUE,
    merchant_id bigint NOT NULL,
    account     text COLLATE "C",
    sid         text COLLATE "C" UNIQUE,
    region      text COLLATE "C" NOT NULL,
    stands_in   boolean NOT NULL DEFAULT false,
    created_at  timestamptz NOT NULL DEFAULT now()
)
;
CREATE INDEX number_merchant ON number (merchant_id)
;
COMMENT ON COLUMN number.account IS 'The Twilio account that has it; NULL: the one of the settings'
;
COMMENT ON COLUMN number.sid IS 'Its PN… at Twilio; NULL: not looked up yet'
;
COMMENT ON COLUMN number.region IS 'Where it is, for health and levers: its country, such as US, unless told otherwise'
;
COMMENT ON COLUMN number.stands_in IS 'Whether it may be shown as caller ID instead of another number: the caller-ID pool'
;
CREATE TABLE call_plan (
    phone      text COLLATE "C" PRIMARY KEY REFERENCES number (phone) ON DELETE CASCADE,
    plan       jsonb NOT NULL,
    changed_at timestamptz NOT NULL,
    changed_by text NOT NULL
)
;
COMMENT ON TABLE call_plan IS 'voice.model.Plan of a number; a number without one takes messages'
;
CREATE TABLE voice_version (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    version  bigint NOT NULL
)
;
COMMENT ON TABLE voice_version IS 'Grows with every change of what calls are answered from; who answers compares it with what it holds'
;
INSERT INTO voice_version (version) VALUES (1)
;
CREATE FUNCTION voice_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE voice_version SET version = version + 1;
    NOTIFY holdfast_voice;
    RETURN NULL;
END $$
;
CREATE TRIGGER number_changed AFTER INSERT OR UPDATE OR DELETE ON number
    FOR EACH STATEMENT EXECUTE FUNCTION voice_changed()
;
CREATE TRIGGER call_plan_changed AFTER INSERT OR UPDATE OR DELETE ON call_plan
    FOR EACH STATEMENT EXECUTE FUNCTION voice_changed()
;
CREATE TRIGGER twilio_account_changed AFTER INSERT OR UPDATE OR DELETE ON twilio_account
    FOR EACH STATEMENT EXECUTE FUNCTION voice_changed()
;
CREATE TRIGGER merchant_of_numbers_changed AFTER UPDATE OF name, key, time_zone ON merchant
    FOR EACH STATEMENT EXECUTE FUNCTION voice_changed()
;
CREATE TABLE call (
    sid         text COLLATE "C" PRIMARY KEY,
    account     text COLLATE "C" NOT NULL,
    phone       text COLLATE "C" NOT NULL,
    merchant_id bigint NOT NULL,
    region      text COLLATE "C" NOT NULL,
    caller      text COLLATE "C" NOT NULL,
    is_test     boolean NOT NULL DEFAULT false,
    status      text COLLATE "C" NOT NULL,
    rank        smallint NOT NULL,
    began_at    timestamptz NOT NULL,
    ended_at    timestamptz,
    seconds     integer,
    answer      text COLLATE "C" NOT NULL DEFAULT '',
    told_at     timestamptz,
    answered_by text COLLATE "C",
    outcome     text COLLATE "C" CHECK (outcome IN ('person', 'voicemail', 'abandoned', 'announcement', 'missed',
                                                    'failed'))
)
;
COMMENT ON TABLE call IS 'One row a call at one of our numbers: the newest that is known of it, whatever order callbacks come in'
;
COMMENT ON COLUMN call.answer IS 'What it was told last and why, in words: dial +15550100, voicemail: closed'
;
COMMENT ON COLUMN call.told_at IS 'When it was told that: a callback that comes late does not put an older answer in its place'
;
COMMENT ON COLUMN call.outcome IS 'person: talked to one; voicemail: left a message; abandoned: hung up while it rang or was told to leave one; announcement: heard one; missed: rang out, no voicemail; failed: an error. NULL: not over yet'
;
CREATE INDEX call_by_time ON call (began_at)
;
CREATE INDEX call_of_merchant ON call (merchant_id, began_at)
;
CREATE INDEX call_of_phone ON call (phone, began_at)
;
CREATE TABLE leg (
    call_sid  text COLLATE "C" NOT NULL,
    target    text COLLATE "C" NOT NULL,
    place     smallint NOT NULL,
    phone     text COLLATE "C" NOT NULL,
    region    text COLLATE "C" NOT NULL,
    caller_id text COLLATE "C",
    outcome   text COLLATE "C" NOT NULL CHECK (outcome IN ('answered', 'busy', 'no-answer', 'canceled', 'failed')),
    sip_code  smallint,
    seconds   integer,
    at        timestamptz NOT NULL,
    is_test   boolean NOT NULL DEFAULT false,
    PRIMARY KEY (call_sid, target)
)
;
COMMENT ON TABLE leg IS 'A target that a call was put through to, and what came of it. place counts from 1; region is the target''s, phone the number called'
;
CREATE INDEX leg_by_time ON leg (at)
;
CREATE INDEX leg_of_target ON leg (target, at)
;
CREATE INDEX leg_of_phone ON leg (phone, at)
;
CREATE INDEX leg_of_region ON leg (region, at)
;
CREATE TABLE voicemail (
    sid           text COLLATE "C" PRIMARY KEY,
    call_sid      text COLLATE "C" NOT NULL,
    account       text COLLATE "C" NOT NULL,
    merchant_id   bigint NOT NULL,
    phone         text COLLATE "C" NOT NULL,
    caller        text COLLATE "C" NOT NULL,
    url           text NOT NULL,
    seconds       integer,
    at            timestamptz NOT NULL,
    transcription text
)
;
CREATE INDEX voicemail_by_time ON voicemail (at)
;
CREATE INDEX voicemail_of_call ON voicemail (call_sid)
;
CREATE TABLE twilio_alert (
    sid        text COLLATE "C" PRIMARY KEY,
    account    text COLLATE "C" NOT NULL,
    at         timestamptz NOT NULL,
    level      text COLLATE "C" NOT NULL,
    code       integer NOT NULL,
    resource   text COLLATE "C",
    phone      text COLLATE "C",
    region     text COLLATE "C",
    target     text COLLATE "C",
    url        text,
    is_foreign boolean NOT NULL DEFAULT false,
    said       text NOT NULL DEFAULT ''
)
;
COMMENT ON COLUMN twilio_alert.is_foreign IS 'Whether url is none of our doors: another program''s on the same account'
;
COMMENT ON TABLE twilio_alert IS 'Twilio''s Debugger: each alert once, whether it came by webhook or was fetched'
;
CREATE INDEX twilio_alert_by_time ON twilio_alert (at)
;
CREATE INDEX twilio_alert_of_call ON twilio_alert (resource)
;
CREATE TABLE repoint (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    base       text NOT NULL,
    actor      text NOT NULL,
    began_at   timestamptz NOT NULL,
    ended_at   timestamptz,
    undone_at  timestamptz
)
;
COMMENT ON TABLE repoint IS 'Numbers'' addresses at Twilio moved to another public URL'
;
CREATE TABLE repointed (
    repoint_id bigint NOT NULL REFERENCES repoint,
    phone      text COLLATE "C" NOT NULL,
    sid        text COLLATE "C",
    account    text COLLATE "C",
    before     jsonb,
    after      jsonb,
    done_at    timestamptz,
    left_at    timestamptz,
    undone_at  timestamptz,
    error      text,
    PRIMARY KEY (repoint_id, phone)
)
;
COMMENT ON COLUMN repointed.account IS 'The Twilio account that has it; NULL: the one of the settings'
;
COMMENT ON COLUMN repointed.left_at IS 'When it was given up, since nobody can move it any more or somebody said so; error says why'
;
COMMENT ON COLUMN repointed.error IS 'Why it could not be moved, or moved back, at the last try, or was left as it is'
;
COMMENT ON COLUMN repointed.before IS 'The number''s addresses at Twilio as they were: what undoing brings back'
;
CREATE INDEX lever_history_of_incident ON lever_history (incident_id, at)
;
ALTER TABLE lever_history
    DROP CONSTRAINT lever_history_what_check,
    ADD CONSTRAINT lever_history_what_check CHECK (what IN ('set', 'renewed', 'cleared', 'expired', 'ramp started',
        'ramp step', 'ramp back', 'ramp held', 'ramp done', 'ramp stopped'))
"""


def upgrade() -> None:
    execute(op.get_bind(), SQL)


def downgrade() -> None:
    raise NotImplementedError("restore a backup")
