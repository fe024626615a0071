/* Rules that put runs of recurrent networks together.
 *
 *   LSTM(x[0:2], h) → h', LSTM(x[2:5], h')      ⇒  LSTM(x[0:5], h)                     one behind another
 *   LSTM(x[4::-1], h)                           ⇒  LSTM(x, h) { reverse }, turned      over flipped steps
 *   LSTM(x), LSTM(x) { reverse }                ⇒  LSTM(x) { bidirectional }           side by side
 *
 * Unrolled cells (rules_recurrent.c) come here as runs of one step, which go in either direction. X is
 * [steps, batch, inputs], Y [steps, directions, batch, hidden], the last states [directions, batch, hidden]. */
#include "passes/build.h"
#include "passes/layout.h"
#include "passes/parts.h"

enum { MAX_VIEWS = 8, MAX_USERS = 64, MAX_BETWEEN = 512, MAX_IN = 8 };

/* ---- what LSTM, GRU and RNN have in common: their inputs, outputs and first attributes ---- */

static bool is_run(const gi_node *n)
{
    return n && (n->op == OP_LSTM || n->op == OP_GRU || n->op == OP_RNN);
}

static int direction_at(const gi_node *n)
{
    return n->op == OP_LSTM ? (int)LSTM_at_direction : n->op == OP_GRU ? (int)GRU_at_direction : (int)RNN_at_direction;
}

static bool goes(const gi_node *n, const char *direction)
{
    return gi_attr_is(n, direction_at(n), direction);
}

static bool set_direction(gi_node *n, const char *direction)
{
    return goes(n, direction) || gi_attr_set_str(n, direction_at(n), direction);
}

/* Over whole sequences in one direction, [steps, batch, inputs]? */
static bool is_plain(const gi_node *n)
{
    const int layout = n->op == OP_LSTM  ? (int)LSTM_at_layout
                       : n->op == OP_GRU ? (int)GRU_at_layout
                                         : (int)RNN_at_layout;
    return !gi_attr_int(n, layout) && !gi_node_in(n, LSTM_in_sequence_lens) && !goes(n, "bidirectional");
}

/* The same value, or constants of the same bytes. */
static bool same_operand(const gi_node *a, const gi_node *b, uint32_t i)
{
    const gi_value *x = gi_node_in(a, i), *y = gi_node_in(b, i);
    return x == y || (gi_value_blob(x) && gi_value_blob(y) && gi_blob_equal(gi_value_blob(x), gi_value_blob(y)));
}

/* All attributes but the direction. */
static bool same_attributes(const gi_node *a, const gi_node *b)
{
    for (uint32_t i = 0; i < a->n_attrs; i++)
        if ((int)i != direction_at(a) && !gi_attr_equal(&a->attrs[i], &b->attrs[i]))
            return false;
    return true;
}

static bool same_cell(const gi_node *a, const gi_node *b)
{
    return same_attributes(a, b) && same_operand(a, b, LSTM_in_W) && same_operand(a, b, LSTM_in_R) &&
           same_operand(a, b, LSTM_in_B) && (a->op != OP_LSTM || same_operand(a, b, LSTM_in_P));
}

/* ---- one run behind another ---- */

/* Steps first … first+count-1 on an axis, 0 or 1, of a value of rank 3, or on axis 0 of the Y of another run. */
typedef struct steps {
    gi_value *x;
    int axis;
    int64_t dim, first, count;
} steps;

static bool is_batch_first(const gi_value *v)
{
    int64_t perm[GOPT_MAX_RANK];
    int rank;
    const gi_node *n = gi_value_node(v);
    return n && n->op == OP_Transpose && gi_transpose_perm(n, perm, &rank) && rank == 3 && perm[0] == 1 && perm[1] == 0;
}

/* Is x Y of a run of one direction? */
static bool is_states(const gi_value *x)
{
    return is_run(gi_value_node(x)) && x->index == LSTM_out_Y && gi_value_rank(x) == 4 && gi_value_dim(x, 1) == 1;
}

/* Are x's dims but the axis, and but the 1 of a Y, those of v, [steps, batch, size]? */
static bool has_step_dims(const gi_value *x, int axis, const gi_value *v)
{
    const bool states = gi_value_rank(x) == 4;
    if ((states && (!is_states(x) || axis)) || (!states && (gi_value_rank(x) != 3 || axis > 1)))
        return false;
    for (int i = 0, d = 1; i < gi_value_rank(x); i++) {
        if (i == axis || (states && i == 1))
            continue;
        if (gi_dim_equal(gi_value_node(v)->block->graph->dims, x->type->dims[i], v->type->dims[d++]) != 1)
            return false;
    }
    return true;
}

