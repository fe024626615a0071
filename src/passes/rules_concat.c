/* Rules of what all parts of a Concat have in common: it is done once, behind the Concat.
 *
 * Parts that are moved alike need not have the same shape. Detection heads see images of several sizes,
 *
 *     [n,24,h,w] ─ Reshape ─ [n,6,4,h,w] ─ Transpose ─ [n,h,w,6,4] ─ Reshape ─ [n,h*w*6,4]      for each h, w
 *
 * and put the boxes of all of them together. In atoms (layout.h) the Concat's dim is (h w) 6. The stretch h w leads
 * it, and stands together in the source too: so the sources, seen as [n,24,h*w], are put together along that stretch,
 * and the sum of all h*w moves as each h*w did. */
#include "passes/layout.h"

/* One part: its source, and where in it the stretch lies. */
typedef struct part {
    gi_origin o;
    uint32_t at, n; /* the stretch: atoms at … at + n - 1 in the source's order */
} part;

/* All parts, and what they become. */
typedef struct together {
    part *parts;
    uint32_t n;
    int axis;          /* of the Concat there is */
    const part *model; /* a part whose stretch is not empty, if any */
    int rank, dim;     /* the sources' shape, and which of its dims is the stretch */
    const gi_dim *dims[GOPT_MAX_RANK];
    gi_layout l; /* from the new Concat on */
} together;

static uint32_t begin_of(const uint32_t *end, int i)
{
    return i ? end[i - 1] : 0;
}

static uint32_t place_of(const uint8_t *list, uint8_t atom)
{
    uint32_t i = 0;
    while (list[i] != atom)
        i++;
    return i;
}

/* ---- the stretch ---- */

/* The atoms of the Concat's dim, all but the last `tail`, as a stretch of the source. */
static bool find_stretch(part *p, int axis, uint32_t tail)
{
    const gi_layout *l = &p->o.l;
    const uint32_t first = begin_of(l->to_end, axis), end = l->to_end[axis];
    if (end - first < tail)
        return false;
    p->n = end - first - tail;
    if (p->n) {
        p->at = place_of(l->from, l->to[first]);
        for (uint32_t i = 0; i < p->n; i++)
            if (p->at + i >= l->n || l->from[p->at + i] != l->to[first + i])
                return false;
        return true;
    }
    /* Of length 1 it may lie anywhere: behind what comes before it. */
    p->at = first ? place_of(l->from, l->to[first - 1]) + 1 : 0;
    return true;
}

/* The i-th atom of the source beside the stretch. */
static uint8_t beside(const part *p, uint32_t i)
{
    return p->o.l.from[i < p->at ? i : i + p->n];
}

/* Where in the result the i-th atom beside the stretch stands, the stretch not counted. */
static uint32_t goes_to(const part *p, int axis, uint32_t i)
{
    const uint32_t first = begin_of(p->o.l.to_end, axis), to = place_of(p->o.l.to, beside(p, i));
    return to < first ? to : to - p->n;
}

/* Do the atoms beside the stretch have the same sizes, and go the same ways? */
static bool move_alike(gopt_graph *g, const part *a, const part *b, int axis)
{
    const uint32_t n = a->o.l.n - a->n;
    if (b->o.l.n - b->n != n || a->at != b->at || begin_of(a->o.l.to_end, axis) != begin_of(b->o.l.to_end, axis))
        return false;
    for (uint32_t i = 0; i < n; i++)
        if (goes_to(a, axis, i) != goes_to(b, axis, i) ||
            gi_dim_equal(g->dims, a->o.l.size[beside(a, i)], b->o.l.size[beside(b, i)]) != 1)
            return false;
    return true;
}

/* ---- shapes ---- */

static const gi_dim *product(gopt_graph *g, const gi_layout *l, uint32_t first, uint32_t end)
{
    const gi_dim *d = gi_dim_const(g->dims, 1);
    for (uint32_t i = first; d && i < end; i++)
        d = gi_dim_mul(g->dims, d, l->size[l->from[i]]);
    return d;
}

