"""The `with` of a driver's steps as a model: read by it when a step is done, published as JSON Schema before.

A docstring beneath a field is its description in the schema, for who writes offerings. The schema holds no references,
and no null: what may be left out may also be null once placeholders are filled, but nobody has to write that.
"""

from collections.abc import Mapping
from functools import cache
from typing import Annotated, Any, ClassVar, Final, Self, TypeAlias, TypeVar

from entresol_contracts.events import DriverAnnounced
from entresol_manifests import durations
from entresol_manifests.digest import canonical
from entresol_manifests.findings import Finding
from entresol_manifests.pointers import join
from entresol_manifests.schemas import Validator, differences, validator
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    ValidationError,
    ValidationInfo,
    WithJsonSchema,
    model_validator,
)
from pydantic.config import JsonDict
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from entresol_provisioning.drivers import Contract, Driver, StepFailed, StepWork, contract_of

LONGEST_REASON: Final = 500
LONGEST_POINTER: Final = 200
LARGEST_BYTES: Final = 128 * 1024
DESTROYS: Final = "destroys"


class Strict(BaseModel):
    """A part of a `with`: nothing in it is converted, and nothing unknown is let through."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, use_attribute_docstrings=True)
    exactly_one: ClassVar[tuple[str, ...]] = ()
    """Fields of which one has to be there, and no other."""
    at_most_one: ClassVar[tuple[str, ...]] = ()
    rules: ClassVar[tuple[JsonDict, ...]] = ()
    """JSON Schemas for what no field can say by itself; errorMessage in one is what is told where it does not hold."""

    @model_validator(mode="before")
    @classmethod
    def _hold(cls, given: Any) -> Any:
        if cls.rules and isinstance(given, Mapping):
            there = {name: value for name, value in given.items() if value is not None}
            whole = {"allOf": list(cls.rules)}
            for found in differences(there, whole, _judge(cls)):
                raise ValueError(f"{found.pointer} {found.message}".strip())
        return given

    @model_validator(mode="after")
    def _weigh(self, info: ValidationInfo) -> Self:
        if info.context == DESTROYS:
            return self
        given = [name for name in self.exactly_one or self.at_most_one if getattr(self, name) is not None]
        if len(given) > 1:
            raise ValueError(f"has both {' and '.join(given)}; keep one")
        if self.exactly_one and not given:
            raise ValueError(f"needs {' or '.join(self.exactly_one)}")
        return self

    @classmethod
    def __get_pydantic_json_schema__(cls, core: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        schema = handler.resolve_ref_schema(handler(core))
        if cls.exactly_one:
            schema["oneOf"] = [{"required": [name]} for name in cls.exactly_one]
        elif cls.at_most_one:
            schema["not"] = {"required": list(cls.at_most_one)}
        if cls.rules:
            schema["allOf"] = list(cls.rules)
        return schema


S = TypeVar("S", bound=Strict)


@cache
def _judge(model: type[Strict]) -> Validator:
    return validator({"allOf": list(model.rules)})


def _seconds(text: str) -> str:
    durations.seconds(text)
    return text


def _pointer(text: str) -> str:
    if not text.startswith("/"):
        raise ValueError("must be a JSON pointer, such as /status/address")
    return text


Length: TypeAlias = Annotated[
    str, AfterValidator(_seconds), WithJsonSchema({"type": "string", "pattern": "^([0-9]+(ms|s|m|h|d|w))+$"})
]
"""A duration such as 90s."""
Pointer: TypeAlias = Annotated[
    str, AfterValidator(_pointer), Field(max_length=200, json_schema_extra={"format": "json-pointer"})
]


def shaped(pattern: str, told: str, *, longest: int | None = None) -> Any:
    """The field of a text that has to be like the pattern; `told` says what it must be."""
    return Field(pattern=pattern, max_length=longest, json_schema_extra={"errorMessage": told})


DestinationName: TypeAlias = Annotated[
    str, shaped("^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$", "must be the name of a Destination")
]
Files: TypeAlias = Annotated[dict[str, str], Field(min_length=1)]
"""Texts by their relative path; never empty."""


def contract(model: type[Strict], *, outputs: Mapping[str, Any] | None = None) -> Contract:
    """The contract of a driver whose steps' `with` is the model; `outputs` are schemas by name, if always the same."""
    given = None
    if outputs is not None:
        given = {"type": "object", "properties": dict(outputs), "additionalProperties": False}
    return Contract(" ".join((model.__doc__ or "").split()), schema_of(model), given)


