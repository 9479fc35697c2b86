"""Parsing the command line."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from metabo import __version__
from metabo.cli import app


def test_help_lists_the_commands() -> None:
    result = CliRunner().invoke(app, ["--help"])
    assert result.exit_code == 0
    assert "demo" in result.output


def test_an_unknown_option_is_refused() -> None:
    result = CliRunner().invoke(app, ["demo", "--sede", "1"])
    assert result.exit_code == 2
    assert "--sede" in result.output


def test_version() -> None:
    result = CliRunner().invoke(app, ["--version"])
    assert (result.exit_code, result.stdout) == (0, f"metabo {__version__}\n")


@pytest.mark.parametrize(
    "command", ["check", "train", "info", "suggest", "report", "compare", "results", "demo"]
)
def test_each_command_has_help_with_an_example(command: str) -> None:
    result = CliRunner().invoke(app, [command, "--help"])
    assert result.exit_code == 0
    assert command == "demo" or f"metabo {command}" in result.stdout


@pytest.mark.slow
def test_shell_completion_and_the_module() -> None:
    """As a shell asks for it."""
    environment = os.environ | {
        "_METABO_COMPLETE": "complete_bash",
        "COMP_WORDS": "metabo su",
        "COMP_CWORD": "1",
    }
    command = [sys.executable, "-m", "metabo"]
    found = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert found.stdout.split() == ["suggest"]
