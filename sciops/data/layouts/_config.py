"""The settings of a simulation as YAML in an attribute: numbers and texts by name, read safely."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import yaml  # type: ignore[import-untyped]

__all__ = ["numbers", "settings"]

_LONGEST = 1 << 14
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times quicker, where libyaml is


def settings(text: Any, section: str | None = None) -> dict[str, Any]:
    """The settings of a YAML text, or of one section of it; none where it is no YAML mapping.

    Examples
    --------
    >>> settings("name: run\\nsim: {Du: 1E-3, k: 0.005}", "sim")
    {'Du': '1E-3', 'k': 0.005}
    """
    if not isinstance(text, str) or len(text) > _LONGEST:
        return {}
    try:
        loaded = yaml.load(text, _LOADER)
    except (yaml.YAMLError, ValueError, RecursionError):
        return {}
    found = loaded.get(section) if section is not None and isinstance(loaded, Mapping) else loaded
    return {str(key): value for key, value in found.items()} if isinstance(found, Mapping) else {}


def numbers(found: Mapping[str, Any], *, without: Collection[str] = ()) -> dict[str, float]:
    """The settings that are numbers; YAML takes ``5E-4`` for text, here it is one.

    Examples
    --------
    >>> numbers({"Du": "1E-3", "seed": "???", "n": 3, "on": True}, without={"n"})
    {'Du': 0.001}
    """
    result = {}
    for name, value in found.items():
        if name in without or isinstance(value, bool) or not isinstance(value, int | float | str):
            continue
        try:
            result[name] = float(value)
        except (ValueError, OverflowError):
            continue
    return result
