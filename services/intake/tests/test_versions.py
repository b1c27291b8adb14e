"""Which version an ask means: the one named, the one a resource has, the default; and what stages forbid."""

import pytest
from entresol_intake.domain.asks import Ask, read_ask
from entresol_intake.domain.faults import Invalid
from entresol_intake.domain.stages import first_stage
from entresol_intake.offerings import Offering
from entresol_intake.versions import choose

from services.intake.tests.conftest import Make

STAGES = {"1.0.0": "deprecated", "1.1.0": None, "1.2.0": "default", "1.3.0": "defective", "2.0.0": "proposed"}


@pytest.fixture
def versions(make_offering: Make) -> dict[str, Offering]:
    return {version: Offering(make_offering(version), stage=stage) for version, stage in STAGES.items()}


def ask(make_ask: Make, action: str, version: str | None = None) -> Ask:
    return read_ask(make_ask(action=action, version=version, inputs={}))


@pytest.mark.parametrize(
    ("action", "named", "provisioned", "meant"),
    [
        ("create", None, None, "1.2.0"),
        ("adopt", None, None, "1.2.0"),
        ("apply", None, None, "1.2.0"),
        ("create", "1.0.0", None, "1.0.0"),
        ("create", "1.1.0", None, "1.1.0"),
        ("create", "2.0.0", None, "2.0.0"),
        ("apply", None, "1.0.0", "1.0.0"),
        ("update", None, "1.0.0", "1.0.0"),
        ("update", None, "2.0.0", "2.0.0"),
        ("update", "2.0.0", "1.0.0", "2.0.0"),
        ("update", "1.0.0", "2.0.0", "1.0.0"),
        ("update", "1.2.0", "1.3.0", "1.2.0"),
        ("update", None, None, "1.2.0"),
        ("rollback", "1.0.0", "2.0.0", "1.0.0"),
        ("delete", None, "1.3.0", "1.3.0"),
        ("delete", "1.2.0", "1.3.0", "1.2.0"),
        ("delete", None, None, "1.2.0"),
        ("extend", None, "1.3.0", "1.3.0"),
        ("restart", None, "1.3.0", "1.3.0"),
        ("restart", "1.3.0", "1.3.0", "1.3.0"),
        ("reconcile", None, "1.3.0", "1.3.0"),
        ("pause", None, "1.3.0", "1.3.0"),
        ("update", None, "0.0.1", "1.2.0"),
    ],
)
def test_the_version_that_is_meant(
    versions: dict[str, Offering], make_ask: Make, action: str, named: str | None, provisioned: str | None, meant: str
) -> None:
    assert choose(versions, ask(make_ask, action, named), provisioned).version == meant


@pytest.mark.parametrize(
    ("action", "named", "provisioned", "words"),
    [
        (
            "create",
            "1.3.0",
            None,
            "is defective: nothing is made with it or updated to it; name another, such as",
        ),
        ("adopt", "1.3.0", None, "such as 1.2.0"),
        ("apply", "1.3.0", None, "is defective"),
        ("update", "1.3.0", "1.2.0", "is defective"),
        ("update", None, "1.3.0", "is defective"),
        ("apply", None, "1.3.0", "is defective"),
        ("rollback", "1.3.0", "1.2.0", "is defective"),
        ("restart", "1.2.0", "1.0.0", "the resource has 1.0.0; only an update gives it another"),
        ("reconcile", "1.2.0", "1.0.0", "only an update"),
        ("create", "7.0.0", None, "is not offered; there are 1.0.0, 1.1.0, 1.2.0, 1.3.0, 2.0.0"),
    ],
)
def test_what_a_version_is_not_for(
    versions: dict[str, Offering], make_ask: Make, action: str, named: str | None, provisioned: str | None, words: str
) -> None:
    with pytest.raises(Invalid) as caught:
        choose(versions, ask(make_ask, action, named), provisioned)
    assert [fault.pointer for fault in caught.value.faults] == ["/version"]
    assert words in str(caught.value)


def test_without_a_default_something_new_names_its_version(make_offering: Make, make_ask: Make) -> None:
    versions = {version: Offering(make_offering(version)) for version in ("1.10.0", "1.9.0")}
    versions["1.8.0"] = Offering(make_offering("1.8.0"), stage="defective")
    with pytest.raises(Invalid, match=r"/version is missing: no version is the default; name one of 1\.9\.0, 1\.10\.0"):
        choose(versions, ask(make_ask, "create"))
    assert choose(versions, ask(make_ask, "create", "1.9.0")).version == "1.9.0"
    assert choose(versions, ask(make_ask, "delete")).version == "1.10.0"


def test_what_was_removed_is_only_deleted_let_go_or_left(make_offering: Make, make_ask: Make) -> None:
    removed = {"1.0.0": Offering(make_offering("1.0.0"), removed=True, stage="default")}
    for action in ("create", "apply"):
        with pytest.raises(Invalid, match="/offering there is no such offering"):
            choose(removed, ask(make_ask, action))
    for action in ("delete", "unpause"):
        assert choose(removed, ask(make_ask, action), "1.0.0").fit(ask(make_ask, action)).version == "1.0.0"
    with pytest.raises(Invalid, match="can only be deleted, or updated to another version"):
        choose(removed, ask(make_ask, "update"), "1.0.0").fit(ask(make_ask, "update"))


@pytest.mark.parametrize(
    ("version", "stages", "proposed", "becomes"),
    [
        ("1.0.0", {}, False, "default"),
        ("1.0.0", {}, True, "proposed"),
        ("1.10.0", {"1.9.0": "default"}, False, "default"),
        ("1.8.0", {"1.9.0": "default"}, False, None),
        ("1.8.0", {"1.9.0": "default"}, True, "proposed"),
        ("1.10.0", {"1.9.0": "default"}, True, "proposed"),
        ("1.8.0", {"1.9.0": "deprecated"}, False, "default"),
        ("1.9.0", {"1.9.0": "defective"}, False, None),
        ("1.9.0", {"1.9.0": "defective"}, True, None),
    ],
)
def test_what_a_version_becomes_when_it_is_applied(
    version: str, stages: dict[str, str], proposed: bool, becomes: str | None
) -> None:
    assert first_stage(version, stages, proposed=proposed) == becomes
