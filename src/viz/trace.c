/* A run as a Chrome trace, which Perfetto opens and ONNX Runtime's tools read as one of theirs.
 *
 *   tid 0  model_run ─ the steps, "NAME_kernel_time" of cat "Node" ─ in each, the nodes of its fusion by their shares
 *   tid 1  what the calling thread did of them          tid 2 …  what each worker did
 *
 * Events of one tid nest. Times are whole microseconds, as those tools print them by %d; both ends of an event are
 * rounded, so that what touched or lay inside still does. args.ms has the time as it was measured.
 *
 * ONNX Runtime's tools know no provider but those of its own, and stop at another: steps of other backends have none. */
#include <ctype.h>
#include <math.h>

#include "viz/json.h"
#include "viz/steps.h"

enum { TID_STEPS = 0, TID_THREADS = 1 };

typedef struct trace {
    gopt_ctx *cx;
    const gopt_run_profile *p;
    const gopt_step_times **ran; /* steps that ran, in the order in which they began */
    size_t n_ran;
    gi_arena *arena;
    json_t *events;
    bool failed;
} trace;

static void set(trace *t, json_t *object, const char *key, json_t *value)
{
    t->failed |= json_object_set_new(object, key, value) != 0;
}

static void set_text(trace *t, json_t *object, const char *key, const char *text)
{
    set(t, object, key, gi_json_text(t->cx, text));
}

static void set_count(trace *t, json_t *object, const char *key, uint64_t n)
{
    set(t, object, key, json_sprintf("%llu", (unsigned long long)n));
}

/* An event from start to end, in milliseconds; takes over args. */
static void add_event(trace *t, const char *cat, const char *name, int tid, double start, double end, json_t *args)
{
    const double from = round(1e3 * start), to = round(1e3 * fmax(start, end));
    json_t *e = json_object();
    set_text(t, e, "cat", cat);
    set(t, e, "pid", json_integer(1));
    set(t, e, "tid", json_integer(tid));
    set(t, e, "dur", json_integer((json_int_t)(to - from)));
    set(t, e, "ts", json_integer((json_int_t)from));
    set_text(t, e, "ph", "X");
    set_text(t, e, "name", name);
    set(t, e, "args", args);
    t->failed |= json_array_append_new(t->events, e) != 0;
}

static void name_thread(trace *t, int tid, const char *name)
{
    json_t *e = json_pack("{s:s, s:s, s:s, s:i, s:i, s:{s:s}}", "cat", "__metadata", "ph", "M", "name", "thread_name",
                          "pid", 1, "tid", tid, "args", "name", name);
    t->failed |= json_array_append_new(t->events, e) != 0;
}

/* ---- steps ---- */

/* {"float": [1, 64]} */
static json_t *shape_of(const gi_type *type)
{
    json_t *dims = json_array(), *j = json_object();
    char name[24] = "other";
    if (type && type->kind == GOPT_TENSOR) {
        const char *onnx = gi_dtype_onnx_name(type->dtype);
        size_t n = 0;
        for (; onnx[n] && n + 1 < sizeof name; n++)
            name[n] = (char)tolower((unsigned char)onnx[n]);
        name[n] = 0;
        for (int i = 0; i < type->rank; i++) {
            int64_t d;
            json_array_append_new(dims, json_integer(gi_type_dim_const(type, i, &d) ? (json_int_t)d : -1));
        }
    }
    json_object_set_new(j, name, dims);
    return j;
}

static void add_shapes(trace *t, json_t *args, const gi_node *n)
{
    json_t *in = json_array(), *out = json_array();
    gi_values reads = { 0 };
    t->failed |= !gi_step_reads(n, t->arena, &reads);
    for (size_t i = 0; i < reads.n; i++)
        json_array_append_new(in, shape_of(reads.p[i]->type));
    for (uint32_t i = 0; i < n->n_out; i++)
        json_array_append_new(out, shape_of(n->out[i]->type));
    set(t, args, "input_type_shape", in);
    set(t, args, "output_type_shape", out);
    const gi_node_bytes b = gi_node_bytes_of(n, &reads);
    set_count(t, args, "output_size", b.written);
    set_count(t, args, "parameter_size", b.weights);
    set_count(t, args, "activation_size", b.read);
}

static json_t *step_args(trace *t, size_t i)
{
    const gopt_step_times *m = &t->p->steps[i];
    const gopt_step_info *s = m->step;
    json_t *args = json_object(), *origins = json_array();
    for (size_t k = 0; k < s->n_origins; k++)
        json_array_append_new(origins, gi_json_text(t->cx, s->origins[k]));
    set_text(t, args, "op_name", s->op);
    if (s->backend && !strcmp(s->backend, "cpu"))
        set_text(t, args, "provider", "CPUExecutionProvider");
    if (s->node)
        add_shapes(t, args, s->node);
    set_count(t, args, "graph_index", i);
    set_text(t, args, "backend", s->backend);
    set_text(t, args, "tactic", s->tactic);
    set(t, args, "tactics", gi_json_tactics(t->cx, s));
    set(t, args, "origins", origins);
    set(t, args, "ms", json_real(m->ms));
    set(t, args, "median_ms", json_real(m->median_ms));
    set(t, args, "gflop", json_real(s->gflop));
    set(t, args, "bytes", json_integer((json_int_t)s->bytes));
    if (s->device_clock)
        set(t, args, "clock", json_string("device"));
    if (t->p->ceilings)
        set(t, args, "floor_ms", json_real(gopt_step_floor_ms(t->p->ceilings, s)));
    if (s->reason)
        set_text(t, args, "reason", s->reason);
    if (s->region)
        set_text(t, args, "region", s->region);
    if (s->fp32)
        set_text(t, args, "fp32", s->fp32);
    return args;
}

