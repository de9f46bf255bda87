"""WB-Score: the request, the reply, the figures bit for bit, bad input, and the data's download."""

import functools
import hashlib
import json
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest

from harness.benchmarks import assets as protocol_assets
from harness.benchmarks.wildbench import data, files
from harness.benchmarks.wildbench.score import macro_contributions
from harness.core.config import build, load
from harness.errors import AssetError, CheckError, InputError
from harness.evaluation.verdict_files import score_file
from harness.protocols import Benchmark
from harness.types import Answer, Reply


def row(key, score, text="an answer"):
    return {"session_id": key, "score": score, "model_output": text, "model_test": "me"}


def score_of(bench, path):
    (submission,) = score_file(bench, path)
    return submission.score


def test_the_request_is_that_of_the_batch_files(bench):
    assert isinstance(bench, Benchmark)
    request = bench.requests([Answer("s1", "mine")], [])[0]
    (message,) = request.messages
    assert message.role == "user"
    assert "USER: hello s1\n\nASSISTANT: hi\n\n" in message.content
    assert "unseen" not in message.content
    assert "<|begin_of_response|>\n\nmine\n\n<|end_of_response|>" in message.content
    # one placeholder after the other: a later one in a user's text is filled as well
    assert "now - right\n- short\n" in message.content
    assert request.parameters["response_format"] == {"type": "json_object"}


def test_texts_are_cut_at_a_number_of_pieces():
    assert data.cut("a b  c", 3) == "a b ... (truncated)"
    assert data.cut("a b c", 3) == data.cut("a b c", -1) == "a b c"
    assert not data.is_counted(data.cut("a b c", 2))


@pytest.mark.parametrize(
    ("reply", "rating"),
    [
        ('{"score": "7"}', 7),
        ('{"score": 7.5, "strengths": ""}', 7.5),
        (' {"score": "10"}\n', 10),
        ('```json\n{"score": "7"}\n```', None),
        ('{"score": "seven"}', None),
        ('{"score": "8/10"}', None),
        ('{"score": 0}', None),
        ('{"score": true}', None),
        ('{"score": NaN}', None),
        ('{"rating": 7}', None),
        ("7", None),
        ('["score"]', None),
    ],
)
def test_a_reply_is_read_as_leniently_as_upstream_and_no_further(bench, reply, rating):
    parsed = bench.parse([Reply(reply, None, "stop", "j", 1, 1)])
    assert (parsed.value if parsed else None) == rating


def test_the_published_figures_are_exact(shared):
    bench = build(load("bench", "wildbench")).model_copy(update={"assets": shared / "assets"})
    figures = list(bench.published())
    assert len(figures) >= 33
    assert all(figure.recomputed == figure.published for figure in figures)


def test_the_figures_by_group(bench, write):
    rows = [row("s1", "9"), row("s2", "3"), row("s3", "1", "")]
    score = score_of(bench, write(rows))
    values = {name: estimate.value for name, estimate in score.estimates.items()}
    # (13/3 - 5) x 20; s3 is empty: in the mean, and in no group
    assert values["wb_score"] == pytest.approx((13 / 3 - 5) * 20)
    assert values["math_and_data_analysis"] == values["planning_and_reasoning"] == 80
    assert values["creative_tasks"] == -40
    assert "coding_and_debugging" not in values
    # (80 x 1 + 80 x 1.25 - 40 x 0.5) / 4.75, a missing group included
    assert values["task_macro"] == pytest.approx(160 / 4.75)
    for metric in ("wb_score", "task_macro"):
        items = [item[metric] for item in score.items]
        assert sum(items) / len(items) == pytest.approx(values[metric])
    assert score.counts["empty_or_cut"] == 1


def test_contributions_have_the_weighted_mean():
    groups = {"a": ("Creative Tasks",), "b": ("Creative Tasks", "Math & Data Analysis"), "c": ()}
    values = {"a": 1.0, "b": 4.0, "c": 9.0}
    contributions = macro_contributions(values, groups, frozenset("ab"))
    assert sum(contributions.values()) / 3 == pytest.approx((2.5 * 0.5 + 4 * 1) / 4.75)
    assert contributions["c"] == pytest.approx(5.25 / 4.75)


def test_what_does_not_count_is_reported(bench, write):
    rows = [row("s1", "9"), row("s1", "5"), row("s2", "seven"), row("s3", None)]
    score = score_of(bench, write(rows))
    assert {k: score.counts[k] for k in ("asked", "judged", "unparsed", "repeats")} == {
        "asked": 3,
        "judged": 1,
        "unparsed": 2,
        "repeats": 1,
    }
    assert score.estimates["wb_score"].value == 0
    assert "2 of 3 ratings could not be parsed and are excluded" in score.notes
    assert any("last of each conversation" in note for note in score.notes)
    with pytest.raises(CheckError, match="no rating of me could be parsed"):
        score_of(bench, write([row("s1", "x")]))


