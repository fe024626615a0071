/* Loops and Scans: how often they run, and what of them need not be inside.
 *
 *     %y = Loop 2, true, %x body(%i, %c, %v) {             %g  = Gather w, 0         constants, and folded
 *       %w1 = Gather w, %i                                 %y1 = Add %x, %g
 *       %w2 = Add %v, %w1                         ⇒        %g' = Gather w, 1
 *       yield %c, %w2 }                                    %y  = Add %y1, %g'
 *
 * One that runs no time is its initial values, with empty stacks; one that runs once is its body. One that runs n times
 * is its body n times, where that leaves no more nodes than there were, and lets the file grow by no more than constant
 * folding may: nodes that read nothing but constants and the number of the run do not count, since they are folded, nor
 * do those that only the condition reads. That is decided from types alone, before anything is made: which carried
 * values are known shrinks from run to run, and as soon as it stays, all further runs cost the same.
 *
 * What a body computes from outer values alone comes before it. Where the body may run no time that is done only for
 * what cannot fail and costs less than starting a Loop. What comes out of each run as it went in is read from outside,
 * and inside a body its condition is true. */
#include "passes/control_flow.h"

#include "ops/cost.h"

enum { MOST_UNEVEN = 64, MOST_USES = 64, CLONE_WORK = 4096, CHEAP = 4096 };

/* Value k that is carried along is input in0 + k, parameter param0 + k, result res0 + k and output k; behind these are
 * a Scan's slices, and what is stacked. */
typedef struct loop {
    gi_pass_ctx *cx;
    gopt_graph *g;
    gi_node *n;
    gi_block *body;
    uint32_t n_state, n_scanned, in0, param0, res0;
    int64_t trips;   /* -1: not known */
    bool runs;       /* once at least */
    const char *why; /* they are not known */
} loop;

/* Says so once: the pass runs in rounds. */
static void decline(const loop *l, const char *rule, const gi_node *at, const char *fmt, ...)
    __attribute__((format(printf, 4, 5)));
static void decline(const loop *l, const char *rule, const gi_node *at, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    const char *text = gi_has_declined(l->cx, rule, at) ? NULL : gi_arena_vprintf(l->cx->scratch, fmt, args);
    va_end(args);
    if (text)
        gi_declined(l->cx, rule, at, "%s", text);
}

static int64_t list_entry(const gi_node *n, int at, uint32_t i)
{
    const int64_t *v;
    return i < gi_attr_ints(n, at, &v) ? v[i] : 0;
}

static int64_t stack_axis(const loop *l, uint32_t out)
{
    return l->n_scanned ? list_entry(l->n, Scan_at_scan_output_axes, out - l->n_state) : 0;
}

static bool read_loop(gi_pass_ctx *cx, gi_node *n, loop *l)
{
    const bool scan = n->op == OP_Scan;
    *l = (loop){ .cx = cx, .g = n->block->graph, .n = n, .trips = -1 };
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
        if (n->out[i]->n_uses && (rank < 0 || rank >= GOPT_MAX_RANK || !gi_axis(stack_axis(l, i), rank + 1, &at)))
            return false;
    }
    return true;
}

static gi_value *param(const loop *l, uint32_t k)
{
    return l->body->params[l->param0 + k];
}

static gi_value *result(const loop *l, uint32_t k)
{
    return l->body->results[l->res0 + k].value;
}

/* Behind the Identities of the body. */
static gi_value *plain(const loop *l, gi_value *v)
{
    for (const gi_node *n = gi_value_node(v); n && n->op == OP_Identity && n->block == l->body; n = gi_value_node(v))
        v = gi_node_in(n, 0);
    return v;
}

/* ---- how often ---- */

static const char *dim_text(const loop *l, const char *what, const gi_dim *d)
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

static void count_loop(loop *l)
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

