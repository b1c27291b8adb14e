"""`python -m tests.e2e.clocked CLOCK …`: the command with a clock of its own.

It runs on from the time that is written into the file CLOCK whenever another time is written there. The bus keeps the
machine's time. Deadlines are looked for so often that what is due begins at once.
"""

import sys
import threading
import time
from datetime import datetime
from pathlib import Path

import time_machine
from entresol.commandline import build
from entresol_eventing import deadlines


def main() -> None:
    clock, *arguments = sys.argv[1:]
    file = Path(clock)
    shown = file.read_text()
    deadlines.LONGEST_WAIT_SECONDS = 0.1
    with time_machine.travel(datetime.fromisoformat(shown), tick=True) as traveller:

        def follow() -> None:
            nonlocal shown
            while True:
                time.sleep(0.05)
                if (wanted := file.read_text()) != shown:
                    shown = wanted
                    traveller.move_to(datetime.fromisoformat(wanted), tick=True)

        threading.Thread(target=follow, daemon=True).start()
        build()(arguments)


if __name__ == "__main__":
    main()
