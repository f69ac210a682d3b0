"""Draws a board from a live Prometheus, for those who have no Grafana at hand (how: README.md):

    python picture.py load http://127.0.0.1:8080 --minutes 6          # keeps `crewcall dev` busy with a mixed load
    python picture.py draw dashboards/overview.json overview.png --minutes 6   # draws what Prometheus saw of it

Places, titles, units, legends, colours and expressions are the board's, all figures are Prometheus's. What the board asks for and this
cannot draw ends it with an error.
"""

import argparse
import io
import json
import math
import re
import time
import urllib.parse
import urllib.request

# --- the load ----------------------------------------------------------------------------------------------------------

PICTURE = "workers/samples/mountains.jpg"

# How many jobs a round of one second brings: a quiet minute and a busy one in turn, so that there is something to see.
QUIET, BUSY = 4, 12


def load(arguments):
    """Jobs that succeed, that fail at once and after all their attempts, and that wait for a worker that never comes."""
    end, number = time.time() + arguments.minutes * 60, 0
    while time.time() < end:
        second = int(time.time())
        jobs = [{"type": "file.checksum", "parameters": {"source": PICTURE}} for _ in range(BUSY if second % 120 < 60 else QUIET)]
        jobs += [{"type": "image.thumbnail", "parameters": thumbnail(number + more)} for more in range(20 if second % 45 == 0 else 1)]
        jobs.append({"type": "http.request", "parameters": {"url": f"{arguments.backend}/livez"}})
        if second % 2:
            jobs.append({"type": "file.checksum", "parameters": {"source": "nothing/here"}})
            jobs.append({"type": "http.request", "parameters": {"url": "http://127.0.0.1:9/"}})
        if second % 30 == 0:
            jobs.append({"type": "report.monthly", "parameters": {}})
        post(f"{arguments.backend}/v1/jobs/batch", jobs)
        number += 40
        time.sleep(1)


def thumbnail(number):
    return {"source": PICTURE, "destination": f"/tmp/crewcall-thumbnail-{number % 40}.jpg", "width": 64}


