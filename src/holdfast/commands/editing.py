"""A text that somebody changes in their editor."""

import os
import shlex
import subprocess
import tempfile
from pathlib import Path

from holdfast.commands.session import CommandError


def edited(draft: str) -> str | None:
    """The text as it was saved in $VISUAL or $EDITOR; None if it was closed without saving. Raises CommandError."""
    editor = shlex.split(os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi")
    with tempfile.TemporaryDirectory(prefix="holdfast-") as place:
        file = Path(place) / "message.txt"
        file.write_text(draft, "utf-8")
        os.utime(file, (0, 0))  # so that any save shows, however soon it comes
        try:
            status = subprocess.run([*editor, str(file)], check=False).returncode  # noqa: S603 - the user's own editor
        except OSError as error:
            raise CommandError(f"the editor {editor[0]!r} cannot be run ({error.strerror}): set EDITOR") from None
        if status != 0:
            raise CommandError(f"the editor {editor[0]!r} ended with status {status}, so nothing was sent")
        if file.stat().st_mtime == 0:
            return None
        return file.read_text("utf-8").strip()
