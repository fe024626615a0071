/* Kinds of work, and how boxes and frames look: what colours say, and the legend that says so. */
#include <math.h>
#include <stdio.h>

#include "viz/picture.h"

static const gi_kind_style styles[GI_KIND_COUNT] = {
    [GI_KIND_CONV] = { "convolution", "#cfe3fb", "#2f6db3" },
    [GI_KIND_MATMUL] = { "matrix product, recurrence", "#d9d6fb", "#5a4fc0" },
    [GI_KIND_NORM] = { "normalization, softmax", "#f3d6ef", "#a8479a" },
    [GI_KIND_POINTWISE] = { "pointwise", "#d3f0d6", "#3a8a4a" },
    [GI_KIND_REDUCE] = { "pooling, reduction", "#fde3c3", "#bf7414" },
    [GI_KIND_MOVE] = { "shape and movement", "#ecebe4", "#85816f" },
    [GI_KIND_INDEX] = { "index, sort, select", "#cdeeee", "#1f8787" },
    [GI_KIND_QUANTIZE] = { "quantize, cast", "#e9dcc9", "#8b6a3a" },
    [GI_KIND_CONTROL] = { "control flow, sequences", "#fbf2b5", "#a38c12" },
    [GI_KIND_GROUP] = { "several nodes", "#ffffff", "#5b6675" },
    [GI_KIND_UNKNOWN] = { "unknown operator", "#fbcfcf", "#c02b2b" },
};

/* Where the traits do not tell. */
static const struct {
    const char *word; /* what the operator's name holds */
    gi_kind kind;
} words[] = {
    { "Conv", GI_KIND_CONV },         { "MatMul", GI_KIND_MATMUL },    { "Gemm", GI_KIND_MATMUL },
    { "Einsum", GI_KIND_MATMUL },     { "Attention", GI_KIND_MATMUL }, { "LSTM", GI_KIND_MATMUL },
    { "GRU", GI_KIND_MATMUL },        { "RNN", GI_KIND_MATMUL },       { "Normalization", GI_KIND_NORM },
    { "Softmax", GI_KIND_NORM },      { "LpNorm", GI_KIND_NORM },      { "LRN", GI_KIND_NORM },
    { "Quantize", GI_KIND_QUANTIZE }, { "Cast", GI_KIND_QUANTIZE },    { "Pool", GI_KIND_REDUCE },
    { "Gather", GI_KIND_INDEX },      { "Scatter", GI_KIND_INDEX },    { "NonZero", GI_KIND_INDEX },
    { "TopK", GI_KIND_INDEX },        { "ArgM", GI_KIND_INDEX },       { "NonMax", GI_KIND_INDEX },
    { "OneHot", GI_KIND_INDEX },      { "Unique", GI_KIND_INDEX },     { "Compress", GI_KIND_INDEX },
    { "RoiAlign", GI_KIND_INDEX },    { "GridSample", GI_KIND_INDEX }, { "Sequence", GI_KIND_CONTROL },
    { "Optional", GI_KIND_CONTROL },  { "Reduce", GI_KIND_REDUCE },    { "CumSum", GI_KIND_REDUCE },
    { "Resize", GI_KIND_MOVE },       { "Shape", GI_KIND_MOVE },       { "DFT", GI_KIND_MATMUL },
    { "STFT", GI_KIND_MATMUL },
};

gi_kind gi_kind_of(const gi_node *n)
{
    if (n->op == OP_Unknown)
        return GI_KIND_UNKNOWN;
    const gi_op *row = gi_op_get(n->op);
    if (row->traits & GI_CONTROL)
        return GI_KIND_CONTROL;
    for (size_t i = 0; i < GI_COUNT(words); i++)
        if (strstr(row->name, words[i].word))
            return words[i].kind;
    if (row->traits & GI_ELEMENTWISE)
        return GI_KIND_POINTWISE;
    if (row->traits & GI_REDUCTION)
        return GI_KIND_REDUCE;
    return GI_KIND_MOVE;
}

const gi_kind_style *gi_kind_get(gi_kind k)
{
    return &styles[k];
}

/* ---- colours of units: hues a golden angle apart, so that neighbours in number are far apart in hue ---- */

static unsigned channel(double hue, double chroma, double base)
{
    const double x = fabs(fmod(hue + 6, 6) - 3) - 1;
    const double v = base + chroma * (x < 0 ? 0 : x > 1 ? 1 : x);
    return (unsigned)(v * 255 + 0.5) & 0xff;
}

static void unit_color(char out[8], uint32_t unit, bool dark)
{
    const double hue = fmod((double)unit * 0.61803398875, 1) * 6;
    const double chroma = dark ? 0.5 : 0.2, base = dark ? 0.2 : 0.78;
    snprintf(out, 8, "#%02x%02x%02x", channel(hue, chroma, base), channel(hue + 4, chroma, base),
             channel(hue + 2, chroma, base));
}

