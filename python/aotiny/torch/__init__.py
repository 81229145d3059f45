"""aotiny's quantized weights in torch programs. Needs torch; `import aotiny` does not.

    >>> report = aotiny.torch.quantize_(model, "int4")   # nn.Linear and nn.Embedding, in place
    >>> y = model(x)                                     # F.linear on a WeightTensor
    >>> torch.save(model.state_dict(), "model.pt")       # loads with weights_only=True
    >>> aotiny.export(model, (x,), "model.pt2")

One file a concept: `ops` the operators, `weight_tensor` a weight as a tensor, `quantize` the
replacement of a module's weights, `import_torchao` and `import_hqq` the importers.
"""

import torch

from . import ops
from .import_hqq import from_hqq
from .import_torchao import from_torchao, from_torchao_state_dict
from .quantize import QuantizationReport, quantize_
from .weight_tensor import WeightTensor, _rebuild

torch.serialization.add_safe_globals([WeightTensor, _rebuild])

__all__ = [
    "QuantizationReport",
    "WeightTensor",
    "from_hqq",
    "from_torchao",
    "from_torchao_state_dict",
    "ops",
    "quantize_",
]
