"""The HTML of the pages behind signed links: no script, nothing from elsewhere, readable on a telephone.

What is shown was written by others. All of it goes through `_text`, which escapes it and takes out what would move or
hide its surroundings; nothing else may put a value into a page.
"""

import base64
import hashlib
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from functools import cache
from html import escape
from re import compile as pattern
from typing import Any, Final

from entresol_eventing.links import Link

from entresol_intake.domain.asks import MAX_REASON
from entresol_intake.store import Approval, LinkAnswer

ENDS: Final = {
    "granted": "It is decided: granted.",
    "rejected": "It is decided: rejected.",
    "expired": "Nobody answered in time, so it has ended.",
    "closed": "The question is not open any more: the rules have changed, there is a newer plan, or the request ended.",
}
STYLE: Final = """
:root{color-scheme:light dark;--ink:#1c2230;--soft:#5b6475;--paper:#fff;--ground:#f3f4f7;--line:#dfe2e9;
--add:#176f3a;--change:#8a5a00;--destroy:#b3261e;--main:#2b4fc7;--on-main:#fff}
@media(prefers-color-scheme:dark){:root{--ink:#e8eaf0;--soft:#a2a9b8;--paper:#1b1f29;--ground:#12151c;--line:#333947;
--add:#63cf8d;--change:#e5b454;--destroy:#ff8a80;--main:#8fa8ff;--on-main:#10162b}}
*{box-sizing:border-box}
body{margin:0;background:var(--ground);color:var(--ink);font:16px/1.5 system-ui,sans-serif;overflow-wrap:anywhere}
main{max-width:42rem;margin:2rem auto;padding:1.75rem;background:var(--paper);border:1px solid var(--line);
border-radius:.75rem}
.brand{margin:0 0 1rem;font-size:.8rem;letter-spacing:.08em;text-transform:uppercase;color:var(--soft)}
h1{margin:0 0 .25rem;font-size:1.4rem;line-height:1.25}
h2{margin:1.5rem 0 .5rem;font-size:1rem}
.lead{margin:0 0 1.25rem;font-size:1.05rem}
code,.lines{font-family:ui-monospace,monospace;font-size:.9em}
.who,.state{margin:0 0 1.25rem;padding:.75rem 1rem;border-left:.25rem solid var(--main);background:var(--ground);
border-radius:.25rem}
.state.not{border-color:var(--destroy)}
dl{display:grid;grid-template-columns:minmax(7rem,auto) 1fr;gap:.4rem 1rem;margin:0}
dt{color:var(--soft)}dd{margin:0;white-space:pre-line}
.figures{display:flex;flex-wrap:wrap;gap:.5rem 1.5rem;margin:0;padding:0;list-style:none}
.figures b{font-size:1.25rem}.add b{color:var(--add)}.change b{color:var(--change)}.destroy b{color:var(--destroy)}
.lines{max-height:20rem;margin:.75rem 0 0;padding:.75rem 1rem .75rem 1.75rem;overflow:auto;background:var(--ground);
border:1px solid var(--line);border-radius:.5rem}
.small{font-size:.85rem;color:var(--soft)}
form{margin-top:1.5rem;padding-top:1.25rem;border-top:1px solid var(--line)}
label{display:block;margin-bottom:.35rem}
textarea{width:100%;min-height:5rem;padding:.6rem;font:inherit;color:inherit;background:var(--ground);
border:1px solid var(--line);border-radius:.5rem;resize:vertical}
.buttons{display:flex;flex-wrap:wrap;gap:.75rem;margin-top:1rem}
button{flex:1 1 8rem;padding:.7rem 1rem;font:inherit;font-weight:600;border-radius:.5rem;cursor:pointer;
border:1px solid var(--main);background:var(--main);color:var(--on-main)}
button.no{background:none;border-color:var(--destroy);color:var(--destroy)}
:focus-visible{outline:3px solid var(--main);outline-offset:2px}
@media(max-width:34rem){main{margin:0;border:0;border-radius:0;padding:1.25rem}dl{grid-template-columns:1fr;gap:0}
dd{margin-bottom:.6rem}}
"""

_UNSEEN: Final = pattern("[\0-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""Control characters but tab and newline, and those that turn the direction of what follows."""


@cache
def headers() -> Mapping[str, str]:
    """What makes browsers keep the page to itself: the address holds the right to answer."""
    digest = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; style-src 'sha256-{digest}'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    )
    return {
        "Content-Security-Policy": policy,
        "Cache-Control": "no-store",
        "Referrer-Policy": "no-referrer",
        "X-Frame-Options": "DENY",
        "X-Content-Type-Options": "nosniff",
        "X-Robots-Tag": "noindex",
    }


def notice(title: str, detail: str) -> str:
    """A page that says one thing."""
    return _whole(title, f"<h1>{_text(title)}</h1><p>{_text(detail)}</p>")


