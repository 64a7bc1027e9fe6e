"""A user's own: three classes, another input size, a ResNeXt with torchvision's pictures."""

_base_ = "tricks_2x.py"

classes = ("bolt", "nut", "washer")
img_norm_cfg = dict(mean=[123.675, 116.28, 103.53], std=[58.395, 57.12, 57.375], to_rgb=True)
model = dict(
    backbone=dict(type="ResNeXt", depth=101, groups=64, base_width=4, style="pytorch"),
    bbox_head=dict(num_classes=3),
)
test_pipeline = [
    dict(type="LoadImageFromFile"),
    dict(
        type="MultiScaleFlipAug",
        img_scale=(1024, 640),
        flip=False,
        transforms=[
            dict(type="Resize", keep_ratio=True),
            dict(type="Normalize", **img_norm_cfg),
            dict(type="Pad", size_divisor=32),
            dict(type="ImageToTensor", keys=["img"]),
            dict(type="Collect", keys=["img"]),
        ],
    ),
]
data = dict(train=dict(classes=classes), test=dict(classes=classes, pipeline=test_pipeline))
