"""Actions: the code behind steps. A domain's `actions.py` adds its own, a user's package through an entry point.

An action is an async function that takes a `Run` and its parameters by keyword, and returns an outcome:

    @action("shop.warm_cache")
    async def warm_cache(run: Run, *, pages: int = 100) -> Outcome:
        \"\"\"Fill the shop's cache.\"\"\"
        ...
        return Done(f"{pages} pages are warm")

What changes something also says how to see that it holds, how to undo it, and for how long it may stay. These take the
run, and those of the parameters that they need:

    @action("shop.read_only", expires=timedelta(hours=2))
    async def read_only(run: Run) -> Outcome: ...

    @read_only.verify
    async def _(run: Run) -> bool: ...

    @read_only.undo
    async def _(run: Run) -> str: ...
"""

import inspect
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from importlib.metadata import entry_points
from typing import Annotated, Any, TypeVar, get_type_hints

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError, create_model

from holdfast import durations
from holdfast.config import Settings
from holdfast.db.pool import Pool
from holdfast.incidents.model import Incident

T = TypeVar("T")
PATIENCE = timedelta(seconds=60)
"""How long a run may take unless its action says otherwise; what waits for something returns Waiting instead."""
ENTRY_POINTS = "holdfast.actions"
"""The group of entry points under which a package names the modules that hold its actions."""


class ActionError(Exception):
    """There is no such action, or its parameters are not what it takes; the message says what to write."""


@dataclass(frozen=True, slots=True)
class Done:
    """It is done, or was found. `evidence`: numbers and names that say so, as JSON."""

    said: str
    evidence: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class NotApplicable:
    """There is nothing to do here; `said` is why."""

    said: str
    evidence: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Waiting:
    """Not yet: it is looked at again after `again`. For what takes its time, such as a ramp."""

    said: str
    again: timedelta = timedelta(seconds=5)
    evidence: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Failed:
    """It did not work; `said` is why. It is tried again a few times, then a person is asked."""

    said: str
    evidence: Mapping[str, Any] = field(default_factory=dict)


Outcome = Done | NotApplicable | Waiting | Failed


@dataclass(frozen=True, slots=True)
class Run:
    """What an action is given. `number` counts the runs of an `every` step from 1.

    `text` is what a person wrote for it: the edited message of an `ask` that sends one. `actor` is who approved it, or
    the engine.
    """

    pool: Pool
    settings: Settings
    incident: Incident
    step: str
    number: int
    now: datetime
    actor: str = "holdfast"
    text: str | None = None

    @property
    def key(self) -> str:
        """The same whenever this very run is done again: what it sends under it goes out once."""
        return f"incident-{self.incident.id}/{self.step}/{self.number}"


Function = Callable[..., Awaitable[Outcome]]
Verify = Callable[..., Awaitable[bool]]
Undo = Callable[..., Awaitable[str]]
Draft = Callable[..., Awaitable[str]]
Offer = Callable[..., Awaitable[Outcome | None]]


