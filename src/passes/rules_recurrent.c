/* Rules that know unrolled recurrent cells.
 *
 *   h1 = cell(x0, h0), h2 = cell(x1, h1), …      each cell a dozen nodes, x0, x1, … taken from one value
 *
 * A cell is known by its end, σ(o)·tanh(c'). Its gates are sums of products with constants, however those are cut:
 * four matrices or one that is split, x and h apart or concatenated. A cell becomes an LSTM of length 1; rules_runs.c
 * joins those. So no rule looks at a chain as a whole, and a chain of n cells takes 2n - 1 rewrites.
 *
 * Of a plain cell, tanh(x·W + h·R + b), nothing is known that two layers added up had not as well. It is one where
 * another cell made h, or goes on with its result by the same R, and x is a step of some sequence. */
#include "passes/build.h"
#include "passes/layout.h"
#include "passes/parts.h"

#define CELL_NEEDS                                                                                                 \
    "all gates are of the same x and h, matrices of [batch, size], with constant weights; nothing but the cell's " \
    "results is read elsewhere"

enum { MAX_TERMS = 2, MAX_BIASES = 4, MAX_DEPTH = 8 };

/* v · K[row … row+rows, col … ], K transposed where so said. */
typedef struct term {
    gi_value *v;
    const gi_blob *k;
    bool transposed;
    int64_t row, rows, col;
} term;

typedef struct bias {
    const gi_blob *b;
    int64_t col;
} bias;

/* A sum of terms and biases, `cols` columns wide. */
typedef struct gate {
    int n, n_biases;
    int64_t cols;
    term t[MAX_TERMS];
    bias b[MAX_BIASES];
} gate;

enum { GATES = 4 };

typedef struct cell {
    gi_opcode op;
    int64_t hidden;
    int gates;                 /* in the operator's order */
    gate gate[GATES];          /* of x and h; the GRU's last: of x alone where reset_after, else of x and r·h */
    gate after;                /* the GRU's h·R + b, which r multiplies, where reset_after */
    bool reset_after, negated; /* negated: z is 1 − what it should be */
    gi_value *x, *h, *c;
    const gi_value *rh;   /* r·h where it stands for h in the last gate */
    gi_value *cell_state; /* the LSTM's c' */
    const gi_node *next;  /* where h is zeros, so that no gate has it: the run of the next step, whose R is taken */
} cell;

/* ---- gates ---- */

static bool take(gi_match *m, gi_node *n)
{
    for (uint32_t i = 0; i < m->n_nodes; i++)
        if (m->nodes[i] == n)
            return true;
    if (m->n_nodes == GI_MATCH_NODES)
        return false;
    m->nodes[m->n_nodes++] = n;
    return true;
}

static gi_node *node_of(const gi_match *m, const gi_value *v, gi_opcode op)
{
    gi_node *n = gi_value_node(v);
    return n && n->op == op && n->block == m->root->block ? n : NULL;
}

static bool add_term(gate *g, gi_value *v, const gi_blob *k, bool transposed, int64_t row, int64_t rows, int64_t col)
{
    if (g->n == MAX_TERMS || gi_value_rank(v) != 2)
        return false;
    g->t[g->n++] = (term){ v, k, transposed, row, rows, col };
    return true;
}

/* v times the matrix k, whose columns from `col` on are wanted. A v that is concatenated is several terms. */
static bool add_product(gi_match *m, gate *g, gi_value *v, const gi_blob *k, bool transposed, int64_t col)
{
    const int64_t rows = k->dims[transposed];
    gi_node *concat = node_of(m, v, OP_Concat);
    int axis;
    if (!concat || concat->n_in != MAX_TERMS || !gi_axis(gi_attr_int(concat, Concat_at_axis), 2, &axis) || axis != 1)
        return add_term(g, v, k, transposed, 0, rows, col);
    int64_t row = 0;
    for (uint32_t i = 0; i < concat->n_in; i++) {
        gi_value *part = gi_node_in(concat, i);
        const int64_t n = gi_value_dim(part, 1);
        if (n < 1 || !add_term(g, part, k, transposed, row, n, col))
            return false;
        row += n;
    }
    return row == rows && take(m, concat);
}

