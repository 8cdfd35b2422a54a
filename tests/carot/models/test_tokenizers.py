"""Tokenizers come from the model's own source, lazily, and travel with its checkpoints."""

from __future__ import annotations

import io
import json
import shutil
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

import carot.models.hugging_face
from carot.errors import CheckpointError, ModelError
from carot.models.checkpoints import ClassifierCard, save_checkpoint
from carot.models.classifier import Classifier
from carot.models.clip import from_config, load_folder, load_model
from carot.models.fresh import check_fresh
from carot.models.tokenizers import FILE_NAMES, Tokenizer
from carot.specs import ModelSpec
from tests.carot.models.families import HF_TEXT, WORDS, write_family, write_tokenizer
from tests.carot.tiny import CONFIG

CAPTION = ["a bright photo"]


def saved(start: Path, folder: Path) -> Path:
    """A checkpoint with a trained head."""
    model = load_folder(start)
    card = ClassifierCard(
        architecture="tiny",
        method="finetune",
        classes=("bright", "dark"),
        caption_names=("bright", "dark"),
        templates=("{}",),
        logit_scale=1.0,
        head="trained",
    )
    save_checkpoint(folder, model, torch.zeros(2, model.model_cfg["embed_dim"]), card, None)
    return folder


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_family("CLIPA", tmp_path_factory.mktemp("start") / "clipa")


def without_tokenizer(folder: Path) -> Path:
    for name in FILE_NAMES:
        (folder / name).unlink(missing_ok=True)
    return folder


def test_models_of_one_text_configuration_have_each_their_own(start: Path, tmp_path: Path) -> None:
    other = shutil.copytree(start, tmp_path / "other")
    write_tokenizer(other, tuple(reversed(WORDS[:3])) + WORDS[3:][::-1])
    tokens = [load_folder(each).tokenize(CAPTION)[0].tolist() for each in (start, other, start)]
    assert tokens[0] == tokens[2]
    assert tokens[0] != tokens[1]
    assert tokens[0][:3] == [WORDS.index(word) for word in ("a", "bright", "photo")]


def test_a_folder_written_anew_has_the_new_one(start: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(start, tmp_path / "model")
    before = load_folder(folder).tokenize(CAPTION)
    write_tokenizer(folder, (*WORDS[:3], *WORDS[3:][::-1]))
    assert not torch.equal(load_folder(folder).tokenize(CAPTION), before)


def test_a_checkpoint_carries_its_tokenizer_however_often_it_is_saved(
    start: Path, tmp_path: Path
) -> None:
    expected = load_folder(start).tokenize(CAPTION)
    first = saved(start, tmp_path / "first")
    model = load_folder(first)
    model.tokenize(CAPTION)  # made, so that it is written rather than copied
    card = Classifier.load(first, "cpu").card
    save_checkpoint(tmp_path / "second", model, torch.zeros(2, 16), card, None)
    for folder in (first, tmp_path / "second"):
        assert torch.equal(load_folder(folder).tokenize(CAPTION), expected)


def test_a_trained_head_needs_no_tokenizer(start: Path, tmp_path: Path) -> None:
    folder = without_tokenizer(saved(start, tmp_path / "checkpoint"))
    classifier = Classifier.load(folder, "cpu")
    assert classifier.logits_of(torch.zeros(1, 3, 32, 32)).shape == (1, 2)
    with pytest.raises(ModelError, match=r"somebody/words.*tokenizer.json"):
        classifier.model.tokenize(CAPTION)


@pytest.mark.slow
def test_a_checkpoint_that_lacks_a_file_is_found_out_by_a_fresh_process(
    start: Path, tmp_path: Path
) -> None:
    folder = without_tokenizer(saved(start, tmp_path / "checkpoint"))
    with pytest.raises(CheckpointError, match=r"another process.*somebody/words"):
        check_fresh(folder)


def test_a_tower_of_hugging_faces_is_built_from_the_checkpoint_alone(tmp_path: Path) -> None:
    start = write_family("XLM-RoBERTa", tmp_path / "start")
    expected = load_folder(start).encode_captions(load_folder(start).tokenize(CAPTION))
    folder = saved(start, tmp_path / "checkpoint")
    shutil.rmtree(start)  # as on another machine: its configuration names this place
    model = load_folder(folder)
    torch.testing.assert_close(model.encode_captions(model.tokenize(CAPTION)), expected)
    named = json.loads((folder / "open_clip_config.json").read_text())
    assert named["model_cfg"]["text_cfg"]["hf_model_name"] == str(start)


def test_a_tokenizer_of_sentencepiece_is_read(start: Path, tmp_path: Path) -> None:
    """As repositories have it whose tokenizer was never converted (google/mt5-base)."""
    import sentencepiece

    folder = without_tokenizer(shutil.copytree(start, tmp_path / "model"))
    written = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(["a bright photo", "a dark photo of it"] * 9),
        model_writer=written,
        vocab_size=40,
        hard_vocab_limit=False,
        pad_id=0,
        eos_id=1,
        unk_id=2,
        bos_id=-1,
        minloglevel=2,
    )
    (folder / "spiece.model").write_bytes(written.getvalue())
    config = {"tokenizer_class": "T5Tokenizer", "extra_ids": 0, "sep_token": "</s>"}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    expected = load_folder(folder).tokenize(CAPTION)
    assert len(set(expected[0].tolist())) > 3
    again = saved(folder, tmp_path / "checkpoint")
    assert torch.equal(load_folder(again).tokenize(CAPTION), expected)


