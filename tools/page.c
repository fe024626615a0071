/* --html: the page is begun when the model is loaded, hears of every pass, and is written at the end. */
#include <stdlib.h>
#include <string.h>

#include "tool.h"

gopt_status page_begin(tool *t, const char *title, gopt_graph *g)
{
    if (!t->o.html)
        return GOPT_OK;
    if (t->page)
        gopt_page_begin(t->page, title);
    else
        TRY(gopt_page_create(t->cx, title, &t->page));
    gopt_page_stage(t->page, g, "as loaded", 0);
    return GOPT_OK;
}

void page_put(tool *t, const char *key, json_t *j)
{
    char *text = t->page && j ? json_dumps(j, JSON_COMPACT | JSON_ENCODE_ANY) : NULL;
    if (text)
        gopt_page_put(t->page, key, text);
    free(text);
    json_decref(j);
}

/* ---- what a run took ---- */

/* The least milliseconds of a network of one node; 0 where it cannot be had. */
static double time_node(gopt_graph *g, const gopt_engine_options *like, gopt_tensor *x)
{
    enum { RUNS = 6 };
    gopt_engine_options o = { .backend = like->backend, .isa = like->isa, .threads = like->threads };
    gopt_engine *e = NULL;
    gopt_run_context *rc = NULL;
    double least = 0;
    gopt_status s = gopt_engine_create(g, &o, &e);
    if (s == GOPT_OK)
        s = gopt_run_context_create(e, &rc);
    if (s == GOPT_OK)
        s = gopt_run_context_set_input(rc, 0, x);
    for (int i = 0; s == GOPT_OK && i < RUNS; i++) {
        s = gopt_run(rc);
        const double ms = gopt_run_context_times(rc).compute_ms;
        least = i == 0 || ms < least ? ms : least;
    }
    gopt_run_context_destroy(rc);
    gopt_engine_destroy(e);
    return s == GOPT_OK ? least : 0;
}

/* `op` on x f32[rows,columns]; a product is with constants of [columns,columns]. */
static double time_op(tool *t, const gopt_engine_options *o, const char *op, int64_t rows, int64_t columns)
{
    const int64_t dims[] = { rows, columns }, square[] = { columns, columns };
    char text[2][24];
    snprintf(text[0], sizeof text[0], "%lld", (long long)rows);
    snprintf(text[1], sizeof text[1], "%lld", (long long)columns);
    gopt_graph *g = NULL;
    gopt_tensor *x = NULL;
    float *w = calloc((size_t)(columns * columns), sizeof *w);
    double ms = 0;
    if (w && gopt_graph_create(t->cx, "ceiling", 17, &g) == GOPT_OK &&
        gopt_tensor_create(t->cx, GOPT_F32, 2, dims, &x) == GOPT_OK) {
        random_fill(x, "x", 0, 0);
        for (int64_t i = 0; i < columns * columns; i++)
            w[i] = (float)(i % 7) - 3;
        gopt_value *in[2] = { gopt_graph_input(g, "x", GOPT_F32, 2, (const char *const[]){ text[0], text[1] }), NULL };
        const bool product = !strcmp(op, "MatMul");
        if (product)
            in[1] = gopt_graph_constant(g, "w", GOPT_F32, 2, square, w);
        gopt_value *y = gopt_graph_add(g, op, "node", product ? 2 : 1, in, NULL);
        if (y && gopt_graph_output(g, y, "y") == GOPT_OK)
            ms = time_node(g, o, x);
    }
    gopt_tensor_unref(x);
    gopt_graph_destroy(g);
    free(w);
    return ms;
}

/* What this machine reaches here, in operations and bytes a second: what the backend measured or, where it does not, a
 * product that fits the caches, and a pass over more than they hold. */
static json_t *ceilings(tool *t, gopt_engine *e, const gopt_engine_options *o)
{
    enum { N = 768, ROWS = 8192, COLUMNS = 1024 };
    gopt_ceilings c;
    const bool measured = gopt_engine_ceilings(e, false, &c) == GOPT_OK;
    if (!measured) {
        const double product = time_op(t, o, "MatMul", N, N), pass = time_op(t, o, "Relu", ROWS, COLUMNS);
        c.gflops = product > 0 ? 2e-6 * N * N * N / product : 0;
        c.memory_gbytes = pass > 0 ? 8e-6 * ROWS * COLUMNS / pass : 0;
        tool_forget(t);
    }
    return json_pack("{s:f, s:f, s:b}", "ops", 1e9 * c.gflops, "bytes", 1e9 * c.memory_gbytes, "device", (int)measured);
}

static json_t *buffers(gopt_run_context *rc)
{
    json_t *a = json_array();
    gopt_buffer_info b;
    for (size_t i = 0; gopt_run_context_buffer(rc, i, &b); i++)
        json_array_append_new(a, json_pack("[o, I, I, I, I, b, b]", json_text(b.name ? b.name : ""),
                                           (json_int_t)b.offset, (json_int_t)b.bytes, (json_int_t)b.first,
                                           (json_int_t)b.last, b.workspace, b.on_device));
    return a;
}

/* At most MOST of them, in their order. */
static json_t *series(const timing *m)
{
    enum { MOST = 4000 };
    json_t *a = json_array();
    const size_t step = m->n / MOST + 1;
    for (size_t i = 0; m->series && i < m->n; i += step)
        json_array_append_new(a, json_real(m->series[i]));
    return a;
}

json_t *page_run(tool *t, gopt_engine *e, gopt_run_context *rc, const timing *m, const gopt_engine_options *o,
                 json_t *told, json_t *copies)
{
    const gopt_engine_info *i = gopt_engine_get_info(e);
    json_t *j = json_object();
    json_object_set_new(j, "backend", json_text(i->backend));
    json_object_set_new(j, "device", json_text(i->device));
    json_object_set_new(j, "precision", json_text(i->precision ? i->precision : "fp32"));
    json_object_set_new(j, "threads", json_integer(i->threads));
    json_object_set_new(j, "build_ms", json_real(i->build_ms));
    json_object_set_new(j, "activation_bytes", json_integer((json_int_t)i->activation_bytes));
    json_object_set_new(j, "weight_bytes", json_integer((json_int_t)i->weight_bytes));
    json_object_set_new(j, "iterations", json_integer((json_int_t)m->n));
    json_object_set_new(j, "wall_s", json_real(m->wall_s));
    json_object_set_new(j, "latency_ms", summary_json(&m->latency));
    json_object_set_new(j, "series", series(m));
    if (copies)
        json_object_set(j, "copies", copies);
    json_object_update(j, told);
    json_decref(told);
    json_object_set_new(j, "buffers", buffers(rc));
    json_object_set_new(j, "ceilings", ceilings(t, e, o));
    return j;
}

/* ---- the whole ---- */

gopt_status page_report(tool *t, gopt_graph *g, const gopt_report *report)
{
    const gopt_unsupported *list = NULL;
    size_t n = 0;
    if (!t->page)
        return GOPT_OK;
    gopt_page_stage(t->page, g, "result", report ? (int)gopt_report_get(report)->n_passes : 0);
    if (report)
        gopt_page_report(t->page, gopt_report_get(report));
    TRY(gopt_find_unsupported(g, &list, &n));
    page_put(t, "unsupported", json_unsupported(list, n));
    return GOPT_OK;
}

gopt_status page_write(tool *t)
{
    if (!t->page)
        return GOPT_OK;
    progress *p = progress_start(t, "writing the page");
    const gopt_status s = gopt_page_save(t->page, t->o.html);
    progress_stop(p);
    return s;
}
