/* Matrices: products, diagonals, triangles. */
#include "aten/ops/pointwise.h"

/* ---- products ---- */

/* Their common type; half and its kin are multiplied as they are. */
bool gi_aten_matmul(gi_aten *a)
{
    gi_value *x = gi_aten_tensor(a, "self");
    gi_value *y = gi_aten_tensor(a, gi_aten_has(a, "other")  ? "other"
                                    : gi_aten_has(a, "mat2") ? "mat2"
                                    : gi_aten_has(a, "vec")  ? "vec"
                                                             : "tensor");
    return gi_aten_promote(a, GI_ATEN_RESULT, 2, (gi_value * *[]){ &x, &y }) &&
           gi_aten_return(a, 0, gi_aten_2(a, OP_MatMul, x, y));
}

/* Every element with every other. */
bool gi_aten_outer(gi_aten *a)
{
    gi_value *x = gi_aten_tensor(a, "self"), *y = gi_aten_tensor(a, "vec2");
    static const int64_t behind[] = { 1 };
    return gi_aten_promote(a, GI_ATEN_RESULT, 2, (gi_value * *[]){ &x, &y }) &&
           gi_aten_return(a, 0, gi_aten_2(a, OP_Mul, gi_aten_unsqueeze(a, x, 1, behind), y));
}

/* x with the last two dims, if it has two, turned. */
static gi_value *turned(gi_aten *a, gi_value *x)
{
    int rank;
    int64_t perm[GOPT_MAX_RANK];
    if (!x || !gi_aten_rank(a, x, &rank))
        return NULL;
    for (int i = 0; i < rank; i++)
        perm[i] = i < rank - 2 ? i : 2 * rank - 3 - i;
    return rank > 1 ? gi_aten_transpose(a, x, rank, perm) : x;
}

/* input · weightᵀ + bias: a Gemm of two matrices, MatMul of more dims. */
bool gi_aten_linear(gi_aten *a)
{
    gi_value *x = gi_aten_tensor(a, "input"), *w = gi_aten_tensor(a, "weight"), *b = gi_aten_tensor(a, "bias");
    int rank, w_rank;
    if (!gi_aten_rank(a, x, &rank) || !gi_aten_rank(a, w, &w_rank))
        return false;
    if (rank == 2 && w_rank == 2 && gi_aten_is_float(x))
        return gi_aten_return(a, 0, gi_aten_make(a, OP_Gemm, b ? 3 : 2, (gi_value *[]){ x, w, b }, "transB = 1"));
    gi_value *y = gi_aten_2(a, OP_MatMul, x, turned(a, w));
    return gi_aten_return(a, 0, b ? gi_aten_2(a, OP_Add, y, b) : y);
}

/* beta · self + alpha · (product, of batches summed where row->arg says so). Zero beta leaves self out, NaN too. */
bool gi_aten_addmm(gi_aten *a)
{
    static const char *const left[] = { "mat1", "batch1", "mat", "vec1" }, *const right[] = { "mat2", "batch2", "vec",
                                                                                              "vec2" };
    gi_value *s = gi_aten_tensor(a, "self"), *x = NULL, *y = NULL;
    double alpha, beta;
    int rank;
    gopt_dtype t;
    for (size_t i = 0; i < GI_COUNT(left); i++)
        if (gi_aten_has(a, left[i])) {
            x = gi_aten_tensor(a, left[i]);
            y = gi_aten_tensor(a, right[i]);
        }
    if (!gi_aten_float(a, "alpha", &alpha) || !gi_aten_float(a, "beta", &beta) ||
        !gi_aten_promote(a, GI_ATEN_RESULT, 3, (gi_value * *[]){ &s, &x, &y }) || !gi_aten_rank(a, s, &rank) ||
        !gi_aten_dtype_of(a, s, &t))
        return false;
    if (!strcmp(a->row->name, "addmm") && gi_aten_is_float(s) && rank <= 2)
        return gi_aten_return(a, 0,
                              gi_aten_make(a, OP_Gemm, beta == 0 ? 2 : 3, (gi_value *[]){ x, y, s },
                                           "alpha = %.9g, beta = %.9g", alpha, beta == 0 ? 1 : beta));
    static const int64_t first[] = { 0 }, behind[] = { 1 };
    gi_value *p = strcmp(a->row->name, "addr") ? gi_aten_2(a, OP_MatMul, x, y)
                                               : gi_aten_2(a, OP_Mul, gi_aten_unsqueeze(a, x, 1, behind), y);
    p = a->row->arg ? gi_aten_reduce(a, OP_ReduceSum, p, 1, first, false) : p;
    p = alpha != 1 ? gi_aten_2(a, OP_Mul, p, gi_aten_scalar_value(a, "alpha", t)) : p;
    if (beta == 0)
        return gi_aten_return(a, 0, p);
    s = beta != 1 ? gi_aten_2(a, OP_Mul, s, gi_aten_scalar_value(a, "beta", t)) : s;
    return gi_aten_return(a, 0, gi_aten_2(a, OP_Add, s, p));
}

