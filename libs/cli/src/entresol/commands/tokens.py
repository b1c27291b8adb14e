"""Who may speak to the platform: create, list and revoke bearer tokens."""

from typing import Annotated

import typer
from rich.text import Text

from entresol.doors.paths import segment
from entresol.session import Session
from entresol.terminal import clean, fields, moment, short, table


def create(
    session: Session,
    actor: Annotated[str, typer.Argument(help="Who it speaks for, such as user:ada or ci:github/shop/cart.")],
    role: Annotated[str, typer.Option(help="viewer, publisher, developer, platform or admin.")] = "developer",
    group: Annotated[list[str] | None, typer.Option(help="A group of the actor's; repeat for more.")] = None,
    project: Annotated[list[str] | None, typer.Option("--project", "-p", help="Reaches only these; else all.")] = None,
    expires_in: Annotated[str | None, typer.Option(metavar="90d", help="Ends by itself after this long.")] = None,
) -> None:
    """Make a token. It is shown this once: only its hash is kept.

    [bold]Examples[/bold]

      entresol token create user:ada --role developer --group sre --project shop

      entresol token create ci:github/shop/cart --role publisher --expires-in 90d -o json | jq -r .token
    """
    body = {"actor": actor, "role": role, "groups": group or [], "projects": project or ["*"]}
    issued = session.client.write("POST", "/v1/tokens", body | ({"expires_in": expires_in} if expires_in else {}))
    session.client.heard("/v1/tokens", lambda one: one["id"] == issued["id"])
    shown = fields(
        [
            ("token", issued["token"]),
            ("id", issued["id"]),
            ("actor", issued.get("actor")),
            ("role", issued.get("role")),
            ("projects", ", ".join(issued.get("projects") or [])),
            ("expires at", moment(issued.get("expires_at"))),
        ]
    )
    session.terminal.result(issued, shown, Text("  keep it: it is not shown again", style="dim"))


def revoke(session: Session, token_id: Annotated[str, typer.Argument(metavar="ID", help="The token's id.")]) -> None:
    """End a token at once.

    [bold]Example[/bold]   entresol token revoke 0193f2c4-81c5-7d3e-9a10-3a0c52b6a3de
    """
    answer = session.client.write("DELETE", f"/v1/tokens/{segment(token_id)}")
    session.terminal.result(answer or {"id": token_id}, Text(clean(f"revoked {token_id}")))


def list_(session: Session) -> None:
    """List the tokens; never their secrets, which nobody has.

    [bold]Example[/bold]   entresol token list
    """
    tokens = list(session.client.every("/v1/tokens"))
    rows = [
        (
            one.get("id") if len(str(one.get("id"))) != 36 else short(one.get("id")),
            one.get("actor"),
            one.get("role"),
            ", ".join(one.get("groups") or []),
            ", ".join(one.get("projects") or []),
            moment(one.get("expires_at")),
            "revoked" if one.get("revoked") or one.get("revoked_at") else "",
        )
        for one in tokens
    ]
    session.terminal.result(tokens, table("id", "actor", "role", "groups", "projects", "expires", "", rows=rows))
