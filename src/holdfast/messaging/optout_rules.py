"""Rules, mostly English, that speak for a wish to be left in peace; Spanish ones are in `optout_spanish`.

Each is a doing and what is done to: the texts, the sending of them, a number or a name, a list, a consent. The same
doing with any other object (an appointment, an order, a thing that will not stop) is met by no rule.

Weights: 1 is a wish that cannot be misread; 0.75 one that hardly can; 0.4 to 0.6 make a text doubtful by themselves;
less than 0.35 counts only beside another. Those that leave doubt, or speak against a wish, are in `optout_doubts`.
"""

from holdfast.messaging.optout_patterns import Rule, compiled

_RULES: dict[str, tuple[float, tuple[str, ...]]] = {
    "stop the texts": (
        1.0,
        (
            "<cease> (?:with |it with |of |to |getting |receiving ){0,2}(?:-4 )?<texts>(?! (?:i|that i) (?:just "
            ")?sent)",
            "(?:stop|end|quit|halt|disable|discontinue|cancel) (?:all |the |this |these |your |any |my ){0,2}(?:text|"
            "message|sms)(?! (?:i|to|from|you|that) )|(?:stop|end|quit|cease|halt|discontinue|do away with|turn off|"
            "shut off|lay off|get rid of|cut out|knock off|put an end to|silence|disable|opt out of|optout of) "
            "(?:with )?(?:all )?(?:of )?(?:these|those)(?: ones)?$$",
            "(?:refuse|decline|object|forbid|prohibit|not allowed|not authorized|not welcome) (?:~3 )?(?:<text>|"
            "<texting>|<texted>|receive|receiving)",
            "<cease> (?:-2 )?(?:subscription|enrollment|sign up|registration|participation|membership|service) (?:to|"
            "in|for|from|of|with) (?:-3 <texts>|(?:this|my) (?:number|phone|cell))",
            "(?:<cease>|give up|dont bother|no reason for|no need to keep|stop asking|quit asking) (?:from |with |"
            "all |and |it ){0,2}(?:-3 )?(?:<texting>|asking for|contact(?! (?:lens|lenses|info|person|name|list|"
            "form))|being <texted>)",
            "(?:turn|shut|switch|cut|knock|flip|toggle) (?:-4 <texts>|these|all (?:this|of this)) (?:off|out)|"
            "(?:turn|shut|switch|cut) (?:~1 )?off (?:-4 <texts>|these)",
            "(?:make|let|want|wants|like|need|wish|get|got) (?:these|them|(?:the|your|all|these|this) (?:-2 "
            ")?<texts>) (?:to |all |just ){0,2}(?:stop|stopped|end|ended|off|gone|discontinued|cancelled|go away)",
            "(?:<texts>|these) (?:~1 )?(?:must|should|need to|needs to|have to|has to|gotta|got to|better) (?:~1 "
            ")?(?:stop|end|cease|go away)",
            "(?:if|would|like|appreciate|wish|want) (?:~3 )?(?:you|yall) (?:~1 )?(?:stopped|quit) (?:<texting>|"
            "sending)",
            "(?:texts|messages|you|they|these|yall|bot) ~1 (?:wont|dont|didnt) (?:stop|quit)",
            "no longer|nolonger (?:send|text|contact|message)",
        ),
    ),
    "stop sending": (
        1.0,
        (
            "(?:<cease>|no need to keep) (?:from )?(?:~1 )?(?:sending|giving|getting|receiving|sendin) (?:me |us |to "
            "|out |my [a-z]+ |so |the |your |all |of ){0,4}(?:<these>|-3 <texts>|(?:this|my) number)",
            "(?:stop|quit|cease|desist|refrain|halt|discontinue) (?:from )?(?:~1 )?(?:sending|sendin)(?: me| us| to "
            "me)?$$",
        ),
    ),
    "do not text me": (
        1.0,
        (
            "(?<!i )(?<!we )(?<!they )(?<!if you )(?<!why )(?:dont|never|not|nobody|refrain from|no need to|no "
            "reason to|no need for you to|nor|no|shouldnt|isnt|arent|aint|quit|without)(?: to)? (?:~2 )?<text> "
            "(?:out to |up )?(?:<me>|it$$)(?! (?:back|the|a|your|until|unless|before|when|if|instead|as soon|about "
            "(?:this|it|that|the|his|her))(?!\\S))",
            "(?<!i )(?<!we )(?<!they )(?<!if you )(?:dont|never|please not) (?:~2 )?(?:text|message|contact|email|"
            "solicit)(?:$$(?! and drive)| (?:request|notice|status|order))",
            "(?:dont|never|not) (?:~1 )?use (?:my|this|our) (?:number|phone|cell|line) (?:for|again|anymore)",
            "(?:find|go|text|bother) (?:someone|somebody|others|other people)(?: else)? (?:to )?<text>",
            "(?:<texts>|<texting> (?:me )?)(?: (?:are|is))? (?:not|isnt|arent) (?:~2 )?(?:for me|ok|okay|welcome|"
            "wanted|allowed|authorized|needed|necessary)",
            "(?:appreciate|rather|prefer|wish|like|great|nice|request|ask|asked) (?:~2 )?(?:you|yall) (?:~1 "
            ")?(?:didnt|wouldnt|dont|not|never) (?:~1 )?<text>",
            "(?:refrain from|no need to keep|no need for|no need to|not) (?:~1 )?(?:texting|contacting|messaging|"
            "sending -2 <texts>)",
            "(?:dont|never) (?:~2 )?(?:call|write|hit|ring|phone)(?: me| us| here)? (?:~2 )?(?:again|anymore|ever|or "
            "text)",
            "(?:nothing|not) (?:~1 )?(?:by|via|through|over) (?:text|sms)",
            "(?:text|bother|bug|annoy|harass|spam|send ~2 to|pester) (?:someone|somebody|anyone|anybody) else",
        ),
    ),
    "do not send": (
        1.0,
        (
            "(?<!i )(?:dont|never|not|nor|no need to) (?:~2 )?(?:send|sending|be sending|give|sent) (?:me |us |any |"
            "to |out |here |my (?!old)[a-z]+ ){0,4}(?:these|anymore|more|anything|such|another|stuff|crap|shit|any|"
            "texts?|links|things|videos|flyers|(?:this|your) (?:stuff|shit|crap|junk)|-3 <texts>|(?:this|my) "
            "(?:number|phone|cell))(?! (?:yet|until|i|to my old|to my other)(?!\\S))",
        ),
    ),
    "do not call me": (
        0.45,
        (
            "(?<!if you )(?:dont|never|not) (?:~1 )?(?:call|write|write to|phone) (?:me|us|here|(?:this|my) "
            "(?:number|phone|cell|line))",
        ),
    ),
    "no more of it": (
        1.0,
        (
            "(?:no|zero|not one|not another|no further|any) (?:~1 )?(?:more|further|additional|future) (?:of "
            ")?(?:the |your |these )?(?:-2 )?(?<!from )(?<!with )(?:<texts>|contact|contacting|requests?|donations?|"
            "calls|fundraising)(?! (?:yet|about|to))",
            "(?:no|not another|not one more|not a single|zero) (?:-1 )?(?:<texts>)(?: for me| please| thanks| "
            "anymore| here)?(?:$$| to (?:this|my)| on (?:this|my))",
            "no (?:further|more) (?:contact|communication)",
            "(?<!have )(?<!got )(?<!there )(?<!theres )(?<!are )no (?:~1 )?more (?:of )?(?:these|this|from you|ever)",
            "no more <textos>|(?:not|dont) (?:do|have|use) (?:-1 )?<texts>",
            "(?<!have )(?<!got )(?<!there )(?<!theres )(?<!are )(?<!i need )no more$$",
            "enough (?:~2 )?(?:with|of) (?:-3 )?(?:<texts>|these|this|it|<texting>)",
            "(?:nobody|noone|no one) (?:~5 )?(?:wants?|asked for|needs) (?:-3 )?(?:<texts>|these|this)",
            "(?:<texts>|text) off$$|off with (?:the|these)|(?:stop|quit|no more|enough) (?:de )?<manden>|(?:not "
            "another|not one more|no|one more) text(?: please)?$$",
        ),
    ),
    "does not want it": (
        0.9,
        (
            "(?:<not>|doesnt|didnt|havent|wouldnt|aint|isnt) (?:~1 )?<want> (?:in |for |to |be |get |getting |"
            "receive |receiving |have |having |hear |hearing |part |on |about |a |bunch |your |any |more |of "
            "){0,5}(?:-3 )?(?:<texts>|<texted>|<texting>)(?! ~3 (?:to stop|stop|end))",
            "(?:<not>|doesnt|wouldnt|rather|prefer|id like|want|would like|wish|option|way|better|how) (?:~1 "
            ")?(?:<want>|not|to not) (?:to |not ){0,2}(?:receive|receiving|get|getting|hear|hearing|be on|be in|be "
            "part|see|be) (?:~2 )?(?:these|those|from you|from your|from (?:this|anyone)|anymore|any of|any more|"
            "anything|this from|your list|<texted>|this$$)",
            "(?:<not>|doesnt) (?:~1 )?(?:want|wish|need|care) (?:to )?(?:receive|hear from you|be contacted)$$",
            "(?:<not>|doesnt) (?:~1 )?(?:want|wanna|need) (?:these|them|this|any of (?:this|these)|anything) "
            "(?:anymore|from you)",
            "^(?:i )?(?:dont|nolonger) (?:want|need) any$",
            "<not> (?:want|need|care for|like|enjoy) (?:these|any of these|any of this|(?:any of )?this (?:stuff|"
            "crap|shit|junk)(?: on my phone)?)$$",
            "<not> (?:want|need|belong|wanna) (?:to )?(?:be )?on (?:here|this$$|(?:your|the|any|this) (?:-2 )?<list>)",
            "(?:not|isnt) (?:~1 )?for (?:-1 )?<texts>",
            "(?:want|like) off (?:of )?(?:this|your|these|the)",
            "(?<!i )(?<!we )nolonger (?:receive|get|be|see) (?:-3 )?(?:<texts>|these|<texted>)",
            "(?:<not>) (?:be |being |getting |get )?<texted> (?:anymore|again|ever|by you)|(?:<texts>|<texting>) "
            "(?:is|are)? ?(?:not|isnt|arent) (?:~1 )?(?:good|for us|wanted)",
            "not to (?:be )?(?:<texted>|(?:text|message|contact) (?:me|us|this))|(?:rather|prefer|like|want|wish|"
            "way) (?:to )?not (?:to )?(?:get|receive|have|see) (?:-3 )?<texts>",
            "<not> (?:~1 )?hear from (?:you|yall|any)|(?:make sure|so that|so) (?:i|we) (?:~1 )?(?:dont|never|stop) "
            "(?:get|receive|hear|see|getting|receiving) (?:another|any|these|from|more|anything)",
        ),
    ),
    "off the list": (
        1.0,
        (
            "<take> <self> (?:~1 )?<from> (?:your |the |ur |this |all |any |these |whatever |yalls? |ya |future |su |"
            "call and |calling and ){0,3}(?:(?:-3 )?(?:<list>|<texts>|<texting>)|(?<=this )(?=$|[.,?])|this$$|"
            "these$$)",
            "(?:take|taking|get|getting|remove|kick|drop|cut|leave|count|opt|sign|pull|keep) <us> (?:~1 )?(?:off|"
            "out)(?: of| from)?(?: here| this| it| these| that| there| your thing)?$$",
            "(?:take|get|pull|kick|drop|leave|count|cut) (?:me|us|my number) (?:out of|off|off of|out|from) (?:this|"
            "these|your|it|all of|that)(?! (?:-2 )?(?:calendar|schedule|lease|insurance|roster|appointment|class|"
            "team|car|room|hold|plan|show|slot|[0-9]+))",
            "(?:remove|delete|erase|unsubscribe|exclude|unlist|delist|unenroll|withdraw|deregister|unfollow) (?:me|"
            "us|myself|yourself|this one|(?:my|this|our) number)(?: from (?:here|this|these|it))?$$",
            "(?:be|been|being|get|getting|want|like|gotten) (?:removed|taken|deleted|unlisted|left|dropped|excluded|"
            "unsubscribed|scratched|erased|cut)(?: off| out)?(?:(?: of| from| off)? (?:your |the |this |all |any |"
            "these |future ){0,3}(?:(?:-3 )?(?:<list>|<texts>)|this$$|these$$))|(?:i|we|me|us|number|name|like|want|"
            "wish|asked|asking|request|requested|need|please|times|to) (?:be|been|get) (?:removed|taken off|taken "
            "out|deleted|unlisted|left off|dropped|excluded|unsubscribed)$$|(?:want|like) (?:off|out)$$",
            "off (?:of )?(?:your |this |the |that |yall |damn ){0,2}(?:-3 )?(?:list|lists)|off (?:of )?(?:these|your|"
            "the) (?:-1 )?(?:texts|messages|alerts)",
            "(?:how|way|keyword|word|code|link|button|where) ~4 (?:off|out) (?:of )?(?:this|these|here|it)$$",
            "forget (?:about )?(?:me|us)$$|(?:mark|flag|list|put|set) (?:me|us|this|my number)(?: ~3)? (?:as|to|on) "
            "(?:~3 )?(?:dont|no|off|inactive|optout|dnclist|not|none)",
            "(?:text|sms|notification|communication|contact|message) (?:preferences?|settings?|permissions?) ~2 "
            "(?:off|none|no|never)",
            "<take> (?:this|these|it) off (?:my|this) (?:phone|number|cell)",
            "(?:i want|want|let me|get me|i need|opt me) out(?: of (?:this|these|here))?$$|(?:count me|"
            "im) out of (?:this|these|here)$$",
            "(?:delete|remove|erase) (?:~2 )?everything (?:~3 )?(?:on|about) me",
        ),
    ),
    "lose my number": (
        1.0,
        (
            "(?<!did you )(?<!did i )<forget> (?:my|this|our|her|his|that|moms|the) (?:-1 )?(?:<number>)(?! and "
            "(?:add|use|put|replace|update))(?:$$| (?:from|off|out) (?:of )?(?:your|ur|this|these|all|any|whatever|"
            "there|here|yalls?))",
            "forget you (?:~1 )?(?:have|had) (?:this|my) number|lose (?:it|this|number)$$",
            "(?:my|this|our) number (?:~2 )?(?:deleted|removed|taken off)",
        ),
    ),
    "leave me alone": (
        1.0,
        (
            "leave (?:me|us|my|this) (?:~4 )?alone|let me (?:be|live)$$|leave me be|left alone|get (?:~1 )?out of my "
            "(?:phone|inbox|messages)|take (?:the|a) hint|times (?:~3 )?(?:say|tell you) no|no means no",
        ),
    ),
    "easy with it": (
        0.75,
        (
            "(?:chill|ease up|ease off|lay off|easy|cool it|back off|slow down|calm down|tone down|give it a rest) "
            "(?:~1 )?(?:with|on) (?:-2 )?<texts>",
            "(?:if|when) (?:~2 )?(?:get|receive|got|see) (?:just )?(?:one|another|1) (?:-1 )?(?:<texts>|text|"
            "message)|(?:next|one more|another) (?:text|message) and",
            "^^(?:relent|back off|lay off|give it a rest)$$",
        ),
    ),
    "curses": (
        0.8,
        (
            "(?:f|fuck|piss|bug|buzz|eff|fk|sod|bugger|f k|f ck) off|fuck (?:you|yall|your)|screw (?:you|off)|stfu|"
            "get bent|kick rocks|take a hike|go to hell|cut it out$$|knock (?:it|this|that) off",
            "^^(?:go away|get lost|shut up|bite me|beat it|scram|get out of my phone|leave|eat shit)$$",
        ),
    ),
    "unsubscribe or opt out": (
        0.9,
        (
            "(?:unsubscribe|optout|stopall|(?:opt|opting|opted) (?:-3 |it |him |her )?out)(?! (?:of|from) | option| "
            "button)(?<!no unsubscribe)",
            "(?:unsubscribe|optout|(?:opt|opting|opted) (?:-3 )?out) (?:~1 )?(?:of|from) (?:~4 )?(?:<texts>|"
            "<texting>|these|this|<list>|everything|here|it|all|future|service)$$",
            "(?:unsubscribe|optout|(?:opt|opting|opted) (?:-3 )?out) (?:~1 )?(?:of|from) (?:~3 )?(?:texts?|sms|"
            "messages?|messaging|list|marketing|alerts|promotions)",
        ),
    ),
    "revokes consent": (
        1.0,
        (
            "(?:revok(?:e|ed|ing)|withdr[ae]w(?:ing|n)?|take back|took back|taking back|end|ended|rescind(?:ing|ed)?|"
            "retract|terminate|cancel|pull|remove) (?:~5 )?<consent>(?! (?:form|for|to|of|slip)(?! (?:~4 "
            ")?(?:<texts>|<texting>|<text>|<texted>|calls|be|receive)))(?! (?:form|slip))",
            "(?:^|(?:i|we|hereby|formally|to) )revoke$$",
            "revocation of (?:-1 )?<consent>|<consent> (?:~5 )?(?:is )?(?:revoked|withdrawn|rescinded|terminated|"
            "cancel[a-z]*)",
            "(?:no|without) <consent> (?:was )?(?:given|for -2 <texts>)|who (?:~1 )?(?:authorized|approved) (?:-2 "
            ")?(?:<texts>|these|this)$$|who (?:~1 )?gave (?:~1 )?<consent>|(?:dont|didnt|not|never) <consent>? "
            "?(?:~1 )?(?:consent|authorize|allow) (?:~1 )?(?:to )?(?:<text>|be <texted>)",
            "(?:no|dont|not|never|didnt|nolonger) (?:~2 )?(?:have|give|gave|given|had)? ?(?:~2 )?<consent>(?:$$| to "
            "(?:~1 )?(?:<text>|<texted>|this|these|<texts>|be|send|receive)| (?:for|of) (?:-2 )?(?:<texts>|this|"
            "these))",
            "without (?:~1 )?(?:consent|permission)$$",
        ),
    ),
    "never agreed": (
        0.75,
        (
            "(?:never|didnt|dont (?:recall|remember|believe|think)|wasnt|nobody|aint|havent|cant (?:recall|remember)|"
            "not) (?:~3 )?<agreed> (?:to |for |in |with |on |getting |receive |receiving |get |be ){0,4}(?:(?:-3 "
            ")?(?:<texts>|<texted>)|(?:this|it|any|anything|you|yall)$$|these|any of (?:this|these)|be|from you|your "
            "(?:-1 )?(?:list|texts?|program))",
            "(?:never|didnt|dont (?:recall|remember)|nobody|aint|havent) (?:~2 )?(?:signed up|sign up|signing up|"
            "signd up|subscribed?|subscribing|opted in|opt in|consented|consent|enrolled)$$",
            "(?:never|didnt|nobody|dont) (?:~2 )?(?:gave|give|given|giving) (?:~2 )?(?:my|this|our|out) (?:-1 "
            ")?(?:number|info|cell|phone)",
        ),
    ),
    "stop as its own sentence": (
        0.8,
        (
            "^^(?:nah |fam |bruh ){0,2}(?:(?:stop|quit|unsubscribe|optout|stopall|revoke|remove|delete|desist|"
            "discontinue|cease|borrar|eliminar|desuscribir|unenroll|unlist)(?! and (?!desist)) ?){1,4}(?:all|"
            "everything|bot|(?<=stop )this|(?<=quit )this)?(?:(?<= )|$$)(?=$|[.,?]| [.,?]|<courtesy>(?!\\S)| "
            "<courtesy>(?!\\S))",
            "^(?:please )?(?:stop|stopall)(?! (?:_|the|a|my|his|her|it|that|[a-z]+ing|playing|your|taking|to|and|"
            "with|being|or))(?: [^\\s]+){1,4}$",
            "^(?:please )?(?:cancel|end) [.,](?: [a-z]+){0,2}$",
            "(?:told|said|asked|reply|replied|replying|texted|sent|wrote|typed|say|saying|responded|text|send|word|"
            "telling|part of|see my|ignored my) (?:~4 )?(?:stop|quit$$)(?! (?:the|a|my|sign) )",
            "(?:want|need|must|should|kindly|wish|make|has to|have to|beg|begging|can|could) (?:~2 )?(?:you|yall|"
            "these|them) (?:~1 )?(?:to )?stop$$|^(?:please |just ){0,2}make (?:it|this|that) (?:stop|end)",
            "(?<!bus )(?<!next )(?<!last )(?<!the )(?<!to )(?<!a )(?<!my )(?<!your )(?<!not )(?<!it )(?<!i )(?:stop|"
            "remove)$|^(?:please )?(?:(?:end|stop|quit) (?:this|it|these)|(?:cancel|end|stop|quit|remove|delete) "
            "(?:all|everything|me|us|texts?|now))(?: now| please| thanks)?$|(?:(?:stop|quit) asking|dont ask)(?: me| "
            "us)?(?: again)?$$",
            "(?<!do )(?<!did )(?<!can )(?:you|yall|guys|people) (?:~2 )?(?:to )?(?:stop|quit)(?: already)?$$|time "
            "(?:for (?:you|yall) )?to (?:stop|quit)$$",
            "stop to (?:end|quit|cancel|optout|unsubscribe|get off)|^stop (?:didnt|doesnt|isnt)|(?:quit|end) [.,] "
            "(?:~1 )?(?:stop|end)|(?:anymore|god|bruh|fam|please) stop$$",
        ),
    ),
}

RULES = tuple(Rule(name, weight, compiled(*patterns)) for name, (weight, patterns) in _RULES.items())
