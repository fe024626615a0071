/* Which kernels a plan of the opencl backend was made of, by the sources that it was told to leave in a folder. */
#ifndef GOPT_UNIT_OPENCL_DUMP_H
#define GOPT_UNIT_OPENCL_DUMP_H

#include "unit/opencl.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

/* For check_options.dump. */
typedef struct dump_folder {
    char path[32];
} dump_folder;

static inline void open_dump(dump_folder *d)
{
    need_a_device();
    *d = (dump_folder){ "/tmp/gopt-dump-XXXXXX" };
    assert_non_null(mkdtemp(d->path));
}

/* How many programs that begin with this kernel hold what this pattern of grep says? */
static inline int dumped(const dump_folder *d, const char *kernel, const char *pattern)
{
    char command[200];
    (void)snprintf(command, sizeof command, "exit $(grep -l -e '%s' %s/*_%s.cl 2> /dev/null | wc -l)", pattern, d->path,
                   kernel);
    return WEXITSTATUS(system(command));
}

static inline void close_dump(dump_folder *d)
{
    char command[64];
    (void)snprintf(command, sizeof command, "rm -r %s", d->path);
    assert_int_equal(system(command), 0);
}

#endif
