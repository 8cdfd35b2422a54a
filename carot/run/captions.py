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
        SpecError: a caption name is given for a class that does not exist, or two classes have a
            caption that is one to the model.
    """
    unknown = sorted(set(prompts.class_names or {}) - set(classes))
    if unknown:
        raise SpecError(
            f"names for classes that the data set lacks: {', '.join(unknown[:10])}",
            field="prompts.class_names",
        )
    templates = prompts.templates or default_templates(dataset, classes)
    captions = Captions(model, caption_names(classes, prompts), templates)
    _check_distinct(captions, classes)
    return captions


def _check_distinct(captions: Captions, classes: tuple[str, ...]) -> None:
    """Refuse two classes whose captions are the same tokens.

    Tokenizers lower the case, join blanks and cut what is beyond the context.
    """
    count = len(captions.templates)
    first: dict[tuple[int, bytes], int] = {}
    for caption, tokens_L in enumerate(captions.tokens_UL.numpy()):
        c, template = divmod(caption, count)
        other = first.setdefault((template, tokens_L.tobytes()), c)
        if other != c:
            names = [f"{classes[i]!r} ({captions.names[i][:80]!r})" for i in (other, c)]
            raise SpecError(
                f"the classes {' and '.join(names)} have the same caption for this model under "
                f"the template {captions.templates[template][:80]!r}: rename or join them, or give "
                "them captions that differ in prompts.class_names",
                field="prompts.class_names",
            )
