/* What stands in a box: operator, name, the attributes that matter, and the weights folded into it.
 *
 * All text of the model is hostile: it is escaped for HTML-like labels, cut, and made UTF-8 here. */
#include "viz/picture.h"

/* ---- text ---- */

/* Bytes of the UTF-8 character at p; 0 where it is none, or a control character. */
static size_t character(const unsigned char *p)
{
    if (p[0] < 0x20 || p[0] == 0x7f)
        return 0;
    if (p[0] < 0x80)
        return 1;
    const size_t n = (p[0] >> 5) == 6 ? 2 : (p[0] >> 4) == 14 ? 3 : (p[0] >> 3) == 30 ? 4 : 0;
    if (!n || p[0] == 0xc0 || p[0] == 0xc1 || p[0] > 0xf4)
        return 0;
    for (size_t i = 1; i < n; i++)
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    /* overlong forms, surrogates, and what lies past U+10FFFF; U+FFFE and U+FFFF are no XML */
    if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f) || (p[0] == 0xf0 && p[1] < 0x90) ||
        (p[0] == 0xf4 && p[1] > 0x8f) || (p[0] == 0xef && p[1] == 0xbf && p[2] >= 0xbe) ||
        (p[0] == 0xc2 && p[1] < 0xa0))
        return 0;
    return n;
}

static size_t count_characters(const char *text)
{
    size_t n = 0;
    for (const unsigned char *p = (const unsigned char *)text; *p; n++) {
        const size_t k = character(p);
        p += k ? k : 1;
    }
    return n;
}

static void add_escaped(gi_str *s, const char *p, size_t n)
{
    switch (n ? *p : 0) {
    case 0:
        gi_str_add(s, "?");
        break;
    case '&':
        gi_str_add(s, "&amp;");
        break;
    case '<':
        gi_str_add(s, "&lt;");
        break;
    case '>':
        gi_str_add(s, "&gt;");
        break;
    case '"':
        gi_str_add(s, "&quot;");
        break;
    case '[': /* graphviz 2.42 and later read [ and ] well, but older ones end the label there */
        gi_str_add(s, "&#91;");
        break;
    case ']':
        gi_str_add(s, "&#93;");
        break;
    default:
        gi_str_addn(s, p, n);
    }
}

void gi_label_escape(gi_str *s, const char *text, size_t most)
{
    const size_t total = count_characters(text);
    const size_t head = total > most ? most / 3 : total, tail = total > most ? most - head - 1 : 0;
    size_t i = 0;
    for (const char *p = text; *p; i++) {
        const size_t n = character((const unsigned char *)p);
        if (i < head || i >= total - tail)
            add_escaped(s, p, n);
        else if (i == head)
            gi_str_add(s, "…");
        p += n ? n : 1;
    }
}

void gi_label_type(gi_str *s, const gi_type *t)
{
    gi_str text;
    gi_str_init(&text, s->arena);
    gi_type_print(&text, t);
    gi_label_escape(s, text.p ? text.p : "?", 48);
}

static const char *op_text(const gi_node *n)
{
    if (n->op == OP_Unknown)
        return n->op_name ? n->op_name : "?";
    const gi_op *row = gi_op_get(n->op);
    return row->onnx ? row->onnx : row->name;
}

/* ---- attributes ---- */

static bool all_are(const gi_attr *a, int64_t v)
{
    for (uint32_t i = 0; i < a->n; i++)
        if (a->u.ints[i] != v)
            return false;
    return true;
}

/* Is it what everyone expects, and so not worth showing? */
static bool is_usual(const gi_node *n, const gi_attr *a, const gi_op_attr *row)
{
    if (row && row->has_default) {
        if (a->kind == GI_ATTR_INT)
            return a->u.i == row->i;
        if (a->kind == GI_ATTR_FLOAT)
            return !(a->u.f < row->f || a->u.f > row->f);
        if (a->kind == GI_ATTR_STRING)
            return row->s && a->u.s && !strcmp(a->u.s, row->s);
    }
    if (a->kind != GI_ATTR_INTS)
        return false;
    if (!strcmp(a->name, "strides") || !strcmp(a->name, "dilations"))
        return all_are(a, 1);
    if (!strcmp(a->name, "kernel_shape") && n->op != OP_Unknown)
        return gi_kind_of(n) == GI_KIND_CONV; /* the weight's type says it */
    return !strcmp(a->name, "pads") && all_are(a, 0);
}

static const char *short_name(const char *name)
{
    static const char *const names[][2] = { { "kernel_shape", "kernel" },
                                            { "strides", "stride" },
                                            { "pads", "pad" },
                                            { "dilations", "dilation" },
                                            { "epsilon", "ε" } };
    for (size_t i = 0; i < GI_COUNT(names); i++)
        if (!strcmp(name, names[i][0]))
            return names[i][1];
    return name;
}

