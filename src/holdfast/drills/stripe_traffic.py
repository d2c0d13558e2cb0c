"""Mixed Stripe traffic of many accounts: stories under way at the same time, their events interleaved."""

from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass, fields

from holdfast.drills import stripe_stories as stories
from holdfast.drills.stripe_objects import Json, ObjectMaker
from holdfast.drills.stripe_stories import Narrator, StoryClock


@dataclass(frozen=True, slots=True)
class Mix:
    """How often each story begins, as weights. Stories have different lengths, so these are not shares of events."""

    payment: float = 40
    failed_payment: float = 8
    checkout: float = 10
    invoice: float = 8
    payout: float = 3
    transfer: float = 3
    noise: float = 80
    meter_errors: float = 0


class Traffic:
    """An endless iterator of events of `accounts` (the platform alone when there are none).

    `open_stories` is how many stories are under way at once: the more, the further apart the events of one payment.
    Transfers are the platform's own events; everything else happens on a connected account.
    """

    def __init__(
        self,
        maker: ObjectMaker,
        clock: StoryClock,
        accounts: Sequence[str] = (),
        mix: Mix | None = None,
        open_stories: int = 32,
    ) -> None:
        self._maker = maker
        self._clock = clock
        self._accounts = tuple(accounts)
        weights = astuple(mix or Mix())
        if min(weights) < 0 or sum(weights) <= 0:
            raise ValueError(f"a mix needs weights of at least 0 and one above it, not {weights}")
        self._weights = weights
        self._open: list[Iterator[Json]] = [iter(()) for _ in range(max(1, open_stories))]

    def __iter__(self) -> Iterator[Json]:
        return self

    def __next__(self) -> Json:
        slot = self._maker.rng.randrange(len(self._open))
        while (event := next(self._open[slot], None)) is None:
            self._open[slot] = self._begin()
        return event

    def _begin(self) -> Iterator[Json]:
        rng = self._maker.rng
        name = rng.choices(_STORIES, self._weights)[0]
        account = rng.choice(self._accounts) if self._accounts else None
        if name == "transfer":
            destination = account or self._maker.new_id("account")
            return stories.transfer(Narrator(self._maker, self._clock), destination)
        story: Iterator[Json] = getattr(stories, name)(Narrator(self._maker, self._clock, account))
        return story


_STORIES = tuple(field.name for field in fields(Mix))
