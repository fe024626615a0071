/* Einsum as what it is for: a Transpose, a sum, a product of elements or of matrices.
 *
 *   bhqd,bhkd->bhqk     Transpose y, MatMul                     batch b h, rows q, columns k, summed over d
 *   ibh,hnd->ibnd       Reshape y (a constant), MatMul, Reshape                rows i b, columns n d, summed over h
 *   i,d->id             Unsqueeze x, Mul
 *
 * Labels that both operands have and the result too are batches, those of one operand rows or columns, the rest is
 * summed over. A MatMul wants them as [batch, rows, summed] and [batch, summed, columns]: which moves that takes is
 * what layout.h finds out, with the moves that make the operands and those that read the result. There are several ways
 * (either operand may be the first, rows may be one dim or lead the batches), the one with the fewest nodes is taken.
 *
 * Every runtime has a fast MatMul, and all other rules know it: so an Einsum becomes one where the graph has no more
 * nodes then. Where it would have more, it stays: a runtime that has Einsum makes the same moves inside of it, and a
 * network is not better for showing them. Whoever lacks Einsum (opsets before 12, a backend without a kernel) gets the
 * parts in any case.
 *
 * A label that stands twice in one operand takes a diagonal, which only Einsum does in one node: that stays. */
#include "passes/rule.h"

#include "ops/einsum.h"
#include "passes/build.h"
#include "passes/layout.h"

enum { MAX_CHAIN = 32, ANY = INT32_MAX };

typedef struct labels {
    int n;
    int of[2 * GOPT_MAX_RANK];
} labels;

static bool holds(const gi_einsum_term *t, int label)
{
    for (int i = 0; i < t->n; i++)
        if (t->label[i] == label)
            return true;
    return false;
}

static int place_of(const gi_einsum_term *t, int label)
{
    int i = 0;
    while (t->label[i] != label)
        i++;
    return i;
}

static void put(labels *l, int label)
{
    l->of[l->n++] = label; /* at most those of two operands, each once */
}

static void put_all(labels *l, const labels *more)
{
    for (int i = 0; i < more->n; i++)
        put(l, more->of[i]);
}

/* The root's equation; NULL where it cannot be read, or an operand walks a diagonal. */
static gi_einsum *read_root(const gi_match *m, gi_reason *why)
{
    int ranks[GI_EINSUM_OPERANDS];
    const gi_node *n = m->root;
    const char *text = gi_attr_str(n, Einsum_at_equation);
    gi_einsum *e = GI_NEW(m->scratch, gi_einsum);
    if (!e || !text || n->n_in > GI_EINSUM_OPERANDS || gi_value_rank(n->out[0]) < 0)
        return NULL;
    for (uint32_t i = 0; i < n->n_in; i++) {
        ranks[i] = gi_value_rank(gi_node_in(n, i));
        if (ranks[i] < 0)
            return NULL;
    }
    if (!gi_einsum_read(text, (int)n->n_in, ranks, e))
        return NULL;
    for (int i = 0; i < e->n_in; i++)
        for (int j = 1; j < e->in[i].n; j++)
            for (int k = 0; k < j; k++)
                if (e->in[i].label[k] == e->in[i].label[j]) {
                    gi_decline(why, "\"%.60s\" takes a diagonal of operand %d, which no other operator does in one",
                               text, i + 1);
                    return NULL;
                }
    return e;
}

/* What Mul, MatMul and ReduceSum all take. */
static bool is_common_type(const gi_value *v)
{
    const gopt_dtype t = gi_value_dtype(v);
    return t == GOPT_F16 || t == GOPT_F32 || t == GOPT_F64 || t == GOPT_I32 || t == GOPT_I64 || t == GOPT_U32 ||
           t == GOPT_U64;
}

static const gi_dim *size_of(const gi_value *v, const gi_einsum_term *t, int label)
{
    return v->type->dims[place_of(t, label)];
}

/* ---- an operand in another order ---- */

typedef struct operand {
    gi_origin o;
    int net; /* nodes that it takes beyond those that are there */
} operand;

/* v, whose dims have these labels, with `want` for dims instead: permuted to the order of `order`, then seen as `want`.
 * Where v has a label not, dims of `want` are 1. False where that cannot be written. */
