"""`holdfast texts …`"""

import json
from datetime import UTC, datetime

from tests.messaging.texts import ANN, grant, stop, town


async def test_a_text_is_sent_with_consent_and_refused_in_words_without(pool, run, done):
    found = await town(pool)
    await grant(pool, found.bakery, ANN)
    assert "Text 1 is queued" in await done("texts", "send", "bakery", ANN, "Your bread is ready.")
    status, out, _ = await run("texts", "send", "garage", ANN, "Your car is ready.")
    assert status == 1
    assert "Text 2 refused by no_consent: no consent of this person is on record" in out
    stopped = await stop(pool, found.bakery, ANN, datetime.now(UTC))
    status, out, _ = await run("texts", "send", "bakery", ANN, "Your bread is ready.", "--json")
    document = json.loads(out)["message"]
    assert (status, document["rule"], document["reason"]) == (1, "suppressed", "opt_out")
    assert document["suppression"]["id"] == stopped.suppression_id
    assert document["why"] == "the person is blocked"
    assert document["consent"]["seq"] == stopped.consent_seq


async def test_the_same_key_is_one_text(pool, done):
    await grant(pool, (await town(pool)).bakery, ANN)
    first = json.loads(await done("texts", "send", "bakery", ANN, "Hi", "--key", "order-7", "--json"))
    again = json.loads(await done("texts", "send", "bakery", ANN, "Hi", "--key", "order-7", "--json"))
    assert (first["message"]["id"], first["repeat"], again["message"]["id"], again["repeat"]) == (1, False, 1, True)
    assert "asked for before" in await done("texts", "send", "bakery", ANN, "Hi", "--key", "order-7")


async def test_a_template_is_filled_in_and_its_mistakes_are_said(pool, run, done):
    await grant(pool, (await town(pool)).bakery, ANN)
    said = await done("texts", "templates", "set", "ready", "Hi {name}!", "--merchant", "bakery")
    assert "Template ready of bakery added; it needs name." in said
    await done("texts", "send", "bakery", ANN, "--template", "ready", "--var", "name=Ann")
    assert await pool.fetchrow("SELECT body, template FROM message") == ("Hi Ann!", "ready")
    for arguments, said in (
        (("--template", "ready"), "needs name"),
        (("--template", "steady"), "no template 'steady'"),
        (("Hi", "--var", "name=Ann"), "--var is for a --template"),
        (("",), "its body is empty"),
    ):
        status, _, err = await run("texts", "send", "bakery", ANN, *arguments)
        assert (status, said in err) == (1, True), err
    for wrong in ((), ("Hi", "--template", "ready"), ("Hi", "--purpose", "fun"), ("--template", "x", "--var", "y")):
        assert (await run("texts", "send", "bakery", ANN, *wrong))[0] == 2
    assert "ready" in await done("texts", "templates", "list")
    out = await done("texts", "templates", "remove", "ready", "--merchant", "bakery", "--json")
    assert json.loads(out) == {"name": "ready", "merchant": "bakery", "removed": True}
    assert "No templates" in await done("texts", "templates", "list")


async def test_texts_are_listed_and_shown_with_what_decided(pool, run, done):
    found = await town(pool)
    assert "No texts." in await done("texts", "list")
    await grant(pool, found.bakery, ANN)
    await done("texts", "send", "bakery", ANN, "Your bread is ready.")
    await run("texts", "send", "garage", ANN, "Your car is ready.")
    for filters, ids in (
        ((), [2, 1]),
        (("--merchant", "bakery"), [1]),
        (("--to", ANN), [2, 1]),
        (("--to", "+12125550199"), []),
        (("--state", "refused"), [2]),
        (("--rule", "consent"), [1]),
        (("--since", "1h", "--before", "2"), [1]),
        (("--until", "1h"), []),
    ):
        listed = json.loads(await done("texts", "list", "--json", *filters))["messages"]
        assert [one["id"] for one in listed] == ids, filters
    assert "There may be more" in (await run("texts", "list", "--limit", "1"))[2]
    shown = await done("texts", "show", "1")
    assert "Your bread is ready." in shown
    assert "decided by the ledger's row" in shown
    status, _, err = await run("texts", "show", "99")
    assert (status, "there is no text 99" in err) == (1, True)
    assert (await run("texts", "list", "--state", "great"))[0] == 2


async def test_a_policy_is_shown_and_set(pool, run, done):
    await town(pool)
    assert "08:00" in await done("texts", "policy", "show", "--merchant", "bakery")
    document = json.loads(
        await done("texts", "policy", "set", "-m", "bakery", "--opens", "09:00", "--provider-answers", "no", "--json")
    )
    assert (document["own"]["opens"], document["in_force"]["closes"]) == ("09:00", "21:00")
    assert document["own"]["provider_answers"] is False
    document = json.loads(await done("texts", "policy", "set", "-m", "bakery", "--opens", "default", "--json"))
    assert (document["own"]["opens"], document["in_force"]["opens"]) == (None, "08:00")
    status, _, err = await run("texts", "policy", "set", "--closes", "07:00")
    assert (status, "open before it closes" in err) == (1, True)
    _, _, warned = await run("texts", "policy", "set", "-m", "bakery", "--opens", "10:00", "--closes", "15:00")
    assert "Honolulu" in warned
    assert (await run("texts", "policy", "set", "-m", "bakery"))[0] == 2
    assert (await run("texts", "policy", "set", "--most-per-day", "many"))[0] == 2


async def test_a_text_that_the_lever_holds_is_taken_and_one_that_it_refuses_is_not(pool, run, done):
    await grant(pool, (await town(pool)).bakery, ANN)
    await done("levers", "set", "messaging.texts", "hold", "--for", "30m", "--reason", "carrier trouble")
    assert "texts are on hold" in (await done("texts", "send", "bakery", ANN, "Hi")).lower()
    await done("levers", "set", "messaging.texts", "refuse", "--target", "merchant:bakery")
    assert "refused by messaging_off" in (await run("texts", "send", "bakery", ANN, "Hi"))[1]
