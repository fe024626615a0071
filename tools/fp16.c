/* What stays in fp32 in a run of --precision fp16: --calibrate, --keep-fp32, the remarks on both and on weights, and the
 * warning where a run shows that something should have. */
#include <dirent.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "tool.h"

gopt_status fp16_check(tool *t)
{
    const options *o = &t->o;
    const char *name = o->calibrate ? "--calibrate" : o->keep_fp32 ? "--keep-fp32" : NULL;
    if (name && !gopt_is_plan(tool_model(t)) && (!o->precision || strcmp(o->precision, "fp16") != 0))
        return tool_fail(t, GOPT_USAGE, NULL, "give --precision fp16, or leave it out",
                         "%s is for runs in fp16, and this one is in %s", name, o->precision ? o->precision : "fp32");
    return GOPT_OK;
}

/* ---- --keep-fp32 ---- */

/* The next name of "A,B"; NULL at the end. Freed by the caller. */
static char *next_name(const char **list)
{
    while (**list == ',')
        ++*list;
    const size_t n = strcspn(*list, ",");
    char *name = n ? strndup(*list, n) : NULL;
    *list += n;
    return name;
}

static gopt_status unknown_name(tool *t, const gopt_graph *g, const char *name)
{
    const size_t most = gopt_graph_node_count(g);
    const char **known = calloc(2 * most + 1, sizeof *known);
    size_t n = 0;
    if (!known)
        return tool_no_memory(t);
    for (const gopt_node *k = gopt_graph_first_node(g); k && n < 2 * most; k = gopt_node_next(k)) {
        if (gopt_node_name(k))
            known[n++] = gopt_node_name(k);
        if (gopt_node_output(k, 0) && gopt_value_name(gopt_node_output(k, 0)))
            known[n++] = gopt_value_name(gopt_node_output(k, 0));
    }
    const char *near = nearest(name, known, n);
    char *hint = near ? text_of("did you mean %s?", near) : text_of("`gopt inspect MODEL --nodes` lists the names");
    free(known);
    const gopt_status s =
        tool_fail(t, GOPT_USAGE, tool_model(t), hint, "--keep-fp32: no node or tensor is called '%s'", name);
    free(hint);
    return s;
}

gopt_status fp16_check_names(tool *t, const gopt_graph *g)
{
    const char *list = t->o.keep_fp32;
    for (char *name; list && (name = next_name(&list));) {
        const gopt_node *n = gopt_graph_first_node(g);
        while (n && !gopt_node_is_called(n, name))
            n = gopt_node_next(n);
        const gopt_status s = n ? GOPT_OK : unknown_name(t, g, name);
        free(name);
        TRY(s);
    }
    return GOPT_OK;
}

static gopt_status mark_named(tool *t, gopt_graph *g)
{
    const char *list = t->o.keep_fp32;
    for (char *name; list && (name = next_name(&list));) {
        bool any = false;
        gopt_status s = GOPT_OK;
        for (gopt_node *n = gopt_graph_first_node(g); n && s == GOPT_OK; n = gopt_node_next(n))
            if (gopt_node_is_called(n, name)) {
                any = true;
                s = gopt_node_keep_fp32(n, "--keep-fp32 names it");
            }
        if (!any)
            tool_note(t, "`--remarks` says what became of it", "--keep-fp32: nothing is left of '%s' to be kept", name);
        free(name);
        TRY(s);
    }
    return GOPT_OK;
}

/* ---- --calibrate ---- */

typedef struct calibration {
    tool *t;
    gopt_graph *g;
    gopt_ranges *ranges;
    size_t samples;
} calibration;

static gopt_status add(calibration *c, const char *path)
{
    gopt_tensor **in;
    size_t n;
    TRY(inputs_sample(c->t, c->g, path, &in, &n));
    const gopt_status s = gopt_ranges_add(c->ranges, (const gopt_tensor *const *)in);
    tensors_free(in, n);
    c->samples += s == GOPT_OK;
    return s;
}

static bool is_folder(const char *path)
{
    struct stat st;
    return !stat(path, &st) && S_ISDIR(st.st_mode);
}

/* The entries of a folder that are samples: its folders, or where it has none its files. */
static gopt_status add_entries(calibration *c, const char *dir)
{
    struct dirent **all;
    const int n = scandir(dir, &all, NULL, alphasort);
    gopt_status s = GOPT_OK;
    if (n < 0)
        return tool_fail(c->t, GOPT_BAD_INPUT, dir, NULL, "cannot be read");
    for (int files = 0; files < 2 && !c->samples; files++)
        for (int i = 0; i < n && s == GOPT_OK; i++) {
            char *path = all[i]->d_name[0] == '.' ? NULL : text_of("%s/%s", dir, all[i]->d_name);
            if (path && (files ? is_tensor_file(path) && !is_folder(path) : is_folder(path)))
                s = add(c, path);
            free(path);
        }
    for (int i = 0; i < n; i++)
        free(all[i]);
    free(all);
    if (s == GOPT_OK && !c->samples)
        return tool_fail(c->t, GOPT_BAD_INPUT, dir,
                         "give a .npz or a folder with a file for each input, or a folder of many of these",
                         "holds no sample to calibrate with");
    return s;
}

