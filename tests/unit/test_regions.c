/* Regions that no kernel runs whole fall apart into parts that one does, and answer as before. */
#include "unit/unit.h"

#include <string.h>

#include "gopt/gopt.h"
#include "ir/graph.h"
#include "ops/infer.h"

static void answer(gopt_graph *g, const gopt_engine_options *o, gopt_engine **e, gopt_run_context **rc)
{
    gopt_tensor *inputs[4] = { NULL };
    gopt_status st = gopt_engine_create(g, o, e);
    if (st == GOPT_OK)
        st = gopt_run_context_create(*e, rc);
    for (size_t i = 0; st == GOPT_OK && i < gopt_graph_input_count(g); i++) {
        const gi_type *t = gopt_graph_get_input(g, i)->type;
        int64_t dims[GOPT_MAX_RANK];
        gopt_tensor *x;
        assert_true(gi_type_static_dims(t, dims));
        assert_int_equal(gopt_tensor_create(g->cx, t->dtype, t->rank, dims, &x), GOPT_OK);
        for (int64_t k = 0; k < gopt_tensor_elements(x); k++)
            gi_store_f64(t->dtype, x->data, (size_t)k, (double)((k * 37 + (int64_t)i * 11) % 29 - 14) / 8);
        inputs[i] = x;
        st = gopt_run_context_set_input(*rc, i, x);
    }
    if (st == GOPT_OK)
        st = gopt_run(*rc);
    for (int i = 0; i < 4; i++)
        gopt_tensor_unref(inputs[i]);
    if (st != GOPT_OK)
        gopt_diag_print(g->cx, stderr, false);
    assert_int_equal(st, GOPT_OK);
}

static void same_outputs(gopt_graph *g, gopt_run_context *a, gopt_run_context *b)
{
    for (size_t i = 0; i < gopt_graph_output_count(g); i++) {
        const gopt_tensor *x = gopt_run_context_output(a, i), *y = gopt_run_context_output(b, i);
        assert_int_equal(gopt_tensor_elements(x), gopt_tensor_elements(y));
        for (int64_t k = 0; k < gopt_tensor_elements(x); k++) {
            const double p = gi_load_f64(x->dtype, x->data, (size_t)k), q = gi_load_f64(y->dtype, y->data, (size_t)k);
            assert_true((p == q) || (p != p && q != q) || (p - q < 1e-4 && q - p < 1e-4));
        }
    }
}

/* The steps that compute are "ops tactic", one after another; `apart` of them come from a region that fell apart. */
static void runs_as(const char *backend, const char *text, const char *const *steps, int apart)
{
    gopt_ctx *cx = gopt_ctx_create(NULL);
    gopt_graph *g = NULL;
    gopt_engine *e = NULL, *ref = NULL;
    gopt_run_context *rc = NULL, *ref_rc = NULL;
    if (gi_parse(cx, "test", text, strlen(text), &g) != GOPT_OK || gi_infer_graph(g) != GOPT_OK) {
        gopt_diag_print(cx, stderr, false);
        fail();
    }
    answer(g, &(gopt_engine_options){ .threads = 2, .backend = backend }, &e, &rc);
    answer(g, &(gopt_engine_options){ .reference = true }, &ref, &ref_rc);
    same_outputs(g, rc, ref_rc);
    for (size_t i = 0, k = 0;; i++) {
        const gopt_step_info *s = gopt_run_context_step(rc, i);
        char found[256];
        if (!s) {
            assert_null(steps[k]);
            break;
        }
        if (!strcmp(s->op, "copy"))
            continue;
        snprintf(found, sizeof found, "%s %s", s->op, s->tactic);
        assert_non_null(steps[k]);
        assert_string_equal(found, steps[k]);
        k++;
        apart -= s->region != NULL;
    }
    assert_int_equal(apart, 0);
    gopt_run_context_destroy(rc);
    gopt_run_context_destroy(ref_rc);
    gopt_engine_destroy(e);
    gopt_engine_destroy(ref);
    gopt_graph_destroy(g);
    gopt_ctx_destroy(cx);
}

#define STEPS(...) ((const char *const[]){ __VA_ARGS__, NULL })

static void what_a_kernel_takes_stays_whole(void **state)
{
    (void)state;
    runs_as("cpu",
            "graph (%x: f32[1,3,8,8]) {\n"
            "  %y = Fusion<conv> { body = block () {\n"
            "    %a = Conv %x, dense<f32[4,3,3,3], #a1>\n"
            "    %s = Sigmoid %a\n"
            "    %m = Mul %a, %s\n"
            "    return %m\n"
            "  } }\n"
            "  return %y\n}\n",
            STEPS("Conv+Sigmoid+Mul conv_direct"), 0);
}

static void pools_and_rows_stay_whole(void **state)
{
    (void)state;
    runs_as("cpu",
            "graph (%x: f32[1,32,8,8], %u: f32[5,6], %v: f32[5,6]) {\n"
            "  %y = Fusion<pool> { body = block () {\n"
            "    %m = MaxPool %x { kernel_shape = [2,2] }\n"
            "    %a = Relu %m\n"
            "    return %a\n"
            "  } }\n"
            "  %w, %z = Fusion<norm> { body = block () {\n"
            "    %s = Add %u, %v\n"
            "    %t = LayerNormalization %s, dense<f32[6], #a2>\n"
            "    return %s, %t\n"
            "  } }\n"
            "  return %y, %w, %z\n}\n",
            STEPS("MaxPool+Relu pool", "Add+LayerNormalization row_chain"), 0);
}

