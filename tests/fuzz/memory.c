/* The whole way of a model with one request for memory refused, or all from one on: what fails says that there
 * was no memory, nothing is lost, nothing crashes.
 *
 *   memory [--from K] MODEL...
 *
 * The k-th request is refused for k = 1, 2, ... with growing steps, until the way is gone without a refusal. */
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "gopt/gopt.h"

typedef struct heap {
    atomic_long asked, refuse_at, held;
    bool onwards; /* all from refuse_at on */
} heap;

static void *heap_realloc(void *user, void *p, size_t size)
{
    heap *h = user;
    if (!size) {
        if (p)
            atomic_fetch_sub(&h->held, 1);
        free(p);
        return NULL;
    }
    const long k = atomic_fetch_add(&h->asked, 1) + 1, at = atomic_load(&h->refuse_at);
    if (k == at || (h->onwards && k > at))
        return NULL;
    void *q = realloc(p, size);
    if (q && !p)
        atomic_fetch_add(&h->held, 1);
    return q;
}

/* ---- the way of a model ---- */

static gopt_status run_it(gopt_graph *g, gopt_ctx *cx)
{
    gopt_engine *e = NULL;
    gopt_run_context *rc = NULL;
    gopt_tensor *in[16] = { 0 };
    gopt_status s = gopt_graph_fix_rest(g);
    const size_t n = gopt_graph_input_count(g);
    if (s == GOPT_OK)
        s = gopt_engine_create(g, &(gopt_engine_options){ .threads = 1 }, &e);
    if (s == GOPT_OK)
        s = gopt_run_context_create(e, &rc);
    for (size_t i = 0; i < n && i < 16 && s == GOPT_OK; i++) {
        const gopt_value *v = gopt_graph_get_input(g, i);
        int64_t dims[GOPT_MAX_RANK];
        for (int k = 0; k < gopt_value_rank(v); k++)
            dims[k] = gopt_value_dim(v, k);
        s = gopt_tensor_create(cx, gopt_value_dtype(v), gopt_value_rank(v), dims, &in[i]);
        if (s == GOPT_OK)
            s = gopt_run_context_set_input(rc, i, in[i]);
    }
    if (s == GOPT_OK)
        s = gopt_run(rc);
    gopt_run_context_destroy(rc);
    gopt_engine_destroy(e);
    for (size_t i = 0; i < 16; i++)
        gopt_tensor_unref(in[i]);
    return s;
}

static gopt_status look_at(gopt_graph *g)
{
    const gopt_unsupported *list;
    const gopt_inspection *facts;
    const gopt_weight_stat *weights;
    size_t n;
    gopt_status s = gopt_find_unsupported(g, &list, &n);
    if (s == GOPT_OK)
        s = gopt_inspect(g, &facts);
    if (s == GOPT_OK)
        s = gopt_inspect_weights(g, &weights, &n);
    return s;
}

static bool is_softmax(void *user, const gopt_node *n)
{
    (void)user;
    return !strcmp(gopt_node_op(n), "Softmax") || !strcmp(gopt_node_op(n), "Concat");
}

/* Its parts: the first node alone, and the network in two. */
static gopt_status cut(gopt_graph *g)
{
    gopt_graph *part = NULL, *head = NULL, *tail = NULL;
    gopt_cut c = { 0 };
    const gopt_node *n = gopt_graph_first_node(g);
    const char *first = n ? gopt_value_name(gopt_node_output(n, 0)) : NULL;
    gopt_status s = first ? gopt_graph_extract(g, NULL, 0, &first, 1, &part) : GOPT_OK;
    if (s == GOPT_OK)
        s = gopt_graph_split(g, is_softmax, NULL, &head, &tail);
    if (s == GOPT_OK)
        s = gopt_cut_unsupported(g, true, &c);
    gopt_graph_destroy(part);
    gopt_graph_destroy(head);
    gopt_graph_destroy(tail);
    gopt_graph_destroy(c.head);
    gopt_graph_destroy(c.tail);
    return s;
}

static gopt_status whole_way(gopt_ctx *cx, const char *model, const char *out)
{
    gopt_graph *g = NULL, *before = NULL;
    gopt_report *report = NULL;
    char *dot = NULL;
    gopt_status s = gopt_load(cx, model, &g);
    if (s == GOPT_OK)
        s = look_at(g);
    if (s == GOPT_OK)
        s = cut(g);
    if (s == GOPT_OK)
        s = gopt_graph_clone(g, &before);
    if (s == GOPT_OK)
        s = gopt_optimize(g, &(gopt_optimize_options){ .level = 2, .fuse = true, .verify_each = true }, &report);
    if (s == GOPT_OK)
        s = gopt_dot_pair(before, g, NULL, &dot);
    if (s == GOPT_OK) /* by our own layout: there is no such program */
        s = gopt_picture_save(before, g, NULL, out, GOPT_SVG, &(gopt_svg_options){ .helper = "/no/gopt" });
    if (s == GOPT_OK)
        s = gopt_onnx_save(g, out, NULL);
    if (s == GOPT_OK)
        s = run_it(g, cx);
    gopt_text_free(cx, dot);
    gopt_report_destroy(report);
    gopt_graph_destroy(before);
    gopt_graph_destroy(g);
    return s;
}

/* ---- refusing ---- */

/* False where something is wrong; `reached` tells whether a request was refused. */
static bool refuse(const char *model, const char *out, long k, bool onwards, bool *reached)
{
    heap h = { .onwards = onwards };
    atomic_store(&h.refuse_at, k);
    gopt_status s = GOPT_NO_MEMORY;
    gopt_ctx *cx = gopt_ctx_create(&(gopt_ctx_options){ .realloc_fn = heap_realloc, .user = &h, .threads = 1 });
    if (cx) {
        s = whole_way(cx, model, out);
        if (s != GOPT_OK && s != GOPT_NO_MEMORY) {
            printf("%s: request %ld refused%s: status %d\n", model, k, onwards ? ", and all after it" : "", (int)s);
            gopt_diag_print(cx, stdout, false);
        }
        gopt_ctx_destroy(cx);
    }
    *reached = atomic_load(&h.asked) >= k;
    const long held = atomic_load(&h.held);
    if (held)
        printf("%s: request %ld refused%s: %ld blocks are lost\n", model, k, onwards ? ", and all after it" : "", held);
    return !held && (s == GOPT_OK || s == GOPT_NO_MEMORY);
}

int main(int argc, char **argv)
{
    char folder[] = "/tmp/gopt-memory-XXXXXX", out[64];
    long first = 1, tries = 0, failures = 0;
    const bool full = getenv("GOPT_TEST_FULL") != NULL;
    if (!mkdtemp(folder))
        return 1;
    snprintf(out, sizeof out, "%s/o.onnx", folder);
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--from") && i + 1 < argc) {
            first = atol(argv[++i]);
            continue;
        }
        for (int onwards = 0; onwards < 2; onwards++) {
            bool reached = true;
            for (long k = first; reached; k += full ? 1 : 1 + k / 400, tries++)
                failures += !refuse(argv[i], out, k, onwards, &reached);
        }
    }
    unlink(out);
    rmdir(folder);
    printf("%ld tries, %ld failures\n", tries, failures);
    return failures > 0;
}
