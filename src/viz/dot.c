/* Writes pictures as DOT: one graph coloured by kind of work, or two side by side coloured by what became what.
 *
 * Side by side, boxes that belong together are held at one height by rank=same, which reaches through clusters with
 * newrank alone.
 *
 * Graphviz 2.42: iteration limits keep big layouts in seconds (nslimit and mclimit; without them 1,300 nodes
 * took 5 minutes), but a low nslimit with curved edges can hang it, so then edges are straight lines. Labels are
 * HTML-like: record nodes with edges inside a rank make it fail. */
#include <math.h>

#include "viz/picture.h"

enum {
    LEGEND_COLUMNS = 4,
    TOOLTIP_MOST = 400,  /* characters */
    CURVES_BELOW = 1000, /* boxes: above it straight lines and iteration limits */
    LABELS_BELOW = 700,  /* above it arcs have tooltips instead of labels */
};

typedef struct drawing {
    gi_str s;
    const gi_picture *p;
    const char *prefix; /* of names: "", "b" before, "a" after */
    bool flat;
    size_t first; /* number of its first box in the drawing */
    bool units;   /* colour by unit */
    bool labels;
} drawing;

/* ---- pieces ---- */

static void add_style(drawing *d, const gi_box *b)
{
    gi_str *s = &d->s;
    const gi_look look = gi_look_of_box(b, d->units);
    gi_str_addf(s, "fillcolor=\"%s\",color=\"%s\"", look.fill, look.border);
    if (d->units && b->unit)
        gi_str_addf(s, ",class=\"unit%u\"", b->unit);
    if (look.dashed)
        gi_str_add(s, ",style=\"rounded,filled,dashed\"");
    if (look.twice)
        gi_str_add(s, ",penwidth=1.6,peripheries=2,margin=\"0.14,0.05\"");
}

/* What an edge names a box by. Netron takes the type of a node from a name such as "Conv (op#12)", and from nothing else
 * that we could write; elsewhere a short one will do. */
static void add_id(drawing *d, uint32_t i)
{
    const gi_box *b = &d->p->boxes.p[i];
    if (!d->flat) {
        gi_str_addf(&d->s, "%s%u", *d->prefix ? d->prefix : "n", i);
        return;
    }
    const char *name = b->kind == GI_BOX_INPUT ? "Input" : b->kind == GI_BOX_OUTPUT ? "Output" : "Group";
    gi_str_add(&d->s, "\"");
    if (b->kind == GI_BOX_NODE) {
        name = gi_op_name(b->node);
        if (*name < 'A' || *name > 'Z')
            gi_str_add(&d->s, "Op_");
    }
    for (const char *p = name; *p && p < name + GI_NAME_MOST; p++)
        gi_str_addf(&d->s, "%c",
                    (*p >= '0' && *p <= '9') || (*p >= 'A' && *p <= 'Z') || (*p >= 'a' && *p <= 'z') ? *p : '_');
    gi_str_addf(&d->s, " (op#%zu)\"", d->first + i);
}

/* A quoted string without any quote or escape in it: graphviz turns entities into characters, and simpler readers know no
 * escapes. */
static void add_tooltip(drawing *d, const char *text)
{
    gi_str clean;
    gi_str_init(&clean, d->p->arena);
    gi_text_clip(&clean, text, TOOLTIP_MOST);
    gi_str_add(&d->s, ",tooltip=\"");
    for (const char *p = clean.p ? clean.p : ""; *p; p++)
        if (*p == '&' || *p == '"' || *p == '\\')
            gi_str_add(&d->s, *p == '&' ? "&amp;" : *p == '"' ? "&quot;" : "&#92;");
        else
            gi_str_addn(&d->s, p, 1);
    gi_str_add(&d->s, "\"");
}

static void add_run(gi_str *s, const gi_run *run)
{
    const gi_text_look *look = gi_text_look_of(run->style);
    gi_str_addf(s, "<FONT POINT-SIZE=\"%d\" COLOR=\"%s\">%s", look->size, look->color, look->bold ? "<B>" : "");
    gi_text_escape(s, run->text);
    gi_str_add(s, look->bold ? "</B></FONT>" : "</FONT>");
}

static gopt_status add_label(drawing *d, const gi_box *b)
{
    gi_label label;
    gi_str *s = &d->s;
    GI_TRY(gi_label_box(d->p->arena, d->p, b, &label));
    gi_str_add(s, ",label=<<TABLE BORDER=\"0\" CELLBORDER=\"0\" CELLSPACING=\"0\" CELLPADDING=\"1\">");
    for (size_t i = 0; i < label.lines.n; i++) {
        gi_str_add(s, "<TR><TD>");
        for (size_t k = 0; k < label.lines.p[i].runs.n; k++)
            add_run(s, &label.lines.p[i].runs.p[k]);
        gi_str_add(s, "</TD></TR>");
    }
    gi_str_add(s, "</TABLE>>");
    return GOPT_OK;
}

