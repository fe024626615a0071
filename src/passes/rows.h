/* Turns the rows of a family's rules/NAME.def into its objects. A family file ends with
 *
 *   #include "passes/rows.h"
 *   #include "passes/rules/conv.def"
 *
 * so that its conditions and builders can be static. No include guard: each family includes it once. */
#include "passes/rule.h"

#define PAT(...) (&(const gi_pattern){ __VA_ARGS__ })
#define PATS(...)               \
    (const gi_pattern *const[]) \
    {                           \
        __VA_ARGS__, NULL       \
    }
#define LETTER(x) ((uint8_t)((offsetof(gi_match, x) - offsetof(gi_match, slots)) / sizeof(gi_value *)))
#define N(OPERATOR, ...) PAT(.kind = GI_PAT_NODE, .op = OP_##OPERATOR, .in = PATS(__VA_ARGS__))
#define N1(OPERATOR, ...) PAT(.kind = GI_PAT_NODE, .op = OP_##OPERATOR, .single = true, .in = PATS(__VA_ARGS__))
#define V(x) PAT(.kind = GI_PAT_ANY, .slot = LETTER(x))
#define K(x) PAT(.kind = GI_PAT_CONST, .slot = LETTER(x))
#define OPT(p) PAT(.kind = GI_PAT_OPT, .in = PATS(p))
#define OR(...) PAT(.kind = GI_PAT_OR, .in = PATS(__VA_ARGS__))
#define REST PAT(.kind = GI_PAT_REST)
#define AT(x, p) PAT(.kind = GI_PAT_AT, .slot = LETTER(x), .in = PATS(p))
#define RULE(NAME, ...)                  \
    extern const gi_rule gi_rule_##NAME; \
    const gi_rule gi_rule_##NAME = { .name = #NAME, __VA_ARGS__ };
