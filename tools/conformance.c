/* gopt conformance: runs folders of ONNX backend tests (model.onnx with test_data_set_N), each in a process
 * of its own, so that a crash or an endless loop is one failure. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <regex.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "tool.h"

enum { MOST_DEPTH = 32, MOST_JOBS = 256 };

typedef enum outcome { PASSED, FAILED, SKIPPED } outcome;

typedef struct test {
    char *path;
    outcome result;
    char *reason; /* the first error that it printed; NULL where it passed */
    double ms;
} test;

typedef struct child {
    size_t test;
    pid_t pid;
    int fd;
    double start;
    char *text; /* what it printed */
    size_t n, cap;
} child;

typedef struct suite {
    tool *t;
    test *tests;
    size_t n, cap;
    regex_t include, exclude;
    bool has_include, has_exclude;
} suite;

/* ---- finding the folders ---- */

static bool is_file(const char *dir, const char *name)
{
    char *path = text_of("%s/%s", dir, name);
    struct stat st;
    const bool is = path && !stat(path, &st) && S_ISREG(st.st_mode);
    free(path);
    return is;
}

static gopt_status add_test(suite *s, const char *dir)
{
    if ((s->has_include && regexec(&s->include, dir, 0, NULL, 0)) ||
        (s->has_exclude && !regexec(&s->exclude, dir, 0, NULL, 0)))
        return GOPT_OK;
    if (s->n == s->cap) {
        const size_t cap = s->cap ? 2 * s->cap : 256;
        test *p = realloc(s->tests, cap * sizeof *p);
        if (!p)
            return tool_no_memory(s->t);
        s->tests = p;
        s->cap = cap;
    }
    char *copy = strdup(dir);
    if (!copy)
        return tool_no_memory(s->t);
    s->tests[s->n++] = (test){ .path = copy };
    return GOPT_OK;
}

static gopt_status find_tests(suite *s, const char *dir, int depth)
{
    DIR *d = opendir(dir);
    if (!d)
        return depth ? GOPT_OK : tool_fail(s->t, GOPT_BAD_INPUT, dir, NULL, "cannot be read: %s", strerror(errno));
    gopt_status status = GOPT_OK;
    bool data = false;
    struct dirent *e;
    while (status == GOPT_OK && (e = readdir(d))) {
        if (e->d_name[0] == '.')
            continue;
        data |= !strncmp(e->d_name, "test_data_set_", 14);
        char *path = text_of("%s/%s", dir, e->d_name);
        struct stat st;
        if (!path)
            status = tool_no_memory(s->t);
        else if (depth < MOST_DEPTH && !lstat(path, &st) && S_ISDIR(st.st_mode))
            status = find_tests(s, path, depth + 1);
        free(path);
    }
    closedir(d);
    if (status == GOPT_OK && data && is_file(dir, "model.onnx"))
        status = add_test(s, dir);
    return status;
}

static int by_path(const void *a, const void *b)
{
    return strcmp(((const test *)a)->path, ((const test *)b)->path);
}

/* ---- one test, in the child ---- */

static gopt_status run_data_set(tool *t, const char *model, const char *dir)
{
    gopt_graph *g = NULL;
    gopt_tensor **in = NULL;
    size_t n_in = 0;
    answers out = { 0 };
    run_spec spec = { .backend = "cpu", .precision = "fp32", .level = t->o.level < 0 ? 2 : (int)t->o.level };
    if (t->o.backend)
        snprintf(spec.backend, sizeof spec.backend, "%s", t->o.backend);
    gopt_status s = tool_load(t, model, &g);
    if (s == GOPT_OK)
        s = tool_check_supported(t, g, model);
    if (s == GOPT_OK)
        s = inputs_make(t, g, dir, &in, &n_in);
    if (s == GOPT_OK)
        s = run_once(t, g, &spec, in, &out);
    for (size_t i = 0; s == GOPT_OK && i < out.n; i++) {
        gopt_tensor *want = NULL; /* stays so where no answer is given: that it ran is all */
        char *path = text_of("%s/output_%zu.pb", dir, i);
        diff d;
        if (!path)
            s = tool_no_memory(t);
        else if (!access(path, R_OK))
            s = gopt_onnx_load_tensor(t->cx, path, gopt_value_kind(gopt_graph_get_output(g, i)), &want);
        if (s == GOPT_OK && want) {
            tensor_diff(out.p[i], want, t->o.rtol < 0 ? 1e-3 : t->o.rtol, t->o.atol < 0 ? 1e-7 : t->o.atol, false, &d);
            if (!d.same)
                s = tool_fail(t, GOPT_DIFFERENT, NULL, NULL, "output %s: %s", gopt_graph_output_name(g, i), d.why);
        }
        gopt_tensor_unref(want);
        free(path);
    }
    tensors_free(in, n_in);
    answers_free(&out);
    gopt_graph_destroy(g);
    return s;
}

