/* Attention as one kernel: attention_mma.cl on tensor cores, attention.cl anywhere else and for what that does not take.
 *
 * Heads are read where they lie, by strides; the Transposes at the region's borders are none. Sizes and strides stand in
 * the source as numbers: layers of a network share one program. */
#include <inttypes.h>
#include <math.h>

#include "backend/attention.h"
#include "backend/opencl/cl.h"

enum {
    MOST_MASKS = 4,
    MOST_D = 256,
    MOST_D_MMA = 128,
    GROUP = 64,
    WALK_GROUP = 256,
    CHUNK = 8,
    LOCAL = 48 * 1024,
    ROW = 0,
    ELEMENT = 1
};

/* Something that lies along the batch, rows and elements. */
typedef struct operand {
    gi_cl_ref ref;
    bool half;
    const char *type; /* of a mask's elements, where they are no halves */
    int rank;         /* of the batch, as this one splits it */
    int64_t dims[GOPT_MAX_RANK], batch[GOPT_MAX_RANK];
    int64_t stride[2]; /* from a row (a key) to the next, from an element to the next */
    int64_t room;
} operand;

typedef struct attention {
    gi_attention_region a;
    float scale, out_scale;
    operand q, k, v, y, masks[MOST_MASKS];
    int n_masks;
    gi_cl_function between; /* of the scores, after the scale; without a source: nothing */
} attention;

/* A variant of attention_mma.cl: its warps, the keys that each takes of a stage, the stages. In a walk it has eight warps,
 * 256 items. */
typedef struct variant {
    int warps_m, warps_k, bn, stages;
} variant;

static const variant variants[] = {
    { 4, 1, 64, 2 }, { 2, 1, 64, 2 }, { 4, 1, 32, 2 }, { 2, 2, 32, 2 }, { 4, 1, 128, 1 },
    { 8, 1, 64, 2 }, { 8, 1, 32, 2 }, { 4, 2, 32, 1 }, { 2, 4, 32, 1 }, { 1, 8, 16, 1 },
};

/* ---- where operands lie ---- */

/* `view` as a Reshape to `dims` sees it; false where that would need a copy. */
static bool reshape_view(gi_cl_view *view, int rank, const int64_t *dims)
{
    int64_t strides[GOPT_MAX_RANK];
    int i = 0, k = 0;
    while (i < view->rank || k < rank) {
        int64_t from = 1, to = 1, step = 1;
        const int first = k;
        if (i < view->rank) {
            from = view->dims[i];
            step = view->stride[i++];
        }
        if (k < rank)
            to = dims[k++];
        while (from != to) { /* the dims that make up the same elements */
            if (to < from) {
                if (k == rank)
                    return false;
                to *= dims[k++];
            } else {
                if (i == view->rank || (from > 1 && view->dims[i] > 1 && step != view->stride[i] * view->dims[i]))
                    return false;
                step = view->dims[i] > 1 ? view->stride[i] : step;
                from *= view->dims[i++];
            }
        }
        for (int j = k - 1; j >= first; step *= dims[j--])
            strides[j] = step;
    }
    view->rank = rank;
    memcpy(view->dims, dims, (size_t)rank * sizeof *dims);
    memcpy(view->stride, strides, (size_t)rank * sizeof *strides);
    return true;
}

static bool transpose_view(gi_cl_view *view, const gi_node *n)
{
    const gi_cl_view from = *view;
    const int64_t *perm;
    const uint32_t np = gi_attr_ints(n, Transpose_at_perm, &perm);
    if (np && np != (uint32_t)from.rank)
        return false;
    for (int i = 0; i < from.rank; i++) {
        int at;
        if (!gi_axis(np ? perm[i] : from.rank - 1 - i, from.rank, &at))
            return false;
        view->dims[i] = from.dims[at];
        view->stride[i] = from.stride[at];
    }
    return true;
}

