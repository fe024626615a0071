/* Building a graph without a file, and reading one from the text form. */
#include "ir/text.h"
#include "ops/infer.h"

gopt_status gi_gir_read(gopt_ctx *cx, const gi_file *f, gopt_graph **out)
{
    gopt_graph *g;
    GI_TRY(gi_parse(cx, f->path, (const char *)f->data, f->size, &g));
    const size_t said = cx->n_diags;
    gopt_status st = gi_verify(g);
    if (st == GOPT_OK)
        st = gi_infer_graph(g);
    else if (cx->n_diags > said)
        cx->n_diags = said + 1; /* the first fault of a text that is wrong is its fault */
    if (st != GOPT_OK) {
        gopt_graph_destroy(g);
        return st == GOPT_INTERNAL ? GOPT_BAD_INPUT : st;
    }
    *out = g;
    return GOPT_OK;
}

gopt_status gopt_gir_load(gopt_ctx *cx, const char *path, gopt_graph **out)
{
    gi_file *f;
    GI_TRY(gi_file_open(cx, path, &f));
    const gopt_status st = gi_gir_read(cx, f, out);
    gi_file_unref(f);
    return st;
}

gopt_status gopt_graph_create(gopt_ctx *cx, const char *name, int opset, gopt_graph **out)
{
    gopt_graph *g;
    GI_TRY(gi_graph_create(cx, &g));
    g->name = gi_arena_str(g->arena, name);
    g->ir_version = GI_TEXT_IR_VERSION;
    g->producer = "gopt";
    g->producer_version = GOPT_VERSION_STRING;
    g->opsets = GI_NEW(g->arena, gi_opset);
    if (!g->opsets) {
        gopt_graph_destroy(g);
        return GOPT_NO_MEMORY;
    }
    g->opsets[0] = (gi_opset){ "", opset > 0 ? opset : GI_TEXT_OPSET };
    g->n_opsets = 1;
    *out = g;
    return GOPT_OK;
}

/* Is that the name of another value's, among inputs and outputs? */
static bool is_taken(const gopt_graph *g, const gi_value *v, const char *name)
{
    const gi_block *b = g->main;
    for (uint32_t i = 0; i < b->n_params; i++)
        if (b->params[i] != v && b->params[i]->name && !strcmp(b->params[i]->name, name))
            return true;
    for (uint32_t i = 0; i < b->n_results; i++)
        if (b->results[i].value != v && !strcmp(b->result_names[i], name))
            return true;
    return false;
}

gopt_value *gopt_graph_input(gopt_graph *g, const char *name, gopt_dtype dtype, int rank, const char *const *dims)
{
    const gi_dim *d[GOPT_MAX_RANK];
    const gi_place at = { .file = g->file, .input = name };
    if (!name || !*name || rank > GOPT_MAX_RANK) {
        gi_fail(g->cx, GOPT_USAGE, &at, NULL, "an input needs a name, and a rank of at most %d", GOPT_MAX_RANK);
        return NULL;
    }
    if (is_taken(g, NULL, name)) {
        gi_fail(g->cx, GOPT_USAGE, &at, "give it another name", "an input or output has this name");
        return NULL;
    }
    for (int i = 0; i < rank; i++) {
        const char *end = "";
        d[i] = gi_dim_parse(g->dims, dims[i], &end);
        if (!d[i] || *end) {
            gi_fail(g->cx, GOPT_USAGE, &at, NULL, "'%s' is no dimension", dims[i]);
            return NULL;
        }
    }
    return gi_block_add_param(g->main, name, gi_type_tensor(g->types, dtype, rank, d));
}

gopt_value *gopt_graph_constant(gopt_graph *g, const char *name, gopt_dtype dtype, int rank, const int64_t *dims,
                                const void *data)
{
    gi_blob *b;
    if (gi_blob_create(g->cx, dtype, rank, dims, &b) != GOPT_OK)
        return NULL;
    if (dtype == GOPT_STRING) {
        const gopt_string *from = data;
        gopt_string *to = b->owned;
        for (int64_t i = 0, n = gi_blob_elements(b); i < n; i++)
            to[i] = (gopt_string){ gi_text(g->cx, from[i].p, from[i].n), from[i].n };
    } else if (b->bytes) {
        memcpy(b->owned, data, b->bytes);
    }
    return gi_const(g, b, name);
}

gopt_value *gopt_graph_add(gopt_graph *g, const char *op, const char *name, int n_in, gopt_value *const *in,
                           const char *attributes)
{
    const gi_place at = { .file = g->file, .node = name, .op = op };
    const gi_opcode code = gi_op_find("", op);
    if (code == OP_Unknown || (gi_op_get(code)->traits & GI_INTERNAL_OP)) {
        gi_fail(g->cx, GOPT_USAGE, &at, "`gopt ops` lists what there is", "there is no such operator in ai.onnx");
        return NULL;
    }
    const gi_op *row = gi_op_get(code);
    for (int i = 0; i < n_in; i++)
        if (!in[i] && (i >= row->n_in || row->in[i].presence == GI_REQUIRED)) {
            gi_fail(g->cx, GOPT_USAGE, &at, NULL, "input %d is absent and required", i);
            return NULL;
        }
    gi_node *n = gi_node_create(g->main, NULL, code, (uint32_t)n_in, in, (uint32_t)row->n_out);
    gi_arena *scratch = n ? gi_arena_create(g->cx) : NULL;
    if (!scratch)
        return NULL;
    n->name = gi_arena_str(g->arena, name);
    n->number = (int64_t)n->id;
    gi_node_add_origin(n, name);
    const gopt_status st =
        attributes && gi_parse_attrs(n, attributes) != GOPT_OK ? GOPT_BAD_INPUT : gi_infer_node(n, scratch);
    gi_arena_destroy(scratch);
    if (st != GOPT_OK) {
        gi_node_remove(n);
        return NULL;
    }
    return n->out[0];
}

gopt_status gopt_graph_output(gopt_graph *g, gopt_value *v, const char *name)
{
    gi_block *b = g->main;
    if (!v || !name || !*name)
        return gi_fail(g->cx, GOPT_USAGE, &(gi_place){ .file = g->file }, NULL, "an output needs a value and a name");
    if (is_taken(g, v, name))
        return gi_fail(g->cx, GOPT_USAGE, &(gi_place){ .file = g->file }, "give it another name",
                       "an output is named '%s', as another one or an input is", name);
    gi_value **values = GI_NEW_ARRAY(g->arena, gi_value *, b->n_results + 1);
    const char **names = GI_NEW_ARRAY(g->arena, const char *, b->n_results + 1);
    if (!values || !names)
        return GOPT_NO_MEMORY;
    for (uint32_t i = 0; i < b->n_results; i++) {
        values[i] = b->results[i].value;
        names[i] = b->result_names[i];
    }
    values[b->n_results] = v;
    names[b->n_results] = name;
    return gi_block_set_results(b, b->n_results + 1, values, names) ? GOPT_OK : GOPT_NO_MEMORY;
}
