/* Reference evaluation of a main block, node by node, with every number moved by about a rounding error where a
 * seed is given (Monte Carlo arithmetic): what comes out moves by what rounding does to it.
 *
 * Sizes may be computed in floats, and a floor of 0.9999999 is another size, which nothing else fits. Such a run is made
 * again with all that floats decide (integers, truth values) as it is where nothing is moved. */
#include <math.h>

#include "proof/proof.h"

typedef struct frame {
    gi_map values; /* by id: gopt_tensor, one reference */
    gi_arena *arena;
    gi_arena *scratch; /* of one node */
    gopt_ctx *cx;
    uint64_t seed, state;
    bool decided; /* values hold those of a run without a seed: what floats decide stays as it was there */
} frame;

/* Operators that round nothing: their results are their inputs, or the same for all inputs that are near. */
static bool is_exact(const gi_node *n)
{
    if (gi_op_get(n->op)->traits & (GI_VIEW | GI_MOVEMENT))
        return true;
    switch (n->op) {
    case OP_Identity:
    case OP_Relu:
    case OP_Abs:
    case OP_Neg:
    case OP_Max:
    case OP_Min:
    case OP_Clip:
    case OP_Where:
    case OP_Floor:
    case OP_Ceil:
    case OP_Round:
    case OP_Sign:
    case OP_ReduceMax:
    case OP_ReduceMin:
    case OP_MaxPool:
    case OP_TopK:
    case OP_Dropout:
    case OP_Fusion:
        return true;
    default:
        return false;
    }
}

static void move_elements(gopt_tensor *t, uint64_t *state)
{
    const double step = proof_epsilon(t->dtype), least = proof_smallest(t->dtype);
    for (int64_t i = 0, n = gopt_tensor_elements(t); i < n; i++) {
        const double x = gi_tensor_f64(t, i), by = fmax(fabs(x) * step * (0.5 + 0.5 * proof_unit(state)), least);
        if (!isfinite(x) || x == 0)
            continue;
        const double y = proof_random(state) & 1 ? x + by : x - by;
        gi_store_f64(t->dtype, t->data, (size_t)i, y);
        if (!isfinite(gi_tensor_f64(t, i)))
            gi_store_f64(t->dtype, t->data, (size_t)i, x);
    }
}

static gopt_tensor *find(const frame *f, const gi_value *v)
{
    return gi_map_get(&f->values, (uint64_t)v->id + 1);
}

/* Takes the reference over, also where it fails. */
static bool keep(frame *f, const gi_value *v, gopt_tensor *t)
{
    gopt_tensor_unref(find(f, v));
    if (gi_map_put(&f->values, (uint64_t)v->id + 1, t))
        return true;
    gopt_tensor_unref(t);
    return false;
}

/* A copy that may be moved. */
static gopt_status keep_copy(frame *f, const gi_value *v, const gopt_tensor *t)
{
    gopt_tensor *own;
    GI_TRY(gi_tensor_copy(f->cx, t, &own));
    if (f->seed && own->kind == GOPT_TENSOR && proof_epsilon(own->dtype) > 0)
        move_elements(own, &f->state);
    return keep(f, v, own) ? GOPT_OK : GOPT_NO_MEMORY;
}

static gopt_status read_value(frame *f, const gi_value *v, const gopt_tensor **out)
{
    const gi_blob *b = gi_value_blob(v);
    if (b && !find(f, v)) {
        gopt_tensor borrowed;
        gi_tensor_of_blob(b, &borrowed);
        GI_TRY(keep_copy(f, v, &borrowed));
    }
    *out = find(f, v);
    return *out ? GOPT_OK : GOPT_INTERNAL;
}

static const gopt_tensor *lookup(void *user, const gi_value *v)
{
    frame *f = user;
    const gopt_tensor *t = NULL;
    return read_value(f, v, &t) == GOPT_OK ? t : NULL;
}

