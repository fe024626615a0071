/* Constants of other values, shapes and types; constants that become inputs. */
#include <math.h>

#include "rules/mutate.h"

enum { MOST_ELEMENTS = 1 << 14 };

typedef struct place {
    mutator *m;
    gi_node *n;
    uint32_t in;
    gi_blob *blob;
} place;

static void describe(const place *p, const char *how)
{
    char buffer[32];
    gi_str_addf(p->m->what, "constant input %u of the %s of %%%s %s", p->in, p->n->op_name,
                p->n->n_out ? gi_value_label(p->n->out[0], buffer, sizeof buffer) : "nothing", how);
}

/* This input alone, or all that read the constant. */
static void put_blob(const place *p, gi_blob *b)
{
    gi_value *v = gi_const(p->m->g, b, NULL);
    if (!v)
        return;
    gi_value_replace_uses(gi_node_in(p->n, p->in), v);
    p->m->made = true;
}

static gi_blob *new_blob(const place *p, gopt_dtype t, int rank, const int64_t *dims)
{
    gi_blob *b;
    return gi_blob_create(p->m->g->cx, t, rank, dims, &b) == GOPT_OK ? b : NULL;
}

static gi_blob *copy_blob(const place *p)
{
    gi_blob *b = new_blob(p, p->blob->dtype, p->blob->rank, p->blob->dims);
    if (b && b->bytes)
        memcpy(b->owned, p->blob->data, b->bytes);
    return b;
}

/* ---- values ---- */

typedef struct element {
    const char *how;
    double x;
} element;

static void change_floats(const place *p)
{
    const gopt_dtype t = p->blob->dtype;
    const element all[] = { { "is 0", 0 },
                            { "is -0", -0.0 },
                            { "is 1", 1 },
                            { "is -1", -1 },
                            { "is 2", 2 },
                            { "is 0.5", 0.5 },
                            { "is -3", -3 },
                            { "is 1e-4", 1e-4 },
                            { "is 1e4", 1e4 },
                            { "is NaN", NAN },
                            { "is infinite", INFINITY },
                            { "is -infinity", -INFINITY },
                            { "is subnormal", proof_smallest(t) },
                            { "is large", t == GOPT_F16 ? 6e4 : 3e38 } };
    for (size_t k = 0; k < GI_COUNT(all); k++)
        for (int first = 0; first < (gi_blob_elements(p->blob) > 1 ? 2 : 1); first++) {
            gi_blob *b = mutate_here(p->m) ? copy_blob(p) : NULL;
            if (!b)
                continue;
            describe(p, first ? "has a first element that" : "everywhere");
            gi_str_addf(p->m->what, " %s", all[k].how);
            for (int64_t i = 0; i < (first ? 1 : gi_blob_elements(b)); i++)
                gi_store_f64(t, b->owned, (size_t)i, all[k].x);
            put_blob(p, b);
        }
    static const double factors[] = { -1, 1.01, 1.0001, 1e-3, 0 };
    for (size_t k = 0; k < GI_COUNT(factors); k++) {
        gi_blob *b = mutate_here(p->m) ? copy_blob(p) : NULL;
        if (!b)
            continue;
        describe(p, factors[k] == 0 ? "has other values" : "");
        if (factors[k] != 0)
            gi_str_addf(p->m->what, "times %g", factors[k]);
        uint64_t state = 5;
        for (int64_t i = 0; i < gi_blob_elements(b); i++)
            gi_store_f64(t, b->owned, (size_t)i,
                         factors[k] == 0 ? 2 * proof_unit(&state) - 1
                                         : factors[k] * gi_load_f64(t, b->owned, (size_t)i));
        put_blob(p, b);
    }
}

static void change_integers(const place *p)
{
    const gopt_dtype t = p->blob->dtype;
    const int64_t n = gi_blob_elements(p->blob);
    static const int64_t values[] = { 0, 1, -1, 2, 3, INT64_MAX, INT64_MIN, INT32_MAX };
    static const int64_t steps[] = { 1, -1 };
    for (int64_t at = -1; at < (n > 1 ? gi_min_i64(n, 4) : 0); at++) {
        for (size_t k = 0; k < GI_COUNT(values) + GI_COUNT(steps); k++) {
            gi_blob *b = mutate_here(p->m) ? copy_blob(p) : NULL;
            if (!b)
                continue;
            const bool step = k >= GI_COUNT(values);
            const int64_t x = step ? steps[k - GI_COUNT(values)] : values[k];
            describe(p, "");
            if (at >= 0)
                gi_str_addf(p->m->what, "at element %lld ", (long long)at);
            gi_str_addf(p->m->what, "%s %lld", step ? "plus" : "is", (long long)x);
            for (int64_t i = at < 0 ? 0 : at; i < (at < 0 ? n : at + 1); i++) {
                int64_t y = step ? gi_load_i64(t, b->owned, (size_t)i) : 0;
                if (gi_add_i64(y, x, &y))
                    gi_store_i64(t, b->owned, (size_t)i, y);
            }
            put_blob(p, b);
        }
    }
    gi_blob *b = n > 1 && mutate_here(p->m) ? copy_blob(p) : NULL;
    if (b) {
        describe(p, "is reversed");
        for (int64_t i = 0; i < n; i++)
            gi_store_i64(t, b->owned, (size_t)i, gi_load_i64(t, p->blob->data, (size_t)(n - 1 - i)));
        put_blob(p, b);
    }
}

/* ---- shapes ---- */

