"""Consent and messaging: customers, the ledger of consents, suppressions, texts out and in, imports, complaints."""

from alembic import op

from holdfast.db.migrate import execute

revision = "0008"
down_revision = "0007"

SQL = """
CREATE TABLE customer (
    id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    phone      text COLLATE "C" UNIQUE,
    phone_key  bytea UNIQUE,
    salt       bytea,
    zones      text[] NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL DEFAULT now(),
    erased_at  timestamptz,
    CHECK ((phone IS NULL) = (erased_at IS NOT NULL)),
    CHECK ((phone_key IS NULL) = (erased_at IS NULL)),
    CHECK ((salt IS NULL) = (erased_at IS NOT NULL))
)
;
COMMENT ON TABLE customer IS 'Whoever is at the other end of a number: all that is known of a person hangs on this id, so that it can be erased'
;
COMMENT ON COLUMN customer.phone_key IS 'HMAC of the number, of an erased person alone: enough to know it again, not to read it'
;
COMMENT ON COLUMN customer.salt IS 'With it the ledger''s rows commit to the number; gone with the number'
;
COMMENT ON COLUMN customer.zones IS 'IANA names of every time zone that the person may be in; quiet hours are kept in all of them'
;
CREATE TABLE contact (
    customer_id bigint NOT NULL REFERENCES customer,
    merchant_id bigint NOT NULL,
    name        text,
    email       text,
    reference   text,
    batch_id    bigint,
    batch_row   integer,
    changed_at  timestamptz NOT NULL,
    PRIMARY KEY (customer_id, merchant_id)
)
;
COMMENT ON TABLE contact IS 'What a merchant calls a customer; reference is its own id of them'
;
CREATE INDEX contact_batch ON contact (batch_id, customer_id) WHERE batch_id IS NOT NULL
;
CREATE TABLE contact_before (
    batch_id      bigint NOT NULL,
    customer_id   bigint NOT NULL REFERENCES customer,
    name          text,
    email         text,
    reference     text,
    was_batch_id  bigint,
    was_batch_row integer,
    was_changed_at timestamptz,
    PRIMARY KEY (batch_id, customer_id)
)
;
COMMENT ON TABLE contact_before IS 'What an import changed of contacts, so that it can be undone. was_changed_at NULL: there was none'
;
CREATE INDEX contact_before_of ON contact_before (customer_id)
;
CREATE TABLE disclosure (
    id     bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    digest bytea NOT NULL UNIQUE,
    text   text NOT NULL
)
;
COMMENT ON TABLE disclosure IS 'What people were shown when they consented, each text once'
;
CREATE TABLE import_batch (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    merchant_id bigint NOT NULL,
    file        text NOT NULL,
    sha256      bytea NOT NULL,
    origin      text NOT NULL DEFAULT '',
    state       text NOT NULL CHECK (state IN ('applying', 'applied', 'undoing', 'undone')),
    counts      jsonb NOT NULL DEFAULT '{}',
    options     jsonb NOT NULL DEFAULT '{}',
    next_row    integer NOT NULL DEFAULT 0,
    actor       text NOT NULL,
    began_at    timestamptz NOT NULL,
    applied_at  timestamptz,
    undone_at   timestamptz,
    undone_by   text,
    undone_why  text
)
;
COMMENT ON COLUMN import_batch.next_row IS 'Where it goes on when it was broken off'
;
CREATE TABLE import_reject (
    batch_id bigint NOT NULL REFERENCES import_batch,
    line     integer NOT NULL,
    reason   text COLLATE "C" NOT NULL,
    said     text NOT NULL
)
;
CREATE INDEX import_reject_of ON import_reject (batch_id, line)
;
CREATE TABLE consent (
    seq         bigint PRIMARY KEY,
    customer_id bigint NOT NULL,
    merchant_id bigint NOT NULL,
    action      text COLLATE "C" NOT NULL CHECK (action IN ('grant', 'revoke')),
    purpose     text COLLATE "C" NOT NULL CHECK (purpose IN ('marketing', 'informational', 'all')),
    channel     text COLLATE "C" NOT NULL CHECK (channel IN ('text', 'call', 'all')),
    source      text COLLATE "C" NOT NULL,
    given_at    timestamptz NOT NULL,
    recorded_at timestamptz NOT NULL,
    disclosure_id bigint,
    origin      text,
    collector   text,
    batch_id    bigint,
    batch_row   integer,
    actor       text NOT NULL,
    who         bytea NOT NULL,
    detail      bytea,
    previous    bytea NOT NULL,
    hash        bytea NOT NULL,
    CHECK (action = 'revoke' OR (merchant_id > 0 AND purpose <> 'all' AND channel <> 'all'))
)
;
COMMENT ON TABLE consent IS 'The ledger: append-only, each row''s hash covers the row and the hash before it. merchant_id 0: every merchant'
;
COMMENT ON COLUMN consent.given_at IS 'When the person did it: decides what holds. recorded_at is when we wrote it'
;
COMMENT ON COLUMN consent.origin IS 'The form, keyword or campaign it came through: with batch_id, what lineage is told by'
;
COMMENT ON COLUMN consent.who IS 'Commitment to the number: SHA-256 of customer.salt and the number, 16 bytes of it'
;
COMMENT ON COLUMN consent.detail IS 'SHA-256 of consent_detail.salt and .said; NULL: there is none'
;
CREATE INDEX consent_current ON consent (customer_id, given_at DESC, action DESC, seq DESC)
;
CREATE INDEX consent_batch ON consent (batch_id, customer_id) WHERE batch_id IS NOT NULL
;
CREATE INDEX consent_origin ON consent (merchant_id, origin, customer_id) WHERE origin IS NOT NULL
;
CREATE TABLE consent_head (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    seq      bigint NOT NULL,
    hash     bytea NOT NULL
)
;
COMMENT ON TABLE consent_head IS 'The end of the chain: who appends locks it'
;
INSERT INTO consent_head (seq, hash) VALUES (0, decode(repeat('00', 32), 'hex'))
;
CREATE TABLE consent_detail (
    seq         bigint PRIMARY KEY,
    customer_id bigint NOT NULL,
    salt        bytea NOT NULL,
    said        jsonb NOT NULL
)
;
CREATE INDEX consent_detail_of ON consent_detail (customer_id)
;
COMMENT ON TABLE consent_detail IS 'What of a row is personal: how, in whose words, IP address, recording. Goes when the person is erased; the row''s digest stays'
;
CREATE FUNCTION consent_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the ledger of consents is append-only: append a row that says what changed';
END $$
;
CREATE TRIGGER consent_append_only BEFORE UPDATE OR DELETE ON consent
    FOR EACH ROW EXECUTE FUNCTION consent_is_append_only()
;
CREATE TRIGGER consent_not_truncated BEFORE TRUNCATE ON consent EXECUTE FUNCTION consent_is_append_only()
;
CREATE TRIGGER consent_detail_not_changed BEFORE UPDATE ON consent_detail
    FOR EACH ROW EXECUTE FUNCTION consent_is_append_only()
;
CREATE TRIGGER consent_detail_not_truncated BEFORE TRUNCATE ON consent_detail EXECUTE FUNCTION consent_is_append_only()
;
CREATE FUNCTION consent_detail_goes_with_the_person() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM customer WHERE id = OLD.customer_id AND erased_at IS NULL) THEN
        RAISE EXCEPTION 'details of a consent go only when the person is erased: holdfast consent erase';
    END IF;
    RETURN OLD;
END $$
;
CREATE TRIGGER consent_detail_kept BEFORE DELETE ON consent_detail
    FOR EACH ROW EXECUTE FUNCTION consent_detail_goes_with_the_person()
;
CREATE TABLE suppression (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    customer_id bigint NOT NULL REFERENCES customer,
    merchant_id bigint NOT NULL,
    reason      text COLLATE "C" NOT NULL CHECK (reason IN ('opt_out', 'doubtful', 'complaint', 'cohort', 'erasure',
                    'operator', 'import', 'provider_block', 'carrier_block', 'unknown_handset', 'landline')),
    source      text COLLATE "C" NOT NULL,
    actor       text NOT NULL,
    note        text NOT NULL DEFAULT '',
    made_at     timestamptz NOT NULL,
    consent_seq bigint,
    complaint_id bigint,
    incident_id bigint,
    batch_id    bigint,
    excepted    bigint[] NOT NULL DEFAULT '{}',
    lifted_at   timestamptz,
    lifted_by   text,
    lifted_why  text
)
;
COMMENT ON TABLE suppression IS 'A block: of one merchant, or of every one (merchant_id 0). Never deleted, only lifted'
;
COMMENT ON COLUMN suppression.excepted IS 'Merchants that the person came back to after a block of every merchant'
;
COMMENT ON COLUMN suppression.consent_seq IS 'The ledger''s row that says the same; NULL for blocks that are nobody''s wish'
;
CREATE UNIQUE INDEX suppression_live ON suppression (customer_id, merchant_id, reason) WHERE lifted_at IS NULL
;
CREATE INDEX suppression_of ON suppression (customer_id)
;
CREATE INDEX suppression_by_time ON suppression (made_at)
;
CREATE INDEX suppression_of_incident ON suppression (incident_id) WHERE incident_id IS NOT NULL
;
CREATE FUNCTION suppression_is_kept() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'suppressions are lifted, not deleted';
END $$
;
CREATE TRIGGER suppression_kept BEFORE DELETE ON suppression FOR EACH ROW EXECUTE FUNCTION suppression_is_kept()
;
CREATE TRIGGER suppression_not_truncated BEFORE TRUNCATE ON suppression EXECUTE FUNCTION suppression_is_kept()
;
CREATE TABLE messaging_policy (
    merchant_id     bigint PRIMARY KEY,
    opens           time,
    closes          time,
    most_per_day    integer,
    most_per_week   integer,
    sender          text COLLATE "C",
    brand           text,
    help_text       text,
    provider_answers boolean,
    changed_at      timestamptz NOT NULL DEFAULT now(),
    changed_by      text NOT NULL DEFAULT 'holdfast'
)
;
COMMENT ON TABLE messaging_policy IS 'How a merchant texts; NULL: as in the row of merchant_id 0, which holds for all'
;
COMMENT ON COLUMN messaging_policy.opens IS 'Marketing goes out from opens to closes of the person''s local time'
;
COMMENT ON COLUMN messaging_policy.most_per_day IS 'Marketing texts to one person in 24 hours; most_per_week: in 7 days'
;
COMMENT ON COLUMN messaging_policy.sender IS 'A number of the merchant, or a messaging service (MG…); NULL: its first number'
;
COMMENT ON COLUMN messaging_policy.provider_answers IS 'Whether Twilio itself answers STOP, START and HELP of this merchant''s numbers'
;
INSERT INTO messaging_policy (merchant_id, opens, closes, most_per_day, most_per_week, provider_answers)
VALUES (0, '08:00', '21:00', 3, 10, true)
;
CREATE FUNCTION opening(at timestamptz, zones text[], opens time, closes time) RETURNS timestamptz
LANGUAGE plpgsql STABLE STRICT AS $$
DECLARE
    found timestamptz := at;
    next  timestamptz;
BEGIN
    LOOP  -- no time before the last one's next opening is good for all of them: so what is found is the first
        SELECT coalesce(max(CASE WHEN here::time < opens THEN (here::date + opens) AT TIME ZONE zone
                                 WHEN here::time >= closes THEN (here::date + 1 + opens) AT TIME ZONE zone
                                 ELSE found END), found) INTO next
        FROM unnest(zones) AS zone, LATERAL (SELECT found AT TIME ZONE zone AS here) AS local;
        IF next = found THEN
            RETURN found;
        END IF;
        found := next;
        IF found > at + interval '7 days' THEN
            RETURN NULL;
        END IF;
    END LOOP;
END $$
;
COMMENT ON FUNCTION opening IS 'The first time from at on that lies between opens and closes in all of the zones; NULL: none within 7 days'
;
CREATE TABLE text_template (
    merchant_id bigint NOT NULL,
    name        text COLLATE "C" NOT NULL,
    body        text NOT NULL,
    changed_at  timestamptz NOT NULL DEFAULT now(),
    changed_by  text NOT NULL,
    PRIMARY KEY (merchant_id, name)
)
;
COMMENT ON TABLE text_template IS 'Bodies with {placeholders}; merchant_id 0: of every merchant that has none of that name'
;
CREATE TABLE message (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    merchant_id bigint NOT NULL,
    customer_id bigint NOT NULL,
    kind        text COLLATE "C" NOT NULL DEFAULT 'text' CHECK (kind IN ('text', 'confirmation', 'help')),
    key         text COLLATE "C",
    fingerprint bytea,
    purpose     text COLLATE "C" NOT NULL CHECK (purpose IN ('marketing', 'informational')),
    to_phone    text COLLATE "C",
    from_phone  text COLLATE "C",
    account     text COLLATE "C",
    body        text,
    template    text,
    state       text COLLATE "C" NOT NULL CHECK (state IN ('refused', 'queued', 'sending', 'sent', 'failed',
                    'cancelled', 'expired')),
    rule        text COLLATE "C" NOT NULL,
    consent_seq bigint,
    suppression_id bigint,
    created_at  timestamptz NOT NULL,
    send_at     timestamptz NOT NULL,
    not_after   timestamptz,
    tries       smallint NOT NULL DEFAULT 0,
    tried_at    timestamptz,
    sending_until timestamptz,
    settled_at  timestamptz,
    sid         text COLLATE "C" UNIQUE,
    status      text COLLATE "C",
    status_rank smallint NOT NULL DEFAULT 0,
    status_at   timestamptz,
    error_code  integer,
    note        text
) WITH (fillfactor = 80)
;
COMMENT ON TABLE message IS 'Every text that somebody asked us to send, refused ones included. state is ours, status is Twilio''s'
;
COMMENT ON COLUMN message.rule IS 'What decided: consent, when it may be sent; else the rule that refused or cancelled it'
;
COMMENT ON COLUMN message.kind IS 'confirmation of an opt-out and answers to HELP go to people who are suppressed, too'
;
COMMENT ON COLUMN message.sending_until IS 'Whoever sends it gives up by then: until then it may still go out'
;
COMMENT ON COLUMN message.account IS 'The Twilio account it is sent with; NULL: the one of the settings'
;
CREATE UNIQUE INDEX message_key ON message (merchant_id, key) WHERE key IS NOT NULL
;
CREATE INDEX message_of_customer ON message (customer_id, created_at)
;
CREATE INDEX message_of_merchant ON message (merchant_id, created_at)
;
CREATE INDEX message_live ON message (customer_id) WHERE state IN ('queued', 'sending')
;
CREATE INDEX message_worded ON message (created_at) WHERE body IS NOT NULL
;
COMMENT ON INDEX message_worded IS 'For blanking the words of old texts: the rows stay'
;
CREATE INDEX message_by_time ON message USING brin (created_at) WITH (autosummarize = on)
;
CREATE INDEX message_by_try ON message (tried_at) WHERE tried_at IS NOT NULL
;
CREATE INDEX message_to_suppressed ON message (created_at) WHERE state = 'refused' AND rule = 'suppressed'
;
CREATE TABLE text_tally (
    at          timestamptz NOT NULL,
    is_day      boolean NOT NULL DEFAULT false,
    merchant_id bigint NOT NULL,
    batch_id    bigint NOT NULL,
    origin      text COLLATE "C" NOT NULL,
    sent        integer NOT NULL DEFAULT 0,
    stopped     integer NOT NULL DEFAULT 0,
    first_stop_at timestamptz,
    PRIMARY KEY (is_day, at, merchant_id, batch_id, origin)
)
;
COMMENT ON TABLE text_tally IS 'Texts of a quarter of an hour, after a day of a whole day, and how many of those people stopped them within a day'
;
COMMENT ON COLUMN text_tally.batch_id IS 'The import that the consent is from, 0: none; origin is then empty unless it came through a form or keyword'
;
CREATE TABLE inbound_text (
    sid         text COLLATE "C" PRIMARY KEY,
    merchant_id bigint NOT NULL,
    customer_id bigint NOT NULL,
    phone       text COLLATE "C" NOT NULL,
    body        text,
    media       text[] NOT NULL DEFAULT '{}',
    received_at timestamptz NOT NULL,
    verdict     text COLLATE "C" NOT NULL CHECK (verdict IN ('stop', 'doubtful', 'start', 'help', 'other')),
    score       real NOT NULL,
    rules       text[] NOT NULL DEFAULT '{}',
    provider_said text COLLATE "C",
    suppression_id bigint,
    reviewed_at timestamptz,
    reviewed_by text,
    decision    text CHECK (decision IN ('revoked', 'ordinary')),
    review_note text
)
;
COMMENT ON TABLE inbound_text IS 'Texts that people sent to merchants'' numbers. phone: the number of ours; customer_id 0: no phone of a person sent it. Doubtful ones wait for review'
;
CREATE INDEX inbound_text_of_customer ON inbound_text (customer_id, received_at)
;
CREATE INDEX inbound_text_of_merchant ON inbound_text (merchant_id, received_at)
;
CREATE INDEX inbound_text_by_time ON inbound_text (received_at)
;
CREATE INDEX inbound_text_worded ON inbound_text (received_at) WHERE body IS NOT NULL
;
COMMENT ON INDEX inbound_text_worded IS 'For blanking the words of old texts: the rows stay'
;
CREATE INDEX inbound_text_to_review ON inbound_text (received_at) WHERE verdict = 'doubtful' AND reviewed_at IS NULL
;
CREATE TABLE reconsent_link (
    digest      bytea PRIMARY KEY,
    customer_id bigint NOT NULL REFERENCES customer,
    merchant_id bigint NOT NULL,
    purpose     text COLLATE "C" NOT NULL CHECK (purpose IN ('marketing', 'informational')),
    disclosure_id bigint NOT NULL,
    actor       text NOT NULL,
    made_at     timestamptz NOT NULL,
    expires_at  timestamptz NOT NULL,
    used_at     timestamptz,
    consent_seq bigint
)
;
COMMENT ON TABLE reconsent_link IS 'Links by which a person may consent again; the link itself is known to its holder alone'
;
CREATE TABLE complaint (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    customer_id bigint NOT NULL REFERENCES customer,
    merchant_id bigint NOT NULL,
    source      text COLLATE "C" NOT NULL CHECK (source IN ('api', 'cli', 'text', 'audit')),
    key         text COLLATE "C" UNIQUE,
    text        text,
    answer_to   text,
    received_at timestamptz NOT NULL,
    recorded_at timestamptz NOT NULL,
    due_at      timestamptz NOT NULL,
    filed_by    text NOT NULL,
    suppression_id bigint,
    consent_seq bigint,
    cancelled   integer NOT NULL DEFAULT 0,
    answered_at timestamptz,
    answered_by text,
    answer_how  text,
    answer      text,
    cause       text,
    closed_at   timestamptz,
    closed_by   text
)
;
COMMENT ON TABLE complaint IS 'Somebody got texts that they did not want. merchant_id 0: they did not say whose; answer_to: a mailbox or number they gave'
;
COMMENT ON COLUMN complaint.due_at IS 'By when the person is answered: an hour after it was received'
;
COMMENT ON COLUMN complaint.cause IS 'How they came to be texted, once it is known'
;
CREATE INDEX complaint_by_time ON complaint (received_at)
;
CREATE INDEX complaint_waiting ON complaint (due_at) WHERE answered_at IS NULL AND closed_at IS NULL
;
CREATE INDEX complaint_of ON complaint (customer_id)
;
CREATE TABLE incident_complaint (
    complaint_id bigint PRIMARY KEY REFERENCES complaint,
    incident_id  bigint NOT NULL REFERENCES incident,
    joined_at    timestamptz NOT NULL
)
;
CREATE INDEX incident_complaint_of ON incident_complaint (incident_id)
;
CREATE TABLE audit_finding (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    kind        text COLLATE "C" NOT NULL CHECK (kind IN ('no_consent', 'bypassed', 'after_stop')),
    subject     text COLLATE "C" NOT NULL,
    merchant_id bigint NOT NULL,
    customer_id bigint,
    message_id  bigint,
    sent_at     timestamptz NOT NULL,
    found_at    timestamptz NOT NULL,
    said        text NOT NULL,
    is_critical boolean NOT NULL,
    settled_at  timestamptz,
    settled_by  text,
    settled_why text,
    UNIQUE (kind, subject)
)
;
CREATE INDEX audit_finding_open ON audit_finding (id) WHERE settled_at IS NULL
;
CREATE TABLE audit_mark (
    account     text COLLATE "C" PRIMARY KEY,
    compared_until timestamptz NOT NULL
)
;
COMMENT ON TABLE audit_mark IS 'How far Twilio''s list of texts of an account was compared with ours'
;
COMMENT ON TABLE audit_finding IS 'Texts that should not have gone out: subject is Twilio''s sid of the text, or message:ID'
;
CREATE TABLE erasure (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    customer_id bigint NOT NULL,
    at          timestamptz NOT NULL,
    actor       text NOT NULL,
    reason      text NOT NULL,
    counts      jsonb NOT NULL DEFAULT '{}'
)
;
CREATE TABLE erasure_key (
    only_row    boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    fingerprint bytea NOT NULL
)
;
COMMENT ON TABLE erasure_key IS 'Which key the numbers of erased people are hashed with, so that no other is used by mistake'
;
ALTER TABLE obligation
    DROP CONSTRAINT obligation_kind_check,
    ADD CONSTRAINT obligation_kind_check CHECK (kind IN ('acknowledge', 'update', 'action', 'review', 'reply'))
"""


def upgrade() -> None:
    execute(op.get_bind(), SQL)


def downgrade() -> None:
    raise NotImplementedError("restore a backup")
