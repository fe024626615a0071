/* Options: one table row each, from which come parsing, --help and "did you mean". */
#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tool.h"

typedef enum opt_kind {
    FLAG,     /* bool */
    TEXT,     /* const char *; where the argument is written A|B|C, one of these */
    OPTTEXT,  /* const char *, "" where given without a value: --name or --name=value */
    INTEGER,  /* int64_t, at least 0 */
    BYTES,    /* uint64_t with a suffix K, M, G */
    NUMBER,   /* double, at least 0 */
    REPEATED, /* strings */
} opt_kind;

typedef enum group { G_MODEL, G_OPTIMIZE, G_RUN, G_INPUT, G_TIMING, G_COMPARE, G_REPORT, G_EVERYWHERE } group;

static const char *const group_names[] = {
    [G_MODEL] = "The model",          [G_OPTIMIZE] = "Optimizing",   [G_RUN] = "Where and how to run",
    [G_INPUT] = "Inputs and outputs", [G_TIMING] = "Timing",         [G_COMPARE] = "Comparing",
    [G_REPORT] = "To look at",        [G_EVERYWHERE] = "Everywhere",
};

/* An option without help is for tests alone, and not shown. */
typedef struct option_row {
    const char *name;
    char letter;
    const char *arg;
    const char *help;
    group in;
    int commands;
    opt_kind kind;
    size_t field;
} option_row;

#define F(field) offsetof(options, field)
enum {
    C_I = CMD_INSPECT,
    C_O = CMD_OPTIMIZE,
    C_R = CMD_RUN,
    C_C = CMD_COMPARE,
    C_F = CMD_CONFORMANCE,
    C_MODEL = C_I | C_O | C_R | C_C,
    C_VALUES = C_R | C_C,
};

