/* Tactic "trees": ensembles of decision trees, read and checked once for all runs. Nodes shrink to 24 bytes, leaves
 * count votes alone; rows are shared out over the pool. Sums are made in the reference's order, so answers are the
 * same bits for any number of threads. */
#include <math.h>

#include "backend/cpu/cpu.h"
#include "ops/forest.h"

enum { MAX_BLOCK = 64, ROOM = 32768 }; /* rows of a block, numbers that they take about */

typedef struct node {
    double value;
    int32_t to[2]; /* where it does not hold, where it does: a node, or ~leaf */
    int32_t feature;
    uint8_t mode;
    bool missing_true;
} node;

typedef struct vote {
    double weight;
    int64_t target;
} vote;

typedef struct trees {
    gi_forest f; /* nothing of it points into what was read, but for `base` and labels */
    node *nodes;
    vote *votes;
    int32_t *roots, *first;
    int64_t *sets; /* of node i that asks for membership: where its members begin, and how many there are */
    double *members;
    bool all_leq, all_lt; /* every node's mode, and none sends NaN the true way */
    int64_t rows, block;  /* rows that go through a tree before the next one's turn: it stays in the cache */
    uint64_t scratch;     /* a worker's */
} trees;

static bool takes(const gi_node *n)
{
    return n->op == OP_TreeEnsemble || n->op == OP_TreeEnsembleRegressor || n->op == OP_TreeEnsembleClassifier;
}

/* Does every walk end? A node that no branch waits for any more is taken away until none is left. */
static gopt_status ends(const gi_forest *f, gi_arena *a, bool *yes)
{
    int64_t *waiting = GI_NEW_ARRAY(a, int64_t, f->n_nodes + 1), *free = GI_NEW_ARRAY(a, int64_t, f->n_nodes + 1);
    GI_NEED(waiting && free);
    int64_t n = 0, done = 0, inner = 0;
    for (int64_t i = 0; i < f->n_nodes; i++) {
        if (f->nodes[i].mode == GI_TREE_LEAF)
            continue;
        inner++;
        for (int k = 0; k < 2; k++) {
            const int64_t to = k ? f->nodes[i].yes : f->nodes[i].no;
            if (to >= 0)
                waiting[to]++;
        }
    }
    for (int64_t i = 0; i < f->n_nodes; i++)
        if (f->nodes[i].mode != GI_TREE_LEAF && !waiting[i])
            free[n++] = i;
    for (; done < n; done++)
        for (int k = 0; k < 2; k++) {
            const int64_t to = k ? f->nodes[free[done]].yes : f->nodes[free[done]].no;
            if (to >= 0 && !--waiting[to])
                free[n++] = to;
        }
    *yes = done == inner;
    return GOPT_OK;
}

static gopt_status keep_nodes(gi_cpu_step *c, const gi_forest *f, trees *t)
{
    int64_t n_members = 0, at = 0;
    bool sets = false;
    for (int64_t i = 0; i < f->n_nodes; i++)
        if (f->nodes[i].mode == GI_TREE_MEMBER) {
            n_members += (int64_t)f->nodes[i].value;
            sets = true;
        }
    t->nodes = gi_cpu_own(c, ((size_t)f->n_nodes + 1) * sizeof *t->nodes);
    t->sets = gi_cpu_own(c, sets ? 2 * (size_t)f->n_nodes * sizeof *t->sets : 1);
    t->members = gi_cpu_own(c, ((size_t)n_members + 1) * sizeof *t->members);
    GI_NEED(t->nodes && t->sets && t->members);
    t->all_leq = t->all_lt = true;
    for (int64_t i = 0; i < f->n_nodes; i++) {
        const gi_tree_node *from = &f->nodes[i];
        if (from->mode == GI_TREE_LEAF)
            continue;
        t->nodes[i] = (node){ .value = from->value,
                              .to = { (int32_t)from->no, (int32_t)from->yes },
                              .feature = (int32_t)from->feature,
                              .mode = (uint8_t)from->mode,
                              .missing_true = from->missing_true };
        t->all_leq &= from->mode == GI_TREE_LEQ && !from->missing_true;
        t->all_lt &= from->mode == GI_TREE_LT && !from->missing_true;
        if (from->mode != GI_TREE_MEMBER)
            continue;
        const int64_t n = (int64_t)from->value;
        t->sets[2 * i] = at;
        t->sets[2 * i + 1] = n;
        memcpy(t->members + at, f->members + from->members, (size_t)n * sizeof *t->members);
        at += n;
    }
    return GOPT_OK;
}