/* The part v of a Split, `at` elements behind the whole's begin. */
static bool part_view(gi_cl_view *view, const gi_node *n, const gi_value *v, int64_t *at)
{
    int axis;
    if (!gi_axis(gi_attr_int(n, Split_at_axis), view->rank, &axis))
        return false;
    for (uint32_t i = 0; i < n->n_out; i++) {
        int64_t length;
        if (!gi_type_dim_const(n->out[i]->type, axis, &length))
            return false;
        if (n->out[i] == v) {
            view->dims[axis] = length;
            return true;
        }
        *at += length * view->stride[axis];
    }
    return false;
}

/* v as what it is a part or another view of, so that no one need copy it: parts of one product of queries, keys and
 * values are read where they lie. What then is read by no one is not run. */
static bool look_through(const gi_cl_build *b, gi_value *v, int depth, gi_value **source, gi_cl_view *view, int64_t *at)
{
    enum { MOST_DEPTH = 6 };
    const gi_node *n = gi_value_node(v);
    int64_t dims[GOPT_MAX_RANK];
    if (!b->dry && depth < MOST_DEPTH && n && n->block == b->s->node->block && gi_type_static_dims(v->type, dims) &&
        (n->op == OP_Split || n->op == OP_Reshape || n->op == OP_Transpose) && gi_node_in(n, 0) &&
        look_through(b, gi_node_in(n, 0), depth + 1, source, view, at) &&
        (n->op == OP_Split       ? part_view(view, n, v, at)
         : n->op == OP_Transpose ? transpose_view(view, n)
                                 : reshape_view(view, v->type->rank, dims)))
        return true;
    *source = v;
    *at = 0;
    return gi_cl_view_of(b, v, view);
}

/* Lets the step read v, which is none of its node's operands. */
static gopt_status let_read(gi_cl_build *b, gi_value *v)
{
    gi_step *s = b->s;
    for (uint32_t i = 0; !b->dry && i < s->n_in; i++)
        if (s->in[i] == v)
            return GOPT_OK;
    if (b->dry)
        return GOPT_OK;
    gi_value **in = GI_NEW_ARRAY(b->arena, gi_value *, s->n_in + 1);
    bool *used = GI_NEW_ARRAY(b->arena, bool, s->n_in + 2);
    GI_NEED(in && used);
    memcpy(in, s->in, s->n_in * sizeof(gi_value *));
    memcpy(used, b->used, s->n_in * sizeof *used);
    in[s->n_in++] = v;
    s->in = in;
    b->used = used;
    return GOPT_OK;
}

/* ---- what the region is ---- */

static float scaling_of(const gi_attention_operand *o)
{
    return o->scaling == GI_TIMES ? o->scale : o->scaling == GI_DIVIDED ? 1 / o->scale : 1;
}

/* What node `by` reads beside the scores, by its strides along the view of them that it gives. */
static gopt_status read_mask(gi_cl_build *b, attention *t, const gi_value *v, const gi_node *by, bool *ok)
{
    operand *m = &t->masks[t->n_masks];
    const gi_value *y = by->out[0];
    gi_cl_view view;
    int64_t dims[GOPT_MAX_RANK], strides[GOPT_MAX_RANK];
    *ok = t->n_masks < MOST_MASKS && gi_type_static_dims(y->type, dims) && gi_cl_view_of(b, v, &view) &&
          y->type->rank >= 2 && view.rank <= y->type->rank;
    if (!*ok)
        return GOPT_OK;
    const int rank = y->type->rank;
    for (int i = 0; i < rank; i++) {
        const int own = i - (rank - view.rank);
        strides[i] = own < 0 || view.dims[own] == 1 ? 0 : view.stride[own];
        *ok = *ok && (own < 0 || view.dims[own] == 1 || view.dims[own] == dims[i]);
    }
    m->rank = rank - 2;
    memcpy(m->dims, dims, sizeof m->dims);
    memcpy(m->batch, strides, sizeof m->batch);
    m->stride[ROW] = strides[rank - 2];
    m->stride[ELEMENT] = strides[rank - 1];
    m->half = view.half;
    m->type = gi_cl_type(v->type->dtype);
    m->room = view.room;
    t->n_masks++;
    return gi_cl_find(b, v, &m->ref);
}

