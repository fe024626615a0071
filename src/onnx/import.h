/* What the files of the importer share. */
#ifndef GI_ONNX_IMPORT_H
#define GI_ONNX_IMPORT_H

#include "ir/graph.h"
#include "onnx/scan.h"

typedef Gi__Pb__TensorProto pb_tensor;
typedef Gi__Pb__SparseTensorProto pb_sparse;
typedef Gi__Pb__TypeProto pb_type;
typedef Gi__Pb__GraphProto pb_graph;
typedef Gi__Pb__NodeProto pb_node;
typedef Gi__Pb__AttributeProto pb_attr;
typedef Gi__Pb__FunctionProto pb_function;
typedef Gi__Pb__ModelProto pb_model;

enum {
    GI_ONNX_MAX_DEPTH = 64,        /* of function calls and subgraphs within each other */
    GI_ONNX_MAX_INLINED = 1 << 20, /* nodes that calls of functions may become */
    GI_ONNX_NEWEST_OPSET = 27
};

/* ---- tensors (tensor.c) ---- */

/* Where payloads come from. */
typedef struct gi_payloads {
    gopt_ctx *cx;
    gi_file *file;    /* the model's own; NULL where there is none to map */
    gi_arena *arena;  /* holds the two below */
    gi_smap external; /* path → gi_file, one reference each */
    gi_vec(gi_file *) files;
} gi_payloads;

void gi_payloads_init(gi_payloads *p, gopt_ctx *cx, gi_file *file, gi_arena *a);
void gi_payloads_fini(gi_payloads *p);

/* A blob of a TensorProto in any of its encodings; `at` says where it stands. The caller owns a reference. */
gopt_status gi_onnx_blob(gi_payloads *p, const pb_tensor *t, const gi_place *at, gi_blob **out);
/* Likewise of a SparseTensorProto, made dense. */
gopt_status gi_onnx_sparse_blob(gi_payloads *p, const pb_sparse *t, const gi_place *at, gi_blob **out);
/* Makes a blob of strings hold these (copied). `b` was created by gi_blob_create and is not shared yet. */
gopt_status gi_onnx_fill_strings(gi_blob *b, const ProtobufCBinaryData *s);

/* The file beside `model` that external data names: refuses what leaves the model's folder. */
gopt_status gi_onnx_external_file(gi_payloads *p, const char *location, const gi_place *at, gi_file **out);

/* ---- types (types.c) ---- */

/* NULL type where nothing is said, or where it is a kind that gopt does not know. False: no memory. */
bool gi_onnx_type(gopt_graph *g, const pb_type *t, const gi_type **out);
/* Fills gaps of `have` from `declared`; where they contradict, `have` stays and *clash is set. A dim that is known by
 * those of the model's inputs (`inputs`: gi_dim of each symbol there) is no gap, named or not: a constant or another
 * input's symbol would hold for some inputs only. */
const gi_type *gi_onnx_refine(gopt_graph *g, const gi_map *inputs, const gi_type *have, const gi_type *declared,
                              bool *clash);

/* ---- one node on its way in (node.c, shims in opset.c) ---- */

typedef struct gi_scope gi_scope;

typedef struct gi_raw_attr {
    gi_attr a;             /* in the graph's arena; tensors belong to the graph */
    const pb_graph *graph; /* of GI_ATTR_GRAPH, not yet built */
    const gi_scope *scope; /* where the graph's free names are looked up */
} gi_raw_attr;

typedef gi_vec(gi_raw_attr) gi_raw_attrs;

typedef struct gi_raw {
    const pb_node *p;
    const char *domain, *op, *name;
    const char *origin; /* of a node that is one of several: the name of the one in the file */
    int opset;
    gi_values in;
    gi_raw_attrs attrs;
    const char **out; /* names; "" where left out */
    uint32_t n_out;
    gi_value **done; /* set by a shim that built the outputs itself */
    gi_block *block;
    const char *scope_path;
    int64_t number;
    gi_place at;
} gi_raw;

/* ---- scopes ---- */

typedef struct gi_call gi_call; /* the function that is being inlined */

