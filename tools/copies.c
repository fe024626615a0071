/* What copies to and from a device cost a run, and what to change where they take longer than computing. */
#include <stdlib.h>
#include <string.h>

#include "tool.h"

/* One direction. */
typedef struct way {
    const char *tactic, *key;
    double ms; /* median */
    uint64_t bytes;
    size_t n;
    /* the largest copy */
    const char *name;
    uint64_t most;
} way;

static void look(gopt_run_context *rc, way *w)
{
    const gopt_step_info *s;
    for (size_t i = 0; (s = gopt_run_context_step(rc, i)) != NULL; i++) {
        if (strcmp(s->op, "copy") != 0 || strcmp(s->tactic, w->tactic) != 0)
            continue;
        const uint64_t bytes = s->bytes / 2; /* read, and written */
        w->n++;
        w->bytes += bytes;
        if (!w->name || bytes > w->most) {
            w->name = s->name;
            w->most = bytes;
        }
    }
}

static double rate(const way *w)
{
    return w->ms > 0 ? (double)w->bytes / w->ms * 1e-6 : 0;
}

static void advise(json_t *advice, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void advise(json_t *advice, const char *fmt, ...)
{
    char text[512];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    json_array_append_new(advice, json_text(text));
}

static const gopt_value *find_port(const gopt_graph *g, bool input, const char *name)
{
    const size_t n = input ? gopt_graph_input_count(g) : gopt_graph_output_count(g);
    for (size_t i = 0; i < n; i++)
        if (!strcmp(input ? gopt_graph_input_name(g, i) : gopt_graph_output_name(g, i), name))
            return input ? gopt_graph_get_input(g, i) : gopt_graph_get_output(g, i);
    return NULL;
}

/* Smaller elements for the input that most bytes are of. */
static void advise_input(json_t *advice, const gopt_graph *g, const way *up)
{
    const gopt_value *v = up->name ? find_port(g, true, up->name) : NULL;
    const int bits = v ? gopt_dtype_bits(gopt_value_dtype(v)) : 0;
    char type[256];
    if (!v)
        return;
    gopt_value_type_text(v, type, sizeof type);
    switch (gopt_value_dtype(v)) {
    case GOPT_F32:
    case GOPT_F64:
        advise(
            advice,
            "input %s, %s, is %s of the %s that go to the device: give it as u8 where it is pictures, with Cast, Sub "
            "and Mul at the start of the graph in place of normalizing outside, and it is %s; as f16, %s",
            up->name, type, bytes_text(up->most).p, bytes_text(up->bytes).p,
            bytes_text(up->most * 8 / (uint64_t)bits).p, bytes_text(up->most * 16 / (uint64_t)bits).p);
        break;
    case GOPT_F16:
    case GOPT_BF16:
        advise(
            advice,
            "input %s, %s, is %s of the %s that go to the device: give it as u8 where it is pictures, with Cast, Sub "
            "and Mul at the start of the graph, and it is half",
            up->name, type, bytes_text(up->most).p, bytes_text(up->bytes).p);
        break;
    case GOPT_I64:
    case GOPT_U64:
        advise(advice,
               "input %s, %s, is %s of the %s that go to the device: give it as i32, with a Cast at the start of the "
               "graph, and it is half",
               up->name, type, bytes_text(up->most).p, bytes_text(up->bytes).p);
        break;
    default:
        break;
    }
}

static void advise_output(json_t *advice, const gopt_graph *g, const way *down)
{
    const gopt_value *v = down->name ? find_port(g, false, down->name) : NULL;
    char type[256];
    if (!v)
        return;
    gopt_value_type_text(v, type, sizeof type);
    advise(advice,
           "output %s, %s, is %s of the %s that come back: let the graph end in what is wanted of it (ArgMax, TopK, "
           "Slice, "
           "a Cast to f16 or u8 run on the device), or leave out outputs that nobody reads (gopt optimize "
           "--extract-output NAME)",
           down->name, type, bytes_text(down->most).p, bytes_text(down->bytes).p);
}

/* Copies of values that are no inputs or outputs: some steps between run on the cpu. */
static void advise_borders(json_t *advice, const gopt_graph *g, gopt_run_context *rc)
{
    const gopt_step_info *s;
    uint64_t bytes = 0;
    size_t n = 0;
    for (size_t i = 0; (s = gopt_run_context_step(rc, i)) != NULL; i++) {
        const bool up = !strcmp(s->tactic, "upload");
        if (strcmp(s->op, "copy") != 0 || (!up && strcmp(s->tactic, "download") != 0) || find_port(g, up, s->name))
            continue;
        n++;
        bytes += s->bytes / 2;
    }
    if (n)
        advise(advice,
               "%zu of the copies, %s, lie between steps of the device and steps that the cpu runs: --profile - says "
               "which these are and why",
               n, bytes_text(bytes).p);
}

json_t *copies_json(const gopt_graph *g, gopt_run_context *rc, const timing *m, size_t n_streams)
{
    enum { SMALL = 1 << 20 };
    way w[2] = { { .tactic = "upload", .key = "h2d", .ms = m->h2d.median },
                 { .tactic = "download", .key = "d2h", .ms = m->d2h.median } };
    const double copying = w[0].ms + w[1].ms;
    json_t *j = json_object(), *advice = json_array();
    for (int k = 0; k < 2; k++) {
        look(rc, &w[k]);
        json_object_set_new(j, w[k].key,
                            json_pack("{s:I, s:I, s:f}", "copies", (json_int_t)w[k].n, "bytes", (json_int_t)w[k].bytes,
                                      "gb_per_s", rate(&w[k])));
    }
    if (m->n > 1 && m->compute.median > 0 && copying > m->compute.median) {
        char text[512];
        snprintf(
            text, sizeof text,
            "copying takes longer than computing: %.3g ms to the device (%s, %.3g GB/s) and %.3g ms back (%s, %.3g "
            "GB/s) beside %.3g ms",
            w[0].ms, bytes_text(w[0].bytes).p, rate(&w[0]), w[1].ms, bytes_text(w[1].bytes).p, rate(&w[1]),
            m->compute.median);
        json_object_set_new(j, "warning", json_text(text));
        if (3 * w[0].ms > copying)
            advise_input(advice, g, &w[0]);
        if (3 * w[1].ms > copying)
            advise_output(advice, g, &w[1]);
        advise_borders(advice, g, rc);
        if (w[0].bytes + w[1].bytes < SMALL)
            advise(advice,
                   "a larger batch (--shape, --dim): copies of so few bytes are their start more than their bytes");
        if (n_streams < 2)
            advise(advice, "--streams 2 copies for one run while another one computes");
    } else {
        json_object_set_new(j, "warning", json_null());
    }
    json_object_set_new(j, "advice", advice);
    if (w[0].n + w[1].n)
        return j;
    json_decref(j);
    return NULL;
}

void copies_warn(tool *t, const json_t *copies)
{
    const char *warning = json_string_value(json_object_get(copies, "warning"));
    const json_t *advice = json_object_get(copies, "advice");
    char *hint = NULL;
    for (size_t i = 0; warning && i < json_array_size(advice); i++) {
        char *longer =
            text_of("%s%s%s", hint ? hint : "", hint ? "; " : "", json_string_value(json_array_get(advice, i)));
        free(hint);
        hint = longer;
    }
    if (warning)
        tool_warn(t, hint, "%s", warning);
    free(hint);
}
