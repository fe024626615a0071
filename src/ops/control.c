/* If, Loop and Scan: evaluation, and the rows. The type rules are control_infer.c's. */
#include "ops/control.h"
#include "ops/eval.h"

/* ---- pieces of tensors ---- */

/* Slice `index` along an axis, without that axis. */
static gopt_status slice(gi_eval *a, const gopt_tensor *t, int axis, int64_t index, gopt_tensor **out)
{
    const size_t item = (size_t)gopt_dtype_bits(t->dtype) / 8;
    int64_t dims[GOPT_MAX_RANK];
    for (int i = 0; i < t->rank - 1; i++)
        dims[i] = t->dims[i < axis ? i : i + 1];
    if (!item)
        return gi_eval_fail(a, -1, "elements of type %s cannot be scanned", gopt_dtype_name(t->dtype));
    GI_TRY(gopt_tensor_create(a->cx, t->dtype, t->rank - 1, dims, out));
    const size_t run = (size_t)gi_product(axis + 1, t->rank, t->dims) * item;
    const int64_t outer = gi_product(0, axis, t->dims), n = t->dims[axis];
    for (int64_t i = 0; i < outer && run; i++)
        memcpy((uint8_t *)(*out)->data + (size_t)i * run, (const uint8_t *)t->data + (size_t)(i * n + index) * run,
               run);
    return t->dtype == GOPT_STRING ? gi_tensor_own_strings(a->cx, *out) : GOPT_OK;
}

/* Results of all iterations of one scan output. */
typedef struct stack {
    gopt_tensor **p;
    size_t n, cap;
} stack;

static gopt_status push(gi_eval *a, stack *s, gopt_tensor *t)
{
    const gopt_tensor *first = s->n ? s->p[0] : t;
    if (t->kind != GOPT_TENSOR || t->dtype != first->dtype || t->rank != first->rank || t->rank >= GOPT_MAX_RANK ||
        (t->rank && memcmp(t->dims, first->dims, (size_t)t->rank * sizeof *t->dims) != 0))
        return gi_eval_fail(a, -1, "a scan output must be a tensor of one type and shape in every iteration");
    if (s->n == s->cap) {
        const size_t cap = s->cap ? 2 * s->cap : 16;
        gopt_tensor **p = gi_realloc(a->cx, s->p, cap * sizeof *p);
        GI_NEED(p);
        s->p = p;
        s->cap = cap;
    }
    s->p[s->n++] = gopt_tensor_ref(t);
    return GOPT_OK;
}

static void release(gi_eval *a, stack *stacks, uint32_t n)
{
    for (uint32_t i = 0; stacks && i < n; i++) {
        for (size_t k = 0; k < stacks[i].n; k++)
            gopt_tensor_unref(stacks[i].p[k]);
        gi_free(a->cx, stacks[i].p);
    }
}

/* Nothing was pushed: the type says what an empty stack looks like, dims unknown are 0. */
static gopt_status give_empty(gi_eval *a, uint32_t out, const gi_value *result, int64_t axis)
{
    const gi_type *t = result ? result->type : NULL, *declared = a->n->out[out]->type;
    int64_t dims[GOPT_MAX_RANK] = { 0 };
    gopt_tensor *y;
    int at = 0;
    if (t && t->kind == GOPT_TENSOR && t->dtype && t->rank >= 0 && t->rank < GOPT_MAX_RANK &&
        gi_axis(axis, t->rank + 1, &at)) {
        for (int i = 0; i <= t->rank; i++)
            if (i != at && (!gi_dim_is_const(t->dims[i < at ? i : i - 1], &dims[i]) || dims[i] < 0))
                dims[i] = 0;
        return gi_eval_out(a, out, t->dtype, t->rank + 1, dims, &y);
    }
    const gopt_dtype dtype = t && t->dtype ? t->dtype : declared ? declared->dtype : GOPT_UNDEFINED;
    if (!dtype)
        return gi_eval_fail(a, -1, "no iteration ran, and the type of scan output %u is not known", out);
    return gi_eval_out(a, out, dtype, declared && declared->rank > 0 ? declared->rank : 1, dims, &y);
}

