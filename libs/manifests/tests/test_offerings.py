"""An offering's parts fit together: what is read is given, what is required is named, what can't work is told."""

import copy
from typing import Any

import pytest
from entresol_manifests import yaml_text
from entresol_manifests.checking import check
from hypothesis import given
from hypothesis import strategies as st

OFFERING = """
apiVersion: entresol.dev/v1
kind: Offering
metadata: {name: app, version: 1.0.0}
spec:
  environments: [dev, prod]
  inputs: {type: object, properties: {size: {type: string}, public: {type: boolean}}}
  requires:
    - name: db
      offering: postgres
      version: 1.2.0
      class: "${inputs.size}"
      inputs: {size: "${inputs.size}"}
      when: environment == "prod" || request.class == "big"
    - name: net-work
      offering: network
      id: shared
      project: platform
      inputs: {of: "${request.class}"}
      environment: "${environment}"
  actions:
    create:
      onFailure: compensate
      steps:
        - name: schema
          driver: noop
          timeout: 10m
          backoff: 2s
          with: {host: "${requires.db.outputs.host}", net: '${requires["net-work"].outputs.id}'}
          outputs:
            url: {type: string, format: uri}
            ready: {type: boolean}
            node: {type: object, properties: {ip: {type: string}}, additionalProperties: false}
            anything: true
          compensate: {driver: exec, with: {drop: "${steps.schema.outputs.url}"}}
        - name: app
          driver: noop
          needs: [schema]
          when: steps.schema.outputs.ready
          with: {url: "${steps.schema.outputs.url}", ip: "${steps.schema.outputs.node.ip}", all: "${steps.schema}"}
        - name: page
          driver: noop
          needs: [app]
          when: request.class != null && request.project != request.environment
          with: {id: "${steps.app.outputs.id.anything}-${request.class}"}
    delete: {steps: [{name: drain, driver: noop}]}
    rotate: {steps: [{name: rotate, driver: noop, outputs: {}}]}
  implementations:
    - name: cheap
      match: {environment: [dev], class: [small]}
      actions: &ways
        create:
          onFailure: keep
          steps:
            - {name: schema, driver: noop, outputs: {url: {type: string}, port: {type: integer}}}
            - {name: app, driver: noop, needs: [schema], with: {p: "${steps.schema.outputs.port}"}}
        update: {steps: []}
    - name: other
      match: {environment: [dev, prod]}
      actions: *ways
  drift:
    every: 10m
    mode: ask
    tolerate: [schema/*, "**/status", "app.yaml#/spec/**"]
    hints:
      - {on: dev.entresol.change.pushed.v1, when: event.data.branch == "main" && resource.environment == "prod"}
      - {on: dev.entresol.alert.fired.v1}
  outputs:
    url: "${steps.schema.outputs.url}"
    host: "${requires.db.outputs.host}"
    page: '${has(steps.page) ? steps.page.outputs.id : ""}'
  entity: {blueprint: Component, properties: {net: '${requires["net-work"].outputs.id}'}}
"""
CREATE = "/spec/actions/create/steps"
WAY = "/spec/implementations/0"
REPOSITORY = "kind: Destination\nmetadata: {name: x}\nspec: {repository: envs.git, branch: main, path: a}"
CLUSTER = "kind: Destination\nmetadata: {name: x}\nspec: {cluster: {kubeconfig: 'file:/k', context: c, namespace: n}}"
API = """\
kind: Destination
metadata: {name: x}
spec: {api: {url: "https://ci.example/api", secretRef: 'env:CI', scheme: header, header: X-Token}}"""
BEARER = API.replace(", scheme: header, header: X-Token", "")


def findings(text: str) -> set[tuple[str, str]]:
    prefix = "" if "apiVersion" in text else "apiVersion: entresol.dev/v1\n"
    (parsed,) = yaml_text.parse_all(prefix + text)
    return {(found.pointer, found.message) for found in check(parsed.value)}


@pytest.mark.parametrize("text", [OFFERING, REPOSITORY, CLUSTER, API, BEARER])
def test_what_is_right_has_no_findings(text: str) -> None:
    assert findings(text) == set()