/* Operators that add up products, in which infinities of both signs may meet unseen. */
static bool adds_up(const gi_node *n)
{
    return n->op == OP_Conv || n->op == OP_ConvTranspose || n->op == OP_MatMul || n->op == OP_Gemm ||
           n->op == OP_Einsum || (gi_op_get(n->op)->traits & GI_REDUCTION);
}

static bool has_nan(const gopt_tensor *t)
{
    for (int64_t i = 0, n = t && t->kind == GOPT_TENSOR && gi_dtype_is_float(t->dtype) ? gopt_tensor_elements(t) : 0;
         i < n; i++)
        if (isnan(gi_tensor_f64(t, i)))
            return true;
    return false;
}

static bool has_infinity(const gopt_tensor *t)
{
    if (!t || t->kind != GOPT_TENSOR || !gi_dtype_is_float(t->dtype))
        return false;
    for (int64_t i = 0, n = gopt_tensor_elements(t); i < n; i++)
        if (isinf(gi_tensor_f64(t, i)))
            return true;
    return false;
}

/* Is anything subnormal, of a type in which that is as good as zero; or zero, as the product or quotient of what is
 * not, or by a function that is above it? A zero of the latter is not moved, though rounding made it. */
static bool underflows(const gi_node *n, const gopt_tensor *const *in, const gopt_tensor *y)
{
    int64_t a[GOPT_MAX_RANK], b[GOPT_MAX_RANK], index[GOPT_MAX_RANK] = { 0 };
    if (!y || y->kind != GOPT_TENSOR || proof_epsilon(y->dtype) == 0)
        return false;
    const double least = y->dtype == GOPT_F16 ? 0 : proof_smallest(y->dtype) / proof_epsilon(y->dtype);
    const bool product = (n->op == OP_Mul || n->op == OP_Div) && in[0] && in[1];
    if (product) {
        gi_broadcast_strides(in[0]->rank, in[0]->dims, y->rank, y->dims, a);
        gi_broadcast_strides(in[1]->rank, in[1]->dims, y->rank, y->dims, b);
    }
    int64_t at_a = 0, at_b = 0;
    for (int64_t i = 0, count = gopt_tensor_elements(y); i < count; i++) {
        const double v = gi_tensor_f64(y, i);
        if (v != 0 && fabs(v) < least)
            return true;
        if (v == 0 && (n->op == OP_Exp || n->op == OP_Sigmoid) && isfinite(gi_tensor_f64(in[0], i)))
            return true;
        if (!product)
            continue;
        if (v == 0 && gi_tensor_f64(in[0], at_a) != 0 &&
            (n->op == OP_Div ? isfinite(gi_tensor_f64(in[1], at_b)) : gi_tensor_f64(in[1], at_b) != 0))
            return true;
        for (int k = y->rank - 1; k >= 0; k--) {
            at_a += a[k];
            at_b += b[k];
            if (++index[k] < y->dims[k])
                break;
            at_a -= a[k] * y->dims[k];
            at_b -= b[k] * y->dims[k];
            index[k] = 0;
        }
    }
    return false;
}

static gopt_status run_nodes(frame *f, const gi_block *b, bool *overflows);

/* The branch runs as this block's nodes do, so that its numbers are moved too. */
static gopt_status run_if(frame *f, const gi_node *n, bool *overflows)
{
    const gopt_tensor *cond = NULL, *t = NULL;
    GI_TRY(read_value(f, gi_node_in(n, If_in_cond), &cond));
    if (gopt_tensor_elements(cond) != 1)
        return GOPT_BAD_INPUT;
    const gi_block *b = gi_attr_graph(n, gi_tensor_i64(cond, 0) ? If_at_then_branch : If_at_else_branch);
    if (!b || b->n_results != n->n_out)
        return GOPT_BAD_INPUT;
    GI_TRY(run_nodes(f, b, overflows));
    for (uint32_t i = 0; i < n->n_out; i++) {
        gopt_tensor *kept;
        GI_TRY(read_value(f, b->results[i].value, &t));
        GI_TRY(gi_tensor_keep(f->cx, t, &kept));
        GI_NEED(keep(f, n->out[i], kept));
    }
    return GOPT_OK;
}

