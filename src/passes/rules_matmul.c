/* Rules around matrix products: factors and shifts per column go into the weights, as around convolutions. */
#include <math.h>

#include "passes/layout.h"

/* Of a factor that goes into weights: where it stood behind the sum, sums of larger ones would not overflow. */
static const double LARGEST = 0x1p64;

static double element(const gi_blob *k, int64_t i)
{
    return gi_load_f64(k->dtype, k->data, gi_blob_elements(k) == 1 ? 0 : (size_t)i);
}

static bool is_real_float(const gi_blob *b)
{
    return gi_dtype_is_float(b->dtype) && gopt_dtype_bits(b->dtype) >= 16;
}

/* One number, or `n` of them along the last dim. */
static bool is_per_last(const gi_blob *k, int rank, int64_t n)
{
    if (!is_real_float(k) || k->rank > rank)
        return false;
    for (int i = 0; i < k->rank; i++)
        if (k->dims[i] != 1 && !(i == k->rank - 1 && k->dims[i] == n))
            return false;
    return true;
}

/* One row of f32, each element times or over its own factor, or all by the first where step is 0: in f32, where
 * product and quotient of two f32 round as they would from f64. */
static bool scale_row_f32(const float *w, float *to, int64_t n, const float *k, int64_t step, bool divide)
{
    bool finite = true;
    for (int64_t j = 0; j < n; j++) {
        const float f = k[j * step];
        finite &= fabsf(f) <= (float)LARGEST && (!divide || fabsf(f) >= 1 / (float)LARGEST);
    }
    if (divide)
        for (int64_t j = 0; j < n; j++)
            to[j] = w[j] / k[j * step];
    else
        for (int64_t j = 0; j < n; j++)
            to[j] = w[j] * k[j * step];
    return finite;
}

/* Elements from `at` on, n of them, times k[row], or each times its own where row is -1. False where a factor is
 * not finite. */
static bool scale_row(const gi_blob *w, void *to, int64_t at, int64_t n, const gi_blob *k, int64_t row, bool divide)
{
    bool finite = true;
    if (w->dtype == GOPT_F32 && k->dtype == GOPT_F32) {
        const bool one = gi_blob_elements(k) == 1;
        const float *factors = k->data;
        return scale_row_f32((const float *)w->data + at, (float *)to + at, n, factors + (one || row < 0 ? 0 : row),
                             row < 0 && !one, divide);
    }
    for (int64_t j = 0; j < n; j++) {
        const double f = element(k, row < 0 ? j : row), s = divide ? 1 / f : f;
        const size_t e = (size_t)(at + j);
        finite = finite && fabs(s) <= LARGEST;
        if (w->dtype == GOPT_F32)
            ((float *)to)[e] = (float)(divide ? ((const float *)w->data)[e] / f : ((const float *)w->data)[e] * s);
        else
            gi_store_f64(w->dtype, to, e, gi_load_f64(w->dtype, w->data, e) * s);
    }
    return finite;
}

/* The matrix w with element (i, j) times `k` of row i or column j; k is one number or one a row or column. */
static gi_value *scale_matrix(gi_rewrite *r, const gi_blob *w, const gi_blob *k, bool rows, bool divide)
{
    gi_blob *b;
    if (gi_blob_create(r->g->cx, w->dtype, w->rank, w->dims, &b) != GOPT_OK)
        return NULL;
    const int64_t m = w->dims[w->rank - 2], n = w->dims[w->rank - 1];
    const int64_t all = n ? gi_blob_elements(w) / n : 0;
    bool finite = true;
    for (int64_t i = 0; i < all; i++)
        finite = scale_row(w, b->owned, i * n, n, k, rows ? i % m : -1, divide) && finite;
    if (!finite) {
        gi_blob_unref(b);
        r->why = "the constant is not finite, or zero where it divides, or so large that sums might overflow";
        return NULL;
    }
    return gi_rw_const(r, b, w);
}

/* ---- Gemm from MatMul and Add ---- */

