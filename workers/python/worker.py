"""Serves text.statistics: a whole worker in Python, written from proto/README.md alone.

The main thread talks to the broker; a second one runs the handler, so that a long job never delays a heartbeat.
"""
import json, os, platform, random, signal, threading, time, uuid
import pika
from pika.adapters.utils.connection_workflow import AMQPConnectorException  # no AMQPError: a handshake that nobody answered

TYPE = "text.statistics"
PREFIX = os.getenv("CREWCALL_AMQP_PREFIX", "crewcall")
WORKER_ID = str(uuid.uuid4())  # new for every process, the same over reconnections
SCHEMA = {"type": "object", "required": ["text"], "properties": {"text": {"type": "string"}}}
now = lambda: time.time_ns() // 1_000_000
ABOUT = {
    "worker_id": WORKER_ID, "name": "text-statistics", "version": "1", "host": platform.node(), "pid": os.getpid(),
    "slots": 1, "sdk": {"language": "python", "version": platform.python_version()}, "started_at": now(),
    "content_type": "application/json", "types": [{"job_type": TYPE, "parameters_schema": SCHEMA}],
}

def statistics(job, text):
    """The handler: what this worker is for."""
    lines, words = text.splitlines(keepends=True), 0
    for number, line in enumerate(lines):
        if job.stop:  # "cancelled" or "timeout"
            return None
        words += len(line.split())
        job.percent = 100 * number // len(lines)
    return {"lines": len(lines), "words": words, "characters": len(text)}

class Job:
    """One execution of an attempt, on a thread of its own."""

    def __init__(self, order, delivery):
        self.key, self.tag = (order["job_id"], order["attempt"]), delivery.delivery_tag
        self.origin = {name: order[name] for name in ("job_id", "attempt", "attempt_token")}
        self.origin |= {"execution_id": str(uuid.uuid4()), "worker_id": WORKER_ID}
        self.parameters, self.began, self.timeout = order["parameters"], now(), order.get("timeout_ms")
        self.percent, self.seq, self.answer, self.stop = 0, 0, None, None
        # An attempt that comes again belongs to this execution once it has said that it started, or failed.
        self.redelivered, self.tell_at = delivery.redelivered, now() + (0 if delivery.redelivered else 250)

    def start(self):
        if not self.answer:
            threading.Thread(target=self.run, daemon=True).start()
        return self

    def run(self):
        try:
            result = statistics(self, **self.parameters)
            json.dumps(result, allow_nan=False)  # JSON has neither NaN nor infinity
            kind, body = "completed", {"result": result}
        except Exception as error:
            kind, body = "error", {"kind": "handler", "message": repr(error), "retryable": False}
        if self.stop:
            kind, body = "error", {"kind": self.stop, "message": "it was stopped", "retryable": self.stop == "timeout"}
        if kind == "error":
            body["redelivered"] = self.redelivered
        self.answer = kind, {**self.origin, **body, "started_at": self.began, "finished_at": now()}

