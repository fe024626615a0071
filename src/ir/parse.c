/* The parser of the text form; text.h says what it looks like. */
#include <ctype.h>
#include <stdlib.h>

#include "ir/lex.h"

/* Every parse function returns false after it recorded what is wrong. */
typedef struct parser {
    gi_lex lex;
    gopt_graph *g;
    gi_smap values;      /* label without % -> value */
    gi_smap constants;   /* name -> value */
    int64_t number;      /* of the next node */
    gi_weight_of weight; /* of @NUMBER; NULL: there are none */
    void *user;
} parser;

#ifdef __clang_analyzer__ /* which does not follow them */
#define gi_lex_fail(...) ((void)gi_lex_fail(__VA_ARGS__), false)
#define gi_lex_no_memory(p) ((void)gi_lex_no_memory(p), false)
#endif

/* ---- types and constants ---- */

/* The keys' type of a map, and the comma behind it. */
static bool parse_key(parser *p, gopt_dtype *key)
{
    const char *w = gi_lex_word(&p->lex);
    *key = w ? gopt_dtype_parse(w) : GOPT_UNDEFINED;
    if (*key != GOPT_STRING && !gi_dtype_is_int(*key))
        return gi_lex_fail(&p->lex, "expected the type of a map's keys: string, i64 or another integer");
    return gi_lex_expect(&p->lex, ',');
}

static bool parse_type(parser *p, int depth, const gi_type **out)
{
    if (gi_lex_take(&p->lex, '?')) {
        *out = NULL;
        return true;
    }
    const char *w = gi_lex_word(&p->lex);
    if (!w)
        return gi_lex_fail(&p->lex, "expected a type");
    const gopt_kind kind = !strcmp(w, "seq")        ? GOPT_SEQUENCE
                           : !strcmp(w, "optional") ? GOPT_OPTIONAL
                           : !strcmp(w, "map")      ? GOPT_MAP
                                                    : GOPT_TENSOR;
    if (kind != GOPT_TENSOR) {
        const gi_type *elem;
        if (depth > GI_TEXT_DEPTH)
            return gi_lex_fail(&p->lex, "types nested deeper than %d", GI_TEXT_DEPTH);
        gopt_dtype key = GOPT_UNDEFINED;
        if (!gi_lex_expect(&p->lex, '(') || (kind == GOPT_MAP && !parse_key(p, &key)) ||
            !parse_type(p, depth + 1, &elem) || !gi_lex_expect(&p->lex, ')'))
            return false;
        *out = kind == GOPT_MAP ? gi_type_map(p->g->types, key, elem) : gi_type_of(p->g->types, kind, elem);
        return *out ? true : gi_lex_no_memory(&p->lex);
    }
    const gopt_dtype t = gopt_dtype_parse(w);
    if (t == GOPT_UNDEFINED && strcmp(w, "undefined") != 0)
        return gi_lex_fail(&p->lex, "there is no type '%s'", w);
    const gi_dim *dims[GOPT_MAX_RANK];
    int rank = 0;
    if (!gi_lex_expect(&p->lex, '['))
        return false;
    if (gi_lex_take(&p->lex, '*')) {
        rank = -1;
    } else {
        while (!gi_lex_peek(&p->lex, ']')) {
            if (rank && !gi_lex_expect(&p->lex, ','))
                return false;
            if (rank == GOPT_MAX_RANK)
                return gi_lex_fail(&p->lex, "a type of more than %d dimensions", GOPT_MAX_RANK);
            gi_lex_skip(&p->lex);
            const char *end;
            dims[rank] = gi_dim_parse(p->g->dims, p->lex.p, &end);
            if (!dims[rank] || end > p->lex.end)
                return gi_lex_fail(&p->lex, "expected a dimension");
            int64_t size;
            if (gi_dim_is_const(dims[rank], &size) && size < 0)
                return gi_lex_fail(&p->lex, "a dimension of %lld", (long long)size);
            rank++;
            p->lex.p = end;
        }
    }
    if (!gi_lex_expect(&p->lex, ']'))
        return false;
    *out = gi_type_tensor(p->g->types, t, rank, dims);
    return *out ? true : gi_lex_no_memory(&p->lex);
}

