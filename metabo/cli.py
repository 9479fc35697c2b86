"""The command line: parsing only."""

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


@app.callback()
def main() -> None:
    """Few-shot Bayesian optimisation with priors meta-learned from earlier runs."""


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="The folder for tables, figures and the prior.")] = Path(
        "runs/demo"
    ),
    seed: Annotated[int, typer.Option(help="The same seed gives the same numbers.")] = 0,
    smoke: Annotated[bool, typer.Option("--smoke", help="Tiny sizes: does it run at all?")] = False,
) -> None:
    """Learn priors and compare, on logistic curves and on three real data sets; under 5 minutes."""
    # Here, since it needs the packages of the extra "demo".
    from metabo.benchmark.demo import DemoSettings, run_demo

    run_demo(DemoSettings.smoke() if smoke else DemoSettings(), seed=seed, out=out)
