/* gopt passes, ops and devices: the library's own tables. */
#include <string.h>

#include "tool.h"

/* Every kind of rewrite; docs/rules.md draws them. */
static gopt_status list_rules(tool *t)
{
    static const char *const exact[] = { "bitwise", "reassoc", "finite" };
    json_t *a = json_array();
    gopt_rule_info r;
    const bool print = !t->o.json || strcmp(t->o.json, "-") != 0;
    if (print)
        printf("%s%-34s %-10s %-8s what it does%s\n", bold(t), "rule", "pass", "exact", plain(t));
    for (size_t i = 0; gopt_rule_get(i, &r); i++) {
        if (print)
            printf("%-34s %-10s %-8s %s\n", r.name, r.pass, exact[r.exact], r.means);
        json_t *o = json_object();
        json_object_set_new(o, "name", json_text(r.name));
        json_object_set_new(o, "pass", json_text(r.pass));
        json_object_set_new(o, "exact", json_string(exact[r.exact]));
        json_object_set_new(o, "opset", json_integer(r.opset));
        json_object_set_new(o, "ort", json_boolean(r.ort));
        json_object_set_new(o, "means", json_text(r.means));
        json_object_set_new(o, "needs", json_text(r.needs));
        json_array_append_new(a, o);
    }
    if (t->o.json)
        return tool_write_json(t, t->o.json, a);
    json_decref(a);
    return GOPT_OK;
}

gopt_status list_passes(tool *t)
{
    if (t->o.rules)
        return list_rules(t);
    json_t *a = json_array();
    const gopt_pass_info *p;
    if (!t->o.json || strcmp(t->o.json, "-") != 0)
        printf("%s%-22s level  what it does%s\n", bold(t), "pass", plain(t));
    for (size_t i = 0; (p = gopt_pass_get(i)); i++) {
        if (!t->o.json || strcmp(t->o.json, "-") != 0)
            printf("%-22s %5d  %s\n", p->name, p->level, p->means);
        json_t *o = json_object();
        json_object_set_new(o, "name", json_text(p->name));
        json_object_set_new(o, "level", json_integer(p->level));
        json_object_set_new(o, "means", json_text(p->means));
        json_array_append_new(a, o);
    }
    if (t->o.json)
        return tool_write_json(t, t->o.json, a);
    json_decref(a);
    return GOPT_OK;
}

gopt_status list_ops(tool *t)
{
    if (t->o.backend && strncmp(t->o.backend, "cpu", 3) != 0)
        return tool_fail(t, GOPT_USAGE, NULL, "`gopt run --backend NAME --profile -` shows what a model's nodes run on",
                         "--backend %s: only the cpu's list is known without a model", t->o.backend);
    json_t *a = json_array();
    gopt_op_info p;
    size_t n = 0;
    const bool print = !t->o.json || strcmp(t->o.json, "-") != 0;
    if (print)
        printf("%s%-28s since  what it means%s\n", bold(t), "operator", plain(t));
    for (; gopt_op_info_get(n, &p); n++) {
        char name[128];
        const bool own = p.domain && *p.domain && strcmp(p.domain, "ai.onnx") != 0;
        snprintf(name, sizeof name, "%s%s%s", own ? p.domain : "", own ? "::" : "", p.name);
        if (print)
            printf("%-28s %5d  %s\n", name, p.since, p.means ? p.means : "");
        json_t *o = json_object();
        json_object_set_new(o, "domain", json_text(p.domain ? p.domain : ""));
        json_object_set_new(o, "name", json_text(p.name));
        json_object_set_new(o, "since", json_integer(p.since));
        json_object_set_new(o, "means", json_text(p.means));
        json_array_append_new(a, o);
    }
    if (print)
        say(t, "%s%zu operators%s\n", dim(t), n, plain(t));
    if (t->o.json)
        return tool_write_json(t, t->o.json, a);
    json_decref(a);
    return GOPT_OK;
}

gopt_status list_devices(tool *t)
{
    json_t *a = json_array();
    const gopt_device_info *d;
    for (size_t i = 0; (d = gopt_device_get(t->cx, i)); i++) {
        if (!t->o.json || strcmp(t->o.json, "-") != 0) {
            printf("%s%-8s%s %s\n", bold(t), d->backend, plain(t), d->name ? d->name : "");
            if (d->details && *d->details)
                printf("         %s\n", d->details);
            if (d->missing)
                printf("         %scannot be used:%s %s\n", red(t), plain(t), d->missing);
        }
        json_t *o = json_object();
        json_object_set_new(o, "backend", json_text(d->backend));
        json_object_set_new(o, "name", json_text(d->name));
        json_object_set_new(o, "details", json_text(d->details));
        json_object_set_new(o, "missing", json_text(d->missing));
        json_array_append_new(a, o);
    }
    if (t->o.json)
        return tool_write_json(t, t->o.json, a);
    json_decref(a);
    return GOPT_OK;
}
