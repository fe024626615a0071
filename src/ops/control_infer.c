/* Type rules of If, Loop and Scan: infer inside their blocks, and say what holds for every iteration. */
#include "ops/control.h"

static const char *type_text(const gi_infer *c, const gi_type *t)
{
    gi_str s;
    gi_str_init(&s, c->scratch);
    gi_type_print(&s, t);
    return s.p && !s.failed ? s.p : "?";
}

static bool elements_differ(const gi_type *a, const gi_type *b)
{
    return a && b && a->kind == GOPT_TENSOR && b->kind == GOPT_TENSOR && a->dtype && b->dtype && a->dtype != b->dtype;
}

/* ---- If ---- */

/* Calls f with each value that the node makes, and with the inputs of its blocks, until one gives false. */
static bool each_made(gi_node *n, bool (*f)(void *arg, gi_value *v), void *arg)
{
    for (uint32_t i = 0; i < n->n_out; i++)
        if (!f(arg, n->out[i]))
            return false;
    for (uint32_t i = 0; i < n->n_attrs; i++) {
        const gi_block *b = n->attrs[i].kind == GI_ATTR_GRAPH ? n->attrs[i].u.graph : NULL;
        for (uint32_t k = 0; b && k < b->n_params; k++)
            if (!f(arg, b->params[k]))
                return false;
    }
    return true;
}

static bool forget_value(void *arg, gi_value *v)
{
    (void)arg;
    gi_value_set_type(v, NULL);
    v->known = NULL;
    v->n_known = 0;
    return true;
}

static bool forget_node(void *arg, gi_node *n)
{
    return each_made(n, forget_value, arg);
}

/* Infers a branch. One that cannot be inferred cannot run either, so it is taken to be dead: exporters leave such
 * branches where only the other one is ever taken. *dead then, and its complaints are forgotten, as are the types that
 * the file declares there: they contradict what the operators give, and a backend would build kernels for them. */
static gopt_status infer_branch(gi_infer *c, gi_block *b, bool *dead)
{
    gopt_ctx *cx = c->g->cx;
    const size_t n_diags = cx->n_diags;
    const gopt_status st = gi_infer_block(b, c->scratch);
    *dead = st == GOPT_BAD_INPUT;
    if (!*dead)
        return st;
    cx->n_diags = n_diags;
    (void)gi_each_node(b, forget_node, NULL);
    return GOPT_OK;
}

static void take_result(gi_infer *c, uint32_t i, const gi_block *b)
{
    gi_value *v = b->results[i].value;
    uint32_t n;
    const gi_dim *const *known = v ? gi_value_known(v, &n) : NULL;
    gi_infer_set_type(c, i, v ? v->type : NULL);
    if (known)
        gi_infer_set_known(c, i, n, known);
}

/* The shapes of both branches may differ, their elements may not. */
static gopt_status unite_results(gi_infer *c, uint32_t i, const gi_block *a, const gi_block *b)
{
    gi_value *x = a->results[i].value, *y = b->results[i].value;
    uint32_t nx, ny;
    const gi_dim *const *kx = x ? gi_value_known(x, &nx) : NULL, *const *ky = y ? gi_value_known(y, &ny) : NULL;
    if (x && y && elements_differ(x->type, y->type))
        return gi_infer_fail_node(c, "output %u is %s of its then_branch, and %s of its else_branch", i,
                                  type_text(c, x->type), type_text(c, y->type));
    if (x && y && x->type && y->type)
        gi_infer_set_type(c, i, gi_type_union(c->g, x->type, y->type));
    if (kx && ky && nx == ny && !memcmp(kx, ky, nx * sizeof *kx))
        gi_infer_set_known(c, i, nx, kx);
    return GOPT_OK;
}

gopt_status gi_infer_if(gi_infer *c)
{
    gi_block *b[2] = { gi_attr_graph(c->n, If_at_else_branch), gi_attr_graph(c->n, If_at_then_branch) };
    bool dead[2];
    uint32_t n;
    const gi_dim *const *cond = gi_infer_known(c, If_in_cond, &n);
    const int taken = cond && n == 1 && gi_dim_is(cond[0], 1) ? 1 : cond && n == 1 && gi_dim_is(cond[0], 0) ? 0 : -1;
    for (int k = 0; k < 2; k++) {
        if (!b[k] || b[k]->n_params > 0 || b[k]->n_results < c->n->n_out)
            return gi_infer_fail_node(c, "a branch has %u inputs and %u outputs, expected 0 and %u",
                                      b[k] ? b[k]->n_params : 0, b[k] ? b[k]->n_results : 0, c->n->n_out);
        if (k == taken) {
            dead[k] = false;
            GI_TRY(gi_infer_block(b[k], c->scratch));
        } else {
            GI_TRY(infer_branch(c, b[k], &dead[k]));
        }
    }
    if (dead[0] && dead[1]) { /* again, to hear why, or where only what the file declared was wrong */
        GI_TRY(gi_infer_block(b[1], c->scratch));
        dead[1] = false;
    }
    for (uint32_t i = 0; i < c->n->n_out; i++) {
        if (taken >= 0 || dead[0] || dead[1])
            take_result(c, i, b[taken >= 0 ? taken : dead[0] ? 1 : 0]);
        else
            GI_TRY(unite_results(c, i, b[1], b[0]));
    }
    return GOPT_OK;
}