@pytest.mark.parametrize(
    ("old", "new", "pointer", "words"),
    [
        ("name: net-work", "name: db", "/spec/requires/1/name", "two requirements named db"),
        ("      id: shared\n", "", "/spec/requires/1/project", "needs an id"),
        ("      id: shared\n", "", "/spec/requires/1/environment", "needs an id"),
        ("id: shared", "id: Shared One", "/spec/requires/1/id", "lower-case letters"),
        ("id: shared", 'id: "${inputs.siz}"', "/spec/requires/1/id", "did you mean size?"),
        ("project: platform", "project: ../x", "/spec/requires/1/project", "lower-case letters"),
        ("offering: network\n      id: shared", "offering: app", "/spec/requires/1/offering", "without an end"),
        ('class: "${inputs.size}"', "class: A_B", "/spec/requires/0/class", "lower-case letters"),
        ('{size: "${inputs.size}"}', '{size: "${inputs.siz}"}', "/spec/requires/0/inputs/size", "did you mean size?"),
        ('{size: "${inputs.size}"}', '{size: "${steps.app.outputs.x}"}', "/spec/requires/0/inputs/size", "names steps"),
        ('{size: "${inputs.size}"}', '{a: "${requires.db.outputs.x}"}', "/spec/requires/0/inputs/a", "names requires"),
        ('when: environment == "prod"', "when: enviroment", "/spec/requires/0/when", "did you mean environment?"),
        ("${requires.db.outputs.host}", "${requires.dbs.outputs.host}", f"{CREATE}/0/with/host", "did you mean db?"),
        ("${requires.db.outputs.host}", "${requires.db.host}", f"{CREATE}/0/with/host", "has only outputs"),
        ('["net-work"]', ".net-work", f"{CREATE}/0/with/net", 'write requires["net-work"]'),
        (
            'host: "${requires.db.outputs.host}"\n',
            'host: "${requires.d.outputs.x}"\n',
            "/spec/outputs/host",
            "mean db?",
        ),
        ('net: \'${requires["net-work"', 'net: \'${requires["network"', f"{CREATE}/0/with/net", "mean net-work?"),
        (
            'properties: {net: \'${requires["net-work"',
            'properties: {net: \'${requires["x"',
            "/spec/entity/properties/net",
            "reads requires.x, but the offering requires no such thing",
        ),
        ('"${steps.schema.outputs.url}", ip', '"${steps.schema.outputs.ur}", ip', f"{CREATE}/1/with/url", "mean url?"),
        (
            '"${steps.schema.outputs.url}", ip',
            '"${steps.schema.outputs.zzz}", ip',
            f"{CREATE}/1/with/url",
            "reads output zzz of step schema, which declares anything, node, ready, url",
        ),
        ('"${steps.schema.outputs.url}", ip', '"${steps.schema.url}", ip', f"{CREATE}/1/with/url", "has only outputs"),
        ("outputs.node.ip", "outputs.node.i", f"{CREATE}/1/with/ip", "but node has no i; did you mean ip?"),
        ("outputs.node.ip", "outputs.node.ip.v4", f"{CREATE}/1/with/ip", "but node.ip is text and has no v4"),
        ("outputs.node.ip", "outputs.url.host", f"{CREATE}/1/with/ip", "but url is text and has no host"),
        ("when: steps.schema.outputs.ready", "when: steps.schema.outputs.url", f"{CREATE}/1/when", "true or false"),
        (
            "{type: boolean}\n            node",
            "{type: bool}\n            node",
            f"{CREATE}/0/outputs/ready/type",
            "not a",
        ),
        ("format: uri}", '$ref: "http://127.0.0.1:1/"}', f"{CREATE}/0/outputs/url", "not a"),
        ("timeout: 10m", "timeout: 0s", f"{CREATE}/0/timeout", "longer than nothing"),
        ("timeout: 10m", f"timeout: {'9' * 20}d", f"{CREATE}/0/timeout", "hundred years"),
        ("backoff: 2s", "backoff: 0ms", f"{CREATE}/0/backoff", "longer than nothing"),
        ("{drop: ", "{drip: '${inputs.siz}', drop: ", f"{CREATE}/0/compensate/with/drip", "did you mean size?"),
        ("{drop: ", "{drip: '${steps.app.outputs.x}', drop: ", f"{CREATE}/0/compensate/with/drip", "among its needs"),
        ("driver: exec, with: {", "driver: gitops, with: {", f"{CREATE}/0/compensate/with", "either a destination"),
        (
            "driver: exec, with: {",
            "driver: terraform, with: {module: x, ",
            f"{CREATE}/0/compensate/with/module",
            "names a folder",
        ),
        ("rotate: {steps", "pause: {steps", "/spec/actions/pause/steps", "pause only keeps changes away and has no"),
        ("rotate: {steps", "unpause: {steps", "/spec/actions/unpause/steps", "has no steps"),
        ("rotate: {steps", "adopt: {steps", "/spec/actions/adopt/steps", "has no steps"),
        ("rotate: {steps", "rollback: {inputs: {}, steps", "/spec/actions/rollback/inputs", "no inputs of its own"),
        ("rotate: {steps", "reconcile: {steps", "/spec/actions/reconcile/steps", "has no steps"),
        ("rotate: {steps", "apply: {steps", "/spec/actions/apply", "apply is taken"),
        ("name: other", "name: cheap", "/spec/implementations/1/name", "two implementations named cheap"),
        (
            "environment: [dev, prod]}",
            "environment: [dev, prd]}",
            "/spec/implementations/1/match/environment/1",
            "prod?",
        ),
        (
            "match: {environment: [dev, prod]}",
            "match: {class: [small], environment: [dev]}",
            "/spec/implementations/1/match",
            "is as specific as cheap for class small and environment dev: leave that to one of them",
        ),
        ("update: {steps: []}", "rotat: {steps: []}", f"{WAY}/actions/rotat", "no action rotat; did you mean rotate?"),
        ("update: {steps: []}", "pause: {steps: []}", f"{WAY}/actions/pause", "the offering has no action pause"),
        (
            "${steps.schema.outputs.port}",
            "${steps.schema.outputs.prt}",
            f"{WAY}/actions/create/steps/1/with/p",
            "port?",
        ),
        ("needs: [schema], with: {p", "with: {p", f"{WAY}/actions/create/steps/1/with/p", "must be among its needs"),
        (
            'page: \'${has(steps.page) ? steps.page.outputs.id : ""}',
            "page: '${steps.page}",
            "/spec/outputs/page",
            "cheap",
        ),
        (
            "  outputs:\n    url: ",
            '  outputs:\n    a: "${steps.schema.outputs.x}"\n    url: ',
            "/spec/outputs/a",
            "output x",
        ),
        ("  outputs:\n    url: ", '  outputs:\n    a: "${steps.shema}"\n    url: ', "/spec/outputs/a", "mean schema?"),
        ("every: 10m", "every: 9s", "/spec/drift/every", "10s at least"),
        ("every: 10m", f"every: {'9' * 20}d", "/spec/drift/every", "hundred years"),
        ("schema/*, ", "'**/*', ", "/spec/drift/tolerate/0", "tolerates everything"),
        ("schema/*, ", "a**/b, ", "/spec/drift/tolerate/0", "** stands for whole parts"),
        ("schema/*, ", '"a\\u0007", ', "/spec/drift/tolerate/0", "printable"),
        ("schema/*, ", f"{'x' * 1001}, ", "/spec/drift/tolerate/0", "at most 1000"),
        (
            "change.pushed.v1",
            "change.pushd.v1",
            "/spec/drift/hints/0/on",
            "did you mean dev.entresol.change.pushed.v1?",
        ),
        ("alert.fired.v1", "run.started.v1", "/spec/drift/hints/1/on", "something that others report"),
        ("alert.fired.v1", "resource.drifted.v1", "/spec/drift/hints/1/on", "something that others report"),
        ("event.data.branch", "event.data.brnch", "/spec/drift/hints/0/when", "did you mean branch?"),
        ("resource.environment", "resource.enviroment", "/spec/drift/hints/0/when", "did you mean environment?"),
        ("resource.environment", "inputs.size", "/spec/drift/hints/0/when", "there is only event, resource"),
    ],
)
def test_a_mistake_in_an_offering_is_found(old: str, new: str, pointer: str, words: str) -> None:
    assert old in OFFERING
    found = findings(OFFERING.replace(old, new, 1))
    assert any(place == pointer and words in message for place, message in found), found


