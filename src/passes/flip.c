/* Nodes on operands whose dims stand in another order (flip.h).
 *
 * A node's axes count the dims of one of its operands or results, its whole: of most the first input; of Unsqueeze the
 * result. Other operands have these dims, or some of them in their order. From any one flip that of the whole follows,
 * and from that all others. Dims that the known operand lacks stay where they are in the whole.
 *
 * Views are apart: their operand and result have atoms in common (layout.h), which must not be torn apart. */
#include "passes/flip.h"

#include "ops/move.h"
#include "passes/layout.h"

gi_perm gi_perm_inverse(const gi_perm *p)
{
    gi_perm q = { .rank = p->rank };
    for (int i = 0; i < p->rank; i++)
        q.at[p->at[i]] = (int8_t)i;
    return q;
}

gi_perm gi_perm_then(const gi_perm *p, const gi_perm *q)
{
    gi_perm r = { .rank = q->rank };
    for (int i = 0; i < q->rank; i++)
        r.at[i] = p->at[q->at[i]];
    return r;
}

/* ---- kinds ---- */

typedef enum kind {
    NONE,     /* cannot be flipped */
    SAME,     /* element by element */
    AXIS,     /* along one axis, an attribute */
    CONCAT,   /* the same, of all inputs */
    AXES,     /* axes are an input, or all */
    DROP,     /* the result lacks the axes */
    ADD,      /* the first input lacks them */
    TRAILING, /* normalizes the last dims */
    MATMUL,
    VIEW
} kind;

static bool is_reduction(const gi_node *n)
{
    return n->op == OP_ReduceSum || n->op == OP_ReduceMean || n->op == OP_ReduceMax || n->op == OP_ReduceMin ||
           n->op == OP_ReduceProd || n->op == OP_ReduceL1 || n->op == OP_ReduceL2 || n->op == OP_ReduceLogSum ||
           n->op == OP_ReduceLogSumExp || n->op == OP_ReduceSumSquare;
}

static kind kind_of(const gi_node *n)
{
    if (is_reduction(n))
        return gi_attr_int(n, ReduceSum_at_keepdims) ? AXES : DROP;
    switch (n->op) {
    case OP_Softmax:
    case OP_LogSoftmax:
    case OP_Hardmax:
    case OP_Split:
    case OP_TopK:
        return AXIS;
    case OP_ArgMax:
    case OP_ArgMin:
        return gi_attr_int(n, ArgMax_at_keepdims) ? AXIS : DROP;
    case OP_Gather: {
        const int rank = gi_value_rank(gi_node_in(n, Gather_in_indices));
        return rank == 1 ? AXIS : rank == 0 ? DROP : NONE;
    }
    case OP_Concat:
        return CONCAT;
    case OP_Slice:
    case OP_Pad:
    case OP_CumSum:
        return AXES;
    case OP_Squeeze:
        return DROP;
    case OP_Unsqueeze:
        return ADD;
    case OP_LayerNormalization:
        return TRAILING;
    case OP_MatMul:
        return MATMUL;
    case OP_Reshape:
    case OP_Flatten:
        return VIEW;
    default:
        return gi_op_get(n->op)->traits & GI_ELEMENTWISE ? SAME : NONE;
    }
}

static int axis_attr(const gi_node *n)
{
    switch (n->op) {
    case OP_Softmax:
        return Softmax_at_axis;
    case OP_LogSoftmax:
        return LogSoftmax_at_axis;
    case OP_Hardmax:
        return Hardmax_at_axis;
    case OP_Split:
        return Split_at_axis;
    case OP_TopK:
        return TopK_at_axis;
    case OP_Gather:
        return Gather_at_axis;
    case OP_Concat:
        return Concat_at_axis;
    case OP_LayerNormalization:
        return LayerNormalization_at_axis;
    default:
        return ArgMax_at_axis;
    }
}

