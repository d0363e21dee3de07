"""The miniature's tokenizer: whole words, digits one by one, bytes for the rest, and a chat template.

A word takes the space behind it along, and the pieces never reach over a line's end or a step's label, so that a
text cut at a step and tokenised in two parts gives the ids of the whole. The fixed sentences of the prompts are one
token each: they say one thing, and half of an editing prompt would be they.
"""

from __future__ import annotations

from collections.abc import Iterable

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from errata.kinds import kinds_of
from errata.prompts import edit_prompt, solve_prompt
from errata.types import Domain, Prompt, Step
from workers.engines.rendering import rendered_messages

PAD, END = "<|pad|>", "<|end|>"
ROLES = ("<|system|>", "<|user|>", "<|assistant|>")
MAX_TOKENS = 1024

CHAT_TEMPLATE = (
    "{%- for message in messages -%}"
    "{%- if message['role'] not in ('system', 'user', 'assistant') -%}"
    "{{- raise_exception('Only system, user and assistant turns are known.') -}}"
    "{%- endif -%}"
    "{{- '<|' + message['role'] + '|>' + message['content'] + '<|end|>' -}}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '<|assistant|>' -}}{%- endif -%}"
)

# An operator with its spaces; a digit; a macro with its brace; a word; a line's end; spaces; signs.
_PIECES = r" [-+*/=] |\d|\\[a-z]+\{?| ?[A-Za-z]+(?:'[a-z]+)? ?|\n|[^\S\n]+|[^\sA-Za-z0-9]+ ?"


def fixed_sentences() -> list[str]:
    """The sentences that stand in every prompt of their sort, taken from the prompts themselves."""
    solution = "Step 1: 1 + 1 = 2"
    steps = (Step(0, 0, len(solution), 8),)
    sentences = ["\n\n" + solve_prompt("@").messages[0].content.split("\n\n")[1]]
    errata = edit_prompt("@", solution, steps, 0, "operator", layout="errata").messages[0].content
    sentences.append(errata.split("\n\n")[0] + "\n\n")
    kinds = {name: kind.instruction for name, kind in kinds_of(Domain.MATH).items()}
    paper = edit_prompt("@", solution, steps, 0, "operator", layout="paper").messages[0].content
    sentences += paper.split("\n\n")[-1].split(kinds["operator"])
    return sentences + list(kinds.values())


def train_tokenizer(texts: Iterable[str], vocab_size: int = 1024) -> PreTrainedTokenizerFast:
    """Learn the words of ``texts``; any other text is encoded in bytes and comes back unchanged."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_PIECES), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        min_frequency=20,
        special_tokens=[PAD, END, *ROLES],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    sentences = fixed_sentences()
    # Learnt without the fixed sentences, which are added whole: their words would use up the vocabulary.
    tokenizer.train_from_iterator(_without(texts, sentences), trainer)
    tokenizer.add_tokens([AddedToken(text, normalized=False) for text in sentences])
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=tokenizer,
        pad_token=PAD,
        eos_token=END,
        additional_special_tokens=list(ROLES),
        chat_template=CHAT_TEMPLATE,
        model_max_length=MAX_TOKENS,
        padding_side="left",
        clean_up_tokenization_spaces=False,
    )


def _without(texts: Iterable[str], sentences: list[str]) -> Iterable[str]:
    for text in texts:
        for sentence in sentences:
            text = text.replace(sentence, "\n")
        yield text


def render(tokenizer: PreTrainedTokenizerFast, prompt: Prompt) -> str:
    """The text an engine lets the model continue: the chat turns, then the forced opening of the reply."""
    return rendered_messages(tokenizer, prompt) + prompt.assistant_prefix
