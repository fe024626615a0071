/* Tactics "conv_bf16" and "matmul_bf16", convolutions and products with constant matrices whose operands are bfloat16
 * and whose sums are float, and "conv_split" and "matmul_split", whose operands are the sums of two or three of them:
 * fp32 by three or six products, where the unit is so fast that this pays. bf16_choice.c says where they may run.
 *
 * A worker converts the strip that it works on once for all columns of the result, unless it lies in bfloat16 already. Weights are converted when the plan is made. */
#include <math.h>

#include "backend/cpu/bf16.h"

enum { STEM_CHANNELS = 4, STEM_PIXELS = GK_BF16_K / STEM_CHANNELS, MOST_STRIDE = 4, MOST_SCRATCH = 64 << 20 };

/* ---- what it takes ---- */

static const gk_bf16_unit *unit_for(const gi_cpu *d, int parts)
{
    const gk_bf16_unit *u = d->bf16;
    return u && parts <= u->most_parts && (u->any_block || d->block == 16) ? u : NULL;
}

static bool read_matrix(const gi_node *n, gi_bf16 *v, gi_operands *o)
{
    if (!gi_matmul_read(n, o))
        return false;
    v->flat = true;
    v->images = v->columns = 1;
    v->rows = o->m;
    v->n = o->n;
    v->k = o->k;
    v->in_pixels = o->m;
    return true;
}

static bool read_image(const gi_cpu *d, const gi_node *n, gi_bf16 *v)
{
    const gi_blob *w = gi_value_blob(gi_node_in(n, Conv_in_W));
    if (!gi_conv_direct_takes(d, n) || gi_attr_int(n, Conv_at_group) != 1 ||
        !gi_window_of(n, gi_node_in(n, Conv_in_X), n->out[0], Conv_at_auto_pad, Conv_at_pads, Conv_at_strides,
                      Conv_at_dilations, (uint32_t)w->rank - 2, w->dims + 2, &v->w))
        return false;
    const gi_window *k = &v->w;
    v->image = true;
    v->flat = k->kh == 1 && k->kw == 1 && k->sh == 1 && k->sw == 1 && k->pt == 0 && k->pl == 0 && k->oh == k->ih &&
              k->ow == k->iw;
    v->images = k->n;
    v->rows = v->flat ? k->oh * k->ow : k->oh;
    v->columns = v->flat ? 1 : k->ow;
    v->n = k->oc;
    v->k = k->c;
    v->in_pixels = k->ih * k->iw;
    return true;
}

static bool is_stem(const gi_bf16 *v)
{
    return v->image && !v->flat && v->parts == 1 && v->k <= STEM_CHANNELS && v->w.dw == 1 && v->w.dh == 1;
}

bool gi_conv_bf16_takes(const gi_cpu *d, const gi_node *conv)
{
    gi_bf16 v = { .parts = 1 };
    return unit_for(d, 1) && read_image(d, conv, &v) && (2 * v.k >= 16 || is_stem(&v)) && v.w.sh <= MOST_STRIDE &&
           v.w.sw <= MOST_STRIDE;
}

bool gi_matmul_bf16_takes(const gi_cpu *d, const gi_node *product)
{
    gi_bf16 v = { .parts = 1 };
    gi_operands o;
    return unit_for(d, 1) && read_matrix(product, &v, &o) && 2 * v.k >= 16;
}

/* ---- how it lies ---- */

/* One part of each number is what values of bfloat16 hold: then they are read and written as they lie. */
static gi_layout as_it_lies(const gi_bf16 *v, gi_layout have)
{
    const gi_layout bf16 = v->image ? GI_BLOCKED_BF16 : GI_PLAIN_BF16;
    return v->parts == 1 && have == bf16 ? bf16 : v->image ? GI_BLOCKED : GI_PLAIN;
}

static void choose_layouts(const gi_cpu *d, const gi_step *s, gi_cpu_step *c, gi_bf16 *v)
{
    if (v->image)
        gi_cpu_want_like(s, c, s->out[0]->type, as_it_lies(v, c->have_out[0]));
    else
        c->want_out[0] = as_it_lies(v, c->have_out[0]);
    for (uint32_t i = 0; i < s->n_in; i++)
        if (!v->image || i == 0)
            c->want_in[i] = as_it_lies(v, c->have_in[i]);
    if (v->stem)
        c->want_in[v->x] = GI_PLAIN;
    v->in_bf16 = gi_is_bf16(c->want_in[v->x]);
    v->out_bf16 = gi_is_bf16(c->want_out[0]);
    v->add_bf16 = v->add >= 0 && gi_is_bf16(c->want_in[v->add]);
    v->in_block = v->image ? (int)gi_cpu_layout_block(d, c->want_in[v->x]) : 16;
    v->out_block = v->image ? (int)gi_cpu_layout_block(d, c->want_out[0]) : 16;
    v->dst_pixel = v->image ? v->out_block : v->n;
}

