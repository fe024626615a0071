/* What several passes need. */
#include "passes/util.h"

#include <math.h>
#include <stdlib.h>

const char *gi_value_ref(const gi_value *v, gi_arena *a)
{
    char buffer[32];
    const gi_node *n = gi_value_node(v);
    if (n && n->n_out == 1 && n->name && n->name[0])
        return n->name;
    if (n && n->n_out == 1 && n->n_origins == 1)
        return n->origins[0];
    if (gi_value_blob(v) && !v->name) {
        gi_str s;
        gi_str_init(&s, a);
        gi_str_add(&s, "dense<");
        gi_type_print(&s, v->type);
        gi_str_add(&s, ">");
        return s.failed ? "dense" : s.p;
    }
    const char *label = v ? gi_value_label(v, buffer, sizeof buffer) : "nothing";
    const char *s = gi_arena_printf(a, "%s%s", !v || label[0] == '%' ? "" : "%", label);
    return s ? s : "a value";
}

const char *gi_node_label(const gi_node *n, gi_arena *a)
{
    if (n->name && n->name[0])
        return n->name;
    if (!n->n_origins)
        return n->n_out ? gi_value_ref(n->out[0], a) : gi_op_get(n->op)->name;
    gi_str s;
    gi_str_init(&s, a);
    const uint32_t told = n->n_origins > 5 ? 4 : n->n_origins;
    for (uint32_t i = 0; i < told; i++) {
        gi_str_add(&s, i ? ", " : "");
        gi_str_add(&s, n->origins[i]);
    }
    if (told < n->n_origins)
        gi_str_addf(&s, " and %u more", n->n_origins - told);
    return s.failed || !s.p ? n->origins[0] : s.p;
}

static const char *use_label(const gi_use *u, gi_arena *a)
{
    const gi_node *n = u->node;
    if (n && (!n->name || !n->name[0]) && n->n_origins)
        return n->origins[n->n_origins - 1]; /* one name a user: it stands in a list of them */
    if (n)
        return gi_node_label(n, a);
    const char *name = u->block->result_names ? u->block->result_names[u->index] : NULL;
    const char *s = gi_arena_printf(a, "%s %s", u->block->owner ? "block result" : "graph output", name ? name : "?");
    return s ? s : "an output";
}

/* Uses lie in no particular order: they are told in the order of node ids, results last. */
static int compare_uses(const void *x, const void *y)
{
    const gi_use *a = *(const gi_use *const *)x, *b = *(const gi_use *const *)y;
    const uint64_t ka = ((uint64_t)(a->node ? a->node->id : UINT32_MAX) << 32) | a->index;
    const uint64_t kb = ((uint64_t)(b->node ? b->node->id : UINT32_MAX) << 32) | b->index;
    return ka < kb ? -1 : ka > kb;
}

const char *gi_value_users(const gi_value *v, gi_arena *a)
{
    enum { MOST = 256 }; /* of a value that thousands read, which ones are told is of no matter */
    const gi_use **uses = GI_NEW_ARRAY(a, const gi_use *, MOST);
    if (!uses)
        return "several";
    uint32_t n = 0;
    for (const gi_use *u = v->uses; u && n < MOST; u = u->next)
        uses[n++] = u;
    qsort(uses, n, sizeof(gi_use *), compare_uses);
    gi_str s;
    gi_str_init(&s, a);
    const uint32_t told = n > 5 ? 4 : n;
    for (uint32_t i = 0; i < told; i++) {
        gi_str_add(&s, i ? ", " : "");
        gi_str_add(&s, use_label(uses[i], a));
    }
    if (told < n)
        gi_str_addf(&s, " and %u more", v->n_uses - told);
    return s.failed || !s.p ? "several" : s.p;
}

gi_node *gi_value_only_user(const gi_value *v)
{
    return v->n_uses == 1 ? v->uses->node : NULL;
}

