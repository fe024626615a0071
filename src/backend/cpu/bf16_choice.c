/* Where bfloat16 may stand for fp32, and where it pays.
 *
 *     --precision      one part (bf16)               two, three parts (fp32 by three, six products)
 *     bf16, bf16x3 …   every layer that it can run   likewise
 *     best             where it is estimated to be faster and loses no more than 0.5%
 *     fp32             never                         where it is estimated to be faster, loses no more than --fp allows
 *
 * What a layer loses is measured when it is prepared: the largest error of some results over the largest result, with
 * the layer's own weights on random input. */
#include "backend/cpu/bf16.h"

enum { ROWS = 4, COLUMNS = 32, MOST_VISITED = 256 };

static const double split_loss = 1e-5, fast_loss = 1e-4;

bool gi_bf16_asked(const gi_cpu *d, int parts)
{
    if (!d->bf16)
        return false;
    if (d->precision == GI_BF16)
        return parts == d->parts;
    return parts == 1 ? d->precision == GI_BEST : d->fp != GOPT_FP_STRICT;
}

/* ---- what is lost ---- */

float gi_bf16_noise(uint32_t *seed)
{
    *seed = *seed * 1664525u + 1013904223u;
    return (float)(*seed >> 8) / 8388608.0f - 1.0f;
}

static void split(float x, float *parts)
{
    for (int i = 0; i < GK_BF16_PARTS; i++) {
        parts[i] = gk_bf16_value(gk_bf16_of(x));
        x -= parts[i];
    }
}

/* As the units sum them: the products whose parts are together less than `parts` deep. */
static double product(const float *a, const float *b, int parts)
{
    double sum = 0;
    for (int i = 0; i < parts; i++)
        for (int k = 0; i + k < parts; k++)
            sum += (double)a[i] * (double)b[k];
    return sum;
}

/* The largest error over the largest result. Infinite where weights have no parts. */
static gopt_status measure(gi_cpu *d, const gi_bf16_constants *b, double *loss)
{
    const gi_bf16 *v = b->v;
    const int64_t kh = v->flat ? 1 : v->w.kh, kw = v->flat ? 1 : v->w.kw, n = gi_min_i64(COLUMNS, v->n);
    double largest = 0, error = 0, exact[ROWS], got[ROWS];
    size_t bytes;
    if (!gi_mul_size((size_t)(kh * kw * v->k), ROWS * sizeof(float), &bytes))
        return GOPT_NO_MEMORY;
    float *x = gi_alloc(d->cx, bytes);
    GI_NEED(x);
    uint32_t seed = 1;
    for (size_t i = 0; i < bytes / sizeof(*x); i++)
        x[i] = gi_bf16_noise(&seed);
    for (int64_t j = 0; j < n; j++) {
        const float *from = x;
        memset(exact, 0, sizeof(exact));
        memset(got, 0, sizeof(got));
        for (int64_t at = 0; at < kh * kw * v->k; at++) {
            float w[GK_BF16_PARTS], a[GK_BF16_PARTS];
            const float whole = gi_bf16_constant(b, at / v->k / kw, at / v->k % kw, at % v->k, j * v->n / n);
            split(whole, w);
            for (int r = 0; r < ROWS; r++, from++) {
                split(*from, a);
                exact[r] += (double)*from * (double)whole;
                got[r] += product(a, w, v->parts);
            }
        }
        for (int r = 0; r < ROWS; r++) {
            const double e = got[r] - exact[r];
            largest = exact[r] > largest ? exact[r] : -exact[r] > largest ? -exact[r] : largest;
            error = !(e <= error) ? e : !(-e <= error) ? -e : error;
        }
    }
    gi_free(d->cx, x);
    *loss = largest > 0 ? error / largest : error;
    return GOPT_OK;
}

/* ---- the first and the last ---- */

static bool is_layer(const gi_node *n)
{
    switch (n->op) {
    case OP_Conv:
    case OP_ConvTranspose:
    case OP_MatMul:
    case OP_Gemm:
    case OP_LSTM:
    case OP_GRU:
    case OP_RNN:
        return true;
    case OP_Gather:
        return gi_value_blob(gi_node_in(n, 0)) && n->out[0]->type && n->out[0]->type->dtype == GOPT_F32;
    default:
        return false;
    }
}

static bool has_layer(const gi_node *n)
{
    const gi_block *body = n->op == OP_Fusion ? gi_fusion_block(n) : NULL;
    if (!body)
        return is_layer(n);
    for (const gi_node *k = body->first; k; k = k->next)
        if (is_layer(k))
            return true;
    return false;
}

typedef struct walk {
    gi_arena *arena;
    const gi_block *block; /* the one that the step's node stands in */
    gi_vec(const gi_node *) queue;
    gi_map seen;
    bool failed;
} walk;

