/* The operator table: one row an operator, in ops/<family>.def, all included by ops/all.def.
 *
 *   OP(LeakyRelu, IN(REQ(X)), OUT(RES(Y)), ATTRS(FLOAT(alpha, 0.01f)),
 *      .since = 1, .types = T_FLOATS, .traits = GI_PURE | GI_ELEMENTWISE,
 *      .infer = infer_same_as_first, .eval = eval_leaky_relu,
 *      .means = "y = x < 0 ? alpha * x : x")
 *
 * From a row come the opcode OP_LeakyRelu, the names LeakyRelu_in_X, LeakyRelu_out_Y and LeakyRelu_at_alpha
 * (positions: nobody writes in[1]), import and its checks, printing, parsing, the verifier, folding, and
 * `gopt ops`. Inputs: REQ(name) required, OPT(name) optional, VAR(name) any number of them, last.
 * Attributes: INT(name, default), FLOAT, STR, INTS(name), FLOATS(name), STRS(name), TENSOR(name), GRAPH(name);
 * INT_REQ(name) and so on where the model must give it, INT_OPT(name) where absent is a state of its own; a GRAPH must
 * be given, a GRAPH_OPT need not.
 * An operator without inputs or attributes writes IN(NONE), ATTRS(NONE).
 * Outputs: RES(name), RESOPT(name) that the model may leave out, RESVAR(name) any number, last.
 *
 * The row describes the newest form of the operator; older opsets are brought to it on import. */
#ifndef GI_OP_H
#define GI_OP_H

#include "ir/type.h"

/* The domain of the operators that ONNX Runtime brings with it. */
#define GI_DOMAIN_MS "com.microsoft"
/* Classical models: trees, linear ones, support vectors and what prepares their features. */
#define GI_DOMAIN_ML "ai.onnx.ml"
/* That of the operators that exist here alone: what PyTorch has and ONNX has no way to say. */
#define GI_DOMAIN_OWN "gopt"
/* The domain of ONNX's optimizers, and of Gradient. */
#define GI_DOMAIN_TRAINING "ai.onnx.preview.training"

typedef enum gi_opcode {
    OP_Unknown = 0, /* an operator that the table lacks: domain, name and attributes kept as they came */
#define OP(NAME, ...) OP_##NAME,
#include "ir/ops/all.def"
#undef OP
    OP_COUNT
} gi_opcode;

/* ---- positions of inputs, outputs and attributes, by name ---- */

#define GI_FE_1(M, C, x) M(C, x)
#define GI_FE_2(M, C, x, ...) M(C, x) GI_FE_1(M, C, __VA_ARGS__)
#define GI_FE_3(M, C, x, ...) M(C, x) GI_FE_2(M, C, __VA_ARGS__)
#define GI_FE_4(M, C, x, ...) M(C, x) GI_FE_3(M, C, __VA_ARGS__)
#define GI_FE_5(M, C, x, ...) M(C, x) GI_FE_4(M, C, __VA_ARGS__)
#define GI_FE_6(M, C, x, ...) M(C, x) GI_FE_5(M, C, __VA_ARGS__)
#define GI_FE_7(M, C, x, ...) M(C, x) GI_FE_6(M, C, __VA_ARGS__)
#define GI_FE_8(M, C, x, ...) M(C, x) GI_FE_7(M, C, __VA_ARGS__)
#define GI_FE_9(M, C, x, ...) M(C, x) GI_FE_8(M, C, __VA_ARGS__)
#define GI_FE_10(M, C, x, ...) M(C, x) GI_FE_9(M, C, __VA_ARGS__)
#define GI_FE_11(M, C, x, ...) M(C, x) GI_FE_10(M, C, __VA_ARGS__)
#define GI_FE_12(M, C, x, ...) M(C, x) GI_FE_11(M, C, __VA_ARGS__)
#define GI_FE_13(M, C, x, ...) M(C, x) GI_FE_12(M, C, __VA_ARGS__)
#define GI_FE_14(M, C, x, ...) M(C, x) GI_FE_13(M, C, __VA_ARGS__)
#define GI_FE_15(M, C, x, ...) M(C, x) GI_FE_14(M, C, __VA_ARGS__)
#define GI_FE_16(M, C, x, ...) M(C, x) GI_FE_15(M, C, __VA_ARGS__)
#define GI_FE_17(M, C, x, ...) M(C, x) GI_FE_16(M, C, __VA_ARGS__)
#define GI_FE_18(M, C, x, ...) M(C, x) GI_FE_17(M, C, __VA_ARGS__)
#define GI_FE_19(M, C, x, ...) M(C, x) GI_FE_18(M, C, __VA_ARGS__)
#define GI_FE_20(M, C, x, ...) M(C, x) GI_FE_19(M, C, __VA_ARGS__)
#define GI_FE_21(M, C, x, ...) M(C, x) GI_FE_20(M, C, __VA_ARGS__)
#define GI_FE_22(M, C, x, ...) M(C, x) GI_FE_21(M, C, __VA_ARGS__)
#define GI_FE_23(M, C, x, ...) M(C, x) GI_FE_22(M, C, __VA_ARGS__)
#define GI_FE_24(M, C, x, ...) M(C, x) GI_FE_23(M, C, __VA_ARGS__)
#define GI_FE_PICK(a1, a2, a3, a4, a5, a6, a7, a8, a9, a10, a11, a12, a13, a14, a15, a16, a17, a18, a19, a20, a21, \
                   a22, a23, a24, NAME, ...)                                                                       \
    NAME
