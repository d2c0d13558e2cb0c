"""A text written plainly: small letters, no accents, no decoration, one form of each misspelt or shortened word."""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import pairwise

from holdfast.messaging.optout_words import ALONE_TOO, CORRECTED, COURTESY, JOINED, SHORT, STOPS, TRUE_WORDS

LONGEST_WORD = 24
"""Letters of a word that are looked at: no word of the rules is longer, and no pattern meets a longer one."""
MOST_WORDS = 600
"""Words of a text that are looked at, the first and the last 300: Twilio takes no text of more than 1,600 letters."""
BREAKS = frozenset(".,?")
_JOINED = [(re.compile(rf"(?<!\S)(?:{pattern})(?!\S)"), word) for word, pattern in JOINED.items()]

_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_STOP_SIGNS = re.compile(
    "[\N{OCTAGONAL SIGN}\N{NO ENTRY}\N{NO ENTRY SIGN}\N{REVERSED HAND WITH MIDDLE FINGER EXTENDED}]"
)
_APOSTROPHES = re.compile("['`\N{ACUTE ACCENT}\N{RIGHT SINGLE QUOTATION MARK}\N{LEFT SINGLE QUOTATION MARK}]")
_UNSEEN = frozenset({"Mn", "Me", "Cf", "Cc"})
"""Accents, variation selectors, zero-width and control characters: people do not see them."""
_QUOTED = re.compile('(?<=[a-z] )["\N{LEFT DOUBLE QUOTATION MARK}](?=\\w)')
_DASH = re.compile(" -+ |--+|[\N{EN DASH}\N{EM DASH}]")
_PIECE = re.compile(r"[^\W_]+|[.,?]")
_ZERO_IN_WORD = re.compile(r"(?<=[a-z])0|0(?=[a-z])")
_STOP_2 = re.compile(r"(?:stop)+(?:\d.*)?$")
_DRAWN_OUT = re.compile(r"([a-z])\1{2,}")
_SEPARATORS = str.maketrans(dict.fromkeys("!;:\n\r\t()[]{}|¡", ".") | {"¿": " ", "&": " and ", "#": " number "})


def tokens(body: str) -> list[str]:
    """Words and breaks ("." "," "?") of the text, each word in its plain form."""
    found: list[str] = []
    for piece in _PIECE.findall(_plain(body)):
        if piece in BREAKS:
            if found and found[-1] not in BREAKS:
                found.append(piece)
        else:
            found.extend(_word(piece).split())
    spelt = [one for one in found if one not in BREAKS]
    if len(spelt) > 3 and all(len(one) == 1 for one in spelt):
        return [_word("".join(spelt)[:LONGEST_WORD])]
    return found if len(found) <= MOST_WORDS else [*found[: MOST_WORDS // 2], ".", *found[-MOST_WORDS // 2 :]]


def joined(found: Sequence[str]) -> str:
    """The words and breaks with blanks between, and one form of what is written in two words or in several ways."""
    text = " ".join(found)
    for pattern, word in _JOINED:
        text = pattern.sub(word, text)
    return text


def bare(found: Sequence[str]) -> list[str]:
    """The words that are neither courtesy nor break; none where there are more than a few."""
    words = [one for one in found if one not in BREAKS]
    if [one for one in words if one == "ya" or one not in COURTESY] == ["ya", "no"]:
        return ["ya", "no"]
    kept = [one for one in words if one not in COURTESY]
    return kept if len(kept) <= 8 else []


def opt_out_word(words: Sequence[str]) -> str | None:
    """The opt-out word that these words are, said once or again and again, in one piece or two."""
    joined = [a + b for a, b in pairwise(words)]
    for size, candidates in ((1, words), (2, joined[::2])):
        whole = len(words) % size == 0 and bool(candidates)
        if whole and all(one in STOPS for one in candidates):
            return candidates[0]
    word = "".join(words)
    if word not in STOPS and len(words) == 1 and word not in ALONE_TOO:
        # Alone, even "stoop" is a slip.
        word = "stop" if word in _slips("stop") else word
    if len(words) > 1 and word in _slips("optout"):
        word = "optout"
    return word if word in STOPS else None


def _plain(body: str) -> str:
    signs = _STOP_SIGNS.sub(" stop ", body) if not any(one.isalnum() for one in body) else body
    wide = unicodedata.normalize("NFKD", signs).casefold()
    kept = "".join(one for one in wide if unicodedata.category(one) not in _UNSEEN or one in "\n\r\t")
    return _DASH.sub(" . ", _APOSTROPHES.sub("", _QUOTED.sub(" quoted ", kept))).translate(_SEPARATORS)


def _word(piece: str) -> str:
    word = _DRAWN_OUT.sub(r"\1", _ZERO_IN_WORD.sub("o", piece[:LONGEST_WORD]))
    if _STOP_2.match(word):
        return "stop"
    if word in SHORT:
        return SHORT[word]
    if word.startswith(("unsub", "unsus", "unsuscr", "unsbus")):
        return "unsubscribe"
    if word in TRUE_WORDS:
        return word
    return _misspelt().get(word, word)


@cache
def _misspelt() -> dict[str, str]:
    """Every spelling one slip away from a corrected word: a letter too many, too few, another, or two exchanged."""
    slips: dict[str, str] = {}
    for word in sorted(CORRECTED):
        for slip in _slips(word):
            slips.setdefault(slip, word)
    return {**slips, **{word: word for word in CORRECTED}}


def _slips(word: str) -> Iterator[str]:
    for at in range(len(word) + 1):
        before, after = word[:at], word[at:]
        yield from (before + letter + after for letter in _LETTERS)
        if after:
            yield before + after[1:]
            yield from (before + letter + after[1:] for letter in _LETTERS)
        if len(after) > 1:
            yield before + after[1] + after[0] + after[2:]
