/* Rules of the graph: what is there for nothing. */
#include "lint/lint.h"

#include "ops/cost.h"

void gi_lint_unused_input(gi_lint *l)
{
    const gi_block *b = l->g->main;
    for (uint32_t i = 0; i < b->n_params; i++)
        if (!b->params[i]->n_uses)
            gi_lint_find(l, NULL, b->params[i], 0, "no node reads it");
}

void gi_lint_dead_node(gi_lint *l)
{
    const bool *needed = gi_lint_needed(l);
    if (needed && !needed[l->node->id] && !l->node->block->owner)
        gi_lint_find(l, l->node, NULL, gi_lint_flops(l, l->node), "no output needs its results");
}

void gi_lint_input_output(gi_lint *l)
{
    const gi_block *b = l->g->main;
    for (uint32_t i = 0; i < b->n_results; i++) {
        const gi_value *v = b->results[i].value;
        if (v && v->kind != GI_DEF_NODE)
            gi_lint_find(l, NULL, v, 0, "output %.100s is %s as it is", b->result_names[i] ? b->result_names[i] : "?",
                         v->kind == GI_DEF_PARAM ? "this input" : "this weight");
    }
}

/* ---- names ---- */

typedef struct naming {
    gi_lint *l;
    gi_smap first; /* name → node */
    gi_lint_names twice;
    gi_smap told;
} naming;

static bool see_name(void *arg, gi_node *n)
{
    naming *m = arg;
    if (!n->name || !*n->name)
        return true;
    const gi_node *other = gi_smap_get(&m->first, n->name);
    if (!other)
        return gi_smap_put(&m->first, n->name, n);
    /* what import made of one node shares its place in the file */
    if (other->number == n->number || other->block != n->block || gi_smap_get(&m->told, n->name))
        return true;
    return gi_smap_put(&m->told, n->name, n) && gi_push(m->l->scratch, &m->twice, n->name);
}

void gi_lint_same_name(gi_lint *l)
{
    naming m = { .l = l };
    gi_smap_init(&m.first, l->scratch);
    gi_smap_init(&m.told, l->scratch);
    l->failed |= !gi_each_node(l->g->main, see_name, &m);
    if (m.twice.n)
        gi_lint_find(l, NULL, NULL, (int64_t)m.twice.n, "%zu name%s of several nodes: %s", m.twice.n,
                     m.twice.n == 1 ? " is that" : "s are those", gi_lint_list(l, &m.twice));
}

/* ---- nodes that change nothing ---- */

static bool in_order(const gi_node *n)
{
    const int64_t *perm;
    const uint32_t rank = gi_attr_ints(n, Transpose_at_perm, &perm);
    for (uint32_t i = 0; i < rank; i++)
        if (perm[i] != (int64_t)i)
            return false;
    return rank || gi_lint_rank(gi_node_in(n, 0)) == 0 || gi_lint_rank(gi_node_in(n, 0)) == 1;
}

/* An Identity that names an input, a weight or another output is all that an output can be. */
static bool names_output(const gi_node *n)
{
    const gi_value *from = gi_node_in(n, 0);
    return n->out[0]->n_result_uses && from && (from->kind != GI_DEF_NODE || from->n_result_uses);
}

void gi_lint_no_effect(gi_lint *l)
{
    const gi_node *n = l->node;
    const gi_value *from = gi_node_in(n, 0);
    const char *what = NULL;
    const bool *needed = gi_lint_needed(l);
    if (!from || !n->n_out || n->block->owner || names_output(n) || !needed || !needed[n->id])
        return;
    if (n->op == OP_Identity)
        what = "it is its input";
    else if (n->op == OP_Dropout && !gopt_node_is_random(n) && !(n->n_out > 1 && n->out[1]->n_uses))
        what = "outside of training it is its input";
    else if (n->op == OP_Cast && gi_lint_dtype(from) != GOPT_UNDEFINED &&
             gi_attr_int(n, Cast_at_to) == (int64_t)gi_lint_dtype(from))
        what = "its input has that type";
    else if (n->op == OP_Transpose && in_order(n))
        what = "it moves no dim";
    else if (n->op == OP_Concat && n->n_in == 1)
        what = "it joins one tensor";
    if (what)
        gi_lint_find(l, n, NULL, gi_lint_bytes(l, n->out[0]), "%s", what);
}

