"""A file of no known layout, declared: which arrays are variables, what their axes are, in Python or in a YAML file."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, get_args

import yaml  # type: ignore[import-untyped]

from sciops.data.domains.axis import Kind
from sciops.data.reading.paths import usable_path
from sciops.errors import InputError, did_you_mean

__all__ = ["CoordinateDeclaration", "Declaration", "ParameterDeclaration", "VariableDeclaration"]

_LONGEST = 1 << 16
Conditions = Mapping[str, str | tuple[str, str]]


@dataclass(frozen=True)
class VariableDeclaration:
    """One variable.

    Parameters
    ----------
    path
        The array in the file.
    dims
        Names of its axes in order, None for one of length 1 to drop; ``channel`` or ``channel_<name>`` counts channels.
    channels
        Names of the channels: those of axes make a vector.
    units
        Units of the values; None keeps those of the file.
    rank
        0, 1 or 2: scalars, a vector, a tensor row by row. None follows from the channels.
    boundary_conditions
        By dimension: one word such as ``"periodic"``, or the lower and the upper one.
    mask
        The variable that tells where the domain is.
    role
        ``"mask"`` for that variable.
    """

    path: str
    dims: tuple[str | None, ...]
    channels: tuple[str, ...] = ()
    units: str | None = None
    rank: int | None = None
    boundary_conditions: Conditions = field(default_factory=dict)
    mask: str | None = None
    role: str | None = None


@dataclass(frozen=True)
class CoordinateDeclaration:
    """The coordinates of a dimension: an array in the file, values, or an interval with a kind."""

    path: str | None = None
    values: tuple[float, ...] | None = None
    lower: float | None = None
    upper: float | None = None
    kind: Kind | None = None
    units: str | None = None


@dataclass(frozen=True)
class ParameterDeclaration:
    """A number for the file or for each sample: an array, an attribute (``name``, ``group/name``), or the number."""

    path: str | None = None
    attribute: str | None = None
    value: float | None = None
    units: str | None = None


@dataclass(frozen=True)
class Declaration:
    """What `sciops.data.open` needs to know of a file whose layout it does not recognise.

    Parameters
    ----------
    variables, coordinates, parameters
        By name.
    sample_dim, time_dim
        The dimensions that count samples and times.
    kinds
        Kinds of axes by dimension.
    boundary_conditions
        Of every variable that has none of its own.
    source
        Where it comes from, for messages.

    Examples
    --------
    >>> declaration = Declaration.from_mapping({"variables": {"u": {"dims": ["sample", "x"]}}, "kinds": {"x": "cell"}})
    >>> declaration.variables["u"].path, declaration.kinds
    ('u', {'x': 'cell'})
    """

    variables: Mapping[str, VariableDeclaration]
    coordinates: Mapping[str, CoordinateDeclaration] = field(default_factory=dict)
    parameters: Mapping[str, ParameterDeclaration] = field(default_factory=dict)
    sample_dim: str | None = None
    time_dim: str | None = None
    kinds: Mapping[str, Kind] = field(default_factory=dict)
    boundary_conditions: Conditions = field(default_factory=dict)
    source: str = "the declaration"

    @property
    def axis_kinds(self) -> dict[str, Kind]:
        """Kinds of the axes whose interval is not declared with them.

        Examples
        --------
        >>> line = CoordinateDeclaration(path="grid/x", kind="periodic")
        >>> Declaration({}, coordinates={"x": line}).axis_kinds
        {'x': 'periodic'}
        """
        lines = self.coordinates.items()
        given = {dim: line.kind for dim, line in lines if line.kind is not None}
        whole = {dim for dim, line in lines if line.lower is not None}
        return {dim: kind for dim, kind in {**given, **self.kinds}.items() if dim not in whole}

    @classmethod
    def from_yaml(cls, path: str | os.PathLike[str]) -> Declaration:
        """The declaration in a YAML file; nothing in it is run, and anchors are refused.

        Raises
        ------
        InputError
            If the file is missing or no YAML, or a key or value is not understood; the message names the nearest key.

        Examples
        --------
        >>> import tempfile
        >>> from pathlib import Path
        >>> path = Path(tempfile.mkdtemp()) / "layout.yaml"
        >>> _ = path.write_text("variables: {u: {path: fields/u, dims: [run, x]}}\\nsample_dim: run\\n")
        >>> Declaration.from_yaml(path).variables["u"].path
        'fields/u'
        """
        file = usable_path(path)
        if file.exists() and not file.is_file():
            raise InputError(f"{file}: no regular file; give the YAML file of the layout")
        try:
            with file.open("rb") as stream:
                text = stream.read(_LONGEST + 1)
        except OSError as error:
            raise InputError(f"{file}: the declaration cannot be read ({error.strerror or error})") from error
        if len(text) > _LONGEST:
            raise InputError(f"{file}: a declaration of more than {_LONGEST} bytes; give the YAML file of the layout")
        try:
            found = yaml.load(text, _Loader)
        except (yaml.YAMLError, RecursionError, UnicodeDecodeError, ValueError) as error:
            reason = " ".join(str(error).split()).replace('"<byte string>", ', "")
            raise InputError(f"{file}: no declaration in YAML ({reason[:200]}); mend it there") from error
        return cls.from_mapping(found, source=str(file))

    @classmethod
    def from_mapping(cls, mapping: Any, *, source: str = "the declaration") -> Declaration:
        """The declaration in nested mappings, lists and numbers, as YAML or JSON hold it.

        Raises
        ------
        InputError
            If a key or value is not understood.
        """
        reader = _Reader(source)
        keys = (*("variables", "coordinates", "parameters", "sample_dim", "time_dim", "kinds", "boundary_conditions"),)
        top = reader.mapping(mapping, "", keys)
        listed = reader.mapping(top.get("variables"), "variables")
        variables = {name: reader.variable(name, value) for name, value in listed.items()}
        if not variables:
            raise InputError(f"{source}: variables: none is declared; name one, such as u: {{dims: [sample, x]}}")
        coordinates = reader.mapping(top.get("coordinates", {}), "coordinates")
        parameters = reader.mapping(top.get("parameters", {}), "parameters")
        kinds = reader.mapping(top.get("kinds", {}), "kinds")
        return cls(
            variables=variables,
            coordinates={name: reader.coordinate(name, value) for name, value in coordinates.items()},
            parameters={name: reader.parameter(name, value) for name, value in parameters.items()},
            sample_dim=reader.text(top, "sample_dim", ""),
            time_dim=reader.text(top, "time_dim", ""),
            kinds={dim: reader.kind(kind, f"kinds.{dim}") for dim, kind in kinds.items()},
            boundary_conditions=reader.conditions(top.get("boundary_conditions", {}), "boundary_conditions"),
            source=source,
        )


class _Loader(yaml.SafeLoader):  # type: ignore[misc]
    """Plain data alone: no anchors, which can stand for more than memory holds, and no key twice."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            raise yaml.constructor.ConstructorError(problem="an alias, which is not read; write it out")
        return super().compose_node(parent, index)

    def construct_mapping(self, node: Any, deep: bool = False) -> dict[Hashable, Any]:
        names = Counter(key.value for key, _ in node.value if isinstance(key.value, str))
        twice = [name for name, count in names.items() if count > 1]
        if twice:
            raise yaml.constructor.ConstructorError(problem=f"the key {twice[0]!r} stands twice")
        found: dict[Hashable, Any] = super().construct_mapping(node, deep)
        return found


