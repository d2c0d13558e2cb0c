"""A limit by clients' networks, in memory: so that one of them does not use up what all have together."""

from collections import OrderedDict
from datetime import datetime, timedelta
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

Network = IPv4Network | IPv6Network
MOST_NETWORKS = 10_000
"""Remembered; beyond that, whichever came least lately is forgotten."""
_PROXIES = tuple(
    ip_network(text) for text in ("127.0.0.0/8", "::1/128", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7")
)
"""Who comes from there is a proxy of ours, which speaks for everybody, or one of us: it has to limit clients itself."""


def address_of(text: str) -> IPv4Address | IPv6Address | None:
    """A peer's address, IPv4 also where it comes mapped into IPv6. None: it is none."""
    try:
        found = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    mapped = found.ipv4_mapped if found.version == 6 else None
    return found if mapped is None else mapped


def network_of(address: str) -> Network | None:
    """What is one client: an IPv4 address's /24, an IPv6 address's /64. None: it cannot be told, or is a proxy's."""
    found = address_of(address)
    if found is None or any(found in proxy for proxy in _PROXIES if proxy.version == found.version):
        return None
    return ip_network((found, 24 if found.version == 4 else 64), strict=False)


class NetworkLimit:
    """`most` a network in each `window`, which begins with its first."""

    def __init__(self, most: int, window: timedelta) -> None:
        self._most = most
        self._window = window
        self._seen: OrderedDict[Network, tuple[datetime, int]] = OrderedDict()

    def take(self, address: str | None, now: datetime) -> bool:
        """Whether one more from this address is within the limit; then it counts."""
        network = network_of(address) if address is not None else None
        if network is None:
            return True
        began, count = self._seen.get(network, (now, 0))
        if now - began >= self._window:
            began, count = now, 0
        if count >= self._most:
            return False
        self._seen[network] = (began, count + 1)
        self._seen.move_to_end(network)
        if len(self._seen) > MOST_NETWORKS:
            self._seen.popitem(last=False)
        return True
