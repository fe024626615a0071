/* The plan of a run as TREx reads an engine of TensorRT's: each step is a layer.
 *
 * What its reader asks for: as many profile records as layers, in one order, of four or five keys each; layer names that
 * are unique and do not speak of "[profile 1]"; bindings, one at least; formats and weight types of its own tables, since
 * it counts others as no bytes. Layers that it draws in a way of their own bring the keys that it looks for then. */
#include "viz/json.h"
#include "viz/steps.h"

typedef struct trex {
    gopt_ctx *cx;
    gi_arena *arena;
    gi_smap names; /* layers so far */
    bool failed;
} trex;

static void set(trex *t, json_t *object, const char *key, json_t *value)
{
    t->failed |= json_object_set_new(object, key, value) != 0;
}

static void set_text(trex *t, json_t *object, const char *key, const char *text)
{
    set(t, object, key, gi_json_text(t->cx, text));
}

/* ---- tensors ---- */

/* Its word for a dtype. It has none for what is packed or smaller than a byte. */
static const char *format_of(const gi_type *type)
{
    switch (type && type->kind == GOPT_TENSOR ? type->dtype : GOPT_UNDEFINED) {
    case GOPT_F32:
        return "Row major linear FP32";
    case GOPT_F16:
        return "Row major linear FP16 format";
    case GOPT_BF16:
        return "BFloat16";
    case GOPT_F64:
        return "Double";
    case GOPT_I8:
        return "Row major Int8 format";
    case GOPT_I16:
        return "Int16";
    case GOPT_I32:
        return "Row major linear Int32";
    case GOPT_I64:
        return "Row major linear Int64 format";
    case GOPT_U8:
        return "Row major linear UInt8 format";
    case GOPT_U16:
        return "UInt16";
    case GOPT_U32:
        return "UInt32";
    case GOPT_U64:
        return "UInt64";
    case GOPT_BOOL:
        return "Row major linear BOOL";
    case GOPT_C64:
        return "FloatComplex";
    case GOPT_C128:
        return "DoubleComplex";
    default:
        return "Unknown format";
    }
}

static void add_tensor(trex *t, json_t *list, const gi_value *v)
{
    char label[16];
    json_t *j = json_object(), *dims = json_array();
    const bool tensor = v->type && v->type->kind == GOPT_TENSOR;
    for (int i = 0; tensor && i < v->type->rank; i++) {
        int64_t d;
        json_array_append_new(dims, json_integer(gi_type_dim_const(v->type, i, &d) ? (json_int_t)d : 0));
    }
    set_text(t, j, "Name", gi_value_label(v, label, sizeof label));
    set(t, j, "Dimensions", dims);
    set_text(t, j, "Format/Datatype", format_of(v->type));
    t->failed |= json_array_append_new(list, j) != 0;
}

/* What its table of weight types lacks is counted in bytes. */
static json_t *weight_of(const gi_value *v)
{
    int64_t n;
    size_t bytes;
    const bool known = gi_type_elements(v->type, &n) && gi_type_bytes(v->type, &bytes);
    const gopt_dtype type = v->type ? v->type->dtype : GOPT_UNDEFINED;
    const char *word = type == GOPT_F32 ? "Float" : type == GOPT_F16 ? "Half" : type == GOPT_I32 ? "Int32" : "Int8";
    const bool counted = type == GOPT_F32 || type == GOPT_F16 || type == GOPT_I32;
    return json_pack("{s:I, s:s}", "Count", known ? (json_int_t)(counted ? (size_t)n : bytes) : 0, "Type", word);
}

/* The two largest constants. */
static void add_weights(trex *t, json_t *layer, const gi_values *reads)
{
    const gi_value *most = NULL, *second = NULL;
    size_t a = 0, b = 0;
    for (size_t i = 0; i < reads->n; i++) {
        const gi_value *v = reads->p[i];
        size_t bytes;
        if (v->kind != GI_DEF_CONST || !gi_type_bytes(v->type, &bytes))
            continue;
        if (!most || bytes > a) {
            second = most;
            b = a;
            most = v;
            a = bytes;
        } else if (!second || bytes > b) {
            second = v;
            b = bytes;
        }
    }
    if (most)
        set(t, layer, "Weights", weight_of(most));
    if (second)
        set(t, layer, "Bias", weight_of(second));
}

/* ---- layers ---- */

static json_t *ints_of(const gi_node *n, const char *attr, size_t count, int64_t fallback)
{
    const gi_attr *a = gi_attr_find(n, attr);
    json_t *j = json_array();
    for (size_t i = 0; i < count; i++)
        json_array_append_new(j, json_integer(a && a->kind == GI_ATTR_INTS && i < a->n ? (json_int_t)a->u.ints[i]
                                                                                       : (json_int_t)fallback));
    return j;
}

