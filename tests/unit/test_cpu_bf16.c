/* Products in bfloat16: every unit that this machine has and those in plain C, by themselves against sums in double,
 * and within networks of one layer against the reference evaluation. Numbers are chosen such that bfloat16 holds them
 * exactly, so that what is left is the rounding of sums. */
#include "unit/net.h"

#include "gk_bf16.h"

static const char *const units[] = { "emulated", "emulated_amx", "avx512_bf16", "amx" };
enum { UNITS = sizeof(units) / sizeof(*units) };

static void near(double x, double want, double tolerance)
{
    if (fabs(x - want) <= tolerance || (isnan(x) && isnan(want)) || x == want)
        return;
    print_error("%g, expected %g\n", x, want);
    fail();
}

/* ---- numbers ---- */

static void rounding(void **state)
{
    (void)state;
    const struct {
        float x;
        uint16_t h;
    } cases[] = { { 1.0f, 0x3f80 },
                  { -2.0f, 0xc000 },
                  { 1.00390625f, 0x3f80 },
                  { 1.01171875f, 0x3f82 },
                  { INFINITY, 0x7f80 },
                  { -INFINITY, 0xff80 },
                  { 0.0f, 0 },
                  { -0.0f, 0x8000 },
                  { 1e-40f, 0 },
                  { -1e-40f, 0x8000 },
                  { 3.4e38f, 0x7f80 },
                  { 1.00390637f, 0x3f81 } };
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++)
        assert_int_equal(gk_bf16_of(cases[i].x), cases[i].h);
    assert_true(isnan(gk_bf16_value(gk_bf16_of(NAN))));
}

/* Channels past the last are zero; parts add up to the number; what is not finite is reported and has one part. */
static void packing(const gk_bf16_unit *u, int parts, int channels, int block)
{
    enum { PIXELS = 5, PIXEL = 40, BLOCK = 300 };
    float src[8 * BLOCK + PIXELS * PIXEL];
    uint16_t dst[GK_BF16_PARTS * 1000];
    for (size_t i = 0; i < sizeof(src) / sizeof(*src); i++)
        src[i] = number() * (i % 3 ? 1.0f : 1e-3f);
    gk_bf16_pack p = { .src = src,
                       .pixel = PIXEL,
                       .src_block = BLOCK,
                       .block = block,
                       .channels = channels,
                       .parts = parts,
                       .dst = dst,
                       .part = 1000,
                       .n = PIXELS };
    assert_true(u->pack(&p));
    for (int i = 0; i < PIXELS; i++)
        for (int c = 0; c < GK_BF16_K; c++) {
            double sum = 0;
            for (int k = 0; k < parts; k++)
                sum += (double)gk_bf16_value(dst[k * 1000 + i * GK_BF16_K + c]);
            const float x = src[i * PIXEL + c / block * BLOCK + c % block];
            near(sum, c < channels ? (double)x : 0, fabs((double)x) * (parts == 1 ? 0x1p-8 : parts == 2 ? 0x1p-16 : 0));
        }
    if (parts == 1)
        return;
    src[2 * PIXEL] = -INFINITY;
    src[3 * PIXEL] = 3.4e38f;
    assert_false(u->pack(&p));
    near((double)gk_bf16_value(dst[2 * GK_BF16_K]), -INFINITY, 0);
    near((double)gk_bf16_value(dst[1000 + 2 * GK_BF16_K]), 0, 0);
    near((double)gk_bf16_value(dst[3 * GK_BF16_K]) + (double)gk_bf16_value(dst[1000 + 3 * GK_BF16_K]), 3.4e38, 1e34);
}

static void packs(void **state)
{
    (void)state;
    for (int i = 0; i < UNITS; i++) {
        const gk_bf16_unit *u = gk_bf16_get(units[i]);
        for (int parts = 1; u && parts <= u->most_parts; parts++)
            for (int channels = 1; channels <= GK_BF16_K; channels++) {
                packing(u, parts, channels, 16);
                for (int block = 4; u->any_block && block <= 8; block *= 2)
                    packing(u, parts, channels, block);
            }
    }
}

/* ---- tiles ---- */

enum { TAPS = 5, STRIDE = 4000, OUT = 64, BLOCK = 2500 };

