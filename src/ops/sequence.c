/* Sequences and optionals. They hold references: making one copies no elements but borrowed ones. */
#include "ops/eval.h"
#include "ops/infer.h"

/* ---- making and reading ---- */

static gopt_status append(gi_eval *a, gopt_tensor *s, const gopt_tensor *item)
{
    GI_TRY(gi_tensor_keep(a->cx, item, &s->items[s->n_items]));
    s->n_items++;
    return GOPT_OK;
}

/* Gives `s` as the output, or drops it where something failed. */
static gopt_status give(gi_eval *a, gopt_tensor *s, gopt_status st)
{
    if (st == GOPT_OK)
        return gi_eval_out_tensor(a, 0, s);
    gopt_tensor_unref(s);
    return st;
}

/* Input i as a sequence; an optional that holds one counts. */
static gopt_status sequence_in(gi_eval *a, uint32_t i, const gopt_tensor **s)
{
    const gopt_tensor *t = a->in[i];
    if (t->kind == GOPT_OPTIONAL && t->n_items == 1)
        t = t->items[0];
    if (t->kind != GOPT_SEQUENCE)
        return gi_eval_fail(a, (int)i, "expected a sequence");
    *s = t;
    return GOPT_OK;
}

/* A position from an input, negative from the end; `fallback` where it is absent. It must lie in 0 … most. */
static gopt_status position_in(gi_eval *a, uint32_t i, size_t length, int64_t fallback, int64_t most, size_t *at)
{
    const gopt_tensor *t = i < a->n_in ? a->in[i] : NULL;
    if (t && (t->kind != GOPT_TENSOR || !gi_dtype_is_int(t->dtype) || gopt_tensor_elements(t) != 1))
        return gi_eval_fail(a, (int)i, "expected one integer");
    const int64_t given = t ? gi_tensor_i64(t, 0) : fallback;
    const int64_t p = given < 0 && given >= -(int64_t)length ? given + (int64_t)length : given;
    if (p < 0 || p > most)
        return gi_eval_fail(a, (int)i, "position %lld lies outside a sequence of %zu", (long long)given, length);
    *at = (size_t)p;
    return GOPT_OK;
}

/* ---- sequences ---- */

static gopt_status eval_construct(gi_eval *a)
{
    gopt_tensor *s;
    GI_TRY(gi_tensor_container(a->cx, GOPT_SEQUENCE, a->n_in, &s));
    gopt_status st = GOPT_OK;
    for (uint32_t i = 0; i < a->n_in && st == GOPT_OK; i++)
        st = a->in[i] ? append(a, s, a->in[i]) : gi_eval_fail(a, (int)i, "it is missing");
    return give(a, s, st);
}

static gopt_status eval_empty(gi_eval *a)
{
    gopt_tensor *s;
    GI_TRY(gi_tensor_container(a->cx, GOPT_SEQUENCE, 0, &s));
    return give(a, s, GOPT_OK);
}

static gopt_status eval_at(gi_eval *a)
{
    const gopt_tensor *s = NULL;
    gopt_tensor *t;
    size_t at;
    GI_TRY(sequence_in(a, SequenceAt_in_input_sequence, &s));
    GI_TRY(position_in(a, SequenceAt_in_position, s->n_items, 0, (int64_t)s->n_items - 1, &at));
    GI_TRY(gi_tensor_keep(a->cx, s->items[at], &t));
    return gi_eval_out_tensor(a, 0, t);
}

