/* Rules of what weights hold. */
#include "lint/lint.h"

/* ---- who reads a weight ---- */

/* Is it the weight (not the bias, a mask or a table) of a product, or a parameter of a normalization? */
static const gi_node *arithmetic_reader(const gi_value *v)
{
    for (const gi_use *u = v->uses; u; u = u->next) {
        const gi_opcode op = u->node ? u->node->op : OP_Unknown;
        if (op == OP_Conv || op == OP_ConvTranspose || op == OP_Gemm || op == OP_MatMul ||
            op == OP_BatchNormalization || op == OP_LayerNormalization || op == OP_InstanceNormalization ||
            op == OP_GroupNormalization || op == OP_LSTM || op == OP_GRU || op == OP_RNN)
            return u->node;
    }
    return NULL;
}

static const gi_node *product_reader(const gi_value *v)
{
    for (const gi_use *u = v->uses; u; u = u->next) {
        const gi_opcode op = u->node ? u->node->op : OP_Unknown;
        if (u->index <= 1 && (op == OP_Conv || op == OP_ConvTranspose || op == OP_Gemm || op == OP_MatMul))
            return u->node;
    }
    return NULL;
}

/* ---- numbers that are none, or too large or small ---- */

void gi_lint_nan_weight(gi_lint *l)
{
    const gi_lint_weight *w = l->weight;
    uint32_t at;
    if (w->nans)
        gi_lint_find(l, gi_lint_reader(w->v, &at), w->v, (int64_t)w->nans, "%llu of its %lld elements %s NaN",
                     (unsigned long long)w->nans, (long long)w->n, w->nans == 1 ? "is" : "are");
}

void gi_lint_inf_weight(gi_lint *l)
{
    const gi_lint_weight *w = l->weight;
    const gi_node *n = w->infs ? arithmetic_reader(w->v) : NULL;
    if (n)
        gi_lint_find(l, n, w->v, (int64_t)w->infs, "%llu of its %lld elements %s infinite", (unsigned long long)w->infs,
                     (long long)w->n, w->infs == 1 ? "is" : "are");
}

void gi_lint_fp16_range(gi_lint *l)
{
    const gi_lint_weight *w = l->weight;
    uint32_t at;
    if (w->beyond_f16 && w->n == 1)
        gi_lint_find(l, gi_lint_reader(w->v, &at), w->v, 1, "its magnitude is %.4g", w->most);
    else if (w->beyond_f16)
        gi_lint_find(l, gi_lint_reader(w->v, &at), w->v, (int64_t)w->beyond_f16,
                     "%llu of its %lld elements %s beyond ±65504, up to %.4g", (unsigned long long)w->beyond_f16,
                     (long long)w->n, w->beyond_f16 == 1 ? "is" : "are", w->most);
}

static float epsilon_of(const gi_node *n)
{
    switch (n->op) {
    case OP_BatchNormalization:
        return gi_attr_float(n, BatchNormalization_at_epsilon);
    case OP_LayerNormalization:
        return gi_attr_float(n, LayerNormalization_at_epsilon);
    case OP_InstanceNormalization:
        return gi_attr_float(n, InstanceNormalization_at_epsilon);
    case OP_GroupNormalization:
        return gi_attr_float(n, GroupNormalization_at_epsilon);
    case OP_RMSNormalization:
        return gi_attr_float(n, RMSNormalization_at_epsilon);
    default:
        return 1;
    }
}

/* Of a weight: a lone tiny number that is added, or that something is limited to. */
void gi_lint_fp16_epsilon(gi_lint *l)
{
    static const double least = 0x1p-25;
    if (l->node) {
        const double e = (double)epsilon_of(l->node);
        if (e > 0 && e <= least)
            gi_lint_find(l, l->node, NULL, 0, "its epsilon is %.3g", e);
        return;
    }
    const gi_lint_weight *w = l->weight;
    if (!w || w->n != 1 || w->below_f16 != 1)
        return;
    for (const gi_use *u = w->v->uses; u; u = u->next) {
        const gi_opcode op = u->node ? u->node->op : OP_Unknown;
        if (op == OP_Add || op == OP_Max || op == OP_Clip)
            gi_lint_find(l, u->node, w->v, 0, "it %s %.3g", op == OP_Add ? "adds" : "keeps its result above", w->most);
    }
}

void gi_lint_subnormal_weight(gi_lint *l)
{
    const gi_lint_weight *w = l->weight;
    const gi_node *n =
        w->n > 1 && w->subnormal * 100 >= (uint64_t)w->n && w->subnormal ? arithmetic_reader(w->v) : NULL;
    if (n)
        gi_lint_find(l, n, w->v, (int64_t)w->subnormal, "%llu of its %lld elements are subnormal",
                     (unsigned long long)w->subnormal, (long long)w->n);
}

void gi_lint_zero_weight(gi_lint *l)
{
    const gi_lint_weight *w = l->weight;
    const gi_node *n = w->n > 1 && w->zeros == (uint64_t)w->n ? product_reader(w->v) : NULL;
    if (n)
        gi_lint_find(l, n, w->v, (int64_t)w->b->bytes, "all of its %lld elements are 0", (long long)w->n);
}

/* ---- twice the same ---- */

/* Only blobs of one type and size are hashed at all, and only those whose ends agree: most are told apart by that. */
static uint64_t rough_key(const gi_blob *b)
{
    enum { END = 64 };
    const uint8_t *p = b->data;
    const size_t n = b->bytes < END ? b->bytes : END;
    return gi_hash(p + b->bytes - n, n, gi_hash(p, n, (uint64_t)b->bytes * 64 + (uint64_t)b->dtype));
}

typedef struct alike {
    const gi_lint_weight *w;
    struct alike *next;
} alike;

void gi_lint_duplicate_weight(gi_lint *l)
{
    enum { WORTH_TELLING = 1024, CHAIN = 64 };
    gi_map by_key;
    gi_map_init(&by_key, l->scratch);
    for (size_t i = 0; i < l->weights.n; i++) {
        const gi_lint_weight *w = &l->weights.p[i];
        if (w->b->bytes < WORTH_TELLING || w->b->dtype == GOPT_STRING)
            continue;
        const uint64_t key = rough_key(w->b);
        alike *first = gi_map_get(&by_key, key), *same = first;
        for (int k = 0; same && k < CHAIN && !gi_blob_equal(same->w->b, w->b); k++)
            same = same->next;
        if (same) {
            if (gi_blob_equal(same->w->b, w->b))
                gi_lint_find(l, NULL, w->v, (int64_t)w->b->bytes, "the same bytes as %.200s",
                             gi_lint_name(l, same->w->v));
            continue;
        }
        alike *own = GI_NEW(l->scratch, alike);
        if (!own) {
            l->failed = true;
            return;
        }
        *own = (alike){ w, first };
        l->failed |= !gi_map_put(&by_key, key, own);
    }
}
