/* Einsum: any number of operands are contracted two at a time, each pair as one batched matrix product.
 *
 *   bhid,bhjd->bhij     batch b h, rows i, columns j, summed over d
 *
 * Before a product each operand is laid out as [batch, rows, summed] or [batch, summed, columns]; a label that
 * stands twice in one operand walks its diagonal, one that is missing has stride 0. A label that only one
 * operand has and nobody needs later is summed away first, as a product with 1. */
#include "ops/einsum.h"

#include <ctype.h>

#include "ops/matmul.h"

enum { ELLIPSIS_LABEL = 52, N_LABELS = GI_EINSUM_LABELS, MAX_OPERANDS = GI_EINSUM_OPERANDS };

typedef gi_einsum_term term;
typedef gi_einsum equation;

static int label_of(char ch)
{
    return ch >= 'a' && ch <= 'z' ? ch - 'a' : ch >= 'A' && ch <= 'Z' ? ch - 'A' + 26 : -1;
}

/* One operand's labels; `dots` dimensions stand for an ellipsis, aligned at the last. False on bad syntax. */
static bool read_term(const char *p, const char *end, int dots, term *t, bool *had_dots)
{
    t->n = 0;
    *had_dots = false;
    for (; p < end; p++) {
        if (isspace((unsigned char)*p))
            continue;
        if (*p == '.') {
            if (end - p < 3 || p[1] != '.' || p[2] != '.' || *had_dots)
                return false;
            *had_dots = true;
            p += 2;
            for (int i = 0; i < dots; i++) {
                if (t->n == GOPT_MAX_RANK)
                    return false;
                t->label[t->n++] = N_LABELS - dots + i;
            }
            continue;
        }
        if (label_of(*p) < 0 || t->n == GOPT_MAX_RANK)
            return false;
        t->label[t->n++] = label_of(*p);
    }
    return true;
}

static bool refuse(equation *e, const char *why)
{
    snprintf(e->why, sizeof e->why, "%s", why);
    return false;
}

/* The output that an equation without an arrow means: ellipsis, then labels that occur once, in order. */
static void implicit_output(equation *e, int dots)
{
    int count[N_LABELS] = { 0 };
    for (int i = 0; i < e->n_in; i++)
        for (int j = 0; j < e->in[i].n; j++)
            count[e->in[i].label[j]]++;
    e->out.n = 0;
    for (int i = 0; i < dots; i++)
        e->out.label[e->out.n++] = N_LABELS - dots + i;
    for (int i = 0; i < ELLIPSIS_LABEL && e->out.n < GOPT_MAX_RANK; i++) {
        const int label = (i + 26) % ELLIPSIS_LABEL; /* capitals come first in ASCII */
        if (count[label] == 1)
            e->out.label[e->out.n++] = label;
    }
}

bool gi_einsum_read(const char *text, int n_in, const int *ranks, equation *e)
{
    bool had_dots;
    int most_dots = 0;
    const char *arrow = strstr(text, "->"), *end = arrow ? arrow : text + strlen(text), *p = text;
    e->n_in = n_in;
    e->why[0] = 0;
    if (n_in < 1 || n_in > MAX_OPERANDS)
        return refuse(e, "it has no operands, or too many");
    for (int i = 0; i < n_in; i++) {
        const char *comma = memchr(p, ',', (size_t)(end - p)), *stop = comma ? comma : end;
        if (!comma != (i == n_in - 1))
            return refuse(e, "the equation has another number of operands than the node has inputs");
        if (!read_term(p, stop, 0, &e->in[i], &had_dots))
            return refuse(e, "the equation is malformed");
        const int dots = ranks[i] - e->in[i].n;
        if (dots < 0 || (dots > 0 && !had_dots))
            return refuse(e, "the equation gives an operand another rank than its input has");
        if (!read_term(p, stop, dots, &e->in[i], &had_dots))
            return refuse(e, "the equation is malformed");
        if (dots > most_dots)
            most_dots = dots;
        p = stop + 1;
    }
    if (!arrow) {
        implicit_output(e, most_dots);
        return true;
    }
    if (!read_term(arrow + 2, text + strlen(text), most_dots, &e->out, &had_dots))
        return refuse(e, "the equation's output is malformed");
    bool known[N_LABELS] = { 0 };
    for (int i = 0; i < n_in; i++)
        for (int j = 0; j < e->in[i].n; j++)
            known[e->in[i].label[j]] = true;
    for (int j = 0; j < e->out.n; j++) {
        if (!known[e->out.label[j]])
            return refuse(e, "the equation's output has a label that no operand has");
        known[e->out.label[j]] = false; /* and none twice */
    }
    return true;
}

