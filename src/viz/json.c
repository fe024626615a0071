#include "viz/json.h"

#include <stdlib.h>

#include "base/file.h"

json_t *gi_json_text(gopt_ctx *cx, const char *text)
{
    json_t *j = json_string(text ? text : "");
    if (j)
        return j;
    const size_t n = strlen(text);
    char *copy = gi_alloc(cx, n + 1);
    for (size_t i = 0; copy && i < n; i++)
        copy[i] = (unsigned char)text[i] < 0x80 ? text[i] : '?';
    j = copy ? json_stringn(copy, n) : NULL;
    gi_free(cx, copy);
    return j;
}

gopt_status gi_json_save(gopt_ctx *cx, const char *path, json_t *j)
{
    char *text = j ? json_dumps(j, JSON_COMPACT | JSON_REAL_PRECISION(9)) : NULL;
    json_decref(j);
    if (!text)
        return GOPT_NO_MEMORY;
    const gopt_status s = gi_file_write(cx, path, text, strlen(text));
    free(text);
    return s;
}

static json_t *text_or_null(gopt_ctx *cx, const char *text)
{
    return text ? gi_json_text(cx, text) : json_null();
}

json_t *gi_json_tactics(gopt_ctx *cx, const gopt_step_info *s)
{
    json_t *a = json_array();
    for (size_t i = 0; a && i < s->n_tactics; i++) {
        const gopt_tactic_info *k = &s->tactics[i];
        json_array_append_new(
            a, json_pack("{s:o, s:i, s:o, s:b, s:b, s:o, s:o, s:I, s:I, s:o}", "name", gi_json_text(cx, k->name),
                         "variant", k->variant, "label", text_or_null(cx, k->label), "takes", k->takes, "chosen",
                         k->chosen, "estimate_ms", k->estimate_ms > 0 ? json_real(k->estimate_ms) : json_null(), "ms",
                         k->ms > 0 ? json_real(k->ms) : json_null(), "workspace_bytes", (json_int_t)k->workspace_bytes,
                         "weight_bytes", (json_int_t)k->weight_bytes, "why", text_or_null(cx, k->why)));
    }
    return a;
}

gopt_status gopt_tactics_json(gopt_ctx *cx, const gopt_step_info *s, char **text)
{
    *text = NULL;
    json_t *j = gi_json_tactics(cx, s);
    char *dumped = j ? json_dumps(j, JSON_COMPACT | JSON_REAL_PRECISION(9)) : NULL;
    json_decref(j);
    const size_t n = dumped ? strlen(dumped) + 1 : 0;
    if (dumped && (*text = gi_alloc(cx, n)))
        memcpy(*text, dumped, n);
    free(dumped);
    return *text ? GOPT_OK : GOPT_NO_MEMORY;
}

/* A name maps to the number that its next namesake tries first. */
const char *gi_unique_name(gi_arena *a, gi_smap *taken, const char *wish)
{
    wish = wish && *wish ? wish : "node";
    const char *name = wish;
    uintptr_t next = (uintptr_t)gi_smap_get(taken, wish);
    if (next) {
        do
            name = gi_arena_printf(a, "%s #%zu", wish, (size_t)next++);
        while (name && gi_smap_get(taken, name));
        if (!gi_smap_put(taken, wish, (void *)next))
            return NULL;
    }
    return name && gi_smap_put(taken, name, (void *)(uintptr_t)2) ? name : NULL;
}

enum { MOST_NUMBERS = 64, MOST_TEXT = 400 };

void gi_attr_text(gi_str *s, const gi_attr *a)
{
    switch (a->kind) {
    case GI_ATTR_INT:
        gi_str_addf(s, "%lld", (long long)a->u.i);
        break;
    case GI_ATTR_FLOAT:
        gi_str_addf(s, "%.9g", (double)a->u.f);
        break;
    case GI_ATTR_STRING:
        gi_str_addn(s, a->u.s ? a->u.s : "", a->n < MOST_TEXT ? a->n : MOST_TEXT);
        break;
    case GI_ATTR_INTS:
    case GI_ATTR_FLOATS:
    case GI_ATTR_STRINGS:
        gi_str_add(s, "[");
        for (uint32_t i = 0; i < a->n && i < MOST_NUMBERS; i++) {
            gi_str_add(s, i ? ", " : "");
            if (a->kind == GI_ATTR_INTS)
                gi_str_addf(s, "%lld", (long long)a->u.ints[i]);
            else if (a->kind == GI_ATTR_FLOATS)
                gi_str_addf(s, "%.9g", (double)a->u.floats[i]);
            else
                gi_str_addf(s, "%.*s", MOST_TEXT, a->u.strings[i]);
        }
        gi_str_add(s, a->n > MOST_NUMBERS ? ", ...]" : "]");
        break;
    case GI_ATTR_TENSOR:
        gi_str_addf(s, "tensor of %zu bytes", a->u.tensor ? a->u.tensor->bytes : (size_t)0);
        break;
    default:
        gi_str_add(s, "subgraph");
    }
}

const char *gi_op_text(gi_arena *a, const gi_node *n)
{
    if (n->op == OP_Fusion)
        return gi_fusion_kind_name(n->fusion);
    const gi_op *row = gi_op_get(n->op);
    const char *domain = n->op == OP_Unknown ? n->domain : row->domain;
    const char *name = n->op == OP_Unknown ? n->op_name : row->onnx ? row->onnx : row->name;
    return domain && *domain ? gi_arena_printf(a, "%s::%s", domain, name ? name : "?") : name;
}
