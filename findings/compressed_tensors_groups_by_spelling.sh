#!/usr/bin/env bash
# compressed-tensors: which of two groups a layer belongs to is settled by the spelling of their
# expressions, not by the order of `config_groups`.
#
# A layer may match the targets of several groups of a quantization_config. Exact names go first,
# then expressions, then classes such as "Linear", as one would hope. But of two expressions that
# both match, the one that sorts first as text wins, in whichever group it stands, and the order of
# the groups, which a reader takes for their precedence, changes nothing:
#   group_0 "re:.*down_proj" 8 bits, group_1 "re:.*[.]down_proj" 4 bits  ->  4 bits
#   the same groups in the other order                                   ->  4 bits
#   group_0 "re:.*down_proj" 8 bits, group_1 "re:.*proj" 4 bits          ->  8 bits
# So the same rule written with another bracket is another model. A reader that takes the first
# group that matches unpacks such a checkpoint with the wrong number of bits.
#
# Seen with compressed-tensors 0.20.1, torch 2.15.0 and transformers 5.24.0. Needs python3 with venv
# and, for torch, some 4 GB from PyPI. Exit code 0 as long as it is so.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install -q compressed-tensors==0.20.1 torch==2.15.0 transformers==5.24.0

"$folder/venv/bin/python" - 2>/dev/null <<'PYTHON'
import sys

import torch
from compressed_tensors.quantization import QuantizationConfig, apply_quantization_config


def bits(*groups):
    """Of a layer `mlp.down_proj`, where the groups are these: (target, bits), in this order."""
    model = torch.nn.ModuleDict({"mlp": torch.nn.ModuleDict(
        {"down_proj": torch.nn.Linear(128, 128, bias=False)})})
    apply_quantization_config(model, QuantizationConfig.model_validate({
        "quant_method": "compressed-tensors", "format": "pack-quantized",
        "config_groups": {f"group_{i}": {
            "targets": [target], "weights": {"num_bits": width, "type": "int", "strategy": "channel"}}
            for i, (target, width) in enumerate(groups)}}), show_progress=False)
    return model["mlp"]["down_proj"].quantization_scheme.weights.num_bits


wide, narrow = ("re:.*down_proj", 8), ("re:.*[.]down_proj", 4)
seen = {
    "8 bits by .*down_proj, then 4 by .*[.]down_proj": bits(wide, narrow),
    "the same in the other order": bits(narrow, wide),
    "8 bits by .*down_proj, then 4 by .*proj": bits(wide, ("re:.*proj", 4)),
    "the same in the other order ": bits(("re:.*proj", 4), wide),
    "8 bits by Linear, then 4 by .*proj": bits(("Linear", 8), ("re:.*proj", 4)),
}
for name, found in seen.items():
    print(f"{name}: {found}")
sys.exit(list(seen.values()) != [4, 4, 8, 8, 4])
PYTHON
