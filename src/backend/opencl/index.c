/* Writing kernels with an item for each element of a result (index.h). */
#include "backend/opencl/index.h"

#include <ctype.h>
#include <inttypes.h>

#include "ops/eval.h"

#define EACH(x)                                                                                                       \
    {                                                                                                                 \
        x "0", x "1", x "2", x "3", x "4", x "5", x "6", x "7", x "8", x "9", x "10", x "11", x "12", x "13", x "14", \
            x "15"                                                                                                    \
    }
const char *const gi_cl_coordinates[GOPT_MAX_RANK] = EACH("c");
const char *const gi_cl_places[GOPT_MAX_RANK] = EACH("n");
_Static_assert(GOPT_MAX_RANK == 16, "each has a name");

const char *gi_cl_move_type(gopt_dtype t)
{
    if (gi_cl_type(t))
        return gi_cl_type(t);
    switch (t == GOPT_STRING ? 0 : gopt_dtype_bits(t)) {
    case 8:
        return "uchar";
    case 16:
        return "ushort";
    case 32:
        return "uint";
    case 64:
        return "ulong";
    default:
        return NULL;
    }
}

bool gi_cl_movable(gi_cl_build *b, const gi_value *v, const char *what, int *rank, int64_t *dims)
{
    if (!v || !v->type || !gi_type_static_dims(v->type, dims))
        return gi_cl_decline(b, "the shape of %s is known only in a run", what);
    if (!gi_cl_move_type(v->type->dtype))
        return gi_cl_decline(b, "opencl kernels move no %s elements", gopt_dtype_name(v->type->dtype));
    *rank = v->type->rank;
    return true;
}

const int64_t *gi_cl_known_ints(gi_cl_build *b, gi_value *v, const char *what, size_t most, size_t *n)
{
    const gi_blob *blob = gi_value_blob(v);
    uint32_t count = 0;
    const gi_dim *const *known = blob || !v ? NULL : gi_value_known(v, &count);
    *n = blob ? (size_t)gi_blob_elements(blob) : count;
    if ((!blob && !known) || *n > most || (blob && gi_dtype_class(blob->dtype) == GI_TEXT)) {
        (void)gi_cl_decline(b, "%s known only in a run", what);
        return NULL;
    }
    int64_t *p = GI_NEW_ARRAY(b->arena, int64_t, *n + 1);
    for (size_t i = 0; p && i < *n; i++) {
        if (blob) {
            p[i] = gi_load_i64(blob->dtype, blob->data, i);
        } else if (!known[i] || !gi_dim_is_const(known[i], &p[i])) {
            (void)gi_cl_decline(b, "%s known only in a run", what);
            return NULL;
        }
    }
    return p;
}

void gi_cl_index_place(gi_str *s, const gi_cl_view *v, const char *const *coordinates)
{
    bool any = false;
    for (int i = 0; i < v->rank; i++) {
        if (v->dims[i] == 1)
            continue;
        gi_str_add(s, any ? " + " : "");
        any = true;
        if (coordinates)
            gi_str_addf(s, "(%s)", coordinates[i]);
        else
            gi_str_addf(s, "c%d", i);
        if (v->stride[i] != 1)
            gi_str_addf(s, " * %" PRId64, v->stride[i]);
    }
    if (!any)
        gi_str_add(s, "0");
}

/* The coordinates of item i, in the order in which the result lies: neighbouring items write neighbouring elements. */
static void write_coordinates(gi_cl_index *k)
{
    const gi_cl_view *y = &k->y;
    int order[GOPT_MAX_RANK];
    int64_t below = 1;
    for (int i = 0; i < y->rank; i++) {
        int at = i;
        for (; at && y->stride[order[at - 1]] < y->stride[i] && y->dims[i] > 1; at--)
            order[at] = order[at - 1];
        order[at] = i;
    }
    for (int i = y->rank - 1; i >= 0; i--) {
        const int64_t d = y->dims[order[i]];
        gi_str_addf(&k->body, "    const ix c%d = ", order[i]);
        if (d == 1)
            gi_str_add(&k->body, "0");
        else
            gi_str_addf(&k->body, "i / %" PRId64 " %% %" PRId64, below, d);
        gi_str_add(&k->body, ";\n");
        below *= d ? d : 1;
    }
}

