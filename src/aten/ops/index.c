/* Gathering, scattering, sorting, counting and looking up. */
#include "aten/ops/pointwise.h"

/* Of a scalar an axis is 0, and it is a row of one. */
static gi_value *as_row(gi_aten *a, gi_value *x, int rank)
{
    return rank ? x : gi_aten_unsqueeze(a, x, 1, (int64_t[]){ 0 });
}

static gi_value *gather(gi_aten *a, gi_value *x, gi_value *at, int64_t axis)
{
    return gi_aten_make(a, OP_Gather, 2, (gi_value *[]){ x, at }, "axis = %lld", (long long)axis);
}

/* ---- along one dim ---- */

bool gi_aten_index_select(gi_aten *a)
{
    gi_value *x = gi_aten_tensor(a, "self"), *at = gi_aten_tensor(a, "index");
    int rank, at_rank;
    int64_t axis;
    return gi_aten_rank(a, x, &rank) && gi_aten_axis(a, "dim", rank, &axis) && gi_aten_rank(a, at, &at_rank) &&
           gi_aten_return(
               a, 0,
               gather(a, as_row(a, x, rank), rank ? as_row(a, at, at_rank) : gi_aten_reshape(a, at, 0, NULL), axis));
}

/* gather, take_along_dim: an element for each place of index; without a dim the tensors are rows. */
bool gi_aten_gather(gi_aten *a)
{
    gi_value *x = gi_aten_tensor(a, "self"), *at = gi_aten_tensor(a, gi_aten_has(a, "index") ? "index" : "indices");
    int rank, at_rank;
    int64_t axis = 0;
    static const int64_t flat = -1;
    if (!gi_aten_rank(a, x, &rank) || !gi_aten_rank(a, at, &at_rank))
        return false;
    const bool along = !strcmp(a->row->name, "take_along_dim");
    if (along && !gi_aten_has(a, "dim")) {
        x = gi_aten_reshape(a, x, 1, &flat);
        at = gi_aten_reshape(a, at, 1, &flat);
        rank = at_rank = 1;
    } else if (!gi_aten_axis(a, "dim", rank, &axis)) {
        return false;
    }
    if (along && rank > 1) { /* the other dims broadcast */
        gi_value *px[GOPT_MAX_RANK], *pi[GOPT_MAX_RANK];
        const int64_t one = 1;
        for (int i = 0; i < rank; i++) {
            px[i] = i == axis ? gi_aten_list(a, 1, &one) : gi_aten_dim(a, at, i);
            pi[i] = i == axis ? gi_aten_list(a, 1, &one) : gi_aten_dim(a, x, i);
        }
        x = gi_aten_expand(a, x, gi_aten_concat(a, (uint32_t)rank, px, 0));
        at = gi_aten_expand(a, at, gi_aten_concat(a, (uint32_t)rank, pi, 0));
    }
    gi_value *y = gi_aten_make(a, OP_GatherElements, 2, (gi_value *[]){ as_row(a, x, rank), as_row(a, at, at_rank) },
                               "axis = %lld", (long long)axis);
    return gi_aten_return(a, 0, at_rank ? y : gi_aten_squeeze(a, y, 1, (int64_t[]){ 0 }));
}

/* Of the tensor as one row. */
bool gi_aten_take(gi_aten *a)
{
    static const int64_t flat = -1;
    return gi_aten_return(
        a, 0, gather(a, gi_aten_reshape(a, gi_aten_tensor(a, "self"), 1, &flat), gi_aten_tensor(a, "index"), 0));
}

bool gi_aten_embedding(gi_aten *a)
{
    return gi_aten_return(a, 0, gather(a, gi_aten_tensor(a, "weight"), gi_aten_tensor(a, "indices"), 0));
}

/* ---- by tensors of places: x[…, i, j, …] ---- */

/* What an index of several tensors comes to: dims that are indexed brought to the front, the places side by side. */
typedef struct places {
    int rank;    /* of what is indexed */
    int n;       /* dims that are indexed */
    int at_rank; /* of the places, without the last dim */
    int first;   /* where the places' dims go in the result */
    int64_t perm[GOPT_MAX_RANK];
    gi_value *at; /* [places…, n] */
} places;

