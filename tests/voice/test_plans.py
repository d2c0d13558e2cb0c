"""Call plans as people write them."""

import json
import re

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.voice.model import Opening, Plan, PlanTarget, VoiceError
from holdfast.voice.number_files import COLUMNS
from holdfast.voice.plans import checked_plan, document_of, plan_of, read_plan
from tests.processes import REPO
from tests.voice.lines import DESK, MOBILE

WRITTEN = """\
# Who answers for the bakery.
targets:
  - +1 415 555 0111
  - address: sip:desk@example.com
    rings: 30
    region: office
hours:
  - mon-fri 09:00-17:00
  - days: [sat]
    opens: 10:00
    closes: 24:00
time_zone: Europe/Berlin
greeting: Welcome to the bakery.
closed_greeting: "null and void: we are closed"
voicemail_seconds: 90
transcribe: true
language: en-GB
"""


def test_a_plan_is_read_from_yaml_as_it_is_meant(tmp_path):
    path = tmp_path / "plan.yaml"
    path.write_text(WRITTEN)
    assert read_plan(path) == Plan(
        targets=(PlanTarget(DESK), PlanTarget("sip:desk@example.com", 30, "office")),
        hours=(
            Opening(("mon", "tue", "wed", "thu", "fri"), "09:00", "17:00"),
            Opening(("sat",), "10:00", "24:00"),
        ),
        time_zone="Europe/Berlin",
        greeting="Welcome to the bakery.",
        closed_greeting="null and void: we are closed",
        voicemail_seconds=90,
        transcribe=True,
        language="en-GB",
    )


def test_a_plan_is_read_from_json(tmp_path):
    path = tmp_path / "plan.json"
    path.write_text(json.dumps({"targets": [DESK], "hours": "mon-fri 09:00-17:00; sat 10:00-12:00"}))
    found = read_plan(path)
    assert found.targets == (PlanTarget(DESK),)
    assert len(found.hours) == 2


targets = st.builds(
    PlanTarget,
    st.integers(1000, 9999).map(lambda n: f"+1415555{n}") | st.just("sips:desk@example.com;user=phone"),
    st.integers(5, 600),
    st.none() | st.just("US-west"),
)
plans = st.builds(
    Plan,
    targets=st.lists(targets, min_size=1, max_size=10, unique_by=lambda one: one.address).map(tuple),
    hours=st.just(()) | st.just((Opening(("sat", "sun"), "22:00", "06:00"),)),
    time_zone=st.none() | st.just("America/New_York"),
    greeting=st.none() | st.just("Hello: we are here, +1 415"),
    voicemail_seconds=st.integers(5, 120),
    transcribe=st.booleans(),
)


@given(plans)
def test_a_plan_that_is_written_out_is_read_as_it_was(plan):
    assert plan_of(document_of(plan)) == plan
    assert plan_of(json.loads(json.dumps(msgspec.to_builtins(plan)))) == plan


def test_what_is_at_its_default_is_not_written_out():
    made = Plan(targets=(PlanTarget(DESK), PlanTarget(MOBILE, 30)))
    assert document_of(made) == {"targets": [DESK, {"address": MOBILE, "rings": 30}]}


def test_the_plan_in_the_documentation_is_one_and_names_every_field(tmp_path):
    page = (REPO / "docs" / "calls.md").read_text()
    (written,) = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    (tmp_path / "plan.yaml").write_text(written)
    found = read_plan(tmp_path / "plan.yaml")
    assert [one.address for one in found.targets] == [DESK, "sip:desk@example.com"]
    assert all(f"{name}:" in written for name in Plan.__struct_fields__)
    assert all(f"`{name}`" in page for name in COLUMNS)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"targets": ()}, "the plan has no targets: name who is to be rung"),
        ({"targets": tuple(PlanTarget(f"+1415555{n:04}") for n in range(1000, 1011))}, "at most 10 targets, not 11"),
        ({"targets": (PlanTarget("4155550123"),)}, r"target 1: '4155550123' is not a phone number: write it with its"),
        ({"targets": (PlanTarget(DESK), PlanTarget("sip:a b"))}, "target 2: 'sip:a b' is not a SIP address"),
        ({"targets": (PlanTarget(DESK), PlanTarget("+1 (415) 555-0111"))}, "target 2: .* is target 1 already"),
        ({"targets": (PlanTarget(DESK, 4),)}, "target 1 rings from 5 to 600 seconds, not 4"),
        ({"targets": (PlanTarget(DESK, 601),)}, "target 1 rings from 5 to 600"),
        ({"targets": (PlanTarget(DESK, 20, "the moon"),)}, "target 1: 'the moon' is no region"),
        ({"hours": (Opening((), "09:00", "17:00"),)}, "opening 1 names no day"),
        ({"time_zone": "Moon"}, "'Moon' is not a time zone: write its IANA name"),
        ({"greeting": "x" * 1001}, "greeting: write 1 to 1000 characters to say, not 1001"),
        ({"closed_greeting": " "}, "closed_greeting: write 1 to 1000"),
        ({"voicemail_greeting": "a\0b"}, "voicemail_greeting has characters that cannot be said"),
        ({"greeting": "https://"}, "is not an address to play from: write https://example.com/hello.mp3"),
        ({"language": "English"}, "'English' is not a language: write en-US"),
        ({"voicemail_seconds": 1}, "voicemail_seconds is from 5 to 3600, not 1"),
        ({"voicemail_seconds": 300, "transcribe": True}, "writes down messages of up to 120 seconds"),
    ],
)
def test_a_plan_that_cannot_be_is_refused_with_what_to_write(fields, said):
    with pytest.raises(VoiceError, match=said):
        checked_plan(Plan(**{"targets": (PlanTarget(DESK), PlanTarget(MOBILE))} | fields))


@pytest.mark.parametrize(
    ("name", "body", "said"),
    [
        ("p.yaml", b"targets: [+14155550111]\nmusic: waltz\n", "unknown field `music`; the fields of a plan are"),
        ("p.yaml", b"targets:\n  - rings: 20\n", r"missing required field `address` - at `\$.targets\[0\]`"),
        ("p.yaml", b"targets: [+14155550111]\nvoicemail_seconds: long\n", "Expected `int`, got `str`"),
        ("p.yaml", b"targets: [", "line 1: .*; write `name: value`"),
        ("p.yaml", b"just words", "a plan has fields such as targets"),
        ("p.yaml", b"", "the plan has no targets"),
        ("p.yaml", b"targets: &x [*x]\n", "too much|not YAML"),
        ("p.yaml", b"[" * 5000, "not YAML|too much"),
        ("p.yaml", b"a: \xff", "not UTF-8"),
        ("p.yaml", b"a: \x00", "not YAML"),
        ("p.yaml", b"#" * 70_000, "larger than 64 KiB"),
        ("p.yaml", b"targets: [+14155550111]\nhours: [weekdays 9-5]\n", "'weekdays' is no day"),
        ("p.json", b"{", "not JSON"),
        ("p.json", b"[" * 50_000, "not JSON"),
        ("p.json", b'{"targets": 5}', "Expected `array`, got `int`"),
        ("p.json", b"[1]", "a plan has fields such as targets"),
    ],
)
def test_a_file_that_is_no_plan_is_refused_with_its_name(tmp_path, name, body, said):
    (tmp_path / name).write_bytes(body)
    with pytest.raises(VoiceError, match=said) as refused:
        read_plan(tmp_path / name)
    assert name in str(refused.value)
