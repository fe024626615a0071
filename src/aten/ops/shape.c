/* Making and shaping: sizes may be numbers, or computed while the network runs. */
#include "aten/ops/pointwise.h"

/* ---- made from nothing ---- */

/* The type asked for, else `otherwise`. */
static bool asked_type(gi_aten *a, gopt_dtype otherwise, gopt_dtype *t)
{
    if (!gi_aten_dtype(a, "dtype", t))
        return false;
    *t = *t == GOPT_UNDEFINED ? otherwise : *t;
    return true;
}

static gopt_dtype number_type(const gi_value *v)
{
    const gi_dclass c = gi_aten_class(v);
    return c == GI_FLOAT ? GOPT_F32 : c == GI_BOOLEAN ? GOPT_BOOL : GOPT_I64;
}

/* Whole numbers give i64, any other f32. */
bool gi_aten_arange(gi_aten *a)
{
    static const char *const names[] = { "start", "end", "step" };
    gopt_dtype t = GOPT_I64;
    gi_value *v[3];
    for (int i = 0; i < 3; i++)
        if (gi_aten_class(gi_aten_tensor(a, names[i])) == GI_FLOAT)
            t = GOPT_F32;
    if (!asked_type(a, t, &t))
        return false;
    const gopt_dtype made = t == GOPT_F16 || t == GOPT_BF16 ? GOPT_F32 : t == GOPT_U8 || t == GOPT_I8 ? GOPT_I64 : t;
    for (int i = 0; i < 3; i++)
        v[i] = gi_aten_has(a, names[i]) ? gi_aten_scalar_value(a, names[i], made) : gi_aten_number(a, made, i == 2);
    return gi_aten_return(a, 0, gi_aten_cast(a, gi_aten_make(a, OP_Range, 3, v, NULL), t));
}

/* zeros, ones, full, empty and their new_ forms, which take self's type. row->arg is the number. */
bool gi_aten_full(gi_aten *a)
{
    const gi_value *self = gi_aten_tensor(a, "self"), *fill = gi_aten_tensor(a, "fill_value");
    gopt_dtype t = fill ? number_type(fill) : GOPT_F32;
    if ((self && !gi_aten_dtype_of(a, self, &t)) || !asked_type(a, t, &t))
        return false;
    gi_value *v = fill ? gi_aten_scalar_value(a, "fill_value", t) : gi_aten_number(a, t, a->row->arg);
    return gi_aten_return(a, 0, gi_aten_expand(a, v, gi_aten_ints_value(a, "size")));
}

bool gi_aten_scalar_tensor(gi_aten *a)
{
    gopt_dtype t;
    return asked_type(a, GOPT_F32, &t) && gi_aten_return(a, 0, gi_aten_scalar_value(a, "s", t));
}

bool gi_aten_eye(gi_aten *a)
{
    int64_t n, m;
    gopt_dtype t;
    if (!gi_aten_int(a, "n", &n) || !gi_aten_int(a, "m", &m) || !asked_type(a, GOPT_F32, &t))
        return false;
    m = gi_aten_has(a, "m") ? m : n;
    gi_value *zeros =
        gi_aten_expand(a, gi_aten_number(a, t == GOPT_BOOL ? GOPT_F32 : t, 0), gi_aten_list(a, 2, (int64_t[]){ n, m }));
    return gi_aten_return(a, 0, gi_aten_cast(a, gi_aten_1(a, OP_EyeLike, zeros), t));
}

