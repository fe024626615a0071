/* A graph is one neural network in SSA form.
 *
 *   gopt_graph *g;
 *   if (gopt_onnx_load(cx, "model.onnx", &g) != GOPT_OK)
 *       return gopt_diag_print(cx, stderr, false);   // says file, node, what was found and expected
 *   gopt_optimize(g, &(gopt_optimize_options){ .level = 2 }, NULL);
 *   gopt_onnx_save(g, "smaller.onnx", NULL);
 *   gopt_graph_destroy(g);
 *
 * Ownership: whoever creates a graph destroys it; everything reached from it (nodes, values) is borrowed
 * and lives until then. Threads: a graph belongs to one thread at a time; weights are shared between
 * graphs and immutable. */
#ifndef GOPT_GRAPH_H
#define GOPT_GRAPH_H

#include "gopt/tensor.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct gopt_graph gopt_graph;
typedef struct gopt_node gopt_node;
typedef struct gopt_value gopt_value;

/* ---- loading and saving ---- */

/* Reads ONNX (binary) or gopt's text form (.gir), told apart by contents; for a built plan's graph see gopt_plan_graph.
 * "-" is stdin. External data is looked for beside the file. */
GOPT_API gopt_status gopt_load(gopt_ctx *cx, const char *path, gopt_graph **out);
GOPT_API gopt_status gopt_onnx_load(gopt_ctx *cx, const char *path, gopt_graph **out);

typedef struct gopt_save_options {
    bool external_data; /* weights beside the file, in NAME.data; always so over 2 GB */
    int opset;          /* 0: the model's own */
    bool consume;       /* weights are let go as they are written; the graph may only be destroyed then */
} gopt_save_options;
GOPT_API gopt_status gopt_onnx_save(gopt_graph *g, const char *path, const gopt_save_options *o);
GOPT_API gopt_status gopt_gir_load(gopt_ctx *cx, const char *path, gopt_graph **out);
GOPT_API gopt_status gopt_gir_save(gopt_graph *g, const char *path);

/* A TensorProto, SequenceProto, OptionalProto or MapProto file, as ONNX's test data have them. `like` gives the kind
 * expected, and may be NULL. */
GOPT_API gopt_status gopt_onnx_load_tensor(gopt_ctx *cx, const char *path, gopt_kind kind, gopt_tensor **out);

GOPT_API void gopt_graph_destroy(gopt_graph *g); /* g may be NULL */
GOPT_API gopt_status gopt_graph_clone(const gopt_graph *g, gopt_graph **out);
GOPT_API gopt_status gopt_graph_verify(const gopt_graph *g);

/* ---- building without a file ---- */

GOPT_API gopt_status gopt_graph_create(gopt_ctx *cx, const char *name, int opset, gopt_graph **out);
/* dims as text: "n", "2*seq", "3"; NULL where there is no memory or the text is no expression. */
GOPT_API gopt_value *gopt_graph_input(gopt_graph *g, const char *name, gopt_dtype dtype, int rank,
                                      const char *const *dims);
GOPT_API gopt_value *gopt_graph_constant(gopt_graph *g, const char *name, gopt_dtype dtype, int rank,
                                         const int64_t *dims, const void *data); /* copies the data */
/* One node of an ai.onnx operator; returns its first output (further ones by gopt_node_output). NULL with a
 * diagnostic where the operator does not exist or its inputs do not fit. Attributes as text, as in the
 * text form: "pads = [1,1,1,1], group = 2"; NULL for none. */
GOPT_API gopt_value *gopt_graph_add(gopt_graph *g, const char *op, const char *name, int n_in, gopt_value *const *in,
                                    const char *attributes);
GOPT_API gopt_status gopt_graph_output(gopt_graph *g, gopt_value *v, const char *name);

/* ---- parts ---- */

/* The part between tensors as a graph of its own, which shares the weights: the named tensors become its inputs, with
 * the types that were inferred of them, and its outputs. Without inputs (n_in 0): those of the graph that are needed;
 * without outputs: all of the graph. A tensor may be both, and may be a weight. GOPT_USAGE with a diagnostic where a
 * name is unknown (the nearest ones are told) or inside a subgraph, where the type of an input is unknown, and where
 * an output also needs an input of the graph that is not named. */
GOPT_API gopt_status gopt_graph_extract(const gopt_graph *g, const char *const *in, size_t n_in, const char *const *out,
                                        size_t n_out, gopt_graph **part);

/* Two graphs for one: the tail has the nodes for which `cuts` says true (it is asked for those in subgraphs, too, and
 * means the one around them then) and all that depends on them; the head all others. What the tail needs of the head
 * become the head's last outputs, under their tensors' names or, where they have none, new ones; the tail has inputs
 * of the same names. Outputs of the graph are outputs of the head or of the tail; its inputs are the tail's alone where
 * nothing else reads them. What is computed from weights alone goes to where it is used, to both if need be. *tail is
 * NULL where no output depends on what is cut: all such nodes are left out then. */
