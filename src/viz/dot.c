/* Writes pictures as DOT: one graph coloured by kind of work, or two side by side coloured by what became what.
 *
 * Graphviz 2.42: iteration limits keep big layouts in seconds (nslimit and mclimit; without them 1,300 nodes
 * took 5 minutes), but a low nslimit with curved edges can hang it, so then edges are straight lines. Labels are
 * HTML-like: record nodes with edges inside a rank make it fail. */
#include <math.h>

#include "viz/picture.h"

enum {
    CURVES_BELOW = 400, /* boxes: above it straight lines and iteration limits */
    LABELS_BELOW = 700, /* above it arcs have tooltips instead of labels */
};

typedef struct drawing {
    gi_str s;
    const gi_picture *p;
    const char *prefix; /* of names: "", "b" before, "a" after */
    bool flat;
    bool units; /* colour by unit */
    bool labels;
} drawing;

/* ---- colours of units: hues a golden angle apart, so that neighbours in number are far apart in hue ---- */

static unsigned channel(double hue, double chroma, double base)
{
    const double x = fabs(fmod(hue + 6, 6) - 3) - 1;
    const double v = base + chroma * (x < 0 ? 0 : x > 1 ? 1 : x);
    return (unsigned)(v * 255 + 0.5);
}

static void add_color(gi_str *s, uint32_t unit, bool dark)
{
    const double hue = fmod((double)unit * 0.61803398875, 1) * 6;
    const double chroma = dark ? 0.5 : 0.2, base = dark ? 0.2 : 0.78;
    gi_str_addf(s, "#%02x%02x%02x", channel(hue, chroma, base), channel(hue + 4, chroma, base),
                channel(hue + 2, chroma, base));
}

/* ---- pieces ---- */

static void add_style(drawing *d, const gi_box *b)
{
    gi_str *s = &d->s;
    if (b->kind == GI_BOX_INPUT || b->kind == GI_BOX_OUTPUT) {
        gi_str_add(s, "shape=box,style=\"rounded,filled\",fillcolor=\"#33404f\",color=\"#33404f\",fontcolor=white");
        return;
    }
    const gi_kind_style *k = gi_kind_get(b->kind == GI_BOX_NODE ? gi_kind_of(b->node) : GI_KIND_GROUP);
    if (!d->units) {
        gi_str_addf(s, "fillcolor=\"%s\",color=\"%s\"", k->fill, k->border);
    } else if (b->unit) {
        gi_str_add(s, "fillcolor=\"");
        add_color(s, b->unit, false);
        gi_str_add(s, "\",color=\"");
        add_color(s, b->unit, true);
        gi_str_addf(s, "\",class=\"unit%u\"", b->unit);
    } else {
        gi_str_add(s, "fillcolor=\"#f4f4f4\",color=\"#9a9a9a\",fontcolor=\"#6a6a6a\",style=\"rounded,filled,dashed\"");
    }
    if (b->kind == GI_BOX_GROUP)
        gi_str_add(s, ",penwidth=1.6,peripheries=2");
}

static void add_tooltip(gi_str *s, const char *text)
{
    gi_str_add(s, ",tooltip=\"");
    for (const char *p = text; *p; p++) { /* a quoted string, whose escapes graphviz reads once more */
        if (*p == '"' || *p == '\\')
            gi_str_add(s, "\\");
        gi_str_addn(s, (unsigned char)*p < 0x20 || (unsigned char)*p >= 0x7f ? "?" : p, 1);
    }
    gi_str_add(s, "\"");
}

static void add_box(drawing *d, size_t i)
{
    const gi_box *b = &d->p->boxes.p[i];
    gi_str *s = &d->s;
    gi_str_addf(s, "%s%zu [id=\"%sn%zu\",", *d->prefix ? d->prefix : "n", i, d->prefix, i);
    add_style(d, b);
    if (b->kind == GI_BOX_NODE && b->node->name)
        add_tooltip(s, b->node->name);
    else if (b->kind == GI_BOX_GROUP)
        add_tooltip(s, b->group->path);
    gi_str_add(s, ",label=<");
    if (b->kind == GI_BOX_INPUT || b->kind == GI_BOX_OUTPUT)
        gi_str_add(s, "<FONT COLOR=\"white\">");
    gi_label_box(s, d->p, b);
    if (b->kind == GI_BOX_INPUT || b->kind == GI_BOX_OUTPUT)
        gi_str_add(s, "</FONT>");
    gi_str_add(s, ">];\n");
}