/* A mask stands for as many dims as it has: its true places are rows of NonZero. */
static bool collect(gi_aten *a, gi_value *x, places *p, gi_value **at, int *dims)
{
    uint32_t n;
    gi_value **list;
    if (!gi_aten_rank(a, x, &p->rank) || !gi_aten_tensors(a, "indices", &n, &list))
        return false;
    int dim = 0;
    for (uint32_t i = 0; i < n; i++) {
        gopt_dtype t = GOPT_UNDEFINED;
        int rank = 0;
        gi_node *none = gi_value_node(list[i]);
        if (!list[i] || (none && gi_aten_is_prim_constant(none))) {
            dim++;
            continue;
        }
        if (!gi_aten_dtype_of(a, list[i], &t) || !gi_aten_rank(a, list[i], &rank))
            return false;
        const bool mask = t == GOPT_BOOL || t == GOPT_U8;
        if (dim + (mask ? rank : 1) > p->rank || (mask && !rank))
            return gi_aten_decline(a, "it indexes more dims than the %d there are", p->rank);
        if (!mask) {
            at[p->n] = gi_aten_cast(a, list[i], GOPT_I64);
            dims[p->n++] = dim++;
            continue;
        }
        gi_value *true_ones = gi_aten_1(a, OP_NonZero, gi_aten_cast(a, list[i], GOPT_BOOL));
        for (int k = 0; k < rank; k++) {
            at[p->n] = gather(a, true_ones, gi_const_i64(a->g, 0, 1, (int64_t[]){ k }), 0);
            dims[p->n++] = dim++;
        }
    }
    return p->n || gi_aten_decline(a, "no dim is indexed");
}

static bool read_places(gi_aten *a, gi_value *x, places *p)
{
    gi_value *at[GOPT_MAX_RANK] = { NULL }, *shape = NULL;
    int dims[GOPT_MAX_RANK] = { 0 }, rank;
    *p = (places){ 0 };
    if (!collect(a, x, p, at, dims))
        return false;
    for (int i = 0; i < p->n; i++) { /* they broadcast: zeros of all of them give the common shape */
        gi_value *zero = gi_aten_2(a, OP_Mul, at[i], gi_aten_number(a, GOPT_I64, 0));
        shape = shape ? gi_aten_2(a, OP_Add, shape, zero) : zero;
    }
    if (!shape || !gi_aten_rank(a, shape, &p->at_rank))
        return false;
    const int64_t behind = p->at_rank;
    bool adjacent = true;
    for (int i = 1; i < p->n; i++)
        adjacent &= dims[i] == dims[i - 1] + 1;
    p->first = adjacent ? dims[0] : 0;
    for (int i = 0; i < p->n; i++) {
        if (!at[i] || !gi_aten_rank(a, at[i], &rank))
            return false;
        at[i] = gi_aten_unsqueeze(a, p->n > 1 ? gi_aten_2(a, OP_Add, at[i], shape) : at[i], 1, &behind);
    }
    p->at = p->n > 1 ? gi_aten_concat(a, (uint32_t)p->n, at, behind) : at[0];
    int k = 0;
    for (int i = 0; i < p->n; i++)
        p->perm[k++] = dims[i];
    for (int i = 0; i < p->rank; i++) {
        bool indexed = false;
        for (int j = 0; j < p->n; j++)
            indexed |= dims[j] == i;
        if (!indexed)
            p->perm[k++] = i;
    }
    return p->at && p->at_rank + p->rank - p->n <= GOPT_MAX_RANK;
}

/* The result's dims: those of the places go where the first indexed dim was. */
static void result_perm(const places *p, int64_t *perm)
{
    int k = 0;
    for (int i = 0; i < p->first; i++)
        perm[k++] = p->at_rank + i;
    for (int i = 0; i < p->at_rank; i++)
        perm[k++] = i;
    for (int i = p->at_rank + p->first; i < p->at_rank + p->rank - p->n; i++)
        perm[k++] = i;
}