/* A constant of one number, of a row, or of rows that are all the same. */
static bool add_bias(gate *g, const gi_value *v, int64_t col, int64_t width)
{
    const gi_blob *b = gi_value_blob(v);
    if (!b || g->n_biases == MAX_BIASES || b->rank > 2)
        return false;
    const int64_t n = gi_blob_elements(b);
    if (n != 1 && (n < 1 || b->dims[b->rank - 1] != width))
        return false;
    const size_t row = b->bytes / (size_t)n * (size_t)(n == 1 ? 1 : width);
    for (size_t at = row; at < b->bytes; at += row)
        if (memcmp(b->data, (const uint8_t *)b->data + at, row) != 0)
            return false;
    g->b[g->n_biases++] = (bias){ b, n == 1 ? -1 : col };
    return true;
}

/* Columns col … col+cols of v, which is `width` wide, as sums of products with constants. */
static bool read_gate(gi_match *m, gi_value *v, int64_t col, int depth, gate *g)
{
    gi_node *n = gi_value_node(v);
    const int64_t width = gi_value_dim(v, 1);
    gi_part p;
    if (gi_value_rank(v) != 2 || width < 1 || depth == MAX_DEPTH)
        return false;
    if (gi_value_blob(v))
        return add_bias(g, v, col, width);
    if (!n || n->block != m->root->block)
        return false;
    if (n->op == OP_Add) {
        gi_value *a = gi_node_in(n, 0), *b = gi_node_in(n, 1);
        if (gi_value_blob(a) || gi_value_blob(b))
            return take(m, n) && add_bias(g, gi_value_blob(a) ? a : b, col, width) &&
                   read_gate(m, gi_value_blob(a) ? b : a, col, depth + 1, g);
        return gi_value_dim(a, 1) == width && gi_value_dim(b, 1) == width && take(m, n) &&
               read_gate(m, a, col, depth + 1, g) && read_gate(m, b, col, depth + 1, g);
    }
    if (n->op == OP_MatMul || n->op == OP_Gemm) {
        const gi_blob *k = gi_value_blob(gi_node_in(n, 1));
        const bool is_gemm = n->op == OP_Gemm, turned = is_gemm && gi_attr_int(n, Gemm_at_transB);
        if (!k || k->rank != 2 ||
            (is_gemm && (gi_attr_int(n, Gemm_at_transA) || gi_attr_float(n, Gemm_at_alpha) != 1 ||
                         gi_attr_float(n, Gemm_at_beta) != 1)))
            return false;
        if (is_gemm && gi_node_in(n, Gemm_in_C) && !add_bias(g, gi_node_in(n, Gemm_in_C), col, width))
            return false;
        return take(m, n) && add_product(m, g, gi_node_in(n, 0), k, turned, col);
    }
    if (gi_part_of(v, &p) && p.axis == 1 && p.step == 1 && !p.drops && gi_value_rank(p.x) == 2)
        return take(m, n) && read_gate(m, p.x, p.first + col, depth + 1, g);
    return false;
}

/* The node of f that v is the result of, or columns `col` … of it. */
static gi_node *activated(const gi_match *m, const gi_value *v, gi_opcode f, int64_t *col)
{
    gi_part p;
    *col = 0;
    gi_node *n = node_of(m, v, f);
    if (n || !gi_part_of(v, &p) || p.axis != 1 || p.step != 1 || p.drops || gi_value_rank(p.x) != 2)
        return n;
    *col = p.first;
    return node_of(m, p.x, f);
}

/* f of a gate */
static bool read_activated(gi_match *m, gi_value *v, gi_opcode f, int64_t cols, gate *g)
{
    int64_t col;
    gi_node *n = activated(m, v, f, &col);
    *g = (gate){ .cols = cols };
    return n && gi_value_dim(v, 1) == cols && take(m, gi_value_node(v)) && take(m, n) &&
           read_gate(m, gi_node_in(n, 0), col, 0, g);
}

static double weight(const term *t, int64_t i, int64_t o)
{
    const int64_t row = t->row + i, col = t->col + o;
    return gi_load_f64(t->k->dtype, t->k->data,
                       (size_t)(t->transposed ? col * t->k->dims[1] + row : row * t->k->dims[1] + col));
}

