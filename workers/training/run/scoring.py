"""One forward pass over a packed batch: log-probabilities of completions, with whichever mask the model takes.

Masks go through transformers' own interface: a 4-D mask is used as it is; models that mix attention kinds take one mask
per kind. ``supports_trees`` finds out what a model takes, and tries it; ``require_own_logps`` compares plain rows with
the model's own logits.
"""

from __future__ import annotations

import contextlib
import inspect
import types
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask, create_block_mask
from torch.nn.parallel import DistributedDataParallel
from trl.kernels import ChunkedLogProbFunction

from workers.training.config import TrainingConfig
from workers.training.protocol import CannotTrain
from workers.training.run.data import Pair
from workers.training.run.loading import autocast
from workers.training.run.objective import Counts, FigureRow, batch_loss
from workers.training.run.packing import Packed, pack

_VOCABULARY_CHUNK = 8192
_log_probs: Any = ChunkedLogProbFunction.apply  # the kernel of TRL's own log-probabilities: never holds all logits
_MASKS = ("full_attention", "sliding_attention")
_FLEX = "flex_attention"


def is_out_of_memory(error: BaseException) -> bool:
    """CUDA raises a class of its own; on CPU the allocator raises a plain RuntimeError."""
    told = isinstance(error, RuntimeError) and "can't allocate memory" in str(error)
    return told or isinstance(error, torch.OutOfMemoryError | MemoryError)


def unwrapped(model: Any) -> Any:
    """The transformers model inside wrappers of several processes and of PEFT, or the model itself."""
    model = model.module if isinstance(model, DistributedDataParallel) else model
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def add_scoring(model: Any) -> None:
    """Let ``model(..., score_source=, score_target=)`` return log-probabilities [M] of the scored tokens alone.

    Goes through ``forward``, the head's too, so that wrappers (DDP, FSDP, autocast, PEFT) work; logits are never
    materialised.
    """
    model = unwrapped(model)
    head = model.get_output_embeddings()
    project = head.forward
    original, text_config = model.forward, model.config.get_text_config()
    softcap = getattr(text_config, "final_logit_softcapping", None)
    scale = _logit_scale(text_config)

    def forward(self: Any, *args: Any, score_source: Any = None, score_target: Any = None, **kwargs: Any) -> Any:
        if score_source is None:
            return original(*args, **kwargs)
        kwargs = {name: value for name, value in kwargs.items() if value is not None}  # PEFT passes all it knows of
        hidden = self.base_model(*args, **kwargs, use_cache=False).last_hidden_state
        # Only positions that predict a scored token go through the head: the vocabulary is the widest tensor of all.
        return head(hidden.flatten(0, 1).index_select(0, score_source), score_target=score_target)

    def score(self: Any, hidden: Tensor, score_target: Any = None) -> Any:
        if score_target is None:
            return project(hidden)
        return _log_probs(
            hidden, self.weight, self.bias, score_target, 1.0, _VOCABULARY_CHUNK, softcap, scale, ("log_probs",)
        )[0]

    # Instance attributes, so that the class and every other model of it stay as they are.
    model.forward = types.MethodType(forward, model)
    head.forward = types.MethodType(score, head)


def _logit_scale(config: Any) -> float:
    """What the model multiplies its logits by, under the names that families give it (those TRL knows)."""
    for name in ("logit_scale", "output_multiplier", "lm_head_multiplier"):
        given = getattr(config, name, None)
        if isinstance(given, int | float):
            return float(given)
    given = getattr(config, "logits_scaling", None) or 1.0
    return float(given) if config.model_type == "hyperclovax" else 1 / float(given)


