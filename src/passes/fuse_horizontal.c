/* Horizontal fusion: parallel products become one with their weights side by side.
 *
 *     %q = Add (MatMul %x, %wq), %bq               %m = MatMul %x, [%wq|%wk|%wv]
 *     %k = Add (MatMul %x, %wk), %bk       ⇒       %a = Add %m, [%bq|%bk|%bv]
 *     %v = Add (MatMul %x, %wv), %bv               %q, %k, %v = Split %a { axis = -1 }
 *
 * Convolutions likewise, where all attributes agree; and where a Concat takes the results in the same order, it takes the
 * one result instead, and nothing is split. Bias Adds behind the products and pointwise nodes that all of them share go
 * along, x * Sigmoid(x) as well as Relu; a member without a bias gets zeros. Convolutions that each read one result of a
 * Split are one grouped convolution of what was split.
 *
 * It is a rewrite (the weights are new ones, and it is exported), though each output element is computed from the same
 * numbers in the same order. Only weights that nothing else reads take part, so the file does not grow. It is never done
 * where more nodes would be left. The cost model weighs what is spared (the input read once, kernels) against what the
 * Split moves: a node less may cost some microseconds, or a tenth of the products' own time; as many nodes nothing.
 *
 * A 1x1 kernel could be padded to its 3x3 sibling; that multiplies its arithmetic by nine, and turns infinities into NaN,
 * so it is done only where --fp fast allows it and the model says that it pays, and told otherwise.
 *
 * Each value's readers are looked at once, so the pass is linear in uses. */
#include <stdlib.h>

#include "passes/merge.h"

enum { MAX_READERS = 256, MAX_USERS = 16 };

static const double NODE_US = 12; /* what a node less is worth, whatever runs the file */

/* Who reads one value, in order of creation. */
typedef struct readers {
    gi_node *list[MAX_READERS];
    bool done[MAX_READERS];
    size_t n;
} readers;

typedef struct merger {
    gopt_graph *g;
    gi_pass_ctx *cx;
    uint32_t *at; /* by node id: its place in the order of its block */
    uint32_t n_nodes;
    gi_map seen; /* value id + 1: its readers have been looked at */
    gi_merge group, other;
    readers readers;
} merger;

/* ---- which products go together ---- */

static bool has_own_weights(const gi_node *n)
{
    const gi_value *w = gi_node_in(n, 1);
    const gi_blob *b = gi_value_blob(w);
    if (!b || w->n_uses != 1 || !gi_dtype_is_float(b->dtype) || gopt_dtype_bits(b->dtype) < 8)
        return false;
    const gi_value *bias = gi_node_in(n, 2);
    return !bias || (gi_value_blob(bias) && bias->def.blob->dtype == b->dtype);
}

static bool is_member(const gi_node *n)
{
    if (n->op != OP_Conv && n->op != OP_MatMul && n->op != OP_Gemm)
        return false;
    if (!has_own_weights(n) || gi_value_rank(n->out[0]) < 2)
        return false;
    const gi_blob *w = gi_node_in(n, 1)->def.blob;
    const gi_blob *b = gi_value_blob(gi_node_in(n, 2));
    if (n->op == OP_Conv)
        return w->rank >= 3 && w->rank <= 2 + GI_MERGE_SPATIAL && (!b || gi_blob_elements(b) == w->dims[0]);
    if (n->op == OP_MatMul)
        return w->rank == 2;
    return w->rank == 2 && !gi_attr_int(n, Gemm_at_transA) &&
           (!b || (b->rank >= 1 && gi_blob_elements(b) == gi_value_dim(n->out[0], 1) &&
                   b->dims[b->rank - 1] == gi_blob_elements(b)));
}

/* A window's numbers, with what an attribute says that is left out. */
typedef struct window {
    int64_t stride[GI_MERGE_SPATIAL], dilation[GI_MERGE_SPATIAL], before[GI_MERGE_SPATIAL], after[GI_MERGE_SPATIAL];
    const char *mode;
} window;

