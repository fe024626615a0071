/* --verify: the model before and after, by reference evaluation, on seeded inputs, with several sizes of what is
 * dynamic. A mismatch is culprit.c's. */
#include "verify.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { WANTED_BINDINGS = 3 };

/* Tried until WANTED_BINDINGS of them run before the rewrites. Different sizes come first, so that a mix-up of two dims
 * shows; a network of strides may refuse the small ones, and one whose dims must agree all that differ. */
static const binding bindings[] = {
    { 2, 1, 3, 2, false },  { 3, 1, 32, 16, false }, { 1, 0, 1, 0, false },  { 1, 0, 64, 32, false },
    { 2, 0, 2, 0, false },  { 1, 1, 8, 0, false },   { 1, 0, 32, 0, false }, { 32, 0, 32, 0, false },
    { 2, 0, 5, 0, true },   { 2, 0, 256, 0, true },  { 1, 0, 256, 0, true }, { 1, 0, 224, 32, false },
    { 3, 0, 256, 0, true }, { 1, 0, 224, 0, false },
};

bool binding_get(size_t i, binding *out)
{
    if (i >= sizeof bindings / sizeof bindings[0])
        return false;
    *out = bindings[i];
    return true;
}

void trial_free(trial *r)
{
    tensors_free(r->in, r->n_in);
    answers_free(&r->want);
    *r = (trial){ 0 };
}

bool is_dynamic(const gopt_graph *g)
{
    for (size_t i = 0; i < gopt_graph_input_count(g); i++) {
        const gopt_value *v = gopt_graph_get_input(g, i);
        for (int k = 0; gopt_value_kind(v) == GOPT_TENSOR && k < gopt_value_rank(v); k++)
            if (gopt_value_dim(v, k) < 0)
                return true;
    }
    return false;
}

/* Dims that no symbol names. */
static gopt_status bind_unnamed(gopt_graph *g, const binding *b, char *text, size_t size)
{
    size_t len = strlen(text);
    for (size_t i = 0; i < gopt_graph_input_count(g); i++) {
        const gopt_value *v = gopt_graph_get_input(g, i);
        const int rank = gopt_value_kind(v) == GOPT_TENSOR ? gopt_value_rank(v) : -1;
        int64_t dims[GOPT_MAX_RANK];
        bool open = false;
        for (int k = 0; k < rank; k++) {
            dims[k] = gopt_value_dim(v, k);
            if (dims[k] >= 0)
                continue;
            open = true;
            dims[k] = k == 0 || (b->inner && k + 1 < rank) ? b->lead : b->rest;
        }
        if (!open)
            continue;
        TRY(gopt_graph_fix_shape(g, gopt_graph_input_name(g, i), rank, dims));
        for (int k = -1; k < rank && len < size; k++)
            len +=
                (size_t)(k < 0 ? snprintf(text + len, size - len, "%s%s=", len ? ", " : "", gopt_graph_input_name(g, i))
                               : snprintf(text + len, size - len, "%s%lld", k ? "x" : "", (long long)dims[k]));
    }
    return GOPT_OK;
}

static gopt_status bind(gopt_graph *g, const binding *b, char *text, size_t size)
{
    char symbol[128], last[128] = "";
    int64_t leading = 0, others = 0;
    bool first;
    size_t len = 0;
    text[0] = 0;
    while (free_symbol(g, symbol, sizeof symbol, &first)) {
        if (!strcmp(symbol, last)) /* it will not go: leave it to the inputs */
            break;
        const int64_t v = first ? b->lead + b->lead_step * leading++ : b->rest + b->rest_step * others++;
        TRY(gopt_graph_fix_dim(g, symbol, v));
        memcpy(last, symbol, sizeof last);
        if (len < size)
            len += (size_t)snprintf(text + len, size - len, "%s%s=%lld", len ? ", " : "", symbol, (long long)v);
    }
    return bind_unnamed(g, b, text, size);
}

/* A copy of g with its dims of these sizes. */
static gopt_status bound_copy(const gopt_graph *g, const binding *b, char *text, size_t size, gopt_graph **out)
{
    TRY(gopt_graph_clone(g, out));
    const gopt_status s = bind(*out, b, text, size);
    if (s != GOPT_OK) {
        gopt_graph_destroy(*out);
        *out = NULL;
    }
    return s;
}