static gopt_status add_box(drawing *d, size_t i)
{
    const gi_box *b = &d->p->boxes.p[i];
    gi_str *s = &d->s;
    add_id(d, (uint32_t)i);
    gi_str_addf(s, " [id=\"%sn%zu\",", d->prefix, i);
    add_style(d, b);
    if (b->kind == GI_BOX_NODE && b->node->name)
        add_tooltip(d, b->node->name);
    else if (b->kind == GI_BOX_GROUP && *b->group->path)
        add_tooltip(d, b->group->path);
    GI_TRY(add_label(d, b));
    gi_str_add(s, "];\n");
    return GOPT_OK;
}

static void open_cluster(drawing *d, size_t i)
{
    const gi_cluster *c = &d->p->clusters.p[i];
    const gi_look look = gi_look_of_cluster(c->kind, d->units ? c->unit : 0);
    gi_str *s = &d->s, name;
    gi_str_init(&name, d->p->arena);
    gi_text_clip(&name, c->label ? c->label : "", GI_NAME_MOST);
    gi_str_addf(s, "subgraph cluster_%s%zu {\nid=\"%sc%zu\";margin=12;labeljust=l;color=\"%s\";", d->prefix, i,
                d->prefix, i, look.border);
    if (*look.fill)
        gi_str_addf(s, "style=\"rounded,filled\";penwidth=1.4;fillcolor=\"%s\";", look.fill);
    else
        gi_str_add(s, "style=\"rounded,dashed\";penwidth=0.8;");
    gi_str_add(s, "label=<<FONT POINT-SIZE=\"9\" COLOR=\"#3c4a5a\">");
    gi_str_add(s, c->kind == GI_CLUSTER_FUSION ? "fused: " : "");
    gi_text_escape(s, name.p ? name.p : "");
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
            GI_TRY(add_box(d, b - 1));
        for (uint32_t k = first_child[c]; k; k = next_child[k])
            stack[depth++] = k;
    }
    return GOPT_OK;
}

