"""`python -m trainers`: the command of this room, where none is installed."""

from trainers.cli import main

main()