static const option_row rows[] = {
    { "shape", 0, "NAME=DIMS", "fix a dynamic input, as in --shape x=1x3x224x224 (repeatable)", G_MODEL, C_MODEL,
      REPEATED, F(shapes) },
    { "dim", 0, "SYMBOL=N", "fix a symbolic dimension, as in --dim batch=8 (repeatable)", G_MODEL, C_MODEL, REPEATED,
      F(dims) },
    { "plugin", 0, "FILE.so", "take operators that gopt lacks from a plugin, as in --plugin ./mine.so (repeatable)",
      G_MODEL, C_MODEL, REPEATED, F(plugins) },

    { "output", 'o', "FILE", "write the result: .onnx is standard ONNX, .gir gopt's text form", G_OPTIMIZE, C_O, TEXT,
      F(out) },
    { "external-data", 0, NULL, "keep weights in a file beside it (always so over 2 GB)", G_OPTIMIZE, C_O, FLAG,
      F(external_data) },
    { "level", 0, "0|1|2|3", "0 changes nothing, 1 is bit-exact, 2 (default) rewrites and fuses, 3 takes its time",
      G_OPTIMIZE, C_O | C_R | C_F, INTEGER, F(level) },
    { "fp", 0, "strict|reassoc|fast",
      "how far arithmetic may be reordered, in rewrites and in kernels (default reassoc)", G_OPTIMIZE, C_O | C_R, TEXT,
      F(fp) },
    { "passes", 0, "A,B,C", "run these passes alone, in this order", G_OPTIMIZE, C_O | C_R, TEXT, F(passes) },
    { "skip", 0, "A,B", "leave these passes or rules out", G_OPTIMIZE, C_O | C_R, TEXT, F(skip) },
    { "rules", 0, NULL, "the single rules instead, with how exact they are", G_REPORT, CMD_PASSES, FLAG, F(rules) },
    { "list-passes", 0, NULL, "print the passes and stop", G_OPTIMIZE, C_O, FLAG, F(list_passes) },
    { "rewrite-limit", 0, "N", "stop after N rewrites", G_OPTIMIZE, C_O, INTEGER, F(rewrite_limit) },
    { "opset", 0, "N", "the opset to write (default: the model's own)", G_OPTIMIZE, C_O, INTEGER, F(opset) },
    { "emit", 0, "onnx|ort",
      "operators that the result may use: ONNX's alone, or also ONNX Runtime's own; else what the model uses",
      G_OPTIMIZE, C_O, TEXT, F(emit) },
    { "extract-input", 0, "NAME",
      "optimize only what lies behind this tensor, which becomes an input (repeatable; default: the model's inputs)",
      G_OPTIMIZE, C_O, REPEATED, F(extract_in) },
    { "extract-output", 0, "NAME", "and only what leads to this tensor, which becomes an output (repeatable)",
      G_OPTIMIZE, C_O, REPEATED, F(extract_out) },
    { "extract", 0, "IN,IN:OUT,OUT", "both in one; either side may be empty", G_OPTIMIZE, C_O, REPEATED, F(extract) },
    { "drop-postprocess", 0, NULL,
      "end the network before what cannot run: OUT.onnx has all that does not depend on it, OUT.tail.onnx the rest, "
      "OUT.cut.json what was cut and how the two connect",
      G_OPTIMIZE, C_O, FLAG, F(drop_postprocess) },
    { "verify", 0, NULL,
      "run the model before and after on seeded inputs; on a mismatch name the rewrite. With run and a plan: run the "
      "plan's own inputs and compare with the answers of where it was built",
      G_OPTIMIZE, C_O | C_R, FLAG, F(verify) },
    { "verify-dump", 0, "FILE",
      "where --verify writes the smallest graph that shows a mismatch (default: OUT.culprit.gir)", G_OPTIMIZE, C_O,
      TEXT, F(verify_dump) },
    { "planted", 0, "A,B", NULL, G_OPTIMIZE, C_O, TEXT, F(planted) }, /* wrong rules, for tests of --verify */
    { "no-fuse", 0, NULL, "make no fusions, and no one kernel of many steps on a device, to see what they are worth",
      G_OPTIMIZE, C_R, FLAG, F(no_fuse) },

    { "worth", 0, NULL, "time the network without one kind of fusion at a time, and say what each gains", G_TIMING, C_R,
      FLAG, F(worth) },

    { "backend", 0, "BACKEND", "cpu (default), opencl, opencl:NAME-OR-TYPE", G_RUN, C_R | C_F | CMD_OPS, TEXT,
      F(backend) },
    { "precision", 0, "NAME",
      "what to compute in (default fp32): fp32; fp16, all of it in halves (opencl); tf32, convolutions and "
      "products on tensor cores (opencl); bf16, products (cpu); best, whatever is fastest",
      G_RUN, C_R, TEXT, F(precision) },
    { "calibrate", 0, "PATH",
      "with fp16: see in fp32 what values reach on these samples (a .npz, a folder as for --inputs, or a folder of "
      "many of "
      "either; none: the inputs of the run), and keep in fp32 what halves cannot hold",
      G_RUN, C_R, OPTTEXT, F(calibrate) },
    { "keep-fp32", 0, "NAME,NAME", "with fp16: keep these nodes in fp32, by the model's names, with * and ?", G_RUN,
      C_R, TEXT, F(keep_fp32) },
    { "isa", 0, "NAME", "use no instructions beyond sse2, avx2 or avx512", G_RUN, C_R, TEXT, F(isa) },
    { "tactics", 0, "NAME:VARIANT,NAME",
      "take these wherever they take a step; --profile FILE.json lists what there is", G_RUN, C_R, TEXT, F(tactics) },
    { "tune", 0, NULL, "time the ways to run each step inside of the whole network, and take the fastest", G_RUN, C_R,
      FLAG, F(tune) },
    { "timing-cache", 0, "FILE",
      "what tuning found: read from and kept in FILE; implies --tune, unless --deterministic", G_RUN, C_R, TEXT,
      F(timing_cache) },
    { "plan", 0, "FILE", "write what was built, to be run later without building; without MODEL, run FILE", G_RUN, C_R,
      TEXT, F(plan) },
    { "trust-plan", 0, NULL,
      "take compiled programs out of a plan also where this computer's own processor would run them", G_RUN, C_R, FLAG,
      F(trust_plan) },
    { "workspace", 0, "BYTES", "memory that one step may take beside its tensors", G_RUN, C_R, BYTES, F(workspace) },

    { "input", 0, "NAME=FILE",
      "an input: .npy .npz .pb .json .bin, or a picture .png .jpg .ppm (repeatable; NAME= may be left out where there "
      "is "
      "one)",
      G_INPUT, C_VALUES, REPEATED, F(inputs) },
    { "inputs", 0, "DIR", "inputs from files called after them, or input_N.pb", G_INPUT, C_VALUES, TEXT,
      F(inputs_dir) },
    { "seed", 0, "N", "of the random inputs where none are given (default 0)", G_INPUT, C_VALUES | C_O, INTEGER,
      F(seed) },
    { "output-dir", 0, "DIR", "write each output as NAME.npy", G_INPUT, C_R, TEXT, F(output_dir) },
    { "test-data", 0, "DIR", "take input_N.pb from DIR, compare with its output_N.pb; exit 1 on a mismatch", G_INPUT,
      C_R, TEXT, F(test_data) },
    { "image-layout", 0, "nchw|nhwc", "how the input holds a picture (default: seen from its shape)", G_INPUT, C_VALUES,
      TEXT, F(image_layout) },
    { "image-scale", 0, "S", "value = pixel * S, as in 1/255 or 0.0078125 (default 1)", G_INPUT, C_VALUES, TEXT,
      F(image_scale) },
    { "image-mean", 0, "R,G,B", "then subtracted", G_INPUT, C_VALUES, TEXT, F(image_mean) },
    { "image-std", 0, "R,G,B", "then divided by", G_INPUT, C_VALUES, TEXT, F(image_std) },
    { "image-resize", 0, NULL, "scale the picture to the input's height and width (bilinear)", G_INPUT, C_VALUES, FLAG,
      F(image_resize) },

    { "iterations", 0, "N", "timed runs", G_TIMING, C_R, INTEGER, F(iterations) },
    { "duration", 0, "S", "run for at least S seconds", G_TIMING, C_R, NUMBER, F(duration) },
    { "warmup", 0, "MS", "run untimed first (default 200, and 0 below 10 iterations)", G_TIMING, C_R, NUMBER,
      F(warmup) },
    { "streams", 0, "N",
      "N runs at the same time, each with buffers of its own, and on a device a queue: copies overlap computing",
      G_TIMING, C_R, INTEGER, F(streams) },
    { "profile", 0, "FILE", "time every step: a Chrome trace, a table for .csv or on -", G_TIMING, C_R, TEXT,
      F(profile) },
    { "trex", 0, "FILE", "steps and times for TensorRT's engine explorer: FILE.graph.json and FILE.profile.json",
      G_TIMING, C_R, TEXT, F(trex) },

    { "a", 0, "SPEC", "one side, BACKEND[,PRECISION][,level=N][,no-fuse] (default cpu,level=0)", G_COMPARE, C_C, TEXT,
      F(a) },
    { "b", 0, "SPEC", "the other side (default cpu)", G_COMPARE, C_C, TEXT, F(b) },
    { "budget", 0, "FILE",
      "limits on what MODEL2 may have more than MODEL (JSON, see docs/compare.md); exit 1 where one is passed",
      G_COMPARE, C_C, TEXT, F(budget) },
    { "rtol", 0, "X", "share of each value that an answer may be off (1e-3)", G_COMPARE, C_VALUES | C_O | C_F, NUMBER,
      F(rtol) },
    { "atol", 0, "X",
      "what it may be off beside that (run 1e-5, conformance 1e-7; compare and --verify 5e-4 of the output's spread)",
      G_COMPARE, C_VALUES | C_O | C_F, NUMBER, F(atol) },
    { "include", 0, "REGEX", "only test folders whose path matches", G_COMPARE, C_F, TEXT, F(include) },
    { "exclude", 0, "REGEX", "skip test folders whose path matches", G_COMPARE, C_F, TEXT, F(exclude) },
    { "overrides", 0, "FILE", "JSON: tests with tolerances of their own, each with its reason and a link", G_COMPARE,
      C_F, TEXT, F(overrides) },
    { "jobs", 'j', "N", "tests at the same time (default: the cores)", G_COMPARE, C_F, INTEGER, F(jobs) },
    { "timeout", 0, "S", "seconds that one test may take (default 60)", G_COMPARE, C_F, INTEGER, F(timeout) },

    { "ops", 0, NULL, "operators by count", G_REPORT, C_I, FLAG, F(ops) },
    { "nodes", 0, NULL, "every node with its types", G_REPORT, C_I, FLAG, F(nodes) },
    { "weights", 0, NULL, "minimum, maximum, mean, zeros, NaN and what fp16 cannot hold, of each weight", G_REPORT, C_I,
      FLAG, F(weights) },
    { "lint", 0, "RULE,-RULE",
      "what costs time, memory or portability, and what to do: by all rules, or by those named (rules, groups, all)",
      G_REPORT, C_I, OPTTEXT, F(lint) },
    { "lint-level", 0, "note|warning|error", "the least severity to tell (default note)", G_REPORT, C_I, TEXT,
      F(lint_level) },
    { "lint-fail", 0, "note|warning|error|never", "the least severity to exit with 1 for (default error)", G_REPORT,
      C_I, TEXT, F(lint_fail) },
    { "list-lint", 0, NULL, "print the rules of --lint and stop", G_REPORT, C_I, FLAG, F(list_lint) },
    { "target", 0, "TARGET",
      "what cpu, opencl[:NAME-OR-TYPE] or onnx would take of the optimized model, node by node, and why not the rest",
      G_REPORT, C_I, TEXT, F(target) },
    { "dot", 0, "FILE", "draw as DOT; optimize, run and compare: FILE.before.dot, FILE.after.dot and both side by side",
      G_REPORT, C_MODEL, TEXT, F(dot) },
    { "svg", 0, "FILE", "the same as SVG", G_REPORT, C_MODEL, TEXT, F(svg) },
    { "png", 0, "FILE", "the same as PNG, where there is graphviz", G_REPORT, C_I | C_O | C_R, TEXT, F(png) },
    { "pdf", 0, "FILE", "the same as PDF, where there is graphviz", G_REPORT, C_I | C_O | C_R, TEXT, F(pdf) },
    { "html", 0, "FILE", "one page to look around in: the graph after every pass, and why; with run, where time goes",
      G_REPORT, C_MODEL, TEXT, F(html) },
    { "model-explorer", 0, "FILE",
      "FILE.json for Model Explorer; beside it node data, FILE.flops.json and more, and FILE.sync.json, what is what",
      G_REPORT, C_I | C_O | C_R, TEXT, F(explorer) },
    { "dot-full", 0, NULL, "draw every node, however many", G_REPORT, C_MODEL, FLAG, F(dot_full) },
    { "dot-flat", 0, NULL, "no clusters, and names that Netron reads operators from", G_REPORT, C_MODEL, FLAG,
      F(dot_flat) },
    { "remarks", 0, "REGEX", "what was applied or declined, and why, where pass, rule, node or reason match", G_REPORT,
      C_O | C_R, OPTTEXT, F(remarks) },
    { "stats", 0, NULL, "time, nodes and rewrites by rule of every pass", G_REPORT, C_O | C_R, FLAG, F(stats) },
    { "dump-dir", 0, "DIR", "one numbered text and DOT file a pass", G_REPORT, C_O | C_R, TEXT, F(dump_dir) },
    { "dump-kernels", 0, "DIR", "the sources of generated kernels", G_REPORT, C_R, TEXT, F(dump_kernels) },
    { "json", 0, "FILE", "the same facts as JSON", G_REPORT, C_MODEL | C_F | CMD_PASSES | CMD_OPS | CMD_DEVICES, TEXT,
      F(json) },

    { "threads", 0, "N", "default: the cores that this process may use", G_EVERYWHERE, CMD_ALL, INTEGER, F(threads) },
    { "memory-limit", 0, "BYTES", "that tensors may take (default: half of this machine's; K, M, G)", G_EVERYWHERE,
      CMD_ALL, BYTES, F(memory_limit) },
    { "deterministic", 0, NULL, "decide nothing by the clock", G_EVERYWHERE, CMD_ALL, FLAG, F(deterministic) },
    { "quiet", 'q', NULL, "errors only", G_EVERYWHERE, CMD_ALL, FLAG, F(quiet) },
    { "verbose", 'v', NULL, "say more", G_EVERYWHERE, CMD_ALL, FLAG, F(verbose) },
    { "color", 0, "auto|always|never", "default auto: on a terminal", G_EVERYWHERE, CMD_ALL, TEXT, F(color) },
    { "diagnostics", 0, "text|json", "how errors, warnings and notes are printed on stderr", G_EVERYWHERE, CMD_ALL,
      TEXT, F(diagnostics) },
    { "help", 'h', NULL, "this text", G_EVERYWHERE, CMD_ALL, FLAG, F(help) },
    { "version", 0, NULL, "the version", G_EVERYWHERE, CMD_ALL, FLAG, F(version) },
};
enum { N_ROWS = sizeof(rows) / sizeof(rows[0]) };

