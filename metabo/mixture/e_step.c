/* The E step of `expectation`, with the sums that the M step needs: what it does in a dozen passes
over the memory, one pair of a task and a component at a time, on chip. Rows of what has r columns
are padded with zeros to `stride` doubles. */

#include <math.h>
#include <stdlib.h>
#include <string.h>

#if !defined(__x86_64__) || !defined(__GLIBC__) || defined(__clang__)
#error "Untried; metabo works without this file."
#endif

#define INLINE static inline __attribute__((always_inline))

enum { LANES = 8, ROWS = 6 }; /* a tile of whole lines of the cache, in few registers */

typedef double Vector __attribute__((vector_size(8 * LANES), aligned(8), may_alias));

/* p features, rank r, K components. */
typedef struct {
    size_t num_pairs, num_components, num_features, rank;
    const long long *task, *component; /* pairs; those of one task stand together */
    const double *precision, *projection, *energy; /* T x p x p, T x p, T */
    const double *log_weights, *means, *roots;     /* K, K x p, K x p x r */
    double *shares;                                /* of the pairs */
    double *evidence;                              /* one number, summed over tasks */
    double *mass, *first, *second;                 /* K, K x r, K x r x r: to add to */
} Problem;

/* A matrix to read from: element (i, k) is at[i * row + k * column]. */
typedef struct {
    const double *at;
    size_t row, column;
} Matrix;

INLINE size_t padded(size_t n) { return (n + LANES - 1) / LANES * LANES; }

/* c = a b for `rows` rows and one vector's columns. */
INLINE void tile(int rows, size_t depth, Matrix a, const double *b, double *c, size_t stride) {
    Vector sum[ROWS];
    for (int i = 0; i < rows; i++) sum[i] = (Vector){0};
    for (size_t k = 0; k < depth; k++) {
        Vector right = *(const Vector *)(b + k * stride);
        for (int i = 0; i < rows; i++) sum[i] += a.at[i * a.row + k * a.column] * right;
    }
    for (int i = 0; i < rows; i++) *(Vector *)(c + i * stride) = sum[i];
}

/* c = a b, where a is m x depth. */
INLINE void multiply(size_t m, size_t depth, Matrix a, const double *b, double *c, size_t stride) {
    for (size_t j = 0; j < stride; j += LANES)
        for (size_t i = 0; i < m; i += ROWS) {
            Matrix from = {a.at + i * a.row, a.row, a.column};
            double *to = c + i * stride + j;
            switch (m - i) {
            case 1: tile(1, depth, from, b + j, to, stride); break;
            case 2: tile(2, depth, from, b + j, to, stride); break;
            case 3: tile(3, depth, from, b + j, to, stride); break;
            case 4: tile(4, depth, from, b + j, to, stride); break;
            case 5: tile(5, depth, from, b + j, to, stride); break;
            default: tile(ROWS, depth, from, b + j, to, stride);
            }
        }
}

/* Put the inverse of a positive definite r x r matrix in its place (Gauss and Jordan); returns half
the log of its determinant, NaN where it is not positive definite. */
INLINE double invert(size_t r, size_t stride, double *a) {
    double product = 1, half_log = 0;
    for (size_t k = 0; k < r; k++) {
        double *pivots = a + k * stride, pivot = pivots[k];
        if (!(pivot > 0)) return NAN;
        product *= pivot;
        if (k % 4 == 3 || k + 1 == r) {
            half_log += 0.5 * log(product);
            product = 1;
        }
        double inverse = 1 / pivot;
        for (size_t j = 0; j < stride; j += LANES) *(Vector *)(pivots + j) *= inverse;
        for (size_t i = 0; i < r; i++) {
            if (i == k) continue;
            double *own = a + i * stride, factor = own[k];
            for (size_t j = 0; j < stride; j += LANES)
                *(Vector *)(own + j) -= factor * *(const Vector *)(pivots + j);
            own[k] = -factor * inverse; /* last: a vector waits for the number stored before it */
        }
        pivots[k] = inverse;
    }
    return half_log;
}

INLINE double dot(size_t n, const double *a, const double *b) {
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += a[i] * b[i];
    return sum;
}