static gopt_status keep(gi_cpu_step *c, const gi_forest *f, trees *t)
{
    GI_TRY(keep_nodes(c, f, t));
    t->votes = gi_cpu_own(c, ((size_t)f->n_votes + 1) * sizeof *t->votes);
    t->first = gi_cpu_own(c, ((size_t)f->n_leaves + 1) * sizeof *t->first);
    t->roots = gi_cpu_own(c, ((size_t)f->n_roots + 1) * sizeof *t->roots);
    double *base = gi_cpu_own(c, ((size_t)f->n_base + 1) * sizeof *base);
    GI_NEED(t->votes && t->first && t->roots && base);
    for (int64_t i = 0; i < f->n_votes; i++)
        t->votes[i] = (vote){ f->votes[i].weight, f->votes[i].target };
    for (int64_t i = 0; i <= f->n_leaves; i++)
        t->first[i] = (int32_t)f->first[i];
    for (int64_t i = 0; i < f->n_roots; i++)
        t->roots[i] = (int32_t)f->roots[i];
    for (int64_t i = 0; i < f->n_base; i++)
        base[i] = f->base[i];
    t->f = *f;
    t->f.a = NULL;
    t->f.nodes = NULL;
    t->f.members = NULL;
    t->f.roots = t->f.first = NULL;
    t->f.votes = NULL;
    t->f.row = t->f.sums = NULL;
    t->f.has = NULL;
    t->f.base = base;
    return GOPT_OK;
}

/* Reads into an arena that goes again, and keeps what runs need. A forest with a circle is the reference's: there it
 * is an error of those rows that come to it. */
static gopt_status read(gi_cpu *d, gi_step *s, gi_cpu_step *c, gi_arena *a, const int64_t *dims, bool *took)
{
    gi_value *x = s->node->in[0].value;
    gi_eval e = { .n = s->node, .cx = d->cx, .n_in = s->node->n_in, .n_out = s->n_out, .scratch = a };
    gi_forest f;
    bool fine;
    GI_TRY(gi_forest_read(&e, x->type->dtype, dims[x->type->rank - 1], &f));
    GI_TRY(ends(&f, a, &fine));
    if (!fine || f.n_nodes >= INT32_MAX || f.n_leaves >= INT32_MAX || f.n_votes >= INT32_MAX || f.width >= INT32_MAX)
        return GOPT_OK;
    trees *t = gi_cpu_own(c, sizeof *t);
    GI_NEED(t);
    GI_TRY(keep(c, &f, t));
    t->rows = x->type->rank == 2 ? dims[0] : 1;
    const int64_t a_row = f.width + f.n_targets + 2;
    t->block = gi_min_i64(MAX_BLOCK, 1 + ROOM / a_row);
    const uint64_t numbers = (uint64_t)(t->block * a_row) * sizeof(double);
    t->scratch = (numbers + (uint64_t)(t->block * (f.n_targets + 2)) * sizeof(bool) + 127) & ~(uint64_t)63;
    s->scratch = t->scratch * (uint64_t)d->threads;
    c->own = t;
    *took = true;
    return GOPT_OK;
}

static gopt_status prepare(gi_cpu *d, gi_step *s, gi_cpu_step *c, bool *took)
{
    int64_t dims[GOPT_MAX_RANK];
    if (!takes(s->node) || s->n_in != 1 || !s->node->in[0].value ||
        !gi_type_static_dims(s->node->in[0].value->type, dims) || s->node->in[0].value->type->rank < 1 ||
        s->node->in[0].value->type->rank > 2)
        return GOPT_OK;
    for (uint32_t i = 0; i < s->n_in; i++)
        c->want_in[i] = GI_PLAIN;
    for (uint32_t i = 0; i < s->n_out; i++)
        c->want_out[i] = GI_PLAIN;
    if (c->dry) {
        *took = true;
        return GOPT_OK;
    }
    gi_arena *a = gi_arena_create(d->cx);
    GI_NEED(a);
    const gopt_status st = read(d, s, c, a, dims, took);
    gi_arena_destroy(a);
    return st;
}

/* ---- running ---- */

static bool holds(const trees *t, int32_t i, const node *n, double x)
{
    switch ((gi_tree_mode)n->mode) {
    case GI_TREE_LEQ:
        return x <= n->value;
    case GI_TREE_LT:
        return x < n->value;
    case GI_TREE_GTE:
        return x >= n->value;
    case GI_TREE_GT:
        return x > n->value;
    case GI_TREE_EQ:
        return x == n->value;
    case GI_TREE_NEQ:
        return x != n->value;
    case GI_TREE_MEMBER:
        for (int64_t k = 0; k < t->sets[2 * i + 1]; k++)
            if (t->members[t->sets[2 * i] + k] == x)
                return true;
        return false;
    case GI_TREE_MODES:
    case GI_TREE_LEAF:
        break;
    }
    return false;
}

/* The leaf below `at`. The lone comparisons need no branch but the loop's. */
static int32_t walk(const trees *t, int32_t at, const double *row)
{
    const node *nodes = t->nodes;
    if (t->all_leq) {
        while (at >= 0)
            at = nodes[at].to[row[nodes[at].feature] <= nodes[at].value];
    } else if (t->all_lt) {
        while (at >= 0)
            at = nodes[at].to[row[nodes[at].feature] < nodes[at].value];
    } else {
        while (at >= 0) {
            const node *n = &nodes[at];
            const double x = row[n->feature];
            at = n->to[holds(t, at, n, x) || (n->missing_true && isnan(x))];
        }
    }
    return ~at;
}