/* ---- words nearly right ---- */

/* Edits between two words: insertions, removals, replacements and swaps of neighbours. */
static size_t edit_distance(const char *a, const char *b)
{
    enum { MOST = 48 };
    size_t d[MOST + 1][MOST + 1];
    const size_t n = strlen(a), m = strlen(b);
    if (n > MOST || m > MOST)
        return SIZE_MAX;
    for (size_t i = 0; i <= n; i++)
        for (size_t j = 0; j <= m; j++) {
            if (!i || !j) {
                d[i][j] = i + j;
                continue;
            }
            size_t best = d[i - 1][j - 1] + (a[i - 1] != b[j - 1]);
            best = d[i - 1][j] + 1 < best ? d[i - 1][j] + 1 : best;
            best = d[i][j - 1] + 1 < best ? d[i][j - 1] + 1 : best;
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] && d[i - 2][j - 2] + 1 < best)
                best = d[i - 2][j - 2] + 1;
            d[i][j] = best;
        }
    return d[n][m];
}

const char *nearest(const char *word, const char *const *known, size_t n)
{
    const char *best = NULL;
    size_t least = strlen(word) / 3 + 2;
    for (size_t i = 0; i < n; i++) {
        const size_t d = edit_distance(word, known[i]);
        if (d < least) {
            least = d;
            best = known[i];
        }
    }
    return best;
}