static void open_cluster(drawing *d, size_t i)
{
    const gi_cluster *c = &d->p->clusters.p[i];
    gi_str *s = &d->s;
    gi_str_addf(s,
                "subgraph cluster_%s%zu {\nid=\"%sc%zu\";style=\"rounded,filled\";penwidth=1.4;margin=8;labeljust=l;",
                d->prefix, i, d->prefix, i);
    if (d->units && c->unit) {
        gi_str_add(s, "fillcolor=\"#fbfbfb\";color=\"");
        add_color(s, c->unit, true);
        gi_str_add(s, "\";");
    } else {
        gi_str_add(s,
                   c->fusion ? "fillcolor=\"#f3f6fa\";color=\"#5b7896\";" : "fillcolor=\"#fdfbea\";color=\"#a38c12\";");
    }
    gi_str_add(s, "label=<<FONT POINT-SIZE=\"9\" COLOR=\"#4a5a6a\">");
    if (c->fusion)
        gi_str_add(s, "fused: ");
    gi_label_escape(s, c->label ? c->label : "", GI_NAME_MOST);
    if (d->units && c->unit)
        gi_str_addf(s, " %u", c->unit);
    gi_str_add(s, "</FONT>>;\n");
}

/* Boxes in their clusters. Children follow their parents in the list, and lists by parent make it linear. */
static gopt_status add_boxes(drawing *d)
{
    const gi_picture *p = d->p;
    gi_arena *a = p->arena;
    const size_t n = p->clusters.n;
    uint32_t *first_box = GI_NEW_ARRAY(a, uint32_t, n), *next_box = GI_NEW_ARRAY(a, uint32_t, p->boxes.n + 1);
    uint32_t *first_child = GI_NEW_ARRAY(a, uint32_t, n), *next_child = GI_NEW_ARRAY(a, uint32_t, n);
    uint32_t *stack = GI_NEW_ARRAY(a, uint32_t, 2 * n + 2);
    GI_NEED(first_box && next_box && first_child && next_child && stack);
    for (size_t i = p->boxes.n; i-- > 0;) {
        const uint32_t c = p->boxes.p[i].cluster;
        next_box[i] = first_box[c];
        first_box[c] = (uint32_t)i + 1;
    }
    for (size_t i = n; i-- > 1;) {
        const uint32_t c = p->clusters.p[i].parent;
        next_child[i] = first_child[c];
        first_child[c] = (uint32_t)i;
    }
    size_t depth = 0;
    enum { CLOSE = 0x80000000u };
    stack[depth++] = 0;
    while (depth) {
        const uint32_t c = stack[--depth];
        if (c & CLOSE) {
            gi_str_add(&d->s, "}\n");
            continue;
        }
        if (c && !d->flat) {
            open_cluster(d, c);
            stack[depth++] = c | CLOSE;
        }
        for (uint32_t b = first_box[c]; b; b = next_box[b - 1])
            add_box(d, b - 1);
        for (uint32_t k = first_child[c]; k; k = next_child[k])
            stack[depth++] = k;
    }
    return GOPT_OK;
}

static void add_arc(drawing *d, const gi_arc *arc)
{
    gi_str *s = &d->s;
    const char *prefix = *d->prefix ? d->prefix : "n";
    gi_str_addf(s, "%s%u -> %s%u [", prefix, arc->from, prefix, arc->to);
    const gi_box *from = &d->p->boxes.p[arc->from], *to = &d->p->boxes.p[arc->to];
    const bool said = from->kind == GI_BOX_INPUT || to->kind == GI_BOX_OUTPUT; /* the type stands in the box */
    if (arc->value->type && !said) {
        gi_str_add(s, d->labels ? "label=<&#160;" : "edgetooltip=<");
        gi_label_type(s, arc->value->type);
        if (arc->count > 1)
            gi_str_addf(s, " and %u more", arc->count - 1);
        gi_str_add(s, ">");
    }
    if (arc->count > 1)
        gi_str_addf(s, ",penwidth=%.1f", 1 + 0.5 * log2((double)arc->count));
    if (arc->dashed)
        gi_str_add(s, ",style=dashed");
    gi_str_add(s, "];\n");
}

