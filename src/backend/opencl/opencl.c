/* The opencl backend's table: which nodes it takes, and how a node becomes a step.
 *
 * A node is offered to each tactic in turn. Fusions are one generated kernel where all of it is pointwise, or
 * a main node (a product, a convolution, pooling, …) whose result goes through scratch into one generated
 * kernel with the rest. */
#include "backend/opencl/device.h"
#include "backend/opencl/stem.h"
#include "backend/opencl/walk.h"

static const gi_cl_tactic tactics[] = { gi_cl_take_pointwise, gi_cl_take_product, gi_cl_take_conv,   gi_cl_take_pool,
                                        gi_cl_take_rows,      gi_cl_take_move,    gi_cl_take_gather, gi_cl_take_resize,
                                        gi_cl_take_recurrent, gi_cl_take_arrange, gi_cl_take_direct, gi_cl_take_reduce,
                                        gi_cl_take_quantize,  gi_cl_take_grid };

/* ---- views ---- */

static bool is_view(const gi_node *n)
{
    const gi_value *x = gi_node_in(n, 0);
    size_t bx, by;
    if (n->op == OP_Fusion || !(gi_op_get(n->op)->traits & GI_VIEW) || !x || !x->type || !n->n_out ||
        !n->out[0]->type || x->type->dtype == GOPT_STRING)
        return false;
    for (uint32_t i = 1; i < n->n_out; i++)
        if (n->out[i]->n_uses)
            return false;
    return gi_type_bytes(x->type, &bx) && gi_type_bytes(n->out[0]->type, &by) && bx == by &&
           x->type->dtype == n->out[0]->type->dtype;
}

/* Do its elements lie row-major, with nothing between? */
static bool in_order(const gi_cl_view *v)
{
    const gi_cl_view dense = gi_cl_view_dense(v->rank, v->dims, v->half);
    return gi_cl_same_place(v, &dense);
}

/* A view whose two sides lie otherwise: a copy. */
static gopt_status take_view(gi_cl_build *b, const gi_node *n)
{
    gi_cl_view x, y;
    gi_cl_ref refs[2];
    if (!gi_cl_view_of(b, gi_node_in(n, 0), &x) || !gi_cl_view_of(b, n->out[0], &y))
        return GOPT_INTERNAL;
    GI_TRY(gi_cl_find(b, gi_node_in(n, 0), &refs[0]));
    GI_TRY(gi_cl_find(b, n->out[0], &refs[1]));
    return gi_cl_launch_convert(b, &x, refs[0], &y, refs[1]);
}

/* ---- fusions ---- */

static const char *title_of(gi_cl_build *b, const gi_node *const *nodes, size_t n)
{
    gi_str s;
    gi_str_init(&s, b->arena);
    for (size_t i = 0; i < n; i++)
        gi_str_addf(&s, "%s%s", i ? "+" : "", nodes[i]->op_name);
    return s.p ? s.p : "";
}

static gopt_status take_one(gi_cl_build *b, const gi_node *n, bool *took)
{
    *took = false;
    for (size_t i = 0; i < GI_COUNT(tactics) && !*took; i++)
        GI_TRY(tactics[i](b, n, took));
    return GOPT_OK;
}

static bool reads_inside(const gi_node *n, const gi_block *body)
{
    for (uint32_t i = 0; i < n->n_in; i++) {
        const gi_node *by = gi_value_node(gi_node_in(n, i));
        if (by && by->block == body)
            return true;
    }
    return false;
}

/* The node that is not pointwise, into scratch. */
static gopt_status take_main(gi_cl_build *b, const gi_node *main, const gi_block *body, bool *took)
{
    size_t bytes;
    gi_cl_ref at;
    *took = false;
    if (reads_inside(main, body)) {
        (void)gi_cl_decline(b, "%s stands behind other nodes in its fusion", main->op_name);
        return GOPT_OK;
    }
    for (uint32_t i = 0; i < body->n_results; i++)
        if (body->results[i].value == main->out[0]) {
            (void)gi_cl_decline(b, "the result of %s is also used outside its fusion", main->op_name);
            return GOPT_OK;
        }
    if (!main->out[0]->type || !gi_type_bytes(main->out[0]->type, &bytes))
        return GOPT_OK;
    if (main->out[0]->type->dtype == GOPT_F16) /* a float each */
        bytes *= 2;
    GI_TRY(gi_cl_scratch(b, bytes, 4, &at));
    b->inner = main->out[0];
    b->inner_at = at.offset;
    return take_one(b, main, took);
}

/* A product with constant weights takes what is behind it into its own kernel. */
static gopt_status take_whole(gi_cl_build *b, const gi_node *main, const gi_node *const *rest, size_t n_rest,
                              const gi_value *result, const gi_value *stored, bool *took)
{
    *took = false;
    if (b->dry || !b->s->plan || b->s->fp32 || (main->op != OP_Conv && main->op != OP_MatMul && main->op != OP_Gemm))
        return GOPT_OK;
    GI_TRY(gi_cl_depthwise(b, main, rest, n_rest, result, stored, took));
    if (!*took)
        GI_TRY(gi_cl_stem(b, main, rest, n_rest, result, stored, took));
    return *took || b->s->fp32 ? GOPT_OK : gi_cl_tiled(b, main, rest, n_rest, result, stored, took);
}

