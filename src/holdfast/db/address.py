"""Whether an address of a database can be used, before anybody waits for a server that can never be reached by it."""

import os
import re
from urllib.parse import parse_qs, urlsplit

import asyncpg

_NOWHERE = "/nonexistent"
_FILES = ("sslrootcert", "sslcert", "sslkey", "sslcrl")


async def mistake(url: str) -> str | None:
    """What is wrong with an address as asyncpg reads it; None if nothing is. Asks no server.

    Only options are quoted: elsewhere may be a piece of a password whose signs were not escaped.
    """
    wrong = _mistake(url)
    if wrong is not None:
        return wrong
    try:
        # It reads the address before it looks for the server, which is nowhere; a port of ours goes with that host.
        await asyncpg.connect(url, host=_NOWHERE, port=1, timeout=5)
    except ValueError as error:  # asyncpg.ClientConfigurationError is one
        return " ".join(str(error).split())
    except (OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
        pass
    return None


def _mistake(url: str) -> str | None:
    """What asyncpg would read only on the way to the server, or take for a server that is away."""
    try:
        parts = urlsplit(url)
        options = parse_qs(parts.query, strict_parsing=bool(parts.query))
    except ValueError:
        return "it cannot be read; write signs in user and password as %40 for @, %2F for /, %3F for ?, %3A for :"
    hosts = parts.netloc.rpartition("@")[2]
    if any(not re.fullmatch(r"(\[[^]]*\]|[^:]*)(:[0-9]+)?", host) for host in hosts.split(",")):
        return "a port is not a number; write host:5432, and in user and password %3A for : and %2F for /"
    if any(not port.isdigit() for port in options.get("port", [""])[-1].split(",") if port):
        return "the option port is not a number; write port=5432"
    for name in _FILES:
        path = options.get(name, [""])[-1]
        if path and not os.access(path, os.R_OK):
            return f"the option {name} names a file that is not there or cannot be read: {path}"
    return None
