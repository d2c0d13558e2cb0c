"""Spanish phrases that speak for a wish to be left in peace; the weights are those of `optout_rules`."""

from holdfast.messaging.optout_patterns import Rule, compiled

SPANISH_RULES = tuple(
    Rule(name, weight, compiled(*patterns))
    for name, (weight, patterns) in {
        "no me escriban": (
            1.0,
            (
                "(?:no|nunca|jamas|tampoco|ni) (?:~1 )?(?:me |nos |le |les |lo ){0,6}(?:vuelvan? a |vuelvas a |"
                "sigan? |quiero que (?:me )?(?:~1 )?|esten? |tienen que |hace falta que (?:me )?|"
                "autorizo que (?:me )?){0,6}(?:<manden>)",
                "no (?:~2 )?(?:quiero|deseo|necesito|autorizo|quisiera|gusta|gustan|gustaria|recibo|pedi|"
                "interesa|interesan) (?:~4 )?(?:<msg_es>|saber (?:nada|mas)|publicidad|contacten|"
                "nada (?:de ustedes|suyo|con|de esto))",
                "no (?:~3 )?recibir (?:~1 )?(?:mas|nada|<msg_es>|esto|estos|estas|sus|info|informacion|llamadas|"
                "[.,?]|$)",
                "no (?:mas|mas de) (?:~1 )?<msg_es>",
                "(?:ni un|ni uno|basta de|suficientes?) (?:~1 )?(?:<msg_es>|mas)",
                "sin mas <msg_es>|no insistan|no insista",
                "no (?:me |nos )?(?:~1 )?mand(?:en|e|es) (?:mas|nada)|ya no (?:me )?(?:anden|esten|"
                "sigan) [a-z]+ndo(?:me)?|ya dije que (?:no|ya no|paren|alto)",
                "salg(?:an|a|anse) de mi (?:telefono|celular|vida)|(?:siguen|sigue|sigan) (?:llegando|mandando|"
                "enviando)(?:me)? (?:~2 )?<msg_es>",
            ),
        ),
        "dejen de escribir": (
            1.0,
            (
                "(?:dej(?:en|e|a|ar|es|enme|eme|ame|arme)|par(?:en|e|a|ar|enle|ele)|ces(?:en|e|"
                "ar)) (?:ya )?(?:de|con) (?:~2 )?(?:<manden>|<msg_es>|mensajear|hacer spam|fregar|estar|"
                "[a-z]+(?:ando|iendo)(?:me)?)",
                "dej(?:en|e|a|ar|enme|eme|ame|arme|enos) (?:~1 )?(?:en paz|tranquil[oa]s?|quiet[oa])",
                "(?:par(?:en?|ar)|basta|alto|suspend(?:an|a|er)|deten(?:gan|ga|er)|cancel(?:en|e|ar|a|o)|"
                "desactiv(?:en|ar|o)|paro|detengo|quito|bloqueo|termin(?:en|ar)) (?:ya )?(?:~3 )?(?:<msg_es>)",
                "(?:^|[.,?] )(?:ya )?(?:paren|basta|parenle|parele|dejenme|alto|pare)(?: ya| por favor|"
                " porfavor){0,6}(?: [.,]|$)",
                "no (?:~1 )?(?:molest(?:en|e|es|ar|arme|ando)|chinguen|jodan|frieguen|fastidien)",
            ),
        ),
        "quitenme de la lista": (
            1.0,
            (
                "(?:<fuera>) (?:~6 )?(?:lista|listas|base|sistema|contactos|mensajes|registros|grupo)",
                "(?:<fuera>|cancel(?:en|e|ar)|bloqueen) (?:~1 )?(?:mi|este|el|mis) (?:~1 )?(?:numero|nombre|"
                "telefono|contacto|datos|celular|info|informacion)",
                "(?:quitenme|quiteme|quitame|saquenme|saqueme|sacame|borrenme|borreme|borrame|eliminenme|"
                "eliminame|elimineme|remuevanme|quitarme|borrarme|sacarme|eliminarme|salirme|salir)"
                "(?: (?:por favor|porfavor|de (?:esto|aqui|ahi|esta|la lista|su|sus|eso)|ya|gracias|ahora|[.,?])|$)",
                "(?:borren|quiten|eliminen|borre|quite|elimine|borrar|quitar|eliminar|saquen)lo(?:s)?(?= [.,]|$|"
                " por| de| ya)",
                "me (?:~1 )?(?:quit(?:en?|an?|ar)|borr(?:en?|an?|ar)|sa(?:quen?|can?|car)|elimin(?:en?|an?|ar)|"
                "remuev(?:an?))(?: (?:por favor|porfavor|de (?:esto|aqui|ahi|esta|la lista|su|sus|eso)|ya|[.,?])|"
                "$)",
                "(?:pierdan|pierda|olviden|olvide|olvidense de|bloqueen|tiren) (?:~1 )?(?:mi|"
                "este) (?:~1 )?(?:numero|telefono|contacto)",
            ),
        ),
        "dar de baja": (
            1.0,
            (
                "(?:^|[.,?] )baja (?:al|del|de|en) (?:~1 )?(?:servicio|<msg_es>|lista|todo)|(?:dar|darme|darse|"
                "darnos|den|deme|denme|dame|denos|doy|dado|dada|dando|quiero|solicito|pido|causar|"
                "quisiera) (?:~2 )?(?:de |la |mi )?baja",
                "desuscri[a-z]+|desinscri[a-z]+|desapunt[a-z]+",
                "(?:salir|salirme) (?:~1 )?(?:de )?(?:~1 )?(?:lista|mensajes|esto|aqui|grupo)",
                "revoc[a-z]+ (?:~2 )?(?:consentimiento|permiso|autorizacion)|"
                "retir[a-z]+ (?:~1 )?(?:consentimiento|permiso|autorizacion)",
            ),
        ),
        "numero equivocado": (
            0.45,
            (
                "(?:numero|persona|telefono) (?:~1 )?(?:equivocad[oa]|incorrect[oa]|erroneo)",
                "equivocad[oa] (?:de )?(?:numero|persona)",
                "(?:se|te|estan?|estas) (?:~1 )?equivoc(?:o|aron|aste|ado|ados|ando|an)(?: (?:de (?:numero|"
                "persona|telefono)|[.,])|$)",
                "no soy (?!de|el|la|un|una|yo|alergic[oa]|muy|cliente|miembro|paciente|buen|bueno|buena|"
                "expert[oa]|capaz|socio|nuev[oa])[a-z]+(?: [.,]|$)",
                "(?:este )?(?:ya )?no es (?:el|su) (?:numero|telefono|celular)(?: de)?|(?:numero|telefono) ya no es de",
                "no conozco a (?:nadie|ningun[ao]?|esa|ese|[a-z]+)|(?:no|nadie) (?:~2 )?(?:se llama|con ese nombre)",
            ),
        ),
        "no me interesa": (
            0.45,
            (
                "(?:no|ni) (?:~1 )?(?:me |nos )?(?:interesa|interesan|interesad[oa]s?)",
                "no estoy (?:~1 )?interesad[oa]",
            ),
        ),
        "queja": (
            0.75,
            (
                "acos(?:o|ando|andome)|hostig[a-z]+|denunci[a-z]+|demandar(?:los|las|los)?|"
                "mi abogad[oa] (?:~3 )?(?:contact|hablar|ust|demand)[a-z]*",
                "(?:voy a|vamos a|los|las) (?:~1 )?(?:report|bloque|demand)[a-z]+|bloquead[oa]s?(?: [.,]|$)",
                "(?:hart[oa]s?|cansad[oa]s?|fastidiad[oa]s?) (?:~1 )?(?:de|con|ya)|ya me (?:~1 )?(?:hart|"
                "cans)[a-z]+ (?:de|con|sus|los|[.,])",
                "nunca (?:~2 )?(?:di|autorice|acepte|firme|inscribi|suscribi|registre|solicite|"
                "apunte)(?! ~2 (?:cargo|cobro|pago|precio))",
                "(?:no|nunca) (?:~1 )?(?:di|autorice|acepte|inscribi|suscribi|registre|apunte|solicite|pedi) (?:~1 )?"
                "(?:esto|estos|estas|mensajes|permiso|consentimiento|autorizacion|mi|aqui|recibir|para|a esto|"
                "que me)",
                "(?:vayanse|vete|larguense) (?:a|al|ya|de)|chinga|no chinguen|no joda[ns]?|no mamen|callense",
            ),
        ),
        "demasiados": (
            0.45,
            (
                "(?:demasiad[oa]s|much[oa]s|tant[oa]s|tanto) (?:~1 )?(?:<msg_es>)",
                "(?:quien|como|donde) (?:~2 )?(?:dio|consigui[a-z]+|obtuv[a-z]+|sacaron) (?:~1 )?(?:mi|este) numero",
                "por ?que me (?:~1 )?(?:mandan|escriben|envian|siguen|llaman)",
                "no quiero (?:mas|nada)(?: [.,]|$)|(?:siguen|sigue) (?:mandando|enviando|escribiendo|molestando)[a-z]*",
                "(?:es|puro|esto es) spam|que molest[oa]s?(?: [.,]|$)",
            ),
        ),
    }.items()
)
