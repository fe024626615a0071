/* Rules of Slice, Split and Concat: what takes values apart and puts them together. */
#include "ops/move.h"
#include "passes/layout.h"
#include "passes/parts.h"

static gi_value *make_x(gi_rewrite *r, const gi_match *m)
{
    (void)r;
    return m->x;
}

/* ---- slices ---- */

static bool slices_everything(const gi_match *m, gi_reason *why)
{
    (void)why;
    gi_span s;
    int64_t step[GOPT_MAX_RANK];
    uint32_t n = 0;
    if (gi_span_read(m->root, &s)) {
        uint32_t full = 0;
        for (uint32_t i = 0; i < s.n; i++)
            full += gi_span_is_full(m->x, &s, i);
        if (full == s.n)
            return true;
    }
    /* Forwards and as long as before: nothing can be missing. */
    if (m->t && !gi_value_known_ints(m->t, step, GOPT_MAX_RANK, &n))
        return false;
    for (uint32_t i = 0; i < n; i++)
        if (step[i] != 1)
            return false;
    return gi_type_same(m->g, m->x->type, m->root->out[0]->type);
}

/* Entry `i` of what the outer one takes, from what the inner one's entry `k` has left. */
static bool join_entries(const gi_value *x, gi_span *in, uint32_t k, const gi_span *out, uint32_t i)
{
    const int64_t dim = gi_value_dim(x, in->axis[k]);
    int64_t first, length, first_of, count;
    if (dim < 0) {
        if (in->step[k] != 1 || out->step[i] != 1 || in->start[k] < 0 || in->end[k] < 0 || out->start[i] < 0 ||
            out->end[i] < 0)
            return false;
        const int64_t base = in->start[k];
        in->start[k] = gi_add_i64(base, out->start[i], &first) ? first : INT64_MAX;
        in->end[k] = gi_min_i64(in->end[k], gi_add_i64(base, out->end[i], &first) ? first : INT64_MAX);
        return true;
    }
    gi_slice_span(dim, in->start[k], in->end[k], in->step[k], &first, &length);
    gi_slice_span(length, out->start[i], out->end[i], out->step[i], &first_of, &count);
    if (count == 0) {
        in->start[k] = in->end[k] = 0;
        in->step[k] = 1;
        return true;
    }
    /* Steps that matter stay within the dim, others may be anything. */
    const int64_t step = count > 1 ? in->step[k] * out->step[i] : 1;
    in->start[k] = first + first_of * in->step[k];
    in->end[k] = in->start[k] + (count - 1) * step + (step > 0 ? 1 : -1);
    if (in->end[k] < 0)
        in->end[k] = -dim - 1; /* before the first element; -1 would be the last */
    in->step[k] = step;
    return true;
}

static bool join_spans(const gi_node *inner, const gi_node *outer, gi_span *s)
{
    gi_span o;
    if (!gi_span_read(inner, s) || !gi_span_read(outer, &o))
        return false;
    for (uint32_t i = 0; i < o.n; i++) {
        int k = gi_span_find(s, o.axis[i]);
        if (k >= 0) {
            if (!join_entries(gi_node_in(inner, 0), s, (uint32_t)k, &o, i))
                return false;
            continue;
        }
        s->axis[s->n] = o.axis[i];
        s->start[s->n] = o.start[i];
        s->end[s->n] = o.end[i];
        s->step[s->n++] = o.step[i];
    }
    return true;
}

/* The inner one dies only if all that read it can do without. */
static bool slices_join(const gi_match *m, gi_reason *why)
{
    (void)why;
    for (const gi_use *u = m->y->uses; u; u = u->next) {
        gi_span s;
        if (!u->node || u->node->op != OP_Slice || u->index != Slice_in_data || u->node->block != m->root->block ||
            !join_spans(gi_value_node(m->y), u->node, &s))
            return false;
    }
    return true;
}

static gi_value *join_slices(gi_rewrite *r, const gi_match *m)
{
    gi_span s;
    return join_spans(gi_value_node(m->y), m->root, &s) ? gi_span_build(r, m->x, &s) : NULL;
}

/* ---- parts of a Concat ---- */

static bool concat_axis(const gi_node *concat, int *axis)
{
    return gi_axis(gi_attr_int(concat, Concat_at_axis), gi_value_rank(concat->out[0]), axis);
}