/* Does the node give as many scores as it takes? */
static bool keeps_scores(const gi_attention_region *a, const gi_node *n)
{
    if (n->op == OP_Reshape)
        return gi_attention_keeps_rows(n);
    for (uint32_t i = 0; i < n->n_in; i++) {
        const gi_value *x = gi_node_in(n, i);
        int64_t from[GOPT_MAX_RANK], to[GOPT_MAX_RANK];
        if (x && gi_attention_stage_of(a, x) == GI_ATTENTION_SCORES &&
            (x->type->rank != n->out[0]->type->rank || !gi_type_static_dims(x->type, from) ||
             !gi_type_static_dims(n->out[0]->type, to) || memcmp(from, to, (size_t)x->type->rank * sizeof *from) != 0 ||
             (x->type->dtype != GOPT_F32 && x->type->dtype != GOPT_BOOL)))
            return false;
    }
    return true;
}

/* What happens to the scores: a scale first, then anything pointwise as a function of one of them. */
static gopt_status read_between(gi_cl_build *b, attention *t, bool *ok)
{
    const gi_attention_region *a = &t->a;
    const gi_value *from = a->scores->out[0];
    size_t first = 0;
    *ok = !a->n_behind;
    if (!*ok)
        (void)gi_cl_decline(b, "%s stands behind its softmax", a->behind[0]->op_name);
    t->scale = scaling_of(&a->q) * scaling_of(&a->k);
    t->out_scale = scaling_of(&a->v);
    for (size_t i = 0; i < a->n_before && *ok; i++) {
        const gi_node *n = a->before[i];
        gi_attention_operand o = { 0 };
        *ok = keeps_scores(a, n);
        if (!*ok)
            (void)gi_cl_decline(b, "%s of the scores changes their shape", n->op_name);
        else if (first == i && (n->op == OP_Reshape || (gi_attention_scaling(n, &o) && o.source == from))) {
            t->scale *= scaling_of(&o);
            from = n->out[0];
            first = i + 1;
        }
    }
    if (!*ok || first == a->n_before)
        return GOPT_OK;
    GI_TRY(gi_cl_function_of(b, "between", from, a->before + first, a->n_before - first, gi_node_in(a->softmax, 0),
                             &t->between, ok));
    for (uint32_t i = 0; i < t->between.n && *ok; i++)
        GI_TRY(read_mask(b, t, t->between.outside[i], t->between.by[i], ok));
    if (!*ok)
        (void)gi_cl_decline(b, "what happens to its scores is no function of one of them");
    return GOPT_OK;
}

/* Must an operand of floats, which lies within `source`, be read as it is? Then the tensor cores do not take the region. */
static gopt_status stays_in_floats(gi_cl_build *b, const gi_value *v, const gi_value *source, bool *does)
{
    const gi_blob *blob = gi_cl_floats(v);
    gi_halving halving = { 0 };
    *does = !b->dry && b->s->fp32;
    if (!*does)
        GI_TRY(gi_cl_reads_fp32(b, v, does));
    if (!*does && source != v)
        GI_TRY(gi_cl_reads_fp32(b, source, does));
    if (*does || !blob || blob->dtype != GOPT_F32 || b->dry)
        return GOPT_OK;
    for (int64_t i = 0; i < gi_blob_elements(blob); i++) {
        float x;
        memcpy(&x, (const char *)blob->data + (size_t)i * sizeof x, sizeof x);
        (void)gi_halve(&halving, x);
    }
    GI_TRY(gi_halving_misfit(&halving, v, b->arena, &b->s->fp32));
    *does = b->s->fp32 != NULL;
    return GOPT_OK;
}

