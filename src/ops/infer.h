/* Type rules: from a node's inputs to its outputs' types and, for small integers, contents.
 *
 * A rule reads the node's inputs, sets what it knows of the outputs, and leaves the rest. The driver merges
 * what it set with what was already known or declared, and reports contradictions. A rule never looks at
 * weights' bytes but through gi_infer_known and gi_infer_blob. */
#ifndef GI_INFER_H
#define GI_INFER_H

#include "ir/graph.h"

typedef struct gi_infer {
    gopt_graph *g;
    gi_node *n;
    gi_arena *scratch;
    const gi_type **out;         /* per output; NULL: nothing set */
    const gi_dim *const **known; /* per output */
    uint32_t *n_known;
    bool no_memory; /* a helper below ran out; the driver returns GOPT_NO_MEMORY */
} gi_infer;

/* Infers types and contents of one node, or of all nodes in order, blocks included. */
gopt_status gi_infer_node(gi_node *n, gi_arena *scratch);
gopt_status gi_infer_graph(gopt_graph *g);
gopt_status gi_infer_block(gi_block *b, gi_arena *scratch);
enum { GI_MAX_NESTING = 100 };         /* blocks in blocks */
int gi_block_depth(const gi_block *b); /* 0 of the main block; stops counting past GI_MAX_NESTING */

/* A graph from a file of the text form: parsed, verified, types inferred. */
gopt_status gi_gir_read(gopt_ctx *cx, const gi_file *f, gopt_graph **out);

/* gi_node_create with the row's first output alone, types inferred. The value is node->out[0]. NULL where there is no memory or the rule refuses (with its diagnostic). */
gi_node *gi_build(gi_block *b, gi_node *before, gi_opcode op, uint32_t n_in, gi_value *const *in);

/* ---- for the rules ---- */

bool gi_infer_has(const gi_infer *c, uint32_t in);            /* is the input given? */
const gi_type *gi_infer_type(const gi_infer *c, uint32_t in); /* NULL where unknown or absent */
gopt_dtype gi_infer_dtype(const gi_infer *c, uint32_t in);    /* GOPT_UNDEFINED where unknown */
int gi_infer_rank(const gi_infer *c, uint32_t in);            /* -1 where unknown */
const gi_dim *gi_infer_dim(const gi_infer *c, uint32_t in,
                           int i); /* i < 0 from the end; a fresh unknown where unknown */
const gi_dim *const *gi_infer_known(const gi_infer *c, uint32_t in, uint32_t *n);          /* contents, or NULL */
bool gi_infer_ints(const gi_infer *c, uint32_t in, gi_arena *a, uint32_t *n, int64_t **v); /* all constant? */
/* The value as a tensor, from weights of a few hundred bytes or from contents that are all constant; *t borrows. */
bool gi_infer_contents(const gi_infer *c, gi_value *v, gopt_tensor *t);
gi_blob *gi_infer_blob(const gi_infer *c, uint32_t in); /* of a constant input */

void gi_infer_set(gi_infer *c, uint32_t out, gopt_dtype t, int rank, const gi_dim *const *dims);
void gi_infer_set_type(gi_infer *c, uint32_t out, const gi_type *t);
void gi_infer_set_known(gi_infer *c, uint32_t out, uint32_t n, const gi_dim *const *known);

/* An error about an input: "input W is f32[64,3,7], expected rank 4". */
gopt_status(gi_infer_fail)(const gi_infer *c, uint32_t in, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
/* An error about the node as a whole or an attribute. */
gopt_status(gi_infer_fail_node)(const gi_infer *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* Numpy broadcasting of shapes; dims receives *rank entries (room for GOPT_MAX_RANK).
 * False where two constant dims clash (the caller reports). */
bool gi_infer_broadcast(gi_infer *c, int rank_a, const gi_dim *const *a, int rank_b, const gi_dim *const *b, int *rank,
                        const gi_dim **dims);

/* Turns an axis attribute into 0 … rank-1; false where it lies outside. */
static inline bool gi_axis(int64_t axis, int rank, int *out)
{
    if (axis < -rank || axis >= rank)
        return false;
    *out = (int)(axis < 0 ? axis + rank : axis);
    return true;
}

/* The type that knows more, part by part: `found` by a rule, `had` before. NULL with *clash set where they
 * contradict each other; either may be NULL. */
const gi_type *gi_type_merge(gopt_graph *g, const gi_type *had, const gi_type *found, bool *clash);
/* What holds of both: dims that differ become unknown. NULL where the kinds differ. */
const gi_type *gi_type_union(gopt_graph *g, const gi_type *a, const gi_type *b);
/* The type with an unknown of its own in place of every dim that holds one: of one element of a sequence, whose
 * elements may each be of another size. NULL where there is no memory, or t is NULL. */
const gi_type *gi_type_fresh(gopt_graph *g, const gi_type *t);

/* Rules that many operators share. */
gopt_status gi_infer_same_type(gi_infer *c); /* type of the first input; not its contents */
gopt_status gi_infer_same(gi_infer *c);      /* type and contents of the first input */
gopt_status gi_infer_binary(gi_infer *c);    /* broadcast of all inputs, dtype of the first */
gopt_status gi_infer_compare(gi_infer *c);   /* broadcast, bool */

#endif
