"""The documentation's example: eight batches of a simulated reaction, and a ninth one to optimise.

python docs/reactions.py    # writes docs/runs.csv and docs/impurities.csv
"""

from __future__ import annotations

import csv
import math
import random
from pathlib import Path

SOLVENTS = ("water", "ethanol")


class Batch:
    """A batch of raw material: its best temperature and its response to the catalyst differ."""

    def __init__(self, number: int) -> None:
        self._random = random.Random(number)
        self.best_temperature = self._random.uniform(40, 60)
        self.sensitivity = self._random.uniform(0.8, 1.2)

    def run(self, temperature: float, catalyst: float, solvent: str) -> tuple[float, float]:
        """The yield in percent, with measurement noise, and an impurity in percent."""
        value = 90 - 4 * ((temperature - self.best_temperature) / 12) ** 2
        value -= 8 * self.sensitivity * abs(math.log10(catalyst) + 1.5)
        value -= 5 if solvent == "ethanol" else 0
        impurity = 0.02 * temperature * catalyst**0.5
        return round(value + self._random.gauss(0, 0.5), 2), round(impurity, 4)

    def settings(self) -> tuple[float, float, str]:
        """Settings that somebody tried."""
        draw = self._random
        temperature, catalyst = draw.uniform(20, 80), 10 ** draw.uniform(-3, 0)
        return round(temperature, 1), float(f"{catalyst:.3g}"), draw.choice(SOLVENTS)


def tables(batches: int = 8, runs: int = 12) -> dict[str, list[list[object]]]:
    """The tables of earlier runs by file, each with its header."""
    inputs = ["batch", "temperature", "catalyst", "solvent"]
    found: dict[str, list[list[object]]] = {
        "runs.csv": [[*inputs, "yield"]],
        "impurities.csv": [[*inputs, "impurity"]],
    }
    for number in range(1, batches + 1):
        batch = Batch(number)
        for _ in range(runs):
            settings = batch.settings()
            for table, value in zip(found.values(), batch.run(*settings), strict=True):
                table.append([f"B{number}", *settings, value])
    return found


if __name__ == "__main__":
    for name, table in tables().items():
        with Path(__file__).with_name(name).open("w", newline="") as file:
            csv.writer(file, lineterminator="\n").writerows(table)
