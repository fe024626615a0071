/* One call of an ATen operator on its way to ONNX: its arguments, and what builds the nodes that take its place.
 *
 *   // log(exp(x) + exp(y)), without overflow
 *   bool gi_aten_logaddexp(gi_aten *a)
 *   {
 *       gi_value *x = gi_aten_tensor(a, "self"), *y = gi_aten_tensor(a, "other");
 *       if (!gi_aten_promote(a, GI_ATEN_TO_FLOAT, 2, (gi_value **[]){ &x, &y }))
 *           return false;
 *       …
 *       return gi_aten_return(a, 0, gi_aten_2(a, OP_Add, larger, correction));
 *   }
 *
 * A lowering returns false where it cannot be done, having said why with gi_aten_decline; every helper that fails has
 * said so itself. Building takes NULL operands and gives NULL for them, so that a chain is written without a check
 * between; gi_aten_return at its end fails then. Nodes of a lowering that failed are taken away again.
 *
 * Arguments go by their names in the schema. Absent ones have the schema's default, and one that the overload does not
 * have is absent, being 0, false or nothing. What the exporter wrote as a constant is a number here; a number or list
 * that is computed while the network runs can be had as a value (gi_aten_int_value, gi_aten_ints_value). */
#ifndef GI_ATEN_CALL_H
#define GI_ATEN_CALL_H

#include "aten/schema.h"
#include "ir/graph.h"

typedef struct gi_aten_op gi_aten_op;

typedef struct gi_aten {
    gopt_graph *g;
    gi_node *n;      /* what is lowered */
    gi_block *at;    /* where new nodes go: the node's block, or the body of a loop that is being built */
    gi_node *before; /* in it; NULL: at its end */
    gi_arena *scratch;
    const gi_aten_op *row;
    const gi_aten_schema *schema;
    gi_value *args[GI_ATEN_MAX_PARAMS]; /* NULL: absent */
    gi_value **out;                     /* one a result of the node */
    gi_node *before_it;                 /* the last node before the first of ours; NULL: none */
    uint32_t first;                     /* ids of values from here on are ours */
    const char *why;                    /* it could not be lowered; NULL: out of memory */
} gi_aten;

typedef bool (*gi_aten_lower_fn)(gi_aten *a);

/* ---- arguments ---- */

bool gi_aten_has(const gi_aten *a, const char *name); /* given, and not None */
/* A tensor, NULL where absent (without a word). */
gi_value *gi_aten_tensor(const gi_aten *a, const char *name);
bool gi_aten_tensors(gi_aten *a, const char *name, uint32_t *n, gi_value ***list);
/* Numbers; the default where absent. False where they are not known before the network runs. */
bool gi_aten_int(gi_aten *a, const char *name, int64_t *v);
bool gi_aten_ints(gi_aten *a, const char *name, uint32_t *n, const int64_t **v); /* n = 0 for None and [] */
bool gi_aten_float(gi_aten *a, const char *name, double *v);
bool gi_aten_floats(gi_aten *a, const char *name, uint32_t *n, const double **v); /* n = 0 for None and [] */
bool gi_aten_bool(gi_aten *a, const char *name, bool *v);
bool gi_aten_str(gi_aten *a, const char *name, const char **v);  /* NULL for None */
bool gi_aten_dtype(gi_aten *a, const char *name, gopt_dtype *v); /* GOPT_UNDEFINED for None */
/* An int[n] whose one number stands for all: n entries. */
bool gi_aten_ints_of(gi_aten *a, const char *name, uint32_t n, int64_t *v);
/* An axis of a tensor of that rank (0 counts as 1), brought to 0 … rank-1. */
bool gi_aten_axis(gi_aten *a, const char *name, int rank, int64_t *axis);
/* Axes: none given or an empty list stands for all. Sorted, each once. */
bool gi_aten_axes(gi_aten *a, const char *name, int rank, uint32_t *n, int64_t *axes);
/* A number as a 0-d i64, a list as a 1-d one, constant or not. */
gi_value *gi_aten_int_value(gi_aten *a, const char *name);
gi_value *gi_aten_ints_value(gi_aten *a, const char *name);
/* A Scalar as a value of rank 0 and that type. */
gi_value *gi_aten_scalar_value(gi_aten *a, const char *name, gopt_dtype t);

/* ---- types ---- */

/* Fails with a word where it is not known. */
bool gi_aten_rank(gi_aten *a, const gi_value *v, int *rank);
bool gi_aten_dtype_of(gi_aten *a, const gi_value *v, gopt_dtype *t);
bool gi_aten_dim_const(gi_aten *a, const gi_value *v, int i, int64_t *dim); /* i < 0 from the end */
bool gi_aten_is_float(const gi_value *v);

