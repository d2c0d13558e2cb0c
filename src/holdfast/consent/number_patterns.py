"""How people and programs write a telephone number: an expression that finds it in any text. Pure.

The same expression is understood by Python and by PostgreSQL (https://www.postgresql.org/docs/current/functions-matching.html).
"""

import phonenumbers

_BETWEEN = r"(?:%[0-9A-Fa-f]{2}|\\[0-7]{3}|\\{1,2}u[0-9A-Fa-f]{4}|[^0-9A-Za-z])*"
"""Punctuation and spaces between two digits, also as URLs, JSON and PostgreSQL's `encode(…, 'escape')` write them."""
_SURE = 9
"""So many digits in a row are nobody else's by chance, wherever they stand."""
_FEW = 7


def national(phone: str) -> str:
    """The digits of an E.164 number without its country's code."""
    return phone.removeprefix("+").removeprefix(str(phonenumbers.parse(phone).country_code))


def written(phone: str) -> str:
    """Finds an E.164 number however it is written, nationally too: `+1 (415) 555-0123`, `415.555.0123`."""
    digits = national(phone)
    code = phone.removeprefix("+").removesuffix(digits)
    own = f"(?:{code}{_BETWEEN})" + ("?" if len(digits) >= _FEW else "")
    lead = rf"(?:\+|%2B)?(?:(?:00|011){_BETWEEN})?{own}(?:\(?0\)?{_BETWEEN})?\(?"
    found = lead + _BETWEEN.join(digits)
    return found if len(digits) >= _SURE else f"(?<![0-9]){found}(?![0-9])"
