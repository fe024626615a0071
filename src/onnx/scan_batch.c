/* Scan of opset 8, which runs over a batch: brought to the newest form as a Scan in a Scan.
 *
 *     y = Scan₈(lengths, state [b, …], x [b, t, …])
 *  ⇒  y = Scan(state, x) over the batch, with the body
 *           z = Scan(s, x) over t, with the body that the model gives
 *
 * The outer one carries nothing: each element of the batch begins with its own state, and what the inner one gives
 * is stacked along axis 0. With lengths each x is cut to its element's length first, and what is stacked over t is
 * filled up with zeros, which opset 8 leaves open. */
#include "onnx/import.h"
#include "ops/infer.h"

typedef struct batched {
    gi_import *im;
    gi_raw *r;
    gi_block *body;    /* of the outer Scan */
    gi_value *length;  /* of this element of the batch, [1]; NULL where there are no lengths */
    gi_value *longest; /* t, [1]; likewise */
    uint32_t n_state, n_scanned;
} batched;

static gi_value *node(batched *b, gi_opcode op, uint32_t n_in, gi_value *const *in)
{
    for (uint32_t i = 0; i < n_in; i++)
        if (!in[i] && !(op == OP_Pad && i == Pad_in_constant_value))
            return NULL;
    gi_node *n = gi_build(b->body, NULL, op, n_in, in);
    return n && gi_node_add_origin(n, b->r->origin) ? n->out[0] : NULL;
}

static gi_value *ints(batched *b, int64_t v)
{
    return gi_const_i64(b->im->g, 1, 1, &v);
}

/* A parameter for each element of v's first axis. */
static gi_value *add_param(batched *b, const char *name, const gi_value *v)
{
    const gi_type *t = v->type && v->type->kind == GOPT_TENSOR ? v->type : NULL;
    if (t)
        t = gi_type_tensor(b->im->g->types, t->dtype, t->rank > 0 ? t->rank - 1 : -1, t->rank > 0 ? t->dims + 1 : NULL);
    return gi_block_add_param(b->body, gi_arena_printf(b->im->g->arena, "%s%u", name, b->body->n_params), t);
}

/* x [t, …] up to this element's length. */
static gi_value *cut(batched *b, gi_value *x)
{
    gi_value *const in[] = { x, ints(b, 0), b->length, ints(b, 0) };
    return b->length ? node(b, OP_Slice, 4, in) : x;
}

/* y [length, …] filled up to the longest. */
static gi_value *fill_up(batched *b, gi_value *y)
{
    if (!b->length)
        return y;
    gi_value *missing = node(b, OP_Sub, 2, (gi_value *[]){ b->longest, b->length });
    gi_node *pads =
        missing ? gi_node_create(b->body, NULL, OP_Concat, 2, (gi_value *[]){ ints(b, 0), missing }, 1) : NULL;
    if (!pads)
        return NULL;
    gi_attr_set_int(pads, Concat_at_axis, 0);
    if (!gi_node_add_origin(pads, b->r->origin) || gi_infer_node(pads, b->im->scratch) != GOPT_OK)
        return NULL;
    return node(b, OP_Pad, 4, (gi_value *[]){ y, pads->out[0], NULL, ints(b, 0) });
}

/* Parameters of the outer body: what the inner Scan reads, into `in`. */
static gopt_status enter(batched *b, gi_value *const *given, gi_value *lengths, gi_values *in)
{
    gi_value *first = NULL;
    if (lengths) {
        gi_value *one = add_param(b, "length", lengths);
        GI_NEED(one);
        /* below 0 an end would be counted from the other one */
        b->length = node(b, OP_Max, 2,
                         (gi_value *[]){ node(b, OP_Unsqueeze, 2, (gi_value *[]){ one, ints(b, 0) }), ints(b, 0) });
        GI_NEED(b->length);
    }
    for (uint32_t i = 0; i < b->n_state + b->n_scanned; i++) {
        gi_value *v = add_param(b, i < b->n_state ? "state" : "scanned", given[i]);
        GI_NEED(v);
        if (i == b->n_state)
            first = v;
        GI_NEED(gi_push(b->im->a, in, v));
    }
    if (!lengths)
        return GOPT_OK;
    gi_value *shape = node(b, OP_Shape, 1, &first);
    b->longest = node(b, OP_Slice, 3, (gi_value *[]){ shape, ints(b, 0), ints(b, 1) });
    GI_NEED(b->longest);
    for (uint32_t i = b->n_state; i < b->n_state + b->n_scanned; i++) {
        in->p[i] = cut(b, in->p[i]);
        GI_NEED(in->p[i]);
    }
    return GOPT_OK;
}

