/* Cutting, joining, padding and shuffling. */
#include "aten/ops/pointwise.h"

/* ---- cut ---- */

/* From start to before end, in steps; what is computed while the network runs may be a bound. */
bool gi_aten_slice_(gi_aten *a)
{
    gi_value *x = gi_aten_tensor(a, "self");
    int rank;
    int64_t axis, last = INT64_MAX, one = -1;
    if (!gi_aten_rank(a, x, &rank) || !gi_aten_axis(a, "dim", rank, &axis))
        return false;
    gi_value *from = gi_aten_reshape(a, gi_aten_int_value(a, "start"), 1, &one), *to;
    if (gi_value_blob(gi_aten_tensor(a, "start")) || !gi_aten_has(a, "start")) {
        int64_t v;
        if (!gi_aten_int(a, "start", &v))
            return false;
        from = gi_aten_list(a, 1, &v);
    }
    if (!gi_aten_has(a, "end")) {
        to = gi_aten_list(a, 1, &last);
    } else if (gi_value_blob(gi_aten_tensor(a, "end"))) {
        int64_t v;
        if (!gi_aten_int(a, "end", &v))
            return false;
        to = gi_aten_list(a, 1, &v);
    } else {
        to = gi_aten_reshape(a, gi_aten_int_value(a, "end"), 1, &one);
    }
    int64_t step;
    if (!gi_aten_int(a, "step", &step))
        return false;
    return gi_aten_return(
        a, 0,
        gi_aten_make(a, OP_Slice, 5,
                     (gi_value *[]){ x, from, to, gi_aten_list(a, 1, &axis), gi_aten_list(a, 1, &step) }, NULL));
}

bool gi_aten_narrow(gi_aten *a)
{
    gi_value *x = gi_aten_tensor(a, "self");
    int rank;
    int64_t axis, one = -1;
    if (!gi_aten_rank(a, x, &rank) || !gi_aten_axis(a, "dim", rank, &axis))
        return false;
    gi_value *from = gi_aten_reshape(a, gi_aten_int_value(a, "start"), 1, &one);
    gi_value *to = gi_aten_2(a, OP_Add, from, gi_aten_reshape(a, gi_aten_int_value(a, "length"), 1, &one));
    int64_t start, length;
    if (gi_value_blob(gi_aten_tensor(a, "start")) && gi_value_blob(gi_aten_tensor(a, "length"))) {
        if (!gi_aten_int(a, "start", &start) || !gi_aten_int(a, "length", &length))
            return false;
        const int64_t end = start < 0 && start + length >= 0 ? INT64_MAX : start + length;
        return gi_aten_return(a, 0, gi_aten_slice(a, x, axis, start, end, 1));
    }
    return gi_aten_return(a, 0,
                          gi_aten_make(a, OP_Slice, 4, (gi_value *[]){ x, from, to, gi_aten_list(a, 1, &axis) }, NULL));
}

bool gi_aten_select(gi_aten *a)
{
    gi_value *x = gi_aten_tensor(a, "self");
    int rank;
    int64_t axis;
    return gi_aten_rank(a, x, &rank) && gi_aten_axis(a, "dim", rank, &axis) &&
           gi_aten_return(a, 0,
                          gi_aten_make(a, OP_Gather, 2, (gi_value *[]){ x, gi_aten_int_value(a, "index") },
                                       "axis = %lld", (long long)axis));
}

/* Parts of these sizes as a list. */
static bool cut(gi_aten *a, gi_value *x, int64_t axis, uint32_t n, const int64_t *sizes, bool squeezed)
{
    if (!n)
        return gi_aten_decline(a, "there is nothing in its list");
    gi_node *s =
        gi_aten_node(a, OP_Split, 2, (gi_value *[]){ x, gi_aten_list(a, n, sizes) }, n, "axis = %lld", (long long)axis);
    gi_value **out = GI_NEW_ARRAY(a->scratch, gi_value *, n);
    if (!s || !out)
        return false;
    for (uint32_t i = 0; i < n; i++)
        out[i] = squeezed ? gi_aten_squeeze(a, s->out[i], 1, &axis) : s->out[i];
    return gi_aten_return_list(a, n, out);
}

