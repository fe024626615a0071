/* The part of a network between named tensors, as a graph of its own.
 *
 * From the outputs back: a node is part of it if an output needs it, and the walk ends at the tensors that become
 * inputs. What it meets beyond those is an input of the network that the cut leaves unfed, and is told by name. */
#include <inttypes.h>

#include "gopt/graph.h"
#include "ops/infer.h"

typedef struct extractor {
    const gopt_graph *g;
    gopt_ctx *cx;
    gi_arena *arena;
    gi_smap names; /* of the main graph's tensors and of weights */
    gi_values in, out;
    gi_vec(const char *) in_names, out_names;
    bool *stops;      /* by value id: an input of the part */
    bool *seen;       /* by value id */
    bool *keep;       /* by node id */
    gi_node **reader; /* by value id: a node that reads it, of those kept */
} extractor;

/* ---- names ---- */

static bool note_name(extractor *x, const char *name, gi_value *v)
{
    return !name || !*name || gi_smap_get(&x->names, name) || gi_smap_put(&x->names, name, v);
}

static bool note_names(extractor *x)
{
    const gi_block *b = x->g->main;
    gi_smap_init(&x->names, x->arena);
    for (uint32_t i = 0; i < b->n_params; i++)
        if (!note_name(x, b->params[i]->name, b->params[i]))
            return false;
    for (uint32_t i = 0; i < b->n_results; i++)
        if (!note_name(x, b->result_names[i], b->results[i].value))
            return false;
    for (const gi_node *n = b->first; n; n = n->next)
        for (uint32_t i = 0; i < n->n_out; i++)
            if (!note_name(x, n->out[i]->name, n->out[i]))
                return false;
    for (size_t i = 0; i < x->g->consts.n; i++)
        if (gi_value_blob(x->g->consts.p[i]) && !note_name(x, x->g->consts.p[i]->name, x->g->consts.p[i]))
            return false;
    return true;
}

enum { MOST_NEAR = 3, LONGEST = 160, MOST_COMPARED = 20000 };

/* Insertions, removals and replacements that make one word the other (Wagner and Fischer). */
static uint32_t edits(const char *a, size_t n, const char *b, size_t m)
{
    uint32_t row[LONGEST + 1];
    for (size_t j = 0; j <= m; j++)
        row[j] = (uint32_t)j;
    for (size_t i = 1; i <= n; i++) {
        uint32_t diagonal = row[0];
        row[0] = (uint32_t)i;
        for (size_t j = 1; j <= m; j++) {
            uint32_t best = diagonal + (a[i - 1] != b[j - 1]);
            diagonal = row[j];
            best = row[j] + 1 < best ? row[j] + 1 : best;
            best = row[j - 1] + 1 < best ? row[j - 1] + 1 : best;
            row[j] = best;
        }
    }
    return row[m];
}

/* How far a name is from the word; less than 1 where it holds the word, as "/head/Conv_3/output_0" does "Conv_3". */
static double farness(const char *word, size_t n, const char *name, size_t *compared)
{
    const size_t m = strlen(name);
    if (!n)
        return 1e9;
    if (n >= 2 && strstr(name, word))
        return 1 - (double)n / (double)(m + 1);
    const size_t most = n / 3 + 1, gap = n > m ? n - m : m - n;
    if (gap > most || n > LONGEST || m > LONGEST || ++*compared > MOST_COMPARED)
        return 1e9;
    const uint32_t d = edits(word, n, name, m);
    return d <= most ? (double)d : 1e9;
}

/* "did you mean 'a', 'b' or 'c'?"; NULL where nothing is near. */
static const char *nearest(extractor *x, const char *word)
{
    const char *best[MOST_NEAR] = { 0 };
    double far[MOST_NEAR] = { 1e8, 1e8, 1e8 };
    size_t compared = 0;
    for (size_t i = 0; i < x->names.cap; i++) {
        const char *name = x->names.slots[i].key;
        double d = name ? farness(word, strlen(word), name, &compared) : 1e9;
        for (int k = 0; k < MOST_NEAR; k++) {
            if (d > far[k] || (d == far[k] && best[k] && strcmp(name, best[k]) > 0) || d >= 1e8)
                continue;
            const double other = far[k];
            const char *pushed = best[k];
            far[k] = d;
            best[k] = name;
            d = other;
            name = pushed;
        }
    }
    gi_str s;
    gi_str_init(&s, x->arena);
    for (int k = 0; k < MOST_NEAR && best[k]; k++)
        gi_str_addf(&s, "%s'%s'", !k ? "did you mean " : k + 1 < MOST_NEAR && best[k + 1] ? ", " : " or ", best[k]);
    gi_str_add(&s, "?");
    return best[0] ? s.p : NULL;
}