/* Where an operand lies: `rows` and `elements` are dims that the product sees. */
static gopt_status place_operand(gi_cl_build *b, attention *t, const gi_attention_operand *from, bool turned,
                                 operand *o)
{
    gi_cl_view view;
    gi_value *source;
    int64_t strides[GOPT_MAX_RANK], at = 0;
    if (!look_through(b, from->source, 0, &source, &view, &at))
        return GOPT_INTERNAL;
    bool in_floats = false;
    if (!view.half && b->d->mma && b->d->half)
        GI_TRY(stays_in_floats(b, from->source, source, &in_floats));
    if (!view.half && b->d->mma && b->d->half && !in_floats) {
        gi_cl_view_of(b, from->source, &view); /* of the host: tensor cores want halves */
        view = gi_cl_view_dense(view.rank, view.dims, true);
        GI_TRY(gi_cl_convert(b, from->source, &view, &o->ref));
    } else {
        GI_TRY(let_read(b, source));
        GI_TRY(gi_cl_find(b, source, &o->ref));
        o->ref.offset += (uint64_t)at * o->ref.item;
    }
    for (int i = 0; i < from->rank; i++)
        strides[i] = view.stride[from->axis[i]];
    o->rank = t->a.rank;
    memcpy(o->dims, t->a.dims, sizeof o->dims);
    gi_attention_batch_strides(&t->a, from, strides, o->batch);
    o->stride[turned ? ELEMENT : ROW] = strides[from->rank - 2];
    o->stride[turned ? ROW : ELEMENT] = strides[from->rank - 1];
    o->half = view.half;
    o->room = view.room;
    return GOPT_OK;
}

static gopt_status place_result(gi_cl_build *b, attention *t, const gi_value *y)
{
    const int rank = t->a.rank + 2;
    gi_cl_view view;
    if (!gi_cl_view_of(b, y, &view) || view.rank != rank)
        return GOPT_INTERNAL;
    t->y.rank = t->a.rank;
    memcpy(t->y.dims, t->a.dims, sizeof t->y.dims);
    for (int i = 0; i < t->a.rank; i++)
        t->y.batch[i] = view.stride[t->a.y_axis[i]];
    t->y.stride[ROW] = view.stride[t->a.y_axis[rank - 2]];
    t->y.stride[ELEMENT] = view.stride[t->a.y_axis[rank - 1]];
    t->y.half = view.half;
    t->y.room = view.room;
    return gi_cl_find(b, y, &t->y.ref);
}

/* ---- the source ---- */

/* Where entry z of the batch begins. */
static void write_batch(gi_str *s, const char *name, const operand *o)
{
    int64_t below = 1;
    gi_str_addf(s, "#define %s(z) (0", name);
    for (int i = o->rank - 1; i >= 0; below *= o->dims[i--])
        if (o->batch[i] && o->dims[i] > 1)
            gi_str_addf(s, " + (ulong)((z) / %" PRId64 " %% %" PRId64 ") * %" PRId64 "UL", below, o->dims[i],
                        o->batch[i]);
    gi_str_add(s, ")\n");
}

static void write_operand(gi_str *s, char name, const operand *o)
{
    const char at[] = { name, '_', 'A', 'T', 0 };
    write_batch(s, at, o);
    gi_str_addf(s, "#define %c_ROW %" PRId64 "\n#define %c_E %" PRId64 "\n", name, o->stride[ROW], name,
                o->stride[ELEMENT]);
    gi_str_addf(s, "#define %c_TYPE %s\n#define LOAD_%c(p, i) %s\n", name, o->half ? "half" : "float", name,
                o->half ? "vload_half(i, p)" : "(p)[i]");
}

static void write_between(gi_str *s, const attention *t)
{
    for (int i = 0; i < t->n_masks; i++) {
        char name[24];
        (void)snprintf(name, sizeof name, "MASK%d_AT", i);
        write_batch(s, name, &t->masks[i]);
    }
    gi_str_addf(s, "#define MASKS %d\n#define MASK_ARGS", t->between.source != NULL);
    for (int i = 0; i < t->n_masks; i++)
        gi_str_addf(s, ", __global const %s *mask%d, const ulong mask%d_at",
                    t->masks[i].half ? "half" : t->masks[i].type, i, i);
    if (!t->between.source) {
        gi_str_add(s, "\n#define MASKED(x, z, row, key) (x)\n");
        return;
    }
    gi_str_addf(s, "\n%s#define MASKED(x, z, row, key) between(x", t->between.source);
    for (int i = 0; i < t->n_masks; i++) {
        const operand *m = &t->masks[i];
        if (m->half)
            gi_str_add(s, ", vload_half(");
        else
            gi_str_addf(s, ", mask%d[", i);
        gi_str_addf(s, "mask%d_at + MASK%d_AT(z) + (ulong)(row) * %" PRId64 " + (ulong)(key) * %" PRId64, i, i,
                    m->stride[ROW], m->stride[ELEMENT]);
        if (m->half)
            gi_str_addf(s, ", mask%d)", i);
        else
            gi_str_add(s, "]");
    }
    gi_str_add(s, ")\n");
}

