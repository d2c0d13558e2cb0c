"""The status page in memory: told at once, whatever is down.

It is read from the store every few seconds and rendered when it changed, at least once a minute. With the store away
the last page stays, and says since when. A process that starts meanwhile begins with the last snapshot.
"""

import asyncio
import gzip
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import structlog

from holdfast.comms import status_files, status_store
from holdfast.comms.status import DAYS, Status, Update, compose
from holdfast.comms.status_documents import About, documents, feed
from holdfast.comms.status_html import Html
from holdfast.comms.subscribing import is_on
from holdfast.config import Settings
from holdfast.db.pool import AWAY, Pool

log = structlog.get_logger()

EVERY = 3.0
PATIENCE = 5.0
STALE = timedelta(seconds=15)
"""A page that was not read again for so long says so."""
RENDERED = timedelta(minutes=1)
MOST = 5000
"""Updates that are read: years of them."""
MOST_PAGES = 500
"""Pages of single incidents that are kept rendered."""
JSON = "application/json"
HTML = "text/html; charset=utf-8"
ATOM = "application/atom+xml; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Page:
    """A page ready to be sent. `tag` is its ETag."""

    body: bytes
    zipped: bytes
    tag: str
    kind: str


class StatusBoard:
    """What the doors of the status page answer with."""

    def __init__(self, settings: Settings) -> None:
        self.html = Html(can_subscribe=is_on(settings))
        self.directory = status_files.place(settings.data_dir)
        self._name = settings.status_name
        self._url = settings.public
        self._updates: tuple[Update, ...] = ()
        self._read_at: datetime | None = None
        self._pages: dict[str, Page] = {}
        self._incidents: dict[int, Page] = {}
        self._status: Status | None = None
        self._shown: tuple[bool, datetime] | None = None
        self._could_write = True

    @property
    def about(self) -> About:
        return self._about(None)

    def page(self, path: str) -> Page | None:
        """`/status`, `/status/history`, `/status/feed.atom` or `/api/v2/…`; None: not known yet, or there is none."""
        return self._pages.get(path)

    @property
    def is_known(self) -> bool:
        return self._status is not None

    def incident(self, incident_id: int) -> Page | None:
        """A public incident's own page."""
        found = self._incidents.get(incident_id)
        if found is not None or self._status is None or self._shown is None:
            return found
        incident = next((one for one in self._status.incidents if one.id == incident_id), None)
        if incident is None:
            return None
        about = self._about(self._read_at if self._shown[0] else None)
        if len(self._incidents) < MOST_PAGES:
            self._incidents[incident_id] = _page(self.html.incident(incident, about), HTML)
            return self._incidents[incident_id]
        return _page(self.html.incident(incident, about), HTML)

    async def recall(self, now: datetime) -> None:
        """Begin with the last snapshot, if there is a usable one."""
        try:
            found = await asyncio.to_thread(status_files.read_snapshot, self.directory)
        except (OSError, ValueError) as error:
            log.warning("status.no_snapshot", error=str(error)[:200])
            return
        if found is not None and self._read_at is None:
            self._updates, self._read_at = found.updates, found.read_at
            await self._show(now)

    async def tick(self, pool: Pool, *, prepared: bool, now: datetime | None = None) -> None:
        """Read what is published and render it. Raises what `AWAY` lists, after it has said so on the page.

        `prepared`: whether the schema is known to be there; without it nothing is read.
        """
        began = now or datetime.now(UTC)
        if not prepared:
            await self._show(began)
            return
        try:
            async with asyncio.timeout(PATIENCE):
                updates = tuple(await read(pool, began))
        except AWAY:
            await self._show(now or datetime.now(UTC))
            raise
        if updates != self._updates:
            self._updates, self._shown = updates, None
        self._read_at = began
        if await self._show(began):
            await self._write(began)

    async def _show(self, now: datetime) -> bool:
        """Render, if something is different from what is shown; whether it was."""
        if self._read_at is None:
            return False
        is_stale = now - self._read_at > STALE
        if self._shown is not None and self._shown[0] == is_stale and now - self._shown[1] < RENDERED:
            return False
        about = self._about(self._read_at if is_stale else None)
        self._status, self._pages = await asyncio.to_thread(self._render, self._updates, about, now)
        self._incidents = {}
        self._shown = (is_stale, now)
        return True

    def _render(self, updates: Sequence[Update], about: About, now: datetime) -> tuple[Status, dict[str, Page]]:
        status = compose(updates, now)
        pages = {
            "/status": _page(self.html.index(status, about, now), HTML),
            "/status/history": _page(self.html.history(status, about, now), HTML),
            "/status/feed.atom": _page(feed(status, about), ATOM),
        }
        pages |= {f"/api/v2/{path}": _page(body, JSON) for path, body in documents(status, about).items()}
        return status, pages

    async def _write(self, now: datetime) -> None:
        """A disk that is full or read-only costs the files, never the page."""
        assert self._status is not None
        assert self._read_at is not None
        try:
            await asyncio.to_thread(self._files, self._status, self._updates, self._read_at, now)
            self._could_write = True
        except OSError as error:
            if self._could_write:
                log.warning("status.not_written", directory=str(self.directory), error=str(error))
            self._could_write = False

    def _files(self, status: Status, updates: Sequence[Update], read_at: datetime, now: datetime) -> None:
        status_files.write_snapshot(self.directory, updates, read_at)
        status_files.write(self.directory, static_files(self.html, status, self._about(None), now))

    def _about(self, stale_since: datetime | None) -> About:
        return About(self._name, self._url, stale_since)


async def read(pool: Pool, now: datetime) -> list[Update]:
    """What the page shows: open incidents, and those of its days."""
    return await status_store.published(pool, now - timedelta(days=DAYS + 1), MOST)


def static_files(html: Html, status: Status, about: About, now: datetime) -> dict[str, bytes]:
    """The page as files, by their paths, for another host: it stays up when this one is down."""
    return {
        "index.html": html.static_index(status, about, now),
        "feed.atom": feed(status, about),
        **{f"api/v2/{path}": body for path, body in documents(status, about).items()},
    }


async def export(pool: Pool, settings: Settings, directory: Path, now: datetime) -> list[Path]:
    """Write those files; returns where. Raises OSError."""
    board = StatusBoard(settings)
    files = static_files(board.html, compose(await read(pool, now), now), board.about, now)
    await asyncio.to_thread(status_files.write, directory, files)
    return [directory / name for name in files]


def _page(body: bytes, kind: str) -> Page:
    tag = f'W/"{hashlib.sha256(body).hexdigest()[:24]}"'
    return Page(body, gzip.compress(body, 6, mtime=0), tag, kind)