/* Reckoned from the nearer end, as PyTorch does; logspace is base to the power of that. */
bool gi_aten_linspace(gi_aten *a)
{
    int64_t steps;
    double from, to, base = 10;
    gopt_dtype t;
    if (!gi_aten_int(a, "steps", &steps) || !gi_aten_float(a, "start", &from) || !gi_aten_float(a, "end", &to) ||
        !asked_type(a, GOPT_F32, &t) || (gi_aten_has(a, "base") && !gi_aten_float(a, "base", &base)))
        return false;
    if (steps < 0)
        return gi_aten_decline(a, "its argument steps is %lld", (long long)steps);
    const bool log = !strcmp(a->row->name, "logspace");
    gi_value *i =
        gi_aten_make(a, OP_Range, 3,
                     (gi_value *[]){ gi_aten_number(a, GOPT_F64, 0), gi_aten_number(a, GOPT_F64, (double)steps),
                                     gi_aten_number(a, GOPT_F64, 1) },
                     NULL);
    const double step = steps > 1 ? (to - from) / (double)(steps - 1) : 0;
    gi_value *low = gi_aten_with(a, OP_Add, gi_aten_with(a, OP_Mul, i, step), from);
    gi_value *back = gi_aten_with(a, OP_Add, gi_aten_with(a, OP_Mul, i, -1), (double)(steps - 1));
    gi_value *high = gi_aten_2(a, OP_Sub, gi_aten_number(a, GOPT_F64, to), gi_aten_with(a, OP_Mul, back, step));
    const int64_t half = steps / 2;
    gi_value *v = steps > 1 ? gi_aten_where(a, gi_aten_with(a, OP_Less, i, (double)half), low, high) : low;
    v = log ? gi_aten_2(a, OP_Pow, gi_aten_number(a, GOPT_F64, base), v) : v;
    return gi_aten_return(a, 0, gi_aten_cast(a, v, t));
}

/* ---- reshaped ---- */

/* A Reshape whose zeros are sizes, not "as before". */
static gi_value *reshape_to(gi_aten *a, gi_value *x, gi_value *shape)
{
    return gi_aten_make(a, OP_Reshape, 2, (gi_value *[]){ x, shape }, "allowzero = 1");
}

/* view, reshape: a size of 0 is one. */
bool gi_aten_view(gi_aten *a)
{
    gi_value *x = gi_aten_tensor(a, "self");
    const char *name = gi_aten_has(a, "shape") ? "shape" : "size";
    uint32_t n;
    const int64_t *size;
    if (gi_aten_has(a, "dtype"))
        return gi_aten_decline(a, "a view as another type reads bits");
    if (!gi_value_blob(gi_aten_tensor(a, name)) && gi_aten_tensor(a, name))
        return gi_aten_return(a, 0, gi_aten_2(a, OP_Reshape, x, gi_aten_ints_value(a, name)));
    if (!gi_aten_ints(a, name, &n, &size))
        return false;
    bool zero = false;
    for (uint32_t i = 0; i < n; i++)
        zero |= size[i] == 0;
    gi_value *v = gi_aten_list(a, n, size);
    return gi_aten_return(a, 0, zero ? reshape_to(a, x, v) : gi_aten_2(a, OP_Reshape, x, v));
}

bool gi_aten_view_as(gi_aten *a)
{
    return gi_aten_return(
        a, 0, gi_aten_2(a, OP_Reshape, gi_aten_tensor(a, "self"), gi_aten_shape(a, gi_aten_tensor(a, "other"))));
}

