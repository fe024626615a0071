/* Optimizing: levels, passes by name, remarks, what was done. */
#ifndef GOPT_PASS_H
#define GOPT_PASS_H

#include "gopt/graph.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef enum gopt_fp { GOPT_FP_REASSOC = 0, GOPT_FP_STRICT, GOPT_FP_FAST } gopt_fp;

/* What operators the output may use. */
typedef enum gopt_emit {
    GOPT_EMIT_MODEL = 0, /* ONNX's own, of the output's opset, and what else the model itself uses */
    GOPT_EMIT_ONNX,      /* ONNX's own alone: those that ONNX Runtime brings with it are expanded */
    GOPT_EMIT_ORT        /* also those that ONNX Runtime brings with it (com.microsoft) */
} gopt_emit;

typedef struct gopt_optimize_options {
    int level; /* 0 nothing, 1 bit-exact, 2 the default, 3 also what raises the opset */
    gopt_fp fp;
    const char *passes;    /* "A,B,C": these alone, in that order; NULL: the level's pipeline */
    const char *skip;      /* "A,B": all but these; names of passes or of rules */
    int64_t rewrite_limit; /* stop after so many rewrites; 0: none, negative: before the first */
    bool fuse;             /* keep Fusion regions in the graph (for a backend, pictures and counts) */
    bool verify_each;      /* check the graph after every pass */
    int opset;             /* 0: the model's own (at level 3: as new as need be) */
    gopt_emit emit;
    /* The graph is for an engine, not for a file: does its backend run this node by a kernel? gopt_kernels_run says so.
     * What it does not run is expanded into what it does, where there is a rule; any opset will do. May be NULL. */
    bool (*runs)(void *user, const gopt_node *n);
    void *runs_user;
    const char *dump_dir; /* one numbered .gir a pass; NULL: none */
    const char *planted;  /* for tests alone: "A,B", rules of rules/planted.def, which are wrong; NULL: none */
    /* Called after every pass with its name and number (from 1), the graph as it stands then; it must not
     * change the graph. May be NULL. */
    void (*after_pass)(void *user, gopt_graph *g, const char *pass, int index);
    void *after_pass_user;
} gopt_optimize_options;

typedef enum gopt_remark_kind { GOPT_APPLIED, GOPT_DECLINED, GOPT_ANALYSIS } gopt_remark_kind;

/* One line of the ledger. Borrowed from the report. */
typedef struct gopt_remark {
    gopt_remark_kind kind;
    const char *pass, *rule;
    int index;                /* number of the pass's run, from 1, as gopt_optimize_options.after_pass counts */
    const char *at;           /* the node where it was tried */
    const char *const *nodes; /* original names of all nodes concerned */
    size_t n_nodes;
    const char *reason; /* a sentence */
} gopt_remark;

typedef struct gopt_rule_count {
    const char *rule;
    int64_t count;
} gopt_rule_count;

typedef struct gopt_pass_stat {
    const char *name;
    double ms;
    bool changed;
    int64_t nodes_before, nodes_after;
    const gopt_rule_count *rewrites;
    size_t n_rewrites;
} gopt_pass_stat;

typedef struct gopt_op_count {
    const char *op; /* "Conv"; "domain::Name" outside ai.onnx */
    int64_t count;
} gopt_op_count;

typedef struct gopt_report gopt_report;

typedef struct gopt_report_summary {
    int64_t nodes_before, nodes_after, fusions;
    uint64_t parameter_bytes_before, parameter_bytes_after;
    double ms;
    const gopt_op_count *ops_before, *ops_after; /* sorted by name */
    size_t n_ops_before, n_ops_after;
    const gopt_pass_stat *passes;
    size_t n_passes;
    const gopt_remark *remarks;
    size_t n_remarks;
    bool rewrite_limit_hit;
} gopt_report_summary;

/* Optimizes in place. `report` may be NULL; destroy it with gopt_report_destroy. On an error the graph is
 * still valid. */
