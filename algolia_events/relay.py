"""The relay as a program uses it; `algolia-events relay` is the same as a command."""

from algolia_events._relay import Relay

__all__ = ["Relay"]