static double bias_at(const gate *g, int64_t o)
{
    double sum = 0;
    for (int i = 0; i < g->n_biases; i++)
        sum += gi_load_f64(g->b[i].b->dtype, g->b[i].b->data, g->b[i].col < 0 ? 0 : (size_t)(g->b[i].col + o));
    return sum;
}

static const term *term_of(const gate *g, const gi_value *v)
{
    for (int i = 0; i < g->n; i++)
        if (g->t[i].v == v)
            return &g->t[i];
    return NULL;
}

/* ---- which of two values is the state ---- */

/* The [1, batch, size] value that v is a view of; NULL where it is none. */
static gi_value *lifted(const gi_value *v)
{
    const gi_node *n = gi_value_node(v);
    gi_value *x = n && gi_is_view(n) ? gi_node_in(n, 0) : NULL;
    if (gi_value_rank(x) != 3 || gi_value_rank(v) != 2 || gi_value_dim(x, 0) != 1)
        return NULL;
    for (int i = 0; i < 2; i++)
        if (gi_dim_equal(n->block->graph->dims, x->type->dims[i + 1], v->type->dims[i]) != 1)
            return NULL;
    return x;
}

/* Does the next step multiply the new state with the rows of the same matrix? */
static bool goes_on_with(const gi_value *next, const term *t)
{
    for (const gi_use *u = next->uses; u; u = u->next) {
        const gi_node *n = u->node;
        int64_t row = 0;
        if (n && n->op == OP_Concat) {
            for (uint32_t i = 0; i < u->index; i++)
                if (!gi_add_i64(row, gi_value_dim(gi_node_in(n, i), 1), &row))
                    return false;
            n = gi_value_only_user(n->out[0]);
        }
        if (n && (n->op == OP_MatMul || n->op == OP_Gemm) && row == t->row && gi_value_blob(gi_node_in(n, 1)) == t->k)
            return true;
    }
    return false;
}

static bool is_state(const gi_match *m, const term *t, int64_t hidden)
{
    const gi_node *made = gi_value_node(lifted(t->v));
    return t->rows == hidden &&
           ((made && (made->op == OP_LSTM || made->op == OP_GRU)) || goes_on_with(m->root->out[0], t));
}

/* Is v the state, though perhaps no larger than broadcasting needs? (broadcast_operand leaves it so.) */
static bool is_same_state(const gi_value *state, const gi_value *v)
{
    const gi_node *n = gi_value_node(state);
    return state == v || (n && (n->op == OP_Expand || n->op == OP_Tile) && gi_node_in(n, 0) == v) ||
           (gi_value_is_zeros(state) && gi_value_is_zeros(v));
}

/* The run that goes on from the root's state, by an R of which nothing is left where the state is zeros. */
static const gi_node *next_run(const gi_match *m, const cell *c)
{
    for (const gi_use *u = m->root->out[0]->uses; u; u = u->next) {
        const gi_node *n = gi_is_view(u->node) ? gi_value_only_user(u->node->out[0]) : NULL;
        const gi_blob *r = n && n->op == c->op ? gi_value_blob(gi_node_in(n, LSTM_in_R)) : NULL;
        if (r && gi_node_in(n, LSTM_in_initial_h) == u->node->out[0] && r->rank == 3 && r->dims[0] == 1 &&
            r->dims[1] == c->gates * c->hidden && r->dims[2] == c->hidden && gi_blob_is_finite(r))
            return n;
    }
    return NULL;
}

/* A first step from zeros: nothing is left of h·R. */
static bool starts_from_zeros(const gi_match *m, cell *c, const gate *g)
{
    c->next = g->n == 1 ? next_run(m, c) : NULL;
    c->x = g->n ? g->t[0].v : NULL;
    return c->next && (!c->h || gi_value_is_zeros(c->h)) && (!c->c || gi_value_is_zeros(c->c));
}

/* Has the gate x and h, or x alone where h is zeros? */
static bool has_both(const cell *c, const gate *g)
{
    return g->n == (c->next ? 1 : 2) && term_of(g, c->x) && (c->next || term_of(g, c->h));
}

