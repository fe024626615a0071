/* What the files of the exporter share: a graph on its way out. */
#ifndef GI_ONNX_EXPORT_H
#define GI_ONNX_EXPORT_H

#include "ir/graph.h"

typedef struct gi_xblock gi_xblock;

typedef struct gi_xattr {
    gi_attr a;
    gi_xblock *graph; /* of GI_ATTR_GRAPH */
} gi_xattr;

/* A node as it will be written: the older form where the opset asks for it. */
typedef struct gi_xnode {
    const gi_node *n; /* NULL: an Identity of ours */
    const char *op, *domain;
    gi_values in; /* resolved: never a Fusion's output */
    gi_vec(gi_xattr) attrs;
    gi_values out;
    const char *out_name; /* of an Identity of ours, which has no output value */
} gi_xnode;

struct gi_xblock {
    const gi_block *b;
    gi_xblock *parent;
    int depth;
    gi_vec(gi_xnode *) nodes;
    gi_values consts; /* that have their home here */
    const char **results;
};

typedef struct gi_export {
    gopt_ctx *cx;
    gopt_graph *g;
    gi_arena *a;
    int opset; /* of ai.onnx, as written; 0 where no node is of it */
    int64_t ir;
    bool external; /* large weights go to data_name */
    const char *data_name;
    gi_smap names;     /* taken */
    gi_smap symbols;   /* output name to the file's names of its dims, as in out_symbols */
    const char **name; /* by value id */
    gi_xblock **home;  /* by value id: where a value is defined, of constants the block that holds all uses */
    uint32_t n_values; /* room in the two above */
    gi_xblock *main;
} gi_export;

/* Flattens fusions, resolves constants' homes and names everything (export_graph.c). */
gopt_status gi_export_graph(gi_export *x);

/* The lowest opset, from x->opset on, in which every node can be said; and all nodes brought to it
 * (opset_down.c). */
gopt_status gi_opset_downgrade(gi_export *x);

/* The IR version that came with an opset. */
int64_t gi_onnx_ir_of_opset(int opset);

#endif
