/* Rules of sequences and optionals of which it is known what they hold: exporters of lists leave them behind. */
#include "passes/parts.h"

static gi_value *make_x(gi_rewrite *r, const gi_match *m)
{
    (void)r;
    return m->x;
}

/* The one integer of a constant. */
static bool read_number(const gi_value *k, int64_t *v)
{
    const gi_blob *b = gi_value_blob(k);
    if (!b || gi_blob_elements(b) != 1 || !gi_dtype_is_int(b->dtype))
        return false;
    *v = gi_load_i64(b->dtype, b->data, 0);
    return true;
}

/* The constant position among `count`, the last one allowed being `most`; `missing` where there is none. */
static bool read_position(const gi_value *k, int64_t count, int64_t most, int64_t missing, int64_t *at, gi_reason *why)
{
    int64_t given = missing;
    if (k && !read_number(k, &given))
        return false;
    *at = given < 0 && given >= -count ? given + count : given;
    return (*at >= 0 && *at <= most) ||
           gi_decline(why, "position %lld lies outside a sequence of %lld", (long long)given, (long long)count);
}

/* ---- constructed ones ---- */

static bool position_is_known(const gi_match *m, gi_reason *why)
{
    int64_t at;
    const int64_t count = gi_value_node(m->s)->n_in;
    return read_position(m->i, count, count - 1, 0, &at, why);
}

static gi_value *take_item(gi_rewrite *r, const gi_match *m)
{
    (void)r;
    int64_t at;
    gi_reason why = { .arena = r->scratch };
    const gi_node *n = gi_value_node(m->s);
    return read_position(m->i, n->n_in, (int64_t)n->n_in - 1, 0, &at, &why) ? gi_node_in(n, (uint32_t)at) : NULL;
}

static gi_value *write_length(gi_rewrite *r, const gi_match *m)
{
    return gi_const_i64(r->g, 0, 1, (const int64_t[]){ gi_value_node(m->s)->n_in });
}

static bool joins_as_they_are(const gi_match *m, gi_reason *why)
{
    const uint32_t count = gi_value_node(m->s)->n_in;
    return count == 1 || !gi_attr_int(m->root, ConcatFromSequence_at_new_axis) ||
           gi_decline(why, "each of its %u items would need an Unsqueeze: %u nodes instead of 2", count, count + 1);
}

static gi_value *join_items(gi_rewrite *r, const gi_match *m)
{
    const gi_node *n = gi_value_node(m->s);
    const int64_t axis = gi_attr_int(m->root, ConcatFromSequence_at_axis);
    if (gi_attr_int(m->root, ConcatFromSequence_at_new_axis)) {
        gi_value *a = gi_const_i64(r->g, 1, 1, &axis);
        return a ? gi_rw_build(r, OP_Unsqueeze, 2, (gi_value *[]){ gi_node_in(n, 0), a }) : NULL;
    }
    gi_value **in = GI_NEW_ARRAY(r->scratch, gi_value *, n->n_in);
    for (uint32_t i = 0; in && i < n->n_in; i++)
        in[i] = n->in[i].value;
    gi_node *c = in ? gi_rw_node(r, OP_Concat, n->n_in, in, 1) : NULL;
    if (!c)
        return NULL;
    gi_attr_set_int(c, Concat_at_axis, axis);
    return gi_rw_done(r, c);
}

/* ---- chains of insertions and erasures ----
 *
 * Taken from its last node, and whole: one after another they would each make a SequenceConstruct of all items, which
 * is quadratic. */

enum { MOST_MOVED = 1 << 26 }; /* items that insertions in front move on, in all */

static bool edits(const gi_node *n)
{
    int64_t at;
    return n && (n->op == OP_SequenceInsert || n->op == OP_SequenceErase) &&
           (!gi_node_in(n, n->op == OP_SequenceInsert ? SequenceInsert_in_position : SequenceErase_in_position) ||
            read_number(
                gi_node_in(n, n->op == OP_SequenceInsert ? SequenceInsert_in_position : SequenceErase_in_position),
                &at));
}

