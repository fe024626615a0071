/* Weights and tensors: reference-counted bytes, counted against the context's limit. */
#include "ir/blob.h"

/* Takes bytes from the context's budget. */
static gopt_status reserve(gopt_ctx *cx, size_t bytes)
{
    const uint64_t now = __atomic_add_fetch(&cx->tensor_bytes, bytes, __ATOMIC_RELAXED);
    if (now <= cx->memory_limit)
        return GOPT_OK;
    __atomic_sub_fetch(&cx->tensor_bytes, bytes, __ATOMIC_RELAXED);
    return gi_fail(cx, GOPT_NO_MEMORY, NULL, "raise --memory-limit, or fix the dynamic dimensions to smaller values",
                   "a tensor of %zu bytes would pass the memory limit of %llu bytes", bytes,
                   (unsigned long long)cx->memory_limit);
}

static void give_back(gopt_ctx *cx, size_t bytes)
{
    __atomic_sub_fetch(&cx->tensor_bytes, bytes, __ATOMIC_RELAXED);
}

/* Elements and bytes of a shape, with a diagnostic where there can be no such tensor. */
static gopt_status measure(gopt_ctx *cx, gopt_dtype dtype, int rank, const int64_t *dims, int64_t *n, size_t *bytes)
{
    int64_t total = 1;
    if (rank < 0 || rank > GOPT_MAX_RANK)
        return gi_fail(cx, GOPT_BAD_INPUT, NULL, NULL, "a tensor of rank %d, expected at most %d", rank, GOPT_MAX_RANK);
    for (int i = 0; i < rank; i++) {
        if (dims[i] < 0)
            return gi_fail(cx, GOPT_BAD_INPUT, NULL, NULL, "dimension %d of a tensor is %lld, expected 0 or more", i,
                           (long long)dims[i]);
        if (!gi_mul_i64(total, dims[i], &total))
            return gi_fail(cx, GOPT_BAD_INPUT, NULL, NULL, "a tensor's size overflows 64 bits");
    }
    if (!gi_dtype_bytes(dtype, (size_t)total, bytes) || *bytes > (size_t)INT64_MAX)
        return gi_fail(cx, GOPT_BAD_INPUT, NULL, NULL, "a tensor of %lld elements of type %s is larger than any memory",
                       (long long)total, gopt_dtype_name(dtype));
    *n = total;
    return GOPT_OK;
}

static gopt_status take(gopt_ctx *cx, gopt_dtype dtype, size_t bytes, gi_store *how, void **p)
{
    *how = GI_STORE_FILE;
    *p = dtype == GOPT_STRING ? NULL : gi_store_spill(cx, bytes);
    if (*p)
        return GOPT_OK;
    GI_TRY(reserve(cx, bytes));
    *how = GI_STORE_HEAP;
    *p = dtype == GOPT_STRING ? gi_alloc(cx, bytes) : gi_store_alloc(cx, bytes, how); /* strings grow */
    if (!*p) {
        give_back(cx, bytes);
        return gi_fail(cx, GOPT_NO_MEMORY, NULL, NULL, "no memory for a tensor of %zu bytes", bytes);
    }
    return GOPT_OK;
}

static void release(gopt_ctx *cx, void *p, size_t bytes, gi_store how)
{
    if (how != GI_STORE_FILE)
        give_back(cx, bytes);
    gi_store_free(cx, p, bytes, how);
}

/* ---- blobs ---- */

/* A blob and its dims in one piece of memory. */
static gi_blob *blob_alloc(gopt_ctx *cx, gopt_dtype dtype, int rank, const int64_t *dims, size_t bytes)
{
    gi_blob *b = gi_alloc(cx, sizeof *b + (size_t)rank * sizeof *dims);
    if (!b)
        return NULL;
    int64_t *own = (int64_t *)(b + 1);
    if (rank)
        memcpy(own, dims, (size_t)rank * sizeof *dims);
    *b = (gi_blob){ .cx = cx, .refs = 1, .dtype = dtype, .rank = rank, .dims = own, .bytes = bytes };
    return b;
}

gopt_status gi_blob_create(gopt_ctx *cx, gopt_dtype dtype, int rank, const int64_t *dims, gi_blob **out)
{
    int64_t n;
    size_t bytes;
    GI_TRY(measure(cx, dtype, rank, dims, &n, &bytes));
    gi_blob *b = blob_alloc(cx, dtype, rank, dims, bytes);
    GI_NEED(b);
    const gopt_status st = take(cx, dtype, bytes, &b->store, &b->owned);
    if (st != GOPT_OK) {
        gi_free(cx, b);
        return st;
    }
    b->data = b->owned;
    *out = b;
    return GOPT_OK;
}