def nowhere() -> str:
    return notice(
        "This link leads nowhere",
        "It is not complete, or not one of ours. If it was sent just now, try again in a minute.",
    )


def question(found: Approval, link: Link, before: LinkAnswer | None) -> str:
    """What is asked, of whom, and how it stands; with a form if it can still be answered by this link."""
    about = found.document
    title = "Was this right?" if about.get("review") else "May this be done?"
    parts = [
        f"<h1>{_text(title)}</h1>",
        f'<p class="lead"><b>{_text(about.get("action", "act on"))}</b> <code>{_text(found.resource_id)}</code></p>',
        _state(found, before),
        f'<p class="who">You answer as <b>{_text(link.actor)}</b>{_groups(link)}.</p>',
        _facts(about),
        _plan(about.get("plan")),
    ]
    if found.ended is None and (before is None or before.refused is not None):
        parts.append(_form(review=bool(about.get("review"))))
    until = f"This link is yours alone and ends on {_time(link.expires_at)}: don't pass it on."
    parts.append(f'<p class="small">{_text(until)}</p>')
    return _whole(title, "".join(parts))


def _state(found: Approval, before: LinkAnswer | None) -> str:
    said = []
    if before is not None and before.refused is not None:
        said.append(f'<p class="state not">Your answer did not count: {_text(before.refused)}</p>')
    elif before is not None:
        text = f"You have {before.answer} it on {_time(before.answered_at)}. The link is used up by that."
        said.append(f'<p class="state" role="status">{_text(text)}</p>')
    if found.ended is not None:
        said.append(f'<p class="state">{_text(ENDS[found.ended])}</p>')
    return "".join(said)


def _groups(link: Link) -> str:
    return f" of {_text(', '.join(link.groups))}" if link.groups else ""


def _facts(about: Mapping[str, Any]) -> str:
    needed = "every one of " if about.get("all") else f"{about.get('count', 1)} of "
    due = "due" if about.get("review") else "until"
    rows = [
        ("offering", about.get("offering")),
        ("asked by", about.get("requested_by")),
        ("their reason", about.get("reason")),
        ("you are asked because", about.get("because")),
        ("policy", about.get("policy")),
        ("needed", needed + ", ".join(about["approvers"]) if about.get("approvers") else None),
        (due, _time(datetime.fromisoformat(about["expires_at"])) if about.get("expires_at") else None),
    ]
    return f"<dl>{''.join(f'<dt>{_text(name)}</dt><dd>{_text(value)}</dd>' for name, value in rows if value)}</dl>"


def _plan(plan: Mapping[str, Any] | None) -> str:
    if plan is None:
        return ""
    figures = "".join(
        f'<li class="{kind}"><b>{_text(plan[f"{kind}s"])}</b> to {_text(kind)}</li>'
        for kind in ("add", "change", "destroy")
    )
    if (cost := plan.get("cost")) is not None:
        figures += f"<li><b>{_text(f'{cost:,.2f}')}</b> a month</li>"
    parts = [f'<h2>The plan</h2><ul class="figures">{figures}</ul>']
    if lines := plan.get("summary"):
        # A region of its own that scrolls, so that the buttons stay near; focusable, so that keys can scroll it.
        parts.append(f'<ul class="lines" tabindex="0" aria-label="What would change">{_items(lines)}</ul>')
    if unknown := plan.get("unknown"):
        parts.append(f'<p class="small">Known only once others are applied: {_text(", ".join(unknown))}</p>')
    parts.append(f'<p class="small">Your answer holds for this plan only: <code>{_text(plan["digest"])}</code></p>')
    return "".join(parts)


def _items(lines: Iterable[str]) -> str:
    return "".join(f"<li>{_text(line)}</li>" for line in lines)


def _form(*, review: bool) -> str:
    yes, no = ("Sign off", "Object") if review else ("Grant", "Reject")
    return (
        '<form method="post" autocomplete="off"><label for="reason">Your reason <span class="small">(if you like)'
        f'</span></label><textarea id="reason" name="reason" maxlength="{MAX_REASON}"></textarea><div class="buttons">'
        f'<button name="answer" value="granted">{yes}</button>'
        f'<button name="answer" value="rejected" class="no">{no}</button></div></form>'
    )


def _time(at: datetime) -> str:
    utc = at.astimezone(UTC)
    return f"{utc.day} {utc:%B %Y, %H:%M} UTC"


def _text(value: object) -> str:
    return f"<bdi>{escape(_UNSEEN.sub('�', str(value)))}</bdi>"


def _whole(title: str, body: str) -> str:
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)} · Entresol</title><style>{STYLE}</style></head>"
        f'<body><main><p class="brand">Entresol</p>{body}</main></body></html>'
    )
