"""The command line: help and an example that runs for every command, exit codes, silence."""

import re
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import yaml
from typer.main import get_command

from lead_propensity import cli
from lead_propensity.data.simulate import simulate, write

COMMANDS = sorted(get_command(cli.app).commands)  # type: ignore[attr-defined]
Run = Callable[..., tuple[int, str, str]]
"""Called with a command line; gives exit code, what was printed, and what went to stderr."""
FEW = " ".join(
    f"--set {one}"
    for one in (
        "model.trials=1",
        "model.backtest_periods=0",
        "model.refit=never",
        "engine.threads=1",
    )
)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a small CRM export, its config and rules."""
    folder = tmp_path_factory.mktemp("cli") / "world"
    write(simulate(1_000, seed=1), folder)
    return folder


@pytest.fixture(scope="module")
def trained(world: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder, made by the command line."""
    folder = tmp_path_factory.mktemp("cli") / "run"
    line = f"train {world}/config.yaml --out {folder} {FEW} --quiet"
    cli.app(shlex.split(line), standalone_mode=False)
    return folder


def test_help_lists_every_command(command_line: Run) -> None:
    code, out, _ = command_line("--help")
    assert code == 0
    assert {"check", "features", "train", "score", "simulate", "demo"} <= set(COMMANDS)
    assert all(re.search(rf"^\W*{name} ", out, re.MULTILINE) for name in COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_with_an_example(name: str, command_line: Run) -> None:
    code, out, _ = command_line(f"{name} --help")
    assert code == 0
    assert f"Example: lead-propensity {name} " in out
    assert "--quiet" in out


def example(name: str, world: Path, run_folder: Path, out: Path) -> str:
    """The example line of a command's help, with our small world in the place of its files."""
    command = get_command(cli.app).commands[name]  # type: ignore[attr-defined]
    found = re.search(r"`lead-propensity (.*)`", command.epilog or "")
    assert found is not None
    line = re.sub(r"\S+\.yaml", f"{world}/config.yaml", found[1])
    line = line.replace("models/bpic2012/RUN", str(run_folder))
    if "models/bpic2012/OTHER" in line:
        line = line.replace(
            "models/bpic2012/OTHER", str(shutil.copytree(run_folder, out / "other"))
        )
    line = re.sub(r"--leads \d+", "--leads 1000", line)
    line = re.sub(r"--out (\S+)", rf"--out {out}/\1", line)
    if name == "promote":
        line += " --force --reason 'an example'"  # the world is too small for the gate
    if name == "forget":
        (out / "gone.txt").write_text("L7\n")
        pd.DataFrame({"lead_id": ["L7"]}).to_parquet(out / "scores.parquet")
        line = re.sub(r"(gone\.txt|scores\.parquet)", rf"{out}/\1", line)
        line = line.replace("--in models", f"--in {run_folder}")
    if name == "monitor":
        line = line.replace("--scores ", f"--scores {out}/") + f" --model {run_folder}"
    if name in ("train", "demo"):
        line += f" --out {out}/run {FEW}"
    return line


LATER = ("rollback", "recalibrate")
"""One needs two champions, the other deals that matured since: test_promotion.py, test_recalibrating.py."""


@pytest.mark.parametrize("name", [name for name in COMMANDS if name not in LATER])
def test_the_example_of_every_command_runs(
    name: str, command_line: Run, world: Path, trained: Path, tmp_path: Path
) -> None:
    if name == "monitor":
        line = f"score {world}/config.yaml --model {trained} --out {tmp_path}/scores/"
        assert command_line(line)[0] == 0
    code, out, err = command_line(example(name, world, trained, tmp_path))
    assert (code, "Traceback" in err) == (0, False)
    assert out.strip()


def test_check_shows_counts_findings_and_the_end_of_the_data(
    command_line: Run, world: Path, tmp_path: Path
) -> None:
    code, out, _ = command_line(f"check {world}/config.yaml --out {tmp_path}/q")
    assert code == 0
    assert "set aside: deals.closed_at: deal before creation: " in out
    assert "The data ends at 2025-12-31T00:00:00+00:00 (declared: data.exported_at)." in out
    assert "The data keeps its contract." in out
    reasons = pd.read_parquet(tmp_path / "q" / "deals.parquet")["reason"]
    assert "second deal" in set(reasons)


@pytest.mark.parametrize("command", ["check {config}", "simulate --leads 100 --out {out}/w",
                                     "features {config} --out {out}/f.parquet",
                                     "report {run} --out {out}/r.html",
                                     "score {config} --model {run} --out {out}/s.csv"])  # fmt: skip
def test_quiet_prints_nothing(
    command: str, command_line: Run, world: Path, trained: Path, tmp_path: Path
) -> None:
    line = command.format(config=world / "config.yaml", out=tmp_path, run=trained)
    assert command_line(f"{line} --quiet") == (0, "", "")


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("check {config} --set modle.trials=1", "did you mean `model`?"),
        ("check nowhere.yaml", "nowhere.yaml: no such file"),
        ("check {config} --set data.leads.path=gone.csv", "declared data is not there"),
        ("check {config} --set data.leads.columns.created_at=creatd", "did you mean 'created_at'?"),
        ("check {config} --set data.max_quarantine_share=0", "break the contract"),
        ("check {config} --set data.exported_at=2025-06-01T00:00:00Z", "after data.exported_at: is that still right?"),
        ("check {config} --set data.deals.won=[Yes]", "unquoted"),
        ("check {config} --set data.deals.won=[gone] --set data.max_quarantine_share=1", "at least one that was won"),
        ("features {config} --out {out}/f.xlsx", "ends in '.xlsx'"),
        ("features {config} --out {config}/f.csv", "cannot be written"),
        ("train {config} --out {run}", "is not an empty folder"),
        ("score {config} --model {run} --out {out}/s.txt", "ends in '.txt'"),
        ("score {config} --model {out}/none --out {out}/s.csv", "none"),
        ("score {config} --model {run} --out {out}/s.csv --input x.csv", "--input is for rows as exported"),
        ("score {config} --model {run} --out {out}/s.csv --as-of never", "--as-of"),
        ("report {out}", "is no run: scorecard.json and test_predictions.parquet not found"),
        ("report {out}/none", "no such folder"),
        ("report {run} --out {config}/r.html", "cannot be written"),
        ("compare {run} {out}", "is no run"),
        ("compare {run} {run}", "are the same run"),
        ("simulate --leads 5 --out {out}/w", "--leads"),
        ("nonsense", "No such command"),
    ],
)  # fmt: skip
def test_bad_config_data_or_arguments_end_with_2(
    line: str, says: str, command_line: Run, world: Path, trained: Path, tmp_path: Path
) -> None:
    code, _, err = command_line(
        line.format(config=world / "config.yaml", out=tmp_path, run=trained)
    )
    assert code == 2
    assert says in err
    assert "Traceback" not in err


