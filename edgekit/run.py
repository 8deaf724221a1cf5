"""One invocation: which stages it ran, and what the cache already held."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgekit import plan, stage_cache
from edgekit.cachedir import cache_dir
from edgekit.console import Progress
from edgekit.data.cutouts import Split
from edgekit.data.files import sha256_of
from edgekit.data.images import ImageSet
from edgekit.folder import ModelFolder, TaskName
from edgekit.recipe import Convert, Distil, Pact, Prune, Quantize, Recipe
from edgekit.stage_cache import Done


@dataclass
class Run:
    """One invocation: where the cache is, what was asked for, what has been done so far."""

    force: bool
    offline: bool
    progress: Progress
    cache: Path = field(default_factory=cache_dir)
    done: list[Done] = field(default_factory=list)
    depended: dict[str, dict[str, Any]] = field(default_factory=dict)

    def stage(self, name: str, components: dict[str, Any], make: Any, tag: str = "") -> Done:
        """`tag` tells the rounds of a stage apart."""
        key = stage_cache.key_of(name, components)
        done = stage_cache.run(self.cache, name, key, make, force=self.force, log=self.progress.line)
        how = "cached" if done.cached else f"{done.seconds:.1f} s"
        self.progress.line(f"{name}{tag}: {done.summary} ({how})")
        self.done.append(done)
        self.depended[f"{name}{tag}"] = components
        return done

    def pictures(
        self,
        recipe: Recipe | None,
        data: Path | None,
        split: Split,
        *,
        count: int | None = None,
        task: TaskName | None = None,
    ) -> ImageSet:
        return plan.pictures(
            recipe, data, split, self.cache, self.offline, self.progress, count=count, task=task
        )

    def fetch(self, recipe: Recipe) -> Done:
        from edgekit.stages import fetch as stage

        return self.stage(
            "fetch",
            stage.components(recipe),
            lambda out: stage.run(recipe, out, self.cache, self.offline, self.progress.line),
        )

    def prune(self, model: Done, section: Prune, images: ImageSet) -> Done:
        """In rounds, each measured on what the round before left."""
        original, rounds = model, section.in_rounds()
        for number, wanted in enumerate(rounds, 1):
            tag = f" {number}" if len(rounds) > 1 else ""
            whole = section if number == 1 else None
            measured = self._sensitivity(model, wanted, whole, images, tag) if wanted.removes else None
            model = self._prune_once(original, model, wanted, measured, images, tag)
        return model

    def _prune_once(
        self,
        original: Done,
        model: Done,
        section: Prune,
        measured: Done | None,
        images: ImageSet,
        tag: str,
    ) -> Done:
        key = measured.key if measured is not None else None
        components = plan.prune_components(original.key, model.key, key, section, images.digest)

        def make(out: Path) -> str:
            from edgekit.stages import prune as stage

            return stage.run(
                ModelFolder.open(original.path),
                ModelFolder.open(model.path),
                section,
                measured.path if measured is not None else None,
                images,
                out,
                self.progress,
            )

        return self.stage("prune", components, make, tag)

    def _sensitivity(
        self, model: Done, section: Prune, whole: Prune | None, images: ImageSet, tag: str
    ) -> Done:
        components = plan.sensitivity_components(model.key, section, images.digest)

        def make(out: Path) -> str:
            from edgekit.stages import sensitivity as stage

            folder = ModelFolder.open(model.path)
            return stage.run(folder, section, whole, images, out, self.progress)

        return self.stage("sensitivity", components, make, tag)

    def distil(
        self, model: Done, teacher: Done, section: Distil, images: ImageSet, labels: Path | None = None
    ) -> Done:
        from edgekit.stages import distil as stage

        digest = sha256_of(labels) if labels is not None else None
        components = plan.distil_components(model.key, teacher.key, section, images.digest, digest)
        return self._training("distil", components, stage.run, model, teacher, section, images, labels)

    def pact(
        self, model: Done, teacher: Done, section: Pact, images: ImageSet, labels: Path | None = None
    ) -> Done:
        from edgekit.stages import pact as stage

        digest = sha256_of(labels) if labels is not None else None
        components = plan.pact_components(model.key, teacher.key, section, images.digest, digest)
        return self._training("pact", components, stage.run, model, teacher, section, images, labels)

    def _training(
        self,
        name: str,
        components: dict[str, Any],
        train: Callable[..., str],
        model: Done,
        teacher: Done,
        section: Distil | Pact,
        images: ImageSet,
        labels: Path | None,
    ) -> Done:
        # Answers and checkpoints stay here when the run is killed; the key says what they belong to.
        work = self.cache / "work" / f"{name}-{stage_cache.key_of(name, components)[:24]}"

        def make(out: Path) -> str:
            folders = ModelFolder.open(model.path), ModelFolder.open(teacher.path)
            return train(*folders, section, images, labels, work, out, self.progress)

        return self.stage(name, components, make)

    def original(self, first: Done, section: Convert) -> Done:
        """The float original as files, for a pruned model to be measured against."""

        def make(out: Path) -> str:
            from edgekit.stages import convert, export

            with tempfile.TemporaryDirectory() as scratch:
                export.run(ModelFolder.open(first.path), Path(scratch))
                return convert.run(ModelFolder.open(Path(scratch)), section, out, self.progress)

        return self.stage("original", plan.original_components(first.key, section), make)

    def quantize(self, model: Done, section: Quantize, images: ImageSet) -> Done:
        components = plan.quantize_components(model.key, section, images.digest)

        def make(out: Path) -> str:
            from edgekit.stages import quantize as stage

            return stage.run(ModelFolder.open(model.path), section, images, out, self.progress)

        return self.stage("quantize", components, make)

    def analyze(self, model: Done, section: Quantize, images: ImageSet) -> Done:
        components = plan.analyze_components(model.key, section, images.digest)

        def make(out: Path) -> str:
            from edgekit.stages import analyze as stage

            return stage.run(ModelFolder.open(model.path), section, images, out, self.progress)

        return self.stage("analyze", components, make)

    def export(self, model: Done) -> Done:
        def make(out: Path) -> str:
            from edgekit.stages import export as stage

            return stage.run(ModelFolder.open(model.path), out)

        return self.stage("export", plan.export_components(model.key), make)

    def convert(self, exported: Done, section: Convert) -> Done:
        def make(out: Path) -> str:
            from edgekit.stages import convert as stage

            return stage.run(ModelFolder.open(exported.path), section, out, self.progress)

        return self.stage("convert", plan.convert_components(exported.key, section), make)

    def validate(
        self, first: Done, original: Done | None, exported: Done, converted: Done, images: ImageSet
    ) -> Done:
        """`original`: the float original's files, where the exported model is not that one any more."""
        key = original.key if original is not None else None
        components = plan.validate_components(first.key, key, converted.key, images.digest)

        def make(out: Path) -> str:
            from edgekit.stages import validate as stage

            return stage.run(
                ModelFolder.open(first.path),
                original.path if original is not None else None,
                ModelFolder.open(exported.path),
                converted.path,
                images,
                out,
                self.progress,
            )

        return self.stage("validate", components, make)
