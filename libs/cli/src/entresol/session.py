"""What every command has: a terminal, a connection, and the options that choose them.

A command is a function whose first parameter is its Session; `command` turns it into one that typer can read,
adds the options that every command has, and ends it with the exit code of whatever Failure it raises.
"""

import functools
import inspect
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any, Concatenate, ParamSpec

import typer

from entresol.embedded.home import DEFAULT_PORT, home
from entresol.failures import Code, Failure
from entresol.terminal import Format, Terminal

if TYPE_CHECKING:
    from entresol.doors.client import Client

P = ParamSpec("P")

_PANEL = "Every command"
_OPTIONS: tuple[tuple[str, Any, Any], ...] = (
    (
        "output",
        Annotated[Format, typer.Option("--output", "-o", help="For people or for scripts.", rich_help_panel=_PANEL)],
        Format.TABLE,
    ),
    (
        "server",
        Annotated[
            str | None,
            typer.Option(
                envvar="ENTRESOL_SERVER",
                metavar="URL",
                help="Platform to talk to; else the one that `entresol up` runs.",
                rich_help_panel=_PANEL,
            ),
        ],
        None,
    ),
    (
        "token",
        Annotated[
            str | None,
            typer.Option(
                envvar="ENTRESOL_TOKEN",
                metavar="TOKEN",
                help="Bearer token; else the one in the data directory.",
                rich_help_panel=_PANEL,
                show_envvar=True,
            ),
        ],
        None,
    ),
)


class Session:
    """One run of one command."""

    def __init__(self, terminal: Terminal, server: str | None = None, token: str | None = None) -> None:
        self.terminal = terminal
        self._server = server
        self._token = token

    def close(self) -> None:
        """Close the connection if there is one; may be repeated."""
        if client := self.__dict__.pop("client", None):
            client.close()

    @functools.cached_property
    def client(self) -> "Client":
        """The connection; made when first wanted, for httpx takes longer to load than some commands take to run.

        The token of the data directory goes only to the platform that runs there, never to a server named otherwise.
        """
        from entresol.doors.client import Client

        here = home()
        running = here.advertised()
        local = running.url if running else f"http://127.0.0.1:{DEFAULT_PORT}"
        server = self._server or local
        token = self._token or (here.token() if server.rstrip("/") == local else None)
        return Client(server, token)


def command(run: Callable[Concatenate[Session, P], None]) -> Callable[..., None]:
    """The function for typer: without its session, with `--output`, `--server` and `--token`.

    Ends with the code of a Failure. Anything else that is raised is a fault of Entresol's: its user reads one line,
    and a traceback only if ENTRESOL_DEBUG is set.
    """

    @functools.wraps(run)
    def entry(*args: Any, **values: Any) -> None:
        terminal = Terminal(values.pop("output"))
        session = Session(terminal, values.pop("server"), values.pop("token"))
        try:
            run(session, *args, **values)
        except Failure as failure:
            terminal.fail(failure)
            raise typer.Exit(failure.code) from None
        except (typer.Exit, typer.Abort, typer.BadParameter, KeyboardInterrupt):
            raise
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            raise typer.Exit(Code.OK) from None
        except Exception as error:
            if os.environ.get("ENTRESOL_DEBUG"):
                raise
            text = f"something in Entresol itself went wrong ({type(error).__name__}: {error})"
            terminal.fail(Failure(text, Code.ENDED_BADLY, hints=("ENTRESOL_DEBUG=1 shows where.",)))
            raise typer.Exit(Code.ENDED_BADLY) from None
        finally:
            session.close()

    entry.__doc__ = _flowing(run.__doc__ or "")
    signature = inspect.signature(run, eval_str=True)
    own = list(signature.parameters.values())[1:]
    added = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
        for name, annotation, default in _OPTIONS
    ]
    entry.__signature__ = signature.replace(parameters=[*own, *added])  # type: ignore[attr-defined]
    return entry


def _flowing(text: str) -> str:
    """The text with each paragraph on one line, for typer breaks it where the source does; what is indented stays."""
    paragraphs = inspect.cleandoc(text).split("\n\n")
    return "\n\n".join(one if "\n " in f"\n{one}" else one.replace("\n", " ") for one in paragraphs)
