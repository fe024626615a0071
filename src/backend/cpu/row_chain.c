/* Tactic "row_chain": rows with what is around them, some rows at a time: a softmax with its scale and mask, a residual that is
 * added and normalized, a normalization that an exporter took apart.
 *
 * The region's nodes become stages in their order: a program over whole rows, a program over one number a row, or what
 * works along a row (rows.h). A worker takes its rows in chunks that stay in the second-level cache, and goes through all
 * stages with a chunk; what passes from stage to stage lies in its scratch, what leaves the region in the result. */
#include "backend/cpu/rows.h"
#include "backend/cpu/vecprog.h"

enum { CHUNK_FLOATS = 16384, MAX_STAGES = 24, MAX_VALUES = 48 };

/* A value that passes from stage to stage. */
typedef struct passed {
    gi_value *value;
    bool whole;  /* rows; else one number a row */
    int out;     /* it is this one of step->out; -1: none */
    uint64_t at; /* else where in the scratch, bytes */
} passed;

typedef struct stage {
    gi_vp *program; /* NULL: `op` */
    bool whole;
    int results[MAX_VALUES], n_results; /* passed values that it makes */
    gi_row_op op;
    int from; /* of op: a passed value, or -1 - index of step->in */
} stage;

typedef struct chain {
    int64_t outer, n, rows; /* rows of a chunk */
    stage stages[MAX_STAGES];
    int n_stages;
    passed values[MAX_VALUES];
    int n_values;
    uint64_t programs, scratch; /* a worker's */
} chain;

/* ---- reading the region ---- */

typedef struct builder {
    gi_cpu *d;
    gi_step *s;
    gi_cpu_step *c;
    chain *v;
    const gi_block *body;
    int rank, first;             /* of whole values; the first axis of a row */
    int64_t dims[GOPT_MAX_RANK]; /* of whole values */
    gi_node **run;               /* pointwise nodes of the stage that grows */
    size_t n_run;
    bool run_whole;
} builder;

/* Rows, or one number for each of them? False where neither. */
static bool read_class(const builder *b, const gi_value *v, bool *whole)
{
    int64_t dims[GOPT_MAX_RANK];
    if (!v->type || v->type->kind != GOPT_TENSOR || !gi_type_static_dims(v->type, dims))
        return false;
    const int rank = v->type->rank;
    *whole = rank == b->rank && !memcmp(dims, b->dims, (size_t)b->rank * sizeof(*dims));
    return *whole ||
           ((rank == b->rank || rank == b->first) && !memcmp(dims, b->dims, (size_t)b->first * sizeof(*dims)) &&
            gi_product(b->first, rank, dims) == 1);
}

static int find_passed(const chain *v, const gi_value *x)
{
    for (int i = 0; i < v->n_values; i++)
        if (v->values[i].value == x)
            return i;
    return -1;
}

static bool is_read_after(const builder *b, const gi_value *v)
{
    for (const gi_use *u = v->uses; u; u = u->next) {
        bool inside = u->node && u->node->block == b->body;
        for (size_t i = 0; i < b->n_run && inside; i++)
            inside = u->node != b->run[i];
        if (inside || !u->node)
            return true;
    }
    return false;
}

/* Adds v, which stage makes; false where there are too many. */
static bool pass_on(builder *b, stage *st, gi_value *v, bool whole)
{
    chain *k = b->v;
    passed p = { .value = v, .whole = whole, .out = -1 };
    for (uint32_t i = 0; i < b->body->n_results; i++)
        if (b->body->results[i].value == v)
            p.out = (int)i;
    if (k->n_values == MAX_VALUES || (p.out < 0 && v->type->dtype != GOPT_F32))
        return false;
    st->results[st->n_results++] = k->n_values;
    k->values[k->n_values++] = p;
    return true;
}

