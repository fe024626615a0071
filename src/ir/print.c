/* The printer of the text form; text.h says what it looks like. */
#include <ctype.h>
#include <math.h>
#include <stdlib.h>

#include "ir/dim_number.h"
#include "ir/text.h"

typedef struct printer {
    const gopt_graph *g;
    gi_str *s;
    gi_arena *scratch;
    gi_print_options o;
    const char **labels; /* by value id */
    gi_smap taken;       /* name -> how often */
    uint32_t next_number;
    gi_dim_numbers dims;
} printer;

bool gi_text_plain(const char *name)
{
    if (!isalpha((unsigned char)*name) && *name != '_')
        return false;
    for (const char *p = name; *p; p++)
        if (!isalnum((unsigned char)*p) && *p != '_' && *p != '.')
            return false;
    return strcmp(name, "_") != 0;
}

static void indent(printer *p, int depth)
{
    for (int i = 0; i < depth; i++)
        gi_str_add(p->s, "  ");
}

static void print_name(gi_str *s, const char *name)
{
    if (gi_text_plain(name))
        gi_str_add(s, name);
    else
        gi_str_add_quoted(s, name);
}

/* Gives a value its label, in the order of definition. */
static const char *label_of(printer *p, const gi_value *v)
{
    if (p->labels[v->id])
        return p->labels[v->id];
    gi_str s;
    gi_str_init(&s, p->scratch);
    gi_str_add(&s, "%");
    if (!v->name || !*v->name) {
        gi_str_addf(&s, "%u", p->next_number++);
    } else {
        const uintptr_t seen = (uintptr_t)gi_smap_get(&p->taken, v->name) + 1;
        union {
            uintptr_t n;
            void *p;
        } count = { .n = seen };
        gi_smap_put(&p->taken, v->name, count.p);
        print_name(&s, v->name);
        if (seen > 1)
            gi_str_addf(&s, "#%llu", (unsigned long long)seen);
    }
    p->labels[v->id] = s.p ? s.p : "%";
    return p->labels[v->id];
}

static void print_float(gi_str *s, double x, int digits)
{
    if (isnan(x)) {
        gi_str_add(s, "nan");
        return;
    }
    if (isinf(x)) {
        gi_str_add(s, x < 0 ? "-inf" : "inf");
        return;
    }
    char text[40];
    snprintf(text, sizeof text, "%.*g", digits, x);
    gi_str_add(s, text);
    if (!strpbrk(text, ".e"))
        gi_str_add(s, ".0");
}

/* The shortest digits that give the same f32 back. */
static void print_f32(gi_str *s, float x)
{
    for (int digits = 6; digits < 9; digits++) {
        char text[40];
        snprintf(text, sizeof text, "%.*g", digits, (double)x);
        if (strtof(text, NULL) == x) {
            print_float(s, (double)x, digits);
            return;
        }
    }
    print_float(s, (double)x, 9);
}

static void print_bytes(gi_str *s, const char *p, size_t n)
{
    gi_str_add(s, "\"");
    for (size_t i = 0; i < n; i++) {
        const unsigned char c = (unsigned char)p[i];
        if (c == '"' || c == '\\')
            gi_str_addf(s, "\\%c", c);
        else if (c < 0x20 || c == 0x7f)
            gi_str_addf(s, "\\x%02x", c);
        else
            gi_str_addn(s, p + i, 1);
    }
    gi_str_add(s, "\"");
}

static void print_element(gi_str *s, const gi_blob *b, size_t i)
{
    switch (gi_dtype_class(b->dtype)) {
    case GI_TEXT: {
        const gopt_string *t = (const gopt_string *)b->data + i;
        print_bytes(s, t->p, t->n);
        break;
    }
    case GI_FLOAT: {
        const double x = gi_load_f64(b->dtype, b->data, i);
        if (b->dtype == GOPT_F32)
            print_f32(s, (float)x);
        else
            print_float(s, x, b->dtype == GOPT_F64 ? 17 : 9);
        break;
    }
    default:
        if (b->dtype == GOPT_U64)
            gi_str_addf(s, "%llu", (unsigned long long)gi_load_i64(b->dtype, b->data, i));
        else
            gi_str_addf(s, "%lld", (long long)gi_load_i64(b->dtype, b->data, i));
    }
}

