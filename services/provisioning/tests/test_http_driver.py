"""The http driver against a real server with a ledger: what every driver has to hold, and each effect at most once."""

from collections.abc import AsyncIterator, Callable, Collection, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from entresol_provisioning.conformance import Case, Conformance, finished, later, make_work, refused
from entresol_provisioning.drivers import PlanOutdated, StepFailed, StepSuspended, StepWork
from entresol_provisioning.drivers.http import Http
from entresol_provisioning.holdings import addresses
from entresol_provisioning.settings import Settings

from services.provisioning.tests.http_api import FakeApi, Fault, cut, fake_api, halfway, hanging, raw, status, written

NAME = "orders"


@pytest.fixture
async def api() -> AsyncIterator[FakeApi]:
    async with fake_api() as made:
        yield made


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(data=tmp_path, http_allow_loopback=True)


@pytest.fixture
async def driver(settings: Settings) -> AsyncIterator[Http]:
    made = Http(settings)
    yield made
    await made.close()


@pytest.fixture
def hurried(settings: Settings) -> Settings:
    """For those who wait for an answer that never comes."""
    return settings.model_copy(update={"http_seconds": 1.5})


@pytest.fixture
async def hurrying(hurried: Settings) -> AsyncIterator[Http]:
    made = Http(hurried)
    yield made
    await made.close()


def rest(api: FakeApi, size: str = "small", **changed: Any) -> dict[str, Any]:
    """A thing that is made, changed, read and removed by its name."""
    return {
        "url": api.url,
        "apply": {"path": "/v1/things", "body": {"name": NAME, "size": size}, "expect": [201]},
        "update": {"method": "PUT", "path": ["v1", "things", NAME], "body": {"size": size}},
        "read": {"path": ["v1", "things", NAME]},
        "destroy": {"path": ["v1", "things", NAME]},
        "desired": {"size": size},
        "outputs": {"id": "response.body.id", "size": "response.body.size"},
        **changed,
    }


def by_job(api: FakeApi, size: str = "small") -> dict[str, Any]:
    """The same, made by a job that is asked until it is done."""
    with_ = rest(api, size)
    with_["apply"] |= {
        "query": {"job": "yes"},
        "expect": [201, 202],
        "poll": {
            "at": "response.headers.location",
            "every": "50ms",
            "done": 'response.body.state == "done"',
            "failed": 'response.body.state == "failed"',
            "message": 'has(response.body.why) ? response.body.why : "at " + string(response.body.percent) + " %"',
        },
    }
    return with_


def unread(api: FakeApi, size: str = "small") -> dict[str, Any]:
    """Something that can't be read: only what was sent is known."""
    return {
        "url": api.url,
        "apply": {"method": "PUT", "path": f"/v1/notes/{NAME}", "body": {"size": size}},
        "destroy": {"path": f"/v1/notes/{NAME}"},
    }


def notes(api: FakeApi, call: Any) -> Any:
    if call.path.startswith("/v1/notes/"):
        api.effect(call)
        return 200, {}
    return None


def create(with_: dict[str, Any], **changed: Any) -> StepWork:
    return make_work(with_=with_, **changed)


class TestThings(Conformance):
    @pytest.fixture
    def case(self, api: FakeApi, driver: Http) -> Case:
        async def meddle(_: StepWork) -> None:
            api.things[NAME]["size"] = "tiny"

        return Case(
            driver=driver,
            work=make_work(),
            good=lambda size: rest(api, size),
            bad={"url": api.url, "apply": {"path": "../up"}},
            meddle=meddle,
        )


class TestJobs(Conformance):
    @pytest.fixture
    def case(self, api: FakeApi, driver: Http) -> Case:
        return Case(
            driver=driver, work=make_work(), good=lambda size: by_job(api, size), bad={"url": api.url, "aply": {}}
        )


