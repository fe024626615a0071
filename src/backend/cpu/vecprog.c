/* Vector programs: compiling nodes to instructions (see vecprog.h). A register is free again after its last reader. */
#include "backend/cpu/vecprog.h"

#include <math.h>

enum { NONE = -1 };

typedef struct builder {
    gi_cpu *d;
    gi_step *s;
    gi_cpu_step *c;
    gi_arena *a;
    gi_vp *p;
    gi_map operands; /* value → operand + 1 */
    gi_value *const *args;
    const gi_layout *arg_layouts;
    size_t n_args;
    gi_layout layout;
    int shape_rank;
    const int64_t *shape; /* of the dense space */
    bool failed;          /* a node is beyond us */
    size_t max_insn;
} builder;

/* ---- operators to operations ---- */

typedef struct simple_op {
    gi_opcode op;
    gk_vop vop;
} simple_op;

static const simple_op simple_ops[] = {
    { OP_Add, GK_V_add },
    { OP_Sub, GK_V_sub },
    { OP_Mul, GK_V_mul },
    { OP_Div, GK_V_div },
    { OP_Min, GK_V_min },
    { OP_Max, GK_V_max },
    { OP_PRelu, GK_V_prelu },
    { OP_Relu, GK_V_relu },
    { OP_Neg, GK_V_neg },
    { OP_Abs, GK_V_abs },
    { OP_Sqrt, GK_V_sqrt },
    { OP_Reciprocal, GK_V_recip },
    { OP_Exp, GK_V_exp },
    { OP_Log, GK_V_log },
    { OP_Tanh, GK_V_tanh },
    { OP_Erf, GK_V_erf },
    { OP_Sigmoid, GK_V_sigmoid },
    { OP_HardSwish, GK_V_hswish },
    { OP_Softplus, GK_V_softplus },
    { OP_Softsign, GK_V_softsign },
    { OP_Floor, GK_V_floor },
    { OP_Ceil, GK_V_ceil },
    { OP_Identity, GK_V_copy },
    { OP_Less, GK_V_less },
    { OP_LessOrEqual, GK_V_less_equal },
    { OP_Equal, GK_V_equal },
    { OP_Not, GK_V_not },
    { OP_Where, GK_V_where },
};

static bool find_simple(gi_opcode op, gk_vop *vop)
{
    for (size_t i = 0; i < GI_COUNT(simple_ops); i++)
        if (simple_ops[i].op == op) {
            *vop = simple_ops[i].vop;
            return true;
        }
    return false;
}

/* A constant of one float element. */
static bool scalar_const(const gi_value *v, float *x)
{
    const gi_blob *b = gi_value_blob(v);
    if (!b || b->dtype != GOPT_F32 || gi_blob_elements(b) != 1)
        return false;
    memcpy(x, b->data, sizeof(*x));
    return true;
}

static bool lanes_type(const gi_value *v)
{
    return v && v->type && gi_type_is_static(v->type) && (v->type->dtype == GOPT_F32 || v->type->dtype == GOPT_BOOL);
}

static bool powers(const gi_node *n, gk_vop *vop)
{
    static const struct {
        float e;
        gk_vop op;
    } known[] = {
        { 1.0f, GK_V_copy }, { 2.0f, GK_V_sqr }, { 3.0f, GK_V_cube }, { 0.5f, GK_V_sqrt }, { -1.0f, GK_V_recip }
    };
    float e;
    if (!scalar_const(gi_node_in(n, 1), &e))
        return false;
    for (size_t i = 0; i < GI_COUNT(known); i++)
        if (known[i].e == e) {
            *vop = known[i].op;
            return true;
        }
    return false;
}

