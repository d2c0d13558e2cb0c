"""Words of a text and what each weighs for or against a wish to be left in peace: the second voice beside the rules.

The table is learned by `bench/texts/learn.py` from the labelled lines of `bench/texts`; nothing is learned at run time.
It is linear: what the words of a text weigh is added up, so that for each text one can say which words it was. In it

- "stop" is a word, "stop it" two in a row, "mand-" a word that begins so ("^" and "$" are the text's begin and end);
- "<texts>" is any word of that class of `optout_patterns`, "<not> <want> <texts>" up to three in a row;
- "<not> .. <texts>" are two of them in one order, with at most three words between;
- "up to 6 words" is the length of the text.
"""

import json
import re
from collections.abc import Iterable, Mapping
from functools import cache, lru_cache
from itertools import pairwise
from math import fsum
from pathlib import Path
from typing import NamedTuple

from holdfast.messaging.optout_patterns import WORDS, compiled

TABLE = Path(__file__).with_name("optout_weights.json")
LENGTHS = (3, 6, 12, 20)
APART = 4
"""How far from another a word is still read together with it."""
SHOWN = 3
"""Words that are named to a person, of those that weigh most."""

_OF_NO_CLASS = frozenset(["quite", "para", "sin"])
"""Words that are more often another than the one of the class that is spelt alike."""
_NAMED = re.compile("^(?!up to|many words).*[a-z]")
"""Not the length and the marks of a text, which say little to a person."""
_CLASSES = (
    *("texting", "texted", "text", "texts", "textos", "manden", "not", "cease", "dejen", "cancelen", "quiten"),
    *("forget", "take", "want", "agreed", "consent", "number", "numero", "list", "lista", "these", "from"),
)
"""Of the classes that a word is in, the first counts."""
_MORE_CLASSES = {
    name: frozenset(words.split())
    for name, words in {
        "me": "me us myself mine my our ourselves nos mi mis",
        "you": "you your yall youre ya ustedes usted tu su sus guys folks people company",
        "ever": (
            "again anymore ever further future forever permanently last longer future final finally mas nunca jamas "
            "otra vez ultimo siempre forward nolonger"
        ),
        "phone": "phone cell inbox line telefono celular cel device mobile",
        "mail": "email mail letter letters post correo facebook online portal paper voicemail",
        "polite": "please kindly thanks thank favor porfavor gracias sir maam sorry",
        "weary": (
            "tired sick annoying annoyed hate ridiculous enough harto harta cansado cansada unwanted bothersome "
            "molesto molesta irritating seriously ugh omg god wtf damn hell fuck fucking shit stupid"
        ),
        "list": "group chain club leads book thread roster program",
        "they": "he she him her his they them their el ella le lo la los las",
        "day": (
            "today tomorrow monday tuesday wednesday thursday friday saturday sunday morning afternoon evening "
            "week weekend month hoy manana lunes martes miercoles jueves viernes sabado domingo tarde noche "
            "semana am pm"
        ),
        "business": (
            "appointment order card payment check delivery package reservation table room service repair insurance "
            "account bill invoice refund price car house door class game practice cita orden pago pedido paquete carro "
            "casa factura reserva mesa turno"
        ),
    }.items()
}

Table = Mapping[str, float]
"""What each word, row or pair weighs; "" is what a text of none of them would."""


class Weighed(NamedTuple):
    """`sure` is the sum: 0 is even, 2 is seven to one for a wish, -2 as much against.

    `speak_for` and `against` are the words that did most to it, either way.
    """

    sure: float
    speak_for: tuple[str, ...]
    against: tuple[str, ...]


def weigh(text: str, table: Table | None = None) -> Weighed:
    """What the words of a text weigh that is written plainly, what is said of something else taken out of it."""
    table, found = table or _table(), features(text)
    share = len(found) ** -0.5
    weights = {one: table[one] * share for one in found if one in table}
    named = sorted((weight, one) for one, weight in weights.items() if weight and _NAMED.search(one))
    return Weighed(
        table[""] + fsum(weights.values()),
        tuple(one for weight, one in reversed(named) if weight > 0)[:SHOWN],
        tuple(one for weight, one in named if weight < 0)[:SHOWN],
    )


def features(text: str) -> frozenset[str]:
    """What of a text may have a weight. There is always its length."""
    spoken = text.split()
    words = ["^", *spoken, "$"]
    kinds = [_kind(word) for word in words]
    found = {f"up to {most} words" for most in LENGTHS if len(spoken) <= most} or {"many words"}
    found.update(words, kinds, _rows(words, 2), _rows(kinds, 2), _rows(kinds, 3))
    found.update(f"{word[:4]}-" for word in words if len(word) > 5)
    for at, kind in enumerate(kinds):
        found.update(f"{kind} .. {other}" for other in kinds[at + 1 : at + 1 + APART])
    return frozenset(found)


def _rows(words: list[str], size: int) -> Iterable[str]:
    if size == 2:
        return (f"{one} {two}" for one, two in pairwise(words))
    return (" ".join(words[at : at + size]) for at in range(len(words) - size + 1))


@lru_cache(maxsize=8192)
def _kind(word: str) -> str:
    """The class that a word is of, or the word itself."""
    if word in _OF_NO_CLASS:
        return word
    for name, words in _MORE_CLASSES.items():
        if word in words:
            return f"<{name}>"
    for name in _CLASSES:
        if _class(name).fullmatch(word):
            return f"<{name}>"
    return "<figures>" if word.isdigit() else word


@cache
def _class(name: str) -> re.Pattern[str]:
    return compiled(f"(?:{WORDS[name]})")


@cache
def _table() -> Table:
    table: dict[str, float] = json.loads(TABLE.read_text("utf-8"))
    return table
