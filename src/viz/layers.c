/* Places boxes in layers:
 *
 *   layers by the longest path - places where a link passes layers - order by the means of neighbours, in a few sweeps -
 *   x by drawing each to the mean of its neighbours, in order and without overlap (pool adjacent violators)
 *
 * src/viz/web/layout.js does the same for the page. */
#include <stdlib.h>

#include "viz/layout.h"

enum { GAP_X = 18, GAP_Y = 26, PASS_WIDTH = 8, MOST_SPAN = 24 };

/* Neighbours of all vertices on one side: those of v are list[start[v]] to list[start[v + 1]]. */
typedef struct side {
    uint32_t *start, *list;
} side;

typedef struct placing {
    gi_layers *l;
    uint32_t n;
    gi_anchors steps; /* from a vertex to one in the next layer (before, after) */
    side up, down;
    uint32_t *row_start, *row; /* vertices by layer, in order */
    double *pos, *want;
} placing;

void gi_layers_init(gi_layers *l, gi_arena *a)
{
    *l = (gi_layers){ .arena = a };
}

static bool add_vertex(gi_layers *l, double w, double h, uint32_t rank)
{
    return gi_push(l->arena, &l->w, w) && gi_push(l->arena, &l->h, h) && gi_push(l->arena, &l->rank, rank);
}

bool gi_layers_add(gi_layers *l, double w, double h)
{
    l->n_items++;
    return add_vertex(l, w, h, 0);
}

/* ---- layers ---- */

/* Links by their upper item, as lists through `next`. */
typedef struct fan {
    uint32_t *first, *next; /* link + 1 */
    bool *fed;
} fan;

static gopt_status make_fan(gi_layers *l, fan *f)
{
    gi_arena *a = l->arena;
    GI_NEED(f->first = GI_NEW_ARRAY(a, uint32_t, l->n_items + 1));
    GI_NEED(f->next = GI_NEW_ARRAY(a, uint32_t, l->links.n + 1));
    GI_NEED(f->fed = GI_NEW_ARRAY(a, bool, l->n_items + 1));
    for (uint32_t i = 0; i < l->links.n; i++) {
        gi_link *k = &l->links.p[i];
        k->back = k->from >= k->to;
        if (k->back)
            continue;
        f->next[i] = f->first[k->from];
        f->first[k->from] = i + 1;
        f->fed[k->to] = true;
    }
    return GOPT_OK;
}

static void push_down(gi_layers *l, const fan *f, uint32_t v)
{
    for (uint32_t i = f->first[v]; i; i = f->next[i - 1]) {
        const uint32_t to = l->links.p[i - 1].to;
        if (l->rank.p[to] <= l->rank.p[v])
            l->rank.p[to] = l->rank.p[v] + 1;
    }
}

/* What nothing feeds stands right above what it feeds. */
static void pull_down(gi_layers *l, const fan *f, const bool *held)
{
    for (uint32_t v = l->n_items; v-- > 0;) {
        uint32_t least = UINT32_MAX;
        if (f->fed[v] || held[v] || !f->first[v])
            continue;
        for (uint32_t i = f->first[v]; i; i = f->next[i - 1])
            least = l->rank.p[l->links.p[i - 1].to] < least ? l->rank.p[l->links.p[i - 1].to] : least;
        l->rank.p[v] = least - 1;
    }
}

static uint32_t count_ranks(const gi_layers *l)
{
    uint32_t most = 0;
    for (uint32_t v = 0; v < l->n_items; v++)
        most = l->rank.p[v] > most ? l->rank.p[v] : most;
    return most + 1;
}

/* A layer that is wider than a picture may be is laid in several, one below the other: a tree of 1,500 leaves was 85,000
 * wide and 1,000 high. */
