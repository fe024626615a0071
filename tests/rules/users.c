/* A second user of each value in turn: a node, an output of the graph, a subgraph that captures it. */
#include "ops/infer.h"
#include "rules/mutate.h"

static const char *label(mutator *m, const gi_value *v)
{
    char buffer[32];
    const char *s = gi_arena_str(m->arena, gi_value_label(v, buffer, sizeof buffer));
    return s ? s : "?";
}

/* One more output of the graph. */
static void add_output(mutator *m, gi_value *v)
{
    gi_block *b = m->g->main;
    gi_value **results = GI_NEW_ARRAY(m->g->arena, gi_value *, b->n_results + 1);
    const char **names = GI_NEW_ARRAY(m->g->arena, const char *, b->n_results + 1);
    if (!results || !names)
        return;
    for (uint32_t i = 0; i < b->n_results; i++) {
        results[i] = b->results[i].value;
        names[i] = b->result_names[i];
    }
    results[b->n_results] = v;
    names[b->n_results] = gi_arena_printf(m->arena, "further_%u", b->n_results);
    m->made = names[b->n_results] && gi_block_set_results(b, b->n_results + 1, results, names);
}

/* Where a user of v can stand: behind what makes it. */
static gi_node *place_behind(gopt_graph *g, const gi_value *v)
{
    const gi_node *n = gi_value_node(v);
    return n ? n->next : g->main->first;
}

static gi_value *add_identity(gi_block *b, gi_node *before, gi_value *v)
{
    return gi_node_out(gi_node_create(b, before, OP_Identity, 1, &v, 1), 0);
}

/* An If of a new input that gives v, or something made of it, in one branch and v through a node in the other. */
static void add_capture(mutator *m, gi_value *v, bool bare)
{
    gopt_graph *g = m->g;
    const gi_type *t = gi_type_tensor(g->types, GOPT_BOOL, 0, NULL);
    gi_value *flag = t ? gi_block_add_param(g->main, gi_arena_printf(m->arena, "flag_%u", g->main->n_params), t) : NULL;
    gi_node *n = flag ? gi_node_create(g->main, NULL, OP_If, 1, &flag, 1) : NULL;
    gi_block *then_block = n ? gi_block_create(g, n, "then_branch") : NULL;
    gi_block *else_block = n ? gi_block_create(g, n, "else_branch") : NULL;
    if (!then_block || !else_block)
        return;
    gi_value *yes = bare ? v : add_identity(then_block, NULL, v), *no = add_identity(else_block, NULL, v);
    const char *const names[] = { "r" };
    if (!yes || !no || !gi_block_set_results(then_block, 1, &yes, names) ||
        !gi_block_set_results(else_block, 1, &no, names))
        return;
    gi_attr_set_graph(n, If_at_then_branch, then_block);
    gi_attr_set_graph(n, If_at_else_branch, else_block);
    add_output(m, n->out[0]);
}

static void use_again(mutator *m, gi_value *v)
{
    if (mutate_here(m)) {
        gi_str_addf(m->what, "%%%s is an output of the graph", label(m, v));
        add_output(m, v);
    }
    if (mutate_here(m)) {
        gi_str_addf(m->what, "a node reads %%%s too", label(m, v));
        gi_value *y = add_identity(m->g->main, place_behind(m->g, v), v);
        if (y)
            add_output(m, y);
    }
    for (int bare = 0; bare < 2; bare++)
        if (mutate_here(m)) {
            gi_str_addf(m->what, "a subgraph %s %%%s", bare ? "gives" : "reads", label(m, v));
            add_capture(m, v, bare);
        }
}

static void use_inner(mutator *m, gi_node *n, gi_value *v)
{
    gi_block *b = n->block;
    if (b->n_results == 0 || !mutate_here(m))
        return;
    gi_str_addf(m->what, "the block gives %%%s through a node where it gave its first result", label(m, v));
    gi_value *y = add_identity(b, n->next, v);
    if (!y)
        return;
    gi_block_set_result(b, 0, y);
    m->made = true;
}

void mutate_users(mutator *m)
{
    mutate_node_list nodes;
    if (!mutate_list_nodes(m->g, m->arena, &nodes))
        return;
    const uint32_t n_params = m->g->main->n_params;
    for (size_t i = 0; i < nodes.n && !m->made; i++)
        for (uint32_t k = 0; k < nodes.p[i]->n_out && !m->made; k++) {
            gi_value *v = nodes.p[i]->out[k];
            if (nodes.p[i]->block == m->g->main)
                use_again(m, v);
            else
                use_inner(m, nodes.p[i], v);
        }
    for (uint32_t i = 0; i < n_params && !m->made; i++)
        use_again(m, m->g->main->params[i]);
}
