/* Attention in bfloat16: the kernel of every unit against plain loops in double precision, with queries, keys and values
 * that bfloat16 holds, so that what is left is the rounding of probabilities; and networks of one attention against the
 * reference evaluation. */
#include "unit/net.h"

#include "gk_bf16.h"

static const char *const units[] = { "emulated", "emulated_amx", "avx512_bf16", "amx" };
enum { UNITS = sizeof(units) / sizeof(*units), KEYS = 600, D = 72, ROWS = 32, PANEL = 1024 };

/* A probability is off by 2^-9 at most by its rounding, and by 1e-4 by its exponent; values are below 1. */
static const double bound = 0x1p-9 + 2e-4;

static float q[ROWS][D], k[KEYS][D], v[KEYS][D], masks[3][ROWS][KEYS];

typedef struct sizes {
    size_t keys, d, dv;
} sizes;

static void fill(void)
{
    kept_bits = 0xffff0000;
    for (size_t i = 0; i < sizeof(q) / sizeof(float); i++)
        (&q[0][0])[i] = 2.0f * number();
    for (size_t i = 0; i < sizeof(k) / sizeof(float); i++) {
        (&k[0][0])[i] = number();
        (&v[0][0])[i] = number();
    }
    kept_bits = 0xffffffff;
    for (size_t i = 0; i < sizeof(masks) / sizeof(float); i++)
        (&masks[0][0][0])[i] = 3.0f * number();
}

static double score_of(const gk_attention *t, int row, size_t key)
{
    double sum = 0;
    for (size_t c = 0; c < t->d; c++)
        sum += (double)q[row][c] * (double)k[key][c];
    sum *= (double)t->scale;
    for (int i = 0; i < t->n_masks; i++)
        sum += (double)t->masks[i].at[row * t->masks[i].row + (t->masks[i].one ? 0 : (ptrdiff_t)key)];
    return sum;
}

static void judge(const char *unit, const gk_attention *t, int row, const float *y)
{
    static double p[KEYS];
    double best = -INFINITY, sum = 0;
    for (size_t j = 0; j < t->keys; j++) {
        p[j] = score_of(t, row, j);
        best = p[j] > best || p[j] != p[j] ? p[j] : best;
    }
    for (size_t j = 0; j < t->keys; j++)
        sum += p[j] = exp(p[j] - best);
    for (size_t c = 0; c < t->dv; c++) {
        double exact = 0;
        for (size_t j = 0; j < t->keys; j++)
            exact += p[j] / sum * (double)v[j][c];
        if (isnan(exact) ? !isnan(y[c]) : !(fabs((double)y[c] - exact) <= bound)) {
            print_error("%s: row %d, column %zu of %d by %zu, %zu keys of %zu: %g, expected %g\n", unit, row, c,
                        t->rows, t->dv, t->keys, t->d, (double)y[c], exact);
            fail();
        }
    }
}

/* As the units take them. */
static uint16_t packed_q[D / 32 + 1][ROWS][32], packed_k[(KEYS / 32 + 1) * 3 * PANEL],
    packed_v[(KEYS / 32 + 1) * 3 * PANEL];

static void pack(const gk_bf16_unit *u, const sizes *s, int rows)
{
    const size_t depth = (s->d + 31) / 32, groups = (s->keys + 31) / 32;
    memset(packed_q, 0, sizeof(packed_q));
    memset(packed_k, 0, sizeof(packed_k));
    memset(packed_v, 0, sizeof(packed_v));
    for (int r = 0; r < rows; r++)
        for (size_t i = 0; i < s->d; i++)
            (&packed_q[0][0][0])[(i / 32 * (size_t)u->pixels + (size_t)r) * 32 + i % 32] = gk_bf16_of(q[r][i]);
    for (size_t j = 0; j < s->keys; j++) {
        for (size_t i = 0; i < s->d; i++)
            packed_k[(j / 32 * depth + i / 32) * PANEL + i % 32 / 2 * 64 + j % 32 * 2 + i % 2] = gk_bf16_of(k[j][i]);
        for (size_t i = 0; i < s->dv; i++)
            packed_v[(i / 32 * groups + j / 32) * PANEL + j % 32 / 2 * 64 + i % 32 * 2 + j % 2] = gk_bf16_of(v[j][i]);
    }
}

static void run(const gk_bf16_unit *u, const sizes *s, int rows, gk_attention *t)
{
    static float y[ROWS * (D + 3)];
    const size_t bytes = (u->attention_work(s->dv) + 63) / 64 * 64;
    void *work = aligned_alloc(64, bytes);
    assert_non_null(work);
    memset(work, 0xff, bytes); /* NaN: nothing of it may come through */
    pack(u, s, rows);
    for (size_t i = 0; i < sizeof(y) / sizeof(*y); i++)
        y[i] = 7.0f;
    t->rows = rows;
    t->keys = s->keys;
    t->d = s->d;
    t->dv = s->dv;
    t->y = y;
    t->y_row = (ptrdiff_t)s->dv + 3;
    u->begin();
    u->attention(&(gk_bf16_attention){ t, &packed_q[0][0][0], packed_k, packed_v, work });
    u->end();
    for (int r = 0; r < rows; r++) {
        judge(u->name, t, r, y + (size_t)r * (s->dv + 3));
        for (size_t i = s->dv; i < s->dv + 3; i++) /* nothing beside the result is written */
            assert_true(y[(size_t)r * (s->dv + 3) + i] == 7.0f);
    }
    free(work);
}

