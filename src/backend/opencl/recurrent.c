/* RNN, GRU and LSTM: one product for the inputs of all steps and directions, then one kernel that goes through the steps
 * (kernels/opencl/recurrent.cl). */
#include <inttypes.h>

#include "backend/opencl/cl.h"
#include "ops/rnn.h"

/* The same positions in all three rows. */
enum { IN_X, IN_W, IN_R, IN_B, IN_LENS, IN_H, IN_C, IN_P, INPUTS };

enum { GROUP = 128 };

/* "x" of each activation: $a and $b its parameters. */
static const struct {
    const char *name, *text;
} texts[] = {
    { "Relu", "(x <= 0 ? 0 : x)" },
    { "Tanh", "tanh(x)" },
    { "Sigmoid", "(1.0f / (1.0f + exp(-x)))" },
    { "Affine", "($a * x + $b)" },
    { "LeakyRelu", "(x >= 0 ? x : $a * x)" },
    { "ThresholdedRelu", "(x >= $a ? x : 0)" },
    { "ScaledTanh", "($a * tanh($b * x))" },
    { "HardSigmoid", "clamp($a * x + $b, 0.0f, 1.0f)" },
    { "Elu", "(x >= 0 ? x : $a * (exp(x) - 1))" },
    { "Softsign", "(x / (1 + fabs(x)))" },
    { "Softplus", "(log1p(exp(-fabs(x))) + (x > 0 ? x : 0))" },
};

typedef struct recurrence {
    gi_rnn a;
    int64_t steps, batch, inputs, hidden;
    const gi_value *in[INPUTS];
    const gi_value *out[3];
} recurrence;

static bool write_activation(gi_str *s, const gi_rnn *r, int which)
{
    gi_str_addf(s, "static float act%d(const float x, const int d)\n{\n    return ", which);
    for (int d = 0; d < r->directions; d++) {
        const char *text = NULL;
        for (size_t i = 0; i < GI_COUNT(texts); i++)
            if (r->act[d][which].name && !strcmp(texts[i].name, r->act[d][which].name))
                text = texts[i].text;
        if (!text)
            return false;
        gi_str_add(s, d + 1 < r->directions ? "d == 0 ? " : "");
        for (; *text; text++)
            if (*text == '$')
                gi_str_addf(s, "(%af)", *++text == 'a' ? r->act[d][which].alpha : r->act[d][which].beta);
            else
                gi_str_addn(s, text, 1);
        gi_str_add(s, d + 1 < r->directions ? " : " : "");
    }
    gi_str_addf(s, ";\n}\n#define ACT%d act%d\n", which, which);
    return true;
}

static bool wants(const gi_value *v)
{
    return v && v->n_uses;
}

static const char *source_of(gi_cl_build *b, const recurrence *r)
{
    static const char *const given[INPUTS] = { NULL, NULL, NULL, "BIAS", "LENGTHS", "H", "C", "P" };
    static const char *const made[3] = { "Y", "YH", "YC" };
    gi_str s;
    gi_str_init(&s, b->arena);
    gi_str_addf(&s, "#define H %" PRId64 "\n#define GATES %" PRId64 "\n#define LENGTH_TYPE %s\n", r->hidden, r->a.gates,
                r->in[IN_LENS] ? gi_cl_type(r->in[IN_LENS]->type->dtype) : "int");
    for (int i = 0; i < INPUTS; i++)
        if (given[i] && r->in[i])
            gi_str_addf(&s, "#define HAS_%s 1\n", given[i]);
    for (int i = 0; i < 3; i++)
        if (wants(r->out[i]))
            gi_str_addf(&s, "#define HAS_%s 1\n", made[i]);
    gi_str_add(&s, r->a.linear_before_reset ? "#define LINEAR_BEFORE_RESET 1\n" : "");
    gi_str_add(&s, r->a.input_forget ? "#define INPUT_FORGET 1\n" : "");
    if (r->a.clip > 0)
        gi_str_addf(&s, "#define CLIP(x) clamp(x, %af, %af)\n", -r->a.clip, r->a.clip);
    else
        gi_str_add(&s, "#define CLIP(x) (x)\n");
    for (int i = 0; i < (r->a.gates == 1 ? 1 : r->a.gates == 3 ? 2 : 3); i++)
        if (!write_activation(&s, &r->a, i)) {
            (void)gi_cl_decline(b, "one of its activations has no expression");
            return NULL;
        }
    gi_str_add(&s, gk_opencl_recurrent);
    return s.failed ? NULL : s.p;
}

