"""Templates hold names and nothing that is run; what is missing or too much is said."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from holdfast.messaging import templates
from holdfast.messaging.model import UnknownError
from holdfast.messaging.templates import LONGEST, TemplateError, render, variables
from tests.messaging.texts import town


def test_names_are_put_in_their_places():
    assert render("Hi {name}, order {order_2} is ready, {name}.", {"name": "Ann", "order_2": "7"}) == (
        "Hi Ann, order 7 is ready, Ann."
    )
    assert variables("{b} {a} {b}") == ("b", "a")


def test_braces_written_twice_are_braces():
    assert render("{{no name}} {x}", {"x": "{y} {{"}) == "{no name} {y} {{"


@pytest.mark.parametrize(
    ("body", "given_", "said"),
    [
        ("Hi {name}", {}, "needs name, which is not given"),
        ("Hi {name} {x}", {}, "needs name, x, which are not given"),
        ("Hi {name}", {"name": "Ann", "nam": "x"}, "no placeholder 'nam'; it has name"),
        ("Hi", {"name": "Ann"}, "it has none"),
        ("Hi {name.__class__}", {"name": "Ann"}, "a placeholder is"),
        ("Hi {0}", {}, "a placeholder is"),
        ("Hi {name!r:>9}", {"name": "Ann"}, "a placeholder is"),
        ("Hi {", {}, "a placeholder is"),
        ("Hi } there", {}, "a placeholder is"),
        ("{x}", {"x": " "}, "has to say something"),
        ("{x}", {"x": "y" * (LONGEST + 1)}, f"at most {LONGEST} characters; this one has {LONGEST + 1}"),
        ("{x}", {"x": "a\0"}, "cannot be stored"),
    ],
)
def test_mistakes_are_said(body, given_, said):
    with pytest.raises(TemplateError, match=said):
        render(body, given_)


@given(st.text(max_size=60), st.dictionaries(st.sampled_from(["name", "x"]), st.text(min_size=1, max_size=20)))
def test_no_template_does_anything_but_fill_in_or_refuse(body, given_):
    try:
        found = render(body, given_)
    except TemplateError:
        return
    expected = body.replace("{{", "\ue000").replace("}}", "\ue001")
    if "\ue000" not in body and "\ue001" not in body and not any(mark in body for mark in ("{{", "}}")):
        for name, value in given_.items():
            expected = expected.replace(f"{{{name}}}", value.replace("{", "\ue002"))
        assert found == expected.replace("\ue002", "{")


async def test_a_merchants_own_template_stands_above_that_of_every_merchant(pool):
    merchant = (await town(pool)).bakery
    assert await templates.put(pool, 0, "ready", "Ready.", by="ann")
    assert (await templates.find(pool, merchant, "ready")).body == "Ready."
    assert await templates.put(pool, merchant, "ready", "Fresh, {name}!", by="ann")
    assert not await templates.put(pool, merchant, "ready", "Hot, {name}!", by="bob")
    found = await templates.find(pool, merchant, "ready")
    assert (found.body, found.changed_by) == ("Hot, {name}!", "bob")
    assert len(await templates.listed(pool, merchant)) == 2
    await templates.remove(pool, merchant, "ready")
    assert (await templates.find(pool, merchant, "ready")).body == "Ready."
    with pytest.raises(UnknownError, match="no template 'ready'"):
        await templates.remove(pool, merchant, "ready")
    with pytest.raises(UnknownError, match="no template 'steady'"):
        await templates.find(pool, merchant, "steady")


@pytest.mark.parametrize(
    ("name", "body"), [("Ready", "x"), ("", "x"), ("x" * 64, "x"), ("x", "{"), ("x", ""), ("x", "y" * 1601)]
)
async def test_a_template_that_could_never_be_sent_is_not_kept(pool, name, body):
    with pytest.raises(TemplateError):
        await templates.put(pool, 0, name, body, by="ann")
    assert await templates.listed(pool) == []


async def test_a_template_has_no_more_placeholders_than_anybody_fills_in(pool):
    with pytest.raises(TemplateError, match="at most 50"):
        await templates.put(pool, 0, "many", " ".join(f"{{v{number}}}" for number in range(51)), by="ann")