static bool arrange(gopt_graph *g, gi_value *v, const gi_einsum_term *t, const labels *order, const gi_type *want,
                    operand *o)
{
    int64_t perm[GOPT_MAX_RANK];
    for (int i = 0; i < order->n; i++)
        perm[i] = place_of(t, order->of[i]);
    if (!gi_origin_find(&o->o, g, v) || o->o.count) {
        o->o = (gi_origin){ .x = v };
        if (!gi_layout_begin(&o->o.l, g, v->type))
            return false;
    }
    if (!gi_layout_permute(&o->o.l, perm, order->n) || !gi_layout_view(&o->o.l, want))
        return false;
    const int cost = gi_layout_cost(&o->o.l);
    const bool own = v->n_uses == 1;
    o->net = own && gi_value_blob(v) ? 0 : cost - (own ? (int)o->o.moves : 0);
    return cost >= 0;
}

static gi_value *build_operand(gi_rewrite *r, const operand *o)
{
    return gi_layout_build(r, &o->o.l, o->o.x);
}

/* What the moves l at the root's place cost, with those behind that take them in. -1 less than none is one less. */
static bool cost_behind(gi_layout l, const gi_value *y, int *net)
{
    gi_layout last = l;
    int nodes = 0;
    for (const gi_node *n; nodes < MAX_CHAIN; nodes++, y = n->out[0], last = l) {
        n = gi_value_only_user(y);
        if (!gi_is_move(n) || n->block != gi_value_node(y)->block || !gi_layout_apply(&l, n))
            break;
    }
    const int cost = gi_layout_cost(&last);
    *net = cost - nodes;
    return cost >= 0;
}

/* ---- one operand ---- */

static bool only_moves(const gi_match *m, gi_reason *why)
{
    const gi_einsum *e = read_root(m, why);
    return e && e->out.n == e->in[0].n;
}

static gi_value *make_transpose(gi_rewrite *r, const gi_match *m)
{
    gi_reason why = { .arena = m->scratch };
    int64_t perm[GOPT_MAX_RANK];
    const gi_einsum *e = read_root(m, &why);
    if (!e)
        return NULL;
    for (int i = 0; i < e->out.n; i++)
        perm[i] = place_of(&e->in[0], e->out.label[i]);
    return gi_rw_transpose(r, m->x, e->out.n, perm);
}

typedef struct sum {
    const gi_einsum *e;
    operand x;
    bool before; /* the operand is moved, not the result */
    gi_layout behind;
    int net;
    int n_axes, rank;
    int64_t axes[GOPT_MAX_RANK];
} sum;

/* The axes of those that the result lacks, in the order of `order`. */
static void find_axes(sum *s, const labels *order)
{
    s->n_axes = 0;
    s->rank = order->n;
    for (int i = 0; i < order->n; i++)
        if (!holds(&s->e->out, order->of[i]))
            s->axes[s->n_axes++] = i;
}

/* Summed in the operand's order, then moved; or moved before, where that is cheaper. False where neither can be written. */
static bool plan_sum(const gi_match *m, gi_value *x, sum *s)
{
    const gi_einsum_term *t = &s->e->in[0], *out = &s->e->out;
    labels order = { 0 }, kept = { 0 }, moved = { 0 };
    const gi_dim *dims[GOPT_MAX_RANK];
    int64_t perm[GOPT_MAX_RANK];
    int next = 0;
    for (int i = 0; i < t->n; i++) {
        put(&order, t->label[i]);
        if (holds(out, t->label[i])) {
            put(&kept, t->label[i]);
            dims[kept.n - 1] = x->type->dims[i];
        }
    }
    for (int i = 0; i < t->n; i++) /* the kept ones in the result's order, on the places that they have together */
        put(&moved, holds(out, t->label[i]) ? out->label[next++] : t->label[i]);
    bool in_order = true;
    for (int i = 0; i < kept.n; i++) {
        in_order = in_order && kept.of[i] == out->label[i];
        perm[i] = 0;
        while (kept.of[perm[i]] != out->label[i])
            perm[i]++;
    }
    find_axes(s, &order);
    s->before = false;
    s->net = 0;
    if (in_order)
        return true;
    const gi_type *type = gi_type_tensor(m->g->types, x->type->dtype, kept.n, dims);
    bool possible = type && gi_layout_begin(&s->behind, m->g, type) && gi_layout_permute(&s->behind, perm, kept.n) &&
                    cost_behind(s->behind, m->root->out[0], &s->net);
    for (int i = 0; i < moved.n; i++)
        dims[i] = size_of(x, t, moved.of[i]);
    type = gi_type_tensor(m->g->types, x->type->dtype, moved.n, dims);
    if (type && arrange(m->g, x, t, &moved, type, &s->x) && (!possible || s->x.net < s->net)) {
        possible = s->before = true;
        s->net = s->x.net;
        find_axes(s, &moved);
    }
    return possible;
}