static bool is_last_state(gi_value *v, steps *s)
{
    const gi_node *n = gi_value_node(v);
    gi_value *y = is_run(n) && v->index == LSTM_out_Y_h && is_plain(n) ? n->out[LSTM_out_Y] : NULL;
    const int64_t dim = gi_value_dim(y, 0);
    if (!y || !is_states(y) || dim < 1)
        return false;
    *s = (steps){ y, 0, dim, goes(n, "forward") ? dim - 1 : 0, 1 };
    return true;
}

/* Where a run's input, [steps, batch, size], comes from. */
static bool read_steps(gi_value *v, steps *s)
{
    gi_part p;
    if (gi_value_rank(v) != 3)
        return false;
    const bool turned = is_batch_first(v);
    gi_value *of = turned ? gi_node_in(gi_value_node(v), 0) : v;
    const int axis = turned;
    if (gi_value_rank(of) == 3 && gi_part_of(of, &p) && p.axis == axis && p.step == 1 && !p.drops &&
        gi_value_rank(p.x) == 3) {
        *s = (steps){ p.x, axis, p.dim, p.first, p.count };
        return true;
    }
    gi_value *u = v;
    for (int i = 0; i < MAX_VIEWS && u; i++) {
        if (is_last_state(u, s) && has_step_dims(s->x, 0, v))
            return true;
        if (gi_part_of(u, &p)) {
            if (p.step != 1 || p.count != gi_value_dim(v, 0) || !has_step_dims(p.x, p.axis, v) ||
                (p.axis == 1 && p.count != 1 && gi_value_dim(p.x, 0) != 1))
                break;
            *s = (steps){ p.x, p.axis, p.dim, p.first, p.count };
            return true;
        }
        if (is_states(u) && has_step_dims(u, 0, v) && gi_value_dim(u, 0) == gi_value_dim(v, 0)) {
            *s = (steps){ u, 0, gi_value_dim(u, 0), 0, gi_value_dim(u, 0) };
            return s->dim > 0;
        }
        u = gi_is_view(gi_value_node(u)) ? gi_node_in(gi_value_node(u), 0) : NULL;
    }
    *s = (steps){ of, axis, gi_value_dim(of, axis), 0, gi_value_dim(of, axis) };
    return s->dim > 0;
}

static gi_value *take_steps(gi_rewrite *r, gi_value *x, int axis, int64_t first, int64_t count)
{
    const gi_span s = { .n = 1, .axis = { axis }, .start = { first }, .end = { first + count }, .step = { 1 } };
    return gi_span_build(r, x, &s);
}

/* Two runs over steps of one value. */
typedef struct chain {
    steps a, b;
    bool back; /* from last to first: b's steps are those before a's */
} chain;

/* May a run over that many steps be said to go so? */
static bool may_go(const gi_node *n, const steps *s, const char *direction)
{
    return s->count == 1 || goes(n, direction);
}

static bool follows_a_run(gi_match *m, gi_reason *why)
{
    const gi_value *h = gi_node_in(m->root, LSTM_in_initial_h);
    gi_node *first = gi_value_node(h);
    chain *c = GI_NEW(m->scratch, chain);
    if (!c || !first || first->op != m->root->op || first->block != m->root->block || h->index != LSTM_out_Y_h)
        return false;
    if (m->root->op == OP_LSTM) {
        const gi_value *s = gi_node_in(m->root, LSTM_in_initial_c);
        if (gi_value_node(s) != first || s->index != LSTM_out_Y_c)
            return false;
        if (s->n_uses != 1)
            return gi_decline(why, "the cell state between has %u users: %s", s->n_uses, gi_value_users(s, m->scratch));
    }
    if (!is_plain(first) || !is_plain(m->root) || !same_cell(first, m->root) ||
        !read_steps(gi_node_in(first, 0), &c->a) || !read_steps(gi_node_in(m->root, 0), &c->b))
        return false;
    c->back = c->b.first + c->b.count == c->a.first;
    if (c->a.x != c->b.x || c->a.axis != c->b.axis || (!c->back && c->b.first != c->a.first + c->a.count))
        return gi_decline(why, "its steps do not follow those of %s in one value", gi_node_label(first, m->scratch));
    const char *direction = c->back ? "reverse" : "forward";
    if (!may_go(first, &c->a, direction) || !may_go(m->root, &c->b, direction))
        return gi_decline(why, "%s runs in another direction", gi_node_label(first, m->scratch));
    m->data = c;
    m->nodes[m->n_nodes++] = first;
    return true;
}

