"""Proves that importing is cheap and that a wrong torch is named in one sentence."""

import subprocess
import sys
import textwrap


def run(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=120)


def test_does_not_import_the_compiler() -> None:
    result = run("""
        import sys, torch
        before = {m for m in sys.modules if m.startswith(("torch._dynamo", "torch._inductor"))}
        import leakyrelu.torch
        x = torch.ones(3, requires_grad=True)
        leakyrelu.torch.leaky_relu(x).sum().backward()
        leakyrelu.torch.convert(torch.nn.LeakyReLU())(x)
        after = {m for m in sys.modules if m.startswith(("torch._dynamo", "torch._inductor"))}
        print(sorted(after - before))
    """)
    assert result.stdout.strip() == "[]", result.stderr


def test_adds_little_time() -> None:
    """On top of torch and NumPy, the best of three, each in a fresh process."""
    times = []
    for _ in range(3):
        result = run("""
            import time, numpy, torch
            start = time.perf_counter()
            import leakyrelu.torch
            print(time.perf_counter() - start)
        """)
        times.append(float(result.stdout))
    assert min(times) < 0.1


def test_leakyrelu_alone_does_not_import_torch() -> None:
    result = run("import sys, leakyrelu; print('torch' in sys.modules)")
    assert result.stdout.strip() == "False", result.stderr


def test_changes_nothing_in_torch() -> None:
    result = run("""
        import torch, torch.nn.functional as F
        before = F.leaky_relu, F.leaky_relu_, torch.nn.LeakyReLU
        import leakyrelu.torch
        print(before == (F.leaky_relu, F.leaky_relu_, torch.nn.LeakyReLU))
        print(torch.get_num_threads() == torch.get_num_threads())
    """)
    assert result.stdout.split() == ["True", "True"], result.stderr


def version_error(built_for: str) -> str:
    result = run(f"""
        import sys, types
        module = types.ModuleType("leakyrelu._torch_version")
        module.TORCH_VERSION = {built_for!r}
        sys.modules["leakyrelu._torch_version"] = module
        try:
            import leakyrelu.torch
        except ImportError as error:
            print(error)
        assert "leakyrelu._torch" not in sys.modules or not sys.exc_info()[0]
    """)
    assert result.returncode == 0, result.stderr
    return result.stdout.strip()


def test_another_minor_version_is_named_in_one_sentence() -> None:
    import torch

    message = version_error("2.1.0")
    assert len(message.splitlines()) == 1
    assert ". " not in message
    assert "2.1.0" in message
    assert torch.__version__ in message
    assert "pip install" in message


def test_another_major_version_is_refused() -> None:
    assert "3.13.0" in version_error("3.13.0")


def test_another_patch_version_is_fine() -> None:
    import torch

    major, minor = torch.__version__.split(".")[:2]
    assert version_error(f"{major}.{minor}.99") == ""


def test_the_library_is_not_even_loaded_with_another_torch() -> None:
    """Its symbols would be missing, with an obscure loader error."""
    result = run("""
        import sys, types
        module = types.ModuleType("leakyrelu._torch_version")
        module.TORCH_VERSION = "2.1.0"
        sys.modules["leakyrelu._torch_version"] = module
        try:
            import leakyrelu.torch
        except ImportError:
            pass
        print("leakyrelu._torch" in sys.modules)
    """)
    assert result.stdout.strip() == "False", result.stderr
