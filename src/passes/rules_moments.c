/* A rule for BatchNormalization of its own moments.
 *
 * Keras normalizes rows by TensorFlow's fused BatchNormalization: it makes each row a channel of one picture, and hands
 * the operator ones, zeros, and the mean and variance that it computed of the same picture.
 *
 *   [rows, size] ─ Reshape ─ [1, rows, size, 1] ─ BatchNormalization(1, 0, mean, variance) ─ Reshape ─ [rows, size] */
#include <math.h>

#include "passes/build.h"

enum { MAX_ROW = 1 << 20 };

/* Are all elements this number, by Expand or ConstantOfShape too? */
static bool is_filled(const gi_value *v, double x)
{
    const gi_node *n = gi_value_node(v);
    const gi_blob *b = gi_value_blob(v);
    if (!b && n && n->op == OP_Expand)
        b = gi_value_blob(gi_node_in(n, 0));
    else if (!b && n && n->op == OP_ConstantOfShape)
        b = gi_attr_tensor(n, ConstantOfShape_at_value);
    return b ? gi_blob_all(b, x) : n && n->op == OP_ConstantOfShape && x == 0;
}

/* Elements of a row: of the dims behind the channels, all of which are reduced, as is a batch of one. 0 where they are
 * not, or not known. */
static int64_t row_of(const gi_value *reduced)
{
    int64_t axes[GOPT_MAX_RANK], count = 1;
    uint32_t n;
    uint64_t over = 0;
    const gi_node *node = gi_value_node(reduced);
    const gi_value *x = gi_node_in(node, ReduceMean_in_data);
    const gi_node *sub = gi_value_node(x);
    if (node->op == OP_ReduceSumSquare && sub)
        x = gi_node_in(sub, 0);
    const int rank = gi_value_rank(x);
    if (rank < 3 || !gi_value_known_ints(gi_node_in(node, ReduceMean_in_axes), axes, GOPT_MAX_RANK, &n) || !n)
        return 0;
    for (uint32_t i = 0; i < n; i++) {
        int axis;
        if (!gi_axis(axes[i], rank, &axis))
            return 0;
        over |= (uint64_t)1 << axis;
    }
    for (int i = 0; i < rank; i++) {
        const int64_t d = gi_value_dim(x, i);
        if (i == 1 ? over >> 1 & 1 : d < 1 || (d > 1 && !(over >> i & 1)))
            return 0;
        if (i != 1 && (!gi_mul_i64(count, d, &count) || count > MAX_ROW))
            return 0;
    }
    return count;
}

static bool has_own_moments(const gi_match *m, gi_reason *why)
{
    (void)why;
    double k;
    const int64_t row = row_of(m->m);
    const gi_node *scaled = gi_value_node(gi_node_in(m->root, BatchNormalization_in_input_var));
    if (gi_value_dtype(m->x) != GOPT_F32 || gi_value_dim(m->x, 0) != 1 || row < 1 || row_of(m->q) != row ||
        !gi_attr_int(gi_value_node(m->m), ReduceMean_at_keepdims) || !gi_value_scalar(m->k, &k) ||
        gi_attr_int(m->root, BatchNormalization_at_training_mode) || !is_filled(m->s, 1) || !is_filled(m->b, 0))
        return false;
    return fabs((scaled->op == OP_Div ? k : 1 / k) / (double)row - 1) <= 1e-6;
}

static gi_value *make_layer_norm_of_channels(gi_rewrite *r, const gi_match *m)
{
    int64_t dims[GOPT_MAX_RANK];
    const int rank = gi_value_rank(m->x);
    gi_blob *ones;
    for (int i = 2; i < rank; i++)
        dims[i - 2] = gi_value_dim(m->x, i);
    if (gi_blob_create(r->g->cx, GOPT_F32, rank - 2, dims, &ones) != GOPT_OK)
        return NULL;
    for (int64_t i = 0; i < gi_blob_elements(ones); i++)
        gi_store_f64(GOPT_F32, ones->owned, (size_t)i, 1);
    gi_value *s = gi_const(r->g, ones, NULL);
    gi_node *n = s ? gi_rw_node(r, OP_LayerNormalization, 2, (gi_value *[]){ m->x, s }, 1) : NULL;
    if (!n)
        return NULL;
    gi_attr_set_int(n, LayerNormalization_at_axis, 2 - rank);
    gi_attr_set_float(n, LayerNormalization_at_epsilon, gi_attr_float(m->root, BatchNormalization_at_epsilon));
    return gi_rw_done(r, n);
}

#include "passes/rows.h"
#include "passes/rules/moments.def"
