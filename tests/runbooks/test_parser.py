"""What a runbook's file means, and what is said of a file that means nothing."""

import json
from datetime import timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.runbooks import parser
from holdfast.runbooks.model import Clocks, Runbook, RunbookError, Step
from tests.runbooks.written import registry, runbook

REGISTRY = registry()
WHOLE = """
Read this first.

## Immediate actions

1. **Look** at it
   - [ ] See how *slow* it is `check: shop.look pages=7`
   - [ ] Nobody buys for now `ask: shop.read_only role=commander`
2. **Tell**

   Whom you like.

   - [ ] Say that we are at it `do: shop.tell text="we're at it; $HOME $(date)" to=all id=first-word`

     ```yaml
     # nothing more
     ```
## Communication
- [ ] Keep the team posted `every: shop.tell`
- [ ] Keep everybody posted `every 45m: shop.tell id=all`
- [ ] Call the landlord `person: id=landlord role=commander`
## Background
Shops are slow when full.

## Recovery
- [ ] Are the limits kept? `do: shop.limits`

  ```yaml
  per_page: {home: 5, cart: 9}
  within: 90s
  ```
- [ ] Thank   everybody
"""


def parse(text: str, path: str = "runbooks/shop-slow.md") -> Runbook:
    return parser.parse(text, path, REGISTRY, shipped=False)


def mistakes(text: str, path: str = "shop-slow.md") -> list[str]:
    with pytest.raises(RunbookError) as caught:
        parse(text, path)
    return caught.value.mistakes


def mistake(item: str) -> str:
    """The one mistake of a runbook with this under its first phase, on line 12."""
    (found,) = mistakes(runbook("## Immediate actions\n" + item))
    return found


def test_a_runbook_is_read_with_its_phases_groups_and_steps():
    found = parse(runbook(WHOLE))
    assert [(step.phase, step.group, step.kind, step.key, step.role, step.text) for step in found.steps] == [
        ("immediate", "Look", "check", "shop.look", "responder", "See how slow it is"),
        ("immediate", "Look", "ask", "shop.read_only", "commander", "Nobody buys for now"),
        ("immediate", "Tell", "do", "first-word", "responder", "Say that we are at it"),
        ("communication", "", "every", "shop.tell", "responder", "Keep the team posted"),
        ("communication", "", "every", "all", "responder", "Keep everybody posted"),
        ("communication", "", "person", "landlord", "commander", "Call the landlord"),
        ("recovery", "", "do", "shop.limits", "responder", "Are the limits kept?"),
        ("recovery", "", "person", "thank-everybody", "responder", "Thank everybody"),
    ]


def test_parameters_are_kept_as_written_and_there_is_no_shell():
    steps = {step.key: step.parameters for step in parse(runbook(WHOLE)).steps}
    assert steps["shop.look"] == {"pages": "7"}
    assert steps["first-word"] == {"text": "we're at it; $HOME $(date)", "to": "all"}
    assert steps["shop.limits"] == {"per_page": {"home": 5, "cart": 9}, "within": "90s"}


def test_an_action_takes_the_parameters_also_after_they_were_stored():
    for step in parse(runbook(WHOLE)).steps:
        stored = json.loads(json.dumps(step.parameters))
        assert stored == step.parameters
        if step.key == "shop.limits":
            taken = REGISTRY.get("shop.limits").read(stored)
            assert taken == {"per_page": {"home": 5, "cart": 9}, "within": timedelta(seconds=90)}


def test_every_takes_its_own_time_or_the_cadence():
    steps = {step.key: step.every for step in parse(runbook(WHOLE)).steps}
    assert (steps["shop.tell"], steps["all"], steps["landlord"]) == (timedelta(minutes=30), timedelta(minutes=45), None)


