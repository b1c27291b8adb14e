"""A driver's contract: the model of its `with`, and the JSON Schema that is published of it."""

from typing import Any

import pytest
from entresol_manifests.offerings.contracts import Contract, check_contracts
from entresol_manifests.schemas import differences, validator
from entresol_provisioning.conformance import make_work
from entresol_provisioning.drivers import StepFailed, contract_of
from entresol_provisioning.drivers.contracts import Files, Length, Strict, contract, read, schema_of
from entresol_provisioning.drivers.gitops import targets as gitops
from entresol_provisioning.drivers.http.spec import NO_URL
from entresol_provisioning.drivers.registry import assemble
from entresol_provisioning.drivers.scaffold import targets as scaffold
from entresol_provisioning.settings import Settings
from pydantic import Field, model_validator


class Wire(Strict):
    """A wire that beads are strung on."""

    exactly_one = ("metal", "silk")

    metal: str | None = None
    silk: str | None = None


class Spec(Strict):
    """Strings beads
    on wires."""

    beads: int = Field(ge=1)
    """How many."""
    wire: Wire | None = None
    pause: Length = "1s"
    marks: list[str | int] = Field(default_factory=list)
    files: Files | None = None

    @model_validator(mode="after")
    def _enough(self) -> "Spec":
        if len(self.marks) > self.beads:
            raise ValueError("there are more marks than beads")
        return self


def why(**given: Any) -> str:
    with pytest.raises(StepFailed) as failed:
        read(Spec, make_work(with_=given))
    return failed.value.reason


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({}, "/with/beads: beads is missing"),
        ({"beads": "1"}, "/with/beads: must be a whole number"),
        ({"beads": True}, "/with/beads: must be a whole number"),
        ({"beads": 0}, "/with/beads: must be at least 1"),
        ({"beads": 1, "bedas": 2}, "/with/bedas: unknown field bedas; did you mean beads?"),
        ({"beads": 1, "a/b": 2}, "/with/a~1b: unknown field a/b"),
        ({"beads": 1, "a\nb": 2}, "/with/a\ufffdb: unknown field a\ufffdb"),
        ({"beads": 1, "pause": "soon"}, "/with/pause: must be a duration such as 90s, 4h, 5d or 1d12h"),
        ({"beads": 1, "pause": "90000w"}, "/with/pause: '90000w' is longer than a hundred years"),
        ({"beads": 1, "marks": [1, 1.5]}, "/with/marks/1: must be a whole number or text"),
        ({"beads": 1, "marks": [1, 2]}, "/with: there are more marks than beads"),
        ({"beads": 1, "files": {}}, "/with/files: must have at least 1 field"),
        ({"beads": 1, "wire": {}}, "/with/wire: needs metal or silk"),
        ({"beads": 1, "wire": {"metal": "a", "silk": "b"}}, "/with/wire: has both metal and silk; keep one"),
        ({"beads": "\ud800"}, "/with/beads: Input should be a valid integer"),
    ],
)
def test_what_does_not_fit_is_told_with_its_place(given: dict[str, Any], reason: str) -> None:
    assert why(**given) == reason


def test_a_reason_never_repeats_a_value() -> None:
    assert "hunter2" not in why(beads="hunter2", wire={"metal": 7}, pause="hunter2")


def test_what_may_be_left_out_may_also_be_null() -> None:
    assert read(Spec, make_work(with_={"beads": 1, "wire": None})) == Spec(beads=1)


def test_what_an_older_version_let_through_can_still_be_taken_down() -> None:
    given = {"beads": 1, "colour": "red"}
    assert read(Spec, make_work(with_=given, destroys=True)) == Spec(beads=1)
    assert "unknown field" in why(**given)


def test_the_schema_says_all_in_its_place() -> None:
    made = contract(Spec, outputs={"beads": {"type": "integer"}})
    assert made.summary == "Strings beads on wires."
    assert made.settings["properties"]["beads"] == {"type": "integer", "minimum": 1, "description": "How many."}
    assert made.settings["properties"]["wire"]["properties"]["metal"] == {"type": "string"}
    assert "$ref" not in str(schema_of(Spec))
    assert made.outputs == {
        "type": "object",
        "properties": {"beads": {"type": "integer"}},
        "additionalProperties": False,
    }


