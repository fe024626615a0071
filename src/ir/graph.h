/* The graph: SSA values, nodes in blocks, def-use chains.
 *
 * A value is defined once: by a node's output, as a block's parameter, or as a constant. Nodes lie in
 * blocks, always in an order that is a valid schedule. If, Loop, Scan and Fusion own blocks; code inside a
 * block uses outer values directly (captures), and such a use stands in the value's use list like any
 * other, as does a block's result. Everything lives in the graph's arena; ids are 32-bit and never reused;
 * every mutator bumps `epoch`.
 *
 * Only the mutators below change a graph: they keep the chains. Reading fields directly is fine.
 *
 *   gi_value *y = gi_node_out(gi_node_create(block, before, OP_Relu, 1, (gi_value *[]){ x }, 1), 0);
 *   gi_value_replace_uses(old, y);
 *   gi_node_remove(old->def.node); */
#ifndef GI_GRAPH_H
#define GI_GRAPH_H

#include "gopt/graph.h"
#include "ir/blob.h"
#include "ir/op.h"

typedef struct gopt_node gi_node;
typedef struct gopt_value gi_value;
typedef struct gi_block gi_block;

typedef gi_vec(gi_value *) gi_values;

/* One use of a value: input `index` of `node`, or result `index` of `block` where node is NULL. */
typedef struct gi_use {
    gi_value *value; /* NULL: an absent optional input */
    gi_node *node;
    gi_block *block;
    uint32_t index;
    struct gi_use *next, *prev; /* in value's list, in no particular order */
} gi_use;

typedef enum gi_def_kind { GI_DEF_NODE, GI_DEF_PARAM, GI_DEF_CONST } gi_def_kind;

struct gopt_value {
    uint32_t id;
    gi_def_kind kind;
    uint32_t index; /* which output, which parameter */
    union {
        gi_node *node;   /* GI_DEF_NODE; NULL once the node is removed */
        gi_block *block; /* GI_DEF_PARAM */
        gi_blob *blob;   /* GI_DEF_CONST */
    } def;
    const char *name;           /* as in the file; NULL where none. Graph inputs and outputs always have one */
    const gi_type *type;        /* NULL: nothing known */
    const gi_dim *const *known; /* contents of a small integer or bool tensor of rank 0 or 1, or NULL */
    uint32_t n_known;
    uint32_t n_uses;
    uint32_t n_result_uses; /* of these, results of blocks */
    gi_use *uses;
};

typedef struct gi_attr {
    gi_attr_kind kind;
    const char *name; /* the row's name, or as it came for OP_Unknown */
    uint32_t n;       /* entries of a list */
    union {
        int64_t i;
        float f;
        const char *s; /* may hold zero bytes: n is its length */
        gi_blob *tensor;
        gi_block *graph;
        const int64_t *ints;
        const float *floats;
        const char *const *strings;
    } u;
} gi_attr;

/* What a Fusion's one kernel does: its main work, or pointwise alone. In fusion_kinds order of graph.c. */
typedef enum gi_fusion_kind {
    GI_FUSION_NONE = 0,
    GI_FUSION_CONV,
    GI_FUSION_MATMUL,
    GI_FUSION_POINTWISE,
    GI_FUSION_REDUCE,
    GI_FUSION_NORM,
    GI_FUSION_ATTENTION,
    GI_FUSION_POOL,
    GI_FUSION_KIND_COUNT
} gi_fusion_kind;

/* A node that thousands were merged into names the first ones: nobody reads more, and work stays linear. */
enum { GI_MAX_ORIGINS = 256 };

struct gopt_node {
    uint32_t id;
    gi_opcode op;
    gi_fusion_kind fusion;      /* of OP_Fusion */
    const char *domain;         /* as it came, of OP_Unknown; else the row's */
    const char *op_name;        /* likewise */
    int opset;                  /* the opset version that the model gave its domain */
    const char *name;           /* as in the file; may be NULL */
    const char *doc;            /* doc_string; may be NULL */
    const char *scope;          /* torch scope or namespace; may be NULL */
    int64_t number;             /* position in the file + 1; 0 for a node of ours */
    const char *const *origins; /* original node names that this came from, unique, in order; GI_MAX_ORIGINS at most */
    uint32_t n_origins;
    const char *pass;        /* the rule or pass that made it, or merged others into it; NULL: it is as loaded */
    const char *const *meta; /* metadata_props: key, value, key, value … */
    uint32_t n_meta;         /* pairs */
    gi_block *block;         /* NULL once removed */
    gi_node *next, *prev;
    uint32_t n_in, n_out, n_attrs;
    gi_use *in;
    gi_value **out; /* an output that the file leaves out exists here all the same, without a name or uses */
    gi_attr *attrs; /* one entry an attribute of the row; for OP_Unknown those that came */
};