static bool find_state(const gi_match *m, cell *c, const gate *g)
{
    if (g->n != 2)
        return starts_from_zeros(m, c, g);
    int h = is_state(m, &g->t[0], c->hidden) && !is_state(m, &g->t[1], c->hidden) ? 0 : 1;
    if (g->t[h].rows != c->hidden)
        h = 1 - h;
    c->h = g->t[h].v;
    c->x = g->t[1 - h].v;
    return g->t[h].rows == c->hidden && c->x != c->h;
}

/* ---- finding cells ---- */

/* All but the results are read inside alone. */
static bool is_closed(const gi_match *m, const gi_value *also, gi_reason *why)
{
    for (uint32_t i = 1; i < m->n_nodes; i++)
        for (uint32_t o = 0; o < m->nodes[i]->n_out; o++) {
            const gi_value *v = m->nodes[i]->out[o];
            for (const gi_use *u = v == also ? NULL : v->uses; u; u = u->next) {
                bool inside = false;
                for (uint32_t k = 0; k < m->n_nodes; k++)
                    inside = inside || u->node == m->nodes[k];
                if (!inside)
                    return gi_decline(why, "%s has %u users: %s", gi_value_ref(v, m->scratch), v->n_uses,
                                      gi_value_users(v, m->scratch));
            }
        }
    return true;
}

/* Is v of y's shape but for dims of 1, so that an Expand makes it so? */
static bool widens_to(gopt_graph *g, const gi_value *v, const gi_value *y)
{
    const int rank = gi_value_rank(v), skipped = gi_value_rank(y) - rank;
    for (int i = 0; i < rank && skipped >= 0; i++)
        if (gi_value_dim(v, i) != 1 && gi_dim_equal(g->dims, v->type->dims[i], y->type->dims[i + skipped]) != 1)
            return false;
    return rank >= 0 && skipped >= 0;
}

/* One type, one batch, and states of the cell's size: nothing is broadcast but zeros and the LSTM's cell state. */
static bool same_types(const gi_match *m, const cell *c)
{
    const gi_type *y = m->root->out[0]->type;
    const gopt_dtype t = gi_value_dtype(m->root->out[0]);
    const gi_value *v[] = { c->x, c->next ? NULL : c->h };
    if (c->c && !gi_value_is_zeros(c->c) && (gi_value_dtype(c->c) != t || !widens_to(m->g, c->c, m->root->out[0])))
        return false;
    for (size_t i = 0; i < GI_COUNT(v); i++)
        if (v[i] && !(v[i] == c->h && gi_value_is_zeros(v[i])) &&
            (gi_value_dtype(v[i]) != t || gi_value_rank(v[i]) != 2 ||
             gi_dim_equal(m->g->dims, v[i]->type->dims[0], y->dims[0]) != 1 ||
             (v[i] != c->x && gi_value_dim(v[i], 1) != c->hidden)))
            return false;
    return (t == GOPT_F32 || t == GOPT_F64 || t == GOPT_F16) && gi_value_dim(c->x, 1) > 0;
}

/* p = σ(gate) · rest; the gate is read, the rest returned. */
static gi_value *read_gated(gi_match *m, gi_value *v, int which, int64_t cols, gate *g)
{
    gi_node *n = node_of(m, v, OP_Mul);
    int64_t col;
    if (!n || !activated(m, gi_node_in(n, (uint32_t)which), OP_Sigmoid, &col))
        return NULL;
    const uint32_t before = m->n_nodes;
    if (take(m, n) && read_activated(m, gi_node_in(n, (uint32_t)which), OP_Sigmoid, cols, g))
        return gi_node_in(n, 1 - (uint32_t)which);
    m->n_nodes = before;
    return NULL;
}

enum { LSTM_I, LSTM_O, LSTM_F, LSTM_C };

/* c' = σ(f)·c + σ(i)·tanh(g), the first product being operand `at`. */
static bool read_cell_state(gi_match *m, gi_node *sum, uint32_t at, cell *c)
{
    const uint32_t before = m->n_nodes;
    for (int order = 0; order < 4; order++) {
        gate *i = &c->gate[LSTM_I], *f = &c->gate[LSTM_F];
        c->c = read_gated(m, gi_node_in(sum, at), order & 1, c->hidden, f);
        gi_value *g = c->c ? read_gated(m, gi_node_in(sum, 1 - at), order >> 1, c->hidden, i) : NULL;
        if (g && read_activated(m, g, OP_Tanh, c->hidden, &c->gate[LSTM_C]))
            return true;
        m->n_nodes = before;
    }
    return false;
}

