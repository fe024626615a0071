/* The data of the page: what page_graph.c gathers of a graph after every pass, and page.c writes.
 *
 *   { "gopt": 1, "version": "0.1.0", "strings": [...], "models": [MODEL, ...] }
 *
 *   MODEL.weights  [[type, bytes, elements, contents or null, statistics or null], ...]
 *   MODEL.values   [[id, name, weight or -1], ...]
 *   MODEL.nodes    [[id, op, kind, name, scope, parent, block, [inputs], [outputs], [name, value, ...], [origins],
 *                    operations, [results]], ...]        a record: a node that changed has several
 *   MODEL.stages   [{ pass, index, nodes, remove: [record, ...], add: [record, ...], types: [value, type, ...] }, ...]
 *
 * All names are numbers of strings. Stages are differences, so that fifty passes cost no more than what they changed.
 * Graph inputs and outputs, and those of control-flow blocks, are nodes of their own with ids below zero. */
#ifndef GI_PAGE_H
#define GI_PAGE_H

#include <jansson.h>

#include "viz/picture.h"

/* A node that is in the graph, and the record that says how it stands. */
typedef struct gi_page_node {
    int64_t id;
    uint64_t hash; /* of all that the record says */
    uint32_t record;
    uint32_t seen; /* stage */
} gi_page_node;

typedef struct gi_page_model {
    json_t *json, *weights, *values, *nodes, *stages;
    gi_map nodes_by_id;  /* id + 2^63 → gi_page_node */
    gi_map value_types;  /* value id + 1 → type that was told; the model itself where there is none */
    gi_map weight_index; /* value → index + 1 */
    gi_vec(gi_page_node *) alive;
    uint32_t n_records, n_weights, n_stages;
    uint64_t epoch; /* of the last stage */
} gi_page_model;

struct gopt_page {
    gopt_ctx *cx;
    gi_arena *arena, *scratch;
    json_t *json, *strings, *models;
    gi_smap string_index; /* text → index + 1 */
    uint32_t n_strings;
    gi_page_model *model;
    gopt_status status; /* of what went before */
};

/* The number of a text among the page's strings; NULL is "". */
json_t *gi_page_text(gopt_page *p, const char *text);
gopt_status gi_page_add_stage(gopt_page *p, gopt_graph *g, const char *pass, int index); /* page_graph.c */
/* [type, bytes, elements, contents, statistics] of a constant (page_weights.c). */
json_t *gi_page_weight(gopt_page *p, const gi_value *v);

#endif
