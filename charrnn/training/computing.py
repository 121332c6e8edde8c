"""What a training computes with: its device, its processes and its clock."""

from __future__ import annotations

from dataclasses import dataclass

from charrnn.config.settings import Config
from charrnn.distributed.group import SINGLE, ProcessGroup
from charrnn.model.device import pick_device
from charrnn.system.lazy import torch


@dataclass(frozen=True, slots=True)
class Computing:
    """The device, the processes and the clock of a run."""

    device: torch.device
    group: ProcessGroup = SINGLE
    start: float = 0.0
    """When a budget in minutes began, as `time.perf_counter` counts."""

    @classmethod
    def of(cls, config: Config, group: ProcessGroup, start: float) -> Computing:
        """Choose the device of this process. Raises UsageError for a device that is missing, and
        for a text that only one process can read."""
        group.check_corpus(config.corpus)
        return cls(group.device(pick_device(config.device)), group=group, start=start)
