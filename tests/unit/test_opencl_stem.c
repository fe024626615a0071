/* First convolutions with the MaxPool behind as one kernel (stem.cl), against reference evaluation: on NVIDIA's GPUs as
 * it is, elsewhere emulated by ptx_emulated.cl. */
#include "backend/opencl/stem.h"

#include "unit/opencl.h"
#include "unit/opencl_dump.h"

#include "backend/fp32.h"
#include "backend/plan_file.h"

/* A convolution and Relu in a region. */
#define CONV(x, w, b, how)                                                                              \
    "graph (%x: f32[" x "]) {\n  %r = Fusion<conv> { body = block () {\n    %c = Conv %x, dense<f32[" w \
    "], #a>, dense<f32[" b "], #b> { " how " }\n    %d = Relu %c\n    return %d } }\n"
#define POOL(how) "  %y = MaxPool %r { " how " }\n"
#define END(v) "  return %" v " as \"" v "\"\n}\n"

/* Runs the network by that variant, NULL: any; so many steps run on the device, so many of them by stem.cl. */
static checked run_with(check_options o, const char *variant, const char *text, size_t steps, size_t stems)
{
    char how[64];
    (void)snprintf(how, sizeof how, "emulated%s%s", variant ? "," : "", variant ? variant : "");
    assert_int_equal(setenv("GOPT_OPENCL_TENSOR", how, 1), 0);
    o.precision = "fp16";
    const checked r = check_with(&o, text);
    if (r.steps != steps || r.stems != stems)
        fail_msg("%zu steps, %zu of them by stem.cl, not %zu and %zu, in\n%s", r.steps, r.stems, steps, stems, text);
    return r;
}

static checked run(const char *variant, const char *text, size_t steps, size_t stems)
{
    return run_with((check_options){ 0 }, variant, text, steps, stems);
}

/* Variants, in several groups each. */
static void variants(void **state)
{
    (void)state;
    /* every third one but with GOPT_TEST_FULL: emulated kernels take long to compile */
    for (size_t i = 0; i < gi_cl_stem_variants(); i += getenv("GOPT_TEST_FULL") ? 1 : 3) {
        char name[32];
        gi_cl_stem_name(i, name, sizeof name);
        const checked r = run(name,
                              CONV("1,3,37,71", "70,3,3,3", "70", "strides = [2,2]")
                                  POOL("kernel_shape = [3,3], strides = [2,2], ceil_mode = 1") END("y"),
                              1, 1);
        assert_string_equal(r.first, name);
    }
}

