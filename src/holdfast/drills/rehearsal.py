"""Makes incidents short enough to watch: the shipped runbooks with shorter waits, and a `health_watch` less patient."""

import re
from pathlib import Path

from holdfast.runbooks.library import SHIPPED

SHORTER = (
    (r"cadence: \d+[mh]", "cadence: 10s"),
    (r"stable=\d+m", "stable=4s"),
    (r"hold=\d+m", "hold=2s"),
    (r"look=\d+m", "look=10s"),
    (r"window=\d+m", "window=8s"),
    (r"settle=\d+m", "settle=5s"),
    (r"delay=5m", "delay=1s"),
    (r"patience=30m", "patience=15s"),
    (r"every 1m", "every 2s"),
    (r"every 5m", "every 4s"),
)
WATCH = """\
# How soon health_watch speaks up in a rehearsal. As shipped, it is slower to alarm, and to call it over.
[watch]
closes_after = 12
group_wait = 1
[webhook-backlog]
critical = 6
standard = 12
restart = 10
delivered = 8
[stripe-retry-storm]
many = 0.30
[consent-complaint]
lately = 20
[performance-degradation]
# The machine may be as busy as it likes.
cpu = 1.0
pressure = 10.0
loop_lag = 60.0
round_trip = 10.0
answers = 60.0
"""


def prepare(directory: Path) -> tuple[Path, Path]:
    """Write runbooks and settings of `health_watch` into a directory; returns where each is."""
    runbooks, watch = directory / "runbooks", directory / "watch.toml"
    runbooks.mkdir(parents=True, exist_ok=True)
    for file in SHIPPED.glob("*-*.md"):
        text = file.read_text(encoding="utf-8")
        for pattern, instead in SHORTER:
            text = re.sub(pattern, instead, text)
        (runbooks / file.name).write_text(text, encoding="utf-8")
    watch.write_text(WATCH, encoding="utf-8")
    return runbooks, watch
