/* Parts of models: --extract takes what lies between tensors, --drop-postprocess ends a network before what cannot run
 * and says how the rest connects to it. */
#include <stdlib.h>
#include <string.h>

#include "table.h"

/* ---- --extract ---- */

/* Names in memory of their own, which `strings` of the options do not have. */
typedef struct names {
    char **p;
    size_t n;
} names;

static void names_free(names *s)
{
    for (size_t i = 0; i < s->n; i++)
        free(s->p[i]);
    free(s->p);
}

static bool add_name(names *s, const char *text, size_t n)
{
    char **p = realloc(s->p, (s->n + 1) * sizeof *p);
    if (!p)
        return false;
    s->p = p;
    p[s->n] = strndup(text, n);
    return p[s->n] && ++s->n;
}

/* "a,b" in n characters. */
static bool add_list(names *s, const char *text, size_t n)
{
    while (n) {
        const char *comma = memchr(text, ',', n);
        const size_t k = comma ? (size_t)(comma - text) : n;
        if (!add_name(s, text, k))
            return false;
        text += comma ? k + 1 : k;
        n -= comma ? k + 1 : k;
    }
    return true;
}

/* Is every name of the list one of the model? */
static bool all_known(gopt_graph *g, const char *text, size_t n)
{
    names s = { 0 };
    bool known = add_list(&s, text, n);
    for (size_t i = 0; known && i < s.n; i++)
        known = gopt_graph_find_value(g, s.p[i]) != NULL;
    names_free(&s);
    return known;
}

/* The colon between inputs and outputs. Names may hold colons ("conv:0"): of several, the one that leaves names of the
 * model on both sides. */
static const char *middle(gopt_graph *g, const char *text)
{
    const char *first = strchr(text, ':');
    if (!first || !strchr(first + 1, ':'))
        return first;
    for (const char *at = first; at; at = strchr(at + 1, ':'))
        if (all_known(g, text, (size_t)(at - text)) && all_known(g, at + 1, strlen(at + 1)))
            return at;
    return NULL;
}

static gopt_status add_short(tool *t, gopt_graph *g, const char *text, names *in, names *out)
{
    const char *colon = middle(g, text);
    if (!colon)
        return tool_fail(t, GOPT_USAGE, NULL,
                         "as in --extract images:/head/Conv_output_0; names with colons or commas go into "
                         "--extract-input NAME and --extract-output NAME",
                         "--extract '%s' is no IN:OUT of this model", text);
    return add_list(in, text, (size_t)(colon - text)) && add_list(out, colon + 1, strlen(colon + 1))
               ? GOPT_OK
               : tool_no_memory(t);
}

static gopt_status collect(tool *t, gopt_graph *g, names *in, names *out)
{
    const options *o = &t->o;
    for (size_t i = 0; i < o->extract.n; i++)
        TRY(add_short(t, g, o->extract.p[i], in, out));
    for (size_t i = 0; i < o->extract_in.n; i++)
        if (!add_name(in, o->extract_in.p[i], strlen(o->extract_in.p[i])))
            return tool_no_memory(t);
    for (size_t i = 0; i < o->extract_out.n; i++)
        if (!add_name(out, o->extract_out.p[i], strlen(o->extract_out.p[i])))
            return tool_no_memory(t);
    return GOPT_OK;
}

gopt_status tool_extract(tool *t, gopt_graph **g)
{
    if (!t->o.extract.n && !t->o.extract_in.n && !t->o.extract_out.n)
        return GOPT_OK;
    names in = { 0 }, out = { 0 };
    gopt_graph *part = NULL;
    gopt_status s = collect(t, *g, &in, &out);
    if (s == GOPT_OK)
        s = gopt_graph_extract(*g, (const char *const *)in.p, in.n, (const char *const *)out.p, out.n, &part);
    names_free(&in);
    names_free(&out);
    TRY(s);
    for (size_t i = 0; s == GOPT_OK && i < t->o.shapes.n; i++)
        if (!shape_names_input(*g, t->o.shapes.p[i])) /* of a tensor that became an input */
            s = tool_fix_shape(t, part, t->o.shapes.p[i]);
    gopt_graph_destroy(*g);
    *g = part;
    return s;
}

/* ---- --drop-postprocess ---- */

/* The names of a graph's inputs or outputs, to be looked up. g may be NULL. */
static json_t *names_of(const gopt_graph *g, bool inputs)
{
    const size_t n = !g ? 0 : inputs ? gopt_graph_input_count(g) : gopt_graph_output_count(g);
    json_t *set = json_object();
    for (size_t i = 0; i < n; i++) /* a name may be no UTF-8 */
        json_object_set_new_nocheck(set, inputs ? gopt_graph_input_name(g, i) : gopt_graph_output_name(g, i),
                                    json_true());
    return set;
}

