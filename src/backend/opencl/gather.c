/* Picking and putting by index: Gather and its kin, OneHot, Scatter.
 *
 * Indices that are constants are checked here and become a table of the kernel's. Of those that are known only in a run,
 * one that points outside gives 0, and puts nothing: a kernel cannot stop a run. */
#include <inttypes.h>

#include "backend/opencl/index.h"
#include "ops/eval.h"

static bool is_index(gi_cl_build *b, const gi_value *v, int *rank, int64_t *dims)
{
    if (!gi_cl_tensor(b, v, "its indices", rank, dims))
        return false;
    return (gi_dtype_class(v->type->dtype) == GI_SINT || gi_dtype_class(v->type->dtype) == GI_UINT) ||
           gi_cl_decline(b, "its indices are %s", gopt_dtype_name(v->type->dtype));
}

/* Reads `indices` as N(i): a table where they are constants, of which none is negative. *checked: it is one. *ok false
 * where one points outside of `length`. */
static gopt_status read_indices(gi_cl_index *k, gi_value *v, int64_t length, gi_cl_view *view, bool *checked, bool *ok)
{
    const gi_blob *blob = gi_value_blob(v);
    *checked = blob != NULL;
    *ok = true;
    if (!blob)
        return gi_cl_index_read(k, v, "N", view);
    const size_t n = (size_t)gi_blob_elements(blob);
    int64_t *p = GI_NEW_ARRAY(k->b->arena, int64_t, n + 1);
    GI_NEED(p);
    for (size_t i = 0; i < n && *ok; i++) {
        p[i] = gi_load_i64(blob->dtype, blob->data, i);
        p[i] += p[i] < 0 ? length : 0;
        *ok = (p[i] >= 0 && p[i] < length) || gi_cl_decline(k->b, "an index points outside");
    }
    if (!*ok)
        return GOPT_OK;
    if (!gi_cl_view_of(k->b, v, view))
        return GOPT_INTERNAL;
    return gi_cl_index_ints(k, "N", p, n);
}

/* "const ix n = …": the index whose place is `at`. */
static void write_index(gi_cl_index *k, const gi_cl_view *view, const char *const *at, int64_t length, bool checked)
{
    gi_str_add(&k->body, checked ? "    const ix n = N(" : "    const long m = N(");
    gi_cl_index_place(&k->body, view, at);
    gi_str_add(&k->body, ");\n");
    if (!checked)
        gi_str_addf(&k->body,
                    "    const bool inside = m >= -%" PRId64 " && m < %" PRId64
                    ";\n    const ix n = inside ? m < 0 ? m + "
                    "%" PRId64 " : m : 0;\n",
                    length, length, length);
}

/* Ends with the element of X at `at`; 0 where the index points outside. */
static gopt_status end_picked(gi_cl_index *k, const gi_cl_view *x, const char *const *at, bool checked, bool empty)
{
    gi_str s;
    gi_str_init(&s, k->b->arena);
    gi_str_add(&s, empty ? "0" : checked ? "X(" : "inside ? X(");
    if (!empty)
        gi_cl_index_place(&s, x, at);
    gi_str_add(&s, empty ? "" : checked ? ")" : ") : 0");
    GI_NEED(!s.failed);
    return gi_cl_index_end(k, s.p);
}

static const char *const *const names = gi_cl_coordinates;

static gopt_status take_gather(gi_cl_build *b, const gi_node *n, bool *took)
{
    const gi_value *x = gi_node_in(n, Gather_in_data);
    gi_value *indices = gi_node_in(n, Gather_in_indices);
    int rank, ri, axis, ry;
    int64_t dx[GOPT_MAX_RANK], di[GOPT_MAX_RANK], dy[GOPT_MAX_RANK];
    const char *at[GOPT_MAX_RANK];
    gi_cl_index k;
    gi_cl_view vx, vi;
    bool checked, ok;
    if (!gi_cl_movable(b, x, "its data", &rank, dx) || !is_index(b, indices, &ri, di) ||
        !gi_cl_movable(b, n->out[0], "its result", &ry, dy) || !gi_axis(gi_attr_int(n, Gather_at_axis), rank, &axis))
        return GOPT_OK;
    GI_TRY(gi_cl_index_begin(&k, b, n, n->out[0]));
    GI_TRY(read_indices(&k, indices, dx[axis], &vi, &checked, &ok));
    if (!ok)
        return GOPT_OK;
    GI_TRY(gi_cl_index_read(&k, x, "X", &vx));
    write_index(&k, &vi, names + axis, dx[axis], checked);
    for (int i = 0; i < rank; i++)
        at[i] = i < axis ? names[i] : i == axis ? "n" : names[i + ri - 1];
    *took = true;
    return end_picked(&k, &vx, at, checked, !gi_product(0, rank, dx));
}

