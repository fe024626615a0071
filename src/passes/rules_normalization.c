/* Rules that recognize normalizations.
 *
 *   LayerNormalization      a form of x, its mean m over some axes, and s = mean((x − m)²) + ε over the same:
 *                           γ·x·s^-½ − γ·m·s^-½ + β
 *   RMSNormalization        γ·x·s^-½,  s = mean(x²) + ε
 *   InstanceNormalization   as the first, with all axes reduced but batch and channel
 *
 * The variance must be that of x − m. mean(x²) − m² is the same in real numbers, but loses digits by cancellation
 * that the operators keep, so that it is another result. */
#include <math.h>

#include "passes/build.h"
#include "passes/cone.h"

#define NORM_NEEDS                                                                                            \
    "all that is matched depends on x alone, has the shape of x and no other user; the variance is the mean " \
    "of (x − mean)²; s and b are constants; the dims that they vary over are known"

/* The greatest scale that is written out where the model had none, or a smaller one. */
enum { MAX_VECTOR = 1 << 20 };

typedef struct norm {
    const gi_cut *cut;
    gi_opcode op;
    bool centred;
    uint64_t axes;
    double epsilon;
    double scale, shift;     /* times gamma, times beta */
    const gi_value *gamma;   /* NULL: 1 */
    const gi_value *beta;    /* NULL: 1, so that shift 0 is none */
    int perm[GOPT_MAX_RANK]; /* dims in the operator's order: reduced ones last */
    bool moves;              /* perm is not the order that they have */
    uint64_t varies;         /* dims that the operator's scale has */
} norm;

enum { X = 0 };

/* ---- reading the form ---- */

/* The mean's atom that `a` is, to the first power; -1 where it is none. */
static int find_mean(const gi_forms *s, const gi_form *a)
{
    if (a->n != 1 || a->t[0].n != 1 || a->t[0].f[0].power != 1 || !gi_close(s, a->t[0].k, 1))
        return -1;
    return s->atoms[a->t[0].f[0].atom].kind == GI_ATOM_MEAN ? a->t[0].f[0].atom : -1;
}

/* Is `atom` mean((x − m)²) or mean(x²)? */
static bool read_variance(const gi_forms *s, int atom, norm *o)
{
    const gi_atom *v = &s->atoms[atom];
    o->axes = v->axes;
    o->centred = v->arg->n == 3;
    if (v->arg->n == 1)
        return gi_close(s, gi_form_get(v->arg, 1, X, 2.0), 1);
    const int m = gi_form_atom(s, v->arg, GI_ATOM_MEAN);
    if (v->arg->n != 3 || m < 0 || s->atoms[m].axes != v->axes || s->atoms[m].arg->n != 1 ||
        !gi_close(s, gi_form_get(s->atoms[m].arg, 1, X, 1.0), 1))
        return false;
    return gi_close(s, gi_form_get(v->arg, 1, X, 2.0), 1) && gi_close(s, gi_form_get(v->arg, 1, m, 2.0), 1) &&
           gi_close(s, gi_form_get(v->arg, 2, X, 1.0, m, 1.0), -2);
}

/* Is `atom`, whose root divides, the variance plus ε? */
static bool read_divisor(const gi_forms *s, int atom, norm *o)
{
    const gi_atom *d = &s->atoms[atom];
    if (d->kind == GI_ATOM_MEAN)
        return read_variance(s, atom, o);
    if (d->kind != GI_ATOM_SUM || d->arg->n != 2)
        return false;
    const int v = gi_form_atom(s, d->arg, GI_ATOM_MEAN);
    o->epsilon = gi_form_get(d->arg, 0);
    return v >= 0 && o->epsilon > 0 && gi_close(s, gi_form_get(d->arg, 1, v, 1.0), 1) && read_variance(s, v, o);
}

/* Is `atom` mean(x²) − mean(x)² + ε? */
static bool read_squares(const gi_forms *s, int atom, norm *o)
{
    const gi_atom *d = &s->atoms[atom], *square = NULL, *mean = NULL;
    if (d->kind != GI_ATOM_SUM)
        return false;
    o->epsilon = gi_form_get(d->arg, 0);
    for (int i = 0; i < d->arg->n; i++) {
        const gi_term *t = &d->arg->t[i];
        const gi_atom *a = t->n == 1 ? &s->atoms[t->f[0].atom] : NULL;
        if (t->n == 0)
            continue;
        if (!a || a->kind != GI_ATOM_MEAN || a->arg->n != 1)
            return false;
        if (gi_close(s, t->k, 1) && t->f[0].power == 1 && gi_close(s, gi_form_get(a->arg, 1, X, 2.0), 1))
            square = a;
        else if (gi_close(s, t->k, -1) && t->f[0].power == 2 && gi_close(s, gi_form_get(a->arg, 1, X, 1.0), 1))
            mean = a;
        else
            return false;
    }
    if (!square || !mean || square->axes != mean->axes || o->epsilon < 0)
        return false;
    o->axes = mean->axes;
    o->centred = true;
    return true;
}

