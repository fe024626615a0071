/* Scaled dot-product attention, in the spellings of exporters, as one operator.
 *
 *   q ─ Mul ─┐
 *   k ─ Transpose ─ MatMul ─ Mul ─ Add mask ─ Softmax ─ MatMul ─ y
 *                                                  v ─┘
 *
 * PyTorch writes it from modules and from scaled_dot_product_attention (both operands times the root of the scale,
 * and a guard that makes rows of NaN zero), TensorFlow and Hugging Face with the mask added or chosen by Where, in one
 * of several places. What is common: the weights of the sum of v are a Softmax over the last dim of scores, and the
 * scores come from a product of q and a transposed k through scales and masks alone.
 *
 * Windows of an image (Swin) are batches, and those that were shifted have masks of their own: scores [b·w,h,s,s] are seen
 * as [b,w,h,s,s] to add one of [1,w,1,s,s]. A mask of the operator is the same for all batches, or says each, of which
 * the number is known only at run time. So windows become heads there: q, k and v [b,w·h,s,d], the mask [1,w·h,s,s].
 *
 * The operator takes heads apart as [batch, heads, tokens, size], or together as [batch, tokens, heads · size].
 * Which form is used is decided by what stands around: the moves that take heads apart before and put them together
 * behind go where the second form is shorter.
 *
 * Scores may be capped before they are masked, cap · tanh(scores / cap), as Gemma does: an attribute of the operator,
 * which ONNX, since it was made clear, applies there too.
 *
 * A guard against rows that are masked altogether stays, behind the operator: there it has fewer elements to look at,
 * and runtimes that make such rows zero themselves are none the worse for it. */
#include <math.h>

#include "passes/build.h"
#include "passes/layout.h"

/* Of a scale: larger ones make sums overflow that had not before. */
static const double LARGEST = 0x1p64;

enum { MAX_MASKS = 4, MAX_SCORES = 10 };

/* One way that scores are masked: by a sum, or by a Where whose other arm is far below. */
typedef struct masking {
    gi_value *operand;     /* what is added, or the condition */
    const gi_node *choice; /* the Where; NULL: a sum */
    bool by_window;        /* of scores [b,w,h,s,t] */
} masking;

typedef struct attention {
    gi_value *q, *k, *v;     /* [b,h,s,d], [b,g,t,d] and [b,g,t,e] or, k before its Transpose, [b,g,d,t]. Where heads
                              * were repeated, k and v may be [b,g,1,t,d] still: see dim_at */
    bool k_is_transposed;    /* k is [b,g,d,t] */
    masking mask[MAX_MASKS]; /* the outermost first */
    uint32_t n_masks;
    double scale;
    double cap;               /* scores become cap · tanh(scores / cap) before they are masked; 0: they do not */
    int64_t windows;          /* that become heads; 0: none */
    bool by_window;           /* while nodes are peeled off: scores are [b,w,h,s,t] */
    bool widen;               /* the masks together are one for all queries */
    const gi_node *nodes[24]; /* what becomes the operator, beyond the pattern */
    uint32_t n_nodes;
    const char *why;
} attention;

static bool take(attention *a, const gi_node *n)
{
    if (a->n_nodes == GI_COUNT(a->nodes))
        return false;
    a->nodes[a->n_nodes++] = n;
    return true;
}

/* x of x·k or x/k, k one number; NULL where v is no such thing, read once. */
static gi_value *unscaled(const gi_value *v, double *factor)
{
    const gi_node *n = gi_value_node(v);
    double k;
    if (!n || v->n_uses != 1 || (n->op != OP_Mul && n->op != OP_Div))
        return NULL;
    gi_value *x = gi_node_in(n, 0), *y = gi_node_in(n, 1);
    if (gi_value_scalar(y, &k) && gi_value_rank(y) <= gi_value_rank(x))
        *factor = n->op == OP_Mul ? k : 1 / k;
    else if (n->op == OP_Mul && gi_value_scalar(x, &k) && gi_value_rank(x) <= gi_value_rank(y))
        *factor = k, x = y;
    else
        return NULL;
    return x;
}

