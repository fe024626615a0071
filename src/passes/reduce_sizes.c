/* Making a graph that shows a fault smaller: fewer results, smaller dims. */
#include "ops/move.h"
#include "passes/reduce.h"

/* ---- results ---- */

/* Removes what no result needs, and parameters that nothing reads. */
static void sweep(gopt_graph *g)
{
    for (gi_node *n = g->main->last, *prev; n; n = prev) {
        prev = n->prev;
        bool used = false;
        for (uint32_t i = 0; i < n->n_out; i++)
            used |= n->out[i]->n_uses > 0;
        if (!used && gi_node_is_removable(n))
            gi_node_remove(n);
    }
    for (uint32_t i = g->main->n_params; i-- > 0;)
        if (!g->main->params[i]->n_uses)
            gi_block_remove_param(g->main, i);
}

static bool try_result(gi_reducer *r, uint32_t i)
{
    gopt_graph *g;
    if (!gi_reduce_more(r))
        return false;
    if (gopt_graph_clone(r->best, &g) != GOPT_OK) {
        r->status = GOPT_NO_MEMORY;
        return false;
    }
    gi_value *v = g->main->results[i].value;
    const char *name = g->main->result_names[i];
    if (!gi_block_set_results(g->main, 1, &v, &name)) {
        r->status = GOPT_NO_MEMORY;
        gopt_graph_destroy(g);
        return false;
    }
    sweep(g);
    return gi_reduce_try(r, g);
}

void gi_reduce_results(gi_reducer *r)
{
    const uint32_t n = r->best->main->n_results;
    for (uint32_t i = 0; n > 1 && i < n; i++)
        if (try_result(r, i))
            return;
}

/* ---- dims ---- */

enum { MOST_SIZES = 12 };

typedef struct sizes {
    gi_reducer *r;
    int64_t p[MOST_SIZES]; /* from the largest */
    size_t n;
} sizes;

static void add_size(sizes *s, int64_t v)
{
    size_t at = 0;
    if (v < 3)
        return;
    while (at < s->n && s->p[at] > v)
        at++;
    if (at == MOST_SIZES || (at < s->n && s->p[at] == v))
        return;
    s->n = s->n < MOST_SIZES ? s->n + 1 : MOST_SIZES;
    memmove(s->p + at + 1, s->p + at, (s->n - at - 1) * sizeof *s->p);
    s->p[at] = v;
}

static void add_type(sizes *s, const gi_type *t)
{
    int64_t v;
    for (int i = 0; t && t->kind == GOPT_TENSOR && i < t->rank; i++)
        if (gi_dim_is_const(t->dims[i], &v))
            add_size(s, v);
}

static bool add_node(void *arg, gi_node *n)
{
    for (uint32_t i = 0; i < n->n_in; i++)
        if (gi_value_blob(n->in[i].value))
            add_type(arg, n->in[i].value->type);
    return true;
}

typedef struct change {
    gi_reducer *r;
    gopt_graph *g;
    gi_map made; /* constant by id + 1 -> the one in its place */
    int64_t from, to;
    bool failed;
} change;

static const gi_type *smaller_type(const change *c, const gi_type *t)
{
    const gi_dim *dims[GOPT_MAX_RANK];
    if (!t || t->kind != GOPT_TENSOR || t->rank < 0)
        return t;
    for (int i = 0; i < t->rank; i++)
        dims[i] = gi_dim_is(t->dims[i], c->from) ? gi_dim_const(c->g->dims, c->to) : t->dims[i];
    return gi_type_tensor(c->g->types, t->dtype, t->rank, dims);
}

/* The leading elements of every dim of that size; and where it holds sizes, those that are this one. */
static gi_value *smaller_constant(change *c, const gi_value *v)
{
    const gi_blob *b = v->def.blob;
    int64_t dims[GOPT_MAX_RANK], from[GOPT_MAX_RANK], to[GOPT_MAX_RANK];
    const size_t item = (size_t)gopt_dtype_bits(b->dtype) / 8;
    gi_blob *small;
    if (!item || b->dtype == GOPT_STRING)
        return NULL;
    for (int i = 0; i < b->rank; i++)
        dims[i] = b->dims[i] == c->from ? c->to : b->dims[i];
    if (gi_blob_create(c->g->cx, b->dtype, b->rank, dims, &small) != GOPT_OK)
        return NULL;
    gi_strides(b->rank, b->dims, from);
    gi_strides(b->rank, dims, to);
    if (gi_blob_elements(small))
        gi_move_nd(b->rank, dims, small->owned, to, b->data, from, item);
    const int64_t n = gi_blob_elements(small);
    for (int64_t i = 0; gi_dtype_is_int(b->dtype) && b->rank <= 1 && n <= GOPT_MAX_RANK && i < n; i++)
        if (gi_load_i64(b->dtype, small->data, (size_t)i) == c->from)
            gi_store_i64(b->dtype, small->owned, (size_t)i, c->to);
    return gi_const(c->g, small, v->name);
}

static bool change_node(void *arg, gi_node *n)
{
    change *c = arg;
    for (uint32_t i = 0; i < n->n_in; i++) {
        gi_value *v = n->in[i].value;
        if (!gi_value_blob(v))
            continue;
        gi_value *made = gi_map_get(&c->made, (uint64_t)v->id + 1);
        if (!made) {
            made = smaller_constant(c, v);
            c->failed |= !made || !gi_map_put(&c->made, (uint64_t)v->id + 1, made);
        }
        if (made)
            gi_node_set_in(n, i, made);
    }
    for (uint32_t i = 0; i < n->n_out; i++)
        gi_value_set_type(n->out[i], NULL);
    return true;
}

static bool try_size(gi_reducer *r, int64_t from, int64_t to)
{
    change c = { .r = r, .from = from, .to = to };
    if (!gi_reduce_more(r))
        return false;
    /* Cut out whole: unlike a clone, nothing is known of contents. */
    bool *all = GI_NEW_ARRAY(r->arena, bool, r->best->next_node + 1);
    if (all)
        memset(all, true, r->best->next_node);
    if (!all || gi_graph_cut(r->best, r->best->main, all, &c.g) != GOPT_OK) {
        r->status = GOPT_NO_MEMORY;
        return false;
    }
    gi_map_init(&c.made, r->arena);
    for (uint32_t i = 0; i < c.g->main->n_params; i++) {
        const gi_type *t = smaller_type(&c, c.g->main->params[i]->type);
        c.failed |= !t;
        if (t)
            gi_value_set_type(c.g->main->params[i], t);
    }
    gi_each_node(c.g->main, change_node, &c);
    if (c.failed) {
        gopt_graph_destroy(c.g);
        return false;
    }
    return gi_reduce_try(r, c.g);
}

void gi_reduce_sizes(gi_reducer *r)
{
    static const int64_t wanted[] = { 2, 3, 4, 8 };
    sizes s = { .r = r };
    for (uint32_t i = 0; i < r->best->main->n_params; i++)
        add_type(&s, r->best->main->params[i]->type);
    gi_each_node(r->best->main, add_node, &s);
    for (size_t i = 0; i < s.n; i++)
        for (size_t k = 0; k < GI_COUNT(wanted) && wanted[k] < s.p[i]; k++)
            if (try_size(r, s.p[i], wanted[k]))
                break;
}
