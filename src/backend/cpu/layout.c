/* Layouts: which values of a plan lie in blocks of channels, and conversion between the two.
 *
 * Where products are in bfloat16, such images are as well (bf16_values.c).
 *
 * A chain of convolutions, pools and pointwise nodes keeps its images blocked; whatever else reads one converts it.
 * The decision is one walk in schedule order: a node that can write blocked does so where it computes over channels
 * (a convolution) or already reads something blocked, unless someone outside of the plan, or only nodes that would
 * convert it back, read the result. */
#include "backend/cpu/bf16.h"
#include "backend/cpu/winograd.h"

/* Bytes behind a value of bfloat16: products read whole tiles. */
enum { BEHIND = GK_BF16_PIXELS * GK_BF16_K * (int)sizeof(uint16_t) };

static bool image(const gi_value *v, int64_t block, int64_t *dims)
{
    int rank;
    return gi_cpu_static_f32(v, &rank, dims) && (rank == 3 || rank == 4) && dims[1] * 2 >= block &&
           gi_product(0, rank, dims) > 0;
}

uint64_t gi_cpu_layout_bytes(const gi_cpu *d, gi_layout l, const gi_type *t)
{
    size_t bytes = 0;
    int64_t dims[GOPT_MAX_RANK];
    if (!gi_type_bytes(t, &bytes) || l == GI_PLAIN)
        return bytes;
    if (gi_is_bf16(l))
        bytes /= sizeof(float) / sizeof(uint16_t);
    if (!gi_is_blocked(l) || !gi_type_static_dims(t, dims) || !dims[1])
        return bytes;
    const size_t c = (size_t)dims[1], b = (size_t)gi_cpu_layout_block(d, l);
    return bytes / c * ((c + b - 1) / b * b);
}

bool gi_cpu_layouts_agree(const gi_cpu *d, gi_layout a, gi_layout b, const gi_type *t)
{
    int64_t dims[GOPT_MAX_RANK], pixels = 1;
    if (a == b)
        return true;
    if (gi_is_bf16(a) != gi_is_bf16(b) || !gi_type_static_dims(t, dims))
        return false;
    for (int i = 2; i < t->rank; i++)
        pixels *= dims[i];
    return pixels == 1 && t->rank >= 2 && dims[1] % gi_cpu_layout_block(d, gi_is_blocked(a) ? a : b) == 0;
}

gi_layout gi_cpu_layout(const gi_cpu_plan *p, const gi_value *v)
{
    void *known = p && v ? gi_map_get(&p->layouts, (uint64_t)v->id + 1) : NULL;
    return known ? (gi_layout)((uintptr_t)known - 1) : GI_PLAIN;
}

int gi_cpu_layout_number(gi_device *dev, void *plan, const gi_value *v)
{
    (void)dev;
    return (int)gi_cpu_layout(plan, v);
}

uint64_t gi_cpu_value_bytes(gi_device *dev, void *plan, const gi_value *v)
{
    const gi_layout l = gi_cpu_layout(plan, v);
    return gi_cpu_layout_bytes((const gi_cpu *)dev, l, v->type) + (gi_is_bf16(l) ? BEHIND : 0);
}

void gi_cpu_want_like(const gi_step *s, gi_cpu_step *c, const gi_type *t, gi_layout blocked)
{
    int64_t like[GOPT_MAX_RANK], dims[GOPT_MAX_RANK];
    c->want_out[0] = blocked;
    gi_type_static_dims(t, like);
    for (uint32_t i = 0; i < s->n_in; i++) {
        int rank;
        const bool same = !gi_value_blob(s->in[i]) && gi_cpu_static_f32(s->in[i], &rank, dims) && rank == t->rank;
        c->want_in[i] = same && dims[1] == like[1] && dims[1] > 1 ? blocked : GI_PLAIN;
    }
}

/* What the readers of a value take. */
typedef struct readers {
    bool blocks;     /* all lie in the plan, and one at least takes blocks */
    bool bf16;       /* all take bfloat16 */
    bool multiplies; /* one at least multiplies it */
} readers;

static readers readers_of(const gi_cpu *d, const gi_cpu_plan *p, const gi_value *v)
{
    readers r = { .bf16 = gi_bf16_asked(d, 1) };
    for (const gi_use *u = v->uses; u; u = u->next) {
        const gi_node *n = u->node;
        const gi_block *b = u->node ? u->node->block : u->block;
        /* a use inside a fusion is one of the fusion's */
        while (n ? !gi_map_get(&p->nodes, (uint64_t)n->id + 1) : true) {
            n = b ? b->owner : NULL;
            if (!n)
                return (readers){ 0 };
            b = n->block;
        }
        r.blocks = r.blocks || gi_cpu_takes_blocked(d, n);
        r.bf16 = r.bf16 && gi_bf16_reads(d, n);
        r.multiplies = r.multiplies || (r.bf16 && gi_bf16_multiplies(d, n));
    }
    return r;
}

