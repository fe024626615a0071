/* Rules that recognize space-to-depth, depth-to-space and upsampling in moves and copies of elements.
 *
 * All is told from shapes: a Reshape keeps the elements in order, so dims before and after say what each stands for. */
#include "ops/move.h"
#include "passes/build.h"
#include "passes/layout.h"
#include "passes/parts.h"

#define BLOCKS                                                                                                 \
    "the Slices are all of a block's places, from one image of rank 4, by the same step on height and width, " \
    "to the end; nothing else reads them; f32 or f16"
#define MOVES "an image of rank 4, f32 or f16; the dims are seen to be those, for all values of the symbols"

enum { MAX_BLOCK = 8, MAX_VIEWS = 8 };

static const gi_dim *dim(const gi_value *v, int i)
{
    return v->type->dims[i];
}

static bool same_dim(const gi_match *m, const gi_dim *a, const gi_dim *b)
{
    return a && b && gi_dim_equal(m->g->dims, a, b) == 1;
}

static const gi_dim *times(const gi_match *m, const gi_dim *a, int64_t k)
{
    const gi_dim *b = gi_dim_const(m->g->dims, k);
    return b ? gi_dim_mul(m->g->dims, a, b) : NULL;
}

/* Runtimes have kernels of these operators for few types beside f32; f16 they widen. */
static bool is_common_type(const gi_value *v)
{
    return gi_value_dtype(v) == GOPT_F32 || gi_value_dtype(v) == GOPT_F16;
}

/* ---- strided slices ---- */

/* Input k takes place at[k] = row · step + column of each block on axes `axis` and `axis` + 1. */
typedef struct blocks {
    gi_value *x;
    int axis;
    int64_t step;
    int64_t at[MAX_BLOCK * MAX_BLOCK];
} blocks;

/* Does the entry go from a place below its step by that step to the end? */
static bool strides_to_end(const gi_value *x, const gi_span *s, int entry)
{
    const int64_t d = gi_value_dim(x, s->axis[entry]), start = s->start[entry], step = s->step[entry];
    if (start < 0 || start >= step || s->end[entry] < 0)
        return false;
    return d < 0 ? s->end[entry] >= INT32_MAX : d % step == 0 && s->end[entry] > d - step + start;
}

static bool read_blocks(const gi_node *concat, blocks *b, gi_reason *why, gi_arena *scratch)
{
    uint64_t seen = 0;
    for (int64_t step = 2; step <= MAX_BLOCK; step++)
        b->step = (uint32_t)(step * step) == concat->n_in ? step : b->step;
    if (!b->step)
        return false;
    for (uint32_t k = 0; k < concat->n_in; k++) {
        const gi_value *v = gi_node_in(concat, k);
        const gi_node *n = gi_value_node(v);
        gi_span s;
        if (!n || n->op != OP_Slice || n->block != concat->block || !gi_span_read(n, &s) || s.n != 2)
            return false;
        gi_value *x = gi_node_in(n, Slice_in_data);
        const int axis = s.axis[0] < s.axis[1] ? s.axis[0] : s.axis[1];
        const int row = gi_span_find(&s, axis), column = gi_span_find(&s, axis + 1);
        if (k == 0) {
            b->x = x;
            b->axis = axis;
        }
        if (x != b->x || axis != b->axis || row < 0 || column < 0 || s.step[row] != b->step ||
            s.step[column] != b->step || !strides_to_end(x, &s, row) || !strides_to_end(x, &s, column))
            return false;
        b->at[k] = s.start[row] * b->step + s.start[column];
        if (seen >> b->at[k] & 1)
            return false;
        seen |= (uint64_t)1 << b->at[k];
        if (v->n_uses != 1)
            return gi_decline(why, "%s has %u users: %s", gi_value_ref(v, scratch), v->n_uses,
                              gi_value_users(v, scratch));
    }
    return true;
}

