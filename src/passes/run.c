/* The runner behind gopt_optimize: picks the passes, and runs each under a clock, with counts, checks, dumps
 * and the limit of rewrites. */
#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <sys/stat.h>

#include "passes/rule.h"
#include "passes/util.h"

static const gi_pass rows[] = {
#define PASS(NAME, FUNCTION, LEVEL, MEANS) { .info = { NAME, MEANS, LEVEL }, .run = FUNCTION },
#include "passes/passes.def"
#undef PASS
};

const gi_pass *gi_pass_row(size_t i)
{
    return i < GI_COUNT(rows) ? &rows[i] : NULL;
}

const gopt_pass_info *gopt_pass_get(size_t i)
{
    return i < GI_COUNT(rows) ? &rows[i].info : NULL;
}

static char fold(char c)
{
    return c == '-' ? '_' : c;
}

static bool same_name(const char *a, const char *b)
{
    while (*a && fold(*a) == fold(*b))
        a++, b++;
    return !*a && !*b;
}

const gi_pass *gi_pass_find(const char *name)
{
    for (size_t i = 0; i < GI_COUNT(rows); i++)
        if (same_name(rows[i].info.name, name))
            return &rows[i];
    return NULL;
}

const gi_rule *gi_rule_find(const char *name)
{
    const gi_rule *r;
    for (size_t i = 0; (r = gi_rule_row(i)); i++)
        if (same_name(r->name, name))
            return r;
    return NULL;
}

bool gi_name_listed(const char *list, const char *name)
{
    const size_t n = strlen(name);
    for (const char *p = list; p && *p; p += strcspn(p, ","), p += *p == ',') {
        size_t i = 0;
        while (i < n && p[i] && fold(p[i]) == fold(name[i]))
            i++;
        if (i == n && (p[i] == ',' || !p[i]))
            return true;
    }
    return false;
}

/* ---- one run ---- */

typedef struct runner {
    gopt_graph *g;
    gi_pass_ctx pass;
    const gopt_optimize_options *options;
    gi_smap skip;
    gi_arena *arena;
    int index;     /* of the pass, from 1 */
    int64_t nodes; /* that there are, after the pass before */
} runner;

static gopt_status dump(runner *r, const char *pass)
{
    const char *dir = r->options->dump_dir;
    if (mkdir(dir, 0777) != 0 && errno != EEXIST)
        return gi_fail(r->g->cx, GOPT_USAGE, NULL, NULL, "cannot make the folder %s: %s", dir, strerror(errno));
    const char *path = gi_arena_printf(r->arena, "%s/%02d-%s.gir", dir, r->index, pass);
    GI_NEED(path);
    return gopt_gir_save(r->g, path);
}

static gopt_status run_pass(runner *r, const char *name, gi_pass_fn fn, const gi_rule *rule, bool *changed)
{
    gopt_graph *g = r->g;
    const uint64_t epoch = g->epoch;
    const int64_t before = r->nodes;
    const double start = gi_now();
    r->pass.pass = name;
    r->index++;
    GI_NEED(gi_report_begin_pass(r->pass.report, name));
    g->pass = name;
    gopt_status status = rule ? gi_rules_run(g, &r->pass, &rule, 1) : fn(g, &r->pass);
    g->pass = NULL;
    gi_arena_reset(r->pass.scratch);
    *changed = g->epoch != epoch;
    if (*changed) {
        gi_graph_drop_consts(g, r->pass.first_value);
        r->nodes = gi_graph_count_nodes(g);
    }
    if (!gi_report_end_pass(r->pass.report, (gi_now() - start) * 1e3, *changed, before, r->nodes))
        status = status == GOPT_OK ? GOPT_NO_MEMORY : status;
    GI_TRY(status);
    if (r->options->verify_each)
        GI_TRY(gi_verify(g));
    if (r->options->dump_dir)
        GI_TRY(dump(r, name));
    if (r->options->after_pass)
        r->options->after_pass(r->options->after_pass_user, g, name, r->index);
    return GOPT_OK;
}

static bool is_skipped(const runner *r, const char *name)
{
    char key[64];
    size_t n = 0;
    for (; name[n] && n + 1 < sizeof key; n++)
        key[n] = fold(name[n]);
    key[n] = 0;
    return gi_smap_get(&r->skip, key) != NULL;
}

static gopt_status step(void *user, const gi_pass *pass, bool *changed)
{
    runner *r = user;
    *changed = false;
    if (is_skipped(r, pass->info.name))
        return GOPT_OK;
    return run_pass(r, pass->info.name, pass->run, NULL, changed);
}

/* ---- lists of names ---- */

static gopt_status unknown_name(gopt_graph *g, gi_arena *a, const char *option, const char *name)
{
    gi_str s;
    gi_str_init(&s, a);
    for (size_t i = 0; i < GI_COUNT(rows); i++)
        gi_str_addf(&s, "%s%s", i ? ", " : "", rows[i].info.name);
    gi_str_add(&s, "; single rules: ");
    const gi_rule *rule;
    for (size_t i = 0; (rule = gi_rule_row(i)); i++)
        gi_str_addf(&s, "%s%s", i ? ", " : "", rule->name);
    const char *hint = s.p ? gi_arena_printf(a, "there are: %s", s.p) : NULL;
    return gi_fail(g->cx, GOPT_USAGE, NULL, hint, "%s: no pass or rule is called '%s'", option, name);
}

