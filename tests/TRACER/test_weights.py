"""Weights are found, fetched, checked and loaded, and a wrong file is named for what it is."""

import http.server
import pickle
import threading

import pytest
import torch

from faces.sample import generate
from TRACER.network import Tracer
from TRACER.weights import (
    SAMPLE,
    SAMPLE_DIGEST,
    detect_scale,
    find_weights,
    load_tracer,
    network_settings,
    save_float16,
    warn_of_sample_weights,
    weights_digest,
)
from utils.errors import CheckpointError
from utils.files import sha256


@pytest.fixture(scope="module")
def released_file(tmp_path_factory, golden_state):
    """A TE0 file as the authors released theirs: a bare state dict of a wrapped model."""
    path = tmp_path_factory.mktemp("weights") / "TRACER-Efficient-0.pth"
    torch.save({f"module.{key}": value for key, value in golden_state(0).items()}, path)
    return path


@pytest.fixture(autouse=True)
def hub_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "hub" / "checkpoints"


@pytest.fixture
def server(released_file):
    """Serves the released file; hangs up after ``break_after`` bytes for ``breaks`` requests."""

    class Handler(http.server.BaseHTTPRequestHandler):
        breaks, break_after, ranges = 0, 1_000_000, []

        def do_GET(self):
            if self.path != "/TRACER-Efficient-0.pth":
                return self.send_error(404)
            data, asked = released_file.read_bytes(), self.headers.get("Range")
            Handler.ranges.append(asked)
            start = int(asked.removeprefix("bytes=").rstrip("-")) if asked else 0
            self.send_response(206 if asked else 200)
            self.send_header("Content-Length", str(len(data) - start))
            self.end_headers()
            stop = len(data)
            if Handler.breaks:
                Handler.breaks -= 1
                stop = start + Handler.break_after
            self.wfile.write(data[start:stop])

        def log_message(self, *_):
            pass

    Handler.ranges = []
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    Handler.url = f"http://127.0.0.1:{server.server_port}"
    yield Handler
    server.shutdown()
    server.server_close()


def test_released_file_gives_the_golden_network(released_file, golden_network):
    network = load_tracer(released_file)
    assert not network.training
    assert network_settings(network) == {"scale": 0, "static_padding": True, "input_size": 320}
    assert weights_digest(network) == weights_digest(golden_network(0))


def test_own_checkpoint_keeps_its_settings(tmp_path):
    trained = Tracer(0, static_padding=False, input_size=192)
    path = tmp_path / "best.pth"
    torch.save({"model": trained.state_dict(), **network_settings(trained), "epoch": 3}, path)

    network = load_tracer(path)

    assert network_settings(network) == network_settings(trained)
    assert weights_digest(network) == weights_digest(trained)


