/* gopt inspect --target: what of the model cpu, opencl or plain ONNX takes as it would be run or written, and why not the
 * rest. Nothing is compiled and nothing runs. */
#include <stdlib.h>
#include <string.h>

#include "table.h"

enum { PLACES_SHOWN = 3 };

/* A node or fused region, or of onnx a node. Texts are of the graph. */
typedef struct row {
    const char *domain, *op, *name;
    const char *backend; /* that runs it; NULL: none does, or it is not asked */
    bool taken, kernel;
    const char *reason, *kind, *region; /* kind: the reason without names */
    const char *const *origins;
    size_t n_origins;
    bool told;
} row;

struct target {
    const char *name;   /* "cpu", "opencl", "onnx" */
    const char *device; /* NULL: none */
    gopt_graph *g;      /* as it would be run or written */
    row *rows;
    size_t n;
};

/* ---- asking ---- */

static gopt_status optimize_for(tool *t, gopt_graph *g, gopt_kernels *kernels)
{
    gopt_optimize_options o;
    char *skip = NULL;
    TRY(tool_optimize_options(t, &o, &skip));
    o.fuse = kernels != NULL;
    o.emit = GOPT_EMIT_ONNX;
    o.dump_dir = NULL; /* stages are not of the model that is looked at */
    o.after_pass = NULL;
    if (kernels) {
        o.runs = gopt_kernels_run;
        o.runs_user = kernels;
    }
    const gopt_status s = gopt_optimize(g, &o, NULL);
    free(skip);
    return s;
}

static gopt_status ask_backend(tool *t, target *x, gopt_kernels *kernels)
{
    const gopt_placement *p;
    TRY(gopt_graph_fix_rest(x->g));
    TRY(optimize_for(t, x->g, kernels));
    TRY(gopt_find_placement(x->g, kernels, &x->device, &p, &x->n));
    x->rows = calloc(x->n + 1, sizeof *x->rows);
    if (!x->rows)
        return tool_no_memory(t);
    for (size_t i = 0; i < x->n; i++)
        x->rows[i] = (row){ .domain = gopt_node_domain(p[i].node),
                            .op = p[i].op,
                            .name = p[i].name,
                            .backend = p[i].backend,
                            .taken = p[i].asked,
                            .kernel = p[i].kernel,
                            .reason = p[i].reason,
                            .kind = p[i].reason_kind,
                            .region = p[i].region,
                            .origins = p[i].origins,
                            .n_origins = p[i].n_origins };
    if (!x->device)
        tool_note(t, NULL, "there is no OpenCL device: this is what the kernels take on any");
    return GOPT_OK;
}

/* Is it an operator of ONNX itself? If not, *why says whose it is. */
static bool is_onnx(const gopt_node *n, const char **why)
{
    const char *domain = gopt_node_domain(n);
    gopt_plugin_use use;
    gopt_op_info op;
    *why = "its domain is not ONNX's own: only runtimes that bring it can run it";
    if (gopt_node_plugin(n, &use))
        *why = "a plugin provides it: other runtimes need one too";
    else if (domain && !strncmp(domain, "com.microsoft", 13))
        *why = "ONNX Runtime alone brings it";
    else if (domain && !strncmp(domain, "ai.onnx.", 8))
        return true; /* ONNX's other domains, ml among them */
    if (domain && *domain && strcmp(domain, "ai.onnx") != 0)
        return false;
    for (size_t i = 0; gopt_op_info_get(i, &op); i++)
        if (!*op.domain && !strcmp(op.name, gopt_node_op(n))) {
            *why = "it is no operator of ONNX, but gopt's own";
            return !op.ours;
        }
    *why = "ONNX has no operator of that name";
    return false;
}

static gopt_status ask_onnx(tool *t, target *x)
{
    TRY(optimize_for(t, x->g, NULL));
    x->rows = calloc(gopt_graph_node_count(x->g) + 1, sizeof *x->rows);
    if (!x->rows)
        return tool_no_memory(t);
    const size_t room = gopt_graph_node_count(x->g);
    for (gopt_node *n = gopt_graph_first_node(x->g); n && x->n < room; n = gopt_node_next(n)) {
        const char *why;
        row r = { .domain = gopt_node_domain(n), .op = gopt_node_op(n), .name = gopt_node_name(n) };
        r.taken = r.kernel = is_onnx(n, &why);
        r.reason = r.kind = r.taken ? NULL : why;
        x->rows[x->n++] = r;
    }
    return GOPT_OK;
}