static gopt_status take_gather_elements(gi_cl_build *b, const gi_node *n, bool *took)
{
    const gi_value *x = gi_node_in(n, GatherElements_in_data);
    gi_value *indices = gi_node_in(n, GatherElements_in_indices);
    int rank, ri, axis;
    int64_t dx[GOPT_MAX_RANK], di[GOPT_MAX_RANK];
    const char *at[GOPT_MAX_RANK];
    gi_cl_index k;
    gi_cl_view vx, vi;
    bool checked, ok;
    if (!gi_cl_movable(b, x, "its data", &rank, dx) || !is_index(b, indices, &ri, di) || rank != ri ||
        !gi_axis(gi_attr_int(n, GatherElements_at_axis), rank, &axis))
        return GOPT_OK;
    for (int i = 0; i < rank; i++)
        if (i != axis && di[i] > dx[i]) {
            (void)gi_cl_decline(b, "its indices reach past its data");
            return GOPT_OK;
        }
    GI_TRY(gi_cl_index_begin(&k, b, n, n->out[0]));
    GI_TRY(read_indices(&k, indices, dx[axis], &vi, &checked, &ok));
    if (!ok)
        return GOPT_OK;
    GI_TRY(gi_cl_index_read(&k, x, "X", &vx));
    write_index(&k, &vi, names, dx[axis], checked);
    for (int i = 0; i < rank; i++)
        at[i] = i == axis ? "n" : names[i];
    *took = true;
    return end_picked(&k, &vx, at, checked, !gi_product(0, rank, dx));
}

/* The rows of indices of GatherND and ScatterND: "const ix n0 = …", and whether all of them point inside. */
static void write_row(gi_cl_index *k, const gi_cl_view *indices, int lead, int width, const int64_t *dims)
{
    gi_str_add(&k->body, "    bool inside = true;\n");
    for (int j = 0; j < width; j++) {
        char last[16];
        const char *at[GOPT_MAX_RANK];
        (void)snprintf(last, sizeof last, "%d", j);
        for (int i = 0; i < lead; i++)
            at[i] = names[i];
        at[lead] = last;
        gi_str_addf(&k->body, "    long n%d = N(", j);
        gi_cl_index_place(&k->body, indices, at);
        gi_str_addf(&k->body,
                    ");\n    inside = inside && n%d >= -%" PRId64 " && n%d < %" PRId64
                    ";\n    n%d += n%d < 0 ? %" PRId64 " : 0;\n",
                    j, dims[j], j, dims[j], j, j, dims[j]);
    }
}

static const char *const *const row_names = gi_cl_places;

static gopt_status take_gather_nd(gi_cl_build *b, const gi_node *n, bool *took)
{
    const gi_value *x = gi_node_in(n, GatherND_in_data), *indices = gi_node_in(n, GatherND_in_indices);
    int rank, ri, ry;
    int64_t dx[GOPT_MAX_RANK], di[GOPT_MAX_RANK], dy[GOPT_MAX_RANK];
    const char *at[GOPT_MAX_RANK];
    gi_cl_index k;
    gi_cl_view vx, vi;
    const int64_t batch = gi_attr_int(n, GatherND_at_batch_dims);
    if (!gi_cl_movable(b, x, "its data", &rank, dx) || !is_index(b, indices, &ri, di) || ri < 1 ||
        !gi_cl_movable(b, n->out[0], "its result", &ry, dy) || batch < 0 || batch >= ri || batch + di[ri - 1] > rank)
        return GOPT_OK;
    const int lead = ri - 1, width = (int)di[ri - 1], first = (int)batch + width;
    GI_TRY(gi_cl_index_begin(&k, b, n, n->out[0]));
    GI_TRY(gi_cl_index_read(&k, indices, "N", &vi));
    GI_TRY(gi_cl_index_read(&k, x, "X", &vx));
    write_row(&k, &vi, lead, width, dx + batch);
    for (int i = 0; i < rank; i++)
        at[i] = i < batch ? names[i] : i < first ? row_names[i - batch] : names[lead + i - first];
    *took = true;
    return end_picked(&k, &vx, at, false, !gi_product(0, rank, dx));
}

static gopt_status take_one_hot(gi_cl_build *b, const gi_node *n, bool *took)
{
    const gi_value *indices = gi_node_in(n, OneHot_in_indices), *values = gi_node_in(n, OneHot_in_values);
    int ri, ry, rv, axis;
    int64_t di[GOPT_MAX_RANK], dy[GOPT_MAX_RANK], dv[GOPT_MAX_RANK];
    const char *at[GOPT_MAX_RANK];
    gi_cl_index k;
    gi_cl_view vi, vv;
    gi_str s;
    if (!is_index(b, indices, &ri, di) || !gi_cl_movable(b, n->out[0], "its result", &ry, dy) ||
        !gi_cl_movable(b, values, "its values", &rv, dv) || !gi_axis(gi_attr_int(n, OneHot_at_axis), ry, &axis) ||
        gi_product(0, rv, dv) != 2)
        return GOPT_OK;
    GI_TRY(gi_cl_index_begin(&k, b, n, n->out[0]));
    GI_TRY(gi_cl_index_read(&k, indices, "N", &vi));
    GI_TRY(gi_cl_index_read(&k, values, "X", &vv));
    for (int i = 0; i < ri; i++)
        at[i] = names[i < axis ? i : i + 1];
    gi_str_add(&k.body, "    const long n = N(");
    gi_cl_index_place(&k.body, &vi, at);
    gi_str_add(&k.body, ");\n");
    gi_str_init(&s, b->arena);
    gi_str_addf(&s, "X((n < 0 ? n + %" PRId64 " : n) == c%d)", dy[axis], axis);
    GI_NEED(!s.failed);
    *took = true;
    return gi_cl_index_end(&k, s.p);
}