class TestUnread(Conformance):
    @pytest.fixture
    def case(self, api: FakeApi, driver: Http) -> Case:
        api.routes.append(notes)
        return Case(
            driver=driver, work=make_work(), good=lambda size: unread(api, size), bad={"url": api.url}, leaves=False
        )


async def test_a_thing_lives_by_its_calls(api: FakeApi, driver: Http) -> None:
    made = await driver.apply(create(rest(api)))
    assert made.outputs["id"] == "id-orders"
    changed = later(create(rest(api, "large"), previous=made.outputs), 2)
    assert (await driver.plan(changed)).summary == (f"~ PUT {api.url}/v1/things/orders",)
    larger = await driver.apply(changed)
    assert (larger.outputs["size"], api.things[NAME]["size"]) == ("large", "large")
    await driver.destroy(later(changed, 3, previous=larger.outputs, destroys=True))
    assert api.effects == [
        ("POST", "/v1/things", "run-1/only"),
        ("PUT", "/v1/things/orders", "run-2/only"),
        ("DELETE", "/v1/things/orders", "run-3/only"),
    ]


async def test_a_job_is_waited_for_across_restarts(api: FakeApi, settings: Settings) -> None:
    api.job_looks = 3
    work, reasons = create(by_job(api)), []
    for _ in range(2):
        driver = Http(settings)  # each look is made by another process
        with pytest.raises(StepSuspended) as waits:
            await driver.apply(work)
        await driver.close()
        reasons.append(waits.value.reason)
        assert waits.value.look_after_seconds == 0.05
        work = replace(work, memory=waits.value.memory, attempted=True)
    driver = Http(settings)
    result = await driver.apply(work)
    await driver.close()
    assert result.outputs["id"] == "id-orders"
    assert reasons == ["at 50 %", "at 50 %"]
    assert len(api.unsafe()) == 1


async def test_a_job_that_failed_says_why_in_one_line(api: FakeApi, driver: Http) -> None:
    work = create(by_job(api))
    with pytest.raises(StepSuspended) as waits:
        await driver.apply(work)
    api.jobs[NAME]["broken"] = True
    failure = await refused(driver.apply, replace(work, memory=waits.value.memory))
    assert failure.reason == "the API says that it failed: no [31mroom left"
    assert not failure.retryable


async def test_a_person_may_end_the_waiting(api: FakeApi, driver: Http) -> None:
    with_ = by_job(api)
    with_["apply"]["poll"] |= {"done": "false", "resumable": True}
    with_["outputs"]["ticket"] = "answer.ticket"
    work = create(with_)
    with pytest.raises(StepSuspended) as waits:
        await driver.apply(work)
    assert waits.value.resumable
    result = await driver.apply(replace(work, memory=waits.value.memory, answer={"ticket": "T-1"}))
    assert result.outputs["ticket"] == "T-1"
    assert len(api.unsafe()) == 1


BROKEN: dict[str, tuple[Fault, int]] = {
    "cut before the effect": (cut(acts=False), 0),
    "cut after the effect": (cut(acts=True), 1),
    "cut in the middle of the answer": (halfway(), 1),
    "no answer, without an effect": (hanging(acts=False), 0),
    "no answer, after the effect": (hanging(acts=True), 1),
    "a gateway's error after the effect": (raw(written((502, None)), acts=True), 1),
    "garbage after the effect": (raw(b"HTTP/1.1 201 x\r\ncontent-length: 4\r\n\r\n<hi>", acts=True), 1),
}


@pytest.mark.parametrize("broken", BROKEN)
@pytest.mark.parametrize("shape", [rest, by_job])
@pytest.mark.parametrize("restarted", [False, True])
async def test_a_creation_is_made_once_whatever_becomes_of_its_answer(
    api: FakeApi, hurried: Settings, broken: str, shape: Callable[..., dict[str, Any]], restarted: bool
) -> None:
    api.fault, effects = BROKEN[broken]
    driver = Http(hurried)
    work = create(shape(api))
    work = replace(work, approved=(await driver.plan(work)).digest)
    failure = await refused(driver.apply, work)
    assert failure.retryable
    assert len(api.effects) == effects
    if restarted:
        await driver.close()
        driver = Http(hurried)
    result = await finished(driver.apply, replace(work, attempted=True))
    await driver.close()
    assert result.outputs["id"] == "id-orders"
    assert api.keys() == ["run-1/only"]


