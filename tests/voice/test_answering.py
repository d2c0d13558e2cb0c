"""Twilio asks, and is told in TwiML."""

from urllib.parse import parse_qsl, urlsplit
from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twilio.twiml.voice_response import Dial as DialVerb
from twilio.twiml.voice_response import VoiceResponse

from holdfast.voice.answering import LAST_RESORT, Answer, Answerer
from holdfast.voice.model import MOST_TARGETS, Plan, PlanTarget
from holdfast.voice.snapshot import Snapshot, Snapshots
from tests.voice.lines import BAKERY, DESK, MOBILE, NIGHTLY, NOON, line, snapshot

SIP = "sip:desk;transport=tls@example.com?x-mode=a&b=c"


def answerer(tmp_path, *lines, levers=None) -> Answerer:
    snapshots = Snapshots(tmp_path)
    snapshots.current = snapshot(lines or [line()], levers)
    return Answerer(snapshots, lambda: NOON)


def asked(**params: str) -> dict[str, str]:
    return {"CallSid": "CA1", "To": BAKERY, "From": "+14155550177", "CallStatus": "ringing"} | params


def verbs(answer: Answer | bytes) -> list[ElementTree.Element]:
    root = ElementTree.fromstring(answer.twiml if isinstance(answer, Answer) else answer)
    assert root.tag == "Response"
    return list(root)


def names(answer: Answer | bytes) -> list[str]:
    return [verb.tag for verb in verbs(answer)]


def dial(answer: Answer) -> tuple[ElementTree.Element, dict[str, str]]:
    """The <Dial>, and the query of its address as the door reads it."""
    (found,) = [verb for verb in verbs(answer) if verb.tag == "Dial"]
    action = urlsplit(found.attrib["action"])
    assert (action.scheme, action.netloc, action.path) == ("", "", "/hooks/twilio/voice/dial")
    return found, dict(parse_qsl(action.query))


def through(made: Answerer, **end: str) -> list[str]:
    """Whom a call rings until something else happens, each being told what stood in the address before."""
    answer, rung = made.incoming(asked(), {}), []
    while "Dial" in names(answer):
        _, query = dial(answer)
        rung.append(query["target"])
        assert query["tried"].split() == rung
        assert query["place"] == str(len(rung))
        answer = made.dialed(asked(DialCallStatus="no-answer", CallStatus="in-progress") | end, query)
    return rung


def test_a_call_rings_the_first_target_as_the_sdk_writes_it(tmp_path):
    made = line(BAKERY, plan=Plan(targets=(PlanTarget(DESK, 25), PlanTarget(MOBILE)), greeting="Hello & welcome"))
    answer = answerer(tmp_path, made).incoming(asked(), {})
    expected = VoiceResponse()
    expected.say("Hello & welcome", language="en-US")
    ring = DialVerb(
        action="/hooks/twilio/voice/dial?tried=%2B14155550111&target=%2B14155550111&region=US&place=1",
        answer_on_bridge=True,
        timeout=25,
    )
    ring.number(DESK)
    expected.append(ring)
    assert ElementTree.canonicalize(answer.twiml.decode()) == ElementTree.canonicalize(str(expected))
    assert (answer.said, answer.line) == (f"dial {DESK}", made)


def test_a_sip_address_and_a_caller_id_are_carried_as_they_are(tmp_path):
    made = answerer(
        tmp_path, line(BAKERY, SIP), line(MOBILE, stands_in=True), levers={"voice.caller_id_pool": 100}
    ).incoming(asked(), {})
    ring, query = dial(made)
    assert [(one.tag, one.text) for one in ring] == [("Sip", SIP)]
    assert ring.attrib["callerId"] == query["caller_id"] == MOBILE
    assert (query["target"], query["tried"]) == (SIP, SIP)


def test_who_does_not_answer_is_followed_by_the_next_and_the_last_by_voicemail(tmp_path):
    made = answerer(tmp_path)
    assert through(made) == [DESK, MOBILE]
    last = made.dialed(asked(DialCallStatus="busy"), {"tried": f"{DESK} {MOBILE}"})
    assert (names(last), last.said) == (["Say", "Record", "Say", "Hangup"], "voicemail: nobody answered")


@pytest.mark.parametrize("status", ["no-answer", "busy", "failed", "something-new", ""])
def test_whatever_became_of_a_leg_the_caller_is_not_left_alone(tmp_path, status):
    answer = answerer(tmp_path).dialed(asked(DialCallStatus=status, CallStatus="in-progress"), {"tried": DESK})
    assert answer.said == f"dial {MOBILE}"


@pytest.mark.parametrize(
    ("params", "why"),
    [
        ({"DialCallStatus": "completed"}, "answered"),
        ({"DialCallStatus": "answered"}, "answered"),
        ({"DialCallStatus": "canceled"}, "the caller hung up"),
        ({"DialCallStatus": "no-answer", "CallStatus": "completed"}, "the caller hung up"),
    ],
)
def test_a_call_that_was_answered_or_given_up_is_over(tmp_path, params, why):
    answer = answerer(tmp_path).dialed(asked() | params, {"tried": DESK})
    assert (names(answer), answer.said) == (["Hangup"], f"over: {why}")


