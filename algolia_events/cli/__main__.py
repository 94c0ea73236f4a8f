"""Run the command as `python -m algolia_events.cli`."""

from algolia_events.cli import main

main()
