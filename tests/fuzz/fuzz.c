/* Runs the program on damaged files, and tells what it may not do from what it may.
 *
 *   fuzz model N FILE...               every command on damaged models
 *   fuzz input N MODEL NAME FILE...    `run` on a good model with a damaged file for its input NAME
 *   fuzz plan N FILE...                what takes a plan, on damaged ones
 *
 * A damaged file may be refused with 3 or 4 and one diagnostic, in which case nothing is written, or be taken,
 * in which case what was written can be read again. A crash, a sanitizer's report, an internal fault and more
 * than ten seconds are failures; so is an error without a reason. Each try is a process of its own, made by
 * fork from this one, which has the program linked in. GOPT_FUZZ_ONLY=K runs try K alone and shows what it
 * says; GOPT_FUZZ_KEEP=FOLDER keeps the files of failures. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "mutate.h"

int gopt_main(int argc, char **argv); /* tools/gopt.c */

enum { SECONDS = 10, MAX_ARGS = 24, SANITIZER_EXIT = 99 };

/* Where a sanitizer is built in, its reports must not look like one of the program's own exit codes. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "exitcode=99:allocator_may_return_null=1:detect_leaks=1";
}
const char *__lsan_default_options(void);
const char *__lsan_default_options(void)
{
    return "exitcode=99";
}
const char *__ubsan_default_options(void);
const char *__ubsan_default_options(void)
{
    return "exitcode=99:print_stacktrace=1";
}

static char folder[64] = "/tmp/gopt-fuzz-XXXXXX";
static char damaged[128], out[128], log_path[128];
static long only = -1;
static size_t tries, taken, failures;

/* ---- files ---- */

static buffer read_file(const char *path)
{
    buffer b = { 0 };
    FILE *f = fopen(path, "rb");
    if (!f || fseek(f, 0, SEEK_END) != 0) {
        fprintf(stderr, "%s: %s\n", path, strerror(errno));
        exit(1);
    }
    const long n = ftell(f);
    rewind(f);
    b.p = n >= 0 ? malloc((size_t)n + 1) : NULL;
    if (!b.p || fread(b.p, 1, (size_t)n, f) != (size_t)n)
        exit(1);
    b.n = (size_t)n;
    fclose(f);
    return b;
}

static void write_file(const char *path, const buffer *b)
{
    FILE *f = fopen(path, "wb");
    if (!f || fwrite(b->p, 1, b->n, f) != b->n || fclose(f) != 0) {
        fprintf(stderr, "%s: %s\n", path, strerror(errno));
        exit(1);
    }
}

/* Empties the folder of outputs, and says whether there was anything. */
static bool empty_outputs(void)
{
    bool any = false;
    DIR *d = opendir(out);
    for (struct dirent *e; d && (e = readdir(d));) {
        char path[512];
        if (!strcmp(e->d_name, ".") || !strcmp(e->d_name, ".."))
            continue;
        any = true;
        snprintf(path, sizeof path, "%s/%s", out, e->d_name);
        unlink(path);
    }
    if (d)
        closedir(d);
    return any;
}

/* ---- one run ---- */

