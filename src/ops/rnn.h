/* What the attributes of a recurrent node say, for backends. */
#ifndef GI_OPS_RNN_H
#define GI_OPS_RNN_H

#include "ops/eval.h"

typedef struct gi_rnn {
    int directions;
    bool reverse, batch_first, linear_before_reset, input_forget;
    int64_t gates; /* 1: RNN, 3: GRU, 4: LSTM */
    double clip;   /* 0: none */
    struct {
        const char *name; /* "Relu", "Tanh", … : as in ONNX's list */
        double alpha, beta;
    } act[2][3]; /* of each direction */
} gi_rnn;

/* NULL, or a sentence on what is wrong. */
const char *gi_rnn_read(const gi_node *n, gi_rnn *r);

#endif
