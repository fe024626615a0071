/* What stays and why: remarks for operators that a reader of the result asks about.
 *
 *     %r = Relu %x
 *     %b = BatchNormalization %c, …        declined conv_batchnorm_fold at %b: its input comes from Concat %c, not
 *     %y = Conv %r', %w                    from a convolution; …
 *
 * Rules match from the root downwards: one that finds no convolution under a BatchNormalization has not matched, and
 * has nothing to say. So near misses are told here, once, at the end: explain.def says of which operators, and in the
 * place of which rule. Where that rule has matched and declined, its own words stand, and nothing is added.
 *
 * Changes nothing. Before fuse-vertical, so that what lies in regions is told as well. */
#include "passes/control_flow.h"
#include "passes/rule.h"

enum { TOLD_NAMES = 4, WALK = 64, MOST_SYMBOLS = 16 };

typedef struct explainer {
    gi_pass_ctx *cx;
    gopt_graph *g;
    gi_arena *a;
    gi_map of_input; /* symbols of the inputs -> the input */
    gi_map first;    /* symbols that only a run knows -> the node that brings them in */
} explainer;

typedef struct row {
    const char *rule;
    gi_opcode op;
    const char *(*why)(explainer *e, const gi_node *n, const struct row *row); /* NULL: nothing to say */
    uint32_t in;                                                               /* the operand that is computed */
    const char *what;                                                          /* what it is called */
} row;

/* ---- words ---- */

/* "Concat /features/concat" of what made a value, "input x" of the graph's own. */
static const char *maker(explainer *e, const gi_value *v)
{
    const gi_node *n = gi_value_node(v);
    const char *s = NULL;
    if (n)
        s = gi_arena_printf(e->a, "%s %s", n->op_name ? n->op_name : gi_op_get(n->op)->name, gi_node_label(n, e->a));
    else if (v && v->kind == GI_DEF_PARAM)
        s = gi_arena_printf(e->a, "%s %s", v->def.block->owner ? "the subgraph's input" : "input",
                            v->name ? v->name : "?");
    else if (v)
        s = "a constant";
    return s ? s : "?";
}

/* The operator alone: remarks that differ in names only are shown as one. */
static const char *maker_op(const gi_value *v)
{
    const gi_node *n = gi_value_node(v);
    return n                              ? (n->op_name ? n->op_name : gi_op_get(n->op)->name)
           : v && v->kind == GI_DEF_PARAM ? "an input"
                                          : "a constant";
}

static const char *reader_op(const gi_value *v)
{
    const gi_node *n = gi_value_only_user(v);
    return n ? (n->op_name ? n->op_name : gi_op_get(n->op)->name) : v->n_uses > 1 ? "several readers" : "an output";
}

/* ---- what is missing ---- */

/* Symbols that a value depends on. */
typedef struct symbols {
    const gi_dim *p[MOST_SYMBOLS]; /* of the inputs: these can be fixed */
    size_t n;
    const gi_dim *other; /* one that only a run knows */
    const explainer *e;
} symbols;

static void add_symbol(void *arg, const gi_dim *symbol)
{
    symbols *s = arg;
    if (!gi_map_get(&s->e->of_input, gi_key(symbol))) {
        s->other = s->other ? s->other : symbol;
        return;
    }
    for (size_t i = 0; i < s->n; i++)
        if (s->p[i] == symbol)
            return;
    if (s->n < MOST_SYMBOLS)
        s->p[s->n++] = symbol;
}

static void add_type(symbols *s, const gi_type *t)
{
    for (int i = 0; t && t->kind == GOPT_TENSOR && i < t->rank; i++)
        gi_dim_each_symbol(t->dims[i], add_symbol, s);
}