static bool bias_fits_gemm(const gi_match *m, gi_reason *why)
{
    (void)why;
    const gopt_dtype t = gi_value_dtype(m->x);
    if (gi_value_rank(m->x) != 2 || gi_value_rank(m->w) != 2 || gi_value_rank(m->b) > 2 || gi_value_rank(m->b) < 0 ||
        !gi_dtype_is_float(t) || gi_value_dtype(m->w) != t || gi_value_dtype(m->b) != t)
        return false;
    /* The bias broadcasts to the product, and does not widen it. */
    const gi_node *product = m->nodes[1];
    return gi_type_same(m->g, product->out[0]->type, m->root->out[0]->type);
}

static gi_value *make_gemm(gi_rewrite *r, const gi_match *m)
{
    gi_node *n = gi_rw_node(r, OP_Gemm, 3, (gi_value *[]){ m->x, m->w, m->b }, 1);
    if (!n)
        return NULL;
    n->name = m->nodes[1]->name;
    return gi_rw_done(r, n);
}

/* ---- MatMul with constants ---- */

static bool is_weight(const gi_match *m, gi_reason *why)
{
    const gi_blob *w = gi_value_blob(m->w), *k = gi_value_blob(m->k);
    if (w->rank < 2 || !is_real_float(w) || k->dtype != w->dtype)
        return false;
    return m->w->n_uses == 1 ||
           gi_decline(why, "its weights %s are used elsewhere too", gi_value_ref(m->w, m->scratch));
}

static bool factor_is_per_column(const gi_match *m, gi_reason *why)
{
    const gi_blob *w = gi_value_blob(m->w), *k = gi_value_blob(m->k);
    if (!is_weight(m, why))
        return false;
    if (m->root->op == OP_Div && gi_node_in(m->root, 0) != m->c)
        return false;
    return is_per_last(k, gi_value_rank(m->c), w->dims[w->rank - 1]) ||
           gi_decline(why, "its constant %s is not one value per column", gi_value_ref(m->k, m->scratch));
}

static gi_value *fold_columns(gi_rewrite *r, const gi_match *m)
{
    gi_value *w = scale_matrix(r, gi_value_blob(m->w), gi_value_blob(m->k), false, m->root->op == OP_Div);
    gi_node *n = w ? gi_rw_node(r, OP_MatMul, 2, (gi_value *[]){ m->x, w }, 1) : NULL;
    if (!n)
        return NULL;
    n->name = gi_value_node(m->c)->name;
    return gi_rw_done(r, n);
}

static bool factor_is_scalar(const gi_match *m, gi_reason *why)
{
    const gi_blob *k = gi_value_blob(m->k), *b = gi_value_blob(m->b), *w = gi_value_blob(m->w);
    return gi_blob_elements(k) == 1 && k->rank <= gi_value_rank(m->c) && b->dtype == w->dtype && b->rank >= 1 &&
           is_weight(m, why);
}

static gi_value *fold_biased_columns(gi_rewrite *r, const gi_match *m)
{
    const bool divide = m->root->op == OP_Div;
    const gi_blob *bias = gi_value_blob(m->b), *k = gi_value_blob(m->k);
    gi_value *w = scale_matrix(r, gi_value_blob(m->w), k, false, divide);
    gi_blob *b;
    if (!w || gi_blob_create(r->g->cx, bias->dtype, bias->rank, bias->dims, &b) != GOPT_OK)
        return NULL;
    for (int64_t i = 0; i < gi_blob_elements(bias); i++) {
        const double x = gi_load_f64(bias->dtype, bias->data, (size_t)i);
        gi_store_f64(bias->dtype, b->owned, (size_t)i, divide ? x / element(k, 0) : x * element(k, 0));
    }
    gi_value *scaled = gi_rw_const(r, b, bias);
    gi_value *product = scaled ? gi_rw_build(r, OP_MatMul, 2, (gi_value *[]){ m->x, w }) : NULL;
    if (!product)
        return NULL;
    product->def.node->name = gi_value_node(m->c)->name;
    return gi_rw_build(r, OP_Add, 2, (gi_value *[]){ product, scaled });
}

static bool factor_is_per_row(const gi_match *m, gi_reason *why)
{
    const gi_blob *w = gi_value_blob(m->w), *k = gi_value_blob(m->k);
    if (!is_weight(m, why) || !gi_type_same(m->g, m->x->type, m->y->type))
        return false;
    if (gi_value_node(m->y)->op == OP_Div && gi_node_in(gi_value_node(m->y), 0) != m->x)
        return false;
    return is_per_last(k, gi_value_rank(m->x), w->dims[w->rank - 2]) ||
           gi_decline(why, "the constant %s before it is not one value per row of its weights",
                      gi_value_ref(m->k, m->scratch));
}

