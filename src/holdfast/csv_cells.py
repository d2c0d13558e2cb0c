"""Cells of CSV files that spreadsheets show, and do not compute.

Source: https://owasp.org/www-community/attacks/CSV_Injection
"""

import re

_FORMULA = re.compile("[=\\-@\t\r\n\uff1d\uff0b\uff0d\uff20]|\\+(?!\\d+$)")
"""How a cell begins that a spreadsheet would compute; a telephone number does not."""


def plain(text: str) -> str:
    """The text, behind an apostrophe if it would be computed."""
    return f"'{text}" if _FORMULA.match(text) else text
