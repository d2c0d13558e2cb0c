"""Spanish rules that speak for a wish to be left in peace; the weights are those of `optout_rules`."""

from holdfast.messaging.optout_patterns import Rule, compiled

SPANISH_RULES = tuple(
    Rule(name, weight, compiled(*patterns))
    for name, (weight, patterns) in {
        "no me escriban": (
            1.0,
            (
                "(?:no|nunca|jamas|tampoco|ni|dejen de|sin que) (?:~5 )?<manden>(?! (?:~1 )?(?:todavia|aun|ahorita|"
                "hoy|hasta|antes)(?!\\S))(?! con (?!nosotros))(?! (?:~1 )?(?:el|la|los|las|un|una|al (?!numero|cel|"
                "tel)[a-z]+|a nadie|a (?!est|mi (?:num|cel|tel|espos|mam|pap|cas|hij|corr)|mis |ese |esa )[a-z]+|a "
                "la|hasta|antes|todavia|tarde) (?!-1 <textos>))(?! (?:mi|su) (?!-1 <textos>)[a-z]+)",
                "(?:no|ni|sin) (?:~1 )?(?:mas|mas de|otro|otra) (?:-3 )?<textos>|no (?:~1 )?textos",
                "(?:ni un[oa]?|basta|suficientes?) (?:de )?(?:-1 )?(?:<textos>|mas$$)|no mas$$",
                "(?:sig(?:a|an|as)|siguen|sigue) (?:llegando|mandando|enviando|escribiendo|molestando)(?:me)? (?:-2 "
                ")?<textos>",
                "salg(?:an|a|anse) de mi (?:telefono|celular|vida)",
            ),
        ),
        "no quiero mensajes": (
            0.9,
            (
                "(?:no|ni|nunca) (?:~3 )?(?:quier|dese|necesit|ocup|autoriz|quisi|gust|pid|ped|solicit|acept|interes|"
                "prefier)[a-z]* (?:recibir |ser |que |me |mas |de |sus |estos |esos |a |lleguen |saber |tener |en |"
                "ver |seguir |recibiendo ){0,6}(?:-2 )?(?:<textos>|mas informacion|informacion suya|contactad[oa]s?|"
                "molestad[oa]s?|notificad[oa]s?|nada mas de|nada de (?:ustedes|esto)|nada suyo|saber de)",
                "no (?:~3 )?recib(?:ir|iendo)(?: mas| nada| esto| estos| estas|$$)",
                "no (?:quier|dese|quisi)[a-z]+ (?:estar|seguir|aparecer) en (?:-2 )?(?:<lista>)",
                "no quiero (?:mas|nada)$$|no (?:~2 )?quier[a-z]* (?:~1 )?que (?:~2 )?(?:llegue|lleguen|escriban|"
                "manden|envien)",
            ),
        ),
        "dejen de escribir": (
            1.0,
            (
                "(?:<dejen> (?:ya )?(?:de|con)|absten[a-z]+(?: de)?|evit(?:en|e|ar)) (?:~2 )?(?:<manden>|<texting>|"
                "<textos>|hacer spam|fregar|estar|enviar|llamar(?:me)?|tanto)",
                "dej[a-z]+ (?:~1 )?(?:en paz|tranquil[oa]s?|quiet[oa])",
                "(?<!cuando )(?<!si )<cancelen> (?:ya |de |con |a |todos |tantos |tantas ){0,3}(?:los |las |sus |"
                "esos |estos |esas |estas |mis |el |la |su |mas |este |esta ){0,2}(?:-2 )?<textos>",
                "<cancelen> (?:-1 )?(?:suscripcion|inscripcion|registro) (?:a|de|en) (?:-2 )?<textos>",
                "(?:^^|que |favor de )(?:paren|basta|parenle|parele|dejenme|detenganse|pare|(?<=de )parar)(?: ya)?$$",
                "no (?:~1 )?(?:chinguen|jodan|frieguen|fastidien|mamen)",
            ),
        ),
        "quitenme de la lista": (
            1.0,
            (
                "(?:<quiten>|borr[a-z]+|remove|take|salir|sal|den de baja|fuera)(?:me|nos|lo|la)? (?:me |nos |de |"
                "del |a ){0,2}(?:~3 )?(?:la |su |esta |esa |sus |las |los |ese |este |tu |"
                "(?<=del )){1,2}(?:-1 )?(?:<lista>|"
                "<textos>)",
                "(?:<quiten>|cancel(?:en|e|ar)|bloqueen|olvid[a-z]+ de|pierdan?|olviden|olvide|tiren) (?:~1 )?(?:mi|"
                "este|el|mis|esta|nuestro|a) (?:-1 )?<numero>(?! (?:de (?:tarjeta|cuenta|orden|(?:la|el|mi) (?!lista|"
                "base))|en |del (?!sistema|grupo)|viej|y (?:pong|us|agreg)))",
                "<quiten>(?:me|nos|lo)(?: de (?:aqui|ahi|esto|eso|todo|una vez)| ya| de su| del| ahorita)?$$",
                "(?:me|nos) (?:~1 )?<quiten>(?: de (?:aqui|ahi|esto|eso|todo|su|sus|la lista))?$$",
                "olvid[a-z]+ de mi$$|lista de no (?:llamar|contactar|<manden>)",
                "<quiten>l[oa]s?(?: todos| todas)?(?: de (?:ahi|su|la))?$$",
                "(?:salir|salirme|salgo|salirse|saldre) (?:~1 )?de (?:~1 )?(?:<lista>|<textos>|esto|aqui)",
            ),
        ),
        "dar de baja": (
            1.0,
            (
                "(?:^|[.,?] )baja (?:al|del|de|en) (?:~1 )?(?:servicio|<textos>|lista|todo)",
                "(?:(?:d[aeio][a-z]{0,5}|quiero|solicito|pido|causar|quisiera|favor de|necesito) (?:~2 )?(?:de |la |"
                "mi ){1,2}baja)(?:$$| (?:de|del|en|a) (?:~2 )?(?:<lista>|<textos>|esto|aqui|todo|numero)| [a-z]+ "
                "(?:numero|celular))",
                "desuscri[a-z]+|desinscri[a-z]+|desapunt[a-z]+",
                "(?:revoc|retir|quit|cancel)[a-z]+ (?:~2 )?(?:consentimiento|permiso|autorizacion)(?! (?:de|para) "
                "(?!~3 (?:<textos>|<manden>|recibir|contact)))",
            ),
        ),
        "numero equivocado": (
            0.45,
            (
                "(?:numero|persona|telefono) (?:~1 )?(?:equivocad[oa]|incorrect[oa]|erroneo)|equivocad[oa] (?:de "
                ")?(?:numero|persona)",
                "(?:se|te|estas|usted esta) (?:~1 )?equivoc(?:o|aron|aste|ado|ados|ando|an)(?: de (?:numero|persona|"
                "telefono)|$$)",
                "(?:este )?(?:ya )?no es (?:el|su) (?:numero|telefono|celular)(?: de)?|(?:numero|telefono) ya no es de",
                "no conozco a (?:nadie|ningun[ao]?|esa|ese)|(?:no|nadie) (?:~2 )?(?:se llama|con ese nombre)",
            ),
        ),
        "no me interesa": (
            0.45,
            (
                "(?:no|ni) (?:~1 )?(?:me |nos )?(?:interesa|interesan|interesad[oa]s?)$$|no estoy (?:~1 "
                ")?interesad[oa]$$",
            ),
        ),
        "queja": (
            0.75,
            (
                "(?:me|nos|son|es) (?:~1 )?acos(?:o|ando)|acosandome|es acoso|hostig[a-z]+",
                "(?:hart[oa]s?|cansad[oa]s?|fastidiad[oa]s?) (?:~1 )?(?:de|con) (?:~1 )?(?:<textos>|ustedes|que me|"
                "recibir|esto|tant[oa]s)|ya me (?:~1 )?(?:hart|cans)[a-z]+ (?:de|con|sus|los)(?! [a-z]+ (?:del|de la))",
                "(?:denunci|report|demand)[a-z]+ (?:~3 )?(?:mensaje|texto|spam|siguen|sigan|acoso)|(?:vuelven|siguen|"
                "sigan|otro <textos>) (?:~3 )?(?:los |las )?(?:demand|denunci|report)[a-z]+|(?:los|las) (?:~2 "
                ")?denunci[a-z]+",
                "(?:no|nunca|jamas) (?:~2 )?(?:di|autori[a-z]+|acept[a-z]+|inscrib[a-z]+|suscrib[a-z]+|registr[a-z]+|"
                "apunt[a-z]+|solicit[a-z]+|pedi|firm[a-z]+) (?:a |para |recibir |que ){0,2}(?:-1 )?(?:esto|estos|"
                "estas|<textos>|permiso|consentimiento|autorizacion|mi numero|aqui|me|a nada|[.,?]|$)",
                "(?:vayanse|vete|larguense) (?:a|al|ya|de)|chinga|callense|no joda[ns]?",
                "bloquead[oa]s?$$|(?:los|las|voy a) (?:~1 )?bloque[a-z]+",
            ),
        ),
        "demasiados": (
            0.45,
            (
                "ya estuvo bueno con (?:-1 )?<textos>",
                "(?:demasiad[oa]s|much[oa]s|tant[oa]s|tanto) (?:-1 )?<textos>(?! (?:sin|en) )",
                "(?:quien|como|donde) (?:~2 )?(?:dio|consigui[a-z]+|obtuv[a-z]+|sacaron) (?:~1 )?(?:mi|este) numero",
                "por ?que me (?:~1 )?(?:mandan|escriben|envian|siguen)|(?:es|puro) spam|que molest[oa]s?$$",
                "(?:siguen|sigue) (?:mandando|enviando|escribiendo|molestando)[a-z]*",
            ),
        ),
    }.items()
)
