"""Assets that other installed packages bring: the packages that EXTENSIONS names."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import dagster as dg

from conversation_analytics.assets.lineage import downstream
from conversation_analytics.core.errors import ExtensionError
from conversation_analytics.core.tables import TABLES
from conversation_analytics.extensions import Kind, call, of_packages

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from conversation_analytics.assets.partitions import DailyChain

_DOES = "takes a DailyChain and the options of the extension, and gives assets"


def extension_assets(
    chain: DailyChain, taken: Iterable[dg.AssetsDefinition]
) -> list[dg.AssetsDefinition]:
    """Return the assets of the packages in EXTENSIONS.

    Args:
        chain: what daily assets have in common.
        taken: the platform's own assets.

    Raises:
        ExtensionError: one cannot be used, or has the name of another asset or of a table.
    """
    names = {table.name: "a table of this platform" for table in TABLES}
    names |= {name: "this platform" for one in taken for name in _names(one)}
    found: list[dg.AssetsDefinition] = []
    settings = chain.settings
    for extension in of_packages(Kind.ASSETS, settings.extensions):
        function = extension.load()
        expected = f"{extension.label}: expected a function that {_DOES}"
        if not callable(function):
            raise ExtensionError(f"{expected}, got {type(function).__name__}; correct the package")
        made = call(extension, function, _DOES, chain, settings.options_of(extension.name))
        if not isinstance(made, Sequence):
            raise ExtensionError(f"{expected}, got {type(made).__name__}; correct the package")
        for one in made:
            if not isinstance(one, dg.AssetsDefinition):
                raise ExtensionError(
                    f"{expected}, got {type(one).__name__} among them; correct the package"
                )
            for name in _names(one):
                if name in names:
                    raise ExtensionError(
                        f"{extension.label}: expected an asset with a name of its own, got "
                        f"{name}, which {names[name]} has; rename it, or take one package out of "
                        "EXTENSIONS"
                    )
                names[name] = f"{extension.distribution} {extension.version}"
            found.append(one)
    return found


def made_along(
    own: Mapping[str, tuple[str, ...]], graph: Mapping[str, tuple[str, ...]]
) -> tuple[frozenset[str], ...]:
    """Return which of the platform's assets an extension's is made again with, as steps.

    What is stored of an extension's asset is not known to the platform: it is made again whenever
    something is that it is made of.

    Args:
        own: inputs of each of the platform's daily assets.
        graph: the same with those of extensions.
    """
    return tuple(
        frozenset({name, needed})
        for needed in own
        for name in downstream(graph, [needed])
        if name not in own
    )


def _names(asset: dg.AssetsDefinition) -> list[str]:
    return [key.path[-1] for key in asset.keys]