static const sizes all[] = { { 1, 1, 1 },     { 7, 5, 3 },    { 32, 16, 16 }, { 49, 32, 32 },
                             { 61, 8, 40 },   { 127, 4, 33 }, { 128, 3, 17 }, { 129, 64, 64 },
                             { 257, 40, 72 }, { 300, 72, 9 }, { 513, 2, 40 }, { 600, 33, 31 } };

static void sums(void **state)
{
    (void)state;
    for (int n = 0; n < UNITS; n++) {
        const gk_bf16_unit *u = gk_bf16_get(units[n]);
        for (size_t i = 0; u && i < sizeof(all) / sizeof(*all); i++)
            for (int rows = 1; rows <= u->pixels; rows += i % 3 ? 5 : 1) {
                gk_attention t = { .scale = i % 3 ? 0.3f : 1.0f };
                fill();
                run(u, &all[i], rows, &t);
                t.n_masks = 1; /* of each pair */
                t.masks[0].at = &masks[0][0][0];
                t.masks[0].row = KEYS;
                run(u, &all[i], rows, &t);
                t.scale = -0.7f;
                t.n_masks = 3; /* of each pair, each key, each row */
                t.masks[1].at = &masks[1][0][0];
                t.masks[2].at = &masks[2][0][0];
                t.masks[2].row = 1;
                t.masks[2].one = true;
                run(u, &all[i], rows, &t);
                t.n_masks = 0;
                run(u, &all[i], rows, &t);
            }
    }
}

/* Masked keys, whole blocks and rows of them, the least float, infinity and NaN. */
static void special(void **state)
{
    (void)state;
    const sizes some[] = { { 49, 16, 16 }, { 600, 16, 16 } };
    for (int n = 0; n < 2 * UNITS; n++) {
        const gk_bf16_unit *u = gk_bf16_get(units[n / 2]);
        const sizes *s = &some[n % 2];
        gk_attention t = { .scale = 0.5f, .n_masks = 1 };
        if (!u)
            continue;
        t.masks[0].at = &masks[0][0][0];
        t.masks[0].row = KEYS;
        fill();
        for (size_t j = 0; j < s->keys; j++) {
            masks[0][0][j] = j < s->keys - 2 ? -INFINITY : 0.0f; /* all but the last */
            masks[0][1][j] = j ? -INFINITY : 0.0f;               /* all but the first */
            masks[0][2][j] = -INFINITY;                          /* all: NaN */
            masks[0][3][j] = -3.4028235e38f;                     /* all alike */
            masks[0][4][j] = j % 3 ? -3.4028235e38f : 0.0f;
        }
        masks[0][5][s->keys / 2] = NAN;
        run(u, s, u->pixels, &t);
        t.n_masks = 0;
        q[1][3] = NAN;
        run(u, s, u->pixels, &t);
    }
}

/* Pairs of pixels, with zeros past the last pixel and channel. */
static void pairs(void **state)
{
    (void)state;
    enum { PIXEL = 40 };
    float src[9 * PIXEL];
    uint16_t dst[10 * 32];
    for (int n = 0; n < UNITS; n++) {
        const gk_bf16_unit *u = gk_bf16_get(units[n]);
        for (int channels = 1; u && channels <= 32; channels++)
            for (size_t pixels = 1; pixels <= 9; pixels++) {
                for (size_t i = 0; i < sizeof(src) / sizeof(*src); i++)
                    src[i] = number();
                memset(dst, 0xff, sizeof(dst));
                u->pack_pairs(&(gk_bf16_pack){ .src = src,
                                               .pixel = PIXEL,
                                               .src_block = 16,
                                               .block = 16,
                                               .channels = channels,
                                               .parts = 1,
                                               .dst = dst,
                                               .n = pixels });
                for (size_t i = 0; i < (pixels + 1) / 2 * 2; i++)
                    for (int c = 0; c < 32; c++) {
                        const float x = i < pixels && c < channels ? src[i * PIXEL + (size_t)c] : 0.0f;
                        assert_int_equal(dst[(i / 2 * 32 + (size_t)c) * 2 + i % 2], gk_bf16_of(x));
                    }
            }
    }
}

/* ---- networks ---- */

static gopt_value *plain(net *t)
{
    gopt_value *x = input(t, DIMS(2, 3, 21, 16)), *y = input(t, DIMS(2, 3, 16, 23)), *z = input(t, DIMS(2, 3, 23, 18));
    gopt_value *s = add(t, "Softmax", "axis = -1", 1, add(t, "MatMul", NULL, 2, x, y, NULL), NULL, NULL);
    return add(t, "Transpose", "perm = [0,2,1,3]", 1, add(t, "MatMul", NULL, 2, s, z, NULL), NULL, NULL);
}

