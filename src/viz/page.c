/* The page: one HTML file that shows what was done to a model.
 *
 * What it says of itself stands in web/, which the build embeds; what it says of the model is one JSON text, deflated
 * and in base64, which the page inflates. So no name of a model ever stands in the HTML: nothing has to be escaped, and
 * nothing can break out. */
#include <stdlib.h>

#include "viz/json.h"
#include "viz/page.h"

#ifdef GI_HAVE_ZLIB
#include <zlib.h>
#endif

#include "base/file.h"

/* In the order in which the page needs them. */
#define SCRIPTS(X) \
    X(data)        \
    X(text)        \
    X(stages)      \
    X(tree)        \
    X(layout)      \
    X(colors)      \
    X(pane)        \
    X(draw)        \
    X(graph)       \
    X(details)     \
    X(ledger)      \
    X(charts)      \
    X(time)        \
    X(memory)      \
    X(facts)       \
    X(app)
#define DECLARE(name) extern const char gi_web_##name[];
SCRIPTS(DECLARE)
extern const char gi_web_index[], gi_web_style[];

json_t *gi_page_text(gopt_page *p, const char *text)
{
    text = text ? text : "";
    const uintptr_t known = (uintptr_t)gi_smap_get(&p->string_index, text);
    if (known)
        return json_integer((json_int_t)known - 1);
    json_t *j = gi_json_text(p->cx, text);
    if (!j || json_array_append_new(p->strings, j) ||
        !gi_smap_put(&p->string_index, text, (void *)(uintptr_t)(p->n_strings + 1)))
        return NULL;
    return json_integer((json_int_t)p->n_strings++);
}

/* ---- life ---- */

gopt_status gopt_page_create(gopt_ctx *cx, const char *title, gopt_page **out)
{
    *out = NULL;
    gopt_page *p = gi_alloc(cx, sizeof *p);
    GI_NEED(p);
    p->cx = cx;
    p->arena = gi_arena_create(cx);
    p->scratch = gi_arena_create(cx);
    p->json = json_pack("{s:i, s:s, s:[], s:[]}", "gopt", 1, "version", gopt_version(), "strings", "models");
    if (!p->arena || !p->scratch || !p->json) {
        gopt_page_destroy(p);
        return GOPT_NO_MEMORY;
    }
    p->strings = json_object_get(p->json, "strings");
    p->models = json_object_get(p->json, "models");
    gi_smap_init(&p->string_index, p->arena);
    json_decref(gi_page_text(p, "")); /* number 0 */
    gopt_page_begin(p, title);
    *out = p;
    return GOPT_OK;
}

void gopt_page_destroy(gopt_page *p)
{
    if (!p)
        return;
    json_decref(p->json);
    gi_arena_destroy(p->scratch);
    gi_arena_destroy(p->arena);
    gi_free(p->cx, p);
}

static gopt_status begin(gopt_page *p, const char *title)
{
    gi_page_model *m = GI_NEW(p->arena, gi_page_model);
    GI_NEED(m);
    m->json = json_pack("{s:o, s:[], s:[], s:[], s:[]}", "title", gi_page_text(p, title), "weights", "values", "nodes",
                        "stages");
    GI_NEED(m->json && !json_array_append_new(p->models, m->json));
    m->weights = json_object_get(m->json, "weights");
    m->values = json_object_get(m->json, "values");
    m->nodes = json_object_get(m->json, "nodes");
    m->stages = json_object_get(m->json, "stages");
    gi_map_init(&m->nodes_by_id, p->arena);
    gi_map_init(&m->value_types, p->arena);
    gi_map_init(&m->weight_index, p->arena);
    p->model = m;
    return GOPT_OK;
}

void gopt_page_begin(gopt_page *p, const char *title)
{
    if (p->status == GOPT_OK)
        p->status = begin(p, title);
}

/* ---- what is told ---- */

void gopt_page_stage(gopt_page *p, gopt_graph *g, const char *pass, int index)
{
    if (p->status == GOPT_OK)
        p->status = gi_page_add_stage(p, g, pass, index);
}

void gopt_page_after_pass(void *page, gopt_graph *g, const char *pass, int index)
{
    gopt_page_stage(page, g, pass, index);
}

static void set(gopt_page *p, const char *key, json_t *value)
{
    if (!value || json_object_set_new(p->model->json, key, value))
        p->status = GOPT_NO_MEMORY;
}

/* [kind, index, pass, rule, at, [nodes], reason] */
static json_t *remarks_of(gopt_page *p, const gopt_report_summary *r)
{
    json_t *list = json_array();
    for (size_t i = 0; list && i < r->n_remarks; i++) {
        const gopt_remark *m = &r->remarks[i];
        json_t *nodes = json_array();
        for (size_t k = 0; nodes && k < m->n_nodes; k++)
            json_array_append_new(nodes, gi_page_text(p, m->nodes[k]));
        json_array_append_new(list, json_pack("[i, i, o, o, o, o, o]", (int)m->kind, m->index, gi_page_text(p, m->pass),
                                              gi_page_text(p, m->rule), gi_page_text(p, m->at), nodes,
                                              gi_page_text(p, m->reason)));
    }
    return list;
}

/* [name, ms, changed, nodes before, nodes after, [rule, count, ...]] */
static json_t *passes_of(gopt_page *p, const gopt_report_summary *r)
{
    json_t *list = json_array();
    for (size_t i = 0; list && i < r->n_passes; i++) {
        const gopt_pass_stat *s = &r->passes[i];
        json_t *rules = json_array();
        for (size_t k = 0; rules && k < s->n_rewrites; k++) {
            json_array_append_new(rules, gi_page_text(p, s->rewrites[k].rule));
            json_array_append_new(rules, json_integer((json_int_t)s->rewrites[k].count));
        }
        json_array_append_new(list, json_pack("[o, f, b, I, I, o]", gi_page_text(p, s->name), s->ms, s->changed,
                                              (json_int_t)s->nodes_before, (json_int_t)s->nodes_after, rules));
    }
    return list;
}

