/* Rules of the file: what it carries, lists and declares. */
#include "lint/lint.h"

static int64_t blob_bytes(const gi_value *v)
{
    const gi_blob *b = gi_value_blob(v);
    return b ? (int64_t)b->bytes : 0;
}

void gi_lint_unused_initializer(gi_lint *l)
{
    const gi_source *s = l->g->source;
    for (size_t i = 0; s && i < s->unused_weights.n; i++)
        gi_lint_find(l, NULL, s->unused_weights.p[i], blob_bytes(s->unused_weights.p[i]), "nothing reads it");
}

void gi_lint_unused_import(gi_lint *l)
{
    const gi_source *s = l->g->source;
    for (size_t i = 0; s && i < s->unused_domains.n; i++)
        gi_lint_find(l, NULL, NULL, 0, "domain %.100s is imported, and no node is of it", s->unused_domains.p[i]);
}

void gi_lint_initializer_input(gi_lint *l)
{
    const gi_source *s = l->g->source;
    gi_lint_names names = { 0 };
    int64_t bytes = 0;
    if (!s || !s->defaults.n || l->g->ir_version < 4)
        return;
    for (size_t i = 0; i < s->defaults.n; i++) {
        l->failed |= !gi_push(l->scratch, &names, gi_lint_name(l, s->defaults.p[i]));
        bytes += blob_bytes(s->defaults.p[i]);
    }
    gi_lint_find(l, NULL, NULL, bytes, "%zu %s listed as inputs, too: %s", names.n,
                 names.n == 1 ? "weight is" : "weights are", gi_lint_list(l, &names));
}

/* The IR version that came with the opset. */
static int ir_of_opset(int64_t opset)
{
    static const struct {
        int opset, ir;
    } came[] = { { 9, 4 }, { 10, 5 }, { 11, 6 }, { 12, 7 }, { 15, 8 }, { 19, 9 }, { 21, 10 }, { 23, 11 }, { 24, 12 } };
    int ir = 3;
    for (size_t i = 0; i < GI_COUNT(came); i++)
        if (opset >= came[i].opset)
            ir = came[i].ir;
    return opset >= 25 ? 13 : ir;
}

void gi_lint_ir_version(gi_lint *l)
{
    enum { COMMON = 8 }; /* what every runtime of the last years reads */
    const int opset = gi_graph_opset(l->g, "");
    const int need = ir_of_opset(opset);
    if (l->g->source && opset && l->g->ir_version > need && l->g->ir_version > COMMON)
        gi_lint_find(l, NULL, NULL, 0, "IR version %lld, where opset %d came with %d", (long long)l->g->ir_version,
                     opset, need);
}

void gi_lint_old_opset(gi_lint *l)
{
    const int opset = gi_graph_opset(l->g, "");
    if (l->g->source && opset && opset < 7)
        gi_lint_find(l, NULL, NULL, 0, "opset %d", opset);
}

void gi_lint_new_opset(gi_lint *l)
{
    const int opset = gi_graph_opset(l->g, "");
    if (l->g->source && opset > 22)
        gi_lint_find(l, NULL, NULL, 0, "opset %d", opset);
}

void gi_lint_unsorted_nodes(gi_lint *l)
{
    if (l->g->source && l->g->source->sorted)
        gi_lint_find(l, NULL, NULL, 0, "%u %s not in the order of computation", l->g->source->sorted,
                     l->g->source->sorted == 1 ? "graph is" : "graphs are");
}

void gi_lint_stale_types(gi_lint *l)
{
    if (l->g->source && l->g->source->stale)
        gi_lint_find(l, NULL, NULL, 0, "%u declared type%s not what the operators yield", l->g->source->stale,
                     l->g->source->stale == 1 ? " is" : "s are");
}

void gi_lint_value_info(gi_lint *l)
{
    const gi_source *s = l->g->source;
    if (s && s->nodes > s->value_infos + l->g->main->n_results)
        gi_lint_find(l, NULL, NULL, (int64_t)(s->nodes - s->value_infos - l->g->main->n_results),
                     "%u nodes, and types of %u results", s->nodes, s->value_infos + l->g->main->n_results);
}

void gi_lint_huge_constant(gi_lint *l)
{
    enum { HUGE_BYTES = 256 * 1024 };
    const gi_source *s = l->g->source;
    for (size_t i = 0; s && i < s->constants.n; i++)
        if (blob_bytes(s->constants.p[i]) > HUGE_BYTES)
            gi_lint_find(l, NULL, s->constants.p[i], blob_bytes(s->constants.p[i]), "a Constant node holds it");
}