/* The stack as an output, along a new axis. */
static gopt_status give_stack(gi_eval *a, uint32_t out, const stack *s, const gi_value *result, int64_t axis,
                              bool backwards)
{
    if (s->n == 0)
        return give_empty(a, out, result, axis);
    const gopt_tensor *first = s->p[0];
    const size_t item = (size_t)gopt_dtype_bits(first->dtype) / 8;
    int64_t dims[GOPT_MAX_RANK];
    int at;
    gopt_tensor *y;
    if (!gi_axis(axis, first->rank + 1, &at) || !item)
        return gi_eval_fail(a, -1, "scan output %u of rank %d and type %s cannot be stacked along axis %lld", out,
                            first->rank + 1, gopt_dtype_name(first->dtype), (long long)axis);
    for (int i = 0; i <= first->rank; i++)
        dims[i] = i == at ? (int64_t)s->n : first->dims[i < at ? i : i - 1];
    GI_TRY(gi_eval_out(a, out, first->dtype, first->rank + 1, dims, &y));
    const int64_t outer = gi_product(0, at, dims);
    const size_t run = (size_t)gi_product(at + 1, first->rank + 1, dims) * item;
    for (size_t k = 0; y && run && k < s->n; k++) {
        const uint8_t *from = s->p[backwards ? s->n - 1 - k : k]->data;
        for (int64_t i = 0; i < outer; i++)
            memcpy((uint8_t *)y->data + ((size_t)i * s->n + k) * run, from + (size_t)i * run, run);
    }
    /* the strings' bytes die with the stack */
    return y && y->dtype == GOPT_STRING && y->cx ? gi_tensor_own_strings(a->cx, y) : GOPT_OK;
}

static gopt_status as_flag(gi_eval *a, const gopt_tensor *t, const char *what, bool *flag)
{
    if (t->kind != GOPT_TENSOR || t->dtype != GOPT_BOOL || gopt_tensor_elements(t) != 1)
        return gi_eval_fail(a, -1, "%s must be a bool tensor of one element", what);
    *flag = *(const uint8_t *)t->data != 0;
    return GOPT_OK;
}

/* ---- If ---- */

static gopt_status eval_if(gi_eval *a)
{
    bool taken = false;
    GI_TRY(as_flag(a, a->in[If_in_cond], "the condition", &taken));
    const gi_block *b = gi_attr_graph(a->n, taken ? If_at_then_branch : If_at_else_branch);
    if (!b || b->n_params > 0 || b->n_results < a->n_out)
        return gi_eval_fail(a, -1, "its branch is missing, or does not give %u results", a->n_out);
    gopt_tensor **r = gi_eval_scratch(a, b->n_results, sizeof *r);
    GI_NEED(r);
    GI_TRY(gi_eval_block(a->cx, b, NULL, a->lookup, a->user, r));
    gopt_status st = GOPT_OK;
    for (uint32_t i = 0; i < b->n_results; i++) {
        const gopt_status given = gi_eval_out_tensor(a, i, r[i]);
        st = st == GOPT_OK ? given : st;
    }
    return st;
}

/* ---- Loop and Scan ---- */

/* One run: state of the next iteration, and what is stacked. */
typedef struct iteration {
    gi_eval *a;
    const gi_block *body;
    uint32_t n_state, n_stacks, n_before; /* results before the state: Loop's condition */
    gopt_tensor **state;                  /* one reference each */
    gopt_tensor **results;
    stack *stacks;
    const gopt_tensor **params;
} iteration;

