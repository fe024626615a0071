/* Constant folding: evaluates what is known, by the operators' reference evaluations.
 *
 *     %t = Transpose dense<f32[768,768], #w>        %y = MatMul %x, dense<f32[768,768], #w'>
 *     %y = MatMul %x, %t                       ⇒
 *
 * Two sources: nodes whose inputs are all constants, and values whose contents shape inference knows to the
 * last element (Shape of a fixed input, and all that is computed from it).
 *
 * Not node by node: a Tile of a scalar that feeds a Mul that feeds a ReduceSum would blow the file up in the
 * middle and shrink it at the end, and the reverse. So a whole region of such nodes is evaluated, and only the
 * values that leave it, the frontier, are weighed: bytes made less bytes of the constants that die by it. What
 * is made beyond that comes out of one purse for the whole model, the larger of 1 MiB and 2% of its parameters.
 * Values inside the region are freed as soon as their last reader has run, and no tensor may pass the region's
 * ceiling, so memory is bounded. A node that fails to evaluate is left alone with what depends on it, and its
 * complaint is not the user's.
 *
 * An output by name stays an output of a node: it becomes an Identity of the constant. */
#include "passes/util.h"

enum { MAX_TENSOR = 1 << 28 }; /* bytes that one value of a region may have */

typedef struct cell {
    gopt_tensor *t;   /* evaluated, until its last reader in the region has run */
    int64_t credit;   /* bytes of constants that die where this is folded, and that no frontier has used yet */
    uint32_t readers; /* left, in the region */
    bool foldable;
} cell;

typedef struct folder {
    gopt_graph *g;
    gi_pass_ctx *cx;
    cell *cells; /* by value id */
    uint32_t n_cells;
    gi_arena *arena;            /* of one evaluation */
    bool *credited;             /* by value id: has this constant's death been counted? */
    bool *banned;               /* by node id: failed, or would grow the file */
    bool again;                 /* a node was banned: what it reads may now be a frontier */
    uint32_t n_banned, n_nodes; /* node ids that there were at the start, and at the start of the walk */
    gi_vec(gi_node *) made;     /* nodes that were folded */
    gopt_status status;
} folder;

static bool is_known(const folder *f, const gi_value *v)
{
    return v && (v->kind == GI_DEF_CONST || (v->id < f->n_cells && f->cells[v->id].foldable));
}

/* All contents known, of a type that they can be written as? */
static bool has_contents(gi_value *v)
{
    uint32_t n;
    const gi_dim *const *known = v->kind == GI_DEF_NODE ? gi_value_known(v, &n) : NULL;
    if (!known || gi_value_rank(v) < 0 || gi_value_rank(v) > 1)
        return false;
    const gopt_dtype t = gi_value_dtype(v);
    if (!gi_dtype_is_int(t) && t != GOPT_BOOL)
        return false;
    int64_t dim = 1;
    if (gi_value_rank(v) == 1 && (!gi_type_dim_const(v->type, 0, &dim) || dim != (int64_t)n))
        return false;
    for (uint32_t i = 0; i < n; i++)
        if (!gi_dim_is_const(known[i], NULL))
            return false;
    return true;
}

static bool fits(const gi_value *v)
{
    size_t bytes;
    return !v->type || !gi_type_is_static(v->type) || (gi_type_bytes(v->type, &bytes) && bytes <= MAX_TENSOR);
}

static bool can_evaluate(const folder *f, const gi_node *n)
{
    const gi_op *row = gi_op_get(n->op);
    if (n->op_name && !strcmp(n->op_name, "DequantizeLinear")) /* of weights: they would lose their small type */
        return false;
    if (n->op == OP_Unknown || !row->eval || !(row->traits & GI_PURE) || (row->traits & (GI_RANDOM | GI_CONTROL)))
        return false;
    for (uint32_t i = 0; i < n->n_in; i++)
        if (n->in[i].value && !is_known(f, n->in[i].value))
            return false;
    for (uint32_t i = 0; i < n->n_out; i++)
        if (!fits(n->out[i]) || (n->out[i]->type && n->out[i]->type->kind != GOPT_TENSOR))
            return false;
    return n->n_out > 0;
}