/* A BatchNormalization of constant statistics: one factor and one addend a channel. */
static bool normalizes(const gi_node *n)
{
    int rank;
    int64_t dims[GOPT_MAX_RANK];
    if (gi_attr_int(n, BatchNormalization_at_training_mode) || !gi_cpu_static_f32(gi_node_in(n, 0), &rank, dims) ||
        rank < 2)
        return false;
    for (uint32_t i = 1; i < 5; i++) {
        const gi_blob *b = gi_value_blob(gi_node_in(n, i));
        if (!b || b->dtype != GOPT_F32 || gi_blob_elements(b) != dims[1])
            return false;
    }
    return true;
}

bool gi_vp_takes(const gi_node *n)
{
    gk_vop vop;
    for (uint32_t i = 1; i < n->n_out && n->op == OP_BatchNormalization; i++)
        if (n->out[i]->n_uses)
            return false;
    if ((n->n_out != 1 && n->op != OP_BatchNormalization) || !n->n_in || !lanes_type(n->out[0]))
        return false;
    for (uint32_t i = 0; i < n->n_in; i++)
        if (n->in[i].value && !lanes_type(n->in[i].value))
            return false;
    switch (n->op) {
    case OP_LeakyRelu:
    case OP_Elu:
    case OP_HardSigmoid:
    case OP_Gelu:
    case OP_Greater:
    case OP_GreaterOrEqual:
    case OP_And:
    case OP_Or:
    case OP_Cast:
    case OP_IsNaN:
        return true;
    case OP_Clip: {
        float x;
        return (!gi_node_in(n, 1) || scalar_const(gi_node_in(n, 1), &x)) &&
               (!gi_node_in(n, 2) || scalar_const(gi_node_in(n, 2), &x));
    }
    case OP_Pow:
        return powers(n, &vop);
    case OP_BatchNormalization:
        return normalizes(n);
    case OP_Min:
    case OP_Max:
        return n->n_in == 2;
    default:
        return find_simple(n->op, &vop);
    }
}

/* ---- inputs ---- */

/* Strides of a value of shape `dims` along the iteration space; false where it does not broadcast to it. */
static bool input_strides(const builder *b, gi_layout lay, int rank, const int64_t *dims, gi_vp_input *in)
{
    int64_t full[GOPT_MAX_RANK] = { 0 };
    const int lead = b->shape_rank - rank;
    if (lead < 0)
        return false;
    for (int i = 0; i < b->shape_rank; i++) {
        full[i] = i < lead ? 1 : dims[i - lead];
        if (full[i] != 1 && full[i] != b->shape[i])
            return false;
    }
    int64_t step = 1;
    if (!gi_is_blocked(b->layout)) {
        if (gi_is_blocked(lay))
            return false;
        for (int i = b->shape_rank - 1; i >= 0; i--) {
            in->strides[i] = full[i] == 1 ? 0 : step;
            step *= full[i];
        }
        return true;
    }
    /* space: N, channel blocks, the rest, lanes */
    const int64_t block = gi_cpu_layout_block(b->d, b->layout), blocks = (full[1] + block - 1) / block;
    const int last = b->shape_rank;
    int64_t pixels = 1;
    for (int i = 2; i < b->shape_rank; i++)
        pixels *= full[i];
    const bool blocked = gi_is_blocked(lay);
    if ((full[1] != 1 || blocked) && lay != b->layout)
        return false;
    /* a value of one channel that lies blocked has whole blocks of which one lane is its own */
    step = blocked ? block : 1;
    in->strides[last] = blocked && full[1] == b->shape[1] ? 1 : 0;
    for (int i = b->shape_rank - 1; i >= 2; i--) {
        in->strides[i] = full[i] == 1 ? 0 : step;
        step *= full[i];
    }
    in->strides[1] = full[1] != 1 ? block * pixels : 0;
    in->strides[0] = full[0] == 1 ? 0 : blocked ? blocks * block * pixels : pixels;
    return true;
}

/* Strides of what has an element for each of the space's, in its order. */
static void in_order(const builder *b, gi_vp_input *in)
{
    int64_t step = 1;
    for (int i = b->p->rank - 1; i >= 0; i--) {
        in->strides[i] = step;
        step *= b->p->dims[i];
    }
}