bool gi_blob_take(gopt_tensor *t, gi_blob **out)
{
    size_t bytes;
    if (t->kind != GOPT_TENSOR || !t->cx || t->dtype == GOPT_STRING || !t->data || t->store == GI_STORE_LENT ||
        __atomic_load_n(&t->refs, __ATOMIC_ACQUIRE) != 1 ||
        !gi_dtype_bytes(t->dtype, (size_t)gopt_tensor_elements(t), &bytes) || bytes != t->bytes)
        return false;
    *out = blob_alloc(t->cx, t->dtype, t->rank, t->dims, bytes);
    if (*out) {
        (*out)->data = (*out)->owned = t->data;
        (*out)->store = (gi_store)t->store;
        t->data = NULL;
        t->bytes = 0;
    }
    return true;
}

gopt_status gi_blob_mapped(gopt_ctx *cx, gopt_dtype dtype, int rank, const int64_t *dims, gi_file *f, uint64_t offset,
                           gi_blob **out)
{
    int64_t n;
    size_t bytes;
    GI_TRY(measure(cx, dtype, rank, dims, &n, &bytes));
    if (offset > f->size || bytes > f->size - offset)
        return gi_fail(cx, GOPT_BAD_INPUT, &(gi_place){ .file = f->path }, NULL,
                       "%zu bytes at offset %llu are needed, the file has %zu", bytes, (unsigned long long)offset,
                       f->size);
    const uint8_t *p = f->data + offset;
    const size_t align = bytes ? (size_t)gopt_dtype_bits(dtype) / 8 : 1;
    if (align > 1 && (uintptr_t)p % (align > 8 ? 8 : align) != 0) {
        GI_TRY(gi_blob_create(cx, dtype, rank, dims, out));
        memcpy((*out)->owned, p, bytes);
        return GOPT_OK;
    }
    gi_blob *b = blob_alloc(cx, dtype, rank, dims, bytes);
    GI_NEED(b);
    b->data = p;
    b->file = gi_file_ref(f);
    *out = b;
    return GOPT_OK;
}

static gopt_status share(gi_blob *from, gopt_dtype dtype, int rank, const int64_t *dims, size_t bytes, gi_blob **out)
{
    gi_blob *b = blob_alloc(from->cx, dtype, rank, dims, bytes);
    GI_NEED(b);
    b->data = from->data;
    b->base = gi_blob_ref(from);
    *out = b;
    return GOPT_OK;
}

gopt_status gi_blob_reshaped(gi_blob *from, int rank, const int64_t *dims, gi_blob **out)
{
    int64_t n;
    size_t bytes;
    GI_TRY(measure(from->cx, from->dtype, rank, dims, &n, &bytes));
    if (n != gi_blob_elements(from))
        return gi_fail(from->cx, GOPT_INTERNAL, NULL, NULL, "a reshape changes the number of elements");
    return share(from, from->dtype, rank, dims, bytes, out);
}

gopt_status gi_blob_seen_as(gi_blob *from, gopt_dtype dtype, int rank, const int64_t *dims, gi_blob **out)
{
    int64_t n;
    size_t bytes;
    GI_TRY(measure(from->cx, dtype, rank, dims, &n, &bytes));
    if (bytes != from->bytes || from->dtype == GOPT_STRING || gopt_dtype_bits(dtype) > 8)
        return gi_fail(from->cx, GOPT_INTERNAL, NULL, NULL, "bytes cannot be seen as elements of another type");
    return share(from, dtype, rank, dims, bytes, out);
}

gi_blob *gi_blob_ref(gi_blob *b)
{
    __atomic_add_fetch(&b->refs, 1, __ATOMIC_RELAXED);
    return b;
}

void gi_blob_unref(gi_blob *b)
{
    if (!b || __atomic_sub_fetch(&b->refs, 1, __ATOMIC_ACQ_REL) > 0)
        return;
    gi_blob_unref(b->base);
    gi_file_unref(b->file);
    gi_blob_drop_bytes(b);
    gi_free(b->cx, b);
}

void gi_blob_drop_bytes(gi_blob *b)
{
    if (!b->owned || __atomic_load_n(&b->refs, __ATOMIC_ACQUIRE) > 1)
        return;
    release(b->cx, b->owned, b->bytes, b->store);
    b->owned = NULL;
    b->data = NULL;
}

void gi_blob_let_go(gi_blob *b, int holders)
{
    if ((!b->owned && !b->base) || __atomic_load_n(&b->refs, __ATOMIC_ACQUIRE) > holders)
        return;
    if (b->owned)
        release(b->cx, b->owned, b->bytes, b->store);
    gi_blob_unref(b->base);
    b->owned = NULL;
    b->base = NULL;
    b->data = NULL;
}

int64_t gi_blob_elements(const gi_blob *b)
{
    int64_t n = 1;
    for (int i = 0; i < b->rank; i++)
        n *= b->dims[i]; /* was checked when made */
    return n;
}