bool gi_aten_index(gi_aten *a)
{
    gi_value *x = gi_aten_tensor(a, "self");
    places p;
    int64_t perm[GOPT_MAX_RANK];
    if (!read_places(a, x, &p))
        return false;
    if (p.n == 1) { /* one dim: a Gather, which takes places of any rank */
        const int64_t behind = p.at_rank;
        return gi_aten_return(a, 0, gather(a, x, gi_aten_squeeze(a, p.at, 1, &behind), p.perm[0]));
    }
    gi_value *y = gi_aten_2(a, OP_GatherND, gi_aten_transpose(a, x, p.rank, p.perm), p.at);
    result_perm(&p, perm);
    return gi_aten_return(a, 0, gi_aten_transpose(a, y, p.at_rank + p.rank - p.n, perm));
}

/* Values broadcast to what the index would give. */
bool gi_aten_index_put(gi_aten *a)
{
    gi_value *x = gi_aten_tensor(a, "self"), *v = gi_aten_tensor(a, "values");
    places p;
    int64_t perm[GOPT_MAX_RANK] = { 0 }, back[GOPT_MAX_RANK];
    bool adds;
    gopt_dtype t;
    if (!gi_aten_bool(a, "accumulate", &adds) || !gi_aten_dtype_of(a, x, &t) || !read_places(a, x, &p))
        return false;
    const int rest = p.rank - p.n, rank = p.at_rank + rest;
    gi_value *base = gi_aten_transpose(a, x, p.rank, p.perm), *parts[2];
    uint32_t n = 0;
    if (p.at_rank)
        parts[n++] = gi_aten_slice(a, gi_aten_shape(a, p.at), 0, 0, p.at_rank, 1);
    if (rest)
        parts[n++] = gi_aten_slice(a, gi_aten_shape(a, base), 0, p.n, INT64_MAX, 1);
    gi_value *shape = n == 2 ? gi_aten_concat(a, 2, parts, 0) : n ? parts[0] : gi_aten_list(a, 0, NULL);
    result_perm(&p, perm); /* values come in the result's order: there, then back */
    int64_t inverse[GOPT_MAX_RANK];
    for (int i = 0; i < rank; i++)
        inverse[perm[i]] = i;
    bool moved = false;
    for (int i = 0; i < rank; i++)
        moved |= perm[i] != i;
    v = gi_aten_cast(a, v, t);
    if (moved) {
        gi_value *there =
            gi_aten_make(a, OP_Gather, 2, (gi_value *[]){ shape, gi_aten_list(a, (uint32_t)rank, perm) }, "axis = 0");
        v = gi_aten_transpose(a, gi_aten_expand(a, v, there), rank, inverse);
    } else {
        v = gi_aten_expand(a, v, shape);
    }
    gi_value *y = gi_aten_make(a, OP_ScatterND, 3, (gi_value *[]){ base, p.at, v },
                               adds ? "reduction = \"add\"" : "reduction = \"none\"");
    for (int i = 0; i < p.rank; i++)
        back[p.perm[i]] = i;
    return gi_aten_return(a, 0, gi_aten_transpose(a, y, p.rank, back));
}

/* ---- by masks ---- */

/* Mask and tensor broadcast; the chosen ones in a row. */
bool gi_aten_masked_select(gi_aten *a)
{
    gi_value *x = gi_aten_tensor(a, "self"), *mask = gi_aten_cast(a, gi_aten_tensor(a, "mask"), GOPT_BOOL);
    static const int64_t flat = -1;
    gi_value *wide = gi_aten_expand(a, mask, gi_aten_shape(a, x));
    x = gi_aten_expand(a, x, gi_aten_shape(a, wide));
    gi_value *y = gi_aten_2(a, OP_Compress, gi_aten_reshape(a, x, 1, &flat), gi_aten_reshape(a, wide, 1, &flat));
    return gi_aten_return(a, 0, y);
}