static gopt_status eval_insert(gi_eval *a)
{
    const gopt_tensor *from = NULL, *item = a->in[SequenceInsert_in_tensor];
    gopt_tensor *s;
    size_t at;
    GI_TRY(sequence_in(a, SequenceInsert_in_input_sequence, &from));
    const int64_t n = (int64_t)from->n_items;
    GI_TRY(position_in(a, SequenceInsert_in_position, from->n_items, n, n, &at));
    if (item->kind != GOPT_TENSOR)
        return gi_eval_fail(a, SequenceInsert_in_tensor, "expected a tensor");
    if (n > 0 && from->items[0]->dtype != item->dtype)
        return gi_eval_fail(a, SequenceInsert_in_tensor, "it has elements of type %s, the sequence holds %s",
                            gopt_dtype_name(item->dtype), gopt_dtype_name(from->items[0]->dtype));
    GI_TRY(gi_tensor_container(a->cx, GOPT_SEQUENCE, from->n_items + 1, &s));
    gopt_status st = GOPT_OK;
    for (size_t i = 0; i <= from->n_items && st == GOPT_OK; i++)
        st = append(a, s, i == at ? item : from->items[i < at ? i : i - 1]);
    return give(a, s, st);
}

static gopt_status eval_erase(gi_eval *a)
{
    const gopt_tensor *from = NULL;
    gopt_tensor *s;
    size_t at;
    GI_TRY(sequence_in(a, SequenceErase_in_input_sequence, &from));
    const int64_t last = (int64_t)from->n_items - 1;
    GI_TRY(position_in(a, SequenceErase_in_position, from->n_items, last, last, &at));
    GI_TRY(gi_tensor_container(a->cx, GOPT_SEQUENCE, from->n_items, &s));
    gopt_status st = GOPT_OK;
    for (size_t i = 0; i < from->n_items && st == GOPT_OK; i++)
        if (i != at)
            st = append(a, s, from->items[i]);
    return give(a, s, st);
}

static gopt_status eval_length(gi_eval *a)
{
    const gopt_tensor *s = NULL;
    gopt_tensor *y;
    GI_TRY(sequence_in(a, SequenceLength_in_input_sequence, &s));
    GI_TRY(gi_eval_out(a, 0, GOPT_I64, 0, NULL, &y));
    if (y)
        *(int64_t *)y->data = (int64_t)s->n_items;
    return GOPT_OK;
}

/* Shape of the join; every item must agree with the first but along the axis. */
static gopt_status joined_dims(gi_eval *a, const gopt_tensor *s, bool new_axis, int axis, int *rank, int64_t *dims)
{
    const gopt_tensor *first = s->items[0];
    int64_t total = 0;
    for (size_t k = 0; k < s->n_items; k++) {
        const gopt_tensor *t = s->items[k];
        if (t->kind != GOPT_TENSOR || t->dtype != first->dtype || t->rank != first->rank)
            return gi_eval_fail(a, 0, "item %zu has another type or rank than the first", k);
        for (int i = 0; i < t->rank; i++)
            if (t->dims[i] != first->dims[i] && (new_axis || i != axis))
                return gi_eval_fail(a, 0, "item %zu has %lld elements along axis %d, the first has %lld", k,
                                    (long long)t->dims[i], i, (long long)first->dims[i]);
        if (!gi_add_i64(total, new_axis ? 1 : t->dims[axis], &total))
            return gi_eval_fail(a, 0, "its size overflows");
    }
    *rank = first->rank + new_axis;
    for (int i = 0; i < *rank; i++)
        dims[i] = i == axis ? total : first->dims[new_axis && i > axis ? i - 1 : i];
    return GOPT_OK;
}