static gopt_status wrap_layers(gi_layers *const both[2], uint32_t ranks)
{
    enum { WIDEST = 8000 };
    gi_arena *a = both[0]->arena;
    uint32_t *rows = GI_NEW_ARRAY(a, uint32_t, ranks + 1), *first = GI_NEW_ARRAY(a, uint32_t, ranks + 1);
    GI_NEED(rows && first);
    for (int s = 0; s < 2 && both[s]; s++) {
        const gi_layers *l = both[s];
        double *width = GI_NEW_ARRAY(a, double, ranks + 1);
        GI_NEED(width);
        for (uint32_t v = 0; v < l->n_items; v++)
            width[l->rank.p[v]] += l->w.p[v] + GAP_X;
        for (uint32_t r = 0; r < ranks; r++) {
            const uint32_t n = 1 + (uint32_t)(width[r] / WIDEST);
            rows[r] = n > rows[r] ? n : rows[r];
        }
    }
    for (uint32_t r = 0; r < ranks; r++)
        first[r + 1] = first[r] + rows[r];
    for (int s = 0; s < 2 && both[s]; s++) {
        const gi_layers *l = both[s];
        uint32_t *n = GI_NEW_ARRAY(a, uint32_t, ranks + 1), *seen = GI_NEW_ARRAY(a, uint32_t, ranks + 1);
        GI_NEED(n && seen);
        for (uint32_t v = 0; v < l->n_items; v++)
            n[l->rank.p[v]]++;
        for (uint32_t v = 0; v < l->n_items; v++) {
            const uint32_t r = l->rank.p[v];
            l->rank.p[v] = first[r] + (uint32_t)((uint64_t)seen[r]++ * rows[r] / n[r]);
        }
        both[s]->wrapped = first[ranks] > ranks;
        both[s]->ranks = first[ranks];
    }
    return GOPT_OK;
}

gopt_status gi_layers_rank(gi_layers *l, gi_layers *other, const gi_anchors *anchors)
{
    gi_layers *const both[2] = { l, other };
    fan f[2] = { 0 };
    bool *held[2] = { 0 };
    uint32_t at[2] = { 0 };
    for (int s = 0; s < 2 && both[s]; s++) {
        GI_TRY(make_fan(both[s], &f[s]));
        GI_NEED(held[s] = GI_NEW_ARRAY(l->arena, bool, both[s]->n_items + 1));
    }
    /* Up to each anchor, items of the one and of the other; then the two that it joins. */
    for (size_t i = 0; other && i < anchors->n; i++) {
        const uint32_t pair[2] = { anchors->p[i].before, anchors->p[i].after };
        if (pair[0] < at[0] || pair[1] < at[1])
            continue;
        for (int s = 0; s < 2; s++)
            for (; at[s] < pair[s]; at[s]++)
                push_down(both[s], &f[s], at[s]);
        uint32_t *a = &l->rank.p[pair[0]], *b = &other->rank.p[pair[1]];
        *a = *b = *a > *b ? *a : *b;
        for (int s = 0; s < 2; s++) {
            held[s][pair[s]] = true;
            push_down(both[s], &f[s], at[s]++);
        }
    }
    for (int s = 0; s < 2 && both[s]; s++) {
        for (; at[s] < both[s]->n_items; at[s]++)
            push_down(both[s], &f[s], at[s]);
        pull_down(both[s], &f[s], held[s]);
    }
    const uint32_t mine = count_ranks(l), its = other ? count_ranks(other) : 0;
    return wrap_layers(both, mine > its ? mine : its);
}

/* ---- places where links pass ---- */

static gopt_status add_places(placing *p)
{
    gi_layers *l = p->l;
    for (size_t i = 0; i < l->links.n; i++) {
        gi_link *k = &l->links.p[i];
        const uint32_t from = l->rank.p[k->from], to = l->rank.p[k->to];
        k->first = (uint32_t)l->w.n;
        k->n = 0;
        k->far = k->back || to <= from || to - from > (l->wrapped ? 1 : MOST_SPAN);
        if (k->far)
            continue;
        uint32_t before = k->from;
        for (uint32_t r = from + 1; r < to; r++, k->n++) {
            GI_NEED(gi_push(l->arena, &p->steps, (gi_anchor){ before, (uint32_t)l->w.n }));
            before = (uint32_t)l->w.n;
            GI_NEED(add_vertex(l, PASS_WIDTH, 0, r));
        }
        GI_NEED(gi_push(l->arena, &p->steps, (gi_anchor){ before, k->to }));
    }
    p->n = (uint32_t)l->w.n;
    return GOPT_OK;
}

static gopt_status make_side(placing *p, side *s, bool up)
{
    GI_NEED(s->start = GI_NEW_ARRAY(p->l->arena, uint32_t, p->n + 2));
    GI_NEED(s->list = GI_NEW_ARRAY(p->l->arena, uint32_t, p->steps.n + 1));
    for (size_t i = 0; i < p->steps.n; i++)
        s->start[(up ? p->steps.p[i].after : p->steps.p[i].before) + 2]++;
    for (uint32_t v = 0; v < p->n; v++)
        s->start[v + 2] += s->start[v + 1];
    for (size_t i = 0; i < p->steps.n; i++) {
        const gi_anchor step = p->steps.p[i];
        s->list[s->start[(up ? step.after : step.before) + 1]++] = up ? step.before : step.after;
    }
    return GOPT_OK;
}

