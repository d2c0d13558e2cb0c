"""Deliveries go to public addresses, and to those networks that the operator allowed."""

import socket
from ipaddress import ip_address, ip_network

import pytest
from aiohttp.abc import AbstractResolver
from hypothesis import given
from hypothesis import strategies as st

from holdfast.delivery.addresses import AddressRefused, GuardedResolver, check_url, reachable


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com/hooks",
        "http://example.com:8443/hooks?token=1",
        "https://93.184.215.14/",
        "https://[2606:4700:4700::1111]/",
        "https://[64:ff9b::808:808]/",  # NAT64 of 8.8.8.8
        "https://bücher.example/",
        "https://localhost.example.com/",
    ],
)
def test_public_destinations_are_fine(url):
    check_url(url, ())


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.1",
        "2130706433",
        "0x7f.1",
        "0x7f000001",
        "0177.0.0.1",
        "017700000001",
        "127.0.0.1.",
        "①②⑦.0.0.1",
        "0.0.0.0",
        "10.0.0.1",
        "172.16.5.4",
        "192.168.1.1",
        "169.254.169.254",
        "100.64.0.1",
        "192.0.2.1",
        "198.18.0.1",
        "192.88.99.1",
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
        "[::]",
        "[::1]",
        "[::127.0.0.1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:a9fe:a9fe]",
        "[64:ff9b::7f00:1]",
        "[64:ff9b:1::7f00:1]",
        "[2002:7f00:1::]",
        "[2001:0:7f00:1::]",
        "[2001:db8::1]",
        "[fe80::1]",
        "[fe80::1%25eth0]",
        "[fc00::1]",
        "[fd00:ec2::254]",
        "[fec0::1]",
        "[ff02::1]",
        "localhost",
        "LOCALHOST.",
        "printer.localhost",
    ],
)
def test_addresses_that_are_not_public_are_refused(host):
    with pytest.raises(AddressRefused):
        check_url(f"http://{host}/", ())


@pytest.mark.parametrize(
    "url",
    [
        "ftp://example.com/",
        "file:///etc/passwd",
        "//example.com/",
        "example.com",
        "",
        "https://",
        "https:///hooks",
        "https://user@example.com/",
        "https://user:pass@example.com/",
        "https://@example.com/",
        "https://example.com\\@127.0.0.1/",
        "https://example.com/ hooks",
        "https://example.com/\r\nhost: internal",
        "https://example.com:99999/",
        "https://example.com:port/",
        "https://[::1/",
    ],
)
def test_urls_that_are_not_a_plain_web_address_are_refused(url):
    with pytest.raises(AddressRefused):
        check_url(url, ())


def test_http_can_be_ruled_out():
    check_url("https://example.com/", (), https_only=True)
    with pytest.raises(AddressRefused, match="use https"):
        check_url("http://example.com/", (), https_only=True)


def test_the_message_says_how_to_allow_it():
    with pytest.raises(AddressRefused, match=r"10\.1\.2\.3 .*HOLDFAST_ALLOWED_NETWORKS.*10\.1\.2\.3/32"):
        check_url("http://10.1.2.3/", ())


def test_the_message_does_not_repeat_a_password():
    with pytest.raises(AddressRefused) as refused:
        check_url("https://user:hunter2@example.com/", ())
    assert "hunter2" not in str(refused.value)


def test_allowed_networks_are_reachable_in_every_spelling():
    allowed = (ip_network("10.1.0.0/16"), ip_network("127.0.0.0/8"))
    for host in ("10.1.2.3", "[::ffff:10.1.2.3]", "167838211", "localhost", "127.0.0.1"):
        check_url(f"http://{host}/", allowed)
    with pytest.raises(AddressRefused):
        check_url("http://10.2.0.1/", allowed)


@given(st.integers(0, 2**32 - 1))
def test_an_ipv4_address_within_ipv6_is_no_way_around(number):
    plain = ip_address(number)
    for wrapped in (ip_address(f"::ffff:{plain}"), ip_address((0x64FF9B << 96) | number)):
        assert reachable(wrapped, ()) == reachable(plain, ())


class Names(AbstractResolver):
    """A name server that says whatever the test wants."""

    def __init__(self, *addresses: str) -> None:
        self.addresses = addresses
        self.closed = False

    async def resolve(self, host, port=0, family=socket.AF_INET):
        return [
            {"hostname": host, "host": address, "port": port, "family": family, "proto": 0, "flags": 0}
            for address in self.addresses
        ]

    async def close(self):
        self.closed = True


async def test_a_name_that_points_into_our_network_is_refused_when_it_is_resolved():
    with pytest.raises(AddressRefused, match=r"evil\.example \(169\.254\.169\.254\)"):
        await GuardedResolver((), Names("169.254.169.254", "::1")).resolve("evil.example", 80)


async def test_of_mixed_answers_only_the_public_ones_are_connected_to():
    found = await GuardedResolver((), Names("127.0.0.1", "93.184.215.14")).resolve("mixed.example", 80)
    assert [result["host"] for result in found] == ["93.184.215.14"]


async def test_names_may_point_to_allowed_networks():
    found = await GuardedResolver((ip_network("10.0.0.0/8"),), Names("10.9.8.7")).resolve("app.internal", 80)
    assert [result["host"] for result in found] == ["10.9.8.7"]


async def test_a_name_without_addresses_is_an_ordinary_failure_to_resolve():
    with pytest.raises(OSError, match="no address"):
        await GuardedResolver((), Names()).resolve("nowhere.example", 80)


async def test_closing_closes_what_it_wraps():
    names = Names()
    await GuardedResolver((), names).close()
    assert names.closed