/* "--dim batch=N --dim seq=N"; "--shape input=…" for dims that the file does not name. */
static const char *fixes(explainer *e, const symbols *s)
{
    gi_str text;
    gi_str_init(&text, e->a);
    for (size_t i = 0; i < s->n; i++) {
        const gi_value *input = gi_map_get(&e->of_input, gi_key(s->p[i]));
        bool again = false;
        for (size_t k = 0; k < i; k++)
            again |= gi_dim_is_unknown(s->p[k]) && gi_map_get(&e->of_input, gi_key(s->p[k])) == input;
        if (!gi_dim_is_unknown(s->p[i]))
            gi_str_addf(&text, "%s--dim %s=N", text.n ? " " : "", gi_dim_symbol(s->p[i]));
        else if (!again)
            gi_str_addf(&text, "%s--shape %s=…", text.n ? " " : "", input->name ? input->name : "INPUT");
    }
    return text.p ? text.p : "";
}

/* "batch and seq"; "the shape of input x" */
static const char *dependencies(explainer *e, const symbols *s)
{
    const char *names[MOST_SYMBOLS];
    size_t n = 0;
    gi_str text;
    gi_str_init(&text, e->a);
    for (size_t i = 0; i < s->n; i++) {
        const gi_value *input = gi_map_get(&e->of_input, gi_key(s->p[i]));
        const char *name = gi_dim_is_unknown(s->p[i])
                               ? gi_arena_printf(e->a, "the shape of input %s", input->name ? input->name : "?")
                               : gi_dim_symbol(s->p[i]);
        bool again = !name;
        for (size_t k = 0; k < n && !again; k++)
            again = !strcmp(names[k], name);
        if (!again)
            names[n++] = name;
    }
    for (size_t i = 0; i < n; i++)
        gi_str_addf(&text, "%s%s", !i ? "" : i + 1 == n ? " and " : ", ", names[i]);
    return text.p ? text.p : "";
}

/* Follows contents that nothing is known of up to where they begin: a shape, or a node whose result a run decides. */
static const gi_value *origin_of(const gi_value *v, symbols *s)
{
    for (int i = 0; i < WALK; i++) {
        const gi_node *n = gi_value_node(v);
        if (n && (n->op == OP_Shape || n->op == OP_Size))
            add_type(s, gi_node_in(n, 0) ? gi_node_in(n, 0)->type : NULL);
        if (!n || n->op == OP_Shape || n->op == OP_Size || n->op == OP_Unknown ||
            (gi_op_get(n->op)->traits & (GI_DATA_SHAPE | GI_CONTROL)))
            break;
        const gi_value *next = NULL;
        for (uint32_t k = 0; k < n->n_in && !next; k++)
            if (n->in[k].value && n->in[k].value->kind != GI_DEF_CONST)
                next = n->in[k].value;
        if (!next)
            break;
        v = next;
    }
    return v;
}

/* "[batch,?]" */
static const char *contents_text(explainer *e, gi_value *v, symbols *s)
{
    uint32_t n = 0;
    const gi_dim *const *known = gi_value_known(v, &n);
    gi_str text;
    gi_str_init(&text, e->a);
    for (uint32_t i = 0; known && i < n; i++) {
        gi_str_add(&text, i ? "," : "[");
        if (gi_dim_is_unknown(known[i]))
            gi_str_add(&text, "?");
        else
            gi_dim_print(&text, known[i]);
        gi_dim_each_symbol(known[i], add_symbol, s);
    }
    gi_str_add(&text, text.n ? "]" : "");
    return text.n ? text.p : NULL;
}

/* Is it only known at run time: no fixing of inputs helps? */
static bool is_run_time(const symbols *s)
{
    return s->other || !s->n;
}

/* A sentence on `what` (a noun), whose contents are no constant, and what would make them one; NULL where they are.
 * Of what a run alone knows it names operators, not nodes: such remarks come in hundreds, and are shown as one. */
static const char *missing(explainer *e, const char *what, gi_value *v)
{
    symbols s = { .e = e };
    const char *text = contents_text(e, v, &s);
    if (text && !s.n && !s.other)
        return NULL;
    const gi_value *origin = text ? v : origin_of(v, &s);
    if (is_run_time(&s)) {
        const gi_node *first = s.other ? gi_map_get(&e->first, gi_key(s.other)) : NULL;
        return gi_arena_printf(e->a, "%s is known only at run time: %s decides it", what,
                               maker_op(first ? first->out[0] : origin));
    }
    return gi_arena_printf(e->a, "%s, %s%sfrom %s, depends on %s; %s would make it a constant", what, text ? text : "",
                           text ? " " : "", maker(e, v), dependencies(e, &s), fixes(e, &s));
}

