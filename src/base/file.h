/* Files: mapped for reading, and written whole or not at all. */
#ifndef GI_FILE_H
#define GI_FILE_H

#include "base/base.h"

/* A file in memory, reference-counted, so that weights can point into it. */
typedef struct gi_file {
    gopt_ctx *cx;
    const uint8_t *data;
    size_t size;
    bool mapped;
    int refs; /* changed with atomics */
    char *path;
} gi_file;

/* Maps a file read-only ("-" reads stdin into memory). The caller owns one reference.
 * GOPT_BAD_INPUT with a diagnostic where it cannot be read, is a folder, or is empty. */
gopt_status gi_file_open(gopt_ctx *cx, const char *path, gi_file **out);
gi_file *gi_file_ref(gi_file *f);
void gi_file_unref(gi_file *f); /* f may be NULL */

/* A file being written beside its place under a temporary name; commit renames it. Nothing is left behind
 * where commit was not reached. Path "-" is stdout, written at commit. */
typedef struct gi_out gi_out;
gopt_status gi_out_open(gopt_ctx *cx, const char *path, gi_out **out);
void gi_out_write(gi_out *o, const void *p, size_t n); /* errors are kept until commit */
uint64_t gi_out_size(const gi_out *o);                 /* bytes written so far */
void gi_out_expect(gi_out *o, uint64_t n);             /* n bytes will be written: room is made for them now */
gopt_status gi_out_commit(gi_out *o);                  /* frees o in any case */
gopt_status gi_out_commit_safely(gi_out *o); /* the same once the bytes are on the disk, whatever happens then */
void gi_out_abort(gi_out *o);                /* o may be NULL */

/* Writes n bytes as a whole file. */
gopt_status gi_file_write(gopt_ctx *cx, const char *path, const void *p, size_t n);

#endif
