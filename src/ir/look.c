/* Looking at a graph through the public interface. */
#include "ir/graph.h"

size_t gopt_graph_input_count(const gopt_graph *g)
{
    return g->main->n_params;
}

size_t gopt_graph_output_count(const gopt_graph *g)
{
    return g->main->n_results;
}

gopt_value *gopt_graph_get_input(const gopt_graph *g, size_t i)
{
    return i < g->main->n_params ? g->main->params[i] : NULL;
}

gopt_value *gopt_graph_get_output(const gopt_graph *g, size_t i)
{
    return i < g->main->n_results ? g->main->results[i].value : NULL;
}

const char *gopt_graph_input_name(const gopt_graph *g, size_t i)
{
    return i < g->main->n_params ? g->main->params[i]->name : NULL;
}

const char *gopt_graph_output_name(const gopt_graph *g, size_t i)
{
    return i < g->main->n_results ? g->main->result_names[i] : NULL;
}

uint64_t gopt_graph_file_bytes(const gopt_graph *g)
{
    return g->source ? g->source->bytes : 0;
}

size_t gopt_graph_node_count(const gopt_graph *g)
{
    return gi_graph_count_nodes(g);
}

gopt_value *gopt_graph_find_value(gopt_graph *g, const char *name)
{
    const gi_block *b = g->main;
    for (uint32_t i = 0; i < b->n_params; i++)
        if (b->params[i]->name && !strcmp(b->params[i]->name, name))
            return b->params[i];
    for (uint32_t i = 0; i < b->n_results; i++)
        if (b->result_names[i] && !strcmp(b->result_names[i], name))
            return b->results[i].value;
    for (const gi_node *n = b->first; n; n = n->next)
        for (uint32_t i = 0; i < n->n_out; i++)
            if (n->out[i]->name && !strcmp(n->out[i]->name, name))
                return n->out[i];
    return NULL;
}

const char *gopt_value_name(const gopt_value *v)
{
    return v->name;
}

gopt_kind gopt_value_kind(const gopt_value *v)
{
    return v->type ? v->type->kind : GOPT_TENSOR;
}

gopt_dtype gopt_value_dtype(const gopt_value *v)
{
    return v->type ? v->type->dtype : GOPT_UNDEFINED;
}

int gopt_value_rank(const gopt_value *v)
{
    return v->type ? v->type->rank : -1;
}

int64_t gopt_value_dim(const gopt_value *v, int i)
{
    int64_t d;
    return i >= 0 && gi_type_dim_const(v->type, i, &d) ? d : -1;
}

int gopt_value_type_text(const gopt_value *v, char *buffer, size_t size)
{
    /* a short-lived arena: the value does not know its context */
    gopt_ctx *cx = gopt_ctx_create(NULL);
    if (!cx)
        return 0;
    gi_str s;
    gi_str_init(&s, cx->arena);
    gi_type_print(&s, v->type);
    const int n = snprintf(buffer, size, "%s", s.p ? s.p : "?");
    gopt_ctx_destroy(cx);
    return n;
}

gopt_node *gopt_value_producer(const gopt_value *v)
{
    return gi_value_node(v);
}

gopt_value *gopt_node_output(const gopt_node *n, size_t i)
{
    return i < n->n_out ? n->out[i] : NULL;
}

const char *gopt_node_op(const gopt_node *n)
{
    return n->op_name;
}

const char *gopt_node_name(const gopt_node *n)
{
    return n->name;
}

bool gopt_node_is_random(const gopt_node *n)
{
    if (n->op != OP_Dropout)
        return (gi_op_get(n->op)->traits & GI_RANDOM) != 0;
    const gi_value *training = gi_node_in(n, Dropout_in_training_mode);
    const gi_blob *b = gi_value_blob(training);
    return training && !(b && gi_blob_elements(b) == 1 && gi_load_i64(b->dtype, b->data, 0) == 0);
}
