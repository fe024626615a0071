/* Lowering: puts operators that run in the place of those that an exporter left of PyTorch.
 *
 *     %y = org.pytorch.aten::ATen %x, 1 { operator = "diff" }      ⇒      %a = Slice %x, …      (all but the first)
 *                                                                          %b = Slice %x, …      (all but the last)
 *                                                                          %y = Sub %a, %b
 *
 * Nodes are visited in their order, and types inferred behind each, since files with such operators say nothing of what
 * they give: what is lowered first tells the next one the types of its inputs. A node that cannot be lowered stays as it
 * was, with the reason in the findings. Each node is visited once, and adds a bounded number of nodes. */
#include "aten/aten.h"
#include "ops/plugin.h"

bool gi_aten_build(gi_aten *a, gi_node *n, gi_arena *scratch)
{
    const char *op, *overload;
    *a = (gi_aten){ .g = n->block->graph,
                    .n = n,
                    .at = n->block,
                    .before = n,
                    .scratch = scratch,
                    .before_it = n->prev,
                    .first = n->block->graph->n_values };
    if (!gi_aten_decode(n, &op, &overload))
        return gi_aten_decline(a, "it is no operator of PyTorch");
    a->row = gi_aten_find(op);
    a->out = GI_NEW_ARRAY(scratch, gi_value *, n->n_out + 1);
    if (!a->out)
        return false;
    if (!a->row || !a->row->lower)
        return gi_aten_decline(a, "there is no way yet to write it with other operators");
    bool done = gi_aten_bind(a, overload) && a->row->lower(a);
    for (uint32_t i = 0; done && i < n->n_out; i++)
        if (!a->out[i] && n->out[i]->n_uses)
            done = gi_aten_decline(a, "its result %u is not computed here", i);
    if (!done)
        gi_aten_undo(a);
    return done;
}

void gi_aten_undo(gi_aten *a)
{
    while (a->n->prev && a->n->prev != a->before_it)
        gi_node_remove(a->n->prev);
    gi_graph_drop_consts(a->g, a->first);
}

/* ---- the walk ---- */

typedef struct walk {
    gopt_graph *g;
    gi_arena *scratch;
    gi_vec(gopt_aten_finding) found;
    bool retyped; /* types may have become known that were not */
    gopt_status status;
} walk;

/* "Max, Exp, Log": each operator once, in order. Own: does any belong to gopt alone? */
static const char *built_text(const gi_aten *a, bool *own)
{
    gi_str s;
    gi_str_init(&s, a->g->arena);
    *own = false;
    gi_node *const first = a->before_it ? a->before_it->next : a->n->block->first;
    for (gi_node *n = first; n != a->n; n = n->next) {
        const gi_op *row = gi_op_get(n->op);
        bool seen = false;
        for (gi_node *m = first; m != n && !seen; m = m->next)
            seen = m->op == n->op;
        *own |= row->domain && !strcmp(row->domain, GI_DOMAIN_OWN);
        if (!seen)
            gi_str_addf(&s, "%s%s", s.n ? ", " : "", row->onnx ? row->onnx : row->name);
    }
    return s.n ? s.p : "nothing";
}

static const char *types_text(gopt_graph *g, const gi_node *n)
{
    gi_str s;
    gi_str_init(&s, g->arena);
    for (uint32_t i = 0; i < n->n_in; i++) {
        const gi_value *v = gi_node_in(n, i);
        gi_str_add(&s, i ? ", " : "");
        if (v)
            gi_type_print(&s, v->type);
        else
            gi_str_add(&s, "_");
    }
    return s.p ? s.p : "";
}

/* The results take over names and uses, the nodes the origin; then the node goes. */
static bool replace(gi_aten *a)
{
    gi_node *n = a->n;
    for (gi_node *m = a->before_it ? a->before_it->next : n->block->first; m != n; m = m->next)
        if (!gi_node_merge_origins(m, n))
            return false;
    for (uint32_t i = 0; i < n->n_out; i++) {
        gi_value *from = n->out[i], *to = a->out[i];
        if (!to)
            continue;
        if (!to->name && from->name)
            to->name = from->name;
        gi_value_replace_uses(from, to);
    }
    gi_node *last = n->prev != a->before_it ? n->prev : NULL;
    if (last && !last->name)
        last->name = n->name;
    gi_node_remove(n);
    return true;
}

static bool lower_node(walk *w, gi_node *n, const char *op, const char *overload)
{
    gi_aten a;
    bool own = false;
    const gi_aten_op *row = gi_aten_find(op);
    gopt_aten_finding f = { .node = n->name                       ? n->name
                                    : n->n_out && n->out[0]->name ? n->out[0]->name
                                                                  : "",
                            .scope = n->scope ? n->scope : "",
                            .op = row ? row->name : gi_arena_str(w->g->arena, op),
                            .overload = overload,
                            .inputs = types_text(w->g, n) };
    const bool done = gi_aten_build(&a, n, w->scratch);
    if (!done && !a.why)
        return false;
    if (!done && gi_plugin_of(n)) { /* it stays, and runs */
        w->status = gi_infer_node(n, w->scratch);
        return true;
    }
    f.what = done ? built_text(&a, &own) : gi_arena_str(w->g->arena, a.why);
    f.outcome = !done ? GOPT_ATEN_LEFT : own ? GOPT_ATEN_OWN : GOPT_ATEN_LOWERED;
    f.fix = row && f.outcome == GOPT_ATEN_OWN && row->advice ? row->advice : "";
    if (done && a.schema->overload[0])
        f.overload = gi_arena_str(w->g->arena, a.schema->overload);
    w->retyped |= done;
    return f.what && (!done || replace(&a)) && gi_push(w->g->arena, &w->found, f);
}

static bool visit(void *arg, gi_node *n)
{
    walk *w = arg;
    const char *op, *overload;
    w->status = GOPT_OK;
    if (gi_aten_decode(n, &op, &overload)) {
        if (!lower_node(w, n, op, overload))
            w->status = GOPT_NO_MEMORY;
    } else if (w->retyped && (n->op != OP_Unknown || gi_plugin_of(n))) {
        w->status = gi_infer_node(n, w->scratch);
    }
    gi_arena_reset(w->scratch);
    return w->status == GOPT_OK;
}

/* Lists and constants of TorchScript's that were read by what is gone now. */
static bool sweep(void *arg, gi_node *n)
{
    (void)arg;
    if (n->n_out == 1 && !n->out[0]->n_uses && (gi_aten_list_node(n->out[0]) || gi_aten_is_prim_constant(n)))
        gi_node_remove(n);
    return true;
}

static bool is_there(void *arg, gi_node *n)
{
    const char *op, *overload;
    (void)arg;
    return !gi_aten_decode(n, &op, &overload);
}

gopt_status gopt_lower_aten(gopt_graph *g, const gopt_aten_finding **list, size_t *n)
{
    if (list)
        *list = NULL;
    if (n)
        *n = 0;
    if (gi_each_node(g->main, is_there, NULL))
        return GOPT_OK;
    walk w = { .g = g, .scratch = gi_arena_create(g->cx) };
    GI_NEED(w.scratch);
    if (gi_each_node(g->main, visit, &w))
        gi_each_node(g->main, sweep, NULL);
    gi_arena_destroy(w.scratch);
    GI_TRY(w.status);
    if (list)
        *list = w.found.p;
    if (n)
        *n = w.found.n;
    return GOPT_OK;
}
