/* Along one axis or several, an item a result that walks over what it needs: reductions that rows.c does not take (of
 * integers, by products, over axes that are no neighbours), ArgMax and ArgMin, CumSum, TopK. */
#include <inttypes.h>

#include "backend/opencl/index.h"
#include "ops/eval.h"

enum { MOST_ROW = 1 << 15 }; /* elements of a row that each of its items walks over: the work is their square */

static bool is_number(gi_cl_build *b, const gi_value *v, const char *what, int *rank, int64_t *dims)
{
    return gi_cl_tensor(b, v, what, rank, dims) &&
           (v->type->dtype != GOPT_BOOL || gi_cl_decline(b, "%s is bool", what));
}

/* How a reduction starts, goes on with element v, and ends with n elements. */
typedef struct fold {
    gi_opcode op;
    const char *floats, *ints, *end;
    bool extreme; /* starts from the first element */
} fold;

static const fold folds[] = {
    { OP_ReduceSum, "a + v", "a + v", "a", false },
    { OP_ReduceMean, "a + v", NULL, "a / n", false },
    { OP_ReduceProd, "a * v", "a * v", "a", true },
    { OP_ReduceMax, "(v != v || v > a ? v : a)", "max(a, v)", "a", true },
    { OP_ReduceMin, "(v != v || v < a ? v : a)", "min(a, v)", "a", true },
    { OP_ReduceSumSquare, "a + v * v", "a + v * v", "a", false },
    { OP_ReduceL1, "a + fabs(v)", "a + (v < 0 ? -v : v)", "a", false },
    { OP_ReduceL2, "a + v * v", NULL, "sqrt(a)", false },
    { OP_ReduceLogSum, "a + v", NULL, "log(a)", false },
};

static bool read_axes(gi_cl_build *b, const gi_node *n, int rank, bool *is)
{
    gi_value *axes = gi_node_in(n, 1);
    size_t count = 0;
    const int64_t *v = axes ? gi_cl_known_ints(b, axes, "its axes are", GOPT_MAX_RANK, &count) : NULL;
    if (axes && !v)
        return false;
    memset(is, !count && !gi_attr_int(n, ReduceSum_at_noop_with_empty_axes), GOPT_MAX_RANK * sizeof *is);
    for (size_t i = 0; i < count; i++) {
        int axis;
        if (!gi_axis(v[i], rank, &axis))
            return false;
        is[axis] = true;
    }
    return true;
}

/* Loops over the axes that are reduced, with n0 … the places in x. */
static void open_loops(gi_str *s, const gi_cl_view *x, const bool *is)
{
    for (int i = 0; i < x->rank; i++)
        if (is[i] && x->dims[i] > 1)
            gi_str_addf(s, "    for (ix n%d = 0; n%d < %" PRId64 "; n%d++)\n", i, i, x->dims[i], i);
}

/* The place in x of each dim: a loop's over the axes that are reduced, the result's own coordinate of the others. */
static void set_places(const gi_cl_index *k, int rank, const bool *is, const char **at)
{
    const bool keeps = k->y.rank == rank;
    for (int i = 0, kept = 0; i < rank; i++) {
        at[i] = is[i] ? gi_cl_places[i] : gi_cl_coordinates[keeps ? i : kept];
        kept += !is[i];
    }
}

static gopt_status take_reduction(gi_cl_build *b, const gi_node *n, const fold *f, bool *took)
{
    const gi_value *vx = gi_node_in(n, 0);
    const char *at[GOPT_MAX_RANK];
    int64_t dims[GOPT_MAX_RANK], count = 1;
    bool is[GOPT_MAX_RANK];
    int rank;
    gi_cl_index k;
    gi_cl_view x;
    if (!is_number(b, vx, "its input", &rank, dims) || !read_axes(b, n, rank, is))
        return GOPT_OK;
    const bool real = gi_cl_is_float(vx->type->dtype);
    const char *text = real ? f->floats : f->ints, *type = gi_cl_type(vx->type->dtype);
    if (!text) {
        (void)gi_cl_decline(b, "%s is computed in f32 alone, not in %s", n->op_name, gopt_dtype_name(vx->type->dtype));
        return GOPT_OK;
    }
    GI_TRY(gi_cl_index_begin(&k, b, n, n->out[0]));
    GI_TRY(gi_cl_index_read(&k, vx, "X", &x));
    set_places(&k, rank, is, at);
    for (int i = 0; i < rank; i++)
        count *= is[i] ? dims[i] : 1;
    if (!count && f->extreme) {
        (void)gi_cl_decline(b, "it reduces nothing");
        return GOPT_OK;
    }
    gi_str *s = &k.body;
    if (f->extreme && f->op != OP_ReduceProd) {
        gi_str_addf(s, "    %s a;\n    {\n", type);
        for (int i = 0; i < rank; i++)
            if (is[i])
                gi_str_addf(s, "        const ix n%d = 0;\n", i);
        gi_str_add(s, "        a = X(");
        gi_cl_index_place(s, &x, at);
        gi_str_add(s, ");\n    }\n");
    } else {
        gi_str_addf(s, "    %s a = %d;\n", type, f->op == OP_ReduceProd);
    }
    if (count) {
        open_loops(s, &x, is);
        gi_str_addf(s, "    {\n        const %s v = X(", type);
        gi_cl_index_place(s, &x, at);
        gi_str_addf(s, ");\n        a = %s;\n    }\n", text);
    }
    gi_str_addf(s, "    const %s n = %" PRId64 ", e = %s;\n    (void)n;\n", type, count, real ? f->end : "a");
    *took = true;
    return gi_cl_index_end(&k, "e");
}