enum { CHUNKS = 1, SIZE, SIZES, SECTIONS, EACH, HSPLIT, VSPLIT, DSPLIT }; /* row->arg */

/* chunk, split, split_with_sizes, tensor_split, unbind: the size that is cut must be known, since the number of parts
 * depends on it. */
bool gi_aten_split(gi_aten *a)
{
    gi_value *x = gi_aten_tensor(a, "self");
    int rank, kind = a->row->arg;
    int64_t axis = 0, size, each = 1, *sizes;
    uint32_t n = 0;
    const int64_t *given;
    if (!gi_aten_rank(a, x, &rank))
        return false;
    if (kind >= HSPLIT) {
        axis = kind == VSPLIT ? 0 : kind == DSPLIT ? 2 : rank > 1;
        kind = SECTIONS;
    } else if (!gi_aten_axis(a, "dim", rank, &axis)) {
        return false;
    }
    if (kind == SIZE && gi_aten_tensor(a, "split_size") && gi_aten_tensor(a, "split_size")->type &&
        gi_aten_tensor(a, "split_size")->type->rank == 1)
        kind = SIZES;
    if (kind == SIZES) {
        if (!gi_aten_ints(a, gi_aten_has(a, "split_sizes") ? "split_sizes" : "split_size", &n, &given))
            return false;
        return cut(a, x, axis, n, given, false);
    }
    if (!gi_aten_dim_const(a, x, (int)axis, &size))
        return false;
    const char *name = kind == CHUNKS              ? "chunks"
                       : kind == SIZE              ? "split_size"
                       : gi_aten_has(a, "indices") ? "indices"
                                                   : "sections";
    const bool at = kind == SECTIONS && gi_aten_has(a, "indices");
    if (at ? !gi_aten_ints(a, name, &n, &given) : kind != EACH && !gi_aten_int(a, name, &each))
        return false;
    if (!at && (each < 1 || size > 1 << 20))
        return gi_aten_decline(a, "its argument %s is %lld, of %lld elements", name, (long long)each, (long long)size);
    sizes = GI_NEW_ARRAY(a->scratch, int64_t, (at ? n : kind == SECTIONS ? (uint64_t)each : (uint64_t)size) + 2);
    if (!sizes)
        return false;
    if (at) {
        int64_t from = 0;
        for (uint32_t i = 0; i <= n; i++) {
            int64_t to = i < n ? given[i] : size;
            to = gi_min_i64(size, gi_max_i64(to < 0 ? to + size : to, from));
            sizes[i] = to - from;
            from = to;
        }
        return cut(a, x, axis, n + 1, sizes, false);
    }
    if (kind == SECTIONS) { /* the first ones are one longer */
        for (int64_t i = 0; i < each && i < 1 << 20; i++)
            sizes[n++] = size / each + (i < size % each);
        return cut(a, x, axis, n, sizes, false);
    }
    const int64_t step = kind == CHUNKS ? (size + each - 1) / each : each;
    for (int64_t from = 0; from < size; from += step)
        sizes[n++] = gi_min_i64(step, size - from);
    return cut(a, x, axis, n, sizes, kind == EACH);
}

