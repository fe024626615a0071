/* One ONNX backend test: the model is run in several ways, and each must give the answers that came with it.
 *
 *   level 0                              every node by its reference evaluation
 *   level 3                              optimized as far as it goes, by kernels
 *   written to .gir and read back        level 2, the default
 *   written to ONNX and read back        level 2
 *
 * --level N leaves one way: that level. Judged as onnx/backend/test/runner does: within 1e-3 of each value plus 1e-7,
 * or what the folder's data.json says, dtypes and shapes exactly; integers too must be equal here. Answers that are
 * random are judged in conformance_random.c. */
#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "conformance.h"

typedef struct way {
    const char *name;
    int level;
    const char *file; /* ending of what is written and read back; NULL: nothing is */
} way;

static const way ways[] = {
    { "level 0", 0, NULL },
    { "level 3", 3, NULL },
    { "written to .gir and read back", 2, "gir" },
    { "written to ONNX and read back", 2, "onnx" },
};
enum { N_WAYS = sizeof ways / sizeof ways[0] };

typedef struct one_test {
    tool *t;
    const char *path, *model; /* of the test, of its model */
    bool pair;                /* X.onnx with X_output_0.pb */
    const char *scratch;
    double rtol, atol;
    bool by_distribution;
} one_test;

/* ---- tolerances ---- */

static void take_tolerances(one_test *x, const json_t *from)
{
    const json_t *rtol = json_object_get(from, "rtol"), *atol = json_object_get(from, "atol");
    if (json_is_number(rtol))
        x->rtol = json_number_value(rtol);
    if (json_is_number(atol))
        x->atol = json_number_value(atol);
}

/* "…/test_abs" is test_abs, "…/light_vgg19.onnx" is light_vgg19. Freed by the caller. */
static char *test_name(const one_test *x)
{
    const char *slash = strrchr(x->path, '/'), *name = slash ? slash + 1 : x->path;
    return strndup(name, strlen(name) - (x->pair ? 5 : 0));
}

/* data.json lies in the folder; that of data/light/light_X.onnx in data/real/test_X. */
static gopt_status find_tolerances(one_test *x, const json_t *overrides)
{
    char *name = test_name(x);
    const char *bare = name && !strncmp(name, "light_", 6) ? name + 6 : name;
    const size_t folder = x->pair && name ? strlen(x->path) - strlen(name) - 5 : 0;
    char *path = !x->pair ? text_of("%s/data.json", x->path)
                          : text_of("%.*s../real/test_%s/data.json", (int)folder, x->path, bare ? bare : "");
    json_t *data = path ? json_load_file(path, 0, NULL) : NULL;
    x->rtol = 1e-3;
    x->atol = 1e-7;
    take_tolerances(x, data);
    json_decref(data);
    size_t i;
    json_t *o;
    json_array_foreach(json_object_get(overrides, "tests"), i, o)
    {
        if (name && !strcmp(json_string_value(json_object_get(o, "name")), name))
            take_tolerances(x, o);
    }
    const gopt_status s = name && path ? GOPT_OK : tool_no_memory(x->t);
    free(name);
    free(path);
    x->rtol = x->t->o.rtol < 0 ? x->rtol : x->t->o.rtol;
    x->atol = x->t->o.atol < 0 ? x->atol : x->t->o.atol;
    return s;
}

static bool is_text(const json_t *o, const char *key)
{
    const char *text = json_string_value(json_object_get(o, key));
    return text && *text;
}

gopt_status conformance_overrides(tool *t, json_t **out)
{
    const char *path = t->o.overrides;
    *out = NULL;
    if (!path)
        return GOPT_OK;
    json_error_t e;
    json_t *j = json_load_file(path, 0, &e), *o;
    if (!j)
        return tool_fail(t, GOPT_BAD_INPUT, path, NULL, "line %d: %s", e.line, e.text);
    const json_t *tests = json_object_get(j, "tests");
    gopt_status s = json_is_array(tests) ? GOPT_OK : tool_fail(t, GOPT_BAD_INPUT, path, NULL, "has no array \"tests\"");
    size_t i;
    json_array_foreach(tests, i, o)
    {
        const bool wider = json_is_number(json_object_get(o, "rtol")) || json_is_number(json_object_get(o, "atol"));
        if (s == GOPT_OK && !(is_text(o, "name") && is_text(o, "reason") && is_text(o, "link") && wider))
            s = tool_fail(t, GOPT_BAD_INPUT, path, NULL,
                          "entry %zu of \"tests\" needs name, reason and link, and rtol or atol as a number", i);
    }
    if (s != GOPT_OK) {
        json_decref(j);
        j = NULL;
    }
    *out = j;
    return s;
}

