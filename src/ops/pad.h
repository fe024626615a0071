/* Rules and evaluators of Pad and CenterCropPad, for the rows of the movement family. */
#ifndef GI_PAD_H
#define GI_PAD_H

#include "ops/eval.h"
#include "ops/infer.h"

gopt_status gi_infer_pad(gi_infer *c);
gopt_status gi_eval_pad(gi_eval *a);
gopt_status gi_infer_center_crop_pad(gi_infer *c);
gopt_status gi_eval_center_crop_pad(gi_eval *a);

#endif
