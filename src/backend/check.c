/* Checks a tensor against the graph input that it is given for, and says what would help. */
#include <inttypes.h>

#include "backend/engine.h"

static const char *tensor_text(gi_arena *a, const gopt_tensor *t)
{
    static const char *const kinds[] = {
        [GOPT_SEQUENCE] = "a sequence", [GOPT_OPTIONAL] = "an optional", [GOPT_MAP] = "a map"
    };
    if (t->kind != GOPT_TENSOR)
        return kinds[t->kind];
    gi_str s;
    gi_str_init(&s, a);
    gi_str_addf(&s, "%s[", gopt_dtype_name(t->dtype));
    for (int i = 0; i < t->rank; i++)
        gi_str_addf(&s, "%s%" PRId64, i ? "," : "", t->dims[i]);
    gi_str_add(&s, "]");
    return s.p ? s.p : "a tensor";
}

static const char *type_text(gi_arena *a, const gi_type *t)
{
    gi_str s;
    gi_str_init(&s, a);
    gi_type_print(&s, t);
    return s.p ? s.p : "another type";
}

/* A picture as decoders give it: bytes, height × width × 1, 3 or 4 channels, perhaps behind a batch of 1. */
static bool is_picture(const gopt_tensor *t)
{
    if (t->dtype != GOPT_U8 || (t->rank != 3 && t->rank != 4))
        return false;
    const int64_t channels = t->dims[t->rank - 1];
    return (channels == 1 || channels == 3 || channels == 4) && (t->rank == 3 || t->dims[0] == 1);
}

static bool wants_picture(const gi_type *t)
{
    int64_t channels;
    return t->kind == GOPT_TENSOR && gi_dtype_is_float(t->dtype) && t->rank == 4 &&
           gi_type_dim_const(t, 1, &channels) && (channels == 1 || channels == 3 || channels == 4);
}

static const char *hint_for(const gi_type *want, const gopt_tensor *t)
{
    if (t->kind == GOPT_TENSOR && is_picture(t) && wants_picture(want))
        return "this is a picture of bytes, height x width x channels, and the model wants floats, batch x channels x "
               "height x width: give the .png or .jpg file itself with --image-layout nchw --image-scale 0.00392157 "
               "(and --image-mean, --image-std where the model was trained with them)";
    if (want->kind == GOPT_TENSOR && t->kind == GOPT_TENSOR && want->dtype != t->dtype)
        return "convert the data to the model's element type (numpy: x.astype)";
    if (want->kind == GOPT_TENSOR && t->kind == GOPT_TENSOR && want->rank == t->rank + 1)
        return "a batch dimension seems to be missing (numpy: x[None])";
    return NULL;
}

/* Does the tensor fit as far as the type is fixed? */
static bool fits(const gi_type *want, const gopt_tensor *t)
{
    if (!want)
        return true;
    if (want->kind != t->kind)
        return false;
    if (want->kind != GOPT_TENSOR)
        return true;
    if (want->dtype != GOPT_UNDEFINED && want->dtype != t->dtype)
        return false;
    if (want->rank >= 0 && want->rank != t->rank)
        return false;
    for (int i = 0; i < want->rank; i++) {
        int64_t v;
        if (gi_type_dim_const(want, i, &v) && v != t->dims[i])
            return false;
    }
    return true;
}

static gopt_status check_bytes(gopt_ctx *cx, const gi_place *at, const gopt_tensor *t)
{
    int64_t n = 1;
    size_t bytes = 0;
    bool ok = t->rank >= 0 && t->rank <= GOPT_MAX_RANK;
    for (int i = 0; i < t->rank && ok; i++)
        ok = t->dims[i] >= 0 && gi_mul_i64(n, t->dims[i], &n);
    ok = ok && gi_dtype_bytes(t->dtype, (size_t)n, &bytes);
    if (!ok)
        return gi_fail(cx, GOPT_BAD_INPUT, at, NULL, "the tensor given has no valid shape or element type");
    if (bytes > t->bytes || (bytes && !t->data))
        return gi_fail(cx, GOPT_BAD_INPUT, at, NULL, "the tensor given holds %zu bytes, its shape needs %zu", t->bytes,
                       bytes);
    return GOPT_OK;
}

/* Keys and values, as many of one as of the other, of the types wanted. */
static gopt_status check_map(gopt_ctx *cx, const gi_place *at, const gi_type *want, const gopt_tensor *t)
{
    const gopt_tensor *const *part = (const gopt_tensor *const *)t->items;
    bool ok = t->n_items == 2;
    for (int i = 0; i < 2 && ok; i++)
        ok = part[i] && part[i]->kind == GOPT_TENSOR && part[i]->rank == 1;
    if (!ok || part[0]->dims[0] != part[1]->dims[0])
        return gi_fail(cx, GOPT_BAD_INPUT, at, NULL, "the map given is no keys and as many values");
    const gopt_dtype value = want && want->elem ? want->elem->dtype : GOPT_UNDEFINED;
    if (want && ((want->key && part[0]->dtype != want->key) || (value && part[1]->dtype != value)))
        return gi_fail(cx, GOPT_BAD_INPUT, at, NULL, "the map given is from %s to %s, expected from %s to %s",
                       gopt_dtype_name(part[0]->dtype), gopt_dtype_name(part[1]->dtype), gopt_dtype_name(want->key),
                       gopt_dtype_name(value));
    GI_TRY(check_bytes(cx, at, part[0]));
    return check_bytes(cx, at, part[1]);
}

gopt_status gi_check_input(gopt_ctx *cx, const gopt_graph *g, size_t i, const gopt_tensor *t)
{
    if (i >= g->main->n_params)
        return gi_fail(cx, GOPT_USAGE, &(gi_place){ .file = g->file }, NULL,
                       "input %zu is set, the model has %" PRIu32 " inputs", i, g->main->n_params);
    const gi_value *v = g->main->params[i];
    const gi_place at = { .file = g->file, .input = v->name };
    if (!t)
        return gi_fail(cx, GOPT_USAGE, &at, NULL, "no tensor is given for it");
    if (t->kind != GOPT_TENSOR && t->kind != GOPT_SEQUENCE && t->kind != GOPT_OPTIONAL && t->kind != GOPT_MAP)
        return gi_fail(cx, GOPT_USAGE, &at, NULL, "the tensor given is of no known kind");
    if (fits(v->type, t))
        return t->kind == GOPT_TENSOR ? check_bytes(cx, &at, t)
               : t->kind == GOPT_MAP  ? check_map(cx, &at, v->type, t)
                                      : GOPT_OK;
    gi_arena *a = gi_arena_create(cx);
    GI_NEED(a);
    const gopt_status st = gi_fail(cx, GOPT_BAD_INPUT, &at, hint_for(v->type, t), "found %s, expected %s",
                                   tensor_text(a, t), type_text(a, v->type));
    gi_arena_destroy(a);
    return st;
}
