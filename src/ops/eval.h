/* Reference evaluation: what each operator means, plain and obviously right.
 *
 * The same functions serve constant folding, --verify, level 0, and every step of the cpu backend for which
 * nothing faster exists. Output buffers come from gi_eval_out, which gives the planned buffer where there
 * is one; scratch from gi_eval_scratch. So a run of a static plan allocates nothing. */
#ifndef GI_EVAL_H
#define GI_EVAL_H

#include "ir/graph.h"

/* Looks up a value that a block captures. NULL where unknown. Borrowed. */
typedef const gopt_tensor *(*gi_lookup_fn)(void *user, const gi_value *v);

typedef struct gi_eval {
    const gi_node *n;
    gopt_ctx *cx;
    uint32_t n_in, n_out;
    const gopt_tensor *const *in; /* NULL entries: absent */
    gopt_tensor **out;            /* entry NULL until gi_eval_out; may be given beforehand by the plan */
    bool planned;                 /* outputs are given: gi_eval_out checks that shape and size fit */
    gi_arena *scratch;            /* reset by the caller after each node */
    gi_lookup_fn lookup;          /* captures of the node's blocks */
    void *user;
    uint64_t seed; /* of random operators */
} gi_eval;

/* Output i with that type and shape; its data is not cleared where planned. The tensor is a->out[i].
 * An output that nobody wants (the node has fewer) gives NULL in *t with GOPT_OK: skip it. */
gopt_status gi_eval_out(gi_eval *a, uint32_t i, gopt_dtype dtype, int rank, const int64_t *dims, gopt_tensor **t);
/* Output i is this tensor (sequences, optionals, control flow); takes the reference over, also where it fails.
 * Where planned, a tensor's contents are copied. */
gopt_status gi_eval_out_tensor(gi_eval *a, uint32_t i, gopt_tensor *t);
void *gi_eval_scratch(gi_eval *a, size_t n, size_t item); /* zeroed; NULL where there is no memory */

/* An error that names the node and input: GOPT_BAD_INPUT. */
gopt_status(gi_eval_fail)(const gi_eval *a, int in, const char *fmt, ...) __attribute__((format(printf, 3, 4)));

/* Evaluates one node. `out` receives n->n_out tensors that the caller owns (where not planned). */
gopt_status gi_eval_node(gi_eval *a);

/* Runs a block: params in, results out (each a reference that the caller releases). Values are freed after
 * their last use. Iterative over nodes, recursive over nested blocks (depth capped at 100). */
gopt_status gi_eval_block(gopt_ctx *cx, const gi_block *b, const gopt_tensor *const *params, gi_lookup_fn lookup,
                          void *user, gopt_tensor **results);

/* Runs a graph as it is. inputs: one a graph input, in order. */
gopt_status gi_eval_graph(gopt_graph *g, const gopt_tensor *const *inputs, gopt_tensor **outputs);

/* A tensor that borrows a blob's bytes (into *t, no allocation). */
void gi_tensor_of_blob(const gi_blob *b, gopt_tensor *t);
/* A reference to t where it owns its data, else a copy: what outlives the node may not borrow. */
gopt_status gi_tensor_keep(gopt_ctx *cx, const gopt_tensor *t, gopt_tensor **out);
gopt_status gi_tensor_copy(gopt_ctx *cx, const gopt_tensor *t, gopt_tensor **out); /* deep, strings too */
/* Gives the strings of a tensor that owns its data memory of their own: an evaluator may leave them pointing
 * into the inputs, the driver does this after it. */
gopt_status gi_tensor_own_strings(gopt_ctx *cx, gopt_tensor *t);
/* A sequence, optional or map with room for that many items and none yet. */
gopt_status gi_tensor_container(gopt_ctx *cx, gopt_kind kind, size_t room, gopt_tensor **out);
/* A blob with a copy of a tensor's bytes. */
gopt_status gi_blob_of_tensor(gopt_ctx *cx, const gopt_tensor *t, gi_blob **out);

/* ---- helpers that evaluators share (eval_util.c) ---- */

/* Shape of the broadcast of two; false where they clash. */
bool gi_broadcast_dims(int ra, const int64_t *a, int rb, const int64_t *b, int *r, int64_t *out);
/* Strides, in elements, of a tensor of shape `dims` (rank r) seen as shape `out` (rank ro): 0 where it is
 * broadcast. */
void gi_broadcast_strides(int r, const int64_t *dims, int ro, const int64_t *out, int64_t *strides);
void gi_strides(int r, const int64_t *dims, int64_t *strides); /* row-major, in elements */
int64_t gi_product(int from, int to, const int64_t *dims);     /* of dims[from … to-1] */
/* Element i of an integer tensor (i32 or i64 and others) */
static inline int64_t gi_tensor_i64(const gopt_tensor *t, int64_t i)
{
    return gi_load_i64(t->dtype, t->data, (size_t)i);
}
static inline double gi_tensor_f64(const gopt_tensor *t, int64_t i)
{
    return gi_load_f64(t->dtype, t->data, (size_t)i);
}
/* gi_store_f64 to a float8, where what is too large becomes infinity or NaN (cast.c). */
void gi_store_unsaturated(gopt_dtype t, void *data, size_t i, double x);
/* Whole bytes of one element: 1 for bool, 4 for f32; 0 for packed types and strings (sizeof gopt_string). */
size_t gi_item_size(gopt_dtype t);

#endif
