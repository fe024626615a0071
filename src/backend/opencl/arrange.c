/* Elements at other places: Expand, Tile, Pad, DepthToSpace, SpaceToDepth, Trilu, ReverseSequence. Each says where an
 * element of its result comes from. */
#include <inttypes.h>

#include "backend/opencl/index.h"
#include "ops/eval.h"

/* Begins a kernel that reads the node's first input as X. *ok false: declined. */
static gopt_status begin(gi_cl_index *k, gi_cl_build *b, const gi_node *n, gi_cl_view *x, bool *ok)
{
    int rx, ry;
    int64_t dx[GOPT_MAX_RANK], dy[GOPT_MAX_RANK];
    *ok =
        gi_cl_movable(b, gi_node_in(n, 0), "its input", &rx, dx) && gi_cl_movable(b, n->out[0], "its result", &ry, dy);
    if (!*ok)
        return GOPT_OK;
    GI_TRY(gi_cl_index_begin(k, b, n, n->out[0]));
    return gi_cl_index_read(k, gi_node_in(n, 0), "X", x);
}

/* Stores X at `at`; 0, or what `other` says, where `condition` does not hold. */
static gopt_status end(gi_cl_index *k, const gi_cl_view *x, const char *const *at, const char *condition,
                       const char *other)
{
    gi_str s;
    gi_str_init(&s, k->b->arena);
    gi_str_addf(&s, condition ? "(%s) ? X(" : "X(", condition);
    gi_cl_index_place(&s, x, at);
    gi_str_addf(&s, condition ? ") : %s" : ")", other ? other : "0");
    GI_NEED(!s.failed);
    return gi_cl_index_end(k, s.p);
}

static gopt_status take_expand(gi_cl_build *b, const gi_node *n, bool *took)
{
    gi_cl_index k;
    gi_cl_view x;
    const char *at[GOPT_MAX_RANK];
    bool ok;
    GI_TRY(begin(&k, b, n, &x, &ok));
    if (!ok || x.rank > k.y.rank)
        return GOPT_OK;
    for (int i = 0; i < x.rank; i++) /* a dim of one element has no part in the place */
        at[i] = gi_cl_coordinates[i + k.y.rank - x.rank];
    *took = true;
    return end(&k, &x, at, NULL, NULL);
}

static gopt_status take_tile(gi_cl_build *b, const gi_node *n, bool *took)
{
    gi_cl_index k;
    gi_cl_view x;
    bool ok;
    GI_TRY(begin(&k, b, n, &x, &ok));
    if (!ok || x.rank != k.y.rank)
        return GOPT_OK;
    for (int i = 0; i < x.rank; i++)
        if (x.dims[i] > 1)
            gi_str_addf(&k.body, "    const ix n%d = c%d %% %" PRId64 ";\n", i, i, x.dims[i]);
    *took = true;
    return end(&k, &x, gi_cl_places, NULL, NULL);
}

/* What is kept of an axis of a Pad: `length` elements from `first` on, which lie at `at` in the result. */
typedef struct kept {
    int64_t first, at, length, out;
} kept;

static bool read_pads(gi_cl_build *b, const gi_node *n, const gi_cl_view *x, kept *w)
{
    size_t count, n_axes = (size_t)x->rank;
    const int64_t *pads = gi_cl_known_ints(b, gi_node_in(n, Pad_in_pads), "its pads are", 2 * GOPT_MAX_RANK, &count);
    const int64_t *axes = NULL;
    if (!pads)
        return false;
    if (gi_node_in(n, Pad_in_axes) &&
        !(axes = gi_cl_known_ints(b, gi_node_in(n, Pad_in_axes), "its axes are", GOPT_MAX_RANK, &n_axes)))
        return false;
    for (int i = 0; i < x->rank; i++)
        w[i] = (kept){ .length = x->dims[i], .out = x->dims[i] };
    for (size_t i = 0; i < n_axes && count == 2 * n_axes; i++) {
        int k;
        if (!gi_axis(axes ? axes[i] : (int64_t)i, x->rank, &k))
            return false;
        const int64_t before = pads[i], after = pads[n_axes + i], most = (int64_t)1 << 40;
        if (before < -w[k].length || after < -w[k].length || before > most || after > most)
            return false;
        w[k].first = gi_max_i64(0, -before);
        w[k].at = gi_max_i64(0, before);
        w[k].length -= w[k].first + gi_max_i64(0, -after);
        w[k].out = w[k].length + w[k].at + gi_max_i64(0, after);
        if (w[k].length < 0)
            return false;
    }
    return count == 2 * n_axes;
}

