/* Weights: immutable, reference-counted bytes, shared between graphs, mapped from the file where it
 * allows. The hash is of dtype, dims and contents, computed when first asked for. */
#ifndef GI_BLOB_H
#define GI_BLOB_H

#include "base/file.h"
#include "base/store.h"
#include "ir/type.h"

typedef struct gi_blob {
    gopt_ctx *cx;
    int refs; /* changed with atomics */
    gopt_dtype dtype;
    int rank;
    const int64_t *dims;
    const void *data; /* for strings an array of gopt_string; may be misaligned for its type when mapped */
    size_t bytes;
    gi_file *file;        /* keeps mapped data alive; NULL where owned */
    void *owned;          /* freed with the blob; NULL where the bytes belong to `file` or `base` */
    gi_store store;       /* how `owned` was had */
    struct gi_blob *base; /* the blob whose bytes these are, under other dims; NULL where none */
    uint64_t hash;        /* 0: not yet known */
} gi_blob;

/* Zeroed data that the caller fills before sharing it: cast away const of `data`.
 * Fails as gopt_tensor_create does. */
gopt_status gi_blob_create(gopt_ctx *cx, gopt_dtype dtype, int rank, const int64_t *dims, gi_blob **out);

/* Takes the data out of a tensor that owns them and that nobody else holds: it is empty afterwards. False where
 * they are not its own, or strings; *out is NULL where there is no memory. */
bool gi_blob_take(gopt_tensor *t, gi_blob **out);

/* Memory that is had elsewhere, as page-locked memory is of a device's driver. */
typedef struct gi_lender {
    void *(*lend)(void *user, size_t bytes, void **handle); /* aligned for every type; NULL where there is none */
    void (*take_back)(void *handle);                        /* in whatever thread, and after `user` has gone */
    void *user;
} gi_lender;
/* gopt_tensor_create whose data are lent, or from the heap where there is nothing to lend. */
gopt_status gi_tensor_create_lent(gopt_ctx *cx, gopt_dtype dtype, int rank, const int64_t *dims, const gi_lender *from,
                                  gopt_tensor **out);

/* A view of a mapped file. Data that is misaligned for its dtype is copied. */
gopt_status gi_blob_mapped(gopt_ctx *cx, gopt_dtype dtype, int rank, const int64_t *dims, gi_file *f, uint64_t offset,
                           gi_blob **out);

/* The same bytes under other dims (of as many elements). */
gopt_status gi_blob_reshaped(gi_blob *b, int rank, const int64_t *dims, gi_blob **out);
/* The same bytes as elements of another type, of which there must be as many bytes. Not from or to strings, nor to a type
 * of wider elements than bytes. */
gopt_status gi_blob_seen_as(gi_blob *b, gopt_dtype dtype, int rank, const int64_t *dims, gi_blob **out);

gi_blob *gi_blob_ref(gi_blob *b);
void gi_blob_unref(gi_blob *b); /* b may be NULL */
/* Lets go of bytes that nobody else needs, before the blob itself goes: nothing may read them from now on. */
void gi_blob_drop_bytes(gi_blob *b);
/* The same where `holders` references are known not to read them; more may be held by others, and then they stay. What
 * the bytes are a view of is let go of too, and what is mapped stays. */
void gi_blob_let_go(gi_blob *b, int holders);
uint64_t gi_blob_hash(gi_blob *b);
bool gi_blob_equal(gi_blob *a, gi_blob *b); /* dtype, dims and bytes */
int64_t gi_blob_elements(const gi_blob *b);

#endif