/* What stands before both templates. */
static const char *write_problem(gi_cl_build *b, const attention *t)
{
    const gi_cl_view y = { .half = t->y.half };
    gi_str s;
    gi_str_init(&s, b->arena);
    gi_str_addf(&s,
                "// attention\n#define M %" PRId64 "\n#define N %" PRId64 "\n#define D %" PRId64 "\n#define DV %" PRId64
                "\n#define SCALE %af\n#define OUT_SCALE %af\n#define Y_HALF %d\n",
                t->a.m, t->a.n, t->a.d, t->a.dv, (double)t->scale, (double)t->out_scale, t->y.half);
    write_operand(&s, 'Q', &t->q);
    write_operand(&s, 'K', &t->k);
    write_operand(&s, 'V', &t->v);
    write_batch(&s, "Y_AT", &t->y);
    gi_str_addf(&s, "#define Y_ROW %" PRId64 "\n#define Y_E %" PRId64 "\n", t->y.stride[ROW], t->y.stride[ELEMENT]);
    gi_cl_write_result(&s, &y);
    write_between(&s, t);
    return s.failed ? NULL : s.p;
}

/* ---- tensor cores ---- */

/* Does everything begin at multiples of 16 bytes? */
static bool in_chunks(const operand *o)
{
    bool ok = o->stride[ELEMENT] == 1 && o->stride[ROW] % CHUNK == 0 && o->ref.offset % 16 == 0;
    for (int i = 0; i < o->rank; i++)
        ok = ok && o->batch[i] % CHUNK == 0;
    return ok;
}

static bool takes_mma(const gi_cl_build *b, const attention *t)
{
    return b->d->mma && !b->s->fp32 && t->q.half && t->k.half && t->v.half && in_chunks(&t->q) && in_chunks(&t->k) &&
           in_chunks(&t->v) && in_chunks(&t->y) && t->a.d % CHUNK == 0 && t->a.dv % CHUNK == 0 &&
           t->a.d <= MOST_D_MMA && t->a.dv <= MOST_D_MMA;
}

static int64_t local_bytes(const attention *t, const variant *v)
{
    const int64_t kd = (t->a.d + 15) / 16, vd = (t->a.dv + 15) / 16;
    const int64_t stages = v->stages * v->warps_k * v->bn * (kd * 32 + 16 + vd * 32 + 16);
    const int64_t out = (int64_t)v->warps_m * v->warps_k * 16 * (vd * 16 + 4 + 2) * 4;
    return stages > out ? stages : out;
}

static bool may_walk(const variant *v)
{
    return v->warps_m * v->warps_k == 8;
}

enum { NAME = 40 };

static void name_of(const variant *v, char *name, size_t size)
{
    (void)snprintf(name, size, "attention_mma_%dx%dx%d", 16 * v->warps_m, v->warps_k, v->bn);
}

/* The one that is asked for by name (GOPT_OPENCL_TENSOR); NULL: none, or no such one. */
static const variant *asked_variant(const gi_cl *d, const attention *t)
{
    for (size_t i = 0; d->way && i < GI_COUNT(variants); i++) {
        char name[NAME];
        name_of(&variants[i], name, sizeof name);
        if (!strcmp(name, d->way) && local_bytes(t, &variants[i]) <= LOCAL)
            return &variants[i];
    }
    return NULL;
}

static size_t groups_of(const attention *t, int64_t rows)
{
    return (size_t)((t->a.m + rows - 1) / rows * t->a.batch);
}

