/* What the subcommands share: the options, diagnostics, loading, tables and files.
 *
 * A subcommand is one function, `gopt_status NAME(tool *t)`, in a file of its own. Whatever fails returns a
 * status; the library's diagnostics are printed by main, the program's own by tool_fail, once. */
#ifndef TOOL_H
#define TOOL_H

#include <jansson.h>

#include "gopt/gopt.h"

/* Returns from the enclosing function with the status of `call` unless it is GOPT_OK. */
#define TRY(call)                  \
    do {                           \
        gopt_status try_ = (call); \
        if (try_ != GOPT_OK)       \
            return try_;           \
    } while (0)

typedef struct strings {
    const char **p;
    size_t n;
} strings;

enum {
    CMD_INSPECT = 1 << 0,
    CMD_OPTIMIZE = 1 << 1,
    CMD_RUN = 1 << 2,
    CMD_COMPARE = 1 << 3,
    CMD_CONFORMANCE = 1 << 4,
    CMD_PASSES = 1 << 5,
    CMD_OPS = 1 << 6,
    CMD_DEVICES = 1 << 7,
    CMD_ALL = (1 << 8) - 1
};

/* One field an option; options.c has the table that fills them. NULL, 0 and false are "not given", but for
 * numbers whose row says otherwise. */
typedef struct options {
    strings args; /* MODEL and whatever else is no option */
    /* everywhere */
    strings shapes, dims, plugins;
    int64_t threads;
    uint64_t memory_limit;
    bool deterministic, quiet, verbose, help, version;
    const char *color, *diagnostics;
    /* optimizing */
    int64_t level; /* -1: not given */
    const char *fp, *passes, *skip, *remarks;
    bool list_passes, rules, stats, verify, no_fuse, trust_plan;
    const char *plan;
    const char *verify_dump, *planted;
    int64_t rewrite_limit; /* -1: none */
    int64_t opset;
    const char *emit;
    const char *out;
    bool external_data;
    strings extract, extract_in, extract_out;
    bool drop_postprocess;
    /* what to look at */
    bool ops, nodes, weights, list_lint;
    const char *lint, *lint_level, *lint_fail; /* lint: "" where no rules are named */
    const char *target;
    const char *json, *dot, *svg, *png, *pdf, *html, *dump_dir;
    bool dot_full, dot_flat;
    /* running */
    const char *backend, *precision, *isa, *tactics, *timing_cache, *dump_kernels;
    const char *keep_fp32, *calibrate; /* calibrate: "" where it is to be the inputs of the run */
    bool tune, worth;
    uint64_t workspace;
    strings inputs;
    const char *inputs_dir, *output_dir, *test_data;
    uint64_t seed;
    const char *image_layout, *image_scale, *image_mean, *image_std;
    bool image_resize;
    double rtol, atol; /* negative: not given */
    int64_t iterations, streams;
    double warmup, duration; /* negative: not given */
    const char *profile, *explorer, *trex;
    /* comparing and conformance */
    const char *a, *b, *budget, *include, *exclude, *overrides;
    int64_t jobs, timeout;
} options;

typedef struct tool tool;

typedef struct command {
    const char *name, *args, *means;
    int bit;
    size_t min_args, max_args;
    bool model; /* its first argument is a model, which may be piped in */
    gopt_status (*run)(tool *t);
    const char *examples;
} command;

struct tool {
    const command *cmd;
    options o;
    gopt_ctx *cx;
    int argc;
    char **argv;
    size_t diags_shown; /* of the context's */
    bool failed;        /* an error was printed */
    gopt_page *page;    /* of --html; NULL where it was not asked for */
    bool muted;         /* something is only tried: nothing is printed */
    bool color_out, color_err;
    FILE *file_out; /* where a file called "-" goes; NULL: to stdout */
};

/* ---- options.c ---- */

extern const command commands[]; /* ends with a NULL name; in gopt.c */

gopt_status options_parse(tool *t, int from);
void options_help(const tool *t, FILE *to);
/* The known word nearest to `word`, or NULL where none is near. */
const char *nearest(const char *word, const char *const *known, size_t n);
/* "1x3x224x224" into dims; false where it is no shape. An empty text is rank 0. */
bool parse_shape(const char *text, int *rank, int64_t *dims);

/* ---- tool.c ---- */

/* Prints one error and returns its status. `file` and `hint` may be NULL. */
gopt_status tool_fail(tool *t, gopt_status status, const char *file, const char *hint, const char *fmt, ...)
    __attribute__((format(printf, 5, 6)));
