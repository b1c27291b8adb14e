"""Try policies out and understand them: test, replay, explain."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import RenderableType
from rich.padding import Padding
from rich.text import Text

from entresol.failures import Code, Failure
from entresol.session import Session
from entresol.telling.rulings import verdicts
from entresol.terminal import clean, span, table

if TYPE_CHECKING:
    from entresol_policy.domain.judging import Policy
    from entresol_policy.trying.running import Report, Result

_INNER = (0, 0, 0, 4)


def try_out(
    session: Session,
    paths: Annotated[
        list[Path],
        typer.Argument(metavar="PATH…", help="Directories, or *.test.yaml files.", show_default=False),
    ],
    junit: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Also write the results as JUnit XML, for CI.")
    ] = None,
) -> None:
    r"""Hold policies, windows and quotas against cases, without a platform.

    The service's own code decides. Cases lie in files [bold]*.test.yaml[/bold] beside the
    manifests. Exit code 1 if one does not end as expected.

    [bold]A file[/bold]

      policies: \[production.yaml]     # else all that lie beside it
      given:
        request: {offering: database, project: shop, name: orders}
      cases:
        - name: production asks the platform team
          given: {request: {environment: prod}}     # on top, key by key
          expect: {outcome: approve, approvers: \["group:platform"]}

    [bold]given[/bold]  now (else noon of 2025-01-01, UTC), actor, request, plan,
    catalog, resources (what quotas count), locks, waivers, answers

    [bold]expect[/bold]

      outcome    allow, deny, plan, approve, reject, hold or break-glass
      because    texts, each of which is in some reason
      approvers  exactly who is asked
      holds      windows by name, and `lock`
      policies   by name matched, passed, error, waived, unplanned or unconcerned

    [bold]Examples[/bold]

      entresol policy test platform/policies

      entresol policy test . --junit results.xml
    """
    from entresol_policy.trying.cases import find
    from entresol_policy.trying.running import never_matched, run

    if missing := [path for path in paths if not path.exists()]:
        raise Failure(f"{missing[0]}: no such file or directory", Code.INVALID)
    files = find(paths)
    if not files:
        hint = "Cases lie in files *.test.yaml beside the manifests; `entresol policy test --help` shows their form."
        raise Failure(f"no cases in {', '.join(map(str, paths))}", Code.INVALID, hints=(hint,))
    reports = list(run(files))
    idle = never_matched(reports)
    if junit is not None:
        from entresol.telling.junit import write

        write(junit, reports)
    session.terminal.result(_document(reports, idle), *_drawn(reports))
    for path, name in idle:
        session.terminal.warn(
            Text.assemble(("warning: ", "yellow"), clean(f"{path}: policy {name} never matched in any case"))
        )
    if any(report.faults for report in reports):
        raise typer.Exit(Code.INVALID)
    if any(not one.passed for report in reports for one in report.results):
        raise typer.Exit(Code.ENDED_BADLY)


def replay(
    session: Session,
    files: Annotated[
        list[Path],
        typer.Option("--file", "-f", metavar="PATH", help="Drafts of policies; repeat for more.", show_default=False),
    ],
    since: Annotated[str, typer.Option(metavar="30d", help="How far to look back.")] = "30d",
    project: Annotated[str | None, typer.Option("--project", "-p", help="Only this project's requests.")] = None,
    limit: Annotated[int, typer.Option(min=0, help="How many of the latest changes to list.")] = 20,
) -> None:
    """Say which past decisions would have been others with a draft, and change nothing.

    The draft takes the place of the policy of its name, or comes in addition. It is judged at
    the time of each decision, with the plan and the catalog of then. What other policies said
    stays as it was, and so do quotas, locks and broken glass.

    [bold]Examples[/bold]

      entresol policy replay -f policies/production.yaml

      entresol policy replay --since 7d -f draft.yaml --project shop -o json | jq .changed
    """
    from entresol.telling.replays import Course, drawn

    drafts = _drafts(files)
    course = Course(drafts, _ago(since))
    for remark in course.run(session.client, project, keep=limit):
        session.terminal.warn(Text(remark, style="dim"))
    session.terminal.result(course.document(), *drawn(course))


def explain(
    session: Session,
    what: Annotated[
        str, typer.Argument(metavar="REQUEST", help="Its id, the beginning of it, or a resource.", show_default=False)
    ],
) -> None:
    """Show why a request is allowed or not: what was examined, who was asked, who answered.

    Each examination has every rule with what it says and why, quotas with what was used, asked
    and there is, what holds the request, and whom it asks about which plan. Answers that do not
    count say why. The last line is what the request waits for now, and who can move it.

    [bold]Examples[/bold]

      entresol policy explain 0193f2c4-81

      entresol policy explain shop/prod/database/orders    (the latest request for it)
    """
    from entresol.doors.lookup import request_id
    from entresol.telling.examinations import account
    from entresol.telling.rulings import draw

    item = session.client.request(request_id(session.client, what))
    told = account(str(item["id"]), session.client.chain(str(item["id"])))
    session.terminal.result(told.document(), *draw(told))


def _drafts(files: Sequence[Path]) -> list["Policy"]:
    from entresol_manifests.digest import digest
    from entresol_policy.rules import read_policy

    from entresol.commands.manifests import check

    manifests, faults = check(files)
    if faults:
        raise Failure("the drafts can't be used", Code.INVALID, hints=faults)
    for one in manifests:
        if (kind := one.document["kind"]) != "Policy":
            name = one.document["metadata"]["name"]
            hint = "Windows and quotas are about the time of a request and what there is then: try them on cases."
            raise Failure(
                f"{one.origin}: only policies can be replayed, and not {kind} {name}", Code.INVALID, hints=(hint,)
            )
    drafts = {one.document["metadata"]["name"]: one.document for one in manifests}
    return [read_policy(name, digest(document), document) for name, document in drafts.items()]


def _ago(since: str) -> datetime:
    from entresol_manifests.durations import seconds

    try:
        return datetime.now(UTC) - timedelta(seconds=seconds(since))
    except ValueError as error:
        raise Failure(f"--since: {error}", Code.INVALID) from None


def _document(reports: Sequence["Report"], idle: Sequence[tuple[Path, str]]) -> dict[str, Any]:
    results = [one for report in reports for one in report.results]
    return {
        "cases": len(results),
        "failed": sum(not one.passed for one in results),
        "seconds": round(sum(one.seconds for one in results), 6),
        "files": [
            {"file": str(report.path), "faults": list(report.faults), "cases": [_case(one) for one in report.results]}
            for report in reports
        ],
        "never_matched": [{"file": str(path), "policy": name} for path, name in idle],
    }


def _case(result: "Result") -> dict[str, Any]:
    found = result.found
    return {
        "name": result.case.name,
        "line": result.case.line,
        "passed": result.passed,
        "seconds": round(result.seconds, 6),
        "differences": [asdict(one) for one in result.differences],
        "outcome": found.outcome,
        "because": found.reasons,
        "refused": found.refused,
        "approvers": list(found.approvers),
        "holds": list(found.holds),
        "policies": found.policies,
        "verdicts": [asdict(one) for one in found.verdicts],
    }


def _drawn(reports: Sequence["Report"]) -> Iterator[RenderableType]:
    for report in reports:
        failed = [one for one in report.results if not one.passed]
        count = len(report.results)
        if report.faults:
            yield Text.assemble(("✗ ", "red"), clean(report.path), ("  can't be used", "red"))
            yield from (Padding(Text(clean(fault)), _INNER) for fault in report.faults)
            continue
        took = span(1000 * sum(one.seconds for one in report.results))
        said = f"{len(failed)} of {_cases(count)} failed" if failed else _cases(count)
        sign = ("✗ ", "red") if failed else ("✓ ", "green")
        yield Text.assemble(sign, clean(report.path), f"  {said}", (f"  {took}", "dim"))
        for one in failed:
            yield from _failed(report, one)
    results = [one for report in reports for one in report.results]
    bad = sum(not one.passed for one in results)
    broken = sum(bool(report.faults) for report in reports)
    summary = f"{_cases(len(results))}, {bad} failed" + (
        f", {broken} file{'s' if broken != 1 else ''} can't be used" if broken else ""
    )
    yield Text(summary, style="red" if bad or broken else "green")


def _failed(report: "Report", result: "Result") -> Iterator[RenderableType]:
    place = f"{report.path}:{result.case.line}"
    yield Text.assemble(("  ✗ ", "red"), (clean(result.case.name), "bold"), (f"  {clean(place)}", "dim"))
    rows = [(one.what, one.expected, one.found) for one in result.differences]
    yield Padding(table("", "expected", "found", rows=rows), _INNER)
    found = result.found
    reasons = "; ".join([*found.reasons, *found.refused])
    yield Padding(Text(clean(f"outcome {found.outcome}" + (f": {reasons}" if reasons else ""))), _INNER)
    if found.verdicts:
        yield Padding(verdicts([asdict(one) for one in found.verdicts]), _INNER)
    if away := [name for name, standing in found.policies.items() if standing == "unconcerned"]:
        yield Padding(Text(clean(f"not concerned: {', '.join(away)}"), style="dim"), _INNER)


def _cases(count: int) -> str:
    return f"{count} case{'s' if count != 1 else ''}"