/* What a round gives for the next, and a row more of each stacked output. */
static gopt_status end_round(frame *f, const gi_node *n, const gi_block *b, uint32_t n_state, int64_t round,
                             gopt_tensor **stacks)
{
    const gopt_tensor *t = NULL;
    gopt_tensor **state = GI_NEW_ARRAY(f->arena, gopt_tensor *, n_state + 1);
    GI_NEED(state);
    for (uint32_t i = 0; i < n_state; i++) { /* all before any is replaced: one may be read for another */
        GI_TRY(read_value(f, b->results[1 + i].value, &t));
        GI_TRY(gi_tensor_keep(f->cx, t, &state[i]));
    }
    for (uint32_t i = 0; n_state + i < n->n_out; i++) {
        GI_TRY(read_value(f, b->results[1 + n_state + i].value, &t));
        int64_t dims[GOPT_MAX_RANK];
        gopt_tensor *grown;
        if (t->kind != GOPT_TENSOR || t->rank + 1 >= GOPT_MAX_RANK || gi_item_size(t->dtype) == 0 ||
            (stacks[i] && stacks[i]->bytes != (size_t)round * t->bytes))
            return GOPT_UNSUPPORTED;
        dims[0] = round + 1;
        memcpy(dims + 1, t->dims, sizeof dims - sizeof dims[0]);
        GI_TRY(gopt_tensor_create(f->cx, t->dtype, t->rank + 1, dims, &grown));
        if (t->bytes) {
            if (round)
                memcpy(grown->data, stacks[i]->data, stacks[i]->bytes);
            memcpy((uint8_t *)grown->data + (size_t)round * t->bytes, t->data, t->bytes);
        }
        gopt_tensor_unref(stacks[i]);
        stacks[i] = grown;
    }
    for (uint32_t i = 0; i < n_state; i++)
        GI_NEED(keep(f, b->params[2 + i], state[i]));
    return GOPT_OK;
}

static gopt_status keep_scalar(frame *f, const gi_value *v, gopt_dtype type, int64_t x)
{
    gopt_tensor *t;
    GI_TRY(gopt_tensor_create(f->cx, type, 0, NULL, &t));
    gi_store_i64(type, t->data, 0, x);
    return keep(f, v, t) ? GOPT_OK : GOPT_NO_MEMORY;
}

