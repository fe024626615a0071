/* Attention and rotary embedding over heads found by strides. */
#include <math.h>

#include "ops/attention.h"
#include "ops/gemm.h"
#include "ops/move.h"
#include "ops/softmax.h"

#define WORD float
#define NAME(x) x##_f32
#define GEMM gi_gemm_f32
#define TANH tanhf
#define SOFTMAX gi_softmax_line_f32
#include "ops/attention_loops.h"
#undef WORD
#undef NAME
#undef GEMM
#undef TANH
#undef SOFTMAX
#define WORD double
#define NAME(x) x##_f64
#define GEMM gi_gemm_f64
#define TANH tanh
#define SOFTMAX gi_softmax_line_f64
#include "ops/attention_loops.h"
#undef WORD
#undef NAME
#undef GEMM
#undef TANH
#undef SOFTMAX

gi_heads gi_heads_apart(int64_t heads, int64_t tokens, int64_t size)
{
    return (gi_heads){ .batch = heads * tokens * size, .head = tokens * size, .token = size };
}

gi_heads gi_heads_together(int64_t heads, int64_t tokens, int64_t size)
{
    return (gi_heads){ .batch = heads * tokens * size, .head = size, .token = heads * size };
}

/* a · b + c; false where it does not fit. */
static bool mul_add(int64_t a, int64_t b, int64_t c, int64_t *r)
{
    return gi_mul_i64(a, b, r) && gi_add_i64(*r, c, r);
}

gopt_status gi_attention_run(gi_eval *a, gopt_dtype real, const gi_attention *t, const void *q, const void *k,
                             const void *v, void *y)
{
    int64_t room = 1;
    if (t->batch * t->heads == 0)
        return GOPT_OK;
    if (!mul_add(t->queries, t->size, room, &room) || !mul_add(t->keys, t->size, room, &room) ||
        !mul_add(t->keys, t->v_size, room, &room) || !mul_add(t->queries, t->v_size, room, &room) ||
        !mul_add(t->queries, t->keys, room, &room))
        return gi_eval_fail(a, 0, "has too many tokens");
    void *scratch = gi_eval_scratch(a, (size_t)room, gi_item_size(real));
    GI_NEED(scratch);
    if (real == GOPT_F64)
        attend_f64(t, q, k, v, y, scratch);
    else
        attend_f32(t, q, k, v, y, scratch);
    return GOPT_OK;
}

gopt_status gi_attention_finish(gi_eval *a, gi_attention *t, const gi_attention_ends *e)
{
    const gopt_dtype real = gi_real_of(e->dtype);
    const int64_t apart[] = { t->batch, t->heads, t->queries, t->v_size },
                  together[] = { t->batch, t->queries, t->heads * t->v_size },
                  score_dims[] = { t->batch, t->heads, t->queries, t->keys };
    gi_real y, scores = { 0 };
    t->y = e->rank == 4 ? gi_heads_apart(t->heads, t->queries, t->v_size)
                        : gi_heads_together(t->heads, t->queries, t->v_size);
    GI_TRY(gi_real_out(a, 0, e->dtype, e->rank, e->rank == 4 ? apart : together, &y));
    if (e->scores_out < a->n_out)
        GI_TRY(gi_real_out(a, e->scores_out, e->dtype, 4, score_dims, &scores));
    t->scores = scores.p;
    if (y.p)
        GI_TRY(gi_attention_run(a, real, t, e->q->p, e->k->p, e->v->p, y.p));
    gi_real_store(&y);
    gi_real_store(&e->k->out);
    gi_real_store(&e->v->out);
    gi_real_store(&scores);
    return GOPT_OK;
}

void gi_kv_append(size_t item, const void *past, int64_t before, void *p, gi_kv *kv)
{
    const gi_heads to = gi_heads_apart(kv->heads, before + kv->tokens, kv->size);
    const int64_t steps[] = { to.batch, to.head, to.token, 1 };
    if (past) {
        const gi_heads h = gi_heads_apart(kv->heads, before, kv->size);
        gi_move_nd(4, (int64_t[]){ kv->batch, kv->heads, before, kv->size }, p, steps, past,
                   (int64_t[]){ h.batch, h.head, h.token, 1 }, item);
    }
    gi_move_nd(4, (int64_t[]){ kv->batch, kv->heads, kv->tokens, kv->size },
               (uint8_t *)p + (size_t)(before * kv->size) * item, steps, kv->p,
               (int64_t[]){ kv->at.batch, kv->at.head, kv->at.token, 1 }, item);
    kv->p = p;
    kv->at = to;
    kv->tokens += before;
}

gopt_status gi_kv_join(gi_eval *a, gopt_dtype real, gopt_dtype dtype, uint32_t past, uint32_t out, gi_kv *kv)
{
    const gopt_tensor *old = past < a->n_in ? a->in[past] : NULL;
    const size_t item = gi_item_size(real);
    int64_t before = 0, all, n;
    const void *from = NULL;
    if (!old && out >= a->n_out)
        return GOPT_OK;
    if (old) {
        GI_TRY(gi_eval_rank(a, past, 4));
        GI_TRY(gi_eval_dim(a, past, 0, kv->batch));
        GI_TRY(gi_eval_dim(a, past, 1, kv->heads));
        GI_TRY(gi_eval_dim(a, past, 3, kv->size));
        GI_TRY(gi_real_in(a, past, real, &from));
        before = old->dims[2];
    }
    if (!gi_add_i64(before, kv->tokens, &all) || !gi_mul_i64(kv->batch * kv->heads, all, &n) ||
        !gi_mul_i64(n, gi_max_i64(kv->size, 1), &n))
        return gi_eval_fail(a, (int)past, "has too many tokens");
    const int64_t dims[] = { kv->batch, kv->heads, all, kv->size };
    if (out < a->n_out)
        GI_TRY(gi_real_out_as(a, out, dtype, real, 4, dims, &kv->out));
    uint8_t *p = kv->out.p ? kv->out.p : gi_eval_scratch(a, (size_t)n + 1, item);
    GI_NEED(p);
    gi_kv_append(item, from, before, p, kv);
    return GOPT_OK;
}

void gi_rotate(gopt_dtype real, const gi_rotary *r, const void *x, const void *cos, const void *sin, void *y)
{
    if (real == GOPT_F64)
        rotate_f64(r, x, cos, sin, y);
    else
        rotate_f32(r, x, cos, sin, y);
}
