/* Type rules of If, Loop and Scan. */
#ifndef GI_CONTROL_RULES_H
#define GI_CONTROL_RULES_H

#include "ops/infer.h"

gopt_status gi_infer_if(gi_infer *c);
gopt_status gi_infer_loop(gi_infer *c);
gopt_status gi_infer_scan(gi_infer *c);

#endif