static gi_value *fold_rows(gi_rewrite *r, const gi_match *m)
{
    gi_value *w = scale_matrix(r, gi_value_blob(m->w), gi_value_blob(m->k), true, gi_value_node(m->y)->op == OP_Div);
    return w ? gi_rw_build(r, OP_MatMul, 2, (gi_value *[]){ m->x, w }) : NULL;
}

/* ---- Gemm with constants ---- */

static bool has_unit_scales(const gi_node *gemm)
{
    return gi_attr_float(gemm, Gemm_at_alpha) == 1.0f && gi_attr_float(gemm, Gemm_at_beta) == 1.0f;
}

static int64_t columns(const gi_node *gemm, const gi_blob *w)
{
    return w->rank == 2 ? w->dims[gi_attr_int(gemm, Gemm_at_transB) ? 0 : 1] : -1;
}

static bool gemm_fits(const gi_match *m, const gi_node *gemm)
{
    const gi_blob *w = gi_value_blob(m->w), *b = gi_value_blob(m->b);
    const int64_t n = columns(gemm, w);
    return n >= 0 && is_real_float(w) && has_unit_scales(gemm) && m->w->n_uses == 1 &&
           (!b || (b->dtype == w->dtype && is_per_last(b, 2, n)));
}

static bool gemm_factor_fits(const gi_match *m, gi_reason *why)
{
    const gi_node *gemm = gi_value_node(m->c);
    const gi_blob *w = gi_value_blob(m->w), *k = gi_value_blob(m->k);
    if (!gemm_fits(m, gemm) || k->dtype != w->dtype)
        return false;
    if (m->root->op == OP_Div && gi_node_in(m->root, 0) != m->c)
        return false;
    return is_per_last(k, 2, columns(gemm, w)) ||
           gi_decline(why, "its constant %s is not one value per column", gi_value_ref(m->k, m->scratch));
}

/* b·scale + shift for the n columns of a product, b being 0 where NULL, and into *scaled w·scale; rows: the columns are
 * the rows of w. NULL where there is no memory. */
static gi_value *scaled_bias(gi_rewrite *r, const gi_blob *w, const gi_blob *b, int64_t n, bool rows,
                             const double *scale, const double *shift, gi_value **scaled)
{
    gi_blob *factors, *bias;
    *scaled = NULL;
    if (gi_blob_create(r->g->cx, GOPT_F64, 1, &n, &factors) != GOPT_OK)
        return NULL;
    if (n)
        memcpy(factors->owned, scale, (size_t)n * sizeof *scale);
    *scaled = scale_matrix(r, w, factors, rows, false);
    gi_blob_unref(factors);
    if (!*scaled || gi_blob_create(r->g->cx, w->dtype, 1, &n, &bias) != GOPT_OK)
        return NULL;
    for (int64_t i = 0; i < n; i++)
        gi_store_f64(w->dtype, bias->owned, (size_t)i, (b ? element(b, i) : 0) * scale[i] + shift[i]);
    return gi_rw_const(r, bias, NULL);
}

/* Gemm(x, w·scale, b·scale + shift), per column. */
static gi_value *gemm_affine(gi_rewrite *r, const gi_match *m, const double *scale, const double *shift)
{
    const gi_node *gemm = gi_value_node(m->c);
    const gi_blob *w = gi_value_blob(m->w), *b = gi_value_blob(m->b);
    const int64_t n = columns(gemm, w);
    const bool rows = gi_attr_int(gemm, Gemm_at_transB) != 0;
    gi_value *scaled, *c = scaled_bias(r, w, b, n, rows, scale, shift, &scaled);
    gi_node *y = c ? gi_rw_node(r, OP_Gemm, 3, (gi_value *[]){ m->x, scaled, c }, 1) : NULL;
    if (!y || !gi_attrs_copy(y, gemm))
        return NULL;
    y->name = gemm->name;
    return gi_rw_done(r, y);
}

