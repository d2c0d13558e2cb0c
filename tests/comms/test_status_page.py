"""The doors of the status page: what people, programs and feed readers get."""

import base64
import hashlib
import re
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from itertools import pairwise
from xml.etree import ElementTree

import aiohttp
import pytest
from aiohttp import web

from holdfast.comms import publishing
from holdfast.comms.status import COMPONENTS
from holdfast.comms.status_board import StatusBoard
from holdfast.config import Settings
from holdfast.health.probes import StripeProbe, read_status_page
from tests.comms.incidents import moved, opened
from tests.comms.pages import shown

ATOM = "{http://www.w3.org/2005/Atom}"
PATHS = ("/status", "/status/history", "/status/feed.atom", "/api/v2/summary.json", "/api/v2/incidents.json")
MINUTE = timedelta(minutes=1)


def now():
    return datetime.now(UTC)


@pytest.fixture
async def public(pool, board):
    """An open incident that is public, with a title that needs care, and a private one."""
    await opened(pool, "webhook-backlog", now=now())
    incident = await opened(pool, now=now())
    await publishing.publish(
        pool, incident, "k1", "investigating", "Slow <b>&\nsecond line", title='"Late" <events> & more', now=now()
    )
    await publishing.publish(pool, incident, "k2", "identified", "Found.", now=now())
    await board.tick(pool, prepared=True)
    return incident


class Page(HTMLParser):
    """A page's tags and text; it complains of tags that are not closed."""

    VOID = frozenset(("meta", "link", "input", "br"))

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words = ""
        self.open: list[str] = []
        self.feed(text)
        self.close()
        assert not self.open, self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, tag

    def handle_data(self, data):
        if self.open and self.open[-1] != "style":
            self.words += data


async def test_the_page_says_what_is_open_and_how_components_are(visit, board, public):
    async with visit(board) as client:
        answer = await client.get("/status")
    page = Page(answer.text)
    for words in (
        "Some of our service is degraded",
        '"Late" <events> & more',
        "Slow <b>&\nsecond line",
        "Degraded performance",
        "Acme & Co status",
    ):
        assert words in page.words
    assert {tag for tag, _ in page.tags} & {"script", "iframe", "img"} == set()
    assert len([1 for tag, _ in page.tags if tag == "rect"]) == len(COMPONENTS) * 90


async def test_pages_are_accessible_in_form(visit, board, public):
    async with visit(board) as client:
        for path in ("/status", "/status/history", f"/status/incidents/{public.id}", "/status/confirm/x.y"):
            page = Page((await client.get(path)).text)
            tags = [tag for tag, _ in page.tags]
            assert page.tags[0] == ("html", {"lang": "en"})
            assert (tags.count("h1"), tags.count("main"), tags.count("title") >= 1) == (1, 1, True)
            levels = [int(tag[1]) for tag in tags if re.fullmatch("h[1-6]", tag)]
            assert all(below - above <= 1 for above, below in pairwise(levels))
            assert all(attributes.get("aria-label") for tag, attributes in page.tags if tag == "svg")
            assert not any("style" in attributes for _, attributes in page.tags)


async def test_the_policy_allows_the_one_style_sheet_and_nothing_else(visit, board, public):
    async with visit(board) as client:
        answer = await client.get("/status")
    policy = answer.headers["content-security-policy"]
    (style,) = re.findall("<style>(.*?)</style>", answer.text, re.S)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    assert policy == (
        f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
    )
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "set-cookie" not in answer.headers


async def test_nothing_internal_is_on_any_page(visit, board, public):
    async with visit(board) as client:
        for path in (*PATHS, f"/status/incidents/{public.id}", "/api/v2/components.json"):
            answer = await client.get(path)
            assert answer.status_code == 200, path
            assert "secret" not in answer.text.lower()
            assert "worker-7" not in answer.text


async def test_a_private_incident_has_no_page(visit, board, public):
    async with visit(board) as client:
        assert (await client.get(f"/status/incidents/{public.id}")).status_code == 200
        for number in (public.id - 1, public.id + 1, "x", "-1", "9" * 30, "²"):
            assert (await client.get(f"/status/incidents/{number}")).status_code == 404