struct gi_block {
    uint32_t id;
    gopt_graph *graph;
    gi_node *owner; /* NULL for the main block */
    const char *name;
    gi_node *first, *last;
    uint32_t n_nodes;
    gi_value **params;
    uint32_t n_params, cap_params;
    gi_use *results;
    const char **result_names; /* what the model calls each result; never changed by a pass */
    uint32_t n_results;
};

typedef struct gi_opset {
    const char *domain; /* "" is ai.onnx */
    int64_t version;
} gi_opset;

/* What only the file says, for whoever judges it (lint). Import keeps it in the graph's arena; a clone has none. */
typedef struct gi_source {
    gi_vec(const gi_value *) unused_weights; /* initializers of the main graph that no node of the file names */
    gi_vec(const gi_value *) defaults;       /* initializers that are listed as inputs, too */
    gi_vec(const gi_value *) constants;      /* of Constant nodes, in all graphs */
    gi_vec(const char *) unused_domains;     /* that are imported */
    uint64_t bytes;                          /* of the file, and of those that hold its external data */
    uint32_t nodes, value_infos;             /* of the main graph */
    uint32_t sorted;                         /* graphs whose nodes did not stand in the order of their computation */
    uint32_t stale;                          /* declared types that contradict what the operators yield */
} gi_source;

struct gopt_graph {
    gopt_ctx *cx;
    gi_arena *arena;
    gi_dims *dims;
    gi_types *types;
    gi_block *main;                /* its parameters are the inputs, its results the outputs */
    const char *name, *doc, *file; /* file: for diagnostics; may be NULL */
    int64_t ir_version;
    const char *producer, *producer_version, *model_domain;
    int64_t model_version;
    gi_opset *opsets;
    uint32_t n_opsets;
    const char *const *meta;        /* key, value, … */
    uint32_t n_meta;                /* pairs */
    const char *const *out_symbols; /* output name, "batch\n\nwidth": the file's names of its dims, one a line */
    uint32_t n_out_symbols;         /* pairs */
    uint32_t n_values, n_blocks, next_node; /* ids given so far */
    uint64_t epoch;
    const char *pass;  /* the rule or pass that is running, for the nodes that it makes; lives as long as the program */
    gi_source *source; /* NULL where the graph is no file's */
    gi_values consts;  /* each holds a reference to its blob, released with the graph or before */
    gi_vec(gi_blob *) blobs; /* of attributes: one reference each, released with the graph */
};

/* ---- graphs ---- */

gopt_status gi_graph_create(gopt_ctx *cx, gopt_graph **out); /* with an empty main block */
/* The nodes of block b that are kept, by node id, as a graph of its own: what they read from outside becomes a
 * parameter, what is read outside a result. Unknown dims get names; nothing is known of contents, so infer. */
gopt_status gi_graph_cut(const gopt_graph *g, const gi_block *b, const bool *keep, gopt_graph **out);
/* A part of the main block that stands alone: it begins at `params`, any values of the graph, and ends at `results`,
 * each under the name given. The nodes kept read constants, params and each other alone. Provenance stays; unknown dims
 * of params get names. Where a param is no input of the graph, nothing is known of contents any more: infer. */
typedef struct gi_excerpt {
    const bool *keep; /* by node id */
    gi_value *const *params;
    const char *const *param_names;
    uint32_t n_params;
    gi_value *const *results;
    const char *const *result_names;
    uint32_t n_results;
} gi_excerpt;
gopt_status gi_graph_excerpt(const gopt_graph *g, const gi_excerpt *p, gopt_graph **out);
/* The node of b that n is, or lies in; NULL where n lies elsewhere. */
gi_node *gi_node_in_block(gi_node *n, const gi_block *b);
/* What the node reads, once or more: inputs that are there, and what its blocks capture; appended to `out`. */
bool gi_node_reads(const gi_node *n, gi_arena *a, gi_values *out);
/* Types of another graph, in this one's tables. */
const gi_type *gi_type_import(gopt_graph *g, const gi_type *t);
int gi_graph_opset(const gopt_graph *g, const char *domain); /* 0 where not imported */
uint32_t gi_graph_count_nodes(const gopt_graph *g);          /* all blocks; a Fusion counts as what it holds */