static uint64_t take(uint64_t *at, uint64_t bytes)
{
    const uint64_t begin = *at;
    *at = (begin + bytes + 63) & ~(uint64_t)63;
    return begin;
}

/* A stem's rows; a tap is a row of the window, or 8 pixels of it. */
static gopt_status lay_out_stem(gi_cpu_step *c, gi_bf16 *v)
{
    const gi_window *w = &v->w;
    v->groups = (w->kw + STEM_PIXELS - 1) / STEM_PIXELS;
    v->phases_h = v->phases_w = 1;
    v->pitch = v->columns;
    v->pixel = w->sw * STEM_CHANNELS;
    v->row = (v->columns - 1) * v->pixel + v->groups * GK_BF16_K;
    const int64_t fit = (int64_t)v->unit->strip / (v->row * (int64_t)sizeof(uint16_t));
    v->strip = gi_min_i64(v->rows, gi_max_i64(1, (fit - w->kh) / w->sh + 1));
    v->plane = v->part = ((v->strip - 1) * w->sh + w->kh) * v->row;
    v->taps_a_row = v->groups;
    v->taps = GI_NEW_ARRAY(c->arena, ptrdiff_t, w->kh * v->groups);
    GI_NEED(v->taps);
    for (int64_t h = 0; h < w->kh; h++)
        for (int64_t g = 0; g < v->groups; g++)
            v->taps[h * v->groups + g] = h * v->row + g * GK_BF16_K;
    return GOPT_OK;
}

static void lay_out_panels(gi_bf16 *v, int64_t kh)
{
    v->n_taps = kh * v->taps_a_row;
    const int64_t depth = v->stem ? v->w.kw * STEM_CHANNELS : v->k + v->k % 2;
    v->depth = v->groups == 1 ? (int)gi_min_i64(depth, GK_BF16_K) : GK_BF16_K;
    v->panels = (v->n + GK_BF16_COLUMNS - 1) / GK_BF16_COLUMNS;
    v->panel = v->n_taps * v->parts * GK_BF16_K * GK_BF16_COLUMNS;
}

static gopt_status lay_out(gi_cpu_step *c, gi_bf16 *v)
{
    const gi_window one = { .kh = 1, .kw = 1, .sh = 1, .sw = 1, .dh = 1, .dw = 1 }, *w = v->flat ? &one : &v->w;
    if (v->stem) {
        GI_TRY(lay_out_stem(c, v));
        lay_out_panels(v, w->kh);
        return GOPT_OK;
    }
    v->groups = (v->k + GK_BF16_K - 1) / GK_BF16_K;
    v->pixel = GK_BF16_K;
    v->phases_h = w->sh;
    v->phases_w = w->sw;
    v->reach_h = (w->kh - 1) * w->dh / w->sh;
    v->pitch = v->columns + (w->kw - 1) * w->dw / w->sw;
    const int64_t planes = v->groups * v->phases_h * v->phases_w, row = v->pitch * GK_BF16_K;
    const int64_t row_bytes = planes * row * v->parts * (int64_t)sizeof(uint16_t);
    v->strip = gi_min_i64(v->rows,
                          gi_max_i64(v->flat ? v->unit->pixels : 1, (int64_t)v->unit->strip / row_bytes - v->reach_h));
    v->direct = v->image && v->flat && v->in_bf16;
    v->plane = v->direct ? v->in_pixels * GK_BF16_K
                         : (v->strip + v->reach_h) * row + GK_BF16_K; /* one line more: groups in unlike cache sets */
    v->part = planes * v->plane;
    v->taps_a_row = v->groups * w->kw;
    lay_out_panels(v, w->kh);
    v->taps = GI_NEW_ARRAY(c->arena, ptrdiff_t, v->n_taps);
    GI_NEED(v->taps);
    ptrdiff_t *t = v->taps;
    for (int64_t h = 0; h < w->kh; h++)
        for (int64_t g = 0; g < v->groups; g++)
            for (int64_t k = 0; k < w->kw; k++) {
                const int64_t phase = (g * v->phases_h + h * w->dh % w->sh) * v->phases_w + k * w->dw % w->sw;
                *t++ = phase * v->plane + h * w->dh / w->sh * row + k * w->dw / w->sw * GK_BF16_K;
            }
    return GOPT_OK;
}

