/* Loading and fixing a model, and what optimize and run do alike with it: options, pictures. */
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "table.h"

const char *tool_model(const tool *t)
{
    return t->o.args.p[0];
}

bool shape_names_input(const gopt_graph *g, const char *text)
{
    const char *equals = strrchr(text, '=');
    for (size_t i = 0; equals && i < gopt_graph_input_count(g); i++) {
        const char *name = gopt_graph_input_name(g, i);
        if (strlen(name) == (size_t)(equals - text) && !strncmp(name, text, strlen(name)))
            return true;
    }
    return !equals;
}

gopt_status tool_fix_shape(tool *t, gopt_graph *g, const char *text)
{
    const char *equals = strrchr(text, '='), *dims_text = equals ? equals + 1 : text;
    int64_t dims[GOPT_MAX_RANK];
    int rank;
    if (!equals && gopt_graph_input_count(g) != 1)
        return tool_fail(t, GOPT_USAGE, NULL, "as in --shape NAME=1x3x224x224", "--shape '%s' names no input", text);
    if (!parse_shape(dims_text, &rank, dims))
        return tool_fail(t, GOPT_USAGE, NULL, "as in --shape NAME=1x3x224x224", "--shape '%s': '%s' is no shape", text,
                         dims_text);
    char *name = equals ? strndup(text, (size_t)(equals - text)) : strdup(gopt_graph_input_name(g, 0));
    if (!name)
        return tool_no_memory(t);
    const gopt_status s = gopt_graph_fix_shape(g, name, rank, dims);
    free(name);
    return s;
}

static gopt_status fix_dim(tool *t, gopt_graph *g, const char *text)
{
    const char *equals = strrchr(text, '=');
    char *end = NULL;
    errno = 0;
    const long long v = equals ? strtoll(equals + 1, &end, 10) : -1;
    if (!equals || end == equals + 1 || *end || errno || v < 0)
        return tool_fail(t, GOPT_USAGE, NULL, "as in --dim batch=8", "--dim '%s' is no SYMBOL=N", text);
    char *name = strndup(text, (size_t)(equals - text));
    if (!name)
        return tool_no_memory(t);
    const gopt_status s = gopt_graph_fix_dim(g, name, v);
    free(name);
    return s;
}

gopt_status tool_load(tool *t, const char *path, gopt_graph **out)
{
    gopt_graph *g = NULL;
    *out = NULL;
    progress *p = progress_start(t, "reading the model");
    gopt_plan *plan = NULL;
    gopt_status s = GOPT_OK;
    if (gopt_is_plan(path)) {
        s = gopt_plan_open(t->cx, path, &plan);
        if (s == GOPT_OK)
            s = gopt_plan_graph(plan, &g);
        gopt_plan_close(plan);
    } else {
        s = gopt_load(t->cx, path, &g);
    }
    progress_stop(p);
    TRY(s);
    const bool part = t->o.extract.n || t->o.extract_in.n || t->o.extract_out.n;
    for (size_t i = 0; s == GOPT_OK && i < t->o.shapes.n; i++)
        if (!part || shape_names_input(g, t->o.shapes.p[i]))
            s = tool_fix_shape(t, g, t->o.shapes.p[i]);
    for (size_t i = 0; s == GOPT_OK && i < t->o.dims.n; i++)
        s = fix_dim(t, g, t->o.dims.p[i]);
    if (s != GOPT_OK) {
        gopt_graph_destroy(g);
        return s;
    }
    *out = g;
    return GOPT_OK;
}

bool free_symbol(const gopt_graph *g, char *name, size_t size, bool *first)
{
    for (size_t i = 0; i < gopt_graph_input_count(g); i++) {
        char type[1024];
        gopt_value_type_text(gopt_graph_get_input(g, i), type, sizeof type);
        const char *p = strchr(type, '[');
        for (int depth = 0, axis = 0; p && *p; p++) {
            const char *start = p;
            depth += (*p == '(') - (*p == ')');
            axis += *p == ',' && !depth;
            if (*p == '`') {
                p = strchr(++start, '`');
                if (!p)
                    break;
            } else if (isalpha((unsigned char)*p) || *p == '_') {
                while (isalnum((unsigned char)*p) || *p == '_' || *p == '.')
                    p++;
                if (*p == '(') { /* min, max */
                    depth++;
                    continue;
                }
            } else {
                continue;
            }
            snprintf(name, size, "%.*s", (int)(p - start), start);
            if (first)
                *first = axis == 0;
            return true;
        }
    }
    return false;
}

