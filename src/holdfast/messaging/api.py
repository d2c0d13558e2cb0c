"""`/v1/messages` and `/v1/messaging`: what became of texts, how merchants text, and their templates.

A text is asked for with `POST /v1/messages`, which is a door of its own.
"""

from collections.abc import Mapping
from dataclasses import asdict
from datetime import datetime, time
from typing import Annotated, Any, get_args

from fastapi import APIRouter, Path, Query, Response
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from holdfast.consent.model import EVERY_MERCHANT
from holdfast.db.pool import Pool
from holdfast.merchants import store as merchants
from holdfast.messaging import policy, templates
from holdfast.messaging import texts_store as store
from holdfast.messaging.meanings import page_of, said_of
from holdfast.messaging.model import WHY, Rule, State, UnknownError
from holdfast.messaging.policy import Policy, PolicyError
from holdfast.messaging.texts_store import Filter

STATES: tuple[State, ...] = get_args(State)
RULES: tuple[Rule, ...] = get_args(Rule)
Id = Annotated[int, Path(ge=1, le=2**62)]
Limit = Annotated[int, Query(ge=1, le=500)]
Cursor = Annotated[str | None, Query(max_length=19, pattern="^[0-9]+$", description="`next` of the page before.")]
MerchantKey = Annotated[str | None, Query(max_length=63, description="Its key.")]
OwnerKey = Annotated[str | None, Query(max_length=63, description="Whose; every merchant's unless given.")]
Key = Annotated[str, Path(max_length=63, description="The merchant's key.")]
To = Annotated[str | None, Query(max_length=20, description="The person's number: +14155550123.")]
Name = Annotated[str, Path(max_length=63)]
Time = Annotated[AwareDatetime | None, Query()]
BY = "api"


class _Given(BaseModel):
    model_config = ConfigDict(extra="forbid")


class Message(BaseModel):
    """A text that somebody asked for, refused ones included."""

    id: int
    merchant: str | None
    customer_id: int
    kind: str
    purpose: str
    to: str | None
    """Null: the person was erased."""
    from_: str | None = Field(alias="from")
    account: str | None
    body: str | None
    """Null: it was refused, or its words are no longer kept."""
    template: str | None
    state: str
    """Ours; `sent`: Twilio has it, and `status` is what became of it then."""
    rule: str
    why: str | None
    """The rule that refused or cancelled it, in words."""
    reason: str | None
    """Why the person is blocked, where that decided."""
    consent_seq: int | None
    suppression_id: int | None
    created_at: datetime
    send_at: datetime
    not_after: datetime | None
    tries: int
    tried_at: datetime | None
    settled_at: datetime | None
    sid: str | None
    status: str | None
    status_at: datetime | None
    error_code: int | None
    error: str | None
    """What the code means."""
    error_page: str | None
    note: str | None


class Messages(BaseModel):
    messages: list[Message]
    next: str | None
    """The cursor of the next page; null at the end."""


class Story(Message):
    """A text with what decided about it, and everything that Twilio told of it, in the order in which it came."""

    consent: dict[str, Any] | None
    suppression: dict[str, Any] | None
    callbacks: list[store.Received]


class PolicyFields(_Given):
    """What is not given, or null, is as for every merchant."""

    opens: str | None = Field(None, max_length=5, description="Marketing goes from 08:00 of the person's time …")
    closes: str | None = Field(None, max_length=5, description="… to 21:00.")
    most_per_day: int | None = Field(None, description="Marketing texts to one person in 24 hours.")
    most_per_week: int | None = Field(None, description="And in 7 days.")
    sender: str | None = Field(None, max_length=40, description="A number of the merchant, or MG…; its first number.")
    brand: str | None = Field(None, max_length=200, description="What people know the merchant as.")
    help_text: str | None = Field(None, max_length=500, description="What HELP is answered with.")
    provider_answers: bool | None = Field(None, description="Whether Twilio itself answers STOP, START and HELP.")


