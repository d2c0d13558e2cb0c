"""What a Twilio account must be."""

import re

from holdfast.naming import is_name
from holdfast.twilio.model import Account, TwilioError

ACCOUNT = re.compile(r"AC[0-9a-f]{32}")
NUMBER = re.compile(r"PN[0-9a-f]{32}")
TOKEN = re.compile(r"[!-~]{16,200}")


def checked_sid(text: str) -> str:
    """The SID of an account. Raises TwilioError."""
    if not ACCOUNT.fullmatch(text):
        raise TwilioError(
            f"{text[:60]!r} is not an account's SID: AC and 32 digits from 0 to f, as Twilio's console shows it"
        )
    return text


def checked(account: Account) -> Account:
    """The account, if it is as it must be. No message says a secret. Raises TwilioError."""
    checked_sid(account.sid)
    if not is_name(account.name):
        raise TwilioError(f"account {account.sid} needs a name of 1 to 200 printable characters")
    if not all(TOKEN.fullmatch(token) for token in (account.auth_token, *account.former_tokens)):
        raise TwilioError(
            "this is not an auth token: it is 32 letters and digits; copy it from the account's page in Twilio's "
            "console"
        )
    for key, secret in account.signing.items():
        if not key.strip() or not secret:
            raise TwilioError("a signing key is KEY_ID=SECRET")
    return account