/* ---- parsing ---- */

static const option_row *find_row(const char *name, size_t n, int commands_mask)
{
    for (size_t i = 0; i < N_ROWS; i++)
        if (strlen(rows[i].name) == n && !strncmp(rows[i].name, name, n) && (rows[i].commands & commands_mask))
            return &rows[i];
    return NULL;
}

static gopt_status unknown_flag(tool *t, const char *name, size_t n)
{
    char word[64], hint[256];
    snprintf(word, sizeof word, "%.*s", n > 60 ? 60 : (int)n, name);
    const option_row *elsewhere = find_row(name, n, CMD_ALL);
    if (elsewhere) {
        int len = snprintf(hint, sizeof hint, "it belongs to");
        for (const command *c = commands; c->name; c++)
            if (c->bit & elsewhere->commands && len < (int)sizeof hint)
                len += snprintf(hint + len, sizeof hint - (size_t)len, " gopt %s,", c->name);
        hint[strlen(hint) - 1] = 0;
        return tool_fail(t, GOPT_USAGE, NULL, hint, "gopt %s has no flag --%s", t->cmd->name, word);
    }
    const char *known[N_ROWS];
    size_t n_known = 0;
    for (size_t i = 0; i < N_ROWS; i++)
        if ((rows[i].commands & t->cmd->bit) && rows[i].help)
            known[n_known++] = rows[i].name;
    const char *near = nearest(word, known, n_known);
    if (near)
        snprintf(hint, sizeof hint, "did you mean --%s?", near);
    else
        snprintf(hint, sizeof hint, "`gopt %s --help` lists the flags", t->cmd->name);
    return tool_fail(t, GOPT_USAGE, NULL, hint, "unknown flag --%s", word);
}

