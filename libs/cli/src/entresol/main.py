"""The entry point. Imports nothing but the standard library until it can answer Ctrl-C in one line."""

import sys


def main() -> None:
    """Run the command of `sys.argv`; exits with its code, 130 if it was interrupted."""
    try:
        from entresol.commandline import build

        build()()
    except KeyboardInterrupt:
        print(file=sys.stderr)
        sys.exit(130)