/* Dims start … end become one; a scalar one element. */
bool gi_aten_flatten(gi_aten *a)
{
    gi_value *x = gi_aten_tensor(a, "self");
    int rank;
    int64_t from = 0, to, target[GOPT_MAX_RANK];
    if (!gi_aten_rank(a, x, &rank))
        return false;
    to = rank ? rank - 1 : 0;
    if (gi_aten_has(a, "start_dim") &&
        (!gi_aten_axis(a, "start_dim", rank, &from) || !gi_aten_axis(a, "end_dim", rank, &to)))
        return false;
    if (from > to)
        return gi_aten_decline(a, "its start_dim lies behind its end_dim");
    if (from == to && rank)
        return gi_aten_return(a, 0, x);
    uint32_t n = 0;
    for (int i = 0; i <= from; i++)
        target[n++] = i == from ? -1 : 0;
    bool known = true; /* what stands behind is no longer in its place */
    for (int64_t i = to + 1; i < rank && known; i++)
        known = gi_type_dim_const(x->type, (int)i, &target[n++]);
    if (known)
        return gi_aten_return(a, 0, gi_aten_reshape(a, x, n, target));
    gi_value *parts[GOPT_MAX_RANK];
    n = 0;
    const int64_t open = -1;
    for (int i = 0; i < rank; i++)
        if (i < from || i > to)
            parts[n++] = gi_aten_dim(a, x, i);
        else if (i == from)
            parts[n++] = gi_aten_list(a, 1, &open);
    return gi_aten_return(a, 0, gi_aten_2(a, OP_Reshape, x, gi_aten_concat(a, n, parts, 0)));
}

bool gi_aten_unflatten(gi_aten *a)
{
    gi_value *x = gi_aten_tensor(a, "self");
    int rank;
    int64_t axis;
    if (!gi_aten_rank(a, x, &rank) || !gi_aten_axis(a, "dim", rank, &axis))
        return false;
    gi_value *parts[GOPT_MAX_RANK];
    for (int i = 0; i < rank; i++)
        parts[i] = i == axis ? gi_aten_ints_value(a, "sizes") : gi_aten_dim(a, x, i);
    return gi_aten_return(a, 0, gi_aten_2(a, OP_Reshape, x, gi_aten_concat(a, (uint32_t)rank, parts, 0)));
}

/* Only dims of one element go, so they must be known. */
bool gi_aten_squeeze_(gi_aten *a)
{
    gi_value *x = gi_aten_tensor(a, "self");
    int rank;
    uint32_t n = 0, gone = 0;
    int64_t axes[GOPT_MAX_RANK], dim;
    if (!gi_aten_rank(a, x, &rank) || !gi_aten_axes(a, "dim", rank, &n, axes))
        return false;
    for (uint32_t i = 0; i < n; i++) {
        if (!gi_type_dim_const(x->type, (int)axes[i], &dim) && gi_aten_has(a, "dim"))
            return gi_aten_decline(a, "whether dim %lld has one element is known only while the network runs",
                                   (long long)axes[i]);
        if (gi_type_dim_const(x->type, (int)axes[i], &dim) && dim == 1)
            axes[gone++] = axes[i];
        else if (!gi_type_dim_const(x->type, (int)axes[i], &dim))
            return gi_aten_decline(a, "which dims have one element is known only while the network runs");
    }
    return gi_aten_return(a, 0, gi_aten_squeeze(a, x, gone, axes));
}

bool gi_aten_unsqueeze_(gi_aten *a)
{
    gi_value *x = gi_aten_tensor(a, "self");
    int rank;
    int64_t axis;
    return gi_aten_rank(a, x, &rank) && gi_aten_axis(a, "dim", rank + 1, &axis) &&
           gi_aten_return(a, 0, gi_aten_unsqueeze(a, x, 1, &axis));
}

/* row->arg is the least rank: dims go in front, but of a matrix made 3-d behind. */
bool gi_aten_atleast(gi_aten *a)
{
    gi_value *x = gi_aten_tensor(a, "self");
    int rank;
    if (!x)
        return gi_aten_decline(a, "a list of tensors is not taken apart here");
    if (!gi_aten_rank(a, x, &rank))
        return false;
    static const int64_t front[] = { 0, 1 }, around[] = { 0, 2 }, behind[] = { 2 };
    if (rank >= a->row->arg)
        return gi_aten_return(a, 0, x);
    if (a->row->arg == 3 && rank == 1)
        return gi_aten_return(a, 0, gi_aten_unsqueeze(a, x, 2, around));
    if (a->row->arg == 3 && rank == 2)
        return gi_aten_return(a, 0, gi_aten_unsqueeze(a, x, 1, behind));
    return gi_aten_return(a, 0,
                          rank ? gi_aten_unsqueeze(a, x, 1, front)
                               : gi_aten_reshape(a, x, (uint32_t)a->row->arg, (int64_t[]){ 1, 1, 1 }));
}