/* Likewise a Loop that runs at least once and stacks tensors of one shape; GOPT_UNSUPPORTED of another. */
static gopt_status run_loop(frame *f, const gi_node *n, bool *overflows)
{
    const gi_block *b = gi_attr_graph(n, Loop_at_body);
    const gopt_tensor *t = NULL;
    const uint32_t n_state = n->n_in > Loop_in_v_initial ? n->n_in - Loop_in_v_initial : 0;
    int64_t most = INT64_MAX, round = 0;
    bool going = true;
    if (!b || b->n_params != 2 + n_state || b->n_results != 1 + n->n_out || n->n_out < n_state)
        return GOPT_UNSUPPORTED;
    if (gi_node_in(n, Loop_in_M)) {
        GI_TRY(read_value(f, gi_node_in(n, Loop_in_M), &t));
        most = gi_tensor_i64(t, 0);
    }
    if (gi_node_in(n, Loop_in_cond)) {
        GI_TRY(read_value(f, gi_node_in(n, Loop_in_cond), &t));
        going = gi_tensor_i64(t, 0) != 0;
    }
    if (most < 1 || !going)
        return GOPT_UNSUPPORTED;
    for (uint32_t i = 0; i < n_state; i++) {
        gopt_tensor *kept;
        GI_TRY(read_value(f, n->in[Loop_in_v_initial + i].value, &t));
        GI_TRY(gi_tensor_keep(f->cx, t, &kept));
        GI_NEED(keep(f, b->params[2 + i], kept));
    }
    gopt_tensor **stacks = GI_NEW_ARRAY(f->arena, gopt_tensor *, n->n_out - n_state + 1);
    GI_NEED(stacks);
    gopt_status st = GOPT_OK;
    for (; st == GOPT_OK && going && round < most; round++) {
        st = keep_scalar(f, b->params[0], GOPT_I64, round);
        if (st == GOPT_OK)
            st = keep_scalar(f, b->params[1], GOPT_BOOL, 1);
        if (st == GOPT_OK)
            st = run_nodes(f, b, overflows);
        if (st == GOPT_OK)
            st = read_value(f, b->results[0].value, &t);
        going = st == GOPT_OK && gi_tensor_i64(t, 0) != 0;
        if (st == GOPT_OK)
            st = end_round(f, n, b, n_state, round, stacks);
    }
    for (uint32_t i = 0; i < n->n_out && st == GOPT_OK; i++) {
        if (i < n_state) {
            gopt_tensor *kept;
            st = read_value(f, b->params[2 + i], &t);
            if (st == GOPT_OK)
                st = gi_tensor_keep(f->cx, t, &kept);
            if (st == GOPT_OK)
                st = keep(f, n->out[i], kept) ? GOPT_OK : GOPT_NO_MEMORY;
        } else {
            st = keep(f, n->out[i], gopt_tensor_ref(stacks[i - n_state])) ? GOPT_OK : GOPT_NO_MEMORY;
        }
    }
    for (uint32_t i = 0; i < n->n_out - n_state; i++)
        gopt_tensor_unref(stacks[i]);
    return st;
}

/* Do its results, whole numbers and truth values, come of floats? */
static bool decides(const frame *f, const gi_node *n)
{
    bool floats = false, others = n->n_out > 0;
    for (uint32_t i = 0; i < n->n_in; i++) {
        const gopt_tensor *t = gi_node_in(n, i) ? find(f, gi_node_in(n, i)) : NULL;
        floats = floats || (t && t->kind == GOPT_TENSOR && gi_dtype_is_float(t->dtype));
    }
    for (uint32_t i = 0; i < n->n_out; i++) {
        const gopt_tensor *t = find(f, n->out[i]);
        others = others && t && t->kind == GOPT_TENSOR && !gi_dtype_is_float(t->dtype);
    }
    return floats && others;
}

static gopt_status run_node(frame *f, const gi_node *n, bool *overflows)
{
    if (f->decided && decides(f, n))
        return GOPT_OK;
    if (n->op == OP_If)
        return run_if(f, n, overflows);
    if (n->op == OP_Loop && f->seed && !f->decided) {
        const gopt_status st = run_loop(f, n, overflows);
        if (st != GOPT_UNSUPPORTED)
            return st;
    }
    const gopt_tensor **in = GI_NEW_ARRAY(f->scratch, const gopt_tensor *, n->n_in + 1);
    gopt_tensor **out = GI_NEW_ARRAY(f->scratch, gopt_tensor *, n->n_out + 1);
    GI_NEED(in && out);
    gi_eval a = { .n = n, .cx = f->cx, .n_in = n->n_in, .n_out = n->n_out, .in = in, .out = out };
    a.scratch = f->scratch;
    a.lookup = lookup;
    a.user = f;
    for (uint32_t i = 0; i < n->n_in; i++)
        if (gi_node_in(n, i))
            GI_TRY(read_value(f, gi_node_in(n, i), &in[i]));
    bool nan_in = false;
    for (uint32_t i = 0; i < n->n_in && adds_up(n); i++)
        nan_in = nan_in || has_nan(in[i]);
    GI_TRY(gi_eval_node(&a));
    gopt_status st = GOPT_OK;
    for (uint32_t i = 0; i < n->n_out; i++) {
        gopt_tensor *t = out[i];
        if (!t)
            continue;
        *overflows = *overflows || has_infinity(t) || (adds_up(n) && !nan_in && has_nan(t)) || underflows(n, in, t);
        if (!f->seed || is_exact(n) || t->kind != GOPT_TENSOR || proof_epsilon(t->dtype) == 0) {
            st = keep(f, n->out[i], t) ? st : GOPT_NO_MEMORY;
        } else {
            const gopt_status kept = keep_copy(f, n->out[i], t);
            gopt_tensor_unref(t);
            st = st == GOPT_OK ? kept : st;
        }
    }
    return st;
}

