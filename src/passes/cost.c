/* Weighing what a rewrite or a fusion changes (see cost.h). */
#include "passes/cost.h"

/* The machine of middling speed: two cores of a server. */
static const double BYTES_PER_US = 2e4, FLOPS_PER_US = 1e5, US_PER_KERNEL = 2.0;

gi_cost gi_cost_none(gopt_graph *g)
{
    const gi_dim *zero = gi_dim_const(g->dims, 0);
    return (gi_cost){ .bytes = zero, .flops = zero };
}

static const gi_dim *type_bytes(gopt_graph *g, const gi_type *t)
{
    const gi_dim *n = gi_type_count(g, t);
    const int bits = n ? gopt_dtype_bits(t->dtype) : 0;
    if (bits <= 0)
        return NULL;
    return bits >= 8 ? gi_dim_mul(g->dims, n, gi_dim_const(g->dims, bits / 8))
                     : gi_dim_ceildiv(g->dims, n, gi_dim_const(g->dims, 8 / bits));
}

static const gi_dim *plus(gopt_graph *g, const gi_dim *sum, const gi_dim *x, int64_t times)
{
    return sum && x ? gi_dim_add(g->dims, sum, gi_dim_mul(g->dims, x, gi_dim_const(g->dims, times))) : NULL;
}

void gi_cost_add_moves(gopt_graph *g, gi_cost *c, const gi_type *t, int64_t times)
{
    c->bytes = plus(g, c->bytes, type_bytes(g, t), times);
}

void gi_cost_add_flops(gopt_graph *g, gi_cost *c, const gi_dim *flops, int64_t times)
{
    c->flops = plus(g, c->flops, flops, times);
}

/* ---- as numbers ---- */

static double number(const gi_dim *d)
{
    int64_t x;
    return d && gi_dim_eval_each(d, GI_COST_SYMBOL, &x) ? (double)x : 0;
}

double gi_cost_time(const gi_cost *c)
{
    return number(c->bytes) / BYTES_PER_US + number(c->flops) / FLOPS_PER_US + (double)c->kernels * US_PER_KERNEL;
}

const char *gi_cost_bytes_text(gi_arena *a, const gi_dim *bytes)
{
    static const char *const units[] = { "KiB", "MiB", "GiB", "TiB", "PiB", "EiB" };
    const char *text = NULL;
    int64_t x;
    if (bytes && gi_dim_is_const(bytes, &x)) {
        double v = (double)x / 1024;
        size_t u = 0;
        for (; v >= 1024 && u + 1 < GI_COUNT(units); u++)
            v /= 1024;
        text = x < 1024 ? gi_arena_printf(a, "%d byte%s", (int)x, x == 1 ? "" : "s")
                        : gi_arena_printf(a, "%.*f %s", v < 100, v, units[u]);
    } else if (bytes && !gi_dim_is_unknown(bytes)) {
        gi_str s;
        gi_str_init(&s, a);
        gi_dim_print(&s, bytes);
        gi_str_add(&s, " bytes");
        text = s.failed ? NULL : s.p;
    }
    return text ? text : "an unknown number of bytes";
}

/* ---- fusions ---- */

gi_cost gi_cost_of_value(gopt_graph *g, const gi_value *v)
{
    gi_cost c = gi_cost_none(g);
    gi_cost_add_moves(g, &c, v->type, 2);
    return c;
}

/* Was v read by one of the nodes before position (i, k)? */
static bool read_before(gi_node *const *nodes, size_t i, uint32_t k, const gi_value *v)
{
    for (size_t a = 0; a <= i; a++)
        for (uint32_t b = 0; b < (a < i ? nodes[a]->n_in : k); b++)
            if (nodes[a]->in[b].value == v)
                return true;
    return false;
}

/* What several of them read from outside is read once. */
static void add_shared(gopt_graph *g, gi_cost *c, gi_node *const *nodes, size_t n,
                       bool (*inside)(void *arg, const gi_use *u), void *arg)
{
    for (size_t i = 0; i < n; i++)
        for (uint32_t k = 0; k < nodes[i]->n_in; k++) {
            const gi_value *v = nodes[i]->in[k].value;
            const gi_use made = { .node = gi_value_node(v) };
            if (v && !gi_value_blob(v) && !inside(arg, &made) && read_before(nodes, i, 0, v) &&
                !read_before(nodes + i, 0, k, v))
                gi_cost_add_moves(g, c, v->type, 1);
        }
}

gi_cost gi_cost_of_fusion(gopt_graph *g, gi_node *const *nodes, size_t n, bool (*inside)(void *arg, const gi_use *u),
                          void *arg)
{
    gi_cost c = gi_cost_none(g);
    c.kernels = (int64_t)n - 1;
    for (size_t i = 0; i < n; i++)
        for (uint32_t k = 0; k < nodes[i]->n_out; k++) {
            const gi_value *v = nodes[i]->out[k];
            int64_t reads = 0, in = 0;
            for (const gi_use *u = v->uses; u; u = u->next, reads++)
                in += inside(arg, u);
            if (in) /* written once where nobody else reads it, and read by each of those inside */
                gi_cost_add_moves(g, &c, v->type, in + (in == reads));
        }
    add_shared(g, &c, nodes, n, inside, arg);
    return c;
}