/* Calls f on each name of a list "A,B"; spaces around names do not count. */
static gopt_status each_name(runner *r, const char *list, gopt_status (*f)(runner *r, char *name))
{
    while (list && *list) {
        while (*list == ' ' || *list == ',')
            list++;
        size_t n = strcspn(list, ",");
        const size_t taken = n;
        while (n && isspace((unsigned char)list[n - 1]))
            n--;
        if (n) {
            char *name = gi_arena_strn(r->arena, list, n);
            GI_NEED(name);
            GI_TRY(f(r, name));
        }
        list += taken;
    }
    return GOPT_OK;
}

/* A planted rule of that name, where this run has it. */
static const gi_rule *find_planted(const runner *r, const char *name)
{
    const gi_rule *rule;
    for (size_t i = 0; (rule = gi_rule_planted(i)); i++)
        if (same_name(rule->name, name) && gi_name_listed(r->options->planted, rule->name))
            return rule;
    return NULL;
}

static gopt_status check_planted(runner *r, char *name)
{
    return find_planted(r, name) ? GOPT_OK
                                 : gi_fail(r->g->cx, GOPT_USAGE, NULL, "they are the rows of rules/planted.def",
                                           "planted: no rule is called '%s'", name);
}

static gopt_status add_skip(runner *r, char *name)
{
    if (!gi_pass_find(name) && !gi_rule_find(name) && !find_planted(r, name))
        return unknown_name(r->g, r->arena, "skip", name);
    for (char *c = name; *c; c++)
        *c = fold(*c);
    GI_NEED(gi_smap_put(&r->skip, name, r));
    return GOPT_OK;
}

static gopt_status check_name(runner *r, char *name)
{
    return gi_pass_find(name) || gi_rule_find(name) || find_planted(r, name)
               ? GOPT_OK
               : unknown_name(r->g, r->arena, "passes", name);
}

static gopt_status run_named(runner *r, char *name)
{
    bool changed;
    const gi_pass *p = gi_pass_find(name);
    if (p)
        return step(r, p, &changed);
    const gi_rule *planted = find_planted(r, name), *rule = planted ? planted : gi_rule_find(name);
    return run_pass(r, rule->name, NULL, rule, &changed);
}

/* ---- the whole ---- */

static bool collect_fusion(void *arg, gi_node *n)
{
    runner *r = arg;
    gi_values *list = (gi_values *)r->pass.user;
    return n->op != OP_Fusion || !n->n_out || gi_push(r->arena, list, n->out[0]);
}

/* Takes the regions out again where nobody asked to keep them. */
static gopt_status unfuse_all(runner *r)
{
    gi_values fusions = { 0 };
    r->pass.user = &fusions;
    GI_NEED(gi_each_node(r->g->main, collect_fusion, r));
    for (size_t i = 0; i < fusions.n; i++)
        GI_NEED(gi_unfuse(fusions.p[i]->def.node));
    return GOPT_OK;
}

static gopt_status run_all(runner *r)
{
    const gopt_optimize_options *o = r->options;
    GI_TRY(each_name(r, o->planted, check_planted));
    GI_TRY(each_name(r, o->skip, add_skip));
    if (!o->passes) {
        bool settled;
        GI_TRY(gi_pipeline_run(o, step, r, &settled));
        if (!settled && !r->pass.stop)
            gi_note(
                r->g->cx, NULL, "running gopt on its own output may go on where this stopped",
                "the passes still changed something when their loops were stopped: the result is right, only not as "
                "small as it might be");
        return GOPT_OK;
    }
    GI_TRY(each_name(r, o->passes, check_name));
    return each_name(r, o->passes, run_named);
}

/* The opset asked for, else the model's own; level 3 may raise it as far as it goes, and an engine takes any. */
static int output_opset(const gopt_graph *g, const gopt_optimize_options *o)
{
    if (o->runs)
        return INT_MAX;
    return o->opset > 0 ? o->opset : o->level >= 3 ? INT_MAX : gi_graph_opset(g, "");
}

gopt_status gopt_optimize(gopt_graph *g, const gopt_optimize_options *o, gopt_report **report)
{
    static const gopt_optimize_options defaults = { .level = 2 };
    const double start = gi_now();
    runner r = { .g = g, .options = o ? o : &defaults, .nodes = gi_graph_count_nodes(g) };
    if (report)
        *report = NULL;
    if (r.options->level < 0 || r.options->level > 3)
        return gi_fail(g->cx, GOPT_USAGE, NULL, "levels go from 0 to 3", "there is no level %d", r.options->level);
    r.arena = gi_arena_create(g->cx);
    gi_arena *scratch = gi_arena_create(g->cx);
    gopt_report *rep = gi_report_create(g);
    gopt_status status = r.arena && scratch && rep ? GOPT_OK : GOPT_NO_MEMORY;
    if (status == GOPT_OK) {
        const int64_t limit = r.options->rewrite_limit;
        gi_smap_init(&r.skip, r.arena);
        r.pass = (gi_pass_ctx){ .cx = g->cx,
                                .scratch = scratch,
                                .options = r.options,
                                .opset = output_opset(g, r.options),
                                .rewrites_left = limit ? gi_max_i64(limit, 0) : INT64_MAX,
                                .first_value = g->n_values,
                                .report = rep,
                                .skip = &r.skip };
        gi_store_weights_begin(g->cx);
        status = run_all(&r);
        gi_store_weights_end(g->cx);
        if (status == GOPT_OK && !gi_report_finish(rep, g, (gi_now() - start) * 1e3, r.pass.stop))
            status = GOPT_NO_MEMORY;
        if (status == GOPT_OK && !r.options->fuse)
            status = unfuse_all(&r);
    }
    if (status == GOPT_OK && report)
        *report = rep;
    else
        gopt_report_destroy(rep);
    gi_arena_destroy(scratch);
    gi_arena_destroy(r.arena);
    return status;
}
