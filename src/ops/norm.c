/* Normalizations. */
#include <math.h>

#include "ops/norm.h"
#include "ops/sum.h"

typedef struct moments {
    double mean, inverse;
} moments;

typedef struct group_norm {
    int64_t batch, channels, groups, plane;
    double epsilon;
} group_norm;

#define WORD float
#define NAME(x) x##_f32
#include "ops/norm_loops.h"
#undef WORD
#undef NAME
#define WORD double
#define NAME(x) x##_f64
#include "ops/norm_loops.h"
#undef WORD
#undef NAME

void gi_norm_rows(gopt_dtype real, const gi_row_norm *r, const void *x, const void *scale, const void *b, void *y)
{
    if (real == GOPT_F64)
        norm_rows_f64(r, x, scale, b, y);
    else
        norm_rows_f32(r, x, scale, b, y);
}

/* ---- BatchNormalization, InstanceNormalization, GroupNormalization ---- */

/* Inputs from `first` to `last` hold one number a channel of input 0. */
static gopt_status infer_per_channel(gi_infer *c, uint32_t first, uint32_t last)
{
    const int rank = gi_infer_rank(c, 0);
    for (uint32_t i = first; i <= last; i++) {
        GI_TRY(gi_infer_want_rank(c, i, 1));
        if (rank > 1)
            GI_TRY(gi_infer_want_dim(c, i, 0, gi_infer_dim(c, 0, 1), "one number a channel"));
    }
    return GOPT_OK;
}

static gopt_status infer_batch_norm(gi_infer *c)
{
    GI_TRY(gi_infer_want_rank_at_least(c, BatchNormalization_in_X, 1));
    GI_TRY(infer_per_channel(c, BatchNormalization_in_scale, BatchNormalization_in_input_var));
    gi_infer_set_type(c, BatchNormalization_out_Y, gi_infer_type(c, BatchNormalization_in_X));
    if (c->n->n_out > BatchNormalization_out_running_mean)
        gi_infer_set_type(c, BatchNormalization_out_running_mean, gi_infer_type(c, BatchNormalization_in_input_mean));
    if (c->n->n_out > BatchNormalization_out_running_var)
        gi_infer_set_type(c, BatchNormalization_out_running_var, gi_infer_type(c, BatchNormalization_in_input_var));
    return GOPT_OK;
}

static gopt_status infer_channel_norm(gi_infer *c)
{
    GI_TRY(gi_infer_want_rank_at_least(c, 0, 2));
    GI_TRY(infer_per_channel(c, 1, 2));
    return gi_infer_same_type(c);
}

static gopt_status infer_group_norm(gi_infer *c)
{
    int64_t channels;
    const int64_t groups = gi_attr_int(c->n, GroupNormalization_at_num_groups);
    if (groups < 1)
        return gi_infer_fail_node(c, "attribute num_groups is %lld, expected 1 or more", (long long)groups);
    GI_TRY(gi_infer_want_rank_at_least(c, 0, 2));
    if (gi_infer_rank(c, 0) >= 2 && gi_dim_is_const(gi_infer_dim(c, 0, 1), &channels) && channels % groups)
        return gi_infer_fail(c, 0, "expected a number of channels that num_groups %lld divides", (long long)groups);
    return infer_channel_norm(c);
}

/* Shape [N, C, plane…] of input 0; a vector is a batch of one channel. */
static gopt_status group_shape(const gi_eval *a, uint32_t first, uint32_t last, group_norm *g)
{
    const gopt_tensor *x = a->in[0];
    *g = (group_norm){ .batch = x->dims[0], .channels = 1, .groups = 1, .plane = 1 };
    if (x->rank > 1) {
        g->channels = x->dims[1];
        g->plane = gi_product(2, x->rank, x->dims);
    }
    for (uint32_t i = first; i <= last; i++) {
        GI_TRY(gi_eval_rank(a, i, 1));
        GI_TRY(gi_eval_dim(a, i, 0, g->channels));
    }
    return GOPT_OK;
}