typedef struct operands {
    uint16_t src[GK_BF16_PARTS * STRIDE], w[TAPS * GK_BF16_PARTS * 1024];
    float bias[32], add[8 * BLOCK + 40 * OUT], before[8 * BLOCK + 40 * OUT], dst[8 * BLOCK + 40 * OUT];
} operands;

/* In so many parts; exact where they hold it. */
static void split(float x, int parts, uint16_t *to, ptrdiff_t part)
{
    for (int k = 0; k < parts; k++, to += part) {
        *to = gk_bf16_of(x);
        x -= gk_bf16_value(*to);
    }
}

static double whole(const uint16_t *p, int parts, ptrdiff_t part)
{
    double x = 0;
    for (int k = 0; k < parts; k++)
        x += (double)gk_bf16_value(p[k * part]);
    return x;
}

static void make(operands *o, int parts)
{
    for (int i = 0; i < STRIDE; i++)
        split(number(), parts, o->src + i, STRIDE);
    for (int t = 0; t < TAPS; t++)
        for (int i = 0; i < 1024; i++)
            split(number(), parts, o->w + t * parts * 1024 + i, 1024);
    for (int i = 0; i < 32; i++)
        o->bias[i] = number();
    for (int i = 0; i < 8 * BLOCK + 40 * OUT; i++) {
        o->add[i] = number();
        o->before[i] = o->dst[i] = number();
    }
}

static void tile_case(const gk_bf16_unit *u, operands *o, int parts, int pixels, int columns, int block, bool add,
                      bool gelu)
{
    static const ptrdiff_t taps[TAPS] = { 32, 0, 96, 64, 320 };
    const int h = (pixels + 1) / 2;
    ptrdiff_t at[GK_BF16_PIXELS];
    make(o, parts);
    for (int p = 0; p < pixels; p++)
        at[p] = p % 5 == 4 && u->flat ? -1 : (p * 7 % 32) * OUT;
    gk_bf16_tile t = { .src = o->src,
                       .pixel = GK_BF16_K,
                       .depth = GK_BF16_K,
                       .half = u->flat ? 0 : (h + 2) * GK_BF16_K,
                       .part = STRIDE,
                       .parts = parts,
                       .bias = o->bias,
                       .add = add ? o->add : NULL,
                       .dst = o->dst,
                       .at = at,
                       .dst_block = BLOCK,
                       .block = block,
                       .pixels = pixels,
                       .columns = columns,
                       .lo = -6.0f,
                       .hi = 5.0f,
                       .gelu = gelu };
    t.taps = taps;
    t.n_taps = TAPS;
    t.w = o->w;
    u->begin();
    u->tile(&t);
    u->end();
    bool written[8 * BLOCK + 40 * OUT] = { false };
    for (int p = 0; p < pixels; p++)
        for (int j = 0; j < columns && at[p] >= 0; j++) {
            const uint16_t *s = o->src + (p < h || u->flat ? p * GK_BF16_K : t.half + (p - h) * GK_BF16_K);
            const ptrdiff_t to = at[p] + j / block * BLOCK + j % block;
            double x = (double)o->bias[j] + (add ? (double)o->add[to] : 0);
            for (int k = 0; k < TAPS * GK_BF16_K; k++)
                x += whole(s + taps[k / 32] + k % 32, parts, STRIDE) *
                     whole(o->w + k / 32 * parts * 1024 + k % 32 / 2 * 64 + j * 2 + k % 2, parts, 1024);
            if (gelu)
                near((double)o->dst[to], 0.5 * x * (1 + erf(x * sqrt(0.5))), 3.5e-4);
            else
                near((double)o->dst[to], fmin(fmax(x, -6), 5), parts == 2 ? 1e-4 : 2e-5);
            written[to] = true;
        }
    for (int i = 0; i < 8 * BLOCK + 40 * OUT; i++)
        if (!written[i])
            assert_memory_equal(&o->dst[i], &o->before[i], sizeof(float));
}

