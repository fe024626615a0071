/* Rules of shapes and of layout. */
#include "lint/lint.h"

static bool is_static(const gi_type *t)
{
    return gi_type_is_static(t);
}

/* ---- shapes ---- */

void gi_lint_unnamed_dim(gi_lint *l)
{
    for (uint32_t i = 0; i < l->g->main->n_params; i++) {
        const gi_value *v = l->g->main->params[i];
        const int rank = gi_lint_rank(v);
        if (rank < 0) {
            if (v->type && v->type->kind == GOPT_TENSOR)
                gi_lint_find(l, NULL, v, 0, "its rank is not declared");
            continue;
        }
        gi_str s;
        gi_str_init(&s, l->scratch);
        for (int k = 0; k < rank; k++)
            if (gi_dim_is_unknown(v->type->dims[k]))
                gi_str_addf(&s, "%s%d", s.n ? ", " : "", k);
        l->failed |= s.failed;
        if (s.n)
            gi_lint_find(l, NULL, v, 0, "dim%s %s ha%s no size and no name", strchr(s.p, ',') ? "s" : "", s.p,
                         strchr(s.p, ',') ? "ve" : "s");
    }
}

void gi_lint_fixed_reshape(gi_lint *l)
{
    const gi_node *n = l->node;
    if (n->op != OP_Reshape)
        return;
    const gi_value *from = gi_node_in(n, Reshape_in_data);
    const gi_blob *to = gi_value_blob(gi_node_in(n, Reshape_in_shape));
    if (!to || to->dtype != GOPT_I64 || !from->type || from->type->kind != GOPT_TENSOR || from->type->rank < 0 ||
        is_static(from->type))
        return;
    const int64_t count = gi_blob_elements(to), *dims = to->data;
    for (int64_t i = 0; i < count; i++)
        if (dims[i] <= 0)
            return;
    gi_str s;
    gi_str_init(&s, l->scratch);
    gi_type_print(&s, from->type);
    l->failed |= s.failed;
    for (int i = 0; i < from->type->rank; i++)
        if (gi_dim_is_unknown(from->type->dims[i]))
            return; /* it may well have that size: nobody says */
    if (s.p)
        gi_lint_find(l, n, NULL, 0, "it makes %lld fixed dims of %.200s", (long long)count, s.p);
}

void gi_lint_data_shape(gi_lint *l)
{
    const gi_node *n = l->node;
    const uint8_t *varies = gi_lint_varies(l);
    if (!varies || !(gi_op_get(n->op)->traits & GI_DATA_SHAPE) || !n->n_out || gi_lint_rank(n->out[0]) < 0)
        return;
    bool by_values = false;
    for (uint32_t i = 0; i < n->n_in && !by_values; i++)
        by_values = n->in[i].value && varies[n->in[i].value->id] & GI_VARIES_BY_VALUES;
    for (int i = 0; by_values && i < n->out[0]->type->rank; i++) {
        const gi_dim *d = n->out[0]->type->dims[i];
        bool passed_on = !gi_dim_is_unknown(d); /* an input's own unknown size is no fault of this node */
        for (uint32_t k = 0; k < n->n_in; k++)
            for (int r = 0; r < gi_lint_rank(gi_node_in(n, k)); r++)
                passed_on |= n->in[k].value->type->dims[r] == d;
        if (!passed_on) {
            gi_lint_find(l, n, NULL, 0, "the size of its dim %d depends on values", i);
            return;
        }
    }
}

typedef struct ranks {
    const gi_node *first;
    int64_t n;
} ranks;

static bool see_rank(void *arg, gi_node *n)
{
    ranks *m = arg;
    for (uint32_t i = 0; i < n->n_out; i++)
        if (n->out[i]->n_uses && gi_op_get(n->op)->traits != 0 &&
            (!n->out[i]->type || (n->out[i]->type->kind == GOPT_TENSOR && n->out[i]->type->rank < 0))) {
            m->first = m->n++ ? m->first : n;
            return true;
        }
    return true;
}

