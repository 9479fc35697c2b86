// Reptile's inner loop as one fused loop: what the machine can do at least.
//
// A tanh network with inputs E and three hidden layers of width H, B points a step: constants, so
// that the compiler unrolls and vectorises. Weights are augmented matrices, the bias the last row.
#include <cmath>
#include <cstring>

// c += a m, I x K times K x N, in blocks of R x J that the registers hold. The strides of a let it
// be a transpose.
template <int I, int K, int N>
static inline void add_product(float* c, const float* a, int row, int column, const float (*m)[N]) {
    constexpr int R = I % 5 == 0 ? 5 : I % 3 == 0 ? 3 : 1, J = N % 32 == 0 ? 32 : N;
    for (int i0 = 0; i0 < I; i0 += R)
        for (int j0 = 0; j0 < N; j0 += J) {
            float s[R][J] = {};
            for (int k = 0; k < K; k++)
#pragma GCC unroll 8
                for (int i = 0; i < R; i++)
#pragma GCC unroll 8
                    for (int j = 0; j < J; j++) s[i][j] += a[(i0 + i) * row + k * column] * m[k][j0 + j];
            for (int i = 0; i < R; i++)
                for (int j = 0; j < J; j++) c[(i0 + i) * N + j0 + j] += s[i][j];
        }
}

template <int In, int Out>
struct Layer {
    float h[B][In + 1];  // what comes in, and a column of ones
    float g[B][Out];     // the gradient of what goes out
    float w[In + 1][Out];

    // next.h = tanh(h w), and a column of ones
    template <class Next>
    void forward(Next& next) {
        float z[B][Out] = {};
        add_product<B, In + 1, Out>(z[0], h[0], In + 1, 1, w);
        for (int i = 0; i < B; i++) {
            for (int j = 0; j < Out; j++) next.h[i][j] = 1 - 2 / (1 + std::exp(2 * z[i][j]));
            next.h[i][Out] = 1;
        }
    }
    // before.g = (g wᵀ) ⊙ tanh'
    template <class Before>
    void backward(Before& before) {
        float transposed[Out][In], s[B][In] = {};
        for (int j = 0; j < Out; j++)
            for (int k = 0; k < In; k++) transposed[j][k] = w[k][j];
        add_product<B, Out, In>(s[0], g[0], Out, 1, transposed);
        for (int i = 0; i < B; i++)
            for (int k = 0; k < In; k++) before.g[i][k] = s[i][k] * (1 - h[i][k] * h[i][k]);
    }
    // w -= step hᵀ g
    void update(float step) {
        for (int i = 0; i < B; i++)
            for (int j = 0; j < Out; j++) g[i][j] *= -step;
        add_product<In + 1, B, Out>(w[0], h[0], 1, In + 1, g);
    }
};

template <class L>
static float* of_task(float* stack, L& layer, int task) {
    return stack + task * (sizeof(layer.w) / sizeof(float));
}
template <class L>
static void load(float* stack, L& layer, int task) {
    std::memcpy(layer.w, of_task(stack, layer, task), sizeof(layer.w));
}
template <class L>
static void store(float* stack, L& layer, int task) {
    std::memcpy(of_task(stack, layer, task), layer.w, sizeof(layer.w));
}

// x: steps x tasks x B x E, y: steps x tasks x B, w1 ... w4: a stack of tasks each, changed in place
extern "C" void adapt(int steps, int tasks, float step, const float* x, const float* y, float* w1,
                      float* w2, float* w3, float* w4) {
    static thread_local Layer<E, H> a;
    static thread_local Layer<H, H> b, c;
    static thread_local Layer<H, 1> d;
    for (int t = 0; t < tasks; t++) {
        load(w1, a, t), load(w2, b, t), load(w3, c, t), load(w4, d, t);
        for (int s = 0; s < steps; s++) {
            const float* own = y + (s * tasks + t) * B;
            for (int i = 0; i < B; i++) {
                for (int e = 0; e < E; e++) a.h[i][e] = x[((s * tasks + t) * B + i) * E + e];
                a.h[i][E] = 1;
            }
            a.forward(b), b.forward(c), c.forward(d);
            for (int i = 0; i < B; i++) {
                float f = 0;
                for (int k = 0; k <= H; k++) f += d.h[i][k] * d.w[k][0];
                d.g[i][0] = 2.0f / B * (f - own[i]);
            }
            d.backward(c), d.update(step);
            c.backward(b), c.update(step);
            b.backward(a), b.update(step);
            a.update(step);
        }
        store(w1, a, t), store(w2, b, t), store(w3, c, t), store(w4, d, t);
    }
}