typedef enum gi_aten_promotion {
    GI_ATEN_RESULT,   /* torch.result_type */
    GI_ATEN_TO_FLOAT, /* the same, integers and bool becoming f32 */
    GI_ATEN_TO_INT    /* the same, bool becoming i64 */
} gi_aten_promotion;
/* Casts them to their common type (https://pytorch.org/docs/stable/tensor_attributes.html, type promotion): tensors
 * with dims go before those without, and those before Python numbers, as which constants of rank 0 count. NULL
 * entries stay. */
bool gi_aten_promote(gi_aten *a, gi_aten_promotion how, uint32_t n, gi_value **const *v);

/* ---- building: NULL operands give NULL ---- */

/* A node with attributes as text ("axis = %lld"), its types inferred. n_out outputs. */
gi_node *gi_aten_node(gi_aten *a, gi_opcode op, uint32_t n_in, gi_value *const *in, uint32_t n_out, const char *attrs,
                      ...) __attribute__((format(printf, 6, 7)));
/* The same with one output. Inputs that may be absent go through gi_aten_node. */
gi_value *gi_aten_make(gi_aten *a, gi_opcode op, uint32_t n_in, gi_value *const *in, const char *attrs, ...)
    __attribute__((format(printf, 5, 6)));
gi_value *gi_aten_1(gi_aten *a, gi_opcode op, gi_value *x);
gi_value *gi_aten_2(gi_aten *a, gi_opcode op, gi_value *x, gi_value *y);
gi_value *gi_aten_where(gi_aten *a, gi_value *c, gi_value *x, gi_value *y);
gi_value *gi_aten_cast(gi_aten *a, gi_value *x, gopt_dtype t); /* x itself where it is of that type */
gi_value *gi_aten_number(gi_aten *a, gopt_dtype t, double v);  /* a constant of rank 0 */
gi_value *gi_aten_number_like(gi_aten *a, const gi_value *x, double v);
gi_value *gi_aten_list(gi_aten *a, uint32_t n, const int64_t *v);                      /* a constant of rank 1, i64 */
gi_value *gi_aten_reshape(gi_aten *a, gi_value *x, uint32_t n, const int64_t *target); /* as Reshape reads it */
gi_value *gi_aten_transpose(gi_aten *a, gi_value *x, int rank, const int64_t *perm);
gi_value *gi_aten_unsqueeze(gi_aten *a, gi_value *x, uint32_t n, const int64_t *axes);
gi_value *gi_aten_squeeze(gi_aten *a, gi_value *x, uint32_t n, const int64_t *axes);
gi_value *gi_aten_reduce(gi_aten *a, gi_opcode op, gi_value *x, uint32_t n, const int64_t *axes, bool keep);
gi_value *gi_aten_concat(gi_aten *a, uint32_t n, gi_value *const *parts, int64_t axis);
gi_value *gi_aten_slice(gi_aten *a, gi_value *x, int64_t axis, int64_t from, int64_t to, int64_t step);
/* The shape as a 1-d i64; dim i of it as a 1-d i64 of one element, a constant where it is known. */
gi_value *gi_aten_shape(gi_aten *a, gi_value *x);
gi_value *gi_aten_dim(gi_aten *a, gi_value *x, int i);
gi_value *gi_aten_expand(gi_aten *a, gi_value *x, gi_value *shape);
/* A Scan over one tensor, the last of n_in inputs, along its axis, the others being states; n_out outputs are stacked
 * along that axis. *body then builds inside: body->at->params are the states and the element. gi_aten_scan_done gives
 * the body its results, new states first, and infers the types; false where they do not fit. */
gi_node *gi_aten_scan(gi_aten *a, uint32_t n_in, gi_value *const *in, uint32_t n_out, int64_t axis, gi_aten *body);
bool gi_aten_scan_done(gi_aten *a, gi_node *scan, gi_aten *body, uint32_t n, gi_value *const *results);
/* A value of x's shape, filled with a number of type t. */
gi_value *gi_aten_full_like(gi_aten *a, gi_value *x, gopt_dtype t, double v);

/* "[1,1]", for attributes; NULL where there is no memory. */
const char *gi_aten_ints_text(gi_aten *a, uint32_t n, const int64_t *v);

/* ---- ends ---- */

bool gi_aten_return(gi_aten *a, uint32_t i, gi_value *v); /* false where v is NULL */
/* A result that is a list of tensors. */
bool gi_aten_return_list(gi_aten *a, uint32_t n, gi_value *const *list);
/* Says why it cannot be lowered; returns false. The first word stands. */
bool gi_aten_decline(gi_aten *a, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#endif
