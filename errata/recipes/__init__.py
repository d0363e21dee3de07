"""Files that other trainers and services load as they stand, made from the tables of a frozen dataset.

Only configurations whose completions end at an answer get one (and ``process_reward``, which has no completion): most
trainers append an end of sequence to every completion, and a model must not learn to stop after one step.
"""

from __future__ import annotations

from errata.recipes.base import RowRecipe, Tables, TextRecipe
from errata.recipes.collection import Recipes, recipes_for

__all__ = ["Recipes", "RowRecipe", "Tables", "TextRecipe", "recipes_for"]