/* Heads side by side, scales at the operands and a mask. */
static gopt_value *borders(net *t)
{
    const float number = 0.6f;
    gopt_value *half = gopt_graph_constant(t->g, NULL, GOPT_F32, 0, NULL, &number);
    gopt_value *x = add(t, "Transpose", "perm = [0,2,1,3]", 1, input(t, DIMS(2, 37, 3, 19)), NULL, NULL);
    gopt_value *y = add(t, "Transpose", "perm = [0,2,3,1]", 1, input(t, DIMS(2, 41, 3, 19)), NULL, NULL);
    gopt_value *z = add(t, "Transpose", "perm = [0,2,1,3]", 1, input(t, DIMS(2, 41, 3, 35)), NULL, NULL);
    x = add(t, "Mul", NULL, 2, half, x, NULL);
    y = add(t, "Div", NULL, 2, y, half, NULL);
    gopt_value *s = add(t, "Add", NULL, 2, add(t, "MatMul", NULL, 2, x, y, NULL), input(t, DIMS(2, 1, 1, 41)), NULL);
    s = add(t, "Softmax", "axis = -1", 1, s, NULL, NULL);
    return add(t, "Transpose", "perm = [0,2,1,3]", 1, add(t, "MatMul", NULL, 2, s, z, NULL), NULL, NULL);
}

/* Many blocks of keys that the heads share, and a mask for each pair. */
static gopt_value *longer(net *t)
{
    gopt_value *x = input(t, DIMS(2, 50, 8)), *y = input(t, DIMS(8, 1024)), *z = input(t, DIMS(1, 1024, 5));
    gopt_value *s = add(t, "Add", NULL, 2, add(t, "MatMul", NULL, 2, x, y, NULL), weights(t, DIMS(50, 1024)), NULL);
    return add(t, "MatMul", NULL, 2, add(t, "Softmax", "axis = 2", 1, s, NULL, NULL), z, NULL);
}

/* Results are means of values below 1. */
static void within(const char *name, const gopt_tensor *a, const gopt_tensor *b, double tolerance)
{
    const int64_t n = gopt_tensor_elements(b);
    assert_int_equal(gopt_tensor_elements(a), n);
    for (int64_t i = 0; i < n; i++) {
        const double x = (double)((const float *)a->data)[i], y = (double)((const float *)b->data)[i];
        if (!(fabs(x - y) <= tolerance)) {
            print_error("%s: element %lld is %g, expected %g\n", name, (long long)i, x, y);
            fail();
        }
    }
}

static void network(const char *name, gopt_value *(*make)(net *t), const char *precision, int threads, double tolerance)
{
    gopt_ctx *cx = gopt_ctx_create(NULL);
    gopt_graph *fused;
    gopt_tensor *in[4];
    gopt_engine *e = NULL, *r = NULL;
    net t = { 0 };
    assert_int_equal(gopt_graph_create(cx, name, 21, &t.g), GOPT_OK);
    assert_int_equal(gopt_graph_output(t.g, make(&t), "y"), GOPT_OK);
    assert_int_equal(gopt_graph_clone(t.g, &fused), GOPT_OK);
    assert_int_equal(gopt_optimize(fused, &(gopt_optimize_options){ .level = 2, .fuse = true }, NULL), GOPT_OK);
    const size_t n = gopt_graph_input_count(t.g);
    for (size_t i = 0; i < n; i++)
        in[i] = make_input(cx, gopt_graph_get_input(t.g, i));
    gopt_run_context *want = start(t.g, &(gopt_engine_options){ .reference = true }, in, &r);
    gopt_run_context *rc = start(fused, &(gopt_engine_options){ .precision = precision, .threads = threads }, in, &e);
    assert_int_equal(gopt_run(want), GOPT_OK);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(gopt_run(rc), GOPT_OK);
        within(name, gopt_run_context_output(rc, 0), gopt_run_context_output(want, 0), tolerance);
    }
    assert_true(runs(rc, "attention_bf16"));
    gopt_run_context_destroy(rc);
    gopt_run_context_destroy(want);
    gopt_engine_destroy(e);
    gopt_engine_destroy(r);
    for (size_t i = 0; i < n; i++)
        gopt_tensor_unref(in[i]);
    gopt_graph_destroy(fused);
    gopt_graph_destroy(t.g);
    gopt_ctx_destroy(cx);
}

static void networks(void **state)
{
    (void)state;
    for (int i = 0; i < UNITS; i++) {
        char precision[32];
        if (!gk_bf16_get(units[i]) || (!gk_bf16_get(units[i])->any_block && gk_best() != GK_AVX512))
            continue;
        snprintf(precision, sizeof(precision), "bf16:%s", units[i]);
        for (int threads = 1; threads <= 4; threads++) {
            network("plain", plain, precision, threads, 6e-3);
            network("borders", borders, precision, threads, 6e-3);
            network("longer", longer, precision, threads, 6e-3);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(sums), cmocka_unit_test(special), cmocka_unit_test(pairs),
                                        cmocka_unit_test(networks) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
