"""`python -m engines`: the command of this room, where none is installed."""

from engines.cli import main

main()