/* X of the run over both. */
static gi_value *both_inputs(gi_rewrite *r, const chain *c)
{
    const int64_t first = c->back ? c->b.first : c->a.first, count = c->a.count + c->b.count;
    gi_value *x = count == c->a.dim ? c->a.x : take_steps(r, c->a.x, c->a.axis, first, count);
    if (gi_value_rank(x) == 4)
        return gi_rw_squeeze(r, x, 1, (int64_t[]){ 1 });
    return c->a.axis ? gi_rw_transpose(r, x, 3, (int64_t[]){ 1, 0, 2 }) : x;
}

static gi_value *join_runs(gi_rewrite *r, const gi_match *m)
{
    const chain *c = m->data;
    gi_node *first = m->nodes[1], *second = m->root;
    gi_value *in[MAX_IN];
    if (first->n_in > GI_COUNT(in))
        return NULL;
    r->before = first;
    in[0] = both_inputs(r, c);
    for (uint32_t i = 1; i < first->n_in; i++)
        in[i] = gi_node_in(first, i);
    gi_node *n = in[0] ? gi_rw_node(r, first->op, first->n_in, in, second->n_out) : NULL;
    if (!n || !gi_attrs_copy(n, first) || !set_direction(n, c->back ? "reverse" : "forward") || !gi_rw_done(r, n))
        return NULL;
    gi_value *y = n->out[0], *before = first->out[LSTM_out_Y_h];
    const int64_t a = c->a.count, b = c->b.count;
    bool ok = true;
    for (uint32_t i = 1; i < second->n_out; i++)
        ok = ok && (!second->out[i]->n_uses || gi_rw_also(r, second->out[i], n->out[i]));
    if (first->out[0]->n_uses)
        ok = ok && gi_rw_also(r, first->out[0], take_steps(r, y, 0, c->back ? b : 0, a));
    if (before->n_uses > 1)
        ok = ok &&
             gi_rw_also(r, before, gi_rw_squeeze(r, take_steps(r, y, 0, c->back ? b : a - 1, 1), 1, (int64_t[]){ 1 }));
    for (size_t i = 0; i < r->also.n; i++)
        ok = ok && r->also.p[i].to;
    r->said = gi_arena_printf(r->scratch, "runs of %lld and %lld steps, of the same weights  ⇒  one of %lld",
                              (long long)a, (long long)b, (long long)(a + b));
    if (!ok || !second->out[0]->n_uses)
        return ok ? y : NULL;
    return take_steps(r, y, 0, c->back ? 0 : a, b);
}

/* ---- flipped steps ---- */

static gi_value *flip(gi_rewrite *r, gi_value *x, int axis)
{
    const gi_span s = { .n = 1, .axis = { axis }, .start = { -1 }, .end = { -INT64_MAX }, .step = { -1 } };
    return gi_span_build(r, x, &s);
}

typedef struct turn {
    gi_value *x; /* before it was flipped, along axis */
    int axis;
} turn;

/* Are the states of all steps read flipped alone, with or without the dim of directions? */
static bool are_flipped_again(const gi_value *y)
{
    uint32_t n = 0;
    const gi_node *only = gi_value_only_user(y);
    if (only && only->op == OP_Squeeze && gi_value_rank(only->out[0]) == 3)
        y = only->out[0];
    for (const gi_use *u = y->uses; u; u = u->next)
        if (n++ == MAX_USERS || !u->node || u->index || !gi_flipped(u->node->out[0], 0))
            return false;
    return true;
}

static bool runs_over_flipped(gi_match *m, gi_reason *why)
{
    turn *t = GI_NEW(m->scratch, turn);
    gi_value *x = gi_node_in(m->root, 0);
    if (!t || gi_value_rank(x) != 3 || !is_plain(m->root))
        return false;
    t->axis = is_batch_first(x);
    gi_value *of = t->axis ? gi_node_in(gi_value_node(x), 0) : x;
    t->x = gi_value_rank(of) == 3 ? gi_flipped(of, t->axis) : NULL;
    if (!t->x)
        return false;
    if ((of->n_uses > 1 || x->n_uses > 1) && !are_flipped_again(m->root->out[0]))
        return gi_decline(why, "%s has %u users: %s", gi_value_ref(of, m->scratch), of->n_uses,
                          gi_value_users(of, m->scratch));
    m->data = t;
    return true;
}

