/* Raw nodes changed on their way in: what the shims of old opsets and of other domains share. */
#ifndef GI_ONNX_RAW_H
#define GI_ONNX_RAW_H

#include "onnx/import.h"

static inline gopt_status set_input(gi_import *im, gi_raw *r, size_t i, gi_value *v)
{
    GI_NEED(v);
    while (r->in.n <= i)
        GI_NEED(gi_push(im->a, &r->in, NULL));
    r->in.p[i] = v;
    return GOPT_OK;
}

static inline gi_value *input(const gi_raw *r, size_t i)
{
    return i < r->in.n ? r->in.p[i] : NULL;
}

static inline gopt_status set_attr(gi_import *im, gi_raw *r, gi_attr a)
{
    gi_raw_attr *have = gi_raw_attr_find(r, a.name);
    if (have) {
        have->a = a;
        return GOPT_OK;
    }
    return gi_push(im->a, &r->attrs, (gi_raw_attr){ .a = a }) ? GOPT_OK : GOPT_NO_MEMORY;
}

static inline gopt_status set_int(gi_import *im, gi_raw *r, const char *name, int64_t v)
{
    return set_attr(im, r, (gi_attr){ .kind = GI_ATTR_INT, .name = name, .u.i = v });
}

static inline gopt_status set_str(gi_import *im, gi_raw *r, const char *name, const char *v)
{
    return set_attr(im, r, (gi_attr){ .kind = GI_ATTR_STRING, .name = name, .n = (uint32_t)strlen(v), .u.s = v });
}

static inline bool has_str(gi_raw *r, const char *name, const char *v)
{
    const gi_raw_attr *a = gi_raw_attr_find(r, name);
    return a && a->a.kind == GI_ATTR_STRING && !strcmp(a->a.u.s, v);
}

static inline int64_t int_attr(gi_raw *r, const char *name, int64_t otherwise)
{
    const gi_raw_attr *a = gi_raw_attr_find(r, name);
    return a && a->a.kind == GI_ATTR_INT ? a->a.u.i : otherwise;
}

/* One more node, before the one at hand. *out receives its outputs. */
static inline gopt_status emit_all(gi_import *im, gi_raw *r, const char *domain, const char *op, const char *name,
                                   const gi_raw_attrs *attrs, size_t n_in, gi_value *const *in, uint32_t n_out,
                                   gi_value ***out)
{
    gi_raw c = *r;
    c.domain = domain;
    c.op = op;
    c.name = name;
    c.opset = r->opset;
    c.in = (gi_values){ 0 };
    c.attrs = attrs ? *attrs : (gi_raw_attrs){ 0 };
    c.n_out = n_out;
    for (size_t i = 0; i < n_in; i++)
        GI_NEED(gi_push(im->a, &c.in, in[i]));
    return gi_raw_create(im, &c, out);
}

/* The same, of ai.onnx, with one output. */
static inline gopt_status emit(gi_import *im, gi_raw *r, const char *op, const char *name, const gi_raw_attrs *attrs,
                               size_t n_in, gi_value *const *in, gi_value **out)
{
    gi_value **v;
    GI_TRY(emit_all(im, r, "", op, name, attrs, n_in, in, 1, &v));
    *out = v[0];
    return GOPT_OK;
}

/* And without attributes. */
#define EMIT(im, r, op, out, ...) EMIT_WITH(im, r, op, NULL, out, __VA_ARGS__)
#define EMIT_WITH(im, r, op, attrs, out, ...)                                                        \
    emit((im), (r), (op), NULL, (attrs), sizeof((gi_value *[]){ __VA_ARGS__ }) / sizeof(gi_value *), \
         (gi_value *[]){ __VA_ARGS__ }, (out))

/* All outputs are v. */
static inline gopt_status finish(gi_import *im, gi_raw *r, gi_value *v)
{
    r->done = GI_NEW_ARRAY(im->a, gi_value *, r->n_out + 1u);
    GI_NEED(r->done);
    for (uint32_t i = 0; i < r->n_out; i++)
        r->done[i] = v;
    return GOPT_OK;
}

static inline int rank_of(const gi_value *v)
{
    return v && v->type && v->type->kind == GOPT_TENSOR ? v->type->rank : -1;
}

#endif
