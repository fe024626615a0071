/* The cpu backend's inside: its device, the layouts of a plan's values, and tactics.
 *
 * A tactic is one way to run a step, one row of tactics.def. `prepare` looks at the node and either takes it
 * (packs weights, fills the step) or declines and may say why. A tactic may know several ways (variants: tiles,
 * partitions), and may state what it thinks that each takes; choose.c picks: the least estimate, and where none is
 * stated the first row that takes the step. A tactic says in which layout it wants each value; where a value lies in
 * another, the step converts around the tactic's run. */
#ifndef GI_CPU_H
#define GI_CPU_H

#include "backend/backend.h"
#include "gk_bf16.h"
#include "gk.h"

/* How a value's elements lie. PLAIN is dense row-major. BLOCKED is for f32[N,C,…]: [N][⌈C/B⌉][…][B], B being the
 * vector's lanes (gi_cpu.block), the channels past C zero or any finite number. Of the latter two the elements of a
 * value of f32 are bfloat16: in the order of PLAIN, or in blocks of GK_BF16_K channels, which is what products read. */
typedef enum gi_layout { GI_PLAIN = 0, GI_BLOCKED, GI_PLAIN_BF16, GI_BLOCKED_BF16 } gi_layout;

static inline bool gi_is_blocked(gi_layout l)
{
    return l == GI_BLOCKED || l == GI_BLOCKED_BF16;
}
static inline bool gi_is_bf16(gi_layout l)
{
    return l == GI_PLAIN_BF16 || l == GI_BLOCKED_BF16;
}

/* What products may be computed in: fp32, bfloat16 wherever there is a kernel, or whatever is fastest within the loss
 * that docs/performance.md states. */
typedef enum gi_precision { GI_FP32 = 0, GI_BF16, GI_BEST } gi_precision;

typedef struct gi_cpu {
    gopt_ctx *cx;
    int threads;
    bool reference; /* nothing but reference evaluation */
    gopt_fp fp;     /* what engine.h says of it */
    gi_precision precision;
    int parts;                /* of GI_BF16: 1, or 2 and 3 for sums of three and six products */
    const gk_bf16_unit *bf16; /* NULL: there is none, or precision has no use for it */
    bool native;              /* the instruction set is not capped: libraries that look for themselves may be used */
    gk_isa isa;
    const gk_table *k;
    int block;
    uint64_t workspace;           /* a step's scratch at most; 0: no limit */
    char *prefer;                 /* tactics to take wherever they take a step: "NAME:VARIANT,NAME"; NULL: none */
    struct gi_cpu_shared *shared; /* packed weights of several plans: under the engine's lock */
    char name[96];
} gi_cpu;

typedef struct gi_cpu_plan {
    gi_arena *arena;
    gi_map layouts;  /* value id + 1 → (gi_layout) + 1; PLAIN where absent */
    gi_map nodes;    /* node id + 1: the plan's nodes */
    gi_map winograd; /* of gi_winograd_budget */
    int64_t spare;   /* bytes that it left */
    int block;
} gi_cpu_plan;

typedef struct gi_cpu_context {
    gi_arena *scratch;
} gi_cpu_context;

typedef struct gi_tactic gi_tactic;

/* What s->state is: the tactic, its own state, and the conversions around it. */
typedef struct gi_cpu_step {
    const gi_tactic *tactic;
    gi_arena *arena;
    void *own;           /* the tactic's, of `arena` */
    gi_layout *want_in;  /* one a step->in; as they lie, unless the tactic wants another */
    gi_layout *want_out; /* one a step->out */
    gi_layout *have_in, *have_out;
    uint64_t *in_scratch, *out_scratch; /* offset + 1 of the converted copy in the step's scratch; 0: none */
    uint64_t own_scratch;               /* where the tactic's own scratch begins */
    bool converts;
    bool dry;   /* only asked whether the tactic takes it: weights need not be packed */
    bool asked; /* and somebody will read what it says */
    /* What `prepare` is given and may say, beside taking or declining. */
    int variant;           /* which of the tactic's ways */
    double estimate_ms;    /* what a run will take, with d->threads workers and without conversions; 0: not said */
    uint64_t packed_bytes; /* of weights that it packs, where dry; 0: not said */
    const char *label;     /* what this variant is, "6 by 32"; of `arena` or static, NULL: nothing to tell */
    const char *why;       /* why it declined: gi_cpu_decline */
    void *packed;          /* 64-byte aligned weights, freed with the step; see gi_cpu_pack */
    struct gi_cpu_packed *packs;
} gi_cpu_step;

