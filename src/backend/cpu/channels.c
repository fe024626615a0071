/* Tactic "channels": Gather, Concat and Split along the channels of blocked images that cut through blocks, such
 * as the shuffles of ShuffleNet.
 *
 * Each block of the result is put together from lanes of a few blocks. Where a channel comes from is followed through
 * further such nodes whose results nothing else reads: a Concat, a shuffle and a Split become one copy, and the steps
 * before the last have no readers left (plan_memory.c drops them). */
#include "backend/cpu/cpu.h"

enum { MOST_SOURCES = 8, CHUNK = 256 };

typedef struct source {
    uint32_t in;
    int64_t block; /* of the input's channels */
} source;

/* One block of an output. */
typedef struct target {
    uint32_t out, sources;
    int64_t block;
    source source[MOST_SOURCES];
    int32_t *at; /* [sources][block], as gk pick_channels takes it */
} target;

typedef struct channels {
    int64_t batch, pixels;
    int64_t n;
    target *targets;
    int64_t *in_blocks, *out_blocks; /* of each input and output */
} channels;

/* ---- what a node does to channels ---- */

static bool image_dims(const gi_value *v, int *rank, int64_t *dims)
{
    return v && !gi_value_blob(v) && gi_cpu_static_f32(v, rank, dims) && (*rank == 3 || *rank == 4) &&
           gi_product(0, *rank, dims) > 0;
}

static bool is_axis_of_channels(int64_t axis, int rank)
{
    return axis == 1 || axis == 1 - rank;
}

static bool constant_ints(const gi_value *v, int64_t i, int64_t n, int64_t *x)
{
    const gi_blob *b = v ? gi_value_blob(v) : NULL;
    if (!b || (b->dtype != GOPT_I64 && b->dtype != GOPT_I32) || gi_blob_elements(b) != n)
        return false;
    *x = gi_load_i64(b->dtype, b->data, (size_t)i);
    return true;
}

/* The channel before a node that is channel c of its output `out`. */
static bool channel_before(const gi_node *n, const gi_value *out, int64_t c, gi_value **v, int64_t *channel)
{
    int rank, r;
    int64_t dims[GOPT_MAX_RANK], d[GOPT_MAX_RANK], x, at = 0;
    *v = gi_node_in(n, 0);
    *channel = c;
    if (!image_dims(out, &rank, dims))
        return false;
    switch (n->op) {
    case OP_Gather:
        if (!is_axis_of_channels(gi_attr_int(n, Gather_at_axis), rank) || !image_dims(*v, &r, d) || r != rank ||
            !constant_ints(gi_node_in(n, 1), c, dims[1], &x))
            return false;
        *channel = x < 0 ? x + d[1] : x;
        return *channel >= 0 && *channel < d[1];
    case OP_Concat:
        if (!is_axis_of_channels(gi_attr_int(n, Concat_at_axis), rank))
            return false;
        for (uint32_t i = 0; i < n->n_in; at += d[1], i++) {
            *v = gi_node_in(n, i);
            if (!image_dims(*v, &r, d) || r != rank)
                return false;
            if (c < at + d[1]) {
                *channel = c - at;
                return true;
            }
        }
        return false;
    case OP_Split:
        if (!is_axis_of_channels(gi_attr_int(n, Split_at_axis), rank) || !image_dims(*v, &r, d))
            return false;
        for (uint32_t i = 0; i < n->n_out && n->out[i] != out; i++, at += d[1])
            if (!image_dims(n->out[i], &r, d))
                return false;
        *channel = at + c;
        return true;
    default:
        return false;
    }
}

static bool moves_channels(const gi_node *n)
{
    gi_value *v;
    int64_t channel;
    return n && n->n_out && n->n_out <= 16 && channel_before(n, n->out[0], 0, &v, &channel);
}

/* Is it a result of such a node that nothing reads but such nodes of the same plan? Not of a Split: what lies behind a
 * row of Splits would come from ever more blocks. */