void gi_lint_unknown_rank(gi_lint *l)
{
    ranks m = { 0 };
    gi_each_node(l->g->main, see_rank, &m);
    if (m.n)
        gi_lint_find(l, m.first, NULL, m.n, "%lld node%s of unknown rank, this the first", (long long)m.n,
                     m.n == 1 ? " has a result" : "s have results");
}

/* ---- layout ---- */

static bool undoes(const gi_node *a, const gi_node *b)
{
    const int64_t *p, *q;
    const uint32_t n = gi_attr_ints(a, Transpose_at_perm, &p), m = gi_attr_ints(b, Transpose_at_perm, &q);
    if (n != m || n < 2)
        return false;
    for (uint32_t i = 0; i < n; i++)
        if (q[i] < 0 || q[i] >= (int64_t)n || p[q[i]] != (int64_t)i)
            return false;
    return true;
}

/* Does the node compute each element from the one in its place, whatever the order? Constants of one element go along. */
static bool minds_no_order(const gi_node *n, const gi_value *along)
{
    const gi_op *row = gi_op_get(n->op);
    if (!(row->traits & GI_ELEMENTWISE) || (row->traits & GI_CONTROL) || n->n_out != 1)
        return false;
    for (uint32_t i = 0; i < n->n_in; i++) {
        const gi_blob *b = gi_value_blob(n->in[i].value);
        if (n->in[i].value && n->in[i].value != along && !(b && gi_blob_elements(b) == 1 && b->rank <= 1))
            return false;
    }
    return true;
}

/* From the later one upwards: a chain of nodes that nothing else reads, up to the one that it undoes. */
void gi_lint_transpose_pair(gi_lint *l)
{
    enum { FAR = 16 };
    const gi_node *n = l->node, *up = n;
    if (n->op != OP_Transpose)
        return;
    for (int step = 0; step < FAR; step++) {
        const gi_value *v = NULL;
        for (uint32_t i = 0; i < up->n_in && !v; i++) /* the one that is no constant */
            v = up->in[i].value && up->in[i].value->kind != GI_DEF_CONST ? up->in[i].value : NULL;
        if (!v || (up != n && !minds_no_order(up, v)))
            return;
        up = gi_value_node(v);
        if (!up || v->n_uses != 1 || up->block != n->block)
            return;
        if (up->op == OP_Transpose) {
            if (undoes(up, n))
                gi_lint_find(l, n, NULL, gi_lint_bytes(l, n->out[0]) * 2, "it undoes %.160s",
                             up->name ? up->name : gi_lint_name(l, up->out[0]));
            return;
        }
    }
}

/* Rows or columns that vectors of 8 waste: of the dims of the product that weights fix. */
static int64_t padded(int64_t n)
{
    return (n + 7) / 8 * 8;
}

void gi_lint_channels(gi_lint *l)
{
    enum { SMALL = 16 }; /* below it the first and last layers: nobody chooses those */
    const gi_node *n = l->node;
    int64_t a = 0, b = 0;
    if (n->op != OP_Conv && n->op != OP_Gemm && n->op != OP_MatMul)
        return;
    const gi_value *w = gi_node_in(n, 1);
    if (!w || w->kind != GI_DEF_CONST || gi_lint_rank(w) < 2)
        return;
    if (n->op == OP_Conv && gi_attr_int(n, Conv_at_group) != 1)
        return;
    const int rank = gi_lint_rank(w);
    if (!gi_type_dim_const(w->type, n->op == OP_Conv ? 0 : rank - 2, &a) ||
        !gi_type_dim_const(w->type, n->op == OP_Conv ? 1 : rank - 1, &b))
        return;
    const bool in = a > SMALL && a % 8, out = b > SMALL && b % 8;
    if (!in && !out)
        return;
    const int64_t flops = gi_lint_flops(l, n);
    const double grown = (double)(in ? padded(a) : a) / (double)a * ((double)(out ? padded(b) : b) / (double)b) - 1;
    gi_lint_find(l, n, NULL, (int64_t)((double)flops * grown + 0.5),
                 "weights of %lld x %lld channels: %lld x %lld is %s%.1f%% more", (long long)a, (long long)b,
                 (long long)(in ? padded(a) : a), (long long)(out ? padded(b) : b), grown < 0.01 ? "but " : "",
                 grown * 100);
}