static gi_value *build_sum(gi_rewrite *r, gi_value *x, const sum *s)
{
    gi_value *from = s->before ? build_operand(r, &s->x) : x;
    gi_value *axes = from ? gi_rw_ints(r, (uint32_t)s->n_axes, s->axes) : NULL;
    gi_node *n = axes ? gi_rw_node(r, OP_ReduceSum, 2, (gi_value *[]){ from, axes }, 1) : NULL;
    if (!n)
        return NULL;
    gi_attr_set_int(n, ReduceSum_at_keepdims, 0);
    gi_value *y = gi_rw_done(r, n);
    return y && !s->before && s->behind.g ? gi_layout_build(r, &s->behind, y) : y;
}

static bool sums_one(const gi_match *m, gi_reason *why)
{
    sum s = { .e = read_root(m, why) };
    if (!s.e || s.e->out.n == s.e->in[0].n || !is_common_type(m->x) || !plan_sum(m, m->x, &s))
        return false;
    return s.net <= 0 ||
           gi_decline(why, "its result stands in another order: it would be a ReduceSum and %d more node%s", s.net,
                      s.net == 1 ? "" : "s");
}

static gi_value *make_sum(gi_rewrite *r, const gi_match *m)
{
    gi_reason why = { .arena = m->scratch };
    sum s = { .e = read_root(m, &why) };
    return s.e && plan_sum(m, m->x, &s) ? build_sum(r, m->x, &s) : NULL;
}

/* ---- a product of elements ---- */

typedef struct pair {
    const gi_einsum *e;
    operand in[2];
    int net;
} pair;

static bool sums_nothing(const gi_einsum *e)
{
    for (int i = 0; i < e->n_in; i++)
        for (int j = 0; j < e->in[i].n; j++)
            if (!holds(&e->out, e->in[i].label[j]))
                return false;
    return true;
}

/* Both operands with their dims in the result's order, and 1 for those that they lack, but for leading ones. */
static bool plan_mul(const gi_match *m, pair *p)
{
    p->net = 0;
    for (uint32_t i = 0; i < 2; i++) {
        gi_value *v = gi_node_in(m->root, i);
        const gi_einsum_term *t = &p->e->in[i];
        const gi_dim *dims[GOPT_MAX_RANK], *one = gi_dim_const(m->g->dims, 1);
        labels order = { 0 };
        int rank = 0;
        for (int k = 0; k < p->e->out.n; k++) {
            const int label = p->e->out.label[k];
            if (holds(t, label)) {
                put(&order, label);
                dims[rank++] = size_of(v, t, label);
            } else if (rank) {
                dims[rank++] = one;
            }
        }
        const gi_type *want = one ? gi_type_tensor(m->g->types, v->type->dtype, rank, dims) : NULL;
        if (!want)
            return false;
        bool as_it_is = rank == t->n;
        for (int k = 0; as_it_is && k < rank; k++)
            as_it_is = order.of[k] == t->label[k];
        if (as_it_is)
            p->in[i] = (operand){ .o = { .x = v } };
        else if (!arrange(m->g, v, t, &order, want, &p->in[i]))
            return false;
        p->net += p->in[i].net;
    }
    return true;
}

static gi_value *build_mul(gi_rewrite *r, const pair *p)
{
    gi_value *in[2];
    for (int i = 0; i < 2; i++)
        in[i] = p->in[i].o.l.g ? build_operand(r, &p->in[i]) : p->in[i].o.x;
    return gi_rw_binary(r, OP_Mul, in[0], in[1]);
}

static bool multiplies_elements(const gi_match *m, gi_reason *why)
{
    pair p = { .e = read_root(m, why) };
    if (!p.e || !sums_nothing(p.e) || !is_common_type(m->x) || !plan_mul(m, &p))
        return false;
    return p.net <= 0 || gi_decline(why, "it would be a Mul and %d more node%s, for dims in another order or of 1",
                                    p.net, p.net == 1 ? "" : "s");
}

