/* Gradient(xs, zs; y): the derivatives of y's sum with respect to each of xs, by reverse accumulation.
 *
 *     c = Add(a, b)                                c  = Add(a, b)
 *     d = Mul(c, a)                           ⇒    d  = Mul(c, a)
 *     da, db = Gradient(a, b)                      db = Mul(1, a)
 *              { xs = [a, b], y = d }              da = Add(Mul(1, c), db)
 *
 * The names in xs, zs and y say which part of the graph is meant; the node's inputs say at which values. Where they
 * are other values than those named, the nodes that depend on them are copied first. Every name in xs and zs is a
 * variable of its own: nothing before it counts. New nodes lie behind y's, in the block of the Gradient.
 *
 * Expanding on import, not by evaluation: rewriting knows nothing of names, and what it does to the nodes between
 * it does to their gradients too. Gradients of gradients come by themselves. */
#include "onnx/gradient.h"

enum { MAX_NODES = 1 << 20 }; /* between xs and y */

/* ---- making nodes ---- */

static void failed(gi_gradient *d, gopt_status st)
{
    d->st = d->st == GOPT_OK ? st : d->st;
}

gi_node *gi_grad_begin(gi_gradient *d, gi_opcode op, uint32_t n_in, gi_value *const *in, uint32_t n_out)
{
    for (uint32_t i = 0; i < n_in; i++)
        if (!in[i])
            failed(d, GOPT_NO_MEMORY);
    gi_node *n = d->st == GOPT_OK ? gi_node_create(d->block, NULL, op, n_in, in, n_out) : NULL;
    if (!n || !gi_raw_describe(d->im, d->r, n)) {
        failed(d, GOPT_NO_MEMORY);
        return NULL;
    }
    return n;
}

gi_value *gi_grad_done(gi_gradient *d, gi_node *n)
{
    if (!n || d->st != GOPT_OK)
        return NULL;
    failed(d, gi_infer_node(n, d->im->scratch));
    gi_arena_reset(d->im->scratch);
    return d->st == GOPT_OK ? n->out[0] : NULL;
}

int gi_grad_rank(const gi_value *v)
{
    return v && v->type && v->type->kind == GOPT_TENSOR ? v->type->rank : -1;
}

gopt_dtype gi_grad_dtype(const gi_value *v)
{
    return v && v->type && v->type->kind == GOPT_TENSOR ? v->type->dtype : GOPT_UNDEFINED;
}

gi_value *gi_grad_scalar(gi_gradient *d, const gi_value *like, double v)
{
    gi_blob *b;
    const gopt_dtype t = gi_grad_dtype(like);
    if (!like || d->st != GOPT_OK)
        return NULL;
    if (!t) {
        gi_grad_refuse(d, "the type of its elements is not known");
        return NULL;
    }
    const gopt_status st = gi_blob_create(d->im->cx, t, 0, NULL, &b);
    if (st != GOPT_OK) {
        failed(d, st);
        return NULL;
    }
    gi_store_f64(t, b->owned, 0, v);
    return gi_const(d->im->g, b, NULL);
}

gi_value *gi_grad_ints(gi_gradient *d, uint32_t n, const int64_t *v)
{
    return gi_const_i64(d->im->g, 1, n, v);
}

gi_value *gi_grad_shape(gi_gradient *d, gi_value *x)
{
    int64_t dims[GOPT_MAX_RANK];
    if (x && x->type && gi_type_static_dims(x->type, dims))
        return gi_grad_ints(d, (uint32_t)x->type->rank, dims);
    return gi_grad_node(d, OP_Shape, x);
}

gi_value *gi_grad_filled(gi_gradient *d, gi_value *like, double v)
{
    gi_value *one = gi_grad_scalar(d, like, v);
    return gi_grad_rank(like) == 0 ? one : gi_grad_node(d, OP_Expand, one, gi_grad_shape(d, like));
}

gi_value *gi_grad_sum(gi_gradient *d, gi_value *x, uint32_t n, const int64_t *axes, bool keep)
{
    gi_node *s = n ? gi_grad_begin(d, OP_ReduceSum, 2, (gi_value *[]){ x, gi_grad_ints(d, n, axes) }, 1) : NULL;
    if (s)
        gi_attr_set_int(s, ReduceSum_at_keepdims, keep);
    return n ? gi_grad_done(d, s) : x;
}

