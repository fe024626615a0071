/* Rules of padding: pads go into what they are read by, and into one another. */
#include <math.h>

#include "passes/rule.h"

/* The pads of a Pad node, begins and then ends, of every dim. False where they are not known. */
static bool read_pads(gi_value *p, gi_value *a, int rank, int64_t *pads)
{
    int64_t given[2 * GOPT_MAX_RANK], axes[GOPT_MAX_RANK];
    uint32_t n, n_axes = (uint32_t)rank;
    if (rank < 0 || !gi_value_known_ints(p, given, 2 * GOPT_MAX_RANK, &n))
        return false;
    for (int i = 0; i < rank; i++)
        axes[i] = i;
    if ((a && !gi_value_known_ints(a, axes, GOPT_MAX_RANK, &n_axes)) || n != 2 * n_axes)
        return false;
    memset(pads, 0, 2 * GOPT_MAX_RANK * sizeof *pads);
    for (uint32_t i = 0; i < n_axes; i++) {
        int axis;
        if (!gi_axis(axes[i], rank, &axis))
            return false;
        pads[axis] = given[i];
        pads[rank + axis] = given[n_axes + i];
    }
    return true;
}

/* The same of a Pad before a convolution or pool. */
static bool get_pads(const gi_match *m, int64_t *pads, int *rank)
{
    *rank = gi_value_rank(m->x);
    return *rank >= 3 && read_pads(m->p, m->a, *rank, pads);
}

/* Constant pads of height, width and the like, by a value that `fits`. */
static bool pad_is_plain(const gi_match *m, double least, double most, gi_reason *why)
{
    const gi_node *pad = gi_value_node(m->y);
    int64_t pads[2 * GOPT_MAX_RANK];
    int rank;
    double value = 0;
    if (!gi_attr_is(pad, Pad_at_mode, "constant"))
        return gi_decline(why, "%s pads in mode %s", gi_node_label(pad, m->scratch), gi_attr_str(pad, Pad_at_mode));
    if (!get_pads(m, pads, &rank))
        return gi_decline(why, "the pads of %s are known only at run time", gi_node_label(pad, m->scratch));
    if (m->c && (!gi_value_scalar(m->c, &value) || !(value >= least && value <= most)))
        return least == most ? gi_decline(why, "%s pads with a value other than zero", gi_node_label(pad, m->scratch))
                             : gi_decline(why, "%s may pad with more than it pads", gi_node_label(pad, m->scratch));
    for (int i = 0; i < 2 * rank; i++) {
        if (pads[i] < 0 || pads[i] > INT32_MAX)
            return gi_decline(why, "%s crops", gi_node_label(pad, m->scratch));
        if (i % rank < 2 && pads[i])
            return gi_decline(why, "%s pads batch or channels", gi_node_label(pad, m->scratch));
    }
    return value >= least && value <= most;
}

/* Own pads that can be added to: explicit ones, or none. */
static bool pads_can_grow(const gi_node *n, int at_auto_pad, int at_pads, int rank)
{
    const int64_t *own;
    const uint32_t count = gi_attr_ints(n, at_pads, &own);
    for (uint32_t i = 0; i < count; i++)
        if (own[i] < 0 || own[i] > INT32_MAX)
            return false;
    return gi_attr_is(n, at_auto_pad, "NOTSET") ? count == 0 || count == 2 * (uint32_t)(rank - 2)
                                                : gi_attr_is(n, at_auto_pad, "VALID");
}

/* Zeros of the Pad are multiplied, those of the Conv are left out: the same, but for weights like infinity. */
static bool pad_fits_conv(const gi_match *m, gi_reason *why)
{
    const gi_blob *w = gi_value_blob(m->w);
    if (!pads_can_grow(m->root, Conv_at_auto_pad, Conv_at_pads, gi_value_rank(m->x)) || !pad_is_plain(m, 0, 0, why))
        return false;
    if (!w || !gi_dtype_is_float(w->dtype) || gopt_dtype_bits(w->dtype) < 16)
        return gi_decline(why, "its weights %s are known only at run time, and may not be finite",
                          gi_value_ref(m->w, m->scratch));
    return gi_blob_is_finite(w) || gi_decline(why, "its weights %s are not finite", gi_value_ref(m->w, m->scratch));
}

