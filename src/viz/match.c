/* What became what, between the pictures of a graph before and after: by the original names that nodes keep. */
#include <inttypes.h>

#include "viz/picture.h"

static void *as_value(size_t i)
{
    return (void *)(uintptr_t)(i + 1);
}

/* ---- units: the same number and colour ---- */

static const char *const *origins_of(const gi_node *n, uint32_t *count, const char **single)
{
    *count = n->n_origins;
    if (n->n_origins)
        return n->origins;
    *single = n->name ? n->name : n->n_out && n->out[0]->name ? n->out[0]->name : NULL;
    *count = *single != NULL;
    return single;
}

/* The number of the unit that the box belongs to: that of its fusion, where it lies in one. */
static uint32_t *unit_of(gi_picture *p, gi_box *b)
{
    return p->clusters.p[b->cluster].fusion ? &p->clusters.p[b->cluster].unit : &b->unit;
}

static bool put_origins(gi_smap *units, const gi_node *n, uint32_t unit)
{
    uint32_t count;
    const char *single;
    const char *const *origins = origins_of(n, &count, &single);
    for (uint32_t i = 0; i < count; i++)
        if (!gi_smap_get(units, origins[i]) && !gi_smap_put(units, origins[i], as_value(unit)))
            return false;
    return true;
}

/* Parts are known by their nodes alone. */
static char *group_key(gi_arena *a, const gi_group *g)
{
    if (g->parts > 1)
        return gi_arena_printf(a, "part of %s with %" PRIu32, g->path, g->nodes.p[0]->id);
    return gi_arena_printf(a, "%s%s", g->own ? "own of " : "scope ", g->path);
}

static gopt_status number_after(gi_picture *p, gi_smap *units)
{
    uint32_t last = 0;
    for (size_t i = 0; i < p->boxes.n; i++) {
        gi_box *b = &p->boxes.p[i];
        if (b->kind == GI_BOX_NODE) {
            uint32_t *unit = unit_of(p, b);
            if (!*unit)
                *unit = ++last;
            b->unit = *unit;
            GI_NEED(put_origins(units, b->node, *unit));
        } else if (b->kind == GI_BOX_GROUP) {
            b->unit = ++last;
            char *key = group_key(p->arena, b->group);
            GI_NEED(key && gi_smap_put(units, key, as_value(b->unit)));
            for (size_t k = 0; k < b->group->nodes.n; k++)
                GI_NEED(put_origins(units, b->group->nodes.p[k], b->unit));
        }
    }
    return GOPT_OK;
}

static uint32_t find_unit(const gi_smap *units, const gi_node *n)
{
    uint32_t count;
    const char *single;
    const char *const *origins = origins_of(n, &count, &single);
    for (uint32_t i = 0; i < count; i++) {
        const uintptr_t v = (uintptr_t)gi_smap_get(units, origins[i]);
        if (v)
            return (uint32_t)(v - 1);
    }
    return 0;
}

static gopt_status number_units(gi_picture *before, gi_picture *after)
{
    gi_smap units;
    gi_smap_init(&units, after->arena);
    GI_TRY(number_after(after, &units));
    for (size_t i = 0; i < before->boxes.n; i++) {
        gi_box *b = &before->boxes.p[i];
        if (b->kind == GI_BOX_NODE) {
            b->unit = find_unit(&units, b->node);
        } else if (b->kind == GI_BOX_GROUP) {
            char *key = group_key(before->arena, b->group);
            GI_NEED(key);
            const uintptr_t v = (uintptr_t)gi_smap_get(&units, key);
            b->unit = v ? (uint32_t)(v - 1) : 0;
            for (size_t k = 0; !b->unit && k < b->group->nodes.n; k++)
                b->unit = find_unit(&units, b->group->nodes.p[k]);
        }
    }
    return GOPT_OK;
}

/* ---- anchors: the same height ---- */

typedef struct finding {
    const gi_picture *before, *after;
    gi_smap by_name; /* original name to box of the first picture */
    gi_smap by_key;  /* group's key, or input's or output's name behind its kind */
    gi_anchors found;
} finding;

static char *box_key(gi_arena *a, const gi_box *b)
{
    return b->kind == GI_BOX_GROUP ? group_key(a, b->group)
                                   : gi_arena_printf(a, "%d %s", (int)b->kind, b->name ? b->name : "");
}

static bool in_block(const gi_picture *p, const gi_box *b)
{
    for (uint32_t c = b->cluster; c; c = p->clusters.p[c].parent)
        if (p->clusters.p[c].kind == GI_CLUSTER_BLOCK)
            return true;
    return false;
}

