/* Sums over windows and rows by an item a result, for what no faster kernel takes: transposed convolutions, convolutions
 * and pools of any number of spatial dims, places of maxima, products and convolutions of integers (quantized again or
 * not), products of vectors and of batches that broadcast irregularly.
 *
 * ConvTranspose as a gather: element p of the result takes from the elements n of x whose tap t falls on it,
 * p + pad = n * stride + t * dilation. */
#include <inttypes.h>

#include "backend/opencl/index.h"
#include "ops/conv.h"

static bool is_f32(gi_cl_build *b, const gi_value *v, const char *what, int *rank, int64_t *dims)
{
    return gi_cl_tensor(b, v, what, rank, dims) &&
           (gi_cl_is_float(v->type->dtype) ||
            gi_cl_decline(b, "convolutions are computed in f32 alone, not in %s", gopt_dtype_name(v->type->dtype)));
}

static const char *const taps[] = { "t0", "t1", "t2", "t3",  "t4",  "t5",  "t6",
                                    "t7", "t8", "t9", "t10", "t11", "t12", "t13" };
_Static_assert(GI_WINDOW_MAX <= (int)(sizeof taps / sizeof *taps), "each has a name");

/* A loop over the taps of each spatial dim, with n2 … the place that it reads; it ends where that lies outside. */
static void open_taps(gi_str *s, const gi_window *w, bool transposed)
{
    for (int i = 0; i < w->n; i++) {
        const int k = i + 2;
        gi_str_addf(s, "    for (ix t%d = 0; t%d < %" PRId64 "; t%d++) {\n", i, i, w->kernel[i], i);
        if (transposed)
            gi_str_addf(s,
                        "    const ix p%d = c%d + %" PRId64 " - t%d * %" PRId64 ", n%d = p%d / %" PRId64
                        ";\n    if (p%d < 0 || p%d %% %" PRId64 " || n%d >= %" PRId64 ")\n        continue;\n",
                        i, k, w->begin[i], i, w->dilation[i], k, i, w->stride[i], i, i, w->stride[i], k, w->out[i]);
        else
            gi_str_addf(s,
                        "    const ix n%d = c%d * %" PRId64 " + t%d * %" PRId64 " - %" PRId64
                        ";\n    if (n%d < 0 || n%d >= %" PRId64 ")\n        continue;\n",
                        k, k, w->stride[i], i, w->dilation[i], w->begin[i], k, k, w->in[i]);
    }
}

static void close_taps(gi_str *s, const gi_window *w)
{
    gi_str_add(s, "    ");
    for (int i = 0; i < w->n; i++)
        gi_str_add(s, "}");
    gi_str_add(s, "\n");
}

/* Integers of 8 bits, as quantized operands are. */
static bool is_eight_bits(gi_cl_build *b, const gi_value *v, const char *what, int *rank, int64_t *dims)
{
    return gi_cl_tensor(b, v, what, rank, dims) &&
           (v->type->dtype == GOPT_I8 || v->type->dtype == GOPT_U8 ||
            gi_cl_decline(b, "%s is %s, not of 8 bits", what, gopt_dtype_name(v->type->dtype)));
}

/* Reads a scale or zero point, of one element or one for each of `lines` places of `line`, as the variable that is
 * called like NAME in small letters; absent, it is 0. */
static gopt_status read_line(gi_cl_index *k, const gi_value *v, const char *name, int64_t lines, const char *line,
                             bool *ok)
{
    int rank;
    int64_t dims[GOPT_MAX_RANK];
    char small[8] = "";
    for (size_t i = 0; name[i] && i + 1 < sizeof small; i++)
        small[i] = (char)(name[i] | 0x20);
    *ok = true;
    if (!v) {
        gi_str_addf(&k->body, "    const int %s = 0;\n", small);
        return GOPT_OK;
    }
    *ok = gi_cl_tensor(k->b, v, "a scale or zero point", &rank, dims);
    if (!*ok)
        return GOPT_OK;
    const bool one = gi_product(0, rank, dims) == 1;
    *ok = one || (rank == 1 && dims[0] == lines) ||
          gi_cl_decline(k->b, "its scales and zero points are neither one nor one a line");
    if (!*ok)
        return GOPT_OK;
    GI_TRY(gi_cl_index_read(k, v, name, NULL));
    gi_str_addf(&k->body, "    const %s %s = %s(%s);\n", gi_cl_is_float(v->type->dtype) ? "float" : "int", small, name,
                one ? "0" : line);
    return GOPT_OK;
}

