/* Operators of PyTorch that an exporter left: brought to operators that run, and what became of each, grouped. */
#include <stdlib.h>
#include <string.h>

#include "table.h"

static int by_kind(const void *a, const void *b)
{
    const gopt_aten_finding *const *x = a, *const *y = b;
    int order = (int)(*x)->outcome - (int)(*y)->outcome;
    order = order ? order : strcmp((*x)->op, (*y)->op);
    order = order ? order : strcmp((*x)->overload, (*y)->overload);
    order = order ? order : strcmp((*x)->what, (*y)->what);
    return order ? order : (*x > *y) - (*x < *y); /* in the order of the file */
}

static bool alike(const gopt_aten_finding *a, const gopt_aten_finding *b)
{
    return a->outcome == b->outcome && !strcmp(a->op, b->op) && !strcmp(a->overload, b->overload) &&
           !strcmp(a->what, b->what);
}

/* Behind what takes `column` cells of the line: cut where a terminal ends, without -v. */
static void print_places(const tool *t, FILE *to, const char *where, int column, bool more)
{
    const int window = to == stdout && !t->o.verbose ? screen_of().columns : 0;
    const int room = window - column - (more ? 3 : 0);
    char *s = where ? text_head(where, window ? room > 8 ? room : 8 : 0) : NULL;
    fprintf(to, "%s%s\n", s ? s : "", more ? ", …" : "");
    free(s);
}

/* One line for the findings from i to `end`, which are alike. */
static void print_group(const tool *t, FILE *to, const gopt_aten_finding *const *list, size_t i, size_t end)
{
    const bool color = to == stderr ? t->color_err : t->color_out;
    const gopt_aten_finding *f = list[i];
    const size_t places = end - i;
    char *head =
        text_of("%s%s%s%s to %s%s, %zu place%s:", strstr(f->op, "::") ? "" : "aten::", f->op, *f->overload ? "." : "",
                f->overload, f->what, f->outcome == GOPT_ATEN_OWN ? ", gopt's own, which no other runtime has" : "",
                places, places == 1 ? "" : "s");
    fprintf(to, "%slowered:%s ", color ? "\033[1m" : "", color ? "\033[0m" : "");
    text_put(to, head ? head : "?");
    const int column = (int)strlen("lowered: ") + (head ? text_columns(head) : 1);
    free(head);
    char *where = strdup("");
    for (size_t k = i; where && k < end && (k < i + 3 || t->o.verbose); k++) {
        char *more = text_of("%s%s %s%s%s (%s)", where, k > i ? "," : "", *list[k]->node ? list[k]->node : "(no name)",
                             *list[k]->scope ? " in " : "", list[k]->scope, list[k]->inputs);
        free(where);
        where = more;
    }
    print_places(t, to, where, column, places > 3 && !t->o.verbose);
    free(where);
    if (*f->fix)
        fprintf(to, "  to keep the model portable: %s\n", f->fix);
}

/* One line a kind, by operator; what stays is told by print_unsupported, with its reason. */
void print_aten(const tool *t, FILE *to, const gopt_aten_finding *list, size_t n)
{
    const gopt_aten_finding **sorted = malloc((n + 1) * sizeof *sorted);
    if (!sorted)
        return;
    for (size_t i = 0; i < n; i++)
        sorted[i] = &list[i];
    qsort(sorted, n, sizeof *sorted, by_kind);
    for (size_t i = 0, end; i < n; i = end) {
        for (end = i + 1; end < n && alike(sorted[i], sorted[end]); end++)
            ;
        if (sorted[i]->outcome != GOPT_ATEN_LEFT)
            print_group(t, to, sorted, i, end);
    }
    free(sorted);
}

json_t *json_aten(const gopt_aten_finding *list, size_t n)
{
    static const char *const outcomes[] = { "lowered", "own", "unsupported" };
    json_t *a = json_array();
    for (size_t i = 0; i < n; i++) {
        json_t *o = json_object();
        json_object_set_new(o, "node", json_text(list[i].node));
        json_object_set_new(o, "scope", json_text(list[i].scope));
        json_object_set_new(o, "operator", json_text(list[i].op));
        json_object_set_new(o, "overload", json_text(list[i].overload));
        json_object_set_new(o, "inputs", json_text(list[i].inputs));
        json_object_set_new(o, "outcome", json_text(outcomes[list[i].outcome]));
        json_object_set_new(o, "what", json_text(list[i].what));
        json_object_set_new(o, "fix", json_text(list[i].fix));
        json_array_append_new(a, o);
    }
    return a;
}

gopt_status tool_lower_aten(tool *t, gopt_graph *g)
{
    const gopt_aten_finding *list;
    size_t n, lowered = 0, own = 0;
    TRY(gopt_lower_aten(g, &list, &n));
    if (t->page && n)
        page_put(t, "aten", json_aten(list, n));
    for (size_t i = 0; i < n; i++) {
        lowered += list[i].outcome != GOPT_ATEN_LEFT;
        own += list[i].outcome == GOPT_ATEN_OWN;
    }
    if (t->o.quiet || !lowered || (t->o.diagnostics && !strcmp(t->o.diagnostics, "json")))
        return GOPT_OK;
    if (t->o.verbose)
        print_aten(t, stderr, list, n);
    else
        fprintf(stderr, "note: %zu operator%s of PyTorch became %s%s; `gopt inspect` shows each\n", lowered,
                lowered == 1 ? "" : "s", lowered == 1 ? "one that runs" : "ones that run",
                own ? lowered == 1 ? ", which gopt alone has" : ", some of which gopt alone has" : "");
    return GOPT_OK;
}
