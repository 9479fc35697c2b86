"""Tuning a neural network on a new data set: does it pay to have tuned it on seven others?

Each of HPOBench's eight data sets is left out in turn; all methods may learn from the other seven.
They choose from the same 30,000 settings and see the same accuracies (the mean of five trainings).

    python experiments/bo_hpobench.py [--smoke | --quick] [--seed 0] [--out DIR]
"""

from pathlib import Path

import typer

from metabo.benchmark.datasets import hpobench
from metabo.benchmark.experiment import Size, experiment, left_out

main = experiment(
    left_out("HPOBench", hpobench),
    Path(__file__).parent / "results" / "bo_hpobench",
    full=Size(),
    quick=Size(evaluations=25, seeds=1, tasks=2, candidates=2000),
    title="HPOBench: neural networks on a data set left out",
)

if __name__ == "__main__":
    typer.run(main)
