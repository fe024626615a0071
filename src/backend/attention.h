/* Reading a region of attention: softmax(q·k + …)·v, with Transposes and scalings at its borders. What backends share. */
#ifndef GI_ATTENTION_H
#define GI_ATTENTION_H

#include "backend/backend.h"

typedef enum gi_scaling { GI_UNSCALED, GI_TIMES, GI_DIVIDED } gi_scaling;

/* An operand of a product: a value outside the region, seen through Transposes and a scaling. Dim i of what the product
 * sees is dim axis[i] of the source; strides are those of a source that lies densely. */
typedef struct gi_attention_operand {
    gi_value *source;
    int rank;
    int axis[GOPT_MAX_RANK];
    int64_t dims[GOPT_MAX_RANK], strides[GOPT_MAX_RANK];
    gi_scaling scaling;
    float scale;
    int in; /* for the backend: of step->in */
} gi_attention_operand;

/* What a value is made of so far. */
typedef enum gi_attention_stage {
    GI_ATTENTION_BORDER = 0,
    GI_ATTENTION_SCORES,
    GI_ATTENTION_PROBABILITIES,
    GI_ATTENTION_RESULT
} gi_attention_stage;

typedef struct gi_attention_region {
    const gi_block *body;
    gi_map stages; /* value id + 1 → its stage; BORDER where absent */
    gi_node *scores, *softmax, *values;
    gi_node **before, **behind; /* of the softmax */
    size_t n_before, n_behind;
    size_t n_border; /* Transposes and scalings of the operands, each of which must turn up in one */
    gi_attention_operand q, k, v;
    int64_t m, n, d, dv; /* rows, keys, size of a key, size of a value */
    int rank;            /* of the batch */
    int64_t batch, dims[GOPT_MAX_RANK];
    int y_axis[GOPT_MAX_RANK]; /* dim i of softmax(…)·v is dim y_axis[i] of the result */
} gi_attention_region;

/* Of a fusion; `takes` says which pointwise nodes may stand before and behind the softmax. *ok: it is attention. */
gopt_status gi_attention_read_region(gi_arena *a, const gi_node *fusion, bool (*takes)(const gi_node *),
                                     gi_attention_region *p, bool *ok);
gi_attention_stage gi_attention_stage_of(const gi_attention_region *p, const gi_value *v);
/* Another view of the batch: a Reshape that leaves the last two dims. */
bool gi_attention_keeps_rows(const gi_node *n);
/* A Mul or Div by one number, of o->source. */
bool gi_attention_scaling(const gi_node *n, gi_attention_operand *o);
/* From the operand's strides, one a dim that the product sees, those along the batch: 0 where it is broadcast. */
void gi_attention_batch_strides(const gi_attention_region *p, const gi_attention_operand *o, const int64_t *strides,
                                int64_t *batch);
/* The value that an Add adds to the scores, and those scores; false where it is no such Add. */
bool gi_attention_mask_of(const gi_attention_region *p, const gi_node *n, gi_value **mask, gi_value **scores);

#endif