bool gi_blob_all(const gi_blob *b, double x)
{
    if (!gi_dtype_is_float(b->dtype) && !gi_dtype_is_int(b->dtype))
        return false;
    const int64_t n = gi_blob_elements(b);
    const int bits = gopt_dtype_bits(b->dtype);
    for (int64_t i = 0; i < (bits < 8 ? n : gi_min_i64(n, 1)); i++) {
        const double e = gi_load_f64(b->dtype, b->data, (size_t)i);
        if (!(e == x) || signbit(e) != signbit(x))
            return false;
    }
    /* Numbers of one type that are the same, down to the sign of zero, have the same bits. */
    const size_t item = (size_t)bits / 8;
    return n > 0 && (bits < 8 || !memcmp(b->data, (const char *)b->data + item, b->bytes - item));
}

uint64_t gi_blob_greatest_bits(const gi_blob *b, size_t at, size_t n)
{
    uint64_t most = 0;
    if (b->dtype == GOPT_F64) {
        const uint64_t *p = (const uint64_t *)b->data + at;
        for (size_t i = 0; i < n; i++)
            most = (p[i] & INT64_MAX) > most ? p[i] & INT64_MAX : most;
    } else if (b->dtype == GOPT_F32) {
        const uint32_t *p = (const uint32_t *)b->data + at;
        uint32_t m = 0;
        for (size_t i = 0; i < n; i++)
            m = (p[i] & INT32_MAX) > m ? p[i] & INT32_MAX : m;
        most = m;
    } else {
        const uint16_t *p = (const uint16_t *)b->data + at;
        for (size_t i = 0; i < n; i++)
            most = (uint64_t)(p[i] & INT16_MAX) > most ? (uint64_t)(p[i] & INT16_MAX) : most;
    }
    return most;
}

bool gi_blob_is_finite(const gi_blob *b)
{
    const uint64_t infinity = b->dtype == GOPT_F64   ? 0x7ff0000000000000
                              : b->dtype == GOPT_F32 ? 0x7f800000
                              : b->dtype == GOPT_F16 ? 0x7c00
                                                     : 0x7f80;
    return gi_blob_greatest_bits(b, 0, (size_t)gi_blob_elements(b)) < infinity;
}

bool gi_value_is_zeros(const gi_value *v)
{
    enum { MAX_STEPS = 16 };
    for (int i = 0; v && i < MAX_STEPS; i++) {
        const gi_blob *b = gi_value_blob(v);
        if (b)
            return gi_blob_all(b, 0.0);
        const gi_node *n = gi_value_node(v);
        if (!n)
            return false;
        if (n->op == OP_ConstantOfShape) {
            const gi_blob *value = gi_attr_tensor(n, ConstantOfShape_at_value);
            return !value || gi_blob_all(value, 0.0);
        }
        if (n->op != OP_Slice && n->op != OP_Split && n->op != OP_Expand && n->op != OP_Transpose &&
            n->op != OP_Reshape && n->op != OP_Squeeze && n->op != OP_Unsqueeze && n->op != OP_Identity &&
            n->op != OP_Tile)
            return false;
        v = gi_node_in(n, 0);
    }
    return false;
}

bool gi_value_scalar(const gi_value *v, double *x)
{
    const gi_blob *b = gi_value_blob(v);
    if (!b || gi_blob_elements(b) != 1 || (!gi_dtype_is_float(b->dtype) && !gi_dtype_is_int(b->dtype)))
        return false;
    *x = gi_load_f64(b->dtype, b->data, 0);
    return true;
}

bool gi_value_ints(const gi_value *v, int64_t *out, uint32_t cap, uint32_t *n)
{
    const gi_blob *b = gi_value_blob(v);
    if (!b || !gi_dtype_is_int(b->dtype) || gi_blob_elements(b) > (int64_t)cap)
        return false;
    *n = (uint32_t)gi_blob_elements(b);
    for (uint32_t i = 0; i < *n; i++)
        out[i] = gi_load_i64(b->dtype, b->data, i);
    return true;
}

/* Is n never more than d? */
static bool is_at_most(gopt_graph *g, const gi_dim *n, const gi_dim *d)
{
    int64_t above;
    const gi_dim *more = n && d ? gi_dim_sub(g->dims, d, n) : NULL;
    return more && gi_dim_lower(more, &above) && above >= 0;
}

