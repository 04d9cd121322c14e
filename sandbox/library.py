"""The sandbox's own templates: what a business of a certain age has in its account, in French and English.

Data only. `templates` reads it; others are added through `POST /_sandbox/templates`.
"""

from __future__ import annotations

import re
from typing import Any

Part = dict[str, Any]
_SAMPLE = {"first_name": "Camille", "product_name": "nos bottines", "discount": "20 %", "voucher": "AUTOMNE-7F3K"}


def _example(text: str, key: str) -> Part:
    names = list(dict.fromkeys(re.findall(r"\{\{(\w+)\}\}", text)))
    if not names:
        return {}
    if all(name.isdigit() for name in names):
        samples = [f"exemple {name}" for name in names]
        return {"example": {key: samples if key == "header_text" else [samples]}}
    pairs = [{"param_name": name, "example": _SAMPLE.get(name, "exemple")} for name in names]
    return {"example": {f"{key}_named_params": pairs}}


def media(kind: str) -> Part:
    return {"type": "HEADER", "format": kind, "example": {"header_handle": ["4::aW1hZ2UvanBlZw==:ARbSandbox"]}}


def title(text: str) -> Part:
    return {"type": "HEADER", "format": "TEXT", "text": text, **_example(text, "header_text")}


def quick(*labels: str) -> list[Part]:
    return [{"type": "QUICK_REPLY", "text": label} for label in labels]


def url(label: str, address: str) -> list[Part]:
    example = {"example": [address.replace("{{1}}", "exemple")]} if "{{1}}" in address else {}
    return [{"type": "URL", "text": label, "url": address, **example}]


def phone(label: str, number: str) -> list[Part]:
    return [{"type": "PHONE_NUMBER", "text": label, "phone_number": number}]


def copy_code(example: str) -> list[Part]:
    return [{"type": "COPY_CODE", "text": "Copier le code", "example": [example]}]


def template(
    name: str, language: str, category: str, body: str, *, header: Part | None = None, footer: str = "",
    buttons: list[Part] | None = None, **more: Any,
) -> Part:  # fmt: skip
    """One template object as Meta's listing returns it."""
    components = [header] if header else []
    components.append({"type": "BODY", "text": body, **_example(body, "body_text")})
    if footer:
        components.append({"type": "FOOTER", "text": footer})
    if buttons:
        components.append({"type": "BUTTONS", "buttons": buttons})
    return {"name": name, "language": language, "category": category, "components": components, **more}


M, U, A = "MARKETING", "UTILITY", "AUTHENTICATION"
STOP = "Répondez STOP pour ne plus recevoir nos offres"
SHOP = "https://shop.example.com"
GO = "https://go.example.com/r/{{1}}"  # a button of counted taps: the code of the link goes at its end
ANSWERS = quick("Oui, ça m’intéresse", "Non, merci", "En savoir plus")
GREEN, YELLOW, RED = ({"score": score, "date": 1758754645} for score in ("GREEN", "YELLOW", "RED"))

