"""Phrases that use the words of the opt-out rules of something else: they are taken out before the rules look."""

from holdfast.messaging.optout_patterns import Aside, compiled

ASIDES = tuple(
    Aside(name, compiled(*patterns))
    for name, patterns in {
        "wants more": (
            "(?:dont|never|not) forget (?:to )?(?:~1 )?(?:<text>|send)(?: me)?",
            "(?:dont|never|not|didnt|nolonger|no need to)(?! (?:yall|you) stop)(?: (?:you|yall|they|ever|all|just|"
            "want|mean|meant|plan|need|wanna|intend|trying|these|them|this|it|to|please|your|the|texts|messages|"
            "reminders|"
            "for|wanting)){0,5} (?:stop|stopped|quit|unsubscribe|optout|end|ended|cancel|cancelled|remove|removed|"
            "delete|kick|kicked|drop|dropped|take (?:me|us|my [a-z]+) off|take (?=~3 off)|opt ~1 out|opted ~1 out|"
            "miss|lose|interrupt|say stop|send stop|text stop|type stop)(?! now)(?: ~2 (?:<texting>|sending|getting|"
            "receiving))?(?: ~3 <texts>)?(?: ~2 off "
            "~2 <list>| ~2 from ~2 <list>)?",
            "(?:why|did|have|has|when|how come) (?:did |have |do |the |my |your ){0,2}(?:you|yall|they|we|i|<texts>) "
            "(?:guys |all |just |ever )?(?:stop|stopped|quit|unsubscribe)(?: <texting>| sending| getting| "
            "receiving)?(?: me)?(?: ~2 <texts>)?",
            "(?:if|when) (?:i|we|you) (?:text|say|reply|send|type|hit|sent|texted) (?:back )?(?:stop|"
            "unsubscribe)(?: [^\\s.,?]+){0,8} [?]",
            "(?:i|we|she|he|have) stopped (?:getting|receiving)(?: ~3 <texts>)?",
            "(?:accidentally|accident|mistakenly|mistake|accidently) ~2 (?:unsubscribe|unsubscribed|stop|stopped|"
            "optout|opted out|sent stop|removed|deleted|cancelled)(?: ~3 <texts>)?",
            "(?:unsubscribed?|stop|optout|opted out) (?:~2 )?by (?:accident|mistake)",
            "no (?:me |nos |se )?dej(?:en?|es) de [^\\s.,?]+",
            "no (?:me |nos |lo )?(?:<quiten>|den de baja|cancelen)(?: ~2 (?:lista|<textos>))?",
            "(?:dont|not|never|didnt|hope ~3|did ~1) (?:lose|forget) my number",
            "(?:unsubscribe|optout) (?:option|link|button) (?:~1 )?(?:isnt|not) (?:~1 )?(?:needed|necessary)",
        ),
        "a message given back": (
            "^(?:liked|loved|disliked|emphasized|laughed at|questioned|reacted ~2 to|le gusto|me gusta) quoted(?: "
            "[^\\s]+){0,80}",
        ),
        "stop of a visit or a way": (
            "(?:stop|stops|stopping|stopped) (?:right |back |briefly |quickly |real quick |again |just |on over |off "
            "|over ){0,2}(?:by|in|at|over|off|on|near|for|there|around|up|into|before|through|past|out front|here|to "
            "(?:pick|get(?! off)|grab|see|drop|buy|check|pay|eat|let|look|say|use))",
            "(?:non|wrong|bus|next|last|first|one|pit|truck|rest|a|an|train|subway|metro|quick|full|each|every|shuttle|"
            "trolley|tram|st|street|ave|avenue|the) stops?(?! message| texts?| word)",
            "stop (?:light|sign|watch|loss|order|payment|gap|motion|number|valve|(?:~1 )?(?:bus|autobus|camion|"
            "metro)|and (?:get|grab|pick|check|look|see|eat|say))",
        ),
        "stop of a thing": (
            "(?<!texts )(?<!messages )(?<!you )(?<!bot )(?<!they )(?<!yall )(?:wont|cant|doesnt|didnt|wouldnt|"
            "couldnt|isnt|never) (?:~1 )?(?:stop|stopped|quit|quits)(?! <texting>)(?: [a-z]+ing)?",
            "(?:to|will|would|help|helps|make|makes|made|it|and|does|do|should i|can i|could i|i) stop (?!getting|"
            "receiving)(?:the|a|my|his|her|its|taking|[a-z]+ing the|[a-z]+ing my) (?!-2 <texts>)[^\\s.,?]+",
            "(?:takes|hard|trouble|slow|long|forever|able) (?:~1 )?to stop",
            "(?:stop|quit) (?:it )?(?:those|these|that|this) (?!-2 <texts>)[a-z]+s (?:are|is|look)",
        ),
        "off something else": (
            "(?:waitlist|wine list|price list|to do list)",
            "(?:take|get|got|save|is) (?:~1 )?[0-9]+ (?:percent )?off(?: ~3 <texts>)?",
            "(?:list|lista) (?:for|on|del?|para) (?:~2 )?(?:today|tomorrow|tonight|(?:mon|tues|wednes|thurs|fri|"
            "satur|sun)day|[0-9]+(?:am|pm)?|recoger|salida|martes|lunes|miercoles|jueves|viernes|sabado|domingo|"
            "class|clase)",
        ),
        "another channel": (
            "(?:dont|no|instead of|cant|not) (?:call|calls|calling|ring|phone|email|emails)(?: me| us)?(?: (?!or |"
            "and |nor |text |list)[^\\s.?]+){0,6}? (?:text|message|texting|texts)(?! ~2 either)(?: me)?",
            "<not> (?:text|message) (?:and|while|when|or) (?:drive|driving)",
            "(?:texting|text) and driving",
            "call me (?:[,.] )?(?:please )?dont text(?= [,.] its| its| [,.] urgent)",
            "(?:stop|quit) (?:mailing|emailing|sending letters|"
            "calling)(?: [^\\s.?,]+){0,6} [.,] (?:[^\\s.?,]+ ){0,2}(?:texts?|text) (?:is|are) (?:better|plenty|fine|"
            "enough|ok|good)",
            "no (?:me |nos )?(?:llamen?|llames|marquen?)(?: (?!ni )[^\\s.?]+){0,5}? (?:mensajes?|textos?|"
            "escriban(?:me)?|texto|texteen(?:me)?)",
        ),
        "not at this hour": (
            "(?:dont|not) text [,.] (?:just |please )?call (?:me )?(?:when|if|once|about)",
            "(?:dont|not|no) (?:call|text|message|contact|ring|knock|bother)(?: (?:or|and) (?:call|text))?(?: me| "
            "us)?(?: back)? (?:right now|until|till|before|after|today|tonight|yet|while|during|between|on my old|"
            "too early|too late|unless|at (?!this|all))",
            "(?:dont|not) (?:call|text|message) (?:my|the) (?:old|other|previous|former) (?:number|phone|cell|one)",
            "(?:if|why|unless) (?:you|they|yall|someone|nobody|not) (?:dont |do not |cant |wont |not )(?:call|text|"
            "message|contact) (?:me|us)",
        ),
        "a number to be put right": (
            "wrong number (?:on|for|in|of|is|was)(?! ~2 (?:texts?|him|her))",
            "(?:gave|given|typed|entered|put|put in|wrote|dialed|called) (?:~3 )?wrong number",
            "(?:order|wrong|tracking|confirmation|account|invoice|unit|suite|room|flight|part|model) (?:order|"
            "tracking|confirmation|account|invoice|unit|suite|room|flight|part|model) number",
        ),
        "a message that did not come": (
            "(?<!to )(?<!rather )(?<!prefer )(?<!wish )(?<!please )(?<!you )(?:didnt|never|havent|wasnt|not|hasnt|"
            "got|have|arent|there are) (?:~1 )?(?:get|got|gotten|receive|received|see|seen|getting|receiving|come|no|"
            "coming) (?:~4 )?(?:<texts>|code|link|confirmation|reply|answer)(?! ~2 (?:anymore|from you))(?! ~3 "
            "consent)",
            "(?:error|warning|voice|voicemail|thank you|check engine) (?:messages?|alerts?|lights?|notifications?)",
            "(?:no one|nobody|noone|hasnt|havent|not|has anyone|never) (?:has |have |ever |anyone |even )?(?:called|"
            "texted|contacted|answered|messaged|replied|responded)(?: me| us)?(?: back)?",
            "(?:<texts>|times) ~3 no (?:answer|reply|response|luck)|no (?:answer|reply|response|luck)",
            "(?:to|in|into|my) (?:the |my |your )?(?:spam|junk)(?: folder| mail| box)?(?= [.,?]|$| and| so| got)",
            "(?:spam|junk) (?:calls|folder|mail|filter|removal|pickup|haul|hauling|musubi|sandwich|fried|and|rice|"
            "sushi)",
            "(?:no|tampoco) (?:me |nos |les |lo ){0,2}(?:pued|pud|pod|olvid|alcan|tard|dud|sab|se |supe|quiero "
            "molest|quiero interr|llego|llega)[a-z]*(?: a| en| de)?(?: (?:~1 )?(?:<manden>|<textos>))?",
        ),
    }.items()
)
