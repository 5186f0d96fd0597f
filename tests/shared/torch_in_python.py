"""`pytest -p torch_in_python`: the tests on leakyrelu.torch as it is for a torch that no module was built for."""

import warnings

import pytest

from leakyrelu import _torch_modules

_torch_modules.available = dict
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import leakyrelu.torch  # noqa: F401

# What the module alone has.
NOT_IN_PYTHON = {
    "test_graph_can_be_walked": "the node's repr is that of torch's nodes in Python",
    "test_grad_fn_says_whose_it_is": "the node's repr is that of torch's nodes in Python",
    "test_node_called_by_hand": "torch's nodes in Python cannot be called by hand",
    "test_profiler_sees_the_operator": "the profiler sees what the operator is composed of",
}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        reason = NOT_IN_PYTHON.get(item.name.partition("[")[0])
        if reason is not None:
            item.add_marker(pytest.mark.skip(reason=reason))