static gi_value *make_mul(gi_rewrite *r, const gi_match *m)
{
    gi_reason why = { .arena = m->scratch };
    pair p = { .e = read_root(m, &why) };
    return p.e && plan_mul(m, &p) ? build_mul(r, &p) : NULL;
}

/* ---- a product of matrices ---- */

typedef struct product {
    const gi_einsum *e;
    bool swapped; /* the second operand is the left one */
    operand left, right;
    gi_layout behind;
    int net;
} product;

typedef struct roles {
    labels batch, rows, cols, sum;
    int lone; /* a label that one operand has alone, and nobody needs; -1: none */
} roles;

/* Labels by their role, in the result's order; those summed over in the left operand's, or the right one's. */
static roles read_roles(const gi_einsum *e, bool swapped, bool by_right)
{
    const gi_einsum_term *left = &e->in[swapped], *right = &e->in[!swapped];
    const gi_einsum_term *first = by_right ? right : left, *other = by_right ? left : right;
    roles s = { .lone = -1 };
    for (int i = 0; i < e->out.n; i++) {
        const int label = e->out.label[i];
        put(!holds(left, label) ? &s.cols : !holds(right, label) ? &s.rows : &s.batch, label);
    }
    for (int i = 0; i < first->n; i++)
        if (!holds(&e->out, first->label[i])) {
            if (holds(other, first->label[i]))
                put(&s.sum, first->label[i]);
            else
                s.lone = first->label[i];
        }
    for (int i = 0; i < other->n; i++)
        if (!holds(&e->out, other->label[i]) && !holds(first, other->label[i]))
            s.lone = other->label[i];
    return s;
}

/* A shape that is put together label by label. */
typedef struct shape {
    gopt_graph *g;
    int rank;
    const gi_dim *dims[GOPT_MAX_RANK];
    bool bad;
} shape;

static void add_dim(shape *s, const gi_dim *d)
{
    if (s->rank == GOPT_MAX_RANK || !d)
        s->bad = true;
    else
        s->dims[s->rank++] = d;
}

static void add_each(shape *s, const gi_value *v, const gi_einsum_term *t, const labels *l)
{
    for (int i = 0; i < l->n; i++)
        add_dim(s, size_of(v, t, l->of[i]));
}

/* All of them as one dim. */
static void add_joined(shape *s, const gi_value *v, const gi_einsum_term *t, const labels *l)
{
    const gi_dim *d = gi_dim_const(s->g->dims, 1);
    for (int i = 0; d && i < l->n; i++)
        d = gi_dim_mul(s->g->dims, d, size_of(v, t, l->of[i]));
    add_dim(s, d);
}

static const gi_type *type_of(const shape *s, gopt_dtype t)
{
    return s->bad ? NULL : gi_type_tensor(s->g->types, t, s->rank, s->dims);
}

/* One way to write it. `lead`: all rows but the last lead the batches, where the right operand has no dims. */
static bool plan_one(const gi_match *m, product *p, bool by_right, bool lead)
{
    const roles s = read_roles(p->e, p->swapped, by_right);
    gi_value *left = gi_node_in(m->root, p->swapped), *right = gi_node_in(m->root, !p->swapped);
    const gi_einsum_term *tl = &p->e->in[p->swapped], *tr = &p->e->in[!p->swapped];
    const gopt_dtype dtype = gi_value_dtype(left);
    shape a = { .g = m->g }, b = a, y = a;
    labels leading = { 0 }, rows = { 0 }, l = { 0 }, r = { 0 }, out = { 0 };
    for (int i = 0; i < s.rows.n; i++)
        put(lead && i + 1 < s.rows.n ? &leading : &rows, s.rows.of[i]);
    const bool alone = s.batch.n == 0; /* then vectors may stay vectors */
    add_each(&a, left, tl, &leading);
    add_each(&a, left, tl, &s.batch);
    add_each(&b, right, tr, &s.batch);
    add_each(&y, left, tl, &leading);
    add_each(&y, left, tl, &s.batch);
    if (rows.n || !alone) {
        add_joined(&a, left, tl, &rows);
        if (rows.n)
            add_joined(&y, left, tl, &rows);
        else
            add_dim(&y, gi_dim_const(m->g->dims, 1));
    }
    add_joined(&a, left, tl, &s.sum);
    add_joined(&b, right, tr, &s.sum);
    if (s.cols.n || !alone) {
        add_joined(&b, right, tr, &s.cols);
        add_joined(&y, right, tr, &s.cols);
    }
    const labels *const of_left[] = { &leading, &s.batch, &rows, &s.sum },
                        *const of_right[] = { &s.batch, &s.sum, &s.cols },
                        *const of_out[] = { &leading, &s.batch, &rows, &s.cols };
    for (size_t i = 0; i < GI_COUNT(of_left); i++)
        put_all(&l, of_left[i]);
    for (size_t i = 0; i < GI_COUNT(of_right); i++)
        put_all(&r, of_right[i]);
    for (size_t i = 0; i < GI_COUNT(of_out); i++)
        put_all(&out, of_out[i]);
    const gi_type *ta = type_of(&a, dtype), *tb = type_of(&b, dtype), *ty = type_of(&y, dtype);
    if (!ta || !tb || !ty || !arrange(m->g, left, tl, &l, ta, &p->left) || !arrange(m->g, right, tr, &r, tb, &p->right))
        return false;
    shape apart = { .g = m->g };
    int64_t perm[GOPT_MAX_RANK];
    for (int i = 0; i < out.n; i++) {
        const bool of_l = holds(tl, out.of[i]);
        add_dim(&apart, size_of(of_l ? left : right, of_l ? tl : tr, out.of[i]));
        perm[place_of(&p->e->out, out.of[i])] = i;
    }
    int behind;
    const gi_type *parts = type_of(&apart, dtype);
    if (!parts || !gi_layout_begin(&p->behind, m->g, ty) || !gi_layout_view(&p->behind, parts) ||
        !gi_layout_permute(&p->behind, perm, out.n) || !cost_behind(p->behind, m->root->out[0], &behind))
        return false;
    p->net = p->left.net + p->right.net + behind;
    return true;
}

