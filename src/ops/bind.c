/* Binding symbols: an input's shape gives equations `dim = number`, which are solved, put into all types, and
 * followed by type inference. */
#include "ops/bind.h"

#include <inttypes.h>

#include "gopt/graph.h"
#include "ops/infer.h"

typedef struct equation {
    const gi_dim *dim;
    int64_t value;
    uint32_t input;
    int axis;
    bool done;
} equation;

typedef struct solver {
    gopt_graph *g;
    gi_arena *arena;
    gopt_status status; /* of a contradiction */
    gi_vec(equation) eqs;
    gi_vec(gi_binding) bound;
    gi_vec(uint32_t) source; /* the equation that bound each */
} solver;

/* ---- symbols of a dim ---- */

typedef struct symbols {
    gi_arena *arena;
    gi_vec(const gi_dim *) found;
    bool failed;
} symbols;

static void add_symbol(void *arg, const gi_dim *symbol)
{
    symbols *s = arg;
    for (size_t i = 0; i < s->found.n; i++)
        if (s->found.p[i] == symbol)
            return;
    if (!gi_push(s->arena, &s->found, symbol))
        s->failed = true;
}

static gopt_status input_symbols(const gopt_graph *g, gi_arena *arena, symbols *out)
{
    *out = (symbols){ .arena = arena };
    for (uint32_t i = 0; i < g->main->n_params; i++) {
        const gi_type *t = g->main->params[i]->type;
        for (int k = 0; t && t->kind == GOPT_TENSOR && k < t->rank; k++)
            gi_dim_each_symbol(t->dims[k], add_symbol, out);
    }
    return out->failed ? GOPT_NO_MEMORY : GOPT_OK;
}

static const char *dim_text(gi_arena *a, const gi_dim *d)
{
    gi_str s;
    gi_str_init(&s, a);
    gi_dim_print(&s, d);
    return s.p ? s.p : "?";
}

/* "batch = 2, seq = 7" */
static const char *binding_text(gi_arena *a, const gi_binding *b, size_t n)
{
    gi_str s;
    gi_str_init(&s, a);
    for (size_t i = 0; i < n; i++)
        gi_str_addf(&s, "%s%s = %" PRId64, i ? ", " : "", dim_text(a, b[i].symbol), b[i].value);
    return s.p ? s.p : "";
}

/* ---- putting bindings into a graph ---- */

typedef struct putter {
    gopt_graph *g;
    gi_arena *arena;
    const gi_binding *b;
    size_t n;
    bool failed;
} putter;

static const gi_type *bound_type(putter *p, const gi_type *t)
{
    if (!t)
        return NULL;
    if (t->kind != GOPT_TENSOR) {
        const gi_type *elem = bound_type(p, t->elem);
        return elem == t->elem ? t : gi_type_around(p->g->types, t, elem);
    }
    const gi_dim *dims[GOPT_MAX_RANK];
    bool same = true;
    for (int i = 0; i < t->rank; i++) {
        dims[i] = gi_dim_subst(p->g->dims, t->dims[i], p->b, p->n);
        if (!dims[i]) {
            p->failed = true;
            return t;
        }
        same = same && dims[i] == t->dims[i];
    }
    return same ? t : gi_type_tensor(p->g->types, t->dtype, t->rank, dims);
}

static void put_value(putter *p, gi_value *v)
{
    const gi_type *t = bound_type(p, v->type);
    if (v->type && !t)
        p->failed = true;
    else if (t != v->type)
        gi_value_set_type(v, t);
    if (!v->known || !v->n_known)
        return;
    const gi_dim **known = GI_NEW_ARRAY(p->arena, const gi_dim *, v->n_known);
    if (!known) {
        p->failed = true;
        return;
    }
    bool same = true;
    for (uint32_t i = 0; i < v->n_known && !p->failed; i++) {
        known[i] = v->known[i] ? gi_dim_subst(p->g->dims, v->known[i], p->b, p->n) : NULL;
        p->failed = v->known[i] && !known[i];
        same = same && known[i] == v->known[i];
    }
    if (!p->failed && !same && !gi_value_set_known(v, v->n_known, known))
        p->failed = true;
}

