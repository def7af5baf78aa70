#!/usr/bin/env python3
"""OpenVINO GenAI behind a pipe: one JSON request a line on stdin, one JSON answer a line on stdout.

{"open": {"name": C, "file": F, "threads": T}, "as": K} -> {"opened": K}
{"run": {"prompt": [ids], "new": N}, "as": K} -> {"first_s": s, "rest_s": [s, ...], "ids": [...]}
{"close": K} -> {"closed": K}

K is any name for a pipeline, C its configuration: "stateful" (one graph with its cache as state),
"paged" (continuous batching, its default chunks) or "paged, whole prompts" (the same, with prompts
in one chunk). Keys and values are u8 by default in all of them. An answer of {"error": text} is the
library's own message. Needs openvino-genai (pip install openvino-genai openvino-tokenizers).
"""
import json
import os
import sys

import numpy
import openvino
import openvino_genai

WHOLE_PROMPT = 1 << 16  # tokens of one chunk: more than any test has
CACHE_GB = 1            # of the paged cache: 8,192 tokens of an 8B model in u8


def scheduler(whole):
    config = openvino_genai.SchedulerConfig()
    config.enable_prefix_caching = False  # the same prompt comes again, and is to be read again
    config.cache_size = CACHE_GB
    if whole:
        config.max_num_batched_tokens = WHOLE_PROMPT
    return config


def open_pipeline(name, file, threads):
    options = {"INFERENCE_NUM_THREADS": threads}
    if name == "stateful":
        options["ATTENTION_BACKEND"] = "SDPA"
    else:
        options["ATTENTION_BACKEND"] = "PA"
        options["scheduler_config"] = scheduler(name == "paged, whole prompts")
    return openvino_genai.LLMPipeline(file, "CPU", **options)


def run(pipeline, prompt, new):
    config = openvino_genai.GenerationConfig()
    config.max_new_tokens = new
    config.ignore_eos = True
    config.do_sample = False
    config.apply_chat_template = False
    result = pipeline.generate(openvino.Tensor(numpy.array([prompt], dtype=numpy.int64)), config)
    raw = result.perf_metrics.raw_metrics
    times = list(raw.m_new_token_times)  # milliseconds of one clock, a token each
    return {"first_s": raw.m_times_to_first_token[0] * 1e-6,  # kept in microseconds
            "rest_s": [(after - before) * 1e-3 for before, after in zip(times, times[1:])],
            "ids": [int(token) for token in result.tokens[0]]}


def answer(pipelines, request):
    if "close" in request:
        pipelines.pop(request["close"], None)
        return {"closed": request["close"]}
    name = request["as"]
    if "open" in request:
        pipelines[name] = open_pipeline(**request["open"])
        return {"opened": name}
    return run(pipelines[name], **request["run"])


def main():
    # The libraries print what they like; answers have a pipe of their own.
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    pipelines = {}
    for line in sys.stdin:
        try:
            reply = answer(pipelines, json.loads(line))
        except Exception as problem:  # whatever it refuses is the answer
            reply = {"error": " ".join(str(problem).split())}
        print(json.dumps(reply), file=answers)


if __name__ == "__main__":
    main()
