"""How a pattern of the opt-out rules is written, and the classes of words that the rules are made of.

A pattern is met by the plain form of a text (`optout_reading`): small letters, no accents, single blanks, with ".", ","
and "?" as words of their own. In it

- `<name>` stands for a word of a class in `WORDS`;
- `~3 ` for up to three further words of the same clause;
- `-3 ` for up to three words that belong to the thing named after them: "the -3 texts" is met by "the many silly texts"
  but not by "the car until your texts", nor by "my old ...", which is another thing;
- `^^` for the beginning of a clause, courtesy aside, and `$$` for its end.

Nothing repeats without bound, so that each pattern takes time in proportion to the text.
"""

import re
from dataclasses import dataclass

WORDS = {
    # The messages, as things.
    "texts": (
        "texts|sms|mms|spam|junk|ads|advertis[a-z]+|promos?|promotions?|promotional|alerts|notifications|notices|"
        "offers|deals|coupons|specials|marketing|reminders|solicit[a-z]+|blasts?|newsletters?|communications?|"
        "campaigns?|surveys|updates|robo[a-z]+|emails|messages|messaging|texting|pings|announcements|followups|"
        "correspondence|outreach|bots?|mailings?|pitch|pitches|propaganda|(?:text|message|notification|reminder) "
        "(?:list|lists|program|thing|club|service|enrollment|system|chain|marketing|line|group|stuff|threads?|"
        "business)"
    ),
    # Sending them, as what is going on and as what is asked for.
    "texting": (
        "texting|messaging|contacting|spamming|calling|emailing|writing|bothering|bugging|harassing|pestering|"
        "blasting|hitting|reaching out|disturbing|annoying|soliciting|notifying|advertising|promoting|marketing|"
        "pinging|blowing|bombarding|hounding|stalking|flooding|phoning|communicating|nagging|hassling|badgering|"
        "begging|reminding|dialing|pushing|selling|asking me|checking in|using (?:my|this)|trying to"
    ),
    "text": (
        "text|message|contact|spam|email|bother|bug|harass|pester|reach|disturb|notify|annoy|solicit|hit|ping|"
        "communicate|nag|remind|dm|blast|advertise|market"
    ),
    "texted": "contacted|texted|messaged|bothered|disturbed|solicited|spammed|emailed|notified|harassed",
    # Who is left in peace, and what stands for them.
    "me": (
        "me|us|here|again|anymore|ever|further|with|him|her|them|(?:this|my|our|her|his|their|any of my) -2 "
        "(?:number|numbers|phone|cell|line|work|house|home|family|mom|dad|wife|husband|kids?|daughter|son|landline|"
        "inbox|business|mother|father|parents|grandma|grandmother|grandpa|device|office)"
    ),
    "self": (
        "me|us|myself|ourselves|him|her|them|this|it|mine|(?:my|this|our|her|his|their|the|that|moms|dads|mothers|"
        "husbands|wifes|[a-z]+s) -2 (?:number|numbers|name|info|information|phone|cell|line|contact|contacts|mom|dad|"
        "mother|wife|husband|father|email|business|family|data|details|son|daughter|landline|one|household)|my [a-z]+"
    ),
    "us": (
        "me|us|myself|ourselves|(?:my|this|our|her|his|their|moms|dads|mothers|husbands|wifes) -2 (?:number|numbers|"
        "name|info|information|phone|cell|line|landline|contact|mom|dad|mother|wife|husband|father|family|data|"
        "details|son|daughter|one|household)"
    ),
    "number": (
        "number|numbers|name|info|information|contact|contacts|data|details|phone|cell|digits|line|landline|numero|"
        "telefono|celular"
    ),
    "list": (
        "lists?|listing|system|systems|database|db|records?|files?|rolls?|rolodex|directory|computer|computers|crm|"
        "contacts?|memory|distribution|leads|outreach|call sheet|rotation|subscribers?|registry|platform|everything|"
        "books|lista|listas"
    ),
    "these": (
        "these|this|those|them|it|that|any|anything|more|stuff|such|another|everything|crap|shit|junk|nonsense|"
        "garbage|bullshit|bs|mierda"
    ),
    "from": "off of|out of|off|from|of|out|de|del",
    # What is to be done to messages, and to a name on a list.
    "cease": (
        "stop|stopping|quit|quitting|cease|halt|end|ending|cancel|cancelling|canceling|discontinue|terminate|kill|"
        "disable|deactivate|desist|pause|suspend|refrain(?: from)?|silence|mute|drop|delete|remove|removing|nix|"
        "ditch|eliminate|scrap|block|stopall|unsubscribe|avoid|omit|undo|skip|spare me|spare us|shove|shut down|pull "
        "the plug on|lay off|pass on|refuse|decline|reject|object to|do without|keep your|save your|ease off|hold "
        "off on|shut it down|do away with|get rid of|getting rid of|cut out|knock off|put an end to|put a stop to|"
        "hold the|turn off|shut off|switch off|cut off|forgo|stow|close|save me"
    ),
    "take": (
        "take|taking|remove|removing|delete|deleting|drop|dropping|get|getting|scratch|pull|pulling|erase|erasing|"
        "wipe|purge|clear|strike|kick|cross|scrub|exclude|withdraw|uninstall|unenroll|unlist|delist|omit|count|cut|"
        "deregister|disconnect|release|boot|yank|sign|disenroll|unsubscribe|keep|want|have|leave|discard|eliminate|"
        "takes?|unregister"
    ),
    "forget": (
        "lose|delete|deleting|remove|removing|erase|trash|ditch|block|toss|scrub|burn|purge|forget you have|forget|"
        "scratch|wipe|discard|rid of|drop|unlist|destroy|shred"
    ),
    "not": (
        "dont|never|not|nolonger|nor|nobody|wont|shouldnt|mustnt|cant|neither|no need to|no reason to|without|isnt|"
        "arent|aint"
    ),
    "want": (
        "want|wants|wanting|wanna|wish|need|care|like|appreciate|desire|interested|ask|asked|welcome|enjoy|request|use"
    ),
    "agreed": (
        "(?:sign|signed|signing|signd) (?:-2 )?up|subscribed?|subscribing|(?:opt|opted|opting) (?:~1 )?in|agreed?|"
        "agreeing|consent|consented|consenting|authori[sz]ed?|enroll|enrolled|register|registered|asked|ask|"
        "requested|request|join|joined|approved?"
    ),
    "consent": "consent|permission|authori[sz]ation|opt in|optin|approval",
    "courtesy": (
        "please|now|thanks|thank|already|asap|immediately|again|anymore|ok|okay|today|ever|right|forever|kindly|"
        "entirely|completely|at all|and|or|but|because|before|since|as i|as we|as of|as this|im|i|we|if|its|you|yall|"
        "so|tho|though|then|por|porfavor|ya|gracias|ahora|entonces|y|o|mr|mrs|maam|sir|bro|dude|man|lol|until|for "
        "good|altogether|thx|pues|fr|fr fr|mam|loco|joven|sale|plis|honey|from now on|no cap"
    ),
    "begin": (
        "please|nah|fam|bruh|bro|ok|okay|just|now|so|and|yes|hi|hey|hello|no|i|we|said|omg|ugh|kindly|you|need|must|"
        "should|can|could|would|will|to|yall|guys|dude|bro|again|thanks|or|then|want|like|id|por|favor|porfavor|ya|"
        "que|si|y|pues|oye|oigan|also|but|bot"
    ),
    # Spanish, by stems: what ends in -ado, -ron or -o tells of something and asks for nothing.
    "textos": (
        "mensajes?|mensajitos?|textos?|texts?|sms|promociones|promocion|promos?|publicidad|anuncios?|propagandas?|"
        "ofertas?|notificaciones|correos|spam|avisos|recordatorios|alertas|cupones|boletin(?:es)?|encuestas|"
        "comerciales|comunicaciones|descuentos|ads|messages?|whatsapps?"
    ),
    "manden": (
        "(?:mand|envi|contact|molest|mensaje|text|texte|acos|fastidi|spam|bombarde|satur|anunci|insist|avis|jod|busc|"
        "marc|comunic|notific|hostig|ching|habl)(?:e|en|es|ar|er|ir|ando|iendo|ara|aran)(?:me|nos|le|les|lo|la|los|"
        "las|se){0,2}|escrib(?:a|an|as|ir|iendo|iera|ieran)(?:me|nos|le|les|lo|la|los|las|se){0,2}|(?:bus|mar|comuni|"
        "notifi)(?:que|quen|ques)|(?:hosti|chin)gu(?:e|en|es)|jod(?:a|an|as)|lleguen|insist(?:a|an|as)"
    ),
    "quiten": (
        "(?:quit|kit|saqu|sac|borr|elimin|remuev|remov|retir|excluy|descart|desapunt|desinscrib|desuscrib|tach|"
        "baj)(?:e|en|a|an|ar|er|ir|as|es){0,2}"
    ),
    "numero": "numero|nombre|telefono|tel|celular|cel|contacto|datos|info|informacion|linea|movil|number",
    "lista": (
        "listas?|listados?|envios|leads|base|sistema|contactos|registros?|grupo|chat|directorio|agenda|archivos?|"
        "servicio|programa|list|texts"
    ),
    "dejen": "dej(?:e|en|a|ar|es|as)(?:me|nos|se)?|par(?:e|en|a|ar|as|es)(?:le|nle)?|ces(?:e|en|ar)|termin(?:e|en|ar)",
    "cancelen": (
        "(?:cancel|elimin|quit|borr|anul|par|fren|silenci|desactiv|termin)(?:e|en|a|an|ar|o|ando)(?:me|le|nle)?|"
        "basta|alto|suspend(?:a|an|er|o|iendo)|deten(?:ga|gan|er)|paro|apag(?:uen|ue|ar)|bloque(?:en|e|ar|o)|sin|"
        "saquen|fuera|remuevan|para"
    ),
}

