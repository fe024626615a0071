/* Nodes: operands in another order or from elsewhere, missing ones, attributes of other values, another operator,
 * something in between. */
#include "rules/mutate.h"

static const char *label(mutator *m, const gi_node *n)
{
    char buffer[32];
    const char *v = n->n_out ? gi_value_label(n->out[0], buffer, sizeof buffer) : "nothing";
    const char *s = gi_arena_printf(m->arena, "%s of %%%s", n->op_name, v);
    return s ? s : "?";
}

/* ---- operands ---- */

static void swap_operands(mutator *m, gi_node *n)
{
    for (uint32_t i = 0; i + 1 < n->n_in; i++) {
        gi_value *a = gi_node_in(n, i), *b = gi_node_in(n, i + 1);
        if (!a || !b || a == b || !mutate_here(m))
            continue;
        gi_str_addf(m->what, "inputs %u and %u of the %s change places", i, i + 1, label(m, n));
        gi_node_set_in(n, i, b);
        gi_node_set_in(n, i + 1, a);
        m->made = true;
    }
}

static void drop_operand(mutator *m, gi_node *n)
{
    for (uint32_t i = 0; i < n->n_in; i++) {
        if (!gi_node_in(n, i) || !mutate_here(m))
            continue;
        gi_str_addf(m->what, "input %u of the %s is absent", i, label(m, n));
        gi_node_set_in(n, i, NULL);
        uint32_t left = n->n_in;
        while (left && !gi_node_in(n, left - 1))
            left--;
        m->made = gi_node_resize_in(n, left);
    }
}

/* Any value that was made before n in its block, or is an input of the graph. */
static void redirect_operand(mutator *m, gi_node *n)
{
    for (uint32_t i = 0; i < n->n_in; i++) {
        gi_value *old = gi_node_in(n, i);
        if (!old)
            continue;
        for (uint32_t k = 0; k < m->g->main->n_params; k++)
            if (m->g->main->params[k] != old && mutate_here(m)) {
                gi_str_addf(m->what, "input %u of the %s is input %u of the graph", i, label(m, n), k);
                gi_node_set_in(n, i, m->g->main->params[k]);
                m->made = true;
            }
        int tried = 0;
        for (gi_node *p = n->prev; p && tried < 4; p = p->prev, tried++)
            if (p->n_out && p->out[0] != old && mutate_here(m)) {
                gi_str_addf(m->what, "input %u of the %s is the result of the %s", i, label(m, n), label(m, p));
                gi_node_set_in(n, i, p->out[0]);
                m->made = true;
            }
        for (uint32_t k = 0; k < n->n_in; k++)
            if (k != i && gi_node_in(n, k) && gi_node_in(n, k) != old && mutate_here(m)) {
                gi_str_addf(m->what, "inputs %u and %u of the %s are the same", i, k, label(m, n));
                gi_node_set_in(n, i, gi_node_in(n, k));
                m->made = true;
            }
    }
}

static void put_between(mutator *m, gi_node *n)
{
    static const gi_opcode ops[] = { OP_Identity, OP_Neg, OP_Relu };
    for (uint32_t i = 0; i < n->n_in; i++)
        for (size_t k = 0; k < GI_COUNT(ops); k++) {
            gi_value *v = gi_node_in(n, i);
            if (!v || !mutate_here(m))
                continue;
            gi_str_addf(m->what, "%s before input %u of the %s", gi_op_get(ops[k])->name, i, label(m, n));
            gi_value *y = gi_node_out(gi_node_create(n->block, n, ops[k], 1, &v, 1), 0);
            if (!y)
                return;
            gi_node_set_in(n, i, y);
            m->made = true;
        }
}

/* ---- attributes ---- */

