/* Writes a picture as SVG, laid out by layout.c: for graphs that graphviz cannot lay out in its time, and where there is no
 * graphviz. Every text says how wide it was reckoned (textLength), so that it fits its box in any font. */
#include <math.h>
#include <stdlib.h>

#include "viz/layout.h"

enum {
    MARGIN = 24,
    SIDE_GAP = 40,
    SIDE_PAD = 16,
    SIDE_HEAD = 40,
};

typedef struct pane {
    gi_str *s;
    gi_arena *arena;
    const gi_picture *p;
    const gi_layout *l;
    const char *prefix; /* of ids */
    bool units;
    double x, y; /* of its corner */
} pane;

/* ---- pieces ---- */

static void add_text(gi_str *s, double x, double y, const gi_text_look *look, const char *text)
{
    gi_str_addf(s, "<text x=\"%.1f\" y=\"%.1f\" font-size=\"%d\" fill=\"%s\"%s", x, y, look->size, look->color,
                look->bold ? " font-weight=\"bold\"" : "");
    if (*text)
        gi_str_addf(s, " textLength=\"%.1f\" lengthAdjust=\"spacingAndGlyphs\"",
                    gi_text_width(text, look->size, look->bold));
    gi_str_add(s, ">");
    gi_text_escape(s, text);
    gi_str_add(s, "</text>\n");
}

static void add_rect(gi_str *s, const gi_spot *at, double radius, const gi_look *look, double line)
{
    gi_str_addf(s,
                "<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" rx=\"%.0f\" fill=\"%s\" stroke=\"%s\""
                " stroke-width=\"%.1f\"%s/>\n",
                at->x, at->y, at->w, at->h, radius, *look->fill ? look->fill : "none", look->border, line,
                look->dashed ? " stroke-dasharray=\"4 3\"" : "");
}

static void add_tip(pane *d, const char *text)
{
    enum { TIP_MOST = 400 };
    gi_str clean;
    gi_str_init(&clean, d->arena);
    gi_text_clip(&clean, text, TIP_MOST);
    gi_str_add(d->s, "<title>");
    gi_text_escape(d->s, clean.p ? clean.p : "");
    gi_str_add(d->s, "</title>");
}

/* The runs of a line one behind the other, in the middle of the box. */
static void add_line(pane *d, const gi_line *line, double middle, double y)
{
    double total = 0;
    for (size_t k = 0; k < line->runs.n; k++) {
        const gi_text_look *look = gi_text_look_of(line->runs.p[k].style);
        total += gi_text_width(line->runs.p[k].text, look->size, look->bold);
    }
    double x = middle - total / 2;
    for (size_t k = 0; k < line->runs.n; k++) {
        const gi_text_look *look = gi_text_look_of(line->runs.p[k].style);
        add_text(d->s, x, y, look, line->runs.p[k].text);
        x += gi_text_width(line->runs.p[k].text, look->size, look->bold);
    }
}

static void add_box(pane *d, size_t i)
{
    const gi_box *b = &d->p->boxes.p[i];
    const gi_look look = gi_look_of_box(b, d->units);
    const gi_label *label = &d->l->labels[i];
    gi_spot at = d->l->boxes[i];
    at.x += d->x;
    at.y += d->y;
    gi_str_addf(d->s, "<g id=\"%sn%zu\">", d->prefix, i);
    if (b->kind == GI_BOX_NODE && b->node->name)
        add_tip(d, b->node->name);
    else if (b->kind == GI_BOX_GROUP)
        add_tip(d, b->group->path);
    if (look.twice) {
        const gi_spot outer = { at.x - 3, at.y - 3, at.w + 6, at.h + 6 };
        add_rect(d->s, &outer, 8, &look, 1.1);
    }
    add_rect(d->s, &at, 6, &look, 1.1);
    double y = at.y + 4;
    for (size_t k = 0; k < label->lines.n; k++) {
        const gi_line *line = &label->lines.p[k];
        const double size = line->runs.n ? gi_text_look_of(line->runs.p[0].style)->size : 0;
        add_line(d, line, at.x + at.w / 2, y + size);
        y += size * 1.25;
    }
    gi_str_add(d->s, "</g>\n");
}

static void add_frame(pane *d, size_t i)
{
    static const gi_text_look small = { 9, false, "#3c4a5a" };
    const gi_cluster *c = &d->p->clusters.p[i];
    gi_spot at = d->l->clusters[i];
    if (at.w <= 0)
        return;
    at.x += d->x;
    at.y += d->y;
    const gi_look look = gi_look_of_cluster(c->kind, d->units ? c->unit : 0);
    gi_str name;
    gi_str_init(&name, d->arena);
    gi_str_add(&name, c->kind == GI_CLUSTER_FUSION ? "fused: " : "");
    gi_text_clip(&name, c->label ? c->label : "", GI_NAME_MOST);
    if (d->units && c->unit)
        gi_str_addf(&name, " %u", c->unit);
    add_rect(d->s, &at, 8, &look, 1.4);
    add_text(d->s, at.x + 8, at.y + 13, &small, name.p ? name.p : "");
}