uint64_t gi_blob_hash(gi_blob *b)
{
    uint64_t h = __atomic_load_n(&b->hash, __ATOMIC_RELAXED);
    if (h)
        return h;
    h = gi_hash(b->dims, (size_t)b->rank * sizeof *b->dims, (uint64_t)b->dtype);
    if (!b->data && b->bytes)
        return h; /* they were let go of */
    if (b->dtype == GOPT_STRING) {
        const gopt_string *s = b->data;
        for (int64_t i = 0, n = gi_blob_elements(b); i < n; i++)
            h = gi_hash(s[i].p, s[i].n, h);
    } else {
        h = gi_hash(b->data, b->bytes, h);
    }
    h += !h;
    __atomic_store_n(&b->hash, h, __ATOMIC_RELAXED);
    return h;
}

bool gi_blob_equal(gi_blob *a, gi_blob *b)
{
    if (a == b)
        return true;
    if (a->dtype != b->dtype || a->rank != b->rank || a->bytes != b->bytes ||
        (a->rank && memcmp(a->dims, b->dims, (size_t)a->rank * sizeof *a->dims) != 0))
        return false;
    if (a->dtype != GOPT_STRING)
        return a->data == b->data || !a->bytes || (a->data && b->data && !memcmp(a->data, b->data, a->bytes));
    const gopt_string *x = a->data, *y = b->data;
    for (int64_t i = 0, n = gi_blob_elements(a); i < n; i++)
        if (x[i].n != y[i].n || (x[i].n && memcmp(x[i].p, y[i].p, x[i].n) != 0))
            return false;
    return true;
}

/* ---- tensors ---- */

gopt_status gopt_tensor_create(gopt_ctx *cx, gopt_dtype dtype, int rank, const int64_t *dims, gopt_tensor **out)
{
    int64_t n;
    size_t bytes;
    GI_TRY(measure(cx, dtype, rank, dims, &n, &bytes));
    gopt_tensor *t = gi_alloc(cx, sizeof *t);
    GI_NEED(t);
    *t = (gopt_tensor){ .dtype = dtype, .rank = rank, .bytes = bytes, .cx = cx, .refs = 1 };
    if (rank)
        memcpy(t->dims, dims, (size_t)rank * sizeof *dims);
    gi_store how;
    const gopt_status st = take(cx, dtype, bytes, &how, &t->data);
    t->store = (int)how;
    if (st != GOPT_OK) {
        gi_free(cx, t);
        return st;
    }
    *out = t;
    return GOPT_OK;
}

typedef struct lent_tensor {
    gopt_tensor t;
    void (*take_back)(void *handle);
    void *handle;
} lent_tensor;

gopt_status gi_tensor_create_lent(gopt_ctx *cx, gopt_dtype dtype, int rank, const int64_t *dims, const gi_lender *from,
                                  gopt_tensor **out)
{
    int64_t n;
    size_t bytes;
    GI_TRY(measure(cx, dtype, rank, dims, &n, &bytes));
    if (!bytes || dtype == GOPT_STRING)
        return gopt_tensor_create(cx, dtype, rank, dims, out);
    GI_TRY(reserve(cx, bytes));
    lent_tensor *l = gi_alloc(cx, sizeof *l);
    void *data = l ? from->lend(from->user, bytes, &l->handle) : NULL;
    if (!data) {
        gi_free(cx, l);
        give_back(cx, bytes);
        return gopt_tensor_create(cx, dtype, rank, dims, out);
    }
    memset(data, 0, bytes);
    l->take_back = from->take_back;
    l->t = (gopt_tensor){
        .dtype = dtype, .rank = rank, .data = data, .bytes = bytes, .cx = cx, .refs = 1, .store = GI_STORE_LENT
    };
    if (rank)
        memcpy(l->t.dims, dims, (size_t)rank * sizeof *dims);
    *out = &l->t;
    return GOPT_OK;
}

gopt_tensor *gopt_tensor_ref(gopt_tensor *t)
{
    __atomic_add_fetch(&t->refs, 1, __ATOMIC_RELAXED);
    return t;
}

void gopt_tensor_unref(gopt_tensor *t)
{
    if (!t || __atomic_sub_fetch(&t->refs, 1, __ATOMIC_ACQ_REL) > 0)
        return;
    for (size_t i = 0; i < t->n_items; i++)
        gopt_tensor_unref(t->items[i]);
    gopt_ctx *cx = t->cx;
    if (!cx) /* borrowed data in borrowed memory */
        return;
    gi_free(cx, t->items);
    if (t->store == GI_STORE_LENT) {
        lent_tensor *l = (lent_tensor *)t;
        l->take_back(l->handle);
        give_back(cx, t->bytes);
    } else if (t->data)
        release(cx, t->data, t->bytes, (gi_store)t->store);
    gi_free(cx, t);
}

int64_t gopt_tensor_elements(const gopt_tensor *t)
{
    int64_t n = 1;
    for (int i = 0; i < t->rank; i++)
        n *= t->dims[i];
    return n;
}
