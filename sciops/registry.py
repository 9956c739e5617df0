"""One way to give a class or function a short name: operators, layouts, losses and simulators all use it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

from sciops.errors import InputError, did_you_mean

T = TypeVar("T")


class Registry(Generic[T]):
    """Short names of one kind of thing.

    Parameters
    ----------
    kind
        What the names stand for, used in the error message, for example ``"operator"``.

    Examples
    --------
    >>> losses = Registry("loss")
    >>> @losses.register("zero")
    ... def zero(x):
    ...     return 0.0
    >>> losses["zero"] is zero, list(losses)
    (True, ['zero'])
    """

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._entries: dict[str, T] = {}

    def register(self, name: str) -> Callable[[T], T]:
        """Decorator that enters the class or function under `name`; a name is taken once."""

        def enter(entry: T) -> T:
            if self._entries.get(name, entry) is not entry:
                raise InputError(f"the {self.kind} name {name!r} is taken by {self._entries[name]!r}")
            self._entries[name] = entry
            return entry

        return enter

    def __getitem__(self, name: str) -> T:
        if name not in self._entries:
            raise InputError(f"unknown {self.kind} {name!r}{did_you_mean(name, self._entries)}")
        return self._entries[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def __len__(self) -> int:
        return len(self._entries)

    def items(self) -> list[tuple[str, T]]:
        return list(self._entries.items())

    def name_of(self, entry: object) -> str | None:
        """The name under which `entry` stands here, or None."""
        return next((name for name, known in self._entries.items() if known is entry), None)