/* Contents drawn from a hash: bell-shaped floats, small integers. */
static void draw(gi_blob *b, uint64_t hash)
{
    uint64_t state = hash;
    for (int64_t i = 0, n = gi_blob_elements(b); i < n; i++) {
        double sum = 0;
        for (int k = 0; k < 4; k++) {
            state = gi_hash(&state, sizeof state, (uint64_t)k);
            sum += (double)(state >> 40) * 0x1p-24;
        }
        if (gi_dtype_class(b->dtype) == GI_FLOAT)
            gi_store_f64(b->dtype, b->owned, (size_t)i, (sum - 2) * 0.5);
        else
            gi_store_i64(b->dtype, b->owned, (size_t)i, b->dtype == GOPT_BOOL ? state & 1 : (int64_t)(state % 8));
    }
    b->hash = hash;
}

static bool parse_element(parser *p, gi_blob *b, size_t i)
{
    if (b->dtype == GOPT_STRING) {
        const char *s;
        size_t n;
        if (!gi_lex_quoted(&p->lex, &s, &n))
            return false;
        const char *own = gi_text(p->lex.cx, s, n);
        if (!own)
            return gi_lex_no_memory(&p->lex);
        ((gopt_string *)b->owned)[i] = (gopt_string){ own, n };
        return true;
    }
    if (gi_dtype_class(b->dtype) == GI_FLOAT || gi_lex_looks_float(&p->lex)) {
        double x;
        if (!gi_lex_number(&p->lex, &x))
            return false;
        gi_store_f64(b->dtype, b->owned, i, x);
        return true;
    }
    int64_t v;
    if (!gi_lex_integer(&p->lex, &v))
        return false;
    gi_store_i64(b->dtype, b->owned, i, v);
    return true;
}

static bool parse_hex(parser *p, gi_blob *b)
{
    p->lex.p += 2;
    uint8_t *to = b->owned;
    for (size_t i = 0; i < b->bytes; i++, p->lex.p += 2) {
        if (p->lex.end - p->lex.p < 2 || gi_lex_hex_digit(p->lex.p[0]) < 0 || gi_lex_hex_digit(p->lex.p[1]) < 0)
            return gi_lex_fail(&p->lex, "a constant of %zu bytes, expected %zu", i, b->bytes);
        to[i] = (uint8_t)(gi_lex_hex_digit(p->lex.p[0]) << 4 | gi_lex_hex_digit(p->lex.p[1]));
    }
    return true;
}

static bool parse_contents(parser *p, gi_blob *b)
{
    const size_t n = (size_t)gi_blob_elements(b);
    if (gi_lex_take(&p->lex, '#')) {
        char *end;
        const uint64_t hash = strtoull(p->lex.p, &end, 16);
        if (end == p->lex.p || end > p->lex.end)
            return gi_lex_fail(&p->lex, "expected a hash behind #");
        p->lex.p = end;
        if (b->dtype == GOPT_STRING)
            return gi_lex_fail(&p->lex, "strings cannot be drawn from a hash");
        draw(b, hash ? hash : 1);
        return true;
    }
    if (p->lex.end - p->lex.p > 1 && p->lex.p[0] == '0' && p->lex.p[1] == 'x' && b->dtype != GOPT_STRING)
        return parse_hex(p, b);
    const bool list = gi_lex_take(&p->lex, '[');
    if (!list && n != 1)
        return gi_lex_fail(&p->lex, "one value for a constant of %zu", n);
    for (size_t i = 0; i < n; i++)
        if ((i && !gi_lex_expect(&p->lex, ',')) || !parse_element(p, b, i))
            return false;
    return list ? gi_lex_expect(&p->lex, ']') : true;
}

/* Behind @: the weight of that number, which must be of the type that the text says. */
static bool parse_reference(parser *p, const gi_type *t, const int64_t *dims, gi_blob **out)
{
    int64_t number;
    if (!p->weight || !gi_lex_integer(&p->lex, &number) || number < 0)
        return gi_lex_fail(&p->lex, "expected the contents of a constant");
    gi_blob *b = p->weight(p->user, (uint64_t)number);
    if (!b)
        return gi_lex_fail(&p->lex, "there is no weight number %lld", (long long)number);
    if (b->dtype != t->dtype || b->rank != t->rank ||
        (b->rank && memcmp(b->dims, dims, (size_t)b->rank * sizeof *dims) != 0)) {
        gi_blob_unref(b);
        return gi_lex_fail(&p->lex, "weight number %lld is of another type", (long long)number);
    }
    *out = b;
    return true;
}