/* Of an image, put together on channels. */
static bool read_image_blocks(const gi_node *concat, blocks *b, gi_reason *why, gi_arena *scratch)
{
    const gi_value *x = gi_node_in(concat, 0);
    const int64_t axis = gi_attr_int(concat, Concat_at_axis);
    return is_common_type(x) && gi_value_rank(x) == 4 && (axis == 1 || axis == -3) &&
           read_blocks(concat, b, why, scratch) && b->axis == 2;
}

static bool is_in_order(const blocks *b)
{
    for (int64_t k = 0; k < b->step * b->step; k++)
        if (b->at[k] != k)
            return false;
    return true;
}

static gi_value *to_depth(gi_rewrite *r, gi_value *x, int64_t step)
{
    gi_node *n = gi_rw_node(r, OP_SpaceToDepth, 1, &x, 1);
    if (!n)
        return NULL;
    gi_attr_set_int(n, SpaceToDepth_at_blocksize, step);
    return gi_rw_done(r, n);
}

static bool is_space_to_depth(const gi_match *m, gi_reason *why)
{
    blocks b = { 0 };
    return read_image_blocks(m->root, &b, why, m->scratch) && is_in_order(&b);
}

static gi_value *make_space_to_depth(gi_rewrite *r, const gi_match *m)
{
    blocks b = { 0 };
    gi_reason why = { .arena = m->scratch };
    return read_image_blocks(m->root, &b, &why, m->scratch) ? to_depth(r, b.x, b.step) : NULL;
}

/* ---- a convolution behind, whose weights are put in the other order ---- */

/* A convolution like the root, of x, whose input channel i is what was channel from[i] of w. */
static gi_value *reordered_conv(gi_rewrite *r, const gi_match *m, gi_value *x, const int64_t *from)
{
    const gi_blob *w = gi_value_blob(m->w);
    gi_blob *b;
    if (!x || gi_blob_create(r->g->cx, w->dtype, w->rank, w->dims, &b) != GOPT_OK)
        return NULL;
    const size_t run = w->bytes / (size_t)(w->dims[0] * w->dims[1]);
    for (int64_t o = 0; o < w->dims[0]; o++)
        for (int64_t i = 0; i < w->dims[1]; i++)
            memcpy((uint8_t *)b->owned + (size_t)(o * w->dims[1] + i) * run,
                   (const uint8_t *)w->data + (size_t)(o * w->dims[1] + from[i]) * run, run);
    gi_value *k = gi_const(r->g, b, NULL);
    gi_node *n = k ? gi_rw_node(r, OP_Conv, m->root->n_in, (gi_value *[]){ x, k, m->b }, 1) : NULL;
    return n && gi_attrs_copy(n, m->root) ? gi_rw_done(r, n) : NULL;
}

/* Has the convolution one group of that many channels, in whole bytes? */
static bool conv_takes(const gi_match *m, int64_t channels, gi_reason *why)
{
    const gi_blob *w = gi_value_blob(m->w);
    if (w->rank != 4 || channels < 1 || gi_blob_elements(w) < 1 || gopt_dtype_bits(w->dtype) < 8)
        return false;
    if (gi_attr_int(m->root, Conv_at_group) != 1)
        return gi_decline(why, "the convolution has %lld groups, and the channels' order would cross them",
                          (long long)gi_attr_int(m->root, Conv_at_group));
    return w->dims[1] == channels;
}

static bool is_focus(const gi_match *m, gi_reason *why)
{
    blocks b = { 0 };
    return read_image_blocks(gi_value_node(m->y), &b, why, m->scratch) && !is_in_order(&b) &&
           conv_takes(m, b.step * b.step * gi_value_dim(b.x, 1), why);
}

static gi_value *make_focus(gi_rewrite *r, const gi_match *m)
{
    blocks b = { 0 };
    gi_reason why = { .arena = m->scratch };
    if (!read_image_blocks(gi_value_node(m->y), &b, &why, m->scratch))
        return NULL;
    const int64_t channels = gi_value_dim(b.x, 1), places = b.step * b.step;
    int64_t *from = GI_NEW_ARRAY(m->scratch, int64_t, places * channels);
    for (int64_t k = 0; from && k < places; k++)
        for (int64_t c = 0; c < channels; c++)
            from[b.at[k] * channels + c] = k * channels + c;
    return from ? reordered_conv(r, m, to_depth(r, b.x, b.step), from) : NULL;
}