static gopt_status begin(iteration *it, gi_eval *a, const gi_block *body, uint32_t n_before, uint32_t n_state,
                         uint32_t n_more, const gopt_tensor *const *initial)
{
    *it = (iteration){ .a = a, .body = body, .n_before = n_before };
    if (!body || body->n_params != n_before + n_state + n_more || body->n_results < n_before + n_state)
        return gi_eval_fail(a, -1, "its body has %u inputs and %u outputs, expected %u and at least %u",
                            body ? body->n_params : 0, body ? body->n_results : 0, n_before + n_state + n_more,
                            n_before + n_state);
    it->n_stacks = body->n_results - n_before - n_state;
    if (a->n_out > n_state + it->n_stacks)
        return gi_eval_fail(a, -1, "it has %u outputs, its body gives %u", a->n_out, n_state + it->n_stacks);
    it->state = gi_eval_scratch(a, n_state, sizeof *it->state);
    it->results = gi_eval_scratch(a, body->n_results, sizeof *it->results);
    it->stacks = gi_eval_scratch(a, it->n_stacks, sizeof *it->stacks);
    it->params = gi_eval_scratch(a, body->n_params, sizeof *it->params);
    GI_NEED(it->state && it->results && it->stacks && it->params);
    it->n_state = n_state;
    for (uint32_t i = 0; i < n_state; i++) {
        if (!initial[i])
            return gi_eval_fail(a, -1, "initial value %u is missing", i);
        GI_TRY(gi_tensor_keep(a->cx, initial[i], &it->state[i]));
    }
    return GOPT_OK;
}

/* Runs the body on it->params; the new state replaces the old, scan results are stacked. it->results[0 …
 * n_before-1] are the caller's to release. */
static gopt_status step(iteration *it)
{
    gi_eval *a = it->a;
    GI_TRY(gi_eval_block(a->cx, it->body, it->params, a->lookup, a->user, it->results));
    gopt_status st = GOPT_OK;
    for (uint32_t i = 0; i < it->n_state; i++) {
        gopt_tensor_unref(it->state[i]);
        it->state[i] = it->results[it->n_before + i];
    }
    for (uint32_t i = 0; i < it->n_stacks; i++) {
        gopt_tensor *t = it->results[it->n_before + it->n_state + i];
        if (st == GOPT_OK && it->n_state + i < a->n_out)
            st = push(a, &it->stacks[i], t);
        gopt_tensor_unref(t);
    }
    return st;
}

static gopt_status give_state(iteration *it)
{
    for (uint32_t i = 0; i < it->n_state && i < it->a->n_out; i++) {
        gopt_tensor *t = it->state[i];
        it->state[i] = NULL;
        GI_TRY(gi_eval_out_tensor(it->a, i, t));
    }
    return GOPT_OK;
}

static void end(iteration *it)
{
    for (uint32_t i = 0; i < it->n_state; i++)
        gopt_tensor_unref(it->state[i]);
    release(it->a, it->stacks, it->n_stacks);
}

static const gi_value *stack_value(const iteration *it, uint32_t i)
{
    return it->body->results[it->n_before + it->n_state + i].value;
}

static gopt_status run_loop(gi_eval *a, iteration *it, int64_t trips, bool go)
{
    /* the body has two parameters before the state and one result */
    int64_t number = 0;
    uint8_t flag = go;
    gopt_tensor count = { .dtype = GOPT_I64, .data = &number, .bytes = sizeof number, .refs = 1 };
    gopt_tensor cond = { .dtype = GOPT_BOOL, .data = &flag, .bytes = 1, .refs = 1 };
    for (; go && number < trips; number++) {
        flag = go;
        it->params[0] = &count;
        it->params[1] = &cond;
        for (uint32_t i = 0; i < it->n_state; i++)
            it->params[2 + i] = it->state[i];
        gopt_status st = step(it);
        if (it->results[0]) {
            if (st == GOPT_OK)
                st = as_flag(a, it->results[0], "the body's condition", &go);
            gopt_tensor_unref(it->results[0]);
            it->results[0] = NULL;
        }
        GI_TRY(st);
    }
    GI_TRY(give_state(it));
    for (uint32_t i = 0; i < it->n_stacks && it->n_state + i < a->n_out; i++)
        GI_TRY(give_stack(a, it->n_state + i, &it->stacks[i], stack_value(it, i), 0, false));
    return GOPT_OK;
}