/* Runs the program in a child; returns its exit code, 128 + its signal, or -1. What it says goes to a file. */
static int run_program(char **argv)
{
    fflush(NULL);
    const pid_t pid = fork();
    if (pid == 0) {
        const int null = open("/dev/null", O_RDWR);
        const int err = only >= 0 ? dup(2) : open(log_path, O_CREAT | O_TRUNC | O_WRONLY, 0600);
        if (null < 0 || err < 0 || dup2(null, 0) < 0 || dup2(null, 1) < 0 || dup2(err, 2) < 0)
            _exit(SANITIZER_EXIT);
        alarm(SECONDS);
        int argc = 0;
        while (argv[argc])
            argc++;
        exit(gopt_main(argc, argv));
    }
    int status = 0;
    if (pid < 0 || waitpid(pid, &status, 0) < 0)
        return -1;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

static size_t count_of(const char *text, const char *what)
{
    size_t n = 0;
    for (const char *p = text; (p = strstr(p, what)); p++)
        n += p == text || p[-1] == '\n';
    return n;
}

/* What is wrong with how a run ended; NULL where nothing is. */
static const char *judge(int code, bool wrote)
{
    if (code == 128 + 14)
        return "took too long";
    if (code == SANITIZER_EXIT)
        return "a sanitizer's report";
    if (code < 0 || code >= 128)
        return "crashed";
    if (code == 5 || code > 5)
        return code == 5 ? "an internal fault" : "an exit code that does not exist";
    if (only >= 0 || code <= 1)
        return NULL;
    const buffer b = read_file(log_path);
    b.p[b.n] = 0;
    const char *said = (const char *)b.p;
    const size_t errors = count_of(said, "error:");
    const char *why = NULL;
    if (strstr(said, "without saying why"))
        why = "failed without a reason";
    else if (errors != 1)
        why = errors ? "more than one error" : "failed without an error";
    else if (wrote)
        why = "failed, and wrote files";
    else if (code == 2 && !strstr(said, "--shape")) /* an input without a shape wants one to be given */
        why = "called the usage wrong";
    free(b.p);
    return why;
}

/* Says what failed and how to see it again. */
static void report(const char *why, long k, char **argv, const char *source)
{
    failures++;
    printf("try %ld: %s:", k, why);
    for (int i = 0; argv[i]; i++)
        printf(" %s", argv[i]);
    printf("\n  out of %s; GOPT_FUZZ_ONLY=%ld shows it alone\n", source, k);
    const char *keep = getenv("GOPT_FUZZ_KEEP");
    if (keep) {
        char path[512];
        const char *dot = strrchr(damaged, '.');
        const buffer b = read_file(damaged);
        snprintf(path, sizeof path, "%.400s/%ld%s", keep, k, dot ? dot : "");
        write_file(path, &b);
        free(b.p);
    }
    if (only < 0) {
        const buffer b = read_file(log_path);
        size_t shown = b.n < 1500 ? b.n : 1500;
        printf("%.*s\n", (int)shown, (const char *)b.p);
        free(b.p);
    }
}

/* Arguments are words between spaces; FILE and OUT stand for the damaged file and the folder of outputs. */
static void split(const char *words, char *text, size_t size, char **argv)
{
    size_t n = 0, used = 0;
    for (const char *p = words; *p && n + 1 < MAX_ARGS;) {
        const size_t k = strcspn(p, " ");
        const char *s = p;
        size_t left = k;
        argv[n++] = text + used;
        while (left) {
            const char *put = NULL;
            if (left >= 4 && !strncmp(s, "FILE", 4))
                put = damaged;
            else if (left >= 3 && !strncmp(s, "OUT", 3))
                put = out;
            const size_t eat = put == damaged ? 4 : put ? 3 : 1, m = put ? strlen(put) : 1;
            if (used + m + 1 >= size)
                abort();
            memcpy(text + used, put ? put : s, m);
            used += m;
            s += eat;
            left -= eat;
        }
        text[used++] = 0;
        p += k;
        p += *p == ' ';
    }
    argv[n] = NULL;
}

/* One run and its judgement; true where it ended with 0. */
static bool attempt(const char *words, long k, const char *source)
{
    char text[4096], *argv[MAX_ARGS + 1];
    split(words, text, sizeof text, argv);
    empty_outputs();
    const int code = run_program(argv);
    struct stat st;
    char written[160];
    snprintf(written, sizeof written, "%s/o.onnx", out);
    const bool onnx = stat(written, &st) == 0;
    const char *again = onnx ? written : NULL;
    if (!again) {
        snprintf(written, sizeof written, "%s/o.gir", out);
        again = stat(written, &st) == 0 ? written : NULL;
    }
    if (only >= 0)
        printf("%s: exit %d\n", words, code);
    if (code == 0 && again) {
        char *read_again[] = { (char[]){ "gopt" }, (char[]){ "inspect" }, written, NULL };
        const int second = run_program(read_again);
        if (second != 0)
            report("what it wrote cannot be read", k, argv, source);
        empty_outputs();
        return true;
    }
    const char *why = judge(code, empty_outputs());
    if (why)
        report(why, k, argv, source);
    return code == 0;
}

/* ---- kinds ---- */

static const char *const model_commands[] = {
    "gopt inspect FILE --weights --ops --nodes --json OUT/o.json",
    "gopt optimize FILE -o OUT/o.onnx --threads 1 --memory-limit 67108864",
    "gopt optimize FILE -o OUT/o.gir --level 3 --threads 1 --memory-limit 67108864",
    "gopt optimize FILE --dot OUT/o.dot --threads 1 --memory-limit 67108864",
    "gopt optimize FILE --drop-postprocess -o OUT/o.onnx --threads 1 --memory-limit 67108864",
    "gopt run FILE --threads 1 --memory-limit 33554432 --output-dir OUT --iterations 1 --warmup 0",
    "gopt run FILE --level 0 --threads 1 --memory-limit 33554432 --iterations 1 --warmup 0",
};
enum { N_COMMANDS = sizeof model_commands / sizeof *model_commands };
static const char *const plan_commands[] = {
    "gopt inspect FILE --weights --nodes --json OUT/o.json",
    "gopt run FILE --threads 1 --memory-limit 33554432 --output-dir OUT --iterations 1 --warmup 0",
    "gopt run FILE --verify --memory-limit 33554432 --output-dir OUT --iterations 1 --warmup 0",
    "gopt optimize FILE -o OUT/o.onnx --threads 1 --memory-limit 67108864",
};
enum { N_PLAN_COMMANDS = sizeof plan_commands / sizeof *plan_commands };

static const char *ending(const char *path)
{
    const char *dot = strrchr(path, '.');
    return dot && !strchr(dot, '/') ? dot : "";
}

static void mutate(const char *path, buffer *b, rng *r)
{
    const char *end = ending(path);
    if (!strcmp(end, ".gir")) {
        for (size_t i = 1 + rng_below(r, 3); i > 0; i--)
            mutate_text(b, r);
    } else if ((!strcmp(end, ".onnx") || !strcmp(end, ".pb")) && rng_below(r, 4)) {
        mutate_protobuf(b, r);
    } else {
        mutate_bytes(b, r);
    }
}

static void fuzz_files(long n, int n_files, char **files, const char *const *commands, size_t n_commands)
{
    buffer *whole = calloc((size_t)n_files, sizeof *whole);
    if (!whole)
        exit(1);
    for (int i = 0; i < n_files; i++)
        whole[i] = read_file(files[i]);
    for (long k = only >= 0 ? only : 0; k < (only >= 0 ? only + 1 : n); k++) {
        rng r = { (uint64_t)k * 0x2545f4914f6cdd1du + 1 };
        const size_t i = rng_below(&r, (size_t)n_files);
        buffer b = { .p = malloc(whole[i].n + 1), .n = whole[i].n };
        if (!b.p)
            exit(1);
        memcpy(b.p, whole[i].p, b.n);
        mutate(files[i], &b, &r);
        snprintf(damaged, sizeof damaged, "%s/m%s", folder, ending(files[i]));
        write_file(damaged, &b);
        free(b.p);
        const char *command = commands[rng_below(&r, n_commands)];
        tries++;
        taken += attempt(command, k, files[i]);
        unlink(damaged);
    }
    for (int i = 0; i < n_files; i++)
        free(whole[i].p);
    free(whole);
}

static int usage(void)
{
    fprintf(stderr, "usage: fuzz model N FILE... | fuzz input N MODEL NAME FILE... | fuzz plan N FILE...\n");
    return 2;
}

int main(int argc, char **argv)
{
    const char *one = getenv("GOPT_FUZZ_ONLY");
    only = one ? atol(one) : -1;
    if (argc < 4 || !mkdtemp(folder))
        return usage();
    snprintf(out, sizeof out, "%s/out", folder);
    snprintf(log_path, sizeof log_path, "%s/log", folder);
    if (mkdir(out, 0700) != 0)
        return 1;
    const long n = atol(argv[2]) * (getenv("GOPT_TEST_FULL") ? 10 : 1);
    if (!strcmp(argv[1], "model")) {
        fuzz_files(n, argc - 3, argv + 3, model_commands, N_COMMANDS);
    } else if (!strcmp(argv[1], "plan")) {
        fuzz_files(n, argc - 3, argv + 3, plan_commands, N_PLAN_COMMANDS);
    } else if (!strcmp(argv[1], "input") && argc > 5) {
        char command[1024];
        snprintf(command, sizeof command,
                 "gopt run %s --input %s=FILE --threads 1 --memory-limit 67108864 --output-dir OUT --iterations 1 "
                 "--warmup 0 --image-scale 1/255 --image-resize",
                 argv[3], argv[4]);
        fuzz_files(n, argc - 5, argv + 5, (const char *const[]){ command }, 1);
    } else {
        return usage();
    }
    empty_outputs();
    unlink(log_path);
    rmdir(out);
    rmdir(folder);
    printf("%zu tries, %zu taken, %zu failures\n", tries, taken, failures);
    return failures > 0;
}