/* Behind `dense`: <TYPE, DATA[, "name"]>. */
static bool parse_dense(parser *p, gi_blob **out, const char **its_name)
{
    const gi_type *t;
    int64_t dims[GOPT_MAX_RANK];
    gi_blob *b;
    *its_name = NULL;
    if (!gi_lex_expect(&p->lex, '<') || !parse_type(p, 0, &t))
        return false;
    if (!t || !gi_type_static_dims(t, dims))
        return gi_lex_fail(&p->lex, "a constant needs constant dimensions");
    if (!gi_lex_expect(&p->lex, ','))
        return false;
    gi_lex_skip(&p->lex);
    if (gi_lex_take(&p->lex, '@')) {
        if (!parse_reference(p, t, dims, &b))
            return false;
        if ((gi_lex_take(&p->lex, ',') && !gi_lex_quoted(&p->lex, its_name, NULL)) || !gi_lex_expect(&p->lex, '>')) {
            gi_blob_unref(b);
            return false;
        }
        *out = b;
        return true;
    }
    int64_t n;
    if (!gi_type_elements(t, &n) || (*p->lex.p != '#' && n > p->lex.end - p->lex.p && t->dtype != GOPT_STRING))
        return gi_lex_fail(&p->lex, "a constant of this shape does not fit its text");
    p->lex.status = gi_blob_create(p->lex.cx, t->dtype, t->rank, dims, &b);
    if (p->lex.status != GOPT_OK)
        return false;
    if (!parse_contents(p, b) || (gi_lex_take(&p->lex, ',') && !gi_lex_quoted(&p->lex, its_name, NULL)) ||
        !gi_lex_expect(&p->lex, '>')) {
        gi_blob_unref(b);
        return false;
    }
    *out = b;
    return true;
}

static bool parse_constant(parser *p, gi_value **out)
{
    gi_blob *b;
    const char *its_name;
    if (!parse_dense(p, &b, &its_name))
        return false;
    gi_value *seen = its_name ? gi_smap_get(&p->constants, its_name) : NULL;
    if (seen && (seen->def.blob == b || gi_blob_equal(seen->def.blob, b))) {
        gi_blob_unref(b);
        *out = seen;
        return true;
    }
    *out = gi_const(p->g, b, its_name);
    if (!*out || (its_name && !gi_smap_put(&p->constants, its_name, *out)))
        return gi_lex_no_memory(&p->lex);
    return true;
}

/* ---- values ---- */

/* The label behind %, and the name that the value has by it: NULL for a number. */
static bool parse_label(parser *p, const char **label, const char **its_name)
{
    if (!gi_lex_expect(&p->lex, '%'))
        return false;
    const bool in_quotes = p->lex.p < p->lex.end && *p->lex.p == '"';
    if (!gi_lex_name(&p->lex, its_name))
        return false;
    const char *suffix = "";
    if (p->lex.p < p->lex.end && *p->lex.p == '#') {
        p->lex.p++;
        const char *w = gi_lex_word(&p->lex);
        if (!w)
            return gi_lex_fail(&p->lex, "expected a number behind #");
        suffix = gi_arena_printf(p->lex.scratch, "#%s", w);
    }
    /* %"0" is called 0, %0 is not: the quotes stay in the label where they tell the two apart. */
    const char *quote = in_quotes && !gi_text_plain(*its_name) ? "\"" : "";
    *label = gi_arena_printf(p->lex.scratch, "%s%s%s%s", quote, *its_name, quote, suffix ? suffix : "");
    if (!*label)
        return gi_lex_no_memory(&p->lex);
    if (!in_quotes && isdigit((unsigned char)**its_name))
        *its_name = NULL;
    return true;
}

static bool define(parser *p, const char *label, gi_value *v)
{
    if (gi_smap_get(&p->values, label))
        return gi_lex_fail(&p->lex, "%%%s is defined twice", label);
    return gi_smap_put(&p->values, label, v) ? true : gi_lex_no_memory(&p->lex);
}