gopt_status gi_infer_einsum(gi_infer *c)
{
    int ranks[MAX_OPERANDS];
    const gi_dim *size[N_LABELS] = { 0 }, *out[GOPT_MAX_RANK];
    const uint32_t n_in = c->n->n_in;
    if (n_in < 1 || n_in > MAX_OPERANDS)
        return gi_infer_fail_node(c, "it has %u operands, expected 1 to %d", n_in, MAX_OPERANDS);
    for (uint32_t i = 0; i < n_in; i++) {
        GI_TRY(gi_infer_want_dtype(c, i, 0));
        ranks[i] = gi_infer_rank(c, i);
        if (ranks[i] < 0) {
            gi_infer_set_like(c, 0, 0, -1, NULL);
            return GOPT_OK;
        }
    }
    equation *e = GI_NEW(c->scratch, equation);
    GI_NEED(e);
    const char *text = gi_attr_str(c->n, Einsum_at_equation);
    if (!gi_einsum_read(text ? text : "", (int)n_in, ranks, e))
        return gi_infer_fail_node(c, "equation \"%.80s\": %s", text ? text : "", e->why);
    for (uint32_t i = 0; i < n_in; i++)
        for (int j = 0; j < e->in[i].n; j++) {
            const int label = e->in[i].label[j];
            const gi_dim *d = gi_infer_dim(c, i, j);
            if (!size[label] || gi_dim_is(size[label], 1))
                size[label] = d;
            else if (!gi_dim_is(d, 1) && gi_dim_equal(c->g->dims, d, size[label]) == 0)
                return gi_infer_fail(c, i, "expected the size that dimension %d has in the other operands", j);
            else if (gi_dim_is_const(d, NULL) && !gi_dim_is(d, 1))
                size[label] = d;
        }
    for (int j = 0; j < e->out.n; j++)
        out[j] = size[e->out.label[j]];
    gi_infer_set_like(c, 0, 0, e->out.n, out);
    return GOPT_OK;
}

/* ---- evaluation ---- */

/* An operand: data of `word`, and the stride of each label (0 where it lacks it). */
typedef struct operand {
    const void *data;
    int64_t stride[N_LABELS];
    bool has[N_LABELS];
} operand;

typedef struct contraction {
    gi_eval *a;
    gi_word word;
    int64_t size[N_LABELS];
} contraction;

/* The labels of one role, in order, and how many elements they make. */
typedef struct role {
    int n;
    int label[N_LABELS];
    int64_t size;
} role;

static void role_add(contraction *k, role *r, int label)
{
    r->label[r->n++] = label;
    r->size *= k->size[label];
}

/* Copies an operand to the dense order of `n` roles. */
static gopt_status lay_out(contraction *k, const operand *o, int n, const role *const *roles, void **out)
{
    int labels[N_LABELS], rank = 0;
    int64_t at[N_LABELS] = { 0 }, count = 1, offset = 0;
    for (int i = 0; i < n; i++)
        for (int j = 0; j < roles[i]->n; j++) {
            labels[rank++] = roles[i]->label[j];
            if (!gi_mul_i64(count, k->size[roles[i]->label[j]], &count))
                return gi_eval_fail(k->a, -1, "an intermediate result is too large");
        }
    const size_t item = gi_word_size(k->word);
    char *p = gi_eval_scratch(k->a, (size_t)count + 1, item);
    GI_NEED(p);
    *out = p;
    for (int64_t i = 0; i < count; i++) {
        if (item == 4)
            ((uint32_t *)(void *)p)[i] = ((const uint32_t *)o->data)[offset];
        else
            ((uint64_t *)(void *)p)[i] = ((const uint64_t *)o->data)[offset];
        for (int d = rank - 1; d >= 0; d--) {
            offset += o->stride[labels[d]];
            if (++at[d] < k->size[labels[d]])
                break;
            offset -= o->stride[labels[d]] * k->size[labels[d]];
            at[d] = 0;
        }
    }
    return GOPT_OK;
}