static bool put_node(void *arg, gi_node *n)
{
    putter *p = arg;
    for (uint32_t i = 0; i < n->n_out; i++)
        put_value(p, n->out[i]);
    for (uint32_t i = 0; i < n->n_attrs; i++) {
        const gi_block *b = n->attrs[i].kind == GI_ATTR_GRAPH ? n->attrs[i].u.graph : NULL;
        for (uint32_t k = 0; b && k < b->n_params; k++)
            put_value(p, b->params[k]);
    }
    return !p->failed;
}

gopt_status gi_bind_symbols(gopt_graph *g, const gi_binding *b, size_t n)
{
    putter p = { .g = g, .arena = gi_arena_create(g->cx), .b = b, .n = n };
    GI_NEED(p.arena);
    for (uint32_t i = 0; n && i < g->main->n_params; i++)
        put_value(&p, g->main->params[i]);
    if (n && !p.failed)
        (void)gi_each_node(g->main, put_node, &p);
    gopt_status st = p.failed ? GOPT_NO_MEMORY : gi_infer_graph(g);
    if (st != GOPT_OK && st != GOPT_NO_MEMORY && n)
        gi_note(g->cx, &(gi_place){ .file = g->file }, NULL, "this is with %s", binding_text(p.arena, b, n));
    gi_arena_destroy(p.arena);
    return st;
}

/* ---- solving ---- */

static gopt_status contradiction(solver *s, const equation *e)
{
    gopt_graph *g = s->g;
    const gi_place at = { .file = g->file, .input = g->main->params[e->input]->name };
    symbols in = { .arena = s->arena };
    gi_dim_each_symbol(e->dim, add_symbol, &in);
    for (size_t i = 0; i < in.found.n; i++)
        for (size_t k = 0; k < s->bound.n; k++) {
            if (s->bound.p[k].symbol != in.found.p[i])
                continue;
            const equation *by = &s->eqs.p[s->source.p[k]];
            if (by == e)
                continue;
            return gi_fail(g->cx, s->status, &at, NULL,
                           "dimension %d is %s = %" PRId64 ", but %s = %" PRId64
                           " by dimension %d of input %s, which is %s = %" PRId64,
                           e->axis, dim_text(s->arena, e->dim), e->value, dim_text(s->arena, in.found.p[i]),
                           s->bound.p[k].value, by->axis, g->main->params[by->input]->name, dim_text(s->arena, by->dim),
                           by->value);
        }
    int64_t fixed;
    if (gi_dim_is_const(e->dim, &fixed))
        return gi_fail(g->cx, s->status, &at,
                       "the model was exported for this size; export it with that dimension dynamic",
                       "dimension %d is %" PRId64 " in the model, found %" PRId64, e->axis, fixed, e->value);
    return gi_fail(g->cx, s->status, &at, NULL, "dimension %d is %s, which is never %" PRId64, e->axis,
                   dim_text(s->arena, e->dim), e->value);
}

typedef enum outcome { SOLVED, IMPOSSIBLE, UNDECIDED } outcome;

/* The value of the one free symbol that makes a dim e->value. Linear dims alone are decided: of others (floor,
 * minimum, products of a symbol with itself) several values may do. */
static outcome solve_linear(solver *s, const equation *e, const gi_dim *symbol, int64_t *x)
{
    gi_binding *b = GI_NEW_ARRAY(s->arena, gi_binding, s->bound.n + 1);
    const size_t n = s->bound.n + 1;
    int64_t at[4], slope, rest;
    if (!b)
        return UNDECIDED;
    if (s->bound.n)
        memcpy(b, s->bound.p, s->bound.n * sizeof *b);
    b[n - 1] = (gi_binding){ symbol, 0 };
    for (int i = 0; i < 4; i++) {
        b[n - 1].value = i;
        if (!gi_dim_eval(e->dim, b, n, &at[i]))
            return UNDECIDED;
    }
    if (__builtin_sub_overflow(at[1], at[0], &slope) || __builtin_sub_overflow(e->value, at[0], &rest) || slope == 0 ||
        slope == -1 || at[2] - at[1] != slope || at[3] - at[2] != slope)
        return UNDECIDED;
    *x = rest / slope;
    b[n - 1].value = *x;
    const bool linear = gi_dim_eval(e->dim, b, n, &at[1]) && (at[1] == e->value || rest % slope != 0);
    if (!linear)
        return UNDECIDED;
    return rest % slope == 0 && *x >= 0 ? SOLVED : IMPOSSIBLE;
}