static bool parse_operand(parser *p, gi_value **out)
{
    if (gi_lex_take_word(&p->lex, "_")) {
        *out = NULL;
        return true;
    }
    if (gi_lex_take_word(&p->lex, "dense"))
        return parse_constant(p, out);
    const char *label, *its_name;
    if (!parse_label(p, &label, &its_name))
        return false;
    *out = gi_smap_get(&p->values, label);
    return *out ? true : gi_lex_fail(&p->lex, "%%%s is not defined here", label);
}

/* ---- attributes ---- */

static bool parse_block(parser *p, gi_block *b, int depth);

typedef gi_vec(const char *) string_list;

static bool parse_strings(parser *p, string_list *v)
{
    if (!gi_lex_expect(&p->lex, '['))
        return false;
    while (!gi_lex_peek(&p->lex, ']')) {
        const char *s;
        if ((v->n && !gi_lex_expect(&p->lex, ',')) || !gi_lex_quoted(&p->lex, &s, NULL))
            return false;
        if (!gi_push(p->g->arena, v, s))
            return gi_lex_no_memory(&p->lex);
    }
    return gi_lex_expect(&p->lex, ']');
}

static bool parse_numbers(parser *p, gi_attr *a, bool floats)
{
    gi_vec(int64_t) ints = { 0 };
    gi_vec(float) reals = { 0 };
    if (!gi_lex_expect(&p->lex, '['))
        return false;
    while (!gi_lex_peek(&p->lex, ']')) {
        double x = 0;
        int64_t i = 0;
        if ((ints.n + reals.n && !gi_lex_expect(&p->lex, ',')) ||
            !(floats ? gi_lex_number(&p->lex, &x) : gi_lex_integer(&p->lex, &i)))
            return false;
        if (floats ? !gi_push(p->g->arena, &reals, (float)x) : !gi_push(p->g->arena, &ints, i))
            return gi_lex_no_memory(&p->lex);
    }
    p->lex.p++;
    a->kind = floats ? GI_ATTR_FLOATS : GI_ATTR_INTS;
    a->n = (uint32_t)(floats ? reals.n : ints.n);
    if (floats)
        a->u.floats = reals.p;
    else
        a->u.ints = ints.p;
    return true;
}

static bool parse_list(parser *p, gi_attr *a, gi_attr_kind kind)
{
    const char *c = p->lex.p + 1; /* behind the bracket */
    while (c < p->lex.end && isspace((unsigned char)*c))
        c++;
    if (kind == GI_ATTR_STRINGS || (kind == GI_ATTR_NONE && c < p->lex.end && *c == '"')) {
        string_list v = { 0 };
        if (!parse_strings(p, &v))
            return false;
        a->kind = GI_ATTR_STRINGS;
        a->n = (uint32_t)v.n;
        a->u.strings = v.p;
        return true;
    }
    bool floats = kind == GI_ATTR_FLOATS;
    if (kind == GI_ATTR_NONE) {
        const char *at = p->lex.p;
        p->lex.p = c;
        floats = gi_lex_looks_float(&p->lex);
        p->lex.p = at;
    }
    return parse_numbers(p, a, floats);
}