/* Windows of a dim: their elements become a last dim. */
bool gi_aten_unfold(gi_aten *a)
{
    gi_value *x = gi_aten_tensor(a, "self");
    int rank;
    int64_t axis, size, step, dim;
    if (!gi_aten_rank(a, x, &rank) || !gi_aten_axis(a, "dimension", rank, &axis) || !gi_aten_int(a, "size", &size) ||
        !gi_aten_int(a, "step", &step) || !gi_aten_dim_const(a, x, rank ? (int)axis : 0, &dim))
        return false;
    if (size < 0 || step < 1 || size > dim || rank + 1 > GOPT_MAX_RANK)
        return gi_aten_decline(a, "its windows of %lld in steps of %lld do not fit %lld", (long long)size,
                               (long long)step, (long long)dim);
    const int64_t n = (dim - size) / step + 1, shape[2] = { n, size };
    gi_blob *b;
    if (n * size > 1 << 24 || gi_blob_create(a->g->cx, GOPT_I64, 2, shape, &b) != GOPT_OK)
        return gi_aten_decline(a, "it has %lld windows of %lld", (long long)n, (long long)size);
    for (int64_t i = 0; i < n; i++)
        for (int64_t k = 0; k < size; k++)
            gi_store_i64(GOPT_I64, b->owned, (size_t)(i * size + k), i * step + k);
    gi_value *y =
        gi_aten_make(a, OP_Gather, 2, (gi_value *[]){ x, gi_const(a->g, b, NULL) }, "axis = %lld", (long long)axis);
    int64_t perm[GOPT_MAX_RANK];
    for (int i = 0, k = 0; i <= rank; i++)
        if (i != axis + 1)
            perm[k++] = i;
    perm[rank] = axis + 1;
    return gi_aten_return(a, 0, gi_aten_transpose(a, y, rank + 1, perm));
}

/* Any view of a contiguous tensor, by the places of its elements. */
bool gi_aten_as_strided(gi_aten *a)
{
    gi_value *x = gi_aten_tensor(a, "self");
    uint32_t n, m;
    const int64_t *size, *stride;
    int64_t offset, total = 1;
    if (!gi_aten_ints(a, "size", &n, &size) || !gi_aten_ints(a, "stride", &m, &stride) ||
        !gi_aten_int(a, "storage_offset", &offset))
        return false;
    if (n != m || n > GOPT_MAX_RANK)
        return gi_aten_decline(a, "it has %u sizes and %u strides", n, m);
    for (uint32_t i = 0; i < n; i++)
        if (size[i] < 0 || stride[i] < 0 || !gi_mul_i64(total, size[i], &total) || total > 1 << 24)
            return gi_aten_decline(a, "its sizes are too large");
    gi_blob *b;
    if (gi_blob_create(a->g->cx, GOPT_I64, (int)n, size, &b) != GOPT_OK)
        return false;
    for (int64_t e = 0; e < total; e++) {
        int64_t at = offset, rest = e;
        for (uint32_t i = n; i-- > 0; rest /= size[i])
            at += rest % size[i] * stride[i];
        gi_store_i64(GOPT_I64, b->owned, (size_t)e, at);
    }
    gi_value *row = gi_aten_reshape(a, x, 1, (int64_t[]){ -1 });
    return gi_aten_return(a, 0,
                          gi_aten_make(a, OP_Gather, 2, (gi_value *[]){ row, gi_const(a->g, b, NULL) }, "axis = 0"));
}

/* x[1:] − x[:−1], n times, with something put before and behind. */
bool gi_aten_diff(gi_aten *a)
{
    gi_value *x = gi_aten_tensor(a, "self"), *before = gi_aten_tensor(a, "prepend"),
             *behind = gi_aten_tensor(a, "append");
    int rank;
    int64_t n, axis;
    if (!gi_aten_rank(a, x, &rank) || !gi_aten_int(a, "n", &n) || !gi_aten_axis(a, "dim", rank, &axis))
        return false;
    if (n < 0 || n > 64)
        return gi_aten_decline(a, "its argument n is %lld", (long long)n);
    if (before || behind) {
        gi_value *parts[3];
        uint32_t k = 0;
        for (int i = 0; i < 3; i++) {
            gi_value *p = i == 0 ? before : i == 1 ? x : behind;
            if (p)
                parts[k++] = p;
        }
        x = gi_aten_concat(a, k, parts, axis);
    }
    for (int64_t i = 0; i < n; i++) {
        gi_value *from = gi_aten_slice(a, x, axis, 0, -1, 1), *to = gi_aten_slice(a, x, axis, 1, INT64_MAX, 1);
        x = gi_aten_class(x) == GI_BOOLEAN ? gi_aten_2(a, OP_Xor, to, from) : gi_aten_2(a, OP_Sub, to, from);
    }
    return gi_aten_return(a, 0, x);
}