def test_without_the_conversations_there_are_no_groups(bench, write, tmp_path):
    bare = bench.model_copy(update={"assets": tmp_path})
    score = score_of(bare, write([row("s1", "9")]))
    assert set(score.estimates) == {"wb_score"}
    assert any("no task groups" in note for note in score.notes)
    with pytest.raises(AssetError, match="harness assets pull wildbench"):
        bare.prompts()


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "empty list"),
        ([{"score": "1"}], "no 'session_id'"),
        ([{"session_id": "s1", "winner": "tie"}], "wildbench-pairwise"),
        ({"a": 1}, "no 'session_id'"),
    ],
)
def test_a_file_that_does_not_fit_is_refused(bench, write, rows, message):
    with pytest.raises(InputError, match=message):
        bench.read_verdicts(write(rows))


def test_a_file_that_is_cut_off_is_refused(bench, tmp_path):
    path = tmp_path / "me.json"
    path.write_text('[{"session_id": "s1", "score": "9"}, {"sess')
    with pytest.raises(InputError, match="is not JSON.*cut off"):
        bench.read_verdicts(path)


def test_ratings_go_out_and_come_in_again(bench, write):
    path = write([row("s1", "9"), row("s2", "x")], "eval=gpt-4o/me.json")
    (graded,) = bench.read_verdicts(path)
    assert graded.judge == "gpt-4o"
    ((name, text),) = bench.files(graded).items()
    (again,) = bench.read_verdicts(write(json.loads(text), name))
    assert [v.parsed for v in again.verdicts] == [v.parsed for v in graded.verdicts]
    assert again.answers == graded.answers


def test_answers_are_read(bench, write):
    rows = [{"session_id": "s1", "output": ["a"], "generator": "me"}]
    assert bench.read_answers(write(rows))[0].answers == (Answer("s1", "a"),)
    with pytest.raises(InputError, match="answered twice"):
        bench.read_answers(write(rows * 2))
    with pytest.raises(InputError, match="row 0"):
        bench.read_answers(write([{"session_id": "s1", "output": None}]))


@pytest.fixture
def hub(tmp_path, shared, monkeypatch):
    """A local copy of the hub's file and of the templates; conversations are made up."""
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    folder = tmp_path / "hub" / "wildbench"
    folder.mkdir(parents=True)
    ids = (shared / "assets/wildbench/session_ids.txt").read_text().split()
    rows = [
        {
            "session_id": key,
            "conversation_input": [{"role": "user", "content": "?", "language": "English"}],
            "checklist": ["c"],
            "primary_tag": "Math",
            "secondary_tags": ["Others"],
            "references": None,
        }
        for key in ids
    ]
    table = folder / "test-00000-of-00001.parquet"
    parquet.write_table(pyarrow.Table.from_pylist(rows), table)
    protocol = json.loads((shared / "assets/wildbench/protocol.json").read_text())
    for kind, (name, _) in data.TEMPLATES.items():
        (folder / name).write_text(protocol[kind]["template"])
    handler = functools.partial(Quiet, directory=str(folder.parent))
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    address = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setenv(protocol_assets.MIRROR_VARIABLE, address)
    yield folder
    server.shutdown()
    server.server_close()
    thread.join()


def test_the_protocol_data_is_pulled_and_checked(hub, tmp_path, bench):
    target = tmp_path / "pulled"
    paths = protocol_assets.pull(["wildbench"], target)
    assert [path.name for path in paths] == ["tasks.json", *(n for n, _ in data.TEMPLATES.values())]
    pulled = bench.model_copy(update={"assets": target})
    assert len(pulled.prompts()) == data.COUNT
    assert pulled.prompts()[0].meta["groups"] == "Math & Data Analysis|Creative Tasks"
    assert hashlib.sha256(data.load_template("score", target).encode()).hexdigest().startswith("c5")


@pytest.mark.parametrize(
    ("change", "message"), [("rows", "are not WildBench v2's"), ("text", "no Parquet")]
)
def test_other_conversations_are_refused(hub, tmp_path, change, message):
    import pyarrow.parquet

    path = hub / "test-00000-of-00001.parquet"
    if change == "rows":
        pyarrow.parquet.write_table(pyarrow.parquet.read_table(path).slice(1), path)
    else:
        path.write_text("[]")
    with pytest.raises(AssetError, match=message):
        protocol_assets.pull(["wildbench"], tmp_path / "pulled")
    assert not list((tmp_path / "pulled").rglob("tasks.json"))


def test_a_template_that_was_changed_is_refused(assets):
    (assets / data.FOLDER / data.TEMPLATES["score"][0]).write_text("rate it")
    with pytest.raises(AssetError, match="not the published template"):
        data.load_template("score", assets)


def test_scores_in_the_parsed_reply_are_read():
    parsed = {"session_id": "s1", "parsed_result": {"score": "4"}}
    assert files.read_score(files._score(parsed)).value == 4
