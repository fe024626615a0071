/* Rules: local rewrites as data, and the engine that applies them.
 *
 *   RULE(conv_batchnorm_fold, .exact = REASSOC,
 *        .match = N(BatchNormalization, AT(c, N1(Conv, V(x), K(w), OPT(K(b)))), K(s), K(o), K(m), K(v)),
 *        .when  = channels_match,
 *        .make  = fold_batchnorm,
 *        .means = "x ─ Conv(w, b) ─ BatchNorm(s, o, m, v)  ⇒  x ─ Conv(w·k, (b − m)·k + o), k = s / √(v + ε)")
 *
 * Patterns, from the root upwards:
 *   N(Op, …)   a node of that operator; its inputs as patterns, further ones must be absent
 *   N1(Op, …)  the same, and nothing but the pattern uses its result; else the rule declines and says who does
 *   V(x)       any value;  K(w) a constant;  both are then m->x, m->w. One letter twice: the same value twice
 *   OPT(p)     an absent input, or p
 *   OR(p, q)   the first of these that matches here
 *   REST       any further inputs
 *   AT(c, p)   p, and its value is m->c
 * The operands of commutative operators are tried both ways.
 *
 * A rule whose expression is written in too many ways for a pattern gives the operators that it may end with,
 * `OR(N(Mul, REST), N(Div, REST), …)`, and looks for the rest itself, in `.find`: it adds to m->nodes what it found
 * beyond the root, and says with a reason why that cannot go.
 *
 * The engine sees to what every rule needs: all matched nodes lie in one block; a result that is a graph
 * output, or is captured by a subgraph, counts as a use; no other output of the root is used; the limit of
 * rewrites and skipped rules; that the type does not change; that the output's opset has what the rule makes
 * (`.makes`, `.opset`); provenance, names, remarks, removal of what died.
 * `.when` declines with a reason; `.make` builds before the root, and returns what takes the place of the
 * root's first output, or NULL where there is no memory. */
#ifndef GI_RULE_H
#define GI_RULE_H

#include "passes/util.h"

/* How near the answers of the graph after are to those of the graph before: a promise, and what --fp=strict, reassoc
 * and fast choose rules by. The tests hold every rule to it (tests/proof).
 *
 * BITWISE  For every input each output is the same to the bit, signs of zero included; one NaN is as good as another.
 *          (Where Max and its kin meet zeros of both signs, either may come out: ONNX does not say which.)
 * REASSOC  The same real numbers, otherwise grouped. Where all inputs and all that the graph before computes on the
 *          way are finite, outputs differ by what rounding does to them; zeros may change their sign, and subnormal
 *          numbers (not f16's) are as good as zeros. A NaN in an input makes NaN of the same outputs. With an
 *          infinity in an input, outputs that are numbers or infinities stay as they are, and NaN (∞ − ∞, 0 · ∞) may
 *          become anything. In both, what a Where had left out may show as NaN, since fused operators add masks; and
 *          where the graph looks for NaN itself (IsNaN), it may find others as well; where it looks twice, for what
 *          infinities make, nothing is promised. Where finite inputs overflow or underflow on the way, nothing is
 *          promised: a fused operator may well give the number that the parts lost.
 *          Rules that expand an operator (LOWER) may also differ by what rounding does to its parts.
 * FINITE   As REASSOC for finite inputs and finite outputs. Nothing is promised for others. */
typedef enum gi_exact { BITWISE, REASSOC, FINITE } gi_exact;

/* When a rule is tried: in `identities` (level 1), in `rewrites` (level 2), in `emit`, which writes operators
 * that only the runtime asked for has, or in `lower`, which expands those that it lacks. */
typedef enum gi_stage { REWRITE = 0, IDENTITY, EMIT_ORT, LOWER } gi_stage;

typedef enum gi_pattern_kind {
    GI_PAT_NODE,
    GI_PAT_ANY,
    GI_PAT_CONST,
    GI_PAT_OPT,
    GI_PAT_REST,
    GI_PAT_AT,
    GI_PAT_OR
} gi_pattern_kind;

typedef struct gi_pattern {
    gi_pattern_kind kind;
    gi_opcode op;
    bool single;                        /* N1 */
    uint8_t slot;                       /* of the match: a letter's position */
    const struct gi_pattern *const *in; /* inputs, or what is inside; NULL last */
} gi_pattern;

enum { GI_MATCH_NODES = 40 };

/* What rules with one root have in common to find out, kept from one to the next while the graph stays. */
typedef struct gi_visit {
    gi_arena *arena;
    const struct gi_cuts *cuts; /* cone.h */
} gi_visit;