/* ---- one function a row of explain.def ---- */

/* A rule of this run that would have matched: NULL where it ran, and why not otherwise. */
static const char *not_run(explainer *e, const char *name)
{
    const gi_rule *rule = gi_rule_find(name);
    const gopt_optimize_options *o = e->cx->options;
    const gi_exact most = o->fp == GOPT_FP_STRICT ? BITWISE : o->fp == GOPT_FP_FAST ? FINITE : REASSOC;
    if (e->cx->skip && gi_smap_get(e->cx->skip, name))
        return "the rule is left out (--skip)";
    if (rule && rule->stage == REWRITE && o->level < 2)
        return "it changes rounding, which is done from --level 2 on";
    if (rule && rule->exact > most)
        return most == BITWISE ? "it changes rounding, which --fp strict forbids"
                               : "infinities and NaN could come out otherwise, which --fp fast alone allows";
    return NULL;
}

static bool takes_weights(gi_opcode op)
{
    return op == OP_Conv || op == OP_ConvTranspose || op == OP_Gemm || op == OP_MatMul;
}

/* The first product behind a value, through single pointwise readers; what stands between goes to `between`. */
static const gi_node *product_behind(const gi_value *v, const gi_node **between)
{
    *between = NULL;
    for (int i = 0; i < TOLD_NAMES; i++) {
        const gi_node *n = gi_value_only_user(v);
        if (!n || !n->n_out || takes_weights(n->op))
            return n && n->n_out ? n : NULL;
        if (!(gi_op_get(n->op)->traits & GI_ELEMENTWISE) && n->op != OP_Relu)
            return NULL;
        *between = *between ? *between : n;
        v = n->out[0];
    }
    return NULL;
}

/* What keeps a shift and scale out of the product that reads it. */
static const char *why_not_behind(explainer *e, const gi_node *product)
{
    const int64_t *pads;
    const uint32_t n = product->op == OP_Conv ? gi_attr_ints(product, Conv_at_pads, &pads) : 0;
    gi_str s;
    gi_str_init(&s, e->a);
    bool padded = product->op == OP_Conv && gi_attr_has(product, Conv_at_auto_pad) &&
                  !gi_attr_is(product, Conv_at_auto_pad, "NOTSET") && !gi_attr_is(product, Conv_at_auto_pad, "VALID");
    for (uint32_t i = 0; i < n; i++) {
        gi_str_addf(&s, "%s%lld", i ? "," : "pads [", (long long)pads[i]);
        padded |= pads[i] != 0;
    }
    if (!padded)
        return "no rule takes a normalization into what is behind it";
    return gi_arena_printf(e->a, "that one pads with zeros (%s), and in those its shift would be missing",
                           s.n ? gi_arena_printf(e->a, "%s]", s.p) : "auto_pad");
}

static const char *behind_batchnorm(explainer *e, const gi_node *n)
{
    const gi_node *between, *product = product_behind(n->out[0], &between);
    const char *s = NULL;
    if (n->out[0]->n_uses > 1)
        s = gi_arena_printf(e->a, "; its result has %u users (%s), so it goes into none of them", n->out[0]->n_uses,
                            gi_value_users(n->out[0], e->a));
    else if (product && between)
        s = gi_arena_printf(e->a,
                            "; nor can it go into the %s behind it, %s: %s stands between them, and a scale and shift "
                            "does not pass through that",
                            gi_op_get(product->op)->name, gi_node_label(product, e->a), maker(e, between->out[0]));
    else if (product)
        s = gi_arena_printf(e->a, "; nor does it go into the %s behind it, %s: %s", gi_op_get(product->op)->name,
                            gi_node_label(product, e->a), why_not_behind(e, product));
    return s ? s : "";
}

