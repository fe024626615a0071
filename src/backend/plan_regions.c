/* Regions that no kernel runs whole fall apart, before anything is placed.
 *
 *     Fusion { MatMul Mul Softmax MatMul }     ⇒     Fusion { MatMul Mul }  Softmax  MatMul
 *
 * The passes draw regions by what a kernel could do; a backend that has no such kernel must not pay for it by
 * evaluating the whole node after node. So each region is put to the backends (`has_kernel`), and what none takes is
 * cut into the longest stretches of its order that one does. A stretch of a valid order is always a part that no path
 * leaves and comes back to, since none does so for the region. Nodes that not even alone have a kernel stand alone,
 * and are placed as any other.
 *
 * A region that stays whole on the device that was asked for may also grow: where its kernel computes the node that alone
 * reads what it gives, too (`grows`), as a maximum over windows behind a first convolution, that node joins it. The passes
 * do not do so, since other backends would gain nothing. Without regions (--no-fuse) nothing grows.
 *
 * The device that was asked for comes first: what it takes alone stays on it, even where the cpu would take more of
 * the region as one. Longest first, and no longer than MAX_PART, so the cost is linear in the number of nodes. */
#include "backend/plan.h"

enum { MAX_PART = 48 };

typedef struct splitter {
    gi_plan *p;
    gi_arena *scratch; /* reset after each region */
} splitter;

static bool has_kernel(const splitter *sp, int device, gi_node *n, const char **why)
{
    const struct gopt_engine *e = sp->p->e;
    const gi_backend *b = e->backend[device];
    gi_step s;
    if (!b)
        return false;
    if (!b->has_kernel)
        return b->supports(e->device[device], n, sp->scratch, why);
    return gi_plan_step_of(n, n->n_out, sp->scratch, sp->scratch, &s) == GOPT_OK &&
           b->has_kernel(e->device[device], &s, sp->scratch, why);
}

/* The device that runs n by a kernel, the one asked for first; -1 where none does. */
static int device_of(const splitter *sp, gi_node *n)
{
    const char *no = NULL;
    return has_kernel(sp, 1, n, &no) ? 1 : has_kernel(sp, 0, n, &no) ? 0 : -1;
}

/* What a part is called: by its heaviest work. */
static gi_fusion_kind kind_of(gi_node *const *nodes, size_t n)
{
    gi_fusion_kind kind = GI_FUSION_POINTWISE;
    for (size_t i = 0; i < n; i++)
        switch (nodes[i]->op) {
        case OP_Conv:
        case OP_ConvTranspose:
            return GI_FUSION_CONV;
        case OP_MatMul:
        case OP_Gemm:
            return GI_FUSION_MATMUL;
        default:
            if (gi_op_get(nodes[i]->op)->traits & GI_REDUCTION)
                kind = GI_FUSION_REDUCE;
        }
    return kind;
}

static gopt_status note(splitter *sp, const gi_node *n, const char *text)
{
    GI_NEED(gi_map_put(&sp->p->fell, (uint64_t)n->id + 1, (void *)(uintptr_t)text));
    return GOPT_OK;
}

/* Makes one part of the longest stretch of nodes[0 … n-1] that device d has a kernel for. */
static gopt_status cut(splitter *sp, int d, gi_node **nodes, size_t n, const char *text, size_t *taken)
{
    for (size_t k = n; k > 1; k--) {
        const char *why = NULL;
        gi_node *part = gi_fuse_in_order(nodes[0]->block, kind_of(nodes, k), nodes, k);
        GI_NEED(part);
        if (has_kernel(sp, d, part, &why)) {
            *taken = k;
            return note(sp, part, text);
        }
        GI_NEED(gi_unfuse(part));
    }
    *taken = 1;
    return note(sp, nodes[0], text);
}

static gopt_status fall_apart(splitter *sp, gi_node *fusion, const char *text)
{
    const gi_block *body = gi_fusion_block(fusion);
    const size_t n = body->n_nodes;
    gi_node **nodes = GI_NEW_ARRAY(sp->scratch, gi_node *, n + 1);
    int *device = GI_NEW_ARRAY(sp->scratch, int, n + 1);
    size_t count = 0;
    GI_NEED(nodes && device);
    for (gi_node *k = body->first; k; k = k->next)
        nodes[count++] = k;
    GI_NEED(gi_unfuse(fusion));
    for (size_t i = 0; i < n; i++)
        device[i] = device_of(sp, nodes[i]);
    for (size_t i = 0, taken; i < n; i += taken) {
        size_t end = i + 1;
        while (device[i] >= 0 && end < n && end - i < MAX_PART && device[end] == device[i])
            end++;
        GI_TRY(cut(sp, device[i], nodes + i, end - i, text, &taken));
    }
    return GOPT_OK;
}

