"""A proposed change of a runbook as a patch that `git apply` and `patch -p1` take."""

from difflib import unified_diff


def patch(runbook: str, before: str, after: str) -> str:
    """The unified diff, empty if nothing changes. Lines end at newlines alone, as they do for both programs."""
    name = f"{runbook}.md"
    lines = unified_diff(_lines(before), _lines(after), f"a/{name}", f"b/{name}")
    return "".join(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines)


def _lines(text: str) -> list[str]:
    lines = [f"{line}\n" for line in text.split("\n")]
    lines[-1] = lines[-1][:-1]
    return lines if lines[-1] else lines[:-1]
