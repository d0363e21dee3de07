"""Loading what is trained: model, tokenizer, adapter. Only safetensors are read; no code of a model's folder runs."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import snapshot_download
from peft import LoraConfig, get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig

from workers.training.config import TrainingConfig
from workers.training.protocol import Refused

_FINGERPRINTED = ("*.safetensors", "config.json")


def local_folder(path: str, revision: str | None) -> Path:
    """The folder of a registered model; a hub id is fetched (safetensors and JSON only)."""
    folder = Path(path)
    if folder.is_dir():
        return folder
    if folder.is_absolute():
        raise Refused(f"the base model's folder {path} does not exist")
    patterns = ["*.safetensors", "*.json", "*.txt", "*.model", "*.jinja"]
    return Path(snapshot_download(path, revision=revision, allow_patterns=patterns))


def model_fingerprint(folder: Path) -> str:
    """SHA-256 (hex) over weights and configuration."""
    digest = hashlib.sha256()
    for path in sorted(p for pattern in _FINGERPRINTED for p in folder.glob(pattern)):
        with path.open("rb") as handle:
            digest.update(f"{path.name} {hashlib.file_digest(handle, 'sha256').hexdigest()}\n".encode())
    return digest.hexdigest()


def load_tokenizer(folder: Path) -> Any:
    """The model's own tokenizer. Raises Refused when it has no chat template."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    if not tokenizer.chat_template:
        raise Refused("the base model's tokenizer has no chat template")
    return tokenizer


def load_dtype(config: TrainingConfig) -> torch.dtype:
    """The type base weights are loaded in: the computation's under an adapter, which alone is trained; else float32."""
    dtype: torch.dtype = getattr(torch, config.dtype) if config.lora else torch.float32
    return dtype


def load_model(folder: Path, config: TrainingConfig) -> Any:
    """The base model: float32 weights for full fine-tuning, the computation's type (or 4 bits) under an adapter.

    Raises Refused for an attention that does not train here.
    """
    if config.attention == "flex" and not torch.cuda.is_available():
        raise Refused("attention 'flex' trains on a GPU only, and this trainer sees none: leave it at 'sdpa'")
    options: dict[str, Any] = {"dtype": load_dtype(config)}
    if config.lora and config.lora.quantize_4bit:
        options["quantization_config"] = BitsAndBytesConfig(  # type: ignore[no-untyped-call]
            load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=options["dtype"]
        )
    try:
        attention = {"sdpa": "sdpa", "flex": "flex_attention"}[config.attention]
        return AutoModelForCausalLM.from_pretrained(
            folder, attn_implementation=attention, use_safetensors=True, **options
        )
    except ValueError as error:
        if "scaled_dot_product_attention" not in str(error):
            raise
        return AutoModelForCausalLM.from_pretrained(folder, use_safetensors=True, **options)


def merge_adapter(model: Any, folder: Path, config: TrainingConfig, adapter: dict[str, Tensor] | None = None) -> Any:
    """The model with its adapter merged into the weights, or ``model`` itself where there is nothing to merge.

    Weights in 4 bits and shards are not merged into: the adapter goes into the base model as it was before. Of shards
    ``adapter`` is gathered.
    """
    if config.lora is None or not config.lora.merge:
        return model
    if not config.lora.quantize_4bit and adapter is None:
        return model.merge_and_unload()
    whole = config.model_copy(update={"lora": config.lora.model_copy(update={"quantize_4bit": False})})
    plain = get_peft_model(load_model(folder, whole), model.peft_config["default"])
    set_peft_model_state_dict(plain, get_peft_model_state_dict(model, state_dict=adapter))
    merged: Any = plain
    return merged.merge_and_unload()


def peft_config(config: TrainingConfig) -> LoraConfig | None:
    """PEFT's configuration of the adapter, or None for full fine-tuning."""
    lora = config.lora
    if lora is None:
        return None
    return LoraConfig(
        r=lora.r,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=lora.target_modules,
        task_type="CAUSAL_LM",
    )


def silence_dropout(model: Any) -> None:
    """Switch off the dropout modules of the base model, as TRL does for all; the adapter's own stay as configured."""
    for name, module in model.named_modules():
        if isinstance(module, torch.nn.Dropout) and "lora_dropout" not in name.split("."):
            module.p = 0.0


def train_in_float32(model: Any) -> None:
    """TRL casts adapters of 4-bit models to bfloat16, in which small steps vanish; here what is trained is float32."""
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
