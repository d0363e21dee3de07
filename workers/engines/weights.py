"""Which weights are read: safetensors. A pickle runs whatever code its maker put in, so none is ever opened.

PyTorch's own files (``pytorch_model.bin``, ``adapter_model.bin``, ``*.pt``, ``*.pth``, ``*.ckpt``) are pickles.
"""

from __future__ import annotations

from pathlib import Path

_PICKLED = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")


def refuse_pickles(folder: str | Path) -> None:
    """Raises ValueError where a local folder's weights are pickles alone, naming one and the remedy.

    A folder that has safetensors may hold pickles beside them, such as ``training_args.bin``: they are not read. What
    is no folder here, such as a hub's id, is not looked at.
    """
    path = Path(folder)
    if not path.is_dir() or any(path.glob("*.safetensors")):
        return
    pickled = sorted(found.name for found in path.iterdir() if found.suffix.lower() in _PICKLED)
    if pickled:
        raise ValueError(
            f"{path / pickled[0]} is a pickle, which may run code of its maker's when it is read; give a folder with "
            "*.safetensors (transformers' save_pretrained writes them)"
        )
