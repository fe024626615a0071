/* Pointwise nodes as functions inside of other kernels: what follows a product, with what it reads as the kernel's further
 * arguments, and what stands between the products of attention. */
#include "backend/opencl/expression.h"

/* ---- behind a product ---- */

typedef struct tail {
    gi_cl_writer w;
    gi_cl_view out; /* how the result lies */
    gi_str args, residuals, prefetches, keeps, unpacks, pairs, unpack_pairs, values, values_at; /* of the macros */
    uint32_t n_residuals;
    gi_cl_epilogue *e;
    const gi_value *turned[8]; /* operands that must be brought to the result's layout first; NULL: as they lie */
    int axis;
} tail;

/* A constant of one element a channel of the result. */
static bool along_channels(const tail *t, const gi_node *n, uint32_t i, const gi_value *v)
{
    const gi_blob *blob = gi_value_blob(v);
    if (!blob || blob->dtype != GOPT_F32 || gi_blob_elements(blob) != t->out.dims[t->axis])
        return false;
    if (gi_cl_is_along_channels(n, i))
        return t->axis == 1;
    const int at = t->axis - (t->out.rank - blob->rank);
    return at >= 0 && at < blob->rank && blob->dims[at] == t->out.dims[t->axis];
}

/* A tensor as large as the result whose elements lie as its do: images of the host after they have been turned. */
static bool lies_like_result(tail *t, const gi_value *v, gi_cl_view *view)
{
    const gi_cl_view *out = &t->out;
    if (v->type->dtype != GOPT_F32 && !(t->w.b->d->half && v->type->dtype == GOPT_F16))
        return false;
    if (gi_cl_same_place(view, out))
        return true;
    if (!out->channels_last || view->rank != out->rank ||
        memcmp(view->dims, out->dims, (size_t)out->rank * sizeof *out->dims) != 0)
        return false;
    *view = *out;
    view->half = t->w.b->d->half && !gi_fp32_value(v);
    t->turned[t->e->n_refs] = v;
    return true;
}

/* An operand from outside becomes a parameter of the function. */
static gopt_status take_operand(tail *t, const gi_node *n, uint32_t i, gi_str *params, bool *ok)
{
    gi_cl_writer *w = &t->w;
    const gi_value *v = gi_node_in(n, i);
    const bool channels = gi_cl_is_along_channels(n, i);
    const gi_blob *blob = gi_value_blob(v);
    const uint32_t r = t->e->n_refs;
    gi_cl_view view;
    uint32_t number;
    if (gi_cl_number_of(w, v, channels, &number) || gi_cl_write_constant(w, v, channels))
        return GOPT_OK;
    *ok = r < GI_COUNT(t->e->refs) && gi_cl_view_of(w->b, v, &view);
    if (!*ok)
        return GOPT_OK;
    if (along_channels(t, n, i, v)) {
        gi_str_addf(&t->args, ", __global const float *t%u, const ulong t%u_at", r, r);
        gi_str_addf(&t->values, ", t%u[t%u_at + (n)]", r, r);
        gi_str_addf(&t->values_at, ", t%u[t%u_at + (n)]", r, r);
    } else if (!blob && lies_like_result(t, v, &view)) {
        t->e->residual = true;
        gi_str_addf(&t->args, ", __global const %s *t%u, const ulong t%u_at", view.half ? "half" : "float", r, r);
        gi_str_addf(&t->residuals,
                    view.half ? " float q%u[8]; vstore8(load_half8(t%u + t%u_at + (i)), 0, q%u);"
                              : " float q%u[8]; vstore8(load_float8(t%u + t%u_at + (i)), 0, q%u);",
                    r, r, r, r);
        gi_str_addf(&t->prefetches, " PREFETCH(t%u + t%u_at + (i));", r, r);
        if (view.half == w->b->d->half) {
            const char *floats = view.half ? "" : "_floats";
            gi_str_addf(&t->keeps, " kept[k][%u] = load8%s(t%u + t%u_at + (i));", t->n_residuals, floats, r, r);
            gi_str_addf(&t->unpacks,
                        view.half ? " float q%u[8]; unpack8(kept[k][%u], q%u);"
                                  : " float q%u[8]; vstore8(kept[k][%u], 0, q%u);",
                        r, t->n_residuals, r);
            gi_str_addf(&t->pairs, " pair[k][%u] = load2%s(t%u + t%u_at + (i));", t->n_residuals, floats, r, r);
            gi_str_addf(&t->unpack_pairs,
                        view.half ? " float q%u[2]; unpack2(pair[k][%u], q%u);"
                                  : " float q%u[2]; vstore2(pair[k][%u], 0, q%u);",
                        r, t->n_residuals, r);
            t->n_residuals++;
        } else { /* from element `at` on, when it is needed */
            gi_str_addf(&t->unpacks, " float q%u[8]; vstore8(load_float8(t%u + t%u_at + at), 0, q%u);", r, r, r, r);
            gi_str_addf(&t->unpack_pairs, " float q%u[2]; vstore2(vload2((t%u_at + at) / 2, t%u), 0, q%u);", r, r, r,
                        r);
        }
        gi_str_addf(&t->values, ", q%u[e]", r);
        gi_str_addf(&t->values_at, view.half ? ", vload_half(t%u_at + (i), t%u)" : ", t%u[t%u_at + (i)]", r, r);
    } else {
        *ok = false;
        return GOPT_OK;
    }
    if (!t->turned[r])
        GI_TRY(gi_cl_find(w->b, v, &t->e->refs[r]));
    t->e->n_refs++;
    gi_str_addf(params, ", const float v%u", w->n_values);
    gi_cl_name_value(w, v, channels);
    return GOPT_OK;
}

