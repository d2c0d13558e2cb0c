"""Proposed changes are patches that git and patch take, whatever the texts are."""

import shutil
import subprocess

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from holdfast.review.patch import patch

texts = st.lists(
    st.sampled_from(("- [ ] one", "two", "", "  ", "\x0c", "a\u2028b", "c\r", "--- x", "+++ y")), max_size=8
).map("\n".join)
with_end = st.tuples(texts, st.booleans()).map(lambda made: made[0] + "\n" * made[1])


def applied(place, tool, before, after):
    file = place / "storm.md"
    file.write_bytes(before.encode())
    made = patch("storm", before, after)
    command = {"git": ["git", "apply", "--whitespace=nowarn", "-"], "patch": ["patch", "-s", "-p1", "--binary"]}[tool]
    done = subprocess.run(command, cwd=place, input=made.encode(), capture_output=True, check=False)
    assert done.returncode == 0, (done.stderr + done.stdout, made)
    found = file.read_bytes().decode() if file.exists() else ""
    file.unlink(missing_ok=True)
    return found


@pytest.mark.parametrize("tool", ["git", "patch"])
@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(before=with_end, after=with_end)
def test_what_is_applied_is_what_was_proposed(tmp_path, tool, before, after):
    if shutil.which(tool) is None:
        pytest.skip(f"{tool} is not installed")
    if before == after:
        assert patch("storm", before, after) == ""
        return
    assert applied(tmp_path, tool, before, after) == after


def test_a_last_line_without_an_end_is_said_so():
    assert patch("storm", "one\n", "one\ntwo").endswith("+two\n\\ No newline at end of file\n")
