/* Lint: what in a model costs its users time, memory or portability, and what to do about it.
 *
 *   const gopt_lint_report *r;
 *   if (gopt_lint(g, NULL, &r) == GOPT_OK)
 *       for (size_t i = 0; i < r->n; i++)
 *           printf("%s: %s\n", r->findings[i].rule, r->findings[i].message);
 *
 * Lint a graph as it was loaded: passes mend much of what the rules look for, and what only the file says (initializers
 * that nobody reads, the order of its nodes) is known until the graph is cloned or optimized. */
#ifndef GOPT_LINT_H
#define GOPT_LINT_H

#include "gopt/graph.h"

#ifdef __cplusplus
extern "C" {
#endif

/* What a finding costs is counted in. */
typedef enum gopt_lint_unit {
    GOPT_LINT_NO_COST = 0,
    GOPT_LINT_BYTES,
    GOPT_LINT_FLOPS,    /* operations a run */
    GOPT_LINT_NODES,    /* nodes that need not be */
    GOPT_LINT_ELEMENTS, /* of tensors, a run */
    GOPT_LINT_UNIT_COUNT
} gopt_lint_unit;

typedef struct gopt_lint_finding {
    const char *rule;
    gopt_severity severity;
    const char *node;  /* its name, or that of its first output; NULL where the finding is of no node */
    const char *op;    /* of the node */
    const char *value; /* an input, output or weight that it is of; may be NULL */
    const char *message;
    int64_t cost; /* with free symbols as 1; 0 where it is not known */
    gopt_lint_unit unit;
    const char *fix; /* what to do */
} gopt_lint_finding;

typedef struct gopt_lint_options {
    const char *rules;   /* "A,-B": A alone, all but B; names of rules and of groups, "all"; NULL: the default ones */
    gopt_severity least; /* findings below it are left out */
} gopt_lint_options;

/* By severity, then in the order of the rules, then of the graph. It belongs to the graph. */
typedef struct gopt_lint_report {
    const gopt_lint_finding *findings;
    size_t n;
    size_t rules; /* that were tried */
    size_t errors, warnings, notes;
} gopt_lint_report;

/* `o` may be NULL. Linear in nodes, edges and bytes of weights. GOPT_USAGE where a rule does not exist. */
GOPT_API gopt_status gopt_lint(gopt_graph *g, const gopt_lint_options *o, const gopt_lint_report **out);

/* The rules that there are. False past the last. */
typedef struct gopt_lint_rule_info {
    const char *name, *group;
    gopt_severity severity;
    bool on;           /* tried unless told otherwise */
    const char *finds; /* what it looks for */
    const char *why;   /* what that costs */
    const char *fix;
    const char *seen; /* where users met it: threads as repository#number */
} gopt_lint_rule_info;
GOPT_API bool gopt_lint_rule_get(size_t i, gopt_lint_rule_info *out);
GOPT_API const char *gopt_lint_unit_name(gopt_lint_unit u); /* "bytes"; "" for none */

#ifdef __cplusplus
}
#endif
#endif
