"""Prometheus: counts and states; no label holds anything of a patient."""

from __future__ import annotations

from collections.abc import Iterator

from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from sqlalchemy import func, select

from hilum.serve.monitor import watch
from hilum.serve.service import Service
from hilum.serve.tables import Delivery, Feedback, Note, Result, Work
from hilum.serve.web.auth import Reader
from hilum.serve.web.images import service_of

router = APIRouter(tags=["operation"])


class Counts(Collector):
    """Read from the records when somebody asks: every process says the same."""

    def __init__(self, service: Service) -> None:
        self.service = service

    def collect(self) -> Iterator[GaugeMetricFamily]:
        records, store = self.service.records, self.service.store
        yield _family("images", "Images by state", "state", records.counts())
        with records.read() as session:
            for name, table in (("deliveries", Delivery), ("work", Work)):
                rows = session.execute(select(table.state, func.count()).group_by(table.state))
                counts = {str(state): int(count) for state, count in rows}
                yield _family(name, f"{name.capitalize()} by state", "state", counts)
            rows = session.execute(select(Result.pipeline, func.count()).group_by(Result.pipeline))
            counts = {str(pipeline): int(count) for pipeline, count in rows}
            yield _family("results", "Results by pipeline", "pipeline", counts)
            rows = session.execute(
                select(Feedback.verdict, func.count()).group_by(Feedback.verdict)
            )
            counts = {str(verdict): int(count) for verdict, count in rows}
            yield _family("feedback", "What readers said", "verdict", counts)
            seen = session.get(Note, watch.STATE)
        drift = float(bool(seen and seen.value["alarm"]))
        words = "1 while the newest block of images is not as in the reference"
        yield GaugeMetricFamily("hilum_drift_alarm", words, value=drift)
        yield GaugeMetricFamily("hilum_store_bytes", "Bytes of the store", value=store.used())


def _family(name: str, text: str, label: str, counts: dict[str, int]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(f"hilum_{name}", text, labels=[label])
    for value, count in sorted(counts.items()):
        family.add_metric([value], count)
    return family


@router.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
def metrics(request: Request, _: Reader) -> Response:
    """For Prometheus; by HTTP Basic where users are configured."""
    registry = CollectorRegistry()
    registry.register(Counts(service_of(request)))
    return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)