/* ---- inputs that no file gives ---- */

/* As ONNX's runner makes them for data/light: 0, 1/n, 2/n … in f32; open dims are 1. */
static gopt_status ramps(tool *t, gopt_graph *g, gopt_tensor ***out, size_t *n)
{
    *n = gopt_graph_input_count(g);
    *out = calloc(*n + 1, sizeof **out);
    if (!*out)
        return tool_no_memory(t);
    TRY(gopt_graph_fix_rest(g));
    for (size_t i = 0; i < *n; i++) {
        const gopt_value *v = gopt_graph_get_input(g, i);
        int64_t dims[GOPT_MAX_RANK];
        const int rank = gopt_value_rank(v);
        bool known = rank >= 0 && rank <= GOPT_MAX_RANK && gopt_value_dtype(v) == GOPT_F32;
        for (int k = 0; known && k < rank; k++)
            known = (dims[k] = gopt_value_dim(v, k)) >= 0;
        if (!known)
            return tool_fail(t, GOPT_BAD_INPUT, NULL, NULL, "input %s is no f32 tensor of a known shape",
                             gopt_graph_input_name(g, i));
        TRY(gopt_tensor_create(t->cx, GOPT_F32, rank, dims, &(*out)[i]));
        const int64_t count = gopt_tensor_elements((*out)[i]);
        for (int64_t k = 0; k < count; k++)
            ((float *)(*out)[i]->data)[k] = (float)((double)k / (double)count);
    }
    return GOPT_OK;
}

/* ---- one way ---- */

static char *scratch_file(const char *scratch, pid_t pid, const char *ending)
{
    return text_of("%s/%ld.%s", scratch, (long)pid, ending);
}

void conformance_clean(const char *scratch, pid_t pid)
{
    for (int i = 0; i < N_WAYS; i++) {
        char *path = ways[i].file ? scratch_file(scratch, pid, ways[i].file) : NULL;
        if (path)
            unlink(path);
        free(path);
    }
}

/* The model as this way sees it. */
static gopt_status load(one_test *x, const way *w, gopt_graph **g)
{
    *g = NULL;
    TRY(tool_load(x->t, x->model, g));
    if (!w->file)
        return GOPT_OK;
    char *path = scratch_file(x->scratch, getpid(), w->file);
    gopt_status s = !path                     ? tool_no_memory(x->t)
                    : !strcmp(w->file, "gir") ? gopt_gir_save(*g, path)
                                              : gopt_onnx_save(*g, path, NULL);
    gopt_graph_destroy(*g);
    *g = NULL;
    if (s == GOPT_OK)
        s = gopt_load(x->t->cx, path, g);
    free(path);
    return s;
}

static char *answer_file(const one_test *x, const char *dir, size_t i)
{
    return x->pair ? text_of("%.*s_output_%zu.pb", (int)(strlen(x->path) - 5), x->path, i)
                   : text_of("%s/output_%zu.pb", dir, i);
}

static gopt_status judge(one_test *x, const gopt_graph *g, gopt_tensor *const *in, const answers *out, size_t i,
                         const gopt_tensor *want)
{
    const char *name = gopt_graph_output_name(g, i);
    char why[256];
    diff d;
    if (output_is_random(g, i)) {
        x->by_distribution = true;
        return random_fits(g, i, in, out, want, why, sizeof why)
                   ? GOPT_OK
                   : tool_fail(x->t, GOPT_DIFFERENT, NULL, NULL, "output %s %s", name, why);
    }
    tensor_diff(out->p[i], want, x->rtol, x->atol, false, &d);
    return d.same ? GOPT_OK
                  : tool_fail(x->t, GOPT_DIFFERENT, NULL, NULL, "output %s: %s (rtol %g, atol %g)", name, d.why,
                              x->rtol, x->atol);
}

