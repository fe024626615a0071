/* Lays a picture out without graphviz: every fusion and every body of control flow by itself, as one item of what is
 * around it. Frames of scopes are passed over here, so that nothing but layers decides where items stand. */
#include "viz/layout.h"

enum { PAD = 12, HEAD = 20, BOX_PAD_X = 8, BOX_PAD_Y = 4 };

/* A box or a cluster that stands in a container. */
typedef struct item {
    bool cluster;
    uint32_t index;
} item;

typedef struct container {
    gi_layers layers;
    gi_vec(item) items;
    uint32_t depth;
} container;

typedef struct working {
    const gi_picture *p;
    gi_layout *out;
    gi_arena *arena;
    container *containers; /* as many as clusters; those of scopes stay empty */
    uint32_t *home;        /* of each cluster: itself, or the container that a scope's frame stands in */
    uint32_t *item_of_box, *item_of_cluster;
    uint32_t *link_of; /* of each arc: link + 1, in its container */
    uint32_t *where;   /* of each arc: its container */
} working;

static double label_height(const gi_label *label)
{
    double h = 2 * BOX_PAD_Y;
    for (size_t i = 0; i < label->lines.n; i++)
        h += label->lines.p[i].runs.n ? gi_text_look_of(label->lines.p[i].runs.p[0].style)->size * 1.25 : 0;
    return h;
}

static double label_width(const gi_label *label)
{
    double most = 30;
    for (size_t i = 0; i < label->lines.n; i++) {
        double w = 0;
        for (size_t k = 0; k < label->lines.p[i].runs.n; k++) {
            const gi_run *run = &label->lines.p[i].runs.p[k];
            const gi_text_look *look = gi_text_look_of(run->style);
            w += gi_text_width(run->text, look->size, look->bold);
        }
        most = w > most ? w : most;
    }
    return most + 2 * BOX_PAD_X;
}

static uint32_t home_of_box(const working *w, uint32_t box)
{
    return w->home[w->p->boxes.p[box].cluster];
}

static uint32_t around(const working *w, uint32_t cluster)
{
    return w->home[w->p->clusters.p[cluster].parent];
}

/* ---- items of containers ---- */

static gopt_status add_item(working *w, uint32_t holder, item i, uint32_t *number)
{
    *number = (uint32_t)w->containers[holder].items.n;
    GI_NEED(gi_push(w->arena, &w->containers[holder].items, i));
    return GOPT_OK;
}

/* In the order of boxes, which is that of a schedule; a cluster stands where its first box does. */
static gopt_status gather_items(working *w)
{
    const gi_picture *p = w->p;
    for (uint32_t c = 0; c < p->clusters.n; c++) {
        w->home[c] = !c || p->clusters.p[c].kind != GI_CLUSTER_SCOPE ? c : w->home[p->clusters.p[c].parent];
        gi_layers_init(&w->containers[c].layers, w->arena);
        w->item_of_cluster[c] = UINT32_MAX;
        w->containers[c].depth = c ? w->containers[around(w, c)].depth + 1 : 0;
    }
    for (uint32_t b = 0; b < p->boxes.n; b++) {
        uint32_t at = home_of_box(w, b);
        GI_TRY(gi_label_box(w->arena, p, &p->boxes.p[b], &w->out->labels[b]));
        w->out->boxes[b].w = label_width(&w->out->labels[b]);
        w->out->boxes[b].h = label_height(&w->out->labels[b]);
        GI_TRY(add_item(w, at, (item){ false, b }, &w->item_of_box[b]));
        while (at && w->item_of_cluster[at] == UINT32_MAX) {
            GI_TRY(add_item(w, around(w, at), (item){ true, at }, &w->item_of_cluster[at]));
            at = around(w, at);
        }
    }
    return GOPT_OK;
}

/* The container where an arc runs from one item to another. */
static gopt_status gather_links(working *w)
{
    for (uint32_t i = 0; i < w->p->arcs.n; i++) {
        const gi_arc *arc = &w->p->arcs.p[i];
        uint32_t a = home_of_box(w, arc->from), b = home_of_box(w, arc->to);
        uint32_t from = w->item_of_box[arc->from], to = w->item_of_box[arc->to];
        while (a != b) {
            uint32_t *up = w->containers[a].depth >= w->containers[b].depth ? &a : &b;
            *(up == &a ? &from : &to) = w->item_of_cluster[*up];
            *up = around(w, *up);
        }
        w->where[i] = a;
        if (from == to)
            continue;
        GI_NEED(gi_push(w->arena, &w->containers[a].layers.links, (gi_link){ .from = from, .to = to, .arc = i }));
        w->link_of[i] = (uint32_t)w->containers[a].layers.links.n;
    }
    return GOPT_OK;
}

/* ---- sizes, from the inside out ---- */

static gopt_status size_items(working *w, container *c)
{
    for (size_t i = 0; i < c->items.n; i++) {
        const item x = c->items.p[i];
        const gi_spot *s = x.cluster ? &w->out->clusters[x.index] : &w->out->boxes[x.index];
        GI_NEED(gi_layers_add(&c->layers, s->w, s->h));
    }
    return GOPT_OK;
}

static gopt_status lay_inner(working *w)
{
    for (uint32_t c = (uint32_t)w->p->clusters.n; c-- > 1;) {
        container *k = &w->containers[c];
        if (!k->items.n)
            continue;
        GI_TRY(size_items(w, k));
        GI_TRY(gi_layers_rank(&k->layers, NULL, NULL));
        GI_TRY(gi_layers_place(&k->layers));
        gi_layers_rows(&k->layers, NULL);
        const char *label = w->p->clusters.p[c].label;
        const double head = 24 + gi_text_width(label ? label : "", 9, false);
        gi_spot *s = &w->out->clusters[c];
        s->w = k->layers.width + 2 * PAD;
        s->w = s->w < head && head < 240 ? head : s->w;
        s->h = k->layers.height + HEAD + PAD;
    }
    return GOPT_OK;
}

