/* Asking a backend which nodes it would run by a kernel, before there is an engine.
 *
 * A node whose shapes hold free symbols is asked about in a copy, with one number in the place of every symbol: what a
 * kernel takes rarely hangs on how large a dimension is, and where it does, the answer costs speed, no result. */
#include "backend/engine.h"
#include "backend/plan.h"

enum { STAND_IN = 8 }; /* for a symbol: small, and a multiple of what layouts want */

gopt_status gopt_kernels_open(gopt_ctx *cx, const gopt_engine_options *o, gopt_kernels **out)
{
    gopt_engine_options own = o ? *o : (gopt_engine_options){ 0 };
    own.backend = own.backend ? own.backend : "cpu";
    own.precision = own.precision ? own.precision : "fp32";
    own.threads = own.threads > 0 ? own.threads : cx->threads;
    *out = NULL;
    gopt_kernels *k = gi_alloc(cx, sizeof *k);
    GI_NEED(k);
    *k = (gopt_kernels){ .cx = cx, .scratch = gi_arena_create(cx) };
    gopt_status st = k->scratch ? GOPT_OK : GOPT_NO_MEMORY;
    if (st == GOPT_OK)
        st = own.to_ask ? gi_devices_open_to_ask(cx, &own, &k->devices, &k->absent)
                        : gi_devices_open(cx, &own, &k->devices);
    if (st != GOPT_OK) {
        gopt_kernels_close(k);
        return st;
    }
    *out = k;
    return GOPT_OK;
}

void gopt_kernels_close(gopt_kernels *k)
{
    if (!k)
        return;
    gi_devices_close(&k->devices);
    gi_arena_destroy(k->scratch);
    gi_free(k->cx, k);
}

bool gi_kernels_give(gopt_kernels *k, gi_devices *d)
{
    if (k->absent)
        return false;
    *d = k->devices;
    k->devices = (gi_devices){ 0 };
    return d->backend[0] != NULL;
}

/* ---- with numbers for symbols ---- */

typedef struct symbols {
    gi_arena *arena;
    gi_vec(gi_binding) found;
    bool failed;
} symbols;

static void bind(void *arg, const gi_dim *symbol)
{
    symbols *s = arg;
    for (size_t i = 0; i < s->found.n; i++)
        if (s->found.p[i].symbol == symbol)
            return;
    s->failed |= !gi_push(s->arena, &s->found, (gi_binding){ symbol, STAND_IN });
}

/* The type with numbers for its symbols, in the graph g. NULL where the rank is not known. */
static const gi_type *stand_in_type(gopt_graph *g, const gi_type *t, symbols *s)
{
    const gi_dim *dims[GOPT_MAX_RANK];
    if (!t || t->kind != GOPT_TENSOR || t->rank < 0 || t->dtype == GOPT_UNDEFINED)
        return NULL;
    for (int i = 0; i < t->rank; i++) {
        int64_t v;
        gi_dim_each_symbol(t->dims[i], bind, s);
        if (s->failed)
            return NULL;
        if (!gi_dim_eval(t->dims[i], s->found.p, s->found.n, &v) || v < 0)
            v = STAND_IN;
        dims[i] = gi_dim_const(g->dims, v);
        if (!dims[i])
            return NULL;
    }
    return gi_type_tensor(g->types, t->dtype, t->rank, dims);
}

/* A copy of n in a graph of its own, of static types; NULL where there can be none. */
static gi_node *stand_in(gopt_graph *g, const gi_node *n, gi_arena *a)
{
    symbols s = { .arena = a };
    gi_value **in = GI_NEW_ARRAY(a, gi_value *, n->n_in + 1);
    if (!in)
        return NULL;
    for (uint32_t i = 0; i < n->n_in; i++) {
        const gi_value *v = n->in[i].value;
        gi_blob *b = gi_value_blob(v);
        if (!v)
            continue;
        const gi_type *t = b ? NULL : stand_in_type(g, v->type, &s);
        if (!b && !t)
            return NULL;
        in[i] = b ? gi_const(g, gi_blob_ref(b), NULL) : gi_block_add_param(g->main, NULL, t);
        if (!in[i])
            return NULL;
    }
    gi_node *copy = gi_node_create(g->main, NULL, n->op, n->n_in, in, n->n_out);
    if (!copy || !gi_attrs_copy(copy, n) || gi_infer_node(copy, a) != GOPT_OK)
        return NULL;
    for (uint32_t i = 0; i < copy->n_out; i++)
        if (!gi_type_is_static(copy->out[i]->type))
            return NULL;
    return copy;
}

/* ---- asking ---- */

static bool has_kernel(gopt_kernels *k, gi_node *n)
{
    const int d = k->devices.backend[1] ? 1 : 0;
    const gi_backend *b = k->devices.backend[d];
    const char *why = NULL;
    gi_step s;
    if (!b->has_kernel)
        return b->supports(k->devices.device[d], n, k->scratch, &why);
    return gi_plan_step_of(n, n->n_out, k->scratch, k->scratch, &s) == GOPT_OK &&
           b->has_kernel(k->devices.device[d], &s, k->scratch, &why);
}

static bool is_static(const gi_node *n)
{
    for (uint32_t i = 0; i < n->n_in; i++)
        if (n->in[i].value && !gi_type_is_static(n->in[i].value->type))
            return false;
    for (uint32_t i = 0; i < n->n_out; i++)
        if (!gi_type_is_static(n->out[i]->type))
            return false;
    return true;
}

bool gopt_kernels_run(void *kernels, const gopt_node *n)
{
    gopt_kernels *k = kernels;
    gopt_graph *g = NULL;
    bool has = true;
    if (n->op == OP_Unknown || (gi_op_get(n->op)->traits & GI_CONTROL) || !k->devices.backend[0])
        return true; /* what has a body, or no evaluation, is not expanded */
    gi_arena_reset(k->scratch);
    if (is_static(n))
        return has_kernel(k, (gi_node *)(uintptr_t)n);
    const size_t diags = k->cx->n_diags;
    if (gi_graph_create(k->cx, &g) == GOPT_OK) {
        gi_node *copy = stand_in(g, n, k->scratch);
        has = copy && has_kernel(k, copy);
    }
    k->cx->n_diags = diags;
    gopt_graph_destroy(g);
    return has;
}