/* Is text one of the words of "a|b|c"? */
static bool is_choice(const char *choices, const char *text)
{
    const size_t n = strlen(text);
    for (const char *p = choices; p; p = strchr(p, '|')) {
        p += *p == '|';
        if (n && !strncmp(p, text, n) && (p[n] == '|' || !p[n]))
            return true;
    }
    return false;
}

static bool parse_bytes(const char *text, uint64_t *out)
{
    char *end;
    errno = 0;
    const double v = strtod(text, &end);
    if (end == text || errno || !(v >= 0) || v > 1e18)
        return false;
    double unit = 1;
    const char *const suffix = "KMGT";
    const char *at = *end ? strchr(suffix, *end >= 'a' ? *end - 32 : *end) : NULL;
    if (at) {
        for (long k = at - suffix; k >= 0; k--)
            unit *= 1024;
        end++;
        if (*end == 'i')
            end++;
    }
    if (*end == 'B')
        end++;
    if (*end || v * unit > 9e18)
        return false;
    *out = (uint64_t)(v * unit);
    return true;
}

static gopt_status bad_value(tool *t, const option_row *r, const char *value, const char *wanted)
{
    return tool_fail(t, GOPT_USAGE, NULL, NULL, "--%s is '%s', expected %s", r->name, value, wanted);
}