/* The greatest first, then the sum of what is below it: sums of exponentials do not overflow. */
static gopt_status take_log_sum_exp(gi_cl_build *b, const gi_node *n, bool *took)
{
    const gi_value *vx = gi_node_in(n, 0);
    const char *at[GOPT_MAX_RANK];
    int64_t dims[GOPT_MAX_RANK];
    bool is[GOPT_MAX_RANK];
    int rank;
    gi_cl_index k;
    gi_cl_view x;
    if (!is_number(b, vx, "its input", &rank, dims) || !gi_cl_is_float(vx->type->dtype) || !read_axes(b, n, rank, is) ||
        !gi_product(0, rank, dims))
        return GOPT_OK;
    GI_TRY(gi_cl_index_begin(&k, b, n, n->out[0]));
    GI_TRY(gi_cl_index_read(&k, vx, "X", &x));
    set_places(&k, rank, is, at);
    gi_str *s = &k.body;
    gi_str_add(s, "    float top = -INFINITY, sum = 0.0f;\n");
    for (int round = 0; round < 2; round++) {
        open_loops(s, &x, is);
        gi_str_add(s, "    {\n        const float v = X(");
        gi_cl_index_place(s, &x, at);
        gi_str_add(s, round ? ");\n        sum += exp(v - top);\n    }\n"
                            : ");\n        top = v != v || v > top ? v : top;\n    }\n");
        if (!round)
            gi_str_add(s, "    const float found = top;\n    top = isinf(top) ? 0.0f : top;\n");
    }
    gi_str_add(s, "    const float e = isinf(found) && found > 0 ? found : log(sum) + top;\n");
    *took = true;
    return gi_cl_index_end(&k, "e");
}

/* Coordinates of x around the element `name` of the row that the result's element belongs to. */
static void along(const char **at, int rank, int axis, const char *name, int y_rank)
{
    for (int i = 0; i < rank; i++)
        at[i] = i == axis ? name : gi_cl_coordinates[y_rank == rank || i < axis ? i : i - 1];
}

static gopt_status take_arg(gi_cl_build *b, const gi_node *n, bool *took)
{
    const gi_value *vx = gi_node_in(n, 0);
    const char *at[GOPT_MAX_RANK];
    int64_t dims[GOPT_MAX_RANK];
    int rank, axis;
    gi_cl_index k;
    gi_cl_view x;
    if (!is_number(b, vx, "its input", &rank, dims) || !gi_axis(gi_attr_int(n, ArgMax_at_axis), rank, &axis) ||
        !dims[axis] || !gi_cl_tensor(b, n->out[0], "its result", &rank, dims))
        return GOPT_OK;
    GI_TRY(gi_cl_index_begin(&k, b, n, n->out[0]));
    GI_TRY(gi_cl_index_read(&k, vx, "X", &x));
    gi_str *s = &k.body;
    const bool last = gi_attr_int(n, ArgMax_at_select_last_index) != 0;
    const char *type = gi_cl_type(vx->type->dtype);
    along(at, x.rank, axis, "l", k.y.rank);
    gi_str_addf(
        s, "    long found = 0;\n    %s best = 0;\n    for (ix l = 0; l < %" PRId64 "; l++) {\n        const %s v = X(",
        type, x.dims[axis], type);
    gi_cl_index_place(s, &x, at);
    gi_str_addf(s,
                ");\n        if (l == 0 || v %s%s best || (v != v && best == best)) {\n            best = v;\n"
                "            found = l;\n        }\n    }\n",
                n->op == OP_ArgMax ? ">" : "<", last ? "=" : "");
    *took = true;
    return gi_cl_index_end(&k, "found");
}