/* ---- what lies in subgraphs ---- */

typedef struct inner {
    const char *name;
    gi_node *at; /* a node whose subgraph has it, or the node of a subgraph that makes it */
    bool param;
} inner;

static bool is_inside(void *arg, gi_node *n)
{
    inner *w = arg;
    for (uint32_t i = 0; n->block->owner && i < n->n_out; i++)
        if (n->out[i]->name && !strcmp(n->out[i]->name, w->name)) {
            w->at = n;
            return false;
        }
    for (uint32_t k = 0; k < n->n_attrs; k++)
        for (uint32_t i = 0; n->attrs[k].kind == GI_ATTR_GRAPH && i < n->attrs[k].u.graph->n_params; i++) {
            const char *name = n->attrs[k].u.graph->params[i]->name;
            if (name && !strcmp(name, w->name)) {
                w->at = n;
                w->param = true;
                return false;
            }
        }
    return true;
}

static gopt_status unknown_name(extractor *x, const char *name)
{
    inner w = { .name = name };
    const gi_place at = { .file = x->g->file };
    if (gi_each_node(x->g->main, is_inside, &w)) {
        const char *near = nearest(x, name);
        return gi_fail(x->cx, GOPT_USAGE, &at, near ? near : "`gopt inspect --nodes` lists them",
                       "there is no tensor '%s'", name);
    }
    const gi_node *owner = gi_node_in_block(w.at, x->g->main);
    char label[64];
    gi_str s;
    gi_str_init(&s, x->arena);
    gi_str_addf(&s, "cut at what goes into or comes out of node '%s'", owner->name && *owner->name ? owner->name : "");
    for (uint32_t i = 0; i < owner->n_out && i < 4; i++)
        gi_str_addf(&s, "%s%s", i ? ", " : ": ", gi_value_label(owner->out[i], label, sizeof label));
    return gi_fail(x->cx, GOPT_USAGE, &at, s.p,
                   "'%s' lies in a subgraph of node '%s' (%s): a network can be cut at tensors of its main graph alone",
                   name, owner->name ? owner->name : "", owner->op_name);
}

/* ---- the ends ---- */

static bool type_is_known(const gi_type *t)
{
    while (t && t->kind != GOPT_TENSOR)
        t = t->elem;
    return t && t->dtype != GOPT_UNDEFINED;
}

static bool has_name(const char *const *names, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++)
        if (!strcmp(names[i], name))
            return true;
    return false;
}

static gopt_status add_input(extractor *x, const char *name, gi_value *v)
{
    const gi_place at = { .file = x->g->file };
    if (x->stops[v->id])
        return gi_fail(x->cx, GOPT_USAGE, &at, NULL, "'%s' is a second name of a tensor that is an input already",
                       name);
    if (!type_is_known(v->type)) {
        const gi_node *n = gi_value_node(v);
        return gi_fail(
            x->cx, GOPT_USAGE, &at,
            "cut behind the operators that are not known, or give the tensor's type in the model's value_info",
            "'%s' cannot become an input: its type is not known%s%s%s%s%s", name, n ? ", it comes from node '" : "",
            n && n->name ? n->name : "", n ? "' (" : "", n ? n->op_name : "", n ? ")" : "");
    }
    x->stops[v->id] = true;
    return gi_push(x->arena, &x->in, v) && gi_push(x->arena, &x->in_names, name) ? GOPT_OK : GOPT_NO_MEMORY;
}

static gopt_status find_ends(extractor *x, const char *const *in, size_t n_in, const char *const *out, size_t n_out)
{
    for (size_t i = 0; i < n_in; i++) {
        gi_value *v = in[i] ? gi_smap_get(&x->names, in[i]) : NULL;
        if (!v)
            return unknown_name(x, in[i] ? in[i] : "");
        if (!has_name(in, i, in[i]))
            GI_TRY(add_input(x, in[i], v));
    }
    for (size_t i = 0; i < n_out; i++) {
        gi_value *v = out[i] ? gi_smap_get(&x->names, out[i]) : NULL;
        if (!v)
            return unknown_name(x, out[i] ? out[i] : "");
        if (!has_name(out, i, out[i]))
            GI_NEED(gi_push(x->arena, &x->out, v) && gi_push(x->arena, &x->out_names, out[i]));
    }
    const gi_block *b = x->g->main;
    for (uint32_t i = 0; !n_out && i < b->n_results; i++)
        GI_NEED(gi_push(x->arena, &x->out, b->results[i].value) &&
                gi_push(x->arena, &x->out_names, b->result_names[i]));
    return GOPT_OK;
}