static bool finds_lstm_cell(gi_match *m, gi_reason *why)
{
    cell *c = GI_NEW(m->scratch, cell);
    const int64_t hidden = gi_value_dim(m->root->out[0], 1);
    if (!c || gi_value_rank(m->root->out[0]) != 2 || hidden < 1)
        return false;
    for (uint32_t t = 0; t < 2; t++) {
        gi_node *tanh = node_of(m, gi_node_in(m->root, t), OP_Tanh);
        gi_node *sum = tanh ? node_of(m, gi_node_in(tanh, 0), OP_Add) : NULL;
        *c = (cell){ .op = OP_LSTM, .hidden = hidden, .gates = 4 };
        m->n_nodes = 1;
        m->nodes[0] = m->root;
        if (!sum || !read_activated(m, gi_node_in(m->root, 1 - t), OP_Sigmoid, hidden, &c->gate[LSTM_O]) ||
            !take(m, tanh) || !take(m, sum))
            continue;
        c->cell_state = sum->out[0];
        if (!read_cell_state(m, sum, 0, c) && !read_cell_state(m, sum, 1, c))
            continue;
        if (!find_state(m, c, &c->gate[LSTM_I]) || !same_types(m, c))
            return false;
        for (int k = 0; k < c->gates; k++)
            if (!has_both(c, &c->gate[k]))
                return false;
        m->data = c;
        return is_closed(m, c->cell_state, why);
    }
    return false;
}

enum { GRU_Z, GRU_R, GRU_H };

/* n = tanh(x·W + b + r·(h·R + b)), or tanh([x, r·h]·W + b) */
static bool read_candidate(gi_match *m, gi_value *v, cell *c)
{
    gi_node *tanh = node_of(m, v, OP_Tanh);
    gi_node *sum = tanh ? node_of(m, gi_node_in(tanh, 0), OP_Add) : NULL;
    const uint32_t before = m->n_nodes;
    for (int order = 0; sum && order < 4; order++) {
        gi_value *state = read_gated(m, gi_node_in(sum, order & 1), order >> 1, c->hidden, &c->gate[GRU_R]);
        gate *x = &c->gate[GRU_H];
        *x = (gate){ .cols = c->hidden };
        c->after = *x;
        c->reset_after = true;
        if (state && take(m, tanh) && take(m, sum) && read_gate(m, state, 0, 0, &c->after) &&
            read_gate(m, gi_node_in(sum, 1 - (order & 1)), 0, 0, x) && c->after.n <= 1 && x->n == 1)
            return true;
        m->n_nodes = before;
    }
    c->reset_after = false;
    if (!read_activated(m, v, OP_Tanh, c->hidden, &c->gate[GRU_H]) || c->gate[GRU_H].n != 2)
        return false;
    for (int i = 0; i < 4; i++) {
        gi_value *rh = c->gate[GRU_H].t[i & 1].v;
        gi_value *h = read_gated(m, rh, i >> 1, c->hidden, &c->gate[GRU_R]);
        if (h) {
            c->rh = rh;
            c->h = h;
            return true;
        }
    }
    return false;
}

/* h' = (1 − z)·n + z·h: the operand `at` is the product with 1 − z. */
static bool read_blend(gi_match *m, uint32_t at, bool negated, cell *c)
{
    gi_node *first = node_of(m, gi_node_in(m->root, at), OP_Mul);
    double one;
    for (uint32_t i = 0; first && i < 4; i++) {
        gi_node *rest = node_of(m, gi_node_in(first, i & 1), OP_Sub);
        if (!rest || !gi_value_scalar(gi_node_in(rest, 0), &one) || one != 1)
            continue;
        m->n_nodes = 1;
        gi_value *z = gi_node_in(rest, 1);
        gi_value *other = read_gated(m, gi_node_in(m->root, 1 - at), (int)(i >> 1), c->hidden, &c->gate[GRU_Z]);
        const gi_node *second = gi_value_node(gi_node_in(m->root, 1 - at));
        if (!other || gi_node_in(second, i >> 1) != z || !take(m, first) || !take(m, rest))
            continue;
        gi_value *kept = gi_node_in(first, 1 - (i & 1));
        c->negated = negated;
        if (read_candidate(m, negated ? other : kept, c) && (!c->h || c->h == (negated ? kept : other))) {
            c->h = negated ? kept : other;
            return true;
        }
        c->h = NULL;
    }
    return false;
}