/* Beside what it multiplies, does it read an image of floats in blocks? To write others, it would have to convert it. */
static bool reads_floats(const gi_cpu *d, const gi_cpu_plan *p, const gi_node *n, const gi_values *captured)
{
    const gi_value *factor = gi_bf16_factor(d, n);
    int64_t dims[GOPT_MAX_RANK];
    for (size_t i = 0; i < n->n_in + captured->n; i++) {
        const gi_value *v = i < n->n_in ? n->in[i].value : captured->p[i - n->n_in];
        if (v && v != factor && gi_cpu_layout(p, v) == GI_BLOCKED && gi_type_static_dims(v->type, dims) &&
            gi_product(2, v->type->rank, dims) > 1)
            return true;
    }
    return false;
}

/* How an image lies that node n, which reads `captured` beside its inputs, could write in blocks. */
static gi_layout layout_of(const gi_cpu *d, const gi_cpu_plan *p, const gi_node *n, const gi_value *v,
                           const gi_values *captured)
{
    int64_t dims[GOPT_MAX_RANK];
    const readers r = readers_of(d, p, v);
    if (!r.blocks || !r.bf16 || !gi_bf16_writes(d, n) || !gi_type_static_dims(v->type, dims) ||
        gi_product(2, v->type->rank, dims) == 1 || reads_floats(d, p, n, captured))
        return r.blocks ? GI_BLOCKED : GI_PLAIN;
    bool wants = r.multiplies || gi_bf16_multiplies(d, n);
    for (uint32_t i = 0; i < n->n_in; i++)
        wants = wants || gi_cpu_layout(p, n->in[i].value) == GI_BLOCKED_BF16;
    for (size_t i = 0; i < captured->n; i++)
        wants = wants || gi_cpu_layout(p, captured->p[i]) == GI_BLOCKED_BF16;
    return wants ? GI_BLOCKED_BF16 : GI_BLOCKED;
}

static bool put_layout(gi_cpu_plan *p, const gi_value *v, gi_layout l)
{
    return gi_map_put(&p->layouts, (uint64_t)v->id + 1, (void *)((uintptr_t)l + 1));
}

gopt_status gi_cpu_plan_open(gi_device *dev, gi_node *const *nodes, size_t n, void **plan)
{
    const gi_cpu *d = (const gi_cpu *)dev;
    gi_arena *arena = gi_arena_create(d->cx);
    GI_NEED(arena);
    gi_cpu_plan *p = GI_NEW(arena, gi_cpu_plan);
    if (!p)
        goto no_memory;
    p->arena = arena;
    gi_map_init(&p->layouts, arena);
    gi_map_init(&p->nodes, arena);
    gi_map_init(&p->winograd, arena);
    for (size_t i = 0; i < n; i++)
        if (!gi_map_put(&p->nodes, (uint64_t)nodes[i]->id + 1, nodes[i]))
            goto no_memory;
    if (!d->reference && gi_winograd_budget(d, nodes, n, p) != GOPT_OK)
        goto no_memory;
    for (size_t i = 0; i < n && !d->reference; i++) {
        int64_t dims[GOPT_MAX_RANK];
        if (nodes[i]->n_out == 1 && gi_bf16_rows(d, p, nodes[i], nodes[i]->out[0]) &&
            !put_layout(p, nodes[i]->out[0], GI_PLAIN_BF16))
            goto no_memory;
        if (!gi_cpu_takes_blocked(d, nodes[i]))
            continue;
        bool wants = gi_cpu_makes_blocked(nodes[i]);
        gi_values in = { 0 };
        for (uint32_t k = 0; k < nodes[i]->n_in; k++)
            wants = wants || gi_is_blocked(gi_cpu_layout(p, nodes[i]->in[k].value));
        if (!gi_node_captures(nodes[i], arena, &in))
            goto no_memory;
        for (size_t k = 0; k < in.n; k++)
            wants = wants || gi_is_blocked(gi_cpu_layout(p, in.p[k]));
        for (uint32_t k = 0; wants && k < nodes[i]->n_out; k++)
            if (image(nodes[i]->out[k], d->block, dims)) {
                const gi_layout l = layout_of(d, p, nodes[i], nodes[i]->out[k], &in);
                if (l != GI_PLAIN && !put_layout(p, nodes[i]->out[k], l))
                    goto no_memory;
            }
    }
    *plan = p;
    return GOPT_OK;
no_memory:
    gi_arena_destroy(arena);
    return GOPT_NO_MEMORY;
}

void gi_cpu_plan_close(gi_device *dev, void *plan)
{
    gi_cpu_plan *p = plan;
    (void)dev;
    if (p)
        gi_arena_destroy(p->arena);
}
