"""A team chat for drills: incoming webhooks as Slack and Mattermost have them, on loopback."""

import json
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

from aiohttp import web


@dataclass(frozen=True, slots=True)
class Post:
    """What was posted: `text` is what people read, `body` all of it."""

    token: str
    text: str
    body: dict[str, Any]


class TeamChat:
    """An HTTP server that takes what is posted to `/hooks/TOKEN` and keeps it; use as `async with`.

    Source: https://docs.slack.dev/messaging/sending-messages-using-incoming-webhooks and
    https://developers.mattermost.com/integrate/webhooks/incoming/, which take the same JSON: `text`, `attachments`.
    """

    def __init__(self, *, host: str = "127.0.0.1", token: str = "b7rfm0incident4team5chat6") -> None:  # noqa: S107 - of a drill
        self.posts: list[Post] = []
        self.failing = 0
        """So many of the next posts are answered 503."""
        self.down = False
        self.tries = 0
        self._host = host
        self._token = token
        self._port = 0

    async def __aenter__(self) -> Self:
        self._runner = web.ServerRunner(web.Server(self._handle), shutdown_timeout=0.5)
        await self._runner.setup()
        await web.TCPSite(self._runner, self._host, self._port).start()
        self._port = int(self._runner.addresses[0][1])
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._runner.cleanup()

    @property
    def url(self) -> str:
        """The address as Apprise wants it, for HOLDFAST_TEAM_CHANNELS."""
        return f"mmost://{self._host}:{self._port}/{self._token}"

    @property
    def texts(self) -> list[str]:
        return [post.text for post in self.posts]

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        self.tries += 1
        if self.down or self.failing > 0:
            self.failing -= 1
            return web.Response(status=503, text="not now")
        place, _, token = request.path.strip("/").rpartition("/")
        if request.method != "POST" or place != "hooks" or token != self._token:
            return web.Response(status=404, text="no such webhook")
        try:
            body = json.loads(await request.read())
            text = body.get("text") or "\n".join(part.get("text", "") for part in body["attachments"])
        except (ValueError, KeyError, AttributeError):
            return web.Response(status=400, text="invalid_payload")
        self.posts.append(Post(token, text, body))
        return web.Response(text="ok")
