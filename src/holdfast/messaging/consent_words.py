"""What the page says at which a person consents again: in English, and in Spanish for who prefers it."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Words:
    """`{merchant}` and `{end}`, the number's last two digits, are filled in."""

    lang: str
    ask: str
    number: str
    ending: str
    kind: str
    kinds: Mapping[str, str]
    agree: str
    close: str
    done: str
    done_more: str
    gone: str
    gone_more: str
    unknown: str
    unknown_more: str
    away: str
    away_more: str


ENGLISH = Words(
    lang="en",
    ask="Get texts from {merchant} again?",
    number="Your number",
    ending="ends in {end}",
    kind="What for",
    kinds={
        "marketing": "Offers and news, and texts about your orders and appointments",
        "informational": "Texts about your orders and appointments; no advertising",
    },
    agree="Yes, text me",
    close="If you do not want this, close this page: nothing changes.",
    done="Thank you",
    done_more="{merchant} may text you again. Reply STOP to any of its texts to end them.",
    gone="This link is not valid any more",
    gone_more="It was used already, or is too old. To get texts again, text START to the number that they came from.",
    unknown="There is no such link",
    unknown_more="Check that you have copied all of it.",
    away="This cannot be done right now",
    away_more="Nothing has changed. Please try again in a few minutes.",
)
SPANISH = Words(
    lang="es",
    ask="¿Recibir mensajes de {merchant} otra vez?",
    number="Su número",
    ending="termina en {end}",
    kind="Para qué",
    kinds={
        "marketing": "Ofertas y novedades, y mensajes sobre sus pedidos y citas",
        "informational": "Mensajes sobre sus pedidos y citas; sin publicidad",
    },
    agree="Sí, acepto",
    close="Si no lo desea, cierre esta página: nada cambia.",
    done="Gracias",
    done_more="{merchant} puede enviarle mensajes otra vez. Responda STOP a cualquiera de ellos para no recibir más.",
    gone="Este enlace ya no es válido",
    gone_more="Ya se usó o es demasiado antiguo. Para recibir mensajes otra vez, envíe START al número del que venían.",
    unknown="Este enlace no existe",
    unknown_more="Compruebe que lo ha copiado entero.",
    away="Ahora no es posible",
    away_more="Nada ha cambiado. Inténtelo de nuevo en unos minutos.",
)


def preferred(accepted: str) -> Words:
    """By Accept-Language; English where neither is named. Source: RFC 9110 section 12.5.4"""
    best, found = 0.0, ENGLISH
    for part in accepted[:500].split(","):
        name, _, weight = part.strip().partition(";")
        language = name.strip().lower().partition("-")[0]
        try:
            quality = float(weight.strip().removeprefix("q=")) if weight else 1.0
        except ValueError:
            continue
        words = {"en": ENGLISH, "es": SPANISH}.get(language)
        if words is not None and quality > best:
            best, found = quality, words
    return found