/* Do scores lie behind v: a product, through scales and masks, each read once? */
static bool are_scores(const gi_value *v)
{
    double factor;
    for (int i = 0; i < MAX_SCORES && v; i++) {
        const gi_node *n = gi_value_node(v);
        if (!n || v->n_uses != 1)
            return false;
        if (n->op == OP_MatMul)
            return gi_value_rank(v) >= 3 && !gi_value_blob(gi_node_in(n, 0)) && !gi_value_blob(gi_node_in(n, 1));
        const gi_value *x = unscaled(v, &factor);
        if (x)
            v = x;
        else if (n->op == OP_Tanh || gi_is_view(n))
            v = gi_node_in(n, 0);
        else if (n->op == OP_Add)
            v = are_scores(gi_node_in(n, 0)) ? gi_node_in(n, 0) : gi_node_in(n, 1);
        else if (n->op == OP_Where)
            v = gi_value_blob(gi_node_in(n, 2)) ? gi_node_in(n, 1) : gi_node_in(n, 2);
        else
            return false;
    }
    return false;
}

/* So far below any score that e to its power is 0. f16's least number, which is computed with as f32, is not. */
static bool is_far_below(const gi_value *v)
{
    double x;
    return gi_value_scalar(v, &x) && x <= (gi_value_dtype(v) == GOPT_F64 ? -1e19 : -1e9);
}

/* The operator adds to a score what the graph puts in its place. Where a Where leaves out all keys of a query, all
 * weigh the same, and so the sum must have no digit of the score: -1e9 in f32 takes in no more than 32. From here on
 * numbers take in all that is worth the name of a score. */
static const double DEEP = -1e30;

static bool is_shallow(const gi_node *choice, double *x)
{
    gi_value *a = gi_node_in(choice, Where_in_X), *b = gi_node_in(choice, Where_in_Y);
    return gi_value_scalar(is_far_below(a) ? a : b, x) && *x > DEEP;
}

/* A number above DEEP is lowered to it. That is seen only where something comes to lie on another side of it: another
 * such number, what is added behind it, or a sum before it that is as low, and so a mask itself. */
static bool choices_fit(attention *a)
{
    double least = 0, x;
    for (uint32_t i = 0; i < a->n_masks; i++) {
        if (!a->mask[i].choice || !is_shallow(a->mask[i].choice, &x))
            continue;
        if (least != 0 && x != least)
            a->why = "its choices leave out keys by two numbers above -1e30, which their sums with scores would mix up";
        least = x;
        for (uint32_t k = 0; k < a->n_masks; k++) {
            const gi_blob *b = gi_value_blob(a->mask[k].operand);
            if (a->mask[k].choice)
                continue;
            if (k < i)
                a->why = "a sum behind its choice adds to what that left out by a number above -1e30";
            for (int64_t e = 0; b && k > i && e < gi_blob_elements(b) && !a->why; e++)
                if (gi_load_f64(b->dtype, b->data, (size_t)e) < x / 1024)
                    b = NULL;
            if (!b && !a->why)
                a->why = "what it adds may be a mask too, as low as the number above -1e30 that its choice leaves out "
                         "keys by";
        }
    }
    return !a->why;
}

/* Is `apart` [b,w,h,s,t] where `together` is [b·w,h,s,t]? All but b are known. */
static bool are_windows(const gi_value *apart, const gi_value *together)
{
    if (gi_value_rank(apart) != 5 || gi_value_rank(together) != 4 || gi_value_dim(apart, 1) < 2)
        return false;
    for (int i = 1; i < 4; i++)
        if (gi_value_dim(together, i) < 1 || gi_value_dim(apart, i + 1) != gi_value_dim(together, i))
            return false;
    return true;
}

/* A view that takes windows out of the batch, or, behind it, puts them in again. */
static bool peel_windows(attention *a, const gi_node *n, gi_value **v)
{
    gi_value *x = gi_node_in(n, 0), *y = *v;
    if (a->by_window ? !are_windows(y, x) || gi_value_dim(y, 1) != a->windows : a->windows || !are_windows(x, y))
        return false;
    a->windows = gi_value_dim(a->by_window ? y : x, 1);
    a->by_window = !a->by_window;
    *v = x;
    return take(a, n);
}

