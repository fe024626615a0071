/* Common subexpressions: nodes that compute the same become one.
 *
 *     %a = Shape %x              %a = Shape %x
 *     %b = Shape %x         ⇒    %c = Gather %a, 1
 *     %c = Gather %b, 1          %d = Gather %a, 2
 *     %d = Gather %a, 2
 *
 * Same means: operator, opset, attributes and inputs, constants by their contents, the operands of a
 * commutative operator in either order. One walk in program order over a table of what was computed; a node
 * inside a block may become one of the block itself or of a block around it, never the other way and never
 * of a sister block, since the table is asked for an earlier node whose block encloses this one. Random
 * operators and those that own blocks are left alone. Hidden differences do not count: names, docs. */
#include "passes/util.h"

typedef struct entry {
    gi_node *n;
    struct entry *next;
} entry;

typedef struct cse {
    gi_pass_ctx *cx;
    gi_map seen; /* hash to entry chains */
    gi_constants constants;
    bool failed;
} cse;

/* The value that stands for this one and all others of its contents. */
static const gi_value *first_of(cse *s, gi_value *v)
{
    if (!v || v->kind != GI_DEF_CONST)
        return v;
    const gi_value *first = gi_constants_first(&s->constants, v);
    s->failed |= !first;
    return first;
}

static uint64_t value_hash(cse *s, gi_value *v)
{
    const gi_value *first = first_of(s, v);
    return first ? gi_hash(&first->id, sizeof first->id, 7) : 0x9e3779b97f4a7c15u;
}

static uint64_t attr_hash(const gi_attr *a, uint64_t h)
{
    h = gi_hash(&a->kind, sizeof a->kind, h);
    switch (a->kind) {
    case GI_ATTR_INT:
        return gi_hash(&a->u.i, sizeof a->u.i, h);
    case GI_ATTR_FLOAT:
        return gi_hash(&a->u.f, sizeof a->u.f, h);
    case GI_ATTR_STRING:
        return gi_hash(a->u.s, a->n, h);
    case GI_ATTR_INTS:
        return gi_hash(a->u.ints, a->n * sizeof *a->u.ints, h);
    case GI_ATTR_FLOATS:
        return gi_hash(a->u.floats, a->n * sizeof *a->u.floats, h);
    case GI_ATTR_TENSOR:
        return h ^ gi_blob_sample(a->u.tensor);
    default:
        return h;
    }
}

static bool is_commutative(const gi_node *n)
{
    return (gi_op_get(n->op)->traits & GI_COMMUTATIVE) && n->n_in == 2;
}

static uint64_t node_hash(cse *s, const gi_node *n)
{
    uint64_t h = gi_hash(&n->op, sizeof n->op, n->n_out);
    if (is_commutative(n)) {
        const uint64_t a = value_hash(s, n->in[0].value), b = value_hash(s, n->in[1].value);
        const uint64_t both[2] = { a < b ? a : b, a < b ? b : a };
        h = gi_hash(both, sizeof both, h);
    } else {
        for (uint32_t i = 0; i < n->n_in; i++) {
            const uint64_t v = value_hash(s, n->in[i].value);
            h = gi_hash(&v, sizeof v, h);
        }
    }
    for (uint32_t i = 0; i < n->n_attrs; i++)
        h = attr_hash(&n->attrs[i], h);
    return h;
}

static bool same_inputs(cse *s, const gi_node *a, const gi_node *b)
{
    bool same = true;
    for (uint32_t i = 0; i < a->n_in && same; i++)
        same = first_of(s, a->in[i].value) == first_of(s, b->in[i].value);
    if (!same && is_commutative(a))
        same = first_of(s, a->in[0].value) == first_of(s, b->in[1].value) &&
               first_of(s, a->in[1].value) == first_of(s, b->in[0].value);
    return same;
}

/* An output that the file leaves out has no name and no use: one kind of node, and yet another arity. */
static bool same_node(cse *s, const gi_node *a, const gi_node *b)
{
    if (a->op != b->op || a->opset != b->opset || a->n_in != b->n_in || a->n_out != b->n_out ||
        a->n_attrs != b->n_attrs || !same_inputs(s, a, b))
        return false;
    for (uint32_t i = 0; i < a->n_attrs; i++)
        if (!gi_attr_equal(&a->attrs[i], &b->attrs[i]))
            return false;
    return true;
}

static bool is_candidate(const gi_node *n)
{
    const unsigned traits = gi_op_get(n->op)->traits;
    return n->op != OP_Unknown && (traits & GI_PURE) && !(traits & (GI_RANDOM | GI_CONTROL)) && n->n_out &&
           n->op != OP_Identity;
}

/* Makes `first` stand for n. False where it may not. */
static bool merge(cse *s, gi_node *first, gi_node *n)
{
    const char *why = NULL;
    for (uint32_t i = 0; i < n->n_out; i++)
        if (!gi_value_may_replace(n->out[i], first->out[i], &why)) {
            gi_declined(s->cx, "cse", n, "it computes the same as %s, but %s", gi_node_label(first, s->cx->scratch),
                        why);
            return false;
        }
    if (!gi_pass_may(s->cx, "cse"))
        return false;
    gi_applied(s->cx, "cse", n, "it computes the same as %s", gi_node_label(first, s->cx->scratch));
    if (!gi_node_merge_origins(first, n))
        s->failed = true;
    for (uint32_t i = 0; i < n->n_out; i++) {
        gi_value_refine(n->block->graph, first->out[i], n->out[i]->type);
        gi_value_replace_uses(n->out[i], first->out[i]);
    }
    gi_node_remove(n);
    return true;
}

static bool visit(void *arg, gi_node *n)
{
    cse *s = arg;
    if (!is_candidate(n))
        return true;
    const uint64_t h = node_hash(s, n);
    entry *first = gi_map_get(&s->seen, h), *last = NULL;
    for (entry *e = first; e; e = e->next) {
        if (!gi_block_within(n->block, e->n->block)) {
            /* Its block is done, as all are that do not enclose this node: nothing will ask for it again. */
            if (last)
                last->next = e->next;
            else
                first = e->next;
            continue;
        }
        if (same_node(s, e->n, n)) {
            (void)merge(s, e->n, n); /* where it may not, a later one may stand for e, and need not for n */
            return !s->failed;
        }
        last = e;
    }
    entry *e = GI_NEW(s->cx->scratch, entry);
    if (!e)
        return false;
    *e = (entry){ .n = n, .next = first };
    return gi_map_put(&s->seen, h, e) && !s->failed;
}

gopt_status gi_pass_cse(gopt_graph *g, gi_pass_ctx *cx)
{
    cse s = { .cx = cx };
    gi_map_init(&s.seen, cx->scratch);
    gi_constants_init(&s.constants, cx->scratch);
    return gi_each_node(g->main, visit, &s) ? GOPT_OK : GOPT_NO_MEMORY;
}