static gopt_status eval_concat(gi_eval *a)
{
    const gopt_tensor *s = NULL;
    const bool new_axis = gi_attr_int(a->n, ConcatFromSequence_at_new_axis) != 0;
    int64_t dims[GOPT_MAX_RANK];
    int rank = 0, axis;
    gopt_tensor *y;
    GI_TRY(sequence_in(a, 0, &s));
    if (s->n_items == 0)
        return gi_eval_fail(a, 0, "it is empty: there is nothing to join");
    const gopt_tensor *first = s->items[0];
    const size_t item = (size_t)gopt_dtype_bits(first->dtype) / 8;
    if (first->kind != GOPT_TENSOR || !item || first->rank + new_axis > GOPT_MAX_RANK)
        return gi_eval_fail(a, 0, "items of type %s and rank %d cannot be joined", gopt_dtype_name(first->dtype),
                            first->rank);
    if (!gi_axis(gi_attr_int(a->n, ConcatFromSequence_at_axis), first->rank + new_axis, &axis))
        return gi_eval_fail(a, 0, "its items have rank %d, attribute axis lies outside", first->rank);
    GI_TRY(joined_dims(a, s, new_axis, axis, &rank, dims));
    GI_TRY(gi_eval_out(a, 0, first->dtype, rank, dims, &y));
    if (!y)
        return GOPT_OK;
    const size_t inner = (size_t)gi_product(axis + 1, rank, dims) * item;
    const int64_t outer = gi_product(0, axis, dims);
    size_t at = 0;
    for (size_t k = 0; k < s->n_items; k++) {
        const size_t run = (new_axis ? 1 : (size_t)s->items[k]->dims[axis]) * inner;
        for (int64_t i = 0; i < outer && run; i++)
            memcpy((uint8_t *)y->data + (size_t)i * (size_t)dims[axis] * inner + at,
                   (const uint8_t *)s->items[k]->data + (size_t)i * run, run);
        at += run;
    }
    return GOPT_OK;
}

/* A piece of t along an axis; the axis, then of length 1, goes where keep is false. */
static gopt_status piece(gi_eval *a, const gopt_tensor *t, int axis, int64_t from, int64_t length, bool keep,
                         gopt_tensor *s)
{
    const size_t item = (size_t)gopt_dtype_bits(t->dtype) / 8;
    const size_t inner = (size_t)gi_product(axis + 1, t->rank, t->dims) * item;
    const int64_t outer = gi_product(0, axis, t->dims);
    int64_t dims[GOPT_MAX_RANK];
    int rank = 0;
    gopt_tensor *p;
    for (int i = 0; i < t->rank; i++)
        if (i != axis || keep)
            dims[rank++] = i == axis ? length : t->dims[i];
    GI_TRY(gopt_tensor_create(a->cx, t->dtype, rank, dims, &p));
    const size_t run = (size_t)length * inner;
    for (int64_t i = 0; i < outer && run; i++)
        memcpy((uint8_t *)p->data + (size_t)i * run,
               (const uint8_t *)t->data + ((size_t)i * (size_t)t->dims[axis] + (size_t)from) * inner, run);
    const gopt_status st = p->dtype == GOPT_STRING ? gi_tensor_own_strings(a->cx, p) : GOPT_OK;
    if (st != GOPT_OK) {
        gopt_tensor_unref(p);
        return st;
    }
    s->items[s->n_items++] = p;
    return GOPT_OK;
}

static gopt_status eval_split(gi_eval *a)
{
    const gopt_tensor *t = a->in[SplitToSequence_in_input];
    const gopt_tensor *split = a->n_in > SplitToSequence_in_split ? a->in[SplitToSequence_in_split] : NULL;
    const bool ones = !split || (split->rank == 0 && gi_dtype_is_int(split->dtype) && gi_tensor_i64(split, 0) == 1);
    const bool keep = !ones || gi_attr_int(a->n, SplitToSequence_at_keepdims) != 0;
    int axis;
    gopt_tensor *s;
    if (!gi_axis(gi_attr_int(a->n, SplitToSequence_at_axis), t->rank, &axis) || gopt_dtype_bits(t->dtype) < 8)
        return gi_eval_fail(a, 0, "type %s and rank %d cannot be split along that axis", gopt_dtype_name(t->dtype),
                            t->rank);
    if (split && (!gi_dtype_is_int(split->dtype) || split->rank > 1))
        return gi_eval_fail(a, SplitToSequence_in_split, "expected one integer or a list of them");
    const int64_t length = t->dims[axis];
    const bool listed = split && split->rank == 1;
    const int64_t every = !split ? 1 : listed ? 0 : gi_tensor_i64(split, 0);
    if (!listed && every <= 0)
        return gi_eval_fail(a, SplitToSequence_in_split, "pieces of %lld, expected at least 1", (long long)every);
    const int64_t n = listed ? split->dims[0] : length / every + (length % every != 0);
    GI_TRY(gi_tensor_container(a->cx, GOPT_SEQUENCE, (size_t)n, &s));
    int64_t at = 0;
    gopt_status st = GOPT_OK;
    for (int64_t i = 0; i < n && st == GOPT_OK; i++) {
        const int64_t want = listed ? gi_tensor_i64(split, i) : gi_min_i64(every, length - at);
        if (want < 0 || want > length - at) {
            st = gi_eval_fail(a, SplitToSequence_in_split, "its pieces do not add up to %lld", (long long)length);
            break;
        }
        st = piece(a, t, axis, at, want, keep, s);
        at += want;
    }
    if (st == GOPT_OK && at != length)
        st = gi_eval_fail(a, SplitToSequence_in_split, "its pieces do not add up to %lld", (long long)length);
    return give(a, s, st);
}

