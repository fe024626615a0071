/* Tactic "resize_linear": Resize whose pixels are sums of several, linear or cubic, of an image's rows and columns.
 *
 * Places and weights come from the operator's own rules (ops/resize.h). A row of the output is first a sum of input
 * rows, in scratch that stays in the cache, then each of its pixels a sum of that row's. */
#include "backend/cpu/cpu.h"
#include "ops/resize.h"

typedef struct axis {
    int64_t in, out, taps;
    int32_t *at; /* [out][taps] */
    float *w;
} axis;

typedef struct resize {
    int64_t planes;
    bool blocked;
    axis h, w;
    uint64_t row; /* bytes of scratch a worker */
} resize;

enum { MOST_TAPS = 64 };

static bool applies(const gi_node *n, int *rank, int64_t *x, int64_t *y)
{
    int ry;
    if (n->op != OP_Resize || gi_attr_is(n, Resize_at_mode, "nearest") ||
        gi_attr_is(n, Resize_at_coordinate_transformation_mode, "tf_crop_and_resize") ||
        !gi_cpu_static_f32(gi_node_in(n, 0), rank, x) || !gi_cpu_static_f32(n->out[0], &ry, y) || *rank != ry ||
        *rank < 3 || *rank > 4 || x[0] != y[0] || x[1] != y[1] || gi_product(0, ry, x) <= 0 ||
        gi_product(0, ry, y) <= 0)
        return false;
    for (int i = 2; i < ry; i++)
        if (x[i] >= 1 << 24 || y[i] >= 1 << 24)
            return false;
    for (uint32_t i = 1; i < n->n_in; i++)
        if (gi_node_in(n, i) && !gi_value_blob(gi_node_in(n, i)))
            return false;
    return n->n_in <= 4;
}

bool gi_resize_linear_takes_blocked(const gi_node *n)
{
    int rank;
    int64_t x[GOPT_MAX_RANK], y[GOPT_MAX_RANK];
    return applies(n, &rank, x, y);
}

/* A tap without weight shares another's element and half of its weight, so that an infinity there does no harm. */
static gopt_status read_axis(gi_cpu *d, gi_step *s, gi_cpu_step *c, const gi_resize_map *m, axis *v)
{
    size_t cells;
    *v = (axis){ .in = m->in, .out = m->out, .taps = m->unchanged ? 1 : m->taps };
    GI_NEED(gi_mul_size((size_t)v->out, (size_t)v->taps * 4, &cells));
    v->at = gi_cpu_pack(d, s, c, cells);
    v->w = gi_cpu_pack(d, s, c, cells);
    GI_NEED(v->at && v->w);
    for (int64_t k = 0; k < v->out; k++) {
        int32_t *at = v->at + k * v->taps;
        float *w = v->w + k * v->taps;
        int64_t heavy = 0;
        for (int64_t t = 0; t < v->taps; t++) {
            at[t] = m->unchanged ? (int32_t)k : (int32_t)m->index[k * v->taps + t];
            w[t] = m->unchanged ? 1 : (float)m->weight[k * v->taps + t];
            heavy = w[t] != 0 ? t : heavy;
        }
        for (int64_t t = 0; t < v->taps && w[heavy] != 0; t++)
            if (w[t] == 0) {
                at[t] = at[heavy];
                w[t] = w[heavy] *= 0.5F;
            }
    }
    return GOPT_OK;
}

static gopt_status ask(gi_cpu *d, const gi_node *n, int rank, const int64_t *x, gi_arena *scratch, gi_resize_map *maps)
{
    gopt_tensor image = { .kind = GOPT_TENSOR, .dtype = GOPT_F32, .rank = rank, .refs = 1 }, params[4];
    const gopt_tensor *in[4] = { &image };
    memcpy(image.dims, x, (size_t)rank * sizeof *x);
    for (uint32_t i = 1; i < n->n_in; i++)
        if (gi_node_in(n, i)) {
            gi_tensor_of_blob(gi_value_blob(gi_node_in(n, i)), &params[i]);
            in[i] = &params[i];
        }
    gi_eval e = { .n = n, .cx = d->cx, .n_in = n->n_in, .in = in, .scratch = scratch };
    return gi_resize_maps(&e, maps);
}

static gopt_status read_axes(gi_cpu *d, gi_step *s, gi_cpu_step *c, int rank, const int64_t *x, gi_arena *scratch,
                             resize *v, bool *ok)
{
    static const gi_resize_map one = { .in = 1, .out = 1, .taps = 1, .unchanged = true };
    gi_resize_map maps[GOPT_MAX_RANK];
    GI_TRY(ask(d, s->node, rank, x, scratch, maps));
    *ok = maps[0].unchanged && maps[1].unchanged;
    for (int i = 2; i < rank; i++)
        *ok = *ok && maps[i].taps <= MOST_TAPS;
    if (!*ok)
        return GOPT_OK;
    GI_TRY(read_axis(d, s, c, rank == 4 ? &maps[2] : &one, &v->h));
    return read_axis(d, s, c, &maps[rank - 1], &v->w);
}

