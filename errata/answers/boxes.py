"""The boxed answer of a text, for readers of files: the same one that grading reads."""

from errata.answers.extraction import _last_box as last_box

__all__ = ["last_box"]
