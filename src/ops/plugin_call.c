/* Calling plugins: what they see of a node, and the checks of what they hand back.
 *
 * A plugin is trusted not to write where it may not, and with nothing else: each type and tensor that it gives is
 * checked before it goes anywhere, and what it fails to give is missed. */
#include "ops/plugin.h"

typedef struct calling {
    const gi_plugin_op *p;
    const gi_node *n;
    gopt_ctx *cx;
    gi_arena *scratch;
    gi_infer *infer;              /* in `types`, else NULL */
    gi_eval *eval;                /* in `run`, else NULL */
    gi_vec(const gi_dim *) named; /* dims without a number: named.p[k] is -(2 + k) */
    bool *gave;                   /* by output, in `run` */
    const char *why;              /* what the plugin said */
    gopt_status status;           /* of what was reported already */
} calling;

static calling *of(const gopt_plugin_call *c)
{
    return c->self;
}

static const char *file_of(const calling *k)
{
    return k->p->file ? k->p->file : "the program";
}

static gopt_status report(calling *k, gopt_status status, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
static gopt_status report(calling *k, gopt_status status, const char *fmt, ...)
{
    const gi_place at = gi_node_place(k->n);
    va_list args;
    va_start(args, fmt);
    const char *text = gi_arena_vprintf(k->scratch, fmt, args);
    va_end(args);
    if (k->status == GOPT_OK)
        k->status = gi_fail(k->cx, status, &at, NULL, "its plugin, %s, %s", file_of(k), text ? text : "fails");
    return k->status;
}

/* ---- attributes ---- */

static const gi_attr *find(const gopt_plugin_call *c, const char *name, gi_attr_kind kind)
{
    const gi_attr *a = name ? gi_attr_find(of(c)->n, name) : NULL;
    return a && a->kind == kind ? a : NULL;
}

static bool get_int(const gopt_plugin_call *c, const char *name, int64_t *v)
{
    const gi_attr *a = find(c, name, GI_ATTR_INT);
    if (a)
        *v = a->u.i;
    return a != NULL;
}

static bool get_float(const gopt_plugin_call *c, const char *name, float *v)
{
    const gi_attr *a = find(c, name, GI_ATTR_FLOAT);
    if (a)
        *v = a->u.f;
    return a != NULL;
}

static const char *get_string(const gopt_plugin_call *c, const char *name, size_t *n)
{
    const gi_attr *a = find(c, name, GI_ATTR_STRING);
    *n = a ? a->n : 0;
    return a ? a->u.s : NULL;
}

static const int64_t *get_ints(const gopt_plugin_call *c, const char *name, size_t *n)
{
    const gi_attr *a = find(c, name, GI_ATTR_INTS);
    *n = a ? a->n : 0;
    return a ? a->u.ints : NULL;
}

static const float *get_floats(const gopt_plugin_call *c, const char *name, size_t *n)
{
    const gi_attr *a = find(c, name, GI_ATTR_FLOATS);
    *n = a ? a->n : 0;
    return a ? a->u.floats : NULL;
}

static const char *const *get_strings(const gopt_plugin_call *c, const char *name, size_t *n)
{
    const gi_attr *a = find(c, name, GI_ATTR_STRINGS);
    *n = a ? a->n : 0;
    return a ? a->u.strings : NULL;
}

static bool get_tensor(const gopt_plugin_call *c, const char *name, gopt_plugin_tensor *t)
{
    const gi_attr *a = find(c, name, GI_ATTR_TENSOR);
    const gi_blob *b = a ? a->u.tensor : NULL;
    *t = (gopt_plugin_tensor){ 0 };
    if (!b || b->dtype == GOPT_STRING)
        return false;
    *t = (gopt_plugin_tensor){
        .given = true, .dtype = b->dtype, .rank = b->rank, .dims = b->dims, .data = b->data, .bytes = b->bytes
    };
    return true;
}

/* ---- what both may do ---- */

static void *scratch(const gopt_plugin_call *c, size_t bytes)
{
    return gi_arena_alloc(of(c)->scratch, bytes ? bytes : 1);
}

static void failed(const gopt_plugin_call *c, const char *text)
{
    calling *k = of(c);
    if (!k->why)
        k->why = gi_arena_str(k->scratch, text);
}

/* May a plugin give this? Says why not, but for the dims. */
static bool check_type(calling *k, uint32_t out, gopt_dtype dtype, int rank, const int64_t *dims)
{
    if ((int)dtype < 0 || dtype >= GOPT_DTYPE_COUNT || dtype == GOPT_STRING || (dtype == GOPT_UNDEFINED && k->eval))
        report(k, GOPT_BAD_INPUT, "gives output #%u elements of type %d, expected a number of gopt_dtype, not strings",
               out, (int)dtype);
    else if (rank < (k->eval ? 0 : -1) || rank > GOPT_MAX_RANK)
        report(k, GOPT_BAD_INPUT, "gives output #%u rank %d, expected at most %d", out, rank, GOPT_MAX_RANK);
    else if (rank > 0 && !dims)
        report(k, GOPT_BAD_INPUT, "gives output #%u rank %d, and NULL for its dimensions", out, rank);
    else
        return true;
    return false;
}

/* ---- types ---- */

static const gi_dim *dim_of(calling *k, uint32_t out, int i, int64_t d)
{
    gi_dims *t = k->infer->g->dims;
    if (d >= 0)
        return gi_dim_const(t, d);
    if (d == -1)
        return gi_dim_unknown(t, true);
    if (d >= -1 - (int64_t)k->named.n)
        return k->named.p[-2 - d];
    report(k, GOPT_BAD_INPUT, "gives output #%u dimension %d as %lld, which is no input's number", out, i,
           (long long)d);
    return NULL;
}

static gopt_status set_type(const gopt_plugin_call *c, uint32_t out, gopt_dtype dtype, int rank, const int64_t *dims)
{
    calling *k = of(c);
    const gi_dim *d[GOPT_MAX_RANK];
    if (!k->infer)
        return report(k, GOPT_BAD_INPUT, "sets a type while it runs");
    if (out >= k->n->n_out)
        return GOPT_OK;
    if (!check_type(k, out, dtype, rank, dims))
        return k->status;
    for (int i = 0; i < rank; i++) {
        d[i] = dim_of(k, out, i, dims[i]);
        if (!d[i])
            return k->status ? k->status : GOPT_NO_MEMORY;
    }
    gi_infer_set(k->infer, out, dtype, rank, d);
    return GOPT_OK;
}

/* The number that stands for a dim. */
static bool number_of(calling *k, const gi_dim *d, int64_t *v)
{
    if (gi_dim_is_const(d, v))
        return true;
    size_t i = 0;
    while (i < k->named.n && k->named.p[i] != d)
        i++;
    *v = -2 - (int64_t)i;
    return i < k->named.n || gi_push(k->scratch, &k->named, d);
}

static gopt_status see_type(calling *k, uint32_t i, gopt_plugin_tensor *t)
{
    const gi_infer *c = k->infer;
    const gi_type *type = gi_infer_type(c, i);
    *t = (gopt_plugin_tensor){ .given = true, .rank = -1 };
    if (!type)
        return GOPT_OK;
    if (type->kind != GOPT_TENSOR || type->dtype == GOPT_STRING)
        return report(k, GOPT_UNSUPPORTED, "is given %s as input #%u, and plugins see tensors of numbers alone",
                      type->kind == GOPT_TENSOR ? "strings" : "a sequence, optional or map", i);
    int64_t *dims = GI_NEW_ARRAY(k->scratch, int64_t, GOPT_MAX_RANK);
    GI_NEED(dims);
    t->dtype = type->dtype;
    t->rank = type->rank;
    t->dims = dims;
    for (int d = 0; d < type->rank && d < GOPT_MAX_RANK; d++)
        GI_NEED(number_of(k, type->dims[d], &dims[d]));
    gopt_tensor contents;
    const gi_blob *b = gi_infer_blob(c, i);
    if (b) {
        t->data = b->data;
        t->bytes = b->bytes;
    } else if (gi_infer_contents(c, gi_node_in(c->n, i), &contents)) {
        t->data = contents.data;
        t->bytes = contents.bytes;
    }
    return GOPT_OK;
}

/* ---- running ---- */

static const char *type_text(calling *k, const gi_type *t)
{
    gi_str s;
    gi_str_init(&s, k->scratch);
    gi_type_print(&s, t);
    return s.p && !s.failed ? s.p : "?";
}

static const char *shape_text(calling *k, gopt_dtype dtype, int rank, const int64_t *dims)
{
    gi_str s;
    gi_str_init(&s, k->scratch);
    gi_str_addf(&s, "%s[", gopt_dtype_name(dtype));
    for (int i = 0; i < rank; i++)
        gi_str_addf(&s, "%s%lld", i ? "," : "", (long long)dims[i]);
    gi_str_add(&s, "]");
    return s.p && !s.failed ? s.p : "?";
}

/* Is it what was said before the run? Dims that had no number then may have any. */
static bool as_said(const gi_type *t, gopt_dtype dtype, int rank, const int64_t *dims)
{
    int64_t d;
    if (!t)
        return true;
    if (t->kind != GOPT_TENSOR || (t->dtype && t->dtype != dtype) || (t->rank >= 0 && t->rank != rank))
        return false;
    for (int i = 0; i < t->rank; i++)
        if (gi_dim_is_const(t->dims[i], &d) && d != dims[i])
            return false;
    return true;
}

static void *output(const gopt_plugin_call *c, uint32_t out, gopt_dtype dtype, int rank, const int64_t *dims)
{
    static int64_t nothing; /* where a tensor has no elements, its memory may be NULL */
    calling *k = of(c);
    if (!k->eval) {
        report(k, GOPT_BAD_INPUT, "asks for an output's memory while it says types");
        return NULL;
    }
    if (out >= k->eval->n_out || !check_type(k, out, dtype, rank, dims))
        return NULL;
    for (int i = 0; i < rank; i++)
        if (dims[i] < 0) {
            report(k, GOPT_BAD_INPUT, "gives output #%u dimension %d as %lld", out, i, (long long)dims[i]);
            return NULL;
        }
    const gi_type *said = k->n->out[out]->type;
    if (!as_said(said, dtype, rank, dims)) {
        report(k, GOPT_BAD_INPUT, "gives output #%u as %s, but its types say %s", out, shape_text(k, dtype, rank, dims),
               type_text(k, said));
        return NULL;
    }
    gopt_tensor *t = k->gave[out] ? k->eval->out[out] : NULL;
    if (t && (t->dtype != dtype || t->rank != rank || (rank && memcmp(t->dims, dims, (size_t)rank * sizeof *dims)))) {
        report(k, GOPT_BAD_INPUT, "asks for output #%u once more as %s", out, shape_text(k, dtype, rank, dims));
        return NULL;
    }
    if (!t) {
        const gopt_status st = gi_eval_out(k->eval, out, dtype, rank, dims, &t);
        if (st != GOPT_OK)
            k->status = k->status ? k->status : st;
        if (st != GOPT_OK || !t)
            return NULL;
        k->gave[out] = true;
    }
    return t->data ? t->data : &nothing;
}

static gopt_status see_tensor(calling *k, uint32_t i, gopt_plugin_tensor *t)
{
    const gopt_tensor *x = k->eval->in[i];
    *t = (gopt_plugin_tensor){ 0 };
    if (!x)
        return GOPT_OK;
    if (x->kind != GOPT_TENSOR || x->dtype == GOPT_STRING)
        return report(k, GOPT_UNSUPPORTED, "is given %s as input #%u, and plugins see tensors of numbers alone",
                      x->kind == GOPT_TENSOR ? "strings" : "a sequence, optional or map", i);
    *t = (gopt_plugin_tensor){
        .given = true, .dtype = x->dtype, .rank = x->rank, .dims = x->dims, .data = x->data, .bytes = x->bytes
    };
    return GOPT_OK;
}

/* ---- the call ---- */

static const gopt_plugin_host host = { .get_int = get_int,
                                       .get_float = get_float,
                                       .get_string = get_string,
                                       .get_ints = get_ints,
                                       .get_floats = get_floats,
                                       .get_strings = get_strings,
                                       .get_tensor = get_tensor,
                                       .set_type = set_type,
                                       .output = output,
                                       .scratch = scratch,
                                       .failed = failed };

static gopt_status call(calling *k, uint32_t n_in, uint32_t n_out)
{
    gopt_plugin_tensor *in = GI_NEW_ARRAY(k->scratch, gopt_plugin_tensor, n_in + 1);
    GI_NEED(in);
    for (uint32_t i = 0; i < n_in; i++)
        if (k->eval)
            GI_TRY(see_tensor(k, i, &in[i]));
        else if (gi_node_in(k->n, i))
            GI_TRY(see_type(k, i, &in[i]));
    const gopt_plugin_call c = { .abi = GOPT_PLUGIN_ABI,
                                 .host = &host,
                                 .user = k->p->op.user,
                                 .domain = k->n->domain ? k->n->domain : "",
                                 .name = k->n->op_name ? k->n->op_name : "",
                                 .node = k->n->name ? k->n->name : "",
                                 .n_in = n_in,
                                 .n_out = n_out,
                                 .in = in,
                                 .self = k };
    const gopt_status st = k->eval ? k->p->op.run(&c) : k->p->op.types(&c);
    if (k->status != GOPT_OK) /* reported where it happened */
        return k->status;
    if (st == GOPT_OK)
        return GOPT_OK;
    const gopt_status given = st > GOPT_OK && st <= GOPT_NO_MEMORY && st != GOPT_INTERNAL ? st : GOPT_BAD_INPUT;
    if (k->why)
        return report(k, given, "says: %s", k->why);
    return report(k, given, "fails without saying why (status %d)", (int)st);
}

gopt_status gi_plugin_infer(gi_infer *c, const gi_plugin_op *p)
{
    calling k = { .p = p, .n = c->n, .cx = c->g->cx, .scratch = c->scratch, .infer = c };
    return call(&k, c->n->n_in, c->n->n_out);
}

gopt_status gi_plugin_eval(gi_eval *a, const gi_plugin_op *p)
{
    calling k = { .p = p, .n = a->n, .cx = a->cx, .scratch = a->scratch, .eval = a };
    k.gave = GI_NEW_ARRAY(a->scratch, bool, a->n_out + 1);
    GI_NEED(k.gave);
    GI_TRY(call(&k, a->n_in, a->n_out));
    for (uint32_t i = 0; i < a->n_out; i++)
        if (!k.gave[i] && a->n->out[i]->n_uses > 0)
            return report(&k, GOPT_BAD_INPUT, "gives no output #%u, but it is used", i);
    return GOPT_OK;
}
