"""Recipes: what to make, of which images, for which targets, and how good it must be.

``load`` is the one way from a file to a Recipe. Nothing here runs code that a recipe names, touches data or imports torch.
"""

from edgekd.recipe.distill import KD, SLD, TEACHER_LEARNS, Label, Nothing
from edgekd.recipe.document import json_schema
from edgekd.recipe.fit import Fit, Rung, asked_in_full, at_rung, bounds_to_fit, ladder
from edgekd.recipe.loading import error_at, load, load_arm, loads, missing_files
from edgekd.recipe.metrics import STAGES, Metric, StageMetrics
from edgekd.recipe.schema import Compute, Data, Quantize, Recipe, Student, Teacher
from edgekd.recipe.settle import images_needed, unsettled_by
from edgekd.recipe.target import TargetSpec
from edgekd.recipe.training import Training, batches_of, part_of_batch

__all__ = [
    "KD",
    "SLD",
    "STAGES",
    "TEACHER_LEARNS",
    "Compute",
    "Data",
    "Fit",
    "Label",
    "Metric",
    "Nothing",
    "Quantize",
    "Recipe",
    "Rung",
    "StageMetrics",
    "Student",
    "TargetSpec",
    "Teacher",
    "Training",
    "asked_in_full",
    "at_rung",
    "batches_of",
    "bounds_to_fit",
    "error_at",
    "images_needed",
    "json_schema",
    "ladder",
    "load",
    "load_arm",
    "loads",
    "missing_files",
    "part_of_batch",
    "unsettled_by",
]
