"""A schedule as mmdetection 2.x configs describe one."""

optimizer = dict(type="SGD", lr=0.02, momentum=0.9, weight_decay=1e-4)
optimizer_config = dict(grad_clip=None)
lr_config = dict(policy="step", warmup="linear", warmup_iters=500, warmup_ratio=1.0 / 3, step=[8, 11])
runner = dict(type="EpochBasedRunner", max_epochs=12)
log_level = "INFO"
