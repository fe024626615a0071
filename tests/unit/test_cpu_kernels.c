/* The kernels by themselves: every instruction set that this machine has, against plain loops, on odd sizes, tails and
 * special values. */
#include "unit/unit.h"

#include <math.h>
#include <string.h>

#include "gk.h"

static uint32_t seed = 1;

static float number(void)
{
    seed = seed * 1664525u + 1013904223u;
    return (float)(seed >> 8) / 8388608.0f - 1.0f;
}

static void fill(float *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        p[i] = number();
}

static void near(float a, float b, float tolerance)
{
    if (isnan(a) && isnan(b))
        return;
    if (a == b || fabsf(a - b) <= tolerance * (1.0f + fabsf(b)))
        return;
    print_error("%g, expected %g\n", (double)a, (double)b);
    fail();
}

static const gk_table *each(gk_isa isa)
{
    return gk_get(isa);
}

/* y = clamp(bias + add + sum of taps) for every number of pixels, whole and partial columns, one run and two; of two
 * vectors of columns or, where one is asked for, of one. */
static void tile_case(const gk_table *k, int pixels, int columns, bool add, bool halves, bool one)
{
    enum { CH0 = 5, CH1 = 3, STRIDE = 16 };
    const int wide = one ? k->lanes : 2 * k->lanes;
    float src[40 * STRIDE + 64], w[(CH0 + CH1) * 32], bias[32], before[40 * 64], dst[40 * 64], res[40 * 64];
    fill(src, sizeof(src) / sizeof(*src));
    fill(w, sizeof(w) / sizeof(*w));
    fill(bias, 32);
    fill(before, sizeof(before) / sizeof(*before));
    fill(res, sizeof(res) / sizeof(*res));
    memcpy(dst, before, sizeof(dst));
    const gk_tap taps[2] = { { 1, CH0 }, { 20, CH1 } };
    const int h = (pixels + 1) / 2;
    gk_conv_tile t = { .src = src,
                       .pixel = STRIDE,
                       .half = halves ? (h + 3) * STRIDE : h * STRIDE,
                       .taps = taps,
                       .n_taps = 2,
                       .w = w,
                       .bias = bias,
                       .add = add ? res : NULL,
                       .dst = dst,
                       .dst_pixel = 64,
                       .dst_half = halves ? (h + 2) * 64 : h * 64,
                       .dst_col = k->lanes,
                       .pixels = pixels,
                       .columns = columns,
                       .lo = -0.8f,
                       .hi = 0.9f };
    (one ? k->conv_tile_one : k->conv_tile)(&t);
    for (int p = 0; p < pixels; p++) {
        const float *s = p < h ? src + p * STRIDE : src + t.half + (p - h) * STRIDE;
        const ptrdiff_t at = p < h ? p * 64 : t.dst_half + (p - h) * 64;
        for (int j = 0; j < columns; j++) {
            float x = bias[j] + (add ? res[at + j] : 0.0f);
            for (int c = 0; c < CH0; c++)
                x += s[1 + c] * w[c * wide + j];
            for (int c = 0; c < CH1; c++)
                x += s[20 + c] * w[(CH0 + c) * wide + j];
            near(dst[at + j], fminf(fmaxf(x, -0.8f), 0.9f), 1e-5f);
        }
        for (int j = columns; j < 64; j++)
            assert_memory_equal(&dst[at + j], &before[at + j], sizeof(float));
    }
}

static void conv_tiles(void **state)
{
    (void)state;
    for (int isa = 0; isa < GK_ISA_COUNT; isa++) {
        const gk_table *k = each((gk_isa)isa);
        for (int pixels = 1; k && pixels <= k->tile; pixels++)
            for (int columns = 1; columns <= 2 * k->lanes; columns++)
                for (int way = 0; way < 4; way++)
                    tile_case(k, pixels, columns, way & 1, way & 2, false);
        for (int pixels = 1; k && pixels <= k->tile_one; pixels++)
            for (int way = 0; way < 4; way++)
                tile_case(k, pixels, k->lanes, way & 1, way & 2, true);
    }
}

/* A row of a depthwise convolution, borders and all, with a bias much larger than its terms: the sum must not round at
 * the bias's magnitude more than once. */