/* Inputs first … end - 1 of the Concat begin at element `begin` and end before element `stop`. */
typedef struct parts_run {
    uint32_t first, end;
    int64_t begin, stop;
} parts_run;

/* The inputs that hold elements `from` to before `to` of the Concat's axis. */
static bool find_run(const gi_node *concat, int axis, int64_t from, int64_t to, parts_run *run)
{
    int64_t at = 0;
    bool found = false;
    for (uint32_t i = 0; i < concat->n_in && at < to; i++) {
        const int64_t length = gi_value_dim(gi_node_in(concat, i), axis);
        if (length < 0)
            return false;
        if (!found && length && length > from - at) {
            found = true;
            run->first = i;
            run->begin = at;
        }
        if (!gi_add_i64(at, length, &at))
            return false;
        run->end = i + 1;
        run->stop = at;
    }
    return found && at >= to;
}

/* What the Slice takes of the Concat's axis, and where in its other entries that stands. */
static bool read_slice_of_concat(const gi_match *m, gi_span *s, parts_run *run, bool *whole)
{
    const gi_node *concat = gi_value_node(m->y);
    int axis;
    int64_t first, length;
    if (!concat_axis(concat, &axis) || !gi_span_read(m->root, s))
        return false;
    const int k = gi_span_find(s, axis);
    const int64_t dim = gi_value_dim(m->y, axis);
    if (k < 0 || dim < 0 || s->step[k] != 1)
        return false;
    gi_slice_span(dim, s->start[k], s->end[k], 1, &first, &length);
    if (!length || !find_run(concat, axis, first, first + length, run))
        return false;
    *whole = first == run->begin && first + length == run->stop;
    if (*whole) {
        gi_span_remove(s, (uint32_t)k);
        return true;
    }
    s->start[k] = first - run->begin;
    s->end[k] = first + length - run->begin;
    return true;
}

static bool slices_a_part(const gi_match *m, gi_reason *why)
{
    (void)why;
    gi_span s;
    parts_run run;
    bool whole;
    if (!read_slice_of_concat(m, &s, &run, &whole))
        return false;
    return run.end == run.first + 1 || (whole && s.n == 0 && m->y->n_uses == 1);
}

static gi_value *build_concat(gi_rewrite *r, uint32_t n, gi_value *const *parts, int axis)
{
    if (n == 1)
        return parts[0];
    gi_node *c = gi_rw_node(r, OP_Concat, n, parts, 1);
    if (!c)
        return NULL;
    gi_attr_set_int(c, Concat_at_axis, axis);
    return gi_rw_done(r, c);
}

/* Inputs first … end - 1 of a Concat as one value. */
static gi_value *build_run(gi_rewrite *r, const gi_node *concat, int axis, const parts_run *run)
{
    gi_values parts = { 0 };
    for (uint32_t i = run->first; i < run->end; i++)
        if (!gi_push(r->scratch, &parts, gi_node_in(concat, i)))
            return NULL;
    return build_concat(r, (uint32_t)parts.n, parts.p, axis);
}

static gi_value *slice_the_part(gi_rewrite *r, const gi_match *m)
{
    gi_span s;
    parts_run run;
    bool whole;
    int axis;
    if (!read_slice_of_concat(m, &s, &run, &whole) || !concat_axis(gi_value_node(m->y), &axis))
        return NULL;
    gi_value *x = build_run(r, gi_value_node(m->y), axis, &run);
    return x ? gi_span_build(r, x, &s) : NULL;
}

/* ---- parts that share a value out ---- */

/* The Slices and Gathers of x in one block, along one axis, in the order of what they take. */
typedef struct cover {
    gi_vec(gi_part) parts;
    gi_values values;
    uint32_t dropping;
} cover;

static bool insert_part(gi_arena *a, cover *c, const gi_part *p, gi_value *v)
{
    if (!gi_push(a, &c->parts, *p) || !gi_push(a, &c->values, v))
        return false;
    for (size_t i = c->parts.n - 1; i > 0 && c->parts.p[i - 1].first > p->first; i--) {
        c->parts.p[i] = c->parts.p[i - 1];
        c->values.p[i] = c->values.p[i - 1];
        c->parts.p[i - 1] = *p;
        c->values.p[i - 1] = v;
    }
    return true;
}