def test_float16_file_is_small_and_gives_nearly_the_same_maps(tmp_path, golden_network):
    path = tmp_path / "sample.safetensors"
    save_float16(golden_network(0), path)
    images = torch.randn(1, 3, 128, 128, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        difference = load_tracer(path).predict_saliency(images) - golden_network(
            0
        ).predict_saliency(images)

    assert path.stat().st_size <= 16_000_000
    assert difference.abs().mean() < 0.005


def test_values_too_large_for_float16_are_refused(tmp_path):
    network = Tracer(0)
    with torch.no_grad():
        network.encoder.conv_stem.weight[0] = 1e6
    with pytest.raises(CheckpointError, match=r"conv_stem\.weight.*float16"):
        save_float16(network, tmp_path / "x.safetensors")
    assert not (tmp_path / "x.safetensors").exists()


def test_digest_changes_with_a_single_value(golden_network):
    network = Tracer(0)
    network.load_state_dict(golden_network(0).state_dict())
    assert weights_digest(network) == weights_digest(golden_network(0))
    with torch.no_grad():
        network.object1.logit.bn.bias += 1e-6
    assert weights_digest(network) != weights_digest(golden_network(0))


def test_released_weights_are_downloaded_once(server, hub_cache, released_file, capsys):
    assert load_tracer("te0", base_url=server.url).scale == 0
    assert load_tracer("te0", base_url=server.url).scale == 0

    assert server.ranges == [None]
    assert (hub_cache / released_file.name).read_bytes() == released_file.read_bytes()
    assert not list(hub_cache.glob("*.part"))
    assert sha256(released_file) in capsys.readouterr().out


def test_download_that_breaks_is_continued(server, hub_cache, released_file):
    server.breaks = 2
    path = find_weights("te0", base_url=server.url)
    assert path.read_bytes() == released_file.read_bytes()
    assert server.ranges == [None, "bytes=1000000-", "bytes=2000000-"]


def test_download_that_keeps_breaking_is_continued_by_the_next_run(
    server, hub_cache, released_file
):
    server.breaks = 3
    with pytest.raises(CheckpointError, match="broke off at 3,000,000 of"):
        find_weights("te0", base_url=server.url)
    assert not (hub_cache / released_file.name).exists()

    path = find_weights("te0", base_url=server.url)
    assert path.read_bytes() == released_file.read_bytes()
    assert server.ranges[-1] == "bytes=3000000-"


def test_processes_that_download_at_once_share_one_download(server, released_file):
    threads = [
        threading.Thread(target=find_weights, args=("te0",), kwargs={"base_url": server.url})
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert server.ranges == [None]


def test_without_network_the_error_names_the_three_ways_out(hub_cache):
    with pytest.raises(CheckpointError) as caught:
        load_tracer("te1", base_url="http://127.0.0.1:9")
    message = str(caught.value)
    assert "\n" not in message
    assert str(hub_cache / "TRACER-Efficient-1.pth") in message
    assert "'sample'" in message
    assert "null" in message


def test_file_that_the_server_does_not_have_is_an_error(server):
    with pytest.raises(CheckpointError, match="404"):
        load_tracer("te1", base_url=server.url)


def test_wrong_sha256_is_refused_with_both_digests(released_file):
    digest = sha256(released_file)
    assert load_tracer(released_file, sha256=digest.upper()).scale == 0
    with pytest.raises(CheckpointError, match=f"{digest}.*{'0' * 64}"):
        load_tracer(released_file, sha256="0" * 64)


def test_weights_of_another_scale_are_named(released_file, hub_cache):
    with pytest.raises(CheckpointError, match="TE0, but TE3 was asked for"):
        load_tracer(released_file, scale=3)
    hub_cache.mkdir(parents=True)
    (hub_cache / "TRACER-Efficient-2.pth").write_bytes(released_file.read_bytes())
    with pytest.raises(CheckpointError, match="TE0, but TE2 was asked for"):
        load_tracer("te2")


@pytest.mark.parametrize("scale", range(8))
def test_scale_is_told_by_the_shapes(scale, golden_state):
    with torch.device("meta"):
        ours = Tracer(scale).state_dict()
    assert detect_scale(ours) == scale
    if scale < 3:
        assert detect_scale(golden_state(scale)) == scale


def test_checkpoint_of_another_network_is_refused_with_the_keys_that_differ(tmp_path):
    torch.save(torch.nn.Linear(2, 3).state_dict(), tmp_path / "linear.pth")
    with pytest.raises(CheckpointError) as caught:
        load_tracer(tmp_path / "linear.pth")
    message = str(caught.value)
    assert "not a TRACER checkpoint" in message
    assert "missing (encoder.conv_stem.weight, " in message
    assert "2 unexpected (weight, bias)" in message
    assert len(message) < 500


def test_one_missing_and_one_misshapen_parameter_are_named(tmp_path, golden_network):
    state = dict(golden_network(0).state_dict())
    del state["aggregation.join_fine.bn.weight"]
    state["fine.join.conv.weight"] = torch.zeros(1, 2)
    torch.save({"model": state}, tmp_path / "x.pth")
    with pytest.raises(CheckpointError, match=r"1 missing \(aggregation\.join_fine") as e:
        load_tracer(tmp_path / "x.pth")
    assert "fine.join.conv.weight (1, 2) instead of (32, 128, 3, 3)" in str(e.value)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.999])
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_truncated_file_is_refused(share, suffix, tmp_path, golden_network):
    whole, cut = tmp_path / f"whole{suffix}", tmp_path / f"cut{suffix}"
    if suffix == ".pth":
        torch.save(golden_network(0).state_dict(), whole)
    else:
        save_float16(golden_network(0), whole)
    data = whole.read_bytes()
    cut.write_bytes(data[: int(share * len(data))])
    with pytest.raises(CheckpointError, match=r"cut.*damaged") as caught:
        load_tracer(cut)
    assert "\n" not in str(caught.value)


