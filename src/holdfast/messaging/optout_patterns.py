"""How a pattern of the opt-out rules is written, and the choices of words that several of them share.

A pattern is met by the plain form of a text (`optout_reading`): small letters, no accents, single blanks, with ".", ","
and "?" as words of their own. `<name>` stands for a choice of words in `WORDS`; `~3 ` for up to three further words of
the same sentence. Neither repeats without bound, so that each pattern takes time in proportion to the text.
"""

import re
from dataclasses import dataclass

WORDS = {
    "msg": (
        "texts?|texted|messages?|sms|mms|spam|ads?|promos?|promotions?|alerts?|notifications?|offers|marketing|"
        "reminders|"
        "solicitations?|coupons|blasts?|newsletters?|advertis[a-z]+|communications?|campaigns?|surveys|robotexts?|"
        "e ?mails|junk|spam texts?"
    ),
    "ing": (
        "texting|messaging|contacting|spamming|calling|emailing|writing|bothering|bugging|harassing|pestering|"
        "blasting|"
        "hitting me|reaching out|disturbing|annoying me|soliciting|notifying|advertising|promoting|marketing|"
        "pinging|"
        "blowing (?:up|me)|bombarding|hounding|stalking|flooding|phoning"
    ),
    "tell": (
        "text|message|contact|spam|e ?mail|bother|bug|harass|pester|reach out|disturb|notify|annoy|solicit|"
        "hit me up|hit me"
    ),
    "me": (
        "me|us|here|again|anymore|any more|ever|further|(?:this|my|our) (?:number|phone|cell|line|work|house|"
        "home|family|mom|wife|"
        "husband|kids?|daughter|son|landline|inbox|business)"
    ),
    "these": "these|this|those|them|it|that|any|anything|anymore|more|stuff|such|yall|so many|all|everything",
    "off": (
        "take|remove|delete|drop|get|scratch|pull|erase|wipe|purge|clear|strike|kick|cross|scrub|exclude|remover|"
        "taking|removing|"
        "delist|deleting|dropping|getting|pulling|erasing|unlist|discard|omit"
    ),
    "who": (
        "me|us|myself|them|him|(?:my|this|our|her|his|their|the|that|mom|moms|dads|dad|mothers|husbands|"
        "wifes) (?:[a-z]+ )?"
        "(?:number|numbers|name|info|phone|cell|line|contact|contacts|mom|dad|mother|wife|husband|father|self|"
        "email|business)|"
        "(?:my|our) [a-z]+s (?:number|name|phone)"
    ),
    "lists": (
        "lists?|texts?|system|database|contacts?|records|files?|texting|messages|mailing|distribution|"
        "subscribers?|rolls?"
    ),
    "not": "dont|do not|not|never|no longer|didnt|did not|wont|cant|wouldnt|doesnt|does not|please no",
    "job": (
        "appointments?|orders?|reservations?|bookings?|visit|delivery|pickup|pick up|meeting|class|session|"
        "lesson|trip|ride|"
        "cleaning|tour|showing|table|room|flight|refill|shipment|package|purchase|policy|plan|lease|contract|call|"
        "consult|consultation|checkup|exam|test|party|event|tickets?|payment|autopay|trial|gym|repair|service call|"
        "estimate|quote|invoice|deposit|slot|spot|waitlist|wait list|schedule|calendar|roster"
    ),
    "no": (
        "no|not|dont|do not|never|stop|quit|cease|desist|cancel|remove|removing|delete|enough|without|nobody|"
        "hate|refuse|decline|"
        "unwanted|tired|sick|annoying|wrong|dislike|bothers?|disturbs?|object|cant stand|rid of|off|out of|halt|"
        "avoid|fewer|less|waking|woke|wakes|bye|final notice|no further|further"
    ),
    "topic": (
        "texts|texting|messages|messaging|sms|promos?|promotions|solicit[a-z]*|contacting|text me|message me|"
        "contact me|contacted|texted|"
        "text messages|text reminders|consent|permission|hearing from|getting these|receiving these|these texts|"
        "your (?:coupons|deals|emails|offers|specials|marketing|ads)|(?:your|ur|this|mailing|marketing|the|any|"
        "text) lists?|advertis[a-z]+"
    ),
    "noun_es": (
        "cita|citas|reserva|reservas|reservacion|orden|pedido|visita|clase|viaje|turno|mesa|envio|entrega|"
        "compra|pago|consulta"
    ),
    "manden": (
        "mand(?:en?|es|ar|arme|arnos|enme|eme)|envi(?:en?|es|ar|arme|enme|eme)|escrib(?:an?|as|ir|irme|anme|ame)|"
        "contact(?:en?|es|ar|arme|enme)|molest(?:en?|es|ar|arme|enme)|llam(?:en?|es|ar|arme|enme)|text(?:een?|"
        "ees|ear|earme)|"
        "mensaj(?:een?|ear)|hostig(?:uen|uar|ar)|acos(?:en|ar)|busquen|hablen|fastidi(?:en|ar)|jod(?:an|er)|"
        "ching(?:uen|ar)|"
        "spam(?:een|ear)|lleguen|notifiquen|escribieran|mandaran|enviaran|contactaran|molestaran|llamaran"
    ),
    "msg_es": (
        "mensajes?|mensajitos|textos?|sms|promociones|publicidad|anuncios|propaganda|ofertas|notificaciones|"
        "correos|spam|avisos|recordatorios"
    ),
    "fuera": (
        "quit(?:enme|eme|ame|enos|arme|en|e|a|ar)|saqu(?:enme|eme|en|e)|sac(?:ame|arme|ar)|"
        "borr(?:enme|eme|ame|arme|en|e|a|ar)|elimin(?:enme|eme|ame|arme|en|e|a|ar)|remuev(?:anme|ame|an|a)|"
        "remover(?:me)?|retir(?:enme|eme|arme|en|e)|desuscrib[a-z]+|excluy(?:anme|ame)"
    ),
}


@dataclass(frozen=True, slots=True)
class Aside:
    """Words that are said of something else: they are taken out before the rules look."""

    name: str
    pattern: re.Pattern[str]


@dataclass(frozen=True, slots=True)
class Rule:
    """Adds its weight once, wherever in the text its phrase stands."""

    name: str
    weight: float
    pattern: re.Pattern[str]


def compiled(*alternatives: str) -> re.Pattern[str]:
    """Patterns of whole words, any of which will do."""
    return re.compile(r"(?<!\S)(?:" + "|".join(_spelt(one) for one in alternatives) + r")(?!\S)")


def _spelt(pattern: str) -> str:
    words = re.sub(r"<(\w+)>", lambda found: f"(?:{WORDS[found[1]]})", pattern)
    return re.sub(r"\(\?:~(\d) \)\?|~(\d) ", lambda found: rf"(?:[^\s.,?]+ ){{0,{found[1] or found[2]}}}", words)
