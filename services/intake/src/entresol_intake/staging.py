"""Moving a version of an offering from stage to stage, so that there is never more than one default."""

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any

from entresol_contracts.events import OfferingStaged
from entresol_eventing.reactions import Emit
from sqlmodel import Session

from entresol_intake.domain.asks import highest
from entresol_intake.domain.circles import Offered, Version, circle
from entresol_intake.domain.stages import DEFAULT, Stage, default_of, first_stage
from entresol_intake.store import documents_of, drop_stage, put_stage, stages_of


def stage(
    name: str, version: str, to: Stage, by: str, reason: str | None, session: Session
) -> Generator[Emit, None, None]:
    """Record it and say so; nothing is said if the version is there already.

    A default that another one follows is just not the default any more: it keeps no stage.
    """
    stages = stages_of(name, session)
    if stages.get(version) == to:
        return
    previous = default_of(stages) if to == DEFAULT else None
    if previous is not None:
        drop_stage(name, previous, session)
    put_stage(name, version, to, known=version in stages, session=session)
    yield Emit(
        OfferingStaged(name=name, version=version, stage=to, previous=previous, by=by, reason=reason),
        subject=f"Offering/{name}",
        actor=by,
    )


def stage_applied(name: str, version: str, by: str, session: Session, *, proposed: bool) -> Generator[Emit, None, None]:
    """Give a version that was just applied the stage that it comes with, if any."""
    to = first_stage(version, stages_of(name, session), proposed=proposed)
    if to is not None:
        yield from stage(name, version, to, by, None, session)


def defaults(
    session: Session, applied: Sequence[tuple[str, str]] = (), *, proposed: bool = False
) -> Callable[[str], str | None]:
    """Tells the default version of an offering, as it is once those versions are applied."""

    @cache
    def default(name: str) -> str | None:
        stages: dict[str, str] = dict(stages_of(name, session))
        for version in (version for other, version in applied if other == name):
            if (to := first_stage(version, stages, proposed=proposed)) == DEFAULT:
                stages = {other: stage for other, stage in stages.items() if stage != DEFAULT}
            stages |= {} if to is None else {version: to}
        return default_of(stages)

    return default


def offered(session: Session, applied: Iterable[Mapping[str, Any]] = ()) -> Offered:
    """Tells the specs of an offering by version, as they are once those manifests are applied; each is read once."""
    new: dict[str, dict[str, Mapping[str, Any]]] = {}
    for document in applied:
        new.setdefault(document["metadata"]["name"], {})[document["metadata"]["version"]] = document["spec"]

    @cache
    def versions(name: str) -> Mapping[str, Mapping[str, Any]]:
        stored = documents_of("Offering", session, name)
        return {document["metadata"]["version"]: document["spec"] for document, _ in stored} | new.get(name, {})

    return versions


def follower(name: str, version: str, session: Session) -> str | None:
    """The version that is the default once this one is removed; None if that changes nothing.

    It is the highest of those that are left without a stage.
    """
    stages = stages_of(name, session)
    if stages.get(version) != DEFAULT:
        return None
    return highest(each for each in offered(session)(name) if each not in stages)


def unstage_removed(name: str, version: str, following: str | None, by: str, session: Session) -> Iterator[Emit]:
    """A removed version is the default no more; `following` is.

    Any other stage it keeps, so that what was found defective does not come back as anything else.
    """
    if stages_of(name, session).get(version) == DEFAULT:
        drop_stage(name, version, session)
    if following is not None:
        yield from stage(name, following, DEFAULT, by, f"{version} was removed", session)


def circle_of_default(name: str, version: str, session: Session) -> tuple[Version, ...]:
    """The circle in which the version would require itself if it were the default; nothing if there is none."""
    default = defaults(session)
    return circle((name, version), offered(session), lambda other: version if other == name else default(other))