static gi_value *turn_run(gi_rewrite *r, const gi_match *m)
{
    const turn *t = m->data;
    gi_value *in[MAX_IN];
    gi_node *root = m->root;
    if (root->n_in > GI_COUNT(in))
        return NULL;
    in[0] = t->axis ? gi_rw_transpose(r, t->x, 3, (int64_t[]){ 1, 0, 2 }) : t->x;
    for (uint32_t i = 1; i < root->n_in; i++)
        in[i] = gi_node_in(root, i);
    gi_node *n = in[0] ? gi_rw_node(r, root->op, root->n_in, in, root->n_out) : NULL;
    if (!n || !gi_attrs_copy(n, root) ||
        !gi_attr_set_str(n, direction_at(n), goes(root, "forward") ? "reverse" : "forward") || !gi_rw_done(r, n))
        return NULL;
    for (uint32_t i = 1; i < root->n_out; i++)
        if (root->out[i]->n_uses && !gi_rw_also(r, root->out[i], n->out[i]))
            return NULL;
    return root->out[0]->n_uses ? flip(r, n->out[0], 0) : n->out[0];
}

/* ---- side by side ---- */

enum { OUTPUTS = 3, IN_STATES = LSTM_in_initial_h };

/* A Concat of an output of both, the forward one's first. */
typedef struct meeting {
    gi_node *concat;
    gi_layout l; /* from the new output to the Concat's */
    int spared;  /* of the moves behind it, that go on from there */
} meeting;

typedef struct pair {
    gi_node *forward, *back, *first; /* first: the one that stands before the other */
    meeting at[OUTPUTS];             /* concat NULL: nowhere, or not read */
    uint32_t n_in;
} pair;

/* v through moves that nothing else reads, to the Concat of two that reads it at `index`. */
static gi_node *next_concat(gi_value *v, uint32_t index)
{
    for (int i = 0; i < MAX_VIEWS && v->n_uses == 1; i++) {
        const gi_use *u = v->uses;
        if (!u->node)
            return NULL;
        if (u->node->op == OP_Concat)
            return u->node->n_in == 2 && u->index == index ? u->node : NULL;
        if (!gi_is_move(u->node) || u->index)
            return NULL;
        v = u->node->out[0];
    }
    return NULL;
}

/* From the new output, which has 2 at `dim` where the old one had 1, to the Concat: the 2 leads its axis. */
static bool plan_meeting(gopt_graph *g, const gi_value *old, gi_value *part, int dim, meeting *at)
{
    gi_origin o;
    int axis;
    const gi_dim *dims[GOPT_MAX_RANK];
    const gi_type *result = at->concat->out[0]->type;
    if (!gi_origin_find(&o, g, part) || o.x != old || o.count || gi_value_rank(at->concat->out[0]) != o.l.rank ||
        !gi_axis(gi_attr_int(at->concat, Concat_at_axis), o.l.rank, &axis))
        return false;
    memcpy(dims, old->type->dims, (size_t)old->type->rank * sizeof(*dims));
    dims[dim] = gi_dim_const(g->dims, 2);
    const gi_type *t = dims[dim] ? gi_type_tensor(g->types, old->type->dtype, old->type->rank, dims) : NULL;
    if (!t || !gi_layout_begin(&at->l, g, t) || at->l.n != o.l.n + 1)
        return false;
    gi_layout *l = &at->l;
    const uint8_t two = (uint8_t)(dim ? l->from_end[dim - 1] : 0);
    const uint32_t place = axis ? o.l.to_end[axis - 1] : 0;
    for (uint32_t i = 0, k = 0; i < l->n; i++)
        l->to[i] = i == place ? two : (uint8_t)(o.l.to[k] + (o.l.to[k] >= two)), k += i != place;
    l->rank = o.l.rank;
    for (int i = 0; i < l->rank; i++) {
        l->dims[i] = result->dims[i];
        l->to_end[i] = o.l.to_end[i] + (i >= axis);
    }
    return gi_layout_cost(l) >= 0;
}