/* All of a folder's data sets; the process's exit code. */
static int run_test(const suite *parent, const char *dir)
{
    tool t = *parent->t;
    t.cx = gopt_ctx_create(
        &(gopt_ctx_options){ .memory_limit = t.o.memory_limit, .threads = t.o.threads ? (int)t.o.threads : 1 });
    t.diags_shown = 0;
    t.color_err = t.color_out = false;
    t.o.diagnostics = NULL;
    t.o.quiet = true;
    char *model = text_of("%s/model.onnx", dir);
    if (!t.cx || !model)
        return gopt_status_exit(GOPT_NO_MEMORY);
    gopt_status s = GOPT_OK;
    for (int i = 0; s == GOPT_OK; i++) {
        char *data = text_of("%s/test_data_set_%d", dir, i);
        struct stat st;
        const bool there = data && !stat(data, &st);
        if (there)
            s = run_data_set(&t, model, data);
        free(data);
        if (!there)
            break;
    }
    tool_flush(&t);
    free(model);
    gopt_ctx_destroy(t.cx);
    return gopt_status_exit(s);
}

/* ---- many at a time ---- */

static bool start(suite *s, child *c, size_t at)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC))
        return false;
    fflush(stdout);
    fflush(stderr);
    const pid_t pid = fork();
    if (pid < 0) {
        close(ends[0]);
        close(ends[1]);
        return false;
    }
    if (!pid) {
        const int null = open("/dev/null", O_RDWR);
        setpgid(0, 0);
        dup2(null, 0);
        dup2(null, 1);
        dup2(ends[1], 2);
        const int code = run_test(s, s->tests[at].path);
        fflush(stderr);
        _exit(code);
    }
    close(ends[1]);
    *c = (child){ .test = at, .pid = pid, .fd = ends[0], .start = now_seconds() };
    return true;
}

/* What it printed so far; false at its end. Only the first 64 KiB are kept. */
static bool listen_to(child *c)
{
    char buffer[4096];
    const ssize_t n = read(c->fd, buffer, sizeof buffer);
    if (n < 0)
        return errno == EINTR || errno == EAGAIN;
    if (!n)
        return false;
    if (c->n + (size_t)n + 1 > c->cap && c->cap < 1 << 16) {
        char *p = realloc(c->text, c->cap + 16384);
        if (p) {
            c->text = p;
            c->cap += 16384;
        }
    }
    const size_t left = c->cap > c->n ? c->cap - c->n - 1 : 0, k = (size_t)n < left ? (size_t)n : left;
    if (k) {
        memcpy(c->text + c->n, buffer, k);
        c->n += k;
        c->text[c->n] = 0;
    }
    return true;
}

/* The line that says why: the first error, without its prefix and the model's path; else the last line. */
static char *reason_of(const child *c, const char *path)
{
    const char *text = c->text ? c->text : "";
    const char *p = strstr(text, "error: ");
    if (!p)
        p = strstr(text, "ERROR: ");
    if (!p)
        return strdup(*text ? text : "no reason given");
    p += 7;
    const size_t n = strlen(path);
    if (!strncmp(p, path, n)) {
        p += n;
        p += strncmp(p, "/model.onnx: ", 13) ? 0 : 13;
    }
    return strndup(p, strcspn(p, "\n"));
}

static void finish(suite *s, child *c, bool too_long)
{
    test *x = &s->tests[c->test];
    int status = 0;
    if (too_long)
        kill(c->pid, SIGKILL);
    while (waitpid(c->pid, &status, 0) < 0 && errno == EINTR)
        ;
    close(c->fd);
    x->ms = 1e3 * (now_seconds() - c->start);
    if (too_long)
        x->reason = text_of("took over %lld seconds", (long long)(s->t->o.timeout ? s->t->o.timeout : 60));
    else if (WIFSIGNALED(status))
        x->reason = text_of("crashed: %s", strsignal(WTERMSIG(status)));
    else if (WEXITSTATUS(status))
        x->reason = reason_of(c, x->path);
    x->result = too_long || WIFSIGNALED(status)                             ? FAILED
                : !WEXITSTATUS(status)                                      ? PASSED
                : WEXITSTATUS(status) == gopt_status_exit(GOPT_UNSUPPORTED) ? SKIPPED
                                                                            : FAILED;
    free(c->text);
    const tool *t = s->t;
    if (x->result == FAILED || (x->result == SKIPPED && t->o.verbose))
        printf("%s%s%s %s: %s\n", x->result == FAILED ? red(t) : dim(t), x->result == FAILED ? "FAILED" : "skipped",
               plain(t), x->path, x->reason ? x->reason : "no reason given");
}