/* Does a dense value of that type lie as if it were blocked? */
static bool as_blocked(const builder *b, const gi_type *t)
{
    return gi_cpu_layouts_agree(b->d, gi_is_bf16(b->layout) ? GI_PLAIN_BF16 : GI_PLAIN, b->layout, t);
}

/* A constant's bytes, in the program's own layout where it has channels; NULL where there is no memory. */
static const float *pack_const(builder *b, const gi_blob *blob, gi_layout *lay)
{
    const size_t n = (size_t)gi_blob_elements(blob);
    *lay = GI_PLAIN;
    const int lead = b->shape_rank - blob->rank;
    const int64_t channels = gi_is_blocked(b->layout) && lead <= 1 ? blob->dims[1 - lead] : 1;
    if (channels == 1) {
        float *p = gi_cpu_pack(b->d, b->s, b->c, (n + 1) * sizeof(float));
        if (p)
            memcpy(p, blob->data, n * sizeof(float));
        return p;
    }
    *lay = b->layout;
    const int64_t batch = lead == 0 ? blob->dims[0] : 1, block = gi_cpu_layout_block(b->d, b->layout);
    const int64_t blocks = (channels + block - 1) / block;
    const int64_t pixels = gi_product(2 - lead, blob->rank, blob->dims);
    float *p = gi_cpu_pack(b->d, b->s, b->c, (size_t)(batch * blocks * block * pixels) * sizeof(float));
    if (!p)
        return NULL;
    memset(p, 0, (size_t)(batch * blocks * block * pixels) * sizeof(float));
    for (int64_t i = 0; i < batch; i++)
        for (int64_t ch = 0; ch < channels; ch++)
            for (int64_t x = 0; x < pixels; x++)
                memcpy(&p[((i * blocks + ch / block) * pixels + x) * block + ch % block],
                       (const char *)blob->data + (size_t)((i * channels + ch) * pixels + x) * sizeof(float),
                       sizeof(float));
    return p;
}

static int new_reg(builder *b)
{
    if (b->p->n_regs == GI_VP_MAX_REGS) {
        b->failed = true;
        return 0;
    }
    return b->p->n_regs++;
}

static int splat(builder *b, float x)
{
    for (int i = 0; i < b->p->n_splat; i++)
        if (!memcmp(&b->p->splat[i].value, &x, sizeof(x)))
            return b->p->splat[i].reg;
    if (b->p->n_splat == GI_VP_MAX_REGS) {
        b->failed = true;
        return 0;
    }
    b->p->splat[b->p->n_splat].reg = new_reg(b);
    b->p->splat[b->p->n_splat].value = x;
    return b->p->splat[b->p->n_splat++].reg;
}

static gopt_status add_input(builder *b, gi_value *v, int *operand)
{
    gi_vp_input in = { .arg = -1, .dtype = v->type ? v->type->dtype : GOPT_UNDEFINED, .reg = NONE };
    const gi_blob *blob = gi_value_blob(v);
    gi_layout lay = GI_PLAIN;
    int64_t dims[GOPT_MAX_RANK];
    float x;
    *operand = 0;
    b->failed = true;
    if (!lanes_type(v) || !gi_type_static_dims(v->type, dims) || b->p->n_in == GI_VP_MAX_INPUTS)
        return GOPT_OK;
    if (scalar_const(v, &x)) {
        b->failed = false;
        *operand = splat(b, x);
        return GOPT_OK;
    }
    if (blob && in.dtype == GOPT_F32) {
        in.data = pack_const(b, blob, &lay);
        GI_NEED(in.data);
    } else {
        for (size_t i = 0; i < b->n_args; i++)
            if (b->args[i] == v) {
                in.arg = (int)i;
                lay = b->arg_layouts[i];
            }
        if (in.arg < 0)
            return GOPT_OK;
        if (gi_is_bf16(lay))
            in.dtype = GOPT_BF16;
    }
    if (!gi_is_blocked(lay) && gi_is_blocked(b->layout) && as_blocked(b, v->type))
        lay = b->layout;
    if (!v->type)
        return GOPT_OK;
    if (!gi_is_blocked(b->layout) && !gi_is_blocked(lay) && gi_product(0, v->type->rank, dims) == b->p->elements)
        in_order(b, &in); /* whatever its dims: it lies as the space does */
    else if (!input_strides(b, lay, v->type->rank, dims, &in))
        return GOPT_OK;
    int64_t step = 1;
    in.full = true;
    for (int i = b->p->rank - 1; i >= 0; i--) {
        in.full = in.full && (b->p->dims[i] == 1 || in.strides[i] == step);
        step *= b->p->dims[i];
    }
    if (!in.full || in.dtype != GOPT_F32) {
        b->failed = false;
        in.reg = new_reg(b);
        if (b->failed)
            return GOPT_OK;
    }
    b->failed = false;
    *operand = GI_VP_INPUT + b->p->n_in;
    b->p->in[b->p->n_in++] = in;
    return GOPT_OK;
}