static gi_value *fold_gemm(gi_rewrite *r, const gi_match *m)
{
    const gi_blob *k = gi_value_blob(m->k);
    const int64_t n = columns(gi_value_node(m->c), gi_value_blob(m->w));
    double *scale = GI_NEW_ARRAY(r->scratch, double, n), *shift = GI_NEW_ARRAY(r->scratch, double, n);
    if (!scale || !shift)
        return NULL;
    for (int64_t i = 0; i < n; i++) {
        const double x = element(k, i);
        scale[i] = m->root->op == OP_Mul ? x : m->root->op == OP_Div ? 1 / x : 1;
        shift[i] = m->root->op == OP_Add ? x : 0;
    }
    return gemm_affine(r, m, scale, shift);
}

static bool batchnorm_fits_gemm(const gi_match *m, gi_reason *why)
{
    const int64_t n = columns(gi_value_node(m->c), gi_value_blob(m->w));
    const gi_value *const parts[] = { m->s, m->o, m->m, m->v };
    if (gi_attr_int(m->root, BatchNormalization_at_training_mode))
        return gi_decline(why, "the normalization is in training mode");
    for (size_t i = 0; i < GI_COUNT(parts); i++)
        if (!is_real_float(gi_value_blob(parts[i])) || gi_blob_elements(gi_value_blob(parts[i])) != n)
            return false;
    return gemm_fits(m, gi_value_node(m->c));
}

/* What the normalization does to each channel: scale·x + shift. */
static bool read_batchnorm(gi_rewrite *r, const gi_match *m, double **scale, double **shift)
{
    const gi_blob *s = gi_value_blob(m->s), *o = gi_value_blob(m->o), *mean = gi_value_blob(m->m),
                  *var = gi_value_blob(m->v);
    const int64_t n = gi_blob_elements(s);
    const double epsilon = (double)gi_attr_float(m->root, BatchNormalization_at_epsilon);
    *scale = GI_NEW_ARRAY(r->scratch, double, n);
    *shift = GI_NEW_ARRAY(r->scratch, double, n);
    for (int64_t i = 0; *scale && *shift && i < n; i++) {
        (*scale)[i] = element(s, i) / sqrt(element(var, i) + epsilon);
        (*shift)[i] = element(o, i) - element(mean, i) * (*scale)[i];
    }
    return *scale && *shift;
}

static gi_value *fold_gemm_batchnorm(gi_rewrite *r, const gi_match *m)
{
    double *scale, *shift;
    return read_batchnorm(r, m, &scale, &shift) ? gemm_affine(r, m, scale, shift) : NULL;
}

/* ---- BatchNormalization of a product that was given another shape ---- */

/* Is the result's dim 1 the source's last dim, element for element? */
static bool channels_are_columns(const gi_layout *l)
{
    const int last = l->source->rank - 1;
    const uint32_t from = last > 0 ? l->from_end[last - 1] : 0, to = l->rank > 1 ? l->to_end[0] : 0;
    const uint32_t n = last >= 0 ? l->from_end[last] - from : 0;
    return last >= 0 && l->rank > 1 && l->to_end[1] - to == n && !memcmp(l->from + from, l->to + to, n);
}

/* The product, with its bias, behind moves from which the normalized value comes. */
static bool find_product(gi_match *m, gi_reason *why)
{
    gi_origin *o = GI_NEW(m->scratch, gi_origin);
    if (!o || !gi_origin_find(o, m->g, m->y) || o->count || o->moves > 8)
        return false;
    gi_node *n = gi_value_node(o->x), *sum = n && n->op == OP_Add ? n : NULL;
    if (m->y->n_uses != 1 || o->x->n_uses != 1)
        return n && (n->op == OP_MatMul || (n->op == OP_Gemm && o->moves)) &&
               gi_decline(why, "the product %s is read elsewhere too", gi_node_label(n, m->scratch));
    for (gi_value *v = m->y; v != o->x; v = gi_node_in(gi_value_node(v), 0))
        m->nodes[m->n_nodes++] = gi_value_node(v);
    if (sum) {
        const uint32_t bias = gi_value_blob(gi_node_in(sum, 0)) ? 0 : 1;
        m->b = gi_node_in(sum, bias);
        n = gi_value_node(gi_node_in(sum, 1 - bias));
        m->nodes[m->n_nodes++] = sum;
        if (!n || n->op != OP_MatMul || n->out[0]->n_uses != 1 || !gi_value_blob(m->b))
            return false;
    }
    if (!n || n->block != m->root->block || (n->op != OP_MatMul && (n->op != OP_Gemm || !o->moves)))
        return false;
    m->nodes[m->n_nodes++] = n;
    m->c = n->out[0];
    m->x = gi_node_in(n, 0);
    m->w = gi_node_in(n, 1);
    m->b = n->op == OP_Gemm ? gi_node_in(n, 2) : m->b;
    m->data = o;
    if (!gi_value_blob(m->w) || (m->b && !gi_value_blob(m->b)) || !is_real_float(gi_value_blob(m->w)))
        return false;
    return channels_are_columns(&o->l) ||
           gi_decline(why, "what it takes for channels are no columns of the product %s", gi_node_label(n, m->scratch));
}

