/* What fusion is worth: the network with one kind of fused region taken apart against the network as it is, turn by
 * turn, so that what else the machine does meets both alike. */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "tool.h"

enum { FEWEST_TURNS = 9, MOST_TURNS = 101 };
static const double SECONDS = 1.5; /* a kind, unless --duration says */

typedef struct kind {
    const char *ops; /* "*": all regions */
    size_t places;
    double gain, spread, whole; /* ms */
    int64_t bytes;              /* read and written less */
} kind;

typedef struct bench {
    tool *t;
    gopt_graph *g;
    const gopt_engine_options *o;
    gopt_run_context *base;
    gopt_tensor **in;
    size_t n_in;
    kind *kinds;
    size_t n;
} bench;

/* A step's operators are joined by '+' where a region was fused. */
static gopt_status add_place(bench *b, const char *ops)
{
    for (size_t i = 0; i < b->n; i++)
        if (!strcmp(b->kinds[i].ops, ops)) {
            b->kinds[i].places++;
            return GOPT_OK;
        }
    kind *more = realloc(b->kinds, (b->n + 1) * sizeof *more);
    if (!more)
        return tool_no_memory(b->t);
    b->kinds = more;
    b->kinds[b->n++] = (kind){ .ops = ops, .places = 1 };
    return GOPT_OK;
}

static gopt_status collect(bench *b)
{
    const gopt_step_info *s;
    TRY(add_place(b, "*"));
    b->kinds[0].places = 0;
    for (size_t i = 0; (s = gopt_run_context_step(b->base, i)); i++)
        if (s->op && strchr(s->op, '+')) {
            TRY(add_place(b, s->op));
            b->kinds[0].places++;
        }
    return GOPT_OK;
}

static int64_t bytes_moved(gopt_run_context *rc)
{
    const gopt_step_info *s;
    int64_t sum = 0;
    for (size_t i = 0; (s = gopt_run_context_step(rc, i)); i++)
        sum += (int64_t)s->bytes;
    return sum;
}

/* Runs twice and times the second: the first brings this side's weights back into the caches. */
static gopt_status run_timed(gopt_run_context *rc, double *ms)
{
    TRY(gopt_run(rc));
    const double start = now_seconds();
    TRY(gopt_run(rc));
    *ms = 1e3 * (now_seconds() - start);
    return GOPT_OK;
}

static gopt_status take_turns(const bench *b, gopt_run_context *apart, kind *k)
{
    double gains[MOST_TURNS], whole[MOST_TURNS], off[MOST_TURNS], x, y;
    size_t n = 0;
    for (int i = 0; i < 2; i++) {
        TRY(run_timed(apart, &x));
        TRY(run_timed(b->base, &y));
    }
    const double start = now_seconds(), seconds = b->t->o.duration > 0 ? b->t->o.duration : SECONDS;
    while (n < MOST_TURNS && (n < FEWEST_TURNS || now_seconds() - start < seconds)) {
        TRY(run_timed(n % 2 ? b->base : apart, n % 2 ? &y : &x));
        TRY(run_timed(n % 2 ? apart : b->base, n % 2 ? &x : &y));
        whole[n] = y;
        gains[n++] = x - y;
    }
    k->gain = summary_of(gains, n).median;
    k->whole = summary_of(whole, n).median;
    for (size_t i = 0; i < n; i++)
        off[i] = fabs(gains[i] - k->gain);
    k->spread = 2 * 1.4826 * summary_of(off, n).median / sqrt((double)n); /* of the median, at two deviations */
    return GOPT_OK;
}

static gopt_status measure(const bench *b, kind *k)
{
    gopt_engine_options o = *b->o;
    gopt_engine *e = NULL;
    gopt_run_context *rc = NULL;
    o.kernels = NULL;
    o.take_graph = false;
    o.unfuse = k->ops;
    gopt_status s = gopt_engine_create(b->g, &o, &e);
    if (s == GOPT_OK)
        s = gopt_run_context_create(e, &rc);
    for (size_t i = 0; i < b->n_in && s == GOPT_OK; i++)
        s = gopt_run_context_set_input(rc, i, b->in[i]);
    if (s == GOPT_OK)
        s = take_turns(b, rc, k);
    if (s == GOPT_OK)
        k->bytes = bytes_moved(rc) - bytes_moved(b->base);
    gopt_run_context_destroy(rc);
    gopt_engine_destroy(e);
    return s;
}

/* All of it first, then by what they gain. */
static int by_gain(const void *a, const void *b)
{
    const kind *x = a, *y = b;
    if ((x->ops[0] == '*') != (y->ops[0] == '*'))
        return x->ops[0] == '*' ? -1 : 1;
    return (x->gain < y->gain) - (x->gain > y->gain);
}

static void print(const bench *b)
{
    const tool *t = b->t;
    say(t, "\n%sWhat fusion is worth%s: the run without it takes so much longer (± two deviations)\n", bold(t),
        plain(t));
    for (size_t i = 0; i < b->n; i++) {
        const kind *k = &b->kinds[i];
        const bool clear = fabs(k->gain) > k->spread;
        say(t, "  %s%s, %zu place%s: %.3g ms ± %.2g of %.4g%s%s", clear ? bold(t) : "",
            k->ops[0] == '*' ? "all" : k->ops, k->places, k->places == 1 ? "" : "s", k->gain, k->spread, k->whole,
            clear ? plain(t) : "", clear ? "" : " (no more than the noise)");
        if (k->bytes > 0)
            say(t, "; moves %s less", bytes_text((uint64_t)k->bytes).p);
        say(t, "\n");
    }
}

static json_t *as_json(const bench *b)
{
    json_t *a = json_array();
    for (size_t i = 0; i < b->n; i++) {
        const kind *k = &b->kinds[i];
        json_array_append_new(a,
                              json_pack("{s:s, s:I, s:f, s:f, s:f, s:I}", "fusion", k->ops[0] == '*' ? "all" : k->ops,
                                        "places", (json_int_t)k->places, "ms", k->gain, "spread_ms", k->spread, "of_ms",
                                        k->whole, "bytes", (json_int_t)k->bytes));
    }
    return a;
}

gopt_status worth_measure(tool *t, gopt_graph *g, const gopt_engine_options *o, gopt_run_context *base,
                          gopt_tensor **in, size_t n_in, json_t **out)
{
    bench b = { .t = t, .g = g, .o = o, .base = base, .in = in, .n_in = n_in };
    progress *p = progress_start(t, "timing without fusions");
    gopt_status s = collect(&b);
    for (size_t i = 0; i < b.n && s == GOPT_OK && b.kinds[0].places; i++)
        s = measure(&b, &b.kinds[i]);
    progress_stop(p);
    if (s == GOPT_OK && !b.kinds[0].places) {
        tool_note(t, NULL, "no region of this network is fused: there is nothing to take apart");
    } else if (s == GOPT_OK) {
        qsort(b.kinds, b.n, sizeof *b.kinds, by_gain);
        print(&b);
    }
    *out = s == GOPT_OK ? as_json(&b) : NULL;
    free(b.kinds);
    return s;
}
