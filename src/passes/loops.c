/* Loops and Scans: how often they run, and what of them need not be inside.
 *
 *     %y = Loop %m, true, %x, %s body(%i, %c, %v, %p) {            %e = Exp %z
 *       %e = Exp %z                                                %y = Loop %m, true, %x body(%i, %c, %v) {
 *       %w = Mul %v, %e                                   ⇒          %w = Mul %v, %e
 *       %u = Add %w, %p                                              %u = Add %w, %s
 *       yield %c, %u, %p }                                           yield %c, %u }
 *
 * One that runs no time is its initial values, with empty stacks; what one comes to that runs so and so often is
 * loops_unroll.c's.
 *
 * What a body computes from outer values alone comes before it. Where the body may run no time that is done only for
 * what cannot fail and costs less than starting a Loop. What comes out of each run as it went in is read from outside,
 * and inside a body its condition is true. */
#include "passes/loops.h"

#include "ops/cost.h"

enum { CHEAP = 4096 }; /* operations that starting a Loop is sure to cost as well */

void gi_loop_decline(const gi_loop *l, const char *rule, const gi_node *at, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    const char *text = gi_has_declined(l->cx, rule, at) ? NULL : gi_arena_vprintf(l->cx->scratch, fmt, args);
    va_end(args);
    if (text)
        gi_declined(l->cx, rule, at, "%s", text);
}

int64_t gi_loop_entry(const gi_node *n, int at, uint32_t i)
{
    const int64_t *v;
    return i < gi_attr_ints(n, at, &v) ? v[i] : 0;
}

int64_t gi_loop_stack_axis(const gi_loop *l, uint32_t out)
{
    return l->n_scanned ? gi_loop_entry(l->n, Scan_at_scan_output_axes, out - l->n_state) : 0;
}

int64_t gi_loop_bytes(const gi_type *t)
{
    size_t bytes;
    return t && t->kind == GOPT_TENSOR && gi_type_is_static(t) && gi_type_bytes(t, &bytes) && bytes < INT64_MAX / 4
               ? (int64_t)bytes
               : -1;
}

gi_value *gi_loop_bool(gopt_graph *g, bool v)
{
    gi_blob *b;
    if (gi_blob_create(g->cx, GOPT_BOOL, 0, NULL, &b) != GOPT_OK)
        return NULL;
    gi_store_i64(GOPT_BOOL, b->owned, 0, v);
    return gi_const(g, b, NULL);
}

static bool read_loop(gi_pass_ctx *cx, gi_node *n, gi_loop *l)
{
    const bool scan = n->op == OP_Scan;
    *l = (gi_loop){ .cx = cx, .g = n->block->graph, .n = n, .trips = -1 };
    l->body = gi_attr_graph(n, scan ? Scan_at_body : Loop_at_body);
    if (scan) {
        const int64_t scanned = gi_attr_int(n, Scan_at_num_scan_inputs);
        if (scanned < 1 || scanned > n->n_in)
            return false;
        l->n_scanned = (uint32_t)scanned;
        l->n_state = n->n_in - l->n_scanned;
    } else {
        l->in0 = l->param0 = Loop_in_v_initial;
        l->n_state = n->n_in > Loop_in_v_initial ? n->n_in - Loop_in_v_initial : 0;
        l->res0 = 1;
    }
    if (!l->body || l->body->n_params != l->param0 + l->n_state + l->n_scanned || n->n_out < l->n_state ||
        l->body->n_results < l->res0 + n->n_out)
        return false;
    for (uint32_t i = 0; i < l->n_state + l->n_scanned; i++)
        if (!gi_node_in(n, l->in0 + i))
            return false;
    for (uint32_t i = l->n_state; i < n->n_out; i++) { /* what is stacked has an axis to be stacked along */
        const int rank = gi_value_rank(l->body->results[l->res0 + i].value);
        int at;
        if (n->out[i]->n_uses &&
            (rank < 0 || rank >= GOPT_MAX_RANK || !gi_axis(gi_loop_stack_axis(l, i), rank + 1, &at)))
            return false;
    }
    return true;
}

/* Behind the Identities of the body. */
static gi_value *plain(const gi_loop *l, gi_value *v)
{
    for (const gi_node *n = gi_value_node(v); n && n->op == OP_Identity && n->block == l->body; n = gi_value_node(v))
        v = gi_node_in(n, 0);
    return v;
}

/* ---- how often ---- */

