/* Scaled dot-product attention and rotary embedding, as all operators that hold them compute them.
 *
 * Heads are found by strides, so [batch, heads, tokens, size] and [batch, tokens, heads · size] are read and
 * written in place. */
#ifndef GI_OPS_ATTENTION_H
#define GI_OPS_ATTENTION_H

#include "ops/real.h"

/* Steps in elements; those inside a head are 1. */
typedef struct gi_heads {
    int64_t batch, head, token;
} gi_heads;

/* Heads of [batch, heads, tokens, size], or of [batch, tokens, heads · size]. */
gi_heads gi_heads_apart(int64_t heads, int64_t tokens, int64_t size);
gi_heads gi_heads_together(int64_t heads, int64_t tokens, int64_t size);

/* Where the scores are written out, if they are. */
typedef enum gi_scores { GI_SCORES_RAW = 0, GI_SCORES_CAPPED, GI_SCORES_BIASED, GI_SCORES_SOFTMAX } gi_scores;

typedef struct gi_attention {
    int64_t batch, heads, kv_heads; /* heads / kv_heads neighbours share a head of keys and values */
    int64_t queries, keys;          /* tokens */
    int64_t size, v_size;           /* of a head */
    gi_heads q, k, v, y;
    double scale;          /* of q · k */
    double softcap;        /* scores become softcap · tanh(scores / softcap); 0: they do not */
    const void *bias;      /* added to the scores: rows of `keys` elements; NULL: none */
    int64_t bias_steps[3]; /* of batch, head and query, 0 where it is broadcast */
    const double *sinks;   /* a head: one more score that the softmax counts and that has no value; NULL: none */
    void *scores;          /* [batch, heads, queries, keys]; NULL: nobody wants them */
    gi_scores scores_of;
} gi_attention;

/* y = softmax(cap(scale · q kᵀ) + bias) v, all of them elements of `real`. */
gopt_status gi_attention_run(gi_eval *a, gopt_dtype real, const gi_attention *t, const void *q, const void *k,
                             const void *v, void *y);

/* Keys or values. */
typedef struct gi_kv {
    int64_t batch, heads, tokens, size;
    gi_heads at;
    const void *p; /* elements of `real` */
    gi_real out;   /* to be stored at the end */
} gi_kv;

/* Copies `before` tokens of the past, [batch, heads, before, size], and then those of kv to p, which has room for all:
 * kv is then what lies there. `past` may be NULL where there are none. */
void gi_kv_append(size_t item, const void *past, int64_t before, void *p, gi_kv *kv);

/* Puts those of the past, input `past` of [batch, heads, tokens, size], before them, and gives all as output `out`
 * where the node has one. */
gopt_status gi_kv_join(gi_eval *a, gopt_dtype real, gopt_dtype dtype, uint32_t past, uint32_t out, gi_kv *kv);

/* Queries, keys and values where they lie. Outputs: y is the node's first one, of rank 4, [batch, heads, queries, v_size],
 * or 3, [batch, queries, heads · v_size]; `scores_out` the one of the scores, which a node may lack; what k and v have
 * to give. Computes them and stores them all. */
typedef struct gi_attention_ends {
    const gi_kv *q, *k, *v;
    gopt_dtype dtype; /* of the outputs */
    int rank;
    uint32_t scores_out; /* UINT32_MAX: the operator has none */
} gi_attention_ends;
gopt_status gi_attention_finish(gi_eval *a, gi_attention *t, const gi_attention_ends *e);

/* Rotates the first `rotary` elements of each head: pairs (x1, x2) that lie beside each other where interleaved,
 * half of them apart else, become (x1 cos − x2 sin, x1 sin + x2 cos). The rest is copied. */
typedef struct gi_rotary {
    int64_t batch, heads, tokens, size, rotary;
    bool interleaved;
    gi_heads x, y;
    const int64_t *rows; /* [batch, tokens]: the row of cos and sin; NULL: as they come */
} gi_rotary;

/* cos and sin have rows of rotary / 2 elements. */
void gi_rotate(gopt_dtype real, const gi_rotary *r, const void *x, const void *cos, const void *sin, void *y);

#endif
