/* What the files of gopt conformance share. */
#ifndef CONFORMANCE_H
#define CONFORMANCE_H

#include <sys/types.h>

#include "tool.h"

/* Exit code of a test that passed, and whose numbers are random. */
enum { CONFORMANCE_BY_DISTRIBUTION = 100 };

/* A line of its stderr that starts so names the way in which the model is run from then on. */
#define CONFORMANCE_WAY "way: "

/* ---- conformance_test.c ---- */

/* Runs one test in every way; the exit code of its process. `path`: a folder, or a model X.onnx with X_output_0.pb.
 * `scratch`: a folder in which it may write files that conformance_clean removes. */
int conformance_test(const tool *parent, const char *path, const char *scratch, const json_t *overrides);
/* Removes what the test that ran in that process left in `scratch`. */
void conformance_clean(const char *scratch, pid_t pid);
/* Reads --overrides: {"tests": [{"name", "rtol", "atol", "reason", "link"}]}. *out is NULL where it was not given. */
gopt_status conformance_overrides(tool *t, json_t **out);

/* ---- conformance_random.c ---- */

/* Do random numbers reach output i? */
bool output_is_random(const gopt_graph *g, size_t i);
/* Could `out` be drawn from what the model says: dtype and shape of `want`, values that can be, each about as often as
 * it should? Else false, with the reason. `in` and `out` are one a graph input and output. */
bool random_fits(const gopt_graph *g, size_t i, gopt_tensor *const *in, const answers *out, const gopt_tensor *want,
                 char *why, size_t size);

#endif