/* "const ix nK = …": where element cK of the result lies in x, in a mode that goes on with x. */
static void write_continued(gi_str *s, int k, const kept *w, const char *mode)
{
    const int64_t n = w->length, period = *mode == 'w' ? n : 2 * (n - 1);
    gi_str_addf(s, "    ix n%d = c%d - %" PRId64 ";\n", k, k, w->at);
    if (*mode == 'e' || n == 1)
        gi_str_addf(s, "    n%d = clamp(n%d, (ix)0, (ix)%" PRId64 ");\n", k, k, n - 1);
    else
        gi_str_addf(s, "    n%d %%= %" PRId64 ";\n    n%d += n%d < 0 ? %" PRId64 " : 0;\n", k, period, k, k, period);
    if (*mode == 'r' && n != 1)
        gi_str_addf(s, "    n%d = n%d < %" PRId64 " ? n%d : %" PRId64 " - n%d;\n", k, k, n, k, period, k);
    if (w->first)
        gi_str_addf(s, "    n%d += %" PRId64 ";\n", k, w->first);
}

static gopt_status take_pad(gi_cl_build *b, const gi_node *n, bool *took)
{
    gi_cl_index k;
    gi_cl_view x, v;
    gi_value *value = gi_node_in(n, Pad_in_constant_value);
    const char *mode = gi_attr_str(n, Pad_at_mode), *at[GOPT_MAX_RANK];
    kept w[GOPT_MAX_RANK];
    gi_str inside;
    bool ok;
    GI_TRY(begin(&k, b, n, &x, &ok));
    if (!ok || !mode || !*mode || x.rank != k.y.rank || !read_pads(b, n, &x, w))
        return GOPT_OK;
    const bool constant = *mode == 'c';
    if (value && constant && (!value->type || value->type->dtype != gi_node_in(n, 0)->type->dtype)) {
        (void)gi_cl_decline(b, "its value is of another type");
        return GOPT_OK;
    }
    gi_str_init(&inside, b->arena);
    for (int i = 0; i < x.rank; i++) {
        if (w[i].out != k.y.dims[i] || (!constant && !w[i].length && w[i].out))
            return GOPT_OK;
        const bool moved = w[i].at || w[i].first || w[i].out != w[i].length;
        at[i] = moved ? gi_cl_places[i] : gi_cl_coordinates[i];
        if (!moved)
            continue;
        if (!constant) {
            write_continued(&k.body, i, &w[i], mode);
            continue;
        }
        gi_str_addf(&k.body, "    const ix n%d = c%d + (ix)(%" PRId64 ");\n", i, i, w[i].first - w[i].at);
        gi_str_addf(&inside, "%sn%d >= %" PRId64 " && n%d < %" PRId64, inside.n ? " && " : "", i, w[i].first, i,
                    w[i].first + w[i].length);
    }
    GI_NEED(!inside.failed);
    if (constant && value)
        GI_TRY(gi_cl_index_read(&k, value, "V", &v));
    *took = true;
    return end(&k, &x, at, inside.n ? inside.p : NULL, constant && value ? "V(0)" : "0");
}

static gopt_status take_depth_to_space(gi_cl_build *b, const gi_node *n, bool *took)
{
    gi_cl_index k;
    gi_cl_view x;
    static const char *const at[] = { "c0", "n1", "n2", "n3" };
    const int64_t size = gi_attr_int(n, DepthToSpace_at_blocksize);
    const bool crd = gi_attr_is(n, DepthToSpace_at_mode, "CRD");
    bool ok;
    GI_TRY(begin(&k, b, n, &x, &ok));
    if (!ok || x.rank != 4 || size < 1)
        return GOPT_OK;
    gi_str_addf(&k.body,
                "    const ix block = c2 %% %" PRId64 " * %" PRId64 " + c3 %% %" PRId64 ", n2 = c2 / %" PRId64
                ", n3 = c3 / %" PRId64 ";\n",
                size, size, size, size, size);
    if (crd)
        gi_str_addf(&k.body, "    const ix n1 = c1 * %" PRId64 " + block;\n", size * size);
    else
        gi_str_addf(&k.body, "    const ix n1 = block * %" PRId64 " + c1;\n", k.y.dims[1]);
    *took = true;
    return end(&k, &x, at, NULL, NULL);
}

