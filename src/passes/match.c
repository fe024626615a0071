/* Does a rule's pattern match at a node?
 *
 * One walk down the pattern. Where a commutative operator has two operands in the pattern, both orders are
 * tried: the k-th such operator met takes bit k of a mask, and masks are counted up, so the order of tries is
 * the same in every run. Patterns are small: three such operators are eight tries. */
#include "passes/rule.h"

enum { MAX_COMMUTED = 6 };

typedef struct matcher {
    gi_match *m;
    gi_reason *why;
    gi_block *block;
    unsigned mask;
    unsigned commuted; /* operators met so far */
    bool shared;
    bool all_outputs; /* further outputs of the root may be used */
} matcher;

static bool match_value(matcher *t, const gi_pattern *p, gi_value *v, const gi_node *user);

static bool bind(matcher *t, const gi_pattern *p, gi_value *v)
{
    gi_value **slot = &t->m->slots[p->slot];
    if (*slot && *slot != v) {
        gi_blob *a = gi_value_blob(*slot), *b = gi_value_blob(v);
        return a && b && gi_blob_equal(a, b);
    }
    *slot = v;
    return true;
}

static bool match_inputs(matcher *t, const gi_pattern *p, const gi_node *n)
{
    bool swap = false;
    if (p->in[0] && p->in[1] && !p->in[2] && n->n_in == 2 && (gi_op_get(n->op)->traits & GI_COMMUTATIVE) &&
        t->commuted < MAX_COMMUTED)
        swap = t->mask >> t->commuted++ & 1;
    uint32_t i = 0;
    for (; p->in[i]; i++) {
        if (p->in[i]->kind == GI_PAT_REST)
            return true;
        if (!match_value(t, p->in[i], gi_node_in(n, swap ? 1 - i : i), n))
            return false;
    }
    for (; i < n->n_in; i++)
        if (n->in[i].value)
            return false;
    return true;
}

/* The pattern reads v once; more uses than that are others'. */
static void check_single(matcher *t, const gi_value *v)
{
    if (v->n_uses == 1 || t->shared)
        return;
    t->shared = true;
    gi_decline(t->why, "%s has %u users: %s", gi_value_ref(v, t->m->scratch), v->n_uses,
               gi_value_users(v, t->m->scratch));
}

static bool match_node(matcher *t, const gi_pattern *p, gi_node *n)
{
    if (n->op != p->op || n->block != t->block || t->m->n_nodes == GI_MATCH_NODES)
        return false;
    t->m->nodes[t->m->n_nodes++] = n;
    for (uint32_t i = 1; i < n->n_out; i++)
        if (n->out[i]->n_uses && !(t->all_outputs && n == t->m->root))
            return false;
    return match_inputs(t, p, n);
}

/* A node of another operator, which is found out before anything is noted. */
static bool is_other(const gi_pattern *p, const gi_value *v)
{
    while (p->kind == GI_PAT_AT)
        p = p->in[0];
    const gi_node *n = gi_value_node(v);
    return p->kind == GI_PAT_NODE && (!n || n->op != p->op);
}

/* The first alternative that matches; one that does not leaves no trace. */
static bool match_any(matcher *t, const gi_pattern *p, gi_value *v, const gi_node *user)
{
    uint32_t first = 0;
    while (p->in[first] && is_other(p->in[first], v))
        first++;
    if (!p->in[first])
        return false;
    const matcher before = *t;
    const gi_match found = *t->m;
    const char *why = t->why->text;
    for (uint32_t i = first; p->in[i]; i++) {
        if (is_other(p->in[i], v))
            continue;
        if (match_value(t, p->in[i], v, user))
            return true;
        const unsigned commuted = t->commuted;
        *t = before;
        t->commuted = commuted; /* operators are counted, so that their orders are tried */
        *t->m = found;
        t->why->text = why;
    }
    return false;
}

static bool match_value(matcher *t, const gi_pattern *p, gi_value *v, const gi_node *user)
{
    switch (p->kind) {
    case GI_PAT_OPT:
        return !v || match_value(t, p->in[0], v, user);
    case GI_PAT_ANY:
        return v && bind(t, p, v);
    case GI_PAT_CONST:
        return gi_value_blob(v) && bind(t, p, v);
    case GI_PAT_AT:
        return v && match_value(t, p->in[0], v, user) && bind(t, p, v);
    case GI_PAT_NODE: {
        gi_node *n = gi_value_node(v);
        if (!n || v->index != 0 || !match_node(t, p, n))
            return false;
        if (p->single)
            check_single(t, v);
        return true;
    }
    case GI_PAT_OR:
        return match_any(t, p, v, user);
    case GI_PAT_REST:
        break;
    }
    return true;
}

gi_match_result gi_match_at(const gi_pattern *p, gi_node *root, bool all_outputs, gi_match *m, gi_reason *why)
{
    gi_match shared_match;
    gi_match_result result = GI_MATCH_NO;
    const char *shared_text = NULL;
    unsigned masks = 1;
    m->root = root;
    for (unsigned mask = 0; mask < masks; mask++) {
        if (mask) { /* what the try before found */
            m->n_nodes = 0;
            memset(m->slots, 0, sizeof m->slots);
        }
        matcher t = { .m = m, .why = why, .block = root->block, .mask = mask, .all_outputs = all_outputs };
        why->text = NULL;
        const bool matched = p->kind == GI_PAT_NODE ? match_node(&t, p, root) : match_value(&t, p, root->out[0], NULL);
        masks = 1u << t.commuted > masks ? 1u << t.commuted : masks;
        if (matched && !t.shared)
            return GI_MATCH_YES;
        if (matched && result == GI_MATCH_NO) {
            result = GI_MATCH_SHARED;
            shared_text = why->text;
            shared_match = *m;
        }
    }
    why->text = shared_text;
    if (result == GI_MATCH_SHARED)
        *m = shared_match;
    return result;
}
