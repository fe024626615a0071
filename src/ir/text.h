/* The text form (.gir), what print.c and parse.c agree on.
 *
 *   ; a comment
 *   opset 17
 *   graph "resnet" (%x: f32[n,3,8,8], %"a b": i64[]) {
 *     %c = Conv %x, dense<f32[4,3,3,3], #a1, "w">, _ { pads = [1,1,1,1] } @"/conv1/Conv"
 *     %0, %1 = com.acme::Twice %c { alpha = 0.5 }
 *     %2 = If %k { then_branch = block () { return %0 }, else_branch = block () { return %1 } }
 *     %f = Fusion<pointwise> { body = block () { … } }
 *     return %2 as "output", %f
 *   }
 *
 * A result may carry its type, `%y: f32[2] = Relu %x`; written files have all of them. Dims that nothing names are
 * written ?1, ?2, … in the order that they come up (dim_number.h).
 *
 * Values: %name where the name is an identifier, %"name" otherwise, %7 where it has none; a name that stands
 * for several values gets #2, #3 behind it. `_` is an absent input. A constant is dense<TYPE, DATA> or
 * dense<TYPE, DATA, "name">, DATA being a scalar, a flat list, #HASH (parsed to contents drawn from the hash;
 * what a reader needs when the bytes do not matter), 0xHEX bytes, or @NUMBER, a weight that whoever reads the text
 * has (gi_parse_with). Behind a node: @"name", then
 * !{ scope = "…", origins = ["…"], doc = "…", meta = ["k", "v"] } where there is more than the name. */
#ifndef GI_TEXT_H
#define GI_TEXT_H

#include "ir/graph.h"

enum {
    GI_TEXT_OPSET = 21,      /* without an opset line */
    GI_TEXT_IR_VERSION = 10, /* without an ir_version line */
    GI_TEXT_INLINE = 16,     /* constants of up to so many elements print their values */
    GI_TEXT_DEPTH = 100      /* nested blocks */
};

/* Is it a name that needs no quotes? */
bool gi_text_plain(const char *name);

#endif
