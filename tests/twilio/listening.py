"""A stand-in for Twilio's API that answers as it is told, and keeps what it was asked."""

from base64 import b64decode
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

SID, TOKEN = "AC" + "1" * 32, "main-token"
SUB, SUB_TOKEN = "AC" + "2" * 32, "sub-token"


@dataclass
class Asked:
    method: str
    path: str
    query: dict[str, str]
    form: dict[str, str]
    login: str
    password: str


@dataclass
class Listening:
    """`answer(asked)` gives (status, document) or (status, document, headers)."""

    answer: Callable[[Asked], tuple[Any, ...]]
    asked: list[Asked] = field(default_factory=list)
    url: str = ""

    async def __aenter__(self) -> "Listening":
        app = web.Application()
        app.router.add_route("*", "/{rest:.*}", self._serve)
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await site.start()
        host, port = self._runner.addresses[0][:2]
        self.url = f"http://{host}:{port}"
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    async def _serve(self, request: web.Request) -> web.Response:
        form = {key: str(value) for key, value in (await request.post()).items()}
        login, password = b64decode(request.headers["Authorization"].removeprefix("Basic ")).decode().split(":")
        asked = Asked(request.method, request.path, dict(request.query), form, login, password)
        self.asked.append(asked)
        status, document, *headers = self.answer(asked)
        return web.json_response(document, status=status, headers=headers[0] if headers else None)
