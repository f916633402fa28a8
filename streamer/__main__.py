"""`python -m streamer`: the command of this room, where none is installed."""

from streamer.cli import main

main()
