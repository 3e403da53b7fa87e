"""Parts that other installed packages bring: sources, translators, metrics, taxonomies, assets.

A package says in its entry points what it has. Nothing of it is imported unless a setting names
it: a source, a translator and a taxonomy by their own name (SOURCE, TRANSLATOR, TAXONOMY), metrics
and assets by the package's (EXTENSIONS). Paths, and texts of the source or of NocoDB, name nothing
here. What cannot be used is an `ExtensionError` that says which package and entry point, what was
expected and what came; then nothing of it is in use.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from importlib import metadata
from typing import TYPE_CHECKING, Any, cast

from conversation_analytics.core.derived_metrics import DerivedMetric, derived_metric
from conversation_analytics.core.errors import AnalyticsError, ExtensionError
from conversation_analytics.core.metrics import BUILT_IN_NAMES, use_metrics
from conversation_analytics.core.source import Source
from conversation_analytics.core.translator import Translator, TranslatorConfig, TranslatorLimits
from conversation_analytics.settings import SOURCES, TRANSLATORS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from conversation_analytics.core.metrics import Metric
    from conversation_analytics.settings import Settings


class Kind(StrEnum):
    """What a package may bring; the entry-point group is `conversation_analytics.<kind>`."""

    SOURCES = "sources"
    TRANSLATORS = "translators"
    METRICS = "metrics"
    TAXONOMIES = "taxonomies"
    ASSETS = "assets"

    @property
    def group(self) -> str:
        """The entry-point group."""
        return f"conversation_analytics.{self.value}"


BUILT_IN: Mapping[Kind, tuple[str, ...]] = {
    Kind.SOURCES: SOURCES,
    Kind.TRANSLATORS: TRANSLATORS,
    Kind.TAXONOMIES: (),
}
"""The names that are taken: a package that brings one of them is never used for it."""
_SETTING = {
    Kind.SOURCES: "SOURCE", Kind.TRANSLATORS: "TRANSLATOR", Kind.TAXONOMIES: "TAXONOMY",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Extension:
    """One entry point of an installed package.

    Attributes:
        kind: what it brings.
        name: of the entry point.
        distribution: name of the package, as the package index spells it.
        version: of the package.
        entry_point: what loads it.
    """

    kind: Kind
    name: str
    distribution: str
    version: str
    entry_point: metadata.EntryPoint = field(repr=False)

    @property
    def label(self) -> str:
        """Which one it is, for messages."""
        return (
            f"{self.distribution} {self.version}, {self.kind.group} entry point "
            f"{self.name} = {self.entry_point.value}"
        )

    def load(self) -> Any:
        """Import what the entry point names.

        Raises:
            ExtensionError: that fails.
        """
        try:
            return self.entry_point.load()
        except (Exception, SystemExit) as error:  # somebody else's module may raise anything
            said = " ".join(str(error).split())
            raise ExtensionError(
                f"{self.label}: expected something to import, got {type(error).__name__}: {said}; "
                "correct or remove the package"
            ) from error


def installed() -> tuple[Extension, ...]:
    """Return what the installed packages bring, by kind and name; nothing is imported."""
    found = [
        Extension(kind, one.name, _normal(one.dist.name), one.dist.version, one)
        for kind in Kind
        for one in metadata.entry_points(group=kind.group)
        if one.dist is not None
    ]
    return tuple(sorted(found, key=lambda one: (list(Kind).index(one.kind), one.name)))


def use_extensions(settings: Settings) -> None:
    """Check that what the settings name is installed, and put the named packages' metrics to use.

    To be called once in a process, before anything is computed or shown.

    Raises:
        ExtensionError: something is not there, or metrics cannot be used; then none of them are.
    """
    for kind, name in _named(settings):
        _find(kind, name)
    use_metrics(load_metrics(settings.extensions))


def in_use(settings: Settings, extension: Extension) -> bool:
    """Say whether a setting names the extension."""
    if extension.kind in _SETTING:
        return (extension.kind, extension.name) in _named(settings)
    return extension.distribution in settings.extensions


def open_source(settings: Settings) -> Source:
    """Return the source of SOURCE; nothing is asked of it yet.

    Raises:
        ExtensionError: there is none of that name, or it is no source.
        AnalyticsError: it refuses its options.
    """
    found = _find(Kind.SOURCES, settings.source_kind)
    options = settings.options_of(found.name)
    opened = _called(found, "takes a mapping of options and gives a Source", options)
    return cast("Source", _of_type(found, opened, Source))


def open_translator(settings: Settings, max_retries: int) -> Translator:
    """Return the engine of TRANSLATOR; nothing is asked of it yet.

    Raises:
        ExtensionError: there is none of that name, or it is no engine.
        AnalyticsError: it refuses its options.
    """
    found = _find(Kind.TRANSLATORS, settings.translator_kind)
    config = TranslatorConfig(
        settings.translator_url,
        settings.translator_api_key,
        settings.translator_model,
        TranslatorLimits(settings.translator_batch_texts, settings.translator_batch_characters),
        max_retries,
        settings.retry_delay,
        settings.translator_timeout,
        settings.options_of(found.name),
    )
    opened = _called(found, "takes a TranslatorConfig and gives a Translator", config)
    return cast("Translator", _of_type(found, opened, Translator))


def taxonomy_text(name: str) -> str:
    """Return the YAML of the taxonomy of TAXONOMY.

    Raises:
        ExtensionError: there is none of that name, or it gives no text.
    """
    found = _find(Kind.TAXONOMIES, name)
    text = _called(found, "takes nothing and gives the YAML text of a taxonomy")
    if not isinstance(text, str):
        raise _wrong(found, "YAML text", text)
    return text


def load_metrics(distributions: Sequence[str]) -> tuple[Metric, ...]:
    """Return the metrics of these packages, in the order of packages and entry points.

    Raises:
        ExtensionError: one cannot be used, or has the name of another one.
    """
    metrics: dict[str, Metric] = {}
    for found in of_packages(Kind.METRICS, distributions):
        loaded = found.load()
        several = [loaded] if isinstance(loaded, DerivedMetric) else loaded
        if not isinstance(several, Sequence) or not all(
            isinstance(one, DerivedMetric) for one in several
        ):
            raise _wrong(found, "a DerivedMetric or a sequence of them", loaded)
        for one in several:
            try:
                metric = derived_metric(one, f"{found.distribution} {found.version}")
            except ExtensionError as error:
                raise ExtensionError(f"{found.label}: {error}") from error
            if one.name in BUILT_IN_NAMES or one.name in metrics:
                whose = metrics[one.name].source if one.name in metrics else "this platform"
                raise ExtensionError(
                    f"{found.label}: expected a metric with a name of its own, got {one.name}, "
                    f"which {whose} has; rename it, or take one package out of EXTENSIONS"
                )
            metrics[one.name] = metric
    return tuple(metrics.values())


def of_packages(kind: Kind, distributions: Sequence[str]) -> Iterable[Extension]:
    """Return what the packages of EXTENSIONS bring of one kind: metrics or assets.

    Raises:
        ExtensionError: one of them is not installed, or brings neither metrics nor assets.
    """
    if not distributions:
        return ()
    there = [one for one in installed() if one.kind not in _SETTING]
    for name in distributions:
        if name not in {one.distribution for one in there}:
            known = ", ".join(sorted({one.distribution for one in there})) or "none"
            raise ExtensionError(
                f"EXTENSIONS names {name!r}: expected an installed package with metrics or "
                f"assets, and there are {known}; install it into this environment, or take it out"
            )
    return [one for one in there if one.kind is kind and one.distribution in distributions]


def check_loads(extension: Extension) -> None:
    """Import an extension, in use or not, and look at its type; nothing of it is put to use.

    Raises:
        ExtensionError: it cannot be used.
    """
    if extension.name in BUILT_IN.get(extension.kind, ()):
        raise ExtensionError(
            f"{extension.label}: {extension.name} is a name of this platform; rename it"
        )
    if extension.kind is Kind.METRICS:
        load_metrics([extension.distribution])
        return
    loaded = extension.load()
    if not callable(loaded):
        raise _wrong(extension, "a function", loaded)


def _named(settings: Settings) -> list[tuple[Kind, str]]:
    """Return the single parts that settings name and that are not the platform's own."""
    named = (
        (Kind.SOURCES, settings.source_kind),
        (Kind.TRANSLATORS, settings.translator_kind),
        (Kind.TAXONOMIES, settings.taxonomy),
    )
    return [(kind, name) for kind, name in named if name and name not in BUILT_IN[kind]]