def test_front_matter_is_read():
    text = runbook("## Recovery\n- [ ] Rest `every: shop.tell`\n").replace(
        "severity: critical", "severity: warning\ncadence: 15m\nclocks: {acknowledge: 2m}"
    )
    found = parse(text)
    assert (found.id, found.title, found.triggers, found.severity) == (
        "shop-slow",
        "The shop is slow",
        ("shop-slow",),
        "warning",
    )
    assert found.clocks == Clocks(acknowledge=timedelta(minutes=2), update=timedelta(minutes=15))
    assert found.steps[0].every == timedelta(minutes=15)
    assert (found.text, found.path, found.shipped) == (text, "runbooks/shop-slow.md", False)


def test_ten_lines_are_a_runbook():
    text = """\
---
id: shop-slow
title: The shop is slow
triggers: [shop-slow]
severity: warning
---
## Immediate actions
- [ ] How slow is it? `check: shop.look`
- [ ] Call the shop
"""
    assert [step.line for step in parse(text).steps] == [8, 9]


def test_the_version_is_the_text_to_the_last_byte():
    one, two = parse(runbook(WHOLE)), parse(runbook(WHOLE) + "\n")
    assert len(one.version) == 12
    assert one.version == parse(runbook(WHOLE)).version != two.version


def test_windows_line_ends_and_a_byte_order_mark_change_nothing():
    text = "\ufeff" + runbook(WHOLE).replace("\n", "\r\n")
    assert [(step.key, step.line) for step in parse(text).steps] == [
        (step.key, step.line) for step in parse(runbook(WHOLE)).steps
    ]


def test_code_and_tasks_that_are_meant_for_reading_are_left_alone():
    text = runbook("""## Immediate actions
- [ ] Look into `shop.log` and `https://shop.example:8080`
- [ ] Restart `systemctl restart shop`
- Why: see `limits`

> ```
> - [ ] not this
> ```
""")
    assert [(step.kind, step.text) for step in parse(text).steps] == [
        ("person", "Look into shop.log and https://shop.example:8080"),
        ("person", "Restart systemctl restart shop"),
    ]


@pytest.mark.parametrize(
    ("item", "said"),
    [
        ("- [ ] x `do: shop.lok`", "there is no action 'shop.lok'; there are shop.half, shop.limits, shop.look"),
        ("- [ ] x `do: shop.half`", "shop.half changes something but has no verify and no undo"),
        ("- [ ] x `check: shop.read_only`", "a check only looks, and shop.read_only changes something; write `do: …`"),
        ("- [ ] x `do: shop.look pages=many`", "shop.look pages: Input should be a valid integer"),
        ("- [ ] x `do: shop.look page=1`", "shop.look takes no 'page'; its parameters are: pages"),
        ("- [ ] x `do: shop.limits`", "shop.limits per_page: Field required"),
        ("- [ ] x `run: shop.look`", "there is no kind 'run'; write `do: room.action`, `check: …`"),
        ("- [ ] x `Do: shop.look`", "kinds are written small; write `do: …`"),
        ("- [ ] x `do shop.look`", "`do shop.look` has no colon; write"),
        ("- [ ] x `every 30m shop.tell`", "has no colon"),
        ("- [ ] x `every soon: shop.tell`", "every: 'soon' is not a length of time: write 90s, 30m"),
        ("- [ ] x `every 90000w: shop.tell`", "write at most 4w"),
        ("- [ ] x `do 5m: shop.look`", "only `every` takes a time; write `do: …`"),
        ("- [ ] x `do:`", "no action is named; write `do: room.action name=value`"),
        ("- [ ] x `do: pages=1`", "no action is named"),
        ("- [ ] x `do: shop.look 7`", "'7' is no parameter; write name=value, and quotes around a value with spaces"),
        ("- [ ] x `do: shop.look pages=1 pages=2`", "pages is there twice; remove one"),
        ("- [ ] x `do: shop.tell text='no end`", "no closing quotation; quote values as in a shell"),
        ("- [ ] x `do: shop.look id=Näme`", "id=Näme cannot be one; write small letters, digits and hyphens"),
        ("- [ ] x `ask: shop.look role=boss`", "there is no role 'boss'; write role=responder or role=commander"),
        ("- [ ] x `person: name=1`", "nothing runs here that takes 'name'; write only id and role"),
        ("- [ ] x `person: anna`", "'anna' is no parameter; write `person: id=…`"),
        ("- [ ] x `do: shop.look`, then wait", "is not at the item's end; an item runs one thing, and says so last"),
        ("- [ ] x `do: shop.look` `do: shop.tell`", "an item runs one thing"),
        ("- [ ] `do: shop.look`", "it has no text; write `- [ ] what to do`"),
        ("- [ ] 🙂", "its text makes no name; end the item with `person: id=…`"),
        ("- [x] x", "it is ticked off already; write `- [ ]`"),
        ("- [] x", "this is not quite a task; write `- [ ] what to do`"),
        ("- [ ]x", "this is not quite a task"),
        ("- x `do: shop.look`", "this is not quite a task"),
        ("-[ ] x", "'-[ ]' begins no list here; put a blank line before it"),
        ("    - [ ] x", "'- [ ]' begins no list here; put a blank line before it, indent it by 0 to 3"),
        ("1. [ ] x", "numbered items are groups, not tasks; write `- [ ] what to do` under it"),
        ("1. x `do: shop.look`", "`do: shop.look` stands in a group, where nothing runs"),
        ("> - [ ] x", "a task is nested"),
        ("- [ ] x `do: shop.look`\n  ```yaml\n  pages: [\n  ```", "write `name: value`"),
        ("- [ ] x `do: shop.look pages=1`\n  ```yaml\n  pages: 1\n  ```", "pages is in the item and in the block"),
        ("- [ ] x\n  ```yaml\n  pages: 1\n  ```", "nothing runs here that takes 'pages'"),
    ],
)
def test_a_mistake_in_a_step_names_its_line_and_what_to_write(item, said):
    found = mistake(item)
    assert said in found
    number = int(found.split(":")[1])
    assert 12 <= number <= 15