class PolicyShown(BaseModel):
    """`own`: what is set for this one; `in_force`: that, filled up with what holds for every merchant.

    `warnings`: what it does that may not be meant.
    """

    merchant: str | None
    own: PolicyFields
    in_force: PolicyFields
    warnings: list[str]
    changed_at: datetime | None
    changed_by: str | None


class TemplateBody(_Given):
    body: str = Field(max_length=2000, description="With placeholders: Hi {name}, your order is ready.")


class Template(BaseModel):
    """`merchant` null: of every merchant that has none of that name."""

    name: str
    merchant: str | None
    body: str
    variables: list[str]
    changed_at: datetime
    changed_by: str


class Templates(BaseModel):
    templates: list[Template]


def router(pool: Pool) -> APIRouter:
    """Its routes."""
    made = APIRouter(tags=["messages"])
    _messages(made, pool)
    _policies(made, pool)
    _templates(made, pool)
    return made


def _messages(made: APIRouter, pool: Pool) -> None:
    @made.get("/messages")
    async def list_messages(  # noqa: PLR0917 - filters of the query
        merchant: MerchantKey = None,
        to: To = None,
        state: State | None = None,
        rule: Rule | None = None,
        since: Time = None,
        until: Time = None,
        limit: Limit = 50,
        cursor: Cursor = None,
    ) -> Messages:
        """Newest first."""
        owner = await merchant_id(pool, merchant)
        chosen = Filter(owner, to, state, rule, since, until)
        found = await store.messages(pool, chosen, limit=limit + 1, before=int(cursor) if cursor else None)
        keys = await merchants.keys(pool, [one.merchant_id for one in found])
        shown = [Message(**message_document(one, keys)) for one in found[:limit]]
        return Messages(messages=shown, next=str(shown[-1].id) if len(found) > limit else None)

    @made.get("/messages/{id}")
    async def show_message(id: Id) -> Story:  # noqa: A002 - what the address calls it
        """One text: what decided about it, and every callback of it."""
        return Story(**await story_document(pool, id))


def _policies(made: APIRouter, pool: Pool) -> None:
    @made.get("/messaging/policy")
    async def show_general_policy() -> PolicyShown:
        """What holds for every merchant that has nothing else set."""
        return PolicyShown.model_validate(await policy_document(pool, EVERY_MERCHANT, None))

    @made.put("/messaging/policy")
    async def set_general_policy(body: PolicyFields) -> PolicyShown:
        """Change what is given of what holds for every merchant."""
        await policy.change(pool, EVERY_MERCHANT, _changes(body), by=BY)
        return PolicyShown.model_validate(await policy_document(pool, EVERY_MERCHANT, None))

    @made.get("/messaging/policy/{merchant}")
    async def show_policy(merchant: Key) -> PolicyShown:
        """How a merchant texts."""
        return PolicyShown.model_validate(await policy_document(pool, await _owner(pool, merchant), merchant))

    @made.put("/messaging/policy/{merchant}")
    async def set_policy(merchant: Key, body: PolicyFields) -> PolicyShown:
        """Change what is given, from the next text on; null sets it back to what holds for every merchant."""
        owner = await _owner(pool, merchant)
        await policy.change(pool, owner, _changes(body), by=BY)
        return PolicyShown.model_validate(await policy_document(pool, owner, merchant))


def _templates(made: APIRouter, pool: Pool) -> None:
    @made.get("/messaging/templates")
    async def list_templates(merchant: MerchantKey = None) -> Templates:
        """All; or those that a merchant has or may use."""
        chosen = await merchant_id(pool, merchant)
        return Templates(templates=[Template(**one) for one in await template_documents(pool, chosen)])

    @made.put("/messaging/templates/{name}")
    async def put_template(name: Name, body: TemplateBody, response: Response, merchant: OwnerKey = None) -> Template:
        """Add a template (201) or replace it (200), from the next text on."""
        owner = await _owner(pool, merchant)
        is_new = await templates.put(pool, owner, name, body.body, by=BY)
        response.status_code = 201 if is_new else 200
        found = await templates.find(pool, owner, name)
        return Template(**template_document(found, {owner: merchant} if merchant is not None else {}))

    @made.delete("/messaging/templates/{name}", status_code=204)
    async def remove_template(name: Name, merchant: OwnerKey = None) -> None:
        """Remove it; a merchant's own gives way to that of every merchant."""
        owner = await _owner(pool, merchant)
        await templates.remove(pool, owner, name)


