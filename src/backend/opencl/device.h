/* What opencl.c puts into the backend's table. */
#ifndef GI_CL_DEVICE_H
#define GI_CL_DEVICE_H

#include "backend/opencl/cl.h"

gopt_status gi_cl_open(gopt_ctx *cx, const char *spec, const gopt_engine_options *o, gi_device **out);
gopt_status gi_cl_open_absent(gopt_ctx *cx, gi_device **out); /* *out stays NULL where there is a device */
void gi_cl_close(gi_device *dev);
const char *gi_cl_name(const gi_device *dev);
gopt_status gi_cl_mem_alloc(gi_device *dev, uint64_t bytes, void **mem);
void gi_cl_mem_free(gi_device *dev, void *mem);

/* ---- queue.c ---- */
gopt_status gi_cl_context_open(gi_device *dev, gopt_ctx *cx, void **context);
void gi_cl_context_close(gi_device *dev, void *context);
gopt_status gi_cl_upload(gi_device *dev, void *context, const gi_buffer *to, const void *from);
gopt_status gi_cl_download(gi_device *dev, void *context, const gi_buffer *from, void *to);
gopt_status gi_cl_finish(gi_device *dev, void *context);
void *gi_cl_host_alloc(gi_device *dev, uint64_t bytes, void **handle);
void gi_cl_host_free(void *handle);

#endif