async def test_a_page_that_did_not_change_is_not_sent_again(visit, board, public):
    async with visit(board) as client:
        for path in PATHS:
            first = await client.get(path)
            tag = first.headers["etag"]
            assert "max-age=5" in first.headers["cache-control"]
            for known in (tag, tag.removeprefix("W/"), f'"other", {tag}', "*"):
                again = await client.get(path, headers={"if-none-match": known})
                assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", tag)
            assert (await client.get(path, headers={"if-none-match": '"other"'})).status_code == 200


async def test_pages_are_compressed_for_those_who_take_it(visit, board, public):
    async with visit(board) as client:
        zipped = await client.get("/status", headers={"accept-encoding": "br, gzip;q=0.8"})
        plain = await client.get("/status", headers={"accept-encoding": "gzip;q=0, identity"})
    assert (zipped.headers.get("content-encoding"), plain.headers.get("content-encoding")) == ("gzip", None)
    assert zipped.text == plain.text
    assert int(zipped.headers["content-length"]) * 4 < int(plain.headers["content-length"])


async def test_programs_of_other_sites_may_read_the_json(visit, board, public):
    async with visit(board) as client:
        answer = await client.get("/api/v2/summary.json")
        asked = await client.request("OPTIONS", "/api/v2/summary.json")
        assert (await client.head("/api/v2/summary.json")).status_code == 200
        assert (await client.post("/api/v2/summary.json")).status_code == 405
    assert answer.headers["access-control-allow-origin"] == asked.headers["access-control-allow-origin"] == "*"
    assert asked.status_code == 204


async def test_the_json_has_statuspages_form(visit, board, public):
    async with visit(board) as client:
        summary = (await client.get("/api/v2/summary.json")).json()
        found = {
            name: (await client.get(f"/api/v2/{name}.json")).json()
            for name in ("status", "components", "incidents", "incidents/unresolved")
        }
    assert list(summary) == ["page", "components", "incidents", "scheduled_maintenances", "status"]
    assert summary["status"] == {"indicator": "minor", "description": "Minor Service Outage"}
    assert found["status"] == {"page": summary["page"], "status": summary["status"]}
    assert found["components"]["components"] == summary["components"]
    assert found["incidents/unresolved"]["incidents"] == summary["incidents"] == found["incidents"]["incidents"]
    assert {one["id"]: one["status"] for one in summary["components"]} == {
        "calls": "operational",
        "payments": "degraded_performance",
        "notifications": "operational",
        "api": "operational",
    }
    (incident,) = summary["incidents"]
    assert (incident["status"], incident["impact"], incident["resolved_at"]) == ("identified", "minor", None)
    assert [one["status"] for one in incident["incident_updates"]] == ["identified", "investigating"]
    assert incident["incident_updates"][1]["affected_components"] == [
        {
            "code": "payments",
            "name": "Payments",
            "old_status": "operational",
            "new_status": "degraded_performance",
        }
    ]
    assert incident["shortlink"] == f"https://status.example/status/incidents/{public.id}"


@pytest.mark.parametrize(
    ("impact", "status"), [("none", "pass"), ("minor", "warn"), ("major", "fail"), ("critical", "fail")]
)
async def test_our_own_probe_of_status_pages_reads_ours(pool, board, impact, status):
    incident = await opened(pool, "unknown-matter", now=now())
    if impact != "none":
        await publishing.publish(pool, incident, "k1", "investigating", "We look.", impact=impact, now=now())
    await board.tick(pool, prepared=True)
    summary = shown(board, "/api/v2/summary.json").body
    assert read_status_page(summary)[:2] == (status, impact)

    async def answer(_request):
        return web.Response(body=summary)

    runner = web.ServerRunner(web.Server(answer))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        async with aiohttp.ClientSession() as session:
            address = f"http://127.0.0.1:{runner.addresses[0][1]}/api/v2/summary.json"
            (finding,) = await StripeProbe(session, "http://127.0.0.1:9", None, address).status_page()
    finally:
        await runner.cleanup()
    assert (finding.status, finding.observed) == (status, impact)


