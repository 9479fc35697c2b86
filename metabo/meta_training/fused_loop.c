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

#define INLINE static inline __attribute__((always_inline))

enum { LANES = 8, COLUMNS = 2 * LANES, ROWS = 6 }; /* a tile that fits sixteen registers */
enum { LINE = 4 * COLUMNS }; /* bytes of a row of a tile, and of a line of the cache */
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

/* What to do: T tasks, each through all its steps. */
typedef struct {
    size_t activation, depth, num_tasks, steps, points; /* depth: of hidden levels */
    const size_t *widths;               /* the inputs' and theirs: depth + 1 */
    float **weights;                    /* of each layer T x (in + 1) x out, changed in place */
    const float *X, *Y;                 /* of each step T x points x widths[0], and T x points */
    float *losses;                      /* of each step T: the mean squared error, before it */
    size_t X_step, Y_step, losses_step; /* how far each step is from the one before */
    float step_size;
} Problem;

INLINE void copy_rows(size_t rows, size_t width, float *to, size_t to_row, const float *from,
                      size_t from_row) {
    for (size_t i = 0; i < rows; i++)
        memcpy(to + i * to_row, from + i * from_row, width * sizeof *to);
}

/* One step of one task; returns the loss before it. */
INLINE float step(const Problem *p, Level *levels, float *head, const float *x, const float *y,
                  float *scratch) {
    copy_rows(p->points, levels->width, levels->h, levels->stride, x, levels->width);
    for (size_t l = 1; l <= p->depth; l++)
        forward(&levels[l - 1], &levels[l], p->points, p->activation);
    float loss = output_layer(&levels[p->depth], head, y, p->points, p->step_size, scratch);
    for (size_t l = p->depth; l >= 1; l--)
        backward(&levels[l - 1], &levels[l], p->points, l > 1 ? scratch : NULL);
    return loss;
}

/* Task t through all its steps. */
INLINE void descend(const Problem *p, size_t t, Level *levels, float *scratch) {
    for (size_t l = 1; l <= p->depth; l++) {
        size_t rows = p->widths[l - 1] + 1, width = p->widths[l];
        const float *own = p->weights[l - 1] + t * rows * width;
        copy_rows(rows, width, levels[l].weights, levels[l].size, own, width);
    }
    float *head = p->weights[p->depth] + t * (p->widths[p->depth] + 1);
    for (size_t s = 0; s < p->steps; s++) {
        const float *x = p->X + s * p->X_step + t * p->points * p->widths[0];
        const float *y = p->Y + s * p->Y_step + t * p->points;
        p->losses[s * p->losses_step + t] = step(p, levels, head, x, y, scratch);
    }
    for (size_t l = 1; l <= p->depth; l++) {
        size_t rows = p->widths[l - 1] + 1, width = p->widths[l];
        float *own = p->weights[l - 1] + t * rows * width;
        copy_rows(rows, width, own, width, levels[l].weights, levels[l].size);
    }
}

/* Every task, with as many registers as there are: 32, or 16. */
__attribute__((target("avx512vl,fma"))) static void with_avx512(const Problem *p, Level *levels,
                                                                float *scratch) {
    for (size_t t = 0; t < p->num_tasks; t++) descend(p, t, levels, scratch);
}

__attribute__((target("avx2,fma"))) static void with_avx2(const Problem *p, Level *levels,
                                                          float *scratch) {
    for (size_t t = 0; t < p->num_tasks; t++) descend(p, t, levels, scratch);
}

/* Floats that the levels need, and `scratch`: two turned gradients. */
static size_t num_floats(const Problem *p) {
    size_t widest = 0, total = p->points * padded(p->widths[0] + 1);
    for (size_t l = 1; l <= p->depth; l++) {
        size_t width = p->widths[l];
        total += (p->widths[l - 1] + 1) * padded(width) + 3 * p->points * padded(width + 1);
        if (padded(width) > widest) widest = padded(width);
    }
    return total + 2 * widest * padded(p->points);
}

static float *take(float **buffer, size_t count) {
    float *taken = *buffer;
    *buffer += count;
    return taken;
}

/* Give each level its part of a buffer of zeros; returns the rest. */
static float *lay_out(const Problem *p, Level *levels, float *buffer) {
    for (size_t l = 0; l <= p->depth; l++) {
        Level *level = &levels[l];
        level->width = p->widths[l];
        level->stride = padded(level->width + 1);
        level->size = padded(level->width);
        level->h = take(&buffer, p->points * level->stride);
        for (size_t i = 0; i < p->points; i++) level->h[i * level->stride + level->width] = 1;
        if (l == 0) continue;
        level->weights = take(&buffer, (p->widths[l - 1] + 1) * level->size);
        level->slope = take(&buffer, p->points * level->stride);
        level->g = take(&buffer, p->points * level->stride);
    }
    return buffer;
}

/* Take every task through all its steps. Needs AVX2 and FMA. Returns 0, or 1 if there is no memory.

Named anew whenever `Problem` changes: then a library that was built before is not called. */
int descend_all(const Problem *p) {
    size_t bytes = num_floats(p) * sizeof(float); /* of whole lines, as all rows are */
    Level *levels = calloc(p->depth + 1, sizeof *levels);
    float *buffer = aligned_alloc(LINE, bytes);
    int failed = !levels || !buffer;
    if (!failed) {
        float *scratch = lay_out(p, levels, memset(buffer, 0, bytes));
        (__builtin_cpu_supports("avx512vl") ? with_avx512 : with_avx2)(p, levels, scratch);
    }
    free(levels);
    free(buffer);
    return failed;
}