/* h' = z·(h − n) + n: the operand `at` is the product. */
static bool read_step(gi_match *m, uint32_t at, cell *c)
{
    for (int which = 0; which < 2; which++) {
        m->n_nodes = 1;
        gi_value *d = read_gated(m, gi_node_in(m->root, at), which, c->hidden, &c->gate[GRU_Z]);
        gi_node *sub = d ? node_of(m, d, OP_Sub) : NULL;
        gi_value *n = gi_node_in(m->root, 1 - at), *h = sub ? gi_node_in(sub, 0) : NULL;
        if (!sub || gi_node_in(sub, 1) != n || !take(m, sub) || !read_candidate(m, n, c) || (c->h && c->h != h)) {
            c->h = NULL;
            continue;
        }
        c->h = h;
        return true;
    }
    return false;
}

/* Which of the gate's terms is of the state? */
static bool find_gated_state(cell *c, const gate *g)
{
    const int at = is_same_state(g->t[1].v, c->h);
    if (!is_same_state(g->t[at].v, c->h))
        return false;
    c->h = g->t[at].v;
    c->x = g->t[1 - at].v;
    return true;
}

static bool gru_gates_fit(const cell *c)
{
    const gate *n = &c->gate[GRU_H];
    if (!has_both(c, &c->gate[GRU_Z]) || !has_both(c, &c->gate[GRU_R]) || !term_of(n, c->x))
        return false;
    if (c->next)
        return c->reset_after && !c->after.n;
    return c->reset_after ? term_of(&c->after, c->h) != NULL : term_of(n, c->rh) && n->n == 2;
}

static bool finds_gru_cell(gi_match *m, gi_reason *why)
{
    cell *c = GI_NEW(m->scratch, cell);
    const int64_t hidden = gi_value_dim(m->root->out[0], 1);
    bool found = false;
    if (!c || gi_value_rank(m->root->out[0]) != 2 || hidden < 1)
        return false;
    m->nodes[0] = m->root;
    for (int i = 0; i < 6 && !found; i++) {
        *c = (cell){ .op = OP_GRU, .hidden = hidden, .gates = 3 };
        found = i < 4 ? read_blend(m, i & 1, i >> 1, c) : read_step(m, i & 1, c);
    }
    if (!found || (c->gate[GRU_Z].n != 2 && !starts_from_zeros(m, c, &c->gate[GRU_Z])))
        return false;
    if (!c->next && !find_gated_state(c, &c->gate[GRU_Z]))
        return false;
    if (c->x == c->h || !gru_gates_fit(c) || !same_types(m, c))
        return false;
    m->data = c;
    return is_closed(m, NULL, why);
}

/* Does the run that made the state multiply it with the same matrix? */
static bool is_result_of_same(const term *t, int64_t hidden)
{
    const gi_value *lift = lifted(t->v);
    const gi_node *made = gi_value_node(lift);
    const gi_blob *r = made && made->op == OP_RNN ? gi_value_blob(gi_node_in(made, RNN_in_R)) : NULL;
    if (!r || lift->index != RNN_out_Y_h || r->rank != 3 || r->dims[0] != 1 || r->dims[1] != hidden ||
        r->dims[2] != hidden)
        return false;
    for (int64_t i = 0; i < hidden * hidden; i++)
        if (weight(t, i % hidden, i / hidden) != gi_load_f64(r->dtype, r->data, (size_t)i))
            return false;
    return true;
}