gopt_status gi_cl_epilogue_of(gi_cl_build *b, const gi_value *acc, const gi_node *const *nodes, size_t n,
                              const gi_value *result, const gi_cl_view *out, int axis, gi_cl_epilogue *e, bool *ok)
{
    tail t = { .out = *out, .e = e, .axis = axis };
    gi_str params, s;
    uint32_t number;
    *e = (gi_cl_epilogue){ 0 };
    *ok = true;
    gi_str *const all[] = { &t.args,         &t.residuals, &t.prefetches, &t.keeps, &t.unpacks, &t.pairs,
                            &t.unpack_pairs, &t.values,    &t.values_at,  &params,  &s };
    for (size_t i = 0; i < GI_COUNT(all); i++)
        gi_str_init(all[i], b->arena);
    gi_cl_writer_init(&t.w, b);
    gi_cl_name_value(&t.w, acc, false);
    for (size_t k = 0; k < n && *ok; k++) {
        *ok = gi_cl_is_pointwise(nodes[k]);
        for (uint32_t i = 0; i < nodes[k]->n_in && *ok; i++)
            if (gi_node_in(nodes[k], i))
                GI_TRY(take_operand(&t, nodes[k], i, &params, ok));
        if (*ok)
            gi_cl_write_node(&t.w, nodes[k]);
    }
    *ok = *ok && gi_cl_number_of(&t.w, result, false, &number);
    if (!*ok)
        return GOPT_OK;
    gi_str_addf(&s, "static float epilogue(const float v0%s)\n{\n%s    return v%u;\n}\n", params.p ? params.p : "",
                t.w.body.p ? t.w.body.p : "", number);
    gi_str_addf(&s, "#define EXTRA_ARGS %s\n#define LOAD_RESIDUALS(i)%s\n", t.args.p ? t.args.p : "",
                t.residuals.p ? t.residuals.p : "");
    gi_str_addf(&s, "#define PREFETCH_RESIDUALS(i)%s\n", t.prefetches.p ? t.prefetches.p : "");
    gi_str_addf(&s, "#define RESIDUALS %u\n#define KEEP_RESIDUALS(k, i)%s\n#define UNPACK_RESIDUALS(k)%s\n",
                t.n_residuals, t.keeps.p ? t.keeps.p : "", t.unpacks.p ? t.unpacks.p : "");
    gi_str_addf(&s, "#define KEEP_PAIRS(k, i)%s\n#define UNPACK_PAIRS(k)%s\n", t.pairs.p ? t.pairs.p : "",
                t.unpack_pairs.p ? t.unpack_pairs.p : "");
    gi_str_addf(&s, "#define EPILOGUE(acc, e, n) epilogue(acc%s)\n", t.values.p ? t.values.p : "");
    gi_str_addf(&s, "#define EPILOGUE_AT(acc, i, n) epilogue(acc%s)\n", t.values_at.p ? t.values_at.p : "");
    for (size_t i = 0; i < GI_COUNT(all); i++)
        GI_NEED(!all[i]->failed);
    GI_NEED(!t.w.body.failed);
    gi_cl_view turned = *out;
    for (uint32_t i = 0; i < e->n_refs; i++)
        if (t.turned[i]) {
            turned.half = b->d->half && !gi_fp32_value(t.turned[i]);
            GI_TRY(gi_cl_convert(b, t.turned[i], &turned, &e->refs[i]));
        }
    e->source = s.p;
    return GOPT_OK;
}