def post(url, body):
    request = urllib.request.Request(url, json.dumps(body).encode(), {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as response:
        return json.load(response)


# --- what Prometheus says ------------------------------------------------------------------------------------------------

# Everything is selected.
SELECTED = ".+"

# As many points as a panel has room for.
POINTS = 240


class Prometheus:
    def __init__(self, arguments):
        self.address, self.end = arguments.prometheus, int(time.time())
        self.start = self.end - int(arguments.minutes * 60)
        self.step = max(1, math.ceil(arguments.minutes * 60 / POINTS))
        self.times = [self.start + self.step * number for number in range(int((self.end - self.start) / self.step) + 1)]
        # Grafana's own rule.
        self.rate_interval = max(self.step + arguments.scrape_seconds, 4 * arguments.scrape_seconds)

    def ask(self, target):
        """The series of a target, each with its name in the legend and its points."""
        at = {"time": self.end} if target.get("instant") else {"start": self.start, "end": self.end, "step": self.step}
        expression = target["expr"].replace("$__rate_interval", f"{self.rate_interval}s")
        expression = re.sub(r"\$(instance|type)\b", SELECTED, expression)
        if "$" in expression:
            raise SystemExit(f"there is a variable that is not known here: {expression}")
        path = "query" if target.get("instant") else "query_range"
        url = f"{self.address}/api/v1/{path}?{urllib.parse.urlencode({'query': expression, **at})}"
        with urllib.request.urlopen(url, timeout=60) as response:
            result = json.load(response)["data"]["result"]
        return [(named(target["legendFormat"], series["metric"]), points(series)) for series in result]


def named(legend, labels):
    return re.sub(r"{{\s*(\w+)\s*}}", lambda match: labels.get(match[1], ""), legend)


def points(series):
    values = series["values"] if "values" in series else [series["value"]]
    return [(float(at), float(value)) for at, value in values if value != "NaN"]


# --- how figures are written, as Grafana writes them ---------------------------------------------------------------------

SECONDS = [(1, "µs", 1e-6), (1_000, "ms", 1e-3), (60, "s", 1), (3_600, "min", 60), (86_400, "hour", 3_600), (math.inf, "day", 86_400)]


def written(value, unit):
    if unit == "s":
        if value == 0:
            return "0 s"
        limits = [(1e-3, *SECONDS[0][1:]), (1, *SECONDS[1][1:]), *SECONDS[2:]]
        _, name, size = next(entry for entry in limits if abs(value) < entry[0])
        return f"{rounded(value / size)} {name}"
    if unit == "percentunit":
        return f"{rounded(value * 100)}%"
    if unit == "bytes":
        return scaled(value, 1_024, [" B", " KiB", " MiB", " GiB", " TiB"])
    suffix = {"short": "", None: "", "ops": " ops/s", "reqps": " req/s"}
    if unit not in suffix:
        raise SystemExit(f"no way is known to write the unit {unit}")
    return scaled(value, 1_000, ["", " K", " Mil", " Bil"]) + suffix[unit]


def scaled(value, base, names):
    power = min(int(math.log(abs(value), base)), len(names) - 1) if abs(value) >= base else 0
    return rounded(value / base**power) + names[power]


def rounded(value):
    """Three significant digits, and no zeros at the end of a fraction."""
    digits = 0 if abs(value) >= 100 or value == 0 else max(0, 2 - math.floor(math.log10(abs(value))))
    text = f"{value:.{min(digits, 4)}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


# --- the drawing ---------------------------------------------------------------------------------------------------------

# Grafana's dark theme, and its classic palette.
PAGE, PANEL, BORDER, GRID, TEXT, FAINT = "#111217", "#181b1f", "#2c2f36", "#26292f", "#ccccdc", "#8e8e9b"
PALETTE = ["#73bf69", "#f2cc0c", "#8ab8ff", "#ff780a", "#f2495c", "#5794f2", "#b877d9", "#705da0", "#37872d", "#fade2a"]
COLOURS = {"green": "#73bf69", "orange": "#ff9830", "red": "#f2495c", "text": TEXT, "blue": "#5794f2"}

# A board's grid: columns, and the size of its cells in pixels.
COLUMNS, CELL_WIDTH, CELL_HEIGHT, GAP, TITLE_BAR = 24, 60, 38, 8, 60
DOTS_PER_INCH = 100
LEGEND_LINE = 20
LEGEND_LINES_MAX = 5

# How far apart the marks of an axis of time are, in seconds; ten days at most.
TIME_STEPS = [15, 30, 60, 120, 300, 600, 1_800, 3_600, 7_200, 21_600, 86_400, 864_000]


class Canvas:
    """A figure in pixels from its upper left corner."""

    def __init__(self, rows):
        from matplotlib import pyplot

        self.width, self.height = COLUMNS * CELL_WIDTH + GAP, rows * CELL_HEIGHT + TITLE_BAR + GAP
        size = (self.width / DOTS_PER_INCH, self.height / DOTS_PER_INCH)
        self.figure = pyplot.figure(figsize=size, dpi=DOTS_PER_INCH, facecolor=PAGE)

    def box(self, x, y, width, height, **colours):
        from matplotlib.patches import FancyBboxPatch

        rectangle = (x / self.width, 1 - (y + height) / self.height), width / self.width, height / self.height
        self.figure.patches.append(FancyBboxPatch(*rectangle, boxstyle="square,pad=0", transform=self.figure.transFigure, zorder=-1, **colours))

    def text(self, x, y, text, pixels=14, colour=TEXT, **how):
        points = pixels * 72 / DOTS_PER_INCH
        self.figure.text(x / self.width, 1 - y / self.height, text, fontsize=points, color=colour, va="center", **how)

    def axes(self, x, y, width, height):
        return self.figure.add_axes((x / self.width, 1 - (y + height) / self.height, width / self.width, height / self.height), facecolor=PANEL)

    def save(self, file):
        from PIL import Image

        picture = io.BytesIO()
        self.figure.savefig(picture, dpi=DOTS_PER_INCH, facecolor=PAGE)
        # A board has few colours: a palette makes the file a third of the size.
        Image.open(picture).convert("RGB").quantize(colors=256).save(file, optimize=True)


def draw(arguments):
    import matplotlib

    matplotlib.use("agg")
    with open(arguments.board, encoding="utf-8") as file:
        board = json.load(file)
    prometheus = Prometheus(arguments)
    canvas = Canvas(max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in board["panels"]))
    canvas.text(2 * GAP, TITLE_BAR / 2, board["title"], 22, weight="bold")
    moments = [time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(at)) for at in (prometheus.start, prometheus.end)]
    canvas.text(canvas.width - 2 * GAP, TITLE_BAR / 2, f"{moments[0]} to {moments[1]} UTC", 14, FAINT, ha="right")
    for panel in board["panels"]:
        DRAWN[panel["type"]](canvas, panel, place(panel["gridPos"]), prometheus)
    canvas.save(arguments.picture)


def place(grid):
    x, y = grid["x"] * CELL_WIDTH + GAP, grid["y"] * CELL_HEIGHT + TITLE_BAR
    return x, y, grid["w"] * CELL_WIDTH - GAP, grid["h"] * CELL_HEIGHT - GAP


def draw_row(canvas, panel, at, _):
    canvas.text(at[0] + GAP, at[1] + at[3] / 2, f"⌄ {panel['title']}", 16, weight="bold")


def draw_stat(canvas, panel, at, prometheus):
    x, y, width, height = frame(canvas, panel, at)
    settings = panel["fieldConfig"]["defaults"]
    shown = [points for target in panel["targets"] for _, points in prometheus.ask(target) if points]
    if len(shown) != 1:
        raise SystemExit(f"{panel['title']}: {len(shown)} series instead of one figure")
    value = shown[0][-1][1]
    colour = next(step["color"] for step in reversed(settings["thresholds"]["steps"]) if step["value"] is None or value >= step["value"])
    text = written(value, settings.get("unit"))
    for mapping in settings.get("mappings", []):
        mapped = mapping["options"].get(rounded(value), {})
        text, colour = mapped.get("text", text), mapped.get("color", colour)
    canvas.text(x + width / 2, y + height / 2, text, 36, COLOURS[colour], ha="center", weight="bold")