static const char *dim_text(const gi_loop *l, const char *what, const gi_dim *d)
{
    gi_str s;
    gi_str_init(&s, l->cx->scratch);
    gi_str_addf(&s, "%s ", what);
    if (d && !gi_dim_is_unknown(d)) {
        gi_str_add(&s, "is ");
        gi_dim_print(&s, d);
        gi_str_add(&s, ", not known");
    } else {
        gi_str_add(&s, "is known only at run time");
    }
    return s.failed ? what : s.p;
}

static void count_loop(gi_loop *l)
{
    int64_t most = INT64_MAX, least;
    uint32_t count = 0;
    bool starts = true, again = false;
    gi_value *m = gi_node_in(l->n, Loop_in_M), *cond = gi_node_in(l->n, Loop_in_cond);
    const bool known = !cond || gi_control_known(cond, &starts);
    const gi_dim *const *limit = m ? gi_value_known(m, &count) : NULL;
    const bool limited = m && gi_value_known_ints(m, &most, 1, &count) && count == 1;
    gi_value *next = plain(l, l->body->results[0].value);
    const bool decided = next == l->body->params[1] || gi_control_known(next, &again);
    again = again || next == l->body->params[1];
    l->runs = known && starts &&
              (!m || (limited && most > 0) || (limit && count == 1 && gi_dim_lower(limit[0], &least) && least > 0));
    if ((known && !starts) || (limited && most <= 0))
        l->trips = 0;
    else if (!known)
        l->why = "whether it begins is known only at run time";
    else if (l->runs && ((limited && most == 1) || (decided && !again)))
        l->trips = 1;
    else if (m && !limited)
        l->why = dim_text(l, "its trip count", limit && count == 1 ? limit[0] : NULL);
    else if (!decided)
        l->why = "its body decides whether it goes on";
    else if (!m)
        l->why = "nothing ends it";
    else
        l->trips = most;
}

static void count_scan(gi_loop *l)
{
    l->runs = true;
    for (uint32_t i = 0; i < l->n_scanned; i++) {
        const gi_value *x = gi_node_in(l->n, l->n_state + i);
        int axis;
        int64_t length, least;
        if (!gi_axis(gi_loop_entry(l->n, Scan_at_scan_input_axes, i), gi_value_rank(x), &axis)) {
            l->runs = false;
            l->trips = -1;
            l->why = "the rank of what it goes over is not known";
            return;
        }
        const gi_dim *d = x->type->dims[axis];
        if (gi_dim_is_const(d, &length) && (l->trips < 0 || l->trips == length))
            l->trips = length;
        else if (gi_dim_is_const(d, NULL))
            l->why = "its inputs have several lengths";
        else if (l->trips < 0)
            l->why = dim_text(l, "its length", d);
        l->runs = l->runs && gi_dim_lower(d, &least) && least > 0;
    }
}

/* ---- running no time ---- */

/* A stack of nothing: NULL where its other dims are not known, or there is no memory. */
static gi_value *empty_stack(const gi_loop *l, uint32_t i)
{
    const gi_type *t = l->n->out[i]->type;
    int64_t dims[GOPT_MAX_RANK];
    gi_blob *b;
    int at;
    const int64_t axis = gi_loop_stack_axis(l, i);
    if (!t || t->kind != GOPT_TENSOR || gopt_dtype_bits(t->dtype) < 8 || t->dtype == GOPT_STRING || t->rank < 1 ||
        !gi_axis(axis, t->rank, &at))
        return NULL;
    for (int k = 0; k < t->rank; k++) {
        dims[k] = 0;
        if (k != at && !gi_dim_is_const(t->dims[k], &dims[k]))
            return NULL;
    }
    return gi_blob_create(l->g->cx, t->dtype, t->rank, dims, &b) == GOPT_OK ? gi_const(l->g, b, NULL) : NULL;
}

static gopt_status run_never(gi_loop *l)
{
    gi_node *n = l->n;
    gi_value **y = GI_NEW_ARRAY(l->cx->scratch, gi_value *, n->n_out + 1);
    GI_NEED(y);
    for (uint32_t i = 0; i < n->n_out; i++) {
        y[i] = i < l->n_state ? gi_node_in(n, l->in0 + i) : NULL;
        if (!n->out[i]->n_uses)
            continue;
        y[i] = y[i] ? y[i] : empty_stack(l, i);
        if (!y[i] || gi_type_differs(y[i]->type, n->out[i]->type)) {
            gi_loop_decline(l, "loop_never", n,
                            "it runs no time, but the type of its output %u is known only at run time", i);
            return GOPT_OK;
        }
    }
    if (!gi_pass_may(l->cx, "loop_never"))
        return GOPT_OK;
    gi_applied(l->cx, "loop_never", n, "it runs no time");
    for (uint32_t i = 0; i < n->n_out; i++)
        if (n->out[i]->n_uses)
            GI_NEED(gi_value_replace(n->out[i], y[i], n));
    gi_remove_dead(n, l->cx->scratch);
    return GOPT_OK;
}