static window window_of(const gi_node *conv, int spatial)
{
    window w = { .mode = gi_attr_str(conv, Conv_at_auto_pad) };
    const int64_t *s, *d, *p;
    const uint32_t n = (uint32_t)spatial, ns = gi_attr_ints(conv, Conv_at_strides, &s);
    const uint32_t nd = gi_attr_ints(conv, Conv_at_dilations, &d), np = gi_attr_ints(conv, Conv_at_pads, &p);
    for (uint32_t i = 0; i < n && i < GI_MERGE_SPATIAL; i++) {
        w.stride[i] = ns == n ? s[i] : 1;
        w.dilation[i] = nd == n ? d[i] : 1;
        w.before[i] = np == 2 * n ? p[i] : 0;
        w.after[i] = np == 2 * n ? p[n + i] : 0;
    }
    if (!w.mode)
        w.mode = "NOTSET";
    return w;
}

static bool same_windows(const gi_node *a, const gi_node *b, int spatial)
{
    const window x = window_of(a, spatial), y = window_of(b, spatial);
    for (int i = 0; i < spatial; i++)
        if (x.stride[i] != y.stride[i] || x.dilation[i] != y.dilation[i] || x.before[i] != y.before[i] ||
            x.after[i] != y.after[i])
            return false;
    return !strcmp(x.mode, y.mode);
}

static bool go_together(const gi_node *a, const gi_node *b)
{
    const gi_blob *x = gi_node_in(a, 1)->def.blob, *y = gi_node_in(b, 1)->def.blob;
    if (a->op != b->op || a->block != b->block || x->rank != y->rank || x->dtype != y->dtype)
        return false;
    if (a->op == OP_Gemm)
        return gi_attr_float(a, Gemm_at_alpha) == gi_attr_float(b, Gemm_at_alpha) &&
               gi_attr_float(a, Gemm_at_beta) == gi_attr_float(b, Gemm_at_beta) &&
               x->dims[1 - gi_merge_weight_axis(a)] == y->dims[1 - gi_merge_weight_axis(b)];
    for (int i = 0; i < x->rank; i++)
        if (i != gi_merge_weight_axis(a) && x->dims[i] != y->dims[i])
            return false;
    return a->op != OP_Conv ||
           (gi_attr_int(a, Conv_at_group) == gi_attr_int(b, Conv_at_group) && same_windows(a, b, x->rank - 2));
}

/* ---- what goes along behind them ---- */

/* An Add of a constant that has one element per column, where nothing else reads the product. */
static gi_node *bias_of(const gi_merge *mg, const gi_member *m)
{
    gi_node *n = m->product->op == OP_MatMul ? gi_value_only_user(m->product->out[0]) : NULL;
    if (!n || n->op != OP_Add || n->block != m->product->block || n->n_in != 2)
        return NULL;
    const gi_value *k = gi_node_in(n, gi_node_in(n, 0) == m->product->out[0] ? 1 : 0);
    return gi_merge_is_per_channel(mg, m, k) ? n : NULL;
}

static bool is_step(const gi_merge *mg, const gi_member *m, const gi_node *n, size_t results)
{
    const unsigned traits = gi_op_get(n->op)->traits;
    if (n->block != m->product->block || !(traits & GI_ELEMENTWISE) || !(traits & GI_PURE) || n->n_out != 1 ||
        !gi_type_same(mg->g, n->out[0]->type, m->product->out[0]->type))
        return false;
    for (uint32_t p = 0; p < n->n_in; p++) {
        const gi_value *v = gi_node_in(n, p);
        bool own =
            !v || gi_merge_is_per_channel(mg, m, v) || (gi_value_blob(v) && gi_blob_elements(gi_value_blob(v)) == 1);
        for (size_t j = 0; j < results && !own; j++)
            own = gi_member_value(m, j) == v;
        if (!own)
            return false;
    }
    return true;
}

static bool has_step(const gi_member *m, const gi_node *n, size_t steps)
{
    for (size_t k = 0; k < steps; k++)
        if (m->step[k] == n)
            return true;
    return n == m->bias;
}

/* The first member's next step: the earliest node that reads one of its results. */
static gi_node *next_step(const merger *g, const gi_merge *mg, size_t steps)
{
    const gi_member *m = &mg->m[0];
    gi_node *best = NULL;
    for (size_t j = 0; j <= steps; j++) {
        const gi_value *v = gi_member_value(m, j);
        for (const gi_use *u = v->n_uses <= MAX_USERS ? v->uses : NULL; u; u = u->next)
            if (u->node && u->node->id < g->n_nodes && !has_step(m, u->node, steps) &&
                is_step(mg, m, u->node, steps + 1) && (!best || g->at[u->node->id] < g->at[best->id]))
                best = u->node;
    }
    return best;
}