/* Operands of a node, by their index; -1: there is none. Scales and zero points of x, w and the result. */
typedef struct operands {
    bool whole; /* integers of 8 bits */
    int w, bias, x_zero, w_zero, x_scale, w_scale, y_scale, y_zero;
} operands;

static operands operands_of(const gi_node *n)
{
    switch (n->op) {
    case OP_ConvInteger:
    case OP_MatMulInteger:
        return (operands){ true, 1, -1, 2, 3, -1, -1, -1, -1 };
    case OP_QLinearConv:
        return (operands){ true, 3, QLinearConv_in_B, 2, 5, 1, 4, 6, 7 };
    case OP_QLinearMatMul:
        return (operands){ true, 3, -1, 2, 5, 1, 4, 6, 7 };
    default:
        return (operands){ false, 1, 2, -1, -1, -1, -1, -1, -1 };
    }
}

static const gi_value *operand(const gi_node *n, int i)
{
    return i < 0 ? NULL : gi_node_in(n, (uint32_t)i);
}

/* Zero points of both operands, as zx and zw. */
static gopt_status read_zeros(gi_cl_index *k, const gi_node *n, const operands *o, int64_t rows, const char *row,
                              int64_t columns, const char *column, bool *ok)
{
    GI_TRY(read_line(k, operand(n, o->x_zero), "ZX", rows, row, ok));
    return *ok ? read_line(k, operand(n, o->w_zero), "ZW", columns, column, ok) : GOPT_OK;
}

/* Scales of both operands and of the result, as what `sum` is multiplied by, and the zero point of the result. */
static gopt_status read_scales(gi_cl_index *k, const gi_node *n, const operands *o, int64_t rows, const char *row,
                               int64_t columns, const char *column, bool *ok)
{
    GI_TRY(read_line(k, operand(n, o->x_scale), "SX", rows, row, ok));
    if (*ok)
        GI_TRY(read_line(k, operand(n, o->w_scale), "SW", columns, column, ok));
    if (*ok)
        GI_TRY(read_line(k, operand(n, o->y_scale), "SY", rows, row, ok));
    return *ok ? read_line(k, operand(n, o->y_zero), "ZY", rows, row, ok) : GOPT_OK;
}

/* Stores `sum`, quantized again where the node does so: in floats, so that what lies on the border of two numbers to
 * within rounding may become the other one than by the reference, which takes doubles. */
static gopt_status end_sum(gi_cl_index *k, const gi_node *n, const operands *o)
{
    if (o->y_scale < 0)
        return gi_cl_index_end(k, "sum");
    gi_str_add(&k->body, "    const float v = rint((float)sum * (sx * sw / sy)) + zy;\n");
    return gi_cl_index_end_quantized(k, n->out[0]->type->dtype, "v");
}

/* W is [M, C / groups, …] of a convolution, [C, M / groups, …] of a transposed one. */
static gopt_status launch(gi_cl_build *b, const gi_node *n, const gi_window *w, int64_t channels, int64_t groups,
                          bool transposed, bool *took)
{
    const char *x_at[GOPT_MAX_RANK] = { "c0", "n1" },
               *w_at[GOPT_MAX_RANK] = { transposed ? "n1" : "c1", transposed ? "m" : "q" };
    const operands o = operands_of(n);
    const gi_value *bias = operand(n, o.bias);
    gi_cl_index k;
    gi_cl_view x, weights;
    bool ok = true;
    GI_TRY(gi_cl_index_begin(&k, b, n, n->out[0]));
    GI_TRY(gi_cl_index_read(&k, gi_node_in(n, 0), "X", &x));
    GI_TRY(gi_cl_index_read(&k, operand(n, o.w), "W", &weights));
    if (bias)
        GI_TRY(gi_cl_index_read(&k, bias, "B", NULL));
    const int64_t per = channels / groups, made = k.y.dims[1] / groups;
    for (int i = 0; i < w->n; i++) {
        x_at[i + 2] = gi_cl_places[i + 2];
        w_at[i + 2] = taps[i];
    }
    gi_str *s = &k.body;
    if (o.whole)
        GI_TRY(read_zeros(&k, n, &o, 1, "0", k.y.dims[1], "c1", &ok));
    if (ok && o.y_scale >= 0)
        GI_TRY(read_scales(&k, n, &o, 1, "0", k.y.dims[1], "c1", &ok));
    if (!ok)
        return GOPT_OK;
    gi_str_addf(s, "    const ix first = c1 / %" PRId64 " * %" PRId64 ", m = c1 %% %" PRId64 ";\n    %s sum = %s;\n",
                made, per, made, o.whole ? "int" : "float", bias ? "B(c1)" : "0");
    open_taps(s, w, transposed);
    gi_str_addf(s, "    for (ix q = 0; q < %" PRId64 "; q++) {\n        const ix n1 = first + q;\n        sum += %sX(",
                per, o.whole ? "((int)" : "");
    gi_cl_index_place(s, &x, x_at);
    gi_str_add(s, o.whole ? ") - zx) * ((int)W(" : ") * W(");
    gi_cl_index_place(s, &weights, w_at);
    gi_str_add(s, o.whole ? ") - zw);\n    }\n" : ");\n    }\n");
    close_taps(s, w);
    *took = true;
    if (!b->dry) {
        b->s->tactic = "direct";
        b->s->gflop = 2e-9 * (double)gi_product(0, transposed ? x.rank : k.y.rank, transposed ? x.dims : k.y.dims) *
                      (double)(gi_product(0, w->n, w->kernel) * (transposed ? made : per));
    }
    return end_sum(&k, n, &o);
}

