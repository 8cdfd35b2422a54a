"""What a user should know that ends nothing: a code, a sentence, and what to do about it.

One kind for data sets, jobs, reports and models, so that whatever meets one shows it alike.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Code = Literal[
    "alias_not_moved",
    "calibration_lacks_classes",
    "calibrator_at_bound",
    "calibrator_hurts",
    "calibrator_not_converged",
    "calibrator_not_fitted",
    "captions_cut",
    "captions_not_used",
    "class_named_like_split",
    "class_names_are_numbers",
    "columns_not_used",
    "copies_across_splits",
    "empty_split",
    "files_left_out",
    "float_labels",
    "image_depth",
    "images_left_out",
    "images_unlabelled",
    "names_guessed",
    "near_copies",
    "no_calibration_split",
    "no_contrast",
    "no_grounds",
    "no_selection_split",
    "no_shift_score",
    "not_better_than_commonest_class",
    "not_better_than_start",
    "sets_miss_classes",
    "snapshot_lost",
    "snapshot_not_kept",
    "terms_left_out",
    "unreadable_image",
    "unusual_learning_rate",
    "worse_than_start",
    "other",
]
"""What a warning is about; codes are stable, sentences are not."""

ACTIONS: Mapping[Code, str] = {
    "alias_not_moved": "Point the alias at the checkpoint yourself, or submit the job with "
    "`alias_when: always`.",
    "calibration_lacks_classes": "Give the calibration split images of these classes; until then "
    "no calibrator corrects them by themselves, and what is said of confidences in them rests on "
    "few images, or on other classes.",
    "calibrator_at_bound": "Give the data set more calibration images, or choose a calibrator "
    "with fewer parameters.",
    "calibrator_hurts": "Serve the raw confidences (calibration.calibrator: none, or "
    "calibration.none_if_worse: true), or another calibrator.",
    "calibrator_not_converged": "Choose another calibrator, or give more calibration images.",
    "calibrator_not_fitted": "Give more calibration images of every class.",
    "captions_cut": "Put what matters first, or shorten names, templates or captions.",
    "captions_not_used": "Nothing, if the classes are what you mean to train on.",
    "class_named_like_split": "Rename the folder, or say in a table what is meant.",
    "class_names_are_numbers": "Give the classes names: in the table, or in prompts.class_names.",
    "columns_not_used": "Name the splits train, validation, calibration and test in a column "
    "`split`, if they are meant to be used.",
    "copies_across_splits": "Keep each image in one split only.",
    "empty_split": "Add images to it, or leave the splits out: images are then dealt by content.",
    "files_left_out": "Convert what are images to JPEG or PNG; the rest needs nothing.",
    "float_labels": "Write them as integers, or as names.",
    "image_depth": "If they hold more bits than that, convert them to 16 bits in full use, or let "
    "the files say it (PNG's sBIT, TIFF's greatest value).",
    "images_left_out": "Look at what was left out; rename, convert or list what belongs to it.",
    "images_unlabelled": "Label them, or remove them.",
    "names_guessed": "If the names of classes are not as you mean them, send a tar, or a zip with "
    "names in UTF-8.",
    "near_copies": "Look at the pairs on the data set's page; keep each picture in one split.",
    "no_calibration_split": "Add a `calibration` split; without one no confidence can be trusted.",
    "no_contrast": "Look at them: they show one colour only, whatever their class is.",
    "no_grounds": "Submit a job with `calibration.refit: true`.",
    "no_selection_split": "Add a `validation` split.",
    "no_shift_score": "Give more calibration images.",
    "not_better_than_commonest_class": "Leave rate, epochs and batch size to their defaults, or "
    "try a higher rate; look whether the labels are right.",
    "not_better_than_start": "Leave rate, epochs and batch size to their defaults, or try another "
    "rate; where the start is good enough, use it.",
    "sets_miss_classes": "Ask for sets with `set_method: mondrian`, which keep the coverage for "
    "each class, and give more calibration images of these.",
    "snapshot_lost": "Nothing: the run starts again from its beginning.",
    "snapshot_not_kept": "Free space where artifacts are stored; an interrupted run starts from "
    "an older snapshot.",
    "terms_left_out": "Nothing, if the method is what you want without them; else start from a "
    "model whose towers end in linear maps (`carot models architectures` says which).",
    "unusual_learning_rate": "Leave `training.learning_rate` out, or look at the curves early.",
    "unreadable_image": "Replace the files, or remove them.",
    "worse_than_start": "Cancel the job if this is not meant, and try a lower "
    "training.learning_rate.",
}
"""What to do about each, unless the warning itself says more."""


HOLDING: frozenset[Code] = frozenset({"not_better_than_commonest_class", "not_better_than_start"})
"""Those on which an alias stays where it is, unless the job says otherwise."""


class CodedWarning(BaseModel):
    """A warning. `action` is what to do, from `ACTIONS` where it is not given."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    code: Code = Field(description="What it is about; stable.")
    message: str = Field(description="What was found, in a sentence.")
    action: str = Field(default="", description="What to do about it.")
    names: tuple[str, ...] = Field(
        default=(), description="What it is about by name: images, classes or calibrators."
    )

    @model_validator(mode="before")
    @classmethod
    def _with_action(cls, values: object) -> object:
        if isinstance(values, dict) and not values.get("action"):
            return {**values, "action": ACTIONS.get(values.get("code", "other"), "")}
        return values


def first_of_each(warnings: Iterable[CodedWarning], limit: int = 100) -> tuple[CodedWarning, ...]:
    """The first of each code and sentence in their order, at most `limit`."""
    seen: dict[tuple[str, str], CodedWarning] = {}
    for each in warnings:
        seen.setdefault((each.code, each.message), each)
    return tuple(seen.values())[:limit]
