r"""Formulas as MathML, which browsers show without any script; written :math:`x` as in docstrings.

A hook of MkDocs for pages, and an extension of Griffe for docstrings, which are written for Sphinx.
"""

from __future__ import annotations

import re
from textwrap import dedent
from typing import Any

import griffe
from latex2mathml.converter import convert

_INLINE = re.compile(r":math:`([^`]+)`")
_BLOCK = re.compile(r"^( *)\.\. math::[ ]*(.*)\n((?:(?:\1 +\S.*|[ ]*)(?:\n|$))*)", re.MULTILINE)
_CITED = re.compile(r"\[([A-Z]\w+?\d{4})\]_")
_SOURCE = re.compile(r"^( *)\.\. \[([A-Z]\w+?\d{4})\] ", re.MULTILINE)
_ROLE = re.compile(r":(?:class|func|meth|mod):`~?([^`]+)`")


def on_page_markdown(markdown: str, **_: Any) -> str:
    """MkDocs calls this for each page."""
    return mathml(markdown)


class Docstrings(griffe.Extension):
    """Griffe calls this for each object."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Turn what Sphinx would read into what Markdown can show."""
        if obj.docstring is not None:
            text = _CITED.sub(r"[\1]", mathml(obj.docstring.value))
            text = _SOURCE.sub(r"\1**[\2]** ", text)
            obj.docstring.value = _ROLE.sub(r"`\1`", text)


def mathml(text: str) -> str:
    """A text with its formulas as MathML."""

    def block(match: re.Match[str]) -> str:
        indent, first, rest = match.groups()
        formula = " ".join(f"{first}\n{dedent(rest)}".split())
        return f"{indent}{convert(formula, display='block')}\n\n"

    def inline(match: re.Match[str]) -> str:
        # In a span, since Markdown takes a line that begins with <math> for a block.
        return f"<span>{convert(' '.join(match[1].split()))}</span>"

    return _INLINE.sub(inline, _BLOCK.sub(block, text))