static gi_look look_of(const char *fill, const char *border, bool dashed)
{
    gi_look l = { .dashed = dashed };
    snprintf(l.fill, sizeof l.fill, "%s", fill);
    snprintf(l.border, sizeof l.border, "%s", border);
    return l;
}

static gi_look look_of_unit(uint32_t unit)
{
    gi_look l = { .dashed = false };
    unit_color(l.fill, unit, false);
    unit_color(l.border, unit, true);
    return l;
}

static gi_look look_of_gone(void)
{
    return look_of("#f4f4f4", "#8a8a8a", true);
}

gi_look gi_look_of_box(const gi_box *b, bool units)
{
    if (b->kind == GI_BOX_INPUT || b->kind == GI_BOX_OUTPUT)
        return look_of("#33404f", "#33404f", false);
    const gi_kind_style *k = &styles[b->kind == GI_BOX_NODE ? gi_kind_of(b->node) : GI_KIND_GROUP];
    gi_look l = !units ? look_of(k->fill, k->border, false) : b->unit ? look_of_unit(b->unit) : look_of_gone();
    l.twice = b->kind == GI_BOX_GROUP;
    return l;
}

gi_look gi_look_of_cluster(gi_cluster_kind kind, uint32_t unit)
{
    if (kind == GI_CLUSTER_SCOPE)
        return look_of("", "#8a95a3", true);
    if (!unit)
        return kind == GI_CLUSTER_FUSION ? look_of("#eef3f9", "#5b7896", false) : look_of("#fdfbea", "#a38c12", false);
    gi_look l = look_of_unit(unit);
    snprintf(l.fill, sizeof l.fill, "#fbfbfb");
    return l;
}

/* ---- legend ---- */

static gopt_status add_sample(gi_arena *a, gi_legend *l, gi_look look, bool frame, const char *text)
{
    GI_NEED(gi_push(a, l, (gi_sample){ look, frame, text }));
    return GOPT_OK;
}

/* Frames and lines that the picture has. */
static gopt_status add_frames(gi_arena *a, gi_legend *l, const gi_picture *p, const gi_picture *q)
{
    static const char *const names[] = { [GI_CLUSTER_FUSION] = "fused: one kernel",
                                         [GI_CLUSTER_BLOCK] = "body of control flow",
                                         [GI_CLUSTER_SCOPE] = "scope of the model" };
    bool seen[GI_COUNT(names)] = { false }, dashed = false;
    for (const gi_picture *x = p; x; x = x == p ? q : NULL) {
        for (size_t i = 1; i < x->clusters.n; i++)
            seen[x->clusters.p[i].kind] = true;
        for (size_t i = 0; i < x->arcs.n; i++)
            dashed |= x->arcs.p[i].dashed;
    }
    for (size_t k = 0; k < GI_COUNT(names); k++)
        if (seen[k])
            GI_TRY(add_sample(a, l, gi_look_of_cluster((gi_cluster_kind)k, 0), true, names[k]));
    return dashed ? add_sample(a, l, look_of("#ffffff", "#ffffff", false), true, "dashed line: into or out of a body")
                  : GOPT_OK;
}

gopt_status gi_legend_make(gi_arena *a, const gi_picture *p, const gi_picture *q, gi_legend *l)
{
    bool seen[GI_KIND_COUNT] = { false };
    *l = (gi_legend){ 0 };
    if (q) {
        GI_TRY(add_sample(a, l, look_of_unit(1), false, "same number and colour: became one another"));
        GI_TRY(add_sample(a, l, look_of_gone(), false, "gone"));
        return add_frames(a, l, p, q);
    }
    for (size_t i = 0; i < p->boxes.n; i++) {
        const gi_box *b = &p->boxes.p[i];
        if (b->kind == GI_BOX_NODE)
            seen[gi_kind_of(b->node)] = true;
        else if (b->kind == GI_BOX_GROUP)
            seen[GI_KIND_GROUP] = true;
    }
    for (int k = 0; k < GI_KIND_COUNT; k++)
        if (seen[k])
            GI_TRY(add_sample(a, l, look_of(styles[k].fill, styles[k].border, false), false, styles[k].name));
    return add_frames(a, l, p, NULL);
}

void gi_picture_facts(gi_str *s, const gi_picture *p)
{
    size_t fusions = 0;
    for (const gi_node *n = p->g->main->first; n; n = n->next)
        fusions += n->op == OP_Fusion;
    const uint32_t nodes = gi_graph_count_nodes(p->g);
    gi_str_addf(s, "%u node%s", nodes, nodes == 1 ? "" : "s");
    if (fusions)
        gi_str_addf(s, ", %zu fusion%s", fusions, fusions == 1 ? "" : "s");
    if (p->collapsed)
        gi_str_addf(s, ", %zu of them drawn together by scope", p->hidden);
    if (p->folded.n)
        gi_str_addf(s, ", %zu of constants alone not drawn", p->folded.n);
}

void gi_picture_title(gi_str *s, const char *title)
{
    const char *slash = title ? strrchr(title, '/') : NULL;
    gi_text_clip(s, slash && slash[1] ? slash + 1 : title && *title ? title : "graph", 80);
}