/* One attribute's value; `kind` as the row says, GI_ATTR_NONE to go by its looks. */
static bool parse_attr(parser *p, gi_node *n, gi_attr *a, gi_attr_kind kind, int depth)
{
    if (gi_lex_take_word(&p->lex, "ints"))
        return parse_numbers(p, a, false);
    if (gi_lex_take_word(&p->lex, "floats"))
        return parse_numbers(p, a, true);
    if (gi_lex_take_word(&p->lex, "strings"))
        return parse_list(p, a, GI_ATTR_STRINGS);
    if (gi_lex_peek(&p->lex, '['))
        return parse_list(p, a, kind);
    if (gi_lex_take_word(&p->lex, "dense")) {
        const char *ignored;
        gi_blob *b;
        if (!parse_dense(p, &b, &ignored))
            return false;
        a->kind = GI_ATTR_TENSOR;
        a->u.tensor = b;
        return gi_push(p->g->arena, &p->g->blobs, b) ? true : gi_lex_no_memory(&p->lex);
    }
    if (gi_lex_take_word(&p->lex, "block")) {
        const char *its_name = NULL;
        if (gi_lex_peek(&p->lex, '"') && !gi_lex_quoted(&p->lex, &its_name, NULL))
            return false;
        gi_block *b = gi_block_create(p->g, n, its_name);
        if (!b)
            return gi_lex_no_memory(&p->lex);
        a->kind = GI_ATTR_GRAPH;
        a->u.graph = b;
        return parse_block(p, b, depth + 1);
    }
    if (gi_lex_peek(&p->lex, '"')) {
        size_t size;
        a->kind = GI_ATTR_STRING;
        if (!gi_lex_quoted(&p->lex, &a->u.s, &size))
            return false;
        a->n = (uint32_t)size;
        return true;
    }
    double x;
    if (kind == GI_ATTR_FLOAT || (kind == GI_ATTR_NONE && gi_lex_looks_float(&p->lex))) {
        a->kind = GI_ATTR_FLOAT;
        if (!gi_lex_number(&p->lex, &x))
            return false;
        a->u.f = (float)x;
        return true;
    }
    a->kind = GI_ATTR_INT;
    return gi_lex_integer(&p->lex, &a->u.i);
}

static bool parse_attrs(parser *p, gi_node *n, int depth)
{
    gi_vec(gi_attr) free_form = { 0 };
    const gi_op *row = gi_op_get(n->op);
    bool first = true;
    for (; !gi_lex_peek(&p->lex, '}'); first = false) {
        gi_attr a = { 0 };
        if ((!first && !gi_lex_expect(&p->lex, ',')) || !gi_lex_name(&p->lex, &a.name) || !gi_lex_expect(&p->lex, '='))
            return false;
        const int at = gi_op_find_attr(row, a.name);
        if (n->op != OP_Unknown && at < 0)
            return gi_lex_fail(&p->lex, "%s has no attribute '%s'", row->name, a.name);
        if (!parse_attr(p, n, &a, at < 0 ? GI_ATTR_NONE : row->attrs[at].kind, depth))
            return false;
        if (at >= 0 && a.kind != row->attrs[at].kind)
            return gi_lex_fail(&p->lex, "attribute '%s' of %s has another kind of value", a.name, row->name);
        if (at >= 0)
            n->attrs[at] = a;
        else if (!gi_push(p->g->arena, &free_form, a))
            return gi_lex_no_memory(&p->lex);
    }
    p->lex.p++;
    if (n->op == OP_Unknown) {
        n->attrs = free_form.p;
        n->n_attrs = (uint32_t)free_form.n;
    }
    return true;
}

static bool parse_more(parser *p, gi_node *n)
{
    for (bool first = true; !gi_lex_peek(&p->lex, '}'); first = false) {
        const char *key = NULL;
        string_list v = { 0 };
        if ((!first && !gi_lex_expect(&p->lex, ',')) || !gi_lex_name(&p->lex, &key) || !gi_lex_expect(&p->lex, '='))
            return false;
        if (!strcmp(key, "scope") ? !gi_lex_quoted(&p->lex, &n->scope, NULL)
            : !strcmp(key, "doc") ? !gi_lex_quoted(&p->lex, &n->doc, NULL)
                                  : !parse_strings(p, &v))
            return false;
        if (!strcmp(key, "origins")) {
            if (!gi_node_set_origins(n, v.p, (uint32_t)v.n))
                return false;
        } else if (!strcmp(key, "meta")) {
            n->meta = v.p;
            n->n_meta = (uint32_t)v.n / 2;
        }
    }
    p->lex.p++;
    return true;
}

/* ---- nodes and blocks ---- */

typedef struct output {
    const char *label, *name;
    const gi_type *type;
} output;