/* Do labels that both have the same sizes, for all values of the symbols? */
static bool sizes_agree(const gi_match *m, const gi_einsum *e)
{
    const gi_value *x = gi_node_in(m->root, 0), *y = gi_node_in(m->root, 1);
    for (int i = 0; i < e->in[0].n; i++)
        if (holds(&e->in[1], e->in[0].label[i]) &&
            gi_dim_equal(m->g->dims, x->type->dims[i], size_of(y, &e->in[1], e->in[0].label[i])) != 1)
            return false;
    return true;
}

/* The cheapest way; false where there is none. */
static bool plan_product(const gi_match *m, product *p)
{
    product one = { .e = p->e };
    p->net = ANY;
    for (int way = 0; way < 8; way++) {
        one.swapped = (way & 4) != 0;
        if (plan_one(m, &one, (way & 1) != 0, (way & 2) == 0) && one.net < p->net)
            *p = one;
    }
    return p->net != ANY;
}

static gi_value *build_product(gi_rewrite *r, const gi_match *m, const product *p)
{
    gi_value *a = build_operand(r, &p->left), *b = a ? build_operand(r, &p->right) : NULL;
    gi_node *n = b ? gi_rw_node(r, OP_MatMul, 2, (gi_value *[]){ a, b }, 1) : NULL;
    if (!n)
        return NULL;
    n->name = m->root->name;
    gi_value *y = gi_rw_done(r, n);
    return y ? gi_layout_build(r, &p->behind, y) : NULL;
}

/* A label by its letter; dims of an ellipsis are "…". */
static const char *letter(const gi_match *m, int label)
{
    if (label >= GI_EINSUM_LETTERS)
        return "…";
    return gi_arena_printf(m->scratch, "%c", label < 26 ? 'a' + label : 'A' + label - 26);
}

/* ---- products of attention ---- */

enum { MAX_STEPS = 8, ATTENTION_OPSET = 23 };

static bool is_step_of_scores(const gi_node *n)
{
    return n && (n->op == OP_Mul || n->op == OP_Div || n->op == OP_Add || n->op == OP_Where);
}

static bool is_any_product(const gi_node *n)
{
    return n && (n->op == OP_MatMul || n->op == OP_Einsum) && n->n_in == 2;
}

static bool is_last_softmax(const gi_node *n)
{
    return n && n->op == OP_Softmax && gi_value_rank(n->out[0]) == 4 &&
           (gi_attr_int(n, Softmax_at_axis) == -1 || gi_attr_int(n, Softmax_at_axis) == 3);
}

