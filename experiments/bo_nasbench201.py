"""The architecture of a network for new images: does it pay to have searched on two other sets?

Each of NAS-Bench-201's three sets of images is left out in turn; all methods may learn from the
other two. They choose from the same 15,625 cells of six operations, and see the same accuracies
(the mean of two or three trainings).

    python experiments/bo_nasbench201.py [--smoke | --quick] [--seed 0] [--out DIR]
"""

from pathlib import Path

import typer

from metabo.benchmark.datasets import nasbench201
from metabo.benchmark.experiment import Size, experiment, left_out

main = experiment(
    left_out("NAS-Bench-201", nasbench201),
    Path(__file__).parent / "results" / "bo_nasbench201",
    full=Size(),
    quick=Size(evaluations=25, seeds=1, tasks=2, candidates=2000),
    title="NAS-Bench-201: architectures for images left out",
)

if __name__ == "__main__":
    typer.run(main)