/* ---- values ---- */

gi_value *gi_block_add_param(gi_block *b, const char *name, const gi_type *type);
void gi_block_remove_param(gi_block *b, uint32_t index); /* it must have no uses */

/* A constant; takes over the caller's reference to the blob, also where it fails. */
gi_value *gi_const(gopt_graph *g, gi_blob *blob, const char *name);
gi_value *gi_const_i64(gopt_graph *g, int rank, int64_t n, const int64_t *v); /* rank 0 (n = 1) or 1 */
gi_value *gi_const_f32(gopt_graph *g, int rank, int64_t n, const float *v);
/* Lets go of the blob of a constant without uses: the value is none from then on, and nothing may use it again. */
void gi_const_drop(gi_value *v);
/* The same for all such constants with ids from `first` on: what was made and replaced again. */
void gi_graph_drop_consts(gopt_graph *g, uint32_t first);

gi_blob *gi_value_blob(const gi_value *v);                /* of a constant, else NULL; v may be NULL */
gi_node *gi_value_node(const gi_value *v);                /* of a node's output, else NULL; v may be NULL */
bool gi_value_is_output(const gi_value *v);               /* a result of the main block */
void gi_value_replace_uses(gi_value *from, gi_value *to); /* block results too; names of results stay */
void gi_value_set_type(gi_value *v, const gi_type *type);
bool gi_value_set_known(gi_value *v, uint32_t n, const gi_dim *const *known); /* copies */
/* What is known of small integer contents, of constants too (up to 64 elements). NULL where nothing. */
const gi_dim *const *gi_value_known(gi_value *v, uint32_t *n);
/* Printable name: its own, or %id (in a buffer of at least 16 bytes). */
const char *gi_value_label(const gi_value *v, char *buffer, size_t size);

/* ---- nodes ---- */

/* A node with its outputs, without name, put before `before` (NULL: at the end). Inputs may be NULL where
 * absent. Attributes are all absent; n_out outputs. NULL where there is no memory. */
gi_node *gi_node_create(gi_block *b, gi_node *before, gi_opcode op, uint32_t n_in, gi_value *const *in, uint32_t n_out);
static inline gi_value *gi_node_out(const gi_node *n, uint32_t i)
{
    return n ? n->out[i] : NULL;
}
static inline gi_value *gi_node_in(const gi_node *n, uint32_t i)
{
    return i < n->n_in ? n->in[i].value : NULL;
}

void gi_node_set_in(gi_node *n, uint32_t i, gi_value *v); /* v may be NULL */
bool gi_node_resize_in(gi_node *n, uint32_t n_in);        /* new ones absent; removed ones lose their use */
void gi_node_remove_out(gi_node *n, uint32_t i);          /* it must have no uses; later ones move up */
void gi_node_remove(gi_node *n);                          /* its outputs must have no uses; its blocks go with it */
void gi_node_move(gi_node *n, gi_block *b, gi_node *before);
bool gi_node_add_origin(gi_node *n, const char *name); /* once each */
bool gi_node_set_origins(gi_node *n, const char *const *names, uint32_t count);
bool gi_node_merge_origins(gi_node *n, const gi_node *from); /* provenance, scope (common stem), position */
bool gi_block_set_results(gi_block *b, uint32_t n, gi_value *const *v, const char *const *names);
void gi_block_set_result(gi_block *b, uint32_t i, gi_value *v);
/* A name that two values have among the graph's inputs and outputs; an output may be listed twice. *out is NULL where
 * there is none. False without memory. */
bool gi_graph_name_clash(const gopt_graph *g, gi_arena *scratch, const char **out);
gi_block *gi_block_create(gopt_graph *g, gi_node *owner, const char *name);

/* Moves the nodes, which lie in b, into a new Fusion put in place of the last of them. Values used outside
 * become its outputs. The caller has checked that no path leaves the set and comes back.
 * NULL where there is no memory. */
gi_node *gi_fuse(gi_block *b, gi_fusion_kind kind, gi_node *const *nodes, size_t n);
/* The same with the nodes given in the block's order: its cost does not depend on the block's size. */
gi_node *gi_fuse_in_order(gi_block *b, gi_fusion_kind kind, gi_node *const *nodes, size_t n);
bool gi_unfuse(gi_node *fusion); /* puts the nodes back where it stood, and removes it */
gi_block *gi_fusion_block(const gi_node *fusion);
const char *gi_fusion_kind_name(gi_fusion_kind k); /* "conv" */

