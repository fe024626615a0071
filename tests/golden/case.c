/* Reads golden cases. */
#include "golden/case.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "ops/infer.h"

const char GOLDEN_MARK[] = "; ---- expected:";

static bool parse_run(char *line, golden_run *r)
{
    *r = (golden_run){ .o = { .level = 2, .verify_each = true } };
    char *save = NULL;
    const char *verb = strtok_r(line, " \t", &save);
    if (!verb)
        return false;
    r->optimize = !strcmp(verb, "optimize");
    r->infer = !strcmp(verb, "infer");
    r->error = !strcmp(verb, "error");
    r->types = r->infer;
    for (char *w; (w = strtok_r(NULL, " \t", &save));) {
        char *value = strchr(w, '=');
        if (value)
            *value++ = 0;
        if (!strcmp(w, "--passes") && value)
            r->o.passes = value;
        else if (!strcmp(w, "--skip") && value)
            r->o.skip = value;
        else if (!strcmp(w, "--level") && value)
            r->o.level = atoi(value);
        else if (!strcmp(w, "--opset") && value)
            r->o.opset = atoi(value);
        else if (!strcmp(w, "--emit") && value)
            r->o.emit = !strcmp(value, "ort") ? GOPT_EMIT_ORT : GOPT_EMIT_ONNX;
        else if (!strcmp(w, "--rewrite-limit") && value)
            r->o.rewrite_limit = atoi(value);
        else if (!strcmp(w, "--fp") && value)
            r->o.fp = !strcmp(value, "strict") ? GOPT_FP_STRICT
                      : !strcmp(value, "fast") ? GOPT_FP_FAST
                                               : GOPT_FP_REASSOC;
        else if (!strcmp(w, "--fuse"))
            r->o.fuse = true;
        else if (!strcmp(w, "--remarks"))
            r->remarks = true;
        else if (!strcmp(w, "--types"))
            r->types = true;
        else if (!strcmp(w, "--eval") && value && !strcmp(value, "off"))
            r->no_eval = true;
        else if (!strcmp(w, "--again") && value && !strcmp(value, "changes"))
            r->again_changes = true;
        else
            return false;
    }
    return r->optimize || r->infer || r->error;
}

const char *golden_read(gopt_ctx *cx, gi_arena *a, const char *path, golden_case *out)
{
    gi_file *f = NULL;
    if (gi_file_open(cx, path, &f) != GOPT_OK)
        return "cannot be read";
    out->text = gi_arena_strn(a, (const char *)f->data, f->size);
    const size_t size = f->size;
    gi_file_unref(f);
    if (!out->text)
        return "no memory";
    char *mark = strstr(out->text, GOLDEN_MARK);
    out->head = mark ? (size_t)(mark - out->text) : size;
    out->want = mark ? mark : "";
    const char *at = strstr(out->text, "; RUN: "), *line = at ? at + 7 : "";
    char *words = gi_arena_strn(a, line, strcspn(line, "\n"));
    return words && parse_run(words, &out->run) ? NULL : "the RUN line is not understood";
}

gopt_status golden_graph(gopt_ctx *cx, const char *path, const golden_case *c, gopt_graph **out)
{
    const char *base = strrchr(path, '/');
    GI_TRY(gi_parse(cx, base ? base + 1 : path, c->text, c->head, out));
    gopt_status st = gi_verify(*out);
    return st == GOPT_OK ? gi_infer_graph(*out) : st;
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

bool golden_each(const char *path, void (*f)(void *arg, const char *path), void *arg)
{
    struct stat st;
    if (stat(path, &st) != 0)
        return false;
    const char *dot = strrchr(path, '.');
    if (!S_ISDIR(st.st_mode)) {
        if (dot && !strcmp(dot, ".gir"))
            f(arg, path);
        return true;
    }
    struct dirent **names;
    bool fine = true;
    const int n = scandir(path, &names, NULL, by_name);
    for (int i = 0; i < n; i++) {
        char inner[4096];
        if (names[i]->d_name[0] != '.' &&
            (size_t)snprintf(inner, sizeof inner, "%s/%s", path, names[i]->d_name) < sizeof inner)
            fine = golden_each(inner, f, arg) && fine;
        free(names[i]);
    }
    if (n >= 0)
        free(names);
    return fine;
}
