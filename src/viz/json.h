/* What all files share that are JSON: texts, what a node says of itself, and saving. */
#ifndef GI_VIZ_JSON_H
#define GI_VIZ_JSON_H

#include <jansson.h>

#include "gopt/report.h"
#include "ir/graph.h"

/* The text as a string; of one that is no UTF-8, what is ASCII stays. NULL is "". NULL where there is no memory. */
json_t *gi_json_text(gopt_ctx *cx, const char *text);
/* Writes a file whole or not at all, and lets go of j, which may be NULL: GOPT_NO_MEMORY. */
gopt_status gi_json_save(gopt_ctx *cx, const char *path, json_t *j);

/* [{name, variant, label, takes, chosen, estimate_ms, ms, workspace_bytes, weight_bytes, why}, …]: what was considered
 * for a step, and why not the others. */
json_t *gi_json_tactics(gopt_ctx *cx, const gopt_step_info *s);

/* `wish`, or "wish #2", "wish #3" where that is taken: never empty, and taken from now on. NULL where there is no
 * memory. However many have one wish, each costs the same. */
const char *gi_unique_name(gi_arena *a, gi_smap *taken, const char *wish);

/* "[1, 1]": what an attribute holds, shortened where it is long. */
void gi_attr_text(gi_str *s, const gi_attr *a);
/* "Conv", "com.microsoft::Gelu"; of a fusion, its kind. */
const char *gi_op_text(gi_arena *a, const gi_node *n);

#endif
