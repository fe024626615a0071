/* The driver of reference evaluation: one node, a block, a graph. */
#include "ops/eval.h"
#include "ops/infer.h"
#include "ops/plugin.h"

/* ---- outputs ---- */

static bool same_dims(int ra, const int64_t *a, int rb, const int64_t *b)
{
    return ra == rb && (ra == 0 || !memcmp(a, b, (size_t)ra * sizeof *a));
}

gopt_status gi_eval_out(gi_eval *a, uint32_t i, gopt_dtype dtype, int rank, const int64_t *dims, gopt_tensor **t)
{
    *t = NULL;
    if (i >= a->n_out)
        return GOPT_OK;
    gopt_tensor *have = a->out[i];
    if (have && a->planned) {
        if (have->kind != GOPT_TENSOR || have->dtype != dtype || !same_dims(have->rank, have->dims, rank, dims))
            return gi_eval_fail(a, -1, "output %u has another type or shape than the model's types say", i);
        *t = have;
        return GOPT_OK;
    }
    if (have)
        gopt_tensor_unref(have);
    a->out[i] = NULL;
    GI_TRY(gopt_tensor_create(a->cx, dtype, rank, dims, &a->out[i]));
    *t = a->out[i];
    return GOPT_OK;
}

gopt_status gi_eval_out_tensor(gi_eval *a, uint32_t i, gopt_tensor *t)
{
    gopt_status st = GOPT_OK;
    if (i < a->n_out && a->planned && a->out[i]) {
        gopt_tensor *to = NULL;
        st = t->kind != GOPT_TENSOR ? gi_eval_fail(a, -1, "output %u is no tensor, the plan expects one", i)
                                    : gi_eval_out(a, i, t->dtype, t->rank, t->dims, &to);
        if (st == GOPT_OK && t->bytes)
            memcpy(to->data, t->data, t->bytes);
        gopt_tensor_unref(t);
    } else if (i < a->n_out) {
        gopt_tensor_unref(a->out[i]);
        a->out[i] = t;
    } else {
        gopt_tensor_unref(t);
    }
    return st;
}

void *gi_eval_scratch(gi_eval *a, size_t n, size_t item)
{
    return gi_arena_array(a->scratch, n ? n : 1, item);
}

gopt_status(gi_eval_fail)(const gi_eval *a, int in, const char *fmt, ...)
{
    gi_place at = gi_node_place(a->n);
    const gi_op *row = gi_op_get(a->n->op);
    if (in >= 0 && row->n_in > 0)
        at.input = row->in[in < row->n_in ? in : row->n_in - 1].name;
    va_list args;
    va_start(args, fmt);
    const char *text = gi_arena_vprintf(a->scratch, fmt, args);
    va_end(args);
    if (at.input)
        return gi_fail(a->cx, GOPT_BAD_INPUT, &at, NULL, "input %s: %s", at.input, text ? text : "");
    return gi_fail(a->cx, GOPT_BAD_INPUT, &at, NULL, "%s", text ? text : "");
}

/* ---- one node ---- */

static gopt_status check_inputs(const gi_eval *a, const gi_op *row)
{
    const bool variadic = row->n_in > 0 && row->in[row->n_in - 1].presence == GI_VARIADIC;
    if (a->n_in > (uint32_t)row->n_in && !variadic)
        return gi_eval_fail(a, -1, "it has %u inputs, %s takes at most %d", a->n_in, row->name, row->n_in);
    for (int i = 0; i < row->n_in; i++)
        if (row->in[i].presence == GI_REQUIRED && ((uint32_t)i >= a->n_in || !a->in[i]))
            return gi_eval_fail(a, -1, "input %s is missing, %s needs it", row->in[i].name, row->name);
    if (row->traits & (GI_ANY_KIND | GI_CONTROL))
        return GOPT_OK;
    for (uint32_t i = 0; i < a->n_in; i++)
        if (a->in[i] && a->in[i]->kind != GOPT_TENSOR)
            return gi_eval_fail(a, (int)i, "expected a tensor");
    if (a->n_in > 0 && a->in[0] && !gi_op_takes(row, a->in[0]->dtype))
        return gi_eval_fail(a, 0, "%s does not take elements of type %s", row->name, gopt_dtype_name(a->in[0]->dtype));
    return GOPT_OK;
}

