/* Rules around convolutions.
 *
 * Behind one: each output channel c of Conv(x, w, b) times k[c] plus d[c] is Conv(x, w·k, b·k + d). BatchNorm is
 * that with k = s / √(v + ε), d = o − m·k; so is arithmetic with a constant per channel.
 *
 * Before one: x·k is w·k[input channel], padding included, since zeros stay zeros. x + k is b + Σ w·k, but only
 * where nothing is padded: the padding is not shifted.
 *
 * New weights are computed in double and rounded once. */
#include <math.h>

#include "ops/gemm.h"
#include "passes/rule.h"

static const int64_t MOST_WORK = (int64_t)1 << 31; /* multiplications at compile time */

/* ---- output channels ---- */

static bool is_transposed(const gi_node *conv)
{
    return conv->op == OP_ConvTranspose;
}

static int64_t groups(const gi_node *conv)
{
    return is_transposed(conv) ? gi_attr_int(conv, ConvTranspose_at_group) : gi_attr_int(conv, Conv_at_group);
}

/* Weights are [M, C/group, …], or [C, M/group, …] transposed. 0 where they make no sense. */
static int64_t output_channels(const gi_node *conv, const gi_blob *w)
{
    const int64_t g = groups(conv);
    int64_t m = 0;
    if (w->rank < 3 || g < 1 || w->dims[0] % g || !gi_dtype_is_float(w->dtype) || gopt_dtype_bits(w->dtype) < 16)
        return 0;
    return !is_transposed(conv) ? w->dims[0] : gi_mul_i64(w->dims[1], g, &m) ? m : 0;
}

/* A constant that has one value per output channel, or one for all, when broadcast against the result. */
static bool is_per_channel(const gi_blob *k, int rank, int64_t channels)
{
    if (k->rank > rank || !gi_dtype_is_float(k->dtype))
        return false;
    for (int i = 0; i < k->rank; i++) {
        const int axis = rank - k->rank + i;
        if (k->dims[i] != 1 && !(axis == 1 && k->dims[i] == channels))
            return false;
    }
    return true;
}

static double element(const gi_blob *k, int64_t i)
{
    return gi_load_f64(k->dtype, k->data, gi_blob_elements(k) == 1 ? 0 : (size_t)i);
}

/* w with the elements of output channel c times scale[c]. */
static gi_value *scale_weights(gi_rewrite *r, const gi_node *conv, const gi_blob *w, const double *scale)
{
    gi_blob *b;
    if (gi_blob_create(r->g->cx, w->dtype, w->rank, w->dims, &b) != GOPT_OK)
        return NULL;
    const int64_t g = groups(conv), rows = w->dims[0], cols = w->dims[1];
    const size_t run = rows && cols ? (size_t)(gi_blob_elements(w) / rows / cols) : 0;
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < cols; j++) {
            const int64_t channel = is_transposed(conv) ? i / (rows / g) * cols + j : i;
            const size_t at = (size_t)(i * cols + j) * run;
            const double s = scale[channel];
            if (w->dtype == GOPT_F32) {
                const float *from = (const float *)w->data + at;
                float *to = (float *)b->owned + at;
                for (size_t k = 0; k < run; k++)
                    to[k] = (float)(from[k] * s);
            } else {
                for (size_t k = 0; k < run; k++)
                    gi_store_f64(w->dtype, b->owned, at + k, gi_load_f64(w->dtype, w->data, at + k) * s);
            }
        }
    return gi_rw_const(r, b, w);
}

static gi_value *make_bias(gi_rewrite *r, gopt_dtype t, int64_t n, const double *bias)
{
    gi_blob *b;
    if (gi_blob_create(r->g->cx, t, 1, &n, &b) != GOPT_OK)
        return NULL;
    for (int64_t i = 0; i < n; i++)
        gi_store_f64(t, b->owned, (size_t)i, bias[i]);
    return gi_rw_const(r, b, NULL);
}

/* The convolution again, with other inputs. */
static gi_value *remake(gi_rewrite *r, const gi_node *conv, gi_value *x, gi_value *w, gi_value *b)
{
    gi_node *n = w && b ? gi_rw_node(r, conv->op, 3, (gi_value *[]){ x, w, b }, 1) : NULL;
    if (!n || !gi_attrs_copy(n, conv))
        return NULL;
    n->name = conv->name;
    return gi_rw_done(r, n);
}

