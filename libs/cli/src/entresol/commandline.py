"""The command line: which commands there are, in which panel of the help."""

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated

import typer

from entresol.commands import (
    approvals,
    catalog,
    dead_letters,
    drift,
    drivers,
    events,
    locks,
    manifests,
    offerings,
    platform,
    policy,
    recovery,
    removing,
    requests,
    resources,
    reviews,
    status,
    tokens,
    waivers,
)
from entresol.failures import CODES_HELP
from entresol.session import command

_SETTINGS = {"help_option_names": ["-h", "--help"]}

_COMMANDS: Mapping[str, Sequence[Callable[..., None]]] = {
    "The platform": (platform.up, platform.down, platform.demo, manifests.apply, removing.remove, manifests.validate),
    "Asking": (
        requests.request,
        requests.cancel,
        requests.override,
        requests.resume,
    ),
    "What there is": (
        resources.extend,
        resources.rollback,
        resources.reconcile,
        resources.pause,
        resources.unpause,
        resources.adopt,
        resources.delete,
    ),
    "Answering": (approvals.approve, approvals.reject, approvals.withdraw, approvals.delegate),
    "Seeing": (status.status, status.explain, drift.drift, events.events),
    "Operating": (recovery.rebuild, recovery.refill),
}

_GROUPS: Mapping[str, tuple[str, str, Mapping[str, Callable[..., None]]]] = {
    "catalog": (
        "Seeing",
        "Things and how they relate: get, import, export.",
        {"get": catalog.get, "import": catalog.import_, "export": catalog.export},
    ),
    "offering": (
        "Asking",
        "What can be asked for, in its versions: list, show, explain, impact, promote, deprecate, defect.",
        {
            "list": offerings.list_,
            "show": offerings.show,
            "explain": offerings.explain,
            "impact": offerings.impact,
            "promote": offerings.promote,
            "deprecate": offerings.deprecate,
            "defect": offerings.defect,
        },
    ),
    "driver": (
        "Asking",
        "What steps of offerings are done by, and what each takes and gives: list, show.",
        {"list": drivers.list_, "show": drivers.show},
    ),
    "review": (
        "Answering",
        "Broken glasses that somebody has to sign off: list, sign, object.",
        {"list": reviews.list_, "sign": reviews.sign, "object": reviews.object_},
    ),
    "policy": (
        "Seeing",
        "Rules as code: try them on cases and on the past, and see why a request was decided as it was.",
        {"test": policy.try_out, "replay": policy.replay, "explain": policy.explain},
    ),
    "lock": (
        "Operating",
        "Keep things as they are for a while: add, list, lift.",
        {"add": locks.add, "list": locks.list_, "lift": locks.lift},
    ),
    "waiver": (
        "Operating",
        "Let a rule not count for a while: grant, list, revoke.",
        {"grant": waivers.grant, "list": waivers.list_, "revoke": waivers.revoke},
    ),
    "dead-letters": (
        "Operating",
        "Messages that could not be handled: list, show, redrive, discard.",
        {
            "list": dead_letters.list_,
            "show": dead_letters.show,
            "redrive": dead_letters.redrive,
            "discard": dead_letters.discard,
        },
    ),
    "parked": (
        "Operating",
        "Partition keys that stand still behind a message that fails: list, show, retry, discard.",
        {
            "list": dead_letters.parked,
            "show": dead_letters.show,
            "retry": dead_letters.retry,
            "discard": dead_letters.drop,
        },
    ),
    "token": (
        "Operating",
        "Who may speak to the platform: create, list, revoke.",
        {"create": tokens.create, "list": tokens.list_, "revoke": tokens.revoke},
    ),
}


_GUIDES: Mapping[str, Sequence[str]] = {
    "offerings": ("apply", "validate", "request", "adopt", "rollback", "reconcile", "delete", "drift", "offering"),
    "drivers": ("driver",),
    "policies": ("approve", "reject", "withdraw", "delegate", "override", "policy", "lock", "waiver", "review"),
    "waiting": ("status", "explain", "resume", "cancel", "dead-letters", "parked"),
    "subscribing": ("events",),
    "recovery": ("rebuild", "refill"),
}
"""Where docs/ goes on with what a command or a group is about."""


def _epilog(name: str) -> str:
    guide = next((guide for guide, names in _GUIDES.items() if name in names), None)
    return f"[bold]Read on[/bold]  docs/{guide}.md\n\n{CODES_HELP}" if guide else CODES_HELP


def build() -> typer.Typer:
    """The `entresol` command with all of its commands."""
    app = typer.Typer(
        name="entresol",
        help="The floor between applications and infrastructure: ask for things, and see what became of them.",
        epilog=CODES_HELP,
        no_args_is_help=True,
        rich_markup_mode="rich",
        pretty_exceptions_enable=False,
        context_settings=_SETTINGS,
    )
    app.callback()(_options)
    for panel, functions in _COMMANDS.items():
        for function in functions:
            app.command(rich_help_panel=panel, epilog=_epilog(function.__name__))(command(function))
    for name, (panel, text, members) in _GROUPS.items():
        group = typer.Typer(
            help=text, epilog=_epilog(name), no_args_is_help=True, rich_markup_mode="rich", context_settings=_SETTINGS
        )
        for member, function in members.items():
            group.command(member, epilog=_epilog(name))(command(function))
        app.add_typer(group, name=name, rich_help_panel=panel)
    return app


def _options(
    version: Annotated[
        bool,
        typer.Option("--version", help="Show the version and end.", callback=lambda on: _version(on), is_eager=True),
    ] = False,
) -> None:
    """Options of the command itself; the others belong to each of its commands."""


def _version(on: bool) -> None:
    if on:
        from importlib.metadata import version

        print(f"entresol {version('entresol')}")
        raise typer.Exit