/* ---- optimizing ---- */

/* --html, and --dump-dir: the picture beside the text that the library writes. What fails here is a warning's worth. */
void tool_after_pass(void *user, gopt_graph *g, const char *pass, int index)
{
    tool *t = user;
    if (t->page)
        gopt_page_stage(t->page, g, pass, index);
    if (!t->o.dump_dir)
        return;
    char *text = NULL, *path = text_of("%s/%02d-%s.dot", t->o.dump_dir, index, pass);
    if (path && gopt_dot(g, &(gopt_dot_options){ .title = pass }, &text) == GOPT_OK)
        (void)gopt_text_save(t->cx, path, text);
    gopt_text_free(t->cx, text);
    free(path);
}

gopt_fp tool_fp(const tool *t)
{
    const char *fp = t->o.fp ? t->o.fp : "";
    return !strcmp(fp, "strict") ? GOPT_FP_STRICT : !strcmp(fp, "fast") ? GOPT_FP_FAST : GOPT_FP_REASSOC;
}

gopt_status tool_optimize_options(tool *t, gopt_optimize_options *o, char **skip)
{
    const options *f = &t->o;
    *o = (gopt_optimize_options){ 0 };
    *skip = NULL;
    if (f->level > 3)
        return tool_fail(t, GOPT_USAGE, NULL, NULL, "--level is %d, expected 0 to 3", (int)f->level);
    o->level = f->level < 0 ? 2 : (int)f->level;
    o->fp = tool_fp(t);
    if (f->emit)
        o->emit = !strcmp(f->emit, "ort") ? GOPT_EMIT_ORT : GOPT_EMIT_ONNX;
    o->passes = f->passes;
    o->fuse = !f->no_fuse;
    *skip = f->no_fuse ? text_of("%s%sfuse-vertical,fuse-horizontal", f->skip ? f->skip : "", f->skip ? "," : "")
                       : strdup(f->skip ? f->skip : "");
    if (!*skip)
        return tool_no_memory(t);
    o->skip = **skip ? *skip : NULL;
    o->rewrite_limit = f->rewrite_limit < 0 ? 0 : f->rewrite_limit == 0 ? -1 : f->rewrite_limit;
    o->opset = (int)f->opset;
    o->planted = f->planted;
    if (f->dump_dir) {
        TRY(tool_make_dir(t, f->dump_dir));
        o->dump_dir = f->dump_dir;
    }
    if (f->dump_dir || f->html) {
        o->after_pass = tool_after_pass;
        o->after_pass_user = t;
    }
    return GOPT_OK;
}

/* ---- operators that nothing here can run ---- */

static int text_order(const char *a, const char *b)
{
    return strcmp(a ? a : "", b ? b : "");
}

static int kind_order(const gopt_unsupported *a, const gopt_unsupported *b)
{
    int order = text_order(a->op, b->op);
    order = order ? order : text_order(a->domain, b->domain);
    order = order ? order : text_order(a->aten_operator, b->aten_operator);
    order = order ? order : text_order(a->overload, b->overload);
    return order ? order : text_order(a->reason, b->reason);
}

static int by_kind(const void *a, const void *b)
{
    const gopt_unsupported *const *x = a, *const *y = b;
    const int order = kind_order(*x, *y);
    return order ? order : (*x > *y) - (*x < *y);
}

/* Those that are alike: list[0 … n-1], in the order of the file. */
typedef struct group {
    const gopt_unsupported **list;
    size_t n;
} group;

static int by_place(const void *a, const void *b)
{
    const group *x = a, *y = b;
    return (x->list[0] > y->list[0]) - (x->list[0] < y->list[0]);
}

/* Groups in the order of their first members; *sorted holds what they point into, both freed by the caller. NULL
 * where there is no memory. */
