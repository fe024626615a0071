/* Runs golden cases: a .gir file that says how to run it, the graph, and what is expected.
 *
 *   ; What the case shows.
 *   ; RUN: optimize --passes=dce --remarks
 *   graph (%x: f32[2]) { … }
 *   ; ---- expected:
 *   ; graph (%x: f32[2]) { … }
 *   ; applied dead_node at %y: nobody reads it
 *
 * `; ---- expected: unchanged` stands for the graph as it was. RUN lines: `optimize` with --passes= --skip=
 * --level= --fp=strict|fast --opset= --emit=onnx|ort --rewrite-limit= --fuse --remarks --types; `infer` (types shown);
 * `error` (reading fails, its diagnostics are the expectation). After every `optimize` the graph is verified,
 * optimized again (nothing may change), and evaluated before and after on seeded inputs; --again=changes and
 * --eval=off switch the last two off for a case that says why.
 *
 * UPDATE_GOLDEN=1 rewrites the expectation; not where CI is set, and not where a check fails.
 *
 *   golden FOLDER-OR-FILE... */
#include <ctype.h>
#include <dirent.h>
#include <math.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "gopt/pass.h"
#include "ops/eval.h"
#include "ops/infer.h"

typedef struct run {
    gopt_optimize_options o;
    bool optimize, infer, error, remarks, types, no_eval, again_changes;
} run;

typedef struct result {
    int passed, failed, updated;
} result;

static const char MARK[] = "; ---- expected:";

/* ---- the RUN line ---- */

static bool parse_run(char *line, run *r)
{
    *r = (run){ .o = { .level = 2, .verify_each = true } };
    char *save = NULL;
    const char *verb = strtok_r(line, " \t", &save);
    if (!verb)
        return false;
    r->optimize = !strcmp(verb, "optimize");
    r->infer = !strcmp(verb, "infer");
    r->error = !strcmp(verb, "error");
    r->types = r->infer;
    for (char *w; (w = strtok_r(NULL, " \t", &save));) {
        char *value = strchr(w, '=');
        if (value)
            *value++ = 0;
        if (!strcmp(w, "--passes") && value)
            r->o.passes = value;
        else if (!strcmp(w, "--skip") && value)
            r->o.skip = value;
        else if (!strcmp(w, "--level") && value)
            r->o.level = atoi(value);
        else if (!strcmp(w, "--opset") && value)
            r->o.opset = atoi(value);
        else if (!strcmp(w, "--emit") && value)
            r->o.emit = !strcmp(value, "ort") ? GOPT_EMIT_ORT : GOPT_EMIT_ONNX;
        else if (!strcmp(w, "--rewrite-limit") && value)
            r->o.rewrite_limit = atoi(value);
        else if (!strcmp(w, "--fp") && value)
            r->o.fp = !strcmp(value, "strict") ? GOPT_FP_STRICT
                      : !strcmp(value, "fast") ? GOPT_FP_FAST
                                               : GOPT_FP_REASSOC;
        else if (!strcmp(w, "--fuse"))
            r->o.fuse = true;
        else if (!strcmp(w, "--remarks"))
            r->remarks = true;
        else if (!strcmp(w, "--types"))
            r->types = true;
        else if (!strcmp(w, "--eval") && value && !strcmp(value, "off"))
            r->no_eval = true;
        else if (!strcmp(w, "--again") && value && !strcmp(value, "changes"))
            r->again_changes = true;
        else
            return false;
    }
    return r->optimize || r->infer || r->error;
}

/* ---- before against after ---- */

typedef struct symbols {
    gi_binding b[64];
    size_t n;
} symbols;

static void bind_symbol(void *arg, const gi_dim *symbol)
{
    symbols *s = arg;
    for (size_t i = 0; i < s->n; i++)
        if (s->b[i].symbol == symbol)
            return;
    if (s->n < GI_COUNT(s->b)) {
        s->b[s->n] = (gi_binding){ symbol, 2 + (int64_t)s->n % 3 };
        s->n++;
    }
}

static gopt_status make_input(gopt_graph *g, const gi_value *v, symbols *s, uint64_t seed, gopt_tensor **out)
{
    int64_t dims[GOPT_MAX_RANK];
    if (!v->type || v->type->kind != GOPT_TENSOR || v->type->rank < 0)
        return GOPT_USAGE;
    for (int i = 0; i < v->type->rank; i++) {
        gi_dim_each_symbol(v->type->dims[i], bind_symbol, s);
        if (!gi_dim_eval(v->type->dims[i], s->b, s->n, &dims[i]))
            return GOPT_USAGE;
    }
    GI_TRY(gopt_tensor_create(g->cx, v->type->dtype, v->type->rank, dims, out));
    for (int64_t i = 0, n = gopt_tensor_elements(*out); i < n; i++) {
        seed = gi_hash(&seed, sizeof seed, (uint64_t)i);
        if (gi_dtype_class(v->type->dtype) == GI_FLOAT)
            gi_store_f64(v->type->dtype, (*out)->data, (size_t)i, (double)(seed >> 40) * 0x1p-23 - 1);
        else if (v->type->dtype != GOPT_STRING)
            gi_store_i64(v->type->dtype, (*out)->data, (size_t)i, (int64_t)(seed % 2));
    }
    return GOPT_OK;
}