/* An Identity of a constant that is there for an output's name is what folding would make of it. */
static bool is_named_constant(const gi_node *n)
{
    if (n->op != OP_Identity || !gi_value_blob(gi_node_in(n, 0)))
        return false;
    for (const gi_use *u = n->out[0]->uses; u; u = u->next)
        if (u->node)
            return false;
    return true;
}

static bool mark_foldable(void *arg, gi_node *n)
{
    folder *f = arg;
    if (n->id >= f->n_banned || f->banned[n->id])
        return true;
    const bool whole = can_evaluate(f, n) && !is_named_constant(n);
    for (uint32_t i = 0; i < n->n_out; i++) {
        const bool contents =
            !(gi_op_get(n->op)->traits & (GI_RANDOM | GI_CONTROL)) && has_contents(n->out[i]) && !is_named_constant(n);
        f->cells[n->out[i]->id].foldable = whole || contents;
    }
    return true;
}

static bool node_is_foldable(const folder *f, const gi_node *n)
{
    for (uint32_t i = 0; i < n->n_out; i++)
        if (n->out[i]->id >= f->n_cells || !f->cells[n->out[i]->id].foldable)
            return false;
    return n->n_out > 0;
}

/* Does anything outside the region read v? */
static bool leaves(const folder *f, const gi_value *v)
{
    for (const gi_use *u = v->uses; u; u = u->next)
        if (!u->node || !node_is_foldable(f, u->node))
            return true;
    return false;
}

/* ---- evaluating ---- */

static gopt_status of_contents(folder *f, gi_value *v, gopt_tensor **out)
{
    uint32_t n;
    const gi_dim *const *known = gi_value_known(v, &n);
    const int64_t dims[1] = { (int64_t)n };
    gopt_tensor *t;
    GI_TRY(gopt_tensor_create(f->g->cx, v->type->dtype, v->type->rank, dims, &t));
    for (uint32_t i = 0; i < n; i++) {
        int64_t x = 0;
        (void)gi_dim_is_const(known[i], &x);
        gi_store_i64(t->dtype, t->data, i, x);
    }
    *out = t;
    return GOPT_OK;
}

static gopt_status evaluate(folder *f, gi_node *n, gopt_tensor **out)
{
    gi_arena_reset(f->arena);
    gopt_tensor *borrowed = GI_NEW_ARRAY(f->arena, gopt_tensor, n->n_in + 1);
    const gopt_tensor **in = GI_NEW_ARRAY(f->arena, const gopt_tensor *, n->n_in + 1);
    GI_NEED(borrowed && in);
    for (uint32_t i = 0; i < n->n_in; i++) {
        const gi_value *v = n->in[i].value;
        if (!v)
            continue;
        if (v->kind == GI_DEF_CONST)
            gi_tensor_of_blob(v->def.blob, &borrowed[i]);
        in[i] = v->kind == GI_DEF_CONST ? &borrowed[i] : f->cells[v->id].t;
        if (!in[i])
            return GOPT_UNSUPPORTED; /* an input could not be evaluated */
    }
    gi_eval a = {
        .n = n, .cx = f->g->cx, .n_in = n->n_in, .n_out = n->n_out, .in = in, .out = out, .scratch = f->arena
    };
    return gi_eval_node(&a);
}

static void forget_inputs(folder *f, const gi_node *n)
{
    for (uint32_t i = 0; i < n->n_in; i++) {
        const gi_value *v = n->in[i].value;
        if (!v || v->kind == GI_DEF_CONST || v->id >= f->n_cells)
            continue;
        cell *c = &f->cells[v->id];
        if (c->readers && --c->readers == 0) {
            gopt_tensor_unref(c->t);
            c->t = NULL;
        }
    }
}

/* ---- weighing ---- */

