/* Tactic "resize_nearest": Resize that takes each output pixel from one input pixel.
 *
 * Where from is not worked out again here: at build, the reference evaluation resizes an image whose pixels hold their
 * own numbers, and what it answers is the map, whatever the coordinate and rounding modes. */
#include "backend/cpu/cpu.h"

typedef struct resize {
    int64_t planes, in_pixels, out_pixels;
    bool blocked;
    bool bf16;    /* blocks of bfloat16 */
    int32_t *map; /* of out_pixels */
} resize;

static bool applies(const gi_node *n, int64_t *x, int64_t *y)
{
    int rx, ry;
    if (n->op != OP_Resize || !gi_attr_is(n, Resize_at_mode, "nearest") ||
        gi_attr_is(n, Resize_at_coordinate_transformation_mode, "tf_crop_and_resize") ||
        !gi_cpu_static_f32(gi_node_in(n, 0), &rx, x) || !gi_cpu_static_f32(n->out[0], &ry, y) || rx != 4 || ry != 4 ||
        x[0] != y[0] || x[1] != y[1] || gi_product(0, 4, x) <= 0 || gi_product(0, 4, y) <= 0 ||
        x[2] * x[3] >= 1 << 24 || y[2] * y[3] >= 1 << 30)
        return false;
    for (uint32_t i = 1; i < n->n_in; i++)
        if (gi_node_in(n, i) && !gi_value_blob(gi_node_in(n, i)))
            return false;
    return n->n_in <= 4;
}

bool gi_resize_takes_blocked(const gi_node *n)
{
    int64_t x[GOPT_MAX_RANK], y[GOPT_MAX_RANK];
    return applies(n, x, y);
}

static gopt_status ask_reference(gi_cpu *d, const gi_node *n, const int64_t *x, gopt_tensor **out)
{
    gopt_tensor *numbers, params[4];
    const gopt_tensor *in[4] = { NULL };
    GI_TRY(gopt_tensor_create(d->cx, GOPT_F32, 4, x, &numbers));
    gi_arena *scratch = gi_arena_create(d->cx);
    if (!scratch) {
        gopt_tensor_unref(numbers);
        return GOPT_NO_MEMORY;
    }
    const int64_t pixels = x[2] * x[3];
    for (int64_t i = 0; i < x[0] * x[1] * pixels; i++)
        ((float *)numbers->data)[i] = (float)(i % pixels);
    in[0] = numbers;
    for (uint32_t i = 1; i < n->n_in; i++)
        if (gi_node_in(n, i)) {
            gi_tensor_of_blob(gi_value_blob(gi_node_in(n, i)), &params[i]);
            in[i] = &params[i];
        }
    gi_eval e = { .n = n, .cx = d->cx, .n_in = n->n_in, .n_out = n->n_out, .in = in, .out = out, .scratch = scratch };
    const gopt_status st = gi_eval_node(&e);
    gi_arena_destroy(scratch);
    gopt_tensor_unref(numbers);
    return st;
}

static gopt_status prepare(gi_cpu *d, gi_step *s, gi_cpu_step *c, bool *took)
{
    int64_t x[GOPT_MAX_RANK], y[GOPT_MAX_RANK];
    gopt_tensor *out = NULL;
    if (s->n_out != 1 || !applies(s->node, x, y))
        return GOPT_OK;
    resize *v = gi_cpu_own(c, sizeof(*v));
    GI_NEED(v);
    v->in_pixels = x[2] * x[3];
    v->out_pixels = y[2] * y[3];
    v->map = gi_cpu_pack(d, s, c, (size_t)v->out_pixels * sizeof(*v->map));
    GI_NEED(v->map);
    GI_TRY(ask_reference(d, s->node, x, &out));
    for (int64_t i = 0; i < v->out_pixels; i++) {
        const float at = ((const float *)out->data)[i];
        v->map[i] = at >= 0.0f && at < (float)v->in_pixels ? (int32_t)at : 0;
    }
    gopt_tensor_unref(out);
    gi_value *in = gi_node_in(s->node, 0);
    GI_TRY(gi_cpu_set_in(s, c, 1, &in));
    v->blocked = gi_is_blocked(c->have_in[0]) || gi_is_blocked(c->have_out[0]);
    v->bf16 = c->have_in[0] == GI_BLOCKED_BF16 && c->have_out[0] == GI_BLOCKED_BF16;
    const gi_layout layout = v->bf16 ? GI_BLOCKED_BF16 : v->blocked ? GI_BLOCKED : GI_PLAIN;
    const int64_t block = gi_cpu_layout_block(d, layout);
    c->want_in[0] = c->want_out[0] = layout;
    v->planes = x[0] * ((x[1] + block - 1) / block);
    c->own = v;
    *took = true;
    return GOPT_OK;
}

typedef struct job {
    const gi_cpu *d;
    const resize *v;
    const gi_run_args *args;
} job;

/* Lines of a block of bfloat16, pixels p0 … p1-1 of the result. */
static void pick_lines(const resize *v, const uint16_t *x, uint16_t *y, int64_t p0, int64_t p1)
{
    for (int64_t p = p0; p < p1; p++)
        memcpy(y + p * GK_BF16_K, x + v->map[p] * GK_BF16_K, GK_BF16_K * sizeof(*y));
}

static void run_part(void *arg, int worker, int n_workers)
{
    const job *j = arg;
    const resize *v = j->v;
    const int64_t chunk = 256, chunks = (v->out_pixels + chunk - 1) / chunk, block = j->d->block;
    int64_t from, to;
    gi_share(v->planes * chunks, 1, worker, n_workers, &from, &to);
    for (int64_t i = from; i < to; i++) {
        const int64_t plane = i / chunks, p0 = i % chunks * chunk, p1 = gi_min_i64(v->out_pixels, p0 + chunk);
        if (v->bf16) {
            pick_lines(v, (const uint16_t *)j->args->in[0].host + plane * v->in_pixels * GK_BF16_K,
                       (uint16_t *)j->args->out[0].host + plane * v->out_pixels * GK_BF16_K, p0, p1);
            continue;
        }
        const float *x = (const float *)j->args->in[0].host + plane * v->in_pixels * (v->blocked ? block : 1);
        float *y = (float *)j->args->out[0].host + plane * v->out_pixels * (v->blocked ? block : 1);
        if (!v->blocked)
            for (int64_t p = p0; p < p1; p++)
                y[p] = x[v->map[p]];
        else
            j->d->k->pick_pixels((size_t)(p1 - p0), v->map + p0, x, y + p0 * block);
    }
}

static gopt_status run(gi_cpu *d, const gi_step *s, const gi_cpu_step *c, const gi_run_args *args)
{
    (void)s;
    job j = { d, c->own, args };
    gi_cpu_run(d, args->pool, run_part, &j);
    return GOPT_OK;
}

const gi_tactic gi_tactic_resize_nearest = { .name = "resize_nearest", .prepare = prepare, .run = run };
