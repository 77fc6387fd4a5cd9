"""No secret survives in any form in which it was planted; ordinary text does."""

from __future__ import annotations

import html
import json
import os
import re
import shlex
import string
from collections.abc import Callable, Iterator
from unittest.mock import patch
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from care.system import redaction
from care.system.redaction import redact, redact_url, remember

PRINTABLE = st.text(st.characters(min_codepoint=33, max_codepoint=0x17F), min_size=6, max_size=40)
SECRETS = PRINTABLE.map(lambda text: f"{text[:3]}q7Z{text[3:]}")
"""What nobody writes by accident: it has a letter and a digit, and any other characters."""
PLAIN = st.text(string.ascii_letters + string.digits + "_-.~+", min_size=6, max_size=40).map(
    lambda text: f"x9{text}"
)
VARIABLES = (
    "PGPASSWORD", "MYSQL_PWD", "WANDB_API_KEY", "wandb_api_key", "AWS_SECRET_ACCESS_KEY",
    "SIGNING_KEY", "mlflow_tracking_password", "MLFLOW_TRACKING_TOKEN", "SLACK_TOKEN_2", "db_pass",
    "npm_config_auth", "CARE_NOTIFY", "RAY_AUTH_TOKEN", "OPENAI_KEY", "MY_PASSPHRASE", "KEY",
)  # fmt: skip
QUOTED: tuple[Callable[[str], str], ...] = (
    str,
    repr,
    json.dumps,
    lambda value: repr(repr(value)),
    lambda value: json.dumps({"a": value}, ensure_ascii=False),
    lambda value: quote(value),
    lambda value: quote(value, safe=""),
    lambda value: quote_plus(value),
    lambda value: quote(value, safe="").lower() if value.islower() else quote(value, safe=""),
    html.escape,
    shlex.quote,
)
URLS = (
    "postgresql://me:{}@db:5432/mlflow failed",
    "tried https://{}@host/path, then gave up",
    "https://x-token:{}@host",
    "MlflowException('http://me:{}@10.0.0.1:5000/api')",
    '{{"uri": "mysql+pymysql://me:{}@db/x", "tries": 3}}',
)
SURROUNDINGS = (
    "password={} refused", "host=db password='{}' dbname=x", 'Pwd="{}"', "PGPASSWORD={} psql",
    "https://host/path?key={}&x=1", "https://host/?pwd={}", "https://h/cb?a=1&access_token={}",
    "X-Api-Key: {}", "Authorization: Bearer {}", "authorization: basic {}", "Authorization: {}",
    "{{'Authorization': 'Bearer {}', 'a': 1}}", '{{"api_key": "{}", "lr": 0.1}}',
    "{{'password': '{}', 'user': 'me'}}", "export my_secret={}", "care x --password {} --y",
    "care x --api-key={}", "AWS_SECRET_ACCESS_KEY={}", "db_password: {}", "token={}",
    "https://hooks.slack.com/services/{}", "password%3D{}", 'curl -H "X-Api-Key: {}" host',
    "env['GITHUB_TOKEN'] = '{}'", "SIGNING_KEY={}", "client_secret: '{}'", "Bearer {}",
)  # fmt: skip
ORDINARY = (
    "", "the word key, a token and a password", "λ=0.1, τ=0.5 and seed=3", "key: lr, value: 0.1",
    "/home/me@lab/runs/trials/cbb9d1f0a3b4c5d6", "sqlite:////home/me@lab/mlflow.db",
    "https://github.com/o/r/blob/main/a@b.py", "models:/care-digits@best", "me@example.org",
    "http://localhost:5000/#/experiments/1", "http://host:1/a@b", "commit 59a3c2a1b7e8", "epoch 3/10 loss 0.1234",
    "PWD=/home/me OLDPWD=/tmp", "KeyError: 'lr'", "objective.equivariance.weight=0.3",
    "file:///home/me/runs", "keys=3 tokens=7 tokenizer=bpe", "care sweep run a.yaml --keep none",
    "RuntimeError: token is missing", "MONKEY=1 keyword=x", "2026-11-27T16:09:53Z warning: x: y",
    "sort(key=len)", "params.key, params.run_uuid", "--tracking-uri http://host:5000",
)  # fmt: skip


@pytest.fixture(autouse=True)
def nothing_remembered() -> Iterator[None]:
    with patch.object(redaction, "_remembered", set()):
        yield


@settings(deadline=None, max_examples=60)
@given(st.sampled_from(VARIABLES), SECRETS, st.sampled_from(QUOTED), st.text(max_size=20))
def test_the_value_of_a_variable(
    name: str, secret: str, quoted: Callable[[str], str], around: str
) -> None:
    with patch.dict(os.environ, {name: secret}):
        shown = redact(f"{around} {quoted(secret)} {around}{secret}{around}")
    assert secret not in shown
    assert quoted(secret).strip("'\"") not in shown


