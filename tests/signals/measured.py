"""Buckets as processes would have stored them."""

import uuid
from datetime import timedelta

from holdfast.signals import store
from holdfast.signals.buckets import Bucket, Counts, Levels, Spreads
from holdfast.signals.sketch import Sketch

WEB, WORKER = uuid.UUID(int=11), uuid.UUID(int=12)
ALIVE = "process_cpu_ratio"


def key(*labels):
    return "\x1f".join(labels)


def counts(**series):
    return Counts({name.replace("__", "\x1f"): float(value) for name, value in series.items()})


def level(value, *labels):
    return Levels({key(*labels): float(value)})


def spread(values, *labels):
    sketch = Sketch()
    for value in values:
        sketch.observe(value)
    return Spreads({key(*labels): (sketch.total, sketch.bins)})


async def measured(pool, now, name, data, *, ago=2.0, source=WEB):
    """Store a bucket that ended so many seconds ago."""
    await store.add(pool, [], source, [Bucket(name, now - timedelta(seconds=ago), 5, data)])


async def alive(pool, now, kind="worker", *, ago=2.0, source=WORKER):
    await measured(pool, now, ALIVE, level(0.1, kind), ago=ago, source=source)