/* ---- what lies between ---- */

static gopt_status walk_back(extractor *x)
{
    gi_values todo = { 0 };
    for (size_t i = 0; i < x->out.n; i++)
        GI_NEED(gi_push(x->arena, &todo, x->out.p[i]));
    while (todo.n) {
        gi_value *v = todo.p[--todo.n];
        if (x->seen[v->id])
            continue;
        x->seen[v->id] = true;
        gi_node *n = x->stops[v->id] ? NULL : gi_value_node(v);
        if (!n || x->keep[n->id])
            continue;
        x->keep[n->id] = true;
        const size_t from = todo.n;
        GI_NEED(gi_node_reads(n, x->arena, &todo));
        for (size_t i = from; i < todo.n; i++)
            x->reader[todo.p[i]->id] = n;
    }
    return GOPT_OK;
}

/* Inputs of the network that the walk met though it was to end before them. */
static gopt_status check_fed(extractor *x)
{
    enum { MOST_TOLD = 8 };
    const gi_block *b = x->g->main;
    gi_str missing, hint;
    gi_str_init(&missing, x->arena);
    gi_str_init(&hint, x->arena);
    uint32_t n = 0;
    for (uint32_t i = 0; i < b->n_params; i++) {
        const gi_value *p = b->params[i];
        if (!x->seen[p->id] || x->stops[p->id] || n++ >= MOST_TOLD)
            continue;
        const gi_node *by = x->reader[p->id];
        gi_str_addf(&missing, "%s'%s'", n > 1 ? ", " : "", p->name);
        if (by)
            gi_str_addf(&missing, " (read by %s node '%s')", by->op_name, by->name ? by->name : "");
        gi_str_addf(&hint, "%s%s", n > 1 ? ", " : "name it as an input as well, or a tensor behind it: ", p->name);
    }
    if (!n)
        return GOPT_OK;
    if (n > MOST_TOLD)
        gi_str_addf(&missing, " and %u more", n - MOST_TOLD);
    return gi_fail(x->cx, GOPT_USAGE, &(gi_place){ .file = x->g->file }, hint.p,
                   "the cut leaves out what its outputs need: the network's input%s %s", n == 1 ? "" : "s", missing.p);
}

static gopt_status extract(extractor *x, const char *const *in, size_t n_in, const char *const *out, size_t n_out,
                           gopt_graph **part)
{
    const gopt_graph *g = x->g;
    x->stops = GI_NEW_ARRAY(x->arena, bool, g->n_values + 1u);
    x->seen = GI_NEW_ARRAY(x->arena, bool, g->n_values + 1u);
    x->keep = GI_NEW_ARRAY(x->arena, bool, g->next_node + 1u);
    x->reader = GI_NEW_ARRAY(x->arena, gi_node *, g->n_values + 1u);
    GI_NEED(x->stops && x->seen && x->keep && x->reader && note_names(x));
    GI_TRY(find_ends(x, in, n_in, out, n_out));
    GI_TRY(walk_back(x));
    if (n_in)
        GI_TRY(check_fed(x));
    for (uint32_t i = 0; !n_in && i < g->main->n_params; i++)
        if (x->seen[g->main->params[i]->id])
            GI_TRY(add_input(x, g->main->params[i]->name, g->main->params[i]));
    for (size_t i = 0; i < x->in.n; i++)
        if (!x->seen[x->in.p[i]->id])
            gi_note(x->cx, &(gi_place){ .file = g->file }, NULL, "none of the outputs depends on the input '%s'",
                    x->in_names.p[i]);
    const gi_excerpt p = { .keep = x->keep,
                           .params = x->in.p,
                           .param_names = x->in_names.p,
                           .n_params = (uint32_t)x->in.n,
                           .results = x->out.p,
                           .result_names = x->out_names.p,
                           .n_results = (uint32_t)x->out.n };
    gopt_graph *made;
    GI_TRY(gi_graph_excerpt(g, &p, &made));
    const gopt_status s = gi_infer_graph(made);
    if (s == GOPT_OK)
        *part = made;
    else
        gopt_graph_destroy(made);
    return s;
}

gopt_status gopt_graph_extract(const gopt_graph *g, const char *const *in, size_t n_in, const char *const *out,
                               size_t n_out, gopt_graph **part)
{
    extractor x = { .g = g, .cx = g->cx, .arena = gi_arena_create(g->cx) };
    *part = NULL;
    GI_NEED(x.arena);
    const gopt_status s = extract(&x, in, n_in, out, n_out, part);
    gi_arena_destroy(x.arena);
    return s;
}
