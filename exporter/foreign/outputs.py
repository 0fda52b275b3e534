"""What the outputs of a graph that bvx did not make are: the task that they belong to, and transformers' names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from ...runtime.errors import CheckpointError, PlanError
from ...runtime.tasks import TASKS, Task
from .. import parity
from ..checkpoint import Checkpoint
from ..checkpoint.config import read_config
from ..checkpoint.hub import find_checkpoint
from ..checkpoint.sentence import read_modules
from ..checkpoint.task import choose_task as show_task
from ..progress import Progress
from .graph import ForeignGraph, Translated, widen

__all__ = ["EMBEDDING", "choose_task", "find_task_of", "match_outputs", "translate"]

EMBEDDING = "sentence_embedding"
"""A whole text's vector, pooled in the graph. transformers has no such output; this is sentence-transformers' name."""

_SYNONYMS = {"token_embeddings": "last_hidden_state"}
"""What sentence-transformers calls its outputs -> what transformers does."""

_SPEAKING = {EMBEDDING, *(output for task in TASKS for output in task.outputs)}
"""Names that say what an output is; all others are an exporter's own, such as `linear_14`."""

Shapes = Mapping[str, tuple[int, ...]]
"""What each output's shape is for one and the same batch."""


def _common_name(output: str) -> str:
    """transformers' name of an output that others call `output`, or `output` itself."""
    return _SYNONYMS.get(output, output)


def find_task_of(outputs: Sequence[str], against: str, progress: Progress) -> str:
    """The name of the task of a graph with `outputs`, made from the checkpoint `against`, a hub id or a folder.

    Raises PlanError when several could be meant, and what looking into the checkpoint raises.
    """
    root = find_checkpoint(against, None, progress).folder
    chain = read_modules(root, whole=False) if (root / "modules.json").is_file() else None
    raw = read_config(root / chain.transformer if chain else root)
    # An output whose name says nothing may be pooled as well.
    pools = EMBEDDING in outputs or not any(_common_name(output) in _SPEAKING for output in outputs)
    modules = read_modules(root) if chain and pools else None
    return choose_task(outputs, show_task(None, raw, modules)).name


def choose_task(outputs: Iterable[str], own: Task) -> Task:
    """The task of a graph with `outputs`, whose checkpoint shows the task `own`.

    Raises PlanError when several could be meant.
    """
    names = {_common_name(output) for output in outputs}
    if EMBEDDING in names and own.name == "sentence-similarity":
        return own
    shared = {task.name: len(names & set(task.outputs)) for task in TASKS}
    fitting = [task for task in TASKS if shared[task.name] == max(shared.values())]
    if own in fitting:
        return own
    if len({task.auto_class for task in fitting}) == 1:
        return fitting[0]
    raise PlanError(
        f"The graph gives {', '.join(sorted(names))}, and the checkpoint is one for {own.name}.",
        f"Say what the graph is for with --task, one of: {', '.join(task.name for task in fitting)}.",
    )


def match_outputs(found: Shapes, expected: Shapes) -> dict[str, str]:
    """Each of the `expected` outputs that the graph gives -> what the graph calls it, a name in `found`.

    By name first. Of the others, one whose shape is that of one output alone, on both sides, is taken for it; never for
    EMBEDDING, since a pooler's output has the same shape.
    """
    by_name = {_common_name(own): own for own in found if _common_name(own) in expected}
    rest = [own for own in found if _common_name(own) not in _SPEAKING]
    free = [name for name in expected if name not in by_name and name != EMBEDDING]
    by_shape = {}
    for name in free:
        twins = [other for other in free if expected[other] == expected[name]]
        fitting = [own for own in rest if found[own] == expected[name]]
        if len(twins) == len(fitting) == 1:
            by_shape[name] = fitting[0]
    matched = by_name | by_shape
    return {name: matched[name] for name in expected if name in matched}


def translate(graph: ForeignGraph, checkpoint: Checkpoint, progress: Progress) -> Translated:
    """The graph under transformers' names, as one small batch shows what its outputs are.

    Raises CheckpointError when none of them is the checkpoint's, or one has another shape than the checkpoint's.
    """
    cases = {case.name: case.feeds for case in parity.cases_for(checkpoint)}
    pad_id = checkpoint.tokenizer.info.pad_id if checkpoint.tokenizer else int(checkpoint.config["pad_token_id"] or 0)
    feeds = {name: widen(array, graph.width, name, pad_id) for name, array in cases["two tokens"].items()}
    names = (*checkpoint.outputs, *_hidden_states(graph, checkpoint))
    expected = _shapes(checkpoint, feeds, names)
    own = {spec.name: spec.name for spec in graph.engine.outputs}
    found = {name: value.shape for name, value in Translated(graph, own, (), pad_id).run(feeds).items()}
    matched = match_outputs(found, expected)
    if not matched or any(found[own] != expected[name] for name, own in matched.items()):
        batch, length = feeds["input_ids"].shape
        raise CheckpointError(
            f"For {batch} rows of {length} tokens {graph.file} gives {_list(found)}, and the checkpoint, as one for "
            f"{checkpoint.task.name}, {_list(expected)}: it is of another architecture or task.",
            "Name the checkpoint that the graph was made from, or say what the graph is for with --task.",
        )
    _tell(matched, found, checkpoint, progress)
    shorter = _shapes(checkpoint, cases["one token"], names)
    per_token = frozenset(name for name in names if shorter[name][1:2] != expected[name][1:2])
    return Translated(graph, matched, per_token, pad_id)


def _hidden_states(graph: ForeignGraph, checkpoint: Checkpoint) -> list[str]:
    layers = range(int(checkpoint.config["num_hidden_layers"]) + 1)
    there = {spec.name for spec in graph.engine.outputs}
    return [name for name in (f"hidden_states.{index}" for index in layers) if name in there]


def _shapes(checkpoint: Checkpoint, feeds: parity.Arrays, names: Iterable[str]) -> dict[str, tuple[int, ...]]:
    values = parity.reference(checkpoint.model, feeds, tuple(names))
    shapes = {name: value.shape for name, value in values.items()}
    if checkpoint.task.name == "sentence-similarity":
        batch, _, hidden = shapes["last_hidden_state"]
        shapes[EMBEDDING] = (batch, hidden * len(checkpoint.head["pooling"]))
    return shapes


def _tell(matched: Mapping[str, str], found: Shapes, checkpoint: Checkpoint, progress: Progress) -> None:
    """Say which outputs were taken for what by their shapes, and which are not compared."""
    for name, own in matched.items():
        if _common_name(own) != name:
            progress.warn(f"The graph's output {own!r} was taken for {name}, the only one of its shape.")
    for own in found:
        if own == EMBEDDING and own not in matched:
            progress.warn(
                f"{EMBEDDING} was not compared: the checkpoint has no modules.json that says how texts are pooled. "
                "--task sentence-similarity compares it with the mean over tokens."
            )
        elif own not in matched.values():
            progress.warn(
                f"The graph's output {own!r} was not compared: as a model for {checkpoint.task.name} the checkpoint "
                f"gives {', '.join(matched)}."
            )


def _list(shapes: Shapes) -> str:
    return ", ".join(f"{name} {list(shape)}" for name, shape in shapes.items())