/* The n-th true place takes the n-th element of source: its number is how many were true before. */
bool gi_aten_masked_scatter(gi_aten *a)
{
    gi_value *x = gi_aten_tensor(a, "self"), *mask = gi_aten_cast(a, gi_aten_tensor(a, "mask"), GOPT_BOOL);
    static const int64_t flat = -1;
    gi_value *wide = gi_aten_expand(a, mask, gi_aten_shape(a, x));
    gi_value *row = gi_aten_cast(a, gi_aten_reshape(a, wide, 1, &flat), GOPT_I64);
    gi_value *number =
        gi_aten_make(a, OP_CumSum, 2, (gi_value *[]){ row, gi_aten_number(a, GOPT_I64, 0) }, "exclusive = 1");
    gi_value *source = gi_aten_reshape(a, gi_aten_tensor(a, "source"), 1, &flat);
    gi_value *last = gi_aten_with(a, OP_Sub, gi_aten_1(a, OP_Size, source), 1);
    gi_value *taken = gather(a, source, gi_aten_2(a, OP_Min, number, last), 0);
    return gi_aten_return(a, 0, gi_aten_where(a, wide, gi_aten_2(a, OP_Reshape, taken, gi_aten_shape(a, x)), x));
}

/* Places of what is not zero, a row each. */
bool gi_aten_nonzero(gi_aten *a)
{
    gi_value *x = gi_aten_tensor(a, "self");
    int rank;
    if (!gi_aten_rank(a, x, &rank))
        return false;
    static const int64_t perm[] = { 1, 0 };
    gi_value *y = gi_aten_1(a, OP_NonZero, gi_aten_cast(a, as_row(a, x, rank), GOPT_BOOL));
    y = gi_aten_transpose(a, y, 2, perm);
    return gi_aten_return(a, 0, rank ? y : gi_aten_slice(a, y, 1, 0, 0, 1));
}

/* Is each element any of those? */
bool gi_aten_isin(gi_aten *a)
{
    gi_value *x = gi_aten_tensor(a, gi_aten_has(a, "elements") ? "elements" : "element");
    gi_value *of = gi_aten_tensor(a, gi_aten_has(a, "test_elements") ? "test_elements" : "test_element");
    static const int64_t flat = -1;
    int rank;
    bool invert;
    if (!gi_aten_promote(a, GI_ATEN_RESULT, 2, (gi_value * *[]){ &x, &of }) || !gi_aten_rank(a, x, &rank) ||
        !gi_aten_bool(a, "invert", &invert))
        return false;
    const int64_t behind = rank;
    gi_value *same = gi_aten_2(a, OP_Equal, gi_aten_unsqueeze(a, x, 1, &behind), gi_aten_reshape(a, of, 1, &flat));
    gi_value *any =
        gi_aten_cast(a, gi_aten_reduce(a, OP_ReduceMax, gi_aten_cast(a, same, GOPT_I32), 1, &behind, false), GOPT_BOOL);
    return gi_aten_return(a, 0, invert ? gi_aten_1(a, OP_Not, any) : any);
}

/* ---- scattering ---- */

static const char *reduction(const char *name)
{
    static const char *const all[][2] = { { "add", "add" },  { "sum", "add" },  { "multiply", "mul" },
                                          { "prod", "mul" }, { "amax", "max" }, { "amin", "min" } };
    for (size_t i = 0; i < GI_COUNT(all); i++)
        if (!strcmp(all[i][0], name))
            return all[i][1];
    return NULL;
}

static gi_value *scatter(gi_aten *a, gi_value *x, gi_value *at, gi_value *v, int64_t axis, const char *how)
{
    return gi_aten_make(a, OP_ScatterElements, 3, (gi_value *[]){ x, at, v }, "axis = %lld, reduction = \"%s\"",
                        (long long)axis, how);
}