static bool same_answers(const gopt_tensor *a, const gopt_tensor *b)
{
    if (a->kind != GOPT_TENSOR || b->kind != GOPT_TENSOR)
        return a->kind == b->kind && a->n_items == b->n_items;
    if (a->dtype != b->dtype || a->rank != b->rank ||
        memcmp(a->dims, b->dims, (size_t)a->rank * sizeof a->dims[0]) != 0)
        return false;
    if (a->dtype == GOPT_STRING)
        return true;
    for (int64_t i = 0, n = gopt_tensor_elements(a); i < n; i++) {
        const double x = gi_tensor_f64(a, i), y = gi_tensor_f64(b, i);
        if (isnan(x) != isnan(y) || (!isnan(x) && x != y && !(fabs(x - y) <= 1e-4 * fabs(x) + 1e-5)))
            return false;
    }
    return true;
}

static const char *evaluate_both(gopt_graph *before, gopt_graph *after)
{
    gopt_tensor *in[16] = { 0 }, *x[16] = { 0 }, *y[16] = { 0 };
    symbols s = { .n = 0 };
    const char *why = NULL;
    const uint32_t n_in = before->main->n_params, n_out = before->main->n_results;
    if (n_in > 16 || n_out > 16 || after->main->n_params != n_in || after->main->n_results != n_out)
        return "inputs or outputs were lost";
    for (uint32_t i = 0; i < n_in && !why; i++)
        if (make_input(before, before->main->params[i], &s, i + 1, &in[i]) != GOPT_OK)
            why = "an input could not be made";
    for (uint32_t i = 0; i < n_out && !why; i++)
        if (strcmp(before->main->result_names[i], after->main->result_names[i]) != 0)
            why = "an output was renamed";
    if (!why && gi_eval_graph(before, (const gopt_tensor *const *)in, x) != GOPT_OK)
        why = "the graph as it stands cannot be evaluated";
    if (!why && gi_eval_graph(after, (const gopt_tensor *const *)in, y) != GOPT_OK)
        why = "the graph after cannot be evaluated";
    for (uint32_t i = 0; i < n_out && !why; i++)
        if (!same_answers(x[i], y[i]))
            why = "the answers differ before and after";
    for (int i = 0; i < 16; i++) {
        gopt_tensor_unref(in[i]);
        gopt_tensor_unref(x[i]);
        gopt_tensor_unref(y[i]);
    }
    return why;
}

/* ---- one case ---- */

static void add_commented(gi_str *s, const char *text)
{
    for (const char *p = text; *p;) {
        const char *end = strchr(p, '\n');
        const size_t n = end ? (size_t)(end - p) : strlen(p);
        gi_str_add(s, n ? "; " : ";");
        gi_str_addn(s, p, n);
        gi_str_add(s, "\n");
        p += n + (end != NULL);
    }
}

static void add_remarks(gi_str *s, const gopt_report *report)
{
    const gopt_report_summary *sum = gopt_report_get(report);
    static const char *const kinds[] = { "applied", "declined", "analysis" };
    for (size_t i = 0; i < sum->n_remarks; i++) {
        const gopt_remark *r = &sum->remarks[i];
        gi_str_addf(s, "; %s %s at %s%s%s\n", kinds[r->kind], r->rule ? r->rule : r->pass, r->at ? r->at : "?",
                    r->reason ? ": " : "", r->reason ? r->reason : "");
    }
}

static gopt_status graph_text(gopt_graph *g, bool types, gi_arena *a, gi_str *s)
{
    gi_str_init(s, a);
    return gi_print(g, &(gi_print_options){ .types = types }, s);
}