/* ---- a convolution of space-to-depth is one of the image itself, in larger steps ---- */

/* That attribute of the convolution along spatial dim i. */
static int64_t along(const gi_node *conv, int at, uint32_t i, int64_t otherwise)
{
    const int64_t *v;
    return gi_attr_ints(conv, at, &v) > i ? v[i] : otherwise;
}

static bool is_conv_of_depth(const gi_match *m, gi_reason *why)
{
    enum { FEW = 4, LARGE = 1 << 24 };
    const gi_blob *w = gi_value_blob(m->w);
    const int64_t b = gi_attr_int(gi_value_node(m->y), SpaceToDepth_at_blocksize), c = gi_value_dim(m->x, 1);
    if (b < 2 || b > MAX_BLOCK || c < 1 || c > LARGE || gi_value_dim(m->x, 2) < 1 || gi_value_dim(m->x, 3) < 1 ||
        !conv_takes(m, b * b * c, why))
        return false;
    for (uint32_t i = 0; i < 4; i++)
        if (along(m->root, Conv_at_pads, i, 0) > LARGE || along(m->root, Conv_at_strides, i, 1) > LARGE)
            return false;
    for (uint32_t i = 0; i < 2; i++)
        if (along(m->root, Conv_at_dilations, i, 1) != 1)
            return gi_decline(why, "the convolution is dilated, so its positions are no window of the image");
    if (!gi_attr_is(m->root, Conv_at_auto_pad, "NOTSET") && !gi_attr_is(m->root, Conv_at_auto_pad, "VALID"))
        return gi_decline(why, "the convolution pads by itself: %s", gi_attr_str(m->root, Conv_at_auto_pad));
    if (c > FEW && w->dims[2] * w->dims[3] > 1)
        return gi_decline(why, "of %lld channels, steps of 1 are worth more than a move", (long long)c);
    return true;
}

/* w[o][(row · b + column) · c + channel][h][w] as [o][channel][h · b + row][w · b + column] */
static gi_value *spread_weights(gi_rewrite *r, const gi_blob *w, int64_t c, int64_t b)
{
    const int64_t kh = w->dims[2], kw = w->dims[3], dims[] = { w->dims[0], c, kh * b, kw * b };
    gi_blob *to;
    if (gi_blob_create(r->g->cx, w->dtype, 4, dims, &to) != GOPT_OK)
        return NULL;
    const size_t size = (size_t)gopt_dtype_bits(w->dtype) / 8;
    size_t at = 0;
    for (int64_t o = 0; o < dims[0]; o++)
        for (int64_t ch = 0; ch < c; ch++)
            for (int64_t i = 0; i < dims[2]; i++)
                for (int64_t j = 0; j < dims[3]; j++, at += size) {
                    const int64_t depth = (i % b * b + j % b) * c + ch;
                    const int64_t from = ((o * w->dims[1] + depth) * kh + i / b) * kw + j / b;
                    memcpy((uint8_t *)to->owned + at, (const uint8_t *)w->data + (size_t)from * size, size);
                }
    return gi_const(r->g, to, NULL);
}

static gi_value *make_conv_of_depth(gi_rewrite *r, const gi_match *m)
{
    const gi_blob *w = gi_value_blob(m->w);
    const int64_t b = gi_attr_int(gi_value_node(m->y), SpaceToDepth_at_blocksize);
    int64_t pads[4], strides[2];
    for (uint32_t i = 0; i < 4; i++)
        pads[i] = along(m->root, Conv_at_pads, i, 0) * b;
    for (uint32_t i = 0; i < 2; i++)
        strides[i] = along(m->root, Conv_at_strides, i, 1) * b;
    gi_value *k = spread_weights(r, w, gi_value_dim(m->x, 1), b);
    gi_node *n = k ? gi_rw_node(r, OP_Conv, m->root->n_in, (gi_value *[]){ m->x, k, m->b }, 1) : NULL;
    return n && gi_attrs_copy(n, m->root) &&
                   (!gi_attr_has(n, Conv_at_pads) || gi_attr_set_ints(n, Conv_at_pads, 4, pads)) &&
                   gi_attr_set_ints(n, Conv_at_strides, 2, strides) &&
                   gi_attr_set_ints(n, Conv_at_kernel_shape, 2, (const int64_t[]){ w->dims[2] * b, w->dims[3] * b })
               ? gi_rw_done(r, n)
               : NULL;
}