/* One number: of a tensor of one element. */
bool gi_aten_item(gi_aten *a)
{
    return gi_aten_return(a, 0, gi_aten_reshape(a, gi_aten_tensor(a, "self"), 0, NULL));
}

/* ---- dims in another order ---- */

bool gi_aten_permute(gi_aten *a)
{
    gi_value *x = gi_aten_tensor(a, "self");
    int rank;
    uint32_t n;
    const int64_t *dims;
    int64_t perm[GOPT_MAX_RANK];
    bool seen[GOPT_MAX_RANK] = { false };
    if (!gi_aten_rank(a, x, &rank) || !gi_aten_ints(a, "dims", &n, &dims))
        return false;
    if ((int)n != rank)
        return gi_aten_decline(a, "its argument dims has %u entries, the tensor rank %d", n, rank);
    for (uint32_t i = 0; i < n; i++) {
        perm[i] = dims[i] < 0 ? dims[i] + rank : dims[i];
        if (perm[i] < 0 || perm[i] >= rank || seen[perm[i]])
            return gi_aten_decline(a, "its argument dims is no permutation");
        seen[perm[i]] = true;
    }
    return gi_aten_return(a, 0, gi_aten_transpose(a, x, rank, perm));
}

static gi_value *swapped(gi_aten *a, gi_value *x, int rank, int64_t i, int64_t k)
{
    int64_t perm[GOPT_MAX_RANK];
    for (int d = 0; d < rank; d++)
        perm[d] = d == i ? k : d == k ? i : d;
    return gi_aten_transpose(a, x, rank, perm);
}

bool gi_aten_swap(gi_aten *a)
{
    gi_value *x = gi_aten_tensor(a, "self");
    int rank;
    int64_t i, k;
    const bool dims = gi_aten_has(a, "dim0");
    return gi_aten_rank(a, x, &rank) && gi_aten_axis(a, dims ? "dim0" : "axis0", rank, &i) &&
           gi_aten_axis(a, dims ? "dim1" : "axis1", rank, &k) &&
           gi_aten_return(a, 0, rank ? swapped(a, x, rank, i, k) : x);
}

/* t, numpy_T (all dims turned round), mT and adjoint (the last two). */
bool gi_aten_turn(gi_aten *a)
{
    gi_value *x = gi_aten_tensor(a, "self");
    int rank;
    int64_t perm[GOPT_MAX_RANK];
    if (!gi_aten_rank(a, x, &rank))
        return false;
    if (rank < 2)
        return gi_aten_return(a, 0, x);
    if (strcmp(a->row->name, "numpy_T") != 0)
        return gi_aten_return(a, 0, swapped(a, x, rank, rank - 2, rank - 1));
    for (int i = 0; i < rank; i++)
        perm[i] = rank - 1 - i;
    return gi_aten_return(a, 0, gi_aten_transpose(a, x, rank, perm));
}

bool gi_aten_movedim(gi_aten *a)
{
    gi_value *x = gi_aten_tensor(a, "self");
    int rank;
    uint32_t n, m;
    const int64_t *from, *to;
    int64_t perm[GOPT_MAX_RANK];
    bool taken[GOPT_MAX_RANK] = { false };
    if (!gi_aten_rank(a, x, &rank) || !gi_aten_ints(a, "source", &n, &from) || !gi_aten_ints(a, "destination", &m, &to))
        return false;
    for (int i = 0; i < rank; i++)
        perm[i] = -1;
    for (uint32_t i = 0; i < n && i < m; i++) {
        const int64_t f = from[i] < 0 ? from[i] + rank : from[i], t = to[i] < 0 ? to[i] + rank : to[i];
        if (f < 0 || t < 0 || f >= rank || t >= rank || taken[f] || perm[t] >= 0)
            return gi_aten_decline(a, "its source and destination are no dims of rank %d, each once", rank);
        perm[t] = f;
        taken[f] = true;
    }
    for (int i = 0, d = 0; i < rank; i++) {
        if (perm[i] >= 0)
            continue;
        while (taken[d])
            d++;
        perm[i] = d++;
    }
    return gi_aten_return(a, 0, gi_aten_transpose(a, x, rank, perm));
}

