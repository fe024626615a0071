/* Finds every operator that nothing here can run, and says what can be done about each.
 *
 * Never fails on a strange model: attributes of the wrong kind, missing names and unknown domains are findings
 * like any other. */
#include "aten/aten.h"
#include "ops/plugin.h"

/* ---- what to say ---- */

typedef struct finder {
    gopt_graph *g;
    gi_arena *arena, *scratch;
    gi_vec(gopt_unsupported) list;
    bool own; /* operators of gopt's own and of plugins, too */
} finder;

/* Nothing is said as an empty text: out of memory while explaining is no reason to stop. */
static const char *text(const char *s, const char *otherwise)
{
    return s ? s : otherwise;
}

/* Why a node stays that has a lowering: it is tried once more, and what it would build taken away again. */
static const char *why_not(finder *f, gi_node *n)
{
    gi_aten a;
    const char *why = "it can be lowered";
    if (gi_aten_build(&a, n, f->scratch))
        gi_aten_undo(&a);
    else
        why = text(a.why, "there is no memory");
    why = gi_arena_str(f->arena, why);
    gi_arena_reset(f->scratch);
    return text(why, "");
}

/* Operators of PyTorch's companions have their own. */
static const char *prefix(const char *name)
{
    return strstr(name, "::") ? "" : "aten::";
}

static void explain_aten(finder *f, gi_node *n, gopt_unsupported *u)
{
    const char *op = u->aten_operator;
    const gi_aten_op *row = gi_aten_find(op);
    const char *overload = u->overload[0] ? gi_arena_printf(f->arena, " (overload %s)", u->overload) : "";
    const int opset = gi_graph_opset(f->g, "");
    if (!row) {
        u->reason =
            gi_arena_printf(f->arena, "the PyTorch operator aten::%s%s, which the exporter had no ONNX form for", op,
                            text(overload, ""));
        u->fix = "export again with torch.onnx.export(..., dynamo=True), which decomposes more operators, or write it "
                 "with operators that ONNX has";
        return;
    }
    u->reason = row->lower
                    ? gi_arena_printf(f->arena, "the PyTorch operator %s%s%s: %s", prefix(row->name), row->name,
                                      text(overload, ""), why_not(f, n))
                    : gi_arena_printf(f->arena, "the PyTorch operator %s%s%s%s", prefix(row->name), row->name,
                                      text(overload, ""),
                                      row->schema[0] == '(' ? gi_arena_printf(f->arena, ", %s", row->schema) : "");
    if (!row->onnx)
        u->fix = gi_arena_printf(f->arena, "ONNX has nothing like it: %s",
                                 text(row->advice, "write it with other operators"));
    else if (row->since > opset && opset > 0)
        u->fix =
            gi_arena_printf(f->arena, "export with opset_version=%d or later, and without ONNX_ATEN: that gives %s%s%s",
                            row->since, row->onnx, row->advice ? "; or " : "", text(row->advice, ""));
    else
        u->fix =
            gi_arena_printf(f->arena,
                            "export with operator_export_type=OperatorExportTypes.ONNX (the default): opset %d has "
                            "it as %s%s%s",
                            opset, row->onnx, row->advice ? "; or " : "", text(row->advice, ""));
}

/* Domains that are met often: what they are, and what to do. Prefixes, the longest first. */
static const struct {
    const char *domain, *reason, *fix;
} known[] = {
    { "com.microsoft.extensions", "an operator of onnxruntime-extensions (text and image processing)",
      "do it outside of the network, or export the model without its pre- and postprocessing" },
    { "ai.onnx.contrib", "an operator of onnxruntime-extensions (text and image processing)",
      "do it outside of the network, or export the model without its pre- and postprocessing" },
    { "com.microsoft", "an operator of ONNX Runtime's own, written by its optimizer or its quantizer",
      "start from the model as it was before onnxruntime optimized it (SessionOptions.optimized_model_filepath, "
      "onnxruntime.transformers)" },
    { "ai.onnx.preview.training", "an operator for training", "export the model for inference: model.eval()" },
    { "ai.onnx.ml", "no operator that ai.onnx.ml has, up to version 5", "look whether its name is spelled right" },
    { "torchvision", "an operator of torchvision",
      "export with torchvision imported and opset_version=16 or later, "
      "which gives RoiAlign, NonMaxSuppression and DeformConv" },
    { "torch_scatter", "an operator of torch_scatter",
      "replace torch_scatter.scatter by torch.scatter_reduce, and "
      "export with opset_version=18 or later" },
    { "torch_sparse", "an operator of torch_sparse", "use dense tensors, or torch.scatter_reduce" },
    { "torch_cluster", "an operator of torch_cluster", "compute the neighbourhoods outside of the model" },
    { "mmdeploy", "an operator of mmdeploy's plugins", "export with mmdeploy's onnxruntime backend without plugins" },
    { "mmcv", "an operator of mmcv's plugins", "export with torchvision's operators in place of mmcv's" },
    { "prim", "a construct of TorchScript",
      "export with torch.onnx.export(..., dynamo=True), and without "
      "operator_export_type=ONNX_FALLTHROUGH: custom autograd functions need a "
      "symbolic() or to be written with plain operators" },
    { "pkg", "a model-local function without a body", "export again with the functions inlined" },
    { "trt.plugins", "a TensorRT plugin", "export without plugins" },
    { "TRT", "a TensorRT plugin", "export without plugins" },
};