static const char *write_mma(gi_cl_build *b, const attention *t, const char *problem, const variant *v)
{
    gi_str s;
    gi_str_init(&s, b->arena);
    gi_str_add(&s, problem);
    gi_str_addf(
        &s, "#define BN %d\n#define ST %d\n#define WARPS_M %d\n#define WARPS_K %d\n#define LOCAL_BYTES %" PRId64 "\n",
        v->bn, v->stages, v->warps_m, v->warps_k, local_bytes(t, v));
    gi_str_add(&s, gi_cl_ptx(b->d));
    gi_str_add(&s, gk_opencl_attention_mma);
    return s.failed ? NULL : s.p;
}

/* What was chosen of a problem before; NULL: nothing that is a variant of it. */
static const variant *known_variant(const gi_cl *d, const attention *t, const char *key)
{
    const int known = d->timed ? gi_cl_tuned(d, key) : -1;
    const bool is = known >= 0 && (size_t)known < GI_COUNT(variants) && local_bytes(t, &variants[known]) <= LOCAL;
    return is ? &variants[known] : NULL;
}

/* By the clock where that is allowed, once for each problem; else keys shared out among warps where groups are few.
 * *walks: the same for a walk, NULL where there is none. Where rows are few, both are one. */
static gopt_status choose(gi_cl_build *b, const attention *t, const char *problem, const variant **chosen,
                          const variant **walks)
{
    enum { CHOICE = 4 /* what was timed among others is asked anew */ };
    const operand *const all[] = { &t->q, &t->k, &t->v, &t->y, &t->masks[0], &t->masks[1], &t->masks[2], &t->masks[3] };
    uint64_t bytes[GI_COUNT(all)];
    char key[64], walk_key[80];
    double least = -1, least_walk = -1;
    *chosen = asked_variant(b->d, t);
    *walks = *chosen && may_walk(*chosen) ? *chosen : NULL;
    if (*chosen)
        return GOPT_OK;
    for (size_t i = 0; i < GI_COUNT(all); i++)
        bytes[i] = (uint64_t)all[i]->room * (all[i]->ref.item ? all[i]->ref.item : 1);
    (void)snprintf(key, sizeof key, "attention,%016llx", (unsigned long long)gi_hash(problem, strlen(problem), CHOICE));
    (void)snprintf(walk_key, sizeof walk_key, "walk,%s", key);
    *chosen = known_variant(b->d, t, key);
    *walks = known_variant(b->d, t, walk_key);
    if (*chosen)
        return GOPT_OK;
    const bool few = groups_of(t, 64) < b->d->units;
    const char *sources[GI_COUNT(variants)] = { NULL }; /* of those that are timed */
    bool any = false;                                   /* that can be part of a walk */
    for (size_t i = 0; i < GI_COUNT(variants); i++)
        any = any || (may_walk(&variants[i]) && local_bytes(t, &variants[i]) <= LOCAL);
    for (size_t i = 0; i < GI_COUNT(variants); i++) {
        const variant *v = &variants[i];
        if (local_bytes(t, v) > LOCAL || (few && any && !may_walk(v)))
            continue;
        if (!b->d->timed) {
            if (!*chosen || (few && v->warps_k > (*chosen)->warps_k))
                *chosen = v;
            if (may_walk(v) && (!*walks || (few && v->warps_k > (*walks)->warps_k)))
                *walks = v;
            continue;
        }
        GI_NEED(sources[i] = write_mma(b, t, problem, v));
    }
    GI_TRY(gi_cl_build_all(b->d, b->arena, sources, GI_COUNT(sources)));
    for (size_t i = 0; i < GI_COUNT(variants); i++) {
        const variant *v = &variants[i];
        const size_t threads = (size_t)(32 * v->warps_m * v->warps_k), groups = groups_of(t, 16 * v->warps_m);
        if (!sources[i])
            continue;
        const double us = gi_cl_time_source(b->d, sources[i], "attention_mma", 4 + (uint32_t)t->n_masks, bytes, 0, NULL,
                                            (size_t[]){ groups * threads, 1, 1 }, (size_t[]){ threads, 1, 1 });
        if (us >= 0 && (least < 0 || us < least)) {
            least = us;
            *chosen = v;
        }
        if (us >= 0 && may_walk(v) && (least_walk < 0 || us < least_walk)) {
            least_walk = us;
            *walks = v;
        }
    }
    if (*walks && b->d->timed)
        GI_TRY(gi_cl_tuned_put(b->d, walk_key, (int)(*walks - variants)));
    return *chosen && b->d->timed ? gi_cl_tuned_put(b->d, key, (int)(*chosen - variants)) : GOPT_OK;
}

