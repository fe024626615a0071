/* Products with constant matrices: what the tactics for them read off a node. */
#ifndef GI_CPU_MATMUL_H
#define GI_CPU_MATMUL_H

#include "backend/cpu/cpu.h"

/* alpha * a[m][k] · b[k][n] + beta * c; b lies [n][k] where trans_b. */
typedef struct gi_operands {
    gi_value *a;
    const gi_blob *b, *c; /* f32; c of n elements, or one, or NULL */
    bool trans_b;
    float alpha, beta;
    int64_t m, n, k;
} gi_operands;

/* False where it is no MatMul or Gemm of static f32 by one constant matrix. */
bool gi_matmul_read(const gi_node *n, gi_operands *o);

#endif
