"""Clients of one network share a limit; what is remembered of them is bounded."""

from datetime import UTC, datetime, timedelta

import pytest

from holdfast.comms import networks
from holdfast.comms.networks import NetworkLimit, network_of

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("203.0.113.7", "203.0.113.0/24"),
        ("2001:db8:1:2:3::4", "2001:db8:1:2::/64"),
        ("::ffff:203.0.113.7", "203.0.113.0/24"),
    ],
)
def test_a_client_is_known_by_its_network(address, network):
    assert str(network_of(address)) == network


@pytest.mark.parametrize("address", ["127.0.0.1", "::1", "10.1.2.3", "192.168.1.1", "fd00::1", "unix:", ""])
def test_a_proxy_of_ours_is_nobodys_network(address):
    assert network_of(address) is None
    limit = NetworkLimit(1, HOUR)
    assert all(limit.take(address, NOON) for _ in range(3))


def test_a_network_may_again_after_its_window():
    limit = NetworkLimit(2, HOUR)
    assert [limit.take(f"203.0.113.{last}", NOON) for last in range(3)] == [True, True, False]
    assert limit.take("198.51.100.1", NOON)
    assert not limit.take("203.0.113.1", NOON + HOUR - timedelta(seconds=1))
    assert limit.take("203.0.113.1", NOON + HOUR)


def test_the_networks_that_are_remembered_are_bounded(monkeypatch):
    monkeypatch.setattr(networks, "MOST_NETWORKS", 3)
    limit = NetworkLimit(1, HOUR)
    for number in range(10):
        assert limit.take(f"203.0.{number}.1", NOON)
    assert len(limit._seen) == 3
    assert not limit.take("203.0.9.2", NOON)
