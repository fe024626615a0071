/* Pictures: DOT of a graph, before and after side by side, SVG, PNG and PDF through graphviz, and a page to look around in.
 *
 * Graphviz runs in a process of its own, with limits of time and memory: the program named by
 * `gopt_svg_options.helper` is started as `HELPER --render-svg IN.dot OUT.svg`; gopt itself serves as one. */
#ifndef GOPT_REPORT_H
#define GOPT_REPORT_H

#include "gopt/engine.h"
#include "gopt/pass.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct gopt_dot_options {
    const char *title;
    bool full;        /* every node, however many; else collapsed by scope above max_nodes */
    bool flat;        /* no clusters (for viewers that drop them) */
    size_t max_nodes; /* 0: 500 */
} gopt_dot_options;

/* The text is freed with gopt_text_free. */
GOPT_API gopt_status gopt_dot(gopt_graph *g, const gopt_dot_options *o, char **text);
/* Two graphs side by side, nodes that became one another in the same colour. */
GOPT_API gopt_status gopt_dot_pair(gopt_graph *before, gopt_graph *after, const gopt_dot_options *o, char **text);
GOPT_API void gopt_text_free(gopt_ctx *cx, char *text);

/* Writes text whole or not at all; "-" is stdout. */
GOPT_API gopt_status gopt_text_save(gopt_ctx *cx, const char *path, const char *text);

typedef struct gopt_svg_options {
    const char *helper; /* NULL: this process's own program */
    int seconds;        /* 0: 30 */
    uint64_t memory;    /* bytes; 0: 2 GiB */
} gopt_svg_options;
/* Renders DOT text to an SVG file. GOPT_UNSUPPORTED with what to install where there is no graphviz, or
 * where its time or memory ran out. */
GOPT_API gopt_status gopt_svg_save(gopt_ctx *cx, const char *dot, const char *path, const gopt_svg_options *o);

typedef enum gopt_picture_format { GOPT_SVG, GOPT_PNG, GOPT_PDF } gopt_picture_format;
/* Draws a graph, or two side by side (after != NULL). As SVG it always succeeds: what graphviz cannot lay out within its
 * limits, a layout of ours does, and a note says so. As PNG or PDF that is GOPT_UNSUPPORTED. */
GOPT_API gopt_status gopt_picture_save(gopt_graph *g, gopt_graph *after, const gopt_dot_options *what, const char *path,
                                       gopt_picture_format format, const gopt_svg_options *how);

/* What the helper does: lays out and renders in this process, by the ending of the path to be written. Returns the
 * process's exit code. */
GOPT_API int gopt_svg_helper(const char *dot_path, const char *picture_path);

/* ---- the page ----
 *
 * One HTML file without anything from outside: the graph after every pass, what became of each node and why, and what a
 * run took.
 *
 *   gopt_page *p;
 *   GOPT_TRY(gopt_page_create(cx, "model.onnx", &p));
 *   gopt_page_stage(p, g, "as loaded", 0);
 *   gopt_optimize(g, &(gopt_optimize_options){ .level = 2, .fuse = true, .after_pass = gopt_page_after_pass,
 *                                               .after_pass_user = p }, &report);
 *   gopt_page_report(p, gopt_report_get(report));
 *   gopt_page_save(p, "report.html");
 *   gopt_page_destroy(p);
 *
 * What fails on the way is told when the page is saved. */
typedef struct gopt_page gopt_page;

GOPT_API gopt_status gopt_page_create(gopt_ctx *cx, const char *title, gopt_page **out);
GOPT_API void gopt_page_destroy(gopt_page *p); /* p may be NULL */
/* Another model in the same page, to which all further calls belong. */
GOPT_API void gopt_page_begin(gopt_page *p, const char *title);
/* The graph as it stands now, after pass number `index` (0: before the first). All stages of a model are the same graph
 * object; one that changed nothing since the last is left out. */
GOPT_API void gopt_page_stage(gopt_page *p, gopt_graph *g, const char *pass, int index);
GOPT_API void gopt_page_after_pass(void *page, gopt_graph *g, const char *pass, int index);
GOPT_API void gopt_page_report(gopt_page *p, const gopt_report_summary *r);
/* Further facts of the model, as JSON text, under a key that the page knows: "run", "unsupported", "aten",
 * "lint", "budget". */
GOPT_API void gopt_page_put(gopt_page *p, const char *key, const char *json);
GOPT_API gopt_status gopt_page_save(gopt_page *p, const char *path); /* whole or not at all; "-" is stdout */

/* ---- for other tools ---- */

/* A step in a number of profiled runs. */
typedef struct gopt_step_times {
    const gopt_step_info *step; /* as of the run that is told; borrowed */
    double median_ms, mean_ms;  /* over all runs, without the steps that it holds */
    double ms;                  /* of the run that is told; so are these: */
    double start_ms, whole_ms;  /* since that run began; with the steps that it holds */
} gopt_step_times;

/* Profiled runs: one is told in full, the others are in the medians. Made by whoever ran. */
typedef struct gopt_run_profile {
    const gopt_step_times *steps;
    size_t n_steps;
    const gopt_share_info *shares; /* what each thread did, of the run that is told */
    size_t n_shares;
    size_t runs;
    double run_ms;  /* the whole of the run that is told */
    double rest_ms; /* of it, what is in no step's ms; where a device's clock times steps, launching and waiting */
    const gopt_ceilings *ceilings; /* NULL: not known */
} gopt_run_profile;

/* The tactics that were considered for a step, as JSON text: [{"name", "variant", "label", "takes", "chosen",
 * "estimate_ms", "ms", "workspace_bytes", "weight_bytes", "why"}, …]. Freed with gopt_text_free. */
GOPT_API gopt_status gopt_tactics_json(gopt_ctx *cx, const gopt_step_info *s, char **text);

/* A Chrome trace of that run in ONNX Runtime's form, for Perfetto and for ONNX Runtime's tools. */
GOPT_API gopt_status gopt_trace_save(gopt_ctx *cx, const gopt_run_profile *p, const char *path);

/* TREx, TensorRT's engine explorer: PREFIX.graph.json has the steps as layers of an engine, PREFIX.profile.json their
 * times. `g` gives the bindings. */
GOPT_API gopt_status gopt_trex_save(const gopt_graph *g, const gopt_run_profile *p, const char *prefix);

/* Model Explorer: PREFIX.json has the graph, and the one before where `before` is not NULL; PREFIX.sync.json says which
 * nodes of the two are which; PREFIX.METRIC.json has the node data: operations, bytes and weights, and of a run (p is
 * not NULL) time and moved bytes. */
GOPT_API gopt_status gopt_explorer_save(const gopt_graph *before, const gopt_graph *after, const gopt_run_profile *p,
                                        const char *title, const char *prefix);

#ifdef __cplusplus
}
#endif
#endif
