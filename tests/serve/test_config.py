"""Configuration: defaults for one machine, plain data only, errors that name the key."""

from __future__ import annotations

from pathlib import Path

import pytest

from hilum.core.errors import ConfigError
from hilum.inference.pipeline import ready_pipelines
from hilum.serve.config import Config, is_loopback, load


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "hilum.toml"
    path.write_text(text)
    return path


def test_nothing_configured_listens_on_loopback_only() -> None:
    config = load(None, {})
    assert is_loopback(config.node.host)
    assert is_loopback(config.web.host)
    assert config.database_url.startswith("sqlite:///")


def test_a_variable_wins_over_the_file(tmp_path: Path) -> None:
    path = written(tmp_path, "workers = 2\n[node]\nport = 104\nae_title = 'CHEST'\n")
    variables = {"HILUM_SERVE_NODE__PORT": "11113", "HILUM_SERVE_NODE__ALLOW": '["CR1"]'}
    config = load(path, variables)
    assert (config.workers, config.node.port, config.node.ae_title) == (2, 11113, "CHEST")
    assert config.node.allow == ("CR1",)


def test_every_pipeline_that_is_installed_with_its_bundles_is_offered() -> None:
    """`siim-covid` comes without bundles: nobody could choose it."""
    offered = load(None, {}).pipelines
    assert next(iter(offered)) == "default"
    assert "siim-covid" not in offered
    assert offered == {name: name for name in ready_pipelines()}
    assert load(None, {"HILUM_SERVE_PIPELINES": '{"default": "default"}'}).pipelines == {
        "default": "default"
    }


def test_an_unknown_key_names_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="Did you mean 'ae_title'"):
        load(written(tmp_path, "[node]\nae_titel = 'X'\n"), {})


def test_everything_that_is_wrong_is_said_at_once(tmp_path: Path) -> None:
    text = "workers = 'two'\nlog_level = 'loud'\n[node]\nprot = 1\nhots = 'a'\n"
    with pytest.raises(ConfigError) as wrong:
        load(written(tmp_path, text), {})
    for part in ("workers: ", "log_level: ", "mean 'port'", "mean 'host'"):
        assert part in str(wrong.value)


def test_a_rule_cannot_name_what_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="destination of a rule 'pacs'"):
        load(written(tmp_path, "[[rules]]\ndestinations = ['pacs']\n"), {})
    with pytest.raises(ConfigError, match="pipeline of a rule 'nobodys'"):
        load(written(tmp_path, "[[rules]]\npipelines = ['nobodys']\n"), {})


@pytest.mark.parametrize(
    "text",
    ["folder = __import__('os').getcwd()", "workers = '{{ 7 * 7 }}'", "workers = '!!python/x'"],
)
def test_code_in_a_configuration_is_inert(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError):
        load(written(tmp_path, text), {})


def test_results_are_never_sent_as_if_they_had_no_identity() -> None:
    peer = {"url": "http://127.0.0.1/dicom-web"}
    one = {"web": peer, "objects": ["source", "sr"], "deidentify": True}
    with pytest.raises(ValueError, match="results hold the identity"):
        Config.model_validate({"destinations": {"research": one}})
    with pytest.raises(ValueError, match="deidentify = true"):
        Config.model_validate({"destinations": {"pacs": {"web": peer, "objects": ["source"]}}})


def test_a_name_is_no_loopback_address() -> None:
    assert not is_loopback("hospital.example")
    assert not is_loopback("0.0.0.0")  # noqa: S104
    assert is_loopback("::1")


def test_every_name_that_is_wrong_is_told_at_once(tmp_path: Path) -> None:
    file = tmp_path / "hilum.toml"
    file.write_text('default = "a"\nprot = 1\n[[rules]]\npipelines = ["b"]\ndestinations = ["c"]\n')
    with pytest.raises(ConfigError) as wrong:
        load(file, {})
    for words in ("unknown key 'prot'", "pipeline 'a'", "of a rule 'b'", "of a rule 'c'"):
        assert words in str(wrong.value)
