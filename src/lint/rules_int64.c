/* int64 where int32 would do: intervals of values, from what is known before the run.
 *
 *   Cast(bool) ─ CumSum …          unknown: sums may grow
 *   ArgMax over 1,000 classes      0 … 999
 *   Gather(table i64, …)           what the table holds
 *   a graph input that only Gathers read as indices: those must lie in the table, or the model fails
 *
 * Sizes of tensors are taken to fit in int32: no runtime has a tensor of more. One forward walk; what a nested graph
 * gets as parameters is not known. */
#include "lint/lint.h"

typedef struct range {
    int64_t lo, hi; /* lo > hi: not known */
} range;

static const range unknown = { 1, 0 };
static const range sizes = { INT32_MIN, INT32_MAX };

typedef struct ranging {
    gi_lint *l;
    range *of; /* by value id */
    gi_lint_names proven, open;
    int64_t bytes, values;
} ranging;

static bool is_known(range r)
{
    return r.lo <= r.hi;
}

static bool fits(range r)
{
    return is_known(r) && r.lo >= INT32_MIN && r.hi <= INT32_MAX;
}

static range join(range a, range b)
{
    return is_known(a) && is_known(b) ? (range){ gi_min_i64(a.lo, b.lo), gi_max_i64(a.hi, b.hi) } : unknown;
}

static range of_value(const ranging *m, const gi_value *v)
{
    return v ? m->of[v->id] : unknown;
}

/* Constants of other integer types: Where and Cast take them. */
static range of_blob(const gi_blob *b)
{
    const int64_t n = gi_blob_elements(b);
    range r = unknown;
    if (!n || !(gi_dtype_is_int(b->dtype) || b->dtype == GOPT_BOOL) || b->dtype == GOPT_U64)
        return r;
    for (int64_t i = 0; i < n; i++) {
        const int64_t x = gi_load_i64(b->dtype, b->data, (size_t)i);
        r = i ? (range){ gi_min_i64(r.lo, x), gi_max_i64(r.hi, x) } : (range){ x, x };
    }
    return r;
}

static range of_dtype(gopt_dtype t)
{
    switch (t) {
    case GOPT_BOOL:
        return (range){ 0, 1 };
    case GOPT_I8:
        return (range){ INT8_MIN, INT8_MAX };
    case GOPT_U8:
        return (range){ 0, UINT8_MAX };
    case GOPT_I16:
        return (range){ INT16_MIN, INT16_MAX };
    case GOPT_U16:
        return (range){ 0, UINT16_MAX };
    case GOPT_I32:
        return (range){ INT32_MIN, INT32_MAX };
    default:
        return unknown;
    }
}

static range arithmetic(gi_opcode op, range a, range b)
{
    int64_t x[4];
    if (!is_known(a) || !is_known(b))
        return unknown;
    const bool ok = op == OP_Add ? gi_add_i64(a.lo, b.lo, &x[0]) && gi_add_i64(a.hi, b.hi, &x[1])
                    : op == OP_Sub
                        ? !__builtin_sub_overflow(a.lo, b.hi, &x[0]) && !__builtin_sub_overflow(a.hi, b.lo, &x[1])
                        : gi_mul_i64(a.lo, b.lo, &x[0]) && gi_mul_i64(a.hi, b.hi, &x[1]) &&
                              gi_mul_i64(a.lo, b.hi, &x[2]) && gi_mul_i64(a.hi, b.lo, &x[3]);
    if (!ok)
        return unknown;
    range r = { gi_min_i64(x[0], x[1]), gi_max_i64(x[0], x[1]) };
    if (op == OP_Mul)
        r = join(r, (range){ gi_min_i64(x[2], x[3]), gi_max_i64(x[2], x[3]) });
    return r;
}

static range of_all(const ranging *m, const gi_node *n, uint32_t from, uint32_t to)
{
    range r = unknown;
    for (uint32_t i = from; i < to && i < n->n_in; i++) {
        const range one = of_value(m, n->in[i].value);
        r = i == from ? one : join(r, one);
    }
    return r;
}