/* The atom that has the power -½ everywhere; -1 where there is none. */
static int find_divisor(const gi_form *f)
{
    for (int i = 0; i < f->n; i++)
        for (int k = 0; k < f->t[i].n; k++)
            if (f->t[i].f[k].power == -0.5)
                return f->t[i].f[k].atom;
    return -1;
}

/* One term: the normalized x or mean times gamma, or beta. */
static bool read_term(const gi_forms *s, const gi_term *t, int divisor, norm *o, double *of_x, double *of_mean)
{
    const gi_value *tensor = NULL;
    bool divided = false, x = false, mean = false;
    for (int i = 0; i < t->n; i++) {
        const gi_atom *a = &s->atoms[t->f[i].atom];
        const double p = t->f[i].power;
        if (t->f[i].atom == divisor && p == -0.5)
            divided = true;
        else if (p != 1)
            return false;
        else if (a->kind == GI_ATOM_X)
            x = true;
        else if (a->kind == GI_ATOM_CONST && !tensor)
            tensor = a->value;
        else if (a->kind == GI_ATOM_MEAN && a->axes == o->axes && find_mean(s, a->arg) < 0 && a->arg->n == 1 &&
                 gi_close(s, gi_form_get(a->arg, 1, X, 1.0), 1))
            mean = true;
        else
            return false;
    }
    if (!divided) {
        if (x || mean || o->shift != 0)
            return false;
        o->beta = tensor;
        o->shift = t->k;
        return true;
    }
    if (x == mean || (*of_x == 0 && *of_mean == 0 ? false : o->gamma != tensor))
        return false;
    o->gamma = tensor;
    *(x ? of_x : of_mean) = t->k;
    return true;
}

static bool read_norm(const gi_cut *c, bool squares, norm *o)
{
    const gi_forms *s = c->forms;
    const int divisor = find_divisor(c->form);
    double of_x = 0, of_mean = 0;
    *o = (norm){ .cut = c };
    if (divisor < 0 || c->form->n > 3 || !(squares ? read_squares(s, divisor, o) : read_divisor(s, divisor, o)))
        return false;
    for (int i = 0; i < c->form->n; i++)
        if (!read_term(s, &c->form->t[i], divisor, o, &of_x, &of_mean))
            return false;
    o->scale = gi_close(s, of_x, 1) ? 1 : of_x;
    return of_x != 0 && (o->centred ? gi_close(s, of_mean, -of_x) : of_mean == 0);
}

/* ---- what operator can do it ---- */

/* The dims of x, aligned from the last, that a constant varies over. False where it has others. */
static bool varied_dims(const gi_value *k, const gi_value *x, uint64_t *dims)
{
    const gi_blob *b = gi_value_blob(k);
    const int rank = gi_value_rank(x);
    *dims = 0;
    for (int i = 0; b && i < b->rank; i++) {
        const int at = rank - b->rank + i;
        if (b->dims[i] == 1)
            continue;
        if (at < 0 || b->dims[i] != gi_value_dim(x, at))
            return false;
        *dims |= (uint64_t)1 << at;
    }
    return true;
}

static bool varied_by_norm(const norm *o, uint64_t *dims)
{
    const gi_value *x = o->cut->x;
    uint64_t g, b;
    if (!varied_dims(o->gamma, x, &g) || !varied_dims(o->beta, x, &b))
        return false;
    *dims = g | b;
    return true;
}

/* The dims that stay in their order, then those at the end. */
static void set_order(norm *o, uint64_t last)
{
    const int rank = gi_value_rank(o->cut->x);
    int n = 0;
    for (int pass = 0; pass < 2; pass++)
        for (int i = 0; i < rank; i++)
            if ((int)(last >> i & 1) == pass)
                o->perm[n++] = i;
    for (int i = 0; i < rank; i++)
        o->moves = o->moves || o->perm[i] != i;
}

static bool size_is_known(const gi_value *x, uint64_t dims)
{
    int64_t n = 1;
    for (int i = 0; i < gi_value_rank(x); i++)
        if (dims >> i & 1 && (gi_value_dim(x, i) < 1 || !gi_mul_i64(n, gi_value_dim(x, i), &n) || n > MAX_VECTOR))
            return false;
    return true;
}

