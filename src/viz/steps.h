/* What the steps of a run stand for: the nodes in each, and what each took of its time. */
#ifndef GI_VIZ_STEPS_H
#define GI_VIZ_STEPS_H

#include "gopt/report.h"
#include "ir/graph.h"

/* A node that a step runs; shares of one step add up to 1. */
typedef struct gi_part {
    const gi_node *node;
    double share;
} gi_part;

/* The node itself, or those in the fusion. Time is shared by operations or, where nothing is counted, by what is
 * written. */
gopt_status gi_step_parts(const gi_node *n, gi_arena *a, gi_part **parts, size_t *n_parts);

/* What a node of some stage of the model took, and the step that ran it; found by the original nodes that both came
 * from. */
typedef struct gi_node_time {
    double ms;
    double bytes; /* read and written, its part of the step's */
    size_t step;  /* the first */
} gi_node_time;

/* Fills `of`: node (gi_key) → gi_node_time. Absent are nodes that no step runs. */
gopt_status gi_node_times(const gopt_graph *g, const gopt_run_profile *p, gi_arena *a, gi_map *of);

/* What a node reads, computed and constant; of a fusion, what its nodes read from outside. Appended to `out`. */
bool gi_step_reads(const gi_node *n, gi_arena *a, gi_values *out);

/* Bytes of what a node reads that is computed, that is constant, and of what it writes; 0 where not known, and with 1
 * for each symbol that is free. `reads`: gi_step_reads of it, which a fusion needs; NULL: its inputs. */
typedef struct gi_node_bytes {
    uint64_t read, weights, written;
} gi_node_bytes;
gi_node_bytes gi_node_bytes_of(const gi_node *n, const gi_values *reads);
/* Its operations, with 1 for each symbol that is free. */
double gi_node_operations(const gi_node *n);

#endif