class Payload:
    def __reduce__(self):
        return exec, ("raise SystemExit('code in a checkpoint was run')",)


def test_pickle_with_code_is_refused_and_not_run(tmp_path):
    path = tmp_path / "evil.pth"
    torch.save({"model": Payload()}, path)
    with pytest.raises(CheckpointError, match=r"evil\.pth: refused"):
        load_tracer(path)
    path.write_bytes(pickle.dumps({"model": Payload()}))
    with pytest.raises(CheckpointError, match=r"evil\.pth: not a checkpoint"):
        load_tracer(path)


@pytest.mark.parametrize("content", [[1, 2], {"a": 1}, torch.zeros(3)])
def test_file_of_something_else_is_refused(content, tmp_path):
    torch.save(content, tmp_path / "x.pth")
    with pytest.raises(CheckpointError, match="not a TRACER checkpoint"):
        load_tracer(tmp_path / "x.pth")


def test_text_file_is_refused(tmp_path):
    (tmp_path / "x.pth").write_text("hello")
    with pytest.raises(CheckpointError, match=r"x\.pth: .*damaged"):
        load_tracer(tmp_path / "x.pth")


@pytest.mark.parametrize("name", ["x.pth", "x.safetensors"])
@pytest.mark.parametrize(
    ("content", "called"),
    [
        (
            "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 9\n",
            "a Git LFS pointer",
        ),
        ("<html><title>Sign in</title></html>", "a web page"),
    ],
)
def test_what_lies_in_the_place_of_weights_is_called_that(tmp_path, name, content, called):
    (tmp_path / name).write_text(content)
    with pytest.raises(CheckpointError, match=f"{name}: {called}"):
        load_tracer(tmp_path / name)


def test_mistyped_name_gets_a_hint():
    with pytest.raises(CheckpointError, match=r"'sampel': neither a file nor a name.*'sample'"):
        load_tracer("sampel")


def test_sample_weights_load_or_are_said_to_be_missing():
    if SAMPLE.exists():
        network = load_tracer("sample")
        assert network.scale == 0 and weights_digest(network) == SAMPLE_DIGEST
        assert SAMPLE.stat().st_size <= 16_000_000
    else:
        with pytest.raises(CheckpointError, match="sample weights are missing"):
            load_tracer("sample")


class TestSampleWeights:
    def warned(self, caplog, digest, photos):
        caplog.clear()
        warn_of_sample_weights(digest, photos)
        return caplog.text

    def test_they_are_warned_of_where_the_project_did_not_draw_the_photos(self, tmp_path, caplog):
        photos = [tmp_path / "data/train/images/000001_female_Asian_30" / f"{n}.jpg" for n in "ab"]
        said = self.warned(caplog, SAMPLE_DIGEST, photos)
        assert said.count("sample weights") == 1
        assert "000001_female_Asian_30" in said and "take te1" in said
        assert not self.warned(caplog, "another", photos)
        assert not self.warned(caplog, None, photos)

    def test_the_projects_own_people_are_what_they_are_for(self, tmp_path, caplog):
        generate(tmp_path / "data", persons=1, eval_persons=1, seed=1, workers=1)
        drawn = list((tmp_path / "data").rglob("*.jpg"))
        assert len(drawn) == 14
        assert not self.warned(caplog, SAMPLE_DIGEST, drawn)
        assert self.warned(caplog, SAMPLE_DIGEST, [*drawn, tmp_path / "my" / "photo.jpg"])


def test_values_that_changed_in_a_file_without_checksums_are_noticed(tmp_path, golden_network):
    path = tmp_path / "a.safetensors"
    save_float16(golden_network(0), path)
    content = bytearray(path.read_bytes())
    content[-1000] ^= 4
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=r"a\.safetensors: damaged"):
        load_tracer(path)


@pytest.mark.parametrize("settings", [{"scale": "x"}, {"scale": 99}, {"input_size": 10**9}])
def test_settings_of_another_type_are_refused(settings, tmp_path, golden_network):
    torch.save({"model": golden_network(0).state_dict(), **settings}, tmp_path / "a.pth")
    with pytest.raises(CheckpointError, match=next(iter(settings))):
        load_tracer(tmp_path / "a.pth")