static bool has_shape(gi_cl_build *b, const gi_value *v, const char *what, int64_t d0, int64_t d1, int64_t d2,
                      bool ints)
{
    int rank;
    int64_t dims[GOPT_MAX_RANK];
    if (!v)
        return true;
    const int64_t want[] = { d0, d1, d2 };
    const int n = d1 < 0 ? 1 : d2 < 0 ? 2 : 3;
    if (!gi_cl_tensor(b, v, what, &rank, dims))
        return false;
    if (ints ? v->type->dtype != GOPT_I32 && v->type->dtype != GOPT_I64 : !gi_cl_is_float(v->type->dtype))
        return gi_cl_decline(b, "its %s is %s", what, gopt_dtype_name(v->type->dtype));
    return (rank == n && !memcmp(dims, want, (size_t)n * sizeof *want)) ||
           gi_cl_decline(b, "its %s has another shape", what);
}

static bool read(gi_cl_build *b, const gi_node *n, recurrence *r)
{
    cl_ulong room = 32 << 10; /* what every device has at least */
    const char *wrong = gi_rnn_read(n, &r->a);
    int rank, rr;
    int64_t x[GOPT_MAX_RANK], dr[GOPT_MAX_RANK], width;
    if (wrong)
        return gi_cl_decline(b, "%s", wrong);
    for (uint32_t i = 0; i < INPUTS; i++)
        r->in[i] = gi_node_in(n, i);
    for (uint32_t i = 0; i < 3; i++)
        r->out[i] = i < n->n_out ? n->out[i] : NULL;
    if (!gi_cl_tensor(b, r->in[IN_X], "X", &rank, x) || rank != 3 || !gi_cl_tensor(b, r->in[IN_R], "R", &rr, dr) ||
        rr != 3 || !has_shape(b, r->in[IN_X], "X", x[0], x[1], x[2], false))
        return false;
    r->steps = x[r->a.batch_first];
    r->batch = x[!r->a.batch_first];
    r->inputs = x[2];
    r->hidden = dr[2];
    const int64_t d = r->a.directions, h = r->hidden, n_b = r->batch;
    if (h < 1 || !gi_mul_i64(r->a.gates, h, &width))
        return false;
    if (b->d->device)
        (void)clGetDeviceInfo(b->d->device, CL_DEVICE_LOCAL_MEM_SIZE, sizeof room, &room, NULL);
    if ((uint64_t)(width + 2 * h) * 4 > room)
        return gi_cl_decline(b, "a state of %lld does not fit the device's local memory", (long long)h);
    const int64_t first = r->a.batch_first ? n_b : d, second = r->a.batch_first ? d : n_b;
    return has_shape(b, r->in[IN_W], "W", d, width, r->inputs, false) &&
           has_shape(b, r->in[IN_R], "R", d, width, h, false) &&
           has_shape(b, r->in[IN_B], "B", d, 2 * width, -1, false) &&
           has_shape(b, r->in[IN_LENS], "sequence_lens", n_b, -1, -1, true) &&
           has_shape(b, r->in[IN_H], "initial_h", first, second, h, false) &&
           (r->a.gates != 4 || (has_shape(b, r->in[IN_C], "initial_c", first, second, h, false) &&
                                has_shape(b, r->in[IN_P], "P", d, 3 * h, -1, false)));
}