def test_a_message_is_recorded_with_all_that_brings_it_home(tmp_path):
    closed = line(
        hours=(NIGHTLY,), voicemail_seconds=90, transcribe=True, closed_greeting="Geschlossen", language="de-DE"
    )
    said, record, nothing, hangup = verbs(answerer(tmp_path, closed).incoming(asked(), {}))
    assert (said.tag, said.text, said.attrib) == ("Say", "Geschlossen", {"language": "de-DE"})
    assert record.attrib == {
        "action": "/hooks/twilio/voice/recorded",
        "maxLength": "90",
        "playBeep": "true",
        "timeout": "10",
        "recordingStatusCallback": "/hooks/twilio/recording",
        "transcribe": "true",
        "transcribeCallback": "/hooks/twilio/transcription",
    }
    assert (nothing.tag, hangup.tag) == ("Say", "Hangup")


def test_our_own_words_are_said_in_their_own_language_and_an_address_is_played(tmp_path):
    ours = verbs(answerer(tmp_path, line(hours=(NIGHTLY,), language="de-DE")).incoming(asked(), {}))[0]
    assert ours.attrib == {"language": "en-US"}
    address = "https://example.com/hello.mp3?a=1&b=2"
    played = verbs(answerer(tmp_path, line(greeting=address)).incoming(asked(), {}))[0]
    assert (played.tag, played.text) == ("Play", address)


def test_after_a_message_the_caller_is_thanked(tmp_path):
    answer = answerer(tmp_path).recorded(asked(RecordingSid="RE1"), {})
    assert (names(answer), answer.said) == (["Say", "Hangup"], "over: message left")
    assert answer.line is not None


@pytest.mark.parametrize("duration", ["0", "00"])
def test_a_recording_without_anything_in_it_is_no_message(tmp_path, duration):
    answer = answerer(tmp_path).recorded(asked(RecordingSid="RE1", RecordingDuration=duration), {})
    assert (names(answer), answer.said) == (["Say", "Hangup"], "over: the caller hung up")
    assert verbs(answer)[0].text == "We have not heard a message. Goodbye."


@pytest.mark.parametrize("duration", ["1", "120", "", "x", "-0"])
def test_any_other_recording_is_a_message(tmp_path, duration):
    answer = answerer(tmp_path).recorded(asked(RecordingSid="RE1", RecordingDuration=duration), {})
    assert answer.said == "over: message left"


def test_a_number_that_is_not_ours_gets_an_announcement(tmp_path):
    answer = answerer(tmp_path).incoming(asked(To="+14155550999"), {})
    assert (names(answer), answer.said, answer.line) == (["Say", "Hangup"], "announcement: unknown number", None)


def test_without_any_snapshot_a_message_is_taken(tmp_path):
    answer = Answerer(Snapshots(tmp_path)).incoming(asked(), {})
    assert "Record" in names(answer)
    assert names(LAST_RESORT) == names(answer)


def test_a_request_without_its_parameters_is_answered_all_the_same(tmp_path):
    made = answerer(tmp_path)
    for answer in (made.incoming({}, {}), made.dialed({}, {}), made.recorded({}, {})):
        assert names(answer)[-1] == "Hangup"


def test_what_stands_in_an_address_is_bounded(tmp_path):
    answer = answerer(tmp_path).dialed(asked(DialCallStatus="busy"), {"tried": " ".join(["+1"] * 10_000)})
    assert answer.said == "voicemail: nobody answered"


def test_levers_that_are_turned_during_a_call_count_from_its_next_question_on(tmp_path):
    snapshots = Snapshots(tmp_path)
    snapshots.current = snapshot([line()])
    made = Answerer(snapshots, lambda: NOON)
    _, query = dial(made.incoming(asked(), {}))
    snapshots.current = snapshot([line()], {"voice.voicemail_only region:US": 100})
    assert made.dialed(asked(DialCallStatus="busy"), query).said == "voicemail: voicemail only: region:US"


texts = st.text(st.characters(categories=("L", "N", "P", "S", "Zs")), min_size=1, max_size=50)


@given(texts, texts, st.integers(1, MOST_TARGETS))
def test_every_way_through_a_plan_is_proper_twiml_and_ends(tmp_path_factory, greeting, name, count):
    targets = tuple(PlanTarget(f"+1415556{n:04}") for n in range(count))
    one = line(plan=Plan(targets=targets, greeting=greeting, voicemail_greeting=name))
    made = answerer(tmp_path_factory.getbasetemp(), one)
    assert through(made) == [target.address for target in targets]


def test_a_snapshot_may_be_exchanged_at_any_time(tmp_path):
    snapshots = Snapshots(tmp_path)
    made = Answerer(snapshots, lambda: NOON)
    snapshots.current = Snapshot.of(2, [line()])
    assert made.incoming(asked(), {}).said == f"dial {DESK}"