static void print_dense(printer *p, gi_blob *b, const char *name)
{
    gi_str *s = p->s;
    const int64_t n = gi_blob_elements(b);
    gi_str_addf(s, "dense<%s[", gopt_dtype_name(b->dtype));
    for (int i = 0; i < b->rank; i++)
        gi_str_addf(s, "%s%lld", i ? "," : "", (long long)b->dims[i]);
    gi_str_add(s, "], ");
    if (gi_dtype_class(b->dtype) != GI_COMPLEX && (n <= GI_TEXT_INLINE || b->dtype == GOPT_STRING)) {
        if (b->rank)
            gi_str_add(s, "[");
        for (int64_t i = 0; i < n; i++) {
            if (i)
                gi_str_add(s, ",");
            print_element(s, b, (size_t)i);
        }
        if (b->rank)
            gi_str_add(s, "]");
    } else if (p->o.number) {
        uint64_t number = 0;
        s->failed |= !p->o.number(p->o.user, b, &number);
        gi_str_addf(s, "@%llu", (unsigned long long)number);
    } else if (p->o.contents) {
        gi_str_add(s, "0x");
        const uint8_t *bytes = b->data;
        static const char hex[] = "0123456789abcdef";
        for (size_t i = 0; i < b->bytes; i++) {
            const char two[2] = { hex[bytes[i] >> 4], hex[bytes[i] & 15] };
            gi_str_addn(s, two, 2);
        }
    } else {
        gi_str_addf(s, "#%llx", (unsigned long long)gi_blob_hash(b));
    }
    if (name && *name) {
        gi_str_add(s, ", ");
        gi_str_add_quoted(s, name);
    }
    gi_str_add(s, ">");
}

static void print_value(printer *p, const gi_value *v)
{
    if (!v)
        gi_str_add(p->s, "_");
    else if (v->kind == GI_DEF_CONST)
        print_dense(p, v->def.blob, v->name);
    else
        gi_str_add(p->s, label_of(p, v));
}

static void print_block(printer *p, const gi_block *b, int depth);

static void print_strings(gi_str *s, const char *const *v, uint32_t n)
{
    gi_str_add(s, "[");
    for (uint32_t i = 0; i < n; i++) {
        if (i)
            gi_str_add(s, ",");
        gi_str_add_quoted(s, v[i]);
    }
    gi_str_add(s, "]");
}

static void print_attr(printer *p, const gi_attr *a, int depth)
{
    gi_str *s = p->s;
    switch (a->kind) {
    case GI_ATTR_NONE:
        break;
    case GI_ATTR_INT:
        gi_str_addf(s, "%lld", (long long)a->u.i);
        break;
    case GI_ATTR_FLOAT:
        print_f32(s, a->u.f);
        break;
    case GI_ATTR_STRING:
        print_bytes(s, a->u.s, a->n);
        break;
    case GI_ATTR_TENSOR:
        print_dense(p, a->u.tensor, NULL);
        break;
    case GI_ATTR_GRAPH:
        print_block(p, a->u.graph, depth);
        break;
    case GI_ATTR_INTS:
        gi_str_add(s, a->n ? "[" : "ints[");
        for (uint32_t i = 0; i < a->n; i++)
            gi_str_addf(s, "%s%lld", i ? "," : "", (long long)a->u.ints[i]);
        gi_str_add(s, "]");
        break;
    case GI_ATTR_FLOATS:
        gi_str_add(s, a->n ? "[" : "floats[");
        for (uint32_t i = 0; i < a->n; i++) {
            if (i)
                gi_str_add(s, ",");
            print_f32(s, a->u.floats[i]);
        }
        gi_str_add(s, "]");
        break;
    case GI_ATTR_STRINGS:
        if (!a->n)
            gi_str_add(s, "strings");
        print_strings(s, a->u.strings, a->n);
        break;
    }
}

