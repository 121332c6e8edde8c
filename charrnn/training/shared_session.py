"""The session of one of several processes that train together."""

from charrnn.distributed.group import ProcessGroup
from charrnn.runs.checkpoint import Checkpoint
from charrnn.training.events import EvaluationEvent, SavedEvent, StepEvent
from charrnn.training.session import TrainingSession
from charrnn.training.trainer import StepResult


class SharedSession(TrainingSession):
    """A session that goes through the same steps as the sessions of all other processes.

    Only the first process validates, writes samples and uses the run's folder.
    Requests to stop or to save, from any process, reach all at the same step: if one process
    stopped alone, the rest would wait for its gradients forever.
    """

    _num_stops = 0.0
    _num_saves = 0.0
    """Above 0 if any process was asked to stop, or to save, when all took the last step."""

    @property
    def group(self) -> ProcessGroup:
        """This process among all of them."""
        return self.trainer.group

    def _take_step(self) -> StepResult:
        # The processes exchange their requests together with the gradients.
        result = self.trainer.take_step([self.should_stop(), self.should_save()])
        self._num_stops, self._num_saves = result.num_raised
        return result

    def _check_stop(self) -> bool:
        if self._num_stops > 0:
            self.state.is_stopped = True
        return self.state.is_stopped

    def _is_save_due(self) -> bool:
        return self._num_saves > 0 or self.trainer.step % self._save_every == 0

    def _is_sample_due(self) -> bool:
        return self.group.is_first and super()._is_sample_due()

    @property
    def _num_threads(self) -> int:
        # The other processes of this host wait, so their threads are free.
        return super()._num_threads * self.group.local_size

    def _log(self, event: StepEvent | EvaluationEvent) -> None:
        if self.group.is_first:
            super()._log(event)

    def _measure_losses(self) -> tuple[float, float | None] | None:
        # The rest wait for the result, and all go on with the same one.
        means = None
        if self.group.is_first:
            means = super()._measure_losses()
        return self.group.of_first(means)

    def _tidy(self, checkpoint: Checkpoint) -> None:
        # The first process may mend the folder while another process reads it.
        best = self.group.of_first((self.state.best_nats, self.state.best_step))
        self.state.best_nats, self.state.best_step = best
        if self.group.is_first:
            super()._tidy(checkpoint)

    def _load_latest(self) -> Checkpoint:
        return self.group.in_turn(super()._load_latest)

    def _rewind(self) -> None:
        # Only after all have read the checkpoint (`_load_latest`).
        if self.group.is_first:
            super()._rewind()

    def save(self) -> SavedEvent:
        """Commit the present step to disk in the first process. Raises CharRNNError."""
        if self.group.is_first:
            return super().save()
        # Each process adds the recurrent states of its own batch rows.
        self.trainer.snapshot()
        self.state.saved_step = self.trainer.step
        return self._saved_event()
