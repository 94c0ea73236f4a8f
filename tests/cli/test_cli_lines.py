"""Lines and rows come out the same wherever the blocks they arrive in begin and end, each with its true place."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from algolia_events.cli._lines import MAX_LINE_BYTES, Line, join_rows, split_lines

CONTENT = st.binary(max_size=200).map(lambda data: bytes(b"ab\n\"'"[byte % 5] for byte in data))
CUTS = st.lists(st.integers(0, 200), max_size=8)


def _blocks(content: bytes, cuts: list[int]) -> list[bytes]:
    places = sorted({0, len(content), *(cut for cut in cuts if cut < len(content))})
    return [content[start:end] for start, end in pairwise(places)]


@given(CONTENT, CUTS)
def test_lines_do_not_depend_on_blocks(content: bytes, cuts: list[int]) -> None:
    found = [line for line in split_lines(_blocks(content, cuts)) if line is not None]

    expected = content.split(b"\n")
    if not expected[-1]:
        expected.pop()
    assert [line.text for line in found] == expected
    assert [line.number for line in found] == list(range(1, len(found) + 1))
    assert all(content[line.start :].startswith(line.text or b"") for line in found)


@given(CONTENT, CUTS)
def test_rows_have_all_bytes_and_their_quotes_are_closed(content: bytes, cuts: list[int]) -> None:
    rows = [row for row in join_rows(split_lines(_blocks(content, cuts))) if row is not None]

    assert b"\n".join(row.text or b"" for row in rows) == content.removesuffix(b"\n") or not content.strip(b"\n")
    assert all((row.text or b"").count(b'"') % 2 == 0 for row in rows[:-1])
    assert all(content[row.start :].startswith(row.text or b"") for row in rows)


def test_a_line_without_an_end_takes_bounded_memory_and_the_next_one_is_whole() -> None:
    block = b"x" * 1_000_000

    lines = [line for line in split_lines([*[block] * 10, b"\nnext\n"]) if line is not None]

    assert lines == [Line(1, 0, None), Line(2, 10_000_001, b"next")]


def test_a_quotation_mark_that_is_never_closed_does_not_swallow_the_file() -> None:
    line = b"y" * 1_000_000

    rows = [row for row in join_rows([Line(1, 0, b'"'), *(Line(n, n, line) for n in range(2, 30))]) if row]

    assert rows[0] == Line(1, 0, None)
    assert MAX_LINE_BYTES // len(line) < len(rows) + 9
    assert rows[-1].text == line
