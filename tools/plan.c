/* Plan files: run from one, written after building, looked at, and held against what they answered when built. */
#include <stdlib.h>
#include <string.h>

#include "tool.h"

/* A plan is as it was built: what would build it otherwise is refused instead of having no effect. */
static gopt_status refuse_building(tool *t)
{
    const options *o = &t->o;
    const struct {
        bool given;
        const char *name;
    } all[] = { { o->level >= 0, "level" },
                { o->fp != NULL, "fp" },
                { o->passes != NULL, "passes" },
                { o->skip != NULL, "skip" },
                { o->no_fuse, "no-fuse" },
                { o->worth, "worth" },
                { o->tune, "tune" },
                { o->timing_cache != NULL, "timing-cache" },
                { o->tactics != NULL, "tactics" },
                { o->calibrate != NULL, "calibrate" },
                { o->keep_fp32 != NULL, "keep-fp32" },
                { o->workspace != 0, "workspace" },
                { o->shapes.n != 0, "shape" },
                { o->dims.n != 0, "dim" },
                { o->html != NULL, "html" },
                { o->remarks != NULL, "remarks" },
                { o->stats, "stats" },
                { o->dump_dir != NULL, "dump-dir" },
                { o->plan != NULL, "plan" } };
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        if (all[i].given)
            return tool_fail(t, GOPT_USAGE, tool_model(t), "give it when the plan is built: gopt run MODEL --plan FILE",
                             "--%s has no effect on a plan, which is built already", all[i].name);
    return GOPT_OK;
}

gopt_status plan_load(tool *t, const gopt_engine_options *o, gopt_plan **p, gopt_engine **e, double *ms)
{
    const double start = now_seconds();
    gopt_engine_options own = *o;
    TRY(refuse_building(t));
    own.backend = t->o.backend; /* as the plan says, where none is asked for */
    TRY(gopt_plan_open(t->cx, tool_model(t), p));
    TRY(gopt_plan_engine(*p, &own, e));
    *ms = 1e3 * (now_seconds() - start);
    return GOPT_OK;
}

/* Does the network run on these inputs? One that takes a rate or a mode may refuse random ones. */
static bool runs_on(tool *t, gopt_engine *e, gopt_tensor *const *in, size_t n)
{
    gopt_run_context *rc = NULL;
    gopt_status s = gopt_run_context_create(e, &rc);
    for (size_t i = 0; i < n && s == GOPT_OK; i++)
        s = gopt_run_context_set_input(rc, i, in[i]);
    if (s == GOPT_OK)
        s = gopt_run(rc);
    gopt_run_context_destroy(rc);
    if (s != GOPT_OK)
        tool_forget(t);
    return s == GOPT_OK;
}

gopt_status plan_write(tool *t, gopt_engine *e, gopt_graph *g, gopt_tensor *const *ran)
{
    gopt_tensor **in = NULL;
    size_t n = 0;
    const options given = t->o; /* the fingerprint is of random inputs: nobody's pictures go into the file */
    t->o.inputs = (strings){ 0 };
    t->o.inputs_dir = NULL;
    gopt_status s = inputs_make(t, g, NULL, &in, &n);
    t->o = given;
    if (s != GOPT_OK) { /* sequences and strings have no random ones */
        tool_forget(t);
        in = NULL;
        n = 0;
    }
    gopt_tensor *const *used = in;
    if (in && (given.inputs.n || given.inputs_dir || given.test_data) && !runs_on(t, e, in, n)) {
        tool_note(t, NULL, "the network refuses random inputs: the plan holds those of this run for --verify");
        used = ran;
    }
    progress *p = progress_start(t, "writing the plan");
    s = gopt_plan_save(e, t->o.plan, (const gopt_tensor *const *)used);
    progress_stop(p);
    tensors_free(in, n);
    return s;
}