static gopt_status set_value(tool *t, const option_row *r, const char *value)
{
    void *field = (char *)&t->o + r->field;
    char *end;
    const bool number = r->kind == INTEGER || r->kind == BYTES || r->kind == NUMBER;
    errno = 0;
    if (number && !value)
        return bad_value(t, r, "", "a number");
    if (r->arg && strchr(r->arg, '|') && !is_choice(r->arg, value))
        return bad_value(t, r, value, r->arg);
    switch (r->kind) {
    case FLAG:
        *(bool *)field = true;
        break;
    case TEXT:
    case OPTTEXT:
        *(const char **)field = value;
        break;
    case INTEGER: {
        const long long v = strtoll(value, &end, 10);
        if (end == value || *end || errno || v < 0 || v > INT_MAX)
            return bad_value(t, r, value, "a whole number, at least 0");
        *(int64_t *)field = v;
        break;
    }
    case BYTES:
        if (!parse_bytes(value, (uint64_t *)field))
            return bad_value(t, r, value, "a number of bytes, as in 512M");
        break;
    case NUMBER: {
        const double v = strtod(value, &end);
        if (end == value || *end || !isfinite(v) || v < 0)
            return bad_value(t, r, value, "a number, at least 0");
        *(double *)field = v;
        break;
    }
    case REPEATED: {
        strings *s = field;
        const char **p = realloc(s->p, (s->n + 1) * sizeof *p);
        if (!p)
            return tool_no_memory(t);
        s->p = p;
        p[s->n++] = value;
        break;
    }
    }
    return GOPT_OK;
}