/* The part of src that index has places for. */
static gi_value *as_large_as(gi_aten *a, gi_value *src, gi_value *at, int rank)
{
    if (src && at && src->type == at->type)
        return src;
    bool same = src && at && src->type && at->type;
    for (int i = 0; same && i < rank; i++)
        same = src->type->dims[i] == at->type->dims[i];
    if (same)
        return src;
    int64_t zeros[GOPT_MAX_RANK] = { 0 };
    return gi_aten_make(a, OP_Slice, 3,
                        (gi_value *[]){ src, gi_aten_list(a, (uint32_t)rank, zeros), gi_aten_shape(a, at) }, NULL);
}

/* scatter, scatter_add, scatter_reduce: the value may be one number; with include_self false what was there does not
 * count where something is put. */
bool gi_aten_scatter(gi_aten *a)
{
    gi_value *x = gi_aten_tensor(a, "self"), *at = gi_aten_tensor(a, "index"), *v = gi_aten_tensor(a, "src");
    int rank;
    int64_t axis;
    bool include = true;
    const char *name = NULL;
    gopt_dtype t;
    if (!gi_aten_rank(a, x, &rank) || !gi_aten_axis(a, "dim", rank, &axis) || !gi_aten_str(a, "reduce", &name) ||
        !gi_aten_dtype_of(a, x, &t) || (gi_aten_has(a, "include_self") && !gi_aten_bool(a, "include_self", &include)))
        return false;
    if (!strcmp(a->row->name, "scatter_add"))
        name = "sum";
    const bool mean = name && !strcmp(name, "mean");
    const char *how = name ? reduction(mean ? "sum" : name) : "none";
    if (!how)
        return gi_aten_decline(a, "its reduce is '%s'", name);
    gi_value *row = as_row(a, x, rank);
    at = as_row(a, at, rank);
    v = v ? as_large_as(a, as_row(a, v, rank), at, rank ? rank : 1)
          : gi_aten_expand(a, gi_aten_scalar_value(a, "value", t), gi_aten_shape(a, at));
    gi_value *ones = NULL, *put = NULL;
    if (name && (!include || mean)) {
        ones = gi_aten_expand(a, gi_aten_number(a, t, 1), gi_aten_shape(a, at));
        put = scatter(a, gi_aten_full_like(a, row, t, 0), at, ones, axis, "add");
    }
    if (name && !include) {
        const bool product = !strcmp(how, "mul"), least = !strcmp(how, "min"), most = !strcmp(how, "max");
        gi_value *neutral = gi_aten_number(a, t, product ? 1 : 0);
        if (least || most) { /* any of what is put: it does not change the extreme */
            gi_value *any = scatter(a, row, at, v, axis, "none");
            row = gi_aten_where(a, gi_aten_with(a, OP_Greater, put, 0), any, row);
        } else {
            row = gi_aten_where(a, gi_aten_with(a, OP_Greater, put, 0), neutral, row);
        }
    }
    gi_value *y = scatter(a, row, at, v, axis, how);
    if (mean) {
        gi_value *n = include ? gi_aten_with(a, OP_Add, put, 1) : gi_aten_with(a, OP_Max, put, 1);
        y = gi_aten_is_float(y) ? gi_aten_2(a, OP_Div, y, n)
                                : gi_aten_2(a, OP_Div, gi_aten_2(a, OP_Sub, y, gi_aten_2(a, OP_Mod, y, n)), n);
    }
    return gi_aten_return(a, 0, rank ? y : gi_aten_squeeze(a, y, 1, (int64_t[]){ 0 }));
}

