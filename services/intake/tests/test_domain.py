"""The rules by themselves: plain values in, plain values out."""

from typing import Any

import pytest
from entresol_intake.domain.asks import highest, read_ask
from entresol_intake.domain.cdevents import translate, wrap
from entresol_intake.domain.faults import Invalid, pointer
from entresol_intake.domain.outside import Fact, fits, read_event
from entresol_intake.domain.throttle import Throttle
from entresol_intake.hooks import github
from entresol_intake.triggers import Trigger
from entresol_manifests.checking import check
from entresol_manifests.expressions import Scope
from entresol_manifests.guard import Guard

from services.intake.tests.conftest import Document, Make


@pytest.mark.parametrize(
    ("versions", "expected"),
    [(["1.9.0", "1.10.0", "1.2.30"], "1.10.0"), (["2.0.0", "10.0.0"], "10.0.0"), (["0.0.1"], "0.0.1"), ([], None)],
)
def test_versions_are_ordered_by_number(versions: list[str], expected: str | None) -> None:
    assert highest(versions) == expected


def test_pointers_are_escaped() -> None:
    assert pointer("inputs", "a/b", "c~d", 0) == "/inputs/a~1b/c~0d/0"


def test_every_fault_of_an_ask_is_told_at_once() -> None:
    with pytest.raises(Invalid) as caught:
        read_ask({"offering": "A", "project": 5, "environment": "dev\n", "inputs": None, "x/y": 1})
    assert {fault.pointer for fault in caught.value.faults} == {
        "/x~1y",
        "/offering",
        "/project",
        "/environment",
        "/name",
        "/inputs",
    }


def test_a_trigger_can_not_break_glass(make_manifest: Make) -> None:
    """The schema of triggers does not let it through; if it ever did, the reading would not either."""
    request = {"offering": "a", "action": "create", "project": "b", "environment": "c", "name": "d", "break_glass": "e"}
    manifest = make_manifest("Trigger", "deploy", on="dev.entresol.change.merged.v1", request=request)
    assert "/spec/request/break_glass" in {each.pointer for each in check(manifest)}
    with pytest.raises(Invalid, match="/break_glass is not known here"):
        Trigger.of(manifest).ask(Scope(event={}), "user:ada", Guard())


@pytest.mark.parametrize("document", [None, 5, "x", [], True])
def test_what_is_no_object_is_no_ask_and_no_event(document: object) -> None:
    for read in (read_ask, read_event):
        with pytest.raises(Invalid):
            read(document)


@pytest.mark.parametrize(
    ("source", "prefixes", "expected"),
    [
        ("/ci/cart", ["/ci"], True),
        ("/ci", ["/ci"], True),
        ("/cia", ["/ci"], False),
        ("/ci/cart", ["/ci/"], True),
        ("https://ci.example.evil/x", ["https://ci.example"], False),
        ("https://ci.example/x", ["/other", "https://ci.example"], True),
        ("urn:ci:1", ["urn:ci"], True),
        ("anything", [""], False),
        ("anything", [], False),
    ],
)
def test_a_grant_ends_at_a_boundary(source: str, prefixes: list[str], expected: bool) -> None:
    assert fits(source, prefixes) is expected


def test_a_throttle_admits_its_burst_and_then_its_rate() -> None:
    clock = [0.0]
    throttle = Throttle(2, 3, clock=lambda: clock[0])
    assert [throttle.admits() for _ in range(5)] == [True, True, True, False, False]
    clock[0] = 1.0
    assert [throttle.admits() for _ in range(3)] == [True, True, False]
    clock[0] = 1000.0
    assert sum(throttle.admits() for _ in range(10)) == 3


def cdevent(kind: str, subject_id: str = "s", custom: Document | None = None, **content: Any) -> Document:
    document = {
        "context": {
            "specversion": "0.5.1",
            "id": "1",
            "source": "/s",
            "type": f"dev.cdevents.{kind}",
            "timestamp": "2026-11-21T10:00:00Z",
        },
        "subject": {"id": subject_id, "content": content},
    }
    return document | ({"customData": custom} if custom else {})