static gopt_status make_rows(placing *p)
{
    const gi_layers *l = p->l;
    GI_NEED(p->row_start = GI_NEW_ARRAY(l->arena, uint32_t, l->ranks + 2));
    GI_NEED(p->row = GI_NEW_ARRAY(l->arena, uint32_t, p->n + 1));
    GI_NEED(p->pos = GI_NEW_ARRAY(l->arena, double, p->n + 1));
    GI_NEED(p->want = GI_NEW_ARRAY(l->arena, double, p->n + 1));
    for (uint32_t v = 0; v < p->n; v++)
        p->row_start[l->rank.p[v] + 2]++;
    for (uint32_t r = 0; r < l->ranks; r++)
        p->row_start[r + 2] = p->row_start[r + 2] + p->row_start[r + 1];
    for (uint32_t v = 0; v < p->n; v++)
        p->row[p->row_start[l->rank.p[v] + 1]++] = v;
    for (uint32_t r = 0; r < l->ranks; r++)
        for (uint32_t i = p->row_start[r]; i < p->row_start[r + 1]; i++)
            p->pos[p->row[i]] = i - p->row_start[r];
    return GOPT_OK;
}

/* ---- order within layers ---- */

typedef struct keyed {
    double key, pos;
    uint32_t v;
} keyed;

static int by_key(const void *a, const void *b)
{
    const keyed *x = a, *y = b;
    if (x->key < y->key || x->key > y->key)
        return x->key < y->key ? -1 : 1;
    return (x->pos > y->pos) - (x->pos < y->pos);
}

static void sort_row(placing *p, uint32_t r, const side *s, keyed *k)
{
    const uint32_t first = p->row_start[r], n = p->row_start[r + 1] - first;
    if (n < 2)
        return;
    for (uint32_t i = 0; i < n; i++) {
        const uint32_t v = p->row[first + i], a = s->start[v], b = s->start[v + 1];
        double sum = 0;
        for (uint32_t j = a; j < b; j++) {
            const uint32_t u = s->list[j], ru = p->l->rank.p[u];
            sum += (p->pos[u] + 0.5) / (p->row_start[ru + 1] - p->row_start[ru]);
        }
        k[i] = (keyed){ b > a ? sum / (b - a) : (p->pos[v] + 0.5) / n, p->pos[v], v };
    }
    qsort(k, n, sizeof *k, by_key);
    for (uint32_t i = 0; i < n; i++) {
        p->row[first + i] = k[i].v;
        p->pos[k[i].v] = i;
    }
}

static int sweeps(const placing *p, int few, int some, int many)
{
    return p->n > 8000 ? few : p->n > 2000 ? some : many;
}

static gopt_status order_rows(placing *p)
{
    keyed *k = GI_NEW_ARRAY(p->l->arena, keyed, p->n + 1);
    GI_NEED(k);
    for (int s = 0, n = sweeps(p, 2, 4, 8); s < n; s++)
        for (uint32_t i = 1; i < p->l->ranks; i++)
            sort_row(p, s % 2 ? p->l->ranks - 1 - i : i, s % 2 ? &p->down : &p->up, k);
    return GOPT_OK;
}

/* ---- x ---- */

typedef struct pool {
    double mean, weight;
    uint32_t n;
} pool;

/* The places nearest to those wanted that keep the row's order and do not overlap. */
static void fit_row(placing *p, uint32_t r, pool *pools)
{
    const gi_layers *l = p->l;
    const uint32_t first = p->row_start[r], end = p->row_start[r + 1];
    uint32_t m = 0;
    double offset = 0;
    for (uint32_t i = first; i < end; i++) {
        const uint32_t v = p->row[i];
        if (i > first)
            offset += (l->w.p[p->row[i - 1]] + l->w.p[v]) / 2 + GAP_X;
        pools[m++] = (pool){ p->want[v] - offset, v < l->n_items ? 1 : 2, 1 };
        for (; m > 1 && pools[m - 2].mean > pools[m - 1].mean; m--) {
            pool *a = &pools[m - 2];
            const pool b = pools[m - 1];
            a->mean = (a->mean * a->weight + b.mean * b.weight) / (a->weight + b.weight);
            a->weight += b.weight;
            a->n += b.n;
        }
    }
    offset = 0;
    for (uint32_t i = first, g = 0, left = m ? pools[0].n : 0; i < end; i++) {
        if (i > first)
            offset += (l->w.p[p->row[i - 1]] + l->w.p[p->row[i]]) / 2 + GAP_X;
        if (!left)
            left = pools[++g].n;
        left--;
        l->x[p->row[i]] = pools[g].mean + offset;
    }
}