static range clipped(const ranging *m, const gi_node *n)
{
    range r = of_value(m, gi_node_in(n, Clip_in_input));
    const range lo = of_value(m, gi_node_in(n, Clip_in_min)), hi = of_value(m, gi_node_in(n, Clip_in_max));
    if (is_known(lo) && is_known(hi))
        return join(lo, hi);
    if (is_known(r) && is_known(lo))
        r.lo = gi_max_i64(r.lo, lo.lo);
    return r;
}

static range of_node(const ranging *m, const gi_node *n, uint32_t out)
{
    const range first = n->n_in ? of_value(m, n->in[0].value) : unknown;
    switch (n->op) {
    case OP_Shape:
    case OP_Size:
    case OP_ArgMax:
    case OP_ArgMin:
    case OP_NonZero:
    case OP_NonMaxSuppression:
        return sizes;
    case OP_TopK:
        return out == TopK_out_Indices ? sizes : first;
    case OP_Unique:
        return out ? sizes : first;
    case OP_MaxPool:
        return out == MaxPool_out_Indices ? sizes : first;
    case OP_Cast:
        return is_known(first) && fits(first) ? first : of_dtype(gi_lint_dtype(gi_node_in(n, 0)));
    case OP_Add:
    case OP_Sub:
    case OP_Mul:
        return arithmetic(n->op, first, of_value(m, gi_node_in(n, 1)));
    case OP_Div: {
        const range by = of_value(m, gi_node_in(n, 1));
        return is_known(first) && is_known(by) && by.lo >= 1
                   ? (range){ gi_min_i64(first.lo, 0), gi_max_i64(first.hi, 0) }
                   : unknown;
    }
    case OP_Mod: {
        const range by = of_value(m, gi_node_in(n, 1));
        return is_known(by) && by.lo >= 1 ? (range){ -by.hi, by.hi } : unknown;
    }
    case OP_Where:
        return of_all(m, n, 1, 3);
    case OP_Min:
    case OP_Max:
    case OP_Concat:
        return of_all(m, n, 0, n->n_in);
    case OP_Clip:
        return clipped(m, n);
    case OP_Gather: /* movement: what the data holds */
    default:
        return gi_op_get(n->op)->traits & (GI_MOVEMENT | GI_VIEW) && n->op != OP_Pad && n->op != OP_ScatterND ? first
                                                                                                              : unknown;
    }
}

/* Do nodes read it as positions alone, which must lie in what they index? (And for its shape, which is none of its
 * values.) */
static bool is_index(const gi_value *v)
{
    for (const gi_use *u = v->uses; u; u = u->next) {
        const gi_opcode op = u->node ? u->node->op : OP_Unknown;
        if (op == OP_Shape || op == OP_Size)
            continue;
        if (!(u->index == 1 && (op == OP_Gather || op == OP_GatherElements || op == OP_GatherND || op == OP_ScatterND ||
                                op == OP_ScatterElements)))
            return false;
    }
    return v->n_uses > 0;
}

static void judge(ranging *m, gi_value *v, bool count)
{
    if (gi_lint_dtype(v) != GOPT_I64)
        return;
    const int rank = gi_lint_rank(v);
    if (!count || rank == 0 || rank == 1) /* sizes, axes and lists of them: nobody minds */
        if (v->kind != GI_DEF_PARAM)
            return;
    const bool ok = fits(m->of[v->id]);
    m->values++;
    m->bytes += ok ? gi_lint_bytes(m->l, v) / 2 : 0;
    m->l->failed |= !gi_push(m->l->scratch, ok ? &m->proven : &m->open, gi_lint_name(m->l, v));
}

static bool range_node(void *arg, gi_node *n)
{
    ranging *m = arg;
    for (uint32_t i = 0; i < n->n_out; i++) {
        uint32_t k = 0;
        gi_value *v = n->out[i];
        range r = of_node(m, n, i);
        const gopt_dtype t = gi_lint_dtype(v);
        if (t == GOPT_I64 && !fits(r) && gi_value_known(v, &k) && k)
            r = sizes; /* computed from sizes */
        m->of[v->id] = t == GOPT_I64 ? r : n->op == OP_Cast || is_known(r) ? join(r, r) : of_dtype(t);
        judge(m, v, !n->block->owner);
    }
    return !m->l->failed;
}

