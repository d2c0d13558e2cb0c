"""What many want stored at once is stored together; and nobody is told more than is known."""

import asyncio
from collections.abc import Sequence

import pytest

from holdfast.db import group_commit
from holdfast.db.group_commit import GroupCommit, NotTakenError


class Store:
    """Takes numbers, a batch at a time once it is let; and keeps what it took."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.lets = asyncio.Event()

    async def take(self, items: Sequence[int]) -> Sequence[int]:
        self.batches.append(list(items))
        await self.lets.wait()
        if 13 in items:
            raise ValueError("13")
        if 99 in items:
            raise ConnectionResetError
        return [2 * item for item in items]


async def test_what_comes_while_others_are_stored_goes_together():
    store = Store()
    commits = GroupCommit(store.take)
    puts = [asyncio.create_task(commits.put(n)) for n in range(10)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    store.lets.set()
    assert await asyncio.gather(*puts) == [2 * n for n in range(10)]
    assert len(store.batches) <= 3


async def test_one_that_is_refused_does_not_take_its_company_down():
    store = Store()
    store.lets.set()
    commits = GroupCommit(store.take)
    found = await asyncio.gather(*(commits.put(n) for n in (12, 13, 14)), return_exceptions=True)
    assert (found[0], found[2]) == (24, 28)
    assert isinstance(found[1], ValueError)


async def test_a_store_that_goes_away_is_not_asked_again_for_each():
    store = Store()
    store.lets.set()
    commits = GroupCommit(store.take)
    found = await asyncio.gather(*(commits.put(n) for n in (98, 99)), return_exceptions=True)
    assert {type(one) for one in found} == {ConnectionResetError}
    assert len(store.batches) == 1


async def test_who_was_told_that_it_was_not_taken_is_right_for_ever():
    store = Store()
    commits = GroupCommit(store.take, patience=0.1, commits=1)
    first = asyncio.create_task(commits.put(1))
    await asyncio.sleep(0.05)
    with pytest.raises(NotTakenError):
        await commits.put(2)
    with pytest.raises(TimeoutError):
        await first
    store.lets.set()
    assert await commits.put(3) == 6
    assert store.batches == [[1], [3]]


async def test_two_that_belong_apart_are_not_stored_together():
    store = Store()
    store.lets.set()
    commits = GroupCommit(store.take, apart=lambda item: item % 2 or None)
    assert await asyncio.gather(*(commits.put(n) for n in (1, 2, 3, 4))) == [2, 4, 6, 8]
    assert all(sum(item % 2 for item in batch) < 2 for batch in store.batches)


async def test_too_many_are_sent_away_at_once(monkeypatch):
    monkeypatch.setattr(group_commit, "MOST_WAITING", 2)
    store = Store()
    commits = GroupCommit(store.take, patience=0.1)
    found = await asyncio.gather(*(commits.put(n) for n in range(3)), return_exceptions=True)
    assert isinstance(found[2], NotTakenError)
