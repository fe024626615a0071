/* Vector programs: running them tile by tile (see vecprog.h). */
#include "backend/cpu/vecprog.h"

bool gi_vp_repeats(const gi_vp *p, const gi_vp_input *in, int64_t *row, int64_t *size)
{
    const int last = p->rank - 1;
    *row = 1;
    *size = p->dims[last];
    if (in->strides[last]) {
        if (!last || in->strides[last - 1])
            return false;
        *row = p->dims[last];
        *size *= p->dims[last - 1];
    }
    return true;
}

size_t gi_vp_scratch(const gi_vp *p)
{
    return ((size_t)p->n_regs + 1) * GI_VP_TILE * sizeof(float);
}

static inline float item(const gi_vp_input *in, const void *base, int64_t at)
{
    if (in->dtype == GOPT_BOOL)
        return (float)(((const uint8_t *)base)[at] != 0);
    return in->dtype == GOPT_BF16 ? gk_bf16_value(((const uint16_t *)base)[at]) : ((const float *)base)[at];
}

/* Elements from … from+n-1 of an input that is broadcast or no floats into its register. */
static void gather(const gi_vp *p, const gi_vp_input *in, const void *base, int64_t from, int64_t n, float *to)
{
    int64_t index[GI_VP_MAX_RANK], at = 0, rest = from;
    const int last = p->rank - 1;
    for (int i = last; i >= 0; i--) {
        index[i] = rest % p->dims[i];
        rest /= p->dims[i];
        at += index[i] * in->strides[i];
    }
    while (n > 0) {
        const int64_t run = gi_min_i64(n, p->dims[last] - index[last]);
        if (!in->strides[last]) {
            const float x = item(in, base, at);
            for (int64_t i = 0; i < run; i++)
                to[i] = x;
        } else if (in->dtype == GOPT_F32) {
            const float *x = (const float *)base + at;
            for (int64_t i = 0; i < run; i++)
                to[i] = x[i];
        } else {
            for (int64_t i = 0; i < run; i++)
                to[i] = item(in, base, at + i);
        }
        to += run;
        n -= run;
        at += run * in->strides[last];
        index[last] += run;
        for (int i = last; i > 0 && index[i] == p->dims[i]; i--) {
            at += in->strides[i - 1] - p->dims[i] * in->strides[i];
            index[i] = 0;
            index[i - 1]++;
        }
    }
}

/* Which repetition elements at … at+n-1 lie in, where they begin with the row; and how many elements of it are left.
 * -1: in none alone. */
static int64_t period_of(const gi_vp *p, const gi_vp_input *in, int64_t at, int64_t n, int64_t *left)
{
    int64_t row, size;
    if (!gi_vp_repeats(p, in, &row, &size) || at % row || at / size != (at + n - 1) / size)
        return -1;
    *left = (at / size + 1) * size - at;
    return at / size;
}

/* `count` elements of a repetition from its row's begin on: the row once, and then what is there already, doubled. */
static void fill(const gi_vp *p, const gi_vp_input *in, const void *base, int64_t at, int64_t count, float *to)
{
    int64_t row, size, have;
    (void)gi_vp_repeats(p, in, &row, &size);
    have = gi_min_i64(count, row);
    gather(p, in, base, at, have, to);
    if (row == 1) {
        const float x = to[0];
        for (int64_t i = 1; i < count; i++)
            to[i] = x;
        return;
    }
    for (int64_t more; have < count; have += more) {
        more = gi_min_i64(have, count - have);
        memcpy(to + have, to, (size_t)more * sizeof(float));
    }
}

static void store_out(const gi_cpu *d, gopt_dtype t, void *to, int64_t at, const float *x, int64_t n)
{
    if (t == GOPT_BF16) {
        if (x)
            d->k->narrow((size_t)n, x, (uint16_t *)to + at);
        return;
    }
    if (t == GOPT_F32) {
        float *f = (float *)to + at;
        if (x && f != x)
            memcpy(f, x, (size_t)n * sizeof(float));
        return;
    }
    uint8_t *b = (uint8_t *)to + at;
    for (int64_t i = 0; x && i < n; i++)
        b[i] = x[i] != 0.0f;
}

/* One instruction from memory to memory: no tile need be kept in between. */
static bool is_one_loop(const gi_vp *p)
{
    for (int i = 0; i < p->n_in; i++)
        if (p->in[i].reg >= 0)
            return false;
    return p->n_insn == 1 && p->n_regs <= 1 && !p->n_splat && !p->stretch;
}

void gi_vp_run(const gi_cpu *d, const gi_vp *p, const void *const *in, void *const *out, int64_t from, int64_t to,
               void *scratch)
{
    float *regs = scratch;
    const float *inputs[GI_VP_MAX_INPUTS];
    int64_t held[GI_VP_MAX_INPUTS]; /* the period that an input's register holds; -1: none */
    for (int i = 0; i < p->n_in; i++)
        held[i] = -1;
    const int64_t most = gi_min_i64(GI_VP_TILE, to - from); /* of a tile's elements */
    for (int i = 0; i < p->n_splat; i++)
        for (int64_t k = 0; k < most; k++)
            regs[p->splat[i].reg * GI_VP_TILE + k] = p->splat[i].value;
    /* the last instruction writes the output itself, where it is the only one */
    const bool direct =
        p->n_out == 1 && p->n_insn && p->insn[p->n_insn - 1].dst == p->out[0].reg && p->out[0].dtype == GOPT_F32;
    const int64_t step = direct && is_one_loop(p) ? to - from : GI_VP_TILE;
    for (int64_t at = from, n; at < to; at += n) {
        n = gi_min_i64(step, to - at);
        if (p->stretch)
            n = gi_min_i64(n, p->stretch - at % p->stretch);
        for (int i = 0; i < p->n_in; i++) {
            const gi_vp_input *v = &p->in[i];
            const void *base = v->arg < 0 ? v->data : in[v->arg];
            if (v->reg < 0) {
                inputs[i] = (const float *)base + at;
            } else if (v->full && v->dtype == GOPT_BF16) {
                d->k->widen((size_t)n, (const uint16_t *)base + at, regs + v->reg * GI_VP_TILE);
                inputs[i] = regs + v->reg * GI_VP_TILE;
            } else {
                int64_t left = 0;
                const int64_t now = v->full ? -1 : period_of(p, v, at, n, &left);
                if (now < 0 || now != held[i]) {
                    const int64_t count = now < 0 ? n : gi_min_i64(most, left);
                    (now < 0 ? gather : fill)(p, v, base, at, count, regs + v->reg * GI_VP_TILE);
                    held[i] = count == most ? now : -1;
                }
                inputs[i] = regs + v->reg * GI_VP_TILE;
            }
        }
        for (int i = 0; i < p->n_insn; i++) {
            const gi_vp_insn *k = &p->insn[i];
#define OPERAND(x) ((x) < 0 ? NULL : (x) >= GI_VP_INPUT ? inputs[(x)-GI_VP_INPUT] : regs + (x)*GI_VP_TILE)
            float *dst = direct && i == p->n_insn - 1 ? (float *)out[0] + at : regs + k->dst * GI_VP_TILE;
            d->k->vops[k->op]((size_t)n, OPERAND(k->a), OPERAND(k->b), OPERAND(k->c), k->p, k->q, dst);
        }
        for (int o = 0; o < p->n_out && !direct; o++)
            store_out(d, p->out[o].dtype, out[o], at, OPERAND(p->out[o].reg), n);
#undef OPERAND
    }
}