GOPT_API gopt_status gopt_optimize(gopt_graph *g, const gopt_optimize_options *o, gopt_report **report);
GOPT_API const gopt_report_summary *gopt_report_get(const gopt_report *r);
GOPT_API void gopt_report_destroy(gopt_report *r);

/* ---- finding the fault of a rewrite ---- */

/* Does the graph show the fault? It may not be changed. An error ends the search. */
typedef gopt_status (*gopt_shows_fn)(void *user, const gopt_graph *g, bool *shows);

/* The smallest part of a graph that shows the fault which one rewrite brings in, as text (.gir). `before` and `after`
 * are clones of one graph, optimized alike but for the limit of rewrites, which let `after` have one more. Stops after
 * some hundred questions or a minute with the smallest part so far. *text is NULL where no part shows it when read
 * back from its text; else freed with gopt_text_free. */
GOPT_API gopt_status gopt_reduce(const gopt_graph *before, const gopt_graph *after, gopt_shows_fn shows, void *user,
                                 char **text);

/* The passes that there are, in the order of the default pipeline. NULL past the last. */
typedef struct gopt_pass_info {
    const char *name, *means;
    int level; /* the least level that runs it */
} gopt_pass_info;
GOPT_API const gopt_pass_info *gopt_pass_get(size_t i);

/* What the arithmetic of a rule's result may differ in from what was there. */
typedef enum gopt_exact {
    GOPT_EXACT_BITWISE, /* nothing */
    GOPT_EXACT_REASSOC, /* rounding; --fp strict leaves it out */
    GOPT_EXACT_FINITE   /* infinities and NaN too; only with --fp fast */
} gopt_exact;

/* The rules that there are, each one kind of rewrite. False past the last. */
typedef struct gopt_rule_info {
    const char *name;
    const char *pass;  /* that tries it */
    const char *means; /* before ⇒ after */
    const char *needs; /* what must hold beyond that, in words; NULL where nothing */
    gopt_exact exact;
    int opset; /* of ai.onnx, that the output must have; 0: any */
    bool ort;  /* only with --emit ort */
} gopt_rule_info;
GOPT_API bool gopt_rule_get(size_t i, gopt_rule_info *out);

/* The operators that there are, in their newest form. False past the last. */
typedef struct gopt_op_info {
    const char *domain, *name, *means;
    int since;      /* the opset of its domain that brought this form */
    int first;      /* the opset of ai.onnx that brought the operator; 0 in another domain */
    bool random;    /* draws numbers */
    bool any_kind;  /* inputs may be sequences and optionals, too */
    bool ours;      /* stands in ONNX's domain, but is no operator of ONNX */
    bool evaluated; /* has a reference evaluation: the cpu backend runs it */
} gopt_op_info;
GOPT_API bool gopt_op_info_get(size_t i, gopt_op_info *out);

typedef enum gopt_arg_presence { GOPT_ARG_REQUIRED, GOPT_ARG_OPTIONAL, GOPT_ARG_VARIADIC } gopt_arg_presence;

/* Its inputs and outputs in order. A variadic one is the last, and stands for any number. False past the last. */
typedef struct gopt_op_arg {
    const char *name;
    gopt_arg_presence presence;
} gopt_op_arg;
GOPT_API bool gopt_op_input(size_t op, size_t i, gopt_op_arg *out);
GOPT_API bool gopt_op_output(size_t op, size_t i, gopt_op_arg *out);

/* Its attributes. False past the last. */
typedef struct gopt_op_attr {
    const char *name;
    const char *kind; /* int, float, string, tensor, graph, ints, floats, strings */
    bool required, has_default;
    int64_t i; /* the default, by kind */
    float f;
    const char *s;
} gopt_op_attr;
GOPT_API bool gopt_op_attribute(size_t op, size_t i, gopt_op_attr *out);

/* May its first input have that type? Types come in classes: all floats, all signed integers and so on. */
GOPT_API bool gopt_op_takes(size_t op, gopt_dtype t);