static bool is_made_of_items(const gi_node *n)
{
    return n && (n->op == OP_SequenceConstruct || n->op == OP_SequenceEmpty);
}

/* Does the next node of a chain take n in? */
static bool is_inside_chain(const gi_node *n)
{
    const gi_node *user = gi_value_only_user(n->out[0]);
    return edits(user) && user->block == n->block && gi_node_in(user, 0) == n->out[0];
}

static bool edit(gi_values *items, const gi_node *n, gi_arena *a, int64_t *moved, gi_reason *why)
{
    const bool inserts = n->op == OP_SequenceInsert;
    const int64_t count = (int64_t)items->n, most = inserts ? count : count - 1;
    int64_t at;
    if (!read_position(gi_node_in(n, inserts ? SequenceInsert_in_position : SequenceErase_in_position), count, most,
                       most, &at, why))
        return false;
    *moved += count - at;
    if (*moved > MOST_MOVED)
        return gi_decline(why, "more than %d items would be moved", MOST_MOVED);
    if (inserts && !gi_push(a, items, NULL))
        return false;
    gi_value **from = items->p + at;
    if (inserts) {
        memmove(from + 1, from, (size_t)(count - at) * sizeof *from);
        *from = gi_node_in(n, SequenceInsert_in_tensor);
    } else {
        memmove(from, from + 1, (size_t)(count - at - 1) * sizeof *from);
        items->n--;
    }
    return true;
}

/* What the chain that ends with the root comes to. */
static bool find_items(gi_match *m, gi_reason *why)
{
    gi_vec(const gi_node *) chain = { 0 };
    gi_values *items = GI_NEW_ARRAY(m->scratch, gi_values, 1);
    int64_t moved = 0;
    const gi_node *n = m->root;
    if (!items || !edits(n) || is_inside_chain(n))
        return false;
    for (; edits(n) && n->block == m->root->block; n = gi_value_node(gi_node_in(n, 0))) {
        const gi_value *s = gi_node_in(n, 0);
        if (!gi_push(m->scratch, &chain, n))
            return false;
        if (s->n_uses > 1)
            return gi_decline(why, "the sequence before it has %u users: %s", s->n_uses, gi_value_users(s, m->scratch));
        if (m->n_nodes < GI_MATCH_NODES && n != m->root)
            m->nodes[m->n_nodes++] = gi_value_node(n->out[0]);
    }
    if (!is_made_of_items(n) || n->block != m->root->block)
        return false;
    for (uint32_t i = 0; i < n->n_in; i++)
        if (!gi_node_in(n, i) || !gi_push(m->scratch, items, gi_node_in(n, i)))
            return false;
    for (size_t i = chain.n; i-- > 0;)
        if (!edit(items, chain.p[i], m->scratch, &moved, why))
            return false;
    m->data = items;
    return items->n > 0 || gi_decline(why, "nothing would be left");
}

static gi_value *construct(gi_rewrite *r, const gi_match *m)
{
    const gi_values *items = m->data;
    return gi_rw_build(r, OP_SequenceConstruct, (uint32_t)items->n, items->p);
}

/* ---- split ones ---- */

enum { MOST_READERS = 4096 }; /* of one sequence, each of which looks at all others */

typedef struct piece {
    int axis;
    bool drops;            /* one entry, and the axis goes */
    int64_t first, length; /* INT64_MAX: to the end */
} piece;

/* How a SplitToSequence cuts. */
typedef struct cuts {
    int axis;
    int64_t dim;            /* -1: not known */
    const gi_blob *lengths; /* a list of them; NULL: all of them `every` long, but for the last */
    int64_t every, count;   /* count -1: not known */
    bool drops;             /* the axis goes */
} cuts;

