"""`python -m metabo`: the command line."""

from metabo.cli import app

app(prog_name="metabo")