/* ---- putting ---- */

/* All of data, into the result. */
static gopt_status copy_data(gi_cl_build *b, const gi_node *n)
{
    gi_cl_index k;
    gi_cl_view x;
    gi_str s;
    GI_TRY(gi_cl_index_begin(&k, b, n, n->out[0]));
    GI_TRY(gi_cl_index_read(&k, gi_node_in(n, 0), "X", &x));
    gi_str_init(&s, b->arena);
    gi_str_add(&s, "X(");
    gi_cl_index_place(&s, &x, NULL);
    gi_str_add(&s, ")");
    GI_NEED(!s.failed);
    return gi_cl_index_end(&k, s.p);
}

/* An item an update: where several name one place, which of them stays is not said, as ONNX has it. */
static gopt_status take_scatter(gi_cl_build *b, const gi_node *n, bool rows, bool *took)
{
    const gi_value *x = gi_node_in(n, 0), *indices = gi_node_in(n, 1), *updates = gi_node_in(n, 2);
    int rank, ri, ru, axis = 0;
    int64_t dx[GOPT_MAX_RANK], di[GOPT_MAX_RANK], du[GOPT_MAX_RANK];
    const char *at[GOPT_MAX_RANK];
    gi_cl_index k;
    gi_cl_view y, vi, vu;
    const char *how = n->op == OP_Scatter
                          ? "none"
                          : gi_attr_str(n, rows ? (int)ScatterND_at_reduction : (int)ScatterElements_at_reduction);
    if (!gi_cl_movable(b, x, "its data", &rank, dx) || !is_index(b, indices, &ri, di) ||
        !gi_cl_movable(b, updates, "its updates", &ru, du))
        return GOPT_OK;
    if (how && *how && strcmp(how, "none") != 0) {
        (void)gi_cl_decline(b, "updates that are reduced are not taken");
        return GOPT_OK;
    }
    if (rows ? ri < 1 || di[ri - 1] > rank
             : ri != rank ||
                   !gi_axis(gi_attr_int(n, n->op == OP_Scatter ? (int)Scatter_at_axis : (int)ScatterElements_at_axis),
                            rank, &axis))
        return GOPT_OK;
    *took = true;
    GI_TRY(copy_data(b, n));
    /* its coordinates are those of the updates */
    GI_TRY(gi_cl_index_begin(&k, b, n, updates));
    k.result = n->out[0];
    if (!gi_cl_view_of(b, n->out[0], &y))
        return GOPT_INTERNAL;
    k.y = y;
    k.wide = k.wide || y.room > INT32_MAX / 2;
    GI_TRY(gi_cl_index_read(&k, indices, "N", &vi));
    GI_TRY(gi_cl_index_read(&k, updates, "U", &vu));
    if (rows) {
        const int lead = ri - 1, width = (int)di[ri - 1];
        write_row(&k, &vi, lead, width, dx);
        for (int i = 0; i < rank; i++)
            at[i] = i < width ? row_names[i] : names[lead + i - width];
    } else {
        write_index(&k, &vi, names, dx[axis], false);
        for (int i = 0; i < rank; i++)
            at[i] = i == axis ? "n" : names[i];
    }
    gi_str_add(&k.body, "    if (inside)\n        STORE(U(");
    gi_cl_index_place(&k.body, &vu, NULL);
    gi_str_add(&k.body, "), ");
    gi_cl_index_place(&k.body, &y, at);
    gi_str_add(&k.body, ");\n");
    return gi_cl_index_launch(&k, gi_product(0, ru, du));
}

gopt_status gi_cl_take_gather(gi_cl_build *b, const gi_node *n, bool *took)
{
    switch (n->op) {
    case OP_Gather:
        return take_gather(b, n, took);
    case OP_GatherElements:
        return take_gather_elements(b, n, took);
    case OP_GatherND:
        return take_gather_nd(b, n, took);
    case OP_OneHot:
        return take_one_hot(b, n, took);
    case OP_Scatter:
    case OP_ScatterElements:
        return take_scatter(b, n, false, took);
    case OP_ScatterND:
        return take_scatter(b, n, true, took);
    default:
        return GOPT_OK;
    }
}