/* How many nodes fewer the moves behind the Concat are with those before them as one chain. */
static int spared_behind(const meeting *at)
{
    gi_layout l = at->l;
    int moves = 0, spared = 0;
    const gi_node *n = gi_value_only_user(at->concat->out[0]);
    for (; moves < MAX_VIEWS && gi_is_move(n) && gi_layout_apply(&l, n); n = gi_value_only_user(n->out[0])) {
        const int cost = gi_layout_cost(&l);
        moves++;
        if (cost >= 0 && gi_layout_cost(&at->l) + moves - cost > spared)
            spared = gi_layout_cost(&at->l) + moves - cost;
    }
    return spared;
}

static bool meets(gopt_graph *g, const pair *p, uint32_t out, meeting *at)
{
    gi_value *a = p->forward->out[out], *b = p->back->out[out];
    meeting other;
    at->concat = next_concat(a, 0);
    if (!at->concat || next_concat(b, 1) != at->concat || at->concat->block != p->back->block)
        return false;
    other.concat = at->concat;
    const int dim = out == 0;
    if (!plan_meeting(g, a, gi_node_in(at->concat, 0), dim, at) ||
        !plan_meeting(g, b, gi_node_in(at->concat, 1), dim, &other) || at->l.n != other.l.n)
        return false;
    at->spared = spared_behind(at);
    return memcmp(at->l.to, other.l.to, at->l.n) == 0 &&
           memcmp(at->l.to_end, other.l.to_end, (size_t)at->l.rank * sizeof(*at->l.to_end)) == 0;
}

static bool is_fixed(const gi_node *n, uint32_t i)
{
    return gi_value_blob(gi_node_in(n, i)) != NULL;
}

/* May a, which goes backwards, and b be one node: each operand in both or in neither, of one shape, weights constant? */
static bool are_counterparts(const gi_node *a, const gi_node *b)
{
    if (a->op != b->op || a->block != b->block || gi_node_in(a, 0) != gi_node_in(b, 0) || a->n_in != b->n_in ||
        a->n_out != b->n_out || !is_plain(a) || !is_plain(b) || !goes(a, "reverse") || !goes(b, "forward") ||
        !same_attributes(a, b))
        return false;
    for (uint32_t i = LSTM_in_W; i < (a->op == OP_LSTM ? LSTM_in_P + 1u : LSTM_in_initial_h + 1u); i++) {
        const gi_value *v = gi_node_in(a, i), *w = gi_node_in(b, i);
        if (!v != !w || (v && !gi_type_same(a->block->graph, v->type, w->type)) ||
            (v && i != LSTM_in_initial_h && i != LSTM_in_initial_c && (!is_fixed(a, i) || !is_fixed(b, i))))
            return false;
    }
    return true;
}

/* Which of the two stands first, and has what the other reads been made by then? */
static gi_node *first_of(gi_node *a, gi_node *b)
{
    for (int order = 0; order < 2; order++) {
        gi_node *from = order ? b : a, *to = order ? a : b, *n = from;
        bool made = true;
        for (int i = 0; i < MAX_BETWEEN && n && n != to; i++, n = n->next)
            for (uint32_t k = IN_STATES; k < to->n_in; k++)
                made = made && gi_value_node(gi_node_in(to, k)) != n;
        if (n == to)
            return made ? from : NULL;
    }
    return NULL;
}

/* Nodes that are there after less those before. */
static int balance(const pair *p)
{
    int n = -1;
    for (uint32_t i = 0; i < p->forward->n_out; i++) {
        const meeting *at = &p->at[i];
        if (at->concat) {
            n += gi_layout_cost(&at->l) - 1 - at->spared;
            for (int side = 0; side < 2; side++)
                for (gi_node *v = gi_value_node(gi_node_in(at->concat, (uint32_t)side)); !is_run(v);
                     v = gi_value_node(gi_node_in(v, 0)))
                    n--;
        } else {
            n += p->forward->out[i]->n_uses || p->back->out[i]->n_uses;
        }
    }
    for (uint32_t i = IN_STATES; i < p->n_in; i++)
        n += gi_node_in(p->forward, i) && !(is_fixed(p->forward, i) && is_fixed(p->back, i));
    return n;
}

/* The output of a run that v comes from by moves alone. */
static const gi_value *states_of(const gi_value *v)
{
    for (int i = 0; i < MAX_VIEWS && gi_is_move(gi_value_node(v)); i++)
        v = gi_node_in(gi_value_node(v), 0);
    return is_run(gi_value_node(v)) ? v : NULL;
}