void tool_note(tool *t, const char *hint, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
void tool_warn(tool *t, const char *hint, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
gopt_status tool_no_memory(tool *t);
/* Prints the context's diagnostics that were not printed yet. */
void tool_flush(tool *t);
void tool_forget(tool *t); /* counts them as printed */

/* Where a file is called "-", stdout is that file's alone: what optimize says goes to stderr from then on, and what the
 * others say, which is in the file too, nowhere. */
gopt_status tool_take_stdout(tool *t);
/* Human output to stdout, unless -q; what is no end of a line or colour of ours is made harmless for terminals. */
void say(const tool *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
const char *bold(const tool *t); /* escape sequences for stdout; "" without colour */
const char *dim(const tool *t);
const char *green(const tool *t);
const char *red(const tool *t);
const char *yellow(const tool *t);
const char *plain(const tool *t);

/* "1.5 MiB"; "12,345". Into a caller's buffer, which is returned. */
typedef struct text32 {
    char p[32];
} text32;
text32 bytes_text(uint64_t n);
text32 count_text(uint64_t n);

/* A step that may take long: shows its name and seconds on a terminal once it took over a second. */
typedef struct progress progress;
progress *progress_start(const tool *t, const char *what);
void progress_stop(progress *p); /* p may be NULL */

const char *tool_model(const tool *t); /* first argument, "-" where piped */
/* Fixes an input as --shape's "NAME=1x3" says. */
gopt_status tool_fix_shape(tool *t, gopt_graph *g, const char *text);
/* Does it name an input of the graph, or none at all? */
bool shape_names_input(const gopt_graph *g, const char *text);
/* Loads, then fixes --shape and --dim; where a part is to be extracted, shapes of other tensors wait for that. */
gopt_status tool_load(tool *t, const char *path, gopt_graph **g);
/* Writes the JSON object to --json's file; takes the reference over. */
gopt_status tool_write_json(tool *t, const char *path, json_t *j);
/* Files written whole or not at all: collects, then renames. */
gopt_status tool_write_file(tool *t, const char *path, const void *p, size_t n);
gopt_status tool_read_file(tool *t, const char *path, uint8_t **p, size_t *n); /* freed with free() */
gopt_status tool_make_dir(tool *t, const char *path);
double now_seconds(void);
/* printf into memory of malloc's; NULL where there is none. */
char *text_of(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
json_t *json_text(const char *s); /* null for NULL, bytes that are no UTF-8 replaced */
json_t *json_op_counts(const gopt_op_count *ops, size_t n);
json_t *json_value_type(const char *type_text, json_t *into); /* adds dtype, shape and type to the object */

/* ---- model.c: what optimize and run do alike ---- */

gopt_fp tool_fp(const tool *t); /* --fp */
/* --level, --fp, --passes and so on. `skip` holds memory for the joined list. */
/* gopt_optimize_options.after_pass, for --html and --dump-dir; `user` is the tool. */
void tool_after_pass(void *user, gopt_graph *g, const char *pass, int index);
gopt_status tool_optimize_options(tool *t, gopt_optimize_options *o, char **skip);
/* Brings PyTorch's operators to ones that run, and says so. */
gopt_status tool_lower_aten(tool *t, gopt_graph *g);
void print_aten(const tool *t, FILE *to, const gopt_aten_finding *list, size_t n);
json_t *json_aten(const gopt_aten_finding *list, size_t n);
/* The same; then exit 4 with every operator named, where the model holds some that nothing here can run. */
gopt_status tool_check_supported(tool *t, gopt_graph *g, const char *path);
bool tool_draws(const tool *t); /* --dot, --svg, --png or --pdf was given */
/* Those pictures of one graph, or of two side by side (after != NULL). */
gopt_status tool_pictures(tool *t, gopt_graph *before, gopt_graph *after, const char *title);
json_t *json_unsupported(const gopt_unsupported *list, size_t n);
void print_unsupported(const tool *t, FILE *to, const gopt_unsupported *list, size_t n);
/* The first free symbol of the graph's inputs into `name`, and whether it stands in an input's first dim (`first` may
 * be NULL); false where all dims are known. */
bool free_symbol(const gopt_graph *g, char *name, size_t size, bool *first);

/* "out.svg" and ".before" give "out.before.svg"; `extension` where the path has none. Freed by the caller. */
char *path_beside(const char *path, const char *what, const char *extension);

/* ---- target.c: inspect --target ---- */

typedef struct target target;
/* What --target takes of the graph, which stays as it is; *out is NULL where it was not given. Free it also where this
 * fails. */
gopt_status target_find(tool *t, const gopt_graph *lowered, target **out);
void target_free(target *x); /* x may be NULL */
gopt_status target_print(const tool *t, const target *x);
json_t *target_json(const target *x);

/* ---- cut.c: parts of models ---- */

/* --extract and its long forms: the part that they name takes the graph's place. */
gopt_status tool_extract(tool *t, gopt_graph **g);

/* What --drop-postprocess cuts off. */
typedef struct cut_off {
    gopt_graph *tail;            /* NULL where there is none */
    json_t *json;                /* what OUT.cut.json says */
    char *tail_path, *json_path; /* NULL without -o */
} cut_off;
/* The head takes the graph's place. Says what was cut. */
gopt_status tool_cut(tool *t, gopt_graph **g, cut_off *c);
/* Writes the tail and the JSON. */
gopt_status tool_cut_save(tool *t, cut_off *c);
void tool_cut_free(cut_off *c);

/* ---- remarks.c ---- */

gopt_status tool_check_remarks(tool *t); /* is the regular expression of --remarks one? */
void tool_print_remarks(tool *t, const gopt_report_summary *r);
json_t *json_remarks(tool *t, const gopt_report_summary *r);

/* ---- inputs.c, io_*.c: tensors from and to files ---- */

/* One tensor a graph input, each a reference: from --input, --inputs and --test-data (folder, may be NULL),
 * else random. Fixes the graph's free symbols to what was given, the rest to 1. */
gopt_status inputs_make(tool *t, gopt_graph *g, const char *test_data, gopt_tensor ***in, size_t *n);
/* The same of a file or folder alone, which gives all of them. */
gopt_status inputs_sample(tool *t, gopt_graph *g, const char *path, gopt_tensor ***in, size_t *n);
bool is_tensor_file(const char *path);                       /* by its name */
bool is_sample_folder(const gopt_graph *g, const char *dir); /* does it hold one for the first input? */
void tensors_free(gopt_tensor **p, size_t n);

gopt_status npy_load(tool *t, const char *path, const uint8_t *p, size_t n, gopt_tensor **out);
gopt_status npz_load(tool *t, const char *path, const uint8_t *p, size_t n, const char *member, gopt_tensor **out);
gopt_status npy_save(tool *t, const char *path, const gopt_tensor *x);
/* A tensor or map of JSON (io_json.c) for the input v, whose type as text is `type`. */
gopt_status json_load_input(tool *t, const char *path, const uint8_t *p, size_t n, const gopt_value *v,
                            const char *type, gopt_tensor **out);
/* A map, or a sequence of maps. */
gopt_status json_save_maps(tool *t, const char *path, const gopt_tensor *x);
/* A u8 [h,w,c] or [1,h,w,c] picture as the input wants it, by the --image flags. */
gopt_status image_to_input(tool *t, const char *path, const gopt_tensor *pixels, const gopt_value *input,
                           const char *name, gopt_tensor **out);
bool image_flags(const tool *t); /* was any of --image-… given? */
gopt_status outputs_save(tool *t, const gopt_graph *g, const gopt_tensor *const *out, size_t n);

/* Fills with seeded values: floats standard normal, u8 and i8 of their whole range, other integers 0 to 99,
 * those called a mask 1, those called a type 0 or 1, booleans fair. The generator is splitmix64, seeded with
 * the seed and the input's position, so the values are the same everywhere. */
void random_fill(gopt_tensor *x, const char *name, uint64_t seed, size_t position);

/* ---- fp16.c: what stays in fp32 ---- */

gopt_status fp16_check(tool *t); /* do --calibrate and --keep-fp32 fit the other options? */
/* Does every name of --keep-fp32 stand for a node of the model? */
gopt_status fp16_check_names(tool *t, const gopt_graph *g);
/* Marks in the optimized graph what --keep-fp32 names and what --calibrate finds; `in`: the inputs of the run. */
gopt_status fp16_keep(tool *t, gopt_graph *g, const gopt_engine_options *o, gopt_tensor *const *in, size_t *samples);
/* As remarks, and as JSON: the steps that stayed in fp32, each with its reason. */
void fp16_print_remarks(tool *t, gopt_run_context *rc);
json_t *fp16_json(gopt_run_context *rc);
/* Warns of outputs that hold infinities or NaN where no input does. */
void fp16_check_outputs(tool *t, gopt_engine *e, gopt_run_context *rc, gopt_tensor *const *in, size_t n_in);

/* ---- judge.c ---- */

typedef struct diff {
    bool same;
    double worst; /* largest |got - want| over the tolerance at its place */
    double max_abs;
    int64_t elements, wrong;
    int64_t at;       /* element of the worst */
    double got, want; /* there */
    int64_t first;    /* element that is wrong */
    double first_got, first_want;
    double min, max; /* of want */
    char why[320];   /* a sentence where not same */
} diff;

/* Right within rtol of each value plus atol; NaN equals NaN. With `spread`, atol is a share of the standard
 * deviation of `want`. */
void tensor_diff(const gopt_tensor *got, const gopt_tensor *want, double rtol, double atol, bool spread, diff *d);
void type_text(const gopt_tensor *x, char *buffer, size_t size); /* "f32[1,10]" */

/* ---- engines ---- */

/* A plan to run a graph: "cpu,level=0,no-fuse". */
typedef struct run_spec {
    char backend[128], precision[32];
    int level; /* -1: default */
    bool no_fuse;
    const char *title; /* of --html's model; NULL: it has none */
    bool keep;         /* the optimized graph and the report stay with the answers */
} run_spec;
gopt_status run_spec_parse(tool *t, const char *text, run_spec *s);

/* What a run gave. Its tensors belong to the run context, so that lives as long. */
typedef struct answers {
    gopt_engine *e;
    gopt_run_context *rc;
    const gopt_tensor **p; /* NULL where empty */
    size_t n;
    gopt_graph *g; /* as optimized; both NULL unless they were to be kept */
    gopt_report *report;
} answers;
void answers_free(answers *a);
/* Optimizes a clone of g as the spec says, and runs it once. On an error *out is empty. */
gopt_status run_once(tool *t, gopt_graph *g, const run_spec *s, gopt_tensor *const *in, answers *out);
/* Runs g as it is by reference evaluation. */
gopt_status run_reference(tool *t, gopt_graph *g, gopt_tensor *const *in, answers *out);

/* ---- plan.c ---- */

/* Opens the plan that the model is, and makes its engine: in *ms. Options that would build it otherwise are refused. */
gopt_status plan_load(tool *t, const gopt_engine_options *o, gopt_plan **p, gopt_engine **e, double *ms);
/* To --plan. `ran`: the inputs of the run, one an input of the graph. */
gopt_status plan_write(tool *t, gopt_engine *e, gopt_graph *g, gopt_tensor *const *ran);
gopt_status plan_check(tool *t, gopt_plan *p, gopt_engine *e); /* --verify */
void plan_print(const tool *t, const gopt_plan *p);
json_t *plan_json(const gopt_plan *p);

/* ---- budget.c: limits on what compare finds ---- */

/* One side of a comparison: a model and its run, or what a --json report says of one. */
typedef struct budget_side {
    const char *path;
    gopt_graph *g;      /* as loaded; NULL where there is a report alone */
    const answers *run; /* with graph and report kept */
    const json_t *report;
} budget_side;

/* --budget's file; *out is NULL where none was asked for. */
gopt_status budget_read(tool *t, json_t **out);
/* Does it allow other answers ("answers": false)? Else the tolerances that it names, negative where it names none. */
bool budget_answers(const json_t *budget, double *rtol, double *atol);
/* Measures both sides and prints a line for each limit; GOPT_DIFFERENT with one diagnostic where a limit or `wrong`
 * (NULL: the answers agree) says so. *out is for --json, and may be NULL. */
gopt_status budget_judge(tool *t, const json_t *budget, const budget_side *a, const budget_side *b, const char *wrong,
                         json_t **out);

/* ---- verify.c ---- */

typedef struct verdict {
    bool passed;
    double worst, tolerance;
    int bindings;     /* of symbols that were tried */
    char sizes[512];  /* "batch=2, seq=3; batch=1, seq=1" */
    char reason[512]; /* of a mismatch */
    /* the culprit */
    int64_t rewrite;          /* its number; 0 where no single one is */
    char rule[64];            /* or the pass; "" where none was found */
    char at[512], means[512]; /* where, and what it does */
    char alone[64];           /* what --passes takes for it alone */
    char *subgraph;           /* the smallest graph that shows it; NULL where none alone does */
} verdict;
/* Runs both by reference evaluation on seeded inputs, with several sizes of what is dynamic; on a mismatch finds the
 * rewrite that caused it: GOPT_DIFFERENT without a word, the verdict says the rest. `subgraph` is freed with
 * gopt_text_free. */
gopt_status verify_rewrites(tool *t, gopt_graph *before, gopt_graph *after, const gopt_optimize_options *o, verdict *v);

/* ---- lint.c ---- */

/* What --lint asks for; *r is NULL where it was not given. It belongs to the graph. */
gopt_status lint_find(tool *t, gopt_graph *g, const gopt_lint_report **r);
void lint_print(const tool *t, const gopt_lint_report *r);
json_t *lint_json(const gopt_lint_report *r);
gopt_status lint_verdict(const tool *t, const gopt_lint_report *r); /* GOPT_DIFFERENT as --lint-fail says */
gopt_status list_lint(tool *t);

/* ---- timing.c ---- */

typedef struct summary {
    double min, max, mean, median, p90, p95, p99, cv;
} summary;
summary summary_of(double *v, size_t n); /* sorts v */
json_t *summary_json(const summary *s);

typedef struct timing {
    size_t n;
    double wall_s; /* from the first start to the last end */
    summary latency, h2d, compute, d2h;
    int64_t preempted; /* times that another program took a core */
    double *series; /* the latencies in their order, n of them; freed by the caller; NULL where nobody asked (--html) */
} timing;
/* Warms up, then runs as --iterations, --duration and --streams ask. The contexts have their inputs. */
gopt_status time_runs(tool *t, gopt_run_context **rc, size_t n_streams, timing *out);
/* One line on which products run in bfloat16, where any could, or in tf32; the number of steps of each tactic (precision.c). */
void precision_print(const tool *t, gopt_run_context *rc);
json_t *tactics_json(gopt_run_context *rc);
void timing_print(const tool *t, const timing *m, double samples);

/* ---- copies.c ---- */

/* What a run copied to and from a device, for --json and --html: bytes and rates, and where it took longer than computing
 * a warning with what to change. NULL where nothing was copied. `rc` has run the graph. */
json_t *copies_json(const gopt_graph *g, gopt_run_context *rc, const timing *m, size_t n_streams);
void copies_warn(tool *t, const json_t *copies); /* `copies` may be NULL */

/* ---- inspect_text.c: gopt inspect for people ---- */

void inspect_print_head(const tool *t, const gopt_graph *g,
                        const gopt_inspection *m); /* a summary that fits the window */
gopt_status inspect_print_ops(const tool *t, const gopt_inspection *m);
gopt_status inspect_print_nodes(const tool *t, const gopt_graph *g);
gopt_status inspect_print_weights(tool *t, gopt_graph *g);

/* ---- page.c: --html; all do nothing where it was not asked for ---- */

/* A model of the page, as it was loaded; a second one stands beside the first. */
gopt_status page_begin(tool *t, const char *title, gopt_graph *g);
void page_put(tool *t, const char *key, json_t *j); /* takes the reference over */
/* What a run took; takes over what profile_write told. `copies` may be NULL. Not without --html. */
json_t *page_run(tool *t, gopt_engine *e, gopt_run_context *rc, const timing *m, const gopt_engine_options *o,
                 json_t *told, json_t *copies);
gopt_status page_report(tool *t, gopt_graph *g, const gopt_report *report); /* the graph as it is at the end */
gopt_status page_write(tool *t);

/* ---- profile.c ---- */

/* Times every step; writes what --profile, --trex and --model-explorer ask for (`before` may be NULL), and gives the
 * page's steps and what threads did in one run where `told` is not NULL. */
gopt_status profile_write(tool *t, gopt_engine *e, gopt_run_context *rc, gopt_graph *before, gopt_graph *after,
                          json_t **told);
/* --model-explorer; nothing where it was not asked for. `before` and `p` may be NULL. */
gopt_status explorer_write(tool *t, gopt_graph *before, gopt_graph *after, const gopt_run_profile *p);

/* ---- worth.c ---- */

/* Times the network (in `base`, made of g with these options) against itself without one kind of fusion; prints what
 * each gains, and gives the same as JSON. */
gopt_status worth_measure(tool *t, gopt_graph *g, const gopt_engine_options *o, gopt_run_context *base,
                          gopt_tensor **in, size_t n_in, json_t **out);

/* ---- subcommands ---- */

gopt_status inspect(tool *t);
gopt_status optimize(tool *t);
gopt_status run(tool *t);
gopt_status compare(tool *t);
gopt_status conformance(tool *t);
gopt_status list_passes(tool *t);
gopt_status list_ops(tool *t);
gopt_status list_devices(tool *t);

/* The static analyzer sees one file at a time, and has to be told that these never answer GOPT_OK. Where they are
 * defined their names stand in parentheses, so that the macros leave them alone. */
#ifdef __clang_analyzer__
static inline gopt_status tool_failed(gopt_status status)
{
    if (status == GOPT_OK)
        __builtin_unreachable();
    return status;
}
#define tool_fail(...) tool_failed(tool_fail(__VA_ARGS__))
#define tool_no_memory(t) tool_failed(tool_no_memory(t))
#endif

#endif
