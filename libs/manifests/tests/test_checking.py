"""Every mistake is told with its place and in words for the author; what is right is left in peace."""

import copy
from typing import Any

import pytest
from entresol_manifests import yaml_text
from entresol_manifests.checking import check
from entresol_manifests.schemas import KINDS, SchemaError, validator
from hypothesis import given
from hypothesis import strategies as st


def manifest(text: str) -> Any:
    (parsed,) = yaml_text.parse_all(f"apiVersion: entresol.dev/v1\n{text}")
    return parsed.value


def findings(text: str) -> set[tuple[str, str]]:
    return {(found.pointer, found.message) for found in check(manifest(text))}


INPUTS = "{type: object, properties: {size: {enum: [s, m], default: s}, tags: {type: array}}, required: [size]}"
OFFERING = """
kind: Offering
metadata: {name: database, version: 1.0.0}
spec:
  inputs: INPUTS
  lifetime: {default: 5d, max: 30d, warn: [1d]}
  actions:
    create:
      steps:
        - {name: network, driver: noop}
        - name: data-base
          driver: noop
          needs: [network]
          with: {size: "${inputs.size}", in: "${steps.network.outputs.id}"}
        - name: manifests
          driver: gitops
          needs: [data-base]
          when: capabilities.terraform && steps["data-base"].outputs.port > 0
          with: {destination: "${environment}", files: {a.tf: "${not ours"}, id: "${steps.network.outputs.id}"}
    rotate:
      inputs: {type: object, properties: {force: {type: boolean}}}
      steps: [{name: rotate, driver: noop, with: {force: "${request.inputs.force}", size: "${inputs.size}"}}]
  outputs: {host: '${steps["data-base"].outputs.host}'}
  entity: {blueprint: Resource, identifier: "${request.project}-${request.name}", properties: {type: postgress}}
  cost: 'inputs.size == "s" ? 10.5 : environment == "prod" ? 40.0 : 20.0'
"""
OFFERING = OFFERING.replace("INPUTS", INPUTS)
POLICY = """
kind: Policy
metadata: {name: production}
spec:
  when: request.environment == "prod"
  rules:
    - deny: has(request.inputs.size) && !("data" in actor.groups)
      because: no
    - approve: {from: ["group:sre"], count: 1, within: 4h}
      when: now.getHours() < 6
    - approve:
        from: ["user:${request.inputs.owner}", "owner:service/${request.name}"]
        all: true
        remind: 1h
        escalate: {after: 2h, to: ["group:leads"]}
      when: plan.destroys > 0 || plan.resources.exists(one, one.type == "db") || has(plan.cost) && plan.cost > 100.0
    - deny: catalog.entity("service", request.name).scorecards.ready.rank < 2 || !catalog.knows("team", request.trigger)
      because: not ready
    - breakGlass: {by: ["group:oncall", "ci:release"], review: {from: ["group:leads"], within: 1d}}
      when: request.break_glass.size() > 20
"""
WINDOW = """
kind: Window
metadata: {name: nights}
spec:
  effect: deny
  cron: 0 22 * * fri
  duration: 2d8h
  timeZone: Europe/Berlin
  expect: 10m
  when: request.environment == "prod" && !catalog.knows("service", request.name)
  override: ["group:sre"]
  because: nobody is there
"""
QUOTA = """
kind: Quota
metadata: {name: storage}
spec: {when: resource.offering == "db", per: resource.project, sum: resource.inputs.gb, limit: 500, because: disks}
"""
SCORECARD = """
kind: Scorecard
metadata: {name: ready}
spec:
  blueprint: service
  levels:
    - {name: Bronze, rules: [{name: has-team, holds: "entity.team != null"}]}
    - name: Silver
      rules: [{name: has-docs, holds: "has(entity.properties.docs) && size(entity.relations) > 0"}]
"""
TRIGGER = """
kind: Trigger
metadata: {name: merged}
spec:
  on: dev.entresol.change.merged.v1
  when: event.data.branch == "main" && event.source.startsWith("/github")
  request: {offering: deploy, action: apply, project: shop, environment: dev, name: "${event.data.repository.name}"}
"""
ROUTE = """
kind: Route
metadata: {name: ends}
spec:
  on: [dev.entresol.request.completed.v1, dev.entresol.resource.expired.v1]
  channel: log
  message: "${event.data.owner} ${event.data.outcome}"
"""
APPROVE = "/spec/rules/2/approve"
BRONZE = "/spec/levels/0/rules/0"
OTHERS = (
    "kind: Channel\nmetadata: {name: log}\nspec: {kind: log}",
    "kind: Channel\nmetadata: {name: chat}\nspec: {kind: slack, urlRef: 'env:CHAT'}",
    "kind: Source\nmetadata: {name: github}\nspec: {kind: github, secretRef: 'env:HOOK'}",
    "kind: Destination\nmetadata: {name: envs}\nspec: {repository: envs.git, create: true, path: a/b}",
    "kind: Blueprint\nmetadata: {name: A/b.c}\nspec: {schema: {properties: {a: {type: string}}, required: [a]}}",
    "kind: Entity\nmetadata: {name: Übung}\nspec: {blueprint: API, relations: {provider: null, many: []}}",
)