def test_a_report_made_again_says_whether_its_figures_are_the_stored_ones(
    command_line: Run, trained: Path, tmp_path: Path
) -> None:
    folder = Path(shutil.copytree(trained, tmp_path / "run"))
    page = (folder / "report.html").read_bytes()
    code, out, _ = command_line(f"report {folder}")
    assert (code, "figures computed again: all are the stored ones" in out) == (0, True)
    assert (folder / "report.html").read_bytes() == page
    table = pd.read_parquet(folder / "test_predictions.parquet")
    table["probability"] = table["probability"].clip(upper=0.5) * 0.9
    table.to_parquet(folder / "test_predictions.parquet")
    code, _, err = command_line(f"report {folder}")
    assert (code, "changed after the run" in err) == (2, True)
    code, out, _ = command_line(f"report {folder} --accept --out {tmp_path}/r.html")
    assert (code, "are not the stored ones" in out) == (0, True)
    code, out, _ = command_line(f"compare {trained} {folder} --out {tmp_path}/c.html")
    assert (code, "Both are judged on the same" in out, "A minus B" in out) == (0, True, True)
    assert "<h1>Two runs side by side</h1>" in (tmp_path / "c.html").read_text(encoding="utf-8")


def test_score_without_an_open_lead_writes_a_table_without_rows(
    command_line: Run, world: Path, trained: Path, tmp_path: Path
) -> None:
    out = tmp_path / "s.parquet"
    line = f"score {world}/config.yaml --model {trained} --out {out} --as-of 1990-01-01"
    code, printed, _ = command_line(line)
    assert (code, "No open lead to score" in printed) == (0, True)
    empty = pd.read_parquet(out)
    _, printed, _ = command_line(line.split(" --as-of")[0])
    assert re.search(
        r"^set aside: leads [\d,]+ of [\d,]+ rows \(.*conflicting duplicate", printed, re.M
    )
    full = pd.read_parquet(out)
    assert (len(empty), list(empty.columns)) == (0, list(full.columns))
    assert len(full) > 0


