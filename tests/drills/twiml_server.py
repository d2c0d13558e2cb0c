"""A server of ours on a real socket, as Twilio sees it: keeps what it is asked, answers with the TwiML it is told."""

import asyncio
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Self, TypeAlias

from aiohttp import web
from twilio.request_validator import RequestValidator  # type: ignore[import-untyped, unused-ignore]
from twilio.twiml import TwiML  # type: ignore[import-untyped, unused-ignore]

from holdfast.drills.twilio import DEFAULT_AUTH_TOKEN


@dataclass(frozen=True)
class Asked:
    """A request: `url` is the whole address, as a signature covers it."""

    method: str
    path: str
    url: str
    params: dict[str, str]
    headers: dict[str, str]
    body: str

    def is_signed(self, secret: str = DEFAULT_AUTH_TOKEN, algorithm: str | None = None) -> bool:
        form = self.params if self.method == "POST" else {}
        signature = self.headers["X-Twilio-Signature"]
        return bool(RequestValidator(secret).validate(self.url, form, signature, algorithm))


Answer: TypeAlias = TwiML | str | int | web.Response
Script: TypeAlias = Answer | Callable[[Asked], Answer]


@dataclass
class TwimlServer:
    """`answers` maps a path to what it answers: TwiML, XML text, an HTTP status, or a function that makes one of these.

    Paths that are not in it answer 204. `delays` are seconds that a path waits first.
    """

    answers: dict[str, Script] = field(default_factory=dict)
    delays: dict[str, float] = field(default_factory=dict)
    asked: list[Asked] = field(default_factory=list)
    base: str = ""

    async def __aenter__(self) -> Self:
        self._arrived = asyncio.Event()
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._take)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        host, port = self._runner.addresses[0][:2]
        self.base = f"http://{host}:{port}"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    def at(self, path: str) -> list[dict[str, str]]:
        """The parameters of all requests to a path."""
        return [asked.params for asked in self.asked if asked.path == path]

    def by_path(self) -> dict[str, list[Asked]]:
        found = defaultdict(list)
        for asked in self.asked:
            found[asked.path].append(asked)
        return found

    async def arrives(self, path: str, number: int = 1) -> None:
        """Wait until a path was asked so many times."""
        while len(self.at(path)) < number:
            self._arrived.clear()
            await self._arrived.wait()

    async def _take(self, request: web.Request) -> web.Response:
        text = await request.text()
        form = await request.post() if request.content_type == "application/x-www-form-urlencoded" else {}
        params = {name: str(value) for name, value in (form or dict(request.query)).items()}
        url = f"{self.base}{request.path_qs}"
        asked = Asked(request.method, request.path, url, params, dict(request.headers), text)
        self.asked.append(asked)
        self._arrived.set()
        await asyncio.sleep(self.delays.get(request.path, 0))
        script = self.answers.get(request.path, 204)
        answer = script(asked) if callable(script) and not isinstance(script, TwiML) else script
        if isinstance(answer, web.Response):
            return answer
        if isinstance(answer, int):
            return web.Response(status=answer)
        return web.Response(text=str(answer), content_type="text/xml")