static group *group_them(const gopt_unsupported *list, size_t n, const gopt_unsupported ***sorted, size_t *n_groups)
{
    const gopt_unsupported **p = malloc((n + 1) * sizeof *p);
    group *groups = malloc((n + 1) * sizeof *groups);
    *n_groups = 0;
    *sorted = p;
    if (!p || !groups) {
        free(groups);
        return NULL;
    }
    for (size_t i = 0; i < n; i++)
        p[i] = &list[i];
    qsort(p, n, sizeof *p, by_kind);
    for (size_t i = 0; i < n; i++)
        if (i && !kind_order(p[i - 1], p[i]))
            groups[*n_groups - 1].n++;
        else
            groups[(*n_groups)++] = (group){ &p[i], 1 };
    qsort(groups, *n_groups, sizeof *groups, by_place);
    return groups;
}

static char *operator_text(const gopt_unsupported *u)
{
    if (u->aten_operator)
        return text_of("%s%s%s%s%s", strstr(u->aten_operator, "::") ? "" : "aten::", u->aten_operator,
                       u->overload && *u->overload ? " (overload " : "", u->overload ? u->overload : "",
                       u->overload && *u->overload ? ")" : "");
    return text_of("%s%s%s", u->domain && *u->domain ? u->domain : "", u->domain && *u->domain ? "::" : "", u->op);
}

static void print_group(const tool *t, FILE *to, const group *g)
{
    const bool color = to == stderr ? t->color_err : t->color_out;
    const gopt_unsupported *u = g->list[0];
    char *name = operator_text(u);
    fprintf(to, "%sunsupported:%s ", color ? "\033[1;31m" : "", color ? "\033[0m" : "");
    text_put(to, name ? name : "?");
    fprintf(to, ", %zu place%s:", g->n, g->n == 1 ? "" : "s");
    free(name);
    for (size_t k = 0; k < g->n && (k < 3 || t->o.verbose); k++) {
        fputs(k ? ", " : " ", to);
        text_put(to, g->list[k]->node && *g->list[k]->node ? g->list[k]->node : "(no name)");
    }
    fprintf(to, "%s\n", g->n > 3 && !t->o.verbose ? ", …" : "");
    const char *const lines[] = { u->reason, u->fix };
    for (size_t i = 0; i < 2; i++)
        if (lines[i]) {
            fputs("  ", to);
            text_put(to, lines[i]);
            fputc('\n', to);
        }
}

void print_unsupported(const tool *t, FILE *to, const gopt_unsupported *list, size_t n)
{
    const gopt_unsupported **sorted;
    size_t n_groups;
    group *groups = group_them(list, n, &sorted, &n_groups);
    for (size_t i = 0; groups && i < n_groups; i++)
        print_group(t, to, &groups[i]);
    free(groups);
    free(sorted);
}

/* Each operator once, as long as they fit. */
static void name_all(const gopt_unsupported *list, size_t n, char *names, size_t size, size_t *distinct)
{
    const gopt_unsupported **sorted;
    size_t n_groups, len = 0;
    group *groups = group_them(list, n, &sorted, &n_groups);
    char *last = NULL;
    *distinct = 0;
    for (size_t i = 0; groups && i < n_groups; i++) {
        char *name = operator_text(groups[i].list[0]);
        if (name && last && !strcmp(name, last)) { /* another reason */
            free(name);
            continue;
        }
        if (name && len + strlen(name) + 8 < size)
            len += (size_t)snprintf(names + len, size - len, "%s%s", *distinct ? ", " : "", name);
        free(last);
        last = name;
        ++*distinct;
    }
    free(last);
    free(groups);
    free(sorted);
}