/* The Scan that the model gives, over one element of the batch. */
static gopt_status build_inner(batched *b, const gi_values *in, gi_value ***out)
{
    gi_raw c = *b->r;
    gi_raw_attr *directions = gi_raw_attr_find(&c, "directions");
    c.block = b->body;
    c.name = NULL;
    c.in = *in;
    if (directions)
        directions->a.name = "scan_input_directions";
    return gi_raw_create(b->im, &c, out);
}

static gopt_status build(batched *b, gi_node *outer, gi_value *lengths)
{
    gi_import *im = b->im;
    gi_raw *r = b->r;
    gi_values in = { 0 };
    gi_value **inner;
    GI_TRY(enter(b, r->in.p + 1, lengths, &in));
    GI_TRY(build_inner(b, &in, &inner));
    gi_value **results = GI_NEW_ARRAY(im->a, gi_value *, r->n_out + 1u);
    const char **names = GI_NEW_ARRAY(im->g->arena, const char *, r->n_out + 1u);
    GI_NEED(results && names);
    for (uint32_t i = 0; i < r->n_out; i++) {
        results[i] = i < b->n_state ? inner[i] : fill_up(b, inner[i]);
        names[i] = gi_arena_printf(im->g->arena, "result%u", i);
        GI_NEED(results[i] && names[i]);
    }
    GI_NEED(gi_block_set_results(b->body, r->n_out, results, names));
    gi_attr_set_graph(outer, Scan_at_body, b->body);
    gi_attr_set_int(outer, Scan_at_num_scan_inputs, outer->n_in);
    const gopt_status st = gi_infer_node(outer, im->scratch);
    gi_arena_reset(im->scratch);
    return st;
}

gopt_status gi_import_scan_8(gi_import *im, gi_raw *r)
{
    const gi_raw_attr *count = gi_raw_attr_find(r, "num_scan_inputs");
    const int64_t scanned = count && count->a.kind == GI_ATTR_INT ? count->a.u.i : 0;
    if (r->in.n < 2 || scanned < 1 || scanned > (int64_t)r->in.n - 1)
        return gi_fail(im->cx, GOPT_BAD_INPUT, &r->at, NULL,
                       "attribute num_scan_inputs is %lld, expected 1 to %zu: it has %zu inputs, lengths first",
                       (long long)scanned, r->in.n ? r->in.n - 1 : 0, r->in.n);
    for (size_t i = 1; i < r->in.n; i++)
        if (!r->in.p[i])
            return gi_fail(im->cx, GOPT_BAD_INPUT, &r->at, NULL, "input #%zu is missing", i);
    gi_value *lengths = r->in.p[0];
    const size_t skip = lengths ? 0 : 1;
    batched b = { .im = im, .r = r, .n_scanned = (uint32_t)scanned };
    b.n_state = (uint32_t)r->in.n - 1 - b.n_scanned;
    gi_node *outer = gi_node_create(r->block, NULL, OP_Scan, (uint32_t)(r->in.n - skip), r->in.p + skip, r->n_out);
    GI_NEED(outer && gi_raw_describe(im, r, outer));
    outer->name = r->name;
    b.body = gi_block_create(im->g, outer, "batch");
    GI_NEED(b.body);
    GI_TRY(build(&b, outer, lengths));
    r->done = outer->out;
    return GOPT_OK;
}