/* The new running statistic: old · momentum + batch · (1 − momentum). */
static gopt_status store_running(gi_eval *a, uint32_t out, uint32_t in, const double *batch, int64_t n, double momentum)
{
    gopt_tensor *t;
    if (out >= a->n_out)
        return GOPT_OK;
    GI_TRY(gi_eval_out(a, out, a->in[in]->dtype, 1, &n, &t));
    for (int64_t i = 0; t && i < n; i++)
        gi_store_f64(t->dtype, t->data, (size_t)i,
                     batch ? gi_tensor_f64(a->in[in], i) * momentum + batch[i] * (1 - momentum)
                           : gi_tensor_f64(a->in[in], i));
    return GOPT_OK;
}

static gopt_status eval_batch_norm(gi_eval *a)
{
    group_norm g;
    const void *x, *scale, *b;
    const double *mean, *var, *batch_mean = NULL, *batch_var = NULL;
    gi_real y;
    GI_TRY(gi_eval_rank_at_least(a, 0, 1));
    GI_TRY(group_shape(a, BatchNormalization_in_scale, BatchNormalization_in_input_var, &g));
    const gopt_tensor *t = a->in[0];
    const gopt_dtype real = gi_real_of(t->dtype);
    const double momentum = (double)gi_attr_float(a->n, BatchNormalization_at_momentum);
    g.epsilon = (double)gi_attr_float(a->n, BatchNormalization_at_epsilon);
    GI_TRY(gi_real_in(a, 0, real, &x));
    GI_TRY(gi_real_in(a, BatchNormalization_in_scale, real, &scale));
    GI_TRY(gi_real_in(a, BatchNormalization_in_B, real, &b));
    GI_TRY(gi_real_in(a, BatchNormalization_in_input_mean, GOPT_F64, (const void **)&mean));
    GI_TRY(gi_real_in(a, BatchNormalization_in_input_var, GOPT_F64, (const void **)&var));
    GI_TRY(gi_real_out(a, 0, t->dtype, t->rank, t->dims, &y));
    if (gi_attr_int(a->n, BatchNormalization_at_training_mode)) {
        double *m = gi_eval_scratch(a, (size_t)g.channels + 1, sizeof *m);
        double *v = gi_eval_scratch(a, (size_t)g.channels + 1, sizeof *v);
        GI_NEED(m && v);
        if (real == GOPT_F64)
            channel_moments_f64(&g, x, m, v);
        else
            channel_moments_f32(&g, x, m, v);
        mean = batch_mean = m;
        var = batch_var = v;
    }
    if (y.p && real == GOPT_F64)
        batch_norm_f64(&g, mean, var, x, scale, b, y.p);
    else if (y.p)
        batch_norm_f32(&g, mean, var, x, scale, b, y.p);
    gi_real_store(&y);
    GI_TRY(store_running(a, BatchNormalization_out_running_mean, BatchNormalization_in_input_mean, batch_mean,
                         g.channels, momentum));
    return store_running(a, BatchNormalization_out_running_var, BatchNormalization_in_input_var, batch_var, g.channels,
                         momentum);
}

static gopt_status eval_groups(gi_eval *a, int64_t groups, float epsilon)
{
    group_norm g;
    const void *x, *scale, *b;
    gi_real y;
    GI_TRY(gi_eval_rank_at_least(a, 0, 2));
    GI_TRY(group_shape(a, 1, 2, &g));
    const gopt_tensor *t = a->in[0];
    const gopt_dtype real = gi_real_of(t->dtype);
    g.groups = groups ? groups : g.channels;
    g.epsilon = (double)epsilon;
    if (g.groups < 0 || (g.groups && g.channels % g.groups))
        return gi_eval_fail(a, 0, "has %lld channels, expected a multiple of %lld groups", (long long)g.channels,
                            (long long)g.groups);
    GI_TRY(gi_real_in(a, 0, real, &x));
    GI_TRY(gi_real_in(a, 1, real, &scale));
    GI_TRY(gi_real_in(a, 2, real, &b));
    GI_TRY(gi_real_out(a, 0, t->dtype, t->rank, t->dims, &y));
    if (!y.p || gopt_tensor_elements(t) == 0)
        return GOPT_OK;
    if (real == GOPT_F64)
        norm_groups_f64(&g, x, scale, b, y.p);
    else
        norm_groups_f32(&g, x, scale, b, y.p);
    gi_real_store(&y);
    return GOPT_OK;
}