def draw_timeseries(canvas, panel, at, prometheus):
    x, y, width, height = frame(canvas, panel, at)
    settings = panel["fieldConfig"]["defaults"]
    series = [one for target in panel["targets"] for one in prometheus.ask(target) if one[1]]
    shown = in_legend(series)
    lines = min(len(shown) + (len(shown) < len(series)), LEGEND_LINES_MAX) + 1
    axes = canvas.axes(x + 70, y + 4, width - 82, height - lines * LEGEND_LINE - 34)
    custom, is_stacked = settings["custom"], settings["custom"]["stacking"]["mode"] == "normal"
    below, highest = [0] * len(prometheus.times), 0
    for number, (_, points) in enumerate(series):
        # Where there is no figure there is no line.
        found, colour = dict(points), PALETTE[number % len(PALETTE)]
        base = below if is_stacked else [0] * len(below)
        top = [found[at] + under if at in found else math.nan for at, under in zip(prometheus.times, base)]
        below = [under if math.isnan(over) else over for under, over in zip(below, top)]
        highest = max([highest, *(value for value in top if not math.isnan(value))])
        axes.plot(prometheus.times, top, color=colour, linewidth=custom["lineWidth"] * 1.3)
        axes.fill_between(prometheus.times, base, top, color=colour, alpha=custom["fillOpacity"] / 100, linewidth=0)
    style_axes(axes, prometheus, settings, highest)
    draw_legend(canvas, series, shown, settings.get("unit"), (x, y + height - lines * LEGEND_LINE, width))


def in_legend(series):
    """The numbers of those in the legend. Where there is not room for all, those that were 0 throughout are only counted."""
    if len(series) <= LEGEND_LINES_MAX:
        return list(range(len(series)))
    moving = [number for number, (_, points) in enumerate(series) if any(value for _, value in points)]
    return moving[: LEGEND_LINES_MAX - 1]


def style_axes(axes, prometheus, settings, highest):
    from matplotlib import ticker

    span = prometheus.end - prometheus.start
    every = next(step for step in TIME_STEPS if span / step <= 6)
    first = math.ceil(prometheus.start / every) * every
    ticks = [first + every * number for number in range(int((prometheus.end - first) / every) + 1)]
    axes.set_xlim(prometheus.start, prometheus.end)
    axes.set_xticks(ticks, [time.strftime("%H:%M" if every >= 60 else "%H:%M:%S", time.gmtime(at)) for at in ticks])
    if settings.get("unit") == "s" and highest > 60:
        axes.yaxis.set_major_locator(ticker.MultipleLocator(next(step for step in TIME_STEPS if highest / step <= 4)))
    else:
        axes.yaxis.set_major_locator(ticker.MaxNLocator(4))
    axes.set_ylim(settings.get("min"), highest * 1.08 or 1)
    axes.yaxis.set_major_formatter(lambda value, _: written(value, settings.get("unit")))
    axes.grid(color=GRID)
    axes.tick_params(colors=FAINT, labelsize=8.5, length=0)
    axes.spines[:].set_visible(False)


def draw_legend(canvas, series, shown, unit, at):
    """A table: the name, the last figure, the largest."""
    x, y, width = at
    for column, heading in ((width - 90, "Last *"), (width, "Max")):
        canvas.text(x + column - GAP, y, heading, 12, "#6e9fff", ha="right")
    for line, number in enumerate(shown):
        line, (name, points) = y + LEGEND_LINE * (line + 1), series[number]
        canvas.box(x + GAP, line - 2, 14, 4, color=PALETTE[number % len(PALETTE)])
        canvas.text(x + GAP + 22, line, name, 13)
        canvas.text(x + width - 90 - GAP, line, written(points[-1][1], unit), 13, ha="right")
        canvas.text(x + width - GAP, line, written(max(value for _, value in points), unit), 13, ha="right")
    if len(shown) < len(series):
        canvas.text(x + GAP + 22, y + LEGEND_LINE * (len(shown) + 1), f"and {len(series) - len(shown)} more", 13, FAINT)


def frame(canvas, panel, at):
    """The panel with its title. Returns what is left of it."""
    x, y, width, height = at
    canvas.box(x, y, width, height, facecolor=PANEL, edgecolor=BORDER)
    canvas.text(x + GAP + 2, y + 18, panel["title"], 15)
    return x + 2, y + 34, width - 4, height - 38


DRAWN = {"row": draw_row, "stat": draw_stat, "timeseries": draw_timeseries}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(required=True)
    loading = commands.add_parser("load")
    loading.add_argument("backend")
    loading.set_defaults(run=load)
    drawing = commands.add_parser("draw")
    drawing.add_argument("board")
    drawing.add_argument("picture")
    drawing.add_argument("--prometheus", default="http://127.0.0.1:9090")
    drawing.add_argument("--scrape-seconds", type=int, default=2)
    drawing.set_defaults(run=draw)
    for command in (loading, drawing):
        command.add_argument("--minutes", type=float, default=6)
    arguments = parser.parse_args()
    arguments.run(arguments)


main()
