"""How a worker talks to the broker, after proto/README.md. One job at a time; everything here is on one thread."""

import json
import logging
import os
import random
import signal
import time
import uuid

import pika
from pika.adapters.utils.connection_workflow import AMQPConnectorException

PREFIX = os.getenv("CREWCALL_AMQP_PREFIX", "crewcall")
REVOKED_MAX = 3_000  # how many attempts that nobody wants any more are remembered: a welcome may name 2 000
SILENCE_MAX = 20  # seconds: pika itself waits for what the broker has to answer for ever
WORKER_ID = str(uuid.uuid4())  # new for every process, the same over reconnections


def now():
    return time.time_ns() // 1_000_000


class Sessions:
    """One session with the broker after the other, and what outlives them."""

    def __init__(self, announcement, make_job):
        self.announcement = announcement
        self.job_type = announcement["types"][0]["job_type"]
        self.make_job = make_job
        self.job = self.answered = None  # what runs, and what ran last: if its order comes again, so does its response
        self.revoked = []  # attempts that nobody wants any more, should their orders come
        self.drained = self.ending = False  # told by the backend, over reconnections too; told by a signal
        self.events_taken = False  # told by the last welcome

    def run(self):
        url = pika.URLParameters(os.getenv("CREWCALL_AMQP_URL", "amqp://"))
        url.heartbeat = 10  # seconds: so soon the broker takes an order back from a line that died
        signal.signal(signal.SIGALRM, self.on_silence)
        while self.job or not self.ending:
            try:
                self.expect_news()
                with pika.BlockingConnection(url) as connection:
                    self.serve(connection)
            # The second is that of a handshake that nobody answers.
            except (pika.exceptions.AMQPError, AMQPConnectorException, OSError, ValueError, LookupError) as error:
                self.expect_news(None)
                logging.warning("no session with the broker, trying again: %r", error)
                time.sleep(random.uniform(0.5, 3))

    def expect_news(self, within=SILENCE_MAX):
        signal.setitimer(signal.ITIMER_REAL, within or 0, within or 0)  # again and again, for closing may hang as well

    def on_silence(self, *_signal):
        raise TimeoutError(f"the broker has answered nothing for {SILENCE_MAX} s")

    def serve(self, connection):
        self.channel = connection.channel()
        self.channel.confirm_delivery()  # from now on, what is published was confirmed, or raises an error
        self.channel.basic_qos(prefetch_count=1)
        self.channel.add_on_cancel_callback(self.on_queue_lost)
        self.on_queue_lost()
        if self.job:
            self.job.delivery_tag = None  # the broker has taken its order back, and brings it again
        self.control_queue = f"{PREFIX}.worker.{WORKER_ID}.{uuid.uuid4().hex}"
        self.channel.queue_declare(self.control_queue, exclusive=True)
        self.channel.basic_consume(self.control_queue, self.on_control, auto_ack=True)
        while self.job or not self.ending:
            self.expect_news()
            if now() >= self.heartbeat_at:
                self.send_heartbeat()
            self.open_or_close()
            if self.job:
                self.follow(self.job)
            connection.process_data_events(time_limit=0.05)
        self.send("discovery", "goodbye", {"worker_id": WORKER_ID, "reason": "terminated", "handed_back": []})

    def send_heartbeat(self):
        self.heartbeat_at = now() + 5000
        for key in (f"worker.{WORKER_ID}", f"type.{self.job_type}", "all"):  # somebody may have removed a binding
            self.channel.queue_bind(self.control_queue, f"{PREFIX}.control", key)
        if not self.welcomed:
            self.send("discovery", "announce", self.announcement)
        orders = [self.job.attempt] if self.job else []
        status = "draining" if self.drained or self.ending else "busy" if orders else "idle"
        body = {"worker_id": WORKER_ID, "status": status, "slots_busy": len(orders), "orders": orders, "at": now()}
        self.send("discovery", "heartbeat", body)

    def open_or_close(self):
        """Consumes orders, or stops to. While a job runs, its unacknowledged order keeps others away."""
        wanted = self.welcomed and not (self.drained or self.ending)
        if wanted and not self.consumer and not self.job:  # a new consumer would bring an order beside a job that runs
            self.consumer = self.channel.basic_consume(f"{PREFIX}.jobs.{self.job_type}", self.on_order)
        elif self.consumer and not wanted:
            self.channel.basic_cancel(self.consumer)
            self.consumer = None

    def follow(self, job):
        if now() >= job.stops_at:
            job.stop = job.stop or "timeout"
        while job.outbox:
            body, message_id, confirmed = job.outbox[0]
            self.send("response", "emitted", body, message_id)
            confirmed.set()
            job.outbox.pop(0)
        if job.response:
            self.send("response", *job.response)
            if job.delivery_tag:  # without one its order comes again, here or elsewhere
                self.channel.basic_ack(job.delivery_tag)
            self.job, self.answered = None, job
        elif now() >= job.report_at:
            job.seq, job.report_at = job.seq + 1, now() + 250
            kind = "started" if job.seq == 1 else "progress"
            body = {**job.origin, "kind": kind, "percent": job.percent, "seq": job.seq, "at": now()}
            self.send("response", "progression", body)

    def on_order(self, channel, delivery, _properties, body):
        try:
            order = json.loads(body)
            job = self.make_job(order, delivery)
            is_ours = order["protocol"] == 1 and order["job_type"] == self.job_type
        except (ValueError, LookupError, TypeError):
            return channel.basic_reject(delivery.delivery_tag, requeue=False)
        if job.attempt in self.revoked:
            return channel.basic_ack(delivery.delivery_tag)
        if self.answered and self.answered.attempt == job.attempt:
            job.response = self.answered.response
        elif not is_ours:
            job.stop = "malformed"
        self.job, job.events_taken = job, self.events_taken
        job.start()

    def on_control(self, _channel, _delivery, _properties, body):
        told = json.loads(body)
        attempt = {name: told.get(name) for name in ("job_id", "attempt")}
        match told["kind"]:
            case "welcome":  # it may name fewer types than were announced, or none
                self.welcomed = self.job_type in told["types"]
                self.events_taken = "events" in told.get("features", [])
                self.revoked = [*self.revoked, *told.get("revoked", [])][-REVOKED_MAX:]
                for refusal in told.get("refused", []):
                    logging.error("the backend refuses %s: %s", refusal["job_type"], refusal["reason"])
            case "refused":
                logging.error("the backend refuses the announcement: %s", told["reason"])
            case "cancel" | "revoke" if self.job and self.job.attempt == attempt:
                self.job.stop = "cancelled"
            case "revoke":
                self.revoked = [*self.revoked, attempt][-REVOKED_MAX:]
            case "drain" | "resume":
                self.drained, self.heartbeat_at = told["kind"] == "drain", 0
            case "announce":
                self.welcomed, self.heartbeat_at = False, 0

    def on_queue_lost(self, _frame=None):
        """The broker ended the consumer, or there is none yet: the queue is there with the next welcome."""
        self.consumer, self.welcomed, self.heartbeat_at = None, False, 0

    def send(self, exchange, kind, body, message_id=None):
        # What no queue takes raises an error, and is sent again in the next session; but progress may be lost.
        must_arrive = exchange == "response" and kind != "progression"
        key = f"{kind}.{self.job_type}" if exchange == "response" else kind
        about = {"type": kind, "message_id": message_id or str(uuid.uuid4())}
        about["delivery_mode"] = 1 if kind == "progression" else 2
        properties = pika.BasicProperties("application/json", **about)
        self.channel.basic_publish(f"{PREFIX}.{exchange}", key, json.dumps(body), properties, mandatory=must_arrive)

    def end(self, *_signal):
        self.ending = True
