/* The list of devices that could run something, and what is missing where one could not. */
#include "backend/backend.h"
#include "gk.h"

/* The cpu is always there: its name, cores and instruction sets. */
static const gopt_device_info *cpu_info(gopt_ctx *cx)
{
    gi_device *d;
    if (gi_backend_cpu.open(cx, NULL, &(gopt_engine_options){ .threads = cx->threads, .precision = "fp32" }, &d) !=
        GOPT_OK)
        return NULL;
    gopt_device_info *info = GI_NEW(cx->arena, gopt_device_info);
    gi_str s;
    gi_str_init(&s, cx->arena);
    gi_str_addf(&s, "%d cores; instruction sets:", gi_cpu_count());
    for (int isa = 0; isa <= (int)gk_best(); isa++)
        gi_str_addf(&s, " %s", gk_isa_name((gk_isa)isa));
    if (info && s.p)
        *info = (gopt_device_info){ .backend = "cpu",
                                    .name = gi_arena_str(cx->arena, gi_backend_cpu.device_name(d)),
                                    .details = s.p };
    gi_backend_cpu.close(d);
    return info && info->name ? info : NULL;
}

const gopt_device_info *gopt_device_get(gopt_ctx *cx, size_t i)
{
    if (i == 0)
        return cpu_info(cx);
#if defined(GI_HAVE_OPENCL)
    return gi_opencl_device(cx, i - 1);
#else
    static const gopt_device_info none = {
        .backend = "opencl",
        .name = "OpenCL",
        .details = "",
        .missing = "this build has no OpenCL backend: install OpenCL (Debian and Ubuntu: apt-get install "
                   "ocl-icd-opencl-dev opencl-headers) and build gopt again"
    };
    return i == 1 ? &none : NULL;
#endif
}
