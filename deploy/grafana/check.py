"""Holds boards against Grafana's own models (its package grafana-foundation-sdk): python check.py dashboards/*.json

The package writes boards and believes what it reads, so its classes are walked here: what they do not know is named with its place.
First it is seen that mistakes made on purpose are found: a net with a hole would call every board clean.
"""

import copy
import enum
import functools
import json
import sys
import typing
from pathlib import Path

from grafana_foundation_sdk.cog import plugins, variants
from grafana_foundation_sdk.cog.runtime import Runtime
from grafana_foundation_sdk.models import dashboard, units

plugins.register_default_plugins()
PANELS = Runtime().panelcfg_variants
QUERIES = Runtime().dataquery_variants
UNITS = {value for value in vars(units).values() if isinstance(value, str)}
SCALARS = {str: (str,), bool: (bool,), int: (int,), float: (int, float)}

# Where a good board is broken, and the value which that gets. Each is a mistake that somebody could make.
MISTAKES = [
    ("schemaVersoin", 39),
    ("title", 7),
    ("graphTooltip", 9),
    ("time.form", "now-3h"),
    ("tags[0]", 1),
    ("links[0].type", "dashboard"),
    ("templating.list[1].type", "qery"),
    ("templating.list[1].multi", "yes"),
    ("panels[1].type", "stats"),
    ("panels[1].gridPos.width", 4),
    ("panels[1].gridPos.h", "4"),
    ("panels[1].datasource.type", "prometeus"),
    ("panels[1].options.graphmode", "area"),
    ("panels[1].options.graphMode", "areas"),
    ("panels[1].options.reduceOptions.calcs", "lastNotNull"),
    ("panels[1].fieldConfig.defaults.unit", "secnds"),
    ("panels[1].fieldConfig.defaults.unit", 5),
    ("panels[1].fieldConfig.defaults.thresholds.mode", "absolut"),
    ("panels[1].fieldConfig.defaults.thresholds.steps[0].color", 3),
    ("panels[1].fieldConfig.defaults.custom", {"lineWith": 1}),
    ("panels[8].fieldConfig.defaults.custom.drawStyle", "lines"),
    ("panels[8].fieldConfig.defaults.custom.stacking.mode", True),
    ("panels[8].fieldConfig.overrides", [{"matcher": {"id": "byName"}, "properties": [{"id": "custom.lineWith", "value": 1}]}]),
    ("panels[8].fieldConfig.overrides", [{"matcher": {"id": "byName"}, "properties": [{"id": "decimals", "value": "two"}]}]),
    ("panels[8].options.legend.placement", "below"),
    ("panels[1].targets[0].legend", "{{type}}"),
    ("panels[1].targets[0].expr", 1),
    ("panels[1].targets[0].editorMode", "coding"),
]


class Unknown(str):
    """Names a field of a class: what `to_json` then puts under which key tells how the field is written in JSON."""


@functools.cache
def fields(model):
    """The keys of a model's JSON, each with what it may hold."""
    hints = typing.get_type_hints(model)
    blank = object.__new__(model)
    for name in hints:
        setattr(blank, name, Unknown(name))
    return {key: hints[name] for key, name in blank.to_json().items()}


def mistakes(value, hint, place):
    """Each as its place and what is wrong with it; of several models that there may be, those of the one that fits best."""
    choices = typing.get_args(hint) if typing.get_origin(hint) is typing.Union else (hint,)
    # That nothing is there as well as something would only hide what is wrong with it.
    choices = [choice for choice in choices if (choice is type(None)) == (value is None)] or choices
    return min((of_one(value, choice, place) for choice in choices), key=len)