static gopt_status operand_of(builder *b, gi_value *v, int *operand)
{
    void *known = gi_map_get(&b->operands, (uint64_t)v->id + 1);
    if (known) {
        *operand = (int)((uintptr_t)known - 1);
        return GOPT_OK;
    }
    GI_TRY(add_input(b, v, operand));
    if (!b->failed)
        GI_NEED(gi_map_put(&b->operands, (uint64_t)v->id + 1, (void *)((uintptr_t)*operand + 1)));
    return GOPT_OK;
}

/* ---- nodes to instructions (registers virtual: one an instruction) ---- */

static void emit(builder *b, gk_vop op, int dst, int a, int x, int y, float p, float q)
{
    b->p->insn[b->p->n_insn++] = (gi_vp_insn){ op, dst, a, x, y, p, q };
}

enum { VIRTUAL = 1 << 20 };

/* Operations with one constant operand need no register for it. */
static bool with_scalar(builder *b, const gi_node *n, int dst, gopt_status *st)
{
    float x;
    int a;
    if (n->n_in != 2)
        return false;
    const bool right = scalar_const(gi_node_in(n, 1), &x), left = !right && scalar_const(gi_node_in(n, 0), &x);
    if (!right && !left)
        return false;
    gk_vop op;
    float p = x;
    switch (n->op) {
    case OP_Add:
        op = GK_V_addp;
        break;
    case OP_Sub:
        op = right ? GK_V_addp : GK_V_subp;
        p = right ? -x : x;
        break;
    case OP_Mul:
        op = GK_V_mulp;
        break;
    case OP_Div: /* by a number: times its inverse, where that is an ordinary number too */
        op = right ? GK_V_mulp : GK_V_divp;
        p = right ? 1.0f / x : x;
        if (right && (!isnormal(x) || !isnormal(p)))
            return false;
        break;
    default:
        return false;
    }
    *st = operand_of(b, gi_node_in(n, right ? 0 : 1), &a);
    if (*st == GOPT_OK && !b->failed)
        emit(b, op, dst, a, NONE, NONE, p, 0.0f);
    return true;
}

