"""From the words of a command line to a call: jsonargparse parses flags and configuration files by the same hints."""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args, get_origin

import jsonargparse

from sciops.cli.options import REQUIRED, Option, members
from sciops.errors import InputError, did_you_mean

_PRINT_CONFIG = "--print-config"


@dataclass(frozen=True)
class Invocation:
    """The values of every option of one call, and the configuration that would give them again."""

    values: dict[str, Any]
    parser: jsonargparse.ArgumentParser
    namespace: jsonargparse.Namespace

    def yaml(self, **replaced: Any) -> str:
        """The values as a configuration file; those replaced by None are left out."""
        namespace = self.namespace.clone()
        for name, value in replaced.items():
            if value is None:
                namespace.pop(name, None)
            else:
                namespace[name] = value
        return str(self.parser.dump(namespace, skip_unset=False))


@dataclass(frozen=True)
class Command:
    """One command.

    Parameters
    ----------
    name
        Its name, the word after ``sciops``.
    description, examples
        What it does and how it is called, for the help.
    options
        What it takes.
    run
        What it does with them.
    defaults
        A configuration file that is read before all others.
    """

    name: str
    description: str
    examples: str
    options: Sequence[Option]
    run: Callable[[Invocation], None]
    defaults: str | None = None


class _Help(jsonargparse.DefaultHelpFormatter, argparse.RawDescriptionHelpFormatter):
    """Plain help: one form of each flag, and defaults where there are any."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, max_help_position=28, width=100)  # type: ignore[no-untyped-call]

    def _get_help_string(self, action: argparse.Action) -> str:
        if _PRINT_CONFIG in action.option_strings:
            return "Print the configuration file that these words amount to, and exit."
        text = action.help or ""
        if action.required:
            return f"{text} (required)"
        silent = isinstance(action.default, bool) or action.default in (None, argparse.SUPPRESS, [])
        return text if silent or not action.option_strings else f"{text} (default: %(default)s)"

    def _format_action_invocation(self, action: argparse.Action) -> str:
        if not action.option_strings:
            return str(action.metavar)
        if isinstance(action, jsonargparse.ActionYesNo):
            return action.option_strings[1 if action.default else 0]
        flags = ", ".join(flag for flag in action.option_strings if not flag.endswith("+"))
        return flags if action.nargs == 0 or _PRINT_CONFIG in flags else f"{flags} {action.metavar}"


def execute(command: Command, words: Sequence[str]) -> None:
    """Parse the words after the name of the command, and run it.

    Raises
    ------
    InputError
        A word is no option of it, a value has the wrong type, or a required one is missing.
    """
    command.run(parse(command, words))


def parse(command: Command, words: Sequence[str]) -> Invocation:
    """The values of the options from flags, places and configuration files; flags win, later files over earlier ones.

    Raises
    ------
    InputError
        As for `execute`.

    Examples
    --------
    >>> options = [Option("path", str, positional=True), Option("names", list[str]), Option("size", int, 3)]
    >>> command = Command("try", "Try.", "", options, run=lambda invocation: None)
    >>> parse(command, ["run.h5", "--names", "a,b", "--names", "c"]).values
    {'path': 'run.h5', 'names': ['a', 'b', 'c'], 'size': 3}
    """
    parser = _parser(command)
    prepared = normalise(words, command.options)
    if command.defaults is not None:
        prepared = ["--config", command.defaults, *prepared]
    try:
        namespace = parser.parse_args(prepared)
    except (argparse.ArgumentError, jsonargparse.ArgumentError) as error:
        raise InputError(_reason(str(error), command)) from error
    except UnicodeDecodeError as error:
        raise InputError(f"{command.name}: --config: no text in UTF-8 ({error}); give a YAML file") from error
    namespace.pop("config", None)
    missing = [option for option in command.options if option.positional and namespace.get(option.name) is None]
    for option in missing:
        if option.default is REQUIRED:
            raise InputError(f"{command.name}: no {_metavar(option)}; {_usage(command)}")
        namespace[option.name] = option.default
    values = {option.name: namespace[option.name] for option in command.options}
    return Invocation(values, parser, jsonargparse.Namespace(values))  # type: ignore[no-untyped-call]


def normalise(words: Sequence[str], options: Sequence[Option]) -> list[str]:
    """Words as jsonargparse takes them: configuration files first, repeated lists joined to JSON, places last.

    Parameters
    ----------
    words
        The command line.
    options
        The options of the command.

    Returns
    -------
    list of str

    Examples
    --------
    >>> dims = Option("dims", dict[str, list[str | None]])
    >>> normalise(["--dims", "u=sample,-,x", "--batch_size=3", "--config", "run.yaml"], [dims])
    ['--config=run.yaml', '--batch-size=3', '--dims={"u": ["sample", null, "x"]}']
    >>> kinds = Option("kinds", str | dict[str, str])
    >>> normalise(["--kinds", "a=log,u=none"], [kinds]), normalise(["--kinds", "log"], [kinds])
    (['--kinds={"a": "log", "u": "none"}'], ['--kinds=log'])
    """
    known = {option.flag: option for option in options if not option.positional}
    joined: dict[str, list[str]] = {}
    files: list[str] = []
    flags: list[str] = []
    places: list[str] = []
    left = list(words)
    while left:
        word = left.pop(0)
        if word == "--":
            places += left
            break
        if not word.startswith("--"):
            (flags if word == "-h" else places).append(word)
            continue
        flag, equals, value = word.partition("=")
        flag = flag.replace("_", "-")
        option = known.get(flag)
        if flag != "--config" and (option is None or option.hint is bool):
            flags.append(flag + equals + value)
            continue
        if not equals:
            if not left or left[0].startswith("--"):
                raise InputError(f"{flag}: a value is missing")
            value = left.pop(0)
        if option is None:
            files.append(f"{flag}={value}")
        elif option.item is not None or option.entry is not None:
            joined.setdefault(flag, []).append(value)
        else:
            flags.append(f"{flag}={value}")
    flags += [f"{flag}={_joined(known[flag], values)}" for flag, values in joined.items()]
    return [*files, *flags, *(["--", *places] if places else [])]


def _joined(option: Option, values: Sequence[str]) -> str:
    if len(values) == 1 and (values[0][:1] in ("[", "{") or values[0] == "null"):
        return values[0]
    if option.entry is not None:
        if str in members(option.hint) and len(values) == 1 and "=" not in values[0]:  # one for all
            return values[0]
        return json.dumps(dict(_entry(option, part) for value in values for part in _entries(option, value)))
    scalar = {int, float} & set(members(option.hint))
    if scalar and len(values) == 1 and "," not in values[0]:
        return values[0]
    items = [item.strip() for value in values for item in value.split(",") if item.strip()]
    return json.dumps(items) if str in members(option.item) else f"[{', '.join(items)}]"


def _entries(option: Option, text: str) -> list[str]:
    """Entries NAME=VALUE between commas; commas elsewhere belong to the value."""
    parts = text.split(",")
    return parts if get_origin(option.entry) is not list and all("=" in part for part in parts) else [text]


def _entry(option: Option, text: str) -> tuple[str, Any]:
    name, equals, value = (part.strip() for part in text.partition("="))
    if not (name and equals and value):
        raise InputError(f"{option.flag}: expected {_metavar(option)}, got {text!r}")
    if get_origin(option.entry) is list:
        return name, [None if item.strip() == "-" else item.strip() for item in value.split(",")]
    return name, value


def _parser(command: Command) -> jsonargparse.ArgumentParser:
    examples = "".join(f"\n  {line}" for line in command.examples.strip().splitlines())
    parser = jsonargparse.ArgumentParser(
        prog=f"sciops {command.name}",
        usage=_usage(command).removeprefix("usage: "),
        description=command.description,
        epilog=f"examples:{examples}",
        formatter_class=_Help,
        exit_on_error=False,
        allow_abbrev=False,
        print_config="--print-%s",
    )
    groups: dict[str, Any] = {}
    for option in command.options:
        if option.positional:
            parser.add_argument(
                option.name,
                type=option.hint,
                nargs="?",
                default=argparse.SUPPRESS,
                help=option.help,
                metavar=_metavar(option),
            )
            continue
        if option.group not in groups:
            groups[option.group] = parser if option.group == "options" else parser.add_argument_group(option.group)
        given: dict[str, Any] = {"help": option.help or option.described}
        if option.default is REQUIRED:
            given["required"] = True
        else:
            given["default"] = option.default
        if option.hint is bool:
            given["action"] = jsonargparse.ActionYesNo(no_prefix="no-")
        else:
            given.update(type=option.hint, metavar=_metavar(option))
        groups[option.group].add_argument(option.flag, **given)
    parser.add_argument("--config", action="config", metavar="YAML", help="Read options from a file; flags win.")
    return parser


def _usage(command: Command) -> str:
    words = [_metavar(option) for option in command.options if option.positional]
    required = [option for option in command.options if not option.positional and option.default is REQUIRED]
    words += [f"{option.flag} {_metavar(option)}" for option in required]
    return " ".join(["usage: sciops", command.name, *words, "[options]"])


def _metavar(option: Option) -> str:
    if option.metavar:
        return option.metavar
    if option.positional:
        return option.name.upper()
    if option.entry is not None:
        if get_origin(option.entry) is list:
            return "NAME=A,B,..."
        return "VALUE or NAME=VALUE,..." if str in members(option.hint) else "NAME=VALUE,..."
    parts = members(option.hint)
    literals = [part for part in parts if get_origin(part) is Literal]
    if literals:
        return "{" + ",".join(map(str, get_args(literals[0]))) + "}"
    word = {int: "N", float: "X", str: "NAME"}
    if option.item is not None:
        return f"{word.get(members(option.item)[0], 'ITEM')},..."
    return "PATH" if parts[0].__name__ == "Path" else "true|false" if parts[0] is bool else word.get(parts[0], "VALUE")


def _reason(message: str, command: Command) -> str:
    """What jsonargparse says, in one line and in the words of the command line."""
    text = " ".join(message.split())
    flags = [option.flag for option in command.options if not option.positional] + ["--config", "--help"]
    by_name = {option.name: option for option in command.options}
    if found := re.match(r"(?i)unrecognized arguments: (\S+)", text):
        word = found[1].partition("=")[0]
        if not word.startswith("-"):
            return f"{command.name}: one argument too many, {word!r}; {_usage(command)}"
        return f"{command.name}: unknown option {word}{_nearest(word, flags)}"
    if found := re.match(r"Option '([^']+)' is not accepted", text):
        return f"{command.name}: the configuration has the unknown key {found[1]!r}{did_you_mean(found[1], by_name)}"
    if found := re.match(r"the following arguments are required: (.*)", text):
        names = [by_name[name.strip()].flag if name.strip() in by_name else name for name in found[1].split(",")]
        return f"{command.name}: {', '.join(names)} needed; {_usage(command)}"
    if (found := re.match(r'Parser key "([^"]+)": (.*)', text)) and found[1] in by_name:
        option = by_name[found[1]]
        value = re.findall(r"(?:Got|Given) value: (.*?)$", found[2])
        got = f", got {value[-1]}" if value else ""
        return f"{command.name}: {option.flag}: expected {option.described}{got}"
    if found := re.match(r'Parser key "config": (.*)', text):
        return f"{command.name}: --config: {found[1]}"
    return f"{command.name}: {text}"


def _nearest(word: str, flags: Sequence[str]) -> str:
    """The nearest flag; the whole list is what --help is for."""
    hint = did_you_mean(word, flags)
    return hint.split("; available")[0].split(" available:")[0].rstrip(";") + "; --help lists them"
