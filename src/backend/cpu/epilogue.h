/* What follows the main work of a step: bias, residual and clamp in the kernel itself, all else as a vector program
 * over the part just written. */
#ifndef GI_EPILOGUE_H
#define GI_EPILOGUE_H

#include "backend/cpu/vecprog.h"

typedef struct gi_epilogue {
    gi_node *main;
    gi_blob *bias;  /* a constant along the channels that an Add adds; NULL: none */
    gi_value *add;  /* a residual of the result's shape; NULL: none */
    float lo, hi;   /* -inf, inf: none */
    gi_node **rest; /* nodes left for a program, in order */
    size_t n_rest;
    gi_value *result; /* what `rest` starts from: main's output after bias, residual and clamp */
    gi_vp *program;   /* of gi_epilogue_program; NULL where rest is empty */
    int n_args;
} gi_epilogue;

/* Reads the step as one node of operator `a` (or b) and what is fused behind it. channel_axis: where a bias may lie,
 * counted from the end (2 for NCHW of rank 4 is 3 - …: -3), see rank. *found is false where the step is something
 * else: no such node, work before it, or a result of another shape. */
gopt_status gi_epilogue_find(gi_cpu_step *c, const gi_step *s, gi_opcode a, gi_opcode b, int channel_axis,
                             gi_epilogue *e, bool *found);

/* The same for one convolution or product among several of a region: `main` and the n nodes behind it, in order. */
gopt_status gi_epilogue_read(gi_cpu_step *c, const gi_step *s, gi_node *main, gi_node *const *rest, size_t n,
                             int channel_axis, gi_epilogue *e, bool *found);

/* What is added to channel o: of the convolution itself, and of an Add behind it. */
float gi_epilogue_bias(const gi_epilogue *e, int64_t o);

/* Compiles e->rest: the run's input 0 is out[0]'s buffer, holding e->result, input 1+i is step->in[i].
 * *ok is false where a node is beyond it. Call after gi_cpu_set_in and after want_out[0] is set. */
gopt_status gi_epilogue_program(gi_cpu *d, gi_step *s, gi_cpu_step *c, gi_epilogue *e, bool *ok);

/* Values that the step must keep in `in`: the residual and whatever rest captures; appended to v. */
bool gi_epilogue_values(const gi_epilogue *e, gi_arena *a, gi_values *v);

/* Runs the program over elements from … to-1 of the output, as they lie. */
void gi_epilogue_run(const gi_cpu *d, const gi_epilogue *e, const gi_run_args *args, int64_t from, int64_t to,
                     void *scratch);
size_t gi_epilogue_scratch(const gi_epilogue *e); /* bytes a worker */

/* The same for what stays within the step, blocked, and is there only in part: `result` is what the nodes yield, the
 * element numbered `from` lies at `at`. *ok is false where they read anything but constants. */
gopt_status gi_epilogue_inner(gi_cpu *d, gi_step *s, gi_cpu_step *c, gi_epilogue *e, gi_value *result, bool *ok);
void gi_epilogue_run_inner(const gi_cpu *d, const gi_epilogue *e, float *at, int64_t from, int64_t to, void *scratch);

#endif