/* x with a part along a dim replaced by src: one place (select_scatter), or from start to end. */
bool gi_aten_part_scatter(gi_aten *a)
{
    gi_value *x = gi_aten_tensor(a, "self"), *src = gi_aten_tensor(a, "src"), *parts[3];
    int rank;
    int64_t axis, dim, from, to, step = 1;
    const bool one = !strcmp(a->row->name, "select_scatter");
    if (!gi_aten_rank(a, x, &rank) || !gi_aten_axis(a, "dim", rank, &axis) ||
        !gi_aten_dim_const(a, x, (int)axis, &dim) || !gi_aten_int(a, one ? "index" : "start", &from) ||
        (!one && !gi_aten_int(a, "step", &step)) || (!one && !gi_aten_int(a, "end", &to)))
        return false;
    if (step != 1)
        return gi_aten_decline(a, "its step is %lld", (long long)step);
    from = from < 0 ? from + dim : from;
    to = one ? from + 1 : gi_aten_has(a, "end") ? to < 0 ? to + dim : gi_min_i64(to, dim) : dim;
    if (from < 0 || from > dim || to < from || to > dim)
        return gi_aten_decline(a, "it puts %lld to %lld into %lld", (long long)from, (long long)to, (long long)dim);
    uint32_t n = 0;
    if (from > 0)
        parts[n++] = gi_aten_slice(a, x, axis, 0, from, 1);
    parts[n++] = gi_aten_cast(a, one ? gi_aten_unsqueeze(a, src, 1, &axis) : src, x->type->dtype);
    if (to < dim)
        parts[n++] = gi_aten_slice(a, x, axis, to, INT64_MAX, 1);
    return gi_aten_return(a, 0, n > 1 ? gi_aten_concat(a, n, parts, axis) : parts[0]);
}

/* ---- joined ---- */

static bool promote_all(gi_aten *a, uint32_t n, gi_value **x)
{
    gi_value ***p = GI_NEW_ARRAY(a->scratch, gi_value **, n + 1);
    for (uint32_t i = 0; p && i < n; i++)
        p[i] = &x[i];
    return p && gi_aten_promote(a, GI_ATEN_RESULT, n, p);
}

/* An empty tensor of rank 1 joins anything, and adds nothing: an old custom of PyTorch's. */
bool gi_aten_cat(gi_aten *a)
{
    uint32_t n, kept = 0;
    gi_value **x;
    int rank;
    int64_t axis;
    if (!gi_aten_tensors(a, "tensors", &n, &x) || !promote_all(a, n, x))
        return false;
    for (uint32_t i = 0; i < n; i++) {
        if (!gi_aten_rank(a, x[i], &rank))
            return false;
        int64_t dim;
        if (rank != 1 || !gi_type_dim_const(x[i]->type, 0, &dim) || dim)
            x[kept++] = x[i];
    }
    if (!kept)
        return gi_aten_decline(a, "there is nothing in its list");
    return gi_aten_rank(a, x[0], &rank) && gi_aten_axis(a, "dim", rank, &axis) &&
           gi_aten_return(a, 0, kept > 1 ? gi_aten_concat(a, kept, x, axis) : x[0]);
}