/* ---- what a body's values were before it was inferred with a guess ---- */

typedef struct saved {
    gi_value *v;
    const gi_type *type;
    const gi_dim *const *known;
    uint32_t n_known;
} saved;

typedef struct saves {
    gi_arena *arena;
    gi_vec(saved) list;
} saves;

static bool save_value(void *arg, gi_value *v)
{
    saves *s = arg;
    return gi_push(s->arena, &s->list, (saved){ v, v->type, v->known, v->n_known });
}

static bool save_node(void *arg, gi_node *n)
{
    return each_made(n, save_value, arg);
}

static void restore(const saves *s)
{
    for (size_t i = 0; i < s->list.n; i++) {
        gi_value *v = s->list.p[i].v;
        gi_value_set_type(v, s->list.p[i].type);
        v->known = s->list.p[i].known;
        v->n_known = s->list.p[i].n_known;
    }
}

/* ---- types of the state, the same in every iteration ---- */

typedef struct fixpoint {
    gi_infer *c;
    gi_block *body;
    uint32_t first_param, first_result, n;
    const gi_type **state;
    gi_map varies; /* dims that stand for "another in each iteration", by address */
} fixpoint;

static const gi_dim *new_varying(fixpoint *f)
{
    const gi_dim *d = gi_dim_unknown(f->c->g->dims, true);
    return d && gi_map_put(&f->varies, gi_key(d), f) ? d : NULL;
}

/* `state` made to hold of `next` too; the same pointer where it does already. NULL: nothing is known. */
static const gi_type *widen(fixpoint *f, const gi_type *state, const gi_type *next, bool no_rank)
{
    gi_types *types = f->c->g->types;
    if (!state || state == next)
        return state;
    if (!next || next->kind != state->kind || next->key != state->key)
        return NULL;
    if (state->kind != GOPT_TENSOR)
        return gi_type_around(types, state, widen(f, state->elem, next->elem, true));
    const gopt_dtype dtype = state->dtype == next->dtype ? state->dtype : GOPT_UNDEFINED;
    if (state->rank < 0 || next->rank != state->rank)
        return gi_type_tensor(types, dtype, -1, NULL);
    const gi_dim *dims[GOPT_MAX_RANK];
    bool changed = false;
    for (int i = 0; i < state->rank && i < GOPT_MAX_RANK; i++) {
        dims[i] = state->dims[i];
        if (dims[i] == next->dims[i] || gi_map_get(&f->varies, gi_key(dims[i])))
            continue;
        dims[i] = new_varying(f);
        if (!dims[i])
            f->c->no_memory = true;
        changed = true;
    }
    if (changed && no_rank)
        return gi_type_tensor(types, dtype, -1, NULL);
    return f->c->no_memory ? state : gi_type_tensor(types, dtype, state->rank, dims);
}

/* A type for the outside: dims that vary there become plain unknowns. */
static const gi_type *outside(fixpoint *f, const gi_type *t)
{
    const gi_dim *dims[GOPT_MAX_RANK];
    if (!t || t->kind != GOPT_TENSOR || t->rank < 0 || t->rank > GOPT_MAX_RANK)
        return t;
    for (int i = 0; i < t->rank; i++)
        dims[i] = gi_dim_is_unknown(t->dims[i]) && f->varies.n > 0 ? gi_dim_unknown(f->c->g->dims, true) : t->dims[i];
    return gi_type_tensor(f->c->g->types, t->dtype, t->rank, dims);
}

/* ONNX lets the shapes of what is carried along change from run to run, but not the types of elements. */
static gopt_status keeps_elements(fixpoint *f, uint32_t i, const gi_value *next)
{
    const gi_type *t = next ? next->type : NULL;
    if (!elements_differ(f->state[i], t))
        return GOPT_OK;
    return gi_infer_fail_node(f->c, "value %u that it carries goes into its body as %s, and comes out as %s", i,
                              type_text(f->c, f->state[i]), type_text(f->c, t));
}

/* Infers the body with the state as guessed, widens the guess by what comes out, until it holds. At most four
 * rounds: in the last nothing but dtypes is left to be guessed. Deep inside other loops there is one round.
 * A body that cannot be with a guess may still be right, since it may never run: the last round says. */