/* R as a kernel reads it best: neighbouring items, which make neighbouring gates, read neighbouring elements. */
static gopt_status find_r(gi_cl_build *b, const recurrence *r, gi_cl_ref *out, int64_t *r_j, int64_t *r_k)
{
    const gi_blob *given = gi_value_blob(r->in[IN_R]), *blob = given && given->dtype == GOPT_F32 ? given : NULL;
    const int64_t width = r->a.gates * r->hidden, n = r->a.directions * width * r->hidden;
    *r_j = blob ? 1 : r->hidden;
    *r_k = blob ? width : 1;
    if (!blob)
        return gi_cl_dense_operand(b, r->in[IN_R], out);
    if (b->dry)
        return GOPT_OK;
    const int64_t order[] = { r->a.directions, width, r->hidden };
    const uint64_t how = gi_hash(order, sizeof order, 3);
    bool found;
    GI_TRY(gi_cl_own_kept(b, (size_t)n * sizeof(float), sizeof(float), how, blob, out, &found));
    if (found)
        return GOPT_OK;
    float *t = gi_alloc(b->d->cx, (size_t)n * sizeof *t + 1);
    GI_NEED(t);
    for (int64_t d = 0; d < r->a.directions; d++)
        for (int64_t j = 0; j < width; j++)
            for (int64_t k = 0; k < r->hidden; k++)
                memcpy(&t[(d * r->hidden + k) * width + j],
                       (const char *)blob->data + (size_t)((d * width + j) * r->hidden + k) * sizeof *t, sizeof *t);
    const gopt_status st = gi_cl_own_packed(b, t, (size_t)n * sizeof *t, sizeof *t, how, blob, out);
    gi_free(b->d->cx, t);
    return st;
}

/* X · Wᵀ of every direction. */
static gopt_status project(gi_cl_build *b, const recurrence *r, gi_cl_ref *out)
{
    const int64_t rows = r->steps * r->batch, width = r->a.gates * r->hidden;
    gi_cl_ref x, w;
    GI_TRY(gi_cl_dense_operand(b, r->in[IN_X], &x));
    GI_TRY(gi_cl_dense_operand(b, r->in[IN_W], &w));
    GI_TRY(gi_cl_scratch(b, (uint64_t)(r->a.directions * rows * width) * 4, 4, out));
    const gi_cl_product p = { .trans_b = true,
                              .m = rows,
                              .n = width,
                              .k = r->inputs,
                              .batch = r->a.directions,
                              .lda = r->inputs,
                              .ldb = r->inputs,
                              .ldc = width,
                              .stride_b = width * r->inputs,
                              .stride_c = rows * width,
                              .alpha = 1 };
    return gi_cl_launch_product(b, &p, x, w, *out);
}

gopt_status gi_cl_take_recurrent(gi_cl_build *b, const gi_node *n, bool *took)
{
    recurrence r = { 0 };
    gi_cl_ref refs[10];
    int64_t r_j, r_k;
    if ((n->op != OP_RNN && n->op != OP_GRU && n->op != OP_LSTM) || !read(b, n, &r))
        return GOPT_OK;
    const char *source = source_of(b, &r);
    if (!source)
        return GOPT_OK;
    *took = true;
    GI_TRY(project(b, &r, &refs[0]));
    GI_TRY(find_r(b, &r, &refs[1], &r_j, &r_k));
    for (int i = IN_B; i < INPUTS; i++) { /* what is not there is never read: any buffer does */
        refs[i - 1] = refs[0];
        if (r.in[i] && i == IN_LENS)
            GI_TRY(gi_cl_find(b, r.in[i], &refs[i - 1]));
        else if (r.in[i])
            GI_TRY(gi_cl_dense_operand(b, r.in[i], &refs[i - 1]));
    }
    for (int i = 0; i < 3; i++) {
        refs[7 + i] = refs[0];
        if (wants(r.out[i]))
            GI_TRY(gi_cl_dense_result(b, r.out[i], &refs[7 + i]));
    }
    const int64_t d = r.a.directions, t = r.steps, nb = r.batch;
    const bool first = r.a.batch_first;
    const int64_t ints[] = { t,
                             nb,
                             r_j,
                             r_k,
                             first ? 1 : nb,
                             first ? t : 1,
                             first ? d : d * nb,
                             first ? 1 : nb,
                             first ? t * d : 1,
                             first ? 1 : nb,
                             first ? d : 1,
                             r.a.reverse };
    GI_TRY(gi_cl_launch_kernel(b, source, "recurrent", GI_COUNT(refs), refs, GI_COUNT(ints), ints,
                               (size_t[]){ (size_t)(d * nb) * GROUP, 1, 1 }, (size_t[]){ GROUP, 1, 1 }));
    for (int i = 0; i < 3; i++)
        if (wants(r.out[i]))
            GI_TRY(gi_cl_store_result(b, r.out[i], &refs[7 + i]));
    if (!b->dry) {
        b->s->tactic = "recurrent";
        b->s->gflop = 2e-9 * (double)(d * t * nb * r.a.gates * r.hidden) * (double)(r.inputs + r.hidden);
    }
    return GOPT_OK;
}
