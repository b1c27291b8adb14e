"""How verdicts, quotas and holds read in a table. Whatever is shown here was decided elsewhere."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from entresol.rows import Rows
from entresol.telling.examinations import Account, waits_for
from entresol.telling.facts import hold
from entresol.telling.plans import brief
from entresol.terminal import cell, clean, moment, state, table

Document = Mapping[str, Any]

WHEN = -1
"""The place of a policy's own condition among its rules, as verdicts have it."""
_SAYS = {"deny": "denies", "approve": "asks", "error": "error"}


def verdicts(found: Iterable[Document]) -> Rows:
    """A row for each rule: what it says, and why."""
    return table("policy", "rule", "says", "because", rows=[_verdict(one) for one in found])


def says(verdict: Document) -> Text:
    """`denies`, `asks`, `error` or `passes`; and whether that counts."""
    effect = str(verdict.get("effect"))
    if not verdict.get("matched") and effect != "error":
        return Text("passes", style="dim")
    text = _SAYS.get(effect, effect)
    if verdict.get("waived_by"):
        return cell(f"{text}, waived", "dim")
    if verdict.get("mode") == "audit":
        return cell(f"{text}, audit only", "dim")
    return cell(text, "yellow" if effect == "approve" else "red")


def quotas(uses: Iterable[Document]) -> Rows:
    """A row for each quota that counts the request."""
    rows = [(_share(one), f"{one['used']:g} + {one['asked']:g} of {one['limit']:g}", _left(one)) for one in uses]
    return table("quota", "used + asked", "says", rows=rows)


def draw(account: Account) -> Iterator[RenderableType]:
    """Everything in the order in which it happened, and what it waits for now."""
    told = Table(box=None, show_header=False, pad_edge=False)
    told.add_column(style="dim", no_wrap=True)
    told.add_column(overflow="fold")
    for entry in account.entries:
        told.add_row(moment(entry["at"]), Group(*_entry(account, entry)))
    yield told
    yield ""
    yield Text(clean(waits_for(account)), style="bold")


def _entry(account: Account, entry: Document) -> Iterator[RenderableType]:
    match entry["kind"]:
        case "examination":
            yield from _examination(account, entry)
        case "said":
            yield _said(entry)
        case "planned":
            yield Text.assemble("planned  ", clean(entry["says"]))
        case "submitted":
            reason = f": {entry['reason']}" if entry.get("reason") else ""
            yield Text.assemble(("asked  ", "bold"), clean(entry["says"] + reason))
        case _:
            name = str(entry["fact"]).partition(".")[2]
            yield Text.assemble(state(name), "  ", clean(entry["says"]))


def _examination(account: Account, entry: Document) -> Iterator[RenderableType]:
    plan = f" with plan {brief(entry['plan_digest'])}" if entry.get("plan_digest") else ""
    head = Text.assemble((f"examined{clean(plan)}: ", "bold"), state(entry["outcome"]))
    if entry.get("reason"):
        head.append(f", {clean(entry['reason'])}")
    yield head
    yield from (_inner(Text(clean(one))) for one in entry.get("because", ()))
    if entry.get("verdicts"):
        yield verdicts(entry["verdicts"])
    if entry.get("unconcerned"):
        yield Text(clean(f"not concerned: {', '.join(entry['unconcerned'])}"), style="dim")
    if entry.get("quotas"):
        yield quotas(entry["quotas"])
    yield from (_inner(Text(clean(f"held by {hold(one, _clock)}"))) for one in entry.get("holds", ()))
    yield from (_inner(Text(clean(f"in spite of {hold(one, _clock)}"))) for one in entry.get("overridden", ()))
    yield from (_inner(_question(account.approvals[key])) for key in entry.get("approvals", ()))


def _inner(text: Text) -> Padding:
    return Padding(text, (0, 0, 0, 2))


def _question(asked: Document) -> Text:
    several = f"{asked['count']} of " if asked["count"] > 1 and not asked["all"] else "each of " if asked["all"] else ""
    what = "review by" if asked["review"] else f"policy {asked['policy']} asks"
    because = f": {asked['because']}" if asked.get("because") and not asked["review"] else ""
    line = f"{what} {several}{', '.join(asked['approvers'])} until {_clock(asked['expires_at'])}{because}  "
    return Text.assemble(clean(line), state(asked["state"]), ("  " + clean(asked["id"]), "dim"))


def _said(entry: Document) -> Text:
    name = {"hold.overridden": "override", "approval.delegated": "delegated", "answer.withdrawn": "withdrawn"}
    line = Text.assemble((name.get(entry["fact"], "answered") + "  ", "bold"), clean(entry["says"] or entry["by"]))
    if entry["counts"]:
        return line
    if entry["counts"] is None:
        return line.append("  policy has not said yet whether it counts", style="yellow")
    return line.append("  does not count", style="red").append(clean(f": {entry['refused']}"))


def _clock(time: str) -> str:
    return moment(time).plain


def _verdict(verdict: Document) -> tuple[object, ...]:
    rule = verdict.get("rule")
    because = str(verdict.get("because") or "")
    if verdict.get("missing") and str(verdict["missing"]) not in because:
        because += f" ({verdict['missing']} is not there)"
    if verdict.get("waived_by"):
        because += f" (waived by {verdict['waived_by']})"
    shown = "when" if rule == WHEN else rule
    told = says(verdict)
    return (verdict.get("policy"), shown, told, cell(because, "dim" if told.style == "dim" else ""))


def _share(use: Document) -> str:
    return f"{use['quota']} for {use['per']}" if use.get("per") else str(use["quota"])


def _left(use: Document) -> Text:
    if use.get("waived_by"):
        return cell(f"waived by {use['waived_by']}", "dim")
    if use.get("exceeded"):
        return Text("too much", style="red")
    return Text("enough", style="dim")
