/* Where the bytes of tensors and weights lie. Small ones, and all where the caller brought an allocator, come from that.
 * While a model is optimized, large ones are pages of their own, which go back to the system when they are let go. And
 * once many are held, further ones lie in unlinked temporary files, from which the system can page them out: a
 * model's weights may be larger than memory, and folding into all of them must still work. */
#ifndef GI_STORE_H
#define GI_STORE_H

#include "base/base.h"

/* LENT: of a gi_lender (ir/blob.h), not of this file. */
typedef enum gi_store { GI_STORE_HEAP = 0, GI_STORE_PAGES, GI_STORE_FILE, GI_STORE_LENT } gi_store;

/* Zeroed bytes in a file, aligned for every type, for what is large where much is held already. NULL where that is not so,
 * or no file is to be had: then take memory. */
void *gi_store_spill(gopt_ctx *cx, size_t n);
/* Zeroed bytes in memory, NULL where there is none. *how goes to gi_store_free. */
void *gi_store_alloc(gopt_ctx *cx, size_t n, gi_store *how);
void gi_store_free(gopt_ctx *cx, void *p, size_t n, gi_store how); /* p may be NULL */

/* Brackets a time in which large allocations are weights that live long. Nests; several threads may. */
void gi_store_weights_begin(gopt_ctx *cx);
void gi_store_weights_end(gopt_ctx *cx);

#endif
