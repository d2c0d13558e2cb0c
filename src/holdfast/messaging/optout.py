"""Whether an inbound text revokes consent: named rules, each with a weight, and words with learned ones.

Since 11 April 2025 people in the United States may revoke "in any reasonable manner" (47 CFR 64.1200(a)(10)), so the
words that Twilio knows are not enough. How a text is read:

1. It is written plainly (`optout_reading`): small letters without accents, one form of each misspelt word.
2. A text that is only an opt-out word, with courtesy or emoji around it, is "stop". Nothing else is looked at.
3. Phrases that use such words of something else ("stop by", "cancel my appointment") are put aside.
4. Every rule that finds its phrase in the rest adds its weight, once. What speaks for a wish makes at most 1; what
   speaks against is taken from that, and the rest is the score.
5. Where the rules are not sure, the words of the rest speak too, each with a learned weight (`optout_weighing`). They
   can bring a weak rule down or a text of no rule up, to "doubtful" unless they are very sure; they cannot raise what a
   rule speaks against, nor take from a plain wish.
"""

from dataclasses import dataclass
from typing import Literal, NamedTuple

from holdfast.messaging import optout_reading as reading
from holdfast.messaging.model import Verdict
from holdfast.messaging.optout_asides import ASIDES
from holdfast.messaging.optout_doubts import DOUBTS
from holdfast.messaging.optout_parting import PARTING
from holdfast.messaging.optout_rules import RULES
from holdfast.messaging.optout_spanish import SPANISH_RULES
from holdfast.messaging.optout_weighing import Table, Weighed, weigh
from holdfast.messaging.optout_words import HELPS, STARTS

ProviderWord = Literal["STOP", "START", "HELP"]

STOP_AT = 0.7
"""From this score on a text is acted on at once."""
DOUBTFUL_AT = 0.35
"""From this score on nothing is sent until a person has decided: whoever is left in peace by mistake loses little."""

WORD_WEIGHT, WORDS_EVEN = 0.15, -1.0
"""To the score of rules that are not sure the words of a text add WORD_WEIGHT * (sure - WORDS_EVEN)."""
WORDS_SURE = 4.0
"""Words less sure than this, fifty to one, leave a text doubtful at most; its score is then BELOW_STOP."""
BELOW_STOP = 0.69

STOP_WORDS = frozenset({"STOP", "UNSUBSCRIBE", "END", "QUIT", "STOPALL", "REVOKE", "OPTOUT", "CANCEL"})
START_WORDS = frozenset({"START", "YES", "UNSTOP"})
HELP_WORDS = frozenset({"HELP", "INFO"})


_RULES = (*RULES, *PARTING, *SPANISH_RULES, *DOUBTS)


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


class Rest(NamedTuple):
    """A text written plainly, what is said of something else taken out; `names` says what that was."""

    text: str
    names: tuple[str, ...]


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


def judge(body: str, table: Table | None = None) -> Judgement:
    """What this text wishes. Any string will do; the time it takes grows with its length only.

    `table` takes the place of the learned weights of words.
    """
    tokens = reading.tokens(body)
    only = _only_a_word(tokens)
    if only is not None:
        return only
    rest = _without_asides(tokens)
    spoken = [rule for rule in _RULES if rule.speaks(rest.text)]
    names = (*rest.names, *(rule.name for rule in spoken))
    wish = min(1.0, sum(rule.weight for rule in spoken if rule.weight > 0))
    score = max(0.0, wish + sum(rule.weight for rule in spoken if rule.weight < 0))
    if score < STOP_AT:
        contradicted = any(rule.weight < 0 for rule in spoken)
        score, words = _with_words(score, weigh(rest.text, table), most=score if contradicted else 1.0)
        names = (*names, *words)
    score = round(score, 2)
    return Judgement(_verdict(score), score, names)


def put_aside(body: str) -> Rest | None:
    """The text as rules and words meet it; none of a text that is only one of the words."""
    tokens = reading.tokens(body)
    return None if _only_a_word(tokens) else _without_asides(tokens)


def _without_asides(tokens: list[str]) -> Rest:
    text, names = reading.joined(tokens), []
    for aside in ASIDES:
        text, count = aside.pattern.subn(" _ ", text)
        if count:
            names.append(aside.name)
    return Rest(text, tuple(names))


def _with_words(score: float, weighed: Weighed, most: float) -> tuple[float, tuple[str, ...]]:
    """The score of rules that are not sure, and what the words add to it or take from it; never more than `most`."""
    voice = WORD_WEIGHT * (weighed.sure - WORDS_EVEN)
    side, words = ("for", weighed.speak_for) if voice > 0 else ("against", weighed.against)
    together = max(0.0, min(most, score + voice))
    if weighed.sure < WORDS_SURE:
        together = min(together, BELOW_STOP)
    if together == score or not words:
        return together, ()
    return together, (f"words {side}: {', '.join(words)}",)


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
