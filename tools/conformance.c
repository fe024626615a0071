/* gopt conformance: finds ONNX backend tests and runs each in a process of its own, so that a crash or an endless
 * loop is one failure. What a test is, and how it is judged, is in conformance_test.c.
 *
 * A test is a folder with model.onnx and test_data_set_N, or a model X.onnx with its answer X_output_0.pb beside it
 * (data/light of the onnx package). A process is forked, never executed: 1,900 tests take seconds. */
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

#include "conformance.h"

enum { MOST_DEPTH = 32, MOST_JOBS = 256 };

typedef enum outcome { PASSED, FAILED, SKIPPED } outcome;

typedef struct test {
    char *path; /* a folder, or a model's file */
    outcome result;
    bool by_distribution;
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
    json_t *overrides; /* NULL: none */
    char scratch[512]; /* a folder of this run alone */
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

static gopt_status add_test(suite *s, const char *at)
{
    if ((s->has_include && regexec(&s->include, at, 0, NULL, 0)) ||
        (s->has_exclude && !regexec(&s->exclude, at, 0, NULL, 0)))
        return GOPT_OK;
    if (s->n == s->cap) {
        const size_t cap = s->cap ? 2 * s->cap : 256;
        test *p = realloc(s->tests, cap * sizeof *p);
        if (!p)
            return tool_no_memory(s->t);
        s->tests = p;
        s->cap = cap;
    }
    char *copy = strdup(at);
    if (!copy)
        return tool_no_memory(s->t);
    s->tests[s->n++] = (test){ .path = copy };
    return GOPT_OK;
}

/* X.onnx in `dir`, where X_output_0.pb is beside it. */
static gopt_status add_pair(suite *s, const char *dir, const char *name)
{
    const size_t n = strlen(name);
    if (n < 6 || strcmp(name + n - 5, ".onnx") != 0)
        return GOPT_OK;
    char *answer = text_of("%.*s_output_0.pb", (int)(n - 5), name), *path = text_of("%s/%s", dir, name);
    const gopt_status status = !answer || !path       ? tool_no_memory(s->t)
                               : is_file(dir, answer) ? add_test(s, path)
                                                      : GOPT_OK;
    free(answer);
    free(path);
    return status;
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
        else
            status = add_pair(s, dir, e->d_name);
        free(path);
    }
    closedir(d);
    if (status == GOPT_OK && data && is_file(dir, "model.onnx"))
        status = add_test(s, dir);
    return status;
}

