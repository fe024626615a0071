/* The report: what each pass did, the ledger of remarks, counts before and after. */
#include "ops/count.h"
#include "passes/util.h"

struct gopt_report {
    gopt_ctx *cx;
    gi_arena *arena;
    gopt_report_summary sum;
    gi_vec(gopt_pass_stat) passes;
    gi_vec(gopt_remark) remarks;
    gi_vec(gopt_rule_count) counts; /* of the running pass */
    gi_smap seen;                   /* remarks that were made already, and need not be again */
    const char *pass;
    bool failed;
};

static bool count_graph(gopt_report *r, gopt_graph *g, const gopt_op_count **ops, size_t *n, uint64_t *bytes,
                        int64_t *fusions)
{
    gi_counts c;
    if (!gi_count_graph(g, r->arena, &c))
        return false;
    *ops = c.ops;
    *n = c.n_ops;
    *bytes = c.bytes;
    *fusions = c.fusions;
    return true;
}

/* ---- life ---- */

gopt_report *gi_report_create(gopt_graph *g)
{
    gopt_report *r = gi_alloc(g->cx, sizeof *r);
    if (!r)
        return NULL;
    r->cx = g->cx;
    r->arena = gi_arena_create(g->cx);
    if (!r->arena) {
        gopt_report_destroy(r);
        return NULL;
    }
    gi_smap_init(&r->seen, r->arena);
    int64_t fusions;
    if (!count_graph(r, g, &r->sum.ops_before, &r->sum.n_ops_before, &r->sum.parameter_bytes_before, &fusions)) {
        gopt_report_destroy(r);
        return NULL;
    }
    r->sum.nodes_before = gi_graph_count_nodes(g);
    return r;
}

void gopt_report_destroy(gopt_report *r)
{
    if (!r)
        return;
    gi_arena_destroy(r->arena);
    gi_free(r->cx, r);
}

const gopt_report_summary *gopt_report_get(const gopt_report *r)
{
    return &r->sum;
}

bool gi_report_begin_pass(gopt_report *r, const char *name)
{
    r->pass = name;
    memset(&r->counts, 0, sizeof r->counts);
    return true;
}

bool gi_report_end_pass(gopt_report *r, double ms, bool changed, int64_t nodes_before, int64_t nodes_after)
{
    return gi_push(r->arena, &r->passes,
                   (gopt_pass_stat){ .name = r->pass,
                                     .ms = ms,
                                     .changed = changed,
                                     .nodes_before = nodes_before,
                                     .nodes_after = nodes_after,
                                     .rewrites = r->counts.p,
                                     .n_rewrites = r->counts.n });
}

/* ---- what still stands ---- */

typedef struct standing {
    gopt_report *r;
    gi_arena *arena;
    gi_smap names; /* of the nodes that there are */
} standing;

static bool note_names(void *arg, gi_node *n)
{
    standing *s = arg;
    return gi_smap_put(&s->names, gi_node_label(n, s->arena), s);
}

/* What a rule declined in one round it may do in the next, or say another reason for; and the node may be gone. Only
 * the last word of a rule on a node that there is stays in the ledger. */
static bool drop_stale(gopt_report *r, gopt_graph *g)
{
    standing s = { .r = r, .arena = gi_arena_create(r->cx) };
    gi_smap last;
    bool done = s.arena != NULL;
    if (!done)
        return false;
    gi_smap_init(&s.names, s.arena);
    gi_smap_init(&last, s.arena);
    done = gi_each_node(g->main, note_names, &s);
    bool *stale = GI_NEW_ARRAY(s.arena, bool, r->remarks.n + 1);
    done = done && stale;
    for (size_t i = r->remarks.n; done && i-- > 0;) {
        const gopt_remark *m = &r->remarks.p[i];
        const char *key = gi_arena_printf(s.arena, "%s\n%s", m->rule, m->at);
        done = key != NULL;
        if (!done || m->kind == GOPT_ANALYSIS)
            continue;
        stale[i] = m->kind == GOPT_DECLINED && (gi_smap_get(&last, key) || !gi_smap_get(&s.names, m->at));
        done = gi_smap_put(&last, key, r);
    }
    size_t kept = 0;
    for (size_t i = 0; done && i < r->remarks.n; i++)
        if (!stale[i])
            r->remarks.p[kept++] = r->remarks.p[i];
    if (done)
        r->remarks.n = kept;
    gi_arena_destroy(s.arena);
    return done;
}