static gopt_status eval_instance_norm(gi_eval *a)
{
    return eval_groups(a, 0, gi_attr_float(a->n, InstanceNormalization_at_epsilon));
}

static gopt_status eval_group_norm(gi_eval *a)
{
    const int64_t groups = gi_attr_int(a->n, GroupNormalization_at_num_groups);
    if (groups < 1)
        return gi_eval_fail(a, -1, "attribute num_groups is %lld, expected 1 or more", (long long)groups);
    return eval_groups(a, groups, gi_attr_float(a->n, GroupNormalization_at_epsilon));
}

/* ---- LayerNormalization, RMSNormalization ---- */

/* Input i broadcasts, in one direction, to input 0. */
static gopt_status infer_broadcasts(gi_infer *c, uint32_t i)
{
    const int rank = gi_infer_rank(c, 0), r = gi_infer_rank(c, i);
    if (rank < 0 || r < 0)
        return GOPT_OK;
    if (r > rank)
        return gi_infer_fail(c, i, "expected rank %d or less", rank);
    for (int d = 0; d < r; d++)
        if (!gi_dim_is(gi_infer_dim(c, i, d), 1))
            GI_TRY(gi_infer_want_dim(c, i, d, gi_infer_dim(c, 0, rank - r + d), "that of the first input, or 1"));
    return GOPT_OK;
}

static gopt_status infer_axis(gi_infer *c, int at, int *axis)
{
    const int rank = gi_infer_rank(c, 0);
    if (rank >= 0 && !gi_axis(gi_attr_int(c->n, at), rank, axis))
        return gi_infer_fail_node(c, "attribute axis is %lld, the input has rank %d", (long long)gi_attr_int(c->n, at),
                                  rank);
    return GOPT_OK;
}

static gopt_dtype stash_dtype(int64_t stash)
{
    return stash == GOPT_BF16 || stash == GOPT_F16 || stash == GOPT_F64 ? (gopt_dtype)stash : GOPT_F32;
}

static gopt_status infer_layer_norm(gi_infer *c)
{
    int axis = 0;
    const int rank = gi_infer_rank(c, LayerNormalization_in_X);
    GI_TRY(infer_axis(c, LayerNormalization_at_axis, &axis));
    GI_TRY(infer_broadcasts(c, LayerNormalization_in_Scale));
    if (gi_infer_has(c, LayerNormalization_in_B))
        GI_TRY(infer_broadcasts(c, LayerNormalization_in_B));
    gi_infer_set_type(c, LayerNormalization_out_Y, gi_infer_type(c, LayerNormalization_in_X));
    const gi_dim *dims[GOPT_MAX_RANK];
    for (int i = 0; i < rank; i++) {
        dims[i] = i < axis ? gi_infer_dim(c, LayerNormalization_in_X, i) : gi_dim_const(c->g->dims, 1);
        GI_NEED(dims[i]);
    }
    for (uint32_t i = LayerNormalization_out_Mean; i <= LayerNormalization_out_InvStdDev && i < c->n->n_out; i++)
        gi_infer_set(c, i, stash_dtype(gi_attr_int(c->n, LayerNormalization_at_stash_type)), rank,
                     rank < 0 ? NULL : dims);
    return GOPT_OK;
}

/* SimplifiedLayerNormalization is this too, with the inverse as a second output. */
static gopt_status infer_rms_norm(gi_infer *c)
{
    int axis = 0;
    const gi_dim *dims[GOPT_MAX_RANK];
    GI_TRY(infer_axis(c, RMSNormalization_at_axis, &axis));
    GI_TRY(infer_broadcasts(c, RMSNormalization_in_scale));
    const gopt_dtype scale = gi_infer_dtype(c, RMSNormalization_in_scale);
    if (scale != GOPT_UNDEFINED && !gi_dtype_is_float(scale))
        return gi_infer_fail(c, RMSNormalization_in_scale, "expected floats");
    const int rank = gi_infer_rank(c, RMSNormalization_in_X);
    const gi_type *t = gi_infer_type(c, RMSNormalization_in_X);
    gi_infer_set(c, 0, gi_infer_dtype(c, RMSNormalization_in_scale), rank, rank < 0 ? NULL : t->dims);
    for (int i = 0; i < rank; i++) {
        dims[i] = i < axis ? t->dims[i] : gi_dim_const(c->g->dims, 1);
        GI_NEED(dims[i]);
    }
    gi_infer_set(c, SimplifiedLayerNormalization_out_inv_std_var,
                 stash_dtype(gi_attr_int(c->n, RMSNormalization_at_stash_type)), rank, rank < 0 ? NULL : dims);
    return GOPT_OK;
}

