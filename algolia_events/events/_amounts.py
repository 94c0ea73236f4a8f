"""Amounts of money: prices, discounts and values."""

import math
import operator
import re
from decimal import Decimal
from typing import Final

from algolia_events import _limits
from algolia_events.events._rules import broken, kind_of, text

Amount = int | float | str
"""An amount as an event keeps it: a number, or a decimal string, which a `Decimal` becomes to lose no digit."""

_DECIMAL: Final = re.compile(r"-?[0-9]+(\.[0-9]+)?")
_MAX_DIGITS: Final = _limits.MAX_AMOUNT_LENGTH - 1
"""Of a number with a decimal point."""


def optional_amount(value: Amount | Decimal | None) -> Amount | None:
    """Keep an amount of at most 16 characters without exponent, or None.

    A `float` with more digits than that is rounded to what fits, so that a sum such as 0.1 + 0.2 goes out as 0.3
    rather than being refused now and then; the error is below 10^-13 of the amount. Nothing else is ever rounded.
    Negative amounts are accepted, as by the spec.
    """
    if value is None:
        return None
    if isinstance(value, bool):
        raise broken("expected number or decimal string, got boolean")
    if isinstance(value, str):
        return _decimal_string(text(value))
    if isinstance(value, Decimal):
        return _from_decimal(value)
    if isinstance(value, float):
        return _from_float(float(value))
    if hasattr(type(value), "__index__"):
        return _from_int(operator.index(value))
    raise broken(f"expected number or decimal string, got {kind_of(value)}")


def _decimal_string(plain: str) -> str:
    _check_length(len(plain))
    if not _DECIMAL.fullmatch(plain):
        raise broken("must be a decimal number such as 12.50, without symbol, separators or exponent")
    return plain


def _from_decimal(value: Decimal) -> str:
    if not value.is_finite():
        raise broken("must be a finite number")
    if abs(value.adjusted()) > _limits.MAX_AMOUNT_LENGTH:
        # Asked before it is written out: Decimal("1E+999999999") would fill the memory.
        raise broken(f"takes more than {_limits.MAX_AMOUNT_LENGTH} characters to write out; round it")
    plain = f"{value:f}"
    _check_length(len(plain))
    return plain


def _from_int(value: int) -> int:
    if not -(10 ** (_limits.MAX_AMOUNT_LENGTH - 1)) < value < 10**_limits.MAX_AMOUNT_LENGTH:
        raise broken(f"takes more than {_limits.MAX_AMOUNT_LENGTH} characters to write out")
    return value


def _from_float(value: float) -> Amount:
    if not math.isfinite(value):
        raise broken("must be a finite number")
    if abs(value) >= 10.0**_MAX_DIGITS:
        raise broken(f"takes more than {_limits.MAX_AMOUNT_LENGTH} characters to write out")
    plain = repr(value)
    if len(plain) <= _limits.MAX_AMOUNT_LENGTH and "e" not in plain:
        return value
    whole_digits = len(f"{abs(value):.0f}")
    decimals = max(_MAX_DIGITS - whole_digits - (value < 0), 0)
    plain = f"{value:.{decimals}f}"
    if decimals == 0:
        return int(plain)
    rounded = float(plain) or 0.0
    return rounded if "e" not in repr(rounded) else plain.rstrip("0")


def _check_length(length: int) -> None:
    if length > _limits.MAX_AMOUNT_LENGTH:
        raise broken(f"has {length} characters; at most {_limits.MAX_AMOUNT_LENGTH} are allowed: round it")


def exact(amount: Amount) -> Decimal:
    """Read a kept amount as the decimal number that stands on the wire."""
    return Decimal(repr(amount) if isinstance(amount, float) else amount)