static gopt_status take_fusion(gi_cl_build *b, const gi_node *n, bool *took)
{
    const gi_block *body = gi_fusion_block(n);
    const gi_node **rest = GI_NEW_ARRAY(b->arena, const gi_node *, body->n_nodes + 1);
    const gi_value **outs = GI_NEW_ARRAY(b->arena, const gi_value *, body->n_results + 1);
    const gi_value **stored = GI_NEW_ARRAY(b->arena, const gi_value *, body->n_results + 1);
    const gi_node *main = NULL;
    size_t n_rest = 0;
    GI_NEED(rest && outs && stored);
    for (const gi_node *k = body->first; k; k = k->next) {
        if (gi_cl_is_pointwise(k)) {
            rest[n_rest++] = k;
        } else if (main) {
            (void)gi_cl_decline(b, "its fusion holds both %s and %s", main->op_name, k->op_name);
            return GOPT_OK;
        } else {
            main = k;
        }
    }
    if (main && !n_rest) {
        (void)gi_cl_decline(b, "its fusion holds %s alone", main->op_name);
        return GOPT_OK;
    }
    if (main && body->n_results == 1 && n->n_out == 1) {
        GI_TRY(take_whole(b, main, rest, n_rest, body->results[0].value, n->out[0], took));
        if (*took)
            return GOPT_OK;
    }
    if (main) {
        bool main_took;
        GI_TRY(take_main(b, main, body, &main_took));
        if (!main_took)
            return GOPT_OK;
    }
    for (uint32_t i = 0; i < body->n_results; i++) {
        outs[i] = body->results[i].value;
        stored[i] = i < n->n_out ? n->out[i] : NULL;
        if (!stored[i])
            return GOPT_INTERNAL;
    }
    GI_TRY(gi_cl_pointwise(b, title_of(b, rest, n_rest), rest, n_rest, outs, stored, body->n_results, took));
    if (main && !b->dry)
        b->s->in_place = -1; /* an early kernel may still read what a later one would overwrite */
    return GOPT_OK;
}

static gopt_status take(gi_cl_build *b, const gi_node *n, bool *took)
{
    *took = false;
    if (n->op == OP_Fusion) {
        GI_TRY(gi_cl_take_attention(b, n, took));
        if (!*took)
            GI_TRY(gi_cl_take_stem(b, n, took));
        return *took ? GOPT_OK : take_fusion(b, n, took);
    }
    if (n->n_out == 1)
        GI_TRY(take_whole(b, n, NULL, 0, n->out[0], n->out[0], took));
    return *took ? GOPT_OK : take_one(b, n, took);
}

/* ---- the table ---- */

static bool supports(gi_device *dev, const gi_node *n, gi_arena *a, const char **why)
{
    gi_cl_build b = { .d = (gi_cl *)dev, .arena = a, .dry = true };
    bool took;
    if (is_view(n))
        return true;
    const gopt_status st = take(&b, n, &took);
    *why = b.why;
    return st == GOPT_OK && took;
}

/* Leaves in s->in what launches read. */
static gopt_status drop_unread(gi_step *s, gi_cl_step *c, const bool *used, gi_arena *a)
{
    uint32_t *moved = GI_NEW_ARRAY(a, uint32_t, s->n_in + 1);
    gi_value **in = GI_NEW_ARRAY(a, gi_value *, s->n_in + 1);
    uint32_t n = 0;
    GI_NEED(moved && in);
    for (uint32_t i = 0; i < s->n_in; i++)
        if (used[i]) {
            moved[i] = n;
            in[n++] = s->in[i];
        }
    for (size_t i = 0; i < c->launches.n; i++)
        for (uint32_t k = 0; k < c->launches.p[i].n_refs; k++) {
            gi_cl_ref *r = &c->launches.p[i].refs[k];
            if (r->place == GI_CL_IN)
                r->index = moved[r->index];
        }
    if (s->in_at) { /* in the order of what is left */
        uint64_t *at = GI_NEW_ARRAY(a, uint64_t, n + 1);
        GI_NEED(at);
        for (uint32_t i = 0; i < s->n_in; i++)
            if (used[i])
                at[moved[i]] = s->in_at[i];
        s->in_at = at;
    }
    if (s->in_place >= 0)
        s->in_place = used[s->in_place] ? (int)moved[s->in_place] : -1;
    s->in = in;
    s->n_in = n;
    return GOPT_OK;
}

