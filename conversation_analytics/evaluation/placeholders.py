"""How many placeholders an engine gives back: made-up sentences with links, numbers and code."""

from __future__ import annotations

import datetime as dt
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import polars as pl

from conversation_analytics.core.text_masking import mask, normalise
from conversation_analytics.core.translation_sending import Budget
from conversation_analytics.core.translation_tables import TRANSLATION_MEMORY
from conversation_analytics.core.translations import Road, TranslationOptions, translate_day

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from conversation_analytics.core.translator import Translator

THINGS: Final = (
    "https://shop.example/orders?id={n}", "user{n}@example.org", "`pip install polars=={n}`",
    "{{name}}", "%s", "4410-{n}", "<b>", "/var/log/app-{n}.log", "AB-{n}", "[PHONE_1]",
    "www.example.net/help/{n}", "${{total}}", "```\nprint({n})\n```",
)  # fmt: skip
SENTENCES: Final = {
    "en": (
        "Please open {} and tell me what you see there.",
        "My order {} did not come, can you check it?",
        "I wrote to {} yesterday but nobody answered.",
        "Could you send {} to {} before Monday?",
        "The error message was {} and then {} again.",
        "{} is not working for me.",
        "Thanks, {}",
        "How do I change {} without losing my data?",
        "First run {}, then {}, and at last {}.",
        "I cannot log in at {}, it says {}.",
        "Why does this return nothing when I call it with {}?",
        "Is {} the same as {}?",
    ),
    "pt": (
        "Por favor abra {} e diga o que aparece.",
        "O meu pedido {} ainda não chegou, pode verificar?",
        "Escrevi para {} ontem, mas ninguém respondeu.",
        "Pode enviar {} para {} antes de segunda-feira?",
        "A mensagem de erro foi {} e depois {} outra vez.",
        "{} não funciona para mim.",
        "Obrigado, {}",
        "Como posso mudar {} sem perder os meus dados?",
        "Primeiro execute {}, depois {} e por fim {}.",
        "Não consigo entrar em {}, diz {}.",
        "Qual é a diferença entre {} e {}?",
    ),
    "es": (
        "Por favor abre {} y dime qué ves.",
        "Mi pedido {} no ha llegado, ¿puedes comprobarlo?",
        "Escribí a {} ayer y nadie contestó.",
        "¿Puedes enviar {} a {} antes del lunes?",
        "No puedo entrar en {}, dice {}.",
        "¿Cómo cambio {} sin perder mis datos?",
    ),
    "fr": (
        "Ouvrez {} et dites-moi ce que vous voyez.",
        "Ma commande {} n'est pas arrivée, pouvez-vous vérifier ?",
        "J'ai écrit à {} hier mais personne n'a répondu.",
        "Le message était {} puis encore {}.",
        "Comment changer {} sans perdre mes données ?",
    ),
    "de": (
        "Bitte öffne {} und sag mir, was du siehst.",
        "Meine Bestellung {} ist nicht angekommen.",
        "Ich habe gestern an {} geschrieben.",
        "Die Meldung war {} und dann wieder {}.",
        "Wie ändere ich {}, ohne Daten zu verlieren?",
    ),
    "id": (
        "Tolong buka {} dan beri tahu apa yang terlihat.",
        "Pesanan saya {} belum datang.",
        "Saya menulis ke {} kemarin tetapi tidak ada jawaban.",
        "Bagaimana cara mengubah {} tanpa kehilangan data?",
    ),
}  # fmt: skip
"""Sentences by language; each `{}` is a place for a thing."""
_AT: Final = dt.datetime(2026, 11, 20, tzinfo=dt.UTC)


@dataclass(frozen=True, slots=True)
class Survival:
    """What became of the placeholders of some texts.

    Attributes:
        texts: distinct texts sent.
        tokens: placeholders in them.
        survived: of them, those that came back once.
        in_text: things of the originals, and of them those that stand in the translations.
    """

    texts: int
    tokens: int
    survived: int
    in_text: tuple[int, int]


def made_up_texts(language: str, count: int, seed: int = 1) -> list[str]:
    """Return `count` texts of one to three sentences in `language`, each with things in it."""
    chooser = random.Random(f"{language}{seed}")  # noqa: S311 - made-up texts, no secret

    def sentence() -> str:
        chosen = chooser.choice(SENTENCES[language])
        things = [
            chooser.choice(THINGS).format(n=chooser.randrange(10**6, 10**7))
            for _ in range(chosen.count("{}"))
        ]
        return chosen.format(*things)

    return [" ".join(sentence() for _ in range(chooser.choice((1, 2, 2, 3)))) for _ in range(count)]


def measure(texts: Sequence[str], source: str, target: str, translator: Translator) -> Survival:
    """Send texts through the whole layer and count the placeholders that came back.

    Args:
        texts: of any content.
        source: language that the engine is told.
        target: language wanted.
        translator: the engine; every text is sent, nothing is remembered.

    Raises:
        AnalyticsError: of the engine.
    """
    ids = [f"m{number:06}" for number in range(len(texts))]
    messages = pl.DataFrame(
        {"id": ids, "conversation_id": ids, "created_at": [_AT] * len(ids), "query": list(texts)}
    )
    languages = pl.DataFrame({"id": ids, "query_language": [source] * len(ids)})
    options = TranslationOptions(target, ("query",))
    road = Road(translator, _Nothing(), options, Budget())
    frame, facts = translate_day(messages, languages, _AT.date().isoformat(), road)
    found = dict(frame.select("message_id", "translated").iter_rows())
    things = [
        (span, found[key] or "")
        for key, text in zip(ids, texts, strict=True)
        for span in mask(normalise(text)).spans
    ]
    kept = sum(span in translated for span, translated in things)
    return Survival(facts.texts_sent, facts.tokens, facts.survived, (len(things), kept))


class _Nothing:
    """A memory that holds nothing."""

    def lookup(self, keys: Sequence[str]) -> pl.DataFrame:
        """Return no row."""
        del keys
        return TRANSLATION_MEMORY.empty().with_columns(day=pl.lit(None, pl.String))

    def add(self, day: str, answers: pl.DataFrame) -> pl.DataFrame:
        """Return the answers."""
        del day
        return answers

    def forget(self, day: str, superfluous: Callable[[pl.DataFrame], frozenset[str]]) -> int:
        """Drop nothing: nothing is held."""
        del day, superfluous
        return 0