static gi_value *flipped(gi_aten *a, gi_value *x, int64_t axis)
{
    return gi_aten_slice(a, x, axis, -1, INT64_MIN, -1);
}

bool gi_aten_flip(gi_aten *a)
{
    gi_value *x = gi_aten_tensor(a, "self");
    int rank;
    uint32_t n = 1;
    int64_t axes[GOPT_MAX_RANK] = { !strcmp(a->row->name, "fliplr") };
    if (!gi_aten_rank(a, x, &rank) || (!strcmp(a->row->name, "flip") && !gi_aten_axes(a, "dims", rank, &n, axes)))
        return false;
    if (!gi_aten_has(a, "dims") && !strcmp(a->row->name, "flip"))
        n = 0;
    for (uint32_t i = 0; i < n; i++)
        x = flipped(a, x, axes[i]);
    return gi_aten_return(a, 0, x);
}

/* Quarter turns in the plane of two dims. */
bool gi_aten_rot90(gi_aten *a)
{
    gi_value *x = gi_aten_tensor(a, "self");
    int rank;
    int64_t k, d[2];
    uint32_t n;
    const int64_t *dims;
    if (!gi_aten_rank(a, x, &rank) || !gi_aten_int(a, "k", &k) || !gi_aten_ints(a, "dims", &n, &dims))
        return false;
    for (uint32_t i = 0; i < 2; i++) {
        d[i] = n == 2 ? dims[i] < 0 ? dims[i] + rank : dims[i] : (int64_t)i;
        if (d[i] < 0 || d[i] >= rank)
            return gi_aten_decline(a, "its dims are not two of rank %d", rank);
    }
    k = ((k % 4) + 4) % 4;
    if (k == 2)
        x = flipped(a, flipped(a, x, d[0]), d[1]);
    else if (k)
        x = swapped(a, flipped(a, x, d[k == 1]), rank, d[0], d[1]);
    return gi_aten_return(a, 0, x);
}

/* What leaves at one end comes in at the other; without dims the tensor is one row. */
bool gi_aten_roll(gi_aten *a)
{
    gi_value *x = gi_aten_tensor(a, "self"), *y = x;
    int rank;
    uint32_t n, m;
    const int64_t *shifts, *dims;
    if (!gi_aten_rank(a, x, &rank) || !gi_aten_ints(a, "shifts", &n, &shifts) || !gi_aten_ints(a, "dims", &m, &dims))
        return false;
    if (!m)
        y = gi_aten_reshape(a, x, 1, (int64_t[]){ -1 });
    else if (n != m)
        return gi_aten_decline(a, "it has %u shifts and %u dims", n, m);
    for (uint32_t i = 0; i < n; i++) {
        const int64_t axis = m ? dims[i] < 0 ? dims[i] + rank : dims[i] : 0;
        int64_t size, by;
        if (m && (axis < 0 || axis >= rank))
            return gi_aten_decline(a, "its dim %lld is none of rank %d", (long long)dims[i], rank);
        if (!gi_aten_dim_const(a, y, (int)axis, &size))
            return false;
        by = size ? ((shifts[i] % size) + size) % size : 0;
        if (by)
            y = gi_aten_concat(a, 2,
                               (gi_value *[]){ gi_aten_slice(a, y, axis, size - by, INT64_MAX, 1),
                                               gi_aten_slice(a, y, axis, 0, size - by, 1) },
                               axis);
    }
    return gi_aten_return(a, 0, m ? y : gi_aten_2(a, OP_Reshape, y, gi_aten_shape(a, x)));
}