static bool add_dim(together *t, const gi_dim *d)
{
    if (!d || t->rank == GOPT_MAX_RANK)
        return false;
    t->dims[t->rank++] = d;
    return true;
}

static bool add_stretch(gopt_graph *g, together *t)
{
    const part *p = t->model;
    if (t->dim >= 0)
        return true;
    t->dim = t->rank;
    return add_dim(t, product(g, &p->o.l, p->at, p->at + p->n));
}

/* Atoms b … e - 1 of the source as a dim, if there are any. */
static bool add_run(gopt_graph *g, together *t, uint32_t b, uint32_t e)
{
    return b >= e || add_dim(t, product(g, &t->model->o.l, b, e));
}

/* The model's dims, cut where the stretch begins and ends. Dims of 1 inside it go; where it is empty, one that lies
 * at its place is it. */
static bool shape_sources(gopt_graph *g, together *t)
{
    const gi_layout *l = &t->model->o.l;
    const uint32_t first = t->model->at, end = first + t->model->n;
    t->rank = 0;
    t->dim = -1;
    for (int i = 0; i < l->source->rank; i++) {
        const uint32_t b = begin_of(l->from_end, i), e = l->from_end[i];
        if (b == e) {
            const bool is_stretch = first == end && b == first && t->dim < 0;
            if (is_stretch ? !add_stretch(g, t) : !(b > first && b < end) && !add_dim(t, l->source->dims[i]))
                return false;
            continue;
        }
        const bool meets = first == end ? b <= first && first < e : b < end && first < e;
        if (!add_run(g, t, b, (uint32_t)gi_min_i64(e, first)) || (meets && !add_stretch(g, t)) ||
            !add_run(g, t, (uint32_t)gi_max_i64(b, end), e))
            return false;
    }
    return add_stretch(g, t);
}

static const gi_type *with_stretch(gopt_graph *g, const together *t, const gi_dim *stretch, gopt_dtype dtype)
{
    const gi_dim *dims[GOPT_MAX_RANK];
    memcpy(dims, t->dims, (size_t)t->rank * sizeof *dims);
    dims[t->dim] = stretch;
    return stretch ? gi_type_tensor(g->types, dtype, t->rank, dims) : NULL;
}

/* The source of a part in the common shape; costs 0 or 1 node. */
static bool view_source(gopt_graph *g, const together *t, const part *p, gi_layout *l, int *cost)
{
    const gi_type *from = p->o.x->type;
    const gi_type *to = with_stretch(g, t, product(g, &p->o.l, p->at, p->at + p->n), from->dtype);
    if (!to || !gi_layout_begin(l, g, from) || !gi_layout_view(l, to))
        return false;
    *cost = gi_layout_cost(l);
    return *cost >= 0;
}

/* From the new Concat to the old one's result: the stretch is one atom. */
static bool plan_moves(gopt_graph *g, together *t, const gi_type *result)
{
    const part *p = t->model;
    const uint32_t n = p->o.l.n - p->n, before = begin_of(p->o.l.to_end, t->axis);
    const gi_dim *dims[GOPT_MAX_RANK], *sum = gi_dim_const(g->dims, 0);
    int64_t perm[GOPT_MAX_RANK];
    for (uint32_t i = 0; sum && i < t->n; i++) {
        const part *q = &t->parts[i];
        const gi_dim *d = product(g, &q->o.l, q->at, q->at + q->n);
        sum = d ? gi_dim_add(g->dims, sum, d) : NULL;
    }
    const gi_type *c = with_stretch(g, t, sum, result->dtype);
    if (!c || n + 1 > GOPT_MAX_RANK)
        return false;
    for (uint32_t i = 0; i < n; i++) {
        const uint32_t to = goes_to(p, t->axis, i);
        const uint32_t from = i < p->at ? i : i + 1;
        dims[from] = p->o.l.size[beside(p, i)];
        perm[to < before ? to : to + 1] = from;
    }
    dims[p->at] = sum;
    perm[before] = p->at;
    const gi_type *atoms = gi_type_tensor(g->types, result->dtype, (int)n + 1, dims);
    return atoms && gi_layout_begin(&t->l, g, c) && gi_layout_view(&t->l, atoms) &&
           gi_layout_permute(&t->l, perm, (int)n + 1) && gi_layout_view(&t->l, result);
}