static const gi_type *input_type(const gi_node *n, uint32_t i)
{
    const gi_value *v = gi_node_in(n, i);
    return v && v->type && v->type->kind == GOPT_TENSOR ? v->type : NULL;
}

/* Convolutions over planes: it looks into their inputs as [N, C, H, W]. */
static bool add_convolution(trex *t, json_t *layer, const gi_node *n, const gi_value *first)
{
    const gi_type *w = input_type(n, 1), *x = first->type;
    const gi_attr *group = gi_attr_find(n, "group");
    int64_t maps, kernel[2];
    if (!w || w->rank != 4 || !x || x->kind != GOPT_TENSOR || x->rank != 4 ||
        !gi_type_dim_const(w, n->op == OP_Conv ? 0 : 1, &maps) || !gi_type_dim_const(w, 2, &kernel[0]) ||
        !gi_type_dim_const(w, 3, &kernel[1]))
        return false;
    const gi_node *after = n->next;
    const bool relu = after && after->op == OP_Relu && n->block->owner && n->block->owner->op == OP_Fusion;
    set_text(t, layer, "ParameterType", n->op == OP_Conv ? "Convolution" : "Deconvolution");
    set(t, layer, "Kernel", json_pack("[I, I]", (json_int_t)kernel[0], (json_int_t)kernel[1]));
    set(t, layer, "Groups", json_integer(group && group->kind == GI_ATTR_INT ? (json_int_t)group->u.i : 1));
    set(t, layer, "OutMaps", json_integer((json_int_t)maps));
    set(t, layer, "Stride", ints_of(n, "strides", 2, 1));
    set(t, layer, "Dilation", ints_of(n, "dilations", 2, 1));
    set(t, layer, "PrePadding", ints_of(n, "pads", 2, 0));
    set(t, layer, "HasBias", json_integer(gi_node_in(n, 2) != NULL));
    set(t, layer, "HasReLU", json_integer(relu));
    set_text(t, layer, "Activation", relu ? "RELU" : "NONE");
    return true;
}

static void add_pooling(trex *t, json_t *layer, const gi_node *n)
{
    const gi_attr *kernel = gi_attr_find(n, "kernel_shape");
    const size_t rank = kernel && kernel->kind == GI_ATTR_INTS ? kernel->n : 0;
    set_text(t, layer, "ParameterType", "Pooling");
    set_text(t, layer, "PoolingType", strstr(n->op_name, "Max") ? "MAX" : "AVERAGE");
    set(t, layer, "WindowSize", ints_of(n, "kernel_shape", rank, 1));
    set(t, layer, "Stride", ints_of(n, "strides", rank, 1));
    set_text(t, layer, "PaddingMode", "kEXPLICIT_ROUND_DOWN");
}

/* What it calls a kind of work; NULL: it has no word, and the operator's own does. */
static const char *word_of(const gi_node *n)
{
    switch (n->op) {
    case OP_MatMul:
    case OP_Gemm:
        return "MatrixMultiply";
    case OP_Softmax:
        return "SoftMax";
    case OP_Transpose:
    case OP_Reshape:
        return "Shuffle";
    case OP_Slice:
        return "Slice";
    case OP_Resize:
        return "Resize";
    case OP_Concat:
        return "Concatenation";
    default:
        return NULL;
    }
}

/* The node that a step is for: the one that does most of its work. */
static gopt_status main_node(trex *t, const gi_node *step, const gi_node **out)
{
    gi_part *parts;
    size_t n, best = 0;
    GI_TRY(gi_step_parts(step, t->arena, &parts, &n));
    for (size_t i = 1; i < n; i++)
        if (parts[i].share > parts[best].share)
            best = i;
    *out = n ? parts[best].node : step;
    return GOPT_OK;
}

/* `in`: what the step reads that is computed. */
static gopt_status add_kind(trex *t, json_t *layer, const gopt_step_info *s, const gi_values *in)
{
    set_text(t, layer, "LayerType", s->op);
    if (!s->node) {
        set_text(t, layer, "ParameterType", "Reformat");
        set_text(t, layer, "Origin", s->tactic);
        return GOPT_OK;
    }
    const gi_node *n;
    GI_TRY(main_node(t, s->node, &n));
    const bool conv = n->op == OP_Conv || n->op == OP_ConvTranspose;
    if (conv && in->n && add_convolution(t, layer, n, in->p[0]))
        return GOPT_OK;
    if (n->op != OP_Unknown && strstr(n->op_name, "Pool") && gi_attr_find(n, "kernel_shape"))
        add_pooling(t, layer, n);
    else if (word_of(n))
        set_text(t, layer, "ParameterType", word_of(n));
    else if (n->op != OP_Unknown && gi_op_get(n->op)->traits & GI_ELEMENTWISE)
        set_text(t, layer, "ParameterType", "PointWise");
    else if (n->op != OP_Unknown && gi_op_get(n->op)->traits & GI_REDUCTION)
        set_text(t, layer, "ParameterType", "Reduce");
    return GOPT_OK;
}

