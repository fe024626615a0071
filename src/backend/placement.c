/* Where the nodes of a graph would run: what a plan decides before it compiles anything, told node by node. */
#include "backend/plan.h"
#include "backend/specialise.h"
#include "ops/plugin.h"

typedef struct asker {
    gopt_graph *graph;
    gi_arena *scratch;
    struct gopt_engine e; /* its devices alone */
    gi_vec(gopt_placement) found;
} asker;

/* Does a kernel of that device run it, and not its evaluation? */
static gopt_status has_kernel(const asker *k, const gi_placed *at, bool *has, const char **why)
{
    const gi_backend *b = k->e.backend[at->device];
    gi_step s;
    *has = true;
    if (!b->has_kernel)
        return GOPT_OK;
    GI_TRY(gi_plan_step_of(at->node, at->n_out, k->scratch, k->scratch, &s));
    *has = b->has_kernel(k->e.device[at->device], &s, k->scratch, why);
    return GOPT_OK;
}

static gopt_status add(asker *k, const gi_plan *p, const gi_placed *at)
{
    gi_arena *a = k->graph->arena;
    const int asked = k->e.backend[1] ? 1 : 0;
    const gi_node *n = at->node;
    gopt_placement o = { .node = n, .name = gi_plan_name(a, n), .op = gi_plan_name_ops(a, n), .depth = p->depth };
    const char *why = at->reason, *no = NULL;
    if (at->kind == GI_STEP_COMPILED) {
        GI_TRY(has_kernel(k, at, &o.kernel, &no));
        o.backend = k->e.backend[at->device]->name;
        o.asked = at->device == asked;
    } else if (n->op == OP_Fusion || gi_node_evaluates(n)) {
        o.backend = gi_backend_cpu.name;
        o.asked = !asked;
    }
    if (!o.kernel && !why)
        why = no ? no : at->kind == GI_STEP_IF ? "control flow: a branch is chosen in a run" : "it has no evaluation";
    const char *region = gi_map_get(&p->fell, (uint64_t)n->id + 1);
    o.reason = why ? gi_arena_str(a, why) : NULL;
    o.reason_kind = at->reason && at->reason_kind ? at->reason_kind : o.reason;
    o.region = region ? gi_arena_str(a, region) : NULL;
    GI_NEED(o.name && o.op && (o.reason || !why) && (o.region || !region));
    GI_TRY(gi_plan_origins(a, n, &o.origins, &o.n_origins));
    GI_NEED(gi_push(a, &k->found, o));
    return GOPT_OK;
}

static gopt_status place_block(asker *k, gi_block *b, gi_plan *outer)
{
    gi_plan *p = GI_NEW(k->scratch, gi_plan);
    gi_placed *placed;
    size_t n;
    GI_NEED(p);
    *p =
        (gi_plan){ .e = &k->e, .arena = k->scratch, .block = b, .outer = outer, .depth = outer ? outer->depth + 1 : 0 };
    gi_map_init(&p->slot_of, k->scratch);
    gi_map_init(&p->fell, k->scratch);
    GI_TRY(gi_plan_regions(p, k->scratch));
    GI_TRY(gi_plan_place(p, k->scratch, &placed, &n));
    for (size_t i = 0; i < n; i++) {
        static const int branches[] = { If_at_then_branch, If_at_else_branch };
        GI_TRY(add(k, p, &placed[i]));
        for (size_t j = 0; placed[i].kind == GI_STEP_IF && j < GI_COUNT(branches); j++) {
            gi_block *branch = gi_attr_graph(placed[i].node, branches[j]);
            if (branch)
                GI_TRY(place_block(k, branch, p));
        }
    }
    return GOPT_OK;
}

gopt_status gopt_find_placement(gopt_graph *g, gopt_kernels *kernels, const char **device, const gopt_placement **list,
                                size_t *n)
{
    const gi_devices *d = &kernels->devices;
    const int asked = d->backend[1] ? 1 : 0;
    *device = NULL;
    *list = NULL;
    *n = 0;
    asker k = { .graph = g, .scratch = gi_arena_create(g->cx) };
    GI_NEED(k.scratch);
    k.e = (struct gopt_engine){ .cx = g->cx,
                                .backend = { d->backend[0], d->backend[1] },
                                .device = { d->device[0], d->device[1] } };
    gopt_status st = gi_specialise_in_place(g);
    if (st == GOPT_OK)
        st = place_block(&k, g->main, NULL);
    if (st == GOPT_OK && !kernels->absent) {
        *device = gi_arena_str(g->arena, d->backend[asked]->device_name(d->device[asked]));
        st = *device ? GOPT_OK : GOPT_NO_MEMORY;
    }
    gi_arena_destroy(k.scratch);
    *list = k.found.p;
    *n = k.found.n;
    return st;
}