static bool parse_op(parser *p, const char **domain, const char **op, gi_fusion_kind *fusion)
{
    *domain = "";
    *fusion = GI_FUSION_NONE;
    if (!gi_lex_name(&p->lex, op))
        return false;
    if (p->lex.end - p->lex.p > 1 && p->lex.p[0] == ':' && p->lex.p[1] == ':') {
        p->lex.p += 2;
        *domain = *op;
        if (!gi_lex_name(&p->lex, op))
            return false;
    }
    if (strcmp(*op, "Fusion") != 0 || **domain || !gi_lex_take(&p->lex, '<'))
        return true;
    const char *kind = gi_lex_word(&p->lex);
    for (int k = 0; kind && k < GI_FUSION_KIND_COUNT; k++)
        if (!strcmp(gi_fusion_kind_name((gi_fusion_kind)k), kind))
            *fusion = (gi_fusion_kind)k;
    if (*fusion == GI_FUSION_NONE)
        return gi_lex_fail(&p->lex, "there is no kind of fusion '%s'", kind ? kind : "");
    return gi_lex_expect(&p->lex, '>');
}

static bool starts_operand(parser *p)
{
    gi_lex_skip(&p->lex);
    if (p->lex.p >= p->lex.end)
        return false;
    return *p->lex.p == '%' || (*p->lex.p == '_' && (p->lex.p + 1 >= p->lex.end || !gi_lex_is_word(p->lex.p[1]))) ||
           (p->lex.end - p->lex.p > 5 && !memcmp(p->lex.p, "dense<", 6));
}

static bool parse_node(parser *p, gi_block *b, int depth)
{
    gi_vec(output) outs = { 0 };
    gi_vec(gi_value *) ins = { 0 };
    while (!gi_lex_peek(&p->lex, '=')) {
        output o = { 0 };
        if ((outs.n && !gi_lex_expect(&p->lex, ',')) || !parse_label(p, &o.label, &o.name) ||
            (gi_lex_take(&p->lex, ':') && !parse_type(p, 0, &o.type)))
            return false;
        if (!gi_push(p->lex.scratch, &outs, o))
            return gi_lex_no_memory(&p->lex);
    }
    p->lex.p++;
    const char *domain, *op;
    gi_fusion_kind fusion;
    if (!parse_op(p, &domain, &op, &fusion))
        return false;
    /* On the same line or the next, what stands first decides: an operand, or something else. A line that
     * starts with a label and holds '=' is the next node, so an operator without inputs must not take it. */
    const gi_opcode code = gi_op_find(domain, op);
    const gi_op *row = gi_op_get(code);
    const char *line_end = memchr(p->lex.p, '\n', (size_t)(p->lex.end - p->lex.p));
    if (!line_end)
        line_end = p->lex.end;
    bool more = starts_operand(p) && p->lex.p < line_end;
    while (more) {
        gi_value *v;
        if (!parse_operand(p, &v))
            return false;
        if (!gi_push(p->lex.scratch, &ins, v))
            return gi_lex_no_memory(&p->lex);
        more = gi_lex_take(&p->lex, ',');
    }
    gi_node *n = gi_node_create(b, NULL, code, (uint32_t)ins.n, ins.p, (uint32_t)outs.n);
    if (!n)
        return gi_lex_no_memory(&p->lex);
    if (code == OP_Unknown) {
        n->domain = domain;
        n->op_name = op;
        n->opset = gi_graph_opset(p->g, domain);
    }
    n->fusion = fusion;
    n->number = p->number++;
    if (gi_lex_take(&p->lex, '{') && !parse_attrs(p, n, depth))
        return false;
    if (gi_lex_take(&p->lex, '@') && (!gi_lex_quoted(&p->lex, &n->name, NULL) || !gi_node_add_origin(n, n->name)))
        return false;
    if (gi_lex_peek(&p->lex, '!')) {
        p->lex.p++;
        if (!gi_lex_expect(&p->lex, '{') || !parse_more(p, n))
            return false;
    }
    for (int i = 0; i < row->n_attrs; i++)
        if (row->attrs[i].required && n->attrs[i].kind == GI_ATTR_NONE)
            return gi_lex_fail(&p->lex, "%s needs the attribute '%s'", row->name, row->attrs[i].name);
    for (size_t i = 0; i < outs.n; i++) {
        n->out[i]->name = outs.p[i].name;
        n->out[i]->type = outs.p[i].type;
        if (!define(p, outs.p[i].label, n->out[i]))
            return false;
    }
    return true;
}