/* Those that read the root's x as the root does; the root takes the first element, so that one of them asks. */
static bool find_cover(const gi_match *m, cover *c)
{
    enum { MAX_PARTS = 1024 };
    gi_part root;
    uint32_t n;
    *c = (cover){ .dropping = 0 };
    if (!gi_part_of(m->root->out[0], &root) || root.first != 0 || root.step != 1 || gi_value_blob(m->x) ||
        gi_value_known(m->x, &n))
        return false;
    for (const gi_use *u = m->x->uses; u; u = u->next) {
        gi_part p;
        if (!u->node || u->index != 0 || u->node->block != m->root->block || u->node->op == OP_Split ||
            !gi_part_of(u->node->out[0], &p) || p.axis != root.axis || p.step != 1)
            continue;
        if (c->parts.n == MAX_PARTS || !insert_part(m->scratch, c, &p, u->node->out[0]))
            return false;
        c->dropping += p.drops;
    }
    return true;
}

static bool parts_cover(const gi_match *m, gi_reason *why)
{
    cover c;
    if (!find_cover(m, &c) || c.parts.n < 2 || c.parts.n - c.dropping < 2)
        return false;
    int64_t at = 0;
    for (size_t i = 0; i < c.parts.n; i++) {
        if (c.parts.p[i].first != at)
            return gi_decline(why, "what %zu nodes take of axis %d %s at element %lld", c.parts.n, c.parts.p[0].axis,
                              c.parts.p[i].first < at ? "overlaps" : "leaves a gap", (long long)at);
        at += c.parts.p[i].count;
    }
    return at == c.parts.p[0].dim || gi_decline(why, "together they take %lld of the %lld elements of axis %d",
                                                (long long)at, (long long)c.parts.p[0].dim, c.parts.p[0].axis);
}

static gi_value *squeeze_behind(gi_rewrite *r, gi_value *x, int axis)
{
    const int64_t axes = axis;
    gi_value *a = gi_const_i64(r->g, 1, 1, &axes);
    return a ? gi_rw_done(r, gi_rw_node_behind(r, x, OP_Squeeze, 2, (gi_value *[]){ x, a }, 1)) : NULL;
}

static gi_value *make_split(gi_rewrite *r, const gi_match *m)
{
    cover c;
    if (!find_cover(m, &c))
        return NULL;
    int64_t *lengths = GI_NEW_ARRAY(r->scratch, int64_t, c.parts.n);
    if (!lengths)
        return NULL;
    for (size_t i = 0; i < c.parts.n; i++)
        lengths[i] = c.parts.p[i].count;
    gi_value *own = NULL;
    const gi_node *split = gi_split_build(r, m->x, c.parts.p[0].axis, (uint32_t)c.parts.n, lengths);
    for (size_t i = 0; split && i < c.parts.n; i++) {
        gi_value *v = split->out[i];
        if (c.parts.p[i].drops)
            v = squeeze_behind(r, v, c.parts.p[i].axis);
        if (!v)
            return NULL;
        if (c.values.p[i] == m->root->out[0])
            own = v;
        else if (!gi_rw_also(r, c.values.p[i], v))
            return NULL;
    }
    return own;
}

/* ---- splits ---- */

static bool has_one_part(const gi_match *m, gi_reason *why)
{
    (void)why;
    return m->root->n_out == 1;
}

/* The only output that is read, of at least two; NULL where there are more. */
static gi_value *only_read(const gi_node *split)
{
    gi_value *only = NULL;
    for (uint32_t i = 0; i < split->n_out; i++) {
        if (split->out[i]->n_uses && only)
            return NULL;
        if (split->out[i]->n_uses)
            only = split->out[i];
    }
    return split->n_out > 1 ? only : NULL;
}

static bool has_one_reader(const gi_match *m, gi_reason *why)
{
    (void)why;
    gi_part p;
    const gi_value *only = only_read(m->root);
    return only && gi_part_of(only, &p);
}

static gi_value *slice_instead(gi_rewrite *r, const gi_match *m)
{
    gi_part p;
    gi_value *only = only_read(m->root);
    if (!only || !gi_part_of(only, &p))
        return NULL;
    const gi_span s = { .n = 1, .axis = { p.axis }, .start = { p.first }, .end = { p.first + p.count }, .step = { 1 } };
    gi_value *y = gi_span_build(r, m->x, &s);
    if (y && only != m->root->out[0] && !gi_rw_also(r, only, y))
        return NULL;
    return y;
}