gi_value *gi_grad_transpose(gi_gradient *d, gi_value *x, int rank, const int64_t *perm)
{
    gi_node *t = gi_grad_begin(d, OP_Transpose, 1, &x, 1);
    if (t && !gi_attr_set_ints(t, Transpose_at_perm, (uint32_t)rank, perm))
        failed(d, GOPT_NO_MEMORY);
    return gi_grad_done(d, t);
}

void(gi_grad_refuse)(gi_gradient *d, const char *fmt, ...)
{
    va_list args;
    if (d->st != GOPT_OK)
        return;
    va_start(args, fmt);
    const char *why = gi_arena_vprintf(d->im->a, fmt, args);
    va_end(args);
    char label[16];
    d->st = gi_fail(d->im->cx, GOPT_UNSUPPORTED, &d->r->at, "let the training framework write the backward graph",
                    "no gradient through %s '%s': %s", d->n->op_name, gi_value_label(d->n->out[0], label, sizeof label),
                    why ? why : "");
}

/* Dims of x that are 1 where those of g are not, and dims that x lacks. */
gi_value *gi_grad_sum_to(gi_gradient *d, gi_value *g, gi_value *x)
{
    const int rg = gi_grad_rank(g), rx = gi_grad_rank(x);
    int64_t lacking[GOPT_MAX_RANK], ones[GOPT_MAX_RANK];
    uint32_t n_lacking = 0, n_ones = 0;
    if (!g || !x || g->type == x->type)
        return g;
    if (rg < 0 || rx < 0 || rx > rg) {
        gi_grad_refuse(d, "the ranks of its inputs are not known");
        return NULL;
    }
    for (int i = 0; i < rg; i++) {
        const gi_dim *a = g->type->dims[i], *b = i < rg - rx ? NULL : x->type->dims[i - (rg - rx)];
        if (!b)
            lacking[n_lacking++] = i;
        else if (gi_dim_is(b, 1) && !gi_dim_is(a, 1))
            ones[n_ones++] = i - (rg - rx);
        else if (a != b && !gi_dim_is_const(b, NULL)) {
            gi_grad_refuse(d, "whether dimension %d of an input is broadcast is not known", i - (rg - rx));
            return NULL;
        }
    }
    return gi_grad_sum(d, gi_grad_sum(d, g, n_lacking, lacking, false), n_ones, ones, true);
}

/* ---- what the rules ask ---- */

gi_value *gi_grad_in(const gi_gradient *d, uint32_t i)
{
    return gi_node_in(d->n, i);
}

gi_value *gi_grad_out(const gi_gradient *d)
{
    return d->n->out[0];
}

bool gi_grad_wants(const gi_gradient *d, uint32_t i)
{
    const gi_value *v = gi_node_in(d->n, i);
    return v && gi_map_get(&d->active, v->id);
}

gi_value *gi_grad_of(gi_gradient *d, uint32_t out)
{
    gi_value *v = gi_map_get(&d->grads, d->n->out[out]->id);
    return v ? v : gi_grad_filled(d, d->n->out[out], 0);
}

void gi_grad_give(gi_gradient *d, uint32_t i, gi_value *v)
{
    gi_value *x = gi_node_in(d->n, i);
    if (!gi_grad_wants(d, i))
        return;
    v = gi_grad_sum_to(d, v, x);
    if (!v || d->st != GOPT_OK) {
        failed(d, GOPT_NO_MEMORY);
        return;
    }
    gi_value *before = gi_map_get(&d->grads, x->id);
    v = before ? gi_grad_node(d, OP_Add, before, v) : v;
    if (!v || !gi_map_put(&d->grads, x->id, v))
        failed(d, GOPT_NO_MEMORY);
}

/* ---- the part of the graph ---- */

typedef gi_vec(gi_node *) nodes;

/* Nodes that y depends on, variables aside, each behind those that it reads. */
static gopt_status collect(gi_gradient *d, gi_value *y, const gi_map *variables, nodes *order)
{
    typedef struct visit {
        gi_node *n;
        uint32_t next; /* input to look at */
    } visit;
    gi_import *im = d->im;
    gi_vec(visit) stack = { 0 };
    gi_map seen;
    gi_map_init(&seen, im->a);
    gi_node *n = gi_map_get(variables, y->id) ? NULL : gi_value_node(y);
    if (n)
        GI_NEED(gi_push(im->a, &stack, (visit){ n, 0 }) && gi_map_put(&seen, n->id, n));
    while (stack.n) {
        visit *v = &stack.p[stack.n - 1];
        if (v->next == v->n->n_in) {
            GI_NEED(gi_push(im->a, order, v->n));
            stack.n--;
            continue;
        }
        const gi_value *in = gi_node_in(v->n, v->next++);
        n = in && !gi_map_get(variables, in->id) ? gi_value_node(in) : NULL;
        if (n && !gi_map_get(&seen, n->id))
            GI_NEED(gi_push(im->a, &stack, (visit){ n, 0 }) && gi_map_put(&seen, n->id, n));
        if (order->n > MAX_NODES)
            return gi_fail(im->cx, GOPT_UNSUPPORTED, &d->r->at, NULL, "over %d nodes lie before y", MAX_NODES);
    }
    return GOPT_OK;
}

