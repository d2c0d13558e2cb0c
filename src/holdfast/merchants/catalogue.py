"""Who is who, in memory: routers and senders look merchants and destinations up for every event."""

from collections.abc import Iterable

from holdfast.merchants import store
from holdfast.merchants.model import BY_MAIL, COMPANY, Destination, Merchant
from holdfast.merchants.store import Executor
from holdfast.patterns import matches

_CACHED = 100_000


class Catalogue:
    """All merchants and destinations as of one version of the tables."""

    def __init__(self) -> None:
        self._version = -1
        self._fill((), ())

    async def refresh(self, db: Executor) -> bool:
        """Read the tables again if they have changed; whether they had."""
        version = await store.version(db)
        if version == self._version:
            return False
        # Read after the version: whatever changes in between is read again at the next refresh.
        self._fill(await store.merchants(db), await store.destinations(db))
        self._version = version
        return True

    @property
    def is_read(self) -> bool:
        """Whether the tables were read at all: before, nobody is known."""
        return self._version >= 0

    def merchant_of(self, account: str | None) -> int:
        """The merchant's id; COMPANY for the platform's own account and for accounts that nobody has."""
        return self._by_account.get(account, COMPANY) if account else COMPANY

    def merchant(self, merchant_id: int) -> Merchant | None:
        return self._merchants.get(merchant_id)

    def id_of(self, key: str) -> int | None:
        """The merchant that is called so outside."""
        return self._by_key.get(key)

    def key_of(self, merchant_id: int) -> str:
        """What a merchant is called outside; its id, if it is not here (yet)."""
        merchant = self.merchant(merchant_id)
        return merchant.key if merchant is not None else str(merchant_id)

    def destination(self, destination_id: int) -> Destination | None:
        return self._destinations.get(destination_id)

    @property
    def has_mailboxes(self) -> bool:
        return self._has_mailboxes

    @property
    def ceilings(self) -> dict[int, int]:
        """Of the destinations that have one of their own."""
        return self._ceilings

    def subscribers(self, merchant_id: int, event_type: str) -> tuple[int, ...]:
        """Ids of the enabled destinations that an event of this merchant goes to, the company's own included."""
        key = (merchant_id, event_type)
        known = self._subscribers.get(key)
        if known is None:
            candidates = [*self._subscriptions.get(COMPANY, ())]
            if merchant_id != COMPANY:
                candidates += self._subscriptions.get(merchant_id, ())
            known = tuple(found.id for found in candidates if matches(found.events, event_type))
            if len(self._subscribers) >= _CACHED:
                self._subscribers.clear()
            self._subscribers[key] = known
        return known

    def _fill(self, merchants: Iterable[Merchant], destinations: Iterable[Destination]) -> None:
        self._merchants = {merchant.id: merchant for merchant in merchants}
        self._by_key = {merchant.key: merchant.id for merchant in self._merchants.values()}
        self._by_account = {m.stripe_account: m.id for m in self._merchants.values() if m.stripe_account}
        self._destinations = {destination.id: destination for destination in destinations}
        self._has_mailboxes = any(found.kind in BY_MAIL for found in self._destinations.values())
        self._ceilings = {found.id: found.ceiling for found in self._destinations.values() if found.ceiling}
        self._subscriptions: dict[int, list[Destination]] = {}
        for destination in self._destinations.values():
            if destination.enabled:
                self._subscriptions.setdefault(destination.merchant_id, []).append(destination)
        self._subscribers: dict[tuple[int, str], tuple[int, ...]] = {}
