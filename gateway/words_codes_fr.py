"""Les codes d'erreur de Meta en français. Meta's error codes in French: those of `journey.codes`."""

from collections.abc import Mapping
from typing import Final

_RENEW = "Créez un nouveau jeton dans les paramètres de Meta, mettez-le dans WHATSAPP_TOKEN, puis reprenez."
_RIGHTS = "Donnez à l’utilisateur système du jeton la permission whatsapp_business_messaging, puis reprenez."
_PACE = "La cadence baisse d’elle-même et remonte."
_LATER = "Estafette réessaie de lui-même."
_NUMBER = "Voyez le numéro dans WhatsApp Manager, puis reprenez l’expéditeur."
_SEE = "Voyez les détails."

CODES: Final[Mapping[int, tuple[str, str]]] = {
    # who may send at all
    0: ("Authentification refusée", f"Meta n’accepte pas le jeton. {_RENEW}"),
    3: ("Capacité absente", f"L’application n’a pas droit à cet appel. {_RIGHTS}"),
    10: ("Permission refusée", f"La permission du jeton manque ou a été retirée. {_RIGHTS}"),
    33: (
        "Numéro supprimé",
        "Le numéro de l’expéditeur n’existe plus, ou l’utilisateur du jeton ne le voit pas. Corrigez phone_number_id"
        " dans estafette.yaml, ou donnez-lui accès au compte.",
    ),
    102: ("Session expirée", f"La session du jeton est finie. {_RENEW}"),
    190: ("Jeton expiré", f"Le jeton a expiré ou a été révoqué. {_RENEW}"),
    368: (
        "Bloqué pour une règle enfreinte",
        "Meta a bloqué le compte. Voyez la qualité du compte dans WhatsApp Manager.",
    ),
    131005: ("Accès refusé", f"Le jeton n’a pas droit à ce numéro. {_RIGHTS}"),
    131031: ("Compte verrouillé", "Meta a verrouillé le compte. Voyez sa qualité dans WhatsApp Manager."),
    131037: (
        "Nom affiché non approuvé",
        "Meta veut un nom affiché approuvé pour ce numéro. Demandez-le dans WhatsApp Manager.",
    ),
    131042: (
        "Problème de paiement",
        "Meta ne peut pas débiter le compte. Réglez le moyen de paiement dans WhatsApp Manager, puis reprenez.",
    ),
    131045: ("Numéro non enregistré", f"Le certificat ou l’enregistrement du numéro est faux. {_NUMBER}"),
    133010: ("Numéro non enregistré", f"Le numéro n’est pas enregistré sur la Cloud API. {_NUMBER}"),
    # how fast
    4: ("Trop d’appels de l’application", f"L’application a épuisé ses appels. {_PACE}"),
    17: ("Trop d’appels de l’utilisateur", f"L’utilisateur du jeton a épuisé ses appels. {_PACE}"),
    32: ("Trop d’appels de la page", f"La page a épuisé ses appels. {_PACE}"),
    341: ("Limite de l’application", f"L’application a atteint une limite de Meta. {_PACE}"),
    613: ("Trop d’appels", f"Cet appel a été fait trop souvent. {_PACE}"),
    80007: ("Trop d’appels du compte", f"Le compte WhatsApp a épuisé ses appels de l’heure. {_PACE}"),
    80008: ("Trop d’appels du compte", f"Le compte WhatsApp a épuisé ses appels de l’heure. {_PACE}"),
    130429: ("Débit atteint", f"Le numéro envoie plus de messages par seconde que permis. {_PACE}"),
    131057: ("Compte en maintenance", f"Meta change le débit du numéro, ce qui prend une minute. {_PACE}"),
    131056: (
        "Trop pour une personne",
        "Trop de messages à la même personne en peu de temps. Le prochain essai attend, pour elle seule.",
    ),
    # what Meta or the people thought of it
    131048: (
        "Limité pour indésirables",
        "Trop de gens ont bloqué ou signalé ce numéro. Voyez sa qualité dans WhatsApp Manager avant de reprendre.",
    ),
    131064: (
        "Limité pour une catégorie fausse",
        "Des modèles du compte étaient dans une mauvaise catégorie. La limite cesse d’elle-même ; corrigez-les.",
    ),
    # Meta's own trouble
    1: ("Panne inconnue", f"Meta n’a pas pu traiter la demande. {_LATER}"),
    2: ("Service en panne", f"Le service est en panne ou surchargé. {_LATER}"),
    131000: ("Quelque chose a échoué", f"Meta a échoué sans dire pourquoi. {_LATER}"),
    131016: ("Service indisponible", f"Un service de Meta est indisponible. {_LATER}"),
    133004: ("Serveur indisponible", f"Un serveur de Meta est indisponible. {_LATER}"),
    # the template
    131063: (
        "Marketing coupé ici",
        "Le compte n’envoie de marketing que par l’API marketing de Meta. Rouvrez-le pour la Cloud API.",
    ),
    132001: (
        "Modèle absent",
        "Aucun modèle approuvé de ce nom dans cette langue. Relisez les modèles et corrigez la campagne.",
    ),
    132007: ("Modèle contre une règle", "Le texte du modèle enfreint une règle. Corrigez-le et refaites-le approuver."),
    132015: (
        "Modèle en pause",
        "Meta a mis le modèle en pause pour sa qualité. Il revient seul, ou après une correction.",
    ),
    132016: ("Modèle désactivé", "Meta a désactivé le modèle pour de bon. Écrivez-en un autre."),
    132068: ("Flow bloqué", "Le flow du modèle est bloqué. Réparez-le dans WhatsApp Manager."),
    132069: ("Flow ralenti", "Le flow du modèle est ralenti. Il revient de lui-même."),
    134101: (
        "Modèle en synchronisation",
        "Le modèle est nouveau pour l’API marketing de Meta, ce qui prend dix minutes.",
    ),
    134102: (
        "Modèle indisponible",
        "Le modèle est inutilisable dans l’API marketing de Meta. Voyez-le dans WhatsApp Manager.",
    ),
    # the media of the header
    131052: (
        "Média introuvable",
        "Meta n’a pas pu lire le fichier de l’en-tête. Son adresse doit être publique et sans connexion.",
    ),
    131053: ("Média refusé", f"Meta n’a pas pu employer le fichier de l’en-tête : son type ou sa taille. {_SEE}"),
    # this person
    130403: (
        "Bloqué par l’entreprise",
        "L’entreprise a bloqué cette personne. Débloquez-la dans WhatsApp Manager.",
    ),
    130472: (
        "Dans une expérience de Meta",
        "Meta retient le marketing de cette personne pour une expérience. Prenez un autre canal.",
    ),
    130497: ("Pays non permis", "Le compte n’a pas le droit d’écrire aux gens de ce pays."),
    131021: ("Expéditeur et destinataire confondus", "Le numéro s’écrirait à lui-même."),
    131026: (
        "Non distribuable",
        "Le téléphone n’a pas WhatsApp, ou un ancien, ou n’en a pas accepté les conditions.",
    ),
    131030: (
        "Hors de la liste d’essai",
        "Un numéro d’essai n’atteint que sa liste. Ajoutez-y le téléphone, ou prenez un vrai numéro.",
    ),
    131047: (
        "Hors des 24 heures",
        "La personne a écrit il y a plus de 24 heures : seul un modèle peut partir.",
    ),
    131049: (
        "Retenu par Meta",
        "Meta limite le marketing qu’une personne reçoit, toutes entreprises ensemble.",
    ),
    131050: ("Marketing refusé", "La personne ne veut plus de marketing de l’entreprise. Elle n’en reçoit plus."),
    131062: (
        "Identifiant non permis ici",
        "Cette sorte de message veut un numéro de téléphone, pas l’identifiant de Meta.",
    ),
    # this request
    100: ("Paramètre invalide", f"La demande a un paramètre que Meta n’accepte pas. {_SEE}"),
    131008: ("Paramètre absent", f"Il manque un paramètre à la demande. {_SEE}"),
    131009: ("Valeur invalide", f"Une valeur de la demande n’est pas permise. {_SEE}"),
    131035: (
        "Webhook non remis à temps",
        "Meta n’a pas pu remettre un webhook dans le temps où il garde les messages.",
    ),
    131036: (
        "Échec sur un appareil",
        "Le message a échoué sur un des appareils de la personne. Il peut encore arriver sur un autre.",
    ),
    131051: ("Sorte de message inconnue", "Meta ne connaît pas cette sorte de message."),
    131055: ("Marketing seulement", "L’API marketing de Meta ne prend que les modèles de catégorie MARKETING."),
    131060: ("Message indisponible", "Le contenu du message n’est pas disponible."),
    132000: (
        "Nombre de variables",
        "Le modèle a un autre nombre de variables que ce qui fut envoyé. Relisez les modèles.",
    ),
    132005: ("Texte trop long", "Ses variables remplies, le texte est trop long."),
    132012: ("Forme d’une variable", f"Une variable n’a pas la forme que le modèle attend. {_SEE}"),
    132018: ("Variables du modèle", f"Les variables du modèle ne sont pas ce que Meta attend. {_SEE}"),
    134011: (
        "Conditions de paiement",
        "Les conditions de paiement de WhatsApp ne sont pas acceptées. Acceptez-les dans WhatsApp Manager.",
    ),
    134100: ("Marketing seulement", "L’API marketing de Meta ne prend que les modèles de catégorie MARKETING."),
    135000: ("Refusé", f"Meta a refusé la demande sans raison précise. {_SEE}"),
}
