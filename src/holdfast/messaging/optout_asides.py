"""Phrases that use the words of the opt-out rules of something else: they are taken out before the rules look."""

from holdfast.messaging.optout_patterns import Aside, compiled

ASIDES = tuple(
    Aside(name, compiled(*patterns))
    for name, patterns in {
        "wants more": (
            "(?:dont|do not|never|not|no longer want to) (?:ever |you ever )?(?:stop|quit|unsubscribe|optout|end|"
            "cancel)(?: <ing>| sending)?(?: ~2 <msg>)?",
            "(?:dont|do not|never) (?:ever )?opt ~1 out",
            "(?:dont|do not|never) (?:ever )?(?:take|remove|delete|drop|kick) (?:me|us|"
            "my)(?: ~2 off(?: ~2 <lists>)?| ~2 from ~2 <lists>)?",
            "(?:why|did|have|has|when|how come) (?:did |have |do )?(?:you|yall|they|we|i) (?:guys |all |just |"
            "ever )?(?:stop|stopped|quit)(?: <ing>| sending| getting| receiving)?(?: me)?(?: ~2 <msg>)?",
            "(?:i|we|she|he|have) stopped (?:getting|receiving)(?: ~3 <msg>)?",
            "(?:didnt|dont) want (?:to |you to |it to |them to |these to )?(?:stop|unsubscribe|optout|opt out)",
            "<not> mean to ~1 (?:unsubscribe|stop|optout|opt out|cancel)",
            "(?:accidentally|accident|mistakenly|mistake) ~2 (?:unsubscribe|stop|stopped|optout|"
            "opted out)(?: ~3 <msg>)?",
            "(?:unsubscribe|stop|optout|opted out) (?:~2 )?by (?:accident|mistake)",
            "no (?:me )?(?:dejen|deje|dejes) de [^\\s.,?]+",
            "no (?:me |nos )?(?:<fuera>|den de baja|cancelen)(?: ~2 (?:lista|mensajes))?",
            "<not> lose my number",
        ),
        "stop of a visit or a way": (
            "(?:stop|stops|stopping|stopped) (?:right |back |briefly |quickly |real quick |again |just |on over |"
            "off |over )?(?:by|in|at|over|off|on|to(?! get off)|near|for|there|around|up|into|before|through|"
            "past|out front|here)",
            "(?:non|bus|next|last|first|one|pit|truck|rest|a|train|subway|metro|quick|full|each|every|shuttle|"
            "trolley|tram|st|street|ave|avenue) stops?|the stop(?! message| text| word)",
            "stop (?:light|sign|watch|loss|order|payment|gap|motion|number|valve|and (?:get|grab|pick|check|look|"
            "see|eat|say))",
        ),
        "stop of a thing": (
            "(?<!texts )(?<!messages )(?<!you )(?:wont|cant|doesnt|didnt|wouldnt|couldnt|isnt|will not|can not|"
            "does not) "
            "(?:~1 )?stop(?! <ing>)(?: [a-z]+ing)?",
            "(?:to|will|would|help|helps|make|makes|made|it|and|does|do) stop (?:the|a|my|his|her|"
            "its) (?!~2 <msg>)[^\\s.,?]+",
            "(?:to|did|does|will|would|it|that|they) stop (?:~1 )?(?:serving|selling|taking|making|working|"
            "running|accepting|seating|leaking|"
            "bleeding|barking|crying|hurting|charging|raining|delivering|doing|carrying|offering)",
            "stop (?:the|my|his|her|their|your) (?!~2 <msg>|spam|automatic|automated|daily|weekly|constant|robo|"
            "nonsense|bs|bullshit|madness|"
            "harass[a-z]*|calls|sales|political|insanity|crap)[^\\s.,?]+(?: [^\\s.,?]+)?",
            "(?:stop|quit) (?!<ing>|sending|asking|trying|playing|wasting|selling|begging|being|getting|pushing|"
            "hitting|coming|ringing|receiving|"
            "everything|anything|nothing|using my|sharing|sendin|going)[a-z]+ing",
        ),
        "cancel of a thing": (
            "(?:cancel|cancelling|canceling|end|ending|quit|reschedule|delete|remove|drop|revoke|suspend|"
            "pause)(?! (?:~3 )?(?:<ing>|<msg>|me|us|number|sending)(?: |$)) ~5 <job>",
            "(?:cancel|cancelling|end) (?:me )?(?:for|on|today|tomorrow|tonight|monday|tuesday|wednesday|"
            "thursday|friday|saturday|"
            "sunday|at|until|by)",
            "cancel (?:~1 )?(?:fee|fees|charge|policy|cancellation|button|anytime|any time|before|within|after)",
            "(?:if|when|once|before|after|unless|still|had|because|cant|may|might) (?:i|we|you|to|they|she|"
            "he)? ?(?:~2 )?cancel",
            "can (?:i|we) (?:still |just )?cancel(?: [.,?]|$)",
            "(?:cancel|end) (?:my|our|the|his|her|their|an?|that|one|two) (?!subscription|membership|account|"
            "service|services|"
            "all|~3 <msg>)(?:[^\\s.,?]+ ){0,3}[^\\s.,?]*",
            "(?:cancel|cancelling|end) ~2 [0-9]+(?:am|pm|th|st|nd|rd)?",
            "(?:cancel|end) (?:~1 )?subscription box",
            "the end(?: of)?|(?:week|month|year|day|dead|front|back|rear|high|low|other|either|right|left|"
            "far) end|end of|at the end|in the end|end up|does ~3 end",
            "quit (?:smoking|working|eating|drinking|starting|charging|running|cooling|heating|my|his|her|the|on)",
            "(?:cancelar|cancele|cancelen|cancela|cancelo|anular|mover|cambiar|eliminar?|borrar?|borre|"
            "quitar?) ~4 <noun_es>",
        ),
        "taken off something else": (
            "(?:<off>) (?:~3 )?(?:off|from|out of) (?:~2 )?(?:waitlist|wait list|waiting list|schedule|calendar|"
            "lease|insurance|"
            "policy|order|cart|invoice|bill|reservation|appointment|plan|roster|title|group|class|lineup|"
            "guest list|team|"
            "account|tab|booking)",
            "(?:<off>) ~3 off (?:the|for|on|monday|tuesday|wednesday|thursday|friday|saturday|sunday|at|in|to|"
            "like|my (?!phone|number|cell))"
            "(?! ~2 <lists>)",
            "(?:take|get|got|save|is) (?:~1 )?[0-9]+ (?:~1 )?off",
            "(?:drop|dropping|dropped|pick) (?:~3 )?off(?! ~2 <lists>)",
            "(?:waitlist|wait list|waiting list|guest list|shopping list|price list|wine list|to do list)",
        ),
        "another channel": (
            "(?:dont|do not|no|instead of|cant) (?:call|calls|calling|ring|phone|e ?mail)(?: me| us)?(?: (?!or |"
            "and |nor )[^\\s.?]+){0,6}? (?:text|message|texting|texts)(?! ~2 either)(?: me)?",
            "<not> (?:text|message) (?:and|while|when|or) (?:drive|driving)",
            "no (?:me )?(?:llamen?|llames)(?: (?!ni )[^\\s.?]+){0,5}? (?:mensajes?|textos?|escriban(?:me)?|"
            "escribanme|texto)",
        ),
        "not at this hour": (
            "(?:dont|do not|no) (?:call|text|message|contact|ring|knock)(?: me| us)?(?: back)? (?:right now|"
            "until|till|before|after|today|tonight|yet|while|during|between|on my old|too early|too late)",
            "(?:dont|do not) (?:call|text|message) (?:my|the) (?:old|other|previous|former) (?:number|phone|cell|one)",
            "(?:did|have|has|could|would|should|do) (?:you |they |he |she )not (?:call|text|message|contact) (?:me|us)",
            "(?:why|did|have|has) (?:didnt|havent|hasnt|doesnt|dont|nobody) (?:~2 )?(?:call|text|message|"
            "contact) (?:me|us)",
        ),
        "a number to be put right": (
            "wrong (?:phone )?number (?:on|for|in|of)(?! ~2 (?:texts?|maria|him|her))",
            "(?:gave|given|typed|entered|put|put in|wrote) (?:~3 )?wrong (?:phone )?number",
            "(?:order|wrong|tracking|confirmation|account|invoice|unit|suite|room|flight|part|model) (?:order|"
            "tracking|confirmation|account|"
            "invoice|unit|suite|room|flight|part|model) number",
        ),
        "not interested in one thing": (
            "<not> interested in (?:the|that|an?|adding|upgrading|extra|doing)(?: [^\\s.,?]+){1,3}",
            "no me interesan? (?:el|la|los|las|un|una)(?: [^\\s.,?]+){1,3}",
        ),
        "a message that did not come": (
            "(?<!to )(?<!rather )(?<!prefer )(?:didnt|did not|never|havent|have not|wasnt|not|hasnt|"
            "has not) (?:~1 )?(?:get|got|gotten|receive|received|see|seen|getting|receiving|come) "
            "(?:~4 )?(?:<msg>|code|link|confirmation|email|reply|answer)(?! ~2 (?:anymore|any more|from you))",
            "(?:error|warning|voice|voicemail|thank you|check engine) (?:messages?|alerts?|lights?|notifications?)",
            "(?:a|an|the|your|my) (?:message|notification|alert|text) (?:saying|that says|says|said|about|that)",
        ),
        "an answer that did not come": (
            "(?:no one|nobody|noone|hasnt|havent|not|has anyone|never) (?:has |have |ever |anyone |even )?"
            "(?:called|texted|contacted|answered|messaged|replied|responded)(?: me| us)?(?: back)?",
            "(?:<msg>|times) ~3 no (?:answer|reply|response|luck)|no (?:answer|reply|response|luck)",
        ),
        "another spam": (
            "(?:to|in|into|my|the|your) (?:the |my )?(?:spam|junk)(?: folder| mail| box)?(?= [.,?]|$| and| so|"
            " got| again)",
            "(?:spam|junk) (?:calls|folder|mail|filter|removal|pickup|haul|hauling|musubi|sandwich|fried|and eggs|rice|"
            "sushi|call blocker)",
        ),
        "not agreed to a charge": (
            "(?:didnt|did not|never|not|dont) (?:~1 )?(?:agreed?|consent(?:ed)?|authori[sz]ed?|sign(?:ed)? up|"
            "ask(?:ed)?|request(?:ed)?|subscribed?|order(?:ed)?|approved?) "
            "(?:to |for )?(?:~3 )?(?:charges?|fees?|price|refund|amount|payment|onions?|sauce|class|plan|order|"
            "upgrade|warranty|"
            "transaction|withdrawal|work|repair|[0-9]+[a-z]*|pay|item|items|color|size)",
        ),
        "a question of sense": (
            "no (?:quiero|queria|quisiera) (?:molestar|interrumpir)(?: pero)?",
            "(?:dont|do not|please dont|never) forget(?: ~3 (?:number|contact))?",
            "(?:no|tampoco) (?:~1 )?(?:puedo|pude|podemos|pueden|puede|podia|podria|olviden?|olvides?|pudieron|"
            "dude[ns]?|alcance|tarden)(?: a| en)?(?: (?:~1 )?<manden>)?",
        ),
        "baja of a thing": (
            "(?:planta|mas|muy|presion|bateria|esta|parte|precio|tarifa|luz) baja",
            "(?:la|una) baja (?:de|del|en)",
        ),
    }.items()
)
