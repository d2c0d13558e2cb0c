"""Phrases, mostly English, that speak for or against a wish to be left in peace; Spanish ones are in `optout_spanish`.

Weights: 1 is a wish that cannot be misread; 0.75 one that hardly can; 0.4 to 0.6 make a text doubtful by themselves;
less than 0.35 counts only beside another. Negative ones speak for an ordinary text.
"""

from holdfast.messaging.optout_patterns import Rule, compiled

RULES = tuple(
    Rule(name, weight, compiled(*patterns))
    for name, (weight, patterns) in {
        "stop sending": (
            1.0,
            (
                "(?:stop|quit|cease|halt|desist|stopit|refrain) (?:~3 )?<ing>",
                "(?:cease|desist|refrain) (?:from )?(?:~1 )?sending",
                "(?:if|would|like|appreciate|wish|want) (?:~3 )?(?:you|yall) (?:~1 )?stopped(?: (?:~2 )?<ing>|"
                " sending| [.,]|$)",
                "(?:stop|quit|cease|halt|end|cancel|stopall|kill|discontinue|disable|pause|suspend) (?:~4 )?<msg>",
                "(?:stop|quit|cease) (?:~1 )?sending(?: <me>| <these>| <msg>| [.,?]|$)",
                "(?:stop|quit) (?:with )?(?:these|this|those|it all|everything)",
                "turn (?:~2 )?off ~3 <msg>",
                "turn ~3 <msg> off",
                "make (?:it|these|them|this|the texts|the messages) stop",
                "(?:texts|messages|you|they|these) ~1 (?:wont|dont|didnt) stop",
            ),
        ),
        "do not text me": (
            1.0,
            (
                "(?:dont|do not|never|not|nobody|refrain from|no need to|"
                "please not) (?:~2 )?(?:<tell>) (?:~1 )?(?:<me>)(?! back)",
                "(?:refrain from|no need to keep|no need to) (?:~2 )?(?:<ing>|<tell>|sending)",
                "(?:dont|do not|never) (?:~2 )?(?:<tell>)(?: [.,]|$)",
                "(?:dont|do not|never|not) (?:~2 )?(?:call|write|hit|ring|phone) (?:~2 )?(?:again|anymore|"
                "any more|ever)",
                "(?:dont|do not|never|not|nor) (?:~2 )?(?:send|sending) (?:me |us |any |to |out ){0,6}(?:these|"
                "anymore|any more|more|anything|such|<msg>|(?:this|your|ur) "
                "(?:stuff|shit|crap|junk|number|<msg>)|(?:~1 )?<msg>|shit|crap|stuff|things? like)",
                "(?:dont|do not|never) (?:~1 )?hear from (?:you|u|yall|any)|never (?:~2 )?hear from",
                "(?:no|zero) (?:more |further )?(?:solicitors|contact|contacting|texting|messaging|"
                "calls or texts|soliciting|solicitations?|communication)",
                "not (?:another|one more|a single) (?:~1 )?<msg>",
            ),
        ),
        "do not call me": (0.45, ("(?:dont|do not|never) (?:~1 )?(?:call|write|phone) (?:me|us|here|this number)",)),
        "no more of it": (
            1.0,
            (
                "no (?:~1 )?more (?:of )?(?:~2 )?(?:<msg>|requests?|donations?|calls|deals|fundraising|begging|"
                "specials|contact|nonsense|bs)",
                "no (?:~1 )?more (?:of )?(?:these|this|from you|from u|ever)",
                "(?:^|[.,?] )(?:please |ok |and |just )?no more(?: please| thanks| ok)?(?: [.,]|$)",
                "(?:^|[.,?] |please |and |want )no (?:texts|messages|sms|spam|ads|promos|promotions|alerts|"
                "notifications|offers|reminders|texting|marketing|emails)"
                "(?: please| thanks| anymore| at all| to| [.,]|$)",
                "enough (?:~2 )?(?:with|of) (?:~2 )?(?:<msg>|these|this)",
                "(?:cut|knock) (?:it|this|that) (?:out|off)|make (?:~3 )?(?:these|texts|messages|it all) go away",
                "(?:hate|despise|detest|dislike|cant stand) (?:getting |receiving |all )?(?:these|this|"
                "your (?:~1 )?<msg>|<msg>)",
                "nobody (?:~1 )?wants (?:your|these|this)|(?:text|message|sms|texts|messages) off|"
                "off with (?:the|these)",
                "(?:stop|quit) it",
            ),
        ),
        "does not want it": (
            0.9,
            (
                "<not> (?:~1 )?(?:want|wanna|need|wish|like|care|interested|asked|ask|"
                "appreciate) (?:~4 )?(?:<msg>|contacted|texted)",
                "<not> (?:~1 )?(?:want|wanna|wish|care|need|like) (?:to )?(?:~1 )?(?:receive|get|getting|hear|"
                "receiving|be on|be part)"
                "(?: ~3 (?:these|this|you|from|anymore|any|list|your|more|anything|texts))",
                "<not> (?:want|wanna|need) (?:these|this|them|any of (?:this|these)|anything) (?:anymore|"
                "any more|from you)",
                "<not> (?:~1 )?(?:receive|get|hear from) (?:~2 )?(?:anymore|any more|<msg>)",
                "<not> want (?:these|any of these|any of this)",
                "(?:rather|prefer) (?:~1 )?not (?:~2 )?(?:get|receive|be|hear) (?:~3 )?(?:<msg>|contacted|texted|"
                "these|this|from)",
            ),
        ),
        "off the list": (
            1.0,
            (
                "<off> (?:~5 )?(?:off|from|out of)(?! hold) (?:~4 )?(?:<lists>|marketing|campaigns?|promotions?|"
                "promos)",
                "(?:<off>) (?:<who>) (?:~1 )?(?:off|from|out)(?: (?:please|this|here|of this|of it|of these|"
                "these|those|everything|all|now|your|thanks|asap)| [.,?]|$)",
                "(?:take|taking|get|want) (?:me|us|him|her|this number|my number|her number|his number|"
                "our number) off(?! hold| speaker| mute| here| the)",
                "(?:remove|delete|erase|scratch|purge|unlist|delist|removing|deleting|scrub|clear|wipe|drop|"
                "discard) (?:~1 )?(?:me|us|myself|my|this|our) (?!card|old|payment|credit|billing|"
                "insurance|second|first)(?:phone |cell |contact |personal )?(?:number|name|info|information|"
                "contact|data|details|phone|cell|number)",
                "(?:remove|delete|purge|erase|unlist|unenroll|deregister|unfollow|mute) (?:me|us|"
                "yourself)(?: (?:please|now|thanks|asap|immediately|from|at|today)| [.,?]|$)",
                "(?:like|want|wanted|asked|ask|asking|wish|need|times|please|me|us|myself|number|request|"
                "requested) (?:~1 )?(?:be|been|get|getting) (?:removed|taken off|taken out|deleted|unlisted|off|"
                "out)",
                "(?:<off>) (?:~4 )?(?:off|from|out of) (?:your|ur|yalls?) (?!menu|site|website|shelf|hands?|lot|"
                "calendar|schedule|window|truck|team|desk|store|shop|office)",
                "(?:be|been) (?:removed|taken off|taken out|deleted|dropped|off) (?:from |of )?(?:~3 )?<lists>",
                "off (?:~1 )?(?:this|your|ur|yall|yalls|whatever) (?:~2 )?<lists>",
                "how ~3 (?:get|am|be|come) (?:me |myself )?(?:off|out of) (?:this|here|these|it|your)(?: [.,?]|$)",
                "(?:way|keyword|word|code|link|button|where) (?:~2 )?(?:to get |do i )?(?:out of|off) (?:this|"
                "these|here)",
                "(?:^|[.,?] )(?:please )?(?:remove|delete|unlist)(?: please| thanks| number| now| asap)?(?: [.,]|$)",
                "(?:i want|want|let me|get me|i need|count me|im) out(?: of this| of these| of here)?(?: [.,]|$)",
            ),
        ),
        "lose my number": (
            1.0,
            (
                "(?:lose|erase|delete|trash|ditch|block|toss|remove|scrub|burn|purge|forget you have|"
                "rip up) (?:my|this|our) (?:~1 )?(?:number|contact|digits|info|information)",
                "forget (?:my|this) (?:phone )?number",
                "lose (?:it|this|number)(?: [.,]|$)",
                "delete (?:~2 )?everything (?:~3 )?(?:on|about) me",
            ),
        ),
        "leave me alone": (
            1.0,
            (
                "leave (?:me|us|my|this) (?:~4 )?alone",
                "let me (?:be|live)(?: [.,]|$)",
                "leave me (?:be|out of)|left alone|(?:bother|bug|text|annoy|harass|spam) (?:someone|"
                "somebody) else|get (?:~1 )?out of my (?:phone|inbox|messages)|take (?:the|a) hint|no means no",
            ),
        ),
        "easy with it": (
            0.75,
            (
                "(?:chill|ease up|ease off|lay off|easy|cool it|back off|slow down|calm down) "
                "(?:~1 )?(?:with|on) (?:~2 )?<msg>",
                "(?:if|when) (?:~2 )?(?:get|receive|got|see) (?:just )?(?:one|another|1) (?:~1 )?<msg>",
                "(?:relent|back off|lay off)(?: [.,]|$)",
            ),
        ),
        "curses": (
            0.8,
            (
                "(?:f|fuck|piss|bug|buzz|eff|fk|sod|bugger|f k|f ck) off|fuck (?:you|u|yall|your)|screw (?:you|u|"
                "off)|stfu|get bent|kick rocks|take a hike|go to hell",
                "(?:^|[.,?] )(?:please |just |omg |ugh |now ){0,6}(?:go away|get lost|shut up|bite me|beat it|scram|"
                "get out of my phone|leave|eat shit)(?: [.,]|$| please| already| and| you)",
            ),
        ),
        "unsubscribe or opt out": (
            0.9,
            (
                "unsubscribe|optout|unsub|stopall",
                "(?:opt|opting|opted) (?:~3 )?out(?! of (?:the )?(?:insurance|warranty|protection|coverage|plan|"
                "gift|breakfast))",
            ),
        ),
        "revokes consent": (
            1.0,
            (
                "(?:revok(?:e|ed|ing)|withdr[ae]w(?:ing|n)?|take back|took back|taking back|end|ended|"
                "rescind(?:ing|ed)?|retract|terminate|cancel|pull) (?:~3 )?"
                "(?:consent|permission|authori[sz]ation|opt in|approval)",
                "(?:consent|permission|authorization) (?:~2 )?(?:revoked|withdrawn|rescinded|terminated|cancel[a-z]*)",
                "who (?:~1 )?gave (?:~1 )?(?:permission|consent|authorization)",
                "(?:dont|do not|not|never|didnt) consent(?: to (?:~2 )?(?:<msg>|this|these|<ing>|be)| [.,]|$)",
                "(?:no|dont|do not|not|never|didnt|longer) (?:~2 )?(?:have|give|gave|given|"
                "had) (?:~2 )?(?:consent|permission|authorization) (?:~2 )?"
                "(?:<tell>|<ing>)?",
                "without (?:~1 )?(?:consent|permission)",
            ),
        ),
        "never agreed": (
            0.75,
            (
                "(?:never|didnt|did not|dont recall|dont remember|do not remember|do not recall|wasnt|nobody|"
                "aint) (?:~2 )?"
                "(?:sign(?:ed|ing)? (?:~1 )?up|subscribed?|subscribing|opt(?:ed|ing)? (?:~1 )?in|agreed?|"
                "agreeing|consent(?:ed)?|consenting|authori[sz]ed?|"
                "enroll(?:ed|ing)?|regist(?:er|ered|ering)|gave (?:~1 )?(?:you|yall|anyone|this|"
                "my) (?:~1 )?(?:number|info)?|give (?:you|yall|anyone) ~1 number|gave out)",
                "(?:never|didnt|did not|nobody) (?:~1 )?(?:asked|ask|request|requested|want|"
                "wanted) (?:~1 )?(?:for |to get )?(?:these|this|any of this|<msg>|your <msg>|to be)",
            ),
        ),
        "wrong number": (
            0.45,
            (
                "wrong (?:~1 )?(?:number|person|guy|lady|man|woman|phone|number)",
                "(?:got|get|have) the wrong (?!one|ones|item|size|color|order|address|part|food|pizza|drink|"
                "flavor|bag|box|model|key|time|day|date|room|place|price|stuff|thing)[a-z]+(?: [.,]|$)",
                "(?:not|isnt|aint) (?:~1 )?(?:her|his|their|[a-z]+s) (?:~1 )?(?:number|phone|cell)(?: anymore)?",
                "(?:have|got|had) (?:this|a) new number",
                "(?:dont|do not) know (?:~1 )?(?:any|anyone|anybody) (?:~1 )?(?:named|by that name|called|"
                "[a-z]+)(?: [.,]|$)",
                "(?:no one|nobody|noone) (?:~2 )?(?:by that name|named|by the name|with that name|called)",
                "(?:this is not|this isnt|this aint|not) (?!sure|able|going|available|feeling|here|there|in|"
                "coming|home|ready|at|the|a|what|free|"
                "happy|working|interested|getting|seeing|that|quite|too|very|gonna|done|ok|my|on|an|so|really|"
                "certain|yet|me|now|today|"
                "good|as|it|right|bad|yours|fair|fun|acceptable|cool|urgent|mine|true|correct|great|nice|funny|"
                "enough|necessary|fresh|open|cold|hot|"
                "fixed|[a-z]+ing)[a-z]+ (?:anymore |here )?(?:[.,] )(?:please|dont|stop|and|you|i|who)",
                "(?:this is not|this isnt|this aint) (?!sure|what|the|a|an|right|good|ok|ready|it|mine|fair|fun|"
                "acceptable|cool|urgent|true|correct|funny|"
                "working|enough|fresh|open|cold|hot|fixed|[a-z]+ing)[a-z]+(?: [.,]|$)",
                "no longer (?:~3 )?(?:number|phone|cell)|(?:number|phone) (?:~1 )?(?:belongs|belonged) to",
                "(?:he|she|that person|[a-z]+) (?:doesnt|does not|no longer) (?:lives?|works?) here(?: anymore)?",
            ),
        ),
        "stranger": (
            0.2,
            (
                "who (?:~2 )?(?:is|are|r|dis) (?:this|you|dis|these|it)",
                "whos this|who dis|new phone who",
                "(?:im|i am) not (?!sure|able|going)[a-z]+",
                "(?:dont|do not) know you",
            ),
        ),
        "asks for the number's source": (
            0.4,
            (
                "(?:how|where) (?:~1 )?(?:you|yall) (?:~1 )?(?:get|got|find) (?:~1 )?(?:my|"
                "this) (?:~2 )?(?:number|info|contact|name)",
                "who (?:~1 )?gave (?:~2 )?(?:my|this) (?:~1 )?(?:number|info)",
                "why (?:~1 )?am i (?:~1 )?(?:getting|receiving) (?:~1 )?(?:this|these|<msg>|texted|"
                "messaged)(?: (?:[.,?]|from|<msg>)|$)",
                "why (?:~1 )?(?:are|do|r|did|would|does) (?:~1 )?(?:you|yall|company|"
                "they) (?:~1 )?(?:keep )?(?:texting|messaging|contacting|spamming|bothering|text|message) (?:me|"
                "us|this)",
            ),
        ),
        "not interested": (
            0.45,
            (
                "(?:not|no longer|isnt|never|aint|arent) (?:~2 )?interested",
                "no interest",
                "(?:dont|do not|not) (?:~1 )?(?:want|need) (?:~1 )?(?:your|any of your) (?:~2 )?(?:service|"
                "services|products?|business|"
                "offers?|deals?|insurance|loan|crap)",
                "(?:house|home|property|car|land|business) (?:is |its )?(?:not|isnt) for sale|not (?:selling|"
                "voting|donating|buying)",
            ),
        ),
        "threat or complaint": (
            0.75,
            (
                "(?:this|you|youre|stop|these|texts|messages|considered|for|as|it|pure) (?:~3 )?harass(?:ment|"
                "ing)|harass(?:ing|ed|es)? (?:me|us|people)|(?:^|[.,?] )harassment",
                "(?:fcc|ftc|tcpa|cease and desist)",
                "(?:do not call|dnc|dont call|no call|do not text|do not contact) (?:~1 )?(?:list|lists|registry|"
                "register)",
                "(?:lawyer|attorney)s? (?:~3 )?(?:contact|contacting|hear|hearing|informed|notified|involved|"
                "in touch|about (?:this|these|you|it)|<msg>)",
                "(?:hear|hearing) from (?:~1 )?(?:lawyer|attorney)s?",
                "(?:will|gonna|ill|can|could|i|and|to|id) sue(?: (?:you|yall|if|your|over|for|[.,])|$)|"
                "suing (?:you|your|yall)|legal action|(?:press|pressing) charges",
                "(?:report|reporting|reported|reports) (?:~1 )?(?:you|yall|this number|these|your number|"
                "number)(?! that| the| a)",
                "(?:report|reporting|reported) (?:~3 )?(?:spam|scam|phishing|fcc|bbb|authorities|carrier)|"
                "(?:blocked|reported) (?:and |& )?(?:reported|blocked)",
                "(?:block|blocking|blocked) (?:you|yall|me|this number|your number|number|this)(?! in)|(?:^|"
                "[.,?] )(?:blocked|reported|blocking|reporting)(?: [.,]|$)",
                "(?:illegal|against the law|violating|violation|violates) (?:~4 )?(?:<msg>|<ing>|<tell>|law|laws|"
                "tcpa|privacy)|(?:this|these|texts) (?:is|are) (?:illegal|against the law)",
                "(?:complaint) (?:~3 )?(?:fcc|ftc|bbb|attorney general|against you)|invasion of privacy",
            ),
        ),
        "calls it spam": (0.6, ("(?:spam|spammers?|spamming|scam|scammers?|junk texts?)",)),
        "tired of it": (
            0.5,
            (
                "(?:sick|tired|fed up|had enough|exhausted) (?:and tired )?(?:of|with|by) (?:~2 )?(?:<msg>|you|"
                "yall|these|<ing>|getting|hearing from)",
                "(?:im|i am|so) (?:~1 )?(?:over|done) (?:with )?(?:~2 )?(?:<msg>|you|yall|this|these)",
                "(?:too|so|way too|that) (?:many|much|often) (?:~1 )?(?:<msg>)",
                "(?:<msg>|(?:you|yall) (?:~1 )?(?:text|message|texting)) (?:~3 )?(?:too much|too often|too many|"
                "nonstop|non stop|every day|everyday|constantly|all day|all night|so much|"
                "every hour|daily|out of hand|a lot)",
                "(?:<msg>|these are|you are|youre|yall are|your) (?:~2 )?(?:annoying|irritating|obnoxious|"
                "ridiculous|unwanted|unsolicited|nuisance|excessive|old|stupid|unwelcome|not welcome)",
                "(?:annoying|unwanted|unsolicited|constant|nonstop|ridiculous|relentless|stupid|damn|dumb|"
                "endless) (?:~1 )?<msg>",
                "(?:keep|keeps|kept|constantly|still|continue to|continue|yet) (?:~1 )?(?:<ing>|"
                "getting (?:~2 )?(?:<msg>|these|them)|receiving (?:~2 )?(?:<msg>|these|them)|get (?:~1 )?<msg>|"
                "sending (?:me|us) "
                "(?:~1 )?(?:<msg>|these|this|stuff|crap|shit))",
                "(?:blowing|blow|blew) up (?:my|our)|(?:give|get) (?:it|me) a rest|waste (?:of )?(?:my )?time|"
                "wasting my",
                "(?:(?:^|[.,?] )(?:ok |please |thats |jeez |seriously ){0,6}enough(?: already| is enough| please)?|"
                "enough (?:already|is enough|deals|offers))(?: [.,]|$| for)",
                "(?:[0-9]+|many|a lot|dozen|dozens) (?:~1 )?(?:of (?:these|them)|<msg>) (?:~1 )?(?:a|per|every|"
                "each|in one|today|this) ?(?:day|week|hour|morning)?",
                "(?:charged|charges|charge|pay|paying|costs?) (?:~3 )?(?:for|per|each|every) (?:~1 )?(?:text|"
                "message|texts|messages|one of these)",
            ),
        ),
        "stop as its own sentence": (
            0.8,
            (
                "(?:^|[.,?] )(?:please |ok |just |now |so |and |yes |omg |ugh |i said |no |hey |hi ){0,6}(?:stop|"
                "quit|unsubscribe|optout|stopall|revoke|remove|stopit|cease|desist|discontinue)"
                "(?: please| now| thanks| already| thank you| it| this| all| immediately| everything| again|"
                " asap){0,6}(?= [.,?]|$)",
                "^(?:please )?(?:stop|stopall|unsubscribe)(?! _)(?: [^\\s]+)",
                "(?:told|said|asked|reply|replied|replying|texted|sent|wrote|typed|say|saying|responded|text|"
                "send) (?:~4 )?stop",
                "(?:want|need|must|can|could|will|would|please|should|kindly|wish|make|has to|have to|beg|"
                "begging) (?:~4 )?stop(?: please| now| it| this)?(?: [.,?]|$)",
            ),
        ),
        "stop somewhere": (0.4, ("stop",)),
        "a no beside texts": (
            0.4,
            (
                "<no> (?:~6 )?<topic>",
                "(?:<topic>) (?:~5 )?<no>",
                "(?:no|ya|nunca|dejen|basta|paren|alto|quiten|saquen|borren|cancelar|"
                "cancelen) (?:~5 )?(?:mensajes|textos|promociones|publicidad|sms|ofertas|lista|propaganda)",
                "(?:mensajes|textos|promociones|publicidad|sms|ofertas|propaganda) (?:~4 )?(?:no|basta|molestan|"
                "molestos|nunca|ya)",
            ),
        ),
        "cancel of the service": (
            0.45,
            (
                "(?:cancel|end|terminate|close|delete|deactivate|cancelling|canceling|stop|quit) (?:my |our |"
                "the |this |a |all ){0,6}(?:~1 )?(?:subscription|membership|account|service|services|everything|"
                "profile|enrollment)",
                "(?:^|[.,?] )(?:please |yes |ok |no |hi |just |i ){0,6}(?:cancel|end)(?: please| now| me| it| this|"
                " all| everything| thanks| that){0,6}(?: [.,]|$)",
                "(?:want|like|need|trying|wish|how do i|how can i|how to) (?:to )?(?:cancel|quit)(?: [.?]|$)",
                "cancel(?:ar|en|o) (?:~1 )?(?:suscripcion|inscripcion|membresia|cuenta|servicio|todo)(?! (?:al|"
                "del|solo))",
            ),
        ),
        "done with it": (
            0.3,
            (
                "already (?:bought|sold|found|have|got|purchased|hired|did|voted|donated)",
                "(?:moved|live|relocated) (?:~2 )?(?:away|out of|to another|in another)",
                "no longer (?:~2 )?(?:customer|client|patient|member|own|live|need)",
            ),
        ),
        "speaks of business": (
            -0.15,
            (
                "(?:what time|how much|how late|how long|when do|when does|are you open|do you (?:have|take|"
                "sell)|hours|address|price|"
                "in stock|available|a que hora|cuanto cuesta|tienen|horario)",
                "(?:something came up|sick|kid|kids|strep|covid|emergency|rebook|babysitter|flight|delayed|can we do|"
                "another day|cant make it|tomorrow|today|tonight|next week|this week|reschedule|"
                "resched|running late)",
            ),
        ),
        "asks for messages": (
            -0.3,
            (
                "keep (?:them|em|the texts|the messages|it|those|these) coming|love (?:these|your|the|"
                "getting) (?:~1 )?(?:<msg>)?|please text me|"
                "text me (?:when|if|the|back|once|at|a|your|with|before|instead)|sign me (?:back )?up|add me|"
                "back on (?:the|your) list|resubscribe",
            ),
        ),
    }.items()
)
