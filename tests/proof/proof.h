/* Do two graphs answer the same, as exactly as the rewrites between them promise (passes/rule.h)?
 *
 * Both run by reference evaluation over several sizes of the symbols (unequal ones, equal ones, 1, 0) and over
 * inputs of several kinds: random ones, and special ones, among which are zeros of both signs, values around
 * integers and around the graph's own constants, subnormal and largest numbers, NaN and infinities.
 *
 * BITWISE graphs must agree to the bit on all of them. For the others the tolerance is measured, not chosen: the
 * graph before is run again with every number that it reads or computes moved by a rounding error up or down, at
 * random; what an output then moves by is what rounding does to it there, and the graph after may differ by a
 * small multiple of that. So cancellation is allowed for where it happens, and nowhere else. */
#ifndef GOPT_PROOF_H
#define GOPT_PROOF_H

#include "gopt/pass.h"
#include "ops/eval.h"
#include "passes/rule.h"

typedef enum proof_result {
    PROOF_SAME,
    PROOF_DIFFERENT, /* `why` says where and by how much */
    PROOF_VOID       /* the graph before can be evaluated on none of the inputs */
} proof_result;

typedef struct proof_promise {
    gi_exact exact;
    bool expands; /* an operator was taken apart: what rounding does to its parts is allowed too */
} proof_promise;

/* As exact as the least exact of the rewrites in the report, which came of these options. */
proof_promise proof_promised(const gopt_report *report, const gopt_optimize_options *o);

/* `effort`: 0 the fewest inputs that say something, 1 all kinds and sizes, more: so many seeds of each. */
proof_result prove(gopt_graph *before, gopt_graph *after, proof_promise promise, int effort, gi_str *why);

/* A context in which a graph that asks for too much memory fails. */
gopt_ctx *proof_ctx(void);

/* ---- inputs (inputs.c) ---- */

/* What floating-point inputs hold. */
typedef enum proof_floats { FLOATS_RANDOM, FLOATS_MODERATE, FLOATS_EXTREME, FLOATS_NAN, FLOATS_INFINITE } proof_floats;
/* What integer inputs hold: they may be indices, so most graphs take small ones alone. */
typedef enum proof_ints { INTS_BIT, INTS_SMALL, INTS_EXTREME } proof_ints;

typedef struct proof_case {
    int sizes; /* which sizes the symbols have, below PROOF_SIZES */
    proof_floats floats;
    proof_ints ints;
    uint64_t seed;
} proof_case;

enum { PROOF_SIZES = 7 };

typedef struct proof_inputs {
    gi_arena *arena;
    gopt_tensor **in;
    uint32_t n;
    gi_binding symbols[64];
    size_t n_symbols;
    double constants[48]; /* the graph's own, which special values lie around */
    size_t n_constants;
} proof_inputs;

/* Collects the graph's symbols and constants; `make` then fills `in`. False where an input cannot be made. */
bool proof_inputs_init(proof_inputs *s, gopt_graph *g, gi_arena *a);
bool proof_inputs_make(proof_inputs *s, gopt_graph *g, const proof_case *c);
void proof_inputs_release(proof_inputs *s);

uint64_t proof_random(uint64_t *state);
double proof_unit(uint64_t *state); /* in [0, 1) */
/* The relative step between neighbouring numbers, and the smallest one; 0 of a type that has none. */
double proof_epsilon(gopt_dtype t);
double proof_smallest(gopt_dtype t);
double proof_largest(gopt_dtype t);
double proof_negligible(gopt_dtype t); /* what is as good as nothing: subnormal numbers, but for f16 */

/* ---- evaluation (evaluate.c) ---- */

typedef struct proof_run {
    gopt_tensor **out;
    uint32_t n;
    bool overflows; /* an infinity came out of numbers that were none, or less than the type can hold */
} proof_run;

/* Runs the main block. With a seed, every number is moved by about a rounding error. */
gopt_status proof_evaluate(gopt_graph *g, const proof_inputs *s, uint64_t seed, gi_arena *a, proof_run *run);
void proof_run_release(proof_run *run);

/* ---- comparison (compare.c) ---- */

/* A result, and what it moves to when every number on the way is moved. */
typedef struct proof_moved {
    const gopt_tensor *base, *run[16];
    int n;
} proof_moved;

typedef struct proof_terms {
    gi_exact exact;
    proof_floats floats;
    bool overflows;  /* the graph before does */
    bool leaves_out; /* it has a Where, or a mask */
    bool picks;      /* it has a Max or the like, which of two zeros may give either */
} proof_terms;

/* Compares a result. False, and why, where they differ. */
bool proof_compare(const proof_moved *before, const proof_moved *after, const proof_terms *terms, gi_str *why);

#endif