/* The input that holds the axes; -1 where an attribute does. */
static int axes_input(const gi_node *n)
{
    switch (n->op) {
    case OP_Slice:
        return Slice_in_axes;
    case OP_Pad:
        return Pad_in_axes;
    case OP_CumSum:
        return CumSum_in_axis;
    case OP_Squeeze:
    case OP_Unsqueeze:
        return Squeeze_in_axes;
    default:
        return is_reduction(n) ? (int)ReduceSum_in_axes : -1;
    }
}

static int whole_rank(const gi_node *n)
{
    return gi_value_rank(n->op == OP_Unsqueeze ? n->out[0] : gi_node_in(n, 0));
}

/* The axes as the node says them, each in 0 … rank - 1; without any, those that it means. False where they are not
 * known. */
static bool read_axes(const gi_node *n, int rank, int *axes, uint32_t *count)
{
    int64_t given[GOPT_MAX_RANK];
    const int in = axes_input(n);
    *count = 0;
    if (in < 0)
        return gi_axis(gi_attr_int(n, axis_attr(n)), rank, &axes[(*count)++]);
    gi_value *a = gi_node_in(n, (uint32_t)in);
    if (a && !gi_value_ints(a, given, GOPT_MAX_RANK, count))
        return false;
    const bool listed = *count > 0;
    if (!a && n->op == OP_Slice) {
        *count = (uint32_t)gi_max_i64(0, gi_value_dim(gi_node_in(n, Slice_in_starts), 0));
        if (!*count || *count > (uint32_t)rank)
            return false;
    } else if (!a && n->op == OP_Squeeze) {
        return false;
    } else if (!*count && !(is_reduction(n) && gi_attr_int(n, ReduceSum_at_noop_with_empty_axes))) {
        *count = (uint32_t)rank;
    }
    for (uint32_t i = 0; i < *count; i++)
        if (!gi_axis(listed ? given[i] : (int64_t)i, rank, &axes[i]))
            return false;
    return true;
}

/* Which dims of the whole a dropping or adding node drops or adds. */
static bool read_dropped(const gi_node *n, kind k, int rank, bool *dropped)
{
    int axes[GOPT_MAX_RANK];
    uint32_t count;
    memset(dropped, 0, GOPT_MAX_RANK * sizeof *dropped);
    if (k != DROP && k != ADD)
        return true;
    if (!read_axes(n, rank, axes, &count))
        return false;
    for (uint32_t i = 0; i < count; i++)
        dropped[axes[i]] = true;
    return true;
}

/* ---- flips of the operands ---- */

/* Of the whole, from that of a value which has all its dims but the dropped ones. */
static bool whole_from(const gi_perm *p, int rank, const bool *dropped, gi_perm *whole)
{
    int8_t kept[GOPT_MAX_RANK];
    int n = 0, next = 0;
    for (int i = 0; i < rank; i++)
        if (!dropped[i])
            kept[n++] = (int8_t)i;
    if (p->rank != n)
        return false;
    whole->rank = rank;
    for (int i = 0; i < rank; i++)
        whole->at[i] = dropped[i] ? (int8_t)i : kept[p->at[next++]];
    return true;
}

/* Of a value without the dropped dims, from that of the whole. */
static gi_perm part_of(const gi_perm *whole, const bool *dropped)
{
    int8_t place[GOPT_MAX_RANK];
    gi_perm p = { .rank = 0 };
    int n = 0;
    for (int i = 0; i < whole->rank; i++)
        place[i] = dropped[i] ? -1 : (int8_t)n++;
    for (int i = 0; i < whole->rank; i++)
        if (!dropped[whole->at[i]])
            p.at[p.rank++] = place[whole->at[i]];
    return p;
}

static const gi_perm stays = { .rank = -1 };

/* A constant that must be turned: not one that others read, unless it is small. */
static bool turns_constant(const gi_value *v, int rank, bool *fits)
{
    enum { SMALL = 4096 };
    const gi_blob *b = gi_value_blob(v);
    if (!b || b->rank == 0 || gi_blob_elements(b) == 1)
        return false;
    *fits = *fits && b->rank <= rank && b->dtype != GOPT_STRING && gopt_dtype_bits(b->dtype) >= 8 &&
            (v->n_uses == 1 || b->bytes <= SMALL);
    return true;
}

