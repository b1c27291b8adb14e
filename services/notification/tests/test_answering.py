"""Links by which people answer: for whom there is one, and what it says."""

import json
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from email.policy import default
from pathlib import Path
from typing import Any

import pytest
from entresol_contracts.manifests import AnswersAs, Channel
from entresol_eventing.links import Keys, Link
from entresol_notification.answering import ASKING, Links
from entresol_notification.channels import Answering, Notice
from entresol_notification.channels.email import compose
from entresol_notification.settings import Settings
from pydantic import ValidationError

KEYS = Keys([b"canary-key-of-the-links-32-bytes"])
AT = datetime(2026, 11, 21, 10, tzinfo=UTC)
ADA = AnswersAs(actor="user:ada", groups=["sre"])
REQUESTED = "dev.entresol.approval.requested.v1"


def asked(**data: Any) -> str:
    plain = {"approval_id": "a1", "requested_by": "user:bob", "expires_at": "2026-11-21T14:00:00Z"}
    return json.dumps({"data": plain | data})


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    file = tmp_path / "keys"
    file.write_text(KEYS.keys[0].decode() + "\n")
    return file


def links(key_file: Path) -> Links:
    return Links("https://entresol.example.com/", key_file)


def read(answering: Answering | None) -> Link:
    assert answering is not None
    start = "https://entresol.example.com/intake/answers/"
    assert answering.url.startswith(start)
    link = KEYS.read(answering.url.removeprefix(start))
    assert link is not None
    return link


@pytest.mark.parametrize("event_type", sorted(ASKING))
def test_a_link_names_the_reader_the_approval_and_its_end(key_file: Path, event_type: str) -> None:
    link = read(links(key_file).answering(event_type, asked(), ADA, AT))
    assert link == Link("a1", "user:ada", ("sre",), AT + timedelta(hours=4))


def test_a_review_may_be_answered_for_a_month_after_it_was_due(key_file: Path) -> None:
    overdue = asked(review=True, expires_at="2026-11-20T10:00:00Z")
    link = read(links(key_file).answering("dev.entresol.approval.reminded.v1", overdue, ADA, AT))
    assert link.expires_at == AT + timedelta(days=29)


@pytest.mark.parametrize(
    ("event_type", "data", "reader"),
    [
        (REQUESTED, {}, None),
        ("dev.entresol.approval.granted.v1", {}, ADA),
        ("dev.entresol.glass.broken.v1", {}, ADA),
        (REQUESTED, {"requested_by": "user:ada"}, ADA),
        (REQUESTED, {"expires_at": "2026-11-21T10:00:00Z"}, ADA),
        (REQUESTED, {"expires_at": "2026-10-22T10:00:00Z", "review": True}, ADA),
        (REQUESTED, {}, AnswersAs(actor="user:ada", groups=["x" * 1000])),
    ],
    ids=["nobody", "answered", "told", "own", "over", "long over", "too long"],
)
def test_where_there_is_no_link(
    key_file: Path, event_type: str, data: dict[str, Any], reader: AnswersAs | None
) -> None:
    assert links(key_file).answering(event_type, asked(**data), reader, AT) is None


@pytest.mark.parametrize("missing", [Links("", Path("keys")), Links("https://entresol.example.com", None)])
def test_without_settings_there_is_no_link_and_that_is_told_once(
    missing: Links, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(3):
        assert missing.answering(REQUESTED, asked(), ADA, AT) is None
    (told,) = caplog.records
    assert "public_url and link_key_file" in told.getMessage()


def test_mail_to_several_answers_as_nobody(caplog: pytest.LogCaptureFixture) -> None:
    def spec(*to: str) -> Any:
        mail = {"kind": "email", "to": list(to), "answersAs": {"actor": "user:ada"}}
        document = {"apiVersion": "entresol.dev/v1", "kind": "Channel", "metadata": {"name": "mail"}, "spec": mail}
        return Channel.model_validate(document).spec

    made = Links("", None)
    assert made.reader_of(spec("ada@example.com")) == AnswersAs(actor="user:ada")
    assert made.reader_of(spec("ada@example.com", "all@example.com")) is None
    assert "several addresses" in caplog.text


def test_a_key_can_be_replaced_while_the_service_runs(key_file: Path) -> None:
    made = links(key_file)
    assert made.answering(REQUESTED, asked(), ADA, AT) is not None
    key_file.write_text("another-key-of-the-links-32-bytes\n")
    answering = made.answering(REQUESTED, asked(), ADA, AT)
    assert answering is not None
    assert KEYS.read(answering.url.rpartition("/")[2]) is None


@pytest.mark.parametrize("content", ["", "canary-but-short", None])
def test_without_a_key_the_notice_goes_without_a_link(
    key_file: Path, caplog: pytest.LogCaptureFixture, content: str | None
) -> None:
    made = links(key_file)
    if content is None:
        key_file.unlink()
    else:
        key_file.write_text(content)
    assert made.answering(REQUESTED, asked(), ADA, AT) is None
    assert "no link" in caplog.text
    assert "canary" not in caplog.text


@pytest.mark.parametrize(
    "url", ["entresol.example.com", "javascript:alert(1)", "https://a b", "https://a?x=", "https://a#"]
)
def test_what_is_no_public_url(url: str) -> None:
    with pytest.raises(ValidationError):
        Settings(public_url=url)


def test_the_url_is_not_in_what_errors_show() -> None:
    notice = Notice("d", REQUESTED, "{}", "m", Answering("user:ada", "https://canary"))
    assert "canary" not in repr(notice)


def test_a_mail_has_the_link_on_a_line_of_its_own(key_file: Path) -> None:
    url = "https://entresol.example.com/intake/answers/1." + "x" * 900
    answering = links(key_file).answering(REQUESTED, asked(), AnswersAs(actor="user:ada\x1b\u202e<b>"), AT)
    assert answering is not None
    assert answering.actor.isprintable()
    mail = compose(
        Notice("d", REQUESTED, "{}", "please", Answering("user:ada", url)), ["a@example.com"], "e@example.com"
    )
    got = message_from_bytes(mail.as_bytes(), policy=default)
    assert f"Answer as user:ada: {url}" in got.get_content().splitlines()
    assert "answers" not in str(got["subject"])