static void emit_special(builder *b, const gi_node *n, int dst, const int *a)
{
    switch (n->op) {
    case OP_LeakyRelu:
        emit(b, GK_V_leaky, dst, a[0], NONE, NONE, gi_attr_float(n, LeakyRelu_at_alpha), 0.0f);
        return;
    case OP_Elu:
        emit(b, GK_V_elu, dst, a[0], NONE, NONE, gi_attr_float(n, Elu_at_alpha), 0.0f);
        return;
    case OP_HardSigmoid:
        emit(b, GK_V_hsigmoid, dst, a[0], NONE, NONE, gi_attr_float(n, HardSigmoid_at_alpha),
             gi_attr_float(n, HardSigmoid_at_beta));
        return;
    case OP_Gelu:
        emit(b, gi_attr_is(n, Gelu_at_approximate, "tanh") ? GK_V_gelu_tanh : GK_V_gelu, dst, a[0], NONE, NONE, 0.0f,
             0.0f);
        return;
    case OP_Greater:
        emit(b, GK_V_less, dst, a[1], a[0], NONE, 0.0f, 0.0f);
        return;
    case OP_GreaterOrEqual:
        emit(b, GK_V_less_equal, dst, a[1], a[0], NONE, 0.0f, 0.0f);
        return;
    case OP_And:
        emit(b, GK_V_min, dst, a[0], a[1], NONE, 0.0f, 0.0f);
        return;
    case OP_Or:
        emit(b, GK_V_max, dst, a[0], a[1], NONE, 0.0f, 0.0f);
        return;
    case OP_IsNaN:
        emit(b, GK_V_equal, dst, a[0], a[0], NONE, 0.0f, 0.0f);
        emit(b, GK_V_not, dst, dst, NONE, NONE, 0.0f, 0.0f);
        return;
    default: /* Cast */
        if (n->out[0]->type->dtype == GOPT_BOOL && gi_node_in(n, 0)->type->dtype != GOPT_BOOL) {
            emit(b, GK_V_equal, dst, a[0], splat(b, 0.0f), NONE, 0.0f, 0.0f);
            emit(b, GK_V_not, dst, dst, NONE, NONE, 0.0f, 0.0f);
        } else {
            emit(b, GK_V_copy, dst, a[0], NONE, NONE, 0.0f, 0.0f);
        }
    }
}

/* scale / sqrt(variance + epsilon), and bias - mean * that, as inputs along the channels. */
static gopt_status add_normalization(builder *b, const gi_node *n, int dst)
{
    const int64_t channels = gi_blob_elements(gi_value_blob(gi_node_in(n, 1)));
    const int64_t block = gi_cpu_layout_block(b->d, b->layout), room = (channels + block - 1) / block * block;
    const float eps = gi_attr_float(n, BatchNormalization_at_epsilon);
    int a[3] = { NONE, NONE, NONE };
    float *to[2];
    GI_TRY(operand_of(b, gi_node_in(n, 0), &a[0]));
    for (int k = 0; k < 2 && !b->failed; k++) {
        gi_vp_input in = { .arg = -1, .dtype = GOPT_F32, .reg = new_reg(b) };
        int64_t dims[GOPT_MAX_RANK] = { 1, channels };
        to[k] = gi_cpu_pack(b->d, b->s, b->c, (size_t)room * sizeof(float));
        GI_NEED(to[k]);
        memset(to[k], 0, (size_t)room * sizeof(float));
        in.data = to[k];
        for (int i = 2; i < b->shape_rank; i++)
            dims[i] = 1;
        if (b->failed || b->p->n_in == GI_VP_MAX_INPUTS || b->shape[1] != channels ||
            !input_strides(b, b->layout, b->shape_rank, dims, &in)) {
            b->failed = true;
            return GOPT_OK;
        }
        a[1 + k] = GI_VP_INPUT + b->p->n_in;
        b->p->in[b->p->n_in++] = in;
    }
    if (b->failed)
        return GOPT_OK;
    for (int64_t c = 0; c < channels; c++) {
        float v[5];
        for (uint32_t i = 1; i < 5; i++)
            memcpy(&v[i], (const float *)gi_value_blob(gi_node_in(n, i))->data + c, sizeof(float));
        to[0][c] = v[1] / sqrtf(v[4] + eps);
        to[1][c] = v[2] - v[3] * to[0][c];
    }
    emit(b, GK_V_fma, dst, a[0], a[1], a[2], 0.0f, 0.0f);
    return GOPT_OK;
}

