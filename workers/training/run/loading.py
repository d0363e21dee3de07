"""What is trained: packages it needs, model, tokenizer and adapter, the type it is held and computed in, its sizes.

Only safetensors are read; no code of a model's folder runs.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from huggingface_hub import snapshot_download
from peft import LoraConfig, get_peft_model, get_peft_model_state_dict, set_peft_model_state_dict
from torch import Tensor
from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig

from workers.engines.templates import with_template_values
from workers.engines.weights import refuse_pickles
from workers.training.config import TrainingConfig
from workers.training.protocol import CannotTrain

_FINGERPRINTED = ("*.safetensors", "config.json")
_MOMENTS = 2  # of AdamW, in the parameter's own type
_FLEX_VARIANTS = 64


def require_packages(config: TrainingConfig) -> None:
    """Raise CannotTrain naming the first optional package of ``config`` that this environment lacks."""
    wanted: dict[str, str] = {f"report_to {name!r}": name for name in config.report_to}
    if config.lora is not None and config.lora.quantize_4bit:
        wanted["lora.quantize_4bit"] = "bitsandbytes"
    for setting, package in wanted.items():
        if find_spec(package) is None:
            raise CannotTrain(
                f"{setting} needs the package {package} where the trainer runs: install it, or leave it out"
            )


def local_folder(path: str, revision: str | None) -> Path:
    """The folder of a registered model; a hub id is fetched (safetensors and JSON only).

    Raises CannotTrain for a folder that is not there, or whose weights are pickles.
    """
    folder = Path(path)
    try:
        refuse_pickles(folder)
    except ValueError as error:
        raise CannotTrain(f"the base model: {error}") from None
    if folder.is_dir():
        return folder
    if folder.is_absolute():
        raise CannotTrain(f"the base model's folder {path} does not exist")
    patterns = ["*.safetensors", "*.json", "*.txt", "*.model", "*.jinja"]
    return Path(snapshot_download(path, revision=revision, allow_patterns=patterns))


def model_fingerprint(folder: Path) -> str:
    """SHA-256 (hex) over weights and configuration."""
    digest = hashlib.sha256()
    for path in sorted(p for pattern in _FINGERPRINTED for p in folder.glob(pattern)):
        with path.open("rb") as handle:
            digest.update(f"{path.name} {hashlib.file_digest(handle, 'sha256').hexdigest()}\n".encode())
    return digest.hexdigest()


def load_tokenizer(folder: Path, template: Mapping[str, Any] | None = None) -> Any:
    """The model's own tokenizer; its chat template is given what the engines give it (``RunSpec.template``).

    Raises CannotTrain when it has no chat template.
    """
    tokenizer = AutoTokenizer.from_pretrained(folder)
    if not tokenizer.chat_template:
        raise CannotTrain("the base model's tokenizer has no chat template")
    return with_template_values(tokenizer, template or {})


def load_dtype(config: TrainingConfig) -> torch.dtype:
    """The type base weights are loaded in: the computation's under an adapter, which alone is trained; else float32."""
    dtype: torch.dtype = getattr(torch, config.dtype) if config.lora else torch.float32
    return dtype


def load_model(folder: Path, config: TrainingConfig) -> Any:
    """The base model: float32 weights for full fine-tuning, the computation's type (or 4 bits) under an adapter.

    Raises CannotTrain for an attention that does not train here.
    """
    if config.attention == "flex" and not torch.cuda.is_available():
        raise CannotTrain("attention 'flex' trains on a GPU only, and this trainer sees none: leave it at 'sdpa'")
    options: dict[str, Any] = {"dtype": load_dtype(config)}
    if config.lora and config.lora.quantize_4bit:
        options["quantization_config"] = BitsAndBytesConfig(  # type: ignore[no-untyped-call]
            load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_compute_dtype=options["dtype"]
        )
    if config.attention == "flex":
        allow_flex_variants()
    attention = {"sdpa": "sdpa", "flex": "flex_attention"}[config.attention]
    try:
        return AutoModelForCausalLM.from_pretrained(
            folder, attn_implementation=attention, use_safetensors=True, **options
        )
    except ValueError as error:
        if "scaled_dot_product_attention" not in str(error):
            raise
        return AutoModelForCausalLM.from_pretrained(folder, use_safetensors=True, **options)


def allow_flex_variants() -> None:
    """Let this thread's Dynamo compile FlexAttention as often as one model's training needs.

    It compiles a variant for one row or several, one block of keys or several, with a gradient or without, and for each
    kind of mask: 7 for Qwen2 on trees, 14 for Gemma 3. Past its limit, 8, Dynamo fails nowhere: FlexAttention runs
    unfused, with whole score matrices in memory.
    """
    dynamo: Any = torch._dynamo.config
    dynamo.recompile_limit = max(dynamo.recompile_limit, _FLEX_VARIANTS)


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


def disable_base_dropout(model: Any) -> None:
    """Switch off the dropout modules of the base model, as TRL does for all; the adapter's own stay as configured."""
    for name, module in model.named_modules():
        if isinstance(module, torch.nn.Dropout) and "lora_dropout" not in name.split("."):
            module.p = 0.0


def hold_trained_in_float32(model: Any) -> None:
    """TRL casts adapters of 4-bit models to bfloat16, in which small steps vanish; here what is trained is float32."""
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()


def autocast(config: TrainingConfig, device: torch.device) -> contextlib.AbstractContextManager[Any]:
    """Around each forward pass of a run: bfloat16 where ``dtype`` asks for it, else nothing.

    One autocast for every pass, so that policy and reference are the same function. Casts are not cached: a pass uses
    each weight once, and a cache would hold all shards whole.
    """
    if config.dtype == "float32":
        return contextlib.nullcontext()
    return torch.autocast(device.type, dtype=torch.bfloat16, cache_enabled=False)


def require_precision(config: TrainingConfig, device: torch.device) -> None:
    """Raise CannotTrain where ``device`` cannot compute in the run's ``dtype``. A processor can, slowly."""
    if config.dtype == "float32":
        return
    known = torch.amp.autocast_mode.is_autocast_available(device.type)
    if not known or (device.type == "cuda" and not torch.cuda.is_bf16_supported()):
        raise CannotTrain(f"this trainer's device ({device.type}) has no bfloat16: set dtype to 'float32'")


def written_bytes(model: Any, config: TrainingConfig) -> tuple[int, int]:
    """Bytes of a checkpoint (weights or adapter, and the optimizer's state) and of the finished model."""
    weights = {id(p): p.numel() * p.element_size() for p in model.parameters()}  # by id: tied weights count once
    trained = sum(p.numel() * p.element_size() for p in model.parameters() if p.requires_grad)
    whole = sum(weights.values())
    if config.lora is None:
        return whole + _MOMENTS * trained, whole
    if config.lora.quantize_4bit:  # the adapter is merged into the weights as they were before
        whole = int(model.num_parameters() * getattr(torch, config.dtype).itemsize)
    return (1 + _MOMENTS) * trained, whole if config.lora.merge else trained