/* index_add, index_copy, index_fill, index_reduce: index counts along one dim, for all the others. */
bool gi_aten_index_scatter(gi_aten *a)
{
    gi_value *x = gi_aten_tensor(a, "self"), *at = gi_aten_tensor(a, "index"), *v = gi_aten_tensor(a, "source");
    int rank, at_rank;
    int64_t axis, to[GOPT_MAX_RANK];
    double alpha = 1;
    bool include = true;
    const char *name = NULL;
    gopt_dtype t;
    if (!gi_aten_rank(a, x, &rank) || !gi_aten_rank(a, at, &at_rank) || !gi_aten_axis(a, "dim", rank, &axis) ||
        !gi_aten_dtype_of(a, x, &t) || (gi_aten_has(a, "alpha") && !gi_aten_float(a, "alpha", &alpha)) ||
        !gi_aten_str(a, "reduce", &name) ||
        (gi_aten_has(a, "include_self") && !gi_aten_bool(a, "include_self", &include)))
        return false;
    if (!rank)
        return gi_aten_decline(a, "its tensor has rank 0");
    if (!include || (name && !strcmp(name, "mean")))
        return gi_aten_decline(a, "its reduce '%s' with include_self = %s is not brought to ONNX", name ? name : "",
                               include ? "True" : "False");
    const char *how = !strcmp(a->row->name, "index_add") ? "add" : name ? reduction(name) : "none";
    if (!how)
        return gi_aten_decline(a, "its reduce is '%s'", name);
    gi_value *parts[GOPT_MAX_RANK];
    for (int i = 0; i < rank; i++) {
        to[i] = i == axis ? -1 : 1;
        parts[i] = i == axis ? gi_aten_1(a, OP_Shape, as_row(a, at, at_rank)) : gi_aten_dim(a, x, i);
    }
    gi_value *shape = gi_aten_concat(a, (uint32_t)rank, parts, 0);
    at = gi_aten_expand(a, gi_aten_reshape(a, gi_aten_cast(a, at, GOPT_I64), (uint32_t)rank, to), shape);
    if (v)
        v = gi_aten_2(a, OP_Reshape, gi_aten_cast(a, v, t), shape);
    else
        v = gi_aten_expand(a, gi_aten_cast(a, gi_aten_tensor(a, "value"), t), shape);
    v = alpha != 1 ? gi_aten_2(a, OP_Mul, v, gi_aten_scalar_value(a, "alpha", t)) : v;
    return gi_aten_return(a, 0, scatter(a, x, at, v, axis, how));
}

/* ---- ordered ---- */

/* sort, argsort, msort, topk: of equals the first comes first. */
bool gi_aten_sort(gi_aten *a)
{
    gi_value *x = gi_aten_tensor(a, "self");
    int rank;
    int64_t axis = 0;
    bool largest = false;
    const char *name = a->row->name;
    const bool topk = !strcmp(name, "topk");
    gopt_dtype t;
    if (!gi_aten_rank(a, x, &rank) || !gi_aten_dtype_of(a, x, &t) ||
        (strcmp(name, "msort") != 0 && !gi_aten_axis(a, "dim", rank, &axis)) ||
        !gi_aten_bool(a, topk ? "largest" : "descending", &largest))
        return false;
    gi_value *row = as_row(a, x, rank), *k = topk ? gi_aten_reshape(a, gi_aten_int_value(a, "k"), 1, (int64_t[]){ 1 })
                                                  : gi_aten_dim(a, row, (int)axis);
    row = t == GOPT_BOOL || t == GOPT_U8 || t == GOPT_I8 || t == GOPT_I16 ? gi_aten_cast(a, row, GOPT_I32) : row;
    if (!row || !k)
        return false;
    int64_t n;
    if (topk && gi_value_blob(gi_aten_tensor(a, "k")) && gi_aten_int(a, "k", &n))
        k = gi_aten_list(a, 1, &n);
    gi_node *s = gi_aten_node(a, OP_TopK, 2, (gi_value *[]){ row, k }, 2, "axis = %lld, largest = %d, sorted = 1",
                              (long long)axis, largest);
    if (!s)
        return false;
    gi_value *v = gi_aten_cast(a, s->out[0], t), *i = s->out[1];
    if (!rank) {
        v = gi_aten_squeeze(a, v, 1, (int64_t[]){ 0 });
        i = gi_aten_squeeze(a, i, 1, (int64_t[]){ 0 });
    }
    if (!strcmp(name, "argsort"))
        return gi_aten_return(a, 0, i);
    return gi_aten_return(a, 0, v) && (!strcmp(name, "msort") || gi_aten_return(a, 1, i));
}