/* The posterior of one pair: mean `center`, `covariance`; returns the log of weight and evidence. */
INLINE double posterior(const Problem *p, size_t pair, size_t stride, const double *roots,
                        double *scratch, double *center, double *covariance) {
    size_t t = p->task[pair], k = p->component[pair], n = p->num_features, r = p->rank;
    const double *precision = p->precision + t * n * n, *projection = p->projection + t * n;
    const double *mean = p->means + k * n, *root = roots + k * n * stride;
    double *left = scratch, *gradient = left + n * stride, energy = p->energy[t];
    memset(gradient, 0, stride * sizeof(double));
    for (size_t i = 0; i < n; i++) {
        double pull = dot(n, precision + i * n, mean), rest = projection[i] - pull;
        energy += (pull - 2 * projection[i]) * mean[i];
        for (size_t j = 0; j < stride; j += LANES)
            *(Vector *)(gradient + j) += rest * *(const Vector *)(root + i * stride + j);
    }
    multiply(n, n, (Matrix){precision, n, 1}, root, left, stride);
    multiply(r, n, (Matrix){root, 1, stride}, left, covariance, stride);
    for (size_t i = 0; i < r; i++) covariance[i * stride + i] += 1;
    double half_log = invert(r, stride, covariance);
    for (size_t i = 0; i < r; i++) center[i] = dot(r, covariance + i * stride, gradient);
    return p->log_weights[k] - 0.5 * (energy - dot(r, gradient, center)) - half_log;
}

/* One past the last pair of the task whose first pair is given. */
INLINE size_t end_of_task(const Problem *p, size_t pair) {
    size_t end = pair + 1;
    while (end < p->num_pairs && p->task[end] == p->task[pair]) end++;
    return end;
}

/* All pairs of one task, from `pair` to `end`. */
INLINE void of_task(const Problem *p, size_t pair, size_t end, size_t stride, const double *roots,
                    double *scratch, double *found) {
    size_t r = p->rank, size = (r + 1) * stride; /* of what is found of a pair */
    double largest = -INFINITY, total = 0;
    for (size_t i = pair; i < end; i++) {
        double *own = found + (i - pair) * size;
        double joint = posterior(p, i, stride, roots, scratch, own, own + stride);
        p->shares[i] = joint;
        if (joint > largest || isnan(joint)) largest = joint;
    }
    for (size_t i = pair; i < end; i++) total += p->shares[i] = exp(p->shares[i] - largest);
    *p->evidence += largest + log(total);
    for (size_t i = pair; i < end; i++) {
        const double *center = found + (i - pair) * size, *covariance = center + stride;
        double share = p->shares[i] /= total;
        size_t k = p->component[i];
        p->mass[k] += share;
        double *first = p->first + k * r, *second = p->second + k * r * r;
        for (size_t a = 0; a < r; a++) {
            double own = share * center[a];
            first[a] += own;
            for (size_t b = 0; b < r; b++)
                second[a * r + b] += share * covariance[a * stride + b] + own * center[b];
        }
    }
}

INLINE void of_tasks(const Problem *p, size_t stride, const double *roots, double *scratch,
                     double *found) {
    for (size_t pair = 0, end; pair < p->num_pairs; pair = end) {
        end = end_of_task(p, pair);
        of_task(p, pair, end, stride, roots, scratch, found);
    }
}

__attribute__((target("avx512f,avx512vl,avx512dq,fma,prefer-vector-width=512"))) static void
with_avx512(const Problem *p, size_t stride, const double *roots, double *scratch, double *found) {
    of_tasks(p, stride, roots, scratch, found);
}

__attribute__((target("avx2,fma"))) static void
with_avx2(const Problem *p, size_t stride, const double *roots, double *scratch, double *found) {
    of_tasks(p, stride, roots, scratch, found);
}

/* Needs AVX2 and FMA. Returns 0, or 1 if there is no memory. */
int sum_over_pairs(const Problem *p) {
    size_t stride = padded(p->rank), most = 0;
    for (size_t pair = 0, end; pair < p->num_pairs; pair = end) {
        end = end_of_task(p, pair);
        if (end - pair > most) most = end - pair;
    }
    size_t rows = p->num_components * p->num_features + p->num_features + 1 + most * (p->rank + 1);
    double *buffer = aligned_alloc(sizeof(Vector), rows * stride * sizeof(double));
    if (!buffer) return 1;
    double *roots = memset(buffer, 0, rows * stride * sizeof(double));
    double *scratch = roots + p->num_components * p->num_features * stride;
    for (size_t i = 0; i < p->num_components * p->num_features; i++)
        memcpy(roots + i * stride, p->roots + i * p->rank, p->rank * sizeof(double));
    double *found = scratch + (p->num_features + 1) * stride;
    (__builtin_cpu_supports("avx512vl") ? with_avx512 : with_avx2)(p, stride, roots, scratch, found);
    free(buffer);
    return 0;
}