static gopt_status add_all(calibration *c, gopt_tensor *const *in)
{
    const char *path = c->t->o.calibrate;
    if (!*path) {
        c->samples = 1;
        if (!c->t->o.inputs.n && !c->t->o.inputs_dir && !c->t->o.test_data)
            tool_note(c->t, "give real ones with --calibrate=PATH, or as inputs of the run",
                      "calibrated with random inputs");
        return gopt_ranges_add(c->ranges, (const gopt_tensor *const *)in);
    }
    return is_folder(path) && !is_sample_folder(c->g, path) ? add_entries(c, path) : add(c, path);
}

/* Not what halves lose, but what the network does by itself on what it was given. */
static void check_results(const calibration *c)
{
    gopt_range r;
    for (size_t i = 0; gopt_ranges_get(c->ranges, i, &r); i++)
        for (size_t k = 0; k < gopt_graph_output_count(c->g) && !r.finite; k++)
            if (gopt_graph_get_output(c->g, k) == r.value)
                tool_warn(c->t, NULL, "calibrating: output %s holds infinities or NaN in fp32 already",
                          gopt_graph_output_name(c->g, k));
}

static gopt_status calibrate(tool *t, gopt_graph *g, const gopt_engine_options *o, gopt_tensor *const *in,
                             size_t *samples)
{
    calibration c = { .t = t, .g = g };
    progress *p = progress_start(t, "calibrating");
    gopt_status s = gopt_ranges_create(g, o, &c.ranges);
    if (s == GOPT_OK)
        s = add_all(&c, in);
    progress_stop(p);
    if (s == GOPT_OK)
        check_results(&c);
    if (s == GOPT_OK)
        s = gopt_ranges_keep(c.ranges, NULL);
    gopt_ranges_destroy(c.ranges);
    *samples = c.samples;
    return s;
}

gopt_status fp16_keep(tool *t, gopt_graph *g, const gopt_engine_options *o, gopt_tensor *const *in, size_t *samples)
{
    if (t->o.calibrate)
        TRY(calibrate(t, g, o, in, samples));
    return mark_named(t, g);
}

/* ---- what came of it ---- */

void fp16_print_remarks(tool *t, gopt_run_context *rc)
{
    const gopt_step_info *s;
    size_t n = 0;
    while (gopt_run_context_step(rc, n))
        n++;
    gopt_remark *all = calloc(n + 1, sizeof *all);
    gopt_report_summary list = { .remarks = all };
    for (size_t i = 0; all && (s = gopt_run_context_step(rc, i)); i++)
        if (s->fp32)
            all[list.n_remarks++] = (gopt_remark){ .kind = GOPT_DECLINED,
                                                   .pass = "build",
                                                   .rule = "fp16",
                                                   .at = s->n_origins ? s->origins[0] : s->name,
                                                   .nodes = s->origins,
                                                   .n_nodes = s->n_origins,
                                                   .reason = s->fp32 };
    if (all)
        tool_print_remarks(t, &list);
    free(all);
}

json_t *fp16_json(gopt_run_context *rc)
{
    json_t *a = json_array();
    const gopt_step_info *s;
    for (size_t i = 0; (s = gopt_run_context_step(rc, i)); i++) {
        if (!s->fp32)
            continue;
        json_t *o = json_object(), *nodes = json_array();
        for (size_t k = 0; k < s->n_origins; k++)
            json_array_append_new(nodes, json_text(s->origins[k]));
        json_object_set_new(o, "name", json_text(s->name));
        json_object_set_new(o, "op", json_text(s->op));
        json_object_set_new(o, "nodes", nodes);
        json_object_set_new(o, "reason", json_text(s->fp32));
        json_array_append_new(a, o);
    }
    return a;
}

/* Elements of a tensor of floats that are infinite or NaN. */
static int64_t not_finite(const gopt_tensor *x)
{
    int64_t n = 0;
    if (!x || x->kind != GOPT_TENSOR || (x->dtype != GOPT_F32 && x->dtype != GOPT_F16))
        return 0;
    for (int64_t i = 0; i < gopt_tensor_elements(x); i++)
        n += !isfinite(gopt_tensor_get_f64(x, i));
    return n;
}

void fp16_check_outputs(tool *t, gopt_engine *e, gopt_run_context *rc, gopt_tensor *const *in, size_t n_in)
{
    const gopt_engine_info *info = gopt_engine_get_info(e);
    const gopt_graph *g = gopt_engine_graph(e);
    if (!info->precision || strcmp(info->precision, "fp16") != 0)
        return;
    for (size_t i = 0; i < n_in; i++)
        if (not_finite(in[i]))
            return;
    for (size_t i = 0; i < gopt_graph_output_count(g); i++) {
        const gopt_tensor *x = gopt_run_context_output(rc, i);
        const int64_t n = not_finite(x);
        if (n) {
            tool_warn(t,
                      gopt_is_plan(tool_model(t))
                          ? "build the plan with --calibrate, which keeps in fp32 what halves cannot hold"
                          : "--calibrate keeps in fp32 what halves cannot hold",
                      "output %s: %lld of its %lld elements %s infinite or NaN, though no input is: a value may have "
                      "passed what fp16 holds (65504)",
                      gopt_graph_output_name(g, i), (long long)n, (long long)gopt_tensor_elements(x),
                      n == 1 ? "is" : "are");
            return;
        }
    }
}