gopt_status target_find(tool *t, const gopt_graph *lowered, target **out)
{
    const char *to = t->o.target;
    *out = NULL;
    if (!to)
        return GOPT_OK;
    const bool onnx = !strcmp(to, "onnx");
    if (!onnx && strcmp(to, "cpu") != 0 && strcmp(to, "opencl") != 0 && strncmp(to, "opencl:", 7) != 0)
        return tool_fail(t, GOPT_USAGE, NULL, "as in --target opencl, or --target opencl:gpu",
                         "--target is '%s', expected cpu, opencl[:NAME-OR-TYPE] or onnx", to);
    target *x = *out = calloc(1, sizeof *x);
    if (!x)
        return tool_no_memory(t);
    x->name = onnx ? "onnx" : strncmp(to, "opencl", 6) ? "cpu" : "opencl";
    TRY(gopt_graph_clone(lowered, &x->g));
    if (onnx)
        return ask_onnx(t, x);
    gopt_kernels *kernels = NULL;
    gopt_status s = gopt_kernels_open(t->cx, &(gopt_engine_options){ .backend = to, .to_ask = true }, &kernels);
    if (s == GOPT_OK)
        s = ask_backend(t, x, kernels);
    gopt_kernels_close(kernels);
    return s;
}

void target_free(target *x)
{
    if (!x)
        return;
    free(x->rows);
    gopt_graph_destroy(x->g);
    free(x);
}

/* ---- telling ---- */

static size_t count(const target *x, bool taken, bool kernel)
{
    size_t n = 0;
    for (size_t i = 0; i < x->n; i++)
        n += x->rows[i].taken == taken && x->rows[i].kernel == kernel;
    return n;
}

static const char *text_or_empty(const char *s)
{
    return s ? s : "";
}

/* Nodes of one operator with one fate. */
static bool is_alike(const row *a, const row *b)
{
    return a->taken == b->taken && a->kernel == b->kernel &&
           !strcmp(text_or_empty(a->domain), text_or_empty(b->domain)) &&
           !strcmp(text_or_empty(a->op), text_or_empty(b->op)) &&
           !strcmp(text_or_empty(a->kind), text_or_empty(b->kind)) &&
           !strcmp(text_or_empty(a->backend), text_or_empty(b->backend));
}

static const char *fate_of(const target *x, const row *r)
{
    return !strcmp(x->name, "onnx") ? (r->taken ? "onnx" : "not onnx")
           : !r->backend            ? "nothing here runs it"
           : r->kernel              ? r->backend
                                    : "the cpu, without a kernel";
}

static char *operator_of(const row *r)
{
    return text_of("%s%s%s", text_or_empty(r->domain), *text_or_empty(r->domain) ? "::" : "", text_or_empty(r->op));
}

/* Each operator that the target does not run by a kernel, with its reason. */
static void print_rest(const tool *t, const target *x)
{
    for (size_t i = 0; i < x->n; i++)
        x->rows[i].told = x->rows[i].taken && x->rows[i].kernel;
    for (size_t i = 0; i < x->n; i++) {
        size_t places = 0, shown = 0;
        if (x->rows[i].told)
            continue;
        char *op = operator_of(&x->rows[i]);
        for (size_t k = i; k < x->n; k++)
            places += is_alike(&x->rows[i], &x->rows[k]);
        printf("  ");
        text_put(stdout, op ? op : "?");
        printf(", %zu place%s:", places, places == 1 ? "" : "s");
        free(op);
        for (size_t k = i; k < x->n; k++) {
            if (!is_alike(&x->rows[i], &x->rows[k]))
                continue;
            x->rows[k].told = true;
            if (shown < PLACES_SHOWN || t->o.verbose) {
                printf("%s ", shown++ ? "," : "");
                text_put(stdout, x->rows[k].name ? x->rows[k].name : "(no name)");
            }
        }
        printf("%s\n    %s", shown < places ? ", …" : "", fate_of(x, &x->rows[i]));
        printf("%s", x->rows[i].kind ? ": " : "");
        text_put(stdout, text_or_empty(x->rows[i].kind));
        putchar('\n');
        if (x->rows[i].region)
            printf("    the region that it was in fell apart: %s\n", x->rows[i].region);
    }
}