#define GI_FE(M, C, ...)                                                                                              \
    GI_FE_PICK(__VA_ARGS__, GI_FE_24, GI_FE_23, GI_FE_22, GI_FE_21, GI_FE_20, GI_FE_19, GI_FE_18, GI_FE_17, GI_FE_16, \
               GI_FE_15, GI_FE_14, GI_FE_13, GI_FE_12, GI_FE_11, GI_FE_10, GI_FE_9, GI_FE_8, GI_FE_7, GI_FE_6,        \
               GI_FE_5, GI_FE_4, GI_FE_3, GI_FE_2, GI_FE_1, 0)                                                        \
    (M, C, __VA_ARGS__)

/* Pass 1: the enums. REQ(X) is the bare name here. */
#define REQ(x) x
#define OPT(x) x
#define VAR(x) x
#define RES(x) x
#define RESOPT(x) x
#define RESVAR(x) x
#define NONE
#define INT(x, d) x
#define INT_REQ(x) x
#define INT_OPT(x) x
#define FLOAT(x, d) x
#define FLOAT_REQ(x) x
#define FLOAT_OPT(x) x
#define STR(x, d) x
#define STR_REQ(x) x
#define STR_OPT(x) x
#define INTS(x) x
#define INTS_REQ(x) x
#define FLOATS(x) x
#define FLOATS_REQ(x) x
#define STRS(x) x
#define TENSOR(x) x
#define TENSOR_REQ(x) x
#define GRAPH(x) x
#define GRAPH_OPT(x) x
#define GI_IN_ENUM_(NAME, x) NAME##_in_##x,
#define GI_OUT_ENUM_(NAME, x) NAME##_out_##x,
#define GI_AT_ENUM_(NAME, x) NAME##_at_##x,
#define GI_IN_ENUM(NAME, x) GI_IN_ENUM_(NAME, x)
#define GI_OUT_ENUM(NAME, x) GI_OUT_ENUM_(NAME, x)
#define GI_AT_ENUM(NAME, x) GI_AT_ENUM_(NAME, x)
#define IN(...) (GI_IN_ENUM, __VA_ARGS__)
#define OUT(...) (GI_OUT_ENUM, __VA_ARGS__)
#define ATTRS(...) (GI_AT_ENUM, __VA_ARGS__)
#define GI_OPEN(NAME, M, ...) GI_FE(M, NAME, __VA_ARGS__)
#define GI_STRIP(...) __VA_ARGS__
#define GI_CALL(M, ...) M(__VA_ARGS__)
#define OP(NAME, INS, OUTS, ATTRIBUTES, ...)        \
    enum { GI_CALL(GI_OPEN, NAME, GI_STRIP INS) };  \
    enum { GI_CALL(GI_OPEN, NAME, GI_STRIP OUTS) }; \
    enum { GI_CALL(GI_OPEN, NAME, GI_STRIP ATTRIBUTES) };
#include "ir/ops/all.def"
#undef OP
#undef IN
#undef OUT
#undef ATTRS
#undef REQ
#undef OPT
#undef VAR
#undef RES
#undef RESOPT
#undef RESVAR
#undef NONE
#undef INT
#undef INT_REQ
#undef INT_OPT
#undef FLOAT
#undef FLOAT_REQ
#undef FLOAT_OPT
#undef STR
#undef STR_REQ
#undef STR_OPT
#undef INTS
#undef INTS_REQ
#undef FLOATS
#undef FLOATS_REQ
#undef STRS
#undef TENSOR
#undef TENSOR_REQ
#undef GRAPH
#undef GRAPH_OPT

