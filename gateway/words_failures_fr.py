"""Ce qui ne va pas, en français. The kinds of `journey.failures` in French, with the same placeholders, and what comes
of whoever meets an entry."""

from collections.abc import Mapping
from typing import Final

from journey.failures import Failure
from journey.words import EntryOutcome

FAILURES: Final[Mapping[Failure, tuple[str, str]]] = {
    Failure.settings_broken: (
        "estafette.yaml est inutilisable : personne n’entre et rien ne part.",
        "`estafette check` dit ce qui ne va pas, et où.",
    ),
    Failure.disk_full: (
        "Le disque est plein : il reste {free}.",
        "Faites de la place. Rien n’est perdu, et personne ne reçoit de message deux fois.",
    ),
    Failure.disk_closed: (
        "Les données du projet ne peuvent être écrites : le disque ou le dossier est en lecture seule.",
        "Corrigez les droits ou le montage. Rien n’est perdu.",
    ),
    Failure.disk_low: ("Le disque se remplit : il reste {free}.", "Faites de la place."),
    Failure.ledger_blocked: (
        "Un processus est suspendu au milieu d’une écriture du registre, et nul autre ne peut écrire.",
        "Laissez-le continuer ou mettez-y fin : rien n’est perdu, le passage suivant fait ce qu’il n’a pas fait.",
    ),
    Failure.lake_damaged: (
        "Des fichiers du lac ont disparu ou sont tronqués ({number}) : aucun passage ne travaille avec la moitié de ce"
        " que l’on sait.",
        "`estafette rebuild` refait ce que disent encore les fichiers reçus ; sinon, prenez-les d’une sauvegarde.",
    ),
    Failure.sends_held: (
        "Tous les envois sont retenus depuis la restauration du {since} : rien ne part.",
        "Ce qui est parti entre-temps se sait par ses accusés. Pour continuer : `estafette resume --all`",
    ),
    Failure.pass_failed: (
        "Le dernier passage a échoué le {since}.",
        "Corrigez ce qu’il dit ; le passage suivant reprend où il s’est arrêté. Le journal du passage, dans les pages"
        " de Dagster, en dit plus.",
    ),
    Failure.no_pass_yet: (
        "Du travail attend, et aucun passage n’a encore été fait.",
        "Lancez le démon de Dagster, ou `estafette tick` par cron.",
    ),
    Failure.no_pass: (
        "Du travail attend, et aucun passage n’est arrivé à son terme depuis le {since}.",
        "Voyez si le démon de Dagster tourne, ou cron avec `estafette tick` ; à la main, il dit ce qui gêne.",
    ),
    Failure.daemon_gone: (
        "Nul ne demande plus de passage depuis le {since} : le démon de Dagster s’est éteint, ou ses capteurs sont"
        " arrêtés.",
        "Relancez-le, ou ses capteurs dans les pages de Dagster. Si cron fait désormais les passages, ceci s’en va en"
        " quelques minutes.",
    ),
    Failure.segment_slow: (
        "Un passage évalue le segment {name} depuis le {since} : d’ici là, personne n’entre ni n’avance.",
        "Rien s’il arrive à son terme ; ce qui est prévu part entre-temps. Au bout de 5 minutes il est interrompu, et"
        " les passages suivants le reprennent : restreignez-le alors, ou arrêtez la campagne qui le demande.",
    ),
    Failure.work_dropped: (
        "Un processus est mort ou suspendu, son bail a pris fin le {since}, et nul n’a continué son travail ({number}"
        " messages en route).",
        "Voyez si le démon de Dagster tourne, ou cron avec `estafette tick` : le prochain passage continue, et rien"
        " n’est perdu.",
    ),
    Failure.gateway_down: (
        "La passerelle à {name} s’est éteinte sans un mot après le {since} : rien n’y répond, ni webhook ni page.",
        "Relancez `estafette serve`. Meta apporte pendant des jours ce qu’il n’a pu livrer ; les envois continuent.",
    ),
    Failure.clock_back: (
        "L’horloge de la machine a été reculée : le dernier passage a fini le {since}, qui est encore à venir.",
        "Remettez-la à l’heure. Ce qui est dû l’attend ; rien ne part deux fois.",
    ),
    Failure.token_missing: (
        "WHATSAPP_TOKEN manque : rien ne peut partir.",
        "Mettez-le dans l’environnement ou dans .env.",
    ),
    Failure.app_secret_missing: (
        "WHATSAPP_APP_SECRET manque : aucun webhook n’est pris.",
        "Mettez-le dans l’environnement ou dans .env, puis relancez la passerelle.",
    ),
    Failure.webhooks_refused: (
        "Des webhooks ont été refusés, le dernier le {since}, et aucun n’a été pris depuis.",
        "S’ils viennent de Meta, WHATSAPP_APP_SECRET n’est pas le secret de l’application : corrigez-le, puis relancez"
        " la passerelle.",
    ),
    Failure.not_kept: (
        "Des webhooks n’ont pu être écrits sur le disque, le dernier le {since}, et aucun ne l’a été depuis.",
        "Faites de la place, ou corrigez les droits ou le montage. Meta les rapporte pendant des jours, et rien n’est"
        " perdu.",
    ),
    Failure.no_webhooks: (
        "Meta a pris des messages depuis le {since} ({number}), et aucun accusé n’en est venu.",
        "Voyez si la passerelle tourne, si Meta l’atteint, et si l’application est abonnée à `messages`.",
    ),
    Failure.half_forgotten: (
        "Une personne n’est effacée qu’à moitié.",
        "Si personne n’y travaille : `estafette forget CONTACT --yes`, pour elle ou pour une autre, termine.",
    ),
    Failure.not_published: (
        "analytics.duckdb n’est pas là : les pages et les requêtes n’ont pas de chiffres.",
        "Le prochain passage le refait, ou `estafette rebuild`.",
    ),
    Failure.quarantine: (
        "Ce qui n’a pu être lu est en quarantaine ({number}).",
        "`estafette quarantine list` le montre ; une fois corrigé : `estafette quarantine retry --all`",
    ),
    Failure.inbox_trouble: (
        "Ce que l’on répond dans les conversations est à l’arrêt depuis le {since} à cause d’une erreur d’Estafette"
        " même.",
        "Tout le reste continue, et un nouvel essai a lieu chaque minute. Le journal du passage en dit plus.",
    ),
    Failure.several_daemons: (
        "Plusieurs démons de Dagster s’occupent de ce projet : {number}.",
        "Arrêtez-les tous sauf un. Ils ne gâtent rien, et personne ne reçoit de message deux fois : l’un fait un"
        " passage, les autres attendent.",
    ),
    Failure.requests_refused: (
        "La passerelle refuse des requêtes : {number} depuis le {since}, la dernière le {last}.",
        "Chacune a reçu une phrase qui dit pourquoi ; voyez qui demande. Cela disparaît une heure après la dernière.",
    ),
    Failure.pass_taken_over: (
        "Un processus qui faisait un passage est mort ou a été suspendu, et un autre a continué : {number} en un jour,"
        " le dernier le {since}.",
        "Rien à faire : ce qu’il n’a pas fait, le suivant l’a fait. Si cela revient sans cesse, voyez ce qui y met"
        " fin.",
    ),
    Failure.gateway_back: (
        "La passerelle s’est éteinte sans un mot, et tourne de nouveau : {number} en un jour, la dernière fois après le"
        " {since}.",
        "Rien à faire : Meta apporte ce qu’il n’a pu livrer. Si cela revient sans cesse, voyez ce qui y met fin.",
    ),
    Failure.sender_stopped: (
        "L’expéditeur {name} est arrêté depuis le {since} : rien n’en part.",
        "Ensuite, reprenez avec : `estafette resume --sender {name}`",
    ),
    Failure.sender_unreached: (
        "Meta est injoignable depuis le {since} : rien ne part de l’expéditeur {name}.",
        "Voyez la page d’état de Meta, WHATSAPP_API_URL et votre accès au réseau. Un nouvel essai a lieu de lui-même,"
        " et rien n’est perdu.",
    ),
    Failure.sender_resting: (
        "Les envois en nombre de l’expéditeur {name} sont suspendus depuis le {since} ; ce que demandent événements et"
        " requêtes continue.",
        "Ils reprennent quand Meta dit que tout va bien. Pour envoyer malgré tout : `estafette resume --sender {name}`",
    ),
    Failure.sender_shared: (
        "Autre chose semble envoyer avec le numéro de {name}.",
        "Un numéro ne sert qu’à un projet : deux écrivent deux fois à la même personne, sans rien savoir des limites"
        " et des désinscriptions de l’autre. S’il n’y a pas d’autre projet, c’est un autre système, ou"
        " messages_per_second dépasse ce que Meta permet.",
    ),
    Failure.sender_slowed: (
        "Meta a demandé à l’expéditeur {name} de ralentir : {pace} messages par seconde sur {ceiling}.",
        "Rien à faire : la cadence revient d’elle-même.",
    ),
    Failure.sender_taken_over: (
        "Un processus qui envoyait pour {name} est mort ou a été suspendu, et d’autres ont continué : {number} en un"
        " jour, le dernier le {since}. Il a laissé {messages} messages inconnus, dont {known} sont connus depuis.",
        "Rien à faire : un accusé dira ce qui est inconnu, sinon `when_unknown` de la campagne décide. Personne ne"
        " reçoit de message deux fois.",
    ),
    Failure.limit_reached: (
        "La limite de messages est atteinte : {people} personnes sur {limit} en 24 heures ; des messages attendent"
        " ({number}).",
        "Rien à faire : ils partent quand des places se libèrent. Ce qui attend plus que son `expires` est écarté.",
    ),
    Failure.template_held: (
        "Le modèle {name} est {status} chez Meta : ses messages attendent.",
        "Voyez-le dans WhatsApp Manager ; une fois approuvé : `estafette templates pull`",
    ),
    Failure.coupons_out: (
        "Le lot {name} n’a plus de code : qui n’en reçoit pas ne reçoit pas de message.",
        "Ajoutez des codes : `estafette import {name}.csv`",
    ),
    Failure.campaign_trouble: (
        "{name} est à l’arrêt depuis le {since} à cause d’une erreur d’Estafette même.",
        "Tout le reste continue, et un nouvel essai a lieu chaque minute. Le journal du passage en dit plus ; si cela"
        " reste, signalez-le comme un défaut d’Estafette.",
    ),
    Failure.campaign_holes: (
        "Le fichier de {name} a une erreur : tant qu’elle reste, personne n’entre et rien n’est envoyé.",
        "`estafette check {name}` dit ce qui ne va pas, et où.",
    ),
    Failure.campaign_stopped: (
        "{name} est arrêtée depuis le {since} : personne n’entre et rien n’est envoyé.",
        "Quand elle peut reprendre : `estafette resume {name}`",
    ),
    Failure.campaign_stranded: (
        "Des personnes sont dans {name}, qui n’est pas active : personne n’avance.",
        "Remettez son fichier, corrigez-le, ou retirez `draft` ; ou sortez-les avec `estafette drop {name} CONTACT…`",
    ),
    Failure.campaign_overdue: (
        "Quelqu’un dans {name} aurait dû entrer ou avancer depuis le {since}, et ne l’a pas fait.",
        "`estafette status {name}` dit quel segment échoue, ou ce qui gêne d’autre.",
    ),
    Failure.campaign_failing: (
        "La plupart des envois de {name} échouent : {number} des {of} derniers.",
        "Voyez les codes et ce qu’ils demandent ; `estafette stop {name}` retient les autres en attendant.",
    ),
    Failure.messages_refused: (
        "Meta a refusé des messages de {name} en un jour : {number} avec {code}, {title}.",
        "Ils ont pris `on_failure`, sans nouvel essai.",
    ),
    Failure.messages_again: (
        "Des messages de {name} sont essayés de nouveau : Meta en a refusé {number} pour l’instant avec {code},"
        " {title}.",
        "Rien à faire.",
    ),
    Failure.messages_unknown: (
        "De certains messages, nul ne peut dire s’ils sont partis ({number}).",
        "Rien à faire : un accusé le dira ; sinon, `when_unknown` de la campagne décide.",
    ),
}

