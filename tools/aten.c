/* Operators of PyTorch that an exporter left: brought to operators that run, and what became of each, grouped. */
#include <string.h>

#include "tool.h"

static bool alike(const gopt_aten_finding *a, const gopt_aten_finding *b)
{
    return a->outcome == b->outcome && !strcmp(a->op, b->op) && !strcmp(a->overload, b->overload) &&
           !strcmp(a->what, b->what);
}

static bool is_first(const gopt_aten_finding *list, size_t i)
{
    for (size_t k = 0; k < i; k++)
        if (alike(&list[k], &list[i]))
            return false;
    return true;
}

/* One line a kind; what stays is told by print_unsupported, with its reason. */
void print_aten(const tool *t, FILE *to, const gopt_aten_finding *list, size_t n)
{
    const bool color = to == stderr ? t->color_err : t->color_out;
    for (size_t i = 0; i < n; i++) {
        const gopt_aten_finding *f = &list[i];
        if (f->outcome == GOPT_ATEN_LEFT || !is_first(list, i))
            continue;
        size_t places = 0, shown = 0;
        for (size_t k = i; k < n; k++)
            places += alike(&list[k], f);
        fprintf(to, "%slowered:%s %s%s%s%s to %s%s, %zu place%s:", color ? "\033[1m" : "", color ? "\033[0m" : "",
                strstr(f->op, "::") ? "" : "aten::", f->op, *f->overload ? "." : "", f->overload, f->what,
                f->outcome == GOPT_ATEN_OWN ? ", gopt's own, which no other runtime has" : "", places,
                places == 1 ? "" : "s");
        for (size_t k = i; k < n && (shown < 3 || t->o.verbose); k++)
            if (alike(&list[k], f))
                fprintf(to, "%s %s (%s)", shown++ ? "," : "", *list[k].node ? list[k].node : "(no name)",
                        list[k].inputs);
        fprintf(to, "%s\n", shown < places ? ", …" : "");
    }
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
        json_array_append_new(a, o);
    }
    return a;
}

gopt_status tool_lower_aten(tool *t, gopt_graph *g)
{
    const gopt_aten_finding *list;
    size_t n, lowered = 0, own = 0;
    TRY(gopt_lower_aten(g, &list, &n));
    for (size_t i = 0; i < n; i++) {
        lowered += list[i].outcome != GOPT_ATEN_LEFT;
        own += list[i].outcome == GOPT_ATEN_OWN;
    }
    if (t->o.quiet || !lowered || (t->o.diagnostics && !strcmp(t->o.diagnostics, "json")))
        return GOPT_OK;
    if (t->o.verbose)
        print_aten(t, stderr, list, n);
    else
        fprintf(stderr, "note: %zu operator%s of PyTorch became ones that run%s; `gopt inspect` shows each\n", lowered,
                lowered == 1 ? "" : "s", own ? ", some of which gopt alone has" : "");
    return GOPT_OK;
}