gopt_status gi_cl_index_begin(gi_cl_index *k, gi_cl_build *b, const gi_node *n, const gi_value *result)
{
    *k = (gi_cl_index){ .b = b, .title = n->op_name, .result = result };
    gi_str_init(&k->head, b->arena);
    gi_str_init(&k->params, b->arena);
    gi_str_init(&k->body, b->arena);
    if (!gi_cl_view_of(b, result, &k->y))
        return GOPT_INTERNAL;
    k->wide = k->y.room > INT32_MAX / 2;
    write_coordinates(k);
    return GOPT_OK;
}

static gopt_status add_ref(gi_cl_index *k, const char *type, const char *name, const gi_cl_ref *ref, bool half)
{
    if (k->n_refs == GI_CL_MAX_REFS)
        return GOPT_INTERNAL;
    char small[32];
    size_t i = 0;
    for (; name[i] && i + 2 < sizeof small; i++)
        small[i] = (char)tolower((unsigned char)name[i]);
    small[i] = 's'; /* x0s, where X0(i) is read: no variable has such a name */
    small[i + 1] = 0;
    gi_str_addf(&k->params, "__global const %s *%s, const ulong %s_at, ", type, small, small);
    gi_str_addf(&k->head, half ? "#define %s(i) vload_half(%s_at + (i), %s)\n" : "#define %s(i) %s[%s_at + (i)]\n",
                name, small, small);
    k->refs[k->n_refs++] = *ref;
    return GOPT_OK;
}

gopt_status gi_cl_index_read(gi_cl_index *k, const gi_value *v, const char *name, gi_cl_view *view)
{
    gi_cl_view own;
    gi_cl_ref ref;
    if (!gi_cl_view_of(k->b, v, &own))
        return GOPT_INTERNAL;
    k->wide = k->wide || own.room > INT32_MAX / 2;
    GI_TRY(gi_cl_find(k->b, v, &ref));
    if (view)
        *view = own;
    return add_ref(k, own.half ? "half" : gi_cl_move_type(v->type->dtype), name, &ref, own.half);
}

gopt_status gi_cl_index_ints(gi_cl_index *k, const char *name, const int64_t *v, size_t n)
{
    gi_cl_ref ref;
    int32_t *small = GI_NEW_ARRAY(k->b->arena, int32_t, n + 1);
    bool fit = true;
    GI_NEED(small);
    for (size_t i = 0; i < n; i++) {
        small[i] = (int32_t)v[i];
        fit = fit && small[i] == v[i];
    }
    GI_TRY(fit ? gi_cl_own(k->b, small, n * sizeof *small, sizeof *small, &ref)
               : gi_cl_own(k->b, v, n * sizeof *v, sizeof *v, &ref));
    return add_ref(k, fit ? "int" : "long", name, &ref, false);
}

gopt_status gi_cl_index_floats(gi_cl_index *k, const char *name, const float *v, size_t n)
{
    gi_cl_ref ref;
    GI_TRY(gi_cl_own(k->b, v, n * sizeof *v, sizeof *v, &ref));
    return add_ref(k, "float", name, &ref, false);
}

gopt_status gi_cl_index_launch(gi_cl_index *k, int64_t items)
{
    gi_str s;
    if (k->n_refs == GI_CL_MAX_REFS)
        return GOPT_INTERNAL;
    gi_str_init(&s, k->b->arena);
    GI_TRY(gi_cl_find(k->b, k->result, &k->refs[k->n_refs]));
    gi_str_addf(&s, "// %s\n#define ix %s\n%s", k->title, k->wide ? "long" : "int", k->head.p ? k->head.p : "");
    gi_str_addf(&s, "#define STORE(v, i) %s\n", k->y.half ? "vstore_half(v, y_at + (i), y)" : "y[y_at + (i)] = (v)");
    gi_str_addf(&s,
                "__kernel void element(%s__global %s *y, const ulong y_at WALK_ARGS)\n{\n    const ix i = "
                "get_global_id(0);\n%s}\n",
                k->params.p ? k->params.p : "", k->y.half ? "half" : gi_cl_move_type(k->result->type->dtype),
                k->body.p ? k->body.p : "");
    GI_NEED(!s.failed && !k->head.failed && !k->params.failed && !k->body.failed);
    return gi_cl_launch_kernel(k->b, s.p, "element", k->n_refs + 1, k->refs, 0, NULL, (size_t[]){ (size_t)items, 1, 1 },
                               NULL);
}

gopt_status gi_cl_index_end(gi_cl_index *k, const char *value)
{
    gi_str_addf(&k->body, "    STORE(%s, ", value);
    gi_cl_index_place(&k->body, &k->y, NULL);
    gi_str_add(&k->body, ");\n");
    return gi_cl_index_launch(k, gi_product(0, k->y.rank, k->y.dims));
}
