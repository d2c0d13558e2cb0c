"""Who works on incidents, and whose week it is."""

from collections.abc import Sequence
from datetime import datetime
from typing import get_args

from holdfast.db.pool import Pool
from holdfast.incidents import people_store as store
from holdfast.incidents.model import IncidentError, Person, RefusedError, Role, Rota, UnknownError
from holdfast.naming import KEY, KEY_IS, is_email, is_name

ROLES: tuple[Role, ...] = get_args(Role)
LARGEST_ROTA = 100


async def add(
    pool: Pool, key: str, *, name: str | None = None, email: str | None = None, role: str | None = None
) -> tuple[Person, bool]:
    """Add somebody, or change what is named of them; and whether they are new. Raises IncidentError."""
    if not KEY.fullmatch(key):
        raise IncidentError(f"{key!r} is not a person's key: {KEY_IS}")
    old = await store.person(pool, key)
    name = name if name is not None else old.name if old is not None else key
    email = email if email is not None else old.email if old is not None else None
    role = role if role is not None else old.role if old is not None else "responder"
    if not is_name(name):
        raise IncidentError(f"{key} needs a name of 1 to 200 printable characters")
    if email is not None and not is_email(email):
        raise IncidentError(f"{email!r} is not an e-mail address")
    if role not in ROLES:
        raise IncidentError(f"{role!r} is no role; there are {', '.join(ROLES)}")
    return await store.put(pool, key, name, email, role), old is None


async def remove(pool: Pool, key: str) -> None:
    """Take somebody off the team; what they did stays in the logs. Raises UnknownError, RefusedError."""
    found = await store.person(pool, key)
    if found is None:
        raise _unknown(key)
    if found.position is not None:
        raise RefusedError(f"{key} has weeks in the rota; set it without them first: holdfast rota set …")
    commanded = await store.commands(pool, key)
    if commanded:
        raise RefusedError(
            f"{key} commands incident {commanded[0]}; somebody has to take over first: "
            f"holdfast incidents take {commanded[0]}"
        )
    if not await store.remove(pool, key):
        raise _unknown(key)


async def set_rota(pool: Pool, keys: Sequence[str], handover: datetime) -> Rota:
    """The people whose weeks follow each other, the first from `handover` on. Raises IncidentError, UnknownError."""
    if not keys:
        raise IncidentError("name at least one person, in the order of their weeks")
    if len(keys) > LARGEST_ROTA:
        raise IncidentError(f"a rota has at most {LARGEST_ROTA} people")
    twice = next((key for key in keys if keys.count(key) > 1), None)
    if twice is not None:
        raise IncidentError(f"{twice} is named twice; everybody has one week in turn")
    if handover.tzinfo is None:
        raise IncidentError("say in which time zone the handover is, such as 2026-11-30T09:00+01:00")
    return await store.set_rota(pool, keys, handover)


def _unknown(key: str) -> UnknownError:
    return UnknownError(f"there is nobody called {key!r}; see `holdfast people list`")