static gopt_status add_node(builder *b, const gi_node *n, int dst)
{
    int a[3] = { NONE, NONE, NONE };
    gk_vop vop;
    gopt_status st = GOPT_OK;
    if (n->op == OP_Clip) {
        float lo = -INFINITY, hi = INFINITY;
        if (gi_node_in(n, 1))
            scalar_const(gi_node_in(n, 1), &lo);
        if (gi_node_in(n, 2))
            scalar_const(gi_node_in(n, 2), &hi);
        GI_TRY(operand_of(b, gi_node_in(n, 0), &a[0]));
        emit(b, GK_V_clip, dst, a[0], NONE, NONE, lo, hi);
        return GOPT_OK;
    }
    if (n->op == OP_BatchNormalization)
        return add_normalization(b, n, dst);
    if (with_scalar(b, n, dst, &st))
        return st;
    const bool pow = n->op == OP_Pow && powers(n, &vop);
    for (uint32_t i = 0; i < (pow ? 1 : n->n_in); i++) {
        if (i == 3 || !gi_node_in(n, i)) {
            b->failed = true;
            return GOPT_OK;
        }
        GI_TRY(operand_of(b, gi_node_in(n, i), &a[i]));
        if (b->failed)
            return GOPT_OK;
    }
    if (pow || find_simple(n->op, &vop))
        emit(b, vop, dst, a[0], a[1], a[2], 0.0f, 0.0f);
    else
        emit_special(b, n, dst, a);
    return GOPT_OK;
}

/* x * sigmoid(x) is one operation. */
static void find_swish(gi_vp *p)
{
    for (int i = 0; i < p->n_insn; i++) {
        gi_vp_insn *m = &p->insn[i];
        for (int j = 0; m->op == GK_V_mul && j < i; j++) {
            const gi_vp_insn *g = &p->insn[j];
            if (g->op == GK_V_sigmoid && ((m->a == g->dst && m->b == g->a) || (m->b == g->dst && m->a == g->a)))
                *m = (gi_vp_insn){ GK_V_swish, m->dst, g->a, NONE, NONE, 1.0f, 0.0f };
        }
    }
}

/* Drops what nothing reads. Registers are virtual: each is written by one instruction, or by several in a row. */
static void drop_unread(gi_vp *p, const bool *keep, bool *read, int n_virtual)
{
    int n = p->n_insn;
    memcpy(read, keep, (size_t)n_virtual * sizeof(*read));
    for (int i = p->n_insn - 1; i >= 0; i--) {
        const gi_vp_insn k = p->insn[i];
        const int ops[3] = { k.a, k.b, k.c };
        if (!read[k.dst - VIRTUAL])
            continue;
        p->insn[--n] = k;
        for (int o = 0; o < 3; o++)
            if (ops[o] >= VIRTUAL)
                read[ops[o] - VIRTUAL] = true;
    }
    memmove(p->insn, p->insn + n, (size_t)(p->n_insn - n) * sizeof(*p->insn));
    p->n_insn -= n;
}

/* ---- registers: virtual ones to few real ones ---- */

static gopt_status assign(builder *b, const bool *keep, int n_virtual)
{
    gi_vp *p = b->p;
    int *last = GI_NEW_ARRAY(b->a, int, n_virtual + 1), *real = GI_NEW_ARRAY(b->a, int, n_virtual + 1);
    int free_regs[GI_VP_MAX_REGS], n_free = 0;
    GI_NEED(last && real);
    for (int i = 0; i < n_virtual; i++)
        last[i] = real[i] = -1;
    for (int i = 0; i < p->n_insn; i++) {
        const int ops[3] = { p->insn[i].a, p->insn[i].b, p->insn[i].c };
        for (int k = 0; k < 3; k++)
            if (ops[k] >= VIRTUAL)
                last[ops[k] - VIRTUAL] = i;
    }
    for (int i = 0; i < p->n_insn && !b->failed; i++) {
        int *ops[3] = { &p->insn[i].a, &p->insn[i].b, &p->insn[i].c };
        const int dst = p->insn[i].dst - VIRTUAL;
        for (int k = 0; k < 3; k++) {
            if (*ops[k] < VIRTUAL)
                continue;
            const int v = *ops[k] - VIRTUAL;
            *ops[k] = real[v];
            if (last[v] == i && !keep[v] && v != dst) {
                bool twice = false;
                for (int f = 0; f < n_free; f++)
                    twice = twice || free_regs[f] == real[v];
                if (!twice)
                    free_regs[n_free++] = real[v];
            }
        }
        if (real[dst] < 0)
            real[dst] = n_free ? free_regs[--n_free] : new_reg(b);
        p->insn[i].dst = real[dst];
    }
    for (int o = 0; o < p->n_out; o++)
        if (p->out[o].reg >= VIRTUAL)
            p->out[o].reg = real[p->out[o].reg - VIRTUAL];
    return GOPT_OK;
}

