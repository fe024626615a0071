/* What a plan file holds of steps, as building looks it up.
 *
 *     recorded            a step by its place in the order of compiling: its tactic, and what that had packed
 *     building anew       the same graph gives the same steps in the same order; a tactic that asks for room for
 *                         packed weights gets those of the file instead, filled
 *
 * So tactics have no code for plan files: one that takes its room by gi_cpu_pack_of, and looks whether it is filled, is
 * in plans. Nothing depends on it: what the file does not have, or has in another size or order, is packed. */
#ifndef GI_ARCHIVE_H
#define GI_ARCHIVE_H

#include "ir/blob.h"
#include "gopt/plan.h"

typedef struct gi_kept_pack {
    const void *data; /* in the mapped file, 64-byte aligned */
    uint64_t bytes;
    uint64_t how; /* hash of all that decides the order within */
} gi_kept_pack;

typedef struct gi_kept_step {
    const char *name, *op; /* of its node */
    gopt_tactic_info tactic;
    int device; /* of the engine's two */
    const gi_kept_pack *packs;
    uint32_t n_packs;
} gi_kept_step;

/* The steps of the plans for one set of input shapes; those of branches where they are compiled. */
typedef struct gi_kept_plan {
    const int64_t *key; /* as gi_special has it */
    size_t n_key;
    const gi_kept_step *steps;
    size_t n;
} gi_kept_plan;

struct gi_step;

/* The step's next pack; NULL, and noted in the step, where the file has none that is of this size and order. Asked once for each pack, in the
 * same order as when the plan was built. */
const void *gi_kept_next(struct gi_step *s, uint64_t bytes, uint64_t how);

/* One pack of a step for whoever saves it. */
typedef struct gi_pack {
    const void *data; /* host memory; NULL: `mem` */
    void *mem;        /* of the device, from `offset` on */
    uint64_t offset;
    uint64_t bytes, how;
    const gi_blob *of; /* the weight that need not be read where the pack is there; NULL: none */
} gi_pack;
typedef gopt_status (*gi_pack_visit)(void *user, const gi_pack *k);

#endif
