/* Fusions that one network has and another has not: both ledgers side by side.
 *
 * A fusion is a remark of a fusing pass, with the original names of its nodes. Names are looked up in sorted lists, so
 * the work is that of sorting them. */
#include "fusions.h"

#include <stdlib.h>
#include <string.h>

/* A name, and what holds it: a remark, or a step of the plan that runs several original nodes. */
typedef struct place {
    const char *name;
    const char *const *names; /* all that it holds */
    size_t n_names;
    const gopt_remark *m; /* NULL: a step */
} place;

typedef struct ledger {
    place *fused, *declined; /* sorted by name */
    size_t n_fused, n_declined;
    const char **nodes; /* names of all nodes of the loaded model that the remarks could mean, sorted */
    size_t n_nodes;
} ledger;

static bool is_fusion(const gopt_remark *m)
{
    return m->kind == GOPT_APPLIED && m->pass && !strncmp(m->pass, "fuse-", 5) && m->n_nodes > 1;
}

static int by_name(const void *a, const void *b)
{
    return strcmp(((const place *)a)->name, ((const place *)b)->name);
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static gopt_status collect_declined(tool *t, const gopt_report_summary *r, ledger *l)
{
    size_t count = 0;
    for (size_t i = 0; i < r->n_remarks; i++)
        count += r->remarks[i].n_nodes;
    l->declined = malloc((count + 1) * sizeof *l->declined);
    if (!l->declined)
        return tool_no_memory(t);
    for (size_t i = 0; i < r->n_remarks; i++) {
        const gopt_remark *m = &r->remarks[i];
        for (size_t k = 0; k < m->n_nodes && m->kind == GOPT_DECLINED; k++)
            l->declined[l->n_declined++] = (place){ m->nodes[k], m->nodes, m->n_nodes, m };
    }
    qsort(l->declined, l->n_declined, sizeof *l->declined, by_name);
    return GOPT_OK;
}

/* What was fused here, and what was one node before, since an optimized file has it merged already. */
static gopt_status collect_fused(tool *t, const gopt_report_summary *r, gopt_run_context *rc, ledger *l)
{
    size_t count = 0;
    const gopt_step_info *step;
    for (size_t i = 0; i < r->n_remarks; i++)
        count += r->remarks[i].n_nodes;
    for (size_t i = 0; (step = gopt_run_context_step(rc, i)); i++)
        count += step->n_origins;
    l->fused = malloc((count + 1) * sizeof *l->fused);
    if (!l->fused)
        return tool_no_memory(t);
    for (size_t i = 0; i < r->n_remarks; i++) {
        const gopt_remark *m = &r->remarks[i];
        for (size_t k = 0; k < m->n_nodes && is_fusion(m); k++)
            l->fused[l->n_fused++] = (place){ m->nodes[k], m->nodes, m->n_nodes, m };
    }
    for (size_t i = 0; (step = gopt_run_context_step(rc, i)); i++)
        for (size_t k = 0; k < step->n_origins; k++)
            l->fused[l->n_fused++] = (place){ step->origins[k], step->origins, step->n_origins, NULL };
    qsort(l->fused, l->n_fused, sizeof *l->fused, by_name);
    return GOPT_OK;
}

/* The first place of that name; *n of them. */
static const place *find(const place *p, size_t count, const char *name, size_t *n)
{
    size_t lo = 0, hi = count;
    while (lo < hi) {
        const size_t mid = lo + (hi - lo) / 2;
        if (strcmp(p[mid].name, name) < 0)
            lo = mid + 1;
        else
            hi = mid;
    }
    for (*n = 0; lo + *n < count && !strcmp(p[lo + *n].name, name);)
        ++*n;
    return p + lo;
}

static bool holds(const place *p, const char *name)
{
    for (size_t i = 0; i < p->n_names; i++)
        if (!strcmp(p->names[i], name))
            return true;
    return false;
}

/* "Conv + Add + Relu" of "Conv + Add + Relu can run as one conv kernel, …". */
static size_t kind_length(const gopt_remark *m)
{
    const char *reason = m->reason ? m->reason : "", *end = strstr(reason, " can run");
    end = end ? end : strstr(reason, " become");
    return end ? (size_t)(end - reason) : strcspn(reason, ",:");
}

static bool same_kind(const gopt_remark *a, const gopt_remark *b)
{
    const size_t n = kind_length(a);
    return n == kind_length(b) && (!n || !strncmp(a->reason, b->reason, n)) && !strcmp(a->pass, b->pass);
}

/* Which names of `m` does the other network have at all? Those that any remark or node of it names. */
static size_t common(const ledger *b, const gopt_remark *m, const char **names)
{
    size_t n = 0, found;
    for (size_t i = 0; i < m->n_nodes; i++) {
        const char *name = m->nodes[i];
        const bool there = bsearch(&name, b->nodes, b->n_nodes, sizeof *b->nodes, by_text) != NULL;
        find(b->fused, b->n_fused, name, &found);
        if (there || found)
            names[n++] = name;
    }
    return n;
}

static bool is_kept(const ledger *b, const gopt_remark *m, const char *const *names, size_t n)
{
    size_t places;
    const place *p = find(b->fused, b->n_fused, names[0], &places);
    for (size_t i = 0; i < places; i++) {
        bool all = !p[i].m || !strcmp(p[i].m->pass, m->pass);
        for (size_t k = 1; k < n && all; k++)
            all = holds(&p[i], names[k]);
        if (all)
            return true;
    }
    return false;
}

static bool has_pass(const gopt_report_summary *r, const char *name)
{
    for (size_t i = 0; i < r->n_passes; i++)
        if (!strcmp(r->passes[i].name, name))
            return true;
    return false;
}

/* The other's own words at one of these nodes; a fusing pass's before others'. */
static const char *reason_of(const ledger *b, const gopt_report_summary *r, const gopt_remark *m,
                             const char *const *names, size_t n)
{
    const char *other = NULL;
    if (!has_pass(r, m->pass))
        return !strcmp(m->pass, "fuse-vertical") ? "the pass fuse-vertical did not run there"
                                                 : "the pass fuse-horizontal did not run there";
    for (size_t i = 0; i < n; i++) {
        size_t places;
        const place *p = find(b->declined, b->n_declined, names[i], &places);
        for (size_t k = 0; k < places; k++) {
            if (p[k].m->reason && p[k].m->pass && !strncmp(p[k].m->pass, "fuse-", 5))
                return p[k].m->reason;
            other = other ? other : p[k].m->reason;
        }
    }
    return other ? other : "nothing was declined there: what lies between its nodes has changed";
}

static gopt_status add_lost(tool *t, lost_fusions *l, const gopt_remark *m, const char *reason)
{
    enum { SHOWN = 3 };
    char names[512] = "";
    for (size_t i = 0; i < m->n_nodes && i < SHOWN; i++)
        snprintf(names + strlen(names), sizeof names - strlen(names), "%s%.120s", i ? ", " : "", m->nodes[i]);
    if (m->n_nodes > SHOWN)
        snprintf(names + strlen(names), sizeof names - strlen(names), " and %zu more", m->n_nodes - SHOWN);
    lost_fusion *more = realloc(l->p, (l->n + 1) * sizeof *more);
    if (!more)
        return tool_no_memory(t);
    l->p = more;
    char *what = text_of("%.*s at %s", (int)kind_length(m), m->reason ? m->reason : "", names);
    if (!what)
        return tool_no_memory(t);
    l->p[l->n++] = (lost_fusion){ what, reason };
    return GOPT_OK;
}

/* How many fusions of a kind there are; few kinds, however many fusions. */
typedef struct kind {
    const gopt_remark *m;
    size_t n;
} kind;

static kind *find_kind(kind *k, size_t n, const gopt_remark *m)
{
    for (size_t i = 0; i < n; i++)
        if (same_kind(k[i].m, m))
            return &k[i];
    return NULL;
}

/* Fusions of nodes that the other does not know by name: lost are those of which the other has fewer. */
static gopt_status compare_kinds(tool *t, const gopt_report_summary *a, const gopt_report_summary *b, const bool *open,
                                 lost_fusions *l)
{
    kind *kinds = NULL;
    size_t n = 0;
    gopt_status s = GOPT_OK;
    for (size_t i = 0; i < b->n_remarks && s == GOPT_OK; i++) {
        kind *k = is_fusion(&b->remarks[i]) ? find_kind(kinds, n, &b->remarks[i]) : NULL;
        if (k || !is_fusion(&b->remarks[i])) {
            if (k)
                k->n++;
            continue;
        }
        kind *more = realloc(kinds, (n + 1) * sizeof *more);
        if (!more) {
            s = tool_no_memory(t);
            break;
        }
        kinds = more;
        kinds[n++] = (kind){ &b->remarks[i], 1 };
    }
    for (size_t i = 0; i < a->n_remarks && s == GOPT_OK; i++) {
        kind *k = open[i] ? find_kind(kinds, n, &a->remarks[i]) : NULL;
        if (k && k->n)
            k->n--;
        else if (open[i])
            s = add_lost(t, l, &a->remarks[i],
                         "the second network has no such fusion left, and no nodes of these names");
    }
    free(kinds);
    return s;
}

static gopt_status compare_all(tool *t, const gopt_report_summary *a, const gopt_report_summary *b, const ledger *lb,
                               const char **names, bool *open, lost_fusions *l)
{
    for (size_t i = 0; i < a->n_remarks; i++) {
        const gopt_remark *m = &a->remarks[i];
        if (!is_fusion(m))
            continue;
        const size_t n = common(lb, m, names);
        open[i] = n < 2;
        if (n < 2 || is_kept(lb, m, names, n))
            continue;
        TRY(add_lost(t, l, m, reason_of(lb, b, m, names, n)));
    }
    return compare_kinds(t, a, b, open, l);
}

static gopt_status collect_nodes(tool *t, const gopt_graph *g, ledger *l)
{
    size_t count = 0;
    for (const gopt_node *n = gopt_graph_first_node(g); n; n = gopt_node_next(n))
        count++;
    l->nodes = malloc((count + 1) * sizeof *l->nodes);
    if (!l->nodes)
        return tool_no_memory(t);
    for (const gopt_node *n = gopt_graph_first_node(g); n; n = gopt_node_next(n))
        if (gopt_node_name(n) && *gopt_node_name(n))
            l->nodes[l->n_nodes++] = gopt_node_name(n);
    qsort(l->nodes, l->n_nodes, sizeof *l->nodes, by_text);
    return GOPT_OK;
}

gopt_status fusions_compare(tool *t, const answers *a, const answers *b, lost_fusions *out)
{
    const gopt_report_summary *ra = gopt_report_get(a->report), *rb = gopt_report_get(b->report);
    ledger l = { 0 };
    size_t most = 0;
    for (size_t i = 0; i < ra->n_remarks; i++)
        most = ra->remarks[i].n_nodes > most ? ra->remarks[i].n_nodes : most;
    const char **names = calloc(most + 1, sizeof *names);
    bool *open = calloc(ra->n_remarks + 1, sizeof *open);
    gopt_status s = names && open ? collect_fused(t, rb, b->rc, &l) : tool_no_memory(t);
    if (s == GOPT_OK)
        s = collect_declined(t, rb, &l);
    if (s == GOPT_OK)
        s = collect_nodes(t, b->g, &l);
    if (s == GOPT_OK)
        s = compare_all(t, ra, rb, &l, names, open, out);
    free(names);
    free(open);
    free(l.fused);
    free(l.declined);
    free(l.nodes);
    return s;
}

void fusions_free(lost_fusions *l)
{
    for (size_t i = 0; i < l->n; i++)
        free(l->p[i].what);
    free(l->p);
    *l = (lost_fusions){ 0 };
}
