/* Inside of lint: what a rule is given, and how it tells what it found.
 *
 * A rule is a row of lint.def and a function of its name in rules_<group>.c. By its kind the function is called once
 * for the graph, for each node or for each weight. It looks, and calls gi_lint_find where something is the matter:
 *
 *   void gi_lint_nan_weight(gi_lint *l)
 *   {
 *       if (l->weight->nans)
 *           gi_lint_find(l, NULL, l->weight->v, 0, "%llu of its elements are NaN", …);
 *   }
 *
 * What several rules ask for is computed once: what weights hold, which nodes an output needs. */
#ifndef GI_LINT_H
#define GI_LINT_H

#include "gopt/lint.h"
#include "ir/graph.h"

/* A constant that something reads, once for each blob. */
typedef struct gi_lint_weight {
    const gi_value *v;
    gi_blob *b;
    int64_t n; /* elements */
    /* of floats */
    uint64_t zeros, nans, infs, subnormal;
    uint64_t beyond_f16, below_f16; /* finite and more than fp16 holds; not 0, and 0 in fp16 */
    double most;                    /* the largest finite magnitude */
    /* of integers */
    int64_t min, max;
} gi_lint_weight;

typedef enum gi_lint_kind { GI_LINT_GRAPH = 1, GI_LINT_NODE = 2, GI_LINT_WEIGHT = 4 } gi_lint_kind;

struct gi_lint;
typedef struct gi_lint_rule {
    const char *name, *group;
    gopt_severity severity;
    unsigned kind; /* GI_LINT_… that it is called for */
    bool on;
    void (*look)(struct gi_lint *l);
    gopt_lint_unit unit; /* of its costs */
    const char *finds, *why, *fix, *seen;
} gi_lint_rule;

typedef struct gi_lint {
    gopt_graph *g;
    gi_arena *scratch;
    const gi_lint_rule *rule;
    gi_node *node;                /* of GI_LINT_NODE; else NULL */
    const gi_lint_weight *weight; /* of GI_LINT_WEIGHT; else NULL */
    gi_vec(gi_lint_weight) weights;
    bool failed; /* no memory: whatever else is found does not matter */
    gi_vec(gopt_lint_finding) findings;
    const bool *needed;    /* gi_lint_needed; NULL until it is asked for */
    const uint8_t *varies; /* gi_lint_varies; likewise */
} gi_lint;

/* The finding is of a node, a value, or neither. `cost` in the rule's unit, 0 where it is not known. The fix is the rule's;
 * gi_lint_fix gives the last finding another. */
void gi_lint_find(gi_lint *l, const gi_node *n, const gi_value *v, int64_t cost, const char *fmt, ...)
    __attribute__((format(printf, 5, 6)));
void gi_lint_fix(gi_lint *l, const char *fix);

/* An expression with every symbol as 1; 0 where it is NULL or overflows. */
int64_t gi_lint_number(gi_lint *l, const gi_dim *d);
int64_t gi_lint_bytes(gi_lint *l, const gi_value *v); /* of a tensor, likewise */
int64_t gi_lint_flops(gi_lint *l, const gi_node *n);

/* By node id: does an output of the graph need it? NULL without memory. */
const bool *gi_lint_needed(gi_lint *l);
/* By value id: on what does it depend, if it is not the same in each run? NULL without memory. */
enum { GI_VARIES = 1, GI_VARIES_BY_VALUES = 2 }; /* on inputs at all; on more of them than their shapes */
const uint8_t *gi_lint_varies(gi_lint *l);

/* "a, b, c and 5 more" from names; in scratch. NULL without memory. */
typedef gi_vec(const char *) gi_lint_names;
const char *gi_lint_list(gi_lint *l, const gi_lint_names *names);
const char *gi_lint_name(gi_lint *l, const gi_value *v); /* its own or %id, in scratch; "?" without memory */

/* The first node that reads v, as input `*index`; NULL where only blocks do. */
const gi_node *gi_lint_reader(const gi_value *v, uint32_t *index);
static inline gopt_dtype gi_lint_dtype(const gi_value *v)
{
    return v && v->type && v->type->kind == GOPT_TENSOR ? v->type->dtype : GOPT_UNDEFINED;
}
static inline int gi_lint_rank(const gi_value *v)
{
    return v && v->type && v->type->kind == GOPT_TENSOR ? v->type->rank : -1;
}

#define LINT(NAME, ...) void gi_lint_##NAME(gi_lint *l);
#include "lint/lint.def"
#undef LINT

#endif
