"""Settings: which source wins, and what is told of a wrong one."""

from __future__ import annotations

from pathlib import Path

import pytest

from roost.errors import ConfigurationError
from roost.sdk.configuration import find_url
from roost.server.guard import Limits
from roost.server.settings import Settings, check_exposure, load


def test_defaults_are_loopback_and_a_file_here(tmp_path: Path) -> None:
    settings = load({}, {}, tmp_path)
    assert settings == Settings()
    check_exposure(settings)


def test_flags_win_over_variables_over_files(tmp_path: Path) -> None:
    (tmp_path / "roost.toml").write_text(
        '[server]\nhost = "::1"\nport = 1\ngrace = "1s"\nallowed_hosts = ["a"]\n'
        "limits = { headers = 7, header_bytes = 8 }\n"
    )
    variables = {"ROOST_PORT": "2", "ROOST_GRACE": "2s", "ROOST_ALLOWED_HOSTS": "b,c", "ROOST_LIMITS_HEADERS": "9"}
    settings = load({"port": 3, "grace": None}, variables, tmp_path)
    assert settings == Settings(
        host="::1", port=3, grace="2s", allowed_hosts=("b", "c"), limits=Limits(headers=9, header_bytes=8)
    )


def test_the_nearest_file_counts_and_anchors_its_paths(tmp_path: Path) -> None:
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    (tmp_path / "roost.toml").write_text('url = "sqlite:///far.db"\n')
    (tmp_path / "a" / "pyproject.toml").write_text('[tool.roost.server]\nstore = "sqlite:///near.db"\n')
    assert load({}, {}, inner).store == f"sqlite:///{tmp_path}/a/near.db"
    assert load({}, {}, tmp_path).store == f"sqlite:///{tmp_path}/far.db"


def test_one_file_serves_programs_and_their_server(tmp_path: Path) -> None:
    (tmp_path / "roost.toml").write_text(
        'url = "http://127.0.0.1:1"\n[server]\nport = 1\nstore = "sqlite:///jobs.db"\n'
    )
    assert load({}, {}, tmp_path) == Settings(port=1, store=f"sqlite:///{tmp_path}/jobs.db")
    assert find_url({}, tmp_path) == "http://127.0.0.1:1"
    (tmp_path / "roost.toml").write_text("[serve]\nport = 1\n")
    with pytest.raises(ConfigurationError, match="did you mean server"):
        find_url({}, tmp_path)


def test_roost_url_is_a_store_only_where_it_is_one(tmp_path: Path) -> None:
    assert load({}, {"ROOST_URL": "postgresql://x/y"}, tmp_path).store == "postgresql://x/y"
    assert load({}, {"ROOST_URL": "http://127.0.0.1:7667"}, tmp_path).store == Settings().store
    assert load({}, {"ROOST_URL": "postgresql://x/y", "ROOST_STORE": "sqlite:///z"}, tmp_path).store == "sqlite:///z"


@pytest.mark.parametrize(
    ("flags", "variables", "file", "says"),
    [
        ({"prot": 1}, {}, "", "did you mean port"),
        ({}, {"ROOST_STOER": "x"}, "", "did you mean ROOST_STORE"),
        ({}, {}, "[server]\nretension = '1d'", "did you mean retention"),
        ({}, {}, "[server.limits]\nheader_byte = 1", "did you mean limits.header_bytes"),
        ({}, {}, "server = 1", "write [server]"),
        ({}, {}, "[sever]\nport = 1", "did you mean server"),
        ({}, {}, "not toml", "is not TOML"),
        ({"port": 70_000}, {}, "", "is no port"),
        ({}, {"ROOST_PORT": "http"}, "", "port"),
        ({"grace": "soon"}, {}, "", "grace"),
        ({"writer": "fibre"}, {}, "", "writer"),
    ],
)
def test_a_wrong_setting_is_named(
    tmp_path: Path, flags: dict[str, object], variables: dict[str, str], file: str, says: str
) -> None:
    if file:
        (tmp_path / "roost.toml").write_text(file)
    with pytest.raises(ConfigurationError) as caught:
        load(flags, variables, tmp_path)
    assert says in str(caught.value)


@pytest.mark.parametrize("host", ["0.0.0." + "0", "::", "10.0.0.1", "example.org"])
def test_others_are_let_in_only_on_request(host: str) -> None:
    with pytest.raises(ConfigurationError, match="--insecure-no-auth"):
        check_exposure(Settings(host=host))
    check_exposure(Settings(host=host, insecure_no_auth=True))


@pytest.mark.feature("webhooks-out")
def test_internal_targets_of_webhooks_are_listed_or_refused(tmp_path: Path) -> None:
    environ = {"ROOST_WEBHOOK_ALLOW": "10.0.0.0/8,hooks.corp:8443"}
    assert load({}, environ, tmp_path).webhook_allow == ("10.0.0.0/8", "hooks.corp:8443")
    assert load({}, {}, tmp_path).webhook_allow == ()
    for entry in ("10.0.0.1/8", "http://hooks.corp", "*"):
        with pytest.raises(ConfigurationError) as refused:
            load({"webhook_allow": (entry,)}, {}, tmp_path)
        assert refused.value.path == "webhook_allow"