static const char *why_batchnorm(explainer *e, const gi_node *n, const row *r)
{
    const gi_value *x = gi_node_in(n, BatchNormalization_in_X);
    const gi_node *p = gi_value_node(x);
    if (gi_attr_int(n, BatchNormalization_at_training_mode))
        return "it is in training mode: it normalizes by the mean and variance of its own batch";
    for (uint32_t i = BatchNormalization_in_scale; i < n->n_in; i++)
        if (n->in[i].value && !gi_value_blob(n->in[i].value))
            return gi_arena_printf(e->a, "its %s is no constant: it comes from %s", gi_op_get(n->op)->in[i].name,
                                   maker(e, n->in[i].value));
    if (!p || !takes_weights(p->op))
        return gi_arena_printf(e->a, "its input comes from %s, not from a convolution%s", maker(e, x),
                               behind_batchnorm(e, n));
    if (gi_node_in(p, 1) && !gi_value_blob(gi_node_in(p, 1)))
        return gi_arena_printf(e->a, "the weights of %s are no constant: they come from %s", maker(e, x),
                               maker(e, gi_node_in(p, 1)));
    if (p->block != n->block)
        return gi_arena_printf(e->a, "%s lies outside of this subgraph, which may run several times or not at all",
                               maker(e, x));
    return not_run(e, r->rule);
}

static const char *why_transpose(explainer *e, const gi_node *n, const row *r)
{
    const int64_t *perm;
    gi_str s;
    (void)r;
    gi_str_init(&s, e->a);
    const uint32_t count = gi_attr_ints(n, Transpose_at_perm, &perm);
    for (uint32_t i = 0; i < count; i++)
        gi_str_addf(&s, "%s%d", i ? "," : " by [", (int)perm[i]);
    return gi_arena_printf(e->a, "it moves dims%s%s between %s and %s, and no other Transpose cancels it",
                           s.p ? s.p : "", s.p ? "]" : "", maker_op(gi_node_in(n, 0)), reader_op(n->out[0]));
}

static const char *why_cast(explainer *e, const gi_node *n, const row *r)
{
    const gi_value *x = gi_node_in(n, 0);
    uint32_t known;
    (void)r;
    if (gi_value_known(n->out[0], &known)) /* shape arithmetic: who reads it is told what is missing */
        return NULL;
    return gi_arena_printf(e->a, "it turns %s into %s between %s and %s: no other Cast cancels it",
                           gopt_dtype_name(gi_value_dtype(x)), gopt_dtype_name(gi_value_dtype(n->out[0])), maker_op(x),
                           reader_op(n->out[0]));
}

static const char *why_identity(explainer *e, const gi_node *n, const row *r)
{
    const gi_value *x = gi_node_in(n, 0);
    (void)r;
    if (!gi_value_is_result(n->out[0]))
        return NULL;
    return gi_arena_printf(e->a, "it gives the output its name: what it passes on is %s%s", maker(e, x),
                           gi_value_node(x) && gi_value_is_result(x) ? ", an output too" : "");
}

static const char *why_if(explainer *e, const gi_node *n, const row *r)
{
    gi_value *cond = gi_node_in(n, If_in_cond);
    (void)r;
    return cond ? missing(e, "its condition", cond) : NULL;
}

static const char *why_loop(explainer *e, const gi_node *n, const row *r)
{
    (void)r;
    return n->n_out ? gi_control_uncounted(e->cx, gi_value_node(n->out[0])) : NULL;
}

static const char *why_sequence(explainer *e, const gi_node *n, const row *r)
{
    gi_value *at = n->op == OP_SequenceAt ? gi_node_in(n, SequenceAt_in_position) : NULL;
    const gi_node *from = gi_value_node(gi_node_in(n, 0));
    (void)r;
    if (at && !gi_value_blob(at))
        return missing(e, "its position", at);
    if (from && (from->op == OP_SequenceConstruct || from->op == OP_SplitToSequence))
        return NULL;
    return gi_arena_printf(e->a, "its sequence comes from %s: what it holds is known only at run time",
                           maker(e, gi_node_in(n, 0)));
}