static gopt_status find_fixpoint(fixpoint *f)
{
    enum { ROUNDS = 4, GUESS_DEPTH = 3 };
    gi_infer *c = f->c;
    saves s = { .arena = c->scratch };
    gi_map_init(&f->varies, c->scratch);
    GI_NEED(gi_each_node(f->body, save_node, &s));
    const size_t n_diags = c->g->cx->n_diags;
    for (int round = gi_block_depth(f->body) > GUESS_DEPTH ? ROUNDS - 1 : 0; round < ROUNDS; round++) {
        const bool last = round == ROUNDS - 1;
        bool holds = true;
        for (uint32_t i = 0; i < f->n; i++) {
            const gi_type *t = f->state[i];
            if (last && t)
                f->state[i] = t->kind == GOPT_TENSOR ? gi_type_tensor(c->g->types, t->dtype, -1, NULL) : NULL;
            gi_value_set_type(f->body->params[f->first_param + i], f->state[i]);
        }
        const gopt_status st = gi_infer_block(f->body, c->scratch);
        if (st == GOPT_BAD_INPUT && !last) {
            c->g->cx->n_diags = n_diags;
            restore(&s);
            round = ROUNDS - 2;
            continue;
        }
        GI_TRY(st);
        for (uint32_t i = 0; i < f->n; i++) {
            const gi_value *v = f->body->results[f->first_result + i].value;
            GI_TRY(keeps_elements(f, i, v));
            if (last)
                continue;
            const gi_type *wider = widen(f, f->state[i], v ? v->type : NULL, round > 0);
            holds &= wider == f->state[i];
            f->state[i] = wider;
        }
        if (c->no_memory)
            return GOPT_NO_MEMORY;
        if (holds)
            return GOPT_OK;
        restore(&s);
    }
    return GOPT_OK;
}

/* The state before the first iteration: what the body declares of its parameter, and the initial value's type. The
 * latter is right where the shapes contradict each other: declared ones may be of a later iteration. */
static gopt_status initial_state(gi_infer *c, const gi_value *param, uint32_t in, const gi_type **state)
{
    bool clash = false;
    const gi_type *given = gi_infer_type(c, in), *t = gi_type_merge(c->g, param->type, given, &clash);
    if (clash && elements_differ(param->type, given))
        return gi_infer_fail(c, in, "its body takes %s there", type_text(c, param->type));
    *state = clash ? given : t;
    return GOPT_OK;
}

/* A result of one iteration, stacked along a new axis of that length. */
static void set_stacked(fixpoint *f, uint32_t out, const gi_value *v, int64_t axis, const gi_dim *length)
{
    const gi_type *t = v ? outside(f, v->type) : NULL;
    const gi_dim *dims[GOPT_MAX_RANK];
    int at;
    if (!t || t->kind != GOPT_TENSOR)
        return;
    if (t->rank < 0 || t->rank >= GOPT_MAX_RANK || !gi_axis(axis, t->rank + 1, &at)) {
        gi_infer_set(f->c, out, t->dtype, -1, NULL);
        return;
    }
    for (int i = 0; i <= t->rank; i++)
        dims[i] = i == at ? length : t->dims[i < at ? i : i - 1];
    gi_infer_set(f->c, out, t->dtype, t->rank + 1, dims);
}

/* ---- Loop ---- */

static void set_scalar(gi_infer *c, gi_value *v, gopt_dtype dtype)
{
    bool clash = false;
    const gi_type *t = gi_type_tensor(c->g->types, dtype, 0, NULL), *merged = gi_type_merge(c->g, v->type, t, &clash);
    if (!clash && merged && merged != v->type)
        gi_value_set_type(v, merged);
}

/* How often it runs: M, where no condition can end it sooner; else unknown. */
static const gi_dim *trip_count(gi_infer *c, const gi_block *body)
{
    uint32_t n;
    int64_t least;
    const gi_dim *const *m = gi_infer_known(c, Loop_in_M, &n);
    const gi_dim *count = m && n == 1 && gi_dim_lower(m[0], &least) && least >= 0 ? m[0] : NULL;
    const gi_dim *const *cond = gi_infer_known(c, Loop_in_cond, &n);
    const bool starts = !gi_infer_has(c, Loop_in_cond) || (cond && n == 1 && gi_dim_is(cond[0], 1));
    gi_value *next = body->results[0].value;
    for (const gi_node *d = gi_value_node(next); d && d->op == OP_Identity; d = gi_value_node(next))
        next = gi_node_in(d, 0);
    const gi_dim *const *again = next ? gi_value_known(next, &n) : NULL;
    const bool goes_on = next == body->params[1] || (again && n == 1 && gi_dim_is(again[0], 1));
    return count && starts && goes_on ? count : gi_dim_unknown(c->g->dims, true);
}