static bool constants_within(const gi_blob *b, const gi_dim *d)
{
    int64_t least;
    if (!gi_dtype_is_int(b->dtype) || gopt_dtype_bits(b->dtype) < 8 || !gi_dim_lower(d, &least))
        return false;
    for (int64_t i = 0; i < gi_blob_elements(b); i++) {
        const int64_t x = gi_load_i64(b->dtype, b->data, (size_t)i);
        if (x < 0 || x >= least)
            return false;
    }
    return true;
}

/* Of what n takes the place among, where it is an index: the reduced dim. */
static const gi_dim *reduced_dim(const gi_node *n, int at)
{
    int axis;
    const gi_value *x = gi_node_in(n, 0);
    return gi_axis(gi_attr_int(n, at), gi_value_rank(x), &axis) ? x->type->dims[axis] : NULL;
}

bool gi_indices_within(gopt_graph *g, const gi_value *v, const gi_dim *d)
{
    enum { MAX_DEPTH = 16 };
    for (int depth = 0; v && d && depth < MAX_DEPTH; depth++) {
        const gi_node *n = gi_value_node(v);
        double start, delta;
        if (gi_value_blob(v))
            return constants_within(gi_value_blob(v), d);
        if (!n)
            return false;
        switch (n->op) {
        case OP_ArgMax:
            return is_at_most(g, reduced_dim(n, ArgMax_at_axis), d);
        case OP_ArgMin:
            return is_at_most(g, reduced_dim(n, ArgMin_at_axis), d);
        case OP_TopK:
            return v->index == TopK_out_Indices && is_at_most(g, reduced_dim(n, TopK_at_axis), d);
        case OP_Range:
            return gi_value_rank(v) == 1 && gi_value_scalar(gi_node_in(n, Range_in_start), &start) && start == 0 &&
                   gi_value_scalar(gi_node_in(n, Range_in_delta), &delta) && delta == 1 &&
                   is_at_most(g, v->type->dims[0], d);
        case OP_Identity:
        case OP_Reshape:
        case OP_Squeeze:
        case OP_Unsqueeze:
        case OP_Flatten:
        case OP_Transpose:
        case OP_Expand:
        case OP_Tile:
        case OP_Slice:
        case OP_Gather:
            v = gi_node_in(n, 0);
            break;
        case OP_Cast: /* of integers to those that hold all others' places */
            if (!gi_dtype_is_int(gi_value_dtype(gi_node_in(n, 0))) || gi_value_dtype(v) != GOPT_I64)
                return false;
            v = gi_node_in(n, 0);
            break;
        default:
            return false;
        }
    }
    return false;
}

bool gi_value_known_ints(gi_value *v, int64_t *out, uint32_t cap, uint32_t *n)
{
    if (gi_value_ints(v, out, cap, n))
        return true;
    uint32_t count = 0;
    const gi_dim *const *known = v ? gi_value_known(v, &count) : NULL;
    if (!known || count > cap)
        return false;
    for (uint32_t i = 0; i < count; i++)
        if (!gi_dim_is_const(known[i], &out[i]))
            return false;
    *n = count;
    return true;
}

uint64_t gi_blob_sample(const gi_blob *b)
{
    uint64_t h = gi_hash(b->dims, (size_t)b->rank * sizeof *b->dims, (uint64_t)b->dtype + 1);
    if (b->dtype == GOPT_STRING)
        return h;
    const uint8_t *p = b->data;
    if (b->bytes <= 1024)
        return gi_hash(p, b->bytes, h);
    for (size_t i = 0; i <= 8; i++)
        h = gi_hash(p + (b->bytes - 64) / 8 * i, 64, h);
    return h;
}

/* ---- constants by contents ---- */

/* Most weights of one shape differ in their first bytes, so a sample tells them apart, and the pages of a mapped file
 * that nobody else needs are not read for this. Where many samples agree and contents do not, as in a list of one-hot
 * rows, whole contents are hashed. */
enum { LONG_CHAIN = 8 };

typedef struct constant {
    gi_value *v;
    struct constant *next;
    uint32_t length; /* of the chain from here on */
} constant;

