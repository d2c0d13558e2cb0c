"""The CSV of rows that an import could not take."""

import csv
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from holdfast import csv_cells
from holdfast.commands.session import CommandError
from holdfast.consent.import_files import Unread

Write = Callable[[Sequence[Unread]], None]


@contextmanager
def writing(path: Path | None, source: Path, *, force: bool) -> Iterator[Write]:
    """All of it or nothing, for its owner alone: it is there when the import has come to its end.

    Raises CommandError: it is never the file that is imported, and another only with `force`.
    """
    if path is None:
        yield lambda _rejects: None
        return
    _check(path, source, force=force)
    new = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    except OSError as error:
        raise CommandError(f"cannot write {path}: {error.strerror}") from None
    try:
        with os.fdopen(descriptor, "w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file)
            writer.writerow(("line", "reason", "said"))
            yield lambda rejects: writer.writerows(
                (one.line, one.reason, csv_cells.plain(one.said))
                for one in sorted(rejects, key=lambda reject: reject.line)
            )
        _check(path, source, force=force)  # somebody may have written it meanwhile
        new.replace(path)
    finally:
        new.unlink(missing_ok=True)


def _check(path: Path, source: Path, *, force: bool) -> None:
    if not os.path.lexists(path):
        return
    if path.exists() and source.exists() and path.samefile(source):
        raise CommandError(f"--rejects {path} is the file that is imported: name another")
    if not path.is_file():
        raise CommandError(f"--rejects {path} is there, and is no ordinary file: name another")
    if not force:
        raise CommandError(f"--rejects {path} is there already: name another, or say --force to write over it")
