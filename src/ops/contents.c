/* Contents of small shape tensors and arithmetic on dims: what type rules of the shape, movement and index
 * families share. */
#include "ops/move.h"

const gi_dim *const *gi_contents(gi_infer *c, uint32_t in, uint32_t *n)
{
    *n = 0;
    if (!gi_infer_has(c, in))
        return NULL;
    const gi_dim *const *k = gi_infer_known(c, in, n);
    if (k)
        return k;
    const gopt_dtype t = gi_infer_dtype(c, in);
    const int rank = gi_infer_rank(c, in);
    int64_t count = 1;
    if (rank < 0 || rank > 1 || (!gi_dtype_is_int(t) && t != GOPT_BOOL))
        return NULL;
    if (rank == 1 && !gi_dim_is_const(gi_infer_dim(c, in, 0), &count))
        return NULL;
    if (count < 0 || count > GI_KNOWN_MAX)
        return NULL;
    const gi_dim **fresh = GI_NEW_ARRAY(c->scratch, const gi_dim *, count ? count : 1);
    if (!fresh)
        return NULL;
    for (int64_t i = 0; i < count; i++)
        fresh[i] = gi_dim_unknown(c->g->dims, false);
    *n = (uint32_t)count;
    return fresh;
}

gopt_status gi_set(gi_infer *c, uint32_t out, gopt_dtype t, int rank, const gi_dim *const *dims)
{
    for (int i = 0; i < rank; i++)
        GI_NEED(dims[i]);
    gi_infer_set(c, out, t, rank, dims);
    return GOPT_OK;
}

gopt_status gi_set_known(gi_infer *c, uint32_t out, uint32_t n, const gi_dim *const *known)
{
    if (n > GI_KNOWN_MAX)
        return GOPT_OK;
    const gi_dim **own = GI_NEW_ARRAY(c->scratch, const gi_dim *, n + 1);
    GI_NEED(own);
    for (uint32_t i = 0; i < n; i++) {
        GI_NEED(known[i]);
        own[i] = known[i];
    }
    gi_infer_set_known(c, out, n, own);
    return GOPT_OK;
}

int gi_dims_of(gi_infer *c, uint32_t in, const gi_dim **dims)
{
    const int rank = gi_infer_rank(c, in);
    for (int i = 0; i < rank; i++)
        dims[i] = gi_infer_dim(c, in, i);
    return rank;
}

const gi_dim *gi_dims_product(gi_infer *c, int from, int to, const gi_dim *const *dims)
{
    const gi_dim *p = gi_dim_const(c->g->dims, 1);
    for (int i = from; i < to && p; i++)
        p = dims[i] ? gi_dim_mul(c->g->dims, p, dims[i]) : NULL;
    return p;
}

const gi_dim *gi_dims_quotient(gi_infer *c, const gi_dim *a, const gi_dim *b)
{
    const gi_dim *q = gi_dim_div_exact(c->g->dims, a, b);
    return q ? q : gi_dim_floordiv(c->g->dims, a, b);
}

gopt_status gi_axes_of(gi_infer *c, uint32_t in, int rank, int *n, int *axes)
{
    if (!gi_infer_has(c, in)) {
        *n = rank;
        for (int i = 0; i < rank; i++)
            axes[i] = i;
        return GOPT_OK;
    }
    *n = -1;
    uint32_t count;
    int64_t *v;
    if (!gi_infer_ints(c, in, c->scratch, &count, &v))
        return GOPT_OK;
    if (count > GOPT_MAX_RANK)
        return gi_infer_fail(c, in, "expected at most %d entries", GOPT_MAX_RANK);
    bool seen[GOPT_MAX_RANK] = { false };
    for (uint32_t i = 0; i < count; i++) {
        if (!gi_axis(v[i], rank, &axes[i]))
            return gi_infer_fail(c, in, "which holds axis %lld, expected -%d to %d", (long long)v[i], rank, rank - 1);
        if (seen[axes[i]])
            return gi_infer_fail(c, in, "which names axis %d twice", axes[i]);
        seen[axes[i]] = true;
    }
    *n = (int)count;
    return GOPT_OK;
}

const char *gi_dim_text(gi_infer *c, const gi_dim *d)
{
    gi_str s;
    gi_str_init(&s, c->scratch);
    if (d)
        gi_dim_print(&s, d);
    return s.p ? s.p : "?";
}

const char *gi_dims_text(gi_infer *c, int rank, const gi_dim *const *dims)
{
    gi_str s;
    gi_str_init(&s, c->scratch);
    gi_str_add(&s, "[");
    for (int i = 0; i < rank; i++) {
        if (i)
            gi_str_add(&s, ",");
        if (dims[i])
            gi_dim_print(&s, dims[i]);
    }
    gi_str_add(&s, "]");
    return s.p ? s.p : "[?]";
}
