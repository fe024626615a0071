/* The parser of the text form; text.h says what it looks like. */
#include <ctype.h>
#include <errno.h>
#include <stdlib.h>

#include "ir/text.h"

typedef struct parser {
    gopt_ctx *cx;
    gopt_graph *g;
    gi_arena *scratch;
    const char *file, *p, *end, *start;
    gi_smap values;    /* label without % -> value */
    gi_smap constants; /* name -> value */
    int64_t number;    /* of the next node */
    gopt_status status;
} parser;

/* Every parse function returns false after it recorded what is wrong. */
static bool wrong(parser *p, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static bool wrong(parser *p, const char *fmt, ...)
{
    if (p->status != GOPT_OK)
        return false;
    int line = 1;
    for (const char *c = p->start; c < p->p && c < p->end; c++)
        line += *c == '\n';
    va_list args;
    va_start(args, fmt);
    const char *what = gi_arena_vprintf(p->scratch, fmt, args);
    va_end(args);
    p->status = gi_fail(p->cx, GOPT_BAD_INPUT, &(gi_place){ .file = p->file }, NULL, "line %d: %s", line,
                        what ? what : "out of memory");
    return false;
}

static bool no_memory(parser *p)
{
    if (p->status == GOPT_OK)
        p->status = GOPT_NO_MEMORY;
    return false;
}

#ifdef __clang_analyzer__ /* which does not follow them */
#define wrong(...) ((void)wrong(__VA_ARGS__), false)
#define no_memory(p) ((void)no_memory(p), false)
#endif

/* ---- tokens ---- */

static void skip(parser *p)
{
    while (p->p < p->end) {
        if (isspace((unsigned char)*p->p))
            p->p++;
        else if (*p->p == ';')
            while (p->p < p->end && *p->p != '\n')
                p->p++;
        else
            break;
    }
}

static bool peek(parser *p, char c)
{
    skip(p);
    return p->p < p->end && *p->p == c;
}

static bool take(parser *p, char c)
{
    if (!peek(p, c))
        return false;
    p->p++;
    return true;
}

static bool expect(parser *p, char c)
{
    if (take(p, c))
        return true;
    if (p->p >= p->end)
        return wrong(p, "the text ends, expected '%c'", c);
    return wrong(p, "found '%c', expected '%c'", *p->p, c);
}

static bool is_word(char c)
{
    return isalnum((unsigned char)c) || c == '_' || c == '.';
}

/* A word of letters, digits, _ and dots; NULL where none stands here. */
static const char *word(parser *p)
{
    skip(p);
    const char *from = p->p;
    while (p->p < p->end && is_word(*p->p))
        p->p++;
    return p->p == from ? NULL : gi_arena_strn(p->scratch, from, (size_t)(p->p - from));
}

static bool take_word(parser *p, const char *w)
{
    skip(p);
    const size_t n = strlen(w);
    if ((size_t)(p->end - p->p) < n || memcmp(p->p, w, n) != 0 || (p->p + n < p->end && is_word(p->p[n])))
        return false;
    p->p += n;
    return true;
}

static int hex_digit(char c)
{
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

/* A quoted string into the graph's arena. */
static bool quoted(parser *p, const char **out, size_t *n)
{
    if (!expect(p, '"'))
        return false;
    gi_str s;
    gi_str_init(&s, p->g->arena);
    gi_str_addn(&s, "", 0);
    for (; p->p < p->end && *p->p != '"'; p->p++) {
        if (*p->p != '\\') {
            gi_str_addn(&s, p->p, 1);
            continue;
        }
        if (++p->p >= p->end)
            break;
        char c = *p->p;
        if (c == 'n')
            c = '\n';
        else if (c == 't')
            c = '\t';
        else if (c == 'x' && p->end - p->p > 2 && hex_digit(p->p[1]) >= 0 && hex_digit(p->p[2]) >= 0) {
            c = (char)(hex_digit(p->p[1]) << 4 | hex_digit(p->p[2]));
            p->p += 2;
        }
        gi_str_addn(&s, &c, 1);
    }
    if (p->p >= p->end)
        return wrong(p, "a string without its closing quote");
    p->p++;
    if (s.failed || !s.p)
        return no_memory(p);
    *out = s.p;
    if (n)
        *n = s.n;
    return true;
}

/* "quoted" or a plain word. */
static bool name(parser *p, const char **out)
{
    if (peek(p, '"'))
        return quoted(p, out, NULL);
    const char *w = word(p);
    if (!w)
        return wrong(p, "expected a name");
    *out = gi_arena_str(p->g->arena, w);
    return *out ? true : no_memory(p);
}

static bool integer(parser *p, int64_t *v)
{
    skip(p);
    char *end;
    errno = 0;
    *v = strtoll(p->p, &end, 10);
    if (end == p->p || end > p->end)
        return wrong(p, "expected an integer");
    if (errno == ERANGE) { /* u64 beyond i64 wraps to the same bits */
        errno = 0;
        *v = (int64_t)strtoull(p->p, &end, 10);
        if (errno == ERANGE)
            return wrong(p, "an integer of more than 64 bits");
    }
    p->p = end;
    return true;
}

static bool number(parser *p, double *v)
{
    skip(p);
    char *end;
    *v = strtod(p->p, &end);
    if (end == p->p || end > p->end)
        return wrong(p, "expected a number");
    p->p = end;
    return true;
}

static bool looks_float(parser *p)
{
    skip(p);
    const char *c = p->p;
    if (c < p->end && *c == '-')
        c++;
    if (c < p->end && (*c == 'i' || *c == 'n'))
        return (p->end - c >= 3) && (!memcmp(c, "inf", 3) || !memcmp(c, "nan", 3));
    for (; c < p->end && (isdigit((unsigned char)*c) || *c == '.' || *c == 'e'); c++)
        if (*c == '.' || *c == 'e')
            return true;
    return false;
}

/* ---- types and constants ---- */

/* The keys' type of a map, and the comma behind it. */
static bool parse_key(parser *p, gopt_dtype *key)
{
    const char *w = word(p);
    *key = w ? gopt_dtype_parse(w) : GOPT_UNDEFINED;
    if (*key != GOPT_STRING && !gi_dtype_is_int(*key))
        return wrong(p, "expected the type of a map's keys: string, i64 or another integer");
    return expect(p, ',');
}

static bool parse_type(parser *p, int depth, const gi_type **out)
{
    if (take(p, '?')) {
        *out = NULL;
        return true;
    }
    const char *w = word(p);
    if (!w)
        return wrong(p, "expected a type");
    const gopt_kind kind = !strcmp(w, "seq")        ? GOPT_SEQUENCE
                           : !strcmp(w, "optional") ? GOPT_OPTIONAL
                           : !strcmp(w, "map")      ? GOPT_MAP
                                                    : GOPT_TENSOR;
    if (kind != GOPT_TENSOR) {
        const gi_type *elem;
        if (depth > GI_TEXT_DEPTH)
            return wrong(p, "types nested deeper than %d", GI_TEXT_DEPTH);
        gopt_dtype key = GOPT_UNDEFINED;
        if (!expect(p, '(') || (kind == GOPT_MAP && !parse_key(p, &key)) || !parse_type(p, depth + 1, &elem) ||
            !expect(p, ')'))
            return false;
        *out = kind == GOPT_MAP ? gi_type_map(p->g->types, key, elem) : gi_type_of(p->g->types, kind, elem);
        return *out ? true : no_memory(p);
    }
    const gopt_dtype t = gopt_dtype_parse(w);
    if (t == GOPT_UNDEFINED && strcmp(w, "undefined") != 0)
        return wrong(p, "there is no type '%s'", w);
    const gi_dim *dims[GOPT_MAX_RANK];
    int rank = 0;
    if (!expect(p, '['))
        return false;
    if (take(p, '*')) {
        rank = -1;
    } else {
        while (!peek(p, ']')) {
            if (rank && !expect(p, ','))
                return false;
            if (rank == GOPT_MAX_RANK)
                return wrong(p, "a type of more than %d dimensions", GOPT_MAX_RANK);
            skip(p);
            const char *end;
            dims[rank] = gi_dim_parse(p->g->dims, p->p, &end);
            if (!dims[rank] || end > p->end)
                return wrong(p, "expected a dimension");
            int64_t size;
            if (gi_dim_is_const(dims[rank], &size) && size < 0)
                return wrong(p, "a dimension of %lld", (long long)size);
            rank++;
            p->p = end;
        }
    }
    if (!expect(p, ']'))
        return false;
    *out = gi_type_tensor(p->g->types, t, rank, dims);
    return *out ? true : no_memory(p);
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
        if (!quoted(p, &s, &n))
            return false;
        const char *own = gi_text(p->cx, s, n);
        if (!own)
            return no_memory(p);
        ((gopt_string *)b->owned)[i] = (gopt_string){ own, n };
        return true;
    }
    if (gi_dtype_class(b->dtype) == GI_FLOAT || looks_float(p)) {
        double x;
        if (!number(p, &x))
            return false;
        gi_store_f64(b->dtype, b->owned, i, x);
        return true;
    }
    int64_t v;
    if (!integer(p, &v))
        return false;
    gi_store_i64(b->dtype, b->owned, i, v);
    return true;
}

static bool parse_hex(parser *p, gi_blob *b)
{
    p->p += 2;
    uint8_t *to = b->owned;
    for (size_t i = 0; i < b->bytes; i++, p->p += 2) {
        if (p->end - p->p < 2 || hex_digit(p->p[0]) < 0 || hex_digit(p->p[1]) < 0)
            return wrong(p, "a constant of %zu bytes, expected %zu", i, b->bytes);
        to[i] = (uint8_t)(hex_digit(p->p[0]) << 4 | hex_digit(p->p[1]));
    }
    return true;
}

static bool parse_contents(parser *p, gi_blob *b)
{
    const size_t n = (size_t)gi_blob_elements(b);
    if (take(p, '#')) {
        char *end;
        const uint64_t hash = strtoull(p->p, &end, 16);
        if (end == p->p || end > p->end)
            return wrong(p, "expected a hash behind #");
        p->p = end;
        if (b->dtype == GOPT_STRING)
            return wrong(p, "strings cannot be drawn from a hash");
        draw(b, hash ? hash : 1);
        return true;
    }
    if (p->end - p->p > 1 && p->p[0] == '0' && p->p[1] == 'x' && b->dtype != GOPT_STRING)
        return parse_hex(p, b);
    const bool list = take(p, '[');
    if (!list && n != 1)
        return wrong(p, "one value for a constant of %zu", n);
    for (size_t i = 0; i < n; i++)
        if ((i && !expect(p, ',')) || !parse_element(p, b, i))
            return false;
    return list ? expect(p, ']') : true;
}

/* Behind `dense`: <TYPE, DATA[, "name"]>. */
static bool parse_dense(parser *p, gi_blob **out, const char **its_name)
{
    const gi_type *t;
    int64_t dims[GOPT_MAX_RANK];
    gi_blob *b;
    *its_name = NULL;
    if (!expect(p, '<') || !parse_type(p, 0, &t))
        return false;
    if (!t || !gi_type_static_dims(t, dims))
        return wrong(p, "a constant needs constant dimensions");
    if (!expect(p, ','))
        return false;
    skip(p);
    int64_t n;
    if (!gi_type_elements(t, &n) || (*p->p != '#' && n > p->end - p->p && t->dtype != GOPT_STRING))
        return wrong(p, "a constant of this shape does not fit its text");
    p->status = gi_blob_create(p->cx, t->dtype, t->rank, dims, &b);
    if (p->status != GOPT_OK)
        return false;
    if (!parse_contents(p, b) || (take(p, ',') && !quoted(p, its_name, NULL)) || !expect(p, '>')) {
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
    if (seen && gi_blob_equal(seen->def.blob, b)) {
        gi_blob_unref(b);
        *out = seen;
        return true;
    }
    *out = gi_const(p->g, b, its_name);
    if (!*out || (its_name && !gi_smap_put(&p->constants, its_name, *out)))
        return no_memory(p);
    return true;
}

/* ---- values ---- */

/* The label behind %, and the name that the value has by it: NULL for a number. */
static bool parse_label(parser *p, const char **label, const char **its_name)
{
    if (!expect(p, '%'))
        return false;
    const bool in_quotes = p->p < p->end && *p->p == '"';
    if (!name(p, its_name))
        return false;
    const char *suffix = "";
    if (p->p < p->end && *p->p == '#') {
        p->p++;
        const char *w = word(p);
        if (!w)
            return wrong(p, "expected a number behind #");
        suffix = gi_arena_printf(p->scratch, "#%s", w);
    }
    /* %"0" is called 0, %0 is not: the quotes stay in the label where they tell the two apart. */
    const char *quote = in_quotes && !gi_text_plain(*its_name) ? "\"" : "";
    *label = gi_arena_printf(p->scratch, "%s%s%s%s", quote, *its_name, quote, suffix ? suffix : "");
    if (!*label)
        return no_memory(p);
    if (!in_quotes && isdigit((unsigned char)**its_name))
        *its_name = NULL;
    return true;
}

static bool define(parser *p, const char *label, gi_value *v)
{
    if (gi_smap_get(&p->values, label))
        return wrong(p, "%%%s is defined twice", label);
    return gi_smap_put(&p->values, label, v) ? true : no_memory(p);
}

static bool parse_operand(parser *p, gi_value **out)
{
    if (take_word(p, "_")) {
        *out = NULL;
        return true;
    }
    if (take_word(p, "dense"))
        return parse_constant(p, out);
    const char *label, *its_name;
    if (!parse_label(p, &label, &its_name))
        return false;
    *out = gi_smap_get(&p->values, label);
    return *out ? true : wrong(p, "%%%s is not defined here", label);
}

/* ---- attributes ---- */

static bool parse_block(parser *p, gi_block *b, int depth);

typedef gi_vec(const char *) string_list;

static bool parse_strings(parser *p, string_list *v)
{
    if (!expect(p, '['))
        return false;
    while (!peek(p, ']')) {
        const char *s;
        if ((v->n && !expect(p, ',')) || !quoted(p, &s, NULL))
            return false;
        if (!gi_push(p->g->arena, v, s))
            return no_memory(p);
    }
    return expect(p, ']');
}

static bool parse_numbers(parser *p, gi_attr *a, bool floats)
{
    gi_vec(int64_t) ints = { 0 };
    gi_vec(float) reals = { 0 };
    if (!expect(p, '['))
        return false;
    while (!peek(p, ']')) {
        double x = 0;
        int64_t i = 0;
        if ((ints.n + reals.n && !expect(p, ',')) || !(floats ? number(p, &x) : integer(p, &i)))
            return false;
        if (floats ? !gi_push(p->g->arena, &reals, (float)x) : !gi_push(p->g->arena, &ints, i))
            return no_memory(p);
    }
    p->p++;
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
    const char *c = p->p + 1; /* behind the bracket */
    while (c < p->end && isspace((unsigned char)*c))
        c++;
    if (kind == GI_ATTR_STRINGS || (kind == GI_ATTR_NONE && c < p->end && *c == '"')) {
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
        const char *at = p->p;
        p->p = c;
        floats = looks_float(p);
        p->p = at;
    }
    return parse_numbers(p, a, floats);
}

/* One attribute's value; `kind` as the row says, GI_ATTR_NONE to go by its looks. */
static bool parse_attr(parser *p, gi_node *n, gi_attr *a, gi_attr_kind kind, int depth)
{
    if (take_word(p, "ints"))
        return parse_numbers(p, a, false);
    if (take_word(p, "floats"))
        return parse_numbers(p, a, true);
    if (take_word(p, "strings"))
        return parse_list(p, a, GI_ATTR_STRINGS);
    if (peek(p, '['))
        return parse_list(p, a, kind);
    if (take_word(p, "dense")) {
        const char *ignored;
        gi_blob *b;
        if (!parse_dense(p, &b, &ignored))
            return false;
        a->kind = GI_ATTR_TENSOR;
        a->u.tensor = b;
        return gi_push(p->g->arena, &p->g->blobs, b) ? true : no_memory(p);
    }
    if (take_word(p, "block")) {
        const char *its_name = NULL;
        if (peek(p, '"') && !quoted(p, &its_name, NULL))
            return false;
        gi_block *b = gi_block_create(p->g, n, its_name);
        if (!b)
            return no_memory(p);
        a->kind = GI_ATTR_GRAPH;
        a->u.graph = b;
        return parse_block(p, b, depth + 1);
    }
    if (peek(p, '"')) {
        size_t size;
        a->kind = GI_ATTR_STRING;
        if (!quoted(p, &a->u.s, &size))
            return false;
        a->n = (uint32_t)size;
        return true;
    }
    double x;
    if (kind == GI_ATTR_FLOAT || (kind == GI_ATTR_NONE && looks_float(p))) {
        a->kind = GI_ATTR_FLOAT;
        if (!number(p, &x))
            return false;
        a->u.f = (float)x;
        return true;
    }
    a->kind = GI_ATTR_INT;
    return integer(p, &a->u.i);
}

static bool parse_attrs(parser *p, gi_node *n, int depth)
{
    gi_vec(gi_attr) free_form = { 0 };
    const gi_op *row = gi_op_get(n->op);
    bool first = true;
    for (; !peek(p, '}'); first = false) {
        gi_attr a = { 0 };
        if ((!first && !expect(p, ',')) || !name(p, &a.name) || !expect(p, '='))
            return false;
        const int at = gi_op_find_attr(row, a.name);
        if (n->op != OP_Unknown && at < 0)
            return wrong(p, "%s has no attribute '%s'", row->name, a.name);
        if (!parse_attr(p, n, &a, at < 0 ? GI_ATTR_NONE : row->attrs[at].kind, depth))
            return false;
        if (at >= 0 && a.kind != row->attrs[at].kind)
            return wrong(p, "attribute '%s' of %s has another kind of value", a.name, row->name);
        if (at >= 0)
            n->attrs[at] = a;
        else if (!gi_push(p->g->arena, &free_form, a))
            return no_memory(p);
    }
    p->p++;
    if (n->op == OP_Unknown) {
        n->attrs = free_form.p;
        n->n_attrs = (uint32_t)free_form.n;
    }
    return true;
}

static bool parse_more(parser *p, gi_node *n)
{
    for (bool first = true; !peek(p, '}'); first = false) {
        const char *key = NULL;
        string_list v = { 0 };
        if ((!first && !expect(p, ',')) || !name(p, &key) || !expect(p, '='))
            return false;
        if (!strcmp(key, "scope") ? !quoted(p, &n->scope, NULL)
            : !strcmp(key, "doc") ? !quoted(p, &n->doc, NULL)
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
    p->p++;
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
    if (!name(p, op))
        return false;
    if (p->end - p->p > 1 && p->p[0] == ':' && p->p[1] == ':') {
        p->p += 2;
        *domain = *op;
        if (!name(p, op))
            return false;
    }
    if (strcmp(*op, "Fusion") != 0 || **domain || !take(p, '<'))
        return true;
    const char *kind = word(p);
    for (int k = 0; kind && k < GI_FUSION_KIND_COUNT; k++)
        if (!strcmp(gi_fusion_kind_name((gi_fusion_kind)k), kind))
            *fusion = (gi_fusion_kind)k;
    if (*fusion == GI_FUSION_NONE)
        return wrong(p, "there is no kind of fusion '%s'", kind ? kind : "");
    return expect(p, '>');
}

static bool starts_operand(parser *p)
{
    skip(p);
    if (p->p >= p->end)
        return false;
    return *p->p == '%' || (*p->p == '_' && (p->p + 1 >= p->end || !is_word(p->p[1]))) ||
           (p->end - p->p > 5 && !memcmp(p->p, "dense<", 6));
}

static bool parse_node(parser *p, gi_block *b, int depth)
{
    gi_vec(output) outs = { 0 };
    gi_vec(gi_value *) ins = { 0 };
    while (!peek(p, '=')) {
        output o = { 0 };
        if ((outs.n && !expect(p, ',')) || !parse_label(p, &o.label, &o.name) ||
            (take(p, ':') && !parse_type(p, 0, &o.type)))
            return false;
        if (!gi_push(p->scratch, &outs, o))
            return no_memory(p);
    }
    p->p++;
    const char *domain, *op;
    gi_fusion_kind fusion;
    if (!parse_op(p, &domain, &op, &fusion))
        return false;
    /* On the same line or the next, what stands first decides: an operand, or something else. A line that
     * starts with a label and holds '=' is the next node, so an operator without inputs must not take it. */
    const gi_opcode code = gi_op_find(domain, op);
    const gi_op *row = gi_op_get(code);
    const char *line_end = memchr(p->p, '\n', (size_t)(p->end - p->p));
    if (!line_end)
        line_end = p->end;
    bool more = starts_operand(p) && p->p < line_end;
    while (more) {
        gi_value *v;
        if (!parse_operand(p, &v))
            return false;
        if (!gi_push(p->scratch, &ins, v))
            return no_memory(p);
        more = take(p, ',');
    }
    gi_node *n = gi_node_create(b, NULL, code, (uint32_t)ins.n, ins.p, (uint32_t)outs.n);
    if (!n)
        return no_memory(p);
    if (code == OP_Unknown) {
        n->domain = domain;
        n->op_name = op;
        n->opset = gi_graph_opset(p->g, domain);
    }
    n->fusion = fusion;
    n->number = p->number++;
    if (take(p, '{') && !parse_attrs(p, n, depth))
        return false;
    if (take(p, '@') && (!quoted(p, &n->name, NULL) || !gi_node_add_origin(n, n->name)))
        return false;
    if (peek(p, '!')) {
        p->p++;
        if (!expect(p, '{') || !parse_more(p, n))
            return false;
    }
    for (int i = 0; i < row->n_attrs; i++)
        if (row->attrs[i].required && n->attrs[i].kind == GI_ATTR_NONE)
            return wrong(p, "%s needs the attribute '%s'", row->name, row->attrs[i].name);
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
    while (!peek(p, '}')) {
        gi_value *x;
        const char *as = NULL;
        if ((v.n && !expect(p, ',')) || !parse_operand(p, &x))
            return false;
        if (!x)
            return wrong(p, "a result cannot be absent");
        if (take_word(p, "as") && !quoted(p, &as, NULL))
            return false;
        if (as && !*as && !b->owner)
            return wrong(p, "an output of the graph needs a name that is not empty");
        if (!as && !b->owner)
            as = x->name ? x->name : gi_arena_printf(p->g->arena, "output_%zu", v.n);
        if (!gi_push(p->scratch, &v, x) || !gi_push(p->scratch, &names, as))
            return no_memory(p);
    }
    p->p++;
    const char *twice = NULL;
    if (!gi_block_set_results(b, (uint32_t)v.n, v.p, names.p) ||
        (!b->owner && !gi_graph_name_clash(p->g, p->scratch, &twice)))
        return no_memory(p);
    return !twice || wrong(p, "two values among inputs and outputs are named '%s'", twice);
}

static bool parse_block(parser *p, gi_block *b, int depth)
{
    if (depth > GI_TEXT_DEPTH)
        return wrong(p, "blocks nested deeper than %d", GI_TEXT_DEPTH);
    if (!expect(p, '('))
        return false;
    for (bool first = true; !peek(p, ')'); first = false) {
        const char *label, *its_name;
        const gi_type *t = NULL;
        if ((!first && !expect(p, ',')) || !parse_label(p, &label, &its_name) || !expect(p, ':') ||
            !parse_type(p, 0, &t))
            return false;
        if (!its_name && !b->owner)
            its_name = gi_arena_printf(p->g->arena, "input_%u", b->n_params);
        gi_value *v = gi_block_add_param(b, its_name, t);
        if (!v)
            return no_memory(p);
        if (!define(p, label, v))
            return false;
    }
    p->p++;
    if (!expect(p, '{'))
        return false;
    while (!take_word(p, "return"))
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
        return no_memory(p);
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
    while (!take_word(p, "graph")) {
        const char *a = "", *b;
        int64_t v;
        if (take_word(p, "opset")) {
            if ((peek(p, '"') && !quoted(p, &a, NULL)) || !integer(p, &v))
                return false;
            if (!*a && (v < 1 || v >= 10000))
                return wrong(p, "expected an opset from 1 to 9999");
            if (g->n_opsets == MOST_OPSETS)
                return wrong(p, "expected fewer opsets");
            if (!set_opset(p, a, v))
                return false;
        } else if (take_word(p, "ir_version")) {
            if (!integer(p, &g->ir_version))
                return false;
        } else if (take_word(p, "producer")) {
            if (!quoted(p, &g->producer, NULL) || !quoted(p, &g->producer_version, NULL))
                return false;
        } else if (take_word(p, "model")) {
            if (!quoted(p, &g->model_domain, NULL) || !integer(p, &g->model_version))
                return false;
        } else if (take_word(p, "doc")) {
            if (!quoted(p, &g->doc, NULL))
                return false;
        } else if (take_word(p, "meta")) {
            if (!quoted(p, &a, NULL) || !quoted(p, &b, NULL))
                return false;
            if (!gi_push(g->arena, &meta, a) || !gi_push(g->arena, &meta, b))
                return no_memory(p);
        } else {
            return wrong(p, "expected `graph`");
        }
    }
    g->meta = meta.p;
    g->n_meta = (uint32_t)meta.n / 2;
    return !peek(p, '"') || quoted(p, &g->name, NULL);
}

gopt_status gi_parse_attrs(gi_node *n, const char *text)
{
    gopt_graph *g = n->block->graph;
    parser p = { .cx = g->cx, .g = g, .number = 1, .scratch = gi_arena_create(g->cx) };
    GI_NEED(p.scratch);
    char *own = gi_arena_printf(p.scratch, "%s}", text);
    if (own) {
        p.start = p.p = own;
        p.end = own + strlen(own);
        gi_smap_init(&p.values, p.scratch);
        gi_smap_init(&p.constants, p.scratch);
        if (parse_attrs(&p, n, 0) && p.p < p.end)
            wrong(&p, "text behind the attributes: %s", p.p);
    } else {
        p.status = GOPT_NO_MEMORY;
    }
    gi_arena_destroy(p.scratch);
    return p.status;
}

gopt_status gi_parse(gopt_ctx *cx, const char *file, const char *text, size_t n, gopt_graph **out)
{
    parser p = { .cx = cx, .file = file, .number = 1 };
    GI_TRY(gi_graph_create(cx, &p.g));
    p.scratch = gi_arena_create(cx);
    /* numbers are read by strtoll and strtod, which need an end */
    char *own = p.scratch ? gi_arena_strn(p.scratch, text, n) : NULL;
    if (own) {
        p.start = p.p = own;
        p.end = own + n;
        p.g->file = gi_arena_str(p.g->arena, file);
        gi_smap_init(&p.values, p.scratch);
        gi_smap_init(&p.constants, p.scratch);
        if (parse_header(&p) && parse_block(&p, p.g->main, 0)) {
            skip(&p);
            if (p.p < p.end)
                wrong(&p, "text behind the graph's end");
        }
    } else {
        p.status = GOPT_NO_MEMORY;
    }
    gi_arena_destroy(p.scratch);
    if (p.status != GOPT_OK) {
        gopt_graph_destroy(p.g);
        return p.status;
    }
    *out = p.g;
    return GOPT_OK;
}