/* Tries one equation: checks it where all is bound, binds where one symbol is left. */
static gopt_status try_equation(solver *s, uint32_t index, bool *progress)
{
    equation *e = &s->eqs.p[index];
    int64_t v;
    if (gi_dim_eval(e->dim, s->bound.p, s->bound.n, &v)) {
        e->done = true;
        return v == e->value ? GOPT_OK : contradiction(s, e);
    }
    symbols in = { .arena = s->arena };
    gi_dim_each_symbol(e->dim, add_symbol, &in);
    GI_NEED(!in.failed);
    const gi_dim *open = NULL;
    for (size_t i = 0; i < in.found.n; i++) {
        if (gi_dim_eval(in.found.p[i], s->bound.p, s->bound.n, &v))
            continue;
        if (open)
            return GOPT_OK; /* two are free: perhaps another equation binds one */
        open = in.found.p[i];
    }
    const outcome is = open ? solve_linear(s, e, open, &v) : UNDECIDED;
    if (is == IMPOSSIBLE)
        return contradiction(s, e);
    if (is == UNDECIDED)
        return GOPT_OK;
    e->done = true;
    *progress = true;
    GI_NEED(gi_push(s->arena, &s->bound, (gi_binding){ open, v }));
    GI_NEED(gi_push(s->arena, &s->source, index));
    return GOPT_OK;
}

static gopt_status solve(solver *s)
{
    for (bool progress = true; progress;) {
        progress = false;
        for (size_t i = 0; i < s->eqs.n; i++)
            if (!s->eqs.p[i].done)
                GI_TRY(try_equation(s, (uint32_t)i, &progress));
    }
    return GOPT_OK;
}

/* ---- shapes ---- */

static gopt_status take_shape(solver *s, uint32_t input, const gi_shape *shape)
{
    const gi_value *v = s->g->main->params[input];
    const gi_type *t = v->type;
    if (shape->rank < 0 || (t && t->kind != GOPT_TENSOR))
        return GOPT_OK;
    if (t && t->rank >= 0 && t->rank != shape->rank) {
        gi_str text;
        gi_str_init(&text, s->arena);
        gi_type_print(&text, t);
        return gi_fail(s->g->cx, s->status, &(gi_place){ .file = s->g->file, .input = v->name }, NULL,
                       "is %s, found %d dimensions", text.p ? text.p : "of another rank", shape->rank);
    }
    for (int i = 0; t && t->rank >= 0 && i < shape->rank; i++)
        if (shape->dims[i] >= 0)
            GI_NEED(gi_push(s->arena, &s->eqs,
                            (equation){ .dim = t->dims[i], .value = shape->dims[i], .input = input, .axis = i }));
    return GOPT_OK;
}

/* The input's dims become the numbers, also where no symbol follows from them. */
static gopt_status put_shape(gopt_graph *g, gi_value *v, const gi_shape *shape)
{
    const gi_type *t = v->type;
    if (shape->rank < 0 || (t && t->kind != GOPT_TENSOR))
        return GOPT_OK;
    const gi_dim *dims[GOPT_MAX_RANK];
    for (int i = 0; i < shape->rank; i++) {
        const bool given = shape->dims[i] >= 0;
        dims[i] = given               ? gi_dim_const(g->dims, shape->dims[i])
                  : t && t->rank >= 0 ? t->dims[i]
                                      : gi_dim_unknown(g->dims, true);
        GI_NEED(dims[i]);
    }
    const gopt_dtype dtype = t && t->dtype != GOPT_UNDEFINED ? t->dtype : shape->dtype;
    const gi_type *type = gi_type_tensor(g->types, dtype, shape->rank, dims);
    GI_NEED(type);
    if (type != t)
        gi_value_set_type(v, type);
    return GOPT_OK;
}

gopt_status gi_bind_shapes(gopt_graph *g, const gi_shape *shapes, gopt_status status)
{
    solver s = { .g = g, .arena = gi_arena_create(g->cx), .status = status };
    GI_NEED(s.arena);
    gopt_status st = GOPT_OK;
    for (uint32_t i = 0; i < g->main->n_params && st == GOPT_OK; i++)
        st = take_shape(&s, i, &shapes[i]);
    if (st == GOPT_OK)
        st = solve(&s);
    for (uint32_t i = 0; i < g->main->n_params && st == GOPT_OK; i++)
        st = put_shape(g, g->main->params[i], &shapes[i]);
    if (st == GOPT_OK)
        st = gi_bind_symbols(g, s.bound.p, s.bound.n);
    gi_arena_destroy(s.arena);
    return st;
}