gopt_status tool_check_supported(tool *t, gopt_graph *g, const char *path)
{
    const gopt_unsupported *list;
    size_t n, distinct = 0;
    TRY(tool_lower_aten(t, g));
    TRY(gopt_find_unsupported(g, &list, &n));
    if (!n)
        return GOPT_OK;
    char names[512] = "";
    name_all(list, n, names, sizeof names, &distinct);
    if (!t->o.quiet && !(t->o.diagnostics && !strcmp(t->o.diagnostics, "json")))
        print_unsupported(t, stderr, list, n);
    char hint[256];
    snprintf(hint, sizeof hint,
             "`gopt inspect %.80s` shows each place and what can be done; `gopt optimize --drop-postprocess` ends the "
             "network before them",
             path);
    return tool_fail(t, GOPT_UNSUPPORTED, path, hint, "%zu node%s need%s %s that nothing here can run: %s", n,
                     n == 1 ? "" : "s", n == 1 ? "s" : "", distinct == 1 ? "an operator" : "operators", names);
}

json_t *json_unsupported(const gopt_unsupported *list, size_t n)
{
    json_t *a = json_array();
    for (size_t i = 0; i < n; i++) {
        json_t *o = json_object();
        json_object_set_new(o, "node", json_text(list[i].node));
        json_object_set_new(o, "domain", json_text(list[i].domain));
        json_object_set_new(o, "op", json_text(list[i].op));
        json_object_set_new(o, "aten_operator", json_text(list[i].aten_operator));
        json_object_set_new(o, "overload", json_text(list[i].overload));
        json_object_set_new(o, "reason", json_text(list[i].reason));
        json_object_set_new(o, "fix", json_text(list[i].fix));
        json_array_append_new(a, o);
    }
    return a;
}

/* ---- pictures ---- */

char *path_beside(const char *path, const char *what, const char *extension)
{
    const char *slash = strrchr(path, '/'), *dot = strrchr(path, '.');
    const bool has = dot && dot > (slash ? slash + 1 : path);
    return text_of("%.*s%s%s", has ? (int)(dot - path) : (int)strlen(path), path, what, has ? dot : extension);
}

typedef struct picture {
    gopt_graph *a, *b;
    const char *what;
} picture;

/* Where one picture of the three goes; NULL where none is to be made: on stdout there is but one. *memory is freed by the
 * caller. */
static const char *picture_path(const char *asked, const char *what, const char *extension, char **memory)
{
    *memory = NULL;
    if (!asked)
        return NULL;
    if (!strcmp(asked, "-"))
        return *what ? NULL : "-";
    return *memory = path_beside(asked, what, extension);
}

static gopt_status draw(tool *t, const picture *p, const char *title)
{
    const gopt_dot_options o = { .title = title, .full = t->o.dot_full, .flat = t->o.dot_flat };
    const struct {
        const char *asked, *extension;
        gopt_picture_format format;
    } drawn[] = { { t->o.svg, ".svg", GOPT_SVG }, { t->o.png, ".png", GOPT_PNG }, { t->o.pdf, ".pdf", GOPT_PDF } };
    char *memory, *text = NULL;
    const char *path = picture_path(t->o.dot, p->what, ".dot", &memory);
    gopt_status s = GOPT_OK;
    if (path) {
        s = p->b ? gopt_dot_pair(p->a, p->b, &o, &text) : gopt_dot(p->a, &o, &text);
        if (s == GOPT_OK)
            s = gopt_text_save(t->cx, path, text);
        gopt_text_free(t->cx, text);
    }
    free(memory);
    for (size_t i = 0; i < sizeof drawn / sizeof drawn[0] && s == GOPT_OK; i++) {
        path = picture_path(drawn[i].asked, p->what, drawn[i].extension, &memory);
        if (path)
            s = gopt_picture_save(p->a, p->b, &o, path, drawn[i].format, NULL);
        free(memory);
    }
    return s;
}

bool tool_draws(const tool *t)
{
    return t->o.dot || t->o.svg || t->o.png || t->o.pdf;
}

gopt_status tool_pictures(tool *t, gopt_graph *before, gopt_graph *after, const char *title)
{
    if (!tool_draws(t))
        return GOPT_OK;
    progress *p = progress_start(t, "drawing");
    gopt_status s = GOPT_OK;
    if (after) {
        s = draw(t, &(picture){ before, NULL, ".before" }, title);
        if (s == GOPT_OK)
            s = draw(t, &(picture){ after, NULL, ".after" }, title);
    }
    if (s == GOPT_OK)
        s = draw(t, &(picture){ before, after, "" }, title);
    progress_stop(p);
    return s;
}
