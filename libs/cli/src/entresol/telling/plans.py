"""How a plan reads: its figures in a line, or its outline below what is told of it.

A plan comes as the catalog shows that of a request (with steps), or as people are asked to approve it (an outline).
"""

from collections.abc import Mapping
from typing import Any

from rich.text import Text

from entresol.terminal import clean

Document = Mapping[str, Any]

MOST_LINES = 20
"""How many of the things that would change are listed; the others are counted."""


def brief(digest: object) -> str:
    """As much of a digest as tells it from others: `sha256:9f86d081884c` of a SHA-256.

    >>> brief("sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08")
    'sha256:9f86d081884c'
    """
    kind, colon, digits = str(digest).partition(":")
    return f"{kind}:{digits[:12]}" if colon else kind[:12]


def figures(plan: Document) -> str:
    """`1 to add, 0 to change, 2 to destroy, 40 a month`, and what nobody can know yet."""
    text = ", ".join(f"{plan.get(key) or 0} to {key.removesuffix('s')}" for key in ("adds", "changes", "destroys"))
    text += f", {plan['cost']:g} a month" if isinstance(plan.get("cost"), int | float) else ""
    unknown = plan.get("unknown") or []
    return text + (f", unknown before others are applied: {', '.join(map(str, unknown))}" if unknown else "")


def signs(plan: Any) -> str:
    """The figures as narrow as they get: `+1 ~0 -2`, with `?` if some of it can't be known yet."""
    if not isinstance(plan, Mapping) or not plan:
        return ""
    unknown = " ?" if plan.get("unknown") else ""
    return f"+{plan.get('adds') or 0} ~{plan.get('changes') or 0} -{plan.get('destroys') or 0}{unknown}"


def outline(plan: Any, label: str = "plan") -> list[Text]:
    """Figures, digest, and a line for each thing that would change; nothing if there is no plan."""
    if not isinstance(plan, Mapping) or not plan:
        return []
    digest = f"  ({brief(plan['digest'])})" if plan.get("digest") else ""
    lines = [f"{step.get('name')}: {line}" for step in plan.get("steps") or [] for line in step.get("summary") or []]
    lines = lines or [str(line) for line in plan.get("summary") or []]
    shown = [Text(clean(f"    {line}")) for line in lines[:MOST_LINES]]
    if len(lines) > MOST_LINES:
        shown.append(Text(f"    and {len(lines) - MOST_LINES} more", style="dim"))
    return [Text.assemble(f"  {label}: {clean(figures(plan))}", (clean(digest), "dim")), *shown]