@pytest.mark.parametrize(
    ("text", "old", "new", "pointer", "words"),
    [
        (REPOSITORY, "repository: envs.git, ", "", "/spec", "has none; a destination is exactly one of repository"),
        (REPOSITORY, "branch: main", "api: {url: 'https://x'}", "/spec", "has repository and api"),
        (CLUSTER, "spec: {", "spec: {branch: main, ", "/spec/branch", "only for a repository"),
        (API, "spec: {", "spec: {secretRef: 'env:A', ", "/spec/secretRef", "it belongs beneath api"),
        (CLUSTER, "'file:/k'", "'apiVersion: v1'", "/spec/cluster/kubeconfig", "never the secret itself"),
        (API, "https://ci", "ftp://ci", "/spec/api/url", "begins with https://"),
        (API, "https://ci", "https://u:p@ci", "/spec/api/url", "must not hold a user"),
        (API, "/api", "/api?token=1", "/spec/api/url", "must end with its path"),
        (API, "https://ci", "https://[ci", "/spec/api/url", "begins with https://"),
        (API, "https://ci", "https://c i", "/spec/api/url", "begins with https://"),
        (API, ", header: X-Token", "", "/spec/api/header", "is missing"),
        (API, "X-Token", '"X: a\\r\\nY"', "/spec/api/header", "no name of an HTTP header"),
        (API, "scheme: header", "scheme: basic", "/spec/api/header", "only for the scheme header"),
        (API, ", secretRef: 'env:CI'", "", "/spec/api/scheme", "there is no secretRef"),
    ],
)
def test_a_destination_is_one_place(text: str, old: str, new: str, pointer: str, words: str) -> None:
    assert old in text
    found = findings(text.replace(old, new, 1))
    assert any(place == pointer and words in message for place, message in found), found


