/* ATen operators: what an exporter left of PyTorch in an ONNX file, decoded, and brought to operators that run. */
#ifndef GI_ATEN_H
#define GI_ATEN_H

#include "aten/call.h"
#include "gopt/pass.h"

struct gi_aten_op {
    const char *name;       /* "logcumsumexp"; "torchvision::nms" outside of aten */
    const char *schema;     /* as PyTorch publishes it; see aten/schema.h */
    gi_aten_lower_fn lower; /* NULL: there is no way yet */
    int arg;                /* for lowerings that serve many rows: an opcode, or what they say */
    const char *onnx;       /* what ONNX has for it, in words; NULL where nothing */
    int since;              /* the opset that brought that; 0 where nothing */
    const char *advice;     /* what to write instead in PyTorch; may be NULL */
};

/* The row at i; NULL past the last. */
const gi_aten_op *gi_aten_row(size_t i);
/* The row of an operator, also of one that works in place ("add_") or has its overload behind a dot; NULL where the
 * table lacks it. */
const gi_aten_op *gi_aten_find(const char *name);

/* Is the node an operator of PyTorch's in one of the spellings that exporters leave? Then its operator and overload
 * ("" where the file names none). The strings are the graph's, or static.
 *
 *   org.pytorch.aten::ATen { operator = "logcumsumexp", overload_name = "" }
 *   org.pytorch.aten::logcumsumexp        aten::logcumsumexp      (also com.microsoft::ATen, of ORT training)
 *   torchvision::nms                      prim::ListUnpack */
bool gi_aten_decode(const gi_node *n, const char **op, const char **overload);

/* The node that put a list of tensors together, NULL where v is none: SequenceConstruct or prim::ListConstruct. */
gi_node *gi_aten_list_node(const gi_value *v);
/* Is it a constant of TorchScript's that ONNX has no tensor for: None, a text, a device? */
bool gi_aten_is_prim_constant(const gi_node *n);

/* Finds the overload that the node's inputs fit and binds them to a->args. False with a->why where none does. */
bool gi_aten_bind(gi_aten *a, const char *overload);

/* Builds what takes the node's place, before it, without touching the node itself: the results into a->out. False with
 * a->why where there is no way, and then nothing is left behind; false without where there is no memory. */
bool gi_aten_build(gi_aten *a, gi_node *n, gi_arena *scratch);
/* Takes away again what gi_aten_build has built. */
void gi_aten_undo(gi_aten *a);

/* Lowerings, in ops/. */
#define ATEN(NAME, SCHEMA, LOWER, ARG, ONNX, SINCE, ADVICE) bool LOWER(gi_aten *a);
#define ATEN_ONLY(NAME, SCHEMA, ONNX, SINCE, ADVICE)
#include "aten/aten.def"
#undef ATEN
#undef ATEN_ONLY

#endif
