"""What is for operators, and who is let in."""

import aiohttp
import pytest

from holdfast.api.inside import is_here
from tests.processes import running

TOKEN = "correct-horse-battery-staple"
INSIDE = ("/metrics", "/health/report")
FROM_ELSEWHERE = {"X-Forwarded-For": "203.0.113.7"}


@pytest.mark.parametrize(
    ("peer", "here"),
    [
        ("127.0.0.1", True),
        ("127.8.9.10", True),
        ("::1", True),
        ("::ffff:127.0.0.1", True),
        ("10.0.0.5", False),
        ("::ffff:10.0.0.5", False),
        ("fe80::1%eth0", False),
        ("", False),
    ],
)
def test_only_this_machine_is_here(peer, here):
    assert is_here(peer, {}) is here


@pytest.mark.parametrize("header", ["forwarded", "x-forwarded-for", "x-real-ip", "via"])
def test_what_a_proxy_passes_on_comes_from_elsewhere(header):
    assert not is_here("127.0.0.1", {header: "127.0.0.1"})


async def ask(web, path, **headers):
    async with aiohttp.ClientSession() as session, session.get(web.url + path, headers=headers) as answer:
        return answer.status, answer.headers, await answer.text()


async def test_operators_pages_are_open_here_and_need_the_token_elsewhere(database_url):
    async with running("web", database_url=database_url, api_token=TOKEN) as web:
        await web.answers()
        for path in INSIDE:
            assert (await ask(web, path))[0] in (200, 503)
            status, headers, body = await ask(web, path, **FROM_ELSEWHERE)
            assert (status, headers["WWW-Authenticate"]) == (401, 'Bearer realm="holdfast"')
            assert headers["Content-Type"] == "application/problem+json"
            assert "HOLDFAST_API_TOKEN" in body
            for given, passes in (("Bearer wrong", False), (f"Basic {TOKEN}", False), (f"Bearer {TOKEN}", True)):
                status, _, _ = await ask(web, path, **FROM_ELSEWHERE, Authorization=given)
                assert (status != 401) is passes
        for path in ("/health", "/health/ready"):
            assert (await ask(web, path, **FROM_ELSEWHERE))[0] == 200


async def test_without_a_token_they_are_closed_to_others(database_url):
    async with running("web", database_url=database_url) as web:
        await web.answers()
        status, _, body = await ask(web, "/metrics", **FROM_ELSEWHERE, Authorization="Bearer ")
        assert (status, "set HOLDFAST_API_TOKEN" in body) == (401, True)
        assert (await ask(web, "/metrics"))[0] == 200