/* The Softmax that scores v come to through scales and masks alone; NULL where they do not. */
static const gi_node *softmax_behind(const gi_value *v)
{
    for (int i = 0; i < MAX_STEPS; i++) {
        const gi_node *n = gi_value_only_user(v);
        if (is_last_softmax(n))
            return n;
        if (!is_step_of_scores(n))
            return NULL;
        v = n->out[0];
    }
    return NULL;
}

/* The product that a Softmax comes from through scales and masks alone; NULL where it does not. */
static const gi_node *product_before(const gi_node *softmax)
{
    const gi_value *v = gi_node_in(softmax, 0);
    for (int i = 0; i < MAX_STEPS; i++) {
        const gi_node *n = gi_value_node(v);
        if (!n || v->n_uses != 1 || is_any_product(n))
            return n && v->n_uses == 1 ? n : NULL;
        if (!is_step_of_scores(n))
            return NULL;
        const uint32_t at = n->op == OP_Where ? 1 : 0;
        const gi_node *first = gi_value_node(gi_node_in(n, at));
        v = gi_node_in(n, is_any_product(first) || is_step_of_scores(first) ? at : at + 1);
    }
    return NULL;
}

/* Are an Einsum's operands, but for `weights`, made by moves that nothing else reads? A MatMul has them already. */
static bool takes_moved(const gi_node *n, const gi_value *weights)
{
    for (uint32_t i = 0; n->op == OP_Einsum && i < 2; i++) {
        const gi_value *v = gi_node_in(n, i);
        if (v != weights && (v->n_uses != 1 || !gi_is_move(gi_value_node(v))))
            return false;
    }
    return true;
}

/* Is it one of attention's two products, over batch and heads? Where the opset has Attention, that takes both, and the
 * moves that they need are one with those that take heads apart and put them together. */
static bool is_of_attention(const gi_match *m, const roles *s)
{
    const gi_node *n = gi_value_node(m->x), *softmax = is_last_softmax(n) ? n : NULL;
    if (m->opset < ATTENTION_OPSET || s->batch.n != 2 || s->rows.n != 1 || s->cols.n != 1 || s->sum.n != 1)
        return false;
    n = gi_value_node(m->y);
    softmax = softmax ? softmax : is_last_softmax(n) ? n : softmax_behind(m->root->out[0]);
    const gi_node *second = softmax ? gi_value_only_user(softmax->out[0]) : NULL,
                  *first = softmax ? product_before(softmax) : NULL;
    return first && is_any_product(second) && takes_moved(first, NULL) && takes_moved(second, softmax->out[0]) &&
           (second->op == OP_MatMul || gi_is_move(gi_value_only_user(second->out[0])));
}

static bool is_product(const gi_match *m, gi_reason *why)
{
    product p = { .e = read_root(m, why) };
    if (!p.e || sums_nothing(p.e) || !is_common_type(m->x))
        return false;
    const roles s = read_roles(p.e, false, false);
    if (s.lone >= 0)
        return gi_decline(why, "one operand alone is summed over %s: it would be a ReduceSum before the product",
                          letter(m, s.lone));
    if (!sizes_agree(m, p.e))
        return gi_decline(why, "whether its operands have the same sizes is known only at run time");
    if (!plan_product(m, &p))
        return gi_decline(
            why, "the shapes around a product cannot be written: two of their dims are known only at run time");
    if (p.net <= 0 || is_of_attention(m, &s))
        return true;
    return gi_decline(why, "it would be a MatMul and %d more node%s that move%s its operands or result", p.net,
                      p.net == 1 ? "" : "s", p.net == 1 ? "s" : "");
}

static gi_value *make_product(gi_rewrite *r, const gi_match *m)
{
    gi_reason why = { .arena = m->scratch };
    product p = { .e = read_root(m, &why) };
    return p.e && plan_product(m, &p) ? build_product(r, m, &p) : NULL;
}

/* ---- any, in parts ---- */

/* An equation that is written term by term, with letters for labels as they come. */
typedef struct writer {
    gi_str text;
    int n;
    char letter[GI_EINSUM_LABELS];
    bool bad; /* there are not enough letters */
} writer;