/* Takes one node off the scores; *v is then what it reads of them. False where that is the product, or nothing known
 * (a->why, where it is worth a word). */
static bool peel(attention *a, gi_value **v)
{
    double factor;
    const gi_node *n = gi_value_node(*v);
    if (!n || n->op == OP_MatMul)
        return false;
    gi_value *x = unscaled(*v, &factor);
    if (x) {
        a->scale *= factor;
        *v = x;
        return take(a, n);
    }
    if (gi_is_view(n))
        return peel_windows(a, n, v);
    if (a->cap != 0) {
        a->why =
            n->op == OP_Tanh ? "its scores are capped twice" : "a mask lies before the cap"; /* which would cap it */
        return false;
    }
    if (n->op ==
        OP_Tanh) { /* scale · tanh(…): what it was multiplied with is the cap, and the operator divides by that */
        a->cap = a->scale;
        *v = gi_node_in(n, 0);
        return take(a, n);
    }
    if (a->scale != 1) {
        a->why = "a mask lies before the scale"; /* it would be scaled, too */
        return false;
    }
    if (a->n_masks == MAX_MASKS)
        return false;
    if (n->op == OP_Add) {
        const uint32_t at = are_scores(gi_node_in(n, 0)) ? 0 : 1;
        a->mask[a->n_masks++] = (masking){ .operand = gi_node_in(n, 1 - at), .by_window = a->by_window };
        *v = gi_node_in(n, at);
        return take(a, n);
    }
    if (n->op == OP_Where) {
        const uint32_t at = are_scores(gi_node_in(n, 1)) ? 1 : 2;
        if (!is_far_below(gi_node_in(n, 3 - at)))
            return false;
        a->mask[a->n_masks++] =
            (masking){ .operand = gi_node_in(n, Where_in_condition), .choice = n, .by_window = a->by_window };
        *v = gi_node_in(n, at);
        return take(a, n);
    }
    return false;
}

/* Where dim i of four lies in q, k or v. */
static int dim_at(const gi_value *v, int i)
{
    return gi_value_rank(v) == 5 && i >= 2 ? i + 1 : i;
}

static bool same_dim(gopt_graph *g, const gi_value *a, int i, const gi_value *b, int k)
{
    return gi_dim_equal(g->dims, a->type->dims[dim_at(a, i)], b->type->dims[dim_at(b, k)]) == 1;
}

/* Before heads were repeated for the queries of a group: [b,g,t,d] of Reshape(Expand([b,g,1,t,d])), or that itself where
 * it comes otherwise; else v. */
static gi_value *unrepeated(attention *a, gopt_graph *g, gi_value *v)
{
    const gi_node *join = gi_value_node(v);
    if (!gi_is_view(join) || v->n_uses != 1 || gi_value_rank(v) != 4)
        return v;
    gi_value *wide = gi_node_in(join, 0);
    const gi_node *expand = gi_value_node(wide);
    if (!expand || expand->op != OP_Expand || wide->n_uses != 1 || gi_value_rank(wide) != 5)
        return v;
    gi_value *narrow = gi_node_in(expand, 0);
    if (gi_value_rank(narrow) != 5 || gi_value_dim(narrow, 2) != 1)
        return v;
    for (int i = 0; i < 4; i++)
        if (!same_dim(g, narrow, i, wide, i) || (i != 1 && !same_dim(g, narrow, i, v, i)))
            return v;
    const gi_node *open = gi_value_node(narrow);
    gi_value *x = gi_is_view(open) && narrow->n_uses == 1 ? gi_node_in(open, 0) : NULL;
    bool closed = gi_value_rank(x) == 4;
    for (int i = 0; i < 4 && closed; i++)
        closed = same_dim(g, x, i, narrow, i);
    if (!take(a, join) || !take(a, expand) || (closed && !take(a, open)))
        return v;
    return closed ? x : narrow;
}

