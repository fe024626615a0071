/* Reading protobuf files without trusting them.
 *
 * protobuf-c copies every payload and recurses as deep as the file says. So the wire format is walked first,
 * iteratively: lengths and depth are checked, training information and unknown fields are dropped, and weights stay where they are
 * in the mapped file. What remains is small and goes through protobuf-c. */
#ifndef GI_ONNX_SCAN_H
#define GI_ONNX_SCAN_H

#include "base/file.h"
#include "onnx.pb-c.h"

enum {
    GI_PB_MAX_DEPTH = 100, /* as protobuf's own libraries have it */
    GI_PB_INLINE = 1024    /* payloads of tensors beyond so many bytes stay in the file */
};

/* Unpacks a whole file as one message of that kind, into the arena. `expected` names it in diagnostics, "an
 * ONNX model". Large payloads of TensorProtos are triples in `mapped`: field number, offset, length. */
gopt_status gi_pb_read(gopt_ctx *cx, const gi_file *f, const ProtobufCMessageDescriptor *root, const char *expected,
                       gi_arena *a, ProtobufCMessage **out);

#endif
