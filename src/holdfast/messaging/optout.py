"""Whether an inbound text revokes consent: named rules, each with a weight, whose sum is the score.

Since 11 April 2025 people in the United States may revoke "in any reasonable manner" (47 CFR 64.1200(a)(10)), so the
words that Twilio knows are not enough. How a text is read:

1. It is written plainly (`optout_reading`): small letters without accents, one form of each misspelt word.
2. A text that is only an opt-out word, with courtesy or emoji around it, is "stop". Nothing else is looked at.
3. Phrases that use such words of something else ("stop by", "cancel my appointment") are put aside.
4. Every rule that finds its phrase in the rest adds its weight, once. What speaks for a wish makes at most 1; what
   speaks against is taken from that, and the rest is the score.
"""

from dataclasses import dataclass
from typing import Literal

from holdfast.messaging import optout_reading as reading
from holdfast.messaging.optout_asides import ASIDES
from holdfast.messaging.optout_doubts import DOUBTS
from holdfast.messaging.optout_rules import RULES
from holdfast.messaging.optout_spanish import SPANISH_RULES
from holdfast.messaging.optout_words import HELPS, STARTS

Verdict = Literal["stop", "doubtful", "start", "help", "other"]
ProviderWord = Literal["STOP", "START", "HELP"]

STOP_AT = 0.7
"""From this score on a text is acted on at once."""
DOUBTFUL_AT = 0.35
"""From this score on nothing is sent until a person has decided: whoever is left in peace by mistake loses little."""

STOP_WORDS = frozenset({"STOP", "UNSUBSCRIBE", "END", "QUIT", "STOPALL", "REVOKE", "OPTOUT", "CANCEL"})
START_WORDS = frozenset({"START", "YES", "UNSTOP"})
HELP_WORDS = frozenset({"HELP", "INFO"})


@dataclass(frozen=True, slots=True)
class Judgement:
    """`score` is how surely it revokes, 0 to 1; `rules` names what spoke, for people, asides first.

    `word` is the opt-out, opt-in or help word that the text consists of, as it is usually written ("stop" for "Stpo!").
    A "start" of the word "yes" may only be an answer to a question: what it means depends on what was asked.
    """

    verdict: Verdict
    score: float
    rules: tuple[str, ...]
    word: str | None = None


def provider_word(body: str) -> ProviderWord | None:
    """What Twilio itself acts on: a text that is exactly the word, whatever its case, blanks around it aside.

    Source: https://help.twilio.com/articles/223134027 (default keywords on long codes).
    """
    word = body.strip().upper()
    if word in STOP_WORDS:
        return "STOP"
    if word in START_WORDS:
        return "START"
    return "HELP" if word in HELP_WORDS else None


def judge(body: str) -> Judgement:
    """What this text wishes. Any string will do; the time it takes grows with its length only."""
    tokens = reading.tokens(body)
    only = _only_a_word(tokens)
    if only is not None:
        return only
    text, names = reading.joined(tokens), []
    for aside in ASIDES:
        text, count = aside.pattern.subn(" _ ", text)
        if count:
            names.append(aside.name)
    spoken = [rule for rule in (*RULES, *SPANISH_RULES, *DOUBTS) if rule.speaks(text)]
    names.extend(rule.name for rule in spoken)
    wish = min(1.0, sum(rule.weight for rule in spoken if rule.weight > 0))
    score = round(max(0.0, wish + sum(rule.weight for rule in spoken if rule.weight < 0)), 2)
    return Judgement(_verdict(score), score, tuple(names))


def _only_a_word(tokens: list[str]) -> Judgement | None:
    """A text that is nothing but one of the words, with or without courtesy."""
    words = reading.bare(tokens)
    if not words:
        return None
    word = "".join(words)
    if word in STARTS:
        return Judgement("start", 0.0, ("only an opt-in word",), word)
    if word in HELPS:
        return Judgement("help", 0.0, ("only a help word",), word)
    found = reading.opt_out_word(words)
    return Judgement("stop", 1.0, ("only an opt-out word",), found) if found else None


def _verdict(score: float) -> Verdict:
    if score >= STOP_AT:
        return "stop"
    return "doubtful" if score >= DOUBTFUL_AT else "other"