/* Of what a run alone knows, who reads it tells. */
static const char *why_shape(explainer *e, const gi_node *n, const row *r)
{
    symbols s = { .e = e };
    const char *text = contents_text(e, n->out[0], &s);
    (void)r;
    if (!text || is_run_time(&s))
        return NULL;
    return gi_arena_printf(e->a, "the %s of %s, %s, depends on %s; %s would make it a constant",
                           n->op == OP_Size ? "size" : "shape", maker(e, gi_node_in(n, 0)), text, dependencies(e, &s),
                           fixes(e, &s));
}

static const char *why_computed(explainer *e, const gi_node *n, const row *r)
{
    gi_value *v = gi_node_in(n, r->in);
    return v && !gi_value_blob(v) ? missing(e, gi_arena_printf(e->a, "its %s", r->what), v) : NULL;
}

/* ---- the table ---- */

#define STAYS(OPERATOR, RULE, FUNCTION) { .op = OP_##OPERATOR, .rule = (RULE), .why = FUNCTION },
#define COMPUTED(OPERATOR, INPUT, RULE, WHAT) \
    { .op = OP_##OPERATOR, .rule = (RULE), .why = why_computed, .in = OPERATOR##_in_##INPUT, .what = (WHAT) },
static const row rows[] = {
#include "passes/explain.def"
};

typedef struct walk {
    explainer e;
    uint8_t first[OP_COUNT]; /* row + 1 */
} walk;

static bool explain_node(void *arg, gi_node *n)
{
    walk *w = arg;
    if (!w->first[n->op])
        return true;
    for (size_t i = w->first[n->op] - 1u; i < GI_COUNT(rows); i++) {
        if (rows[i].op != n->op || gi_has_declined(w->e.cx, rows[i].rule, n))
            continue;
        const char *why = rows[i].why(&w->e, n, &rows[i]);
        if (why)
            gi_declined(w->e.cx, rows[i].rule, n, "%s", why);
    }
    return true;
}

typedef struct finder {
    explainer *e;
    void *owner; /* what the symbols found now belong to */
    gi_map *to;
    bool failed;
} finder;

static void find_symbol(void *arg, const gi_dim *symbol)
{
    finder *f = arg;
    if (gi_map_get(f->to, gi_key(symbol)) || gi_map_get(&f->e->of_input, gi_key(symbol)))
        return;
    if (!gi_map_put(f->to, gi_key(symbol), f->owner))
        f->failed = true;
}

static void find_in_value(finder *f, const gi_value *v)
{
    for (int i = 0; v->type && v->type->kind == GOPT_TENSOR && i < v->type->rank; i++)
        gi_dim_each_symbol(v->type->dims[i], find_symbol, f);
    for (uint32_t i = 0; v->known && i < v->n_known; i++)
        gi_dim_each_symbol(v->known[i], find_symbol, f);
}

static bool find_in_node(void *arg, gi_node *n)
{
    finder *f = arg;
    f->owner = n;
    for (uint32_t i = 0; i < n->n_out; i++)
        find_in_value(f, n->out[i]);
    return !f->failed;
}

static bool find_symbols(explainer *e)
{
    gi_map_init(&e->of_input, e->a);
    gi_map_init(&e->first, e->a);
    finder f = { .e = e, .to = &e->of_input };
    for (uint32_t i = 0; i < e->g->main->n_params; i++) {
        f.owner = e->g->main->params[i];
        find_in_value(&f, e->g->main->params[i]);
    }
    f.to = &e->first;
    return gi_each_node(e->g->main, find_in_node, &f) && !f.failed;
}

gopt_status gi_pass_explain(gopt_graph *g, gi_pass_ctx *cx)
{
    walk *w = GI_NEW(cx->scratch, walk);
    GI_NEED(w);
    w->e = (explainer){ .cx = cx, .g = g, .a = cx->scratch };
    GI_NEED(find_symbols(&w->e));
    for (size_t i = GI_COUNT(rows); i-- > 0;)
        w->first[rows[i].op] = (uint8_t)(i + 1);
    gi_each_node(g->main, explain_node, w);
    return GOPT_OK;
}
