/* Rules of Gemm's own numbers, alpha and beta, and of two products in a row.
 *
 * Gemm(x, w, c) = alpha · x·w + beta · c. Factors that are not 1 keep every other rule from it, and cost runtimes a
 * pass of their own; where w and c are constants they are in them.
 *
 * (x·w + b)·v + d = x·(w·v) + (b·v + d): of a narrow layer between two wide ones, as a factorized embedding has it, two
 * products are the cheaper way; else one is. */
#include <math.h>

#include "ops/gemm.h"
#include "passes/rule.h"

static const int64_t MOST_WORK = (int64_t)1 << 31; /* multiplications at compile time */

static bool is_real_float(const gi_value *v)
{
    const gi_blob *b = gi_value_blob(v);
    return b && gi_dtype_is_float(b->dtype) && gopt_dtype_bits(b->dtype) >= 16;
}

static gi_value *scaled(gi_rewrite *r, const gi_blob *w, double k)
{
    gi_blob *b;
    if (gi_blob_create(r->g->cx, w->dtype, w->rank, w->dims, &b) != GOPT_OK)
        return NULL;
    for (size_t i = 0; i < (size_t)gi_blob_elements(w); i++)
        gi_store_f64(w->dtype, b->owned, i, gi_load_f64(w->dtype, w->data, i) * k);
    return gi_rw_const(r, b, w);
}

/* ---- alpha and beta ---- */

/* The input that can take alpha: a constant that nothing else reads. -1: none. */
static int takes_alpha(const gi_match *m)
{
    if (is_real_float(m->w) && m->w->n_uses == 1)
        return Gemm_in_B;
    return is_real_float(m->x) && m->x->n_uses == 1 ? Gemm_in_A : -1;
}

static bool folds_alpha(const gi_match *m)
{
    const float alpha = gi_attr_float(m->root, Gemm_at_alpha);
    return alpha != 1.0f && alpha != 0.0f && isfinite(alpha) && takes_alpha(m) >= 0;
}

static bool folds_beta(const gi_match *m)
{
    const float beta = gi_attr_float(m->root, Gemm_at_beta);
    return beta != 1.0f && beta != 0.0f && isfinite(beta) && is_real_float(m->b);
}

static bool scales_fold(const gi_match *m, gi_reason *why)
{
    if (folds_alpha(m) || folds_beta(m))
        return true;
    const float alpha = gi_attr_float(m->root, Gemm_at_alpha);
    return alpha != 1.0f && alpha != 0.0f && gi_dtype_is_float(gi_value_dtype(m->x)) &&
           gi_decline(why, "neither operand is a constant of its own, which could take alpha");
}

static gi_value *fold_scales(gi_rewrite *r, const gi_match *m)
{
    const bool alpha = folds_alpha(m), beta = folds_beta(m);
    gi_value *in[3] = { m->x, m->w, m->b };
    if (alpha) {
        gi_value **w = &in[takes_alpha(m)];
        *w = scaled(r, gi_value_blob(*w), (double)gi_attr_float(m->root, Gemm_at_alpha));
    }
    if (beta)
        in[2] = scaled(r, gi_value_blob(m->b), (double)gi_attr_float(m->root, Gemm_at_beta));
    gi_node *n = in[0] && in[1] && (in[2] || !m->b) ? gi_rw_node(r, OP_Gemm, m->b ? 3 : 2, in, 1) : NULL;
    if (!n || !gi_attrs_copy(n, m->root))
        return NULL;
    if (alpha)
        gi_attr_set_float(n, Gemm_at_alpha, 1.0f);
    if (beta)
        gi_attr_set_float(n, Gemm_at_beta, 1.0f);
    return gi_rw_done(r, n);
}

static bool adds_nothing(const gi_match *m, gi_reason *why)
{
    (void)why;
    const gi_blob *b = gi_value_blob(m->b);
    return gi_blob_all(b, 0) ||
           (gi_attr_float(m->root, Gemm_at_beta) == 0.0f && is_real_float(m->b) && gi_blob_is_finite(b));
}

static gi_value *drop_bias(gi_rewrite *r, const gi_match *m)
{
    gi_node *n = gi_rw_node(r, OP_Gemm, 2, (gi_value *[]){ m->x, m->w }, 1);
    if (!n || !gi_attrs_copy(n, m->root))
        return NULL;
    gi_attr_set_float(n, Gemm_at_beta, 1.0f);
    return gi_rw_done(r, n);
}

/* ---- two products in a row ---- */

static bool is_plain(const gi_node *n)
{
    return n->op == OP_MatMul || (gi_attr_float(n, Gemm_at_alpha) == 1.0f && gi_attr_float(n, Gemm_at_beta) == 1.0f &&
                                  !gi_attr_int(n, Gemm_at_transA));
}

static bool is_turned(const gi_node *n)
{
    return n->op == OP_Gemm && gi_attr_int(n, Gemm_at_transB);
}

/* Rows or columns of a product's weights. */
static int64_t size(const gi_node *n, const gi_blob *w, int axis)
{
    return w->dims[is_turned(n) ? 1 - axis : axis];
}