/* Scale or shift brought to one row's shape, or else to that of all of x. */
static gopt_status row_operand(gi_eval *a, uint32_t in, gopt_dtype real, int axis, const void **p, int64_t *step)
{
    const gopt_tensor *x = a->in[0], *t = in < a->n_in ? a->in[in] : NULL;
    const void *raw;
    *p = NULL;
    *step = 0;
    if (!t)
        return GOPT_OK;
    GI_TRY(gi_real_in(a, in, real, &raw));
    GI_TRY(gi_real_expand(a, real, raw, t->rank, t->dims, x->rank - axis, x->dims + axis, p));
    if (*p)
        return GOPT_OK;
    *step = gi_product(axis, x->rank, x->dims);
    GI_TRY(gi_real_expand(a, real, raw, t->rank, t->dims, x->rank, x->dims, p));
    return *p ? GOPT_OK : gi_eval_fail(a, (int)in, "does not broadcast to the shape of the first input");
}

static gopt_status run_rows(gi_eval *a, gi_row_norm *r, int axis, int b_in, gopt_dtype dtype)
{
    const gopt_tensor *t = a->in[0];
    const gopt_dtype real = gi_real_of(t->dtype);
    const void *x, *scale, *b = NULL;
    gi_real y;
    r->rows = gi_product(0, axis, t->dims);
    r->n = gi_product(axis, t->rank, t->dims);
    GI_TRY(gi_real_in(a, 0, real, &x));
    GI_TRY(row_operand(a, 1, real, axis, &scale, &r->scale_step));
    if (b_in >= 0)
        GI_TRY(row_operand(a, (uint32_t)b_in, real, axis, &b, &r->b_step));
    GI_TRY(gi_real_out_as(a, 0, dtype, real, t->rank, t->dims, &y));
    if (!scale)
        return gi_eval_fail(a, 1, "is missing");
    if (!y.p || r->rows == 0) /* rows without elements have a mean all the same: NaN */
        return GOPT_OK;
    gi_norm_rows(real, r, x, scale, b, y.p);
    gi_real_store(&y);
    return GOPT_OK;
}

static gopt_status eval_axis(const gi_eval *a, int at, int *axis)
{
    GI_TRY(gi_eval_rank_at_least(a, 0, 1));
    if (!gi_axis(gi_attr_int(a->n, at), a->in[0]->rank, axis))
        return gi_eval_fail(a, 0, "has rank %d, attribute axis is %lld", a->in[0]->rank,
                            (long long)gi_attr_int(a->n, at));
    return GOPT_OK;
}

static gopt_status eval_layer_norm(gi_eval *a)
{
    int axis;
    int64_t dims[GOPT_MAX_RANK];
    gi_real stats[2] = { 0 };
    GI_TRY(eval_axis(a, LayerNormalization_at_axis, &axis));
    const gopt_tensor *x = a->in[0];
    const gopt_dtype stash = stash_dtype(gi_attr_int(a->n, LayerNormalization_at_stash_type));
    for (int i = 0; i < x->rank; i++)
        dims[i] = i < axis ? x->dims[i] : 1;
    for (uint32_t i = 0; i < 2 && i + 1 < a->n_out; i++)
        GI_TRY(gi_real_out_as(a, i + 1, stash, GOPT_F64, x->rank, dims, &stats[i]));
    gi_row_norm r = { .centred = true, .epsilon = (double)gi_attr_float(a->n, LayerNormalization_at_epsilon) };
    r.means = stats[0].p;
    r.inverses = stats[1].p;
    GI_TRY(run_rows(a, &r, axis, LayerNormalization_in_B, x->dtype));
    gi_real_store(&stats[0]);
    gi_real_store(&stats[1]);
    return GOPT_OK;
}