@pytest.mark.parametrize("broken", BROKEN)
async def test_a_removal_is_made_once_whatever_becomes_of_its_answer(api: FakeApi, hurrying: Http, broken: str) -> None:
    made = await hurrying.apply(create(rest(api)))
    gone = later(create(rest(api), previous=made.outputs, destroys=True), 2)
    gone = replace(gone, approved=(await hurrying.plan(gone)).digest)
    api.fault, _ = BROKEN[broken]
    assert (await refused(hurrying.destroy, gone)).retryable
    await finished(hurrying.destroy, replace(gone, attempted=True))
    assert api.keys("DELETE") == ["run-2/only"]
    assert not (await hurrying.observe(gone)).exists


@pytest.mark.parametrize("broken", [one for one in BROKEN if "garbage" not in one])
async def test_what_can_t_be_found_again_is_never_repeated(api: FakeApi, hurrying: Http, broken: str) -> None:
    api.fault, effects = BROKEN[broken]
    work = create({"url": api.url, "apply": {"path": "/v1/things", "body": {"name": NAME}}})
    first = await refused(hurrying.apply, work)
    assert "may have been received" in first.reason
    assert not first.retryable
    again = await refused(hurrying.apply, replace(work, attempted=True))
    assert "may have been received" in again.reason
    assert "find or a read" in again.reason
    assert len(api.effects) == effects


async def test_what_is_repeatable_is_repeated(api: FakeApi, driver: Http) -> None:
    api.fault = cut(acts=True)
    body = {"name": NAME}
    work = create({"url": api.url, "apply": {"path": "/v1/things", "body": body, "repeatable": True, "already": [409]}})
    assert (await refused(driver.apply, work)).retryable
    await driver.apply(replace(work, attempted=True))
    assert len(api.effects) == 1
    assert [one.headers["idempotency-key"] for one in api.unsafe()] == ["run-1/only"] * 2


async def test_what_was_never_sent_is_simply_tried_again(api: FakeApi, driver: Http) -> None:
    with_ = {"url": "http://127.0.0.1:1", "apply": {"path": "/v1/things", "body": {"name": NAME}}}
    failure = await refused(driver.apply, create(with_))
    assert failure.retryable
    assert "can't be connected to" in failure.reason
    result = await driver.apply(create({**with_, "url": api.url}, attempted=True))
    assert result.message == "done"
    assert len(api.effects) == 1


async def test_an_api_that_asks_to_wait_is_left_alone_until_then(api: FakeApi, driver: Http) -> None:
    api.fault = status(429, {"message": "slow down"}, retry_after="7")
    work = create({"url": api.url, "apply": {"path": "/v1/things", "body": {"name": NAME}}})
    with pytest.raises(StepSuspended) as waits:
        await driver.apply(work)
    assert waits.value.look_after_seconds == 7
    assert "slow down" in waits.value.reason
    await driver.apply(replace(work, memory=waits.value.memory, attempted=True))
    assert len(api.effects) == 1


async def test_an_api_that_is_overloaded_is_tried_again(api: FakeApi, driver: Http) -> None:
    api.fault = status(503)
    work = create({"url": api.url, "apply": {"path": "/v1/things", "body": {"name": NAME}}})
    assert (await refused(driver.apply, work)).retryable
    await driver.apply(replace(work, attempted=True))
    assert len(api.effects) == 1


