/* NumPy's .npy, and raw bytes: inputs and outputs of gopt-plan, which has none of the other formats. */
#ifndef GOPT_MINIMAL_NPY_H
#define GOPT_MINIMAL_NPY_H

#include "gopt/gopt.h"

/* Fills `to`, whose type and shape are known, from FILE.npy of the same type and shape, or from a file of its bytes. Prints
 * what is wrong. */
bool npy_read(const char *path, gopt_tensor *to);
/* Writes FOLDER/NAME.npy, whole or not at all, with '/' and ':' of the name as '_'. */
bool npy_write(const char *folder, const char *name, const gopt_tensor *t);

#endif
