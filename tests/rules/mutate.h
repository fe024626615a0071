/* Mutations of a graph: each breaks, or does not break, a precondition that some rewrite relies on.
 *
 * A graph has so many sites, numbered from 0: places where one kind of mutation can be made. The same graph has the
 * same sites in every run. */
#ifndef GOPT_RULES_MUTATE_H
#define GOPT_RULES_MUTATE_H

#include "golden/case.h"
#include "proof/proof.h"

typedef struct mutator {
    gopt_graph *g;
    gi_arena *arena;
    int64_t at, wanted; /* the next site's number; the one to be made */
    bool made;
    gi_str *what; /* says what was done */
} mutator;

/* The next site: is it the wanted one? */
static inline bool mutate_here(mutator *m)
{
    return !m->made && m->at++ == m->wanted;
}

/* Makes mutation `wanted`, and forgets the types of all that nodes give. Its number of sites where `wanted` is
 * negative, else whether it was made: 1 or 0. */
int64_t mutate(gopt_graph *g, int64_t wanted, gi_arena *a, gi_str *what);

/* Families of sites. Each makes the wanted one, or counts its own. */
void mutate_constants(mutator *m); /* values.c: values, shapes and types of constants; constants that become inputs */
void mutate_inputs(mutator *m);    /* types.c: sizes, ranks and types of inputs */
void mutate_dtypes(mutator *m);    /* types.c: the whole graph in another type */
void mutate_nodes(mutator *m);     /* nodes.c: operands, attributes, operators */
void mutate_users(mutator *m);     /* users.c: further users, outputs and captures of each value */

/* The case at path as a seed, every Loop with a limit, and what it says; NULL where it does not optimize, draws random
 * numbers, or has a constant of more than `most` bytes or a result of more elements. */
gopt_graph *mutate_seed(gopt_ctx *cx, gi_arena *a, const char *path, int64_t most, golden_case *c);

/* All nodes, those inside blocks too, in order. */
typedef gi_vec(gi_node *) mutate_node_list;
bool mutate_list_nodes(gopt_graph *g, gi_arena *a, mutate_node_list *out);

/* Has every result a type, once inferred? Inference leaves a branch without that cannot be: exporters write such, where
 * only the other one is ever taken. ONNX refuses it. */
bool mutate_has_types(gopt_graph *g);

/* Does every Loop end soon? Gives those without a limit one. */
bool mutate_ends(gopt_graph *g);
bool mutate_limit_rounds(gopt_graph *g);

/* The graph's text with its body inside an If of a new input, or inside a Loop of two rounds. NULL where it cannot
 * be so. */
char *mutate_wrap(gopt_graph *g, bool loop, gi_arena *a);

/* ---- the text of a graph ---- */

typedef struct mutate_parts {
    char *head, *params, *body, *results; /* "opset 17\ngraph ", "%x: f32[2]", the nodes, "%y as \"y\"" */
} mutate_parts;
bool mutate_take_apart(const char *text, gi_arena *a, mutate_parts *out);
/* The text, a body, with every name that the parts define behind "p1_". */
char *mutate_rename(const char *text, const mutate_parts *p, int part, gi_arena *a);
/* The text with "%other" where it says "%name". */
char *mutate_replace(const char *text, const char *name, const char *by, gi_arena *a);

#endif
