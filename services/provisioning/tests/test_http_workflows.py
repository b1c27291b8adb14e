"""Work that is started elsewhere: a workflow of GitHub, a pipeline of GitLab, a DAG of Airflow."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from entresol_provisioning.conformance import finished, later, make_work, refused
from entresol_provisioning.drivers.http import Http
from entresol_provisioning.settings import Settings

from services.provisioning.tests.http_api import FakeApi, cut, fake_api, halfway, hanging

WORKFLOW = "/repos/acme/shop/actions/workflows/deploy.yml"


@pytest.fixture
async def api() -> AsyncIterator[FakeApi]:
    async with fake_api() as made:
        yield made


@pytest.fixture
async def driver(tmp_path: Path) -> AsyncIterator[Http]:
    made = Http(Settings(data=tmp_path, http_allow_loopback=True))
    yield made
    await made.close()


def github(api: FakeApi) -> dict[str, Any]:
    """The workflow's `run-name` holds its input `entresol`; a dispatch is answered without an id."""
    return {
        "url": api.url,
        "apply": {
            "path": f"{WORKFLOW}/dispatches",
            "body": {"ref": "main", "inputs": {"version": "1.2.0"}},
            "reference": "/inputs/entresol",
            "expect": [204],
            "find": {
                "path": f"{WORKFLOW}/runs",
                "query": {"event": "workflow_dispatch", "per_page": 50},
                "item": "response.body.workflow_runs.filter(run, run.display_title.contains(reference))",
                "within": "500ms",
            },
            "poll": {
                "at": '"/repos/acme/shop/actions/runs/" + string(outputs.run)',
                "every": "50ms",
                "done": 'response.body.conclusion == "success"',
                "failed": 'response.body.status == "completed" && response.body.conclusion != "success"',
                "message": "response.body.status",
            },
        },
        "outputs": {"run": "response.body.id"},
    }


def airflow(api: FakeApi) -> dict[str, Any]:
    """The run is named by the step, so a second call is answered with 409."""
    return {
        "url": f"{api.url}/api/v1",
        "apply": {
            "path": "/dags/provision/dagRuns",
            "body": {"conf": {"size": "small"}},
            "reference": "/dag_run_id",
            "already": [409],
            "repeatable": True,
            "poll": {
                "at": '["dags", "provision", "dagRuns", reference]',
                "every": "50ms",
                "done": 'response.body.state == "success"',
                "failed": 'response.body.state == "failed"',
            },
        },
        "outputs": {"run": "response.body.dag_run_id"},
    }


async def test_a_workflow_is_dispatched_found_and_followed(api: FakeApi, driver: Http) -> None:
    api.hidden_looks = 2
    result = await finished(driver.apply, make_work(with_=github(api)))
    assert result.outputs["run"] == 1
    assert result.message == "completed"
    (dispatch,) = api.unsafe()
    assert dispatch.body == {"ref": "main", "inputs": {"version": "1.2.0", "entresol": "run-1.only"}}
    assert dispatch.headers["idempotency-key"] == "run-1/only"


async def test_a_workflow_is_told_from_those_that_run_beside_it(api: FakeApi, driver: Http) -> None:
    for number in (1, 2, 3):
        result = await finished(driver.apply, later(make_work(with_=github(api)), number))
        assert result.outputs["run"] == number


async def test_a_workflow_that_fails_fails_the_step(api: FakeApi, driver: Http) -> None:
    work = make_work(with_=github(api))
    api.job_looks = 1
    api.routes.append(lambda api, call: api.runs[0].update(ends="cancelled") if api.runs else None)
    assert (await refused(driver.apply, work)).reason == "the API says that it failed: completed"


