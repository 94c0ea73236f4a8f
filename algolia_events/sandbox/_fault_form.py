"""The page's form for faults: what it sends, checked, and made a fault of."""

from collections.abc import Mapping
from typing import Any, Final, cast

import attrs

from algolia_events.sandbox._faults import (
    Api,
    CloseWithoutAnswer,
    Delay,
    Fault,
    Hang,
    ResetBeforeBody,
    ResetInAnswer,
    ResetInBody,
    Status,
)

MAX_SECONDS: Final = 3600.0
MAX_TIMES: Final = 100_000
_ENDS: Final[Mapping[str, Fault]] = {
    "reset-before-body": ResetBeforeBody(),
    "reset-in-body": ResetInBody(),
    "reset-in-answer": ResetInAnswer(),
    "close": CloseWithoutAnswer(),
    "hang": Hang(),
}
_STATUSES: Final = range(400, 600)


class BadFormError(ValueError):
    """A form cannot be understood; the message names the field."""


@attrs.frozen(kw_only=True)
class FaultOrder:
    """What a form asks for."""

    fault: Fault
    times: int | None
    seconds: float | None
    api: Api | None


def parse_order(form: Any) -> FaultOrder:
    """Read a form.

    Raises:
        BadFormError: a field is missing, unknown or out of bounds.
    """
    if not isinstance(form, dict):
        raise BadFormError("the form is a JSON object")
    api = form.get("api") or None
    if api not in {None, "insights", "recommend"}:
        raise BadFormError("api: insights, recommend or nothing")
    times = _number(form, "times", 1, MAX_TIMES)
    return FaultOrder(
        fault=_fault(form),
        times=None if times is None else int(times),
        seconds=_number(form, "seconds", 1, MAX_SECONDS),
        api=cast("Api | None", api),
    )


def _fault(form: Mapping[str, Any]) -> Fault:
    name = form.get("fault")
    if name == "status":
        status = _needed(form, "status", _STATUSES.start, _STATUSES.stop - 1)
        pause = _number(form, "retry_after", 0, MAX_SECONDS)
        return Status(int(status), {} if pause is None else {"retry-after": str(int(pause))})
    if name == "delay":
        return Delay(_needed(form, "delay", 0, MAX_SECONDS))
    fault = _ENDS.get(str(name))
    if fault is not None:
        return fault
    raise BadFormError(f"fault: status, delay, {', '.join(_ENDS)}")


def _needed(form: Mapping[str, Any], name: str, low: float, high: float) -> float:
    number = _number(form, name, low, high)
    if number is None:
        raise BadFormError(f"{name}: is missing")
    return number


def _number(form: Mapping[str, Any], name: str, low: float, high: float) -> float | None:
    value = form.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise BadFormError(f"{name}: a number from {low:g} to {high:g}")
    return float(value)
