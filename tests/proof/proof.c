/* Both graphs over all kinds of inputs. */
#include "proof/proof.h"

enum { MOVED = 3, MOST_MOVED = 16, MOST_MEMORY = 256 << 20 };

gopt_ctx *proof_ctx(void)
{
    return gopt_ctx_create(&(gopt_ctx_options){ .memory_limit = MOST_MEMORY, .threads = 1 });
}

proof_promise proof_promised(const gopt_report *report, const gopt_optimize_options *o)
{
    proof_promise promise = { BITWISE, false };
    const gopt_report_summary *s = gopt_report_get(report);
    for (size_t i = 0; i < s->n_passes; i++)
        for (size_t k = 0; k < s->passes[i].n_rewrites; k++) {
            const char *name = s->passes[i].rewrites[k].rule;
            const gi_rule *rule = gi_rule_find(name);
            const gi_exact own = gi_rewrite_exact(name, o->fp);
            promise.exact = own > promise.exact ? own : promise.exact;
            promise.expands = promise.expands || (rule && rule->stage == LOWER);
        }
    return promise;
}

typedef struct trial {
    gopt_graph *before, *after;
    gi_exact exact;
    bool expands;
    bool leaves_out, picks; /* has the graph before a Where or a mask, a Max? */
    int finds_nan;          /* so many IsNaN */
    bool computes_target;   /* a Reshape to a shape that is computed */
    proof_inputs inputs;
    gi_arena *arena; /* of one case */
    gi_str *why;
} trial;

static void describe(const trial *t, const proof_case *c)
{
    static const char *const floats[] = { "random", "special", "extreme", "NaN among the", "infinities among the" };
    static const char *const ints[] = { "", ", small integers", ", extreme integers" };
    gi_str_addf(t->why, " (%s inputs%s, seed %llu", floats[c->floats], ints[c->ints], (unsigned long long)c->seed);
    for (size_t i = 0; i < t->inputs.n_symbols; i++) {
        gi_str_add(t->why, ", ");
        gi_dim_print(t->why, t->inputs.symbols[i].symbol);
        gi_str_addf(t->why, " = %lld", (long long)t->inputs.symbols[i].value);
    }
    gi_str_add(t->why, ")");
}

typedef struct runs {
    const proof_run *base;
    proof_run moved[MOST_MOVED];
    int n;
} runs;

static proof_moved result_of(const runs *r, uint32_t i)
{
    proof_moved m = { .base = r->base->out[i], .n = r->n };
    for (int k = 0; k < r->n; k++)
        m.run[k] = r->moved[k].out[i];
    return m;
}

static void move_more(trial *t, gopt_graph *g, runs *r, int wanted, const proof_case *c)
{
    for (; r->n < wanted; r->n++)
        if (proof_evaluate(g, &t->inputs, c->seed * 31 + (uint64_t)r->n + 1, t->arena, &r->moved[r->n]) != GOPT_OK)
            break;
}

static void release_runs(runs *r)
{
    for (int k = 0; k < r->n; k++)
        proof_run_release(&r->moved[k]);
}

/* NULL where all outputs agree. */
static const char *first_difference(trial *t, const runs *was, const runs *is, const proof_case *c)
{
    const proof_terms terms = { t->exact, c->floats, was->base->overflows, t->leaves_out, t->picks };
    for (uint32_t i = 0; i < was->base->n; i++) {
        const proof_moved before = result_of(was, i), after = result_of(is, i);
        gi_str said;
        gi_str_init(&said, t->arena);
        if (!proof_compare(&before, &after, &terms, &said))
            return gi_arena_printf(t->arena, "output %s: %s", t->before->main->result_names[i], said.p);
    }
    return NULL;
}

/* A few moved runs show what rounding does; where those few may have been lucky, more of them. */
static proof_result compare_runs(trial *t, const proof_run *x, const proof_run *y, const proof_case *c)
{
    static const int counts[] = { MOVED, MOST_MOVED };
    runs was = { .base = x }, is = { .base = y };
    const char *differs = NULL;
    for (size_t i = 0; i < GI_COUNT(counts); i++) {
        if (t->exact != BITWISE)
            move_more(t, t->before, &was, counts[i], c);
        if (t->expands)
            move_more(t, t->after, &is, counts[i], c);
        differs = first_difference(t, &was, &is, c);
        if (!differs || t->exact == BITWISE)
            break;
    }
    if (differs) {
        gi_str_add(t->why, differs);
        describe(t, c);
    }
    release_runs(&was);
    release_runs(&is);
    return differs ? PROOF_DIFFERENT : PROOF_SAME;
}