/* The nodes of a fusion, one after the other: how the step's time is shared out, not how it was spent. */
static gopt_status add_parts(trace *t, const gopt_step_times *m)
{
    gi_part *parts;
    size_t n;
    GI_TRY(gi_step_parts(m->step->node, t->arena, &parts, &n));
    double at = m->start_ms;
    for (size_t i = 0; n > 1 && i < n; i++) {
        const gi_node *node = parts[i].node;
        json_t *args = json_object(), *origins = json_array();
        for (uint32_t k = 0; k < node->n_origins; k++)
            json_array_append_new(origins, gi_json_text(t->cx, node->origins[k]));
        set_text(t, args, "op_name", gi_op_text(t->arena, node));
        set(t, args, "share", json_real(parts[i].share));
        set(t, args, "ms", json_real(m->ms * parts[i].share));
        set(t, args, "origins", origins);
        const double end = i + 1 < n ? at + m->whole_ms * parts[i].share : m->start_ms + m->whole_ms;
        add_event(t, "Part", node->name ? node->name : gi_op_text(t->arena, node), TID_STEPS, at, end, args);
        at = end;
    }
    return GOPT_OK;
}

/* The whole run: what its steps took, the rest, and what their floors stand on. */
static json_t *run_args(const trace *t)
{
    const gopt_ceilings *c = t->p->ceilings;
    json_t *args = json_pack("{s:f, s:f}", "steps_ms", t->p->run_ms - t->p->rest_ms, "rest_ms", t->p->rest_ms);
    if (args && c)
        json_object_set_new(args, "ceilings",
                            json_pack("{s:f, s:f, s:f, s:f, s:f}", "gflops", c->gflops, "memory_gbytes",
                                      c->memory_gbytes, "cache_gbytes", c->cache_gbytes, "cache_bytes", c->cache_bytes,
                                      "launch_ms", c->launch_ms));
    return args;
}

static gopt_status add_steps(trace *t)
{
    for (size_t i = 0; i < t->p->n_steps; i++) {
        const gopt_step_times *m = &t->p->steps[i];
        const char *name = gi_arena_printf(t->arena, "%s_kernel_time", m->step->name ? m->step->name : "");
        GI_NEED(name);
        add_event(t, "Node", name, TID_STEPS, m->start_ms, m->start_ms + m->whole_ms, step_args(t, i));
        if (m->step->node && m->step->node->op == OP_Fusion)
            GI_TRY(add_parts(t, m));
        gi_arena_reset(t->arena);
    }
    return GOPT_OK;
}

/* ---- threads ---- */

/* Steps stand in the order in which they begin, but for those of a branch that was not taken. */
static gopt_status list_what_ran(trace *t)
{
    GI_NEED(t->ran = gi_alloc(t->cx, (t->p->n_steps + 1) * sizeof *t->ran));
    for (size_t i = 0; i < t->p->n_steps; i++)
        if (t->p->steps[i].whole_ms > 0)
            t->ran[t->n_ran++] = &t->p->steps[i];
    return GOPT_OK;
}

/* The step within which something began: of those that it lies in, the last to begin. */
static const gopt_step_info *step_at(const trace *t, double start)
{
    size_t low = 0, high = t->n_ran;
    while (low < high) {
        const size_t mid = low + (high - low) / 2;
        if (t->ran[mid]->start_ms <= start)
            low = mid + 1;
        else
            high = mid;
    }
    for (size_t i = low; i-- > 0;)
        if (start < t->ran[i]->start_ms + t->ran[i]->whole_ms)
            return t->ran[i]->step;
    return NULL;
}

static void add_shares(trace *t)
{
    int most = -1;
    for (size_t i = 0; i < t->p->n_shares; i++) {
        const gopt_share_info *s = &t->p->shares[i];
        const gopt_step_info *step = step_at(t, s->start_ms);
        json_t *args = json_object();
        set(t, args, "ms", json_real(s->ms));
        set_text(t, args, "step", step ? step->name : "");
        add_event(t, "Share", step ? step->op : "work", TID_THREADS + s->thread, s->start_ms, s->start_ms + s->ms,
                  args);
        most = s->thread > most ? s->thread : most;
    }
    name_thread(t, TID_STEPS, "steps");
    for (int i = 0; i <= most; i++) {
        char name[32];
        snprintf(name, sizeof name, i ? "worker %d" : "calling thread", i);
        name_thread(t, TID_THREADS + i, name);
    }
}

gopt_status gopt_trace_save(gopt_ctx *cx, const gopt_run_profile *p, const char *path)
{
    trace t = { .cx = cx, .p = p, .arena = gi_arena_create(cx), .events = json_array() };
    gopt_status s = t.arena && t.events ? GOPT_OK : GOPT_NO_MEMORY;
    if (s == GOPT_OK) {
        add_event(&t, "Session", "model_run", TID_STEPS, 0, p->run_ms, run_args(&t));
        s = add_steps(&t);
    }
    if (s == GOPT_OK)
        s = list_what_ran(&t);
    if (s == GOPT_OK)
        add_shares(&t);
    gi_free(cx, t.ran);
    gi_arena_destroy(t.arena);
    if (s != GOPT_OK || t.failed) {
        json_decref(t.events);
        return s != GOPT_OK ? s : GOPT_NO_MEMORY;
    }
    return gi_json_save(cx, path, t.events);
}