def attention_mask(model: Any, packed: Packed) -> Any:
    """The tree mask in the form the model takes: one [R, 1, T, T] mask or one per layer kind. True: may be seen.

    For FlexAttention block masks, which hold no [T, T] and let its kernel skip what a tree hides.
    """
    kinds, takes_dict, window = _attention_kinds(model)
    attention = unwrapped(model).config._attn_implementation
    if attention == _FLEX:
        blocks = {"full_attention": _block_mask(packed, None)}
        if window:
            blocks["sliding_attention"] = _block_mask(packed, window)
        return blocks if takes_dict else blocks[kinds[0]]
    at = torch.arange(packed.input_ids.shape[1], device=packed.ends.device)
    # A token sees what stands before it and whose subtree it is in: its own branch, back to the root.
    full = ((at[:, None] >= at[None, :]) & (at[:, None] < packed.ends[:, None, :]))[:, None]
    masks = {"full_attention": full}
    if window:
        depth = packed.position_ids
        # The window counts depths: along the row, other branches stand between a token and its own past.
        near = (depth[:, :, None] - depth[:, None, :]) < window
        masks["sliding_attention"] = full & near[:, None]
    if attention == "eager":  # adds its mask to the scores
        dtype = unwrapped(model).dtype
        lowest = torch.finfo(dtype).min
        masks = {kind: torch.zeros_like(m, dtype=dtype).masked_fill(~m, lowest) for kind, m in masks.items()}
    return masks if takes_dict else masks[kinds[0]]