static bool meet_here(gi_match *m, gi_reason *why)
{
    if (m->root->n_in != 2)
        return false;
    const gi_value *a = states_of(gi_node_in(m->root, 0)), *b = a ? states_of(gi_node_in(m->root, 1)) : NULL;
    pair *p = b && a->index == b->index ? GI_NEW(m->scratch, pair) : NULL;
    if (!p)
        return false;
    *p = (pair){ .forward = gi_value_node(a), .back = gi_value_node(b), .n_in = gi_value_node(a)->n_in };
    if (p->forward == p->back || p->back->block != m->root->block || !are_counterparts(p->back, p->forward) ||
        p->n_in > MAX_IN || p->forward->n_out > OUTPUTS)
        return false;
    for (uint32_t i = 0; i < p->forward->n_out; i++)
        if (!meets(m->g, p, i, &p->at[i]))
            p->at[i].concat = NULL;
    if (p->at[a->index].concat != m->root)
        return false;
    p->first = first_of(p->back, p->forward);
    if (!p->first)
        return gi_decline(why, "a state that %s starts from is not there before %s", gi_node_label(p->back, m->scratch),
                          gi_node_label(p->forward, m->scratch));
    if (balance(p) >= 0)
        return gi_decline(why, "one run of both directions, and what takes its states apart, would be no fewer nodes");
    m->nodes[m->n_nodes++] = p->forward;
    m->nodes[m->n_nodes++] = p->back;
    m->data = p;
    return true;
}

/* Operand i of both directions, one after the other. */
static gi_value *both(gi_rewrite *r, const pair *p, uint32_t i)
{
    gi_value *v[] = { gi_node_in(p->forward, i), gi_node_in(p->back, i) };
    gi_blob *parts[] = { gi_value_blob(v[0]), gi_value_blob(v[1]) }, *b;
    if (!parts[0] || !parts[1])
        return gi_rw_concat(r, 2, v, 0);
    return gi_blob_concat(r->g->cx, parts, 2, 0, &b) == GOPT_OK ? gi_const(r->g, b, NULL) : NULL;
}

/* The activations of both directions; those of one are the usual ones where none are given. */
static bool set_activations(gi_node *n, const gi_node *from)
{
    enum { MAX_NAMES = 3 };
    const int at = n->op == OP_LSTM  ? (int)LSTM_at_activations
                   : n->op == OP_GRU ? (int)GRU_at_activations
                                     : (int)RNN_at_activations;
    const char *const *names, *twice[2 * MAX_NAMES];
    const uint32_t count = gi_attr_strings(from, at, &names);
    if (!count)
        return true;
    if (count > MAX_NAMES)
        return false;
    for (uint32_t i = 0; i < 2 * count; i++)
        twice[i] = names[i % count];
    return gi_attr_set_strings(n, at, 2 * count, twice);
}

static gi_value *pair_runs(gi_rewrite *r, const gi_match *m)
{
    const pair *p = m->data;
    const gi_node *like = p->back;
    gi_value *in[MAX_IN] = { gi_node_in(like, 0) }, *result = NULL;
    r->before = p->first;
    for (uint32_t i = 1; i < p->n_in; i++)
        if (gi_node_in(like, i) && !(in[i] = both(r, p, i)))
            return NULL;
    gi_node *n = gi_rw_node(r, like->op, p->n_in, in, like->n_out);
    if (!n || !gi_attrs_copy(n, like) || !gi_attr_set_str(n, direction_at(n), "bidirectional") ||
        !set_activations(n, like) || !gi_rw_done(r, n))
        return NULL;
    for (uint32_t i = 0; i < like->n_out; i++) {
        gi_value *a = p->forward->out[i], *b = p->back->out[i], *parts[2];
        gi_node *concat = p->at[i].concat;
        if (concat) {
            r->before = concat;
            gi_value *y = gi_layout_build(r, &p->at[i].l, n->out[i]);
            if (!y || (concat != m->root && !gi_rw_also(r, concat->out[0], y)))
                return NULL;
            result = concat == m->root ? y : result;
        } else if (a->n_uses || b->n_uses) {
            r->before = p->first;
            if (!gi_rw_split(r, n->out[i], i == 0, 2, (int64_t[]){ 1, 1 }, parts) || !gi_rw_also(r, a, parts[0]) ||
                !gi_rw_also(r, b, parts[1]))
                return NULL;
        }
    }
    return result;
}

#include "passes/rows.h"
#include "passes/rules/runs.def"