/* Does a kernel run it as it is: one of the device asked for, or of the cpu where that device has none for any of it? */
static bool stays_whole(const splitter *sp, gi_node *fusion, const char **why)
{
    if (!sp->p->e->backend[1])
        return has_kernel(sp, 0, fusion, why);
    if (has_kernel(sp, 1, fusion, why))
        return true;
    const char *no = NULL;
    for (gi_node *n = gi_fusion_block(fusion)->first; n; n = n->next)
        if (has_kernel(sp, 1, n, &no))
            return false;
    return has_kernel(sp, 0, fusion, &no);
}

/* Lets the node join the region that alone reads what it gives, where the device asked for computes both by one kernel. */
static gopt_status grow(splitter *sp, gi_node *region)
{
    const struct gopt_engine *e = sp->p->e;
    const gi_backend *b = e->backend[1];
    const gi_use *use = region->n_out == 1 ? region->out[0]->uses : NULL;
    if (!b || !b->grows || e->options.plain || !use || use->next || !use->node || use->node->block != region->block ||
        !b->grows(e->device[1], region, use->node, sp->scratch))
        return GOPT_OK;
    gi_node *const next = use->node;
    gi_block *const block = region->block;
    const gi_block *body = gi_fusion_block(region);
    const gi_fusion_kind kind = region->fusion;
    gi_node **nodes = GI_NEW_ARRAY(sp->scratch, gi_node *, body->n_nodes + 1);
    size_t n = 0;
    GI_NEED(nodes);
    for (gi_node *k = body->first; k; k = k->next)
        nodes[n++] = k;
    nodes[n++] = next;
    GI_NEED(gi_unfuse(region));
    GI_NEED(gi_fuse_in_order(block, kind, nodes, n));
    return GOPT_OK;
}

/* Takes apart the regions of these operators, "*": all, as the caller asked. */
static gopt_status take_apart(splitter *sp, const char *which)
{
    gi_vec(gi_node *) regions = { 0 };
    gi_arena_reset(sp->scratch);
    for (gi_node *n = sp->p->block->first; n; n = n->next) {
        if (n->op != OP_Fusion || !gi_fusion_block(n))
            continue;
        const char *ops = gi_plan_name_ops(sp->scratch, n);
        GI_NEED(ops);
        if (!strcmp(which, "*") || !strcmp(which, ops))
            GI_NEED(gi_push(sp->scratch, &regions, n));
    }
    for (size_t i = 0; i < regions.n; i++)
        GI_NEED(gi_unfuse(regions.p[i]));
    return GOPT_OK;
}

gopt_status gi_plan_regions(gi_plan *p, gi_arena *scratch)
{
    gi_vec(gi_node *) regions = { 0 };
    for (gi_node *n = p->block->first; n; n = n->next)
        if (n->op == OP_Fusion && gi_fusion_block(n))
            GI_NEED(gi_push(scratch, &regions, n));
    splitter sp = { .p = p, .scratch = gi_arena_create(p->e->cx) };
    GI_NEED(sp.scratch);
    gopt_status st = GOPT_OK;
    for (size_t i = 0; i < regions.n && st == GOPT_OK; i++) {
        const char *why = NULL;
        gi_arena_reset(sp.scratch);
        if (stays_whole(&sp, regions.p[i], &why)) {
            st = grow(&sp, regions.p[i]);
            continue;
        }
        const char *ops = gi_plan_name_ops(sp.scratch, regions.p[i]);
        const char *text = gi_arena_printf(p->arena, "%s: %s", ops ? ops : "", why ? why : "no kernel runs it as one");
        st = text ? fall_apart(&sp, regions.p[i], text) : GOPT_NO_MEMORY;
    }
    if (st == GOPT_OK && p->e->options.unfuse)
        st = take_apart(&sp, p->e->options.unfuse);
    gi_arena_destroy(sp.scratch);
    return st;
}