/* Bytes of the constants that n and what it reads from the region read, and that nothing outside does; each
 * counted once. */
static int64_t dying_bytes(folder *f, const gi_node *n)
{
    int64_t bytes = 0;
    for (uint32_t i = 0; i < n->n_in; i++) {
        const gi_value *v = n->in[i].value;
        if (!gi_value_blob(v) || v->id >= f->n_cells || f->credited[v->id] || leaves(f, v))
            continue;
        f->credited[v->id] = true;
        bytes += (int64_t)v->def.blob->bytes;
    }
    for (uint32_t i = 0; i < n->n_in; i++) {
        const gi_value *v = n->in[i].value;
        if (!v || v->id >= f->n_cells)
            continue;
        bytes += f->cells[v->id].credit;
        f->cells[v->id].credit = 0;
    }
    return bytes;
}

/* Puts the constant in v's place, which all read from then on: t gives its bytes away. */
static gopt_status replace(folder *f, gi_value *v, gopt_tensor *t)
{
    gi_blob *blob;
    if (!gi_blob_take(t, &blob))
        GI_TRY(gi_blob_of_tensor(f->g->cx, t, &blob));
    GI_NEED(blob);
    gi_node *n = v->def.node;
    const bool output = gi_value_is_result(v);
    gi_value *c = gi_const(f->g, blob, output ? NULL : v->name);
    GI_NEED(c);
    GI_NEED(gi_value_replace(v, c, n));
    return GOPT_OK;
}

static void ban(folder *f, const gi_node *n)
{
    f->again |= !f->banned[n->id];
    f->banned[n->id] = true;
}

static gopt_status weigh_and_replace(folder *f, gi_value *v, gopt_tensor *t, int64_t dying)
{
    gi_pass_ctx *cx = f->cx;
    gi_node *n = v->def.node;
    const int64_t growth = (int64_t)t->bytes - dying;
    if (growth > 0 && growth > cx->growth_left) {
        gi_declined(cx, "constant_fold", n, "the file would grow by %lld bytes, and may by %lld", (long long)growth,
                    (long long)gi_max_i64(cx->growth_left, 0));
        ban(f, n);
        return GOPT_OK;
    }
    if (!gi_pass_may(cx, "constant_fold"))
        return GOPT_OK;
    cx->growth_left -= growth > 0 ? growth : 0;
    if (n->n_out == 1)
        gi_applied(cx, "constant_fold", n, "its result is known");
    else
        gi_applied(cx, "constant_fold", n, "its result %s is known", gi_value_ref(v, cx->scratch));
    GI_NEED(gi_push(cx->scratch, &f->made, n));
    return replace(f, v, t);
}

static gopt_status get_tensors(folder *f, gi_node *n, gopt_tensor **out)
{
    bool contents = true;
    for (uint32_t i = 0; i < n->n_out; i++)
        contents = contents && has_contents(n->out[i]);
    if (!contents)
        return evaluate(f, n, out);
    for (uint32_t i = 0; i < n->n_out; i++)
        GI_TRY(of_contents(f, n->out[i], &out[i]));
    return GOPT_OK;
}

/* A result that is not what the type says would change the graph's meaning: leave the node to whoever runs it. */
static bool is_as_typed(const gi_value *v, const gopt_tensor *t)
{
    if (!t || t->kind != GOPT_TENSOR || t->bytes > MAX_TENSOR)
        return false;
    const gi_type *y = v->type;
    if (!y || y->rank < 0)
        return true;
    if (y->dtype != t->dtype || y->rank != t->rank)
        return false;
    for (int i = 0; i < t->rank; i++) {
        int64_t d;
        if (gi_dim_is_const(y->dims[i], &d) && d != t->dims[i])
            return false;
    }
    return true;
}

