/* Rules of views: Reshape, Squeeze, Unsqueeze, Flatten keep the elements and their order, so a chain of them is
 * known by the shapes at its two ends. */
#include "passes/layout.h"

enum { MAX_CHAIN = 32 };

/* The target of a Reshape that takes x to y's shape. False where it cannot be written; *unknown says how many dims
 * are known only at run time. */
static bool write_shape(gopt_graph *g, const gi_value *x, const gi_value *y, int64_t *target, int *unknown)
{
    *unknown = 0;
    if (gi_value_rank(y) < 0)
        return false;
    const int rank = gi_value_rank(x) < 0 ? 0 : gi_value_rank(x);
    *unknown = gi_reshape_target(g, rank, rank ? x->type->dims : NULL, gi_value_rank(y), y->type->dims, target);
    return *unknown >= 0 && *unknown <= 1;
}

/* "its target [b,16,h,w] leaves 2 dims open, h and w" */
static const char *open_dims(const gi_match *m, const int64_t *target)
{
    const gi_type *t = m->root->out[0]->type;
    gi_str whole, open;
    int n = 0, left = 0;
    gi_str_init(&whole, m->scratch);
    gi_str_init(&open, m->scratch);
    for (int i = 0; i < t->rank; i++)
        left += target[i] < 0;
    for (int i = 0; i < t->rank; i++) {
        gi_str *const to[] = { &whole, target[i] < 0 ? &open : NULL };
        gi_str_add(&whole, i ? "," : "[");
        if (to[1])
            gi_str_add(&open, !n++ ? "" : n == left ? " and " : ", ");
        for (int k = 0; k < 2 && to[k]; k++) {
            if (gi_dim_is_unknown(t->dims[i]))
                gi_str_add(to[k], k ? "one known only at run time" : "?");
            else
                gi_dim_print(to[k], t->dims[i]);
        }
    }
    const char *s = gi_arena_printf(m->scratch, "its target %s] leaves %d dims open, %s", whole.p ? whole.p : "[", left,
                                    open.p ? open.p : "");
    return s ? s : "its target leaves several dims open";
}

static bool target_can_be_written(const gi_match *m, gi_reason *why)
{
    int64_t target[GOPT_MAX_RANK];
    int unknown;
    if (gi_value_blob(m->s))
        return false;
    if (write_shape(m->g, m->x, m->root->out[0], target, &unknown))
        return true;
    return unknown > 1 && gi_decline(why, "%s: one -1 can stand for one of them alone", open_dims(m, target));
}

static gi_value *reshape(gi_rewrite *r, gi_value *x, const gi_value *y)
{
    int64_t target[GOPT_MAX_RANK];
    int unknown;
    if (!write_shape(r->g, x, y, target, &unknown))
        return NULL;
    gi_value *s = gi_const_i64(r->g, 1, gi_value_rank(y), target);
    return s ? gi_rw_build(r, OP_Reshape, 2, (gi_value *[]){ x, s }) : NULL;
}

static gi_value *write_target(gi_rewrite *r, const gi_match *m)
{
    return reshape(r, m->x, m->root->out[0]);
}

/* The nearest value up the chain that has the root's type; NULL where there is none. */
static gi_value *find_origin(const gi_match *m)
{
    gi_value *v = m->x;
    for (int i = 0; i < MAX_CHAIN && v; i++) {
        if (gi_type_same(m->g, v->type, m->root->out[0]->type))
            return v;
        const gi_node *n = gi_value_node(v);
        if (!gi_is_view(n) || n->block != m->root->block)
            break;
        v = gi_node_in(n, 0);
    }
    return NULL;
}

static bool returns_where_it_began(const gi_match *m, gi_reason *why)
{
    (void)why;
    return find_origin(m) != NULL;
}

static gi_value *make_origin(gi_rewrite *r, const gi_match *m)
{
    (void)r;
    return find_origin(m);
}

/* ---- chains of moves ---- */

/* The chain that ends in the root, from there upwards: what lies between is read by the chain alone. */
static uint32_t find_chain(const gi_match *m, gi_node **chain)
{
    uint32_t n = 0;
    for (gi_node *at = m->root; n < MAX_CHAIN; at = gi_value_node(gi_node_in(at, 0))) {
        if (!at || at->block != m->root->block || (!gi_is_view(at) && at->op != OP_Transpose) ||
            (n && at->out[0]->n_uses != 1))
            break;
        chain[n++] = at;
    }
    return n;
}

