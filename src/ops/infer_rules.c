/* What type rules read and set, and the rules that many operators share. */
#include "ops/infer.h"

/* ---- reading ---- */

bool gi_infer_has(const gi_infer *c, uint32_t in)
{
    return gi_node_in(c->n, in) != NULL;
}

const gi_type *gi_infer_type(const gi_infer *c, uint32_t in)
{
    const gi_value *v = gi_node_in(c->n, in);
    return v ? v->type : NULL;
}

gopt_dtype gi_infer_dtype(const gi_infer *c, uint32_t in)
{
    const gi_type *t = gi_infer_type(c, in);
    return t && t->kind == GOPT_TENSOR ? t->dtype : GOPT_UNDEFINED;
}

int gi_infer_rank(const gi_infer *c, uint32_t in)
{
    const gi_type *t = gi_infer_type(c, in);
    return t && t->kind == GOPT_TENSOR && t->rank <= GOPT_MAX_RANK ? t->rank : -1;
}

const gi_dim *gi_infer_dim(const gi_infer *c, uint32_t in, int i)
{
    const gi_type *t = gi_infer_type(c, in);
    const int rank = gi_infer_rank(c, in);
    const int at = i < 0 ? i + rank : i;
    if (rank < 0 || at < 0 || at >= rank)
        return gi_dim_unknown(c->g->dims, true);
    return t->dims[at];
}

const gi_dim *const *gi_infer_known(const gi_infer *c, uint32_t in, uint32_t *n)
{
    gi_value *v = gi_node_in(c->n, in);
    *n = 0;
    return v ? gi_value_known(v, n) : NULL;
}

bool gi_infer_ints(const gi_infer *c, uint32_t in, gi_arena *a, uint32_t *n, int64_t **v)
{
    const gi_blob *b = gi_infer_blob(c, in);
    *n = 0;
    *v = NULL;
    if (b) {
        const int64_t count = gi_blob_elements(b);
        if ((!gi_dtype_is_int(b->dtype) && b->dtype != GOPT_BOOL) || count > (1 << 20))
            return false;
        *v = GI_NEW_ARRAY(a, int64_t, count + 1);
        for (int64_t i = 0; *v && i < count; i++)
            (*v)[i] = gi_load_i64(b->dtype, b->data, (size_t)i);
        *n = (uint32_t)count;
        return *v != NULL;
    }
    const gi_dim *const *known = gi_infer_known(c, in, n);
    if (!known)
        return false;
    *v = GI_NEW_ARRAY(a, int64_t, *n + 1);
    for (uint32_t i = 0; *v && i < *n; i++)
        if (!gi_dim_is_const(known[i], &(*v)[i]))
            return false;
    return *v != NULL;
}

gi_blob *gi_infer_blob(const gi_infer *c, uint32_t in)
{
    return gi_value_blob(gi_node_in(c->n, in));
}

/* ---- setting ---- */

void gi_infer_set(gi_infer *c, uint32_t out, gopt_dtype t, int rank, const gi_dim *const *dims)
{
    if (out >= c->n->n_out)
        return;
    if (rank > GOPT_MAX_RANK)
        rank = -1;
    c->out[out] = gi_type_tensor(c->g->types, t, rank, rank > 0 ? dims : NULL);
    if (!c->out[out])
        c->no_memory = true;
}

void gi_infer_set_type(gi_infer *c, uint32_t out, const gi_type *t)
{
    if (out < c->n->n_out)
        c->out[out] = t;
}

void gi_infer_set_known(gi_infer *c, uint32_t out, uint32_t n, const gi_dim *const *known)
{
    if (out >= c->n->n_out)
        return;
    c->known[out] = known;
    c->n_known[out] = n;
}

/* ---- errors ---- */

static const char *input_name(const gi_infer *c, uint32_t in)
{
    const gi_op *row = gi_op_get(c->n->op);
    if (row->n_in == 0)
        return gi_arena_printf(c->scratch, "%u", in);
    const int last = row->n_in - 1;
    const char *name = row->in[in < (uint32_t)last ? in : (uint32_t)last].name;
    if (row->in[last].presence != GI_VARIADIC || in < (uint32_t)last)
        return name;
    return gi_arena_printf(c->scratch, "%s[%u]", name, in - (uint32_t)last);
}

gopt_status(gi_infer_fail)(const gi_infer *c, uint32_t in, const char *fmt, ...)
{
    gi_place at = gi_node_place(c->n);
    const char *name = input_name(c, in);
    gi_str type;
    gi_str_init(&type, c->scratch);
    gi_type_print(&type, gi_infer_type(c, in));
    va_list args;
    va_start(args, fmt);
    const char *text = gi_arena_vprintf(c->scratch, fmt, args);
    va_end(args);
    at.input = name;
    return gi_fail(c->g->cx, GOPT_BAD_INPUT, &at, NULL, "input %s is %s, %s", name ? name : "?", type.p ? type.p : "?",
                   text ? text : "");
}

