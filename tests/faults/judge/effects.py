"""Effects: commits in repositories and notices at a receiver, each with its cause and each as often as promised."""

from collections import Counter

from tests.faults.judge.findings import DOUBLED, LOST, UNEXPLAINED, Finding, Findings
from tests.faults.judge.records import Records


def judge(records: Records) -> Findings:
    yield from _commits(records)
    yield from _files(records)
    if records.sink is not None:
        yield from _notices(records)


def _commits(records: Records) -> Findings:
    """One commit for each step that was done, and none for a request that was not allowed."""
    for step, count in Counter(one.step for one in records.commits).items():
        if count > 1:
            yield Finding(DOUBLED, f"step {step} was committed {count} times")
    allowed = {one.data["request_id"] for one in records.of("request.allowed")}
    for commit in records.commits:
        if not commit.step:
            yield Finding(UNEXPLAINED, f"commit {commit.hash} names no step")
        elif commit.request not in allowed:
            yield Finding(UNEXPLAINED, f"commit {commit.hash} is for {commit.request}, which was not allowed")
    committed = {one.request for one in records.commits}
    ends = _ends(records)
    for line in records.told:
        if line["told"] != "accepted" or not line["file"]:
            continue
        if ends.get(line["request"]) == "succeeded" and line["request"] not in committed:
            yield Finding(LOST, f"{line['request']} has succeeded without a commit")


def _files(records: Records) -> Findings:
    """What the last request of a resource asked for is what the repository has, if that request succeeded."""
    if not records.commits:
        return
    ends = _ends(records)
    wanted: dict[str, bool | None] = {}
    for line in records.told:
        if line["told"] != "accepted" or not line["file"]:
            continue
        outcome = ends.get(line["request"])
        if outcome == "succeeded":
            wanted[line["file"]] = line["action"] != "delete"
        elif outcome in ("denied", "rejected", "expired"):
            wanted.setdefault(line["file"], False)
        else:
            wanted[line["file"]] = None
    for file, there in wanted.items():
        if there is True and file not in records.files:
            yield Finding(LOST, f"{file} was asked for and made, and is not in the repository")
        if there is False and file in records.files:
            yield Finding(UNEXPLAINED, f"{file} is in the repository, and nobody may have it there")


def _notices(records: Records) -> Findings:
    """Each delivery that is called delivered was received; each event that is to be told was; none of another event."""
    assert records.sink is not None
    received = {one["delivery"] for one in records.sink}
    heard = {one["event"] for one in records.sink}
    on_log = {fact.id for fact in records.log}
    for event_id in sorted(heard - on_log):
        yield Finding(UNEXPLAINED, f"the receiver was told of {event_id}, which is not on the log")
    names: dict[str, str] = {}
    for line in records.sink:
        if (before := names.setdefault(line["event"], line["delivery"])) != line["delivery"]:
            yield Finding(DOUBLED, f"event {line['event']} was delivered as {before} and as {line['delivery']}")
    told = Counter(fact.data["delivery_id"] for fact in records.of("notification.delivered"))
    for delivery, count in told.items():
        if count > 1:
            yield Finding(DOUBLED, f"delivery {delivery} is said to have been delivered {count} times")
        if delivery not in received:
            yield Finding(LOST, f"delivery {delivery} is said to have been delivered, and was not received")
    for fact in records.log:
        if fact.type in records.told_of and fact.id not in heard:
            yield Finding(LOST, f"the receiver was not told of {fact}")


def _ends(records: Records) -> dict[str, str]:
    return {one.data["request_id"]: one.data["outcome"] for one in records.of("request.completed")}