/* Over the last dims, or brought there. */
static bool plan_rows(norm *o, gi_opcode op)
{
    uint64_t varied;
    if (!varied_by_norm(o, &varied) || varied & ~o->axes || !size_is_known(o->cut->x, o->axes))
        return false;
    o->op = op;
    o->varies = o->axes;
    set_order(o, o->axes);
    return true;
}

/* Batch, channel, and all else reduced. */
static bool plan_channels(norm *o)
{
    uint64_t varied;
    const gi_value *x = o->cut->x;
    const int rank = gi_value_rank(x);
    int kept[2], n = 0;
    for (int i = 0; i < rank; i++)
        if (!(o->axes >> i & 1)) {
            if (n == 2)
                return false;
            kept[n++] = i;
        }
    if (n != 2 || rank < 3 || !o->centred || !varied_by_norm(o, &varied) || varied & o->axes)
        return false;
    /* Without scale and shift, it is pictures that are meant, and their channels are dim 1. */
    if (varied == 0 && (rank < 4 || kept[0] != 0 || kept[1] != 1))
        return false;
    if (varied == ((uint64_t)1 << kept[0] | (uint64_t)1 << kept[1]))
        return false;
    const int channel = varied == (uint64_t)1 << kept[0] ? kept[0] : kept[1];
    const int batch = channel == kept[0] ? kept[1] : kept[0];
    o->op = OP_InstanceNormalization;
    o->varies = (uint64_t)1 << channel;
    if (!size_is_known(x, o->varies))
        return false;
    set_order(o, o->axes);
    o->perm[0] = batch;
    o->perm[1] = channel;
    o->moves = false;
    for (int i = 0; i < rank; i++)
        o->moves = o->moves || o->perm[i] != i;
    return true;
}

static bool plan(norm *o, gi_opcode op)
{
    return op == OP_InstanceNormalization ? plan_channels(o)
                                          : o->centred == (op == OP_LayerNormalization) && plan_rows(o, op);
}

/* ---- finding ---- */

/* Types that the operator computes as the expression did: narrow floats may pass through f32 by Casts. f64 would be
 * computed in f32, as the operators' first stage is. */
static bool types_fit(const gi_match *m, const norm *o)
{
    const gopt_dtype x = gi_value_dtype(o->cut->x), y = gi_value_dtype(m->root->out[0]);
    const gi_value *k[] = { o->gamma, o->beta };
    for (size_t i = 0; i < GI_COUNT(k); i++)
        if (k[i] && gi_value_dtype(k[i]) != x)
            return false;
    const float epsilon = (float)o->epsilon; /* as the attribute holds it */
    if (x != y || (o->op != OP_InstanceNormalization && x == GOPT_F64) || (o->epsilon > 0 && !(epsilon > 0)) ||
        (x == GOPT_F64 && (double)epsilon != o->epsilon))
        return false;
    return !o->cut->casts || (o->op != OP_InstanceNormalization && (x == GOPT_F16 || x == GOPT_BF16));
}

/* Will the root's only user take the root in, with its scale or shift? Then the match waits for that. */
static bool belongs_to_user(const gi_match *m, const norm *o, gi_opcode op)
{
    const gi_value *y = m->root->out[0];
    const gi_node *user = gi_value_only_user(y);
    if (!user || user->block != m->root->block || (user->op != OP_Mul && user->op != OP_Add) || user->n_in != 2)
        return false;
    const gi_value *k = gi_node_in(user, gi_node_in(user, 0) == y ? 1 : 0);
    if (!gi_value_blob(k) || gi_value_dtype(k) != gi_value_dtype(y) || gi_blob_elements(gi_value_blob(k)) == 1)
        return false;
    norm with = *o;
    with.moves = false;
    if (user->op == OP_Mul && !o->gamma && o->shift == 0)
        with.gamma = k;
    else if (user->op == OP_Add && o->shift == 0 && o->centred)
        with.beta = k;
    else
        return false;
    return plan(&with, op) && gi_type_same(m->g, y->type, user->out[0]->type);
}