/* A name that no other layer has; brackets would be taken for the mark of a shape profile. */
static const char *name_of(trex *t, const gopt_step_info *s)
{
    char *name = gi_arena_str(t->arena, s->name && *s->name ? s->name : s->op);
    for (char *c = name; c && *c; c++)
        *c = *c == '[' ? '(' : *c == ']' ? ')' : *c;
    return name ? gi_unique_name(t->arena, &t->names, name) : NULL;
}

static gopt_status add_layer(trex *t, const gopt_step_info *s, const char *name, json_t *layers)
{
    json_t *layer = json_object(), *in = json_array(), *out = json_array();
    gi_str origins;
    gi_str_init(&origins, t->arena);
    for (size_t i = 0; i < s->n_origins; i++)
        gi_str_addf(&origins, "%s%s", i ? "+" : "", s->origins[i]);
    t->failed |= json_array_append_new(layers, layer) != 0;
    set_text(t, layer, "Name", name);
    gi_values reads = { 0 }, computed = { 0 };
    GI_NEED(!s->node || gi_step_reads(s->node, t->arena, &reads));
    for (size_t i = 0; i < reads.n; i++)
        if (reads.p[i]->kind != GI_DEF_CONST) {
            GI_NEED(gi_push(t->arena, &computed, reads.p[i]));
            add_tensor(t, in, reads.p[i]);
        }
    GI_TRY(add_kind(t, layer, s, &computed));
    for (uint32_t i = 0; s->node && i < s->node->n_out; i++)
        add_tensor(t, out, s->node->out[i]);
    set(t, layer, "Inputs", in);
    set(t, layer, "Outputs", out);
    add_weights(t, layer, &reads);
    set_text(t, layer, "TacticName", s->tactic);
    set_text(t, layer, "Backend", s->backend);
    set_text(t, layer, "Metadata", origins.p);
    return GOPT_OK;
}

static void add_record(trex *t, const gopt_run_profile *p, const gopt_step_times *m, const char *name, double sum,
                       json_t *records)
{
    json_t *j = json_object();
    set_text(t, j, "name", name);
    set(t, j, "timeMs", json_real(m->mean_ms * (double)p->runs));
    set(t, j, "averageMs", json_real(m->mean_ms));
    set(t, j, "medianMs", json_real(m->median_ms));
    set(t, j, "percentage", json_real(sum > 0 ? 100 * m->mean_ms / sum : 0));
    t->failed |= json_array_append_new(records, j) != 0;
}

/* ---- the whole ---- */

static gopt_status fill(trex *t, const gopt_graph *g, const gopt_run_profile *p, json_t *graph, json_t *records)
{
    json_t *layers = json_array(), *bindings = json_array();
    set(t, graph, "Layers", layers);
    set(t, graph, "Bindings", bindings);
    for (size_t i = 0; i < gopt_graph_input_count(g); i++)
        json_array_append_new(bindings, gi_json_text(t->cx, gopt_graph_input_name(g, i)));
    for (size_t i = 0; i < gopt_graph_output_count(g); i++)
        json_array_append_new(bindings, gi_json_text(t->cx, gopt_graph_output_name(g, i)));
    double sum = 0;
    for (size_t i = 0; i < p->n_steps; i++)
        sum += p->steps[i].mean_ms;
    t->failed |= json_array_append_new(records, json_pack("{s:I}", "count", (json_int_t)p->runs)) != 0;
    for (size_t i = 0; i < p->n_steps; i++) {
        const char *name = name_of(t, p->steps[i].step);
        GI_NEED(name);
        GI_TRY(add_layer(t, p->steps[i].step, name, layers));
        add_record(t, p, &p->steps[i], name, sum, records);
    }
    return t->failed ? GOPT_NO_MEMORY : GOPT_OK;
}

gopt_status gopt_trex_save(const gopt_graph *g, const gopt_run_profile *p, const char *prefix)
{
    trex t = { .cx = g->cx, .arena = gi_arena_create(g->cx) };
    GI_NEED(t.arena);
    gi_smap_init(&t.names, t.arena);
    json_t *graph = json_object(), *records = json_array();
    const char *graph_path = gi_arena_printf(t.arena, "%s.graph.json", prefix);
    const char *profile_path = gi_arena_printf(t.arena, "%s.profile.json", prefix);
    gopt_status s = graph && records && graph_path && profile_path ? fill(&t, g, p, graph, records) : GOPT_NO_MEMORY;
    if (s == GOPT_OK) {
        s = gi_json_save(g->cx, graph_path, json_incref(graph));
        if (s == GOPT_OK)
            s = gi_json_save(g->cx, profile_path, json_incref(records));
    }
    json_decref(graph);
    json_decref(records);
    gi_arena_destroy(t.arena);
    return s;
}