static void print_attrs(printer *p, const gi_node *n, int depth)
{
    bool any = false;
    for (uint32_t i = 0; i < n->n_attrs; i++) {
        if (n->attrs[i].kind == GI_ATTR_NONE)
            continue;
        gi_str_add(p->s, any ? ", " : " { ");
        print_name(p->s, n->attrs[i].name);
        gi_str_add(p->s, " = ");
        print_attr(p, &n->attrs[i], depth);
        any = true;
    }
    if (any)
        gi_str_add(p->s, " }");
}

/* The name, and what it does not say by itself. */
static void print_provenance(printer *p, const gi_node *n)
{
    gi_str *s = p->s;
    if (n->name && *n->name) {
        gi_str_add(s, " @");
        gi_str_add_quoted(s, n->name);
    }
    const bool own = n->n_origins == 1 && n->name && !strcmp(n->origins[0], n->name);
    const char *open = " !{ ";
    if (n->scope) {
        gi_str_addf(s, "%sscope = ", open);
        gi_str_add_quoted(s, n->scope);
        open = ", ";
    }
    if (n->n_origins && !own) {
        gi_str_addf(s, "%sorigins = ", open);
        print_strings(s, n->origins, n->n_origins);
        open = ", ";
    }
    if (n->doc && *n->doc) {
        gi_str_addf(s, "%sdoc = ", open);
        gi_str_add_quoted(s, n->doc);
        open = ", ";
    }
    if (n->n_meta) {
        gi_str_addf(s, "%smeta = ", open);
        print_strings(s, n->meta, 2 * n->n_meta);
        open = ", ";
    }
    if (*open == ',')
        gi_str_add(s, " }");
}

static void print_op(gi_str *s, const gi_node *n)
{
    if (n->domain && *n->domain) {
        print_name(s, n->domain);
        gi_str_add(s, "::");
    }
    print_name(s, n->op_name);
    if (n->op == OP_Fusion)
        gi_str_addf(s, "<%s>", gi_fusion_kind_name(n->fusion));
}

static void print_node(printer *p, const gi_node *n, int depth)
{
    gi_str *s = p->s;
    indent(p, depth);
    for (uint32_t i = 0; i < n->n_out; i++) {
        gi_str_add(s, i ? ", " : "");
        print_value(p, n->out[i]);
        if ((p->o.types || n->op == OP_Unknown) && n->out[i]->type) {
            gi_str_add(s, ": ");
            gi_type_print_numbered(s, n->out[i]->type, &p->dims);
        }
    }
    gi_str_add(s, n->n_out ? " = " : "= ");
    print_op(s, n);
    for (uint32_t i = 0; i < n->n_in; i++) {
        gi_str_add(s, i ? ", " : " ");
        print_value(p, n->in[i].value);
    }
    print_attrs(p, n, depth);
    print_provenance(p, n);
    gi_str_add(s, "\n");
}

static void print_params(printer *p, const gi_block *b)
{
    gi_str_add(p->s, "(");
    for (uint32_t i = 0; i < b->n_params; i++) {
        gi_str_add(p->s, i ? ", " : "");
        print_value(p, b->params[i]);
        gi_str_add(p->s, ": ");
        gi_type_print_numbered(p->s, b->params[i]->type, &p->dims);
    }
    gi_str_add(p->s, ") {\n");
}

static void print_body(printer *p, const gi_block *b, int depth)
{
    gi_str *s = p->s;
    for (const gi_node *n = b->first; n; n = n->next)
        print_node(p, n, depth + 1);
    indent(p, depth + 1);
    gi_str_add(s, "return");
    for (uint32_t i = 0; i < b->n_results; i++) {
        const gi_value *v = b->results[i].value;
        gi_str_add(s, i ? ", " : " ");
        print_value(p, v);
        const char *name = b->result_names[i];
        if (name && (!v || !v->name || strcmp(name, v->name) != 0 || v->kind == GI_DEF_CONST)) {
            gi_str_add(s, " as ");
            gi_str_add_quoted(s, name);
        }
    }
    gi_str_add(s, "\n");
    indent(p, depth);
    gi_str_add(s, "}");
}