/* Among infinite inputs and NaN it cannot be seen what finite ones come to: without them it can. */
static bool overflows_without(trial *t, const proof_case *c)
{
    proof_run run = { 0 };
    proof_inputs finite;
    proof_case other = *c;
    other.floats = FLOATS_MODERATE;
    bool overflows = true;
    if (!proof_inputs_init(&finite, t->before, t->arena))
        return true;
    if (proof_inputs_make(&finite, t->before, &other) &&
        proof_evaluate(t->before, &finite, 0, t->arena, &run) == GOPT_OK)
        overflows = run.overflows;
    proof_run_release(&run);
    proof_inputs_release(&finite);
    return overflows;
}

static bool has_open_target(void *arg, gi_node *n)
{
    int64_t target[GOPT_MAX_RANK];
    uint32_t count = 0;
    bool *open = arg;
    if (n->op == OP_Reshape && gi_value_ints(gi_node_in(n, Reshape_in_shape), target, GOPT_MAX_RANK, &count))
        for (uint32_t i = 0; i < count; i++)
            *open = *open || target[i] == -1;
    return true;
}

/* ONNX says nothing of -1 in a target where the tensor has no elements, and evaluation refuses it. That rewrites write
 * it all the same, for what is known only at run time, is what everybody wants of a batch above 0. */
static bool may_refuse(const trial *t, const proof_case *c)
{
    bool open = false;
    return c->sizes == PROOF_SIZES - 1 && gi_each_node(t->after->main, has_open_target, &open) && open;
}

static proof_result try_case(trial *t, const proof_case *c)
{
    proof_run x = { 0 }, y = { 0 };
    gi_arena_reset(t->arena);
    if (!proof_inputs_make(&t->inputs, t->before, c) ||
        proof_evaluate(t->before, &t->inputs, 0, t->arena, &x) != GOPT_OK) {
        gopt_diag_clear(t->before->cx);
        return PROOF_VOID;
    }
    proof_result result = PROOF_SAME;
    if (t->exact != BITWISE && (c->floats == FLOATS_INFINITE || c->floats == FLOATS_NAN))
        x.overflows = overflows_without(t, c);
    if (proof_evaluate(t->after, &t->inputs, 0, t->arena, &y) != GOPT_OK) {
        result = may_refuse(t, c) ? PROOF_VOID : PROOF_DIFFERENT;
        if (result == PROOF_VOID) {
            gopt_diag_clear(t->before->cx);
        } else {
            gi_str_add(t->why, "the graph after cannot be evaluated");
            describe(t, c);
        }
    } else {
        result = compare_runs(t, &x, &y, c);
    }
    proof_run_release(&x);
    proof_run_release(&y);
    return result;
}

/* Names and order of inputs and outputs are never changed. */
static const char *check_interface(const gopt_graph *before, const gopt_graph *after)
{
    const gi_block *a = before->main, *b = after->main;
    if (a->n_params != b->n_params || a->n_results != b->n_results)
        return "inputs or outputs were lost";
    for (uint32_t i = 0; i < a->n_params; i++)
        if (strcmp(a->params[i]->name ? a->params[i]->name : "", b->params[i]->name ? b->params[i]->name : "") != 0)
            return "an input was renamed";
    for (uint32_t i = 0; i < a->n_results; i++)
        if (strcmp(a->result_names[i], b->result_names[i]) != 0)
            return "an output was renamed";
    return NULL;
}

/* Operators that compare: ONNX does not say which of 0 and -0 is the greater. */
static bool picks(gi_opcode op)
{
    return op == OP_Max || op == OP_Min || op == OP_ReduceMax || op == OP_ReduceMin || op == OP_MaxPool ||
           op == OP_GlobalMaxPool || op == OP_Clip || op == OP_Relu;
}

static bool find_where(void *arg, gi_node *n)
{
    trial *t = arg;
    t->leaves_out = t->leaves_out || n->op == OP_Where || (n->op_name && strstr(n->op_name, "Attention"));
    t->finds_nan += n->op == OP_IsNaN;
    t->picks = t->picks || picks(n->op);
    t->computes_target =
        t->computes_target || (n->op == OP_Reshape && !gi_value_blob(gi_node_in(n, Reshape_in_shape)) &&
                               !gi_attr_int(n, Reshape_at_allowzero));
    return true;
}

