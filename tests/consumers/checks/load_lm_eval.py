"""Evaluates a task folder with lm-eval and a real (random) model. Run by its own Python: FOLDER MODEL OUT TASK."""

import json
import sys
from importlib.metadata import version
from pathlib import Path

import lm_eval
from lm_eval.tasks import TaskManager

if __name__ == "__main__":
    folder, model, out, name = sys.argv[1], sys.argv[2], Path(sys.argv[3]), sys.argv[4]
    tasks = TaskManager(include_path=folder, include_defaults=False)
    arguments = {"pretrained": model, "dtype": "float32"}
    told = lm_eval.simple_evaluate(
        model="hf", model_args=arguments, tasks=[name], task_manager=tasks, limit=4, device="cpu", log_samples=True
    )
    samples = [{"prompt": each["arguments"][0][0], "target": each["target"]} for each in told["samples"][name]]
    out.write_text(json.dumps({"version": version("lm_eval"), "results": told["results"][name], "samples": samples}))
