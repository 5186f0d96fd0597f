"""Proves that importing is cheap, and that no module is ever loaded into another torch than its own."""

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


def imported(prelude: str) -> list[str]:
    """Who serves leakyrelu.torch after the prelude, the values of a LeakyReLU, and what was warned of at import."""
    result = run(
        "import sys, warnings, torch\nfrom leakyrelu import _torch_modules\n"
        + textwrap.dedent(prelude)
        + textwrap.dedent("""
            with warnings.catch_warnings(record=True) as caught:
                warnings.simplefilter("always")
                import leakyrelu.torch
            print(leakyrelu.torch._torch.__name__)
            print(leakyrelu.torch.LeakyReLU(0.5)(torch.tensor([-1.0, 2.0])).tolist())
            for warning in caught:
                print(warning.category.__name__, warning.message)
        """)
    )
    assert result.returncode == 0, result.stderr
    return result.stdout.splitlines()


def test_its_own_module_serves_it_without_a_word() -> None:
    assert imported("") == ["leakyrelu._torch", "[-0.5, 2.0]"]


def test_a_torch_without_a_module_is_served_in_python_with_one_warning() -> None:
    served_by, values, warning = imported("torch.__version__ = '3.7.1+cu130'")
    assert served_by == "leakyrelu._torch_in_python"
    assert values == "[-0.5, 2.0]"
    assert warning.startswith("UserWarning leakyrelu has no module for torch 3.7.1+cu130")
    assert "--no-build-isolation" in warning


def test_without_any_module_the_warning_says_so() -> None:
    warning = imported("_torch_modules.available = lambda: {}")[2]
    assert "(but for none)" in warning


def test_the_patch_version_does_not_count() -> None:
    prelude = "torch.__version__ = '.'.join(torch.__version__.split('.')[:2]) + '.99'"
    assert imported(prelude) == ["leakyrelu._torch", "[-0.5, 2.0]"]


def test_the_module_is_not_even_loaded_with_another_torch() -> None:
    """Its symbols would be missing, with an obscure loader error."""
    prelude = """
        import importlib.machinery
        torch.__version__ = "2.1.0"
        def refuse(*_):
            raise AssertionError("loaded")
        importlib.machinery.ExtensionFileLoader.create_module = refuse
    """
    assert imported(prelude)[0] == "leakyrelu._torch_in_python"