static void add_ints(gi_str *s, const gi_attr *a)
{
    const bool sizes = !strcmp(a->name, "kernel_shape") || !strcmp(a->name, "strides") || !strcmp(a->name, "dilations");
    const bool pads = !strcmp(a->name, "pads");
    if (a->n > 1 && (sizes || pads) && all_are(a, a->u.ints[0]) && !sizes) {
        gi_str_addf(s, "%lld", (long long)a->u.ints[0]);
        return;
    }
    for (uint32_t i = 0; i < a->n && i < 8; i++)
        gi_str_addf(s, "%s%lld", !i ? "" : sizes ? "×" : ",", (long long)a->u.ints[i]);
    if (a->n > 8)
        gi_str_add(s, ",…");
}

/* One attribute as "name value"; false where there is nothing worth showing. */
static bool add_attr(gi_str *s, const gi_node *n, const gi_attr *a, const gi_op_attr *row)
{
    if (a->kind == GI_ATTR_NONE || a->kind == GI_ATTR_GRAPH || !a->name || is_usual(n, a, row))
        return false;
    gi_label_escape(s, short_name(a->name), 20);
    gi_str_add(s, " ");
    switch (a->kind) {
    case GI_ATTR_INT:
        gi_str_addf(s, "%lld", (long long)a->u.i);
        break;
    case GI_ATTR_FLOAT:
        gi_str_addf(s, "%.4g", (double)a->u.f);
        break;
    case GI_ATTR_STRING:
        gi_label_escape(s, a->u.s ? a->u.s : "", 24);
        break;
    case GI_ATTR_INTS:
        add_ints(s, a);
        break;
    case GI_ATTR_FLOATS:
        gi_str_addf(s, "%u numbers", a->n);
        break;
    case GI_ATTR_STRINGS:
        gi_str_addf(s, "%u words", a->n);
        break;
    default:
        gi_str_add(s, "tensor");
    }
    return true;
}

static void add_attrs(gi_str *s, const gi_node *n)
{
    enum { MOST_ATTRS = 4 };
    const gi_op *row = n->op == OP_Unknown ? NULL : gi_op_get(n->op);
    int shown = 0;
    for (uint32_t i = 0; i < n->n_attrs && shown < MOST_ATTRS; i++) {
        gi_str one;
        gi_str_init(&one, s->arena);
        if (!add_attr(&one, n, &n->attrs[i], row && (int)i < row->n_attrs ? &row->attrs[i] : NULL) || !one.p)
            continue;
        gi_str_add(s, !shown ? "<TR><TD><FONT POINT-SIZE=\"9\">" : shown == 2 ? "<BR/>" : ", ");
        gi_str_addn(s, one.p, one.n);
        shown++;
    }
    if (shown)
        gi_str_add(s, "</FONT></TD></TR>");
}

/* ---- weights ---- */

static void add_contents(gi_str *s, const gi_blob *b, int64_t n)
{
    gi_str_add(s, b->rank ? "= &#91;" : "= ");
    for (int64_t i = 0; i < n; i++) {
        gi_str_add(s, i ? "," : "");
        if (gi_dtype_is_float(b->dtype))
            gi_str_addf(s, "%.4g", gi_load_f64(b->dtype, b->data, (size_t)i));
        else
            gi_str_addf(s, "%lld", (long long)gi_load_i64(b->dtype, b->data, (size_t)i));
    }
    gi_str_add(s, b->rank ? "&#93;" : "");
}

static void add_weight(gi_str *s, const char *name, const gi_value *v)
{
    const gi_blob *b = gi_value_blob(v);
    const int64_t n = b ? gi_blob_elements(b) : 0;
    const gi_dclass c = b ? gi_dtype_class(b->dtype) : GI_NONE;
    gi_str_add(s, "<TR><TD><FONT POINT-SIZE=\"9\" COLOR=\"#555555\">");
    if (name && *name) {
        gi_label_escape(s, name, 16);
        gi_str_add(s, " ");
    }
    if (b && c != GI_TEXT && c != GI_COMPLEX && c != GI_NONE && b->rank < 2 && n > 0 &&
        n <= (gi_dtype_is_float(b->dtype) ? 1 : 6))
        add_contents(s, b, n);
    else
        gi_label_type(s, v->type);
    if (!b && v->kind == GI_DEF_NODE && v->def.node) {
        gi_str_add(s, " by ");
        gi_label_escape(s, op_text(v->def.node), 16);
    }
    gi_str_add(s, "</FONT></TD></TR>");
}

static void add_weights(gi_str *s, const gi_picture *p, const gi_node *n)
{
    enum { MOST_WEIGHTS = 6 };
    const gi_op *row = n->op == OP_Unknown ? NULL : gi_op_get(n->op);
    int shown = 0;
    for (uint32_t i = 0; i < n->n_in && shown < MOST_WEIGHTS; i++) {
        const gi_value *v = n->in[i].value;
        if (!gi_value_blob(v) &&
            !(v && v->kind == GI_DEF_NODE && v->def.node && gi_map_get(&p->folded, gi_key(v->def.node))))
            continue;
        const bool named = row && (int)i < row->n_in && row->in[i].presence != GI_VARIADIC;
        add_weight(s, named ? row->in[i].name : NULL, v);
        shown++;
    }
}

