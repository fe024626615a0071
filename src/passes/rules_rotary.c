/* Rules that recognize rotary embeddings of positions.
 *
 * RotaryEmbedding takes caches of half a head's size, [batch, tokens, size / 2], where models have cos and sin of the
 * whole size with each number twice. Half of them is built from where they come: constants, a table that positions
 * choose rows of, or an angle that was written twice before cos and sin. Only so are both halves seen to be the same.
 * Where all batches have the same positions, the caches are widened to the batch by one Expand, for all heads of all
 * layers. */
#include "passes/build.h"
#include "passes/layout.h"
#include "passes/parts.h"

#define ROTARY_NEEDS                                                                                                   \
    "x is [batch, heads, tokens, size], or with tokens first, of f32 or f16; cos and sin are of one head, and of all " \
    "batches alike or "                                                                                                \
    "of each"

enum { MAX_DEPTH = 12 };

/* ---- one number of each two ---- */

/* Is v's last dim n long? */
static bool ends_with(const gi_value *v, int64_t n)
{
    return gi_value_rank(v) >= 1 && gi_value_dim(v, -1) == n;
}

/* One number of each two in the last dim, which are the same: of the two halves, or of neighbours. */
static gi_value *half_of_constant(gi_rewrite *r, const gi_value *v, bool pairs)
{
    const gi_blob *b = gi_value_blob(v);
    gi_blob *h;
    int64_t dims[GOPT_MAX_RANK];
    const size_t item = gi_item_size(b->dtype);
    if (b->rank < 1 || b->dims[b->rank - 1] % 2 || !item || !gi_dtype_is_float(b->dtype))
        return NULL;
    memcpy(dims, b->dims, (size_t)b->rank * sizeof *dims);
    const int64_t n = dims[b->rank - 1] /= 2, all = gi_blob_elements(b) / 2;
    if (n < 1 || gi_blob_create(r->g->cx, b->dtype, b->rank, dims, &h) != GOPT_OK)
        return NULL;
    bool same = true;
    for (int64_t i = 0; i < all && same; i++) {
        const int64_t row = i / n * 2 * n, at = i % n;
        const uint8_t *first = (const uint8_t *)b->data + (size_t)(row + (pairs ? 2 * at : at)) * item;
        same = !memcmp(first, first + (size_t)(pairs ? 1 : n) * item, item);
        memcpy((uint8_t *)h->owned + (size_t)i * item, first, item);
    }
    if (!same) {
        gi_blob_unref(h);
        return NULL;
    }
    return gi_const(r->g, h, NULL);
}

static gi_value *half_of(gi_rewrite *r, gi_value *v, int64_t n, bool pairs, int depth);

/* The same node on half of its first input. */
static gi_value *on_half(gi_rewrite *r, const gi_node *n, int64_t size, bool pairs, int depth)
{
    gi_value *in[2] = { half_of(r, gi_node_in(n, 0), size, pairs, depth + 1), gi_node_in(n, 1) };
    gi_node *made = in[0] ? gi_rw_node_behind(r, n->out[0], n->op, n->n_in, in, 1) : NULL;
    return made && gi_attrs_copy(made, n) ? gi_rw_done(r, made) : NULL;
}

static bool is_on_last_axis(const gi_node *n, int at)
{
    int axis;
    const int rank = gi_value_rank(n->out[0]);
    return gi_axis(gi_attr_int(n, at), rank, &axis) && axis == rank - 1;
}

