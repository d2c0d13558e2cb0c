"""Where deliveries may go: merchants choose the URLs, so that none may reach into our own network (SSRF).

Source: OWASP, Server-Side Request Forgery Prevention Cheat Sheet; IANA special-purpose address registries
(RFC 6890); RFC 6052 (NAT64), RFC 3056 (6to4), RFC 4291 section 2.5.5 (IPv4-mapped).
"""

import re
import socket
from collections.abc import Iterator, Sequence
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from urllib.parse import urlsplit

from aiohttp.abc import AbstractResolver, ResolveResult
from aiohttp.resolver import DefaultResolver
from yarl import URL

from holdfast.delivery.model import DeliveryError

Network = IPv4Network | IPv6Network
Address = IPv4Address | IPv6Address

_LOOPBACKS: tuple[Address, ...] = (IPv4Address("127.0.0.1"), IPv6Address("::1"))
_NAT64 = IPv6Network("64:ff9b::/96")
_GLOBAL_UNICAST = IPv6Network("2000::/3")
# Python's own tables differ between patch releases: what matters is named here as well.
_NOT_PUBLIC: tuple[Network, ...] = tuple(
    ip_network(text)
    for text in (
        "192.88.99.0/24",  # 6to4 relays
        "2001::/23",  # protocol assignments, with Teredo, which tunnels to an IPv4 address
        "2001:db8::/32",
        "3fff::/20",
    )
)
_UNSAFE = re.compile(r"[\x00-\x20\x7f\\]")


class AddressRefused(DeliveryError):  # noqa: N818 reads as what happened
    """An address that deliveries may not go to; the message says why and how to allow it."""


class NameRefused(AddressRefused):
    """A name that leads, for now, to an address that deliveries may not go to: name servers fail and are mended."""


def check_url(url: str, allowed: Sequence[Network], *, https_only: bool = False) -> None:
    """Refuse a URL that cannot be a public destination; look no name up. Raises AddressRefused.

    `allowed` are networks that are ours to reach although they are not public. Names are checked when they are
    resolved (`GuardedResolver`); literal addresses are not resolved, so this runs before every send.
    """
    parsed = _parsed(url)
    schemes = ("https",) if https_only else ("http", "https")
    if parsed.scheme not in schemes:
        raise AddressRefused(f"the URL's scheme is {parsed.scheme or 'missing'}; use {' or '.join(schemes)}")
    if "@" in urlsplit(url).netloc or parsed.user is not None or parsed.password is not None:
        raise AddressRefused("the URL contains a user name or password; use the signing secret instead")
    host = (parsed.raw_host or "").rstrip(".").lower()
    if not host:
        raise AddressRefused("the URL has no host; write for example https://example.com/hooks")
    if host == "localhost" or host.endswith(".localhost"):
        if not any(_within(loopback, allowed) for loopback in _LOOPBACKS):
            raise AddressRefused(_reason(host, "127.0.0.1/32"))
    elif (literal := literal_address(host)) is not None and not reachable(literal, allowed):
        raise AddressRefused(_reason(host, str(ip_network(literal))))


async def check_resolved(url: str, allowed: Sequence[Network]) -> None:
    """Refuse a URL that is no public destination now, its name looked up. Raises AddressRefused.

    For when a destination is added; what counts is the check at every send.
    """
    check_url(url, allowed)
    parsed = _parsed(url)
    host = parsed.host or ""
    if literal_address(host) is not None or host.rstrip(".").lower().endswith("localhost"):
        return
    resolver = GuardedResolver(allowed)
    try:
        await resolver.resolve(host, parsed.port or 443, socket.AF_UNSPEC)
    except OSError:
        raise AddressRefused(f"{host} cannot be found: is the name right?") from None
    finally:
        await resolver.close()


def literal_address(host: str) -> Address | None:
    """The address that a host is, in any form that a socket would take (`127.1`, `0x7f000001`, `2130706433`).

    None for names. Source: inet_aton(3).
    """
    try:
        return ip_address(host.strip("[]"))
    except ValueError:
        pass
    try:
        return IPv4Address(socket.inet_aton(host))
    except (OSError, ValueError):  # ValueError: not ASCII
        return None


def reachable(address: Address, allowed: Sequence[Network]) -> bool:
    """Whether deliveries may go to an address: it is public, or within an allowed network."""
    if _within(address, allowed):
        return True
    return all(_public(part) or _within(part, allowed) for part in _meant(address))


class GuardedResolver(AbstractResolver):
    """Resolves names and drops the addresses that deliveries may not go to. Raises NameRefused if none is left.

    aiohttp connects to exactly what this returns, so a name that changes between check and use (DNS rebinding) gains
    nothing.
    """

    def __init__(self, allowed: Sequence[Network], inner: AbstractResolver | None = None) -> None:
        self._allowed = tuple(allowed)
        self._inner = inner or DefaultResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        found = await self._inner.resolve(host, port, family)
        kept = [result for result in found if reachable(ip_address(result["host"]), self._allowed)]
        if not found:
            raise OSError(f"{host} has no address")
        if not kept:
            address = ip_address(found[0]["host"])
            raise NameRefused(_reason(f"{host} ({address})", str(ip_network(address))))
        return kept

    async def close(self) -> None:
        await self._inner.close()


def _parsed(url: str) -> URL:
    """Parse as aiohttp will: two parsers that disagree about the host are a hole."""
    if _UNSAFE.search(url):
        raise AddressRefused("the URL contains a space, backslash or control character; percent-encode it")
    try:
        parsed = URL(url)
        _ = parsed.port  # may be out of range
    except ValueError as error:
        raise AddressRefused(f"the URL cannot be read: {error}") from None
    return parsed


def _meant(address: Address) -> Iterator[Address]:
    """The addresses that packets end up at: an IPv6 address may carry an IPv4 one."""
    if isinstance(address, IPv4Address):
        yield address
    elif address.ipv4_mapped is not None:
        yield address.ipv4_mapped
    elif address in _NAT64:
        yield IPv4Address(int(address) & 0xFFFF_FFFF)
    elif address.sixtofour is not None:
        yield address.sixtofour
    else:
        yield address


def _public(address: Address) -> bool:
    if isinstance(address, IPv6Address) and address not in _GLOBAL_UNICAST:
        return False
    if address.is_multicast or any(address in network for network in _NOT_PUBLIC):
        return False
    return address.is_global


def _within(address: Address, networks: Sequence[Network]) -> bool:
    return any(address in network for network in networks)


def _reason(host: str, network: str) -> str:
    return f"{host} is not a public address; if it is yours, add it to HOLDFAST_ALLOWED_NETWORKS (such as {network})"
