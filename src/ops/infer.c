/* The driver of type inference: checks a node against its row, calls the row's rule, merges what the rule
 * found with what was known. */
#include "ops/infer.h"
#include "ops/eval.h"
#include "ops/plugin.h"

enum { CONTENTS_MAX = 64 }; /* contents of more elements are not followed */

/* ---- merging ---- */

/* How much a dim says: a constant most, then an expression in the model's symbols, then anything unknown. */
static int precision(const gi_dim *d)
{
    if (gi_dim_is_const(d, NULL))
        return 2;
    return gi_dim_is_unknown(d) ? 0 : 1;
}

static const gi_dim *merge_dim(const gi_dim *had, const gi_dim *found, bool *clash)
{
    const int ph = precision(had), pf = precision(found);
    if (ph == 2 && pf == 2 && had != found)
        *clash = true;
    return pf > ph || (pf == ph && pf > 0) ? found : had;
}

static const gi_type *merge_tensor(gopt_graph *g, const gi_type *had, const gi_type *found, bool *clash)
{
    const gopt_dtype dtype = found->dtype ? found->dtype : had->dtype;
    if (had->dtype && found->dtype && had->dtype != found->dtype)
        *clash = true;
    if (found->rank < 0 || had->rank < 0 || found->rank > GOPT_MAX_RANK) {
        const gi_type *t = found->rank < 0 ? had : found;
        return *clash ? NULL : gi_type_tensor(g->types, dtype, t->rank, t->dims);
    }
    if (had->rank != found->rank)
        *clash = true;
    const gi_dim *dims[GOPT_MAX_RANK];
    for (int i = 0; i < found->rank && !*clash; i++)
        dims[i] = merge_dim(had->dims[i], found->dims[i], clash);
    return *clash ? NULL : gi_type_tensor(g->types, dtype, found->rank, dims);
}

const gi_type *gi_type_merge(gopt_graph *g, const gi_type *had, const gi_type *found, bool *clash)
{
    const gi_type *wrap[GI_MAX_NESTING];
    int depth = 0;
    if (!had || !found || had == found)
        return found ? found : had;
    const gi_type *whole = found;
    while (had && found && had->kind == found->kind && had->kind != GOPT_TENSOR && depth < GI_MAX_NESTING) {
        if (had->key != found->key) {
            *clash = true;
            return NULL;
        }
        wrap[depth++] = had;
        had = had->elem;
        found = found->elem;
    }
    if (depth == GI_MAX_NESTING)
        return whole;
    const gi_type *t = found ? found : had;
    if (had && found && had->kind != found->kind)
        *clash = true;
    else if (had && found)
        t = merge_tensor(g, had, found, clash);
    while (depth > 0 && !*clash)
        t = gi_type_around(g->types, wrap[--depth], t);
    return *clash ? NULL : t;
}

static const gi_type *union_tensor(gopt_graph *g, const gi_type *a, const gi_type *b)
{
    const gopt_dtype dtype = a->dtype == b->dtype ? a->dtype : GOPT_UNDEFINED;
    if (a->rank != b->rank || a->rank < 0 || a->rank > GOPT_MAX_RANK)
        return gi_type_tensor(g->types, dtype, -1, NULL);
    const gi_dim *dims[GOPT_MAX_RANK];
    for (int i = 0; i < a->rank; i++)
        dims[i] = a->dims[i] == b->dims[i] ? a->dims[i] : gi_dim_unknown(g->dims, true);
    return gi_type_tensor(g->types, dtype, a->rank, dims);
}

const gi_type *gi_type_union(gopt_graph *g, const gi_type *a, const gi_type *b)
{
    const gi_type *wrap[GI_MAX_NESTING];
    int depth = 0;
    if (a == b)
        return a;
    while (a && b && a->kind == b->kind && a->key == b->key && a->kind != GOPT_TENSOR && depth < GI_MAX_NESTING) {
        wrap[depth++] = a;
        a = a->elem;
        b = b->elem;
    }
    if (depth == GI_MAX_NESTING)
        return NULL;
    const gi_type *t = a && b && a->kind == GOPT_TENSOR && b->kind == GOPT_TENSOR ? union_tensor(g, a, b) : NULL;
    while (depth > 0)
        t = gi_type_around(g->types, wrap[--depth], t);
    return t;
}