/* ---- optionals ---- */

static gopt_status eval_optional(gi_eval *a)
{
    gopt_tensor *o;
    GI_TRY(gi_tensor_container(a->cx, GOPT_OPTIONAL, 1, &o));
    return give(a, o, a->n_in > 0 && a->in[0] ? append(a, o, a->in[0]) : GOPT_OK);
}

static gopt_status eval_has_element(gi_eval *a)
{
    const gopt_tensor *t = a->n_in > 0 ? a->in[0] : NULL;
    gopt_tensor *y;
    GI_TRY(gi_eval_out(a, 0, GOPT_BOOL, 0, NULL, &y));
    if (y)
        *(uint8_t *)y->data = t && (t->kind != GOPT_OPTIONAL || t->n_items > 0);
    return GOPT_OK;
}

static gopt_status eval_get_element(gi_eval *a)
{
    const gopt_tensor *t = a->in[0];
    gopt_tensor *y;
    if (t->kind == GOPT_OPTIONAL && t->n_items == 0)
        return gi_eval_fail(a, 0, "the optional holds nothing");
    GI_TRY(gi_tensor_keep(a->cx, t->kind == GOPT_OPTIONAL ? t->items[0] : t, &y));
    return gi_eval_out_tensor(a, 0, y);
}

/* ---- SequenceMap ---- */

/* One run of the body for each element: its parameters are that element of each sequence, and each tensor as it is. */
typedef struct mapping {
    const gi_block *body;
    size_t length;
    gopt_tensor **kept, **results, **s; /* s: the sequences that come of it; kept: see keep_tensors */
    const gopt_tensor **params;
} mapping;

/* A block copies a parameter that borrows its data: once for all elements will do. */
static gopt_status keep_tensors(gi_eval *a, mapping *m)
{
    for (uint32_t i = 0; i < a->n_in; i++)
        if (a->in[i]->kind != GOPT_SEQUENCE) {
            GI_TRY(gi_tensor_keep(a->cx, a->in[i], &m->kept[i]));
            m->params[i] = m->kept[i];
        }
    return GOPT_OK;
}

/* Output i of one run of the body; takes the reference over. */
static gopt_status append_result(gi_eval *a, uint32_t i, gopt_tensor *s, gopt_tensor *result)
{
    if (result->kind == GOPT_TENSOR && (s->n_items == 0 || s->items[0]->dtype == result->dtype)) {
        s->items[s->n_items++] = result;
        return GOPT_OK;
    }
    gopt_tensor_unref(result);
    return gi_eval_fail(a, -1, "result %u of its body is not a tensor of one type for every element", i);
}