/* Do operand v of the first member and w of member m mean the same? */
static bool same_operand(const gi_merge *mg, const gi_member *m, size_t results, const gi_value *v, const gi_value *w)
{
    if (!v || !w)
        return v == w;
    for (size_t j = 0; j < results; j++)
        if (gi_member_value(&mg->m[0], j) == v)
            return gi_member_value(m, j) == w;
    gi_blob *a = gi_value_blob(v), *b = gi_value_blob(w);
    if (!a || !b)
        return false;
    return (gi_blob_elements(a) == 1 && gi_blob_elements(b) == 1 && gi_blob_equal(a, b)) ||
           (gi_merge_is_per_channel(mg, &mg->m[0], v) && gi_merge_is_per_channel(mg, m, w));
}

static bool same_step(const gi_merge *mg, const gi_member *m, size_t results, const gi_node *like, const gi_node *n)
{
    if (n->op != like->op || n->n_in != like->n_in || !is_step(mg, m, n, results))
        return false;
    for (uint32_t k = 0; k < n->n_attrs; k++)
        if (!gi_attr_equal(&n->attrs[k], &like->attrs[k]))
            return false;
    const bool turns = (gi_op_get(n->op)->traits & GI_COMMUTATIVE) && n->n_in == 2;
    bool as_is = true, turned = turns;
    for (uint32_t p = 0; p < n->n_in; p++) {
        as_is = as_is && same_operand(mg, m, results, gi_node_in(like, p), gi_node_in(n, p));
        turned = turned && same_operand(mg, m, results, gi_node_in(like, p), gi_node_in(n, 1 - p));
    }
    return as_is || turned;
}

static gi_node *matching_step(const gi_merge *mg, const gi_member *m, size_t steps, const gi_node *like)
{
    for (size_t j = 0; j <= steps; j++) {
        const gi_value *v = gi_member_value(m, j);
        for (const gi_use *u = v->n_uses <= MAX_USERS ? v->uses : NULL; u; u = u->next)
            if (u->node && !has_step(m, u->node, steps) && same_step(mg, m, steps + 1, like, u->node))
                return u->node;
    }
    return NULL;
}

/* Is each member's last result alone read from outside? */
static bool is_closed(const gi_merge *mg, size_t steps)
{
    for (size_t i = 0; i < mg->n; i++)
        for (size_t j = 0; j < steps; j++)
            for (const gi_use *u = gi_member_value(&mg->m[i], j)->uses; u; u = u->next)
                if (!u->node || !has_step(&mg->m[i], u->node, steps))
                    return false;
    return true;
}

static void follow(const merger *g, gi_merge *mg)
{
    mg->biased = false;
    for (size_t i = 0; i < mg->n; i++) {
        mg->m[i].bias = bias_of(mg, &mg->m[i]);
        mg->biased = mg->biased || mg->m[i].bias;
    }
    mg->n_steps = 0;
    for (size_t steps = 0; steps < GI_MERGE_STEPS; steps++) {
        gi_node *like = next_step(g, mg, steps);
        bool all = like != NULL;
        for (size_t i = 0; i < mg->n && all; i++) {
            mg->m[i].step[steps] = i ? matching_step(mg, &mg->m[i], steps, like) : like;
            all = mg->m[i].step[steps] != NULL;
        }
        if (!all)
            break;
        if (is_closed(mg, steps + 1))
            mg->n_steps = steps + 1;
    }
    for (size_t i = 0; i < mg->n; i++)
        mg->m[i].last = gi_member_value(&mg->m[i], mg->n_steps);
}

/* The Concat that takes all the results one after another, and where the first of them stands in it. */
static void find_concat(gi_merge *mg)
{
    gi_node *c = gi_value_only_user(mg->m[0].last);
    int axis;
    mg->concat = NULL;
    if (!c || c->op != OP_Concat || c->block != mg->m[0].product->block ||
        !gi_axis(gi_attr_int(c, Concat_at_axis), gi_value_rank(mg->m[0].last), &axis) || axis != mg->axis)
        return;
    mg->from = mg->m[0].last->uses->index;
    for (size_t i = 0; i < mg->n; i++) {
        const gi_value *v = mg->m[i].last;
        if (v->n_uses != 1 || v->uses->node != c || v->uses->index != mg->from + i)
            return;
    }
    mg->concat = c;
}