static void show_count(const suite *s, size_t done)
{
    if (s->t->o.quiet || !isatty(2))
        return;
    fprintf(stderr, done < s->n ? "\r\033[K%zu of %zu" : "\r\033[K", done, s->n);
    fflush(stderr);
}

static gopt_status run_tests(suite *s, size_t jobs)
{
    child running[MOST_JOBS];
    struct pollfd polls[MOST_JOBS];
    size_t n = 0, next = 0, done = 0;
    const double limit = s->t->o.timeout ? (double)s->t->o.timeout : 60;
    while (next < s->n || n) {
        while (n < jobs && next < s->n) {
            if (!start(s, &running[n], next)) {
                if (n)
                    break;
                return tool_fail(s->t, GOPT_NO_MEMORY, NULL, NULL, "no process can be started: %s", strerror(errno));
            }
            n++;
            next++;
        }
        for (size_t i = 0; i < n; i++)
            polls[i] = (struct pollfd){ .fd = running[i].fd, .events = POLLIN };
        poll(polls, (nfds_t)n, 200);
        for (size_t i = n; i-- > 0;) {
            const bool late = now_seconds() - running[i].start > limit;
            const bool over = (polls[i].revents & (POLLIN | POLLHUP | POLLERR)) && !listen_to(&running[i]);
            if (!late && !over)
                continue;
            finish(s, &running[i], late && !over);
            running[i] = running[--n];
            show_count(s, ++done);
        }
    }
    return GOPT_OK;
}

/* ---- the whole ---- */

static gopt_status compile_regex(tool *t, const char *flag, const char *text, regex_t *re, bool *has)
{
    char why[160];
    if (!text)
        return GOPT_OK;
    const int e = regcomp(re, text, REG_EXTENDED | REG_NOSUB);
    if (e) {
        regerror(e, re, why, sizeof why);
        return tool_fail(t, GOPT_USAGE, NULL, NULL, "--%s '%s' is no regular expression: %s", flag, text, why);
    }
    *has = true;
    return GOPT_OK;
}

static gopt_status report(suite *s)
{
    static const char *const names[] = { "passed", "failed", "skipped" };
    size_t count[3] = { 0 };
    json_t *tests = json_array();
    for (size_t i = 0; i < s->n; i++) {
        const test *x = &s->tests[i];
        count[x->result]++;
        json_array_append_new(tests, json_pack("{s:o, s:s, s:o, s:f}", "name", json_text(x->path), "result",
                                               names[x->result], "reason", json_text(x->reason), "ms", x->ms));
    }
    gopt_status status = GOPT_OK;
    if (s->t->o.json)
        status = tool_write_json(s->t, s->t->o.json,
                                 json_pack("{s:I, s:I, s:I, s:o}", "passed", (json_int_t)count[PASSED], "failed",
                                           (json_int_t)count[FAILED], "skipped", (json_int_t)count[SKIPPED], "tests",
                                           tests));
    else
        json_decref(tests);
    printf("%zu passed, %zu failed, %zu skipped\n", count[PASSED], count[FAILED], count[SKIPPED]);
    TRY(status);
    return count[FAILED] ? GOPT_DIFFERENT : GOPT_OK;
}

static gopt_status conformance_steps(suite *s)
{
    tool *t = s->t;
    TRY(compile_regex(t, "include", t->o.include, &s->include, &s->has_include));
    TRY(compile_regex(t, "exclude", t->o.exclude, &s->exclude, &s->has_exclude));
    for (size_t i = 0; i < t->o.args.n; i++)
        TRY(find_tests(s, t->o.args.p[i], 0));
    if (!s->n)
        return tool_fail(t, GOPT_BAD_INPUT, t->o.args.p[0], "expected folders that hold model.onnx and test_data_set_0",
                         "has no test%s",
                         s->has_include || s->has_exclude ? " that --include and --exclude leave" : "");
    qsort(s->tests, s->n, sizeof *s->tests, by_path);
    const long cores = sysconf(_SC_NPROCESSORS_ONLN);
    const int64_t jobs = t->o.jobs ? t->o.jobs : cores;
    TRY(run_tests(s, jobs < 1 ? 1 : jobs > MOST_JOBS ? MOST_JOBS : (size_t)jobs));
    return report(s);
}

gopt_status conformance(tool *t)
{
    suite s = { .t = t };
    const gopt_status status = conformance_steps(&s);
    for (size_t i = 0; i < s.n; i++) {
        free(s.tests[i].path);
        free(s.tests[i].reason);
    }
    free(s.tests);
    if (s.has_include)
        regfree(&s.include);
    if (s.has_exclude)
        regfree(&s.exclude);
    return status;
}