static gopt_status print_rows(const tool *t, const target *x)
{
    static const table_column columns[] = { { "node", .grows = true, .least = 16 },
                                            { "operators", .grows = true, .least = 16 },
                                            { "where", .grows = true, .least = 10 },
                                            { "why", .grows = true, .least = 16, .drops = true } };
    table *p = table_create(t, columns, sizeof columns / sizeof *columns);
    for (size_t i = 0; i < x->n; i++) {
        char *op = operator_of(&x->rows[i]);
        table_add(p, text_or_empty(x->rows[i].name));
        table_add(p, op ? op : "?");
        table_add(p, fate_of(x, &x->rows[i]));
        table_add(p, text_or_empty(x->rows[i].reason));
        free(op);
    }
    return table_print(p);
}

gopt_status target_print(const tool *t, const target *x)
{
    const bool onnx = !strcmp(x->name, "onnx"), cpu = !strcmp(x->name, "cpu");
    const size_t taken = count(x, true, true);
    printf("\n%s%s %s%s%s%s%s\n", bold(t), onnx ? "Written as" : "On", x->name, plain(t), x->device ? " (" : "",
           text_or_empty(x->device), x->device ? ")" : "");
    if (onnx)
        printf("  %zu of %zu nodes are ONNX's own operators\n", taken, x->n);
    else
        printf("  %zu of %zu steps run %s%s\n", taken, x->n, cpu ? "by kernels of the cpu" : "on opencl",
               taken == x->n ? ""
               : cpu         ? ", the others without, or not at all"
                             : ", the others elsewhere, or not at all");
    print_rest(t, x);
    return t->o.nodes ? print_rows(t, x) : GOPT_OK;
}

static json_t *json_row(const target *x, const row *r)
{
    json_t *o = json_object(), *origins = json_array();
    json_object_set_new(o, "node", json_text(r->name));
    json_object_set_new(o, "domain", json_text(text_or_empty(r->domain)));
    json_object_set_new(o, "op", json_text(r->op));
    json_object_set_new(o, "taken", json_boolean(r->taken));
    json_object_set_new(o, "reason", json_text(r->reason));
    if (strcmp(x->name, "onnx") != 0) {
        for (size_t i = 0; i < r->n_origins; i++)
            json_array_append_new(origins, json_text(r->origins[i]));
        json_object_set_new(o, "backend", json_text(r->backend));
        json_object_set_new(o, "kernel", json_boolean(r->kernel));
        json_object_set_new(o, "region", json_text(r->region));
        json_object_set(o, "origins", origins);
    }
    json_decref(origins);
    return o;
}

json_t *target_json(const target *x)
{
    json_t *j = json_object(), *rows = json_array(), *ops = json_object();
    for (size_t i = 0; i < x->n; i++) {
        const row *r = &x->rows[i];
        char *op = operator_of(r);
        json_t *of = op ? json_object_get(ops, op) : NULL;
        if (op && !of) {
            of = json_pack("{s:i, s:i}", "taken", 0, "not_taken", 0);
            json_object_set_new(ops, op, of);
        }
        const char *key = r->taken ? "taken" : "not_taken";
        if (of)
            json_object_set_new(of, key, json_integer(json_integer_value(json_object_get(of, key)) + 1));
        free(op);
        json_array_append_new(rows, json_row(x, r));
    }
    const size_t by_kernel = count(x, true, true), taken = by_kernel + count(x, true, false);
    json_object_set_new(j, "name", json_string(x->name));
    json_object_set_new(j, "device", json_text(x->device));
    json_object_set_new(j, "nodes", json_integer((json_int_t)x->n));
    json_object_set_new(j, "taken", json_integer((json_int_t)taken));
    json_object_set_new(j, "not_taken", json_integer((json_int_t)(x->n - taken)));
    if (strcmp(x->name, "onnx") != 0)
        json_object_set_new(j, "by_kernel", json_integer((json_int_t)by_kernel));
    json_object_set_new(j, "operators", ops);
    json_object_set_new(j, "node_list", rows);
    return j;
}