/* q and k of the product, with what scales them; k without the heads that were repeated. */
static bool read_product(attention *a, gopt_graph *g, const gi_node *product)
{
    double factor;
    gi_value *x;
    a->q = gi_node_in(product, 0);
    a->k = gi_node_in(product, 1);
    a->k_is_transposed = true;
    if (!take(a, product))
        return false;
    if ((x = unscaled(a->q, &factor))) {
        if (!take(a, gi_value_node(a->q)))
            return false;
        a->scale *= factor;
        a->q = x;
    }
    if ((x = unscaled(a->k, &factor))) {
        if (!take(a, gi_value_node(a->k)))
            return false;
        a->scale *= factor;
        a->k = x;
    }
    if (a->k->n_uses == 1 && gi_value_rank(a->k) == 4 && gi_swaps_last_two(gi_value_node(a->k))) {
        gi_value *k = gi_node_in(gi_value_node(a->k), 0), *fewer = unrepeated(a, g, k);
        if (fewer != k && take(a, gi_value_node(a->k))) {
            a->k = fewer;
            a->k_is_transposed = false;
        }
    }
    return true;
}

/* Dims agree: nothing is broadcast, but for the heads of k and v that a group of queries shares. */
static bool shapes_fit(const attention *a, gopt_graph *g)
{
    const int t = a->k_is_transposed ? 3 : 2, d = 5 - t;
    const gopt_dtype dtype = gi_value_dtype(a->q);
    const int most = a->k_is_transposed ? 4 : 5;
    if (gi_value_rank(a->q) != 4 || gi_value_rank(a->k) < 4 || gi_value_rank(a->k) > most || gi_value_rank(a->v) < 4 ||
        gi_value_rank(a->v) > most || !gi_dtype_is_float(dtype) || gi_value_dtype(a->k) != dtype ||
        gi_value_dtype(a->v) != dtype)
        return false;
    const int64_t heads = gi_value_dim(a->q, 1), shared = gi_value_dim(a->k, 1);
    return same_dim(g, a->q, 0, a->k, 0) && same_dim(g, a->q, 0, a->v, 0) && same_dim(g, a->q, 3, a->k, d) &&
           same_dim(g, a->k, t, a->v, 2) && heads > 0 && shared > 0 && gi_value_dim(a->v, 1) == shared &&
           heads % shared == 0;
}

/* Is d, wherever it broadcasts with `of`, the same? A slice of a table of c entries is min(c, of) long: it fits only
 * where that is `of`, and is 1 only where `of` is. */
static bool must_be(gopt_graph *g, const gi_dim *d, const gi_dim *of)
{
    int64_t c;
    if (gi_dim_equal(g->dims, d, of) == 1)
        return true;
    const gi_dim *table = gi_dim_upper(d, &c) && c > 1 ? gi_dim_const(g->dims, c) : NULL;
    const gi_dim *slice = table ? gi_dim_min(g->dims, table, of) : NULL;
    return slice && gi_dim_equal(g->dims, d, slice) == 1;
}

/* Is dim i of m (from the end) 1, or the dim that scores [b,h,s,t] have there? *is_one: it is 1. */
static bool is_dim_of_scores(const attention *a, gopt_graph *g, const gi_value *m, int from_end, bool *is_one)
{
    const int t = a->k_is_transposed ? 3 : 2, rank = gi_value_rank(m);
    *is_one = rank < from_end || gi_value_dim(m, -from_end) == 1;
    if (*is_one)
        return true;
    return must_be(g, m->type->dims[rank - from_end],
                   from_end == 1 ? a->k->type->dims[dim_at(a->k, t)] : a->q->type->dims[4 - from_end]);
}

/* Masks broadcast to the scores, all together to one value for each query and key: runtimes want that, not one for
 * all queries. Where it is one for all, it can be widened if the number of queries is known, or is that of keys. */
