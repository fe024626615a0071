/* Kinds of work: what a node's colour says. */
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