static gopt_status add_picture(drawing *d)
{
    GI_TRY(add_boxes(d));
    for (size_t i = 0; i < d->p->arcs.n; i++)
        add_arc(d, &d->p->arcs.p[i]);
    return GOPT_OK;
}

/* ---- title and legend: the graph's own label ---- */

static void add_facts(gi_str *s, const gi_picture *p)
{
    size_t fusions = 0;
    for (const gi_node *n = p->g->main->first; n; n = n->next)
        fusions += n->op == OP_Fusion;
    gi_str_addf(s, "%u nodes", gi_graph_count_nodes(p->g));
    if (fusions)
        gi_str_addf(s, ", %zu fusion%s", fusions, fusions == 1 ? "" : "s");
    if (p->collapsed)
        gi_str_addf(s, ", %zu of them drawn together by scope", p->hidden);
    if (p->folded.n)
        gi_str_addf(s, ", %zu of constants alone not drawn", p->folded.n);
}

static void add_legend(gi_str *s, const gi_picture *p)
{
    bool seen[GI_KIND_COUNT] = { false };
    for (size_t i = 0; i < p->boxes.n; i++) {
        const gi_box *b = &p->boxes.p[i];
        if (b->kind == GI_BOX_NODE)
            seen[gi_kind_of(b->node)] = true;
        else if (b->kind == GI_BOX_GROUP)
            seen[GI_KIND_GROUP] = true;
    }
    int column = 0;
    for (int k = 0; k < GI_KIND_COUNT; k++) {
        if (!seen[k])
            continue;
        const gi_kind_style *style = gi_kind_get((gi_kind)k);
        if (column % 4 == 0)
            gi_str_add(s, column ? "</TR><TR>" : "<TR>");
        gi_str_addf(s, "<TD BGCOLOR=\"%s\" COLOR=\"%s\" BORDER=\"1\"><FONT POINT-SIZE=\"10\">%s</FONT></TD>",
                    style->fill, style->border, style->name);
        column++;
    }
    if (column)
        gi_str_add(s, "</TR>");
}

static void add_title(gi_str *s, const char *title)
{
    gi_str_add(s, "<TR><TD COLSPAN=\"4\" ALIGN=\"LEFT\"><FONT POINT-SIZE=\"16\"><B>");
    const char *slash = title ? strrchr(title, '/') : NULL;
    gi_label_escape(s, slash && slash[1] ? slash + 1 : title && *title ? title : "graph", 80);
    gi_str_add(s,
               "</B></FONT></TD></TR><TR><TD COLSPAN=\"4\" ALIGN=\"LEFT\"><FONT POINT-SIZE=\"11\" COLOR=\"#555555\">");
}

static void add_head(gi_str *s, size_t boxes)
{
    gi_str_add(s, "digraph gopt {\n"
                  "graph [fontname=\"Helvetica,Arial,sans-serif\",bgcolor=white,rankdir=TB,nodesep=0.22,ranksep=0.3,"
                  "labelloc=t,labeljust=l,pad=0.3");
    if (boxes >= CURVES_BELOW)
        gi_str_add(s, ",splines=line,nslimit=2,nslimit1=2,mclimit=0.22,remincross=false,searchsize=20");
    gi_str_add(s, "];\nnode [fontname=\"Helvetica,Arial,sans-serif\",fontsize=11,shape=box,style=\"rounded,filled\","
                  "margin=\"0.06,0.03\",height=0.2,penwidth=1.1];\n"
                  "edge [fontname=\"Helvetica,Arial,sans-serif\",fontsize=8,fontcolor=\"#6b6b6b\",color=\"#7a8490\","
                  "arrowsize=0.55];\n");
}

/* ---- the public calls ---- */

