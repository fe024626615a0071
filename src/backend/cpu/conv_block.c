/* Tactic "conv_block": a depthwise convolution with the 1x1 convolutions before and behind it, as one step.
 *
 *     x ─ 1x1 ─ depthwise ─ 1x1 ─ y          (inverted residual)
 *     x ─ depthwise ─ 1x1 ─ y                (depthwise-separable)
 *     x ─ 1x1 ─ depthwise ─ y                (before a squeeze, which needs the whole image)
 *
 * What lies between is the widest of such networks; here it stays in the second-level cache. A worker goes through its
 * output rows in strips: the rows of the expansion that a strip needs and does not have yet, into a ring that keeps the
 * last ones; the depthwise convolution over them; the projection of what that gave.
 *
 * Work is shared in one of two ways. By rows: each worker takes some rows through all stages, and the rows of the
 * expansion at its borders are computed twice. By planes: each worker makes some blocks of channels of the depthwise
 * result, and after that all share the projection; nothing is computed twice, but what lies behind the depthwise
 * convolution goes from core to core. Those are the tactic's variants; without an expansion, nothing is computed twice. */
#include "backend/cpu/conv_block.h"

/* What a strip may hold, and how much may lie between the two phases before it costs. */
enum { ROWS_BYTES = 384 * 1024, PLANES_BYTES = 96 * 1024, BETWEEN_BYTES = 8 << 20 };

/* ---- reading the region ---- */

static bool read_window(const gi_node *n, gi_window *w)
{
    const gi_blob *wb = gi_value_blob(gi_node_in(n, Conv_in_W)), *bb = gi_value_blob(gi_node_in(n, Conv_in_B));
    if (!wb || wb->dtype != GOPT_F32 || wb->rank < 3 || (gi_node_in(n, Conv_in_B) && (!bb || bb->dtype != GOPT_F32)))
        return false;
    return gi_window_of(n, gi_node_in(n, Conv_in_X), n->out[0], Conv_at_auto_pad, Conv_at_pads, Conv_at_strides,
                        Conv_at_dilations, (uint32_t)wb->rank - 2, wb->dims + 2, w) &&
           wb->dims[0] == w->oc && (!bb || gi_blob_elements(bb) == w->oc);
}

static bool is_pixel(const gi_node *n, const gi_window *w)
{
    return gi_attr_int(n, Conv_at_group) == 1 && w->kh == 1 && w->kw == 1 && w->sh == 1 && w->sw == 1 && w->pt == 0 &&
           w->pl == 0 && w->oh == w->ih && w->ow == w->iw && gi_value_blob(gi_node_in(n, Conv_in_W))->dims[1] == w->c;
}

static bool is_depthwise(const gi_node *n, const gi_window *w)
{
    return w->c > 1 && w->oc == w->c && gi_attr_int(n, Conv_at_group) == w->c &&
           gi_value_blob(gi_node_in(n, Conv_in_W))->dims[1] == 1;
}

/* The convolution at nodes[*at] and what is behind it, up to the next one; *at goes there. */
static gopt_status read_stage(gi_cpu_step *c, const gi_step *s, gi_node *const *nodes, size_t n, size_t *at,
                              gi_block_stage *st, bool *ok)
{
    const size_t from = *at;
    size_t to = from + 1;
    *ok = from < n && nodes[from]->op == OP_Conv && read_window(nodes[from], &st->w);
    if (!*ok)
        return GOPT_OK;
    while (to < n && nodes[to]->op != OP_Conv)
        to++;
    *at = to;
    st->result = nodes[to - 1]->out[0];
    GI_TRY(gi_epilogue_read(c, s, nodes[from], nodes + from + 1, to - from - 1, 1, &st->e, ok));
    *ok = *ok && nodes[to - 1]->n_out == 1 && st->result->type == st->e.main->out[0]->type;
    return GOPT_OK;
}