static void add_mean(const placing *p, const side *s, uint32_t v, double *sum, uint32_t *n)
{
    for (uint32_t j = s->start[v]; j < s->start[v + 1]; j++, ++*n)
        *sum += p->l->x[s->list[j]];
}

static void pull_row(placing *p, uint32_t r, bool up, bool down, pool *pools)
{
    for (uint32_t i = p->row_start[r]; i < p->row_start[r + 1]; i++) {
        const uint32_t v = p->row[i];
        double sum = 0;
        uint32_t n = 0;
        if (up)
            add_mean(p, &p->up, v, &sum, &n);
        if (down)
            add_mean(p, &p->down, v, &sum, &n);
        p->want[v] = n ? sum / n : p->l->x[v];
    }
    fit_row(p, r, pools);
}

static gopt_status place_x(placing *p)
{
    gi_layers *l = p->l;
    pool *pools = GI_NEW_ARRAY(l->arena, pool, p->n + 1);
    GI_NEED(pools && (l->x = GI_NEW_ARRAY(l->arena, double, p->n + 1)));
    for (uint32_t r = 0; r < l->ranks; r++) {
        double at = 0;
        for (uint32_t i = p->row_start[r]; i < p->row_start[r + 1]; i++) {
            l->x[p->row[i]] = at + l->w.p[p->row[i]] / 2;
            at += l->w.p[p->row[i]] + GAP_X;
        }
        for (uint32_t i = p->row_start[r]; i < p->row_start[r + 1]; i++)
            l->x[p->row[i]] -= at / 2;
    }
    for (int s = 0, n = sweeps(p, 4, 6, 10); s < n; s++) {
        const bool both = s >= n - 2;
        for (uint32_t i = 0; i < l->ranks; i++)
            pull_row(p, s % 2 ? l->ranks - 1 - i : i, both || s % 2 == 0, both || s % 2, pools);
    }
    double least = 0, most = 0;
    for (uint32_t v = 0; v < p->n; v++) {
        const double left = l->x[v] - l->w.p[v] / 2, right = l->x[v] + l->w.p[v] / 2;
        least = !v || left < least ? left : least;
        most = !v || right > most ? right : most;
    }
    for (uint32_t v = 0; v < p->n; v++)
        l->x[v] -= least;
    l->width = most - least;
    return GOPT_OK;
}

gopt_status gi_layers_place(gi_layers *l)
{
    placing p = { .l = l };
    GI_TRY(add_places(&p));
    GI_TRY(make_side(&p, &p.up, true));
    GI_TRY(make_side(&p, &p.down, false));
    GI_TRY(make_rows(&p));
    GI_TRY(order_rows(&p));
    GI_TRY(place_x(&p));
    GI_NEED(l->row_y = GI_NEW_ARRAY(l->arena, double, l->ranks + 1));
    GI_NEED(l->row_h = GI_NEW_ARRAY(l->arena, double, l->ranks + 1));
    for (uint32_t v = 0; v < l->n_items; v++)
        if (l->h.p[v] > l->row_h[l->rank.p[v]])
            l->row_h[l->rank.p[v]] = l->h.p[v];
    return GOPT_OK;
}

/* ---- y ---- */

void gi_layers_rows(gi_layers *l, gi_layers *other)
{
    double y = 0;
    for (uint32_t r = 0; r < l->ranks; r++) {
        if (other && other->row_h[r] > l->row_h[r])
            l->row_h[r] = other->row_h[r];
        if (other) {
            other->row_h[r] = l->row_h[r];
            other->row_y[r] = y;
        }
        l->row_y[r] = y;
        y += l->row_h[r] + GAP_Y;
    }
    l->height = y > GAP_Y ? y - GAP_Y : 0;
    if (other)
        other->height = l->height;
}