gopt_status(gi_infer_fail_node)(const gi_infer *c, const char *fmt, ...)
{
    const gi_place at = gi_node_place(c->n);
    va_list args;
    va_start(args, fmt);
    const gopt_status st = gi_vfail(c->g->cx, GOPT_BAD_INPUT, &at, NULL, fmt, args);
    va_end(args);
    return st;
}

/* ---- broadcasting ---- */

/* One dim of a broadcast. Where neither is seen to be 1 they are equal if the model is right, or one of them is
 * 1 at run time: then the greater. NULL where two constants clash. */
static const gi_dim *broadcast_dim(gi_dims *t, const gi_dim *a, const gi_dim *b)
{
    int64_t x = 0, y = 0;
    const bool ca = gi_dim_is_const(a, &x), cb = gi_dim_is_const(b, &y);
    if (a == b || (cb && y == 1))
        return a;
    if (ca && x == 1)
        return b;
    if (ca && cb)
        return NULL;
    if (ca || (gi_dim_lower(a, &x) && x > 1))
        return a;
    if (cb || (gi_dim_lower(b, &y) && y > 1))
        return b;
    if (gi_dim_is_unknown(a) || gi_dim_is_unknown(b))
        return gi_dim_unknown(t, true);
    return gi_dim_max(t, a, b);
}

bool gi_infer_broadcast(gi_infer *c, int rank_a, const gi_dim *const *a, int rank_b, const gi_dim *const *b, int *rank,
                        const gi_dim **dims)
{
    *rank = rank_a > rank_b ? rank_a : rank_b;
    if (rank_a < 0 || rank_b < 0 || *rank > GOPT_MAX_RANK) {
        *rank = -1;
        return true;
    }
    for (int i = 1; i <= *rank; i++) {
        const gi_dim *x = i <= rank_a ? a[rank_a - i] : NULL, *y = i <= rank_b ? b[rank_b - i] : NULL;
        dims[*rank - i] = x && y ? broadcast_dim(c->g->dims, x, y) : x ? x : y;
        if (!dims[*rank - i])
            return false;
    }
    return true;
}

/* ---- shared rules ---- */

gopt_status gi_infer_same_type(gi_infer *c)
{
    gi_infer_set_type(c, 0, gi_infer_type(c, 0));
    return GOPT_OK;
}

gopt_status gi_infer_same(gi_infer *c)
{
    uint32_t n;
    const gi_dim *const *known = gi_infer_known(c, 0, &n);
    gi_infer_set_type(c, 0, gi_infer_type(c, 0));
    if (known)
        gi_infer_set_known(c, 0, n, known);
    return GOPT_OK;
}

/* Broadcast of all inputs; all of one dtype. */
static gopt_status broadcast_all(gi_infer *c, gopt_dtype *dtype, int *rank, const gi_dim **dims)
{
    *rank = 0;
    *dtype = GOPT_UNDEFINED;
    for (uint32_t i = 0; i < c->n->n_in; i++) {
        if (!gi_infer_has(c, i))
            continue;
        const gopt_dtype t = gi_infer_dtype(c, i);
        const gi_type *type = gi_infer_type(c, i);
        const int r = gi_infer_rank(c, i);
        if (t && *dtype && t != *dtype)
            return gi_infer_fail(c, i, "expected %s elements as in the inputs before it", gopt_dtype_name(*dtype));
        if (t)
            *dtype = t;
        if (!gi_infer_broadcast(c, *rank, dims, r, r >= 0 ? type->dims : NULL, rank, dims))
            return gi_infer_fail(c, i, "which does not broadcast with the inputs before it");
    }
    return GOPT_OK;
}

gopt_status gi_infer_binary(gi_infer *c)
{
    const gi_dim *dims[GOPT_MAX_RANK];
    gopt_dtype dtype;
    int rank;
    GI_TRY(broadcast_all(c, &dtype, &rank, dims));
    gi_infer_set(c, 0, dtype, rank, dims);
    return GOPT_OK;
}

gopt_status gi_infer_compare(gi_infer *c)
{
    const gi_dim *dims[GOPT_MAX_RANK];
    gopt_dtype dtype;
    int rank;
    GI_TRY(broadcast_all(c, &dtype, &rank, dims));
    gi_infer_set(c, 0, GOPT_BOOL, rank, dims);
    return GOPT_OK;
}
