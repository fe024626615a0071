/* What stands in a box, as lines of text: operator, name, the attributes that matter, and the weights folded into it.
 * The lines are clean (text.c) but not escaped: dot.c and draw.c do that. */
#include "viz/picture.h"

/* ---- lines ---- */

/* What is written now, and how. */
typedef struct pen {
    gi_arena *arena;
    gi_label *label;
    bool failed;
} pen;

static void new_line(pen *p)
{
    p->failed |= !gi_push(p->arena, &p->label->lines, (gi_line){ 0 });
}

/* Adds to the last line; the text is clean. */
static void add_run(pen *p, gi_text_style style, const char *text)
{
    if (!text || !p->label->lines.n) {
        p->failed = true;
        return;
    }
    gi_line *line = &p->label->lines.p[p->label->lines.n - 1];
    p->failed |= !gi_push(p->arena, &line->runs, (gi_run){ text, style });
}

static void add_line(pen *p, gi_text_style style, const char *text)
{
    new_line(p);
    add_run(p, style, text);
}

/* Text of the model's, cut. */
static const char *clip(pen *p, const char *text, size_t most)
{
    gi_str s;
    gi_str_init(&s, p->arena);
    gi_text_clip(&s, text, most);
    p->failed |= s.failed;
    return s.p ? s.p : "";
}

const gi_text_look *gi_text_look_of(gi_text_style style)
{
    static const gi_text_look looks[] = {
        [GI_TEXT_OP] = { 11, true, "#101418" },           [GI_TEXT_NAME] = { 9, false, "#3c434b" },
        [GI_TEXT_ATTR] = { 9, false, "#101418" },         [GI_TEXT_WEIGHT] = { 9, false, "#3c434b" },
        [GI_TEXT_UNIT] = { 8, false, "#3c434b" },         [GI_TEXT_INVERSE] = { 11, true, "#ffffff" },
        [GI_TEXT_INVERSE_TYPE] = { 9, false, "#ffffff" },
    };
    return &looks[style];
}

const char *gi_label_type(gi_arena *a, const gi_type *t)
{
    gi_str text, cut;
    gi_str_init(&text, a);
    gi_str_init(&cut, a);
    gi_type_print(&text, t);
    gi_text_clip(&cut, text.p ? text.p : "?", 48);
    return cut.p && !text.failed ? cut.p : "?";
}

