"""Adam against PyTorch's own class."""

import subprocess
import sys

import torch
from torch import Tensor

from metabo.adam import Adam


def loss(a: Tensor, b: Tensor) -> Tensor:
    return ((a - 2) ** 4).sum() + (a.sum() * b).square().mean() + b.exp().sum()


def start() -> tuple[Tensor, Tensor]:
    return torch.tensor([1.0, -1.0], requires_grad=True), torch.zeros(3, requires_grad=True)


def test_steps_are_those_of_the_class() -> None:
    (a, b), (c, d) = start(), start()
    ours = Adam([([a], 0.1), ([b], 0.01)])
    theirs = torch.optim.Adam([{"params": [c], "lr": 0.1}, {"params": [d], "lr": 0.01}])
    for step in range(20):
        factor = 0.9**step
        for group, size in zip(theirs.param_groups, (0.1, 0.01), strict=True):
            group["lr"] = size * factor
        ours.step(loss(a, b), factor)
        theirs.zero_grad()
        loss(c, d).backward()
        theirs.step()
    torch.testing.assert_close((a, b), (c, d))


def test_the_compiler_is_not_imported() -> None:
    code = (
        "import sys, torch; from metabo.adam import Adam; p = torch.ones(1, requires_grad=True)\n"
        "Adam([([p], 0.1)]).step(p.sum()); sys.exit('torch._dynamo' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_the_count_of_steps_is_beside_the_parameters() -> None:
    # PyTorch's fused step wants it there; "meta" is another device that every machine has.
    parameter = torch.zeros(3, device="meta", requires_grad=True)
    optimizer = Adam([([parameter], 0.1)])
    assert [step.device for group in optimizer._steps for step in group] == [parameter.device]
    assert optimizer._steps[0][0].dtype == torch.float32