/* What the case gives, as it should stand behind the mark; NULL and a reason where a check fails. */
static const char *give(gopt_ctx *cx, gi_arena *a, const char *path, const char *text, size_t n, const run *r,
                        const char **why)
{
    gopt_graph *g = NULL, *before = NULL;
    gopt_report *report = NULL;
    gi_str out, was, now;
    gi_str_init(&out, a);
    const char *base = strrchr(path, '/');
    gopt_status st = gi_parse(cx, base ? base + 1 : path, text, n, &g);
    if (st == GOPT_OK)
        st = gi_verify(g);
    if (st == GOPT_OK)
        st = gi_infer_graph(g);
    if (r->error) {
        if (st == GOPT_OK)
            *why = "it reads without an error";
        gi_str_addf(&out, "%s\n", MARK);
        for (size_t i = 0; i < gopt_diag_count(cx); i++) {
            char line[2000];
            gopt_diag_format(gopt_diag_get(cx, i), line, sizeof line);
            add_commented(&out, line);
        }
        gopt_graph_destroy(g);
        return out.p;
    }
    if (st != GOPT_OK) {
        *why = "the graph cannot be read";
        gopt_graph_destroy(g);
        return NULL;
    }
    if (r->infer) {
        st = graph_text(g, true, a, &now);
        gi_str_addf(&out, "%s\n", MARK);
        add_commented(&out, now.p);
        gopt_graph_destroy(g);
        return out.p;
    }
    if (gopt_graph_clone(g, &before) != GOPT_OK || graph_text(g, r->types, a, &was) != GOPT_OK)
        *why = "no memory";
    else if (gopt_optimize(g, &r->o, &report) != GOPT_OK)
        *why = "the passes failed";
    else if (gi_verify(g) != GOPT_OK)
        *why = "the verifier finds faults afterwards";
    else if (!r->no_eval)
        *why = evaluate_both(before, g);
    if (!*why && graph_text(g, r->types, a, &now) == GOPT_OK) {
        if (!strcmp(was.p, now.p)) {
            gi_str_addf(&out, "%s unchanged\n", MARK);
        } else {
            gi_str_addf(&out, "%s\n", MARK);
            add_commented(&out, now.p);
        }
        if (r->remarks)
            add_remarks(&out, report);
        gi_str again;
        if (!r->again_changes && !r->o.rewrite_limit &&
            (gopt_optimize(g, &r->o, NULL) != GOPT_OK || graph_text(g, r->types, a, &again) != GOPT_OK ||
             strcmp(again.p, now.p) != 0))
            *why = "a second run changes the graph again";
    }
    gopt_report_destroy(report);
    gopt_graph_destroy(before);
    gopt_graph_destroy(g);
    return *why ? NULL : out.p;
}

static void show_difference(const char *want, const char *got)
{
    printf("---- expected\n%s---- found\n%s", want, got);
}

static void run_case(const char *path, result *res)
{
    gopt_ctx *cx = gopt_ctx_create(NULL);
    gi_arena *a = gi_arena_create(cx);
    gi_file *f = NULL;
    const char *why = NULL, *got = NULL;
    if (gi_file_open(cx, path, &f) != GOPT_OK) {
        why = "cannot be read";
    } else {
        char *text = gi_arena_strn(a, (const char *)f->data, f->size);
        char *mark = strstr(text, MARK);
        const size_t head = mark ? (size_t)(mark - text) : f->size;
        const char *at = strstr(text, "; RUN: ");
        run r;
        const char *line = at ? at + 7 : "";
        char *words = gi_arena_strn(a, line, strcspn(line, "\n"));
        if (!parse_run(words, &r))
            why = "the RUN line is not understood";
        else
            got = give(cx, a, path, text, head, &r, &why);
        const char *want = mark ? mark : "";
        if (!why && strcmp(got, want) != 0) {
            if (getenv("UPDATE_GOLDEN") && !getenv("CI")) {
                char *whole = gi_arena_printf(a, "%.*s%s", (int)head, text, got);
                if (gi_file_write(cx, path, whole, strlen(whole)) == GOPT_OK)
                    res->updated++;
            } else {
                show_difference(want, got);
                why = "what it gives differs";
            }
        }
    }
    if (why) {
        printf("FAILED %s: %s\n", path, why);
        gopt_diag_print(cx, stdout, false);
        res->failed++;
    } else {
        res->passed++;
    }
    gi_file_unref(f);
    gi_arena_destroy(a);
    gopt_ctx_destroy(cx);
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static void walk(const char *path, result *res)
{
    struct stat st;
    if (stat(path, &st) != 0) {
        printf("FAILED %s: cannot be read\n", path);
        res->failed++;
        return;
    }
    const char *dot = strrchr(path, '.');
    if (!S_ISDIR(st.st_mode)) {
        if (dot && !strcmp(dot, ".gir"))
            run_case(path, res);
        return;
    }
    struct dirent **names;
    const int n = scandir(path, &names, NULL, by_name);
    for (int i = 0; i < n; i++) {
        char inner[4096];
        if (names[i]->d_name[0] != '.' &&
            (size_t)snprintf(inner, sizeof inner, "%s/%s", path, names[i]->d_name) < sizeof inner)
            walk(inner, res);
        free(names[i]);
    }
    if (n >= 0)
        free(names);
}

int main(int argc, char **argv)
{
    result res = { 0 };
    for (int i = 1; i < argc; i++)
        walk(argv[i], &res);
    if (res.updated)
        printf("%d rewritten\n", res.updated);
    printf("%d passed, %d failed\n", res.passed, res.failed);
    return res.failed || !res.passed;
}