static gopt_status eval_loop(gi_eval *a)
{
    const gopt_tensor *m = a->n_in > Loop_in_M ? a->in[Loop_in_M] : NULL;
    const gopt_tensor *cond = a->n_in > Loop_in_cond ? a->in[Loop_in_cond] : NULL;
    const uint32_t n_state = a->n_in > Loop_in_v_initial ? a->n_in - Loop_in_v_initial : 0;
    const gi_block *body = gi_attr_graph(a->n, Loop_at_body);
    int64_t trips = INT64_MAX;
    bool go = true;
    if (m) {
        if (m->kind != GOPT_TENSOR || !gi_dtype_is_int(m->dtype) || gopt_tensor_elements(m) != 1)
            return gi_eval_fail(a, Loop_in_M, "expected one integer");
        trips = gi_tensor_i64(m, 0);
    }
    if (cond)
        GI_TRY(as_flag(a, cond, "the condition", &go));
    iteration it;
    gopt_status st = begin(&it, a, body, 1, n_state, 1, n_state ? a->in + Loop_in_v_initial : NULL);
    if (st == GOPT_OK)
        st = run_loop(a, &it, trips, go);
    end(&it);
    return st;
}

/* Entry i of a list of axes or directions; 0 where it is left out. */
static int64_t entry(const gi_node *n, int at, uint32_t i)
{
    const int64_t *v;
    const uint32_t count = gi_attr_ints(n, at, &v);
    return i < count ? v[i] : 0;
}

static gopt_status run_scan(gi_eval *a, iteration *it, const gopt_tensor *const *scanned, const int *axes, uint32_t n)
{
    const int64_t length = scanned[0]->dims[axes[0]];
    gopt_tensor **slices = gi_eval_scratch(a, n, sizeof *slices);
    GI_NEED(slices);
    for (int64_t k = 0; k < length; k++) {
        gopt_status st = GOPT_OK;
        for (uint32_t i = 0; i < it->n_state; i++)
            it->params[i] = it->state[i];
        for (uint32_t i = 0; i < n; i++)
            slices[i] = NULL;
        for (uint32_t i = 0; i < n && st == GOPT_OK; i++) {
            const bool backwards = entry(a->n, Scan_at_scan_input_directions, i) == 1;
            st = slice(a, scanned[i], axes[i], backwards ? length - 1 - k : k, &slices[i]);
            it->params[it->n_state + i] = slices[i];
        }
        if (st == GOPT_OK)
            st = step(it);
        for (uint32_t i = 0; i < n; i++)
            gopt_tensor_unref(slices[i]);
        GI_TRY(st);
    }
    GI_TRY(give_state(it));
    for (uint32_t i = 0; i < it->n_stacks && it->n_state + i < a->n_out; i++)
        GI_TRY(give_stack(a, it->n_state + i, &it->stacks[i], stack_value(it, i),
                          entry(a->n, Scan_at_scan_output_axes, i),
                          entry(a->n, Scan_at_scan_output_directions, i) == 1));
    return GOPT_OK;
}

static gopt_status eval_scan(gi_eval *a)
{
    const int64_t n_scanned = gi_attr_int(a->n, Scan_at_num_scan_inputs);
    if (n_scanned < 1 || n_scanned > a->n_in)
        return gi_eval_fail(a, -1, "attribute num_scan_inputs is %lld, it has %u inputs", (long long)n_scanned,
                            a->n_in);
    const uint32_t n = (uint32_t)n_scanned, n_state = a->n_in - n;
    const gopt_tensor *const *scanned = a->in + n_state;
    int *axes = gi_eval_scratch(a, n, sizeof *axes);
    GI_NEED(axes);
    for (uint32_t i = 0; i < n; i++) {
        const int64_t axis = entry(a->n, Scan_at_scan_input_axes, i);
        if (!scanned[i] || scanned[i]->kind != GOPT_TENSOR || !gi_axis(axis, scanned[i]->rank, &axes[i]))
            return gi_eval_fail(a, -1, "scan input %u is no tensor with an axis %lld", i, (long long)axis);
        if (scanned[i]->dims[axes[i]] != scanned[0]->dims[axes[0]])
            return gi_eval_fail(a, -1, "scan input %u has length %lld, the first has %lld", i,
                                (long long)scanned[i]->dims[axes[i]], (long long)scanned[0]->dims[axes[0]]);
    }
    iteration it;
    gopt_status st = begin(&it, a, gi_attr_graph(a->n, Scan_at_body), 0, n_state, n, a->in);
    if (st == GOPT_OK)
        st = run_scan(a, &it, scanned, axes, n);
    end(&it);
    return st;
}

#include "ops/rows.h"

#include "ir/ops/control.def"
