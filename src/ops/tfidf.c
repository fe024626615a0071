/* TfIdfVectorizer: n-grams of a pool counted in rows of words or numbers.
 *
 * Each different item of the pool gets a number; the pool's n-grams then are the paths of a tree whose edges are
 * those numbers. A row is looked up once, and every place in it followed down the tree as far as it goes. */
#include "ops/eval.h"
#include "ops/infer.h"

typedef struct item {
    gopt_string s;
    int64_t i;
    uint32_t id; /* from 1 */
    struct item *next;
} item;

typedef struct tree_node {
    uint32_t id;
    int64_t gram; /* position in ngram_indexes, -1 where no n-gram of the pool ends here */
} tree_node;

typedef struct pool {
    gi_eval *a;
    bool words;
    gi_map items; /* by hash */
    uint32_t n_items;
    gi_map children; /* by parent's id << 32 | item */
    uint32_t n_nodes;
    tree_node root;
    const int64_t *columns;
    uint32_t n_grams;
    int64_t width; /* columns of the result */
    int64_t least, most, skips;
    const float *weights; /* one an n-gram; NULL: 1 */
    bool once;            /* a second time counts no more */
} pool;

/* ---- the pool ---- */

static const item *find_item(const pool *p, const item *want, uint64_t *hash)
{
    *hash = p->words ? gi_hash(want->s.p, want->s.n, 1) : gi_hash(&want->i, sizeof want->i, 2);
    for (const item *it = gi_map_get(&p->items, *hash); it; it = it->next)
        if (p->words ? it->s.n == want->s.n && (!it->s.n || !memcmp(it->s.p, want->s.p, it->s.n)) : it->i == want->i)
            return it;
    return NULL;
}

static const item *add_item(pool *p, const item *want)
{
    uint64_t hash;
    const item *have = find_item(p, want, &hash);
    if (have)
        return have;
    item *it = gi_eval_scratch(p->a, 1, sizeof *it);
    if (!it)
        return NULL;
    *it = *want;
    it->id = ++p->n_items;
    it->next = gi_map_get(&p->items, hash);
    return gi_map_put(&p->items, hash, it) ? it : NULL;
}

static tree_node *child(const pool *p, const tree_node *parent, uint32_t id)
{
    return gi_map_get(&p->children, (uint64_t)parent->id << 32 | id);
}

static gopt_status add_gram(pool *p, const item *items, int64_t n, int64_t gram)
{
    tree_node *at = &p->root;
    for (int64_t k = 0; k < n; k++) {
        const item *it = add_item(p, &items[k]);
        GI_NEED(it);
        tree_node *next = child(p, at, it->id);
        if (!next) {
            next = gi_eval_scratch(p->a, 1, sizeof *next);
            GI_NEED(next);
            *next = (tree_node){ .id = ++p->n_nodes, .gram = -1 };
            GI_NEED(gi_map_put(&p->children, (uint64_t)at->id << 32 | it->id, next));
        }
        at = next;
    }
    at->gram = gram;
    return GOPT_OK;
}

/* ngram_counts[k] says where the (k+1)-grams begin. */
static gopt_status read_pool(pool *p, const item *items, uint32_t n_items)
{
    const int64_t *counts;
    const uint32_t n = gi_attr_ints(p->a->n, TfIdfVectorizer_at_ngram_counts, &counts);
    int64_t gram = 0;
    for (uint32_t k = 0; k < n; k++) {
        const int64_t from = counts[k], to = k + 1 < n ? counts[k + 1] : n_items, size = (int64_t)k + 1;
        if (from < 0 || to < from || to > n_items)
            return gi_eval_fail(p->a, -1, "attribute ngram_counts: %u-grams lie from %lld to %lld in a pool of %u",
                                k + 1, (long long)from, (long long)to, n_items);
        if ((to - from) % size)
            return gi_eval_fail(p->a, -1, "attribute ngram_counts: %lld items are no whole number of %u-grams",
                                (long long)(to - from), k + 1);
        for (int64_t at = from; at < to; at += size, gram++) {
            if (gram >= p->n_grams)
                return gi_eval_fail(p->a, -1, "attribute ngram_indexes has %u entries, the pool has more n-grams",
                                    p->n_grams);
            if (size >= p->least && size <= p->most)
                GI_TRY(add_gram(p, items + at, size, gram));
        }
    }
    return GOPT_OK;
}