/* What the first n of the chain do. A view that another view follows does not count: only the last shape does. */
static bool read_chain(gopt_graph *g, gi_node *const *chain, uint32_t n, gi_layout *l)
{
    int64_t perm[GOPT_MAX_RANK];
    int rank;
    const gi_value *x = gi_node_in(chain[n - 1], 0);
    if (!x || !gi_layout_begin(l, g, x->type))
        return false;
    for (uint32_t i = n; i-- > 0;) {
        if (chain[i]->op == OP_Transpose) {
            if (!gi_transpose_perm(chain[i], perm, &rank) || !gi_layout_permute(l, perm, rank))
                return false;
        } else if ((i == 0 || chain[i - 1]->op == OP_Transpose) && !gi_layout_view(l, chain[i]->out[0]->type)) {
            return false;
        }
    }
    return true;
}

/* Are the first n of the chain views alone? Then their shapes need not have common factors. */
static bool are_views(gi_node *const *chain, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++)
        if (chain[i]->op == OP_Transpose)
            return false;
    return true;
}

/* How much of the chain, from its end, has a shorter form; 0 where nothing has. */
static uint32_t shorten(const gi_match *m, gi_node **chain, gi_layout *l, int *unknown)
{
    int64_t target[GOPT_MAX_RANK];
    *unknown = 0;
    for (uint32_t n = find_chain(m, chain); n > 1; n--) {
        const gi_value *x = gi_node_in(chain[n - 1], 0);
        if (are_views(chain, n)) {
            if (x && gi_value_rank(x) >= 0 && write_shape(m->g, x, m->root->out[0], target, unknown))
                return n;
            continue;
        }
        if (!read_chain(m->g, chain, n, l))
            continue;
        const int cost = gi_layout_cost(l);
        if (cost >= 0 && cost < (int)n)
            return n;
    }
    return 0;
}

static bool chain_is_longer_than_need_be(const gi_match *m, gi_reason *why)
{
    gi_node *chain[MAX_CHAIN];
    gi_layout l;
    int unknown;
    return shorten(m, chain, &l, &unknown) != 0 ||
           (unknown > 1 &&
            gi_decline(why, "the merged target would have %d dims that are known only at run time", unknown));
}

static gi_value *make_shortest_chain(gi_rewrite *r, const gi_match *m)
{
    gi_node *chain[MAX_CHAIN];
    gi_layout l;
    int unknown;
    const uint32_t n = shorten(m, chain, &l, &unknown);
    if (!n)
        return NULL;
    gi_value *x = gi_node_in(chain[n - 1], 0);
    gi_value *y = are_views(chain, n) ? reshape(r, x, m->root->out[0]) : gi_layout_build(r, &l, x);
    for (size_t i = 0; y && i < r->made.n; i++)
        for (uint32_t k = n; k-- > 1;)
            if (!gi_node_merge_origins(r->made.p[i], chain[k]))
                return NULL;
    return y;
}

/* The dims that are not 1 stay in their order: then so do the elements. A permutation that is in order altogether
 * is another rule's. */
static bool moves_only_ones(const gi_match *m, gi_reason *why)
{
    (void)why;
    int64_t target[GOPT_MAX_RANK], last = -1;
    const int64_t *perm;
    int unknown;
    bool moves = false;
    const uint32_t n = gi_attr_ints(m->root, Transpose_at_perm, &perm);
    if (!n || (int)n != gi_value_rank(m->x))
        return false;
    for (uint32_t i = 0; i < n; i++) {
        if (perm[i] < 0 || perm[i] >= (int64_t)n)
            return false;
        moves = moves || perm[i] != (int64_t)i;
        if (gi_value_dim(m->x, (int)perm[i]) == 1)
            continue;
        if (perm[i] < last)
            return false;
        last = perm[i];
    }
    return moves && write_shape(m->g, m->x, m->root->out[0], target, &unknown);
}

#include "passes/rows.h"
#include "passes/rules/view.def"
