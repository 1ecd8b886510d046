"""The first contact with contestants: what they are, and whether they answer alike. Runs in the command's process."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

from quadriga_client.client import Client
from quadriga_client.compare.agreement import Answers, agreement
from quadriga_client.compare.awake import Awake
from quadriga_client.compare.comparison import Contender
from quadriga_client.compare.contestants import Contestant
from quadriga_client.compare.errors import CompareError, WrongOption
from quadriga_client.compare.likeness import Agreement
from quadriga_client.compare.options import CompareOptions
from quadriga_client.compare.shared_inputs import Inputs, file_inputs, random_inputs, serialized
from quadriga_client.errors import QuadrigaClientError
from quadriga_client.load.payload import Answer, probe
from quadriga_client.load.server_side import ServerProbe, describe, find_probe
from quadriga_client.load.target import LoadTarget
from quadriga_client.results import ModelMetadata


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A contestant that has answered.

    Attributes:
        contestant: Who.
        contender: What its server tells of it, for the report.
        target: Its own requests of the shared inputs, and where they go.
        answers: To each of them.
        probe: Of its server's counters; None where the server has none.
    """

    contestant: Contestant
    contender: Contender
    target: LoadTarget
    answers: Answers
    probe: ServerProbe | None


class Roll:
    """Calls the contestants one by one; the first one's inputs are everybody's."""

    def __init__(self, options: CompareOptions, clients: Mapping[str, Client], awake: Awake) -> None:
        """Calls nobody yet.

        Args:
            options: Of the comparison.
            clients: By URL.
            awake: Loads contestants.
        """
        self.entries: list[Entry] = []
        self.inputs: Inputs | None = None
        self._options = options
        self._clients = clients
        self._awake = awake

    def call(self, contestant: Contestant) -> Entry:
        """Asks a contestant for its metadata and its answers.

        Raises:
            CompareError: It cannot be asked, or answers with an error.
            WrongOption: A shape is given for an input that the first one does not have.
            LoadError: No inputs can be made for it, or its metrics page is none.
        """
        client = self._clients[contestant.url]
        self._awake.wake(contestant)
        try:
            metadata = client.metadata(contestant.model, contestant.version)
        except QuadrigaClientError as error:
            raise CompareError(f"{contestant.name} at {contestant.url} cannot be asked: {error}") from error
        if self.inputs is None:
            self.inputs = self._inputs(metadata)
        first = self.entries[0].contestant.name if self.entries else contestant.name
        requests = serialized(contestant, metadata, first, self.inputs)
        target = self._options.access.target(contestant.url, requests)
        answers = [self._ask(contestant, replace(target, requests=(request,))) for request in requests]
        version = answers[0].result.model_version or contestant.version
        server = find_probe(client, contestant.model, version, self._options.metrics.get(contestant.url))
        found = contender(contestant, version, metadata, server_name(client))
        entry = Entry(
            contestant=contestant,
            contender=found if server is None else replace(found, file_bytes=describe(server).file_bytes),
            target=target,
            answers=Answers(
                contestant=contestant.name,
                outputs=[answer.result.outputs for answer in answers],
                classes=len(metadata.labels),
            ),
            probe=server,
        )
        self.entries.append(entry)
        return entry

    def agreements(self) -> tuple[Agreement, ...]:
        """How the others' answers compare with the first one's."""
        first = self.entries[0].answers
        return tuple(agreement(first, other.answers, self._options.tolerance) for other in self.entries[1:])

    def _inputs(self, metadata: ModelMetadata) -> Inputs:
        options = self._options
        known = [tensor.name for tensor in metadata.inputs]
        if strange := [name for name in options.shapes if known and name not in known]:
            raise WrongOption(
                f"--shape is for input {', '.join(map(repr, strange))}; the first model, {metadata.name!r}, has"
                f" {', '.join(known)}"
            )
        if options.file is not None:
            return file_inputs(metadata, options.file, rows=options.rows)
        return random_inputs(metadata, rows=options.rows, shapes=options.shapes, seed=options.seed)

    def _ask(self, contestant: Contestant, target: LoadTarget) -> Answer:
        try:
            answer = probe(target)
        except QuadrigaClientError as error:
            raise CompareError(f"{contestant.name} answers with an error: {error}") from error
        if not answer.result.outputs:
            raise CompareError(f"{contestant.name} answers without any output, so there is nothing to compare")
        return answer


def contender(contestant: Contestant, version: str, metadata: ModelMetadata, server: str) -> Contender:
    """A contestant as its server describes it."""
    properties = metadata.properties
    return Contender(
        name=contestant.name,
        model=contestant.model,
        version=version,
        url=contestant.url,
        server=server,
        platform=metadata.platform,
        backend=properties.get("backend", ""),
        device=properties.get("device", ""),
        inputs=tuple(map(str, metadata.inputs)),
        outputs=tuple(map(str, metadata.outputs)),
        load_ms=number(properties.get("load_ms", "")),
        accuracy=number(properties.get("accuracy", "")),
    )


def server_name(client: Client) -> str:
    """A server's name and version; empty where it does not tell."""
    try:
        server = client.metadata()
    except QuadrigaClientError:
        return ""
    return f"{server.name} {server.version}".strip()


def number(text: str) -> float | None:
    """A property's number; None where it is none, or none that JSON could hold."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value if abs(value) < float("inf") else None
