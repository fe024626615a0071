/* How far Winograd's sums are from direct ones on a layer's own weights: three tiles of random inputs, through the
 * first and the last panel of output channels, against sums in double. */
#include <math.h>

#include "backend/cpu/winograd.h"

typedef struct trial {
    gi_winograd v; /* of one image of three tiles and one panel */
    float *image, *out;
    double *plain; /* the image, [channel][row][column] */
    int64_t panel; /* of the layer's */
    double error, largest;
} trial;

static void *aligned(gi_arena *a, int64_t floats)
{
    char *p = gi_arena_alloc(a, (size_t)floats * sizeof(float) + 64);
    return p ? (void *)(((uintptr_t)p + 63) & ~(uintptr_t)63) : NULL;
}

static gopt_status trial_open(const gi_cpu *d, gi_arena *a, const gi_winograd *of, trial *t)
{
    const int64_t block = d->block;
    gi_winograd *v = &t->v;
    *v = *of;
    v->e = (gi_epilogue){ .lo = -INFINITY, .hi = INFINITY };
    v->group = 1;
    v->ocg = gi_min_i64(of->ocg, 2 * block);
    v->add = -1;
    v->w = (gi_window){
        .n = 1, .c = of->icg, .ih = of->side, .iw = 3 * of->m + 2, .oc = v->ocg, .oh = of->m, .ow = 3 * of->m
    };
    gi_winograd_lay_out(d, v, of->m);
    v->weights = aligned(a, v->positions * v->icg * 2 * block);
    v->bias = aligned(a, 2 * block);
    t->image = aligned(a, v->blocks * v->w.ih * v->w.iw * block);
    t->out = aligned(a, 2 * block * v->w.oh * v->w.ow);
    GI_NEED(v->weights && v->bias && t->image && t->out);
    const int64_t pixels = v->w.ih * v->w.iw;
    t->plain = GI_NEW_ARRAY(a, double, v->blocks *pixels *block);
    GI_NEED(t->plain);
    uint32_t seed = 1;
    for (int64_t i = 0; i < v->blocks * pixels * block; i++) {
        seed = seed * 1664525u + 1013904223u;
        t->image[i] = (float)(seed >> 8) / 8388608.0f - 1.0f;
        t->plain[(i / block / pixels * block + i % block) * pixels + i / block % pixels] = (double)t->image[i];
    }
    return gi_winograd_taps(d, a, v);
}

/* Output channel o of the panel, of a filter w[channel][9]. */
static void trial_judge(const gi_cpu *d, trial *t, int64_t o, const float *w)
{
    enum { MOST = 4 * 12 };
    const gi_window *g = &t->v.w;
    double sum[MOST] = { 0 };
    for (int64_t c = 0; c < t->v.icg; c++)
        for (int64_t k = 0; k < 9; k++) {
            const double *x = t->plain + (c * g->ih + k / 3) * g->iw + k % 3, by = (double)w[c * 9 + k];
            for (int64_t row = 0; row < g->oh; row++)
                for (int64_t i = 0; i < g->ow; i++)
                    sum[row * g->ow + i] += by * x[row * g->iw + i];
        }
    for (int64_t i = 0; i < g->oh * g->ow; i++) {
        const double is = (double)t->out[(o / d->block * g->oh * g->ow + i) * d->block + o % d->block];
        const double error = fabs(is - sum[i]);
        t->error = error <= t->error ? t->error : error; /* keeps NaN */
        t->largest = fmax(t->largest, fabs(sum[i]));
    }
}

static gopt_status trial_run(gi_cpu *d, gi_arena *a, const gi_winograd *of, const float *w, trial *t)
{
    enum { EACH = 4 }; /* of the panel's channels, one in so many */
    const int64_t done = t->panel % of->panels * 2 * d->block, count = gi_min_i64(2 * d->block, of->ocg - done);
    const int64_t first = t->panel / of->panels * of->ocg + done;
    gi_winograd *v = &t->v;
    v->ocg = v->w.oc = count;
    v->out_blocks = gi_winograd_panel_width(of, t->panel);
    gi_winograd_pack_panel(d, of, w, t->panel, v->weights);
    const gi_buffer in = { .host = t->image }, out = { .host = t->out };
    const gi_run_args args = { .in = &in, .out = &out };
    gi_winograd_job j = { .d = d, .v = v, .args = &args, .count = 3 };
    j.in = aligned(a, v->positions * v->v_position);
    j.out = aligned(a, v->positions * v->m_position * v->kept);
    GI_NEED(j.in && j.out);
    gi_winograd_run_tiles(&j, 0, 1);
    for (int64_t o = 0; o < count; o += EACH)
        trial_judge(d, t, o, w + (first + o) * of->icg * 9);
    return GOPT_OK;
}

gopt_status gi_winograd_error(const gi_cpu *of, const gi_winograd *v, const float *dense, double *error)
{
    gi_cpu own = *of, *d = &own;
    d->threads = 1;
    gi_arena *a = gi_arena_create(d->cx);
    GI_NEED(a);
    trial *t = GI_NEW(a, trial);
    gopt_status st = t ? trial_open(d, a, v, t) : GOPT_NO_MEMORY;
    const int64_t last = v->group * v->panels - 1;
    for (int i = 0; st == GOPT_OK && i < (last ? 2 : 1); i++) {
        t->panel = i ? last : 0;
        st = trial_run(d, a, v, dense, t);
    }
    if (st == GOPT_OK)
        *error = t->error > 0 || t->error != t->error ? t->error / t->largest : 0;
    gi_arena_destroy(a);
    return st;
}