/* ---- the public interface ---- */

gopt_status gopt_graph_fix_shape(gopt_graph *g, const char *input, int rank, const int64_t *dims)
{
    const uint32_t n = g->main->n_params;
    uint32_t at = 0;
    while (at < n && strcmp(g->main->params[at]->name, input) != 0)
        at++;
    gi_arena *a = gi_arena_create(g->cx);
    GI_NEED(a);
    gopt_status st = GOPT_NO_MEMORY;
    gi_shape *shapes = GI_NEW_ARRAY(a, gi_shape, n + 1);
    if (at == n) {
        gi_str names;
        gi_str_init(&names, a);
        for (uint32_t i = 0; i < n; i++)
            gi_str_addf(&names, "%s%s", i ? ", " : "", g->main->params[i]->name);
        st = gi_fail(g->cx, GOPT_USAGE, &(gi_place){ .file = g->file }, NULL,
                     "there is no input '%s'; the inputs are %s", input, names.p ? names.p : "none");
    } else if (rank < 0 || rank > GOPT_MAX_RANK) {
        st = gi_fail(g->cx, GOPT_USAGE, &(gi_place){ .file = g->file, .input = input }, NULL,
                     "a shape of %d dimensions, expected at most %d", rank, GOPT_MAX_RANK);
    } else if (shapes) {
        for (uint32_t i = 0; i < n; i++)
            shapes[i].rank = -1;
        shapes[at].rank = rank;
        for (int i = 0; i < rank; i++)
            shapes[at].dims[i] = dims[i];
        st = gi_bind_shapes(g, shapes, GOPT_USAGE);
    }
    gi_arena_destroy(a);
    return st;
}

gopt_status gopt_graph_fix_dim(gopt_graph *g, const char *symbol, int64_t value)
{
    gi_arena *a = gi_arena_create(g->cx);
    GI_NEED(a);
    symbols free_ones;
    gopt_status st = input_symbols(g, a, &free_ones);
    gi_str names;
    gi_str_init(&names, a);
    const gi_dim *found = NULL;
    for (size_t i = 0; st == GOPT_OK && i < free_ones.found.n; i++) {
        const char *name = gi_dim_symbol(free_ones.found.p[i]);
        if (name && !strcmp(name, symbol))
            found = free_ones.found.p[i];
        gi_str_addf(&names, "%s%s", i ? ", " : "", dim_text(a, free_ones.found.p[i]));
    }
    if (st == GOPT_OK && !found)
        st = gi_fail(g->cx, GOPT_USAGE, &(gi_place){ .file = g->file }, NULL,
                     "no input has a free dimension '%s'; the free ones are: %s", symbol, names.p ? names.p : "none");
    else if (st == GOPT_OK && value < 0)
        st = gi_fail(g->cx, GOPT_USAGE, &(gi_place){ .file = g->file }, NULL,
                     "dimension '%s' cannot be %" PRId64 ", expected 0 or more", symbol, value);
    else if (st == GOPT_OK)
        st = gi_bind_symbols(g, &(gi_binding){ found, value }, 1);
    gi_arena_destroy(a);
    return st;
}

gopt_status gopt_graph_fix_rest(gopt_graph *g)
{
    gi_arena *a = gi_arena_create(g->cx);
    GI_NEED(a);
    symbols open;
    gopt_status st = input_symbols(g, a, &open);
    if (st == GOPT_OK && open.found.n) {
        gi_binding *b = GI_NEW_ARRAY(a, gi_binding, open.found.n);
        if (b) {
            for (size_t i = 0; i < open.found.n; i++)
                b[i] = (gi_binding){ open.found.p[i], 1 };
            gi_note(g->cx, &(gi_place){ .file = g->file }, "fix them with --dim NAME=VALUE or --shape INPUT=DIMS",
                    "free dimensions are taken as 1: %s", binding_text(a, b, open.found.n));
        }
        st = b ? gi_bind_symbols(g, b, open.found.n) : GOPT_NO_MEMORY;
    }
    gi_arena_destroy(a);
    return st;
}
