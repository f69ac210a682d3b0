"""Serves text.statistics with JSON and pika. Written from proto/README.md alone."""
import json, os, pika, platform, random, signal, time, uuid
TYPE, PREFIX = "text.statistics", os.getenv("CREWCALL_AMQP_PREFIX", "crewcall")
ECHOED, ME, STOP = ("job_id", "attempt", "attempt_token"), str(uuid.uuid4()), []
now = lambda: time.time_ns() // 1_000_000
SCHEMA = {"type": "object", "required": ["text"], "properties": {"text": {"type": "string"}}}
ABOUT = {"name": "text-statistics", "version": "1", "slots": 1, "host": platform.node(), "pid": os.getpid(),
         "sdk": {"language": "python", "version": platform.python_version()}, "started_at": now(),
         "content_type": "application/json", "types": [{"job_type": TYPE, "parameters_schema": SCHEMA}]}
def statistics(text, progress):  # the job itself
    lines, words = text.splitlines(keepends=True), 0
    for number, line in enumerate(lines):
        words += len(line.split()); progress(100 * number // len(lines))
    return {"lines": len(lines), "words": words, "characters": len(text)}
class Session:
    origin, beat_at, seq, told_at = {}, 0, 0, 0
    def __init__(self, channel):
        self.channel, control = channel, f"{PREFIX}.worker.{ME}.{uuid.uuid4().hex}"
        channel.basic_qos(prefetch_count=1); channel.confirm_delivery()  # a refused message ends the session
        channel.queue_declare(control, exclusive=True)
        for key in (f"worker.{ME}", f"type.{TYPE}", "all"): channel.queue_bind(control, f"{PREFIX}.control", key)
        channel.basic_consume(control, self.obey, auto_ack=True)
    def send(self, exchange, what, /, **body):
        key, keep = f"{what}.{TYPE}" if exchange == "response" else what, 1 if what == "progression" else 2
        how = pika.BasicProperties("application/json", type=what, message_id=str(uuid.uuid4()), delivery_mode=keep)
        self.channel.basic_publish(f"{PREFIX}.{exchange}", key, json.dumps({"worker_id": ME, **body}), how)
    def beat(self):  # every 5 s
        if now() < self.beat_at: return
        orders = [{name: self.origin[name] for name in ECHOED[:2]}] if self.origin else []
        self.send("discovery", "announce", **ABOUT)
        self.beat_at, busy, status = now() + 5000, len(orders), "busy" if orders else "idle"
        self.send("discovery", "heartbeat", status=status, slots_busy=busy, orders=orders, at=now())
    def obey(self, channel, _delivery, _properties, body):  # it announces itself every 5 s anyway
        if json.loads(body)["kind"] == "welcome" and "orders" not in channel.consumer_tags:
            channel.basic_consume(f"{PREFIX}.jobs.{TYPE}", self.take, consumer_tag="orders")
    def progress(self, percent):  # at most four times a second; the first one reports the start
        self.beat()
        if now() - self.told_at < 250: return
        news, self.seq, self.told_at = "progress" if self.seq else "started", self.seq + 1, now()
        self.send("response", "progression", **self.origin, kind=news, percent=percent, seq=self.seq, at=now())
    def take(self, channel, delivery, _properties, body):
        try: order = json.loads(body); self.origin = {name: order[name] for name in ECHOED}
        except (ValueError, LookupError, TypeError): return channel.basic_reject(delivery.delivery_tag, False)
        began, self.seq, self.told_at, self.origin["execution_id"] = now(), 0, 0, str(uuid.uuid4())
        self.progress(0)
        try: kind, body = "completed", {"result": statistics(progress=self.progress, **order["parameters"])}
        except Exception as e: kind, body = "error", {"kind": "handler", "message": repr(e), "retryable": False}
        self.send("response", kind, **self.origin, **body, started_at=began, finished_at=now())
        self.origin = channel.basic_ack(delivery.delivery_tag) or {}

signal.signal(signal.SIGTERM, lambda *_: STOP.append("terminated"))
while not STOP:
    try:
        with pika.BlockingConnection(pika.URLParameters(os.getenv("CREWCALL_AMQP_URL", "amqp://"))) as connection:
            session = Session(connection.channel())
            while not STOP: session.beat(); connection.process_data_events(time_limit=0.5)
            session.send("discovery", "goodbye", reason=STOP[0])
    except (pika.exceptions.AMQPError, OSError, ValueError, LookupError) as error:
        print(f"no session with the broker, trying again: {error!r}", flush=True)
        time.sleep(random.uniform(0.5, 3))
