"""Amounts for people: providers count in minor units of a currency."""

_WHOLE = frozenset(
    ("BIF", "CLP", "DJF", "GNF", "JPY", "KMF", "KRW", "MGA", "PYG", "RWF", "VND", "VUV", "XAF", "XOF", "XPF")
)
_THOUSANDTHS = frozenset(("BHD", "JOD", "KWD", "OMR", "TND"))


def money(amount: int, currency: str) -> str:
    """`10.99 USD` from Stripe's minor units.

    Source: https://docs.stripe.com/currencies (zero- and three-decimal currencies, and the special cases: ISK and UGX
    have no decimals any more, but their amounts still come with two).
    """
    code = currency.upper()
    digits = 0 if code in _WHOLE else 3 if code in _THOUSANDTHS else 2
    whole, part = divmod(abs(amount), 10**digits)
    sign = "-" if amount < 0 else ""
    return f"{sign}{whole:,}.{part:0{digits}d} {code}" if digits else f"{sign}{whole:,} {code}"
