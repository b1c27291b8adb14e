"""How verdicts, quotas and holds read in a table. Whatever is shown here was decided elsewhere."""

from collections.abc import Iterable, Mapping
from typing import Any

from rich.table import Table
from rich.text import Text

from entresol.terminal import cell, table

Document = Mapping[str, Any]

WHEN = -1
"""The place of a policy's own condition among its rules, as verdicts have it."""
_SAYS = {"deny": "denies", "approve": "asks", "error": "error"}


def verdicts(found: Iterable[Document]) -> Table:
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


def quotas(uses: Iterable[Document]) -> Table:
    """A row for each quota that counts the request."""
    rows = [(_share(one), f"{one['used']:g} + {one['asked']:g} of {one['limit']:g}", _left(one)) for one in uses]
    return table("quota", "used + asked", "says", rows=rows)


def _verdict(verdict: Document) -> tuple[object, ...]:
    rule = verdict.get("rule")
    because = str(verdict.get("because") or "")
    if verdict.get("missing"):
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
