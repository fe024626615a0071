/* What evaluators share: tensors of blobs and back, broadcasting, strides. */
#include "ops/eval.h"

/* ---- tensors and blobs ---- */

void gi_tensor_of_blob(const gi_blob *b, gopt_tensor *t)
{
    *t = (gopt_tensor){ .kind = GOPT_TENSOR, .dtype = b->dtype, .rank = b->rank, .bytes = b->bytes, .refs = 1 };
    t->data = (void *)(uintptr_t)b->data;
    for (int i = 0; i < b->rank && i < GOPT_MAX_RANK; i++)
        t->dims[i] = b->dims[i];
}

/* An array of n strings with their bytes behind it, from the context's memory. */
static gopt_string *strings_copy(gopt_ctx *cx, const gopt_string *from, size_t n)
{
    size_t bytes;
    if (!gi_mul_size(n, sizeof *from, &bytes))
        return NULL;
    for (size_t i = 0; i < n; i++)
        if (!gi_add_size(bytes, from[i].n, &bytes))
            return NULL;
    gopt_string *to = gi_alloc(cx, bytes);
    char *p = to ? (char *)(to + n) : NULL;
    for (size_t i = 0; to && i < n; i++) {
        to[i] = (gopt_string){ .p = p, .n = from[i].n };
        if (from[i].n)
            memcpy(p, from[i].p, from[i].n);
        p += from[i].n;
    }
    return to;
}

gopt_status gi_tensor_own_strings(gopt_ctx *cx, gopt_tensor *t)
{
    gopt_string *to = strings_copy(cx, t->data, (size_t)gopt_tensor_elements(t));
    GI_NEED(to);
    gi_free(cx, t->data);
    t->data = to;
    return GOPT_OK;
}

gopt_status gi_blob_of_tensor(gopt_ctx *cx, const gopt_tensor *t, gi_blob **out)
{
    if (t->kind != GOPT_TENSOR)
        return gi_fail(cx, GOPT_INTERNAL, NULL, NULL, "a sequence or optional cannot become a weight");
    gi_blob *b;
    GI_TRY(gi_blob_create(cx, t->dtype, t->rank, t->dims, &b));
    if (t->dtype == GOPT_STRING) {
        gopt_string *s = strings_copy(cx, t->data, (size_t)gopt_tensor_elements(t));
        if (!s) {
            gi_blob_unref(b);
            return GOPT_NO_MEMORY;
        }
        gi_free(cx, b->owned);
        b->owned = s;
        b->data = s;
    } else if (t->bytes) {
        memcpy(b->owned, t->data, t->bytes);
    }
    *out = b;
    return GOPT_OK;
}

gopt_status gi_tensor_container(gopt_ctx *cx, gopt_kind kind, size_t room, gopt_tensor **out)
{
    size_t bytes;
    gopt_tensor *t = gi_alloc(cx, sizeof *t);
    GI_NEED(t);
    *t = (gopt_tensor){ .kind = kind, .cx = cx, .refs = 1 };
    t->items = gi_mul_size(room, sizeof *t->items, &bytes) ? gi_alloc(cx, bytes) : NULL;
    if (!t->items) {
        gi_free(cx, t);
        return GOPT_NO_MEMORY;
    }
    *out = t;
    return GOPT_OK;
}

static gopt_status copy_items(gopt_ctx *cx, const gopt_tensor *t, gopt_tensor *to)
{
    if (t->n_items == 0)
        return GOPT_OK;
    to->items = gi_alloc(cx, t->n_items * sizeof *to->items);
    GI_NEED(to->items);
    for (size_t i = 0; i < t->n_items; i++) {
        GI_TRY(gi_tensor_keep(cx, t->items[i], &to->items[i]));
        to->n_items = i + 1;
    }
    return GOPT_OK;
}

gopt_status gi_tensor_copy(gopt_ctx *cx, const gopt_tensor *t, gopt_tensor **out)
{
    gopt_tensor *to = NULL;
    gopt_status st;
    if (t->kind == GOPT_TENSOR) {
        GI_TRY(gopt_tensor_create(cx, t->dtype, t->rank, t->dims, &to));
        if (t->bytes && to->bytes <= t->bytes)
            memcpy(to->data, t->data, to->bytes);
        st = t->dtype == GOPT_STRING ? gi_tensor_own_strings(cx, to) : GOPT_OK;
    } else {
        to = gi_alloc(cx, sizeof *to);
        GI_NEED(to);
        *to = (gopt_tensor){ .kind = t->kind, .dtype = t->dtype, .rank = t->rank, .cx = cx, .refs = 1 };
        st = copy_items(cx, t, to);
    }
    if (st != GOPT_OK)
        gopt_tensor_unref(to);
    else
        *out = to;
    return st;
}

gopt_status gi_tensor_keep(gopt_ctx *cx, const gopt_tensor *t, gopt_tensor **out)
{
    if (!t->cx)
        return gi_tensor_copy(cx, t, out);
    *out = gopt_tensor_ref((gopt_tensor *)(uintptr_t)t);
    return GOPT_OK;
}

/* ---- shapes ---- */

bool gi_broadcast_dims(int ra, const int64_t *a, int rb, const int64_t *b, int *r, int64_t *out)
{
    const int rank = ra > rb ? ra : rb;
    for (int i = 1; i <= rank; i++) {
        const int64_t x = i <= ra ? a[ra - i] : 1, y = i <= rb ? b[rb - i] : 1;
        if (x != y && x != 1 && y != 1)
            return false;
        out[rank - i] = x == 1 ? y : x;
    }
    *r = rank;
    return true;
}

void gi_broadcast_strides(int r, const int64_t *dims, int ro, const int64_t *out, int64_t *strides)
{
    int64_t step = 1;
    (void)out;
    for (int i = 1; i <= ro; i++) {
        const int64_t d = i <= r ? dims[r - i] : 1;
        strides[ro - i] = d == 1 ? 0 : step;
        step *= d;
    }
}

void gi_strides(int r, const int64_t *dims, int64_t *strides)
{
    int64_t step = 1;
    for (int i = r - 1; i >= 0; i--) {
        strides[i] = step;
        step *= dims[i];
    }
}

int64_t gi_product(int from, int to, const int64_t *dims)
{
    int64_t p = 1;
    for (int i = from; i < to; i++)
        p *= dims[i];
    return p;
}

size_t gi_item_size(gopt_dtype t)
{
    if (t == GOPT_STRING)
        return 0;
    const int bits = gopt_dtype_bits(t);
    return bits >= 8 ? (size_t)bits / 8 : 0;
}
