"""From what is known to one HTML file. Jinja escapes all of it but the figures.

A figure is SVG into which Matplotlib has written, and escaped, the users' words.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from metabo import __version__


@dataclass(frozen=True)
class Card:
    """A number to see first.

    Attributes:
        label: What it is.
        value: As people read it.
        note: What it means.
    """

    label: str
    value: str
    note: str = ""


@dataclass(frozen=True)
class Sheet:
    """A table.

    Attributes:
        header: The names of its columns.
        rows: Cells of any kind.
    """

    header: Sequence[str]
    rows: Sequence[Sequence[Any]]


@dataclass(frozen=True)
class Bar:
    """A bar of a chart of a few numbers, all of one unit.

    Attributes:
        label: What it is.
        value: Its length.
        share: Of the longest one.
        kind: "ours" or "other".
    """

    label: str
    value: float
    share: float
    kind: str


def bars(values: Mapping[str, float], ours: str) -> list[Bar]:
    """Bars of finite positive numbers by label, one of which is ours."""
    most = max(values.values())
    return [
        Bar(label, value, value / most, "ours" if label == ours else "other")
        for label, value in values.items()
    ]


def render(template: str, **content: Any) -> str:
    """Fill a template of this folder.

    Args:
        template: Its file's name.
        content: What it asks for.
    """
    environment = Environment(
        loader=PackageLoader("metabo.pages"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": number, "p": p_value}
    return environment.get_template(template).render(content, version=__version__)


def number(value: Any, digits: int = 5) -> str:
    """A value as people read it; a dash for a number that is none."""
    if not isinstance(value, float):
        return str(value)
    return f"{value:.{digits}g}" if math.isfinite(value) else "\N{EN DASH}"


def p_value(value: float) -> str:
    """A p, not more exact than it deserves."""
    return "< 0.001" if value < 0.001 else number(value, 2)
