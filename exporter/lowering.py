"""From the canonical graph to a file for every precision and target that was asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import onnx_ir as ir

from ..calibration.recipe import Recipe
from ..runtime.manifest import Manifest, Variant
from .plan import ExportPlan
from .progress import Progress
from .quantization import Quantised
from .storage import save_graph
from .targets import Lowering, find_lowering
from .variants import is_served_here

__all__ = ["find_lowerings", "lower"]


def find_lowerings(plan: ExportPlan) -> tuple[Lowering, ...]:
    """Each precision goes to the targets that support it; `plan.check` has seen to it that none goes nowhere."""
    found = (find_lowering(target, precision) for precision in plan.precisions for target in plan.targets)
    return tuple(lowering for lowering in found if lowering is not None)


def lower(
    folder: Path,
    canonical: ir.Model,
    lowerings: Sequence[Lowering],
    quantised: Quantised | None,
    manifest: Manifest,
    progress: Progress,
) -> Manifest:
    """Write the graph of every lowering into `folder`, as was decided; the manifest with their variants and passes.

    `quantised` may be None where no precision below fp32 is among them. Raises CalibrationError where it is needed.
    """
    info = quantised.info if quantised else None
    progress.stage("lower", len(lowerings))
    variants, passes = [], dict(manifest.passes)
    for lowering in lowerings:
        recipe = quantised.recipe_for(lowering.precision) if quantised else None
        variant = describe_variant(lowering, recipe)
        if lowering.rewrite is not None:
            graph = canonical.clone()
            passes[lowering.key] = tuple(lowering.rewrite(graph, recipe))
            if recipe is not None:
                kept, evidence = lowering.explain(canonical.graph, recipe)
                variant = replace(variant, kept=kept, evidence=evidence)
            save_graph(graph, folder / lowering.file)
        variants.append(variant)
        progress.advance(detail=lowering.key)
    return replace(manifest, variants=tuple(variants), passes=passes, calibration=info)


def describe_variant(lowering: Lowering, recipe: Recipe | None) -> Variant:
    """What the manifest says of a variant before it is proven."""
    variant = Variant(
        lowering.precision,
        lowering.target,
        lowering.file,
        "verified",
        engine_options=lowering.engine_options,
        reduced=lowering.precision.startswith("int8") and recipe is not None and recipe.reduced,
        batch_dependent=lowering.batch_dependent,
    )
    return variant if is_served_here(variant) else replace(variant, state="not-runnable-here")