async def test_what_the_api_refuses_is_told_in_its_words(api: FakeApi, driver: Http) -> None:
    api.fault = status(422, {"errors": [{"field": "size", "message": "size must be\x1b[2J\r\nsmall"}]})
    failure = await refused(driver.apply, create(rest(api)))
    assert failure.reason == f"POST {api.url}/v1/things was answered with 422: size must be [2J small"
    assert not failure.retryable


async def test_what_somebody_else_has_made_is_neither_taken_nor_removed(api: FakeApi, driver: Http) -> None:
    api.things[NAME] = {"name": NAME, "size": "theirs"}
    work = create(rest(api))
    for attempt in (work, replace(work, attempted=True), later(work, 2, previous={})):
        assert "not made by this resource" in (await refused(driver.apply, attempt)).reason
    gone = later(work, 3, previous={}, destroys=True, action="delete")
    assert (await driver.plan(gone)).destroys == 0
    await driver.destroy(gone)
    assert not (await driver.observe(gone)).exists
    assert api.effects == []
    assert api.things[NAME]["size"] == "theirs"


async def test_what_may_be_there_already_is_taken_if_the_step_says_so(api: FakeApi, driver: Http) -> None:
    api.things[NAME] = {"name": NAME, "size": "small"}
    with_ = rest(api)
    with_["apply"]["already"] = [409]
    taken = await driver.apply(create(with_))
    assert taken.outputs["id"] == "id-orders"
    del with_["update"]
    larger = with_ | {"desired": {"size": "large"}}
    failure = await refused(driver.apply, later(create(larger, previous=taken.outputs), 2))
    assert "give the step an update" in failure.reason
    assert api.effects == []


async def test_a_place_that_can_t_be_told_is_no_proof_of_absence(api: FakeApi, driver: Http) -> None:
    made = await driver.apply(create(rest(api)))
    with_ = rest(api, read={"at": '["v1", "things", inputs.name]'})
    gone = later(create(with_, previous=made.outputs, destroys=True, scope={"inputs": {}}), 2)
    for act in (driver.destroy, driver.observe, driver.plan):
        assert "inputs.name" in (await refused(act, gone)).reason
    assert NAME in api.things


async def test_what_a_refused_call_has_not_made_is_not_removed(api: FakeApi, driver: Http) -> None:
    """The name was taken between the look and the call."""
    work = create(rest(api))
    api.fault = status(409, {"message": "taken"})
    await refused(driver.apply, work)
    api.things[NAME] = {"name": NAME, "size": "theirs"}
    await driver.destroy(later(work, 2, previous={}, destroys=True, action="delete"))
    assert NAME in api.things


async def test_what_a_failed_creation_has_made_is_removed(api: FakeApi, settings: Settings) -> None:
    driver = Http(settings)
    api.fault = cut(acts=True)
    await refused(driver.apply, create(rest(api)))
    await driver.close()
    driver = Http(settings)
    await driver.destroy(later(create(rest(api)), 2, previous={}, destroys=True, action="delete"))
    await driver.close()
    assert api.things == {}


async def test_a_creation_that_is_answered_oddly_fails_and_can_be_removed(api: FakeApi, driver: Http) -> None:
    api.fault = raw(written((303, None, {"location": "/elsewhere"})), acts=True)
    failure = await refused(driver.apply, create(rest(api)))
    assert failure.reason.endswith("answered with 303, a redirect, which is not followed")
    await driver.destroy(later(create(rest(api)), 2, previous={}, destroys=True, action="delete"))
    api.fault = raw(written((200, {})), acts=True)
    failure = await refused(driver.apply, create(rest(api)))
    assert failure.reason.endswith("200, which is not among the statuses that it expects")
    await driver.destroy(later(create(rest(api)), 3, previous={}, destroys=True, action="delete"))
    assert api.things == {}


