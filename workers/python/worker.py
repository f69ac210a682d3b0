"""Serves the job of text_statistics.py with JSON and pika. Written from proto/README.md alone."""
import itertools, json, os, pika, platform, random, signal, text_statistics as job, time, uuid

PREFIX, URL = os.getenv("CREWCALL_AMQP_PREFIX", "crewcall"), os.getenv("CREWCALL_AMQP_URL", "amqp://")
ME, SEQ, STOP, now = str(uuid.uuid4()), itertools.count(1), [], lambda: time.time_ns() // 1_000_000
ABOUT = job.ABOUT | {"content_type": "application/json", "host": platform.node(), "pid": os.getpid(),
                     "sdk": {"language": "python", "version": platform.python_version()}, "started_at": now()}

class Session:
    welcome, origin, beat_at, told_at = False, {}, 0, 0
    def __init__(self, channel):
        self.channel, control = channel, f"{PREFIX}.worker.{ME}.{uuid.uuid4().hex}"
        channel.confirm_delivery()  # what the broker does not take raises, and that ends the session
        channel.basic_qos(prefetch_count=1)
        channel.queue_declare(control, exclusive=True)
        for key in (f"worker.{ME}", f"type.{job.TYPE}", "all"):
            channel.queue_bind(control, f"{PREFIX}.control", key)
        channel.basic_consume(control, self.obey, auto_ack=True)
    def send(self, exchange, kind, /, **body):
        key, must = f"{kind}.{job.TYPE}" if exchange == "response" else kind, kind in ("completed", "error")
        how = {"type": kind, "message_id": str(uuid.uuid4()), "delivery_mode": 2 - (kind == "progression")}
        how, body = pika.BasicProperties("application/json", **how), json.dumps({"worker_id": ME} | body)
        self.channel.basic_publish(f"{PREFIX}.{exchange}", key, body, how, mandatory=must)
    def beat(self):  # every 5 s
        if now() >= self.beat_at:
            orders = [{field: self.origin[field] for field in ("job_id", "attempt")}] if self.origin else []
            self.beat_at, load = now() + 5000, {"slots_busy": len(orders), "orders": orders}
            if not self.welcome: self.send("discovery", "announce", **ABOUT)
            self.send("discovery", "heartbeat", status="busy" if orders else "idle", at=now(), **load)
    def obey(self, channel, _delivery, _properties, body):  # announcing again answers all but a welcome
        self.welcome, self.beat_at = json.loads(body)["kind"] == "welcome", 0
        if self.welcome and "orders" not in channel.consumer_tags:
            channel.basic_consume(f"{PREFIX}.jobs.{job.TYPE}", self.take, consumer_tag="orders")
    def take(self, channel, delivery, _properties, body):
        try:
            order = json.loads(body)
            self.origin = {field: order[field] for field in ("job_id", "attempt", "attempt_token")}
        except Exception: return channel.basic_reject(delivery.delivery_tag, requeue=False)
        began, self.told_at, self.origin["execution_id"] = now(), 0, str(uuid.uuid4())
        try:
            self.report(0)  # at once, which a redelivered order needs and the others may have
            kind, body = "completed", {"result": job.run(self.report, **order["parameters"])}
        except Exception as error:
            kind, body = "error", {"kind": "handler", "message": repr(error), "retryable": job.passing(error)}
        self.send("response", kind, **self.origin, **body, started_at=began, finished_at=now())
        channel.basic_ack(delivery.delivery_tag)
        self.origin = {}
    def report(self, percent):  # at most four times a second
        if (at := now()) - self.told_at >= 250:
            news, self.told_at = {"kind": "progress" if self.told_at else "started", "percent": percent}, at
            self.send("response", "progression", **self.origin, **news, at=at, seq=next(SEQ))
            self.beat()

signal.signal(signal.SIGTERM, lambda *_: STOP.append("terminated"))
while not STOP:
    try:
        with pika.BlockingConnection(pika.URLParameters(URL)) as connection:
            session = Session(connection.channel())
            while not STOP: session.beat(); connection.process_data_events(time_limit=0.5)
            session.send("discovery", "goodbye", reason=STOP[0])
    except (pika.exceptions.AMQPError, OSError, LookupError, ValueError) as error:
        print(f"no session with the broker, trying again: {error!r}", flush=True)
        time.sleep(random.uniform(0.5, 3))
