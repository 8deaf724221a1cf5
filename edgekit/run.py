"""One invocation: which stages it ran, and what the cache already held."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgekit import plan, stage_cache
from edgekit.cachedir import cache_dir
from edgekit.console import Progress
from edgekit.data.cutouts import Split
from edgekit.data.images import ImageSet
from edgekit.folder import ModelFolder
from edgekit.recipe import Convert, Quantize, Recipe
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

    def stage(self, name: str, components: dict[str, Any], make: Any) -> Done:
        key = stage_cache.key_of(name, components)
        done = stage_cache.run(self.cache, name, key, make, force=self.force, log=self.progress.line)
        how = "cached" if done.cached else f"{done.seconds:.1f} s"
        self.progress.line(f"{name}: {done.summary} ({how})")
        self.done.append(done)
        self.depended[name] = components
        return done

    def pictures(self, recipe: Recipe | None, data: Path | None, split: Split) -> ImageSet:
        return plan.pictures(recipe, data, split, self.cache, self.offline, self.progress)

    def fetch(self, recipe: Recipe) -> Done:
        from edgekit.stages import fetch as stage

        return self.stage(
            "fetch",
            stage.components(recipe),
            lambda out: stage.run(recipe, out, self.cache, self.offline, self.progress.line),
        )

    def quantize(self, model: Done, section: Quantize, images: ImageSet) -> Done:
        components = plan.quantize_components(model.key, section, images.digest)

        def make(out: Path) -> str:
            from edgekit.stages import quantize as stage

            return stage.run(ModelFolder.open(model.path), section, images, out, self.progress)

        return self.stage("quantize", components, make)

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

    def validate(self, first: Done, exported: Done, converted: Done, images: ImageSet) -> Done:
        components = plan.validate_components(first.key, converted.key, images.digest)

        def make(out: Path) -> str:
            from edgekit.stages import validate as stage

            return stage.run(
                ModelFolder.open(first.path),
                ModelFolder.open(exported.path),
                converted.path,
                images,
                out,
                self.progress,
            )

        return self.stage("validate", components, make)