gopt_status plan_check(tool *t, gopt_plan *p, gopt_engine *e)
{
    gopt_plan_verdict v;
    TRY(gopt_plan_verify(p, e, t->o.rtol > 0 ? t->o.rtol : 0, &v));
    if (v.same_bits)
        say(t, "  %sright%s  the same answers as where the plan was built, bit for bit\n", green(t), plain(t));
    else
        say(t, "  %sright%s  the answers of where the plan was built, to %.2g of their spread\n", green(t), plain(t),
            v.worst);
    return GOPT_OK;
}

/* ---- inspect ---- */

static bool is_shown(const char *name)
{
    return strcmp(name, "fp") != 0 && strcmp(name, "asked") != 0;
}

static void print_steps(const tool *t, const gopt_plan *p)
{
    gopt_plan_step s;
    printf("\n%s  %5s  %-22s %9s  %-28s %s%s\n", dim(t), "step", "tactic", "packed", "operators", "name", plain(t));
    for (size_t i = 0; gopt_plan_get_step(p, i, &s); i++)
        printf("  %5zu  %-*s:%d %9s  %-28s %s\n", i, 20, s.tactic, s.variant,
               s.packed_bytes ? bytes_text(s.packed_bytes).p : "", s.op, s.name);
}

void plan_print(const tool *t, const gopt_plan *p)
{
    const gopt_plan_sizes z = gopt_plan_get_sizes(p);
    printf("%sa built plan%s of %s: %zu steps\n", bold(t), plain(t), bytes_text(z.file).p, z.steps);
    const gopt_plan_fact *f;
    for (size_t i = 0; (f = gopt_plan_get_fact(p, i)) != NULL; i++)
        if (is_shown(f->name))
            printf("  %s%-16s%s %s\n", dim(t), f->name, plain(t), f->value);
    printf("  %s%-16s%s %zu of %s packed", dim(t), "holds", plain(t), z.n_packs, bytes_text(z.packed).p);
    printf(", %zu weights of %s as they are", z.n_weights, bytes_text(z.weights).p);
    if (z.programs)
        printf(", %s of the device's programs and choices", bytes_text(z.programs).p);
    printf(", %s of graph\n", bytes_text(z.graph).p);
    printf("  %s%-16s%s %s\n", dim(t), "fingerprint", plain(t),
           gopt_plan_input(p, 0) ? "random inputs and their answers: gopt run FILE --verify" : "none");
    if (t->o.nodes)
        print_steps(t, p);
    putchar('\n');
}

json_t *plan_json(const gopt_plan *p)
{
    const gopt_plan_sizes z = gopt_plan_get_sizes(p);
    json_t *j = json_object(), *facts = json_object(), *steps = json_array();
    const gopt_plan_fact *f;
    for (size_t i = 0; (f = gopt_plan_get_fact(p, i)) != NULL; i++)
        json_object_set_new(facts, f->name, json_text(f->value));
    gopt_plan_step s;
    for (size_t i = 0; gopt_plan_get_step(p, i, &s); i++) {
        json_t *o = json_object();
        json_object_set_new(o, "name", json_text(s.name));
        json_object_set_new(o, "op", json_text(s.op));
        json_object_set_new(o, "backend", json_text(s.backend));
        json_object_set_new(o, "tactic", json_text(s.tactic));
        json_object_set_new(o, "variant", json_integer(s.variant));
        json_object_set_new(o, "packed_bytes", json_integer((json_int_t)s.packed_bytes));
        json_array_append_new(steps, o);
    }
    json_object_set_new(j, "facts", facts);
    json_object_set_new(j, "file_bytes", json_integer((json_int_t)z.file));
    json_object_set_new(j, "packed_bytes", json_integer((json_int_t)z.packed));
    json_object_set_new(j, "weight_bytes", json_integer((json_int_t)z.weights));
    json_object_set_new(j, "program_bytes", json_integer((json_int_t)z.programs));
    json_object_set_new(j, "fingerprint", json_boolean(gopt_plan_input(p, 0) != NULL));
    json_object_set_new(j, "steps", steps);
    return j;
}
