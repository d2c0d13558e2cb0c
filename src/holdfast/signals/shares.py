"""What a share seen in few trials says of the true one.

Source: E. B. Wilson, Probable inference, the law of succession, and statistical inference, JASA 22 (1927).
"""

from math import sqrt
from typing import Final

Z: Final = 2.576
"""The true share is outside the bounds in one case of a hundred."""


def bounds(part: float, whole: float) -> tuple[float, float]:
    """Between which shares the true one lies, very probably (Wilson's score interval). (0, 1) of nothing."""
    if not whole:
        return 0.0, 1.0
    share, square = part / whole, Z * Z
    middle = share + square / (2 * whole)
    reach = Z * sqrt(share * (1 - share) / whole + square / (4 * whole * whole))
    return max(0.0, (middle - reach) / (1 + square / whole)), min(1.0, (middle + reach) / (1 + square / whole))