/* The Concat's inputs that make up each output; false where one is cut. */
static bool deal_parts(const gi_match *m, gi_arena *scratch, parts_run **runs, int *axis)
{
    const gi_node *concat = gi_value_node(m->y);
    int own;
    int64_t at = 0, *length = GI_NEW_ARRAY(scratch, int64_t, m->root->n_out);
    *runs = GI_NEW_ARRAY(scratch, parts_run, m->root->n_out);
    if (!*runs || !length || !concat_axis(concat, axis) || !gi_split_lengths(m->root, &own, length) || own != *axis)
        return false;
    for (uint32_t i = 0; i < m->root->n_out; i++) {
        if (length[i] == 0 || !find_run(concat, *axis, at, at + length[i], &(*runs)[i]) || (*runs)[i].begin != at ||
            (*runs)[i].stop != at + length[i])
            return false;
        at += length[i];
    }
    return true;
}

static bool splits_into_parts(const gi_match *m, gi_reason *why)
{
    (void)why;
    parts_run *runs;
    int axis;
    uint32_t made = 0;
    if (!deal_parts(m, m->scratch, &runs, &axis))
        return false;
    for (uint32_t i = 0; i < m->root->n_out; i++)
        made += m->root->out[i]->n_uses && runs[i].end - runs[i].first > 1;
    return made < 1u + (m->y->n_uses == 1);
}

static gi_value *make_parts(gi_rewrite *r, const gi_match *m)
{
    parts_run *runs;
    int axis;
    gi_value *first = NULL;
    if (!deal_parts(m, r->scratch, &runs, &axis))
        return NULL;
    for (uint32_t i = 0; i < m->root->n_out; i++) {
        if (!m->root->out[i]->n_uses && i)
            continue;
        gi_value *v = m->root->out[i]->n_uses ? build_run(r, gi_value_node(m->y), axis, &runs[i]) : m->y;
        if (!v)
            return NULL;
        if (i == 0)
            first = v;
        else if (!gi_rw_also(r, m->root->out[i], v))
            return NULL;
    }
    return first;
}

/* The Split that x is an output of, along the same axis, if the root alone reads x. */
static gi_node *outer_split(const gi_match *m, int *axis)
{
    gi_node *outer = gi_value_node(m->x);
    int own;
    const bool same = outer && outer->op == OP_Split && outer->block == m->root->block && m->x->n_uses == 1 &&
                      gi_axis(gi_attr_int(outer, Split_at_axis), gi_value_rank(m->x), axis) &&
                      gi_axis(gi_attr_int(m->root, Split_at_axis), gi_value_rank(m->x), &own) && own == *axis;
    return same ? outer : NULL;
}

static bool splits_a_part(const gi_match *m, gi_reason *why)
{
    (void)why;
    int axis;
    const gi_node *outer = outer_split(m, &axis);
    if (!outer)
        return false;
    int64_t *a = GI_NEW_ARRAY(m->scratch, int64_t, outer->n_out),
            *b = GI_NEW_ARRAY(m->scratch, int64_t, m->root->n_out);
    return a && b && gi_split_lengths(outer, &axis, a) && gi_split_lengths(m->root, &axis, b);
}

static gi_value *join_splits(gi_rewrite *r, const gi_match *m)
{
    int axis;
    const gi_node *outer = outer_split(m, &axis);
    if (!outer)
        return NULL;
    const uint32_t at = m->x->index, n = outer->n_out + m->root->n_out - 1;
    int64_t *lengths = GI_NEW_ARRAY(r->scratch, int64_t, n);
    int64_t *inner = GI_NEW_ARRAY(r->scratch, int64_t, outer->n_out);
    if (!lengths || !inner || !gi_split_lengths(outer, &axis, inner) || !gi_split_lengths(m->root, &axis, lengths + at))
        return NULL;
    memcpy(lengths, inner, at * sizeof *lengths);
    memcpy(lengths + at + m->root->n_out, inner + at + 1, (outer->n_out - at - 1) * sizeof *lengths);
    const gi_node *s = gi_split_build(r, gi_node_in(outer, 0), axis, n, lengths);
    if (!s || !gi_node_merge_origins(r->made.p[0], outer))
        return NULL;
    for (uint32_t i = 0; i < n; i++) {
        const bool ours = i >= at && i < at + m->root->n_out;
        gi_value *from = ours ? m->root->out[i - at] : outer->out[i < at ? i : i - m->root->n_out + 1];
        if (from != m->root->out[0] && !gi_rw_also(r, from, s->out[i]))
            return NULL;
    }
    return s->out[at];
}