static gopt_status make_pool(gi_eval *a, pool *p)
{
    const gi_node *n = a->n;
    const char *const *words;
    const int64_t *numbers;
    const uint32_t n_words = gi_attr_strings(n, TfIdfVectorizer_at_pool_strings, &words);
    const uint32_t n_numbers = gi_attr_ints(n, TfIdfVectorizer_at_pool_int64s, &numbers);
    *p = (pool){ .a = a, .words = n_words > 0, .root.gram = -1 };
    gi_map_init(&p->items, a->scratch);
    gi_map_init(&p->children, a->scratch);
    if ((n_words > 0) == (n_numbers > 0))
        return gi_eval_fail(a, -1, "expected one of the attributes pool_strings and pool_int64s");
    if (p->words != (a->in[0]->dtype == GOPT_STRING))
        return gi_eval_fail(a, 0, "its elements are %s, the pool holds %s", gopt_dtype_name(a->in[0]->dtype),
                            p->words ? "strings" : "integers");
    p->least = gi_attr_int(n, TfIdfVectorizer_at_min_gram_length);
    p->most = gi_attr_int(n, TfIdfVectorizer_at_max_gram_length);
    p->skips = gi_attr_int(n, TfIdfVectorizer_at_max_skip_count);
    if (p->least < 1 || p->most < p->least || p->skips < 0)
        return gi_eval_fail(a, -1, "n-grams of %lld to %lld items with up to %lld skipped", (long long)p->least,
                            (long long)p->most, (long long)p->skips);
    p->n_grams = gi_attr_ints(n, TfIdfVectorizer_at_ngram_indexes, &p->columns);
    for (uint32_t i = 0; i < p->n_grams; i++) {
        if (p->columns[i] < 0 || p->columns[i] == INT64_MAX)
            return gi_eval_fail(a, -1, "attribute ngram_indexes holds %lld", (long long)p->columns[i]);
        p->width = gi_max_i64(p->width, p->columns[i] + 1);
    }
    const uint32_t count = p->words ? n_words : n_numbers;
    item *items = gi_eval_scratch(a, count, sizeof *items);
    GI_NEED(items);
    for (uint32_t i = 0; i < count; i++)
        if (p->words)
            items[i].s = (gopt_string){ .p = words[i], .n = strlen(words[i]) };
        else
            items[i].i = numbers[i];
    return read_pool(p, items, count);
}

/* ---- counting ---- */

/* Counts the pool's n-grams in a row: its items' numbers, 0 for those that the pool lacks. Single items are counted
 * once, whatever may be skipped. */
static void count_row(const pool *p, const uint32_t *row, int64_t n, int64_t *found)
{
    for (int64_t step = 1; step - 1 <= p->skips; step++) {
        const int64_t least = step > 1 ? gi_max_i64(p->least, 2) : p->least;
        if (least > p->most || (least > 1 && step > (n - 1) / (least - 1)))
            break; /* steps from here on are too wide */
        for (int64_t i = 0; i < n; i++) {
            const tree_node *at = &p->root;
            int64_t length = 1;
            for (int64_t k = i; length <= p->most; k += step, length++) {
                at = row[k] ? child(p, at, row[k]) : NULL;
                if (!at)
                    break;
                if (at->gram >= 0 && length >= least)
                    found[at->gram]++;
                if (n - k <= step)
                    break;
            }
        }
        if (step == INT64_MAX)
            break;
    }
}

/* A row of the result from its counts. A weight belongs to an n-gram; of several that share a column, counted once,
 * the first in the pool gives it. */
