"""Files and the standard input as bytes, compressed or not, from any place in them."""

import glob
import gzip
import io
import os
import stat
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Final, NamedTuple, Self

from algolia_events.cli._console import UsageError

STDIN: Final = "-"
_BLOCK_BYTES: Final = 256 * 1024
_GZIP_MAGIC: Final = b"\x1f\x8b"


class Extent(NamedTuple):
    """What a source came to, unpacked: enough to know it again."""

    length: int
    """In bytes."""
    checksum: int


class SourceError(Exception):
    """A source cannot be read (on); the message names it and the reason."""


def expand(patterns: Iterable[str]) -> list[str]:
    """List the files meant by names and globs, in the order given; the files of one glob are sorted.

    Raises:
        UsageError: nothing goes by such a name, or it cannot be read.
    """
    names: list[str] = []
    for pattern in patterns:
        if pattern == STDIN:
            names.append(STDIN)
        elif os.path.exists(pattern):  # noqa: PTH110 - Path.exists() fails for a name that is too long
            names.append(pattern)
        elif found := sorted(glob.glob(pattern, recursive=True)):  # noqa: PTH207 - Path.glob takes no absolute pattern
            names += found
        else:
            if "://" in pattern:  # not quoted: an outbox's address may hold a password
                raise UsageError("an address is no file; name a file, or - for the standard input")
            what = "no such option" if pattern.startswith("-") else "no such file"
            raise UsageError(f"{pattern}: {what}")
    if not names:
        raise UsageError("name at least one file, or - for the standard input")
    for name in names:
        if name != STDIN and (Path(name).is_dir() or not os.access(name, os.R_OK)):
            raise UsageError(f"{name}: is a directory" if Path(name).is_dir() else f"{name}: may not be read")
    if names.count(STDIN) > 1:
        raise UsageError("the standard input can be read only once: give - one time")
    return names


def as_text(name: str) -> str:
    """Write a file's name so that any text can hold it: bytes that are no UTF-8 as escapes."""
    return os.fsencode(name).decode(errors="backslashreplace")


def identity_of(name: str) -> tuple[int, int] | None:
    """Tell which file on disk it is, by whichever of its names; None for what is none, such as a pipe."""
    try:
        status = os.stat(0 if name == STDIN else name)  # noqa: PTH116 - Path.stat() takes no descriptor
    except OSError:
        return None
    return (status.st_dev, status.st_ino) if stat.S_ISREG(status.st_mode) else None


def size_of(name: str) -> int | None:
    """Tell the bytes of a file on disk; None for what has no size of its own, such as a pipe."""
    path = Path(name)
    return path.stat().st_size if name != STDIN and path.is_file() else None


class Source:
    """The bytes of one input, unpacked where they are gzip, which is told by how they begin."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.consumed = 0
        """Bytes read so far as they are stored, that is compressed ones where they are."""
        self.extent = Extent(0, 0)
        """Of what has been read so far."""
        try:
            # Unbuffered below: what a pipe has is taken at once, and nobody shares a lock with sys.stdin.
            file = open(0 if name == STDIN else name, "rb", buffering=0, closefd=name != STDIN)  # noqa: SIM115
            self._file = io.BufferedReader(file, _BLOCK_BYTES)
            is_gzip = self._file.peek(len(_GZIP_MAGIC)).startswith(_GZIP_MAGIC)
        except OSError as exc:
            raise SourceError(f"{name}: {exc.strerror}") from exc
        self._stream = gzip.GzipFile(fileobj=self._file) if is_gzip else self._file

    def blocks(self) -> Iterator[bytes]:
        """Yield what there is, as it comes.

        Raises:
            SourceError: it cannot be read on: damaged, cut, or gone.
        """
        while block := self._read(_BLOCK_BYTES):
            self.extent = Extent(self.extent.length + len(block), zlib.crc32(block, self.extent.checksum))
            yield block

    def _read(self, most: int) -> bytes:
        try:
            block = self._stream.read1(most)
        except EOFError:
            raise SourceError(f"{self.name}: the compressed file is cut short") from None
        except (OSError, zlib.error) as exc:
            raise SourceError(f"{self.name}: {getattr(exc, 'strerror', None) or exc}") from exc
        self.consumed = self._stored_position(len(block))
        return block

    def _stored_position(self, count: int) -> int:
        try:
            return self._file.tell()
        except OSError:  # a pipe
            return self.consumed + count

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stream.close()
        self._file.close()