static void write_term(writer *w, const gi_einsum_term *t, const char *before)
{
    static const char all[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ";
    gi_str_add(&w->text, before);
    for (int i = 0; i < t->n; i++) {
        char *c = &w->letter[t->label[i]];
        if (!*c && w->n < GI_EINSUM_LETTERS)
            *c = all[w->n++];
        w->bad = w->bad || !*c;
        gi_str_addn(&w->text, c, 1);
    }
}

/* An Einsum of n operands whose terms are `in`. */
static gi_value *build_einsum(gi_rewrite *r, uint32_t n, gi_value *const *in, const gi_einsum_term *terms,
                              const gi_einsum_term *out)
{
    writer w = { 0 };
    gi_str_init(&w.text, r->scratch);
    for (uint32_t i = 0; i < n; i++)
        write_term(&w, &terms[i], i ? "," : "");
    write_term(&w, out, "->");
    gi_node *e = w.bad || !w.text.p ? NULL : gi_rw_node(r, OP_Einsum, n, in, 1);
    return e && gi_attr_set_str(e, Einsum_at_equation, w.text.p) ? gi_rw_done(r, e) : NULL;
}

/* Labels of operand i that the result or any operand but `a` and `b` has, behind those of `t`. False where they are too
 * many. */
static bool add_needed(const gi_einsum *e, int i, int a, int b, gi_einsum_term *t)
{
    for (int j = 0; j < e->in[i].n; j++) {
        const int label = e->in[i].label[j];
        bool needed = holds(&e->out, label);
        for (int k = 0; k < e->n_in && !needed; k++)
            needed = k != a && k != b && holds(&e->in[k], label);
        if (!needed || holds(t, label))
            continue;
        if (t->n == GOPT_MAX_RANK)
            return false;
        t->label[t->n++] = label;
    }
    return true;
}

/* The first two operands of several as one; or one of two, summed over what it has alone. NULL: neither is called for. */
static gi_value *split_off(gi_rewrite *r, const gi_match *m, const gi_einsum *e, bool *splits)
{
    gi_value *in[GI_EINSUM_OPERANDS];
    gi_einsum_term terms[GI_EINSUM_OPERANDS], made = { 0 };
    *splits = e->n_in > 2;
    if (e->n_in > 2) {
        if (!add_needed(e, 0, 0, 1, &made) || !add_needed(e, 1, 0, 1, &made))
            return NULL;
        in[0] = build_einsum(r, 2, (gi_value *[]){ gi_node_in(m->root, 0), gi_node_in(m->root, 1) }, e->in, &made);
        terms[0] = made;
        for (int i = 2; i < e->n_in; i++) {
            in[i - 1] = gi_node_in(m->root, (uint32_t)i);
            terms[i - 1] = e->in[i];
        }
        return in[0] ? build_einsum(r, (uint32_t)e->n_in - 1, in, terms, &e->out) : NULL;
    }
    for (int i = 0; i < 2; i++) {
        gi_value *x = gi_node_in(m->root, (uint32_t)i);
        made.n = 0;
        in[i] = x;
        terms[i] = e->in[i];
        if (e->n_in == 2 && add_needed(e, i, i, i, &made) && made.n < e->in[i].n) {
            *splits = true;
            in[i] = build_einsum(r, 1, &x, &e->in[i], &made);
            terms[i] = made;
        }
    }
    return *splits && in[0] && in[1] ? build_einsum(r, 2, in, terms, &e->out) : NULL;
}

static bool can_be_parts(const gi_match *m, gi_reason *why)
{
    const gi_einsum *e = read_root(m, why);
    if (!e || !is_common_type(gi_node_in(m->root, 0)) || e->n_in != 2 || sums_nothing(e))
        return e && is_common_type(gi_node_in(m->root, 0));
    const roles s = read_roles(e, false, false);
    product p = { .e = e };
    if (s.lone >= 0)
        return true;
    if (!sizes_agree(m, e))
        return gi_decline(why, "whether its operands have the same sizes is known only at run time");
    return plan_product(m, &p) ||
           gi_decline(why,
                      "the shapes around a product cannot be written: two of their dims are known only at run time");
}

static gi_value *make_parts(gi_rewrite *r, const gi_match *m)
{
    gi_reason why = { .arena = m->scratch };
    gi_match one = *m;
    bool splits;
    const gi_einsum *e = read_root(m, &why);
    if (!e)
        return NULL;
    gi_value *y = split_off(r, m, e, &splits);
    if (splits)
        return y;
    one.x = gi_node_in(m->root, 0);
    if (e->n_in == 1)
        return e->out.n == e->in[0].n ? make_transpose(r, &one) : make_sum(r, &one);
    return sums_nothing(e) ? make_mul(r, m) : make_product(r, m);
}

#include "passes/rows.h"
#include "passes/rules/einsum.def"