static gopt_status eval_rms_norm(gi_eval *a)
{
    int axis;
    GI_TRY(eval_axis(a, RMSNormalization_at_axis, &axis));
    if (a->n_in <= RMSNormalization_in_scale || !a->in[RMSNormalization_in_scale])
        return gi_eval_fail(a, RMSNormalization_in_scale, "is missing");
    gi_row_norm r = { .epsilon = (double)gi_attr_float(a->n, RMSNormalization_at_epsilon) };
    int64_t dims[GOPT_MAX_RANK];
    gi_real inverses = { 0 };
    for (int i = 0; i < a->in[0]->rank; i++)
        dims[i] = i < axis ? a->in[0]->dims[i] : 1;
    if (a->n_out > SimplifiedLayerNormalization_out_inv_std_var)
        GI_TRY(gi_real_out_as(a, SimplifiedLayerNormalization_out_inv_std_var,
                              stash_dtype(gi_attr_int(a->n, RMSNormalization_at_stash_type)), GOPT_F64, a->in[0]->rank,
                              dims, &inverses));
    r.inverses = inverses.p;
    GI_TRY(run_rows(a, &r, axis, -1, a->in[RMSNormalization_in_scale]->dtype));
    gi_real_store(&inverses);
    return GOPT_OK;
}

/* ---- LRN, LpNormalization, MeanVarianceNormalization: all in f64 ---- */

static gopt_status eval_lrn(gi_eval *a)
{
    GI_TRY(gi_eval_rank_at_least(a, 0, 2));
    const gopt_tensor *t = a->in[0];
    const int64_t size = gi_attr_int(a->n, LRN_at_size), channels = t->dims[1];
    const int64_t plane = gi_product(2, t->rank, t->dims);
    const double alpha = (double)gi_attr_float(a->n, LRN_at_alpha), beta = (double)gi_attr_float(a->n, LRN_at_beta),
                 bias = (double)gi_attr_float(a->n, LRN_at_bias);
    if (size < 1)
        return gi_eval_fail(a, -1, "attribute size is %lld, expected 1 or more", (long long)size);
    const double *x;
    gi_real out;
    GI_TRY(gi_real_in(a, 0, GOPT_F64, (const void **)&x));
    GI_TRY(gi_real_out_as(a, 0, t->dtype, GOPT_F64, t->rank, t->dims, &out));
    double *sum = gi_eval_scratch(a, (size_t)plane + 1, sizeof *sum), *y = out.p;
    GI_NEED(sum);
    for (int64_t i = 0; y && i < t->dims[0] * channels; i++) {
        const int64_t c = i % channels, from = gi_max_i64(0, c - (size - 1) / 2),
                      last = gi_min_i64(size / 2, channels - 1 - c) + c;
        memset(sum, 0, (size_t)plane * sizeof *sum);
        for (int64_t k = from; k <= last; k++)
            for (int64_t j = 0; j < plane; j++)
                sum[j] += x[(i - c + k) * plane + j] * x[(i - c + k) * plane + j];
        for (int64_t j = 0; j < plane; j++)
            y[i * plane + j] = x[i * plane + j] / pow(bias + alpha / (double)size * sum[j], beta);
    }
    gi_real_store(&out);
    return GOPT_OK;
}

static gopt_status infer_lp_norm(gi_infer *c)
{
    int axis;
    const int64_t p = gi_attr_int(c->n, LpNormalization_at_p);
    if (p != 1 && p != 2)
        return gi_infer_fail_node(c, "attribute p is %lld, expected 1 or 2", (long long)p);
    GI_TRY(infer_axis(c, LpNormalization_at_axis, &axis));
    return gi_infer_same_type(c);
}