static bool reads_any(const gi_node *n, const gi_map *values)
{
    for (uint32_t i = 0; i < n->n_in; i++)
        if (gi_node_in(n, i) && gi_map_get(values, gi_node_in(n, i)->id))
            return true;
    return false;
}

static bool is_real(const gi_value *v)
{
    const gopt_dtype t = gi_grad_dtype(v);
    return !t || gi_dtype_class(t) == GI_FLOAT;
}

/* Marks what depends on xs: numbers that are not real carry no gradient. */
static gopt_status mark_active(gi_gradient *d, const nodes *order)
{
    for (size_t i = 0; i < order->n; i++) {
        const gi_node *n = order->p[i];
        if (!reads_any(n, &d->active))
            continue;
        for (uint32_t k = 0; k < n->n_out; k++)
            if (is_real(n->out[k]))
                GI_NEED(gi_map_put(&d->active, n->out[k]->id, d));
    }
    return GOPT_OK;
}

/* Copies the nodes that depend on a variable for which another value is given. */
static gopt_status substitute(gi_gradient *d, nodes *order, gi_value **y)
{
    gi_import *im = d->im;
    for (size_t i = 0; i < order->n; i++) {
        gi_node *n = order->p[i];
        if (!reads_any(n, &d->given))
            continue;
        if (n->op == OP_Unknown || (gi_op_get(n->op)->traits & GI_CONTROL)) {
            d->n = n;
            gi_grad_refuse(d, "it cannot be computed at other values");
            return d->st;
        }
        gi_value **in = GI_NEW_ARRAY(im->a, gi_value *, n->n_in + 1);
        GI_NEED(in);
        for (uint32_t k = 0; k < n->n_in; k++) {
            in[k] = gi_node_in(n, k);
            gi_value *other = in[k] ? gi_map_get(&d->given, in[k]->id) : NULL;
            in[k] = other ? other : in[k];
        }
        gi_node *c = gi_node_create(d->block, NULL, n->op, n->n_in, in, n->n_out);
        GI_NEED(c && gi_raw_describe(im, d->r, c) && gi_attrs_copy(c, n));
        GI_TRY(gi_infer_node(c, im->scratch));
        gi_arena_reset(im->scratch);
        for (uint32_t k = 0; k < n->n_out; k++)
            GI_NEED(gi_map_put(&d->given, n->out[k]->id, c->out[k]));
        order->p[i] = c;
    }
    gi_value *other = gi_map_get(&d->given, (*y)->id);
    *y = other ? other : *y;
    return GOPT_OK;
}

static gopt_status differentiate(gi_gradient *d, gi_node *n)
{
    bool wanted = false;
    for (uint32_t k = 0; k < n->n_out; k++)
        wanted |= gi_map_get(&d->grads, n->out[k]->id) != NULL;
    if (!wanted || !reads_any(n, &d->active))
        return GOPT_OK;
    const gi_gradient_fn rule = gi_gradient_rule(n->op);
    d->n = n;
    d->dy = gi_map_get(&d->grads, n->out[0]->id);
    if (!rule)
        gi_grad_refuse(d, "there is no rule for that operator");
    else if (d->dy || n->op == OP_Split)
        rule(d);
    else
        gi_grad_refuse(d, "y depends on an output of it that is not the first");
    return d->st;
}

/* ---- the node ---- */

static gopt_status find(gi_gradient *d, const gi_scope *s, const char *attr, const char *name, gi_value **v)
{
    bool found;
    *v = gi_scope_find(s, name, &found);
    if (!*v)
        return gi_fail(d->im->cx, GOPT_BAD_INPUT, &d->r->at, NULL,
                       "attribute %s names '%s', which no node, input or initializer defines", attr, name);
    if (!is_real(*v) || !gi_grad_dtype(*v))
        return gi_fail(d->im->cx, GOPT_BAD_INPUT, &d->r->at, NULL,
                       "attribute %s names '%s', whose elements are not known to be real numbers", attr, name);
    return GOPT_OK;
}

