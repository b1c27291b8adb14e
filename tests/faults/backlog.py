"""Many events wait, in the outbox while the bus is away, and on the log while a reader is: memory stays flat."""

import asyncio
import signal
import time
from contextlib import ExitStack
from pathlib import Path

from entresol_eventing.nats_server import NatsServer
from entresol_eventing.testing import eventually, nats_server

from tests.faults.proxy import Proxy
from tests.faults.tally import TallyProcess, Teller, judge, log_kept, settings
from tests.faults.trials import Evidence, Proof, Trial
from tests.fleet import resident_mib

GROWTH_MIB = 50.0
WAITED_SECONDS = 1800.0
AT_ONCE = 1000


def work_off_backlogs(trial: Trial) -> Evidence:
    """Fill an outbox without a bus; then let its service publish it all, and a frozen reader wake and read it all."""
    with ExitStack() as stack:
        stack.enter_context(log_kept(trial))
        bus = stack.enter_context(nats_server(trial.scratch / "nats"))
        proxy = stack.enter_context(Proxy(bus.port))
        proxy.refuse()
        outgoing = settings(trial, "outgoing", f"nats://127.0.0.1:{proxy.port}")
        publishing = TallyProcess(outgoing, "intake")
        reading = TallyProcess(settings(trial, "incoming", bus.url), "policy")
        for process in (publishing, reading):
            stack.callback(process.stop)
        return asyncio.run(_work_off(trial, bus, proxy, publishing, reading))


async def _work_off(
    trial: Trial, bus: NatsServer, proxy: Proxy, publishing: TallyProcess, reading: TallyProcess
) -> Evidence:
    teller, events = Teller(padding="x" * 300), trial.count(5_000, 20_000, 100_000)
    filling = teller.service(publishing.settings)
    await filling.start()
    for _ in range(events // AT_ONCE):
        await teller.tell(filling, AT_ONCE)
    await filling.stop()
    reading.start()
    publishing.start()
    await eventually(reading.is_ready, seconds=WAITED_SECONDS)
    await eventually(publishing.is_live, seconds=WAITED_SECONDS)
    reading.signal(signal.SIGSTOP)

    async def works_off(process: TallyProcess) -> None:
        await eventually(lambda: process.handled_count() >= events, seconds=WAITED_SECONDS)

    growth, seconds = {}, {}
    for what, process in (("publishing", publishing), ("reading", reading)):
        before = resident_mib(process.pid)
        _forget_peak(process.pid)
        began = time.monotonic()
        if process is publishing:
            proxy.heal()
        else:
            process.signal(signal.SIGCONT)
        await works_off(process)
        seconds[what] = time.monotonic() - began
        growth[what] = _peak_mib(process.pid) - before
    breaches = []
    for what, process in (("publishing", publishing), ("reading", reading)):
        breaches += judge(teller.told, process.handled()).breaches(f"who was {what}")
        if growth[what] > GROWTH_MIB:
            breaches.append(f"{what} {events} waiting events took {growth[what]:.0f} MiB more")
    figures = {f"memory for {what}": f"{one:+.0f} MiB" for what, one in growth.items()}
    figures |= {f"{what} took": f"{one:.1f} s" for what, one in seconds.items()}
    return Evidence({"waiting events": events}, breaches, figures)


def _peak_mib(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    raise ValueError(f"no memory figure for {pid}")


def _forget_peak(pid: int) -> None:
    Path(f"/proc/{pid}/clear_refs").write_text("5", encoding="ascii")


PROOFS = (Proof("G17", "a backlog does not grow memory", work_off_backlogs),)
