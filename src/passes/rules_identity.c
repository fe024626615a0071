/* Rules of nodes that change nothing, to the bit. */
#include "passes/layout.h"

static gi_value *make_x(gi_rewrite *r, const gi_match *m)
{
    (void)r;
    return m->x;
}

static bool type_is_the_same(const gi_match *m, gi_reason *why)
{
    (void)why;
    return gi_type_same(m->g, m->x->type, m->root->out[0]->type);
}

/* ---- transposes ---- */

static bool in_order(const int64_t *perm, int rank)
{
    for (int i = 0; i < rank; i++)
        if (perm[i] != i)
            return false;
    return true;
}

static bool perm_is_in_order(const gi_match *m, gi_reason *why)
{
    int64_t perm[GOPT_MAX_RANK];
    int rank;
    (void)why;
    return gi_transpose_perm(m->root, perm, &rank) && in_order(perm, rank);
}

static bool compose(const gi_match *m, int64_t *perm, int *rank)
{
    int64_t inner[GOPT_MAX_RANK], outer[GOPT_MAX_RANK];
    int other;
    if (!gi_transpose_perm(m->nodes[0], outer, rank) || !gi_transpose_perm(m->nodes[1], inner, &other) ||
        *rank != other)
        return false;
    for (int i = 0; i < *rank; i++)
        perm[i] = inner[outer[i]];
    return true;
}

static bool perms_are_known(const gi_match *m, gi_reason *why)
{
    int64_t perm[GOPT_MAX_RANK];
    int rank;
    (void)why;
    return compose(m, perm, &rank);
}

static gi_value *merge_transposes(gi_rewrite *r, const gi_match *m)
{
    int64_t perm[GOPT_MAX_RANK];
    int rank;
    if (!compose(m, perm, &rank))
        return NULL;
    if (in_order(perm, rank))
        return m->x;
    gi_node *n = gi_rw_node(r, OP_Transpose, 1, (gi_value *[]){ m->x }, 1);
    return n && gi_attr_set_ints(n, Transpose_at_perm, (uint32_t)rank, perm) ? gi_rw_done(r, n) : NULL;
}

/* ---- slices, pads, tiles ---- */

static bool all_ints(gi_value *v, int64_t x)
{
    int64_t e[64];
    uint32_t n;
    if (!gi_value_known_ints(v, e, 64, &n))
        return false;
    for (uint32_t i = 0; i < n; i++)
        if (e[i] != x)
            return false;
    return true;
}

static bool pads_are_zero(const gi_match *m, gi_reason *why)
{
    (void)why;
    return all_ints(m->p, 0);
}

static bool repeats_are_one(const gi_match *m, gi_reason *why)
{
    (void)why;
    return all_ints(m->r, 1);
}

/* ---- what broadcasting does anyway ---- */

/* Operand `at` of the root, if it is an Expand that nothing else reads. */
static const gi_node *expanded(const gi_match *m, uint32_t at)
{
    const gi_value *v = m->root->in[at].value;
    const gi_node *n = gi_value_node(v);
    return n && n->op == OP_Expand && n->block == m->root->block && v->n_uses == 1 ? n : NULL;
}

/* Has dim d of the root's result its length from another operand than `at`, for all values of the symbols? */
static bool is_given_elsewhere(const gi_match *m, uint32_t at, int d)
{
    const gi_type *y = m->root->out[0]->type;
    for (uint32_t i = 0; i < m->root->n_in; i++) {
        const gi_value *v = m->root->in[i].value;
        const int k = gi_value_rank(v) - (y->rank - d);
        if (i != at && k >= 0 && gi_dim_equal(m->g->dims, v->type->dims[k], y->dims[d]) == 1)
            return true;
    }
    return false;
}

/* Would the root's result be as large without the Expand? */
static bool is_needless(const gi_match *m, uint32_t at)
{
    const gi_node *expand = expanded(m, at);
    const gi_type *y = m->root->out[0]->type;
    const gi_value *x = expand ? gi_node_in(expand, 0) : NULL;
    if (!x || gi_value_rank(x) < 0 || gi_value_rank(m->root->out[0]) < 0)
        return false;
    for (int d = 0; d < y->rank; d++) {
        const int k = gi_value_rank(x) - (y->rank - d);
        if ((k < 0 || gi_dim_equal(m->g->dims, x->type->dims[k], y->dims[d]) != 1) && !is_given_elsewhere(m, at, d))
            return false;
    }
    return true;
}

static bool broadcasts_anyway(const gi_match *m, gi_reason *why)
{
    (void)why;
    for (uint32_t i = 0; i < m->root->n_in; i++)
        if (m->root->in[i].value && is_needless(m, i))
            return true;
    return false;
}

static gi_value *leave_expand_out(gi_rewrite *r, const gi_match *m)
{
    gi_value *in[GI_OP_MAX_IN];
    bool done = false;
    if (m->root->n_in > GI_OP_MAX_IN)
        return NULL;
    for (uint32_t i = 0; i < m->root->n_in; i++) {
        in[i] = m->root->in[i].value;
        if (!done && in[i] && is_needless(m, i)) { /* one at a time: each may be needed for the other */
            in[i] = gi_node_in(expanded(m, i), 0);
            done = true;
        }
    }
    gi_node *n = gi_rw_node(r, m->root->op, m->root->n_in, in, 1);
    return n && gi_attrs_copy(n, m->root) ? gi_rw_done(r, n) : NULL;
}