@dataclass(frozen=True)
class _Reader:
    """Checks each part, and says where it stands when it is not understood."""

    source: str

    def fail(self, where: str, problem: str) -> InputError:
        return InputError(f"{self.source}: {where}: {problem}" if where else f"{self.source}: {problem}")

    def mapping(self, value: Any, where: str, keys: Iterable[str] | None = None) -> dict[str, Any]:
        if not isinstance(value, Mapping):
            raise self.fail(where, f"a mapping by name is needed, got {_shown(value)}")
        for key in value:
            if not isinstance(key, str):
                raise self.fail(where, f"the key {key!r} is no text; put it in quotes")
            if keys is not None and key not in keys:
                raise self.fail(where, f"unknown key {key!r}{did_you_mean(key, keys)}")
        return dict(value)

    def text(self, values: Mapping[str, Any], key: str, where: str) -> str | None:
        value = values.get(key)
        if value is not None and not isinstance(value, str):
            raise self.fail(_at(where, key), f"a text is needed, got {_shown(value)}; put it in quotes")
        return value

    def number(self, values: Mapping[str, Any], key: str, where: str) -> float | None:
        value = values.get(key)
        if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
            raise self.fail(_at(where, key), f"a number is needed, got {_shown(value)} (write 1.0e-3, not 1e-3)")
        return value

    def kind(self, value: Any, where: str) -> Any:
        if value not in get_args(Kind):
            raise self.fail(where, f"unknown kind {_shown(value)}{did_you_mean(str(value), get_args(Kind))}")
        return value

    def texts(self, values: Mapping[str, Any], key: str, where: str) -> tuple[str, ...]:
        value = values.get(key, [])
        if not isinstance(value, list | tuple) or not all(isinstance(item, str) for item in value):
            raise self.fail(
                _at(where, key), f"a list of names is needed, got {_shown(value)}; put y, n, on, off in quotes"
            )
        return tuple(value)

    def variable(self, name: str, value: Any) -> VariableDeclaration:
        where = f"variables.{name}"
        keys = ("path", "dims", "channels", "units", "rank", "boundary_conditions", "mask", "role")
        found = self.mapping(value, where, keys)
        dims = found.get("dims")
        if not isinstance(dims, list | tuple) or not all(dim is None or isinstance(dim, str) for dim in dims):
            raise self.fail(
                f"{where}.dims", f"the names of all axes are needed, null for one to drop, got {_shown(dims)}"
            )
        channels = self.texts(found, "channels", where)
        if channels and not any(dim and (dim == "channel" or dim.startswith("channel_")) for dim in dims):
            raise self.fail(
                f"{where}.channels",
                f"no axis of {', '.join(map(str, dims))} counts channels; call it channel_{name} in dims",
            )
        rank = found.get("rank")
        if rank not in (None, 0, 1, 2):
            raise self.fail(f"{where}.rank", f"0, 1 or 2 is needed, got {_shown(rank)}")
        if found.get("role") not in (None, "mask"):
            raise self.fail(f"{where}.role", f"'mask' is the one role there is, got {_shown(found['role'])}")
        return VariableDeclaration(
            path=self.text(found, "path", where) or name,
            dims=tuple(dims),
            channels=channels,
            units=self.text(found, "units", where),
            rank=rank,
            boundary_conditions=self.conditions(found.get("boundary_conditions", {}), f"{where}.boundary_conditions"),
            mask=self.text(found, "mask", where),
            role=found.get("role"),
        )

    def coordinate(self, name: str, value: Any) -> CoordinateDeclaration:
        where = f"coordinates.{name}"
        if isinstance(value, str):
            return CoordinateDeclaration(path=value)
        if isinstance(value, list | tuple):
            return CoordinateDeclaration(values=self.numbers(value, where))
        found = self.mapping(value, where, ("path", "values", "lower", "upper", "kind", "units"))
        given = [key for key in ("path", "values", "lower") if key in found]
        if len(given) != 1 or ("lower" in found) != ("upper" in found):
            raise self.fail(where, "one of path, values, or lower with upper is needed")
        return CoordinateDeclaration(
            path=self.text(found, "path", where),
            values=self.numbers(found["values"], f"{where}.values") if "values" in found else None,
            lower=self.number(found, "lower", where),
            upper=self.number(found, "upper", where),
            kind=self.kind(found["kind"], f"{where}.kind") if "kind" in found else None,
            units=self.text(found, "units", where),
        )

    def numbers(self, value: Any, where: str) -> tuple[float, ...]:
        good = isinstance(value, list | tuple) and all(type(item) in (int, float) for item in value)
        if not good:
            raise self.fail(where, f"a list of numbers is needed, got {_shown(value)}")
        return tuple(value)

    def parameter(self, name: str, value: Any) -> ParameterDeclaration:
        where = f"parameters.{name}"
        if type(value) in (int, float):
            return ParameterDeclaration(value=value)
        if isinstance(value, str):
            return ParameterDeclaration(path=value)
        found = self.mapping(value, where, ("path", "attribute", "value", "units"))
        if sum(key in found for key in ("path", "attribute", "value")) != 1:
            raise self.fail(where, "one of path, attribute or value is needed")
        return ParameterDeclaration(
            path=self.text(found, "path", where),
            attribute=self.text(found, "attribute", where),
            value=self.number(found, "value", where),
            units=self.text(found, "units", where),
        )

    def conditions(self, value: Any, where: str) -> Conditions:
        found: dict[str, str | tuple[str, str]] = {}
        for dim, condition in self.mapping(value, where).items():
            if isinstance(condition, str):
                found[dim] = condition
            elif (
                isinstance(condition, list | tuple)
                and len(condition) == 2
                and all(isinstance(end, str) for end in condition)
            ):
                found[dim] = (condition[0], condition[1])
            else:
                raise self.fail(
                    f"{where}.{dim}", f"one word, or the lower and the upper one are needed, got {_shown(condition)}"
                )
        return found


def _at(where: str, key: str) -> str:
    return f"{where}.{key}" if where else key


def _shown(value: Any) -> str:
    return "nothing" if value is None else repr(value)[:60]