/* ---- the rule ---- */

static bool concat_axis(const gi_node *concat, int *axis)
{
    return gi_axis(gi_attr_int(concat, Concat_at_axis), gi_value_rank(concat->out[0]), axis);
}

static bool read_parts(const gi_match *m, together *t, uint32_t *moves)
{
    enum { MAX_PARTS = 256 };
    const gi_node *concat = m->root;
    *t = (together){ .n = concat->n_in };
    *moves = 0;
    if (concat->n_in < 2 || concat->n_in > MAX_PARTS || !concat_axis(concat, &t->axis))
        return false;
    const gi_node *first = gi_value_node(gi_node_in(concat, 0)), *second = gi_value_node(gi_node_in(concat, 1));
    if (!gi_is_move(first) && !gi_is_move(second))
        return false; /* most Concats: not worth a closer look */
    t->parts = GI_NEW_ARRAY(m->scratch, part, t->n);
    for (uint32_t i = 0; t->parts && i < t->n; i++) {
        gi_value *v = gi_node_in(concat, i);
        gi_origin *o = &t->parts[i].o;
        if (!v || !gi_origin_find(o, m->g, v) || !o->x || o->count || (o->moves && v->n_uses != 1) ||
            o->l.rank != gi_value_rank(concat->out[0]))
            return false;
        *moves += o->moves;
    }
    return t->parts && *moves > 1;
}

/* With the last `tail` atoms of the Concat's dim common to all parts. */
static bool plan_with_tail(const gi_match *m, together *t, uint32_t tail, uint32_t moves)
{
    t->model = NULL;
    for (uint32_t i = 0; i < t->n; i++) {
        if (!find_stretch(&t->parts[i], t->axis, tail))
            return false;
        if (!t->model && t->parts[i].n)
            t->model = &t->parts[i];
    }
    t->model = t->model ? t->model : &t->parts[0];
    for (uint32_t i = 0; i < t->n; i++) {
        if (!t->parts[i].n && t->model->n)
            t->parts[i].at = t->model->at;
        if (!move_alike(m->g, t->model, &t->parts[i], t->axis))
            return false;
    }
    if (!shape_sources(m->g, t) || !plan_moves(m->g, t, m->root->out[0]->type))
        return false;
    const int behind = gi_layout_cost(&t->l);
    uint32_t after = (uint32_t)behind;
    for (uint32_t i = 0; i < t->n; i++) {
        gi_layout l;
        int cost;
        if (!view_source(m->g, t, &t->parts[i], &l, &cost))
            return false;
        after += (uint32_t)cost;
    }
    return behind >= 0 && after < moves;
}

static bool plan(const gi_match *m, together *t)
{
    uint32_t moves;
    if (!read_parts(m, t, &moves))
        return false;
    for (uint32_t tail = 0; tail < GI_LAYOUT_ATOMS; tail++)
        if (plan_with_tail(m, t, tail, moves))
            return true;
    return false;
}

static bool parts_move_alike(const gi_match *m, gi_reason *why)
{
    (void)why;
    together t;
    return plan(m, &t);
}

static gi_value *build_concat(gi_rewrite *r, uint32_t n, gi_value *const *parts, int axis)
{
    gi_node *c = gi_rw_node(r, OP_Concat, n, parts, 1);
    if (!c)
        return NULL;
    gi_attr_set_int(c, Concat_at_axis, axis);
    return gi_rw_done(r, c);
}