static json_t *end_json(const gopt_graph *g, bool inputs, size_t i)
{
    char type[1024];
    json_t *o = json_object();
    gopt_value_type_text(inputs ? gopt_graph_get_input(g, i) : gopt_graph_get_output(g, i), type, sizeof type);
    json_object_set_new(o, "name", json_text(inputs ? gopt_graph_input_name(g, i) : gopt_graph_output_name(g, i)));
    return json_value_type(type, o);
}

static json_t *part_json(const gopt_graph *g, const json_t *of_model, const char *path)
{
    json_t *o = json_object(), *in = json_array(), *out = json_array(), *ops = json_object();
    for (size_t i = 0; i < gopt_graph_input_count(g); i++) {
        json_t *e = end_json(g, true, i);
        const bool first = json_object_get(of_model, gopt_graph_input_name(g, i)) != NULL;
        json_object_set_new(e, "from", json_text(first ? "model" : "head"));
        json_array_append_new(in, e);
    }
    for (size_t i = 0; i < gopt_graph_output_count(g); i++)
        json_array_append_new(out, end_json(g, false, i));
    for (gopt_node *n = gopt_graph_first_node(g); n; n = gopt_node_next(n)) {
        const char *domain = gopt_node_domain(n);
        char *name = text_of("%s%s%s", domain, *domain ? "::" : "", gopt_node_op(n));
        if (name)
            json_object_set_new(ops, name, json_integer(json_integer_value(json_object_get(ops, name)) + 1));
        free(name);
    }
    json_object_set_new(o, "file", json_text(path));
    json_object_set_new(o, "nodes", json_integer((json_int_t)gopt_graph_node_count(g)));
    json_object_set_new(o, "operators", ops);
    json_object_set_new(o, "inputs", in);
    json_object_set_new(o, "outputs", out);
    return o;
}

static json_t *cut_json(const tool *t, const gopt_graph *whole, const gopt_cut *k, const char *tail_path)
{
    json_t *o = json_object(), *in = json_array(), *out = json_array(), *between = json_array();
    json_t *of_model = names_of(whole, true), *to_head = names_of(k->head, true), *to_tail = names_of(k->tail, true),
           *from_tail = names_of(k->tail, false);
    for (size_t i = 0; i < gopt_graph_input_count(whole); i++) {
        json_t *e = end_json(whole, true, i), *to = json_array();
        const char *name = gopt_graph_input_name(whole, i);
        if (json_object_get(to_head, name))
            json_array_append_new(to, json_text("head"));
        if (json_object_get(to_tail, name))
            json_array_append_new(to, json_text("tail"));
        json_object_set_new(e, "to", to);
        json_array_append_new(in, e);
    }
    for (size_t i = 0; i < gopt_graph_output_count(whole); i++) {
        json_t *e = end_json(whole, false, i);
        const bool tail = json_object_get(from_tail, gopt_graph_output_name(whole, i)) != NULL;
        json_object_set_new(e, "from", json_text(tail ? "tail" : "head"));
        json_array_append_new(out, e);
    }
    for (size_t i = 0; k->tail && i < gopt_graph_input_count(k->tail); i++)
        if (!json_object_get(of_model, gopt_graph_input_name(k->tail, i)))
            json_array_append_new(between, end_json(k->tail, true, i));
    json_object_set_new(o, "model", json_text(tool_model(t)));
    json_object_set_new(o, "head", part_json(k->head, of_model, t->o.out));
    json_object_set_new(o, "tail", k->tail ? part_json(k->tail, of_model, tail_path) : json_null());
    json_object_set_new(o, "tensors", between);
    json_object_set_new(o, "inputs", in);
    json_object_set_new(o, "outputs", out);
    json_object_set_new(o, "cut", json_unsupported(k->list, k->n));
    json_decref(of_model);
    json_decref(to_head);
    json_decref(to_tail);
    json_decref(from_tail);
    return o;
}

/* "  from the head to the tail: a f32[1,3], b i64[2]" */
static void print_ends(const tool *t, const char *what, const json_t *list, const char *key, const char *value)
{
    enum { MOST_SHOWN = 12 };
    size_t i, shown = 0;
    json_t *e;
    json_array_foreach(list, i, e)
    {
        const char *is = key ? json_string_value(json_object_get(e, key)) : NULL;
        if (key && (!is || strcmp(is, value) != 0))
            continue;
        if (shown++ < MOST_SHOWN || t->o.verbose) {
            printf("%s ", shown > 1 ? "," : what);
            text_put(stdout, json_string_value(json_object_get(e, "name")));
            printf(" %s", json_string_value(json_object_get(e, "type")));
        }
    }
    if (shown)
        puts(shown > MOST_SHOWN && !t->o.verbose ? ", …" : "");
}

