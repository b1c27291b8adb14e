"""Resources as facts have made them: drift, pauses, revisions, what they need and what needs them."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from entresol_catalog.domain.resources import Resource, Revision, Unobserved
from entresol_catalog.handlers.projection import projection
from entresol_catalog.settings import Settings
from entresol_catalog.store import tables
from entresol_catalog.store.shelf import adapter
from entresol_catalog.workers import show
from entresol_eventing.reactions import Emit
from entresol_eventing.telemetry import Telemetry
from entresol_eventing.testing import memory_session
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import select
from sqlmodel import Session

from services.catalog.tests.conftest import Traffic

Project = Callable[..., list[Emit]]


def shown(session: Session) -> Resource:
    (document,) = session.execute(select(tables.resource.c.document)).scalars()
    return adapter(Resource).validate_json(document)


def revisions(session: Session) -> list[Revision]:
    query = select(tables.revision.c.document).order_by(tables.revision.c.position)
    return [adapter(Revision).validate_json(one) for one in session.execute(query).scalars()]


def found_by(session: Session) -> Any:
    columns = (tables.resource.c.version, tables.resource.c.drifted, tables.resource.c.paused)
    return tuple(session.execute(select(*columns)).one())


def test_drift_is_shown_since_it_was_first_seen_until_it_is_gone(session: Session, project: Project) -> None:
    one = Traffic()
    project(one.provisioned(), first := one.drifted("a.yaml#/spec"), one.drifted("a.yaml#/spec", "b.yaml"))
    drift = shown(session).drift
    assert drift is not None
    assert (drift.since, drift.checked_at, drift.again_at) == (first.data.checked_at, first.time, None)
    assert ([each.path for each in drift.differences], drift.gone, drift.mode) == (
        ["a.yaml#/spec", "b.yaml"],
        ["dns"],
        "report",
    )
    assert found_by(session) == ("1.0.0", True, False)
    before = shown(session).revision
    project(one.changed(offering_version="1.1.0"))
    assert shown(session).drift == drift, "only a look at the world says that it is over"
    project(one.converged(), one.converged())
    assert (shown(session).drift, shown(session).revision) == (None, before + 2)
    assert found_by(session) == ("1.1.0", False, False)


def test_what_nobody_can_look_at_is_shown_with_its_last_look_until_somebody_can(
    session: Session, project: Project
) -> None:
    one = Traffic()
    project(one.provisioned(), one.drifted("a.yaml"), told := one.unobserved("step database: the token has expired"))
    lost = shown(session).unobserved
    assert lost == Unobserved(told.data.since, "step database: the token has expired", told.data.seen_at)
    assert shown(session).drift is not None
    project(one.changed())
    assert shown(session).unobserved == lost, "only a look at the world says that it is over"
    before = shown(session).revision
    project(one.observed(), one.observed())
    assert (shown(session).unobserved, shown(session).revision) == (None, before + 1)
    project(one.unobserved(), one.deleted(), one.unobserved())
    assert shown(session).unobserved is None


def test_drift_shows_when_it_is_asked_about_again(session: Session, project: Project) -> None:
    one = Traffic()
    project(one.provisioned(), said := one.drifted("a.yaml", mode="ask", again_hours=24))
    drift = shown(session).drift
    assert drift is not None
    assert (drift.mode, drift.again_at) == ("ask", said.data.again_at)


def test_a_pause_is_shown_until_it_is_over(session: Session, project: Project) -> None:
    one = Traffic()
    project(one.provisioned(), told := one.paused(hours=4))
    pause = shown(session).paused
    assert pause is not None
    assert (pause.by, pause.reason, pause.since, pause.until, pause.request) == (
        *("user:ada", "an audit", told.time, told.data.until, one.id),
    )
    assert found_by(session) == ("1.0.0", False, True)
    before = shown(session).revision
    project(one.unpaused(), one.unpaused())
    assert (shown(session).paused, shown(session).revision) == (None, before + 1)


def test_a_deleted_resource_shows_what_it_left_behind_and_nothing_else(session: Session, project: Project) -> None:
    one = Traffic()
    project(one.provisioned(requires={"queue": "shop/staging/queue/orders"}), one.drifted("x"), one.paused())
    project(one.deleted("dns", "bucket"), one.drifted("late"), one.paused(), one.converged(), one.unpaused())
    gone = shown(session)
    assert (gone.state, gone.drift, gone.paused, gone.requires) == ("deleted", None, None, {})
    assert [(each.step, each.driver, each.reason) for each in gone.orphaned] == [
        ("dns", "http", "no answer"),
        ("bucket", "http", "no answer"),
    ]
    assert found_by(session) == ("1.0.0", False, False)
    assert session.execute(select(tables.need)).all() == []
    project(Traffic().provisioned())
    assert shown(session).orphaned == []


def test_a_deleted_resource_is_counted_for_what_it_left_until_it_is_made_again(
    session: Session, project: Project
) -> None:
    def counted() -> float | None:
        metrics = Telemetry().metrics
        show(metrics, "catalog", session)
        return metrics.registry.get_sample_value("entresol_resources_orphaned", {"service": "catalog"})

    one, other = Traffic(), Traffic(name="other")
    project(one.provisioned(), one.deleted(), other.provisioned())
    assert counted() == 0
    project(other.deleted("dns", "bucket"))
    assert counted() == 1
    project(Traffic(name="other").provisioned())
    assert counted() == 0


def test_facts_about_what_is_not_known_are_only_history(session: Session, project: Project) -> None:
    one = Traffic()
    project(one.drifted("x"), one.converged(), one.paused(), one.unpaused(), one.changed(), one.deleted("dns"))
    for table in (tables.resource, tables.revision, tables.need):
        assert session.execute(select(table)).all() == []
    assert len(session.execute(select(tables.history)).all()) == 6


def test_each_request_makes_a_revision_with_all_of_its_inputs(session: Session, project: Project) -> None:
    one, two, three, four = Traffic(), Traffic(), Traffic(), Traffic()
    project(
        one.provisioned(revision=1, implementation="local", **{"class": "cheap"}),
        two.changed(revision=2, inputs={"size": "large"}, offering_version="1.1.0", action="update"),
        three.changed(sequence=5, revision=5, inputs={"size": "small"}, action="rollback"),
        three.drifted("x"),
        four.changed(revision=6, inputs={"size": "small"}, action="rotate-credentials"),
    )
    assert [
        (each.revision, each.request_id, each.action, each.version, each.inputs["size"]) for each in revisions(session)
    ] == [
        (1, one.id, "create", "1.0.0", "small"),
        (2, two.id, "update", "1.1.0", "large"),
        (5, three.id, "rollback", "1.0.0", "small"),
        (6, four.id, "rotate-credentials", "1.0.0", "small"),
    ]
    assert (revisions(session)[0].implementation, revisions(session)[0].class_) == ("local", "cheap")
    assert shown(session).snapshot == 6
    (document,) = session.execute(select(tables.resource.c.document)).scalars()
    assert "class_" not in json.loads(document)


def test_revisions_from_before_they_were_told_are_known_by_sequence_or_counted(
    session: Session, project: Project
) -> None:
    one, two, three = Traffic(), Traffic(), Traffic()
    project(one.say(one.provisioned().data, sequence=1), two.say(two.changed().data, sequence=4))
    project(three.changed(), three.changed(inputs={"size": "large"}))
    assert [(each.revision, each.request_id) for each in revisions(session)] == [
        (1, one.id),
        (4, two.id),
        (5, three.id),
    ]
    assert revisions(session)[-1].inputs == {"size": "large"}, "a request makes one revision"


def test_revisions_go_on_in_another_life(session: Session, project: Project) -> None:
    one, two = Traffic(), Traffic()
    project(one.provisioned(revision=1), one.say(one.deleted().data, sequence=2))
    project(two.say(two.provisioned(adopted=True, revision=3).data, sequence=3))
    assert [(each.revision, each.action) for each in revisions(session)] == [(1, "create"), (3, "adopt")]
    assert (shown(session).adopted, shown(session).snapshot, shown(session).sequence) == (True, 3, 3)


def test_an_older_fact_never_overwrites_a_newer_one(session: Session, project: Project) -> None:
    one, two = Traffic(), Traffic()
    project(one.provisioned(revision=1), two.say(two.changed(inputs={"size": "large"}).data, sequence=7))
    project(two.drifted("new", sequence=7), two.paused(sequence=8))
    known, made = shown(session), revisions(session)
    project(
        Traffic().changed(revision=6, inputs={"size": "tiny"}),
        one.drifted("old", sequence=6),
        one.converged(sequence=6),
        one.unpaused(sequence=7),
        one.deleted("dns", sequence=3),
        Traffic().provisioned(revision=2),
    )
    assert (shown(session), revisions(session)) == (known, made)
    project(two.unpaused(sequence=8), two.converged())
    assert (shown(session).paused, shown(session).drift, shown(session).sequence) == (None, None, 8)


def test_what_needs_a_resource_is_kept_up_with_what_they_say(session: Session, project: Project) -> None:
    one, other = Traffic(), Traffic("bank", name="ledger")
    queue, bus = "shop/staging/queue/orders", "shop/staging/bus/all"

    def needs() -> list[tuple[str, str, str]]:
        columns = (tables.need.c.resource, tables.need.c.name, tables.need.c.target)
        return [tuple(row) for row in session.execute(select(*columns).order_by(*columns))]

    project(one.provisioned(requires={"queue": queue, "bus": bus}), other.provisioned(requires={"bus": bus}))
    assert needs() == [(other.resource, "bus", bus), (one.resource, "bus", bus), (one.resource, "queue", queue)]
    project(one.changed(requires={"bus": queue}), other.deleted())
    assert needs() == [(one.resource, "bus", queue)]
    project(one.changed(requires={"bus": bus}), one.changed(requires={"bus": queue}))
    assert needs() == [(one.resource, "bus", queue)]
    project(one.deleted(), Traffic().provisioned(requires={"x": bus}))
    assert needs() == [(one.resource, "x", bus)]


FACTS: list[Callable[[Traffic], Any]] = [
    lambda one: one.provisioned(requires={"queue": "shop/staging/queue/a"}),
    lambda one: Traffic().provisioned(adopted=True),
    lambda one: one.changed(requires={"queue": "shop/staging/queue/b"}, offering_version="1.1.0"),
    lambda one: Traffic().changed(inputs={"size": "large"}, revision=5),
    lambda one: one.drifted("x"),
    lambda one: one.drifted("x", "y", mode="ask", sequence=4),
    lambda one: one.converged(),
    lambda one: one.unobserved(),
    lambda one: one.observed(),
    lambda one: one.paused(),
    lambda one: one.unpaused(sequence=6),
    lambda one: one.deleted("dns"),
    lambda one: one.say(one.deleted().data, sequence=2),
]


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, len(FACTS) - 1), max_size=14), st.lists(st.booleans(), min_size=14, max_size=14))
def test_whatever_comes_in_whatever_order_the_columns_and_needs_say_what_the_documents_do(
    chosen: list[int], cuts: list[bool]
) -> None:
    one = Traffic()
    log = [FACTS[number](one) for number in chosen]
    log += log[:3]
    batches: list[list[Any]] = [[]]
    for fact, cut in zip(log, cuts + cuts, strict=False):
        batches[-1].append(fact)
        if cut:
            batches.append([])

    def picture(cut: list[list[Any]]) -> Any:
        handle = projection(Settings().patience_seconds)
        with memory_session(tables.metadata) as session:
            for batch in cut:
                list(handle(batch, session))
            kept = (tables.resource, tables.revision, tables.need)
            for row in session.execute(select(tables.resource)):
                resource = adapter(Resource).validate_json(row.document)
                assert (row.version, row.drifted, row.unobserved, row.paused) == (
                    resource.offering_version,
                    resource.drift is not None,
                    resource.unobserved is not None,
                    resource.paused is not None,
                )
                odd = resource.drift or resource.unobserved or resource.paused or resource.requires
                assert not (resource.deleted and odd)
                needed = session.execute(select(tables.need.c.name, tables.need.c.target)).all()
                assert dict(map(tuple, needed)) == resource.requires
                made = {each.revision: each for each in revisions(session)}
                assert resource.deleted or made[resource.snapshot].inputs == resource.inputs
            return [list(session.execute(select(table))) for table in kept]

    assert picture([log]) == picture(batches)


@pytest.mark.parametrize("text", ["", "\0", "💥", "</script>", "x" * 20_000, "a' OR 1=1 --"])
def test_nothing_that_a_fact_holds_breaks_the_picture(session: Session, project: Project, text: str) -> None:
    one = Traffic()
    path = text or "p"
    project(
        one.provisioned(inputs={text: text}, requires={text: text}, implementation=path, **{"class": path}),
        one.drifted(path),
        one.changed(inputs={text: text}, requires={text: "x", path: text}),
    )
    resource = shown(session)
    assert resource.drift is not None
    assert (resource.drift.differences[0].path, resource.inputs) == (path, {text: text})
