/* Resize: for each place on each axis a table says which elements it is made of and by what weights (ops/resize.h, which
 * the reference reads too); an item gathers all of them. */
#include <inttypes.h>

#include "backend/opencl/index.h"
#include "ops/eval.h"
#include "ops/resize.h"

enum { MOST_TAPS = 4096 }; /* of one element, over all axes: antialiasing reads many */

/* The tables of a Resize whose other inputs are constants. */
static gopt_status ask(gi_cl_build *b, const gi_node *n, int rank, const int64_t *x, gi_resize_map *maps)
{
    gopt_tensor image = { .kind = GOPT_TENSOR, .dtype = GOPT_F32, .rank = rank, .refs = 1 }, params[4];
    const gopt_tensor *in[4] = { &image };
    memcpy(image.dims, x, (size_t)rank * sizeof *x);
    for (uint32_t i = 1; i < n->n_in && i < 4; i++)
        if (gi_node_in(n, i)) {
            gi_tensor_of_blob(gi_value_blob(gi_node_in(n, i)), &params[i]);
            in[i] = &params[i];
        }
    gi_eval e = { .n = n, .cx = b->d->cx, .n_in = n->n_in, .in = in, .scratch = b->arena };
    return gi_resize_maps(&e, maps);
}

static gopt_status write_axis(gi_cl_index *k, int axis, const gi_resize_map *m, bool *fills)
{
    const size_t n = (size_t)(m->out * m->taps);
    char name[16];
    (void)snprintf(name, sizeof name, "N%d", axis);
    for (int64_t i = 0; i < m->out && m->outside; i++)
        *fills = *fills || m->outside[i];
    int64_t *index = GI_NEW_ARRAY(k->b->arena, int64_t, n + 1);
    float *weight = GI_NEW_ARRAY(k->b->arena, float, n + 1);
    GI_NEED(index && weight);
    for (size_t i = 0; i < n; i++) {
        const bool outside = m->outside && m->outside[i / (size_t)m->taps];
        index[i] = outside ? -1 : m->index[i];
        weight[i] = outside ? i % (size_t)m->taps == 0 : (float)m->weight[i];
    }
    GI_TRY(gi_cl_index_ints(k, name, index, n));
    if (m->taps == 1)
        return GOPT_OK;
    (void)snprintf(name, sizeof name, "W%d", axis);
    return gi_cl_index_floats(k, name, weight, n);
}

/* A loop over the taps of each axis that has several. A tap without weight is left
 * out: an infinity there does no harm. */
static void write_loops(gi_str *s, const gi_resize_map *maps, int rank)
{
    gi_str_add(s, "    float sum = 0.0f;\n");
    for (int i = 0; i < rank; i++) {
        if (maps[i].unchanged)
            continue;
        if (maps[i].taps == 1) {
            gi_str_addf(s, "    const ix n%d = N%d(c%d);\n", i, i, i);
            continue;
        }
        gi_str_addf(s,
                    "    for (ix t%d = c%d * %" PRId64 "; t%d < (c%d + 1) * %" PRId64
                    "; t%d++) {\n    const ix n%d = N%d(t%d);\n    const float w%d = W%d(t%d);\n    if (w%d == 0)\n"
                    "        continue;\n",
                    i, i, maps[i].taps, i, i, maps[i].taps, i, i, i, i, i, i, i, i);
    }
}

gopt_status gi_cl_take_resize(gi_cl_build *b, const gi_node *n, bool *took)
{
    gi_resize_map maps[GOPT_MAX_RANK];
    const char *at[GOPT_MAX_RANK];
    int64_t x[GOPT_MAX_RANK], y[GOPT_MAX_RANK], taps = 1;
    int rank, ry;
    gi_cl_index k;
    gi_cl_view vx;
    gi_str value;
    bool fills = false, mixes = false;
    if (n->op != OP_Resize)
        return GOPT_OK;
    if (!gi_cl_movable(b, gi_node_in(n, Resize_in_X), "its input", &rank, x) ||
        !gi_cl_movable(b, n->out[0], "its result", &ry, y))
        return GOPT_OK;
    for (uint32_t i = 1; i < n->n_in; i++)
        if (gi_node_in(n, i) && !gi_value_blob(gi_node_in(n, i))) {
            (void)gi_cl_decline(b, "its size is known only in a run");
            return GOPT_OK;
        }
    GI_TRY(ask(b, n, rank, x, maps));
    for (int i = 0; i < rank; i++) {
        if (!gi_mul_i64(taps, maps[i].taps, &taps) || taps > MOST_TAPS) {
            (void)gi_cl_decline(b, "an element of its result is made of more than %d", MOST_TAPS);
            return GOPT_OK;
        }
        mixes = mixes || maps[i].taps > 1;
    }
    if (!gi_cl_is_float(n->out[0]->type->dtype) && (mixes || !gi_attr_is(n, Resize_at_mode, "nearest"))) {
        (void)gi_cl_decline(b, "elements are mixed in f32 alone");
        return GOPT_OK;
    }
    GI_TRY(gi_cl_index_begin(&k, b, n, n->out[0]));
    GI_TRY(gi_cl_index_read(&k, gi_node_in(n, Resize_in_X), "X", &vx));
    for (int i = 0; i < rank; i++) {
        at[i] = maps[i].unchanged ? gi_cl_coordinates[i] : gi_cl_places[i];
        if (maps[i].unchanged)
            continue;
        GI_TRY(write_axis(&k, i, &maps[i], &fills));
    }
    write_loops(&k.body, maps, rank);
    gi_str_init(&value, b->arena);
    for (int i = 0; i < rank && fills; i++)
        if (!maps[i].unchanged)
            gi_str_addf(&value, "n%d < 0 ? (%s)%af : ", i,
                        gi_cl_is_float(n->out[0]->type->dtype) ? "float" : gi_cl_move_type(n->out[0]->type->dtype),
                        maps[i].fill);
    gi_str_add(&value, "X(");
    gi_cl_index_place(&value, &vx, at);
    gi_str_add(&value, ")");
    GI_NEED(!value.failed);
    *took = true;
    if (!mixes)
        return gi_cl_index_end(&k, value.p);
    gi_str_addf(&k.body, "    sum += (%s)", value.p);
    for (int i = 0; i < rank; i++)
        if (!maps[i].unchanged && maps[i].taps > 1)
            gi_str_addf(&k.body, " * w%d", i);
    gi_str_add(&k.body, ";\n    ");
    for (int i = 0; i < rank; i++)
        gi_str_add(&k.body, !maps[i].unchanged && maps[i].taps > 1 ? "}" : "");
    gi_str_add(&k.body, "\n");
    return gi_cl_index_end(&k, "sum");
}
