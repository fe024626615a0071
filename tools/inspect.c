/* gopt inspect: what a model is, and what would happen to it, without running it. */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "tool.h"

/* ---- plugins ---- */

typedef struct plugged {
    const gopt_node *node;
    gopt_plugin_use use;
    bool told;
} plugged;

/* Every node that a plugin runs; NULL where there is none, or no memory. Freed by the caller. */
static plugged *find_plugged(const gopt_graph *g, size_t *n)
{
    gopt_plugin_use use;
    size_t count = 0;
    *n = 0;
    for (gopt_node *i = gopt_graph_first_node(g); i; i = gopt_node_next(i))
        count += gopt_node_plugin(i, &use);
    plugged *p = count ? calloc(count, sizeof *p) : NULL;
    for (gopt_node *i = p ? gopt_graph_first_node(g) : NULL; i; i = gopt_node_next(i))
        if (gopt_node_plugin(i, &use))
            p[(*n)++] = (plugged){ .node = i, .use = use };
    return p;
}

static void print_plugged(const tool *t, plugged *p, size_t n)
{
    printf("\n%sOperators that plugins provide%s\n", bold(t), plain(t));
    for (size_t i = 0; i < n; i++) {
        size_t places = 0, shown = 0;
        if (p[i].told)
            continue;
        for (size_t k = i; k < n; k++)
            if (p[k].use.name == p[i].use.name) { /* the plugin's own text: one an operator */
                p[k].told = true;
                places++;
            }
        printf("  %s::%s, %zu place%s:", *p[i].use.domain ? p[i].use.domain : "ai.onnx", p[i].use.name, places,
               places == 1 ? "" : "s");
        for (size_t k = i; k < n && (shown < 3 || t->o.verbose); k++)
            if (p[k].use.name == p[i].use.name) {
                const char *name = gopt_node_name(p[k].node);
                printf("%s %s", shown++ ? "," : "", name && *name ? name : "(no name)");
            }
        printf("%s\n    by %s%s%s\n", shown < places ? ", …" : "", p[i].use.file ? p[i].use.file : "the program",
               p[i].use.means ? ": " : "", p[i].use.means ? p[i].use.means : "");
    }
}

static json_t *json_plugged(const plugged *p, size_t n)
{
    json_t *a = json_array();
    for (size_t i = 0; i < n; i++) {
        json_t *o = json_object();
        json_object_set_new(o, "node", json_text(gopt_node_name(p[i].node)));
        json_object_set_new(o, "domain", json_text(p[i].use.domain));
        json_object_set_new(o, "op", json_text(p[i].use.name));
        json_object_set_new(o, "means", json_text(p[i].use.means));
        json_object_set_new(o, "plugin", json_text(p[i].use.file));
        json_array_append_new(a, o);
    }
    return a;
}

/* ---- JSON ---- */

static json_t *json_values(const gopt_graph *g, bool inputs)
{
    json_t *a = json_array();
    const size_t n = inputs ? gopt_graph_input_count(g) : gopt_graph_output_count(g);
    for (size_t i = 0; i < n; i++) {
        char type[1024];
        json_t *o = json_object();
        gopt_value_type_text(inputs ? gopt_graph_get_input(g, i) : gopt_graph_get_output(g, i), type, sizeof type);
        json_object_set_new(o, "name", json_text(inputs ? gopt_graph_input_name(g, i) : gopt_graph_output_name(g, i)));
        json_array_append_new(a, json_value_type(type, o));
    }
    return a;
}

static json_t *json_amount(const char *text)
{
    char *end;
    const long long v = text ? strtoll(text, &end, 10) : 0;
    return text && *text && !*end ? json_integer(v) : json_text(text);
}

static json_t *json_diagnostics(const tool *t)
{
    static const char *const names[] = { "note", "warning", "error" };
    json_t *a = json_array();
    for (size_t i = 0; i < gopt_diag_count(t->cx); i++) {
        const gopt_diag *d = gopt_diag_get(t->cx, i);
        json_t *o = json_object();
        json_object_set_new(o, "severity", json_string(names[d->severity]));
        json_object_set_new(o, "subgraph", json_text(d->subgraph));
        json_object_set_new(o, "node", json_text(d->node));
        json_object_set_new(o, "op", json_text(d->op));
        json_object_set_new(o, "input", json_text(d->input));
        json_object_set_new(o, "message", json_text(d->message));
        json_object_set_new(o, "hint", json_text(d->hint));
        json_array_append_new(a, o);
    }
    return a;
}