static bool read_cuts(const gi_node *split, cuts *c, gi_reason *why)
{
    const gi_value *x = gi_node_in(split, 0), *l = gi_node_in(split, SplitToSequence_in_split);
    const gi_blob *lengths = gi_value_blob(l);
    *c = (cuts){ .every = 1, .count = -1 };
    if (!gi_axis(gi_attr_int(split, SplitToSequence_at_axis), gi_value_rank(x), &c->axis))
        return gi_decline(why, "the rank of what it splits is not known");
    c->dim = gi_value_dim(x, c->axis);
    if (l && (!lengths || !gi_dtype_is_int(lengths->dtype) || lengths->rank > 1))
        return gi_decline(why, "the lengths of the pieces are not constant");
    if (lengths && lengths->rank == 1) {
        c->lengths = lengths;
        c->count = gi_blob_elements(lengths);
        return true;
    }
    if (lengths)
        c->every = gi_load_i64(lengths->dtype, lengths->data, 0);
    c->drops = c->every == 1 && !gi_attr_int(split, SplitToSequence_at_keepdims); /* ops/sequence.c says why */
    if (c->every > 0 && c->dim >= 0)
        c->count = c->dim / c->every + (c->dim % c->every != 0);
    return c->every > 0;
}

static bool read_piece_position(const cuts *c, const gi_value *k, int64_t *at, gi_reason *why)
{
    int64_t given;
    if (c->count >= 0)
        return read_position(k, c->count, c->count - 1, 0, at, why);
    if (!read_number(k, &given))
        return false;
    *at = given;
    return given >= 0 || gi_decline(why, "position %lld counts from an end that is not known", (long long)given);
}

static bool read_piece(const gi_node *split, const gi_value *k, piece *p, gi_reason *why)
{
    cuts c;
    int64_t at, end;
    if (!read_cuts(split, &c, why) || !read_piece_position(&c, k, &at, why))
        return false;
    *p = (piece){ .axis = c.axis };
    if (!c.lengths) {
        p->drops = c.drops;
        if (!gi_mul_i64(at, c.every, &p->first))
            return false;
        p->length = c.dim >= 0 ? gi_min_i64(c.every, c.dim - p->first) : c.every;
        return gi_add_i64(p->first, p->length, &end);
    }
    for (int64_t i = 0; i <= at; i++) {
        if (!gi_add_i64(p->first, p->length, &p->first))
            return false;
        p->length = gi_load_i64(c.lengths->dtype, c.lengths->data, (size_t)i);
        if (p->length < 0)
            return gi_decline(why, "piece %lld would have %lld entries", (long long)i, (long long)p->length);
    }
    return gi_add_i64(p->first, p->length, &end) && (c.dim < 0 || end <= c.dim);
}

/* All that reads the sequence goes: how many there are is known too, where pieces are. */
static bool piece_is_known(const gi_match *m, gi_reason *why)
{
    piece p;
    cuts c;
    int64_t at;
    const gi_node *split = gi_value_node(m->s);
    if (!read_piece(split, m->i, &p, why) || !read_cuts(split, &c, why))
        return false;
    if (m->s->n_uses > MOST_READERS)
        return gi_decline(why, "its sequence has %u readers, and those of more than %d are left as they are",
                          m->s->n_uses, MOST_READERS);
    for (const gi_use *u = m->s->uses; u; u = u->next) {
        if (u->node && u->node->block == m->root->block && u->node->op == OP_SequenceLength && c.count >= 0)
            continue;
        if (!u->node || u->node->op != OP_SequenceAt || u->node->block != m->root->block)
            return gi_decline(why, "its sequence is read otherwise too: %s", gi_value_users(m->s, m->scratch));
        if (!gi_value_blob(gi_node_in(u->node, SequenceAt_in_position)))
            return gi_decline(why, "its sequence is also read at a position that is not constant, by %s",
                              gi_node_label(u->node, m->scratch));
        if (!read_piece_position(&c, gi_node_in(u->node, SequenceAt_in_position), &at, why))
            return false;
    }
    return true;
}

