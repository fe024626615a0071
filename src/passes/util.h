/* What several passes need: labels, facts about constants, replacing a value safely. */
#ifndef GI_PASSES_UTIL_H
#define GI_PASSES_UTIL_H

#include "passes/pass.h"

/* The node's name; of one that a rewrite made, the names that it came from, "a, b, c, d and 4 more"; else "%value" of
 * its first output. In the arena, the graph's, or static. Never NULL. */
const char *gi_node_label(const gi_node *n, gi_arena *a);
/* What made it, where that is one node with one result and a name; "dense<f32[3]>" of a constant without a name; else
 * "%name" or "%id". */
const char *gi_value_ref(const gi_value *v, gi_arena *a);
/* The users of a value, "a, b, c and 4 more"; graph outputs as "graph output y". */
const char *gi_value_users(const gi_value *v, gi_arena *a);
/* The only node that uses v, once and as an input; NULL otherwise. */
gi_node *gi_value_only_user(const gi_value *v);

/* Does every element of this constant equal x? Floats and integers; false for others and for no elements. */
bool gi_blob_all(const gi_blob *b, double x);
/* The greatest magnitude among n elements of f16, bf16, f32 or f64, as bits: they are in the order of magnitudes. */
uint64_t gi_blob_greatest_bits(const gi_blob *b, size_t at, size_t n);
bool gi_blob_is_finite(const gi_blob *b); /* of one of these types */
/* Zeros by construction, whatever the shape: a constant, or a ConstantOfShape, moved about. */
bool gi_value_is_zeros(const gi_value *v);
/* The one element of a constant, as f64. False where it is no constant of one element of a number type. */
bool gi_value_scalar(const gi_value *v, double *x);
/* All elements of an integer constant of at most `cap`. */
bool gi_value_ints(const gi_value *v, int64_t *out, uint32_t cap, uint32_t *n);
/* Does every element of v, integers, lie within 0 … d - 1 for all values of the symbols? It is seen for constants, for
 * what ArgMax, ArgMin and TopK of so many elements give, for counts, and behind what only moves elements. */
bool gi_indices_within(gopt_graph *g, const gi_value *v, const gi_dim *d);
/* The contents of a small integer value, constant or known to be; false where any is not constant. */
bool gi_value_known_ints(gi_value *v, int64_t *out, uint32_t cap, uint32_t *n);
/* The blobs one after another on an axis; they have the same dtype and other dims. Whole-byte types only. */
gopt_status gi_blob_concat(gopt_ctx *cx, gi_blob *const *parts, size_t n, int axis, gi_blob **out);
/* A hash of type, dims and some of the bytes: equal for equal constants, cheap for big ones. */
uint64_t gi_blob_sample(const gi_blob *b);

/* Constants by their contents: which stand for the same. */
typedef struct gi_constants {
    gi_arena *arena;
    gi_map by_sample, by_hash; /* to chains of entries */
    gi_map known;              /* value id + 1 to the one that stands for it */
} gi_constants;
void gi_constants_init(gi_constants *c, gi_arena *a);
/* The first constant that was asked for with v's type and contents: v itself where there was none. NULL where there is
 * no memory. */
gi_value *gi_constants_first(gi_constants *c, gi_value *v);

static inline int gi_value_rank(const gi_value *v)
{
    return v && v->type && v->type->kind == GOPT_TENSOR ? v->type->rank : -1;
}
static inline gopt_dtype gi_value_dtype(const gi_value *v)
{
    return v && v->type && v->type->kind == GOPT_TENSOR ? v->type->dtype : GOPT_UNDEFINED;
}
/* Dim i (from the end where negative) as a constant; -1 where unknown. */
int64_t gi_value_dim(const gi_value *v, int i);

/* Are both types known and the same for all values of the symbols? */
bool gi_type_same(gopt_graph *g, const gi_type *a, const gi_type *b);
/* Can they not be the same: other dtype, rank or constant dims? */
bool gi_type_differs(const gi_type *a, const gi_type *b);
/* Gives v the dims of t that are better known than its own. */
void gi_value_refine(gopt_graph *g, gi_value *v, const gi_type *t);

/* Is v a result of any block? */
bool gi_value_is_result(const gi_value *v);
/* May `to` stand for `from` everywhere? Not where `from` is a result of a block and `to` is no node's output of
 * that block, or is a result already: the result would lose its name or its node. *why is a sentence. */
bool gi_value_may_replace(const gi_value *from, const gi_value *to, const char **why);
/* Replaces `from` by `to` where that may be, and by an Identity of `to` in results where it may not.
 * The Identity is put before `before`. */
bool gi_value_replace(gi_value *from, gi_value *to, gi_node *before);
/* Moves the name over where `to` has none. */
void gi_value_take_name(gi_value *to, gi_value *from);

/* Removes n if nothing uses it and it has no side effect, and then what it alone used. Returns how many went. */
int64_t gi_remove_dead(gi_node *n, gi_arena *scratch);
/* May the node go if nothing uses its outputs? */
bool gi_node_is_removable(const gi_node *n);

/* Is b, or a block around it, `outer`? */
bool gi_block_within(const gi_block *b, const gi_block *outer);

#endif
