/* The runner of lint: which rules, what they share, and the report.
 *
 * Rules of nodes and of weights are called in one walk over each, rules of the graph once: linear in all, and no rule
 * can forget a nested graph. */
#include "lint/lint.h"

#include <stdio.h>
#include <stdlib.h>

#include "ops/cost.h"

#define NOTE GOPT_NOTE
#define WARNING GOPT_WARNING
#define ERROR GOPT_ERROR
#define GRAPH GI_LINT_GRAPH
#define NODE GI_LINT_NODE
#define WEIGHT GI_LINT_WEIGHT
static const gi_lint_rule rules[] = {
#define LINT(NAME, ID, GROUP, SEVERITY, KIND, ON, UNIT, FINDS, WHY, FIX, SEEN) \
    { ID, GROUP, SEVERITY, KIND, ON, gi_lint_##NAME, GOPT_LINT_##UNIT, FINDS, WHY, FIX, SEEN },
#include "lint/lint.def"
#undef LINT
};
#undef GRAPH
#undef NODE
#undef WEIGHT
#undef NOTE
#undef WARNING
#undef ERROR

bool gopt_lint_rule_get(size_t i, gopt_lint_rule_info *out)
{
    if (i >= GI_COUNT(rules))
        return false;
    const gi_lint_rule *r = &rules[i];
    *out = (gopt_lint_rule_info){ .name = r->name,
                                  .group = r->group,
                                  .severity = r->severity,
                                  .on = r->on,
                                  .finds = r->finds,
                                  .why = r->why,
                                  .fix = r->fix,
                                  .seen = r->seen };
    return true;
}

const char *gopt_lint_unit_name(gopt_lint_unit u)
{
    static const char *const names[] = { "", "bytes", "flops", "nodes", "elements" };
    return u < GOPT_LINT_UNIT_COUNT ? names[u] : "";
}

/* ---- findings ---- */

const char *gi_lint_name(gi_lint *l, const gi_value *v)
{
    char label[24];
    const char *name = v->name ? v->name : gi_arena_str(l->scratch, gi_value_label(v, label, sizeof label));
    return name ? name : "?";
}

void gi_lint_find(gi_lint *l, const gi_node *n, const gi_value *v, int64_t cost, const char *fmt, ...)
{
    gi_arena *a = l->g->arena;
    va_list args;
    va_start(args, fmt);
    gopt_lint_finding f = { .rule = l->rule->name,
                            .severity = l->rule->severity,
                            .message = gi_arena_vprintf(a, fmt, args),
                            .cost = cost,
                            .unit = cost ? l->rule->unit : GOPT_LINT_NO_COST,
                            .fix = l->rule->fix };
    va_end(args);
    if (v)
        f.value = gi_arena_str(a, gi_lint_name(l, v));
    if (n) {
        f.op = n->op_name;
        f.node = n->name && *n->name ? n->name : n->n_out ? gi_arena_str(a, gi_lint_name(l, n->out[0])) : "?";
    }
    if (!f.message || (v && !f.value) || (n && !f.node) || !gi_push(l->scratch, &l->findings, f))
        l->failed = true;
}

void gi_lint_fix(gi_lint *l, const char *fix)
{
    if (!l->failed && l->findings.n)
        l->findings.p[l->findings.n - 1].fix = fix;
}

/* ---- numbers ---- */

int64_t gi_lint_number(gi_lint *l, const gi_dim *d)
{
    (void)l;
    int64_t v = 0;
    if (!d)
        return 0;
    if (gi_dim_is_const(d, &v))
        return v;
    return gi_dim_eval_each(d, 1, &v) && v > 0 ? v : 0;
}

int64_t gi_lint_bytes(gi_lint *l, const gi_value *v)
{
    if (!v || !v->type || v->type->kind != GOPT_TENSOR)
        return 0;
    size_t bytes;
    const int64_t n = gi_lint_number(l, gi_type_count(l->g, v->type));
    return n > 0 && gi_dtype_bytes(v->type->dtype, (size_t)n, &bytes) && bytes < INT64_MAX ? (int64_t)bytes : 0;
}

int64_t gi_lint_flops(gi_lint *l, const gi_node *n)
{
    return gi_lint_number(l, gi_node_flops(n));
}

const char *gi_lint_list(gi_lint *l, const gi_lint_names *names)
{
    enum { SHOWN = 3 };
    gi_str s;
    gi_str_init(&s, l->scratch);
    for (size_t i = 0; i < names->n && i < SHOWN; i++)
        gi_str_addf(&s, "%s%.120s", i ? ", " : "", names->p[i]);
    if (names->n > SHOWN)
        gi_str_addf(&s, " and %zu more", names->n - SHOWN);
    l->failed |= s.failed;
    return s.failed || !s.p ? "" : s.p;
}

const gi_node *gi_lint_reader(const gi_value *v, uint32_t *index)
{
    for (const gi_use *u = v->uses; u; u = u->next)
        if (u->node) {
            *index = u->index;
            return u->node;
        }
    return NULL;
}

/* ---- what rules share ---- */

typedef struct marking {
    gi_lint *l;
    bool *needed;    /* by node id */
    uint8_t *varies; /* by value id */
    gi_vec(const gi_node *) todo;
} marking;

static void need(marking *m, const gi_value *v)
{
    const gi_node *n = gi_value_node(v);
    if (!n || m->needed[n->id])
        return;
    m->needed[n->id] = true;
    if (!gi_push(m->l->scratch, &m->todo, n))
        m->l->failed = true;
}

static void need_block(marking *m, const gi_block *b)
{
    for (uint32_t i = 0; i < b->n_results; i++)
        need(m, b->results[i].value);
}

/* A node that is needed needs what it reads, what its graphs yield, and the node around it. */
const bool *gi_lint_needed(gi_lint *l)
{
    if (l->needed)
        return l->needed;
    marking m = { .l = l, .needed = GI_NEW_ARRAY(l->scratch, bool, l->g->next_node + 1u) };
    if (!m.needed) {
        l->failed = true;
        return NULL;
    }
    need_block(&m, l->g->main);
    while (m.todo.n && !l->failed) {
        const gi_node *n = m.todo.p[--m.todo.n];
        for (uint32_t i = 0; i < n->n_in; i++)
            need(&m, n->in[i].value);
        for (uint32_t i = 0; i < n->n_attrs; i++)
            if (n->attrs[i].kind == GI_ATTR_GRAPH && n->attrs[i].u.graph)
                need_block(&m, n->attrs[i].u.graph);
    }
    return l->needed = m.needed;
}

enum { VARIES_ALL = GI_VARIES | GI_VARIES_BY_VALUES };

static void vary_params(uint8_t *varies, const gi_block *b)
{
    for (uint32_t i = 0; i < b->n_params; i++)
        varies[b->params[i]->id] = VARIES_ALL;
}

/* Blocks come before the node that holds them; what a nested graph computes counts as varying, for its params do. */
static bool vary_node(void *arg, gi_node *n)
{
    marking *m = arg;
    const gi_op *row = gi_op_get(n->op);
    uint8_t on = 0;
    for (uint32_t i = 0; i < n->n_in; i++)
        on |= n->in[i].value ? m->varies[n->in[i].value->id] : 0;
    if (n->op == OP_Unknown || !(row->traits & GI_PURE) || (row->traits & (GI_RANDOM | GI_CONTROL)) ||
        gopt_node_is_random(n) || n->block->owner)
        on = VARIES_ALL;
    if (n->op == OP_Shape || n->op == OP_Size)
        on &= GI_VARIES;
    for (uint32_t i = 0; i < n->n_attrs; i++)
        if (n->attrs[i].kind == GI_ATTR_GRAPH && n->attrs[i].u.graph)
            vary_params(m->varies, n->attrs[i].u.graph);
    for (uint32_t i = 0; i < n->n_out; i++)
        m->varies[n->out[i]->id] = on;
    return true;
}

const uint8_t *gi_lint_varies(gi_lint *l)
{
    if (l->varies)
        return l->varies;
    marking m = { .l = l, .varies = GI_NEW_ARRAY(l->scratch, uint8_t, l->g->n_values + 1u) };
    if (!m.varies) {
        l->failed = true;
        return NULL;
    }
    vary_params(m.varies, l->g->main);
    gi_each_node(l->g->main, vary_node, &m);
    return l->varies = m.varies;
}

/* ---- weights ---- */

/* In blocks whose counts fit 32 bits, and so that the compiler makes vectors of it. */
static void look_at_floats(gi_lint_weight *w, const float *p, int64_t n)
{
    enum { STRETCH = 1 << 16 };
    uint32_t most = 0;
    for (int64_t at = 0; at < n; at += STRETCH) {
        const int64_t end = gi_min_i64(n, at + STRETCH);
        uint32_t zeros = 0, nans = 0, infs = 0, subnormal = 0, beyond = 0, below = 0;
        for (int64_t i = at; i < end; i++) {
            uint32_t u;
            memcpy(&u, &p[i], 4);
            u &= 0x7fffffffu;
            zeros += u == 0;
            nans += u > 0x7f800000u;
            infs += u == 0x7f800000u;
            subnormal += u != 0 && u < 0x00800000u;
            beyond += u > 0x477fe000u && u < 0x7f800000u; /* 65504 */
            below += u != 0 && u <= 0x33000000u;          /* 2^-25, which rounds to 0 */
            most = u > most && u < 0x7f800000u ? u : most;
        }
        w->zeros += zeros;
        w->nans += nans;
        w->infs += infs;
        w->subnormal += subnormal;
        w->beyond_f16 += beyond;
        w->below_f16 += below;
    }
    float f;
    memcpy(&f, &most, 4);
    w->most = (double)f;
}

static void look_at_others(gi_lint_weight *w, gopt_dtype t)
{
    const bool wide = t == GOPT_F64;
    for (int64_t i = 0; i < w->n; i++) {
        const double x = gi_load_f64(t, w->b->data, (size_t)i), m = x < 0 ? -x : x;
        w->zeros += x == 0;
        w->nans += x != x;
        w->infs += m > 1.7976931348623157e308;
        if (!(m <= 1.7976931348623157e308))
            continue;
        w->beyond_f16 += wide && m > 65504;
        w->below_f16 += wide && m > 0 && m <= 0x1p-25;
        w->subnormal += wide && m > 0 && m < 2.2250738585072014e-308;
        w->most = m > w->most ? m : w->most;
    }
}

static void look_at_weight(gi_lint_weight *w)
{
    const gopt_dtype t = w->b->dtype;
    w->n = gi_blob_elements(w->b);
    if (t == GOPT_F32) {
        look_at_floats(w, w->b->data, w->n);
    } else if (gi_dtype_is_float(t)) {
        look_at_others(w, t);
    } else if (t == GOPT_I64 && w->n) {
        const int64_t *p = w->b->data;
        w->min = w->max = p[0];
        for (int64_t i = 1; i < w->n; i++) {
            w->min = gi_min_i64(w->min, p[i]);
            w->max = gi_max_i64(w->max, p[i]);
        }
    }
}

static bool add_weights(gi_lint *l)
{
    gi_map seen;
    gi_map_init(&seen, l->scratch);
    for (size_t i = 0; i < l->g->consts.n; i++) {
        const gi_value *v = l->g->consts.p[i];
        gi_blob *b = gi_value_blob(v);
        if (!b || !v->n_uses || gi_map_get(&seen, gi_key(b)))
            continue;
        if (!gi_map_put(&seen, gi_key(b), b) || !gi_push(l->scratch, &l->weights, (gi_lint_weight){ .v = v, .b = b }))
            return false;
        look_at_weight(&l->weights.p[l->weights.n - 1]);
    }
    return true;
}

/* ---- which rules ---- */

/* '-' and '_' are the same. */
static bool same_word(const char *a, const char *b, size_t n)
{
    if (strlen(a) != n)
        return false;
    for (size_t i = 0; i < n; i++)
        if (a[i] != b[i] && !(a[i] == '-' && b[i] == '_'))
            return false;
    return true;
}

static gopt_status choose(gopt_graph *g, const char *text, bool *chosen)
{
    for (size_t i = 0; i < GI_COUNT(rules); i++)
        chosen[i] = rules[i].on;
    bool first = true;
    for (const char *p = text; p && *p;) {
        const size_t n = strcspn(p, ",");
        const bool out = *p == '-';
        const char *word = p + out;
        const size_t len = n - out;
        bool known = false;
        for (size_t i = 0; i < GI_COUNT(rules) && first && !out; i++)
            chosen[i] = false; /* the first names what is wanted, not what is not */
        for (size_t i = 0; i < GI_COUNT(rules); i++)
            if (same_word(rules[i].name, word, len) || same_word(rules[i].group, word, len) ||
                same_word("all", word, len)) {
                chosen[i] = !out;
                known = true;
            }
        if (!known)
            return gi_fail(g->cx, GOPT_USAGE, NULL, "gopt inspect --list-lint names the rules and their groups",
                           "there is no lint rule '%.*s'", len > 60 ? 60 : (int)len, word);
        first = false;
        p += n + (p[n] == ',');
    }
    return GOPT_OK;
}

/* ---- the walk ---- */

typedef struct walk {
    gi_lint l;
    bool chosen[GI_COUNT(rules)];
} walk;

static void each_rule(walk *w, gi_lint_kind kind)
{
    for (size_t i = 0; i < GI_COUNT(rules); i++)
        if (w->chosen[i] && (rules[i].kind & kind)) {
            w->l.rule = &rules[i];
            rules[i].look(&w->l);
        }
}

static bool look_at_node(void *arg, gi_node *n)
{
    walk *w = arg;
    w->l.node = n;
    each_rule(w, GI_LINT_NODE);
    return !w->l.failed;
}

static void look(walk *w)
{
    gi_lint *l = &w->l;
    each_rule(w, GI_LINT_GRAPH);
    gi_each_node(l->g->main, look_at_node, w);
    l->node = NULL;
    for (size_t i = 0; i < l->weights.n && !l->failed; i++) {
        l->weight = &l->weights.p[i];
        each_rule(w, GI_LINT_WEIGHT);
    }
}

/* Findings in the order of severity, then of the table; a stable counting sort. */
static gopt_status report(const walk *w, gopt_severity least, gopt_lint_report *r)
{
    const gi_lint *l = &w->l;
    size_t at[GI_COUNT(rules) + 1] = { 0 }, n = 0;
    for (size_t i = 0; i < l->findings.n; i++)
        for (size_t k = 0; k < GI_COUNT(rules); k++)
            at[k] += l->findings.p[i].rule == rules[k].name;
    for (int s = GOPT_ERROR; s >= (int)least; s--)
        for (size_t k = 0; k < GI_COUNT(rules); k++)
            if ((int)rules[k].severity == s) {
                const size_t count = at[k];
                at[k] = n;
                n += count;
                *(s == GOPT_ERROR ? &r->errors : s == GOPT_WARNING ? &r->warnings : &r->notes) += count;
            }
    gopt_lint_finding *to = GI_NEW_ARRAY(l->g->arena, gopt_lint_finding, n + 1);
    GI_NEED(to);
    for (size_t i = 0; i < l->findings.n; i++)
        for (size_t k = 0; k < GI_COUNT(rules) && l->findings.p[i].severity >= least; k++)
            if (l->findings.p[i].rule == rules[k].name)
                to[at[k]++] = l->findings.p[i];
    r->findings = to;
    r->n = n;
    for (size_t i = 0; i < GI_COUNT(rules); i++)
        r->rules += w->chosen[i];
    return GOPT_OK;
}

gopt_status gopt_lint(gopt_graph *g, const gopt_lint_options *o, const gopt_lint_report **out)
{
    walk w = { .l = { .g = g } };
    gopt_lint_report *r = GI_NEW(g->arena, gopt_lint_report);
    GI_NEED(r);
    GI_TRY(choose(g, o ? o->rules : NULL, w.chosen));
    w.l.scratch = gi_arena_create(g->cx);
    GI_NEED(w.l.scratch);
    gopt_status st = add_weights(&w.l) ? GOPT_OK : GOPT_NO_MEMORY;
    if (st == GOPT_OK) {
        look(&w);
        st = w.l.failed ? GOPT_NO_MEMORY : report(&w, o ? o->least : GOPT_NOTE, r);
    }
    gi_arena_destroy(w.l.scratch);
    if (st == GOPT_OK)
        *out = r;
    return st;
}
