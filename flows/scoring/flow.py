"""The scoring flow: scores many pictures with the production model and computes the drift of the batch.

    python -m flows.scoring pictures/ --out predictions.parquet
    python -m flows.scoring s3://bucket/inbox --out predictions.parquet
    prefect deployment run scoring/scoring --param source=pictures/ --param out=predictions.parquet

The model and the reading of pictures have the service's settings, MIEN_…; `python -m serving.score` does the
same for a folder without Prefect. Two cores score about 1,500 small faces per second. If it is killed and run
again, it continues after the finished chunks.
"""

from __future__ import annotations

import argparse
import tempfile
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, get_args

from prefect import flow, get_run_logger, task
from prefect.cache_policies import NO_CACHE
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed
from pydantic import Field

from flows.drift.publish import publish
from flows.errors import FlowError, ParametersInvalid, SourceUnusable
from flows.repro.tasks import INTERRUPTED, RETRY_DELAYS_S, UNCHANGED, may_retry
from flows.scoring.chunks import BatchProgress, ScoringJob, keep_scorer, load_scorer, score_files
from flows.scoring.drift import compute_verdict
from flows.scoring.engines import ENGINES, check_engine, start_engine
from flows.scoring.sources import Source, source_named
from flows.settings import service_settings
from flows.training.flow import failed, run_command
from pipelines.core.cli import quiet_libraries
from serving.detection.image_reader import FacesMode
from serving.errors import ServingError
from serving.model_sync.service import absolute_uri
from serving.score.scorer import CHUNK, Scorer
from serving.score.shards import ScoringProgress, Shards
from serving.urls import SecretUrl

if TYPE_CHECKING:
    import pyarrow as pa

ARTIFACTS = "scoring-columns", "scoring-verdict"
"""Keys of the artifacts."""
_EMBEDDING = "embedding"


@flow(name="scoring", flow_run_name="scoring: {source}", persist_result=False)
def scoring(
    source: str,
    out: str,
    faces: FacesMode = "auto",
    embedding: bool = False,
    chunk: Annotated[int, Field(ge=1)] = CHUNK,
    max_parallel: Annotated[int, Field(ge=1, le=64)] = 2,
    drift: bool = True,
    engine: str = "local",
) -> State[Any]:
    """Score every picture of a source into one Parquet file.

    Args:
        source: a folder, a Parquet file with a column `path`, or `s3://bucket/prefix`.
        out: Parquet file to write; until it is complete, its parts are in `OUT.parts`.
        faces: as `?faces=` of `/detect`.
        embedding: whether rows also have the model's features.
        chunk: number of files of one task, and of one part.
        max_parallel: maximum number of tasks at once; one fetches while another scores.
        drift: whether to compare the batch with the model's reference.
        engine: where chunks are scored: `local` (this process), or nodes of a cluster, `ray` or `dask`.
    """
    quiet_libraries()
    try:
        check_engine(engine)
        if not out.strip():
            raise ParametersInvalid(parameter="out", got=out, expected="the name of a Parquet file")
        with tempfile.TemporaryDirectory(prefix="mien-scoring-") as reference:
            return _scored(
                source_named(source),
                Path(out),
                faces=faces,
                embedding=embedding,
                chunk=chunk,
                max_parallel=max_parallel,
                drift=drift,
                engine=engine,
                reference=Path(reference),
            )
    except (FlowError, ServingError) as error:
        return failed(str(error))
    except OSError as error:
        return failed(
            f"{error.filename or out}: {error.strerror or error}; correct it and run the flow again"
        )


def _scored(
    source: Source,
    out: Path,
    *,
    faces: FacesMode,
    embedding: bool,
    chunk: int,
    max_parallel: int,
    drift: bool,
    engine: str,
    reference: Path,
) -> State[Any]:
    settings = service_settings()
    scorer = load_scorer(settings, settings.model, faces=faces, reference=reference)
    identity = scorer.live.identity
    # Absolute, because other processes have other working directories.
    model_path = Path(settings.model).absolute()
    registered = settings.model.startswith("models:")
    uri = absolute_uri(settings.tracking_uri.reveal())
    keys = tuple(key.absolute() for key in settings.trusted_keys)
    job = ScoringJob(
        source=source,
        model=f"models:/{identity.name}/{identity.version}" if registered else str(model_path),
        sha256=identity.sha256,
        faces=faces,
        settings=settings.model_copy(update={"tracking_uri": SecretUrl(uri), "trusted_keys": keys}),
    )
    keep_scorer(job, scorer)
    schema = _schema(scorer, embedding=embedding)
    plan = {**scorer.plan, "source": source.shown, "chunk": chunk, "columns": schema.names, "drift": drift}
    parts = Shards(out, plan)
    with parts.alone():
        if before := parts.finished():
            parts.remove()
            return Completed(name=UNCHANGED, message=f"{out} already has all {before.files} files")
        done = _score_chunks(job, parts, chunk=chunk, max_parallel=max_parallel, engine=engine)
        if isinstance(done, str):
            return failed(done)
        verdict = _verdict(parts, job, scorer, reference) if drift else ""
        parts.join(schema)
        parts.remove()
    problems = f", {done.failed} of them with a problem" if done.failed else ""
    return Completed(message=f"{out}: {done.files} files{problems}, by version {identity.version}{verdict}")