/* f twice: f in front of itself, or each number of f beside itself. */
static gi_value *written_twice(const gi_node *n, bool pairs)
{
    if (!pairs)
        return n->op == OP_Concat && n->n_in == 2 && gi_node_in(n, 0) == gi_node_in(n, 1) &&
                       is_on_last_axis(n, Concat_at_axis)
                   ? gi_node_in(n, 0)
                   : NULL;
    const gi_node *wide = n->op == OP_Reshape ? gi_value_node(gi_node_in(n, 0)) : NULL;
    const gi_node *one = wide ? gi_value_node(gi_node_in(wide, 0)) : NULL;
    if (!one || (one->op != OP_Unsqueeze && one->op != OP_Reshape) || !ends_with(one->out[0], 1) ||
        !ends_with(wide->out[0], 2))
        return NULL;
    gi_value *f = gi_node_in(one, 0);
    const bool copies = wide->op == OP_Expand || wide->op == OP_Tile ||
                        (wide->op == OP_Concat && wide->n_in == 2 && gi_node_in(wide, 0) == gi_node_in(wide, 1));
    const int rank = gi_value_rank(f);
    if (!copies || rank < 1 || gi_value_rank(one->out[0]) != rank + 1 || gi_value_rank(wide->out[0]) != rank + 1 ||
        gi_value_rank(n->out[0]) != rank)
        return NULL;
    for (int i = 0; i < rank; i++)
        if (gi_dim_equal(n->block->graph->dims, wide->out[0]->type->dims[i], f->type->dims[i]) != 1 ||
            (i + 1 < rank && gi_dim_equal(n->block->graph->dims, n->out[0]->type->dims[i], f->type->dims[i]) != 1))
            return NULL;
    return f;
}

/* Half of v, whose last dim of size n has each number twice; NULL where that is not seen. */
static gi_value *half_of(gi_rewrite *r, gi_value *v, int64_t n, bool pairs, int depth)
{
    const gi_node *node = gi_value_node(v);
    if (depth == MAX_DEPTH || !ends_with(v, n))
        return NULL;
    if (gi_value_blob(v))
        return half_of_constant(r, v, pairs);
    if (!node || node->block != r->root->block)
        return NULL;
    gi_value *once = written_twice(node, pairs);
    if (once)
        return once;
    switch (node->op) {
    case OP_Cos:
    case OP_Sin:
    case OP_Cast:
    case OP_Neg:
        return on_half(r, node, n, pairs, depth);
    case OP_Mul:
    case OP_Div: {
        const gi_blob *k = gi_value_blob(gi_node_in(node, 1));
        return k && gi_blob_elements(k) == 1 && k->rank <= gi_value_rank(gi_node_in(node, 0))
                   ? on_half(r, node, n, pairs, depth)
                   : NULL;
    }
    case OP_Gather: /* rows of a table */
        return gi_attr_int(node, Gather_at_axis) == 0 && gi_value_rank(gi_node_in(node, 0)) >= 2
                   ? on_half(r, node, n, pairs, depth)
                   : NULL;
    case OP_Unsqueeze:
    case OP_Squeeze:
    case OP_Reshape: /* of which the shape is set in the end */
        return half_of(r, gi_node_in(node, 0), n, pairs, depth + 1);
    default:
        return NULL;
    }
}

/* ---- caches ---- */

/* Does c, which multiplies x with its tokens on dim 2, or 1, differ neither by head nor, where *one is set, by batch? */
static bool is_cache(gopt_graph *g, const gi_value *c, const gi_value *x, int tokens, int64_t size, bool *one)
{
    const int rank = gi_value_rank(c), off = 4 - rank, heads = 3 - tokens;
    if (rank < 2 || rank > 4 || gi_value_dtype(c) != gi_value_dtype(x) || !ends_with(c, size) || tokens < off ||
        gi_dim_equal(g->dims, c->type->dims[tokens - off], x->type->dims[tokens]) != 1 ||
        (heads >= off && gi_value_dim(c, heads - off) != 1))
        return false;
    *one = rank < 4 || gi_value_dim(c, 0) == 1;
    return rank < 4 || *one || gi_dim_equal(g->dims, c->type->dims[0], x->type->dims[0]) == 1;
}

/* Dim 0 of x as one number: of a graph input that has it, where there is one, so that it is read once for all. */
static gi_value *batch_of(gi_rewrite *r, gi_value *x)
{
    const gi_block *b = r->g->main;
    for (uint32_t i = 0; r->root->block == b && i < b->n_params; i++)
        for (int d = 0; d < gi_value_rank(b->params[i]); d++)
            if (b->params[i]->type->dims[d] == x->type->dims[0])
                return gi_rw_dim(r, b->params[i], d, GOPT_I64);
    return gi_rw_dim(r, x, 0, GOPT_I64);
}