static void uses(void **state)
{
    static const struct {
        const char *text;
        size_t steps, stems;
    } all[] = {
        /* ResNet's, of odd sizes */
        { CONV("3,3,29,35", "64,3,7,7", "64", "pads = [3,3,3,3], strides = [2,2]")
              POOL("kernel_shape = [3,3], strides = [2,2], pads = [1,1,1,1]") END("y"),
          1, 1 },
        /* MobileNet's: unequal pads, no pool, one channel, 13 where there is room for 16 */
        { CONV("2,1,19,16", "13,1,3,3", "13",
               "pads = [1,0,0,2], strides = [2,2]") "  %z = Conv %r, dense<f32[8,13,1,1], #c>\n" END("z"),
          2, 1 },
        /* windows at odd places; a pool without overlap, whose last windows are cut off */
        { CONV("2,2,15,13", "24,2,3,3", "24", "pads = [1,1,1,1]") POOL("kernel_shape = [2,2], strides = [2,2]")
              END("y"),
          1, 1 },
        /* an odd number of chunks a window, strides and pads that differ, a result of several blocks of channels */
        { CONV("1,4,14,31", "96,4,3,5", "96", "strides = [1,3], pads = [0,2,1,1]")
              POOL("kernel_shape = [3,2], strides = [1,2], pads = [1,0,1,1]") END("y"),
          1, 1 },
        /* AlexNet's */
        { CONV("1,3,55,63", "16,3,11,11", "16", "strides = [4,4], pads = [2,2,2,2]")
              POOL("kernel_shape = [3,3], strides = [2,2]") END("y"),
          1, 1 },
        /* images that lie as the device has them: halves with channels last */
        { "graph (%x: f32[1,3,13,14]) {\n  %c = Conv %x, dense<f32[4,3,3,3], #a>, dense<f32[4], #b>\n  %r = "
          "Fusion<conv> { body = block () {\n    %d = Conv %c, dense<f32[16,4,2,2], #c> { auto_pad = \"SAME_UPPER\", "
          "strides = [2,2] }\n    %e = Mul %d, dense<f32[16,1,1], #d>\n    %f = Tanh %e\n    return %f } }\n" POOL(
              "kernel_shape = [2,3], auto_pad = \"SAME_LOWER\"") END("y"),
          2, 2 },
        /* a model in f16 */
        { "graph (%x: f16[1,3,11,14]) {\n  %r = Fusion<conv> { body = block () {\n    %d = Conv %x, "
          "dense<f16[16,3,3,3], #c>\n    %e = Relu %d\n    return %e } }\n" POOL("kernel_shape = [2,2]") END("y"),
          1, 1 },
        /* what the pool reads is read once more, as such, or by the host */
        { CONV("1,3,12,12", "16,3,3,3", "16", "strides = [2,2]")
              POOL("kernel_shape = [2,2]") "  %g = GlobalAveragePool %r\n  %z = Add %y, %g\n" END("z"),
          4, 1 },
        { CONV("1,3,12,12", "16,3,3,3", "16", "strides = [2,2]")
              POOL("kernel_shape = [2,2]") "  return %y as \"y\", %r as \"r\"\n}\n",
          2, 0 },
        /* the places of the maxima are wanted */
        { CONV("1,3,12,12", "16,3,3,3", "16", "strides = [2,2]")
              POOL("kernel_shape = [2,2]") "  %m, %i = MaxPool %r { kernel_shape = [2,2] }\n  return %m as \"m\", %i "
                                           "as \"i\"\n}\n",
          2, 1 },
        /* without a region nothing grows */
        { "graph (%x: f32[1,3,12,12]) {\n  %c = Conv %x, dense<f32[16,3,3,3], #a>\n  %y = MaxPool %c { kernel_shape = "
          "[2,2] }\n" END("y"),
          2, 1 },
        /* what it leaves to others: dilations of either, groups, 5 channels, a sum of two */
        { CONV("1,3,12,12", "16,3,3,3", "16", "dilations = [2,2]") POOL("kernel_shape = [2,2]") END("y"), 2, 0 },
        { CONV("1,3,12,12", "16,3,3,3", "16", "") POOL("kernel_shape = [2,2], dilations = [2,1]") END("y"), 2, 1 },
        { CONV("1,5,12,12", "16,5,3,3", "16", "") POOL("kernel_shape = [2,2]") END("y"), 2, 0 },
    };
    (void)state;
    for (size_t i = 0; i < GI_COUNT(all); i++) { /* the other variants, where there is room for them */
        char name[32];
        gi_cl_stem_name((2 * i + 1) % gi_cl_stem_variants(), name, sizeof name);
        (void)run(name, all[i].text, all[i].steps, all[i].stems);
    }
    /* another kernel is asked for */
    (void)run("mma", all[2].text, 2, 0);
}

/* ---- what stays in floats ---- */

static gi_node *region_of(const gopt_graph *g)
{
    return g->main->first;
}

static void mark_sum(gopt_graph *g)
{
    assert_true(gi_fp32_mark(gi_fusion_block(region_of(g))->last->out[0], "reaches 70000"));
}

static void mark_maximum(gopt_graph *g)
{
    assert_true(gi_fp32_mark(region_of(g)->next->out[0], "reaches 70000"));
}

static void mark_input(gopt_graph *g)
{
    assert_true(gi_fp32_mark(g->main->params[0], "reaches 70000"));
}

static void keep_pool(gopt_graph *g)
{
    assert_int_equal(gopt_node_keep_fp32(region_of(g)->next, "as told"), GOPT_OK);
}

static void floats(void **state)
{
    static void (*const all[])(gopt_graph *) = { mark_sum, mark_maximum, mark_input, keep_pool };
    static const size_t by_stem[] = { 0, 1, 0, 1 }; /* the convolution alone may still be one */
    (void)state;
    for (size_t i = 0; i < GI_COUNT(all); i++) {
        const check_options o = { .prepare = all[i] };
        (void)run_with(o, NULL,
                       CONV("1,3,12,12", "16,3,3,3", "16", "strides = [2,2]")
                           POOL("kernel_shape = [2,2]") "  %z = Conv %y, dense<f32[8,16,1,1], #c>\n" END("z"),
                       3, by_stem[i]);
    }
    /* weights that halves do not hold */
    (void)run(NULL,
              "graph (%x: f32[1,1,12,12]) {\n  %r = Fusion<conv> { body = block () {\n    %c = Conv %x, "
              "dense<f32[4,1,1,2], [70000.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]>\n    %d = Mul %c, dense<f32[], 1e-4>\n"
              "    return %d } }\n" POOL("kernel_shape = [2,2]") END("y"),
              2, 0);
}

