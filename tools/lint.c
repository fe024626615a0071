/* gopt inspect --lint: what costs users of the model, rule by rule, with where and what to do. */
#include <stdlib.h>
#include <string.h>

#include "table.h"

static const char *const severities[] = { "note", "warning", "error" };

static const char *color_of(const tool *t, gopt_severity s)
{
    return s == GOPT_ERROR ? red(t) : s == GOPT_WARNING ? yellow(t) : bold(t);
}

/* ---- which ---- */

/* Every word of --lint must be a rule, a group or "all". */
static gopt_status check_rules(tool *t)
{
    enum { MOST = 256 };
    const char *known[MOST];
    size_t n = 0;
    gopt_lint_rule_info r;
    for (size_t i = 0; gopt_lint_rule_get(i, &r) && n + 2 < MOST; i++) {
        known[n++] = r.name;
        known[n++] = r.group;
    }
    known[n++] = "all";
    for (const char *p = t->o.lint; *p;) {
        char word[64], hint[160];
        const size_t len = strcspn(p, ",");
        snprintf(word, sizeof word, "%.*s", len > 60 ? 60 : (int)len, p);
        const char *name = word + (*word == '-');
        bool found = false;
        for (char *c = word + (*word == '-'); *c; c++)
            *c = *c == '_' ? '-' : *c;
        for (size_t i = 0; i < n && !found; i++)
            found = !strcmp(known[i], name);
        const char *near = nearest(name, known, n);
        if (near)
            snprintf(hint, sizeof hint, "did you mean %s?", near);
        else
            snprintf(hint, sizeof hint, "gopt inspect --list-lint names the rules and their groups");
        if (!found)
            return tool_fail(t, GOPT_USAGE, NULL, hint, "--lint: there is no rule '%s'", name);
        p += len + (p[len] == ',');
    }
    return GOPT_OK;
}

static gopt_severity severity_of(const char *word, gopt_severity otherwise)
{
    for (int i = 0; word && i < 3; i++)
        if (!strcmp(severities[i], word))
            return (gopt_severity)i;
    return otherwise;
}

gopt_status lint_find(tool *t, gopt_graph *g, const gopt_lint_report **r)
{
    *r = NULL;
    if (!t->o.lint)
        return GOPT_OK;
    TRY(check_rules(t));
    const gopt_lint_options o = { .rules = *t->o.lint ? t->o.lint : NULL, .least = severity_of(t->o.lint_level, 0) };
    return gopt_lint(g, &o, r);
}

gopt_status lint_verdict(const tool *t, const gopt_lint_report *r)
{
    if (!r || (t->o.lint_fail && !strcmp(t->o.lint_fail, "never")))
        return GOPT_OK;
    const gopt_severity s = severity_of(t->o.lint_fail, GOPT_ERROR);
    const size_t n = r->errors + (s <= GOPT_WARNING ? r->warnings : 0) + (s == GOPT_NOTE ? r->notes : 0);
    return n ? GOPT_DIFFERENT : GOPT_OK;
}

/* ---- text ---- */

static char *cost_text(int64_t cost, gopt_lint_unit unit)
{
    const double v = (double)cost;
    if (cost <= 0 || unit == GOPT_LINT_NO_COST || unit == GOPT_LINT_NODES) /* nodes: the message counts them */
        return NULL;
    if (unit == GOPT_LINT_BYTES && cost == 1)
        return strdup("1 byte");
    if (unit == GOPT_LINT_BYTES)
        return text_of("%s", bytes_text((uint64_t)cost).p);
    if (unit == GOPT_LINT_FLOPS)
        return v >= 1e9   ? text_of("%.2f GFLOP", v / 1e9)
               : v >= 1e6 ? text_of("%.2f MFLOP", v / 1e6)
                          : text_of("%s FLOP", count_text((uint64_t)cost).p);
    const char *name = gopt_lint_unit_name(unit);
    return text_of("%s %.*s", count_text((uint64_t)cost).p, (int)strlen(name) - (cost == 1), name);
}

/* "conv1 (Conv)", "input x", or nothing where the finding is of the whole model. Cut in the middle where long. */
static char *where_text(const gopt_lint_finding *f)
{
    enum { WIDE = 56 };
    char *s = text_fit(f->value ? f->value : f->node ? f->node : "the model", WIDE);
    if (s && f->op && !f->value) {
        char *both = text_of("%s (%s)", s, f->op);
        free(s);
        s = both;
    }
    return s;
}

static void print_one(const tool *t, const gopt_lint_finding *f, int width)
{
    char *where = where_text(f), *cost = cost_text(f->cost, f->unit), *message = text_fit(f->message, 0);
    char *node = f->value && f->node ? text_head(f->node, 80) : NULL;
    const int cells = where ? text_columns(where) : 0;
    printf("    %s%*s  %s", where ? where : "", width > cells ? width - cells : 0, "", message ? message : "");
    if (node)
        printf("%s at %s%s", dim(t), node, plain(t));
    if (cost)
        printf("  %s%s%s", dim(t), cost, plain(t));
    putchar('\n');
    free(where);
    free(cost);
    free(message);
    free(node);
}

