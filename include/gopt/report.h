/* Pictures: DOT of a graph, before and after side by side, and SVG through graphviz.
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
    size_t max_nodes; /* 0: 1,000 */
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
    int seconds;        /* 0: 60 */
    uint64_t memory;    /* bytes; 0: 2 GiB */
} gopt_svg_options;
/* Renders DOT text to an SVG file. GOPT_UNSUPPORTED with what to install where there is no graphviz, or
 * where its time or memory ran out. */
GOPT_API gopt_status gopt_svg_save(gopt_ctx *cx, const char *dot, const char *path, const gopt_svg_options *o);
/* What the helper does: lays out and renders in this process. Returns the process's exit code. */
GOPT_API int gopt_svg_helper(const char *dot_path, const char *svg_path);

#ifdef __cplusplus
}
#endif
#endif
