"""The training curve in TensorBoard, an optional package."""

from __future__ import annotations

from pathlib import Path


class Board:
    """Scalars of one run, in a folder that `tensorboard --logdir` shows.

    Args:
        folder: Where the run's events go.
        first_step: Where the run goes on; what an interrupted one logged after it is hidden.

    Raises:
        ImportError: If TensorBoard is not installed.
    """

    def __init__(self, folder: Path, first_step: int) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise ImportError(
                "Records(tensorboard=...) needs TensorBoard: pip install 'metabo[tensorboard]'"
            ) from error
        self._writer = SummaryWriter(str(folder), purge_step=first_step + 1)

    def add(self, step: int, scalars: dict[str, float]) -> None:
        """Log scalars by their names."""
        for name, value in scalars.items():
            self._writer.add_scalar(name, value, step)

    def close(self) -> None:
        """Write what is still held back."""
        self._writer.close()
