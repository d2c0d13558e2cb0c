"""Actions on the incident itself: its commander, its cause, its end."""

from datetime import timedelta

from holdfast.durations import lasted
from holdfast.incidents import people_store, service, store
from holdfast.runbooks.actions import REGISTRY, Done, NotApplicable, Outcome, Run, Waiting, action
from holdfast.runbooks.working import conclude, is_calm, obstacles
from holdfast.watch import store as watch


@action("incident.assign")
async def assign(run: Run) -> Outcome:
    """See to it that the incident has a commander: whose week it is, else who acknowledges it."""
    incident = await service.get(run.pool, run.incident.id)
    rota = await people_store.rota(run.pool)
    on_call = rota.on_call(run.now) if rota is not None else None
    if incident.commander is not None:
        why = "whose week it is" if on_call is not None and on_call.key == incident.commander else "who took it"
        return Done(f"{incident.commander} commands, {why}", {"commander": incident.commander})
    if on_call is not None:  # the rota was made after the incident was opened
        async with run.pool.acquire() as db, db.transaction():
            await store.set_commander(db, incident.id, on_call.key)
            said = f"{on_call.key} is commander: whose week it is"
            await store.write(db, incident.id, "person", said, actor=run.actor, now=run.now)
        return Done(said, {"commander": on_call.key})
    return NotApplicable("there is no rota: who acknowledges the incident becomes its commander")


@action("incident.acknowledged")
async def acknowledged(run: Run) -> Outcome:
    """Wait until somebody has acknowledged the incident; who does not is passed over along the rota."""
    incident = await service.get(run.pool, run.incident.id)
    if incident.acknowledged_at is None:
        return Waiting("nobody has acknowledged it yet")
    took = incident.acknowledged_at - incident.opened_at
    return Done(f"acknowledged after {lasted(took)}", {"seconds": round(took.total_seconds())})


@action("incident.cause")
async def cause(run: Run) -> Outcome:
    """Say what health_watch takes the cause to be, and by which figures: the provider's fault or ours, spike or not."""
    kept = await watch.by_ids(run.pool, await store.alert_ids(run.pool, run.incident.id))
    if not kept:
        return NotApplicable("it was opened by hand: no alert says what the cause may be")
    worst = next((one for one in kept if one.alert.severity == "critical"), kept[0])
    evidence = {
        one.alert.key: {"cause": one.alert.cause, "why": one.alert.why, "figures": [str(f) for f in one.alert.evidence]}
        for one in kept
    }
    return Done(f"probably {worst.alert.cause}: {worst.alert.why}", evidence)


@action("incident.log")
async def log(run: Run) -> Outcome:
    """See that everything done so far is in the log: every step, lever, message and note writes itself into it."""
    entries = await store.entries(run.pool, run.incident.id)
    kinds: dict[str, int] = {}
    for entry in entries:
        kinds[entry.kind] = kinds.get(entry.kind, 0) + 1
    return Done(f"{len(entries)} entries; each step, lever, message and note writes itself into it", kinds)


@action("incident.calm")
async def calm(run: Run, *, stable: timedelta = timedelta(minutes=2)) -> Outcome:
    """Wait until all alerts of the incident are over, and have been for a while."""
    incident = await service.get(run.pool, run.incident.id)
    if incident.calm_at is None:
        kept = await watch.by_ids(run.pool, await store.alert_ids(run.pool, incident.id))
        if not kept:
            return Waiting(f"opened by hand: say when it is over with `holdfast incidents calm {incident.id}`")
        open_ones = [one.alert for one in kept if one.alert.closed_at is None]
        figures = {one.key: [str(figure) for figure in one.evidence] for one in open_ones}
        return Waiting("still open: " + "; ".join(one.title for one in open_ones), evidence=figures)
    quiet = run.now - incident.calm_at
    if quiet < stable:
        return Waiting(f"over for {lasted(quiet)} of {lasted(stable)}")
    return Done(f"all is calm since {incident.calm_at:%H:%M:%S %Z}", {"calm_at": incident.calm_at})


@action("incident.resolve")
async def resolve(run: Run) -> Outcome:
    """Resolve the incident once nothing stands in the way: no forgotten change, nothing lost, no alert."""
    incident = await service.get(run.pool, run.incident.id)
    if not incident.is_open:
        return Done(f"it is {incident.state}")
    found = await obstacles(run.pool, run.settings, REGISTRY, incident, run.now)
    if found:
        return Waiting("not yet: " + "; ".join(found), evidence={"in the way": found})
    async with run.pool.acquire() as db, db.transaction():
        locked = await store.lock(db, incident.id)
        if locked is not None and locked.is_open:
            if not await is_calm(db, locked):
                return Waiting("not yet: an alert opened just now")
            await conclude(db, locked, actor=run.actor, now=run.now)
    return Done(f"resolved after {lasted(run.now - incident.opened_at)}")