bool gi_aten_stack(gi_aten *a)
{
    uint32_t n;
    gi_value **x;
    int rank;
    int64_t axis;
    if (!gi_aten_tensors(a, "tensors", &n, &x) || !promote_all(a, n, x))
        return false;
    if (!n)
        return gi_aten_decline(a, "there is nothing in its list");
    if (!gi_aten_rank(a, x[0], &rank) || !gi_aten_axis(a, "dim", rank + 1, &axis))
        return false;
    for (uint32_t i = 0; i < n; i++)
        x[i] = gi_aten_unsqueeze(a, x[i], 1, &axis);
    return gi_aten_return(a, 0, gi_aten_concat(a, n, x, axis));
}

/* hstack, vstack, dstack, column_stack: dims of one are added to what has fewer than they need. */
bool gi_aten_xstack(gi_aten *a)
{
    uint32_t n;
    gi_value **x;
    int rank = 0;
    const char kind = a->row->name[0];
    if (!gi_aten_tensors(a, "tensors", &n, &x) || !promote_all(a, n, x))
        return false;
    if (!n)
        return gi_aten_decline(a, "there is nothing in its list");
    for (uint32_t i = 0; i < n; i++) {
        static const int64_t row[] = { 1, -1 }, column[] = { -1, 1 }, one[] = { 1 }, behind[] = { 2 },
                             deep[] = { 1, -1, 1 };
        if (!gi_aten_rank(a, x[i], &rank))
            return false;
        if (kind == 'h' && rank == 0)
            x[i] = gi_aten_reshape(a, x[i], 1, one);
        else if (kind == 'c' && rank < 2)
            x[i] = gi_aten_reshape(a, x[i], 2, column);
        else if ((kind == 'v' || kind == 'r') && rank < 2)
            x[i] = gi_aten_reshape(a, x[i], 2, row);
        else if (kind == 'd' && rank < 2)
            x[i] = gi_aten_reshape(a, x[i], 3, deep);
        else if (kind == 'd' && rank == 2)
            x[i] = gi_aten_unsqueeze(a, x[i], 1, behind);
    }
    const int64_t axis = kind == 'd' ? 2 : kind == 'c' || (kind == 'h' && rank > 1) ? 1 : 0;
    return gi_aten_return(a, 0, gi_aten_concat(a, n, x, axis));
}

/* ---- padded ---- */

/* Pairs (before, behind) from the last dim to the first; ONNX has all before, then all behind. */
bool gi_aten_pad(gi_aten *a)
{
    gi_value *x = gi_aten_tensor(a, "self");
    const char *mode = NULL, *name = a->row->name;
    int rank;
    uint32_t n;
    const int64_t *pad;
    int64_t pads[2 * GOPT_MAX_RANK] = { 0 };
    if (!gi_aten_rank(a, x, &rank) || !gi_aten_ints(a, gi_aten_has(a, "pad") ? "pad" : "padding", &n, &pad) ||
        !gi_aten_str(a, "mode", &mode))
        return false;
    if (n % 2 || n / 2 > (uint32_t)rank)
        return gi_aten_decline(a, "it has %u pads for rank %d", n, rank);
    const bool reflect = !strncmp(name, "reflection", 10) || (mode && !strcmp(mode, "reflect"));
    const bool edge = !strncmp(name, "replication", 11) || (mode && !strcmp(mode, "replicate"));
    const bool wrap = mode && !strcmp(mode, "circular");
    bool negative = false;
    for (uint32_t i = 0; i < n / 2; i++) {
        pads[rank - 1 - (int)i] = pad[2 * i];
        pads[2 * rank - 1 - (int)i] = pad[2 * i + 1];
        negative |= pad[2 * i] < 0 || pad[2 * i + 1] < 0;
    }
    if (negative && (reflect || edge || wrap))
        return gi_aten_decline(a, "it cuts off and pads by what is there at once");
    gi_value *list = gi_aten_list(a, 2 * (uint32_t)rank, pads);
    if (reflect || edge || wrap)
        return gi_aten_return(a, 0,
                              gi_aten_make(a, OP_Pad, 2, (gi_value *[]){ x, list }, "mode = \"%s\"",
                                           reflect ? "reflect"
                                           : edge  ? "edge"
                                                   : "wrap"));
    gopt_dtype t;
    if (!gi_aten_dtype_of(a, x, &t))
        return false;
    gi_value *v = gi_aten_has(a, "value") ? gi_aten_scalar_value(a, "value", t) : gi_aten_number(a, t, 0);
    return gi_aten_return(a, 0, gi_aten_make(a, OP_Pad, 3, (gi_value *[]){ x, list, v }, NULL));
}