/* ---- the tactic ---- */

static const char *write_plain(gi_cl_build *b, const char *problem, int group)
{
    return gi_arena_printf(b->arena, "%s#define G %d\n%s", problem, group, gk_opencl_attention);
}

static gopt_status launch(gi_cl_build *b, const attention *t)
{
    gi_cl_ref refs[4 + MOST_MASKS] = { t->q.ref, t->k.ref, t->v.ref, t->y.ref };
    const uint32_t n_refs = 4 + (uint32_t)t->n_masks;
    const char *problem = write_problem(b, t);
    const variant *v = NULL, *walks = NULL;
    const char *walk_source = NULL;
    GI_NEED(problem);
    for (int i = 0; i < t->n_masks; i++)
        refs[4 + i] = t->masks[i].ref;
    b->s->gflop = 2e-9 * (double)(t->a.batch * t->a.m) * (double)t->a.n * (double)(t->a.d + t->a.dv);
    if (takes_mma(b, t))
        GI_TRY(choose(b, t, problem, &v, &walks));
    if (v) {
        const size_t threads = (size_t)(32 * v->warps_m * v->warps_k);
        const char *source = write_mma(b, t, problem, v);
        char name[NAME];
        name_of(v, name, sizeof name);
        b->s->tactic = gi_arena_str(b->c->arena, name);
        GI_NEED(source && b->s->tactic);
        GI_TRY(gi_cl_launch_kernel(b, source, "attention_mma", n_refs, refs, 0, NULL,
                                   (size_t[]){ groups_of(t, 16 * v->warps_m) * threads, 1, 1 },
                                   (size_t[]){ threads, 1, 1 }));
        if (!walks || walks == v)
            return GOPT_OK;
        GI_NEED(walk_source = write_mma(b, t, problem, walks));
        return gi_cl_launch_in_walk(b, walk_source, groups_of(t, 16 * walks->warps_m));
    }
    const char *source = write_plain(b, problem, GROUP);
    GI_NEED(source && (walk_source = write_plain(b, problem, WALK_GROUP)));
    b->s->tactic = "attention";
    GI_TRY(gi_cl_launch_kernel(b, source, "attention", n_refs, refs, 0, NULL,
                               (size_t[]){ groups_of(t, GROUP) * GROUP, 1, 1 }, (size_t[]){ GROUP, 1, 1 }));
    return gi_cl_launch_in_walk(b, walk_source, groups_of(t, WALK_GROUP));
}

gopt_status gi_cl_take_attention(gi_cl_build *b, const gi_node *n, bool *took)
{
    attention t = { 0 };
    bool ok;
    GI_TRY(gi_attention_read_region(b->arena, n, gi_cl_is_pointwise, &t.a, &ok));
    if (!ok)
        return GOPT_OK;
    if (t.a.d > MOST_D || t.a.dv > MOST_D) {
        (void)gi_cl_decline(b, "its heads are longer than %d", MOST_D);
        return GOPT_OK;
    }
    GI_TRY(read_between(b, &t, &ok));
    if (!ok || !isfinite(t.scale) || !isfinite(t.out_scale))
        return GOPT_OK;
    GI_TRY(place_operand(b, &t, &t.a.q, false, &t.q));
    GI_TRY(place_operand(b, &t, &t.a.k, true, &t.k));
    GI_TRY(place_operand(b, &t, &t.a.v, false, &t.v));
    GI_TRY(place_result(b, &t, n->out[0]));
    const int64_t most = gi_max_i64(gi_max_i64(t.q.room, t.k.room), gi_max_i64(t.v.room, t.y.room));
    if (most > INT32_MAX || t.a.batch > INT32_MAX / 64 || (int64_t)groups_of(&t, 16) > INT32_MAX / 256) {
        (void)gi_cl_decline(b, "it is too large for one kernel");
        return GOPT_OK;
    }
    *took = true;
    return b->dry ? GOPT_OK : launch(b, &t);
}
