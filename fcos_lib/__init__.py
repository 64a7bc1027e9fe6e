"""fcos_lib: acceptance and regression tests for FCOS on Ascend NPUs."""