/* Which convolution is which: *ok where they are two or three in a row. */
static gopt_status read_region(gi_cpu_step *c, const gi_step *s, gi_conv_block *v, bool *ok)
{
    const gi_block *body = s->node->op == OP_Fusion ? gi_fusion_block(s->node) : NULL;
    gi_block_stage st[3];
    size_t n = 0, at = 0;
    int k = 0;
    *ok = body && body->first && body->n_results == 1 && s->n_out == 1;
    if (!*ok)
        return GOPT_OK;
    gi_node **nodes = GI_NEW_ARRAY(c->arena, gi_node *, body->n_nodes);
    GI_NEED(nodes);
    for (gi_node *i = body->first; i; i = i->next)
        nodes[n++] = i;
    for (; k < 3 && at < n && *ok; k++)
        GI_TRY(read_stage(c, s, nodes, n, &at, &st[k], ok));
    *ok = *ok && at == n && k > 1 && st[k - 1].result == body->results[0].value;
    for (int i = 1; i < k && *ok; i++)
        *ok = gi_node_in(st[i].e.main, Conv_in_X) == st[i - 1].result && st[i - 1].result->n_uses == 1;
    if (!*ok)
        return GOPT_OK;
    v->has_expand = !is_depthwise(st[0].e.main, &st[0].w);
    const int d = v->has_expand;
    v->has_project = d + 1 < k;
    v->dw = st[d];
    *ok = is_depthwise(v->dw.e.main, &v->dw.w) && d + 1 + v->has_project == k;
    if (v->has_expand && *ok) {
        v->expand = st[0];
        *ok = is_pixel(st[0].e.main, &st[0].w);
    }
    if (v->has_project && *ok) {
        v->project = st[d + 1];
        *ok = is_pixel(st[d + 1].e.main, &st[d + 1].w);
    }
    return GOPT_OK;
}

/* ---- weights ---- */

static gopt_status pack_pixel(gi_cpu *d, gi_step *s, gi_cpu_step *c, gi_block_stage *st)
{
    gi_blob *w = gi_value_blob(gi_node_in(st->e.main, Conv_in_W));
    const char *from = w->data;
    const int64_t lanes2 = 2 * d->block, ic = st->w.c, order[] = { st->tiles, ic, st->w.oc, lanes2 };
    bool filled;
    st->weights = gi_cpu_pack_of(d, s, c, w, gi_cpu_order(&gi_tactic_conv_block, order, sizeof(order)),
                                 (size_t)(st->tiles * ic * lanes2) * sizeof(float), &filled);
    st->bias = gi_cpu_pack(d, s, c, (size_t)(st->tiles * lanes2) * sizeof(float));
    GI_NEED(st->weights && st->bias);
    if (!filled)
        memset(st->weights, 0, (size_t)(st->tiles * ic * lanes2) * sizeof(float));
    memset(st->bias, 0, (size_t)(st->tiles * lanes2) * sizeof(float));
    for (int64_t o = 0; o < st->w.oc; o++) {
        const bool one = o / lanes2 == st->tiles - 1 && st->tiles * 2 > (st->w.oc + d->block - 1) / d->block;
        const int64_t lanes = one ? d->block : lanes2; /* of its tile */
        float *to = st->weights + o / lanes2 * ic * lanes2 + o % lanes2;
        for (int64_t i = 0; i < ic && !filled; i++)
            memcpy(&to[i * lanes], from + (size_t)(o * ic + i) * sizeof(float), sizeof(float));
        st->bias[o] = gi_epilogue_bias(&st->e, o);
    }
    return GOPT_OK;
}

static gopt_status pack_depthwise(gi_cpu *d, gi_step *s, gi_cpu_step *c, gi_block_stage *st)
{
    const char *from = gi_value_blob(gi_node_in(st->e.main, Conv_in_W))->data;
    const int64_t block = d->block, blocks = (st->w.c + block - 1) / block, per = st->w.kh * st->w.kw;
    st->weights = gi_cpu_pack(d, s, c, (size_t)(blocks * per * block) * sizeof(float));
    st->bias = gi_cpu_pack(d, s, c, (size_t)(blocks * block) * sizeof(float));
    GI_NEED(st->weights && st->bias);
    memset(st->weights, 0, (size_t)(blocks * per * block) * sizeof(float));
    memset(st->bias, 0, (size_t)(blocks * block) * sizeof(float));
    for (int64_t ch = 0; ch < st->w.c; ch++) {
        for (int64_t k = 0; k < per; k++)
            memcpy(&st->weights[(ch / block * per + k) * block + ch % block],
                   from + (size_t)(ch * per + k) * sizeof(float), sizeof(float));
        st->bias[ch] = gi_epilogue_bias(&st->e, ch);
    }
    return GOPT_OK;
}

