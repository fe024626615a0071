/* --remarks: the ledger of what was applied and declined, as people read it and as JSON, filtered by a regular
 * expression over pass, rule, node and reason.
 *
 * Unfiltered, remarks that say the same of many places are one line: a network of twelve equal layers declines
 * everything twelve times. */
#include <regex.h>
#include <stdlib.h>
#include <string.h>

#include "table.h"

static const char *const kinds[] = { "applied", "declined", "analysis" };

gopt_status tool_check_remarks(tool *t)
{
    regex_t re;
    char why[160];
    if (!t->o.remarks || !*t->o.remarks)
        return GOPT_OK;
    const int e = regcomp(&re, t->o.remarks, REG_EXTENDED | REG_NOSUB);
    if (e) {
        regerror(e, &re, why, sizeof why);
        return tool_fail(t, GOPT_USAGE, NULL, NULL, "--remarks '%s' is no regular expression: %s", t->o.remarks, why);
    }
    regfree(&re);
    return GOPT_OK;
}

static bool is_wanted(const regex_t *re, const gopt_remark *m)
{
    const char *const texts[] = { m->pass, m->rule, m->at, m->reason };
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++)
        if (texts[i] && !regexec(re, texts[i], 0, NULL, 0))
            return true;
    for (size_t i = 0; i < m->n_nodes; i++)
        if (!regexec(re, m->nodes[i], 0, NULL, 0))
            return true;
    return false;
}

static void print_remark(const tool *t, const gopt_remark *m, const char *places, const char *reason)
{
    const char *color = m->kind == GOPT_APPLIED ? green(t) : m->kind == GOPT_DECLINED ? red(t) : dim(t);
    printf("%s%s%s %s at ", color, kinds[m->kind], plain(t), m->rule ? m->rule : m->pass);
    text_put(stdout, places);
    if (reason && *reason) {
        printf(": ");
        text_put(stdout, reason);
    }
    if (t->o.verbose && m->n_nodes) {
        printf(" %s[", dim(t));
        for (size_t k = 0; k < m->n_nodes; k++) {
            printf("%s", k ? ", " : "");
            text_put(stdout, m->nodes[k]);
        }
        printf("]%s", plain(t));
    }
    putchar('\n');
}

/* What tidies up comes in hundreds, and its reasons differ in names alone: one line for all, with one reason. */
static const char *common_reason(const gopt_remark *m)
{
    static const struct {
        const char *rule, *reason;
    } known[] = { { "dedup_weights", "an operand has the same contents as another constant" },
                  { "cse", "it computes what another node does" },
                  { "constant_fold", "its result is known" } };
    for (size_t i = 0; m->kind == GOPT_APPLIED && m->rule && i < sizeof known / sizeof known[0]; i++)
        if (!strcmp(m->rule, known[i].rule))
            return known[i].reason;
    return m->kind == GOPT_APPLIED ? NULL : m->reason;
}

typedef struct line {
    const gopt_remark *m;
    const char *common; /* NULL: it stands alone */
    size_t at;          /* its place in the ledger */
    size_t alike;       /* how many say the same, itself included */
    bool first;         /* of those */
} line;

static int compare_lines(const void *x, const void *y)
{
    const line *a = x, *b = y;
    int c = (a->common != NULL) - (b->common != NULL);
    if (!c && a->common)
        c = a->m->kind != b->m->kind ? (int)a->m->kind - (int)b->m->kind
                                     : strcmp(a->m->rule ? a->m->rule : "", b->m->rule ? b->m->rule : "");
    if (!c && a->common)
        c = strcmp(a->common, b->common);
    return c ? c : a->at < b->at ? -1 : a->at > b->at;
}

static int compare_places(const void *x, const void *y)
{
    const line *a = x, *b = y;
    return a->at < b->at ? -1 : a->at > b->at;
}