static void tiles(void **state)
{
    (void)state;
    operands *o = malloc(sizeof(*o));
    assert_non_null(o);
    for (int i = 0; i < UNITS; i++) {
        const gk_bf16_unit *u = gk_bf16_get(units[i]);
        for (int parts = 1; u && parts <= u->most_parts; parts++) {
            for (int pixels = 1; pixels <= u->pixels; pixels++)
                for (int columns = pixels % 3 + 1; columns <= GK_BF16_COLUMNS; columns += u->flat ? 5 : 3)
                    tile_case(u, o, parts, pixels, columns, 16, columns & 1, parts == 1 && columns % 4 < 2);
            for (int block = 4; u->any_block && block <= 8; block *= 2)
                tile_case(u, o, parts, u->pixels - 1, 24, block, true, false);
        }
    }
    free(o);
}

/* Infinities and NaN come through as products of floats let them. */
static void specials(void **state)
{
    (void)state;
    operands *o = malloc(sizeof(*o));
    assert_non_null(o);
    for (int i = 0; i < UNITS; i++) {
        const gk_bf16_unit *u = gk_bf16_get(units[i]);
        if (!u)
            continue;
        make(o, 1);
        const ptrdiff_t tap = 0, at[3] = { 0, OUT, 2 * OUT };
        o->src[5] = 0x7f80;
        o->src[GK_BF16_K + 7] = 0x7fc0;
        gk_bf16_tile t = { .src = o->src,
                           .pixel = GK_BF16_K,
                           .depth = GK_BF16_K,
                           .half = u->flat ? 0 : 2 * GK_BF16_K,
                           .taps = &tap,
                           .n_taps = 1,
                           .w = o->w,
                           .parts = 1,
                           .bias = o->bias,
                           .dst = o->dst,
                           .at = at,
                           .dst_block = 16,
                           .block = 16,
                           .pixels = 3,
                           .columns = 32,
                           .lo = -INFINITY,
                           .hi = INFINITY };
        u->begin();
        u->tile(&t);
        u->end();
        for (int j = 0; j < 32; j++) {
            near((double)o->dst[j], gk_bf16_value(o->w[2 * 64 + j * 2 + 1]) < 0 ? -INFINITY : INFINITY, 0);
            assert_true(isnan(o->dst[OUT + j]));
            assert_true(isfinite(o->dst[2 * OUT + j]));
        }
    }
    free(o);
}

/* ---- networks ---- */

static gopt_value *conv3x3_relu(net *t)
{
    return add(t, "Relu", NULL, 1, conv(t, input(t, DIMS(2, 33, 13, 17)), 40, 33, 3, 3, "pads = [1,1,1,1]"), NULL,
               NULL);
}

static gopt_value *conv1x1_residual(net *t)
{
    gopt_value *y = conv(t, input(t, DIMS(2, 24, 9, 11)), 56, 24, 1, 1, NULL);
    const float six = 2.0f, zero = -1.0f;
    gopt_value *lo = gopt_graph_constant(t->g, NULL, GOPT_F32, 0, NULL, &zero);
    gopt_value *hi = gopt_graph_constant(t->g, NULL, GOPT_F32, 0, NULL, &six);
    return add(t, "Clip", NULL, 3, add(t, "Add", NULL, 2, y, input(t, DIMS(2, 56, 9, 11)), NULL), lo, hi);
}

static gopt_value *strided(net *t)
{
    return conv(t, input(t, DIMS(1, 16, 15, 14)), 48, 16, 5, 3, "pads = [2,1,2,1], strides = [2,3]");
}

static gopt_value *strided1x1(net *t)
{
    return conv(t, input(t, DIMS(2, 40, 14, 13)), 33, 40, 1, 1, "strides = [2,2]");
}

static gopt_value *dilated(net *t)
{
    return add(t, "LeakyRelu", "alpha = 0.2", 1,
               conv(t, input(t, DIMS(1, 20, 15, 14)), 36, 20, 3, 2, "dilations = [2,3], pads = [1,0,2,3]"), NULL, NULL);
}

static gopt_value *dilated_strided(net *t)
{
    return conv(t, input(t, DIMS(1, 36, 23, 22)), 20, 36, 3, 3, "dilations = [3,2], strides = [2,4], pads = [3,2,1,4]");
}

static gopt_value *pads_alone(net *t) /* rows and columns of output that see nothing but padding */
{
    return conv(t, input(t, DIMS(1, 16, 3, 3)), 16, 16, 2, 2, "pads = [4,4,4,4]");
}

static gopt_value *padded1x1(net *t)
{
    return conv(t, input(t, DIMS(1, 16, 5, 3)), 70, 16, 1, 1, "pads = [1,2,0,3]");
}

