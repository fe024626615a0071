/* Embedding bags: rows of a table, summed, averaged or the greatest of each column, one stretch of indices at a time.
 *
 *   %y = Loop bags { %s = Slice %ids, Gather %starts %i, Gather %ends %i
 *                    %r = Gather %w, %s                                      %r = Gather %w, (Reshape %ids, [-1,4])
 *                    %m = ReduceSum %r, [0]                           ⇒      %y = ReduceSum %r, [1]
 *                    yield true, %m }
 *
 * ONNX has no operator for them, and PyTorch's exporter writes this Loop. Where all bags are as long, as those of a
 * matrix of indices are, they are the rows of one Gather. Where starts and ends are constants, sums and means are a
 * product with a constant matrix of ones (or of one over their number), one row a bag: a few bags of a few indices. */
#include "passes/build.h"

enum { MOST_CELLS = 4096 }; /* of that matrix */

typedef struct bags {
    gi_value *table, *ids, *starts, *ends;
    const gi_node *reduce;
    const gi_dim *n; /* bags */
} bags;

static bool is_outside(const gi_value *v, const gi_block *body)
{
    return v && (v->kind == GI_DEF_CONST || (v->kind == GI_DEF_NODE    ? v->def.node->block != body
                                             : v->kind == GI_DEF_PARAM ? v->def.block != body
                                                                       : false));
}

static bool is_true(const gi_value *v)
{
    const gi_node *n = gi_value_node(v);
    const gi_blob *b = gi_value_blob(n && n->op == OP_Identity ? gi_node_in(n, 0) : v);
    return b && b->dtype == GOPT_BOOL && gi_blob_elements(b) == 1 && gi_load_i64(b->dtype, b->data, 0);
}

static bool is_axis_0(const gi_value *v)
{
    int64_t axis;
    uint32_t n;
    return v && gi_value_ints(v, &axis, 1, &n) && n == 1 && axis == 0;
}

/* What v, one element, takes from with the number of the run: x of Unsqueeze(Gather(x, i)). */
static gi_value *taken_by_run(const gi_value *v, const gi_block *body)
{
    const gi_node *u = gi_value_node(v), *n = u && u->op == OP_Unsqueeze ? gi_value_node(gi_node_in(u, 0)) : u;
    gi_value *i = n && n->op == OP_Gather ? gi_node_in(n, Gather_in_indices) : NULL;
    if (i && n == u) { /* by a list of one */
        const gi_node *list = gi_value_node(i);
        i = list && list->op == OP_Unsqueeze ? gi_node_in(list, 0) : NULL;
    }
    gi_value *x = i ? gi_node_in(n, Gather_in_data) : NULL;
    return i == body->params[0] && gi_attr_int(n, Gather_at_axis) == 0 && gi_value_rank(x) == 1 && is_outside(x, body)
               ? x
               : NULL;
}

static bool read_bags(const gi_match *m, bags *p)
{
    const gi_node *loop = m->root;
    const gi_block *body = gi_attr_graph(loop, Loop_at_body);
    if (!body || loop->n_in != 2 || loop->n_out != 1 || body->n_params != 2 || body->n_results != 2 ||
        (m->c && !is_true(m->c)) || gi_value_rank(loop->out[0]) < 1)
        return false;
    const gi_value *on = body->results[0].value;
    if (!is_true(on) && on != body->params[1])
        return false;
    const gi_node *reduce = gi_value_node(body->results[1].value);
    if (!reduce || reduce->block != body ||
        (reduce->op != OP_ReduceSum && reduce->op != OP_ReduceMean && reduce->op != OP_ReduceMax) ||
        gi_attr_int(reduce, ReduceSum_at_keepdims) || !is_axis_0(gi_node_in(reduce, ReduceSum_in_axes)))
        return false;
    const gi_node *rows = gi_value_node(gi_node_in(reduce, 0));
    if (!rows || rows->op != OP_Gather || gi_attr_int(rows, Gather_at_axis))
        return false;
    const gi_node *slice = gi_value_node(gi_node_in(rows, Gather_in_indices));
    if (!slice || slice->op != OP_Slice || slice->block != body ||
        (gi_node_in(slice, Slice_in_axes) && !is_axis_0(gi_node_in(slice, Slice_in_axes))))
        return false;
    double step;
    const gi_value *steps = gi_node_in(slice, Slice_in_steps);
    *p = (bags){ .table = gi_node_in(rows, Gather_in_data),
                 .ids = gi_node_in(slice, Slice_in_data),
                 .starts = taken_by_run(gi_node_in(slice, Slice_in_starts), body),
                 .ends = taken_by_run(gi_node_in(slice, Slice_in_ends), body),
                 .reduce = reduce,
                 .n = loop->out[0]->type->dims[0] };
    return (!steps || (gi_value_scalar(steps, &step) && step == 1)) && p->starts && p->ends &&
           is_outside(p->table, body) && is_outside(p->ids, body) && gi_value_rank(p->ids) == 1 &&
           gi_value_rank(p->table) >= 1;
}

