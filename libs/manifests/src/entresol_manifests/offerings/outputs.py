"""What expressions read of steps and of required resources, held against what those say that they give.

Only what can be read off the text is judged: `steps.a.outputs.b` and `requires["a"].outputs.b`, not `steps[inputs.x]`.
"""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from entresol_manifests.findings import Finding, meant
from entresol_manifests.pointers import child
from entresol_manifests.schemas import TYPES_IN_WORDS, SchemaError, types_at, validator
from entresol_manifests.sources import UnclosedError, code

Declared = Mapping[str, Mapping[str, Any] | bool] | None
"""A step's outputs, the JSON Schema of each; None if it does not say what it gives."""

OUTPUTS: Final = "outputs"
_ROOT = re.compile(r"(?<![\w.])(steps|requires)(?=\s*[.\[])")
_INPUTS = re.compile(r"(?<![\w.])(request\.inputs|inputs)(?=\s*[.\[])")
_MEMBER = re.compile(r"""\s*(?:\.\s*([A-Za-z_]\w*)(?!\w|\s*\()|\[\s*(?:"([^"\\]*)"|'([^'\\]*)'|(\d+))\s*\])""")
_OPEN: Final = frozenset({"$ref", "$dynamicRef", "allOf", "anyOf", "oneOf", "not", "if", "patternProperties"})
"""Keywords that say more about the members than can be told here."""


@dataclass(frozen=True, slots=True)
class Read:
    """One place where an expression reads of steps or of what is required."""

    root: str
    """steps or requires."""
    path: tuple[str, ...]
    """The members after it, as far as the text tells them."""
    whole: bool
    """Whether the expression is this and nothing else, so that its value is what is read."""

    @property
    def name(self) -> str:
        return self.path[0]

    def __str__(self) -> str:
        return ".".join((self.root, *self.path))


def reads(source: str) -> Iterator[Read]:
    """What the expression reads, in its order."""
    yield from _members(source, _ROOT)


def _members(source: str, roots: re.Pattern[str]) -> Iterator[Read]:
    try:
        places = {place for place, _ in code(source)}
    except UnclosedError:
        return
    for root in roots.finditer(source):
        if root.start() not in places:
            continue
        path: list[str] = []
        end = root.end()
        while (member := _MEMBER.match(source, end)) is not None:
            path.append(next(part for part in member.groups() if part is not None))
            end = member.end()
        if path:
            yield Read(root[1], tuple(path), source[: root.start()].strip() == source[end:].strip() == "")


def check_declared(declared: Declared, pointer: str) -> Iterator[Finding]:
    """What is wrong with the outputs that a step says it gives."""
    for name, schema in (declared or {}).items():
        if not isinstance(schema, Mapping):
            continue
        try:
            validator(schema)
        except SchemaError as error:
            yield Finding(child(pointer, name) + error.pointer, error.message)


def check_read(read: Read, pointer: str, ways: Sequence[Declared], *, of: str) -> Iterator[Finding]:
    """What is wrong with reading this, if each of the ways to do `of` may have been taken before.

    A single way that does not say what it gives makes everything possible.
    """
    if len(read.path) > 1 and read.path[1] != OUTPUTS:
        yield Finding(pointer, f"reads {read}; {of} has only {OUTPUTS}")
        return
    known: list[Mapping[str, Mapping[str, Any] | bool]] = [each for each in ways if each is not None]
    if len(read.path) < 3 or len(known) < len(ways) or not ways:
        return
    output, deeper = read.path[2], read.path[3:]
    schemas = [each[output] for each in known if output in each]
    if not schemas:
        names = sorted({name for each in known for name in each})
        told = f"which declares {', '.join(names)}" if names else "which declares none"
        yield Finding(pointer, f"reads output {output} of {of}, {told}{meant(output, names)}")
        return
    faults = [_unfit(schema, deeper) for schema in schemas]
    if faults[0] is not None and None not in faults:
        yield Finding(pointer, f"reads {read}, but {output}{faults[0]}")


def can_be(read: Read, ways: Sequence[Declared], kind: str) -> bool:
    """Whether the value that is read may be of this JSON type, as far as is declared."""
    if len(read.path) < 3 or not ways:
        return True
    return any(
        each is None or read.path[2] not in each or kind in types_at(each[read.path[2]], read.path[3:]) for each in ways
    )


def types_read(source: str, declared: Mapping[str, Declared]) -> frozenset[str] | None:
    """The JSON types of what the expression gives, if it is an output of one of these steps; None: not known."""
    read = next(reads(source), None)
    if read is None or not read.whole or read.root != "steps" or len(read.path) < 3:
        return None
    schema = (declared.get(read.name) or {}).get(read.path[2])
    return None if schema is None else types_at(schema, read.path[3:])


def types_of_inputs(source: str, schemas: Iterable[Mapping[str, Any]]) -> frozenset[str] | None:
    """The same, if the expression is an input of these schemas."""
    read = next(_members(source, _INPUTS), None)
    if read is None or not read.whole:
        return None
    types = [types_at(each, read.path) for each in schemas if read.path[0] in each.get("properties", {})]
    return frozenset().union(*types) if types else None


def check_required(read: Read, pointer: str, names: Collection[str]) -> Iterator[Finding]:
    """What is wrong with reading this of the resources that the offering requires."""
    if read.name not in names:
        told = f"no such thing{meant(read.name, names)}" if names else "nothing"
        yield Finding(pointer, f"reads {read.root}.{read.name}, but the offering requires {told}")
    else:
        yield from check_read(read, pointer, (), of=f"requirement {read.name}")


def _unfit(schema: Mapping[str, Any] | bool, path: tuple[str, ...]) -> str | None:
    """Why there can't be such a member, to be put after a name; None if there may be one."""
    said = ""
    for part in path:
        if not isinstance(schema, Mapping) or _OPEN & schema.keys():
            return None
        types = _listed(schema)
        if types is not None and not ({"object", "array"} & types if part.isdecimal() else "object" in types):
            return f"{said} is {' or '.join(sorted(TYPES_IN_WORDS[one] for one in types))} and has no {part}"
        properties = schema.get("properties", {})
        if part not in properties:
            closed = types == frozenset({"object"}) and schema.get("additionalProperties") is False
            return f"{said} has no {part}{meant(part, properties)}" if closed else None
        schema, said = properties[part], f"{said}.{part}"
    return None


def _listed(schema: Mapping[str, Any]) -> frozenset[str] | None:
    named = schema.get("type")
    return None if named is None else frozenset([named] if isinstance(named, str) else named)
