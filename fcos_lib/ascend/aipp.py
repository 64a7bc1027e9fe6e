"""What does AIPP do to a picture on the device? The static configuration that `atc --insert_op_conf` compiles into an OM.

AIPP turns uint8 pixels into the network's fp16 input: `(pixel - mean_chn - min_chn) * var_reci_chn`, channel by channel
in the order of the bytes (ATC user guide, AIPP). The OM then takes uint8 NHWC whatever `--input_format` says.
"""

from __future__ import annotations

from decimal import Decimal

from fcos_lib.contract import ModelContract

CONFIG_NAME = "aipp.cfg"


def aipp_config(contract: ModelContract) -> str:
    """The text config that subtracts the contract's mean from BGR pictures of the size of the network input.

    `mean_chn` holds integers only, and fp16 cannot hold 102.9801 (it is 103 there): the integer part goes to `mean_chn`,
    the rest to `min_chn`, where fp16 is exact to 0.0003. Neither crop nor padding: the host letterboxes.
    """
    means = [Decimal(str(mean)) for mean in contract.mean_bgr]
    lines = [
        "aipp_mode: static",
        "related_input_rank: 0",
        "input_format: RGB888_U8",
        f"src_image_size_w: {contract.width}",
        f"src_image_size_h: {contract.height}",
        "csc_switch: false",
        "rbuv_swap_switch: false",
    ]
    lines += [f"mean_chn_{channel}: {int(mean)}" for channel, mean in enumerate(means)]
    lines += [f"min_chn_{channel}: {mean % 1}" for channel, mean in enumerate(means)]
    lines += [f"var_reci_chn_{channel}: 1.0" for channel in range(len(means))]
    body = "".join(f"    {line}\n" for line in lines)
    return f"# Contract '{contract.name}': BGR bytes in, minus the mean, BGR planes out.\naipp_op {{\n{body}}}\n"
