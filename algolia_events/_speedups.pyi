from collections.abc import Callable
from typing import Any, Final, final

INTERFACE: Final[int]

def accelerate(
    cls: type, fields: tuple[tuple[str, object, bool, str, bytes, int, int, int], ...], is_small: object, /
) -> None: ...

@final
class Encoder:
    def __new__(
        cls, of: type, start: str, members: tuple[tuple[str, object, str], ...], fallback: Callable[[Any, int], str], /
    ) -> Encoder: ...
    def __call__(self, event: Any, now_ms: int, /) -> str: ...