/* ---- lines ---- */

/* Where along the border of a box each of its arcs ends: those that come from the left stand on the left. */
typedef struct port {
    uint32_t box, arc;
    double x;
} port;

static int by_box_and_x(const void *a, const void *b)
{
    const port *p = a, *q = b;
    if (p->box != q->box)
        return p->box < q->box ? -1 : 1;
    if (p->x < q->x || p->x > q->x)
        return p->x < q->x ? -1 : 1;
    return (p->arc > q->arc) - (p->arc < q->arc);
}

static gopt_status spread(pane *d, bool ends)
{
    const size_t n = d->p->arcs.n;
    port *ports = GI_NEW_ARRAY(d->arena, port, n + 1);
    GI_NEED(ports);
    for (size_t i = 0; i < n; i++) {
        const gi_path *path = &d->l->arcs[i];
        ports[i] = (port){ ends ? d->p->arcs.p[i].to : d->p->arcs.p[i].from, (uint32_t)i,
                           path->points.p[ends ? path->points.n - 2 : 1].x };
    }
    qsort(ports, n, sizeof *ports, by_box_and_x);
    for (size_t i = 0, k; i < n; i = k) {
        for (k = i; k < n && ports[k].box == ports[i].box; k++)
            ;
        const gi_spot *box = &d->l->boxes[ports[i].box];
        for (size_t j = i; j < k; j++) {
            const gi_path *path = &d->l->arcs[ports[j].arc];
            path->points.p[ends ? path->points.n - 1 : 0].x =
                box->x + box->w * (double)(j - i + 1) / (double)(k - i + 1);
        }
    }
    return GOPT_OK;
}

static void add_path(pane *d, size_t i)
{
    const gi_arc *arc = &d->p->arcs.p[i];
    const gi_path *path = &d->l->arcs[i];
    const gi_point *q = path->points.p;
    gi_str_addf(d->s, "<path fill=\"none\" stroke=\"%s\" stroke-width=\"%.1f\"%s marker-end=\"url(#a)\" d=\"M%.1f %.1f",
                path->far ? "#b4bcc6" : "#66707c",
                arc->count > 1 ? fmin(2.4, 1 + 0.35 * log2((double)arc->count)) : 1.0,
                arc->dashed ? " stroke-dasharray=\"4 3\"" : "", d->x + q[0].x, d->y + q[0].y);
    for (size_t k = 1; k < path->points.n; k++) {
        const double x0 = d->x + q[k - 1].x, y0 = d->y + q[k - 1].y, x1 = d->x + q[k].x, y1 = d->y + q[k].y;
        const bool straight = x0 - x1 < 0.05 && x1 - x0 < 0.05;
        const double bend = y1 > y0 ? fmin((y1 - y0) / 2, 60) : 40; /* upwards: out below, in from above */
        if (straight)
            gi_str_addf(d->s, "V%.1f", y1);
        else
            gi_str_addf(d->s, "C%.1f %.1f %.1f %.1f %.1f %.1f", x0, y0 + bend, x1, y1 - bend, x1, y1);
    }
    gi_str_add(d->s, "\"/>\n");
}

static void add_paths(pane *d, bool far)
{
    for (size_t i = 0; i < d->p->arcs.n; i++)
        if (d->l->arcs[i].far == far)
            add_path(d, i);
}

static void add_type(pane *d, size_t i)
{
    static const gi_text_look small = { 8, false, "#4d5560" };
    const gi_arc *arc = &d->p->arcs.p[i];
    const gi_point *q = d->l->arcs[i].points.p;
    gi_str text;
    gi_str_init(&text, d->arena);
    gi_str_add(&text, gi_label_type(d->arena, arc->value->type));
    if (arc->count > 1)
        gi_str_addf(&text, " and %u more", arc->count - 1);
    add_text(d->s, d->x + q[0].x + 4, d->y + q[0].y + 11, &small, text.p ? text.p : "?");
}

/* Below the box that it comes from, once a value. */
static gopt_status add_types(pane *d)
{
    gi_map said;
    gi_map_init(&said, d->arena);
    for (size_t i = 0; i < d->p->arcs.n; i++) {
        const gi_value *v = d->p->arcs.p[i].value;
        if (d->p->arcs.p[i].quiet || !v->type || d->l->arcs[i].far || gi_map_get(&said, gi_key(v)))
            continue;
        GI_NEED(gi_map_put(&said, gi_key(v), (void *)(uintptr_t)v));
        add_type(d, i);
    }
    return GOPT_OK;
}

/* ---- the whole ---- */

static gopt_status add_pane(pane *d)
{
    GI_TRY(spread(d, false));
    GI_TRY(spread(d, true));
    add_paths(d, true); /* below all else */
    for (size_t i = 1; i < d->p->clusters.n; i++)
        add_frame(d, i);
    add_paths(d, false);
    for (size_t i = 0; i < d->p->boxes.n; i++)
        add_box(d, i);
    return add_types(d);
}

