/* The format of plan files, and what the engine asks of one (gopt/plan.h, docs/plans.md).
 *
 *     0        header: magic, format, byte order, size, where the index and the sums are, and a sum of the header itself
 *     64       packed weights, the device's state, weights, the fingerprint: each at a multiple of 64
 *     …        cold weights, which nobody reads where the packed ones fit: their sums are checked when somebody does
 *     …        index: facts, the graph as text, and for each of the above where it is
 *     …        sums: a hash of every CHUNK bytes of all before, then one of the sums
 *
 * Numbers are little-endian. Everything is checked before it is believed: the sums tell damage and where it is, and the
 * index is read as any hostile file. What a plan cannot be protected from is its author: compiled programs are code. */
#ifndef GI_PLAN_FILE_H
#define GI_PLAN_FILE_H

#include "backend/archive.h"
#include "backend/engine.h"
#include "base/bytes.h"

enum {
    GI_PLAN_FORMAT = 1,
    GI_PLAN_HEADER = 64,
    GI_PLAN_ALIGN = 64,
    GI_PLAN_CHUNK = 256 << 10,
    GI_PLAN_MAX_SHAPES = 64 /* plans of one file */
};
#define GI_PLAN_MAGIC "GOPTPLAN"
static const uint32_t GI_PLAN_ORDER = 0x01020304;

/* A hash over the sources of the backends and kernels: packed weights of another build may lie otherwise. */
const char *gi_plan_build_key(void);

/* Bytes in the file. */
typedef struct gi_plan_range {
    uint64_t at, bytes;
} gi_plan_range;

/* A tensor in the file: a weight, an input or an answer. */
typedef struct gi_plan_tensor {
    gopt_dtype dtype;
    int rank;
    int64_t dims[GOPT_MAX_RANK];
    gi_plan_range range;
    uint64_t hash; /* of a weight, as gi_blob_hash says */
} gi_plan_tensor;

struct gopt_plan {
    int refs; /* changed with atomics */
    gopt_ctx *cx;
    gi_arena *arena;
    gi_file *file;
    uint64_t cold; /* where the weights begin that no step reads where their packs are there; they end at the index */
    uint64_t index;
    bool cold_checked; /* under whose engine's lock */
    gopt_plan_fact *facts;
    size_t n_facts;
    const char *graph; /* as text */
    size_t graph_bytes;
    gi_plan_tensor *weights;
    size_t n_weights;
    gi_kept_plan *plans;
    size_t n_plans;
    gi_plan_range state[2];           /* of the engine's devices */
    gi_plan_tensor *inputs, *answers; /* the fingerprint */
    gopt_tensor *input_tensors;       /* over the file's bytes */
    size_t n_inputs, n_answers;
};

gopt_plan *gi_plan_file_ref(gopt_plan *p);
/* gopt_plan_graph without checking the sums of cold weights. */
gopt_status gi_plan_file_graph(gopt_plan *p, gopt_graph **out);
/* What the file holds of the plan for these shapes; NULL where it holds none. */
/* Checks the sums of the weights that opening leaves alone. */
gopt_status gi_plan_file_check_cold(gopt_plan *p);
const gi_kept_plan *gi_plan_file_find(const gopt_plan *p, const int64_t *key, size_t n_key);
/* Do this machine's devices fit? GOPT_UNSUPPORTED with what differs. Restores their state. */
gopt_status gi_plan_file_fits(struct gopt_engine *e);
/* Fails: step `k` of the file (NULL: there is none) is not what building comes to now, `op` by `tactic` (may be NULL). */
gopt_status gi_plan_file_misfit(struct gopt_engine *e, const gi_kept_step *k, const char *op, const char *tactic);

#endif