static json_t *json_nodes(const gopt_graph *g)
{
    json_t *a = json_array();
    for (gopt_node *n = gopt_graph_first_node(g); n; n = gopt_node_next(n)) {
        json_t *o = json_object(), *in = json_array(), *out = json_array();
        gopt_value *v;
        for (size_t k = 0; k < gopt_node_input_count(n); k++) {
            v = gopt_node_input(n, k);
            json_array_append_new(in, v ? json_text(gopt_value_name(v)) : json_null());
        }
        for (size_t k = 0; (v = gopt_node_output(n, k)); k++) {
            char type[1024];
            json_t *j = json_object();
            gopt_value_type_text(v, type, sizeof type);
            json_object_set_new(j, "name", json_text(gopt_value_name(v)));
            json_array_append_new(out, json_value_type(type, j));
        }
        json_object_set_new(o, "name", json_text(gopt_node_name(n)));
        json_object_set_new(o, "domain", json_text(gopt_node_domain(n)));
        json_object_set_new(o, "op", json_text(gopt_node_op(n)));
        json_object_set_new(o, "depth", json_integer(gopt_node_depth(n)));
        json_object_set_new(o, "inputs", in);
        json_object_set_new(o, "outputs", out);
        json_array_append_new(a, o);
    }
    return a;
}

static gopt_status json_weights(gopt_graph *g, json_t **out)
{
    const gopt_weight_stat *w;
    size_t n;
    TRY(gopt_inspect_weights(g, &w, &n));
    *out = json_array();
    for (size_t i = 0; i < n; i++) {
        json_t *o = json_object();
        json_object_set_new(o, "name", json_text(w[i].name));
        json_object_set_new(o, "type", json_text(w[i].type));
        json_object_set_new(o, "elements", json_integer((json_int_t)w[i].elements));
        json_object_set_new(o, "zeros", json_integer((json_int_t)w[i].zeros));
        json_object_set_new(o, "nan", json_integer((json_int_t)w[i].nans));
        json_object_set_new(o, "inf", json_integer((json_int_t)w[i].infs));
        json_object_set_new(o, "beyond_fp16", json_integer((json_int_t)w[i].beyond_f16));
        json_object_set_new(o, "min", json_real(w[i].min));
        json_object_set_new(o, "max", json_real(w[i].max));
        json_object_set_new(o, "mean", json_real(w[i].mean));
        json_array_append_new(*out, o);
    }
    return GOPT_OK;
}

static gopt_status write_json(tool *t, gopt_graph *g, const gopt_inspection *m, const gopt_unsupported *u, size_t n_u,
                              const gopt_aten_finding *aten, size_t n_aten, json_t *plugins, const gopt_plan *plan,
                              const gopt_lint_report *lint, const target *x)
{
    const char *domain;
    int64_t version;
    json_t *j = json_object(), *opsets = json_array();
    for (size_t i = 0; gopt_graph_get_opset(g, i, &domain, &version); i++)
        json_array_append_new(opsets,
                              json_pack("{s:o, s:I}", "domain", json_text(domain), "version", (json_int_t)version));
    json_object_set_new(j, "model", json_text(tool_model(t)));
    json_object_set_new(j, "ir_version", json_integer(gopt_graph_ir_version(g)));
    json_object_set_new(j, "producer", json_text(gopt_graph_producer(g)));
    json_object_set_new(j, "opsets", opsets);
    json_object_set_new(j, "inputs", json_values(g, true));
    json_object_set_new(j, "outputs", json_values(g, false));
    json_object_set_new(j, "nodes", json_integer(m->nodes));
    json_object_set_new(j, "operators", json_op_counts(m->ops, m->n_ops));
    json_object_set_new(j, "parameters", json_integer((json_int_t)m->parameters));
    json_object_set_new(j, "parameter_bytes", json_integer((json_int_t)m->parameter_bytes));
    json_object_set_new(j, "flops", json_amount(m->flops));
    json_object_set_new(j, "peak_activation_bytes", json_amount(m->peak_activation_bytes));
    json_object_set_new(j, "unsupported", json_unsupported(u, n_u));
    json_object_set_new(j, "aten", json_aten(aten, n_aten));
    json_object_set_new(j, "plugins", plugins);
    if (plan)
        json_object_set_new(j, "plan", plan_json(plan));
    json_object_set_new(j, "diagnostics", json_diagnostics(t));
    if (lint)
        json_object_set_new(j, "lint", lint_json(lint));
    if (x)
        json_object_set_new(j, "target", target_json(x));
    if (t->o.nodes)
        json_object_set_new(j, "node_list", json_nodes(g));
    if (t->o.weights) {
        json_t *w = NULL;
        const gopt_status s = json_weights(g, &w);
        if (s != GOPT_OK) {
            json_decref(j);
            return s;
        }
        json_object_set_new(j, "weights", w);
    }
    return tool_write_json(t, t->o.json, j);
}

