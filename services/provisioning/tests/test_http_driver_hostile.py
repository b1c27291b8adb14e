"""What APIs may answer, and what people may put into a step: a clear error, nothing sent elsewhere, nothing hung."""

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from entresol_provisioning.conformance import make_work, refused
from entresol_provisioning.drivers import StepFailed, StepSuspended, StepWork
from entresol_provisioning.drivers.http import Http
from entresol_provisioning.drivers.http.places import Base, checked_base
from entresol_provisioning.settings import Settings

from services.provisioning.tests.http_api import FakeApi, Fault, dripping, fake_api, flooding, raw, status


@pytest.fixture
async def api() -> AsyncIterator[FakeApi]:
    async with fake_api() as made:
        yield made


@pytest.fixture
async def driver(tmp_path: Path) -> AsyncIterator[Http]:
    made = Http(Settings(data=tmp_path, http_allow_loopback=True, http_answer_bytes=4096))
    yield made
    await made.close()


@pytest.fixture
async def hurrying(tmp_path: Path) -> AsyncIterator[Http]:
    """For those who wait for an answer without an end."""
    made = Http(Settings(data=tmp_path, http_allow_loopback=True, http_seconds=0.5))
    yield made
    await made.close()


def body(text: bytes, kind: str = "application/json") -> Fault:
    head = f"HTTP/1.1 200 x\r\ncontent-type: {kind}\r\ncontent-length: {len(text)}\r\n\r\n"
    return raw(head.encode() + text)


ANSWERS: dict[str, tuple[Fault, str]] = {
    "huge": (body(b'"' + b"x" * 10_000 + b'"'), "exceeds 4096 bytes"),
    "chunks without an end": (flooding, "exceeds 4096 bytes"),
    "a page": (body(b"<html>Sign in</html>", "text/html"), "no usable JSON"),
    "two values for a key": (body(b'{"state": "done", "state": "running"}'), "no usable JSON"),
    "not a number": (body(b'{"state": NaN}'), "no usable JSON"),
    "a half character": (body(b'{"state": "\\ud800"}'), "no usable JSON"),
    "deep": (body(b"[" * 1000 + b"]" * 1000), "no usable JSON"),
    "not UTF-8": (body(b'"\xff"'), "no usable JSON"),
    "compressed": (body(b"\x1f\x8b", "application/json\r\ncontent-encoding: gzip"), "no usable JSON"),
    "a redirect": (status(302, None, location="http://169.254.169.254/"), "a redirect, which is not followed"),
    "no HTTP": (raw(b"SSH-2.0-OpenSSH\r\n\r\n"), "did not speak HTTP"),
    "nothing": (raw(b""), "did not speak HTTP"),
    "less than it says": (raw(b"HTTP/1.1 200 x\r\ncontent-length: 100\r\n\r\n{"), "dropped the connection"),
    "endless headers": (raw(b"HTTP/1.1 200 x\r\n" + b"x-a: " + b"b" * 200_000 + b"\r\n\r\n"), "did not speak HTTP"),
    "another shape": (body(b"[]"), "/with/read/exists"),
    "nothing in it": (body(b"null"), "/with/read/exists"),
}


@pytest.mark.parametrize("answer", ANSWERS)
async def test_a_hostile_answer_is_an_error_that_says_what_it_is(api: FakeApi, driver: Http, answer: str) -> None:
    api.look_fault, reason = ANSWERS[answer]
    read = {"path": "/v1/things/one", "exists": 'response.body.state == "done"'}
    work = make_work(with_={"url": api.url, "apply": {"path": "/v1/things"}, "read": read})
    for act in (driver.plan, driver.observe, driver.apply):
        assert reason in (await refused(act, work)).reason
    assert api.unsafe() == []


async def test_an_answer_that_drips_without_an_end_has_a_deadline(api: FakeApi, hurrying: Http) -> None:
    api.look_fault = dripping
    with_ = {"url": api.url, "apply": {"path": "/v1/things"}, "read": {"path": "/v1/things/one"}}
    for act in (hurrying.plan, hurrying.observe, hurrying.apply):
        assert "did not answer in time" in (await refused(act, make_work(with_=with_))).reason
    assert api.unsafe() == []