@pytest.fixture(scope="module")
def leads_as_exported(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with rows as exported, 600 with an outcome, and new rows that have none."""
    folder = tmp_path_factory.mktemp("cli") / "exported"
    folder.mkdir()
    rows = pd.DataFrame({"id": range(600), "visits": [n % 7 for n in range(600)]})
    rows["size"] = [("small", "large")[n % 2] for n in range(600)]
    rows["won"] = [int(n % 7 > 3 or n % 11 == 0) for n in range(600)]
    rows.to_csv(folder / "x.csv", index=False)
    rows.drop(columns="won").head(9).to_csv(folder / "new.csv", index=False)
    exported = {"path": "x.csv", "outcome": "won", "won": 1, "columns": {"lead_id": "id"}}
    config = {"name": "x", "data": {"exported": exported}, "model": {"trials": 1}}
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    return folder


def test_a_file_takes_the_place_of_the_one_that_a_query_reads(
    command_line: Run, leads_as_exported: Path, tmp_path: Path
) -> None:
    tree = yaml.safe_load((leads_as_exported / "config.yaml").read_text())
    query = {"path": None, "sql": "SELECT * FROM rows", "exclude": ["sure_sign"]}
    tree["data"]["exported"].update(query)
    tree["data"]["raw"] = {"rows": "old.csv"}
    rows = pd.read_csv(leads_as_exported / "x.csv")
    rows.assign(sure_sign=rows["won"]).to_csv(tmp_path / "old.csv", index=False)
    config, out = tmp_path / "config.yaml", tmp_path / "s.csv"
    config.write_text(yaml.safe_dump(tree))
    assert (
        command_line(f"train {config} --out {tmp_path}/run --quiet --set engine.threads=1")[0] == 0
    )
    score = f"score {config} --model {tmp_path}/run --out {out} --input {leads_as_exported}/new.csv"
    code, printed, err = command_line(score)
    assert (code, "9 leads scored" in printed) == (0, True), err
    assert pd.read_csv(out)["lead_id"].tolist() == list(range(9))
    code, _, err = command_line(f"{score} --set data.raw.more=old.csv")
    assert (code, "--set data.raw.rows=" in err, "--set data.raw.more=" in err) == (2, True, True)


def test_rows_as_exported_are_scored_from_a_file_without_outcomes(
    command_line: Run, leads_as_exported: Path, tmp_path: Path
) -> None:
    config, out = leads_as_exported / "config.yaml", tmp_path / "s.csv"
    assert (
        command_line(f"train {config} --out {tmp_path}/run --quiet --set engine.threads=1")[0] == 0
    )
    score = f"score {config} --model {tmp_path}/run --out {out}"
    code, printed, _ = command_line(score)
    assert (code, "No open lead to score" in printed, len(pd.read_csv(out))) == (0, True, 0)
    code, printed, _ = command_line(f"{score} --input {leads_as_exported}/new.csv")
    assert (code, "9 leads scored" in printed) == (0, True)
    assert pd.read_csv(out)["lead_id"].tolist() == list(range(9))
    code, _, err = command_line(f"{score} --as-of 2025-01-01")
    assert (code, "no history" in err) == (2, True)