/* ---- what does not change from run to run ---- */

static void read_from(gi_value *p, gi_value *x, const gi_block *b, uint32_t res)
{
    for (gi_use *u = p->uses, *next; u; u = next) {
        next = u->next;
        if (u->node)
            gi_node_set_in(u->node, u->index, x);
        else if (u->block != b || u->index != res)
            gi_block_set_result(u->block, u->index, x);
    }
}

/* What comes out of each run as it went in is the same from the start. */
static gopt_status read_outside(gi_loop *l)
{
    for (uint32_t i = 0; i < l->n_state; i++) {
        gi_value *p = gi_loop_param(l, i), *x = gi_node_in(l->n, l->in0 + i), *y = l->n->out[i],
                 *last = gi_loop_result(l, i);
        const gi_value *from = plain(l, last);
        const char *why;
        const bool inside = p->n_uses > (last == p);
        const bool outside = y->n_uses && gi_type_same(l->g, x->type, y->type) && gi_value_may_replace(y, x, &why);
        if ((from != p && from != x) || !(inside || outside) || !gi_type_same(l->g, p->type, x->type) ||
            !gi_pass_may(l->cx, "loop_carries_along"))
            continue;
        gi_applied(l->cx, "loop_carries_along", l->n, "value %u comes out of each run as it went in", i);
        read_from(p, x, l->body, l->res0 + i);
        if (outside)
            gi_value_replace_uses(y, x);
    }
    return GOPT_OK;
}

/* Inside a body its condition is true, or it would not run. */
static gopt_status know_condition(gi_loop *l)
{
    gi_value *p = l->param0 ? l->body->params[1] : NULL, *yes = NULL;
    for (gi_use *u = p ? p->uses : NULL, *next; u; u = next) {
        next = u->next;
        if (!u->node || u->node->op == OP_Identity)
            continue;
        if (!yes && !gi_pass_may(l->cx, "loop_condition"))
            return GOPT_OK;
        if (!yes)
            gi_applied(l->cx, "loop_condition", l->n, "inside the body its condition is true");
        yes = yes ? yes : gi_loop_bool(l->g, true);
        GI_NEED(yes);
        gi_node_set_in(u->node, u->index, yes);
    }
    return GOPT_OK;
}

/* Do the shapes of all inputs fit together, whatever the symbols are? */
static bool surely_broadcasts(const gi_node *n)
{
    const gi_dim *dims[GOPT_MAX_RANK] = { NULL };
    for (uint32_t i = 0; i < n->n_in; i++) {
        const gi_value *v = gi_node_in(n, i);
        const int rank = v ? gi_value_rank(v) : 0;
        if (rank < 0)
            return false;
        for (int k = 0; k < rank; k++) {
            const gi_dim *d = v->type->dims[rank - 1 - k];
            if (gi_dim_is(d, 1) || d == dims[k])
                continue;
            if (dims[k])
                return false;
            dims[k] = d;
        }
    }
    return true;
}

static bool is_static(const gi_node *n)
{
    for (uint32_t i = 0; i < n->n_in; i++)
        if (gi_node_in(n, i) && gi_loop_bytes(gi_node_in(n, i)->type) < 0)
            return false;
    for (uint32_t i = 0; i < n->n_out; i++)
        if (gi_loop_bytes(n->out[i]->type) < 0)
            return false;
    return true;
}

static bool has_constant_operands(const gi_node *n)
{
    for (uint32_t i = 1; i < n->n_in; i++)
        if (gi_node_in(n, i) && !gi_value_blob(gi_node_in(n, i)))
            return false;
    return true;
}