static void print_block(printer *p, const gi_block *b, int depth)
{
    gi_str_add(p->s, "block ");
    if (b->name && *b->name) {
        gi_str_add_quoted(p->s, b->name);
        gi_str_add(p->s, " ");
    }
    print_params(p, b);
    print_body(p, b, depth);
}

static void print_header(printer *p)
{
    const gopt_graph *g = p->g;
    gi_str *s = p->s;
    for (uint32_t i = 0; i < g->n_opsets; i++) {
        const gi_opset *o = &g->opsets[i];
        if (!*o->domain && o->version == GI_TEXT_OPSET)
            continue;
        gi_str_add(s, "opset ");
        if (*o->domain) {
            gi_str_add_quoted(s, o->domain);
            gi_str_add(s, " ");
        }
        gi_str_addf(s, "%lld\n", (long long)o->version);
    }
    if (g->ir_version != GI_TEXT_IR_VERSION)
        gi_str_addf(s, "ir_version %lld\n", (long long)g->ir_version);
    if (g->producer && *g->producer) {
        gi_str_add(s, "producer ");
        gi_str_add_quoted(s, g->producer);
        gi_str_add(s, " ");
        gi_str_add_quoted(s, g->producer_version ? g->producer_version : "");
        gi_str_add(s, "\n");
    }
    if (g->model_version || (g->model_domain && *g->model_domain)) {
        gi_str_add(s, "model ");
        gi_str_add_quoted(s, g->model_domain ? g->model_domain : "");
        gi_str_addf(s, " %lld\n", (long long)g->model_version);
    }
    if (g->doc && *g->doc) {
        gi_str_add(s, "doc ");
        gi_str_add_quoted(s, g->doc);
        gi_str_add(s, "\n");
    }
    for (uint32_t i = 0; i < g->n_meta; i++) {
        gi_str_add(s, "meta ");
        gi_str_add_quoted(s, g->meta[2 * i]);
        gi_str_add(s, " ");
        gi_str_add_quoted(s, g->meta[2 * i + 1]);
        gi_str_add(s, "\n");
    }
}

gopt_status gi_print(const gopt_graph *g, const gi_print_options *o, gi_str *out)
{
    printer p = { .g = g, .s = out, .scratch = gi_arena_create(g->cx) };
    GI_NEED(p.scratch);
    if (o)
        p.o = *o;
    gi_smap_init(&p.taken, p.scratch);
    p.labels = GI_NEW_ARRAY(p.scratch, const char *, g->n_values ? g->n_values : 1);
    const bool ready = p.labels && gi_dim_numbers_init(&p.dims, p.scratch);
    if (ready) {
        print_header(&p);
        gi_str_add(out, "graph ");
        if (g->name && *g->name) {
            gi_str_add_quoted(out, g->name);
            gi_str_add(out, " ");
        }
        print_params(&p, g->main);
        print_body(&p, g->main, 0);
        gi_str_add(out, "\n");
    }
    const bool done = ready && !out->failed;
    gi_arena_destroy(p.scratch);
    return done ? GOPT_OK : GOPT_NO_MEMORY;
}

gopt_status gopt_gir_save(gopt_graph *g, const char *path)
{
    gi_arena *a = gi_arena_create(g->cx);
    GI_NEED(a);
    gi_str s;
    gi_str_init(&s, a);
    gopt_status st = gi_print(g, &(gi_print_options){ .types = true, .contents = true }, &s);
    if (st == GOPT_OK)
        st = gi_file_write(g->cx, path, s.p, s.n);
    gi_arena_destroy(a);
    return st;
}
