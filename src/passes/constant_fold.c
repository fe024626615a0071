/* Constant folding: evaluates what is known, by the operators' reference evaluations.
 *
 *     %t = Transpose dense<f32[768,768], #w>        %y = MatMul %x, dense<f32[768,768], #w'>
 *     %y = MatMul %x, %t                       ⇒
 *
 * Two sources: nodes whose inputs are all constants, and values whose contents shape inference knows to the
 * last element (Shape of a fixed input, and all that is computed from it).
 *
 * Not node by node: a Tile of a scalar that feeds a Mul that feeds a ReduceSum would blow the file up in the
 * middle and shrink it at the end, and the reverse. So a whole region of such nodes is looked at, and only the
 * values that leave it, the frontier, are weighed: bytes made less bytes of the constants that die by it. What
 * is made beyond that comes out of one purse for the whole model, the larger of 1 MiB and 2% of its parameters.
 *
 * Planned before anything is evaluated, from types alone: what would be evaluated only to be thrown away is not
 * evaluated. The plan walks the region three times, forwards for what dies by each node, backwards to drop what
 * cannot be afforded (what it reads becomes the frontier then, and may not be affordable either: a chain of
 * thousands is dropped in one walk), forwards to pay; and again while something was dropped.
 *
 * Values inside the region are freed as soon as their last reader has run, no tensor may pass a ceiling, and all
 * evaluations together may do so much work and no more, so memory and time are bounded. A node that fails to
 * evaluate is left alone with what depends on it, and its complaint is not the user's.
 *
 * An output by name stays an output of a node: it becomes an Identity of the constant. */
#include "ops/cost.h"
#include "ops/plugin.h"
#include "passes/util.h"

enum { MAX_TENSOR = 1 << 28 }; /* bytes that one value of a region may have where the model's own are not more */
enum { MAX_ROUNDS = 8 };       /* plans, and walks of evaluation */

/* One value in the plan. */
typedef struct cell {
    gopt_tensor *t; /* evaluated, until its last reader in the region has run */
    int64_t credit; /* bytes of constants that die where this is folded, and that no frontier has used yet */
    int64_t most;   /* the credit that its node had in all */
    int64_t paid;   /* taken from the purse */
    uint32_t readers;
    bool foldable;
    bool leaves;   /* something outside the region reads it */
    bool accepted; /* and it may be written */
    bool credited; /* of a constant: its death has been counted */
} cell;