/* Conv·scale + shift, by the weights. `scale` may be NULL for 1. */
static gi_value *affine(gi_rewrite *r, const gi_match *m, const double *scale, const double *shift)
{
    const gi_node *conv = gi_value_node(m->c);
    const gi_blob *w = gi_value_blob(m->w), *b = gi_value_blob(m->b);
    const int64_t channels = output_channels(conv, w);
    double *bias = GI_NEW_ARRAY(r->scratch, double, channels);
    if (!bias)
        return NULL;
    for (int64_t i = 0; i < channels; i++)
        bias[i] = (b ? element(b, i) : 0) * (scale ? scale[i] : 1) + shift[i];
    return remake(r, conv, m->x, scale ? scale_weights(r, conv, w, scale) : m->w,
                  make_bias(r, w->dtype, channels, bias));
}

static bool bias_fits(const gi_blob *b, int64_t channels)
{
    return !b || (gi_blob_elements(b) == channels && gi_dtype_is_float(b->dtype));
}

static bool batchnorm_fits(const gi_match *m, gi_reason *why)
{
    const gi_blob *w = gi_value_blob(m->w);
    const int64_t channels = output_channels(gi_value_node(m->c), w);
    const gi_value *const parts[] = { m->s, m->o, m->m, m->v };
    if (gi_attr_int(m->root, BatchNormalization_at_training_mode))
        return gi_decline(why, "the normalization is in training mode");
    if (!channels || !bias_fits(gi_value_blob(m->b), channels))
        return false;
    for (size_t i = 0; i < GI_COUNT(parts); i++) {
        const gi_blob *p = gi_value_blob(parts[i]);
        if (!gi_dtype_is_float(p->dtype))
            return false;
        if (gi_blob_elements(p) != channels)
            return gi_decline(why, "the convolution has %lld channels, the normalization %lld", (long long)channels,
                              (long long)gi_blob_elements(p));
    }
    return true;
}

static gi_value *fold_batchnorm(gi_rewrite *r, const gi_match *m)
{
    const gi_blob *s = gi_value_blob(m->s), *o = gi_value_blob(m->o), *mean = gi_value_blob(m->m),
                  *var = gi_value_blob(m->v);
    const int64_t n = gi_blob_elements(s);
    const double epsilon = (double)gi_attr_float(m->root, BatchNormalization_at_epsilon);
    double *scale = GI_NEW_ARRAY(r->scratch, double, n), *shift = GI_NEW_ARRAY(r->scratch, double, n);
    if (!scale || !shift)
        return NULL;
    for (int64_t i = 0; i < n; i++) {
        scale[i] = element(s, i) / sqrt(element(var, i) + epsilon);
        shift[i] = element(o, i) - element(mean, i) * scale[i];
        if (!isfinite(scale[i]) || !isfinite(shift[i])) {
            r->why = "the normalization of a channel is not finite";
            return NULL;
        }
    }
    return affine(r, m, scale, shift);
}

static bool factor_is_per_channel(const gi_match *m, gi_reason *why)
{
    const gi_node *conv = gi_value_node(m->c);
    const gi_blob *w = gi_value_blob(m->w), *k = gi_value_blob(m->k);
    const int64_t channels = output_channels(conv, w);
    if (!channels || !bias_fits(gi_value_blob(m->b), channels) || k->dtype != w->dtype)
        return false;
    return is_per_channel(k, gi_value_rank(m->c), channels) ||
           gi_decline(why, "its constant %s is not one value per channel", gi_value_ref(m->k, m->scratch));
}

static gi_value *fold_arithmetic(gi_rewrite *r, const gi_match *m)
{
    const gi_node *conv = gi_value_node(m->c);
    const gi_blob *k = gi_value_blob(m->k);
    const int64_t n = output_channels(conv, gi_value_blob(m->w));
    double *scale = GI_NEW_ARRAY(r->scratch, double, n), *shift = GI_NEW_ARRAY(r->scratch, double, n);
    if (!scale || !shift)
        return NULL;
    const bool scales = m->root->op == OP_Mul || m->root->op == OP_Div;
    for (int64_t i = 0; i < n; i++) {
        const double x = element(k, i);
        scale[i] = m->root->op == OP_Mul ? x : m->root->op == OP_Div ? 1 / x : 1;
        shift[i] = m->root->op == OP_Add ? x : m->root->op == OP_Sub ? -x : 0;
        if (!isfinite(scale[i]) || !isfinite(shift[i])) {
            r->why = "the constant is not finite, or zero where it divides";
            return NULL;
        }
    }
    return affine(r, m, scales ? scale : NULL, shift);
}