/* h, half of c, as [batch, tokens, size / 2]. */
static gi_value *as_cache(gi_rewrite *r, gi_value *h, const gi_value *c, gi_value *x, int tokens, bool one)
{
    const gi_dim *dims[3] = { one ? gi_dim_const(r->g->dims, 1) : c->type->dims[0], x->type->dims[tokens], NULL };
    int64_t target[GOPT_MAX_RANK];
    if (!h || gi_value_rank(h) < 1 || !dims[0])
        return NULL;
    dims[2] = h->type->dims[h->type->rank - 1];
    bool same = h->type->rank == 3;
    for (int i = 0; i < 3 && same; i++)
        same = gi_dim_equal(r->g->dims, dims[i], h->type->dims[i]) == 1;
    if (!same) {
        const int unknown = gi_reshape_target(r->g, h->type->rank, h->type->dims, 3, dims, target);
        gi_value *s = unknown >= 0 && unknown <= 1 ? gi_rw_ints(r, 3, target) : NULL;
        gi_node *n = s ? gi_rw_node_behind(r, h, OP_Reshape, 2, (gi_value *[]){ h, s }, 1) : NULL;
        h = n ? gi_rw_done(r, n) : NULL;
    }
    if (!h || gi_dim_equal(r->g->dims, dims[0], x->type->dims[0]) == 1)
        return h;
    /* wider by the batch: all else stays as it is */
    gi_value *batch = gi_rw_unsqueeze(r, batch_of(r, x), 1, (int64_t[]){ 0 });
    gi_value *shape =
        batch ? gi_rw_concat(r, 2, (gi_value *[]){ batch, gi_rw_ints(r, 2, (int64_t[]){ 1, 1 }) }, 0) : NULL;
    return shape ? gi_rw_build(r, OP_Expand, 2, (gi_value *[]){ h, shape }) : NULL;
}

static bool is_heads(const gi_value *x)
{
    return gi_value_rank(x) == 4 && gi_value_dim(x, 3) > 1 && gi_value_dim(x, 3) % 2 == 0 &&
           (gi_value_dtype(x) == GOPT_F32 || gi_value_dtype(x) == GOPT_F16);
}

/* The operands of products may stand either way: what is what is seen by the parts of x. */
typedef struct operands {
    gi_value *x, *cos, *sin;
} operands;

/* Heads and tokens of x change places on the way in and out where tokens are dim 1. */
static gi_value *rotary(gi_rewrite *r, gi_value *x, gi_value *cos, gi_value *sin, int tokens, bool pairs)
{
    const int64_t perm[] = { 0, 2, 1, 3 };
    if (tokens == 1)
        x = gi_rw_transpose(r, x, 4, perm);
    gi_node *n = x && cos && sin ? gi_rw_node(r, OP_RotaryEmbedding, 3, (gi_value *[]){ x, cos, sin }, 1) : NULL;
    if (!n)
        return NULL;
    if (pairs)
        gi_attr_set_int(n, RotaryEmbedding_at_interleaved, 1);
    gi_value *y = gi_rw_done(r, n);
    return tokens == 1 ? gi_rw_transpose(r, y, 4, perm) : y;
}

/* The dim of x that tokens are on, 2 or 1; 0 where cos or sin do not fit. */
static int tokens_of(gopt_graph *g, const operands *o, int64_t size)
{
    bool one;
    for (int tokens = 2; tokens >= 1; tokens--)
        if (is_cache(g, o->cos, o->x, tokens, size, &one) && is_cache(g, o->sin, o->x, tokens, size, &one))
            return tokens;
    return 0;
}

static bool caches_fit(const gi_match *m, const operands *o, int64_t size, gi_reason *why)
{
    return tokens_of(m->g, o, size) ||
           gi_decline(why, "its cos or sin varies by head, or by more tokens than x has, or that cannot be seen");
}