/* How many bounds lie below each value, or at it too (right): bounds are compared one by one. */
bool gi_aten_searchsorted(gi_aten *a)
{
    const bool buckets = !strcmp(a->row->name, "bucketize");
    gi_value *bounds = gi_aten_tensor(a, buckets ? "boundaries" : "sorted_sequence"), *x = gi_aten_tensor(a, "self");
    bool narrow, right;
    const char *side = NULL;
    int rank, b_rank;
    if (!gi_aten_bool(a, "out_int32", &narrow) || !gi_aten_bool(a, "right", &right) || !gi_aten_str(a, "side", &side) ||
        !gi_aten_promote(a, GI_ATEN_RESULT, 2, (gi_value * *[]){ &bounds, &x }) || !gi_aten_rank(a, x, &rank) ||
        !gi_aten_rank(a, bounds, &b_rank))
        return false;
    if (gi_aten_has(a, "sorter")) {
        if (b_rank != 1)
            return gi_aten_decline(a, "it has a sorter");
        bounds = gather(a, bounds, gi_aten_tensor(a, "sorter"), 0);
    }
    right |= side && !strcmp(side, "right");
    const int64_t behind = rank, before = b_rank - 1;
    gi_value *b = b_rank > 1 ? gi_aten_unsqueeze(a, bounds, 1, &before) : bounds;
    gi_value *below = gi_aten_2(a, right ? OP_LessOrEqual : OP_Less, b, gi_aten_unsqueeze(a, x, 1, &behind));
    gi_value *n = gi_aten_reduce(a, OP_ReduceSum, gi_aten_cast(a, below, GOPT_I32), 1, (int64_t[]){ -1 }, false);
    return gi_aten_return(a, 0, narrow ? n : gi_aten_cast(a, n, GOPT_I64));
}

/* Sorted, with where each went and how many: of all elements, or of slices along a dim. */
bool gi_aten_unique(gi_aten *a)
{
    gi_value *x = gi_aten_tensor(a, "self");
    int rank;
    int64_t axis = 0;
    gopt_dtype t;
    if (!gi_aten_rank(a, x, &rank) || !gi_aten_dtype_of(a, x, &t) ||
        (gi_aten_has(a, "dim") && !gi_aten_axis(a, "dim", rank, &axis)))
        return false;
    gi_value *in = t == GOPT_BOOL ? gi_aten_cast(a, x, GOPT_I8) : x;
    gi_node *u = in ? gi_aten_has(a, "dim")
                          ? gi_aten_node(a, OP_Unique, 1, &in, 4, "axis = %lld, sorted = 1", (long long)axis)
                          : gi_aten_node(a, OP_Unique, 1, &in, 4, "sorted = 1")
                    : NULL;
    if (!u)
        return false;
    gi_value *inverse = gi_aten_has(a, "dim") ? u->out[2] : gi_aten_2(a, OP_Reshape, u->out[2], gi_aten_shape(a, x));
    bool where, times = false;
    gi_value *none = gi_aten_list(a, 0, NULL); /* what is not asked for is empty */
    if (!gi_aten_bool(a, "return_inverse", &where) ||
        (gi_aten_has(a, "return_counts") && !gi_aten_bool(a, "return_counts", &times)))
        return false;
    return gi_aten_return(a, 0, gi_aten_cast(a, u->out[0], t)) && gi_aten_return(a, 1, where ? inverse : none) &&
           gi_aten_return(a, 2, times ? u->out[3] : none);
}

/* Each number as a row with a one in its place. */
bool gi_aten_one_hot(gi_aten *a)
{
    gi_value *x = gi_aten_tensor(a, "self");
    int64_t n;
    if (!gi_aten_int(a, "num_classes", &n))
        return false;
    if (n < 1)
        return gi_aten_decline(a, "the number of classes is taken from the data: give num_classes");
    static const int64_t off_on[] = { 0, 1 };
    return gi_aten_return(a, 0,
                          gi_aten_make(a, OP_OneHot, 3,
                                       (gi_value *[]){ x, gi_const_i64(a->g, 0, 1, &n), gi_aten_list(a, 2, off_on) },
                                       "axis = -1"));
}