/* Hands the text over to the caller, in memory of the context's. */
static gopt_status finish(gopt_ctx *cx, gi_str *s, char **text)
{
    if (s->failed || !s->p)
        return GOPT_NO_MEMORY;
    char *copy = gi_alloc(cx, s->n + 1);
    GI_NEED(copy);
    memcpy(copy, s->p, s->n + 1);
    *text = copy;
    return GOPT_OK;
}

static gopt_status write_one(gopt_graph *g, const gopt_dot_options *o, gi_arena *a, char **text)
{
    gi_picture p;
    GI_TRY(gi_picture_make(g, a, o, &p));
    drawing d = { .p = &p, .prefix = "", .flat = o && o->flat, .labels = p.boxes.n < LABELS_BELOW };
    gi_str_init(&d.s, a);
    add_head(&d.s, p.boxes.n);
    gi_str_add(&d.s, "label=<<TABLE BORDER=\"0\" CELLSPACING=\"4\" CELLPADDING=\"3\">");
    add_title(&d.s, o && o->title ? o->title : g->name);
    add_facts(&d.s, &p);
    gi_str_add(&d.s, "</FONT></TD></TR>");
    add_legend(&d.s, &p);
    gi_str_add(&d.s, "</TABLE>>;\n");
    GI_TRY(add_picture(&d));
    gi_str_add(&d.s, "}\n");
    return finish(g->cx, &d.s, text);
}

gopt_status gopt_dot(gopt_graph *g, const gopt_dot_options *o, char **text)
{
    *text = NULL;
    gi_arena *a = gi_arena_create(g->cx);
    GI_NEED(a);
    const gopt_status s = write_one(g, o, a, text);
    gi_arena_destroy(a);
    return s;
}

static gopt_status add_side(drawing *d, const char *prefix, const char *name, gi_picture *p)
{
    d->p = p;
    d->prefix = prefix;
    if (!d->flat) {
        gi_str_addf(
            &d->s, "subgraph cluster_%s {\nstyle=rounded;color=\"#c4ccd6\";bgcolor=white;labeljust=l;margin=16;", name);
        gi_str_addf(
            &d->s,
            "label=<<FONT POINT-SIZE=\"14\"><B>%s</B></FONT><FONT POINT-SIZE=\"11\" COLOR=\"#555555\">&#160;&#160;",
            name);
        add_facts(&d->s, p);
        gi_str_add(&d->s, "</FONT>>;\n");
    }
    GI_TRY(add_picture(d));
    gi_str_add(&d->s, d->flat ? "" : "}\n");
    return GOPT_OK;
}

static gopt_status write_pair(gopt_graph *before, gopt_graph *after, const gopt_dot_options *o, gi_arena *a,
                              char **text)
{
    gi_picture p, q;
    GI_TRY(gi_picture_make(before, a, o, &p));
    GI_TRY(gi_picture_make(after, a, o, &q));
    GI_TRY(gi_picture_match(&p, &q));
    drawing d = { .flat = o && o->flat, .units = true, .labels = p.boxes.n + q.boxes.n < LABELS_BELOW };
    gi_str_init(&d.s, a);
    add_head(&d.s, p.boxes.n + q.boxes.n);
    gi_str_add(&d.s, "label=<<TABLE BORDER=\"0\" CELLSPACING=\"4\" CELLPADDING=\"3\">");
    add_title(&d.s, o && o->title ? o->title : before->name);
    gi_str_add(&d.s, "The same number and colour: these became that. Dashed grey: gone.</FONT></TD></TR></TABLE>>;\n");
    GI_TRY(add_side(&d, "b", "before", &p));
    GI_TRY(add_side(&d, "a", "after", &q));
    gi_str_add(&d.s, "}\n");
    return finish(before->cx, &d.s, text);
}

gopt_status gopt_dot_pair(gopt_graph *before, gopt_graph *after, const gopt_dot_options *o, char **text)
{
    *text = NULL;
    gi_arena *a = gi_arena_create(before->cx);
    GI_NEED(a);
    const gopt_status s = write_pair(before, after, o, a, text);
    gi_arena_destroy(a);
    return s;
}

void gopt_text_free(gopt_ctx *cx, char *text)
{
    gi_free(cx, text);
}
