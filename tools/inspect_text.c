/* gopt inspect on a terminal: a summary that fits the window, and tables that fit its width. */
#include <stdlib.h>
#include <string.h>

#include "table.h"

enum { LABEL = 8, INDENT = 2 + LABEL + 1 };

/* An integer with commas, in units; or the expression as it is. */
static char *amount(const char *text, bool bytes)
{
    char *end;
    const unsigned long long v = text ? strtoull(text, &end, 10) : 0;
    if (!text || !*text)
        return strdup("unknown");
    if (*end || *text == '-')
        return text_of(bytes ? "(%s) bytes" : "(%s)", text);
    if (bytes)
        return text_of("%s", bytes_text(v).p);
    return v >= 1000000000000 ? text_of("%.2f T", (double)v / 1e12)
           : v >= 1000000000  ? text_of("%.2f G", (double)v / 1e9)
           : v >= 1000000     ? text_of("%.2f M", (double)v / 1e6)
                              : text_of("%s", count_text(v).p);
}

/* ---- the summary ---- */

static void print_label(const tool *t, const char *label)
{
    printf("  %s%-*s%s ", dim(t), LABEL, label, plain(t));
}

/* Text behind a label, and what it is of: in a window the middle of the text is cut out where both are wider. Takes the
 * text over. */
static void print_fact(const tool *t, const char *label, char *text, const char *of)
{
    const int window = screen_of().columns, room = window - INDENT - text_columns(of);
    char *s = text ? text_fit(text, window ? room > 8 ? room : 8 : 0) : NULL;
    print_label(t, label);
    printf("%s%s\n", s ? s : "?", of);
    free(s);
    free(text);
}

static const char *value_name(const gopt_graph *g, size_t i, bool inputs)
{
    const char *name = inputs ? gopt_graph_input_name(g, i) : gopt_graph_output_name(g, i);
    return name ? name : "";
}

static void print_value(const gopt_graph *g, size_t i, bool inputs, int width, int window)
{
    char type[512];
    gopt_value_type_text(inputs ? gopt_graph_get_input(g, i) : gopt_graph_get_output(g, i), type, sizeof type);
    const int room = window ? window - INDENT - width - 2 : 0;
    char *name = text_fit(value_name(g, i, inputs), window ? width : 0);
    char *shape = text_fit(type, window ? room > 8 ? room : 8 : 0);
    const int pad = name ? width - text_columns(name) : 0;
    printf("%s%*s  %s\n", name ? name : "?", pad > 0 ? pad : 0, "", shape ? shape : "?");
    free(name);
    free(shape);
}

/* At most so many lines (0: all). */
static void print_values(const tool *t, const gopt_graph *g, bool inputs, size_t most)
{
    enum { NAME_MOST = 40, NAME_LEAST = 12 };
    const size_t n = inputs ? gopt_graph_input_count(g) : gopt_graph_output_count(g);
    const size_t shown = most && n > most ? most - 1 : n;
    const int window = screen_of().columns;
    int width = 0, cap = window && window / 2 - INDENT < NAME_MOST ? window / 2 - INDENT : NAME_MOST;
    cap = cap < NAME_LEAST ? NAME_LEAST : cap;
    for (size_t i = 0; i < shown; i++) {
        const int w = text_columns(value_name(g, i, inputs));
        width = w > width ? w : width;
    }
    width = width > cap ? cap : width;
    for (size_t i = 0; i < shown; i++) {
        print_label(t, i ? "" : inputs ? "inputs" : "outputs");
        print_value(g, i, inputs, width, window);
    }
    if (shown < n) {
        print_label(t, "");
        printf("%s… %zu more%s\n", dim(t), n - shown, plain(t));
    }
}

static int by_count(const void *a, const void *b)
{
    const gopt_op_count *x = a, *y = b;
    if (x->count != y->count)
        return x->count < y->count ? 1 : -1;
    return strcmp(x->op, y->op);
}

