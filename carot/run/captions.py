"""The captions of a run: its classes under the names and templates that its spec gives them."""

from __future__ import annotations

from collections.abc import Sequence

from carot.data.formats.wordnet import are_imagenet
from carot.data.source import ImageSource
from carot.errors import SpecError
from carot.models.clip import ClipModel
from carot.models.prompts import Captions, ImageCaptions, caption_names, default_templates
from carot.specs import PromptSpec
from carot.training.methods import Method
from carot.warnings import CodedWarning


def captions_for(
    model: ClipModel,
    classes: tuple[str, ...],
    prompts: PromptSpec,
    dataset: str,
    of_images: Sequence[Sequence[str]] | None = None,
) -> Captions:
    """Tokenized captions of every class, and those of images to train on.

    Args:
        of_images: what the data set says of each image; templates that the spec gives come first.

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
    names = caption_names(classes, prompts)
    captions = Captions(model, names, templates)
    given = set(prompts.class_names or {})
    _check_distinct(captions, classes, given if are_imagenet(classes) else set(classes))
    if of_images is not None and prompts.templates is None:
        return ImageCaptions(model, names, templates, of_images)
    return captions


def caption_warnings(
    source: ImageSource, prompts: PromptSpec, method: Method, dataset: str
) -> list[CodedWarning]:
    """What to know of captions that came with the images: not used, or other words than classes."""
    if source.captions is None or not method.trains:
        return []
    if not method.uses_captions or prompts.templates is not None:
        why = (
            "prompts.templates is in their place" if method.uses_captions else "the method has none"
        )
        message = f"{dataset}: the captions of its images are not trained on: {why}"
        return [CodedWarning(code="captions_not_used", message=message)]
    if prompts.class_names is None and all(name.isdecimal() for name in source.classes):
        message = (
            f"{dataset}: images train with captions, but its classes are called "
            f"{', '.join(source.classes[:3])} …, and that is what their own captions say"
        )
        return [CodedWarning(code="class_names_are_numbers", message=message)]
    return []


def cut_warnings(captions: Captions) -> list[CodedWarning]:
    """That the model does not read the end of some captions."""
    if not captions.cut:
        return []
    first = captions.cut[0]
    message = (
        f"{len(captions.cut)} captions are longer than the {captions.tokens_UL.shape[1]} tokens "
        f"that the model reads, and are cut; the first begins with {first[:80]!r}"
    )
    return [CodedWarning(code="captions_cut", message=message)]


def _check_distinct(captions: Captions, classes: tuple[str, ...], looked_at: set[str]) -> None:
    """Refuse two classes whose captions are the same tokens.

    Tokenizers lower the case, join blanks and cut what is beyond the context.

    Args:
        looked_at: classes of which one at least must be of a pair. CLIP was published with the
            same names for two pairs of ImageNet's classes, and its figures go with them.
    """
    count = len(captions.templates)
    first: dict[tuple[int, bytes], int] = {}
    for caption, tokens_L in enumerate(captions.tokens_UL.numpy()):
        c, template = divmod(caption, count)
        other = first.setdefault((template, tokens_L.tobytes()), c)
        if other != c and not looked_at.isdisjoint((classes[other], classes[c])):
            names = [f"{classes[i]!r} ({captions.names[i][:80]!r})" for i in (other, c)]
            raise SpecError(
                f"the classes {' and '.join(names)} have the same caption for this model under "
                f"the template {captions.templates[template][:80]!r}: rename or join them, or give "
                "them captions that differ in prompts.class_names",
                field="prompts.class_names",
            )
