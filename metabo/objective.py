"""What is optimised on top of a measured response."""

from collections.abc import Callable

from torch import Tensor

# As BoTorch's `GenericMCObjective` has it: responses `... x q x 1` and points `... x q x d` in the
# user's units give values `... x q`, of which larger is better.
Objective = Callable[[Tensor, Tensor], Tensor]