static gopt_status pack(gi_cpu *d, gi_step *s, gi_cpu_step *c, gi_conv_block *v)
{
    if (v->has_expand)
        GI_TRY(pack_pixel(d, s, c, &v->expand));
    if (v->has_project)
        GI_TRY(pack_pixel(d, s, c, &v->project));
    return pack_depthwise(d, s, c, &v->dw);
}

/* ---- which way ---- */

static double flop(const gi_block_stage *st, bool pixel)
{
    const gi_window *w = &st->w;
    return 2.0 * (double)(w->n * w->oc * w->oh * w->ow) * (double)(pixel ? w->c : w->kh * w->kw);
}

static double all_flop(const gi_conv_block *v)
{
    return flop(&v->dw, false) + (v->has_expand ? flop(&v->expand, true) : 0) +
           (v->has_project ? flop(&v->project, true) : 0);
}

/* By rows: what is computed twice, and moved within the rings. By planes: what the caches do not hold, and what other
 * workers read, which on some machines is no faster than memory. */
static double estimate(const gi_cpu *d, const gi_conv_block *v)
{
    const gi_window *w = &v->dw.w;
    const double work = all_flop(v), between = 4.0 * (double)(w->n * w->oc * w->oh * w->ow);
    const double input = v->has_expand ? 4.0 * (double)(w->n * v->expand.w.c * w->ih * w->iw) : 0;
    const double others = (d->threads - 1.0) / d->threads;
    if (v->by_planes)
        return gi_cpu_ms(d, work, 0) + gi_cpu_ms(d, 0, (between + input) * others) +
               gi_cpu_ms(d, 0, v->has_project && between > BETWEEN_BYTES ? between - BETWEEN_BYTES : 0);
    if (!v->has_expand)
        return gi_cpu_ms(d, work, 0);
    const double twice = (double)(gi_max_i64(0, (w->kh - 1) * w->dh + 1 - w->sh) * (d->threads - 1));
    return gi_cpu_ms(d, 1.02 * work + flop(&v->expand, true) * twice / (double)(w->n * w->ih), 0);
}

/* ---- preparing ---- */

/* The channels of stage st's input are `plane` floats a block apart. */
static gopt_status lay_taps(const gi_cpu *d, gi_cpu_step *c, gi_block_stage *st, int64_t plane)
{
    const int64_t block = d->block;
    st->tiles = (st->w.oc + 2 * block - 1) / (2 * block);
    st->n_taps = (size_t)((st->w.c + block - 1) / block);
    st->taps = GI_NEW_ARRAY(c->arena, gk_tap, st->n_taps);
    GI_NEED(st->taps);
    for (size_t b = 0; b < st->n_taps; b++)
        st->taps[b] = (gk_tap){ (int64_t)b * plane, gi_min_i64(block, st->w.c - (int64_t)b * block) };
    return GOPT_OK;
}

