/* Rules of sequences and optionals of which it is known what they hold: exporters of lists leave them behind. */
#include "passes/parts.h"

static gi_value *make_x(gi_rewrite *r, const gi_match *m)
{
    (void)r;
    return m->x;
}

/* The constant position among n; `missing` where there is none. False where it lies outside. */
static bool read_position(const gi_value *k, int64_t n, int64_t missing, int64_t *at)
{
    const gi_blob *b = gi_value_blob(k);
    if (!k) {
        *at = missing;
        return true;
    }
    if (!b || gi_blob_elements(b) != 1 || !gi_dtype_is_int(b->dtype))
        return false;
    *at = gi_load_i64(b->dtype, b->data, 0);
    *at += *at < 0 ? n : 0;
    return *at >= 0 && *at < n;
}

/* ---- constructed ones ---- */

static bool position_is_known(const gi_match *m, gi_reason *why)
{
    (void)why;
    int64_t at;
    return read_position(m->i, gi_value_node(m->s)->n_in, 0, &at);
}

static gi_value *take_item(gi_rewrite *r, const gi_match *m)
{
    (void)r;
    int64_t at;
    const gi_node *n = gi_value_node(m->s);
    return read_position(m->i, n->n_in, 0, &at) ? gi_node_in(n, (uint32_t)at) : NULL;
}

static gi_value *write_length(gi_rewrite *r, const gi_match *m)
{
    return gi_const_i64(r->g, 0, 1, (const int64_t[]){ m->nodes[1]->n_in });
}