static bool masks_fit(attention *a, gopt_graph *g)
{
    bool keys = false, queries = false;
    for (uint32_t i = 0; i < a->n_masks; i++) {
        const gi_value *m = a->mask[i].operand;
        if (gi_value_rank(m) < 0 || gi_value_rank(m) > 4) {
            a->why = "the shape of its mask is unknown";
            return false;
        }
        if (!a->mask[i].choice && gi_value_dtype(m) != gi_value_dtype(a->q))
            return false;
        for (int d = 1; d <= 4; d++) {
            bool one;
            if (!is_dim_of_scores(a, g, m, d, &one)) {
                a->why =
                    d <= 2 ? "its mask has other dims than queries and keys" : "its mask makes more batches or heads";
                return false;
            }
            keys = keys || (d == 1 && !one);
            queries = queries || (d == 2 && !one);
        }
    }
    if (!a->n_masks)
        return true;
    a->widen = !queries && gi_value_dim(a->q, 2) != 1;
    if (!keys && gi_value_dim(a->k, dim_at(a->k, a->k_is_transposed ? 3 : 2)) != 1) {
        a->why = "its mask is the same for all keys";
        return false;
    }
    if (a->widen && gi_value_dim(a->q, 2) < 0 && !same_dim(g, a->q, 2, a->k, a->k_is_transposed ? 3 : 2)) {
        a->why = "its mask is the same for all queries, whose number is known only at run time";
        return false;
    }
    return true;
}

/* A cap keeps scores small however they are scaled, but the operator scales before it divides by the cap: what is scaled
 * further than this may overflow on the way. */
static const double MOST_CAPPED = 1e4;

static bool cap_fits(attention *a)
{
    if (a->cap != 0 && (a->cap < 0 || a->cap > MOST_CAPPED || a->scale > MOST_CAPPED))
        a->why = "its scores are capped at no number from 0 to 10,000, or scaled by more than that";
    return !a->why;
}

/* Each mask says 1 or what scores [b,w,h,s,t] have; all together say each window and head, query and key. */
static bool window_masks_fit(attention *a, gopt_graph *g)
{
    bool said[6] = { false };
    const int64_t scores[6] = {
        0, gi_value_dim(a->k, a->k_is_transposed ? 3 : 2), gi_value_dim(a->q, 2), gi_value_dim(a->q, 1), a->windows, 1
    };
    (void)g;
    for (uint32_t i = 0; i < a->n_masks; i++) {
        const gi_value *m = a->mask[i].operand;
        const int rank = gi_value_rank(m);
        if (rank < 0 || rank > (a->mask[i].by_window ? 5 : 4) ||
            (!a->mask[i].choice && gi_value_dtype(m) != gi_value_dtype(a->q)))
            return false;
        for (int d = 1; d <= rank; d++) {
            const int64_t n = gi_value_dim(m, -d);
            if (n != 1 && (n != scores[d] || (d == 4 && !a->mask[i].by_window))) {
                a->why =
                    "a mask of its windows is not the same for all of the batch, or has other dims than its scores";
                return false;
            }
            said[d] = said[d] || n != 1 || scores[d] == 1;
        }
    }
    if (!said[1] || !said[2] || !said[3] || !said[4] || gi_value_dim(a->k, 1) != scores[3])
        a->why = "its masks do not say each window and head: to become those of heads they would have to be repeated";
    return !a->why;
}

static bool read_attention(const gi_match *m, attention *a)
{
    const gi_node *softmax = gi_value_node(m->p);
    gi_value *v = m->s;
    *a = (attention){ .v = m->v, .scale = 1 };
    if (gi_attr_int(softmax, Softmax_at_axis) != -1 && gi_attr_int(softmax, Softmax_at_axis) != gi_value_rank(m->p) - 1)
        return false;
    if (!are_scores(v)) {
        const gi_node *n = gi_value_node(v);
        if (n && v->n_uses != 1 && n->op != OP_Softmax && gi_value_rank(v) == 4)
            a->why = "its scores are read elsewhere too";
        return false;
    }
    while (peel(a, &v))
        ;
    const gi_node *product = gi_value_node(v);
    if (a->why || !product || product->op != OP_MatMul || !read_product(a, m->g, product))
        return false;
    if (!a->k_is_transposed) { /* k had repeated heads: so must v */
        a->v = unrepeated(a, m->g, a->v);
        if (a->v == m->v) {
            a->why = "the heads of k are shared, those of v are not";
            return false;
        }
    }
    if (!shapes_fit(a, m->g) || a->by_window || !(a->windows ? window_masks_fit(a, m->g) : masks_fit(a, m->g)) ||
        !choices_fit(a) || a->scale > LARGEST || !(a->scale > 0) || !cap_fits(a))
        return false;
    if (gi_value_dtype(a->q) == GOPT_F64 && ((double)(float)a->scale != a->scale || (double)(float)a->cap != a->cap))
        a->why = "its scale is f64, and the attribute f32";
    return !a->why;
}