struct gi_scope {
    const gi_scope *parent; /* NULL for the main graph and for a function's body */
    gi_smap values;         /* name → gi_value */
    gi_smap declared;       /* name → ValueInfoProto */
    gi_block *block;
    const gi_opset *opsets;
    uint32_t n_opsets;
    const gi_call *call;
    const char *path; /* for diagnostics; NULL in the main graph */
    int depth;
};

struct gi_call {
    const gi_call *parent;
    const pb_function *f;
    const char *prefix; /* of names inside */
    gi_raw_attrs attrs; /* what the caller gave, and defaults */
    int64_t number;     /* the caller's position in the file */
    const char *scope_path;
};

typedef struct gi_import {
    gopt_ctx *cx;
    gopt_graph *g;
    gi_arena *a;       /* everything of the import alone */
    gi_arena *scratch; /* reset after each node */
    gi_payloads payloads;
    gi_smap functions;     /* "domain name overload" → FunctionProto */
    gi_smap domains;       /* those that nodes use */
    gi_map inputs;         /* symbols of the main graph's inputs, by address */
    gi_map read;           /* constants that nodes of the file name, by address */
    size_t n_initializers; /* of the main graph: the first so many of its constants */
    gi_smap outputs;       /* names of the main graph's outputs */
    int64_t number;        /* nodes met so far */
    uint64_t inlined;
    uint32_t stale;  /* declared types that contradict what was inferred, but for those warned of by name */
    uint32_t named;  /* of outputs, warned of by name */
    uint32_t sorted; /* graphs that had to be sorted */
} gi_import;

/* Reads a graph into a block, whose params and results it sets. `block` is empty. */
gopt_status gi_import_graph(gi_import *im, const pb_graph *p, gi_scope *s);
/* Reads the nodes of a graph or function, sorted where they are not. */
gopt_status gi_import_nodes(gi_import *im, pb_node *const *nodes, size_t n, gi_scope *s);
gopt_status gi_import_node(gi_import *im, gi_scope *s, const pb_node *p);
/* The order in which nodes are to be read: indices into `nodes` (order.c). */
gopt_status gi_import_order(gi_import *im, pb_node *const *nodes, size_t n, const gi_scope *s, uint32_t **order);
/* NULL where the name stands for nothing; `found` tells that from an input left out. */
gi_value *gi_scope_find(const gi_scope *s, const char *name, bool *found);
gopt_status gi_scope_define(gi_import *im, gi_scope *s, const char *name, gi_value *v, const gi_place *at);

/* Completes a raw node: checks it against its row, creates it, infers types. Values in the order of outputs. */
gopt_status gi_raw_create(gi_import *im, gi_raw *r, gi_value ***out);
/* Gives a node the provenance and position of a raw one. False where there is no memory. */
bool gi_raw_describe(gi_import *im, const gi_raw *r, gi_node *n);
gi_raw_attr *gi_raw_attr_find(gi_raw *r, const char *name);
void gi_raw_attr_drop(gi_raw *r, const char *name);

/* Brings a raw node of ai.onnx to the newest form (opset.c). */
gopt_status gi_opset_upgrade(gi_import *im, gi_raw *r);

/* Operators of ONNX Runtime that ONNX has, or can express, become ONNX's (contrib.c); others stay. */
gopt_status gi_contrib_import(gi_import *im, gi_raw *r);

/* Scan of opset 8 (scan_batch.c). */
gopt_status gi_import_scan_8(gi_import *im, gi_raw *r);

/* One attribute as it stands in the file (attributes.c). kind NONE where a function's caller left it out. */
gopt_status gi_import_attr(gi_import *im, const gi_scope *s, const pb_attr *p, const gi_place *at, gi_raw_attr *out);

/* An ONNX model from a file in memory (import.c). */
gopt_status gi_onnx_import(gopt_ctx *cx, gi_file *f, gopt_graph **out);

/* A type attribute (of Optional) is kept as text behind this prefix. */
#define GI_ONNX_TYPE_PREFIX "type:"

/* Strings that protobuf left out are "". */
static inline const char *gi_pb_str(const char *s)
{
    return s ? s : "";
}
/* "" and "ai.onnx" are the same domain. */
static inline const char *gi_onnx_domain(const char *s)
{
    return !s || !strcmp(s, "ai.onnx") ? "" : s;
}

#endif