/* What import changes in models of an opset before `before` (0: of any) to bring an operator to its newest form. `op`
 * is NULL where it is done to all. False past the last. */
typedef struct gopt_op_change {
    const char *op, *means;
    int before;
} gopt_op_change;
GOPT_API bool gopt_op_change_get(size_t i, gopt_op_change *out);

/* Operators of ai.onnx that no graph holds, since import makes others of them. False past the last. */
typedef struct gopt_op_by_import {
    const char *name;
    const char *becomes; /* an operator; "" where it is none */
    const char *means;
} gopt_op_by_import;
GOPT_API bool gopt_op_by_import_get(size_t i, gopt_op_by_import *out);

/* ---- operators that nothing here can run ---- */

typedef struct gopt_unsupported {
    const gopt_node *at; /* as long as the graph is not changed */
    const char *node, *domain, *op;
    const char *aten_operator, *overload; /* NULL where it is no ATen operator */
    const char *reason, *fix;
} gopt_unsupported;

/* Finds them all, ATen ones decoded. The array belongs to the graph. Never fails on a strange model. */
GOPT_API gopt_status gopt_find_unsupported(gopt_graph *g, const gopt_unsupported **list, size_t *n);

/* The network in two: the head ends before the operators that nothing here can run, the tail begins with them
 * (gopt_graph_split says how). */
typedef struct gopt_cut {
    gopt_graph *head, *tail;      /* the caller's to destroy; no tail where no output needs what is listed */
    const gopt_unsupported *list; /* what the head ends before; belongs to the graph that was cut */
    size_t n;
} gopt_cut;

/* `standard`: the head is for other runtimes, so it ends before the operators of gopt's own and of plugins, too.
 * Lower PyTorch's operators first (gopt_lower_aten). */
GOPT_API gopt_status gopt_cut_unsupported(gopt_graph *g, bool standard, gopt_cut *out);

/* ---- operators of PyTorch that an exporter left (ATen) ---- */

typedef enum gopt_aten_outcome {
    GOPT_ATEN_LOWERED, /* to operators of ONNX */
    GOPT_ATEN_OWN,     /* to operators of which some are gopt's own: no other runtime will run them */
    GOPT_ATEN_LEFT     /* stays as it is: gopt_find_unsupported tells what to do about it */
} gopt_aten_outcome;

typedef struct gopt_aten_finding {
    const char *node, *scope; /* scope: of PyTorch's modules, "" where the file does not say */
    const char *op, *overload;
    const char *inputs; /* their types: "f32[2,3], i64[]" */
    gopt_aten_outcome outcome;
    const char *what; /* the operators that took its place; why not, where it stays */
    const char *fix;  /* what to write in PyTorch instead, where no other runtime will run it; else "" */
} gopt_aten_finding;

/* Puts operators of ONNX, or of gopt's own, in the place of PyTorch's. Those that cannot be stay. The list, one entry a
 * node that was found, belongs to the graph; list and n may be NULL. Fails only where the graph contradicts itself. */
GOPT_API gopt_status gopt_lower_aten(gopt_graph *g, const gopt_aten_finding **list, size_t *n);

/* ---- inspecting ---- */

typedef struct gopt_inspection {
    int64_t nodes;
    const gopt_op_count *ops;
    size_t n_ops;
    uint64_t parameters, parameter_bytes;
    const char *flops, *peak_activation_bytes; /* an integer, or an expression in the symbols */
} gopt_inspection;
/* Without running and without reading weights. Belongs to the graph. */
GOPT_API gopt_status gopt_inspect(gopt_graph *g, const gopt_inspection **out);

typedef struct gopt_weight_stat {
    const char *name;
    const char *type;
    uint64_t elements, zeros, nans, infs, beyond_f16;
    double min, max, mean;
} gopt_weight_stat;
GOPT_API gopt_status gopt_inspect_weights(gopt_graph *g, const gopt_weight_stat **list, size_t *n);

#ifdef __cplusplus
}
#endif
#endif