static gopt_status prepare(working *w, const gi_picture *p, gi_layout *out)
{
    gi_arena *a = p->arena;
    *w = (working){ .p = p, .out = out, .arena = a };
    *out = (gi_layout){ .boxes = GI_NEW_ARRAY(a, gi_spot, p->boxes.n + 1),
                        .clusters = GI_NEW_ARRAY(a, gi_spot, p->clusters.n),
                        .labels = GI_NEW_ARRAY(a, gi_label, p->boxes.n + 1),
                        .arcs = GI_NEW_ARRAY(a, gi_path, p->arcs.n + 1) };
    GI_NEED(out->boxes && out->clusters && out->labels && out->arcs);
    GI_NEED(w->containers = GI_NEW_ARRAY(a, container, p->clusters.n));
    GI_NEED(w->home = GI_NEW_ARRAY(a, uint32_t, p->clusters.n));
    GI_NEED(w->item_of_box = GI_NEW_ARRAY(a, uint32_t, p->boxes.n + 1));
    GI_NEED(w->item_of_cluster = GI_NEW_ARRAY(a, uint32_t, p->clusters.n));
    GI_NEED(w->link_of = GI_NEW_ARRAY(a, uint32_t, p->arcs.n + 1));
    GI_NEED(w->where = GI_NEW_ARRAY(a, uint32_t, p->arcs.n + 1));
    GI_TRY(gather_items(w));
    GI_TRY(gather_links(w));
    GI_TRY(lay_inner(w));
    return size_items(w, &w->containers[0]);
}

/* ---- places, from the outside in ---- */

static void settle(working *w)
{
    for (uint32_t c = 0; c < w->p->clusters.n; c++) {
        const container *k = &w->containers[c];
        const gi_spot *frame = &w->out->clusters[c];
        const double x0 = c ? frame->x + (frame->w - k->layers.width) / 2 : 0, y0 = c ? frame->y + HEAD : 0;
        for (size_t i = 0; i < k->items.n; i++) {
            const item x = k->items.p[i];
            gi_spot *s = x.cluster ? &w->out->clusters[x.index] : &w->out->boxes[x.index];
            s->x = x0 + k->layers.x[i] - s->w / 2;
            s->y = y0 + k->layers.row_y[k->layers.rank.p[i]];
        }
    }
}

static gopt_status trace_arc(working *w, uint32_t i)
{
    const gi_arc *arc = &w->p->arcs.p[i];
    const gi_spot *a = &w->out->boxes[arc->from], *b = &w->out->boxes[arc->to];
    const uint32_t c = w->where[i];
    const gi_layers *l = &w->containers[c].layers;
    const gi_link *link = w->link_of[i] ? &l->links.p[w->link_of[i] - 1] : NULL;
    const gi_spot *frame = &w->out->clusters[c];
    const double x0 = c ? frame->x + (frame->w - l->width) / 2 : 0, y0 = c ? frame->y + HEAD : 0;
    gi_path *path = &w->out->arcs[i];
    path->far = !link || link->far;
    GI_NEED(gi_push(w->arena, &path->points, (gi_point){ a->x + a->w / 2, a->y + a->h }));
    for (uint32_t k = 0; link && k < link->n; k++) {
        const uint32_t v = link->first + k, r = l->rank.p[v];
        GI_NEED(gi_push(w->arena, &path->points, (gi_point){ x0 + l->x[v], y0 + l->row_y[r] }));
        if (l->row_h[r] > 4)
            GI_NEED(gi_push(w->arena, &path->points, (gi_point){ x0 + l->x[v], y0 + l->row_y[r] + l->row_h[r] }));
    }
    GI_NEED(gi_push(w->arena, &path->points, (gi_point){ b->x + b->w / 2, b->y }));
    return GOPT_OK;
}

static gopt_status finish(working *w)
{
    const gi_layers *l = &w->containers[0].layers;
    w->out->width = l->width;
    w->out->height = l->height;
    settle(w);
    for (uint32_t i = 0; i < w->p->arcs.n; i++)
        GI_TRY(trace_arc(w, i));
    return GOPT_OK;
}

/* Item of the outermost container that holds the box. */
static uint32_t outer_item(const working *w, uint32_t box)
{
    uint32_t number = w->item_of_box[box];
    for (uint32_t c = home_of_box(w, box); c; c = around(w, c))
        number = w->item_of_cluster[c];
    return number;
}

gopt_status gi_layout_make(const gi_picture *p, const gi_picture *q, const gi_anchors *anchors, gi_layout *lp,
                           gi_layout *lq)
{
    working a, b;
    gi_anchors outer = { 0 };
    GI_TRY(prepare(&a, p, lp));
    if (q)
        GI_TRY(prepare(&b, q, lq));
    for (size_t i = 0; q && i < anchors->n; i++)
        GI_NEED(gi_push(p->arena, &outer,
                        (gi_anchor){ outer_item(&a, anchors->p[i].before), outer_item(&b, anchors->p[i].after) }));
    gi_layers *const l = &a.containers[0].layers, *const other = q ? &b.containers[0].layers : NULL;
    GI_TRY(gi_layers_rank(l, other, &outer));
    GI_TRY(gi_layers_place(l));
    if (q)
        GI_TRY(gi_layers_place(other));
    gi_layers_rows(l, other);
    GI_TRY(finish(&a));
    return q ? finish(&b) : GOPT_OK;
}