/* ---- bags ---- */

enum { BAG_SUM, BAG_MEAN, BAG_MAX };

/* Rows of weight summed, averaged or compared in bags that begin at offsets: each row goes to the bag that began last,
 * which is how many offsets lie at or before it. */
bool gi_aten_embedding_bag(gi_aten *a)
{
    gi_value *w = gi_aten_tensor(a, "weight"), *i = gi_aten_tensor(a, "indices"),
             *offsets = gi_aten_tensor(a, "offsets"), *by = gi_aten_tensor(a, "per_sample_weights");
    int64_t mode, padding = -1;
    bool last;
    gopt_dtype t;
    static const int64_t behind = 1;
    if (!gi_aten_int(a, "mode", &mode) || !gi_aten_bool(a, "include_last_offset", &last) ||
        !gi_aten_dtype_of(a, w, &t) || (gi_aten_has(a, "padding_idx") && !gi_aten_int(a, "padding_idx", &padding)))
        return false;
    if (mode < BAG_SUM || mode > BAG_MAX || padding >= 0)
        return gi_aten_decline(a, padding >= 0 ? "rows of padding_idx count for nothing" : "its mode is %lld",
                               (long long)mode);
    offsets = gi_aten_cast(a, offsets, GOPT_I64);
    if (last)
        offsets = gi_aten_slice(a, offsets, 0, 0, -1, 1);
    gi_value *rows = gather(a, w, i, 0);
    rows = by ? gi_aten_2(a, OP_Mul, rows, gi_aten_unsqueeze(a, by, 1, &behind)) : rows;
    gi_value *n = gi_aten_1(a, OP_Size, i);
    gi_value *number = gi_aten_make(
        a, OP_Range, 3, (gi_value *[]){ gi_aten_number(a, GOPT_I64, 0), n, gi_aten_number(a, GOPT_I64, 1) }, NULL);
    gi_value *begun = gi_aten_2(a, OP_LessOrEqual, offsets, gi_aten_unsqueeze(a, number, 1, &behind));
    gi_value *bag = gi_aten_with(
        a, OP_Sub, gi_aten_reduce(a, OP_ReduceSum, gi_aten_cast(a, begun, GOPT_I64), 1, &behind, false), 1);
    gi_value *at = gi_aten_unsqueeze(a, bag, 1, &behind);
    gi_value *shape = gi_aten_concat(a, 2, (gi_value *[]){ gi_aten_shape(a, offsets), gi_aten_dim(a, w, 1) }, 0);
    gi_value *zeros = gi_aten_expand(a, gi_aten_number(a, t, 0), shape), *y;
    gi_value *count =
        gi_aten_make(a, OP_ScatterND, 3,
                     (gi_value *[]){ gi_aten_expand(a, gi_aten_number(a, t, 0), gi_aten_shape(a, offsets)), at,
                                     gi_aten_expand(a, gi_aten_number(a, t, 1), gi_aten_shape(a, bag)) },
                     "reduction = \"add\"");
    if (mode == BAG_MAX) {
        gi_value *low = gi_aten_expand(a, gi_aten_number(a, t, -3.0e38), shape);
        y = gi_aten_make(a, OP_ScatterND, 3, (gi_value *[]){ low, at, rows }, "reduction = \"max\"");
        y = gi_aten_where(a, gi_aten_with(a, OP_Greater, gi_aten_unsqueeze(a, count, 1, &behind), 0), y, zeros);
    } else {
        y = gi_aten_make(a, OP_ScatterND, 3, (gi_value *[]){ zeros, at, rows }, "reduction = \"add\"");
        if (mode == BAG_MEAN)
            y = gi_aten_2(a, OP_Div, y, gi_aten_unsqueeze(a, gi_aten_with(a, OP_Max, count, 1), 1, &behind));
    }
    return gi_aten_return(a, 0, y);
}