const char *gi_op_name(const gi_node *n)
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
    gi_text_clip(s, short_name(a->name), 20);
    gi_str_add(s, " ");
    switch (a->kind) {
    case GI_ATTR_INT:
        gi_str_addf(s, "%lld", (long long)a->u.i);
        break;
    case GI_ATTR_FLOAT:
        gi_str_addf(s, "%.4g", (double)a->u.f);
        break;
    case GI_ATTR_STRING:
        gi_text_clip(s, a->u.s ? a->u.s : "", 24);
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

/* Two to a line. */
static void add_attrs(pen *p, const gi_node *n)
{
    enum { MOST_ATTRS = 4 };
    const gi_op *row = n->op == OP_Unknown ? NULL : gi_op_get(n->op);
    gi_str line;
    int shown = 0;
    for (uint32_t i = 0; i < n->n_attrs && shown < MOST_ATTRS; i++) {
        gi_str one;
        gi_str_init(&one, p->arena);
        if (!add_attr(&one, n, &n->attrs[i], row && (int)i < row->n_attrs ? &row->attrs[i] : NULL) || !one.p)
            continue;
        if (shown++ % 2) {
            gi_str_addf(&line, ", %s", one.p);
            add_line(p, GI_TEXT_ATTR, line.p);
        } else {
            line = one;
        }
    }
    if (shown % 2)
        add_line(p, GI_TEXT_ATTR, line.p);
}

/* ---- weights ---- */

static void add_contents(gi_str *s, const gi_blob *b, int64_t n)
{
    gi_str_add(s, b->rank ? "= [" : "= ");
    for (int64_t i = 0; i < n; i++) {
        gi_str_add(s, i ? "," : "");
        if (gi_dtype_is_float(b->dtype))
            gi_str_addf(s, "%.4g", gi_load_f64(b->dtype, b->data, (size_t)i));
        else
            gi_str_addf(s, "%lld", (long long)gi_load_i64(b->dtype, b->data, (size_t)i));
    }
    gi_str_add(s, b->rank ? "]" : "");
}

/* What a weight is: its few numbers, or its type. */
static const char *weight_text(pen *p, const gi_value *v)
{
    const gi_blob *b = gi_value_blob(v);
    const int64_t n = b ? gi_blob_elements(b) : 0;
    const gi_dclass c = b ? gi_dtype_class(b->dtype) : GI_NONE;
    gi_str s;
    gi_str_init(&s, p->arena);
    if (b && c != GI_TEXT && c != GI_COMPLEX && c != GI_NONE && b->rank < 2 && n > 0 &&
        n <= (gi_dtype_is_float(b->dtype) ? 1 : 6))
        add_contents(&s, b, n);
    else
        gi_str_add(&s, gi_label_type(p->arena, v->type));
    if (!b && v->kind == GI_DEF_NODE && v->def.node) {
        gi_str_add(&s, " by ");
        gi_text_clip(&s, gi_op_name(v->def.node), 16);
    }
    p->failed |= s.failed;
    return s.p ? s.p : "?";
}

static bool is_weight(const gi_picture *p, const gi_value *v)
{
    return gi_value_blob(v) ||
           (v && v->kind == GI_DEF_NODE && v->def.node && gi_map_get(&p->folded, gi_key(v->def.node)));
}

/* Names of inputs i and on that are of the same type, with it: "scale, B f32[64]". Returns the last input. */
static uint32_t add_alike(pen *p, gi_str *s, const gi_picture *picture, const gi_node *n, uint32_t i)
{
    const gi_op *row = n->op == OP_Unknown ? NULL : gi_op_get(n->op);
    const char *what = weight_text(p, n->in[i].value);
    for (;; i++) {
        const bool named = row && (int)i < row->n_in && row->in[i].presence != GI_VARIADIC;
        if (named)
            gi_text_clip(s, row->in[i].name, 16);
        if (!named || i + 1 >= n->n_in || !is_weight(picture, n->in[i + 1].value) ||
            strcmp(what, weight_text(p, n->in[i + 1].value)) != 0) {
            gi_str_addf(s, "%s%s", named ? " " : "", what);
            return i;
        }
        gi_str_add(s, ", ");
    }
}

/* As many to a line as fit. */
static void add_weights(pen *p, const gi_picture *picture, const gi_node *n)
{
    enum { MOST_WEIGHTS = 4, LINE = 34 };
    gi_str line;
    gi_str_init(&line, p->arena);
    int shown = 0;
    for (uint32_t i = 0; i < n->n_in && shown < MOST_WEIGHTS; i++) {
        if (!is_weight(picture, n->in[i].value))
            continue;
        gi_str s;
        gi_str_init(&s, p->arena);
        i = add_alike(p, &s, picture, n, i);
        shown++;
        if (line.p && line.n + s.n > LINE) {
            add_line(p, GI_TEXT_WEIGHT, line.p);
            gi_str_init(&line, p->arena);
        }
        gi_str_addf(&line, "%s%s", line.p ? "; " : "", s.p ? s.p : "?");
        p->failed |= line.failed || s.failed;
    }
    if (line.p)
        add_line(p, GI_TEXT_WEIGHT, line.p);
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

static const char *tail_text(pen *p, const char *name)
{
    const char *tail = name_tail(name), *text = clip(p, tail, GI_NAME_MOST);
    return tail != name ? gi_arena_printf(p->arena, "…/%s", text) : text;
}

static void add_unit(pen *p, const gi_box *b)
{
    if (b->unit)
        add_run(p, GI_TEXT_UNIT, gi_arena_printf(p->arena, " %u", b->unit));
}

static void label_node(pen *p, const gi_picture *picture, const gi_box *b)
{
    const gi_node *n = b->node;
    const char *domain = n->op == OP_Unknown ? n->domain : NULL;
    add_line(p, GI_TEXT_OP, clip(p, gi_op_name(n), 28));
    add_unit(p, b);
    if (domain && *domain)
        add_line(p, GI_TEXT_NAME, clip(p, domain, 28));
    const char *name = n->name && *n->name ? n->name : n->n_origins ? n->origins[0] : NULL;
    if (name)
        add_line(p, GI_TEXT_NAME, tail_text(p, name));
    add_attrs(p, n);
    add_weights(p, picture, n);
}

typedef struct tally {
    const char *op;
    uint32_t count;
} tally;

enum { MOST_OPS = 64 };

static void count_op(tally *ops, size_t *n, const gi_node *node)
{
    const char *op = gi_op_name(node);
    size_t k = 0;
    while (k < *n && strcmp(ops[k].op, op) != 0)
        k++;
    if (k == *n && *n < MOST_OPS)
        ops[(*n)++] = (tally){ op, 0 };
    if (k < *n)
        ops[k].count++;
}

/* Operators of the group's nodes by number, most first, two to a line; of fusions those inside. */
static void add_tally(pen *p, const gi_group *g)
{
    enum { SHOWN_OPS = 4 };
    tally ops[MOST_OPS];
    size_t n = 0;
    for (size_t i = 0; i < g->nodes.n; i++) {
        const gi_node *node = g->nodes.p[i];
        const gi_block *inside = node->op == OP_Fusion ? gi_fusion_block(node) : NULL;
        if (!inside)
            count_op(ops, &n, node);
        for (const gi_node *k = inside ? inside->first : NULL; k; k = k->next)
            count_op(ops, &n, k);
    }
    gi_str line;
    gi_str_init(&line, p->arena);
    for (size_t shown = 0; shown < SHOWN_OPS && shown < n; shown++) {
        size_t most = shown;
        for (size_t k = shown; k < n; k++)
            if (ops[k].count > ops[most].count)
                most = k;
        const tally t = ops[most];
        ops[most] = ops[shown];
        ops[shown] = t;
        const bool last = shown + 1 == n, cut = shown + 1 == SHOWN_OPS && !last;
        gi_text_clip(&line, t.op, 24);
        gi_str_addf(&line, " %u%s", t.count, last ? "" : cut ? ", …" : ", ");
        if (shown % 2 || last) {
            add_line(p, GI_TEXT_NAME, line.p);
            gi_str_init(&line, p->arena);
        }
    }
}

static const char *scope_text(pen *p, const char *path, size_t length)
{
    const char *copy = gi_arena_strn(p->arena, path, length);
    const char *tail = copy ? name_tail(copy) : "";
    tail += strspn(tail, "/");
    return *tail ? clip(p, tail, GI_NAME_MOST) : "main";
}

/* Where a part begins and ends: the scopes of its first node and its last. */
static const char *part_text(pen *p, const gi_group *g)
{
    size_t n, m;
    const char *a = gi_scope_of(g->nodes.p[0], &n), *b = gi_scope_of(g->nodes.p[g->nodes.n - 1], &m);
    const char *from = scope_text(p, a, n), *to = scope_text(p, b, m);
    return strcmp(from, to) ? gi_arena_printf(p->arena, "%s … %s", from, to) : from;
}

static void label_group(pen *p, const gi_box *b)
{
    const gi_group *g = b->group;
    const bool part = g->parts > 1;
    add_line(p, GI_TEXT_OP, part ? part_text(p, g) : scope_text(p, g->path, strlen(g->path)));
    add_unit(p, b);
    const char *what = part     ? gi_arena_printf(p->arena, ", part %u of %u", g->part, g->parts)
                       : g->own ? " of its own"
                                : "";
    add_line(p, GI_TEXT_ATTR, gi_arena_printf(p->arena, "%u nodes%s", g->n_nodes, what ? what : ""));
    add_tally(p, g);
}

gopt_status gi_label_box(gi_arena *a, const gi_picture *picture, const gi_box *b, gi_label *label)
{
    *label = (gi_label){ 0 };
    pen p = { .arena = a, .label = label };
    if (b->kind == GI_BOX_NODE) {
        label_node(&p, picture, b);
    } else if (b->kind == GI_BOX_GROUP) {
        label_group(&p, b);
    } else {
        add_line(&p, GI_TEXT_INVERSE, clip(&p, b->name ? b->name : "?", GI_NAME_MOST));
        add_line(&p, GI_TEXT_INVERSE_TYPE, gi_label_type(a, b->value->type));
    }
    return p.failed ? GOPT_NO_MEMORY : GOPT_OK;
}