static void depthwise_case(const gk_table *k, int kw, int stride, int pad, bool add)
{
    enum { WIDTH = 29, KH = 3 };
    const int block = k->lanes, out_w = (WIDTH + 2 * pad - kw) / stride + 1;
    float src[KH * WIDTH * 16], w[KH * 7 * 16], bias[16], res[WIDTH * 2 * 16], dst[WIDTH * 2 * 16];
    fill(src, sizeof(src) / sizeof(*src));
    fill(w, sizeof(w) / sizeof(*w));
    fill(res, sizeof(res) / sizeof(*res));
    for (int j = 0; j < block; j++)
        bias[j] = 3000.0f + number();
    const gk_dwconv_row t = { .row = src,
                              .row_stride = WIDTH * block,
                              .w = w,
                              .bias = bias,
                              .add = add ? res : NULL,
                              .dst = dst,
                              .kh1 = KH,
                              .kw = kw,
                              .stride = stride,
                              .dilation = 1,
                              .pad = pad,
                              .in_w = WIDTH,
                              .out_w = out_w,
                              .lo = -INFINITY,
                              .hi = INFINITY };
    k->dwconv_row(&t);
    for (int x = 0; x < out_w; x++)
        for (int j = 0; j < block; j++) {
            double y = (double)bias[j] + (add ? (double)res[x * block + j] : 0.0);
            for (int h = 0; h < KH; h++)
                for (int i = 0; i < kw; i++) {
                    const int at = x * stride - pad + i;
                    if (at >= 0 && at < WIDTH)
                        y += (double)src[(h * WIDTH + at) * block + j] * (double)w[(h * kw + i) * block + j];
                }
            assert_true(fabs((double)dst[x * block + j] - y) <= (add ? 2.6e-4 : 1.3e-4));
        }
}

static void depthwise_rows(void **state)
{
    (void)state;
    for (int isa = 0; isa < GK_ISA_COUNT; isa++) {
        const gk_table *k = each((gk_isa)isa);
        for (int kw = 1; k && kw <= 7; kw++)
            for (int stride = 1; stride <= 2; stride++)
                for (int way = 0; way < 4; way++)
                    depthwise_case(k, kw, stride, way & 2 ? kw / 2 : 0, way & 1);
    }
}

/* Row j of Winograd's G times a filter's line. */
static double filter_line(int m, int j, double g0, double g1, double g2)
{
    static const double points[2][5] = { { 0, 1, -1 }, { 0, GK_WINO_P, -GK_WINO_P, GK_WINO_Q, -GK_WINO_Q } };
    const double *p = points[m == 4];
    double f = 1;
    if (j == m + 1)
        return g2;
    for (int k = 0; k < m + 1; k++)
        f *= k == j ? 1 : p[j] - p[k];
    return (g0 + p[j] * g1 + p[j] * p[j] * g2) / f;
}

typedef struct winograd_case {
    int m, tiles, y, x, rows, columns;
    bool add;
} winograd_case;

enum { WH = 7, WW = 41, WOUT = 44 };

/* Multiplies the transformed tiles by g[tap][16], a filter of 3 by 3 for each lane. */
static void multiply_tiles(const winograd_case *t, int lanes, ptrdiff_t position, const float *g, float *v)
{
    const int side = t->m + 2;
    for (int i = 0; i < side * side * lanes; i++) {
        const int p = i / lanes, l = i % lanes;
        double line[3];
        for (int c = 0; c < 3; c++)
            line[c] = filter_line(t->m, p / side, (double)g[c * 16 + l], (double)g[(3 + c) * 16 + l],
                                  (double)g[(6 + c) * 16 + l]);
        for (int k = 0; k < t->tiles; k++)
            v[p * position + k * lanes + l] *= (float)filter_line(t->m, p % side, line[0], line[1], line[2]);
    }
}