def test_mistakes_in_the_lines_that_follow_a_step_are_found_there():
    found = mistakes(
        runbook("""## Immediate actions
- [ ] a `do: shop.look`

```yaml
pages: 1
```
1. **b**
   - [ ] c
     - [ ] d
2. e

## Communication
text
2. **g**
- [ ] h

  ```yaml
  ok: 1
  ok: 2
  ```
""")
    )
    assert [line.removeprefix("shop-slow.md:")[:31] for line in found] == [
        "14: parameters stand under no t",
        "19: a task is nested; write `- ",
        "24: '2. **' begins no list here;"[:31],
        "29: ok is there twice; remove o",
    ]


def test_a_task_under_no_phase_is_a_mistake():
    (found,) = mistakes(runbook("## Comunication\n- [ ] Write `do: shop.tell`\n"))
    assert found.startswith("shop-slow.md:12: a task stands under no phase; put it under `## Immediate actions`")


def test_two_steps_with_one_name_are_told_apart_by_id():
    found = mistakes(runbook("## Recovery\n- [ ] a `do: shop.look`\n- [ ] b `do: shop.look`\n- [ ] Wait\n- [ ] Wait\n"))
    assert found == [
        "shop-slow.md:13: it is called 'shop.look' as is line 12; add `id=…` to it",
        "shop-slow.md:15: it is called 'wait' as is line 14; end it with `person: id=…`",
    ]


def test_a_runbook_without_steps_is_a_mistake():
    (found,) = mistakes(runbook("## Recovery\nRest.\n"))
    assert "there is no step; under `## Immediate actions`" in found