@pytest.mark.parametrize("drift", ["{}", "{mode: correct}", "{hints: []}"])
def test_drift_that_nobody_looks_for_is_told(drift: str) -> None:
    text = (
        OFFERING[: OFFERING.index("  drift:")]
        + f"  drift: {drift}\n"
        + OFFERING[OFFERING.index("  outputs:\n    url") :]
    )
    assert [place for place, _ in findings(text)] == ["/spec/drift"]


def test_what_a_step_does_not_say_it_gives_may_be_read() -> None:
    text = OFFERING.replace("steps.app.outputs.id.anything", "steps.app.outputs['a-b'].c.d")
    assert findings(text) == set()


def test_a_step_that_declares_nothing_gives_nothing() -> None:
    text = OFFERING.replace(
        "driver: noop, outputs: {}}]",
        "driver: noop, outputs: {}}, {name: b, driver: noop, needs: [rotate], with: {a: '${steps.rotate.outputs.x}'}}]",
    )
    assert findings(text) == {
        ("/spec/actions/rotate/steps/1/with/a", "reads output x of step rotate, which declares none")
    }


def test_texts_and_methods_are_no_outputs() -> None:
    text = OFFERING.replace(
        "when: steps.schema.outputs.ready",
        """when: '"steps.schema.outputs.zz" != "" && steps.schema.outputs.size() > 0 && inputs.size != "requires.x"'""",
    )
    assert findings(text) == set()


JUNK = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=8)
    | st.sampled_from(["${", "${steps.a.outputs}", "x" * 10_000]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
PLACES = ["requires", "implementations", "drift", "outputs", "actions", "entity", "inputs", "lifetime"]


@given(st.sampled_from(PLACES), JUNK)
def test_no_junk_makes_the_check_raise(place: str, junk: Any) -> None:
    (parsed,) = yaml_text.parse_all(OFFERING)
    document = copy.deepcopy(parsed.value)
    document["spec"][place] = junk
    check(document)


@given(JUNK)
def test_no_schema_of_an_output_makes_the_check_raise(junk: Any) -> None:
    (parsed,) = yaml_text.parse_all(OFFERING)
    document = copy.deepcopy(parsed.value)
    document["spec"]["actions"]["create"]["steps"][0]["outputs"]["node"] = {"properties": junk, "type": junk}
    check(document)
