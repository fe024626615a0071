/* Letting go of weights that nobody needs once they are packed.
 *
 *     file ─ mapped ─▶ W ─ Transpose, folded ─▶ Wt (made) ─ packed by the step ─▶ panels
 *
 * A weight that optimization made lies in memory of its own, and once the steps that read it have packed it, it lies
 * there twice. Where the engine owns its graph and will make no second plan, its bytes go as soon as the last of those
 * steps is compiled: so building never holds all of them twice either. Weights that are the file's own stay mapped,
 * which costs nothing. What stays: what a step reads where it lies (its tactic leaves it in `in`, or may look at it,
 * as reference evaluation does), what the graph yields, what somebody else holds too, and what is small. */
#include "backend/plan.h"

enum { SMALL = 16 << 10 };

typedef struct gi_weight {
    gi_values values; /* that hold the blob */
    size_t end;       /* the last step that reads one, + 1; 0: none */
    bool stays;
} gi_weight;

struct gi_weights {
    gi_plan *p;
    gi_map place; /* node id + 1 → index among the placed + 1 */
    bool *packs;  /* of placed steps: keeps no pointer to constants that are not in its `in` */
    gi_vec(gi_weight) all;
};

/* The placed step that the use belongs to; SIZE_MAX: it is a result; SIZE_MAX - 1: nobody will run it. */
static size_t reader(const gi_weights *w, const gi_use *u)
{
    gi_node *n = u->node;
    if (!n) {
        if (u->block == w->p->block)
            return SIZE_MAX;
        n = u->block->owner;
    }
    n = n ? gi_node_in_block(n, w->p->block) : NULL;
    const uintptr_t at = n ? (uintptr_t)gi_map_get(&w->place, (uint64_t)n->id + 1) : 0;
    return at ? at - 1 : SIZE_MAX - 1;
}

static bool is_large_and_made(const gi_value *v)
{
    const gi_blob *b = gi_value_blob(v);
    for (; b && b->base; b = b->base)
        ;
    return b && b->bytes >= SMALL && b->owned && v->n_uses;
}

/* One entry a blob, with the values that hold it and the last step that reads one of them. */
static gopt_status collect(gi_weights *w, gi_arena *a)
{
    const gopt_graph *g = w->p->block->graph;
    gi_map seen;
    gi_map_init(&seen, a);
    for (size_t i = 0; i < g->consts.n; i++) {
        gi_value *v = g->consts.p[i];
        if (!is_large_and_made(v))
            continue;
        const gi_blob *b = gi_value_blob(v);
        uintptr_t at = (uintptr_t)gi_map_get(&seen, gi_key(b));
        if (!at) {
            GI_NEED(gi_push(a, &w->all, (gi_weight){ 0 }));
            at = w->all.n;
            GI_NEED(gi_map_put(&seen, gi_key(b), (void *)at));
        }
        gi_weight *k = &w->all.p[at - 1];
        GI_NEED(gi_push(a, &k->values, v));
        for (const gi_use *u = v->uses; u; u = u->next) {
            const size_t r = reader(w, u);
            if (r == SIZE_MAX)
                k->stays = true;
            else if (r != SIZE_MAX - 1 && r + 1 > k->end)
                k->end = r + 1;
        }
    }
    return GOPT_OK;
}

gopt_status gi_weights_open(gi_plan *p, const gi_placed *placed, size_t n, gi_arena *a, gi_weights **out)
{
    *out = NULL;
    if (!p->e->options.take_graph || !p->e->is_static || p->e->tuning || p->outer || p->e->options.for_plan)
        return GOPT_OK;
    gi_weights *w = GI_NEW(a, gi_weights);
    GI_NEED(w);
    w->p = p;
    w->packs = GI_NEW_ARRAY(a, bool, n + 1);
    GI_NEED(w->packs);
    gi_map_init(&w->place, a);
    for (size_t i = 0; i < n; i++)
        GI_NEED(gi_map_put(&w->place, (uint64_t)placed[i].node->id + 1, (void *)(uintptr_t)(i + 1)));
    GI_TRY(collect(w, a));
    *out = w;
    return GOPT_OK;
}

static bool may_go(const gi_weights *w, const gi_weight *k)
{
    for (size_t i = 0; i < k->values.n; i++) {
        const gi_value *v = k->values.p[i];
        if (gi_plan_find(w->p, v, false) >= 0 || gi_plan_find(w->p, v, true) >= 0)
            return false;
        for (const gi_use *u = v->uses; u; u = u->next) {
            const size_t r = reader(w, u);
            if (r < SIZE_MAX - 1 && !w->packs[r])
                return false;
        }
    }
    return !k->stays;
}

void gi_weights_passed(gi_weights *w, size_t at, bool packs)
{
    if (!w)
        return;
    w->packs[at] = packs;
    for (size_t i = 0; packs && i < w->all.n; i++) {
        const gi_weight *k = &w->all.p[i];
        if (k->end == at + 1 && may_go(w, k))
            gi_blob_let_go(gi_value_blob(k->values.p[0]), (int)k->values.n);
    }
}