static gi_value *einsum(gi_aten *a, uint32_t n, gi_value *const *x, const char *equation)
{
    return gi_aten_make(a, OP_Einsum, n, x, "equation = \"%s\"", equation);
}

bool gi_aten_einsum(gi_aten *a)
{
    uint32_t n;
    gi_value **x, ***p;
    const char *equation;
    if (!gi_aten_tensors(a, "tensors", &n, &x) || !gi_aten_str(a, "equation", &equation) || !n || !equation)
        return gi_aten_decline(a, "there is nothing in its list");
    p = GI_NEW_ARRAY(a->scratch, gi_value **, n);
    for (uint32_t i = 0; p && i < n; i++)
        p[i] = &x[i];
    if (strspn(equation, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ.,-> ") != strlen(equation))
        return gi_aten_decline(a, "its equation is '%s'", equation);
    return p && gi_aten_promote(a, GI_ATEN_RESULT, n, p) && gi_aten_return(a, 0, einsum(a, n, x, equation));
}

/* Sums over pairs of dims: an Einsum, whose letters are made here. */
bool gi_aten_tensordot(gi_aten *a)
{
    gi_value *x[2] = { gi_aten_tensor(a, "self"), gi_aten_tensor(a, "other") };
    uint32_t n, m;
    const int64_t *dx, *dy;
    int rx, ry;
    char left[GOPT_MAX_RANK + 1] = "", right[GOPT_MAX_RANK + 1] = "", out[2 * GOPT_MAX_RANK + 1] = "";
    if (!gi_aten_promote(a, GI_ATEN_RESULT, 2, (gi_value * *[]){ &x[0], &x[1] }) || !gi_aten_rank(a, x[0], &rx) ||
        !gi_aten_rank(a, x[1], &ry) || !gi_aten_ints(a, "dims_self", &n, &dx) ||
        !gi_aten_ints(a, "dims_other", &m, &dy))
        return false;
    if (n != m || rx + ry > 26)
        return gi_aten_decline(a, "it sums %u dims with %u", n, m);
    for (int i = 0; i < rx; i++)
        left[i] = (char)('a' + i);
    for (int i = 0; i < ry; i++)
        right[i] = (char)('a' + rx + i);
    for (uint32_t i = 0; i < n; i++) {
        const int64_t p = dx[i] < 0 ? dx[i] + rx : dx[i], q = dy[i] < 0 ? dy[i] + ry : dy[i];
        if (p < 0 || p >= rx || q < 0 || q >= ry)
            return gi_aten_decline(a, "its dims %lld and %lld are none of ranks %d and %d", (long long)dx[i],
                                   (long long)dy[i], rx, ry);
        right[q] = left[p];
    }
    size_t k = 0;
    for (int i = 0; i < rx; i++)
        if (!strchr(right, left[i]))
            out[k++] = left[i];
    for (int i = 0; i < ry; i++)
        if (!strchr(left, right[i]))
            out[k++] = right[i];
    return gi_aten_return(a, 0, einsum(a, 2, x, gi_arena_printf(a->scratch, "%s,%s->%s", left, right, out)));
}

/* Over the last dims of both. */
bool gi_aten_inner(gi_aten *a)
{
    gi_value *x[2] = { gi_aten_tensor(a, "self"), gi_aten_tensor(a, "other") };
    int rx, ry;
    char left[GOPT_MAX_RANK + 1] = "", right[GOPT_MAX_RANK + 1] = "";
    if (!gi_aten_promote(a, GI_ATEN_RESULT, 2, (gi_value * *[]){ &x[0], &x[1] }) || !gi_aten_rank(a, x[0], &rx) ||
        !gi_aten_rank(a, x[1], &ry))
        return false;
    if (!rx || !ry)
        return gi_aten_return(a, 0, gi_aten_2(a, OP_Mul, x[0], x[1]));
    if (rx + ry > 26)
        return gi_aten_decline(a, "its ranks are %d and %d", rx, ry);
    for (int i = 0; i < rx - 1; i++)
        left[i] = (char)('a' + i);
    for (int i = 0; i < ry - 1; i++)
        right[i] = (char)('a' + rx + i);
    return gi_aten_return(a, 0,
                          einsum(a, 2, x, gi_arena_printf(a->scratch, "%sz,%sz->%s%s", left, right, left, right)));
}

/* input1ᵀ · weight · input2 for each output, and the bias. */
bool gi_aten_bilinear(gi_aten *a)
{
    gi_value *x[3] = { gi_aten_tensor(a, "input1"), gi_aten_tensor(a, "weight"), gi_aten_tensor(a, "input2") },
             *b = gi_aten_tensor(a, "bias");
    gi_value *y = einsum(a, 3, x, "...i,oij,...j->...o");
    int rank;
    if (!gi_aten_rank(a, x[0], &rank))
        return false;
    if (rank == 2)
        y = einsum(a, 3, x, "bi,oij,bj->bo");
    return gi_aten_return(a, 0, b ? gi_aten_2(a, OP_Add, y, b) : y);
}

/* Of several matrices from the left. */
bool gi_aten_multi_dot(gi_aten *a)
{
    uint32_t n;
    gi_value **x;
    if (!gi_aten_tensors(a, gi_aten_has(a, "tensors") ? "tensors" : "matrices", &n, &x))
        return false;
    if (!n)
        return gi_aten_decline(a, "there is nothing in its list");
    gi_value *y = x[0];
    for (uint32_t i = 1; i < n; i++)
        y = gi_aten_2(a, OP_MatMul, y, x[i]);
    return gi_aten_return(a, 0, y);
}

/* Powers by squaring. */
bool gi_aten_matrix_power(gi_aten *a)
{
    gi_value *x = gi_aten_tensor(a, "self"), *y = NULL;
    int64_t n;
    if (!gi_aten_int(a, "n", &n))
        return false;
    if (n < 1 || n > 1 << 20)
        return gi_aten_decline(a, "its power is %lld, expected 1 or more", (long long)n);
    for (; n; n >>= 1) {
        if (n & 1)
            y = y ? gi_aten_2(a, OP_MatMul, y, x) : x;
        x = n > 1 ? gi_aten_2(a, OP_MatMul, x, x) : x;
    }
    return gi_aten_return(a, 0, y);
}

/* Each element of the one times the whole of the other: dims side by side, then joined in pairs. */
bool gi_aten_kron(gi_aten *a)
{
    gi_value *x = gi_aten_tensor(a, "self"), *y = gi_aten_tensor(a, "other");
    int rx, ry;
    if (!gi_aten_promote(a, GI_ATEN_RESULT, 2, (gi_value * *[]){ &x, &y }) || !gi_aten_rank(a, x, &rx) ||
        !gi_aten_rank(a, y, &ry))
        return false;
    const int r = rx > ry ? rx : ry;
    int64_t dx[GOPT_MAX_RANK], dy[GOPT_MAX_RANK], wx[2 * GOPT_MAX_RANK], wy[2 * GOPT_MAX_RANK], out[GOPT_MAX_RANK];
    if (!gi_type_static_dims(x->type, dx) || !gi_type_static_dims(y->type, dy) || 2 * r > GOPT_MAX_RANK)
        return gi_aten_decline(a, "its sizes are not known, or too many");
    for (int i = 0; i < r; i++) {
        const int64_t p = i < r - rx ? 1 : dx[i - (r - rx)], q = i < r - ry ? 1 : dy[i - (r - ry)];
        wx[2 * i] = p;
        wx[2 * i + 1] = wy[2 * i] = 1;
        wy[2 * i + 1] = q;
        if (!gi_mul_i64(p, q, &out[i]))
            return gi_aten_decline(a, "its result is too large");
    }
    gi_value *p =
        gi_aten_2(a, OP_Mul, gi_aten_reshape(a, x, 2 * (uint32_t)r, wx), gi_aten_reshape(a, y, 2 * (uint32_t)r, wy));
    return gi_aten_return(a, 0, gi_aten_reshape(a, p, (uint32_t)r, out));
}

static gi_value *turn(gi_aten *a, gi_value *x, const int64_t *order, int64_t axis)
{
    return gi_aten_make(a, OP_Gather, 2, (gi_value *[]){ x, gi_aten_list(a, 3, order) }, "axis = %lld",
                        (long long)axis);
}

static gi_value *cross(gi_aten *a, gi_value *x, gi_value *y, int64_t axis)
{
    static const int64_t next[] = { 1, 2, 0 }, last[] = { 2, 0, 1 };
    gi_value *p = gi_aten_2(a, OP_Mul, turn(a, x, next, axis), turn(a, y, last, axis));
    return gi_aten_2(a, OP_Sub, p, gi_aten_2(a, OP_Mul, turn(a, x, last, axis), turn(a, y, next, axis)));
}

/* Along a dim of three: the first of that size where none is given. */
bool gi_aten_cross(gi_aten *a)
{
    gi_value *x = gi_aten_tensor(a, "self"), *y = gi_aten_tensor(a, "other");
    int rank;
    int64_t axis = -1, dim;
    if (!gi_aten_promote(a, GI_ATEN_RESULT, 2, (gi_value * *[]){ &x, &y }) || !gi_aten_rank(a, x, &rank))
        return false;
    if (gi_aten_has(a, "dim")) {
        if (!gi_aten_axis(a, "dim", rank, &axis))
            return false;
    } else {
        for (int i = rank - 1; i >= 0; i--)
            if (gi_type_dim_const(x->type, i, &dim) && dim == 3)
                axis = i;
        if (axis < 0)
            return gi_aten_decline(a, "it has no dim of three");
    }
    return gi_aten_return(a, 0, cross(a, x, y, axis));
}

/* Distances of all rows of x1 to all of x2. */
bool gi_aten_cdist(gi_aten *a)
{
    gi_value *x = gi_aten_tensor(a, "x1"), *y = gi_aten_tensor(a, "x2");
    double p;
    int rx, ry;
    gopt_dtype t;
    static const int64_t last = -1;
    if (!gi_aten_float(a, "p", &p) || !gi_aten_wide(a, GI_ATEN_TO_FLOAT, &t, 2, (gi_value * *[]){ &x, &y }) ||
        !gi_aten_rank(a, x, &rx) || !gi_aten_rank(a, y, &ry))
        return false;
    const int64_t behind = rx - 1, before = ry - 2;
    if (rx < 2 || ry < 2)
        return gi_aten_decline(a, "its ranks are %d and %d, expected 2 or more", rx, ry);
    gi_value *d = gi_aten_2(a, OP_Sub, gi_aten_unsqueeze(a, x, 1, &behind), gi_aten_unsqueeze(a, y, 1, &before));
    return d && gi_aten_return(a, 0, gi_aten_cast(a, gi_aten_p_norm(a, d, 1, &last, false, p), t));
}

/* ---- determinants and inverses ---- */

bool gi_aten_det(gi_aten *a)
{
    gi_value *d = gi_aten_1(a, OP_Det, gi_aten_tensor(a, gi_aten_has(a, "A") ? "A" : "self"));
    if (!strcmp(a->row->name, "logdet"))
        d = gi_aten_1(a, OP_Log, d);
    if (strcmp(a->row->name, "linalg_slogdet") != 0)
        return gi_aten_return(a, 0, d);
    return gi_aten_return(a, 0, gi_aten_1(a, OP_Sign, d)) &&
           gi_aten_return(a, 1, gi_aten_1(a, OP_Log, gi_aten_1(a, OP_Abs, d)));
}

/* Row i of each matrix. */
static gi_value *row(gi_aten *a, gi_value *x, int64_t i)
{
    return gi_aten_make(a, OP_Gather, 2, (gi_value *[]){ x, gi_const_i64(a->g, 0, 1, &i) }, "axis = -2");
}

/* Up to three rows by cofactors: of three the columns are cross products of the rows, by their determinant. */
bool gi_aten_inverse(gi_aten *a)
{
    gi_value *x = gi_aten_tensor(a, gi_aten_has(a, "A") ? "A" : "self"), *y = NULL;
    int rank;
    int64_t n;
    if (!gi_aten_rank(a, x, &rank) || rank < 2 || !gi_aten_dim_const(a, x, -1, &n))
        return rank < 2 ? gi_aten_decline(a, "its rank is %d, expected 2 or more", rank) : false;
    const int64_t last = rank - 1, before = rank - 2;
    if (n == 1)
        return gi_aten_return(a, 0, gi_aten_1(a, OP_Reciprocal, x));
    if (n > 3)
        return gi_aten_decline(a, "matrices of %lld rows are inverted up to three", (long long)n);
    gi_value *d = gi_aten_unsqueeze(a, gi_aten_unsqueeze(a, gi_aten_1(a, OP_Det, x), 1, &before), 1, &last);
    if (n == 2) { /* [d, −b; −c, a]: both dims turned round, then transposed, with signs */
        gi_value *around = gi_aten_slice(a, gi_aten_slice(a, x, before, -1, INT64_MIN, -1), last, -1, INT64_MIN, -1);
        const int64_t four[2] = { 2, 2 };
        static const float signs[4] = { 1, -1, -1, 1 };
        gi_value *s = gi_aten_cast(a, gi_aten_reshape(a, gi_const_f32(a->g, 1, 4, signs), 2, four), x->type->dtype);
        y = gi_aten_2(a, OP_Mul, turned(a, around), s);
    } else {
        gi_value *r[3], *c[3];
        for (int i = 0; i < 3; i++)
            r[i] = row(a, x, i);
        for (int i = 0; i < 3; i++)
            c[i] = gi_aten_unsqueeze(a, cross(a, r[(i + 1) % 3], r[(i + 2) % 3], -1), 1, &last);
        y = gi_aten_concat(a, 3, c, last);
    }
    return gi_aten_return(a, 0, gi_aten_2(a, OP_Div, y, d));
}

/* ---- diagonals and triangles ---- */

/* The dims dim1 and dim2 brought to the end, in that order. */
static gi_value *to_end(gi_aten *a, gi_value *x, int rank, int64_t p, int64_t q)
{
    int64_t perm[GOPT_MAX_RANK];
    int k = 0;
    for (int i = 0; i < rank; i++)
        if (i != p && i != q)
            perm[k++] = i;
    perm[k++] = p;
    perm[k] = q;
    return gi_aten_transpose(a, x, rank, perm);
}

/* Element i of diagonal `offset` lies at (i − min(offset, 0), i + max(offset, 0)): the matrix as a row, its places. */
static gi_value *diagonal(gi_aten *a, gi_value *x, int rank, int64_t offset)
{
    int64_t h, w;
    if (!x || !gi_aten_dim_const(a, x, -2, &h) || !gi_aten_dim_const(a, x, -1, &w))
        return NULL;
    const int64_t top = offset < 0 ? -offset : 0, left = offset > 0 ? offset : 0;
    const int64_t n = gi_max_i64(0, gi_min_i64(h - top, w - left));
    int64_t *at = n <= 1 << 24 ? GI_NEW_ARRAY(a->scratch, int64_t, n + 1) : NULL;
    if (!at)
        return NULL;
    for (int64_t i = 0; i < n; i++)
        at[i] = (i + top) * w + i + left;
    gi_value *parts[GOPT_MAX_RANK];
    const int64_t open = -1;
    for (int i = 0; i < rank - 2; i++)
        parts[i] = gi_aten_dim(a, x, i);
    parts[rank - 2] = gi_aten_list(a, 1, &open);
    gi_value *flat = gi_aten_2(a, OP_Reshape, x, rank > 2 ? gi_aten_concat(a, (uint32_t)rank - 1, parts, 0) : parts[0]);
    return gi_aten_make(a, OP_Gather, 2, (gi_value *[]){ flat, gi_aten_list(a, (uint32_t)n, at) }, "axis = -1");
}

bool gi_aten_diagonal(gi_aten *a)
{
    gi_value *x = gi_aten_tensor(a, gi_aten_has(a, "A") ? "A" : "self");
    int rank;
    int64_t offset = 0, p, q;
    if (!gi_aten_rank(a, x, &rank) || !gi_aten_int(a, "offset", &offset))
        return false;
    if (rank < 2)
        return gi_aten_decline(a, "its rank is %d, expected 2 or more", rank);
    if (!gi_aten_axis(a, "dim1", rank, &p) || !gi_aten_axis(a, "dim2", rank, &q))
        return false;
    if (p == q)
        return gi_aten_decline(a, "its dim1 and dim2 are the same");
    return gi_aten_return(a, 0, diagonal(a, to_end(a, x, rank, p, q), rank, offset));
}

bool gi_aten_trace(gi_aten *a)
{
    static const int64_t first = 0;
    gi_value *d = diagonal(a, gi_aten_tensor(a, "self"), 2, 0);
    if (d && !gi_aten_is_float(d))
        d = gi_aten_cast(a, d, GOPT_I64);
    return gi_aten_return(a, 0, gi_aten_reduce(a, OP_ReduceSum, d, 1, &first, false));
}

/* A row put on a diagonal of a matrix of zeros: zeros behind each element, then cut to rows of n. */
static gi_value *embed(gi_aten *a, gi_value *x, int rank, int64_t offset)
{
    int64_t len;
    gopt_dtype t;
    if (!gi_aten_dim_const(a, x, -1, &len) || !gi_aten_dtype_of(a, x, &t))
        return NULL;
    const int64_t n = len + (offset < 0 ? -offset : offset), behind = rank;
    const int64_t top = offset < 0 ? -offset : 0, left = offset > 0 ? offset : 0;
    if (n > 1 << 15 || rank + 1 > GOPT_MAX_RANK) {
        gi_aten_decline(a, "a matrix of %lld rows is too large", (long long)n);
        return NULL;
    }
    const int64_t shape[2] = { len, n };
    gi_blob *b;
    if (gi_blob_create(a->g->cx, GOPT_BOOL, 2, shape, &b) != GOPT_OK)
        return NULL;
    for (int64_t i = 0; i < len; i++) /* the rows of the matrix that hold something */
        ((uint8_t *)b->owned)[i * n + i + left] = 1;
    gi_value *y =
        gi_aten_where(a, gi_const(a->g, b, NULL), gi_aten_unsqueeze(a, x, 1, &behind), gi_aten_number(a, t, 0));
    int64_t pads[2 * GOPT_MAX_RANK] = { 0 };
    pads[rank - 1] = top;
    pads[2 * rank] = n - len - top;
    return n == len
               ? y
               : gi_aten_make(
                     a, OP_Pad, 3,
                     (gi_value *[]){ y, gi_aten_list(a, 2 * (uint32_t)rank + 2, pads), gi_aten_number(a, t, 0) }, NULL);
}

/* diag of a matrix takes the diagonal out, of a row puts it in; diagflat puts all elements in. */
bool gi_aten_diag(gi_aten *a)
{
    gi_value *x = gi_aten_tensor(a, "self");
    int rank;
    int64_t offset = 0;
    if (!gi_aten_rank(a, x, &rank) || !gi_aten_int(a, gi_aten_has(a, "diagonal") ? "diagonal" : "offset", &offset))
        return false;
    if (!strcmp(a->row->name, "diagflat")) {
        x = gi_aten_reshape(a, x, 1, (int64_t[]){ -1 });
        rank = 1;
    }
    return gi_aten_return(a, 0, rank == 1 ? embed(a, x, 1, offset) : diagonal(a, x, rank, offset));
}

bool gi_aten_diag_embed(gi_aten *a)
{
    gi_value *x = gi_aten_tensor(a, "self");
    int rank;
    int64_t offset, p, q, perm[GOPT_MAX_RANK];
    if (!gi_aten_rank(a, x, &rank) || !gi_aten_int(a, "offset", &offset) || !gi_aten_axis(a, "dim1", rank + 1, &p) ||
        !gi_aten_axis(a, "dim2", rank + 1, &q))
        return false;
    gi_value *y = embed(a, x, rank, offset);
    for (int i = 0, k = 0; i <= rank; i++)
        perm[i] = i == p ? rank - 1 : i == q ? rank : k++;
    return gi_aten_return(a, 0, gi_aten_transpose(a, y, rank + 1, perm));
}

bool gi_aten_tri(gi_aten *a)
{
    gi_value *x = gi_aten_tensor(a, "self");
    int64_t k;
    return gi_aten_int(a, "diagonal", &k) &&
           gi_aten_return(a, 0,
                          gi_aten_make(a, OP_Trilu, 2, (gi_value *[]){ x, gi_const_i64(a->g, 0, 1, &k) }, "upper = %d",
                                       a->row->arg));
}

/* Rows and columns of the triangle's places, as constants. */
bool gi_aten_tri_indices(gi_aten *a)
{
    int64_t h, w, k, n = 0;
    if (!gi_aten_int(a, "row", &h) || !gi_aten_int(a, "col", &w) || !gi_aten_int(a, "offset", &k))
        return false;
    if (h < 0 || w < 0 || h > 1 << 12 || w > 1 << 12)
        return gi_aten_decline(a, "a matrix of %lld by %lld is too large", (long long)h, (long long)w);
    int64_t *at = GI_NEW_ARRAY(a->scratch, int64_t, 2 * h * w + 1);
    for (int64_t i = 0; at && i < h; i++)
        for (int64_t j = 0; j < w; j++)
            if (a->row->arg ? j - i >= k : j - i <= k) {
                at[n] = i;
                at[h * w + n++] = j;
            }
    if (!at)
        return false;
    memmove(at + n, at + h * w, (size_t)n * sizeof *at);
    const int64_t shape[2] = { 2, n };
    return gi_aten_return(a, 0, gi_aten_reshape(a, gi_aten_list(a, 2 * (uint32_t)n, at), 2, shape));
}
