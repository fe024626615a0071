/* Tactic "gather": whole runs of elements by index along one axis, such as rows of an embedding. */
#include "backend/cpu/cpu.h"

#include <inttypes.h>

typedef struct gather {
    int64_t outer, axis, inner, indices; /* inner in bytes */
    bool wide;                           /* 64-bit indices */
} gather;

static gopt_status prepare(gi_cpu *d, gi_step *s, gi_cpu_step *c, bool *took)
{
    const gi_node *n = s->node;
    (void)d;
    if (n->op != OP_Gather || s->n_out != 1)
        return GOPT_OK;
    gi_value *x = gi_node_in(n, Gather_in_data), *at = gi_node_in(n, Gather_in_indices);
    int64_t xd[GOPT_MAX_RANK], id[GOPT_MAX_RANK];
    if (!x || !at || x == at || !gi_type_static_dims(x->type, xd) || !gi_type_static_dims(at->type, id) ||
        x->type->dtype == GOPT_STRING || !gi_item_size(x->type->dtype) ||
        (at->type->dtype != GOPT_I64 && at->type->dtype != GOPT_I32))
        return GOPT_OK;
    int64_t axis = gi_attr_int(n, Gather_at_axis);
    axis = axis < 0 ? axis + x->type->rank : axis;
    if (axis < 0 || axis >= x->type->rank)
        return GOPT_OK;
    gather *v = gi_cpu_own(c, sizeof(*v));
    GI_NEED(v);
    v->outer = gi_product(0, (int)axis, xd);
    v->axis = xd[axis];
    v->inner = gi_product((int)axis + 1, x->type->rank, xd) * (int64_t)gi_item_size(x->type->dtype);
    v->indices = gi_product(0, at->type->rank, id);
    v->wide = at->type->dtype == GOPT_I64;
    gi_value *in[2] = { x, at };
    GI_TRY(gi_cpu_set_in(s, c, 2, in));
    c->want_in[0] = c->want_in[1] = c->want_out[0] = GI_PLAIN;
    c->own = v;
    *took = true;
    return GOPT_OK;
}

typedef struct job {
    const gather *v;
    const gi_run_args *args;
} job;

static int64_t index_at(const gather *v, const void *p, int64_t i)
{
    int64_t wide;
    int32_t narrow;
    if (v->wide)
        memcpy(&wide, (const char *)p + i * 8, sizeof(wide));
    else
        memcpy(&narrow, (const char *)p + i * 4, sizeof(narrow));
    const int64_t k = v->wide ? wide : narrow;
    return k < 0 ? k + v->axis : k;
}

/* Entries from … to-1 of one outer index, of `inner` bytes each. */
static inline void gather_run(const gather *v, const char *x, const void *at, int64_t from, int64_t to, char *y,
                              int64_t inner)
{
    for (int64_t i = from; i < to; i++)
        memcpy(y + (i - from) * inner, x + index_at(v, at, i) * inner, (size_t)inner);
}

/* One entry of each outer index. */
static inline void gather_column(const gather *v, const char *x, int64_t n, char *y, int64_t inner)
{
    for (int64_t i = 0; i < n; i++)
        memcpy(y + i * inner, x + i * v->axis * inner, (size_t)inner);
}

static void run_part(void *arg, int worker, int n_workers)
{
    const job *j = arg;
    const gather *v = j->v;
    const char *x = j->args->in[0].host;
    const void *at = j->args->in[1].host;
    char *y = j->args->out[0].host;
    int64_t from, to;
    gi_share(v->outer * v->indices, 1, worker, n_workers, &from, &to);
    if (v->indices == 1) {
        const char *first = x + (from * v->axis + index_at(v, at, 0)) * v->inner;
        if (v->inner == 4) /* of a length that is known: a move, not a call */
            gather_column(v, first, to - from, y + from * 4, 4);
        else if (v->inner == 8)
            gather_column(v, first, to - from, y + from * 8, 8);
        else
            gather_column(v, first, to - from, y + from * v->inner, v->inner);
        return;
    }
    while (from < to) {
        const int64_t outer = from / v->indices, i0 = from % v->indices;
        const int64_t i1 = gi_min_i64(v->indices, i0 + to - from);
        const char *line = x + outer * v->axis * v->inner;
        if (v->inner == 4)
            gather_run(v, line, at, i0, i1, y + from * 4, 4);
        else if (v->inner == 8)
            gather_run(v, line, at, i0, i1, y + from * 8, 8);
        else if (v->inner == 16)
            gather_run(v, line, at, i0, i1, y + from * 16, 16);
        else
            gather_run(v, line, at, i0, i1, y + from * v->inner, v->inner);
        from += i1 - i0;
    }
}

static gopt_status run(gi_cpu *d, const gi_step *s, const gi_cpu_step *c, const gi_run_args *args)
{
    job j = { c->own, args };
    for (int64_t i = 0; i < j.v->indices; i++) {
        const int64_t k = index_at(j.v, args->in[1].host, i);
        if (k >= 0 && k < j.v->axis)
            continue;
        const gi_place at = gi_node_place(s->node);
        return gi_fail(args->cx ? args->cx : d->cx, GOPT_BAD_INPUT, &at, NULL,
                       "index %" PRId64 " at position %" PRId64 " lies outside of an axis of %" PRId64,
                       k < 0 ? k - j.v->axis : k, i, j.v->axis);
    }
    if (args->out[0].bytes < 16384)
        run_part(&j, 0, 1);
    else
        gi_cpu_run(d, args->pool, run_part, &j);
    return GOPT_OK;
}

const gi_tactic gi_tactic_gather = { .name = "gather", .prepare = prepare, .run = run };
