"""Whether a saved folder loads where nothing is in memory yet, and nothing on the way but the disk.

In the process that trained, tokenizers and configurations are at hand that another one has to find
in the folder. So it is asked in another one, that has no hub and no cache of it:

    python -m carot.models.fresh FOLDER
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from pathlib import Path

from carot.errors import CarotError, CheckpointError

SECONDS = 1800
"""That a large model may take on a slow disk."""


def check_fresh(folder: Path) -> None:
    """Load a checkpoint in a new process, its captions read by its own tokenizer.

    Raises:
        CheckpointError: it cannot be loaded there; the message is that process's.
    """
    with tempfile.TemporaryDirectory() as empty:
        root = str(Path(__file__).parents[2])
        offline = {
            "CUDA_VISIBLE_DEVICES": "",
            "HF_HOME": empty,
            "HF_HUB_OFFLINE": "1",
            "PYTHONPATH": os.pathsep.join(filter(None, (root, os.environ.get("PYTHONPATH")))),
        }
        done = subprocess.run(
            [sys.executable, "-m", "carot.models.fresh", str(folder)],
            env=os.environ | offline,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=SECONDS,
            check=False,
        )
    if done.returncode != 0:
        said = done.stderr.strip().splitlines()
        raise CheckpointError(
            f"the checkpoint cannot be loaded in another process: {said[-1] if said else 'killed'}"
        )


def main(folder: Path) -> int:
    """Load the classifier of a folder and have it read a caption; 1 where that fails."""
    from carot.models.classifier import Classifier

    try:
        classifier = Classifier.load(folder, "cpu")
        classifier.model.tokenize([classifier.classes[0]])
    except CarotError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
