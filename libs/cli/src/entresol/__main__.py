"""`python -m entresol`: the same as the `entresol` command."""

from entresol.main import main

main()
