"""The words of the opt-out rules: which of them are an answer by themselves, and what misspelt ones stand for."""


def words(text: str) -> frozenset[str]:
    return frozenset(text.split())


STOPS = words(
    # Twilio's and the FCC's (47 CFR 64.1200(a)(10)); "stop all" and "opt out" are met as one word.
    "stop stopall unsubscribe end quit revoke optout cancel "
    # What people write in their place.
    "stopit unsub remove removeme optmeout unsubscribeme nomore arret "
    "alto parar pare paren para basta yabasta cancelar cancela cancele cancelen baja salir detener detenganse detente "
    "desuscribir desuscribirme desuscribirse terminar borrar desactivar suspender eliminar eliminarme "
    "borrarme quitarme nomas yano"
)
STARTS = frozenset({"start", "yes", "unstop"})
"""Twilio's. "Sí" is not among them: Twilio does not know it, and would go on refusing what is sent."""
HELPS = frozenset({"help", "info", "ayuda"})

COURTESY = words(
    "again ahora already asap favor gracias hello hey hi hola immediately just kindly maam mismo muchas now ok "
    "okay please por porfavor right senor senora sir thank thanks ya you"
)

_SHORT = {
    "you": "u",
    "your": "ur",
    "please": "pleas pls plse plss plz plzz",
    "thanks": "thankyou thnx thx tks ty tysm",
    "text": "etxt tex txet txt",
    "texts": "txts",
    "texting": "textin txtin txting",
    "blowing": "blowin",
    "them": "em dem",
    "phone": "telephone cellphone mobile",
    "aqui": "aki",
    "lleguen": "yegen yeguen",
    "texted": "txted",
    "message": "msg mssg",
    "messages": "msgs mssgs",
    "messaging": "msging",
    "send": "snd sned",
    "sending": "sendin",
    "number": "nmbr num",
    "dont": "dnot dnt donot dotn odnt",
    "doesnt": "doesnot",
    "didnt": "didnot",
    "cant": "cannot",
    "wrong": "wrng",
    "stop": "stahp sto stp",
    "leave": "lv",
    "remove": "rmv",
    "unsubscribe": "desubscribe unscribe",
    "cancel": "cncl",
    "appointment": "appt apt",
    "porfavor": "porfa porfis xfa xfavor",
    "quiero": "kiero",
    "que": "k q qe",
    "mensaje": "mensage msj",
    "mensajes": "mensages mjs msjs",
    "and": "n",
    "with": "w",
    "going to": "gonna",
    "take": "atke taek tkae tak",
    "from": "frm fom",
    "list": "lsit",
    "want": "wnat",
    "more": "mroe",
}
SHORT = {short: word for word, shorts in _SHORT.items() for short in shorts.split()}
"""What people write in place of a word, and slips in words too short to be corrected."""

CORRECTED = words(
    "again stop quit remove delete cancel unsubscribe texting texts message messages messaging sending contact "
    "contacting number revoke consent permission interested wrong harassment harassing subscribed please anymore "
    "lawyer attorney leave alone calling spamming receive receiving removed enough optout mensajes mensaje numero "
    "equivocado quitenme quiteme borrenme borreme saquenme saqueme dejenme dejen escriban manden envien contacten "
    "molesten molestar molestando cancelar promociones interesa"
)
"""Words that are recognised with one slip in them."""
TRUE_WORDS = words(
    "aloe alon alone along atone atop attorneys balling bending calling cancela cancelada cancelado cancelan "
    "cancelar cancelas cancele canceled cancelen canceling cancellation cancelled cancelling cancelo cancels "
    "cancer chop cleave cleaved clone consents contactan contacto contactos contacte "
    "contacted contactes contacts content contents "
    "contract contracting cop crop deben deceive dejan dejes deleted deletes drop ending envian envie envies "
    "equivoca equivocada equivocados escribas escriben evoke falling galling heave hoop hop interesan interese "
    "interest lawyers leafy lease least leave leaven leaves left lending live loop lop love lumber mailing mandan "
    "mande mandes massage massages mending messaged messy molesta molestan molestas moleste mop next numb numbers "
    "numeral numeros opt pleasant pleased pleases poop pop porfavor post pots prong prop provoke quid quiet quilt "
    "quite quits quiz received receiver receives relieve remodel remote removal removed remover removes revoked "
    "revokes sanding scaling scoop seeding ship shop shot sleeve slip slop slot slumber snap snoop soap soon sop "
    "sort soup spending spot spots squit star stay stem step stir stock stomp stone stoop stop stopped stops "
    "store story stove stow stripe strop stub subscribe subscriber suit swap tending tents test testing tests "
    "text texto textos tip top tops troop uninterested unwrong weave wring wronging wrongs wrung"
)
"""Words in their own right that are one slip from a corrected one, or nearly."""
JOINED = {
    "dont": "do not|dont you ever|dont ever|dont you|dnt",
    "didnt": "did not",
    "doesnt": "does not",
    "isnt": "is not",
    "arent": "are not",
    "wasnt": "was not",
    "havent": "have not",
    "hasnt": "has not",
    "cant": "can not",
    "no quiero": "noquiero",
    "unenroll": "un enroll",
    "wont": "will not",
    "wouldnt": "would not",
    "shouldnt": "should not|must not",
    "nolonger": "no longer",
    "no more": "nomore|no mo",
    "anymore": "any longer|any more(?= (?:[.,?]|please|thanks))|any more$|nomas",
    "im": "i am",
    "thats": "that is",
    "checkin": "check in(?= (?:texts|messages|reminders)\\b)|check ins",
    "youre": "you are",
    "its": "it is",
    "my number": "(?:1 )?(?:[0-9]{3} )?[0-9]{3} [0-9]{4}|1?[0-9]{10}",
    "number": "(?:phone|cell|telephone|mobile|cellphone|contact) (?:number|no)|number number",
    "texts": "text (?:messages|alerts|reminders|messaging)",
    "text": "text message",
    "email": "e mail",
    "emails": "e mails",
    "followups": "follow ups",
    "unsubscribe": "un subscribe|un subscribed|de subscribe|take out subscription",
    "optout": "opt outs",
    "dnclist": "dnc|(?:dont|not|no|dnc) (?:(?:call|text|contact) (?:or )?){0,2}(?:list|registry|register)",
    "waitlist": (
        "(?:wait|waiting|guest|class|cancellation|standby|invite|player|shopping|seating|volunteer|email|mailing) "
        "list(?= (?:for|on|at|del?)\\b)|(?:wait|waiting|guest|cancellation|"
        "standby|seating|pickup|carpool|wish|packing|grocery|supply) list|lista de (?:espera|"
        "invitados|precios|compras|asistencia|regalos)"
    ),
    "no mas": "no mas porfavor",
}
"""What takes the place of words that stand together: made in this order."""
ALONE_TOO = frozenset({"step", "shop", "top"})
"""Words one slip from "stop" that somebody could send alone."""
