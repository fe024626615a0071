/* Equal constants become one.
 *
 *     %a = Add %x, dense<f32[768], #5f>        %a = Add %x, %w
 *     %b = Add %y, dense<f32[768], #5f>   ⇒    %b = Add %y, %w
 *
 * Exporters write tied weights and the same small shapes again and again. Bytes are compared, not hashes
 * trusted; and since most weights of one shape differ in their first bytes, only a sample of each is hashed,
 * so that the pages of a mapped file that nobody else needs are not read for this. */
#include "passes/util.h"

typedef struct entry {
    gi_value *value;
    struct entry *next;
} entry;

typedef struct dedup {
    gi_pass_ctx *cx;
    gi_map by_sample; /* to entry chains */
    gi_map done;      /* value ids that stand for themselves */
} dedup;

/* The one constant that has these contents; NULL where there is no memory. */
static gi_value *canonical(dedup *d, gi_value *v)
{
    if (gi_map_get(&d->done, (uint64_t)v->id + 1))
        return v;
    const uint64_t key = gi_blob_sample(v->def.blob);
    entry *first = gi_map_get(&d->by_sample, key);
    for (const entry *e = first; e; e = e->next)
        if (gi_blob_equal(e->value->def.blob, v->def.blob))
            return e->value;
    entry *e = GI_NEW(d->cx->scratch, entry);
    if (!e)
        return NULL;
    *e = (entry){ .value = v, .next = first };
    return gi_map_put(&d->by_sample, key, e) && gi_map_put(&d->done, (uint64_t)v->id + 1, v) ? v : NULL;
}

static bool dedup_inputs(void *arg, gi_node *n)
{
    dedup *d = arg;
    for (uint32_t i = 0; i < n->n_in; i++) {
        gi_value *v = n->in[i].value;
        if (!v || v->kind != GI_DEF_CONST)
            continue;
        gi_value *c = canonical(d, v);
        if (!c)
            return false;
        if (c == v || !gi_pass_may(d->cx, "dedup_weights"))
            continue;
        gi_node_set_in(n, i, c);
        char of[32];
        gi_applied(d->cx, "dedup_weights", n, "its input %u has the same contents as %s", i,
                   gi_value_label(c, of, sizeof of));
    }
    return true;
}

gopt_status gi_pass_dedup_weights(gopt_graph *g, gi_pass_ctx *cx)
{
    dedup d = { .cx = cx };
    gi_map_init(&d.by_sample, cx->scratch);
    gi_map_init(&d.done, cx->scratch);
    return gi_each_node(g->main, dedup_inputs, &d) ? GOPT_OK : GOPT_NO_MEMORY;
}