async def merchant_id(pool: Pool, key: str | None) -> int | None:
    """Raises UnknownError."""
    return await _owner(pool, key) if key is not None else None


async def _owner(pool: Pool, key: str | None) -> int:
    """None: every merchant. Raises UnknownError."""
    if key is None:
        return EVERY_MERCHANT
    found = await merchants.find(pool, key)
    if found is None:
        raise UnknownError(f"there is no merchant {key!r}")
    return found.id


def _changes(body: PolicyFields) -> dict[str, Any]:
    given: dict[str, Any] = body.model_dump(exclude_unset=True)
    for name in ("opens", "closes"):
        if given.get(name) is not None:
            given[name] = policy.read_time(given[name])
    if not given:
        raise PolicyError("give what is to be changed")
    return given


# Documents, as the commands print them as well


def message_document(message: store.Message, keys: Mapping[int, str]) -> dict[str, Any]:
    """`keys`: what merchants are called, by id."""
    found = asdict(message)
    code = message.error_code
    return found | {
        "merchant": keys.get(found.pop("merchant_id")),
        "from": found.pop("from_"),
        "why": WHY.get(message.rule),
        "error": said_of(code) if code is not None else None,
        "error_page": page_of(code) if code is not None else None,
    }


async def story_document(pool: Pool, message_id: int) -> dict[str, Any]:
    """Raises UnknownError."""
    found = await store.message(pool, message_id)
    if found is None:
        raise UnknownError(f"there is no text {message_id}")
    row, block = await store.decided_by(pool, found)
    callbacks = await store.callbacks(pool, found.sid) if found.sid is not None else []
    ids = [found.merchant_id, *(one.merchant_id for one in (row, block) if one is not None)]
    keys = await merchants.keys(pool, ids)
    return message_document(found, keys) | {
        "consent": _with_merchant(asdict(row), keys) if row is not None else None,
        "suppression": _with_merchant(asdict(block), keys) if block is not None else None,
        "callbacks": [asdict(one) for one in callbacks],
    }


def _with_merchant(found: dict[str, Any], keys: Mapping[int, str]) -> dict[str, Any]:
    """`merchant` null: every one."""
    return found | {"merchant": keys.get(found.pop("merchant_id"))}


async def policy_document(pool: Pool, owner: int, key: str | None) -> dict[str, Any]:
    own, whole = await policy.own(pool, owner), await policy.in_force(pool, owner)
    return {
        "merchant": key,
        "own": _policy(own),
        "in_force": _policy(whole),
        "warnings": policy.warnings(whole),
        "changed_at": own.changed_at,
        "changed_by": own.changed_by,
    }


def _policy(found: Policy) -> dict[str, Any]:
    def written(value: Any) -> Any:
        return f"{value:%H:%M}" if isinstance(value, time) else value

    return {name: written(getattr(found, name)) for name in policy.NAMES}


def template_document(template: templates.Template, keys: Mapping[int, str]) -> dict[str, Any]:
    found = asdict(template)
    return found | {
        "merchant": keys.get(found.pop("merchant_id")),
        "variables": list(templates.variables(template.body)),
    }


async def template_documents(pool: Pool, owner: int | None) -> list[dict[str, Any]]:
    found = await templates.listed(pool, owner)
    keys = await merchants.keys(pool, [one.merchant_id for one in found])
    return [template_document(one, keys) for one in found]
