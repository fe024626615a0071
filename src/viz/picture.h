/* A picture of a graph: boxes, clusters around them, arcs between them; made by picture.c, written by dot.c.
 *
 *   graph ─ scope.c decides what is one box ─ picture.c gathers ─ match.c compares two ─ dot.c writes DOT,
 *   with text.c, label.c and kind.c; layout.c and draw.c draw without graphviz */
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
    const char *path;     /* "/features/features.5" */
    bool own;             /* only the scope's own nodes */
    uint32_t part, parts; /* of one whose nodes are too many for one box: which, from 1; of how many */
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

typedef enum gi_cluster_kind { GI_CLUSTER_FUSION, GI_CLUSTER_BLOCK, GI_CLUSTER_SCOPE } gi_cluster_kind;

typedef struct gi_cluster {
    gi_cluster_kind kind;
    uint32_t parent;
    const gi_node *fusion; /* of a fusion */
    const char *label;
    uint32_t unit;
} gi_cluster;

typedef struct gi_arc {
    uint32_t from, to; /* boxes */
    const gi_value *value;
    uint32_t count; /* values that it stands for */
    bool dashed;    /* into or out of a control-flow block */
    bool quiet;     /* its type is not written beside it: inside a fusion, or said at another arc of the value */
} gi_arc;

typedef struct gi_picture {
    const gopt_graph *g;
    gi_arena *arena;
    gi_vec(gi_box) boxes;
    gi_vec(gi_cluster) clusters; /* [0] is the picture itself */
    gi_vec(gi_arc) arcs;         /* in the order of what reads */
    gi_map folded;               /* nodes of constants alone: drawn inside what reads them, as weights are */
    bool collapsed;
    size_t hidden; /* nodes inside groups */
} gi_picture;

/* Adds clusters for the scopes that hold several boxes. `cluster_of` gets the cluster's index of every node of the main
 * block, or of the group that it is in (gi_key), where that is not 0. */
gopt_status gi_scope_cluster(gi_picture *p, const gi_map *group_of, gi_map *cluster_of);

/* With `collapse` a graph of more boxes than a collapsed picture has is collapsed even if it is below the options' limit:
 * beside one that is. */
gopt_status gi_picture_make(const gopt_graph *g, gi_arena *a, const gopt_dot_options *o, bool collapse, gi_picture *p);
/* About how many places its arcs pass in a layered drawing: what makes graphviz slow. */
size_t gi_picture_span(const gi_picture *p);

/* ---- looks and legend (kind.c) ---- */

typedef struct gi_look {
    char fill[8], border[8]; /* "#rrggbb"; "" none */
    bool dashed;
    bool twice; /* two borders */
} gi_look;

/* By kind of work, or with `units` by what it became. */
gi_look gi_look_of_box(const gi_box *b, bool units);
gi_look gi_look_of_cluster(gi_cluster_kind kind, uint32_t unit);

typedef struct gi_sample {
    gi_look look;
    bool frame; /* else a box */
    const char *text;
} gi_sample;

typedef gi_vec(gi_sample) gi_legend;

gopt_status gi_legend_make(gi_arena *a, const gi_picture *p, const gi_picture *q, gi_legend *l); /* q: of a pair */
void gi_picture_title(gi_str *s, const char *title);                                             /* clean */
void gi_picture_facts(gi_str *s, const gi_picture *p); /* "69 nodes, 17 fusions" */

/* ---- what became what (match.c) ---- */

/* Boxes, one of each picture, that belong at the same height. */
typedef struct gi_anchor {
    uint32_t before, after;
} gi_anchor;

typedef gi_vec(gi_anchor) gi_anchors;

/* Numbers what became what: boxes and fusions of the second get numbers, those of the first that they came
 * from get the same. Then finds anchors; both sides of them rise, so they can all be kept in one drawing. */
gopt_status gi_picture_match(gi_picture *before, gi_picture *after, gi_anchors *anchors);

/* What is drawn together: one picture, or two side by side. */
typedef struct gi_view {
    const char *title;
    bool flat;
    gi_picture first, second;
    bool pair;
    gi_anchors anchors;
} gi_view;

gopt_status gi_view_make(gi_arena *a, const gopt_graph *g, const gopt_graph *after, const gopt_dot_options *o,
                         gi_view *v);

gopt_status gi_dot_write(const gi_view *v, gi_str *s);  /* dot.c */
gopt_status gi_draw_write(const gi_view *v, gi_str *s); /* draw.c: SVG, laid out by layout.c */

/* ---- text (text.c) ---- */

enum { GI_NAME_MOST = 38 }; /* characters of a name that are shown */

/* Adds text of the model's: shortened in the middle; what is no UTF-8, or is not to be drawn, becomes '?'. */
void gi_text_clip(gi_str *s, const char *text, size_t most);
/* Adds clean text escaped for XML and for graphviz' HTML-like labels. */
void gi_text_escape(gi_str *s, const char *text);
/* About how wide it is, in the unit of the size. */
double gi_text_width(const char *text, double size, bool bold);

/* ---- labels (label.c) ---- */

typedef enum gi_text_style {
    GI_TEXT_OP,
    GI_TEXT_NAME,
    GI_TEXT_ATTR,
    GI_TEXT_WEIGHT,
    GI_TEXT_UNIT,
    GI_TEXT_INVERSE, /* on dark ground */
    GI_TEXT_INVERSE_TYPE,
} gi_text_style;

typedef struct gi_text_look {
    int size;
    bool bold;
    const char *color;
} gi_text_look;

const gi_text_look *gi_text_look_of(gi_text_style style);

typedef struct gi_run {
    const char *text; /* clean, not escaped */
    gi_text_style style;
} gi_run;

typedef struct gi_line {
    gi_vec(gi_run) runs;
} gi_line;

typedef struct gi_label {
    gi_vec(gi_line) lines;
} gi_label;

const char *gi_op_name(const gi_node *n); /* the operator's name; not clean */
gopt_status gi_label_box(gi_arena *a, const gi_picture *p, const gi_box *b, gi_label *label);
const char *gi_label_type(gi_arena *a, const gi_type *t); /* short, clean */

#endif