static bool has_one_element(const gi_value *v)
{
    int64_t n;
    return v->type && gi_type_elements(v->type, &n) && n == 1;
}

/* Operands that broadcast: all of full rank turn, one number stays. */
static bool flip_operands(gi_flip *f)
{
    bool fits = true;
    for (uint32_t i = 0; i < f->n->n_in; i++) {
        const gi_value *v = gi_node_in(f->n, i);
        f->in[i] = stays;
        if (!v || (f->n->op == OP_CastLike && i == 1) || turns_constant(v, f->whole.rank, &fits) || has_one_element(v))
            continue;
        if (gi_value_blob(v))
            continue;
        if (gi_value_rank(v) != f->whole.rank)
            return false;
        f->in[i] = f->whole;
    }
    return fits;
}

static bool flip_parts(gi_flip *f)
{
    bool fits = true;
    for (uint32_t i = 0; i < f->n->n_in; i++) {
        const gi_value *v = gi_node_in(f->n, i);
        f->in[i] = stays;
        if (!v || gi_value_rank(v) != f->whole.rank)
            return false;
        if (!turns_constant(v, f->whole.rank, &fits))
            f->in[i] = f->whole;
        if (gi_value_blob(v) && f->in[i].rank >= 0)
            return false; /* a constant part of one element: as rare as can be */
    }
    return fits;
}

/* The dims of the last `n` stay in their places. */
static bool fixes_last(const gi_perm *p, int n)
{
    for (int i = p->rank - n; i < p->rank; i++)
        if (i < 0 || p->at[i] != i)
            return false;
    return true;
}

static bool flip_matmul(gi_flip *f)
{
    const gi_value *a = gi_node_in(f->n, 0), *b = gi_node_in(f->n, 1);
    f->in[0] = f->whole;
    f->in[1] = stays;
    if (gi_value_rank(b) == 2 && gi_value_rank(a) > 2)
        return fixes_last(&f->whole, 1);
    f->in[1] = f->whole;
    return gi_value_rank(a) == gi_value_rank(b) && !gi_value_blob(a) && !gi_value_blob(b) && fixes_last(&f->whole, 2);
}

/* Can the operands that are read by position be written in another order? */
static bool lists_turn(const gi_flip *f)
{
    int axes[GOPT_MAX_RANK];
    uint32_t count;
    const gi_node *n = f->n;
    if (!read_axes(n, f->whole.rank, axes, &count))
        return false;
    if (n->op != OP_Pad || gi_node_in(n, Pad_in_axes))
        return true;
    int64_t pads[2 * GOPT_MAX_RANK];
    return gi_value_ints(gi_node_in(n, Pad_in_pads), pads, 2 * GOPT_MAX_RANK, &count) &&
           count == 2 * (uint32_t)f->whole.rank;
}

static bool flip_all(gi_flip *f, kind k)
{
    gi_node *n = f->n;
    bool dropped[GOPT_MAX_RANK];
    if (!read_dropped(n, k, f->whole.rank, dropped))
        return false;
    for (uint32_t i = 0; i < n->n_in; i++)
        f->in[i] = stays;
    for (uint32_t i = 0; i < n->n_out; i++) {
        f->out[i] = k == DROP ? part_of(&f->whole, dropped) : f->whole;
        if (gi_value_rank(n->out[i]) != f->out[i].rank && (i == 0 || n->out[i]->n_uses))
            return false;
    }
    switch (k) {
    case SAME:
        return flip_operands(f);
    case CONCAT:
        return flip_parts(f);
    case MATMUL:
        return flip_matmul(f);
    case TRAILING: {
        int axes[GOPT_MAX_RANK];
        uint32_t count;
        f->in[0] = f->whole;
        for (uint32_t i = 1; i < n->n_out; i++)
            if (n->out[i]->n_uses)
                return false;
        if (!read_axes(n, f->whole.rank, axes, &count))
            return false;
        for (uint32_t i = 1; i < n->n_in; i++) /* scale and bias vary along those dims alone */
            if (gi_node_in(n, i) &&
                (gi_value_rank(gi_node_in(n, i)) < 0 || gi_value_rank(gi_node_in(n, i)) > f->whole.rank - axes[0]))
                return false;
        return fixes_last(&f->whole, f->whole.rank - axes[0]);
    }
    case ADD:
        f->in[0] = part_of(&f->whole, dropped);
        return lists_turn(f);
    default:
        f->in[0] = f->whole;
        f->sums = is_reduction(n) && n->op != OP_ReduceMax && n->op != OP_ReduceMin;
        return lists_turn(f) && (!f->sums || gi_dtype_is_float(gi_value_dtype(n->out[0])));
    }
}

