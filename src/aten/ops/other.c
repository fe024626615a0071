/* What is left of TorchScript. */
#include "aten/aten.h"

/* The tensors of a list, each as a result: those that the list was made of, or taken out of it. */
bool gi_aten_list_unpack(gi_aten *a)
{
    gi_value *list = gi_aten_tensor(a, "list");
    gi_node *made = gi_value_node(list);
    for (uint32_t i = 0; i < a->n->n_out; i++) {
        const int64_t at = i;
        gi_value *part = made && made->op == OP_SequenceConstruct
                             ? gi_node_in(made, i)
                             : gi_aten_2(a, OP_SequenceAt, list, gi_const_i64(a->g, 0, 1, &at));
        if (!part)
            return gi_aten_decline(a, "the list has %u tensors, expected %u", made ? made->n_in : 0, a->n->n_out);
        if (!gi_aten_return(a, i, part))
            return false;
    }
    return true;
}

/* ---- torchvision ---- */

/* Indices of the boxes that stay, best first: the third column of what ONNX gives. */
bool gi_aten_nms(gi_aten *a)
{
    gi_value *boxes = gi_aten_tensor(a, "dets"), *scores = gi_aten_tensor(a, "scores");
    double overlap;
    static const int64_t first[] = { 0 }, two[] = { 0, 1 };
    if (!gi_aten_float(a, "iou_threshold", &overlap))
        return false;
    gi_value *limit = gi_aten_dim(a, scores, 0);
    gi_value *y =
        gi_aten_make(a, OP_NonMaxSuppression, 4,
                     (gi_value *[]){ gi_aten_unsqueeze(a, boxes, 1, first), gi_aten_unsqueeze(a, scores, 2, two), limit,
                                     gi_aten_number(a, GOPT_F32, overlap) },
                     NULL);
    return gi_aten_return(
        a, 0, gi_aten_make(a, OP_Gather, 2, (gi_value *[]){ y, gi_aten_number(a, GOPT_I64, 2) }, "axis = 1"));
}

/* A region is its picture's number and four coordinates. */
bool gi_aten_roi_align(gi_aten *a)
{
    gi_value *x = gi_aten_tensor(a, "input"), *rois = gi_aten_tensor(a, "rois");
    double scale;
    int64_t h, w, samples;
    bool aligned;
    static const int64_t column[] = { 1 };
    if (!gi_aten_float(a, "spatial_scale", &scale) || !gi_aten_int(a, "pooled_height", &h) ||
        !gi_aten_int(a, "pooled_width", &w) || !gi_aten_int(a, "sampling_ratio", &samples) ||
        !gi_aten_bool(a, "aligned", &aligned))
        return false;
    gi_value *number = gi_aten_cast(a, gi_aten_squeeze(a, gi_aten_slice(a, rois, 1, 0, 1, 1), 1, column), GOPT_I64);
    gi_value *in[3] = { x, gi_aten_slice(a, rois, 1, 1, 5, 1), number };
    return gi_aten_return(
        a, 0,
        gi_aten_make(a, OP_RoiAlign, 3, in,
                     "spatial_scale = %.9g, output_height = %lld, output_width = %lld, sampling_ratio = %lld, "
                     "coordinate_transformation_mode = \"%s\"",
                     scale, (long long)h, (long long)w, (long long)(samples > 0 ? samples : 0),
                     aligned ? "half_pixel" : "output_half_pixel"));
}

bool gi_aten_deform_conv(gi_aten *a)
{
    static const char *const names[] = { "stride_h",   "stride_w",   "pad_h",  "pad_w",
                                         "dilation_h", "dilation_w", "groups", "offset_groups" };
    int64_t v[8];
    bool masked;
    for (int i = 0; i < 8; i++)
        if (!gi_aten_int(a, names[i], &v[i]))
            return false;
    if (!gi_aten_bool(a, "use_mask", &masked))
        return false;
    gi_value *in[5] = { gi_aten_tensor(a, "input"), gi_aten_tensor(a, "weight"), gi_aten_tensor(a, "offset"),
                        gi_aten_tensor(a, "bias"), masked ? gi_aten_tensor(a, "mask") : NULL };
    gi_node *y = gi_aten_node(a, OP_DeformConv, masked ? 5 : 4, in, 1,
                              "strides = [%lld,%lld], pads = [%lld,%lld,%lld,%lld], dilations = [%lld,%lld], group = "
                              "%lld, offset_group = %lld",
                              (long long)v[0], (long long)v[1], (long long)v[2], (long long)v[3], (long long)v[2],
                              (long long)v[3], (long long)v[4], (long long)v[5], (long long)v[6], (long long)v[7]);
    return gi_aten_return(a, 0, gi_node_out(y, 0));
}