/* The elements over and over, in a constant of that shape. */
static void put_shape(const place *p, int rank, const int64_t *dims)
{
    gi_blob *b = new_blob(p, p->blob->dtype, rank, dims);
    const int64_t had = gi_blob_elements(p->blob);
    if (!b || gi_blob_elements(b) > MOST_ELEMENTS) {
        gi_blob_unref(b);
        return;
    }
    describe(p, "has the shape [");
    for (int i = 0; i < rank; i++)
        gi_str_addf(p->m->what, "%s%lld", i ? "," : "", (long long)dims[i]);
    gi_str_add(p->m->what, "]");
    for (int64_t i = 0; had && i < gi_blob_elements(b); i++) {
        if (gi_dtype_is_float(b->dtype))
            gi_store_f64(b->dtype, b->owned, (size_t)i, gi_load_f64(b->dtype, p->blob->data, (size_t)(i % had)));
        else
            gi_store_i64(b->dtype, b->owned, (size_t)i, gi_load_i64(b->dtype, p->blob->data, (size_t)(i % had)));
    }
    put_blob(p, b);
}

static void change_shape(const place *p)
{
    const int rank = p->blob->rank;
    const int64_t *d = p->blob->dims;
    int64_t to[GOPT_MAX_RANK];
    static const int64_t fixed[][6] = {
        { 1 }, { 1, 1 }, { 1, 1, 1, 1, 1 }, { 2 }, { 2, 1 }, { 3 }, { 3, 1, 1 }, { 0 }
    };
    static const int ranks[] = { 1, 2, 5, 1, 2, 1, 3, 1 };
    if (mutate_here(p->m))
        put_shape(p, 0, to);
    for (size_t k = 0; k < GI_COUNT(ranks); k++)
        if (mutate_here(p->m))
            put_shape(p, ranks[k], fixed[k]);
    for (int front = 0; front < 2 && rank + 1 < GOPT_MAX_RANK; front++)
        for (int64_t size = 1; size < 3; size++)
            if (mutate_here(p->m)) {
                for (int i = 0; i < rank; i++)
                    to[i + front] = d[i];
                to[front ? 0 : rank] = size;
                put_shape(p, rank + 1, to);
            }
    if (rank > 1 && mutate_here(p->m)) {
        for (int i = 0; i < rank; i++)
            to[i] = d[rank - 1 - i];
        put_shape(p, rank, to);
    }
    for (int i = 0; i < rank; i++)
        for (int64_t by = -1; by < 2; by += 2)
            if (d[i] + by > 0 && mutate_here(p->m)) {
                memcpy(to, d, (size_t)rank * sizeof *to);
                to[i] += by;
                put_shape(p, rank, to);
            }
    const gi_value *y = p->n->n_out ? p->n->out[0] : NULL;
    if (y && gi_type_static_dims(y->type, to) && mutate_here(p->m))
        put_shape(p, y->type->rank, to);
}

/* ---- types, and the way in ---- */

static void change_dtype(const place *p)
{
    static const gopt_dtype types[] = { GOPT_F32, GOPT_F16, GOPT_F64, GOPT_I64, GOPT_I32 };
    for (size_t k = 0; k < GI_COUNT(types); k++) {
        if (types[k] == p->blob->dtype || !mutate_here(p->m))
            continue;
        gi_blob *b = new_blob(p, types[k], p->blob->rank, p->blob->dims);
        if (!b)
            return;
        describe(p, "is of another type, ");
        gi_str_add(p->m->what, gopt_dtype_name(types[k]));
        for (int64_t i = 0; i < gi_blob_elements(b); i++) {
            if (gi_dtype_is_float(types[k]) || gi_dtype_is_float(p->blob->dtype))
                gi_store_f64(types[k], b->owned, (size_t)i, gi_load_f64(p->blob->dtype, p->blob->data, (size_t)i));
            else
                gi_store_i64(types[k], b->owned, (size_t)i, gi_load_i64(p->blob->dtype, p->blob->data, (size_t)i));
        }
        put_blob(p, b);
    }
}

static void become_input(const place *p)
{
    gopt_graph *g = p->m->g;
    const gi_dim *dims[GOPT_MAX_RANK];
    if (!mutate_here(p->m))
        return;
    describe(p, "is an input of the graph");
    for (int i = 0; i < p->blob->rank; i++)
        dims[i] = gi_dim_const(g->dims, p->blob->dims[i]);
    const gi_type *t = gi_type_tensor(g->types, p->blob->dtype, p->blob->rank, dims);
    gi_value *v =
        t ? gi_block_add_param(g->main, gi_arena_printf(p->m->arena, "given_%u", g->main->n_params), t) : NULL;
    if (!v)
        return;
    gi_value_replace_uses(gi_node_in(p->n, p->in), v);
    p->m->made = true;
}

void mutate_constants(mutator *m)
{
    mutate_node_list nodes;
    if (!mutate_list_nodes(m->g, m->arena, &nodes))
        return;
    for (size_t i = 0; i < nodes.n; i++)
        for (uint32_t k = 0; k < nodes.p[i]->n_in && !m->made; k++) {
            gi_blob *b = gi_value_blob(gi_node_in(nodes.p[i], k));
            const place p = { m, nodes.p[i], k, b };
            if (!b || gi_blob_elements(b) > MOST_ELEMENTS || gopt_dtype_bits(b->dtype) < 8)
                continue;
            if (gi_dtype_class(b->dtype) == GI_FLOAT)
                change_floats(&p);
            else if (gi_dtype_is_int(b->dtype) || b->dtype == GOPT_BOOL)
                change_integers(&p);
            else
                continue;
            change_shape(&p);
            change_dtype(&p);
            become_input(&p);
        }
}