/* ---- heads apart or together ---- */

static const int64_t SWAP[4] = { 0, 2, 1, 3 };

/* Where x [b,h,s,d] (or, swapped, [b,h,d,s]) comes from; from there [b,s,h·d], at that cost. */
static bool together(gopt_graph *g, gi_value *x, bool swapped, gi_origin *o, int *cost)
{
    static const int64_t last_swapped[4] = { 0, 3, 1, 2 };
    if (!gi_origin_find(o, g, x)) {
        *o = (gi_origin){ .x = x };
        if (!gi_layout_begin(&o->l, g, x->type))
            return false;
    }
    if (o->l.rank == 5) {
        const gi_dim *const *d = x->type->dims, *four[4] = { d[0], d[1], d[3], d[4] };
        const gi_type *view = gi_type_tensor(g->types, x->type->dtype, 4, four);
        if (!view || !gi_layout_view(&o->l, view))
            return false;
    }
    if (!gi_layout_permute(&o->l, swapped ? last_swapped : SWAP, 4))
        return false;
    const gi_dim *dims[3] = { o->l.dims[0], o->l.dims[1], gi_dim_mul(g->dims, o->l.dims[2], o->l.dims[3]) };
    const gi_type *t = dims[2] ? gi_type_tensor(g->types, x->type->dtype, 3, dims) : NULL;
    if (!t || !gi_layout_view(&o->l, t))
        return false;
    *cost = gi_layout_cost(&o->l);
    return *cost >= 0;
}

/* Nodes that y [b,h,s,d] goes through behind the root, and at least if it begins as [b,s,h·d]. */
static bool behind(gopt_graph *g, const gi_value *y, int *now, int *then)
{
    const gi_dim *dims[3] = { y->type->dims[0], y->type->dims[2],
                              gi_dim_mul(g->dims, y->type->dims[1], y->type->dims[3]) };
    const gi_dim *apart[4] = { dims[0], dims[1], y->type->dims[1], y->type->dims[3] };
    const gi_type *t = dims[2] ? gi_type_tensor(g->types, y->type->dtype, 3, dims) : NULL,
                  *view = gi_type_tensor(g->types, y->type->dtype, 4, apart);
    gi_layout l;
    if (!t || !view || !gi_layout_begin(&l, g, t) || !gi_layout_view(&l, view) || !gi_layout_permute(&l, SWAP, 4))
        return false;
    *now = 0;
    for (const gi_node *n = gi_value_only_user(y); gi_is_move(n); n = gi_value_only_user(n->out[0]), ++*now)
        if (!gi_layout_apply(&l, n))
            return false;
    *then = gi_layout_cost(&l);
    return *then >= 0;
}

typedef struct heads {
    gi_origin q, k, v;
    bool together;
} heads;

/* Chooses the form with fewer nodes around it. */
static void choose(const gi_match *m, const attention *a, heads *h)
{
    int q, k, v, now, then;
    h->together = false;
    if (a->windows || !together(m->g, a->q, false, &h->q, &q) || !together(m->g, a->k, a->k_is_transposed, &h->k, &k) ||
        !together(m->g, a->v, false, &h->v, &v) || !behind(m->g, m->root->out[0], &now, &then))
        return;
    const bool parts = h->q.count && h->k.count && h->v.count && h->q.x == h->k.x && h->k.x == h->v.x;
    const int apart = (int)(h->q.moves + h->k.moves + h->v.moves) + now + (parts ? (int)h->q.moves_before + 3 : 0);
    if (!parts && (h->q.count || h->k.count || h->v.count))
        return;
    h->together = q + k + v + then + (parts ? 1 : 0) < apart;
}

/* ---- building ---- */