/* All findings of one rule, which stand together. */
static void print_rule(const tool *t, const gopt_lint_finding *f, size_t n)
{
    enum { SHOWN = 3, WIDE = 64 };
    const size_t shown = t->o.verbose || n <= SHOWN + 1 ? n : SHOWN;
    int64_t sum = 0;
    int width = 0;
    for (size_t i = 0; i < n; i++)
        sum += f[i].cost <= INT64_MAX - sum ? f[i].cost : 0;
    for (size_t i = 0; i < shown; i++) {
        char *where = where_text(&f[i]);
        const int w = where ? text_columns(where) : 0;
        width = w > width && w <= WIDE ? w : width;
        free(where);
    }
    char *cost = n > 1 ? cost_text(sum, f[0].unit ? f[0].unit : f[n - 1].unit) : NULL;
    printf("\n%s%-7s%s %s%s%s", color_of(t, f->severity), severities[f->severity], plain(t), bold(t), f->rule,
           plain(t));
    if (n > 1)
        printf("  %s%s places%s%s%s", dim(t), count_text(n).p, cost ? ", " : "", cost ? cost : "", plain(t));
    putchar('\n');
    free(cost);
    for (size_t i = 0; i < shown; i++)
        print_one(t, &f[i], width);
    if (shown < n)
        printf("    %s… and %zu more: -v lists all%s\n", dim(t), n - shown, plain(t));
    printf("    %sfix:%s %s\n", green(t), plain(t), f->fix);
}

static void print_counts(const tool *t, const gopt_lint_report *r)
{
    const size_t n[] = { r->errors, r->warnings, r->notes };
    const char *const what[] = { "error", "warning", "note" };
    bool first = true;
    printf("%s%s%s: ", bold(t), tool_model(t), plain(t));
    for (int i = 0; i < 3; i++)
        if (n[i]) {
            printf("%s%s%s %s%s%s", first ? "" : ", ", color_of(t, (gopt_severity)(2 - i)), count_text(n[i]).p, what[i],
                   n[i] == 1 ? "" : "s", plain(t));
            first = false;
        }
    printf("%s\n", first ? "nothing found" : "");
}

void lint_print(const tool *t, const gopt_lint_report *r)
{
    print_counts(t, r);
    for (size_t i = 0, k; i < r->n; i = k) {
        for (k = i + 1; k < r->n && r->findings[k].rule == r->findings[i].rule;)
            k++;
        print_rule(t, &r->findings[i], k - i);
    }
}

/* ---- JSON ---- */

json_t *lint_json(const gopt_lint_report *r)
{
    json_t *a = json_array();
    for (size_t i = 0; i < r->n; i++) {
        const gopt_lint_finding *f = &r->findings[i];
        json_t *o = json_object();
        json_object_set_new(o, "rule", json_text(f->rule));
        json_object_set_new(o, "severity", json_string(severities[f->severity]));
        json_object_set_new(o, "node", json_text(f->node));
        json_object_set_new(o, "op", json_text(f->op));
        json_object_set_new(o, "value", json_text(f->value));
        json_object_set_new(o, "message", json_text(f->message));
        json_object_set_new(o, "cost", f->cost > 0 ? json_integer(f->cost) : json_null());
        json_object_set_new(o, "unit", f->cost > 0 ? json_text(gopt_lint_unit_name(f->unit)) : json_null());
        json_object_set_new(o, "fix", json_text(f->fix));
        json_array_append_new(a, o);
    }
    return json_pack("{s:I, s:I, s:I, s:I, s:o}", "rules", (json_int_t)r->rules, "errors", (json_int_t)r->errors,
                     "warnings", (json_int_t)r->warnings, "notes", (json_int_t)r->notes, "findings", a);
}

/* ---- --list-lint ---- */

gopt_status list_lint(tool *t)
{
    gopt_lint_rule_info r;
    json_t *a = t->o.json ? json_array() : NULL;
    for (size_t i = 0; gopt_lint_rule_get(i, &r); i++) {
        if (a) {
            json_t *o = json_object();
            json_object_set_new(o, "name", json_text(r.name));
            json_object_set_new(o, "group", json_text(r.group));
            json_object_set_new(o, "severity", json_string(severities[r.severity]));
            json_object_set_new(o, "on", json_boolean(r.on));
            json_object_set_new(o, "finds", json_text(r.finds));
            json_object_set_new(o, "why", json_text(r.why));
            json_object_set_new(o, "fix", json_text(r.fix));
            json_object_set_new(o, "seen", json_text(r.seen));
            json_array_append_new(a, o);
        } else {
            say(t, "%-20s %-13s %s%-7s%s  %s%s\n", r.name, r.group, color_of(t, r.severity), severities[r.severity],
                plain(t), r.finds, r.on ? "" : " (only where asked for)");
        }
    }
    return a ? tool_write_json(t, t->o.json, a) : GOPT_OK;
}
