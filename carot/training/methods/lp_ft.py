"""LP-FT: a linear probe first, then fine-tuning from it (Kumar et al., ICLR 2022).

Both parts minimise CE(f(x) W', y). The first trains the head W alone, so that the second, which
trains image tower and head, need not distort features to fit a head that is still poor. CaRot's
comparison (A.3): 5 epochs with a rate of 1e-2, then 5 with 3e-5. The head starts as the zero-shot
head, as in all methods here. Each part has a warm-up and a cosine of its own; AdamW's moments of
the head go on from one to the other.
"""

from __future__ import annotations

from torch import Tensor

from carot.models.clip import ClipModel
from carot.specs import LpFtMethod, TrainingSpec
from carot.training.methods.finetune import Finetune
from carot.training.schedules import learning_rate_at


class LpFt(Finetune):
    """Cross-entropy on the head, then on image tower and head.

    Attributes:
        probe_steps: steps of the probe; each part has at least one, if there are two at all.
    """

    def __init__(
        self, spec: LpFtMethod, model: ClipModel, total_steps: int, weight_CD: Tensor
    ) -> None:
        super().__init__(spec, model, total_steps, weight_CD)
        self.probe_rate = spec.probe_learning_rate
        self.probe_steps = min(max(1, round(spec.probe_fraction * total_steps)), total_steps - 1)

    def learning_rate(self, step: int, spec: TrainingSpec) -> float:
        if step < self.probe_steps:
            return learning_rate_at(step, self.probe_steps, self.probe_rate, spec.warmup_fraction)
        step, total = step - self.probe_steps, self.total_steps - self.probe_steps
        return learning_rate_at(step, total, spec.learning_rate, spec.warmup_fraction)

    def before_step(self, step: int) -> None:
        # From the step alone, so that a run taken up again in either part is right.
        self.set_tower(training=step >= self.probe_steps)