/* ---- what is known before the run ---- */

typedef struct finding_of_many {
    gi_lint *l;
    const uint8_t *varies;
    bool *sizes; /* by value id: holds nothing but sizes */
    const gi_node *first;
    uint32_t n, shapes;
} finding_of_many;

static bool see_foldable(void *arg, gi_node *n)
{
    finding_of_many *m = arg;
    bool grows = n->op == OP_ConstantOfShape || n->op == OP_Expand || n->op == OP_Tile || n->op == OP_Range ||
                 n->op == OP_EyeLike || n->op == OP_DequantizeLinear; /* meant to be small in the file */
    if (n->block->owner || !n->n_out || grows || m->varies[n->out[0]->id] || n->op == OP_Identity)
        return true;
    if (!m->n++)
        m->first = n;
    return true;
}

void gi_lint_foldable(gi_lint *l)
{
    finding_of_many m = { .l = l, .varies = gi_lint_varies(l) };
    if (!m.varies)
        return;
    gi_each_node(l->g->main, see_foldable, &m);
    if (m.n)
        gi_lint_find(l, m.first, NULL, m.n, "%u node%s constants alone, this the first", m.n,
                     m.n == 1 ? " reads" : "s read");
}

/* Sizes come from Shape and Size and stay small integers: what else they are joined with is constant. */
static bool see_sizes(void *arg, gi_node *n)
{
    finding_of_many *m = arg;
    bool any = n->op == OP_Shape || n->op == OP_Size;
    bool all = !any && n->n_out && n->op != OP_Unknown && !(gi_op_get(n->op)->traits & GI_CONTROL);
    m->shapes += any;
    if (all) {
        for (uint32_t i = 0; i < n->n_in && all; i++) {
            const gi_value *v = n->in[i].value;
            if (!v || v->kind == GI_DEF_CONST)
                continue;
            all = m->sizes[v->id];
            any |= all;
        }
        for (uint32_t i = 0; i < n->n_out && all; i++) {
            const gopt_dtype t = gi_lint_dtype(n->out[i]);
            const int rank = gi_lint_rank(n->out[i]);
            all = rank >= 0 && rank <= 1 && (gi_dtype_is_int(t) || t == GOPT_BOOL || t == GOPT_F32 || t == GOPT_F64);
        }
        any &= all;
    }
    if (!any)
        return true;
    for (uint32_t i = 0; i < n->n_out; i++)
        m->sizes[n->out[i]->id] = true;
    if (!m->n++)
        m->first = n;
    return true;
}

void gi_lint_shape_arithmetic(gi_lint *l)
{
    enum { WORTH_TELLING = 4 };
    finding_of_many m = { .l = l, .sizes = GI_NEW_ARRAY(l->scratch, bool, l->g->n_values + 1u) };
    if (!m.sizes) {
        l->failed = true;
        return;
    }
    gi_each_node(l->g->main, see_sizes, &m);
    if (m.n >= WORTH_TELLING)
        gi_lint_find(l, m.first, NULL, m.n, "%u nodes compute sizes, from %u of Shape and Size on; this the first", m.n,
                     m.shapes);
}

void gi_lint_constant_if(gi_lint *l)
{
    if (l->node->op != OP_If)
        return;
    gi_value *v = gi_node_in(l->node, If_in_cond);
    uint32_t n = 0;
    int64_t known;
    const gi_dim *const *d = v ? gi_value_known(v, &n) : NULL;
    if (d && n == 1 && gi_dim_is_const(d[0], &known))
        gi_lint_find(l, l->node, NULL, 1, "its condition is always %s", known ? "true" : "false");
}