def test_all_mistakes_of_a_file_are_told_at_once_in_their_order():
    found = mistakes("""\
---
id: other
titel: x
triggers: shop-slow
severity: bad
cadence: sometimes
clocks: {answer: 5m}
---
## Recovery
- [ ] x `do: shop.nothing`
- [ ] y `do: shop.look pages=x`
""")
    assert [line.removeprefix("shop-slow.md:")[:40] for line in found] == [
        "1: front matter has no title; write `tit",
        "2: id: 'other' is not the file's name; w",
        "3: front matter takes no 'titel'; there ",
        "4: triggers: write a list such as [webho",
        "5: severity: there is no 'bad'; write wa",
        "6: cadence: 'sometimes' is not a length ",
        "7: clocks: there is no clock 'answer'; w",
        "10: there is no action 'shop.nothing'; t",
        "11: shop.look pages: Input should be a v",
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "there is no front matter; begin with ---, id: …"),
        ("---\nid: shop-slow\n", "there is no front matter"),
        ("---\nid: [\n---\n", ":2: front matter: expected the node content"),
        ("---\n- id\n---\n", ":2: front matter: write `name: value`"),
        ("---\nid: &a [*a]\n---\n", "aliases are not taken"),
        ("---\nid: !!python/object:os.system x\n---\n", "tags are not taken"),
        ("---\nid: " + "[" * 5000 + "\n---\n", "this is not YAML"),
        ("---\nid: " + "[" * 50 + "]" * 50 + "\n---\n", "nested too deep"),
        ("a\0b", ":1: there is a NUL character"),
        ("x" * 300_000, "it is larger than 256 KiB"),
        ("a\n\ud800", ":2: this is not UTF-8"),
    ],
)
def test_what_is_no_runbook_at_all_is_told(text, said):
    assert any(said in line for line in mistakes(text)), mistakes(text)


def test_a_file_that_is_not_utf_8_or_cannot_be_read_is_a_mistake(tmp_path):
    path = tmp_path / "shop-slow.md"
    path.write_bytes(b"---\nid: caf\xe9\n")
    with pytest.raises(RunbookError, match=r"shop-slow\.md:2: this is not UTF-8"):
        parser.load(path, REGISTRY, shipped=False)
    with pytest.raises(RunbookError, match=r"none\.md:1: it cannot be read: No such file"):
        parser.load(tmp_path / "none.md", REGISTRY, shipped=False)


WORDS = st.text(st.sampled_from("abcdefghij ÄÖ,.;!?'\"()*_`"), max_size=60).map(lambda text: f"p{text}")


@given(st.lists(WORDS, min_size=7, max_size=7))
def test_whatever_prose_is_put_around_them_steps_keep_their_names(prose):
    a, b, c, d, e, f, g = prose
    text = runbook(f"""
{a}

## Immediate actions

{b}

1. **{c.replace("*", "").replace("`", "").strip()}**

   {d}

   - [ ] {e.replace("`", "")} `check: shop.look`

     {f}

2. **x** {g.replace("`", "")}
   - [ ] Call the landlord

## {a.replace("`", "")}

{g}

## Recovery

- [ ] {b.replace("`", "")} `do: shop.tell id=thanks`

{c}
""")
    assert [step.key for step in parse(text).steps] == ["shop.look", "call-the-landlord", "thanks"]


PIECES = st.sampled_from(
    ["---\n", "id: shop-slow\n", "## Recovery\n", "- [ ] ", "1. ", "`", "```yaml\n", "```\n", "do: ", "shop.look ", "=",
     "every ", "30m", "pages", ": ", "'", '"', "\n", "    ", "&a ", "*a", "[", "{", "!!", "**", "> ", "\\U", "ffffffff",
     "?", "9" * 30, "\r", "\t", "\x0c", "\u2028", "<a>", "[x]: y\n", "\0", "1e999", ".inf"]
)  # fmt: skip


def read(text: str) -> tuple[tuple[Step, ...], list[str]]:
    try:
        return parse(text).steps, []
    except RunbookError as error:
        return (), error.mistakes


@settings(max_examples=400, deadline=None)
@given(st.one_of(st.text(), st.lists(PIECES, max_size=40).map("".join)))
def test_whatever_the_text_nothing_but_a_runbook_or_its_mistakes_comes_of_it(text):
    for whole in (text, runbook(text), f"---\n{text}\n---\n", runbook("## Recovery\n- [ ] x `do: " + text + "`")):
        steps, wrong = read(whole)
        assert bool(steps) != bool(wrong)
        assert all(line.startswith("runbooks/shop-slow.md:") and "\n" not in line for line in wrong)