static bool passes_through(const gi_cpu_plan *p, const gi_value *v)
{
    const gi_node *n = gi_value_node(v);
    if (!n || !p || n->op == OP_Split || !gi_map_get(&p->nodes, (uint64_t)n->id + 1) || !moves_channels(n))
        return false;
    for (const gi_use *u = v->uses; u; u = u->next)
        if (!u->node || !gi_map_get(&p->nodes, (uint64_t)u->node->id + 1) || !moves_channels(u->node))
            return false;
    return true;
}

static bool trace(const gi_cpu_plan *p, const gi_node *n, const gi_value *out, int64_t c, gi_value **v,
                  int64_t *channel)
{
    if (!channel_before(n, out, c, v, channel))
        return false;
    for (int depth = 0; depth < 16 && passes_through(p, *v); depth++) {
        gi_value *before;
        int64_t at;
        if (!channel_before(gi_value_node(*v), *v, *channel, &before, &at))
            break;
        *v = before;
        *channel = at;
    }
    return true;
}

bool gi_channels_takes_blocked(const gi_cpu *d, const gi_node *n)
{
    int rank;
    int64_t dims[GOPT_MAX_RANK], channel;
    gi_value *v;
    (void)d;
    if (!moves_channels(n))
        return false;
    for (uint32_t i = 0; i < n->n_out; i++)
        if (!image_dims(n->out[i], &rank, dims) || !channel_before(n, n->out[i], dims[1] - 1, &v, &channel))
            return false;
    return true;
}

/* ---- preparing ---- */

typedef struct builder {
    gi_cpu *d;
    gi_step *s;
    gi_cpu_step *c;
    channels *v;
    gi_values in;
} builder;

static int64_t input_of(builder *b, gi_value *v)
{
    for (size_t i = 0; i < b->in.n; i++)
        if (b->in.p[i] == v)
            return (int64_t)i;
    return gi_push(b->c->arena, &b->in, v) ? (int64_t)b->in.n - 1 : -1;
}

/* Block k of output o; *ok false where it comes from too many. */
static gopt_status build_target(builder *b, uint32_t o, int64_t k, int64_t of, target *t, bool *ok)
{
    const int64_t block = b->d->block;
    *t = (target){ .out = o, .block = k };
    t->at = GI_NEW_ARRAY(b->c->arena, int32_t, (size_t)(block * MOST_SOURCES));
    GI_NEED(t->at);
    for (int64_t i = 0; i < block * MOST_SOURCES; i++)
        t->at[i] = -1;
    for (int64_t lane = 0; lane < block && k * block + lane < of; lane++) {
        gi_value *v;
        int64_t channel;
        uint32_t at = 0;
        if (!(*ok = trace(b->s->plan, b->s->node, b->s->out[o], k * block + lane, &v, &channel)))
            return GOPT_OK;
        const int64_t in = input_of(b, v);
        GI_NEED(in >= 0);
        while (at < t->sources && (t->source[at].in != in || t->source[at].block != channel / block))
            at++;
        if (!(*ok = at < MOST_SOURCES))
            return GOPT_OK;
        if (at == t->sources)
            t->source[t->sources++] = (source){ (uint32_t)in, channel / block };
        t->at[at * (uint32_t)block + lane] = (int32_t)(channel % block);
    }
    return GOPT_OK;
}

static gopt_status build_targets(builder *b, bool *ok)
{
    channels *v = b->v;
    int rank;
    int64_t dims[GOPT_MAX_RANK], n = 0;
    v->out_blocks = GI_NEW_ARRAY(b->c->arena, int64_t, b->s->n_out + 1);
    GI_NEED(v->out_blocks);
    for (uint32_t o = 0; o < b->s->n_out; o++) {
        *ok = image_dims(b->s->out[o], &rank, dims);
        if (!*ok)
            return GOPT_OK;
        n += v->out_blocks[o] = (dims[1] + b->d->block - 1) / b->d->block;
    }
    v->batch = dims[0];
    v->pixels = gi_product(2, rank, dims);
    v->targets = GI_NEW_ARRAY(b->c->arena, target, (size_t)n + 1);
    GI_NEED(v->targets);
    for (uint32_t o = 0; o < b->s->n_out; o++) {
        image_dims(b->s->out[o], &rank, dims);
        for (int64_t k = 0; k < v->out_blocks[o] && *ok; k++)
            GI_TRY(build_target(b, o, k, dims[1], &v->targets[v->n++], ok));
    }
    return GOPT_OK;
}