/* ---- views ---- */

/* The dims of one side in the order in which their atoms stand in `order`; each must stand together there. Dims of 1
 * go behind the one before them. */
static bool order_dims(const uint8_t *own, const uint32_t *end, int rank, const uint8_t *order, uint32_t n, gi_perm *p)
{
    bool placed[GOPT_MAX_RANK] = { false };
    p->rank = 0;
    for (int lead = 0; lead < rank && (lead ? end[lead - 1] : 0) == end[lead]; lead++) {
        placed[lead] = true;
        p->at[p->rank++] = (int8_t)lead;
    }
    for (uint32_t k = 0; k < n;) {
        int d = 0;
        while (d < rank && (placed[d] || (d ? end[d - 1] : 0) == end[d] || own[d ? end[d - 1] : 0] != order[k]))
            d++;
        if (d == rank)
            return false;
        for (uint32_t i = d ? end[d - 1] : 0; i < end[d]; i++, k++)
            if (k == n || own[i] != order[k])
                return false;
        do {
            placed[d] = true;
            p->at[p->rank++] = (int8_t)d++;
        } while (d < rank && end[d - 1] == end[d]);
    }
    return p->rank == rank;
}

/* The atoms of one side in the order of its flipped dims. */
static void order_atoms(const uint8_t *own, const uint32_t *end, const gi_perm *p, uint8_t *order)
{
    uint32_t n = 0;
    for (int i = 0; i < p->rank; i++)
        for (uint32_t k = p->at[i] ? end[p->at[i] - 1] : 0; k < end[p->at[i]]; k++)
            order[n++] = own[k];
}

static void permuted_dims(const gi_value *v, const gi_perm *p, const gi_dim **dims)
{
    for (int i = 0; i < p->rank; i++)
        dims[i] = v->type->dims[p->at[i]];
}

static bool view_target(gi_flip *f, int64_t *target)
{
    const gi_dim *from[GOPT_MAX_RANK], *to[GOPT_MAX_RANK];
    permuted_dims(gi_node_in(f->n, 0), &f->in[0], from);
    permuted_dims(f->n->out[0], &f->out[0], to);
    const int unknown = gi_reshape_target(f->n->block->graph, f->in[0].rank, from, f->out[0].rank, to, target);
    return unknown == 0 || unknown == 1;
}

static bool flip_view(gi_flip *f, bool from_in, const gi_perm *p)
{
    gi_layout l;
    uint8_t order[GI_LAYOUT_ATOMS];
    int64_t target[GOPT_MAX_RANK];
    const gi_node *n = f->n;
    if (!gi_layout_begin(&l, n->block->graph, gi_node_in(n, 0)->type) || !gi_layout_view(&l, n->out[0]->type))
        return false;
    for (uint32_t i = 1; i < n->n_in; i++)
        f->in[i] = stays;
    if (from_in) {
        if (p->rank != l.source->rank)
            return false;
        f->in[0] = *p;
        order_atoms(l.from, l.from_end, p, order);
        if (!order_dims(l.to, l.to_end, l.rank, order, l.n, &f->out[0]))
            return false;
    } else {
        if (p->rank != l.rank)
            return false;
        f->out[0] = *p;
        order_atoms(l.to, l.to_end, p, order);
        if (!order_dims(l.from, l.from_end, l.source->rank, order, l.n, &f->in[0]))
            return false;
    }
    f->whole = f->in[0];
    return view_target(f, target);
}

