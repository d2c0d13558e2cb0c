"""What an attempt says of its destination."""

from holdfast.delivery.model import Attempt, Outcome


def test_only_410_means_gone():
    assert Attempt(Outcome.REJECTED, 410, 0.1).gone
    assert not Attempt(Outcome.REJECTED, 550, 0.1).gone
