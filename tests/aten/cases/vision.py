"""Operators of torchvision."""
import torch
from make import call

corner = torch.rand(12, 2) * 8
boxes = torch.cat((corner, corner + torch.rand(12, 2) * 6 + 1), 1)
scores = torch.rand(12)
x = torch.randn(2, 3, 10, 12)
regions = torch.tensor([[0.0, 1.0, 1.5, 8.0, 7.0], [1.0, 0.0, 0.0, 11.0, 9.0], [1.0, 3.0, 2.0, 4.5, 6.0]])
image, weight = torch.randn(1, 4, 6, 7), torch.randn(6, 2, 3, 3)
offset, mask = torch.randn(1, 18, 6, 7), torch.rand(1, 9, 6, 7)

V = {"domain": "torchvision"}
CASES = [
    call("nms", "nms", boxes, scores, 0.3, **V), call("nms_all", "nms", boxes, scores, 1.0, **V), call("nms_strict", "nms", boxes, scores, 0.01, **V),
    call("roi_align", "roi_align", x, regions, 1.0, 3, 4, 2, True, **V), call("roi_align_old", "roi_align", x, regions, 0.5, 2, 2, 2, False, **V), call("roi_align_adaptive", "roi_align", x, regions, 1.0, 3, 3, -1, True, **V),
    call("deform_conv2d", "deform_conv2d", image, weight, offset, mask, torch.randn(6), 1, 1, 1, 1, 1, 1, 2, 1, True, **V),
    call("deform_conv2d_plain", "deform_conv2d", image, weight, offset[:, :, :2, :3], torch.zeros(1, 1), torch.randn(6), 2, 2, 0, 0, 1, 1, 2, 1, False, **V),
]
