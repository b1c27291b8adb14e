"""The client against doors that answer well, badly, late, or not at all."""

import json
import socket
from typing import Any

import pytest
from entresol.doors.client import Client
from entresol.failures import Code, Failure, Refused, place

Document = dict[str, Any]


def test_the_token_goes_with_every_call(doors: Any) -> None:
    doors.says("GET", "/catalog/v1/requests/r1", 200, {"id": "r1"})
    with Client(doors.url, "entresol_secret") as client:
        assert client.request("r1") == {"id": "r1"}
    assert doors.received[-1].headers["authorization"] == "Bearer entresol_secret"


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (400, Code.INVALID),
        (401, Code.NOT_ALLOWED),
        (403, Code.NOT_ALLOWED),
        (404, Code.NOT_FOUND),
        (409, Code.INVALID),
        (422, Code.INVALID),
        (429, Code.UNREACHABLE),
        (500, Code.UNREACHABLE),
        (503, Code.UNREACHABLE),
    ],
)
def test_a_refusal_has_a_code_for_scripts(doors: Any, status: int, code: Code) -> None:
    problem = {
        "title": "No",
        "detail": "because",
        "status": status,
        "violations": [{"pointer": "/inputs/size", "detail": "is wrong"}],
    }
    doors.says("POST", "/intake/v1/requests", status, problem)
    with Client(doors.url) as client, pytest.raises(Refused) as refused:
        client.submit({})
    assert refused.value.code is code
    assert refused.value.message == "No: because"
    assert refused.value.violations == [("/inputs/size", "is wrong")]


def test_a_refusal_without_problem_details_is_still_told(doors: Any) -> None:
    doors.says("GET", "/catalog/v1/requests/r1", 502, "<html>bad gateway</html>")
    with Client(doors.url) as client, pytest.raises(Refused, match="Bad Gateway"):
        client.request("r1")


def test_a_server_that_is_not_there_is_unreachable() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
        with Client(url) as client, pytest.raises(Failure) as failed:
            client.request("r1")
    assert failed.value.code is Code.UNREACHABLE
    assert url in failed.value.message


def test_something_that_is_no_url_is_the_users_fault() -> None:
    with Client("localhost:8400") as client, pytest.raises(Failure) as failed:
        client.request("r1")
    assert failed.value.code is Code.INVALID


def test_a_server_that_does_not_speak_json_is_not_taken_for_a_platform(doors: Any) -> None:
    doors.says("GET", "/catalog/v1/requests/r1", 200, "<html>welcome</html>")
    with Client(doors.url) as client, pytest.raises(Failure, match="is it Entresol"):
        client.request("r1")


def test_lists_are_read_page_by_page_up_to_the_limit(doors: Any) -> None:
    pages = {None: ([1, 2], "b"), "b": ([3, 4], "c"), "c": ([5], None)}

    def answer(call: Any) -> tuple[int, Document]:
        items, after = pages[call.query.get("cursor")]
        return 200, {"items": [{"n": n} for n in items], "next": after}

    doors.answers["GET", "/catalog/v1/entities"] = answer
    with Client(doors.url) as client:
        assert [one["n"] for one in client.every("/v1/entities")] == [1, 2, 3, 4, 5]
        assert [one["n"] for one in client.every("/v1/entities", most=3)] == [1, 2, 3]


def test_an_id_is_one_segment_of_the_path_whatever_it_holds(doors: Any) -> None:
    doors.says("GET", "/catalog/v1/requests/a/../b c", 200, {"id": "odd"})
    with Client(doors.url) as client:
        assert client.request("a/../b c") == {"id": "odd"}


def test_following_ends_with_the_fact_that_completes_the_request(doors: Any, chain: list[Document]) -> None:
    doors.streams(*chain, chain[0])
    with Client(doors.url) as client:
        seen = list(client.follow(chain[0]["data"]["request_id"], timeout_seconds=5))
    assert [event["id"] for event in seen] == [f"e{number}" for number in range(1, 10)]
    assert seen[-1]["position"] == 9


def test_a_broken_stream_is_resumed_behind_the_last_event(doors: Any, chain: list[Document]) -> None:
    def answer(call: Any) -> tuple[int, str]:
        after = int(call.headers.get("last-event-id") or 0)
        rest = list(enumerate(chain, start=1))[after : after + 4]
        return 200, "".join(f"id: {n}\ndata: {json.dumps(event)}\n\n" for n, event in rest)

    doors.answers["GET", "/catalog/v1/stream"] = answer
    with Client(doors.url) as client:
        seen = [event["id"] for event in client.follow(chain[0]["data"]["request_id"], timeout_seconds=5)]
    assert seen == [f"e{number}" for number in range(1, 10)]


def test_waiting_ends_when_the_time_is_over(doors: Any, chain: list[Document]) -> None:
    doors.streams(*chain[:3])
    with Client(doors.url) as client, pytest.raises(Failure) as failed:
        client.wait(chain[0]["data"]["request_id"], timeout_seconds=0.3)
    assert failed.value.code is Code.TIMED_OUT


def test_a_request_that_the_catalog_has_not_seen_yet_is_waited_for(doors: Any, chain: list[Document]) -> None:
    calls = []
    doors.streams(*chain)
    status, body = doors.answers["GET", "/catalog/v1/stream"]

    def answer(call: Any) -> tuple[int, Any]:
        calls.append(call)
        return (404, {"title": "Not found"}) if len(calls) < 3 else (status, body)

    doors.answers["GET", "/catalog/v1/stream"] = answer
    with Client(doors.url) as client:
        assert list(client.follow(chain[0]["data"]["request_id"], timeout_seconds=5))[-1]["id"] == "e9"


@pytest.mark.parametrize(
    ("pointer", "written"),
    [
        ("/inputs/size", "-i size=…"),
        ("/inputs/database/size", '-i database={"size": …}'),
        ("/inputs", "inputs"),
        ("/environment", "--environment"),
        ("/offering", "OFFERING"),
        ("/inputs/a~1b", "-i a/b=…"),
        ("/0/spec/rules", "/0/spec/rules"),
        ("", ""),
    ],
)
def test_a_pointer_is_told_as_the_user_wrote_it(pointer: str, written: str) -> None:
    assert place(pointer) == written
