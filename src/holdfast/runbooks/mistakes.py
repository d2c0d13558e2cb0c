"""What is wrong with a file: all of it, each on a line that says where and what to write instead."""

from holdfast.runbooks.model import RunbookError


class Mistakes:
    """Collects the mistakes of one file."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._found: list[tuple[int, str]] = []

    def add(self, line: int, what: str) -> None:
        """`what`: what is wrong; what to write instead. Lines count from 1."""
        self._found.append((line, f"{self._path}:{line}: {' '.join(what.split())}"))

    def raise_any(self) -> None:
        """Raises RunbookError if there is one, in the order of the lines."""
        if self._found:
            raise RunbookError([text for _, text in sorted(self._found, key=lambda one: one[0])])
