/* Which nodes are drawn as one box, when a graph has too many.
 *
 * Exporters leave the module in a node's name, "/features/features.5/attn/MatMul_3". The names make a tree of
 * scopes; at first the whole graph is one box, and then the box that holds most nodes is opened, again and
 * again, while the boxes are few enough; scopes before nodes, so that the network's structure comes before
 * the arithmetic of its shapes. */
#include "viz/picture.h"

typedef struct scope {
    const char *path;
    struct scope *parent;
    gi_vec(struct scope *) children;
    gi_vec(const gi_node *) own;
    uint32_t total; /* nodes here and below; a fusion counts as what it holds */
    uint32_t own_total;
} scope;

/* A box that may be opened: a scope with all below it, or its own nodes alone. */
typedef struct candidate {
    scope *s;
    bool own;
} candidate;

typedef struct grouping {
    gi_arena *arena;
    gi_smap by_path;
    scope *root;
    gi_vec(candidate) closed;
    gi_map *of;
} grouping;

static uint32_t weight(const gi_node *n)
{
    uint32_t total = 1;
    if (n->op == OP_Fusion) {
        const gi_block *b = gi_fusion_block(n);
        total = b && b->n_nodes ? b->n_nodes : 1;
    }
    return total;
}

const char *gi_scope_of(const gi_node *n, size_t *length)
{
    const char *name = n->scope;
    if (name && *name) {
        *length = strlen(name);
        return name;
    }
    name = n->n_origins ? n->origins[0] : n->name;
    const char *end = name ? strrchr(name, '/') : NULL;
    *length = end ? (size_t)(end - name) : 0;
    return name ? name : "";
}

static scope *find_scope(grouping *w, const char *path, size_t length)
{
    enum { DEEPEST = 24 };
    scope *at = w->root;
    size_t done = 0;
    for (int depth = 0; done < length && depth < DEEPEST; depth++) {
        size_t next = done;
        while (next < length && path[next] == '/')
            next++;
        while (next < length && path[next] != '/')
            next++;
        char *key = gi_arena_strn(w->arena, path, next);
        if (!key)
            return NULL;
        scope *s = gi_smap_get(&w->by_path, key);
        if (!s) {
            s = GI_NEW(w->arena, scope);
            if (!s || !gi_smap_put(&w->by_path, key, s) || !gi_push(w->arena, &at->children, s))
                return NULL;
            s->path = key;
            s->parent = at;
        }
        at = s;
        done = next;
    }
    return at;
}

static gopt_status make_tree(grouping *w, const gopt_graph *g, const gi_map *folded)
{
    for (const gi_node *n = g->main->first; n; n = n->next) {
        if (gi_map_get(folded, gi_key(n)))
            continue;
        size_t length;
        const char *path = gi_scope_of(n, &length);
        scope *s = find_scope(w, path, length);
        if (!s || !gi_push(w->arena, &s->own, n))
            return GOPT_NO_MEMORY;
        s->own_total += weight(n);
        for (; s; s = s->parent)
            s->total += weight(n);
    }
    return GOPT_OK;
}

static uint32_t nodes_in(const candidate *c)
{
    return c->own ? c->s->own_total : c->s->total;
}

/* Boxes that opening it would add. */
static size_t cost(const candidate *c)
{
    if (c->own)
        return c->s->own.n - 1;
    return c->s->children.n + (c->s->own.n > 0) - 1;
}

static bool open_candidate(grouping *w, size_t i)
{
    const candidate c = w->closed.p[i];
    w->closed.p[i] = w->closed.p[--w->closed.n];
    if (c.own)
        return true; /* its nodes stand for themselves */
    for (size_t k = 0; k < c.s->children.n; k++)
        if (!gi_push(w->arena, &w->closed, (candidate){ c.s->children.p[k], false }))
            return false;
    return !c.s->own.n || gi_push(w->arena, &w->closed, (candidate){ c.s, true });
}

/* The largest that fits, of scopes or of the own nodes of scopes; SIZE_MAX where none does. */
static size_t find_largest(const grouping *w, bool own, size_t room)
{
    enum { MOST_OWN = 40 }; /* more nodes than that in one scope are drawn together */
    size_t best = SIZE_MAX;
    for (size_t i = 0; i < w->closed.n; i++) {
        const candidate *c = &w->closed.p[i];
        if (c->own != own || cost(c) > room || (own && c->s->own.n > MOST_OWN))
            continue;
        if (best == SIZE_MAX || nodes_in(c) > nodes_in(&w->closed.p[best]))
            best = i;
    }
    return best;
}

static gopt_status open_largest(grouping *w, size_t budget)
{
    size_t boxes = 1;
    for (int own = 0; own < 2; own++)
        for (;;) {
            const size_t best = find_largest(w, own, budget - boxes);
            if (best == SIZE_MAX)
                break;
            boxes += cost(&w->closed.p[best]);
            GI_NEED(open_candidate(w, best));
        }
    return GOPT_OK;
}

static bool put_own(grouping *w, const scope *s, gi_group *group)
{
    for (size_t i = 0; i < s->own.n; i++)
        if (!gi_push(w->arena, &group->nodes, s->own.p[i]) || !gi_map_put(w->of, gi_key(s->own.p[i]), group))
            return false;
    return true;
}

/* Everything at or below the scope joins the group; with a stack of its own. */
static bool put_all(grouping *w, scope *top, gi_group *group)
{
    gi_vec(scope *) stack = { 0 };
    if (!gi_push(w->arena, &stack, top))
        return false;
    while (stack.n) {
        const scope *s = stack.p[--stack.n];
        if (!put_own(w, s, group))
            return false;
        for (size_t i = s->children.n; i-- > 0;)
            if (!gi_push(w->arena, &stack, s->children.p[i]))
                return false;
    }
    return true;
}

gopt_status gi_scope_group(const gopt_graph *g, gi_arena *a, size_t budget, const gi_map *folded, gi_map *of)
{
    grouping w = { .arena = a, .of = of };
    gi_smap_init(&w.by_path, a);
    GI_NEED(w.root = GI_NEW(a, scope));
    w.root->path = "";
    GI_TRY(make_tree(&w, g, folded));
    GI_NEED(gi_push(a, &w.closed, (candidate){ w.root, false }));
    GI_TRY(open_largest(&w, budget));
    for (size_t i = 0; i < w.closed.n; i++) {
        const candidate *c = &w.closed.p[i];
        if ((c->own ? c->s->own.n : c->s->total) < 2) /* one node is drawn as itself */
            continue;
        gi_group *group = GI_NEW(a, gi_group);
        GI_NEED(group);
        *group = (gi_group){ .path = c->s->path, .own = c->own && c->s->children.n, .n_nodes = nodes_in(c) };
        GI_NEED(c->own ? put_own(&w, c->s, group) : put_all(&w, c->s, group));
    }
    return GOPT_OK;
}
