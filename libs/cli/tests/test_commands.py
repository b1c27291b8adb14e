"""What commands send, print and exit with, against doors with canned answers."""

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from entresol_eventing.envelope import new_id
from typer.testing import Result

Document = dict[str, Any]
Run = Callable[..., Result]
REQUEST = "0193f2c4-81c5-7d3e-9a10-3a0c52b6a3de"
ASK = ("request", "deployment", "cart", "-p", "shop", "-e", "prod")


def test_a_request_sends_what_was_typed(run: Run, accepting: Any, tmp_path: Path) -> None:
    values = tmp_path / "values.yaml"
    values.write_text("image: cart:1\nreplicas: 1\n")
    result = run(
        *ASK, "-i", "replicas=3", "-i", 'tags=["a"]', "--inputs", str(values), "--lifetime", "5d", "--reason", "try",
        "--version", "1.0.0", "--idempotency-key", "k1", "--dry-run", "--break-glass", "the shop is down",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    call = accepting.last("POST", "/intake/v1/requests")
    assert call.headers["idempotency-key"] == "k1"
    assert call.headers["authorization"] == "Bearer entresol_test"
    assert call.body == {
        "offering": "deployment",
        "action": "create",
        "project": "shop",
        "environment": "prod",
        "name": "cart",
        "inputs": {"image": "cart:1", "replicas": 3, "tags": ["a"]},
        "dry_run": True,
        "version": "1.0.0",
        "lifetime": "5d",
        "reason": "try",
        "break_glass": "the shop is down",
    }
    assert REQUEST in result.stdout


def test_waiting_shows_progress_outcome_and_outputs(run: Run, accepting: Any) -> None:
    result = run(*ASK, "--wait")
    assert result.exit_code == 0, result.output
    assert "approval.requested  waits for group:sre" in result.stdout
    assert "entresol approve a1" in result.stdout
    assert "run.progressed  step write succeeded" in result.stdout
    assert "✓ succeeded after 2 min" in result.stdout
    assert "https://cart" in result.stdout


def test_waiting_without_a_terminal_tells_the_plan_once(run: Run, accepting: Any, chain: list[Document]) -> None:
    steps = [{"name": "write", "driver": "gitops", "adds": 1, "changes": 0, "destroys": 0, "summary": ["+ cart.yaml"]}]
    plan = {"digest": "sha256:aa", "adds": 1, "changes": 0, "destroys": 0, "steps": steps}
    planned = {**chain[4], "id": "e4p", "type": "dev.entresol.run.planned.v1"}
    planned["data"] = {**chain[4]["data"], **plan}
    accepting.streams(*chain[:4], planned, *chain[4:])
    told = run(*ASK, "--wait").stdout
    assert told.count("1 to add, 0 to change, 0 to destroy") == 1
    assert told.count("write: + cart.yaml") == 1


def test_json_on_stdout_is_pure_even_while_waiting(run: Run, accepting: Any) -> None:
    result = run(*ASK, "--wait", "--output", "json")
    assert json.loads(result.stdout)["state"] == "succeeded"
    assert "run.progressed" in result.stderr


def test_a_request_that_is_denied_exits_with_1_and_its_reason(run: Run, accepting: Any, item: Document) -> None:
    denied = item | {"state": "denied", "because": ["too large"], "outputs": {}}
    accepting.says("GET", f"/catalog/v1/requests/{REQUEST}", 200, denied)
    result = run(*ASK, "--wait")
    assert result.exit_code == 1
    assert "✗ denied" in result.stdout
    assert "because too large" in result.stdout


def test_waiting_in_vain_exits_with_6_and_says_what_it_waits_for(
    run: Run, accepting: Any, chain: list[Document]
) -> None:
    accepting.streams(*chain[:2])
    result = run(*ASK, "--wait", "--timeout", "0.3")
    assert result.exit_code == 6
    assert "waiting-for-approval: waits for group:sre" in result.stderr


def test_who_asks_for_an_unknown_offering_is_told_where_they_are_listed(run: Run, doors: Any) -> None:
    fault = {"pointer": "/offering", "detail": "there is no such offering"}
    doors.says("POST", "/intake/v1/requests", 422, {"title": "The request is not valid", "violations": [fault]})
    result = run("request", "databse", "orders", "-p", "shop", "-e", "dev")
    assert "OFFERING: there is no such offering" in result.stderr
    assert "`entresol offering list` shows what there is" in result.stderr


def test_violations_are_told_by_the_option_that_caused_them(run: Run, doors: Any) -> None:
    problem = {
        "title": "The request is not valid",
        "status": 422,
        "violations": [{"pointer": "/inputs/replicas", "detail": "99 is greater than the maximum of 20"}],
    }
    doors.says("POST", "/intake/v1/requests", 422, problem)
    result = run(*ASK, "-i", "replicas=99")
    assert result.exit_code == 2
    assert "error: The request is not valid" in result.stderr
    assert "-i replicas=…: 99 is greater than the maximum of 20" in result.stderr


def test_a_number_that_should_be_text_is_told_with_how_to_write_it(run: Run, doors: Any) -> None:
    fault = {"pointer": "/inputs/revision", "detail": 'the value is not of type "string"'}
    doors.says("POST", "/intake/v1/requests", 422, {"title": "The request is not valid", "violations": [fault]})
    result = run("request", "deployment", "cart", "-p", "shop", "-e", "dev", "-i", "revision=1.2")
    assert result.exit_code == 2
    assert """-i 'revision="1.2"'""" in result.stderr


def test_a_failure_is_json_where_json_was_asked_for(run: Run, doors: Any) -> None:
    doors.says("POST", "/intake/v1/requests", 403, {"title": "Not allowed", "status": 403})
    result = run(*ASK, "-o", "json")
    assert (result.exit_code, result.stdout) == (4, "")
    assert json.loads(result.stderr)["status"] == 403


def test_a_fault_of_our_own_is_one_line_and_no_traceback(run: Run, doors: Any) -> None:
    doors.says("POST", "/intake/v1/requests", 202, {"nothing": "useful"})
    result = run(*ASK)
    assert result.exit_code == 1
    assert "Traceback" not in result.output
    assert "something in Entresol itself went wrong (KeyError: 'id')" in result.stderr


@pytest.mark.parametrize(
    "arguments", [("request",), ("nonsense",), ("up", "--port", "x"), ("apply",), ("extend", "a//b", "--for", "5d")]
)
def test_wrong_usage_exits_with_2(run: Run, arguments: tuple[str, ...]) -> None:
    assert run(*arguments).exit_code == 2


def test_day_two_requests_name_the_resource_in_its_parts(run: Run, accepting: Any) -> None:
    assert run("extend", "shop/prod/deployment/cart", "--for", "5d").exit_code == 0
    body = accepting.last("POST", "/intake/v1/requests").body
    assert body == {
        "action": "extend", "lifetime": "5d", "project": "shop", "environment": "prod", "offering": "deployment",
        "name": "cart",
    }  # fmt: skip
    assert run("delete", "shop/prod/deployment/cart", "--reason", "done").exit_code == 0
    body = accepting.last("POST", "/intake/v1/requests").body
    assert (body["action"], body["reason"]) == ("delete", "done")


def test_explain_takes_a_unique_beginning_of_an_id(run: Run, accepting: Any) -> None:
    result = run("explain", REQUEST[:11])
    assert result.exit_code == 0, result.output
    assert "approval.requested (policy)" in result.stdout


def test_explain_takes_a_resource_and_its_latest_request(run: Run, accepting: Any) -> None:
    assert run("explain", "shop/prod/deployment/cart").exit_code == 0
    assert accepting.last("GET", "/catalog/v1/requests").query["resource"] == "shop/prod/deployment/cart"


def test_explain_as_json_is_the_tree(run: Run, accepting: Any) -> None:
    document = json.loads(run("explain", REQUEST, "-o", "json").stdout)
    assert document["chain"][0]["effects"][0]["type"] == "dev.entresol.approval.requested.v1"


def test_an_ambiguous_beginning_is_refused_with_the_choices(run: Run, accepting: Any, item: Document) -> None:
    other = REQUEST[:-1] + "0"
    accepting.lists("/catalog/v1/requests", item, item | {"id": other})
    result = run("status", REQUEST[:11])
    assert result.exit_code == 2
    assert REQUEST in result.stderr
    assert other in result.stderr


def test_an_unknown_beginning_exits_with_3(run: Run, accepting: Any) -> None:
    assert run("status", "ffff").exit_code == 3


def test_status_lists_what_waits_for_whom(run: Run, accepting: Any, item: Document) -> None:
    waiting = item | {"state": "waiting-for-approval", "waiting_for": "approval by group:sre until 07:00"}
    stalled = item | {"state": "allowed", "stalled_since": "2026-11-21T03:00:00+00:00", "waiting_for": "provisioning"}

    def answer(call: Any) -> tuple[int, Document]:
        return 200, {"items": [waiting, stalled] if "state" in call.query else [waiting, stalled, item], "next": None}

    accepting.answers["GET", "/catalog/v1/requests"] = answer
    result = run("status")
    assert result.exit_code == 0, result.output
    assert "approval by group:sre until 07:00" in result.stdout
    assert result.stdout.index("Waiting for approval") < result.stdout.index("Stalled") < result.stdout.index("Ended")
    document = json.loads(run("status", "-o", "json").stdout)
    assert [len(document[name]) for name in ("waiting_for_approval", "stalled", "running", "latest")] == [1, 1, 0, 1]


def test_status_of_one_request_shows_steps_and_outputs(run: Run, accepting: Any) -> None:
    shown = run("status", REQUEST).stdout
    assert "create shop/prod/deployment/cart (deployment@1.0.0)" in shown
    assert "write" in shown
    assert "https://cart" in shown


def test_status_of_what_was_asked_for_just_now_waits_until_the_catalog_knows_it(
    run: Run, doors: Any, item: Document
) -> None:
    new, answers = new_id(), iter([(404, {"title": "Not found"})] * 2)
    doors.answers["GET", f"/catalog/v1/requests/{new}"] = lambda _: next(answers, (200, item))
    doors.lists(f"/catalog/v1/requests/{new}/events")
    assert run("status", new).exit_code == 0
    assert run("status", REQUEST).exit_code == 3


def test_status_of_a_resource_shows_its_requests(run: Run, accepting: Any, item: Document) -> None:
    resource = {"id": item["resource"], "state": "provisioned", "offering": "deployment", "offering_version": "1.0.0"}
    accepting.says("GET", f"/catalog/v1/resources/{item['resource']}", 200, resource)
    result = run("status", item["resource"])
    assert "provisioned" in result.stdout
    assert REQUEST[:18] in result.stdout
    assert run("status", "shop/prod/deployment/other").exit_code == 3


@pytest.mark.parametrize("given", ["a1-approval", "a1", REQUEST[:9], "shop/prod/deployment/cart"])
def test_an_approval_is_found_by_its_own_or_its_requests_id(run: Run, doors: Any, given: str) -> None:
    approval = {"id": "a1-approval", "request": REQUEST, "resource": "r", "policy": "p", "state": "pending"}
    mine = {"by": "user:grace", "answer": "granted", "event": "e1"}
    granted = approval | {"state": "granted", "missing": 0, "missing_from": [], "answers": [mine]}

    def answer(call: Any) -> tuple[int, Document]:
        answered = any(one.method == "POST" for one in doors.received)
        return 200, granted if answered else approval

    doors.asks(approval)
    doors.answers["GET", "/catalog/v1/approvals/a1-approval"] = answer
    doors.lists("/catalog/v1/requests", {"id": REQUEST})
    doors.says(
        "POST", "/intake/v1/approvals/a1-approval", 202, {"id": "a1-approval", "by": "user:grace", "event": "e1"}
    )
    result = run("approve", given, "--reason", "fine")
    assert result.exit_code == 0, result.output
    assert doors.last("POST", "/intake/v1/approvals/a1-approval").body == {"answer": "granted", "reason": "fine"}


def test_an_approval_of_what_was_asked_for_just_now_is_waited_for(run: Run, doors: Any, item: Document) -> None:
    approval = {"id": "a1", "request": REQUEST, "resource": "r", "policy": "p", "state": "pending"}
    states = iter(["submitted", "submitted", "planning"])

    def request(_: Any) -> tuple[int, Document]:
        state = next(states, "waiting-for-approval")
        if state == "waiting-for-approval":
            doors.asks(approval | {"refused": [{"by": "user:ada", "reason": "not yours"}]})
        return 200, item | {"state": state}

    doors.lists("/catalog/v1/approvals")
    doors.answers["GET", f"/catalog/v1/requests/{REQUEST}"] = request
    doors.says("POST", "/intake/v1/approvals/a1", 409, {"title": "it was found", "status": 409})
    assert "it was found" in run("approve", REQUEST).stderr


def test_an_answer_that_does_not_count_exits_with_4_and_the_reason(run: Run, doors: Any) -> None:
    earlier = {"by": "user:eve", "reason": "not an approver", "event": "e0"}
    refusal = {"by": "user:ada", "event": "e1", "reason": "the requester can't approve their own request"}
    approval = {
        "id": "a1",
        "request": REQUEST,
        "resource": "r",
        "policy": "p",
        "state": "pending",
        "refused": [earlier],
    }
    doors.asks(approval)

    def answer(_: Any) -> tuple[int, Document]:
        doors.asks(approval | {"refused": [earlier, refusal]})
        return 202, {"id": "a1", "by": "user:ada", "event": "e1"}

    doors.answers["POST", "/intake/v1/approvals/a1"] = answer
    result = run("approve", "a1")
    assert result.exit_code == 4
    assert "the requester can't approve their own request" in result.stderr


def test_events_are_lines_or_json_lines(run: Run, doors: Any, chain: list[Document]) -> None:
    doors.lists("/catalog/v1/events", *chain)
    assert "request.completed (catalog) ✓ succeeded" in run("events", "--type", "request.completed").stdout
    assert doors.received[-1].query["type"] == "dev.entresol.request.completed.v1"
    lines = run("events", "--since-position", "0", "-o", "json").stdout.splitlines()
    assert [json.loads(line)["position"] for line in lines] == list(range(1, 10))


def test_the_catalog_marks_relations_that_lead_nowhere(run: Run, doors: Any) -> None:
    entity = {
        "blueprint": "Component",
        "identifier": "CartService",
        "title": "Cart",
        "properties": {"type": "service"},
        "relations": {"system": "Cart", "components": ["A", "B"], "api": None},
        "dangling": [{"relation": "components", "target": "B"}],
    }
    doors.lists("/catalog/v1/entities", entity)
    doors.says("GET", "/catalog/v1/entities/Component/CartService", 200, entity)
    shown = run("catalog", "get").stdout
    assert "system → Cart, components → A, components → B (not there)" in shown
    assert "not in the catalog" in run("catalog", "get", "Component", "CartService").stdout


def test_the_export_is_what_port_takes(run: Run, doors: Any) -> None:
    whole = {"blueprints": [{"identifier": "Domain"}], "entities": [{"blueprint": "Domain", "identifier": "Orders"}]}
    doors.says("GET", "/catalog/v1/export", 200, whole)
    assert json.loads(run("catalog", "export").stdout) == whole
    assert doors.received[-1].query == {"format": "port"}
    assert run("catalog", "export", "--format", "yaml").exit_code == 2


def test_dead_letters_are_redriven_one_by_one_or_by_service(run: Run, doors: Any) -> None:
    letter: Document = {
        "id": "m1-abc",
        "service": "provisioning",
        "state": "waiting",
        "type": "t",
        "body": "eyJhIjogMX0=",
    }
    doors.lists("/catalog/v1/dead-letters", letter)
    doors.says("POST", "/intake/v1/dead-letters/redrive", 202, {})
    doors.says("POST", "/intake/v1/dead-letters/discard", 202, {})
    assert '{"a": 1}' in run("dead-letters", "show", "m1").stdout
    assert run("dead-letters", "redrive", "m1").exit_code == 0
    assert doors.received[-1].body == {"service": "provisioning", "message_id": "m1-abc"}
    assert run("dead-letters", "redrive", "--service", "provisioning", "--all", "--reason", "fixed").exit_code == 0
    assert doors.received[-1].body == {"service": "provisioning", "reason": "fixed"}
    assert run("dead-letters", "redrive").exit_code == 2
    assert run("dead-letters", "discard", "m1").exit_code == 2
    assert run("dead-letters", "discard", "m1", "--reason", "test").exit_code == 0


def test_dead_letters_are_redriven_by_type_in_every_service_that_has_some(run: Run, doors: Any) -> None:
    kind = "dev.entresol.request.submitted.v1"
    letters = [{"id": f"m{n}", "service": n, "state": "waiting", "type": kind} for n in ("policy", "provisioning")]
    other = {"id": "m3", "service": "intake", "state": "waiting", "type": None}
    doors.lists("/catalog/v1/dead-letters", *letters, other)
    doors.says("POST", "/intake/v1/dead-letters/discard", 202, {})
    assert run("dead-letters", "discard", "--type", "request.submitted", "--reason", "noise").exit_code == 0
    assert [one.body for one in doors.received[-2:]] == [
        {"service": name, "event_type": kind, "reason": "noise"} for name in ("policy", "provisioning")
    ]
    both = run("dead-letters", "redrive", "m1", "--all")
    assert both.exit_code == 2
    assert "entresol dead-letters list" in both.stderr


def test_a_parked_key_shows_its_first_message_and_can_be_tried_now_or_given_up(run: Run, doors: Any) -> None:
    letter: Document = {
        "id": "m1-abc",
        "service": "policy",
        "state": "retrying",
        "partitionkey": "shop/dev/service/cart",
    }
    letter |= {"attempts": 3, "retry_at": "2026-11-21T03:00:00+00:00", "behind": 4, "reason": "RuntimeError: no"}
    unread = {"id": "m2", "service": "policy", "state": "waiting", "partitionkey": None}
    doors.lists("/catalog/v1/dead-letters", letter, unread)
    doors.says("POST", "/intake/v1/dead-letters/redrive", 202, {})
    doors.says("POST", "/intake/v1/dead-letters/discard", 202, {})
    shown = run("parked", "list").stdout
    assert all(text in shown for text in ("shop/dev/service/cart", "m1-abc", "3", "4", "RuntimeError: no"))
    assert [one["id"] for one in json.loads(run("parked", "list", "-o", "json").stdout)] == ["m1-abc"]
    assert run("parked", "retry", "shop/dev/service/cart").exit_code == 0
    assert doors.received[-1].body == {"service": "policy", "message_id": "m1-abc"}
    assert run("parked", "discard", "m1").exit_code == 2
    assert run("parked", "discard", "m1", "--reason", "gone").exit_code == 0
    assert doors.received[-1].body == {"service": "policy", "message_id": "m1-abc", "reason": "gone"}
    assert run("parked", "retry", "nothing").exit_code == 3


HOSTILE = "a\x1b[2J\x9b31m\u202eb\x07\r"


@pytest.mark.parametrize("output", ["table", "json"])
def test_what_a_poisoned_message_holds_never_reaches_the_terminal_raw(
    run: Run, doors: Any, tmp_path: Path, output: str
) -> None:
    body = base64.b64encode(HOSTILE.encode()).decode()
    names = ("service", "type", "partitionkey", "reason", "log_subject", "ended_by", "ended_because", "correlationid")
    letter: Document = {"id": f"m{HOSTILE}", "state": "retrying", "body": body, **dict.fromkeys(names, HOSTILE)}
    letter |= {"ended_at": HOSTILE, "retry_at": HOSTILE, "size_bytes": 99}
    doors.lists("/catalog/v1/dead-letters", letter, letter | {"id": f"mm{HOSTILE}", "state": "waiting"})
    doors.says("POST", "/intake/v1/dead-letters/redrive", 202, {})
    saved = tmp_path / "body"
    runs = [
        run("dead-letters", "list", "--all", "-o", output),
        run("dead-letters", "show", "mm", "--save", str(saved), "-o", output),
        run("dead-letters", "redrive", "mm", "-o", output),
        run("dead-letters", "show", "m", "-o", output),
        run("parked", "list", "-o", output),
    ]
    for each in runs:
        assert not set("\x1b\x9b\u202e\x07\r") & set(each.stdout + each.stderr)
    assert saved.read_bytes() == HOSTILE.encode()


def test_a_body_that_is_no_text_is_shown_in_hex(run: Run, doors: Any) -> None:
    body = base64.b64encode(b"\xff\xfe\x1b[2Jcart").decode()
    doors.lists("/catalog/v1/dead-letters", {"id": "m1", "service": "policy", "state": "waiting", "body": body})
    assert "000000  ff fe 1b 5b 32 4a 63 61 72 74" in run("dead-letters", "show", "m1").stdout


def test_a_new_token_is_shown_once(run: Run, doors: Any) -> None:
    issued = {"id": "t1", "token": "entresol_new", "actor": "user:ada", "role": "developer", "projects": ["shop"]}
    doors.says("POST", "/intake/v1/tokens", 201, issued)
    lists = iter([[{"id": "t0"}], [{"id": "t1"}, {"id": "t0"}]])
    doors.answers["GET", "/catalog/v1/tokens"] = lambda _: (200, {"items": next(lists)})
    assert "entresol_new" in run("token", "create", "user:ada", "--group", "sre", "-p", "shop").stdout
    assert next(lists, None) is None, "the catalog knows it when the command has ended"
    assert doors.last("POST", "/intake/v1/tokens").body == {
        "actor": "user:ada",
        "role": "developer",
        "groups": ["sre"],
        "projects": ["shop"],
    }


def test_the_token_of_the_data_directory_goes_to_no_other_server(
    run: Run, doors: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "none").mkdir()
    (tmp_path / "none" / "token").write_text("entresol_local")
    monkeypatch.delenv("ENTRESOL_TOKEN")
    doors.lists("/catalog/v1/tokens")
    assert run("token", "list").exit_code == 0
    assert "authorization" not in doors.received[-1].headers
    monkeypatch.delenv("ENTRESOL_SERVER")
    (tmp_path / "none" / "server.json").write_text(json.dumps({"url": doors.url, "pid": 1}))
    assert run("token", "list").exit_code == 0
    assert doors.received[-1].headers["authorization"] == "Bearer entresol_local"


@pytest.mark.parametrize(
    "arguments",
    [
        ("--help",),
        ("request", "--help"),
        ("catalog", "--help"),
        ("catalog", "import", "--help"),
        ("dead-letters", "discard", "--help"),
        ("parked", "retry", "--help"),
    ],
    ids=" ".join,
)
def test_help_names_the_exit_codes(run: Run, arguments: tuple[str, ...]) -> None:
    result = run(*arguments)
    assert result.exit_code == 0
    if arguments != ("catalog", "--help"):
        assert "Exit codes" in result.stdout