@pytest.mark.parametrize("answer", ANSWERS)
async def test_a_hostile_answer_to_a_poll_is_told_and_ends(api: FakeApi, driver: Http, answer: str) -> None:
    api.look_fault, _ = ANSWERS[answer]
    poll = {"path": "/jobs/one", "every": "1s", "done": 'response.body.state == "done"'}
    work = make_work(with_={"url": api.url, "apply": {"path": "/v1/things", "body": {"name": "one"}, "poll": poll}})
    pauses: list[float] = []

    async def look_again_and_again(work: StepWork) -> None:
        while len(pauses) < 20:
            try:
                await driver.apply(work)
            except StepSuspended as waits:
                work = replace(work, memory=waits.memory, attempted=True)
                pauses.append(waits.look_after_seconds or 0)

    assert (await refused(look_again_and_again, work)).reason
    assert pauses == sorted(pauses)
    assert len(api.effects) == 1


async def test_an_expression_that_would_take_for_ever_over_the_answer_is_ended(api: FakeApi, tmp_path: Path) -> None:
    def many(_: FakeApi, call: Any) -> Any:
        return (200, {"items": [{"n": one} for one in range(30_000)], "n": 1}) if call.method == "GET" else None

    api.routes.append(many)
    driver = Http(Settings(data=tmp_path, http_allow_loopback=True))
    read = {"path": "/all", "item": "response.body.items.filter(one, one.n == response.body.n)"}
    work = make_work(with_={"url": api.url, "apply": {"path": "/v1/things"}, "read": read})
    assert "takes more than" in (await refused(driver.plan, work)).reason
    await driver.close()


PLACES: list[tuple[str, Any]] = [
    ("apply.path", "/things/../admin"),
    ("apply.path", "/things/%2e%2e/admin"),
    ("apply.path", "/things/..%2fadmin"),
    ("apply.path", "/things/%252e%2e/x/.."),
    ("apply.path", "//evil.example/things"),
    ("apply.path", "/things/one?admin=true"),
    ("apply.path", "/things/one#x"),
    ("apply.path", "/things/a b\r\nX-Admin: yes"),
    ("apply.path", "/things/a\\..\\b"),
    ("apply.path", "/things/%zz"),
    ("apply.path", "/things/%00"),
    ("apply.path", "/things/" + "n" * 10_240),
    ("apply.path", ["things", ".."]),
    ("apply.path", ["things", ""]),
    ("apply.path", ["things", "a/../b"]),
    ("apply.path", ["things", "n" * 10_240]),
    ("apply.path", ["things", "line\nbreak"]),
    ("apply.path", ["things", True]),
    ("apply.path", {"things": 1}),
    ("apply.headers", {"x-name": "a\r\nx-admin: yes"}),
    ("apply.headers", {"x-name\r\nx-admin": "yes"}),
    ("apply.headers", {"x-name": "ümlaut"}),
    ("apply.headers", {"Authorization": "Bearer written-down"}),
    ("apply.headers", {"Host": "evil.example"}),
    ("apply.headers", {"Transfer-Encoding": "chunked"}),
    ("apply.headers", {"Idempotency-Key": "mine"}),
    ("apply.method", "GET / HTTP/1.1\r\nX: "),
    ("apply.method", "--upload-pack=touch /tmp/x"),
    ("apply.query", {"a": {"b": 1}}),
    ("apply.query", {"a": "x" * 10_240}),
    ("apply.at", '"//evil.example/things"'),
    ("apply.at", '"http://evil.example/things"'),
    ("apply.at", '"http://127.0.0.1:1/things"'),
    ("apply.at", '"http://127.0.0.1@evil.example/"'),
    ("apply.at", '"file:///etc/passwd"'),
    ("apply.at", '"things/one"'),
    ("apply.at", '"/things/../admin"'),
    ("apply.at", '"/things?a=b c"'),
    ("apply.at", "42"),
    ("apply.at", '["things", {"a": 1}]'),
    ("apply.at", '"${inputs.name}"'),
    ("apply.at", "{{ 7 * 7 }}"),
    ("apply.at", "1 +"),
    ("apply.reference", "no pointer"),
    ("apply.reference", "/name/deep"),
    ("apply.expect", []),
    ("apply.expect", [99]),
    ("outputs", {"fingerprint": "1"}),
    ("outputs", {"id": "response.body.id +"}),
    ("secrets", {"password": "response.body.password"}),
    ("desired", {"size": 1}),
    ("unheard", "of"),
    ("url", "http://user:hunter2@127.0.0.1/"),
    ("url", "http://127.0.0.1/?a=b"),
    ("url", "http://127.0.0.1/#x"),
    ("url", "http://127.0.0.1\r\nx/"),
    ("url", "http://１２７.０.０.１/"),
    ("url", "http://exаmple.com/"),
    ("url", "ftp://127.0.0.1/"),
    ("url", "http://127.0.0.1:99999/"),
    ("url", "http:///things"),
    ("url", "--upload-pack=touch"),
    ("url", "http://127.0.0.1\\@evil.example/"),
    ("url", 42),
]


