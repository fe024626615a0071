/* Diagnostics, progress, files and small texts that the subcommands share. */
#include "table.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* ---- diagnostics ---- */

static void put(json_t *o, const char *key, json_t *value)
{
    json_object_set_new(o, key, value);
}

static void print_diag_json(const gopt_diag *d)
{
    static const char *const names[] = { "note", "warning", "error" };
    json_t *o = json_object();
    put(o, "severity", json_string(names[d->severity]));
    if (d->severity == GOPT_ERROR)
        put(o, "exit", json_integer(gopt_status_exit(d->status)));
    put(o, "file", json_text(d->file));
    put(o, "subgraph", json_text(d->subgraph));
    put(o, "node_index", d->node_index >= 0 ? json_integer(d->node_index) : json_null());
    put(o, "node", json_text(d->node));
    put(o, "op", json_text(d->op));
    put(o, "opset", d->opset ? json_integer(d->opset) : json_null());
    put(o, "input", json_text(d->input));
    put(o, "message", json_text(d->message));
    put(o, "hint", json_text(d->hint));
    json_dumpf(o, stderr, JSON_COMPACT);
    fputc('\n', stderr);
    json_decref(o);
}

/* Its first word in colour where it is one of ours. */
static void print_line(const char *text, bool colored)
{
    static const struct {
        const char *word, *color;
    } words[] = {
        { "error:", "\033[1;31m" }, { "warning:", "\033[1;33m" }, { "note:", "\033[1;36m" }, { "hint:", "\033[1;32m" }
    };
    for (size_t i = 0; colored && i < sizeof words / sizeof words[0]; i++) {
        const size_t n = strlen(words[i].word);
        if (!strncmp(text, words[i].word, n)) {
            fprintf(stderr, "%s%s\033[0m", words[i].color, words[i].word);
            text += n;
            break;
        }
    }
    text_put(stderr, text);
    fputc('\n', stderr);
}

static void print_diag(tool *t, const gopt_diag *d)
{
    if (t->muted)
        return;
    if (d->severity == GOPT_ERROR)
        t->failed = true;
    else if (t->o.quiet)
        return;
    fflush(stdout);
    if (t->o.diagnostics && !strcmp(t->o.diagnostics, "json")) {
        print_diag_json(d);
        return;
    }
    const int n = gopt_diag_format(d, NULL, 0);
    char *text = n > 0 ? malloc((size_t)n + 1) : NULL;
    if (!text)
        return;
    gopt_diag_format(d, text, (size_t)n + 1);
    char *rest = text;
    for (char *line = strsep(&rest, "\n"); line; line = strsep(&rest, "\n")) {
        if (*line)
            print_line(line, t->color_err);
    }
    free(text);
}

gopt_status(tool_fail)(tool *t, gopt_status status, const char *file, const char *hint, const char *fmt, ...)
{
    char message[2048];
    va_list args;
    va_start(args, fmt);
    vsnprintf(message, sizeof message, fmt, args);
    va_end(args);
    if (t->cx)
        tool_flush(t);
    print_diag(t, &(gopt_diag){ .severity = GOPT_ERROR,
                                .status = status,
                                .file = file,
                                .node_index = -1,
                                .message = message,
                                .hint = hint });
    return status;
}

static void tell(tool *t, gopt_severity severity, const char *hint, const char *fmt, va_list args)
    __attribute__((format(printf, 4, 0)));
static void tell(tool *t, gopt_severity severity, const char *hint, const char *fmt, va_list args)
{
    char message[1024];
    vsnprintf(message, sizeof message, fmt, args);
    print_diag(t, &(gopt_diag){ .severity = severity, .node_index = -1, .message = message, .hint = hint });
}

void tool_note(tool *t, const char *hint, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    tell(t, GOPT_NOTE, hint, fmt, args);
    va_end(args);
}

void tool_warn(tool *t, const char *hint, const char *fmt, ...)
{
    va_list args;
    va_start(args, fmt);
    tell(t, GOPT_WARNING, hint, fmt, args);
    va_end(args);
}

gopt_status(tool_no_memory)(tool *t)
{
    return tool_fail(t, GOPT_NO_MEMORY, NULL, NULL, "out of memory");
}

void tool_flush(tool *t)
{
    for (; t->diags_shown < gopt_diag_count(t->cx); t->diags_shown++)
        print_diag(t, gopt_diag_get(t->cx, t->diags_shown));
}