/* With caches whose halves, or pairs, are the same. */
static gi_value *make_of_whole(gi_rewrite *r, const operands *o, bool pairs)
{
    const int64_t size = gi_value_dim(o->x, 3);
    const int tokens = tokens_of(r->g, o, size);
    gi_value *h[2];
    for (int i = 0; i < 2; i++) {
        gi_value *c = i ? o->sin : o->cos;
        bool one;
        h[i] = is_cache(r->g, c, o->x, tokens, size, &one)
                   ? as_cache(r, half_of(r, c, size, pairs, 0), c, o->x, tokens, one)
                   : NULL;
        if (!h[i]) {
            r->why = "its cos and sin are not seen to have each number twice";
            return NULL;
        }
    }
    return rotary(r, o->x, h[0], h[1], tokens, pairs);
}

/* ---- halves ---- */

/* Is v `count` elements of x's last dim, from `first` on, or with `step` 2 every other from there? */
static bool is_part(const gi_value *v, const gi_value *x, int64_t first, int64_t step, int64_t count)
{
    gi_part p;
    return gi_part_of(v, &p) && p.x == x && p.axis == 3 && !p.drops && p.step == step && p.first == first &&
           p.count == count;
}

static bool is_half(const gi_value *v, const gi_value *x, int64_t first, int64_t step)
{
    return is_part(v, x, first, step, gi_value_dim(x, 3) / 2);
}

/* x · cos, of whose x m->u is the negated part and m->w the other one. */
static bool read_whole(const gi_match *m, bool pairs, operands *o)
{
    gi_part p;
    if (!gi_part_of(m->u, &p) || (p.x != m->x && p.x != m->c) || !is_heads(p.x))
        return false;
    *o = (operands){ p.x, p.x == m->x ? m->c : m->x, m->s };
    return is_half(m->u, p.x, pairs ? 1 : gi_value_dim(p.x, 3) / 2, pairs ? 2 : 1) &&
           is_half(m->w, p.x, 0, pairs ? 2 : 1);
}

static const gi_node *matched_concat(const gi_match *m)
{
    for (uint32_t i = 0; i < m->n_nodes; i++)
        if (m->nodes[i]->op == OP_Concat)
            return is_on_last_axis(m->nodes[i], Concat_at_axis) ? m->nodes[i] : NULL;
    return NULL;
}

static bool rotates_halves(const gi_match *m, gi_reason *why)
{
    operands o;
    return read_whole(m, false, &o) && matched_concat(m) && caches_fit(m, &o, gi_value_dim(o.x, 3), why);
}

static gi_value *make_rotary(gi_rewrite *r, const gi_match *m)
{
    operands o;
    return read_whole(m, false, &o) ? make_of_whole(r, &o, false) : NULL;
}

/* u·c − w·s and w·c + u·s, u and w being parts of x, or else c and s are. *half: elements of each. */
static bool read_parts(const gi_match *m, bool pairs, operands *o, int64_t *half)
{
    gi_part p;
    for (int turned = 0; turned < 2; turned++) {
        const gi_value *first = turned ? m->c : m->u, *second = turned ? m->s : m->w;
        if (!gi_part_of(first, &p) || !is_heads(p.x))
            continue;
        const int64_t size = gi_value_dim(p.x, 3), n = p.count, step = pairs ? 2 : 1;
        if (!is_part(first, p.x, 0, step, n) || !is_part(second, p.x, pairs ? 1 : n, step, n) ||
            (m->r ? !is_part(m->r, p.x, 2 * n, 1, size - 2 * n) : 2 * n != size))
            continue;
        *half = n;
        *o = (operands){ p.x, turned ? m->u : m->c, turned ? m->w : m->s };
        return true;
    }
    return false;
}

static bool rotates_parts(const gi_match *m, gi_reason *why)
{
    operands o;
    int64_t half;
    return is_on_last_axis(m->root, Concat_at_axis) && read_parts(m, false, &o, &half) && caches_fit(m, &o, half, why);
}