/* ---- shuffled ---- */

/* Blocks of r by r: channels to space, or back where row->arg says so; any dims in front. */
bool gi_aten_pixel_shuffle(gi_aten *a)
{
    gi_value *x = gi_aten_tensor(a, "self");
    int rank;
    int64_t r, c, h, w;
    if (!gi_aten_rank(a, x, &rank) || !gi_aten_int(a, a->row->arg ? "downscale_factor" : "upscale_factor", &r) ||
        rank < 3 || !gi_aten_dim_const(a, x, -3, &c))
        return rank < 3 ? gi_aten_decline(a, "its rank is %d, expected 3 or more", rank) : false;
    if (r < 1 || (!a->row->arg && c % (r * r)))
        return gi_aten_decline(a, "%lld channels and blocks of %lld do not fit", (long long)c, (long long)r);
    if (rank == 4 && !a->row->arg)
        return gi_aten_return(
            a, 0, gi_aten_make(a, OP_DepthToSpace, 1, &x, "blocksize = %lld, mode = \"CRD\"", (long long)r));
    if (!gi_aten_dim_const(a, x, -2, &h) || !gi_aten_dim_const(a, x, -1, &w))
        return false;
    if (a->row->arg && (h % r || w % r))
        return gi_aten_decline(a, "%lld by %lld has no blocks of %lld", (long long)h, (long long)w, (long long)r);
    gi_value *front = rank > 3 ? gi_aten_slice(a, gi_aten_shape(a, x), 0, 0, -3, 1) : NULL, *shape;
    const int64_t up[6] = { -1, c / (r * r), r, r, h, w }, down[6] = { -1, c, h / r, r, w / r, r };
    static const int64_t up_perm[6] = { 0, 1, 4, 2, 5, 3 }, down_perm[6] = { 0, 1, 3, 5, 2, 4 };
    gi_value *y = gi_aten_reshape(a, x, 6, a->row->arg ? down : up);
    y = gi_aten_transpose(a, y, 6, a->row->arg ? down_perm : up_perm);
    const int64_t end[3] = { a->row->arg ? c * r * r : c / (r * r), a->row->arg ? h / r : h * r,
                             a->row->arg ? w / r : w * r };
    shape = gi_aten_list(a, 3, end);
    shape = front ? gi_aten_concat(a, 2, (gi_value *[]){ front, shape }, 0) : shape;
    return gi_aten_return(a, 0, gi_aten_2(a, OP_Reshape, y, shape));
}

/* Groups of channels dealt out in turn. */
bool gi_aten_channel_shuffle(gi_aten *a)
{
    gi_value *x = gi_aten_tensor(a, "self");
    int rank;
    int64_t groups, c;
    if (!gi_aten_rank(a, x, &rank) || !gi_aten_int(a, "groups", &groups) || !gi_aten_dim_const(a, x, 1, &c))
        return false;
    if (groups < 1 || c % groups || rank < 3)
        return gi_aten_decline(a, "%lld channels have no %lld groups", (long long)c, (long long)groups);
    const int64_t to[4] = { 0, groups, c / groups, -1 };
    static const int64_t perm[4] = { 0, 2, 1, 3 };
    gi_value *y = gi_aten_transpose(a, gi_aten_reshape(a, x, 4, to), 4, perm);
    return gi_aten_return(a, 0, gi_aten_2(a, OP_Reshape, y, gi_aten_shape(a, x)));
}
