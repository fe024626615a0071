/* The program: finds the subcommand, parses its flags, runs it, prints what the library had to say. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tool.h"

const command commands[] = {
    { "inspect", "MODEL", "says what the model is and what would happen to it, without running it", CMD_INSPECT, 1, 1,
      true, inspect,
      "  gopt inspect model.onnx\n  gopt inspect model.onnx --dim batch=8 --json facts.json --svg model.svg\n"
      "  gopt inspect model.onnx --target opencl\n" },
    { "optimize", "MODEL", "makes the model smaller and faster, and shows what it did", CMD_OPTIMIZE, 1, 1, true,
      optimize,
      "  gopt optimize model.onnx -o smaller.onnx --verify\n"
      "  gopt optimize model.onnx --svg model.svg --remarks\n" },
    { "run", "MODEL", "optimizes, compiles and runs the model", CMD_RUN, 1, 1, true, run,
      "  gopt run model.onnx --input image=cat.png --image-scale 1/255 --output-dir out\n"
      "  gopt run model.onnx --duration 3 --profile -\n" },
    { "compare", "MODEL [MODEL2]", "runs two models, or one in two ways, and names the first tensor that differs",
      CMD_COMPARE, 1, 2, true, compare, "  gopt compare model.onnx --a cpu,level=0 --b opencl\n" },
    { "conformance", "DIR...", "runs folders of ONNX backend tests, in parallel", CMD_CONFORMANCE, 1, 1u << 20, false,
      conformance, "  gopt conformance onnx/backend/test/data/node --include conv\n" },
    { "passes", "", "the passes that there are", CMD_PASSES, 0, 0, false, list_passes, NULL },
    { "ops", "", "the operators that there are", CMD_OPS, 0, 0, false, list_ops, NULL },
    { "devices", "", "the devices that could run something", CMD_DEVICES, 0, 0, false, list_devices, NULL },
    { 0 },
};

/* A first word that is no command: a misspelt one, or a model whose command was forgotten. */
static gopt_status unknown_command(tool *t, const char *word)
{
    const char *names[16];
    size_t n = 0;
    char hint[256];
    for (const command *c = commands; c->name; c++)
        names[n++] = c->name;
    const char *near = nearest(word, names, n);
    if (!access(word, R_OK) && strchr(word, '.'))
        snprintf(hint, sizeof hint, "gopt inspect %.200s", word);
    else if (near)
        snprintf(hint, sizeof hint, "did you mean gopt %s?", near);
    else
        snprintf(hint, sizeof hint, "gopt --help lists the commands");
    return tool_fail(t, GOPT_USAGE, NULL, hint, "'%.200s' is no command of gopt", word);
}

/* Colours are decided before the other options are read, so that errors in those are coloured too. */
static void decide_colors(tool *t)
{
    const char *mode = "auto";
    for (int i = 1; i < t->argc; i++) {
        if (!strncmp(t->argv[i], "--color=", 8))
            mode = t->argv[i] + 8;
        else if (!strcmp(t->argv[i], "--color") && i + 1 < t->argc)
            mode = t->argv[i + 1];
        else if (!strcmp(t->argv[i], "--diagnostics=json") ||
                 (!strcmp(t->argv[i], "--diagnostics") && i + 1 < t->argc && !strcmp(t->argv[i + 1], "json")))
            t->o.diagnostics = "json";
    }
    const char *no_color = getenv("NO_COLOR"), *term = getenv("TERM");
    const bool may = !(no_color && *no_color) && !(term && !strcmp(term, "dumb"));
    t->color_out = !strcmp(mode, "always") || (!strcmp(mode, "auto") && may && isatty(1));
    t->color_err = !strcmp(mode, "always") || (!strcmp(mode, "auto") && may && isatty(2));
}

static gopt_status run_command(tool *t)
{
    TRY(options_parse(t, 2));
    if (t->o.help) {
        options_help(t, stdout);
        return GOPT_OK;
    }
    if (t->o.version) {
        printf("gopt %s\n", gopt_version());
        return GOPT_OK;
    }
    TRY(tool_take_stdout(t));
    t->cx = gopt_ctx_create(&(gopt_ctx_options){ .memory_limit = t->o.memory_limit,
                                                 .threads = (int)t->o.threads,
                                                 .out_fd = t->file_out ? fileno(t->file_out) : 0 });
    if (!t->cx)
        return tool_no_memory(t);
    gopt_status s = GOPT_OK;
    for (size_t i = 0; s == GOPT_OK && i < t->o.plugins.n; i++)
        s = gopt_ctx_load_plugin(t->cx, t->o.plugins.p[i]);
    if (s == GOPT_OK)
        s = t->cmd->run(t);
    fflush(stdout);
    tool_flush(t);
    if (s != GOPT_OK && s != GOPT_DIFFERENT && !t->failed)
        tool_fail(t, s, NULL, s == GOPT_NO_MEMORY ? "raise --memory-limit, or give smaller inputs" : NULL,
                  s == GOPT_NO_MEMORY ? "out of memory" : "gopt %s failed without saying why (status %d)", t->cmd->name,
                  (int)s);
    return s;
}

static gopt_status dispatch(tool *t)
{
    const char *word = t->argc > 1 ? t->argv[1] : NULL;
    if (!word) {
        options_help(t, stderr);
        return GOPT_USAGE;
    }
    if (!strcmp(word, "--help") || !strcmp(word, "-h") || !strcmp(word, "help")) {
        options_help(t, stdout);
        return GOPT_OK;
    }
    if (!strcmp(word, "--version")) {
        printf("gopt %s\n", gopt_version());
        return GOPT_OK;
    }
    for (const command *c = commands; c->name; c++)
        if (!strcmp(c->name, word))
            t->cmd = c;
    return t->cmd ? run_command(t) : unknown_command(t, word);
}

int main(int argc, char **argv)
{
    if (argc == 4 && !strcmp(argv[1], "--render-svg"))
        return gopt_svg_helper(argv[2], argv[3]);
    tool t = { .argc = argc, .argv = argv };
    decide_colors(&t);
    gopt_status s = dispatch(&t);
    if (fflush(stdout) && s == GOPT_OK)
        s = tool_fail(&t, GOPT_BAD_INPUT, "stdout", NULL, "cannot be written");
    if (t.file_out && fclose(t.file_out) && s == GOPT_OK)
        s = tool_fail(&t, GOPT_BAD_INPUT, "stdout", NULL, "cannot be written");
    gopt_page_destroy(t.page);
    gopt_ctx_destroy(t.cx);
    free(t.o.args.p);
    free(t.o.shapes.p);
    free(t.o.dims.p);
    free(t.o.extract.p);
    free(t.o.extract_in.p);
    free(t.o.extract_out.p);
    free(t.o.plugins.p);
    free(t.o.inputs.p);
    return gopt_status_exit(s);
}
