"""Rules of parting: the last one, these no more, off with me, silence, another way than texts, in both languages.

Weights are those of `optout_rules`. Those under 0.35 count only beside other rules or words that speak for a wish.
"""

from holdfast.messaging.optout_patterns import Rule, compiled

_PARTING: dict[str, tuple[float, tuple[str, ...]]] = {
    "the last one": (
        0.85,
        (
            "(?:make|let|can|could|may|better|hope) (?:this |that |it |be |the |your |very |better ){1,4}last (?:-2 "
            ")?(?:one|text|message|<texts>|time (?:~1 )?<text>)(?! (?:left|available|to))",
            "(?:it|this) (?:all )?(?:ends|stops) (?:now|here|today)|want (?:it|this) (?:ended|over)|(?:not|never) "
            "(?:~1 )?do (?:this|that) again|(?:no|not) (?:even )?(?:another|one more) (?:one|of these)|"
            "no (?:further|more) ones?",
            "que (?:este )?sea el ultimo|hasta (?:aqui|ahi) (?:con )?(?:-2 )?<textos>|ya (?:~1 )?(?:bueno|estuvo) "
            "(?:de|con) (?:-2 )?<textos>|ya estuvo$$",
        ),
    ),
    "these no more": (
        0.85,
        (
            "(?:<not>|cannot|aint|tryna|trying) (?:~1 )?(?:want|wanting|get|getting|see|need|have|having|"
            "receive) (?:to "
            "get |to receive |to see |any of |even |any ){0,2}(?:these|those|this|one)(?=$| [.,?]| <courtesy>(?!\\S)| "
            "(?:anymore|again|fr|coming|no more)| (?:~1 )?on (?:my|this) (?:phone|cell))(?! (?:yet|today|until))",
            "(?:dont|not|nolonger|never|aint|doesnt|cant) (?:~2 )?(?:want|wanting|need|use|land|lands|tryna|allow) "
            "(?:~3 )?(?:on|to|in|for|into) my (?:phone|cell|inbox|number)",
            "(?:no|any) (?:reason|need|use|point|right|business) (?:~2 )?(?:be|keep|keeping|for) (?:~2 )?(?:<texting>|"
            "sending|me on|these)|(?:not|none|no|shouldnt|nobody|isnt|arent|never) (?:~5 )?be (?:<texting>|<texted>|"
            "getting (?:-3 )?<texts>)",
            "(?:appreciate|rather|prefer|like|soon) (?:~3 )?(?:not|never) (?:~1 )?(?:being <texted>|(?:get|see|be on|"
            "receive|hear) (?:~2 )?(?:these|<texts>|from you))",
            "(?:[a-z]+s|these|it|this|that|those|they) (?:can|could|may|must|should) (?:all |just |please ){0,2}(?:go "
            "away|stop now|end now|stop coming)|can (?:these|those|this|they) (?:all |just |please )?(?:stop|go away)",
            "(?:can|may|should|could) (?:~1 )?stop (?:with|sending|<texting>) (?:~5 )?(?:<texts>|me|us|mine|these)",
            "(?:how|way|anyway) (?:~5 )?(?:not get|make|stop|end|finish|quit|get rid of|get off(?: of)?|"
            "turn off) (?:~1 "
            ")?(?:these|this thing|(?:-2 )?<texts>)|finish (?:with )?(?:this|these|the) (?:messages?|texts?)",
            "(?:dont|never|not) (?:~1 )?(?:text|message|contact|send|email) (?:me|us|this number) (?:~5 )?(?:anymore|"
            "again|ever)$$|dont waste (?:~3 )?<texting>|not (?:the )?<texts>$$|<not> (?:~1 )?(?:hear|hearing) from "
            "(?:you|yall)|desire to hear|nolonger (?:~1 )?to (?:participate|take part|be part)|(?:stop|quit|"
            "dont) (?:to )?send (?:me |us )?(?:-1 )?<texts>|(?:or|nor|dont|never) (?:ever )?write (?:~1 )?again|"
            "times (?:~3 )?to (?:say|tell you) no$$",
            "(?:not|dont|never) (?:~1 )?(?:include|keep|count) (?:me|us) (?:in|on) (?:these|this|your|the)(?! (?:loop|"
            "schedule|calendar))|(?:pass|done|finished) (?:on|with) (?:these|your texts) from now on",
        ),
    ),
    "not them": (0.4, ("(?<!i )<not> (?:send|want|need) (?:them|em)$$",)),
    "off with me": (
        0.85,
        (
            "(?:strike|scratch|pull|free|release|suppress|unfollow|erase|drop|cut|lift|let|cross|get|take) (?:<us>|"
            "number|name|[a-z]+s (?:cell|phone|number)) (?:off|out|loose|go)(?=$| [.,?]| too| please| now| of|"
            " from)(?! "
            "(?:of|from) (?:_|the _|my _|[0-9]+|work|school|class|bed|here early))",
            "^^(?:drop|strike|suppress|free|release|unfollow|remove|delete|erase|pull|scratch|spare|unenroll) (?:me|us|"
            "number|name|contact|(?:my|this) (?:name|number))(?=$$| from (?!(?:the |my )?(?:_|[0-9]))| too)",
            "(?:number|line|phone|cell) (?:~2 )?(?:be|been|is) (?:suppressed|deleted|removed|erased)|suppress (?:this|"
            "my) number|(?:pull|forget) (?:~3 )?(?:my|this) number$$",
            "(?:come|get|getting|be|go|hop|jump) off (?:of )?(?:this|your|the) (?:-4 )?(?:<texts>|<list>|thing|chain|"
            "group)|out of (?:this|the|your) (?:-1 )?(?:text|texting|messaging) [a-z]+|(?:want|like|"
            "need) out of (?:this|"
            "these)",
            "(?:my|this|our) (?:name|number|info) (?:off|out|from) (?:of )?(?:the|your|this) (?:-2 )?(?:book|sheet|"
            "group|"
            "list|leads|chain|rolodex|thread|tree|roll|app)",
            "(?:me|us) (?:off|from|out of) (?:of )?(?:the|your|these|this) (?:-2 )?(?:leads|<texts>|blasts?|chain|"
            "outreach|call sheet|mailing)(?! (?:on|for))",
            "(?:^|[.,] )(?:off|out|fuera)(?: please)?(?: [.,?])?$",
        ),
    ),
    "silence": (
        0.8,
        (
            "radio silence|^^silence$$|give it a rest|(?:my|this) (?:number|phone) (?:rest|alone|be)$$|shut up shut up|"
            "(?:block|blocked|black|shit) list|blocklist|blacklist|find (?:~2 )?hobby",
            "(?:for the )?love of (?:god|pete) (?:~1 )?(?:stop|quit|make it stop)|and (?:discontinue|desist|cease|stop|"
            "quit)$$|^^(?:terminate|halt|unfollow|desist)$$|id (?:stop|quit) if",
            "sueltenme|^^fuera$$|fuera de mi (?:celular|telefono|numero|vida)|(?:acab[ae]n?|apag(?:a|ue|uen)|"
            "termin(?:a|"
            "e|en)) (?:ya )?(?:con )?(?:eso|esto)(?: ya)?$$|(?:^^|favor de |ya |y )(?:parad|pararle|parele|parenle)(?: "
            "ya)?$$|deteng(?:a|an)l[oa]s",
        ),
    ),
    "another way than texts": (
        0.7,
        (
            "(?:email|emails|mail|letter|post|phone|call) (?:~3 )?(?:instead of|rather than|not|and not|"
            "over) (?:by |on |"
            "to |via |through |my ){0,2}(?:text|texting|<texts>|phone|cell)(?! (?:back|works|is))",
            "(?:rather|prefer|better|instead) (?:~5 )?(?:email|mail|post)(?: and| ,)? (?:~1 )?not (?:~2 )?(?:text|"
            "phone|"
            "cell|<texts>)|(?:dont|wont|not|nolonger|cant) (?:do|accept|use|read|take|understand) (?:-2 )?(?:text|"
            "<texts>)(?! "
            "(?:from him|codes))",
            "(?:no|not|nothing|none|never|dont want|dont need) (?:~2 )?(?:by|via|through|over) (?:text|texts|sms)",
            "(?:^^|[.,] )(?:by )?(?:email|mail) only|(?:email|mail) only (?:from now|going|please)|(?:preferences?|"
            "contact|communicat[a-z]+) (?:~2 )?(?:mail|email) only",
            "(?:<textos>|celular|telefono|por aqui) (?:ya )?(?:no|nada)$$|nada (?:de|por) (?:<textos>|aqui|este medio)",
            "(?:solo|unicamente|mejor|toda ~2|todo|sea) (?:por|al) (?:correo|email|mail)(?! que)",
        ),
    ),
    "off with it": (
        0.3,
        (
            "(?:cut|shut|turn|take|make|quit) (?:it|this|that|these|them|eso) (?:off|out|stop|quit|end)$$|(?:be )?done "
            "with (?:it|this|yall)$$|(?:^|[.,] )never again|permanently$$|(?:going|moving) forward$$|from now on",
            "(?:dings?|dinging|buzz(?:es|ing)?|goes off|beeps|suena|saldo)|waste (?:~1 )?(?:breath|time)|(?:roaming|"
            "prepaid|prepago|flip phone)",
        ),
    ),
    "no longer theirs": (
        0.2,
        (
            "(?:not|nolonger|never|isnt) (?:~2 )?(?:customer|client|member|patient|student|tenant|owner|employee|"
            "subscriber)|(?:moved|closed|switched|sold|retired|graduated|cancelled|ya no (?:soy|vivo|trabajo|"
            "rento))",
        ),
    ),
    "that texts suit": (
        -0.7,
        (
            "(?:text|texts|texting) (?:is|are|works?) (?:~1 )?(?:better|plenty|fine|enough|easier|best|ok|okay|"
            "good)|con "
            "(?:el|los|un) (?:texto|mensaje)s? (?:me )?(?:basta|alcanza)|(?:see|get|read) the texts$$|(?:best|"
            "favorite) "
            "texts|(?<!not )(?<!dont )(?:love|enjoy|like|loved) (?:getting|receiving|reading) (?:these|them)",
            "(?:^|[.,?] |please |just )keep (?:texting|messaging|sending) (?:me|us|them|these)$$(?! and)",
        ),
    ),
}

PARTING = tuple(Rule(name, weight, compiled(*patterns)) for name, (weight, patterns) in _PARTING.items())
