"""The same with the improvements of the FCOS paper, a GroupNorm in the head, and thresholds of its own."""

_base_ = "./first_2x.py"

model = dict(
    bbox_head=dict(
        norm_cfg=dict(_delete_=True, type="GN", num_groups=32, requires_grad=True),
        norm_on_bbox=True,
        centerness_on_reg=True,
        dcn_on_last_conv=False,
        center_sampling=True,
        conv_bias=True,
        loss_bbox=dict(_delete_=True, type="GIoULoss", loss_weight=1.0),
    )
)
test_cfg = dict(nms=dict(_delete_=True, type="nms", iou_threshold=0.6))
lr_config = dict(warmup="constant")