/* One mask of all, from the scores outwards; NULL with *ok where there is none. */
static gi_value *join_masks(gi_rewrite *r, const attention *a, bool *ok)
{
    gi_value *mask = NULL;
    *ok = false;
    for (uint32_t i = a->n_masks; i-- > 0;) {
        const gi_node *choice = a->mask[i].choice;
        gi_value *operand = a->mask[i].operand;
        if (choice) {
            gi_value *x = gi_node_in(choice, Where_in_X), *y = gi_node_in(choice, Where_in_Y);
            gi_value *other = mask ? mask : gi_rw_scalar(r, gi_value_dtype(a->q), 0), *low = is_far_below(x) ? x : y;
            double number;
            if (is_shallow(choice, &number))
                low = gi_rw_scalar(r, gi_value_dtype(a->q), DEEP);
            if (!other || !low)
                return NULL;
            mask = gi_rw_build(r, OP_Where, 3,
                               (gi_value *[]){ operand, is_far_below(x) ? low : other, is_far_below(x) ? other : low });
        } else {
            mask = mask ? gi_rw_build(r, OP_Add, 2, (gi_value *[]){ mask, operand }) : operand;
        }
        if (!mask)
            return NULL;
    }
    if (mask && a->widen) /* the number of queries is known, or that of keys, the mask's last dim */
        mask = gi_value_dim(a->q, 2) >= 0 ? gi_rw_widen(r, mask, a->q, 2)
                                          : gi_rw_widen(r, mask, mask, gi_value_rank(mask) - 1);
    *ok = mask || !a->n_masks;
    return mask;
}

static gi_value *rows_together(gi_rewrite *r, const gi_origin *o)
{
    gi_value *x = gi_origin_source(r, o);
    return x ? gi_layout_build(r, &o->l, x) : NULL;
}

/* [b·w,h,s,d] as [b,w·h,s,d], where there are windows; and a mask [1,w,h,s,t] as [1,w·h,s,t]. */
static gi_value *windows_as_heads(gi_rewrite *r, const attention *a, gi_value *x)
{
    if (!a->windows || !x)
        return x;
    const int rank = gi_value_rank(x);
    return gi_rw_reshape(
        r, x, 4,
        (int64_t[]){ -1, a->windows * gi_value_dim(a->q, 1), gi_value_dim(x, rank - 2), gi_value_dim(x, rank - 1) });
}

/* [b,g,t,d] of [b,g,1,t,d], where it is that. */
static gi_value *of_four(gi_rewrite *r, gi_value *x)
{
    return gi_value_rank(x) == 5 ? gi_rw_squeeze(r, x, 1, (int64_t[]){ 2 }) : x;
}

/* y [b,s,h·d] as [b,h,s,d] again: what stands behind takes it in. */
static gi_value *apart_again(gi_rewrite *r, const gi_match *m, gi_value *y)
{
    const gi_type *t = m->root->out[0]->type;
    const gi_dim *dims[4] = { t->dims[0], t->dims[2], t->dims[1], t->dims[3] };
    int64_t target[4];
    const int unknown = gi_reshape_target(r->g, 3, y->type->dims, 4, dims, target);
    gi_value *s = unknown == 0 || unknown == 1 ? gi_const_i64(r->g, 1, 4, target) : NULL;
    return s ? gi_rw_transpose(r, gi_rw_build(r, OP_Reshape, 2, (gi_value *[]){ y, s }), 4, SWAP) : NULL;
}

/* NaN made zero, as behind the Softmax before. */
static gi_value *guarded(gi_rewrite *r, const gi_match *m, gi_value *y)
{
    gi_value *nan = gi_rw_build(r, OP_IsNaN, 1, &y);
    return nan ? gi_rw_build(r, OP_Where, 3, (gi_value *[]){ nan, m->z, y }) : NULL;
}

static bool keep_origins(gi_node *n, const attention *a)
{
    for (uint32_t i = a->n_nodes; i-- > 0;)
        if (!gi_node_merge_origins(n, a->nodes[i]))
            return false;
    return true;
}

static bool is_attention(const gi_match *m, gi_reason *why)
{
    attention a;
    double zero;
    if (m->z && (!gi_value_scalar(m->z, &zero) || zero != 0 || m->p->n_uses != 2))
        return false;
    return read_attention(m, &a) || (a.why && gi_decline(why, "%s", a.why));
}

