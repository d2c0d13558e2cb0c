"""A server that is there and does not answer."""

import asyncio
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit


class Hanging:
    """A way to the server that can be made to hang: what comes is taken, and nothing goes on."""

    def __init__(self, url: str, place) -> None:
        found = dict(parse_qsl(urlsplit(url).query))
        name = f".s.PGSQL.{found.get('port', '5432')}"
        self._behind, self._front = Path(found["host"]) / name, place / name
        self.url = url.replace(found["host"], str(place))
        self.open = asyncio.Event()
        self.open.set()
        self._copying: set[asyncio.Task[None]] = set()

    async def __aenter__(self):
        self._front.parent.mkdir(exist_ok=True)
        self._server = await asyncio.start_unix_server(self._connected, self._front)
        return self

    async def __aexit__(self, *_error) -> None:
        self._server.close()
        for task in self._copying:
            task.cancel()
        await asyncio.gather(*self._copying, return_exceptions=True)

    async def _connected(self, reader, writer) -> None:
        behind_reader, behind_writer = await asyncio.open_unix_connection(self._behind)
        for ends in ((reader, behind_writer), (behind_reader, writer)):
            self._copying.add(asyncio.create_task(self._copy(*ends)))

    async def _copy(self, reader, writer) -> None:
        try:
            while data := await reader.read(65536):
                await self.open.wait()
                writer.write(data)
        finally:
            writer.close()
