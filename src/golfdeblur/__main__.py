"""Run the command as `python -m golfdeblur`."""

from golfdeblur.cli import main

main()