/* ---- patches on the last dim ---- */

/* The order in which the Concat has a block's places: along rows first, or along columns. */
typedef enum places { OTHERWISE, ROW_BY_ROW, COLUMN_BY_COLUMN } places;

static places order_of(const blocks *b)
{
    bool rows = true, columns = true;
    for (int64_t k = 0; k < b->step * b->step; k++) {
        rows = rows && b->at[k] == k;
        columns = columns && b->at[k] == k % b->step * b->step + k / b->step;
    }
    return rows ? ROW_BY_ROW : columns ? COLUMN_BY_COLUMN : OTHERWISE;
}

static bool is_patches(const gi_match *m, gi_reason *why)
{
    blocks b = { 0 };
    const gi_node *n = m->root;
    const int rank = gi_value_rank(n->out[0]);
    const int64_t axis = gi_attr_int(n, Concat_at_axis);
    if (rank < 3 || (axis != rank - 1 && axis != -1) || !read_blocks(n, &b, why, m->scratch) || b.axis != rank - 3 ||
        order_of(&b) == OTHERWISE || rank + 2 > GOPT_MAX_RANK)
        return false;
    int unknown = 0;
    for (int i = 0; i < rank; i++)
        unknown += gi_value_dim(b.x, i) < 1;
    /* what leads may be unknown, once; the blocks must be seen to be whole */
    return gi_value_dim(b.x, rank - 3) > 0 && gi_value_dim(b.x, rank - 2) > 0 && gi_value_dim(b.x, rank - 1) > 0 &&
           unknown <= 1;
}

static gi_value *make_patches(gi_rewrite *r, const gi_match *m)
{
    blocks b = { 0 };
    gi_reason why = { .arena = m->scratch };
    if (!read_blocks(m->root, &b, &why, m->scratch))
        return NULL;
    int64_t apart[GOPT_MAX_RANK], together[GOPT_MAX_RANK], perm[GOPT_MAX_RANK];
    const int rank = gi_value_rank(b.x), h = rank - 3;
    const int64_t depth = gi_value_dim(b.x, rank - 1);
    for (int i = 0; i < h; i++) {
        apart[i] = together[i] = gi_value_dim(b.x, i);
        perm[i] = i;
    }
    for (int i = 0; i < 2; i++) {
        together[h + i] = apart[h + 2 * i] = gi_value_dim(b.x, h + i) / b.step;
        apart[h + 2 * i + 1] = b.step;
    }
    apart[h + 4] = depth;
    together[h + 2] = depth * b.step * b.step;
    const bool by_rows = order_of(&b) == ROW_BY_ROW;
    const int moved[] = { h, h + 2, by_rows ? h + 1 : h + 3, by_rows ? h + 3 : h + 1, h + 4 };
    for (int i = 0; i < 5; i++)
        perm[h + i] = moved[i];
    gi_value *y = gi_rw_transpose(r, gi_rw_reshape(r, b.x, rank + 2, apart), rank + 2, perm);
    return gi_rw_reshape(r, y, rank, together);
}

/* ---- Reshape, Transpose, Reshape ---- */

static bool has_perm(const gi_value *v, const int *want)
{
    const int64_t *perm;
    if (gi_attr_ints(gi_value_node(v), Transpose_at_perm, &perm) != 6)
        return false;
    for (int i = 0; i < 6; i++)
        if (perm[i] != want[i])
            return false;
    return true;
}

static bool has_ranks(const gi_match *m, const gi_value *y)
{
    return is_common_type(m->x) && gi_value_rank(m->x) == 4 && gi_value_rank(m->r) == 6 && gi_value_rank(y) == 4;
}