static gopt_value *short_rows(net *t)
{
    return conv(t, input(t, DIMS(1, 32, 7, 7)), 40, 32, 3, 3, "pads = [1,1,1,1]");
}

static gopt_value *wide(net *t) /* several strips, and rows longer than a tile */
{
    return add(t, "Gelu", NULL, 1, conv(t, input(t, DIMS(1, 64, 40, 90)), 16, 64, 3, 3, "pads = [1,1,1,1]"), NULL,
               NULL);
}

static gopt_value *one_dim(net *t)
{
    return add(t, "Conv", "pads = [2,1], strides = [2]", 2, input(t, DIMS(2, 40, 50)), weights(t, DIMS(33, 40, 4)),
               NULL);
}

static gopt_value *dense(net *t)
{
    gopt_value *x = add(t, "MatMul", NULL, 2, input(t, DIMS(2, 19, 45)), weights(t, DIMS(45, 71)), NULL);
    return add(t, "Gelu", NULL, 1, add(t, "Add", NULL, 2, x, weights(t, DIMS(71)), NULL), NULL, NULL);
}

static gopt_value *dense_residual(net *t)
{
    gopt_value *x = add(t, "MatMul", NULL, 2, input(t, DIMS(1, 37, 1024)), weights(t, DIMS(1024, 40)), NULL);
    return add(t, "Add", NULL, 2, x, input(t, DIMS(1, 37, 40)), NULL);
}

static gopt_value *gemv(net *t)
{
    return add(t, "Gemm", "transB = 1, alpha = 0.5, beta = 2", 3, input(t, DIMS(1, 77)), weights(t, DIMS(101, 77)),
               weights(t, DIMS(101)));
}

static gopt_value *two_rows(net *t)
{
    return add(t, "Gemm", NULL, 3, input(t, DIMS(2, 300)), weights(t, DIMS(300, 65)), weights(t, DIMS(1)));
}

typedef struct layer {
    const char *name;
    gopt_value *(*make)(net *t);
    bool image;
    bool gelu; /* the kernel's: 3.5e-4 off */
} layer;

static const layer cases[] = { { "conv3x3_relu", conv3x3_relu, true, false },
                               { "conv1x1_residual", conv1x1_residual, true, false },
                               { "strided", strided, true, false },
                               { "strided1x1", strided1x1, true, false },
                               { "dilated", dilated, true, false },
                               { "dilated_strided", dilated_strided, true, false },
                               { "pads_alone", pads_alone, true, false },
                               { "padded1x1", padded1x1, true, false },
                               { "short_rows", short_rows, true, false },
                               { "wide", wide, true, true },
                               { "one_dim", one_dim, true, false },
                               { "dense", dense, false, true },
                               { "dense_residual", dense_residual, false, false },
                               { "gemv", gemv, false, false },
                               { "two_rows", two_rows, false, false } };

typedef struct made {
    const layer *k;
    gopt_ctx *cx;
    gopt_graph *g, *fused;
    gopt_tensor *in[2];
    gopt_engine *e;
    gopt_run_context *want;
} made;

static made make_net(const layer *k)
{
    made m = { .k = k, .cx = gopt_ctx_create(NULL) };
    net t = { 0 };
    assert_int_equal(gopt_graph_create(m.cx, k->name, 21, &t.g), GOPT_OK);
    assert_int_equal(gopt_graph_output(t.g, k->make(&t), "y"), GOPT_OK);
    m.g = t.g;
    assert_int_equal(gopt_graph_clone(t.g, &m.fused), GOPT_OK);
    assert_int_equal(gopt_optimize(m.fused, &(gopt_optimize_options){ .level = 2, .fuse = true }, NULL), GOPT_OK);
    for (size_t i = 0; i < gopt_graph_input_count(t.g); i++)
        m.in[i] = make_input(m.cx, gopt_graph_get_input(t.g, i));
    m.want = start(m.g, &(gopt_engine_options){ .reference = true }, m.in, &m.e);
    assert_int_equal(gopt_run(m.want), GOPT_OK);
    return m;
}

static void drop_net(made *m)
{
    gopt_run_context_destroy(m->want);
    gopt_engine_destroy(m->e);
    for (int i = 0; i < 2; i++)
        gopt_tensor_unref(m->in[i]);
    gopt_graph_destroy(m->fused);
    gopt_graph_destroy(m->g);
    gopt_ctx_destroy(m->cx);
}