static bool parse_results(parser *p, gi_block *b)
{
    gi_vec(gi_value *) v = { 0 };
    gi_vec(const char *) names = { 0 };
    while (!gi_lex_peek(&p->lex, '}')) {
        gi_value *x;
        const char *as = NULL;
        if ((v.n && !gi_lex_expect(&p->lex, ',')) || !parse_operand(p, &x))
            return false;
        if (!x)
            return gi_lex_fail(&p->lex, "a result cannot be absent");
        if (gi_lex_take_word(&p->lex, "as") && !gi_lex_quoted(&p->lex, &as, NULL))
            return false;
        if (as && !*as && !b->owner)
            return gi_lex_fail(&p->lex, "an output of the graph needs a name that is not empty");
        if (!as && !b->owner)
            as = x->name ? x->name : gi_arena_printf(p->g->arena, "output_%zu", v.n);
        if (!gi_push(p->lex.scratch, &v, x) || !gi_push(p->lex.scratch, &names, as))
            return gi_lex_no_memory(&p->lex);
    }
    p->lex.p++;
    const char *twice = NULL;
    if (!gi_block_set_results(b, (uint32_t)v.n, v.p, names.p) ||
        (!b->owner && !gi_graph_name_clash(p->g, p->lex.scratch, &twice)))
        return gi_lex_no_memory(&p->lex);
    return !twice || gi_lex_fail(&p->lex, "two values among inputs and outputs are named '%s'", twice);
}

static bool parse_block(parser *p, gi_block *b, int depth)
{
    if (depth > GI_TEXT_DEPTH)
        return gi_lex_fail(&p->lex, "blocks nested deeper than %d", GI_TEXT_DEPTH);
    if (!gi_lex_expect(&p->lex, '('))
        return false;
    for (bool first = true; !gi_lex_peek(&p->lex, ')'); first = false) {
        const char *label, *its_name;
        const gi_type *t = NULL;
        if ((!first && !gi_lex_expect(&p->lex, ',')) || !parse_label(p, &label, &its_name) ||
            !gi_lex_expect(&p->lex, ':') || !parse_type(p, 0, &t))
            return false;
        if (!its_name && !b->owner)
            its_name = gi_arena_printf(p->g->arena, "input_%u", b->n_params);
        gi_value *v = gi_block_add_param(b, its_name, t);
        if (!v)
            return gi_lex_no_memory(&p->lex);
        if (!define(p, label, v))
            return false;
    }
    p->lex.p++;
    if (!gi_lex_expect(&p->lex, '{'))
        return false;
    while (!gi_lex_take_word(&p->lex, "return"))
        if (!parse_node(p, b, depth))
            return false;
    return parse_results(p, b);
}

enum { MOST_OPSETS = 1000 };

static bool set_opset(parser *p, const char *domain, int64_t version)
{
    gopt_graph *g = p->g;
    for (uint32_t i = 0; i < g->n_opsets; i++)
        if (!strcmp(g->opsets[i].domain, domain)) {
            g->opsets[i].version = version;
            return true;
        }
    gi_opset *more = GI_NEW_ARRAY(g->arena, gi_opset, g->n_opsets + 1);
    if (!more)
        return gi_lex_no_memory(&p->lex);
    if (g->n_opsets)
        memcpy(more, g->opsets, g->n_opsets * sizeof *more);
    more[g->n_opsets] = (gi_opset){ domain, version };
    g->opsets = more;
    g->n_opsets++;
    return true;
}