/* The block's size where m->r is [n, b, b, c, h, w] or [n, c, b, b, h, w], and moved so that blocks lie in place. */
static int64_t depth_block(const gi_match *m, bool *crd)
{
    static const int dcr_perm[] = { 0, 3, 4, 1, 5, 2 }, crd_perm[] = { 0, 1, 4, 2, 5, 3 };
    const gi_value *y = m->root->out[0];
    if (!has_ranks(m, y))
        return 0;
    *crd = has_perm(m->t, crd_perm);
    if (!*crd && !has_perm(m->t, dcr_perm))
        return 0;
    const int at = *crd ? 2 : 1;
    const int64_t b = gi_value_dim(m->r, at);
    const gi_dim *channels = dim(m->r, *crd ? 1 : 3);
    const bool fits = b > 1 && gi_value_dim(m->r, at + 1) == b && same_dim(m, dim(m->r, 0), dim(m->x, 0)) &&
                      same_dim(m, dim(m->r, 4), dim(m->x, 2)) && same_dim(m, dim(m->r, 5), dim(m->x, 3)) &&
                      same_dim(m, times(m, channels, b * b), dim(m->x, 1)) && same_dim(m, dim(y, 0), dim(m->x, 0)) &&
                      same_dim(m, dim(y, 1), channels) && same_dim(m, dim(y, 2), times(m, dim(m->x, 2), b)) &&
                      same_dim(m, dim(y, 3), times(m, dim(m->x, 3), b));
    return fits ? b : 0;
}

static bool is_depth_to_space(const gi_match *m, gi_reason *why)
{
    bool crd;
    (void)why;
    return depth_block(m, &crd) != 0;
}

static gi_value *make_depth_to_space(gi_rewrite *r, const gi_match *m)
{
    bool crd;
    const int64_t b = depth_block(m, &crd);
    gi_node *n = gi_rw_node(r, OP_DepthToSpace, 1, &(gi_value *){ m->x }, 1);
    if (!n || (crd && !gi_attr_set_str(n, DepthToSpace_at_mode, "CRD")))
        return NULL;
    gi_attr_set_int(n, DepthToSpace_at_blocksize, b);
    return gi_rw_done(r, n);
}

/* The block's size where m->r is [n, c, h, b, w, b], and moved as `perm`; y is the last Reshape's result. */
static int64_t space_block(const gi_match *m, const gi_value *y, const int *perm)
{
    if (!has_ranks(m, y) || !has_perm(m->t, perm))
        return 0;
    const int64_t b = gi_value_dim(m->r, 3);
    const bool fits = b > 1 && gi_value_dim(m->r, 5) == b && same_dim(m, dim(m->r, 0), dim(m->x, 0)) &&
                      same_dim(m, dim(m->r, 1), dim(m->x, 1)) && same_dim(m, times(m, dim(m->r, 2), b), dim(m->x, 2)) &&
                      same_dim(m, times(m, dim(m->r, 4), b), dim(m->x, 3)) && same_dim(m, dim(y, 0), dim(m->x, 0)) &&
                      same_dim(m, dim(y, 1), times(m, dim(m->x, 1), b * b)) && same_dim(m, dim(y, 2), dim(m->r, 2)) &&
                      same_dim(m, dim(y, 3), dim(m->r, 4));
    return fits ? b : 0;
}

static const int by_place[] = { 0, 3, 5, 1, 2, 4 }, by_channel[] = { 0, 1, 3, 5, 2, 4 };

/* Of one channel, both orders are the same. */
static int64_t moved_block(const gi_match *m)
{
    const int64_t b = space_block(m, m->root->out[0], by_place);
    return b || gi_value_dim(m->x, 1) != 1 ? b : space_block(m, m->root->out[0], by_channel);
}

static bool is_moved_to_depth(const gi_match *m, gi_reason *why)
{
    (void)why;
    return moved_block(m) != 0;
}

static gi_value *make_moved_to_depth(gi_rewrite *r, const gi_match *m)
{
    return to_depth(r, m->x, moved_block(m));
}