/* Is v one step of a sequence, or the state that another run came to? */
static bool is_step(const gi_value *v)
{
    const gi_node *made = gi_value_node(lifted(v));
    gi_part p;
    if (made && (made->op == OP_LSTM || made->op == OP_GRU || made->op == OP_RNN))
        return true;
    for (int i = 0; i < MAX_DEPTH && gi_is_view(gi_value_node(v)); i++)
        v = gi_node_in(gi_value_node(v), 0);
    return gi_part_of(v, &p) && p.count == 1 && gi_value_rank(p.x) >= 3;
}

static bool finds_rnn_cell(gi_match *m, gi_reason *why)
{
    cell *c = GI_NEW(m->scratch, cell);
    const int64_t hidden = gi_value_dim(m->root->out[0], 1);
    if (!c || gi_value_rank(m->root->out[0]) != 2 || hidden < 1)
        return false;
    *c = (cell){ .op = OP_RNN, .hidden = hidden, .gates = 1 };
    gate *g = &c->gate[0];
    g->cols = hidden;
    m->nodes[0] = m->root;
    m->n_nodes = 1;
    if (!read_gate(m, gi_node_in(m->root, 0), 0, 0, g))
        return false;
    if (g->n != 2 && !starts_from_zeros(m, c, g))
        return false;
    for (int i = 0; i < 2 && g->n == 2 && !c->h; i++)
        if (g->t[i].rows == hidden &&
            (is_result_of_same(&g->t[i], hidden) || goes_on_with(m->root->out[0], &g->t[i]))) {
            c->h = g->t[i].v;
            c->x = g->t[1 - i].v;
        }
    if ((!c->next && !c->h) || c->x == c->h || !has_both(c, g) || !is_step(c->x) || !same_types(m, c))
        return false;
    m->data = c;
    return is_closed(m, NULL, why);
}

/* ---- making cells ---- */

enum { INPUT, STATE, BIAS };

/* Entry (row, col) of W, R or, with row 0, of B. */
static double entry(const cell *c, int which, int64_t row, int64_t col)
{
    const int64_t at = which == BIAS ? col % (c->gates * c->hidden) : row;
    const int k = (int)(at / c->hidden);
    const int64_t o = at % c->hidden;
    const bool last = c->op == OP_GRU && k == GRU_H;
    const double sign = c->op == OP_GRU && k == GRU_Z && c->negated ? -1 : 1;
    if (which == BIAS) {
        const bool recurrent = col >= c->gates * c->hidden;
        if (recurrent)
            return last && c->reset_after ? bias_at(&c->after, o) : 0;
        return sign * bias_at(&c->gate[k], o);
    }
    if (which == INPUT)
        return sign * weight(term_of(&c->gate[k], c->x), col, o);
    if (last && c->reset_after)
        return weight(term_of(&c->after, c->h), col, o);
    return sign * weight(term_of(&c->gate[k], last ? c->rh : c->h), col, o);
}

/* W, R or B: `like`, where a constant that is there already has the same numbers. */
static gi_value *weights(gi_rewrite *r, const cell *c, int which, gi_value *like, gopt_dtype t)
{
    const int64_t rows = which == BIAS ? 1 : c->gates * c->hidden;
    const int64_t cols = which == BIAS ? 2 * c->gates * c->hidden : which == INPUT ? gi_value_dim(c->x, 1) : c->hidden;
    const gi_blob *old = gi_value_blob(like);
    gi_blob *b;
    if (old && old->dtype == t && gi_blob_elements(old) == rows * cols) {
        bool same = true;
        uint64_t rounded = 0;
        for (int64_t i = 0; i < rows * cols && same; i++) {
            gi_store_f64(t, &rounded, 0, entry(c, which, i / cols, i % cols));
            same = gi_load_f64(t, &rounded, 0) == gi_load_f64(t, old->data, (size_t)i);
        }
        if (same)
            return like;
    }
    const int64_t dims[] = { 1, which == BIAS ? cols : rows, cols };
    if (gi_blob_create(r->g->cx, t, which == BIAS ? 2 : 3, dims, &b) != GOPT_OK)
        return NULL;
    for (int64_t i = 0; i < rows * cols; i++)
        gi_store_f64(t, b->owned, (size_t)i, entry(c, which, i / cols, i % cols));
    return gi_const(r->g, b, NULL);
}