/* ---- putting together ---- */

/* Nothing but the user reads v, and it goes when the user does. */
static bool goes_along(const gi_value *v, const gi_node *user)
{
    const gi_node *n = gi_value_node(v);
    return n && n->block == user->block && n->n_out == 1 && v->n_uses == 1;
}

/* Inputs first … end - 1 are all the outputs of one Split, in any order, each read here alone. */
static bool is_whole_split(const gi_node *concat, uint32_t first, uint32_t end)
{
    const gi_node *s = gi_value_node(gi_node_in(concat, first));
    if (!s || s->op != OP_Split || s->block != concat->block || s->n_out != end - first)
        return false;
    for (uint32_t i = first; i < end; i++)
        if (gi_value_node(gi_node_in(concat, i)) != s || gi_node_in(concat, i)->n_uses != 1)
            return false;
    return true;
}

/* Is v the output of a Split behind the one that `before` is? It is then that much longer. Asked first, since what part
 * an output is takes a look at all outputs before it. */
static bool comes_next(const gi_value *before, const gi_value *v, int axis, int64_t *length)
{
    const gi_node *n = gi_value_node(v);
    *length = v ? gi_value_dim(v, axis) : -1;
    return n && n->op == OP_Split && gi_value_node(before) == n && v->index == before->index + 1 && *length > 0;
}

/* Inputs of the Concat from `first` on that follow each other in one value; *to is what they are together. */
static uint32_t follow_parts(const gi_node *concat, int axis, uint32_t first, gi_part *to)
{
    uint32_t i = first;
    gi_part p;
    if (!gi_part_of(gi_node_in(concat, i), to) || to->axis != axis || to->drops || (to->step != 1 && to->count > 1))
        return first + 1;
    for (i++; i < concat->n_in; i++) {
        int64_t length;
        if (comes_next(gi_node_in(concat, i - 1), gi_node_in(concat, i), axis, &length)) {
            if (length > to->dim - to->first - to->count) /* no Split could be like that */
                break;
            to->count += length;
            continue;
        }
        if (!gi_part_of(gi_node_in(concat, i), &p) || p.axis != axis || p.x != to->x || p.drops ||
            (p.step != 1 && p.count > 1) || p.first != to->first + to->count)
            break;
        to->count += p.count;
    }
    return i;
}

/* Nodes more than before, where inputs first … end - 1 become one. */
static int64_t cost_of_run(const gi_node *concat, uint32_t first, uint32_t end, const gi_part *together)
{
    int64_t cost = together->count != together->dim;
    if (is_whole_split(concat, first, end))
        return cost - 1;
    for (uint32_t i = first; i < end; i++)
        cost -= goes_along(gi_node_in(concat, i), concat);
    return cost;
}

/* The Concat's inputs with those that belong together joined; false where that makes no fewer nodes. Builds where
 * r is given. */
static bool join_runs(const gi_match *m, gi_rewrite *r, gi_values *parts)
{
    const gi_node *concat = m->root;
    int axis;
    int64_t cost = 0;
    uint32_t n = 0;
    if (!concat_axis(concat, &axis))
        return false;
    for (uint32_t i = 0, end; i < concat->n_in; i = end) {
        gi_part p;
        end = follow_parts(concat, axis, i, &p);
        const int64_t own = end > i + 1 ? cost_of_run(concat, i, end, &p) : 0;
        const bool worth = own < 0 || (i == 0 && end == concat->n_in && end > 1);
        cost += worth ? own : 0;
        n += worth ? 1 : end - i; /* nor is any shorter part of what is not worth it */
        for (uint32_t k = i; r && !worth && k < end; k++)
            if (!gi_push(r->scratch, parts, gi_node_in(concat, k)))
                return false;
        if (!r || !worth)
            continue;
        const gi_span s = {
            .n = p.count != p.dim, .axis = { axis }, .start = { p.first }, .end = { p.first + p.count }, .step = { 1 }
        };
        gi_value *v = gi_span_build(r, p.x, &s);
        if (!v || !gi_push(r->scratch, parts, v))
            return false;
    }
    return cost - (n == 1) < 0 && concat->n_in > 1;
}