@pytest.mark.parametrize(
    ("document", "expected"),
    [
        (cdevent("artifact.published.0.3.0", "pkg:x"), Fact("artifact.published", {"artifact": "pkg:x"})),
        (
            cdevent(
                "change.merged.0.2.0",
                "42",
                {"branch": "main", "revision": "abc"},
                repository={"id": "shop/cart", "viewUrl": "https://x"},
                description="Fix",
            ),
            Fact(
                "change.merged",
                {
                    "repository": {"name": "cart", "full_name": "shop/cart", "url": "https://x"},
                    "branch": "main",
                    "revision": "abc",
                    "title": "Fix",
                },
            ),
        ),
        (
            cdevent("pipelinerun.finished.0.1.1", "run", outcome="success"),
            Fact("pipeline.finished", {"pipeline": "run", "outcome": "success"}),
        ),
        (
            cdevent("pipelinerun.finished.0.1.1", "run", outcome=["odd"], pipelineName=7),
            Fact("pipeline.finished", {"pipeline": "run", "outcome": "unknown"}),
        ),
        (
            cdevent("service.deployed.0.2.0", "cart", environment={"id": "prod"}, artifactId="pkg:x"),
            Fact(
                "deployment.reported",
                {"service": "cart", "environment": "prod", "artifact": "pkg:x", "outcome": "success"},
            ),
        ),
        (
            cdevent("incident.resolved.0.2.0", "i-1", service={"id": "cart"}, environment={"id": "prod"}),
            Fact("alert.resolved", {"alert": "i-1", "service": "cart", "environment": "prod"}),
        ),
        (cdevent("branch.created.0.2.0"), None),
    ],
)
def test_common_cdevents_are_said_in_our_words(document: Document, expected: Fact | None) -> None:
    assert translate(document["context"]["type"], document) == expected


def test_a_cdevent_must_be_of_the_type_that_its_cloud_event_says() -> None:
    with pytest.raises(Invalid):
        translate("dev.cdevents.change.merged.0.2.0", cdevent("artifact.published.0.3.0"))


def test_a_bare_cdevent_is_wrapped_as_its_binding_says() -> None:
    event = read_event(wrap(cdevent("artifact.published.0.3.0", "pkg:x")))
    assert (event.id, event.source, event.subject) == ("1", "/s", "pkg:x")


REPOSITORY = {"name": "cart", "full_name": "shop/cart"}
PULL = {"base": {"ref": "main"}, "head": {"sha": "abc"}, "number": 7, "merge_commit_sha": "def", "title": "Fix"}


@pytest.mark.parametrize(
    ("event", "payload", "name", "part"),
    [
        ("pull_request", {"action": "opened", "pull_request": PULL}, "change.proposed", {"revision": "abc"}),
        ("pull_request", {"action": "synchronize", "pull_request": PULL}, "change.proposed", {"number": 7}),
        ("pull_request", {"action": "reopened", "pull_request": PULL}, "change.proposed", {"branch": "main"}),
        (
            "pull_request",
            {"action": "closed", "pull_request": PULL | {"merged": True, "merged_by": {"login": "ada"}}},
            "change.merged",
            {"revision": "def", "by": "ada"},
        ),
        ("push", {"ref": "refs/tags/v1", "after": "a" * 40}, "change.pushed", {"tag": "v1", "deleted": False}),
        ("push", {"ref": "refs/heads/x", "after": "0" * 40}, "change.pushed", {"branch": "x", "deleted": True}),
        (
            "workflow_run",
            {"action": "completed", "workflow_run": {"name": "build", "conclusion": "timed_out"}},
            "pipeline.finished",
            {"pipeline": "build", "outcome": "failure"},
        ),
        (
            "deployment_status",
            {"action": "created", "deployment_status": {"state": "error", "environment": "prod"}},
            "deployment.reported",
            {"service": "cart", "outcome": "failure"},
        ),
        (
            "package",
            {
                "action": "published",
                "package": {"name": "a b", "package_type": "CONTAINER", "package_version": {"version": "1/2"}},
            },
            "artifact.published",
            {"artifact": "pkg:docker/a%20b@1%2F2"},
        ),
        (
            "release",
            {"action": "published", "release": {"tag_name": "v1"}},
            "artifact.published",
            {"artifact": "pkg:github/shop/cart@v1", "version": "v1"},
        ),
    ],
)
def test_github_is_said_in_our_words(event: str, payload: Document, name: str, part: Document) -> None:
    fact = github.translate(event, payload | {"repository": REPOSITORY})
    assert fact is not None
    assert fact.name == name
    assert part.items() <= fact.data.items()


@pytest.mark.parametrize(
    ("event", "payload"),
    [
        ("pull_request", {"action": "closed", "pull_request": PULL | {"merged": False}}),
        ("pull_request", {"action": "labeled", "pull_request": PULL}),
        ("pull_request", {"action": "opened", "pull_request": None}),
        ("push", {"ref": 5}),
        ("push", {}),
        ("workflow_run", {"action": "completed"}),
        ("star", {"action": "created"}),
        ("push", {"repository": [], "ref": "refs/heads/x", "after": "a"}),
    ],
)
def test_what_github_says_otherwise_has_no_word(event: str, payload: Document) -> None:
    assert github.translate(event, payload) is None