static bool find(gi_match *m, gi_reason *why, gi_opcode op, bool squares)
{
    const gi_cuts *cuts = gi_cone_cuts(m);
    const char *first = NULL;
    for (uint32_t i = cuts->n; i-- > 0;) {
        const gi_cut *c = &cuts->cut[i];
        norm *o = c->pointwise ? NULL : GI_NEW(m->scratch, norm);
        if (!o)
            continue;
        if (op == OP_LayerNormalization && !squares && read_norm(c, true, o)) {
            gi_decline(why, "its variance is mean(x²) − mean², which loses digits that LayerNormalization keeps; "
                            "--fp fast takes it");
            first = first ? first : why->text;
            continue;
        }
        if (!read_norm(c, squares, o) || !plan(o, op) || !types_fit(m, o))
            continue;
        if (1 + 2 * (uint32_t)o->moves >= c->n || belongs_to_user(m, o, op))
            continue;
        if (!gi_cone_keeps_shape(m, c))
            gi_decline(why, "its result may be wider than %s", gi_value_ref(c->x, m->scratch));
        else if (gi_cone_take(m, c, why)) {
            m->data = o;
            return true;
        }
        first = first ? first : why->text;
    }
    why->text = first;
    return false;
}

static bool finds_layer_norm(gi_match *m, gi_reason *why)
{
    return find(m, why, OP_LayerNormalization, false);
}

static bool finds_layer_norm_of_squares(gi_match *m, gi_reason *why)
{
    return find(m, why, OP_LayerNormalization, true);
}

static bool finds_instance_norm(gi_match *m, gi_reason *why)
{
    return find(m, why, OP_InstanceNormalization, false) &&
           (gi_value_dtype(m->root->out[0]) != GOPT_F64 ||
            gi_decline(why, "runtimes have no InstanceNormalization of f64"));
}

static bool finds_rms_norm(gi_match *m, gi_reason *why)
{
    return find(m, why, OP_RMSNormalization, false);
}

/* (x − mean) / (√variance + 1e-9), as MeanVarianceNormalization is defined. */
static bool read_mvn(const gi_cut *c, norm *o)
{
    const gi_forms *s = c->forms;
    const int sum = gi_form_atom(s, c->form, GI_ATOM_SUM), mean = gi_form_atom(s, c->form, GI_ATOM_MEAN);
    *o = (norm){ .cut = c };
    if (sum < 0 || mean < 0 || c->form->n != 2 || s->atoms[sum].arg->n != 2 ||
        !gi_close(s, gi_form_get(c->form, 2, X, 1.0, sum, -1.0), 1) ||
        !gi_close(s, gi_form_get(c->form, 2, mean, 1.0, sum, -1.0), -1))
        return false;
    const gi_term *root = &s->atoms[sum].arg->t[1];
    const double least = gi_form_get(s->atoms[sum].arg, 0);
    if (least <= 0 || least > 1e-8 || root->n != 1 || root->f[0].power != 0.5 || !gi_close(s, root->k, 1))
        return false;
    const int variance = root->f[0].atom;
    return ((s->atoms[variance].kind == GI_ATOM_MEAN && read_variance(s, variance, o)) ||
            read_squares(s, variance, o)) &&
           o->centred && o->epsilon == 0 && s->atoms[mean].axes == o->axes;
}

static bool finds_mvn(gi_match *m, gi_reason *why)
{
    const gi_cuts *cuts = gi_cone_cuts(m);
    for (uint32_t i = 0; i < cuts->n; i++) {
        const gi_cut *c = &cuts->cut[i];
        norm *o = c->pointwise || c->casts ? NULL : GI_NEW(m->scratch, norm);
        if (!o || gi_value_dtype(c->x) != GOPT_F32 || !read_mvn(c, o) || !gi_cone_keeps_shape(m, c))
            continue;
        m->data = o;
        return gi_cone_take(m, c, why);
    }
    return false;
}

static gi_value *make_mvn(gi_rewrite *r, const gi_match *m)
{
    const norm *o = m->data;
    int64_t axes[GOPT_MAX_RANK];
    uint32_t count = 0;
    for (int i = 0; i < gi_value_rank(m->x); i++)
        if (o->axes >> i & 1)
            axes[count++] = i;
    gi_node *n = gi_rw_node(r, OP_MeanVarianceNormalization, 1, (gi_value *[]){ m->x }, 1);
    return n && gi_attr_set_ints(n, MeanVarianceNormalization_at_axes, count, axes) ? gi_rw_done(r, n) : NULL;
}

/* ---- making ---- */

/* Element i of a tensor of shape dims[0 … n-1], in k broadcast to it; the last dim of k is dims[n-1]. */
static double broadcast_at(const gi_blob *k, int n, const int64_t *dims, int64_t i)
{
    int64_t at = 0, step = 1;
    for (int d = n; d-- > 0; i /= dims[d]) {
        const int kd = k->rank - n + d;
        if (kd < 0 || k->dims[kd] == 1)
            continue;
        at += i % dims[d] * step;
        step *= k->dims[kd];
    }
    return gi_load_f64(k->dtype, k->data, (size_t)at);
}