static gopt_status eval_lp_norm(gi_eval *a)
{
    int axis;
    GI_TRY(eval_axis(a, LpNormalization_at_axis, &axis));
    const gopt_tensor *t = a->in[0];
    const bool one = gi_attr_int(a->n, LpNormalization_at_p) == 1;
    const int64_t n = t->dims[axis], inner = gi_product(axis + 1, t->rank, t->dims);
    const int64_t outer = gi_product(0, axis, t->dims);
    const double *x;
    gi_real out;
    GI_TRY(gi_real_in(a, 0, GOPT_F64, (const void **)&x));
    GI_TRY(gi_real_out_as(a, 0, t->dtype, GOPT_F64, t->rank, t->dims, &out));
    double *y = out.p;
    for (int64_t o = 0; y && o < outer; o++)
        for (int64_t i = 0; i < inner; i++) {
            const int64_t at = o * n * inner + i;
            double sum = 0;
            for (int64_t k = 0; k < n; k++)
                sum += one ? fabs(x[at + k * inner]) : x[at + k * inner] * x[at + k * inner];
            const double norm = one ? sum : sqrt(sum);
            for (int64_t k = 0; k < n; k++)
                y[at + k * inner] = norm != 0 ? x[at + k * inner] / norm : 0;
        }
    gi_real_store(&out);
    return GOPT_OK;
}

/* Which dimensions of x the moments run over. */
static gopt_status mvn_axes(const gi_eval *a, bool *over)
{
    static const int64_t usual[] = { 0, 2, 3 };
    const int64_t *axes;
    uint32_t n = gi_attr_ints(a->n, MeanVarianceNormalization_at_axes, &axes);
    if (!gi_attr_has(a->n, MeanVarianceNormalization_at_axes)) {
        axes = usual;
        n = GI_COUNT(usual);
    }
    for (uint32_t i = 0; i < n; i++) {
        int axis;
        if (!gi_axis(axes[i], a->in[0]->rank, &axis))
            return gi_eval_fail(a, 0, "has rank %d, axis %lld lies outside", a->in[0]->rank, (long long)axes[i]);
        over[axis] = true;
    }
    return GOPT_OK;
}

static gopt_status eval_mvn(gi_eval *a)
{
    GI_TRY(gi_eval_rank_at_least(a, 0, 1));
    const gopt_tensor *t = a->in[0];
    const int64_t n = gopt_tensor_elements(t);
    bool over[GOPT_MAX_RANK] = { 0 };
    int64_t kept[GOPT_MAX_RANK], stride[GOPT_MAX_RANK], at[GOPT_MAX_RANK] = { 0 };
    GI_TRY(mvn_axes(a, over));
    for (int i = 0; i < t->rank; i++)
        kept[i] = over[i] ? 1 : t->dims[i];
    gi_broadcast_strides(t->rank, kept, t->rank, t->dims, stride);
    const size_t groups = (size_t)gi_product(0, t->rank, kept);
    const double *x;
    gi_real out;
    GI_TRY(gi_real_in(a, 0, GOPT_F64, (const void **)&x));
    GI_TRY(gi_real_out_as(a, 0, t->dtype, GOPT_F64, t->rank, t->dims, &out));
    int64_t *group = gi_eval_scratch(a, (size_t)n + 1, sizeof *group), g = 0;
    double *mean = gi_eval_scratch(a, groups + 1, sizeof *mean), *var = gi_eval_scratch(a, groups + 1, sizeof *var);
    GI_NEED(group && mean && var);
    const double per = groups ? (double)n / (double)groups : 1;
    for (int64_t i = 0; i < n; i++) {
        group[i] = g;
        mean[g] += x[i] / per;
        for (int d = t->rank - 1; d >= 0; d--) {
            g += stride[d];
            if (++at[d] < t->dims[d])
                break;
            g -= stride[d] * t->dims[d];
            at[d] = 0;
        }
    }
    for (int64_t i = 0; i < n; i++)
        var[group[i]] += (x[i] - mean[group[i]]) * (x[i] - mean[group[i]]) / per;
    /* 1e-9 is the ε of the operator's own definition. */
    for (int64_t i = 0; out.p && i < n; i++)
        ((double *)out.p)[i] = (x[i] - mean[group[i]]) / (sqrt(var[group[i]]) + 1e-9);
    gi_real_store(&out);
    return GOPT_OK;
}

#include "ops/rows.h"

#include "ir/ops/norm.def"
