"""What an inbound text is taken for: a wish to be left in peace, a doubt, or anything else."""

import re
from pathlib import Path

import pytest
from bench import optout as bench_optout
from bench.texts import learn
from hypothesis import given
from hypothesis import strategies as st

from holdfast.messaging.optout import DOUBTFUL_AT, STOP_AT, judge, provider_word
from holdfast.messaging.optout_asides import ASIDES
from holdfast.messaging.optout_doubts import DOUBTS
from holdfast.messaging.optout_parting import PARTING
from holdfast.messaging.optout_rules import RULES
from holdfast.messaging.optout_spanish import SPANISH_RULES
from holdfast.messaging.optout_weighing import TABLE, weigh

TWILIOS = ("STOP", "UNSUBSCRIBE", "END", "QUIT", "STOPALL", "REVOKE", "OPTOUT", "CANCEL")
BARE = (
    *TWILIOS,
    "opt out",
    "stop all",
    "ALTO",
    "parar",
    "Pare",
    "BASTA",
    "cancelar",
    "BAJA",
    "salir",
    "detener",
    "ya no",
)
SUPPRESSING = {"stop", "doubtful"}


@pytest.mark.parametrize("word", BARE)
def test_a_text_that_is_only_an_opt_out_word_is_stop_for_certain(word: str):
    judged = judge(word)
    assert (judged.verdict, judged.score, judged.rules) == ("stop", 1.0, ("only an opt-out word",))


@given(
    st.sampled_from(BARE),
    st.sampled_from(["", " ", "\n", "  \t", '"', "(", "🛑 ", "\u200b", "please ", "Please, ", "ok ", "❤️"]),
    st.sampled_from(
        ["", ".", "!!!", " please", " thanks", ", thank you!", " 🙏🙏", '"', ")", "\ufe0f", " por favor", "\x00"]
    ),
    st.sampled_from([str.upper, str.lower, str.title, str.swapcase]),
)
def test_case_blanks_marks_emoji_and_courtesy_do_not_change_a_bare_word(word, before, after, case):
    assert judge(before + case(word) + after).verdict == "stop"


@pytest.mark.parametrize(
    "text",
    [
        "\uff33\uff34\uff2f\uff30",
        "S T O P",
        "s.t.o.p",
        "st\u200bop",
        "ST\x00OP",
        "\U0001d412\U0001d413\U0001d40e\U0001d40f",
        "st0p",
        "stoooop",
        "stopstop",
        "🛑",
    ],
)
def test_a_word_in_disguise_is_still_the_word(text: str):
    assert judge(text).verdict == "stop"


@pytest.mark.parametrize(
    "text", ["stpo", "sotp", "STOPP", "Stoop", "unsuscribe", "unsubcribe", "cancle", "canel", "qiut"]
)
def test_a_slip_in_the_only_word_does_not_matter(text: str):
    assert judge(text).verdict == "stop"


@pytest.mark.parametrize("text", ["step", "shop", "top", "quiet", "quite", "cancer", "pasta", "auto", "caja"])
def test_another_word_is_not_taken_for_a_slip(text: str):
    assert judge(text).verdict == "other"


def test_twilios_opt_in_words_start_again_and_say_which_it_was():
    assert [judge(text).verdict for text in ("START", "Unstop!", "yes")] == ["start"] * 3
    assert judge("Yes.").word == "yes"
    assert judge("Yes, 3pm works").verdict == "other"
    assert judge("sí").verdict == "other", "Twilio would go on blocking"


def test_only_a_word_of_help_asks_for_help():
    assert [judge(text).verdict for text in ("HELP", "info", "Ayuda?")] == ["help"] * 3
    assert judge("can you help me with the door").verdict == "other"


def test_the_provider_knows_nothing_but_the_exact_word():
    assert [provider_word(word.lower() + " \n") for word in TWILIOS] == ["STOP"] * len(TWILIOS)
    assert provider_word("Start") == "START"
    assert provider_word(" info ") == "HELP"
    assert provider_word("stop!") is None
    assert provider_word("") is None