static gopt_status list_before(finding *f)
{
    for (size_t i = 0; i < f->before->boxes.n; i++) {
        const gi_box *b = &f->before->boxes.p[i];
        if (in_block(f->before, b))
            continue;
        if (b->kind == GI_BOX_NODE) {
            GI_NEED(put_origins(&f->by_name, b->node, (uint32_t)i));
            continue;
        }
        char *key = box_key(f->before->arena, b);
        GI_NEED(key && gi_smap_put(&f->by_key, key, as_value(i)));
    }
    return GOPT_OK;
}

/* The box that it came from: of the same operator if there is one. */
static bool came_from(const finding *f, const gi_node *n, uint32_t *box)
{
    uint32_t count;
    const char *single;
    const char *const *origins = origins_of(n, &count, &single);
    bool found = false;
    for (uint32_t i = 0; i < count; i++) {
        const uintptr_t v = (uintptr_t)gi_smap_get(&f->by_name, origins[i]);
        if (!v)
            continue;
        *box = (uint32_t)(v - 1);
        found = true;
        if (f->before->boxes.p[*box].node->op == n->op)
            break;
    }
    return found;
}

static gopt_status find_pairs(finding *f)
{
    for (size_t i = 0; i < f->after->boxes.n; i++) {
        const gi_box *b = &f->after->boxes.p[i];
        uint32_t box;
        if (in_block(f->after, b))
            continue;
        if (b->kind == GI_BOX_NODE) {
            if (!came_from(f, b->node, &box))
                continue;
        } else {
            char *key = box_key(f->after->arena, b);
            GI_NEED(key);
            const uintptr_t v = (uintptr_t)gi_smap_get(&f->by_key, key);
            if (!v)
                continue;
            box = (uint32_t)(v - 1);
        }
        GI_NEED(gi_push(f->after->arena, &f->found, (gi_anchor){ box, (uint32_t)i }));
    }
    return GOPT_OK;
}

/* Keeps a longest part of the pairs in which both sides rise (patience sorting). Boxes stand in the order of a schedule,
 * so what is kept can be joined without making a cycle. */
static gopt_status keep_rising(gi_arena *a, const gi_anchors *pairs, gi_anchors *kept)
{
    const size_t n = pairs->n;
    size_t *pile = GI_NEW_ARRAY(a, size_t, n + 1), *previous = GI_NEW_ARRAY(a, size_t, n + 1), piles = 0;
    GI_NEED(pile && previous);
    for (size_t i = 0; i < n; i++) {
        size_t low = 0, high = piles;
        while (low < high) {
            const size_t middle = (low + high) / 2;
            if (pairs->p[pile[middle]].before < pairs->p[i].before)
                low = middle + 1;
            else
                high = middle;
        }
        previous[i] = low ? pile[low - 1] : SIZE_MAX;
        pile[low] = i;
        piles += low == piles;
    }
    for (size_t k = 0; k < piles; k++)
        GI_NEED(gi_push(a, kept, (gi_anchor){ 0 }));
    for (size_t k = piles, i = piles ? pile[piles - 1] : SIZE_MAX; k-- > 0; i = previous[i])
        kept->p[k] = pairs->p[i];
    return GOPT_OK;
}

gopt_status gi_picture_match(gi_picture *before, gi_picture *after, gi_anchors *anchors)
{
    *anchors = (gi_anchors){ 0 };
    GI_TRY(number_units(before, after));
    finding f = { .before = before, .after = after };
    gi_smap_init(&f.by_name, before->arena);
    gi_smap_init(&f.by_key, before->arena);
    GI_TRY(list_before(&f));
    GI_TRY(find_pairs(&f));
    return keep_rising(after->arena, &f.found, anchors);
}

/* ---- views ---- */

gopt_status gi_view_make(gi_arena *a, const gopt_graph *g, const gopt_graph *after, const gopt_dot_options *o,
                         gi_view *v)
{
    *v = (gi_view){ .title = o && o->title ? o->title : g->name, .flat = o && o->flat, .pair = after != NULL };
    GI_TRY(gi_picture_make(g, a, o, false, &v->first));
    if (!after)
        return GOPT_OK;
    GI_TRY(gi_picture_make(after, a, o, v->first.collapsed, &v->second));
    if (v->second.collapsed && !v->first.collapsed)
        GI_TRY(gi_picture_make(g, a, o, true, &v->first));
    return gi_picture_match(&v->first, &v->second, &v->anchors);
}
