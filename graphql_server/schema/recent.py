"""A memory that is bounded by the characters of what it keeps."""

from collections import OrderedDict
from typing import Generic, TypeVar

T = TypeVar("T")


class Recent(Generic[T]):
    """Values by their keys, of so many characters together at most; the least recently used go first."""

    def __init__(self, characters: int) -> None:
        self._left = characters
        self._kept = OrderedDict[str, tuple[int, T]]()

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, key: str) -> T | None:
        kept = self._kept.get(key)
        if kept is None:
            return None
        self._kept.move_to_end(key)
        return kept[1]

    def put(self, key: str, value: T, characters: int) -> None:
        if key in self._kept:
            self._left += self._kept.pop(key)[0]
        self._kept[key] = characters, value
        self._left -= characters
        while self._left < 0:
            _, (freed, _) = self._kept.popitem(last=False)
            self._left += freed
