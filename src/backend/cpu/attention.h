/* Attention as one step: what attention.c reads from its region, and attention_run.c and attention_bf16.c run. */
#ifndef GI_CPU_ATTENTION_H
#define GI_CPU_ATTENTION_H

#include "backend/attention.h"
#include "backend/cpu/vecprog.h"

/* Something that is added to the scores; strides along the batch as its view splits it, rows and keys. */
typedef struct gi_attention_mask {
    int in;            /* of step->in; -1: data */
    const float *data; /* a packed constant */
    int rank;
    int64_t dims[GOPT_MAX_RANK], strides[GOPT_MAX_RANK], row, key;
} gi_attention_mask;

typedef struct gi_attention {
    gi_attention_operand q, k, v;
    bool tiles; /* the kernel does it: these three */
    float scale;
    int n_masks;
    gi_attention_mask masks[GK_ATTENTION_MASKS];
    int64_t m, n, d, dv; /* rows, keys, size of a key, size of a value */
    int rank;            /* of the batch */
    int64_t batch, dims[GOPT_MAX_RANK];
    int64_t q_strides[GOPT_MAX_RANK], k_strides[GOPT_MAX_RANK], v_strides[GOPT_MAX_RANK], y_strides[GOPT_MAX_RANK];
    int64_t y_row;          /* from a row of the result to the next */
    int64_t block, blocks;  /* rows of a block, blocks of a batch */
    int64_t line;           /* from a row of scores to the next: n, or more where that would share cache sets */
    gi_vp *before, *behind; /* of the softmax; NULL: nothing */
    int n_args;
    gk_tap key_tap, value_tap;
    /* a worker's scratch, in bytes from its start */
    uint64_t keys_at, values_at, rows_at, scores_at, scratch;
} gi_attention;

/* Reads the step, sets what it reads and writes. *ok is false where it is something else, or more than a scale and
 * masks stand around the softmax. */
gopt_status gi_attention_read(gi_cpu *d, gi_step *s, gi_cpu_step *c, gi_attention *v, bool *ok);

/* ---- for running ---- */

gopt_status gi_attention_run_fp32(gi_cpu *d, const gi_step *s, const gi_cpu_step *c, const gi_run_args *args);
/* Where a batch's queries, keys, values and results begin. */
void gi_attention_offsets(const gi_attention *v, int64_t batch, int64_t *q, int64_t *k, int64_t *x, int64_t *y);
/* The masks of a tile of rows from `first` on. */
void gi_attention_set_masks(const gi_attention *v, const gi_run_args *args, int64_t batch, int64_t first,
                            gk_attention *t);
/* x = x by the operand's scale, as its node would. */
void gi_attention_scale(const gi_attention_operand *o, float *x, int64_t n);

static inline int64_t gi_attention_panels(const gi_cpu *d, int64_t columns)
{
    return (columns + 2 * d->block - 1) / (2 * d->block);
}

#endif