/* Does the Loop run so many times, whatever its condition? */
static bool runs(const gi_match *m, const gi_dim *n)
{
    uint32_t count;
    const gi_dim *const *known = gi_value_known(m->n, &count);
    return known && count == 1 && gi_dim_equal(m->g->dims, known[0], n) == 1;
}

/* ---- bags of one length ---- */

/* Constants 0, l, 2·l … and l, 2·l, 3·l …; 0 where they are not. */
static int64_t length_of_constants(const bags *p)
{
    const gi_blob *a = gi_value_blob(p->starts), *z = gi_value_blob(p->ends);
    const int64_t n = z ? gi_blob_elements(z) : 0;
    if (!a || n < 1 || gi_blob_elements(a) < n || a->dtype != GOPT_I64 || z->dtype != GOPT_I64)
        return 0;
    const int64_t *from = a->data, *to = z->data, l = to[0];
    for (int64_t i = 0; i < n; i++)
        if (from[i] != (i ? to[i - 1] : 0) || to[i] < from[i] || to[i] - from[i] != l)
            return 0;
    return gi_dim_is(p->n, n) ? l : 0;
}

/* The same of Concat(Range(0, …, l), end) and what follows its first element. */
static int64_t length_of_range(const gi_match *m, const bags *p)
{
    double start, delta;
    int64_t from, to;
    uint32_t n;
    const gi_node *all = gi_value_node(p->starts), *rest = gi_value_node(p->ends);
    if (!all || all->op != OP_Concat || all->n_in != 2 || !rest || rest->op != OP_Slice ||
        gi_node_in(rest, Slice_in_data) != p->starts)
        return 0;
    const gi_node *range = gi_value_node(gi_node_in(all, 0));
    if (!range || range->op != OP_Range || !gi_value_scalar(gi_node_in(range, Range_in_start), &start) || start != 0 ||
        !gi_value_scalar(gi_node_in(range, Range_in_delta), &delta) || delta < 1 || delta > 1 << 20 ||
        gi_dim_equal(m->g->dims, range->out[0]->type->dims[0], p->n) != 1 ||
        !gi_value_ints(gi_node_in(rest, Slice_in_starts), &from, 1, &n) || n != 1 || from != 1 ||
        !gi_value_ints(gi_node_in(rest, Slice_in_ends), &to, 1, &n) || n != 1 || to < INT32_MAX ||
        gi_dim_equal(m->g->dims, p->ends->type->dims[0], p->n) != 1)
        return 0;
    const gi_dim *const *end = gi_value_known(gi_node_in(all, 1), &n);
    const gi_dim *want = gi_dim_mul(m->g->dims, p->n, gi_dim_const(m->g->dims, (int64_t)delta));
    return end && n == 1 && want && gi_dim_equal(m->g->dims, end[0], want) == 1 ? (int64_t)delta : 0;
}

static int64_t even_length(const gi_match *m, const bags *p)
{
    const int64_t constant = length_of_constants(p);
    return constant ? constant : length_of_range(m, p);
}

static bool bags_are_even(const gi_match *m, gi_reason *why)
{
    bags p;
    if (!read_bags(m, &p) || !runs(m, p.n))
        return false;
    const int64_t l = even_length(m, &p);
    const gi_dim *all = l ? gi_dim_mul(m->g->dims, p.n, gi_dim_const(m->g->dims, l)) : NULL;
    if (!all || gi_dim_equal(m->g->dims, p.ids->type->dims[0], all) != 1)
        return gi_decline(why, "its bags are not seen to be all of one length");
    return true;
}