static void set_ints(mutator *m, gi_node *n, int at, uint32_t count, const int64_t *v)
{
    gi_str_addf(m->what, "%s = [", gi_op_get(n->op)->attrs[at].name);
    for (uint32_t i = 0; i < count; i++)
        gi_str_addf(m->what, "%s%lld", i ? "," : "", (long long)v[i]);
    gi_str_addf(m->what, "] of the %s", label(m, n));
    m->made = gi_attr_set_ints(n, at, count, v);
}

static void change_ints(mutator *m, gi_node *n, int at)
{
    const int64_t *had;
    int64_t v[32];
    const uint32_t count = gi_attr_ints(n, at, &had);
    if (!gi_attr_has(n, at)) {
        for (uint32_t k = 1; k <= 6; k++)
            for (int64_t x = 0; x < 3; x++)
                if (mutate_here(m)) {
                    for (uint32_t i = 0; i < k; i++)
                        v[i] = x < 2 ? x : (int64_t)i;
                    set_ints(m, n, at, k, v);
                }
        return;
    }
    if (count > 32)
        return;
    static const int64_t steps[] = { 1, -1, 2 };
    for (uint32_t i = 0; i < count; i++) {
        for (size_t k = 0; k < GI_COUNT(steps); k++)
            if (mutate_here(m)) {
                memcpy(v, had, count * sizeof *v);
                v[i] += steps[k];
                set_ints(m, n, at, count, v);
            }
        if (i && v[i] != v[i - 1] && mutate_here(m)) {
            memcpy(v, had, count * sizeof *v);
            v[i] = had[i - 1];
            v[i - 1] = had[i];
            set_ints(m, n, at, count, v);
        }
    }
    if (count && mutate_here(m)) {
        for (uint32_t i = 0; i < count; i++)
            v[i] = had[count - 1 - i];
        set_ints(m, n, at, count, v);
    }
}

static void change_number(mutator *m, gi_node *n, int at, gi_attr_kind kind)
{
    static const int64_t ints[] = { 0, 1, 2, -1, -2, 3, 10, 11, 16, 6, 7 };
    static const float floats[] = { 0, 1, -1, 0.5f, 2, 1e-3f, 100 };
    for (size_t k = 0; kind == GI_ATTR_INT && k < GI_COUNT(ints); k++) {
        if (!mutate_here(m))
            continue;
        gi_str_addf(m->what, "%s = %lld of the %s", gi_op_get(n->op)->attrs[at].name, (long long)ints[k], label(m, n));
        gi_attr_set_int(n, at, ints[k]);
        m->made = true;
    }
    for (size_t k = 0; kind == GI_ATTR_FLOAT && k < GI_COUNT(floats); k++) {
        if (!mutate_here(m))
            continue;
        gi_str_addf(m->what, "%s = %g of the %s", gi_op_get(n->op)->attrs[at].name, (double)floats[k], label(m, n));
        gi_attr_set_float(n, at, floats[k]);
        m->made = true;
    }
}

/* The keywords that operators know, whichever takes them. */
static void change_text(mutator *m, gi_node *n, int at)
{
    static const char *const words[] = { "NOTSET", "SAME_UPPER", "SAME_LOWER", "VALID",         "constant", "reflect",
                                         "edge",   "wrap",       "none",       "tanh",          "nearest",  "linear",
                                         "cubic",  "forward",    "reverse",    "bidirectional", "DCR",      "CRD",
                                         "add",    "mul",        "half_pixel", "asymmetric" };
    for (size_t k = 0; k < GI_COUNT(words); k++) {
        if (gi_attr_is(n, at, words[k]) || !mutate_here(m))
            continue;
        gi_str_addf(m->what, "%s = \"%s\" of the %s", gi_op_get(n->op)->attrs[at].name, words[k], label(m, n));
        m->made = gi_attr_set_str(n, at, words[k]);
    }
}

