"""Where a model computes: the device that is there, the precision that was asked for."""

from contextlib import nullcontext

import pytest
import torch
from torch.nn.functional import cross_entropy

from charrnn.config.architectures import (
    CELL_DESCRIPTIONS,
    DEPTH_DESCRIPTIONS,
    OPTIMIZER_DESCRIPTIONS,
)
from charrnn.config.settings import Config
from charrnn.errors import UsageError
from charrnn.model.device import (
    autocast,
    exact_arithmetic,
    has_fast_bf16,
    pick_device,
)
from charrnn.model.network import CharRNN
from charrnn.model.noise import Noise
from charrnn.model.recurrence import FUNCTIONS
from charrnn.training.optim import make_optimizers, update_average

CPU = torch.device("cpu")


def pretend(monkeypatch, *, cuda, mps):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)


def test_auto_takes_the_fastest_device(monkeypatch):
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    for cuda, mps, expected in (
        (True, False, "cuda"),
        (True, True, "cuda"),
        (False, True, "mps"),
        (False, False, "cpu"),
    ):
        pretend(monkeypatch, cuda=cuda, mps=mps)
        assert pick_device("auto") == torch.device(expected)
        assert pick_device("cpu") == CPU, "a device named is the device taken"


@pytest.mark.parametrize(
    "name, cuda, words",
    [
        ("cuda", None, "is for processors alone"),
        ("cuda", "13.0", "nvidia-smi"),
        ("mps", None, "Apple silicon"),
    ],
)
def test_a_device_that_is_missing_says_what_to_do(monkeypatch, name, cuda, words):
    pretend(monkeypatch, cuda=False, mps=False)
    monkeypatch.setattr(torch.version, "cuda", cuda)
    monkeypatch.setattr(torch.version, "hip", None)
    with pytest.raises(UsageError, match=rf"{words}.* or use `device=auto`"):
        pick_device(name)


def flags():
    """Return the flags of torch that `exact_arithmetic` sets."""
    modules = (
        torch.backends.cudnn.rnn,
        torch.backends.cuda.matmul,
        torch.utils.deterministic,
    )
    return (
        *(module.fp32_precision for module in modules[:2]),
        modules[2].fill_uninitialized_memory,
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
    )


def test_exact_arithmetic_sets_flags_and_restores_them():
    before = flags()
    with pytest.raises(KeyError), exact_arithmetic(torch.device("cuda")), autocast(CPU, "fp32"):
        assert flags() == ("ieee", "ieee", False, True, True)
        raise KeyError
    assert flags() == before
    with exact_arithmetic(CPU):
        assert flags() == before


def pretend_instructions(monkeypatch, **capabilities):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    monkeypatch.setattr("charrnn.model.device.cpu_computes_bf16", lambda: True)
    monkeypatch.delenv("ONEDNN_MAX_CPU_ISA", raising=False)


def test_bf16_is_fast_where_the_processor_has_it_and_onednn_may_use_it(monkeypatch):
    for has_amx in (True, False):
        pretend_instructions(monkeypatch, cpu_name="Intel Xeon", avx512_bf16=True, amx_bf16=has_amx)
        assert has_fast_bf16(CPU) is has_amx
    pretend_instructions(monkeypatch, avx512_bf16=True)
    caps = dict.fromkeys(("AVX2", "AVX512_CORE", "avx512_core_vnni"), False)
    caps |= dict.fromkeys(
        ("AVX512_CORE_BF16", "AVX512_CORE_AMX", "AVX10_1_512", "ALL", "default"), True
    )
    for cap, expected in caps.items():
        monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", cap)
        assert has_fast_bf16(CPU) is expected, cap


@pytest.mark.parametrize("has_instructions", [True, False])
def test_autocast_computes_in_the_precision_asked_for(monkeypatch, has_instructions):
    pretend_instructions(monkeypatch, avx512_bf16=has_instructions)
    ones = torch.ones(2, 2)
    dtypes = {}
    for precision in ("auto", "fp32", "bf16", "fp16"):
        with autocast(CPU, precision):
            dtypes[precision] = (ones @ ones).dtype
    expected = torch.bfloat16 if has_instructions else torch.float32
    assert dtypes == {
        "auto": expected,
        "fp32": torch.float32,
        "bf16": torch.bfloat16,
        "fp16": torch.float16,
    }
    with autocast(CPU, "bf16"), autocast(CPU, "fp32"):
        assert (ones @ ones).dtype == torch.float32, "fp32 holds inside bf16 too"


META = torch.device("meta")
CASES = [
    *({"cell_type": cell} for cell in CELL_DESCRIPTIONS),
    *({"depth": depth, "num_layers": 3} for depth in DEPTH_DESCRIPTIONS if depth != "stacked"),
    *({"optimizer": optimizer} for optimizer in OPTIMIZER_DESCRIPTIONS),
    {"weight_drop": 0.3},
    {"zoneout": 0.1},
    {"initial_state": "learned"},
    {"cell_type": "gru", "sum_outputs": True},
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: "-".join(map(str, case.values())))
def test_a_step_stays_on_its_device(case, monkeypatch):
    """The meta device computes shapes only, and refuses to mix devices as a GPU does."""
    # The implementations of CUDA, without autocast, which the meta device has not.
    monkeypatch.setattr("charrnn.model.layer.LIBRARY_ON_CPU", FUNCTIONS)
    monkeypatch.setattr("charrnn.model.recurrence.autocast_dtype", lambda device, dtype: dtype)
    monkeypatch.setattr("charrnn.training.optim.autocast", lambda device, precision: nullcontext())
    sizes = {
        "cell_type": "lstm",
        "num_layers": 2,
        "hidden_size": 8,
        "embedding_size": 5,
        "precision": "fp32",
    }
    batch = {"batch_size": 4, "bptt_length": 3, "learning_rate": 0.01, "weight_decay": 0.1}
    batch |= {"decay_shape": "cosine", "decay_share": 1.0}
    config = Config(**{**sizes, **batch, "dropout": 0.2, "input_dropout": 0.1, **case})
    network = CharRNN(config, 9).to(META)
    ids = torch.zeros(3, 4, dtype=torch.int64, device=META)
    logits, state = network(
        ids, network.initial_state(4), Noise(torch.Generator().manual_seed(0), 4)
    )
    assert (logits.device, state.device) == (META, META)
    cross_entropy(logits.flatten(0, 1), ids.flatten()).backward()
    weights = list(network.parameters())
    assert {None if weight.grad is None else weight.grad.device for weight in weights} == {META}
    for optimizer in make_optimizers(network, config):
        optimizer.step(0.01, 1)
        assert {
            value.device for moments in optimizer.state.values() for value in moments.values()
        } <= {META}
    update_average([weight.detach().clone() for weight in weights], weights, 0.9, 1)