void tool_forget(tool *t)
{
    t->diags_shown = gopt_diag_count(t->cx);
}

/* ---- text ---- */

/* Bytes of the end of a line, or of a colour of ours, that stands there; 0: text does. */
static size_t layout_at(const tool *t, const char *p)
{
    const char *const ours[] = { bold(t), dim(t), green(t), red(t), yellow(t), plain(t) };
    for (size_t i = 0; *p == '\033' && i < sizeof ours / sizeof *ours; i++)
        if (*ours[i] && !strncmp(p, ours[i], strlen(ours[i])))
            return strlen(ours[i]);
    return *p == '\n';
}

void say(const tool *t, const char *fmt, ...)
{
    char *text = NULL;
    va_list args;
    if (t->o.quiet)
        return;
    va_start(args, fmt);
    const int n = vasprintf(&text, fmt, args);
    va_end(args);
    for (char *p = n < 0 ? NULL : text; p && *p;) {
        const size_t layout = layout_at(t, p);
        char *end = p + layout;
        while (!layout && *end && !layout_at(t, end))
            end++;
        const char behind = *end;
        *end = 0;
        if (layout)
            fputs(p, stdout);
        else
            text_put(stdout, p);
        *end = behind;
        p = end;
    }
    if (n >= 0)
        free(text);
}

const char *bold(const tool *t)
{
    return t->color_out ? "\033[1m" : "";
}

const char *dim(const tool *t)
{
    return t->color_out ? "\033[2m" : "";
}

const char *green(const tool *t)
{
    return t->color_out ? "\033[1;32m" : "";
}

const char *red(const tool *t)
{
    return t->color_out ? "\033[1;31m" : "";
}

const char *yellow(const tool *t)
{
    return t->color_out ? "\033[1;33m" : "";
}

const char *plain(const tool *t)
{
    return t->color_out ? "\033[0m" : "";
}

text32 bytes_text(uint64_t n)
{
    static const char *const units[] = { "bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB" };
    text32 s;
    double v = (double)n;
    size_t u = 0;
    for (; v >= 1024 && u < 6; u++)
        v /= 1024;
    snprintf(s.p, sizeof s.p, u ? "%.1f %s" : "%.0f %s", v, units[u]);
    return s;
}

text32 count_text(uint64_t n)
{
    char digits[24];
    text32 s;
    const int len = snprintf(digits, sizeof digits, "%llu", (unsigned long long)n);
    size_t at = 0;
    for (int i = 0; i < len; i++) {
        if (i && (len - i) % 3 == 0)
            s.p[at++] = ',';
        s.p[at++] = digits[i];
    }
    s.p[at] = 0;
    return s;
}

char *text_of(const char *fmt, ...)
{
    char *text = NULL;
    va_list args;
    va_start(args, fmt);
    const int n = vasprintf(&text, fmt, args);
    va_end(args);
    return n < 0 ? NULL : text;
}

json_t *json_text(const char *s)
{
    if (!s)
        return json_null();
    json_t *j = json_string(s);
    if (j)
        return j;
    /* not UTF-8: keep what is ASCII */
    char *copy = strdup(s);
    for (char *p = copy; p && *p; p++)
        if ((unsigned char)*p >= 0x80)
            *p = '?';
    j = copy ? json_string(copy) : NULL;
    free(copy);
    return j ? j : json_null();
}

json_t *json_op_counts(const gopt_op_count *ops, size_t n)
{
    json_t *o = json_object();
    for (size_t i = 0; i < n; i++)
        json_object_set_new(o, ops[i].op, json_integer(ops[i].count));
    return o;
}

/* "f32[batch,3,min(a,b)]": the dims between commas outside parentheses and backquotes. */
json_t *json_value_type(const char *type, json_t *into)
{
    put(into, "type", json_text(type));
    const char *open = strchr(type, '[');
    put(into, "dtype", json_stringn(type, open ? (size_t)(open - type) : strlen(type)));
    json_t *shape = open && strcmp(open, "[*]") != 0 ? json_array() : json_null();
    for (const char *p = open ? open + 1 : ""; json_is_array(shape) && *p && *p != ']';) {
        int depth = 0;
        bool quoted = false;
        const char *end = p;
        for (; *end && (depth || quoted || (*end != ',' && *end != ']')); end++) {
            depth += quoted ? 0 : (*end == '(') - (*end == ')');
            quoted ^= *end == '`';
        }
        char *stop;
        const long long v = strtoll(p, &stop, 10);
        json_array_append_new(shape, stop == end && end > p ? json_integer(v) : json_stringn(p, (size_t)(end - p)));
        p = *end == ',' ? end + 1 : end;
    }
    put(into, "shape", shape);
    return into;
}

