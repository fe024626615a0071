/* Where everything of a picture stands, without graphviz: layers, in time linear in boxes and arcs but for sorting within a
 * layer. layout.c makes it of a picture with layers.c, draw.c writes it as SVG. */
#ifndef GI_LAYOUT_H
#define GI_LAYOUT_H

#include "viz/picture.h"

/* ---- layers.c: one container's items, whose sizes are known ---- */

typedef struct gi_link {
    uint32_t from, to; /* items */
    uint32_t arc;
    uint32_t first, n; /* the places where it passes layers: vertices */
    bool back;         /* against the order of items */
    bool far;          /* passes more layers than are worth a place each */
} gi_link;

typedef struct gi_layers {
    gi_arena *arena;
    uint32_t n_items;
    gi_vec(gi_link) links;
    /* vertices: the items, then the places where links pass */
    gi_vec(double) w, h;
    gi_vec(uint32_t) rank;
    uint32_t ranks;
    bool
        wrapped; /* some layers are laid in several: links that pass any have no places, which would be as wide again */
    /* results */
    double *x;             /* of vertices, their middles; from 0 to width */
    double *row_y, *row_h; /* of layers */
    double width, height;
} gi_layers;

void gi_layers_init(gi_layers *l, gi_arena *a);
bool gi_layers_add(gi_layers *l, double w, double h);
/* The layer of each item, in one or in two containers at once: of the anchors, items of both that rise together, both
 * get the same. */
gopt_status gi_layers_rank(gi_layers *l, gi_layers *other, const gi_anchors *anchors);
/* Orders and places what has ranks, from left to right. */
gopt_status gi_layers_place(gi_layers *l);
void gi_layers_rows(gi_layers *l, gi_layers *other); /* heights of rows, common to both where there is an other */

/* ---- layout.c ---- */

typedef struct gi_spot {
    double x, y, w, h; /* w is 0 where it is not drawn */
} gi_spot;

typedef struct gi_point {
    double x, y;
} gi_point;

typedef struct gi_path {
    gi_vec(gi_point) points;
    bool far; /* no places were kept for it: it passes below what stands in its way */
} gi_path;

typedef struct gi_layout {
    gi_spot *boxes, *clusters; /* as many as the picture has */
    gi_label *labels;          /* of boxes */
    gi_path *arcs;
    double width, height;
} gi_layout;

/* Of one picture, or of two side by side whose anchors are at the same height (q and its layout may be NULL). */
gopt_status gi_layout_make(const gi_picture *p, const gi_picture *q, const gi_anchors *anchors, gi_layout *lp,
                           gi_layout *lq);

#endif