@cache
def schema_of(model: type[Strict]) -> Mapping[str, Any]:
    """The JSON Schema of the model, every part of it in its place."""
    schema = model.model_json_schema()
    plain: dict[str, Any] = _plain(schema, schema.get("$defs", {}))
    plain.pop("description", None)
    return plain


def announcement(driver: Driver) -> DriverAnnounced:
    """What is said of a driver. Raises ValueError if its contract is no JSON Schema, or too large to be told."""
    said = contract_of(driver)
    if said is None:
        return DriverAnnounced(driver=driver.name, available=driver.available())
    schemas = [dict(each) for each in (said.settings, said.outputs) if each is not None]
    for each in schemas:
        validator(each)
    if len(canonical(schemas)) > LARGEST_BYTES:
        raise ValueError(f"its contract exceeds {LARGEST_BYTES // 1024} KiB")
    return DriverAnnounced(
        driver=driver.name,
        available=driver.available(),
        summary=said.summary,
        settings=schemas[0],
        outputs=None if said.outputs is None else schemas[1],
    )


def read(model: type[S], work: StepWork) -> S:
    """The `with` of the step; raise StepFailed that says where in it what is wrong, and what to do.

    What a step was done with may be older than the model: to take it down, unknown fields are not looked at, and of
    two fields neither or both may be there.
    """
    given = dict(work.with_)
    try:
        if work.destroys:
            return model.model_validate(given, extra="ignore", context=DESTROYS)
        return model.model_validate(given)
    except ValidationError as error:
        raise StepFailed(_told(model, given, error)[:LONGEST_REASON], untouched=True) from None


def _told(model: type[Strict], given: Mapping[str, Any], error: ValidationError) -> str:
    schema = schema_of(model)
    try:
        found = next(iter(differences(given, schema, validator(schema))), None)
    except ValueError:  # it is no JSON: nested too deeply, or with characters that are no text
        found = None
    if found is None:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        found = Finding(join(first["loc"]), first["msg"].removeprefix("Value error, "))
    text = f"/with{found.pointer[:LONGEST_POINTER]}: {found.message}"
    return "".join(one if one.isprintable() else "\ufffd" for one in text)


def _plain(schema: Any, definitions: Mapping[str, Any]) -> Any:
    """The schema with references replaced by what they lead to, without titles and nulls."""
    if isinstance(schema, list):
        return [_plain(each, definitions) for each in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        schema = {**definitions[schema["$ref"].rpartition("/")[2]], **schema}
    whole: dict[str, Any] = {
        key: _named(value, definitions) if key == "properties" else _plain(value, definitions)
        for key, value in schema.items()
        if key not in ("$ref", "$defs", "title") and not (key == "default" and value is None)
    }
    if "description" in whole:
        whole["description"] = " ".join(whole["description"].split())
    branches = [each for each in whole.pop("anyOf", ()) if each != {"type": "null"}]
    if len(branches) == 1:
        whole = {**branches[0], **whole}
    elif branches and all(each.keys() == {"type"} for each in branches):
        whole["type"] = [each["type"] for each in branches]
    elif branches:
        whole["anyOf"] = branches
    return whole


def _named(properties: Mapping[str, Any], definitions: Mapping[str, Any]) -> dict[str, Any]:
    return {name: _plain(each, definitions) for name, each in properties.items()}
