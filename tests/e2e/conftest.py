import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from holdfast.db.embedded import EmbeddedPostgres


@pytest.fixture
def place() -> Iterator[Path]:
    """A data directory that PostgreSQL's user can reach."""
    outer = Path(tempfile.mkdtemp(prefix="holdfast-test-", dir="/var/tmp"))
    outer.chmod(0o711)
    yield outer / "var"
    EmbeddedPostgres(outer / "var").stop(immediate=True)
    shutil.rmtree(outer)