gopt_status gi_infer_loop(gi_infer *c)
{
    gi_block *body = gi_attr_graph(c->n, Loop_at_body);
    const uint32_t n = c->n->n_in > Loop_in_v_initial ? c->n->n_in - Loop_in_v_initial : 0;
    if (!body || body->n_params != n + 2 || body->n_results < n + 1 || c->n->n_out > body->n_results - 1)
        return gi_infer_fail_node(c, "its body has %u inputs and %u outputs, for %u carried values and %u outputs",
                                  body ? body->n_params : 0, body ? body->n_results : 0, n, c->n->n_out);
    fixpoint f = { .c = c, .body = body, .first_param = 2, .first_result = 1, .n = n };
    f.state = GI_NEW_ARRAY(c->scratch, const gi_type *, n + 1);
    GI_NEED(f.state);
    set_scalar(c, body->params[0], GOPT_I64);
    set_scalar(c, body->params[1], GOPT_BOOL);
    for (uint32_t i = 0; i < n; i++)
        GI_TRY(initial_state(c, body->params[2 + i], Loop_in_v_initial + i, &f.state[i]));
    GI_TRY(find_fixpoint(&f));
    for (uint32_t i = 0; i < n; i++)
        gi_infer_set_type(c, i, outside(&f, f.state[i]));
    const gi_dim *trips = trip_count(c, body);
    GI_NEED(trips);
    for (uint32_t i = n; i < c->n->n_out; i++)
        set_stacked(&f, i, body->results[1 + i].value, 0, trips);
    return GOPT_OK;
}

/* ---- Scan ---- */

static int64_t entry(const gi_node *n, int at, uint32_t i)
{
    const int64_t *v;
    const uint32_t count = gi_attr_ints(n, at, &v);
    return i < count ? v[i] : 0;
}

/* Sets the parameter that receives slices of an input; refines the length that all of them share. */
static gopt_status set_slice(gi_infer *c, gi_value *param, uint32_t in, int64_t axis, const gi_dim **length)
{
    const gi_type *t = gi_infer_type(c, in);
    const int rank = gi_infer_rank(c, in);
    const gi_dim *dims[GOPT_MAX_RANK];
    int at;
    bool clash = false;
    if (!t || rank < 0)
        return GOPT_OK;
    if (!gi_axis(axis, rank, &at))
        return gi_infer_fail(c, in, "it has no axis %lld to be scanned along", (long long)axis);
    if (!*length || gi_dim_is_const(t->dims[at], NULL))
        *length = t->dims[at];
    for (int i = 0; i < rank - 1; i++)
        dims[i] = t->dims[i < at ? i : i + 1];
    const gi_type *slice = gi_type_tensor(c->g->types, t->dtype, rank - 1, dims);
    GI_NEED(slice);
    const gi_type *merged = gi_type_merge(c->g, param->type, slice, &clash);
    gi_value_set_type(param, clash ? slice : merged);
    return GOPT_OK;
}

gopt_status gi_infer_scan(gi_infer *c)
{
    gi_block *body = gi_attr_graph(c->n, Scan_at_body);
    const int64_t scanned = gi_attr_int(c->n, Scan_at_num_scan_inputs);
    if (scanned < 1 || scanned > c->n->n_in)
        return gi_infer_fail_node(c, "attribute num_scan_inputs is %lld, it has %u inputs", (long long)scanned,
                                  c->n->n_in);
    const uint32_t m = (uint32_t)scanned, n = c->n->n_in - m;
    if (!body || body->n_params != n + m || body->n_results < n || c->n->n_out > body->n_results)
        return gi_infer_fail_node(c, "its body has %u inputs and %u outputs, for %u states, %u slices and %u outputs",
                                  body ? body->n_params : 0, body ? body->n_results : 0, n, m, c->n->n_out);
    fixpoint f = { .c = c, .body = body, .n = n };
    const gi_dim *length = NULL;
    f.state = GI_NEW_ARRAY(c->scratch, const gi_type *, n + 1);
    GI_NEED(f.state);
    for (uint32_t i = 0; i < n; i++)
        GI_TRY(initial_state(c, body->params[i], i, &f.state[i]));
    for (uint32_t i = 0; i < m; i++)
        GI_TRY(set_slice(c, body->params[n + i], n + i, entry(c->n, Scan_at_scan_input_axes, i), &length));
    GI_TRY(find_fixpoint(&f));
    length = length ? length : gi_dim_unknown(c->g->dims, true);
    GI_NEED(length);
    for (uint32_t i = 0; i < n && i < c->n->n_out; i++)
        gi_infer_set_type(c, i, outside(&f, f.state[i]));
    for (uint32_t i = n; i < c->n->n_out; i++)
        set_stacked(&f, i, body->results[i].value, entry(c->n, Scan_at_scan_output_axes, i - n), length);
    return GOPT_OK;
}