/* Zeros that it counts are what it pads with itself, if it counts those too. */
static bool pad_fits_pool(const gi_match *m, gi_reason *why)
{
    int64_t pads[2 * GOPT_MAX_RANK];
    int rank;
    const int64_t *kernel;
    const uint32_t n = gi_attr_ints(m->root, AveragePool_at_kernel_shape, &kernel);
    const int64_t *own;
    const uint32_t n_own = gi_attr_ints(m->root, AveragePool_at_pads, &own);
    bool own_pads = false;
    for (uint32_t i = 0; i < n_own; i++)
        own_pads = own_pads || own[i];
    if (!pads_can_grow(m->root, AveragePool_at_auto_pad, AveragePool_at_pads, gi_value_rank(m->x)) ||
        !pad_is_plain(m, 0, 0, why) || !get_pads(m, pads, &rank) || n != (uint32_t)(rank - 2))
        return false;
    if (gi_attr_int(m->root, AveragePool_at_ceil_mode))
        return gi_decline(why, "the pool rounds its size up");
    if (own_pads && !gi_attr_int(m->root, AveragePool_at_count_include_pad))
        return gi_decline(why, "the pool has pads of its own that it does not count");
    for (uint32_t i = 0; i < n; i++) {
        const int64_t before = pads[2 + i] + (n_own ? own[i] : 0),
                      after = pads[rank + 2 + (int)i] + (n_own ? own[n + i] : 0);
        if (before >= kernel[i] || after >= kernel[i])
            return gi_decline(why, "the pads would be as wide as the pool's window");
    }
    return true;
}

static gi_value *fold_pad(gi_rewrite *r, const gi_match *m)
{
    const gi_opcode op = m->root->op;
    const bool pool = op != OP_Conv;
    const int at_pads = op == OP_AveragePool ? (int)AveragePool_at_pads
                        : op == OP_MaxPool   ? (int)MaxPool_at_pads
                                             : (int)Conv_at_pads;
    int64_t pads[2 * GOPT_MAX_RANK], merged[2 * GOPT_MAX_RANK];
    int rank;
    const int64_t *own;
    const uint32_t n_own = gi_attr_ints(m->root, at_pads, &own);
    if (!get_pads(m, pads, &rank))
        return NULL;
    const int spatial = rank - 2;
    for (int i = 0; i < spatial; i++) {
        merged[i] = pads[2 + i] + (n_own ? own[i] : 0);
        merged[spatial + i] = pads[rank + 2 + i] + (n_own ? own[spatial + i] : 0);
    }
    gi_value *in[3] = { m->x, gi_node_in(m->root, 1), gi_node_in(m->root, 2) };
    gi_node *n = gi_rw_node(r, m->root->op, pool ? 1 : in[2] ? 3 : 2, in, 1);
    if (!n || !gi_attrs_copy(n, m->root))
        return NULL;
    n->name = m->root->name;
    gi_attr_clear(n, op == OP_AveragePool ? (int)AveragePool_at_auto_pad
                     : op == OP_MaxPool   ? (int)MaxPool_at_auto_pad
                                          : (int)Conv_at_auto_pad);
    if (!gi_attr_set_ints(n, at_pads, 2 * (uint32_t)spatial, merged))
        return NULL;
    if (op == OP_AveragePool)
        gi_attr_set_int(n, AveragePool_at_count_include_pad, 1);
    return gi_rw_done(r, n);
}

/* ---- maximum pools ---- */