static bool find_loop(void *arg, gi_node *n)
{
    (void)arg;
    return n->op != OP_Loop;
}

/* Does any input hold such elements? */
static void input_kinds(const gopt_graph *g, bool *floats, bool *ints)
{
    *floats = *ints = false;
    for (uint32_t i = 0; i < g->main->n_params; i++) {
        const gi_type *t = g->main->params[i]->type;
        const bool tensor = t && t->kind == GOPT_TENSOR;
        *floats = *floats || (tensor && (gi_dtype_is_float(t->dtype) || t->dtype == GOPT_UNDEFINED));
        *ints = *ints || (tensor && gi_dtype_is_int(t->dtype));
    }
}

typedef struct plan {
    proof_floats floats;
    proof_ints ints;
    int sizes; /* so many of them */
} plan;

/* What REASSOC says nothing of, and FINITE, is not asked. */
static bool is_asked(const trial *t, proof_floats floats)
{
    if (t->exact == BITWISE)
        return true;
    if (floats == FLOATS_EXTREME || (floats == FLOATS_NAN && t->finds_nan))
        return false;
    if (floats == FLOATS_INFINITE && t->finds_nan > 1) /* NaN may become anything, which the next IsNaN tells apart */
        return false;
    return t->exact != FINITE || (floats != FLOATS_NAN && floats != FLOATS_INFINITE);
}

static proof_result run_plans(trial *t, int effort)
{
    static const plan plans[] = { { FLOATS_RANDOM, INTS_BIT, PROOF_SIZES }, { FLOATS_MODERATE, INTS_BIT, 3 },
                                  { FLOATS_EXTREME, INTS_BIT, 2 },          { FLOATS_NAN, INTS_BIT, 2 },
                                  { FLOATS_INFINITE, INTS_BIT, 2 },         { FLOATS_RANDOM, INTS_SMALL, 2 },
                                  { FLOATS_RANDOM, INTS_EXTREME, 2 } };
    bool floats, ints, any = false;
    input_kinds(t->before, &floats, &ints);
    const bool loops = !gi_each_node(t->before->main, find_loop, NULL);
    const bool sized = t->inputs.n_symbols > 0;
    for (size_t p = 0; p < GI_COUNT(plans); p++) {
        const plan *q = &plans[p];
        if ((!floats && q->floats != FLOATS_RANDOM) || (q->ints != INTS_BIT && (!ints || loops)) ||
            !is_asked(t, q->floats))
            continue;
        const int sizes = effort == 0 ? (p == 0 ? 2 : 1) : q->sizes;
        for (int i = 0; i < sizes; i++)
            for (int k = 0; k < (effort > 1 ? effort : 1); k++) {
                if (!sized && i > 1)
                    break;
                if (i == PROOF_SIZES - 1 && t->computes_target)
                    break; /* in a target 0 means another size */
                const uint64_t seed = (uint64_t)(p * 97 + (size_t)i * 13 + (size_t)k * 1009 + 1);
                const proof_case c = { .sizes =
                                           sized ? (effort == 0 && i ? 1 + (int)(seed % (PROOF_SIZES - 1)) : i) : 0,
                                       .floats = q->floats,
                                       .ints = q->ints,
                                       .seed = seed };
                const proof_result r = try_case(t, &c);
                any = any || r == PROOF_SAME;
                if (r == PROOF_DIFFERENT)
                    return r;
            }
    }
    return any ? PROOF_SAME : PROOF_VOID;
}

proof_result prove(gopt_graph *before, gopt_graph *after, proof_promise promise, int effort, gi_str *why)
{
    const char *wrong = check_interface(before, after);
    if (wrong) {
        gi_str_add(why, wrong);
        return PROOF_DIFFERENT;
    }
    gi_arena *inputs = gi_arena_create(before->cx);
    trial t = { .before = before,
                .after = after,
                .exact = promise.exact,
                .expands = promise.expands,
                .why = why,
                .arena = gi_arena_create(before->cx) };
    proof_result result = PROOF_VOID;
    (void)gi_each_node(before->main, find_where, &t);
    if (inputs && t.arena && proof_inputs_init(&t.inputs, before, inputs))
        result = run_plans(&t, effort);
    proof_inputs_release(&t.inputs);
    gi_arena_destroy(t.arena);
    gi_arena_destroy(inputs);
    return result;
}
