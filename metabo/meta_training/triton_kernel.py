r"""The inner loop in Triton's language: one program takes one task through all its steps.

Mathematics and names are those of `inner_loop`, but that biases are apart: in matrix products a
column of ones would cost another block of 16. Activations and biases stay in registers; so do
weights that are `resident`, and others are read and written where they lie, in the caches. Every
matrix is padded to powers of two. What is outside of it is zero, and stays so: weights that do not
exist have gradients of zero as long as units that do not exist give zero, and points that do not
exist have no residual.

Products are by `precision`: "tf32x3" is float32 to a last bit or so, on tensor cores. Tuples and
`static_range` are unrolled by the compiler, so that each depth and width has a kernel of its own.
"""

import triton
import triton.language as tl


@triton.jit(do_not_specialize=["num_tasks", "num_steps", "num_points"])
def descend(
    layers,  # pointers to each layer's augmented matrices, T x (in + 1) x out
    X,  # S x T x b x e
    Y,  # S x T x b
    losses,  # S x T
    X_step,
    X_task,
    Y_step,
    Y_task,
    num_tasks,
    num_steps,
    num_points,
    rho,
    sizes: tl.constexpr,  # encoded inputs, and units of each hidden layer
    blocks: tl.constexpr,  # the powers of two that hold them
    points: tl.constexpr,  # the power of two that holds a minibatch
    activation: tl.constexpr,
    precision: tl.constexpr,
    resident: tl.constexpr,
):
    """Take task `program_id` through all its steps, in place; `losses` as before each step."""
    depth: tl.constexpr = len(sizes) - 1
    task = tl.program_id(0).to(tl.int64)
    X += task * X_task
    Y += task * Y_task
    losses += task
    own = ()
    weights = ()
    biases = ()
    for n in tl.static_range(depth):
        own = own + (layers[n] + task * (sizes[n] + 1) * sizes[n + 1],)
        if resident:
            weights = weights + (_load(own[n], n, sizes, blocks),)
        bias = own[n] + sizes[n] * sizes[n + 1]
        biases = biases + (_load_row(bias, sizes[n + 1], blocks[n + 1]),)
    head = layers[depth] + task * (sizes[depth] + 1)
    slopes = _load_row(head, sizes[depth], blocks[depth])
    intercept = tl.load(head + sizes[depth])
    real = tl.arange(0, points) < num_points
    x, y = _minibatch(X, Y, num_points, sizes[0], points, blocks[0])
    for step in range(num_steps):
        # The next minibatch is asked for now, to be there when it is needed.
        following = tl.minimum(step + 1, num_steps - 1).to(tl.int64)
        next_x, next_y = _minibatch(
            X + following * X_step,
            Y + following * Y_step,
            num_points,
            sizes[0],
            points,
            blocks[0],
        )
        if not resident:
            tl.debug_barrier()  # all threads see the weights that the last step has written
        z = (x,)
        h = (x,)
        for n in tl.static_range(depth):
            w = weights[n] if resident else _load(own[n], n, sizes, blocks)
            z_n = tl.dot(h[n], w, input_precision=precision) + biases[n][None, :]
            z = z + (z_n,)
            h = h + (_activate(z_n, sizes[n + 1], blocks[n + 1], activation),)
        r = tl.where(real, tl.sum(h[depth] * slopes[None, :], 1) + intercept - y, 0.0)
        tl.store(losses + step * num_tasks, tl.sum(r * r, 0) / num_points)
        r = rho * r
        g = r[:, None] * slopes[None, :] * _derivative(z[depth], h[depth], activation)
        slopes += tl.sum(h[depth] * r[:, None], 0)
        intercept += tl.sum(r, 0)
        new_weights = ()
        new_biases = ()
        for n in tl.static_range(depth - 1, -1, -1):
            w = weights[n] if resident else _load(own[n], n, sizes, blocks)
            new = tl.dot(tl.trans(h[n]), g, w, input_precision=precision)
            new_biases = (biases[n] + tl.sum(g, 0),) + new_biases
            if n > 0:
                g = tl.dot(g, tl.trans(w), input_precision=precision)
                g *= _derivative(z[n], h[n], activation)
            if resident:
                new_weights = (new,) + new_weights
            else:
                _store(own[n], new, n, sizes, blocks)
        weights = new_weights
        biases = new_biases
        x = next_x
        y = next_y
    for n in tl.static_range(depth):
        if resident:
            _store(own[n], weights[n], n, sizes, blocks)
        bias = own[n] + sizes[n] * sizes[n + 1]
        _store_row(bias, biases[n], sizes[n + 1], blocks[n + 1])
    _store_row(head, slopes, sizes[depth], blocks[depth])
    tl.store(head + sizes[depth], intercept)


@triton.jit
def _activate(z, units: tl.constexpr, block: tl.constexpr, activation: tl.constexpr):
    if activation == "tanh":
        h = 2.0 * tl.sigmoid(2.0 * z) - 1.0
    elif activation == "relu":
        h = tl.maximum(z, 0.0)
    elif activation == "silu":
        h = z * tl.sigmoid(z)
    else:
        h = tl.sigmoid(z)
        if units < block:  # of what does not exist it would be a half
            h = tl.where((tl.arange(0, block) < units)[None, :], h, 0.0)
    return h


@triton.jit
def _derivative(z, h, activation: tl.constexpr):
    if activation == "tanh":
        d = 1.0 - h * h
    elif activation == "relu":
        d = tl.where(h > 0.0, 1.0, 0.0)
    elif activation == "silu":
        s = tl.sigmoid(z)
        d = s + h * (1.0 - s)
    else:
        d = h * (1.0 - h)
    return d


@triton.jit
def _minibatch(X, Y, num_points, inputs: tl.constexpr, points: tl.constexpr, block: tl.constexpr):
    p = tl.arange(0, points)
    i = tl.arange(0, block)[None, :]
    inside = (p[:, None] < num_points) & (i < inputs)
    x = tl.load(X + p[:, None] * inputs + i, mask=inside, other=0.0)
    return x, tl.load(Y + p, mask=p < num_points, other=0.0)


@triton.jit
def _elements(matrix, n: tl.constexpr, sizes: tl.constexpr, blocks: tl.constexpr):
    """Where the weights of layer n are, and which of the padded ones exist."""
    i = tl.arange(0, blocks[n])[:, None]
    j = tl.arange(0, blocks[n + 1])[None, :]
    return matrix + i * sizes[n + 1] + j, (i < sizes[n]) & (j < sizes[n + 1])


@triton.jit
def _load(matrix, n: tl.constexpr, sizes: tl.constexpr, blocks: tl.constexpr):
    at, inside = _elements(matrix, n, sizes, blocks)
    return tl.load(at, mask=inside, other=0.0)


@triton.jit
def _store(matrix, new, n: tl.constexpr, sizes: tl.constexpr, blocks: tl.constexpr):
    at, inside = _elements(matrix, n, sizes, blocks)
    tl.store(at, new, mask=inside)


@triton.jit
def _load_row(row, length: tl.constexpr, block: tl.constexpr):
    j = tl.arange(0, block)
    return tl.load(row + j, mask=j < length, other=0.0)


@triton.jit
def _store_row(row, new, length: tl.constexpr, block: tl.constexpr):
    j = tl.arange(0, block)
    tl.store(row + j, new, mask=j < length)