/* What the rules mean of which the ledger speaks: name → [means, needs]. */
static json_t *rules_of(const gopt_report_summary *r)
{
    json_t *rules = json_object();
    gopt_rule_info info;
    for (size_t i = 0; rules && gopt_rule_get(i, &info); i++)
        for (size_t k = 0; k < r->n_remarks; k++)
            if (r->remarks[k].rule && !strcmp(r->remarks[k].rule, info.name)) {
                json_object_set_new(rules, info.name,
                                    json_pack("[s, s]", info.means ? info.means : "", info.needs ? info.needs : ""));
                break;
            }
    return rules;
}

static json_t *ops_of(const gopt_op_count *ops, size_t n)
{
    json_t *o = json_object();
    for (size_t i = 0; o && i < n; i++)
        if (json_object_set_new(o, ops[i].op, json_integer((json_int_t)ops[i].count)))
            json_object_set_new(o, "?", json_integer((json_int_t)ops[i].count)); /* a name that is no UTF-8 */
    return o;
}

void gopt_page_report(gopt_page *p, const gopt_report_summary *r)
{
    if (p->status != GOPT_OK)
        return;
    set(p, "summary",
        json_pack("{s:I, s:I, s:I, s:I, s:I, s:f, s:b, s:o, s:o}", "nodes_before", (json_int_t)r->nodes_before,
                  "nodes_after", (json_int_t)r->nodes_after, "fusions", (json_int_t)r->fusions,
                  "parameter_bytes_before", (json_int_t)r->parameter_bytes_before, "parameter_bytes_after",
                  (json_int_t)r->parameter_bytes_after, "ms", r->ms, "limited", r->rewrite_limit_hit,
                  "operators_before", ops_of(r->ops_before, r->n_ops_before), "operators_after",
                  ops_of(r->ops_after, r->n_ops_after)));
    set(p, "remarks", remarks_of(p, r));
    set(p, "passes", passes_of(p, r));
    set(p, "rules", rules_of(r));
}

void gopt_page_put(gopt_page *p, const char *key, const char *json)
{
    if (p->status == GOPT_OK)
        set(p, key, json_loads(json, JSON_DECODE_ANY, NULL));
}

/* ---- writing ---- */

static void write_text(gi_out *out, const char *text)
{
    gi_out_write(out, text, strlen(text));
}

static void write_base64(gi_out *out, const uint8_t *p, size_t n)
{
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    char line[77];
    size_t k = 0;
    for (size_t i = 0; i < n; i += 3) {
        const size_t left = n - i;
        const uint32_t v = (uint32_t)p[i] << 16 | (left > 1 ? (uint32_t)p[i + 1] << 8 : 0) | (left > 2 ? p[i + 2] : 0);
        line[k++] = digits[v >> 18];
        line[k++] = digits[v >> 12 & 63];
        line[k++] = left > 1 ? digits[v >> 6 & 63] : '=';
        line[k++] = left > 2 ? digits[v & 63] : '=';
        if (k == 76) {
            line[k++] = '\n';
            gi_out_write(out, line, k);
            k = 0;
        }
    }
    gi_out_write(out, line, k);
}

static gopt_status write_data(gopt_page *p, gi_out *out)
{
    char *text = json_dumps(p->json, JSON_COMPACT | JSON_REAL_PRECISION(9));
    GI_NEED(text);
    const size_t n = strlen(text);
    gopt_status s = GOPT_OK;
#ifdef GI_HAVE_ZLIB
    uLongf size = compressBound((uLong)n);
    Bytef *packed = gi_alloc(p->cx, size);
    if (!packed || compress2(packed, &size, (const Bytef *)text, (uLong)n, 9) != Z_OK)
        s = GOPT_NO_MEMORY;
    write_text(out, "<script type=\"application/octet-stream\" id=\"data\" data-packed=\"deflate\">\n");
    if (s == GOPT_OK)
        write_base64(out, packed, size);
    gi_free(p->cx, packed);
#else
    write_text(out, "<script type=\"application/octet-stream\" id=\"data\" data-packed=\"none\">\n");
    write_base64(out, (const uint8_t *)text, n);
#endif
    write_text(out, "\n</script>\n");
    free(text);
    return s;
}

static void write_scripts(gi_out *out)
{
#define WRITE(name) write_text(out, gi_web_##name);
    SCRIPTS(WRITE)
#undef WRITE
}

/* index.html with its three marks replaced. */
static gopt_status write_page(gopt_page *p, gi_out *out)
{
    const char *rest = gi_web_index;
    for (const char *mark; (mark = strstr(rest, "@@")); rest = mark + strcspn(mark, "\n")) {
        gi_out_write(out, rest, (size_t)(mark - rest));
        if (!strncmp(mark, "@@style", 7))
            write_text(out, gi_web_style);
        else if (!strncmp(mark, "@@script", 8))
            write_scripts(out);
        else
            GI_TRY(write_data(p, out));
    }
    write_text(out, rest);
    return GOPT_OK;
}

gopt_status gopt_page_save(gopt_page *p, const char *path)
{
    GI_TRY(p->status);
    gi_out *out;
    GI_TRY(gi_out_open(p->cx, path, &out));
    const gopt_status s = write_page(p, out);
    if (s != GOPT_OK) {
        gi_out_abort(out);
        return s;
    }
    return gi_out_commit(out);
}
