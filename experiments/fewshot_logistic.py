"""How well do methods predict an unseen logistic curve from its first few points?

python experiments/fewshot_logistic.py [--smoke] [--seed 0] [--out DIR]
"""

from pathlib import Path

import typer
from parts import fewshot

from metabo import LogisticFamily


def main(smoke: bool = False, seed: int = 0, out: Path | None = None) -> None:
    """Run the experiment and write rows.csv and meta.json."""
    fewshot.run("logistic", LogisticFamily(), smoke=smoke, seed=seed, out=out)


if __name__ == "__main__":
    typer.run(main)
