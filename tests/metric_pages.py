"""Pages of metrics as the two servers have them, with figures that a test chooses, and a web server that shows them."""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

QUADRIGA_PHASES = ("request", "queue", "batch_assembly", "compute", "response")
TRITON_PHASES = ("request", "queue", "compute_input", "compute_infer", "compute_output")


def quadriga(
    *,
    model: str = "m",
    version: str = "1",
    answered: int = 0,
    refused: int = 0,
    batches: int = 0,
    rows: int = 0,
    seconds: Mapping[str, float] | None = None,
    workers: Mapping[str, float] | None = None,
    restarts: int = 0,
    server_cpu: float = 1.0,
    load_seconds: float = 1.5,
) -> str:
    """Of one model; `seconds` are the sums by phase, `workers` the CPU seconds by name."""
    own = f'model="{model}",version="{version}",backend="onnx",device="cpu"'
    lines = [
        "# HELP quadriga_requests_total Requests by how they ended.",
        "# TYPE quadriga_requests_total counter",
        f'quadriga_requests_total{{{own},outcome="answered",code="OK",reason=""}} {answered}.0',
        f'quadriga_requests_total{{{own},outcome="refused",code="UNAVAILABLE",reason="overloaded"}} {refused}.0',
        'quadriga_requests_total{model="",version="",outcome="refused",code="NOT_FOUND",reason="not_found"} 9.0',
        f"quadriga_rows_total{{{own}}} {rows}.0",
        f"quadriga_batch_size_sum{{{own}}} {rows}.0",
        f"quadriga_batch_size_count{{{own}}} {batches}.0",
        f"quadriga_model_load_seconds{{{own}}} {load_seconds}",
        f"quadriga_model_warm_up_seconds{{{own}}} 0.25",
        f"quadriga_model_file_bytes{{{own}}} 4096.0",
        f"quadriga_worker_restarts_total{{{own}}} {restarts}.0",
        f"quadriga_server_cpu_seconds_total {server_cpu}",
        "quadriga_server_resident_memory_bytes 7e+07",
    ]
    for phase in QUADRIGA_PHASES:
        name = f"quadriga_{phase}_duration_seconds"
        lines.append(f'{name}_bucket{{{own},le="+Inf"}} {answered}.0')
        lines.append(f"{name}_sum{{{own}}} {(seconds or {}).get(phase, 0.0)!r}")
    for worker, cpu in (workers or {f"{model}/{version}": 2.0}).items():
        lines.append(f'quadriga_worker_cpu_seconds_total{{{own},worker="{worker}"}} {cpu}')
        lines.append(f'quadriga_worker_resident_memory_bytes{{{own},worker="{worker}"}} 3e+07')
    return "\n".join(lines) + "\n"


def triton(
    *,
    model: str = "m",
    answered: int = 0,
    failed: int | None = 0,
    batches: int = 0,
    rows: int = 0,
    us: Mapping[str, int] | None = None,
) -> str:
    """Of one model, version 1, on two GPUs that share its work evenly; `us` are the sums by phase."""
    lines = ["# HELP nv_inference_request_success Number of successful inference requests, all batch sizes"]
    for gpu in ("GPU-a", "GPU-b"):
        own = f'gpu_uuid="{gpu}",model="{model}",version="1"'
        lines += [
            f"nv_inference_request_success{{{own}}} {answered / 2:g}",
            f"nv_inference_count{{{own}}} {rows / 2:g}",
            f"nv_inference_exec_count{{{own}}} {batches / 2:g}",
        ]
        lines += [
            f"nv_inference_{phase}_duration_us{{{own}}} {(us or {}).get(phase, 0) / 2:g}" for phase in TRITON_PHASES
        ]
    if failed is not None:
        lines += [
            f'nv_inference_request_failure{{model="{model}",reason="{reason}",version="1"}} {count}'
            for reason, count in (("REJECTED", failed), ("BACKEND", 0))
        ]
    return "\n".join(lines) + "\n"


class Pages:
    """A web server on the loopback.

    Attributes:
        port: Its own.
        answers: By path and query: a status and a body.
        asked: Paths, in order.
    """

    def __init__(self, port: int) -> None:
        self.port = port
        self.answers: dict[str, tuple[int, bytes]] = {}
        self.asked: list[str] = []

    @property
    def address(self) -> str:
        """HOST:PORT."""
        return f"127.0.0.1:{self.port}"

    def show(self, text: str | bytes, path: str = "/metrics", status: int = 200) -> None:
        """Answers a path from now on, whatever its query."""
        self.answers[path] = (status, text if isinstance(text, bytes) else text.encode())


@contextmanager
def web_server() -> Iterator[Pages]:
    """A server without pages yet."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            pages.asked.append(self.path)
            status, body = pages.answers.get(self.path.partition("?")[0], (404, b"nothing here"))
            self.send_response(status)
            if status == 302:
                self.send_header("Location", "ftp://127.0.0.1/metrics")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *arguments: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        pages = Pages(server.server_address[1])
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield pages
        finally:
            server.shutdown()
            thread.join()
