/* Windows as kernels want them: always of two dims. */
#include "backend/opencl/cl.h"

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