def of_one(value, hint, place):
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if hint in (typing.Any, object):
        return []
    if origin is typing.Literal:
        return [] if value in arguments else [(place, f"{value!r} is none of {arguments}")]
    if origin is list and isinstance(value, list):
        return [found for index, item in enumerate(value) for found in mistakes(item, arguments[0], f"{place}[{index}]")]
    if origin is dict and isinstance(value, dict):
        return [found for key, item in value.items() for found in mistakes(item, arguments[1], f"{place}.{key}")]
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        known = [member.value for member in hint]
        is_known = value in known and not isinstance(value, bool)  # True is no 1
        return [] if is_known else [(place, f"{value!r} is none of {known}")]
    if hint is variants.Dataquery and isinstance(value, dict):
        return of_query(value, place)
    if hasattr(hint, "from_json") and isinstance(value, dict):
        return of_model(value, hint, place)
    accepted = SCALARS.get(hint, (hint,) if hint is type(None) else ())
    is_right = isinstance(value, accepted) and (hint is bool or not isinstance(value, bool))
    return [] if is_right else [(place, f"{value!r} is no {getattr(hint, '__name__', hint)}")]


def of_model(value, model, place):
    known, found = dict(fields(model)), []
    if model is dashboard.Panel:
        kind = PANELS.get(value.get("type"))
        if kind is None:
            return [(f"{place}.type", f"{value.get('type')!r} is no panel of Grafana's")]
        known["options"] = hook_model(kind.options_from_json_hook)
        found += of_custom(value.get("fieldConfig", {}), kind, f"{place}.fieldConfig")
    if model is dashboard.FieldConfig and isinstance(value.get("unit"), str) and value["unit"] not in UNITS:
        found.append((f"{place}.unit", f"{value['unit']!r} is no unit of Grafana's"))
    for key, item in value.items():
        here = f"{place}.{key}".lstrip(".")
        found += mistakes(item, known[key], here) if key in known else [(here, f"{model.__name__} has no such key")]
    return found


def of_query(value, place):
    kind = value.get("datasource", {}).get("type")
    if kind not in QUERIES:
        return [(f"{place}.datasource.type", f"{kind!r} is no data source of Grafana's")]
    return of_model(value, hook_model(QUERIES[kind].from_json_hook), place)


def of_custom(config, kind, place):
    """What is a panel's own in the settings of its fields, by default and where an override says otherwise."""
    custom = hook_model(kind.field_config_from_json_hook)
    found = mistakes(config.get("defaults", {}).get("custom", {}), custom, f"{place}.defaults.custom")
    for number, override in enumerate(config.get("overrides", [])):
        for index, change in enumerate(override.get("properties", [])):
            here = f"{place}.overrides[{number}].properties[{index}]"
            name, settings = change.get("id", ""), dashboard.FieldConfig
            if name.startswith("custom."):
                name, settings = name.removeprefix("custom."), custom
            if name not in fields(settings):
                found.append((f"{here}.id", f"{settings.__name__} has no {name!r}"))
            else:
                found += of_model({name: change.get("value")}, settings, here)
    return found


def hook_model(hook):
    """The class whose `from_json` a hook is; a panel without settings of its own takes none."""
    return hook.__self__ if hook else dict[str, type(None)]


def of_board(board):
    found = mistakes(board, dashboard.Dashboard, "")
    for index, panel in enumerate(board.get("panels", [])):
        kind = panel.get("datasource", {}).get("type", "prometheus")
        if kind not in QUERIES:
            found.append((f"panels[{index}].datasource.type", f"{kind!r} is no data source of Grafana's"))
    return found


def broken(board, place, value):
    """A copy of a board with a value at a place such as `panels[1].title`."""
    board = copy.deepcopy(board)
    *path, last = place.replace("[", ".").replace("]", "").split(".")
    inner = functools.reduce(lambda part, key: part[int(key) if isinstance(part, list) else key], path, board)
    inner[int(last) if isinstance(inner, list) else last] = value
    return board


def main(files):
    boards = {file: json.loads(Path(file).read_text()) for file in files}
    sound = next(board for file, board in boards.items() if file.endswith("overview.json"))
    for place, value in MISTAKES:
        found = [where for where, _ in of_board(broken(sound, place, value))]
        if not any(where.startswith(place) for where in found):
            sys.exit(f"the check has a hole: it does not find {value!r} at {place}, but {found}")
    found = [f"{file}: {place}: {what}" for file, board in boards.items() for place, what in of_board(board)]
    if found:
        sys.exit("\n".join(found))
    print(f"{len(boards)} boards are as Grafana has them; {len(MISTAKES)} mistakes made on purpose were found")


main(sys.argv[1:])