/* How many rows a strip has, and where everything lies in the scratch; false where that is too much. */
static bool lay_out(const gi_cpu *d, gi_conv_block *v)
{
    const gi_window *w = &v->dw.w;
    const int64_t block = d->block, all = w->oh * w->ow, reach = (w->kh - 1) * w->dh + 1;
    const int64_t held = v->by_planes ? 2 : v->blocks; /* blocks in the ring */
    const int64_t in_row = v->has_expand ? held * w->iw * block * (int64_t)sizeof(float) : 0;
    const int64_t out_row = held * w->ow * block * (int64_t)sizeof(float);
    const int64_t room = (v->by_planes ? PLANES_BYTES : ROWS_BYTES) - in_row * gi_max_i64(0, reach - w->sh);
    v->strip = gi_max_i64(1, gi_min_i64(w->oh, room / (in_row * w->sh + out_row)));
    v->ring_rows = gi_min_i64(w->ih, (v->strip - 1) * w->sh + reach);
    v->ring_plane = v->ring_rows * w->iw * block + block; /* not a power of two */
    v->mid_plane = v->by_planes ? all * block : v->strip * w->ow * block + block;
    size_t programs = 0, ring = 0, mid = 0, shared = 0;
    const gi_epilogue *e[3] = { &v->expand.e, &v->dw.e, &v->project.e };
    for (int i = 0; i < 3; i++)
        programs = e[i]->program && gi_epilogue_scratch(e[i]) > programs ? gi_epilogue_scratch(e[i]) : programs;
    if ((v->has_expand && !gi_mul_size((size_t)v->ring_plane * sizeof(float), (size_t)held, &ring)) ||
        (v->has_project && !v->by_planes && !gi_mul_size((size_t)v->mid_plane * sizeof(float), (size_t)held, &mid)) ||
        (v->has_project && v->by_planes &&
         !gi_mul_size((size_t)v->mid_plane * sizeof(float), (size_t)(w->n * v->blocks), &shared)))
        return false;
    v->shared = (shared + 63) & ~(uint64_t)63;
    v->ring = (programs + 63) & ~(uint64_t)63;
    v->mid = v->ring + ((ring + 63) & ~(uint64_t)63);
    v->scratch = v->mid + ((mid + 63) & ~(uint64_t)63);
    return v->scratch < UINT64_MAX / 4096;
}

static gopt_status prepare(gi_cpu *d, gi_step *s, gi_cpu_step *c, bool *took)
{
    gi_conv_block *v = gi_cpu_own(c, sizeof(*v));
    bool ok;
    GI_NEED(v);
    GI_TRY(read_region(c, s, v, &ok));
    if (!ok || (c->variant && !v->has_expand))
        return GOPT_OK;
    if (d->precision != GI_FP32 && d->bf16)
        return gi_cpu_decline(c, "its 1x1 convolutions are faster apart, in bfloat16");
    v->by_planes = c->variant;
    c->label = v->by_planes ? "by planes" : "by rows";
    c->estimate_ms = estimate(d, v);
    gi_block_stage *last = v->has_project ? &v->project : &v->dw, *first = v->has_expand ? &v->expand : &v->dw;
    gi_values in = { 0 };
    GI_NEED(gi_push(c->arena, &in, gi_node_in(first->e.main, Conv_in_X)) &&
            gi_epilogue_values(&last->e, c->arena, &in));
    GI_TRY(gi_cpu_set_in(s, c, (uint32_t)in.n, in.p));
    v->add = last->e.add ? gi_cpu_in_index(s, last->e.add) : -1;
    gi_cpu_want_like(s, c, s->out[0]->type, GI_BLOCKED);
    c->want_in[0] = GI_BLOCKED;
    if (v->has_expand)
        GI_TRY(gi_epilogue_inner(d, s, c, &v->expand.e, v->expand.result, &ok));
    if (v->has_project && ok)
        GI_TRY(gi_epilogue_inner(d, s, c, &v->dw.e, v->dw.result, &ok));
    if (ok)
        GI_TRY(gi_epilogue_program(d, s, c, &last->e, &ok));
    v->blocks = (v->dw.w.c + d->block - 1) / d->block;
    if (!ok || !lay_out(d, v))
        return GOPT_OK;
    if (v->has_expand)
        GI_TRY(lay_taps(d, c, &v->expand, v->dw.w.ih * v->dw.w.iw * d->block));
    if (v->has_project)
        GI_TRY(lay_taps(d, c, &v->project, v->mid_plane));
    if (!c->dry)
        GI_TRY(pack(d, s, c, v));
    s->scratch = v->shared + v->scratch * (uint64_t)d->threads;
    s->gflop = all_flop(v) * 1e-9;
    if (v->add > 0 && !last->e.n_rest)
        s->in_place = v->add;
    c->own = v;
    *took = true;
    return GOPT_OK;
}

/* Two, where the region begins with a 1x1 convolution; what prepare finds says the rest. */
static int variants(const gi_cpu *d, const gi_step *s)
{
    (void)d;
    return s->node->op == OP_Fusion ? 2 : 1;
}

const gi_tactic gi_tactic_conv_block = {
    .name = "conv_block", .prepare = prepare, .run = gi_conv_block_run, .packs = true, .variants = variants
};