SPEAKS = {
    "stop the texts": ("Please stop texting me", "The crew stopped at noon"),
    "stop sending": ("quit sending me these", "quit sending the driver to the back door"),
    "do not send": ("don't send me anything else", "don't send the driver yet"),
    "do not text me": ("do not text this number", "I did not text back"),
    "do not call me": ("don't call me", "don't call me before 8"),
    "no more of it": ("no more promos", "no more than 2 bags"),
    "does not want it": ("I don't want to receive these", "I don't want pickles"),
    "off the list": ("take me off your list", "take me off the waitlist"),
    "lose my number": ("lose my number", "I lost my receipt"),
    "leave me alone": ("leave me alone", "leave it at the door"),
    "easy with it": ("chill with the texts", "easy on the salt please"),
    "curses": ("go away", "will the rash go away"),
    "unsubscribe or opt out": ("how do I opt out", "I don't want to opt out"),
    "revokes consent": ("I revoke my consent", "is my consent form on file"),
    "never agreed": ("I never signed up", "I never agreed to that price"),
    "wrong number": ("you have the wrong number", "I gave you the wrong number"),
    "stranger": ("who is this", "who is my technician"),
    "asks for the number's source": ("how did you get my number", "how did you get my order so fast"),
    "not interested": ("we are not interested", "not interested in the warranty"),
    "authorities": ("I'm reporting you to the FCC", "I want to report a leak"),
    "a threat over texts": (
        "one more text and you hear from my lawyer",
        "my lawyer will be in touch about the deposit",
    ),
    "off with them": ("these texts cost me, shut them off", "the lights are on, shut them off"),
    "calls it spam": ("this is spam", "your email went to spam"),
    "tired of it": ("sick of your messages", "tired of waiting"),
    "stop as its own sentence": ("I said no. Stop.", "it will not stop."),
    "stop somewhere": ("oh my stop", "where is the bus stop"),
    "a no beside texts": ("I hate your promotions", "I love your promotions"),
    "stop it": ("will you stop it", "can you stop it leaking"),
    "a cancelled subscription": ("cancel my subscription", "cancel my membership"),
    "asks for messages": ("text me when it is ready", "ok"),
    "the last one": ("make this the last text", "is this the last one left"),
    "these no more": ("I don't want these on my phone", "I don't want these returned yet"),
    "not them": ("please don't send them", "I didn't send them"),
    "off with me": ("strike my name", "drop me at the corner"),
    "silence": ("radio silence from you please", "the radio was silent"),
    "another way than texts": ("email rather than text please", "I got your email"),
    "off with it": ("shut it off", "is it off"),
    "no longer theirs": ("I'm not a customer", "I'm a customer"),
    "that texts suit": ("a text is better", "a call is better"),
    "no me escriban": ("ya no me escriban", "no puedo escribir ahora"),
    "no quiero mensajes": ("no quiero sus promociones", "no quiero cebolla"),
    "dejen de escribir": ("dejen de mandar mensajes", "dejen el paquete"),
    "quitenme de la lista": ("quítenme de la lista", "quiten la cebolla"),
    "dar de baja": ("quiero darme de baja", "vivo en la planta baja"),
    "numero equivocado": ("número equivocado", "el número de mi casa"),
    "no me interesa": ("no me interesa", "me interesa el carro"),
    "queja": ("los voy a denunciar", "mi abogado firma mañana"),
    "demasiados": ("demasiados mensajes", "demasiada sal"),
}


@pytest.mark.parametrize("rule", [*RULES, *PARTING, *SPANISH_RULES, *DOUBTS], ids=lambda rule: rule.name)
def test_every_rule_speaks_of_its_own_and_is_silent_of_the_like(rule):
    spoken_of, silent = SPEAKS[rule.name]
    assert rule.name in judge(spoken_of).rules
    assert rule.name not in judge(silent).rules


PUT_ASIDE = {
    "wants more": ("don't stop sending these", "stop sending these"),
    "stop of a visit or a way": ("can I stop by at 3", "stop texting me at 3"),
    "stop of a thing": ("the toilet won't stop running", "the texts won't stop"),
    "cancel of a thing": ("cancel my appointment", "cancel these messages"),
    "a message given back": ('Liked "Reply STOP to opt out"', "I liked you. Reply STOP to opt out"),
    "off something else": ("take me off the waitlist", "take me off your texting list"),
    "another channel": ("don't call, text me", "don't call or text me"),
    "not at this hour": ("don't call until 5", "don't call again"),
    "a number to be put right": ("I gave you the wrong number", "you have the wrong number, stop"),
    "a message that did not come": ("I never got your texts", "I never want your texts"),
}