/* What a pattern found. Letters are the values of V, K and AT. */
typedef struct gi_match {
    gopt_graph *g;
    gi_node *root;
    gi_arena *scratch;
    gi_visit *visit;
    int opset;                      /* of ai.onnx, that the output may use */
    const void *data;               /* what .find tells .make */
    gi_node *nodes[GI_MATCH_NODES]; /* matched ones, the root first */
    uint32_t n_nodes;
    union {
        gi_value *slots[26];
        struct {
            gi_value *a, *b, *c, *d, *e, *f, *g_, *h, *i, *j, *k, *l, *m, *n, *o, *p, *q, *r, *s, *t, *u, *v, *w, *x,
                *y, *z;
        };
    };
} gi_match;

/* The reason why a rule declines. An empty one means: not worth a word. */
typedef struct gi_reason {
    gi_arena *arena;
    const char *text;
} gi_reason;

/* For `return cond || gi_decline(why, "…")`: always false. */
bool(gi_decline)(gi_reason *why, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

/* A value that a rewrite takes the place of, beside the root's first output. */
typedef struct gi_swap {
    gi_value *from, *to;
} gi_swap;

/* What .make builds with. */
typedef struct gi_rewrite {
    gopt_graph *g;
    gi_node *root;
    gi_arena *scratch;
    gi_vec(gi_node *) made;
    gi_vec(gi_swap) also;
    gi_node *before;  /* where new nodes go; NULL: before the root */
    const char *why;  /* set with a NULL result: the rule thought better of it */
    const char *said; /* the remark of this rewrite; NULL: what the rule means */
} gi_rewrite;

/* A node before the root, or before r->before, with its first output, types inferred after attributes are set by `gi_rw_done`. */
gi_node *gi_rw_node(gi_rewrite *r, gi_opcode op, uint32_t n_in, gi_value *const *in, uint32_t n_out);
/* The same right behind what makes v, where it serves all that read v in the root's block. */
gi_node *gi_rw_node_behind(gi_rewrite *r, const gi_value *v, gi_opcode op, uint32_t n_in, gi_value *const *in,
                           uint32_t n_out);
/* The rewrite replaces `from`, an output of the root or of another node, by `to` too. False without memory. */
bool gi_rw_also(gi_rewrite *r, gi_value *from, gi_value *to);
/* Infers the node's types and gives its first output; NULL where that fails. */
gi_value *gi_rw_done(gi_rewrite *r, gi_node *n);
/* Both in one, for nodes without attributes. */
gi_value *gi_rw_build(gi_rewrite *r, gi_opcode op, uint32_t n_in, gi_value *const *in);

/* A constant that the rule computed; takes over the reference. NULL, with the reason, where an element is not finite, or
 * where it is f16 and a row of `was`, which it takes the place of, would become subnormal or zero and lose its
 * digits. `was` may be NULL. */
gi_value *gi_rw_const(gi_rewrite *r, gi_blob *b, const gi_blob *was);

typedef struct gi_rule {
    const char *name;
    gi_exact exact;
    gi_stage stage;
    bool ort; /* makes operators of ONNX Runtime's own: with --emit ort alone (all of stage EMIT_ORT do) */
    const gi_pattern *match;
    bool (*find)(gi_match *m, gi_reason *why);       /* may be NULL */
    bool (*when)(const gi_match *m, gi_reason *why); /* may be NULL */
    gi_value *(*make)(gi_rewrite *r, const gi_match *m);
    bool keeps_type;   /* an existing value that .make returns surely has the root's type, even where unknown */
    bool all_outputs;  /* further outputs of the root may be used: .make's node has the same ones, or gi_rw_also
                        * says what takes their place */
    gi_opcode makes;   /* with .opset: the operator that the rule needs; */
    int opset;         /* the opset of ai.onnx that brought it. 0: any will do */
    const char *means; /* one line: before ⇒ after */
    const char
        *needs; /* the preconditions beyond the pattern, in words, for docs/rules.md; NULL where there are none */
} gi_rule;

const gi_rule *gi_rule_row(size_t i);          /* NULL past the last */
const gi_rule *gi_rule_find(const char *name); /* '-' and '_' are the same */
/* Of a rewrite by the name that the report has for it: a rule's, or a pass's own. */
gi_exact gi_rewrite_exact(const char *name, gopt_fp fp);

const gi_rule *gi_rule_planted(size_t i); /* of rules/planted.def; NULL past the last */

/* Does the pattern match at `root`? GI_MATCH_SHARED: but for an N1 that has other users; *why says which. */
typedef enum gi_match_result { GI_MATCH_NO, GI_MATCH_YES, GI_MATCH_SHARED } gi_match_result;
gi_match_result gi_match_at(const gi_pattern *p, gi_node *root, bool all_outputs, gi_match *m, gi_reason *why);

/* Applies rules to all nodes until none does, or a cap is reached (a note says so). */
gopt_status gi_rules_run(gopt_graph *g, gi_pass_ctx *cx, const gi_rule *const *rules, size_t n);
/* The same with all rules of a stage, behind the planted ones that the run's options name. */
gopt_status gi_rules_run_stage(gopt_graph *g, gi_pass_ctx *cx, gi_stage stage);

#endif