static gi_value *make_even(gi_rewrite *r, const gi_match *m)
{
    bags p;
    const int64_t one = 1;
    if (!read_bags(m, &p))
        return NULL;
    const int64_t target[2] = { -1, even_length(m, &p) };
    gi_value *ids = gi_rw_reshape(r, p.ids, 2, target);
    gi_value *rows = gi_rw_binary(r, OP_Gather, p.table, ids), *axes = rows ? gi_rw_ints(r, 1, &one) : NULL;
    gi_node *n = axes ? gi_rw_node(r, p.reduce->op, 2, (gi_value *[]){ rows, axes }, 1) : NULL;
    if (!n)
        return NULL;
    gi_attr_set_int(n, ReduceSum_at_keepdims, 0);
    return gi_rw_done(r, n);
}

/* ---- bags of constant lengths ---- */

/* Is each place of the indices in a bag? Bags may come in any order. */
static bool are_covered(const int64_t *from, const int64_t *to, int64_t n, int64_t ids)
{
    int64_t done = 0;
    for (bool more = true; more && done < ids;) {
        more = false;
        for (int64_t i = 0; i < n; i++)
            if (from[i] <= done && to[i] > done) {
                done = to[i];
                more = true;
            }
    }
    return done >= ids;
}

static bool bags_are_constant(const gi_match *m, gi_reason *why)
{
    bags p;
    int64_t n, ids, cells;
    if (!read_bags(m, &p) || p.reduce->op == OP_ReduceMax || !runs(m, p.n) || !gi_dim_is_const(p.n, &n) || n < 1 ||
        !gi_dim_is_const(p.ids->type->dims[0], &ids))
        return false;
    const gi_blob *a = gi_value_blob(p.starts), *z = gi_value_blob(p.ends), *w = gi_value_blob(p.table);
    if (!a || !z || !w || a->dtype != GOPT_I64 || z->dtype != GOPT_I64 || gi_blob_elements(a) < n ||
        gi_blob_elements(z) < n || w->rank != 2 || (w->dtype != GOPT_F32 && w->dtype != GOPT_F64))
        return false;
    const int64_t *from = a->data, *to = z->data;
    for (int64_t i = 0; i < n; i++)
        if (from[i] < 0 || to[i] <= from[i] || to[i] > ids)
            return gi_decline(why, "bag %lld is empty, or goes beyond the indices", (long long)i);
    if (ids > MOST_CELLS || n > MOST_CELLS)
        return gi_decline(why, "a matrix of %lld bags by %lld indices would be too large", (long long)n,
                          (long long)ids);
    if (!are_covered(from, to, n, ids))
        return gi_decline(why, "an index is in no bag: it may be one that no row has");
    if (!gi_blob_is_finite(w))
        return gi_decline(why, "the table has elements that are not finite, of which 0 times is NaN");
    return (gi_mul_i64(n, ids, &cells) && cells <= MOST_CELLS) ||
           gi_decline(why, "a matrix of %lld bags by %lld indices would be too large", (long long)n, (long long)ids);
}

static gi_value *make_product(gi_rewrite *r, const gi_match *m)
{
    bags p;
    int64_t dims[2];
    gi_blob *b;
    if (!read_bags(m, &p) || !gi_dim_is_const(p.n, &dims[0]) || !gi_dim_is_const(p.ids->type->dims[0], &dims[1]) ||
        gi_blob_create(r->g->cx, gi_value_dtype(p.table), 2, dims, &b) != GOPT_OK)
        return NULL;
    const int64_t *from = gi_value_blob(p.starts)->data, *to = gi_value_blob(p.ends)->data;
    for (int64_t i = 0; i < dims[0]; i++)
        for (int64_t j = 0; j < dims[1]; j++) {
            const double share = p.reduce->op == OP_ReduceMean ? 1.0 / (double)(to[i] - from[i]) : 1;
            gi_store_f64(b->dtype, b->owned, (size_t)(i * dims[1] + j), j >= from[i] && j < to[i] ? share : 0);
        }
    gi_value *k = gi_rw_const(r, b, NULL), *rows = k ? gi_rw_binary(r, OP_Gather, p.table, p.ids) : NULL;
    return gi_rw_binary(r, OP_MatMul, k, rows);
}

#include "passes/rows.h"
#include "passes/rules/bags.def"