static gi_value *make_attention(gi_rewrite *r, const gi_match *m)
{
    static const int64_t last_two[4] = { 0, 1, 3, 2 };
    attention a;
    heads h;
    bool ok;
    if (!read_attention(m, &a))
        return NULL;
    choose(m, &a, &h);
    gi_value *q = h.together ? rows_together(r, &h.q) : a.q, *v = h.together ? rows_together(r, &h.v) : of_four(r, a.v);
    gi_value *k = h.together          ? rows_together(r, &h.k)
                  : a.k_is_transposed ? gi_rw_transpose(r, a.k, 4, last_two)
                                      : of_four(r, a.k);
    gi_value *mask = windows_as_heads(r, &a, join_masks(r, &a, &ok));
    q = windows_as_heads(r, &a, q);
    k = windows_as_heads(r, &a, k);
    v = windows_as_heads(r, &a, v);
    if (!q || !k || !v || !ok || (a.windows && !mask))
        return NULL;
    gi_node *n = gi_rw_node(r, OP_Attention, mask ? 4 : 3, (gi_value *[]){ q, k, v, mask }, 1);
    if (!n || !keep_origins(n, &a))
        return NULL;
    gi_attr_set_float(n, Attention_at_scale, (float)a.scale);
    if (a.cap > 0)
        gi_attr_set_float(n, Attention_at_softcap, (float)a.cap);
    if (h.together) {
        gi_attr_set_int(n, Attention_at_q_num_heads, gi_value_dim(a.q, 1));
        gi_attr_set_int(n, Attention_at_kv_num_heads, gi_value_dim(a.k, 1));
    }
    gi_value *y = gi_rw_done(r, n);
    if (y && m->z)
        y = guarded(r, m, y);
    if (y && a.windows)
        return gi_rw_reshape(r, y, 4,
                             (int64_t[]){ -1, gi_value_dim(a.q, 1), gi_value_dim(a.q, 2), gi_value_dim(a.v, 3) });
    return y && h.together ? apart_again(r, m, y) : y;
}

/* ---- as ONNX Runtime's own operator ---- */

static bool is_multi_head(const gi_match *m, gi_reason *why)
{
    attention a;
    heads h;
    if (!is_attention(m, why) || !read_attention(m, &a))
        return false;
    if (gi_value_dtype(a.q) != GOPT_F32 || gi_value_dim(a.q, 1) != gi_value_dim(a.k, 1) || a.windows)
        return false;
    if (a.cap > 0)
        return gi_decline(why, "its scores are capped at %g, for which the operator has no attribute", a.cap);
    choose(m, &a, &h);
    return h.together || gi_decline(why, "its heads lie apart, and would have to be put together");
}

/* The mask with the four dims that are asked for. */
static gi_value *of_rank_four(gi_rewrite *r, gi_value *mask)
{
    static const int64_t axes[2] = { 0, 1 };
    const int missing = 4 - gi_value_rank(mask);
    if (missing <= 0)
        return mask;
    gi_value *a = gi_const_i64(r->g, 1, missing, axes);
    return a ? gi_rw_build(r, OP_Unsqueeze, 2, (gi_value *[]){ mask, a }) : NULL;
}

static gi_value *make_multi_head(gi_rewrite *r, const gi_match *m)
{
    attention a;
    heads h;
    bool ok;
    if (!read_attention(m, &a))
        return NULL;
    choose(m, &a, &h);
    gi_value *q = rows_together(r, &h.q), *k = rows_together(r, &h.k), *v = rows_together(r, &h.v);
    gi_value *mask = join_masks(r, &a, &ok);
    if (!h.together || !q || !k || !v || !ok || (mask && !(mask = of_rank_four(r, mask))))
        return NULL;
    gi_node *n = gi_rw_node(r, OP_MultiHeadAttention, mask ? 6 : 3, (gi_value *[]){ q, k, v, NULL, NULL, mask }, 1);
    if (!n || !keep_origins(n, &a))
        return NULL;
    gi_attr_set_int(n, MultiHeadAttention_at_num_heads, gi_value_dim(a.q, 1));
    gi_attr_set_float(n, MultiHeadAttention_at_scale, (float)a.scale);
    gi_value *y = gi_rw_done(r, n);
    if (y && m->z)
        y = guarded(r, m, y);
    return y ? apart_again(r, m, y) : NULL;
}

#include "passes/rows.h"
#include "passes/rules/attention.def"