/* ---- planning ---- */

static bool begin(gi_arena *a, gi_node *n, gi_flip *f)
{
    *f =
        (gi_flip){ .n = n, .in = GI_NEW_ARRAY(a, gi_perm, n->n_in + 1), .out = GI_NEW_ARRAY(a, gi_perm, n->n_out + 1) };
    return f->in && f->out && gi_node_in(n, 0);
}

bool gi_flip_from_in(gi_arena *a, gi_node *n, uint32_t slot, const gi_perm *p, gi_flip *f)
{
    bool dropped[GOPT_MAX_RANK];
    const kind k = kind_of(n);
    const int rank = whole_rank(n);
    if (k == NONE || rank < 0 || rank > GOPT_MAX_RANK || !begin(a, n, f))
        return false;
    if (k == VIEW)
        return slot == 0 && flip_view(f, true, p);
    if (k != SAME && k != CONCAT && k != MATMUL && slot != 0)
        return false;
    f->whole = *p;
    if (k == SAME)
        return gi_value_rank(n->out[0]) == p->rank && flip_all(f, k) && f->in[slot].rank >= 0;
    if (!read_dropped(n, k, rank, dropped) || (k == ADD && !whole_from(p, rank, dropped, &f->whole)) ||
        f->whole.rank != rank)
        return false;
    return flip_all(f, k) && f->in[slot].rank >= 0;
}

bool gi_flip_from_out(gi_arena *a, gi_node *n, uint32_t slot, const gi_perm *p, gi_flip *f)
{
    bool dropped[GOPT_MAX_RANK];
    const kind k = kind_of(n);
    const int rank = k == SAME || k == MATMUL ? gi_value_rank(n->out[0]) : whole_rank(n);
    (void)slot;
    if (k == NONE || rank < 0 || rank > GOPT_MAX_RANK || !begin(a, n, f))
        return false;
    if (k == VIEW)
        return flip_view(f, false, p);
    f->whole = *p;
    if (!read_dropped(n, k, rank, dropped) || (k == DROP && !whole_from(p, rank, dropped, &f->whole)) ||
        f->whole.rank != rank)
        return false;
    return flip_all(f, k);
}

/* ---- building ---- */

/* A constant that broadcasts to the whole, turned. */
static gi_value *turn_constant(gopt_graph *g, const gi_blob *b, const gi_perm *whole)
{
    int64_t dims[GOPT_MAX_RANK], strides[GOPT_MAX_RANK], to[GOPT_MAX_RANK], dst[GOPT_MAX_RANK], src[GOPT_MAX_RANK];
    gi_blob *turned;
    const int rank = whole->rank, lead = rank - b->rank;
    for (int i = 0; i < rank; i++)
        dims[i] = i < lead ? 1 : b->dims[i - lead];
    gi_strides(rank, dims, strides);
    for (int i = 0; i < rank; i++) {
        to[i] = dims[whole->at[i]];
        src[i] = strides[whole->at[i]];
    }
    if (gi_blob_create(g->cx, b->dtype, rank, to, &turned) != GOPT_OK)
        return NULL;
    gi_strides(rank, to, dst);
    gi_move_nd(rank, to, turned->owned, dst, b->data, src, gi_move_item(b->dtype));
    return gi_const(g, turned, NULL);
}

static gi_value *turn_axes(gopt_graph *g, const gi_flip *f, int rank_of_list)
{
    int axes[GOPT_MAX_RANK];
    int64_t turned[GOPT_MAX_RANK];
    uint32_t count;
    const gi_perm inverse = gi_perm_inverse(&f->whole);
    if (!read_axes(f->n, f->whole.rank, axes, &count))
        return NULL;
    for (uint32_t i = 0; i < count; i++)
        turned[i] = inverse.at[axes[i]];
    return gi_const_i64(g, rank_of_list, count, turned);
}