/* by · k, of the dims of x that the norm's scale has, in the order of perm; k NULL is 1. */
static gi_value *vector_of(gi_rewrite *r, const norm *o, const gi_value *k, double by)
{
    const gi_value *x = o->cut->x;
    const int rank = gi_value_rank(x);
    int64_t dims[GOPT_MAX_RANK], of_x[GOPT_MAX_RANK];
    int n = 0;
    for (int i = 0; i < rank; i++) {
        of_x[i] = o->varies >> i & 1 ? gi_value_dim(x, i) : 1;
        if (o->varies >> o->perm[i] & 1)
            dims[n++] = gi_value_dim(x, o->perm[i]);
    }
    /* the dims that vary keep their order among themselves, so the elements keep theirs */
    gi_blob *b;
    if (gi_blob_create(r->g->cx, gi_value_dtype(x), n, dims, &b) != GOPT_OK)
        return NULL;
    for (int64_t i = 0; i < gi_blob_elements(b); i++)
        gi_store_f64(b->dtype, b->owned, (size_t)i, k ? by * broadcast_at(gi_value_blob(k), rank, of_x, i) : by);
    return gi_const(r->g, b, NULL);
}

/* The constant as it is, where that is what the operator wants. */
static gi_value *operand(gi_rewrite *r, const norm *o, const gi_value *k, double by)
{
    const int n = __builtin_popcountll(o->varies);
    const gi_blob *b = gi_value_blob(k);
    bool fits = b && by == 1 && b->rank == n;
    for (int i = 0, d = 0; fits && i < gi_value_rank(o->cut->x); i++)
        if (o->varies >> i & 1)
            fits = b->dims[d++] == gi_value_dim(o->cut->x, i);
    return fits ? (gi_value *)(uintptr_t)k : vector_of(r, o, k, by);
}

static gi_value *reorder(gi_rewrite *r, gi_value *x, const norm *o, bool back)
{
    int64_t p[GOPT_MAX_RANK];
    const int rank = gi_value_rank(x);
    for (int i = 0; i < rank; i++)
        p[back ? o->perm[i] : i] = back ? i : o->perm[i];
    return gi_rw_transpose(r, x, rank, p);
}

static gi_value *make_norm(gi_rewrite *r, const gi_match *m)
{
    const norm *o = m->data;
    const bool channels = o->op == OP_InstanceNormalization;
    gi_value *x = reorder(r, m->x, o, false);
    gi_value *in[3] = { x, operand(r, o, o->gamma, o->scale) };
    uint32_t n_in = 2;
    if (channels || o->shift != 0) {
        in[2] = operand(r, o, o->shift != 0 ? o->beta : NULL, o->shift);
        n_in = 3;
    }
    gi_node *n = x && in[1] && (n_in == 2 || in[2]) ? gi_rw_node(r, o->op, n_in, in, 1) : NULL;
    if (!n)
        return NULL;
    const float epsilon = (float)o->epsilon;
    if (channels) {
        gi_attr_set_float(n, InstanceNormalization_at_epsilon, epsilon);
    } else {
        const bool centred = o->op == OP_LayerNormalization;
        gi_attr_set_int(n, centred ? LayerNormalization_at_axis : RMSNormalization_at_axis,
                        -__builtin_popcountll(o->axes));
        gi_attr_set_float(n, centred ? LayerNormalization_at_epsilon : RMSNormalization_at_epsilon, epsilon);
    }
    gi_value *y = gi_rw_done(r, n);
    return y ? reorder(r, y, o, true) : NULL;
}

/* ---- between casts ---- */

static bool is_norm_between_casts(const gi_match *m, gi_reason *why)
{
    const gopt_dtype x = gi_value_dtype(m->x), y = gi_value_dtype(m->root->out[0]);
    const gi_value *k[] = { m->s, m->b };
    if (x != y || (x != GOPT_F16 && x != GOPT_BF16) || gi_value_dtype(m->c) != GOPT_F32)
        return false;
    for (size_t i = 0; i < GI_COUNT(k); i++) {
        const gi_blob *b = gi_value_blob(k[i]);
        if (b && b->dtype != GOPT_F32)
            return false;
        for (int64_t e = 0; b && e < gi_blob_elements(b); e++) {
            const double wide = gi_load_f64(b->dtype, b->data, (size_t)e);
            uint16_t narrow = 0;
            gi_store_f64(x, &narrow, 0, wide);
            if (gi_load_f64(x, &narrow, 0) != wide)
                return gi_decline(why, "its scale or shift has numbers that %s rounds", gopt_dtype_name(x));
        }
    }
    return true;
}

