/* gopt passes, ops and devices: the library's own tables. */
#include <string.h>

#include "tool.h"

/* Every kind of rewrite; docs/rules.md draws them. */
static gopt_status list_rules(tool *t)
{
    static const char *const exact[] = { "bitwise", "reassoc", "finite" };
    json_t *a = json_array();
    gopt_rule_info r;
    printf("%s%-34s %-10s %-8s what it does%s\n", bold(t), "rule", "pass", "exact", plain(t));
    for (size_t i = 0; gopt_rule_get(i, &r); i++) {
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
    printf("%s%-22s level  what it does%s\n", bold(t), "pass", plain(t));
    for (size_t i = 0; (p = gopt_pass_get(i)); i++) {
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

/* ---- operators ---- */

typedef bool (*arg_fn)(size_t op, size_t i, gopt_op_arg *out);

static json_t *json_args(size_t op, arg_fn get)
{
    static const char *const presence[] = { "required", "optional", "variadic" };
    json_t *a = json_array();
    gopt_op_arg x;
    for (size_t i = 0; get(op, i, &x); i++)
        json_array_append_new(a, json_pack("{s:s, s:s}", "name", x.name, "presence", presence[x.presence]));
    return a;
}

static json_t *json_default(const gopt_op_attr *x)
{
    return !x->has_default             ? json_null()
           : !strcmp(x->kind, "int")   ? json_integer(x->i)
           : !strcmp(x->kind, "float") ? json_real((double)x->f)
                                       : json_text(x->s);
}

static json_t *json_attributes(size_t op)
{
    json_t *a = json_array();
    gopt_op_attr x;
    for (size_t i = 0; gopt_op_attribute(op, i, &x); i++)
        json_array_append_new(a, json_pack("{s:s, s:s, s:b, s:o}", "name", x.name, "kind", x.kind, "required",
                                           x.required, "default", json_default(&x)));
    return a;
}

static json_t *json_types(size_t op)
{
    json_t *a = json_array();
    for (int t = 1; t < GOPT_DTYPE_COUNT; t++)
        if (gopt_op_takes(op, (gopt_dtype)t))
            json_array_append_new(a, json_string(gopt_dtype_name((gopt_dtype)t)));
    return a;
}

/* What import does to its older versions. */
static json_t *json_changes(const char *op)
{
    json_t *a = json_array();
    gopt_op_change x;
    for (size_t i = 0; gopt_op_change_get(i, &x); i++)
        if (x.op && !strcmp(x.op, op))
            json_array_append_new(a, json_pack("{s:i, s:s}", "before", x.before, "means", x.means));
    return a;
}

static json_t *json_op(size_t i, const gopt_op_info *p)
{
    json_t *o = json_object();
    json_object_set_new(o, "domain", json_text(p->domain));
    json_object_set_new(o, "name", json_text(p->name));
    json_object_set_new(o, "since", json_integer(p->since));
    json_object_set_new(o, "first", json_integer(p->first));
    json_object_set_new(o, "means", json_text(p->means));
    json_object_set_new(o, "inputs", json_args(i, gopt_op_input));
    json_object_set_new(o, "outputs", json_args(i, gopt_op_output));
    json_object_set_new(o, "attributes", json_attributes(i));
    json_object_set_new(o, "types", json_types(i));
    json_object_set_new(o, "any_kind", json_boolean(p->any_kind));
    json_object_set_new(o, "random", json_boolean(p->random));
    json_object_set_new(o, "ours", json_boolean(p->ours));
    json_object_set_new(o, "backends", p->evaluated ? json_pack("[s]", "cpu") : json_array());
    json_object_set_new(o, "changes", *p->domain ? json_array() : json_changes(p->name));
    json_object_set_new(o, "becomes", json_null());
    return o;
}

static json_t *json_by_import(const gopt_op_by_import *p)
{
    return json_pack("{s:s, s:s, s:s, s:[s], s:o, s:s}", "domain", "", "name", p->name, "means", p->means, "backends",
                     "cpu", "changes", json_changes(p->name), "becomes", p->becomes);
}

gopt_status list_ops(tool *t)
{
    if (t->o.backend && strncmp(t->o.backend, "cpu", 3) != 0)
        return tool_fail(t, GOPT_USAGE, NULL, "`gopt run --backend NAME --profile -` shows what a model's nodes run on",
                         "--backend %s: only the cpu's list is known without a model", t->o.backend);
    json_t *a = json_array();
    gopt_op_info p;
    gopt_op_by_import q;
    size_t n = 0, k = 0;
    printf("%s%-28s since  what it means%s\n", bold(t), "operator", plain(t));
    for (; gopt_op_info_get(n, &p); n++) {
        char name[128];
        snprintf(name, sizeof name, "%s%s%s", p.domain, *p.domain ? "::" : "", p.name);
        printf("%-28s %5d  %s\n", name, p.since, p.means ? p.means : "");
        json_array_append_new(a, json_op(n, &p));
    }
    for (; gopt_op_by_import_get(k, &q); k++) {
        printf("%-28s %5s  on import: %s\n", q.name, "", q.means);
        json_array_append_new(a, json_by_import(&q));
    }
    say(t, "%s%zu operators, and %zu that import makes others of%s\n", dim(t), n, k, plain(t));
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
        printf("%s%-8s%s %s\n", bold(t), d->backend, plain(t), d->name ? d->name : "");
        if (d->details && *d->details)
            printf("         %s\n", d->details);
        if (d->missing)
            printf("         %scannot be used:%s %s\n", red(t), plain(t), d->missing);
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