const gi_type *gi_type_fresh(gopt_graph *g, const gi_type *t)
{
    const gi_dim *dims[GOPT_MAX_RANK];
    if (!t || t->kind != GOPT_TENSOR || t->rank < 0 || t->rank > GOPT_MAX_RANK)
        return t;
    for (int i = 0; i < t->rank; i++) {
        dims[i] = gi_dim_is_unknown(t->dims[i]) ? gi_dim_unknown(g->dims, true) : t->dims[i];
        if (!dims[i])
            return NULL;
    }
    return gi_type_tensor(g->types, t->dtype, t->rank, dims);
}

static const char *type_text(gi_arena *a, const gi_type *t)
{
    gi_str s;
    gi_str_init(&s, a);
    gi_type_print(&s, t);
    return s.p && !s.failed ? s.p : "?";
}

/* ---- the row's constraints ---- */

static gopt_status check_row(const gi_infer *c, const gi_op *row)
{
    const gi_node *n = c->n;
    const bool variadic = row->n_in > 0 && row->in[row->n_in - 1].presence == GI_VARIADIC;
    const bool variadic_out = row->n_out > 0 && row->out[row->n_out - 1].presence == GI_VARIADIC;
    if (n->n_in > (uint32_t)row->n_in && !variadic)
        return gi_infer_fail_node(c, "it has %u inputs, %s takes at most %d", n->n_in, row->name, row->n_in);
    if (n->n_out > (uint32_t)row->n_out && !variadic_out)
        return gi_infer_fail_node(c, "it has %u outputs, %s gives at most %d", n->n_out, row->name, row->n_out);
    for (int i = 0; i < row->n_in; i++)
        if (row->in[i].presence == GI_REQUIRED && !gi_infer_has(c, (uint32_t)i))
            return gi_infer_fail_node(c, "input %s is missing, %s needs it", row->in[i].name, row->name);
    for (int i = 0; i < row->n_attrs && (uint32_t)i < n->n_attrs; i++)
        if (row->attrs[i].required && n->attrs[i].kind == GI_ATTR_NONE)
            return gi_infer_fail_node(c, "attribute %s is missing, %s needs it", row->attrs[i].name, row->name);
    for (uint32_t i = 0; i < n->n_in && !(row->traits & (GI_ANY_KIND | GI_CONTROL)); i++) {
        const gi_type *t = gi_infer_type(c, i);
        if (t && t->kind != GOPT_TENSOR)
            return gi_infer_fail(c, i, "expected a tensor");
    }
    const gi_type *t = gi_infer_type(c, 0);
    if (t && t->kind == GOPT_TENSOR && t->dtype && !gi_op_takes(row, t->dtype))
        return gi_infer_fail(c, 0, "a type of element that %s does not take", row->name);
    return GOPT_OK;
}

/* ---- contents by evaluation ---- */

static bool small_int(const gi_type *t, int64_t *n)
{
    return t && t->kind == GOPT_TENSOR && (gi_dtype_is_int(t->dtype) || t->dtype == GOPT_BOOL) && t->rank <= 1 &&
           gi_type_elements(t, n) && *n <= CONTENTS_MAX;
}

bool gi_infer_contents(const gi_infer *c, gi_value *v, gopt_tensor *t)
{
    const gi_blob *b = gi_value_blob(v);
    if (b) {
        if (b->bytes > CONTENTS_MAX * 8 || b->dtype == GOPT_STRING)
            return false;
        gi_tensor_of_blob(b, t);
        return true;
    }
    uint32_t n;
    int64_t count, x;
    const gi_dim *const *known = gi_value_known(v, &n);
    if (!known || !small_int(v->type, &count) || count != n)
        return false;
    *t = (gopt_tensor){ .dtype = v->type->dtype, .rank = v->type->rank, .refs = 1 };
    t->data = gi_arena_array(c->scratch, n + 1, 8);
    if (!t->data || !gi_dtype_bytes(t->dtype, n, &t->bytes))
        return false;
    if (t->rank == 1)
        t->dims[0] = count;
    for (uint32_t i = 0; i < n; i++) {
        if (!gi_dim_is_const(known[i], &x))
            return false;
        gi_store_i64(t->dtype, t->data, i, x);
    }
    return true;
}