@pytest.mark.parametrize(("field", "value"), PLACES)
async def test_hostile_input_is_refused_and_nothing_is_sent(api: FakeApi, driver: Http, field: str, value: Any) -> None:
    with_: dict[str, Any] = {"url": api.url, "apply": {"path": "/v1/things", "body": {"name": "one"}}}
    *outer, name = field.split(".")
    target = with_[outer[0]] if outer else with_
    if name == "at":
        del target["path"]
    target[name] = value
    failure = await refused(driver.apply, make_work(with_=with_))
    assert not failure.retryable
    assert failure.reason.isprintable()
    assert len(failure.reason) < 700
    assert "hunter2" not in failure.reason
    assert "written-down" not in failure.reason
    assert api.calls == []


@pytest.mark.parametrize(
    "name", ["--upload-pack=x", "{{ 7*7 }}", "a b&c=d?e#f", "group/project", "ünï", "${x}", "%2e%2e"]
)
async def test_a_part_of_a_path_is_one_part_whatever_it_holds(api: FakeApi, driver: Http, name: str) -> None:
    def echo(_: FakeApi, call: Any) -> Any:
        return 201, {"path": call.path, "query": call.query}

    api.routes.append(echo)
    with_ = {
        "url": f"{api.url}/v1/",
        "apply": {"path": ["things", name], "query": {"q": [name, 1, True]}, "body": {"name": name}},
        "outputs": {"seen": "response.body"},
    }
    result = await driver.apply(make_work(with_=with_))
    assert result.outputs["seen"] == {"path": f"/v1/things/{name}", "query": {"q": [name, "1", "true"]}}
    assert api.calls[0].body == {"name": name}


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://127.0.0.1:1/", "loopback"),
        ("http://127.1/", "loopback"),
        ("http://2130706433/", "loopback"),
        ("http://0x7f.1/", "loopback"),
        ("http://localhost/", "loopback"),
        ("http://[::1]/", "loopback"),
        ("http://[::ffff:127.0.0.1]/", "loopback"),
        ("http://[64:ff9b::7f00:1]/", "loopback"),
        ("https://[2002:7f00:1::1]/", "loopback"),
        ("https://10.0.0.1/", "private"),
        ("https://169.254.169.254/latest/meta-data", "metadata"),
        ("http://93.184.216.34/", "plain http"),
    ],
)
async def test_nothing_is_sent_to_this_machine_or_network_unless_it_is_allowed(
    tmp_path: Path, url: str, reason: str
) -> None:
    driver = Http(Settings(data=tmp_path))
    failure = await refused(driver.apply, make_work(with_={"url": url, "apply": {"path": "/x"}}))
    await driver.close()
    assert reason in failure.reason
    assert not failure.retryable


def test_a_url_that_the_api_names_has_to_be_its_own() -> None:
    base = checked_base("https://API.example:443/v1/")
    assert base == Base("https://api.example", "/v1")
    assert base.url("/things") == base.url(["things"]) == "https://api.example/v1/things"
    assert base.named("/jobs/1?a=b", {"c": 1}) == "https://api.example/jobs/1?a=b&c=1"
    assert base.named("https://api.example:443/jobs/1", {}) == "https://api.example/jobs/1"
    for other in ("http://api.example/jobs", "https://api.example:8443/", "https://api.example.evil/", "https://evil/"):
        with pytest.raises(StepFailed):
            base.named(other, {})