@pytest.mark.parametrize("aside", ASIDES, ids=lambda aside: aside.name)
def test_what_is_said_of_something_else_is_put_aside_and_a_wish_is_not(aside):
    ordinary, wish = PUT_ASIDE[aside.name]
    assert aside.name in judge(ordinary).rules
    assert judge(ordinary).verdict == "other"
    assert aside.name not in judge(wish).rules
    assert judge(wish).verdict in SUPPRESSING


def test_a_wish_beside_something_put_aside_is_still_heard():
    assert judge("I'll stop by at 3 to pay, but please stop texting me").verdict == "stop"
    assert judge("cancel my appointment and remove me from your list").verdict == "stop"


@pytest.mark.parametrize(
    "text", ["not interested", "Wrong number", "cancel my subscription", "no me interesa", "too many texts"]
)
def test_what_people_could_differ_about_is_left_to_a_person(text: str):
    judged = judge(text)
    assert judged.verdict == "doubtful"
    assert DOUBTFUL_AT <= judged.score < STOP_AT


def test_two_doubts_make_a_certainty():
    assert judge("Not interested. Wrong number.").verdict == "stop"


def test_what_only_the_words_speak_for_is_doubtful_and_the_words_are_named():
    table = {"": 0.0, "prairie": 9.0, "prairie dog": 5.0, "of": -1.0}
    judged = judge("a prairie dog of yours", table)
    assert (judged.verdict, judged.rules) == ("doubtful", ("words for: prairie, prairie dog",))
    assert judge("a prairie dog of yours", {**table, "prairie": 40.0}).verdict == "stop"


def test_words_settle_a_weak_rule_and_never_a_plain_wish():
    against = {"": -9.0, "^ <me>": -0.1}
    assert judge("wrong number", against).verdict == "other"
    assert judge("stop texting me", against) == judge("stop texting me")
    assert judge("STOP", against).verdict == "stop"


def test_the_words_that_weigh_most_come_first():
    weighed = weigh("no more of it", {"": 0.0, "no": 1.0, "no more": 3.0, "of": -4.0, "more": 2.0, "it": 0.5})
    assert weighed.sure > 0
    assert weighed.speak_for == ("no more", "more", "no")
    assert weighed.against == ("of",)


def test_the_weights_are_what_is_learned_from_the_lines():
    table = learn.everything()
    assert TABLE.read_text("utf-8") == learn.written(table)
    assert len(table) <= 1501


@given(st.text(max_size=3000))
def test_any_text_is_judged_and_always_alike(text: str):
    judged = judge(text)
    assert judged == judge(text)
    assert 0 <= judged.score <= 1


@pytest.mark.parametrize(
    "piece", ["stop ", "a", "take me off ", "\u200b", "ﷺ", "no me ", "don't you ever ", "🛑", "x.", "s "]
)
def test_a_text_beyond_all_measure_is_judged_too(piece: str):
    assert 0 <= judge(piece * 20_000).score <= 1


def test_nothing_in_a_pattern_repeats_without_bound():
    patterns = {one.name: one.pattern for one in ASIDES}
    patterns.update({one.name: one.pattern for one in (*RULES, *PARTING, *SPANISH_RULES, *DOUBTS)})
    for name, pattern in patterns.items():
        # A word has at most 24 letters when a pattern meets it.
        beyond_words = re.sub(r"\[[^\]]+\][*+]", "", pattern.pattern)
        assert not re.search(r"[*+]", beyond_words), name


@pytest.mark.parametrize(
    "path", [learn.HERE / f"{author}.jsonl" for author in learn.AUTHORS], ids=lambda path: path.stem
)
def test_the_texts_that_may_be_read_are_many_and_told_apart(path: Path):
    lines = bench_optout.read(path)
    found = bench_optout.figures(lines, show=True)
    assert len(lines) >= 420
    assert found["recall"] >= 0.98
    assert found["precision"] >= 0.98


def test_missing_texts_are_named(tmp_path: Path):
    with pytest.raises(FileNotFoundError, match="nobody"):
        bench_optout.read(tmp_path / "nobody.jsonl")


def test_a_line_of_texts_that_is_none_is_named(tmp_path: Path):
    path = tmp_path / "odd.jsonl"
    path.write_text('{"text": "hi", "label": "perhaps"}\n', "utf-8")
    with pytest.raises(ValueError, match="line 1"):
        bench_optout.read(path)


def test_held_out_texts_are_never_shown():
    lines = [bench_optout.Line("see you at 3", "stop", "planted")]
    found = bench_optout.figures(lines, show=False)
    assert "see you" not in str(found)
    assert found["wrong_by_why"] == {"stop: planted": 1}