static void change_attributes(mutator *m, gi_node *n)
{
    const gi_op *row = gi_op_get(n->op);
    for (int at = 0; at < row->n_attrs && !m->made; at++) {
        const gi_attr_kind kind = row->attrs[at].kind;
        if (gi_attr_has(n, at) && kind != GI_ATTR_GRAPH && mutate_here(m)) {
            gi_str_addf(m->what, "%s of the %s is absent", row->attrs[at].name, label(m, n));
            gi_attr_clear(n, at);
            m->made = true;
            return;
        }
        if (kind == GI_ATTR_INTS)
            change_ints(m, n, at);
        else if (kind == GI_ATTR_INT || kind == GI_ATTR_FLOAT)
            change_number(m, n, at, kind);
        else if (kind == GI_ATTR_STRING)
            change_text(m, n, at);
    }
}

/* ---- operators ---- */

static void set_operator(mutator *m, gi_node *n, gi_opcode op)
{
    gi_value **in = GI_NEW_ARRAY(m->arena, gi_value *, n->n_in + 1);
    if (!in)
        return;
    for (uint32_t i = 0; i < n->n_in; i++)
        in[i] = gi_node_in(n, i);
    gi_str_addf(m->what, "the %s is a %s", label(m, n), gi_op_get(op)->name);
    gi_node *other = gi_node_create(n->block, n, op, n->n_in, in, n->n_out);
    if (!other)
        return;
    for (uint32_t k = 0; k < n->n_attrs; k++) {
        const int at = gi_op_find_attr(gi_op_get(op), n->attrs[k].name);
        if (at >= 0 && n->attrs[k].kind == gi_op_get(op)->attrs[at].kind && n->attrs[k].kind != GI_ATTR_TENSOR)
            other->attrs[at] = n->attrs[k];
    }
    for (uint32_t i = 0; i < n->n_out; i++)
        gi_value_replace_uses(n->out[i], other->out[i]);
    gi_node_remove(n);
    m->made = true;
}

/* Operators that are easily taken for each other. */
static void change_operator(mutator *m, gi_node *n)
{
    static const gi_opcode families[][14] = {
        { OP_Add, OP_Sub, OP_Mul, OP_Div, OP_Max, OP_Min, OP_Pow },
        { OP_Relu, OP_Sigmoid, OP_Tanh, OP_Neg, OP_Abs, OP_Sqrt, OP_Exp, OP_Log, OP_Erf, OP_Identity, OP_HardSigmoid,
          OP_Floor, OP_Reciprocal },
        { OP_ReduceMean, OP_ReduceSum, OP_ReduceMax, OP_ReduceL2, OP_ReduceSumSquare },
        { OP_MaxPool, OP_AveragePool },
        { OP_Squeeze, OP_Unsqueeze },
        { OP_Gather, OP_GatherElements },
        { OP_And, OP_Or, OP_Xor },
        { OP_Less, OP_Greater, OP_Equal, OP_GreaterOrEqual, OP_LessOrEqual },
        { OP_Softmax, OP_LogSoftmax, OP_Hardmax },
        { OP_MatMul, OP_Gemm },
    };
    for (size_t f = 0; f < GI_COUNT(families); f++) {
        bool in = false;
        for (size_t k = 0; k < GI_COUNT(families[f]); k++)
            in = in || (families[f][k] != OP_Unknown && families[f][k] == n->op);
        for (size_t k = 0; in && k < GI_COUNT(families[f]); k++)
            if (families[f][k] != OP_Unknown && families[f][k] != n->op && mutate_here(m)) {
                set_operator(m, n, families[f][k]);
                return;
            }
    }
}

void mutate_nodes(mutator *m)
{
    mutate_node_list nodes;
    if (!mutate_list_nodes(m->g, m->arena, &nodes))
        return;
    for (size_t i = 0; i < nodes.n && !m->made; i++) {
        gi_node *n = nodes.p[i];
        void (*const kinds[])(mutator *, gi_node *) = { swap_operands, drop_operand,      redirect_operand,
                                                        put_between,   change_attributes, change_operator };
        for (size_t k = 0; k < GI_COUNT(kinds) && !m->made; k++)
            kinds[k](m, n);
    }
}