static void weigh(const pool *p, const int64_t *found, float *y)
{
    for (uint32_t g = 0; g < p->n_grams; g++)
        if (found[g] && !(p->once && y[p->columns[g]] != 0))
            y[p->columns[g]] += (p->once ? 1.0f : (float)found[g]) * (p->weights ? p->weights[g] : 1.0f);
}

static gopt_status read_weights(pool *p)
{
    const gi_node *n = p->a->n;
    p->once = gi_attr_is(n, TfIdfVectorizer_at_mode, "IDF");
    if (gi_attr_is(n, TfIdfVectorizer_at_mode, "TF"))
        return GOPT_OK;
    if (!p->once && !gi_attr_is(n, TfIdfVectorizer_at_mode, "TFIDF"))
        return gi_eval_fail(p->a, -1, "attribute mode is '%.40s', expected TF, IDF or TFIDF",
                            gi_attr_str(n, TfIdfVectorizer_at_mode));
    const uint32_t count = gi_attr_floats(n, TfIdfVectorizer_at_weights, &p->weights);
    if (count && count != p->n_grams)
        return gi_eval_fail(p->a, -1, "attribute weights has %u entries, ngram_indexes has %u", count, p->n_grams);
    return GOPT_OK;
}

static gopt_status eval_tfidf(gi_eval *a)
{
    const gopt_tensor *x = a->in[0];
    pool p;
    gopt_tensor *y;
    if (x->rank > 2)
        return gi_eval_fail(a, 0, "its rank is %d, expected 1 or 2", x->rank);
    GI_TRY(make_pool(a, &p));
    GI_TRY(read_weights(&p));
    const int64_t rows = x->rank == 2 ? x->dims[0] : 1, n = x->rank ? x->dims[x->rank - 1] : 1;
    const int64_t dims[2] = { x->rank == 2 ? rows : p.width, p.width };
    GI_TRY(gi_eval_out(a, 0, GOPT_F32, x->rank == 2 ? 2 : 1, dims, &y));
    uint32_t *row = gi_eval_scratch(a, (size_t)n + 1, sizeof *row);
    int64_t *found = gi_eval_scratch(a, p.n_grams + 1u, sizeof *found);
    GI_NEED(row && found);
    if (!y)
        return GOPT_OK;
    float *to = y->data;
    if (y->bytes)
        memset(to, 0, y->bytes);
    for (int64_t r = 0; r < rows; r++, to += p.width) {
        for (int64_t i = 0; i < n; i++) {
            item want = { 0 };
            uint64_t hash;
            if (p.words)
                want.s = ((const gopt_string *)x->data)[r * n + i];
            else
                want.i = gi_tensor_i64(x, r * n + i);
            const item *it = find_item(&p, &want, &hash);
            row[i] = it ? it->id : 0;
        }
        memset(found, 0, p.n_grams * sizeof *found);
        count_row(&p, row, n, found);
        weigh(&p, found, to);
    }
    return GOPT_OK;
}

static gopt_status infer_tfidf(gi_infer *c)
{
    const gi_type *t = gi_infer_type(c, 0);
    const int rank = gi_infer_rank(c, 0);
    const int64_t *columns;
    int64_t width = 0;
    const uint32_t n = gi_attr_ints(c->n, TfIdfVectorizer_at_ngram_indexes, &columns);
    for (uint32_t i = 0; i < n; i++) {
        if (columns[i] < 0 || columns[i] == INT64_MAX)
            return gi_infer_fail_node(c, "attribute ngram_indexes holds %lld", (long long)columns[i]);
        width = gi_max_i64(width, columns[i] + 1);
    }
    if (rank > 2)
        return gi_infer_fail(c, 0, "expected rank 1 or 2");
    const gi_dim *dims[2];
    dims[0] = dims[1] = gi_dim_const(c->g->dims, width);
    if (rank == 2)
        dims[0] = t->dims[0];
    gi_infer_set(c, 0, GOPT_F32, rank < 0 ? -1 : rank == 2 ? 2 : 1, dims);
    return GOPT_OK;
}

#include "ops/rows.h"

#include "ir/ops/tfidf.def"
