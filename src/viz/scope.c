/* Which nodes are drawn as one box, when a graph has too many; and the frames around what belongs together.
 *
 * Exporters leave the module in a node's name, "/features/features.5/attn/MatMul_3". The names make a tree of
 * scopes; at first the whole graph is one box, and then the box that holds most nodes is opened, again and
 * again, while the boxes are few enough; scopes before nodes, so that the network's structure comes before
 * the arithmetic of its shapes. */
#include <stdlib.h>

#include "viz/picture.h"

typedef struct scope {
    const char *path;
    struct scope *parent;
    gi_vec(struct scope *) children;
    gi_vec(const gi_node *) own;
    uint32_t total; /* nodes here and below; a fusion counts as what it holds */
    uint32_t own_total;
    uint32_t cluster; /* that frames what lies in it */
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
    gi_map adopted; /* node to its adoption */
    gi_map order;   /* node to its number in the schedule, from 1 */
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

/* Nodes whose names say nothing stand where all that reads them stands. An exporter's lowering leaves hundreds of such:
 * drawn as one box they would be tied to everything. */
typedef struct adoption {
    const char *path;
    size_t length;
} adoption;

static const char *path_of(const gi_map *adopted, const gi_node *n, size_t *length)
{
    const adoption *x = adopted ? gi_map_get(adopted, gi_key(n)) : NULL;
    if (!x)
        return gi_scope_of(n, length);
    *length = x->length;
    return x->path;
}

/* The scope that both paths share. */
static size_t shared(const char *a, size_t na, const char *b, size_t nb)
{
    size_t same = 0, cut = 0;
    for (; same < na && same < nb && a[same] == b[same]; same++)
        if (a[same] == '/')
            cut = same;
    return (same == na || a[same] == '/') && (same == nb || b[same] == '/') ? same : cut;
}

static gopt_status adopt(gi_arena *a, const gopt_graph *g, gi_map *adopted)
{
    enum { MOST_USES = 16 };
    for (const gi_node *n = g->main->last; n; n = n->prev) {
        adoption x = { NULL, 0 };
        bool any = false;
        int uses = 0;
        size_t length;
        (void)gi_scope_of(n, &length);
        if (length)
            continue;
        for (uint32_t i = 0; i < n->n_out && uses < MOST_USES; i++)
            for (const gi_use *u = n->out[i]->uses; u && uses < MOST_USES; u = u->next, uses++) {
                const gi_node *r = u->node; /* or the node of the main block that holds it */
                while (r && r->block != g->main)
                    r = r->block ? r->block->owner : NULL;
                const char *path = r ? path_of(adopted, r, &length) : "";
                if (!*path)
                    length = 0;
                x = any ? (adoption){ x.path, shared(x.path, x.length, path, length) } : (adoption){ path, length };
                any = true;
            }
        if (!x.length || uses == MOST_USES)
            continue;
        adoption *kept = GI_NEW(a, adoption);
        GI_NEED(kept);
        *kept = x;
        GI_NEED(gi_map_put(adopted, gi_key(n), kept));
    }
    return GOPT_OK;
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
    uintptr_t order = 0;
    for (const gi_node *n = g->main->first; n; n = n->next) {
        if (gi_map_get(folded, gi_key(n)))
            continue;
        size_t length;
        GI_NEED(gi_map_put(&w->order, gi_key(n), (void *)++order));
        const char *path = path_of(&w->adopted, n, &length);
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

/* What a scope has between the scopes inside it, such as residual additions, would be tied to most of them in both
 * directions if it were one box: so few are drawn as themselves. */
enum { FEW_OWN = 3 };

/* Boxes that opening it would add. */
static size_t cost(const candidate *c)
{
    if (c->own)
        return c->s->own_total - 1;
    const size_t own = c->s->own.n <= FEW_OWN ? c->s->own_total : 1;
    return c->s->children.n + own - 1;
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

static gopt_status open_largest(grouping *w, size_t budget, size_t *used)
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
    *used = boxes;
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

typedef struct placed {
    const gi_node *node;
    size_t at; /* in the schedule */
} placed;

static int by_place(const void *a, const void *b)
{
    const placed *x = a, *y = b;
    return (x->at > y->at) - (x->at < y->at);
}

/* The group's nodes in parts, each a run of the schedule, so that arcs between the parts lead onward. */
static gopt_status make_parts(grouping *w, const gi_group *whole, size_t parts)
{
    const size_t n = whole->nodes.n;
    placed *p = GI_NEW_ARRAY(w->arena, placed, n);
    GI_NEED(p);
    for (size_t i = 0; i < n; i++)
        p[i] = (placed){ whole->nodes.p[i], (uintptr_t)gi_map_get(&w->order, gi_key(whole->nodes.p[i])) };
    qsort(p, n, sizeof *p, by_place);
    for (size_t k = 0; k < parts; k++) {
        gi_group *group = GI_NEW(w->arena, gi_group);
        GI_NEED(group);
        *group =
            (gi_group){ .path = whole->path, .own = whole->own, .part = (uint32_t)k + 1, .parts = (uint32_t)parts };
        for (size_t i = k * n / parts; i < (k + 1) * n / parts; i++) {
            GI_NEED(gi_push(w->arena, &group->nodes, p[i].node) && gi_map_put(w->of, gi_key(p[i].node), group));
            group->n_nodes += weight(p[i].node);
        }
    }
    return GOPT_OK;
}

/* A group of each that was not opened. One that is a large part of the whole, since it has more in it than can be shown
 * and no scopes, or too many, stands in parts instead, as far as boxes are left. */
static gopt_status make_groups(grouping *w, size_t left)
{
    enum { PART = 12, MOST_PARTS = 48, LARGE = 8 };
    for (size_t i = 0; i < w->closed.n; i++) {
        const candidate *c = &w->closed.p[i];
        if (c->own ? c->s->own.n <= FEW_OWN : c->s->total < 2) /* drawn as themselves */
            continue;
        gi_group *group = GI_NEW(w->arena, gi_group);
        GI_NEED(group);
        *group =
            (gi_group){ .path = c->s->path, .own = c->own && c->s->children.n, .parts = 1, .n_nodes = nodes_in(c) };
        GI_NEED(c->own ? put_own(w, c->s, group) : put_all(w, c->s, group));
        size_t parts = group->nodes.n / PART < MOST_PARTS ? group->nodes.n / PART : MOST_PARTS;
        parts = parts < left + 1 ? parts : left + 1;
        if (parts > 1 && (size_t)group->n_nodes * LARGE >= w->root->total) {
            left -= parts - 1;
            GI_TRY(make_parts(w, group, parts));
        }
    }
    return GOPT_OK;
}

gopt_status gi_scope_group(const gopt_graph *g, gi_arena *a, size_t budget, const gi_map *folded, gi_map *of)
{
    grouping w = { .arena = a, .of = of };
    gi_smap_init(&w.by_path, a);
    gi_map_init(&w.adopted, a);
    gi_map_init(&w.order, a);
    GI_NEED(w.root = GI_NEW(a, scope));
    w.root->path = "";
    GI_TRY(adopt(a, g, &w.adopted));
    GI_TRY(make_tree(&w, g, folded));
    GI_NEED(gi_push(a, &w.closed, (candidate){ w.root, false }));
    size_t boxes;
    GI_TRY(open_largest(&w, budget, &boxes));
    return make_groups(&w, boxes < budget ? budget - boxes : 0);
}

/* ---- frames ---- */

/* The scope that all nodes of a fusion lie in. */
static const char *fusion_path(const gi_node *fusion, size_t *length)
{
    const gi_block *b = gi_fusion_block(fusion);
    const gi_node *n = b ? b->first : NULL;
    const char *path = n ? gi_scope_of(n, length) : "";
    if (!n)
        *length = 0;
    for (n = n ? n->next : NULL; n; n = n->next) {
        size_t other;
        const char *p = gi_scope_of(n, &other);
        *length = shared(path, *length, p, other);
    }
    return path;
}

/* The scope that frames a box: a group of a whole scope stands in the one around it. */
static const char *frame_path(const gi_node *n, const gi_group *group, size_t *length)
{
    if (!group)
        return n->op == OP_Fusion ? fusion_path(n, length) : gi_scope_of(n, length);
    const char *end = group->own ? group->path + strlen(group->path) : strrchr(group->path, '/');
    *length = end ? (size_t)(end - group->path) : 0;
    return group->path;
}

typedef struct framing {
    gi_picture *p;
    gi_map place; /* node or group to its scope */
    uint32_t boxes;
} framing;

static gopt_status find_frames(framing *f, grouping *w, const gi_map *group_of)
{
    for (const gi_node *n = f->p->g->main->first; n; n = n->next) {
        const gi_group *group = gi_map_get(group_of, gi_key(n));
        const uint64_t key = group ? gi_key(group) : gi_key(n);
        if (gi_map_get(&f->p->folded, gi_key(n)) || gi_map_get(&f->place, key))
            continue;
        size_t length;
        const char *path = frame_path(n, group, &length);
        scope *s = find_scope(w, path, length);
        GI_NEED(s && gi_map_put(&f->place, key, s));
        s->own_total++; /* boxes here, and boxes here and below */
        for (; s; s = s->parent)
            s->total++;
    }
    return GOPT_OK;
}

/* Frames the scopes below s, which stands in the cluster `around`. A scope within which there is but one other is passed
 * over. The tree is at most as deep as find_scope makes it. */
static gopt_status frame_scopes(framing *f, scope *s, uint32_t around, size_t named, int depth)
{
    enum { FEWEST_BOXES = 3, MOST_FRAMES = 3 };
    s->cluster = around;
    for (size_t i = 0; i < s->children.n; i++) {
        scope *c = s->children.p[i];
        uint32_t cluster = around;
        size_t shown = named;
        while (c->children.n == 1 && !c->own_total) {
            c->cluster = around;
            c = c->children.p[0];
        }
        const bool whole = c->total == f->boxes;
        if (c->total >= FEWEST_BOXES && !whole && depth < MOST_FRAMES) {
            const char *label = c->path + (strlen(c->path) > named ? named : 0);
            cluster = (uint32_t)f->p->clusters.n;
            shown = strlen(c->path);
            GI_NEED(
                gi_push(f->p->arena, &f->p->clusters,
                        (gi_cluster){ .kind = GI_CLUSTER_SCOPE, .parent = around, .label = label + (*label == '/') }));
        }
        GI_TRY(frame_scopes(f, c, cluster, shown, depth + (cluster != around)));
    }
    return GOPT_OK;
}

gopt_status gi_scope_cluster(gi_picture *p, const gi_map *group_of, gi_map *cluster_of)
{
    grouping w = { .arena = p->arena };
    framing f = { .p = p };
    gi_smap_init(&w.by_path, p->arena);
    gi_map_init(&f.place, p->arena);
    GI_NEED(w.root = GI_NEW(p->arena, scope));
    w.root->path = "";
    GI_TRY(find_frames(&f, &w, group_of));
    f.boxes = w.root->total;
    GI_TRY(frame_scopes(&f, w.root, 0, 0, 0));
    for (const gi_node *n = p->g->main->first; n; n = n->next) {
        const gi_group *group = gi_map_get(group_of, gi_key(n));
        const uint64_t key = group ? gi_key(group) : gi_key(n);
        const scope *s = gi_map_get(&f.place, key);
        if (s && s->cluster)
            GI_NEED(gi_map_put(cluster_of, key, (void *)(uintptr_t)s->cluster));
    }
    return GOPT_OK;
}