static void lay_out_scratch(gi_bf16 *v)
{
    const int64_t tile = v->unit->pixels;
    v->pieces = v->unit->flat && !v->stem ? (v->strip * v->pitch + tile - 1) / tile
                : v->flat                 ? (v->strip + tile - 1) / tile
                                          : v->strip * ((v->columns + tile - 1) / tile);
    uint64_t at = 0;
    /* a flat unit reads a whole tile behind the last pixel */
    if (!v->direct)
        (void)take(&at,
                   (uint64_t)(v->parts * v->part + (GK_BF16_PIXELS + 1) * v->pixel + GK_BF16_K) * sizeof(uint16_t));
    v->pieces_at = take(&at, (uint64_t)v->pieces * sizeof(gi_bf16_piece));
    v->epilogue_at = take(&at, gi_epilogue_scratch(&v->e));
    v->scratch = at;
}

/* Workers along the columns and along the rows: what leaves them the most even work; where both do, what reads and
 * packs less twice. */
static int choose_split(const gi_cpu *d, const gi_bf16 *v)
{
    return gi_cpu_split(d, &(gi_split){ .units = v->panels,
                                        .rows = v->images * v->rows,
                                        .weights = (double)(v->panels * v->panel),
                                        .input = (double)(v->images * v->in_pixels * v->k * 2),
                                        .traffic = 0.2 });
}

/* ---- weights ---- */

float gi_bf16_constant(const gi_bf16_constants *b, int64_t h, int64_t w, int64_t k, int64_t n)
{
    const gi_bf16 *v = b->v;
    if (!b->o)
        return b->p[((n * v->k + k) * v->w.kh + h) * v->w.kw + w];
    return b->o->alpha * b->p[b->o->trans_b ? n * v->k + k : k * v->n + n];
}

/* In parts, as gk_bf16_pack does: number `at` of part i lies i * GK_BF16_K * GK_BF16_COLUMNS further. */
static void put(const gi_bf16 *v, uint16_t *to, float x)
{
    for (int i = 0; i < v->parts; i++, to += GK_BF16_K * GK_BF16_COLUMNS) {
        *to = gk_bf16_of(x);
        x -= gk_bf16_value(*to);
    }
}

static void pack_weights(const gi_bf16 *v, const gi_bf16_constants *b)
{
    const int64_t kh = v->flat ? 1 : v->w.kh, kw = v->flat ? 1 : v->w.kw;
    const int64_t tap = v->parts * GK_BF16_K * GK_BF16_COLUMNS;
    for (int64_t panel = 0; panel < v->panels; panel++) {
        uint16_t *to = v->weights + panel * v->panel;
        const int64_t first = panel * GK_BF16_COLUMNS, columns = gi_min_i64(GK_BF16_COLUMNS, v->n - first);
        memset(to, 0, (size_t)v->panel * sizeof(*to));
        for (int64_t h = 0; h < kh; h++)
            for (int64_t g = 0; g < v->groups; g++)
                for (int64_t w = 0; w < kw; w++, to += tap)
                    for (int64_t k = 0; k < gi_min_i64(GK_BF16_K, v->k - g * GK_BF16_K); k++)
                        for (int64_t j = 0; j < columns; j++)
                            put(v, to + (k / 2 * GK_BF16_COLUMNS + j) * 2 + k % 2,
                                gi_bf16_constant(b, h, w, g * GK_BF16_K + k, first + j));
    }
}

/* Number k of a stem's tap is channel k % 4 of the window's column k / 4. */
static void pack_stem(const gi_bf16 *v, const gi_bf16_constants *b)
{
    for (int64_t panel = 0; panel < v->panels; panel++) {
        uint16_t *to = v->weights + panel * v->panel;
        const int64_t first = panel * GK_BF16_COLUMNS, columns = gi_min_i64(GK_BF16_COLUMNS, v->n - first);
        memset(to, 0, (size_t)v->panel * sizeof(*to));
        for (int64_t i = 0; i < v->n_taps; i++, to += GK_BF16_K * GK_BF16_COLUMNS)
            for (int64_t k = 0; k < GK_BF16_K; k++) {
                const int64_t w = i % v->groups * STEM_PIXELS + k / STEM_CHANNELS, c = k % STEM_CHANNELS;
                for (int64_t j = 0; j < columns && w < v->w.kw && c < v->k; j++)
                    put(v, to + (k / 2 * GK_BF16_COLUMNS + j) * 2 + k % 2,
                        gi_bf16_constant(b, i / v->groups, w, c, first + j));
            }
    }
}