/* ---- made larger ---- */

/* −1 leaves a dim as it is, which a 1 does in Expand. */
bool gi_aten_expand_(gi_aten *a)
{
    gi_value *x = gi_aten_tensor(a, "self"), *given = gi_aten_tensor(a, "size");
    uint32_t n;
    const int64_t *size;
    if (gi_aten_list_node(given) || !gi_value_blob(given)) {
        gi_value *s = gi_aten_ints_value(a, "size");
        s = gi_aten_where(a, gi_aten_with(a, OP_Equal, s, -1), gi_aten_number(a, GOPT_I64, 1), s);
        return gi_aten_return(a, 0, gi_aten_expand(a, x, s));
    }
    if (!gi_aten_ints(a, "size", &n, &size))
        return false;
    int64_t *to = GI_NEW_ARRAY(a->scratch, int64_t, n + 1);
    if (!to)
        return false;
    for (uint32_t i = 0; i < n; i++)
        to[i] = size[i] == -1 ? 1 : size[i];
    return gi_aten_return(a, 0, gi_aten_expand(a, x, gi_aten_list(a, n, to)));
}

bool gi_aten_expand_as(gi_aten *a)
{
    return gi_aten_return(a, 0,
                          gi_aten_expand(a, gi_aten_tensor(a, "self"), gi_aten_shape(a, gi_aten_tensor(a, "other"))));
}

/* repeat and tile: the shorter of tensor and list has ones in front. */
bool gi_aten_repeat(gi_aten *a)
{
    gi_value *x = gi_aten_tensor(a, "self");
    int rank;
    uint32_t n;
    const int64_t *times;
    if (!gi_aten_rank(a, x, &rank) || !gi_aten_ints(a, gi_aten_has(a, "repeats") ? "repeats" : "dims", &n, &times))
        return false;
    if (n > GOPT_MAX_RANK || rank > GOPT_MAX_RANK)
        return gi_aten_decline(a, "it has %u dims, expected at most %d", n, GOPT_MAX_RANK);
    int64_t all[GOPT_MAX_RANK], front[GOPT_MAX_RANK];
    const uint32_t r = n > (uint32_t)rank ? n : (uint32_t)rank;
    for (uint32_t i = 0; i < r; i++)
        all[i] = i + n < r ? 1 : times[i + n - r];
    for (uint32_t i = 0; i < r - (uint32_t)rank; i++)
        front[i] = i;
    return gi_aten_return(
        a, 0, gi_aten_2(a, OP_Tile, gi_aten_unsqueeze(a, x, r - (uint32_t)rank, front), gi_aten_list(a, r, all)));
}