@pytest.mark.parametrize("name", sorted({"noop", "exec", "gitops", "http", "kubernetes", "scaffold", "terraform"}))
def test_every_driver_says_what_it_is_for_and_describes_each_field(settings: Settings, name: str) -> None:
    made = contract_of(assemble(settings)[name])
    assert made is not None
    assert made.summary.endswith(".")
    validator(made.settings)
    assert made.settings["additionalProperties"] is False
    assert list(undescribed(made.settings, "")) == []


def undescribed(schema: Any, place: str) -> Any:
    """Where a field has no description."""
    for name, each in schema.get("properties", {}).items():
        if "description" not in each:
            yield f"{place}/{name}"
        yield from undescribed(each, f"{place}/{name}")


@pytest.mark.parametrize(
    ("driver", "with_", "pointer"),
    [
        ("gitops", {"path": "../x"}, "/path"),
        ("gitops", {"path": ".git/hooks"}, "/path"),
        ("gitops", {"files": {"a/../../b": "x"}}, "/files/a~1..~1..~1b"),
        ("gitops", {"branch": "--force"}, "/branch"),
        ("gitops", {"repository": "--upload-pack=touch"}, "/repository"),
        ("gitops", {"repository": "https://git.example.com/x.git"}, "/repository"),
        ("scaffold", {"template": "https://git.example.com/x.git"}, "/template"),
        ("scaffold", {"ref": "-x"}, "/ref"),
    ],
)
def test_where_a_step_must_not_write_is_known_before_it_runs(driver: str, with_: dict[str, Any], pointer: str) -> None:
    schema = schema_of({"gitops": gitops, "scaffold": scaffold}[driver].Spec)
    usual = {"repository": "infra", **({"files": {"{{ name }}": "x"}} if driver == "gitops" else {"template": "t"})}
    assert differences(usual, schema, validator(schema)) == []
    assert [one.pointer for one in differences({**usual, **with_}, schema, validator(schema))] == [pointer]