static bool parts_are_neighbours(const gi_match *m, gi_reason *why)
{
    (void)why;
    return join_runs(m, NULL, NULL);
}

static gi_value *join_parts(gi_rewrite *r, const gi_match *m)
{
    gi_values parts = { 0 };
    int axis;
    if (!concat_axis(m->root, &axis) || !join_runs(m, r, &parts))
        return NULL;
    return build_concat(r, (uint32_t)parts.n, parts.p, axis);
}

/* ---- parts in another order ---- */

static bool parts_are_of_one(const gi_match *m, gi_reason *why)
{
    (void)why;
    enum { MAX_INDICES = 65536 };
    const gi_node *concat = m->root;
    int axis;
    gi_part p, first;
    int64_t going = is_whole_split(concat, 0, concat->n_in), count = 0;
    if (!concat_axis(concat, &axis) || concat->n_in < 2 || !gi_part_of(gi_node_in(concat, 0), &first))
        return false;
    for (uint32_t i = 0; i < concat->n_in; i++) {
        if (!gi_part_of(gi_node_in(concat, i), &p) || p.x != first.x || p.axis != axis || p.drops)
            return false;
        going += goes_along(gi_node_in(concat, i), concat);
        count += p.count;
        if (count > MAX_INDICES)
            return false;
    }
    return going > 0;
}

static gi_value *gather_parts(gi_rewrite *r, const gi_match *m)
{
    gi_vec(int64_t) at = { 0 };
    gi_part p;
    for (uint32_t i = 0; i < m->root->n_in; i++) {
        if (!gi_part_of(gi_node_in(m->root, i), &p))
            return NULL;
        for (int64_t k = 0; k < p.count; k++)
            if (!gi_push(r->scratch, &at, p.first + k * p.step))
                return NULL;
    }
    gi_value *indices = gi_const_i64(r->g, 1, (int64_t)at.n, at.p);
    gi_node *n = indices ? gi_rw_node(r, OP_Gather, 2, (gi_value *[]){ p.x, indices }, 1) : NULL;
    if (!n)
        return NULL;
    gi_attr_set_int(n, Gather_at_axis, p.axis);
    return gi_rw_done(r, n);
}

/* ---- turned twice ---- */

/* What the root turns back, and the moves from there. */
static gi_value *turned_twice(const gi_match *m, gi_layout *l)
{
    enum { MAX_MOVES = 8 };
    const gi_node *chain[MAX_MOVES];
    uint32_t n = 0;
    gi_value *v = m->y;
    gi_span s;
    if (!gi_span_read(m->root, &s) || s.n != 1 || !gi_flipped(m->root->out[0], s.axis[0]))
        return NULL;
    for (const gi_node *at; n < MAX_MOVES && gi_is_move(at = gi_value_node(v)); v = gi_node_in(at, 0))
        chain[n++] = at;
    for (int axis = 0; axis < gi_value_rank(v); axis++) {
        gi_value *x = gi_flipped(v, axis);
        if (!x || gi_value_node(v)->block != m->root->block || !gi_layout_begin(l, m->g, v->type))
            continue;
        const uint32_t atom = axis ? l->from_end[axis - 1] : 0, atoms = l->n;
        const bool known = l->from_end[axis] == atom + 1;
        for (uint32_t i = n; i-- > 0;)
            if (!gi_layout_apply(l, chain[i]))
                return NULL;
        const uint32_t to = s.axis[0] ? l->to_end[s.axis[0] - 1] : 0;
        /* cut atoms could be another's: then none may be cut */
        if (known && l->n == atoms && l->to_end[s.axis[0]] == to + 1 && l->to[to] == atom)
            return gi_layout_cost(l) >= 0 && gi_layout_cost(l) <= (int)n ? x : NULL;
        return NULL;
    }
    return NULL;
}

static bool flips_back(const gi_match *m, gi_reason *why)
{
    (void)why;
    gi_layout l;
    return turned_twice(m, &l) != NULL;
}

static gi_value *drop_flips(gi_rewrite *r, const gi_match *m)
{
    gi_layout l;
    gi_value *x = turned_twice(m, &l);
    return x ? gi_layout_build(r, &l, x) : NULL;
}

#include "passes/rows.h"
#include "passes/rules/slice.def"