static bool say_the_same(const line *a, const line *b)
{
    return a->common && b->common && a->m->kind == b->m->kind && a->m->rule && b->m->rule &&
           !strcmp(a->m->rule, b->m->rule) && !strcmp(a->common, b->common);
}

/* Counts how many lines say the same. */
static void group_lines(line *lines, size_t n)
{
    qsort(lines, n, sizeof *lines, compare_lines);
    for (size_t from = 0, to; from < n; from = to) {
        for (to = from + 1; to < n && say_the_same(&lines[from], &lines[to]);)
            to++;
        for (size_t i = from; i < to; i++) {
            lines[i].alike = to - from;
            lines[i].first = i == from;
        }
    }
    qsort(lines, n, sizeof *lines, compare_places);
}

static const char *place_of(const gopt_remark *m)
{
    return m->at ? m->at : "?";
}

/* "a, b, c and 42 more places", and how to see them all. */
static void print_group(const tool *t, const line *lines, size_t i, size_t n)
{
    enum { TOLD = 3 };
    char places[1024];
    size_t told = 0, len = 0;
    for (size_t k = i; k < n && told < TOLD && len < sizeof places; k++)
        if (say_the_same(&lines[i], &lines[k]))
            len +=
                (size_t)snprintf(places + len, sizeof places - len, "%s%s", told++ ? ", " : "", place_of(lines[k].m));
    if (len < sizeof places)
        snprintf(places + len, sizeof places - len, " and %zu more (--remarks=%s lists them)", lines[i].alike - told,
                 lines[i].m->rule);
    print_remark(t, lines[i].m, places, lines[i].common);
}

void tool_print_remarks(tool *t, const gopt_report_summary *r)
{
    enum { MOST_ALIKE = 4 };
    regex_t re;
    const char *pattern = t->o.remarks ? t->o.remarks : "";
    const bool all = *pattern || t->o.verbose;
    line *lines = calloc(r->n_remarks + 1, sizeof *lines);
    if (!lines || regcomp(&re, *pattern ? pattern : ".", REG_EXTENDED | REG_NOSUB)) {
        free(lines);
        return;
    }
    size_t n = 0;
    for (size_t i = 0; i < r->n_remarks; i++)
        if (!*pattern || is_wanted(&re, &r->remarks[i]))
            lines[n++] = (line){ .m = &r->remarks[i], .common = all ? NULL : common_reason(&r->remarks[i]), .at = i };
    group_lines(lines, n);
    for (size_t i = 0; i < n; i++)
        if (lines[i].alike <= MOST_ALIKE)
            print_remark(t, lines[i].m, place_of(lines[i].m), lines[i].m->reason);
        else if (lines[i].first)
            print_group(t, lines, i, n);
    regfree(&re);
    free(lines);
}

json_t *json_remarks(tool *t, const gopt_report_summary *r)
{
    const char *pattern = t->o.remarks ? t->o.remarks : "";
    json_t *a = json_array();
    regex_t re;
    if (regcomp(&re, *pattern ? pattern : ".", REG_EXTENDED | REG_NOSUB))
        return a;
    for (size_t i = 0; i < r->n_remarks; i++) {
        const gopt_remark *m = &r->remarks[i];
        if (*pattern && !is_wanted(&re, m))
            continue;
        json_t *o = json_object(), *nodes = json_array();
        for (size_t k = 0; k < m->n_nodes; k++)
            json_array_append_new(nodes, json_text(m->nodes[k]));
        json_object_set_new(o, "kind", json_string(kinds[m->kind]));
        json_object_set_new(o, "pass", json_text(m->pass));
        json_object_set_new(o, "rule", json_text(m->rule));
        json_object_set_new(o, "at", json_text(m->at));
        json_object_set_new(o, "nodes", nodes);
        json_object_set_new(o, "reason", json_text(m->reason));
        json_array_append_new(a, o);
    }
    regfree(&re);
    return a;
}
