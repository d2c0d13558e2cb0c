"""Structured logs on stderr: event names and ids, never payloads or secrets."""

import logging
import re
import sys
import traceback
from collections.abc import Iterator, MutableMapping
from types import TracebackType
from typing import Any, Literal

import asyncpg
import structlog

_DETAIL = re.compile(r"\nDETAIL: .*", re.DOTALL)
"""What PostgreSQL adds to a message quotes rows: payloads, numbers, addresses."""

Format = Literal["auto", "json", "console"]


class _Stderr:
    """Writes lines to stderr as it is now, not as it was when logging was set up."""

    def msg(self, line: str) -> None:
        sys.stderr.write(line + "\n")
        sys.stderr.flush()

    debug = info = warning = error = critical = exception = msg


def configure(form: Format, level: str, *, process: str) -> None:
    """`auto` is for people on a terminal and JSON elsewhere. `process` is in every line (web, worker, …)."""
    console = form == "console" or (form == "auto" and sys.stderr.isatty())
    number = logging.getLevelNamesMapping()[level.upper()]
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="%H:%M:%S" if console else "iso", utc=not console),
        _without_details,
        # Tracebacks without the values of variables: those may be payloads and secrets.
        structlog.processors.ExceptionRenderer(_traceback),
    ]
    renderer: structlog.typing.Processor = (
        structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty())
        if console
        else structlog.processors.JSONRenderer(default=str)
    )
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(number),
        logger_factory=lambda *_: _Stderr(),
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(process=process)
    foreign = logging.StreamHandler(sys.stderr)
    strip = structlog.stdlib.ProcessorFormatter.remove_processors_meta
    foreign.setFormatter(structlog.stdlib.ProcessorFormatter(processors=[strip, renderer], foreign_pre_chain=shared))
    root = logging.getLogger()
    root.handlers[:] = [foreign]
    root.setLevel(max(number, logging.WARNING))


def said(error: BaseException) -> str:
    """An error's kind and message, without the rows that PostgreSQL quotes: fit to be kept, and shown."""
    return f"{type(error).__name__}: {_DETAIL.sub('', str(error))}"


def _without_details(_logger: object, _method: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    for name, value in line.items():
        if isinstance(value, str):
            line[name] = _DETAIL.sub("", value)
    return line


def _traceback(exc_info: tuple[type[BaseException], BaseException, TracebackType | None]) -> str:
    quoting = [(one, one.detail) for one in _involved(exc_info[1], set()) if isinstance(one, asyncpg.PostgresError)]
    for one, _ in quoting:
        one.detail = None
    try:
        return "".join(traceback.format_exception(*exc_info)).rstrip("\n")
    finally:
        for one, detail in quoting:
            one.detail = detail


def _involved(error: BaseException | None, seen: set[int]) -> Iterator[BaseException]:
    """The error, those that led to it, and those of a group."""
    if error is None or id(error) in seen:
        return
    seen.add(id(error))
    yield error
    inner = error.exceptions if isinstance(error, BaseExceptionGroup) else ()
    for one in (error.__cause__, error.__context__, *inner):
        yield from _involved(one, seen)
