/* There and back.
 *
 * The text form says all that a graph is: what is read from it prints the same. ONNX has no regions and keeps to its
 * own order of a value's names, so the graph that comes back is compared by its answers, and with what comes back of
 * itself: from there on nothing may change. */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "random/random.h"

static const char *print(gopt_graph *g, bool types, gi_arena *a)
{
    gi_str s;
    gi_str_init(&s, a);
    return gi_print(g, &(gi_print_options){ .types = types, .contents = true }, &s) == GOPT_OK ? s.p : NULL;
}

/* The first line that differs, of both. */
static const char *difference(const char *was, const char *is, gi_arena *a)
{
    const char *w = was, *i = is;
    for (size_t k = 0; was[k] && was[k] == is[k]; k++)
        if (was[k] == '\n') {
            w = was + k + 1;
            i = is + k + 1;
        }
    return gi_arena_printf(a, "\n  %.*s\n  %.*s", (int)strcspn(w, "\n"), w, (int)strcspn(i, "\n"), i);
}

static const char *compare(gopt_graph *was, gopt_graph *is, const char *way, gi_arena *a)
{
    gi_str why;
    gi_str_init(&why, a);
    if (prove(was, is, (proof_promise){ BITWISE, false }, 0, &why) == PROOF_DIFFERENT)
        return gi_arena_printf(a, "%s it answers differently: %s", way, why.p);
    return NULL;
}

static const char *back_from_text(gopt_graph *g, gi_arena *a)
{
    gopt_graph *again = NULL;
    const char *text = print(g, true, a), *first = print(g, false, a), *fault = NULL;
    if (!text || !first)
        return "it cannot be printed";
    if (gi_parse(g->cx, "printed", text, strlen(text), &again) != GOPT_OK || gi_verify(again) != GOPT_OK ||
        gi_infer_graph(again) != GOPT_OK) {
        fault = "what is printed cannot be read";
    } else {
        const char *second = print(again, false, a); /* of dims that are equal, types may come to show another */
        if (!second || strcmp(first, second) != 0)
            fault = gi_arena_printf(a, "read from its text it prints differently:%s",
                                    second ? difference(first, second, a) : "");
        else
            fault = compare(g, again, "read from its text", a);
    }
    gopt_graph_destroy(again);
    return fault;
}

/* NULL, with a fault, where it cannot be. */
static gopt_graph *through_onnx(gopt_graph *g, const char *path, const char **fault)
{
    gopt_graph *again = NULL;
    *fault = NULL;
    if (gopt_onnx_save(g, path, NULL) != GOPT_OK)
        *fault = "it cannot be exported";
    else if (gopt_onnx_load(g->cx, path, &again) != GOPT_OK || gi_verify(again) != GOPT_OK ||
             gi_infer_graph(again) != GOPT_OK)
        *fault = "what is exported cannot be imported";
    unlink(path);
    if (!*fault)
        return again;
    gopt_graph_destroy(again);
    return NULL;
}

static const char *back_from_onnx(gopt_graph *g, const char *folder, gi_arena *a)
{
    const char *fault, *path = gi_arena_printf(a, "%s/random.onnx", folder);
    gopt_graph *first = path ? through_onnx(g, path, &fault) : NULL, *second = NULL;
    if (!path)
        return "no memory";
    if (first)
        fault = compare(g, first, "exported and imported", a);
    if (first && !fault)
        second = through_onnx(first, path, &fault);
    if (second) {
        const char *one = print(first, false, a), *two = print(second, false, a);
        if (!one || !two || strcmp(one, two) != 0)
            fault = gi_arena_printf(a, "exported and imported twice it is another graph:%s",
                                    one && two ? difference(one, two, a) : "");
    }
    gopt_graph_destroy(first);
    gopt_graph_destroy(second);
    return fault;
}

const char *random_back(gopt_graph *g, const char *folder, gi_arena *a)
{
    const char *fault = back_from_text(g, a);
    return fault ? fault : back_from_onnx(g, folder, a);
}