MAIN = {"main.tf": ""}
NO_FILE = "its name is not one that a file of a module may have"
NO_VARIABLE = "its name must be letters, digits and _, and not begin with ENTRESOL_ or LD_"
MAP = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a-${inputs.a}", "labels": None}}
FREE = {"x": {"kind": "${inputs.a}", "name": "a", "pointer": "/data/x"}}
API = {"url": "https://host:443/v1/", "apply": {"path": "accounts/%20/"}}
NO_HEADER = "is not a header's that a step may set; a secret belongs into a Destination"
LITERALS: list[tuple[str, dict[str, Any], list[str]]] = [
    ("exec", {"program": "mail/box-1.py", "env": {"A": "${inputs.a}", "B": {"secretRef": "env:B"}}}, []),
    ("exec", {"program": "../x"}, ["/program: must be a program's name: letters, digits, dots, dashes and slashes"]),
    ("exec", {"program": "../${inputs.a}"}, []),
    ("exec", {"program": "x", "env": {"LD_PRELOAD": "${inputs.a}"}}, [f"/env/LD_PRELOAD: {NO_VARIABLE}"]),
    (
        "exec",
        {"program": "x", "env": {"A": {"secretRef": "hunter2"}}},
        ["/env/A/secretRef: must be a reference to a secret, env:NAME or file:/PATH, never the secret itself"],
    ),
    (
        "exec",
        {"program": "x", "env": {"A": {"secretRef": "env:ENTRESOL_TOKEN"}}, "input": "${inputs.a}"},
        ["/env/A/secretRef: the platform's own secrets are not given away"],
    ),
    ("exec", {"program": "x", "destination": "A B"}, ["/destination: must be the name of a Destination"]),
    ("terraform", {"files": MAIN, "variables": {"größe_1-a": "${inputs.a}"}}, []),
    ("terraform", {"files": {"modules/a/main.tf": ""}}, ["/files: has no .tf file at its top"]),
    ("terraform", {"files": MAIN | {"../x.tf": ""}}, [f"/files/..~1x.tf: {NO_FILE}"]),
    ("terraform", {"files": MAIN | {"a.TF.json": ""}}, [f"/files/a.TF.json: {NO_FILE}"]),
    (
        "terraform",
        {"files": MAIN, "variables": {"1a": "${inputs.a}"}},
        ["/variables/1a: its name is not one of a variable: letters, digits, _ and -"],
    ),
    ("kubernetes", {"objects": [{**MAP, "kind": "${inputs.a}"}], "destination": "here", "outputs": FREE}, []),
    ("kubernetes", {"objects": [{"kind": "List", "apiVersion": "v1", "items": [MAP]}], "destination": "here"}, []),
    (
        "kubernetes",
        {"objects": [{"kind": "List", "apiVersion": "v1", "items": [{**MAP, "kind": "map"}]}], "destination": "here"},
        ["/objects/0/items/0/kind: must be written like Deployment"],
    ),
    (
        "kubernetes",
        {"objects": [{**MAP, "metadata": {"name": "a/b", "uid": "${inputs.a}"}}], "destination": "${inputs.a}"},
        ["/objects/0/metadata/name: is not a name that Kubernetes takes"],
    ),
    (
        "kubernetes",
        {"objects": [MAP], "destination": "here", "namespace": "A", "outputs": {"x": {**FREE["x"], "kind": "Secret"}}},
        [
            "/namespace: is not a name that a namespace can have",
            "/outputs/x: of a Secret, name a key; it is given as a reference, never as a value",
        ],
    ),
    (
        "kubernetes",
        {"objects": [MAP], "destination": "here", "outputs": {"x": {**FREE["x"], "namespace": "b"}}},
        ["/outputs/x/namespace: is for offerings that write to any (anyNamespace)"],
    ),
    ("http", {**API, "apply": {"path": ["a", "${inputs.a}", 7], "headers": {"X-A": "${inputs.a}"}}}, []),
    ("http", {**API, "url": "ftp://x"}, [f"/url: {NO_URL}"]),
    ("http", {**API, "url": "https://ada:hunter2@host/v1"}, [f"/url: {NO_URL}"]),
    ("http", {**API, "apply": {"path": "/a/%2E./b"}}, ["/apply/path: must not climb by . or .."]),
    ("http", {**API, "apply": {"path": ["a", "../b"]}}, ["/apply/path/1: can't be a part of a path"]),
    (
        "http",
        {**API, "apply": {"path": "/a?b=c"}},
        ["/apply/path: must be a path such as /accounts, without ? and #; use query, or a list of parts"],
    ),
    (
        "http",
        {**API, "apply": {"path": "/a", "headers": {"Cookie": "${inputs.a}", "X": "a\r\nb"}}},
        [
            f"/apply/headers/Cookie: its name {NO_HEADER}",
            "/apply/headers/X: must be one line of ASCII, at most 4096 characters",
        ],
    ),
    (
        "http",
        {**API, "desired": {"a": "${inputs.a}"}, "outputs": {"fingerprint": "1"}},
        [
            ": desired are fields of what read finds; give the step a read",
            "/outputs/fingerprint: its name is taken",
        ],
    ),
    (
        "http",
        {**API, "update": {"path": "/${inputs.a}", "poll": {"done": "true"}}},
        [": the poll of update has no path or at; give the step a read"],
    ),
    ("http", {**API, "update": {"path": "/a", "poll": {"done": "true", "path": "${inputs.a}"}}}, []),
]


@pytest.mark.parametrize(("driver", "given", "findings"), LITERALS)
def test_what_is_written_literally_is_judged_when_the_offering_is_applied(
    settings: Settings, driver: str, given: dict[str, Any], findings: list[str]
) -> None:
    made = contract_of(assemble(settings)[driver])
    assert made is not None
    steps = [{"name": "a", "driver": driver, "with": given}]
    found = check_contracts({"actions": {"create": {"steps": steps}}}, {driver: Contract(made.settings, None)})
    assert [str(each).removeprefix("/spec/actions/create/steps/0/with") for each in found] == findings