/* ---- input channels ---- */

static bool has_no_pads(const gi_node *conv)
{
    const int64_t *pads;
    const uint32_t n = gi_attr_ints(conv, Conv_at_pads, &pads);
    if (gi_attr_is(conv, Conv_at_auto_pad, "VALID"))
        return true;
    if (!gi_attr_is(conv, Conv_at_auto_pad, "NOTSET"))
        return false;
    for (uint32_t i = 0; i < n; i++)
        if (pads[i])
            return false;
    return true;
}

static bool input_factor_fits(const gi_match *m, gi_reason *why)
{
    const gi_blob *w = gi_value_blob(m->w), *k = gi_value_blob(m->k);
    const gi_node *arithmetic = gi_value_node(m->y);
    int64_t channels;
    if (!output_channels(m->root, w) || !gi_mul_i64(w->dims[1], groups(m->root), &channels) ||
        !bias_fits(gi_value_blob(m->b), output_channels(m->root, w)) || k->dtype != w->dtype ||
        !gi_type_same(m->g, m->x->type, m->y->type))
        return false;
    if (!is_per_channel(k, gi_value_rank(m->x), channels))
        return gi_decline(why, "the constant %s before it is not one value per channel",
                          gi_value_ref(m->k, m->scratch));
    if ((arithmetic->op == OP_Add || arithmetic->op == OP_Sub) && !has_no_pads(m->root))
        return gi_decline(why, "it pads with zeros, which %s would have shifted too",
                          gi_node_label(arithmetic, m->scratch));
    if (arithmetic->op == OP_Sub && gi_node_in(arithmetic, 0) != m->x)
        return false;
    if (m->w->n_uses != 1)
        return gi_decline(why, "its weights %s are used elsewhere too", gi_value_ref(m->w, m->scratch));
    return true;
}

static gi_value *fold_input_factor(gi_rewrite *r, const gi_match *m, bool divides)
{
    const gi_blob *w = gi_value_blob(m->w), *k = gi_value_blob(m->k);
    const int64_t rows = w->dims[0], cols = w->dims[1], per_group = rows / groups(m->root);
    const size_t run = rows && cols ? (size_t)(gi_blob_elements(w) / rows / cols) : 0;
    gi_blob *b;
    if (gi_blob_create(r->g->cx, w->dtype, w->rank, w->dims, &b) != GOPT_OK)
        return NULL;
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; j < cols; j++) {
            const double x = element(k, i / per_group * cols + j);
            const size_t at = (size_t)(i * cols + j) * run;
            for (size_t e = at; e < at + run; e++) {
                const double y = gi_load_f64(w->dtype, w->data, e);
                gi_store_f64(w->dtype, b->owned, e, divides ? y / x : y * x);
            }
        }
    for (int64_t i = 0; i < gi_blob_elements(k); i++)
        if (!isfinite(divides ? 1 / element(k, i) : element(k, i))) {
            gi_blob_unref(b);
            r->why = "the constant is not finite, or zero where it divides";
            return NULL;
        }
    gi_value *scaled = gi_rw_const(r, b, w);
    if (!scaled)
        return NULL;
    gi_node *n = gi_rw_node(r, OP_Conv, m->b ? 3 : 2, (gi_value *[]){ m->x, scaled, m->b }, 1);
    if (!n || !gi_attrs_copy(n, m->root))
        return NULL;
    n->name = m->root->name;
    return gi_rw_done(r, n);
}

static gi_value *fold_input_shift(gi_rewrite *r, const gi_match *m, double sign)
{
    const gi_blob *w = gi_value_blob(m->w), *k = gi_value_blob(m->k), *b = gi_value_blob(m->b);
    const int64_t rows = w->dims[0], cols = w->dims[1], per_group = rows / groups(m->root);
    const size_t run = rows && cols ? (size_t)(gi_blob_elements(w) / rows / cols) : 0;
    double *bias = GI_NEW_ARRAY(r->scratch, double, rows);
    if (!bias)
        return NULL;
    for (int64_t i = 0; i < rows; i++) {
        bias[i] = b ? element(b, i) : 0;
        for (int64_t j = 0; j < cols; j++) {
            const double x = sign * element(k, i / per_group * cols + j);
            const size_t at = (size_t)(i * cols + j) * run;
            for (size_t e = at; e < at + run; e++)
                bias[i] += gi_load_f64(w->dtype, w->data, e) * x;
        }
    }
    return remake(r, m->root, m->x, m->w, make_bias(r, w->dtype, rows, bias));
}