/* In, times the transformed filter, and out again is a 3x3 convolution. */
static void winograd_tiles(const gk_table *k, const winograd_case *t)
{
    static float src[WH * WW * 16], v[36 * 12 * 16], dst[5 * WOUT * 16], before[5 * WOUT * 16], res[5 * WOUT * 16];
    float g[9 * 16], bias[16];
    const int lanes = k->lanes;
    const ptrdiff_t position = (ptrdiff_t)(t->tiles + 1) * lanes;
    fill(src, sizeof(src) / sizeof(*src));
    fill(g, sizeof(g) / sizeof(*g));
    fill(bias, sizeof(bias) / sizeof(*bias));
    fill(before, sizeof(before) / sizeof(*before));
    fill(res, sizeof(res) / sizeof(*res));
    memcpy(dst, before, sizeof(dst));
    const gk_winograd_in in = { t->m, t->tiles, src, WH, WW, t->y, t->x, v, position };
    k->winograd_in(&in);
    multiply_tiles(t, lanes, position, g, v);
    const gk_winograd_out out = {
        t->m,    t->tiles,   v,     position, bias, t->add ? res : NULL, dst, (ptrdiff_t)WOUT * lanes,
        t->rows, t->columns, -1.5f, 1.4f
    };
    k->winograd_out(&out);
    for (int i = 0; i < 5 * WOUT * lanes; i++) {
        const int l = i % lanes, x = i / lanes % WOUT, y = i / lanes / WOUT;
        if (y >= t->rows || x >= t->columns) {
            assert_memory_equal(&dst[i], &before[i], sizeof(float));
            continue;
        }
        float sum = bias[l] + (t->add ? res[i] : 0.0f);
        for (int q = 0; q < 9; q++) {
            const int sy = t->y + y + q / 3, sx = t->x + x + q % 3;
            if (sy >= 0 && sy < WH && sx >= 0 && sx < WW)
                sum += src[(sy * WW + sx) * lanes + l] * g[q * 16 + l];
        }
        near(dst[i], fminf(fmaxf(sum, -1.5f), 1.4f), 1e-5f);
    }
}

static void winograd(void **state)
{
    (void)state;
    for (int isa = 0; isa < GK_ISA_COUNT; isa++) {
        const gk_table *k = each((gk_isa)isa);
        for (int m = 2; k && m <= 4; m += 2)
            for (int tiles = 1; tiles <= 11; tiles++)
                for (int rows = 1; rows <= m; rows++)
                    for (int columns = (tiles - 1) * m + 1; columns <= tiles * m; columns++)
                        winograd_tiles(
                            k, &(winograd_case){ m, tiles, rows * 2 - 4, tiles % 4 * 7 - 6, rows, columns, tiles % 2 });
    }
}

/* A row of a pool: windows over the border, of padding alone, dilated, and so large that columns come first. */
static void pool_case(const gk_table *k, int kh, int kw, int stride, int dilation, int pad, bool max)
{
    enum { WIDTH = 23, ROWS = 7 };
    const int block = k->lanes, out_w = (WIDTH + 2 * pad - (kw - 1) * dilation - 1) / stride + 1;
    float src[ROWS * WIDTH * 16], dst[64 * 16];
    fill(src, sizeof(src) / sizeof(*src));
    assert_true(out_w > 0 && out_w <= 64);
    const gk_pool_row t = { .row = src,
                            .row_stride = WIDTH * block,
                            .dst = dst,
                            .kh1 = kh,
                            .kw = kw,
                            .stride = stride,
                            .dilation = dilation,
                            .pad = pad,
                            .in_w = WIDTH,
                            .out_w = out_w,
                            .max = max };
    k->pool_row(&t);
    for (int x = 0; x < out_w; x++)
        for (int j = 0; j < block; j++) {
            float greatest = -INFINITY, sum = 0.0f;
            int under = 0;
            for (int h = 0; h < kh; h++)
                for (int i = 0; i < kw; i++) {
                    const int at = x * stride - pad + i * dilation;
                    if (at < 0 || at >= WIDTH)
                        continue;
                    const float v = src[(h * WIDTH + at) * block + j];
                    greatest = fmaxf(greatest, v);
                    sum += v;
                    under++;
                }
            near(dst[x * block + j], max ? greatest : sum / (float)(under ? under : 1), max ? 0.0f : 1e-5f);
        }
}

static void pool_rows(void **state)
{
    (void)state;
    for (int isa = 0; isa < GK_ISA_COUNT; isa++) {
        const gk_table *k = each((gk_isa)isa);
        for (int kw = 1; k && kw <= 13; kw += kw < 4 ? 1 : 3)
            for (int kh = 1; kh <= 7; kh += 3)
                for (int way = 0; way < 12; way++)
                    pool_case(k, kh, kw, 1 + way % 2, way % 3 == 2 && kw < 8 ? 2 : 1,
                              way < 6  ? kw / 2
                              : kw < 5 ? kw + 1
                                       : 0,
                              way % 4 < 2);
    }
}

