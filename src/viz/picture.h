/* A picture of a graph: boxes, clusters around them, arcs between them; made by picture.c, written by dot.c.
 *
 *   graph ─ scope.c decides what is one box ─ picture.c gathers ─ dot.c writes, with label.c and kind.c */
#ifndef GI_PICTURE_H
#define GI_PICTURE_H

#include "gopt/report.h"
#include "ir/graph.h"

/* ---- kinds of work, and their colours (kind.c) ---- */

typedef enum gi_kind {
    GI_KIND_CONV,
    GI_KIND_MATMUL,
    GI_KIND_NORM,
    GI_KIND_POINTWISE,
    GI_KIND_REDUCE,
    GI_KIND_MOVE,
    GI_KIND_INDEX,
    GI_KIND_QUANTIZE,
    GI_KIND_CONTROL,
    GI_KIND_GROUP,
    GI_KIND_UNKNOWN,
    GI_KIND_COUNT
} gi_kind;

typedef struct gi_kind_style {
    const char *name, *fill, *border;
} gi_kind_style;

gi_kind gi_kind_of(const gi_node *n);
const gi_kind_style *gi_kind_get(gi_kind k);

/* ---- what is one box (scope.c) ---- */

/* Nodes drawn as one box: those of a scope, or those that lie in a scope itself and in none inside it. */
typedef struct gi_group {
    const char *path; /* "/features/features.5" */
    bool own;         /* only the scope's own nodes */
    uint32_t n_nodes;
    gi_vec(const gi_node *) nodes; /* of the main block, in order */
} gi_group;

/* The scope that an exporter left, or the name up to its last part; its length. */
const char *gi_scope_of(const gi_node *n, size_t *length);

/* Chooses groups so that about `budget` boxes are drawn; nodes in `folded` are left out. `of` maps a node of the main block (gi_key) to its
 * group; nodes that stand for themselves are absent. */
gopt_status gi_scope_group(const gopt_graph *g, gi_arena *a, size_t budget, const gi_map *folded, gi_map *of);

/* ---- the picture (picture.c) ---- */

typedef enum gi_box_kind { GI_BOX_NODE, GI_BOX_GROUP, GI_BOX_INPUT, GI_BOX_OUTPUT } gi_box_kind;

typedef struct gi_box {
    gi_box_kind kind;
    const gi_node *node;   /* of a node */
    const gi_group *group; /* of a group */
    const gi_value *value; /* of an input or output, with its name */
    const char *name;
    uint32_t cluster; /* index; 0 is the picture itself */
    uint32_t unit;    /* number of what it became, or came from, in a pair; 0 none */
} gi_box;

typedef struct gi_cluster {
    uint32_t parent;
    const gi_node *fusion; /* NULL: a block of a control-flow node */
    const char *label;
    uint32_t unit;
} gi_cluster;

typedef struct gi_arc {
    uint32_t from, to; /* boxes */
    const gi_value *value;
    uint32_t count; /* values that it stands for */
    bool dashed;    /* into or out of a control-flow block */
} gi_arc;

typedef struct gi_picture {
    const gopt_graph *g;
    gi_arena *arena;
    gi_vec(gi_box) boxes;
    gi_vec(gi_cluster) clusters; /* [0] is the picture itself */
    gi_vec(gi_arc) arcs;
    gi_map folded; /* nodes of constants alone: drawn inside what reads them, as weights are */
    bool collapsed;
    size_t hidden; /* nodes inside groups */
} gi_picture;

gopt_status gi_picture_make(const gopt_graph *g, gi_arena *a, const gopt_dot_options *o, gi_picture *p);

/* Numbers what became what: boxes and fusions of the second get numbers, those of the first that they came
 * from get the same. */
gopt_status gi_picture_match(gi_picture *before, gi_picture *after);

/* ---- text (label.c) ---- */

enum { GI_NAME_MOST = 38 }; /* characters of a name that are shown */

/* Adds text as HTML-like label text: escaped, bytes that are no UTF-8 as '?', shortened in the middle. */
void gi_label_escape(gi_str *s, const char *text, size_t most);
void gi_label_box(gi_str *s, const gi_picture *p, const gi_box *b);
void gi_label_type(gi_str *s, const gi_type *t); /* short, escaped */

#endif