def _find(kind: Kind, name: str) -> Extension:
    there = [one for one in installed() if one.kind is kind and one.name not in BUILT_IN[kind]]
    found = [one for one in there if one.name == name]
    if len(found) > 1:
        raise ExtensionError(
            f"{_SETTING[kind]} is {name!r}, which {' and '.join(one.label for one in found)} "
            "bring: expected one package, remove the others"
        )
    if not found:
        known = [*BUILT_IN[kind], *(f"{one.name} (of {one.distribution})" for one in there)]
        raise ExtensionError(
            f"{_SETTING[kind]} is {name!r}: expected one of {', '.join(known) or 'none'}; correct "
            "the setting, or install the package that brings it into this environment"
        )
    return found[0]


def _called(extension: Extension, does: str, *arguments: object) -> Any:
    """Load the function of an extension and call it.

    Raises:
        ExtensionError: it is no function, does not take the arguments, or fails.
        AnalyticsError: it raises one itself, say because an option is missing.
    """
    function = extension.load()
    if not callable(function):
        raise _wrong(extension, f"a function that {does}", function)
    return call(extension, function, does, *arguments)


def call(extension: Extension, function: Callable[..., Any], does: str, *arguments: object) -> Any:
    """Call the function of an extension; see `_called`."""
    try:
        inspect.signature(function).bind(*arguments)
    except TypeError as error:
        raise ExtensionError(
            f"{extension.label}: expected a function that {does}, got one for other arguments "
            f"({error}); correct the package"
        ) from error
    try:
        return function(*arguments)
    except AnalyticsError:
        raise
    except (Exception, SystemExit) as error:  # somebody else's function may raise anything
        raise ExtensionError(
            f"{extension.label}: expected a function that {does}, got {type(error).__name__}; "
            "correct the package or its EXT_ variables"
        ) from error


def _of_type(extension: Extension, opened: object, protocol: type) -> object:
    """Return `opened` if it has all that the protocol has."""
    wanted = [name for name in vars(protocol) if not name.startswith("_")]
    if lacking := [name for name in wanted if not hasattr(opened, name)]:
        raise _wrong(extension, f"a {protocol.__name__}", opened, f" without {', '.join(lacking)}")
    return opened


def _wrong(extension: Extension, expected: str, got: object, more: str = "") -> ExtensionError:
    return ExtensionError(
        f"{extension.label}: expected {expected}, got {type(got).__name__}{more}; correct the "
        "package"
    )


def _normal(distribution: str) -> str:
    return re.sub(r"[-_.]+", "-", distribution).lower()
