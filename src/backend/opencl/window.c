/* Windows as kernels want them: always of two dims; and the convolutions that move them. */
#include "backend/opencl/cl.h"
#include "ops/eval.h"
#include "ops/walk.h"

gi_cl_window gi_cl_window_of(const gi_window *w, int rank, const int64_t *x)
{
    const int last = rank - 3;
    gi_cl_window o = { .h = 1, .kh = 1, .oh = 1, .sh = 1, .dh = 1 };
    if (last > 0) {
        o.h = x[2];
        o.kh = w->kernel[0];
        o.oh = w->out[0];
        o.sh = w->stride[0];
        o.ph = w->begin[0];
        o.ph_end = w->end[0];
        o.dh = w->dilation[0];
    }
    o.w = x[rank - 1];
    o.kw = w->kernel[last];
    o.ow = w->out[last];
    o.sw = w->stride[last];
    o.pw = w->begin[last];
    o.pw_end = w->end[last];
    o.dw = w->dilation[last];
    return o;
}

const gi_blob *gi_cl_floats(const gi_value *v)
{
    const gi_blob *b = gi_value_blob(v);
    return b && gi_cl_is_float(b->dtype) ? b : NULL;
}

float *gi_cl_floats_copy(const gi_cl *d, const gi_blob *b)
{
    const int64_t n = gi_blob_elements(b);
    float *to = gi_alloc(d->cx, (size_t)n * sizeof *to + 1);
    if (to)
        gi_floats_load(b->dtype, b->data, 0, n, to);
    return to;
}

bool gi_cl_read_conv(gi_cl_build *b, const gi_node *n, gi_cl_conv *c)
{
    gi_window win;
    *c = (gi_cl_conv){ .x = gi_node_in(n, Conv_in_X),
                       .w = gi_node_in(n, Conv_in_W),
                       .bias = gi_node_in(n, Conv_in_B),
                       .group = gi_attr_int(n, Conv_at_group) };
    c->weights = gi_cl_floats(c->w);
    if (!c->weights || (c->bias && !gi_cl_floats(c->bias)) || !gi_cl_tensor(b, c->x, "X", &c->rank, c->dims) ||
        (c->rank != 3 && c->rank != 4) || c->weights->rank != c->rank ||
        !gi_window_of_conv(n, c->rank, c->dims, c->weights->dims, &win))
        return false;
    c->win = gi_cl_window_of(&win, c->rank, c->dims);
    return true;
}
