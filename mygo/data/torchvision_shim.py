"""torchvision, made importable beside a CPU-only build of torch.

PyPI's torchvision is linked against CUDA, so beside a CPU build its compiled operators do not load and the import stops
at ``operator torchvision::nms does not exist``. Declaring the two operators that it looks up makes all of its Python
parts work. Where torchvision imports as it is, nothing is declared.
"""

import sys

import torch

_declared: torch.library.Library | None = None  # a declaration lives as long as its library object

try:
    import torchvision
except RuntimeError as error:
    if "torchvision::nms" not in str(error):
        raise
    for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
        del sys.modules[name]
    _declared = torch.library.Library("torchvision", "FRAGMENT")
    _declared.define("nms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    _declared.define("qnms(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    import torchvision

__all__ = ["torchvision"]
