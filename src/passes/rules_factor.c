/* Rules of factors behind moves: the scale of attention stands behind the Reshape and Transpose that make heads, and
 * behind the Split where queries, keys and values come from one product. It goes into the columns that it scales. */
#include <math.h>

#include "passes/layout.h"
#include "passes/parts.h"

/* Of a factor: where it stood behind the sums, sums of larger ones would not overflow. */
static const double LARGEST = 0x1p64;

/* Columns first … first + count - 1 of x·w + b. */
typedef struct target {
    gi_node *product, *sum; /* MatMul or Gemm; the Add behind it, or NULL */
    gi_value *w, *b;
    gi_value *out; /* what is scaled: of the sum, or the product */
    int64_t first, count, columns;
    bool rows; /* columns of the product are rows of w */
} target;

/* Does another Gather of the same value take the same entry? */
static bool is_taken_twice(const gi_node *gather)
{
    gi_part own, other;
    if (!gi_part_of(gather->out[0], &own))
        return true;
    for (const gi_use *u = gi_node_in(gather, 0)->uses; u; u = u->next)
        if (!u->node || (u->node != gather &&
                         (!gi_part_of(u->node->out[0], &other) || other.axis != own.axis || other.first == own.first)))
            return true;
    return false;
}

/* The value that the moves begin at, and which of its last dim's elements arrive; count 0: all of them. */
static gi_value *find_source(const gi_match *m, int64_t *first, int64_t *count)
{
    gi_origin o;
    gi_part p;
    *first = *count = 0;
    if (m->v->n_uses != 1 || !gi_origin_find(&o, m->g, m->v) || !o.x)
        return NULL;
    if (o.count) {
        if (o.axis != gi_value_rank(o.x) - 1 || o.gather->out[0]->n_uses != 1 || is_taken_twice(o.gather))
            return NULL;
        *first = o.index * o.size;
        *count = o.size;
        return o.x;
    }
    const gi_node *n = gi_value_node(o.x);
    if (n && n->op == OP_Split && o.x->n_uses == 1 && gi_part_of(o.x, &p) && p.axis == gi_value_rank(p.x) - 1) {
        *first = p.first;
        *count = p.count;
        return p.x;
    }
    return o.moves ? o.x : NULL; /* with nothing between, other rules do it */
}

static bool is_vector(const gi_value *b, int64_t n)
{
    const gi_blob *k = gi_value_blob(b);
    return k && k->rank >= 1 && k->dims[k->rank - 1] == n && gi_blob_elements(k) == n;
}

static bool find_target(const gi_match *m, target *t)
{
    *t = (target){ 0 };
    t->out = find_source(m, &t->first, &t->count);
    gi_node *n = gi_value_node(t->out);
    if (!n || n->block != m->root->block || t->out->n_uses != 1)
        return false;
    if (n->op == OP_Add) {
        const bool left = gi_value_blob(gi_node_in(n, 0)) != NULL;
        t->sum = n;
        t->b = gi_node_in(n, left ? 0 : 1);
        n = gi_value_node(gi_node_in(n, left ? 1 : 0));
        if (!n || n->op != OP_MatMul || n->out[0]->n_uses != 1 || n->block != m->root->block)
            return false;
    }
    if (!n || (n->op != OP_MatMul && n->op != OP_Gemm))
        return false;
    t->product = n;
    t->w = gi_node_in(n, 1);
    if (n->op == OP_Gemm) {
        if (gi_attr_float(n, Gemm_at_alpha) != 1.0f || gi_attr_float(n, Gemm_at_beta) != 1.0f)
            return false;
        t->b = gi_node_in(n, 2);
        t->rows = gi_attr_int(n, Gemm_at_transB) != 0;
    }
    const gi_blob *w = gi_value_blob(t->w);
    if (!w || w->rank != 2 || !gi_dtype_is_float(w->dtype) || gopt_dtype_bits(w->dtype) < 16)
        return false;
    t->columns = w->dims[t->rows ? 0 : 1];
    if (!t->count)
        t->count = t->columns;
    return !t->b || (is_vector(t->b, t->columns) && gi_value_dtype(t->b) == w->dtype);
}

static bool factor_finds_product(const gi_match *m, gi_reason *why)
{
    target t;
    double k;
    if (!gi_value_scalar(m->k, &k) || !gi_dtype_is_float(gi_value_dtype(m->k)) ||
        gi_value_rank(m->k) > gi_value_rank(m->v) || !find_target(m, &t))
        return false;
    if (!(fabs(m->root->op == OP_Div ? 1 / k : k) <= LARGEST))
        return gi_decline(why,
                          "the factor is not finite, or zero where it divides, or so large that sums might overflow");
    return t.w->n_uses == 1 || gi_decline(why, "the weights %s are used elsewhere too", gi_value_ref(t.w, m->scratch));
}

/* n elements from `at` on, times k. */
static void scale_run(const gi_blob *b, void *to, int64_t at, int64_t n, double k)
{
    for (int64_t i = at; i < at + n; i++)
        if (b->dtype == GOPT_F32)
            ((float *)to)[i] = (float)(((const float *)b->data)[i] * k);
        else
            gi_store_f64(b->dtype, to, (size_t)i, gi_load_f64(b->dtype, b->data, (size_t)i) * k);
}

/* A copy with the elements of some columns scaled; where they are rows, these are longer. */
static gi_value *scale_some(gi_rewrite *r, const gi_value *v, const target *t, bool rows, double k)
{
    const gi_blob *b = gi_value_blob(v);
    gi_blob *to;
    if (gi_blob_create(r->g->cx, b->dtype, b->rank, b->dims, &to) != GOPT_OK)
        return NULL;
    memcpy(to->owned, b->data, b->bytes);
    const int64_t all = gi_blob_elements(b), width = rows && t->columns ? all / t->columns : 1;
    for (int64_t at = 0; at < all; at += t->columns * width)
        scale_run(b, to->owned, at + t->first * width, t->count * width, k);
    return gi_const(r->g, to, NULL);
}

static gi_value *rebuild(gi_rewrite *r, const gi_node *n, uint32_t n_in, gi_value *const *in)
{
    gi_node *y = gi_rw_node_behind(r, n->out[0], n->op, n_in, in, 1);
    if (!y || !gi_attrs_copy(y, n) || !gi_node_merge_origins(y, n))
        return NULL;
    y->name = n->name;
    return gi_rw_done(r, y);
}

static gi_value *scale_product(gi_rewrite *r, const gi_match *m)
{
    target t;
    double k;
    if (!gi_value_scalar(m->k, &k) || !find_target(m, &t))
        return NULL;
    k = m->root->op == OP_Div ? 1 / k : k;
    gi_value *w = scale_some(r, t.w, &t, t.rows, k), *b = t.b ? scale_some(r, t.b, &t, false, k) : NULL;
    if (!w || (t.b && !b))
        return NULL;
    gi_value *y =
        rebuild(r, t.product, t.product->op == OP_Gemm && b ? 3 : 2, (gi_value *[]){ gi_node_in(t.product, 0), w, b });
    if (y && t.sum)
        y = rebuild(r, t.sum, 2, (gi_value *[]){ y, b });
    return y && gi_rw_also(r, t.out, y) ? m->v : NULL;
}

#include "passes/rows.h"
#include "passes/rules/factor.def"