@pytest.mark.parametrize("acts", [False, True])
@pytest.mark.parametrize("broken", [cut, halfway, hanging])
@pytest.mark.parametrize("restarted", [False, True])
async def test_a_workflow_is_dispatched_once_whatever_becomes_of_the_answer(
    api: FakeApi, tmp_path: Path, acts: bool, broken: Any, restarted: bool
) -> None:
    if broken is halfway and not acts:
        acts = True
    api.fault = broken(acts=acts)
    api.hidden_looks = 3  # what was begun is not shown at once
    settings = Settings(data=tmp_path, http_allow_loopback=True, http_seconds=1.5)
    driver = Http(settings)
    work = make_work(with_=github(api))
    assert (await refused(driver.apply, work)).retryable
    if restarted:
        await driver.close()
        driver = Http(settings)
    result = await finished(driver.apply, replace(work, attempted=True))
    await driver.close()
    assert result.outputs["run"] == 1
    assert api.keys() == ["run-1/only"]


async def test_a_workflow_that_is_never_shown_is_a_failure_that_says_so(api: FakeApi, driver: Http) -> None:
    api.hidden_looks = 1000
    failure = await refused(lambda work: finished(driver.apply, work), make_work(with_=github(api)))
    assert "finds nothing of it within 500ms" in failure.reason
    assert len(api.effects) == 1


async def test_a_dag_is_run_once_under_the_name_that_the_step_gives_it(api: FakeApi, driver: Http) -> None:
    api.fault = cut(acts=True)
    work = make_work(with_=airflow(api))
    assert (await refused(driver.apply, work)).retryable
    result = await finished(driver.apply, replace(work, attempted=True))
    assert result.outputs["run"] == "run-1.only"
    assert api.keys() == ["run-1/only"]
    assert [one.body["dag_run_id"] for one in api.unsafe()] == ["run-1.only"] * 2


async def test_nothing_runs_again_while_nothing_has_changed(api: FakeApi, driver: Http) -> None:
    first = await finished(driver.apply, make_work(with_=airflow(api)))
    again = later(make_work(with_=airflow(api), previous=first.outputs, action="update"), 2)
    assert (await driver.plan(again)).resources == ()
    assert (await driver.apply(again)).outputs == first.outputs
    assert len(api.effects) == 1
    assert (await driver.observe(again)).exists
    await driver.destroy(replace(again, destroys=True, action="delete"))
    assert not (await driver.observe(replace(again, destroys=True))).exists


async def test_a_pipeline_of_a_project_in_a_group_is_triggered(
    api: FakeApi, driver: Http, monkeypatch: pytest.MonkeyPatch
) -> None:
    """GitLab names a project by its whole path, as one part, and takes the reference as a variable."""

    def gitlab(api: FakeApi, call: Any) -> Any:
        if call.path == "/api/v4/projects/acme/shop/pipeline" and call.method == "POST":
            api.effect(call)
            api.jobs["9"] = {"left": 2}
            return 201, {"id": 9, "status": "created", "web_url": "https://gitlab.example/9"}
        if call.path == "/api/v4/projects/acme/shop/pipelines/9":
            api.jobs["9"]["left"] -= 1
            return 200, {"id": 9, "status": "success" if api.jobs["9"]["left"] <= 0 else "running"}
        return None

    api.routes.append(gitlab)
    monkeypatch.setenv("GITLAB_TOKEN", "glpat-canary")
    spec = {"url": f"{api.url}/api/v4", "secretRef": "env:GITLAB_TOKEN", "scheme": "header", "header": "PRIVATE-TOKEN"}
    with_ = {
        "destination": "gitlab",
        "apply": {
            "path": ["projects", "acme/shop", "pipeline"],
            "body": {"ref": "main"},
            "reference": "/inputs/entresol",
            "expect": [201],
            "poll": {
                "at": '["projects", "acme/shop", "pipelines", outputs.id]',
                "every": "50ms",
                "done": 'response.body.status == "success"',
                "failed": 'response.body.status in ["failed", "canceled", "skipped"]',
                "message": "response.body.status",
            },
        },
        "outputs": {"id": "response.body.id"},
    }
    result = await finished(driver.apply, make_work(with_=with_, destination={"api": spec}))
    assert result.outputs["id"] == 9
    assert {one.headers["private-token"] for one in api.calls} == {"glpat-canary"}
    assert api.unsafe()[0].body == {"ref": "main", "inputs": {"entresol": "run-1.only"}}
