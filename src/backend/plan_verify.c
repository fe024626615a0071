/* The answer fingerprint: inputs and answers of the machine that built the plan, against what comes out here. */
#include "backend/plan_file.h"

#include <math.h>
#include <stdlib.h>

/* Distance of the worst element, as a part of the answer's spread. NaN and infinities must be alike. */
static double distance(const gopt_tensor *want, const gopt_tensor *have)
{
    double lo = INFINITY, hi = -INFINITY, worst = 0;
    const int64_t n = gopt_tensor_elements(want);
    for (int64_t i = 0; i < n; i++) {
        const double a = gopt_tensor_get_f64(want, i), b = gopt_tensor_get_f64(have, i), d = fabs(a - b);
        if (isfinite(a)) {
            lo = fmin(lo, a);
            hi = fmax(hi, a);
        }
        if (isfinite(a) && isfinite(b))
            worst = fmax(worst, d);
        else if (!(isnan(a) && isnan(b)) && !(a == b))
            return INFINITY;
    }
    const double spread = fmax(hi - lo, fmax(fabs(hi), fabs(lo)));
    return worst == 0 ? 0 : spread > 0 && isfinite(spread) ? worst / spread : worst;
}

static gopt_status compare(const gopt_plan *p, const gopt_graph *g, gopt_run_context *rc, gopt_plan_verdict *v,
                           size_t *at)
{
    v->same_bits = true;
    for (size_t i = 0; i < p->n_answers; i++) {
        const gi_plan_tensor *t = &p->answers[i];
        const gopt_tensor *have = gopt_run_context_output(rc, i);
        const gi_place place = { .file = p->file->path };
        const char *name = gopt_graph_output_name(g, i);
        if (!have || have->kind != GOPT_TENSOR || have->dtype != t->dtype || have->rank != t->rank ||
            (t->rank && memcmp(have->dims, t->dims, (size_t)t->rank * sizeof *t->dims) != 0) ||
            have->bytes != t->range.bytes)
            return gi_fail(p->cx, GOPT_DIFFERENT, &place, NULL,
                           "the answer %s has another type or shape than the one in the plan", name ? name : "");
        gopt_tensor want = *have;
        union {
            const uint8_t *p;
            void *data; /* read alone */
        } u = { .p = p->file->data + t->range.at };
        want.data = u.data;
        if (!have->bytes || !memcmp(u.p, have->data, have->bytes))
            continue;
        v->same_bits = false;
        const double d = distance(&want, have);
        if (!(d <= v->worst)) {
            v->worst = d;
            *at = i;
        }
    }
    return GOPT_OK;
}

static gopt_status run_them(const gopt_plan *p, gopt_run_context *rc)
{
    for (size_t i = 0; i < p->n_inputs; i++)
        GI_TRY(gopt_run_context_set_input(rc, i, &p->input_tensors[i]));
    return gopt_run(rc);
}

gopt_status gopt_plan_verify(gopt_plan *p, gopt_engine *e, double rtol, gopt_plan_verdict *out)
{
    const gopt_graph *g = e->graph;
    const gi_place place = { .file = p->file->path };
    gopt_run_context *rc;
    size_t at = 0;
    *out = (gopt_plan_verdict){ 0 };
    if (!p->n_answers || p->n_answers != g->main->n_results || p->n_inputs != g->main->n_params)
        return gi_fail(p->cx, GOPT_USAGE, &place, NULL,
                       "the plan has no answers to compare with: its network draws random numbers, or takes or gives "
                       "something else than tensors of numbers");
    GI_TRY(gi_plan_file_check_cold(p));
    GI_TRY(gopt_run_context_create(e, &rc));
    gopt_status st = run_them(p, rc);
    if (st == GOPT_OK)
        st = compare(p, g, rc, out, &at);
    gopt_run_context_destroy(rc);
    GI_TRY(st);
    const bool half = strcmp(e->options.precision, "fp32") != 0;
    const double limit = rtol > 0 ? rtol : half ? 1e-2 : 1e-3;
    if (out->worst <= limit)
        return GOPT_OK;
    const char *name = gopt_graph_output_name(g, at);
    return gi_fail(p->cx, GOPT_DIFFERENT, &place, "build the plan again on this machine, and compare with the model",
                   "the plan does not compute what it did where it was built: %s is off by %.3g of its spread, more "
                   "than %.3g",
                   name ? name : "an answer", out->worst, limit);
}