struct gi_tactic {
    const char *name;
    /* Takes the step (*took) or leaves it as it was. Where c->dry the answer is all that counts. */
    gopt_status (*prepare)(gi_cpu *d, gi_step *s, gi_cpu_step *c, bool *took);
    gopt_status (*run)(gi_cpu *d, const gi_step *s, const gi_cpu_step *c, const gi_run_args *args);
    void (*release)(gi_cpu_step *c); /* NULL: nothing beyond the arena */
    /* It keeps no pointer to constants that it does not leave in s->in: once they are packed, their bytes may go. */
    bool packs;
    /* How many ways there are for this step: prepare is asked for each, dry, with c->variant 0 … n-1, and for the
     * chosen one once more. NULL: one way, of which no estimate is stated. Where it does not take the step, 1 will do. */
    int (*variants)(const gi_cpu *d, const gi_step *s);
};

#define TACTIC(NAME, ...) extern const gi_tactic gi_tactic_##NAME;
#include "backend/cpu/tactics.def"
#undef TACTIC

/* ---- layouts (layout.c) ---- */

gopt_status gi_cpu_plan_open(gi_device *d, gi_node *const *nodes, size_t n, void **plan);
void gi_cpu_plan_close(gi_device *d, void *plan);
int gi_cpu_layout_number(gi_device *d, void *plan, const gi_value *v);
uint64_t gi_cpu_value_bytes(gi_device *d, void *plan, const gi_value *v);
gi_layout gi_cpu_layout(const gi_cpu_plan *p, const gi_value *v); /* p may be NULL */
uint64_t gi_cpu_layout_bytes(const gi_cpu *d, gi_layout l, const gi_type *t);
/* Channels of a block: 1 where it has none. */
static inline int64_t gi_cpu_layout_block(const gi_cpu *d, gi_layout l)
{
    return l == GI_BLOCKED ? d->block : l == GI_BLOCKED_BF16 ? GK_BF16_K : 1;
}
/* Both layouts hold the same bytes in the same places: they are one, or there is one pixel in whole blocks. */
bool gi_cpu_layouts_agree(const gi_cpu *d, gi_layout a, gi_layout b, const gi_type *t);
/* Copies between two layouts over the pool (convert.c). */
void gi_cpu_convert(const gi_cpu *d, gi_pool *pool, const gi_type *t, gi_layout from, gi_layout to, const void *src,
                    void *dst);
/* May this node be run with every 4-D f32 value blocked? Says what layout.c assumes of tactics. */
bool gi_cpu_takes_blocked(const gi_cpu *d, const gi_node *n);
bool gi_cpu_makes_blocked(const gi_node *n); /* does it pay to start a blocked chain here? */

/* Values in bfloat16 (bf16_values.c): is this step a product in bfloat16; does it read, and write, images that lie so? */
bool gi_bf16_multiplies(const gi_cpu *d, const gi_node *n);
const gi_value *gi_bf16_factor(const gi_cpu *d, const gi_node *n); /* the image that it multiplies; NULL: it does not */
bool gi_bf16_reads(const gi_cpu *d, const gi_node *n);
bool gi_bf16_writes(const gi_cpu *d, const gi_node *n);

/* ---- for tactics (cpu.c, choose.c) ---- */

/* Aligned memory that is freed with the step; counts as weight bytes. NULL where there is none. */
void *gi_cpu_pack(gi_cpu *d, gi_step *s, gi_cpu_step *c, size_t bytes);
/* The same for what is made of constants alone, in a way that `how` names (gi_cpu_order). Plan files hold it, and where
 * it is made of the one constant `of` (else NULL) plans of one engine share it. *filled: it is there already, and only to
 * be read; else the caller fills it now. */