static gopt_status check_outputs(gi_eval *a, const gi_op *row)
{
    for (uint32_t i = 0; i < a->n_out; i++) {
        gopt_tensor *t = a->out[i];
        if (!t && a->n->out[i]->n_uses > 0)
            return gi_eval_fail(a, -1, "%s gives no output %u, but it is used", row->name, i);
        if (t && !a->planned && t->kind == GOPT_TENSOR && t->dtype == GOPT_STRING && t->cx && t->refs == 1)
            GI_TRY(gi_tensor_own_strings(a->cx, t));
    }
    return GOPT_OK;
}

gopt_status gi_eval_node(gi_eval *a)
{
    const gi_op *row = gi_op_get(a->n->op);
    const gi_plugin_op *plugin = gi_plugin_of(a->n);
    if (!row->eval && !plugin) {
        const gi_place at = gi_node_place(a->n);
        const char *domain = a->n->domain && *a->n->domain ? a->n->domain : "ai.onnx";
        return gi_fail(a->cx, GOPT_UNSUPPORTED, &at, NULL, "operator %s::%s has no evaluation here", domain,
                       a->n->op_name ? a->n->op_name : row->name);
    }
    const size_t said = gopt_diag_count(a->cx);
    gopt_status st = plugin ? gi_plugin_eval(a, plugin) : check_inputs(a, row);
    if (st == GOPT_OK && !plugin)
        st = row->eval(a);
    if (st == GOPT_OK && !plugin)
        st = check_outputs(a, row);
    if (st != GOPT_OK) {
        const gi_place at = gi_node_place(a->n);
        gi_diag_locate(a->cx, said, &at);
    }
    if (st != GOPT_OK && !a->planned)
        for (uint32_t i = 0; i < a->n_out; i++) {
            gopt_tensor_unref(a->out[i]);
            a->out[i] = NULL;
        }
    return st;
}

/* ---- blocks ---- */

typedef struct slot {
    gopt_tensor *t; /* one reference; NULL before the definition and after the last use */
    uint32_t uses;  /* still to come */
} slot;

typedef struct frame {
    gopt_ctx *cx;
    const gi_block *block;
    gi_arena *arena;   /* of the frame */
    gi_arena *scratch; /* of one node */
    gi_map slots;      /* by value id */
    gi_lookup_fn lookup;
    void *user;
} frame;

static slot *find_slot(const frame *f, const gi_value *v)
{
    return gi_map_get(&f->slots, v->id);
}

static slot *add_slot(frame *f, const gi_value *v)
{
    slot *s = GI_NEW(f->arena, slot);
    return s && gi_map_put(&f->slots, v->id, s) ? s : NULL;
}

/* What a nested block captures: a value of this frame, or of one around it. */
static const gopt_tensor *frame_lookup(void *user, const gi_value *v)
{
    const frame *f = user;
    const slot *s = find_slot(f, v);
    if (s)
        return s->t;
    return f->lookup ? f->lookup(f->user, v) : NULL;
}

/* A value as this frame's nodes see it. Constants are borrowed from their blob into *store. */
static const gopt_tensor *read_value(frame *f, const gi_value *v, gopt_tensor *store)
{
    const gi_blob *b = gi_value_blob(v);
    if (!b)
        return frame_lookup(f, v);
    gi_tensor_of_blob(b, store);
    return store;
}

/* Calls `f` for every value that a node reads: its inputs, one by one, and what its blocks capture. */
static gopt_status each_read(frame *fr, const gi_node *n, gi_arena *a, gopt_status (*f)(frame *, const gi_value *))
{
    for (uint32_t i = 0; i < n->n_in; i++)
        if (gi_node_in(n, i))
            GI_TRY(f(fr, gi_node_in(n, i)));
    if (!(gi_op_get(n->op)->traits & GI_CONTROL))
        return GOPT_OK;
    gi_values captured = { 0 };
    GI_NEED(gi_node_captures(n, a, &captured));
    for (size_t i = 0; i < captured.n; i++)
        GI_TRY(f(fr, captured.p[i]));
    return GOPT_OK;
}

static gopt_status count_use(frame *f, const gi_value *v)
{
    slot *s = find_slot(f, v);
    if (s)
        s->uses++;
    return GOPT_OK;
}

static gopt_status drop_use(frame *f, const gi_value *v)
{
    slot *s = find_slot(f, v);
    if (s && s->uses > 0 && --s->uses == 0) {
        gopt_tensor_unref(s->t);
        s->t = NULL;
    }
    return GOPT_OK;
}

