/* Turns the rows of a family's .def into its objects. A family file ends with
 *
 *   #include "ops/rows.h"
 *   #include "ir/ops/conv.def"
 *
 * so that its rules and evaluators can be static. table.c collects the objects by opcode. No include guard:
 * each family file includes it once. */
#include "ir/op.h"

#define REQ(x) (#x, GI_REQUIRED, 1)
#define OPT(x) (#x, GI_OPTIONAL, 1)
#define VAR(x) (#x, GI_VARIADIC, 1)
#define RES(x) (#x, GI_REQUIRED, 1)
#define RESOPT(x) (#x, GI_OPTIONAL, 1)
#define RESVAR(x) (#x, GI_VARIADIC, 1)
#define NONE (NULL, 0, 0)

#define INT(x, d) (#x, GI_ATTR_INT, 1, false, true, d, 0, NULL)
#define INT_REQ(x) (#x, GI_ATTR_INT, 1, true, false, 0, 0, NULL)
#define INT_OPT(x) (#x, GI_ATTR_INT, 1, false, false, 0, 0, NULL)
#define FLOAT(x, d) (#x, GI_ATTR_FLOAT, 1, false, true, 0, d, NULL)
#define FLOAT_REQ(x) (#x, GI_ATTR_FLOAT, 1, true, false, 0, 0, NULL)
#define FLOAT_OPT(x) (#x, GI_ATTR_FLOAT, 1, false, false, 0, 0, NULL)
#define STR(x, d) (#x, GI_ATTR_STRING, 1, false, true, 0, 0, d)
#define STR_REQ(x) (#x, GI_ATTR_STRING, 1, true, false, 0, 0, NULL)
#define STR_OPT(x) (#x, GI_ATTR_STRING, 1, false, false, 0, 0, NULL)
#define INTS(x) (#x, GI_ATTR_INTS, 1, false, false, 0, 0, NULL)
#define INTS_REQ(x) (#x, GI_ATTR_INTS, 1, true, false, 0, 0, NULL)
#define FLOATS(x) (#x, GI_ATTR_FLOATS, 1, false, false, 0, 0, NULL)
#define FLOATS_REQ(x) (#x, GI_ATTR_FLOATS, 1, true, false, 0, 0, NULL)
#define STRS(x) (#x, GI_ATTR_STRINGS, 1, false, false, 0, 0, NULL)
#define TENSOR(x) (#x, GI_ATTR_TENSOR, 1, false, false, 0, 0, NULL)
#define TENSOR_REQ(x) (#x, GI_ATTR_TENSOR, 1, true, false, 0, 0, NULL)
#define GRAPH(x) (#x, GI_ATTR_GRAPH, 1, true, false, 0, 0, NULL)
#define GRAPH_OPT(x) (#x, GI_ATTR_GRAPH, 1, false, false, 0, 0, NULL)

#define GI_ARG_ROW_(NAME, PRESENCE, COUNT) { NAME, PRESENCE },
#define GI_ARG_ROW(C, T) GI_ARG_ROW_ T
#define GI_ARG_COUNT_(NAME, PRESENCE, COUNT) +COUNT
#define GI_ARG_COUNT(C, T) GI_ARG_COUNT_ T
#define GI_ATTR_ROW_(NAME, KIND, ...) { NAME, (gi_attr_kind)(KIND), GI_ATTR_REST(__VA_ARGS__, 0, 0, 0, 0, 0) },
#define GI_ATTR_REST(COUNT, REQUIRED, DEFAULT, I, F, S, ...) REQUIRED, DEFAULT, I, F, S
#define GI_ATTR_ROW(C, T) GI_ATTR_ROW_ T
#define GI_ATTR_COUNT_(NAME, KIND, COUNT, ...) +COUNT
#define GI_ATTR_COUNT(C, T) GI_ATTR_COUNT_ T

#define IN(...) .in = { GI_FE(GI_ARG_ROW, 0, __VA_ARGS__) }, .n_in = 0 GI_FE(GI_ARG_COUNT, 0, __VA_ARGS__)
#define OUT(...) .out = { GI_FE(GI_ARG_ROW, 0, __VA_ARGS__) }, .n_out = 0 GI_FE(GI_ARG_COUNT, 0, __VA_ARGS__)
#define ATTRS(...) .attrs = { GI_FE(GI_ATTR_ROW, 0, __VA_ARGS__) }, .n_attrs = 0 GI_FE(GI_ATTR_COUNT, 0, __VA_ARGS__)

#define OP(NAME, INS, OUTS, ATTRIBUTES, ...) \
    extern const gi_op gi_row_##NAME;        \
    const gi_op gi_row_##NAME = { .name = #NAME, INS, OUTS, ATTRIBUTES, __VA_ARGS__ };