static gopt_status judge_all(one_test *x, const gopt_graph *g, const char *dir, gopt_tensor *const *in,
                             const answers *out)
{
    gopt_status s = GOPT_OK;
    for (size_t i = 0; s == GOPT_OK && i <= out->n; i++) {
        gopt_tensor *want = NULL;
        char *path = answer_file(x, dir, i);
        const bool there = path && !access(path, R_OK);
        if (!path)
            s = tool_no_memory(x->t);
        else if (there && i == out->n)
            s = tool_fail(x->t, GOPT_DIFFERENT, path, NULL, "the model has %zu outputs", out->n);
        else if (there)
            s = gopt_onnx_load_tensor(x->t->cx, path, gopt_value_kind(gopt_graph_get_output(g, i)), &want);
        else if (!i && out->n)
            s = tool_fail(x->t, GOPT_BAD_INPUT, path, NULL, "is missing: there is no answer to hold output %s against",
                          gopt_graph_output_name(g, i));
        if (s == GOPT_OK && there)
            s = judge(x, g, in, out, i, want);
        gopt_tensor_unref(want);
        free(path);
    }
    return s;
}

static gopt_status run_way(one_test *x, const way *w, const char *dir)
{
    tool *t = x->t;
    gopt_graph *g = NULL;
    gopt_tensor **in = NULL;
    size_t n_in = 0;
    answers out = { 0 };
    fprintf(stderr, CONFORMANCE_WAY "%s\n", w->name); /* read by the parent, even if this one crashes */
    run_spec spec = { .backend = "cpu", .precision = "fp32", .level = w->level };
    if (t->o.backend)
        snprintf(spec.backend, sizeof spec.backend, "%s", t->o.backend);
    gopt_status s = load(x, w, &g);
    if (s == GOPT_OK)
        s = tool_check_supported(t, g, x->model);
    if (s == GOPT_OK)
        s = x->pair ? ramps(t, g, &in, &n_in) : inputs_make(t, g, dir, &in, &n_in);
    if (s == GOPT_OK)
        s = run_once(t, g, &spec, in, &out);
    if (s == GOPT_OK)
        s = judge_all(x, g, dir, in, &out);
    tensors_free(in, n_in);
    answers_free(&out);
    gopt_graph_destroy(g);
    return s;
}

/* ---- all of them ---- */

/* A way that lacks what the first one had has failed: only the first may be skipped. */
static gopt_status run_ways(one_test *x, const char *dir)
{
    const int64_t level = x->t->o.level;
    if (level >= 0) {
        char name[16];
        snprintf(name, sizeof name, "level %d", (int)level);
        return run_way(x, &(way){ name, (int)level, NULL }, dir);
    }
    for (int i = 0; i < N_WAYS; i++) {
        const gopt_status s = run_way(x, &ways[i], dir);
        if (s == GOPT_UNSUPPORTED && i)
            return tool_fail(x->t, GOPT_DIFFERENT, NULL, NULL,
                             "needs an operator that nothing here can run, though level 0 ran");
        TRY(s);
    }
    return GOPT_OK;
}

static gopt_status run_data_sets(one_test *x)
{
    if (x->pair)
        return run_ways(x, NULL);
    for (int i = 0;; i++) {
        char *data = text_of("%s/test_data_set_%d", x->path, i);
        struct stat st;
        if (!data)
            return tool_no_memory(x->t);
        const bool there = !stat(data, &st);
        const gopt_status s = there ? run_ways(x, data) : GOPT_OK;
        free(data);
        if (!there)
            return i ? GOPT_OK : tool_fail(x->t, GOPT_BAD_INPUT, x->path, NULL, "has no test_data_set_0");
        TRY(s);
    }
}

int conformance_test(const tool *parent, const char *path, const char *scratch, const json_t *overrides)
{
    tool t = *parent;
    t.cx = gopt_ctx_create(
        &(gopt_ctx_options){ .memory_limit = t.o.memory_limit, .threads = t.o.threads ? (int)t.o.threads : 1 });
    t.diags_shown = 0;
    t.color_err = t.color_out = false;
    t.o.diagnostics = NULL;
    t.o.quiet = true;
    const size_t n = strlen(path);
    one_test x = { .t = &t, .path = path, .scratch = scratch, .pair = n > 5 && !strcmp(path + n - 5, ".onnx") };
    char *model = x.pair ? strdup(path) : text_of("%s/model.onnx", path);
    x.model = model;
    if (!t.cx || !model)
        return gopt_status_exit(GOPT_NO_MEMORY);
    gopt_status s = find_tolerances(&x, overrides);
    if (s == GOPT_OK)
        s = run_data_sets(&x);
    tool_flush(&t);
    free(model);
    gopt_ctx_destroy(t.cx);
    return s == GOPT_OK && x.by_distribution ? CONFORMANCE_BY_DISTRIBUTION : gopt_status_exit(s);
}
