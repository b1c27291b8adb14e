"""`make bench`: what the platform does on this machine with fsync always, and what bounds it."""

import argparse
import shlex
import signal
import sys
import tempfile
from pathlib import Path

from rich.console import Console

from tests.bench import console as terminal
from tests.bench import curve, embedded, lives, policies, requests, soak
from tests.bench.figures import Figures
from tests.bench.page import write
from tests.bench.platform import started

DOCS = Path("docs")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--database", choices=["sqlite", "postgresql"], default="sqlite", help="what the services use")
    parser.add_argument("--requests", type=int, default=4000, help="requests of each run with 64 clients")
    parser.add_argument("--repetitions", type=int, default=3, help="how often each run of the table is repeated")
    parser.add_argument("--seed", type=int, default=1, help="decides when requests arrive")
    parser.add_argument("--fill", type=int, metavar="N", help="instead of the table: the cost with up to N stored")
    parser.add_argument("--soak", type=int, metavar="N", help="instead of the table: memory over N requests")
    parser.add_argument("--policies", action="store_true", help="instead of the table: decisions and replays alone")
    parser.add_argument("--lives", action="store_true", help="instead of the table: runs by driver, and drift alone")
    parser.add_argument("--no-floors", action="store_true", help="measure the platform alone")
    parser.add_argument("--data", type=Path, help="directory for everything measured; default: a temporary one")
    parser.add_argument("--write", action="store_true", help="keep the figures in docs/ and draw the page anew")
    arguments = parser.parse_args()
    if arguments.fill and arguments.database != "sqlite":
        parser.error("--fill needs SQLite")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended"))  # so that what was started is ended too
    command = shlex.join(["python", "-m", "tests.bench", *(one for one in sys.argv[1:] if one != "--write")])
    figures = Figures.read(DOCS / "bench.json")
    with tempfile.TemporaryDirectory(prefix="entresol-bench-", dir=arguments.data) as directory:
        measure(arguments, Path(directory), command, figures, Console(width=120))
    if arguments.write:
        write(figures, DOCS)


def measure(arguments: argparse.Namespace, scratch: Path, command: str, figures: Figures, console: Console) -> None:
    """Measure what was asked for, show it, and put it in its place among the figures."""
    if arguments.soak:
        with started(scratch / "fleet", arguments.database) as platform:
            figures.soak = soak.measure(platform, scratch, arguments.soak, command)
        terminal.show_soak(console, figures.soak)
    if arguments.fill:
        with started(scratch / "filled", arguments.database) as platform:
            figures.curve = curve.measure(
                platform, scratch, arguments.fill, arguments.requests, arguments.seed, command
            )
        terminal.show_curve(console, figures.curve)
    if arguments.soak or arguments.fill:
        return
    if not arguments.lives:
        figures.policies = policies.section(scratch, arguments.repetitions, command)
        terminal.show_policies(console, figures.policies)
    if not arguments.policies:
        figures.lives = lives.section(scratch, arguments.repetitions, command)
        terminal.show_lives(console, figures.lives)
    if arguments.policies or arguments.lives:
        return
    scale = requests.Scale(repetitions=arguments.repetitions, many=arguments.requests)
    with started(scratch / "fleet", arguments.database) as platform:
        found = requests.section(platform, scratch, scale, arguments.seed, command)
    if not arguments.no_floors:
        found.floors = requests.floors(scratch, scale)
        ready, resident = embedded.start(scratch / "embedded")
        found.embedded = f"`entresol up`: ready in {ready:.2f} s, {resident:.0f} MiB resident with its bus."
    setattr(figures, arguments.database, found)
    terminal.show_requests(console, found)


if __name__ == "__main__":
    main()