static gi_value *fold_input(gi_rewrite *r, const gi_match *m)
{
    const gi_opcode op = gi_value_node(m->y)->op;
    if (op == OP_Mul || op == OP_Div)
        return fold_input_factor(r, m, op == OP_Div);
    return fold_input_shift(r, m, op == OP_Add ? 1 : -1);
}

/* ---- two convolutions in a row ---- */

static bool is_pointwise(const gi_blob *w)
{
    for (int i = 2; i < w->rank; i++)
        if (w->dims[i] != 1)
            return false;
    return true;
}

static bool strides_by_one(const gi_node *conv)
{
    const int64_t *strides;
    const uint32_t n = gi_attr_ints(conv, Conv_at_strides, &strides);
    for (uint32_t i = 0; i < n; i++)
        if (strides[i] != 1)
            return false;
    return true;
}

/* May what pads the second convolution stay? Zeros are what a first one without bias makes of zeros. */
static bool pads_are_alike(const gi_match *m)
{
    return has_no_pads(m->root) || !m->b || gi_blob_all(gi_value_blob(m->b), 0);
}

/* Which of the two has a kernel of one place: the second, then the result's window is the first one's; or the first. */
static bool one_is_pointwise(const gi_match *m, bool *second, gi_reason *why)
{
    const gi_node *first = gi_value_node(m->c);
    *second = is_pointwise(gi_value_blob(m->v)) && has_no_pads(m->root) &&
              (strides_by_one(m->root) || gi_attr_is(first, Conv_at_auto_pad, "NOTSET") ||
               gi_attr_is(first, Conv_at_auto_pad, "VALID"));
    if (*second)
        return true;
    if (!is_pointwise(gi_value_blob(m->w)) || !has_no_pads(first) || !strides_by_one(first))
        return false;
    return pads_are_alike(m) ||
           gi_decline(why, "it pads with zeros, where %s would have its bias", gi_node_label(first, m->scratch));
}

static bool convs_are_one(const gi_match *m, gi_reason *why)
{
    const gi_node *first = gi_value_node(m->c);
    const gi_blob *w = gi_value_blob(m->w), *v = gi_value_blob(m->v);
    int64_t one, work;
    bool second;
    if (output_channels(first, w) < 1 || output_channels(m->root, v) < 1 || groups(first) != 1 ||
        groups(m->root) != 1 || w->dtype != v->dtype || w->rank != v->rank || v->dims[1] != w->dims[0] ||
        !bias_fits(gi_value_blob(m->b), w->dims[0]) || !bias_fits(gi_value_blob(m->d), v->dims[0]) ||
        !one_is_pointwise(m, &second, why))
        return false;
    if (m->w->n_uses != 1 || m->v->n_uses != 1)
        return gi_decline(why, "its weights %s are used elsewhere too",
                          gi_value_ref(m->w->n_uses != 1 ? m->w : m->v, m->scratch));
    const int64_t two = gi_blob_elements(w) + gi_blob_elements(v), ins = w->dims[1], mid = w->dims[0],
                  outs = v->dims[0];
    const int64_t window = (second ? gi_blob_elements(w) : gi_blob_elements(v)) / (second ? mid * ins : mid * outs);
    if (!ins || !mid || !outs || !gi_mul_i64(outs, ins, &one) || !gi_mul_i64(one, window, &one))
        return false;
    if (one > two)
        return gi_decline(why, "one convolution would take %lld multiplications for each place, the two take %lld",
                          (long long)one, (long long)two);
    return (gi_mul_i64(one, mid, &work) && work <= MOST_WORK) ||
           gi_decline(why, "the product of the weights would take more than %lld multiplications now",
                      (long long)MOST_WORK);
}

static double *as_doubles(gi_arena *a, const gi_blob *w)
{
    double *y = GI_NEW_ARRAY(a, double, gi_blob_elements(w));
    for (int64_t i = 0; y && i < gi_blob_elements(w); i++)
        y[i] = gi_load_f64(w->dtype, w->data, (size_t)i);
    return y;
}

