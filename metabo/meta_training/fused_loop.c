/* The inner loop of one network on many tasks: each task through all its steps, on chip throughout.

A level is the inputs (0) or a hidden layer: `width` values for each point, then the 1 that meets
the bias. What belongs to a level is in rows of `stride` floats, padded with zeros, so that products
need not care where a row ends. Weights are the augmented matrices of `metabo.network`, (in + 1) x
out; those of the one output, `head`, are a vector. */

#include <math.h>
#include <stdlib.h>
#include <string.h>

#if !defined(__x86_64__) || !defined(__GLIBC__) || defined(__clang__)
#error "Untried, and without wide registers slower than PyTorch; metabo works without this file."
#endif
#if __FINITE_MATH_ONLY__
#error "Divergence shows in what is not finite: compile with -fno-finite-math-only."
#endif

/* Of whole vectors at a time; the header says so only where all is finite. */
__attribute__((simd("notinbranch"))) float expf(float);

/* Compiled for each of these; the machine's own is chosen when the library is loaded. */
#define FOR_EVERY_CPU __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#define INLINE static inline __attribute__((always_inline))

enum { LANES = 8, COLUMNS = 2 * LANES, ROWS = 6 }; /* a tile that fits sixteen registers */
enum { TANH, RELU, SILU, SIGMOID };

typedef float Vector __attribute__((vector_size(4 * LANES), aligned(4), may_alias));

/* A matrix to read from: element (i, k) is at[i * row + k * column]. */
typedef struct {
    const float *at;
    size_t row, column;
} Matrix;

typedef struct {
    size_t width, stride, size; /* size: the weights' rows are so long */
    float *weights;             /* from the level below */
    float *h, *slope, *g;       /* for each point: values, derivative of the activation, gradient */
} Level;

INLINE size_t padded(size_t n) { return (n + COLUMNS - 1) / COLUMNS * COLUMNS; }

/* c += a b, or c = a b, for `rows` rows and one tile's columns. */
INLINE void tile(int rows, size_t depth, Matrix a, const float *b, size_t b_row, float *c,
                 size_t c_row, int add) {
    Vector sum[ROWS][2];
    for (int r = 0; r < rows; r++)
        for (int v = 0; v < 2; v++)
            sum[r][v] = add ? *(const Vector *)(c + r * c_row + v * LANES) : (Vector){0};
    for (size_t k = 0; k < depth; k++)
        for (int v = 0; v < 2; v++) {
            Vector right = *(const Vector *)(b + k * b_row + v * LANES);
            for (int r = 0; r < rows; r++) sum[r][v] += a.at[r * a.row + k * a.column] * right;
        }
    for (int r = 0; r < rows; r++)
        for (int v = 0; v < 2; v++) *(Vector *)(c + r * c_row + v * LANES) = sum[r][v];
}

/* c += a b, or c = a b, where a is m x depth and rows of b and c are padded to n columns. */
INLINE void multiply(size_t m, size_t n, size_t depth, Matrix a, const float *b, size_t b_row,
                     float *c, size_t c_row, int add) {
    for (size_t j = 0; j < n; j += COLUMNS)
        for (size_t i = 0; i < m; i += ROWS) {
            Matrix from = {a.at + i * a.row, a.row, a.column};
            float *to = c + i * c_row + j;
            switch (m - i) {
            case 1: tile(1, depth, from, b + j, b_row, to, c_row, add); break;
            case 2: tile(2, depth, from, b + j, b_row, to, c_row, add); break;
            case 3: tile(3, depth, from, b + j, b_row, to, c_row, add); break;
            case 4: tile(4, depth, from, b + j, b_row, to, c_row, add); break;
            case 5: tile(5, depth, from, b + j, b_row, to, c_row, add); break;
            default: tile(ROWS, depth, from, b + j, b_row, to, c_row, add);
            }
        }
}

/* h from z, which is in `slope` and becomes the derivative. */
INLINE void activate(int activation, size_t n, float *h, float *slope) {
    switch (activation) {
    case TANH:
        for (size_t j = 0; j < n; j++) {
            h[j] = 1 - 2 / (1 + expf(2 * slope[j])); /* tanhf is slow in older libraries */
            slope[j] = 1 - h[j] * h[j];
        }
        break;
    case RELU:
        for (size_t j = 0; j < n; j++) {
            h[j] = slope[j] < 0 ? 0 : slope[j];
            slope[j] = slope[j] > 0;
        }
        break;
    case SILU:
        for (size_t j = 0; j < n; j++) {
            float z = slope[j], s = 1 / (1 + expf(-z));
            h[j] = z * s;
            slope[j] = s * (1 + z - h[j]);
        }
        break;
    case SIGMOID:
        for (size_t j = 0; j < n; j++) {
            h[j] = 1 / (1 + expf(-slope[j]));
            slope[j] = h[j] * (1 - h[j]);
        }
    }
}

/* From the level below: h = activation(below W). */
INLINE void forward(const Level *below, const Level *level, size_t points, int activation) {
    Matrix inputs = {below->h, below->stride, 1};
    multiply(points, level->size, below->width + 1, inputs, level->weights, level->size,
             level->slope, level->stride, 0);
    for (size_t i = 0; i < points; i++)
        activate(activation, level->width, level->h + i * level->stride,
                 level->slope + i * level->stride);
}