TEMPLATES: list[Part] = [
    template("autumn_offer", "fr", M,
             "Bonjour {{first_name}} ! L’automne est là : {{product_name}} à {{discount}} de remise jusqu’à dimanche.",
             header=media("IMAGE"), footer=STOP,
             buttons=url("Acheter maintenant", SHOP + "/p/{{1}}") + ANSWERS, quality_score=GREEN),
    template("autumn_offer_coupon", "fr", M,
             "Bonjour {{first_name}} ! {{product_name}} à {{discount}} de remise avec votre code {{voucher}}, "
             "valable une fois.",
             header=media("IMAGE"), footer=STOP, buttons=url("Acheter maintenant", SHOP + "/p/{{1}}") + ANSWERS),
    template("autumn_voucher", "fr", M,
             "Bonjour {{first_name}}, votre code {{voucher}} vaut {{discount}} de remise, une fois, jusqu’à dimanche.",
             header=title("Votre code : {{voucher}}"), footer=STOP,
             buttons=quick("Stop promotions") + copy_code("AUTOMNE-7F3K") + url("Acheter", GO)),
    template("autumn_selection", "fr", M,
             "Bonjour {{first_name}} ! Nous avons choisi pour vous : {{product_name}}.",
             header=media("IMAGE"), footer=STOP, buttons=url("Voir la sélection", GO) + quick("Plus tard")),
    template("autumn_reminder", "fr", M,
             "Bonjour {{first_name}}, notre offre d’automne vous attend encore quelques jours.",
             footer=STOP),
    template("autumn_last_call", "fr", M, "Dernier jour : l’offre d’automne se termine ce soir à minuit.", footer=STOP,
             buttons=url("Voir l’offre", SHOP + "/automne")),
    template("product_info", "fr", M,
             "Voici ce que nos clients préfèrent dans {{1}} : légèreté, tenue et garantie deux ans.",
             buttons=url("Voir le catalogue", SHOP + "/catalogue")),
    template("order_ready", "fr", U, "Bonjour {{1}}, votre commande {{2}} est prête. Elle vous attend en boutique.",
             buttons=url("Voir ma commande", SHOP + "/commandes/{{1}}"), quality_score=GREEN),
    template("order_ready", "en", U, "Hello {{1}}, your order {{2}} is ready. It is waiting for you in the shop.",
             buttons=url("View my order", SHOP + "/orders/{{1}}")),
    template("appointment_reminder", "fr", U,
             "Bonjour {{1}}, nous vous rappelons votre rendez-vous du {{2}}. À bientôt !",
             buttons=quick("Je confirme", "Annuler")),
    template("survey_invite", "fr", M,
             "Bonjour {{first_name}}, que pensez-vous de votre dernier achat ? Deux questions, une minute.",
             footer=STOP, buttons=quick("Très content", "Content", "Déçu") + url("Répondre en ligne", GO)),
    template("survey_vip", "fr", M,
             "Merci {{first_name}} ! Votre avis compte double : un cadeau vous attend en boutique."),
    template("survey_thanks", "fr", M,
             "Merci d’avoir répondu. Profitez de {{offer}} sur votre prochaine commande.", footer=STOP),
    template("welcome", "fr", U, "Bienvenue {{first_name}} ! Votre compte est ouvert.", quality_score=GREEN),
    template("welcome", "en", U, "Welcome {{first_name}}! Your account is open."),
    template("hello_world", "en_US", U, "Welcome and congratulations! This message shows that sending works.",
             header=title("Hello World"), footer="WhatsApp Business Platform sample message", id="1192339204654487"),
    template("voucher_gift", "fr", M,
             "Un cadeau pour vous, {{first_name}} : copiez votre code et utilisez-le en caisse.",
             footer=STOP, buttons=quick("Stop promotions") + copy_code("CADEAU2026")),
    template("spring_video", "fr", M,
             "Bonjour {{1}}, découvrez la collection de printemps en images.", header=media("VIDEO"),
             buttons=url("Découvrir", SHOP + "/printemps")),
    template("invoice", "fr", U, "Bonjour {{1}}, voici votre facture {{2}} au format PDF.", header=media("DOCUMENT")),
    template("invoice", "en", U,
             "Hello {{1}}, please find your invoice {{2}} attached as a PDF.", header=media("DOCUMENT")),
    template("store_location", "fr", U, "Votre commande {{1}} vous attend à cette adresse jusqu’à samedi.",
             header={"type": "HEADER", "format": "LOCATION"}),
    template("event_invite", "fr", M, "Vous êtes invité à notre soirée privée. Serez-vous des nôtres ?",
             header=title("Soirée du {{1}}"), buttons=quick("J’y serai", "Je ne peux pas")),
    template("black_friday", "en_US", M, "Hi {{1}}, our sale is on! Use code {{2}} for 25% off every order above $50.",
             header=title("Black Friday"), footer="Reply STOP to opt out",
             buttons=quick("Stop promotions"), quality_score=YELLOW),
    template("black_friday", "fr", M, "Bonjour {{1}}, c’est parti ! Avec le code {{2}}, 25 % dès 50 € d’achat.",
             header=title("Black Friday"), footer=STOP, buttons=quick("Stop promotions")),
    template("order_confirmed", "fr", U, "Merci {{1}} ! Votre commande {{2}} de {{3}} est confirmée.",
             buttons=url("Suivre", SHOP + "/suivi/{{1}}") + phone("Nous appeler", "+33140000000")),
    template("order_confirmed", "en", U, "Thank you {{1}}! Your order {{2}} of {{3}} is confirmed.",
             buttons=url("Track", SHOP + "/track/{{1}}") + phone("Call us", "+33140000000")),
    template("order_shipped", "fr", U, "Votre colis {{1}} est en route : livraison prévue le {{2}}.",
             buttons=url("Suivre mon colis", SHOP + "/colis/{{1}}")),
    template("order_shipped", "en", U, "Your parcel {{1}} is on its way: expected on {{2}}.",
             buttons=url("Track my parcel", SHOP + "/parcels/{{1}}")),
    template("delivery_delayed", "fr", U,
             "Votre livraison du {{1}} a du retard. Nouvelle date : {{2}}, avec nos excuses."),
    template("cart_reminder", "fr", M, "Bonjour {{first_name}}, {{product_name}} vous attend dans votre panier.",
             header=media("IMAGE"), footer=STOP,
             buttons=url("Reprendre", SHOP + "/panier/{{1}}") + quick("Plus tard"), quality_score=YELLOW),
    template("birthday", "fr", M, "Joyeux anniversaire {{first_name}} ! Votre cadeau vous attend en boutique.",
             header=media("IMAGE")),
    template("loyalty_points", "fr", U, "Bonjour {{1}}, vous avez {{2}} points, valables jusqu’au {{3}}."),
    template("appointment_booked", "fr", U, "Votre rendez-vous du {{1}} à {{2}} est enregistré.",
             buttons=quick("Déplacer", "Annuler")),
    template("payment_failed", "fr", U, "Votre paiement pour la commande {{1}} n’a pas abouti. Merci de réessayer.",
             buttons=url("Payer", SHOP + "/payer/{{1}}")),
    template("feedback", "fr", U,
             "Comment s’est passée votre commande {{1}} ?", buttons=quick("Très bien", "Bien", "Mal")),
    template("back_in_stock", "fr", M, "De nouveau disponible : {{product_name}}. Les stocks sont limités.",
             buttons=url("Voir", SHOP + "/p/{{1}}"), quality_score=GREEN),
    template("login_code", "fr", A, "", buttons=[{"type": "OTP", "otp_type": "COPY_CODE", "text": "Copier le code"}]),
    template("summer_sale", "fr", M,
             "Bonjour {{1}}, les soldes d’été commencent demain.", status="PAUSED", quality_score=RED),
    template("lottery", "fr", M, "Bonjour {{1}}, vous avez gagné un lot, répondez vite.", status="REJECTED",
             rejected_reason="PROMOTIONAL"),
    template("winter_preview", "fr", M, "Bonjour {{1}}, la collection d’hiver arrive bientôt.", status="PENDING"),
    template("old_promo", "fr", M, "Bonjour {{1}}, une offre vous attend.", status="DISABLED", quality_score=RED),
]  # fmt: skip

# An authentication template has no text of its own: Meta writes it.
for _row in TEMPLATES:
    if _row["category"] == A:
        _row["components"][0] = {"type": "BODY", "add_security_recommendation": True}