static double reference(gk_vop op, double a, double b, double c, double p, double q)
{
    switch (op) {
    case GK_V_add:
        return a + b;
    case GK_V_sub:
        return a - b;
    case GK_V_mul:
        return a * b;
    case GK_V_div:
        return a / b;
    case GK_V_min:
        return isnan(a) || isnan(b) ? (double)NAN : fmin(a, b);
    case GK_V_max:
        return isnan(a) || isnan(b) ? (double)NAN : fmax(a, b);
    case GK_V_fma:
        return a * b + c;
    case GK_V_addp:
        return a + p;
    case GK_V_subp:
        return p - a;
    case GK_V_mulp:
        return a * p;
    case GK_V_divp:
        return p / a;
    case GK_V_axpb:
        return a * p + q;
    case GK_V_minp:
        return isnan(a) ? a : fmin(a, p);
    case GK_V_maxp:
        return isnan(a) ? a : fmax(a, p);
    case GK_V_relu:
        return isnan(a) ? a : fmax(a, 0);
    case GK_V_clip:
        return isnan(a) ? a : fmin(fmax(a, p), q);
    case GK_V_leaky:
        return a < 0 ? a * p : a;
    case GK_V_prelu:
        return a < 0 ? a * b : a;
    case GK_V_elu:
        return a < 0 ? p * expm1(a) : a;
    case GK_V_neg:
        return -a;
    case GK_V_abs:
        return fabs(a);
    case GK_V_sqr:
        return a * a;
    case GK_V_cube:
        return a * a * a;
    case GK_V_sqrt:
        return sqrt(a);
    case GK_V_recip:
        return 1 / a;
    case GK_V_exp:
        return exp(a);
    case GK_V_log:
        return log(a);
    case GK_V_tanh:
        return tanh(a);
    case GK_V_erf:
        return erf(a);
    case GK_V_sigmoid:
        return 1 / (1 + exp(-a));
    case GK_V_swish:
        return a / (1 + exp(-a * p));
    case GK_V_hsigmoid:
        return isnan(a) ? a : fmin(fmax(a * p + q, 0), 1);
    case GK_V_hswish:
        return isnan(a) ? a : a * fmin(fmax(a / 6 + 0.5, 0), 1);
    case GK_V_gelu:
        return 0.5 * a * (1 + erf(a / sqrt(2.0)));
    case GK_V_gelu_tanh:
        return 0.5 * a * (1 + tanh(0.7978845608028654 * (a + 0.044715 * a * a * a)));
    case GK_V_softplus:
        return a > 40 ? a : log1p(exp(a));
    case GK_V_softsign:
        return a / (1 + fabs(a));
    case GK_V_floor:
        return floor(a);
    case GK_V_ceil:
        return ceil(a);
    case GK_V_less:
        return a < b;
    case GK_V_less_equal:
        return a <= b;
    case GK_V_equal:
        return a == b;
    case GK_V_not:
        return a == 0;
    case GK_V_where:
        return a != 0 ? b : c;
    default:
        return a;
    }
}

static void vector_operations(void **state)
{
    static const float special[] = { 0.0f,   -0.0f,  1.0f,   -1.0f,  INFINITY, -INFINITY, NAN,    1e-6f,
                                     -1e-6f, 88.0f,  -88.0f, 200.0f, -200.0f,  1e30f,     -1e30f, 0.5f,
                                     0.624f, 0.626f, 2.5f,   -2.5f,  3e7f,     4.0f };
    enum { N = 131 };
    (void)state;
    for (int isa = 0; isa < GK_ISA_COUNT; isa++) {
        const gk_table *k = each((gk_isa)isa);
        for (int op = 0; k && op < GK_VOP_COUNT; op++) {
            float a[N], b[N], c[N], y[N + 1];
            for (size_t i = 0; i < N; i++) {
                a[i] = i < sizeof(special) / sizeof(*special) ? special[i] : number() * 6.0f;
                b[i] = i % 7 == 3 ? a[i] : number() * 3.0f;
                c[i] = number();
            }
            for (size_t n = 0; n <= N; n += n < 40 ? 1 : 13) {
                y[n] = 77.0f;
                k->vops[op](n, a, b, c, 0.3f, 0.6f, y);
                assert_true(y[n] == 77.0f);
                for (size_t i = 0; i < n; i++) {
                    const double r =
                        reference((gk_vop)op, (double)a[i], (double)b[i], (double)c[i], (double)0.3f, (double)0.6f);
                    /* infinity over infinity: what the formula gives is no number, here and there */
                    if (isinf(a[i]) && (isnan(r) || isnan(y[i])))
                        continue;
                    near(y[i], (float)r, 3e-6f);
                }
            }
        }
    }
}