void *gi_cpu_pack_of(gi_cpu *d, gi_step *s, gi_cpu_step *c, gi_blob *of, uint64_t how, size_t bytes, bool *filled);
/* A hash of the tactic and of all that decides the order of what it packs. */
uint64_t gi_cpu_order(const gi_tactic *t, const void *order, size_t bytes);
void gi_cpu_unpack(gi_cpu *d, gi_cpu_step *c);
/* Notes why the tactic declines; returns GOPT_OK, so that prepare says
 *     return gi_cpu_decline(c, "its window is %d wide, and this takes 3", kw); */
gopt_status gi_cpu_decline(gi_cpu_step *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
/* Milliseconds that a step needs at least by its arithmetic and by what it reads and writes beyond the caches, as
 * this instruction set and d->threads let expect. For estimates: times 1/efficiency. */
double gi_cpu_ms(const gi_cpu *d, double flop, double bytes);
/* Chooses the tactic and has it prepare the step. Lists in `a` what was considered; a NULL: no list. */
gopt_status gi_cpu_choose(gi_cpu *d, gi_step *s, gi_cpu_step *c, gi_arena *a);
/* Aligned, zeroed, from the step's arena. */
void *gi_cpu_own(gi_cpu_step *c, size_t bytes);
int gi_cpu_in_index(const gi_step *s, const gi_value *v); /* -1 where absent */
/* Replaces step->in: before asking for layouts. */
gopt_status gi_cpu_set_in(gi_step *s, gi_cpu_step *c, uint32_t n, gi_value *const *in);
bool gi_cpu_static_f32(const gi_value *v, int *rank, int64_t *dims); /* a tensor of f32 with constant dims */

/* Wants out[0], of that type, in a layout that is blocked, and every input so that has its channels in that place;
 * others plain. */
void gi_cpu_want_like(const gi_step *s, gi_cpu_step *c, const gi_type *t, gi_layout blocked);
/* gi_pool_run, over at most d->threads workers: a step's scratch has room for so many. */
void gi_cpu_run(const gi_cpu *d, gi_pool *pool, gi_job job, void *arg);

/* Work of `units` along the channels and `rows` along the rows, whose shares re-read what they have in common. */
typedef struct gi_split {
    int64_t units, rows;
    int64_t (*most)(const void *of, int workers); /* units of the fullest of so many workers; NULL: an even share */
    const void *of;
    double weights, input; /* what each worker along the rows, and along the channels, reads again; in one measure */
    double traffic;        /* what reading everything twice is worth, against computing it twice */
} gi_split;
/* Workers along the channels, of which d->threads is a multiple; the others go along the rows: what leaves them the most
 * even work, and where several do, what reads less twice. */
int gi_cpu_split(const gi_cpu *d, const gi_split *s);

/* What each tactic takes: so layout.c knows before. */
bool gi_conv_direct_takes(const gi_cpu *d, const gi_node *n);
bool gi_conv_depthwise_takes(const gi_cpu *d, const gi_node *n);
bool gi_pool_takes(const gi_cpu *d, const gi_node *n);
bool gi_move_takes_blocked(const gi_cpu *d, const gi_node *n);
bool gi_move_takes_bf16(const gi_cpu *d, const gi_node *n);
bool gi_channels_takes_blocked(const gi_cpu *d, const gi_node *n);
bool gi_rows_takes_blocked(const gi_node *n);
bool gi_resize_takes_blocked(const gi_node *n);
bool gi_resize_linear_takes_blocked(const gi_node *n);

/* The part of 0 … n-1 that worker w of nw does, in multiples of `grain`. */
static inline void gi_share(int64_t n, int64_t grain, int w, int nw, int64_t *from, int64_t *to)
{
    const int64_t units = (n + grain - 1) / grain;
    *from = gi_min_i64(n, units * w / nw * grain);
    *to = gi_min_i64(n, units * (w + 1) / nw * grain);
}

#endif