static gopt_status prepare(frame *f)
{
    const gi_block *b = f->block;
    gi_map_init(&f->slots, f->arena);
    for (uint32_t i = 0; i < b->n_params; i++)
        GI_NEED(add_slot(f, b->params[i]));
    for (const gi_node *n = b->first; n; n = n->next) {
        for (uint32_t i = 0; i < n->n_out; i++)
            GI_NEED(add_slot(f, n->out[i]));
        GI_TRY(each_read(f, n, f->scratch, count_use));
        gi_arena_reset(f->scratch);
    }
    for (uint32_t i = 0; i < b->n_results; i++)
        if (b->results[i].value)
            GI_TRY(count_use(f, b->results[i].value));
    return GOPT_OK;
}

static gopt_status run_node(frame *f, const gi_node *n)
{
    const gopt_tensor **in = GI_NEW_ARRAY(f->scratch, const gopt_tensor *, n->n_in + 1);
    gopt_tensor *store = GI_NEW_ARRAY(f->scratch, gopt_tensor, n->n_in + 1);
    gopt_tensor **out = GI_NEW_ARRAY(f->scratch, gopt_tensor *, n->n_out + 1);
    GI_NEED(in && store && out);
    gi_eval a = { .n = n, .cx = f->cx, .n_in = n->n_in, .n_out = n->n_out, .in = in, .out = out };
    a.scratch = f->scratch;
    a.lookup = frame_lookup;
    a.user = f;
    for (uint32_t i = 0; i < n->n_in; i++) {
        const gi_value *v = gi_node_in(n, i);
        if (v && !(in[i] = read_value(f, v, &store[i])))
            return gi_eval_fail(&a, (int)i, "it has no value yet: the graph's order is wrong");
    }
    GI_TRY(gi_eval_node(&a));
    for (uint32_t i = 0; i < n->n_out; i++) {
        slot *s = find_slot(f, n->out[i]);
        if (s->uses)
            s->t = out[i];
        else
            gopt_tensor_unref(out[i]);
    }
    return each_read(f, n, f->scratch, drop_use);
}

static gopt_status give_results(frame *f, gopt_tensor **results)
{
    const gi_block *b = f->block;
    for (uint32_t i = 0; i < b->n_results; i++) {
        gopt_tensor store;
        const gi_value *v = b->results[i].value;
        const gopt_tensor *t = v ? read_value(f, v, &store) : NULL;
        if (!t)
            return gi_fail(f->cx, GOPT_INTERNAL, NULL, NULL, "result %u of a block has no value", i);
        GI_TRY(gi_tensor_keep(f->cx, t, &results[i]));
    }
    return GOPT_OK;
}

static gopt_status run_frame(frame *f, const gopt_tensor *const *params, gopt_tensor **results)
{
    GI_TRY(prepare(f));
    for (uint32_t i = 0; i < f->block->n_params; i++) {
        slot *s = find_slot(f, f->block->params[i]);
        if (s->uses && params[i])
            GI_TRY(gi_tensor_keep(f->cx, params[i], &s->t));
    }
    for (const gi_node *n = f->block->first; n; n = n->next) {
        GI_TRY(run_node(f, n));
        gi_arena_reset(f->scratch);
    }
    return give_results(f, results);
}

static void release_frame(frame *f)
{
    for (size_t i = 0; i < f->slots.cap; i++) {
        slot *s = f->slots.values[i];
        if (s)
            gopt_tensor_unref(s->t);
    }
}

gopt_status gi_eval_block(gopt_ctx *cx, const gi_block *b, const gopt_tensor *const *params, gi_lookup_fn lookup,
                          void *user, gopt_tensor **results)
{
    for (uint32_t i = 0; i < b->n_results; i++)
        results[i] = NULL;
    if (gi_block_depth(b) > GI_MAX_NESTING)
        return gi_fail(cx, GOPT_UNSUPPORTED, NULL, NULL, "subgraphs lie deeper than %d in each other", GI_MAX_NESTING);
    frame f = { .cx = cx, .block = b, .lookup = lookup, .user = user };
    f.arena = gi_arena_create(cx);
    f.scratch = gi_arena_create(cx);
    gopt_status st = f.arena && f.scratch ? run_frame(&f, params, results) : GOPT_NO_MEMORY;
    release_frame(&f);
    gi_arena_destroy(f.scratch);
    gi_arena_destroy(f.arena);
    for (uint32_t i = 0; i < b->n_results && st != GOPT_OK; i++) {
        gopt_tensor_unref(results[i]);
        results[i] = NULL;
    }
    return st;
}

gopt_status gi_eval_graph(gopt_graph *g, const gopt_tensor *const *inputs, gopt_tensor **outputs)
{
    return gi_eval_block(g->cx, g->main, inputs, NULL, NULL, outputs);
}
