"""Levers."""

from alembic import op

from holdfast.db.migrate import execute

revision = "0003"
down_revision = "0002"

SQL = """
CREATE TABLE lever (
    name        text COLLATE "C" NOT NULL,
    target      text COLLATE "C" NOT NULL,
    value       jsonb NOT NULL,
    actor       text NOT NULL,
    reason      text NOT NULL,
    set_at      timestamptz NOT NULL,
    expires_at  timestamptz,
    incident_id bigint,
    PRIMARY KEY (name, target)
)
;
COMMENT ON TABLE lever IS 'Levers that are off their default; target is empty for everything'
;
CREATE TABLE lever_history (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at          timestamptz NOT NULL,
    what        text NOT NULL CHECK (what IN ('set', 'cleared', 'expired')),
    name        text COLLATE "C" NOT NULL,
    target      text COLLATE "C" NOT NULL,
    value       jsonb,
    before      jsonb,
    actor       text NOT NULL,
    reason      text NOT NULL,
    expires_at  timestamptz,
    incident_id bigint
)
;
COMMENT ON TABLE lever_history IS 'Append-only: every turn of a lever'
"""


def upgrade() -> None:
    execute(op.get_bind(), SQL)


def downgrade() -> None:
    raise NotImplementedError("restore a backup")