static gi_value *turn_pads(gopt_graph *g, const gi_flip *f)
{
    int64_t pads[2 * GOPT_MAX_RANK], turned[2 * GOPT_MAX_RANK];
    uint32_t count;
    const int rank = f->whole.rank;
    if (!gi_value_ints(gi_node_in(f->n, Pad_in_pads), pads, 2 * GOPT_MAX_RANK, &count))
        return NULL;
    for (int i = 0; i < rank; i++) {
        turned[i] = pads[f->whole.at[i]];
        turned[rank + i] = pads[rank + f->whole.at[i]];
    }
    return gi_const_i64(g, 1, 2 * rank, turned);
}

/* Inputs that say axes or lists of dims, in the new order. */
static bool turn_lists(gopt_graph *g, gi_flip *f, kind k, gi_value **in, uint32_t *n_in)
{
    const gi_node *n = f->n;
    if (k == SAME || k == CONCAT) {
        for (uint32_t i = 0; i < *n_in; i++) {
            bool fits = true;
            if (!in[i] || f->in[i].rank >= 0 || !turns_constant(in[i], f->whole.rank, &fits))
                continue;
            in[i] = turn_constant(g, gi_value_blob(in[i]), &f->whole);
            if (!in[i])
                return false;
        }
        return true;
    }
    if (k == VIEW) {
        int64_t target[GOPT_MAX_RANK];
        in[1] = view_target(f, target) ? gi_const_i64(g, 1, f->out[0].rank, target) : NULL;
        *n_in = 2;
        return in[1] != NULL;
    }
    const int at = axes_input(n);
    if (at < 0 || k == MATMUL || k == TRAILING)
        return true;
    if (n->op == OP_Pad && !gi_node_in(n, Pad_in_axes)) {
        in[Pad_in_pads] = turn_pads(g, f);
        return in[Pad_in_pads] != NULL;
    }
    in[at] = turn_axes(g, f, gi_value_rank(gi_node_in(n, (uint32_t)at)) == 0 ? 0 : 1);
    *n_in = (uint32_t)gi_max_i64(*n_in, at + 1);
    return in[at] != NULL;
}

gi_node *gi_flip_build(const gi_flip *flip, gi_value *const *given, gi_arena *scratch)
{
    gi_flip f = *flip;
    gi_node *n = f.n;
    gopt_graph *g = n->block->graph;
    const kind k = kind_of(n);
    uint32_t n_in = n->n_in;
    gi_value **in = GI_NEW_ARRAY(scratch, gi_value *, n_in + GI_OP_MAX_IN);
    if (!in)
        return NULL;
    for (uint32_t i = 0; i < n_in; i++)
        in[i] = f.in[i].rank >= 0 ? given[i] : gi_node_in(n, i);
    if (!turn_lists(g, &f, k, in, &n_in))
        return NULL;
    gi_node *y = gi_node_create(n->block, n, k == VIEW ? OP_Reshape : n->op, n_in, in, n->n_out);
    if (!y || (y->op == n->op && k != VIEW && !gi_attrs_copy(y, n)) || !gi_node_merge_origins(y, n))
        return NULL;
    y->name = n->name;
    if ((k == AXIS || k == CONCAT || (k == DROP && axes_input(n) < 0))) {
        int axes[GOPT_MAX_RANK];
        uint32_t count;
        const gi_perm inverse = gi_perm_inverse(&f.whole);
        if (!read_axes(n, f.whole.rank, axes, &count))
            return NULL;
        gi_attr_set_int(y, axis_attr(n), inverse.at[axes[0]]);
    }
    if (gi_infer_node(y, scratch) != GOPT_OK)
        return NULL;
    for (uint32_t i = 0; i < n->n_out; i++) {
        const gi_dim *dims[GOPT_MAX_RANK];
        if (gi_value_rank(n->out[i]) != f.out[i].rank || !n->out[i]->type)
            continue;
        permuted_dims(n->out[i], &f.out[i], dims);
        const gi_type *t = gi_type_tensor(g->types, n->out[i]->type->dtype, f.out[i].rank, dims);
        if (t)
            gi_value_refine(g, y->out[i], t);
    }
    return y;
}
