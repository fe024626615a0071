/* What an Einsum's equation says, label by label. */
#ifndef GI_OPS_EINSUM_H
#define GI_OPS_EINSUM_H

#include "ir/op.h"

enum { GI_EINSUM_LETTERS = 52, GI_EINSUM_LABELS = GI_EINSUM_LETTERS + GOPT_MAX_RANK, GI_EINSUM_OPERANDS = 64 };

/* The labels of an operand's dims. Letters are 0 … 51, a … z and A … Z; dims that an ellipsis stands for are above,
 * the last one GI_EINSUM_LABELS - 1. */
typedef struct gi_einsum_term {
    int n;
    int label[GOPT_MAX_RANK];
} gi_einsum_term;

typedef struct gi_einsum {
    int n_in;
    gi_einsum_term in[GI_EINSUM_OPERANDS], out;
    char why[160]; /* where it cannot be read */
} gi_einsum;

/* Reads an equation for operands of these ranks; no label stands twice in the output. False, with the reason in e->why,
 * where it is malformed or does not fit. */
bool gi_einsum_read(const char *text, int n_in, const int *ranks, gi_einsum *e);

#endif
