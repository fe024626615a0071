/* Makes a static graph of one with free symbols. What computes shapes becomes constants on the way: with the
 * symbols bound, type inference knows the contents of those small tensors. */
#include "backend/specialise.h"

#include "ops/bind.h"
#include "ops/infer.h"

/* A constant for a value whose contents are known to the last element; NULL where they are not. */
static gopt_status known_constant(gi_value *v, gi_value **out)
{
    uint32_t n;
    const gi_dim *const *known = gi_value_known(v, &n);
    int64_t elements, dims[GOPT_MAX_RANK], x;
    *out = NULL;
    if (!known || !v->type || v->type->kind != GOPT_TENSOR || !gi_type_elements(v->type, &elements) ||
        elements != (int64_t)n || !gi_type_static_dims(v->type, dims))
        return GOPT_OK;
    const gi_dclass class = gi_dtype_class(v->type->dtype);
    if (class != GI_SINT && class != GI_UINT && class != GI_BOOLEAN)
        return GOPT_OK;
    for (uint32_t i = 0; i < n; i++)
        if (!known[i] || !gi_dim_is_const(known[i], &x))
            return GOPT_OK;
    gopt_graph *g = v->kind == GI_DEF_NODE ? v->def.node->block->graph : v->def.block->graph;
    gi_blob *b;
    GI_TRY(gi_blob_create(g->cx, v->type->dtype, v->type->rank, dims, &b));
    for (uint32_t i = 0; i < n; i++) {
        (void)gi_dim_is_const(known[i], &x);
        gi_store_i64(b->dtype, b->owned, i, x);
    }
    *out = gi_const(g, b, NULL);
    return *out ? GOPT_OK : GOPT_NO_MEMORY;
}

typedef struct folder {
    gopt_status status;
} folder;

static bool fold(void *arg, gi_node *n)
{
    folder *f = arg;
    const gi_op *op = gi_op_get(n->op);
    if (!(op->traits & GI_PURE) || (op->traits & (GI_CONTROL | GI_RANDOM)) ||
        (n->block->owner && n->block->owner->op == OP_Fusion))
        return true;
    bool unused = true;
    for (uint32_t i = 0; i < n->n_out; i++) {
        gi_value *c = NULL;
        if (n->out[i]->n_uses) {
            f->status = known_constant(n->out[i], &c);
            if (f->status != GOPT_OK)
                return false;
            if (c)
                gi_value_replace_uses(n->out[i], c);
        }
        unused = unused && !n->out[i]->n_uses;
    }
    if (unused)
        gi_node_remove(n);
    return true;
}

static gopt_status fold_known(gopt_graph *g)
{
    folder f = { GOPT_OK };
    return gi_each_node(g->main, fold, &f) ? GOPT_OK : f.status;
}

static gopt_status bind_inputs(gopt_graph *copy, const gopt_tensor *const *inputs)
{
    const uint32_t n = copy->main->n_params;
    gi_shape *shapes = gi_alloc(copy->cx, (n + 1) * sizeof *shapes);
    GI_NEED(shapes);
    for (uint32_t i = 0; i < n; i++) {
        const gopt_tensor *t = inputs[i];
        shapes[i] = (gi_shape){ .dtype = t->dtype, .rank = t->kind == GOPT_TENSOR ? t->rank : -1 };
        for (int k = 0; k < shapes[i].rank; k++)
            shapes[i].dims[k] = t->dims[k];
    }
    const gopt_status st = gi_bind_shapes(copy, shapes, GOPT_BAD_INPUT);
    gi_free(copy->cx, shapes);
    return st;
}

gopt_status gi_specialise_in_place(gopt_graph *g)
{
    GI_TRY(gi_infer_graph(g));
    return fold_known(g);
}

gopt_status gi_specialise(const gopt_graph *g, const gopt_tensor *const *inputs, gopt_graph **out)
{
    gopt_graph *copy;
    GI_TRY(gopt_graph_clone(g, &copy));
    gopt_status st = inputs ? bind_inputs(copy, inputs) : gi_infer_graph(copy);
    if (st == GOPT_OK)
        st = fold_known(copy);
    if (st != GOPT_OK) {
        gopt_graph_destroy(copy);
        return st;
    }
    *out = copy;
    return GOPT_OK;
}