/* Each element so many times in a row, or as often as a list of known numbers says. */
bool gi_aten_repeat_interleave(gi_aten *a)
{
    gi_value *x = gi_aten_tensor(a, "self");
    int rank;
    int64_t axis = 0;
    uint32_t n;
    const int64_t *times;
    if (!x)
        return gi_aten_decline(a,
                               "of repeats alone it gives places, whose number is known only while the network runs");
    if (!gi_aten_rank(a, x, &rank))
        return false;
    if (gi_aten_has(a, "dim") && !gi_aten_axis(a, "dim", rank, &axis))
        return false;
    if (!gi_aten_ints(a, "repeats", &n, &times))
        return false;
    if (!gi_aten_has(a, "dim")) {
        x = gi_aten_reshape(a, x, 1, (int64_t[]){ -1 });
        rank = 1;
    }
    if (n == 1) { /* an axis behind, of that size, becomes part of it */
        int64_t to[GOPT_MAX_RANK], behind = axis + 1;
        if (rank + 1 > GOPT_MAX_RANK)
            return gi_aten_decline(a, "its rank is %d", rank);
        for (int i = 0; i <= rank; i++)
            to[i] = i == behind ? times[0] : 1;
        gi_value *wide =
            gi_aten_expand(a, gi_aten_unsqueeze(a, x, 1, &behind), gi_aten_list(a, (uint32_t)rank + 1, to));
        gi_value *parts[GOPT_MAX_RANK];
        const int64_t open = -1;
        for (int i = 0; i < rank; i++)
            parts[i] = i == axis ? gi_aten_list(a, 1, &open) : gi_aten_dim(a, x, i);
        return gi_aten_return(a, 0, gi_aten_2(a, OP_Reshape, wide, gi_aten_concat(a, (uint32_t)rank, parts, 0)));
    }
    int64_t total = 0;
    for (uint32_t i = 0; i < n; i++)
        if (times[i] < 0 || !gi_add_i64(total, times[i], &total) || total > 1 << 24)
            return gi_aten_decline(a, "its repeats are no sensible numbers");
    int64_t *from = GI_NEW_ARRAY(a->scratch, int64_t, total + 1), k = 0;
    if (!from)
        return false;
    for (uint32_t i = 0; i < n; i++)
        for (int64_t j = 0; j < times[i]; j++)
            from[k++] = i;
    return gi_aten_return(a, 0,
                          gi_aten_make(a, OP_Gather, 2, (gi_value *[]){ x, gi_aten_list(a, (uint32_t)total, from) },
                                       "axis = %lld", (long long)axis));
}

/* Each tensor varies along a dim of its own; with indexing "xy" the first two change places. */
bool gi_aten_meshgrid(gi_aten *a)
{
    uint32_t n;
    gi_value **x;
    const char *indexing;
    if (!gi_aten_tensors(a, "tensors", &n, &x) || !gi_aten_str(a, "indexing", &indexing))
        return false;
    const bool xy = indexing && !strcmp(indexing, "xy") && n > 1;
    gi_value *parts[GOPT_MAX_RANK], *out[GOPT_MAX_RANK];
    if (n > GOPT_MAX_RANK || !n)
        return gi_aten_decline(a, "it has %u tensors", n);
    for (uint32_t i = 0; i < n; i++) {
        const uint32_t at = xy && i < 2 ? 1 - i : i;
        const int64_t row = -1;
        x[i] = gi_aten_reshape(a, x[i], 1, &row);
        parts[at] = gi_aten_dim(a, x[i], 0);
    }
    gi_value *shape = n > 1 ? gi_aten_concat(a, n, parts, 0) : parts[0];
    for (uint32_t i = 0; i < n; i++) {
        const uint32_t at = xy && i < 2 ? 1 - i : i;
        int64_t to[GOPT_MAX_RANK];
        for (uint32_t k = 0; k < n; k++)
            to[k] = k == at ? -1 : 1;
        out[i] = gi_aten_expand(a, gi_aten_reshape(a, x[i], n, to), shape);
    }
    return gi_aten_return_list(a, n, out);
}

/* ---- asked about ---- */

/* One dim, or all. */
bool gi_aten_size(gi_aten *a)
{
    gi_value *x = gi_aten_tensor(a, "self");
    int rank;
    int64_t axis;
    if (!gi_aten_has(a, "dim"))
        return gi_aten_return(a, 0, gi_aten_shape(a, x));
    return gi_aten_rank(a, x, &rank) && gi_aten_axis(a, "dim", rank, &axis) &&
           gi_aten_return(a, 0, gi_aten_squeeze(a, gi_aten_dim(a, x, (int)axis), 1, (int64_t[]){ 0 }));
}

bool gi_aten_numel(gi_aten *a)
{
    return gi_aten_return(a, 0, gi_aten_1(a, OP_Size, gi_aten_tensor(a, "self")));
}
