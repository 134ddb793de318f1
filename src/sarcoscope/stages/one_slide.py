"""One slide from its pixels to its folder: plan, predict, decide, write."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np

import sarcoscope
from sarcoscope.core.diagnosis import Diagnosis, Likeness
from sarcoscope.core.errors import ArtifactError, BundleError, InputError, SlideError, shown
from sarcoscope.core.geometry import Size
from sarcoscope.core.provenance import library_versions, machine
from sarcoscope.core.tile import Tile
from sarcoscope.core.tiling import TilingConfig
from sarcoscope.diagnosis.calibration import Features, tempered
from sarcoscope.diagnosis.fusion import Probabilities, fuse
from sarcoscope.diagnosis.rules import SlideRules
from sarcoscope.diagnosis.verdict import diagnose_tiles, likeness_of
from sarcoscope.formats.atomic import as_json, remove, write_json
from sarcoscope.formats.bundle import Bundle
from sarcoscope.formats.diagnoses import (
    DIAGNOSIS_SCHEMA,
    DiagnosisRecord,
    make_record,
    read_diagnosis,
    write_diagnosis,
)
from sarcoscope.formats.geojson import tile_features, write_geojson
from sarcoscope.formats.hashing import sha256_files
from sarcoscope.formats.images import write_jpeg
from sarcoscope.formats.tiles import write_tiles
from sarcoscope.inference.onnx import OnnxNetwork
from sarcoscope.inference.predict import Prediction, evenly, predict_tiles
from sarcoscope.reports.artifacts import read_artifacts
from sarcoscope.reports.slide_report import write_slide_report
from sarcoscope.slides.opening import open_slide
from sarcoscope.slides.port import SlideSource
from sarcoscope.slides.scale import require_scale
from sarcoscope.slides.thumbnail import thumbnail
from sarcoscope.stages.jobs import Listener, SlideJob
from sarcoscope.stages.outputs import reading
from sarcoscope.stages.phantom_mark import is_painted
from sarcoscope.tiling.grid import sides_around
from sarcoscope.tiling.plan import TilePlan, plan_tiles
from sarcoscope.tiling.reading import ScalesReader, TileReader

_OUTPUTS = ("tiles.geojson", "map.png", "pie.png", "report.html")
"""Files of a finished slide that `read_artifacts` does not read."""


@dataclass(frozen=True, slots=True)
class Findings:
    """What was found on a slide, before anything is written."""

    plan: TilePlan
    tiles: tuple[Tile, ...]
    """Every cell of the grid, judged by the tissue map and, where it was read, by its pixels."""
    probabilities: Probabilities
    """(kept, C) fused, at the bundle's temperature."""
    diagnosis: Diagnosis
    sides_l0: dict[float, float]
    """Side of what members of a scale of their own were shown, level-0 px, by its um/px."""
    timings_s: dict[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class SlideDiagnoser:
    """All that stays the same from slide to slide of a run."""

    bundle: Bundle
    members: Sequence[OnnxNetwork]
    tiling: TilingConfig
    rules: SlideRules
    reference: Features | None
    """(R, F) features of training tiles, of a bundle that compares with them."""
    batch: int
    workers: int
    evidence: int
    thumbnail_px: int

    def run(self, job: SlideJob, folder: Path, listener: Listener, *, force: bool) -> tuple[DiagnosisRecord, bool]:
        """Diagnose one slide into its folder; True where an earlier run's result from the same inputs stands.

        Stale results are removed before anything is written and the report comes last, so that a folder
        with both is a finished one. Raises SlideError, BundleError, ArtifactError.
        """
        started, begin = datetime.now(UTC), perf_counter()
        with open_slide(job.path, mpp=job.mpp, mpp_source=job.mpp_source, override=job.mpp_override) as source:
            inputs = self._inputs(source, job)
            if not force:
                if earlier := finished(folder, inputs):
                    return earlier, True
                refuse_other_slide(folder, job.path, source.files, inputs)
            scales = sorted({one.mpp for one in self.bundle.manifest.members if one.mpp is not None})
            sides_l0 = sides_around(source, require_scale(source), self.tiling, scales)  # too coarse: said unread
            plan = plan_tiles(source, self.tiling)
            planned = perf_counter()
            with ThreadPoolExecutor(1, thread_name_prefix="hash") as pool:
                digest = pool.submit(sha256_files, source.files)  # beside reading: a slide can be gigabytes
                findings = self._find(source, plan, sides_l0, job.slide, listener)
                with reading(job.path):
                    sha256 = digest.result()
            record = self._record(source, job, findings, inputs, sha256)
            record.provenance["started"] = started.isoformat(timespec="seconds")
            self._write(source, folder, findings)
        steps = {"plan": planned - begin, **findings.timings_s}
        _note_timings(record, steps, total=perf_counter() - begin)
        write_diagnosis(folder / "diagnosis.json", record)
        examined = perf_counter()
        write_slide_report(folder)
        _note_timings(record, steps, report=perf_counter() - examined, total=perf_counter() - begin)
        write_diagnosis(folder / "diagnosis.json", record)
        return record, False

    def _find(
        self, source: SlideSource, plan: TilePlan, sides_l0: dict[float, float], slide: str, listener: Listener
    ) -> Findings:
        """Read, predict, decide."""
        begin = perf_counter()
        manifest = self.bundle.manifest
        distance = manifest.calibration.distance
        compared = [place for place, one in enumerate(manifest.members) if distance and one.name == distance.member]
        listener.tiles_planned(len(plan.candidates))
        prediction = predict_tiles(
            ScalesReader(TileReader(source, self.tiling, plan.glass), sides_l0),
            plan.candidates,
            self.members,
            len(self.bundle.codes),
            scales=[one.mpp for one in manifest.members],
            features_of=compared,
            batch=self.batch,
            workers=self.workers,
            progress=listener.tiles_done,
        )
        fused = fuse(prediction.probabilities, manifest.fusion.rule, manifest.fusion.weights)
        # float32, as they are written: whoever reads the file counts the same votes
        probabilities = tempered(fused, manifest.calibration.temperature).astype(np.float32)
        try:
            likeness = self._likeness(prediction.features[compared[0]]) if compared else None
            diagnosis = diagnose_tiles(
                slide, probabilities, self.bundle.codes, self.rules, manifest.calibration, likeness=likeness
            )
        except InputError as error:  # what the networks said of this slide; others may fare better
            raise SlideError(source.path, error.problem, error.advice) from error
        timings = {
            "predict": perf_counter() - begin,
            "predict_waiting_for_tiles": prediction.waiting_s,
            "predict_computing": prediction.computing_s,
        }
        return Findings(plan, merge(plan, prediction), probabilities, diagnosis, sides_l0, timings)

    def _likeness(self, features: Features) -> Likeness | None:
        """From the (kept, F) features of the slide's tiles.

        Raises InputError where they are no numbers and BundleError where the bundle's reference has others.
        """
        distance, reference = self.bundle.manifest.calibration.distance, self.reference
        if distance is None or reference is None or not len(features):
            return None
        if reference.ndim != 2 or reference.shape[1] != features.shape[1] or not len(reference):
            problem = f"reference features of shape {reference.shape}, {distance.member} has {features.shape[1]}"
            raise BundleError(self.bundle.folder, problem, "calibrate the bundle again")
        some = features[evenly(len(features))]
        if not np.isfinite(some).all():
            raise InputError(f"{distance.member} returned features that are no numbers", "check the bundle's members")
        return likeness_of(some, reference, distance)

    def _inputs(self, source: SlideSource, job: SlideJob) -> dict[str, Any]:
        """All that the result depends on and that can be known without reading the slide."""
        with reading(job.path):
            files = [(path, path.stat()) for path in source.files]
        inputs = {
            "version": sarcoscope.__version__,
            "bundle_sha256": self.bundle.sha256,
            "files": [{"name": shown(path.name), "bytes": s.st_size, "mtime_ns": s.st_mtime_ns} for path, s in files],
            "scale": asdict(source.info.scale) if source.info.scale else source.info.scale_problem,
            "tiling": asdict(self.tiling),
            "rules": asdict(self.rules),
            "evidence": self.evidence,
            "thumbnail_px": self.thumbnail_px,
        }
        return dict(as_json(inputs))

    def _record(
        self, source: SlideSource, job: SlideJob, findings: Findings, inputs: dict[str, Any], sha256: str
    ) -> DiagnosisRecord:
        manifest = self.bundle.manifest
        return make_record(
            findings.diagnosis,
            findings.tiles,
            info=source.info,
            scale=findings.plan.scale,
            bundle=self.bundle,
            painted=is_painted(source),
            provenance={
                "bundle": {"name": manifest.name, "version": manifest.version, "sha256": self.bundle.sha256},
                "slide_file": {
                    "path": shown(job.path.absolute()),
                    "sha256": sha256,
                    "vendor": source.info.vendor,
                    "objective_power": source.info.objective_power,
                    "icc_profile": source.info.icc_profile,
                },
                "tiles_read_at_mpp": findings.plan.mpp,
                "members": self._members(findings),
                "fusion": manifest.fusion.model_dump(mode="json"),
                "temperature": manifest.calibration.temperature,
                "inputs": inputs,
                "batch": self.batch,
                "workers": self.workers,
                "device": self.members[0].device,
                "libraries": library_versions(),
                "machine": machine(),
            },
        )

    def _members(self, findings: Findings) -> dict[str, float]:
        """By member, the um/px of what it was shown."""
        sides, plan = findings.sides_l0, findings.plan
        own = {mpp: side * plan.scale.mpp / self.tiling.tile_px for mpp, side in sides.items()}
        return {one.name: plan.mpp if one.mpp is None else own[one.mpp] for one in self.bundle.manifest.members}

    def _write(self, source: SlideSource, folder: Path, findings: Findings) -> None:
        """Everything but the report and the record."""
        for stale in (folder / "diagnosis.json", folder / "report.html", *folder.glob("evidence/*")):
            remove(stale)
        kept, codes = [tile for tile in findings.tiles if tile.kept], self.bundle.codes
        listed = []
        for index, rank in confident(findings.probabilities, self.evidence):
            code = codes[int(findings.probabilities[index].argmax())]
            name = f"{code}-{rank}.jpg"
            side = Size(self.tiling.tile_px, self.tiling.tile_px)
            write_jpeg(folder / "evidence" / name, source.read(kept[index].box, side))
            listed.append(
                {
                    "file": name,
                    "code": code,
                    "row": kept[index].row,
                    "column": kept[index].column,
                    "probability": float(findings.probabilities[index].max()),
                }
            )
        write_json(folder / "evidence" / "evidence.json", listed)
        write_jpeg(folder / "thumbnail.jpg", thumbnail(source, self.thumbnail_px))
        write_tiles(folder / "tiles.parquet", findings.diagnosis.slide, findings.tiles, findings.probabilities, codes)
        features = tile_features(findings.tiles, findings.probabilities, self.bundle.colors, viewer_origin(source))
        write_geojson(folder / "tiles.geojson", features)


def _note_timings(record: DiagnosisRecord, steps: dict[str, float], **more: float) -> None:
    """Seconds per step under `provenance.timings`."""
    record.provenance["timings"] = {name: round(value, 3) for name, value in (steps | more).items()}


def refuse_other_slide(folder: Path, path: Path, files: Sequence[Path], inputs: dict[str, Any]) -> None:
    """Raise SlideError where the folder belongs to another slide, or lies inside the slide itself.

    The same slide is the same path, or the same content wherever it was copied to.
    """
    if path.is_dir() and folder.resolve().is_relative_to(path.resolve()):
        raise SlideError(path, "the results would lie among the slide's own files", "give another --out")
    try:
        other = read_diagnosis(folder / "diagnosis.json").provenance
    except ArtifactError:  # nothing there that anybody could miss
        return
    was = other.get("slide_file", {})
    if other.get("inputs", {}).get("files") == inputs["files"] or was.get("path") == shown(path.absolute()):
        return
    with reading(path):
        if was.get("sha256") == sha256_files(files):
            return
    raise SlideError(
        path,
        f"{shown(folder)} holds the diagnosis of another slide ({was.get('path')})",
        "give another --out, or --force to replace it",
    )


def merge(plan: TilePlan, prediction: Prediction) -> tuple[Tile, ...]:
    """The plan's tiles, with those that were read replaced by what their pixels said."""
    judged = {(tile.row, tile.column): tile for tile in prediction.tiles}
    return tuple(judged.get((tile.row, tile.column), tile) for tile in plan.tiles)


def confident(probabilities: Probabilities, most: int) -> list[tuple[int, int]]:
    """(index of a kept tile, rank from 1) of up to `most` tiles a label, most confident first, classes in order."""
    labels = probabilities.argmax(axis=1) if len(probabilities) else np.empty(0, np.intp)
    chosen: list[tuple[int, int]] = []
    for label in range(probabilities.shape[1]):
        own = np.flatnonzero(labels == label)
        best = own[np.argsort(-probabilities[own, label], kind="stable")[:most]]
        chosen += [(int(index), rank) for rank, index in enumerate(best, start=1)]
    return chosen


def viewer_origin(source: SlideSource) -> tuple[int, int]:
    """Level-0 px where QuPath puts its origin: the scanned bounds, for formats that declare them."""
    properties = source.info.properties
    return int(properties.get("openslide.bounds-x", 0)), int(properties.get("openslide.bounds-y", 0))


def finished(folder: Path, inputs: dict[str, Any]) -> DiagnosisRecord | None:
    """The record an earlier run left, if it came from the same inputs and all that belongs to it is whole."""
    if not all((folder / name).is_file() for name in _OUTPUTS):
        return None
    try:
        record = read_artifacts(folder).record
    except ArtifactError:  # damaged or of another version: diagnose again
        return None
    current = record.schema_version == DIAGNOSIS_SCHEMA
    return record if current and record.provenance.get("inputs") == inputs else None
