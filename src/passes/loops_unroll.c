/* Loops and Scans that run a known number of times.
 *
 *     %y = Loop 2, true, %x body(%i, %c, %v) {             %g  = Gather w, 0         constants, and folded
 *       %w1 = Gather w, %i                                 %y1 = Add %x, %g
 *       %w2 = Add %v, %w1                         ⇒        %g' = Gather w, 1
 *       yield %c, %w2 }                                    %y  = Add %y1, %g'
 *
 * One that runs once is its body. One that runs n times is its body n times, where that leaves no more nodes than there
 * were, and lets the file grow by no more than constant folding may: nodes that read nothing but constants and the number
 * of the run do not count, since they are folded, nor do those that only the condition reads, nor what takes lists of
 * known contents apart and puts them together. That is decided from types alone, before anything is made: which carried
 * values are known shrinks from run to run, and as soon as it stays, all further runs cost the same. */
#include "passes/loops.h"

enum { MOST_UNEVEN = 64, MOST_USES = 64, CLONE_WORK = 4096 };

/* ---- what it comes to ---- */

typedef struct plan {
    const gi_loop *l;
    gi_arena *a;
    gi_map live;    /* nodes of the body that a result needs, by id + 1 */
    gi_values todo; /* needed values */
    uint32_t n_live;
    bool *state, *list;   /* which carried values are known before a run; which are lists of known contents */
    gi_map lists;         /* values of the body that rules of sequences will take apart, in this run */
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
    const gi_loop *l = p->l;
    gi_map_init(&p->live, p->a);
    bool *carried = GI_NEW_ARRAY(p->a, bool, l->n_state + 1);
    p->failed = p->failed || !carried;
    for (uint32_t i = 0; i < l->n->n_out && !p->failed; i++)
        if (l->n->out[i]->n_uses)
            need(p, gi_loop_result(l, i));
    while (p->todo.n && !p->failed) {
        const gi_value *v = p->todo.p[--p->todo.n];
        gi_node *n = gi_value_node(v);
        if (v->kind == GI_DEF_PARAM && v->def.block == l->body && v->index >= l->param0 &&
            v->index - l->param0 < l->n_state && !carried[v->index - l->param0]) {
            carried[v->index - l->param0] = true;
            need(p, gi_loop_result(l, v->index - l->param0));
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
    const gi_loop *l = p->l;
    if (gi_value_blob(v))
        return true;
    if (v->kind != GI_DEF_PARAM || v->def.block != l->body)
        return gi_map_get(&p->known, (uint64_t)v->id + 1) != NULL;
    if (v->index < l->param0)
        return true; /* the number of the run, and its condition */
    const uint32_t k = v->index - l->param0;
    return k < l->n_state ? p->state[k] : gi_value_blob(gi_node_in(l->n, l->in0 + k)) != NULL;
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
        if (gi_loop_bytes(n->out[i]->type) < 0)
            return false;
    return true;
}

/* ---- lists of known contents, which rules of sequences take apart once a Loop is unrolled ---- */

/* How many pieces it gives; -1 where that is not known. */
static int64_t count_pieces(const gi_node *split)
{
    const gi_value *x = gi_node_in(split, SplitToSequence_in_input), *l = gi_node_in(split, SplitToSequence_in_split);
    const gi_blob *b = gi_value_blob(l);
    int axis;
    if (l && (!b || !gi_dtype_is_int(b->dtype)))
        return -1;
    if (b && b->rank > 0)
        return gi_blob_elements(b);
    const int64_t every = b ? gi_load_i64(b->dtype, b->data, 0) : 1;
    if (every <= 0 || !gi_axis(gi_attr_int(split, SplitToSequence_at_axis), gi_value_rank(x), &axis))
        return -1;
    const int64_t dim = gi_value_dim(x, axis);
    return dim < 0 ? -1 : dim / every + (dim % every != 0);
}

static bool is_list(const plan *p, const gi_value *v)
{
    const gi_loop *l = p->l;
    if (v->kind == GI_DEF_PARAM && v->def.block == l->body)
        return v->index >= l->param0 && v->index - l->param0 < l->n_state && p->list[v->index - l->param0];
    return gi_map_get(&p->lists, (uint64_t)v->id + 1) != NULL;
}

/* Does nothing stay of n but what it reads? */
static bool goes_with_list(plan *p, const gi_node *n)
{
    gi_value *list = gi_node_in(n, 0), *at = gi_node_in(n, 1);
    if (n->op == OP_SequenceInsert) {
        const gi_value *where = gi_node_in(n, SequenceInsert_in_position);
        if (list->n_uses != 1 || !is_list(p, list) || (where && !is_known_now(p, where)))
            return false;
        p->failed = p->failed || !gi_map_put(&p->lists, (uint64_t)n->out[0]->id + 1, p);
        return true;
    }
    const gi_node *from = n->op == OP_SequenceAt ? gi_value_node(list) : NULL;
    if (!from || from->block == p->l->body || !at || !is_known_now(p, at))
        return false;
    if (from->op == OP_SequenceConstruct)
        return true;
    /* one piece in each run, and all of them: these become one Split */
    return from->op == OP_SplitToSequence && list->n_uses == 1 && p->l->param0 && at == p->l->body->params[0] &&
           count_pieces(from) == p->l->trips;
}

/* A value that folding writes down, since something reads it that stays. */
static void pay(plan *p, const gi_value *v)
{
    if (gi_value_blob(v) || !is_known_now(p, v) || gi_map_get(&p->paid, (uint64_t)v->id + 1) ||
        (v->kind == GI_DEF_PARAM && (v->index < p->l->param0 || (p->first && v->index < p->l->param0 + p->l->n_state))))
        return;
    p->failed = p->failed || !gi_map_put(&p->paid, (uint64_t)v->id + 1, p);
    const int64_t bytes = gi_loop_bytes(v->type);
    p->bytes = gi_add_i64(p->bytes, bytes < 0 ? INT64_MAX / 4 : bytes, &p->bytes) ? p->bytes : INT64_MAX / 2;
}

/* Weighs one run; p->state is then what is known before the next. *same: nothing has changed by it. */
static void weigh_run(plan *p, bool *same)
{
    const gi_loop *l = p->l;
    p->nodes = p->bytes = 0;
    gi_map_init(&p->known, p->a);
    gi_map_init(&p->paid, p->a);
    gi_map_init(&p->lists, p->a);
    for (const gi_node *n = l->body->first; n && !p->failed; n = n->next) {
        if (!gi_map_get(&p->live, (uint64_t)n->id + 1))
            continue;
        if (folds(p, n)) {
            for (uint32_t i = 0; i < n->n_out; i++)
                p->failed = p->failed || !gi_map_put(&p->known, (uint64_t)n->out[i]->id + 1, p);
            continue;
        }
        p->nodes += !goes_with_list(p, n);
        for (uint32_t i = 0; i < n->n_in; i++)
            if (gi_node_in(n, i))
                pay(p, gi_node_in(n, i));
    }
    for (uint32_t i = 0; i < l->n_scanned; i++) /* a slice is a Gather */
        p->nodes += gi_loop_param(l, l->n_state + i)->n_uses && !is_known_now(p, gi_loop_param(l, l->n_state + i));
    for (uint32_t i = l->n_state; i < l->n->n_out; i++) {
        p->nodes += l->n->out[i]->n_uses && !is_known_now(p, gi_loop_result(l, i));
        if (l->n->out[i]->n_uses)
            pay(p, gi_loop_result(l, i));
    }
    *same = true;
    bool *next = GI_NEW_ARRAY(p->a, bool, l->n_state + 1), *lists = GI_NEW_ARRAY(p->a, bool, l->n_state + 1);
    p->failed = p->failed || !next || !lists;
    for (uint32_t i = 0; i < l->n_state && !p->failed; i++) {
        lists[i] = is_list(p, gi_loop_result(l, i));
        next[i] = is_known_now(p, gi_loop_result(l, i));
        *same = *same && next[i] == p->state[i] && lists[i] == p->list[i];
    }
    if (!p->failed) {
        p->state = next;
        p->list = lists;
    }
}

/* Bytes of constants that nothing but folded nodes of the body reads: they go. After the last run. */
static int64_t dying_bytes(const plan *p)
{
    const gi_loop *l = p->l;
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
    const gi_loop *l = p->l;
    p->state = GI_NEW_ARRAY(p->a, bool, l->n_state + 1);
    p->list = GI_NEW_ARRAY(p->a, bool, l->n_state + 1);
    p->failed = p->failed || !p->state || !p->list;
    for (uint32_t i = 0; i < l->n_state && !p->failed; i++) {
        const gi_value *x = gi_node_in(l->n, l->in0 + i);
        const gi_node *from = gi_value_node(x);
        p->state[i] = gi_value_blob(x) != NULL;
        p->list[i] = from && x->n_uses == 1 && (from->op == OP_SequenceEmpty || from->op == OP_SequenceConstruct);
    }
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
        p->all_nodes += l->n->out[i]->n_uses && !is_known_now(p, gi_loop_result(l, i)); /* the Concat of the stack */
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
    const gi_loop *l = p->l;
    gi_pass_ctx *cx = l->cx;
    int64_t work;
    const int64_t before = 1 + (int64_t)l->body->n_nodes;
    gi_pass_set_growth(cx);
    mark_live(p);
    if (p->failed)
        return false;
    if (holds_blocks(p)) {
        gi_loop_decline(l, "loop_unrolled", l->n, "its body holds other bodies, which would be there %lld times",
                        (long long)l->trips);
        return false;
    }
    if (!weigh(p)) {
        gi_loop_decline(l, "loop_unrolled", l->n, "what it computes from constants still changes after %d runs",
                        MOST_UNEVEN);
        return false;
    }
    if (p->all_nodes > before) {
        gi_loop_decline(l, "loop_unrolled", l->n,
                        "unrolling %lld runs of %u node%s would leave %lld nodes instead of %lld", (long long)l->trips,
                        p->n_live, p->n_live == 1 ? "" : "s", (long long)p->all_nodes, (long long)before);
        return false;
    }
    if (p->all_bytes > cx->growth_left) {
        gi_loop_decline(l, "loop_unrolled", l->n,
                        "unrolling %lld runs would let the file grow by %lld bytes, and may by %lld",
                        (long long)l->trips, (long long)p->all_bytes, (long long)gi_max_i64(cx->growth_left, 0));
        return false;
    }
    if (!gi_mul_i64(l->trips, (int64_t)(p->n_live + l->n->n_out + 1) * CLONE_WORK, &work) || work > cx->work_left) {
        gi_loop_decline(l, "loop_unrolled", l->n,
                        "unrolling %lld runs of %u nodes is more work than is left for this model", (long long)l->trips,
                        p->n_live);
        return false;
    }
    if (p->failed || !gi_pass_may(cx, "loop_unrolled"))
        return false;
    cx->work_left -= work;
    return true;
}

/* ---- unrolling ---- */

static gi_value *with_axis(const gi_loop *l, gi_opcode op, gi_value *v, int64_t axis)
{
    gi_value *axes = gi_const_i64(l->g, 1, 1, &axis);
    gi_node *u = axes ? gi_build(l->n->block, l->n, op, 2, (gi_value *[]){ v, axes }) : NULL;
    return u && gi_node_merge_origins(u, l->n) ? u->out[0] : NULL;
}

/* What run k gets of scanned input i. */
static gi_value *slice_of(const gi_loop *l, uint32_t i, int64_t k, gi_arena *a)
{
    gi_value *x = gi_node_in(l->n, l->in0 + l->n_state + i);
    const int64_t axis = gi_loop_entry(l->n, Scan_at_scan_input_axes, i);
    if (gi_loop_entry(l->n, Scan_at_scan_input_directions, i) == 1)
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
static bool enter_run(const gi_loop *l, int64_t k, gi_value *const *state, gi_arena *a, gi_value **out)
{
    if (l->param0) {
        out[0] = gi_const_i64(l->g, 0, 1, &k);
        out[1] = gi_loop_bool(l->g, true);
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
static gi_value *stack_of(const gi_loop *l, uint32_t i, gi_values *items, gi_arena *a)
{
    const int64_t axis = gi_loop_stack_axis(l, i);
    const bool backwards = l->n_scanned && gi_loop_entry(l->n, Scan_at_scan_output_directions, i - l->n_state) == 1;
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

static gopt_status take_place(const gi_loop *l, gi_value *const *y)
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

gopt_status gi_loop_run_once(gi_loop *l)
{
    gi_arena *a = l->cx->scratch;
    gi_block *b = l->body;
    for (uint32_t i = 0; i < l->n_state; i++)
        if (gi_type_differs(gi_node_in(l->n, l->in0 + i)->type, gi_loop_param(l, i)->type) ||
            gi_type_differs(gi_loop_result(l, i)->type, l->n->out[i]->type)) {
            gi_loop_decline(l, "loop_once", l->n, "value %u that it carries changes its type", i);
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
        y[i] = gi_loop_result(l, i);
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
    const gi_loop *l;
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
static gopt_status copy_runs(const gi_loop *l, const plan *p, gi_arena *a, gi_value **y)
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
            state[i] = copy_of(&c, gi_loop_result(l, i));
        for (uint32_t i = l->n_state; i < l->n->n_out; i++)
            if (l->n->out[i]->n_uses)
                GI_NEED(gi_push(a, &stacks[i], copy_of(&c, gi_loop_result(l, i))));
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

gopt_status gi_loop_unroll(gi_loop *l)
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
        gi_loop_decline(l, "loop_unrolled", l->n, "a run of its body would have operands of types that do not fit");
        return GOPT_OK;
    }
    GI_TRY(st);
    gi_applied(l->cx, "loop_unrolled", l->n, "its %lld runs leave %lld nodes instead of %lld", (long long)l->trips,
               (long long)p.all_nodes, 1 + (long long)l->body->n_nodes);
    return take_place(l, y);
}
