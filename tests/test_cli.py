"""Parsing the command line."""

from __future__ import annotations

from typer.testing import CliRunner

from metabo.cli import app


def test_help_lists_the_commands() -> None:
    result = CliRunner().invoke(app, ["--help"])
    assert result.exit_code == 0
    assert "demo" in result.output


def test_an_unknown_option_is_refused() -> None:
    result = CliRunner().invoke(app, ["demo", "--sede", "1"])
    assert result.exit_code == 2
    assert "--sede" in result.output
