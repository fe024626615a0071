/* Types, hash-consed. */
#include "ir/dim_number.h"

typedef struct entry {
    gi_type type;
    struct entry *next;
} entry;

struct gi_types {
    gi_arena *arena;
    gi_map by_hash;
};

gi_types *gi_types_create(gi_arena *a)
{
    gi_types *t = GI_NEW(a, gi_types);
    if (t) {
        t->arena = a;
        gi_map_init(&t->by_hash, a);
    }
    return t;
}

static bool same(const gi_type *x, const gi_type *y)
{
    if (x->kind != y->kind || x->dtype != y->dtype || x->rank != y->rank || x->elem != y->elem || x->key != y->key)
        return false;
    return x->rank <= 0 || !memcmp(x->dims, y->dims, (size_t)x->rank * sizeof *x->dims);
}

static const gi_type *intern(gi_types *t, const gi_type *want)
{
    uint64_t h = gi_hash(&want->kind, sizeof want->kind, (uint64_t)want->dtype | (uint64_t)want->key << 32);
    h = gi_hash(&want->elem, sizeof want->elem, h);
    h = gi_hash(want->dims, want->rank > 0 ? (size_t)want->rank * sizeof *want->dims : 0, h + (uint64_t)want->rank);
    entry *first = gi_map_get(&t->by_hash, h);
    for (entry *e = first; e; e = e->next)
        if (same(&e->type, want))
            return &e->type;
    entry *e = GI_NEW(t->arena, entry);
    if (!e)
        return NULL;
    e->type = *want;
    e->next = first;
    if (want->rank > 0) {
        const gi_dim **dims = GI_NEW_ARRAY(t->arena, const gi_dim *, want->rank);
        if (!dims)
            return NULL;
        memcpy(dims, want->dims, (size_t)want->rank * sizeof *dims);
        e->type.dims = dims;
    }
    return gi_map_put(&t->by_hash, h, e) ? &e->type : NULL;
}

const gi_type *gi_type_tensor(gi_types *t, gopt_dtype dtype, int rank, const gi_dim *const *dims)
{
    for (int i = 0; i < rank; i++)
        if (!dims[i])
            return NULL;
    return intern(t, &(gi_type){ .kind = GOPT_TENSOR, .dtype = dtype, .rank = rank, .dims = rank > 0 ? dims : NULL });
}

const gi_type *gi_type_of(gi_types *t, gopt_kind kind, const gi_type *elem)
{
    return intern(t, &(gi_type){ .kind = kind, .rank = -1, .elem = elem });
}

const gi_type *gi_type_map(gi_types *t, gopt_dtype key, const gi_type *elem)
{
    return intern(t, &(gi_type){ .kind = GOPT_MAP, .rank = -1, .elem = elem, .key = key });
}

const gi_type *gi_type_around(gi_types *t, const gi_type *like, const gi_type *elem)
{
    return intern(t, &(gi_type){ .kind = like->kind, .rank = -1, .elem = elem, .key = like->key });
}

bool gi_type_static_dims(const gi_type *t, int64_t *dims)
{
    if (!t || t->kind != GOPT_TENSOR || t->rank < 0 || t->rank > GOPT_MAX_RANK)
        return false;
    for (int i = 0; i < t->rank; i++)
        if (!gi_dim_is_const(t->dims[i], &dims[i]) || dims[i] < 0)
            return false;
    return true;
}

bool gi_type_is_static(const gi_type *t)
{
    int64_t dims[GOPT_MAX_RANK];
    return gi_type_static_dims(t, dims);
}

bool gi_type_elements(const gi_type *t, int64_t *n)
{
    int64_t dims[GOPT_MAX_RANK], total = 1;
    if (!gi_type_static_dims(t, dims))
        return false;
    for (int i = 0; i < t->rank; i++)
        if (!gi_mul_i64(total, dims[i], &total))
            return false;
    *n = total;
    return true;
}

bool gi_type_bytes(const gi_type *t, size_t *bytes)
{
    int64_t n;
    return gi_type_elements(t, &n) && gi_dtype_bytes(t->dtype, (size_t)n, bytes);
}

bool gi_type_dim_const(const gi_type *t, int i, int64_t *v)
{
    if (!t || t->kind != GOPT_TENSOR || t->rank < 0)
        return false;
    if (i < 0)
        i += t->rank;
    return i >= 0 && i < t->rank && gi_dim_is_const(t->dims[i], v);
}

/* Sequences of sequences of …: as deep as the model nested them; import caps that. */
void gi_type_print_numbered(gi_str *s, const gi_type *t, gi_dim_numbers *n)
{
    if (!t) {
        gi_str_add(s, "?");
        return;
    }
    if (t->kind != GOPT_TENSOR) {
        gi_str_add(s, t->kind == GOPT_SEQUENCE ? "seq(" : t->kind == GOPT_MAP ? "map(" : "optional(");
        if (t->kind == GOPT_MAP)
            gi_str_addf(s, "%s,", gopt_dtype_name(t->key));
        gi_type_print_numbered(s, t->elem, n);
        gi_str_add(s, ")");
        return;
    }
    gi_str_add(s, gopt_dtype_name(t->dtype));
    gi_str_add(s, "[");
    if (t->rank < 0)
        gi_str_add(s, "*");
    for (int i = 0; i < t->rank; i++) {
        if (i)
            gi_str_add(s, ",");
        const gi_dim *d = n ? gi_dim_numbered(n, t->dims[i]) : t->dims[i];
        if (d)
            gi_dim_print(s, d);
        s->failed |= !d;
    }
    gi_str_add(s, "]");
}

void gi_type_print(gi_str *s, const gi_type *t)
{
    gi_type_print_numbered(s, t, NULL);
}
