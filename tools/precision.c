/* What became of --precision: how many products run in bfloat16 or tf32, and why the others do not; the tactics counted. */
#include <stdlib.h>
#include <string.h>

#include "tool.h"

enum { MOST_REASONS = 8 };

typedef struct reason {
    char text[64];
    size_t n;
} reason;

static bool ends_in(const char *text, const char *end)
{
    const size_t n = text ? strlen(text) : 0, m = strlen(end);
    return n >= m && !strcmp(text + n - m, end);
}

static void count(reason *r, const char *text)
{
    char words[sizeof r->text];
    snprintf(words, sizeof words, "%.*s", text ? (int)strcspn(text, ":") : 0, text ? text : "");
    for (size_t i = 0; i < MOST_REASONS; i++)
        if (!r[i].n || !strcmp(r[i].text, words)) {
            snprintf(r[i].text, sizeof r[i].text, "%s", words);
            r[i].n++;
            return;
        }
}

static bool has(const char *text, const char *part)
{
    return text && strstr(text, part);
}

/* Products in tf32 are those with constant weights; the tactics of the others say how they run. */
static void print_tf32(const tool *t, gopt_run_context *rc)
{
    reason others[MOST_REASONS] = { 0 };
    size_t n = 0;
    const gopt_step_info *s;
    for (size_t i = 0; (s = gopt_run_context_step(rc, i)); i++) {
        const bool is = s->tactic && !strncmp(s->tactic, "tf32_", 5);
        n += is;
        if (!is && (has(s->op, "Conv") || has(s->op, "MatMul") || has(s->op, "Gemm")))
            count(others, s->tactic);
    }
    if (!n && !(t->o.precision && !strcmp(t->o.precision, "tf32")))
        return;
    say(t, "products: %zu in tf32", n);
    for (size_t i = 0; i < MOST_REASONS && others[i].n; i++)
        say(t, "%s%zu by %s", i ? ", " : "; in fp32 ", others[i].n, others[i].text);
    say(t, "\n");
}

void precision_print(const tool *t, gopt_run_context *rc)
{
    print_tf32(t, rc);
    reason why[MOST_REASONS] = { 0 };
    size_t in_bf16 = 0, split = 0, others = 0;
    const gopt_step_info *s;
    for (size_t i = 0; (s = gopt_run_context_step(rc, i)); i++) {
        in_bf16 += ends_in(s->tactic, "_bf16");
        split += ends_in(s->tactic, "_split");
        for (size_t k = 0; k < s->n_tactics; k++) {
            const gopt_tactic_info *a = &s->tactics[k];
            if (a->chosen || !ends_in(a->name, "_bf16") || (!a->why && !a->takes))
                continue;
            others++;
            count(why, a->takes ? "another tactic is faster" : a->why);
        }
    }
    if (!in_bf16 && !split && !others)
        return;
    say(t, "products: %zu in bf16, %zu in fp32 by several of bf16", in_bf16, split);
    for (size_t i = 0; i < MOST_REASONS && why[i].n; i++)
        say(t, "%s%zu not in bf16: %s", i ? ", " : "; ", why[i].n, why[i].text);
    say(t, "\n");
}

json_t *tactics_json(gopt_run_context *rc)
{
    json_t *o = json_object();
    const gopt_step_info *s;
    for (size_t i = 0; (s = gopt_run_context_step(rc, i)); i++)
        if (s->tactic) {
            const json_int_t n = json_integer_value(json_object_get(o, s->tactic));
            json_object_set_new(o, s->tactic, json_integer(n + 1));
        }
    return o;
}