/* x and y multiplied and summed over every label that `keep` leaves out. */
static gopt_status contract(contraction *k, const operand *x, const operand *y, const bool *keep, operand *out)
{
    role batch = { .size = 1 }, rows = { .size = 1 }, cols = { .size = 1 }, sum = { .size = 1 };
    for (int l = 0; l < N_LABELS; l++) {
        if (!x->has[l] && !y->has[l])
            continue;
        role_add(k, !keep[l] ? &sum : x->has[l] && y->has[l] ? &batch : x->has[l] ? &rows : &cols, l);
    }
    void *px, *py;
    GI_TRY(lay_out(k, x, 3, (const role *const[]){ &batch, &rows, &sum }, &px));
    GI_TRY(lay_out(k, y, 3, (const role *const[]){ &batch, &sum, &cols }, &py));
    const size_t item = gi_word_size(k->word);
    const int64_t m = rows.size, n = cols.size, d = sum.size;
    int64_t total;
    if (!gi_mul_i64(batch.size, m, &total) || !gi_mul_i64(total, n, &total))
        return gi_eval_fail(k->a, -1, "an intermediate result is too large");
    char *p = gi_eval_scratch(k->a, (size_t)total + 1, item);
    GI_NEED(p);
    for (int64_t b = 0; b < batch.size; b++)
        gi_gemm(k->word, m, n, d, (char *)px + (size_t)(b * m * d) * item, (char *)py + (size_t)(b * d * n) * item,
                p + (size_t)(b * m * n) * item);
    *out = (operand){ .data = p };
    int64_t stride = 1;
    const role *const order[3] = { &cols, &rows, &batch };
    for (int r = 0; r < 3; r++)
        for (int j = order[r]->n - 1; j >= 0; j--) {
            out->has[order[r]->label[j]] = true;
            out->stride[order[r]->label[j]] = stride;
            stride *= k->size[order[r]->label[j]];
        }
    return GOPT_OK;
}

static operand one(const contraction *k)
{
    static const float f32 = 1;
    static const double f64 = 1;
    static const uint64_t u64 = 1;
    return (operand){ .data = k->word == GI_WORD_F32   ? (const void *)&f32
                              : k->word == GI_WORD_F64 ? (const void *)&f64
                                                       : (const void *)&u64 };
}

static gopt_status load_operand(contraction *k, uint32_t i, const term *t, operand *o)
{
    const gopt_tensor *x = k->a->in[i];
    *o = (operand){ 0 };
    if (k->word == GI_WORD_U64) {
        const size_t n = (size_t)gopt_tensor_elements(x);
        int64_t *wide = gi_eval_scratch(k->a, n + 1, sizeof *wide);
        GI_NEED(wide);
        for (size_t j = 0; j < n; j++)
            wide[j] = gi_load_i64(x->dtype, x->data, j);
        o->data = wide;
    } else {
        GI_TRY(gi_real_in(k->a, i, k->word == GI_WORD_F64 ? GOPT_F64 : GOPT_F32, &o->data));
    }
    int64_t strides[GOPT_MAX_RANK];
    gi_strides(x->rank, x->dims, strides);
    for (int j = 0; j < t->n; j++) {
        o->has[t->label[j]] = true;
        if (x->dims[j] != 1)
            o->stride[t->label[j]] += strides[j];
    }
    return GOPT_OK;
}

static gopt_status label_sizes(contraction *k, const equation *e)
{
    for (int l = 0; l < N_LABELS; l++)
        k->size[l] = 1;
    for (int i = 0; i < e->n_in; i++)
        for (int j = 0; j < e->in[i].n; j++) {
            int64_t *size = &k->size[e->in[i].label[j]], d = k->a->in[i]->dims[j];
            if (*size != 1 && d != 1 && *size != d)
                return gi_eval_fail(k->a, i, "dimension %d is %lld, expected %lld as in the other operands", j,
                                    (long long)d, (long long)*size);
            if (*size == 1)
                *size = d;
        }
    return GOPT_OK;
}

