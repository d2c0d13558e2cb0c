"""Bodies of texts with placeholders: `Hi {name}, your order {order} is ready.` Names only: nothing in them is run."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from holdfast.db.pool import Connection, Pool
from holdfast.messaging import policy_store as store
from holdfast.messaging.model import MessagingError, UnknownError

LONGEST: Final = 1600
"""Characters of a text that Twilio takes. Source: https://www.twilio.com/docs/api/errors/21617"""
MOST_VARIABLES: Final = 50
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
_PART: Final = re.compile(r"\{\{|\}\}|\{([a-z][a-z0-9_]{0,39})\}|[{}]")


class TemplateError(MessagingError):
    """A template, or what is to be put into it, is not right; the message says where."""


@dataclass(frozen=True, slots=True)
class Template:
    """`merchant_id` 0: of every merchant that has none of that name."""

    merchant_id: int
    name: str
    body: str
    changed_at: datetime
    changed_by: str


def variables(body: str) -> tuple[str, ...]:
    """The names of its placeholders, in order, each once. Raises TemplateError."""
    found: dict[str, None] = {}
    for part in _PART.finditer(body):
        if part[1] is not None:
            found[part[1]] = None
        elif len(part[0]) == 1:
            near = body[max(0, part.start() - 10) : part.start() + 20]
            raise TemplateError(
                f"{near!r}: a placeholder is {{name}}, of small letters, digits and underscores; write a brace that is "
                "none twice, as {{ or }}"
            )
    return tuple(found)


def render(body: str, given: Mapping[str, str]) -> str:
    """The text, with `given` in the places of the names. Raises TemplateError.

    What is put in is text as it is: braces in it are no placeholders.
    """
    wanted = variables(body)
    missing = [name for name in wanted if name not in given]
    if missing:
        raise TemplateError(f"the template needs {', '.join(missing)}, which {_is(missing)} not given")
    unknown = sorted(name for name in given if name not in wanted)
    if unknown:
        has = f"it has {', '.join(wanted)}" if wanted else "it has none"
        raise TemplateError(f"the template has no placeholder {unknown[0][:60]!r}; {has}")

    def put(part: "re.Match[str]") -> str:
        return given[part[1]] if part[1] is not None else part[0][0]

    return checked_body(_PART.sub(put, body))


def checked_body(body: str) -> str:
    """A body that Twilio takes. Raises TemplateError."""
    if not body.strip():
        raise TemplateError("a text has to say something: its body is empty")
    if len(body) > LONGEST:
        raise TemplateError(f"a text has at most {LONGEST} characters; this one has {len(body)}")
    if "\0" in body:
        raise TemplateError("the text has a character that cannot be stored")
    return body


async def find(db: Connection | Pool, merchant_id: int, name: str) -> Template:
    """The merchant's own, else that of every merchant. Raises UnknownError."""
    row = await store.template(db, merchant_id, name)
    if row is None:
        raise UnknownError(f"there is no template {name[:60]!r} for this merchant; `holdfast texts templates list`")
    return Template(**row)


async def listed(db: Connection | Pool, merchant_id: int | None = None) -> list[Template]:
    """Those that a merchant has or may use; None: all."""
    return [Template(**row) for row in await store.templates(db, merchant_id)]


async def put(db: Connection | Pool, merchant_id: int, name: str, body: str, *, by: str) -> bool:
    """Add or replace one; whether it is new. Raises TemplateError."""
    if not _NAME.fullmatch(name):
        raise TemplateError(
            f"{name[:60]!r} is no name of a template: write 1 to 63 small letters, digits, dots, dashes, underscores"
        )
    if len(variables(checked_body(body))) > MOST_VARIABLES:
        raise TemplateError(f"a template has at most {MOST_VARIABLES} placeholders")
    return await store.put_template(db, merchant_id, name, body, by=by)


async def remove(db: Connection | Pool, merchant_id: int, name: str) -> None:
    """Raises UnknownError."""
    if not await store.remove_template(db, merchant_id, name):
        raise UnknownError(f"there is no template {name[:60]!r} of this merchant; `holdfast texts templates list`")


def _is(names: list[str]) -> str:
    return "is" if len(names) == 1 else "are"