static gopt_status prepare(gi_cpu *d, gi_step *s, gi_cpu_step *c, bool *took)
{
    int rank;
    int64_t x[GOPT_MAX_RANK], y[GOPT_MAX_RANK];
    bool ok = false;
    if (s->n_out != 1 || !applies(s->node, &rank, x, y))
        return GOPT_OK;
    resize *v = gi_cpu_own(c, sizeof(*v));
    gi_arena *scratch = gi_arena_create(d->cx);
    const gopt_status st = v && scratch ? read_axes(d, s, c, rank, x, scratch, v, &ok) : GOPT_NO_MEMORY;
    gi_arena_destroy(scratch);
    if (st != GOPT_OK || !ok)
        return st;
    gi_value *in = gi_node_in(s->node, 0);
    GI_TRY(gi_cpu_set_in(s, c, 1, &in));
    v->blocked = gi_is_blocked(c->have_in[0]) || gi_is_blocked(c->have_out[0]);
    c->want_in[0] = c->want_out[0] = v->blocked ? GI_BLOCKED : GI_PLAIN;
    v->planes = x[0] * (v->blocked ? (x[1] + d->block - 1) / d->block : x[1]);
    v->row = ((uint64_t)v->w.in * (v->blocked ? (uint64_t)d->block : 1) * sizeof(float) + 63) & ~(uint64_t)63;
    s->scratch = v->row * (uint64_t)d->threads;
    c->own = v;
    *took = true;
    return GOPT_OK;
}

typedef struct job {
    const gi_cpu *d;
    const resize *v;
    const gi_run_args *args;
} job;

/* The sum of input rows that output row `row` is made of; an input row itself where it is just that. */
static const float *blend_row(const job *j, const float *plane, int64_t row, float *room)
{
    const axis *h = &j->v->h;
    const int64_t width = j->v->w.in * (j->v->blocked ? j->d->block : 1);
    const int32_t *at = h->at + row * h->taps;
    const float *rows[MOST_TAPS];
    if (h->taps == 1)
        return plane + at[0] * width;
    for (int64_t t = 0; t < h->taps; t++)
        rows[t] = plane + at[t] * width;
    j->d->k->blend_rows((size_t)width, (size_t)h->taps, rows, h->w + row * h->taps, room);
    return room;
}

static void blend_columns(const axis *w, const float *x, float *y)
{
    const int32_t *at = w->at;
    const float *k = w->w;
    if (w->taps == 2) {
        for (int64_t i = 0; i < w->out; i++)
            y[i] = x[at[2 * i]] * k[2 * i] + x[at[2 * i + 1]] * k[2 * i + 1];
        return;
    }
    for (int64_t i = 0; i < w->out; i++, at += w->taps, k += w->taps) {
        y[i] = x[at[0]] * k[0];
        for (int64_t t = 1; t < w->taps; t++)
            y[i] += x[at[t]] * k[t];
    }
}

static void run_part(void *arg, int worker, int n_workers)
{
    const job *j = arg;
    const resize *v = j->v;
    const int64_t item = v->blocked ? j->d->block : 1;
    float *room = (float *)(void *)((char *)j->args->scratch + (uint64_t)worker * v->row);
    int64_t from, to;
    gi_share(v->planes * v->h.out, 1, worker, n_workers, &from, &to);
    for (int64_t i = from; i < to; i++) {
        const float *plane = (const float *)j->args->in[0].host + i / v->h.out * v->h.in * v->w.in * item;
        float *y = (float *)j->args->out[0].host + i * v->w.out * item;
        const float *x = blend_row(j, plane, i % v->h.out, room);
        if (v->w.taps == 1 && v->w.in == v->w.out)
            memcpy(y, x, (size_t)(v->w.out * item) * sizeof *y);
        else if (v->blocked)
            j->d->k->blend_pixels((size_t)v->w.out, (size_t)v->w.taps, v->w.at, v->w.w, x, y);
        else
            blend_columns(&v->w, x, y);
    }
}

static gopt_status run(gi_cpu *d, const gi_step *s, const gi_cpu_step *c, const gi_run_args *args)
{
    (void)s;
    job j = { d, c->own, args };
    gi_cpu_run(d, args->pool, run_part, &j);
    return GOPT_OK;
}

const gi_tactic gi_tactic_resize_linear = { .name = "resize_linear", .prepare = prepare, .run = run };