def _schema(scorer: Scorer, *, embedding: bool) -> pa.Schema:
    """Schema of the result; parts always have embeddings, for the verdict."""
    schema = scorer.schema
    return schema if embedding else schema.remove(schema.get_field_index(_EMBEDDING))


def _score_chunks(
    job: ScoringJob, parts: Shards, *, chunk: int, max_parallel: int, engine: str
) -> ScoringProgress | str:
    """Score the missing chunks, `max_parallel` at once; returns a sentence if one of them failed."""
    listing = parts.begin(lambda: job.source.names(without=parts.out), shown=job.source.shown)
    missing = _missing(parts, listing.chunks(chunk))
    total = -(-listing.count // chunk)
    waiting: deque[tuple[int, Any]] = deque()
    problem = ""
    with (
        start_engine(engine, max_parallel=max_parallel) as submit,
        BatchProgress(total=total, done=len(parts.files())) as progress,
    ):
        while True:
            while not problem and len(waiting) < max_parallel and (following := next(missing, None)):
                number, names = following
                parameters = {"job": job, "number": number, "names": names}
                waiting.append((number, submit(score_chunk, parameters)))
            if not waiting:
                break
            number, future = waiting.popleft()
            future.wait()
            if future.state.is_completed():
                parts.write(number, future.result())
                progress.step()
            else:
                problem = problem or f"chunk {number}: {future.state.message}"
    if problem:
        return (
            f"{problem}; {len(parts.files())} of {total} chunks are finished, run the flow again to continue"
        )
    return ScoringProgress(files=listing.count, done=listing.count, failed=parts.failed())


def _missing(parts: Shards, chunks: Iterator[list[str]]) -> Iterator[tuple[int, list[str]]]:
    for number, names in enumerate(chunks):
        if not parts.path(number).exists():
            yield number, names


@task(
    name="chunk",
    task_run_name="chunk {number}",
    cache_policy=NO_CACHE,
    persist_result=False,
    retries=len(RETRY_DELAYS_S),
    retry_delay_seconds=list(RETRY_DELAYS_S),
    retry_jitter_factor=0.5,
    retry_condition_fn=may_retry,
)
def score_chunk(job: ScoringJob, number: int, names: list[str]) -> pa.Table | State[Any]:
    """Score one chunk; Prefect tries again if the source cannot be read.

    Args:
        job: source, model and settings of the batch.
        number: of the chunk.
        names: of its files.
    """
    try:
        return score_files(job, names)
    except SourceUnusable as error:
        return Failed(name=INTERRUPTED, message=str(error))
    except (FlowError, ServingError) as error:
        return Failed(message=str(error))


def _verdict(parts: Shards, job: ScoringJob, scorer: Scorer, reference: Path) -> str:
    """Compare the batch with the reference and publish the result; returns the end of the run's message."""
    result = compute_verdict(
        parts.files(),
        parts.out,
        reference=reference,
        identity=scorer.live.identity,
        settings=job.settings,
    )
    if result.verdict == "unknown":
        get_run_logger().warning("no drift verdict on the batch: %s", result.reason)
        return f"; no verdict on the batch: {result.reason}"
    publish(result, report=f"`{parts.out}.drift.html`", action=f"scored into `{parts.out}`", keys=ARTIFACTS)
    return f"; {result.verdict}: {result.reason}"


def main() -> None:
    """Run the flow from the command line."""
    parser = argparse.ArgumentParser(description="Score many pictures with the production model.")
    parser.add_argument("source", help="a folder, a Parquet file with a column `path`, or s3://bucket/prefix")
    parser.add_argument("--out", required=True, help="Parquet file to write")
    parser.add_argument("--faces", choices=get_args(FacesMode), default="auto", help="as ?faces= of /detect")
    parser.add_argument("--embedding", action="store_true", help="add the model's features of each picture")
    parser.add_argument("--chunk", type=int, default=CHUNK, help=f"number of files of one task ({CHUNK})")
    parser.add_argument("--max-parallel", type=int, default=2, help="maximum number of tasks at once (2)")
    parser.add_argument("--no-drift", dest="drift", action="store_false", help="no verdict on the batch")
    parser.add_argument("--engine", choices=ENGINES, default="local", help="where chunks are scored (local)")
    run_command(scoring, vars(parser.parse_args()))