static void take_contents(gi_infer *c, uint32_t out, const gopt_tensor *t)
{
    const int64_t n = t->kind == GOPT_TENSOR ? gopt_tensor_elements(t) : 0;
    if (n > CONTENTS_MAX || t->rank > 1 || t->kind != GOPT_TENSOR)
        return;
    const gi_dim **known = GI_NEW_ARRAY(c->scratch, const gi_dim *, n + 1);
    if (!known)
        return;
    for (int64_t i = 0; i < n; i++)
        known[i] = gi_dim_const(c->g->dims, gi_tensor_i64(t, i));
    gi_infer_set_known(c, out, (uint32_t)n, known);
}

/* Where all inputs are constant and an output is a small integer tensor, its contents are what the reference
 * evaluation says. Whatever goes wrong here is not the model's fault yet: it is forgotten. */
static gopt_status contents_by_evaluation(gi_infer *c, const gi_op *row)
{
    const gi_node *n = c->n;
    int64_t count;
    bool wanted = false;
    for (uint32_t i = 0; i < n->n_out; i++)
        wanted |= !c->known[i] && small_int(c->out[i], &count);
    if (!wanted || !row->eval || !(row->traits & GI_PURE) || (row->traits & (GI_CONTROL | GI_RANDOM)) || n->n_in == 0 ||
        n->n_in > 2 * CONTENTS_MAX)
        return GOPT_OK;
    gopt_tensor *store = GI_NEW_ARRAY(c->scratch, gopt_tensor, n->n_in);
    const gopt_tensor **in = GI_NEW_ARRAY(c->scratch, const gopt_tensor *, n->n_in);
    gopt_tensor **out = GI_NEW_ARRAY(c->scratch, gopt_tensor *, n->n_out + 1);
    GI_NEED(store && in && out);
    for (uint32_t i = 0; i < n->n_in; i++) {
        gi_value *v = gi_node_in(n, i);
        if (v && !gi_infer_contents(c, v, &store[i]))
            return GOPT_OK;
        in[i] = v ? &store[i] : NULL;
    }
    gopt_ctx *cx = c->g->cx;
    const size_t n_diags = cx->n_diags;
    gi_eval a = { .n = n, .cx = cx, .n_in = n->n_in, .n_out = n->n_out, .in = in, .out = out, .scratch = c->scratch };
    const gopt_status st = gi_eval_node(&a);
    if (st == GOPT_OK)
        for (uint32_t i = 0; i < n->n_out; i++)
            if (out[i] && !c->known[i] && small_int(c->out[i], &count))
                take_contents(c, i, out[i]);
    for (uint32_t i = 0; i < n->n_out; i++)
        gopt_tensor_unref(out[i]);
    cx->n_diags = n_diags;
    return st == GOPT_NO_MEMORY ? st : GOPT_OK;
}

/* ---- one node ---- */

static gopt_status store_known(gi_infer *c, gi_value *v, uint32_t n, const gi_dim *const *found)
{
    if (v->known && v->n_known == n) {
        const gi_dim **best = GI_NEW_ARRAY(c->scratch, const gi_dim *, n + 1);
        GI_NEED(best);
        bool changed = false, clash = false;
        for (uint32_t i = 0; i < n; i++) {
            best[i] = merge_dim(v->known[i], found[i], &clash);
            changed |= best[i] != v->known[i];
        }
        return !changed || gi_value_set_known(v, n, best) ? GOPT_OK : GOPT_NO_MEMORY;
    }
    return gi_value_set_known(v, n, found) ? GOPT_OK : GOPT_NO_MEMORY;
}