static void within(const char *name, const gopt_tensor *a, const gopt_tensor *b, double tolerance, double absolute)
{
    double scale = 0;
    assert_int_equal(a->rank, b->rank);
    assert_memory_equal(a->dims, b->dims, (size_t)a->rank * sizeof(*a->dims));
    const int64_t n = gopt_tensor_elements(b);
    for (int64_t i = 0; i < n; i++)
        scale = fmax(scale, fabs((double)((const float *)b->data)[i]));
    for (int64_t i = 0; i < n; i++) {
        const double x = (double)((const float *)a->data)[i], y = (double)((const float *)b->data)[i];
        if (!(fabs(x - y) <= tolerance * scale + absolute)) {
            print_error("%s: element %lld is %g, expected %g\n", name, (long long)i, x, y);
            fail();
        }
    }
}

static void run_net(made *m, const char *precision, const char *isa, int threads, double tolerance)
{
    gopt_engine *e = NULL;
    const gopt_engine_options o = { .precision = precision, .isa = isa, .threads = threads };
    const bool split = !strncmp(precision, "bf16x", 5);
    gopt_run_context *rc = start(m->fused, &o, m->in, &e);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(gopt_run(rc), GOPT_OK);
        within(m->k->name, gopt_run_context_output(rc, 0), gopt_run_context_output(m->want, 0), tolerance,
               m->k->gelu && !split ? 3.5e-4 : 0);
    }
    if (!runs(rc, m->k->image ? split ? "conv_split" : "conv_bf16" : split ? "matmul_split" : "matmul_bf16")) {
        const gopt_step_info *step = gopt_run_context_step(rc, 0);
        print_error("%s: in %s, isa %s, its first step runs by %s\n", m->k->name, precision, isa ? isa : "any",
                    step->tactic);
        fail();
    }
    gopt_run_context_destroy(rc);
    gopt_engine_destroy(e);
}

static void networks(void **state)
{
    (void)state;
    static const char *const isas[] = { "sse2", "avx2", "avx512" };
    kept_bits = 0xffff0000;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        made m = make_net(&cases[i]);
        for (int u = 0; u < UNITS; u++) {
            const gk_bf16_unit *unit = gk_bf16_get(units[u]);
            char precision[32];
            snprintf(precision, sizeof(precision), "bf16:%s", units[u]);
            for (int isa = 0; unit && isa <= (int)gk_best(); isa++)
                if (unit->any_block || isa == (int)GK_AVX512)
                    run_net(&m, precision, isas[isa], 1 + (int)(i + (size_t)(u + isa)) % 4, 1e-5);
        }
        drop_net(&m);
    }
    kept_bits = 0xffffffff;
}

/* With numbers as they come: a layer is off by less than 1% of its largest result. */
static void loss(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        made m = make_net(&cases[i]);
        run_net(&m, "bf16:emulated", NULL, 2, 0.01);
        drop_net(&m);
    }
}

/* fp32 by three products and by six, numbers as they come. */
static void splits(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(cases) / sizeof(*cases); i++) {
        made m = make_net(&cases[i]);
        for (int u = 1; u < UNITS; u++) {
            const gk_bf16_unit *unit = gk_bf16_get(units[u]);
            char precision[32];
            for (int parts = 2; unit && parts <= unit->most_parts; parts++) {
                snprintf(precision, sizeof(precision), "bf16x%d:%s", parts == 2 ? 3 : 6, units[u]);
                run_net(&m, precision, NULL, 1 + (int)(i + (size_t)parts) % 3, parts == 2 ? 1e-5 : 5e-6);
            }
        }
        drop_net(&m);
    }
}

/* What is not finite has no parts: such strips are multiplied otherwise, and only what saw the number is touched. */
static void split_infinities(void **state)
{
    (void)state;
    made m = make_net(&cases[0]);
    gopt_engine *e = NULL;
    float *x = m.in[0]->data;
    x[100] = -INFINITY;
    x[33 * 13 * 17 + 5] = NAN;
    assert_int_equal(gopt_run(m.want), GOPT_OK);
    gopt_run_context *rc = start(m.fused, &(gopt_engine_options){ .precision = "bf16x3:emulated_amx" }, m.in, &e);
    assert_int_equal(gopt_run(rc), GOPT_OK);
    const gopt_tensor *a = gopt_run_context_output(rc, 0), *b = gopt_run_context_output(m.want, 0);
    for (int64_t i = 0; i < gopt_tensor_elements(b); i++)
        near((double)((const float *)a->data)[i], (double)((const float *)b->data)[i], 1e-3);
    gopt_run_context_destroy(rc);
    gopt_engine_destroy(e);
    drop_net(&m);
}