static gopt_status set_space(builder *b)
{
    gi_vp *p = b->p;
    p->rank = b->shape_rank;
    memcpy(p->dims, b->shape, (size_t)b->shape_rank * sizeof(*p->dims));
    if (gi_is_blocked(b->layout)) {
        const int64_t block = gi_cpu_layout_block(b->d, b->layout);
        p->dims[1] = (b->shape[1] + block - 1) / block;
        p->dims[p->rank++] = block;
    }
    p->elements = gi_product(0, p->rank, p->dims);
    return GOPT_OK;
}

/* Merges dims that every input walks as one. */
static void collapse(gi_vp *p)
{
    int r = 0;
    if (!p->rank)
        p->dims[0] = 1; /* a scalar */
    for (int i = 1; i < p->rank; i++) {
        bool merges = true;
        for (int k = 0; k < p->n_in; k++)
            merges = merges && p->in[k].strides[r] == p->in[k].strides[i] * p->dims[i];
        if (merges || p->dims[i] == 1) {
            if (!merges)
                continue;
            p->dims[r] *= p->dims[i];
            for (int k = 0; k < p->n_in; k++)
                p->in[k].strides[r] = p->in[k].strides[i];
            continue;
        }
        if (p->dims[r] != 1)
            r++;
        p->dims[r] = p->dims[i];
        for (int k = 0; k < p->n_in; k++)
            p->in[k].strides[r] = p->in[k].strides[i];
    }
    p->rank = r + 1;
}

/* Tiles end where the shortest long repetition does, so that its register need not be filled anew for each. */
static void set_stretch(gi_vp *p)
{
    for (int i = 0; i < p->n_in; i++) {
        int64_t row, size;
        if (p->in[i].reg >= 0 && !p->in[i].full && gi_vp_repeats(p, &p->in[i], &row, &size) && size >= GI_VP_TILE &&
            (!p->stretch || size < p->stretch))
            p->stretch = size;
    }
}

/* Has v an element for each of the space, in its order? What is broadcast would be computed again and again. */
static bool fills(const builder *b, const gi_value *v)
{
    int64_t dims[GOPT_MAX_RANK];
    if (!lanes_type(v) || !gi_type_static_dims(v->type, dims))
        return false;
    if (!gi_is_blocked(b->layout))
        return gi_product(0, v->type->rank, dims) == b->p->elements;
    return v->type->rank == b->shape_rank && !memcmp(dims, b->shape, (size_t)b->shape_rank * sizeof(*dims));
}

/* Where n's result has other dims than the space (behind a Reshape), what is broadcast to it must be so to the space as
 * well: only along the last dims, which both have. */
static bool broadcasts_alike(const builder *b, const gi_node *n)
{
    int64_t own[GOPT_MAX_RANK], dims[GOPT_MAX_RANK];
    const int rank = n->out[0]->type->rank;
    int same = 0;
    gi_type_static_dims(n->out[0]->type, own);
    while (same < rank && same < b->shape_rank && own[rank - 1 - same] == b->shape[b->shape_rank - 1 - same])
        same++;
    if (same == rank || n->op == OP_BatchNormalization)
        return same == rank;
    for (uint32_t i = 0; i < n->n_in; i++) {
        const gi_value *v = gi_node_in(n, i);
        if (!v || !v->type || !gi_type_static_dims(v->type, dims) ||
            gi_product(0, v->type->rank, dims) == b->p->elements)
            continue;
        if (gi_product(0, v->type->rank - same, dims) > 1)
            return false;
    }
    return true;
}