/* The types that a convolution of halves or floats, or of integers, has. */
static bool conv_types(gi_cl_build *b, const gi_node *n, const operands *o, int *rx, int64_t *x, int *rw, int64_t *w,
                       int *ry, int64_t *y)
{
    int rb;
    int64_t bias[GOPT_MAX_RANK];
    const gi_value *vb = operand(n, o->bias);
    if (!o->whole)
        return is_f32(b, gi_node_in(n, 0), "X", rx, x) && is_f32(b, operand(n, o->w), "W", rw, w) &&
               is_f32(b, n->out[0], "its result", ry, y) && (!vb || is_f32(b, vb, "B", &rb, bias));
    return is_eight_bits(b, gi_node_in(n, 0), "x", rx, x) && is_eight_bits(b, operand(n, o->w), "w", rw, w) &&
           gi_cl_tensor(b, n->out[0], "its result", ry, y) &&
           (!vb || (gi_cl_tensor(b, vb, "B", &rb, bias) && vb->type->dtype == GOPT_I32));
}

static gopt_status take_conv(gi_cl_build *b, const gi_node *n, bool *took)
{
    const bool transposed = n->op == OP_ConvTranspose;
    const operands o = operands_of(n);
    int rx, rw, ry;
    int64_t x[GOPT_MAX_RANK], w[GOPT_MAX_RANK], y[GOPT_MAX_RANK];
    gi_window win;
    const int64_t groups = gi_attr_int(n, transposed                ? (int)ConvTranspose_at_group
                                          : n->op == OP_ConvInteger ? (int)ConvInteger_at_group
                                          : n->op == OP_QLinearConv ? (int)QLinearConv_at_group
                                                                    : (int)Conv_at_group);
    if (!conv_types(b, n, &o, &rx, x, &rw, w, &ry, y) || rx != rw || rx != ry || rx < 3)
        return GOPT_OK;
    if (!(transposed ? gi_window_of_transposed(n, rx, x, w, &win) : gi_window_of_conv(n, rx, x, w, &win))) {
        (void)gi_cl_decline(b, "%s", win.why);
        return GOPT_OK;
    }
    if (groups < 1 || x[1] % groups || y[1] % groups ||
        (transposed ? w[0] != x[1] || w[1] != y[1] / groups : w[0] != y[1] || w[1] != x[1] / groups))
        return GOPT_OK;
    return launch(b, n, &win, x[1], groups, transposed, took);
}

/* ---- pools ---- */

