"""Gates: nobody was let through who had to wait, and nobody was asked twice.

The log has one order, and a service reads it in that order. So what policy says as an answer to an event, it says
knowing everything that lies before that event.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping

from tests.faults.judge.findings import DOUBLED, LOST, OVERSTEPPED, Finding, Findings
from tests.faults.judge.records import Fact, Records

_SETTLED = frozenset({"approval.granted", "approval.closed"})


def judge(records: Records) -> Findings:
    about: defaultdict[str, list[Fact]] = defaultdict(list)
    for fact in records.log:
        if (approval := fact.data.get("approval_id")) is not None:
            about[approval].append(fact)
    for facts in about.values():
        yield from _granted(facts)
    yield from _asked(records, about)
    yield from _allowed(records, about)
    yield from _locked(records)
    yield from _limited(records)


def _granted(facts: list[Fact]) -> Findings:
    """An approval is granted when as many people as were asked for have granted it, and not taken it back."""
    people: set[str] = set()
    wanted = 1
    for fact in facts:
        match fact.fact:
            case "approval.requested":
                wanted = fact.data["count"]
            case "approval.answered" if fact.data["answer"] == "granted":
                people.add(fact.data["by"])
            case "answer.withdrawn":
                people.discard(fact.data["by"])
            case "approval.granted" if len(people) < wanted:
                yield Finding(OVERSTEPPED, f"{fact} by {len(people)} of {wanted} people")


def _asked(records: Records, about: Mapping[str, list[Fact]]) -> Findings:
    """The same people are asked once by a policy about a plan, unless the question was closed."""
    asked: Counter[tuple[object, ...]] = Counter()
    for fact in records.of("approval.requested"):
        if not any(one.fact == "approval.closed" for one in about[fact.data["approval_id"]]):
            data = fact.data
            asked[data["request_id"], data["policy"], *data["approvers"], data.get("plan"), data.get("review")] += 1
    for (request, policy, *_), count in asked.items():
        if count > 1:
            yield Finding(DOUBLED, f"{policy} asked {count} times about the same of {request}")


def _allowed(records: Records, about: Mapping[str, list[Fact]]) -> Findings:
    """What is allowed is the newest plan, and what everybody who was asked has granted."""
    plans: dict[str, str] = {}
    questions: defaultdict[str, list[Fact]] = defaultdict(list)
    for fact in records.log:
        request = fact.data.get("request_id", "")
        match fact.fact:
            case "run.planned":
                plans[request] = fact.data["digest"]
            case "approval.requested" if not fact.data.get("review"):
                questions[request].append(fact)
            case "request.allowed" if not fact.data.get("glass_broken"):
                digest = fact.data.get("plan_digest")
                if digest != plans.get(request):
                    yield Finding(OVERSTEPPED, f"{fact} is for plan {digest}, and the newest is {plans.get(request)}")
                for asked in questions[request]:
                    approval = asked.data["approval_id"]
                    ends = {one.fact for one in about[approval] if one.position < fact.position}
                    if not ends & _SETTLED:
                        yield Finding(OVERSTEPPED, f"{fact} came while people were asked by {asked}")
                    if approval in (fact.data.get("approvals") or ()):
                        if asked.data.get("plan") != digest:
                            yield Finding(OVERSTEPPED, f"{fact} counts {asked}, which is about another plan")
                        if "approval.granted" not in ends:
                            yield Finding(OVERSTEPPED, f"{fact} counts {asked}, which nobody granted")


def _locked(records: Records) -> Findings:
    """Nothing that a lock is about is allowed between its place on the log and that of its end."""
    places = {fact.id: fact.position for fact in records.log}
    ended = {one.data["lock_id"]: one.position for one in _ends_of_locks(records)}
    locks = [one for one in records.of("lock.placed") if not one.data.get("exempt")]
    asked = {one.data["request_id"]: one for one in records.of("request.submitted")}
    for fact in records.of("request.allowed"):
        submitted = asked.get(fact.data["request_id"])
        if submitted is None or fact.data.get("glass_broken") or fact.data.get("overridden"):
            continue
        known = places.get(fact.cause or "", 0)
        said = {"resource": submitted.key, "action": submitted.data.get("action")}
        said |= zip(("project", "environment", "offering"), submitted.key.split("/"), strict=False)
        for lock in locks:
            holds = lock.position < known and fact.position < ended.get(lock.data["lock_id"], fact.position + 1)
            if holds and all(said.get(name) == value for name, value in lock.data["scope"].items()):
                yield Finding(OVERSTEPPED, f"{fact} passed {lock}")


def _ends_of_locks(records: Records) -> Iterator[Fact]:
    return (one for one in records.log if one.fact in ("lock.lifted", "lock.expired"))


def _limited(records: Records) -> Findings:
    """A project has no more than it may, by what is in the repository; and as much as that, if it asked for it."""
    limits = {one["offering"]: one["limit"] for one in records.told if one["told"] == "limit"}
    wanted = {one.key for one in records.of("request.submitted") if one.data.get("action") == "create"}
    have = _shares({file.rpartition("/")[0] for file in records.files})
    for share, asked in _shares(wanted).items():
        limit = limits.get(share[1])
        if limit is None:
            continue
        if have[share] > limit:
            yield Finding(OVERSTEPPED, f"{share[0]} has {have[share]} of {share[1]}, and may have {limit}")
        if have[share] < min(limit, asked):
            yield Finding(LOST, f"{share[0]} has {have[share]} of {share[1]}, asked for {asked} and may have {limit}")


def _shares(resources: set[str]) -> Counter[tuple[str, str]]:
    """How many resources there are of each project and offering."""
    return Counter((parts[0], parts[2]) for one in resources if len(parts := one.split("/")) == 4)