class Action:
    """One action. `expires` None: it changes nothing that would have to be undone.

    A `proof` shows that nothing was lost: an incident does not resolve before its proofs are done. What a `listed`
    one changes is named by its room's ledger; of others, `verify` is asked. `patience` is how long a run may take.
    What is `owed` to people is chased when it does not come in time, and runs a last time when the incident is over.
    """

    def __init__(
        self,
        name: str,
        function: Function,
        *,
        expires: timedelta | None = None,
        proof: bool = False,
        listed: bool = False,
        patience: timedelta = PATIENCE,
        owed: bool = False,
    ) -> None:
        self.name = name
        self.is_owed = owed
        self.patience = patience
        self.is_proof = proof
        self.is_listed = listed
        self.what = inspect.cleandoc(function.__doc__ or "").partition("\n")[0]
        self.expires = expires
        self.takes = _parameters(function)
        self.run = function
        self.verifies: Verify | None = None
        self.undoes: Undo | None = None
        self.drafts: Draft | None = None
        self.offers: Offer | None = None

    @property
    def changes(self) -> bool:
        return self.expires is not None

    def verify(self, function: Verify) -> Verify:
        """How to see whether what it changed is in force: after a crash this decides whether it runs again."""
        self.verifies = _taking(function)
        return function

    def undo(self, function: Undo) -> Undo:
        """How to take back what it changed; returns what was done, in words."""
        self.undoes = _taking(function)
        return function

    def draft(self, function: Draft) -> Draft:
        """The text it would send, for a person to read and change before an `ask` is answered."""
        self.drafts = _taking(function)
        return function

    def offer(self, function: Offer) -> Offer:
        """Called before a person is asked: an outcome settles the step without asking, None asks."""
        self.offers = _taking(function)
        return function

    def read(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """The parameters as it takes them. Raises ActionError."""
        try:
            model = self.takes.model_validate(dict(given))
        except ValidationError as error:
            raise ActionError("; ".join(self._mistake(dict(one)) for one in error.errors())) from None
        return {name: getattr(model, name) for name in self.takes.model_fields}

    def _mistake(self, item: Mapping[str, Any]) -> str:
        name = ".".join(str(part) for part in item["loc"])
        if item["type"] == "extra_forbidden":
            there = ", ".join(self.takes.model_fields) or "none"
            return f"{self.name} takes no {name!r}; its parameters are: {there}"
        return f"{self.name} {name}: {str(item['msg']).removeprefix('Value error, ')}"

    def lacks(self) -> str | None:
        """What an action that changes something does not say, for whoever wrote it."""
        if not self.changes:
            return None
        missing = [name for name, there in (("verify", self.verifies), ("undo", self.undoes)) if there is None]
        return f"{self.name} changes something but has no {' and no '.join(missing)}" if missing else None


@dataclass(frozen=True, slots=True)
class Mitigation:
    """Something that is not as usual because of an incident: what, by whom, since when, until when, how it ends."""

    what: str
    actor: str
    since: datetime | None
    expires_at: datetime | None
    undo: str


Ledger = Callable[[Pool, int], Awaitable[list[Mitigation]]]


class Registry:
    """The actions by name, and who knows what is off its usual because of an incident."""

    def __init__(self) -> None:
        self.actions: dict[str, Action] = {}
        self.ledgers: list[Ledger] = []

    def action(
        self,
        name: str,
        *,
        expires: timedelta | None = None,
        proof: bool = False,
        listed: bool = False,
        patience: timedelta = PATIENCE,
        owed: bool = False,
    ) -> Callable[[Function], Action]:
        """Add the decorated function under `name`, such as `shop.warm_cache`. Raises ActionError if it is taken."""

        def add(function: Function) -> Action:
            if name in self.actions:
                raise ActionError(f"there are two actions {name!r}")
            self.actions[name] = made = Action(
                name, function, expires=expires, proof=proof, listed=listed, patience=patience, owed=owed
            )
            return made

        return add

    def ledger(self, function: Ledger) -> Ledger:
        """Add somebody who knows what an incident has changed, beside the steps themselves."""
        self.ledgers.append(function)
        return function

    def get(self, name: str) -> Action:
        """Raises ActionError, naming what comes near."""
        found = self.actions.get(name)
        if found is None:
            room = name.partition(".")[0]
            near = [one for one in sorted(self.actions) if one.startswith(f"{room}.")] or sorted(self.actions)
            raise ActionError(f"there is no action {name!r}; there are {', '.join(near)}")
        return found


REGISTRY = Registry()
action = REGISTRY.action


def load_entry_points() -> list[str]:
    """Import the modules that installed packages name; returns what could not be imported, and why."""
    failed = []
    for entry in entry_points(group=ENTRY_POINTS):
        try:
            entry.load()
        except Exception as error:  # noqa: BLE001 - another's package must not keep the product from starting
            failed.append(f"{entry.name} ({entry.value}): {type(error).__name__}: {error}")
    return failed


def _taking(function: Callable[..., Awaitable[T]]) -> Callable[..., Awaitable[T]]:
    """The function, given only those of an action's parameters that it takes."""
    takes = set(inspect.signature(function).parameters)

    def call(run: Run, **parameters: Any) -> Awaitable[T]:
        return function(run, **{name: value for name, value in parameters.items() if name in takes})

    return call


def _duration(value: object) -> object:
    return durations.read(value) if isinstance(value, str) else value


Duration = Annotated[timedelta, BeforeValidator(_duration)]
"""A parameter that is written `90s`, `30m`, `2h`, `1d`."""


def _parameters(function: Function) -> type[BaseModel]:
    """A model of what the function takes by keyword."""
    hints = get_type_hints(function, include_extras=True)
    fields: dict[str, Any] = {}
    for parameter in list(inspect.signature(function).parameters.values())[1:]:
        if parameter.kind is not inspect.Parameter.KEYWORD_ONLY:
            raise ActionError(f"{function.__qualname__}: parameters of an action come by keyword, after a *")
        hint = hints[parameter.name]
        default = ... if parameter.default is inspect.Parameter.empty else parameter.default
        fields[parameter.name] = (Duration if hint is timedelta else hint, default)
    return create_model(f"{function.__qualname__}.parameters", __config__=ConfigDict(extra="forbid"), **fields)