static gi_value *narrowed(gi_rewrite *r, const gi_value *k, gopt_dtype t)
{
    const gi_blob *from = gi_value_blob(k);
    gi_blob *b;
    if (gi_blob_create(r->g->cx, t, from->rank, from->dims, &b) != GOPT_OK)
        return NULL;
    for (int64_t i = 0; i < gi_blob_elements(from); i++)
        gi_store_f64(t, b->owned, (size_t)i, gi_load_f64(from->dtype, from->data, (size_t)i));
    return gi_const(r->g, b, NULL);
}

static gi_value *make_narrow_norm(gi_rewrite *r, const gi_match *m)
{
    const gi_node *norm_node = gi_value_node(gi_node_in(m->root, 0));
    const gopt_dtype t = gi_value_dtype(m->x);
    gi_value *in[3] = { m->x, narrowed(r, m->s, t), m->b ? narrowed(r, m->b, t) : NULL };
    if (!in[1] || (m->b && !in[2]))
        return NULL;
    gi_node *n = gi_rw_node(r, norm_node->op, m->b ? 3 : 2, in, 1);
    return n && gi_attrs_copy(n, norm_node) ? gi_rw_done(r, n) : NULL;
}

/* ---- scale and shift behind a normalization ---- */

/* The dims of x that the norm's scale runs over, and their shape; false where it is not whole. */
static bool scale_dims(const gi_match *m, uint64_t *over)
{
    const gi_node *n = gi_value_node(m->y);
    const gi_blob *s = gi_value_blob(m->s), *b = gi_value_blob(m->b);
    const int rank = gi_value_rank(m->y);
    if (rank < 1 || (b && (b->rank != s->rank || memcmp(b->dims, s->dims, (size_t)s->rank * sizeof *s->dims) != 0)))
        return false;
    if (n->op == OP_LayerNormalization || n->op == OP_RMSNormalization) {
        if (s->rank < 1 || s->rank > rank)
            return false;
        *over = 0;
        for (int i = 0; i < s->rank; i++) {
            if (s->dims[i] != gi_value_dim(m->y, rank - s->rank + i))
                return false;
            *over |= (uint64_t)1 << (rank - s->rank + i);
        }
        return true;
    }
    *over = 2;
    return rank >= 2 && s->rank == 1 && s->dims[0] == gi_value_dim(m->y, 1);
}

static bool varies_as_norm(const gi_match *m, gi_reason *why)
{
    uint64_t over, k;
    const gi_node *n = gi_value_node(m->y);
    const gopt_dtype t = gi_value_dtype(m->y);
    if (m->root->op == OP_Add && n->op == OP_RMSNormalization)
        return false;
    if (!gi_dtype_is_float(t) || gi_value_dtype(m->k) != t || gi_value_dtype(m->s) != t ||
        (m->b && gi_value_dtype(m->b) != t) ||
        (n->op == OP_BatchNormalization && gi_attr_int(n, BatchNormalization_at_training_mode)))
        return false;
    if (!scale_dims(m, &over) || gi_value_blob(m->k)->rank > gi_value_rank(m->y) || !varied_dims(m->k, m->y, &k))
        return false;
    return !(k & ~over) || gi_decline(why, "its factor or term varies over other dims than the scale of %s",
                                      gi_value_ref(m->y, m->scratch));
}

/* Leaves room for the sums behind it. */
static double greatest_scale(gopt_dtype t)
{
    return t == GOPT_F16 ? 1000 : t == GOPT_F64 ? 1e300 : 1e30;
}

/* s ∘ k, in the shape of s. */
static gi_value *combined(gi_rewrite *r, const gi_match *m, const gi_value *v, bool times)
{
    const gi_blob *s = gi_value_blob(m->s), *from = gi_value_blob(v), *k = gi_value_blob(m->k);
    const int rank = gi_value_rank(m->y);
    int64_t dims[GOPT_MAX_RANK];
    uint64_t over;
    gi_blob *b;
    if (!scale_dims(m, &over) || gi_blob_create(r->g->cx, s->dtype, s->rank, s->dims, &b) != GOPT_OK)
        return NULL;
    for (int i = 0; i < rank; i++)
        dims[i] = over >> i & 1 ? gi_value_dim(m->y, i) : 1;
    for (int64_t i = 0; i < gi_blob_elements(s); i++) {
        const double a = from ? gi_load_f64(from->dtype, from->data, (size_t)i) : 0;
        const double c = broadcast_at(k, rank, dims, i), y = times ? a * c : a + c;
        if (!(fabs(y) <= greatest_scale(b->dtype)))
            r->why = "its scale or shift would be so large that it may overflow";
        gi_store_f64(b->dtype, b->owned, (size_t)i, y);
    }
    return gi_rw_const(r, b, NULL);
}

