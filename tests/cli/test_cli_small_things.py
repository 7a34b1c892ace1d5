"""What new users tripped over: each of it said, refused, or done."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest
from cli_helpers import TINY, Command, write

import seqloom
from seqloom.errors import ConfigError
from seqloom.run import open_run

WORDS = [f"{a}{b}\t{b.upper()}" for a in "abcdef" for b in "abcdef"]


def test_curves_show_the_few_that_matter(run: Path, tmp_path: Path, cli: Command) -> None:
    def panels(*options: str) -> list[str]:
        done = cli("curves", run, "-o", tmp_path / "curves.svg", *options)
        assert done.code == 0, done.err
        root = ElementTree.fromstring((tmp_path / "curves.svg").read_text(encoding="utf-8"))
        said.append(done.err)
        return ["".join(text.itertext()) for text in root.iter("{http://www.w3.org/2000/svg}text")
                if text.get("font-size") == "12.5"]

    said: list[str] = []
    few, everything = panels(), panels("--all")
    assert {"loss", "token accuracy"} <= set(few)
    assert len(few) <= 8 < len(everything)
    assert set(few) < set(everything)
    assert "tokens_per_second" in said[0]
    assert "--all draws them too" in said[0]
    assert "not drawn" not in said[1]
    cli("curves", run, "-o", tmp_path / "c.svg", "--all", "--keys", "bleu").explained("--keys and --all are both given")


def test_an_output_in_a_missing_folder_is_refused_and_an_older_one_said(run: Path, tmp_path: Path,
                                                                        cli: Command) -> None:
    inputs = write(tmp_path / "in.txt", "ab")
    done = cli("predict", run, inputs, "-o", tmp_path / "new" / "out.txt")
    done.explained("there is no folder", "mkdir -p")
    assert done.code == 2
    assert not (tmp_path / "new").exists()
    done = cli("predict", run, inputs, "-o", tmp_path / "out.txt")
    assert done.code == 0, done.err
    assert "written over" not in done.err
    size = (tmp_path / "out.txt").stat().st_size
    assert f"out.txt was there already ({size} bytes) and is written over" in cli(
        "predict", run, inputs, "-o", tmp_path / "out.txt").err


def test_a_first_line_of_a_csv_file_that_may_be_an_example_is_named(tmp_path: Path, cli: Command) -> None:
    rows = [word.replace("\t", ",") for word in WORDS]
    bare = write(tmp_path / "bare.csv", *rows)
    done = cli("doctor", bare)
    assert (f"note: {bare}: its first line is the header and no example ('aa', 'A'); if it is an example, put a header "
            "above it: source,target") in done.err
    named = write(tmp_path / "named.csv", "source,target", *rows)
    assert "header" not in cli("doctor", named).err
    other = write(tmp_path / "other.csv", "word,sound", *rows)
    assert "header" not in cli("doctor", other, "--set", "data.columns={source: word, target: sound}").err
    assert "note:" in cli("doctor", other).err
    out = seqloom.train(other, out=tmp_path / "run", overrides=[one for one in TINY if "=" in one])
    assert f"{bare}: its first line is the header" in cli("evaluate", out, bare).err


def test_the_advice_for_tags_leaves_words_whole(tmp_path: Path, cli: Command) -> None:
    train = write(tmp_path / "train.tsv", *(f"w{number} w{number + 1}\tX Y" for number in range(30)))
    valid = write(tmp_path / "valid.tsv", *(f"v{number} w1\tX Y" for number in range(10)))
    done = cli("doctor", train, "--valid", valid, "--set", "head=tags", "--set", "source.tokenizer=word")
    assert "source.characters={}" in done.out
    assert "tokenizer=character" not in done.out
    plain = cli("doctor", train, "--valid", valid, "--set", "source.tokenizer=word").out
    assert "--set source.tokenizer=character" in plain


def test_python_takes_the_options_of_training(tmp_path: Path) -> None:
    data = write(tmp_path / "data.tsv", *WORDS)
    tiny = [one for one in TINY if "=" in one and "epochs" not in one and "max_steps" not in one]
    made = seqloom.train(data, out=tmp_path / "run", epochs=1, batch_size=8, seed=5, overrides=tiny)
    options = open_run(made).config.training
    assert (options.epochs, options.batch_size, options.seed) == (1, 8, 5)
    assert open_run(made).metrics()[-1]["epoch"] == 1
    further = seqloom.finetune(made, data, out=tmp_path / "more", max_steps=2)
    assert open_run(further).config.training.max_steps == 2
    with pytest.raises(ConfigError, match=r"training\.epoch.*(?s:.*)epochs"):
        seqloom.train(data, out=tmp_path / "x", epoch=1)


def test_completion_shows_the_public_names() -> None:
    assert set(dir(seqloom)) == set(seqloom.__all__)
    assert {"train", "load", "finetune", "evaluate", "doctor"} <= set(dir(seqloom))
