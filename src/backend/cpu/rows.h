/* What works along rows: shared by the tactic that runs one such node and the one that runs chains around them. */
#ifndef GI_ROWS_H
#define GI_ROWS_H

#include "backend/cpu/cpu.h"

typedef enum gi_row_kind { GI_ROW_SOFTMAX, GI_ROW_LAYERNORM, GI_ROW_SUM, GI_ROW_MEAN, GI_ROW_MAX } gi_row_kind;

typedef struct gi_row_op {
    gi_row_kind kind;
    int first;               /* the first of the axes, which adjoin */
    int64_t outer, n, inner; /* x is [outer][n][inner] */
    const float *scale, *bias;
    float eps;
} gi_row_op;

/* Reads a node of one static f32 input; constants are packed with the step. False where it is none of ours. */
bool gi_row_read(gi_cpu *d, gi_step *s, gi_cpu_step *c, const gi_node *n, gi_row_op *v);
/* One row of n elements that lie together (inner 1): to n elements, or to one of a reduction. */
void gi_row_run(const gk_table *k, const gi_row_op *v, const float *x, float *y);

static inline bool gi_row_reduces(const gi_row_op *v)
{
    return v->kind != GI_ROW_SOFTMAX && v->kind != GI_ROW_LAYERNORM;
}

#endif
