"""The taxonomy and the corrections of this deployment: files read, hashed, and trained."""

from __future__ import annotations

import dataclasses
import functools
from importlib import resources
from typing import TYPE_CHECKING

from conversation_analytics.core.corrections import usable_corrections
from conversation_analytics.core.errors import TaxonomyError
from conversation_analytics.core.taxonomy import (
    checked_corrections,
    parse_corrections,
    parse_taxonomy,
)
from conversation_analytics.extensions import taxonomy_text
from conversation_analytics.language.embedders import embedder_version

if TYPE_CHECKING:
    from pathlib import Path

    from conversation_analytics.core.categories import TrainedTaxonomy
    from conversation_analytics.core.corrections import CorrectionRow, RefusedCorrection
    from conversation_analytics.core.taxonomy import Correction, Taxonomy

_MODEL_VERSION = "few-shot/2"


def read_taxonomy(
    taxonomy: Path | str | None, corrections: Path | None, rows: tuple[CorrectionRow, ...] = ()
) -> tuple[Taxonomy, tuple[Correction, ...]]:
    """Read both files, and put the usable corrections of a table to those of the file.

    Args:
        taxonomy: a file, or the name of one that an installed package brings; None: the default
            one.
        corrections: None: there are none.
        rows: of the table of corrections.

    Raises:
        TaxonomyError: a file cannot be read, or is not as it should be.
        ExtensionError: no installed package brings a taxonomy of that name.
    """
    parsed, of_file = _read_files(taxonomy, corrections)
    return parsed, _together(parsed, of_file, rows)


def refused_rows(
    taxonomy: Path | str | None, corrections: Path | None, rows: tuple[CorrectionRow, ...]
) -> tuple[RefusedCorrection, ...]:
    """Return the rows of the table of corrections that cannot be used, and why.

    Raises:
        TaxonomyError: as `read_taxonomy`.
    """
    parsed, of_file = _read_files(taxonomy, corrections)
    return usable_corrections(rows, parsed, of_file)[1]


def _read_files(
    taxonomy: Path | str | None, corrections: Path | None
) -> tuple[Taxonomy, tuple[Correction, ...]]:
    if taxonomy is None:
        packaged = resources.files("conversation_analytics.taxonomies") / "default.yaml"
        name, text = "the default taxonomy", packaged.read_text("utf-8")
    elif isinstance(taxonomy, str):
        name, text = f"the taxonomy {taxonomy} (TAXONOMY)", taxonomy_text(taxonomy)
    else:
        name, text = str(taxonomy), _read(taxonomy, "TAXONOMY_FILE")
    told = "" if corrections is None else _read(corrections, "TAXONOMY_CORRECTIONS_FILE")
    return _parsed(text, name, told, str(corrections))


def taxonomy_digests(
    taxonomy: Path | str | None,
    corrections: Path | None,
    embedder: str,
    rows: tuple[CorrectionRow, ...] = (),
) -> dict[str, str]:
    """Return what categories record of the taxonomy: the hash of each type by its name.

    Corrections of single conversations are not in it.

    Raises:
        TaxonomyError: as `read_taxonomy`.
        LanguagePartError: the embedder is not installed.
    """
    parsed, told = read_taxonomy(taxonomy, corrections, rows)
    return _digests(parsed, _examples(told), created_by(embedder))


def train_taxonomy(
    taxonomy: Path | str | None,
    corrections: Path | None,
    embedder: str,
    rows: tuple[CorrectionRow, ...] = (),
) -> TrainedTaxonomy:
    """Read both files and train a model for each type; the same examples once a process.

    Raises:
        TaxonomyError: as `read_taxonomy`.
        LanguagePartError: the embedder is not installed.
    """
    parsed, told = read_taxonomy(taxonomy, corrections, rows)
    return dataclasses.replace(_trained(parsed, _examples(told), embedder), corrections=told)


def created_by(embedder: str) -> str:
    """Return what stands in `created_by` of what a model decided.

    Raises:
        LanguagePartError: the embedder is not installed.
    """
    return f"{embedder}/{embedder_version(embedder)}+{_MODEL_VERSION}"


@functools.lru_cache(maxsize=4)
def _parsed(
    text: str, name: str, told: str, corrections: str
) -> tuple[Taxonomy, tuple[Correction, ...]]:
    parsed = parse_taxonomy(text, name)
    return parsed, parse_corrections(told, corrections, parsed)


@functools.lru_cache(maxsize=4)
def _digests(taxonomy: Taxonomy, corrections: tuple[Correction, ...], model: str) -> dict[str, str]:
    from conversation_analytics.core.categories import taxonomy_hashes  # noqa: PLC0415

    return taxonomy_hashes(taxonomy, corrections, model)


@functools.lru_cache(maxsize=4)
def _together(
    taxonomy: Taxonomy, of_file: tuple[Correction, ...], rows: tuple[CorrectionRow, ...]
) -> tuple[Correction, ...]:
    usable, _ = usable_corrections(rows, taxonomy, of_file)
    return checked_corrections([*of_file, *usable], "the corrections")


def _examples(corrections: tuple[Correction, ...]) -> tuple[Correction, ...]:
    """Return those that a model learns from: with a text."""
    return tuple(one for one in corrections if one.text is not None)


@functools.lru_cache(maxsize=2)
def _trained(
    taxonomy: Taxonomy, corrections: tuple[Correction, ...], embedder: str
) -> TrainedTaxonomy:
    # scikit-learn and SciPy: only where texts are categorised
    from conversation_analytics.core.categories import TrainedTaxonomy  # noqa: PLC0415
    from conversation_analytics.core.category_model import fit_category_model  # noqa: PLC0415
    from conversation_analytics.language.embedders import load_embedder  # noqa: PLC0415
    from conversation_analytics.language.sentiment import sentiment_prior  # noqa: PLC0415

    loaded, prior = load_embedder(embedder), sentiment_prior(embedder)
    return TrainedTaxonomy(
        taxonomy,
        corrections,
        {one.name: fit_category_model(one, corrections, loaded, prior) for one in taxonomy.types},
        _digests(taxonomy, corrections, created_by(embedder)),
        loaded,
        created_by(embedder),
    )


def _read(path: Path, setting: str) -> str:
    try:
        return path.read_text("utf-8-sig")
    except UnicodeDecodeError as error:
        raise TaxonomyError(f"{path}: expected text in UTF-8; save it as UTF-8 again") from error
    except OSError as error:
        raise TaxonomyError(
            f"{path}: cannot be read ({error.strerror}); correct {setting}"
        ) from error
