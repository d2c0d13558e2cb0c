"""Rules that leave doubt, that count beside the texts as their matter only, or that speak against a wish.

Their weights are those of `optout_rules`; negative ones speak for an ordinary text.
"""

from holdfast.messaging.optout_patterns import Rule, compiled

_OF_PEACE = compiled(
    "(?:text|message|texted|contact|contacting) (?:me|us|again|and)",
    "<texts>",
    "<texting>",
    "these",
    "(?:the|this|my) number",
    "(?:the|your|this) list",
    "<textos>",
)

_DOUBTS: dict[str, tuple[float, tuple[str, ...]]] = {
    "wrong number": (
        0.45,
        (
            "^(?:~3 )?(?:wrong|rong) (?:number|person|guy|lady|man|woman|phone)|wrong (?:number|person)$$|(?:have|"
            "got|is|texting|contacted|texted) (?:the )?wrong (?:number|person)",
            "(?:not|isnt|aint) (?:~1 )?(?:her|his|their|[a-z]+s) (?:number|phone|cell)(?: anymore)?",
            "(?:have|got|had) (?:this|a) new number$$",
            "(?:no one|nobody|noone) (?:~2 )?(?:by that name|named|by the name|with that name|called)|dont know "
            "(?:any|anyone|anybody) (?:named|by that name|called)",
            "nolonger (?:~3 )?(?:number|phone|cell)|(?:number|phone) (?:~1 )?(?:belongs|belonged) to",
        ),
    ),
    "stranger": (
        0.2,
        ("who (?:~2 )?(?:is|are|r|dis) (?:this|you|dis|these)|whos this|new phone who|dont know you",),
    ),
    "asks for the number's source": (
        0.4,
        (
            "(?:how|where) (?:~1 )?(?:you|yall) (?:~1 )?(?:get|got|find) (?:~1 )?(?:my|this) (?:-2 )?(?:number|info|"
            "contact)",
            "who (?:~1 )?gave (?:~2 )?(?:my|this) (?:-1 )?(?:number|info)",
            "why (?:~2 )?(?:i|we) (?:~2 )?(?:getting|receiving) (?:-2 )?(?:these|<texts>)(?! about)",
            "why (?:~1 )?(?:are|do|r|would|does) (?:~1 )?(?:you|yall|company|they) (?:~1 )?(?:keep )?(?:<texting>|"
            "text|message|sending) (?:me|us|this)",
        ),
    ),
    "not interested": (
        0.45,
        (
            "(?:not|nolonger|isnt|never|aint|arent) (?:~2 )?interested$$|no interest$$",
            "(?:not|nolonger) (?:~2 )?interested in (?:your|any|anything|hearing|these|what)",
            "(?:house|home|property|car|land|business) (?:is |its )?(?:not|isnt) for sale|not (?:selling|voting|"
            "donating)",
        ),
    ),
    "authorities": (
        0.75,
        (
            "(?:fcc|ftc|tcpa|cease and desist|dnclist|invasion of privacy)",
            "(?:this|you|youre|its|it|these|texts|messages|considered|for|pure) (?:~3 )?harass(?:ment|ing)|"
            "harass(?:ing|ed|es)? (?:me|us|people)(?! about (?:a|my|the) )|^^harassment$$",
            "(?:report|reporting|reported) (?:~3 )?(?:spam|scam|phishing)|(?:blocked|reported) and (?:reported|"
            "blocked)",
            "(?:block|blocking|blocked) (?:you|yall|this number|your number|this)$$|^^(?:blocked|reported|blocking|"
            "block me)$$|(?:you|youre|number) (?:have been |are |been |getting |is |will be |being |now "
            "){1,3}(?:blocked|reported)",
        ),
    ),
    "calls it spam": (
        0.6,
        (
            "(?:(?:this|it|these|they) (?:is|are)|(?<!is )(?<!are )(?:this|these|its|youre|just|pure|such|more|your|"
            "as|all)) (?:-1 )?(?:spam|spammers?|scam|scammers?)(?! (?:folder|risk|likely|\\?))",
            "(?:spamming|spammers?)",
            "^(?:spam|scam)(?: [.,])?$",
        ),
    ),
    "tired of it": (
        0.5,
        (
            "(?:sick|tired|fed up|enough|done|over) (?:of|with) (?:being|getting) <texted>",
            "(?:sick|tired|fed up|had enough|had it|exhausted|done|over|through|finished|annoyed|irritated|good|all "
            "set|set|changed my mind|no need|bored) (?:and tired )?(?:of|with|by|about|for|off|on)? ?(?:getting |"
            "receiving |hearing |all |your |the |these |this |any |more ){0,4}(?:-1 )?(?:<texts>|<texting>|from you|"
            "of you|you people)",
            "(?:sick|tired|fed up|done|over) (?:of|with) (?:getting |receiving )?(?:these|you|yall|all (?:of "
            ")?(?:this|these))$$",
            "(?:too|so|way too|that) (?:many|much|often) (?:-1 )?<texts>",
            "(?:<texts>|(?:you|yall) (?:~1 )?(?:text|message|texting)) (?:~3 )?(?:too much|too often|too many|"
            "nonstop|every day|everyday|constantly|all day|all night|so much|every hour|daily|out of hand|a lot|"
            "every single)",
            "(?:<texts>|these|you|youre|yall) (?:~1 )?(?:are|is|youre|so|getting) (?:~2 )?(?:annoying|irritating|"
            "obnoxious|ridiculous|unwanted|unsolicited|nuisance|excessive|old|stupid|unwelcome|not welcome|"
            "dangerous)",
            "(?:annoying|unwanted|unsolicited|constant|nonstop|ridiculous|relentless|stupid|damn|dumb|endless|"
            "useless) (?:-1 )?<texts>",
            "(?:hate|despise|detest|dislike|cant stand) (?:getting |receiving |all ){0,2}(?:these|this|(?:-2 )<texts>)",
            "(?:keep|keeps|kept|constantly|still|continue to|continue) (?:on )?(?:~1 )?(?:texting|messaging|"
            "contacting|spamming|bothering|bugging me|harassing me|(?:getting|receiving|get|sending) (?:~2 "
            ")?(?:<texts>|these|them|crap|this))",
            "(?:blowing|blow|blew) up (?:my|our)|waste (?:of )?(?:my )?time|wasting my",
            "^(?:thats )?enough(?: already| is enough)?(?: [.,])?$|enough (?:already|is enough)$$",
            "(?:[0-9]+|many|a lot|dozens?) (?:-1 )?(?:of (?:these|them)|<texts>) (?:~1 )?(?:a|per|every|each|today|"
            "this) ?(?:day|week|hour|morning)?",
            "(?:charged|charges|charge|pay|paying|costs?) (?:~3 )?(?:for|per|each|every) (?:-1 )?(?:text|message|"
            "texts|messages|one)",
        ),
    ),
    "stop it": (
        0.45,
        (
            "^^(?:stop|quit|end|make) (?:it|that)(?: end| stop)?$$|^(?:please |just ){0,2}dont$|^(?:please |can you |"
            "could you ){1,2}not$",
        ),
    ),
    "a cancelled subscription": (
        0.4,
        (
            "^(?:please |i want to |id like to |how do i |can you ){0,3}(?:cancel|end) (?:my |our |the |this "
            "){0,2}(?:subscription|everything|enrollment)$$|cancel(?:en|e|a|ar) todo$$",
        ),
    ),
}
_BESIDE_TEXTS: dict[str, tuple[float, tuple[str, ...]]] = {
    "a threat over texts": (
        0.75,
        (
            "(?:lawyers?|attorneys?|attorney general|(?:to|will|ill|gonna|i|can|could) sue|suing|legal|police|bbb|"
            "authorities|complaint|illegal|violat[a-z]+|against the law|documented|court|press charges|report (?:~1 "
            ")?(?:you|this|it|number)|damages|reporting (?:~1 )?(?:you|this|it|number)|abogad[oa]|demandar[a-z]*|"
            "denunci[a-z]+)",
        ),
    ),
    "off with them": (
        0.75,
        (
            "(?:turn|shut|switch|cut) (?:them|it|this|that|all) off|(?:nolonger|dont) (?:~1 )?(?:need|want) (?:them|"
            "these|it) ?(?:anymore)?$$|(?:remove|delete|cancel|take|end|stop|kill|quit|correct|fix|block|halt|"
            "discontinue) (?:it|them|this|these|your list|your records)(?: off| out)?$$|make (?:it|this) (?:stop|"
            "end)|(?:^^|thats )enough$$|dont do (?:it|that|this) again$$|another one$$|unwanted$$|get rid of (?:it|"
            "them|these)|not me$$",
        ),
    ),
}
_AGAINST: dict[str, tuple[float, tuple[str, ...]]] = {
    "asks for messages": (
        -0.7,
        (
            "(?:<begin> |^|[.,?] )(?<!to )keep (?:them|em|it|those|these|(?:the |my |your |sending |"
            "getting )(?:-1 )?<texts>|"
            "sending (?:them|these|it)) ?(?:coming|on|going)?$$(?! and)",
            "keep (?:them|em|it|those|these|(?:-2 )<texts>) coming",
            "(?<!dont )(?<!not )(?<!nolonger )(?<!didnt )(?<!never )(?:love|loved|like|liked|enjoy|miss|want|need) "
            "(?:these|your|the|my|getting) (?:-1 )?<texts>(?! anymore| ~3 but)(?! ~2 (?:stop|stopped|end|off|gone|"
            "cancelled))",
            "(?<!dont )(?<!not )(?<!you )(?<!to )please text me|(?<!dont )(?<!not )(?<!you )(?<!to )(?<!never )text "
            "me (?:when|if|the|back|once|at|a|your|with|before|instead|here)|sign me (?:back )?up|"
            "add me(?! to (?:~1 )?dnclist)|(?:back on|"
            "put me on) (?:the|your|that) list|resubscribe|(?<!dont )(?<!not )(?<!never )(?<!to )(?<!or )(?<!you "
            ")(?:use|text|call) (?:this|my|the other|the new) (?:cell|number|one)(?! again| anymore| stop)|(?<!not "
            ")(?:i|they) (?:~1 )?(?:liked|loved|like|love) (?:them|em|it)",
            "(?:^|[.,?] )(?:just |please )?(?:contact|text|message) (?:my(?! old)|him|her)",
            "<texts> (?:are|is) (?:~1 )?(?:fine|ok|okay|good|best|better|easier|great|welcome|helpful)",
        ),
    ),
}

DOUBTS = (
    *(Rule(name, weight, compiled(*patterns)) for name, (weight, patterns) in _DOUBTS.items()),
    *(Rule(name, weight, compiled(*patterns), _OF_PEACE) for name, (weight, patterns) in _BESIDE_TEXTS.items()),
    *(Rule(name, weight, compiled(*patterns)) for name, (weight, patterns) in _AGAINST.items()),
)