bool gi_report_finish(gopt_report *r, gopt_graph *g, double ms, bool limit_hit)
{
    if (!drop_stale(r, g))
        return false;
    gopt_report_summary *s = &r->sum;
    s->nodes_after = gi_graph_count_nodes(g);
    s->ms = ms;
    s->rewrite_limit_hit = limit_hit;
    s->passes = r->passes.p;
    s->n_passes = r->passes.n;
    s->remarks = r->remarks.p;
    s->n_remarks = r->remarks.n;
    return !r->failed && count_graph(r, g, &s->ops_after, &s->n_ops_after, &s->parameter_bytes_after, &s->fusions);
}

/* ---- the ledger ---- */

static void count_rule(gi_pass_ctx *cx, const char *rule, int64_t n)
{
    gopt_report *r = cx->report;
    for (size_t i = 0; i < r->counts.n; i++)
        if (!strcmp(r->counts.p[i].rule, rule)) {
            r->counts.p[i].count += n;
            return;
        }
    if (!gi_push(r->arena, &r->counts, (gopt_rule_count){ .rule = rule, .count = n }))
        r->failed = true;
}

__attribute__((format(printf, 5, 0))) static void remark(gi_pass_ctx *cx, gopt_remark_kind kind, const char *rule,
                                                         const gi_node *at, const char *fmt, va_list args)
{
    gopt_report *r = cx->report;
    const char *reason = gi_arena_vprintf(r->arena, fmt, args);
    const char *label = at ? gi_arena_str(r->arena, gi_node_label(at, r->arena)) : "";
    if (!reason || !label) {
        r->failed = true;
        return;
    }
    if (kind != GOPT_APPLIED) {
        const char *key = gi_arena_printf(r->arena, "%s\n%s\n%s", rule, label, reason);
        if (key && gi_smap_get(&r->seen, key))
            return;
        const char *place = gi_arena_printf(r->arena, "%s\n%s", rule, label);
        if (!key || !place || !gi_smap_put(&r->seen, key, r) || !gi_smap_put(&r->seen, place, r))
            r->failed = true;
    }
    enum { MOST_NAMES = 64 }; /* a remark on each step of a long merge must not name all steps before it */
    const uint32_t known = at ? at->n_origins : 0, n = known > MOST_NAMES ? MOST_NAMES : known ? known : 1;
    const char **nodes = GI_NEW_ARRAY(r->arena, const char *, n);
    if (!nodes) {
        r->failed = true;
        return;
    }
    nodes[0] = label;
    for (uint32_t i = 0; known && i < n; i++)
        nodes[i] = gi_arena_str(r->arena, at->origins[i]);
    if (!gi_push(r->arena, &r->remarks,
                 (gopt_remark){ .kind = kind,
                                .pass = cx->pass,
                                .rule = rule,
                                .index = (int)r->passes.n + 1,
                                .at = label,
                                .nodes = nodes,
                                .n_nodes = n,
                                .reason = reason }))
        r->failed = true;
}

bool gi_has_declined(const gi_pass_ctx *cx, const char *rule, const gi_node *at)
{
    const char *place = gi_arena_printf(cx->scratch, "%s\n%s", rule, gi_node_label(at, cx->scratch));
    return place && gi_smap_get(&cx->report->seen, place);
}

bool gi_pass_may(gi_pass_ctx *cx, const char *rule)
{
    if (cx->rewrites_left <= 0) {
        cx->stop = true;
        return false;
    }
    return !cx->skip || !gi_smap_get(cx->skip, rule);
}

void gi_applied(gi_pass_ctx *cx, const char *rule, const gi_node *at, const char *fmt, ...)
{
    count_rule(cx, rule, 1);
    if (cx->rewrites_left != INT64_MAX)
        cx->rewrites_left--;
    va_list args;
    va_start(args, fmt);
    remark(cx, GOPT_APPLIED, rule, at, fmt, args);
    va_end(args);
}

void gi_counted(gi_pass_ctx *cx, const char *rule, int64_t n)
{
    if (n > 0)
        count_rule(cx, rule, n);
}

void gi_declined(gi_pass_ctx *cx, const char *rule, const gi_node *at, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    remark(cx, GOPT_DECLINED, rule, at, fmt, args);
    va_end(args);
}

void gi_remarked(gi_pass_ctx *cx, const char *rule, const gi_node *at, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    remark(cx, GOPT_ANALYSIS, rule, at, fmt, args);
    va_end(args);
}