double now_seconds(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec + 1e-9 * (double)ts.tv_nsec;
}

/* ---- progress ---- */

struct progress {
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t wake;
    bool done;
    char what[96];
};

static void *progress_thread(void *arg)
{
    progress *p = arg;
    const double start = now_seconds();
    bool shown = false;
    pthread_mutex_lock(&p->lock);
    while (!p->done) {
        struct timespec until;
        clock_gettime(CLOCK_REALTIME, &until);
        until.tv_sec += 1;
        pthread_cond_timedwait(&p->wake, &p->lock, &until);
        const double took = now_seconds() - start;
        if (!p->done && took > 0.95) {
            fprintf(stderr, "\r\033[K%s … %.0f s", p->what, took);
            fflush(stderr);
            shown = true;
        }
    }
    if (shown)
        fprintf(stderr, "\r\033[K");
    pthread_mutex_unlock(&p->lock);
    return NULL;
}

progress *progress_start(const tool *t, const char *what)
{
    if (t->o.quiet || !isatty(2))
        return NULL;
    progress *p = calloc(1, sizeof *p);
    if (!p)
        return NULL;
    snprintf(p->what, sizeof p->what, "%s", what);
    pthread_mutex_init(&p->lock, NULL);
    pthread_cond_init(&p->wake, NULL);
    if (pthread_create(&p->thread, NULL, progress_thread, p)) {
        free(p);
        return NULL;
    }
    return p;
}

void progress_stop(progress *p)
{
    if (!p)
        return;
    pthread_mutex_lock(&p->lock);
    p->done = true;
    pthread_cond_signal(&p->wake);
    pthread_mutex_unlock(&p->lock);
    pthread_join(p->thread, NULL);
    pthread_cond_destroy(&p->wake);
    pthread_mutex_destroy(&p->lock);
    free(p);
}

/* ---- files ---- */

gopt_status tool_take_stdout(tool *t)
{
    const options *o = &t->o;
    const struct {
        const char *name, *path;
    } files[] = { { "-o", o->out },    { "--json", o->json }, { "--dot", o->dot },  { "--svg", o->svg },
                  { "--png", o->png }, { "--pdf", o->pdf },   { "--html", o->html } };
    const char *taken = NULL;
    for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
        if (!files[i].path || strcmp(files[i].path, "-") != 0)
            continue;
        if (taken)
            return tool_fail(t, GOPT_USAGE, NULL, "name a file for one of them", "%s and %s both ask for stdout", taken,
                             files[i].name);
        taken = files[i].name;
    }
    if (!taken)
        return GOPT_OK;
    const int fd = dup(1), said = t->cmd->bit == CMD_OPTIMIZE ? dup(2) : open("/dev/null", O_WRONLY);
    t->file_out = fd < 0 ? NULL : fdopen(fd, "wb");
    const bool ok = t->file_out && said >= 0 && !fflush(stdout) && dup2(said, 1) >= 0;
    if (said >= 0)
        close(said);
    if (!ok)
        return tool_fail(t, GOPT_BAD_INPUT, "stdout", NULL, "cannot be written: %s", strerror(errno));
    t->color_out = t->color_err;
    return GOPT_OK;
}