gopt_status trial_make(const checking *c, const gopt_graph *g, const binding *sizes, trial *r)
{
    gopt_graph *copy = NULL;
    *r = (trial){ .sizes = *sizes };
    gopt_status s = bound_copy(g, sizes, r->text, sizeof r->text, &copy);
    if (s == GOPT_OK)
        s = inputs_make(c->t, copy, NULL, &r->in, &r->n_in);
    if (s == GOPT_OK)
        s = run_reference(c->t, copy, r->in, &r->want);
    gopt_graph_destroy(copy);
    if (s != GOPT_OK)
        trial_free(r);
    return s;
}

gopt_status trial_check(const checking *c, const gopt_graph *g, const trial *r, char *why, size_t size, double *worst)
{
    gopt_graph *copy = NULL;
    answers got = { 0 };
    char text[200];
    gopt_status s = bound_copy(g, &r->sizes, text, sizeof text, &copy);
    if (s == GOPT_OK)
        s = run_reference(c->t, copy, r->in, &got);
    gopt_graph_destroy(copy);
    if (s == GOPT_NO_MEMORY)
        return s;
    if (s != GOPT_OK) {
        const size_t n = gopt_diag_count(c->t->cx);
        snprintf(why, size, "it no longer runs: %.200s",
                 n ? gopt_diag_get(c->t->cx, n - 1)->message : "no reason given");
        tool_forget(c->t);
        *worst = INFINITY;
        return GOPT_DIFFERENT;
    }
    for (size_t i = 0; i < got.n && s == GOPT_OK; i++) {
        diff d;
        tensor_diff(got.p[i], i < r->want.n ? r->want.p[i] : NULL, c->rtol, c->atol, true, &d);
        *worst = fmax(*worst, d.worst);
        if (!d.same) {
            snprintf(why, size, "output %s: %s", gopt_graph_output_name(g, i), d.why);
            s = GOPT_DIFFERENT;
        }
    }
    answers_free(&got);
    return s;
}

static gopt_status check_trial(checking *c, const trial *r)
{
    verdict *v = c->v;
    const gopt_status s = trial_check(c, c->after, r, v->reason, sizeof v->reason, &v->worst);
    if (s != GOPT_DIFFERENT)
        return s;
    v->passed = false;
    TRY(find_culprit(c, r));
    return GOPT_DIFFERENT;
}

static void note_binding(verdict *v, const trial *r)
{
    const size_t len = strlen(v->sizes);
    v->bindings++;
    if (r->text[0])
        snprintf(v->sizes + len, sizeof v->sizes - len, "%s%s", len ? "; " : "", r->text);
}

gopt_status verify_rewrites(tool *t, gopt_graph *before, gopt_graph *after, const gopt_optimize_options *o, verdict *v)
{
    *v = (verdict){ .passed = true, .tolerance = t->o.rtol < 0 ? 1e-3 : t->o.rtol };
    checking c = { .t = t,
                   .before = before,
                   .after = after,
                   .o = o,
                   .v = v,
                   .rtol = v->tolerance,
                   .atol = t->o.atol < 0 ? 5e-4 : t->o.atol };
    binding b, more;
    const bool dynamic = is_dynamic(before);
    gopt_status s = GOPT_OK;
    tool_flush(t);
    for (size_t i = 0; binding_get(i, &b) && v->bindings < (dynamic ? WANTED_BINDINGS : 1); i++) {
        trial r;
        const bool failed = t->failed;
        s = trial_make(&c, before, &b, &r);
        if (s != GOPT_OK && dynamic && s != GOPT_NO_MEMORY && !(t->failed && !failed)) {
            if (binding_get(i + 1, &more) || v->bindings) {
                tool_forget(t); /* these sizes do not suit the model: the next */
                s = GOPT_OK;
            }
            continue;
        }
        TRY(s);
        note_binding(v, &r);
        s = check_trial(&c, &r);
        trial_free(&r);
        TRY(s);
    }
    return s;
}
