/* What pooling shares with the quantized one. */
#ifndef GI_OPS_POOL_H
#define GI_OPS_POOL_H

#include "ops/eval.h"

/* AveragePool, and of a node that has its attributes in the same places. */
gopt_status gi_eval_average_pool(gi_eval *a);

#endif