static bool joins_as_they_are(const gi_match *m, gi_reason *why)
{
    (void)why;
    return gi_value_node(m->s)->n_in == 1 || !gi_attr_int(m->root, ConcatFromSequence_at_new_axis);
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

/* Items of the shorter or longer sequence: those of n, with x at a place or without the one there. */
static gi_value *construct(gi_rewrite *r, const gi_node *n, int64_t at, gi_value *x)
{
    const uint32_t n_in = n->op == OP_SequenceEmpty ? 0 : n->n_in, count = x ? n_in + 1 : n_in - 1;
    gi_value **in = GI_NEW_ARRAY(r->scratch, gi_value *, count);
    uint32_t from = 0;
    for (uint32_t i = 0; in && i < count; i++) {
        from += !x && from == (uint32_t)at;
        in[i] = x && i == (uint32_t)at ? x : n->in[from++].value;
    }
    return in ? gi_rw_build(r, OP_SequenceConstruct, count, in) : NULL;
}

static bool insert_is_known(const gi_match *m, gi_reason *why)
{
    (void)why;
    int64_t at;
    const gi_node *n = gi_value_node(m->s);
    const int64_t count = n->op == OP_SequenceEmpty ? 0 : n->n_in;
    if (!m->i)
        return true;
    const gi_blob *b = gi_value_blob(m->i);
    if (gi_blob_elements(b) != 1 || !gi_dtype_is_int(b->dtype))
        return false;
    at = gi_load_i64(b->dtype, b->data, 0);
    return at >= -count && at <= count;
}

static gi_value *construct_longer(gi_rewrite *r, const gi_match *m)
{
    const gi_node *n = gi_value_node(m->s);
    const gi_blob *b = gi_value_blob(m->i);
    const int64_t count = n->op == OP_SequenceEmpty ? 0 : n->n_in;
    int64_t at = b ? gi_load_i64(b->dtype, b->data, 0) : count;
    return construct(r, n, at < 0 ? at + count : at, m->x);
}

static bool erase_is_known(const gi_match *m, gi_reason *why)
{
    (void)why;
    int64_t at;
    const int64_t count = gi_value_node(m->s)->n_in;
    return count > 1 && read_position(m->i, count, count - 1, &at);
}

static gi_value *construct_shorter(gi_rewrite *r, const gi_match *m)
{
    int64_t at;
    const gi_node *n = gi_value_node(m->s);
    return read_position(m->i, n->n_in, (int64_t)n->n_in - 1, &at) ? construct(r, n, at, NULL) : NULL;
}

/* ---- split ones ---- */

typedef struct piece {
    int axis;
    int64_t first, length; /* length 0: one entry, and the axis goes */
} piece;

static bool read_piece(const gi_node *split, const gi_value *position, piece *p)
{
    gi_value *x = gi_node_in(split, 0), *l = gi_node_in(split, SplitToSequence_in_split);
    const gi_blob *lengths = gi_value_blob(l);
    int64_t at, dim;
    if (!gi_axis(gi_attr_int(split, SplitToSequence_at_axis), gi_value_rank(x), &p->axis) || (l && !lengths))
        return false;
    dim = gi_value_dim(x, p->axis);
    const gi_blob *b = gi_value_blob(position);
    if (!b || gi_blob_elements(b) != 1 || !gi_dtype_is_int(b->dtype))
        return false;
    at = gi_load_i64(b->dtype, b->data, 0);
    if (!lengths) {
        at += at < 0 && dim >= 0 ? dim : 0;
        *p = (piece){ p->axis, at, gi_attr_int(split, SplitToSequence_at_keepdims) ? 1 : 0 };
        return at >= 0 && (dim < 0 || at < dim);
    }
    if (!gi_dtype_is_int(lengths->dtype) || dim < 0)
        return false;
    if (lengths->rank == 0) {
        const int64_t chunk = gi_load_i64(lengths->dtype, lengths->data, 0);
        const int64_t count = chunk > 0 ? dim / chunk + (dim % chunk != 0) : 0;
        at += at < 0 ? count : 0;
        if (at < 0 || at >= count)
            return false;
        p->first = at * chunk;
        p->length = gi_min_i64(chunk, dim - p->first);
        return true;
    }
    const int64_t count = gi_blob_elements(lengths);
    at += at < 0 ? count : 0;
    if (at < 0 || at >= count)
        return false;
    p->first = 0;
    for (int64_t i = 0; i <= at; i++) {
        p->first += i ? p->length : 0;
        p->length = gi_load_i64(lengths->dtype, lengths->data, (size_t)i);
        if (p->length < 0 || p->length > dim || p->first > dim)
            return false;
    }
    return p->length > 0 && p->first + p->length <= dim;
}

static bool piece_is_known(const gi_match *m, gi_reason *why)
{
    (void)why;
    piece p;
    for (const gi_use *u = m->s->uses; u; u = u->next)
        if (!u->node || u->node->op != OP_SequenceAt || u->node->block != m->root->block ||
            !read_piece(gi_value_node(m->s), gi_node_in(u->node, SequenceAt_in_position), &p))
            return false;
    return true;
}

static gi_value *take_piece(gi_rewrite *r, const gi_match *m)
{
    piece p;
    if (!read_piece(gi_value_node(m->s), m->i, &p))
        return NULL;
    if (p.length) {
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

static bool joins_what_it_split(const gi_match *m, gi_reason *why)
{
    (void)why;
    const gi_node *split = gi_value_node(m->s);
    int axis, own;
    const int rank = gi_value_rank(m->x);
    const bool drops = !m->l && !gi_attr_int(split, SplitToSequence_at_keepdims);
    return gi_axis(gi_attr_int(split, SplitToSequence_at_axis), rank, &axis) &&
           gi_axis(gi_attr_int(m->root, ConcatFromSequence_at_axis), rank, &own) && axis == own &&
           drops == (gi_attr_int(m->root, ConcatFromSequence_at_new_axis) != 0);
}

/* ---- optionals ---- */

static bool is_no_optional(const gi_match *m, gi_reason *why)
{
    (void)why;
    return m->x->type && m->x->type->kind != GOPT_OPTIONAL;
}

static gi_value *make_true(gi_rewrite *r, const gi_match *m)
{
    (void)m;
    gi_blob *b;
    if (gi_blob_create(r->g->cx, GOPT_BOOL, 0, NULL, &b) != GOPT_OK)
        return NULL;
    gi_store_i64(GOPT_BOOL, b->owned, 0, 1);
    return gi_const(r->g, b, NULL);
}

#include "passes/rows.h"
#include "passes/rules/sequence.def"
