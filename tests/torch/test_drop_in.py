"""Proves that the module, convert and patched take the place of torch's own and leave no trace."""

import copy
import io
import logging
import pickle
import threading
import warnings
from collections.abc import Iterator
from types import ModuleType

import pytest
import torch
import torch.nn.functional as F
from tensor_cases import assert_same
from torch import Tensor, nn

import leakyrelu.torch
from leakyrelu.torch import LeakyReLU, convert, leaky_relu, leaky_relu_, patch, patched, unpatch

ORIGINAL, ORIGINAL_ = F.leaky_relu, F.leaky_relu_


@pytest.fixture(autouse=True)
def no_trace() -> Iterator[None]:
    yield
    assert F.leaky_relu is ORIGINAL
    assert F.leaky_relu_ is ORIGINAL_


def is_ours(y: Tensor) -> bool:
    """By the node that stays for backward."""
    return y.grad_fn.name() == "LeakyReluMaskBackward"


def leaf() -> Tensor:
    return torch.linspace(-2, 2, 12).view(3, 4).requires_grad_()


# ---- Module


@pytest.mark.parametrize("args", [(), (0.2,), (0.2, True), (-1,), (0, False)])
def test_repr_says_whose_it_is(args: tuple) -> None:
    theirs, ours = nn.LeakyReLU(*args), LeakyReLU(*args)
    assert repr(ours) == f"leakyrelu.torch.{theirs!r}"
    assert repr(nn.Sequential(ours)) == repr(nn.Sequential(theirs)).replace("LeakyReLU", "leakyrelu.torch.LeakyReLU")
    assert repr(convert(nn.Sequential(theirs))) == repr(nn.Sequential(ours))


def test_repr_of_a_subclass_is_its_own() -> None:
    class Mine(LeakyReLU):
        pass

    assert repr(Mine()) == "Mine(negative_slope=0.01)"


def test_grad_fn_says_whose_it_is() -> None:
    assert repr(leaky_relu(leaf()).grad_fn).startswith("<LeakyReluMaskBackward ")
    assert F.leaky_relu(leaf()).grad_fn.name() == "LeakyReluBackward0"


def test_is_a_torch_leaky_relu() -> None:
    module = LeakyReLU(negative_slope=0.2, inplace=True)
    assert isinstance(module, nn.LeakyReLU)
    assert (module.negative_slope, module.inplace) == (0.2, True)
    assert is_ours(LeakyReLU()(leaf()))


@pytest.mark.parametrize("args", [(1, 2, 3), ("x", "y", "z", "w")])
def test_wrong_arguments_of_the_module(args: tuple) -> None:
    with pytest.raises(TypeError):
        nn.LeakyReLU(*args)
    with pytest.raises(TypeError):
        LeakyReLU(*args)
    with pytest.raises(TypeError):
        LeakyReLU(slope=1)


def test_attributes_may_be_changed_later() -> None:
    module = LeakyReLU()
    module.negative_slope = 0.5
    assert_same(module(leaf()), F.leaky_relu(leaf(), 0.5))
    module.inplace = True
    x = leaf() * 1
    assert module(x) is x


def test_state_dict_is_empty() -> None:
    assert LeakyReLU(0.2).state_dict() == {}


def test_loads_a_checkpoint_of_the_original() -> None:
    original = nn.Sequential(nn.Linear(4, 4), nn.LeakyReLU(), nn.Linear(4, 4))
    ours = nn.Sequential(nn.Linear(4, 4), LeakyReLU(), nn.Linear(4, 4))
    assert list(ours.state_dict()) == list(original.state_dict())
    result = ours.load_state_dict(original.state_dict(), strict=True)
    assert not result.missing_keys
    assert not result.unexpected_keys
    original.load_state_dict(ours.state_dict(), strict=True)
    assert_same(ours(leaf()), original(leaf()))


def by_pickle(module: nn.Module) -> nn.Module:
    return pickle.loads(pickle.dumps(module))


