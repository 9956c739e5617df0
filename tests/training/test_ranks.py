"""Which process is the first, and which device a process takes."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
import torch
from lightning.fabric.plugins.environments import LightningEnvironment
from lightning.pytorch.strategies import DDPStrategy

from sciops.training.ranks import is_first_process
from sciops.training.run import _strategy

NAMES = ("RANK", "SLURM_PROCID", "LOCAL_RANK")


@pytest.mark.parametrize(
    ("values", "first"),
    [
        ((None, None, None), True),
        (("0", "1", "1"), True),
        (("1", "0", "0"), False),
        ((None, "0", "3"), True),
        ((None, "2", "0"), False),
        ((None, None, "0"), True),
        ((None, None, "1"), False),
        (("", None, "1"), False),
        (("10", None, None), False),
    ],
)
def test_the_first_process(
    monkeypatch: pytest.MonkeyPatch, values: tuple[str | None, str | None, str | None], first: bool
) -> None:
    for name, value in zip(NAMES, values, strict=True):
        if value is None:
            monkeypatch.delenv(name, raising=False)
        else:
            monkeypatch.setenv(name, value)
    assert is_first_process() is first


def test_it_needs_neither_lightning_nor_torch_distributed() -> None:
    code = (
        "import sys; from sciops.training.ranks import is_first_process; is_first_process();"
        "sys.exit('lightning' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


class SecondMachine(LightningEnvironment):
    """The first process on the second of two machines."""

    def global_rank(self) -> int:
        return 1

    def world_size(self) -> int:
        return 2

    def node_rank(self) -> int:
        return 1

    def local_rank(self) -> int:
        return 0

    def set_global_rank(self, rank: int) -> None:
        pass

    def set_world_size(self, size: int) -> None:
        pass


@pytest.mark.parametrize("name", ["ddp", "fully_sharded"])
def test_a_process_takes_the_device_of_its_place_on_the_machine(name: str) -> None:
    """With the global rank as index, device 1 of a machine with one device would be asked for."""
    strategy: Any = DDPStrategy() if name == "ddp" else _strategy(name, 1)
    strategy.cluster_environment = SecondMachine()
    strategy.parallel_devices = [torch.device("cuda", 0)]
    assert strategy.global_rank == 1
    assert strategy.root_device == torch.device("cuda", 0)