/* The largest element of a window, or (`indices`) where it lies in all of x: the first of equals, -1 of none. */
static gopt_status launch_max(gi_cl_build *b, const gi_node *n, const gi_window *w, const char *lowest, bool indices)
{
    const char *at[GOPT_MAX_RANK] = { "c0", "c1" };
    const gi_value *vx = gi_node_in(n, 0);
    const bool by_column = gi_attr_int(n, MaxPool_at_storage_order) != 0;
    int64_t scale = 1;
    gi_cl_index k;
    gi_cl_view x;
    GI_TRY(gi_cl_index_begin(&k, b, n, n->out[indices ? MaxPool_out_Indices : MaxPool_out_Y]));
    GI_TRY(gi_cl_index_read(&k, vx, "X", &x));
    for (int i = 0; i < w->n; i++)
        at[i + 2] = gi_cl_places[i + 2];
    gi_str *s = &k.body;
    gi_str_addf(s, "    %s best = %s;\n    long found = -1;\n", gi_cl_type(vx->type->dtype), lowest);
    open_taps(s, w, false);
    gi_str_addf(s, "    const %s v = X(", gi_cl_type(vx->type->dtype));
    gi_cl_index_place(s, &x, at);
    gi_str_add(
        s, ");\n    if (found < 0 || v > best || (v != v && best == best)) {\n        best = v;\n        found = 0");
    for (int i = 0; i < w->n; i++) {
        const int d = by_column ? i : w->n - 1 - i;
        gi_str_addf(s, " + (long)n%d * %" PRId64, d + 2, scale);
        scale *= w->in[d];
    }
    gi_str_add(s, ";\n    }\n");
    close_taps(s, w);
    if (indices)
        gi_str_addf(s, "    found += found < 0 ? 0 : ((long)c0 * %" PRId64 " + c1) * %" PRId64 ";\n", x.dims[1], scale);
    return gi_cl_index_end(&k, indices ? "found" : "best");
}

/* AveragePool and LpPool. */
static gopt_status launch_mean(gi_cl_build *b, const gi_node *n, const gi_window *w)
{
    const bool mean = n->op == OP_AveragePool, pads = mean && gi_attr_int(n, AveragePool_at_count_include_pad);
    const char *at[GOPT_MAX_RANK] = { "c0", "c1" };
    gi_cl_index k;
    gi_cl_view x;
    char value[64];
    GI_TRY(gi_cl_index_begin(&k, b, n, n->out[0]));
    GI_TRY(gi_cl_index_read(&k, gi_node_in(n, 0), "X", &x));
    gi_str *s = &k.body;
    gi_str_add(s, "    float sum = 0.0f, count = 0.0f, padded = 1.0f;\n");
    for (int i = 0; i < w->n; i++) {
        at[i + 2] = gi_cl_places[i + 2];
        if (pads) /* pads count, as far as they reach */
            gi_str_addf(s,
                        "    int inside%d = 0;\n    for (ix t = 0; t < %" PRId64
                        "; t++)\n        inside%d += c%d * %" PRId64 " + t * %" PRId64 " < %" PRId64
                        ";\n    padded *= inside%d;\n",
                        i, w->kernel[i], i, i + 2, w->stride[i], w->dilation[i], w->in[i] + w->begin[i] + w->end[i], i);
    }
    open_taps(s, w, false);
    gi_str_add(s, "    const float v = X(");
    gi_cl_index_place(s, &x, at);
    if (mean)
        gi_str_add(s, ");\n    sum += v;\n    count += 1.0f;\n");
    else
        gi_str_addf(s, ");\n    sum += pow(fabs(v), %" PRId64 ".0f);\n", gi_attr_int(n, LpPool_at_p));
    close_taps(s, w);
    if (mean)
        (void)snprintf(value, sizeof value, "sum / %s", pads ? "padded" : "count");
    else
        (void)snprintf(value, sizeof value, "pow(sum, 1.0f / %" PRId64 ".0f)", gi_attr_int(n, LpPool_at_p));
    return gi_cl_index_end(&k, value);
}

static gopt_status take_pool(gi_cl_build *b, const gi_node *n, bool *took)
{
    const gi_value *vx = gi_node_in(n, 0);
    int rank, ry;
    int64_t x[GOPT_MAX_RANK], y[GOPT_MAX_RANK];
    gi_window w;
    if (!gi_cl_tensor(b, vx, "its input", &rank, x) || !gi_cl_tensor(b, n->out[0], "its result", &ry, y) || rank < 3)
        return GOPT_OK;
    if (!gi_window_read(n, rank - 2, NULL, &w) || !gi_window_place(&w, x + 2)) {
        (void)gi_cl_decline(b, "%s", w.why);
        return GOPT_OK;
    }
    const gopt_dtype t = vx->type->dtype;
    const bool real = gi_cl_is_float(t), max = n->op == OP_MaxPool;
    if ((!real && !(max && (t == GOPT_I8 || t == GOPT_U8))) ||
        (n->op == OP_LpPool && gi_attr_int(n, LpPool_at_p) < 1)) {
        (void)gi_cl_decline(b, "%s of %s is not computed", n->op_name, gopt_dtype_name(t));
        return GOPT_OK;
    }
    *took = true;
    if (!max)
        return launch_mean(b, n, &w);
    const char *lowest = real ? "-INFINITY" : t == GOPT_I8 ? "-128" : "0";
    GI_TRY(launch_max(b, n, &w, lowest, false));
    return n->n_out > MaxPool_out_Indices && n->out[MaxPool_out_Indices]->n_uses ? launch_max(b, n, &w, lowest, true)
                                                                                 : GOPT_OK;
}