static void what_is_broadcast_inside_goes_along(void **state)
{
    (void)state;
    runs_as("cpu",
            "graph (%x: f32[2,3,4,5], %g: f32[2,3,1,1], %k: f32[5]) {\n"
            "  %p, %y = Fusion<pointwise> { body = block () {\n"
            "    %s = Sigmoid %g\n"
            "    %m = Neg %k\n"
            "    %n = Exp %m\n"
            "    %a = Add %x, %n\n"
            "    %r = Mul %a, %s\n"
            "    return %a, %r\n"
            "  } }\n"
            "  %q, %z = Fusion<pointwise> { body = block () {\n"
            "    %u = Neg %k\n"
            "    %c = Add %x, %u\n"
            "    %d = Abs %c\n"
            "    return %c, %d\n"
            "  } }\n"
            "  return %p, %y, %q, %z\n}\n",
            STEPS("Sigmoid pointwise", "Neg+Exp+Add+Mul pointwise", "Neg+Add+Abs pointwise"), 2);
}

/* A kernel that computes what is before a product strip by strip was no faster than a step of its own. */
static void what_is_before_a_product_falls_off(void **state)
{
    (void)state;
    runs_as("cpu",
            "graph (%x: f32[1,32,8,8], %g: f32[1,32,1,1], %u: f32[5,6]) {\n"
            "  %y = Fusion<conv> { body = block () {\n"
            "    %m = Mul %x, %g\n"
            "    %c = Conv %m, dense<f32[32,32,1,1], #a1>\n"
            "    %a = Add %c, %x\n"
            "    return %a\n"
            "  } }\n"
            "  %w = Fusion<matmul> { body = block () {\n"
            "    %s = Sigmoid %u\n"
            "    %t = Mul %s, %u\n"
            "    %p = MatMul %t, dense<f32[6,4], #a2>\n"
            "    %r = Relu %p\n"
            "    return %r\n"
            "  } }\n"
            "  return %y, %w\n}\n",
            STEPS("Mul pointwise", "Conv+Add conv_direct", "Sigmoid+Mul pointwise", "MatMul+Relu matmul_packed"), 4);
}

static void longest_stretches_first(void **state)
{
    (void)state;
    runs_as("cpu",
            "graph (%x: f32[1,3,8,8]) {\n"
            "  %y = Fusion<conv> { body = block () {\n"
            "    %a = Conv %x, dense<f32[8,3,3,3], #a1>\n"
            "    %s = Sigmoid %a\n"
            "    %m = Mul %a, %s\n"
            "    %b = Conv %m, dense<f32[8,1,3,3], #a2> { group = 8 }\n"
            "    %r = Relu %b\n"
            "    %c = Conv %r, dense<f32[4,8,1,1], #a3>\n"
            "    return %c\n"
            "  } }\n"
            "  return %y\n}\n",
            STEPS("Conv+Sigmoid+Mul conv_direct", "Conv+Relu+Conv conv_block"), 2);
}

static void what_has_no_kernel_stands_alone(void **state)
{
    (void)state;
    runs_as("cpu",
            "graph (%x: f32[2,6], %z: f64[2,6]) {\n"
            "  %y, %w = Fusion<pointwise> { body = block () {\n"
            "    %a = Neg %x\n"
            "    %b = Exp %a\n"
            "    %c = Neg %z\n"
            "    %d = Exp %c\n"
            "    %e = Abs %b\n"
            "    return %e, %d\n"
            "  } }\n"
            "  return %y, %w\n}\n",
            STEPS("Neg+Exp pointwise", "Neg reference", "Exp reference", "Abs pointwise"), 4);
}

#if defined(GI_HAVE_OPENCL)
static void a_device_keeps_what_it_takes(void **state)
{
    (void)state;
    gopt_ctx *cx = gopt_ctx_create(NULL);
    bool there = false;
    for (size_t i = 0; gopt_device_get(cx, i); i++)
        there = there || (!strcmp(gopt_device_get(cx, i)->backend, "opencl") && !gopt_device_get(cx, i)->missing);
    gopt_ctx_destroy(cx);
    if (!there)
        skip();
    runs_as("opencl",
            "graph (%x: f32[1,2,4,4]) {\n"
            "  %y = Fusion<attention> { body = block () {\n"
            "    %a = MatMul %x, dense<f32[4,4], #a1>\n"
            "    %s = Mul %a, dense<f32[], 0.5>\n"
            "    %p = Softmax %s\n"
            "    %m = MatMul %p, %x\n"
            "    return %m\n"
            "  } }\n"
            "  return %y\n}\n",
            STEPS("MatMul+Mul tile", "Softmax generated", "MatMul generated"), 3);
}
#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_a_kernel_takes_stays_whole),
        cmocka_unit_test(pools_and_rows_stay_whole),
        cmocka_unit_test(what_is_broadcast_inside_goes_along),
        cmocka_unit_test(what_is_before_a_product_falls_off),
        cmocka_unit_test(longest_stretches_first),
        cmocka_unit_test(what_has_no_kernel_stands_alone),
#if defined(GI_HAVE_OPENCL)
        cmocka_unit_test(a_device_keeps_what_it_takes),
#endif
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