static gi_value *renewed(gi_rewrite *r, const gi_match *m, gi_value *s, gi_value *b)
{
    const gi_node *old = gi_value_node(m->y);
    gi_value *in[5];
    const uint32_t n_in = b && old->n_in < 3 ? 3 : old->n_in;
    for (uint32_t i = 0; i < n_in && i < GI_COUNT(in); i++)
        in[i] = gi_node_in(old, i);
    in[1] = s;
    if (n_in > 2)
        in[2] = b;
    gi_node *n = s && n_in <= GI_COUNT(in) && !r->why ? gi_rw_node(r, old->op, n_in, in, 1) : NULL;
    return n && gi_attrs_copy(n, old) ? gi_rw_done(r, n) : NULL;
}

static gi_value *scale_norm(gi_rewrite *r, const gi_match *m)
{
    gi_value *b = m->b ? combined(r, m, m->b, true) : NULL;
    return m->b && !b ? NULL : renewed(r, m, combined(r, m, m->s, true), b);
}

static gi_value *shift_norm(gi_rewrite *r, const gi_match *m)
{
    gi_value *b = combined(r, m, m->b, false);
    return b ? renewed(r, m, m->s, b) : NULL;
}

/* ---- groups ---- */

/* The same number for all of a group: of an InstanceNormalization over the groups one each, of a LayerNormalization
 * over the elements of a group one for all. */
static bool is_one_a_group(const gi_node *n, const gi_value *k, int64_t groups)
{
    const gi_blob *b = gi_value_blob(k);
    if (!b || n->op == OP_InstanceNormalization)
        return !b || (b->rank == 1 && b->dims[0] == groups);
    return gi_blob_elements(b) > 0 && gi_blob_all(b, gi_load_f64(b->dtype, b->data, 0));
}

/* Is y, as x, an image of that batch and channels? */
static bool has_channels_of(const gi_match *m, const gi_value *y, const gi_value *x)
{
    return gi_value_rank(x) >= 3 && gi_value_rank(y) >= 3 && gi_value_dim(x, 1) > 0 &&
           gi_value_dim(y, 1) == gi_value_dim(x, 1) &&
           gi_dim_equal(m->g->dims, y->type->dims[0], x->type->dims[0]) == 1;
}

static bool is_group_norm(const gi_match *m, gi_reason *why)
{
    const gi_node *n = gi_value_node(m->y);
    const gopt_dtype t = gi_value_dtype(m->x);
    const int64_t channels = gi_value_dim(m->x, 1), groups = gi_value_dim(m->r, 1);
    if (gi_value_rank(m->x) < 3 || gi_value_rank(m->r) < 3 || !gi_dtype_is_float(t) || t == GOPT_F64 || groups < 1 ||
        channels < 1 || channels > MAX_VECTOR || channels % groups ||
        gi_dim_equal(m->g->dims, m->x->type->dims[0], m->r->type->dims[0]) != 1 || gi_value_dtype(m->s) != t ||
        (m->b && gi_value_dtype(m->b) != t))
        return false;
    if (n->op == OP_LayerNormalization &&
        (gi_value_rank(m->r) != 3 || gi_value_rank(m->s) > 1 || gi_attr_int(n, LayerNormalization_at_axis) != -1))
        return false;
    if (!has_channels_of(m, m->root->out[0], m->x))
        return gi_decline(why, "the second Reshape does not go back to the channels of %s",
                          gi_value_ref(m->x, m->scratch));
    return is_one_a_group(n, m->s, groups) && is_one_a_group(n, m->b, groups);
}

/* One number a channel: of k that of its group, or the only one that there is. */
static gi_value *per_channel(gi_rewrite *r, const gi_match *m, const gi_value *k)
{
    const gi_blob *from = gi_value_blob(k);
    const int64_t channels = gi_value_dim(m->x, 1), groups = gi_value_dim(m->r, 1);
    const bool a_group = from && gi_value_node(m->y)->op == OP_InstanceNormalization;
    gi_blob *b;
    if (gi_blob_create(r->g->cx, gi_value_dtype(m->x), 1, &channels, &b) != GOPT_OK)
        return NULL;
    for (int64_t i = 0; i < channels && from; i++)
        gi_store_f64(b->dtype, b->owned, (size_t)i,
                     gi_load_f64(from->dtype, from->data, a_group ? (size_t)(i / (channels / groups)) : 0));
    return gi_const(r->g, b, NULL);
}