static float number_at(const gi_blob *b, int64_t i)
{
    float x;
    memcpy(&x, (const char *)b->data + (size_t)i * sizeof(x), sizeof(x));
    return x;
}

static gopt_status pack(gi_cpu *d, gi_step *s, gi_cpu_step *c, gi_bf16 *v, gi_blob *w, const gi_bf16_constants *all)
{
    const gi_blob *b = v->image ? gi_value_blob(gi_node_in(v->e.main, Conv_in_B)) : all->o->c;
    const float beta = v->image ? 1.0f : all->o->beta;
    const double order[] = { v->parts, v->image ? 0 : all->o->trans_b, v->image ? 1 : (double)all->o->alpha };
    const size_t biases = (size_t)(v->panels * GK_BF16_COLUMNS) * sizeof(float);
    bool filled;
    v->weights = gi_cpu_pack_of(d, s, c, w, gi_cpu_order(&gi_tactic_conv_bf16, order, sizeof(order)) + v->image,
                                (size_t)(v->panels * v->panel) * sizeof(*v->weights), &filled);
    v->bias = gi_cpu_pack(d, s, c, biases);
    GI_NEED(v->weights && v->bias);
    if (!filled)
        (v->stem ? pack_stem : pack_weights)(v, all);
    memset(v->bias, 0, biases);
    for (int64_t i = 0; i < v->n; i++) {
        if (b)
            v->bias[i] += beta * number_at(b, gi_blob_elements(b) == 1 ? 0 : i);
        if (v->e.bias)
            v->bias[i] += number_at(v->e.bias, i);
    }
    return GOPT_OK;
}

/* Has every weight parts? What would round to infinity has none. */
static bool all_have_parts(const gi_blob *w)
{
    for (int64_t i = 0; i < gi_blob_elements(w); i++)
        if ((gk_bf16_of(number_at(w, i)) & 0x7f80) == 0x7f80)
            return false;
    return true;
}

/* What needs the weights' numbers: whether the layer may run so, and packing. */
static gopt_status use_weights(gi_cpu *d, gi_step *s, gi_cpu_step *c, gi_bf16 *v, const gi_operands *o, bool *ok)
{
    gi_blob *w = gi_value_blob(gi_node_in(v->e.main, 1));
    const gi_bf16_constants all = { (const float *)w->data, v, v->image ? NULL : o };
    if (c->dry && !c->asked)
        return GOPT_OK; /* fp32 takes whatever this does */
    if (v->parts > 1 && !all_have_parts(w)) {
        *ok = false;
        return gi_cpu_decline(c, "a weight is not finite");
    }
    GI_TRY(gi_bf16_may_run(d, c, &all, ok));
    return *ok && !c->dry ? pack(d, s, c, v, w, &all) : GOPT_OK;
}

/* ---- preparing ---- */

/* A Gelu that ends the step is the kernel's, within what rounding to bfloat16 is. */
static void absorb_gelu(gi_bf16 *v)
{
    const gi_node *n = v->e.n_rest == 1 ? v->e.rest[0] : NULL;
    v->gelu = v->parts == 1 && n && n->op == OP_Gelu && !gi_attr_is(n, Gelu_at_approximate, "tanh") &&
              gi_node_in(n, 0) == v->e.result && v->e.lo == -INFINITY && v->e.hi == INFINITY;
    if (!v->gelu)
        return;
    v->e.result = n->out[0];
    v->e.n_rest = 0;
}

