#!/bin/sh
# open_clip: a model folder without weights is a model, with random ones.
#
# Versions: open_clip_torch 3.3.0, torch 2.15.0 (CPU).
# Guess before looking: `create_model("local-dir:FOLDER")` of a folder that holds a configuration and
#   no weights raises, as it does for a tag that an architecture does not have.
# Seen: it returns a model that is initialised at random, with a line in the log at level WARNING and
#   nothing else; two calls give two different models. `load_weights=True`, the default, changes
#   nothing about it; only `require_pretrained=True` raises.
# Who is hurt: a checkpoint folder that was copied in part is served, and answers at chance level.
#
# Ends with another status than 0 when that changes.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check \
  "open_clip_torch==3.3.0" "torch==2.15.0"
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import json
import logging
import pathlib

import open_clip
import torch

said = []
logging.getLogger().addHandler(type("Note", (logging.Handler,), {
    "emit": lambda self, record: said.append((record.levelname, record.getMessage()))})())
model = pathlib.Path("model")
model.mkdir()
config = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "patch_size": 8, "width": 32, "head_width": 16, "layers": 1},
    "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 16, "heads": 2, "layers": 1},
}
preprocess = {"mean": [0.5] * 3, "std": [0.5] * 3}
(model / "open_clip_config.json").write_text(
    json.dumps({"model_cfg": config, "preprocess_cfg": preprocess}))
name = f"local-dir:{model.resolve()}"
made = [open_clip.create_model(name) for _ in range(2)]
weights = [each.visual.conv1.weight for each in made]
print("open_clip", open_clip.__version__, "- two loads give equal weights:",
      torch.equal(*weights))
for level, text in said:
    if "weights" in text:
        print(level, text.replace(str(model.resolve()), "FOLDER"))
try:
    open_clip.create_model(name, require_pretrained=True)
    print("require_pretrained: nothing raised")
    raised = False
except Exception as error:
    print("require_pretrained:", type(error).__name__)
    raised = True
assert not torch.equal(*weights)
assert all(level == "WARNING" for level, text in said if "weights" in text)
assert raised
PYTHON
echo "as described"