static gi_value *make_of_halves(gi_rewrite *r, const gi_match *m, bool pairs)
{
    operands o;
    gi_value *c[2];
    int64_t half;
    const int tokens = read_parts(m, pairs, &o, &half) ? tokens_of(r->g, &o, half) : 0;
    for (int i = 0; tokens && i < 2; i++) {
        gi_value *v = i ? o.sin : o.cos;
        bool one;
        c[i] = is_cache(r->g, v, o.x, tokens, half, &one) ? as_cache(r, v, v, o.x, tokens, one) : NULL;
    }
    gi_value *y = tokens ? rotary(r, o.x, c[0], c[1], tokens, pairs) : NULL;
    for (size_t i = 0; y && m->r && i < r->made.n; i++)
        if (r->made.p[i]->op == OP_RotaryEmbedding)
            gi_attr_set_int(r->made.p[i], RotaryEmbedding_at_rotary_embedding_dim, 2 * half);
    return y;
}

static gi_value *make_rotary_of_parts(gi_rewrite *r, const gi_match *m)
{
    return make_of_halves(r, m, false);
}

/* ---- pairs ---- */

static bool is_last_of_five(const gi_value *axes)
{
    int64_t a;
    uint32_t n;
    return gi_value_known_ints((gi_value *)(uintptr_t)axes, &a, 1, &n) && n == 1 && (a == 4 || a == -1);
}

static bool rotates_pairs(const gi_match *m, gi_reason *why)
{
    operands o;
    const gi_node *concat = matched_concat(m);
    const gi_node *back = concat ? gi_value_only_user(concat->out[0]) : NULL;
    return back && read_whole(m, true, &o) && is_last_of_five(m->a) && is_last_of_five(m->b) &&
           gi_type_same(m->g, back->out[0]->type, o.x->type) && caches_fit(m, &o, gi_value_dim(o.x, 3), why);
}

static gi_value *make_rotary_of_pairs(gi_rewrite *r, const gi_match *m)
{
    operands o;
    return read_whole(m, true, &o) ? make_of_whole(r, &o, true) : NULL;
}

static bool rotates_split_pairs(const gi_match *m, gi_reason *why)
{
    operands o;
    int64_t half;
    return matched_concat(m) && is_last_of_five(m->a) && is_last_of_five(m->b) && read_parts(m, true, &o, &half) &&
           gi_type_same(m->g, m->root->out[0]->type, o.x->type) && caches_fit(m, &o, half, why);
}

static gi_value *make_rotary_of_split_pairs(gi_rewrite *r, const gi_match *m)
{
    return make_of_halves(r, m, true);
}

/* ---- a part of each head ---- */

static bool rotates_the_first(const gi_match *m, gi_reason *why)
{
    gi_part p, q;
    (void)why;
    return is_on_last_axis(m->root, Concat_at_axis) && gi_part_of(m->u, &p) && gi_part_of(m->w, &q) && p.x == q.x &&
           gi_value_rank(p.x) == 4 && p.axis == 3 && q.axis == 3 && p.step == 1 && q.step == 1 && p.first == 0 &&
           q.first == p.count && q.first + q.count == p.dim && !p.drops && !q.drops &&
           gi_attr_int(gi_value_node(m->y), RotaryEmbedding_at_rotary_embedding_dim) == 0;
}

static gi_value *make_partial(gi_rewrite *r, const gi_match *m)
{
    gi_part p;
    const gi_node *old = gi_value_node(m->y);
    if (!gi_part_of(m->u, &p))
        return NULL;
    gi_node *n = gi_rw_node(r, OP_RotaryEmbedding, old->n_in, (gi_value *[]){ p.x, m->c, m->s, m->p }, 1);
    if (!n || !gi_attrs_copy(n, old))
        return NULL;
    gi_attr_set_int(n, RotaryEmbedding_at_rotary_embedding_dim, p.count);
    return gi_rw_done(r, n);
}

#include "passes/rows.h"
#include "passes/rules/rotary.def"