static bool is_unshuffle(const gi_match *m, gi_reason *why)
{
    const int64_t b = space_block(m, m->y, by_channel);
    return b && conv_takes(m, b * b * gi_value_dim(m->x, 1), why);
}

static gi_value *make_unshuffle(gi_rewrite *r, const gi_match *m)
{
    const int64_t b = space_block(m, m->y, by_channel), channels = gi_value_dim(m->x, 1);
    int64_t *from = GI_NEW_ARRAY(m->scratch, int64_t, b * b * channels);
    for (int64_t i = 0; from && i < b * b * channels; i++)
        from[i] = i % channels * b * b + i / channels;
    return from ? reordered_conv(r, m, to_depth(r, m->x, b), from) : NULL;
}

/* ---- images made larger ---- */

static bool is_safe_scale(int64_t s)
{
    return s == 1 || s == 2 || s == 3 || s == 4 || s == 8 || s == 16;
}

/* m->r is [n, c, h, 1, w, 1], m->t [n, c, h, s, w, t], and the result [n, c, h·s, w·t]. */
static bool scales_of(const gi_match *m, int64_t *s, int64_t *t)
{
    const gi_value *y = m->root->out[0];
    if (!has_ranks(m, y) || gi_value_rank(m->t) != 6)
        return false;
    *s = gi_value_dim(m->t, 3);
    *t = gi_value_dim(m->t, 5);
    if (!is_safe_scale(*s) || !is_safe_scale(*t) || gi_value_dim(m->r, 3) != 1 || gi_value_dim(m->r, 5) != 1)
        return false;
    static const int kept[] = { 0, 1, 2, 4 };
    for (int i = 0; i < 4; i++)
        if (!same_dim(m, dim(m->r, kept[i]), dim(m->x, i)) || !same_dim(m, dim(m->t, kept[i]), dim(m->x, i)) ||
            !same_dim(m, dim(y, i),
                      times(m, dim(m->x, i),
                            i == 2   ? *s
                            : i == 3 ? *t
                                     : 1)))
            return false;
    return true;
}

static bool is_upsample(const gi_match *m, gi_reason *why)
{
    int64_t s, t;
    (void)why;
    return scales_of(m, &s, &t) && s * t > 1;
}

static gi_value *make_upsample(gi_rewrite *r, const gi_match *m)
{
    int64_t s, t;
    if (!scales_of(m, &s, &t))
        return NULL;
    gi_value *scales = gi_const_f32(r->g, 1, 4, (float[]){ 1, 1, (float)s, (float)t });
    gi_node *n = scales ? gi_rw_node(r, OP_Resize, 3, (gi_value *[]){ m->x, NULL, scales }, 1) : NULL;
    if (!n || !gi_attr_set_str(n, Resize_at_mode, "nearest") ||
        !gi_attr_set_str(n, Resize_at_coordinate_transformation_mode, "asymmetric") ||
        !gi_attr_set_str(n, Resize_at_nearest_mode, "floor"))
        return NULL;
    return gi_rw_done(r, n);
}

/* ---- entries of an axis, one by one, put together on another ---- */

/* Entry `index` of an axis of x, through views. A run's last state is the last entry of its results. */
typedef struct single {
    gi_value *x;
    int axis;
    int64_t dim, index;
} single;

static bool read_single(gi_value *v, single *s)
{
    gi_part p;
    for (int i = 0; i < MAX_VIEWS && v; i++) {
        const gi_node *n = gi_value_node(v);
        if (gi_part_of(v, &p)) {
            *s = (single){ p.x, p.axis, p.dim, p.first };
            for (gi_part whole; gi_part_of(s->x, &whole) && whole.axis == p.axis && whole.step == 1 && !whole.drops;)
                *s = (single){ whole.x, p.axis, whole.dim, whole.first + s->index };
            return p.count == 1;
        }
        if (n && v->index == 1 && (n->op == OP_LSTM || n->op == OP_GRU || n->op == OP_RNN)) {
            const int64_t steps = gi_value_dim(n->out[0], 0);
            *s = (single){ n->out[0], 0, steps, gi_attr_is(n, LSTM_at_direction, "forward") ? steps - 1 : 0 };
            return !gi_attr_is(n, LSTM_at_direction, "bidirectional") && s->dim > 0 && gi_value_rank(s->x) == 4;
        }
        if (!n || !gi_is_view(n))
            return false;
        v = gi_node_in(n, 0);
    }
    return false;
}