OUTCOMES: Final[Mapping[EntryOutcome, tuple[str, str]]] = {
    EntryOutcome.entered: ("entrées", ""),
    EntryOutcome.control: ("tirées dans le groupe témoin : mesurées, jamais contactées", ""),
    EntryOutcome.already_in: (
        "déjà dedans : on n’est dans une campagne qu’une fois à la fois, ou une fois par clé",
        "Elles peuvent entrer quand ce passage est fini ; `estafette drop` y met fin.",
    ),
    EntryOutcome.re_entry: (
        "venues aussi souvent que `re_entry` le permet",
        "Changez `re_entry`, ou attendez que sa durée soit passée.",
    ),
    EntryOutcome.too_old: (
        "l’événement était plus vieux que `max_age` quand il a été pris",
        "Envoyez les événements plus tôt, ou allongez `max_age`.",
    ),
    EntryOutcome.too_late: (
        "leur moment d’entrer était passé",
        "Voyez `if_past`, `late` et `not_after` de l’entrée ; la prochaine occurrence viendra.",
    ),
    EntryOutcome.not_active: ("l’événement est hors de la période `active` de l’entrée", "Changez `active`."),
    EntryOutcome.unknown_contact: (
        "aucun contact de cet identifiant n’est venu en 24 h",
        "Importez le contact avant ce qui le nomme, ou avec.",
    ),
    EntryOutcome.refused: ("ce qui le demandait est inutilisable", ""),
    EntryOutcome.stopped: ("la campagne était arrêtée", "Reprenez-la avec `estafette resume`, puis redemandez."),
}