static gi_value *move_together(gi_rewrite *r, const gi_match *m)
{
    together t;
    if (!plan(m, &t))
        return NULL;
    gi_value **in = GI_NEW_ARRAY(r->scratch, gi_value *, t.n);
    for (uint32_t i = 0; in && i < t.n; i++) {
        gi_layout l;
        int cost;
        in[i] = view_source(r->g, &t, &t.parts[i], &l, &cost) ? gi_layout_build(r, &l, t.parts[i].o.x) : NULL;
        if (!in[i])
            return NULL;
    }
    gi_value *c = in ? build_concat(r, t.n, in, t.dim) : NULL;
    gi_value *y = c ? gi_layout_build(r, &t.l, c) : NULL;
    for (uint32_t i = 0; y && i < t.n; i++)
        for (const gi_value *v = gi_node_in(m->root, i); v != t.parts[i].o.x; v = gi_node_in(v->def.node, 0))
            if (!gi_node_merge_origins(y->def.node, v->def.node))
                return NULL;
    return y;
}

/* ---- stacks ---- */

static const gi_dim *product_of_dims(gopt_graph *g, const gi_dim *const *dims, int n)
{
    const gi_dim *d = gi_dim_const(g->dims, 1);
    for (int i = 0; d && i < n; i++)
        d = gi_dim_mul(g->dims, d, dims[i]);
    return d;
}

/* The dim of what is stacked along which it can be put end to end instead; -1 where there is none. */
static int flat_axis(const gi_match *m)
{
    const gi_node *concat = m->root;
    const gi_value *first = NULL;
    int axis;
    if (concat->n_in < 2 || !concat_axis(concat, &axis))
        return -1;
    for (uint32_t i = 0; i < concat->n_in; i++) {
        const gi_value *v = gi_node_in(concat, i);
        const gi_node *n = gi_value_node(v);
        if (!gi_is_view(n) || n->block != concat->block || v->n_uses != 1)
            return -1;
        first = first ? first : gi_node_in(n, 0);
        if (!gi_type_same(m->g, gi_node_in(n, 0)->type, first->type) ||
            !gi_type_same(m->g, v->type, gi_node_in(concat, 0)->type))
            return -1;
    }
    const gi_dim *before = product_of_dims(m->g, gi_node_in(concat, 0)->type->dims, axis);
    for (int b = 0; before && b < gi_value_rank(first); b++) {
        const gi_dim *own = product_of_dims(m->g, first->type->dims, b);
        if (own && gi_dim_equal(m->g->dims, own, before) == 1)
            return b;
    }
    return -1;
}

static bool parts_are_stacked(const gi_match *m, gi_reason *why)
{
    (void)why;
    int64_t target[GOPT_MAX_RANK];
    const gi_type *t = m->root->out[0]->type;
    if (flat_axis(m) < 0 || gi_value_rank(m->root->out[0]) < 0)
        return false;
    const int unknown = gi_reshape_target(m->g, 0, NULL, t->rank, t->dims, target);
    return unknown == 0 || unknown == 1;
}

static gi_value *concat_flat(gi_rewrite *r, const gi_match *m)
{
    int64_t target[GOPT_MAX_RANK];
    const int axis = flat_axis(m);
    const gi_type *t = m->root->out[0]->type;
    gi_value **in = axis < 0 ? NULL : GI_NEW_ARRAY(r->scratch, gi_value *, m->root->n_in);
    for (uint32_t i = 0; in && i < m->root->n_in; i++)
        in[i] = gi_node_in(gi_value_node(gi_node_in(m->root, i)), 0);
    gi_value *c = in ? build_concat(r, m->root->n_in, in, axis) : NULL;
    const int unknown = gi_reshape_target(r->g, 0, NULL, t->rank, t->dims, target);
    gi_value *s = c && (unknown == 0 || unknown == 1) ? gi_const_i64(r->g, 1, t->rank, target) : NULL;
    gi_value *y = s ? gi_rw_build(r, OP_Reshape, 2, (gi_value *[]){ c, s }) : NULL;
    for (uint32_t i = 0; y && i < m->root->n_in; i++)
        if (!gi_node_merge_origins(y->def.node, gi_value_node(gi_node_in(m->root, i))))
            return NULL;
    return y;
}