/* The output layer's step: r = -2 step_size / points (f - y), g = r head; returns the loss. */
INLINE float output_layer(const Level *top, float *head, const float *y, size_t points,
                          float step_size, float *r) {
    float loss = 0;
    for (size_t i = 0; i < points; i++) {
        const float *h = top->h + i * top->stride;
        float error = -y[i];
        for (size_t k = 0; k <= top->width; k++) error += h[k] * head[k];
        loss += error * error;
        r[i] = -2 * step_size / points * error;
        for (size_t k = 0; k < top->width; k++) top->g[i * top->stride + k] = r[i] * head[k];
    }
    for (size_t i = 0; i < points; i++)
        for (size_t k = 0; k <= top->width; k++) head[k] += r[i] * top->h[i * top->stride + k];
    return loss / points;
}

/* The level's own step, W += below' (g * slope), and where there is `turned`, the gradient below.

With few points, W is read along its rows if points are the columns: gradients are turned. */
INLINE void backward(const Level *below, const Level *level, size_t points, float *turned) {
    size_t many = padded(points);
    for (size_t i = 0; i < points; i++)
        for (size_t j = 0; j < level->width; j++)
            level->g[i * level->stride + j] *= level->slope[i * level->stride + j];
    if (turned) {
        float *turned_below = turned + level->size * many;
        for (size_t i = 0; i < points; i++)
            for (size_t j = 0; j < level->width; j++)
                turned[j * many + i] = level->g[i * level->stride + j];
        Matrix weights = {level->weights, level->size, 1};
        multiply(below->width, many, level->width, weights, turned, many, turned_below, many, 0);
        for (size_t i = 0; i < points; i++)
            for (size_t k = 0; k < below->width; k++)
                below->g[i * below->stride + k] = turned_below[k * many + i];
    }
    Matrix inputs = {below->h, 1, below->stride};
    multiply(below->width + 1, level->size, points, inputs, level->g, level->stride,
             level->weights, level->size, 1);
}

/* Floats that a hidden level needs. */
static size_t level_floats(size_t below, size_t width, size_t points) {
    return (below + 1) * padded(width) + 3 * points * padded(width + 1);
}

static float *take(float **buffer, size_t count) {
    float *taken = *buffer;
    *buffer += count;
    return taken;
}

/* Take every task through all its steps.

    depth: of hidden levels; `widths` are the inputs' and theirs, depth + 1 numbers.
    weights: for each layer T x (in + 1) x out, changed in place; the last is the head's.
    X, Y: of step s at X + s * X_step, T x points x widths[0], and Y + s * Y_step, T x points.
    losses: of step s at losses + s * losses_step, T: each step's mean squared error, before it.

Returns 0, or 1 if there is no memory. */
FOR_EVERY_CPU int descend(int activation, size_t depth, const size_t *widths, float **weights,
                          size_t num_tasks, size_t steps, size_t points, const float *X,
                          size_t X_step, const float *Y, size_t Y_step, float *losses,
                          size_t losses_step, float step_size) {
    size_t widest = 0, total = points * padded(widths[0] + 1);
    for (size_t l = 1; l <= depth; l++) {
        total += level_floats(widths[l - 1], widths[l], points);
        if (padded(widths[l]) > widest) widest = padded(widths[l]);
    }
    total += 2 * widest * padded(points);
    Level *levels = calloc(depth + 1, sizeof *levels);
    float *buffer = calloc(total, sizeof *buffer), *rest = buffer;
    if (!levels || !buffer) {
        free(levels);
        free(buffer);
        return 1;
    }
    for (size_t l = 0; l <= depth; l++) {
        Level *level = &levels[l];
        level->width = widths[l];
        level->stride = padded(widths[l] + 1);
        level->size = padded(widths[l]);
        level->h = take(&rest, points * level->stride);
        for (size_t i = 0; i < points; i++) level->h[i * level->stride + level->width] = 1;
        if (l == 0) continue;
        level->weights = take(&rest, (widths[l - 1] + 1) * level->size);
        level->slope = take(&rest, points * level->stride);
        level->g = take(&rest, points * level->stride);
    }
    for (size_t t = 0; t < num_tasks; t++) {
        float *head = weights[depth] + t * (widths[depth] + 1);
        for (size_t l = 1; l <= depth; l++)
            for (size_t k = 0, rows = widths[l - 1] + 1; k < rows; k++)
                memcpy(levels[l].weights + k * levels[l].size,
                       weights[l - 1] + (t * rows + k) * widths[l], widths[l] * sizeof(float));
        for (size_t s = 0; s < steps; s++) {
            const float *x = X + s * X_step + t * points * widths[0];
            for (size_t i = 0; i < points; i++)
                memcpy(levels[0].h + i * levels[0].stride, x + i * widths[0],
                       widths[0] * sizeof(float));
            for (size_t l = 1; l <= depth; l++)
                forward(&levels[l - 1], &levels[l], points, activation);
            const float *y = Y + s * Y_step + t * points;
            losses[s * losses_step + t] =
                output_layer(&levels[depth], head, y, points, step_size, rest);
            for (size_t l = depth; l >= 1; l--)
                backward(&levels[l - 1], &levels[l], points, l > 1 ? rest : NULL);
        }
        for (size_t l = 1; l <= depth; l++)
            for (size_t k = 0, rows = widths[l - 1] + 1; k < rows; k++)
                memcpy(weights[l - 1] + (t * rows + k) * widths[l],
                       levels[l].weights + k * levels[l].size, widths[l] * sizeof(float));
    }
    free(levels);
    free(buffer);
    return 0;
}
