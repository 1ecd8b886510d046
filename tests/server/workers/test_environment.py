"""What workers get of the server's environment."""

from quadriga.workers.environment import WITHOUT_THREADS, environment_of_workers

GIVEN = {
    "PATH": "/bin", "TF_CPP_MIN_LOG_LEVEL": "3", "KERAS_HOME": "/k", "QUADRIGA_TOKEN_FILE": "/t",
    "OTEL_EXPORTER_OTLP_HEADERS": "k=v", "AWS_SECRET_ACCESS_KEY": "s", "AWS_ACCESS_KEY_ID": "i", "HF_TOKEN": "t",
    "DB_PASSWORD": "p", "api_key": "k", "GOOGLE_APPLICATION_CREDENTIALS": "/c",
}  # fmt: skip


def test_the_servers_settings_are_the_servers() -> None:
    assert not [name for name in environment_of_workers(False, GIVEN) if name.startswith(("QUADRIGA_", "OTEL_"))]
    assert environment_of_workers(False, GIVEN)["HF_TOKEN"] == "t"


def test_confined_workers_get_no_secrets_and_a_single_thread() -> None:
    kept = {name: GIVEN[name] for name in ("PATH", "TF_CPP_MIN_LOG_LEVEL", "KERAS_HOME")}
    assert environment_of_workers(True, GIVEN) == kept | WITHOUT_THREADS
