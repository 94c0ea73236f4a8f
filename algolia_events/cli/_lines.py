"""Blocks of bytes to lines, or to the rows of a CSV file, each with its place."""

import zlib
from collections.abc import Iterable, Iterator
from typing import Final

import attrs

MAX_LINE_BYTES: Final = 8 * 1024 * 1024
"""Four times what a whole request may hold: no event is longer, and memory stays bounded without a line feed too."""


@attrs.define
class Line:
    """One line, without its line feed, or several that make a row."""

    number: int
    """From 1; the first one of a row."""
    start: int
    """Where it begins, in bytes."""
    text: bytes | None
    """None where it is longer than any event."""
    checksum: int = attrs.field(default=0, eq=False)
    """Of the whole input up to its end."""


def split_lines(blocks: Iterable[bytes]) -> Iterator[Line | None]:
    """Yield the lines; None says that what comes next may have to be waited for."""
    rest: list[bytes] = []
    number, start, length, checksum = 1, 0, 0, 0
    for block in blocks:
        *ended, last = block.split(b"\n")
        for text in ended:
            length += len(text)
            checksum = zlib.crc32(text, checksum)
            yield Line(number, start, _joined([*rest, text] if rest else [text], length), checksum)
            checksum = zlib.crc32(b"\n", checksum)
            number, start = number + 1, start + length + 1
            rest, length = [], 0
        length += len(last)
        checksum = zlib.crc32(last, checksum)
        if last and length <= MAX_LINE_BYTES:
            rest.append(last)
        yield None
    if length:
        yield Line(number, start, _joined(rest, length), checksum)


def join_rows(lines: Iterable[Line | None]) -> Iterator[Line | None]:
    """Join the lines of each CSV row: a line feed between quotation marks belongs to its cell."""
    first: Line | None = None
    parts: list[bytes] = []
    quotes = length = checksum = 0
    for line in lines:
        if line is None:
            yield None
            continue
        first = first or line
        checksum = line.checksum
        text = line.text or b""
        quotes += text.count(b'"')
        length += len(text) + 1 if line.text is not None else MAX_LINE_BYTES + 1
        parts.append(text)
        if quotes % 2 and length <= MAX_LINE_BYTES:
            continue
        yield Line(first.number, first.start, _joined(parts, length, b"\n"), checksum)
        first, parts, quotes, length = None, [], 0, 0
    if first is not None:
        yield Line(first.number, first.start, _joined(parts, length, b"\n"), checksum)


def _joined(parts: list[bytes], length: int, separator: bytes = b"") -> bytes | None:
    if length > MAX_LINE_BYTES:
        return None
    return parts[0] if len(parts) == 1 else separator.join(parts)
