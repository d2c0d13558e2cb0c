"""Payment events: inbox, queue, merchants, payments ledger, deliveries."""

from alembic import op

from holdfast.db.migrate import execute

revision = "0001"
down_revision = None

SQL = """
CREATE TABLE merchant (
    id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    key            text COLLATE "C" NOT NULL UNIQUE,
    name           text NOT NULL,
    email          text,
    stripe_account text COLLATE "C" UNIQUE,
    created_at     timestamptz NOT NULL DEFAULT now()
)
;
COMMENT ON TABLE merchant IS 'A tenant. id 0 is never given: elsewhere merchant_id 0 means the company itself, or unknown'
;
CREATE TABLE destination (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    merchant_id bigint NOT NULL,
    kind        text NOT NULL CHECK (kind IN ('webhook', 'email', 'application')),
    address     text NOT NULL,
    secrets     text[] NOT NULL DEFAULT '{}',
    events      text[] NOT NULL,
    enabled     boolean NOT NULL DEFAULT true,
    ceiling     integer,
    created_at  timestamptz NOT NULL DEFAULT now(),
    UNIQUE (merchant_id, kind, address)
)
;
COMMENT ON COLUMN destination.events IS 'The subscription: event type patterns, * for any run of characters'
;
COMMENT ON COLUMN destination.secrets IS 'Standard Webhooks secrets; the first is current, the others are being rotated out'
;
CREATE TABLE catalogue_version (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    version  bigint NOT NULL
)
;
COMMENT ON TABLE catalogue_version IS 'Grows with every change of merchants or destinations; routers compare it, once a batch, with what they hold'
;
INSERT INTO catalogue_version (version) VALUES (1)
;
CREATE FUNCTION catalogue_changed() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    UPDATE catalogue_version SET version = version + 1;
    RETURN NULL;
END $$
;
CREATE TRIGGER merchant_changed AFTER INSERT OR UPDATE OR DELETE ON merchant
    FOR EACH STATEMENT EXECUTE FUNCTION catalogue_changed()
;
CREATE TRIGGER destination_changed AFTER INSERT OR UPDATE OR DELETE ON destination
    FOR EACH STATEMENT EXECUTE FUNCTION catalogue_changed()
;
CREATE TABLE lane_rule (
    pattern text COLLATE "C" PRIMARY KEY,
    lane    smallint NOT NULL CHECK (lane BETWEEN 0 AND 2)
)
;
COMMENT ON TABLE lane_rule IS 'Event type patterns to lanes (0 critical, 1 standard, 2 bulk); the most specific wins, none means standard'
;
INSERT INTO lane_rule (pattern, lane) VALUES
    ('payment_intent.succeeded', 0), ('payment_intent.payment_failed', 0), ('payment_intent.canceled', 0),
    ('payment_intent.requires_action', 0), ('charge.succeeded', 0), ('charge.failed', 0), ('charge.refunded', 0),
    ('charge.dispute.*', 0), ('refund.*', 0), ('checkout.session.completed', 0),
    ('checkout.session.async_payment_*', 0), ('invoice.paid', 0), ('invoice.payment_succeeded', 0),
    ('invoice.payment_failed', 0), ('invoice.payment_action_required', 0), ('payout.failed', 0), ('payout.paid', 0),
    ('transfer.reversed', 0), ('radar.early_fraud_warning.*', 0), ('account.application.deauthorized', 0),
    ('customer.updated', 2), ('product.updated', 2), ('price.updated', 2), ('plan.updated', 2),
    ('product.created', 2), ('price.created', 2), ('plan.created', 2), ('coupon.created', 2),
    ('promotion_code.created', 2), ('tax_rate.created', 2), ('balance.available', 2), ('reporting.*', 2)
;
CREATE TABLE event (
    seq         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    provider    text COLLATE "C" NOT NULL,
    event_id    text COLLATE "C" NOT NULL,
    type        text COLLATE "C" NOT NULL,
    lane        smallint NOT NULL,
    object_id   text COLLATE "C",
    account     text COLLATE "C",
    livemode    boolean NOT NULL,
    created_at  timestamptz NOT NULL,
    received_at timestamptz NOT NULL,
    headers     json NOT NULL,
    body        bytea NOT NULL,
    UNIQUE (event_id, provider)
)
;
COMMENT ON COLUMN event.created_at IS 'When the provider made it, in the provider''s words; decides order. received_at is our clock'
;
DO $$
BEGIN
    ALTER TABLE event ALTER COLUMN body SET COMPRESSION lz4, ALTER COLUMN body SET STORAGE MAIN;
EXCEPTION WHEN feature_not_supported THEN
    -- This server was built without lz4, and pglz would cost more than all the rest of storing an event.
    ALTER TABLE event ALTER COLUMN body SET STORAGE EXTERNAL, SET (toast_tuple_target = 8160);
END $$
;
CREATE INDEX event_object ON event (object_id) WHERE object_id IS NOT NULL
;
CREATE INDEX event_received ON event USING brin (received_at) WITH (pages_per_range = 16, autosummarize = on)
;
CREATE TABLE duplicate (
    provider    text COLLATE "C" NOT NULL,
    event_id    text COLLATE "C" NOT NULL,
    received_at timestamptz NOT NULL
)
;
COMMENT ON TABLE duplicate IS 'Every redelivery of an event that we already held: the storm signal'
;
CREATE INDEX duplicate_event ON duplicate (event_id, provider)
;
CREATE INDEX duplicate_received ON duplicate USING brin (received_at) WITH (autosummarize = on)
;
CREATE TABLE work (
    stage          smallint NOT NULL,
    ref            bigint NOT NULL,
    lane           smallint NOT NULL,
    merchant_id    bigint NOT NULL,
    destination_id bigint NOT NULL,
    due_at         timestamptz NOT NULL,
    received_at    timestamptz NOT NULL,
    attempts       smallint NOT NULL DEFAULT 0,
    lease          bigint,
    PRIMARY KEY (stage, ref)
) WITH (
    fillfactor = 70,
    autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 2000,
    autovacuum_vacuum_insert_threshold = -1, autovacuum_analyze_scale_factor = 0.2, autovacuum_vacuum_cost_delay = 0
)
;
COMMENT ON TABLE work IS 'Live work only: its size is the backlog. stage 1 routes event seq=ref, stage 2 sends delivery id=ref'
;
COMMENT ON COLUMN work.due_at IS 'Not before this time. A claim moves it to the end of its lease, so leased work cannot be claimed and comes back by itself'
;
CREATE INDEX work_claim ON work (stage, lane, merchant_id, destination_id, due_at)
;
CREATE TABLE done (
    stage          smallint NOT NULL,
    ref            bigint NOT NULL,
    lane           smallint NOT NULL,
    merchant_id    bigint NOT NULL,
    destination_id bigint NOT NULL,
    received_at    timestamptz NOT NULL,
    done_at        timestamptz NOT NULL,
    attempts       smallint NOT NULL,
    outcome        text COLLATE "C" NOT NULL,
    note           text
)
;
COMMENT ON TABLE done IS 'Append-only: every work that left the queue, once, with what became of it. Accepted = work + done, always'
;
CREATE INDEX done_ref ON done (stage, ref)
;
CREATE INDEX done_at ON done USING brin (done_at) WITH (pages_per_range = 16, autosummarize = on)
;
CREATE INDEX done_trouble ON done (stage, outcome, done_at) WHERE outcome IN ('dead', 'unmatched', 'unreadable', 'unfetched')
;
CREATE TABLE payment (
    id              text COLLATE "C" PRIMARY KEY,
    kind            text COLLATE "C" NOT NULL,
    account         text COLLATE "C",
    merchant_id     bigint NOT NULL,
    livemode        boolean NOT NULL,
    status          text COLLATE "C" NOT NULL,
    currency        text COLLATE "C",
    amount          bigint,
    amount_settled  bigint,
    amount_reversed bigint,
    belongs_to      text COLLATE "C",
    created_at      timestamptz NOT NULL,
    first_event     text COLLATE "C" NOT NULL,
    first_event_at  timestamptz NOT NULL,
    last_event      text COLLATE "C" NOT NULL,
    last_event_at   timestamptz NOT NULL,
    last_rank       bigint NOT NULL
) WITH (fillfactor = 80)
;
COMMENT ON TABLE payment IS 'The ledger: the newest known state of every payment object; amounts in minor units of the currency'
;
COMMENT ON COLUMN payment.last_rank IS 'How far the state had come at last_event: decides between events of the same second'
;
CREATE INDEX payment_created ON payment (created_at, id)
;
CREATE INDEX payment_merchant ON payment (merchant_id, created_at, id)
;
CREATE INDEX payment_belongs_to ON payment (belongs_to) WHERE belongs_to IS NOT NULL
;
CREATE TABLE delivery (
    id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    event_seq      bigint NOT NULL,
    destination_id bigint NOT NULL,
    merchant_id    bigint NOT NULL,
    lane           smallint NOT NULL,
    created_at     timestamptz NOT NULL,
    UNIQUE (event_seq, destination_id)
)
;
CREATE TABLE attempt (
    delivery_id bigint NOT NULL,
    attempt     smallint NOT NULL,
    at          timestamptz NOT NULL,
    outcome     text COLLATE "C" NOT NULL,
    status      smallint,
    latency     real NOT NULL,
    error       text,
    response    bytea
)
;
CREATE INDEX attempt_delivery ON attempt (delivery_id)
;
CREATE INDEX attempt_at ON attempt USING brin (at) WITH (autosummarize = on)
;
CREATE TABLE signal_total (
    name   text COLLATE "C" NOT NULL,
    labels text COLLATE "C" NOT NULL,
    part   smallint NOT NULL,
    value  double precision NOT NULL,
    PRIMARY KEY (name, labels, part)
)
;
COMMENT ON TABLE signal_total IS 'What all processes counted: part 0 is a counter; a distribution has its buckets from 0 and its sum at -1'
;
CREATE TABLE process (
    id         uuid PRIMARY KEY,
    kind       text NOT NULL,
    host       text NOT NULL,
    pid        integer NOT NULL,
    started_at timestamptz NOT NULL DEFAULT now(),
    seen_at    timestamptz NOT NULL DEFAULT now()
)
"""


def upgrade() -> None:
    execute(op.get_bind(), SQL)


def downgrade() -> None:
    raise NotImplementedError("restore a backup: this revision holds the first data")
