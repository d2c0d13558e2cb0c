"""Twilio: its API, status page and Debugger, and what becomes of calls. Each probe returns findings, none raises."""

import time
from collections.abc import Sequence
from datetime import datetime

import aiohttp

from holdfast.config import Settings
from holdfast.db.pool import AWAY, Pool
from holdfast.health import probes, twilio_page
from holdfast.health.model import Finding, Status, judged
from holdfast.twilio import store as accounts
from holdfast.twilio.client import TwilioClient
from holdfast.twilio.model import TwilioApiError
from holdfast.voice import health_store
from holdfast.voice.isolation import isolation
from holdfast.voice.polling import DebuggerPoll

_WORDS = "warn at degraded, partial outage or maintenance, fail at major outage"
_INDICATORS = "warn at minor; fail at major or critical, where our numbers' components are not known to be well"
_CALLS = "warn when some numbers or targets are ill, fail when regions or all are"
_DEBUGGERS = "warn when any account's cannot be asked"
_MISSING = "HOLDFAST_TWILIO_ACCOUNT_SID and HOLDFAST_TWILIO_AUTH_TOKEN are not set"


class TwilioProbe:
    """Without credentials it asks nobody, and everything is unknown."""

    def __init__(self, session: aiohttp.ClientSession, settings: Settings, pool: Pool) -> None:
        self._session = session
        self._settings = settings
        self._pool = pool
        self._asked = 0
        self._poll = DebuggerPoll((settings.public, *settings.former_public_urls))
        self.is_set_up = settings.twilio_account_sid is not None and settings.twilio_auth_token is not None

    async def api(self) -> list[Finding]:
        """Our account, read: the time it took, whether it is active, or why it failed."""
        if not self.is_set_up:
            return [_unknown("api", "s", str(probes.API_SECONDS), _MISSING)]
        began = time.perf_counter()
        limits = str(probes.API_SECONDS)
        try:
            async with TwilioClient.of(self._settings, timeout=probes.PATIENCE, tries=1) as client:
                account = await client.account()
        except TwilioApiError as error:
            refused = error.status is not None and error.status < 500
            status: Status = "warn" if refused else "fail"
            return [Finding("twilio", "api", status, None, "s", limits, _blamed(error))]
        took = time.perf_counter() - began
        if account.status != "active":
            why = f"our account is {account.status} at Twilio: no call and no text goes through"
            return [Finding("twilio", "api", "fail", round(took, 4), "s", limits, why)]
        return [judged("twilio", "api", took, "s", probes.API_SECONDS, why=f"Twilio's API took {took:.1f} s")]

    async def status_page(self) -> list[Finding]:
        """Twilio's own words, overall and of what our numbers depend on. They lag, so this is evidence."""
        if not self.is_set_up:
            return [
                _unknown("statusPage", "indicator", _INDICATORS, _MISSING),
                _unknown("components", "status", _WORDS, _MISSING),
            ]
        try:
            countries = twilio_page.countries_of(await health_store.places(self._pool))
        except AWAY:
            countries = set()  # only what names no country can be said to be ours
        try:
            timeout = aiohttp.ClientTimeout(total=probes.PATIENCE)
            async with self._session.get(self._settings.twilio_status_url, timeout=timeout) as answer:
                answer.raise_for_status()
                page = twilio_page.read(await answer.read(), countries)
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            why = f"the status page could not be read: {type(error).__name__}"
            return [
                _unknown("statusPage", "indicator", _INDICATORS, why),
                _unknown("components", "status", _WORDS, why),
            ]
        overall: Status = "warn" if page.overall == "fail" and page.status == "pass" else page.overall
        said = "; ".join(page.incidents)[:500] if overall != "pass" else ""
        overall_found = Finding("twilio", "statusPage", overall, page.indicator, "indicator", _INDICATORS, said)
        return [overall_found, _components(page, countries)]

    async def calls(self, now: datetime) -> list[Finding]:
        """What we see ourselves: legs, calls and alerts of the last quarter of an hour."""
        try:
            found = await isolation(self._pool, now)
        except AWAY:
            return []  # `database` says so
        statuses: dict[str, Status] = {"all": "fail", "regions": "fail", "numbers": "warn", "targets": "warn"}
        status = statuses.get(found.extent, "pass" if found.extent == "nothing" else "unknown")
        if found.whose == "ours" and status == "unknown":
            status = "warn"
        share = round(found.failed / found.tried, 4) if found.tried else None
        said = "" if status == "pass" else found.said
        return [Finding("twilio", "calls", status, share, "failed legs", _CALLS, said)]

    async def debugger(self, now: datetime) -> int:
        """Fetch what is new in the Debugger; how many alerts. Who cannot be asked is told by `debuggers`."""
        if not self.is_set_up:
            return 0
        known = await accounts.accounts(self._pool)
        async with TwilioClient.of(self._settings, known, tries=2) as client:
            new = await self._poll.tick(self._pool, client, now, [one.sid for one in known])
        self._asked = 1 + len(known)
        return len(new)

    def debuggers(self) -> list[Finding]:
        """Of how many accounts the Debugger could not be asked the last time."""
        if not self._asked:
            why = "it was not asked yet" if self.is_set_up else _MISSING
            return [_unknown("debugger", "accounts", _DEBUGGERS, why)]
        refused = self._poll.refused
        if not refused:
            return [Finding("twilio", "debugger", "pass", 0, "accounts", _DEBUGGERS)]
        account, why = next(iter(refused.items()))
        said = (
            f"the Debugger of {len(refused)} of {self._asked} accounts cannot be asked, such as that of "
            f"{account or 'the main account'}: {why}"
        )
        return [Finding("twilio", "debugger", "warn", len(refused), "accounts", _DEBUGGERS, said)]


def _components(page: twilio_page.Page, countries: Sequence[str] | set[str]) -> Finding:
    if not page.depends:
        why = "the status page names nothing that our numbers are known to depend on"
        return _unknown("components", "status", _WORDS, why)
    said = "; ".join(f"{one.name}: {one.status}" for one in page.ill)[:500]
    worst_word = max((one.status for one in page.ill), key=_badness, default="operational")
    where = ", ".join(sorted(countries)) or "no numbers"
    why = f"{said} (of {len(page.depends)} that we depend on, with numbers in {where})" if said else ""
    return Finding("twilio", "components", page.status, worst_word, "status", _WORDS, why)


def _badness(status: str) -> int:
    order = ("operational", "under_maintenance", "degraded_performance", "partial_outage", "major_outage")
    return order.index(status) if status in order else -1


def _blamed(error: TwilioApiError) -> str:
    if error.status == 401:
        return f"our credentials: {error}; see HOLDFAST_TWILIO_AUTH_TOKEN"
    if error.status == 429:
        return f"our requests are too many: {error}"
    return str(error)


def _unknown(what: str, unit: str, threshold: str, why: str) -> Finding:
    return Finding("twilio", what, "unknown", None, unit, threshold, why)