/* The values that a list of names stands for: variables, of which those in xs are active. Inputs of the node from
 * `first` on are their values. */
static gopt_status read_variables(gi_gradient *d, const gi_scope *s, const char *attr, size_t first, gi_map *variables,
                                  gi_values *list)
{
    const gi_raw_attr *a = gi_raw_attr_find(d->r, attr);
    const bool is_xs = !strcmp(attr, "xs");
    if (a && a->a.kind != GI_ATTR_STRINGS && a->a.n)
        return gi_fail(d->im->cx, GOPT_BAD_INPUT, &d->r->at, NULL, "attribute %s is expected to be a list of names",
                       attr);
    for (uint32_t i = 0; a && i < a->a.n; i++) {
        gi_value *v;
        if (is_xs)
            GI_TRY(find(d, s, attr, a->a.u.strings[i], &v));
        else if (!(v = gi_scope_find(s, a->a.u.strings[i], &(bool){ false })))
            return gi_fail(d->im->cx, GOPT_BAD_INPUT, &d->r->at, NULL, "attribute zs names '%s', which is not defined",
                           a->a.u.strings[i]);
        gi_value *given = first + i < d->r->in.n ? d->r->in.p[first + i] : NULL;
        GI_NEED(gi_map_put(variables, v->id, v));
        if (given && given != v)
            GI_NEED(gi_map_put(&d->given, v->id, given) && gi_map_put(variables, given->id, given));
        GI_NEED(gi_push(d->im->a, list, given ? given : v));
        if (is_xs)
            GI_NEED(gi_map_put(&d->active, given ? given->id : v->id, d));
    }
    return GOPT_OK;
}

static gopt_status read_y(gi_gradient *d, const gi_scope *s, gi_value **y)
{
    const gi_raw_attr *a = gi_raw_attr_find(d->r, "y");
    if (!a || a->a.kind != GI_ATTR_STRING)
        return gi_fail(d->im->cx, GOPT_BAD_INPUT, &d->r->at, NULL, "attribute y is expected to be a name");
    return find(d, s, "y", a->a.u.s, y);
}

static gopt_status run(gi_gradient *d, const gi_scope *s, gi_values *xs)
{
    gi_map variables;
    gi_values zs = { 0 };
    gi_value *y;
    nodes order = { 0 };
    gi_map_init(&variables, d->im->a);
    GI_TRY(read_variables(d, s, "xs", 0, &variables, xs));
    GI_TRY(read_variables(d, s, "zs", xs->n, &variables, &zs));
    GI_TRY(read_y(d, s, &y));
    if (!xs->n || d->r->n_out > xs->n || d->r->in.n > xs->n + zs.n)
        return gi_fail(d->im->cx, GOPT_BAD_INPUT, &d->r->at, NULL,
                       "it has %zu inputs and %u outputs, xs has %zu names and zs %zu", d->r->in.n, d->r->n_out, xs->n,
                       zs.n);
    GI_TRY(collect(d, y, &variables, &order));
    GI_TRY(substitute(d, &order, &y));
    GI_TRY(mark_active(d, &order));
    gi_value *seed = gi_grad_filled(d, y, 1);
    GI_TRY(d->st);
    GI_NEED(seed && gi_map_put(&d->grads, y->id, seed));
    for (size_t i = order.n; i-- > 0;)
        GI_TRY(differentiate(d, order.p[i]));
    return GOPT_OK;
}

gopt_status gi_import_gradient(gi_import *im, const gi_scope *s, gi_raw *r, gi_value ***out)
{
    gi_gradient d = { .im = im, .r = r, .block = r->block };
    gi_values xs = { 0 };
    gi_map_init(&d.active, im->a);
    gi_map_init(&d.grads, im->a);
    gi_map_init(&d.given, im->a);
    GI_TRY(run(&d, s, &xs));
    *out = GI_NEW_ARRAY(im->a, gi_value *, r->n_out + 1u);
    GI_NEED(*out);
    for (uint32_t i = 0; i < r->n_out; i++) {
        if (!*r->out[i])
            continue;
        gi_value *v = gi_map_get(&d.grads, xs.p[i]->id);
        (*out)[i] = v ? v : gi_grad_filled(&d, xs.p[i], 0);
        GI_TRY(d.st);
        GI_NEED((*out)[i]);
    }
    return GOPT_OK;
}