static gi_value *lift(gi_rewrite *r, gi_value *v)
{
    gi_value *x = lifted(v);
    return x ? x : gi_rw_unsqueeze(r, v, 1, (int64_t[]){ 0 });
}

/* The cell state as large as the state: a node of two, since it was so before something else made it small. */
static gi_value *lift_cell_state(gi_rewrite *r, const cell *c)
{
    if (gi_type_same(r->g, c->c->type, c->h->type))
        return lift(r, c->c);
    gi_value *shape = gi_rw_build(r, OP_Shape, 1, (gi_value *[]){ c->h });
    gi_value *wide = shape ? gi_rw_build(r, OP_Expand, 2, (gi_value *[]){ c->c, shape }) : NULL;
    return wide ? lift(r, wide) : NULL;
}

/* A run of one step; its node. */
static gi_node *make_run(gi_rewrite *r, const gi_match *m)
{
    const cell *c = m->data;
    const gi_node *before = c->next ? c->next : gi_value_node(lifted(c->h));
    const bool like = before && before->op == c->op, starts = c->next != NULL;
    const gopt_dtype t = gi_value_dtype(c->x);
    gi_value *in[7] = { lift(r, c->x) };
    for (uint32_t i = 0; i < 3; i++) {
        gi_value *old = like ? gi_node_in(before, 1 + i) : NULL;
        in[1 + i] = starts && i == STATE ? old : weights(r, c, (int)i, old, t);
    }
    in[5] = starts || gi_value_is_zeros(c->h) ? NULL : lift(r, c->h);
    in[6] = !c->c || gi_value_is_zeros(c->c) ? NULL : lift_cell_state(r, c);
    if (!in[0] || !in[1] || !in[2] || !in[3] || (!in[5] && !starts && !gi_value_is_zeros(c->h)) ||
        (c->c && !in[6] && !gi_value_is_zeros(c->c)))
        return NULL;
    uint32_t n_in = c->op == OP_LSTM ? 7 : 6;
    while (!in[n_in - 1])
        n_in--;
    gi_node *n = gi_rw_node(r, c->op, n_in, in, c->op == OP_LSTM ? 3 : 2);
    if (!n)
        return NULL;
    gi_attr_set_int(n,
                    c->op == OP_LSTM  ? (int)LSTM_at_hidden_size
                    : c->op == OP_GRU ? (int)GRU_at_hidden_size
                                      : (int)RNN_at_hidden_size,
                    c->hidden);
    if (c->op == OP_RNN && m->root->op == OP_Relu &&
        !gi_attr_set_strings(n, RNN_at_activations, 1, (const char *[]){ "Relu" }))
        return NULL;
    if (c->reset_after)
        gi_attr_set_int(n, GRU_at_linear_before_reset, 1);
    return gi_rw_done(r, n) ? n : NULL;
}

static gi_value *make_lstm_cell(gi_rewrite *r, const gi_match *m)
{
    const cell *c = m->data;
    if (c->cell_state->n_uses > 1)
        r->before = gi_value_node(c->cell_state);
    gi_node *n = make_run(r, m);
    gi_value *h = n ? gi_rw_squeeze(r, n->out[LSTM_out_Y_h], 1, (int64_t[]){ 0 }) : NULL;
    if (h && c->cell_state->n_uses > 1) {
        gi_value *s = gi_rw_squeeze(r, n->out[LSTM_out_Y_c], 1, (int64_t[]){ 0 });
        if (!s || !gi_rw_also(r, c->cell_state, s))
            return NULL;
    }
    return h;
}

static gi_value *make_gru_cell(gi_rewrite *r, const gi_match *m)
{
    gi_node *n = make_run(r, m);
    return n ? gi_rw_squeeze(r, n->out[GRU_out_Y_h], 1, (int64_t[]){ 0 }) : NULL;
}

static gi_value *make_rnn_cell(gi_rewrite *r, const gi_match *m)
{
    gi_node *n = make_run(r, m);
    return n ? gi_rw_squeeze(r, n->out[RNN_out_Y_h], 1, (int64_t[]){ 0 }) : NULL;
}

#include "passes/rows.h"
#include "passes/rules/recurrent.def"