static int by_concat(const void *x, const void *y)
{
    const gi_member *a = x, *b = y;
    return a->last->uses->index < b->last->uses->index ? -1 : a->last->uses->index > b->last->uses->index;
}

/* Members in the order in which one Concat reads them; it may differ from the order of the block. */
static void sort_for_concat(gi_merge *mg)
{
    for (size_t i = 0; i < mg->n; i++) {
        const gi_value *v = mg->m[i].last;
        if (v->n_uses != 1 || !v->uses->node || v->uses->node != mg->m[0].last->uses->node)
            return;
    }
    qsort(mg->m, mg->n, sizeof *mg->m, by_concat);
}

/* ---- whether it pays ---- */

typedef struct verdict {
    size_t nodes_before, nodes_after;
    gi_cost spared, cost, own; /* own: the products' work */
    double gain;               /* microseconds */
} verdict;

static bool is_read_pointwise(const gi_value *v)
{
    const gi_node *n = gi_value_only_user(v);
    return n && (gi_op_get(n->op)->traits & GI_ELEMENTWISE);
}

static verdict weigh(gi_merge *mg)
{
    verdict v = { .spared = gi_cost_none(mg->g), .cost = gi_cost_none(mg->g), .own = gi_cost_none(mg->g) };
    size_t biases = 0;
    for (size_t i = 0; i < mg->n; i++) {
        const gi_member *m = &mg->m[i];
        int64_t times = 1;
        biases += m->bias != NULL;
        for (int k = 0; mg->padded && k < GI_MERGE_SPATIAL && k + 2 < gi_value_rank(m->product->out[0]); k++) {
            const int64_t had = gi_node_in(m->product, 1)->def.blob->dims[2 + k];
            times *= (had + m->before[k] + m->after[k]) / had; /* at least: rounded down */
        }
        gi_cost_add_flops(mg->g, &v.own, gi_node_flops(m->product), 1);
        gi_cost_add_flops(mg->g, &v.cost, gi_node_flops(m->product), times - 1);
        if (mg->split)
            gi_cost_add_moves(mg->g, &v.spared, gi_node_in(m->product, 0)->type, 2);
        else if (i)
            gi_cost_add_moves(mg->g, &v.spared, gi_node_in(m->product, 0)->type, 1);
        if (!mg->concat) /* and again where what follows could have gone into the product's kernel */
            gi_cost_add_moves(mg->g, &v.cost, m->last->type, is_read_pointwise(m->last) ? 4 : 2);
        else if (mg->concat->n_in == mg->n)
            gi_cost_add_moves(mg->g, &v.spared, m->last->type, 2);
    }
    const size_t split = mg->concat ? 0 : 1;
    v.nodes_before = mg->n * (1 + mg->n_steps) + biases + (mg->split ? 1 : 0);
    v.nodes_after = 1 + mg->n_steps + (mg->biased ? 1 : 0) + split;
    v.spared.kernels = (int64_t)(mg->n + (mg->split ? 1 : 0)) - 1;
    v.cost.kernels = (int64_t)split;
    v.gain = gi_cost_time(&v.spared) - gi_cost_time(&v.cost);
    return v;
}

static int64_t nodes_gone(const verdict *v)
{
    return (int64_t)v->nodes_before - (int64_t)v->nodes_after;
}

static bool pays(const verdict *v)
{
    if (nodes_gone(v) > 0)
        return v->gain >= -NODE_US * (double)nodes_gone(v) || v->gain >= -0.1 * gi_cost_time(&v->own);
    return nodes_gone(v) == 0 && v->gain > 0;
}

/* "2 parallel Conv with Relu become one and a Split, 2 nodes in place of 4" */
static const char *what(const gi_merge *mg, const verdict *v, const char *become)
{
    const gi_node *n = mg->m[0].product;
    const char *step = mg->n_steps ? mg->m[0].step[mg->n_steps - 1]->op_name : mg->biased ? "Add" : NULL;
    return gi_arena_printf(mg->cx->scratch, "%zu parallel %s%s%s %s one%s%s, %zu node%s in place of %zu", mg->n,
                           n->op_name, step ? " with " : "", step ? step : "", become,
                           mg->split ? " of as many groups" : "", mg->concat ? "" : " and a Split", v->nodes_after,
                           v->nodes_after == 1 ? "" : "s", v->nodes_before);
}