/* ---- products ---- */

static bool is_number(gi_cl_build *b, const gi_value *v, const char *what, int *rank, int64_t *dims)
{
    return gi_cl_tensor(b, v, what, rank, dims) && v->type->dtype != GOPT_BOOL;
}

/* MatMul, MatMulInteger and QLinearMatMul: A [batch…, M, K] or [K], B [batch…, K, N] or [K]. */
static gopt_status take_product(gi_cl_build *b, const gi_node *n, bool *took)
{
    const operands o = operands_of(n);
    const gi_value *va = gi_node_in(n, 0), *vb = operand(n, o.w);
    int ra, rb, ry;
    int64_t da[GOPT_MAX_RANK], db[GOPT_MAX_RANK], dy[GOPT_MAX_RANK];
    const char *a_at[GOPT_MAX_RANK], *b_at[GOPT_MAX_RANK];
    gi_cl_index k;
    gi_cl_view a, bb;
    bool ok = true;
    if (!(o.whole ? is_eight_bits : is_number)(b, va, "A", &ra, da) ||
        !(o.whole ? is_eight_bits : is_number)(b, vb, "B", &rb, db) ||
        !is_number(b, n->out[0], "its result", &ry, dy) || ra < 1 || rb < 1)
        return GOPT_OK;
    const bool row = ra > 1, column = rb > 1;
    const int batch = ry - row - column;
    GI_TRY(gi_cl_index_begin(&k, b, n, n->out[0]));
    GI_TRY(gi_cl_index_read(&k, va, "A", &a));
    GI_TRY(gi_cl_index_read(&k, vb, "B", &bb));
    for (int i = 0; i < ra; i++) /* a dim of one element has no part in the place */
        a_at[i] = i == ra - 1 ? "l" : i == ra - 2 ? gi_cl_coordinates[batch] : gi_cl_coordinates[batch - (ra - 2) + i];
    for (int i = 0; i < rb; i++)
        b_at[i] = !column || i == rb - 2 ? "l"
                  : i == rb - 1          ? gi_cl_coordinates[ry - 1]
                                         : gi_cl_coordinates[batch - (rb - 2) + i];
    gi_str *s = &k.body;
    const int64_t rows = row ? da[ra - 2] : 1, columns = column ? db[rb - 1] : 1;
    const char *at_row = row ? gi_cl_coordinates[batch] : "0", *at_column = column ? gi_cl_coordinates[ry - 1] : "0";
    if (o.whole)
        GI_TRY(read_zeros(&k, n, &o, rows, at_row, columns, at_column, &ok));
    if (ok && o.y_scale >= 0)
        GI_TRY(read_scales(&k, n, &o, rows, at_row, columns, at_column, &ok));
    if (!ok)
        return GOPT_OK;
    gi_str_addf(s, "    %s sum = 0;\n    for (ix l = 0; l < %" PRId64 "; l++)\n        sum += %sA(",
                o.whole ? "int" : gi_cl_type(n->out[0]->type->dtype), da[ra - 1], o.whole ? "((int)" : "");
    gi_cl_index_place(s, &a, a_at);
    gi_str_add(s, o.whole ? ") - zx) * ((int)B(" : ") * B(");
    gi_cl_index_place(s, &bb, b_at);
    gi_str_add(s, o.whole ? ") - zw);\n" : ");\n");
    *took = true;
    if (!b->dry) {
        b->s->tactic = "direct";
        b->s->gflop = 2e-9 * (double)gi_product(0, ry, dy) * (double)da[ra - 1];
    }
    return end_sum(&k, n, &o);
}

gopt_status gi_cl_take_direct(gi_cl_build *b, const gi_node *n, bool *took)
{
    switch (n->op) {
    case OP_Conv:
    case OP_ConvTranspose:
    case OP_ConvInteger:
    case OP_QLinearConv:
        return take_conv(b, n, took);
    case OP_MaxPool:
    case OP_AveragePool:
    case OP_LpPool:
        return take_pool(b, n, took);
    case OP_MatMul:
    case OP_MatMulInteger:
    case OP_QLinearMatMul:
        return take_product(b, n, took);
    default:
        return GOPT_OK;
    }
}