/* Does it give its result for all operands of these types? */
static bool never_fails(const gi_node *n)
{
    const gi_op *op = gi_op_get(n->op);
    if (gi_value_dtype(gi_node_in(n, 0)) == GOPT_STRING || gi_value_dtype(gi_node_in(n, 0)) == GOPT_UNDEFINED)
        return false;
    switch (n->op) {
    case OP_Shape:
    case OP_Size:
    case OP_Transpose:
        return true;
    case OP_Div: /* of integers: by zero */
    case OP_Mod:
    case OP_Pow:
    case OP_BitShift:
        return !gi_dtype_is_int(gi_value_dtype(gi_node_in(n, 0))) && surely_broadcasts(n);
    case OP_MatMul:
    case OP_Gemm:
    case OP_Concat:
        return is_static(n); /* inference has compared the shapes */
    default:
        if (op->traits & GI_ELEMENTWISE)
            return n->n_in == 1 || surely_broadcasts(n);
        return (op->traits & (GI_VIEW | GI_REDUCTION)) && has_constant_operands(n) && is_static(n);
    }
}

/* Elements that it makes and operations that it takes; -1 where its shapes do not say. */
static int64_t cost_of(const gi_node *n)
{
    int64_t cost = 0, one;
    const gi_dim *flops = gi_node_flops(n);
    if (n->op == OP_Shape || n->op == OP_Size)
        return 0;
    if (flops && !gi_dim_is_const(flops, &cost))
        return -1;
    for (uint32_t i = 0; i < n->n_out; i++)
        if (!n->out[i]->type || !gi_type_elements(n->out[i]->type, &one) || !gi_add_i64(cost, one, &cost))
            return -1;
    return cost;
}

static bool reads_outside_alone(const gi_node *n, const gi_block *body)
{
    for (uint32_t i = 0; i < n->n_in; i++) {
        const gi_value *v = gi_node_in(n, i);
        if (v && ((v->kind == GI_DEF_PARAM && v->def.block == body) ||
                  (v->kind == GI_DEF_NODE && v->def.node->block == body)))
            return false;
    }
    return true;
}

static bool may_hoist(const gi_loop *l, const gi_node *n)
{
    const unsigned traits = gi_op_get(n->op)->traits;
    if (n->op == OP_Unknown || !(traits & GI_PURE) || (traits & (GI_CONTROL | GI_RANDOM)) ||
        !reads_outside_alone(n, l->body))
        return false;
    for (uint32_t i = 0; i < n->n_out; i++)
        if (gi_value_is_result(n->out[i]))
            return false;
    if (l->runs)
        return true;
    if (!never_fails(n)) {
        gi_loop_decline(l, "loop_invariant", n, "it could fail, and the body may run no time");
        return false;
    }
    const int64_t cost = cost_of(n);
    if (cost >= 0 && cost <= CHEAP)
        return true;
    if (cost < 0)
        gi_loop_decline(l, "loop_invariant", n, "what it costs is not known, and the body may run no time");
    else
        gi_loop_decline(l, "loop_invariant", n, "it takes %lld operations, and the body may run no time",
                        (long long)cost);
    return false;
}

static gopt_status hoist(gi_loop *l)
{
    for (gi_node *inner = l->body->first, *next; inner; inner = next) {
        next = inner->next;
        if (!may_hoist(l, inner) || !gi_pass_may(l->cx, "loop_invariant"))
            continue;
        gi_applied(l->cx, "loop_invariant", inner, "it reads nothing that changes from run to run");
        gi_control_forget_names(inner);
        gi_node_move(inner, l->n->block, l->n);
    }
    return GOPT_OK;
}

static bool count(gi_pass_ctx *cx, gi_node *n, gi_loop *l)
{
    if (!read_loop(cx, n, l))
        return false;
    if (n->op == OP_Loop)
        count_loop(l);
    else
        count_scan(l);
    return true;
}

const char *gi_control_uncounted(gi_pass_ctx *cx, gi_node *n)
{
    gi_loop l;
    return count(cx, n, &l) && l.trips < 0 ? l.why : NULL;
}

gopt_status gi_control_loop(gi_pass_ctx *cx, gi_node *n)
{
    gi_loop l;
    if (!count(cx, n, &l))
        return GOPT_OK;
    if (l.trips == 0)
        GI_TRY(run_never(&l));
    else if (l.trips == 1)
        GI_TRY(gi_loop_run_once(&l));
    else if (l.trips > 1)
        GI_TRY(gi_loop_unroll(&l));
    if (!n->block)
        return GOPT_OK;
    GI_TRY(read_outside(&l));
    GI_TRY(know_condition(&l));
    return hoist(&l);
}