/* ---- in walks and plans ---- */

/* A stem, and what a walk needs behind it. */
static const char network[] = CONV("2,3,21,23", "24,3,7,7", "24", "pads = [3,3,3,3], strides = [2,2]") POOL(
    "kernel_shape = [3,3], strides = [2,2], pads = [1,1,1,1]") "  %z = Tanh %y\n  %q = GlobalAveragePool %z\n" END("q");

/* The step of the walk that reads the image as the host gave it: nothing converts. */
static void walk(void **state)
{
    dump_folder d;
    (void)state;
    open_dump(&d);
    const check_options o = { .dump = d.path };
    assert_int_equal(setenv("GOPT_OPENCL_WALK", "1", 1), 0);
    (void)run_with(o, NULL, network, 3, 1);
    assert_int_equal(unsetenv("GOPT_OPENCL_WALK"), 0);
    assert_true(dumped(&d, "walk", "") && dumped(&d, "stem", ""));
    assert_false(dumped(&d, "convert", "") || dumped(&d, "pool8", "") || dumped(&d, "pool", ""));
    close_dump(&d);
}

static size_t stems_of(const gopt_engine *e, const gopt_tensor *x, float *y)
{
    gopt_run_context *rc;
    const gopt_step_info *s;
    size_t n = 0;
    assert_int_equal(gopt_run_context_create((gopt_engine *)(uintptr_t)e, &rc), GOPT_OK);
    assert_int_equal(gopt_run_context_set_input(rc, 0, x), GOPT_OK);
    assert_int_equal(gopt_run(rc), GOPT_OK);
    const gopt_tensor *out = gopt_run_context_output(rc, 0);
    memcpy(y, out->data, out->bytes);
    for (size_t i = 0; (s = gopt_run_context_step(rc, i)); i++)
        n += !strncmp(s->tactic, "stem_", 5) && !strcmp(s->op, "Conv+Relu+MaxPool");
    gopt_run_context_destroy(rc);
    return n;
}

/* A plan holds the region as it has grown, and what was packed for it. */
static void plan(void **state)
{
    char path[] = "/tmp/gopt-stem-XXXXXX";
    float want[2 * 24], have[2 * 24];
    gopt_engine *built, *loaded;
    gopt_plan *p;
    (void)state;
    need_a_device();
    const int file = mkstemp(path);
    assert_true(file >= 0 && close(file) == 0);
    assert_int_equal(setenv("GOPT_OPENCL_TENSOR", "emulated", 1), 0);
    gopt_ctx *cx = gopt_ctx_create(NULL);
    gopt_graph *g = parse(cx, network);
    gopt_tensor *x = draw(cx, g->main->params[0]->type, 1);
    const gopt_engine_options o = { .backend = "opencl", .precision = "fp16", .for_plan = true };
    assert_int_equal(gopt_engine_create(g, &o, &built), GOPT_OK);
    assert_int_equal(stems_of(built, x, want), 1);
    assert_int_equal(gopt_plan_save(built, path, NULL), GOPT_OK);
    assert_int_equal(gopt_plan_open(cx, path, &p), GOPT_OK);
    assert_int_equal(gopt_plan_get_sizes(p).n_packs, 2);
    assert_int_equal(gopt_plan_engine(p, &(gopt_engine_options){ .trust_plan = true }, &loaded), GOPT_OK);
    assert_false(loaded->reads_cold);
    assert_int_equal(stems_of(loaded, x, have), 1);
    assert_memory_equal(want, have, sizeof want);
    gopt_engine_destroy(loaded);
    gopt_plan_close(p);
    gopt_engine_destroy(built);
    gopt_tensor_unref(x);
    gopt_graph_destroy(g);
    gopt_ctx_destroy(cx);
    assert_int_equal(unlink(path), 0);
}

int main(int argc, char **argv)
{
    cmocka_set_test_filter(argc > 1 ? argv[1] : NULL);
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(variants), cmocka_unit_test(uses), cmocka_unit_test(floats),
        cmocka_unit_test(walk),     cmocka_unit_test(plan),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
