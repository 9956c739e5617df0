"""Options of a command, taken from the signature, type hints and docstring of a Python function."""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

import docstring_parser

REQUIRED: Any = inspect.Parameter.empty
_SCALARS = (str, int, float, bool, Path, type(None))


@dataclass(frozen=True)
class Option:
    """One argument of a command.

    Parameters
    ----------
    name
        The key in configuration files, and with dashes the flag.
    hint
        A type made of str, int, float, bool, Path, None, Literal, list and dict.
    default
        The default value, `REQUIRED` if there is none.
    help
        What it means.
    positional
        Whether it is given by its place rather than by a flag.
    group
        The heading under which the help lists it.
    metavar
        What stands for the value in the help; by default a word for the type.
    """

    name: str
    hint: Any
    default: Any = REQUIRED
    help: str = ""
    positional: bool = False
    group: str = "options"
    metavar: str = ""

    @property
    def flag(self) -> str:
        """The flag, as ``--batch-size``."""
        return "--" + self.name.replace("_", "-")

    @property
    def item(self) -> Any:
        """The hint of an element where the option takes a list, else None."""
        return next((get_args(part)[0] for part in members(self.hint) if get_origin(part) is list), None)

    @property
    def entry(self) -> Any:
        """The hint of a value where the option takes a dict, else None."""
        return next((get_args(part)[1] for part in members(self.hint) if get_origin(part) is dict), None)

    @property
    def described(self) -> str:
        """The type in words, for error messages."""
        return " or ".join(map(_words, members(self.hint)))


def options_of(
    function: Callable[..., Any],
    *,
    skip: Collection[str] = (),
    changes: Mapping[str, Mapping[str, Any]] | None = None,
    group: str = "options",
) -> list[Option]:
    """The options of a function or a dataclass, in the order of its signature.

    Parameters
    ----------
    function
        What the command calls; its numpydoc docstring gives the help.
    skip
        Parameters that are no options.
    changes
        Fields of `Option` to replace, by parameter.
    group
        Heading in the help.

    Returns
    -------
    list of Option

    Examples
    --------
    >>> def double(x: int, *, times: Sequence[str] | str = ()) -> None:
    ...     '''Double.
    ...
    ...     Parameters
    ...     ----------
    ...     x
    ...         What to double.
    ...     '''
    >>> [(option.name, option.hint, option.help) for option in options_of(double)]
    [('x', <class 'int'>, 'What to double.'), ('times', list[str], '')]
    """
    source = function.__init__ if inspect.isclass(function) else function
    hints = typing.get_type_hints(source)
    helps = _helps(inspect.getdoc(function) or "")
    changed = changes or {}
    found = []
    for name, parameter in inspect.signature(function).parameters.items():
        if name in skip or name == "self":
            continue
        option = Option(name, line_hint(hints[name]), parameter.default, helps.get(name, ""), group=group)
        if isinstance(option.default, tuple):
            option = replace(option, default=list(option.default))
        found.append(replace(option, **changed.get(name, {})))
    return found


def line_hint(hint: Any) -> Any:
    """The part of a type hint that can be written on a command line or in a file: no data sets, no modules.

    Examples
    --------
    >>> line_hint(int | Sequence[int] | None)
    int | list[int] | None
    >>> line_hint(Mapping[str, Sequence[str | None] | Any] | None)
    dict[str, list[str | None]] | None
    """
    parts = [part for part in map(_line_part, members(hint)) if part is not None]
    if list[str] in parts:  # a name is a list of one
        parts = [part for part in parts if part is not str]
    if Path in parts:  # a path is text
        parts = [part for part in parts if part is not str]
    if not parts:
        raise TypeError(f"{hint} has no form on the command line")
    union = parts[0]
    for part in parts[1:]:
        union = union | part
    return union


def members(hint: Any) -> tuple[Any, ...]:
    """The members of a union, or the hint alone."""
    return get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)


def _line_part(hint: Any) -> Any:
    if hint in _SCALARS or get_origin(hint) is Literal:
        return hint
    origin, arguments = get_origin(hint), get_args(hint)
    if inspect.isclass(origin) and issubclass(origin, Mapping):
        return dict[arguments[0], line_hint(arguments[1])]  # type: ignore[valid-type, misc]
    if inspect.isclass(origin) and issubclass(origin, Sequence | Collection):
        return list[line_hint(arguments[0])]  # type: ignore[misc]
    return None


def _helps(docstring: str) -> dict[str, str]:
    """The description of each parameter; an entry such as ``low, high`` stands for both."""
    helps = {}
    for entry in docstring_parser.parse(docstring).params:
        text = " ".join((entry.description or "").replace("`", "").split())
        helps.update({name.strip(): text for name in entry.arg_name.split(",")})
    return helps


def _words(hint: Any) -> str:
    if hint is type(None):
        return "null"
    if get_origin(hint) is Literal:
        return "one of " + ", ".join(map(str, get_args(hint)))
    if get_origin(hint) is list:
        return (
            f"a list of {' or '.join(_plural(part) for part in members(get_args(hint)[0]) if part is not type(None))}"
        )
    if get_origin(hint) is dict:
        return "entries NAME=VALUE"
    return {int: "a whole number", float: "a number", bool: "true or false", Path: "a path"}.get(hint, "text")


def _plural(hint: Any) -> str:
    return {int: "whole numbers", float: "numbers", str: "names"}.get(hint, "values")