/* The weights of both: w'[o,i,p] = Σ v[o,m] · w[m,i,p], or Σ v[o,m,p] · w[m,i]. */
static gi_value *weights_of_both(gi_rewrite *r, const gi_match *m, bool second)
{
    const gi_blob *w = gi_value_blob(m->w), *v = gi_value_blob(m->v);
    const int64_t ins = w->dims[1], mid = w->dims[0], outs = v->dims[0];
    const double *x = as_doubles(r->scratch, w), *y = as_doubles(r->scratch, v);
    int64_t dims[GOPT_MAX_RANK];
    memcpy(dims, second ? w->dims : v->dims, (size_t)w->rank * sizeof *dims);
    dims[0] = outs;
    dims[1] = ins;
    gi_blob *b;
    if (!x || !y || gi_blob_create(r->g->cx, w->dtype, w->rank, dims, &b) != GOPT_OK)
        return NULL;
    const int64_t n = gi_blob_elements(b), window = n / outs / ins;
    double *z = GI_NEW_ARRAY(r->scratch, double, n), *turned = GI_NEW_ARRAY(r->scratch, double, mid *ins);
    if (!z || !turned) {
        gi_blob_unref(b);
        return NULL;
    }
    memset(z, 0, (size_t)n * sizeof *z);
    if (second) {
        gi_gemm_f64(outs, ins * window, mid, y, mid, x, ins * window, z, ins * window);
    } else {
        for (int64_t i = 0; i < mid * ins; i++)
            turned[i % ins * mid + i / ins] = x[i];
        for (int64_t o = 0; o < outs; o++)
            gi_gemm_f64(ins, window, mid, turned, mid, y + o * mid * window, window, z + o * ins * window, window);
    }
    for (int64_t i = 0; i < n; i++)
        gi_store_f64(w->dtype, b->owned, (size_t)i, z[i]);
    return gi_rw_const(r, b, NULL);
}

static gi_value *bias_of_both(gi_rewrite *r, const gi_match *m)
{
    const gi_blob *v = gi_value_blob(m->v), *b = gi_value_blob(m->b), *d = gi_value_blob(m->d);
    const int64_t outs = v->dims[0], mid = v->dims[1], window = gi_blob_elements(v) / outs / mid;
    double *bias = GI_NEW_ARRAY(r->scratch, double, outs);
    for (int64_t o = 0; bias && o < outs; o++) {
        bias[o] = d ? element(d, o) : 0;
        for (int64_t i = 0; b && i < mid * window; i++)
            bias[o] += gi_load_f64(v->dtype, v->data, (size_t)(o * mid * window + i)) * element(b, i / window);
    }
    return bias ? make_bias(r, v->dtype, outs, bias) : NULL;
}

static gi_value *make_one_conv(gi_rewrite *r, const gi_match *m)
{
    const gi_node *first = gi_value_node(m->c);
    gi_reason why = { .arena = r->scratch };
    bool second;
    if (!one_is_pointwise(m, &second, &why))
        return NULL;
    gi_value *w = weights_of_both(r, m, second), *b = w && (m->b || m->d) ? bias_of_both(r, m) : NULL;
    if (!w || ((m->b || m->d) && !b))
        return NULL;
    gi_node *n = gi_rw_node(r, OP_Conv, b ? 3 : 2, (gi_value *[]){ m->x, w, b }, 1);
    if (!n || !gi_attrs_copy(n, second ? first : m->root))
        return NULL;
    if (second && !strides_by_one(m->root)) {
        int64_t strides[GOPT_MAX_RANK];
        const int64_t *one, *two;
        const uint32_t rank = (uint32_t)gi_value_blob(m->w)->rank - 2,
                       n_one = gi_attr_ints(first, Conv_at_strides, &one),
                       n_two = gi_attr_ints(m->root, Conv_at_strides, &two);
        for (uint32_t i = 0; i < rank; i++)
            if (!gi_mul_i64(i < n_one ? one[i] : 1, i < n_two ? two[i] : 1, &strides[i]))
                return NULL;
        if (!gi_attr_set_ints(n, Conv_at_strides, rank, strides))
            return NULL;
    }
    n->name = m->root->name;
    return gi_rw_done(r, n);
}

#include "passes/rows.h"
#include "passes/rules/conv.def"