/* ---- concatenations ---- */

static bool axis_of(const gi_node *concat, int *axis)
{
    const int rank = gi_value_rank(concat->out[0]);
    return rank > 0 && gi_axis(gi_attr_int(concat, Concat_at_axis), rank, axis);
}

static bool is_empty(const gi_value *v, int axis)
{
    return gi_value_dim(v, axis) == 0;
}

/* A part that is itself a concatenation on this axis, and is read by nothing else. */
static bool is_inner(const gi_node *outer, const gi_value *v, int axis)
{
    const gi_node *n = gi_value_node(v);
    int own;
    return n && n->op == OP_Concat && n->block == outer->block && v->n_uses == 1 && axis_of(n, &own) && own == axis;
}

/* The outermost Concat takes all in at once: one after another, from within, copies what is there at each step. */
static bool has_inner_concat(const gi_match *m, gi_reason *why)
{
    (void)why;
    int axis, its;
    const gi_node *user = gi_value_only_user(m->root->out[0]);
    if (!axis_of(m->root, &axis) ||
        (user && user->op == OP_Concat && axis_of(user, &its) && its == axis && is_inner(user, m->root->out[0], axis)))
        return false;
    uint32_t full = 0;
    bool any = false;
    for (uint32_t i = 0; i < m->root->n_in; i++) {
        const gi_value *v = m->root->in[i].value;
        if (!v)
            return false;
        any = any || is_inner(m->root, v, axis) || is_empty(v, axis);
        full += !is_empty(v, axis);
    }
    return any && full > 0;
}

typedef struct concat_step {
    const gi_node *n;
    uint32_t next; /* input */
} concat_step;

typedef gi_vec(gi_node *) concat_nodes;

/* All parts in order, down through Concats in Concats. */
static bool collect_parts(gi_rewrite *r, gi_node *root, int axis, gi_values *parts, concat_nodes *inner)
{
    concat_step top = { root, 0 };
    gi_vec(concat_step) above = { 0 };
    for (;;) {
        if (top.next == top.n->n_in) {
            if (!above.n)
                return true;
            top = above.p[--above.n];
            continue;
        }
        gi_value *v = top.n->in[top.next++].value;
        if (!v || is_empty(v, axis))
            continue;
        if (!is_inner(top.n, v, axis)) {
            if (!gi_push(r->scratch, parts, v))
                return false;
            continue;
        }
        if (!gi_push(r->scratch, &above, top) || !gi_push(r->scratch, inner, v->def.node))
            return false;
        top.n = v->def.node;
        top.next = 0;
    }
}

static gi_value *merge_concats(gi_rewrite *r, const gi_match *m)
{
    int axis;
    gi_values parts = { 0 };
    concat_nodes inner = { 0 };
    if (!axis_of(m->root, &axis) || !collect_parts(r, m->root, axis, &parts, &inner))
        return NULL;
    if (parts.n == 1)
        return parts.p[0];
    gi_node *n = gi_rw_node(r, OP_Concat, (uint32_t)parts.n, parts.p, 1);
    if (!n)
        return NULL;
    gi_attr_set_int(n, Concat_at_axis, axis);
    for (size_t i = 0; i < inner.n; i++)
        if (!gi_node_merge_origins(n, inner.p[i]))
            return NULL;
    return gi_rw_done(r, n);
}

/* ---- arithmetic ---- */

/* -0.0 is the zero that changes nothing: x + 0.0 turns -0.0 into 0.0. */
static bool adds_nothing(const gi_match *m, gi_reason *why)
{
    (void)why;
    const gi_blob *k = gi_value_blob(m->k);
    return gi_dtype_is_float(k->dtype) ? gi_blob_all(k, -0.0) : gi_blob_all(k, 0.0);
}

/* ---- recurrent states ---- */

/* Inputs 5 (initial_h) and, of an LSTM, 6 (initial_c). */
static uint32_t states_end(const gi_node *n)
{
    return n->op == OP_LSTM ? LSTM_in_initial_c + 1 : LSTM_in_initial_h + 1;
}

static bool starts_from_zeros(const gi_match *m, gi_reason *why)
{
    (void)why;
    for (uint32_t i = LSTM_in_initial_h; i < states_end(m->root); i++)
        if (gi_node_in(m->root, i) && gi_value_is_zeros(m->root->in[i].value))
            return true;
    return false;
}

static gi_value *drop_zeros(gi_rewrite *r, const gi_match *m)
{
    gi_value *in[GI_OP_MAX_IN];
    uint32_t n_in = m->root->n_in;
    if (n_in > GI_OP_MAX_IN)
        return NULL;
    for (uint32_t i = 0; i < n_in; i++) {
        in[i] = m->root->in[i].value;
        if (i >= LSTM_in_initial_h && i < states_end(m->root) && in[i] && gi_value_is_zeros(in[i]))
            in[i] = NULL;
    }
    while (n_in && !in[n_in - 1])
        n_in--;
    gi_node *n = gi_rw_node(r, m->root->op, n_in, in, m->root->n_out);
    return n && gi_attrs_copy(n, m->root) ? gi_rw_done(r, n) : NULL;
}

#include "passes/rows.h"
#include "passes/rules/identity.def"