GOPT_API gopt_status gopt_graph_split(const gopt_graph *g, bool (*cuts)(void *user, const gopt_node *n), void *user,
                                      gopt_graph **head, gopt_graph **tail);

/* ---- looking ---- */

GOPT_API size_t gopt_graph_input_count(const gopt_graph *g);
GOPT_API size_t gopt_graph_output_count(const gopt_graph *g);
GOPT_API gopt_value *gopt_graph_get_input(const gopt_graph *g, size_t i);
GOPT_API gopt_value *gopt_graph_get_output(const gopt_graph *g, size_t i);
GOPT_API const char *gopt_graph_input_name(const gopt_graph *g, size_t i);
GOPT_API const char *gopt_graph_output_name(const gopt_graph *g, size_t i);
/* Nodes, those inside subgraphs included; a fusion counts as what it holds. */
GOPT_API size_t gopt_graph_node_count(const gopt_graph *g);

/* Finds the value of that name in the top-level block. NULL if there is none. Borrowed. */
GOPT_API gopt_value *gopt_graph_find_value(gopt_graph *g, const char *name);
GOPT_API const char *gopt_value_name(const gopt_value *v); /* NULL where it has none */
GOPT_API gopt_kind gopt_value_kind(const gopt_value *v);
GOPT_API gopt_dtype gopt_value_dtype(const gopt_value *v);
GOPT_API int gopt_value_rank(const gopt_value *v); /* -1 where unknown */
/* Dim i: its value, or -1 where it is no constant. */
GOPT_API int64_t gopt_value_dim(const gopt_value *v, int i);
/* The type as text, "f32[batch,3,224,224]". Returns the length as snprintf does. */
GOPT_API int gopt_value_type_text(const gopt_value *v, char *buffer, size_t size);
GOPT_API gopt_node *gopt_value_producer(const gopt_value *v);        /* NULL for inputs and constants */
GOPT_API gopt_value *gopt_node_output(const gopt_node *n, size_t i); /* NULL past the last */
GOPT_API const char *gopt_node_op(const gopt_node *n);
GOPT_API const char *gopt_node_name(const gopt_node *n);   /* NULL where it has none */
GOPT_API const char *gopt_node_domain(const gopt_node *n); /* "" is ai.onnx */
/* Who provides a node's operator that is none of gopt's own (gopt/plugin.h); false where no plugin does. */
typedef struct gopt_plugin_use {
    const char *file; /* NULL: the program itself */
    const char *domain, *name;
    const char *means; /* may be NULL */
} gopt_plugin_use;
GOPT_API bool gopt_node_plugin(const gopt_node *n, gopt_plugin_use *out);
GOPT_API size_t gopt_node_input_count(const gopt_node *n);
GOPT_API gopt_value *gopt_node_input(const gopt_node *n, size_t i); /* NULL where absent or past the last */

/* Does it draw numbers, other ones with another seed? Dropout does in training alone. */
GOPT_API bool gopt_node_is_random(const gopt_node *n);

/* All nodes, those inside subgraphs behind the node that owns them. NULL past the last.
 *
 *   for (gopt_node *n = gopt_graph_first_node(g); n; n = gopt_node_next(n)) */
GOPT_API gopt_node *gopt_graph_first_node(const gopt_graph *g);
GOPT_API gopt_node *gopt_node_next(const gopt_node *n);
GOPT_API int gopt_node_depth(const gopt_node *n); /* subgraphs around it; 0 in the main graph */

/* What the file says of itself. Strings may be NULL. */
GOPT_API int64_t gopt_graph_ir_version(const gopt_graph *g);
GOPT_API const char *gopt_graph_producer(const gopt_graph *g);
/* Of the ONNX file that the graph was loaded from, with those that hold its external data. 0 for other graphs, clones
 * among them. */
GOPT_API uint64_t gopt_graph_file_bytes(const gopt_graph *g);
/* Opset i: false past the last. A domain of "" is ai.onnx. */
GOPT_API bool gopt_graph_get_opset(const gopt_graph *g, size_t i, const char **domain, int64_t *version);

/* ---- fixing what is dynamic ---- */

/* Fixes an input's shape; GOPT_USAGE with a diagnostic where there is no such input or it cannot be so. */
GOPT_API gopt_status gopt_graph_fix_shape(gopt_graph *g, const char *input, int rank, const int64_t *dims);
GOPT_API gopt_status gopt_graph_fix_dim(gopt_graph *g, const char *symbol, int64_t value);
/* Binds every symbol of the inputs that is still free to 1, with one note. */
GOPT_API gopt_status gopt_graph_fix_rest(gopt_graph *g);

#ifdef __cplusplus
}
#endif
#endif
