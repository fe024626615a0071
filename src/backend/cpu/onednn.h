/* oneDNN's primitives as tactics, behind this one file pair: its C interface broke between its versions 2 and 3.
 *
 * A primitive is made for one thread and runs on the worker that calls it, on that worker's share of the channels or
 * batches: two thread pools that spin would fight. The number of threads is fixed when a primitive is made. */
#ifndef GI_ONEDNN_H
#define GI_ONEDNN_H

#include "backend/cpu/cpu.h"

/* Threads that this process has, for the test that running a primitive starts none. 0 where it cannot be told. */
int gi_onednn_process_threads(void);

#endif