enum { ABREAST = 4 };

/* The leaves of that many rows below `at`. A walk waits for memory at each step; four of them wait together. One that
 * has arrived looks at node 0 and stays where it is. */
static void walk_abreast(const trees *t, int32_t at, const gi_forest *f, int32_t *leaves)
{
    const node *nodes = t->nodes;
    int32_t to[ABREAST];
    for (int i = 0; i < ABREAST; i++)
        to[i] = at;
    while (to[0] >= 0 || to[1] >= 0 || to[2] >= 0 || to[3] >= 0)
        for (int i = 0; i < ABREAST; i++) {
            const node *n = &nodes[to[i] < 0 ? 0 : to[i]];
            const double x = f[i].row[n->feature];
            const int32_t next = n->to[t->all_leq ? x <= n->value : x < n->value];
            to[i] = to[i] < 0 ? to[i] : next;
        }
    for (int i = 0; i < ABREAST; i++)
        leaves[i] = ~to[i];
}

static void add_leaf(const trees *t, const gi_forest *f, int32_t leaf)
{
    for (int32_t v = t->first[leaf]; v < t->first[leaf + 1]; v++)
        gi_forest_add(f, t->votes[v].target, t->votes[v].weight);
}

typedef struct job {
    const trees *t;
    const gopt_tensor *x;
    gopt_tensor *y, *z;
    void *scratch;
} job;

/* f: one of each row */
static void run_block(const job *j, const gi_forest *f, int64_t first, int64_t n)
{
    const trees *t = j->t;
    for (int64_t i = 0; i < n; i++) {
        gi_ml_row(j->x, first + i, f[i].width, f[i].row);
        memset(f[i].sums, 0, ((size_t)f[i].n_targets + 2) * sizeof *f[i].sums);
        memset(f[i].has, 0, ((size_t)f[i].n_targets + 2) * sizeof *f[i].has);
    }
    const int64_t abreast = t->all_leq || t->all_lt ? n / ABREAST * ABREAST : 0;
    for (int64_t k = 0; k < t->f.n_roots; k++) {
        for (int64_t i = 0; i < abreast; i += ABREAST) {
            int32_t leaves[ABREAST];
            walk_abreast(t, t->roots[k], &f[i], leaves);
            for (int l = 0; l < ABREAST; l++)
                add_leaf(t, &f[i + l], leaves[l]);
        }
        for (int64_t i = abreast; i < n; i++)
            add_leaf(t, &f[i], walk(t, t->roots[k], f[i].row));
    }
    for (int64_t i = 0; i < n; i++)
        gi_forest_finish(&f[i], first + i, j->y, j->z);
}

static void run_part(void *arg, int worker, int n_workers)
{
    const job *j = arg;
    const trees *t = j->t;
    gi_forest f[MAX_BLOCK];
    int64_t from, to;
    gi_share(t->rows, 1, worker, n_workers, &from, &to);
    const int64_t room = t->f.n_targets + 2;
    double *numbers = (double *)(void *)((char *)j->scratch + (uint64_t)worker * t->scratch);
    bool *has = (bool *)(void *)(numbers + t->block * (t->f.width + room));
    for (int64_t i = 0; i < t->block; i++) {
        f[i] = t->f;
        f[i].row = numbers + i * (t->f.width + room);
        f[i].sums = f[i].row + t->f.width;
        f[i].has = has + i * room;
    }
    for (int64_t r = from; r < to; r += t->block)
        run_block(j, f, r, gi_min_i64(t->block, to - r));
}

static gopt_status tensor_of(const gi_buffer *b, gopt_tensor *t)
{
    *t = (gopt_tensor){ .kind = GOPT_TENSOR, .dtype = b->type->dtype, .rank = b->type->rank, .data = b->host };
    return gi_type_static_dims(b->type, t->dims) ? GOPT_OK : GOPT_INTERNAL;
}

static gopt_status run(gi_cpu *d, const gi_step *s, const gi_cpu_step *c, const gi_run_args *args)
{
    gopt_tensor x, out[2];
    const trees *t = c->own;
    GI_TRY(tensor_of(&args->in[0], &x));
    for (uint32_t i = 0; i < s->n_out && i < 2; i++)
        GI_TRY(tensor_of(&args->out[i], &out[i]));
    job j = { t, &x, s->n_out > 0 ? &out[0] : NULL, s->n_out > 1 ? &out[1] : NULL, args->scratch };
    if (t->rows * t->f.n_roots < 512) /* waking a thread takes as long as some hundred walks */
        run_part(&j, 0, 1);
    else
        gi_cpu_run(d, args->pool, run_part, &j);
    return GOPT_OK;
}

const gi_tactic gi_tactic_trees = { .name = "trees", .prepare = prepare, .run = run };