static gopt_status prepare(gi_cpu *d, gi_step *s, gi_cpu_step *c, bool image, int parts, bool *took)
{
    gi_bf16 *v = gi_cpu_own(c, sizeof(*v));
    gi_operands o = { 0 };
    bool ok;
    GI_NEED(v);
    v->parts = parts;
    v->unit = unit_for(d, parts);
    if (!v->unit)
        return GOPT_OK;
    GI_TRY(image ? gi_epilogue_find(c, s, OP_Conv, OP_Conv, 1, &v->e, &ok)
                 : gi_epilogue_find(c, s, OP_MatMul, OP_Gemm, -1, &v->e, &ok));
    if (!ok || !(image ? read_image(d, v->e.main, v) : read_matrix(v->e.main, v, &o)))
        return GOPT_OK;
    absorb_gelu(v);
    v->stem = is_stem(v);
    if (2 * v->k < 16 && !v->stem)
        return gi_cpu_decline(c, "it sums over %lld channels, and this takes them 32 at a time", (long long)v->k);
    if (v->image && (v->w.sh > MOST_STRIDE || v->w.sw > MOST_STRIDE))
        return gi_cpu_decline(c, "its window moves by more than %d", MOST_STRIDE);
    gi_values in = { 0 };
    GI_NEED(gi_push(c->arena, &in, gi_node_in(v->e.main, 0)) && gi_epilogue_values(&v->e, c->arena, &in));
    GI_TRY(gi_cpu_set_in(s, c, (uint32_t)in.n, in.p));
    v->x = 0;
    v->add = v->e.add ? gi_cpu_in_index(s, v->e.add) : -1;
    choose_layouts(d, s, c, v);
    GI_TRY(gi_epilogue_program(d, s, c, &v->e, &ok));
    if (!ok)
        return GOPT_OK;
    GI_TRY(lay_out(c, v));
    lay_out_scratch(v);
    if (v->scratch > MOST_SCRATCH)
        return gi_cpu_decline(c, "a row of its input is too long to be packed");
    v->split = choose_split(d, v);
    c->packed_bytes = (uint64_t)(v->panels * v->panel) * sizeof(*v->weights);
    s->gflop = 2e-9 * (double)(v->images * v->rows * v->columns) * (double)v->n *
               (double)(v->k * (v->flat ? 1 : v->w.kh * v->w.kw));
    GI_TRY(use_weights(d, s, c, v, &o, &ok));
    if (!ok)
        return GOPT_OK;
    s->scratch = v->scratch * (uint64_t)d->threads;
    if (v->add > 0 && !v->e.n_rest && v->add_bf16 == v->out_bf16)
        s->in_place = v->add;
    c->own = v;
    *took = true;
    return GOPT_OK;
}

static gopt_status conv_bf16(gi_cpu *d, gi_step *s, gi_cpu_step *c, bool *took)
{
    return gi_bf16_asked(d, 1) ? prepare(d, s, c, true, 1, took) : GOPT_OK;
}

static gopt_status matmul_bf16(gi_cpu *d, gi_step *s, gi_cpu_step *c, bool *took)
{
    return gi_bf16_asked(d, 1) ? prepare(d, s, c, false, 1, took) : GOPT_OK;
}

static gopt_status split(gi_cpu *d, gi_step *s, gi_cpu_step *c, bool image, bool *took)
{
    const int parts = c->variant + 2;
    c->label = parts == 2 ? "three products" : "six products";
    return gi_bf16_asked(d, parts) ? prepare(d, s, c, image, parts, took) : GOPT_OK;
}

static gopt_status conv_split(gi_cpu *d, gi_step *s, gi_cpu_step *c, bool *took)
{
    return split(d, s, c, true, took);
}

static gopt_status matmul_split(gi_cpu *d, gi_step *s, gi_cpu_step *c, bool *took)
{
    return split(d, s, c, false, took);
}

static int one_way(const gi_cpu *d, const gi_step *s)
{
    (void)d;
    (void)s;
    return 1;
}

static int two_ways(const gi_cpu *d, const gi_step *s)
{
    (void)s;
    return d->bf16 ? 2 : 1;
}

const gi_tactic gi_tactic_conv_bf16 = {
    .name = "conv_bf16", .prepare = conv_bf16, .run = gi_bf16_run, .packs = true, .variants = one_way
};
const gi_tactic gi_tactic_matmul_bf16 = {
    .name = "matmul_bf16", .prepare = matmul_bf16, .run = gi_bf16_run, .packs = true, .variants = one_way
};
const gi_tactic gi_tactic_conv_split = {
    .name = "conv_split", .prepare = conv_split, .run = gi_bf16_run, .packs = true, .variants = two_ways
};
const gi_tactic gi_tactic_matmul_split = {
    .name = "matmul_split", .prepare = matmul_split, .run = gi_bf16_run, .packs = true, .variants = two_ways
};