/* Adds to s->in the constants that stand inside a fusion: they are no captures. */
static gopt_status add_constants(gi_step *s, gi_arena *a)
{
    gi_values in = { 0 };
    for (uint32_t i = 0; i < s->n_in; i++)
        GI_NEED(gi_push(a, &in, s->in[i]));
    const gi_block *body = s->node->op == OP_Fusion ? gi_fusion_block(s->node) : NULL;
    for (const gi_node *k = body ? body->first : NULL; k; k = k->next)
        for (uint32_t i = 0; i < k->n_in; i++) {
            gi_value *v = gi_node_in(k, i);
            bool have = !gi_value_blob(v);
            for (size_t j = s->n_in; j < in.n && !have; j++)
                have = in.p[j] == v;
            if (!have)
                GI_NEED(gi_push(a, &in, v));
        }
    s->in = in.p;
    s->n_in = (uint32_t)in.n;
    return GOPT_OK;
}

static gopt_status compile_step(gi_cl *d, gi_step *s, gi_cl_step *c, gi_arena *a)
{
    gi_cl_build b = { .d = d, .arena = a, .s = s, .c = c };
    bool took;
    GI_TRY(add_constants(s, a));
    b.used = GI_NEW_ARRAY(a, bool, s->n_in + 1);
    GI_NEED(b.used);
    if (is_view(s->node)) {
        GI_TRY(take_view(&b, s->node));
        took = true;
    } else {
        if (d->half)
            GI_TRY(gi_cl_stays_fp32(s->plan, s->node, a, &s->fp32));
        GI_TRY(take(&b, s->node, &took));
    }
    if (!took)
        return gi_fail(d->cx, GOPT_INTERNAL, NULL, NULL, "opencl took %s and then declined it: %s", s->node->op_name,
                       b.why ? b.why : "no reason");
    if (!s->tactic)
        s->tactic = c->launches.n && !c->launches.p[0].kernel ? "clblast" : "generated";
    s->scratch = b.scratch;
    return drop_unread(s, c, b.used, a);
}

static gopt_status compile(gi_device *dev, gi_step *s, gi_arena *a)
{
    gi_cl *d = (gi_cl *)dev;
    if (is_view(s->node)) {
        gi_cl_build b = { .d = d, .arena = a, .s = s };
        gi_cl_view x, y;
        gi_value **in = GI_NEW(a, gi_value *);
        GI_NEED(in);
        *in = gi_node_in(s->node, 0);
        s->in = in;
        s->n_in = s->n_out = 1;
        if (!gi_cl_view_of(&b, *in, &x) || !gi_cl_view_of(&b, s->out[0], &y))
            return GOPT_INTERNAL;
        s->alias = x.half == y.half && in_order(&x) && in_order(&y);
        s->tactic = "view";
        if (s->alias)
            return GOPT_OK;
    }
    gi_arena *own = gi_arena_create(d->cx);
    GI_NEED(own);
    gi_cl_step *c = GI_NEW(own, gi_cl_step);
    if (!c) {
        gi_arena_destroy(own);
        return GOPT_NO_MEMORY;
    }
    c->arena = own;
    const gopt_status st = compile_step(d, s, c, a);
    if (st != GOPT_OK) {
        gi_cl_step_release(c);
        return st;
    }
    s->state = c;
    return GOPT_OK;
}

static gopt_status run(gi_device *dev, gi_step *s, const gi_run_args *args)
{
    return gi_cl_run((gi_cl *)dev, s->state, args);
}

static gopt_status run_timed(gi_device *dev, gi_step *s, const gi_run_args *args, double *ms)
{
    return gi_cl_run_timed((gi_cl *)dev, s->state, args, ms);
}

static void release(gi_device *dev, gi_step *s)
{
    (void)dev;
    gi_cl_step_release(s->state);
    s->state = NULL;
}

const gi_backend gi_backend_opencl = {
    .name = "opencl",
    .open = gi_cl_open,
    .open_absent = gi_cl_open_absent,
    .close = gi_cl_close,
    .device_name = gi_cl_name,
    .supports = supports,
    .grows = gi_cl_grows,
    .compile = compile,
    .run = run,
    .run_timed = run_timed,
    .ceilings = gi_cl_ceilings,
    .release = release,
    .mem_alloc = gi_cl_mem_alloc,
    .mem_free = gi_cl_mem_free,
    .upload = gi_cl_upload,
    .download = gi_cl_download,
    .finish = gi_cl_finish,
    .host_alloc = gi_cl_host_alloc,
    .host_free = gi_cl_host_free,
    .plan_open = gi_cl_plan_open,
    .plan_close = gi_cl_plan_close,
    .value_bytes = gi_cl_value_bytes,
    .span_open = gi_cl_span_open,
    .span_run = gi_cl_span_run,
    .span_close = gi_cl_span_close,
    .context_open = gi_cl_context_open,
    .context_close = gi_cl_context_close,
    .packs = gi_cl_packs,
    .machine = gi_cl_machine,
    .state = gi_cl_state,
    .restore = gi_cl_restore,
};