/* Is no element of x negative? */
static bool is_not_negative(const gi_value *x)
{
    double least;
    const gi_node *n = gi_value_node(x);
    if (!n)
        return false;
    switch (n->op) {
    case OP_Relu:
    case OP_Sigmoid:
    case OP_HardSigmoid:
    case OP_Abs:
    case OP_Exp:
    case OP_Softmax:
    case OP_Softplus:
        return true;
    case OP_Clip:
        return gi_value_scalar(gi_node_in(n, Clip_in_min), &least) && least >= 0;
    default:
        return false;
    }
}

static bool pads_never_win(const gi_match *m, gi_reason *why)
{
    int64_t pads[2 * GOPT_MAX_RANK];
    int rank;
    const gi_node *pool = m->root;
    const int64_t *kernel, *own, *dilation;
    const uint32_t n = gi_attr_ints(pool, MaxPool_at_kernel_shape, &kernel),
                   n_own = gi_attr_ints(pool, MaxPool_at_pads, &own),
                   n_dilated = gi_attr_ints(pool, MaxPool_at_dilations, &dilation);
    if (!gi_dtype_is_float(gi_value_dtype(m->x)) ||
        !pads_can_grow(pool, MaxPool_at_auto_pad, MaxPool_at_pads, gi_value_rank(m->x)) ||
        !pad_is_plain(m, -INFINITY, is_not_negative(m->x) ? 0 : -INFINITY, why) || !get_pads(m, pads, &rank) ||
        n != (uint32_t)(rank - 2))
        return false;
    if (gi_attr_int(pool, MaxPool_at_ceil_mode))
        return gi_decline(why, "the pool rounds its size up");
    for (uint32_t i = 0; i < n_dilated; i++)
        if (dilation[i] != 1)
            return gi_decline(why, "the pool's window has gaps");
    for (uint32_t i = 0; i < n; i++)
        if (pads[2 + i] + (n_own ? own[i] : 0) >= kernel[i] ||
            pads[rank + 2 + (int)i] + (n_own ? own[n + i] : 0) >= kernel[i])
            return gi_decline(why, "the pads would be as wide as the pool's window");
    return true;
}

/* ---- one after another ---- */

/* What a Pad adds; false where it crops, or is none of constants. */
static bool read_constant_pad(const gi_node *n, gi_value *p, gi_value *c, gi_value *a, int rank, int64_t *pads,
                              double *value)
{
    *value = 0;
    if (!gi_attr_is(n, Pad_at_mode, "constant") || (c && !gi_value_scalar(c, value)) || isnan(*value) ||
        !read_pads(p, a, rank, pads))
        return false;
    for (int i = 0; i < 2 * rank; i++)
        if (pads[i] < 0 || pads[i] > INT32_MAX)
            return false;
    return true;
}

static bool add_pads(const gi_match *m, int64_t *pads, int *rank)
{
    int64_t more[2 * GOPT_MAX_RANK];
    double first, second;
    *rank = gi_value_rank(m->x);
    if (!read_constant_pad(gi_value_node(m->y), m->p, m->c, m->a, *rank, pads, &first) ||
        !read_constant_pad(m->root, m->q, m->d, m->b, *rank, more, &second) || first != second ||
        signbit(first) != signbit(second))
        return false;
    for (int i = 0; i < 2 * *rank; i++)
        pads[i] += more[i];
    return true;
}

static bool pads_add_up(const gi_match *m, gi_reason *why)
{
    (void)why;
    int64_t pads[2 * GOPT_MAX_RANK];
    int rank;
    return add_pads(m, pads, &rank);
}

static gi_value *pad_once(gi_rewrite *r, const gi_match *m)
{
    int64_t pads[2 * GOPT_MAX_RANK];
    int rank;
    gi_value *p = add_pads(m, pads, &rank) ? gi_const_i64(r->g, 1, 2 * rank, pads) : NULL, *c = m->c ? m->c : m->d;
    gi_node *n = p ? gi_rw_node(r, OP_Pad, c ? 3 : 2, (gi_value *[]){ m->x, p, c }, 1) : NULL;
    return n && gi_attrs_copy(n, m->root) ? gi_rw_done(r, n) : NULL;
}

#include "passes/rows.h"
#include "passes/rules/pad.def"