static gopt_status store_output(gi_infer *c, uint32_t i)
{
    gi_value *v = c->n->out[i];
    bool clash = false;
    int64_t size;
    for (int k = 0; c->out[i] && c->out[i]->kind == GOPT_TENSOR && k < c->out[i]->rank; k++)
        if (gi_dim_is_const(c->out[i]->dims[k], &size) && size < 0)
            return gi_infer_fail_node(c, "output #%u would have %lld elements in dimension %d", i, (long long)size, k);
    const gi_type *t = gi_type_merge(c->g, v->type, c->out[i], &clash);
    if (clash) {
        char label[64];
        return gi_infer_fail_node(c, "output %s is declared %s, but the operator gives %s",
                                  gi_value_label(v, label, sizeof label), type_text(c->scratch, v->type),
                                  type_text(c->scratch, c->out[i]));
    }
    GI_NEED(t || !(c->out[i] || v->type));
    if (t != v->type)
        gi_value_set_type(v, t);
    if (!c->known[i])
        return GOPT_OK;
    for (uint32_t k = 0; k < c->n_known[i]; k++)
        GI_NEED(c->known[i][k]);
    return store_known(c, v, c->n_known[i], c->known[i]);
}

gopt_status gi_infer_node(gi_node *n, gi_arena *scratch)
{
    const gi_op *row = gi_op_get(n->op);
    gi_infer c = { .g = n->block->graph, .n = n, .scratch = scratch };
    c.out = GI_NEW_ARRAY(scratch, const gi_type *, n->n_out + 1);
    c.known = GI_NEW_ARRAY(scratch, const gi_dim *const *, n->n_out + 1);
    c.n_known = GI_NEW_ARRAY(scratch, uint32_t, n->n_out + 1);
    GI_NEED(c.out && c.known && c.n_known);
    const gi_plugin_op *plugin = gi_plugin_of(n);
    if (n->op == OP_Unknown && !plugin)
        return GOPT_OK;
    if (plugin) {
        GI_TRY(gi_plugin_infer(&c, plugin));
    } else {
        GI_TRY(check_row(&c, row));
        if (row->infer)
            GI_TRY(row->infer(&c));
    }
    if (c.no_memory)
        return GOPT_NO_MEMORY;
    GI_TRY(contents_by_evaluation(&c, row));
    for (uint32_t i = 0; i < n->n_out; i++)
        GI_TRY(store_output(&c, i));
    return c.no_memory ? GOPT_NO_MEMORY : GOPT_OK;
}

/* ---- blocks and graphs ---- */

int gi_block_depth(const gi_block *b)
{
    int depth = 0;
    while (b && b->owner && depth <= GI_MAX_NESTING) {
        b = b->owner->block;
        depth++;
    }
    return depth;
}

gopt_status gi_infer_block(gi_block *b, gi_arena *scratch)
{
    if (gi_block_depth(b) > GI_MAX_NESTING) {
        const gi_place at = gi_node_place(b->owner);
        return gi_fail(b->graph->cx, GOPT_UNSUPPORTED, &at, NULL, "subgraphs lie deeper than %d in each other",
                       GI_MAX_NESTING);
    }
    for (gi_node *n = b->first; n; n = n->next)
        GI_TRY(gi_infer_node(n, scratch));
    return GOPT_OK;
}

gopt_status gi_infer_graph(gopt_graph *g)
{
    gi_arena *scratch = gi_arena_create(g->cx);
    GI_NEED(scratch);
    gopt_status st = GOPT_OK;
    for (gi_node *n = g->main->first; n && st == GOPT_OK; n = n->next) {
        st = gi_infer_node(n, scratch);
        gi_arena_reset(scratch);
    }
    gi_arena_destroy(scratch);
    return st;
}

gi_node *gi_build(gi_block *b, gi_node *before, gi_opcode op, uint32_t n_in, gi_value *const *in)
{
    gi_arena *scratch = gi_arena_create(b->graph->cx);
    gi_node *n = scratch ? gi_node_create(b, before, op, n_in, in, 1) : NULL;
    if (n && gi_infer_node(n, scratch) != GOPT_OK) {
        gi_node_remove(n);
        n = NULL;
    }
    gi_arena_destroy(scratch);
    return n;
}