static bool has_prefix(const char *domain, const char *prefix)
{
    const size_t n = strlen(prefix);
    return !strncmp(domain, prefix, n) && (!domain[n] || domain[n] == '.' || domain[n] == ':');
}

static void explain_other(finder *f, const gi_node *n, gopt_unsupported *u)
{
    const char *colons = strstr(u->op, "::");
    const char *domain = u->domain[0] ? u->domain
                         : colons     ? gi_arena_strn(f->arena, u->op, (size_t)(colons - u->op))
                                      : "";
    for (size_t i = 0; domain && i < GI_COUNT(known); i++)
        if (has_prefix(domain, known[i].domain)) {
            u->reason = known[i].reason;
            u->fix = known[i].fix;
            return;
        }
    if (u->domain[0]) {
        u->reason = gi_arena_printf(f->arena, "a custom operator of the domain %s", u->domain);
        u->fix = "write it with standard operators, or give its meaning as a model-local function, or as a plugin "
                 "(--plugin, "
                 "docs/plugins.md)";
    } else {
        u->reason = gi_arena_printf(f->arena, "no operator of ONNX's opset %d", n->opset);
        u->fix = "check the operator's name and the model's opset_import";
    }
}

static bool look(void *arg, gi_node *n)
{
    finder *f = arg;
    const bool is_unknown = n->op == OP_Unknown;
    const char *domain = is_unknown ? NULL : gi_op_get(n->op)->domain;
    const bool own = f->own && (gi_plugin_of(n) || (domain && !strcmp(domain, GI_DOMAIN_OWN)));
    if (!own && (gi_node_evaluates(n) || n->op == OP_Fusion))
        return true;
    gopt_unsupported u = { .at = n,
                           .node = n->name && n->name[0]         ? n->name
                                   : n->n_out && n->out[0]->name ? n->out[0]->name
                                                                 : "",
                           .domain = n->domain ? n->domain : "",
                           .op = n->op_name ? n->op_name : "?" };
    if (gi_aten_decode(n, &u.aten_operator, &u.overload)) {
        explain_aten(f, n, &u);
    } else if (is_unknown) {
        explain_other(f, n, &u);
    } else if (own) {
        u.reason = "an operator of gopt's own, for what ONNX has no way to say: it runs here, and in no other runtime";
        u.fix = "run that part with gopt, or write it with operators that ONNX has";
    } else {
        u.reason = "it can be read, changed and written, but has no evaluation here";
        u.fix = "run the optimized model with another runtime";
    }
    u.reason = text(u.reason, "unsupported");
    u.fix = text(u.fix, "");
    return gi_push(f->arena, &f->list, u);
}

static gopt_status find(gopt_graph *g, bool own, const gopt_unsupported **list, size_t *n)
{
    finder f = { .g = g, .arena = g->arena, .scratch = gi_arena_create(g->cx), .own = own };
    GI_NEED(f.scratch);
    const bool done = gi_each_node(g->main, look, &f);
    gi_arena_destroy(f.scratch);
    GI_NEED(done);
    *list = f.list.p;
    *n = f.list.n;
    return GOPT_OK;
}

gopt_status gopt_find_unsupported(gopt_graph *g, const gopt_unsupported **list, size_t *n)
{
    return find(g, false, list, n);
}

/* ---- cutting before them ---- */

static bool is_listed(void *user, const gi_node *n)
{
    const bool *listed = user;
    return listed[n->id];
}

gopt_status gopt_cut_unsupported(gopt_graph *g, bool standard, gopt_cut *out)
{
    *out = (gopt_cut){ 0 };
    GI_TRY(find(g, standard, &out->list, &out->n));
    bool *listed = GI_NEW_ARRAY(g->arena, bool, g->next_node + 1u);
    GI_NEED(listed);
    for (size_t i = 0; i < out->n; i++)
        listed[out->list[i].at->id] = true;
    return gopt_graph_split(g, is_listed, listed, &out->head, &out->tail);
}