/* ---- rows ---- */

typedef enum gi_presence { GI_REQUIRED, GI_OPTIONAL, GI_VARIADIC } gi_presence;

typedef struct gi_op_arg {
    const char *name;
    gi_presence presence;
} gi_op_arg;

typedef enum gi_attr_kind {
    GI_ATTR_NONE = 0, /* absent */
    GI_ATTR_INT,
    GI_ATTR_FLOAT,
    GI_ATTR_STRING,
    GI_ATTR_TENSOR,
    GI_ATTR_GRAPH,
    GI_ATTR_INTS,
    GI_ATTR_FLOATS,
    GI_ATTR_STRINGS
} gi_attr_kind;

typedef struct gi_op_attr {
    const char *name;
    gi_attr_kind kind;
    bool required;
    bool has_default;
    int64_t i;
    float f;
    const char *s;
} gi_op_attr;

enum {
    GI_PURE = 1 << 0,        /* no side effect, same inputs same outputs: may be folded, merged, removed */
    GI_COMMUTATIVE = 1 << 1, /* of its two inputs */
    GI_ELEMENTWISE = 1 << 2, /* each output element from the elements in the same (broadcast) place */
    GI_VIEW = 1 << 3,        /* the output holds the first input's elements in the same order */
    GI_REDUCTION = 1 << 4,
    GI_DATA_SHAPE = 1 << 5,  /* output shapes depend on values of inputs beyond known contents */
    GI_RANDOM = 1 << 6,      /* answers differ by seed; never folded or merged */
    GI_CONTROL = 1 << 7,     /* owns blocks */
    GI_MOVEMENT = 1 << 8,    /* copies elements unchanged: gather, slice, concat, transpose */
    GI_INTERNAL_OP = 1 << 9, /* ours alone: no ONNX operator of that name */
    GI_ANY_KIND = 1 << 10,   /* inputs may be sequences and optionals; of all others they must be tensors */
    GI_NOT_ONNX = 1 << 11    /* stands in ONNX's domain, but is no operator of ONNX */
};

/* Which dtypes the main input may have. */
enum {
    T_FLOATS = 1 << 0,   /* f16, bf16, f32, f64 */
    T_SIGNED = 1 << 1,   /* i8 to i64 */
    T_UNSIGNED = 1 << 2, /* u8 to u64 */
    T_BOOL = 1 << 3,
    T_STRING = 1 << 4,
    T_SMALL = 1 << 5, /* float8 kinds, 4-bit and 2-bit */
    T_COMPLEX = 1 << 6,
    T_INTS = T_SIGNED | T_UNSIGNED,
    T_NUMERIC = T_FLOATS | T_INTS,
    T_ANY = 0x7f
};

struct gi_infer;
struct gi_eval;
typedef gopt_status (*gi_infer_fn)(struct gi_infer *c);
typedef gopt_status (*gi_eval_fn)(struct gi_eval *a);

enum { GI_OP_MAX_IN = 16, GI_OP_MAX_OUT = 4, GI_OP_MAX_ATTR = 24 };

typedef struct gi_op {
    const char *name;
    const char *domain; /* NULL is ai.onnx */
    const char *onnx;   /* ONNX's name where it is not `name` (another domain has one alike); else NULL */
    int since;          /* the opset that brought its newest form */
    gi_op_arg in[GI_OP_MAX_IN];
    gi_op_arg out[GI_OP_MAX_OUT];
    gi_op_attr attrs[GI_OP_MAX_ATTR];
    unsigned types; /* T_… of the first input */
    unsigned traits;
    gi_infer_fn infer;
    gi_eval_fn eval;
    const char *means;        /* one line for docs/ops.md */
    int n_in, n_out, n_attrs; /* entries above */
} gi_op;

/* The row of an opcode; never NULL (OP_Unknown has an empty row). */
const gi_op *gi_op_get(gi_opcode op);

/* OP_Unknown where there is none. Domains "" and "ai.onnx" are the same. */
gi_opcode gi_op_find(const char *domain, const char *name);

/* The opset of ai.onnx that brought an operator of that name. */
int gi_op_introduced(const char *name);

/* Position of an attribute in the row, -1 where there is none. */
int gi_op_find_attr(const gi_op *op, const char *name);

/* May the main input have this dtype? */
bool gi_op_takes(const gi_op *op, gopt_dtype t);

#endif
