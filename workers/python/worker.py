"""Serves text.statistics. What a job does stands here; how the worker talks to the broker stands in session.py."""

import json
import logging
import os
import platform
import signal
import threading
import uuid

from session import WORKER_ID, Sessions, now

SCHEMA = {"type": "object", "required": ["text"], "properties": {"text": {"type": "string"}}}
COUNTED = {"subject": "text.counted", "schema": {"type": "object", "required": ["words"]}}
ANNOUNCEMENT = {
    "worker_id": WORKER_ID,
    "name": "text-statistics",
    "version": "1",
    "host": platform.node(),
    "pid": os.getpid(),
    "slots": 1,
    "sdk": {"language": "python", "version": platform.python_version()},
    "content_type": "application/json",
    "types": [{"job_type": "text.statistics", "parameters_schema": SCHEMA, "emits": [COUNTED]}],
    "started_at": now(),
}


def statistics(job, text):
    """The handler: what this worker is for. It may look at `job.stop`, say how far it is, and emit events."""
    lines = text.splitlines(keepends=True)
    words = 0
    for number, line in enumerate(lines):
        if job.stop:
            return None
        words += len(line.split())
        job.percent = 100 * number // len(lines)
    if job.events_taken:
        job.emit("text.counted", {"words": words})
    return {"lines": len(lines), "words": words, "characters": len(text)}


class Job:
    """One execution of an order. Its handler has a thread of its own, so that a long job delays no heartbeat."""

    def __init__(self, order, delivery):
        self.attempt = {"job_id": order["job_id"], "attempt": order["attempt"]}
        # What every response begins with.
        self.origin = {**self.attempt, "attempt_token": order["attempt_token"]}
        self.origin |= {"execution_id": str(uuid.uuid4()), "worker_id": WORKER_ID}
        self.parameters = order["parameters"]
        self.delivery_tag = delivery.delivery_tag
        self.redelivered = delivery.redelivered
        self.began_at = now()
        self.stops_at = self.began_at + (order.get("timeout_ms") or float("inf"))
        # An order that comes again belongs to this execution only once it has said that it started.
        self.report_at = self.began_at + (0 if self.redelivered else 250)
        self.percent = 0
        self.seq = 0
        self.stop = None  # the kind of the error to end with: "cancelled", "timeout" or "malformed"
        self.response = None  # the kind and the body of the answer, once there is one
        self.events_taken = False  # whether the backend is new enough for events
        self.events = []  # what is recorded with the result
        self.outbox = []  # what is recorded at once: the message, its id, and what says that the broker has it

    def start(self):
        if self.response:
            return  # it ran before, and is answered again
        threading.Thread(target=self.run, daemon=True).start()

    def emit(self, subject, data):
        """Emits an event with the result: exactly once, or not at all if the job fails."""
        self.check_events_taken()
        self.events.append({"subject": subject, "data": data})

    def emit_now(self, id, subject, data):
        """Emits an event at once, and waits until the broker has it. Under one id it is recorded once, so say the same of
        the same thing when the job runs again."""
        self.check_events_taken()
        confirmed = threading.Event()
        body = {**self.origin, "id": id, "subject": subject, "data": data}
        json.dumps(body, allow_nan=False)  # here its error ends this job, and not the session
        self.outbox.append((body, str(uuid.uuid4()), confirmed))
        while not confirmed.wait(0.1):
            if self.stop:
                raise InterruptedError("it was stopped")

    def check_events_taken(self):
        if not self.events_taken:
            raise RuntimeError("the backend is older than events of workers: update it")

    def run(self):
        try:
            result = statistics(self, **self.parameters)
            json.dumps([result, self.events], allow_nan=False)  # JSON has neither NaN nor infinity
            kind, body = "completed", {"result": result}
            if self.events:
                body["events"] = self.events
        except Exception as error:
            kind, body = "error", {"kind": "handler", "message": repr(error), "retryable": False}
        if self.stop:
            kind, body = "error", {"kind": self.stop, "message": "it was stopped", "retryable": self.stop == "timeout"}
        if kind == "error":
            body["redelivered"] = self.redelivered
        self.response = kind, {**self.origin, **body, "started_at": self.began_at, "finished_at": now()}


if __name__ == "__main__":
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s")
    logging.getLogger("pika").setLevel(logging.CRITICAL)  # what it says of a connection that failed, we say in one line
    sessions = Sessions(ANNOUNCEMENT, Job)
    signal.signal(signal.SIGTERM, sessions.end)
    sessions.run()