def by_torch_save(module: nn.Module) -> nn.Module:
    file = io.BytesIO()
    torch.save(module, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


@pytest.mark.parametrize("copied", [by_pickle, by_torch_save, copy.deepcopy, copy.copy])
def test_copies(copied) -> None:
    module = LeakyReLU(0.2, inplace=True).eval()
    twin = copied(module)
    assert type(twin) is LeakyReLU
    assert (twin.negative_slope, twin.inplace, twin.training) == (0.2, True, False)
    assert is_ours(twin(leaf() * 1))


def test_module_hooks_run() -> None:
    seen = []
    module = LeakyReLU()
    module.register_forward_pre_hook(lambda m, args: seen.append("before"))
    module.register_forward_hook(lambda m, args, result: seen.append("after"))
    module(leaf())
    assert seen == ["before", "after"]


def test_subclass_of_ours() -> None:
    class Doubled(LeakyReLU):
        def forward(self, input: Tensor) -> Tensor:
            return super().forward(input) * 2

    assert_same(Doubled(0.2)(leaf()), F.leaky_relu(leaf(), 0.2) * 2)


# ---- convert


class Block(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 4)
        self.activation = nn.LeakyReLU(0.3)
        self.rest = nn.ModuleList([nn.LeakyReLU(0.1), nn.ReLU()])

    def forward(self, x: Tensor) -> Tensor:
        x = self.activation(self.linear(x))
        for layer in self.rest:
            x = layer(x)
        return x


class Special(nn.LeakyReLU):
    pass


def test_convert_returns_the_model_itself() -> None:
    model = Block()
    assert convert(model) is model


def test_convert_finds_every_depth() -> None:
    model = convert(nn.Sequential(Block(), nn.ModuleDict({"a": nn.LeakyReLU(), "b": Block()})))
    assert all(type(m) is not nn.LeakyReLU for m in model.modules())
    assert sum(type(m) is LeakyReLU for m in model.modules()) == 5


def test_convert_takes_the_root() -> None:
    model = convert(nn.LeakyReLU(0.3, inplace=True))
    assert type(model) is LeakyReLU
    assert (model.negative_slope, model.inplace) == (0.3, True)


def test_convert_gives_the_same_results() -> None:
    model = Block()
    expected = model(leaf())
    actual = convert(model)(leaf())
    assert_same(actual, expected)


def test_convert_keeps_names_and_state() -> None:
    model = Block()
    names, state = [n for n, _ in model.named_modules()], list(model.state_dict())
    convert(model)
    assert [n for n, _ in model.named_modules()] == names
    assert list(model.state_dict()) == state


def test_convert_keeps_the_training_flag() -> None:
    model = Block()
    model.activation.eval()
    convert(model)
    assert not model.activation.training
    assert model.training
    assert model.rest[0].training


def test_convert_keeps_hooks() -> None:
    seen = []
    model = Block()
    model.activation.register_forward_hook(lambda m, args, result: seen.append("forward"))
    model.activation.register_full_backward_hook(lambda m, gi, go: seen.append("backward"))
    handle = model.activation.register_forward_pre_hook(lambda m, args: seen.append("removed"))
    convert(model)
    handle.remove()
    model(leaf()).sum().backward()
    assert seen == ["forward", "backward"]


def test_convert_keeps_other_attributes() -> None:
    model = Block()
    model.activation.note = "mine"
    assert convert(model).activation.note == "mine"


def test_convert_keeps_a_shared_instance_shared(caplog: pytest.LogCaptureFixture) -> None:
    shared = nn.LeakyReLU()
    model = nn.Sequential(shared, nn.Linear(4, 4), shared)
    with caplog.at_level(logging.INFO, logger="leakyrelu.torch"):
        convert(model)
    assert model[0] is model[2]
    assert type(model[0]) is LeakyReLU
    assert "1 " in caplog.text


@pytest.mark.parametrize("cls", [Special, nn.ReLU, nn.PReLU, LeakyReLU])
def test_convert_leaves_others_alone(cls: type[nn.Module]) -> None:
    model = nn.Sequential(cls())
    before = model[0]
    convert(model)
    assert model[0] is before
    assert type(model[0]) is cls


def test_convert_says_how_many(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, logger="leakyrelu.torch"):
        convert(nn.Sequential(Block(), Block()))
    (record,) = caplog.records
    assert record.levelno == logging.INFO
    assert "4" in record.getMessage()


def test_convert_twice_is_convert_once(caplog: pytest.LogCaptureFixture) -> None:
    model = convert(Block())
    with caplog.at_level(logging.INFO, logger="leakyrelu.torch"):
        convert(model)
    assert " 0 " in caplog.text


def test_converted_model_pickles_and_copies() -> None:
    model = convert(Block())
    for twin in (by_pickle(model), by_torch_save(model), copy.deepcopy(model)):
        assert type(twin.activation) is LeakyReLU
        assert_same(twin(leaf()), model(leaf()))


def test_convert_with_an_overridden_forward_on_the_instance() -> None:
    """Whoever has replaced the instance's forward keeps it."""
    model = nn.Sequential(nn.LeakyReLU())
    model[0].forward = lambda x: x * 7
    assert_same(convert(model)(leaf()), leaf() * 7)


@pytest.mark.parametrize("make", [lambda: nn.Sequential(nn.ReLU()), lambda: nn.Sequential(Special()), nn.ReLU])
def test_convert_warns_if_there_is_none(make) -> None:
    for _ in range(2):  # each call
        with pytest.warns(UserWarning, match=r"no torch.nn.LeakyReLU .*patched\(\)") as warned:
            model = convert(make())
        assert [w.filename for w in warned] == [__file__]
        assert type(model).__name__ in str(warned[0].message)


def test_convert_does_not_warn_if_there_is_one() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        convert(convert(Block()))
        convert(nn.LeakyReLU())


# ---- patched


def test_patched_routes_the_functions() -> None:
    with patched():
        assert F.leaky_relu is leaky_relu
        assert F.leaky_relu_ is leaky_relu_
        assert torch.nn.functional.leaky_relu is leaky_relu


def test_patched_routes_every_library_that_calls_them() -> None:
    module = nn.LeakyReLU(0.2)
    with patched():
        assert is_ours(module(leaf()))
        assert is_ours(F.leaky_relu(leaf(), 0.2))
        assert is_ours(F.leaky_relu_(leaf() * 1, 0.2))
    assert not is_ours(module(leaf()))


def test_patched_keeps_torchs_signature_for_keywords() -> None:
    with patched():
        y = F.leaky_relu(input=leaf() * 1, negative_slope=0.2, inplace=True)
        z = F.leaky_relu_(input=leaf() * 1, negative_slope=0.2)
    assert_same(y, ORIGINAL(leaf(), 0.2))
    assert_same(z, y)


def test_patched_nests() -> None:
    with patched(), patched():
        with patched():
            pass
        assert F.leaky_relu is leaky_relu
    assert F.leaky_relu is ORIGINAL


def test_patched_ends_with_an_error() -> None:
    with pytest.raises(KeyError), patched(), patched():
        raise KeyError
    assert F.leaky_relu is ORIGINAL


def test_patch_and_unpatch_count() -> None:
    patch()
    patch()
    unpatch()
    assert F.leaky_relu is leaky_relu
    unpatch()
    assert F.leaky_relu is ORIGINAL


def test_patched_in_many_threads() -> None:
    """No thread sees the original inside its own block."""
    wrong = []
    start = threading.Barrier(4)

    def work() -> None:
        start.wait(30)
        for _ in range(300):
            with patched():
                if F.leaky_relu is not leaky_relu:
                    wrong.append(True)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not wrong
    assert F.leaky_relu is ORIGINAL


def test_patched_leaves_somebody_elses_patch_alone() -> None:
    """Who patched inside and has not undone it does not lose the patch, nor we the original."""
    calls = []

    def theirs(*args, **kwargs):
        calls.append(args)
        return ORIGINAL(*args, **kwargs)

    F.leaky_relu = theirs
    try:
        with patched():
            F.leaky_relu(leaf())
        assert F.leaky_relu is theirs
    finally:
        F.leaky_relu = ORIGINAL


def test_patched_is_a_decorator_too() -> None:
    @patched()
    def run() -> bool:
        return F.leaky_relu is leaky_relu

    assert run()
    assert run()


# ---- patched(also=...)


def importer(code: str = "from torch.nn.functional import leaky_relu, leaky_relu_") -> ModuleType:
    """A module that has imported the functions by name."""
    module = ModuleType("importer")
    exec(code, vars(module))
    return module


def test_patched_does_not_reach_names_in_other_modules() -> None:
    module = importer()
    with patched():
        assert module.leaky_relu is ORIGINAL


def test_patched_also_mends_names() -> None:
    module = importer()
    renamed = importer("from torch.nn.functional import leaky_relu as lrelu\nother = leaky_relu = 7")
    with patched(also=[module, renamed]):
        assert is_ours(module.leaky_relu(leaf(), 0.2))
        assert is_ours(module.leaky_relu_(leaf() * 1, 0.2))
        assert is_ours(renamed.lrelu(leaf()))
        assert is_ours(F.leaky_relu(leaf()))
        assert (renamed.other, renamed.leaky_relu) == (7, 7)
    assert (module.leaky_relu, module.leaky_relu_, renamed.lrelu) == (ORIGINAL, ORIGINAL_, ORIGINAL)


def test_patch_also_and_unpatch() -> None:
    module = importer()
    patch([module])
    assert module.leaky_relu is leaky_relu
    unpatch()
    assert module.leaky_relu is ORIGINAL


def test_patched_also_nests_and_interleaves() -> None:
    one, two = importer(), importer()
    with patched():
        with patched(also=[one]):
            with patched(also=[one, two]):
                assert (one.leaky_relu, two.leaky_relu) == (leaky_relu, leaky_relu)
            assert (one.leaky_relu, two.leaky_relu) == (leaky_relu, ORIGINAL)
        assert one.leaky_relu is ORIGINAL
        assert F.leaky_relu is leaky_relu
    first, second = patched(also=[one]), patched(also=[one])
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert one.leaky_relu is leaky_relu
    second.__exit__(None, None, None)
    assert one.leaky_relu is ORIGINAL


def test_patched_also_takes_what_is_ours_already_and_functional_itself() -> None:
    with patched():
        module = importer()
    with patched(also=[module, F, module]):
        assert module.leaky_relu is leaky_relu
    assert module.leaky_relu is leaky_relu
    assert F.leaky_relu is ORIGINAL


def test_patched_also_ends_with_an_error() -> None:
    module = importer()
    with pytest.raises(KeyError), patched(also=[module]):
        raise KeyError
    assert module.leaky_relu is ORIGINAL


def test_also_without_such_a_name() -> None:
    good, bad = importer(), ModuleType("without")
    with pytest.raises(ValueError, match=r"also: the module without has no name for .*leaky_relu"):
        patch([good, bad])
    assert (good.leaky_relu, F.leaky_relu) == (ORIGINAL, ORIGINAL)
    with pytest.raises(RuntimeError, match="patch"):
        unpatch()


def test_signature_and_names() -> None:
    """What inspect, IDEs and torch.overrides ask."""
    import inspect

    assert list(inspect.signature(leaky_relu).parameters) == ["input", "negative_slope", "inplace"]
    assert list(inspect.signature(leaky_relu_).parameters) == ["input", "negative_slope"]
    assert leaky_relu.__name__ == "leaky_relu"
    assert set(leakyrelu.torch.__all__) == {
        "FusedLeakyReLU",
        "LeakyReLU",
        "SavedBytes",
        "bias_act",
        "convert",
        "fused_leaky_relu",
        "leaky_relu",
        "leaky_relu_",
        "patch",
        "patched",
        "saved_bytes",
        "unpatch",
    }
