"""The CI files are valid, bounded, safe, and call commands and options that exist."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from fcos_lib.cli.main import build_parser
from tests.prepared import outer_environment

ROOT = Path(__file__).parents[2]
GITHUB = [".github/workflows/cpu.yml", ".github/workflows/device.yml"]
GITLAB = ".gitlab-ci.yml"


def load(name):
    """A CI file as its parser sees it."""
    return yaml.safe_load((ROOT / name).read_text(encoding="utf-8"))


def github_jobs():
    """(file, job's name, job) of both workflows."""
    return [(name, job, content) for name in GITHUB for job, content in load(name)["jobs"].items()]


def gitlab_jobs():
    """GitLab's jobs with what they extend merged in, by name."""
    document = load(GITLAB)

    def whole(name):
        job = document[name]
        bases = job.get("extends", [])
        merged = {}
        for base in [bases] if isinstance(bases, str) else bases:
            merged |= whole(base)
        return merged | job

    skipped = {"stages", "variables"}
    return {name: whole(name) for name in document if name not in skipped and not name.startswith(".")}


def scripts():
    """Every line of shell in all files, continuation lines joined."""
    texts = [step["run"] for _, _, job in github_jobs() for step in job["steps"] if "run" in step]
    for job in gitlab_jobs().values():
        texts += [*job.get("before_script", []), *job["script"], *job.get("after_script", [])]
    return [line for text in texts for line in text.replace("\\\n", " ").splitlines()]


def words_after(program):
    """The arguments of each call of a program in the CI files."""
    calls = [shlex.split(line, comments=True) for line in scripts()]
    return [words[index + 1 :] for words in calls for index, word in enumerate(words) if word == program]


@pytest.mark.parametrize(
    ("schema", "name"),
    [("vendor.github-workflows", GITHUB[0]), ("vendor.github-workflows", GITHUB[1]), ("vendor.gitlab-ci", GITLAB)],
    ids=["cpu", "device", "gitlab"],
)
def test_a_ci_file_keeps_to_its_published_schema(schema, name):
    """The schemas of GitHub and GitLab, as check-jsonschema brings them; nothing is downloaded."""
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", schema, str(ROOT / name)]
    command += ["--data-transform", "gitlab-ci"] * (name == GITLAB)
    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


def test_every_github_job_has_a_time_limit():
    """The default of six hours keeps a hung device for a night."""
    unlimited = [f"{name}: {job}" for name, job, content in github_jobs() if not content.get("timeout-minutes")]
    assert not unlimited, f"jobs without a time limit: {unlimited}"


@pytest.mark.parametrize("name", GITHUB)
def test_a_workflow_may_only_read(name):
    """Nothing here writes to the repository."""
    assert load(name)["permissions"] == {"contents": "read"}
    assert all("permissions" not in job for job in load(name)["jobs"].values())


def test_actions_are_pinned_to_a_release():
    """`v5` moves, `v5.0.0` should not."""
    used = [step["uses"] for _, _, job in github_jobs() for step in job["steps"] if "uses" in step]
    assert used
    assert [action for action in used if not re.fullmatch(r"actions/[\w-]+@v\d+\.\d+\.\d+", action)] == []


def test_no_expression_is_pasted_into_a_script():
    """`${{ }}` inside of `run` is how a branch's name becomes a command."""
    assert [line for line in scripts() if "${{" in line] == []


def test_results_are_uploaded_from_red_jobs_too():
    """That is when they are needed."""
    uploads = [
        (name, job, step)
        for name, job, content in github_jobs()
        for step in content["steps"]
        if step.get("uses", "").startswith("actions/upload-artifact@")
    ]
    assert {job for _, job, _ in uploads} == {job for _, job, _ in github_jobs()} - {"check"}
    assert [job for _, job, step in uploads if step.get("if") != "always()"] == []
    hidden = [step["with"] for _, _, step in uploads if step["with"]["path"].startswith(".")]
    assert all(content.get("include-hidden-files") for content in hidden), "upload-artifact passes over .artifacts"


def test_the_device_workflow_never_runs_a_strangers_code():
    """A self-hosted runner with `pull_request` would."""
    triggers = load(GITHUB[1])[True]  # YAML 1.1 reads `on` as true
    assert set(triggers) == {"schedule", "workflow_dispatch"}


def test_the_device_is_used_by_one_run_at_a_time():
    """A later run waits; it does not cancel one that measures."""
    document = load(GITHUB[1])
    assert document["concurrency"]["cancel-in-progress"] is False
    assert {tuple(job["runs-on"]) for job in document["jobs"].values()} == {("self-hosted", "linux", "ascend-310p")}
    assert [document["jobs"][job].get("needs") for job in ("build", "accuracy", "throughput")] == [
        None,
        "build",
        "accuracy",
    ]


def test_gitlabs_device_jobs_hold_a_lock_and_keep_their_results():
    """The same promises in GitLab's words."""
    jobs = {name: job for name, job in gitlab_jobs().items() if name.startswith("device ")}
    assert list(jobs) == ["device build", "device accuracy", "device throughput"]
    for job in jobs.values():
        assert job["resource_group"] == "ascend-310p"
        assert job["interruptible"] is False
        assert job["timeout"]
        assert job["artifacts"]["when"] == "always"
        assert job["artifacts"]["reports"] == {"junit": "results/junit.xml"}
        assert "$CI_DEFAULT_BRANCH" in job["rules"][0]["if"]


@pytest.mark.parametrize("name", [GITHUB[1], GITLAB])
def test_a_device_run_requires_the_device_and_a_baseline(name):
    """On a runner that lost its NPU the emulator must not take its place, nor silence that of a comparison."""
    text = (ROOT / name).read_text(encoding="utf-8").replace("\\\n", " ")
    calls = [words for words in words_after(".venv/bin/pytest") if "--build-only" in words or "--dataset" in words]
    assert len(calls) == 6, "three jobs in each of two files"
    assert all(words[words.index("--npu") + 1] == "required" for words in calls)
    assert text.count("--require-baseline") == 1


def test_every_option_of_pytest_exists():
    """Ours and those of plugins, as `pytest --help` lists them."""
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--help"],
        cwd=ROOT, capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    known = set(re.findall(r"(?<![\w-])--[\w-]+", result.stdout)) | {"-m", "-n"}
    used = {word.partition("=")[0] for words in words_after(".venv/bin/pytest") for word in words if word[0] == "-"}
    assert "--npu" in used
    assert used - known == set()


def test_every_marker_and_path_exists():
    """A marker that nobody has selects nothing."""
    known = set(re.findall(r"^    (\w+): ", (ROOT / "pytest.ini").read_text(encoding="utf-8"), re.MULTILINE))
    calls = words_after(".venv/bin/pytest")
    markers = {word for words in calls if "-m" in words for word in re.findall(r"\w+", words[words.index("-m") + 1])}
    assert not {"accuracy", "throughput"} - markers, f"the CI files select by {markers} alone"
    assert markers - known - {"or", "and", "not"} == set()
    paths = {word for words in calls for word in words if word.startswith("tests/")}
    assert [path for path in paths if not (ROOT / path).is_dir()] == []


def test_every_verb_and_target_exists():
    """`python -m fcos_lib VERB` and `make TARGET`."""
    (verbs,) = [action.choices for action in build_parser()._actions if action.dest == "verb"]
    used = {words[words.index("fcos_lib") + 1] for words in words_after(".venv/bin/python")}
    assert used
    assert used - set(verbs) == set()
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8").replace("$(READY)", ".venv/.ready")
    targets = {target for words in words_after("make") for target in words}
    assert [target for target in targets if not re.search(rf"^{re.escape(target)}:", makefile, re.MULTILINE)] == []


def test_nothing_is_compiled_anew_at_each_start(monkeypatch):
    """Images set PYTHONDONTWRITEBYTECODE; each of a thousand starts of a run then compiled the project, half a second each."""
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    asked = [
        "make",
        "-C",
        str(ROOT),
        "--no-print-directory",
        "--eval=probe:; @echo [$$PYTHONDONTWRITEBYTECODE]",
        "probe",
    ]
    done = subprocess.run(asked, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n", "make hands it on"
    assert "\nunset PYTHONDONTWRITEBYTECODE" in (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    assert "PYTHONDONTWRITEBYTECODE" not in outer_environment()
