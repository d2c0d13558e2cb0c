"""Receivers for drills: merchants' webhook endpoints and mailboxes, and the company's application, on loopback."""

import asyncio
import random
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from types import TracebackType
from typing import Any, Self

from aiohttp import web
from aiosmtpd.smtp import SMTP, Envelope, Session
from standardwebhooks import Webhook, WebhookVerificationError


@dataclass(slots=True)
class Behaviour:
    """How an endpoint behaves now. `failing` is the share of requests it answers 503, `latency` is in seconds."""

    failing: float = 0.0
    latency: float = 0.0
    down: bool = False


class WebhookReceivers:
    """One HTTP server with an endpoint for each name; use as `async with`.

    It checks signatures, remembers every `webhook-id` it took, and counts: accepted, repeated, refused, failed.
    """

    def __init__(self, secrets: Mapping[str, str] | None = None, *, seed: int = 0, host: str = "127.0.0.1") -> None:
        """`secrets`: endpoint name → its signing secret; others are not checked."""
        self.secrets = dict(secrets or {})
        self.behaviours: dict[str, Behaviour] = {}
        self.counts: dict[str, Counter[str]] = {}
        self.taken: dict[str, set[str]] = {}
        self._rng = random.Random(seed)  # noqa: S311 - repeatable, not secret
        self._host = host
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

    def url(self, name: str) -> str:
        return f"http://{self._host}:{self._port}/{name}"

    @property
    def accepted(self) -> int:
        return sum(counts["accepted"] for counts in self.counts.values())

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        name = request.path.strip("/")
        body = await request.read()
        behaviour = self.behaviours.get(name, Behaviour())
        counts = self.counts.setdefault(name, Counter())
        if behaviour.latency:
            await asyncio.sleep(behaviour.latency)
        if behaviour.down or self._rng.random() < behaviour.failing:
            counts["failed"] += 1
            return web.Response(status=503, text="not now")
        try:
            if name in self.secrets:
                Webhook(self.secrets[name]).verify(body, dict(request.headers))
        except WebhookVerificationError:
            counts["refused"] += 1
            return web.Response(status=400, text="bad signature")
        taken, webhook_id = self.taken.setdefault(name, set()), request.headers.get("webhook-id", "")
        counts["repeated" if webhook_id in taken else "accepted"] += 1
        taken.add(webhook_id)
        return web.Response(text="ok")


class Mailboxes:
    """An SMTP server that takes every mail, remembers to whom it went, keeps the last ones; use as `async with`."""

    def __init__(self, *, host: str = "127.0.0.1", keep: int = 1000) -> None:
        self.received: Counter[str] = Counter()
        self.mails: list[bytes] = []
        self.down = False
        """Whether every mail is refused for now."""
        self._host = host
        self._keep = keep
        self._port = 0

    async def __aenter__(self) -> Self:
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: SMTP(self, loop=loop), self._host, 0)
        self._port = int(self._server.sockets[0].getsockname()[1])
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.close()

    @property
    def url(self) -> str:
        return f"smtp://{self._host}:{self._port}"

    def messages(self, to: str | None = None) -> list[EmailMessage]:
        """The mails as they can be read, those to one address or all."""
        found = (message_from_bytes(mail, policy=default) for mail in self.mails)
        return [mail for mail in found if to is None or to in mail["to"]]

    async def handle_DATA(self, _server: Any, _session: Session, envelope: Envelope) -> str:  # noqa: N802 - aiosmtpd's name
        if self.down:
            return "451 not now"
        self.received.update(envelope.rcpt_tos)
        content = envelope.content or b""
        self.mails.append(content if isinstance(content, bytes) else content.encode())
        del self.mails[: -self._keep]
        return "250 OK"