/* ---- choosing ---- */

static gopt_value *three_products(net *t)
{
    gopt_value *x = input(t, DIMS(40, 128));
    for (int i = 0; i < 3; i++)
        x = add(t, "Tanh", NULL, 1, add(t, "MatMul", NULL, 2, x, weights(t, DIMS(128, 128)), NULL), NULL, NULL);
    return x;
}

static gopt_value *three(net *t)
{
    gopt_value *x = add(t, "Relu", NULL, 1, conv(t, input(t, DIMS(1, 64, 20, 20)), 64, 64, 1, 1, NULL), NULL, NULL);
    x = add(t, "Relu", NULL, 1, conv(t, x, 64, 64, 1, 1, NULL), NULL, NULL);
    return conv(t, x, 64, 64, 1, 1, NULL);
}

static void count(made *m, const char *precision, gopt_fp fp, const char *tactic, int expected)
{
    gopt_engine *e = NULL;
    const gopt_engine_options o = { .precision = precision, .fp = fp, .threads = 2 };
    gopt_run_context *rc = start(m->fused, &o, m->in, &e);
    const gopt_step_info *s;
    int n = 0;
    for (size_t i = 0; (s = gopt_run_context_step(rc, i)); i++)
        n += !strcmp(s->tactic, tactic);
    assert_int_equal(n, expected);
    gopt_run_context_destroy(rc);
    gopt_engine_destroy(e);
}

static void choices(void **state)
{
    (void)state;
    const layer k = { "three", three, true, false };
    made m = make_net(&k);
    count(&m, "best:emulated", GOPT_FP_STRICT, "conv_bf16", 3);
    count(&m, "bf16:emulated", GOPT_FP_STRICT, "conv_bf16", 3);
    count(&m, "fp32:emulated", GOPT_FP_FAST, "conv_bf16", 0);
    count(&m, "fp32:emulated_amx", GOPT_FP_STRICT, "conv_split", 0);
    count(&m, "fp32:emulated_amx", GOPT_FP_REASSOC, "conv_split", 3);
    count(&m, "best:emulated_amx", GOPT_FP_REASSOC, "conv_bf16", 3);
    drop_net(&m);
    const layer p = { "three_products", three_products, false, false };
    m = make_net(&p);
    count(&m, "best:emulated", GOPT_FP_STRICT, "matmul_bf16", 3);
    count(&m, "bf16:emulated", GOPT_FP_STRICT, "matmul_bf16", 3);
    count(&m, "fp32:emulated_amx", GOPT_FP_REASSOC, "matmul_split", 3);
    count(&m, "best:emulated_amx", GOPT_FP_REASSOC, "matmul_bf16", 3);
    drop_net(&m);
}

static void refusals(void **state)
{
    (void)state;
    made m = make_net(&cases[0]);
    gopt_engine *e = NULL;
    assert_int_equal(gopt_engine_create(m.g, &(gopt_engine_options){ .precision = "int8" }, &e), GOPT_UNSUPPORTED);
    assert_int_equal(gopt_engine_create(m.g, &(gopt_engine_options){ .precision = "bf16:sparse" }, &e),
                     GOPT_UNSUPPORTED);
    assert_int_equal(gopt_engine_create(m.g, &(gopt_engine_options){ .precision = "bf16", .isa = "sse2" }, &e),
                     GOPT_UNSUPPORTED);
    assert_null(e);
    drop_net(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = { cmocka_unit_test(rounding), cmocka_unit_test(packs),
                                        cmocka_unit_test(tiles),    cmocka_unit_test(specials),
                                        cmocka_unit_test(networks), cmocka_unit_test(loss),
                                        cmocka_unit_test(splits),   cmocka_unit_test(split_infinities),
                                        cmocka_unit_test(choices),  cmocka_unit_test(refusals) };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