static void rows(void **state)
{
    (void)state;
    for (int isa = 0; isa < GK_ISA_COUNT; isa++) {
        const gk_table *k = each((gk_isa)isa);
        for (size_t n = 1; k && n < 150; n += n < 70 ? 1 : 11) {
            float x[160], y[160], z[160], scale[160], bias[160];
            fill(x, n);
            fill(y, n);
            fill(scale, n);
            fill(bias, n);
            double sum = 0, dot = 0, total = 0, var = 0, most = -INFINITY;
            for (size_t i = 0; i < n; i++) {
                sum += (double)x[i];
                dot += (double)x[i] * (double)y[i];
                total += exp((double)x[i]);
                most = fmax(most, (double)x[i]);
            }
            const double mean = sum / (double)n;
            for (size_t i = 0; i < n; i++)
                var += ((double)x[i] - mean) * ((double)x[i] - mean) / (double)n;
            near(k->sum(n, x), (float)sum, 1e-5f);
            near(k->dot(n, x, y), (float)dot, 1e-5f);
            near(k->maximum(n, x), (float)most, 0.0f);
            k->softmax_row(n, x, z);
            for (size_t i = 0; i < n; i++)
                near(z[i], (float)(exp((double)x[i]) / total), 1e-6f);
            k->layernorm_row(n, x, scale, bias, 1e-5f, z);
            for (size_t i = 0; i < n; i++)
                near(z[i], (float)(((double)x[i] - mean) / sqrt(var + 1e-5) * (double)scale[i] + (double)bias[i]),
                     1e-4f);
            x[n / 2] = NAN;
            assert_true(isnan(k->maximum(n, x)));
            x[n / 2] = -INFINITY; /* a masked score */
            k->softmax_row(n, x, z);
            assert_true(n == 1 || z[n / 2] == 0.0f);
        }
    }
}

static void softmax_of_short_rows(void **state)
{
    (void)state;
    for (int isa = 0; isa < GK_ISA_COUNT; isa++) {
        const gk_table *k = each((gk_isa)isa);
        for (size_t n = 1; k && n < 20; n++)
            for (size_t rows = 1; rows < 40; rows += 3) {
                float x[40 * 20], y[40 * 20 + 1], z[20];
                fill(x, rows * n);
                if (n > 1)
                    x[n - 1] = -INFINITY;
                x[(rows - 1) * n] = rows > 5 ? NAN : 0.0f;
                y[rows * n] = 7.0f;
                k->softmax_rows(rows, n, x, y);
                assert_true(y[rows * n] == 7.0f);
                for (size_t r = 0; r < rows; r++) {
                    k->softmax_row(n, x + r * n, z);
                    for (size_t c = 0; c < n; c++)
                        if (isnan(z[c]))
                            assert_true(isnan(y[r * n + c]));
                        else
                            near(y[r * n + c], z[c], 1e-6f);
                }
                k->softmax_rows(rows, n, x, x);
                assert_true(!memcmp(x, y, rows * n * sizeof(float)) || rows > 5);
            }
    }
}

static void transposes(void **state)
{
    (void)state;
    for (int isa = 0; isa < GK_ISA_COUNT; isa++) {
        const gk_table *k = each((gk_isa)isa);
        for (size_t r = 1; k && r < 40; r += 3)
            for (size_t c = 1; c < 40; c += 2) {
                float x[40 * 40], y[40 * 40];
                fill(x, 1600);
                k->transpose(r, c, x, 40, y, 40);
                for (size_t i = 0; i < r; i++)
                    for (size_t j = 0; j < c; j++)
                        assert_memory_equal(&y[j * 40 + i], &x[i * 40 + j], sizeof(float));
            }
    }
}