/* ---- boxes ---- */

/* The last two parts of a path: "…/attn/MatMul_3" says where it is without saying it all. */
static const char *name_tail(const char *name)
{
    const char *cut[3] = { name, name, name };
    for (const char *p = name; *p; p++)
        if (*p == '/' && p[1]) {
            cut[0] = cut[1];
            cut[1] = cut[2];
            cut[2] = p + 1;
        }
    return cut[1] > name + 1 ? cut[1] : name;
}

static void add_name(gi_str *s, const char *name)
{
    const char *tail = name_tail(name);
    gi_str_add(s, "<TR><TD><FONT POINT-SIZE=\"9\" COLOR=\"#444444\">");
    if (tail != name)
        gi_str_add(s, "…/");
    gi_label_escape(s, tail, GI_NAME_MOST);
    gi_str_add(s, "</FONT></TD></TR>");
}

static void label_node(gi_str *s, const gi_picture *p, const gi_box *b)
{
    const gi_node *n = b->node;
    const char *domain = n->op == OP_Unknown ? n->domain : NULL;
    gi_str_add(s, "<TR><TD><B>");
    gi_label_escape(s, op_text(n), 28);
    gi_str_add(s, "</B>");
    if (b->unit)
        gi_str_addf(s, "<FONT POINT-SIZE=\"8\" COLOR=\"#777777\">&#160;%u</FONT>", b->unit);
    gi_str_add(s, "</TD></TR>");
    if (domain && *domain) {
        gi_str_add(s, "<TR><TD><FONT POINT-SIZE=\"9\">");
        gi_label_escape(s, domain, 28);
        gi_str_add(s, "</FONT></TD></TR>");
    }
    const char *name = n->name && *n->name ? n->name : n->n_origins ? n->origins[0] : NULL;
    if (name)
        add_name(s, name);
    add_attrs(s, n);
    add_weights(s, p, n);
}

typedef struct tally {
    const char *op;
    uint32_t count;
} tally;

static void label_group(gi_str *s, const gi_box *b)
{
    enum { MOST_OPS = 64, SHOWN_OPS = 4 };
    tally ops[MOST_OPS];
    size_t n = 0;
    for (size_t i = 0; i < b->group->nodes.n; i++) {
        const char *op = op_text(b->group->nodes.p[i]);
        size_t k = 0;
        while (k < n && strcmp(ops[k].op, op) != 0)
            k++;
        if (k == n && n < MOST_OPS)
            ops[n++] = (tally){ op, 0 };
        if (k < n)
            ops[k].count++;
    }
    gi_str_add(s, "<TR><TD><B>");
    const char *path = b->group->path + strspn(b->group->path, "/");
    gi_label_escape(s, *path ? name_tail(b->group->path) : "main", GI_NAME_MOST);
    gi_str_add(s, "</B>");
    if (b->unit)
        gi_str_addf(s, "<FONT POINT-SIZE=\"8\" COLOR=\"#777777\">&#160;%u</FONT>", b->unit);
    gi_str_addf(s, "</TD></TR><TR><TD><FONT POINT-SIZE=\"9\">%u nodes%s</FONT></TD></TR>", b->group->n_nodes,
                b->group->own ? " of its own" : "");
    gi_str_add(s, "<TR><TD><FONT POINT-SIZE=\"9\" COLOR=\"#555555\">");
    for (size_t shown = 0; shown < SHOWN_OPS && shown < n; shown++) {
        size_t most = shown;
        for (size_t k = shown; k < n; k++)
            if (ops[k].count > ops[most].count)
                most = k;
        const tally t = ops[most];
        ops[most] = ops[shown];
        ops[shown] = t;
        gi_str_add(s, !shown ? "" : shown == 2 ? ",<BR/>" : ", ");
        gi_label_escape(s, t.op, 24);
        gi_str_addf(s, " %u", t.count);
    }
    gi_str_add(s, n > SHOWN_OPS ? ", …</FONT></TD></TR>" : "</FONT></TD></TR>");
}

void gi_label_box(gi_str *s, const gi_picture *p, const gi_box *b)
{
    gi_str_add(s, "<TABLE BORDER=\"0\" CELLBORDER=\"0\" CELLSPACING=\"0\" CELLPADDING=\"1\">");
    if (b->kind == GI_BOX_NODE) {
        label_node(s, p, b);
    } else if (b->kind == GI_BOX_GROUP) {
        label_group(s, b);
    } else {
        gi_str_add(s, "<TR><TD><B>");
        gi_label_escape(s, b->name ? b->name : "?", GI_NAME_MOST);
        gi_str_add(s, "</B></TD></TR><TR><TD><FONT POINT-SIZE=\"9\">");
        gi_label_type(s, b->value->type);
        gi_str_add(s, "</FONT></TD></TR>");
    }
    gi_str_add(s, "</TABLE>");
}
