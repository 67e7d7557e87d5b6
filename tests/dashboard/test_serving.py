"""Where the dashboard may listen, what every answer carries, and how quickly it says no."""

from __future__ import annotations

import base64
import socket

import pytest
import werkzeug.test
from flask.testing import FlaskClient

from dashboard.app import create_app
from dashboard.serving.server import check_address, is_loopback, listen
from flowatlas.errors import FlowatlasError, UsageError
from flowatlas.stores.base import Store
from support.cli import flowatlas

PASSWORD = "correct horse battery"


@pytest.fixture
def guarded(store: Store) -> FlaskClient:
    return create_app(store, password=PASSWORD).server.test_client()


def _with(password: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"anyone:{password}".encode()).decode()}


@pytest.mark.parametrize("path", ["/", "/_dash-layout", "/_dash-dependencies", "/assets/10_style.js", "/_flowatlas/health"])
def test_nothing_without_the_password(guarded: FlaskClient, path: str) -> None:
    assert guarded.get(path).status_code == 401
    assert guarded.get(path, headers=_with("correct horse batterx")).status_code == 401
    assert guarded.get(path, headers={"Authorization": "Bearer x"}).status_code == 401
    assert guarded.get(path, headers={"Authorization": "Basic !!!"}).status_code == 401
    assert guarded.get(path, headers=_with(PASSWORD)).status_code == 200


def test_every_answer_carries_a_strict_policy(store: Store) -> None:
    client = create_app(store).server.test_client()
    answer: werkzeug.test.TestResponse = client.get("/")
    policy = answer.headers["Content-Security-Policy"]
    scripts = next(part for part in policy.split("; ") if part.startswith("script-src"))
    assert "unsafe" not in scripts
    assert "http" not in scripts
    assert "default-src 'self'" in policy
    assert answer.headers["X-Frame-Options"] == "DENY"
    assert answer.headers["X-Content-Type-Options"] == "nosniff"


def test_two_apps_in_one_process_do_not_mix(store: Store) -> None:
    open_one, closed = create_app(store).server.test_client(), create_app(store, password=PASSWORD).server.test_client()
    assert open_one.get("/").status_code == 200
    assert closed.get("/").status_code == 401


def test_a_fresh_worker_serves_scripts_before_any_page(store: Store) -> None:
    """With several workers the page and its scripts may come from different ones."""
    client = create_app(store).server.test_client()
    page = create_app(store).server.test_client().get("/").get_data(as_text=True)
    scripts = [part.split('"')[0] for part in page.split('src="')[1:]]
    assert len(scripts) > 8
    assert {client.get(script).status_code for script in scripts} == {200}


def test_loopback_is_what_nobody_else_reaches() -> None:
    assert all(is_loopback(host) for host in ("127.0.0.1", "localhost", "::1", "127.1.2.3"))
    assert not any(is_loopback(host) for host in ("0.0.0.0", "::", "192.168.1.4", "example.org", ""))


def test_other_addresses_need_a_password() -> None:
    with pytest.raises(UsageError, match="open to everyone"):
        check_address("0.0.0.0", None)
    with pytest.raises(UsageError, match="too short"):
        check_address("127.0.0.1", "short")
    check_address("0.0.0.0", PASSWORD)


def test_a_port_in_use_is_named() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(FlowatlasError, match=str(port)):
            listen("127.0.0.1", port)


def test_the_command_refuses_to_open_the_data_to_everyone(demo_uri: str) -> None:
    done = flowatlas("dashboard", "--host", "0.0.0.0", "--store", demo_uri)
    assert done.code == 2
    assert "FLOWATLAS_DASHBOARD_PASSWORD" in done.stderr
    assert done.stdout == ""


def test_the_command_names_a_store_that_is_not_there(tmp_path: object) -> None:
    done = flowatlas("dashboard", "--store", f"{tmp_path}/none.lbug")
    assert done.code == 1
    assert "none.lbug" in done.stderr