static bool batchnorm_fits_product(const gi_match *m, gi_reason *why)
{
    const gi_node *product = gi_value_node(m->c);
    const gi_blob *w = gi_value_blob(m->w), *b = gi_value_blob(m->b);
    const gi_value *const parts[] = { m->s, m->o, m->m, m->v };
    if (product->op == OP_Gemm)
        return batchnorm_fits_gemm(m, why);
    if (gi_attr_int(m->root, BatchNormalization_at_training_mode))
        return gi_decline(why, "the normalization is in training mode");
    if (w->rank < 2 || (b && (b->dtype != w->dtype || !is_per_last(b, gi_value_rank(m->c), w->dims[w->rank - 1]))))
        return false;
    for (size_t i = 0; i < GI_COUNT(parts); i++)
        if (!is_real_float(gi_value_blob(parts[i])) ||
            gi_blob_elements(gi_value_blob(parts[i])) != w->dims[w->rank - 1])
            return false;
    return m->w->n_uses == 1 ||
           gi_decline(why, "its weights %s are used elsewhere too", gi_value_ref(m->w, m->scratch));
}

/* x·(w·scale) + (b·scale + shift), per column. */
static gi_value *matmul_affine(gi_rewrite *r, const gi_match *m, const double *scale, const double *shift)
{
    const gi_blob *w = gi_value_blob(m->w), *b = gi_value_blob(m->b);
    const int64_t n = w->dims[w->rank - 1];
    gi_value *scaled, *c = scaled_bias(r, w, b, n, false, scale, shift, &scaled);
    gi_node *y = c ? gi_rw_node(r, OP_MatMul, 2, (gi_value *[]){ m->x, scaled }, 1) : NULL;
    if (!y)
        return NULL;
    y->name = gi_value_node(m->c)->name;
    gi_value *product = gi_rw_done(r, y);
    return product ? gi_rw_build(r, OP_Add, 2, (gi_value *[]){ product, c }) : NULL;
}

static gi_value *fold_moved_batchnorm(gi_rewrite *r, const gi_match *m)
{
    const gi_origin *o = m->data;
    double *scale, *shift;
    if (!read_batchnorm(r, m, &scale, &shift))
        return NULL;
    gi_value *y =
        gi_value_node(m->c)->op == OP_Gemm ? gemm_affine(r, m, scale, shift) : matmul_affine(r, m, scale, shift);
    return y ? gi_layout_build(r, &o->l, y) : NULL;
}

/* ---- transposed weights ---- */

static bool transpose_swaps_two(const gi_match *m, gi_reason *why)
{
    (void)why;
    return gi_value_rank(m->w) == 2 && gi_swaps_last_two(m->nodes[1]);
}

static gi_value *fold_transpose(gi_rewrite *r, const gi_match *m)
{
    gi_node *n = gi_rw_node(r, OP_Gemm, m->b ? 3 : 2, (gi_value *[]){ m->x, m->w, m->b }, 1);
    if (!n || !gi_attrs_copy(n, m->root))
        return NULL;
    n->name = m->root->name;
    gi_attr_set_int(n, Gemm_at_transB, !gi_attr_int(m->root, Gemm_at_transB));
    return gi_rw_done(r, n);
}

#include "passes/rows.h"
#include "passes/rules/matmul.def"
