"""The settings of `reptile_experiment.py`."""

from __future__ import annotations

from dataclasses import dataclass, field

from metabo import LogisticFamily, MetaTrainSettings, NormalFamily
from metabo.meta_training.maml import FIRST_ORDER_MAML, MAML
from metabo.meta_training.reptile import ReptileSettings

FAMILIES: dict[str, type[LogisticFamily] | type[NormalFamily]] = {
    "logistic": LogisticFamily,
    "normal": NormalFamily,
}


@dataclass(frozen=True)
class Settings:
    """The related code's twelve with its defaults, and then what it has not.

    The names are read as in the algorithm on its page: an outer iteration adapts to a batch of
    tasks, and an inner step sees a batch of points. (Its code takes one task at a time, uses
    `inner_batch_size` as the number of passes and `meta_batch_size` as the number of points.) An
    inner loop is one pass over as many points as a curve has: 100 / 5 = 20 steps.

    Raises:
        ValueError: If the task is not known, or there are too few points for two folds.
    """

    task: str = "logistic"  # or "normal"
    inner_step_size: float = 0.02
    inner_batch_size: int = 5  # points of an inner step
    outer_step_size: float = 0.1  # at first; it cools linearly to 0
    outer_iterations: int = 10_000
    meta_batch_size: int = 10  # tasks of an outer iteration
    model_size: int = 32  # the width of the three hidden layers
    evaluation_iterations: int = 32  # steps of SGD that adapt to a test curve
    evaluation_batch_size: int = 10  # test curves of a batch
    evaluation_range: tuple[int, int] = (1, 11)  # numbers of support points, the last left out
    sample_radius: float = 4.0  # x goes from minus to plus this
    sample_count: int = 100  # points of a curve

    evaluation_batches: int = 10  # one batch would leave wide intervals
    training_curves: int = 3000
    # An outer iteration of MAML takes many times one of Reptile: so many fit into the time.
    first_order_maml_iterations: int = 5000
    maml_iterations: int = 500
    timing_repeats: int = 5
    jobs: int = 2
    meta_train: MetaTrainSettings = field(default_factory=MetaTrainSettings)

    def __post_init__(self) -> None:
        if self.task not in FAMILIES:
            raise ValueError(f"task must be one of {', '.join(FAMILIES)}; got {self.task!r}")
        low, end = self.evaluation_range
        if not 1 <= low < end <= self.sample_count // 2 + 1:
            raise ValueError(
                f"evaluation_range is {low} to {end}, the end left out: it begins at 1 or more, "
                f"and a fold must be at most half of the {self.sample_count} points (sample_count)"
            )

    @property
    def counts(self) -> range:
        """The numbers of support points."""
        return range(*self.evaluation_range)

    @property
    def inner_steps(self) -> int:
        """Steps of an inner loop."""
        return max(1, self.sample_count // self.inner_batch_size)

    def family(self) -> LogisticFamily | NormalFamily:
        """Where curves come from."""
        return FAMILIES[self.task](bounds=(-self.sample_radius, self.sample_radius))

    def outer_loop(self, name: str) -> ReptileSettings:
        """How the start of that name is trained."""
        fewer = {
            FIRST_ORDER_MAML.name: self.first_order_maml_iterations,
            MAML.name: self.maml_iterations,
        }
        return ReptileSettings(
            outer_steps=min(self.outer_iterations, fewer.get(name, self.outer_iterations)),
            tasks_per_step=self.meta_batch_size,
            inner_steps=self.inner_steps,
            points_per_step=self.inner_batch_size,
            inner_step_size=self.inner_step_size,
            outer_step_size=self.outer_step_size,
        )


SMALL = {
    "outer_iterations": 5,
    "evaluation_batch_size": 2,
    "evaluation_batches": 1,
    "training_curves": 50,
    "first_order_maml_iterations": 2,
    "maml_iterations": 2,
    "timing_repeats": 1,
    "jobs": 1,
    "meta_train": MetaTrainSettings.smoke(),
}