@settings(deadline=None, max_examples=60)
@given(SECRETS, st.sampled_from(URLS))
def test_the_user_of_a_url(secret: str, url: str) -> None:
    if "{}@host/path" in url:  # only a colon before a slash tells a user from a path
        secret = secret.translate(dict.fromkeys(map(ord, "/?#"), "x"))
    secret = secret.replace("://", ":").replace('"', "").replace("'", "")
    assume(not re.match(r"\d{1,5}[/?#]", secret))  # as a port and a path
    shown = redact(url.format(secret))
    assert secret not in shown
    assert "***@" in shown


@settings(deadline=None, max_examples=60)
@given(st.sampled_from(SURROUNDINGS), PLAIN)
def test_a_value_after_its_name(form: str, secret: str) -> None:
    shown = redact(form.format(secret))
    assert secret not in shown, shown
    assert "***" in shown
    assert redact(shown) == shown, "said once"


@pytest.mark.parametrize("secret", ["/etc/x y", "a'b\"c\\d", "pa ss=wörd", "ünï/cödé", "100%&more"])
def test_odd_values(secret: str) -> None:
    with patch.dict(os.environ, {"mysql_pwd": secret}):
        for quoted in QUOTED:
            shown = redact(f"x={quoted(secret)};")
            assert "***" in shown
            assert secret not in shown
            assert quoted(secret).strip("'\"") not in shown
    assert secret in redact(f"x={secret}"), "only while it is a secret"


def test_urls_of_variables_and_what_was_read() -> None:
    uri = "postgresql://me:p%40ss%2Fw0rd@db/mlflow"
    with patch.dict(os.environ, {"MLFLOW_TRACKING_URI": uri}):
        assert redact("FATAL: p@ss/w0rd or p%40ss%2fw0rd was refused") == (
            "FATAL: *** or *** was refused"
        )
    remember("hunter2-hunter2")
    assert redact("it said 'hunter2-hunter2'") == "it said '***'"


@pytest.mark.parametrize(
    "password", ["pa ss", "a\tb", "a:b@c d", "x/y z", "p@ss 'word' \"x\"", "1 2"]
)
@pytest.mark.parametrize("scheme", ["https://", "postgresql+psycopg2://", "https:", ""])
def test_a_url_as_a_whole_may_hold_blanks(scheme: str, password: str) -> None:
    assert redact_url(f"{scheme}ada:{password}@host:5443/x").endswith("***@host:5443/x")
    assert password not in redact_url(f"{scheme}ada:{password}@host:5443/x")
    with patch.dict(os.environ, {"MLFLOW_TRACKING_URI": f"https://ada:{password}@host"}):
        assert len(password) < 6 or password not in redact(f"no login with {password}.")


@pytest.mark.parametrize(
    "url", ["https://host:5443/a@b", "https://host/x@y z", "sqlite:////a@b/c d.db"]
)
def test_a_url_without_a_user_stays(url: str) -> None:
    assert redact_url(url) == url


def test_known_formats() -> None:
    pem = "-----BEGIN RSA PRIVATE KEY-----\nMIIE\nabc=\n-----END RSA PRIVATE KEY-----"
    github = "ghp_" + "a1B2" * 9
    assert redact(f"a {pem} b {github} c AKIAABCDEFGHIJKLMNOP") == "a *** b *** c ***"


@pytest.mark.parametrize("text", ORDINARY)
def test_ordinary_text_survives(text: str) -> None:
    assert redact(text) == text


@settings(deadline=None, max_examples=60)
@given(st.text(string.ascii_letters + string.digits + " .,/_()[]λτ\n", max_size=200))
def test_text_without_a_separator_survives(text: str) -> None:
    """Nothing but a name with its separator, or a known value, is removed."""
    shown = redact(text)
    assert shown == text or "bearer" in text.lower() or "***" in shown


def test_short_values_are_removed_by_name_only() -> None:
    with patch.dict(os.environ, {"DB_PASSWORD": "abc"}):
        assert redact("abcdef password=abc") == "abcdef password=***"


@pytest.mark.parametrize(
    "text",
    ["a.b-" * 50_000, "password" * 20_000, 'password="' * 20_000, "://" * 50_000, "'\\" * 50_000,
     "https://a:" * 20_000, "-----BEGIN PRIVATE KEY-----" * 2000, "--a-" * 50_000,
     "?a" * 50_000, "eyJ" + "a" * 100_000, "authorization:" * 10_000, "token= " * 20_000],
)  # fmt: skip
def test_long_text_takes_linear_time(text: str) -> None:
    """200,000 characters end; quadratic time would take minutes, and the test's limit."""
    redact(text)
