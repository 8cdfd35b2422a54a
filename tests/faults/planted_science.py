"""Faults in losses, teachers, calibrators and metrics."""

from __future__ import annotations

from tests.faults.fault import Fault


def losses(name: str, old: str, new: str, *tests: str) -> Fault:
    """In the terms of a loss, or in a teacher."""
    return Fault(name, "losses", old, new, tests or ("carot/test_losses",))


def calibrators(name: str, old: str, new: str, *tests: str) -> Fault:
    """In how a calibrator is fitted or what it makes of logits."""
    return Fault(name, "calibrators", old, new, (*tests, "carot/test_calibrators"))


def metrics(name: str, old: str, new: str, *tests: str, file: str = "") -> Fault:
    """In a figure that says how good confidences are."""
    return Fault(name, "metrics", old, new, (*tests, "carot/test_metrics"), file=file)


FAULTS = (
    losses(
        "only images look for their captions",
        "        return (to_text + to_image) / 2\n\n\ndef positive_targets",
        "        return to_text\n\n\ndef positive_targets",
    ),
    losses(
        "targets are smoothed one way",
        "to_image = F.cross_entropy(logits_BB.t(), targets, label_smoothing=smoothing)",
        "to_image = F.cross_entropy(logits_BB.t(), targets)",
    ),
    losses(
        "the weight of a class grows with its images",
        "same_BB / same_BB.sum(dim=1, keepdim=True)",
        "same_BB / len(same_BB)",
    ),
    losses(
        "the squared cross norm is not halved",
        "product_WV.square().sum() / 2 if squared",
        "product_WV.square().sum() if squared",
    ),
    losses(
        "the divergence is turned round",
        "        F.log_softmax(student_BC, dim=-1),\n        F.log_softmax(teacher_BC, dim=-1),\n",
        "        F.log_softmax(teacher_BC, dim=-1),\n        F.log_softmax(student_BC, dim=-1),\n",
        "carot/test_distillation", "carot/test_losses",
    ),
    losses(
        "the teacher is taught as well",
        "widened(teacher_logits_BB.detach())",
        "widened(teacher_logits_BB)",
        "carot/test_losses", "carot/test_distillation", "carot/test_carot",
    ),
    losses(
        "captions are scaled by the teacher",
        "student.scale * student.captions_BD @ teacher.images_BD.t()",
        "teacher.scale * student.captions_BD @ teacher.images_BD.t()",
        "carot/test_distillation", "carot/test_tracer",
    ),
    losses(
        "the momentum is the student's share",
        "return 1.0 - momentum_at(",
        "return momentum_at(",
        "carot/test_teachers",
    ),
    calibrators(
        "the temperature ignores the unit of the logits",
        "temperature=spread / found.beta if better else 1.0",
        "temperature=1 / found.beta if better else 1.0",
        "carot/test_temperature",
    ),
    calibrators(
        "the bracket closes on the wrong side",
        "low, high = (low, u) if slope > 0 else (u, high)",
        "low, high = (u, high) if slope > 0 else (low, u)",
        "carot/test_temperature",
    ),
    calibrators(
        "pooled neighbours lose their weight",
        "right, size = right + more_right, size + more",
        "right, size = (right * more + more_right * size), 2 * size * more",
        "carot/test_isotonic",
    ),
    calibrators(
        "a finite split shows certainty",
        "min(max(value, 1 / (n + 2)), (n + 1) / (n + 2))",
        "min(max(value, 0.0), 1.0)",
        "carot/test_isotonic",
    ),
    calibrators(
        "the second class overtakes the first",
        "    mapped_N = mapped_N.maximum(second_N / (1 + second_N))\n",
        "",
        "carot/test_isotonic",
    ),
    calibrators(
        "the gradient knows no penalty",
        "return gradient_P / images + self.weight * parameters_P, hessian_PP",
        "return gradient_P / images, hessian_PP",
        "carot/test_vector",
    ),
    calibrators(
        "a served vector is not centred",
        "        logits_NC = logits_NC - middle_NC.mean(dim=1, keepdim=True)\n        scales_C",
        "        scales_C",
        "carot/test_vector",
    ),
    calibrators(
        "classes that never occur are told from the others",
        "minlength=classes) >= LEAST_OF_CLASS",
        "minlength=classes) >= 0",
        "carot/test_vector",
    ),
    calibrators(
        "smoothing fades too fast",
        "        tempered_weight=plain.n / (plain.n + 1),\n        raw_weight=0.0,\n"
        "        uniform_weight=1 / (plain.n + 1),\n",
        "        tempered_weight=1 - 1 / (plain.n + 1) ** 2,\n        raw_weight=0.0,\n"
        "        uniform_weight=1 / (plain.n + 1) ** 2,\n",
        "carot/test_mixtures",
    ),
    calibrators(
        "a domain with just enough images is pooled",
        "fit_temperature(own_NC, own_N) if count >= least else None",
        "fit_temperature(own_NC, own_N) if count > least else None",
        "carot/test_temperatures",
    ),
    calibrators(
        "calibrators are compared on what they were fitted on",
        "fitted: AnyCalibrator = fit_calibrator(kind, sample.take(others_n))",
        "fitted: AnyCalibrator = fit_calibrator(kind, sample)",
        "carot/test_automatic",
    ),
    calibrators(
        "the best calibrator wins by any lead",
        "return score.behind <= score.behind_standard_error",
        "return score.behind <= 0",
        "carot/test_automatic",
    ),
    metrics(
        "gaps of bins cancel each other",
        "(self.correct_B - self.confidence_B).abs().sum() / self.count_B.sum()",
        "(self.correct_B - self.confidence_B).sum().abs() / self.count_B.sum()",
        "carot/test_bins",
    ),
    metrics(
        "an edge belongs to the bin above",
        "torch.bucketize(confidence_N.double(), edges)",
        "torch.bucketize(confidence_N.double(), edges, right=True)",
        "carot/test_bins",
    ),
    metrics(
        "ties go by their last rank",
        "2 * (size_G.cumsum(0) - size_G) + size_G - 1",
        "2 * (size_G.cumsum(0) - 1)",
        "carot/test_bins",
    ),
    metrics(
        "the bias of small bins stays",
        "bias_B = accuracy_B * (1 - accuracy_B) / (n_B - 1)",
        "bias_B = accuracy_B * (1 - accuracy_B) / n_B",
        "carot/test_bins", file="bins.py",
    ),
    metrics(
        "the null level is that of outcomes against confidence",
        "torch.bincount(bins_N[drawn_N < confidence_N], minlength=bins)",
        "torch.bincount(bins_N[drawn_N > confidence_N], minlength=bins)",
    ),
    metrics(
        "a short batch weighs as much as a whole one",
        "total += len(part_N) * error",
        "total += batch * error",
    ),
    metrics(
        "two equal logits are both right",
        "tied_M = (right_N & (sum_N >= 2))",
        "tied_M = (right_N & (sum_N > 2))",
    ),
    metrics(
        "ties count for nothing in the AUROC",
        "(right_G * (2 * less_confident_G + wrong_G))",
        "(right_G * (2 * less_confident_G))",
        "carot/test_ranking",
    ),
    metrics(
        "Wilson's interval is not centred",
        "centre = (share + square / (2 * count)) / (1 + square / count)",
        "centre = share / (1 + square / count)",
        "carot/test_evidence",
    ),
    metrics(
        "the likelihood is that of another chunk's labels",
        "nll_N[part] = -log_NC.gather(1, labels_N[part].long()[:, None]).squeeze(1)",
        "nll_N[part] = -log_NC.gather(1, labels_N[: len(log_NC)].long()[:, None]).squeeze(1)",
        "carot/test_temperature", "carot/test_calibrators", "carot/test_comparing",
    ),
)  # fmt: skip