static gopt_status run_map(gi_eval *a, mapping *m)
{
    GI_TRY(keep_tensors(a, m));
    for (uint32_t i = 0; i < a->n_out; i++)
        GI_TRY(gi_tensor_container(a->cx, GOPT_SEQUENCE, m->length, &m->s[i]));
    for (size_t k = 0; k < m->length; k++) {
        for (uint32_t i = 0; i < a->n_in; i++)
            if (!m->kept[i])
                m->params[i] = a->in[i]->items[k];
        GI_TRY(gi_eval_block(a->cx, m->body, m->params, a->lookup, a->user, m->results));
        gopt_status st = GOPT_OK;
        for (uint32_t i = 0; i < m->body->n_results; i++)
            if (i < a->n_out && st == GOPT_OK)
                st = append_result(a, i, m->s[i], m->results[i]);
            else
                gopt_tensor_unref(m->results[i]);
        GI_TRY(st);
    }
    for (uint32_t i = 0; i < a->n_out; i++) {
        gopt_tensor *t = m->s[i];
        m->s[i] = NULL;
        GI_TRY(gi_eval_out_tensor(a, i, t));
    }
    return GOPT_OK;
}

static gopt_status eval_map(gi_eval *a)
{
    const gi_block *body = gi_attr_graph(a->n, SequenceMap_at_body);
    if (!body || body->n_params != a->n_in || body->n_results < a->n_out)
        return gi_eval_fail(a, -1, "its body has %u inputs and %u outputs, expected %u and at least %u",
                            body ? body->n_params : 0, body ? body->n_results : 0, a->n_in, a->n_out);
    if (a->in[0]->kind != GOPT_SEQUENCE)
        return gi_eval_fail(a, 0, "expected a sequence");
    for (uint32_t i = 1; i < a->n_in; i++) {
        if (!a->in[i])
            return gi_eval_fail(a, (int)i, "it is missing");
        if (a->in[i]->kind == GOPT_SEQUENCE && a->in[i]->n_items != a->in[0]->n_items)
            return gi_eval_fail(a, (int)i, "input %u has %zu elements, the first has %zu", i, a->in[i]->n_items,
                                a->in[0]->n_items);
    }
    mapping m = { .body = body, .length = a->in[0]->n_items };
    m.kept = gi_eval_scratch(a, a->n_in, sizeof *m.kept);
    m.params = gi_eval_scratch(a, a->n_in, sizeof *m.params);
    m.results = gi_eval_scratch(a, body->n_results, sizeof *m.results);
    m.s = gi_eval_scratch(a, a->n_out, sizeof *m.s);
    GI_NEED(m.kept && m.params && m.results && m.s);
    const gopt_status st = run_map(a, &m);
    for (uint32_t i = 0; i < a->n_in; i++)
        gopt_tensor_unref(m.kept[i]);
    for (uint32_t i = 0; i < a->n_out; i++)
        gopt_tensor_unref(m.s[i]);
    return st;
}

/* ---- type rules ---- */

/* What a sequence holds; NULL where unknown. */
static const gi_type *element(const gi_type *t)
{
    if (t && t->kind == GOPT_OPTIONAL)
        t = t->elem;
    return t && t->kind == GOPT_SEQUENCE ? t->elem : NULL;
}

static void set_of(gi_infer *c, gopt_kind kind, const gi_type *elem)
{
    const gi_type *t = gi_type_of(c->g->types, kind, elem);
    if (!t)
        c->no_memory = true;
    gi_infer_set_type(c, 0, t);
}

static gopt_status check_sequence(gi_infer *c)
{
    const gi_type *t = gi_infer_type(c, 0);
    return t && t->kind == GOPT_TENSOR ? gi_infer_fail(c, 0, "expected a sequence") : GOPT_OK;
}

static gopt_status infer_construct(gi_infer *c)
{
    const gi_type *t = c->n->n_in ? gi_infer_type(c, 0) : NULL;
    for (uint32_t i = 1; i < c->n->n_in; i++) {
        const gi_type *u = gi_infer_type(c, i);
        if (t && u && t->kind == GOPT_TENSOR && u->kind == GOPT_TENSOR && t->dtype && u->dtype && t->dtype != u->dtype)
            return gi_infer_fail(c, i, "expected %s elements as the first has", gopt_dtype_name(t->dtype));
        t = t && u ? gi_type_union(c->g, t, u) : NULL;
    }
    set_of(c, GOPT_SEQUENCE, t);
    return GOPT_OK;
}