def test_code_of_a_repository_is_not_run(start: Path, tmp_path: Path) -> None:
    folder = without_tokenizer(shutil.copytree(start, tmp_path / "model"))
    trace = tmp_path / "ran"
    (folder / "theirs.py").write_text(f"open({str(trace)!r}, 'w').close()\nclass Theirs: pass\n")
    config = {"tokenizer_class": "Theirs", "auto_map": {"AutoTokenizer": ["theirs.Theirs", None]}}
    (folder / "tokenizer_config.json").write_text(json.dumps(config))
    model = json.loads((folder / "open_clip_config.json").read_text())
    model["model_cfg"]["text_cfg"]["tokenizer_kwargs"] = {"trust_remote_code": True}
    (folder / "open_clip_config.json").write_text(json.dumps(model))
    with pytest.raises(ModelError, match="cannot be made"):
        load_folder(folder).tokenize(CAPTION)
    assert not trace.exists()


def test_a_missing_package_is_told_before_anything_is_downloaded(
    monkeypatch: pytest.MonkeyPatch, start: Path
) -> None:
    def without(name: str) -> ModuleSpec | None:
        return None if name == "transformers" else find_spec(name)

    monkeypatch.setattr(carot.models.hugging_face, "find_spec", without)
    spec = ModelSpec(architecture="ViT-B-16-SigLIP", pretrained="webli")
    with pytest.raises(ModelError, match=r"carot\[hf\]") as caught:
        load_model(spec)
    assert caught.value.field == "model.architecture"
    with pytest.raises(ModelError, match=r"carot\[hf\]"):
        load_folder(start).tokenize(CAPTION)


def test_clips_own_tokenizer_is_shared_and_reads_no_other_file() -> None:
    text = CONFIG["text_cfg"]
    one, two = Tokenizer("local-dir:/one", text), Tokenizer("ViT-B-32", dict(text))
    assert one.made() is two.made()
    assert one(["a"]).shape == (1, text["context_length"])
    elsewhere = text | {"tokenizer_kwargs": {"bpe_path": "/etc/passwd", "clean": "lower"}}
    assert torch.equal(Tokenizer("x", elsewhere)(["A cat"]), one(["A cat"]))


def test_hugging_faces_needs_files() -> None:
    model = from_config({**CONFIG, "text_cfg": HF_TEXT})
    with pytest.raises(ModelError, match="copy them there"):
        model.tokenize(CAPTION)
