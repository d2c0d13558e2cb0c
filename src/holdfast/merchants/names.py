"""What merchants and destinations are called, for rooms that know only their ids."""

from collections.abc import Mapping, Sequence

from holdfast.db.pool import Pool
from holdfast.merchants import store


class Names:
    """Looks names up in the store."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def merchant_id(self, key: str) -> int | None:
        found = await store.find(self._pool, key)
        return found.id if found is not None else None

    async def merchant_keys(self, ids: Sequence[int]) -> Mapping[int, str]:
        return await store.keys(self._pool, ids)

    async def has_destination(self, destination_id: int) -> bool:
        return await store.destination(self._pool, destination_id) is not None
