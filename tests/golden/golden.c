/* Runs golden cases: a .gir file that says how to run it, the graph, and what is expected.
 *
 *   ; What the case shows.
 *   ; RUN: optimize --passes=dce --remarks
 *   graph (%x: f32[2]) { … }
 *   ; ---- expected:
 *   ; graph (%x: f32[2]) { … }
 *   ; applied dead_node at %y: nobody reads it
 *
 * `; ---- expected: unchanged` stands for the graph as it was. RUN lines: `optimize` with --passes= --skip=
 * --level= --fp=strict|fast --opset= --emit=onnx|ort --rewrite-limit= --fuse --remarks --types; `infer` (types shown);
 * `error` (reading fails, its diagnostics are the expectation). After every `optimize` the graph is verified,
 * optimized again (nothing may change), and evaluated before and after on random and special inputs of several
 * sizes: the answers must agree as exactly as the rules that were applied promise (proof/proof.h).
 * --again=changes and --eval=off switch the last two off for a case that says why.
 *
 * UPDATE_GOLDEN=1 rewrites the expectation; not where CI is set, and not where a check fails.
 *
 *   golden FOLDER-OR-FILE... */
#include <stdio.h>
#include <stdlib.h>

#include "golden/case.h"
#include "proof/proof.h"

typedef struct result {
    int passed, failed, updated;
} result;

static void add_commented(gi_str *s, const char *text)
{
    for (const char *p = text; *p;) {
        const char *end = strchr(p, '\n');
        const size_t n = end ? (size_t)(end - p) : strlen(p);
        gi_str_add(s, n ? "; " : ";");
        gi_str_addn(s, p, n);
        gi_str_add(s, "\n");
        p += n + (end != NULL);
    }
}

static void add_remarks(gi_str *s, const gopt_report *report)
{
    const gopt_report_summary *sum = gopt_report_get(report);
    static const char *const kinds[] = { "applied", "declined", "analysis" };
    for (size_t i = 0; i < sum->n_remarks; i++) {
        const gopt_remark *r = &sum->remarks[i];
        gi_str_addf(s, "; %s %s at %s%s%s\n", kinds[r->kind], r->rule ? r->rule : r->pass, r->at ? r->at : "?",
                    r->reason ? ": " : "", r->reason ? r->reason : "");
    }
}

static gopt_status graph_text(gopt_graph *g, bool types, gi_arena *a, gi_str *s)
{
    gi_str_init(s, a);
    return gi_print(g, &(gi_print_options){ .types = types }, s);
}

/* NULL where the answers agree. */
static const char *compare_answers(gopt_graph *before, gopt_graph *after, const gopt_report *report,
                                   const gopt_optimize_options *o, gi_arena *a)
{
    gi_str why;
    gi_str_init(&why, a);
    const proof_promise promise = proof_promised(report, o);
    static const char *const names[] = { "BITWISE", "REASSOC", "FINITE" };
    switch (prove(before, after, promise, 1, &why)) {
    case PROOF_SAME:
        return NULL;
    case PROOF_VOID:
        return "the graph as it stands cannot be evaluated";
    default:
        return gi_arena_printf(a, "the answers differ before and after, which is %s: %s", names[promise.exact], why.p);
    }
}

/* What the case gives, as it should stand behind the mark; NULL and a reason where a check fails. */
static const char *give(gopt_ctx *cx, gi_arena *a, const char *path, const golden_case *c, const char **why)
{
    gopt_graph *g = NULL, *before = NULL;
    gopt_report *report = NULL;
    const golden_run *r = &c->run;
    gi_str out, was, now;
    gi_str_init(&out, a);
    gopt_status st = golden_graph(cx, path, c, &g);
    if (r->error) {
        if (st == GOPT_OK)
            *why = "it reads without an error";
        gi_str_addf(&out, "%s\n", GOLDEN_MARK);
        for (size_t i = 0; i < gopt_diag_count(cx); i++) {
            char line[2000];
            gopt_diag_format(gopt_diag_get(cx, i), line, sizeof line);
            add_commented(&out, line);
        }
        gopt_graph_destroy(g);
        return out.p;
    }
    if (st != GOPT_OK) {
        *why = "the graph cannot be read";
        gopt_graph_destroy(g);
        return NULL;
    }
    if (r->infer) {
        st = graph_text(g, true, a, &now);
        gi_str_addf(&out, "%s\n", GOLDEN_MARK);
        add_commented(&out, now.p);
        gopt_graph_destroy(g);
        return out.p;
    }
    if (gopt_graph_clone(g, &before) != GOPT_OK || graph_text(g, r->types, a, &was) != GOPT_OK)
        *why = "no memory";
    else if (gopt_optimize(g, &r->o, &report) != GOPT_OK)
        *why = "the passes failed";
    else if (gi_verify(g) != GOPT_OK)
        *why = "the verifier finds faults afterwards";
    else if (!r->no_eval)
        *why = compare_answers(before, g, report, &r->o, a);
    if (!*why && graph_text(g, r->types, a, &now) == GOPT_OK) {
        if (!strcmp(was.p, now.p)) {
            gi_str_addf(&out, "%s unchanged\n", GOLDEN_MARK);
        } else {
            gi_str_addf(&out, "%s\n", GOLDEN_MARK);
            add_commented(&out, now.p);
        }
        if (r->remarks)
            add_remarks(&out, report);
        gi_str again;
        if (!r->again_changes && !r->o.rewrite_limit &&
            (gopt_optimize(g, &r->o, NULL) != GOPT_OK || graph_text(g, r->types, a, &again) != GOPT_OK ||
             strcmp(again.p, now.p) != 0))
            *why = "a second run changes the graph again";
    }
    gopt_report_destroy(report);
    gopt_graph_destroy(before);
    gopt_graph_destroy(g);
    return *why ? NULL : out.p;
}

static void show_difference(const char *want, const char *got)
{
    printf("---- expected\n%s---- found\n%s", want, got);
}

static void run_case(void *arg, const char *path)
{
    result *res = arg;
    gopt_ctx *cx = proof_ctx();
    gi_arena *a = gi_arena_create(cx);
    golden_case c = { 0 };
    const char *got = NULL, *why = golden_read(cx, a, path, &c);
    if (!why)
        got = give(cx, a, path, &c, &why);
    if (!why && strcmp(got, c.want) != 0) {
        if (getenv("UPDATE_GOLDEN") && !getenv("CI")) {
            char *whole = gi_arena_printf(a, "%.*s%s", (int)c.head, c.text, got);
            if (gi_file_write(cx, path, whole, strlen(whole)) == GOPT_OK)
                res->updated++;
        } else {
            show_difference(c.want, got);
            why = "what it gives differs";
        }
    }
    if (why) {
        printf("FAILED %s: %s\n", path, why);
        gopt_diag_print(cx, stdout, false);
        res->failed++;
    } else {
        res->passed++;
    }
    gi_arena_destroy(a);
    gopt_ctx_destroy(cx);
}

int main(int argc, char **argv)
{
    result res = { 0 };
    for (int i = 1; i < argc; i++)
        if (!golden_each(argv[i], run_case, &res)) {
            printf("FAILED %s: cannot be read\n", argv[i]);
            res.failed++;
        }
    if (res.updated)
        printf("%d rewritten\n", res.updated);
    printf("%d passed, %d failed\n", res.passed, res.failed);
    return res.failed || !res.passed;
}