static void add_arc(drawing *d, const gi_arc *arc)
{
    gi_str *s = &d->s;
    add_id(d, arc->from);
    gi_str_add(s, " -> ");
    add_id(d, arc->to);
    gi_str_add(s, " [");
    if (arc->value->type) {
        gi_str_add(s, d->labels && !arc->quiet ? "label=<&#160;" : "edgetooltip=<");
        gi_text_escape(s, gi_label_type(d->p->arena, arc->value->type));
        if (arc->count > 1)
            gi_str_addf(s, " and %u more", arc->count - 1);
        gi_str_add(s, ">");
    }
    if (arc->count > 1)
        gi_str_addf(s, ",penwidth=%.1f", fmin(2.4, 1 + 0.35 * log2((double)arc->count)));
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

static void add_legend(gi_str *s, const gi_legend *l)
{
    for (size_t i = 0; i < l->n; i++) {
        const gi_sample *x = &l->p[i];
        if (i % LEGEND_COLUMNS == 0)
            gi_str_add(s, i ? "</TR><TR>" : "<TR>");
        gi_str_addf(s, "<TD BORDER=\"1\" COLOR=\"%s\"", x->look.border);
        if (*x->look.fill)
            gi_str_addf(s, " BGCOLOR=\"%s\"", x->look.fill);
        if (x->frame || x->look.dashed)
            gi_str_addf(s, " STYLE=\"%s%s%s\"", x->frame ? "ROUNDED" : "", x->frame && x->look.dashed ? "," : "",
                        x->look.dashed ? "DASHED" : "");
        gi_str_addf(s, "><FONT POINT-SIZE=\"10\">&#160;%s&#160;</FONT></TD>", x->text);
    }
    gi_str_add(s, l->n ? "</TR>" : "");
}

static void add_row(gi_str *s, int size, const char *color, bool bold, const char *text)
{
    gi_str_addf(s, "<TR><TD COLSPAN=\"%d\" ALIGN=\"LEFT\"><FONT POINT-SIZE=\"%d\" COLOR=\"%s\">%s", LEGEND_COLUMNS,
                size, color, bold ? "<B>" : "");
    gi_text_escape(s, text);
    gi_str_add(s, bold ? "</B></FONT></TD></TR>" : "</FONT></TD></TR>");
}

static gopt_status add_title(gi_str *s, const gi_view *v)
{
    gi_str title, facts;
    gi_legend legend;
    gi_str_init(&title, s->arena);
    gi_str_init(&facts, s->arena);
    gi_picture_title(&title, v->title);
    if (v->pair)
        gi_str_addf(&facts, "%u nodes become %u", gi_graph_count_nodes(v->first.g), gi_graph_count_nodes(v->second.g));
    else
        gi_picture_facts(&facts, &v->first);
    GI_NEED(title.p && facts.p);
    GI_TRY(gi_legend_make(s->arena, &v->first, v->pair ? &v->second : NULL, &legend));
    gi_str_add(s, "label=<<TABLE BORDER=\"0\" CELLSPACING=\"4\" CELLPADDING=\"3\">");
    add_row(s, 16, "#101418", true, title.p);
    add_row(s, 11, "#3c434b", false, facts.p);
    add_legend(s, &legend);
    gi_str_add(s, "</TABLE>>;\n");
    return GOPT_OK;
}

static void add_head(gi_str *s, size_t boxes, bool flat)
{
    gi_str_add(s, "digraph gopt {\n"
                  "graph [fontname=\"Helvetica,Arial,sans-serif\",bgcolor=white,rankdir=TB,nodesep=0.22,ranksep=0.3,"
                  "labelloc=t,labeljust=l,pad=0.3");
    gi_str_add(s, flat ? "" : ",newrank=true");
    if (boxes >= CURVES_BELOW)
        gi_str_add(s, ",splines=line,nslimit=2,nslimit1=2,mclimit=0.22,remincross=false,searchsize=20");
    gi_str_add(s, "];\nnode [fontname=\"Helvetica,Arial,sans-serif\",fontsize=11,shape=box,style=\"rounded,filled\","
                  "margin=\"0.06,0.03\",height=0.2,penwidth=1.1];\n"
                  "edge [fontname=\"Helvetica,Arial,sans-serif\",fontsize=8,fontcolor=\"#4d5560\",color=\"#66707c\","
                  "arrowsize=0.55];\n");
}

/* ---- the whole ---- */

static gopt_status add_side(drawing *d, const char *prefix, const char *name, const gi_picture *p)
{
    gi_str *s = &d->s;
    d->p = p;
    d->prefix = prefix;
    if (!d->flat) {
        gi_str_addf(s, "subgraph cluster_%s {\nstyle=rounded;color=\"#c4ccd6\";bgcolor=white;labeljust=l;margin=16;",
                    name);
        gi_str_addf(
            s, "label=<<FONT POINT-SIZE=\"14\"><B>%s</B></FONT><FONT POINT-SIZE=\"11\" COLOR=\"#3c434b\">&#160;&#160;",
            name);
        gi_picture_facts(s, p);
        gi_str_add(s, "</FONT>>;\n");
    }
    GI_TRY(add_picture(d));
    gi_str_add(s, d->flat ? "" : "}\n");
    return GOPT_OK;
}

gopt_status gi_dot_write(const gi_view *v, gi_str *s)
{
    const size_t boxes = v->first.boxes.n + v->second.boxes.n;
    drawing d = { .p = &v->first, .prefix = "", .flat = v->flat, .units = v->pair, .labels = boxes < LABELS_BELOW };
    gi_str_init(&d.s, s->arena);
    add_head(&d.s, boxes, d.flat);
    GI_TRY(add_title(&d.s, v));
    if (v->pair) {
        GI_TRY(add_side(&d, "b", "before", &v->first));
        d.first = v->first.boxes.n;
        GI_TRY(add_side(&d, "a", "after", &v->second));
        for (size_t i = 0; !d.flat && i < v->anchors.n; i++)
            gi_str_addf(&d.s, "{rank=same;b%u;a%u}\n", v->anchors.p[i].before, v->anchors.p[i].after);
    } else {
        GI_TRY(add_picture(&d));
    }
    gi_str_add(&d.s, "}\n");
    *s = d.s;
    return s->failed || !s->p ? GOPT_NO_MEMORY : GOPT_OK;
}

/* ---- the public calls ---- */

static gopt_status write_dot(gopt_graph *g, gopt_graph *after, const gopt_dot_options *o, gi_arena *a, char **text)
{
    gi_view v;
    gi_str s;
    gi_str_init(&s, a);
    GI_TRY(gi_view_make(a, g, after, o, &v));
    GI_TRY(gi_dot_write(&v, &s));
    GI_NEED(*text = gi_alloc(g->cx, s.n + 1));
    memcpy(*text, s.p, s.n + 1);
    return GOPT_OK;
}

gopt_status gopt_dot_pair(gopt_graph *before, gopt_graph *after, const gopt_dot_options *o, char **text)
{
    *text = NULL;
    gi_arena *a = gi_arena_create(before->cx);
    GI_NEED(a);
    const gopt_status s = write_dot(before, after, o, a, text);
    gi_arena_destroy(a);
    return s;
}

gopt_status gopt_dot(gopt_graph *g, const gopt_dot_options *o, char **text)
{
    return gopt_dot_pair(g, NULL, o, text);
}

void gopt_text_free(gopt_ctx *cx, char *text)
{
    gi_free(cx, text);
}