/* "spares 1.2 MiB moved and 2 kernels, costs 410 KiB moved" */
static const char *figures(const gi_merge *mg, const verdict *v)
{
    const int64_t kernels = v->spared.kernels - v->cost.kernels;
    gi_arena *a = mg->cx->scratch;
    gi_str s;
    gi_str_init(&s, a);
    gi_str_addf(&s, "spares %s moved", gi_cost_bytes_text(a, v->spared.bytes));
    if (kernels > 0)
        gi_str_addf(&s, " and %lld kernel%s", (long long)kernels, kernels == 1 ? "" : "s");
    if (!mg->concat)
        gi_str_addf(&s, ", costs %s moved by the Split and behind it", gi_cost_bytes_text(a, v->cost.bytes));
    if (mg->padded && v->cost.flops) {
        gi_str_add(&s, ", costs ");
        gi_dim_print(&s, v->cost.flops);
        gi_str_add(&s, " operations on zeros");
    }
    return s.failed ? NULL : s.p;
}

static gopt_status merge(gi_merge *mg, const verdict *v)
{
    gi_node *at = NULL;
    const char *text = what(mg, v, "become"), *why = figures(mg, v);
    GI_NEED(text && why);
    GI_TRY(gi_merge_build(mg, &at));
    gi_applied(mg->cx, "fuse_horizontal", at, "%s: %s", text, why);
    return GOPT_OK;
}

/* ---- groups ---- */

static bool prepare(const merger *g, gi_merge *mg)
{
    const gi_node *n = mg->m[0].product;
    mg->axis = n->op == OP_Conv ? 1 : gi_value_rank(n->out[0]) - 1;
    mg->before = mg->m[0].product;
    for (size_t i = 0; i < mg->n; i++) {
        gi_member *m = &mg->m[i];
        m->width = gi_value_dim(m->product->out[0], mg->axis);
        if (m->width <= 0)
            return false;
        if (g->at[m->product->id] < g->at[mg->before->id])
            mg->before = m->product;
    }
    follow(g, mg);
    if (!mg->split) /* in another order it would be another convolution */
        sort_for_concat(mg);
    find_concat(mg);
    return true;
}

/* Those of the group that have the first member's step behind them. */
static bool narrow(const merger *g, const gi_merge *all, gi_merge *some)
{
    const gi_node *like = next_step(g, all, 0);
    *some = *all;
    some->n = 0;
    for (size_t i = 0; like && i < all->n; i++)
        if (!i || matching_step(all, &all->m[i], 0, like))
            some->m[some->n++] = all->m[i];
    return some->n >= 2 && some->n < all->n && prepare(g, some);
}

static gopt_status try_group(merger *g, gi_merge *mg)
{
    gi_merge *some = &g->other;
    if (!prepare(g, mg))
        return GOPT_OK;
    verdict v = weigh(mg);
    if (narrow(g, mg, some)) {
        const verdict w = weigh(some);
        if (pays(&w) &&
            (!pays(&v) || nodes_gone(&w) > nodes_gone(&v) || (nodes_gone(&w) == nodes_gone(&v) && w.gain > v.gain))) {
            *mg = *some;
            v = w;
        }
    }
    if (!pays(&v)) {
        gi_declined(g->cx, "fuse_horizontal", mg->m[0].product, "%s: %s", what(mg, &v, "would become"),
                    figures(mg, &v));
        return GOPT_OK;
    }
    return gi_pass_may(g->cx, "fuse_horizontal") ? merge(mg, &v) : GOPT_OK;
}

/* ---- readers of one value ---- */

static gi_merge *new_group(merger *g)
{
    memset(&g->group, 0, sizeof g->group);
    g->group.g = g->g;
    g->group.cx = g->cx;
    return &g->group;
}

static int compare_nodes(const void *x, const void *y)
{
    const gi_node *a = *(gi_node *const *)x, *b = *(gi_node *const *)y;
    return a->id < b->id ? -1 : a->id > b->id;
}

