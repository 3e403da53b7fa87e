"""Tells as JSON what ConvoKit finds in a corpus; run in a process with ConvoKit on its path."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path
from typing import Any


def told(folder: Path, beside: Path) -> dict[str, Any]:
    """Load the corpus, write it again, load that, and tell of both."""
    corpus = importlib.import_module("convokit").Corpus(filename=str(folder))
    corpus.dump("again", base_path=str(beside))
    again = importlib.import_module("convokit").Corpus(filename=str(beside / "again"))
    return {"first": _contents(corpus), "again": _contents(again)}


def _contents(corpus: Any) -> dict[str, Any]:
    return {
        "meta": dict(corpus.meta),
        "speakers": {one.id: dict(one.meta) for one in corpus.iter_speakers()},
        "conversations": {
            one.id: {
                "meta": dict(one.meta),
                "whole": one.check_integrity(verbose=False),
                "utterances": [
                    [
                        utterance.id, utterance.speaker.id, utterance.text, utterance.reply_to,
                        utterance.timestamp, dict(utterance.meta),
                    ]
                    for utterance in one.get_chronological_utterance_list()
                ],
            }
            for one in corpus.iter_conversations()
        },
    }  # fmt: skip


if __name__ == "__main__":
    corpus_folder, answer = map(Path, sys.argv[1:])  # not to stdout, where ConvoKit talks
    answer.write_text(json.dumps(told(corpus_folder, answer.parent)))