static void count_scan(loop *l)
{
    l->runs = true;
    for (uint32_t i = 0; i < l->n_scanned; i++) {
        const gi_value *x = gi_node_in(l->n, l->n_state + i);
        int axis;
        int64_t length, least;
        if (!gi_axis(list_entry(l->n, Scan_at_scan_input_axes, i), gi_value_rank(x), &axis)) {
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
static gi_value *empty_stack(const loop *l, uint32_t i)
{
    const gi_type *t = l->n->out[i]->type;
    int64_t dims[GOPT_MAX_RANK];
    gi_blob *b;
    int at;
    const int64_t axis = stack_axis(l, i);
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

static gopt_status run_never(loop *l)
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
            decline(l, "loop_never", n, "it runs no time, but the type of its output %u is known only at run time", i);
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

/* ---- what running a known number of times comes to ---- */

typedef struct plan {
    const loop *l;
    gi_arena *a;
    gi_map live;    /* nodes of the body that a result needs, by id + 1 */
    gi_values todo; /* needed values */
    uint32_t n_live;
    bool *state;          /* which carried values are known before a run */
    gi_map known, paid;   /* values of the body: in this run, by id + 1 */
    int64_t nodes, bytes; /* of the run that was weighed last */
    bool first;           /* it is the first run: what it carries was there before */
    int64_t all_nodes, all_bytes;
    bool failed;
} plan;

static void need(plan *p, gi_value *v)
{
    p->failed = p->failed || !gi_push(p->a, &p->todo, v);
}

/* Marks what the outputs that are read need, through carried values. */
static void mark_live(plan *p)
{
    const loop *l = p->l;
    gi_map_init(&p->live, p->a);
    bool *carried = GI_NEW_ARRAY(p->a, bool, l->n_state + 1);
    p->failed = p->failed || !carried;
    for (uint32_t i = 0; i < l->n->n_out && !p->failed; i++)
        if (l->n->out[i]->n_uses)
            need(p, result(l, i));
    while (p->todo.n && !p->failed) {
        const gi_value *v = p->todo.p[--p->todo.n];
        gi_node *n = gi_value_node(v);
        if (v->kind == GI_DEF_PARAM && v->def.block == l->body && v->index >= l->param0 &&
            v->index - l->param0 < l->n_state && !carried[v->index - l->param0]) {
            carried[v->index - l->param0] = true;
            need(p, result(l, v->index - l->param0));
        }
        if (!n || n->block != l->body || gi_map_get(&p->live, (uint64_t)n->id + 1))
            continue;
        p->failed = !gi_map_put(&p->live, (uint64_t)n->id + 1, n);
        p->n_live++;
        for (uint32_t i = 0; i < n->n_in; i++)
            if (gi_node_in(n, i))
                need(p, gi_node_in(n, i));
    }
}

static bool is_known_now(const plan *p, const gi_value *v)
{
    const loop *l = p->l;
    if (gi_value_blob(v))
        return true;
    if (v->kind != GI_DEF_PARAM || v->def.block != l->body)
        return gi_map_get(&p->known, (uint64_t)v->id + 1) != NULL;
    if (v->index < l->param0)
        return true; /* the number of the run, and its condition */
    const uint32_t k = v->index - l->param0;
    return k < l->n_state ? p->state[k] : gi_value_blob(gi_node_in(l->n, l->in0 + k)) != NULL;
}

/* Bytes of a type; -1 where it does not say them. */
static int64_t bytes_of(const gi_type *t)
{
    size_t bytes;
    return t && t->kind == GOPT_TENSOR && gi_type_is_static(t) && gi_type_bytes(t, &bytes) && bytes < INT64_MAX / 4
               ? (int64_t)bytes
               : -1;
}

/* Will constant folding evaluate it, once what it reads is constant? */
static bool folds(const plan *p, const gi_node *n)
{
    const gi_op *op = gi_op_get(n->op);
    if (n->op == OP_Unknown || n->op == OP_DequantizeLinear || !op->eval || !(op->traits & GI_PURE) ||
        (op->traits & (GI_RANDOM | GI_CONTROL)))
        return false;
    for (uint32_t i = 0; i < n->n_in; i++)
        if (gi_node_in(n, i) && !is_known_now(p, gi_node_in(n, i)))
            return false;
    for (uint32_t i = 0; i < n->n_out; i++)
        if (bytes_of(n->out[i]->type) < 0)
            return false;
    return true;
}

/* A value that folding writes down, since something reads it that stays. */
static void pay(plan *p, const gi_value *v)
{
    if (gi_value_blob(v) || !is_known_now(p, v) || gi_map_get(&p->paid, (uint64_t)v->id + 1) ||
        (v->kind == GI_DEF_PARAM && (v->index < p->l->param0 || (p->first && v->index < p->l->param0 + p->l->n_state))))
        return;
    p->failed = p->failed || !gi_map_put(&p->paid, (uint64_t)v->id + 1, p);
    const int64_t bytes = bytes_of(v->type);
    p->bytes = gi_add_i64(p->bytes, bytes < 0 ? INT64_MAX / 4 : bytes, &p->bytes) ? p->bytes : INT64_MAX / 2;
}

/* Weighs one run; p->state is then what is known before the next. *same: nothing has changed by it. */
static void weigh_run(plan *p, bool *same)
{
    const loop *l = p->l;
    p->nodes = p->bytes = 0;
    gi_map_init(&p->known, p->a);
    gi_map_init(&p->paid, p->a);
    for (const gi_node *n = l->body->first; n && !p->failed; n = n->next) {
        if (!gi_map_get(&p->live, (uint64_t)n->id + 1))
            continue;
        if (folds(p, n)) {
            for (uint32_t i = 0; i < n->n_out; i++)
                p->failed = p->failed || !gi_map_put(&p->known, (uint64_t)n->out[i]->id + 1, p);
            continue;
        }
        p->nodes++;
        for (uint32_t i = 0; i < n->n_in; i++)
            if (gi_node_in(n, i))
                pay(p, gi_node_in(n, i));
    }
    for (uint32_t i = 0; i < l->n_scanned; i++) /* a slice is a Gather */
        p->nodes += param(l, l->n_state + i)->n_uses && !is_known_now(p, param(l, l->n_state + i));
    for (uint32_t i = l->n_state; i < l->n->n_out; i++) {
        p->nodes += l->n->out[i]->n_uses && !is_known_now(p, result(l, i));
        if (l->n->out[i]->n_uses)
            pay(p, result(l, i));
    }
    *same = true;
    bool *next = GI_NEW_ARRAY(p->a, bool, l->n_state + 1);
    p->failed = p->failed || !next;
    for (uint32_t i = 0; i < l->n_state && !p->failed; i++) {
        next[i] = is_known_now(p, result(l, i));
        *same = *same && next[i] == p->state[i];
    }
    if (next)
        memcpy(p->state, next, l->n_state * sizeof *next);
}

/* Bytes of constants that nothing but folded nodes of the body reads: they go. After the last run. */
static int64_t dying_bytes(const plan *p)
{
    const loop *l = p->l;
    gi_map seen;
    int64_t bytes = 0;
    gi_map_init(&seen, p->a);
    for (const gi_node *n = l->body->first; n; n = n->next)
        for (uint32_t i = 0; gi_map_get(&p->live, (uint64_t)n->id + 1) && i < n->n_in; i++) {
            const gi_value *v = gi_node_in(n, i);
            const gi_blob *b = gi_value_blob(v);
            bool dies = b && v->n_uses <= MOST_USES && !gi_map_get(&seen, (uint64_t)v->id + 1);
            for (const gi_use *u = dies ? v->uses : NULL; u && dies; u = u->next)
                dies = u->node && u->node->block == l->body && u->node->n_out &&
                       gi_map_get(&p->known, (uint64_t)u->node->out[0]->id + 1);
            if (dies && gi_map_put(&seen, (uint64_t)v->id + 1, l->n))
                bytes += gi_min_i64((int64_t)b->bytes, INT64_MAX / 4 - bytes);
        }
    for (uint32_t i = 0; i < l->n_scanned; i++) {
        const gi_value *x = gi_node_in(l->n, l->in0 + l->n_state + i);
        if (gi_value_blob(x) && x->n_uses == 1)
            bytes += gi_min_i64((int64_t)gi_value_blob(x)->bytes, INT64_MAX / 4 - bytes);
    }
    return bytes;
}

/* All runs. False where it cannot be said in a few. */
static bool weigh(plan *p)
{
    const loop *l = p->l;
    p->state = GI_NEW_ARRAY(p->a, bool, l->n_state + 1);
    p->failed = p->failed || !p->state;
    for (uint32_t i = 0; i < l->n_state && !p->failed; i++)
        p->state[i] = gi_value_blob(gi_node_in(l->n, l->in0 + i)) != NULL;
    for (int64_t k = 0; k < l->trips && !p->failed; k++) {
        bool same = false;
        int64_t runs = 1, nodes, bytes;
        if (k == MOST_UNEVEN)
            return false;
        p->first = k == 0;
        weigh_run(p, &same);
        if (same && k > 0)
            runs = l->trips - k;
        if (!gi_mul_i64(p->nodes, runs, &nodes) || !gi_add_i64(p->all_nodes, nodes, &p->all_nodes))
            p->all_nodes = INT64_MAX / 2;
        if (!gi_mul_i64(p->bytes, runs, &bytes) || !gi_add_i64(p->all_bytes, bytes, &p->all_bytes))
            p->all_bytes = INT64_MAX / 2;
        k += runs - 1;
    }
    for (uint32_t i = l->n_state; i < l->n->n_out && !p->failed; i++)
        p->all_nodes += l->n->out[i]->n_uses && !is_known_now(p, result(l, i)); /* the Concat of the stack */
    p->all_bytes = p->failed ? 0 : p->all_bytes - dying_bytes(p);
    return true;
}

static bool holds_blocks(const plan *p)
{
    for (const gi_node *n = p->l->body->first; n; n = n->next)
        if ((gi_op_get(n->op)->traits & GI_CONTROL) && gi_map_get(&p->live, (uint64_t)n->id + 1))
            return true;
    return false;
}

/* Is its body, so many times, no more than it is now? The work of making it comes out of constant folding's purse. */
static bool is_worth_unrolling(plan *p)
{
    const loop *l = p->l;
    gi_pass_ctx *cx = l->cx;
    int64_t work;
    const int64_t before = 1 + (int64_t)l->body->n_nodes;
    gi_pass_set_growth(cx);
    mark_live(p);
    if (p->failed)
        return false;
    if (holds_blocks(p)) {
        decline(l, "loop_unrolled", l->n, "its body holds other bodies, which would be there %lld times",
                (long long)l->trips);
        return false;
    }
    if (!weigh(p)) {
        decline(l, "loop_unrolled", l->n, "what it computes from constants still changes after %d runs", MOST_UNEVEN);
        return false;
    }
    if (p->all_nodes > before) {
        decline(l, "loop_unrolled", l->n, "unrolling %lld runs of %u node%s would leave %lld nodes instead of %lld",
                (long long)l->trips, p->n_live, p->n_live == 1 ? "" : "s", (long long)p->all_nodes, (long long)before);
        return false;
    }
    if (p->all_bytes > cx->growth_left) {
        decline(l, "loop_unrolled", l->n, "unrolling %lld runs would let the file grow by %lld bytes, and may by %lld",
                (long long)l->trips, (long long)p->all_bytes, (long long)gi_max_i64(cx->growth_left, 0));
        return false;
    }
    if (!gi_mul_i64(l->trips, (int64_t)(p->n_live + l->n->n_out + 1) * CLONE_WORK, &work) || work > cx->work_left) {
        decline(l, "loop_unrolled", l->n, "unrolling %lld runs of %u nodes is more work than is left for this model",
                (long long)l->trips, p->n_live);
        return false;
    }
    if (p->failed || !gi_pass_may(cx, "loop_unrolled"))
        return false;
    cx->work_left -= work;
    return true;
}

/* ---- unrolling ---- */

static gi_value *bool_const(gopt_graph *g, bool v)
{
    gi_blob *b;
    if (gi_blob_create(g->cx, GOPT_BOOL, 0, NULL, &b) != GOPT_OK)
        return NULL;
    gi_store_i64(GOPT_BOOL, b->owned, 0, v);
    return gi_const(g, b, NULL);
}

static gi_value *with_axis(const loop *l, gi_opcode op, gi_value *v, int64_t axis)
{
    gi_value *axes = gi_const_i64(l->g, 1, 1, &axis);
    gi_node *u = axes ? gi_build(l->n->block, l->n, op, 2, (gi_value *[]){ v, axes }) : NULL;
    return u && gi_node_merge_origins(u, l->n) ? u->out[0] : NULL;
}

/* What run k gets of scanned input i. */
static gi_value *slice_of(const loop *l, uint32_t i, int64_t k, gi_arena *a)
{
    gi_value *x = gi_node_in(l->n, l->in0 + l->n_state + i);
    const int64_t axis = list_entry(l->n, Scan_at_scan_input_axes, i);
    if (list_entry(l->n, Scan_at_scan_input_directions, i) == 1)
        k = l->trips - 1 - k;
    if (l->trips == 1)
        return with_axis(l, OP_Squeeze, x, axis);
    gi_value *at = gi_const_i64(l->g, 0, 1, &k);
    gi_node *y = at ? gi_node_create(l->n->block, l->n, OP_Gather, 2, (gi_value *[]){ x, at }, 1) : NULL;
    if (!y)
        return NULL;
    gi_attr_set_int(y, Gather_at_axis, axis);
    return gi_infer_node(y, a) == GOPT_OK && gi_node_merge_origins(y, l->n) ? y->out[0] : NULL;
}

/* The values of body parameters in run k: out has room for all of them. */
static bool enter_run(const loop *l, int64_t k, gi_value *const *state, gi_arena *a, gi_value **out)
{
    if (l->param0) {
        out[0] = gi_const_i64(l->g, 0, 1, &k);
        out[1] = bool_const(l->g, true);
        if (!out[0] || !out[1])
            return false;
    }
    for (uint32_t i = 0; i < l->n_state; i++)
        out[l->param0 + i] = state[i];
    for (uint32_t i = 0; i < l->n_scanned; i++) {
        const uint32_t at = l->param0 + l->n_state + i;
        out[at] = l->body->params[at]->n_uses ? slice_of(l, i, k, a) : NULL;
        if (l->body->params[at]->n_uses && !out[at])
            return false;
    }
    return true;
}

/* Stacks what the runs gave of output i. */
static gi_value *stack_of(const loop *l, uint32_t i, gi_values *items, gi_arena *a)
{
    const int64_t axis = stack_axis(l, i);
    const bool backwards = l->n_scanned && list_entry(l->n, Scan_at_scan_output_directions, i - l->n_state) == 1;
    for (size_t k = 0; k < items->n; k++) {
        items->p[k] = with_axis(l, OP_Unsqueeze, items->p[k], axis);
        if (!items->p[k])
            return NULL;
    }
    for (size_t k = 0; backwards && k < items->n / 2; k++) {
        gi_value *v = items->p[k];
        items->p[k] = items->p[items->n - 1 - k];
        items->p[items->n - 1 - k] = v;
    }
    if (items->n == 1)
        return items->p[0];
    gi_node *c = gi_node_create(l->n->block, l->n, OP_Concat, (uint32_t)items->n, items->p, 1);
    if (!c)
        return NULL;
    gi_attr_set_int(c, Concat_at_axis, axis);
    return gi_infer_node(c, a) == GOPT_OK && gi_node_merge_origins(c, l->n) ? c->out[0] : NULL;
}

static gopt_status take_place(const loop *l, gi_value *const *y)
{
    for (uint32_t i = 0; i < l->n->n_out; i++) {
        if (!l->n->out[i]->n_uses)
            continue;
        GI_NEED(y[i]);
        gi_value_refine(l->g, y[i], l->n->out[i]->type);
        GI_NEED(gi_value_replace(l->n->out[i], y[i], l->n));
        gi_value_take_name(y[i], l->n->out[i]);
    }
    gi_node_remove(l->n);
    return GOPT_OK;
}

static gopt_status run_once(loop *l)
{
    gi_arena *a = l->cx->scratch;
    gi_block *b = l->body;
    for (uint32_t i = 0; i < l->n_state; i++)
        if (gi_type_differs(gi_node_in(l->n, l->in0 + i)->type, param(l, i)->type) ||
            gi_type_differs(result(l, i)->type, l->n->out[i]->type)) {
            decline(l, "loop_once", l->n, "value %u that it carries changes its type", i);
            return GOPT_OK;
        }
    if (!gi_pass_may(l->cx, "loop_once"))
        return GOPT_OK;
    gi_applied(l->cx, "loop_once", l->n, "it runs once");
    gi_value **values = GI_NEW_ARRAY(a, gi_value *, b->n_params + 1);
    gi_value **y = GI_NEW_ARRAY(a, gi_value *, l->n->n_out + 1), **state = GI_NEW_ARRAY(a, gi_value *, l->n_state + 1);
    GI_NEED(values && y && state);
    for (uint32_t i = 0; i < l->n_state; i++)
        state[i] = gi_node_in(l->n, l->in0 + i);
    GI_NEED(enter_run(l, 0, state, a, values));
    for (uint32_t i = 0; i < b->n_params; i++)
        if (b->params[i]->n_uses)
            gi_value_replace_uses(b->params[i], values[i]);
    for (uint32_t i = 0; i < l->n->n_out; i++)
        y[i] = result(l, i);
    GI_NEED(gi_block_set_results(b, 0, NULL, NULL));
    GI_NEED(gi_control_move(b, l->n, l->n));
    for (uint32_t i = l->n_state; i < l->n->n_out; i++) {
        gi_values one = { 0 };
        GI_NEED(gi_push(a, &one, y[i]));
        y[i] = l->n->out[i]->n_uses ? stack_of(l, i, &one, a) : NULL;
    }
    return take_place(l, y);
}

/* The values of one run, as copies of the body's. */
typedef struct copier {
    const loop *l;
    const plan *p;
    gi_arena *a;
    gi_value **params;
    gi_map of; /* the body's value id + 1 to the copy */
} copier;

static gi_value *copy_of(const copier *c, gi_value *v)
{
    if (!v || (v->kind == GI_DEF_PARAM && v->def.block == c->l->body))
        return v ? c->params[v->index] : NULL;
    gi_value *y = gi_map_get(&c->of, (uint64_t)v->id + 1);
    return y ? y : v;
}

static gopt_status copy_node(copier *c, const gi_node *n)
{
    gi_value **in = GI_NEW_ARRAY(c->a, gi_value *, n->n_in + 1);
    GI_NEED(in);
    for (uint32_t i = 0; i < n->n_in; i++)
        in[i] = copy_of(c, gi_node_in(n, i));
    gi_node *y = gi_node_create(c->l->n->block, c->l->n, n->op, n->n_in, in, n->n_out);
    GI_NEED(y && gi_attrs_copy(y, n));
    y->domain = n->domain;
    y->op_name = n->op_name;
    y->opset = n->opset;
    GI_NEED(gi_node_merge_origins(y, n) && gi_node_merge_origins(y, c->l->n));
    GI_TRY(gi_infer_node(y, c->a));
    for (uint32_t i = 0; i < n->n_out; i++)
        GI_NEED(gi_map_put(&c->of, (uint64_t)n->out[i]->id + 1, y->out[i]));
    return GOPT_OK;
}

/* All runs, before the loop; y receives its outputs. */
static gopt_status copy_runs(const loop *l, const plan *p, gi_arena *a, gi_value **y)
{
    copier c = { .l = l, .p = p, .a = a, .params = GI_NEW_ARRAY(a, gi_value *, l->body->n_params + 1) };
    gi_value **state = GI_NEW_ARRAY(a, gi_value *, l->n_state + 1);
    gi_values *stacks = GI_NEW_ARRAY(a, gi_values, l->n->n_out + 1);
    GI_NEED(c.params && state && stacks);
    for (uint32_t i = 0; i < l->n_state; i++)
        state[i] = gi_node_in(l->n, l->in0 + i);
    for (int64_t k = 0; k < l->trips; k++) {
        if (!enter_run(l, k, state, a, c.params))
            return GOPT_BAD_INPUT;
        gi_map_init(&c.of, a);
        for (const gi_node *n = l->body->first; n; n = n->next)
            if (gi_map_get(&p->live, (uint64_t)n->id + 1))
                GI_TRY(copy_node(&c, n));
        for (uint32_t i = 0; i < l->n_state; i++)
            state[i] = copy_of(&c, result(l, i));
        for (uint32_t i = l->n_state; i < l->n->n_out; i++)
            if (l->n->out[i]->n_uses)
                GI_NEED(gi_push(a, &stacks[i], copy_of(&c, result(l, i))));
    }
    for (uint32_t i = 0; i < l->n->n_out; i++) {
        y[i] = i < l->n_state ? state[i] : l->n->out[i]->n_uses ? stack_of(l, i, &stacks[i], a) : NULL;
        if (l->n->out[i]->n_uses && !y[i])
            return GOPT_BAD_INPUT;
        if (l->n->out[i]->n_uses && gi_type_differs(y[i]->type, l->n->out[i]->type))
            return GOPT_BAD_INPUT;
    }
    return GOPT_OK;
}

static gopt_status unroll(loop *l)
{
    plan p = { .l = l, .a = l->cx->scratch };
    gopt_ctx *cx = l->g->cx;
    if (!is_worth_unrolling(&p))
        return p.failed ? GOPT_NO_MEMORY : GOPT_OK;
    gi_value **y = GI_NEW_ARRAY(p.a, gi_value *, l->n->n_out + 1);
    GI_NEED(y);
    gi_node *before = l->n->prev;
    const size_t n_diags = cx->n_diags;
    const gopt_status st = copy_runs(l, &p, p.a, y);
    if (st == GOPT_BAD_INPUT) { /* a run that cannot be: it is the run's to say so */
        cx->n_diags = n_diags;
        while (l->n->prev != before)
            gi_node_remove(l->n->prev);
        decline(l, "loop_unrolled", l->n, "a run of its body would have operands of types that do not fit");
        return GOPT_OK;
    }
    GI_TRY(st);
    gi_applied(l->cx, "loop_unrolled", l->n, "its %lld runs leave %lld nodes instead of %lld", (long long)l->trips,
               (long long)p.all_nodes, 1 + (long long)l->body->n_nodes);
    return take_place(l, y);
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
static gopt_status read_outside(loop *l)
{
    for (uint32_t i = 0; i < l->n_state; i++) {
        gi_value *p = param(l, i), *x = gi_node_in(l->n, l->in0 + i), *y = l->n->out[i], *last = result(l, i);
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
static gopt_status know_condition(loop *l)
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
        yes = yes ? yes : bool_const(l->g, true);
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
        if (gi_node_in(n, i) && bytes_of(gi_node_in(n, i)->type) < 0)
            return false;
    for (uint32_t i = 0; i < n->n_out; i++)
        if (bytes_of(n->out[i]->type) < 0)
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

static bool may_hoist(const loop *l, const gi_node *n)
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
        decline(l, "loop_invariant", n, "it could fail, and the body may run no time");
        return false;
    }
    const int64_t cost = cost_of(n);
    if (cost >= 0 && cost <= CHEAP)
        return true;
    if (cost < 0)
        decline(l, "loop_invariant", n, "what it costs is not known, and the body may run no time");
    else
        decline(l, "loop_invariant", n, "it takes %lld operations, and the body may run no time", (long long)cost);
    return false;
}

static gopt_status hoist(loop *l)
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

static bool count(gi_pass_ctx *cx, gi_node *n, loop *l)
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
    loop l;
    return count(cx, n, &l) && l.trips < 0 ? l.why : NULL;
}

gopt_status gi_control_loop(gi_pass_ctx *cx, gi_node *n)
{
    loop l;
    if (!count(cx, n, &l))
        return GOPT_OK;
    if (l.trips == 0)
        GI_TRY(run_never(&l));
    else if (l.trips == 1)
        GI_TRY(run_once(&l));
    else if (l.trips > 1)
        GI_TRY(unroll(&l));
    if (!n->block)
        return GOPT_OK;
    GI_TRY(read_outside(&l));
    GI_TRY(know_condition(&l));
    return hoist(&l);
}
