"""Tokenizers: captions to token ids, and the files that make one again in another process.

U captions, L tokens.
"""

from __future__ import annotations

import json
import shutil
import threading
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import open_clip
from open_clip.tokenizer import DEFAULT_CONTEXT_LENGTH
from torch import Tensor

from carot.errors import ModelError
from carot.models.hugging_face import require_transformers

LOCAL = "local-dir:"
FILE_NAMES = (
    "added_tokens.json", "chat_template.jinja", "merges.txt", "sentencepiece.bpe.model",
    "special_tokens_map.json", "spiece.model", "tokenizer.json", "tokenizer.model",
    "tokenizer_config.json", "vocab.json", "vocab.txt",
)  # fmt: skip
"""What Hugging Face's tokenizers are saved as; a folder has some of these."""

KNOWN = ("additional_special_tokens", "clean", "reduction_mask")
"""What a configuration may ask of CLIP's own tokenizer; never another file to read."""

Tokenize = Callable[[Sequence[str]], Tensor]


class Tokenizer:
    """Token ids (U, L) of captions, int64. Any thread may ask.

    It is made when first asked: a model with a trained head may never need it, nor the package
    that one of Hugging Face's takes.

    Args:
        source: an architecture of open_clip, `hf-hub:owner/name` or `local-dir:folder`.
        text_cfg: open_clip's configuration of the text tower.
    """

    def __init__(self, source: str, text_cfg: Mapping[str, Any]) -> None:
        self.source = source
        self._text_cfg = text_cfg
        self._made: Tokenize | None = None
        self._lock = threading.Lock()

    def __call__(self, captions: Sequence[str]) -> Tensor:
        """Token ids of each caption, cut or padded to the context length.

        Raises:
            ModelError: the tokenizer cannot be made.
        """
        return self.made()(captions)

    def made(self) -> Tokenize:
        """The tokenizer of open_clip itself.

        Raises:
            ModelError: its files are missing, or the package that reads them is.
        """
        with self._lock:
            if self._made is None:
                self._made = self._make()
            return self._made

    def save(self, folder: Path) -> None:
        """Write what `local-dir:` needs to make it again; nothing where open_clip brings it along.

        Raises:
            ModelError: the tokenizer cannot be made.
        """
        if not self.of_hugging_face:
            return
        if self._made is None and self.source.startswith(LOCAL):
            here = Path(self.source.removeprefix(LOCAL))
            for name in FILE_NAMES:
                if (here / name).is_file():
                    shutil.copyfile(here / name, folder / name)
            return
        self.made().save_pretrained(folder)  # type: ignore[attr-defined]

    @property
    def of_hugging_face(self) -> bool:
        """Whether it is one of theirs, with files of its own."""
        return bool(self._text_cfg.get("hf_tokenizer_name"))

    def _make(self) -> Tokenize:
        if not self.of_hugging_face:
            length = self._text_cfg.get("context_length", DEFAULT_CONTEXT_LENGTH)
            given = self._text_cfg.get("tokenizer_kwargs") or {}
            return _byte_pairs(length, json.dumps({k: v for k, v in given.items() if k in KNOWN}))
        named = Path(self.source).name
        require_transformers(named, None)
        folder = Path(self.source.removeprefix(LOCAL))
        if self.source.startswith(LOCAL) and not any((folder / n).is_file() for n in FILE_NAMES):
            raise ModelError(
                f"{named}: its captions are read by the tokenizer "
                f"{self._text_cfg['hf_tokenizer_name']!r}, and none of its files (tokenizer.json, "
                "…) is in the folder: copy them there"
            )
        try:
            made: Tokenize = open_clip.get_tokenizer(self.source, trust_remote_code=False)
        # Their loader raises whatever the reader of one of its many formats raises.
        except Exception as error:
            raise ModelError(f"{named}: its tokenizer cannot be made: {error}") from error
        return made


@cache
def _byte_pairs(length: int, options: str) -> Tokenize:
    """CLIP's own, from open_clip's file of 49,000 merges: models that ask alike share one."""
    made: Tokenize = open_clip.SimpleTokenizer(context_length=length, **json.loads(options))
    return made