static gopt_status prepare(gi_cpu *d, gi_step *s, gi_cpu_step *c, bool *took)
{
    bool ok = true, blocked = false;
    int rank;
    int64_t dims[GOPT_MAX_RANK];
    for (uint32_t i = 0; i < s->n_out; i++)
        blocked = blocked || gi_is_blocked(c->have_out[i]);
    for (uint32_t i = 0; i < s->n_in; i++)
        blocked = blocked || gi_is_blocked(c->have_in[i]);
    if (!blocked || !s->n_out || !gi_channels_takes_blocked(d, s->node) || gi_move_takes_blocked(d, s->node))
        return GOPT_OK;
    builder b = { .d = d, .s = s, .c = c, .v = gi_cpu_own(c, sizeof(channels)) };
    GI_NEED(b.v);
    GI_TRY(build_targets(&b, &ok));
    if (!ok)
        return gi_cpu_decline(c, "a block of channels comes from more than %d", MOST_SOURCES);
    GI_TRY(gi_cpu_set_in(s, c, (uint32_t)b.in.n, b.in.p));
    b.v->in_blocks = GI_NEW_ARRAY(c->arena, int64_t, s->n_in + 1);
    GI_NEED(b.v->in_blocks);
    for (uint32_t i = 0; i < s->n_in; i++) {
        image_dims(s->in[i], &rank, dims);
        b.v->in_blocks[i] = (dims[1] + d->block - 1) / d->block;
        c->want_in[i] = GI_BLOCKED;
    }
    for (uint32_t i = 0; i < s->n_out; i++)
        c->want_out[i] = GI_BLOCKED;
    c->own = b.v;
    *took = true;
    return GOPT_OK;
}

/* ---- running ---- */

typedef struct job {
    const gi_cpu *d;
    const channels *v;
    const gi_run_args *args;
} job;

/* Workers share the pixels, as convolutions do, so that a core reads what it wrote. */
static void run_part(void *arg, int worker, int n_workers)
{
    const job *j = arg;
    const channels *v = j->v;
    const int64_t block = j->d->block;
    int64_t from, to;
    gi_share(v->batch * v->pixels, 4, worker, n_workers, &from, &to);
    for (int64_t n; from < to; from += n) {
        const int64_t image = from / v->pixels, at = from % v->pixels;
        n = gi_min_i64(CHUNK, gi_min_i64(to - from, v->pixels - at));
        for (int64_t i = 0; i < v->n; i++) {
            const target *t = &v->targets[i];
            const float *src[MOST_SOURCES];
            for (uint32_t k = 0; k < t->sources; k++) {
                const source *s = &t->source[k];
                src[k] = (const float *)j->args->in[s->in].host +
                         ((image * v->in_blocks[s->in] + s->block) * v->pixels + at) * block;
            }
            float *dst = (float *)j->args->out[t->out].host +
                         ((image * v->out_blocks[t->out] + t->block) * v->pixels + at) * block;
            j->d->k->pick_channels((size_t)n, t->sources, src, t->at, dst);
        }
    }
}

static gopt_status run(gi_cpu *d, const gi_step *s, const gi_cpu_step *c, const gi_run_args *args)
{
    (void)s;
    job j = { d, c->own, args };
    gi_cpu_run(d, args->pool, run_part, &j);
    return GOPT_OK;
}

const gi_tactic gi_tactic_channels = { .name = "channels", .prepare = prepare, .run = run };