static gi_value *take_piece(gi_rewrite *r, const gi_match *m)
{
    piece p;
    gi_reason why = { .arena = r->scratch };
    if (!read_piece(gi_value_node(m->s), m->i, &p, &why))
        return NULL;
    if (!p.drops) {
        const gi_span s = {
            .n = 1, .axis = { p.axis }, .start = { p.first }, .end = { p.first + p.length }, .step = { 1 }
        };
        return gi_span_build(r, m->x, &s);
    }
    gi_value *i = gi_const_i64(r->g, 0, 1, &p.first);
    gi_node *n = i ? gi_rw_node(r, OP_Gather, 2, (gi_value *[]){ m->x, i }, 1) : NULL;
    if (!n)
        return NULL;
    gi_attr_set_int(n, Gather_at_axis, p.axis);
    return gi_rw_done(r, n);
}

static bool pieces_are_counted(const gi_match *m, gi_reason *why)
{
    cuts c;
    return read_cuts(gi_value_node(m->s), &c, why) &&
           (c.count >= 0 || gi_decline(why, "the length of axis %d is not known", c.axis));
}

static gi_value *write_count(gi_rewrite *r, const gi_match *m)
{
    cuts c;
    gi_reason why = { .arena = r->scratch };
    return read_cuts(gi_value_node(m->s), &c, &why) ? gi_const_i64(r->g, 0, 1, &c.count) : NULL;
}

static bool joins_what_it_split(const gi_match *m, gi_reason *why)
{
    const gi_node *split = gi_value_node(m->s);
    int axis, own;
    const int rank = gi_value_rank(m->x);
    int64_t every = 1;
    const bool listed = m->l && gi_value_rank(m->l) > 0;
    const bool may_drop = !listed && !gi_attr_int(split, SplitToSequence_at_keepdims);
    if (may_drop && m->l && !read_number(m->l, &every))
        return gi_decline(why, "whether it drops the axis is known only at run time");
    const bool drops = may_drop && every == 1;
    const bool adds = gi_attr_int(m->root, ConcatFromSequence_at_new_axis) != 0;
    if (!gi_axis(gi_attr_int(split, SplitToSequence_at_axis), rank, &axis) ||
        !gi_axis(gi_attr_int(m->root, ConcatFromSequence_at_axis), rank, &own))
        return false;
    if (axis != own)
        return gi_decline(why, "it splits along axis %d, and joins along axis %d", axis, own);
    return drops == adds ||
           gi_decline(why, drops ? "it drops the axis, and adds none" : "it adds an axis that was kept");
}

/* ---- optionals ---- */

static bool is_no_optional(const gi_match *m, gi_reason *why)
{
    return (m->x->type && m->x->type->kind != GOPT_OPTIONAL) ||
           gi_decline(why, "whether %s holds anything is known only at run time", gi_value_ref(m->x, m->scratch));
}

static gi_value *write_bool(gi_rewrite *r, bool v)
{
    gi_blob *b;
    if (gi_blob_create(r->g->cx, GOPT_BOOL, 0, NULL, &b) != GOPT_OK)
        return NULL;
    gi_store_i64(GOPT_BOOL, b->owned, 0, v);
    return gi_const(r->g, b, NULL);
}

static gi_value *make_true(gi_rewrite *r, const gi_match *m)
{
    (void)m;
    return write_bool(r, true);
}

static bool holds_nothing(const gi_match *m, gi_reason *why)
{
    const gi_node *o = gi_value_node(gi_node_in(m->root, 0));
    (void)why;
    return !gi_node_in(m->root, 0) || (o && o->op == OP_Optional && !gi_node_in(o, 0));
}

static gi_value *make_false(gi_rewrite *r, const gi_match *m)
{
    (void)m;
    return write_bool(r, false);
}

#include "passes/rows.h"
#include "passes/rules/sequence.def"