/* Outer values that a node's blocks use, once each, in order of first use; appended to `out`. */
bool gi_node_captures(const gi_node *n, gi_arena *a, gi_values *out);

/* Calls f on every node of b and, before the node itself, of the blocks inside it, in order. The node may be
 * removed by f. Stops at the first false and returns it. Iterative: no depth limit. */
bool gi_each_node(gi_block *b, bool (*f)(void *arg, gi_node *n), void *arg);

/* The node before all of n in its main-block order, for "is a before b" in one block: numbers all nodes of
 * b from 1 in a scratch map by node id. */
bool gi_block_number(const gi_block *b, gi_arena *a, uint32_t **by_node_id);
/* The same for the nodes of all blocks at once: numbers compare within a block. */
bool gi_graph_number(const gopt_graph *g, gi_arena *a, uint32_t **by_node_id);

gi_place gi_node_place(const gi_node *n); /* file, subgraph, node, operator, opset; input unset */

/* ---- attributes: by position in the row (Conv_at_pads) ---- */

const gi_attr *gi_attr_find(const gi_node *n, const char *name); /* NULL where absent; any node */
bool gi_attr_has(const gi_node *n, int at);
int64_t gi_attr_int(const gi_node *n, int at); /* the row's default where absent */
float gi_attr_float(const gi_node *n, int at);
const char *gi_attr_str(const gi_node *n, int at);                  /* NULL where absent without default */
uint32_t gi_attr_ints(const gi_node *n, int at, const int64_t **v); /* 0 where absent */
uint32_t gi_attr_floats(const gi_node *n, int at, const float **v);
uint32_t gi_attr_strings(const gi_node *n, int at, const char *const **v);
gi_blob *gi_attr_tensor(const gi_node *n, int at);
gi_block *gi_attr_graph(const gi_node *n, int at);
bool gi_attr_is(const gi_node *n, int at, const char *s); /* is the string this? */

void gi_attr_set_int(gi_node *n, int at, int64_t v);
void gi_attr_set_float(gi_node *n, int at, float v);
bool gi_attr_set_str(gi_node *n, int at, const char *s);
bool gi_attr_set_ints(gi_node *n, int at, uint32_t count, const int64_t *v);
bool gi_attr_set_floats(gi_node *n, int at, uint32_t count, const float *v);
bool gi_attr_set_strings(gi_node *n, int at, uint32_t count, const char *const *v);
void gi_attr_set_tensor(gi_node *n, int at, gi_blob *b); /* takes the reference over */
void gi_attr_set_graph(gi_node *n, int at, gi_block *b);
void gi_attr_clear(gi_node *n, int at);
bool gi_attr_equal(const gi_attr *a, const gi_attr *b); /* graphs: only if both absent */
bool gi_attrs_copy(gi_node *to, const gi_node *from);   /* same operator; no graphs */

/* ---- checking (verify.c) and text (print.c, parse.c) ---- */

/* Reports every fault as a diagnostic, GOPT_INTERNAL; never aborts. */
gopt_status gi_verify(const gopt_graph *g);

typedef struct gi_print_options {
    bool types;    /* a type behind every result; without, inference finds what it can when read back */
    bool contents; /* the bytes of weights, so that parsing gives the same graph; else shape and hash */
    /* Optional (NULL): the number by which a weight that is too large to print inline is known elsewhere: it is printed
     * as @NUMBER. False without memory. */
    bool (*number)(void *user, gi_blob *b, uint64_t *number);
    void *user;
} gi_print_options;
gopt_status gi_print(const gopt_graph *g, const gi_print_options *o, gi_str *out);
/* Types are those of the parameters alone: infer the rest. */
gopt_status gi_parse(gopt_ctx *cx, const char *file, const char *text, size_t n, gopt_graph **out);
/* The same where weights stand as @NUMBER: `weight` gives a reference to it, NULL where there is none. */
typedef gi_blob *(*gi_weight_of)(void *user, uint64_t number);
gopt_status gi_parse_with(gopt_ctx *cx, const char *file, const char *text, size_t n, gi_weight_of weight, void *user,
                          gopt_graph **out);
/* Sets a node's attributes from "pads = [1,1,1,1], group = 2". */
gopt_status gi_parse_attrs(gi_node *n, const char *text);

#endif