_JOINTS = (
    "to|by|for|when|until|till|if|because|before|after|while|in|at|on|and|but|so|then|that|last|old|other|second|"
    "first|previous|wrong|card|credit|debit|billing|payment|insurance|bank|shipping|is|are|was|were|will|would|had|"
    "has|have|about|into|over|than|since|near|it|you|i|cuando|si|porque|pero|hasta|que|para|por|antes|viejo|vieja|"
    "otro|otra|anterior|ultimo"
)


@dataclass(frozen=True, slots=True)
class Aside:
    """Words that are said of something else: they are taken out before the rules look."""

    name: str
    pattern: re.Pattern[str]


@dataclass(frozen=True, slots=True)
class Rule:
    """Adds its weight once, wherever in the text its phrase stands; `beside`, only where that is found as well."""

    name: str
    weight: float
    pattern: re.Pattern[str]
    beside: re.Pattern[str] | None = None

    def speaks(self, text: str) -> bool:
        return bool(self.pattern.search(text)) and (self.beside is None or bool(self.beside.search(text)))


def compiled(*alternatives: str) -> re.Pattern[str]:
    """Patterns of whole words, any of which will do."""
    return re.compile(r"(?<!\S)(?:" + "|".join(_spelt(one) for one in alternatives) + r")(?!\S)")


def _spelt(pattern: str) -> str:
    spelt = pattern.replace("^^", "(?:^|[.,?] )(?:<begin> ){0,6}").replace("$$", r"(?=$| [.,?]| <courtesy>(?!\S))")
    words = re.sub(r"<(\w+)>", lambda found: f"(?:{WORDS[found[1]]})", spelt)
    return re.sub(
        r"\(\?:([~-])(\d) \)\?|(?<![^\s(|?:!=)])([~-])(\d) ",
        lambda found: _gap(found[1] or found[3], found[2] or found[4]),
        words,
    )


def _gap(kind: str, most: str) -> str:
    word = r"[^\s.,?]+ " if kind == "~" else rf"(?!(?:{_JOINTS}) )[^\s.,?]+ "
    return rf"(?:{word}){{0,{most}}}"
