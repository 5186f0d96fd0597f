"""tensors.py module|python: an installed wheel on tensors, served by a module for this torch or in Python."""

import sys
import warnings

import torch
import torch.nn.functional as F

with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    import leakyrelu.torch

served = "python" if any("has no module for torch" in str(warning.message) for warning in caught) else "module"
assert served == sys.argv[1], f"served by {served}, not {sys.argv[1]}: {[str(w.message) for w in caught]}"

for dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64):
    for slope in (0.01, -0.5, 0.0):
        x = torch.randn(4, 3, 50, 60).to(dtype, memory_format=torch.channels_last)
        x.view(-1)[:3] if x.is_contiguous() else x[0, :, 0, 0].copy_(torch.tensor([0.0, -0.0, float("inf")]))
        a, b = x.clone().requires_grad_(), x.clone().requires_grad_()
        y, z = leakyrelu.torch.leaky_relu(a, slope), F.leaky_relu(b, slope)
        assert torch.equal(y, z) and torch.equal(y.signbit(), z.signbit()) and y.stride() == z.stride(), (dtype, slope)
        assert y.grad_fn.name().startswith("LeakyReluMaskBackward"), y.grad_fn
        grad = torch.randn_like(z)
        y.backward(grad)
        z.backward(grad)
        assert torch.equal(a.grad, b.grad) and a.grad.stride() == b.grad.stride(), (dtype, slope)
        in_place = leakyrelu.torch.leaky_relu(x.clone(), slope, inplace=True)
        assert torch.equal(in_place, z), (dtype, slope)

model = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.LeakyReLU(0.2), torch.nn.Conv2d(8, 1, 3))
leakyrelu.torch.convert(model)
found = leakyrelu.torch.saved_bytes(model, torch.randn(2, 3, 64, 64))
print(found)
print(f"leakyrelu.torch with torch {torch.__version__}, by {served}: as it should be")
