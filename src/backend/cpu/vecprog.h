/* Vector programs: chains of pointwise nodes, compiled to operations over tiles that stay in the first-level cache.
 *
 * A program works on the elements of one iteration space, in the order in which they lie (plain or blocked): for
 * every tile of some hundred elements all instructions run, then the next tile. So a chain of ten nodes reads its
 * inputs once and writes its outputs once. */
#ifndef GI_VECPROG_H
#define GI_VECPROG_H

#include "backend/cpu/cpu.h"

enum { GI_VP_TILE = 512, GI_VP_MAX_RANK = GOPT_MAX_RANK + 1, GI_VP_MAX_REGS = 48, GI_VP_MAX_INPUTS = 64 };

/* Operands: 0 … GI_VP_MAX_REGS-1 are registers, tiles of scratch; GI_VP_INPUT + i is input i, read where it lies. */
enum { GI_VP_INPUT = 1 << 16 };

/* Something read from outside. Strides are in elements, along the iteration space's dims; 0 where broadcast. */
typedef struct gi_vp_input {
    int arg;           /* index into the run's input pointers; -1: `data` */
    const float *data; /* a packed constant */
    gopt_dtype dtype;  /* as it lies: F32, BF16 or BOOL */
    bool full;         /* lies as the iteration space does */
    int64_t strides[GI_VP_MAX_RANK];
    int reg; /* the register of its tile, where it needs one */
} gi_vp_input;

typedef struct gi_vp_insn {
    gk_vop op;
    int dst, a, b, c; /* operands */
    float p, q;
} gi_vp_insn;

typedef struct gi_vp {
    int rank;
    int64_t dims[GI_VP_MAX_RANK], elements;
    int64_t stretch; /* no tile crosses a multiple of it; 0: any may */
    gi_vp_input *in;
    int n_in;
    gi_vp_insn *insn;
    int n_insn;
    int n_regs;
    struct {
        int reg;          /* may be an input's operand */
        gopt_dtype dtype; /* as it will lie */
    } * out;
    int n_out;
    struct {
        int reg;
        float value;
    } * splat; /* registers that hold one number throughout */
    int n_splat;
} gi_vp;

/* Compiles `nodes` (in order) into a program. args[i] is what the run's input i holds; values of args have
 * the layouts given, those of outs `layout`; `space` is the iteration space as a dense shape. *out is NULL where a node is beyond it. */
gopt_status gi_vp_build(gi_cpu *d, gi_step *s, gi_cpu_step *c, gi_node *const *nodes, size_t n, gi_value *const *args,
                        const gi_layout *arg_layouts, size_t n_args, gi_value *const *outs, size_t n_outs, int rank,
                        const int64_t *space, gi_layout layout, gi_vp **out);

/* Can this node be an instruction? What gi_cpu_takes_blocked asks, and gi_vp_build keeps. */
bool gi_vp_takes(const gi_node *n);

/* A broadcast input repeats itself: one number over the last dim, or one row of it over the last but one. The length of
 * what repeats, and over how many elements it does; false where it does not. */
bool gi_vp_repeats(const gi_vp *p, const gi_vp_input *in, int64_t *row, int64_t *size);

size_t gi_vp_scratch(const gi_vp *p); /* bytes a worker needs */

/* Elements from … to-1. in: one pointer an arg, out: one an output; scratch is 64-byte aligned. */
void gi_vp_run(const gi_cpu *d, const gi_vp *p, const void *const *in, void *const *out, int64_t from, int64_t to,
               void *scratch);

#endif