static gopt_status merge_alike(merger *g, readers *r)
{
    for (size_t i = 0; i < r->n; i++) {
        if (r->done[i])
            continue;
        gi_merge *mg = new_group(g);
        for (size_t k = i; k < r->n && mg->n < GI_MERGE_MEMBERS; k++)
            if (!r->done[k] && go_together(r->list[i], r->list[k])) {
                r->done[k] = true;
                mg->m[mg->n++].product = r->list[k];
            }
        if (mg->n < 2)
            continue;
        if (mg->m[0].product->op == OP_Conv && gi_attr_int(mg->m[0].product, Conv_at_group) != 1)
            gi_declined(
                g->cx, "fuse_horizontal", mg->m[0].product,
                "%zu parallel Conv of %lld groups stay apart: as one, the results would lie in turns, group by group",
                mg->n, (long long)gi_attr_int(mg->m[0].product, Conv_at_group));
        else
            GI_TRY(try_group(g, mg));
    }
    return GOPT_OK;
}

/* Can b's kernel, surrounded by zeros, stand at the places of a's? Fills the zeros of m. */
static bool fits(const gi_node *a, const gi_node *b, gi_member *m)
{
    const gi_blob *x = gi_node_in(a, 1)->def.blob, *y = gi_node_in(b, 1)->def.blob;
    if (a->op != OP_Conv || b->op != OP_Conv || a->block != b->block || x->rank != y->rank || x->dtype != y->dtype ||
        x->dims[1] != y->dims[1] || gi_attr_int(a, Conv_at_group) != 1 || gi_attr_int(b, Conv_at_group) != 1)
        return false;
    const int spatial = x->rank - 2;
    const window p = window_of(a, spatial), q = window_of(b, spatial);
    for (int i = 0; i < spatial; i++) {
        const int64_t grows = x->dims[2 + i] - y->dims[2 + i], d = p.dilation[i];
        if (p.stride[i] != q.stride[i] || grows < 0 || (y->dims[2 + i] != 1 && d != q.dilation[i]) ||
            (p.before[i] - q.before[i]) % d || (p.after[i] - q.after[i]) % d)
            return false;
        m->before[i] = (p.before[i] - q.before[i]) / d;
        m->after[i] = (p.after[i] - q.after[i]) / d;
        if (m->before[i] < 0 || m->after[i] < 0 || m->before[i] + m->after[i] != grows)
            return false;
    }
    return !strcmp(p.mode, "NOTSET") && !strcmp(q.mode, "NOTSET");
}

/* Convolutions of other kernel sizes whose results one Concat takes. */
static gopt_status try_padded(merger *g, gi_node *a, gi_node *b)
{
    gi_member zeros[2] = { 0 };
    const bool b_is_wide = !fits(a, b, &zeros[1]);
    if (b_is_wide && !fits(b, a, &zeros[0]))
        return GOPT_OK;
    gi_merge *mg = new_group(g);
    mg->n = 2;
    mg->padded = true;
    mg->m[0] = (gi_member){ .product = a };
    mg->m[1] = (gi_member){ .product = b };
    gi_member *small = &mg->m[b_is_wide ? 0 : 1];
    memcpy(small->before, zeros[b_is_wide ? 0 : 1].before, sizeof small->before);
    memcpy(small->after, zeros[b_is_wide ? 0 : 1].after, sizeof small->after);
    if (!prepare(g, mg) || !mg->concat)
        return GOPT_OK;
    mg->wide = mg->m[0].product == (b_is_wide ? b : a) ? 0 : 1;
    const verdict v = weigh(mg);
    const char *refusal = nodes_gone(&v) < 0 || v.gain <= 0    ? ""
                          : g->cx->options->fp != GOPT_FP_FAST ? " (only with --fp fast: zero times infinity is NaN)"
                                                               : NULL;
    if (refusal) {
        gi_declined(g->cx, "fuse_horizontal", mg->m[1 - mg->wide].product,
                    "%s, its kernel padded with zeros to that of %s: %s%s", what(mg, &v, "would become"),
                    gi_node_label(mg->m[mg->wide].product, g->cx->scratch), figures(mg, &v), refusal);
        return GOPT_OK;
    }
    return gi_pass_may(g->cx, "fuse_horizontal") ? merge(mg, &v) : GOPT_OK;
}

