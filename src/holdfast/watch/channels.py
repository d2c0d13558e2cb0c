"""Where alerts go: team channels through Apprise, and webhooks in Alertmanager's format. Each is one small class."""

import hashlib
from collections.abc import Sequence
from datetime import datetime
from typing import Any, Protocol

import aiohttp
from pydantic import SecretStr

from holdfast.watch.model import Alert, Telling

PATIENCE = 10.0
"""Seconds that a webhook may take."""
_OPEN_END = "0001-01-01T00:00:00Z"
_MARKS = {"opened": "ALERT", "still open": "STILL OPEN", "closed": "OVER"}


class NotTold(Exception):  # noqa: N818 - the channel's answer
    """A channel did not take what was told; the message says why, without addresses, which may hold secrets."""


class Channel(Protocol):
    name: str
    """Told apart by it in the store: no address."""

    async def tell(self, told: Sequence[tuple[Telling, Alert]], now: datetime) -> None:
        """Tell of alerts of one runbook, in one message. Raises NotTold."""
        ...


class TeamChannel:
    """Any address that Apprise knows: Slack, Teams, Matrix, mail, ntfy, Pushover … (https://github.com/caronc/apprise)."""

    def __init__(self, number: int, url: str) -> None:
        """Raises ValueError when Apprise does not know such an address."""
        import apprise

        self.name = f"team:{number}"
        self._apprise = apprise.Apprise()
        self._types = {"opened": apprise.NotifyType.FAILURE, "still open": apprise.NotifyType.WARNING}
        self._over = apprise.NotifyType.SUCCESS
        if not self._apprise.add(url):
            raise ValueError(f"address {number} is none that Apprise knows; see https://github.com/caronc/apprise/wiki")

    async def tell(self, told: Sequence[tuple[Telling, Alert]], now: datetime) -> None:
        title, body = message(told, now)
        kind = next((self._types[what] for what, _ in told if what in self._types), self._over)
        # Named as plain text, so that what it says from outside (`<!channel>`, links) is escaped and calls nobody.
        if not await self._apprise.async_notify(title=title, body=body, notify_type=kind, body_format="text"):
            raise NotTold(f"the team channel {self.name} did not take it")


class AlertWebhook:
    """A receiver of Alertmanager's webhooks, version 4.

    Source: https://prometheus.io/docs/alerting/latest/configuration/#webhook_config
    """

    def __init__(self, number: int, url: str, session: aiohttp.ClientSession, public_url: str) -> None:
        self.name = f"webhook:{number}"
        self._url = url
        self._session = session
        self._public = public_url

    async def tell(self, told: Sequence[tuple[Telling, Alert]], now: datetime) -> None:
        timeout = aiohttp.ClientTimeout(total=PATIENCE)
        try:
            async with self._session.post(
                self._url, json=payload(told, now, self._public), timeout=timeout, allow_redirects=False
            ) as answer:
                if answer.status >= 300:
                    raise NotTold(f"the webhook {self.name} answered {answer.status}")
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise NotTold(f"the webhook {self.name}: {type(error).__name__}") from None


def open_channels(
    team: Sequence[SecretStr], webhooks: Sequence[SecretStr], session: aiohttp.ClientSession, public_url: str
) -> list[Channel]:
    """Channels by their addresses. Raises ValueError."""
    return [
        *(TeamChannel(number, url.get_secret_value()) for number, url in enumerate(team, 1)),
        *(AlertWebhook(number, url.get_secret_value(), session, public_url) for number, url in enumerate(webhooks, 1)),
    ]


def message(told: Sequence[tuple[Telling, Alert]], now: datetime) -> tuple[str, str]:
    """Title and text for people: what, since when, how bad, compared to what, probable cause, which runbook."""
    what, first = told[0]
    more = f" (and {len(told) - 1} more)" if len(told) > 1 else ""
    return f"{_MARKS[what]} [{first.severity}] {first.title}{more}", "\n\n".join(_words(*one, now) for one in told)


def _words(what: Telling, alert: Alert, now: datetime) -> str:
    length = _length((alert.closed_at or now) - alert.since)
    state = f"over after {length}" if what == "closed" else f"for {length}"
    lines = [
        f"{alert.title}",
        f"Since {alert.since:%Y-%m-%d %H:%M:%S %Z}, {state}. Severity: {alert.severity}.",
        f"Probable cause: {alert.cause}. {alert.why}",
        *(f"  - {evidence}" for evidence in alert.evidence),
        f"Runbook: {alert.runbook}. Key: {alert.key}",
    ]
    return "\n".join(lines)


def _length(time: Any) -> str:
    minutes, seconds = divmod(int(time.total_seconds()), 60)
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min {seconds} s"


def payload(told: Sequence[tuple[Telling, Alert]], now: datetime, public_url: str) -> dict[str, Any]:
    """Alertmanager's webhook payload, version 4."""
    alerts = [_alert(what, alert, now, public_url) for what, alert in told]
    runbook = told[0][1].runbook
    return {
        "version": "4",
        "groupKey": f'{{}}:{{runbook="{runbook}"}}',
        "truncatedAlerts": 0,
        "status": "firing" if any(alert["status"] == "firing" for alert in alerts) else "resolved",
        "receiver": "holdfast",
        "groupLabels": {"runbook": runbook},
        "commonLabels": _common([alert["labels"] for alert in alerts]),
        "commonAnnotations": _common([alert["annotations"] for alert in alerts]),
        "externalURL": public_url,
        "alerts": alerts,
    }


def _alert(what: Telling, alert: Alert, now: datetime, public_url: str) -> dict[str, Any]:
    ended = alert.closed_at or now if what == "closed" else None
    return {
        "status": "resolved" if what == "closed" else "firing",
        "labels": {
            "alertname": alert.key.replace("/", "_").replace("-", "_"),
            "severity": alert.severity,
            "runbook": alert.runbook,
            "cause": alert.cause,
            "job": "holdfast",
        },
        "annotations": {
            "summary": alert.title,
            "description": " ".join((alert.why, *(f"{evidence}." for evidence in alert.evidence))),
        },
        "startsAt": alert.since.isoformat(),
        "endsAt": ended.isoformat() if ended is not None else _OPEN_END,
        "generatorURL": f"{public_url}/v1/alerts",
        # The same for as long as the alert is open, whatever becomes known of its cause.
        "fingerprint": hashlib.sha256(f"{alert.key} {alert.opened_at.isoformat()}".encode()).hexdigest()[:16],
    }


def _common(many: Sequence[dict[str, str]]) -> dict[str, str]:
    first = many[0]
    return {key: value for key, value in first.items() if all(other.get(key) == value for other in many)}