/* The pointwise nodes gathered so far become a program. */
static gopt_status end_run(builder *b, bool *ok)
{
    chain *v = b->v;
    int64_t dims[GOPT_MAX_RANK];
    if (!b->n_run || !*ok)
        return GOPT_OK;
    const uint32_t n_in = b->s->n_in;
    const int before = v->n_values;
    *ok = v->n_stages < MAX_STAGES && n_in + (uint32_t)before <= GI_VP_MAX_INPUTS;
    if (!*ok)
        return GOPT_OK;
    stage *st = &v->stages[v->n_stages++];
    st->whole = b->run_whole;
    gi_value **args = GI_NEW_ARRAY(b->c->arena, gi_value *, n_in + MAX_VALUES);
    gi_layout *lay = GI_NEW_ARRAY(b->c->arena, gi_layout, n_in + MAX_VALUES);
    gi_value *outs[MAX_VALUES];
    GI_NEED(args && lay);
    memcpy(args, b->s->in, n_in * sizeof(gi_value *));
    for (int i = 0; i < before; i++)
        args[n_in + (uint32_t)i] = v->values[i].value;
    for (size_t i = 0; i < b->n_run && *ok; i++)
        if (is_read_after(b, b->run[i]->out[0]))
            *ok = pass_on(b, st, b->run[i]->out[0], st->whole);
    for (int i = 0; i < st->n_results; i++)
        outs[i] = v->values[st->results[i]].value;
    const gi_type *t = b->run[0]->out[0]->type;
    gi_type_static_dims(t, dims);
    if (*ok && st->n_results)
        GI_TRY(gi_vp_build(b->d, b->s, b->c, b->run, b->n_run, args, lay, n_in + (uint32_t)before, outs,
                           (size_t)st->n_results, t->rank, dims, GI_PLAIN, &st->program));
    *ok = *ok && st->program;
    b->n_run = 0;
    return GOPT_OK;
}

static gopt_status add_row_op(builder *b, gi_node *n, bool *ok)
{
    chain *v = b->v;
    gi_row_op op;
    GI_TRY(end_run(b, ok));
    *ok = *ok && v->n_stages < MAX_STAGES && gi_row_read(b->d, b->s, b->c, n, &op) && op.inner == 1 &&
          op.outer == v->outer && op.n == v->n;
    if (!*ok)
        return GOPT_OK;
    stage *st = &v->stages[v->n_stages++];
    const int from = find_passed(v, gi_node_in(n, 0)), in = gi_cpu_in_index(b->s, gi_node_in(n, 0));
    st->op = op;
    st->whole = !gi_row_reduces(&op);
    st->from = from >= 0 ? from : -1 - in;
    *ok = (from >= 0 ? v->values[from].whole : in >= 0) && pass_on(b, st, n->out[0], st->whole);
    return GOPT_OK;
}

/* A number a row, made in the region, must stand at its row: without its axis it would be broadcast along other dims. */
static bool reads_rows_alike(const builder *b, const gi_node *n)
{
    for (uint32_t i = 0; i < n->n_in; i++) {
        const gi_value *x = gi_node_in(n, i);
        const gi_node *by = gi_value_node(x);
        bool whole;
        if (by && by->block == b->body &&
            (!read_class(b, x, &whole) || (!whole && x->type->rank != n->out[0]->type->rank)))
            return false;
    }
    return true;
}

static gopt_status add_pointwise(builder *b, gi_node *n, bool *ok)
{
    bool whole;
    *ok = *ok && gi_vp_takes(n) && read_class(b, n->out[0], &whole) && reads_rows_alike(b, n);
    if (!*ok)
        return GOPT_OK;
    if (b->n_run && (whole != b->run_whole || (!whole && n->out[0]->type->rank != b->run[0]->out[0]->type->rank)))
        GI_TRY(end_run(b, ok));
    b->run_whole = whole;
    b->run[b->n_run++] = n;
    return GOPT_OK;
}

/* The first node that works along rows says how they lie. Of images' pixels they lie blocked: not here. */
static bool find_rows(builder *b)
{
    for (const gi_node *n = b->body->first; n; n = n->next) {
        gi_row_op op;
        if (n->op == OP_BatchNormalization)
            return false;
        if (!gi_row_read(b->d, b->s, b->c, n, &op))
            continue;
        gi_cpu_static_f32(gi_node_in(n, 0), &b->rank, b->dims);
        b->v->outer = op.outer;
        b->v->n = op.n;
        b->first = op.first;
        return op.inner == 1 && op.n > 1 && !(gi_row_reduces(&op) && op.first == 2 && b->rank == 4);
    }
    return false;
}

/* Step->in without constants that programs and operations pack. */
static gopt_status set_in(builder *b)
{
    gi_values in = { 0 };
    for (uint32_t i = 0; i < b->s->n_in; i++) {
        const gi_blob *blob = gi_value_blob(b->s->in[i]);
        if (!blob || blob->dtype == GOPT_BOOL)
            GI_NEED(gi_push(b->c->arena, &in, b->s->in[i]));
    }
    GI_TRY(gi_cpu_set_in(b->s, b->c, (uint32_t)in.n, in.p));
    for (uint32_t i = 0; i < b->s->n_in; i++)
        b->c->want_in[i] = GI_PLAIN;
    for (uint32_t i = 0; i < b->s->n_out; i++)
        b->c->want_out[i] = GI_PLAIN;
    return GOPT_OK;
}