static bool parse_header(parser *p)
{
    gopt_graph *g = p->g;
    string_list meta = { 0 };
    g->ir_version = GI_TEXT_IR_VERSION;
    if (!set_opset(p, "", GI_TEXT_OPSET))
        return false;
    while (!gi_lex_take_word(&p->lex, "graph")) {
        const char *a = "", *b;
        int64_t v;
        if (gi_lex_take_word(&p->lex, "opset")) {
            if ((gi_lex_peek(&p->lex, '"') && !gi_lex_quoted(&p->lex, &a, NULL)) || !gi_lex_integer(&p->lex, &v))
                return false;
            if (!*a && (v < 1 || v >= 10000))
                return gi_lex_fail(&p->lex, "expected an opset from 1 to 9999");
            if (g->n_opsets == MOST_OPSETS)
                return gi_lex_fail(&p->lex, "expected fewer opsets");
            if (!set_opset(p, a, v))
                return false;
        } else if (gi_lex_take_word(&p->lex, "ir_version")) {
            if (!gi_lex_integer(&p->lex, &g->ir_version))
                return false;
        } else if (gi_lex_take_word(&p->lex, "producer")) {
            if (!gi_lex_quoted(&p->lex, &g->producer, NULL) || !gi_lex_quoted(&p->lex, &g->producer_version, NULL))
                return false;
        } else if (gi_lex_take_word(&p->lex, "model")) {
            if (!gi_lex_quoted(&p->lex, &g->model_domain, NULL) || !gi_lex_integer(&p->lex, &g->model_version))
                return false;
        } else if (gi_lex_take_word(&p->lex, "doc")) {
            if (!gi_lex_quoted(&p->lex, &g->doc, NULL))
                return false;
        } else if (gi_lex_take_word(&p->lex, "meta")) {
            if (!gi_lex_quoted(&p->lex, &a, NULL) || !gi_lex_quoted(&p->lex, &b, NULL))
                return false;
            if (!gi_push(g->arena, &meta, a) || !gi_push(g->arena, &meta, b))
                return gi_lex_no_memory(&p->lex);
        } else {
            return gi_lex_fail(&p->lex, "expected `graph`");
        }
    }
    g->meta = meta.p;
    g->n_meta = (uint32_t)meta.n / 2;
    return !gi_lex_peek(&p->lex, '"') || gi_lex_quoted(&p->lex, &g->name, NULL);
}

gopt_status gi_parse_attrs(gi_node *n, const char *text)
{
    gopt_graph *g = n->block->graph;
    parser p = { .lex = { .cx = g->cx, .arena = g->arena, .scratch = gi_arena_create(g->cx) }, .g = g, .number = 1 };
    GI_NEED(p.lex.scratch);
    char *own = gi_arena_printf(p.lex.scratch, "%s}", text);
    if (own) {
        p.lex.start = p.lex.p = own;
        p.lex.end = own + strlen(own);
        gi_smap_init(&p.values, p.lex.scratch);
        gi_smap_init(&p.constants, p.lex.scratch);
        if (parse_attrs(&p, n, 0) && p.lex.p < p.lex.end)
            gi_lex_fail(&p.lex, "text behind the attributes: %s", p.lex.p);
    } else {
        p.lex.status = GOPT_NO_MEMORY;
    }
    gi_arena_destroy(p.lex.scratch);
    return p.lex.status;
}

gopt_status gi_parse(gopt_ctx *cx, const char *file, const char *text, size_t n, gopt_graph **out)
{
    return gi_parse_with(cx, file, text, n, NULL, NULL, out);
}

gopt_status gi_parse_with(gopt_ctx *cx, const char *file, const char *text, size_t n, gi_weight_of weight, void *user,
                          gopt_graph **out)
{
    parser p = { .lex = { .cx = cx, .file = file }, .number = 1, .weight = weight, .user = user };
    GI_TRY(gi_graph_create(cx, &p.g));
    p.lex.arena = p.g->arena;
    p.lex.scratch = gi_arena_create(cx);
    /* numbers are read by strtoll and strtod, which need an end */
    char *own = p.lex.scratch ? gi_arena_strn(p.lex.scratch, text, n) : NULL;
    if (own) {
        p.lex.start = p.lex.p = own;
        p.lex.end = own + n;
        p.g->file = gi_arena_str(p.g->arena, file);
        gi_smap_init(&p.values, p.lex.scratch);
        gi_smap_init(&p.constants, p.lex.scratch);
        if (parse_header(&p) && parse_block(&p, p.g->main, 0)) {
            gi_lex_skip(&p.lex);
            if (p.lex.p < p.lex.end)
                gi_lex_fail(&p.lex, "text behind the graph's end");
        }
    } else {
        p.lex.status = GOPT_NO_MEMORY;
    }
    gi_arena_destroy(p.lex.scratch);
    if (p.lex.status != GOPT_OK) {
        gopt_graph_destroy(p.g);
        return p.lex.status;
    }
    *out = p.g;
    return GOPT_OK;
}