async def test_drift_is_told_by_field_and_without_values(api: FakeApi, driver: Http) -> None:
    with_ = rest(api, desired={"size": "small", "labels": {"team": "shop"}, "limits": [1, 2]})
    with_["apply"]["body"] |= {"labels": {"team": "shop", "other": 1}, "limits": [1, 2]}
    made = await driver.apply(create(with_))
    api.things[NAME].update(size="huge", labels={"other": 1}, limits=[2, 1])
    seen = await driver.observe(later(create(with_, previous=made.outputs), 2))
    address = f"{api.url}/v1/things/orders#"
    assert {(one.path, one.change) for one in seen.differences} == {
        (f"{address}/size", "changed"),
        (f"{address}/labels/team", "removed"),
        (f"{address}/limits", "changed"),
    }


async def test_another_value_than_the_one_that_was_looked_at_is_another_plan(api: FakeApi, driver: Http) -> None:
    made = await driver.apply(create(rest(api)))
    change = later(create(rest(api, "large"), previous=made.outputs, action="update"), 2)
    plan = await driver.plan(change)
    api.things[NAME]["size"] = "tiny"
    assert isinstance(await refused(driver.apply, replace(change, approved=plan.digest)), PlanOutdated)


async def test_a_plan_does_not_give_away_what_is_sent(api: FakeApi, driver: Http, tmp_path: Path) -> None:
    other = Http(Settings(data=tmp_path / "other", http_allow_loopback=True))
    work = create(rest(api))
    assert (await driver.plan(work)).digest != (await other.plan(work)).digest
    await other.close()


async def test_an_action_is_done_each_time_that_it_is_asked_for(api: FakeApi, driver: Http) -> None:
    api.routes.append(notes)
    with_ = {"url": api.url, "apply": {"path": f"/v1/notes/{NAME}"}}
    first = await driver.apply(create(with_, action="restart"))
    await driver.apply(later(create(with_, action="restart", previous=first.outputs), 2))
    await driver.apply(later(create(with_, action="reconcile", previous=first.outputs), 3))
    assert api.keys() == ["run-1/only", "run-2/only"]


