"""`/v1/numbers`, call plans, and whom a lever of calls touches."""

import pytest

from holdfast.merchants import store as merchants
from holdfast.merchants.model import NewMerchant
from tests.api.test_door import problem
from tests.voice.lines import BAKERY, DESK, MOBILE

PLAN = {"targets": [{"address": DESK}]}


@pytest.fixture
async def bakery(pool) -> None:
    await merchants.insert(pool, NewMerchant("bakery", "The Bakery", time_zone="UTC"))


async def put(client, phone=BAKERY, **fields):
    return await client.put(f"/v1/numbers/{phone}", json=fields)


async def test_a_number_is_added_changed_shown_and_removed(client, bakery):
    answer = await put(client, "+1 415 555 0100", merchant="bakery", plan=PLAN)
    assert answer.status_code == 201, answer.text
    made = answer.json()
    assert (made["phone"], made["merchant"], made["region"], made["stands_in"]) == (BAKERY, "bakery", "US", False)
    assert made["plan"]["targets"] == [{"address": DESK, "rings": 20, "region": None}]
    changed = await put(client, stands_in=True)
    assert (changed.status_code, changed.json()["stands_in"], changed.json()["merchant"]) == (200, True, "bakery")
    assert (await client.get(f"/v1/numbers/{BAKERY}")).json() == changed.json()
    assert (await client.delete(f"/v1/numbers/{BAKERY}")).status_code == 204
    assert "is none of our numbers" in problem(await client.get(f"/v1/numbers/{BAKERY}"), 404)


async def test_numbers_come_in_pages(client, bakery):
    for n in range(7):
        await put(client, f"+1415555010{n}", merchant="bakery" if n % 2 else None)
    found, params = [], {"limit": 3}
    while True:
        page = (await client.get("/v1/numbers", params=params)).json()
        found += [one["phone"] for one in page["numbers"]]
        if page["next"] is None:
            break
        params = {"limit": 3, "cursor": page["next"]}
    assert found == [f"+1415555010{n}" for n in range(7)]
    mine = (await client.get("/v1/numbers", params={"merchant": "bakery"})).json()
    assert (len(mine["numbers"]), mine["next"]) == (3, None)
    assert (await client.get("/v1/numbers", params={"region": "GB"})).json() == {"numbers": [], "next": None}
    assert "there is no merchant" in problem(await client.get("/v1/numbers", params={"merchant": "gym"}), 404)
    assert "cursor" in problem(await client.get("/v1/numbers", params={"cursor": "x"}), 422)


@pytest.mark.parametrize(
    ("phone", "body", "said"),
    [
        ("0415", {}, "is not a phone number"),
        (BAKERY, {"merchant": "gym"}, "there is no merchant 'gym'"),
        (BAKERY, {"account": "AC1"}, "is not an account's SID"),
        (BAKERY, {"colour": "red"}, "colour: there is no such field"),
        (BAKERY, {"plan": {"targets": []}}, "plan.targets"),
        (BAKERY, {"plan": {"targets": [{"address": "desk"}]}}, "target 1: 'desk' is not a phone number"),
        (BAKERY, {"plan": PLAN | {"time_zone": "Moon"}}, "'Moon' is not a time zone"),
        (BAKERY, {"plan": PLAN | {"hours": [{"days": ["mon"], "opens": "9", "closes": "17:00"}]}}, "opening 1: '9'"),
    ],
)
async def test_what_cannot_be_is_refused_with_the_reason(client, phone, body, said):
    assert said in problem(await put(client, phone, **body), 422)


async def test_a_plan_is_set_shown_explained_and_taken_away(client, bakery):
    await put(client, merchant="bakery")
    address = f"/v1/numbers/{BAKERY}/plan"
    assert "has no call plan: its calls are asked for a message" in problem(await client.get(address), 404)
    hours = [{"days": ["mon"], "opens": "09:00", "closes": "17:00"}]
    body = {"targets": [{"address": DESK}, {"address": MOBILE, "rings": 40}], "hours": hours, "greeting": "Hello"}
    answer = await client.put(address, json=body)
    assert answer.status_code == 200, answer.text
    assert (await client.get(address)).json() == answer.json()
    assert (answer.json()["hours"], answer.json()["greeting"]) == (hours, "Hello")
    told = (await client.get(f"/v1/numbers/{BAKERY}/told", params={"at": "2026-05-04T12:00:00Z"})).json()
    assert [(one["what"], one["target"], one["why"]) for one in told["steps"]] == [
        ("dial", DESK, "in its plan"),
        ("dial", MOBILE, "in its plan"),
        ("voicemail", None, "nobody answered"),
    ]
    assert (told["open"], told["changes_at"]) == (True, "2026-05-04T17:00:00Z")
    assert (await client.delete(address)).status_code == 204
    told = (await client.get(f"/v1/numbers/{BAKERY}/told")).json()
    assert [(one["what"], one["why"]) for one in told["steps"]] == [("voicemail", "no plan")]
    problem(await client.put("/v1/numbers/+14155550199/plan", json=body), 404)
    problem(await client.get("/v1/numbers/+14155550199/told"), 404)


async def test_whom_a_lever_touches_is_told_before_it_is_turned(client, bakery):
    await put(client, merchant="bakery", plan=PLAN)
    await put(client, "+14155550101")

    async def reach(name, **params):
        return await client.get(f"/v1/levers/{name}/reach", params=params)

    found = await reach("voice.voicemail_only")
    assert found.json() == {"numbers": 2, "merchants": 2, "calls": 0, "first": ["the company", "The Bakery"]}
    assert (await reach("voice.avoid", target=f"target:{DESK}")).json()["first"] == ["The Bakery"]
    assert (await reach("voice.voicemail_only", target="merchant:bakery")).json()["numbers"] == 1
    assert (await reach("voice.voicemail_only", value=0)).json()["numbers"] == 0
    assert "is no lever of calls" in problem(await reach("retry.backoff"), 422)
    assert "takes region:…" in problem(await reach("voice.avoid"), 422)
    problem(await reach("voice.voicemail_only", target="merchant:gym"), 404)
    turned = await client.put("/v1/levers/voice.voicemail_only", json={"value": 100, "target": "merchant:bakery"})
    assert turned.status_code == 200, turned.text


async def test_the_routes_are_described(client):
    described = (await client.get("/v1/openapi.json")).json()
    for path in ("/numbers", "/numbers/{phone}", "/numbers/{phone}/plan", "/levers/{name}/reach"):
        assert path in described["paths"]
