"""The taxonomy that users edit, and their corrections: YAML text to checked values.

A taxonomy names the categories of each type (topic, intent, sentiment, or any other):

    topic:
      - label: billing
        description: invoices, charges and refunds of payments
        threshold: 0.4
        examples: [I was charged twice, ...]

`other` is what no label fits. It may stand in the list with examples only: texts that must not
be forced into a category.

Corrections are a list of `type`, `label`, `by`, and `text` (an example from then on) or
`conversation_id` (this conversation has this label, whatever the model says), or both.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import yaml

from conversation_analytics.core.errors import TaxonomyError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

OTHER = "other"
DEFAULT_THRESHOLD = 0.5
_TYPE = re.compile(r"[a-z][a-z0-9_]{0,63}")
_LABEL = re.compile(r"[^\W_][\w .&/+-]{0,63}")
LONGEST_TEXT = 2000


@dataclass(frozen=True, slots=True)
class Label:
    """One category.

    Attributes:
        name: value of `category_value`.
        description: what it is, in words; counts as an example.
        examples: what people say, in any language.
        threshold: least confidence with which it is given, 0 to 1.
    """

    name: str
    description: str
    examples: tuple[str, ...]
    threshold: float = DEFAULT_THRESHOLD


@dataclass(frozen=True, slots=True)
class CategoryType:
    """The categories of one type, of which a conversation has one or `other`.

    Attributes:
        name: value of `category_type`.
        labels: without `other`.
        other: examples of what no label fits.
    """

    name: str
    labels: tuple[Label, ...]
    other: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Correction:
    """What a person said about a text or a conversation.

    Attributes:
        category_type: a type of the taxonomy.
        label: one of its labels, or `other`.
        by: who said so; stands in `created_by`.
        text: becomes an example; None: no example.
        conversation_id: has the label, whatever the model says; None: no conversation.
    """

    category_type: str
    label: str
    by: str
    text: str | None = None
    conversation_id: str | None = None


@dataclass(frozen=True, slots=True)
class Taxonomy:
    """All types, in the order of the file."""

    types: tuple[CategoryType, ...]

    def __getitem__(self, name: str) -> CategoryType:
        """Return the type of this name; KeyError if there is none."""
        for one in self.types:
            if one.name == name:
                return one
        raise KeyError(name)


def parse_taxonomy(text: str, where: str) -> Taxonomy:
    """Read a taxonomy.

    Args:
        text: YAML.
        where: the file's name, for messages.

    Raises:
        TaxonomyError: names the file, the line, what was expected and what was found.
    """
    root = _mapping(_compose(text, where), where, "types of categories", None)
    types = [_category_type(key, node, where) for key, node in root.items()]
    if not types:
        raise TaxonomyError(f"{where}: expected at least one type of categories, found none")
    return Taxonomy(tuple(types))


def parse_corrections(text: str, where: str, taxonomy: Taxonomy) -> tuple[Correction, ...]:
    """Read corrections; an empty file has none.

    Args:
        text: YAML.
        where: the file's name, for messages.
        taxonomy: what they correct.

    Returns:
        Sorted, each once.

    Raises:
        TaxonomyError: as `parse_taxonomy`; also where two give one conversation two labels.
    """
    root = _compose(text, where)
    if root is None or (root.tag == "tag:yaml.org,2002:null"):
        return ()
    found = [_correction(node, where, taxonomy) for node in _sequence(root, where, "corrections")]
    return checked_corrections(found, where)


def checked_corrections(found: Iterable[Correction], where: str) -> tuple[Correction, ...]:
    """Return corrections sorted and each once.

    Raises:
        TaxonomyError: two of them give one conversation two labels of one type.
    """
    labels: dict[tuple[str, str], str] = {}
    for one in found:
        if one.conversation_id is not None:
            key = (one.category_type, one.conversation_id)
            if labels.setdefault(key, one.label) != one.label:
                raise TaxonomyError(
                    f"{where}: conversation {one.conversation_id} is corrected to "
                    f"{labels[key]!r} and to {one.label!r} of type {one.category_type}: keep one"
                )
    return tuple(sorted(set(found), key=_order))


def taxonomy_hash(
    category_type: CategoryType, corrections: Iterable[Correction], model: str
) -> str:
    """Return the digest of everything that decides the categories of all texts of one type.

    Neither the order of labels, examples or corrections changes it, nor another type, nor a
    correction of one conversation, nor who made one.

    Args:
        category_type: of the taxonomy.
        corrections: all; those of other types do not count.
        model: name and version of embedder and method.
    """
    labels = sorted(
        [one.name, one.description, sorted(set(one.examples)), one.threshold]
        for one in category_type.labels
    )
    own = sorted(
        {
            (one.text, one.label)
            for one in corrections
            if one.category_type == category_type.name and one.text is not None
        }
    )
    told = [category_type.name, labels, sorted(set(category_type.other)), own, model]
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()


def _order(one: Correction) -> tuple[str, str, str, str, str]:
    return (
        one.category_type, one.label, one.by, one.text or "", one.conversation_id or "",
    )  # fmt: skip


def _category_type(key: yaml.ScalarNode, node: yaml.Node, where: str) -> CategoryType:
    name = str(key.value)
    if not _TYPE.fullmatch(name):
        raise _wrong(where, key, "a type of lower-case letters, digits and _", repr(name))
    labels: dict[str, Label] = {}
    other: tuple[str, ...] = ()
    seen: dict[str, str] = {}
    for entry in _sequence(node, where, f"labels of type {name}"):
        label = _label(entry, where, name)
        if label.name in labels or (label.name == OTHER and other):
            raise _wrong(where, entry, f"each label of type {name} once", f"{label.name!r} again")
        for example in set(label.examples):
            if seen.setdefault(example, label.name) != label.name:
                raise _wrong(
                    where, entry, f"an example under one label of type {name}",
                    f"one of {label.name!r} that {seen[example]!r} has too",
                )  # fmt: skip
        if label.name == OTHER:
            other = label.examples
        else:
            labels[label.name] = label
    if len(labels) < 2:  # noqa: PLR2004 - a choice needs two
        raise _wrong(where, node, f"at least two labels of type {name}", str(len(labels)))
    return CategoryType(name, tuple(labels.values()), other)


def _label(node: yaml.Node, where: str, type_name: str) -> Label:
    fields = _fields(
        node, where, f"a label of type {type_name}", {"label"},
        {"label", "description", "threshold", "examples"},
    )  # fmt: skip
    name = _text(fields["label"], where, "label")
    if not _LABEL.fullmatch(name):
        raise _wrong(where, fields["label"], "a label of letters, digits, spaces and _.&/+-",
                     repr(name))  # fmt: skip
    about = f"{type_name}/{name}"
    examples: tuple[str, ...] = ()
    if "examples" in fields:
        nodes = _sequence(fields["examples"], where, f"examples of {about}")
        examples = tuple(dict.fromkeys(_text(one, where, f"example of {about}") for one in nodes))
    if name == OTHER and (set(fields) != {"label", "examples"} or not examples):
        raise _wrong(where, node, f"examples, and nothing else, under {about}",
                     ", ".join(sorted(set(fields) - {"label"})) or "nothing")  # fmt: skip
    description = ""
    if "description" in fields:
        description = _text(fields["description"], where, f"description of {about}")
    if not description and not examples:
        raise _wrong(where, node, f"a description or examples of {about}", "neither")
    threshold = DEFAULT_THRESHOLD
    if "threshold" in fields:
        threshold = _share(fields["threshold"], where, f"threshold of {about}")
    return Label(name, description, examples, threshold)


def _correction(node: yaml.Node, where: str, taxonomy: Taxonomy) -> Correction:
    names = {"type", "label", "by", "text", "conversation_id"}
    fields = _fields(node, where, "a correction", {"type", "label"}, names)
    values = {name: _text(value, where, name) for name, value in fields.items()}
    known = [one.name for one in taxonomy.types]
    if values["type"] not in known:
        raise _wrong(where, fields["type"], f"one of the types {', '.join(known)}",
                     repr(values["type"]))  # fmt: skip
    labels = [one.name for one in taxonomy[values["type"]].labels] + [OTHER]
    if values["label"] not in labels:
        raise _wrong(where, fields["label"], f"one of the labels {', '.join(labels)}",
                     repr(values["label"]))  # fmt: skip
    if not {"text", "conversation_id"} & set(values):
        raise _wrong(where, node, "a text, a conversation_id, or both", "neither")
    return Correction(
        values["type"], values["label"], values.get("by", "person"),
        values.get("text"), values.get("conversation_id"),
    )  # fmt: skip


def _compose(text: str, where: str) -> yaml.Node | None:
    try:
        return yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        line = "" if mark is None else f", line {mark.line + 1}"
        raise TaxonomyError(f"{where}{line}: expected YAML, found {error.problem}") from error
    except yaml.YAMLError as error:
        raise TaxonomyError(f"{where}: expected YAML text, found what is none") from error


def _wrong(where: str, node: yaml.Node, expected: str, found: str) -> TaxonomyError:
    return TaxonomyError(
        f"{where}, line {node.start_mark.line + 1}: expected {expected}, found {found}"
    )


def _shape(node: yaml.Node) -> str:
    if isinstance(node, yaml.MappingNode):
        return "a mapping"
    if isinstance(node, yaml.SequenceNode):
        return "a list"
    kind = node.tag.rpartition(":")[2]
    return {"null": "nothing", "str": "text"}.get(kind, str(kind))


def _mapping(
    node: yaml.Node | None, where: str, what: str, allowed: set[str] | None
) -> dict[yaml.ScalarNode, yaml.Node]:
    if node is None:
        raise TaxonomyError(f"{where}: expected {what}, found an empty file")
    if not isinstance(node, yaml.MappingNode):
        raise _wrong(where, node, f"a mapping ({what})", _shape(node))
    seen: set[str] = set()
    for key, _ in node.value:
        if not isinstance(key, yaml.ScalarNode):
            raise _wrong(where, key, "a name", _shape(key))
        if key.value in seen:
            raise _wrong(where, key, "each name once", f"{key.value!r} again")
        if allowed is not None and key.value not in allowed:
            raise _wrong(where, key, f"one of {', '.join(sorted(allowed))} in {what}",
                         repr(key.value))  # fmt: skip
        seen.add(key.value)
    return dict(node.value)


def _fields(
    node: yaml.Node, where: str, what: str, required: set[str], allowed: set[str]
) -> dict[str, yaml.Node]:
    found = {str(key.value): value for key, value in _mapping(node, where, what, allowed).items()}
    if missing := sorted(required - found.keys()):
        raise _wrong(where, node, f"{', '.join(missing)} in {what}", ", ".join(sorted(found)))
    return found


def _sequence(node: yaml.Node, where: str, what: str) -> Iterator[yaml.Node]:
    if not isinstance(node, yaml.SequenceNode):
        raise _wrong(where, node, f"a list of {what}", _shape(node))
    return iter(node.value)


def _text(node: yaml.Node, where: str, what: str) -> str:
    if not isinstance(node, yaml.ScalarNode) or _shape(node) != "text":
        # `no`, `on` and `2024` are no text in YAML, which surprises people.
        raise _wrong(where, node, f"text as {what} (in quotes, if need be)", _shape(node))
    value = " ".join(str(node.value).split())
    if not 0 < len(value) <= LONGEST_TEXT:
        raise _wrong(where, node, f"1 to {LONGEST_TEXT} characters as {what}", str(len(value)))
    return value


def _share(node: yaml.Node, where: str, what: str) -> float:
    if isinstance(node, yaml.ScalarNode) and _shape(node) in {"int", "float"}:
        try:
            value = float(node.value)
        except ValueError:
            value = -1.0
        if 0 <= value <= 1:
            return value
    shown = node.value if isinstance(node, yaml.ScalarNode) else _shape(node)
    raise _wrong(where, node, f"a number from 0 to 1 as {what}", str(shown)[:40])