/* ---- the whole ---- */

static gopt_status look_at(tool *t, gopt_graph *g, gopt_graph *lowered, const gopt_plan *plan, plugged **plugins,
                           target **x)
{
    const gopt_inspection *m;
    const gopt_unsupported *u;
    const gopt_aten_finding *aten;
    const gopt_lint_report *lint;
    size_t n_u, n_aten, n_p;
    TRY(lint_find(t, g, &lint));
    TRY(gopt_inspect(g, &m));
    TRY(gopt_lower_aten(lowered, &aten, &n_aten)); /* what optimize and run would do */
    TRY(gopt_find_unsupported(lowered, &u, &n_u));
    plugged *p = *plugins = find_plugged(lowered, &n_p);
    TRY(target_find(t, lowered, x));
    if (!t->o.quiet && lint)
        lint_print(t, lint);
    if (!t->o.quiet && plan)
        plan_print(t, plan);
    if (!t->o.quiet && (!lint || t->o.ops || t->o.nodes || t->o.weights)) {
        inspect_print_head(t, g, m);
        if (t->o.ops)
            TRY(inspect_print_ops(t, m));
        if (t->o.nodes)
            TRY(inspect_print_nodes(t, g));
        if (t->o.weights)
            TRY(inspect_print_weights(t, g));
        if (n_aten > n_u) {
            printf("\n%sOperators of PyTorch%s\n", bold(t), plain(t));
            print_aten(t, stdout, aten, n_aten);
        }
        if (n_p)
            print_plugged(t, p, n_p);
        if (n_u) {
            printf("\n%s%zu node%s cannot run here%s\n", bold(t), n_u, n_u == 1 ? "" : "s", plain(t));
            print_unsupported(t, stdout, u, n_u);
        }
    }
    if (!t->o.quiet && *x)
        TRY(target_print(t, *x));
    TRY(page_begin(t, tool_model(t), g));
    page_put(t, "unsupported", json_unsupported(u, n_u));
    page_put(t, "aten", json_aten(aten, n_aten));
    if (lint && t->page)
        page_put(t, "lint", lint_json(lint));
    TRY(page_write(t));
    TRY(explorer_write(t, NULL, g, NULL));
    if (t->o.json)
        TRY(write_json(t, g, m, u, n_u, aten, n_aten, json_plugged(p, n_p), plan, lint, *x));
    TRY(tool_pictures(t, g, NULL, tool_model(t)));
    return lint_verdict(t, lint);
}

gopt_status inspect(tool *t)
{
    gopt_graph *g = NULL, *lowered = NULL;
    plugged *plugins = NULL;
    gopt_plan *plan = NULL;
    target *x = NULL;
    if (t->o.list_lint)
        return list_lint(t);
    gopt_status s = gopt_is_plan(tool_model(t)) ? gopt_plan_open(t->cx, tool_model(t), &plan) : GOPT_OK;
    if (s == GOPT_OK)
        s = tool_load(t, tool_model(t), &g);
    if (s == GOPT_OK)
        s = gopt_graph_clone(g, &lowered);
    if (s == GOPT_OK)
        s = look_at(t, g, lowered, plan, &plugins, &x);
    target_free(x);
    free(plugins);
    gopt_plan_close(plan);
    gopt_graph_destroy(lowered);
    gopt_graph_destroy(g);
    return s;
}