/* Sorted by number; NULL without memory. Freed by the caller. */
static gopt_op_count *sorted_ops(const gopt_inspection *m)
{
    gopt_op_count *ops = malloc((m->n_ops + 1) * sizeof *ops);
    if (ops && m->n_ops)
        memcpy(ops, m->ops, m->n_ops * sizeof *ops);
    if (ops)
        qsort(ops, m->n_ops, sizeof *ops, by_count);
    return ops;
}

/* "523: MatMul 36, Add 30, …" on at most so many lines (0: as many as it takes). */
static void print_op_line(const tool *t, const gopt_inspection *m, size_t most)
{
    enum { IN_PIPE = 110, MORE = 24 };
    gopt_op_count *ops = sorted_ops(m);
    const int window = screen_of().columns, room = window ? window : IN_PIPE;
    size_t lines = 1;
    print_label(t, "nodes");
    int column = INDENT + printf("%s:", count_text((uint64_t)m->nodes).p);
    for (size_t i = 0; ops && i < m->n_ops; i++) {
        char *op = text_fit(ops[i].op, window ? room / 2 : 0);
        const bool last = i + 1 == m->n_ops, full = most && lines == most;
        const int n = (op ? text_columns(op) : 1) + 3 + snprintf(NULL, 0, "%lld", (long long)ops[i].count);
        if (full && !last && column + n + MORE > room) {
            printf(" %s… %zu more, by --ops%s", dim(t), m->n_ops - i, plain(t));
            free(op);
            break;
        }
        if (column + n > room) {
            printf("\n%*s", INDENT - 1, "");
            column = INDENT - 1;
            lines++;
        }
        printf(" %s %lld%s", op ? op : "?", (long long)ops[i].count, last ? "" : ",");
        column += n;
        free(op);
    }
    putchar('\n');
    free(ops);
}

static void print_format(const tool *t, const gopt_graph *g)
{
    const char *domain, *producer = gopt_graph_producer(g);
    int64_t version;
    char *text =
        gopt_graph_ir_version(g) ? text_of("ONNX, IR %lld", (long long)gopt_graph_ir_version(g)) : strdup("text form");
    for (size_t i = 0; text && gopt_graph_get_opset(g, i, &domain, &version); i++) {
        char *more = text_of("%s, %s %lld", text, *domain ? domain : "opset", (long long)version);
        free(text);
        text = more;
    }
    print_fact(t, "format",
               text_of("%s%s%s", text ? text : "?", producer && *producer ? ", by " : "",
                       producer && *producer ? producer : ""),
               "");
    free(text);
}

/* Lines that a list may take, where `left` are to be shared among it and `others`. */
static size_t share(size_t left, size_t others, size_t wanted)
{
    enum { LEAST = 2 };
    const size_t half = left > others + LEAST ? left - others : LEAST;
    return wanted <= half ? wanted : half;
}

void inspect_print_head(const tool *t, const gopt_graph *g, const gopt_inspection *m)
{
    enum { FIXED = 7 }; /* title, format, weights, two of a run, the prompt before and after */
    const screen s = screen_of();
    size_t inputs = 0, outputs = 0, ops = 0;
    if (s.rows) { /* a third for operators at least; the rest for outputs, of which there are few as a rule, and inputs */
        const size_t rows = s.rows > FIXED + 6 ? (size_t)s.rows - FIXED : 6, lists = rows - rows / 3;
        const size_t n_in = gopt_graph_input_count(g), n_out = gopt_graph_output_count(g);
        outputs = share(lists, n_in < lists / 2 ? n_in : lists / 2, n_out);
        inputs = share(lists, outputs, n_in);
        ops = rows - (inputs < n_in ? inputs : n_in) - (outputs < n_out ? outputs : n_out);
    }
    char *name = text_fit(tool_model(t), s.columns);
    printf("%s%s%s\n", bold(t), name ? name : "?", plain(t));
    free(name);
    print_format(t, g);
    print_values(t, g, true, inputs);
    print_values(t, g, false, outputs);
    print_op_line(t, m, ops);
    print_fact(t, "weights",
               text_of("%s parameters, %s", count_text(m->parameters).p, bytes_text(m->parameter_bytes).p), "");
    print_fact(t, "a run", amount(m->flops, false), " operations");
    print_fact(t, "", amount(m->peak_activation_bytes, true), " of activations at most");
}