/* Files first: those are whole networks, which take longest. */
static int by_path(const void *a, const void *b)
{
    const char *x = ((const test *)a)->path, *y = ((const test *)b)->path;
    const size_t n = strlen(x), k = strlen(y);
    const int file_x = n > 5 && !strcmp(x + n - 5, ".onnx"), file_y = k > 5 && !strcmp(y + k - 5, ".onnx");
    return file_x != file_y ? file_y - file_x : strcmp(x, y);
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
        const int code = conformance_test(s->t, s->tests[at].path, s->scratch, s->overrides);
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

/* The way that it ran in last, as "level 3: "; "" before the first. Freed by the caller. */
static char *way_of(const child *c)
{
    const char *last = NULL;
    for (const char *p = c->text; p && (p = strstr(p, CONFORMANCE_WAY)); p++)
        last = p + strlen(CONFORMANCE_WAY);
    return last ? text_of("%.*s: ", (int)strcspn(last, "\n"), last) : strdup("");
}

/* The line that says why: the first error, without its prefix and the file's path; else the last line. */
static char *reason_of(const suite *s, const child *c, const char *path)
{
    const char *text = c->text ? c->text : "";
    const char *p = strstr(text, "error: ");
    if (!p)
        p = strstr(text, "ERROR: ");
    if (!p)
        return strdup("no reason given");
    p += 7;
    const size_t n = strlen(path), k = strlen(s->scratch);
    if (!strncmp(p, path, n) && p[n] == '/')
        p += n + 1 + (strncmp(p + n, "/model.onnx: ", 13) ? 0 : 12);
    else if (!strncmp(p, path, n) && p[n] == ':')
        p += n + 2;
    else if (!strncmp(p, s->scratch, k) && strstr(p, ": "))
        p = strstr(p, ": ") + 2;
    return strndup(p, strcspn(p, "\n"));
}

/* Why it did not pass, with the way where that matters. Freed by the caller; NULL where there is no memory. */
static char *why_not(const suite *s, const child *c, int status, bool too_long, bool unsupported)
{
    char *what = too_long ? text_of("took over %lld seconds", (long long)(s->t->o.timeout ? s->t->o.timeout : 60))
                 : WIFSIGNALED(status) ? text_of("crashed: %s", strsignal(WTERMSIG(status)))
                                       : reason_of(s, c, s->tests[c->test].path);
    char *way = unsupported ? strdup("") : way_of(c);
    char *both = what && way ? text_of("%s%s", way, what) : NULL;
    free(what);
    free(way);
    return both;
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
    conformance_clean(s->scratch, c->pid);
    x->by_distribution = !too_long && WIFEXITED(status) && WEXITSTATUS(status) == CONFORMANCE_BY_DISTRIBUTION;
    const bool passed = !too_long && WIFEXITED(status) && (!WEXITSTATUS(status) || x->by_distribution);
    const bool unsupported =
        !too_long && WIFEXITED(status) && WEXITSTATUS(status) == gopt_status_exit(GOPT_UNSUPPORTED);
    x->result = passed ? PASSED : unsupported ? SKIPPED : FAILED;
    if (!passed)
        x->reason = why_not(s, c, status, too_long, unsupported);
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
    size_t count[3] = { 0 }, by_distribution = 0;
    json_t *tests = json_array();
    for (size_t i = 0; i < s->n; i++) {
        const test *x = &s->tests[i];
        count[x->result]++;
        by_distribution += x->by_distribution;
        json_array_append_new(tests, json_pack("{s:o, s:s, s:b, s:o, s:f}", "name", json_text(x->path), "result",
                                               names[x->result], "by_distribution", x->by_distribution, "reason",
                                               json_text(x->reason), "ms", x->ms));
    }
    gopt_status status = GOPT_OK;
    if (s->t->o.json)
        status = tool_write_json(s->t, s->t->o.json,
                                 json_pack("{s:I, s:I, s:I, s:I, s:o}", "passed", (json_int_t)count[PASSED], "failed",
                                           (json_int_t)count[FAILED], "skipped", (json_int_t)count[SKIPPED],
                                           "by_distribution", (json_int_t)by_distribution, "tests", tests));
    else
        json_decref(tests);
    if (by_distribution)
        printf("%zu of those that passed draw random numbers: judged by distribution\n", by_distribution);
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
        return tool_fail(t, GOPT_BAD_INPUT, t->o.args.p[0],
                         "expected folders that hold model.onnx and test_data_set_0, or X.onnx with X_output_0.pb",
                         "has no test%s",
                         s->has_include || s->has_exclude ? " that --include and --exclude leave" : "");
    TRY(conformance_overrides(t, &s->overrides));
    qsort(s->tests, s->n, sizeof *s->tests, by_path);
    const char *tmp = getenv("TMPDIR");
    tmp = tmp && *tmp && strlen(tmp) < sizeof s->scratch / 2 ? tmp : "/tmp";
    snprintf(s->scratch, sizeof s->scratch, "%s/gopt-conformance-XXXXXX", tmp);
    if (!mkdtemp(s->scratch)) {
        *s->scratch = 0;
        return tool_fail(t, GOPT_BAD_INPUT, tmp, NULL, "no folder can be made in it: %s", strerror(errno));
    }
    const long cores = sysconf(_SC_NPROCESSORS_ONLN);
    const int64_t jobs = t->o.jobs ? t->o.jobs : cores;
    TRY(run_tests(s, jobs < 1 ? 1 : jobs > MOST_JOBS ? MOST_JOBS : (size_t)jobs));
    return report(s);
}

gopt_status conformance(tool *t)
{
    suite s = { .t = t };
    const gopt_status status = conformance_steps(&s);
    if (*s.scratch)
        rmdir(s.scratch);
    json_decref(s.overrides);
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