void gi_lint_int64(gi_lint *l)
{
    enum { WORTH_TELLING = 4096 };
    ranging m = { .l = l, .of = GI_NEW_ARRAY(l->scratch, range, l->g->n_values + 1u) };
    if (!m.of) {
        l->failed = true;
        return;
    }
    for (uint32_t i = 0; i <= l->g->n_values; i++)
        m.of[i] = unknown;
    for (size_t i = 0; i < l->g->consts.n; i++) {
        const gi_value *v = l->g->consts.p[i];
        if (gi_value_blob(v) && v->n_uses)
            m.of[v->id] = of_blob(gi_value_blob(v));
    }
    for (size_t i = 0; i < l->weights.n; i++)
        if (l->weights.p[i].b->dtype == GOPT_I64 && l->weights.p[i].b->bytes >= WORTH_TELLING) {
            const gi_value *v = l->weights.p[i].v;
            const bool ok = fits(m.of[v->id]);
            m.bytes += ok ? (int64_t)l->weights.p[i].b->bytes / 2 : 0;
            m.values++;
            l->failed |= !gi_push(l->scratch, ok ? &m.proven : &m.open, gi_lint_name(l, v));
        }
    for (uint32_t i = 0; i < l->g->main->n_params; i++) {
        gi_value *v = l->g->main->params[i];
        m.of[v->id] = gi_lint_dtype(v) == GOPT_I64 ? is_index(v) ? sizes : unknown : of_dtype(gi_lint_dtype(v));
        judge(&m, v, true);
    }
    gi_each_node(l->g->main, range_node, &m);
    if (!m.proven.n)
        return;
    if (m.open.n)
        gi_lint_find(l, NULL, NULL, m.bytes, "%zu of %lld int64 tensors fit in int32 (%s); not proven of %s",
                     m.proven.n, (long long)m.values, gi_lint_list(l, &m.proven), gi_lint_list(l, &m.open));
    else
        gi_lint_find(l, NULL, NULL, m.bytes, "all %zu int64 tensors fit in int32 (%s)", m.proven.n,
                     gi_lint_list(l, &m.proven));
}

/* Bounds of Slice are cut to the tensor's size by definition, and so mean the same when narrowed; also where they are
 * put together first. A Loop runs as often as its condition says, and there
 * are no more boxes than there are. */
static bool only_bounds(const gi_value *v, int depth, int *budget)
{
    enum { DEEP = 6 };
    for (const gi_use *u = v->uses; u; u = u->next) {
        const gi_node *n = u->node;
        const gi_opcode op = n ? n->op : OP_Unknown;
        if ((op == OP_Slice && (u->index == Slice_in_starts || u->index == Slice_in_ends)) ||
            (op == OP_Loop && u->index == Loop_in_M) ||
            (op == OP_NonMaxSuppression && u->index == NonMaxSuppression_in_max_output_boxes_per_class))
            continue;
        const bool moves =
            n && (gi_op_get(op)->traits & (GI_MOVEMENT | GI_VIEW)) && n->n_out == 1 && depth < DEEP && --*budget > 0;
        if (!moves || n->out[0]->n_result_uses || !only_bounds(n->out[0], depth + 1, budget))
            return false;
    }
    return true;
}

void gi_lint_int64_range(gi_lint *l)
{
    const gi_lint_weight *w = l->weight;
    uint32_t at;
    int budget = 1000; /* nodes behind it that are looked at */
    if (w->b->dtype == GOPT_I64 && w->n && (w->min < INT32_MIN || w->max > INT32_MAX) && !only_bounds(w->v, 0, &budget))
        gi_lint_find(l, gi_lint_reader(w->v, &at), w->v, 0, "its values reach from %lld to %lld", (long long)w->min,
                     (long long)w->max);
}
