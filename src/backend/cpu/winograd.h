/* Winograd's convolutions inside: what is laid out for a layer (winograd_cost.c), how its accuracy is tried
 * (winograd_trial.c), and its running (winograd.c, which says how it works). */
#ifndef GI_WINOGRAD_H
#define GI_WINOGRAD_H

#include "backend/cpu/epilogue.h"
#include "backend/cpu/window.h"

enum { GI_WINO_SIDE = 6 };

typedef struct gi_winograd {
    gi_epilogue e;
    gi_window w;
    int add;                /* in step->in; -1: none */
    int m, side, positions; /* F(m x m, 3 x 3); m + 2; side * side */
    int64_t group, icg, ocg;
    int64_t blocks, out_blocks;     /* a group's, of input and output channels */
    int64_t panels;                 /* a group's: two blocks of output channels, the last may be one */
    int64_t down, across;           /* tiles of an image */
    bool by_positions;              /* all panels of a position, and all positions before any output */
    int64_t most, kept;             /* tiles and panels of M at a time */
    int64_t v_position, m_position; /* strides */
    int split;                      /* workers along the channels */
    gk_tap *taps;
    float *weights, *bias;
    uint64_t scratch; /* a worker */
} gi_winograd;

typedef struct gi_winograd_job {
    const gi_cpu *d;
    const gi_winograd *v;
    const gi_run_args *args;
    int64_t first, count; /* of the tiles in hand */
    float *in, *out;      /* V and M */
    char *scratch;        /* the epilogue's */
} gi_winograd_job;

/* ---- winograd_cost.c ---- */

/* Reads the node: may a layer like this be computed so? Fills what is common to both sizes of tiles. */
bool gi_winograd_applies(const gi_cpu *d, const gi_node *n, gi_winograd *v);
void gi_winograd_lay_out(const gi_cpu *d, gi_winograd *v, int m);
double gi_winograd_ms(const gi_cpu *d, const gi_winograd *v);        /* what a run will take */
double gi_winograd_direct_ms(const gi_cpu *d, const gi_winograd *v); /* and direct sums, by the same measure */
bool gi_winograd_pays(const gi_cpu *d, const gi_winograd *v);
int64_t gi_winograd_bytes(const gi_cpu *d, const gi_winograd *v); /* of transformed weights */
/* Shares out what memory a plan may spend on transformed weights: p->winograd has main node's id + 1 → m + 1, the
 * largest tiles that it may have (m = 0: none) for each node where it pays. */
gopt_status gi_winograd_budget(const gi_cpu *d, gi_node *const *nodes, size_t n, gi_cpu_plan *p);

/* ---- winograd_trial.c ---- */

/* The largest error of some outputs over the largest of them; `dense` is the node's weights. */
gopt_status gi_winograd_error(const gi_cpu *d, const gi_winograd *v, const float *dense, double *error);

/* ---- winograd.c ---- */

gopt_status gi_winograd_taps(const gi_cpu *d, gi_arena *a, gi_winograd *v);
/* Panel p of dense weights, transformed: [position][channel][its blocks]. */
void gi_winograd_pack_panel(const gi_cpu *d, const gi_winograd *v, const float *dense, int64_t p, float *to);
/* Panel p, of all groups: its blocks of output channels. */
static inline int64_t gi_winograd_panel_width(const gi_winograd *v, int64_t p)
{
    return gi_min_i64(2, v->out_blocks - p % v->panels * 2);
}
void gi_winograd_run_tiles(const gi_winograd_job *j, int64_t p0, int64_t p1); /* the tiles in hand, panels p0 … p1-1 */

#endif