static gopt_status take_space_to_depth(gi_cl_build *b, const gi_node *n, bool *took)
{
    gi_cl_index k;
    gi_cl_view x;
    static const char *const at[] = { "c0", "n1", "n2", "n3" };
    const int64_t size = gi_attr_int(n, SpaceToDepth_at_blocksize);
    bool ok;
    GI_TRY(begin(&k, b, n, &x, &ok));
    if (!ok || x.rank != 4 || size < 1 || !x.dims[1])
        return GOPT_OK;
    gi_str_addf(&k.body,
                "    const ix block = c1 / %" PRId64 ", n1 = c1 %% %" PRId64 ";\n    const ix n2 = c2 * %" PRId64
                " + block / %" PRId64 ", n3 = c3 * %" PRId64 " + block %% %" PRId64 ";\n",
                x.dims[1], x.dims[1], size, size, size, size);
    *took = true;
    return end(&k, &x, at, NULL, NULL);
}

static gopt_status take_trilu(gi_cl_build *b, const gi_node *n, bool *took)
{
    gi_cl_index k;
    gi_cl_view x;
    size_t count = 0;
    const int64_t *diagonal = NULL;
    gi_value *vk = gi_node_in(n, Trilu_in_k);
    char inside[80];
    bool ok;
    if (vk && !(diagonal = gi_cl_known_ints(b, vk, "its diagonal is", 1, &count)))
        return GOPT_OK;
    GI_TRY(begin(&k, b, n, &x, &ok));
    if (!ok || x.rank < 2 || (vk && count != 1))
        return GOPT_OK;
    (void)snprintf(inside, sizeof inside, "(long)c%d - c%d %s %" PRId64 "L", x.rank - 1, x.rank - 2,
                   gi_attr_int(n, Trilu_at_upper) ? ">=" : "<=",
                   diagonal ? gi_max_i64(-INT32_MAX, gi_min_i64(*diagonal, INT32_MAX)) : 0);
    *took = true;
    return end(&k, &x, gi_cl_coordinates, inside, "0");
}

static gopt_status take_reverse_sequence(gi_cl_build *b, const gi_node *n, bool *took)
{
    gi_cl_index k;
    gi_cl_view x, lengths;
    const gi_value *vl = gi_node_in(n, ReverseSequence_in_sequence_lens);
    const int64_t batch = gi_attr_int(n, ReverseSequence_at_batch_axis),
                  time = gi_attr_int(n, ReverseSequence_at_time_axis);
    const char *at[GOPT_MAX_RANK];
    int rank;
    int64_t dl[GOPT_MAX_RANK];
    bool ok;
    GI_TRY(begin(&k, b, n, &x, &ok));
    if (!ok || x.rank < 2 || batch + time != 1 || batch * time != 0 || !gi_cl_tensor(b, vl, "its lengths", &rank, dl) ||
        rank != 1 || dl[0] != x.dims[batch])
        return GOPT_OK;
    GI_TRY(gi_cl_index_read(&k, vl, "N", &lengths));
    gi_str_addf(&k.body,
                "    const long length = min((long)N(c%" PRId64 "), (long)%" PRId64 ");\n    const ix n = c%" PRId64
                " < length ? length - 1 - c%" PRId64 " : c%" PRId64 ";\n",
                batch, x.dims[time], time, time, time);
    for (int i = 0; i < x.rank; i++)
        at[i] = i == time ? "n" : gi_cl_coordinates[i];
    *took = true;
    return end(&k, &x, at, NULL, NULL);
}

gopt_status gi_cl_take_arrange(gi_cl_build *b, const gi_node *n, bool *took)
{
    switch (n->op) {
    case OP_Expand:
        return take_expand(b, n, took);
    case OP_Tile:
        return take_tile(b, n, took);
    case OP_Pad:
        return take_pad(b, n, took);
    case OP_DepthToSpace:
        return take_depth_to_space(b, n, took);
    case OP_SpaceToDepth:
        return take_space_to_depth(b, n, took);
    case OP_Trilu:
        return take_trilu(b, n, took);
    case OP_ReverseSequence:
        return take_reverse_sequence(b, n, took);
    default:
        return GOPT_OK;
    }
}