static void blends(void **state)
{
    (void)state;
    for (int isa = 0; isa < GK_ISA_COUNT; isa++) {
        const gk_table *k = each((gk_isa)isa);
        for (size_t taps = 1; k && taps < 6; taps++)
            for (size_t n = 0; n < 40; n += 3) {
                float x[6 * 48], w[40 * 6], y[41 * 16];
                const float *from[6];
                int32_t at[40 * 6];
                fill(x, sizeof(x) / sizeof(*x));
                fill(w, sizeof(w) / sizeof(*w));
                for (size_t t = 0; t < taps; t++)
                    from[t] = x + 48 * t;
                y[n] = 7.0f;
                k->blend_rows(n, taps, from, w, y);
                assert_float_equal(y[n], 7.0f, 0);
                for (size_t i = 0; i < n; i++) {
                    float v = 0.0f;
                    for (size_t t = 0; t < taps; t++)
                        v += x[48 * t + i] * w[t];
                    near(y[i], v, 1e-6f);
                }
                for (size_t i = 0; i < n * taps; i++)
                    at[i] = (int32_t)(i * 7 % 18);
                k->blend_pixels(n, taps, at, w, x, y);
                for (size_t i = 0; i < n * (size_t)k->lanes; i++) {
                    const size_t p = i / (size_t)k->lanes, c = i % (size_t)k->lanes;
                    float v = 0.0f;
                    for (size_t t = 0; t < taps; t++)
                        v += x[(size_t)at[p * taps + t] * (size_t)k->lanes + c] * w[p * taps + t];
                    near(y[i], v, 1e-6f);
                }
            }
    }
}

static void picks(void **state)
{
    (void)state;
    for (int isa = 0; isa < GK_ISA_COUNT; isa++) {
        const gk_table *k = each((gk_isa)isa);
        for (size_t n = 0; k && n < 70; n++) {
            const size_t lanes = (size_t)k->lanes;
            float x[4][70 * 16], y[71 * 16];
            int32_t at[4 * 16], pixels[70];
            const float *from[4] = { x[0], x[1], x[2], x[3] };
            fill(x[0], sizeof(x) / sizeof(float));
            y[n] = 7.0f;
            k->every_second(n, x[0] + 70 * 16 - 2 * n + (n > 0), y); /* up to the last float, and not beyond */
            for (size_t i = 0; i < n; i++)
                assert_memory_equal(&y[i], &x[0][70 * 16 - 2 * n + 1 + 2 * i], sizeof(float));
            assert_float_equal(y[n], 7.0f, 0);
            for (size_t i = 0; i < n; i++)
                pixels[i] = (int32_t)(i * 31 % 70);
            k->pick_pixels(n, pixels, x[0], y);
            for (size_t i = 0; i < n; i++)
                assert_memory_equal(y + i * lanes, x[0] + (size_t)pixels[i] * lanes, lanes * sizeof(float));
            for (size_t sources = 1; sources <= 4; sources++) {
                for (size_t i = 0; i < sources * lanes; i++)
                    at[i] = i % 3 == n % 3 ? -1 : (int32_t)(i * 5 % lanes);
                k->pick_channels(n, sources, from, at, y);
                for (size_t i = 0; i < n * lanes; i++) {
                    float v = 0.0f;
                    for (size_t s = 0; s < sources; s++)
                        if (at[s * lanes + i % lanes] >= 0)
                            v = x[s][i / lanes * lanes + (size_t)at[s * lanes + i % lanes]];
                    assert_memory_equal(&y[i], &v, sizeof(float));
                }
            }
        }
    }
}

static void names(void **state)
{
    (void)state;
    for (int isa = 0; isa < GK_ISA_COUNT; isa++) {
        gk_isa back;
        assert_true(gk_isa_parse(gk_isa_name((gk_isa)isa), &back));
        assert_int_equal(back, isa);
    }
    gk_isa none;
    assert_false(gk_isa_parse("mmx", &none));
    assert_non_null(gk_get(GK_BASE));
    assert_non_null(gk_get(gk_best()));
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(conv_tiles),
                                        cmocka_unit_test(depthwise_rows),
                                        cmocka_unit_test(pool_rows),
                                        cmocka_unit_test(winograd),
                                        cmocka_unit_test(vector_operations),
                                        cmocka_unit_test(rows),
                                        cmocka_unit_test(softmax_of_short_rows),
                                        cmocka_unit_test(transposes),
                                        cmocka_unit_test(blends),
                                        cmocka_unit_test(picks),
                                        cmocka_unit_test(names) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