/* A Reshape gives its operand another name. */
static gopt_status add_view(builder *b, const gi_node *n)
{
    int operand;
    GI_TRY(operand_of(b, gi_node_in(n, 0), &operand));
    if (!b->failed)
        GI_NEED(gi_map_put(&b->operands, (uint64_t)n->out[0]->id + 1, (void *)((uintptr_t)operand + 1)));
    return GOPT_OK;
}

gopt_status gi_vp_build(gi_cpu *d, gi_step *s, gi_cpu_step *c, gi_node *const *nodes, size_t n, gi_value *const *args,
                        const gi_layout *arg_layouts, size_t n_args, gi_value *const *outs, size_t n_outs, int rank,
                        const int64_t *space, gi_layout layout, gi_vp **out)
{
    *out = NULL;
    gi_vp *p = GI_NEW(c->arena, gi_vp);
    builder b = { .d = d,
                  .s = s,
                  .c = c,
                  .a = c->arena,
                  .p = p,
                  .args = args,
                  .arg_layouts = arg_layouts,
                  .n_args = n_args,
                  .layout = layout,
                  .shape_rank = rank,
                  .shape = space };
    GI_NEED(p);
    if (rank > GOPT_MAX_RANK || (gi_is_blocked(layout) && rank < 2))
        return GOPT_OK;
    gi_map_init(&b.operands, c->arena);
    p->in = GI_NEW_ARRAY(c->arena, gi_vp_input, n_args + 3 * n + n_outs + 1);
    p->insn = GI_NEW_ARRAY(c->arena, gi_vp_insn, 2 * n + 1);
    p->out = gi_arena_array(c->arena, n_outs + 1, sizeof(*p->out));
    p->splat = gi_arena_array(c->arena, GI_VP_MAX_REGS, sizeof(*p->splat));
    bool *keep = GI_NEW_ARRAY(c->arena, bool, n + 1);
    GI_NEED(p->in && p->insn && p->out && p->splat && keep);
    GI_TRY(set_space(&b));
    for (size_t i = 0; i < n; i++) {
        if (!fills(&b, nodes[i]->out[0]))
            return GOPT_OK;
        if (nodes[i]->op == OP_Reshape && !gi_is_blocked(layout) && fills(&b, gi_node_in(nodes[i], 0))) {
            GI_TRY(add_view(&b, nodes[i]));
            if (b.failed)
                return GOPT_OK;
            continue;
        }
        if (!gi_vp_takes(nodes[i]) || !broadcasts_alike(&b, nodes[i]))
            return GOPT_OK;
        GI_TRY(add_node(&b, nodes[i], VIRTUAL + (int)i));
        if (b.failed)
            return GOPT_OK;
        GI_NEED(gi_map_put(&b.operands, (uint64_t)nodes[i]->out[0]->id + 1, (void *)((uintptr_t)(VIRTUAL + i) + 1)));
    }
    for (size_t o = 0; o < n_outs; o++) {
        int operand;
        if (!fills(&b, outs[o]))
            return GOPT_OK;
        GI_TRY(operand_of(&b, outs[o], &operand));
        if (b.failed)
            return GOPT_OK;
        if (operand >= VIRTUAL)
            keep[operand - VIRTUAL] = true;
        p->out[o].reg = operand;
        p->out[o].dtype = gi_is_bf16(layout) ? GOPT_BF16 : outs[o]->type->dtype;
    }
    p->n_out = (int)n_outs;
    bool *read = GI_NEW_ARRAY(c->arena, bool, n + 1);
    GI_NEED(read);
    find_swish(p);
    drop_unread(p, keep, read, (int)n);
    GI_TRY(assign(&b, keep, (int)n));
    if (b.failed)
        return GOPT_OK;
    collapse(p);
    set_stretch(p);
    *out = p;
    return GOPT_OK;
}