/* A row of samples of what is drawn, which frames of scopes are not; returns where it ends. */
static double add_legend(gi_str *s, const gi_legend *legend, double x, double y)
{
    static const gi_text_look look = { 10, false, "#101418" };
    for (size_t i = 0; i < legend->n; i++) {
        if (!*legend->p[i].look.fill)
            continue;
        const double w = gi_text_width(legend->p[i].text, look.size, false) + 16;
        const gi_spot at = { x, y, w, 20 };
        add_rect(s, &at, legend->p[i].frame ? 6 : 0, &legend->p[i].look, 1);
        add_text(s, x + 8, y + 14, &look, legend->p[i].text);
        x += w + 8;
    }
    return x;
}

static const gi_text_look big = { 16, true, "#101418" }, middle = { 11, false, "#3c434b" };

/* The frame around one side of a pair, with its name and facts. */
static void add_side(gi_str *s, const char *name, const pane *d)
{
    static const gi_text_look look = { 14, true, "#101418" };
    const gi_look frame = { .border = "#c4ccd6" };
    const gi_spot at = { d->x - SIDE_PAD, d->y - SIDE_HEAD, d->l->width + 2 * SIDE_PAD,
                         d->l->height + SIDE_HEAD + SIDE_PAD };
    gi_str facts;
    gi_str_init(&facts, d->arena);
    gi_picture_facts(&facts, d->p);
    add_rect(s, &at, 10, &frame, 1);
    add_text(s, at.x + 12, at.y + 22, &look, name);
    add_text(s, at.x + 20 + gi_text_width(name, look.size, true), at.y + 22, &middle, facts.p ? facts.p : "");
}

static double side_width(const gi_picture *p, const gi_layout *l)
{
    gi_str facts;
    gi_str_init(&facts, p->arena);
    gi_picture_facts(&facts, p);
    const double head = 60 + gi_text_width(facts.p ? facts.p : "", middle.size, false);
    return l->width > head ? l->width : head;
}

gopt_status gi_draw_write(const gi_view *v, gi_str *s)
{
    gi_arena *a = s->arena;
    gi_layout lp, lq = { 0 };
    gi_legend legend;
    gi_str title, facts, body;
    gi_str_init(&title, a);
    gi_str_init(&facts, a);
    gi_str_init(&body, a);
    GI_TRY(gi_layout_make(&v->first, v->pair ? &v->second : NULL, &v->anchors, &lp, &lq));
    GI_TRY(gi_legend_make(a, &v->first, v->pair ? &v->second : NULL, &legend));
    gi_picture_title(&title, v->title);
    if (v->pair)
        gi_str_addf(&facts, "%u nodes become %u", gi_graph_count_nodes(v->first.g), gi_graph_count_nodes(v->second.g));
    else
        gi_picture_facts(&facts, &v->first);
    GI_NEED(title.p && facts.p);

    lp.width = side_width(&v->first, &lp);
    pane d = { .s = &body, .arena = a, .p = &v->first, .l = &lp, .prefix = v->pair ? "b" : "", .units = v->pair };
    d.x = MARGIN + (v->pair ? SIDE_PAD : 0);
    d.y = MARGIN + 84 + (v->pair ? SIDE_HEAD : 0);
    add_text(&body, MARGIN, MARGIN + 14, &big, title.p);
    add_text(&body, MARGIN, MARGIN + 34, &middle, facts.p);
    double right = add_legend(&body, &legend, MARGIN, MARGIN + 44);
    if (v->pair)
        add_side(&body, "before", &d);
    GI_TRY(add_pane(&d));
    double end = d.x + lp.width;
    if (v->pair) {
        lq.width = side_width(&v->second, &lq);
        d.p = &v->second;
        d.l = &lq;
        d.prefix = "a";
        d.x = end + SIDE_GAP + SIDE_PAD;
        add_side(&body, "after", &d);
        GI_TRY(add_pane(&d));
        end = d.x + lq.width + SIDE_PAD;
    }
    right = end > right ? end : right;
    const double width = right + MARGIN, height = d.y + lp.height + SIDE_PAD + MARGIN;
    gi_str_addf(s,
                "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"
                "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%.0f\" height=\"%.0f\" viewBox=\"0 0 %.0f %.0f\" "
                "font-family=\"Helvetica,Arial,sans-serif\">\n"
                "<defs><marker id=\"a\" viewBox=\"0 0 8 8\" refX=\"8\" refY=\"4\" markerWidth=\"6\" markerHeight=\"6\" "
                "orient=\"auto\" markerUnits=\"userSpaceOnUse\"><path d=\"M0 1L8 4L0 7z\" fill=\"#66707c\"/></marker>"
                "</defs>\n<rect width=\"100%%\" height=\"100%%\" fill=\"#ffffff\"/>\n",
                width, height, width, height);
    GI_NEED(body.p && !body.failed);
    gi_str_addn(s, body.p, body.n);
    gi_str_add(s, "</svg>\n");
    return s->failed ? GOPT_NO_MEMORY : GOPT_OK;
}
