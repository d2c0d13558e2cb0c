"""A person on duty for drills: acknowledges, approves and ticks off what an incident asks for, after some thought."""

from collections.abc import Collection
from datetime import datetime, timedelta

from holdfast.incidents import service, store
from holdfast.incidents.model import OPEN, RefusedError
from holdfast.runbooks import store as steps_store
from holdfast.runbooks.working import Desk


class Operator:
    """Works every open incident. `thinks` is how long after something was asked it is answered, `leaves` are steps that
    are somebody else's.
    """

    def __init__(
        self,
        desk: Desk,
        name: str = "drill",
        *,
        thinks: timedelta = timedelta(seconds=3),
        leaves: Collection[str] = (),
    ) -> None:
        self._desk = desk
        self._leaves = leaves
        self._name = name
        self._thinks = thinks
        self.answered: list[str] = []
        """What was done, in words."""

    async def tick(self, now: datetime) -> None:
        """Do what has been waiting for long enough."""
        for incident in await store.listing(self._desk.pool, states=(*OPEN, "resolved")):
            if incident.state == "detected" and now - incident.opened_at >= self._thinks:
                await service.acknowledge(self._desk.pool, incident.id, actor=self._name, now=now)
                self.answered.append(f"acknowledges incident {incident.id}")
            for step in await steps_store.steps(self._desk.pool, incident.id):
                if step.state != "asking" or step.began_at is None or step.key in self._leaves:
                    continue
                if now - step.began_at < self._thinks:
                    continue
                try:
                    if step.kind == "ask":
                        await self._desk.approve(incident.id, step.key, actor=self._name, now=now)
                        self.answered.append(f"approves: {step.text}")
                    else:
                        note = "done in a drill"
                        await self._desk.done(incident.id, step.key, actor=self._name, note=note, now=now)
                        self.answered.append(f"does: {step.text}")
                except RefusedError:
                    continue  # it was settled meanwhile