/* ---- between the products of attention ---- */

/* An operand from outside becomes a parameter. */
static bool take_outside(gi_cl_writer *w, const gi_node *n, uint32_t i, gi_str *params, gi_cl_function *f)
{
    const gi_value *v = gi_node_in(n, i);
    const char *type = v->type && v->type->kind == GOPT_TENSOR ? gi_cl_type(v->type->dtype) : NULL;
    uint32_t number;
    if (gi_cl_number_of(w, v, false, &number))
        return true;
    if (!type || gi_cl_is_along_channels(n, i))
        return false;
    if (gi_cl_write_constant(w, v, false))
        return true;
    if (f->n == GI_COUNT(f->outside))
        return false;
    gi_str_addf(params, ", const %s v%u", type, w->n_values);
    f->outside[f->n] = v;
    f->by[f->n++] = n;
    gi_cl_name_value(w, v, false);
    return true;
}

gopt_status gi_cl_function_of(gi_cl_build *b, const char *name, const gi_value *x, gi_node *const *nodes, size_t n,
                              const gi_value *result, gi_cl_function *f, bool *ok)
{
    gi_cl_writer w;
    gi_str params, s;
    uint32_t number;
    *f = (gi_cl_function){ 0 };
    *ok = true;
    gi_cl_writer_init(&w, b);
    gi_str_init(&params, b->arena);
    gi_str_init(&s, b->arena);
    gi_cl_name_value(&w, x, false);
    for (size_t k = 0; k < n && *ok; k++) {
        if (nodes[k]->op == OP_Reshape) { /* the same elements */
            *ok = gi_cl_name_alias(&w, gi_node_in(nodes[k], 0), nodes[k]->out[0]);
            continue;
        }
        *ok = gi_cl_is_pointwise(nodes[k]);
        for (uint32_t i = 0; i < nodes[k]->n_in && *ok; i++)
            *ok = !gi_node_in(nodes[k], i) || take_outside(&w, nodes[k], i, &params, f);
        if (*ok)
            gi_cl_write_node(&w, nodes[k]);
    }
    *ok = *ok && gi_cl_number_of(&w, result, false, &number);
    if (!*ok)
        return GOPT_OK;
    gi_str_addf(&s, "static float %s(const float v0%s)\n{\n%s    return v%u;\n}\n", name, params.p ? params.p : "",
                w.body.p ? w.body.p : "", number);
    GI_NEED(!s.failed && !w.body.failed && !params.failed);
    f->source = s.p;
    return GOPT_OK;
}
