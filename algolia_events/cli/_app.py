"""The commands by name. Each is imported only when it is called, so that help comes at once."""

import logging
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from cyclopts import App, CycloptsError, Parameter

from algolia_events._version import __version__
from algolia_events.cli._console import (
    NOT_ALL_WELL,
    OK,
    USAGE,
    OutputError,
    UsageError,
    give_up_the_rest,
    note,
    spell_out_what_the_locale_lacks,
)
from algolia_events.errors import ConfigurationError

_COMMANDS: Final = {
    "send": "Send events from files or the standard input.",
    "validate": "Check events in files, without any network.",
    "demo": "Show the queue at work against a local server, in a few seconds.",
    "sandbox": "Run a local server that speaks Algolia's APIs.",
    "relay": "Send what other processes have stored in an outbox.",
    "outbox": "Look into an outbox, and mend what is in it.",
    "health": "Say whether an outbox is being emptied; for probes.",
    "delete-user": "Have Algolia delete all events of a user.",
}
"""What `--help` says of each; `foo-bar` is the function `foo_bar` in the module `_foo_bar`."""

_EPILOGUE: Final = """\
Credentials come from the environment only: ALGOLIA_APP_ID, ALGOLIA_API_KEY; also ALGOLIA_REGION and \
ALGOLIA_INSIGHTS_URL. Exit codes: 0 all is well, 1 something was refused or left undone, 2 a wrong call.

Try `algolia-events demo` first; `algolia-events --install-completion` teaches your shell."""

_ADDRESS: Final = "ADDRESS"
"""What stands in place of an address in words about the command line."""


def build_app(arguments: Sequence[str]) -> App:
    """Put the commands together; the one that is called has its own, longer help, which means to import it."""
    app = App(
        name="algolia-events",
        help="Send events to Algolia's Insights API, reliably, and try it all out on this machine.",
        help_epilogue=_EPILOGUE,
        version=__version__,
        default_parameter=Parameter(negative=()),
    )
    for place, (name, summary) in enumerate(_COMMANDS.items()):
        function = name.replace("-", "_")
        short_help = None if name in arguments else summary
        app.command(f"{__package__}._{function}:{function}", name=name, help=short_help, sort_key=place)
    app.register_install_completion_command()
    return app


def run(arguments: Sequence[str]) -> int:
    """Run a command line and return the code to exit with."""
    # The library logs for applications; here each command says in its own words what happened.
    logging.getLogger("algolia_events").addHandler(logging.NullHandler())
    spell_out_what_the_locale_lacks()
    try:
        code = build_app(arguments)(arguments, exit_on_error=False, print_error=False, result_action="return_value")
    except CycloptsError:
        _say_what_is_wrong(arguments)
        return USAGE
    except (UsageError, ConfigurationError) as exc:
        note(f"algolia-events: {exc}")
        return USAGE
    except OutputError as exc:
        note(f"algolia-events: {exc}")
        return NOT_ALL_WELL
    finally:
        give_up_the_rest()
    return code if isinstance(code, int) else OK


def _say_what_is_wrong(arguments: Sequence[str]) -> None:
    """Have a wrong command line explained, which quotes it: without addresses, since they may hold a password."""
    with suppress(CycloptsError):  # it has printed what is wrong
        build_app(arguments).parse_args([_without_address(word) for word in arguments], exit_on_error=False)
        note("algolia-events: the command line is wrong where it has an address; --help says where it belongs")


def _without_address(word: str) -> str:
    """Keep the name of an option; an address need not be a good one to hold a password."""
    option, equals, _ = word.partition("=")
    if not _may_be_address(word):
        return word
    return f"{option}={_ADDRESS}" if equals and not _may_be_address(option) else _ADDRESS


def _may_be_address(word: str) -> bool:
    return "@" in word or "//" in word
