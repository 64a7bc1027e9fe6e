"""A FCOS without a norm in its head, as early 2.x had it: thresholds beside the model, extra levels by two keys."""

_base_ = ["../_base_/coco_of_2x.py", "../_base_/step.py"]

model = dict(
    type="FCOS",
    pretrained="open-mmlab://detectron/resnet50_caffe",
    backbone=dict(
        type="ResNet",
        depth=50,
        num_stages=4,
        out_indices=(0, 1, 2, 3),
        frozen_stages=1,
        norm_cfg=dict(type="BN", requires_grad=False),
        norm_eval=True,
        style="caffe",
    ),
    neck=dict(
        type="FPN",
        in_channels=[256, 512, 1024, 2048],
        out_channels=256,
        start_level=1,
        add_extra_convs=True,
        extra_convs_on_inputs=False,
        num_outs=5,
        relu_before_extra_convs=True,
    ),
    bbox_head=dict(
        type="FCOSHead",
        num_classes=80,
        in_channels=256,
        feat_channels=256,
        strides=[8, 16, 32, 64, 128],
        norm_cfg=None,
        loss_cls=dict(type="FocalLoss", use_sigmoid=True, gamma=2.0, alpha=0.25, loss_weight=1.0),
        loss_bbox=dict(type="IoULoss", loss_weight=1.0),
    ),
)
train_cfg = dict(assigner=dict(type="MaxIoUAssigner", pos_iou_thr=0.5), pos_weight=-1)
test_cfg = dict(nms_pre=1000, min_bbox_size=0, score_thr=0.05, nms=dict(type="nms", iou_thr=0.5), max_per_img=100)
optimizer = dict(lr=0.01, paramwise_cfg=dict(bias_lr_mult=2.0))
optimizer_config = dict(_delete_=True, grad_clip=dict(max_norm=35, norm_type=2))
