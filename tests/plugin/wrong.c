/* Plugins that are wrong, one a number in WRONG; each must end in a diagnostic. 0 is right: y = x + 1, and y2 like x. */
#include <gopt/plugin.h>

static gopt_status types(const gopt_plugin_call *c)
{
#if WRONG == 5
    return gopt_plugin_set_type(c, 0, GOPT_F32, 99, c->in[0].dims);
#elif WRONG == 6
    return gopt_plugin_set_type(c, 0, GOPT_F32, 1, (const int64_t[]){ -77 });
#elif WRONG == 7
    return gopt_plugin_fail(c, "the moon is not full");
#elif WRONG == 8
    return gopt_plugin_set_type(c, 0, GOPT_F32, 1, NULL);
#elif WRONG == 9
    return c->n_in ? (gopt_status)77 : GOPT_OK;
#elif WRONG == 10
    return gopt_plugin_set_type(c, 0, (gopt_dtype)1234, c->in[0].rank, c->in[0].dims);
#else
    return gopt_plugin_same_type(c);
#endif
}

static gopt_status run(const gopt_plugin_call *c)
{
    const float *x = c->in[0].data;
    const size_t n = c->in[0].bytes / sizeof *x;
    float *y = NULL;
#if WRONG == 11
    y = gopt_plugin_output(c, 0, GOPT_F32, 1, (const int64_t[]){ 1000 });
#elif WRONG == 12
    y = gopt_plugin_output(c, 0, GOPT_F64, c->in[0].rank, c->in[0].dims);
#elif WRONG == 13
    return GOPT_OK;
#elif WRONG == 14
    return gopt_plugin_fail(c, "the sun went down");
#elif WRONG == 15
    y = gopt_plugin_output(c, 0, GOPT_F32, 40, c->in[0].dims);
#elif WRONG == 16
    y = gopt_plugin_output(c, 0, GOPT_F32, 1, (const int64_t[]){ -5 });
#else
    y = gopt_plugin_output(c, 0, GOPT_F32, c->in[0].rank, c->in[0].dims);
#endif
    for (size_t i = 0; y && i < n; i++)
        y[i] = x[i] + 1;
    return y ? GOPT_OK : GOPT_NO_MEMORY;
}

#if WRONG == 1 /* another ABI; this must not be reached */
GOPT_API const uint32_t gopt_plugin_abi_version = GOPT_PLUGIN_ABI + 41;
GOPT_API gopt_status gopt_plugin_register(gopt_plugin_registry *r)
{
    __builtin_trap();
    return r ? GOPT_OK : GOPT_INTERNAL;
}
#elif WRONG == 2 /* no entry */
int something_else(void);
GOPT_API int something_else(void)
{
    return types(NULL) + run(NULL);
}
#else
GOPT_PLUGIN(registry)
{
    gopt_plugin_op op = { .abi = GOPT_PLUGIN_ABI, .domain = "test", .name = "AddOne", .types = types, .run = run };
#if WRONG == 3
    op.domain = "";
    op.name = "Relu";
#elif WRONG == 4
    op.run = NULL;
#elif WRONG == 17
    op.abi = 99;
#elif WRONG == 18
    (void)gopt_plugin_add(registry, &op); /* and the same again, not looking */
    (void)gopt_plugin_add(registry, &op);
    return GOPT_OK;
#elif WRONG == 19
    return GOPT_UNSUPPORTED;
#elif WRONG == 20
    return GOPT_OK;
#elif WRONG == 21
    op.opencl = "__kernel void add_one(__global float *x) { x[get_global_id(0)] += 1; }";
#endif
    return gopt_plugin_add(registry, &op);
}
#endif
