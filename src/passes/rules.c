/* The rules that there are, from the rows of rules/NAME.def. Rules of one root are tried in this order. */
#include "passes/rule.h"

#define RULE(NAME, ...) extern const gi_rule gi_rule_##NAME;
#include "passes/rules/all.def"
#undef RULE

static const gi_rule *const rows[] = {
#define RULE(NAME, ...) &gi_rule_##NAME,
#include "passes/rules/all.def"
#undef RULE
};

const gi_rule *gi_rule_row(size_t i)
{
    return i < GI_COUNT(rows) ? rows[i] : NULL;
}

bool gopt_rule_get(size_t i, gopt_rule_info *out)
{
    static const char *const passes[] = {
        [REWRITE] = "rewrites", [IDENTITY] = "identities", [EMIT_ORT] = "emit", [LOWER] = "lower"
    };
    static const gopt_exact exact[] = {
        [BITWISE] = GOPT_EXACT_BITWISE, [REASSOC] = GOPT_EXACT_REASSOC, [FINITE] = GOPT_EXACT_FINITE
    };
    const gi_rule *r = gi_rule_row(i);
    if (!r)
        return false;
    *out = (gopt_rule_info){ .name = r->name,
                             .pass = passes[r->stage],
                             .means = r->means,
                             .needs = r->needs,
                             .exact = exact[r->exact],
                             .opset = r->opset,
                             .ort = r->ort || r->stage == EMIT_ORT };
    return true;
}

/* What passes do themselves moves and merges nodes, and changes no arithmetic; but where it may, fuse_horizontal
 * surrounds a kernel with zeros, which make NaN of infinities. */
gi_exact gi_rewrite_exact(const char *name, gopt_fp fp)
{
    const gi_rule *r = gi_rule_find(name);
    if (r)
        return r->exact;
    if (!strcmp(name, "transposes_sums"))
        return REASSOC;
    return fp == GOPT_FP_FAST && !strcmp(name, "fuse_horizontal") ? FINITE : BITWISE;
}