static gi_value *make_group_norm(gi_rewrite *r, const gi_match *m)
{
    const gi_node *old = gi_value_node(m->y);
    gi_value *in[3] = { m->x, per_channel(r, m, m->s), per_channel(r, m, m->b) };
    if (!gi_type_same(r->g, m->x->type, m->root->out[0]->type))
        in[0] = gi_rw_build(r, OP_Reshape, 2, (gi_value *[]){ m->x, m->u });
    gi_node *n = in[0] && in[1] && in[2] ? gi_rw_node(r, OP_GroupNormalization, 3, in, 1) : NULL;
    if (!n)
        return NULL;
    gi_attr_set_int(n, GroupNormalization_at_num_groups, gi_value_dim(m->r, 1));
    gi_attr_set_float(n, GroupNormalization_at_epsilon,
                      gi_attr_float(old, old->op == OP_InstanceNormalization ? (int)InstanceNormalization_at_epsilon
                                                                             : (int)LayerNormalization_at_epsilon));
    return gi_rw_done(r, n);
}

/* ---- between views ---- */

/* The dim of x from which on its dims multiply to those that the norm, of m->r, goes over; -1 where there is none. */
static int same_rows(const gi_match *m, const gi_node *n)
{
    const int rank = gi_value_rank(m->r);
    int axis;
    int64_t want = 1, have = 1;
    if (!gi_axis(gi_attr_int(n, n->op == OP_LayerNormalization ? LayerNormalization_at_axis : RMSNormalization_at_axis),
                 rank, &axis))
        return -1;
    for (int i = axis; i < rank; i++)
        if (gi_value_dim(m->r, i) < 1 || !gi_mul_i64(want, gi_value_dim(m->r, i), &want))
            return -1;
    int from = gi_value_rank(m->x);
    while (from > 0 && have < want && gi_value_dim(m->x, from - 1) > 0)
        if (!gi_mul_i64(have, gi_value_dim(m->x, --from), &have))
            return -1;
    return have == want && from < gi_value_rank(m->x) ? from : -1;
}

static bool is_norm_between_views(const gi_match *m, gi_reason *why)
{
    const gi_node *n = gi_value_node(m->y);
    (void)why;
    if (!gi_type_same(m->g, m->x->type, m->root->out[0]->type) || gi_value_rank(m->r) < 1)
        return false;
    if (n->op != OP_LayerNormalization && n->op != OP_RMSNormalization)
        return has_channels_of(m, m->r, m->x);
    const gi_blob *s = gi_value_blob(m->s), *b = gi_value_blob(m->b);
    int64_t rows = 1;
    for (int i = same_rows(m, n); i >= 0 && i < gi_value_rank(m->x); i++)
        rows *= gi_value_dim(m->x, i);
    return same_rows(m, n) >= 0 && gi_blob_elements(s) == rows && (!b || gi_blob_elements(b) == rows);
}

static gi_value *in_shape_of_rows(gi_rewrite *r, const gi_value *k, const gi_value *x, int from)
{
    int64_t dims[GOPT_MAX_RANK];
    gi_blob *b;
    for (int i = from; i < gi_value_rank(x); i++)
        dims[i - from] = gi_value_dim(x, i);
    return gi_blob_reshaped(gi_value_blob(k), gi_value_rank(x) - from, dims, &b) == GOPT_OK ? gi_const(r->g, b, NULL)
                                                                                            : NULL;
}

static gi_value *make_norm_of_source(gi_rewrite *r, const gi_match *m)
{
    const gi_node *old = gi_value_node(m->y);
    const bool by_rows = old->op == OP_LayerNormalization || old->op == OP_RMSNormalization;
    const int from = by_rows ? same_rows(m, old) : 0;
    gi_value *in[3] = { m->x, m->s, m->b };
    for (int i = 1; by_rows && i < 3; i++)
        if (in[i] && !(in[i] = in_shape_of_rows(r, in[i], m->x, from)))
            return NULL;
    gi_node *n = gi_rw_node(r, old->op, old->n_in, in, 1);
    if (!n || !gi_attrs_copy(n, old))
        return NULL;
    if (by_rows)
        gi_attr_set_int(n, old->op == OP_LayerNormalization ? LayerNormalization_at_axis : RMSNormalization_at_axis,
                        from - gi_value_rank(m->x));
    return gi_rw_done(r, n);
}

#include "passes/rows.h"
#include "passes/rules/normalization.def"