/* The node of the step's own block that holds n; NULL where none does. */
static const gi_node *lift(const walk *w, const gi_node *n)
{
    while (n && n->block != w->block)
        n = n->block ? n->block->owner : NULL;
    return n;
}

static void visit(walk *w, const gi_node *n)
{
    n = lift(w, n);
    if (!n || gi_map_get(&w->seen, (uint64_t)n->id + 1))
        return;
    if (!gi_map_put(&w->seen, (uint64_t)n->id + 1, w) || !gi_push(w->arena, &w->queue, n))
        w->failed = true;
}

static void visit_value(walk *w, const gi_value *v, bool forwards)
{
    if (!forwards) {
        if (gi_value_node(v))
            visit(w, gi_value_node(v));
        return;
    }
    for (const gi_use *u = v->uses; u; u = u->next)
        visit(w, u->node ? u->node : u->block ? u->block->owner : NULL);
}

/* Is there another layer before (or behind) the node? True too where the search was given up. */
static bool other_layer(gi_arena *arena, const gi_node *node, bool forwards)
{
    walk w = { .arena = arena, .block = node->block };
    gi_map_init(&w.seen, arena);
    visit(&w, node);
    for (size_t i = 0; i < w.queue.n && i < MOST_VISITED && !w.failed; i++) {
        const gi_node *n = w.queue.p[i];
        if (i && has_layer(n))
            return true;
        for (uint32_t k = 0; k < n->n_out && forwards; k++)
            visit_value(&w, n->out[k], true);
        gi_values in = { 0 };
        for (uint32_t k = 0; k < n->n_in && !forwards; k++)
            if (n->in[k].value)
                visit_value(&w, n->in[k].value, false);
        if (!forwards && !gi_node_captures(n, arena, &in))
            return true;
        for (size_t k = 0; k < in.n; k++)
            visit_value(&w, in.p[k], false);
    }
    return w.failed || w.queue.n > MOST_VISITED;
}

bool gi_bf16_is_between(gi_arena *arena, const gi_node *n)
{
    return other_layer(arena, n, false) && other_layer(arena, n, true);
}

/* ---- what it takes ---- */

/* What packing one number costs, and one that is bfloat16 already, in operations of fp32: 0.17 ns beside 110 billion a second. */
static const double pack_flop = 19, copy_flop = 6;

static double padded(int64_t n, int64_t to)
{
    return (double)((n + to - 1) / to * to);
}

static double estimate(const gi_cpu *d, const gi_bf16 *v, double *fp32)
{
    static const int products[] = { 0, 1, 3, 6 };
    const int64_t window = v->flat ? 1 : v->w.kh * v->w.kw, pixels = v->images * v->rows * v->columns;
    const double columns = padded(v->n, GK_BF16_COLUMNS), depth = (double)(v->k * window);
    const double taken = (double)(v->n_taps * (v->unit->flat ? GK_BF16_K : v->depth));
    const double packed = (double)(v->panels * v->panel) * sizeof(*v->weights);
    const int64_t positions = v->images * v->rows * v->pitch; /* what lies between rows is computed too */
    const double rows = v->unit->flat && !v->stem ? padded(positions, 16) : (double)pixels;
    const double work = 2 * rows * columns * taken * products[v->parts];
    const double each = v->direct ? 0 : v->in_bf16 ? copy_flop : pack_flop;
    const double packing = each * (double)(v->images * v->in_pixels * v->k) * v->parts * v->split;
    *fp32 = gi_cpu_ms(d, 2 * (double)pixels * columns * depth / 0.97, 4 * columns * depth);
    /* what lies in bfloat16 would have to be converted: read, written as floats, and those read or written once more */
    const double in = v->in_bf16 ? (double)(v->images * v->in_pixels) * padded(v->k, GK_BF16_K) : 0;
    const double out = v->out_bf16 ? (double)pixels * columns : 0;
    *fp32 += gi_cpu_ms(d, 0, 8 * (in + out));
    return gi_cpu_ms(d, work / v->unit->speed / 0.95 + packing, packed);
}

gopt_status gi_bf16_may_run(gi_cpu *d, gi_cpu_step *c, const gi_bf16_constants *b, bool *ok)
{
    const gi_bf16 *v = b->v;
    const double bound = v->parts == 1 ? gi_bf16_best_loss : d->fp == GOPT_FP_FAST ? fast_loss : split_loss;
    double fp32, loss;
    if (d->precision == GI_BF16)
        return GOPT_OK;
    *ok = false;
    c->estimate_ms = estimate(d, v, &fp32);
    if (c->estimate_ms >= fp32)
        return gi_cpu_decline(c, "fp32 is faster: an estimated %.3g ms instead of %.3g", fp32, c->estimate_ms);
    GI_TRY(measure(d, b, &loss));
    if (!(loss <= bound))
        return gi_cpu_decline(c, "it would be off by %.2g of its largest result, and %.2g is allowed", loss, bound);
    *ok = true;
    return GOPT_OK;
}