/* Which labels the output or operands from `next` on need. */
static void labels_needed(const equation *e, int next, bool *keep)
{
    memset(keep, 0, N_LABELS * sizeof *keep);
    for (int j = 0; j < e->out.n; j++)
        keep[e->out.label[j]] = true;
    for (int i = next; i < e->n_in; i++)
        for (int j = 0; j < e->in[i].n; j++)
            keep[e->in[i].label[j]] = true;
}

/* Sums away what only x has. */
static gopt_status sum_lone(contraction *k, operand *x, const operand *other, const bool *keep)
{
    bool mine[N_LABELS], any = false;
    for (int l = 0; l < N_LABELS; l++) {
        mine[l] = keep[l] || other->has[l];
        any = any || (x->has[l] && !mine[l]);
    }
    const operand unit = one(k), was = *x;
    return any ? contract(k, &was, &unit, mine, x) : GOPT_OK;
}

gopt_status gi_eval_einsum(gi_eval *a)
{
    int ranks[MAX_OPERANDS];
    bool keep[N_LABELS];
    if (a->n_in < 1 || a->n_in > MAX_OPERANDS)
        return gi_eval_fail(a, -1, "it has %u operands, expected 1 to %d", a->n_in, MAX_OPERANDS);
    for (uint32_t i = 0; i < a->n_in; i++) {
        if (!a->in[i] || a->in[i]->dtype != a->in[0]->dtype)
            return gi_eval_fail(a, (int)i, "expected a tensor of the same elements as the first operand");
        ranks[i] = a->in[i]->rank;
    }
    equation *e = gi_eval_scratch(a, 1, sizeof *e);
    GI_NEED(e);
    const char *text = gi_attr_str(a->n, Einsum_at_equation);
    if (!gi_einsum_read(text ? text : "", (int)a->n_in, ranks, e))
        return gi_eval_fail(a, -1, "equation \"%.80s\": %s", text ? text : "", e->why);
    const gopt_dtype dtype = a->in[0]->dtype, real = gi_real_of(dtype);
    const bool ints = gi_dtype_is_int(dtype);
    contraction k = { .a = a, .word = ints ? GI_WORD_U64 : real == GOPT_F64 ? GI_WORD_F64 : GI_WORD_F32 };
    GI_TRY(label_sizes(&k, e));
    operand x, y = one(&k), r;
    GI_TRY(load_operand(&k, 0, &e->in[0], &x));
    for (int i = 1; i < e->n_in; i++) {
        labels_needed(e, i + 1, keep);
        GI_TRY(load_operand(&k, (uint32_t)i, &e->in[i], &y));
        GI_TRY(sum_lone(&k, &x, &y, keep));
        GI_TRY(sum_lone(&k, &y, &x, keep));
        GI_TRY(contract(&k, &x, &y, keep, &r));
        x = r;
        y = one(&k);
    }
    labels_needed(e, e->n_in, keep);
    GI_TRY(sum_lone(&k, &x, &y, keep));
    role order = { .size = 1 };
    int64_t dims[GOPT_MAX_RANK];
    for (int j = 0; j < e->out.n; j++) {
        role_add(&k, &order, e->out.label[j]);
        dims[j] = k.size[e->out.label[j]];
    }
    void *p;
    gopt_tensor *t;
    GI_TRY(lay_out(&k, &x, 1, (const role *const[]){ &order }, &p));
    GI_TRY(gi_eval_out(a, 0, dtype, e->out.n, dims, &t));
    if (!t)
        return GOPT_OK;
    for (int64_t i = 0; ints && i < gopt_tensor_elements(t); i++)
        gi_store_i64(dtype, t->data, (size_t)i, ((const int64_t *)p)[i]);
    if (!ints)
        gi_convert(dtype, t->data, real, p, (size_t)gopt_tensor_elements(t));
    return GOPT_OK;
}