static gopt_status take_cumsum(gi_cl_build *b, const gi_node *n, bool *took)
{
    const gi_value *vx = gi_node_in(n, CumSum_in_x);
    const char *at[GOPT_MAX_RANK];
    int64_t dims[GOPT_MAX_RANK];
    int rank, axis;
    size_t count;
    gi_cl_index k;
    gi_cl_view x;
    const int64_t *where = gi_cl_known_ints(b, gi_node_in(n, CumSum_in_axis), "its axis is", 1, &count);
    if (!where || count != 1 || !is_number(b, vx, "its input", &rank, dims) || !gi_axis(*where, rank, &axis))
        return GOPT_OK;
    if (dims[axis] > MOST_ROW) {
        (void)gi_cl_decline(b, "its rows are longer than %d", MOST_ROW);
        return GOPT_OK;
    }
    GI_TRY(gi_cl_index_begin(&k, b, n, n->out[0]));
    GI_TRY(gi_cl_index_read(&k, vx, "X", &x));
    const int except = gi_attr_int(n, CumSum_at_exclusive) != 0;
    along(at, rank, axis, "l", rank);
    gi_str_addf(&k.body, "    %s sum = 0;\n", gi_cl_type(vx->type->dtype));
    if (gi_attr_int(n, CumSum_at_reverse))
        gi_str_addf(&k.body, "    for (ix l = %" PRId64 "; l >= c%d + %d; l--)\n        sum += X(", dims[axis] - 1,
                    axis, except);
    else
        gi_str_addf(&k.body, "    for (ix l = 0; l <= c%d - %d; l++)\n        sum += X(", axis, except);
    gi_cl_index_place(&k.body, &x, at);
    gi_str_add(&k.body, ");\n");
    *took = true;
    return gi_cl_index_end(&k, "sum");
}

/* An item an element of x: its rank among its row is how many come before it, and where that is below K, its place. Of
 * equal ones the first comes first; NaN counts as the greatest. */
static gopt_status launch_topk(gi_cl_build *b, const gi_node *n, int axis, bool indices)
{
    const char *at[GOPT_MAX_RANK], *to[GOPT_MAX_RANK];
    const gi_value *vx = gi_node_in(n, TopK_in_X), *out = n->out[indices ? TopK_out_Indices : TopK_out_Values];
    const bool largest = gi_attr_int(n, TopK_at_largest) != 0;
    gi_cl_index k;
    gi_cl_view x;
    GI_TRY(gi_cl_index_begin(&k, b, n, vx)); /* its coordinates are those of x */
    k.result = out;
    if (!gi_cl_view_of(b, out, &k.y))
        return GOPT_INTERNAL;
    GI_TRY(gi_cl_index_read(&k, vx, "X", &x));
    const char *type = gi_cl_type(vx->type->dtype);
    gi_str *s = &k.body;
    gi_str_addf(s, "    const %s v = X(", type);
    gi_cl_index_place(s, &x, NULL);
    gi_str_addf(s, ");\n    ix before = 0;\n    for (ix l = 0; l < %" PRId64 "; l++) {\n        const %s w = X(",
                x.dims[axis], type);
    along(at, x.rank, axis, "l", x.rank);
    gi_cl_index_place(s, &x, at);
    /* first among equals; NaN is equal to NaN and above all else */
    gi_str_addf(s,
                ");\n        const bool same = w == v || (w != w && v != v);\n        const bool ahead = %s;\n"
                "        before += same ? l < c%d : ahead;\n    }\n",
                largest ? "(w != w) || (v == v && w > v)" : "(v != v) || (w == w && w < v)", axis);
    for (int i = 0; i < x.rank; i++)
        to[i] = i == axis ? "before" : gi_cl_coordinates[i];
    gi_str_addf(s, "    if (before < %" PRId64 ")\n        STORE(%s, ", k.y.dims[axis],
                indices ? gi_cl_coordinates[axis] : "v");
    gi_cl_index_place(s, &k.y, to);
    gi_str_add(s, ");\n");
    return gi_cl_index_launch(&k, gi_product(0, x.rank, x.dims));
}

static gopt_status take_topk(gi_cl_build *b, const gi_node *n, bool *took)
{
    int64_t dims[GOPT_MAX_RANK], dy[GOPT_MAX_RANK];
    int rank, ry, axis;
    if (!is_number(b, gi_node_in(n, TopK_in_X), "its input", &rank, dims) ||
        !gi_axis(gi_attr_int(n, TopK_at_axis), rank, &axis) || n->n_out < 2 ||
        !gi_cl_tensor(b, n->out[0], "its result", &ry, dy) || ry != rank || dy[axis] > dims[axis])
        return GOPT_OK;
    if (dims[axis] > MOST_ROW) {
        (void)gi_cl_decline(b, "its rows are longer than %d", MOST_ROW);
        return GOPT_OK;
    }
    *took = true;
    GI_TRY(launch_topk(b, n, axis, false));
    return launch_topk(b, n, axis, true);
}

gopt_status gi_cl_take_reduce(gi_cl_build *b, const gi_node *n, bool *took)
{
    switch (n->op) {
    case OP_ReduceLogSumExp:
        return take_log_sum_exp(b, n, took);
    case OP_ArgMax:
    case OP_ArgMin:
        return take_arg(b, n, took);
    case OP_CumSum:
        return take_cumsum(b, n, took);
    case OP_TopK:
        return take_topk(b, n, took);
    default:
        for (size_t i = 0; i < GI_COUNT(folds); i++)
            if (folds[i].op == n->op)
                return take_reduction(b, n, &folds[i], took);
        return GOPT_OK;
    }
}