static gopt_status infer_empty(gi_infer *c)
{
    const int64_t dtype = gi_attr_int(c->n, SequenceEmpty_at_dtype);
    if (dtype <= 0 || dtype >= GOPT_DTYPE_COUNT)
        return gi_infer_fail_node(c, "attribute dtype is %lld, which is no element type", (long long)dtype);
    set_of(c, GOPT_SEQUENCE, gi_type_tensor(c->g->types, (gopt_dtype)dtype, -1, NULL));
    return GOPT_OK;
}

static gopt_status infer_at(gi_infer *c)
{
    GI_TRY(check_sequence(c));
    gi_infer_set_type(c, 0, gi_type_fresh(c->g, element(gi_infer_type(c, 0))));
    return GOPT_OK;
}

/* An empty sequence's element has no rank: with a first tensor it still has none, for it may be one of many. */
static gopt_status infer_insert(gi_infer *c)
{
    GI_TRY(check_sequence(c));
    const gi_type *e = element(gi_infer_type(c, 0)), *t = gi_infer_type(c, SequenceInsert_in_tensor);
    if (e && t && e->kind == GOPT_TENSOR && t->kind == GOPT_TENSOR && e->dtype && t->dtype && e->dtype != t->dtype)
        return gi_infer_fail(c, SequenceInsert_in_tensor, "expected %s elements as the sequence holds",
                             gopt_dtype_name(e->dtype));
    set_of(c, GOPT_SEQUENCE, e && t ? gi_type_union(c->g, e, t) : NULL);
    return GOPT_OK;
}

/* A parameter of the body: what one element may be. */
static gopt_status set_param(gi_infer *c, uint32_t i, gi_value *param)
{
    const gi_type *t = gi_infer_type(c, i);
    const gi_type *e = t && t->kind == GOPT_SEQUENCE ? gi_type_fresh(c->g, t->elem) : t;
    bool clash = false;
    const gi_type *merged = gi_type_merge(c->g, param->type, e, &clash);
    if (t && t->kind != GOPT_SEQUENCE && i == 0)
        return gi_infer_fail(c, 0, "expected a sequence");
    if (clash || (merged && merged != param->type))
        gi_value_set_type(param, clash ? e : merged);
    return GOPT_OK;
}

static gopt_status infer_map(gi_infer *c)
{
    gi_block *body = gi_attr_graph(c->n, SequenceMap_at_body);
    if (!body || body->n_params != c->n->n_in || body->n_results < c->n->n_out)
        return gi_infer_fail_node(c, "its body has %u inputs and %u outputs, for %u inputs and %u outputs",
                                  body ? body->n_params : 0, body ? body->n_results : 0, c->n->n_in, c->n->n_out);
    for (uint32_t i = 0; i < c->n->n_in; i++)
        GI_TRY(set_param(c, i, body->params[i]));
    GI_TRY(gi_infer_block(body, c->scratch));
    for (uint32_t i = 0; i < c->n->n_out; i++) {
        const gi_value *v = body->results[i].value;
        gi_infer_set_type(c, i, v && v->type ? gi_type_of(c->g->types, GOPT_SEQUENCE, v->type) : NULL);
    }
    return GOPT_OK;
}

static gopt_status infer_length(gi_infer *c)
{
    GI_TRY(check_sequence(c));
    gi_infer_set(c, 0, GOPT_I64, 0, NULL);
    return GOPT_OK;
}