static gopt_status run_nodes(frame *f, const gi_block *b, bool *overflows)
{
    gi_arena *own = gi_arena_create(f->cx), *outer = f->scratch;
    gopt_status st = own ? GOPT_OK : GOPT_NO_MEMORY;
    f->scratch = own;
    for (const gi_node *n = b->first; n && st == GOPT_OK; n = n->next) {
        st = run_node(f, n, overflows);
        gi_arena_reset(own);
    }
    f->scratch = outer;
    gi_arena_destroy(own);
    return st;
}

static gopt_status run_block(frame *f, const gi_block *b, const proof_inputs *s, proof_run *run)
{
    for (uint32_t i = 0; i < b->n_params; i++)
        GI_TRY(keep_copy(f, b->params[i], s->in[i]));
    GI_TRY(run_nodes(f, b, &run->overflows));
    for (uint32_t i = 0; i < b->n_results; i++) {
        const gopt_tensor *t = NULL;
        GI_TRY(read_value(f, b->results[i].value, &t));
        gopt_tensor_unref(run->out[i]);
        run->out[i] = NULL;
        GI_TRY(gi_tensor_keep(f->cx, t, &run->out[i]));
    }
    return GOPT_OK;
}

/* Constants are moved when they are read first: those that were are read again. */
static bool read_constants(void *arg, gi_node *n)
{
    frame *f = arg;
    for (uint32_t i = 0; i < n->n_in; i++) {
        const gi_value *v = gi_node_in(n, i);
        if (!v || !gi_value_blob(v) || !find(f, v))
            continue;
        gopt_tensor borrowed;
        gi_tensor_of_blob(gi_value_blob(v), &borrowed);
        if (keep_copy(f, v, &borrowed) != GOPT_OK)
            return false;
    }
    return true;
}

/* The moved run, and where that cannot be done, the one in which what floats decide is as without a seed. */
static gopt_status run_moved(frame *f, gi_block *b, const proof_inputs *s, proof_run *run)
{
    const uint64_t seed = f->seed;
    const size_t n_diags = f->cx->n_diags;
    const gopt_status st = run_block(f, b, s, run);
    if (st == GOPT_OK || !seed)
        return st;
    f->cx->n_diags = n_diags;
    f->seed = 0;
    GI_NEED(gi_each_node(b, read_constants, f));
    GI_TRY(run_block(f, b, s, run));
    f->seed = f->state = seed;
    f->decided = true;
    GI_NEED(gi_each_node(b, read_constants, f));
    return run_block(f, b, s, run);
}

gopt_status proof_evaluate(gopt_graph *g, const proof_inputs *s, uint64_t seed, gi_arena *a, proof_run *run)
{
    *run = (proof_run){ .n = g->main->n_results, .out = GI_NEW_ARRAY(a, gopt_tensor *, g->main->n_results + 1) };
    frame f = { .arena = gi_arena_create(g->cx), .cx = g->cx, .seed = seed, .state = seed };
    gopt_status st = GOPT_NO_MEMORY;
    if (run->out && f.arena) {
        gi_map_init(&f.values, f.arena);
        st = run_moved(&f, g->main, s, run);
        for (size_t i = 0; i < f.values.cap; i++)
            gopt_tensor_unref(f.values.values[i]);
    }
    gi_arena_destroy(f.arena);
    if (st != GOPT_OK)
        proof_run_release(run);
    return st;
}

void proof_run_release(proof_run *run)
{
    for (uint32_t i = 0; run->out && i < run->n; i++) {
        gopt_tensor_unref(run->out[i]);
        run->out[i] = NULL;
    }
}
