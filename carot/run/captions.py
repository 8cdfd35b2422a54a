"""The captions of a run: its classes under the names and templates that its spec gives them."""

from __future__ import annotations

from carot.errors import SpecError
from carot.models.clip import ClipModel
from carot.models.prompts import Captions, caption_names, default_templates
from carot.specs import PromptSpec


def captions_for(
    model: ClipModel, classes: tuple[str, ...], prompts: PromptSpec, dataset: str
) -> Captions:
    """Tokenized captions of every class.

    Raises:
        SpecError: a caption name is given for a class that does not exist.
    """
    unknown = sorted(set(prompts.class_names or {}) - set(classes))
    if unknown:
        raise SpecError(
            f"names for classes that the data set lacks: {', '.join(unknown[:10])}",
            field="prompts.class_names",
        )
    templates = prompts.templates or default_templates(dataset, classes)
    return Captions(model, caption_names(classes, prompts), templates)
