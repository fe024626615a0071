/* ATen operators: what an exporter left of PyTorch in an ONNX file, decoded. */
#ifndef GI_ATEN_H
#define GI_ATEN_H

#include "gopt/pass.h"
#include "ir/graph.h"

typedef struct gi_aten_op {
    const char *name;   /* "logcumsumexp" */
    const char *schema; /* "(Tensor self, int dim) -> Tensor"; overloads "dim: (…)", separated by "; " */
    const char *onnx;   /* what ONNX has for it; NULL where nothing */
    int since;          /* the opset that brought that; 0 where nothing */
    const char *advice; /* what to write instead in PyTorch; may be NULL */
} gi_aten_op;

/* The row of an operator; NULL where the table lacks it. */
const gi_aten_op *gi_aten_find(const char *name);

/* Is the node an ATen operator in one of the spellings that exporters leave? Then its operator and overload
 * ("" where the file names none). The strings are the graph's, or static.
 *
 *   org.pytorch.aten::ATen { operator = "logcumsumexp", overload_name = "" }
 *   org.pytorch.aten::logcumsumexp        aten::logcumsumexp      (also com.microsoft::ATen, of ORT training) */
bool gi_aten_decode(const gi_node *n, const char **op, const char **overload);

#endif