/* Weighs and keeps the outputs of one evaluated node. */
static gopt_status take(folder *f, gi_node *n, gopt_tensor **out)
{
    int64_t credit = dying_bytes(f, n);
    for (uint32_t i = 0; i < n->n_out; i++) {
        gi_value *v = n->out[i];
        cell *c = &f->cells[v->id];
        if (leaves(f, v)) {
            const int64_t bytes = (int64_t)out[i]->bytes;
            GI_TRY(weigh_and_replace(f, v, out[i], credit));
            credit = gi_max_i64(credit - bytes, 0);
        }
        c->readers = 0;
        for (const gi_use *u = v->uses; u; u = u->next)
            c->readers += u->node && node_is_foldable(f, u->node);
        if (!c->readers)
            continue;
        c->t = gopt_tensor_ref(out[i]);
        c->credit = credit;
        credit = 0;
    }
    return GOPT_OK;
}

static bool fold_node(void *arg, gi_node *n)
{
    folder *f = arg;
    if (n->id >= f->n_nodes || !node_is_foldable(f, n) || f->cx->rewrites_left <= 0)
        return true;
    gopt_tensor **out = GI_NEW_ARRAY(f->cx->scratch, gopt_tensor *, n->n_out);
    if (!out)
        return false;
    const size_t diags = f->g->cx->n_diags;
    gopt_status status = get_tensors(f, n, out);
    f->g->cx->n_diags = diags;
    for (uint32_t i = 0; i < n->n_out && status == GOPT_OK; i++)
        if (!is_as_typed(n->out[i], out[i]))
            status = GOPT_UNSUPPORTED;
    if (status == GOPT_OK)
        f->status = take(f, n, out);
    else
        ban(f, n);
    for (uint32_t i = 0; i < n->n_out; i++)
        gopt_tensor_unref(out[i]);
    forget_inputs(f, n);
    return f->status == GOPT_OK;
}

/* One walk over the whole graph. */
static gopt_status fold_once(folder *f)
{
    gopt_graph *g = f->g;
    f->n_cells = g->n_values;
    f->n_nodes = g->next_node;
    f->cells = GI_NEW_ARRAY(f->cx->scratch, cell, f->n_cells + 1);
    f->credited = GI_NEW_ARRAY(f->cx->scratch, bool, f->n_cells + 1);
    GI_NEED(f->cells && f->credited);
    f->again = false;
    f->made.n = 0;
    gi_each_node(g->main, mark_foldable, f);
    if (!gi_each_node(g->main, fold_node, f) && f->status == GOPT_OK)
        f->status = GOPT_NO_MEMORY;
    for (uint32_t i = 0; i < f->n_cells; i++)
        gopt_tensor_unref(f->cells[i].t);
    GI_TRY(f->status);
    for (size_t i = 0; i < f->made.n; i++)
        gi_remove_dead(f->made.p[i], f->cx->scratch);
    return GOPT_OK;
}

/* The purse of the whole model, set when the pass first runs on it. */
static void set_growth(gi_pass_ctx *cx)
{
    if (cx->folds_growth_known)
        return;
    const uint64_t parameters = gopt_report_get(cx->report)->parameter_bytes_before;
    cx->growth_left = (int64_t)(parameters / 50 > 1 << 20 ? parameters / 50 : 1 << 20);
    cx->folds_growth_known = true;
}

gopt_status gi_pass_constant_fold(gopt_graph *g, gi_pass_ctx *cx)
{
    enum { ROUNDS = 8 };
    set_growth(cx);
    folder f = { .g = g, .cx = cx, .status = GOPT_OK, .arena = gi_arena_create(g->cx) };
    GI_NEED(f.arena);
    f.n_banned = g->next_node; /* nodes that a walk makes, Identities of outputs, are never banned */
    f.banned = GI_NEW_ARRAY(cx->scratch, bool, g->next_node + 1);
    gopt_status status = f.banned ? GOPT_OK : GOPT_NO_MEMORY;
    f.again = true;
    for (int round = 0; status == GOPT_OK && f.again && round < ROUNDS; round++) {
        status = fold_once(&f);
    }
    gi_arena_destroy(f.arena);
    return status;
}