static gopt_status add_arg(tool *t, const char *word)
{
    const char **p = realloc(t->o.args.p, (t->o.args.n + 1) * sizeof *p);
    if (!p)
        return tool_no_memory(t);
    t->o.args.p = p;
    p[t->o.args.n++] = word;
    return GOPT_OK;
}

/* One word that starts with '-'. *at moves on where the value is the next word. */
static gopt_status parse_flag(tool *t, int *at)
{
    const char *word = t->argv[*at];
    const option_row *r = NULL;
    const char *value = NULL;
    if (word[1] != '-') {
        for (size_t i = 0; i < N_ROWS; i++)
            if (rows[i].letter && rows[i].letter == word[1] && (rows[i].commands & t->cmd->bit))
                r = &rows[i];
        if (!r)
            return find_row(word + 1, strlen(word + 1), t->cmd->bit)
                       ? tool_fail(t, GOPT_USAGE, NULL, NULL, "unknown flag %s: did you mean -%s?", word, word)
                       : tool_fail(t, GOPT_USAGE, NULL, "`gopt --help` lists the flags", "unknown flag %s", word);
        if (word[2])
            value = word + 2 + (word[2] == '=');
    } else {
        const char *equals = strchr(word, '=');
        const size_t n = equals ? (size_t)(equals - word) - 2 : strlen(word + 2);
        r = find_row(word + 2, n, t->cmd->bit);
        if (!r)
            return unknown_flag(t, word + 2, n);
        value = equals ? equals + 1 : NULL;
    }
    if (!r->arg)
        return value ? tool_fail(t, GOPT_USAGE, NULL, NULL, "--%s takes no value", r->name) : set_value(t, r, NULL);
    if (r->kind == OPTTEXT)
        return set_value(t, r, value ? value : "");
    if (!value) {
        if (*at + 1 >= t->argc)
            return tool_fail(t, GOPT_USAGE, NULL, NULL, "--%s needs a value: --%s %s", r->name, r->name, r->arg);
        value = t->argv[++*at];
    }
    return set_value(t, r, value);
}

/* Without a model: says the whole command that was probably meant. */
static gopt_status no_model(tool *t)
{
    char hint[512];
    size_t len = (size_t)snprintf(hint, sizeof hint, "gopt %s model.onnx", t->cmd->name);
    for (int i = 2; i < t->argc && len < sizeof hint; i++)
        len += (size_t)snprintf(hint + len, sizeof hint - len, " %s", t->argv[i]);
    return tool_fail(t, GOPT_USAGE, NULL, hint, "gopt %s needs %s", t->cmd->name, t->cmd->args);
}

static gopt_status check_args(tool *t)
{
    options *o = &t->o;
    if (o->help || o->version || o->list_passes || o->list_lint)
        return GOPT_OK;
    if (!o->args.n && t->cmd->bit == CMD_RUN && o->plan && gopt_is_plan(o->plan)) {
        TRY(add_arg(t, o->plan));
        o->plan = NULL;
    }
    if (!o->args.n && t->cmd->model) {
        struct stat st;
        const bool piped = !fstat(0, &st) && (S_ISFIFO(st.st_mode) || S_ISREG(st.st_mode) || S_ISSOCK(st.st_mode));
        if (!piped)
            return no_model(t);
        TRY(add_arg(t, "-"));
    }
    if (o->args.n < t->cmd->min_args)
        return no_model(t);
    if (o->args.n > t->cmd->max_args && o->calibrate && !*o->calibrate) {
        char hint[256];
        snprintf(hint, sizeof hint, "write --calibrate=%.200s", o->args.p[t->cmd->max_args]);
        return tool_fail(t, GOPT_USAGE, NULL, hint, "gopt %s takes %s, found also '%s'", t->cmd->name, t->cmd->args,
                         o->args.p[t->cmd->max_args]);
    }
    if (o->args.n > t->cmd->max_args)
        return tool_fail(t, GOPT_USAGE, NULL, NULL, "gopt %s takes %s, found also '%s'", t->cmd->name,
                         t->cmd->max_args ? t->cmd->args : "no argument", o->args.p[t->cmd->max_args]);
    return GOPT_OK;
}