/* ---- the same function of each part ---- */

/* A kernel runs the function along with what makes its operand: then it costs nothing where it is. */
static bool is_epilogue(const gi_value *x)
{
    const gi_node *n = gi_value_node(x);
    return n && (n->op == OP_Conv || n->op == OP_ConvTranspose || n->op == OP_MatMul || n->op == OP_Gemm ||
                 n->op == OP_BatchNormalization || (gi_op_get(n->op)->traits & GI_ELEMENTWISE));
}

/* All operands but the first are the same single numbers. */
static bool same_numbers(const gi_node *a, const gi_node *b)
{
    if (a->n_in != b->n_in)
        return false;
    for (uint32_t i = 1; i < a->n_in; i++) {
        gi_blob *x = gi_value_blob(gi_node_in(a, i)), *y = gi_value_blob(gi_node_in(b, i));
        if (!gi_node_in(a, i) && !gi_node_in(b, i))
            continue;
        if (!x || !y || gi_blob_elements(x) != 1 || x->rank > 0 || !gi_blob_equal(x, y))
            return false;
    }
    return true;
}

static bool is_alike(const gi_node *a, const gi_node *b)
{
    if (a->op != b->op || a->n_out != 1 || b->n_out != 1 || a->n_attrs != b->n_attrs || !same_numbers(a, b))
        return false;
    for (uint32_t i = 0; i < a->n_attrs; i++)
        if (!gi_attr_equal(&a->attrs[i], &b->attrs[i]))
            return false;
    return true;
}

static bool parts_are_alike(const gi_match *m, gi_reason *why)
{
    (void)why;
    const gi_node *concat = m->root, *first = gi_value_node(gi_node_in(concat, 0));
    int axis;
    if (concat->n_in < 2 || !first || !(gi_op_get(first->op)->traits & GI_ELEMENTWISE) || !concat_axis(concat, &axis))
        return false;
    for (uint32_t i = 0; i < concat->n_in; i++) {
        const gi_value *v = gi_node_in(concat, i);
        const gi_node *n = gi_value_node(v);
        if (!n || n->block != concat->block || v->n_uses != 1 || !is_alike(first, n) ||
            gi_value_blob(gi_node_in(n, 0)) || is_epilogue(gi_node_in(n, 0)) ||
            gi_value_dtype(gi_node_in(n, 0)) != gi_value_dtype(gi_node_in(first, 0)) ||
            gi_value_rank(gi_node_in(n, 0)) != gi_value_rank(v))
            return false;
    }
    return true;
}

static gi_value *concat_first(gi_rewrite *r, const gi_match *m)
{
    const gi_node *concat = m->root, *first = gi_value_node(gi_node_in(concat, 0));
    gi_value **parts = GI_NEW_ARRAY(r->scratch, gi_value *, concat->n_in);
    gi_value *in[GI_OP_MAX_IN];
    int axis;
    if (!parts || !concat_axis(concat, &axis) || first->n_in > GI_OP_MAX_IN)
        return NULL;
    for (uint32_t i = 0; i < concat->n_in; i++)
        parts[i] = gi_node_in(gi_value_node(gi_node_in(concat, i)), 0);
    in[0] = build_concat(r, concat->n_in, parts, axis);
    for (uint32_t i = 1; i < first->n_in; i++)
        in[i] = gi_node_in(first, i);
    gi_node *y = in[0] ? gi_rw_node(r, first->op, first->n_in, in, 1) : NULL;
    if (!y || !gi_attrs_copy(y, first))
        return NULL;
    for (uint32_t i = 0; i < concat->n_in; i++)
        if (!gi_node_merge_origins(y, gi_value_node(gi_node_in(concat, i))))
            return NULL;
    return gi_rw_done(r, y);
}

#include "passes/rows.h"
#include "passes/rules/concat.def"
