"""The stacked inner loop as one CUDA graph: its thousand small kernels are launched at once.

For what `fused_kernel` does not take: double precision, wide networks, no Triton.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import torch
from torch import Tensor

from metabo.meta_training.inner_loop import Adapted, adapt_layers


def adapt_by_graph(
    start: Sequence[Tensor], activation: str, X: Tensor, Y: Tensor, step_size: float
) -> Adapted:
    """`adapt_layers`, captured at the first call with these shapes and replayed from then on."""
    shapes = tuple(tuple(t.shape) for t in (*start, X, Y))
    graph = _capture(shapes, activation, step_size, X.dtype, X.device)
    return graph(*start, X, Y)


class _Graph:
    """A captured inner loop; it owns the tensors that the graph reads and writes."""

    def __init__(self, inputs: list[Tensor], activation: str, step_size: float) -> None:
        self._inputs = inputs
        *start, X, Y = inputs
        # cuBLAS sets itself up on first use, which must not be captured; on a stream of its own.
        side = torch.cuda.Stream(X.device)
        side.wait_stream(torch.cuda.current_stream(X.device))
        with torch.cuda.stream(side):
            adapt_layers(start, activation, X, Y, step_size)
        torch.cuda.current_stream(X.device).wait_stream(side)
        self._graph = torch.cuda.CUDAGraph()
        # The default capture stream is of the first device that a process has captured on.
        with torch.cuda.graph(self._graph, stream=side):
            self._output = adapt_layers(start, activation, X, Y, step_size)

    def __call__(self, *inputs: Tensor) -> Adapted:
        for static, given in zip(self._inputs, inputs, strict=True):
            static.copy_(given.detach())
        self._graph.replay()
        # Clones, since the next replay writes over the graph's own.
        return Adapted([w.clone() for w in self._output.layers], self._output.losses.clone())


@lru_cache(maxsize=2)  # one for training, one for looks at held-out tasks
def _capture(
    shapes: tuple[tuple[int, ...], ...],
    activation: str,
    step_size: float,
    dtype: torch.dtype,
    device: torch.device,
) -> _Graph:
    # Not in inference mode, whatever the caller's: the graph's inputs, and PyTorch's own tensors
    # made at the first capture of a process, could never be written to again outside of it.
    with torch.inference_mode(False), torch.no_grad(), torch.cuda.device(device):
        inputs = [torch.zeros(shape, dtype=dtype, device=device) for shape in shapes]
        return _Graph(inputs, activation, step_size)