void gi_constants_init(gi_constants *c, gi_arena *a)
{
    c->arena = a;
    gi_map_init(&c->by_sample, a);
    gi_map_init(&c->by_hash, a);
    gi_map_init(&c->known, a);
}

static gi_value *find_equal(const constant *first, const gi_value *v)
{
    for (const constant *k = first; k; k = k->next)
        if (gi_blob_equal(k->v->def.blob, v->def.blob))
            return k->v;
    return NULL;
}

gi_value *gi_constants_first(gi_constants *c, gi_value *v)
{
    gi_value *same = gi_map_get(&c->known, (uint64_t)v->id + 1);
    if (same)
        return same;
    gi_map *in = &c->by_sample;
    uint64_t key = gi_blob_sample(v->def.blob);
    constant *first = gi_map_get(in, key);
    same = find_equal(first, v);
    if (!same && first && first->length >= LONG_CHAIN) {
        in = &c->by_hash;
        key = gi_blob_hash(v->def.blob);
        first = gi_map_get(in, key);
        same = find_equal(first, v);
    }
    if (!same) {
        constant *k = GI_NEW(c->arena, constant);
        if (!k)
            return NULL;
        *k = (constant){ .v = same = v, .next = first, .length = first ? first->length + 1 : 1 };
        if (!gi_map_put(in, key, k))
            return NULL;
    }
    return gi_map_put(&c->known, (uint64_t)v->id + 1, same) ? same : NULL;
}

gopt_status gi_blob_concat(gopt_ctx *cx, gi_blob *const *parts, size_t n, int axis, gi_blob **out)
{
    int64_t dims[GOPT_MAX_RANK], outer = 1;
    const int rank = parts[0]->rank;
    memcpy(dims, parts[0]->dims, (size_t)rank * sizeof *dims);
    dims[axis] = 0;
    for (size_t i = 0; i < n; i++)
        if (parts[i]->dtype != parts[0]->dtype || !gi_add_i64(dims[axis], parts[i]->dims[axis], &dims[axis]))
            return GOPT_UNSUPPORTED;
    for (int i = 0; i < axis; i++)
        outer *= dims[i]; /* no overflow: the parts exist */
    if (outer <= 0)
        return GOPT_UNSUPPORTED;
    GI_TRY(gi_blob_create(cx, parts[0]->dtype, rank, dims, out));
    uint8_t *to = (*out)->owned;
    for (int64_t o = 0; o < outer; o++)
        for (size_t i = 0; i < n; i++) {
            const size_t run = parts[i]->bytes / (size_t)outer;
            memcpy(to, (const uint8_t *)parts[i]->data + (size_t)o * run, run);
            to += run;
        }
    return GOPT_OK;
}

int64_t gi_value_dim(const gi_value *v, int i)
{
    int64_t d;
    return gi_value_rank(v) >= 0 && gi_type_dim_const(v->type, i, &d) ? d : -1;
}

bool gi_type_same(gopt_graph *g, const gi_type *a, const gi_type *b)
{
    if (!a || !b || a->kind != b->kind)
        return false;
    if (a->kind != GOPT_TENSOR)
        return a == b;
    if (a->dtype != b->dtype || a->dtype == GOPT_UNDEFINED || a->rank != b->rank || a->rank < 0)
        return false;
    for (int i = 0; i < a->rank; i++)
        if (gi_dim_equal(g->dims, a->dims[i], b->dims[i]) != 1)
            return false;
    return true;
}

bool gi_type_differs(const gi_type *a, const gi_type *b)
{
    if (!a || !b)
        return false;
    if (a->kind != b->kind || a->key != b->key)
        return true;
    if (a->kind != GOPT_TENSOR)
        return a->elem && b->elem && gi_type_differs(a->elem, b->elem);
    if (a->dtype != b->dtype && a->dtype != GOPT_UNDEFINED && b->dtype != GOPT_UNDEFINED)
        return true;
    if (a->rank < 0 || b->rank < 0)
        return false;
    if (a->rank != b->rank)
        return true;
    for (int i = 0; i < a->rank; i++) {
        int64_t x, y;
        if (gi_dim_is_const(a->dims[i], &x) && gi_dim_is_const(b->dims[i], &y) && x != y)
            return true;
    }
    return false;
}