@pytest.mark.parametrize("text", [OFFERING, POLICY, WINDOW, QUOTA, SCORECARD, TRIGGER, ROUTE, *OTHERS])
def test_what_is_right_has_no_findings(text: str) -> None:
    assert findings(text) == set()


@pytest.mark.parametrize(
    ("text", "old", "new", "pointer", "words"),
    [
        (POLICY, "kind: Policy", "kind: Polcy", "/kind", "did you mean Policy?"),
        (POLICY, "{name: production}", "{name: My Policy}", "/metadata/name", "lower-case letters, digits and hyphens"),
        (POLICY, "  when: request", "  whn: request", "/spec/whn", "unknown field whn; did you mean when?"),
        (POLICY, "because:", "becaus:", "/spec/rules/0/because", "because is missing"),
        (POLICY, '"group:sre"', "sre", "/spec/rules/1/approve/from/0", "user:NAME, group:NAME or owner:BLUEPRINT/"),
        (POLICY, "within: 4h", "within: 4 hours", "/spec/rules/1/approve/within", "a duration such as"),
        (POLICY, "within: 4h", "within: 0s", "/spec/rules/1/approve/within", "longer than nothing"),
        (POLICY, "count: 1", "count: many", "/spec/rules/1/approve/count", "must be a whole number"),
        (
            POLICY,
            'request.environment == "prod"',
            "request.enviroment == 'x'",
            "/spec/when",
            "did you mean environment?",
        ),
        (POLICY, "actor.groups)", "actor.group)", "/spec/rules/0/deny", "reads actor.group, which does not exist"),
        (
            POLICY,
            "now.getHours() <",
            "inputs.x ==",
            "/spec/rules/1/when",
            "names inputs, but there is only actor, catalog",
        ),
        (POLICY, "now.getHours() < 6", "now.getHours( < 6", "/spec/rules/1/when", "not a CEL expression"),
        (POLICY, "now.getHours()", "now.getHour()", "/spec/rules/1/when", "calls getHour(), which does not exist"),
        (POLICY, 'when: request.environment == "prod"', "when: plan.adds > 1", "/spec/when", "put that into a rule"),
        (POLICY, "plan.destroys", "plan.destroy", "/spec/rules/2/when", "did you mean destroys?"),
        (POLICY, "request.trigger)", "request.triger)", "/spec/rules/3/deny", "did you mean trigger?"),
        (POLICY, "catalog.entity(", "catalog.entry(", "/spec/rules/3/deny", "calls entry(), which does not exist"),
        (POLICY, "catalog.entity(", "entity(", "/spec/rules/3/deny", "write catalog.entity(blueprint, identifier)"),
        (POLICY, "catalog.knows(", "request.knows(", "/spec/rules/3/deny", "write catalog.knows("),
        (POLICY, "all: true", "all: true\n        count: 1", f"{APPROVE}/count", "leave it out"),
        (POLICY, "remind: 1h", "remind: 1d", f"{APPROVE}/remind", "people are asked for 24h"),
        (POLICY, "remind: 1h", "remind: 0s", f"{APPROVE}/remind", "longer than nothing"),
        (POLICY, "after: 2h", "after: 25h", f"{APPROVE}/escalate/after", "would come too late"),
        (POLICY, '["group:leads"]', '["leads"]', f"{APPROVE}/escalate/to/0", "group:NAME"),
        (POLICY, "owner:service/", "owner:service ", f"{APPROVE}/from/1", "owner:BLUEPRINT/IDENTIFIER"),
        (POLICY, "inputs.owner}", "input.owner}", f"{APPROVE}/from/0", "did you mean inputs?"),
        (POLICY, "within: 1d", "within: 0d", "/spec/rules/4/breakGlass/review/within", "longer than nothing"),
        (POLICY, 'from: ["group:leads"]', 'from: ["ci:x"]', "/spec/rules/4/breakGlass/review/from/0", "user:NAME"),
        (POLICY, "request.break_glass", "request.breakglass", "/spec/rules/4/when", "did you mean break_glass?"),
        (POLICY, '"ci:release"', "release", "/spec/rules/4/breakGlass/by/1", "or ci:, service:, system: or trigger:"),
        (POLICY, '"ci:release"', '"user:${request.name}"', "/spec/rules/4/breakGlass/by/1", "without ${…}"),
        (POLICY, '["group:sre"], count: 1', '["user:a", "user:b"], count: 3', "/spec/rules/1/approve/count", "2 may"),
        (WINDOW, '["group:sre"]', '["user:${actor.id}"]', "/spec/override/0", "as it is written"),
        (WINDOW, "  expect: 10m\n", "  outlast: wait\n", "/spec/outlast", "needs `expect`"),
        (WINDOW, "0 22 * * fri", "0 22 * *", "/spec/cron", "takes five fields"),
        (WINDOW, "0 22 * * fri", "0 22 30 2 *", "/spec/cron", "no such day ever comes"),
        (WINDOW, "0 22 * * fri", "0 25 * * *", "/spec/cron", "hour"),
        (WINDOW, "Europe/Berlin", "Europe/Berln", "/spec/timeZone", "a name such as Europe/Berlin"),
        (WINDOW, "Europe/Berlin", "../etc", "/spec/timeZone", "no time zone"),
        (WINDOW, "2d8h", "0s", "/spec/duration", "longer than nothing"),
        (WINDOW, "2d8h", "4000d", "/spec/duration", "3,660 days at most"),
        (WINDOW, "expect: 10m", "expect: 0m", "/spec/expect", "longer than nothing"),
        (WINDOW, "request.environment ==", "plan.digest ==", "/spec/when", "names plan, but there is only"),
        (QUOTA, "resource.project", "request.project", "/spec/per", "there is only catalog, resource"),
        (QUOTA, "resource.offering", "resource.offring", "/spec/when", "did you mean offering?"),
        (QUOTA, "resource.inputs.gb", "resource.inputs.gb +", "/spec/sum", "not a CEL expression"),
        (SCORECARD, "Silver", "Bronze", "/spec/levels/1/name", "two levels named Bronze"),
        (SCORECARD, "has-docs", "has-team", "/spec/levels/1/rules/0/name", "two rules named has-team"),
        (SCORECARD, "entity.team", "entity.owner", f"{BRONZE}/holds", "entity.owner, which does not exist"),
        (SCORECARD, "entity.team", "catalog.knows('a', 'b')", f"{BRONZE}/holds", "there is no catalog here"),
        (OFFERING, "inputs.size ==", "inputs.siz ==", "/spec/cost", "did you mean size?"),
        (OFFERING, ": environment ==", ": steps.network.outputs.id ==", "/spec/cost", "names steps"),
        (ROUTE, "${event.data.outcome}", "${catalog.knows('a', 'b')}", "/spec/message", "there is no catalog here"),
        (TRIGGER, "change.merged.v1", "change.merge.v1", "/spec/on", "did you mean dev.entresol.change.merged.v1?"),
        (TRIGGER, "change.merged.v1", "request.completed.v1", "/spec/on", "outside events or resources"),
        (TRIGGER, "event.data.branch", "event.data.brnch", "/spec/when", "did you mean branch?"),
        (TRIGGER, "event.data.repository.name", "data.name", "/spec/request/name", "there is only event"),
        (TRIGGER, "event.data.repository.name}", "event.data.name", "/spec/request/name", "no closing }"),
        (TRIGGER, 'name: "$', 'lifetime: 5 d, name: "$', "/spec/request/lifetime", "no duration"),
        (TRIGGER, 'name: "$', 'lifetme: 5d, name: "$', "/spec/request/lifetme", "did you mean lifetime?"),
        (ROUTE, "request.completed.v1", "request.complete.v1", "/spec/on/0", "did you mean"),
        (ROUTE, "event.data.outcome", "event.data.outcom", "/spec/message", "did you mean outcome?"),
        (ROUTE, '"${event.data.owner}', '"a\\nb ${event.data.owner}', "/spec/message", "one line"),
        (OTHERS[1], "env:CHAT", "https://chat.example/T0/secret", "/spec/urlRef", "never the secret itself"),
        (OTHERS[1], "urlRef", "url", "/spec/url", "unknown field url"),
        (OTHERS[3], "a/b", "../b", "/spec/path", "within the repository"),
        (OTHERS[3], "envs.git,", "--upload-pack=x,", "/spec/repository", "begin with a hyphen"),
        (OTHERS[3], "envs.git,", '"https://git.example/x.git",', "/spec/create", "service's own root"),
        (OTHERS[4], "required: [a]", "required: [b]", "/spec/schema/required/0", "b is not a property"),
        (OTHERS[5], "provider: null", "provider: 1", "/spec/relations/provider", "must be null or text or a list"),
        (OFFERING, "version: 1.0.0", "version: 1.0", "/metadata/version", "must be text"),
        (OFFERING, "default: s", "default: x", "/spec/inputs/properties/size/default", "does not fit its own schema"),
        (OFFERING, "required: [size]", "required: [siz]", "/spec/inputs/required", "not among the properties"),
        (OFFERING, "{type: array}", "{type: aray}", "/spec/inputs/properties/tags/type", "not a JSON Schema"),
        (OFFERING, "{type: array}", '{pattern: "("}', "/spec/inputs/properties/tags/pattern", "not a JSON Schema"),
        (OFFERING, "{type: array}", '{$ref: "http://127.0.0.1:1/"}', "/spec/inputs", "not a"),
        (OFFERING, "{type: object, properties: {size", "{type: array, properties: {size", "/spec/inputs/type", "a map"),
        (OFFERING, "default: 5d", "default: 60d", "/spec/lifetime/default", "longer than the max"),
        (OFFERING, "default: 5d", "default: 0s", "/spec/lifetime", "longer than nothing"),
        (OFFERING, "warn: [1d]", "warn: [5d]", "/spec/lifetime/warn/0", "before the lifetime begins"),
        (OFFERING, "max: 30d", f"max: {'9' * 20}d", "/spec/lifetime/max", "hundred years"),
        (OFFERING, "rotate:", "apply:", "/spec/actions/apply", "apply is taken"),
        (OFFERING, "rotate:", "extend:", "/spec/actions/extend/steps", "has no steps"),
        (OFFERING, "    create:", "    creat:", "/spec/actions/create", "create is missing"),
        (
            OFFERING,
            "needs: [network]",
            "needs: [nework]",
            "/spec/actions/create/steps/1/needs/0",
            "did you mean network?",
        ),
        (OFFERING, "name: manifests", "name: network", "/spec/actions/create/steps/2/name", "two steps named network"),
        (
            OFFERING,
            "{name: network, driver: noop}",
            "{name: network, driver: noop, needs: [manifests]}",
            "/spec/actions/create/steps",
            "in a circle: data-base, manifests, network",
        ),
        (
            OFFERING,
            "          needs: [network]\n",
            "",
            "/spec/actions/create/steps/1/with/in",
            "reads the outputs of step network, which must be among its needs",
        ),
        (
            OFFERING,
            "${steps.network.outputs.id}",
            "${steps.netwrk.outputs.id}",
            "/spec/actions/create/steps/1/with/in",
            "step netwrk, which does not exist; did you mean network?",
        ),
        (
            OFFERING,
            'steps["data-base"].outputs.port',
            "steps.data-base.outputs.port",
            "/spec/actions/create/steps/2/when",
            'write steps["data-base"]',
        ),
        (
            OFFERING,
            '"${inputs.size}", in',
            '"${inputs.siz}", in',
            "/spec/actions/create/steps/1/with/size",
            "reads inputs.siz, which does not exist; did you mean size?",
        ),
        (
            OFFERING,
            "request.inputs.force",
            "request.inputs.forc",
            "/spec/actions/rotate/steps/0/with/force",
            "did you mean force?",
        ),
        (
            OFFERING,
            "destination:",
            "path: x, paht:",
            "/spec/actions/create/steps/2/with",
            "a destination or a repository",
        ),
        (OFFERING, "files:", "template: x, files:", "/spec/actions/create/steps/2/with/template", "names a folder"),
        (OFFERING, '"].outputs.host}', 's"].outputs.host}', "/spec/outputs/host", "did you mean data-base?"),
        (OFFERING, "${request.project}", "${request.projct}", "/spec/entity/identifier", "did you mean project?"),
    ],
)
def test_a_mistake_is_found(text: str, old: str, new: str, pointer: str, words: str) -> None:
    assert old in text
    found = findings(text.replace(old, new, 1))
    assert any(place == pointer and words in message for place, message in found), found


