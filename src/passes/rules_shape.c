/* Rules of operands that are computed from sizes: bounds of a Slice, sizes of a Resize. */
#include "passes/rule.h"

/* ---- bounds ---- */

/* Where a bound b of a dim d lands, as ONNX's Slice clamps it with a positive step. */
static int64_t clamped(int64_t b, int64_t d)
{
    b += b < 0 ? d : 0;
    return b < 0 ? 0 : b > d ? d : b;
}

/* The constant that bounds dim d as b does, at every size: b itself, one from the end, or beyond the end. */
static bool write_bound(gopt_graph *g, const gi_dim *b, const gi_dim *d, int64_t *out)
{
    int64_t less, least = 0, bound;
    if (gi_dim_is_const(b, out))
        return true;
    const gi_dim *difference = gi_dim_sub(g->dims, d, b);
    if (!difference)
        return false;
    if (gi_dim_upper(difference, &bound) && bound <= 0) { /* b is at least d, which is not negative */
        *out = INT64_MAX;
        return true;
    }
    if (!gi_dim_is_const(difference, &less) || less < 0 || less > 64)
        return false;
    (void)gi_dim_lower(d, &least);
    for (int64_t size = gi_max_i64(least, 0); size <= less; size++) /* beyond, d - less is no negative bound */
        if (clamped(size - less, size) != clamped(-less, size))
            return false;
    *out = -less;
    return true;
}

typedef struct bounds {
    uint32_t n;
    int64_t start[GOPT_MAX_RANK], end[GOPT_MAX_RANK];
} bounds;

static bool find_bounds(const gi_match *m, bounds *b)
{
    int64_t axes[GOPT_MAX_RANK], steps[GOPT_MAX_RANK];
    uint32_t n_starts, n_ends, n = 0;
    const gi_dim *const *starts = gi_value_known(m->s, &n_starts), *const *ends = gi_value_known(m->e, &n_ends);
    const int rank = gi_value_rank(m->x);
    if (rank < 0 || !starts || !ends || n_starts != n_ends || n_starts > (uint32_t)rank ||
        (m->a && (!gi_value_ints(m->a, axes, GOPT_MAX_RANK, &n) || n != n_starts)) ||
        (m->t && (!gi_value_ints(m->t, steps, GOPT_MAX_RANK, &n) || n != n_starts)))
        return false;
    b->n = n_starts;
    for (uint32_t i = 0; i < b->n; i++) {
        int axis = (int)i;
        if ((m->t && steps[i] <= 0) || (m->a && !gi_axis(axes[i], rank, &axis)) ||
            !write_bound(m->g, starts[i], m->x->type->dims[axis], &b->start[i]) ||
            !write_bound(m->g, ends[i], m->x->type->dims[axis], &b->end[i]))
            return false;
    }
    return true;
}

static bool bounds_can_be_written(const gi_match *m, gi_reason *why)
{
    bounds b;
    (void)why;
    return (!gi_value_blob(m->s) || !gi_value_blob(m->e)) && find_bounds(m, &b);
}

static gi_value *write_bounds(gi_rewrite *r, const gi_match *m)
{
    bounds b;
    if (!find_bounds(m, &b))
        return NULL;
    gi_value *s = gi_const_i64(r->g, 1, b.n, b.start), *e = gi_const_i64(r->g, 1, b.n, b.end);
    /* axes and steps have the type of the bounds */
    gi_value *in[5] = { m->x, s, e, NULL, NULL };
    for (uint32_t i = 3; s && e && i < 5; i++) {
        int64_t v[GOPT_MAX_RANK];
        uint32_t n;
        gi_value *was = i == 3 ? m->a : m->t;
        if (!was)
            continue;
        if (!gi_value_ints(was, v, GOPT_MAX_RANK, &n) || !(in[i] = gi_const_i64(r->g, 1, n, v)))
            return NULL;
    }
    return s && e ? gi_rw_build(r, OP_Slice, m->t ? 5 : m->a ? 4 : 3, in) : NULL;
}

/* ---- scales ---- */

/* The scale that takes dim d to size s at every size: a whole number, or a half, a quarter …, which a float holds, and
 * whose product with d is s exactly. */
static bool scale_of(gopt_graph *g, const gi_dim *d, const gi_dim *s, float *out)
{
    int64_t k;
    const gi_dim *up = gi_dim_div_exact(g->dims, s, d), *down = up ? NULL : gi_dim_div_exact(g->dims, d, s);
    if (d == s) {
        *out = 1;
        return true;
    }
    if (up && gi_dim_is_const(up, &k) && k > 0 && k <= 1 << 10) {
        *out = (float)k;
        return true;
    }
    if (!down || !gi_dim_is_const(down, &k) || k <= 0 || k > 1 << 10 || (k & (k - 1)) != 0)
        return false;
    *out = 1 / (float)k;
    return true;
}

static bool find_scales(const gi_match *m, float *scales, uint32_t *n)
{
    const int64_t *axes;
    const uint32_t n_axes = gi_attr_ints(m->root, Resize_at_axes, &axes);
    const gi_dim *const *sizes = gi_value_known(m->s, n);
    const int rank = gi_value_rank(m->x);
    if (!sizes || rank < 0 || *n > GOPT_MAX_RANK || *n != (n_axes ? n_axes : (uint32_t)rank))
        return false;
    for (uint32_t i = 0; i < *n; i++) {
        int axis = (int)i;
        if ((n_axes && !gi_axis(axes[i], rank, &axis)) || gi_dim_is_unknown(sizes[i]) ||
            !scale_of(m->g, m->x->type->dims[axis], sizes[i], &scales[i]))
            return false;
    }
    return true;
}

/* Where all sizes are constants they stay: that is what the model says. */
static bool sizes_are_multiples(const gi_match *m, gi_reason *why)
{
    float scales[GOPT_MAX_RANK];
    uint32_t n;
    (void)why;
    return !gi_value_blob(m->s) && !m->k && gi_attr_is(m->root, Resize_at_keep_aspect_ratio_policy, "stretch") &&
           !gi_attr_is(m->root, Resize_at_coordinate_transformation_mode, "tf_crop_and_resize") &&
           find_scales(m, scales, &n);
}

static gi_value *write_scales(gi_rewrite *r, const gi_match *m)
{
    float scales[GOPT_MAX_RANK];
    uint32_t n;
    if (!find_scales(m, scales, &n))
        return NULL;
    gi_value *k = gi_const_f32(r->g, 1, n, scales);
    gi_node *resize = k ? gi_rw_node(r, OP_Resize, 3, (gi_value *[]){ m->x, m->r, k }, 1) : NULL;
    return resize && gi_attrs_copy(resize, m->root) ? gi_rw_done(r, resize) : NULL;
}

#include "passes/rows.h"
#include "passes/rules/shape.def"