gopt_status options_parse(tool *t, int from)
{
    t->o.level = -1;
    t->o.rewrite_limit = -1;
    t->o.rtol = t->o.atol = t->o.warmup = t->o.duration = -1;
    bool flags = true;
    for (int i = from; i < t->argc; i++) {
        const char *word = t->argv[i];
        if (flags && !strcmp(word, "--"))
            flags = false;
        else if (flags && word[0] == '-' && word[1])
            TRY(parse_flag(t, &i));
        else
            TRY(add_arg(t, word));
    }
    return check_args(t);
}

bool parse_shape(const char *text, int *rank, int64_t *dims)
{
    *rank = 0;
    while (*text) {
        char *end;
        errno = 0;
        const long long v = strtoll(text, &end, 10);
        if (end == text || errno || v < 0 || *rank >= GOPT_MAX_RANK)
            return false;
        dims[(*rank)++] = v;
        text = end;
        if (*text && *text != 'x' && *text != ',')
            return false;
        if (*text && !*++text)
            return false;
    }
    return true;
}

/* ---- help ---- */

/* Prints text from column `at` on, broken at spaces before column 100. */
static void print_wrapped(FILE *to, const char *text, int at)
{
    int column = at;
    while (*text) {
        const int n = (int)strcspn(text, " ");
        if (column > at && column + 1 + n > 100) {
            fprintf(to, "\n%*s", at, "");
            column = at;
        } else if (column > at) {
            fputc(' ', to);
            column++;
        }
        fprintf(to, "%.*s", n, text);
        column += n;
        text += n;
        text += *text == ' ';
    }
    fputc('\n', to);
}

static void print_row(FILE *to, const option_row *r)
{
    char left[64], letter[8] = "";
    if (r->letter)
        snprintf(letter, sizeof letter, "-%c, ", r->letter);
    snprintf(left, sizeof left, "  %s--%s%s%s%s", letter, r->name,
             !r->arg              ? ""
             : r->kind == OPTTEXT ? "[="
                                  : " ",
             r->arg ? r->arg : "", r->kind == OPTTEXT ? "]" : "");
    fprintf(to, "%-30s", left);
    if (strlen(left) >= 30)
        fprintf(to, "\n%30s", "");
    print_wrapped(to, r->help, 30);
}

void options_help(const tool *t, FILE *to)
{
    if (!t->cmd) {
        fprintf(to, "gopt sees, improves, draws and runs neural networks in ONNX.\n\nUsage: gopt COMMAND [FLAGS]\n\n");
        for (const command *c = commands; c->name; c++)
            fprintf(to, "  gopt %-11s %-17s %s\n", c->name, c->args, c->means);
        fprintf(to,
                "\nFlags of a command: gopt COMMAND --help. Exit codes: 0 done, 1 the answer is no, 2 wrong usage,\n"
                "3 a bad model or input, 4 something that this build or device lacks, 5 a fault of ours.\n");
        return;
    }
    fprintf(to, "gopt %s %s\n\n%s.\n", t->cmd->name, t->cmd->args, t->cmd->means);
    if (t->cmd->examples)
        fprintf(to, "\n%s", t->cmd->examples);
    for (int g = 0; g <= G_EVERYWHERE; g++) {
        bool first = true;
        for (size_t i = 0; i < N_ROWS; i++) {
            if ((int)rows[i].in != g || !(rows[i].commands & t->cmd->bit) || !rows[i].help)
                continue;
            if (first)
                fprintf(to, "\n%s\n", group_names[g]);
            first = false;
            print_row(to, &rows[i]);
        }
    }
}
