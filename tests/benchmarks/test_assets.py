"""The protocol data: located, checked, and downloaded from a local server."""

import functools
import hashlib
import json
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest
import yaml

from harness.benchmarks import assets
from harness.core.hub import ASSETS_VARIABLE, assets_directory
from harness.errors import AssetError, ConfigError

ROWS = [{"b": 1, "a": "ü"}]
RAW = b"raw bytes"


@pytest.fixture
def _sets(tmp_path, monkeypatch):
    """A registry with one set: a file pinned by its content, and one by its bytes."""
    content = json.dumps(ROWS, sort_keys=True, separators=(",", ":")).encode()
    files = [
        {"name": "rows.json", "content_sha256": hashlib.sha256(content).hexdigest()},
        {"name": "raw.bin", "sha256": hashlib.sha256(RAW).hexdigest()},
    ]
    data = {"use": "harness.benchmarks.assets:AssetSet", "home": "http://127.0.0.1:1"}
    registry = tmp_path / "configs" / "assets"
    registry.mkdir(parents=True)
    (registry / "tiny.yaml").write_text(yaml.safe_dump({**data, "revision": "r", "files": files}))
    monkeypatch.chdir(tmp_path)
    for name in (ASSETS_VARIABLE, assets.MIRROR_VARIABLE):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def home(tmp_path, monkeypatch, _sets):
    """A directory that is served as SET/FILE."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    folder = tmp_path / "home" / "tiny"
    folder.mkdir(parents=True)
    (folder / "rows.json").write_text(json.dumps(ROWS, indent=4))
    (folder / "raw.bin").write_bytes(RAW)
    handler = functools.partial(Quiet, directory=str(folder.parent))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    monkeypatch.setenv(assets.MIRROR_VARIABLE, f"http://127.0.0.1:{server.server_port}/")
    yield folder
    server.shutdown()
    server.server_close()
    thread.join()


pytestmark = pytest.mark.usefixtures("_sets")


def test_the_directory_is_the_argument_the_variable_or_the_users_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", "/cache")
    assert str(assets_directory()) == "/cache/preference-harness/assets"
    monkeypatch.setenv(ASSETS_VARIABLE, "/named")
    assert str(assets_directory()) == "/named"
    assert assets_directory(tmp_path) == tmp_path
    monkeypatch.delenv(ASSETS_VARIABLE)
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/home/someone")
    assert str(assets_directory()) == "/home/someone/.cache/preference-harness/assets"


def test_a_missing_file_is_reported_with_the_ways_to_get_it(tmp_path):
    with pytest.raises(AssetError) as caught:
        assets.require("tiny/rows.json", tmp_path)
    message = str(caught.value)
    for part in ("tiny/rows.json", str(tmp_path), "harness assets pull tiny", "--assets DIR"):
        assert part in message


@pytest.mark.usefixtures("home")
def test_pulled_files_are_located_and_checked(tmp_path):
    target = tmp_path / "assets"
    states = {row["asset"]: row["state"] for row in assets.listing(target)}
    assert states["tiny/rows.json"] == states["tiny/raw.bin"] == "missing"
    paths = assets.pull(["tiny"], target)
    assert paths == [target / "tiny" / "rows.json", target / "tiny" / "raw.bin"]
    assert assets.require("tiny/rows.json", target) == paths[0]
    states = {row["asset"]: row["state"] for row in assets.listing(target)}
    assert states["tiny/rows.json"] == states["tiny/raw.bin"] == "present"


def test_an_intact_file_is_not_downloaded_again(tmp_path, home):
    assets.pull(["tiny"], tmp_path)
    for file in home.iterdir():
        file.unlink()
    assert len(assets.pull(["tiny"], tmp_path)) == 2


def test_a_damaged_file_is_reported_and_downloaded_again(tmp_path, home):
    path = assets.pull(["tiny"], tmp_path)[1]
    path.write_bytes(b"other")
    with pytest.raises(AssetError, match=r"not the published raw\.bin.*harness assets pull tiny"):
        assets.require("tiny/raw.bin", tmp_path)
    states = {row["asset"]: row["state"] for row in assets.listing(tmp_path)}
    assert states["tiny/raw.bin"] == "damaged"
    assets.pull(["tiny"], tmp_path)
    assert path.read_bytes() == RAW


@pytest.mark.parametrize("text", ["[]", "{", "[" * 100_000], ids=["other", "cut", "deep"])
def test_a_download_that_is_another_file_is_not_kept(tmp_path, home, text):
    (home / "rows.json").write_text(text)
    with pytest.raises(AssetError, match="nothing was kept"):
        assets.pull(["tiny"], tmp_path / "assets")
    assert list((tmp_path / "assets").rglob("*.*")) == []


def test_a_file_that_is_missing_at_its_home_is_reported(tmp_path, home):
    (home / "rows.json").unlink()
    with pytest.raises(
        AssetError, match=r"tiny/rows\.json cannot be downloaded \(404 .*--assets DIR"
    ):
        assets.pull(["tiny"], tmp_path)


def test_a_home_that_cannot_be_reached_is_reported(tmp_path):
    with pytest.raises(
        AssetError, match=r"127\.0\.0\.1:1/r/rows\.json cannot be downloaded .*refused"
    ):
        assets.pull(["tiny"], tmp_path)


def test_an_unknown_set_is_reported_with_the_known_sets(tmp_path):
    with pytest.raises(ConfigError, match=r"alpaca_eval, .*mt_bench, tiny"):
        assets.pull(["other"], tmp_path)


def test_a_file_needs_one_pin():
    with pytest.raises(ValueError, match="sha256, content_sha256 and unpinned"):
        assets.AssetFile(name="x")


def test_a_stand_in_is_accepted_and_recognised(tmp_path):
    real, other = (hashlib.sha256(data).hexdigest() for data in (RAW, b"rebuilt"))
    file = assets.AssetFile(name="raw.bin", sha256=real, stand_in_sha256=other)
    path = tmp_path / "raw.bin"
    for data, is_stand_in in ((RAW, False), (b"rebuilt", True)):
        path.write_bytes(data)
        file.check(path)
        assert file.is_stand_in(path) is is_stand_in
    path.write_bytes(b"third")
    with pytest.raises(AssetError, match="not the published"):
        file.check(path)


def test_the_shipped_copy_is_the_pinned_one(shared):
    assert assets.require("alpaca_eval/alpaca_eval_gpt4_baseline.json", shared / "assets")


class BreakingOff(SimpleHTTPRequestHandler):
    """Serves half of a file and breaks off; serves all of it to the second request."""

    data, requests = RAW * 1000, []

    def log_message(self, *_):
        pass

    def do_GET(self):
        self.requests.append(self.path)
        self.send_response(200)
        self.send_header("content-length", str(len(self.data)))
        self.end_headers()
        is_first = len(self.requests) == 1
        self.wfile.write(self.data[: len(self.data) // 2] if is_first else self.data)
        self.close_connection = True


def test_an_interrupted_download_starts_over(tmp_path):
    pinned = {"name": "big.bin", "sha256": hashlib.sha256(BreakingOff.data).hexdigest()}
    server = ThreadingHTTPServer(("127.0.0.1", 0), BreakingOff)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    data = {"use": "harness.benchmarks.assets:AssetSet", "revision": "r", "files": [pinned]}
    data["home"] = f"http://127.0.0.1:{server.server_port}"
    (tmp_path / "configs/assets/big.yaml").write_text(yaml.safe_dump(data))
    with pytest.raises(AssetError, match=r"4500 more expected.*the download starts over"):
        assets.pull(["big"], tmp_path / "a")
    assert list((tmp_path / "a/big").iterdir()) == []
    (path,) = assets.pull(["big"], tmp_path / "a")
    server.shutdown()
    server.server_close()
    thread.join()
    assert path.read_bytes() == BreakingOff.data
    assert len(BreakingOff.requests) == 2
    assert [p.name for p in path.parent.iterdir()] == ["big.bin"]


def test_the_judges_texts_are_extracted_from_the_repositorys_settings(
    tmp_path, shared, home, monkeypatch
):
    """The protocol files of both versions come from one settings file and match their pins."""
    known = json.loads((shared / "assets/arena_hard_v0.1/protocol.json").read_text())
    template = known["prompt_template"].replace("{QUESTION}", "{question_1}")
    template = template.replace("{ANSWER_A}", "{answer_1}").replace("{ANSWER_B}", "{answer_2}")
    settings = {"system_prompt": known["system_prompt"], "prompt_template": [template]}
    monkeypatch.chdir(tmp_path)
    for kind in ("arena_hard_v0.1", "arena_hard_v2.0"):
        folder = home.parent / kind
        folder.mkdir()
        (folder / "judge_config.yaml").write_text(yaml.safe_dump(settings))
        file = assets._asset_set(kind).file("protocol.json")
        path = tmp_path / kind / "protocol.json"
        assets._download(assets._url(kind, assets._asset_set(kind), file), file, path)
        wanted = json.loads((shared / f"assets/{kind}/protocol.json").read_text())
        assert json.loads(path.read_text()) == wanted