gopt_status tool_write_file(tool *t, const char *path, const void *p, size_t n)
{
    if (!strcmp(path, "-")) {
        FILE *to = t->file_out ? t->file_out : stdout;
        if (fwrite(p, 1, n, to) != n || fflush(to))
            return tool_fail(t, GOPT_BAD_INPUT, "stdout", NULL, "cannot be written: %s", strerror(errno));
        return GOPT_OK;
    }
    struct stat st;
    if (!stat(path, &st) && S_ISDIR(st.st_mode))
        return tool_fail(t, GOPT_BAD_INPUT, path, "name a file in it", "is a folder, expected a file");
    if (!stat(path, &st) && !S_ISREG(st.st_mode)) { /* /dev/null, a pipe: nothing to replace */
        FILE *f = fopen(path, "wb");
        const bool ok = f && fwrite(p, 1, n, f) == n;
        const bool closed = !f || !fclose(f);
        return ok && closed ? GOPT_OK
                            : tool_fail(t, GOPT_BAD_INPUT, path, NULL, "cannot be written: %s", strerror(errno));
    }
    char *temporary = text_of("%s.XXXXXX", path);
    if (!temporary)
        return tool_no_memory(t);
    const int fd = mkstemp(temporary);
    if (fd < 0) {
        const int e = errno;
        free(temporary);
        return tool_fail(t, GOPT_BAD_INPUT, path, NULL, "cannot be written: %s", strerror(e));
    }
    size_t done = 0;
    errno = 0;
    while (done < n) {
        const ssize_t k = write(fd, (const char *)p + done, n - done);
        if (k < 0 && errno == EINTR)
            continue;
        if (k <= 0)
            break;
        done += (size_t)k;
    }
    const mode_t mask = umask(0);
    umask(mask);
    const bool whole = done == n && !fchmod(fd, 0666 & ~mask);
    if (close(fd) || !whole || rename(temporary, path)) {
        const int e = errno;
        unlink(temporary);
        free(temporary);
        return tool_fail(t, GOPT_BAD_INPUT, path, NULL, "cannot be written: %s", strerror(e));
    }
    free(temporary);
    return GOPT_OK;
}

gopt_status tool_write_json(tool *t, const char *path, json_t *j)
{
    char *text = j ? json_dumps(j, JSON_INDENT(2) | JSON_REAL_PRECISION(12)) : NULL;
    json_decref(j);
    if (!text)
        return tool_no_memory(t);
    const size_t n = strlen(text);
    text[n] = '\n'; /* in place of the zero that ends it */
    const gopt_status s = tool_write_file(t, path, text, n + 1);
    free(text);
    return s;
}

gopt_status tool_read_file(tool *t, const char *path, uint8_t **out, size_t *n_out)
{
    *out = NULL;
    FILE *f = strcmp(path, "-") ? fopen(path, "rb") : stdin;
    struct stat st;
    if (!f || fstat(fileno(f), &st)) {
        const int e = errno;
        if (f && f != stdin)
            fclose(f);
        return tool_fail(t, GOPT_BAD_INPUT, path, NULL, "cannot be read: %s", strerror(e));
    }
    gopt_status s = GOPT_OK;
    if (S_ISDIR(st.st_mode))
        s = tool_fail(t, GOPT_BAD_INPUT, path, NULL, "is a folder, expected a file");
    size_t n = 0, cap = S_ISREG(st.st_mode) && st.st_size > 0 ? (size_t)st.st_size + 1 : 1 << 16;
    uint8_t *p = s == GOPT_OK ? malloc(cap) : NULL;
    while (s == GOPT_OK) {
        if (!p) {
            s = tool_no_memory(t);
            break;
        }
        const size_t k = fread(p + n, 1, cap - n, f);
        n += k;
        if (!k)
            break;
        if (n == cap) {
            uint8_t *q = cap < SIZE_MAX / 2 ? realloc(p, cap * 2) : NULL;
            if (!q)
                free(p);
            p = q;
            cap *= 2;
        }
    }
    if (s == GOPT_OK && ferror(f))
        s = tool_fail(t, GOPT_BAD_INPUT, path, NULL, "cannot be read: %s", strerror(errno));
    if (f != stdin)
        fclose(f);
    if (s != GOPT_OK) {
        free(p);
        return s;
    }
    *out = p;
    *n_out = n;
    return GOPT_OK;
}

gopt_status tool_make_dir(tool *t, const char *path)
{
    char *copy = strdup(path);
    if (!copy)
        return tool_no_memory(t);
    int failed = 0;
    for (char *p = copy + 1; !failed; p++) {
        if (*p && *p != '/')
            continue;
        const char was = *p;
        *p = 0;
        struct stat st;
        if (mkdir(copy, 0777) && (errno != EEXIST || stat(copy, &st) || !S_ISDIR(st.st_mode)))
            failed = errno;
        *p = was;
        if (!was)
            break;
    }
    free(copy);
    return failed ? tool_fail(t, GOPT_BAD_INPUT, path, NULL, "no folder can be made there: %s", strerror(failed))
                  : GOPT_OK;
}