class TestSecrets:
    @pytest.fixture
    def destination(self, api: FakeApi, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
        monkeypatch.setenv("API_TOKEN", "canary:token")
        return {"api": {"url": f"{api.url}/v1", "secretRef": "env:API_TOKEN"}}

    def step(self, api: FakeApi, **changed: Any) -> dict[str, Any]:
        with_ = rest(api, destination="billing", **changed)
        del with_["url"]
        for name in ("apply", "update", "read", "destroy"):
            with_[name]["path"] = "/things" if name == "apply" else ["things", NAME]
        return with_

    @pytest.mark.parametrize(
        ("scheme", "header", "sent"),
        [
            ("bearer", "authorization", "Bearer canary:token"),
            ("basic", "authorization", "Basic Y2FuYXJ5OnRva2Vu"),
            ("header", "x-api-key", "canary:token"),
        ],
    )
    async def test_the_credential_goes_along(
        self, api: FakeApi, driver: Http, destination: dict[str, Any], scheme: str, header: str, sent: str
    ) -> None:
        destination["api"] |= {"scheme": scheme} | ({"header": "X-Api-Key"} if scheme == "header" else {})
        await driver.apply(create(self.step(api), destination=destination))
        assert {one.headers.get(header) for one in api.calls} == {sent}

    @pytest.mark.parametrize("scheme", ["bearer", "basic"])
    async def test_an_api_that_repeats_it_does_not_give_it_away(
        self, api: FakeApi, driver: Http, destination: dict[str, Any], scheme: str
    ) -> None:
        destination["api"]["scheme"] = scheme
        work = create(self.step(api), destination=destination)
        api.fault = status(403, {"message": "no: canary:token Y2FuYXJ5OnRva2Vu token"})
        failure = await refused(driver.apply, work)
        assert "403: no" in failure.reason
        assert "canary:token" not in failure.reason
        if scheme == "basic":
            assert "Y2Fu" not in failure.reason
            assert "token" not in failure.reason
        api.things.clear()

    async def test_an_output_that_holds_it_is_refused(
        self, api: FakeApi, driver: Http, destination: dict[str, Any]
    ) -> None:
        def echo(_: FakeApi, call: Any) -> Any:
            return (200, {"seen": call.headers["authorization"], "size": "small"}) if call.method == "GET" else None

        work = create(self.step(api, outputs={"seen": "response.body.seen"}), destination=destination, previous={})
        work = replace(work, with_={**work.with_, "apply": {**work.with_["apply"], "already": [409]}})
        api.routes.append(echo)
        failure = await refused(driver.apply, work)
        assert "the output seen holds a secret" in failure.reason
        assert "canary" not in failure.reason

    async def test_a_secret_output_is_only_referred_to(
        self, api: FakeApi, driver: Http, destination: dict[str, Any]
    ) -> None:
        work = create(self.step(api, secrets={"password": "response.body.password"}), destination=destination)
        result = await driver.apply(work)
        assert result.outputs["password"] == {"secretRef": f"http:{api.url}/v1/things/orders#password"}
        assert "hunter2" not in str(result)
        careless = self.step(
            api, secrets={"password": "response.body.password"}, outputs={"all": "response.body"}, desired={}
        )
        careless["apply"]["already"] = [409]
        failure = await refused(driver.apply, create(careless, destination=destination))
        assert "hunter2" not in failure.reason
        assert "the output all holds a secret" in failure.reason

    async def test_a_secret_that_is_missing_is_named(
        self, api: FakeApi, driver: Http, destination: dict[str, Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.delenv("API_TOKEN")
        failure = await refused(driver.apply, create(self.step(api), destination=destination))
        assert "env:API_TOKEN" in failure.reason
        monkeypatch.setenv("API_TOKEN", "two\r\nX-Admin: yes")
        failure = await refused(driver.apply, create(self.step(api), destination=destination))
        assert "one line of ASCII" in failure.reason
        assert "Admin" not in failure.reason
        assert api.calls == []


async def test_an_id_that_the_api_gives_leads_to_everything_else(api: FakeApi, driver: Http) -> None:
    def by_id(_: FakeApi, call: Any) -> Any:
        if call.path.startswith("/v1/things/id-"):
            return api.answer(replace(call, path=call.path.replace("/id-", "/")))
        return None

    api.routes.append(by_id)
    with_ = rest(api, outputs={"id": "response.body.id", "size": "response.body.size"})
    for name in ("read", "update", "destroy"):
        del with_[name]["path"]
        with_[name]["at"] = '["v1", "things", outputs.id]'
    made = await driver.apply(create(with_))
    again = later(create(with_, previous=made.outputs), 2)
    assert (await driver.observe(again)).exists
    assert (await driver.plan(again)).resources == ()
    with pytest.raises(StepFailed, match="can't be adopted"):
        await driver.observe(create(with_, adopts=True, action="adopt"))
    await driver.destroy(replace(again, destroys=True))
    assert api.things == {}


@pytest.mark.parametrize("look", [{}, {"item": "response.body"}, {"exists": "true"}])
async def test_what_another_resource_has_made_is_not_adopted_where_it_can_be_known(
    api: FakeApi, driver: Http, look: dict[str, str]
) -> None:
    with_ = rest(api)
    with_["read"] |= look
    made = await driver.apply(create(with_))
    held = addresses("http", made.outputs)
    assert bool(held) is not bool(look)

    def adopting(owner: str) -> StepWork:
        async def others(asked: Collection[str]) -> Mapping[str, str]:
            return dict.fromkeys(held.intersection(asked), owner)

        return create(with_, adopts=True, action="adopt", others=others)

    if held:
        with pytest.raises(StepFailed, match="belongs to shop/dev/account/eve; it can't be adopted"):
            await driver.observe(adopting("shop/dev/account/eve"))
    adopted = await driver.observe(adopting(create(with_).resource_id))
    assert addresses("http", adopted.outputs or {}) == held