def test_all_mistakes_are_told_at_once() -> None:
    broken = POLICY.replace("production", "A b").replace("because", "becaus", 1).replace("count: 1", "count: 0")
    assert {place for place, _ in findings(broken)} == {
        "/metadata/name",
        "/spec/rules/0/because",
        "/spec/rules/0/becaus",
        "/spec/rules/1/approve/count",
    }


def test_inputs_of_open_schemas_are_not_guessed_at() -> None:
    for opened in ("{type: object}", "{type: object, additionalProperties: true}", "{anyOf: [{}, {}]}"):
        text = OFFERING.replace(INPUTS, opened)
        assert (opened == "{type: object}") == bool(findings(text))


def test_texts_inside_expressions_are_no_names() -> None:
    text = OFFERING.replace("capabilities.terraform &&", 'true && "steps.zzz request.zzz inputs.zzz" != "" &&')
    assert findings(text) == set()


def test_an_input_schema_is_never_fetched_and_has_one_dialect() -> None:
    with pytest.raises(SchemaError):
        validator({"$ref": "https://example.com/schema.json"})
    with pytest.raises(SchemaError, match="2020-12"):
        validator({"$schema": "http://json-schema.org/draft-07/schema#"})
    with pytest.raises(SchemaError):
        validator({"properties": {"a": {"pattern": "(?=x)y"}}})
    assert validator({"$defs": {"a": {"type": "string"}}, "$ref": "#/$defs/a"}).is_valid("x")


@pytest.mark.parametrize("document", [None, [], "x", {}, {"kind": None}, {"kind": ["Policy"]}, {"kind": "Policy"}])
def test_what_is_no_manifest_is_told_so(document: Any) -> None:
    assert check(document)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=10,
)


@given(st.sampled_from(KINDS), JSON, JSON)
def test_a_check_never_raises(kind: str, metadata: Any, spec: Any) -> None:
    assert check({"apiVersion": "entresol.dev/v1", "kind": kind, "metadata": metadata, "spec": spec})


@given(st.data())
def test_a_manifest_with_one_part_replaced_never_makes_the_check_raise(data: st.DataObject) -> None:
    document = copy.deepcopy(
        manifest(data.draw(st.sampled_from([OFFERING, POLICY, WINDOW, QUOTA, SCORECARD, TRIGGER, ROUTE])))
    )
    here = document["spec"]
    while True:
        key = data.draw(st.sampled_from(list(here) if isinstance(here, dict) else list(range(len(here)))))
        if not here[key] or not isinstance(here[key], dict | list) or data.draw(st.booleans()):
            break
        here = here[key]
    here[key] = data.draw(JSON | st.sampled_from(["${", "${steps.x}", "1d", "a b", "[", "request.x"]))
    check(document)