def _block_mask(packed: Packed, window: int | None) -> BlockMask:
    ends, depth = packed.ends, packed.position_ids

    def seen(row: Tensor, _head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        visible = (query >= key) & (query < ends[row, key])
        return visible if window is None else visible & (depth[row, query] - depth[row, key] < window)

    rows, width = packed.input_ids.shape
    return create_block_mask(seen, rows, None, width, width, device=ends.device)


def _attention_kinds(model: Any) -> tuple[list[str], bool, int | None]:
    """Kinds of attention layers, whether the backbone takes a mask per kind, and the window."""
    model = unwrapped(model)
    config = model.config.get_text_config()
    window = getattr(config, "sliding_window", None)
    if getattr(config, "use_sliding_window", True) is False:
        window = None
    named = sorted(set(getattr(config, "layer_types", None) or ()))
    kinds = named or ["sliding_attention" if window else "full_attention"]
    # transformers has no flag for it: backbones that take a mask per kind test for a dictionary.
    source = inspect.getsource(inspect.unwrap(type(model.base_model).forward))
    return kinds, "attention_mask, dict)" in source, window


def completion_logps(model: Any, packed: Packed) -> tuple[Tensor, Tensor]:
    """Summed log-probabilities of what is scored of every completion [C], and of its divergent span [C] (detached)."""
    extra: dict[str, Any] = {}
    if packed.shared:
        extra = {"position_ids": packed.position_ids, "attention_mask": attention_mask(model, packed)}
    if unwrapped(model).config._attn_implementation == _FLEX:
        # Below 128 tokens a row PyTorch takes its kernel for decoding, which has no choice for these masks (2.11 on an
        # H200: NoValidChoicesError).
        extra["kernel_options"] = {"FORCE_USE_FLEX_ATTENTION": True}
    logps: Tensor = model(
        input_ids=packed.input_ids, score_source=packed.score_source, score_target=packed.score_target, **extra
    )
    # [M] scored tokens to [K] memberships to [C] sums: a shared token adds to each completion that holds it.
    members = logps.index_select(0, packed.member_token)
    zeros = members.new_zeros(packed.completions)
    total = zeros.index_add(0, packed.member_completion, members)
    return total, zeros.index_add(0, packed.member_completion, members.detach() * packed.member_divergent)


def micro_batch_loss(
    model: Any, pairs: Sequence[Pair], reference: Tensor | None, counts: Counts, config: TrainingConfig
) -> tuple[Tensor, list[FigureRow], int]:
    """Forward pass and :func:`batch_loss` of a micro-batch: its share of the loss, its figures, and its tokens.

    ``reference`` is [P, 2], None but for dpo. ``config`` holds the packing in use.
    """
    device = next(model.parameters()).device
    packed = pack(pairs, config.packing, config.row_tokens).to(device)
    with autocast(config, device):
        logps, spans = completion_logps(model, packed)
    loss, rows = batch_loss(logps, spans, packed, pairs, reference, counts, config)
    return loss, rows, packed.tokens


def supports_trees(model: Any) -> str | None:
    """Why the model cannot take tree masks, or None when it can: checked by its kinds of attention, then tried."""
    kinds, takes_dict, _ = _attention_kinds(model)
    unknown = [kind for kind in kinds if kind not in _MASKS]
    if unknown:
        return f"it has {', '.join(unknown)} layers"
    if len(kinds) > 1 and not takes_dict:
        return "it mixes kinds of attention and takes one mask"
    attention = unwrapped(model).config._attn_implementation
    if attention not in ("sdpa", "eager", _FLEX):
        return f"its attention is {attention}"
    with evaluating(model):
        return _try_tree(model)


def _try_tree(model: Any) -> str | None:
    """Compare a small tree with its plain pairs, per token.

    One branch stands far behind what it goes on from, so that distances counted along the row are found out.
    """
    device, ids = next(model.parameters()).device, _trial_ids(model, 64)
    prompt, trunk, other = ids[:8], ids[8:56], ids[56:60]
    far = (trunk[0] + 1, *ids[60:63])  # sorts behind the trunk
    pairs = [
        Pair("a", "x", False, None, prompt, trunk, far),
        Pair("b", "x", True, None, prompt + trunk[:30], trunk[30:33], other),
    ]
    plain_rows = pack(pairs, "pairs").to(device)
    lengths = plain_rows.lengths
    plain = completion_logps(model, plain_rows)[0] / lengths
    try:
        tree = completion_logps(model, pack(pairs, "tree").to(device))[0] / lengths
    except Exception as error:  # whatever a model's own code makes of a mask it does not know
        if is_out_of_memory(error):
            raise
        return f"it fails under a tree mask ({type(error).__name__}: {str(error)[:200]})"
    apart = (tree - plain).abs()
    if not bool((apart <= _tolerance(model) * (1 + plain.abs())).all()):
        return f"its log-probabilities differ by {apart.max().item():.2g} per token under a tree mask"
    return None


def require_own_logps(model: Any) -> None:
    """Raise CannotTrain when plain rows cannot be scored, or not as the model's own forward pass scores them.

    A model may do more with its logits than :func:`add_scoring` knows of.
    """
    ids = torch.tensor([_trial_ids(model, 24)], device=next(model.parameters()).device)
    at, targets = torch.arange(ids.shape[1] - 1, device=ids.device), ids[0, 1:]
    with evaluating(model):
        logits = model(input_ids=ids, use_cache=False).logits[0, :-1]
        try:
            ours = model(input_ids=ids, score_source=at, score_target=targets)
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise CannotTrain(f"this model cannot be trained here ({type(error).__name__}: {error})") from error
    own = logits.float().log_softmax(-1).gather(-1, targets[:, None])[:, 0]
    apart = (ours - own).abs().mean().item()
    if not apart <= _tolerance(model) * (1 + own.abs().mean().item()):
        raise CannotTrain(
            f"this model cannot be trained here: its own log-probabilities differ from the trainer's by {apart:.2g} per"
            " token, so it does something with its logits that the trainer does not know"
        )


@contextlib.contextmanager
def evaluating(model: Any) -> Iterator[None]:
    """Within it, passes of ``model`` have neither dropout nor gradients."""
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        model.train(was_training)


def _trial_ids(model: Any, count: int) -> tuple[int, ...]:
    known = min(unwrapped(model).config.get_text_config().vocab_size, 97) - 4
    return tuple(3 + (7 * i * i + 5 * i) % known for i in range(count))


def _tolerance(model: Any) -> float:
    """Of a token's log-probability, relative and absolute."""
    return 2e-4 if next(model.parameters()).dtype == torch.float32 else 5e-2
