/* Layouts: which values of a plan lie in blocks of channels, and conversion between the two.
 *
 * A chain of convolutions, pools and pointwise nodes keeps its images blocked; whatever else reads one converts it.
 * The decision is one walk in schedule order: a node that can write blocked does so where it computes over channels
 * (a convolution) or already reads something blocked, unless someone outside of the plan, or only nodes that would
 * convert it back, read the result. */
#include "backend/cpu/cpu.h"
#include "backend/cpu/winograd.h"

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
    if (!gi_type_bytes(t, &bytes) || l == GI_PLAIN || !gi_type_static_dims(t, dims) || !dims[1])
        return bytes;
    const size_t c = (size_t)dims[1], b = (size_t)d->block;
    return bytes / c * ((c + b - 1) / b * b);
}

bool gi_cpu_layouts_agree(const gi_cpu *d, const gi_type *t)
{
    int64_t dims[GOPT_MAX_RANK], pixels = 1;
    if (!gi_type_static_dims(t, dims))
        return false;
    for (int i = 2; i < t->rank; i++)
        pixels *= dims[i];
    return pixels == 1 && t->rank >= 2 && dims[1] % d->block == 0;
}

gi_layout gi_cpu_layout(const gi_cpu_plan *p, const gi_value *v)
{
    return p && v && gi_map_get(&p->layouts, (uint64_t)v->id + 1) ? GI_BLOCKED : GI_PLAIN;
}

int gi_cpu_layout_number(gi_device *dev, void *plan, const gi_value *v)
{
    (void)dev;
    return (int)gi_cpu_layout(plan, v);
}

uint64_t gi_cpu_value_bytes(gi_device *dev, void *plan, const gi_value *v)
{
    return gi_cpu_layout_bytes((const gi_cpu *)dev, gi_cpu_layout(plan, v), v->type);
}

void gi_cpu_want_like(const gi_step *s, gi_cpu_step *c, const gi_type *t)
{
    int64_t like[GOPT_MAX_RANK], dims[GOPT_MAX_RANK];
    c->want_out[0] = GI_BLOCKED;
    gi_type_static_dims(t, like);
    for (uint32_t i = 0; i < s->n_in; i++) {
        int rank;
        const bool same = !gi_value_blob(s->in[i]) && gi_cpu_static_f32(s->in[i], &rank, dims) && rank == t->rank;
        c->want_in[i] = same && dims[1] == like[1] && dims[1] > 1 ? GI_BLOCKED : GI_PLAIN;
    }
}

/* Do all readers lie in the plan, and one of them at least take blocks? */
static bool readers_take_blocks(const gi_cpu *d, const gi_cpu_plan *p, const gi_value *v)
{
    bool one = false;
    for (const gi_use *u = v->uses; u; u = u->next) {
        const gi_node *n = u->node;
        const gi_block *b = u->node ? u->node->block : u->block;
        /* a use inside a fusion is one of the fusion's */
        while (n ? !gi_map_get(&p->nodes, (uint64_t)n->id + 1) : true) {
            n = b ? b->owner : NULL;
            if (!n)
                return false;
            b = n->block;
        }
        one = one || gi_cpu_takes_blocked(d, n);
    }
    return one;
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
        if (!gi_cpu_takes_blocked(d, nodes[i]))
            continue;
        bool wants = gi_cpu_makes_blocked(nodes[i]);
        gi_values in = { 0 };
        for (uint32_t k = 0; k < nodes[i]->n_in; k++)
            wants = wants || gi_cpu_layout(p, nodes[i]->in[k].value) == GI_BLOCKED;
        if (!gi_node_captures(nodes[i], arena, &in))
            goto no_memory;
        for (size_t k = 0; k < in.n; k++)
            wants = wants || gi_cpu_layout(p, in.p[k]) == GI_BLOCKED;
        for (uint32_t k = 0; wants && k < nodes[i]->n_out; k++)
            if (image(nodes[i]->out[k], d->block, dims) && readers_take_blocks(d, p, nodes[i]->out[k]) &&
                !gi_map_put(&p->layouts, (uint64_t)nodes[i]->out[k]->id + 1, nodes[i]->out[k]))
                goto no_memory;
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

/* ---- conversion ---- */

typedef struct convert_job {
    const gi_cpu *d;
    int64_t batch, channels, pixels;
    bool to_blocked;
    const float *src;
    float *dst;
} convert_job;

static void convert_part(void *arg, int w, int nw)
{
    const convert_job *j = arg;
    const int64_t b = j->d->block, blocks = (j->channels + b - 1) / b;
    const int64_t chunk = 1024, chunks = (j->pixels + chunk - 1) / chunk;
    int64_t from, to;
    gi_share(j->batch * blocks * chunks, 1, w, nw, &from, &to);
    for (int64_t i = from; i < to; i++) {
        const int64_t at = i % chunks * chunk, cb = i / chunks % blocks, n = i / chunks / blocks;
        const int64_t left = gi_min_i64(b, j->channels - cb * b), count = gi_min_i64(chunk, j->pixels - at);
        const int64_t plain = (n * j->channels + cb * b) * j->pixels + at;
        const int64_t blocked = ((n * blocks + cb) * j->pixels + at) * b;
        if (!j->to_blocked) {
            j->d->k->transpose((size_t)count, (size_t)left, j->src + blocked, b, j->dst + plain, j->pixels);
            continue;
        }
        j->d->k->transpose((size_t)left, (size_t)count, j->src + plain, j->pixels, j->dst + blocked, b);
        for (int64_t p = 0; left < b && p < count; p++)
            memset(j->dst + blocked + p * b + left, 0, (size_t)(b - left) * sizeof(float));
    }
}

void gi_cpu_convert(const gi_cpu *d, gi_pool *pool, const gi_type *t, gi_layout from, const void *src, void *dst)
{
    int64_t dims[GOPT_MAX_RANK] = { 0 };
    gi_type_static_dims(t, dims);
    convert_job j = { .d = d,
                      .batch = dims[0],
                      .channels = dims[1],
                      .pixels = gi_product(2, t->rank, dims),
                      .to_blocked = from == GI_PLAIN,
                      .src = src,
                      .dst = dst };
    gi_cpu_run(d, pool, convert_part, &j);
}