async def test_the_feed_has_what_atom_requires(visit, board, pool, public):
    async with visit(board) as client:
        answer = await client.get("/status/feed.atom")
    assert answer.headers["content-type"] == "application/atom+xml; charset=utf-8"
    feed = ElementTree.fromstring(answer.content)
    assert feed.tag == f"{ATOM}feed"
    assert_atom(feed, ("id", "title", "updated"))
    assert feed.findtext(f"{ATOM}author/{ATOM}name") == "Acme & Co"
    links = {link.get("rel"): link.get("href") for link in feed.findall(f"{ATOM}link")}
    assert links == {"self": "https://status.example/status/feed.atom", "alternate": "https://status.example/status"}
    (entry,) = feed.findall(f"{ATOM}entry")
    assert_atom(entry, ("id", "title", "updated"))
    assert entry.findtext(f"{ATOM}title") == '"Late" <events> & more'
    assert [content.get("type") for content in entry.findall(f"{ATOM}content")] == ["text"]
    text = entry.findtext(f"{ATOM}content") or ""
    assert text.index("Found.") < text.index("Slow <b>&\nsecond line")


async def test_a_feed_without_incidents_is_one_and_does_not_change(visit, board, pool):
    await board.tick(pool, prepared=True)
    first = shown(board, "/status/feed.atom")
    await board.tick(pool, prepared=True, now=now() + 5 * MINUTE)
    assert shown(board, "/status/feed.atom").tag == first.tag
    feed = ElementTree.fromstring(first.body)
    assert_atom(feed, ("id", "title", "updated"))
    assert feed.findall(f"{ATOM}entry") == []


def assert_atom(element, names):
    """Each exactly once and not empty; ids are URIs, times are RFC 3339. Source: RFC 4287 section 4.1"""
    for name in names:
        (found,) = element.findall(f"{ATOM}{name}")
        assert (found.text or "").strip()
    assert re.fullmatch(r"tag:[^ ]+,\d{4}:[^ ]+", element.findtext(f"{ATOM}id"))
    assert datetime.fromisoformat(element.findtext(f"{ATOM}updated")).tzinfo is not None


async def test_a_resolved_incident_is_in_the_past_and_in_the_history(visit, board, pool, public):
    await publishing.follow(pool, await moved(pool, public, "resolved", now()), "f", now=now())
    await board.tick(pool, prepared=True)
    async with visit(board) as client:
        page = Page((await client.get("/status")).text)
        history = Page((await client.get("/status/history")).text)
        summary = (await client.get("/api/v2/summary.json")).json()
        listed = (await client.get("/api/v2/incidents.json")).json()
    assert "All systems operational" in page.words
    assert "Open incidents" not in page.words
    assert "This is resolved" in page.words
    assert '"Late" <events> & more' in history.words
    assert (summary["incidents"], summary["status"]["indicator"]) == ([], "none")
    assert (listed["incidents"][0]["status"], listed["incidents"][0]["impact"]) == ("resolved", "minor")
    assert listed["incidents"][0]["resolved_at"] is not None


async def test_without_a_mail_server_there_is_no_form_and_no_door(pool, page_settings):
    quiet = Settings(data_dir=page_settings.data_dir, public_url=page_settings.public_url)
    silent = StatusBoard(quiet)
    await silent.tick(pool, prepared=True)
    assert b"<form" not in shown(silent).body
    with_mail = StatusBoard(page_settings)
    await with_mail.tick(pool, prepared=True)
    assert b'<form class="card" method="post" action="/status/subscribe">' in shown(with_mail).body


async def test_before_anything_is_known_the_doors_say_so(visit, board):
    async with visit(board) as client:
        for path in ("/status", "/status/incidents/1", "/api/v2/summary.json"):
            answer = await client.get(path)
            assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
            assert answer.headers["cache-control"] == "no-store"
