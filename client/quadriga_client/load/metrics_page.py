"""A server's /metrics page: fetched with bounds on time and size, and read as far as it is wanted. Client's process."""

import http.client
import math
import time
import urllib.error
import urllib.request
from collections.abc import Collection, Mapping
from typing import Any, Final
from urllib.parse import urlencode, urlsplit

from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from quadriga_client.load.errors import LoadError
from quadriga_client.tokens import is_local

#: Of a page, in bytes: thousands of models.
LARGEST_PAGE: Final = 16 * 2**20
_CHUNK: Final = 65_536
_SHOWN: Final = 60


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """Takes a redirect as the answer: what is fetched is what the user named, and nothing of another scheme."""

    def redirect_request(self, *arguments: Any, **options: Any) -> None:  # noqa: ANN401
        """See the base class."""
        return


def page_url(text: str) -> str:
    """The URL of a page, from HOST:PORT, or from http://HOST:PORT with or without a path.

    Raises:
        LoadError: It is none of them.
    """
    try:
        url = urlsplit(text if "://" in text else f"http://{text}")
        wrong = url.scheme not in ("http", "https") or not url.hostname or "@" in url.netloc or url.port == 0
    except ValueError:  # a port that is no number, or a bracket without the other
        wrong = True
    if wrong or any(letter.isspace() for letter in text):
        raise LoadError(f"a metrics URL is HOST:PORT or http://HOST:PORT/metrics, got {text!r}")
    return url._replace(path=url.path if url.path.strip("/") else "/metrics", fragment="").geturl()


def of_model(url: str, model: str) -> str:
    """The URL by which Quadriga's page has one model alone, so that the server spends no time on the others."""
    parts = urlsplit(url)
    return url if parts.query else parts._replace(query=urlencode({"model": model})).geturl()


def fetch(url: str, seconds: float) -> str:
    """The text of a page.

    Args:
        url: As `page_url` gives it.
        seconds: For the connection and all of the page.

    Raises:
        LoadError: Something else came back, or nothing in time.
    """
    end = time.monotonic() + seconds
    # This machine is never reached through a proxy, whatever the environment says.
    proxies: dict[str, str] | None = {} if is_local(f"{urlsplit(url).hostname}:0") else None
    opener = urllib.request.build_opener(urllib.request.ProxyHandler(proxies), _NoRedirects)
    page = bytearray()
    try:
        with opener.open(urllib.request.Request(url, headers={"Accept": "text/plain"}), timeout=seconds) as answer:
            while chunk := answer.read1(_CHUNK):
                page += chunk
                if len(page) > LARGEST_PAGE:
                    raise LoadError(f"{url} has more than {LARGEST_PAGE >> 20} MiB, too much for a metrics page")
                if time.monotonic() > end:
                    raise TimeoutError
        return page.decode()
    except urllib.error.HTTPError as error:
        with error:
            raise LoadError(f"{url} answered {error.code} {error.reason}; expected a metrics page") from None
    except UnicodeDecodeError:
        raise LoadError(f"{url} answered with something that is no text; expected a metrics page") from None
    except (OSError, http.client.HTTPException) as error:
        raise LoadError(f"no metrics page came from {url}: {_reason(error, seconds)}") from None


def read(text: str, names: Collection[str], url: str) -> list[Sample]:
    """The samples of some metrics; all other lines are not looked at, since histograms' buckets are most of a page.

    Args:
        text: A page in Prometheus' text format. A line break in a label's value is escaped there, so that no line is
            cut where it should not be.
        names: Of samples, as `quadriga_rows_total`.
        url: For errors.

    Raises:
        LoadError: A line of one of them is no sample, or its value no finite number.
    """
    # Only "\n" ends a line: str.splitlines would also cut at what labels may hold as it is.
    lines = [line for line in text.split("\n") if line.partition("{")[0].partition(" ")[0] in names]
    try:
        families = text_string_to_metric_families("".join(f"{line}\n" for line in lines))
        samples = [sample for family in families for sample in family.samples]
    except ValueError as error:
        raise LoadError(f"{url} is not in Prometheus' text format: {error}") from None
    if wrong := next((sample for sample in samples if not math.isfinite(sample.value)), None):
        raise LoadError(f"{url} says that {wrong.name} is {wrong.value}; expected a finite number")
    return samples


def first_line(text: str) -> str:
    """How a page that is not what it should be begins, for errors."""
    line = next((line.strip() for line in text.splitlines() if line.strip()), "")
    return line if len(line) <= _SHOWN else f"{line[:_SHOWN]}..."


class Series:
    """The samples that carry some labels, by name."""

    def __init__(self, samples: Collection[Sample], labels: Mapping[str, str]) -> None:
        wanted = labels.items()
        self._samples = [sample for sample in samples if wanted <= sample.labels.items()]

    def __contains__(self, name: str) -> bool:
        return any(sample.name == name for sample in self._samples)

    def total(self, name: str, **labels: str) -> float | None:
        """The sum of a metric's samples with these labels too; None where there are none."""
        wanted = labels.items()
        values = [each.value for each in self._samples if each.name == name and wanted <= each.labels.items()]
        return math.fsum(values) if values else None

    def by(self, name: str, label: str) -> dict[str, float]:
        """A metric's samples by one of their labels."""
        return {sample.labels.get(label, ""): sample.value for sample in self._samples if sample.name == name}


def _reason(error: Exception, seconds: float) -> str:
    cause = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(cause, TimeoutError):
        return f"there was no whole answer within {seconds:g} s"
    if isinstance(cause, http.client.HTTPException) and not isinstance(cause, OSError):
        return f"what answers does not speak HTTP ({type(cause).__name__})"
    return (cause.strerror if isinstance(cause, OSError) else None) or str(cause) or type(cause).__name__