/* ---- tables ---- */

gopt_status inspect_print_ops(const tool *t, const gopt_inspection *m)
{
    static const table_column columns[] = { { "operator", .grows = true, .least = 12 },
                                            { "nodes", .right = true },
                                            { "share", .right = true } };
    gopt_op_count *ops = sorted_ops(m);
    table *x = ops ? table_create(t, columns, 3) : NULL;
    for (size_t i = 0; x && i < m->n_ops; i++) {
        table_add(x, ops[i].op);
        table_add(x, count_text((uint64_t)ops[i].count).p);
        table_addf(x, "%.1f%%", m->nodes ? 100.0 * (double)ops[i].count / (double)m->nodes : 0);
    }
    free(ops);
    putchar('\n');
    return table_print(x);
}

/* "f32[n,10], i64[n]", or names; freed by the caller. */
static char *outputs_text(const gopt_node *n, bool types)
{
    char *all = strdup("");
    gopt_value *v;
    for (size_t k = 0; all && (v = gopt_node_output(n, k)); k++) {
        char type[512];
        gopt_value_type_text(v, type, sizeof type);
        const char *name = gopt_value_name(v);
        char *more = text_of("%s%s%s", all, k ? ", " : "", types ? type : name ? name : "");
        free(all);
        all = more;
    }
    return all;
}

gopt_status inspect_print_nodes(const tool *t, const gopt_graph *g)
{
    static const table_column columns[] = { { "node", .right = true },
                                            { "operator", .grows = true, .least = 14 },
                                            { "name", .grows = true, .least = 24 },
                                            { "type", .grows = true, .least = 20 },
                                            { "outputs", .grows = true, .least = 24, .drops = true } };
    table *x = table_create(t, columns, 5);
    size_t i = 0;
    for (gopt_node *n = gopt_graph_first_node(g); x && n; n = gopt_node_next(n), i++) {
        const char *domain = gopt_node_domain(n);
        const bool own = *domain && strcmp(domain, "ai.onnx") != 0;
        char *types = outputs_text(n, true), *names = outputs_text(n, false);
        table_addf(x, "%zu", i);
        table_addf(x, "%*s%s%s%s", 2 * (gopt_node_depth(n) < 20 ? gopt_node_depth(n) : 20), "", own ? domain : "",
                   own ? "::" : "", gopt_node_op(n));
        table_add(x, gopt_node_name(n));
        table_add(x, types);
        table_add(x, names);
        free(types);
        free(names);
    }
    putchar('\n');
    return table_print(x);
}

gopt_status inspect_print_weights(tool *t, gopt_graph *g)
{
    static const table_column columns[] = { { "weight", .grows = true, .least = 20 },
                                            { "type", .grows = true, .least = 12 },
                                            { "min", .right = true },
                                            { "max", .right = true },
                                            { "mean", .right = true, .drops = true },
                                            { "zeros", .right = true, .drops = true },
                                            { "NaN", .right = true },
                                            { "over f16", .right = true } };
    const gopt_weight_stat *w;
    size_t n;
    TRY(gopt_inspect_weights(g, &w, &n));
    table *x = table_create(t, columns, 8);
    for (size_t i = 0; x && i < n; i++) {
        table_add(x, w[i].name);
        table_add(x, w[i].type);
        table_addf(x, "%.4g", w[i].min);
        table_addf(x, "%.4g", w[i].max);
        table_addf(x, "%.4g", w[i].mean);
        table_addf(x, "%.1f%%", w[i].elements ? 100.0 * (double)w[i].zeros / (double)w[i].elements : 0);
        if (w[i].nans)
            table_mark(x);
        table_addf(x, "%llu", (unsigned long long)w[i].nans);
        if (w[i].beyond_f16)
            table_mark(x);
        table_addf(x, "%llu", (unsigned long long)w[i].beyond_f16);
    }
    putchar('\n');
    return table_print(x);
}