static gopt_status infer_concat(gi_infer *c)
{
    GI_TRY(check_sequence(c));
    const gi_type *e = gi_type_fresh(c->g, element(gi_infer_type(c, 0)));
    const int new_axis = gi_attr_int(c->n, ConcatFromSequence_at_new_axis) != 0;
    const gi_dim *dims[GOPT_MAX_RANK];
    int axis;
    if (!e || e->kind != GOPT_TENSOR)
        return GOPT_OK;
    if (e->rank < 0 || e->rank + new_axis > GOPT_MAX_RANK) {
        gi_infer_set(c, 0, e->dtype, -1, NULL);
        return GOPT_OK;
    }
    if (!gi_axis(gi_attr_int(c->n, ConcatFromSequence_at_axis), e->rank + new_axis, &axis))
        return gi_infer_fail(c, 0, "attribute axis is %lld, outside of its items' rank",
                             (long long)gi_attr_int(c->n, ConcatFromSequence_at_axis));
    for (int i = 0; i < e->rank + new_axis; i++)
        dims[i] = i == axis ? gi_dim_unknown(c->g->dims, true) : e->dims[new_axis && i > axis ? i - 1 : i];
    gi_infer_set(c, 0, e->dtype, e->rank + new_axis, dims);
    return GOPT_OK;
}

/* ONNX ignores keepdims where lengths are given. ONNX Runtime does where they are a list; of one number, which must be
 * 1 then, it obeys keepdims, and PyTorch writes torch.unbind so: that is what such a file means. Where the number is
 * another, ONNX alone has an answer. 1 where the axis stays, 0 where it goes, -1 where only the run knows. */
static int keeps_axis(gi_infer *c)
{
    int64_t *v;
    uint32_t n;
    const int rank = gi_infer_rank(c, SplitToSequence_in_split);
    if (gi_attr_int(c->n, SplitToSequence_at_keepdims))
        return 1;
    if (!gi_infer_has(c, SplitToSequence_in_split))
        return 0;
    if (rank < 0)
        return -1;
    if (rank > 0)
        return 1;
    return gi_infer_ints(c, SplitToSequence_in_split, c->scratch, &n, &v) && n == 1 ? v[0] != 1 : -1;
}

static gopt_status infer_split(gi_infer *c)
{
    const gi_type *t = gi_infer_type(c, 0);
    const int keep = keeps_axis(c), rank = keep < 0 ? -1 : gi_infer_rank(c, 0);
    const bool split = gi_infer_has(c, SplitToSequence_in_split);
    const gi_dim *dims[GOPT_MAX_RANK];
    int axis, n = 0;
    if (!t)
        return GOPT_OK;
    if (rank < 0) {
        set_of(c, GOPT_SEQUENCE, gi_type_tensor(c->g->types, t->dtype, -1, NULL));
        return GOPT_OK;
    }
    if (!gi_axis(gi_attr_int(c->n, SplitToSequence_at_axis), rank, &axis))
        return gi_infer_fail(c, 0, "attribute axis is %lld, outside of its rank",
                             (long long)gi_attr_int(c->n, SplitToSequence_at_axis));
    for (int i = 0; i < rank; i++)
        if (i != axis || keep)
            dims[n++] = i != axis ? t->dims[i] : split ? gi_dim_unknown(c->g->dims, true) : gi_dim_const(c->g->dims, 1);
    set_of(c, GOPT_SEQUENCE, gi_type_tensor(c->g->types, t->dtype, n, dims));
    return GOPT_OK;
}

static gopt_status infer_optional(gi_infer *c)
{
    if (gi_infer_has(c, 0))
        set_of(c, GOPT_OPTIONAL, gi_infer_type(c, 0));
    return GOPT_OK;
}

static gopt_status infer_has_element(gi_infer *c)
{
    gi_infer_set(c, 0, GOPT_BOOL, 0, NULL);
    return GOPT_OK;
}

static gopt_status infer_get_element(gi_infer *c)
{
    const gi_type *t = gi_infer_type(c, 0);
    gi_infer_set_type(c, 0, t && t->kind == GOPT_OPTIONAL ? t->elem : t);
    return GOPT_OK;
}

#include "ops/rows.h"

#include "ir/ops/sequence.def"