static void lay_out(const gi_cpu *d, chain *v)
{
    uint64_t at = 0;
    v->rows = gi_max_i64(1, gi_min_i64(CHUNK_FLOATS / v->n, (v->outer + d->threads - 1) / d->threads));
    for (int i = 0; i < v->n_stages; i++)
        if (v->stages[i].program && gi_vp_scratch(v->stages[i].program) > at)
            at = gi_vp_scratch(v->stages[i].program);
    v->programs = at = (at + 63) & ~(uint64_t)63;
    for (int i = 0; i < v->n_values; i++) {
        v->values[i].at = at;
        if (v->values[i].out < 0)
            at += ((uint64_t)(v->rows * (v->values[i].whole ? v->n : 1)) * sizeof(float) + 63) & ~(uint64_t)63;
    }
    v->scratch = at;
}

static gopt_status prepare(gi_cpu *d, gi_step *s, gi_cpu_step *c, bool *took)
{
    builder b = { .d = d, .s = s, .c = c, .body = s->node->op == OP_Fusion ? gi_fusion_block(s->node) : NULL };
    bool ok = true;
    if (!b.body || !s->n_out || b.body->n_results != s->n_out)
        return GOPT_OK;
    b.v = gi_cpu_own(c, sizeof(*b.v));
    b.run = GI_NEW_ARRAY(c->arena, gi_node *, b.body->n_nodes + 1);
    GI_NEED(b.v && b.run);
    if (!find_rows(&b))
        return GOPT_OK;
    GI_TRY(set_in(&b));
    for (gi_node *n = b.body->first; n && ok; n = n->next) {
        gi_row_op op;
        if (gi_row_read(d, s, c, n, &op))
            GI_TRY(add_row_op(&b, n, &ok));
        else
            GI_TRY(add_pointwise(&b, n, &ok));
    }
    GI_TRY(end_run(&b, &ok));
    for (uint32_t i = 0; i < s->n_out && ok; i++)
        ok = find_passed(b.v, b.body->results[i].value) >= 0;
    if (!ok)
        return GOPT_OK;
    lay_out(d, b.v);
    s->scratch = b.v->scratch * (uint64_t)d->threads;
    c->own = b.v;
    *took = true;
    return GOPT_OK;
}

/* ---- running ---- */

typedef struct job {
    const gi_cpu *d;
    const gi_step *s;
    const chain *v;
    const gi_run_args *args;
} job;

/* Where element 0 of a passed value would lie, if all of it were there: its chunk begins at row `first`. */
static void *place(const job *j, const passed *p, int64_t first, char *scratch)
{
    if (p->out >= 0)
        return j->args->out[p->out].host;
    return (float *)(void *)(scratch + p->at) - first * (p->whole ? j->v->n : 1);
}

static void run_chunk(const job *j, int64_t first, int64_t rows, char *scratch)
{
    const chain *v = j->v;
    const void *in[GI_VP_MAX_INPUTS];
    void *out[MAX_VALUES];
    const uint32_t n_in = j->s->n_in;
    for (uint32_t i = 0; i < n_in; i++)
        in[i] = j->args->in[i].host;
    for (int i = 0; i < v->n_values && n_in + (uint32_t)i < GI_VP_MAX_INPUTS; i++)
        in[n_in + (uint32_t)i] = place(j, &v->values[i], first, scratch);
    for (int i = 0; i < v->n_stages; i++) {
        const stage *st = &v->stages[i];
        for (int k = 0; k < st->n_results; k++)
            out[k] = place(j, &v->values[st->results[k]], first, scratch);
        if (st->program) {
            const int64_t each = st->whole ? v->n : 1;
            gi_vp_run(j->d, st->program, in, out, first * each, (first + rows) * each, scratch);
            continue;
        }
        const float *x = st->from >= 0 ? in[n_in + (uint32_t)st->from] : in[-1 - st->from];
        for (int64_t r = first; r < first + rows; r++)
            gi_row_run(j->d->k, &st->op, x + r * v->n, (float *)out[0] + r * (st->whole ? v->n : 1));
    }
}

static void run_part(void *arg, int worker, int n_workers)
{
    const job *j = arg;
    int64_t from, to;
    gi_share(j->v->outer, 1, worker, n_workers, &from, &to);
    for (int64_t r = from; r < to; r += j->v->rows)
        run_chunk(j, r, gi_min_i64(j->v->rows, to - r), (char *)j->args->scratch + (uint64_t)worker * j->v->scratch);
}

static gopt_status run(gi_cpu *d, const gi_step *s, const gi_cpu_step *c, const gi_run_args *args)
{
    job j = { d, s, c->own, args };
    gi_cpu_run(d, args->pool, run_part, &j);
    return GOPT_OK;
}

const gi_tactic gi_tactic_row_chain = { .name = "row_chain", .prepare = prepare, .run = run, .packs = true };