void gi_value_refine(gopt_graph *g, gi_value *v, const gi_type *t)
{
    if (!t || v->type == t)
        return;
    const gi_type *own = v->type;
    if (!own || own->kind != GOPT_TENSOR || t->kind != GOPT_TENSOR || own->rank < 0) {
        gi_value_set_type(v, t);
        return;
    }
    if (t->rank != own->rank)
        return;
    const gi_dim *dims[GOPT_MAX_RANK];
    for (int i = 0; i < own->rank; i++)
        dims[i] = gi_dim_is_unknown(own->dims[i]) ? t->dims[i] : own->dims[i];
    const gi_type *merged =
        gi_type_tensor(g->types, own->dtype == GOPT_UNDEFINED ? t->dtype : own->dtype, own->rank, dims);
    if (merged)
        gi_value_set_type(v, merged);
}

bool gi_value_is_result(const gi_value *v)
{
    return v->n_result_uses > 0;
}

bool gi_value_may_replace(const gi_value *from, const gi_value *to, const char **why)
{
    for (const gi_use *u = gi_value_is_result(from) ? from->uses : NULL; u; u = u->next) {
        if (u->node || (u->block->owner && u->block->owner->op == OP_Fusion))
            continue;
        const gi_node *n = gi_value_node(to);
        if (!n || n->block != u->block)
            *why = "its result is an output, and would become an input or a constant";
        else if (gi_value_is_result(to))
            *why = "its result is an output, and so is what it would become";
        else
            continue;
        return false;
    }
    return true;
}

bool gi_value_replace(gi_value *from, gi_value *to, gi_node *before)
{
    const char *why;
    if (!gi_value_may_replace(from, to, &why)) {
        const gi_node *n = gi_value_node(from);
        gi_node *id = gi_build(before->block, before, OP_Identity, 1, &to);
        if (!id)
            return false;
        if (n)
            gi_node_merge_origins(id, n);
        gi_value_refine(before->block->graph, id->out[0], from->type);
        for (gi_use *u = from->uses, *next; u; u = next) {
            next = u->next;
            if (!u->node)
                gi_block_set_result(u->block, u->index, id->out[0]);
        }
        gi_value_take_name(id->out[0], from);
    }
    gi_value_replace_uses(from, to);
    return true;
}

void gi_value_take_name(gi_value *to, gi_value *from)
{
    if (to->name || !from->name || to->kind != GI_DEF_NODE)
        return;
    to->name = from->name;
    from->name = NULL;
}

bool gi_node_is_removable(const gi_node *n)
{
    return n->n_out > 0;
}

static bool is_dead(const gi_node *n)
{
    if (!n->block || !gi_node_is_removable(n))
        return false;
    for (uint32_t i = 0; i < n->n_out; i++)
        if (n->out[i]->n_uses)
            return false;
    return true;
}

int64_t gi_remove_dead(gi_node *n, gi_arena *scratch)
{
    gi_vec(gi_node *) todo = { 0 };
    int64_t removed = 0;
    if (!gi_push(scratch, &todo, n))
        return 0;
    while (todo.n) {
        n = todo.p[--todo.n];
        if (!is_dead(n))
            continue;
        gi_values used = { 0 };
        for (uint32_t i = 0; i < n->n_in; i++)
            if (gi_value_node(n->in[i].value))
                (void)gi_push(scratch, &used, n->in[i].value);
        if (gi_op_get(n->op)->traits & GI_CONTROL)
            (void)gi_node_captures(n, scratch, &used);
        gi_node_remove(n);
        removed++;
        for (size_t i = 0; i < used.n; i++)
            if (gi_value_node(used.p[i]))
                (void)gi_push(scratch, &todo, used.p[i]->def.node);
    }
    return removed;
}

bool gi_block_within(const gi_block *b, const gi_block *outer)
{
    for (; b; b = b->owner ? b->owner->block : NULL)
        if (b == outer)
            return true;
    return false;
}
