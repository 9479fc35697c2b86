"""Tuning a regression network on a new data set: does it pay to have tuned it on three others?

Each of HPOLib's four data sets is left out in turn; all methods may learn from the other three.
They choose from the same 62,208 settings, of which four inputs are categories, and see the negative
logarithm of the same losses (the mean of four trainings).

    python experiments/bo_hpolib.py [--smoke | --quick] [--seed 0] [--out DIR]
"""

from pathlib import Path

import typer

from metabo.benchmark.datasets import hpolib
from metabo.benchmark.experiment import Size, experiment, left_out

main = experiment(
    left_out("HPOLib", hpolib),
    Path(__file__).parent / "results" / "bo_hpolib",
    full=Size(),
    quick=Size(evaluations=25, seeds=1, tasks=2, candidates=2000),
    title="HPOLib: regression networks on a data set left out",
)

if __name__ == "__main__":
    typer.run(main)