static gopt_status merge_unlike(merger *g, const readers *r)
{
    for (size_t i = 0; i < r->n; i++)
        for (size_t k = i + 1; k < r->n && k < i + MAX_USERS; k++)
            if (r->list[i]->block && r->list[k]->block && r->list[i]->op == OP_Conv && r->list[k]->op == OP_Conv &&
                !go_together(r->list[i], r->list[k]))
                GI_TRY(try_padded(g, r->list[i], r->list[k]));
    return GOPT_OK;
}

static gopt_status merge_readers(merger *g, const gi_value *x)
{
    readers *r = &g->readers;
    memset(r, 0, sizeof *r);
    for (const gi_use *u = x->uses; u && r->n < MAX_READERS; u = u->next)
        if (u->node && u->index == 0 && u->node->id < g->n_nodes && is_member(u->node))
            r->list[r->n++] = u->node;
    qsort(r->list, r->n, sizeof *r->list, compare_nodes);
    GI_TRY(merge_alike(g, r));
    return merge_unlike(g, r);
}

/* Convolutions that read the results of one Split, one each, in order. */
static gopt_status merge_groups(merger *g, gi_node *split)
{
    int axis;
    if (split->n_out < 2 || split->n_out > GI_MERGE_MEMBERS ||
        !gi_axis(gi_attr_int(split, Split_at_axis), gi_value_rank(gi_node_in(split, 0)), &axis) || axis != 1)
        return GOPT_OK;
    gi_merge *mg = new_group(g);
    mg->split = split;
    for (uint32_t i = 0; i < split->n_out; i++) {
        gi_node *n = gi_value_only_user(split->out[i]);
        if (!n || n->op != OP_Conv || n->block != split->block || n->id >= g->n_nodes || !is_member(n) ||
            gi_node_in(n, 0) != split->out[i] || (i && !go_together(mg->m[0].product, n)) ||
            gi_node_in(n, 1)->def.blob->dims[0] != gi_node_in(i ? mg->m[0].product : n, 1)->def.blob->dims[0])
            return GOPT_OK;
        mg->m[mg->n++].product = n;
    }
    if (!prepare(g, mg))
        return GOPT_OK;
    const verdict v = weigh(mg);
    if (!pays(&v)) {
        gi_declined(g->cx, "fuse_horizontal", mg->m[0].product, "%s: %s", what(mg, &v, "would become"),
                    figures(mg, &v));
        return GOPT_OK;
    }
    return gi_pass_may(g->cx, "fuse_horizontal") ? merge(mg, &v) : GOPT_OK;
}

/* ---- the whole graph ---- */

typedef struct candidates {
    merger *g;
    gi_vec(gi_node *) list;
    uint32_t at;
} candidates;

static bool collect(void *arg, gi_node *n)
{
    candidates *c = arg;
    c->g->at[n->id] = ++c->at;
    const bool wanted = n->op == OP_Split || (is_member(n) && gi_node_in(n, 0)->n_uses >= 2);
    return !wanted || gi_push(c->g->cx->scratch, &c->list, n);
}

gopt_status gi_pass_fuse_horizontal(gopt_graph *g, gi_pass_ctx *cx)
{
    merger *m = GI_NEW(cx->scratch, merger);
    GI_NEED(m);
    m->g = g;
    m->cx = cx;
    m->n_nodes = g->next_node;
    m->at = GI_NEW_ARRAY(cx->scratch, uint32_t, m->n_nodes + 1);
    gi_map_init(&m->seen, cx->scratch);
    candidates c = { .g = m };
    GI_NEED(m->at && gi_each_node(g->main, collect, &c));
    for (size_t i = 0; i < c.list.n; i++) {
        gi_node *n = c.list.p[i];
        if (!n->block)
            continue;
        if (n->op == OP_Split) {
            GI_TRY(merge_groups(m, n));
            continue;
        }
        const gi_value *x = gi_node_in(n, 0);
        if (gi_map_get(&m->seen, (uint64_t)x->id + 1))
            continue;
        GI_NEED(gi_map_put(&m->seen, (uint64_t)x->id + 1, m));
        GI_TRY(merge_readers(m, x));
    }
    return GOPT_OK;
}