static bool is_bias(const gi_value *b, gopt_dtype t, int64_t n)
{
    const gi_blob *k = gi_value_blob(b);
    if (!b)
        return true;
    for (int i = 0; i + 1 < k->rank; i++)
        if (k->dims[i] != 1)
            return false;
    return k->dtype == t && k->rank <= 2 && (gi_blob_elements(k) == n || gi_blob_elements(k) == 1);
}

static bool one_is_cheaper(const gi_match *m, gi_reason *why)
{
    const gi_node *first = gi_value_node(m->c), *second = m->root;
    const gi_blob *w = gi_value_blob(m->w), *v = gi_value_blob(m->v);
    int64_t one, two, more, work;
    if (!is_real_float(m->w) || w->dtype != v->dtype || w->rank != 2 || v->rank != 2 || !is_plain(first) ||
        !is_plain(second) || !gi_blob_is_finite(w) || !gi_blob_is_finite(v))
        return false;
    const int64_t in = size(first, w, 0), mid = size(first, w, 1), out = size(second, v, 1);
    if (size(second, v, 0) != mid || !is_bias(m->b, w->dtype, mid) || !is_bias(m->d, w->dtype, out) ||
        !gi_mul_i64(in, out, &one) || !gi_mul_i64(in, mid, &two) || !gi_mul_i64(mid, out, &more))
        return false;
    if (m->w->n_uses != 1 || m->v->n_uses != 1)
        return gi_decline(why, "its weights %s are used elsewhere too",
                          gi_value_ref(m->w->n_uses != 1 ? m->w : m->v, m->scratch));
    if (one > two + more)
        return gi_decline(why, "one product would take %lld multiplications for each row, the two take %lld",
                          (long long)one, (long long)(two + more));
    return (gi_mul_i64(one, mid, &work) && work <= MOST_WORK) ||
           gi_decline(why, "the product of the weights would take more than %lld multiplications now",
                      (long long)MOST_WORK);
}

/* Weights as [rows, columns] in f64. */
static double *as_doubles(gi_arena *a, const gi_node *n, const gi_blob *w)
{
    const int64_t rows = size(n, w, 0), columns = size(n, w, 1);
    double *y = GI_NEW_ARRAY(a, double, rows *columns);
    for (int64_t i = 0; y && i < rows; i++)
        for (int64_t j = 0; j < columns; j++)
            y[i * columns + j] =
                gi_load_f64(w->dtype, w->data, (size_t)(is_turned(n) ? j * rows + i : i * columns + j));
    return y;
}

static double bias_at(const gi_blob *b, int64_t i)
{
    return b ? gi_load_f64(b->dtype, b->data, gi_blob_elements(b) == 1 ? 0 : (size_t)i) : 0;
}

static gi_value *rounded(gi_rewrite *r, gopt_dtype t, int rank, const int64_t *dims, const double *x)
{
    gi_blob *b;
    if (gi_blob_create(r->g->cx, t, rank, dims, &b) != GOPT_OK)
        return NULL;
    for (size_t i = 0; i < (size_t)gi_blob_elements(b); i++)
        gi_store_f64(t, b->owned, i, x[i]);
    return gi_rw_const(r, b, NULL);
}

static gi_value *make_one(gi_rewrite *r, const gi_match *m)
{
    const gi_node *first = gi_value_node(m->c), *second = m->root;
    const gi_blob *w = gi_value_blob(m->w), *v = gi_value_blob(m->v), *b = gi_value_blob(m->b),
                  *d = gi_value_blob(m->d);
    const int64_t dims[2] = { size(first, w, 0), size(second, v, 1) }, mid = size(first, w, 1);
    const double *x = as_doubles(r->scratch, first, w), *y = as_doubles(r->scratch, second, v);
    double *product = GI_NEW_ARRAY(r->scratch, double, dims[0] * dims[1]);
    double *bias = GI_NEW_ARRAY(r->scratch, double, dims[1]);
    if (!x || !y || !product || !bias)
        return NULL;
    memset(product, 0, (size_t)(dims[0] * dims[1]) * sizeof *product);
    gi_gemm_f64(dims[0], dims[1], mid, x, mid, y, dims[1], product, dims[1]);
    for (int64_t j = 0; j < dims[1]; j++) {
        bias[j] = bias_at(d, j);
        for (int64_t i = 0; b && i < mid; i++)
            bias[j] += bias_at(b, i) * y[i * dims[1] + j];
    }
    gi_value *k = rounded(r, w->dtype, 2, dims, product),
             *s = k && (b || d) ? rounded(r, w->dtype, 1, &dims[1], bias) : NULL;
    if (!k || ((b || d) && !s))
        return NULL;
    const bool gemm = first->op == OP_Gemm || second->op == OP_Gemm;
    gi_node *n = gi_rw_node(r, gemm ? OP_Gemm : OP_MatMul, gemm && s ? 3 : 2, (gi_value *[]){ m->x, k, s }, 1);
    if (!n)
        return NULL;
    n->name = second->name;
    gi_value *z = gi_rw_done(r, n);
    return z && s && !gemm ? gi_rw_build(r, OP_Add, 2, (gi_value *[]){ z, s }) : z;
}

#include "passes/rows.h"
#include "passes/rules/gemm.def"