class Worker:
    job, concluded, draining, ending, revoked = None, None, False, False, []

    def session(self, connection):  # from one connection to its end
        self.channel, self.beat_at, self.consumer, self.welcomed = connection.channel(), 0, None, False
        self.channel.confirm_delivery()  # from now on, what is published was confirmed, or raises an error
        self.channel.basic_qos(prefetch_count=1)  # for each consumer: with two types this worker would get two orders
        self.channel.add_on_cancel_callback(self.on_queue_lost)
        if self.job:
            self.job.tag = None  # the broker has taken its order back, and brings it again
        self.control = f"{PREFIX}.worker.{WORKER_ID}.{uuid.uuid4().hex}"
        self.channel.queue_declare(self.control, exclusive=True)
        self.channel.basic_consume(self.control, self.on_control, auto_ack=True)
        while not (self.ending and not self.job):
            self.work()
            connection.process_data_events(time_limit=0.05)
        self.send("discovery", "goodbye", {"worker_id": WORKER_ID, "reason": "terminated", "handed_back": []})

    def work(self):
        if now() >= self.beat_at:
            self.beat_at = now() + 5000
            for key in (f"worker.{WORKER_ID}", f"type.{TYPE}", "all"):  # somebody may have removed a binding
                self.channel.queue_bind(self.control, f"{PREFIX}.control", key)
            if not self.welcomed:
                self.send("discovery", "announce", ABOUT)
            orders = [{"job_id": self.job.key[0], "attempt": self.job.key[1]}] if self.job else []
            status = "draining" if self.draining or self.ending else "busy" if orders else "idle"
            self.send("discovery", "heartbeat", {"worker_id": WORKER_ID, "status": status, "slots_busy": len(orders),
                                                 "orders": orders, "at": now()})
        lost = self.job and not self.job.tag  # its order is with the broker: nothing else fits into the slot
        takes = self.welcomed and not (self.draining or self.ending or lost)
        if takes and not self.consumer and not self.job:  # a new consumer gets a new order, whatever the last one brought
            self.consumer = self.channel.basic_consume(f"{PREFIX}.jobs.{TYPE}", self.on_order)
        elif self.consumer and not takes:  # an order that has not begun goes back to the queue by itself
            self.consumer = self.channel.basic_cancel(self.consumer) and None
        if self.job:
            self.follow(self.job)

    def follow(self, job):
        if job.timeout and now() > job.began + job.timeout:
            job.stop = job.stop or "timeout"
        if job.answer:
            self.send("response", *job.answer)
            if job.tag:  # without one its order comes again, here or elsewhere
                self.channel.basic_ack(job.tag)
            self.job, self.concluded = None, job
        elif now() >= job.tell_at:
            kind, job.seq, job.tell_at = "progress" if job.seq else "started", job.seq + 1, now() + 250
            news = {"kind": kind, "percent": job.percent, "seq": job.seq, "at": now()}
            self.send("response", "progression", {**job.origin, **news})

    def on_order(self, channel, delivery, _properties, body):
        try:
            order = json.loads(body)
            key, job = (order["job_id"], order["attempt"]), Job(order, delivery)
        except (ValueError, LookupError, TypeError):
            return channel.basic_reject(delivery.delivery_tag, requeue=False)
        if key in self.revoked:
            return channel.basic_ack(delivery.delivery_tag)
        if self.concluded and self.concluded.key == key:
            job, job.tag = self.concluded, delivery.delivery_tag  # it is answered again
        elif order["protocol"] > 1 or order["job_type"] != TYPE:
            job.stop = "malformed"
        self.job = job.start()

    def on_control(self, _channel, _delivery, _properties, body):
        told = json.loads(body)
        kind, key = told["kind"], (told.get("job_id"), told.get("attempt"))
        if kind == "welcome":  # it may name fewer types than were announced, or none
            self.welcomed = TYPE in told["types"]
        for refusal in told.get("refused", []):
            print(f"the backend refuses {refusal['job_type']}: {refusal['reason']}", flush=True)
        if kind == "refused":
            print(f"the backend refuses the announcement: {told['reason']}", flush=True)
        elif kind in ("cancel", "revoke"):
            if self.job and self.job.key == key:
                self.job.stop = "cancelled"
            elif kind == "revoke":
                self.revoked = [*self.revoked[-999:], key]
        elif kind in ("drain", "resume"):  # holds over reconnections
            self.draining, self.beat_at = kind == "drain", 0
        elif kind == "announce":
            self.welcomed, self.beat_at = False, 0

    def on_queue_lost(self, _frame):  # the broker ended the consumer: its queue is back with the next welcome
        self.consumer, self.welcomed, self.beat_at = None, False, 0

    def send(self, exchange, what, body):
        key, mode = f"{what}.{TYPE}" if exchange == "response" else what, 1 if what == "progression" else 2
        how = pika.BasicProperties("application/json", type=what, message_id=str(uuid.uuid4()), delivery_mode=mode)
        kept = exchange == "response" and mode == 2  # what no queue takes raises an error, and is sent again
        self.channel.basic_publish(f"{PREFIX}.{exchange}", key, json.dumps(body), how, mandatory=kept)

worker = Worker()
signal.signal(signal.SIGTERM, lambda *_: setattr(worker, "ending", True))
while not worker.ending or worker.job:
    try:
        with pika.BlockingConnection(pika.URLParameters(os.getenv("CREWCALL_AMQP_URL", "amqp://"))) as connection:
            worker.session(connection)
    except (pika.exceptions.AMQPError, AMQPConnectorException, OSError, ValueError, LookupError) as error:
        print(f"no session with the broker, trying again: {error!r}", flush=True)
        time.sleep(random.uniform(0.5, 3))