typedef struct folder {
    gopt_graph *g;
    gi_pass_ctx *cx;
    cell *cells; /* by value id */
    uint32_t n_cells;
    gi_arena *arena;          /* of one evaluation */
    bool *banned;             /* by node id: failed, or would grow the file */
    bool again;               /* a node was banned: what it reads may now be a frontier */
    uint32_t n_banned;        /* node ids that there were at the start: what folding makes is never folded */
    gi_vec(gi_node *) region; /* foldable nodes, in order */
    gi_vec(gi_node *) made;   /* nodes that were folded */
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

/* All of its outputs are small integers that inference knows: its inputs are not asked. */
static bool is_told(const gi_node *n)
{
    for (uint32_t i = 0; i < n->n_out; i++)
        if (!has_contents(n->out[i]))
            return false;
    return n->n_out > 0;
}

static bool fits(const folder *f, const gi_value *v)
{
    size_t bytes;
    return !v->type || !gi_type_is_static(v->type) ||
           (gi_type_bytes(v->type, &bytes) && bytes <= (size_t)f->cx->largest_fold);
}

/* Evaluators may copy an input into a wider type, those that move elements do not. */
static bool may_read(const gi_value *v, unsigned traits)
{
    const gi_blob *b = gi_value_blob(v);
    return !b || b->bytes <= MAX_TENSOR || (traits & (GI_MOVEMENT | GI_VIEW));
}

static bool can_evaluate(const folder *f, const gi_node *n)
{
    const unsigned traits = gi_node_traits(n);
    if (n->op_name && !strcmp(n->op_name, "DequantizeLinear")) /* of weights: they would lose their small type */
        return false;
    if (!gi_node_evaluates(n) || !(traits & GI_PURE) || (traits & (GI_RANDOM | GI_CONTROL)))
        return false;
    for (uint32_t i = 0; i < n->n_in; i++)
        if (n->in[i].value && (!is_known(f, n->in[i].value) || !may_read(n->in[i].value, traits)))
            return false;
    for (uint32_t i = 0; i < n->n_out; i++)
        if (!fits(f, n->out[i]) || (n->out[i]->type && n->out[i]->type->kind != GOPT_TENSOR))
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
    const bool named = is_named_constant(n), whole = !named && can_evaluate(f, n);
    const bool told = !named && !whole && !(gi_op_get(n->op)->traits & (GI_RANDOM | GI_CONTROL)) && is_told(n);
    if (!whole && !told)
        return true;
    for (uint32_t i = 0; i < n->n_out; i++)
        f->cells[n->out[i]->id].foldable = true;
    return gi_push(f->cx->scratch, &f->region, n);
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

/* ---- the plan ---- */

static cell *cell_of(const folder *f, const gi_value *v)
{
    return v && v->kind == GI_DEF_NODE && v->id < f->n_cells ? &f->cells[v->id] : NULL;
}

/* Bytes that v will have; -1 where its type does not say. */
static int64_t bytes_of(const gi_value *v)
{
    size_t bytes;
    return v->type && gi_type_is_static(v->type) && gi_type_bytes(v->type, &bytes) ? (int64_t)bytes : -1;
}

/* Bytes of the constants that die by n, with what its region inputs bring; each counted once. */
static int64_t take_credit(folder *f, const gi_node *n)
{
    int64_t bytes = 0;
    for (uint32_t i = 0; i < n->n_in; i++) {
        const gi_value *v = n->in[i].value;
        cell *c = cell_of(f, v);
        if (c) {
            bytes += c->credit;
            c->credit = 0;
        } else if (gi_value_blob(v) && v->id < f->n_cells && !f->cells[v->id].credited) {
            f->cells[v->id].credited = true;
            bytes += leaves(f, v) ? 0 : (int64_t)v->def.blob->bytes;
        }
    }
    return bytes;
}

/* What is left of a node's credit goes on with an output that something reads. */
static void pass_credit_on(folder *f, const gi_node *n, int64_t credit)
{
    uint32_t k = 0;
    while (k + 1 < n->n_out && !n->out[k]->n_uses)
        k++;
    f->cells[n->out[k]->id].credit = credit;
}

/* What each node's frontier may cost at most, if all of the region were folded. */
static void plan_credit(folder *f)
{
    for (size_t i = 0; i < f->region.n; i++) {
        const gi_node *n = f->region.p[i];
        int64_t credit = take_credit(f, n);
        for (uint32_t k = 0; k < n->n_out; k++) {
            cell *c = &f->cells[n->out[k]->id];
            c->most = credit;
            c->leaves = leaves(f, n->out[k]);
            if (c->leaves)
                credit = gi_max_i64(credit - bytes_of(n->out[k]), 0);
        }
        pass_credit_on(f, n, credit);
    }
}

static void ban(folder *f, const gi_node *n)
{
    f->again |= !f->banned[n->id];
    f->banned[n->id] = true;
    for (uint32_t i = 0; i < n->n_out; i++)
        f->cells[n->out[i]->id].foldable = false;
}

static void too_big(folder *f, const gi_node *n, int64_t growth)
{
    gi_declined(f->cx, "constant_fold", n, "the file would grow by %lld bytes, and may by %lld", (long long)growth,
                (long long)gi_max_i64(f->cx->growth_left, 0));
    ban(f, n);
}

/* Drops what can never be afforded, from the back. */
static void plan_drops(folder *f)
{
    for (size_t i = f->region.n; i-- > 0;) {
        gi_node *n = f->region.p[i];
        for (uint32_t k = 0; k < n->n_out && !f->banned[n->id]; k++) {
            cell *c = &f->cells[n->out[k]->id];
            const bool was = c->leaves;
            c->leaves = leaves(f, n->out[k]);
            const int64_t bytes = bytes_of(n->out[k]), growth = bytes - c->most;
            if (!c->leaves || bytes < 0 || growth <= 0 || growth <= f->cx->growth_left)
                continue;
            if (was)
                too_big(f, n, growth);
            else
                ban(f, n); /* told where it would have been written */
        }
    }
}

/* Pays for what is left, in order. */
static void plan_payment(folder *f)
{
    int64_t left = f->cx->growth_left;
    for (uint32_t i = 0; i < f->n_cells; i++)
        f->cells[i].credit = f->cells[i].credited = 0;
    for (size_t i = 0; i < f->region.n; i++) {
        gi_node *n = f->region.p[i];
        if (!node_is_foldable(f, n))
            continue;
        int64_t credit = take_credit(f, n);
        for (uint32_t k = 0; k < n->n_out; k++) {
            cell *c = &f->cells[n->out[k]->id];
            if (!c->leaves)
                continue;
            const int64_t bytes = gi_max_i64(bytes_of(n->out[k]), 0), growth = gi_max_i64(bytes - credit, 0);
            if (growth > left) {
                too_big(f, n, growth);
                break;
            }
            c->accepted = true;
            c->paid = growth;
            c->most = credit;
            left -= growth;
            credit = gi_max_i64(credit - bytes, 0);
        }
        pass_credit_on(f, n, credit);
    }
}

/* From the back: a node is evaluated for what is accepted of it, or for a reader that is. */
static void plan_needs(folder *f)
{
    size_t kept = f->region.n;
    for (size_t i = f->region.n; i-- > 0;) {
        gi_node *n = f->region.p[i];
        bool needed = false;
        for (uint32_t k = 0; k < n->n_out; k++) {
            const cell *c = &f->cells[n->out[k]->id];
            needed = needed || (c->foldable && (c->accepted || c->readers));
        }
        if (!needed)
            continue;
        f->region.p[--kept] = n;
        for (uint32_t k = 0; k < n->n_in && !is_told(n); k++) {
            cell *c = cell_of(f, n->in[k].value);
            if (c)
                c->readers++;
        }
    }
    f->region.n -= kept;
    if (kept)
        memmove(f->region.p, f->region.p + kept, f->region.n * sizeof *f->region.p);
}

static gopt_status plan(folder *f)
{
    for (int round = 0; round < MAX_ROUNDS; round++) {
        memset(f->cells, 0, f->n_cells * sizeof *f->cells);
        f->region.n = 0;
        f->again = false;
        GI_NEED(gi_each_node(f->g->main, mark_foldable, f));
        plan_credit(f);
        plan_drops(f);
        plan_payment(f);
        if (!f->again)
            break;
    }
    plan_needs(f);
    return GOPT_OK;
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

/* Bytes that evaluating n makes, and what it computes for them, in bytes. */
static int64_t work_of(const gi_node *n)
{
    int64_t work = 0, flops;
    for (uint32_t i = 0; i < n->n_out; i++)
        if (!gi_add_i64(work, gi_max_i64(bytes_of(n->out[i]), 0), &work))
            return INT64_MAX;
    const gi_dim *d = gi_node_flops(n);
    if (d && gi_dim_is_const(d, &flops) && !gi_add_i64(work, flops / 2, &work))
        return INT64_MAX;
    return work;
}

static bool may_work(folder *f, gi_node *n)
{
    const int64_t work = work_of(n);
    if (work > f->cx->work_left) {
        gi_declined(f->cx, "constant_fold", n,
                    "evaluating it is as much work as making %lld bytes, and %lld are left for this model",
                    (long long)work, (long long)f->cx->work_left);
        return false;
    }
    f->cx->work_left -= work;
    return true;
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
    if (!may_work(f, n))
        return GOPT_UNSUPPORTED;
    gi_eval a = {
        .n = n, .cx = f->g->cx, .n_in = n->n_in, .n_out = n->n_out, .in = in, .out = out, .scratch = f->arena
    };
    return gi_eval_node(&a);
}

static void forget_inputs(folder *f, const gi_node *n)
{
    for (uint32_t i = 0; i < n->n_in && !is_told(n); i++) {
        cell *c = cell_of(f, n->in[i].value);
        if (c && c->readers && --c->readers == 0) {
            gopt_tensor_unref(c->t);
            c->t = NULL;
        }
    }
}

static gopt_status get_tensors(folder *f, gi_node *n, gopt_tensor **out)
{
    if (!is_told(n))
        return evaluate(f, n, out);
    for (uint32_t i = 0; i < n->n_out; i++)
        GI_TRY(of_contents(f, n->out[i], &out[i]));
    return GOPT_OK;
}

/* A result that is not what the type says would change the graph's meaning: leave the node to whoever runs it. */
static bool is_as_typed(const folder *f, const gi_value *v, const gopt_tensor *t)
{
    if (!t || t->kind != GOPT_TENSOR || t->bytes > (size_t)f->cx->largest_fold)
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

/* Puts the constant in v's place, which all read from then on: t gives its bytes away where nobody else holds it. */
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

/* Writes an accepted value. Its size is known at last where its type did not say it. */
static gopt_status write(folder *f, gi_value *v, gopt_tensor *t)
{
    gi_pass_ctx *cx = f->cx;
    gi_node *n = v->def.node;
    const cell *c = &f->cells[v->id];
    const int64_t growth = bytes_of(v) < 0 ? gi_max_i64((int64_t)t->bytes - c->most, 0) : c->paid;
    if (growth > cx->growth_left) {
        too_big(f, n, growth);
        return GOPT_OK;
    }
    if (!gi_pass_may(cx, "constant_fold"))
        return GOPT_OK;
    cx->growth_left -= growth;
    if (n->n_out == 1)
        gi_applied(cx, "constant_fold", n, "its result is known");
    else
        gi_applied(cx, "constant_fold", n, "its result %s is known", gi_value_ref(v, cx->scratch));
    GI_NEED(gi_push(cx->scratch, &f->made, n));
    return replace(f, v, t);
}

static gopt_status keep(folder *f, gi_node *n, gopt_tensor **out)
{
    for (uint32_t i = 0; i < n->n_out; i++) {
        cell *c = &f->cells[n->out[i]->id];
        if (c->readers)
            c->t = gopt_tensor_ref(out[i]);
        if (c->accepted)
            GI_TRY(write(f, n->out[i], out[i]));
    }
    return GOPT_OK;
}

static gopt_status fold_node(folder *f, gi_node *n)
{
    gopt_tensor **out = GI_NEW_ARRAY(f->cx->scratch, gopt_tensor *, n->n_out);
    GI_NEED(out);
    const size_t diags = f->g->cx->n_diags;
    gopt_status status = get_tensors(f, n, out);
    f->g->cx->n_diags = diags;
    for (uint32_t i = 0; i < n->n_out && status == GOPT_OK; i++)
        if (!is_as_typed(f, n->out[i], out[i]))
            status = GOPT_UNSUPPORTED;
    forget_inputs(f, n);
    if (status == GOPT_OK) {
        status = keep(f, n, out);
    } else {
        ban(f, n);
        status = GOPT_OK;
    }
    for (uint32_t i = 0; i < n->n_out; i++)
        gopt_tensor_unref(out[i]);
    return status;
}

/* One plan and its evaluation. */
static gopt_status fold_once(folder *f)
{
    gopt_status status = GOPT_OK;
    f->n_cells = f->g->n_values;
    f->cells = GI_NEW_ARRAY(f->cx->scratch, cell, f->n_cells + 1);
    GI_NEED(f->cells);
    f->made.n = 0;
    GI_TRY(plan(f));
    f->again = false;
    for (size_t i = 0; i < f->region.n && status == GOPT_OK && f->cx->rewrites_left > 0; i++)
        status = fold_node(f, f->region.p[i]);
    for (uint32_t i = 0; i < f->n_cells; i++)
        gopt_tensor_unref(f->cells[i].t);
    for (size_t i = 0; i < f->made.n && status == GOPT_OK; i++)
        gi_remove_dead(f->made.p[i], f->cx->scratch);
    return status;
}

void gi_pass_set_growth(gi_pass_ctx *cx)
{
    if (cx->folds_limited)
        return;
    const int64_t parameters = (int64_t)(gopt_report_get(cx->report)->parameter_bytes_before / 2); /* fits */
    cx->largest_fold = gi_max_i64(parameters, MAX_TENSOR / 2) * 2;
    cx->growth_left = gi_max_i64(parameters / 25, 1 << 20);
    cx->work_left = gi_min_i64(parameters, INT64_MAX / 32) * 16 + (1 << 28);
    cx->folds_limited = true;
}

gopt_status gi_pass_constant_fold(gopt_graph *g, gi_pass_ctx *cx)
{
    gi_pass_set_growth(cx);
    folder f = { .g = g, .cx = cx, .arena = gi_arena_create(g->cx) };
    GI_NEED(f.arena);
    f.n_banned = g->next_node; /* nodes that a walk makes, Identities of outputs, are never banned */
    f.banned = GI_NEW_ARRAY(cx->scratch, bool, g->next_node + 1);
    gopt_status status = f.banned ? GOPT_OK : GOPT_NO_MEMORY;
    f.again = true;
    for (int round = 0; status == GOPT_OK && f.again && round < MAX_ROUNDS; round++)
        status = fold_once(&f);
    gi_arena_destroy(f.arena);
    return status;
}