static void print_cut(const tool *t, const gopt_cut *k, const cut_off *c)
{
    const json_t *const tail = json_object_get(c->json, "tail");
    if (!k->n) {
        printf("cut: nothing; every operator can run, so the head is the whole network\n");
        return;
    }
    if (!k->tail) {
        printf("cut: no output needs the node%s left out\n", k->n == 1 ? " that is" : "s that are");
        print_unsupported(t, stdout, k->list, k->n);
        return;
    }
    printf("cut: the head has %zu node%s, the tail %zu: %zu that cannot run, and what depends on %s\n",
           gopt_graph_node_count(k->head), gopt_graph_node_count(k->head) == 1 ? "" : "s",
           gopt_graph_node_count(k->tail), k->n, k->n == 1 ? "it" : "them");
    print_unsupported(t, stdout, k->list, k->n);
    print_ends(t, "  from the head to the tail:", json_object_get(c->json, "tensors"), NULL, NULL);
    print_ends(t, "  inputs of the tail:", json_object_get(tail, "inputs"), "from", "model");
    print_ends(t, "  outputs of the head:", json_object_get(c->json, "outputs"), "from", "head");
    print_ends(t, "  outputs of the tail:", json_object_get(c->json, "outputs"), "from", "tail");
    if (c->tail_path)
        printf("  to be written: %s, %s\n", c->tail_path, c->json_path);
}

static gopt_status name_files(tool *t, cut_off *c)
{
    const char *out = t->o.out, *slash = out ? strrchr(out, '/') : NULL, *dot = out ? strrchr(out, '.') : NULL;
    if (!out)
        return GOPT_OK;
    const bool has = dot && dot > (slash ? slash + 1 : out);
    c->tail_path = path_beside(out, ".tail", ".onnx");
    c->json_path = text_of("%.*s.cut.json", has ? (int)(dot - out) : (int)strlen(out), out);
    if (!c->tail_path || !c->json_path)
        return tool_no_memory(t);
    return !strcmp(c->tail_path, tool_model(t)) ? tool_fail(t, GOPT_USAGE, c->tail_path, "name another file with -o",
                                                            "is the model itself: the tail would take its place")
                                                : GOPT_OK;
}

gopt_status tool_cut(tool *t, gopt_graph **g, cut_off *c)
{
    gopt_cut k;
    const bool standard =
        !t->o.out || strcmp(t->o.out + strlen(t->o.out) - (strlen(t->o.out) < 4 ? 0 : 4), ".gir") != 0;
    TRY(name_files(t, c));
    TRY(gopt_cut_unsupported(*g, standard, &k));
    gopt_status s = GOPT_OK;
    if (k.tail && !gopt_graph_node_count(k.head)) {
        if (!t->o.quiet && !(t->o.diagnostics && !strcmp(t->o.diagnostics, "json")))
            print_unsupported(t, stderr, k.list, k.n);
        s = tool_fail(t, GOPT_UNSUPPORTED, tool_model(t),
                      "begin behind those that come first: --extract-input TENSOR (`gopt inspect --nodes` lists them)",
                      "nothing is left before what cannot run: all %zu nodes are such, or depend on them",
                      gopt_graph_node_count(k.tail));
    } else {
        c->json = cut_json(t, *g, &k, c->tail_path);
        s = c->json ? GOPT_OK : tool_no_memory(t);
    }
    if (s != GOPT_OK) {
        gopt_graph_destroy(k.head);
        gopt_graph_destroy(k.tail);
        return s;
    }
    if (!t->o.quiet)
        print_cut(t, &k, c);
    c->tail = k.tail;
    gopt_graph_destroy(*g);
    *g = k.head;
    return GOPT_OK;
}

gopt_status tool_cut_save(tool *t, cut_off *c)
{
    if (!c->json_path)
        return GOPT_OK;
    if (c->tail) {
        const size_t n = strlen(c->tail_path);
        const gopt_save_options o = { .external_data = t->o.external_data, .opset = (int)t->o.opset, .consume = true };
        TRY(n > 4 && !strcmp(c->tail_path + n - 4, ".gir") ? gopt_gir_save(c->tail, c->tail_path)
                                                           : gopt_onnx_save(c->tail, c->tail_path, &o));
        gopt_graph_destroy(c->tail);
        c->tail = NULL;
    }
    return tool_write_json(t, c->json_path, json_incref(c->json));
}

void tool_cut_free(cut_off *c)
{
    gopt_graph_destroy(c->tail);
    json_decref(c->json);
    free(c->tail_path);
    free(c->json_path);
}