/* Where the axis goes among x's dims: those before it are the Concat's before its own, which it may lead a dim of.
 * -1 where the dims differ; dims of 1 do not count. */
static int place_of_axis(const gi_match *m, const single *s, const gi_value *part, int axis)
{
    int at = 0, place = -1;
    const int rank = gi_value_rank(s->x);
    for (int i = 0; i <= gi_value_rank(part); i++) {
        while (at < rank && (at == s->axis || gi_value_dim(s->x, at) == 1))
            at++;
        if (i == axis)
            place = at;
        if (i == gi_value_rank(part))
            break;
        if (gi_value_dim(part, i) == 1)
            continue;
        if (at == rank || gi_dim_equal(m->g->dims, part->type->dims[i], s->x->type->dims[at]) != 1)
            return -1;
        at++;
    }
    return at == rank ? place : -1;
}

/* All entries of one dim, in order or, where it pays to turn them first, from last to first. */
static bool read_stack(const gi_match *m, single *s, int *place, bool *back)
{
    const gi_node *n = m->root;
    const gi_value *first = gi_node_in(n, 0);
    int axis;
    uint32_t freed = 0;
    if (n->n_in < 2 || gi_value_rank(first) < 1 ||
        !gi_axis(gi_attr_int(n, Concat_at_axis), gi_value_rank(first), &axis))
        return false;
    for (uint32_t i = 0; i < n->n_in; i++) {
        single one;
        gi_value *v = gi_node_in(n, i);
        *back = i ? *back : read_single(v, &one) && one.index > 0;
        if (!read_single(v, &one) || one.index != (int64_t)(*back ? n->n_in - 1 - i : i) ||
            one.dim != (int64_t)n->n_in || (i && (one.x != s->x || one.axis != s->axis)) ||
            !gi_type_same(m->g, v->type, first->type))
            return false;
        *s = one;
        freed += v->n_uses == 1;
    }
    *place = place_of_axis(m, s, first, axis);
    return freed > (*back ? 2 : 0) && *place >= 0;
}

static bool stacks_all_parts(const gi_match *m, gi_reason *why)
{
    single s;
    int place;
    bool back;
    (void)why;
    if (!read_stack(m, &s, &place, &back))
        return false;
    int64_t target[GOPT_MAX_RANK];
    const gi_type *to = m->root->out[0]->type;
    return to && to->rank >= 0 && gi_reshape_target(m->g, 0, NULL, to->rank, to->dims, target) <= 1;
}

static gi_value *move_axis(gi_rewrite *r, const gi_match *m)
{
    single s;
    int place, n = 0;
    int64_t perm[GOPT_MAX_RANK], target[GOPT_MAX_RANK];
    bool back;
    if (!read_stack(m, &s, &place, &back))
        return NULL;
    if (back)
        s.x = gi_span_build(
            r, s.x, &(gi_span){ .n = 1, .axis = { s.axis }, .start = { -1 }, .end = { -INT64_MAX }, .step = { -1 } });
    const int rank = gi_value_rank(s.x);
    for (int i = 0; i <= rank; i++) {
        if (i == place)
            perm[n++] = s.axis;
        if (i < rank && i != s.axis)
            perm[n++] = i;
    }
    gi_value *y = gi_rw_transpose(r, s.x, rank, perm);
    const gi_type *to = m->root->out[0]->type;
    if (!y || gi_type_same(r->g, y->type, to))
        return y;
    return gi_reshape_target(r->g, y->type->rank, y->type->dims, to->rank, to->dims, target) <= 1
               ? gi_rw_reshape(r, y, to->rank, target)
               : NULL;
}

#include "passes/rows.h"
#include "passes/rules/structure.def"
